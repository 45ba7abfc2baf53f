//! Pages of every gateway with a profile, against what is known of the traffic behind them, and the rules of counters.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::NOON_MS;
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::Intake;
use weighbridge_collector::profile::prometheus::{PagePlan, Target};
use weighbridge_collector::profile::rules;
use weighbridge_collector::report_view::CellView;
use weighbridge_proto::v1::GatewayProduct;

const SECOND: u64 = 1_000_000_000;
const NOON: u64 = NOON_MS * 1_000_000;
const TARGET: Target<'static> = Target { url: "http://127.0.0.1:8000/metrics", model: "" };

/// A collector that started at `started_nano`; 0 counts every series from its start.
fn intake(profile: &str, started_nano: u64) -> Intake {
    let plan = PagePlan::new(&rules::named(profile).unwrap()).unwrap();
    let day = Day::from_unix_seconds(NOON_MS / 1_000);
    let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), day);
    Intake::of_pages(plan, classifier, 1, started_nano)
}

/// `model openness outcome choice streaming requests attempts input output`, sorted.
fn cells(intake: &mut Intake) -> Vec<String> {
    let catalogue = weighbridge_catalog::embedded();
    let cells = intake.counter().take_cells();
    let mut lines: Vec<String> = cells
        .iter()
        .map(|cell| {
            let view = CellView::of(cell, catalogue);
            format!(
                "{} {} {} {} {} {} {} {}",
                view.model,
                view.outcome,
                view.choice,
                view.streaming,
                view.requests,
                view.attempts,
                view.input_tokens,
                view.output_tokens
            )
        })
        .collect();
    lines.sort();
    lines
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/prometheus/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn counted(profile: &str, fixture_name: &str) -> Vec<String> {
    let mut intake = intake(profile, 0);
    assert_eq!(intake.take_page(fixture(fixture_name).as_bytes(), TARGET, NOON, |_, _| {}), Ok(true));
    cells(&mut intake)
}

#[test]
fn litellm_four_ok_of_which_one_fallback_and_three_failed_of_which_one_reached_a_model() {
    assert_eq!(
        counted("litellm", "litellm"),
        [
            "gpt-4o ok first unknown 2 0 0 0",
            "gpt-4o ok unknown unknown 0 0 22 14",
            "gpt-4o ok unknown unknown 0 2 0 0",
            "llama-3.3 ok fallback unknown 1 0 0 0",
            "llama-3.3 ok first unknown 1 0 0 0",
            "llama-3.3 ok unknown unknown 0 2 22 14",
            "unlisted client_error first unknown 2 0 0 0",
            "unlisted rate_limited unknown unknown 0 1 0 0",
            "unlisted server_error first unknown 1 0 0 0",
            "unlisted server_error unknown unknown 0 1 0 0",
        ]
    );
}

#[test]
fn litellm_replays_from_the_cache_are_no_requests() {
    let lines = counted("litellm", "litellm-cache");
    assert!(
        lines.contains(&"llama-3.3 ok first unknown 2 0 0 0".to_owned()),
        "4 counted, 2 reached the model: {lines:?}"
    );
}

#[test]
fn litellm_a_whole_page_of_the_real_proxy() {
    let mut intake = intake("litellm", 0);
    intake.take_page(fixture("litellm-page").as_bytes(), TARGET, NOON, |_, _| {}).unwrap();
    let totals = intake.counter().totals();
    assert_eq!(
        (totals.requests, totals.attempts, totals.input_tokens, totals.output_tokens),
        (18, 17, 41_604, 3_089)
    );
}

#[test]
fn envoy_ai_gateway_subsets_of_tokens_are_not_added() {
    assert_eq!(
        counted("envoy-ai-gateway", "envoy-ai-gateway"),
        [
            "gpt-5-nano ok unknown unknown 0 0 8 377",
            "gpt-5-nano ok unknown yes 1 1 0 0",
            "gpt-5-nano server_error unknown no 2 2 0 0",
        ]
    );
}

#[test]
fn kong_total_tokens_are_not_added() {
    assert_eq!(
        counted("kong", "kong"),
        ["gpt-4o ok unknown no 1 1 0 0", "gpt-4o ok unknown unknown 0 0 13 12"]
    );
}

#[test]
fn sglang_seven_requests_of_which_four_streamed() {
    let lines = counted("sglang", "sglang");
    assert!(lines.contains(&"qwen-3.8-27b ok unknown no 3 3 0 0".to_owned()), "{lines:?}");
    assert!(lines.contains(&"qwen-3.8-27b ok unknown yes 4 4 0 0".to_owned()), "{lines:?}");
    assert!(lines.contains(&"llama-3.1 ok unknown unknown 0 0 8128902 7557572".to_owned()), "{lines:?}");
}

#[test]
fn sglang_prefill_engines_count_no_request() {
    let mut intake = intake("sglang", 0);
    let page = "sglang:num_requests_total{model_name=\"qwen3-32b\",engine_type=\"prefill\"} 5\n\
                sglang:num_requests_total{model_name=\"qwen3-32b\",engine_type=\"decode\"} 5\n";
    intake.take_page(page.as_bytes(), TARGET, NOON, |_, _| {}).unwrap();
    assert_eq!(intake.counter().totals().requests, 5);
}

#[test]
fn apisix_tells_status_by_model_and_its_latency_is_not_read() {
    assert_eq!(
        counted("apisix", "apisix"),
        [
            "gpt-4 ok unknown no 3 3 0 0",
            "gpt-4 ok unknown unknown 0 0 8 5",
            "gpt-4 ok unknown yes 1 1 0 0",
            "unlisted rate_limited unknown no 2 0 0 0",
        ]
    );
}

#[test]
fn llm_d_both_spellings_are_one_request() {
    assert_eq!(
        counted("llm-d", "llm-d"),
        ["qwen-3 ok unknown unknown 8 8 100 0", "qwen-3 unknown unknown unknown 2 2 0 0",]
    );
}

#[test]
fn every_other_gateway() {
    let expected: [(&str, &[&str]); 10] = [
        (
            "agentgateway",
            &[
                "gpt-4o ok unknown no 3 3 0 0",
                "gpt-4o ok unknown unknown 0 0 40 7",
                "gpt-4o ok unknown yes 1 1 0 0",
            ],
        ),
        (
            "higress",
            &[
                "qwen-turbo ok unknown no 1 1 0 0",
                "qwen-turbo ok unknown unknown 0 0 24 507",
                "qwen-turbo ok unknown yes 1 1 0 0",
            ],
        ),
        (
            "bifrost",
            &[
                "gpt-4o ok first no 2 2 0 0",
                "gpt-4o ok unknown unknown 0 0 30 0",
                "gpt-4o rate_limited first no 0 2 0 0",
                "llama-3.3 ok fallback no 2 2 0 0",
            ],
        ),
        (
            "dynamo",
            &[
                "qwen-3 cancelled unknown yes 1 1 0 0",
                "qwen-3 ok unknown no 2 2 0 0",
                "qwen-3 ok unknown unknown 0 0 80 0",
                "qwen-3 ok unknown yes 6 6 0 0",
                "qwen-3 server_error unknown no 3 3 0 0",
                "unlisted client_error unknown no 1 0 0 0",
            ],
        ),
        (
            "smg",
            &[
                "qwen-3 ok unknown no 2 2 0 0",
                "qwen-3 ok unknown unknown 0 0 20 9",
                "qwen-3 ok unknown yes 3 3 0 0",
            ],
        ),
        ("tensorzero", &["gpt-4o-mini ok unknown unknown 1 1 0 0", "unlisted ok unknown unknown 0 0 12 0"]),
        (
            "triton",
            &["unlisted ok unknown unknown 2 2 10 16", "unlisted server_error unknown unknown 1 1 0 0"],
        ),
        ("nim", &["llama-3.1 cancelled unknown unknown 1 1 0 0", "llama-3.1 ok unknown unknown 4 4 50 70"]),
        ("ray-serve", &["qwen-3 ok unknown unknown 5 5 20 0"]),
        ("kserve", &["qwen-3 ok unknown unknown 3 3 30 0"]),
    ];
    for (profile, lines) in expected {
        assert_eq!(counted(profile, profile), lines, "{profile}");
    }
}

#[test]
fn tgi_needs_the_targets_model_and_counts_a_chat_request_once() {
    let mut intake = intake("tgi", 0);
    let target = Target { model: "Qwen/Qwen3-32B", ..TARGET };
    intake.take_page(fixture("tgi").as_bytes(), target, NOON, |_, _| {}).unwrap();
    assert_eq!(
        cells(&mut intake),
        ["qwen-3 ok unknown unknown 3 3 33 60", "qwen-3 rate_limited unknown unknown 1 1 0 0"]
    );
}

#[test]
fn vllm_the_type_comes_from_its_line_and_a_path_is_a_model() {
    assert_eq!(
        counted("vllm", "vllm"),
        ["qwen-2.5 ok unknown unknown 3 3 0 0", "qwen-3.8-flash-next ok unknown unknown 0 0 1397 4829"]
    );
    let mut intake = intake("vllm", 0);
    let page = "# TYPE vllm:prompt_tokens histogram\nvllm:prompt_tokens_total{model_name=\"a\"} 5\n";
    intake.take_page(page.as_bytes(), TARGET, NOON, |_, _| {}).unwrap();
    assert_eq!(intake.counter().totals().input_tokens, 0, "a histogram is no counter, whatever its name");
}

#[test]
fn every_profile_is_a_product_and_is_detected_by_its_own_page_only() {
    let plans: Vec<(&str, PagePlan)> = rules::NAMES
        .iter()
        .map(|name| (*name, PagePlan::new(&rules::named(name).unwrap()).unwrap()))
        .collect();
    for (name, plan) in &plans {
        assert_eq!(Some(plan.gateway_product()), GatewayProduct::from_name(name));
        let page = fixture(name);
        let detected: Vec<&str> =
            plans.iter().filter(|(_, plan)| plan.detects(page.as_bytes())).map(|(name, _)| *name).collect();
        let expected: Vec<&str> = if *name == "nim" { Vec::new() } else { vec![*name] };
        assert_eq!(detected, expected, "page of {name}");
    }
}

/// A page of one vLLM: process start in seconds after noon, requests.
fn vllm(process_start: Option<i64>, requests: &[(&str, u64)]) -> String {
    let mut page = String::new();
    if let Some(start) = process_start {
        page += &format!("process_start_time_seconds {}\n", NOON_MS as i64 / 1_000 + start);
    }
    for (engine, count) in requests {
        page += &format!(
            "vllm:request_params_n_count{{engine=\"{engine}\",model_name=\"qwen3-32b\"}} {count}.0\n"
        );
    }
    page
}

/// Requests after each page, 15 s apart, of a collector that started at noon.
fn requests_after(pages: &[String]) -> Vec<u64> {
    let mut intake = intake("vllm", NOON);
    let mut after = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        intake.take_page(page.as_bytes(), TARGET, NOON + number as u64 * 15 * SECOND, |_, _| {}).unwrap();
        after.push(intake.counter().totals().requests);
    }
    after
}

