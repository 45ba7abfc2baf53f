//! Every hazard that the survey names for the pages of gateways other than LiteLLM.
//!
//! | gateway | hazard | test |
//! |---|---|---|
//! | Envoy AI Gateway | subsets of tokens beside input and output; one observation a type | `ten_5_...` in `hazards_acceptance.rs` |
//! | Envoy AI Gateway | the provider is the API schema of the backend | `envoy_ai_gateway_openai_is_a_schema` |
//! | Envoy AI Gateway | a failed answer has the response model `unknown` | `envoy_ai_gateway_a_failure_keeps_the_model_it_was_sent_to` |
//! | Envoy AI Gateway | the original model is a raw client string | `envoy_ai_gateway_a_clients_string_is_not_kept` |
//! | Envoy AI Gateway | aborted streams and rate limits by Envoy are told nowhere | nothing to count; the access log tells them: `envoy_ai_gateway_counts_a_rate_limit_without_a_model` in `access_log.rs` |
//! | agentgateway | subsets of tokens | `agentgateway_cached_tokens_are_a_subset` |
//! | agentgateway | the operation is always chat, also for embeddings | `agentgateway_an_embedding_looks_like_a_chat`; the log tells: `agentgateway_tells_embeddings_retries_and_its_own_refusals` in `access_log.rs` |
//! | agentgateway | a second counter of all requests, without model | `agentgateway_requests_without_model_are_not_added` |
//! | agentgateway | histograms may be native only | `agentgateway_native_histograms_are_told_with_their_fix` |
//! | Kong | `total_tokens` doubles the sum | `ten_6_...` in `hazards_acceptance.rs` |
//! | Kong | `cache_status="hit"` had no upstream | `kong_cache_hits_are_no_requests` |
//! | Kong | one client request can add up to three | `kong_calls_of_transformers_cannot_be_told_apart`; the log tells: `kong_counts_three_plugins_of_one_request_once` in `access_log.rs` |
//! | Kong | older log key | `kong_samples` in `access_log.rs` |
//! | Higress | streams without usage are not counted | `higress_counts_what_is_told_and_streams_once` |
//! | Higress | names depend on tag rules, and end in `_count` | `higress_a_name_that_ends_in_count_is_a_counter` |
//! | APISIX | `llm_latency` has two types | `ten_8_...` in `hazards_acceptance.rs` |
//! | APISIX | `expire` drops series | `apisix_series_that_expire_and_come_back` |
//! | APISIX | labels can be disabled | `apisix_without_model_labels_is_unknown_and_counts` |
//! | APISIX | names are cut at 128 letters | `apisix_a_name_that_was_cut_is_unlisted` |
//! | APISIX | counters without `_total` | `apisix_counters_without_total` |
//! | APISIX | it answers by itself, and from its cache | `apisix_own_answers_reached_no_model_and_replays_are_no_requests` |
//! | TensorZero | tokens have no labels | `tensorzero_tokens_without_model_are_unlisted` |
//! | TensorZero | feedback is a request of another counter | `tensorzero_feedback_is_no_inference` |
//! | Bifrost | cache hits are in the counters | `bifrost_cache_hits_are_taken_off` |
//! | Bifrost | every fallback is a count of its own | `bifrost_a_fallback_is_one_request` |
//! | Bifrost | routing calls of its own | `bifrost_routing_calls_are_not_read` |
//! | Bifrost | methods that call no model | `bifrost_methods_are_operations_or_no_inference` |
//! | Bifrost | identity labels, and `http_requests_total` | `bifrost_identity_labels_and_http_requests_are_not_read` |
//! | SMG | gateway and engines both count | `smg_engines_on_the_page_are_not_added` |
//!
//! Traefik, Portkey and Helicone tell no model on a page; they have no profile.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use common::counts;
use common::pages::{TARGET, counted, fixture, lines, pages, requests_after, skipped, take_page, totals};
use tokio::net::TcpListener;
use weighbridge_catalog::Hosting;
use weighbridge_collector::config::ScrapeTarget;
use weighbridge_collector::profile::rules;
use weighbridge_collector::scrape::{ScrapeError, Scraper};

#[test]
fn envoy_ai_gateway_openai_is_a_schema() {
    let page = "gen_ai_server_request_duration_seconds_count{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",\
                gen_ai_request_model=\"meta-llama/Llama-3.3-70B-Instruct\",gen_ai_response_model=\"meta-llama/Llama-3.3-70B-Instruct\"} 1\n";
    let mut intake = pages("envoy-ai-gateway", 0);
    take_page(&mut intake, page, 0);
    let cell = intake.counter().take_cells()[0];
    assert!(cell.key.openness.is_open(), "by the model");
    assert_eq!((cell.key.provider.0, cell.key.hosting), (0, Hosting::Unknown), "not OpenAI's own");
}

