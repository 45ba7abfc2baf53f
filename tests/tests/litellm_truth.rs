//! The client's truth equals the provider's, through the real LiteLLM, request by request.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weighbridge_tests::capture::Capture;
use weighbridge_tests::driver::{Case, Sent, drive, plans};
use weighbridge_tests::litellm::{LiteLlm, Mode, Transport};
use weighbridge_tests::scenario::tokens;
use weighbridge_tests::upstream::{Received, Upstream};

const SEED: u64 = 7;
const EACH: u32 = 4;
const TOTAL: u32 = 320;

#[tokio::test]
async fn every_request_reaches_the_provider_as_often_as_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let capture = Capture::start().await;
    let mode = Mode::TracesV2(Transport::Http, capture.url(""));
    let gateway = LiteLlm::start(folder.path(), &upstream.url(), &mode).await;
    let sent = drive(&gateway.url(), &plans(SEED, EACH, TOTAL)).await;
    assert_eq!(sent.len(), TOTAL as usize);
    wait_for_ends(&upstream).await;
    gateway.stop().await;

    let mut by_number: BTreeMap<u32, Vec<Received>> = BTreeMap::new();
    for received in upstream.received() {
        by_number.entry(received.number).or_default().push(received);
    }
    let mut wrong = Vec::new();
    for sent in &sent {
        // A cache hit repeats another request's mark, whose attempts are that request's own.
        let hit = matches!(sent.plan.case, Case::CacheHit | Case::CacheHitStream);
        let received = if hit { Vec::new() } else { by_number.remove(&sent.plan.number).unwrap_or_default() };
        wrong.extend(differences(sent, &received));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(by_number.is_empty(), "the provider saw requests that nobody sent: {by_number:?}");
    assert!(!capture.posted().is_empty(), "LiteLLM exported nothing");
}

fn differences(sent: &Sent, received: &[Received]) -> Vec<String> {
    let plan = sent.plan;
    let mut wrong = Vec::new();
    if sent.status != plan.expected_status() {
        wrong.push(format!("{plan:?}: status {}", sent.status));
    }
    let attempts: Vec<_> = received.iter().map(|one| (one.model, one.outcome.unwrap())).collect();
    if attempts != plan.attempts() {
        wrong.push(format!("{plan:?}: attempts {attempts:?}"));
    }
    let stream_as_asked = received.iter().all(|one| one.stream == plan.stream());
    if !stream_as_asked {
        wrong.push(format!("{plan:?}: streamed otherwise than asked"));
    }
    let reported = matches!(
        plan.case,
        Case::Plain | Case::StreamUsage | Case::Messages | Case::Fallback | Case::Retried
    );
    if reported && sent.tokens != Some(tokens(plan.marked)) {
        wrong.push(format!("{plan:?}: tokens {:?}", sent.tokens));
    }
    wrong
}

/// Until every request at the provider has ended: a stream that the client left ends a little later.
async fn wait_for_ends(upstream: &Upstream) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while upstream.received().iter().any(|received| received.outcome.is_none()) {
        assert!(Instant::now() < deadline, "requests at the provider did not end");
        sleep(Duration::from_millis(100)).await;
    }
}
