//! Spans of the OTLP profiles that are data: every hazard that the survey of gateways names for them.
//!
//! The captures are built here from the keys and values that the sources named in the profiles give; they were not measured.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/otlp.rs"]
mod otlp;

use common::{NOON_MS, counts, int, intake, text};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp::{
    INTERNAL, SERVER, exception, failed, flag, of_kind, profile, span, told_by_spans, traces_request,
    with_event,
};
use prost::Message as _;
use weighbridge_collector::discard::Refusal;
use weighbridge_collector::intake::{Encoding, Now, Signal};

const ENVOY: &str = "envoyproxy/ai-gateway";

/// An OpenInference span of Envoy AI Gateway, with the content that it holds by default.
fn envoy(id: u8, name: &str, kind: &str, model_key: &str, model: &str) -> Span {
    let attributes = vec![
        text("openinference.span.kind", kind),
        text("llm.system", "openai"),
        text(model_key, model),
        text("input.value", "canary-prompt"),
        text("llm.input_messages.0.message.content", "canary-prompt"),
        int("llm.token_count.prompt", 8),
        int("llm.token_count.prompt_details.cache_read", 5),
        int("llm.token_count.completion", 377),
        int("llm.token_count.completion_details.reasoning", 320),
        int("llm.token_count.total", 385),
        text("output.value", "canary-answer"),
    ];
    of_kind(INTERNAL, span(id, 0, name, (0, 1), attributes))
}

#[test]
fn envoy_ai_gateway_openinference_spans() {
    let spans = vec![
        envoy(1, "ChatCompletion", "LLM", "llm.model_name", "gpt-5-nano-2025-08-07"),
        with_event(
            envoy(2, "ChatCompletion", "LLM", "llm.model_name", "gpt-5-nano-2025-08-07"),
            "First Token Stream Event",
            vec![],
        ),
        envoy(3, "CreateEmbeddings", "EMBEDDING", "embedding.model_name", "text-embedding-3-small"),
        envoy(4, "Rerank", "RERANKER", "reranker.model_name", "rerank-v3.5"),
        envoy(5, "AudioSpeech", "LLM", "llm.model_name", "gpt-4o-mini-tts"),
        envoy(6, "CountTokens", "TOKEN_COUNTER", "llm.model_name", "claude-sonnet-4-5"),
        with_event(
            failed(envoy(7, "ChatCompletion", "LLM", "llm.model_name", "gpt-4o")),
            "exception",
            exception("RateLimitError"),
        ),
        of_kind(INTERNAL, span(8, 0, "Initialize", (0, 1), vec![text("mcp.method.name", "initialize")])),
    ];
    let told = told_by_spans("envoy-ai-gateway", vec![(ENVOY, spans)]);
    // 8 and 377, never the subsets; the schema's name says nothing of hosting.
    let expected = [
        ("gpt-4o unknown rate_limited chat unknown unknown", [1, 1, 8, 377]),
        ("gpt-4o-mini-tts unknown ok audio unknown unknown", [1, 1, 8, 377]),
        ("gpt-5-nano unknown ok chat stream unknown", [1, 1, 8, 377]),
        ("gpt-5-nano unknown ok chat unknown unknown", [1, 1, 8, 377]),
        ("rerank unknown ok rerank unknown unknown", [1, 1, 8, 377]),
        ("text-embedding-3-small unknown ok embeddings unknown unknown", [1, 1, 8, 377]),
    ];
    told.assert_cells(&expected);
    assert_eq!(told.skipped, [("not_inference", 1), ("operation", 1)]);
}

#[test]
fn envoy_ai_gateway_genai_spans_and_other_scopes() {
    let genai = |id, operation: &str, more: Vec<KeyValue>| {
        let mut attributes = vec![
            text("gen_ai.operation.name", operation),
            text("gen_ai.request.model", "llama"),
            text("gen_ai.provider.name", "openai"),
            int("gen_ai.usage.input_tokens", 11),
            int("gen_ai.usage.cache_read.input_tokens", 10),
            int("gen_ai.usage.output_tokens", 7),
            int("gen_ai.usage.reasoning.output_tokens", 6),
        ];
        attributes.extend(more);
        span(id, 0, operation, (0, 1), attributes)
    };
    let served = text("gen_ai.response.model", "meta-llama/Llama-3.3-70B-Instruct");
    let spans = vec![
        genai(1, "chat", vec![served.clone(), text("gen_ai.response.id", "x")]),
        failed(genai(2, "text_completion", vec![text("error.type", "500")])),
        genai(3, "tokenize", vec![]),
    ];
    let same = vec![genai(4, "chat", vec![served])];
    let told = told_by_spans("envoy-ai-gateway", vec![(ENVOY, spans), ("envoy", same)]);
    told.assert_cells(&[
        ("llama-3.3 unknown ok chat unknown unknown", [1, 1, 11, 7]),
        ("unlisted unknown server_error text_completion unknown unknown", [1, 1, 11, 7]),
    ]);
    assert_eq!(told.skipped, [("scope", 1), ("operation", 1)]);
}

