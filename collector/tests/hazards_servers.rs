//! Every hazard that the survey names for the pages of model servers and of routers in front of engines.
//!
//! | server | hazard | test |
//! |---|---|---|
//! | vLLM | engines are series of their own | `vllm_engines_are_summed` |
//! | vLLM | `request_success` counts each of `n` sequences | `vllm_sequences_of_a_request_are_one_request` |
//! | vLLM | `iteration_tokens_total` is a histogram | `vllm_iteration_tokens_total_is_a_histogram` |
//! | vLLM | a completion with several prompts is several requests | `vllm_several_prompts_are_told_as_several_requests` |
//! | vLLM | the model may be a local path | `vllm_the_type_comes_from_its_line_and_a_path_is_a_model` in `prometheus.rs` |
//! | vLLM | HTTP counters and admission rejections beside it | `vllm_http_requests_and_rejections_are_not_added` |
//! | vLLM | behind a gateway it is the same traffic | `a_model_server_counts_as_gateway_until_it_is_said_to_stand_behind_one` in `config/standing.rs` |
//! | SGLang | prefill and decode both count | `sglang_prefill_engines_count_no_request` in `prometheus.rs` |
//! | SGLang | time to first token, per token and end to end have other counts | `sglang_three_counts_of_one_page_are_one` |
//! | SGLang | clients can add labels | `sglang_labels_of_clients_are_series_and_nothing_else` |
//! | SGLang | `is_streaming` is absent on older ones | `sglang_without_the_streaming_label_is_unknown` |
//! | SGLang | values in exponent notation | `sglang_values_in_exponent_notation` |
//! | TGI | `tgi_request_count` adds two for a chat, one for tokenize | `tgi_request_count_is_not_read` |
//! | TGI | no model label | `tgi_needs_the_targets_model_and_counts_a_chat_request_once` in `prometheus.rs` |
//! | Triton | ensembles count parent and parts | `triton_of_an_ensemble_the_entry_counts` |
//! | Triton | `nv_inference_count` counts items of a batch | `triton_items_of_a_batch_are_not_read` |
//! | NIM | names without a prefix | `nim_is_read_where_it_is_declared_and_never_detected` |
//! | Dynamo | router, components and engines count again | `dynamo_components_on_the_page_are_not_added` |
//! | Dynamo | the prefix can be set | `dynamo_with_the_other_prefix` |
//! | Ray Serve | series vanish with their replicas | `ray_serve_replicas_that_vanish_take_nothing_back` |
//! | KServe | OpenShift AI writes a prefix | `kserve_with_and_without_the_prefix` |
//! | KServe | the queue proxy counts too | `kserve_the_queue_proxy_is_not_read` |
//! | llm-d | old and new names at once | `ten_9_...` in `hazards_acceptance.rs` |
//! | llm-d | names fold to `other` | `llm_d_other_is_no_name` |
//! | llm-d | attempts of the scheduler are not requests | `llm_d_scheduler_attempts_are_no_requests` |
//!
//! Ollama has no page, llama.cpp no counter of requests: they have no profile.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use common::counts;
use common::pages::{NOON, counted, fixture, lines, pages, requests_after, skipped, take_page, totals};
use weighbridge_collector::profile::prometheus::PagePlan;
use weighbridge_collector::profile::rules;

#[test]
fn vllm_engines_are_summed() {
    let page = "vllm:request_params_n_count{engine=\"0\",model_name=\"qwen3-32b\"} 3\n\
                vllm:request_params_n_count{engine=\"1\",model_name=\"qwen3-32b\"} 4\n";
    assert_eq!(counted("vllm", page), ["qwen-3 ok unknown unknown 7 7 0 0"]);
}

#[test]
fn vllm_sequences_of_a_request_are_one_request() {
    // One request with n=4: four sequences ended.
    let page = "vllm:request_params_n_count{engine=\"0\",model_name=\"qwen3-32b\"} 1\n\
                vllm:request_params_n_sum{engine=\"0\",model_name=\"qwen3-32b\"} 4\n\
                vllm:request_success_total{engine=\"0\",finished_reason=\"stop\",model_name=\"qwen3-32b\"} 4\n";
    assert_eq!(totals("vllm", page), counts(1, 1, 0, 0));
}

