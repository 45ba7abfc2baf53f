//! The real collector for a test: its configuration, its process, its metrics and the record of what it sealed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::processes::{Process, free_port, http_client, release_binary};

/// It starts in milliseconds; the machine may be building at the same time.
const LIMIT: Duration = Duration::from_secs(60);

/// What it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// OTLP spans.
    Traces,
    /// OTLP spans of the GenAI conventions.
    GenAiTraces,
    /// OTLP metrics.
    Metrics,
    /// LiteLLM's webhook.
    Webhook,
    /// LiteLLM's `/metrics` page, `http://host:port` of the gateway given.
    Pages(String),
    /// The `/metrics` page of a server.
    Scrape {
        /// Name of its profile.
        profile: &'static str,
        /// The page.
        url: String,
    },
    /// An access log, a file.
    LogFile {
        /// Name of its profile.
        profile: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// Envoy's access log by OTLP, to `grpc`.
    OtlpLogs,
    /// Envoy's access log by its own service, to `grpc`.
    Als,
    /// What passes the tap, at `tap`, to the server at `upstream`.
    Tap {
        /// Name of its profile.
        profile: &'static str,
        /// Base address of the server.
        upstream: String,
    },
}

/// A collector with its ports and its folder; both survive a restart.
#[derive(Debug)]
pub struct Collector {
    /// Address for OTLP/gRPC, with scheme.
    pub grpc: String,
    /// Address for OTLP/HTTP, without path.
    pub http: String,
    /// Address of the webhook.
    pub webhook: String,
    /// Address of the tap.
    pub tap: String,
    /// Its data folder.
    pub data: PathBuf,
    admin: String,
    config: PathBuf,
    folder: PathBuf,
    process: Option<Process>,
}

impl Collector {
    /// Starts a collector with windows of 10 s, which sends to `ingest` (`http://host:port`).
    pub async fn start(folder: &Path, name: &str, input: Input, ingest: &str) -> Collector {
        Collector::start_with(folder, name, input, &format!("endpoint: '{ingest}'")).await
    }

    /// As `start`, with all fields of its uplink.
    pub async fn start_with(folder: &Path, name: &str, input: Input, uplink: &str) -> Collector {
        Collector::start_slow(folder, name, input, uplink, 10).await
    }

    /// As `start_with`, with windows of `window_s`.
    pub async fn start_slow(
        folder: &Path,
        name: &str,
        input: Input,
        uplink: &str,
        window_s: u32,
    ) -> Collector {
        let [grpc, http, webhook, tap, admin] = [(); 5].map(|()| format!("127.0.0.1:{}", free_port()));
        let data = folder.join(format!("{name}-data"));
        let source = match input {
            Input::Traces | Input::GenAiTraces | Input::Metrics => {
                let signal = if input == Input::Metrics { "metrics" } else { "traces" };
                let profile = if input == Input::GenAiTraces { "genai" } else { "litellm" };
                format!(
                    "otlp: {{profile: {profile}, signal: {signal}, grpc_listen: '{grpc}', http_listen: '{http}'}}"
                )
            }
            Input::Webhook => format!("webhook: {{profile: litellm, listen: '{webhook}'}}"),
            Input::LogFile { profile, file } => {
                format!("access_log: {{profile: {profile}, file: '{}'}}", file.display())
            }
            Input::OtlpLogs => format!("access_log: {{profile: envoy, otlp_grpc_listen: '{grpc}'}}"),
            Input::Als => format!("access_log: {{profile: envoy, als_listen: '{grpc}'}}"),
            Input::Tap { profile, upstream } => {
                format!("tap: {{profile: {profile}, listen: '{tap}', upstream: '{upstream}'}}")
            }
            Input::Scrape { profile, url } => format!(
                "prometheus: {{profile: {profile}, interval_s: 5, timeout_s: 4, targets: [{{url: '{url}'}}]}}"
            ),
            Input::Pages(gateway) => format!(
                "prometheus: {{profile: litellm, interval_s: 5, timeout_s: 4, targets: [{{url: '{gateway}/metrics/'}}]}}"
            ),
        };
        let text = format!(
            "data_folder: {}\nenvironment: production\nwindow_s: {window_s}\nsource:\n  {source}\n\
             uplink: {{{uplink}}}\nadmin: {{listen: '{admin}'}}\n",
            data.display()
        );
        let config = folder.join(format!("{name}.yaml"));
        std::fs::write(&config, text).expect("the collector's configuration");
        let mut collector = Collector {
            grpc: format!("http://{grpc}"),
            http: format!("http://{http}"),
            webhook: format!("http://{webhook}/webhook"),
            tap: format!("http://{tap}"),
            data,
            admin: format!("http://{admin}"),
            config,
            folder: folder.to_owned(),
            process: None,
        };
        collector.restart().await;
        collector
    }

    /// Starts the process, after `kill` or for the first time.
    pub async fn restart(&mut self) {
        let mut command = Command::new(release_binary("weighbridge-collector"));
        command.args(["run", "--config"]).arg(&self.config);
        let mut process = Process::start("collector", &command, &self.folder);
        process.wait_for_http(&format!("{}/readyz", self.admin), LIMIT).await;
        self.process = Some(process);
    }

    /// Sends `kill -9`.
    pub async fn kill(&mut self) {
        self.process.take().expect("a running collector").kill().await;
    }

    /// Ends it in order: the open window is sealed and acknowledged.
    pub async fn stop(&mut self) {
        let status = self.process.take().expect("a running collector").terminate(LIMIT).await;
        assert!(status.success(), "the collector ended with {status}");
    }

    /// Runs `drain` as a preStop hook does, with time enough: everything counted so far is acknowledged.
    pub async fn drain(&self) {
        let admin = self.admin.strip_prefix("http://").expect("an address with scheme");
        let mut command = tokio::process::Command::new(release_binary("weighbridge-collector"));
        command.args(["drain", "--admin", admin, "--wait-s", "60"]);
        let output = command.output().await.expect("the collector's drain");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("is acknowledged"), "{output:?}");
    }

    /// Stops its process until `resume`, as a machine without time for it would.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.process_id().cast_signed()).expect("the id of a process");
        kill_process(id, signal).expect("a signal to the collector");
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        self.process.as_ref().expect("a running collector").output()
    }

    /// The id of its process.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("a running collector").id()
    }

    /// The text of its `/metrics`.
    pub async fn metrics(&self) -> String {
        let answer = http_client().get(format!("{}/metrics", self.admin)).send().await.expect("metrics");
        answer.text().await.expect("metrics")
    }

    /// A counter without labels.
    pub async fn counter(&self, name: &str) -> u64 {
        let prefix = format!("weighbridge_collector_{name}_total ");
        let page = self.metrics().await;
        let line = page.lines().find_map(|line| line.strip_prefix(&prefix).map(ToOwned::to_owned));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {prefix}in\n{page}"))
    }

    /// Its id, as ClickHouse shows it.
    pub fn id(&self) -> String {
        let text = std::fs::read_to_string(self.data.join("collector-id")).expect("the collector's id");
        let text = text.trim();
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }

    /// What it wrote down before it was sent: one object a report.
    pub fn ledger(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.data.join("ledger.jsonl")).expect("the collector's ledger");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of the ledger")).collect()
    }
}
