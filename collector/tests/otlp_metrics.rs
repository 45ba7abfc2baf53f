//! Metrics of the OTLP profiles that are data: every hazard that the survey of gateways names for them.
//!
//! The captures are built here from the keys and values that the sources named in the profiles give; they were not measured.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/otlp.rs"]
mod otlp;

use common::text;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use otlp::{counter, flag, histogram, told_by_metrics};

const DURATION: &str = "gen_ai.client.operation.duration";
const USAGE: &str = "gen_ai.client.token.usage";
const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

fn with(base: &[KeyValue], more: Vec<KeyValue>) -> Vec<KeyValue> {
    base.iter().cloned().chain(more).collect()
}

/// Points of a token histogram, one a type.
fn usage(name: &str, key: &str, base: &[KeyValue], types: &[(&str, f64)]) -> Metric {
    let point = |(kind, sum): &(&str, f64)| (with(base, vec![text(key, kind)]), 1, *sum);
    histogram(name, types.iter().map(point).collect())
}

#[test]
fn envoy_ai_gateway_sample_is_one_request_of_385_tokens() {
    let base = [
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.original.model", "gpt-5-nano"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "gpt-5-nano"),
        text("gen_ai.response.model", "gpt-5-nano-2025-08-07"),
    ];
    let types = [
        ("input", 8.0),
        ("cached_input", 0.0),
        ("cache_creation_input", 0.0),
        ("output", 377.0),
        ("reasoning", 320.0),
    ];
    let failed = [
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.original.model", "smart"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", LLAMA),
        text("gen_ai.response.model", "unknown"),
        text("error.type", "_OTHER"),
    ];
    let of = |operation: &str| {
        let mut attributes = base.to_vec();
        attributes[0] = text("gen_ai.operation.name", operation);
        (attributes, 1, 0.5)
    };
    let metrics = vec![
        histogram(
            "gen_ai.server.request.duration",
            vec![(base.to_vec(), 1, 2.5), (failed.to_vec(), 2, 1.0), of("completion"), of("count_tokens")],
        ),
        usage(USAGE, "gen_ai.token.type", &base, &types),
        histogram("gen_ai.server.time_to_first_token", vec![(base.to_vec(), 1, 0.2)]),
    ];
    let told = told_by_metrics("envoy-ai-gateway", vec![("envoyproxy/ai-gateway", metrics)]);
    told.assert_cells(&[
        ("gpt-5-nano unknown ok chat unknown unknown", [1, 1, 8, 377]),
        ("gpt-5-nano unknown ok text_completion unknown unknown", [1, 1, 0, 0]),
        ("llama-3.3 unknown server_error chat unknown unknown", [2, 2, 0, 0]),
    ]);
    assert_eq!(told.skipped, [("operation", 1), ("token_type", 3)]);
    let same = vec![histogram("gen_ai.server.request.duration", vec![(base.to_vec(), 1, 2.5)])];
    let told = told_by_metrics("envoy-ai-gateway", vec![("some-app", same)]);
    told.assert_cells(&[]);
    assert_eq!(told.skipped, [("scope", 1)]);
}

#[test]
fn agentgateway_as_a_collector_forwards_it() {
    let base = [
        text("gen_ai_operation_name", "chat"),
        text("gen_ai_system", "gcp.gemini"),
        text("gen_ai_request_model", "smart"),
        text("gen_ai_response_model", "gemini-2.5-flash"),
        text("route", "default/llm"),
    ];
    // The operation of its metrics is always chat.
    let unknown = [
        text("gen_ai_operation_name", "chat"),
        text("gen_ai_system", "custom"),
        text("gen_ai_request_model", "unknown"),
        text("gen_ai_response_model", "unknown"),
    ];
    let types = [("input", 11.0), ("input_cache_read", 9.0), ("input_cache_write", 1.0), ("output", 7.0)];
    let metrics = vec![
        histogram(
            "agentgateway_gen_ai_server_request_duration",
            vec![(base.to_vec(), 3, 2.5), (unknown.to_vec(), 1, 1.0)],
        ),
        usage("agentgateway_gen_ai_client_token_usage", "gen_ai_token_type", &base, &types),
        counter("agentgateway_requests", vec![(vec![text("status", "200")], 4)]),
    ];
    let scope = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver";
    let told = told_by_metrics("agentgateway", vec![(scope, metrics)]);
    told.assert_cells(&[
        ("gemini-2.5-flash first_party ok chat unknown unknown", [3, 3, 11, 7]),
        ("unlisted unknown ok chat unknown unknown", [1, 1, 0, 0]),
    ]);
    assert_eq!(told.skipped, [("token_type", 2)]);
}

