//! Every hazard that the survey of gateways names for LiteLLM: its pages, its webhook, its OTLP.
//!
//! | hazard | test |
//! |---|---|
//! | page: cache hits count as full requests with full tokens | `page_cache_hits_are_taken_off_requests` |
//! | page: a stream that the client left is a success with estimated tokens | `page_a_stream_the_client_left_is_counted_as_told` |
//! | page: bad key and unknown model reach no model, and stand in `llm_api_failed` with an empty api_base | `page_bad_key_and_unknown_model_are_no_attempts` |
//! | page: refusals on every route, the page's own too, are failed requests (measured on 1.106.2) | `page_refusals_that_are_no_inference_do_not_count` |
//! | page: labels with mail addresses, client addresses, keys | `page_identity_labels_are_not_kept` |
//! | page: `"None"` means missing | `page_none_is_unknown_and_stays_a_row` |
//! | page: series of end users are evicted | `page_a_series_that_was_evicted_begins_anew` |
//! | page: several workers have no `_created` and no process start | `page_of_several_workers_without_starts` |
//! | page: `proxy_total_requests` has no served model | `page_proxy_total_has_no_served_model_and_is_not_read` |
//! | page: two upstream 429s with a retry are one failure | `page_two_failed_tries_are_told_as_one` |
//! | page: `total_tokens` is the sum of the other two | `page_total_tokens_are_not_added` |
//! | page: a fallback carries the served group as requested model | `ten_1_...` in `hazards_acceptance.rs` |
//! | page: it needs a key | `credentials_are_read_from_their_files_at_every_request` in `scrape.rs` |
//! | webhook: failure and fallback share a call id | `ten_2_...` in `hazards_acceptance.rs` |
//! | webhook: a streamed fallback lacks the headers | `webhook_a_streamed_fallback_is_known_by_its_call` |
//! | webhook: `cache_hit` must be dropped | `webhook_cache_hits_are_no_requests` |
//! | webhook: an empty `api_base` never reached a model | `webhook_without_api_base_reached_no_model` |
//! | webhook: health checks | `webhook_health_checks_are_no_requests` |
//! | webhook: shadow traffic | `webhook_shadow_traffic_is_no_request` |
//! | webhook: prompts and answers in the body | `webhook_prompts_and_answers_are_not_decoded` |
//! | webhook: a batch is posted again | `webhook_a_batch_posted_again_counts_once` |
//! | webhook: the answer's model is rewritten to the alias | `webhook_the_answers_model_is_not_the_served_one` |
//! | webhook: arrays, lines, single events | `the_webhook_takes_arrays_lines_and_single_records` in `receiver.rs` |
//! | OTLP: attempts are sibling spans of one call | `ten_4_...` in `hazards_acceptance.rs` |
//! | OTLP: V2 metrics count five operations for four requests | `otlp_v2_metrics_failed_operations_are_attempts` |
//! | OTLP: V2 stamps the model on router and web spans | `ten_4_...` in `hazards_acceptance.rs` |
//! | OTLP: `raw_gen_ai_request` holds prompts | `otlp_v1_raw_requests_and_server_spans_are_no_requests` |
//! | OTLP: V1 metrics are one series a request | `ten_3_...` in `hazards_acceptance.rs` |
//! | OTLP: client headers in an attribute of V1 metrics | `otlp_v1_client_headers_are_not_kept` |
//! | OTLP: the resource says `production` by default | `otlp_the_environment_is_the_contributors` |
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use std::process::Command;

