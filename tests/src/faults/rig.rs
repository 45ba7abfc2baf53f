//! Kafka, ClickHouse, two ingests, two to four loaders, and a proxy between each pair that talks.
//!
//! ```text
//! fleet, collectors --> [proxy] --> ingest --> [proxy] --> Kafka <-- [proxy] <-- load --> [proxy] --> ClickHouse
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Plan;
use super::disk::Disk;
use super::proxy::{Network, Proxy};
use super::versions::Versions;
use crate::clickhouse::ClickHouse;
use crate::kafka::{Kafka, Listener};
use crate::processes::{Process, free_port, http_client, release_binary};

pub(super) const TOPIC: &str = "weighbridge.reports.v1";
pub(super) const PARTITIONS: i32 = 6;
/// A thousand faults write about a third of it.
const KAFKA_DISK: &str = "1g";
/// A process answers its admin port within this time, on a machine that does other things.
const START_LIMIT: Duration = Duration::from_secs(90);
/// A stage drains within its own 20 s.
const STOP_LIMIT: Duration = Duration::from_secs(45);
const INGESTS: usize = 2;
/// Loaders that always run; as many more come and go.
pub(super) const LOADERS: usize = 2;

/// A process of the aggregator with its place in the rig.
pub(super) struct Stage {
    name: String,
    command: Command,
    admin: String,
    process: Option<Process>,
}

/// See above.
pub(super) struct Rig {
    folder: PathBuf,
    pub(super) kafka: Option<Kafka>,
    pub(super) clickhouse: Option<ClickHouse>,
    clickhouse_port: u16,
    pub(super) ingests: Vec<Stage>,
    pub(super) loaders: Vec<Stage>,
    pub(super) to_ingest: Vec<Proxy>,
    pub(super) ingest_to_kafka: Proxy,
    pub(super) load_to_kafka: Proxy,
    pub(super) load_to_clickhouse: Proxy,
    pub(super) kafka_disk: Disk,
    versions: Versions,
    sabotage: Option<String>,
    listeners: [Listener; 2],
    replays: usize,
}

impl Rig {
    pub(super) async fn start(folder: &Path, plan: &Plan) -> Rig {
        let listeners = [("INGEST", free_port()), ("LOAD", free_port())].map(|(name, advertised)| Listener {
            name: name.to_owned(),
            port: free_port(),
            advertised,
        });
        let [for_ingest, for_load] = &listeners;
        let ingest_to_kafka = Proxy::start(for_ingest.advertised, for_ingest.port).await;
        let load_to_kafka = Proxy::start(for_load.advertised, for_load.port).await;
        let kafka_disk = Disk::mount(&folder.join("kafka"), KAFKA_DISK);
        let kafka = Kafka::start_with(folder, (free_port(), free_port()), &listeners).await;
        let clickhouse = ClickHouse::start(folder).await;
        let load_to_clickhouse = Proxy::start(free_port(), clickhouse.http_port).await;
        let mut rig = Rig {
            folder: folder.to_owned(),
            clickhouse_port: clickhouse.http_port,
            kafka: Some(kafka),
            clickhouse: Some(clickhouse),
            ingests: Vec::new(),
            loaders: Vec::new(),
            to_ingest: Vec::new(),
            ingest_to_kafka,
            load_to_kafka,
            load_to_clickhouse,
            kafka_disk,
            versions: Versions {
                this: plan.aggregator.clone().unwrap_or_else(|| release_binary("weighbridge-aggregator")),
                previous: plan.previous.clone(),
            },
            sabotage: plan.sabotage.clone(),
            listeners,
            replays: 0,
        };
        rig.migrate();
        for number in 0..INGESTS {
            let port = free_port();
            rig.to_ingest.push(Proxy::start(free_port(), port).await);
            let ingest = rig.ingest(number, port);
            rig.ingests.push(ingest);
        }
        for number in 0..LOADERS {
            rig.loaders.push(rig.loader(&format!("load-{number}"), "faults"));
        }
        for stage in rig.ingests.iter_mut().chain(&mut rig.loaders) {
            stage.start(&rig.folder).await;
        }
        rig
    }

    /// What collectors connect to.
    pub(super) fn ingest_urls(&self) -> Vec<String> {
        self.to_ingest.iter().map(|proxy| format!("http://127.0.0.1:{}", proxy.port())).collect()
    }

    /// A configuration with Kafka at `kafka_port`, and the command that uses it.
    fn command(&self, name: &str, kafka_port: u16, clickhouse_port: u16, arguments: &[&str]) -> Command {
        let text = format!(
            "kafka: {{bootstrap_servers: '127.0.0.1:{kafka_port}', topic: {TOPIC}, partitions: {PARTITIONS}, replication_factor: 1}}\n\
             clickhouse: {{url: 'http://127.0.0.1:{clickhouse_port}'}}\n\
             ingest: {{delivery_timeout_ms: 3000, retry_after_ms: 200}}\n\
             load: {{flush_ms: 200, flush_rows: 2000, insert_send_timeout_s: 3, insert_end_timeout_s: 5, rollup_interval_s: 2}}\n\
             telemetry: {{log_format: text}}\n"
        );
        let path = self.folder.join(format!("{name}.yaml"));
        std::fs::write(&path, text).expect("a configuration");
        let mut command = Command::new(self.versions.link(&self.folder, name));
        command.args(arguments).env("WEIGHBRIDGE_CONFIG", path);
        if let Some(sabotage) = &self.sabotage {
            command.env("WEIGHBRIDGE_SABOTAGE", sabotage);
        }
        command
    }

