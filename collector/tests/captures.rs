//! What LiteLLM 1.106.2 really sent, against what its provider and its client know of the same traffic.
//!
//! The fixtures are exports of one run each of 60 requests with every case that LiteLLM tells in its own way (see
//! `tests/fixtures/litellm/README.md`); the truth beside each was kept by the fake provider and by the client.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::command::count::{CaptureSource, count_files};
use weighbridge_collector::report_view::CellView;
use weighbridge_proto::cells::Counts;

const NOW_MS: u64 = 1_795_435_200_000;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/litellm").join(name)
}

fn captured(
    source: CaptureSource,
    names: &[&str],
) -> (Counts, BTreeMap<String, Counts>, BTreeMap<&'static str, u64>) {
    let files: Vec<_> = names.iter().map(|name| fixture(name)).collect();
    let mut counted =
        count_files(source, source.intake("litellm", Aliases::default(), NOW_MS).unwrap(), &files, NOW_MS)
            .unwrap();
    let mut by_model: BTreeMap<String, Counts> = BTreeMap::new();
    for cell in &counted.cells {
        let view = CellView::of(cell, weighbridge_catalog::embedded());
        by_model
            .entry(format!("{} {} {}", view.model, view.outcome, view.choice))
            .or_default()
            .add(&cell.counts);
    }
    let counter = counted.intake.counter();
    let skipped = counter.tally().skipped().map(|(reason, count)| (reason.name(), count)).collect();
    (counter.totals(), by_model, skipped)
}

#[derive(Deserialize)]
struct Truth {
    received: Vec<String>,
    sent: Vec<serde_json::Value>,
}

