//! Every stage's equation, over `/metrics` of real programs, after good and bad input: what came in is what went on, what was refused,
//! what was dropped and what is in flight. And what the tests know went in is what `received` says.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use crate::aggregator::{Edge, LIMIT, Rig, counts, key, midnight, produce};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Duration, Instant, sleep, timeout};
use weighbridge_catalog::Openness;
use weighbridge_proto::uplink::uplink_client::UplinkClient;
use weighbridge_proto::v1::ReceiptStatus;
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::processes::{free_port, http_client};

/// Sum of the samples of exactly this metric.
fn sum(page: &str, name: &str) -> u64 {
    let samples = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
    });
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn one(page: &str, name: &str, reason: &str) -> u64 {
    let prefix = format!("{name}{{reason=\"{reason}\"}} ");
    let found = page.lines().find_map(|line| line.strip_prefix(&prefix));
    found.unwrap_or_else(|| panic!("no {prefix}in\n{page}")).parse().unwrap()
}

fn closes(page: &str, prefix: &str, left: &[&str], right: &[&str]) {
    let side = |names: &[&str]| -> Vec<u64> {
        names.iter().map(|name| sum(page, &format!("{prefix}{name}"))).collect()
    };
    let (left_values, right_values) = (side(left), side(right));
    assert_eq!(
        left_values.iter().sum::<u64>(),
        right_values.iter().sum::<u64>(),
        "{left:?} {left_values:?} = {right:?} {right_values:?}\n{page}"
    );
}

fn collector_closes(page: &str) {
    let prefix = "weighbridge_collector_";
    closes(
        page,
        prefix,
        &["items_received_total"],
        &["items_counted_total", "items_skipped_total", "items_refused_total"],
    );
    closes(
        page,
        prefix,
        &["reports_sealed_total", "reports_resumed_total"],
        &["reports_acknowledged_total", "reports_refused_total", "reports_dropped_total", "spool_reports"],
    );
}

async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < deadline, "{what} did not come");
        sleep(Duration::from_millis(100)).await;
    }
}