use common::pages::{TARGET, fixture, lines, pages, requests_after, skipped, take_page, totals};
use common::{counts, intake};
use serde_json::{Value, json};
use weighbridge_collector::intake::{Accepted, Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::Profile;

const THEN_MS: u64 = 1_795_423_532_000;

fn litellm() -> Intake {
    intake(Profile::Litellm, 1_795_423_372_000)
}

/// Event number `place` of the sample, from 0.
fn event(place: usize) -> Value {
    let line = include_str!("fixtures/litellm/generic-api.jsonl").lines().nth(place).unwrap();
    serde_json::from_str(line).unwrap()
}

fn post(intake: &mut Intake, events: &[Value]) -> Accepted {
    let body = serde_json::to_vec(events).unwrap();
    intake.take(Signal::Webhook, Encoding::Json, &body, Now::At(THEN_MS)).unwrap()
}

/// What is counted of these events.
fn posted(events: &[Value]) -> Vec<String> {
    let mut litellm = litellm();
    post(&mut litellm, events);
    litellm.counter().finish_calls();
    lines(&mut litellm)
}

fn skip_of(event: Value) -> Vec<(&'static str, u64)> {
    let mut litellm = litellm();
    assert_eq!(post(&mut litellm, &[event]), Accepted { skipped: 1, ..Accepted::default() });
    skipped(&mut litellm)
}

#[test]
fn page_cache_hits_are_taken_off_requests() {
    let mut litellm = pages("litellm", 0);
    take_page(&mut litellm, &fixture("litellm-cache"), 0);
    let lines = lines(&mut litellm);
    assert!(
        lines.contains(&"llama-3.3 ok first unknown 2 0 0 0".to_owned()),
        "4 told, 2 reached it: {lines:?}"
    );
    // Their tokens cannot be told apart: the profile says so.
    assert!(lines.contains(&"llama-3.3 ok unknown unknown 0 0 44 28".to_owned()), "{lines:?}");
}

#[test]
fn page_a_stream_the_client_left_is_counted_as_told() {
    let mut litellm = pages("litellm", 0);
    take_page(&mut litellm, &fixture("litellm-cache"), 0);
    let lines = lines(&mut litellm);
    assert!(lines.contains(&"gpt-4o ok first unknown 1 0 0 0".to_owned()), "{lines:?}");
    assert!(lines.contains(&"gpt-4o ok unknown unknown 0 0 9 1".to_owned()), "an estimate: {lines:?}");
}

#[test]
fn page_bad_key_and_unknown_model_are_no_attempts() {
    let page = fixture("litellm");
    assert!(page.contains("litellm_llm_api_failed_requests_metric_total{model=\"nope-model\""));
    // Eight calls reached the provider; LiteLLM tells two tries of one deployment as one.
    assert_eq!(totals("litellm", &page).attempts, 6);
    assert_eq!(totals("litellm", &page).requests, 7);
}

#[test]
fn page_refusals_that_are_no_inference_do_not_count() {
    let line = |route: &str| {
        format!(
            "litellm_proxy_failed_requests_metric_total{{api_provider=\"None\",exception_class=\"Exception\",exception_status=\"None\",\
             model_id=\"None\",requested_model=\"\",route=\"{route}\"}} 1.0\n"
        )
    };
    let routes =
        ["/metrics", "/metrics/", "/v1/models", "/key/info", "/v1/chat/completions", "/v1/embeddings"];
    let mut litellm = pages("litellm", 0);
    take_page(&mut litellm, &routes.map(line).concat(), 0);
    assert_eq!(skipped(&mut litellm), [("operation", 4)]);
    let operations: Vec<_> = litellm
        .counter()
        .take_cells()
        .iter()
        .map(|cell| (cell.key.operation.name(), cell.counts.requests))
        .collect();
    assert!(
        operations.len() == 2 && operations.contains(&("chat", 1)) && operations.contains(&("embeddings", 1))
    );
}

#[test]
fn page_identity_labels_are_not_kept() {
    let page = "litellm_requests_metric_total{api_key_alias=\"canary-alias\",client_ip=\"10.9.8.7\",end_user=\"canary-user\",\
                hashed_api_key=\"canary-key\",model=\"gpt-4o\",model_id=\"canary-id\",requested_model=\"canary-name\",\
                user_agent=\"canary-agent\",user_email=\"canary@example.org\"} 2.0\n";
    let mut litellm = pages("litellm", 0);
    let mut met = Vec::new();
    litellm
        .take_page(page.as_bytes(), TARGET, common::pages::NOON, |target, _| {
            met = format!("{target:?}").into_bytes()
        })
        .unwrap();
    let state = litellm.state().unwrap();
    let debug = format!("{litellm:?}");
    for kept in [&met[..], &state[..], debug.as_bytes()] {
        assert!(!kept.is_empty());
        let holds = |word: &str| kept.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!holds("canary") && !holds("10.9.8.7"), "{}", String::from_utf8_lossy(kept));
    }
    assert_eq!(lines(&mut litellm), ["gpt-4o ok first unknown 2 0 0 0"]);
}

