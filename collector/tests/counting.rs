//! What counts once, and as what: calls with attempts, resends, generations of the conventions, series.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use common::{NOON_MS, attempt, counts, int, intake, metrics, operation, point, text, traces, traces_of};
use weighbridge_collector::count::HOLD_MS;
use weighbridge_collector::intake::{Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::Profile;
use weighbridge_collector::report_view::CellView;
use weighbridge_proto::cells::Counts;

const LLAMA: &str = "hosted_vllm/meta-llama/Llama-3.3-70B-Instruct";
const GPT: &str = "openai/gpt-4o";

fn take(intake: &mut Intake, spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>, now_ms: u64) {
    intake.take(Signal::Traces, Encoding::Protobuf, &traces(spans), Now::At(now_ms)).unwrap();
}

/// `model outcome choice streaming: requests/attempts input+output`, sorted.
fn cells(intake: &mut Intake) -> Vec<String> {
    let cells = intake.counter().take_cells();
    let mut lines: Vec<_> = cells
        .iter()
        .map(|cell| {
            let view = CellView::of(cell, weighbridge_catalog::embedded());
            let Counts { requests, attempts, input_tokens, output_tokens } = cell.counts;
            let CellView { model, outcome, choice, streaming, .. } = view;
            format!(
                "{model} {outcome} {choice} {streaming}: {requests}/{attempts} {input_tokens}+{output_tokens}"
            )
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_success_after_a_failure_of_another_group_is_a_fallback() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    take(&mut intake, vec![attempt(1, "call", GPT, Some("RateLimitError"))], NOON_MS);
    take(&mut intake, vec![attempt(2, "call", LLAMA, None)], NOON_MS + 5_000);
    intake.counter().finish_calls();
    assert_eq!(
        cells(&mut intake),
        ["gpt-4o rate_limited first no: 0/1 0+0", "llama-3.3 ok fallback no: 1/1 11+7"]
    );
}

#[test]
fn a_success_after_a_failure_of_the_same_group_is_a_retry() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    take(
        &mut intake,
        vec![attempt(1, "call", GPT, Some("InternalServerError")), attempt(2, "call", GPT, None)],
        NOON_MS,
    );
    intake.counter().finish_calls();
    assert_eq!(cells(&mut intake), ["gpt-4o ok first no: 1/1 11+7", "gpt-4o server_error first no: 0/1 0+0"]);
}

#[test]
fn a_failure_becomes_the_outcome_when_the_hold_ends() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    take(&mut intake, vec![attempt(1, "a", GPT, Some("RateLimitError"))], NOON_MS);
    intake.counter().expire_calls(NOON_MS + HOLD_MS - 1);
    assert_eq!(intake.counter().totals(), counts(0, 1, 0, 0), "held");
    // Another failure of the call begins the hold anew.
    take(&mut intake, vec![attempt(2, "a", LLAMA, Some("Timeout"))], NOON_MS + 30_000);
    intake.counter().expire_calls(NOON_MS + HOLD_MS + 1);
    assert_eq!(intake.counter().totals().requests, 0);
    intake.counter().expire_calls(NOON_MS + 30_000 + HOLD_MS);
    assert_eq!(
        cells(&mut intake),
        ["gpt-4o rate_limited first no: 0/1 0+0", "llama-3.3 server_error fallback no: 1/1 0+0"]
    );
}

#[test]
fn a_failure_told_after_the_success_is_an_attempt_only() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    take(&mut intake, vec![attempt(2, "a", LLAMA, None)], NOON_MS);
    take(&mut intake, vec![attempt(1, "a", GPT, Some("RateLimitError"))], NOON_MS + 100);
    intake.counter().finish_calls();
    assert_eq!(intake.counter().totals(), counts(1, 2, 11, 7));
}

#[test]
fn a_resent_batch_counts_once() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    let batch = vec![
        attempt(1, "a", GPT, None),
        attempt(2, "b", GPT, Some("RateLimitError")),
        attempt(3, "b", LLAMA, None),
    ];
    for resend in 0..3 {
        take(&mut intake, batch.clone(), NOON_MS + resend * 1_000);
    }
    intake.counter().finish_calls();
    assert_eq!(intake.counter().totals(), counts(2, 3, 22, 14));
    assert!(intake.counter().tally().closes());
    let skipped: Vec<_> =
        intake.counter().tally().skipped().map(|(reason, count)| (reason.name(), count)).collect();
    assert_eq!(skipped, [("duplicate", 6)]);
}

