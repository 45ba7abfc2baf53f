//! The real nginx: its JSON access log, followed as a file, equal to what the client and the fake provider know, cell by cell.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use crate::aggregator::Rig;
use crate::whole_path::{AUDIT, Ingest, assert_no_canary, wait_until, wait_until_counted};
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::driver::{Case, drive};
use weighbridge_tests::nginx::Nginx;
use weighbridge_tests::plain_proxy::{self, Tokens};
use weighbridge_tests::scenario::GPT_4O;
use weighbridge_tests::upstream::Upstream;

const EACH: u32 = 4;

#[tokio::test]
async fn the_log_of_nginx_is_the_truth() {
    let rig = Rig::start().await;
    let ingest = Ingest::start(&rig).await;
    let _load = rig.load("load").await;
    let upstream = Upstream::start().await;
    let file = rig.folder.path().join("nginx-access.jsonl");
    let input = Input::LogFile { profile: "nginx", file: file.clone() };
    let mut collector = Collector::start(rig.folder.path(), "nginx-log", input, &ingest.url()).await;
    let provider = upstream.url();
    let provider = provider.strip_prefix("http://").unwrap();
    let gateway = Nginx::start(rig.folder.path(), provider, &file).await;
    let plans = plain_proxy::plans(EACH, &[(Case::BadKey, GPT_4O)]);
    let sent = drive(&gateway.url(), &plans).await;
    let truth = plain_proxy::expected(&sent, Tokens::NotRead);
    wait_until_counted(&collector, &truth).await;
    gateway.stop().await;
    assert_no_canary(&rig, &collector, "nginx", "nginx-access.jsonl").await;
    collector.stop().await;
    wait_until(&rig, &collector, &truth, "nginx", |cells| cells).await;
    rig.wait_for(AUDIT, "0").await;
}