#[test]
fn page_none_is_unknown_and_stays_a_row() {
    let page = "litellm_requests_metric_total{api_provider=\"None\",model=\"None\",model_id=\"None\"} 2.0\n";
    let mut litellm = pages("litellm", 0);
    take_page(&mut litellm, page, 0);
    let cell = litellm.counter().take_cells()[0];
    assert_eq!((cell.key.model.0, cell.key.provider.0, cell.counts.requests), (0, 0, 2));
}

#[test]
fn page_a_series_that_was_evicted_begins_anew() {
    let other = "litellm_requests_metric_total{model=\"o3\",model_id=\"o\"} 1\n";
    let page = |count: u64| {
        format!("{other}litellm_requests_metric_total{{model=\"gpt-4o\",model_id=\"a\"}} {count}\n")
    };
    // Evicted after 10, back with 2: two more requests, not two less.
    assert_eq!(requests_after("litellm", &[&page(7), &page(10), other, &page(2)]), [0, 3, 3, 5]);
    // The same value again: nothing.
    assert_eq!(requests_after("litellm", &[&page(7), &page(10), other, &page(10)]), [0, 3, 3, 3]);
}

#[test]
fn page_of_several_workers_without_starts() {
    let page = fixture("litellm-cache");
    assert!(!page.lines().any(|line| line.starts_with("process_start") || line.contains("_created{")));
    let new = "litellm_requests_metric_total{model=\"o3\",model_id=\"new\"} 3.0\n";
    let after = requests_after("litellm", &[&page, &page, &(page.clone() + new)]);
    assert_eq!(after, [0, 0, 3], "a baseline; then a series that was not there before counts whole");
}