#[test]
fn more_calls_on_hold_than_there_is_room_end_early_and_none_is_lost() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    for number in 0..20_000_u32 {
        let mut span = attempt(0, &format!("call {number}"), GPT, Some("RateLimitError"));
        span.span_id = u64::from(number + 1).to_be_bytes().to_vec();
        take(&mut intake, vec![span], NOON_MS);
    }
    assert!(intake.counter().totals().requests > 0, "some were ended early");
    intake.counter().finish_calls();
    assert_eq!(intake.counter().totals(), counts(20_000, 20_000, 0, 0));
}

#[test]
fn three_generations_of_the_conventions_say_the_same() {
    let generations = [
        vec![
            text("gen_ai.system", "openai"),
            text("llm.request.type", "chat"),
            text("gen_ai.response.model", "gpt-4o-2024-08-06"),
            int("gen_ai.usage.prompt_tokens", 30),
            int("gen_ai.usage.completion_tokens", 5),
            text("llm.is_streaming", "True"),
        ],
        vec![
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.request.model", "gpt-4o"),
            int("gen_ai.usage.input_tokens", 30),
            int("gen_ai.usage.output_tokens", 5),
            text("gen_ai.request.stream", "true"),
        ],
        vec![
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.response.model", "gpt-4o"),
            int("gen_ai.usage.input_tokens", 30),
            int("gen_ai.usage.output_tokens", 5),
            int("gen_ai.usage.cache_write.input_tokens", 20),
            int("gen_ai.usage.reasoning.output_tokens", 3),
            text("gen_ai.response.time_to_first_chunk", "0.2"),
        ],
    ];
    for (generation, attributes) in generations.into_iter().enumerate() {
        let mut intake = intake(Profile::Genai, NOON_MS);
        let body = traces_of("some.instrumentation", vec![operation(1, attributes)]);
        intake.take(Signal::Traces, Encoding::Protobuf, &body, Now::At(NOON_MS)).unwrap();
        assert_eq!(cells(&mut intake), ["gpt-4o ok unknown yes: 1/1 30+5"], "generation {generation}");
    }
}

#[test]
fn what_is_no_inference_is_skipped_with_its_reason() {
    let with =
        |operation: &str| vec![text("gen_ai.operation.name", operation), text("gen_ai.system", "openai")];
    let spans = vec![
        operation(1, with("execute_tool")),
        operation(2, with("invoke_agent")),
        operation(3, vec![text("gen_ai.operation.name", "chat")]),
        operation(4, vec![text("http.route", "/")]),
        operation(5, [with("chat"), vec![text("gen_ai.response.id", "one answer")]].concat()),
        operation(6, [with("chat"), vec![text("gen_ai.response.id", "one answer")]].concat()),
    ];
    let mut intake = intake(Profile::Genai, NOON_MS);
    intake.take(Signal::Traces, Encoding::Protobuf, &traces_of("sdk", spans), Now::At(NOON_MS)).unwrap();
    assert!(intake.counter().tally().closes());
    let skipped: Vec<_> =
        intake.counter().tally().skipped().map(|(reason, count)| (reason.name(), count)).collect();
    assert_eq!(skipped, [("not_inference", 1), ("operation", 2), ("no_provider", 1), ("duplicate", 1)]);
    assert_eq!(intake.counter().totals().requests, 1);
}

const DURATION: &str = "gen_ai.client.operation.duration";
const RESPONSE: &str = "gen_ai.client.response.duration";
const TOKENS: &str = "gen_ai.client.token.usage";

fn model(name: &str) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.system", "openai"),
        text("gen_ai.request.model", name),
    ]
}

fn take_metrics(intake: &mut Intake, body: &[u8], now_s: u64) -> Counts {
    intake.take(Signal::Metrics, Encoding::Protobuf, body, Now::At(NOON_MS + now_s * 1_000)).unwrap();
    intake.counter().totals()
}

#[test]
fn cumulative_counters_grow_reset_and_resend() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    let body = |start, time, count| {
        metrics("p", 2, vec![(DURATION, vec![point(model("gpt-4o"), start, time, count, 1.0)])])
    };
    assert_eq!(take_metrics(&mut intake, &body(1, 10, 5), 10).requests, 5, "began after us");
    assert_eq!(take_metrics(&mut intake, &body(1, 20, 8), 20).requests, 8);
    assert_eq!(take_metrics(&mut intake, &body(1, 20, 8), 21).requests, 8, "resent");
    assert_eq!(take_metrics(&mut intake, &body(1, 10, 5), 22).requests, 8, "late copy of an older one");
    assert_eq!(take_metrics(&mut intake, &body(25, 30, 2), 30).requests, 10, "restarted: later start");
    assert_eq!(take_metrics(&mut intake, &body(25, 40, 1), 40).requests, 11, "reset: smaller value");
}

