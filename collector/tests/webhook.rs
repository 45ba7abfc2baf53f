//! Kong's http-log: entries as it posts them, counted once a client request, whatever its plugins did.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::{NOON_MS, counts};
use tokio::net::TcpListener;
use weighbridge_collector::config::Config;
use weighbridge_collector::intake::{Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::Dialect;
use weighbridge_collector::receiver::{Clock, Gate, http};
use weighbridge_collector::window::Edge;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::v1::{Choice, GatewayProduct, Outcome};

/// An array of seven entries: current key, old key, cache hit, refused by a rate limit, fallback, three AI plugins, no AI.
const BATCH: &str = include_str!("fixtures/access-log/kong-http-log.json");

struct AtNoon;

impl Clock for AtNoon {
    fn now_ms(&self) -> u64 {
        NOON_MS
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/access-log/kong-http-log.json")
}

fn kong() -> Intake {
    common::intake(Dialect::of_webhook("kong").unwrap(), NOON_MS)
}

fn take(intake: &mut Intake, body: &str) {
    intake.take(Signal::Webhook, Encoding::Json, body.as_bytes(), Now::At(NOON_MS)).unwrap();
}

fn collector(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weighbridge-collector")).args(arguments).output().unwrap()
}

#[test]
fn a_batch_counts_each_client_request_once() {
    let mut intake = kong();
    take(&mut intake, BATCH);
    let skipped: Vec<_> =
        intake.counter().tally().skipped().map(|(reason, count)| (reason.name(), count)).collect();
    assert_eq!(skipped, [("not_inference", 1), ("cache_hit", 1)]);
    // The transformer plugins' 1,870 tokens are not the client's; the refused request reached no model.
    assert_eq!(intake.counter().totals(), counts(5, 5, 11_184 + 25 + 7 + 30, 19 + 12 + 9 + 40));
    let mut told: Vec<_> = intake
        .counter()
        .take_cells()
        .iter()
        .map(|cell| {
            let model = weighbridge_catalog::embedded().model(cell.key.model);
            let model = model.map_or("unlisted", |model| model.name());
            (model, cell.key.outcome, cell.key.choice, cell.counts.requests, cell.counts.attempts)
        })
        .collect();
    told.sort_by_key(|cell| cell.0);
    let expected = [
        ("gemini-2.5-flash", Outcome::Ok, Choice::First, 1, 1),
        ("gpt-3.5", Outcome::Ok, Choice::Unknown, 1, 1),
        ("gpt-4o", Outcome::Ok, Choice::Unknown, 1, 1),
        ("llama-3.3", Outcome::Ok, Choice::Fallback, 1, 2),
        ("unlisted", Outcome::RateLimited, Choice::Unknown, 1, 0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_entry_that_is_posted_again_counts_once() {
    let mut intake = kong();
    take(&mut intake, BATCH);
    let once = intake.counter().totals();
    // Kong's queue sends a batch again when the answer was lost.
    take(&mut intake, BATCH);
    assert_eq!(intake.counter().totals(), once);
}

#[tokio::test]
async fn kong_posts_to_any_path_one_entry_or_an_array() {
    let dialect = Dialect::of_webhook("kong").unwrap();
    let header = common::header(GatewayProduct::Kong);
    let edge = Edge::new(common::intake(dialect, NOON_MS), header, NOON_MS);
    let gate = Gate::new(edge, Arc::new(AtNoon), Signal::Webhook, 64 * 1024);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = http::webhook(gate.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let one: Vec<serde_json::Value> = serde_json::from_str(BATCH).unwrap();
    let client = reqwest::Client::new();
    let posts = [
        (reqwest::Method::POST, "/webhook", one[0].to_string()),
        (reqwest::Method::PUT, "/kong/logs?key=x", one[1].to_string()),
        (reqwest::Method::POST, "/", BATCH.to_owned()),
    ];
    for (method, path, body) in posts {
        let request = client.request(method, format!("http://{address}{path}"));
        let request = request.header("content-type", "application/json; charset=utf-8").body(body);
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
    }
    assert_eq!(client.get(format!("http://{address}/")).send().await.unwrap().status(), 405);
    let totals: Counts = gate.edge().intake().counter().totals();
    assert_eq!(totals.requests, 5, "the first two came again in the array");
}

#[test]
fn count_takes_a_capture_of_it() {
    let file = fixture().display().to_string();
    let output = collector(&["count", "--source", "webhook", "--profile", "kong", &file]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["summary"]["requests"], 5);
    assert_eq!(summary["skipped"]["cache_hit"], 1);
    assert!(!text.contains("canary"));
    let output = collector(&["count", "--source", "webhook", "--profile", "apache", &file]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("apache posts to no webhook; write one of litellm, kong"), "{told}");
}

#[test]
fn the_configuration_takes_it_and_names_who_posts() {
    let with = |profile: &str| {
        let text = format!(
            "data_folder: /tmp/w\nenvironment: production\n\
             source: {{webhook: {{profile: {profile}, listen: '127.0.0.1:4319'}}}}\n\
             uplink: {{endpoint: 'http://127.0.0.1:1'}}\n"
        );
        Config::parse(&text, |_| None)
    };
    let config = with("kong").unwrap();
    assert_eq!((config.signal(), config.profile()), (Signal::Webhook, "kong"));
    assert_eq!(config.dialect().unwrap().gateway_product(), GatewayProduct::Kong);
    with("litellm").unwrap();
    let error = with("genai").unwrap_err().to_string();
    assert!(error.contains("source.webhook.profile: genai: write one of litellm, kong"), "{error}");
}
