//! The real collector for a test: its configuration, its process, its metrics and the record of what it sealed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::processes::{Process, free_port, http_client, release_binary};

/// It starts in milliseconds; the machine may be building at the same time.
const LIMIT: Duration = Duration::from_secs(60);

/// What it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// OTLP spans.
    Traces,
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
        let [grpc, http, webhook, tap, admin] = [(); 5].map(|()| format!("127.0.0.1:{}", free_port()));
        let data = folder.join(format!("{name}-data"));
        let source = match input {
            Input::Traces | Input::Metrics => {
                let signal = if input == Input::Traces { "traces" } else { "metrics" };
                format!(
                    "otlp: {{profile: litellm, signal: {signal}, grpc_listen: '{grpc}', http_listen: '{http}'}}"
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
            "data_folder: {}\nenvironment: production\nwindow_s: 10\nsource:\n  {source}\n\
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
