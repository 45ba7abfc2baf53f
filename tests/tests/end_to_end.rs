//! The whole path on real parts: LiteLLM's own telemetry in, cells in ClickHouse out, equal to what the client and the fake
//! provider know, cell by cell. And: nothing secret anywhere on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::time::Duration;

use crate::aggregator::{LIMIT, Rig};
use crate::whole_path::{
    AUDIT, Ingest, assert_no_canary, counted, wait_until, wait_until_counted, wait_until_quiet,
};
use tokio::time::{Instant, sleep};
use weighbridge_tests::canary;
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::driver::{drive, plans};
use weighbridge_tests::litellm::{Endpoints, LiteLlm, Mode, Transport};
use weighbridge_tests::processes::release_binary;
use weighbridge_tests::scenario::canaries;
use weighbridge_tests::truth::{AGREEMENTS, Cells, Told, estimated_model, events, expected, figure};
use weighbridge_tests::upstream::Upstream;

const SEED: u64 = 23;
const EACH: u32 = 4;
const TOTAL: u32 = 320;

/// LiteLLM exports metrics so often.
const METRICS_INTERVAL: Duration = Duration::from_secs(5);

/// LiteLLM estimates the tokens of a stream that the client left: no truth to compare them with.
fn without_estimates(mut cells: Cells) -> Cells {
    for (key, counts) in &mut cells {
        if key.starts_with(estimated_model()) {
            (counts[2], counts[3]) = (0, 0);
        }
    }
    cells
}

