//! Spans of instrumented applications: OpenLLMetry, OpenInference, OpenTelemetry's own, and calls that several of them tell.
//!
//! The captures are built here from the keys and values that the sources named in the profiles give; they were not measured.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/otlp.rs"]
mod otlp;

use common::{NOON_MS, int, intake, text};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp::{exception, failed, finish, flag, profile, span, told_by_spans, traces_request, with_event};
use prost::Message as _;
use weighbridge_collector::intake::{Encoding, Now, Signal};

const LLAMA: &str = "meta-llama/Llama-3.3-70B-Instruct";
const OPENAI: &str = "opentelemetry.instrumentation.openai.v1";

/// A span of OpenLLMetry's OpenAI instrumentation, with the content that it holds by default.
fn openllmetry(id: u8, parent: u8, base: &str, model: &str, more: Vec<KeyValue>) -> Span {
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.openai.api_base", base),
        text("gen_ai.request.model", model),
        text("gen_ai.response.model", model),
        flag("gen_ai.is_streaming", false),
        text("gen_ai.headers", "canary-header"),
        text("gen_ai.input.messages", "canary-prompt"),
        int("gen_ai.usage.input_tokens", 11),
        int("gen_ai.usage.cache_read.input_tokens", 9),
        int("gen_ai.usage.output_tokens", 7),
        int("gen_ai.usage.reasoning_tokens", 5),
        int("gen_ai.usage.total_tokens", 18),
    ];
    attributes.extend(more);
    span(id, parent, "openai.chat", (0, 1), attributes)
}

#[test]
fn openllmetry_calls_any_base_url_openai_and_the_address_tells_who_serves() {
    let spans = vec![
        openllmetry(1, 0, "https://api.openai.com/v1/", "gpt-4o-2024-11-20", vec![]),
        openllmetry(2, 0, "http://10.0.0.7:8000/v1/", LLAMA, vec![]),
        openllmetry(3, 0, "https://llm.example.org/v1/", LLAMA, vec![]),
        openllmetry(4, 0, "", "gpt-4o-2024-11-20", vec![]),
    ];
    let told = told_by_spans("openllmetry", vec![(OPENAI, spans)]);
    told.assert_cells(&[
        ("gpt-4o first_party ok chat whole unknown", [1, 1, 11, 7]),
        ("gpt-4o unknown ok chat whole unknown", [1, 1, 11, 7]),
        ("llama-3.3 self_hosted ok chat whole unknown", [1, 1, 11, 7]),
        ("llama-3.3 unknown ok chat whole unknown", [1, 1, 11, 7]),
    ]);
}

#[test]
fn openllmetry_old_spellings_errors_and_what_is_no_call() {
    let old = vec![
        text("llm.request.type", "completion"),
        text("gen_ai.system", "Ollama"),
        text("gen_ai.request.model", "llama3.3"),
        flag("llm.is_streaming", true),
        text("gen_ai.prompt.0.content", "canary-prompt"),
        int("gen_ai.usage.prompt_tokens", 3),
        int("gen_ai.usage.completion_tokens", 2),
        int("llm.usage.total_tokens", 5),
    ];
    let bedrock = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "aws.bedrock"),
        text("gen_ai.request.model", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ];
    let no_call = |id, operation: &str| {
        span(
            id,
            0,
            operation,
            (0, 1),
            vec![text("gen_ai.operation.name", operation), text("gen_ai.provider.name", "crewai")],
        )
    };
    let unknown = vec![text("llm.request.type", "unknown"), text("gen_ai.system", "openai")];
    let spans = vec![
        ("opentelemetry.instrumentation.ollama", vec![span(1, 0, "ollama.completion", (0, 1), old)]),
        (
            "opentelemetry.instrumentation.bedrock",
            vec![with_event(
                failed(span(2, 0, "bedrock.converse", (0, 1), bedrock)),
                "exception",
                exception("botocore.errorfactory.ThrottlingException"),
            )],
        ),
        (
            "opentelemetry.instrumentation.openai_agents",
            vec![no_call(3, "invoke_agent"), no_call(4, "execute_tool"), no_call(5, "handoff")],
        ),
        ("opentelemetry.instrumentation.pinecone", vec![openllmetry(6, 0, "", LLAMA, vec![])]),
        (
            OPENAI,
            vec![
                span(7, 0, "openai.unknown", (0, 1), unknown),
                failed(openllmetry(8, 0, "", "gpt-4o", vec![text("error.type", "APITimeoutError")])),
            ],
        ),
    ];
    let told = told_by_spans("openllmetry", spans);
    told.assert_cells(&[
        ("claude-sonnet-4.5 marketplace rate_limited chat unknown unknown", [1, 1, 0, 0]),
        ("gpt-4o unknown server_error chat whole unknown", [1, 1, 11, 7]),
        ("llama-3.3 self_hosted ok chat stream unknown", [1, 1, 3, 2]),
    ]);
    assert_eq!(told.skipped, [("scope", 1), ("not_inference", 1), ("operation", 3)]);
}