#[test]
fn first_sight_follows_the_start_of_the_series() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    let named = |name: &str, start, time, count| point(model(name), start, time, count, 1.0);
    let body = metrics("p", 2, vec![(DURATION, vec![named("gpt-4o", -500, 10, 100), named("o3", 1, 10, 4)])]);
    assert_eq!(
        take_metrics(&mut intake, &body, 10).requests,
        4,
        "an old counter is a baseline, a new one counts"
    );
    let next = vec![
        named("gpt-4o", -500, 20, 103),
        named("o3", 1, 20, 4),
        named("gpt-4.1", 15, 20, 1),
        named("gpt-4", -500, 20, 70),
    ];
    let body = metrics("p", 2, vec![(DURATION, next)]);
    // Growth 3, a series that began since the last batch 1; one that is older than it was overlooked before: baseline.
    assert_eq!(take_metrics(&mut intake, &body, 20).requests, 8);
    assert!(intake.counter().tally().closes());
    let skipped: Vec<_> =
        intake.counter().tally().skipped().map(|(reason, count)| (reason.name(), count)).collect();
    assert_eq!(skipped, [("baseline", 2)]);
}

#[test]
fn one_series_a_request_counts_each_request() {
    // LiteLLM V1: per-request attributes make a series for every request, each with its own start.
    let mut intake = intake(Profile::Litellm, NOON_MS);
    let one = |number: i64, time| {
        let mut attributes = model("gpt-4o");
        attributes.push(text("metadata.requester_metadata", &format!("request {number}")));
        point(attributes, number, time, 1, 1.0)
    };
    let mut points = Vec::new();
    for cycle in 1..=4_i64 {
        points.extend((0..5).map(|n| one(cycle * 10 - n, 0)));
        points.iter_mut().for_each(|p| p.time_unix_nano = (NOON_MS + cycle as u64 * 10_000) * 1_000_000);
        let body = metrics("p", 2, vec![(DURATION, points.clone())]);
        assert_eq!(take_metrics(&mut intake, &body, cycle as u64 * 10).requests, cycle as u64 * 5);
    }
}

#[test]
fn one_cycle_in_several_requests_counts_whole() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    for cycle in 1..=3_i64 {
        for (part, name) in ["gpt-4o", "o3", "gpt-4.1"].iter().enumerate() {
            let started = cycle * 10 - 5;
            let name = format!("{name}-{cycle}");
            let body =
                metrics("p", 2, vec![(DURATION, vec![point(model(&name), started, cycle * 10, 2, 1.0)])]);
            take_metrics(&mut intake, &body, cycle as u64 * 10 + part as u64);
        }
    }
    assert_eq!(intake.counter().totals().requests, 18);
}

#[test]
fn delta_points_add_and_resends_do_not() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    let body = |start, time, count| {
        metrics("p", 1, vec![(DURATION, vec![point(model("gpt-4o"), start, time, count, 1.0)])])
    };
    take_metrics(&mut intake, &body(0, 10, 3), 10);
    take_metrics(&mut intake, &body(0, 10, 3), 11);
    assert_eq!(take_metrics(&mut intake, &body(10, 20, 4), 20).requests, 7);
}

#[test]
fn synonyms_count_once_and_failures_are_attempts() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    let failed = [model("gpt-4o"), vec![text("error.type", "RateLimitError")]].concat();
    let token = |kind: &str, sum| {
        point([model("gpt-4o"), vec![text("gen_ai.token.type", kind)]].concat(), 1, 10, 9, sum)
    };
    let body = metrics(
        "p",
        2,
        vec![
            // Three of the nine were answered from the cache: only the provider's answers are requests to a model.
            (DURATION, vec![point(model("gpt-4o"), 1, 10, 9, 1.0), point(failed, 1, 10, 2, 1.0)]),
            (RESPONSE, vec![point(model("gpt-4o"), 1, 10, 6, 1.0)]),
            (TOKENS, vec![token("input", 99.0), token("output", 63.0), token("cached_input", 50.0)]),
            ("gen_ai.usage.cost", vec![point(model("gpt-4o"), 1, 10, 9, 0.5)]),
        ],
    );
    assert_eq!(take_metrics(&mut intake, &body, 10), counts(6, 8, 99, 63));
    assert_eq!(
        cells(&mut intake),
        ["gpt-4o ok unknown unknown: 6/6 99+63", "gpt-4o rate_limited unknown unknown: 0/2 0+0"]
    );
}

#[test]
fn two_processes_are_two_counters() {
    let mut intake = intake(Profile::Litellm, NOON_MS);
    for process in ["a", "b"] {
        let body = metrics(process, 2, vec![(DURATION, vec![point(model("gpt-4o"), 1, 10, 5, 1.0)])]);
        take_metrics(&mut intake, &body, 10);
    }
    assert_eq!(intake.counter().totals().requests, 10);
}