/// A SERVER span of agentgateway.
fn agent(id: u8, path: &str, status: i64, reason: &str, more: Vec<KeyValue>) -> Span {
    let mut attributes = vec![
        text("src.addr", "203.0.113.9:4711"),
        text("http.method", "POST"),
        text("http.path", path),
        int("http.status", status),
        text("reason", reason),
        text("jwt.sub", "canary-user"),
    ];
    attributes.extend(more);
    of_kind(SERVER, span(id, 0, "POST /v1/*", (0, 1), attributes))
}

fn agent_call(operation: &str, model: &str) -> Vec<KeyValue> {
    vec![
        text("gen_ai.operation.name", operation),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "smart"),
        text("gen_ai.response.model", model),
        text("endpoint", "10.0.0.7:8000"),
        int("gen_ai.usage.input_tokens", 11),
        int("gen_ai.usage.cache_read.input_tokens", 9),
        int("gen_ai.usage.output_tokens", 7),
        int("gen_ai.usage.reasoning_tokens", 5),
    ]
}

#[test]
fn agentgateway_spans_tell_what_its_metrics_do_not() {
    let chat = "/v1/chat/completions";
    let llama = "meta-llama/Llama-3.3-70B-Instruct";
    let mut retried = agent_call("chat", llama);
    retried.extend([int("retry.attempt", 2), text("agw.ai.time_to_first_token", "0.2s")]);
    let spans = vec![
        agent(1, chat, 200, "Upstream", retried),
        agent(2, "/v1/embeddings", 200, "Upstream", agent_call("embeddings", "text-embedding-3-small")),
        failed(agent(3, chat, 503, "UpstreamFailure", agent_call("chat", "unknown"))),
        agent(4, chat, 429, "RateLimit", vec![]),
        agent(5, "/mcp", 200, "MCP", vec![text("gen_ai.tool.name", "search")]),
        agent(6, "/v1/models", 200, "Upstream", vec![]),
        of_kind(INTERNAL, span(7, 1, "guardrail", (0, 1), vec![text("gen_ai.operation.name", "chat")])),
    ];
    let told = told_by_spans("agentgateway", vec![("agentgateway", spans)]);
    told.assert_cells(&[
        ("llama-3.3 self_hosted ok chat stream unknown", [1, 3, 11, 7]),
        ("text-embedding-3-small unknown ok embeddings unknown unknown", [1, 1, 11, 7]),
        ("unlisted self_hosted server_error chat unknown unknown", [1, 1, 11, 7]),
        ("unlisted unknown rate_limited chat unknown unknown", [1, 0, 0, 0]),
    ]);
    assert_eq!(told.skipped, [("not_inference", 2), ("operation", 1)]);
}

/// An attempt of TensorZero.
fn tensorzero(id: u8, parent: u8, times: (u64, u64), provider: &str, model: &str) -> Span {
    let attributes = vec![
        text("provider_name", "my-provider"),
        flag("stream", false),
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.system", provider),
        text("gen_ai.request.model", model),
        text("gen_ai.agent.name", "canary-function"),
        int("gen_ai.usage.input_tokens", 10),
        int("gen_ai.usage.output_tokens", 2),
        int("gen_ai.usage.total_tokens", 12),
        text("gen_ai.input.messages", "canary-prompt"),
    ];
    of_kind(INTERNAL, span(id, parent, "model_provider_inference", times, attributes))
}

fn branch(id: u8, parent: u8, name: &str) -> Span {
    of_kind(INTERNAL, span(id, parent, name, (0, 9), vec![text("tags.user_id", "canary-user")]))
}

const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";

#[test]
fn tensorzero_counts_a_request_at_its_root_and_a_failed_sibling_makes_a_fallback() {
    let spans = vec![
        failed(tensorzero(1, 10, (0, 1), "anthropic", "claude-sonnet-4-5")),
        tensorzero(2, 10, (1, 2), "vllm", LLAMA),
        of_kind(INTERNAL, span(3, 2, "rate_limiting_consume_tickets", (1, 2), vec![])),
        branch(10, 11, "model_inference"),
        branch(11, 12, "variant_inference"),
        branch(12, 13, "function_inference"),
        of_kind(SERVER, span(13, 0, "POST /inference", (0, 9), vec![])),
    ];
    let told = told_by_spans("tensorzero", vec![("tensorzero", spans)]);
    told.assert_cells(&[
        ("claude-sonnet-4.5 first_party unknown chat whole first", [0, 1, 10, 2]),
        ("llama-3.3 self_hosted ok chat whole fallback", [1, 1, 10, 2]),
    ]);
    assert_eq!(told.skipped, [("not_inference", 5)]);
}

