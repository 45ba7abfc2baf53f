//! Writes what the real LiteLLM exports, to look at it or to renew `tests/fixtures/litellm`.
//!
//! `cargo run -p weighbridge-tests --example capture_litellm -- MODE FOLDER [EACH TOTAL]` with MODE one of
//! `traces-v1`, `traces-v2`, `metrics-v2`, `webhook`, optionally with `-gzip`. FOLDER receives each body as it
//! came over the wire, its headers, and `truth.json`: what the client sent and the provider saw.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use weighbridge_tests::capture::Capture;
use weighbridge_tests::driver::{drive, plans};
use weighbridge_tests::litellm::{LiteLlm, Mode, Transport};
use weighbridge_tests::upstream::Upstream;

/// Metrics leave every 5 s, spans and events sooner.
const SETTLE: Duration = Duration::from_secs(12);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(arguments.get(1).expect("a folder"));
    let number =
        |index: usize, default: u32| arguments.get(index).map_or(default, |text| text.parse().unwrap());
    std::fs::create_dir_all(&folder).unwrap();
    let upstream = Upstream::start().await;
    let capture = Capture::start().await;
    let (name, transport) = match arguments[0].strip_suffix("-gzip") {
        Some(name) => (name, Transport::HttpGzip),
        None => (arguments[0].as_str(), Transport::Http),
    };
    let mode = match name {
        "traces-v1" => Mode::TracesV1(transport, capture.url("")),
        "traces-v2" => Mode::TracesV2(transport, capture.url("")),
        "metrics-v2" => Mode::MetricsV2(transport, capture.url("")),
        "webhook" => Mode::Webhook(capture.url("/webhook")),
        other => panic!("no such mode: {other}"),
    };
    let gateway = LiteLlm::start(&folder, &upstream.url(), &mode).await;
    let sent = drive(&gateway.url(), &plans(7, number(2, 2), number(3, 60))).await;
    tokio::time::sleep(SETTLE).await;
    gateway.stop().await;
    for (index, posted) in capture.posted().iter().enumerate() {
        let path = posted.path.trim_start_matches('/').replace('/', "-");
        std::fs::write(folder.join(format!("{index:04}-{path}.body")), &posted.raw).unwrap();
        std::fs::write(folder.join(format!("{index:04}-{path}.headers")), format!("{:#?}\n", posted.headers))
            .unwrap();
    }
    let rows: Vec<_> = sent
        .iter()
        .map(|sent| {
            json!({
                "number": sent.plan.number, "case": format!("{:?}", sent.plan.case), "alias": sent.plan.deployment.alias,
                "model": sent.plan.deployment.model, "marked": sent.plan.marked, "status": sent.status,
                "call_id": sent.call_id, "tokens": sent.tokens,
            })
        })
        .collect();
    let received: Vec<_> = upstream.received().iter().map(|one| format!("{one:?}")).collect();
    let truth = json!({"sent": rows, "received": received});
    std::fs::write(folder.join("truth.json"), serde_json::to_vec_pretty(&truth).unwrap()).unwrap();
}
