//! The real Envoy: its access log as a file, as OTLP logs and by its own service, each equal to what the client and the fake
//! provider know, cell by cell.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use crate::aggregator::Rig;
use crate::whole_path::{AUDIT, Ingest, assert_no_canary, wait_until, wait_until_counted};
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::driver::drive;
use weighbridge_tests::envoy::{Envoy, Logs};
use weighbridge_tests::plain_proxy::{self, Tokens};
use weighbridge_tests::upstream::Upstream;

const EACH: u32 = 4;

#[tokio::test]
async fn the_three_logs_of_envoy_are_the_truth() {
    let rig = Rig::start().await;
    let ingest = Ingest::start(&rig).await;
    let _load = rig.load("load").await;
    let upstream = Upstream::start().await;
    let file = rig.folder.path().join("envoy-access.jsonl");
    let ingest_url = ingest.url();
    let start = |name, input| Collector::start(rig.folder.path(), name, input, &ingest_url);
    let by_file = start("by-file", Input::LogFile { profile: "envoy", file: file.clone() }).await;
    let by_otlp = start("by-otlp", Input::OtlpLogs).await;
    let by_als = start("by-als", Input::Als).await;
    let service = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
    let logs = Logs { file, otlp: service(&by_otlp.grpc), als: service(&by_als.grpc) };
    let gateway = Envoy::start(rig.folder.path(), &service(&upstream.url()), &logs).await;
    let sent = drive(&gateway.url(), &plain_proxy::plans(EACH, &[])).await;
    let truth = plain_proxy::expected(&sent, Tokens::Logged);
    // Both before Envoy ends: what it has not sent by then it forgets. Its file it writes every ten seconds, and at its end.
    wait_until_counted(&by_otlp, &truth).await;
    wait_until_counted(&by_als, &truth).await;
    gateway.stop().await;
    wait_until_counted(&by_file, &truth).await;
    for collector in [&by_file, &by_otlp, &by_als] {
        assert_no_canary(&rig, collector, "envoy", "envoy-access.jsonl").await;
    }
    for (mut collector, name) in [(by_file, "file"), (by_otlp, "OTLP logs"), (by_als, "ALS")] {
        collector.stop().await;
        wait_until(&rig, &collector, &truth, name, |cells| cells).await;
    }
    rig.wait_for(AUDIT, "0").await;
}
