//! The real Envoy for a test, over the fake provider, with three access logs of the same requests: JSON lines in a file, OTLP
//! logs, and its gRPC access log. Model and tokens are put into dynamic metadata by Envoy's own filters, as Envoy 1.40 has them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::processes::{Process, free_port, tool};

/// It starts in half a second; the machine may be building at the same time.
const LIMIT: Duration = Duration::from_secs(60);

/// How long it waits for the provider: less than `SLOW_ANSWER`, more than any other answer takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Where its logs go; the services by `host:port`.
#[derive(Debug)]
pub struct Logs {
    /// JSON lines.
    pub file: PathBuf,
    /// OTLP logs by gRPC.
    pub otlp: String,
    /// Envoy's access log service.
    pub als: String,
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    port: u16,
}

impl Envoy {
    /// Starts it in front of the provider at `upstream` (`host:port`).
    pub async fn start(folder: &Path, upstream: &str, logs: &Logs) -> Envoy {
        Envoy::start_patient(folder, upstream, logs, TIMEOUT).await
    }

    /// As `start`; it waits for the provider's whole answer as long as `timeout`.
    pub async fn start_patient(folder: &Path, upstream: &str, logs: &Logs, timeout: Duration) -> Envoy {
        let (port, admin) = (free_port(), free_port());
        let config = folder.join("envoy.yaml");
        std::fs::write(&config, configuration(port, admin, upstream, logs, timeout))
            .expect("Envoy's configuration");
        let mut command = Command::new(tool("envoy/envoy"));
        command.arg("--config-path").arg(&config).args([
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "warn",
        ]);
        let mut process = Process::start("envoy", &command, folder);
        process.wait_for_http(&format!("http://127.0.0.1:{admin}/ready"), LIMIT).await;
        Envoy { process, port }
    }

    /// The base address, without a path.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.process.terminate(LIMIT).await;
    }
}

fn configuration(port: u16, admin: u16, upstream: &str, logs: &Logs, timeout: Duration) -> String {
    // What an operator writes; `gen_ai` and other names would do as well, these are the profile's.
    let fields = [
        ("response_code", "%RESPONSE_CODE%"),
        ("response_flags", "%RESPONSE_FLAGS%"),
        ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
        ("path", "%REQ(:PATH)%"),
        ("request_id", "%REQ(X-REQUEST-ID)%"),
        ("start_time", "%START_TIME%"),
        ("upstream_request_attempt_count", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        ("request_model", "%DYNAMIC_METADATA(ai:request_model)%"),
        ("model", "%DYNAMIC_METADATA(ai:model)%"),
        ("stream", "%DYNAMIC_METADATA(ai:stream)%"),
        ("input_tokens", "%DYNAMIC_METADATA(ai:input_tokens)%"),
        ("output_tokens", "%DYNAMIC_METADATA(ai:output_tokens)%"),
    ];
    let json: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: \"{value}\"")).collect();
    let otlp: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{{key: {name}, value: {{string_value: \"{value}\"}}}}"))
        .collect();
    let address = |text: &str| {
        let (host, port) = text.rsplit_once(':').expect("host:port");
        format!("{{socket_address: {{address: {host}, port_value: {port}}}}}")
    };
    let cluster = |name: &str, text: &str, is_http2: bool| {
        // Three retries at a time are Envoy's default: a fourth is forbidden and its answer handed on, by the luck of timing.
        let options = if is_http2 {
            "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {\"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: \
             {http2_protocol_options: {}}}}, "
        } else {
            "circuit_breakers: {thresholds: [{max_retries: 100}]}, "
        };
        format!(
            "{{name: {name}, type: STATIC, {options}load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
             [{{endpoint: {{address: {}}}}}]}}]}}}}",
            address(text)
        )
    };
    include_str!("envoy.yaml")
        .replace("$ADMIN", &admin.to_string())
        .replace("$PORT", &port.to_string())
        .replace("$TIMEOUT", &timeout.as_secs().to_string())
        .replace("$FILE", &logs.file.display().to_string())
        .replace("$JSON", &json.join(", "))
        .replace("$OTLP", &otlp.join(", "))
        .replace(
            "$CLUSTERS",
            &[
                cluster("up", upstream, false),
                cluster("otlp", &logs.otlp, true),
                cluster("als", &logs.als, true),
            ]
            .join(", "),
        )
}
