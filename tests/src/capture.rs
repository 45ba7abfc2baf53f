//! A server that keeps what is posted to it: OTLP over HTTP and webhooks, as they arrive.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A batch of 512 spans with prompts is below 10 MB.
const BODY_LIMIT: usize = 64 << 20;

/// One request.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as it came over the wire.
    pub raw: Bytes,
}

impl Posted {
    /// The body, unpacked when its header says gzip.
    pub fn body(&self) -> Bytes {
        if self.headers.get("content-encoding").is_none_or(|value| value != "gzip") {
            return self.raw.clone();
        }
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(self.raw.as_ref()).read_to_end(&mut unpacked).expect("a gzip body");
        unpacked.into()
    }
}

/// A running capture server; it ends when dropped.
#[derive(Debug)]
pub struct Capture {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
    task: JoinHandle<()>,
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Capture {
    /// Starts on a port that the kernel chooses.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port for the capture server");
        let address = listener.local_addr().expect("address of the capture server");
        let posted = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new()
            .fallback(keep)
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(Arc::clone(&posted));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("capture server");
        });
        Self { address, posted, task }
    }

    /// Where to post: `path` begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything so far, in order of arrival.
    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }
}

// An empty 200 is what both OTLP (an empty message) and webhooks take as success.
async fn keep(State(posted): State<Arc<Mutex<Vec<Posted>>>>, request: Request) {
    let (parts, body) = request.into_parts();
    let raw = axum::body::to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let entry = Posted { path: parts.uri.path().to_owned(), headers: parts.headers, raw };
    posted.lock().unwrap().push(entry);
}
