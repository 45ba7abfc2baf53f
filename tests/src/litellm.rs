//! The real LiteLLM proxy for a test, over the fake provider, exporting in one of its modes.
//!
//! Its configuration is generated from `scenario::DEPLOYMENTS`. Nothing of it leaves the machine: prices are local,
//! there is no database, and its only peers are the provider and the exporter's endpoint.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::processes::{Process, free_port, tool};
use crate::scenario::{Api, Behaviour, DEPLOYMENTS, Deployment, GATEWAY_TIMEOUT, LIMITED, LLAMA, canaries};

/// 16 to 23 s on two idle cores; the machine may be building at the same time.
const START_LIMIT: Duration = Duration::from_secs(180);
/// It waits for open requests and flushes its exporters.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// CPython 3.11 and older crash when garbage is collected in the middle of `ContextVar.set` (python/cpython#148891), which the OpenTelemetry
/// SDK calls for each span: the proxy died in one of twenty tests. A test is too short to need a collection.
const NO_COLLECTION: &str = "2000000000,1000,1000";
/// How often spans are exported; LiteLLM's default is 5 s.
const SPAN_INTERVAL_MS: &str = "200";
/// How often the webhook is called; LiteLLM takes whole seconds, its default is 5.
const WEBHOOK_INTERVAL_S: &str = "1";

/// How OTLP travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `http/protobuf`, plain.
    Http,
    /// `http/protobuf` with gzip.
    HttpGzip,
    /// gRPC.
    Grpc,
}

/// What LiteLLM exports, and to where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Spans of the first integration, with one `litellm_request` for each call.
    TracesV1(Transport, String),
    /// Spans of the second integration.
    TracesV2(Transport, String),
    /// Spans and metrics of the second integration. Metrics leave every 5 s, which LiteLLM lets nobody change.
    MetricsV2(Transport, String),
    /// The `generic_api` webhook: JSON arrays of events. LiteLLM loses events that come while it posts.
    Webhook(String),
    /// The same, posted once, when this many events are there: nothing is lost.
    WebhookAtOnce(String, usize),
    /// A `/metrics` page.
    Pages,
    /// Everything at once.
    All(Endpoints),
}

/// Where a proxy that exports everything at once sends it. Its `/metrics` page is there too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// OTLP/HTTP for spans of the second integration, without a path.
    pub traces: String,
    /// OTLP/HTTP for its metrics, without a path.
    pub metrics: String,
    /// The webhook, with its path; posted once, as `Mode::WebhookAtOnce`.
    pub webhook: String,
    /// Events that make the post.
    pub events: usize,
}

/// A running proxy.
#[derive(Debug)]
pub struct LiteLlm {
    process: Process,
    port: u16,
}

impl LiteLlm {
    /// Starts the proxy in front of the provider at `upstream` (its address without a path).
    pub async fn start(folder: &Path, upstream: &str, mode: &Mode) -> Self {
        let port = free_port();
        let config = folder.join("litellm.yaml");
        std::fs::write(&config, configuration(upstream, mode)).expect("LiteLLM's configuration");
        let mut process = Process::start("litellm", &command(&config, port, mode), folder);
        process.wait_for_http(&format!("http://127.0.0.1:{port}/health/liveliness"), START_LIMIT).await;
        Self { process, port }
    }

    /// The base address, without a path.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Ends it in order, which makes it export what it still holds.
    pub async fn stop(self) {
        self.process.terminate(STOP_LIMIT).await;
    }

    /// Sends `kill -9`.
    pub async fn kill(self) {
        self.process.kill().await;
    }
}