#[test]
fn openllmetry_of_javascript_counts_what_sdks_tell() {
    let call = |id, operation: &str, model: &str| {
        let attributes = vec![
            text("gen_ai.operation.name", operation),
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.request.model", model),
        ];
        span(id, 0, operation, (0, 1), attributes)
    };
    let refused = || failed(call(2, "chat", "gpt-4o"));
    let spans = vec![
        (
            "@traceloop/instrumentation-openai",
            vec![
                call(1, "chat", "gpt-4o"),
                with_event(refused(), "exception", exception("rate_limit_exceeded")),
                call(3, "image_generation", "gpt-image-1"),
            ],
        ),
        ("@traceloop/instrumentation-langchain", vec![call(4, "chat", "gpt-4o")]),
    ];
    let told = told_by_spans("openllmetry", spans);
    told.assert_cells(&[
        ("gpt-4o unknown ok chat unknown unknown", [1, 1, 0, 0]),
        ("gpt-4o unknown rate_limited chat unknown unknown", [1, 1, 0, 0]),
        ("gpt-image unknown ok image unknown unknown", [1, 1, 0, 0]),
    ]);
    assert_eq!(told.skipped, [("scope", 1)]);
}

/// A span of OpenInference.
fn openinference(id: u8, parent: u8, kind: &str, more: Vec<KeyValue>) -> Span {
    let mut attributes = vec![
        text("openinference.span.kind", kind),
        text("input.value", "canary-prompt"),
        text("llm.invocation_parameters", "canary-parameters"),
        int("llm.token_count.prompt", 11),
        int("llm.token_count.prompt_details.cache_read", 9),
        int("llm.token_count.completion", 7),
        int("llm.token_count.completion_details.reasoning", 5),
        int("llm.token_count.total", 18),
    ];
    attributes.extend(more);
    span(id, parent, "ChatCompletion", (0, 1), attributes)
}

