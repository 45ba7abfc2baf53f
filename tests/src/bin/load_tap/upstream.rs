//! The upstream of `load-tap`, a process of its own: every proxy has one connection to it a stream, and its descriptors are limited as
//! theirs are.
//!
//! Answers with one document, or with a stream of events if the request asks for one; with `x-slow`, the stream stops after its
//! first event until `GO` is asked for. `HELD` tells how many streams stop. The request's checksum goes back in a header.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// Header with the checksum of a request's body.
pub(crate) const SUM: &str = "x-crc32c";
/// Path that tells the number of streams that are held.
pub(crate) const HELD: &str = "/held";
/// Path that lets them go on.
pub(crate) const GO: &str = "/go";
/// Events of a stream, without the last.
pub(crate) const EVENTS: usize = 40;
/// Each of them.
pub(crate) const EVENT: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n";
const USAGE: &str = "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}";

/// The end of a stream.
pub(crate) fn last_event() -> String {
    format!("data: {{\"model\":\"gpt-4o\",\"choices\":[],{USAGE}}}\n\ndata: [DONE]\n\n")
}

/// An answer that is no stream.
pub(crate) fn whole_answer() -> String {
    let text = "word ".repeat(160);
    format!("{{\"model\":\"gpt-4o\",\"choices\":[{{\"message\":{{\"content\":\"{text}\"}}}}],{USAGE}}}")
}

/// Streams that the upstream holds open until all are there.
#[derive(Default)]
struct Held {
    open: AtomicU64,
    go: Notify,
}

type Body = BoxBody<Bytes, Infallible>;

/// Serves until the process ends.
pub(crate) async fn serve(port: u16) {
    let held = Arc::new(Held::default());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the upstream's port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let held = Arc::clone(&held);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&held)));
            let connection = auto::Builder::new(TokioExecutor::new());
            // A client that left is seen by its own side.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, held: Arc<Held>) -> Result<Response<Body>, Infallible> {
    match request.uri().path() {
        HELD => {
            let open = held.open.load(Ordering::Relaxed).to_string();
            return Ok(Response::new(Full::from(open).boxed()));
        }
        GO => {
            held.open.store(0, Ordering::Relaxed);
            held.go.notify_waiters();
            return Ok(Response::new(Full::default().boxed()));
        }
        _ => {}
    }
    let is_slow = request.headers().contains_key("x-slow");
    let body = request.into_body().collect().await.expect("a whole request").to_bytes();
    let is_stream = memchr::memmem::find(&body, b"\"stream\":true").is_some();
    let builder = Response::builder().header(SUM, crc32c::crc32c(&body).to_string());
    let last = last_event();
    let event = || Ok(Frame::data(Bytes::from_static(EVENT.as_bytes())));
    let end = futures_util::stream::once(async move { Ok(Frame::data(Bytes::from(last))) });
    let body = match (is_stream, is_slow) {
        (false, _) => {
            let answer =
                builder.header("content-type", "application/json").body(Full::from(whole_answer()).boxed());
            return Ok(answer.expect("an answer"));
        }
        // One by one, as a model makes them.
        (true, false) => {
            let events = futures_util::stream::iter(0..EVENTS).then(move |_| async move {
                tokio::task::yield_now().await;
                event()
            });
            BodyExt::boxed(StreamBody::new(events.chain(end)))
        }
        (true, true) => {
            let first = futures_util::stream::once(async move { event() });
            let rest = futures_util::stream::once(async move {
                let go = held.go.notified();
                held.open.fetch_add(1, Ordering::Relaxed);
                go.await;
                event()
            });
            BodyExt::boxed(StreamBody::new(first.chain(rest).chain(end)))
        }
    };
    Ok(builder.header("content-type", "text/event-stream").body(body).expect("an answer"))
}
