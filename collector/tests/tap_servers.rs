//! Servers behind the tap, what it does not understand, and how exchanges end.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;
#[path = "common/exchange.rs"]
mod exchange;

use exchange::{Case, SSE, counted};
use weighbridge_collector::profile::tap::End;

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