#[test]
fn openinference_needs_a_kind_that_is_a_call() {
    let llm = |provider: &str, model: &str| {
        vec![text("llm.provider", provider), text("llm.system", "openai"), text("llm.model_name", model)]
    };
    let kinds = ["CHAIN", "AGENT", "TOOL", "RETRIEVER", "GUARDRAIL", "EVALUATOR", "PROMPT", "UNKNOWN"];
    let mut spans: Vec<Span> = kinds
        .iter()
        .zip(10..)
        .map(|(kind, id)| openinference(id, 0, kind, llm("openai", "gpt-4o")))
        .collect();
    spans.extend([
        openinference(1, 0, "LLM", llm("groq", "llama-3.3-70b-versatile")),
        with_event(openinference(2, 0, "LLM", llm("openai", "gpt-4o")), "First Token Stream Event", vec![]),
        openinference(3, 0, "EMBEDDING", vec![text("embedding.model_name", "text-embedding-3-small")]),
        openinference(4, 0, "RERANKER", vec![text("reranker.model_name", "rerank-v3.5")]),
        openinference(
            5,
            0,
            "LLM",
            vec![
                text("llm.system", "anthropic"),
                text("llm.request.model_name", "claude-opus-4-1"),
                text("llm.model_name", "claude-opus-4-1"),
                text("llm.response.model_name", "claude-sonnet-4-5-20250929"),
            ],
        ),
        with_event(
            with_event(
                failed(openinference(6, 0, "LLM", llm("openai", "unknown"))),
                "exception",
                exception("httpx.ReadTimeout"),
            ),
            "exception",
            exception("openai.RateLimitError"),
        ),
    ]);
    let no_kind = span(7, 0, "chat", (0, 1), vec![text("llm.model_name", "gpt-4o")]);
    let python = "openinference.instrumentation.openai";
    let told = told_by_spans(
        "openinference",
        vec![
            (python, spans),
            ("my-app", vec![no_kind.clone()]),
            ("@arizeai/openinference-instrumentation-openai", vec![no_kind]),
        ],
    );
    told.assert_cells(&[
        ("claude-sonnet-4.5 first_party ok chat unknown unknown", [1, 1, 11, 7]),
        ("gpt-4o unknown ok chat stream unknown", [1, 1, 11, 7]),
        ("llama-3.3 third_party ok chat unknown unknown", [1, 1, 11, 7]),
        ("rerank unknown ok rerank unknown unknown", [1, 1, 11, 7]),
        ("text-embedding-3-small unknown ok embeddings unknown unknown", [1, 1, 11, 7]),
        ("unlisted unknown rate_limited chat unknown unknown", [1, 1, 11, 7]),
    ]);
    assert_eq!(told.skipped, [("scope", 1), ("not_inference", 1), ("operation", 8)]);
}

#[test]
fn a_frameworks_span_around_an_sdks_is_one_call() {
    let llm = || vec![text("llm.system", "openai"), text("llm.model_name", "gpt-4o")];
    let framework = "openinference.instrumentation.llama_index";
    let sdk = "openinference.instrumentation.openai";
    // The SDK's ends first; in whatever order and payload they come, one is counted.
    let inner = || (sdk, vec![openinference(2, 1, "LLM", llm())]);
    let outer = || (framework, vec![openinference(1, 9, "LLM", llm())]);
    for order in [vec![inner(), outer()], vec![outer(), inner()]] {
        let told = told_by_spans("openinference", order.clone());
        told.assert_cells(&[("gpt-4o unknown ok chat unknown unknown", [1, 1, 11, 7])]);
        assert_eq!(told.skipped, [("duplicate", 1)]);
        let mut intake = intake(profile("openinference"), 0);
        for spans in order {
            let payload = traces_request(vec![spans]).encode_to_vec();
            intake.take(Signal::Traces, Encoding::Protobuf, &payload, Now::At(NOON_MS)).unwrap();
        }
        finish(&mut intake).assert_cells(&[("gpt-4o unknown ok chat unknown unknown", [1, 1, 11, 7])]);
    }
    // Two calls beside each other in one chain are two.
    let beside = vec![openinference(3, 9, "LLM", llm()), openinference(4, 9, "LLM", llm())];
    told_by_spans("openinference", vec![(sdk, beside)])
        .assert_cells(&[("gpt-4o unknown ok chat unknown unknown", [2, 2, 22, 14])]);
}

