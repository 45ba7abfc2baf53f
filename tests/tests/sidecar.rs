//! The collector's life beside a gateway, as in a pod: the real Envoy's requests are answered the same whatever happens to its
//! collector, and an end with an open stream loses nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use weighbridge_proto::cells::Counts;
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::driver::{Case, drive};
use weighbridge_tests::envoy::{Envoy, Logs};
use weighbridge_tests::faults::disk::Disk;
use weighbridge_tests::plain_proxy;
use weighbridge_tests::processes::{free_port, http_client};
use weighbridge_tests::scenario::tokens;
use weighbridge_tests::simple_ingest::{Answer, SimpleIngest};
use weighbridge_tests::upstream::Upstream;

/// Bound of every wait.
const LIMIT: Duration = Duration::from_secs(60);
/// Windows that do not end within the test: what leaves sooner leaves by the preStop hook.
const WINDOW_S: u32 = 3_600;
/// A stream may stay open for as long as a busy machine takes for the rest of the test.
const PATIENCE: Duration = Duration::from_secs(120);

async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < deadline, "{what} did not come");
        sleep(Duration::from_millis(50)).await;
    }
}

fn service(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// The gateway in front of `upstream`, whose log goes to the collector.
async fn gateway(folder: &std::path::Path, upstream: &str, collector: &Collector) -> Envoy {
    let otlp = service(&collector.grpc).to_owned();
    // Its other logs lead nowhere.
    let logs = Logs { file: "/dev/null".into(), otlp, als: format!("127.0.0.1:{}", free_port()) };
    Envoy::start_patient(folder, service(upstream), &logs, PATIENCE).await
}

/// Sends one request of each kind, numbered from `first`, and checks every answer; how many there were.
async fn serve(gateway: &Envoy, first: u32, during: &str) -> u64 {
    let is_quick = |case: Case| !matches!(case, Case::TimedOut | Case::Left);
    let mut plans: Vec<_> =
        plain_proxy::plans(1, &[]).into_iter().filter(|plan| is_quick(plan.case)).collect();
    for plan in &mut plans {
        (plan.number, plan.marked) = (plan.number + first, plan.marked + first);
    }
    let sent = drive(&gateway.url(), &plans).await;
    assert_eq!(sent.len(), plans.len());
    for answer in &sent {
        let (input, output) = tokens(answer.plan.marked);
        let (status, told) = match answer.plan.case {
            Case::RateLimited => (429, None),
            Case::Failed => (500, None),
            Case::Stream => (200, None),
            Case::Embedding => (200, Some((input, 0))),
            _ => (200, Some((input, output))),
        };
        assert_eq!(
            (answer.status, answer.complete, answer.tokens),
            (status, true, told),
            "{during}: {answer:?}"
        );
    }
    sent.len() as u64
}

#[tokio::test]
async fn the_gateways_requests_are_unaffected_whatever_happens_to_the_collector() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&folder.path().join("sidecar-data"), "4m");
    let (ingest, upstream) = (SimpleIngest::start().await, Upstream::start().await);
    ingest.answer(Answer::RefuseStreams);
    let uplink = format!("endpoint: '{}'", ingest.url());
    // Before the gateway, as a native sidecar.
    let mut collector =
        Collector::start_slow(folder.path(), "sidecar", Input::OtlpLogs, &uplink, WINDOW_S).await;
    let gateway = gateway(folder.path(), &upstream.url(), &collector).await;
    until("a refused stream", async || ingest.refused() > 0).await;
    let mut served = serve(&gateway, 0, "refused by ingest").await;
    until("requests counted while refused", async || collector.counter("requests").await == served).await;
    ingest.answer(Answer::Acknowledge);
    served += serve(&gateway, 100, "in order").await;
    until("requests counted", async || collector.counter("requests").await == served).await;
    disk.fill();
    served += serve(&gateway, 200, "out of disk").await;
    until("requests counted on a full disk", async || collector.counter("requests").await == served).await;
    until("a word about the disk", async || {
        let is_told = collector.output().contains("the disk takes no report");
        if !is_told {
            // Room that a file of its own gave back meanwhile.
            disk.fill();
        }
        is_told
    })
    .await;
    disk.free();
    collector.pause();
    served += serve(&gateway, 300, "paused").await;
    collector.resume();
    until("requests counted after a pause", async || collector.counter("requests").await == served).await;
    // Nothing was lost so far.
    collector.drain().await;
    assert_eq!(ingest.requests(), served);
    collector.kill().await;
    serve(&gateway, 400, "killed").await;
    collector.restart().await;
    let after = serve(&gateway, 500, "started anew").await;
    until("requests counted by the next start", async || collector.counter("requests").await >= after).await;
    collector.stop().await;
    assert!(ingest.requests() >= served + after);
    gateway.stop().await;
}

