//! Each API through the tap: what is counted of an exchange in the shape that the API's documentation and its servers give it.
//! Bodies are cut at every length, so that nothing depends on how they arrive.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use common::NOON_MS;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use weighbridge_collector::intake::Intake;
use weighbridge_collector::profile::tap::{End, Exchange, Head, TapProfile};
use weighbridge_collector::report_view::CellView;

struct Case<'a> {
    profile: &'a str,
    path: &'a str,
    request: &'a str,
    status: u16,
    content_type: &'a str,
    headers: &'a [(&'static str, &'a str)],
    answer: Vec<u8>,
    host: &'a str,
    served_model: &'a str,
    end: End,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Case {
            profile: "auto",
            path: "/v1/chat/completions",
            request: "{}",
            status: 200,
            content_type: "application/json",
            headers: &[],
            answer: Vec::new(),
            host: "127.0.0.1",
            served_model: "",
            end: End::Complete,
        }
    }
}

const SSE: &str = "text/event-stream; charset=utf-8";

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    list.iter().map(header).collect()
}

fn pass(case: &Case<'_>, cut: usize) -> Intake {
    let profile = TapProfile::from_name(case.profile).unwrap();
    let mut intake = common::intake(profile, 0);
    let asked = headers(&[("content-type", "application/json")]);
    let mut exchange =
        Exchange::new(profile, Head { method: &Method::POST, path: case.path, headers: &asked });
    case.request.as_bytes().chunks(cut).for_each(|piece| exchange.request_piece(piece));
    exchange.request_end();
    if case.status > 0 {
        let mut told = headers(case.headers);
        told.insert("content-type", HeaderValue::from_str(case.content_type).unwrap());
        exchange.answer(case.status, &told);
        case.answer.chunks(cut).for_each(|piece| exchange.answer_piece(piece));
    }
    intake.take_exchange(exchange, case.end, case.host, case.served_model, NOON_MS);
    intake
}

/// The one cell of the exchange: `model openness hosting operation outcome choice streaming requests attempts input output`, or
/// why it was skipped.
fn counted(case: &Case<'_>) -> String {
    let told = |cut: usize| {
        let mut intake = pass(case, cut);
        let skipped: Vec<_> = intake.counter().tally().skipped().collect();
        let cells = intake.counter().take_cells();
        match (cells.as_slice(), skipped.as_slice()) {
            ([], [(reason, 1)]) => format!("skipped: {}", reason.name()),
            ([cell], []) => {
                let view = CellView::of(cell, weighbridge_catalog::embedded());
                let value = serde_json::to_value(&view).unwrap();
                let fields = [
                    "model",
                    "openness",
                    "hosting",
                    "operation",
                    "outcome",
                    "choice",
                    "streaming",
                    "requests",
                    "attempts",
                    "input_tokens",
                    "output_tokens",
                ];
                let field = |name: &&str| value[*name].to_string().trim_matches('"').to_owned();
                fields.iter().map(field).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        }
    };
    let whole = told(usize::MAX);
    [1, 2, 3, 5, 8, 13, 100].into_iter().for_each(|cut| assert_eq!(told(cut), whole, "cut every {cut}"));
    whole
}

#[test]
fn openai_chat_in_one_piece() {
    let case = Case {
        request: r#"{"messages":[{"role":"user","content":"\"model\":\"gpt-5\""}],"model":"gpt-4o","tools":[]}"#,
        answer: br#"{"id":"x","choices":[{"message":{"content":"\"usage\": {\"prompt_tokens\": 1}"}}],"model":"gpt-4o-2024-08-06",
            "usage":{"prompt_tokens":12,"completion_tokens":30,"total_tokens":42,"prompt_tokens_details":{"cached_tokens":4}}}"#
            .to_vec(),
        host: "api.openai.com",
        ..Case::default()
    };
    assert_eq!(counted(&case), "gpt-4o closed first_party chat ok unknown no 1 1 12 30");
}