#[test]
fn spans_of_framework_sdk_and_gateway_with_one_response_id_are_one_call() {
    let with_id =
        |id, parent| openllmetry(id, parent, "", "gpt-4o", vec![text("gen_ai.response.id", "chatcmpl-1")]);
    let spans = vec![
        (OPENAI, vec![with_id(1, 8)]),
        // Not around it: another process, and a framework that sets no context.
        ("opentelemetry.instrumentation.langchain", vec![with_id(2, 9)]),
        ("opentelemetry.instrumentation.litellm", vec![with_id(3, 7)]),
    ];
    let told = told_by_spans("openllmetry", spans);
    told.assert_cells(&[("gpt-4o unknown ok chat whole unknown", [1, 1, 11, 7])]);
    assert_eq!(told.skipped, [("duplicate", 2)]);
    // Remembered for 5 to 10 minutes by the collector's clock, over payloads.
    let mut intake = intake(profile("openllmetry"), 0);
    for (minutes, scope) in [(0, OPENAI), (4, "opentelemetry.instrumentation.langchain")] {
        let payload = traces_request(vec![(scope, vec![with_id(1 + minutes as u8, 0)])]).encode_to_vec();
        let now = Now::At(NOON_MS + minutes * 60_000);
        intake.take(Signal::Traces, Encoding::Protobuf, &payload, now).unwrap();
    }
    finish(&mut intake).assert_cells(&[("gpt-4o unknown ok chat whole unknown", [1, 1, 11, 7])]);
}

#[test]
fn opentelemetry_reads_three_generations() {
    let call = |id, attributes: Vec<KeyValue>| span(id, 0, "chat gpt-4o", (0, 1), attributes);
    let oldest = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.system", "mistral_ai"),
        text("gen_ai.request.model", "mistral-small-2506"),
        int("gen_ai.usage.prompt_tokens", 11),
        int("gen_ai.usage.completion_tokens", 7),
    ];
    let middle = vec![
        text("gen_ai.operation.name", "generate_content"),
        text("gen_ai.provider.name", "gcp.gemini"),
        text("gen_ai.request.model", "gemini-2.5-flash"),
        text("gen_ai.response.model", "gemini-2.5-flash"),
        int("gen_ai.usage.input_tokens", 11),
        int("gen_ai.usage.cache_read.input_tokens", 9),
        int("gen_ai.usage.cache_creation.input_tokens", 1),
        int("gen_ai.usage.output_tokens", 7),
        int("gen_ai.usage.reasoning.output_tokens", 5),
    ];
    let newest = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "llama"),
        text("gen_ai.response.model", LLAMA),
        text("server.address", "vllm.default.svc.cluster.local"),
        flag("gen_ai.request.stream", true),
        int("gen_ai.usage.input_tokens", 11),
        int("gen_ai.usage.cache_write.input_tokens", 1),
        int("gen_ai.usage.output_tokens", 7),
    ];
    let failure = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "aws.bedrock"),
        text("gen_ai.request.model", "amazon.nova-pro-v1:0"),
        text("error.type", "ThrottlingException"),
    ];
    let nobody = vec![text("gen_ai.operation.name", "chat"), text("gen_ai.request.model", "gpt-4o")];
    let tool = vec![text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", "search")];
    let spans = vec![
        ("opentelemetry.instrumentation.openai_v2", vec![call(1, oldest), call(5, nobody)]),
        ("opentelemetry.instrumentation.google_genai", vec![call(2, middle)]),
        ("opentelemetry.util.genai.handler", vec![call(3, newest), call(6, tool)]),
        ("opentelemetry.instrumentation.botocore.bedrock-runtime", vec![failed(call(4, failure))]),
        ("opentelemetry.instrumentation.requests", vec![call(7, vec![text("http.request.method", "POST")])]),
    ];
    let told = told_by_spans("opentelemetry-sdk", spans);
    told.assert_cells(&[
        ("gemini-2.5-flash first_party ok chat unknown unknown", [1, 1, 11, 7]),
        ("llama-3.3 self_hosted ok chat stream unknown", [1, 1, 11, 7]),
        ("mistral-small-3 first_party ok chat unknown unknown", [1, 1, 11, 7]),
        ("nova-pro marketplace rate_limited chat unknown unknown", [1, 1, 0, 0]),
    ]);
    assert_eq!(told.skipped, [("scope", 1), ("operation", 1), ("no_provider", 1)]);
}
