//! Access logs: the samples, and every hazard that the survey of gateways names for them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use common::{NOON_MS, counts};
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::discard::Refusal;
use weighbridge_collector::intake::{Accepted, Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_proto::cells::Cell;
use weighbridge_proto::v1::{Choice, Operation, Outcome, Streaming};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("fixtures/access-log/", $name))
    };
}

fn intake(profile: &str) -> Intake {
    let day = Day::from_unix_seconds(NOON_MS / 1_000);
    let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), day);
    Intake::new(LogProfile::from_name(profile).unwrap(), classifier, 0)
}

fn take(intake: &mut Intake, lines: &str) -> Accepted {
    let now = Now::Replay(NOON_MS);
    intake.take(Signal::AccessLog, Encoding::JsonLines, lines.as_bytes(), now).unwrap()
}

/// The cells of `lines`, as (model, outcome, operation, streaming, choice) and (requests, attempts, input, output), sorted.
fn cells(profile: &str, lines: &str) -> Vec<(String, [u64; 4])> {
    let mut intake = intake(profile);
    take(&mut intake, lines);
    let describe = |cell: &Cell| {
        let key = &cell.key;
        let model = weighbridge_catalog::embedded().model(key.model).map_or("unlisted", |model| model.name());
        let words = [
            model,
            key.outcome.name(),
            key.operation.name(),
            match key.streaming {
                Streaming::Yes => "stream",
                Streaming::No => "whole",
                _ => "unknown",
            },
            key.choice.name(),
        ];
        let Cell { counts, .. } = cell;
        (words.join(" "), [counts.requests, counts.attempts, counts.input_tokens, counts.output_tokens])
    };
    let mut cells: Vec<_> = intake.counter().take_cells().iter().map(describe).collect();
    cells.sort();
    cells
}

fn assert_cells(profile: &str, lines: &str, expected: &[(&str, [u64; 4])]) {
    let told = cells(profile, lines);
    let told: Vec<_> = told.iter().map(|(words, counts)| (words.as_str(), *counts)).collect();
    assert_eq!(told, expected, "{profile}");
}

fn skipped(intake: &mut Intake) -> Vec<(&'static str, u64)> {
    intake.counter().tally().skipped().map(|(reason, count)| (reason.name(), count)).collect()
}

#[test]
fn envoy_ai_gateway_sample() {
    assert_cells(
        "envoy-ai-gateway",
        fixture!("envoy-ai-gateway.jsonl"),
        &[("gpt-4o-mini ok chat unknown unknown", [1, 1, 15, 7])],
    );
}

#[test]
fn envoy_ai_gateway_counts_a_rate_limit_without_a_model() {
    let line = r#"{"gen_ai.request.model":null,"response_code":429,"response_flags":"RL","response_code_details":"request_rate_limited","x-envoy-origin-path":"/v1/chat/completions","upstream_cluster":"httproute/default/aigw-run/rule/0","start_time":"2026-11-23T12:00:00Z","x-request-id":"r"}"#;
    assert_cells("envoy-ai-gateway", line, &[("unlisted rate_limited chat unknown unknown", [1, 0, 0, 0])]);
    // One that the model's host sent was an attempt.
    let upstream = line
        .replace("request_rate_limited", "via_upstream")
        .replace("\"RL\"", "\"-\"")
        .replace("null", "\"gpt-4o\"");
    assert_cells(
        "envoy-ai-gateway",
        &upstream,
        &[("gpt-4o rate_limited chat unknown unknown", [1, 1, 0, 0])],
    );
}