#[test]
fn kong_counts_one_of_two_durations_and_no_cache_hits() {
    let base = [
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "mistral"),
        text("gen_ai.request.model", "mistral-small-2506"),
        text("gen_ai.response.model", "mistral-small-2506"),
        text("kong.workspace.name", "default"),
    ];
    let mode = |mode: &str, cache: &str| {
        with(&base, vec![text("kong.gen_ai.request.mode", mode), text("kong.gen_ai.cache.status", cache)])
    };
    let limited = with(&mode("oneshot", ""), vec![text("error.type", "429")]);
    let points = || {
        vec![
            (mode("oneshot", ""), 2, 1.0),
            (mode("stream", ""), 1, 1.0),
            (mode("oneshot", "hit"), 5, 0.1),
            (limited.clone(), 1, 0.1),
        ]
    };
    let metrics = vec![
        histogram(DURATION, points()),
        histogram("gen_ai.server.request.duration", points()),
        usage(
            USAGE,
            "gen_ai.token.type",
            &mode("oneshot", ""),
            &[("input", 13.0), ("output", 12.0), ("total", 25.0)],
        ),
        counter("kong.gen_ai.llm.cost", vec![(base.to_vec(), 1)]),
        histogram(
            "mcp.server.operation.duration",
            vec![(vec![text("gen_ai.operation.name", "execute_tool")], 9, 1.0)],
        ),
    ];
    let told = told_by_metrics("kong", vec![("kong-internal", metrics)]);
    told.assert_cells(&[
        ("mistral-small-3 first_party ok chat stream unknown", [1, 1, 0, 0]),
        ("mistral-small-3 first_party ok chat whole unknown", [2, 2, 13, 12]),
        ("mistral-small-3 first_party rate_limited chat whole unknown", [1, 1, 0, 0]),
    ]);
    assert_eq!(told.skipped, [("cache_hit", 2), ("synonym", 3), ("token_type", 1)]);
}

#[test]
fn traefik_hub_tells_requests_and_tokens_whatever_its_scope() {
    let base = [
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "gpt-4o"),
        text("gen_ai.response.model", "gpt-4o-2024-11-20"),
        text("server.address", "api.openai.com"),
    ];
    let failed = with(&base[..3], vec![text("error.type", "503"), text("server.address", "10.0.0.7")]);
    let metrics = vec![
        histogram(DURATION, vec![(base.to_vec(), 2, 1.0), (failed, 1, 1.0)]),
        usage(USAGE, "gen_ai.token.type", &base, &[("input", 13.0), ("output", 12.0)]),
        counter("traefik.hub.semantic_cache.token_saved", vec![(base.to_vec(), 99)]),
    ];
    let told = told_by_metrics("traefik-hub", vec![("github.com/traefik/hub", metrics)]);
    told.assert_cells(&[
        ("gpt-4o first_party ok chat unknown unknown", [2, 2, 13, 12]),
        ("gpt-4o unknown server_error chat unknown unknown", [1, 1, 0, 0]),
    ]);
}

#[test]
fn openllmetry_counts_operations_and_no_choices() {
    let base = [
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.response.model", LLAMA),
        text("server.address", "http://10.0.0.7:8000/v1/"),
        flag("stream", true),
    ];
    let choice = with(&base, vec![text("gen_ai.response.finish_reason", "stop")]);
    // A failed call has the class of its error, and nothing else.
    let failed = vec![text("error.type", "RateLimitError")];
    let metrics = vec![
        histogram(DURATION, vec![(base.to_vec(), 2, 1.0), (failed.clone(), 1, 1.0)]),
        usage(USAGE, "gen_ai.token.type", &base, &[("input", 13.0), ("output", 12.0)]),
        counter("gen_ai.client.generation.choices", vec![(base.to_vec(), 8), (choice, 8)]),
        counter("llm.openai.chat_completions.exceptions", vec![(failed, 1)]),
    ];
    let agents = vec![histogram(DURATION, vec![(base.to_vec(), 2, 1.0)])];
    let spans = vec![
        ("opentelemetry.instrumentation.openai.v1", metrics),
        ("opentelemetry.instrumentation.openai_agents", agents),
    ];
    let told = told_by_metrics("openllmetry", spans);
    told.assert_cells(&[
        ("llama-3.3 self_hosted ok chat stream unknown", [2, 2, 13, 12]),
        ("unlisted unknown rate_limited chat unknown unknown", [1, 1, 0, 0]),
    ]);
    assert_eq!(told.skipped, [("scope", 1)]);
}

