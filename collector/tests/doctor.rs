//! `doctor` against small servers on loopback that answer as the gateways do, with the saved pages and logs.
//!
//! Every configuration that it prints is parsed as the collector would.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod common;

use std::collections::HashMap;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use common::pages::fixture;
use tokio::net::TcpListener;
use weighbridge_collector::config::{Config, Source};
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_collector::profile::rules;
use weighbridge_proto::v1::Vantage;

/// A server that answers a few paths.
#[derive(Clone, Default)]
struct Gateway {
    answers: HashMap<String, (u16, String)>,
    server: String,
    /// A path that wants this key.
    locked: Option<(String, String)>,
    /// Pages of `answers` under `/metrics` that follow each other.
    turns: Vec<String>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    fn with(mut self, path: &str, status: u16, body: impl Into<String>) -> Gateway {
        self.answers.insert(path.to_owned(), (status, body.into()));
        self
    }

    fn answer(&self, request: &Request) -> Response {
        let path = request.uri().path().to_owned();
        let key = request.headers().get(header::AUTHORIZATION).map(|key| key.to_str().unwrap().to_owned());
        let mut asked = self.asked.lock().unwrap();
        let turn = asked.iter().filter(|line| line.contains(" /metrics ")).count();
        asked.push(format!("{} {path} {}", request.method(), key.clone().unwrap_or_default()));
        let (mut status, mut body) =
            self.answers.get(&path).cloned().unwrap_or((404, "{\"detail\":\"Not Found\"}".to_owned()));
        if let Some((locked, wanted)) = &self.locked
            && *locked == path
            && key != Some(format!("Bearer {wanted}"))
        {
            (status, body) = (401, "{\"error\":\"no key\"}".to_owned());
        }
        if path == "/metrics" && !self.turns.is_empty() {
            (status, body) = (200, self.turns[turn % self.turns.len()].clone());
        }
        let mut response = Response::new(body.into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if !self.server.is_empty() {
            response.headers_mut().insert(header::SERVER, HeaderValue::from_str(&self.server).unwrap());
        }
        response
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gateway = self.clone();
        let router = Router::new().fallback(move |request: Request| {
            let response = gateway.answer(&request);
            async move { response }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }
}

struct Told {
    code: i32,
    text: String,
}

impl Told {
    /// The printed configurations, parsed.
    fn configs(&self) -> Vec<Config> {
        let blocks = self.text.split("# collector.yaml for ").skip(1);
        let yaml =
            blocks.map(|block| block.split_once('\n').unwrap().1.split("\n\n").next().unwrap().to_owned());
        yaml.map(|yaml| Config::parse(&yaml, |_| None).unwrap_or_else(|error| panic!("{error}\n{yaml}")))
            .collect()
    }

    fn config(&self) -> Config {
        let mut configs = self.configs();
        assert_eq!(configs.len(), 1, "{}", self.text);
        configs.remove(0)
    }

    fn says(&self, words: &str) {
        assert!(self.text.contains(words), "{words:?} is missing in:\n{}", self.text);
    }
}

fn doctor(arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"));
    let Output { status, stdout, .. } = command.arg("doctor").args(arguments).output().unwrap();
    Told { code: status.code().unwrap(), text: String::from_utf8(stdout).unwrap() }
}

async fn ask(gateway: Gateway) -> Told {
    doctor(&[&gateway.start().await])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_saved_page_is_recognised_and_its_configuration_parses() {
    for profile in rules::NAMES.iter().filter(|name| **name != "nim") {
        let look = rules::named(profile).unwrap().look;
        let info = "{\"model_id\":\"Qwen/Qwen3-32B\",\"max_best_of\":2}";
        let gateway = Gateway::default().with(&look.page, 200, fixture(profile)).with("/info", 200, info);
        let url = gateway.start().await;
        for asked in [url.clone(), format!("{url}{}", look.page)] {
            let told = doctor(&[&asked]);
            assert_eq!(told.code, 0, "{profile}: {}", told.text);
            told.says(&format!("profile {profile}"));
            told.says("since its start: ");
            told.says("doubles");
            let config = told.config();
            assert_eq!(config.profile(), *profile);
            let Source::Prometheus(source) = &config.source else { panic!("{profile}") };
            assert_eq!(source.targets[0].url, format!("{url}{}", look.page));
            assert_eq!(config.vantage().unwrap(), Vantage::Gateway, "{profile} stands alone");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_traffic_is_recognised_by_what_it_declares() {
    let page = "# HELP litellm_requests_metric_total x\n# TYPE litellm_requests_metric_total counter\n";
    let told = ask(Gateway::default().with("/metrics/", 200, page)).await;
    assert_eq!(told.code, 0, "{}", told.text);
    told.says("no request counted yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_without_the_callback_and_behind_a_key() {
    let alive =
        || Gateway::default().with("/health/liveliness", 200, "\"I'm alive!\"").with("/v1/models", 401, "{}");
    let told = ask(alive()).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("callbacks: [\"prometheus\"]");
    told.says("OTLP spans also tell streaming");
    assert_eq!(told.config().profile(), "litellm");

    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let key = key.to_str().unwrap();
    let locked = Gateway {
        locked: Some(("/metrics/".to_owned(), "sk-canary".to_owned())),
        ..alive().with("/metrics/", 200, fixture("litellm"))
    };
    let url = locked.start().await;
    let told = doctor(&[&url]);
    assert_eq!(told.code, 1);
    told.says("its page asks for a key");
    std::fs::write(key, "sk-wrong").unwrap();
    let told = doctor(&[&url, "--bearer-token-file", key]);
    assert_eq!(told.code, 1);
    told.says("does not take the key of --bearer-token-file (401)");
    std::fs::write(key, "sk-canary\n").unwrap();
    let told = doctor(&[&url, "--bearer-token-file", key]);
    assert_eq!(told.code, 0, "{}", told.text);
    let Source::Prometheus(source) = told.config().source else { panic!("prometheus") };
    assert_eq!(source.targets[0].bearer_token_file.as_ref().unwrap().to_str(), Some(key));
    assert!(!told.text.contains("sk-"), "{}", told.text);
    let asked = locked.asked.lock().unwrap();
    let with_key: Vec<_> = asked.iter().filter(|line| line.contains("Bearer")).collect();
    assert!(
        !with_key.is_empty() && with_key.iter().all(|line| line.starts_with("GET /metrics/ ")),
        "{with_key:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_switched_off_is_named_with_its_switch() {
    let model_info = "{\"model_path\":\"/models/x\",\"tokenizer_path\":\"/models/x\",\"is_generation\":true}";
    let kong_page = "# TYPE kong_nginx_requests_total gauge\nkong_nginx_requests_total{node_id=\"n\"} 4\n";
    let apisix_page = "# TYPE apisix_node_info gauge\napisix_node_info{hostname=\"h\"} 1\n";
    let native = "an error occurred when formatting an argument";
    let kong = |server: &str| Gateway { server: server.to_owned(), ..Gateway::default() };
    let cases = [
        (Gateway::default().with("/get_model_info", 200, model_info), "sglang", "--enable-metrics"),
        (kong("kong/3.11.0").with("/metrics", 200, kong_page), "kong", "`ai_metrics: true`"),
        (kong("kong/3.11.0"), "kong", "port 8001 (admin) or 8100 (status)"),
        (
            kong("APISIX/3.13.0").with("/apisix/prometheus/metrics", 200, apisix_page),
            "apisix",
            "plugin prometheus",
        ),
        (Gateway::default().with("/metrics", 500, native), "agentgateway", "histograms: both"),
        (
            Gateway::default().with("/v1/models", 200, "{\"data\":[{\"owned_by\": \"vllm\"}]}"),
            "vllm",
            "--disable-log-stats",
        ),
        (Gateway::default().with("/v2", 200, "{\"name\":\"triton\"}"), "triton", "port 8002"),
    ];
    for (gateway, profile, switch) in cases {
        let told = ask(gateway).await;
        assert_eq!(told.code, 1, "{profile}: {}", told.text);
        told.says("missing");
        told.says(switch);
        assert_eq!(told.config().profile(), profile);
    }
    let told = ask(kong("nginx/1.28.0")).await;
    assert_eq!((told.code, told.config().profile()), (1, "nginx"));
    told.says("give doctor the log's file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_tell_nothing_get_the_tap() {
    let llama_cpp = Gateway { server: "llama.cpp".to_owned(), ..Gateway::default() };
    let cases = [
        (
            Gateway::default().with("/api/version", 200, "{\"version\":\"0.12.3\"}").with(
                "/",
                200,
                "Ollama is running",
            ),
            "Ollama",
            "ollama",
        ),
        (llama_cpp.with("/metrics", 501, "{}"), "llama.cpp server", "llama-cpp"),
        (Gateway::default().with("/", 200, "AI Gateway says hey!"), "Portkey gateway", "portkey"),
        (
            Gateway::default().with("/v1/models", 200, "{\"object\":\"list\",\"data\":[{\"id\":\"m\"}]}"),
            "OpenAI-compatible",
            "auto",
        ),
    ];
    for (gateway, name, profile) in cases {
        let url = gateway.start().await;
        let told = doctor(&[&url]);
        assert_eq!(told.code, 0, "{name}: {}", told.text);
        told.says(name);
        told.says("use      the tap");
        let config = told.config();
        let Source::Tap(tap) = &config.source else { panic!("tap") };
        assert_eq!((tap.listen.to_string().as_str(), &tap.upstream), ("127.0.0.1:4321", &url));
        assert_eq!(tap.profile.name(), profile);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tgi_names_its_model_or_asks_for_it() {
    let page = Gateway::default().with("/metrics", 200, fixture("tgi"));
    let told = ask(page.clone().with("/info", 200, "{\"model_id\":\"it's/Qwen3\",\"max_best_of\":2}")).await;
    assert_eq!(told.code, 0, "{}", told.text);
    let Source::Prometheus(source) = told.config().source else { panic!("prometheus") };
    assert_eq!(source.targets[0].model, "it's/Qwen3");
    told.says("the tap reads the model of every answer");
    for info in ["", "{\"model_id\":\"two\\nlines\",\"max_best_of\":2}"] {
        let told = ask(page.clone().with("/info", 200, info)).await;
        assert_eq!(told.code, 1);
        told.says("write its name in targets.model");
        told.config();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nim_is_known_by_its_version_and_then_its_page_is_read() {
    let nim = Gateway::default().with("/v1/version", 200, "{\"release\":\"1.8\",\"api\":\"0.1\"}");
    let told = ask(nim.with("/v1/metrics", 200, fixture("nim"))).await;
    assert_eq!((told.code, told.config().profile()), (0, "nim"), "{}", told.text);
    let told = ask(Gateway::default().with("/metrics", 200, fixture("nim"))).await;
    assert_eq!(told.code, 1);
    told.says("declare `profile: nim`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_a_gateway_is_configured_as_a_cross_check() {
    let litellm = Gateway::default().with("/metrics/", 200, fixture("litellm")).start().await;
    let vllm = Gateway::default().with("/metrics", 200, fixture("vllm")).start().await;
    let told = doctor(&[&litellm, &vllm]);
    assert_eq!(told.code, 0, "{}", told.text);
    told.says("LiteLLM was given too");
    let configs = told.configs();
    let vantages: Vec<_> = configs.iter().map(|config| config.vantage().unwrap()).collect();
    assert_eq!(vantages, [Vantage::Gateway, Vantage::Server]);
    assert_ne!(configs[0].admin.listen, configs[1].admin.listen);
    assert_ne!(configs[0].data_folder, configs[1].data_folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_given_twice_is_configured_once() {
    let url = Gateway::default().with("/metrics", 200, fixture("kong")).start().await;
    let told = doctor(&[&url, &format!("{url}/metrics")]);
    assert_eq!((told.code, told.configs().len()), (0, 1), "{}", told.text);
    told.says("Kong is given twice");
    // The log has the final status of each request.
    let log = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/access-log/kong-old-key.jsonl");
    let told = doctor(&[&url, log]);
    assert!(matches!(told.config().source, Source::AccessLog(_)), "{}", told.text);
}

#[test]
fn every_saved_log_is_recognised_and_its_configuration_parses() {
    for profile in LogProfile::all().map(LogProfile::name) {
        let log = format!("{}/tests/fixtures/access-log/{profile}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let told = doctor(&[&log]);
        assert_eq!(told.code, 0, "{profile}: {}", told.text);
        told.says(&format!("its access log, profile {profile}"));
        let config = told.config();
        assert_eq!(config.profile(), profile);
        let Source::AccessLog(source) = &config.source else { panic!("{profile}") };
        assert_eq!(source.file.as_ref().unwrap().to_str(), Some(log.as_str()));
    }
}

#[test]
fn logs_that_do_not_do_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = folder.path().join("access.log");
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cases = [
        (
            "127.0.0.1 - - [23/Nov/2026] \"POST /v1/chat/completions HTTP/1.1\" 200 canary\n",
            1,
            "no JSON objects",
        ),
        ("{\"canary\":\"x\"}\n", 1, "the keys of no known log"),
        (&fixture("vllm"), 1, "a saved metrics page of vLLM"),
        (
            "{\"latencies\":{},\"request\":{\"uri\":\"/v1/chat/completions\"},\"response\":{\"status\":200}}\n",
            0,
            "log_statistics",
        ),
        (
            "{\"latencies\":{},\"request\":{\"uri\":\"/orders\"},\"response\":{\"status\":200}}\n",
            1,
            "1 are no inference",
        ),
    ];
    for (text, code, words) in cases {
        let told = doctor(&[&file(text)]);
        assert_eq!(told.code, code, "{text}: {}", told.text);
        told.says(words);
        assert!(!told.text.contains("canary"), "{}", told.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_behind_one_address_are_seen() {
    let page = |start: u64| {
        format!("process_start_time_seconds {start}\n{}", fixture("kserve").replace("kserve_", ""))
    };
    let gateway = Gateway { turns: vec![page(1_795_000_000), page(1_795_000_900)], ..Gateway::default() };
    let told = ask(gateway).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("two answers came from two processes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_unreachable_or_no_argument_has_its_exit_code() {
    let unknown = Gateway::default();
    let told = ask(unknown.clone()).await;
    assert_eq!(told.code, 1);
    told.says("nothing that is known");
    assert!(unknown.asked.lock().unwrap().len() < 24);
    told.says("agentgateway port 15020");
    let told = doctor(&["http://127.0.0.1:1"]);
    assert_eq!(told.code, 1);
    told.says("no answer");
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let absent = absent.to_str().unwrap();
    for wrong in [
        &[][..],
        &["ftp://127.0.0.1/"],
        &["http://user:secret@127.0.0.1/"],
        &[absent],
        &["http://127.0.0.1:1", "--timeout-s", "0"],
        &["http://127.0.0.1:1", "--colour"],
    ] {
        assert_eq!(doctor(wrong).code, 2, "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_gets_are_sent_and_no_content_is_printed() {
    let page = "# TYPE litellm_requests_metric_total counter\n\
                litellm_requests_metric_total{user_email=\"canary@example.org\",client_ip=\"10.9.8.7\",hashed_api_key=\"canary-key\",\
                model=\"canary-model\",model_id=\"m\",requested_model=\"canary-alias\"} 2.0\n\
                litellm_requests_metric_total{model=\"gpt-4o\",model_id=\"n\"} 3.0\n";
    let gateway = Gateway::default().with("/metrics/", 200, page).with("/", 200, "<html>canary</html>");
    let told = ask(gateway.clone()).await;
    assert_eq!(told.code, 0);
    told.says("since its start: 5 requests");
    told.says("2 of these requests name no model of the register");
    assert!(
        !told.text.contains("canary") && !told.text.contains("10.9.8.7") && !told.text.contains("gpt-4o"),
        "{}",
        told.text
    );
    let asked = gateway.asked.lock().unwrap();
    assert!(asked.len() < 8, "what is clear is not asked further: {asked:?}");
    for line in asked.iter() {
        assert!(line.starts_with("GET "), "{line}");
        let path = line.split(' ').nth(1).unwrap();
        assert!(path != "/health" && !path.contains("completions") && !path.contains("generate"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tei_is_told_apart_from_tgi_by_its_info() {
    let info = "{\"model_id\":\"BAAI/bge-m3\",\"tokenization_workers\":4}";
    let told = ask(Gateway::default().with("/info", 200, info)).await;
    assert_eq!(told.code, 0, "{}", told.text);
    told.says("TEI: its metrics name no model");
    told.says("    profile: tei");
}