#[test]
fn envoy_answers_whose_retry_was_forbidden_were_attempts() {
    // Measured: the circuit breaker for retries was open, so the model's own 500 was handed on.
    let line = r#"{"input_tokens":null,"model":null,"output_tokens":null,"path":"/v1/chat/completions","request_id":"df437484","request_model":"Qwen/Qwen3-32B","response_code":500,"response_code_details":"via_upstream","response_flags":"UO","start_time":"2026-11-23T12:00:00.608Z","stream":false,"upstream_request_attempt_count":1}"#;
    assert_cells("envoy", line, &[("qwen-3 server_error chat whole unknown", [1, 1, 0, 0])]);
    // The circuit breaker for requests was open: no model was asked.
    let refused = line.replace("via_upstream", "upstream_reset_before_response_started{overflow}");
    assert_cells("envoy", &refused, &[("unlisted server_error chat whole unknown", [1, 0, 0, 0])]);
    // A request that fault injection delayed is asked all the same.
    let delayed = line.replace("\"UO\"", "\"DI\"").replace("via_upstream", "-");
    assert_cells("envoy", &delayed, &[("qwen-3 server_error chat whole unknown", [1, 1, 0, 0])]);
}

#[test]
fn envoy_ai_gateway_served_model_is_the_answers_then_the_override() {
    let line = |fields: &str| format!(r#"{{"response_code":200,"gen_ai.request.model":"gpt-4o",{fields}}}"#);
    let both =
        line(r#""gen_ai.response.model":"gpt-4o-mini-2024-07-18","gen_ai.request.model_override":"gpt-4""#);
    assert!(cells("envoy-ai-gateway", &both)[0].0.starts_with("gpt-4o-mini "), "{both}");
    let failed = line(r#""gen_ai.response.model":"unknown","gen_ai.request.model_override":"gpt-4o-mini""#);
    assert!(cells("envoy-ai-gateway", &failed)[0].0.starts_with("gpt-4o-mini "), "{failed}");
}

#[test]
fn kong_samples() {
    assert_cells(
        "kong",
        fixture!("kong.jsonl"),
        &[("gemini-2.5-flash ok chat whole first", [1, 1, 11_184, 19])],
    );
    assert_cells(
        "kong",
        fixture!("kong-old-key.jsonl"),
        &[("gpt-3.5 ok chat unknown unknown", [1, 1, 25, 12])],
    );
}

#[test]
fn kong_counts_three_plugins_of_one_request_once() {
    let plugin = |model: &str| {
        format!(
            r#"{{"meta":{{"provider_name":"openai","response_model":"{model}"}},"usage":{{"prompt_tokens":25,"completion_tokens":12,"total_tokens":37}}}}"#
        )
    };
    let line = format!(
        r#"{{"ai":{{"ai-request-transformer":{},"proxy":{},"ai-response-transformer":{}}},"response":{{"status":200}}}}"#,
        plugin("gpt-4"),
        plugin("gpt-4o"),
        plugin("gpt-4")
    );
    assert_cells("kong", &line, &[("gpt-4o ok chat unknown unknown", [1, 1, 25, 12])]);
}

#[test]
fn kong_fallback_is_more_than_one_target() {
    let line = r#"{"ai":{"proxy":{"tried_targets":[{"provider":"openai","model":"gpt-4o","route_type":"llm/v1/chat"},{"provider":"llama2","model":"meta-llama\/Llama-3.3-70B-Instruct","host":"vllm.internal","route_type":"llm/v1/chat"}],"meta":{"request_mode":"stream","provider_name":"openai"},"usage":{"prompt_tokens":3,"completion_tokens":4}}},"response":{"status":200}}"#;
    assert_cells("kong", line, &[("llama-3.3 ok chat stream fallback", [1, 2, 3, 4])]);
}

#[test]
fn kong_cache_hit_is_no_request() {
    let line = r#"{"ai":{"proxy":{"cache":{"cache_status":"Hit"},"meta":{"response_model":"gpt-4o"},"usage":{"prompt_tokens":3}}},"response":{"status":200}}"#;
    let mut kong = intake("kong");
    assert_eq!(take(&mut kong, line), Accepted { skipped: 1, ..Accepted::default() });
    assert_eq!(skipped(&mut kong), [("cache_hit", 1)]);
}

#[test]
fn kong_refusals_before_the_plugin_count_by_their_path() {
    let line = |uri: &str| {
        format!(
            r#"{{"request":{{"uri":"{uri}","id":"x"}},"response":{{"status":429}},"upstream_status":""}}"#
        )
    };
    assert_cells(
        "kong",
        &line(r"\/openai\/v1\/chat\/completions"),
        &[("unlisted rate_limited chat unknown unknown", [1, 0, 0, 0])],
    );
    let mut kong = intake("kong");
    take(&mut kong, &line("/orders"));
    assert_eq!(skipped(&mut kong), [("not_inference", 1)]);
}

#[test]
fn higress_document_in_a_string_with_numbers_as_strings() {
    assert_cells(
        "higress",
        fixture!("higress.jsonl"),
        &[("qwen-turbo ok chat unknown unknown", [1, 1, 10, 69])],
    );
    let line = r#"{"ai_log":"{\"question\":\"say \\\"input_token\\\":\\\"9\\\" \\\\ twice\",\"model\":\"qwen-turbo\",\"input_token\":\"10\",\"output_token\":\"69\",\"response_type\":\"stream\"}","response_code":"200","response_flags":"-","path":"/v1/chat/completions","request_id":"h"}"#;
    assert_cells("higress", line, &[("qwen-turbo ok chat stream unknown", [1, 1, 10, 69])]);
    // A document that is cut (value_length_limit) tells nothing; the request still counts.
    let cut = r#"{"ai_log":"{\"model\":\"qwen-tur","response_code":"200","path":"/v1/chat/completions"}"#;
    assert_cells("higress", cut, &[("unlisted ok chat unknown unknown", [1, 1, 0, 0])]);
    // As of 2024, without ai_log.
    let flat = r#"{"model":"qwen-turbo","input_token":"21","output_token":"17","path":"/v1/chat/completions","response_code":"200"}"#;
    assert_cells("higress", flat, &[("qwen-turbo ok chat unknown unknown", [1, 1, 21, 17])]);
}

#[test]
fn agentgateway_tells_embeddings_retries_and_its_own_refusals() {
    assert_cells(
        "agentgateway",
        fixture!("agentgateway.jsonl"),
        &[
            ("gpt-4o ok chat unknown unknown", [1, 2, 11, 7]),
            ("text-embedding-3-small ok embeddings unknown unknown", [1, 1, 5, 0]),
            ("unlisted rate_limited chat unknown unknown", [1, 0, 0, 0]),
        ],
    );
    let mut agentgateway = intake("agentgateway");
    take(&mut agentgateway, fixture!("agentgateway.jsonl"));
    assert_eq!(skipped(&mut agentgateway), [("not_inference", 1)]);
}

#[test]
fn apisix_tells_what_the_client_got_and_what_the_upstreams_said() {
    assert_cells(
        "apisix",
        fixture!("apisix.jsonl"),
        &[
            ("gpt-4 ok chat stream unknown", [1, 1, 8, 5]),
            ("gpt-4 ok chat whole unknown", [1, 2, 8, 5]),
            ("gpt-4 server_error chat whole unknown", [1, 1, 0, 0]),
            ("unlisted rate_limited chat unknown unknown", [1, 0, 0, 0]),
        ],
    );
    // The default format, with a summary: its numbers and flags are texts.
    let nested = r#"{"request":{"uri":"/v1/chat/completions","headers":{"authorization":"Bearer canary"}},"response":{"status":200,"headers":{"x-ai-cache-status":"MISS"}},"llm_request":{"stream":true,"messages":[{"content":"canary"}]},"llm_summary":{"request_model":"smart","model":"gpt-4o","prompt_tokens":"3","completion_tokens":"2","stream":"true"},"start_time":1795435200100}"#;
    assert_cells("apisix", nested, &[("gpt-4o ok chat stream unknown", [1, 1, 3, 2])]);
    let unpicked = nested.replace(r#""model":"gpt-4o""#, r#""model":"""#).replace("smart", "gpt-4o-mini");
    assert_cells("apisix", &unpicked, &[("gpt-4o-mini ok chat stream unknown", [1, 1, 3, 2])]);
    let mut apisix = intake("apisix");
    take(&mut apisix, &nested.replace("MISS", "HIT"));
    assert_eq!(skipped(&mut apisix), [("cache_hit", 1)], "answered by ai-cache");
}

#[test]
fn agentgateway_tells_the_first_token_of_streams() {
    let line = r#"{"http.status":200,"gen_ai.operation.name":"chat","gen_ai.provider.name":"openai","gen_ai.request.model":"gpt-4o","agw.ai.time_to_first_token":"0.21s","time":"2026-11-23T12:00:00Z"}"#;
    assert_cells("agentgateway", line, &[("gpt-4o ok chat stream unknown", [1, 1, 0, 0])]);
}

#[test]
fn nginx_counts_attempts_and_shows_unknown_models() {
    assert_cells(
        "nginx",
        fixture!("nginx.jsonl"),
        &[
            ("llama-3.3 ok chat unknown unknown", [1, 2, 0, 0]),
            ("unlisted cancelled chat unknown unknown", [1, 1, 0, 0]),
            ("unlisted rate_limited chat unknown unknown", [1, 0, 0, 0]),
        ],
    );
}

#[test]
fn nginx_answers_that_were_cut_are_cancelled_and_a_refusal_has_no_model() {
    // Measured: nginx logs the status that it sent, also when the client left in the middle of the stream.
    let line = r#"{"msec":"1795435200.100","request_id":"n5","status":"200","uri":"/v1/chat/completions","upstream_status":"200","upstream_addr":"127.0.0.1:8000","proxy_host":"models","model":"","request_model":"gpt-4o","stream":"true","completion":"cut"}"#;
    assert_cells("nginx", line, &[("gpt-4o cancelled chat stream unknown", [1, 1, 0, 0])]);
    assert_cells("nginx", &line.replace("cut", "whole"), &[("gpt-4o ok chat stream unknown", [1, 1, 0, 0])]);
    let refused = r#"{"msec":"1795435200.100","request_id":"n6","status":"401","uri":"/v1/chat/completions","upstream_status":"","upstream_addr":"","proxy_host":"","model":"","request_model":"","stream":"","completion":"whole"}"#;
    assert_cells("nginx", refused, &[("unlisted client_error chat unknown unknown", [1, 0, 0, 0])]);
}

#[test]
fn envoy_flags_say_what_the_status_does_not() {
    assert_cells(
        "envoy",
        fixture!("envoy.jsonl"),
        &[
            ("gpt-4o cancelled chat unknown unknown", [2, 2, 0, 0]),
            ("gpt-4o server_error chat unknown unknown", [1, 2, 0, 0]),
            ("llama-3.3 ok chat unknown unknown", [1, 3, 11, 7]),
        ],
    );
}

#[test]
fn a_resent_record_counts_once_and_lines_without_an_id_always() {
    let with_id = r#"{"gen_ai.request.model":"gpt-4o","response_code":200,"x-request-id":"r","start_time":"2026-11-23T12:00:00Z"}"#;
    let without = with_id.replace("x-request-id", "x");
    let later = with_id.replace("12:00:00Z", "12:00:01Z");
    let mut envoy = intake("envoy-ai-gateway");
    take(&mut envoy, &format!("{with_id}\n{with_id}\n{without}\n{without}\n{later}\n"));
    assert_eq!(envoy.counter().totals(), counts(4, 4, 0, 0), "clients may reuse an id at another time");
    assert_eq!(skipped(&mut envoy), [("duplicate", 1)]);
}

#[test]
fn a_bad_line_is_refused_alone() {
    let good = r#"{"gen_ai.request.model":"gpt-4o","response_code":200,"gen_ai.usage.input_tokens":5}"#;
    let bad = [
        (good[..good.len() - 3].to_owned(), Refusal::Malformed),
        (format!("{good}x"), Refusal::Malformed),
        ("starting up".to_owned(), Refusal::Malformed),
        ("[1]".to_owned(), Refusal::Malformed),
        (good.replace(":5", ":-5"), Refusal::NegativeCount),
        (good.replace(":5", ":0.5"), Refusal::CountRange),
        (good.replace(":5", ":\"many\""), Refusal::CountRange),
        (good.replace(":5", ":99999999999999999999"), Refusal::CountRange),
        (format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100)), Refusal::Malformed),
    ];
    for (line, reason) in bad {
        let mut envoy = intake("envoy-ai-gateway");
        let accepted = take(&mut envoy, &format!("{good}\n{line}\n\n{good}\r\n"));
        assert_eq!(
            (accepted.counted, accepted.refused, accepted.first_refusal),
            (2, 1, Some(reason)),
            "{line}"
        );
    }
    let mut envoy = intake("envoy-ai-gateway");
    let mut bytes = good.replace("gpt-4o", "gpt-X").into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'X').unwrap();
    bytes[at] = 0xff;
    let now = Now::Replay(NOON_MS);
    let accepted = envoy.take(Signal::AccessLog, Encoding::JsonLines, &bytes, now).unwrap();
    assert_eq!(accepted.first_refusal, Some(Refusal::InvalidUtf8));
    let old = good.replace("{", r#"{"start_time":"2026-11-20T12:00:00Z","#);
    let accepted =
        envoy.take(Signal::AccessLog, Encoding::JsonLines, old.as_bytes(), Now::At(NOON_MS)).unwrap();
    assert_eq!(accepted.first_refusal, Some(Refusal::ClockSkew));
}

#[test]
fn bodies_are_objects_arrays_or_lines() {
    let one = r#"{"gen_ai.request.model":"gpt-4o","response_code":200}"#;
    let pretty = one.replace(',', ",\n  ");
    let bodies = [
        (one.to_owned(), 1),
        (pretty.clone(), 1),
        (format!("{one}\n{one}\n"), 2),
        (format!("[{one},{one}]"), 2),
        (format!(" [ {pretty} , {one} ,\n{one}]\n"), 3),
        ("[]".to_owned(), 0),
        (String::new(), 0),
    ];
    for (body, requests) in bodies {
        let mut envoy = intake("envoy-ai-gateway");
        envoy.take(Signal::AccessLog, Encoding::Json, body.as_bytes(), Now::Replay(NOON_MS)).unwrap();
        assert_eq!(envoy.counter().totals().requests, requests, "{body}");
    }
    for body in ["[", "[{}", "[{},]", "[{}]x", "[{} {}]"] {
        let mut envoy = intake("envoy-ai-gateway");
        let taken = envoy.take(Signal::AccessLog, Encoding::Json, body.as_bytes(), Now::Replay(NOON_MS));
        assert_eq!(taken, Err(Refusal::Malformed), "{body}");
    }
}

#[test]
fn every_outcome_of_the_status_rule() {
    let cases = [
        (200, Outcome::Ok),
        (304, Outcome::Ok),
        (400, Outcome::ClientError),
        (401, Outcome::ClientError),
        (429, Outcome::RateLimited),
        (499, Outcome::Cancelled),
        (500, Outcome::ServerError),
        (504, Outcome::ServerError),
    ];
    for (status, outcome) in cases {
        let line = format!(r#"{{"gen_ai.request.model":"gpt-4o","response_code":{status}}}"#);
        let mut envoy = intake("envoy-ai-gateway");
        take(&mut envoy, &line);
        let cell = envoy.counter().take_cells()[0];
        assert_eq!((cell.key.outcome, cell.key.operation), (outcome, Operation::Chat), "{status}");
        assert_eq!(cell.key.choice, Choice::Unknown);
    }
}