    fn migrate(&self) {
        let [for_ingest, _] = &self.listeners;
        let mut command =
            self.command("migrate", for_ingest.advertised, self.clickhouse_port, &["migrate", "up"]);
        let output = command.output().expect("migrate runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn ingest(&self, number: usize, port: u16) -> Stage {
        let name = format!("ingest-{number}");
        let mut command =
            self.command(&name, self.ingest_to_kafka.port(), self.load_to_clickhouse.port(), &["ingest"]);
        command.env("WEIGHBRIDGE_INGEST_LISTEN", format!("127.0.0.1:{port}"));
        Stage::new(name, command)
    }

    pub(super) fn loader(&self, name: &str, group: &str) -> Stage {
        let mut command =
            self.command(name, self.load_to_kafka.port(), self.load_to_clickhouse.port(), &["load"]);
        command.env("WEIGHBRIDGE_LOAD_GROUP_ID", group);
        Stage::new(name.to_owned(), command)
    }

    /// One more loader of the group.
    pub(super) async fn add_loader(&mut self) {
        let mut stage = self.loader(&format!("load-{}", self.loaders.len()), "faults");
        stage.start(&self.folder).await;
        self.loaders.push(stage);
    }

    /// A loader that reads the whole topic from its beginning.
    pub(super) async fn replay(&mut self) -> Stage {
        self.replays += 1;
        let name = format!("replay-{}", self.replays);
        let mut stage = self.loader(&name, &name);
        stage.start(&self.folder).await;
        stage
    }

    pub(super) async fn restart(&mut self, which: Which) {
        let folder = self.folder.clone();
        self.stage(which).start(&folder).await;
    }

    /// The stage's next start is of the other version.
    pub(super) fn exchange(&mut self, which: Which) {
        let name = self.stage(which).name.clone();
        self.versions.exchange(&self.folder, &name);
    }

    pub(super) fn stage(&mut self, which: Which) -> &mut Stage {
        let (stages, number) = match which {
            Which::Ingest(number) => (&mut self.ingests, number),
            Which::Loader(number) => (&mut self.loaders, number),
        };
        let last = stages.len() - 1;
        &mut stages[number.min(last)]
    }

    pub(super) async fn start_kafka(&mut self, ports: (u16, u16)) {
        self.kafka = Some(Kafka::start_with(&self.folder, ports, &self.listeners).await);
    }

    pub(super) async fn start_clickhouse(&mut self) {
        self.clickhouse = Some(ClickHouse::start_on(&self.folder, self.clickhouse_port).await);
    }

    pub(super) fn clickhouse(&self) -> &ClickHouse {
        self.clickhouse.as_ref().expect("a running ClickHouse")
    }

    pub(super) fn kafka(&self) -> &Kafka {
        self.kafka.as_ref().expect("a running Kafka")
    }

    /// Everything that may be broken is whole.
    pub(super) async fn heal(&mut self) {
        let proxies = [&self.ingest_to_kafka, &self.load_to_kafka, &self.load_to_clickhouse];
        for proxy in proxies.into_iter().chain(&self.to_ingest) {
            proxy.set(Network::Whole);
        }
    }

    /// What every loader says of itself.
    pub(super) async fn loaders_told(&self) -> Vec<String> {
        let mut told = Vec::new();
        for loader in &self.loaders {
            told.push(loader.told().await);
        }
        told
    }

    pub(super) async fn stop(self) {
        for stage in self.ingests.into_iter().chain(self.loaders) {
            stage.stop().await;
        }
        if let Some(kafka) = self.kafka {
            kafka.stop().await;
        }
    }
}

/// A stage by its number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Ingest(usize),
    Loader(usize),
}

impl Stage {
    fn new(name: String, mut command: Command) -> Stage {
        let admin = format!("127.0.0.1:{}", free_port());
        command.env("WEIGHBRIDGE_ADMIN_LISTEN", &admin);
        Stage { name, command, admin, process: None }
    }

    /// Starts it and waits until its process answers; not until it is ready, since what it needs may be broken.
    pub(super) async fn start(&mut self, folder: &Path) {
        let mut process = Process::start(&self.name, &self.command, folder);
        process.wait_for_http(&format!("http://{}/livez", self.admin), START_LIMIT).await;
        self.process = Some(process);
    }

    pub(super) async fn kill(&mut self) {
        self.process.take().expect("a running stage").kill().await;
    }

    /// SIGTERM. Its status is 0 whatever else is broken.
    pub(super) async fn terminate(&mut self) {
        let status = self.process.take().expect("a running stage").terminate(STOP_LIMIT).await;
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    pub(super) async fn stop(mut self) {
        self.terminate().await;
    }

    /// What a loader says of itself, for whoever has to find out why something is missing.
    async fn told(&self) -> String {
        let answer = http_client().get(format!("http://{}/metrics", self.admin)).send().await;
        let page = match answer {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => format!("weighbridge_load_ does not answer: {error}"),
        };
        let wanted = ["records_total", "reports_buffered", "partitions", "paused", "does not answer"];
        let lines = page.lines().filter(|line| line.starts_with("weighbridge_load_"));
        let lines: Vec<&str> = lines.filter(|line| wanted.iter().any(|name| line.contains(name))).collect();
        let output = self.process.as_ref().map(Process::output).unwrap_or_default();
        let last: Vec<&str> = output.lines().rev().take(5).collect();
        format!("{}: {}; last lines, newest first: {}", self.name, lines.join(", "), last.join(" | "))
    }

    /// SIGSTOP or SIGCONT.
    pub(super) fn signal(&self, signal: Signal) {
        send(self.process.as_ref().expect("a running stage").id(), signal);
    }
}

pub(super) fn send(id: u32, signal: Signal) {
    let pid = Pid::from_raw(id.cast_signed()).expect("the id of a process");
    kill_process(pid, signal).expect("a signal to a process of ours");
}
