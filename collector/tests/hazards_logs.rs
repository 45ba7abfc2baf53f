//! Every hazard that the survey names for access logs; most are tested where the logs are.
//!
//! | gateway | hazard | test |
//! |---|---|---|
//! | Envoy AI Gateway | keys are the operator's | `envoy_ai_gateway_lines_with_other_keys_are_told_as_skipped` |
//! | Envoy AI Gateway | the provider is the name of a backend resource | `envoy_ai_gateway_a_backend_is_no_provider` |
//! | Envoy AI Gateway | tokens and response model only at the end of a stream | `envoy_ai_gateway_a_stream_that_was_left_is_cancelled` |
//! | Envoy AI Gateway | a rate limit of Envoy has no model | `envoy_ai_gateway_counts_a_rate_limit_without_a_model` in `access_log.rs` |
//! | Envoy AI Gateway | response model `unknown`, model override | `envoy_ai_gateway_served_model_is_the_answers_then_the_override` in `access_log.rs` |
//! | Envoy, gRPC log | intermediate entries; entries repeated after a reconnect | `als_entries_are_requests` in `access_log_wire.rs` |
//! | Envoy, gRPC log | an absent attempt count means never tried | `als_flags_and_a_count_that_is_left_out` in `access_log_wire.rs` |
//! | Envoy | client addresses, certificates, paths | `identity_fields_of_a_line_are_not_kept` |
//! | agentgateway | embeddings, retries, its own refusals | `agentgateway_tells_embeddings_retries_and_its_own_refusals` in `access_log.rs` |
//! | Kong | three plugins of one request | `kong_counts_three_plugins_of_one_request_once` in `access_log.rs` |
//! | Kong | `tried_targets`, the last one served | `kong_fallback_is_more_than_one_target` in `access_log.rs` |
//! | Kong | replays from the cache | `kong_cache_hit_is_no_request` in `access_log.rs` |
//! | Kong | rate-limit plugins refuse before ai-proxy | `kong_refusals_before_the_plugin_count_by_their_path` in `access_log.rs` |
//! | Kong | the older key | `kong_samples` in `access_log.rs` |
//! | Kong | prompts, when payloads are logged | `kong_logged_payloads_are_not_decoded` |
//! | Higress | a document inside a string, numbers as strings | `higress_document_in_a_string_with_numbers_as_strings` in `access_log.rs` |
//! | Higress | `question` and `answer` may be logged | `higress_questions_and_answers_are_not_decoded` |
//! | Higress | streams without usage | `higress_a_stream_without_usage_counts_without_tokens` |
//! | APISIX | final status, and every upstream's | `apisix_tells_what_the_client_got_and_what_the_upstreams_said` in `access_log.rs` |
//! | APISIX | request bodies in `llm_request` | `apisix_logged_messages_are_not_decoded` |
//! | nginx | no model in the line | `nginx_counts_attempts_and_shows_unknown_models` in `access_log.rs` |
//! | all | a record is sent again | `a_resent_record_counts_once_and_lines_without_an_id_always` in `access_log.rs` |
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::pages::{lines, skipped};
use common::{NOON_MS, intake};
use weighbridge_collector::intake::{Accepted, Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::access_log::LogProfile;

fn log(profile: &str) -> Intake {
    intake(LogProfile::from_name(profile).unwrap(), 0)
}

fn take(intake: &mut Intake, line: &str) -> Accepted {
    intake.take(Signal::AccessLog, Encoding::JsonLines, line.as_bytes(), Now::Replay(NOON_MS)).unwrap()
}

fn counted(profile: &str, line: &str) -> Vec<String> {
    let mut intake = log(profile);
    assert_eq!(take(&mut intake, line).refused, 0, "{line}");
    assert!(!format!("{intake:?}").contains("canary"), "{line}");
    lines(&mut intake)
}

#[test]
fn envoy_ai_gateway_lines_with_other_keys_are_told_as_skipped() {
    let mut envoy = log("envoy-ai-gateway");
    take(&mut envoy, r#"{"m":"gpt-4o","code":200,"in":15}"#);
    assert_eq!(skipped(&mut envoy), [("not_inference", 1)], "none is taken for something that it is not");
}

#[test]
fn envoy_ai_gateway_a_backend_is_no_provider() {
    let line = r#"{"gen_ai.provider.name":"default/openai/route/aigw-run/rule/0/ref/0","gen_ai.response.model":"gpt-4o","response_code":200}"#;
    let mut envoy = log("envoy-ai-gateway");
    take(&mut envoy, line);
    assert_eq!(envoy.counter().take_cells()[0].key.provider.0, 0);
}

#[test]
fn envoy_ai_gateway_a_stream_that_was_left_is_cancelled() {
    let line = r#"{"gen_ai.request.model":"gpt-4o","gen_ai.response.model":null,"gen_ai.usage.input_tokens":null,"response_code":200,"response_flags":"DC","x-envoy-origin-path":"/v1/chat/completions"}"#;
    assert_eq!(counted("envoy-ai-gateway", line), ["gpt-4o cancelled unknown unknown 1 1 0 0"]);
}

#[test]
fn identity_fields_of_a_line_are_not_kept() {
    let line = r#"{"model":"gpt-4o","response_code":200,"downstream_remote_address":"canary-address:1","authority":"canary.example.org","x_forwarded_for":"canary","downstream_peer_san":"canary","user_agent":"canary","path":"/v1/chat/completions?user=canary","request_id":"canary-id"}"#;
    assert_eq!(counted("envoy", line), ["gpt-4o ok unknown unknown 1 1 0 0"]);
}

#[test]
fn kong_logged_payloads_are_not_decoded() {
    let line = r#"{"ai":{"proxy":{"meta":{"response_model":"gpt-4o"},"usage":{"prompt_tokens":3,"completion_tokens":2},"payload":{"request":"\ud800 canary","response":"canary"}}},"request":{"headers":{"authorization":"canary"}},"client_ip":"canary","response":{"status":200}}"#;
    assert_eq!(counted("kong", line), ["gpt-4o ok unknown unknown 1 1 3 2"]);
}

#[test]
fn higress_questions_and_answers_are_not_decoded() {
    let line = r#"{"ai_log":"{\"question\":\"canary \\\\ud800\",\"answer\":\"canary\",\"model\":\"qwen-turbo\",\"input_token\":\"10\",\"output_token\":\"69\"}","response_code":"200","path":"/v1/chat/completions"}"#;
    assert_eq!(counted("higress", line), ["qwen-turbo ok unknown unknown 1 1 10 69"]);
}

#[test]
fn higress_a_stream_without_usage_counts_without_tokens() {
    let line = r#"{"ai_log":"{\"model\":\"qwen-turbo\",\"response_type\":\"stream\"}","response_code":"200","path":"/v1/chat/completions"}"#;
    assert_eq!(counted("higress", line), ["qwen-turbo ok unknown yes 1 1 0 0"]);
}

#[test]
fn apisix_logged_messages_are_not_decoded() {
    let line = r#"{"request":{"uri":"/v1/chat/completions","headers":{"authorization":"canary"}},"response":{"status":200},"llm_request":{"model":"gpt-4o","messages":[{"content":"\ud800 canary"}]},"llm_summary":{"model":"gpt-4o","prompt_tokens":3,"completion_tokens":2},"client_ip":"canary"}"#;
    assert_eq!(counted("apisix", line), ["gpt-4o ok unknown unknown 1 1 3 2"]);
}
