//! The tap before the real Ollama: every API that it speaks, equal to what the client read of its answers, cell by cell, and to
//! what Ollama's own log says.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::collections::BTreeMap;

use crate::aggregator::Rig;
use crate::whole_path::{AUDIT, Ingest, assert_no_canary, wait_until};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::ollama::Ollama;
use weighbridge_tests::processes::http_client;
use weighbridge_tests::scenario::canaries;
use weighbridge_tests::truth::Cells;

/// Name at Ollama, and how the register shows it.
const MODELS: [(&str, &str); 3] = [
    ("qwen2.5:0.5b", "qwen-2.5 open-permissive"),
    ("deepseek-r1:1.5b", "deepseek-r1 open-permissive"),
    ("acme-prod-7", "unlisted unknown"),
];

/// Where an answer tells its tokens: input, output.
#[derive(Clone, Copy)]
enum Usage {
    Ollama,
    OpenAi,
    Anthropic,
    Responses,
    /// A stream that was not asked for them.
    None,
}

/// One kind of request.
struct Kind {
    path: &'static str,
    operation: &'static str,
    body: Value,
    usage: Usage,
    stream: bool,
}

fn kinds() -> Vec<Kind> {
    let prompt = format!("{} please", canaries::PROMPT);
    let messages = json!([{"role": "user", "content": prompt}]);
    let options = json!({"num_predict": 5});
    let kind = |path, operation, usage, stream, body| Kind { path, operation, body, usage, stream };
    vec![
        kind("/api/chat", "chat", Usage::Ollama, true, json!({"messages": messages, "options": options})),
        kind(
            "/api/chat",
            "chat",
            Usage::Ollama,
            false,
            json!({"messages": messages, "options": options, "stream": false}),
        ),
        kind(
            "/api/generate",
            "text_completion",
            Usage::Ollama,
            true,
            json!({"prompt": prompt, "options": options, "stream": true}),
        ),
        kind(
            "/api/generate",
            "text_completion",
            Usage::Ollama,
            false,
            json!({"prompt": prompt, "options": options, "stream": false}),
        ),
        kind("/api/embed", "embeddings", Usage::Ollama, false, json!({"input": prompt})),
        kind(
            "/v1/chat/completions",
            "chat",
            Usage::OpenAi,
            false,
            json!({"messages": messages, "max_tokens": 4}),
        ),
        kind(
            "/v1/chat/completions",
            "chat",
            Usage::None,
            true,
            json!({"messages": messages, "max_tokens": 4, "stream": true}),
        ),
        kind(
            "/v1/chat/completions",
            "chat",
            Usage::OpenAi,
            true,
            json!({"messages": messages, "max_tokens": 4, "stream": true, "stream_options": {"include_usage": true}}),
        ),
        kind(
            "/v1/completions",
            "text_completion",
            Usage::OpenAi,
            false,
            json!({"prompt": prompt, "max_tokens": 3}),
        ),
        kind("/v1/embeddings", "embeddings", Usage::OpenAi, false, json!({"input": prompt})),
        kind(
            "/v1/responses",
            "chat",
            Usage::Responses,
            false,
            json!({"input": prompt, "max_output_tokens": 4}),
        ),
        kind(
            "/v1/responses",
            "chat",
            Usage::Responses,
            true,
            json!({"input": prompt, "max_output_tokens": 4, "stream": true}),
        ),
        kind("/v1/messages", "chat", Usage::Anthropic, false, json!({"messages": messages, "max_tokens": 4})),
        kind(
            "/v1/messages",
            "chat",
            Usage::Anthropic,
            true,
            json!({"messages": messages, "max_tokens": 4, "stream": true}),
        ),
    ]
}

/// What the client reads of an answer with a full parser: the last counts in it.
fn tokens(usage: Usage, text: &str) -> (u64, u64) {
    let lines = text.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    let mut documents: Vec<Value> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
    documents.extend(serde_json::from_str::<Value>(text).ok());
    let (mut input, mut output) = (0, 0);
    for document in &documents {
        let places: &[(&str, &str)] = match usage {
            Usage::Ollama => &[("/prompt_eval_count", "/eval_count")],
            Usage::OpenAi => &[("/usage/prompt_tokens", "/usage/completion_tokens")],
            Usage::Anthropic => &[
                ("/usage/input_tokens", "/usage/output_tokens"),
                ("/message/usage/input_tokens", "/message/usage/output_tokens"),
            ],
            Usage::Responses => &[
                ("/usage/input_tokens", "/usage/output_tokens"),
                ("/response/usage/input_tokens", "/response/usage/output_tokens"),
            ],
            Usage::None => &[],
        };
        for (of_input, of_output) in places {
            input = document.pointer(of_input).and_then(Value::as_u64).unwrap_or(0).max(input);
            output = document.pointer(of_output).and_then(Value::as_u64).unwrap_or(0).max(output);
        }
    }
    (input, output)
}

