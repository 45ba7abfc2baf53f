//! Each API through the tap: what is counted of an exchange in the shape that the API's documentation gives it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/exchange.rs"]
mod exchange;

use data_encoding::BASE64;
use exchange::{Case, SSE, counted, counted_cut};
use weighbridge_collector::profile::tap::End;

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

const FORM: &str = "multipart/form-data; boundary=----WebKitFormBoundaryAb12";

/// A form as clients write it; a file holds what looks like a boundary.
fn form(fields: &[(&str, &str)]) -> String {
    let file = "RIFF\0\u{fffd}\r\n------WebKitFormBoundaryAb1\r\n------WebKitFormBoundaryAb12x\r\nname=\"model\"\r\n\r\ngpt-4o\r\n--";
    let part = |(name, value): &(&str, &str)| {
        let (name, value) = match *name {
            "file" => (
                "\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav".to_owned(),
                if value.is_empty() { file } else { value },
            ),
            name => (format!("\"{name}\""), *value),
        };
        format!(
            "------WebKitFormBoundaryAb12\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n"
        )
    };
    fields.iter().map(part).collect::<String>() + "------WebKitFormBoundaryAb12--\r\n"
}

/// The bodies cut in pieces of every length.
fn counted_form(case: &Case<'_>) -> String {
    counted_cut(case, 1..case.request.len().max(case.answer.len()))
}

#[test]
fn audio_forms_name_the_model_wherever_it_stands() {
    let before = form(&[("model", "gpt-4o-transcribe"), ("response_format", "json"), ("file", "")]);
    let after = form(&[("file", ""), ("temperature", "0"), ("model", "gpt-4o-transcribe")]);
    let base = || {
        Case {
        path: "/v1/audio/transcriptions",
        request_type: FORM,
        answer: br#"{"text":"\"usage\"","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":10,"audio_tokens":4},"output_tokens":101,"total_tokens":115}}"#
            .to_vec(),
        host: "api.openai.com",
        ..Case::default()
    }
    };
    let model = "gpt-4o-transcribe closed first_party audio ok unknown";
    for body in [&before, &after] {
        assert_eq!(counted_form(&Case { request: body, ..base() }), format!("{model} no 1 1 14 101"));
    }
    let quoted = "multipart/form-data; charset=utf-8; boundary=\"----WebKitFormBoundaryAb12\"";
    let case = Case { request: &after, request_type: quoted, ..base() };
    assert_eq!(counted_form(&case), format!("{model} no 1 1 14 101"));
    // Without its last boundary a form tells what was whole before.
    let open = |body: &str| body.replace("------WebKitFormBoundaryAb12--\r\n", "");
    assert_eq!(counted_form(&Case { request: &open(&before), ..base() }), format!("{model} no 1 1 14 101"));
    let unknown = "unlisted unknown unknown audio ok unknown no 1 1 14 101";
    assert_eq!(counted_form(&Case { request: &open(&after), ..base() }), unknown);
    for (request, request_type) in
        [(&before, "multipart/form-data"), (&before.replace("\r\n", "\n"), FORM), (&after, "text/plain")]
    {
        assert_eq!(counted_form(&Case { request, request_type, ..base() }), unknown);
    }
}

#[test]
fn streamed_transcripts_tell_tokens_at_their_end() {
    let body = form(&[("file", ""), ("stream", "true"), ("model", "gpt-4o-mini-transcribe")]);
    let mut case = Case {
        path: "/v1/audio/transcriptions",
        request: &body,
        request_type: FORM,
        content_type: SSE,
        answer: b"data: {\"type\":\"transcript.text.delta\",\"delta\":\"I\"}\n\n\
            data: {\"type\":\"transcript.text.done\",\"text\":\"I\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":31,\"total_tokens\":45}}\n\n"
            .to_vec(),
        host: "api.openai.com",
        ..Case::default()
    };
    let told = counted_form(&case);
    assert!(
        told.starts_with("gpt-4o-transcribe closed") && told.ends_with("audio ok unknown yes 1 1 14 31"),
        "{told}"
    );
    // The client left before an answer: what the form asked for is all there is.
    (case.status, case.end) = (0, End::ClientLeft);
    let told = counted_form(&case);
    assert!(
        told.starts_with("gpt-4o-transcribe closed") && told.ends_with("audio cancelled unknown yes 1 1 0 0"),
        "{told}"
    );
}

#[test]
fn seconds_are_no_tokens() {
    let body = form(&[("file", ""), ("model", "whisper-1")]);
    let mut case = Case {
        path: "/v1/audio/translations",
        request: &body,
        request_type: FORM,
        answer: br#"{"text":"x","duration":9,"usage":{"type":"duration","seconds":9}}"#.to_vec(),
        host: "api.openai.com",
        ..Case::default()
    };
    let told = counted_form(&case);
    assert!(told.starts_with("whisper") && told.ends_with("audio ok unknown no 1 1 0 0"), "{told}");
    (case.content_type, case.answer) = ("text/plain; charset=utf-8", b"x\n".to_vec());
    assert_eq!(counted_form(&case), told);
    (case.path, case.host) = (
        "/openai/deployments/scribe/audio/translations?api-version=2025-04-01-preview",
        "acme.openai.azure.com",
    );
    let told = counted_form(&case);
    assert!(
        told.starts_with("whisper") && told.ends_with("marketplace audio ok unknown no 1 1 0 0"),
        "{told}"
    );
}

#[test]
fn image_forms_count_like_image_requests() {
    let body = form(&[("model", "gpt-image-1"), ("file", ""), ("prompt", "model")]);
    let mut case = Case {
        path: "/v1/images/edits",
        request: &body,
        request_type: FORM,
        answer: br#"{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50}}"#.to_vec(),
        host: "api.openai.com",
        ..Case::default()
    };
    let told = counted_form(&case);
    assert!(
        told.starts_with("gpt-image closed") && told.ends_with("image ok unknown no 1 1 50 50"),
        "{told}"
    );
    case.path = "/openai/deployments/draw/images/edits";
    let told = counted_form(&case);
    assert!(
        told.starts_with("gpt-image closed") && told.ends_with("image ok unknown no 1 1 50 50"),
        "{told}"
    );
    case.path = "/v1/images/variations";
    let told = counted_form(&case);
    assert!(told.starts_with("gpt-image closed") && told.contains(" image "), "{told}");
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