#[test]
fn first_contact_is_a_baseline_unless_the_process_is_younger_than_we() {
    let old = Some(-600);
    assert_eq!(requests_after(&[vllm(old, &[("0", 100)]), vllm(old, &[("0", 103)])]), [0, 3]);
    assert_eq!(requests_after(&[vllm(Some(5), &[("0", 100)]), vllm(Some(5), &[("0", 103)])]), [100, 103]);
    assert_eq!(requests_after(&[vllm(None, &[("0", 100)]), vllm(None, &[("0", 103)])]), [0, 3]);
}

#[test]
fn a_series_that_was_not_there_before_is_new() {
    for start in [Some(-600), None] {
        let pages = [vllm(start, &[("0", 100)]), vllm(start, &[("0", 100), ("1", 7)])];
        assert_eq!(requests_after(&pages), [0, 7]);
    }
}

#[test]
fn a_restart_counts_from_nothing_also_when_the_counter_has_grown_past_the_old_value() {
    let pages =
        [vllm(Some(-600), &[("0", 100)]), vllm(Some(-600), &[("0", 110)]), vllm(Some(20), &[("0", 150)])];
    assert_eq!(requests_after(&pages), [0, 10, 160]);
    let pages = [vllm(None, &[("0", 100)]), vllm(None, &[("0", 110)]), vllm(None, &[("0", 4)])];
    assert_eq!(requests_after(&pages), [0, 10, 14]);
}