#[test]
fn openai_streams_tell_tokens_only_if_asked() {
    let chunk = |usage: &str| {
        format!(
            "data: {{\"model\":\"llama-3.3-70b-instruct\",\"choices\":[{{\"delta\":{{\"content\":\"a\\nb\"}}}}],\"usage\":{usage}}}\n\n"
        )
    };
    let mut case = Case {
        request: r#"{"model":"llama-3.3-70b-instruct","stream":true}"#,
        content_type: SSE,
        answer: format!("{}{}data: [DONE]\n\n", chunk("null"), chunk("null")).into_bytes(),
        host: "10.0.0.7",
        ..Case::default()
    };
    assert_eq!(counted(&case), "llama-3.3 open-restricted self_hosted chat ok unknown yes 1 1 0 0");
    let usage = chunk("{\"prompt_tokens\":5,\"completion_tokens\":9}");
    case.answer = format!("{}{usage}data: [DONE]\n\n", chunk("null")).into_bytes();
    assert_eq!(counted(&case), "llama-3.3 open-restricted self_hosted chat ok unknown yes 1 1 5 9");
}

#[test]
fn openai_responses_tell_tokens_at_their_end() {
    let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"gpt-4o\",\"usage\":null,\"error\":null}}\n\n\
        event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n\
        event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"gpt-4o\",\"error\":null,\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}}\n\n";
    let mut case = Case {
        path: "/v1/responses",
        request: r#"{"model":"gpt-4o","input":"hi","stream":true}"#,
        content_type: SSE,
        answer: stream.as_bytes().to_vec(),
        host: "api.openai.com",
        ..Case::default()
    };
    assert_eq!(counted(&case), "gpt-4o closed first_party chat ok unknown yes 1 1 7 3");
    case.answer =
        stream.replace("\"error\":null,\"usage\"", "\"error\":{\"code\":\"server_error\"},\"usage\"").into();
    assert_eq!(counted(&case), "gpt-4o closed first_party chat server_error unknown yes 1 1 7 3");
}

#[test]
fn embeddings_images_and_audio_are_operations_of_their_own() {
    let case = |path: &'static str, answer: &str| Case {
        path,
        request: r#"{"model":"text-embedding-3-small"}"#,
        answer: answer.as_bytes().to_vec(),
        host: "api.openai.com",
        ..Case::default()
    };
    let embedding = case(
        "/v1/embeddings",
        r#"{"model":"text-embedding-3-small","data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":8}}"#,
    );
    assert_eq!(
        counted(&embedding),
        "text-embedding-3-small closed first_party embeddings ok unknown no 1 1 8 0"
    );
    let image = counted(&case("/v1/images/generations", "{\"data\":[]}"));
    assert!(image.contains(" image ok unknown no 1 1 0 0"), "{image}");
    let mut speech = case("/v1/audio/speech", "ID3 not json {");
    speech.content_type = "audio/mpeg";
    let speech = counted(&speech);
    assert!(speech.contains(" audio ok unknown no 1 1 0 0"), "{speech}");
}

#[test]
fn azure_names_the_model_in_the_answer() {
    let mut case = Case {
        path: "/openai/deployments/prod-1/chat/completions?api-version=2024-10-21",
        answer: br#"{"model":"gpt-4o-2024-08-06","usage":{"prompt_tokens":1,"completion_tokens":2}}"#
            .to_vec(),
        host: "acme.openai.azure.com",
        ..Case::default()
    };
    assert_eq!(counted(&case), "gpt-4o closed marketplace chat ok unknown no 1 1 1 2");
    // The first chunk of a stream has an empty model; without an answer the deployment is all there is.
    (case.content_type, case.request) = (SSE, r#"{"stream":true}"#);
    case.answer =
        b"data: {\"model\":\"\",\"prompt_filter_results\":[]}\n\ndata: {\"model\":\"gpt-4o-2024-08-06\"}\n\n"
            .to_vec();
    assert_eq!(counted(&case), "gpt-4o closed marketplace chat ok unknown yes 1 1 0 0");
}

#[test]
fn anthropic_adds_what_came_from_the_cache() {
    let mut case = Case {
        path: "/v1/messages",
        request: r#"{"model":"claude-sonnet-4-20250514","max_tokens":10}"#,
        answer: br#"{"type":"message","model":"claude-sonnet-4-20250514","content":[{"text":"x"}],
            "usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":30,"output_tokens":5}}"#
            .to_vec(),
        host: "api.anthropic.com",
        ..Case::default()
    };
    assert_eq!(counted(&case), "claude-sonnet-4 closed first_party chat ok unknown no 1 1 60 5");
    case.request = r#"{"model":"claude-sonnet-4-20250514","stream":true}"#;
    case.content_type = SSE;
    case.answer = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-sonnet-4-20250514\",\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":30,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"{\"}}\n\n\
        event: ping\ndata: {\"type\": \"ping\"}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
        .to_vec();
    assert_eq!(counted(&case), "claude-sonnet-4 closed first_party chat ok unknown yes 1 1 40 15");
    case.answer
        .extend(b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n");
    assert_eq!(counted(&case), "claude-sonnet-4 closed first_party chat server_error unknown yes 1 1 40 15");
    case.path = "/v1/messages/count_tokens";
    assert_eq!(counted(&case), "skipped: not_inference");
}

