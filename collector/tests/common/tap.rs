//! A tap between a client and an upstream of the test's own.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test program uses a part of it"
)]

use crate::common::NOON_MS;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use weighbridge_collector::config::{Config, Source};
use weighbridge_collector::intake::Signal;
use weighbridge_collector::profile::tap::TapProfile;
use weighbridge_collector::receiver::{Clock, Gate};
use weighbridge_collector::report_view::CellView;
use weighbridge_collector::tap;
use weighbridge_collector::window::Edge;
use weighbridge_proto::v1::GatewayProduct;

/// For what must happen.
pub const LIMIT: Duration = Duration::from_secs(30);

pub type Piece = Result<Frame<Bytes>, Infallible>;
pub type Answer = Response<BoxBody<Bytes, Infallible>>;

struct AtNoon;

impl Clock for AtNoon {
    fn now_ms(&self) -> u64 {
        NOON_MS
    }
}

/// A tap before an upstream; both end with it.
pub struct Rig {
    pub address: SocketAddr,
    pub gate: Gate,
    pub shutdown: CancellationToken,
    pub tasks: JoinSet<()>,
}

impl Rig {
    pub async fn before(upstream: SocketAddr) -> Rig {
        Rig::with(&format!("upstream: 'http://{upstream}'")).await
    }

    pub async fn with(fields: &str) -> Rig {
        let text = format!(
            "data_folder: /tmp/w\nenvironment: production\nuplink: {{endpoint: 'http://127.0.0.1:1'}}\n\
             source: {{tap: {{profile: auto, listen: '127.0.0.1:0', {fields}}}}}\n"
        );
        let config = Config::parse(&text, |_| None).unwrap();
        let Source::Tap(source) = &config.source else { panic!("tap") };
        let header = crate::common::header(GatewayProduct::Other);
        let edge =
            Edge::new(crate::common::intake(TapProfile::from_name("auto").unwrap(), 0), header, NOON_MS);
        let gate = Gate::new(edge, Arc::new(AtNoon), Signal::Tap, 1);
        let listener = TcpListener::bind(source.listen).await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tap::start(&mut tasks, source, listener, &gate, &shutdown).unwrap();
        Rig { address, gate, shutdown, tasks }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until so many requests were counted, and gives their cells: `outcome streaming requests`.
    pub async fn counted(&self, requests: u64) -> Vec<String> {
        let all = async {
            while self.gate.edge().intake().counter().totals().requests < requests {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, all).await.expect("requests are counted");
        assert_eq!(self.gate.edge().intake().counter().totals().requests, requests);
        let cells = self.gate.edge().intake().counter().take_cells();
        let mut told: Vec<String> = cells
            .iter()
            .map(|cell| CellView::of(cell, weighbridge_catalog::embedded()))
            .map(|view| format!("{} {} {} {}", view.model, view.outcome, view.streaming, view.requests))
            .collect();
        told.sort();
        told
    }

    pub fn skipped(&self) -> u64 {
        self.gate.edge().intake().counter().tally().skipped().map(|(_, count)| count).sum()
    }
}

/// A server that answers with `answer`.
pub async fn upstream<F, A>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request| {
                let answer = answer.clone();
                async move { Ok::<_, Infallible>(answer(request).await) }
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

pub fn full(bytes: impl Into<Bytes>) -> BoxBody<Bytes, Infallible> {
    Full::new(bytes.into()).boxed()
}

/// A body that is written by hand; it ends with the sender.
pub fn streamed() -> (mpsc::Sender<Piece>, BoxBody<Bytes, Infallible>) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, BodyExt::boxed(StreamBody::new(ReceiverStream::new(receiver))))
}

pub fn events(body: BoxBody<Bytes, Infallible>) -> Answer {
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

pub const CHAT: &str = r#"{"model":"gpt-4o","stream":true}"#;
pub const EVENT: &str = "data: {\"model\":\"gpt-4o\"}\n\n";

pub fn post(rig: &Rig, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    post_as(rig, "application/json", body)
}

pub fn post_as(rig: &Rig, content_type: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
    client.post(rig.url("/v1/chat/completions")).header("content-type", content_type).body(body)
}

/// Bytes that are the same for the same seed.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}
/// A tap before an upstream whose only answer is a stream of events that is written by hand.
pub async fn streaming() -> (Rig, mpsc::Sender<Piece>) {
    let (sender, body) = streamed();
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let answer = move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { events(body) }
    };
    (Rig::before(upstream(answer).await).await, sender)
}