#[test]
fn envoy_ai_gateway_a_failure_keeps_the_model_it_was_sent_to() {
    let lines = counted("envoy-ai-gateway", &fixture("envoy-ai-gateway"));
    assert!(lines.contains(&"gpt-5-nano server_error unknown no 2 2 0 0".to_owned()), "{lines:?}");
}

#[test]
fn envoy_ai_gateway_a_clients_string_is_not_kept() {
    let page = "gen_ai_server_request_duration_seconds_count{gen_ai_operation_name=\"chat\",\
                gen_ai_original_model=\"canary: my prompt\",gen_ai_request_model=\"unknown\",gen_ai_response_model=\"unknown\"} 1\n";
    let mut intake = pages("envoy-ai-gateway", 0);
    take_page(&mut intake, page, 0);
    assert!(!format!("{intake:?}").contains("canary"));
    assert!(lines(&mut intake)[0].starts_with("unlisted ok"));
}

#[test]
fn agentgateway_cached_tokens_are_a_subset() {
    assert!(fixture("agentgateway").contains("gen_ai_token_type=\"input_cache_read\""));
    assert_eq!(totals("agentgateway", &fixture("agentgateway")), counts(4, 4, 40, 7));
}

#[test]
fn agentgateway_an_embedding_looks_like_a_chat() {
    let page = fixture("agentgateway").replace("gpt-4o-2024-08-06", "text-embedding-3-small");
    let mut intake = pages("agentgateway", 0);
    take_page(&mut intake, &page, 0);
    assert!(intake.counter().take_cells().iter().all(|cell| cell.key.operation.name() == "chat"));
    let notes = rules::named("agentgateway").unwrap().notes.join(" ");
    assert!(notes.contains("embeddings") && notes.contains("access log tells both"), "{notes}");
}

#[test]
fn agentgateway_requests_without_model_are_not_added() {
    assert!(fixture("agentgateway").contains("agentgateway_requests_total"));
    let page = "agentgateway_requests_total{backend=\"b\",status=\"200\",route=\"r\"} 9\nagentgateway_retries_total{backend=\"b\"} 3\n";
    assert_eq!(totals("agentgateway", page), counts(0, 0, 0, 0));
}

#[tokio::test]
async fn agentgateway_native_histograms_are_told_with_their_fix() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    // What prometheus-client's text encoder does with a histogram that has no classic buckets: it fails.
    let answer =
        || async { (StatusCode::INTERNAL_SERVER_ERROR, "an error occurred when formatting an argument") };
    let router = Router::new().route("/metrics", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let target =
        ScrapeTarget { url, model: String::new(), bearer_token_file: None, basic_auth: None, ca_file: None };
    let of = |profile: &str| {
        let native_only = rules::named(profile).unwrap().prometheus.native_only;
        Scraper::new(&target, Duration::from_secs(5), 1_000).unwrap().with_native_only(native_only)
    };
    let error = of("agentgateway").page().await.unwrap_err();
    assert_eq!(error.code(), "native_histograms");
    assert!(error.to_string().contains("histograms: both"), "{error}");
    assert!(
        matches!(of("vllm").page().await.unwrap_err(), ScrapeError::Status(..)),
        "nobody else's 500 says so"
    );
}

#[test]
fn kong_cache_hits_are_no_requests() {
    let page = "kong_ai_llm_requests_total{ai_provider=\"openai\",ai_model=\"gpt-4o\",cache_status=\"hit\"} 5\n\
                kong_ai_llm_requests_total{ai_provider=\"openai\",ai_model=\"gpt-4o\",cache_status=\"miss\"} 2\n\
                kong_ai_llm_tokens_total{ai_model=\"gpt-4o\",cache_status=\"hit\",token_type=\"prompt_tokens\"} 50\n";
    assert_eq!(totals("kong", page), counts(2, 2, 0, 0));
}

#[test]
fn kong_calls_of_transformers_cannot_be_told_apart() {
    // Three plugins of one client request add to one series; nothing on the page tells. The profile says so.
    let page = "kong_ai_llm_requests_total{ai_provider=\"openai\",ai_model=\"gpt-4o\",cache_status=\"\"} 3\n";
    assert_eq!(totals("kong", page).requests, 3);
    let notes = rules::named("kong").unwrap().notes.join(" ");
    assert!(notes.contains("one client request can add up to three"), "{notes}");
}

#[test]
fn higress_counts_what_is_told_and_streams_once() {
    // Two requests with usage, one of them streamed; a stream without usage adds to no counter.
    assert_eq!(totals("higress", &fixture("higress")), counts(2, 2, 24, 507));
    let notes = rules::named("higress").unwrap().notes.join(" ");
    assert!(notes.contains("stream without `usage` is not counted"), "{notes}");
}