#[test]
fn page_proxy_total_has_no_served_model_and_is_not_read() {
    let page = fixture("litellm");
    let only: String = page
        .lines()
        .filter(|line| line.starts_with("litellm_proxy_total_requests_metric"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(only.lines().count() > 3);
    assert_eq!(totals("litellm", &only).requests, 0);
}

#[test]
fn page_two_failed_tries_are_told_as_one() {
    let page = fixture("litellm");
    let mut litellm = pages("litellm", 0);
    take_page(&mut litellm, &page, 0);
    let lines = lines(&mut litellm);
    assert!(
        lines.contains(&"unlisted rate_limited unknown unknown 0 1 0 0".to_owned()),
        "two 429s went over the wire: {lines:?}"
    );
}

#[test]
fn page_total_tokens_are_not_added() {
    assert!(fixture("litellm").contains("litellm_total_tokens_metric_total"));
    let totals = totals("litellm", &fixture("litellm"));
    assert_eq!((totals.input_tokens, totals.output_tokens), (44, 28));
}

#[test]
fn webhook_a_streamed_fallback_is_known_by_its_call() {
    let mut served = event(4);
    served["stream"] = json!(true);
    served["hidden_params"]["additional_headers"] = json!({});
    assert_eq!(
        posted(&[event(3), served]),
        ["llama-3.3 ok fallback yes 1 1 11 7", "unlisted rate_limited first no 0 1 0 0"]
    );
}

#[test]
fn webhook_cache_hits_are_no_requests() {
    let mut hit = event(0);
    hit["cache_hit"] = json!(true);
    hit["id"] = json!("chatcmpl-fake1_cache_hit1795423415.7");
    assert_eq!(skip_of(hit), [("cache_hit", 1)]);
}

#[test]
fn webhook_without_api_base_reached_no_model() {
    assert_eq!(event(7)["api_base"], "");
    assert_eq!(posted(&[event(7)]), ["unlisted client_error first no 1 0 0 0"], "although it names a Llama");
}

#[test]
fn webhook_health_checks_are_no_requests() {
    for alias in ["user_api_key_alias", "user_api_key_team_alias"] {
        let mut check = event(0);
        check["metadata"] = json!({alias: "litellm-internal-health-check"});
        assert_eq!(skip_of(check), [("health_check", 1)], "{alias}");
    }
}

#[test]
fn webhook_shadow_traffic_is_no_request() {
    let mut shadow = event(0);
    shadow["metadata"] = json!({"is_silent_experiment": true});
    assert_eq!(skip_of(shadow), [("mirrored", 1)]);
    let mut plain = event(0);
    plain["metadata"] = json!({"is_silent_experiment": false});
    assert_eq!(posted(&[plain]).len(), 1);
}

#[test]
fn webhook_prompts_and_answers_are_not_decoded() {
    // Half of a surrogate pair is JSON, but no text: what decodes it fails.
    let body = event(0).to_string().replace("\"<removed>\"", "\"\\ud800 canary\"");
    assert!(body.contains("ud800") && serde_json::from_str::<Value>(&body).is_err());
    let mut litellm = litellm();
    let taken = litellm.take(Signal::Webhook, Encoding::Json, body.as_bytes(), Now::At(THEN_MS)).unwrap();
    assert_eq!((taken.counted, taken.refused), (1, 0));
    assert!(!format!("{litellm:?}").contains("canary"));
}

#[test]
fn webhook_a_batch_posted_again_counts_once() {
    let batch: Vec<Value> = (0..8).map(event).collect();
    let mut litellm = litellm();
    post(&mut litellm, &batch);
    post(&mut litellm, &batch);
    litellm.counter().finish_calls();
    assert_eq!(litellm.counter().totals(), counts(7, 6, 44, 28));
    assert_eq!(skipped(&mut litellm), [("duplicate", 8)]);
}

#[test]
fn webhook_the_answers_model_is_not_the_served_one() {
    assert_eq!(event(0)["response"]["model"], "smart");
    assert_eq!(posted(&[event(0)]), ["gpt-4o ok first no 1 1 11 7"]);
}

#[test]
fn otlp_v2_metrics_failed_operations_are_attempts() {
    let mut litellm = litellm();
    let metrics = include_bytes!("fixtures/litellm/otlp-v2-metrics.json");
    litellm.take(Signal::Metrics, Encoding::Json, metrics, Now::At(THEN_MS)).unwrap();
    // Of four requests one failed; metrics do not tell the outcome of a request, so it is among the attempts only.
    assert_eq!(litellm.counter().totals(), counts(3, 5, 0, 0));
}

#[test]
fn otlp_v1_raw_requests_and_server_spans_are_no_requests() {
    let mut litellm = litellm();
    let spans = include_bytes!("fixtures/litellm/otlp-v1-spans.json");
    assert!(spans.windows(13).any(|window| window == b"canary-prompt"));
    litellm.take(Signal::Traces, Encoding::Json, spans, Now::At(THEN_MS)).unwrap();
    litellm.counter().finish_calls();
    // Seven client requests; the one without a key has no span of its own.
    assert_eq!(litellm.counter().totals(), counts(6, 6, 44, 28));
    assert!(!format!("{litellm:?}").contains("canary"));
    assert_eq!(skipped(&mut litellm), [("not_inference", 14)]);
}

#[test]
fn otlp_v1_client_headers_are_not_kept() {
    let text =
        include_str!("fixtures/litellm/otlp-v1-metrics.json").replace("\"removed\"", "\"canary-header\"");
    assert!(text.contains("canary-header"));
    let mut litellm = litellm();
    litellm.take(Signal::Metrics, Encoding::Json, text.as_bytes(), Now::At(THEN_MS)).unwrap();
    assert_eq!(litellm.counter().totals().requests, 4);
    assert!(!format!("{litellm:?}").contains("canary"));
}

#[test]
fn otlp_the_environment_is_the_contributors() {
    let capture = "tests/fixtures/litellm/otlp-v1-metrics.json";
    assert!(std::fs::read_to_string(capture).unwrap().contains("\"production\""));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("collector.yaml");
    let text = format!(
        "data_folder: {}\nenvironment: staging\nsource: {{otlp: {{profile: litellm, signal: metrics}}}}\n\
         uplink: {{endpoint: 'http://127.0.0.1:1'}}\n",
        folder.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"))
        .args(["preview", "--config"])
        .args([config.as_os_str(), capture.as_ref()])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("\"environment\": \"staging\"") && !shown.contains("production"), "{shown}");
}
