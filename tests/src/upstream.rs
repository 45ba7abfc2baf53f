//! A fake model provider: chat completions and embeddings as OpenAI's API has them, messages as Anthropic's, plain and
//! streamed. What a model does is in `scenario`; what was received is kept, as the truth to compare with.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::scenario::{self, Api, Behaviour, DEPLOYMENTS, Deployment, canaries, find_mark, mark, tokens};

const BODY_LIMIT: usize = 1 << 20;
/// Pieces of an ordinary stream.
const SHORT_STREAM: u32 = 4;

/// How a request ended, as the provider saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered in full.
    Answered,
    /// 429.
    RateLimited,
    /// 500.
    Failed,
    /// The other side closed the connection before the answer was complete.
    Left,
}

/// One request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The number in its mark.
    pub number: u32,
    /// The API it used.
    pub api: Api,
    /// The model it named.
    pub model: &'static str,
    /// Whether it asked for a stream.
    pub stream: bool,
    /// Whether it asked for token counts in the stream.
    pub stream_usage: bool,
    /// How it ended; none while it runs.
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Default)]
struct Book {
    received: Vec<Received>,
    seen: HashSet<u32>,
    problems: Vec<String>,
}

type Shared = Arc<Mutex<Book>>;

/// A running provider; it ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    book: Shared,
    task: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Starts on a port that the kernel chooses.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the fake provider");
        let address = listener.local_addr().expect("address of the fake provider");
        let book = Shared::default();
        let router = Router::new().fallback(handle).with_state(Arc::clone(&book));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("fake provider");
        });
        Self { address, book, task }
    }

    /// The base address, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in order of arrival. Panics when one was not understood.
    pub fn received(&self) -> Vec<Received> {
        let book = self.book.lock().unwrap();
        assert!(book.problems.is_empty(), "the provider did not understand: {:?}", book.problems);
        book.received.clone()
    }
}

/// Writes the outcome of one request into the book, at the latest when dropped: then the other side has left.
struct Entry {
    book: Shared,
    index: usize,
}

impl Entry {
    fn finish(&self, outcome: Outcome) {
        self.book.lock().unwrap().received[self.index].outcome.get_or_insert(outcome);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.finish(Outcome::Left);
    }
}

async fn handle(State(book): State<Shared>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    // LiteLLM asks a vLLM server for its models, and goes on without an answer.
    if path == "/v1/models" {
        return (StatusCode::NOT_FOUND, "no list of models").into_response();
    }
    let body = axum::body::to_bytes(request.into_body(), BODY_LIMIT).await.unwrap_or_default();
    let Some((deployment, received, first)) = read(&book, &path, &body) else {
        let text = format!("{path}: {}", String::from_utf8_lossy(&body[..body.len().min(500)]));
        book.lock().unwrap().problems.push(text);
        return (StatusCode::BAD_REQUEST, "not understood").into_response();
    };
    let index = {
        let mut book = book.lock().unwrap();
        book.received.push(received.clone());
        book.received.len() - 1
    };
    let entry = Entry { book, index };
    match deployment.behaviour {
        Behaviour::RateLimit => {
            entry.finish(Outcome::RateLimited);
            error(deployment.api, StatusCode::TOO_MANY_REQUESTS, "rate_limit_error")
        }
        Behaviour::Fail => failed(&entry, deployment),
        Behaviour::FailOnce if first => failed(&entry, deployment),
        Behaviour::Slow => {
            sleep(scenario::SLOW_ANSWER).await;
            answer(deployment, &received, entry)
        }
        Behaviour::Answer | Behaviour::FailOnce | Behaviour::LongStream => {
            answer(deployment, &received, entry)
        }
    }
}

fn failed(entry: &Entry, deployment: Deployment) -> Response {
    entry.finish(Outcome::Failed);
    error(deployment.api, StatusCode::INTERNAL_SERVER_ERROR, "server_error")
}

/// What a request asks for, and whether its mark is new. None: it is not what a gateway of these tests sends.
fn read(book: &Shared, path: &str, body: &Bytes) -> Option<(Deployment, Received, bool)> {
    let api = match path {
        "/v1/chat/completions" => Api::OpenAiChat,
        "/v1/embeddings" => Api::OpenAiEmbeddings,
        "/v1/messages" => Api::AnthropicMessages,
        _ => return None,
    };
    let number = find_mark(body)?;
    let body: Value = serde_json::from_slice(body).ok()?;
    let model = body["model"].as_str()?;
    let deployment = *DEPLOYMENTS.iter().find(|known| known.model == model && known.api == api)?;
    let received = Received {
        number,
        api,
        model: deployment.model,
        stream: body["stream"] == true,
        stream_usage: body["stream_options"]["include_usage"] == true,
        outcome: None,
    };
    let first = book.lock().unwrap().seen.insert(number);
    Some((deployment, received, first))
}