#[test]
fn higress_a_name_that_ends_in_count_is_a_counter() {
    let page = "# TYPE route_upstream_model_consumer_metric_llm_duration_count counter\n\
                route_upstream_model_consumer_metric_llm_duration_count{ai_model=\"qwen-turbo\"} 2\n\
                # TYPE route_upstream_model_consumer_metric_llm_failure_count counter\n\
                route_upstream_model_consumer_metric_llm_failure_count{ai_model=\"qwen-turbo\"} 1\n";
    assert_eq!(
        counted("higress", page),
        ["qwen-turbo ok unknown no 2 2 0 0", "qwen-turbo server_error unknown unknown 1 1 0 0"]
    );
}

#[test]
fn apisix_series_that_expire_and_come_back() {
    let page = |count: u64| {
        format!(
            "apisix_http_status{{code=\"200\",request_type=\"ai_chat\",llm_model=\"gpt-4\"}} {count}\n\
             apisix_llm_latency_count{{type=\"total\"}} 1\n"
        )
    };
    let gone = "apisix_llm_latency_count{type=\"total\"} 1\n";
    assert_eq!(requests_after("apisix", &[&page(8), &page(10), gone, gone, &page(3)]), [0, 2, 2, 2, 5]);
}

#[test]
fn apisix_without_model_labels_is_unknown_and_counts() {
    let page = "apisix_http_status{code=\"200\",request_type=\"ai_chat\",request_llm_model=\"\",llm_model=\"\",response_source=\"upstream\"} 3\n";
    assert_eq!(counted("apisix", page), ["unlisted ok unknown no 3 3 0 0"]);
}

#[test]
fn apisix_a_name_that_was_cut_is_unlisted() {
    let name = format!("gpt-4o-{}", "x".repeat(121));
    let page =
        format!("apisix_http_status{{code=\"200\",request_type=\"ai_chat\",llm_model=\"{name}\"}} 1\n");
    let lines = counted("apisix", &page);
    assert_eq!(lines.len(), 1);
    assert!(!lines[0].contains("xxx"), "{lines:?}");
}

#[test]
fn apisix_counters_without_total() {
    for suffix in ["", "_total"] {
        let page = format!(
            "# TYPE apisix_llm_prompt_tokens{suffix} counter\napisix_llm_prompt_tokens{suffix}{{llm_model=\"gpt-4\"}} 8\n"
        );
        assert_eq!(totals("apisix", &page).input_tokens, 8, "{suffix}");
    }
}

#[test]
fn apisix_own_answers_reached_no_model_and_replays_are_no_requests() {
    let line = |code: u16, model: &str, source: &str| {
        format!(
            "apisix_http_status{{code=\"{code}\",request_type=\"ai_chat\",request_llm_model=\"gpt-4\",llm_model=\"{model}\",response_source=\"{source}\"}} 1\n"
        )
    };
    let page = line(200, "gpt-4", "upstream")
        + &line(429, "gpt-4", "upstream")
        + &line(429, "", "apisix")
        + &line(504, "gpt-4", "nginx")
        + &line(200, "", "apisix");
    assert_eq!(
        counted("apisix", &page),
        [
            "gpt-4 ok unknown no 1 1 0 0",
            "gpt-4 rate_limited unknown no 1 1 0 0",
            "gpt-4 server_error unknown no 1 1 0 0",
            "unlisted rate_limited unknown no 1 0 0 0",
        ]
    );
}

#[test]
fn tensorzero_tokens_without_model_are_unlisted() {
    let lines = counted("tensorzero", &fixture("tensorzero"));
    assert!(lines.contains(&"unlisted ok unknown unknown 0 0 12 0".to_owned()), "{lines:?}");
}

#[test]
fn tensorzero_feedback_is_no_inference() {
    let page = "tensorzero_requests_total{endpoint=\"feedback\",metric_name=\"draft_accepted\"} 10\n";
    assert_eq!(totals("tensorzero", page), counts(0, 0, 0, 0));
}

/// A Bifrost series.
fn bifrost(metric: &str, labels: &str, count: u64) -> String {
    format!("bifrost_{metric}_total{{method=\"chat_completion\",{labels}}} {count}\n")
}

#[test]
fn bifrost_cache_hits_are_taken_off() {
    let openai = "provider=\"openai\",model=\"gpt-4o\",fallback_index=\"0\"";
    let page = bifrost("upstream_requests", openai, 5)
        + &bifrost("success_requests", openai, 5)
        + &bifrost("cache_hits", &format!("{openai},cache_type=\"direct\""), 2);
    assert_eq!(counted("bifrost", &page), ["gpt-4o ok first no 3 3 0 0"]);
}