#[test]
fn vllm_iteration_tokens_total_is_a_histogram() {
    let page = "# TYPE vllm:iteration_tokens_total histogram\n\
                vllm:iteration_tokens_total_sum{model_name=\"qwen3-32b\"} 900\n\
                vllm:iteration_tokens_total_count{model_name=\"qwen3-32b\"} 30\n\
                # TYPE vllm:prompt_tokens_total counter\n\
                vllm:prompt_tokens_total{model_name=\"qwen3-32b\"} 7\n";
    assert_eq!(totals("vllm", page), counts(0, 0, 7, 0));
}

#[test]
fn vllm_several_prompts_are_told_as_several_requests() {
    // One completion with three prompts is three values of the histogram: the page tells no more, and the profile says so.
    let page = "vllm:request_params_n_count{engine=\"0\",model_name=\"qwen3-32b\"} 3\n";
    assert_eq!(totals("vllm", page).requests, 3);
    let notes = rules::named("vllm").unwrap().notes.join(" ");
    assert!(notes.contains("several prompts is several requests"), "{notes}");
}

#[test]
fn vllm_http_requests_and_rejections_are_not_added() {
    let page = "http_requests_total{handler=\"/v1/chat/completions\",method=\"POST\",status=\"2xx\"} 9\n\
                vllm:admission_rejections_total{model_name=\"qwen3-32b\",reason=\"queue\"} 2\n\
                vllm:request_params_n_count{engine=\"0\",model_name=\"qwen3-32b\"} 9\n";
    assert_eq!(totals("vllm", page), counts(9, 9, 0, 0));
}

#[test]
fn sglang_three_counts_of_one_page_are_one() {
    let old: String = fixture("sglang")
        .lines()
        .filter(|line| !line.starts_with("sglang:num_requests"))
        .map(|line| format!("{line}\n"))
        .collect();
    for other in ["time_to_first_token_seconds_count", "time_per_output_token_seconds_count"] {
        assert!(old.contains(other));
    }
    assert_eq!(totals("sglang", &old).requests, 11_228, "end to end, where the newer counter is not there");
    assert_eq!(totals("sglang", &fixture("sglang")).requests, 7, "and not beside it");
}

#[test]
fn sglang_labels_of_clients_are_series_and_nothing_else() {
    let page = "sglang:num_requests_total{model_name=\"qwen3-32b\",is_streaming=\"false\",tenant=\"canary-a\"} 2\n\
                sglang:num_requests_total{model_name=\"qwen3-32b\",is_streaming=\"false\",tenant=\"canary-b\"} 3\n";
    let mut intake = pages("sglang", 0);
    take_page(&mut intake, page, 0);
    assert!(!format!("{intake:?}").contains("canary"));
    assert_eq!(lines(&mut intake), ["qwen-3 ok unknown no 5 5 0 0"]);
}

#[test]
fn sglang_without_the_streaming_label_is_unknown() {
    let page = "sglang:num_requests_total{model_name=\"qwen3-32b\"} 2\n";
    assert_eq!(counted("sglang", page), ["qwen-3 ok unknown unknown 2 2 0 0"]);
}

#[test]
fn sglang_values_in_exponent_notation() {
    let page = "sglang:prompt_tokens_total{model_name=\"qwen3-32b\"} 8.128902e+06\n";
    assert_eq!(totals("sglang", page).input_tokens, 8_128_902);
}

#[test]
fn tgi_request_count_is_not_read() {
    let page = "# TYPE tgi_request_count counter\ntgi_request_count 8\n";
    assert_eq!(totals("tgi", page), counts(0, 0, 0, 0));
    assert_eq!(totals("tgi", &fixture("tgi")).requests, 4, "3 succeeded, 1 was refused; the count says 8");
}

#[test]
fn triton_of_an_ensemble_the_entry_counts() {
    // Two requests of the ensemble go through two parts each; a failure is told at part and parent.
    let page = "nv_inference_request_success{model=\"chat\",version=\"1\"} 2\n\
                nv_inference_request_success{model=\"preprocess\",version=\"1\"} 2\n\
                nv_inference_request_success{model=\"vllm_model\",version=\"1\"} 2\n\
                nv_inference_request_failure{model=\"chat\",version=\"1\",reason=\"OTHER\"} 1\n\
                nv_inference_request_failure{model=\"vllm_model\",version=\"1\",reason=\"OTHER\"} 1\n\
                vllm:request_prompt_tokens_sum{model=\"vllm_model\",version=\"1\"} 10\n";
    assert_eq!(totals("triton", page).requests, 8, "all parts, unless told");
    let mut intake = pages("triton", 0).with_entry_models(&["chat".to_owned()]);
    take_page(&mut intake, page, 0);
    assert_eq!(intake.counter().totals(), counts(3, 3, 10, 0), "and the tokens of the part that tells them");
    assert_eq!(skipped(&mut intake), [("filtered", 3)]);
}