#[test]
fn gemini_names_the_model_in_the_path() {
    let mut case = Case {
        path: "/v1beta/models/gemini-2.5-flash:generateContent",
        request: r#"{"contents":[{"parts":[{"text":"model"}]}]}"#,
        answer: br#"{"candidates":[{"content":{}}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"thoughtsTokenCount":100,"totalTokenCount":113},"modelVersion":"gemini-2.5-flash"}"#
            .to_vec(),
        host: "generativelanguage.googleapis.com",
        ..Case::default()
    };
    assert_eq!(counted(&case), "gemini-2.5-flash closed first_party chat ok unknown no 1 1 9 104");
    // Without `alt=sse` a stream is an array that grows; counts are running totals.
    case.path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
    case.answer = br#"[{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1}},
        {"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":6}}]"#
        .to_vec();
    assert_eq!(counted(&case), "gemini-2.5-flash closed first_party chat ok unknown yes 1 1 9 6");
    case.path = "/v1beta/models/gemini-2.5-flash:countTokens";
    assert_eq!(counted(&case), "skipped: not_inference");
}

#[test]
fn vertex_carries_the_makers_bodies() {
    let case = Case {
        path: "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4@20250514:streamRawPredict",
        request: r#"{"anthropic_version":"vertex-2023-10-16","stream":true}"#,
        content_type: SSE,
        answer: b"data: {\"message\":{\"model\":\"claude-sonnet-4-20250514\",\"usage\":{\"input_tokens\":3}}}\n\ndata: {\"usage\":{\"output_tokens\":4}}\n\n".to_vec(),
        host: "us-east5-aiplatform.googleapis.com",
        ..Case::default()
    };
    assert_eq!(counted(&case), "claude-sonnet-4 closed marketplace chat ok unknown yes 1 1 3 4");
}

fn aws_event(payload: &str) -> Vec<u8> {
    let headers = b"\x0b:event-type\x07\x00\x08metadata";
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut event = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes(), [0; 4]].concat();
    [headers.as_slice(), payload.as_bytes(), &[0; 4]].iter().for_each(|part| event.extend_from_slice(part));
    event
}