/// Lets open streams end.
type Release = Arc<Notify>;

/// A provider whose streams stay open until they are released.
async fn patient_provider(release: Release) -> String {
    async fn answer(State(release): State<Release>, request: Request) -> Response {
        let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
        let usage = r#""usage":{"prompt_tokens":7,"completion_tokens":5}"#;
        let head = r#""id":"1","model":"gpt-4o""#;
        if !String::from_utf8_lossy(&body).contains("\"stream\":true") {
            let text = format!(r#"{{{head},"choices":[{{"message":{{"content":"word"}}}}],{usage}}}"#);
            return ([("content-type", "application/json")], text).into_response();
        }
        let event = |text: String| Ok::<_, Infallible>(Bytes::from(format!("data: {text}\n\n")));
        let first = event(format!(r#"{{{head},"choices":[{{"delta":{{"content":"word"}}}}]}}"#));
        let last = event(format!(r#"{{{head},"choices":[],{usage}}}"#));
        let end = stream::once(async move {
            release.notified().await;
            last
        });
        let events = stream::iter([first]).chain(end).chain(stream::iter([event("[DONE]".to_owned())]));
        ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(release);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

async fn ask(gateway: &Envoy, is_stream: bool) -> reqwest::Response {
    let body = format!(r#"{{"model":"gpt-4o","messages":[],"stream":{is_stream}}}"#);
    let request = http_client().post(format!("{}/v1/chat/completions", gateway.url()));
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer
}

async fn ask_many(gateway: &Envoy, many: u64) {
    for _ in 0..many {
        assert!(ask(gateway, false).await.text().await.unwrap().contains("word"));
    }
}

/// How the pod ends once its gateway is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There is time left.
    Terminate,
    /// The gateway used up the grace period: SIGKILL follows at once, and the pod's disk is gone.
    Kill,
}

async fn end_with_an_open_stream(end: End) {
    let folder = tempfile::tempdir().unwrap();
    let ingest = SimpleIngest::start().await;
    let release = Release::default();
    let provider = patient_provider(Arc::clone(&release)).await;
    let uplink = format!("endpoint: '{}'", ingest.url());
    let mut collector =
        Collector::start_slow(folder.path(), "sidecar", Input::OtlpLogs, &uplink, WINDOW_S).await;
    let gateway = gateway(folder.path(), &provider, &collector).await;
    ask_many(&gateway, 12).await;
    let mut open = ask(&gateway, true).await;
    assert!(open.chunk().await.unwrap().is_some(), "the stream has begun");
    until("requests counted", async || collector.counter("requests").await == 12).await;
    assert_eq!(ingest.requests(), 0, "the window is open");
    // The pod is told to end: the sidecar's preStop hook runs, the gateway goes on with what is open.
    collector.drain().await;
    assert_eq!(ingest.requests(), 12);
    ask_many(&gateway, 5).await;
    until("what came after the hook", async || ingest.requests() == 17).await;
    release.notify_waiters();
    let mut rest = String::new();
    while let Some(piece) = open.chunk().await.unwrap() {
        rest += &String::from_utf8_lossy(&piece);
    }
    assert!(rest.ends_with("data: [DONE]\n\n"), "the stream ended as it should: {rest}");
    let every_request = Counts { requests: 18, attempts: 18, input_tokens: 7 * 18, output_tokens: 5 * 18 };
    match end {
        End::Terminate => {
            until("the stream counted", async || collector.counter("requests").await == 18).await;
            gateway.stop().await;
            collector.stop().await;
        }
        End::Kill => {
            until("the stream at ingest", async || ingest.requests() == 18).await;
            gateway.stop().await;
            collector.kill().await;
        }
    }
    assert_eq!(ingest.counts(), every_request, "{end:?}");
}

#[tokio::test]
async fn sigterm_with_an_open_stream_loses_nothing() {
    end_with_an_open_stream(End::Terminate).await;
}

#[tokio::test]
async fn a_gateway_that_uses_up_the_grace_period_loses_nothing() {
    end_with_an_open_stream(End::Kill).await;
}