/// Fallbacks under first choice, for input that tells them later than the request.
fn without_fallback(cells: Cells) -> Cells {
    let mut merged = Cells::new();
    for (key, counts) in without_estimates(cells) {
        let sums = merged.entry(key.replace(" fallback ", " first ")).or_default();
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    merged
}

async fn wait_until_equal(rig: &Rig, collector: &Collector, truth: &Cells, what: &str) {
    wait_until(rig, collector, truth, what, without_estimates).await;
}

#[tokio::test]
async fn spans_of_v2_are_the_truth_through_kills_of_ingest_and_load() {
    let rig = Rig::start().await;
    let mut ingest = Ingest::start(&rig).await;
    let load = rig.load("load").await;
    let mut collector = Collector::start(rig.folder.path(), "spans-v2", Input::Traces, &ingest.url()).await;
    let upstream = Upstream::start().await;
    let mode = Mode::TracesV2(Transport::Grpc, collector.grpc.clone());
    let gateway = LiteLlm::start(rig.folder.path(), &upstream.url(), &mode).await;
    let plans = plans(SEED, EACH, TOTAL);
    let url = gateway.url();
    let kills = async {
        wait_for_requests(&upstream, 100).await;
        ingest.kill().await;
        load.process.kill().await;
        wait_for_requests(&upstream, 180).await;
        ingest.restart(&rig).await;
        rig.load("load").await
    };
    let (sent, load) = tokio::join!(drive(&url, &plans), kills);
    gateway.stop().await;
    wait_until_quiet(&collector, Duration::from_secs(2)).await;
    assert_no_canary(&rig, &collector, "litellm", "litellm.yaml").await;
    collector.stop().await;
    wait_until_equal(&rig, &collector, &expected(Told::SpansV2, &sent), "spans V2").await;
    rig.wait_for(AUDIT, "0").await;
    assert_split(&rig, &collector).await;
    drop(load);
}

/// The figure a person sees is the ledger's.
async fn assert_split(rig: &Rig, collector: &Collector) {
    let served =
        "SELECT sum(requests) FROM weighbridge.ledger FINAL WHERE outcome = 'ok' AND operation = 'chat'";
    let served = rig.clickhouse.query(served).await;
    let split = rig.run(&["split", "--ledger", "--format", "json"]);
    let split: serde_json::Value = serde_json::from_str(&split).unwrap();
    assert_eq!(split["total"]["requests"].to_string(), served.trim(), "{split:#} of {}", collector.id());
}

async fn wait_for_requests(upstream: &Upstream, count: usize) {
    let deadline = Instant::now() + LIMIT;
    while upstream.received().len() < count {
        assert!(Instant::now() < deadline, "the provider did not see {count} requests");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn spans_of_v1_metrics_and_webhook_are_the_truth() {
    let rig = Rig::start().await;
    let ingest = Ingest::start(&rig).await;
    let _load = rig.load("load").await;
    let plans = plans(SEED + 1, EACH, TOTAL);
    let all_events = plans.iter().map(events).sum();
    for told in [Told::SpansV1, Told::Metrics, Told::Webhook] {
        let name = format!("{told:?}").to_lowercase();
        let input = match told {
            Told::SpansV1 | Told::SpansV2 => Input::Traces,
            Told::Metrics => Input::Metrics,
            Told::Webhook | Told::Pages => Input::Webhook,
        };
        let mut collector = Collector::start(rig.folder.path(), &name, input, &ingest.url()).await;
        let mode = match told {
            Told::SpansV1 | Told::SpansV2 => Mode::TracesV1(Transport::Http, collector.http.clone()),
            Told::Metrics => Mode::MetricsV2(Transport::HttpGzip, collector.http.clone()),
            Told::Webhook | Told::Pages => Mode::WebhookAtOnce(collector.webhook.clone(), all_events),
        };
        let upstream = Upstream::start().await;
        let gateway = LiteLlm::start(rig.folder.path(), &upstream.url(), &mode).await;
        let sent = drive(&gateway.url(), &plans).await;
        // Metrics leave every five seconds; the last webhook event makes the post.
        wait_until_quiet(&collector, Duration::from_secs(if told == Told::Metrics { 7 } else { 3 })).await;
        gateway.stop().await;
        wait_until_quiet(&collector, Duration::from_secs(1)).await;
        assert_no_canary(&rig, &collector, "litellm", "litellm.yaml").await;
        collector.stop().await;
        wait_until_equal(&rig, &collector, &expected(told, &sent), &name).await;
    }
    rig.wait_for(AUDIT, "0").await;
}

#[tokio::test]
async fn pages_are_the_truth_through_kills_of_the_collector() {
    let rig = Rig::start().await;
    let ingest = Ingest::start(&rig).await;
    let _load = rig.load("load").await;
    let upstream = Upstream::start().await;
    let gateway = LiteLlm::start(rig.folder.path(), &upstream.url(), &Mode::Pages).await;
    let input = Input::Pages(gateway.url());
    let mut collector = Collector::start(rig.folder.path(), "pages", input, &ingest.url()).await;
    // Counters that are there before the first page are a baseline.
    wait_for_pages(&collector, 1).await;
    assert_doctor_knows_litellm(&gateway);
    let plans = plans(SEED + 3, EACH, TOTAL);
    let url = gateway.url();
    let kills = async {
        for requests in [60, 150, 240] {
            wait_for_requests(&upstream, requests).await;
            wait_for_pages(&collector, 1).await;
            collector.kill().await;
            collector.restart().await;
        }
    };
    let (sent, ()) = tokio::join!(drive(&url, &plans), kills);
    // Two more pages, then the last one at its end.
    wait_for_pages(&collector, 2).await;
    assert_no_canary(&rig, &collector, "litellm", "litellm.yaml").await;
    collector.stop().await;
    gateway.stop().await;
    wait_until(&rig, &collector, &expected(Told::Pages, &sent), "pages", without_fallback).await;
    rig.wait_for(AUDIT, "0").await;
}

/// `doctor` sees what runs, and its own questions are no requests: the truth below has none of them.
fn assert_doctor_knows_litellm(gateway: &LiteLlm) {
    let mut command = std::process::Command::new(release_binary("weighbridge-collector"));
    let output = command.args(["doctor", &gateway.url()]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("LiteLLM, by its page /metrics/"), "{told}");
    let yaml = told.split("# collector.yaml for ").nth(1).unwrap().split_once('\n').unwrap().1;
    let config = weighbridge_collector::config::Config::parse(yaml.split("\n\n").next().unwrap(), |_| None);
    assert_eq!(config.unwrap().profile(), "litellm");
    assert_eq!(canary::search_bytes(told.as_bytes(), &canaries::ALL), [], "doctor");
}

#[tokio::test]
async fn four_inputs_of_one_litellm_agree_with_one_another_and_with_the_truth() {
    let rig = Rig::start().await;
    let ingest = Ingest::start(&rig).await;
    let _load = rig.load("load").await;
    let plans = plans(SEED + 4, EACH, TOTAL / 2);
    let ingest_url = ingest.url();
    let start = |name, input| Collector::start(rig.folder.path(), name, input, &ingest_url);
    let spans = start("one-spans", Input::Traces).await;
    let metrics = start("one-metrics", Input::Metrics).await;
    let webhook = start("one-webhook", Input::Webhook).await;
    let upstream = Upstream::start().await;
    let endpoints = Endpoints {
        traces: spans.http.clone(),
        metrics: metrics.http.clone(),
        webhook: webhook.webhook.clone(),
        events: plans.iter().map(events).sum(),
    };
    let gateway = LiteLlm::start(rig.folder.path(), &upstream.url(), &Mode::All(endpoints)).await;
    let mut pages = start("one-pages", Input::Pages(gateway.url())).await;
    wait_for_pages(&pages, 1).await;
    let sent = drive(&gateway.url(), &plans).await;
    for (told, collector) in
        [(Told::SpansV2, &spans), (Told::Metrics, &metrics), (Told::Webhook, &webhook), (Told::Pages, &pages)]
    {
        let mut truth = expected(told, &sent);
        if matches!(told, Told::SpansV2 | Told::Webhook) {
            // Calls are on hold for a minute, as another attempt may follow; the attempts of them are counted.
            truth.values_mut().for_each(|counts| counts[0] = 0);
        }
        wait_until_counted(collector, &truth).await;
    }
    pages.stop().await;
    // The totals above may be reached without the tokens of the last request, for others are estimated. They come with the next
    // export, and need not wait for the last one, which a busy gateway may not get through.
    wait_until_quiet(&metrics, METRICS_INTERVAL + Duration::from_secs(1)).await;
    gateway.stop().await;
    for collector in [&spans, &metrics, &webhook] {
        wait_until_quiet(collector, Duration::from_secs(1)).await;
        assert_no_canary(&rig, collector, "litellm", "litellm.yaml").await;
    }
    let inputs =
        [(Told::SpansV2, spans), (Told::Metrics, metrics), (Told::Webhook, webhook), (Told::Pages, pages)];
    let mut found = Vec::new();
    for (told, mut collector) in inputs {
        if told != Told::Pages {
            collector.stop().await;
        }
        let comparable = if told == Told::Pages { without_fallback } else { without_estimates };
        let what = format!("{told:?} of one LiteLLM");
        wait_until(&rig, &collector, &expected(told, &sent), &what, comparable).await;
        found.push((told, counted(&rig, &collector).await));
    }
    for (what, inputs) in AGREEMENTS {
        let told = found.iter().filter(|(told, _)| inputs.contains(told));
        let figures: Vec<_> = told.map(|(told, cells)| (told, figure(cells, *what))).collect();
        for (told, other) in &figures[1..] {
            let (first, one) = &figures[0];
            assert!(!one.is_empty(), "{what:?}: nothing to compare");
            assert_eq!(one, other, "{what:?} of {first:?} and {told:?}");
        }
    }
    rig.wait_for(AUDIT, "0").await;
}

/// Waits until the collector has counted this many further pages.
async fn wait_for_pages(collector: &Collector, pages: u64) {
    let until = collector.counter("pages_scraped").await + pages;
    let deadline = Instant::now() + LIMIT;
    while collector.counter("pages_scraped").await < until {
        assert!(Instant::now() < deadline, "no page was scraped");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn sealed_windows_survive_kills_of_the_collector() {
    let rig = Rig::start().await;
    let mut ingest = Ingest::start(&rig).await;
    let _load = rig.load("load").await;
    let mut collector = Collector::start(rig.folder.path(), "killed", Input::Traces, &ingest.url()).await;
    let upstream = Upstream::start().await;
    let mode = Mode::TracesV2(Transport::Http, collector.http.clone());
    let gateway = LiteLlm::start(rig.folder.path(), &upstream.url(), &mode).await;
    let plans = plans(SEED + 2, EACH, TOTAL);
    let url = gateway.url();
    let kills = async {
        for requests in [60, 150, 240] {
            wait_for_requests(&upstream, requests).await;
            // Once while ingest is away, so that sealed windows wait in the spool across the kill.
            if requests == 150 {
                ingest.kill().await;
                let sealed = collector.counter("reports_sealed").await;
                let deadline = Instant::now() + LIMIT;
                while collector.counter("reports_sealed").await == sealed {
                    assert!(Instant::now() < deadline, "no window was sealed");
                    sleep(Duration::from_millis(200)).await;
                }
            }
            collector.kill().await;
            collector.restart().await;
            if requests == 150 {
                ingest.restart(&rig).await;
            }
        }
    };
    let (sent, ()) = tokio::join!(drive(&url, &plans), kills);
    gateway.stop().await;
    wait_until_quiet(&collector, Duration::from_secs(2)).await;
    collector.stop().await;
    let ledger = collector.ledger();
    let epochs: std::collections::BTreeSet<_> =
        ledger.iter().map(|report| report["boot_epoch"].as_u64()).collect();
    // A start that was killed before its first window was sealed leaves nothing.
    assert!((2..=4).contains(&epochs.len()), "{epochs:?}");
    let sum = |field: &str| -> u64 {
        let cells = ledger.iter().flat_map(|report| report["cells"].as_array().unwrap());
        cells.map(|cell| cell[field].as_u64().unwrap()).sum()
    };
    let sealed = format!(
        "{}\t{}\t{}\t{}",
        sum("requests"),
        sum("attempts"),
        sum("input_tokens"),
        sum("output_tokens")
    );
    let counted = "SELECT sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens) FROM weighbridge.ledger FINAL FORMAT TSV";
    rig.wait_for(counted, &sealed).await;
    rig.wait_for("SELECT count() FROM weighbridge.reports FINAL", &ledger.len().to_string()).await;
    rig.wait_for(AUDIT, "0").await;
    let truth: u64 = expected(Told::SpansV2, &sent).values().map(|counts| counts[0]).sum();
    assert!(
        sum("requests") > 0 && sum("requests") <= truth,
        "{} of {truth}: never more than was sent",
        sum("requests")
    );
}