#[test]
fn several_processes_behind_one_address_are_not_counted() {
    // Two processes, one told by its start.
    let (a, b) = (vllm(Some(-600), &[("0", 100)]), vllm(Some(-300), &[("0", 40)]));
    let mut intake = intake("vllm", NOON);
    let mut answers = Vec::new();
    for (number, page) in [&a, &b, &a, &b].into_iter().enumerate() {
        answers.push(
            intake.take_page(page.as_bytes(), TARGET, NOON + number as u64 * 15 * SECOND, |_, _| {}).unwrap(),
        );
    }
    assert_eq!(answers, [true, true, false, false]);

    // And two without a start: values that jump back and forth.
    let pages: Vec<String> = [100, 40, 101, 41, 102, 42, 103]
        .iter()
        .enumerate()
        .map(|(number, count)| vllm(None, &[("0", *count), ("1", 1_000 - number as u64)]))
        .collect();
    let after = requests_after(&pages);
    assert_eq!(after[5], after[6], "{after:?}");
}

#[test]
fn created_stamps_beat_the_first_sight() {
    let page = |count: u64, created: i64| {
        format!(
            "litellm_requests_metric_total{{model=\"gpt-4o\",model_id=\"a\"}} {count}\n\
             litellm_requests_metric_created{{model=\"gpt-4o\",model_id=\"a\"}} {}.5\n",
            NOON_MS as i64 / 1_000 + created
        )
    };
    let mut intake = intake("litellm", NOON);
    intake.take_page(page(5, 3).as_bytes(), TARGET, NOON + 10 * SECOND, |_, _| {}).unwrap();
    assert_eq!(intake.counter().totals().requests, 5, "it began after us");
    let old = page(5, -100).replace("\"a\"", "\"b\"");
    let both = page(6, 3) + &old;
    intake.take_page(both.as_bytes(), TARGET, NOON + 25 * SECOND, |_, _| {}).unwrap();
    assert_eq!(
        intake.counter().totals().requests,
        6,
        "a series that comes back with an old start is a baseline"
    );
}

