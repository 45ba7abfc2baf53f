//! The ten acceptance tests of the survey of gateways, on its samples.
//!
//! | what must come out | test |
//! |---|---|
//! | LiteLLM page: 4 ok (2 gpt-4o, 2 Llama, of which 1 fallback), 3 failed, of which 1 reached a model | `ten_1_...` |
//! | LiteLLM webhook, first 8 events: 7 requests, 1 fallback, 2 never reached a model | `ten_2_...` |
//! | LiteLLM OTLP V1 metrics: 4, not 0 | `ten_3_...` |
//! | LiteLLM OTLP V2 spans: 4 requests, 5 attempts, of 16 spans with a model | `ten_4_...` |
//! | Envoy AI Gateway: 1 request, 385 tokens, not 705 | `ten_5_...` |
//! | Kong: 25 tokens, not 50 | `ten_6_...` |
//! | SGLang: 7 requests, 4 streamed | `ten_7_...` |
//! | APISIX: the latency of type ttft is ignored | `ten_8_...` |
//! | llm-d: a page with both prefixes counts once | `ten_9_...` |
//! | restart, worker death, zig-zag behind a virtual address, resend | `ten_10_...` (four tests) |
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::pages::{counted, fixture, lines, pages, requests_after, skipped, take_page, totals};
use common::{counts, intake};
use weighbridge_collector::intake::{Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::Profile;

/// A little after the samples were captured, Unix milliseconds; their collector started before.
const THEN_MS: u64 = 1_795_423_532_000;
const STARTED_MS: u64 = 1_795_423_372_000;

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/litellm/", $name))
    };
}

fn litellm() -> Intake {
    intake(Profile::Litellm, STARTED_MS)
}

/// Events of the webhook as LiteLLM posts them: one array.
fn array_of(lines: &str) -> String {
    format!("[{}]", lines.lines().collect::<Vec<_>>().join(","))
}