fn span(scope: &str, id: u32, end_s: u64) -> String {
    format!(
        r#"{{"scopeSpans":[{{"scope":{{"name":"{scope}"}},"spans":[{{"kind":3,"spanId":"{id:016x}","traceId":"{id:032x}","startTimeUnixNano":"{end_s}000000000","endTimeUnixNano":"{end_s}000000000","attributes":[{{"key":"gen_ai.operation.name","value":{{"stringValue":"chat"}}}},{{"key":"gen_ai.provider.name","value":{{"stringValue":"openai"}}}},{{"key":"gen_ai.request.model","value":{{"stringValue":"gpt-4o"}}}}]}}]}}]}}"#
    )
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

async fn post(collector: &Collector, path: &str, body: String) -> u16 {
    let request = http_client().post(format!("{}{path}", collector.http));
    let request = request.header("content-type", "application/json").body(body);
    request.send().await.unwrap().status().as_u16()
}

/// Good spans, spans that are skipped, spans that are refused alone, payloads that are refused and skipped whole.
async fn feed(collector: &Collector) {
    let now = now_s();
    let payload = |spans: &[String]| format!(r#"{{"resourceSpans":[{}]}}"#, spans.join(","));
    let good: Vec<String> = (0..20).map(|id| span("litellm", 100 + id, now)).collect();
    assert_eq!(post(collector, "/v1/traces", payload(&good)).await, 200);
    // The exporter sends a batch again: duplicates.
    post(collector, "/v1/traces", payload(&good[..5])).await;
    let mixed =
        [span("litellm", 200, now), span("another", 201, now), span("litellm", 202, now - 10 * 86_400)];
    post(collector, "/v1/traces", payload(&mixed)).await;
    assert_eq!(post(collector, "/v1/traces", "{\"resourceSpans\":[{".to_owned()).await, 400);
    post(collector, "/v1/metrics", "{}".to_owned()).await;
}

#[tokio::test]
async fn every_stage_closes_after_good_and_bad_input() {
    let rig = Rig::start().await;
    let listen = format!("127.0.0.1:{}", free_port());
    let ingest = rig.stage(&["ingest"], &[("WEIGHBRIDGE_INGEST_LISTEN", listen.clone())]).await;
    let load = rig.stage(&["load"], &[]).await;
    let url = format!("http://{listen}");
    let mut collector = Collector::start(rig.folder.path(), "spans", Input::Traces, &url).await;

    feed(&collector).await;
    // Draining: a window may have several reports, and every stage takes them.
    collector.drain().await;
    let page = collector.metrics().await;
    assert!(sum(&page, "weighbridge_collector_reports_acknowledged_total") > 0, "{page}");
    collector_closes(&page);
    // 20 and 5 again, 3 mixed, a payload that is no JSON, one of another signal.
    assert_eq!(sum(&page, "weighbridge_collector_items_received_total"), 20 + 5 + 3 + 1 + 1, "{page}");
    assert_eq!(sum(&page, "weighbridge_collector_items_counted_total"), 21, "{page}");
    for (name, reason, expected) in [
        ("skipped", "duplicate", 5),
        ("skipped", "other_signal", 1),
        ("refused", "clock_skew", 1),
        ("refused", "malformed", 1),
    ] {
        let name = format!("weighbridge_collector_items_{name}_total");
        assert_eq!(one(&page, &name, reason), expected, "{page}");
    }

    for id in 300..303 {
        feed_one(&collector, id).await;
        collector.drain().await;
    }
    collector_closes(&collector.metrics().await);

    let (good, refused) = to_ingest(&url).await;
    let page = text(&ingest.admin).await;
    closes(
        &page,
        "weighbridge_ingest_reports_",
        &["received_total"],
        &["forwarded_total", "refused_total", "retried_total", "in_flight"],
    );
    assert_eq!(sum(&page, "weighbridge_ingest_reports_refused_total"), refused, "{page}");

    let mut edge = Edge::new(9);
    let last = edge.report(midnight(1), &[(key(1, Openness::Closed), counts(1, 2, 3))]);
    let poison =
        [Bytes::from_static(&[0xff; 20]), Bytes::from_static(b"no report"), last.slice(..last.len() - 1)];
    produce(rig.kafka(), &poison).await;
    produce(rig.kafka(), &[last]).await;
    let forwarded = sum(&page, "weighbridge_ingest_reports_forwarded_total");
    load.wait_for_metric("weighbridge_load_reports_set_aside_total", 3).await;
    load.wait_for_metric("weighbridge_load_reports_loaded_total", forwarded as i64 + 1).await;
    until("load at rest", async || load.metric("weighbridge_load_reports_buffered").await == 0).await;
    let page = text(&load.admin).await;
    closes(
        &page,
        "weighbridge_load_reports_",
        &["read_total"],
        &["loaded_total", "set_aside_total", "buffered"],
    );
    assert!(sum(&page, "weighbridge_load_reports_loaded_total") > good, "{page}");
    load.wait_for_metric("weighbridge_load_dead_letters_waiting", 3).await;
    let of_collector = format!("collector_id = toUUID('{}')", collector.id());
    rig.wait_for(&format!("SELECT sum(requests) FROM weighbridge.ledger FINAL WHERE {of_collector}"), "24")
        .await;
    // As the view `audit`, without its grace of ten minutes.
    rig.wait_for(&format!("SELECT count() >= 4 FROM weighbridge.reports FINAL WHERE {of_collector}"), "1")
        .await;
    let differing =
        "counted_requests != claimed_requests OR present_reports != expected_reports OR torn_reports != 0";
    let audit = format!("SELECT count() FROM weighbridge.epoch_audit WHERE {of_collector} AND ({differing})");
    rig.wait_for(&audit, "0").await;

    // Ingest is gone: what is sealed stays in the spool, is found there by the next start, and every process closes by itself.
    ingest.process.kill().await;
    feed_one(&collector, 900).await;
    until("a report in the spool", async || {
        sum(&collector.metrics().await, "weighbridge_collector_spool_reports") > 0
    })
    .await;
    collector_closes(&collector.metrics().await);
    collector.kill().await;
    collector.restart().await;
    let page = collector.metrics().await;
    assert!(sum(&page, "weighbridge_collector_reports_resumed_total") > 0, "{page}");
    collector_closes(&page);
    load.stop().await;
}

async fn feed_one(collector: &Collector, id: u32) {
    let body = format!(r#"{{"resourceSpans":[{}]}}"#, span("litellm", id, now_s()));
    assert_eq!(post(collector, "/v1/traces", body).await, 200);
}

async fn text(admin: &str) -> String {
    let answer = http_client().get(format!("http://{admin}/metrics")).send().await.unwrap();
    answer.text().await.unwrap()
}

/// Sends good and bad reports; how many were taken and refused, as the receipts say.
async fn to_ingest(url: &str) -> (u64, u64) {
    let mut edge = Edge::new(8);
    let cells = [(key(1, Openness::OpenSource), counts(3, 4, 5))];
    let mut reports: Vec<Bytes> = (0..30).map(|n| edge.report(midnight(1) + n * 60, &cells)).collect();
    let mut flipped = reports[3].to_vec();
    flipped[20] ^= 1;
    reports.extend([
        Bytes::from(flipped),
        Bytes::from_static(&[0xff; 30]),
        Edge::new(7).report(midnight(90), &cells),
        Bytes::from(vec![0; 600 * 1024]),
    ]);
    let sent = reports.len();
    let mut client = UplinkClient::connect(url.to_owned()).await.unwrap();
    let receipts = client.deliver(futures_util::stream::iter(reports)).await.unwrap().into_inner();
    let receipts: Vec<_> = timeout(LIMIT, receipts.collect()).await.unwrap();
    assert_eq!(receipts.len(), sent, "one receipt per report");
    let status = |wanted| {
        receipts.iter().filter(|receipt| receipt.as_ref().unwrap().status() == wanted).count() as u64
    };
    assert_eq!(status(ReceiptStatus::Refused), 4);
    (status(ReceiptStatus::Ok), status(ReceiptStatus::Refused))
}
