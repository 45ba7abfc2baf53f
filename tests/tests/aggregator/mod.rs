//! Real Kafka, real ClickHouse, the real `weighbridge-aggregator`, and reports whose sums are known.
#![allow(missing_docs, unreachable_pub)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use prost::encoding::encode_varint;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
use weighbridge_proto::cells::{Cell, CellKey, Counts, pack};
use weighbridge_proto::report;
use weighbridge_proto::v1::{Choice, Operation, Outcome, Report, Streaming, Vantage};
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::kafka::Kafka;
use weighbridge_tests::processes::{Process, free_port, http_client, release_binary};

pub const TOPIC: &str = "weighbridge.reports.v1";
pub const LIMIT: Duration = Duration::from_secs(120);
pub const DAY: u64 = 86_400;

pub struct Rig {
    pub folder: TempDir,
    pub clickhouse: ClickHouse,
    pub kafka: Option<Kafka>,
    pub config: PathBuf,
}

/// A stage with its admin port.
pub struct Stage {
    pub process: Process,
    pub admin: String,
}

impl Rig {
    /// ClickHouse alone.
    pub async fn with_clickhouse() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let clickhouse = ClickHouse::start(folder.path()).await;
        let rig = Rig { config: folder.path().join("aggregator.yaml"), folder, clickhouse, kafka: None };
        rig.write_config("");
        rig
    }

    /// Both servers, migrated.
    pub async fn start() -> Rig {
        let mut rig = Rig::with_clickhouse().await;
        let kafka = Kafka::start(rig.folder.path()).await;
        rig.write_config(&kafka.bootstrap());
        rig.kafka = Some(kafka);
        rig.run(&["migrate", "up"]);
        rig
    }

    fn write_config(&self, bootstrap: &str) {
        let text = format!(
            "kafka: {{bootstrap_servers: '{bootstrap}', partitions: 3, replication_factor: 1}}\n\
             clickhouse: {{url: '{}'}}\n\
             ingest: {{delivery_timeout_ms: 3000}}\n\
             load: {{flush_ms: 100, flush_rows: 500, rollup_interval_s: 1}}\n\
             telemetry: {{log_format: text}}\n",
            self.clickhouse.url()
        );
        std::fs::write(&self.config, text).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(release_binary("weighbridge-aggregator"));
        command.env("WEIGHBRIDGE_CONFIG", &self.config);
        command
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs to the end; panics unless it succeeds. Gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A stage that is ready for its work.
    pub async fn stage(&self, arguments: &[&str], environment: &[(&str, String)]) -> Stage {
        self.start_stage(arguments, environment, "/readyz").await
    }

    /// `ready` ends well: it was ready before, but on a busy machine what it asks of Kafka may be late for once.
    pub async fn becomes_ready(&self, stage: &Stage) {
        let deadline = Instant::now() + LIMIT;
        while !self.output(&["ready", &stage.admin]).status.success() {
            assert!(Instant::now() < deadline, "{} is not ready", stage.admin);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A stage whose process answers on `path` of its admin port.
    pub async fn start_stage(&self, arguments: &[&str], environment: &[(&str, String)], path: &str) -> Stage {
        let admin = format!("127.0.0.1:{}", free_port());
        let mut command = self.command();
        command.args(arguments).env("WEIGHBRIDGE_ADMIN_LISTEN", &admin);
        for (name, value) in environment {
            command.env(name, value);
        }
        let mut process = Process::start(arguments[0], &command, self.folder.path());
        process.wait_for_http(&format!("http://{admin}{path}"), LIMIT).await;
        Stage { process, admin }
    }

    pub async fn load(&self, group: &str) -> Stage {
        self.stage(&["load"], &[("WEIGHBRIDGE_LOAD_GROUP_ID", group.to_owned())]).await
    }

    /// The broker.
    pub fn kafka(&self) -> &Kafka {
        self.kafka.as_ref().unwrap()
    }

    /// Waits until a query's answer is `expected`.
    pub async fn wait_for(&self, sql: &str, expected: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.clickhouse.query(sql).await;
            if answer == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{sql}\nexpected {expected}\nanswered {answer}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Stage {
    /// Sum of the samples whose line begins with `name`.
    pub async fn metric(&self, name: &str) -> i64 {
        let answer = http_client().get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum()
    }

    pub async fn wait_for_metric(&self, name: &str, at_least: i64) {
        let deadline = Instant::now() + LIMIT;
        while self.metric(name).await < at_least {
            assert!(Instant::now() < deadline, "{name} did not reach {at_least}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM; panics unless it ends with success.
    pub async fn stop(self) {
        let status = self.process.terminate(LIMIT).await;
        assert!(status.success(), "ended with {status}");
    }
}

/// Produces records as ingest does, one report each.
pub async fn produce(kafka: &Kafka, reports: &[Bytes]) {
    let producer: FutureProducer = kafka.client_config().create().unwrap();
    let sends = reports.iter().map(|report| {
        let mut value = Vec::new();
        encode_varint(report.len() as u64, &mut value);
        value.extend_from_slice(report);
        let producer = &producer;
        async move {
            let record = FutureRecord::<[u8], [u8]>::to(TOPIC).payload(&value);
            producer.send(record, LIMIT).await.unwrap_or_else(|(error, _)| panic!("{error}"));
        }
    });
    futures_util::future::join_all(sends).await;
}

/// Midnight, `days` days ago.
pub fn midnight(days: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (now / DAY - days) * DAY
}

pub fn key(model: u32, openness: Openness) -> CellKey {
    CellKey {
        model: ModelId(model),
        provider: ProviderId(1),
        openness,
        hosting: Hosting::FirstParty,
        operation: Operation::Chat,
        choice: Choice::First,
        streaming: Streaming::No,
        outcome: Outcome::Ok,
    }
}

pub fn counts(requests: u64, input_tokens: u64, output_tokens: u64) -> Counts {
    Counts { requests, attempts: requests, input_tokens, output_tokens }
}

/// One start of a collector: seals reports with their running totals.
pub struct Edge {
    pub id: [u8; 16],
    pub boot_epoch: u64,
    pub sequence: u64,
    pub totals: Counts,
    pub vantage: Vantage,
}

impl Edge {
    pub fn new(number: u8) -> Edge {
        Edge {
            id: [number; 16],
            boot_epoch: 1_000 + u64::from(number),
            sequence: 0,
            totals: Counts::default(),
            vantage: Vantage::Gateway,
        }
    }

    pub fn report(&mut self, window_start_s: u64, cells: &[(CellKey, Counts)]) -> Bytes {
        for (_, counts) in cells {
            self.totals.add(counts);
        }
        let cells: Vec<Cell> =
            cells.iter().map(|(key, counts)| Cell { key: *key, counts: *counts }).collect();
        let report = Report {
            schema: 1,
            collector_id: self.id.to_vec().into(),
            boot_epoch: self.boot_epoch,
            sequence: self.sequence,
            window_start_s,
            window_s: 60,
            catalogue_version: 2_026_112_301,
            environment: 1,
            vantage: self.vantage as i32,
            gateway_product: 2,
            cells: pack(&cells),
            total_requests: self.totals.requests,
            total_attempts: self.totals.attempts,
            total_input_tokens: self.totals.input_tokens,
            total_output_tokens: self.totals.output_tokens,
            ..Report::default()
        };
        self.sequence += 1;
        report::seal(&report)
    }
}

/// Many collectors over two days, and what it all sums to.
pub fn many(collectors: u8, reports: u64) -> (Vec<Bytes>, Counts) {
    let (mut sealed, mut truth) = (Vec::new(), Counts::default());
    for number in 1..=collectors {
        let mut edge = Edge::new(number);
        for n in 0..reports {
            // Every fifth window is without traffic.
            let cells = if n % 5 == 4 { 0 } else { fastrand::u32(1..30) };
            let cells: Vec<_> = (0..cells)
                .map(|model| {
                    let openness = Openness::ALL[model as usize % Openness::ALL.len()];
                    let many = fastrand::u64(1..1_000);
                    (key(model, openness), counts(many, many * fastrand::u64(1..500), many * 7))
                })
                .collect();
            sealed.push(edge.report(midnight(2) + (n * 2 * DAY / reports) / 60 * 60, &cells));
        }
        truth.add(&edge.totals);
    }
    (sealed, truth)
}