/// A page without the lines that hold a word.
fn without(page: &str, word: &str) -> String {
    page.lines().filter(|line| !line.contains(word)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn ten_1_litellm_page_four_ok_of_which_one_fallback_and_three_failed() {
    let lines = counted("litellm", &fixture("litellm"));
    let requests = |words: &str| -> u64 {
        let of = lines.iter().filter(|line| line.contains(words));
        of.map(|line| line.rsplit(' ').nth(3).unwrap().parse::<u64>().unwrap()).sum()
    };
    assert_eq!((requests("gpt-4o ok"), requests("llama-3.3 ok")), (2, 2));
    assert_eq!(requests("llama-3.3 ok fallback"), 1);
    assert_eq!((requests("server_error"), requests("client_error")), (1, 2), "500, 400, 400");
    assert!(
        lines.contains(&"unlisted server_error unknown unknown 0 1 0 0".to_owned()),
        "of the failed one reached a model: {lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.contains("client_error unknown")),
        "the other two are no attempts: {lines:?}"
    );
}

#[test]
fn ten_2_litellm_webhook_seven_requests_one_fallback_two_never_reached_a_model() {
    let events = std::str::from_utf8(sample!("generic-api.jsonl")).unwrap();
    let first_eight: Vec<&str> = events.lines().take(8).collect();
    let mut litellm = litellm();
    let body = array_of(&first_eight.join("\n"));
    let accepted = litellm.take(Signal::Webhook, Encoding::Json, body.as_bytes(), Now::At(THEN_MS)).unwrap();
    assert_eq!(accepted.counted, 8);
    litellm.counter().finish_calls();
    assert_eq!(litellm.counter().totals(), counts(7, 6, 44, 28), "8 events, 2 of which reached no model");
    let lines = lines(&mut litellm);
    let fallbacks: Vec<_> = lines.iter().filter(|line| line.contains("fallback")).collect();
    assert_eq!(fallbacks, ["llama-3.3 ok fallback no 1 1 11 7"]);
    assert!(lines.contains(&"unlisted client_error first no 2 0 0 0".to_owned()), "{lines:?}");
}

#[test]
fn ten_3_litellm_v1_metrics_are_four_requests_not_none() {
    let mut litellm = litellm();
    litellm.take(Signal::Metrics, Encoding::Json, sample!("otlp-v1-metrics.json"), Now::At(THEN_MS)).unwrap();
    assert_eq!(litellm.counter().totals().requests, 4, "one series a request, each with its own start");
}

#[test]
fn ten_4_litellm_v2_spans_are_four_requests_and_five_attempts() {
    let spans = sample!("otlp-v2-spans.json");
    let text = std::str::from_utf8(spans).unwrap();
    assert_eq!(text.matches("\"gen_ai.request.model\"").count(), 16);
    let mut litellm = litellm();
    litellm.take(Signal::Traces, Encoding::Json, spans, Now::At(THEN_MS)).unwrap();
    litellm.counter().finish_calls();
    assert_eq!(litellm.counter().totals(), counts(4, 5, 33, 21));
    let lines = lines(&mut litellm);
    assert!(lines.contains(&"llama-3.3 ok fallback no 1 1 11 7".to_owned()), "{lines:?}");
}

#[test]
fn ten_5_envoy_ai_gateway_one_request_and_385_tokens() {
    let page = without(&fixture("envoy-ai-gateway"), "error_type");
    assert_eq!(totals("envoy-ai-gateway", &page), counts(1, 1, 8, 377));
}

#[test]
fn ten_6_kong_25_tokens() {
    let totals = totals("kong", &fixture("kong"));
    assert_eq!(totals.input_tokens + totals.output_tokens, 25);
}

#[test]
fn ten_7_sglang_seven_requests_four_streamed() {
    let lines = counted("sglang", &fixture("sglang"));
    assert!(lines.contains(&"qwen-3.8-27b ok unknown no 3 3 0 0".to_owned()), "{lines:?}");
    assert!(lines.contains(&"qwen-3.8-27b ok unknown yes 4 4 0 0".to_owned()), "{lines:?}");
    assert_eq!(totals("sglang", &fixture("sglang")).requests, 7);
}

#[test]
fn ten_8_apisix_latencies_of_type_ttft_are_ignored() {
    let page = fixture("apisix");
    assert!(page.contains("type=\"ttft\""));
    assert_eq!(totals("apisix", &page), totals("apisix", &without(&page, "apisix_llm_latency")));
    assert_eq!(totals("apisix", &page).requests, 6);
}

#[test]
fn ten_9_llm_d_with_both_prefixes_counts_once() {
    assert_eq!(totals("llm-d", &fixture("llm-d")), counts(10, 10, 100, 0));
}

/// A vLLM page: start of the process in seconds after noon, requests by engine.
fn vllm(start: &str, engines: &[u64]) -> String {
    let engine = |(number, count): (usize, &u64)| {
        format!("vllm:request_params_n_count{{engine=\"{number}\",model_name=\"qwen3-32b\"}} {count}\n")
    };
    format!("{start}{}", engines.iter().enumerate().map(engine).collect::<String>())
}

#[test]
fn ten_10_a_restart_counts_what_came_after_it() {
    let old = "process_start_time_seconds 1795434600\n";
    let new = "process_start_time_seconds 1795435220\n";
    let pages = [vllm(old, &[100]), vllm(old, &[110]), vllm(new, &[150])];
    assert_eq!(requests_after("vllm", &[&pages[0], &pages[1], &pages[2]]), [0, 10, 160]);
}

#[test]
fn ten_10_a_worker_that_dies_takes_nothing_back() {
    // A page of several workers has no starts; the counters of a dead worker stay in the sum, and its successor adds to it.
    let page =
        |count: u64| format!("litellm_requests_metric_total{{model=\"gpt-4o\",model_id=\"a\"}} {count}\n");
    let pages = [page(40), page(46), page(46), page(49)];
    assert_eq!(requests_after("litellm", &[&pages[0], &pages[1], &pages[2], &pages[3]]), [0, 6, 6, 9]);
}

#[test]
fn ten_10_values_that_zig_zag_are_several_processes_and_count_no_more() {
    let mut intake = pages("vllm", common::pages::NOON);
    let all: Vec<bool> = [100, 40, 101, 41, 102, 42, 103]
        .iter()
        .enumerate()
        .map(|(number, count)| {
            take_page(&mut intake, &vllm("", &[*count, 1_000 - *count]), number as u64 * 15)
        })
        .collect();
    assert!(all[0] && !all[6], "{all:?}");
    assert!(skipped(&mut intake).iter().any(|(reason, _)| *reason == "unstable_target"));
}

#[test]
fn ten_10_what_is_sent_again_counts_once() {
    let mut litellm = litellm();
    let events = array_of(std::str::from_utf8(sample!("generic-api.jsonl")).unwrap());
    for _ in 0..2 {
        litellm.take(Signal::Webhook, Encoding::Json, events.as_bytes(), Now::At(THEN_MS)).unwrap();
        litellm
            .take(Signal::Traces, Encoding::Json, sample!("otlp-v2-spans.json"), Now::At(THEN_MS))
            .unwrap();
    }
    litellm.counter().finish_calls();
    let twice = litellm.counter().totals();
    assert_eq!(twice.attempts, 11 + 5, "each event and each span once");
}

/// The opening comments of these files promise tests by name: each is there.
#[test]
fn the_tables_name_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |folder: &str| -> Vec<(String, String)> {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .map(|path| {
                (
                    path.file_name().unwrap().to_string_lossy().into_owned(),
                    std::fs::read_to_string(path).unwrap(),
                )
            })
            .collect()
    };
    let all: Vec<_> = read("tests").into_iter().chain(read("src/config")).collect();
    let mut named = 0;
    for (file, text) in all.iter().filter(|(file, _)| file.starts_with("hazards_")) {
        for row in
            text.lines().take_while(|line| line.starts_with("//!")).filter(|line| line.starts_with("//! |"))
        {
            let Some(last) = row.trim_end_matches(" |").rsplit(" | ").next() else { continue };
            for word in last.split('`').skip(1).step_by(2) {
                let name = word.trim_end_matches("...");
                if !name.contains('_') || name.ends_with(".rs") {
                    continue;
                }
                let is_there = all.iter().any(|(_, text)| text.contains(&format!("fn {name}")));
                assert!(is_there, "{file}: {word}");
                named += 1;
            }
        }
    }
    assert!(named > 90, "{named}");
}