fn sdk(operation: Option<&str>, model: &str, more: Vec<KeyValue>) -> Vec<KeyValue> {
    let mut attributes =
        vec![text("gen_ai.provider.name", "gcp.gemini"), text("gen_ai.request.model", model)];
    attributes.extend(operation.map(|operation| text("gen_ai.operation.name", operation)));
    attributes.extend(more);
    attributes
}

#[test]
fn opentelemetry_counts_the_newest_metrics_that_a_process_sends() {
    let chat = || sdk(Some("chat"), "gemini-2.5-flash", vec![]);
    let embeddings = || sdk(None, "text-embedding-3-small", vec![]);
    let failed = || sdk(Some("chat"), "gemini-2.5-flash", vec![text("error.type", "503")]);
    let agent = || sdk(Some("invoke_agent"), "gemini-2.5-flash", vec![]);
    let modality =
        |modality: &str| sdk(Some("chat"), "gemini-2.5-flash", vec![text("gen_ai.token.modality", modality)]);
    let newest = || {
        vec![
            histogram("gen_ai.client.inference.duration", vec![(chat(), 2, 1.0), (failed(), 1, 1.0)]),
            histogram("gen_ai.client.embeddings.duration", vec![(embeddings(), 4, 1.0)]),
            // Two modalities are two parts; a failed request records 0.
            counter(
                "gen_ai.client.inference.usage.input_tokens",
                vec![(modality("text"), 20), (modality("image"), 10), (failed(), 0)],
            ),
            counter(
                "gen_ai.client.inference.usage.output_tokens",
                vec![(modality("text"), 7), (failed(), 0)],
            ),
            counter("gen_ai.client.inference.usage.cache_read.input_tokens", vec![(chat(), 25)]),
            counter("gen_ai.client.inference.usage.reasoning.output_tokens", vec![(chat(), 5)]),
            histogram("gen_ai.client.inference.operation.input_tokens", vec![(chat(), 2, 30.0)]),
            histogram("gen_ai.client.inference.operation.output_tokens", vec![(chat(), 2, 7.0)]),
        ]
    };
    let older = || {
        vec![
            histogram(
                DURATION,
                vec![
                    (chat(), 2, 1.0),
                    (failed(), 1, 1.0),
                    (agent(), 9, 1.0),
                    (sdk(Some("embeddings"), "text-embedding-3-small", vec![]), 4, 1.0),
                ],
            ),
            usage(USAGE, "gen_ai.token.type", &chat(), &[("input", 30.0), ("output", 7.0)]),
        ]
    };
    let scope = "opentelemetry.util.genai.handler";
    let expected = [
        ("gemini-2.5-flash first_party ok chat unknown unknown", [2, 2, 30, 7]),
        ("gemini-2.5-flash first_party server_error chat unknown unknown", [1, 1, 0, 0]),
        ("text-embedding-3-small third_party ok embeddings unknown unknown", [4, 4, 0, 0]),
    ];
    for metrics in [
        newest(),
        older(),
        newest().into_iter().chain(older()).collect(),
        older().into_iter().chain(newest()).collect(),
    ] {
        let told = told_by_metrics("opentelemetry-sdk", vec![(scope, metrics)]);
        told.assert_cells(&expected);
    }
    let both = newest().into_iter().chain(older()).collect();
    let told = told_by_metrics("opentelemetry-sdk", vec![(scope, both)]);
    assert_eq!(told.skipped, [("operation", 1), ("synonym", 7)]);
}

#[test]
fn missing_markers_are_rows_with_an_unknown_model() {
    for marker in ["", "None", "unknown", "null", "-", "UNSPECIFIED", "other"] {
        let attributes = |response: &str| {
            vec![
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.provider.name", "openai"),
                text("gen_ai.request.model", marker),
                text("gen_ai.response.model", response),
            ]
        };
        let metric = |response: &str| {
            histogram("gen_ai.server.request.duration", vec![(attributes(response), 1, 1.0)])
        };
        let told = |response: &str| {
            told_by_metrics("envoy-ai-gateway", vec![("envoyproxy/ai-gateway", vec![metric(response)])])
        };
        told(marker).assert_cells(&[("unlisted unknown ok chat unknown unknown", [1, 1, 0, 0])]);
        told("gpt-4o").assert_cells(&[("gpt-4o unknown ok chat unknown unknown", [1, 1, 0, 0])]);
    }
}