#[test]
fn tensorzero_best_of_n_is_one_request_with_all_its_attempts() {
    let spans = vec![
        tensorzero(1, 10, (0, 2), "openai", "gpt-4o"),
        failed(tensorzero(2, 11, (0, 1), "vllm", LLAMA)),
        tensorzero(3, 12, (0, 3), "vllm", LLAMA),
        tensorzero(4, 13, (3, 4), "openai", "gpt-4o-mini"),
        branch(10, 20, "model_inference"),
        branch(20, 30, "variant_inference"),
        branch(11, 21, "model_inference"),
        branch(21, 30, "variant_inference"),
        branch(12, 22, "model_inference"),
        branch(22, 30, "variant_inference"),
        branch(13, 30, "model_inference"),
        branch(30, 40, "variant_inference"),
        branch(40, 0, "function_inference"),
    ];
    let told = told_by_spans("tensorzero", vec![("tensorzero", spans)]);
    told.assert_cells(&[
        ("gpt-4o unknown ok chat whole first", [0, 1, 10, 2]),
        // The judge answers last; that a candidate failed does not make it a fallback.
        ("gpt-4o-mini unknown ok chat whole first", [1, 1, 10, 2]),
        ("llama-3.3 self_hosted ok chat whole first", [0, 1, 10, 2]),
        ("llama-3.3 self_hosted unknown chat whole first", [0, 1, 10, 2]),
    ]);
}

#[test]
fn tensorzero_openinference_format_timeouts_and_two_requests_of_one_trace() {
    let openinference = |id, parent, times, stream| {
        let attributes = vec![
            flag("stream", stream),
            text("openinference.span.kind", "LLM"),
            text("llm.system", "mistral"),
            text("llm.model_name", "mistral-small-2506"),
            text("output.value", "canary-answer"),
            int("llm.token_count.prompt", 10),
            int("llm.token_count.completion", 2),
        ];
        of_kind(INTERNAL, span(id, parent, "model_provider_inference", times, attributes))
    };
    let chain = |id, parent, name: &str| {
        let attributes = vec![text("openinference.span.kind", "CHAIN")];
        of_kind(INTERNAL, span(id, parent, name, (0, 9), attributes))
    };
    let spans = vec![
        // Cut off by a timeout, exported as OK, and tried again.
        openinference(1, 10, (0, 1), true),
        openinference(2, 10, (1, 2), true),
        chain(10, 11, "model_inference"),
        chain(11, 12, "variant_inference"),
        chain(12, 0, "function_inference"),
        openinference(3, 20, (3, 4), false),
        chain(20, 21, "model_inference"),
        chain(21, 22, "variant_inference"),
        chain(22, 0, "function_inference"),
        // A cache replay: no attempt inside.
        chain(30, 31, "model_inference"),
        chain(31, 32, "variant_inference"),
        chain(32, 0, "function_inference"),
    ];
    let told = told_by_spans("tensorzero", vec![("tensorzero", spans)]);
    told.assert_cells(&[
        ("mistral-small-3 first_party ok chat stream first", [1, 1, 10, 2]),
        ("mistral-small-3 first_party ok chat whole first", [1, 1, 10, 2]),
        ("mistral-small-3 first_party server_error chat stream first", [0, 1, 10, 2]),
    ]);
}

#[test]
fn tensorzero_waits_for_the_root_over_batches_and_a_bad_payload_changes_nothing() {
    let mut intake = intake(profile("tensorzero"), 0);
    let payload = |spans| traces_request(vec![("tensorzero", spans)]).encode_to_vec();
    let take = |intake: &mut weighbridge_collector::intake::Intake, payload: &[u8]| {
        intake.take(Signal::Traces, Encoding::Protobuf, payload, Now::At(NOON_MS))
    };
    take(&mut intake, &payload(vec![tensorzero(1, 10, (0, 1), "vllm", LLAMA)])).unwrap();
    take(&mut intake, &payload(vec![branch(10, 11, "model_inference")])).unwrap();
    let root = payload(vec![branch(11, 0, "function_inference")]);
    let cut = &root[..root.len() - 3];
    assert_eq!(take(&mut intake, cut).unwrap_err(), Refusal::Malformed);
    assert_eq!(intake.counter().totals(), counts(0, 0, 0, 0), "the tree is not whole");
    take(&mut intake, &root).unwrap();
    assert_eq!(intake.counter().totals(), counts(1, 1, 10, 2));
}

#[test]
fn kong_spans_count_a_call_and_its_tool_call_once() {
    let call = |id, more: Vec<KeyValue>| {
        let mut attributes = vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "mistral"),
            text("gen_ai.request.model", "mistral-small-2506"),
            text("gen_ai.response.model", "mistral-small-2506"),
            text("gen_ai.response.id", "r"),
            text("gen_ai.output.messages", "canary-answer"),
            int("gen_ai.usage.input_tokens", 11),
            int("gen_ai.usage.output_tokens", 7),
        ];
        attributes.extend(more);
        of_kind(INTERNAL, span(id, 9, "kong.gen_ai", (0, 1), attributes))
    };
    let spans = vec![
        call(1, vec![]),
        call(2, vec![text("gen_ai.tool.name", "search"), text("gen_ai.tool.type", "function")]),
        of_kind(SERVER, span(9, 0, "kong", (0, 1), vec![text("http.request.method", "POST")])),
    ];
    let told = told_by_spans("kong", vec![("kong-internal", spans)]);
    told.assert_cells(&[("mistral-small-3 first_party ok chat unknown unknown", [1, 1, 11, 7])]);
    assert_eq!(told.skipped, [("not_inference", 1), ("duplicate", 1)]);
}