fn error(api: Api, status: StatusCode, kind: &str) -> Response {
    let inner =
        json!({"type": kind, "message": format!("{kind} {}", canaries::ANSWER), "code": null, "param": null});
    let body = match api {
        Api::AnthropicMessages => json!({"type": "error", "error": inner}),
        Api::OpenAiChat | Api::OpenAiEmbeddings => json!({"error": inner}),
    };
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}

fn answer(deployment: Deployment, received: &Received, entry: Entry) -> Response {
    if received.stream {
        return streamed(deployment, received, entry);
    }
    let body = plain(deployment, received.number);
    entry.finish(Outcome::Answered);
    ([("content-type", "application/json")], body.to_string()).into_response()
}

fn plain(deployment: Deployment, number: u32) -> Value {
    let (input, output) = tokens(number);
    let text = format!("{} for {}", canaries::ANSWER, mark(number));
    let id = format!("{number:06}");
    match deployment.api {
        Api::OpenAiChat => json!({
            "id": format!("chatcmpl-{id}"), "object": "chat.completion", "created": 1_790_000_000,
            "model": deployment.model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
        }),
        Api::OpenAiEmbeddings => json!({
            "object": "list", "model": deployment.model,
            "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.75]}],
            "usage": {"prompt_tokens": input, "total_tokens": input},
        }),
        Api::AnthropicMessages => json!({
            "id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": deployment.model,
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": input, "output_tokens": output},
        }),
    }
}

fn streamed(deployment: Deployment, received: &Received, entry: Entry) -> Response {
    let (pieces, pause) = match deployment.behaviour {
        Behaviour::LongStream => scenario::LONG_STREAM,
        _ => (SHORT_STREAM, std::time::Duration::ZERO),
    };
    let events = match deployment.api {
        Api::AnthropicMessages => anthropic_events(deployment, received.number, pieces),
        _ => openai_events(deployment, received, pieces),
    };
    // The entry moves with the stream: when the connection closes early, dropping it writes that down.
    let state = (events.into_iter(), entry);
    let body = stream::unfold(state, move |(mut events, entry)| async move {
        let Some(event) = events.next() else {
            entry.finish(Outcome::Answered);
            return None;
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
        Some((Ok::<_, Infallible>(Bytes::from(event)), (events, entry)))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(body)).into_response()
}

fn openai_events(deployment: Deployment, received: &Received, pieces: u32) -> Vec<String> {
    let number = received.number;
    let chunk = |choices: Value, usage: Value| {
        let mut body = json!({
            "id": format!("chatcmpl-{number:06}"), "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": deployment.model, "choices": choices,
        });
        if !usage.is_null() {
            body["usage"] = usage;
        }
        format!("data: {body}\n\n")
    };
    let piece = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]), Value::Null)
    };
    let mut events = vec![piece(json!({"role": "assistant", "content": ""}), Value::Null)];
    for index in 0..pieces {
        events.push(piece(
            json!({"content": format!("{} {} part {index} ", canaries::ANSWER, mark(number))}),
            Value::Null,
        ));
    }
    events.push(piece(json!({}), json!("stop")));
    if received.stream_usage {
        let (input, output) = tokens(number);
        let usage =
            json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
        events.push(chunk(json!([]), usage));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn anthropic_events(deployment: Deployment, number: u32, pieces: u32) -> Vec<String> {
    let (input, output) = tokens(number);
    let event = |kind: &str, mut body: Value| {
        body["type"] = json!(kind);
        format!("event: {kind}\ndata: {body}\n\n")
    };
    let message = json!({
        "id": format!("msg_{number:06}"), "type": "message", "role": "assistant", "model": deployment.model,
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": input, "output_tokens": 1},
    });
    let mut events = vec![
        event("message_start", json!({"message": message})),
        event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
    ];
    for index in 0..pieces {
        let text = format!("{} {} part {index} ", canaries::ANSWER, mark(number));
        events.push(event(
            "content_block_delta",
            json!({"index": 0, "delta": {"type": "text_delta", "text": text}}),
        ));
    }
    events.push(event("content_block_stop", json!({"index": 0})));
    let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
    events.push(event("message_delta", json!({"delta": delta, "usage": {"output_tokens": output}})));
    events.push(event("message_stop", json!({})));
    events
}