/// The fake provider's models by their name in the register.
const NAMES: [(&str, &str); 14] = [
    ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3"),
    ("acme-prod-7", "unlisted"),
    ("canary-model-xo36yb5r", "unlisted"),
    ("gpt-4o", "gpt-4o"),
    ("gpt-4o-mini", "gpt-4o-mini"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4.5"),
    ("claude-opus-4-1-20250805", "claude-opus-4.1"),
    ("deepseek-chat", "deepseek-chat"),
    ("gpt-4.1", "gpt-4.1"),
    ("gpt-4.1-mini", "gpt-4.1-mini"),
    ("o3", "o3"),
    ("Qwen/Qwen3-32B", "qwen-3"),
    ("mistralai/Mistral-Small-24B-Instruct-2501", "mistral-small-3"),
    ("text-embedding-3-small", "text-embedding-3-small"),
];

impl Truth {
    fn read(name: &str) -> Truth {
        serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
    }

    fn cases(&self, wanted: &[&str]) -> u64 {
        let case = |sent: &&serde_json::Value| wanted.iter().any(|case| sent["case"] == **case);
        self.sent.iter().filter(case).count() as u64
    }

    /// What the provider saw: attempts by `model outcome`.
    fn attempts(&self) -> BTreeMap<String, u64> {
        let mut attempts = BTreeMap::new();
        for line in &self.received {
            let model = line.split("model: \"").nth(1).unwrap().split('"').next().unwrap();
            let name = NAMES.iter().find(|(asked, _)| *asked == model).unwrap().1;
            let outcome = match line.split("Some(").nth(1).unwrap().trim_end_matches(") }") {
                "Answered" => "ok",
                "RateLimited" => "rate_limited",
                "Failed" => "server_error",
                // The gateway gave up on the slow model; the client left a stream, which LiteLLM tells as a success.
                "Left" if model == "gpt-4.1-mini" => "server_error",
                "Left" => "ok",
                other => panic!("{other}"),
            };
            *attempts.entry(format!("{name} {outcome}")).or_default() += 1;
        }
        attempts
    }
}

fn attempts(cells: &BTreeMap<String, Counts>) -> BTreeMap<String, u64> {
    let mut attempts = BTreeMap::new();
    for (key, counts) in cells.iter().filter(|(_, counts)| counts.attempts > 0) {
        let model_and_outcome = key.rsplit_once(' ').unwrap().0;
        *attempts.entry(model_and_outcome.to_owned()).or_default() += counts.attempts;
    }
    attempts
}

fn fallbacks(cells: &BTreeMap<String, Counts>) -> u64 {
    cells.iter().filter(|(key, _)| key.ends_with("fallback")).map(|(_, counts)| counts.requests).sum()
}

const HITS: [&str; 2] = ["CacheHit", "CacheHitStream"];
const UNSERVED: [&str; 2] = ["BadKey", "UnknownModel"];
const FALLBACKS: [&str; 2] = ["Fallback", "FallbackStream"];

#[test]
fn v2_spans_are_the_providers_truth() {
    let truth = Truth::read("traces-v2.truth.json");
    let (totals, cells, skipped) = captured(CaptureSource::OtlpTraces, &["traces-v2.pb"]);
    assert_eq!(attempts(&cells), truth.attempts());
    // V2 has no span for cache hits and for requests that reached no model.
    let untold = truth.cases(&HITS) + truth.cases(&UNSERVED);
    assert_eq!(totals.requests, truth.sent.len() as u64 - untold);
    assert_eq!(fallbacks(&cells), truth.cases(&FALLBACKS));
    assert_eq!(skipped.keys().copied().collect::<Vec<_>>(), ["not_inference"]);
}

#[test]
fn v1_spans_are_the_providers_truth_and_tell_refused_requests() {
    let truth = Truth::read("traces-v1.truth.json");
    let (totals, cells, skipped) = captured(CaptureSource::OtlpTraces, &["traces-v1.pb"]);
    assert_eq!(attempts(&cells), truth.attempts());
    assert_eq!(totals.requests, truth.sent.len() as u64 - truth.cases(&HITS));
    assert_eq!(skipped["cache_hit"], truth.cases(&HITS));
    assert_eq!(cells["unlisted client_error first"].requests, truth.cases(&UNSERVED));
    assert_eq!(fallbacks(&cells), truth.cases(&FALLBACKS));
}

#[test]
fn v2_metrics_are_the_providers_truth() {
    let truth = Truth::read("metrics-v2.truth.json");
    let files = ["metrics-v2-1.pb", "metrics-v2-2.pb", "metrics-v2-3.pb", "metrics-v2-4.pb"];
    let (totals, cells, _) = captured(CaptureSource::OtlpMetrics, &files);
    assert_eq!(attempts(&cells), truth.attempts());
    // Failed requests are told as attempts only.
    let served: u64 =
        truth.attempts().iter().filter(|(key, _)| key.ends_with(" ok")).map(|(_, count)| count).sum();
    assert_eq!(totals.requests, served);
}

#[test]
fn webhook_records_are_counted_as_far_as_litellm_delivers_them() {
    let truth = Truth::read("webhook.truth.json");
    let records: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(fixture("webhook.json")).unwrap()).unwrap();
    let (totals, cells, skipped) = captured(CaptureSource::Webhook, &["webhook.json"]);
    let hits = skipped.get("cache_hit").copied().unwrap_or(0);
    let unserved = cells["unlisted client_error first"];
    assert_eq!(
        totals.attempts + unserved.requests + hits,
        records.len() as u64,
        "every record is accounted for"
    );
    assert_eq!(unserved.attempts, 0, "no model was asked");
    let of_provider = truth.attempts();
    for (key, count) in attempts(&cells) {
        assert!(count <= of_provider[&key], "{key}: {count} counted, {} received", of_provider[&key]);
    }
}

#[test]
fn json_and_protobuf_of_one_export_count_the_same() {
    // A capture of a real run saved in both forms.
    let of =
        |extension: &str| captured(CaptureSource::OtlpTraces, &[&format!("traces-v2-http-1.{extension}")]);
    let (totals, cells, _) = of("pb");
    assert_eq!((totals, &cells), (of("json").0, &of("json").1));
    assert_eq!(totals.requests, 7);
}