#[test]
fn triton_items_of_a_batch_are_not_read() {
    let page = "nv_inference_count{model=\"m\",version=\"1\"} 16\nnv_inference_exec_count{model=\"m\",version=\"1\"} 4\n";
    assert_eq!(totals("triton", page), counts(0, 0, 0, 0));
}

#[test]
fn nim_is_read_where_it_is_declared_and_never_detected() {
    let page = fixture("nim");
    for name in rules::NAMES {
        assert!(!PagePlan::new(&rules::named(name).unwrap()).unwrap().detects(page.as_bytes()), "{name}");
    }
    assert_eq!(totals("nim", &page), counts(5, 5, 50, 70));
    assert_eq!(totals("vllm", &page), counts(0, 0, 0, 0), "its names are nobody else's");
}

#[test]
fn dynamo_components_on_the_page_are_not_added() {
    let page = fixture("dynamo")
        + "dynamo_component_router_requests_total{model=\"Qwen/Qwen3-32B\"} 12\n\
           vllm:request_params_n_count{model_name=\"Qwen/Qwen3-32B\"} 12\n";
    assert!(page.contains("dynamo_component_requests_total"));
    assert_eq!(totals("dynamo", &page), totals("dynamo", &fixture("dynamo")));
    assert_eq!(totals("dynamo", &page).requests, 13);
}

#[test]
fn dynamo_with_the_other_prefix() {
    let page = fixture("dynamo").replace("dynamo_frontend_", "nv_llm_http_service_");
    assert_eq!(counted("dynamo", &page), counted("dynamo", &fixture("dynamo")));
    assert!(PagePlan::new(&rules::named("dynamo").unwrap()).unwrap().detects(page.as_bytes()));
}

#[test]
fn ray_serve_replicas_that_vanish_take_nothing_back() {
    let replica = |id: &str, count: u64| {
        format!(
            "ray_vllm_request_params_n_count{{model_name=\"Qwen/Qwen3-32B\",ReplicaId=\"{id}\"}} {count}\n"
        )
    };
    let both = replica("a", 5) + &replica("b", 7);
    let (one, next) = (replica("b", 8), replica("b", 8) + &replica("c", 2));
    assert_eq!(requests_after("ray-serve", &[&both, &one, &next]), [0, 1, 3]);
}

#[test]
fn kserve_with_and_without_the_prefix() {
    let page = fixture("kserve");
    let plain = page.replace("kserve_vllm:", "vllm:");
    assert_eq!(totals("kserve", &page), counts(3, 3, 30, 0));
    assert_eq!(totals("kserve", &plain), counts(3, 3, 30, 0));
}

#[test]
fn kserve_the_queue_proxy_is_not_read() {
    let page = fixture("kserve")
        + "revision_app_request_count{response_code=\"200\"} 3\nqueue_requests_total{response_code=\"200\"} 3\n";
    assert_eq!(totals("kserve", &page), counts(3, 3, 30, 0));
}

#[test]
fn llm_d_other_is_no_name() {
    let page = "llm_d_epp_request_total{model_name=\"other\",target_model_name=\"other\"} 4\n";
    let mut intake = pages("llm-d", 0);
    take_page(&mut intake, page, 0);
    let cell = intake.counter().take_cells()[0];
    assert_eq!((cell.key.model.0, cell.counts.requests), (0, 4), "a row of its own, unknown, never dropped");
    assert_eq!(cell.key.openness, weighbridge_catalog::Openness::Unknown);
}

#[test]
fn llm_d_scheduler_attempts_are_no_requests() {
    let page = "llm_d_epp_scheduler_attempts_total{status=\"success\"} 9\ninference_extension_scheduler_attempts_total 9\n";
    let mut intake = pages("llm-d", NOON);
    take_page(&mut intake, page, 0);
    assert_eq!(intake.counter().totals(), counts(0, 0, 0, 0));
}
