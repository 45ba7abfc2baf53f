//! The real Envoy for a test, over the fake provider, with three access logs of the same requests: JSON lines in a file, OTLP
//! logs, and its gRPC access log. Model and tokens are put into dynamic metadata by Envoy's own filters, as Envoy 1.40 has them.
//!
//! Here are also the plans of what is sent to it and what its logs tell of them. A plan that is retried has two attempts; a
//! stream without token counts, one that the client left and a failure have no tokens.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::driver::{Case, Plan, Sent};
use crate::processes::{Process, free_port, tool};
use crate::scenario::{
    BROKEN, CANARY_MODEL, DEEPSEEK, Deployment, EMBEDDING, FLAKY, GPT_4O, LIMITED_ALONE, LLAMA, SLOW,
    TALKATIVE, tokens,
};
use crate::truth::{Cells, model};

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
        let (port, admin) = (free_port(), free_port());
        let config = folder.join("envoy.yaml");
        std::fs::write(&config, configuration(port, admin, upstream, logs)).expect("Envoy's configuration");
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

/// Every case that a plain proxy can have, `each` times, in a fixed order that mixes them.
pub fn plans(each: u32) -> Vec<Plan> {
    let cases = [
        (Case::Plain, GPT_4O),
        (Case::Stream, LLAMA),
        (Case::StreamUsage, DEEPSEEK),
        (Case::Plain, CANARY_MODEL),
        (Case::Embedding, EMBEDDING),
        (Case::RateLimited, LIMITED_ALONE),
        (Case::Failed, BROKEN),
        (Case::Retried, FLAKY),
        (Case::TimedOut, SLOW),
        (Case::Left, TALKATIVE),
    ];
    (0..each * u32::try_from(cases.len()).expect("few cases"))
        .map(|number| {
            let (case, deployment) = cases[number as usize % cases.len()];
            // Envoy changes no names: the client asks for the provider's own.
            let deployment = Deployment { alias: deployment.model, ..deployment };
            Plan { number, case, deployment, marked: number }
        })
        .collect()
}

/// What each of the three logs tells of what was sent.
pub fn expected(sent: &[Sent]) -> Cells {
    let mut cells = Cells::new();
    for Sent { plan, .. } in sent {
        let (outcome, attempts) = match plan.case {
            Case::RateLimited => ("rate_limited", 1),
            // Envoy is told to try a 500 once more.
            Case::Failed => ("server_error", 2),
            Case::TimedOut => ("server_error", 1),
            Case::Retried => ("ok", 2),
            Case::Left => ("cancelled", 1),
            _ => ("ok", 1),
        };
        let (input, output) = match plan.case {
            Case::Plain | Case::StreamUsage | Case::Retried => tokens(plan.marked),
            Case::Embedding => (tokens(plan.marked).0, 0),
            _ => (0, 0),
        };
        let (name, openness) = model(&plan.deployment);
        let operation = if plan.case == Case::Embedding { "embeddings" } else { "chat" };
        let streamed = if plan.stream() { "yes" } else { "no" };
        let cell =
            cells.entry(format!("{name} {openness} {operation} {outcome} unknown {streamed}")).or_default();
        cell.iter_mut().zip([1, attempts, input, output]).for_each(|(sum, count)| *sum += count);
    }
    cells
}

fn configuration(port: u16, admin: u16, upstream: &str, logs: &Logs) -> String {
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
        .replace("$TIMEOUT", &TIMEOUT.as_secs().to_string())
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