fn command(config: &PathBuf, port: u16, mode: &Mode) -> Command {
    let mut command = Command::new(tool("litellm/bin/litellm"));
    command.arg("--config").arg(config).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    for (key, _) in std::env::vars_os() {
        // The machine's own telemetry and proxy settings must not reach the gateway under test.
        let name = key.to_string_lossy().to_ascii_uppercase();
        if name.starts_with("OTEL_") || name.starts_with("LITELLM_") || name.ends_with("_PROXY") {
            command.env_remove(key);
        }
    }
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    command.env("PYTHON_GC_THRESHOLD", NO_COLLECTION);
    command.env("OTEL_BSP_SCHEDULE_DELAY", SPAN_INTERVAL_MS);
    command.env("DEFAULT_FLUSH_INTERVAL_SECONDS", WEBHOOK_INTERVAL_S);
    let (transport, endpoint) = match mode {
        Mode::TracesV1(transport, endpoint) => {
            command.env("USE_OTEL_LITELLM_REQUEST_SPAN", "true");
            (transport, endpoint)
        }
        Mode::TracesV2(transport, endpoint) => {
            command.env("LITELLM_OTEL_V2", "true");
            (transport, endpoint)
        }
        Mode::MetricsV2(transport, endpoint) => {
            command.env("LITELLM_OTEL_V2", "true").env("LITELLM_OTEL_INTEGRATION_ENABLE_METRICS", "true");
            (transport, endpoint)
        }
        Mode::Webhook(endpoint) => {
            command.env("GENERIC_LOGGER_ENDPOINT", endpoint);
            return command;
        }
        Mode::WebhookAtOnce(endpoint, events) => {
            webhook_at_once(&mut command, endpoint, *events);
            return command;
        }
        Mode::Pages => return command,
        Mode::All(Endpoints { traces, metrics, webhook, events }) => {
            webhook_at_once(&mut command, webhook, *events);
            command.env("LITELLM_OTEL_V2", "true").env("LITELLM_OTEL_INTEGRATION_ENABLE_METRICS", "true");
            // Spans go there, so only metrics go to the endpoint of all signals.
            command.env("OTEL_TRACES_ENDPOINT", format!("{traces}/v1/traces"));
            (&Transport::Http, metrics)
        }
    };
    let protocol = if *transport == Transport::Grpc { "otlp_grpc" } else { "otlp_http" };
    command.env("OTEL_EXPORTER", protocol).env("OTEL_ENDPOINT", endpoint);
    if *transport == Transport::HttpGzip {
        command.env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    }
    command
}

fn webhook_at_once(command: &mut Command, endpoint: &str, events: usize) {
    command.env("GENERIC_LOGGER_ENDPOINT", endpoint);
    command.env("DEFAULT_BATCH_SIZE", events.to_string()).env("DEFAULT_FLUSH_INTERVAL_SECONDS", "3600");
}

fn configuration(upstream: &str, mode: &Mode) -> String {
    let callbacks = match mode {
        Mode::Webhook(_) | Mode::WebhookAtOnce(..) => r#""generic_api""#,
        Mode::Pages => r#""prometheus""#,
        Mode::TracesV1(..) | Mode::TracesV2(..) | Mode::MetricsV2(..) => r#""otel""#,
        Mode::All(_) => r#""otel", "prometheus", "generic_api""#,
    };
    let mut text = "model_list:\n".to_owned();
    for deployment in &DEPLOYMENTS {
        text.push_str(&entry(deployment, upstream));
    }
    // One attempt for each request unless it asks for more, and no deployment is taken out after failures: else what
    // one request does would depend on the ones before it.
    write!(
        text,
        "router_settings:
  num_retries: 0
  disable_cooldowns: true
  fallbacks: [{{\"{from}\": [\"{to}\"]}}]
litellm_settings:
  num_retries: 0
  callbacks: [{callbacks}]
  require_auth_for_metrics_endpoint: false
  cache: true
  cache_params: {{type: local}}
  # Else each stream of a Llama model without token counts waits 24 s for a tokenizer that is to be fetched.
  disable_hf_tokenizer_download: true
general_settings:
  master_key: \"{key}\"
",
        from = LIMITED.alias,
        to = LLAMA.alias,
        key = canaries::KEY,
    )
    .expect("a String takes everything");
    text
}

fn entry(deployment: &Deployment, upstream: &str) -> String {
    // LiteLLM appends `/v1/messages` for Anthropic, and only `/chat/completions` or `/embeddings` for the others.
    let base = if deployment.api == Api::AnthropicMessages { "" } else { "/v1" };
    let timeout = match deployment.behaviour {
        Behaviour::Slow => format!(", timeout: {}", GATEWAY_TIMEOUT.as_secs()),
        _ => String::new(),
    };
    format!(
        "  - {{model_name: \"{}\", litellm_params: {{model: \"{}/{}\", api_key: \"{}\", api_base: \"{upstream}{base}\"{timeout}}}}}\n",
        deployment.alias,
        deployment.provider,
        deployment.model,
        canaries::UPSTREAM_KEY,
    )
}