#[test]
fn side_metrics_wait_for_their_counterpart() {
    let page = |ok: u64, hits: u64| {
        format!(
            "litellm_requests_metric_total{{model=\"gpt-4o\",model_id=\"a\",requested_model=\"g\"}} {ok}\n\
             litellm_cache_hits_metric_total{{model=\"gpt-4o\",model_id=\"a\"}} {hits}\n"
        )
    };
    let mut intake = intake("litellm", NOON);
    let mut after = Vec::new();
    for (number, (ok, hits)) in [(10, 0), (12, 3), (15, 3), (16, 3)].into_iter().enumerate() {
        intake
            .take_page(page(ok, hits).as_bytes(), TARGET, NOON + number as u64 * 15 * SECOND, |_, _| {})
            .unwrap();
        after.push(intake.counter().totals().requests);
    }
    // 2 successes and 3 hits: one hit is told a page before its success.
    assert_eq!(after, [0, 0, 2, 3]);
}

#[test]
fn bad_values_are_refused_alone_and_a_page_of_another_format_whole() {
    let mut intake = intake("vllm", 0);
    let page = "vllm:prompt_tokens_total{model_name=\"a\"} -5\nvllm:prompt_tokens_total{model_name=\"b\"} 1.5\n\
                vllm:prompt_tokens_total{model_name=\"c\"} NaN\nvllm:prompt_tokens_total{model_name=\"d\"} +Inf\n\
                vllm:prompt_tokens_total{model_name=\"e\" 7\nvllm:prompt_tokens_total{model_name=\"f\"} 9\n";
    intake.take_page(page.as_bytes(), TARGET, NOON, |_, _| {}).unwrap();
    assert_eq!(intake.counter().totals().input_tokens, 9);
    let tally = intake.counter().tally().clone();
    let refused: Vec<(&str, u64)> = tally.refused().map(|(reason, count)| (reason.name(), count)).collect();
    assert_eq!(refused, [("malformed", 1), ("negative_count", 1), ("count_range", 2)]);
    assert!(tally.closes() && tally.items_received() == 6, "{tally:?}");
    assert!(intake.take_page(b"<html>login</html>", TARGET, NOON, |_, _| {}).is_err());
    assert!(intake.counter().tally().closes());
    assert_eq!(intake.counter().totals().input_tokens, 9);
}

#[test]
fn a_series_that_began_while_the_last_page_was_on_its_way_is_new() {
    let page = |id: &str, created: i64| {
        format!(
            "litellm_requests_metric_total{{model=\"gpt-4o\",model_id=\"{id}\"}} 2\n\
             litellm_requests_metric_created{{model=\"gpt-4o\",model_id=\"{id}\"}} {}.5\n",
            NOON_MS as i64 / 1_000 + created
        )
    };
    let mut intake = intake("litellm", NOON);
    intake.take_page(page("a", -500).as_bytes(), TARGET, NOON + 10 * SECOND, |_, _| {}).unwrap();
    assert_eq!(intake.counter().totals().requests, 0, "a baseline");
    let both = page("a", -500) + &page("b", 9);
    intake.take_page(both.as_bytes(), TARGET, NOON + 25 * SECOND, |_, _| {}).unwrap();
    assert_eq!(intake.counter().totals().requests, 2);
}

#[test]
fn a_replay_is_no_attempt_and_waits_for_the_request_it_is_of() {
    let ids = "model=\"gpt-4o\",model_id=\"a\"";
    let hits = |count: u64| format!("litellm_cache_hits_metric_total{{{ids}}} {count}\n");
    let requests = |count: u64| {
        format!(
            "litellm_requests_metric_total{{{ids}}} {count}\n\
             litellm_deployment_success_responses_total{{litellm_model_name=\"gpt-4o\",model_id=\"a\",api_base=\"b\"}} {count}\n"
        )
    };
    let other = "litellm_requests_metric_total{model=\"o3\",model_id=\"o\"} 1\n";
    let mut intake = intake("litellm", NOON);
    // The replay is told first, when no series of its model is there yet.
    for (number, page) in
        [other.to_owned(), hits(3) + other, hits(3) + &requests(7) + other].iter().enumerate()
    {
        let now = NOON + (number as u64 + 1) * 15 * SECOND;
        intake.take_page(page.as_bytes(), TARGET, now, |_, _| {}).unwrap();
    }
    let totals = intake.counter().totals();
    assert_eq!((totals.requests, totals.attempts), (4, 4));
}