/// Sends every kind to every model, twice, and adds the truth; the number of requests by path.
async fn send_all(url: &str, truth: &mut Cells) -> BTreeMap<String, usize> {
    let client = http_client();
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for kind in kinds().iter().chain(kinds().iter()) {
        for (name, told) in MODELS {
            let mut body = kind.body.clone();
            body["model"] = json!(name);
            let answer = client
                .post(format!("{url}{}", kind.path))
                .bearer_auth(canaries::KEY)
                .json(&body)
                .send()
                .await
                .unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status, 200, "{} {body}: {text}", kind.path);
            let (input, output) = tokens(kind.usage, &text);
            assert!(matches!(kind.usage, Usage::None) || input > 0, "{} tells its tokens: {text}", kind.path);
            let streamed = if kind.stream { "yes" } else { "no" };
            let cell = truth.entry(format!("{told} {} ok unknown {streamed}", kind.operation)).or_default();
            cell.iter_mut().zip([1, 1, input, output]).for_each(|(sum, count)| *sum += count);
            *sent.entry(format!("200 POST {}", kind.path)).or_default() += 1;
        }
    }
    sent
}

#[tokio::test]
async fn every_api_of_ollama_is_the_truth() {
    let rig = Rig::start().await;
    let ingest = Ingest::start(&rig).await;
    let _load = rig.load("load").await;
    let ollama = Ollama::start(rig.folder.path(), &MODELS.map(|(name, _)| name)).await;
    let input = Input::Tap { profile: "ollama", upstream: ollama.url() };
    let mut collector = Collector::start(rig.folder.path(), "tap", input, &ingest.url()).await;
    let mut truth = Cells::new();
    let sent = send_all(&collector.tap, &mut truth).await;
    let client = http_client();
    let ask = |path: &str, body: Value| client.post(format!("{}{path}", collector.tap)).json(&body).send();
    // An unknown model reaches none; a request without a prompt only loads, a list and a wrong path are no inference.
    assert_eq!(ask("/api/chat", json!({"model": "gpt-4o", "messages": []})).await.unwrap().status(), 404);
    truth.insert("unlisted unknown chat client_error unknown yes".to_owned(), [1, 0, 0, 0]);
    assert_eq!(
        ask("/api/generate", json!({"model": MODELS[0].0, "stream": false})).await.unwrap().status(),
        200
    );
    assert_eq!(ask("/api/show", json!({"model": MODELS[0].0})).await.unwrap().status(), 200);
    assert_eq!(client.get(format!("{}/v1/models", collector.tap)).send().await.unwrap().status(), 200);
    assert_eq!(ask("/v1/nothing", json!({})).await.unwrap().status(), 404);
    // A stream that the client leaves.
    let long = json!({"model": MODELS[0].0, "prompt": canaries::PROMPT, "options": {"num_predict": 400}});
    let mut pieces = ask("/api/generate", long).await.unwrap().bytes_stream();
    pieces.next().await.unwrap().unwrap();
    drop(pieces);
    truth.insert(format!("{} text_completion cancelled unknown yes", MODELS[0].1), [1, 1, 0, 0]);
    let log = ollama.requests();
    for (request, count) in &sent {
        let extra = usize::from(request == "200 POST /api/generate");
        let logged = log.iter().filter(|line| *line == request).count();
        assert!(
            (*count..=count + 2 * extra).contains(&logged),
            "{request}: sent {count}, Ollama tells {logged}"
        );
    }
    // Ollama keeps no prompt; this shows that the search would find one.
    std::fs::write(rig.folder.path().join("ollama-control"), canaries::PROMPT).unwrap();
    assert_no_canary(&rig, &collector, "ollama", "ollama-control").await;
    collector.stop().await;
    ollama.stop().await;
    wait_until(&rig, &collector, &truth, "tap", |cells| cells).await;
    rig.wait_for(AUDIT, "0").await;
}