#[test]
fn bedrock_converse_and_invoke() {
    let mut case = Case {
        path: "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse",
        answer: br#"{"output":{},"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":17,"cacheReadInputTokens":10}}"#.to_vec(),
        host: "bedrock-runtime.us-east-1.amazonaws.com",
        ..Case::default()
    };
    assert_eq!(counted(&case), "claude-sonnet-4 closed marketplace chat ok unknown no 1 1 13 4");
    case.path = "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream";
    case.content_type = "application/vnd.amazon.eventstream";
    case.answer = [
        aws_event(r#"{"delta":{"text":"usage"},"p":"abcd"}"#),
        aws_event(r#"{"metrics":{"latencyMs":1},"usage":{"inputTokens":3,"outputTokens":4}}"#),
    ]
    .concat();
    assert_eq!(counted(&case), "claude-sonnet-4 closed marketplace chat ok unknown yes 1 1 3 4");
    case.path = "/model/meta.llama3-3-70b-instruct-v1%3A0/invoke-with-response-stream";
    let inner = r#"{"generation":"x","amazon-bedrock-invocationMetrics":{"inputTokenCount":21,"outputTokenCount":8}}"#;
    case.answer = aws_event(&format!("{{\"bytes\":\"{}\"}}", BASE64.encode(inner.as_bytes())));
    assert_eq!(counted(&case), "llama-3.3 open-restricted marketplace chat ok unknown yes 1 1 21 8");
    case.path = "/model/meta.llama3-3-70b-instruct-v1%3A0/invoke";
    case.content_type = "application/json";
    case.headers = &[("x-amzn-bedrock-input-token-count", "33"), ("x-amzn-bedrock-output-token-count", "2")];
    case.answer = br#"{"generation":"x","prompt_token_count":1}"#.to_vec();
    assert_eq!(counted(&case), "llama-3.3 open-restricted marketplace chat ok unknown no 1 1 33 2");
}

#[test]
fn a_broken_document_in_an_event_costs_itself() {
    let told = |answer: Vec<u8>| {
        counted(&Case {
            path: "/model/meta.llama3-3-70b-instruct-v1%3A0/invoke-with-response-stream",
            content_type: "application/vnd.amazon.eventstream",
            answer,
            host: "bedrock-runtime.us-east-1.amazonaws.com",
            ..Case::default()
        })
    };
    let tokens =
        |tokens: &str| format!("llama-3.3 open-restricted marketplace chat ok unknown yes 1 1 {tokens}");
    let event = |letters: &str| aws_event(&format!("{{\"bytes\":\"{letters}\"}}"));
    let document = r#"{"amazon-bedrock-invocationMetrics":{"inputTokenCount":21,"outputTokenCount":8}}"#;
    let whole = BASE64.encode(document.as_bytes());
    // What is no base64 tells nothing more; what comes after it was read by how many letters came together.
    let (before, after) = document.split_at(66);
    let broken =
        [&BASE64.encode(before.as_bytes()), "*".repeat(20).as_str(), &BASE64.encode(after.as_bytes())]
            .concat();
    assert_eq!(told(event(&broken)), tokens("21 0"));
    assert_eq!(told([event(&broken), event(&whole)].concat()), tokens("21 8"));
    assert_eq!(told([aws_event("{\"bytes\":\"eyJhb"), event(&whole)].concat()), tokens("21 8"));
    // A document in a document in a document is not looked for: in one piece it was read, in single bytes it was not.
    let deep = BASE64.encode(format!("{{\"bytes\":\"{whole}\"}}").as_bytes());
    assert_eq!(told(event(&deep)), tokens("0 0"));
}

#[test]
fn cohere_counts_tokens_not_billed_units() {
    let mut case = Case {
        path: "/v2/chat",
        request: r#"{"model":"command-a-03-2025"}"#,
        answer: br#"{"message":{},"usage":{"billed_units":{"input_tokens":1,"output_tokens":1},"tokens":{"input_tokens":70,"output_tokens":3}}}"#
            .to_vec(),
        host: "api.cohere.com",
        ..Case::default()
    };
    let expected = "command-a-parts open-noncommercial first_party chat ok unknown";
    assert_eq!(counted(&case), format!("{expected} no 1 1 70 3"));
    (case.request, case.content_type) = (r#"{"model":"command-a-03-2025","stream":true}"#, SSE);
    case.answer = b"event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"usage\":{\"tokens\":{\"input_tokens\":71,\"output_tokens\":4}}}}\n\n".to_vec();
    assert_eq!(counted(&case), format!("{expected} yes 1 1 71 4"));
    (case.path, case.content_type) = ("/v1/chat", "application/stream+json");
    case.answer = b"{\"event_type\":\"text-generation\",\"text\":\"x\"}\n{\"event_type\":\"stream-end\",\"response\":{\"meta\":{\"tokens\":{\"input_tokens\":72,\"output_tokens\":5}}}}\n".to_vec();
    assert_eq!(counted(&case), format!("{expected} yes 1 1 72 5"));
}

#[test]
fn ollama_streams_unless_it_is_told_not_to() {
    let mut case = Case {
        profile: "ollama",
        path: "/api/chat",
        request: r#"{"model":"llama3.3:70b","messages":[]}"#,
        content_type: "application/x-ndjson",
        answer: b"{\"model\":\"llama3.3:70b\",\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"model\":\"llama3.3:70b\",\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":26,\"eval_count\":290}\n".to_vec(),
        ..Case::default()
    };
    let model = "llama-3.3 open-restricted self_hosted";
    let told = counted(&case);
    assert!(
        told.starts_with("llama-3.3") && told.ends_with("chat ok unknown yes 1 1 26 290"),
        "{model}: {told}"
    );
    (case.request, case.content_type) = (r#"{"model":"llama3.3:70b","stream":false}"#, "application/json");
    case.answer = b"{\"model\":\"llama3.3:70b\",\"done\":true,\"eval_count\":3}".to_vec();
    assert!(counted(&case).ends_with("chat ok unknown no 1 1 0 3"));
    // What only loads the model is no inference.
    (case.path, case.request) = ("/api/generate", r#"{"model":"llama3.3:70b"}"#);
    case.answer =
        b"{\"model\":\"llama3.3:70b\",\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}".to_vec();
    assert_eq!(counted(&case), "skipped: not_inference");
    (case.path, case.status, case.answer) =
        ("/api/chat", 404, br#"{"error":"model 'x' not found"}"#.to_vec());
    case.request = r#"{"model":"gpt-4o"}"#;
    assert_eq!(counted(&case), "unlisted unknown unknown chat client_error unknown yes 1 0 0 0");
}

#[test]
fn ollama_cloud_models_run_elsewhere() {
    let case = Case {
        profile: "ollama",
        path: "/api/chat",
        request: r#"{"model":"gpt-oss:120b-cloud","stream":false}"#,
        answer: b"{\"model\":\"gpt-oss:120b-cloud\",\"done\":true,\"prompt_eval_count\":1,\"eval_count\":2}"
            .to_vec(),
        ..Case::default()
    };
    let told = counted(&case);
    assert!(told.contains("third_party") && told.starts_with("gpt-oss"), "{told}");
}

#[test]
fn servers_that_name_no_model_serve_what_the_operator_wrote() {
    let mut case = Case {
        profile: "tgi",
        path: "/generate",
        request: r#"{"inputs":"hi","parameters":{"details":true}}"#,
        answer: br#"{"generated_text":"x","details":{"generated_tokens":12,"input_length":3}}"#.to_vec(),
        served_model: "mistralai/Mistral-7B-Instruct-v0.3",
        ..Case::default()
    };
    let told = counted(&case);
    assert!(
        told.starts_with("mistral-7b")
            && told.ends_with("self_hosted text_completion ok unknown no 1 1 3 12"),
        "{told}"
    );
    case.served_model = "";
    assert_eq!(counted(&case), "unlisted unknown self_hosted text_completion ok unknown no 1 1 3 12");
    (case.profile, case.path, case.served_model) = ("tei", "/embed", "BAAI/bge-m3");
    case.answer = b"[[0.1,0.2]]".to_vec();
    let told = counted(&case);
    assert!(
        told.starts_with("bge ") && told.ends_with("self_hosted embeddings ok unknown no 1 1 0 0"),
        "{told}"
    );
    // The operator's word is stronger than a server that repeats the client's.
    (case.profile, case.path, case.served_model) =
        ("llama-cpp", "/v1/chat/completions", "Qwen2.5-7B-Instruct-Q4_K_M.gguf");
    case.answer = br#"{"model":"gpt-3.5-turbo","usage":{"prompt_tokens":1,"completion_tokens":1}}"#.to_vec();
    assert!(counted(&case).starts_with("qwen-2.5 "), "{}", counted(&case));
    (case.path, case.answer) =
        ("/completion", br#"{"content":"x","tokens_evaluated":5,"tokens_predicted":6}"#.to_vec());
    assert!(counted(&case).ends_with("text_completion ok unknown no 1 1 5 6"));
}

#[test]
fn portkey_tells_retries_fallbacks_and_its_cache() {
    let mut case = Case {
        profile: "portkey",
        request: r#"{"model":"gpt-4o"}"#,
        headers: &[
            ("x-portkey-provider", "openai"),
            ("x-portkey-retry-attempt-count", "2"),
            ("x-portkey-last-used-option-index", "config.targets[1]"),
            ("x-portkey-cache-status", "MISS"),
        ],
        answer: br#"{"model":"gpt-4o","usage":{"prompt_tokens":1,"completion_tokens":2}}"#.to_vec(),
        ..Case::default()
    };
    assert_eq!(counted(&case), "gpt-4o closed first_party chat ok fallback no 1 3 1 2");
    case.headers =
        &[("x-portkey-provider", "openai"), ("x-portkey-last-used-option-index", "config.targets[0]")];
    assert_eq!(counted(&case), "gpt-4o closed first_party chat ok first no 1 1 1 2");
    case.headers = &[("x-portkey-cache-status", "HIT")];
    assert_eq!(counted(&case), "skipped: cache_hit");
}

#[test]
fn what_is_not_understood_counts_as_unknown() {
    let base = || Case { request: "no json", answer: b"<html>".to_vec(), ..Case::default() };
    assert_eq!(counted(&base()), "unlisted unknown self_hosted chat ok unknown no 1 1 0 0");
    let long = format!("{{\"model\":\"{}\"}}", "x".repeat(4_000));
    assert_eq!(
        counted(&Case { request: &long, ..base() }),
        "unlisted unknown self_hosted chat ok unknown no 1 1 0 0"
    );
    let zip = Case { headers: &[("content-encoding", "gzip")], ..base() };
    assert_eq!(counted(&zip), "unlisted unknown self_hosted chat ok unknown no 1 1 0 0");
    let other = Case { path: "/v1/fine_tuning/jobs", ..base() };
    assert_eq!(counted(&other), "skipped: not_inference");
}

#[test]
fn a_body_that_does_not_decompress_tells_nothing() {
    // gzip of `{"model": "gpt-4o"...`, damaged behind it: in one piece nothing came out of it, in single bytes the model did.
    let answer = b"\x1f\x8b\x08\x00\x49\x22\x07\x6b\x02\xff\xab\x56\xca\xcd\x4f\x49\xcd\x51\xb2\x52\x4a\x2f\x28\xd1\x35\xc9\x57\xaa\x05\
        \x61\x63\x70\x35\x03\x12\x00\x00\x00";
    let case = Case {
        request: r#"{"model":"claude-sonnet-4-20250514"}"#,
        headers: &[("content-encoding", "gzip")],
        answer: answer.to_vec(),
        ..Case::default()
    };
    assert!(counted(&case).starts_with("claude-sonnet-4 "), "{}", counted(&case));
}

#[test]
fn ends_are_outcomes() {
    let base = || Case {
        request: r#"{"model":"gpt-4o","stream":true}"#,
        content_type: SSE,
        answer: b"data: {\"model\":\"gpt-4o\"}\n\n".to_vec(),
        host: "api.openai.com",
        ..Case::default()
    };
    let told = |outcome: &str, attempts: u8| {
        format!("gpt-4o closed first_party chat {outcome} unknown yes 1 {attempts} 0 0")
    };
    assert_eq!(counted(&Case { end: End::ClientLeft, ..base() }), told("cancelled", 1));
    assert_eq!(counted(&Case { end: End::UpstreamBroke, ..base() }), told("server_error", 1));
    assert_eq!(counted(&Case { end: End::Unreachable, status: 0, ..base() }), told("server_error", 1));
    assert_eq!(counted(&Case { end: End::ClientLeft, status: 0, ..base() }), told("cancelled", 1));
    let json = |status| Case {
        status,
        content_type: "application/json",
        answer: b"{\"error\":{}}".to_vec(),
        ..base()
    };
    assert_eq!(counted(&json(429)), told("rate_limited", 1));
    assert_eq!(counted(&json(400)), told("client_error", 1));
    assert_eq!(counted(&json(503)), told("server_error", 1));
    assert_eq!(counted(&json(401)), "unlisted unknown unknown chat client_error unknown yes 1 0 0 0");
}