#[test]
fn bifrost_a_fallback_is_one_request() {
    let first = "provider=\"openai\",model=\"gpt-4o\",fallback_index=\"0\"";
    let second = "provider=\"groq\",model=\"llama-3.3-70b-versatile\",fallback_index=\"1\"";
    let third = "provider=\"mistral\",model=\"mistral-large-2411\",fallback_index=\"2\"";
    let limited = format!("{first},status_code=\"429\",error_type=\"rate_limit\"");
    // Ten requests: six served at once, three by the second choice, one failed at all three.
    let page = bifrost("upstream_requests", first, 10)
        + &bifrost("upstream_requests", second, 4)
        + &bifrost("upstream_requests", third, 1)
        + &bifrost("success_requests", first, 6)
        + &bifrost("success_requests", second, 3)
        + &bifrost("error_requests", &limited, 4)
        + &bifrost("error_requests", &format!("{second},status_code=\"500\",error_type=\"x\""), 1)
        + &bifrost("error_requests", &format!("{third},status_code=\"500\",error_type=\"x\""), 1);
    assert_eq!(totals("bifrost", &page), counts(10, 15, 0, 0));
    let lines = counted("bifrost", &page);
    assert!(lines.contains(&"gpt-4o ok first no 6 6 0 0".to_owned()), "{lines:?}");
    assert!(lines.contains(&"llama-3.3 ok fallback no 3 3 0 0".to_owned()), "{lines:?}");
    assert!(lines.contains(&"gpt-4o rate_limited first no 0 4 0 0".to_owned()), "{lines:?}");
    // Over pages: a failure and its fallback on the same page are one request, as on the first.
    let more = page
        .replace("fallback_index=\"0\"} 10", "fallback_index=\"0\"} 11")
        .replace("fallback_index=\"1\"} 4", "fallback_index=\"1\"} 5")
        .replace("fallback_index=\"1\"} 3", "fallback_index=\"1\"} 4")
        .replace("error_type=\"rate_limit\"} 4", "error_type=\"rate_limit\"} 5");
    assert_ne!(page, more);
    assert_eq!(requests_after("bifrost", &[&page, &more]), [0, 1]);
}

#[test]
fn bifrost_routing_calls_are_not_read() {
    let page = "bifrost_routing_llm_requests_total{provider=\"openai\",model=\"gpt-4o-mini\"} 7\n\
                bifrost_routing_embedding_requests_total{provider=\"openai\",model=\"text-embedding-3-small\",phase=\"request\"} 7\n";
    assert_eq!(totals("bifrost", page), counts(0, 0, 0, 0));
}

#[test]
fn bifrost_methods_are_operations_or_no_inference() {
    let line = |method: &str| {
        format!(
            "bifrost_success_requests_total{{method=\"{method}\",model=\"gpt-4o\",provider=\"openai\",fallback_index=\"0\"}} 1\n"
        )
    };
    let mut intake = pages("bifrost", 0);
    let methods = ["responses_stream", "embedding", "rerank", "list_models", "count_tokens", "file_upload"];
    take_page(&mut intake, &methods.map(line).concat(), 0);
    let mut told: Vec<_> = intake
        .counter()
        .take_cells()
        .iter()
        .map(|cell| (cell.key.operation.name(), cell.key.streaming.name(), cell.counts.requests))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [("chat", "yes", 1), ("embeddings", "no", 1), ("rerank", "no", 1)]);
    assert_eq!(skipped(&mut intake), [("operation", 3)]);
}

#[test]
fn bifrost_identity_labels_and_http_requests_are_not_read() {
    let page = "http_requests_total{path=\"/v1/chat/completions\",method=\"POST\",status=\"200\"} 9\n\
                bifrost_success_requests_total{method=\"chat_completion\",model=\"gpt-4o\",provider=\"openai\",fallback_index=\"0\",\
                virtual_key_name=\"canary-key\",team_name=\"canary-team\",customer_name=\"canary-customer\"} 1\n";
    let mut intake = pages("bifrost", 0);
    intake.take_page(page.as_bytes(), TARGET, common::pages::NOON, |_, _| {}).unwrap();
    assert_eq!(intake.counter().totals(), counts(1, 1, 0, 0));
    assert!(!format!("{intake:?}").contains("canary"));
}

#[test]
fn smg_engines_on_the_page_are_not_added() {
    let page = fixture("smg")
        + "sglang:num_requests_total{engine_type=\"unified\",model_name=\"Qwen/Qwen3-32B\"} 5\n\
           smg_worker_retries_total{worker=\"w\"} 2\n";
    assert_eq!(totals("smg", &page), counts(5, 5, 20, 9));
}
