//! The connections to the upstream that speak HTTP/2: shared by exchanges, each a task of its own.
//!
//! In: requests as HTTP/1.1 would carry them. Out: their answers, and the place on a connection that each takes until its answer
//! has passed. Guarantees: no connection has more open streams than its server allows, nor than `MAX_STREAMS`; when all are full
//! another is opened, one at a time. A client that does not read holds back its own stream and no other. A connection that its
//! server has said goodbye on, or that broke, takes no new request; its open exchanges end as the server lets them. A request of
//! which nothing was sent goes over another connection; one that may have been processed is never sent again.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::MAX_BUFFER_BYTES;
use super::body::RequestBody;
use super::io::Io;
use super::upstream::NoAnswer;

/// Streams of one connection, if the server allows more.
const MAX_STREAMS: usize = 100;
/// Bytes of an answer that wait for its client.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all answers of a connection: clients that do not read leave room for others.
const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// A connection with open streams is asked this often whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

type Driven = Connection<Io, RequestBody, TokioExecutor>;

/// One connection.
struct Shared {
    sender: SendRequest<RequestBody>,
    /// Driven by a task of its own until it ends; here to ask what the server allows.
    connection: Arc<Mutex<Option<Driven>>>,
    streams: AtomicUsize,
    last_used: Mutex<Instant>,
}

impl Shared {
    /// A place on it, if one is free.
    fn place(self: &Arc<Self>) -> Option<Place> {
        // At one that allows none, or has not said yet what it allows, requests wait there.
        let allowed = locked(&self.connection).as_ref()?.current_max_send_streams().clamp(1, MAX_STREAMS);
        // Only this takes places, and the list is locked while it does.
        (self.streams.load(Ordering::Acquire) < allowed).then(|| {
            self.streams.fetch_add(1, Ordering::AcqRel);
            Place(Arc::clone(self))
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drives a connection to its end. It is dropped then: what it has taken and not sent comes back to who sent it.
async fn driven(connection: Arc<Mutex<Option<Driven>>>) {
    poll_fn(|context| {
        let mut connection = locked(&connection);
        let is_ended = connection.as_mut().is_none_or(|driven| Pin::new(driven).poll(context).is_ready());
        if is_ended {
            *connection = None;
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// A stream's place on a connection; free when it is dropped.
pub(super) struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        *locked(&self.0.last_used) = Instant::now();
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Place {
    /// Sends a request and waits for the head of its answer. A request of which nothing was sent comes back.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
        target: &Target,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<RequestBody>>)> {
        match self.0.sender.clone().try_send_request(target.to_http2(request)).await {
            Ok(mut answer) => {
                *answer.version_mut() = Version::HTTP_11;
                Ok(answer)
            }
            Err(mut error) => {
                let unsent = error.take_message().map(|request| target.to_http1(request));
                Err((error.into_error(), unsent))
            }
        }
    }
}

/// What requests call the upstream.
pub(super) struct Target {
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
}

impl Target {
    /// In HTTP/2 the address stands in the target, not in `host`. A target that cannot be made is refused where it is sent.
    fn to_http2(&self, mut request: Request<RequestBody>) -> Request<RequestBody> {
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
        request
    }

    fn to_http1(&self, mut request: Request<RequestBody>) -> Request<RequestBody> {
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(path);
        }
        *request.version_mut() = Version::HTTP_11;
        if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        request
    }
}

/// What a new connection turned out to speak.
pub(super) enum Opened {
    /// HTTP/1.1, for this exchange alone.
    Http1(Box<Io>),
    /// HTTP/2.
    Http2(Place),
}

/// The connections that are open.
#[derive(Default)]
pub(super) struct Pool {
    list: Mutex<Vec<Arc<Shared>>>,
    /// Held while one is opened.
    opening: tokio::sync::Mutex<()>,
    /// How many could not be opened.
    failures: AtomicU64,
    /// The server was seen to speak HTTP/1.1.
    is_http1: AtomicBool,
}

impl Pool {
    /// A place on an open connection, on the one that was opened first.
    pub(super) fn place(&self) -> Option<Place> {
        let mut list = locked(&self.list);
        list.retain(|shared| !shared.sender.is_closed());
        list.iter().find_map(Shared::place)
    }

    /// Opens a connection with `connect`, unless another exchange has just opened one with a free place.
    pub(super) async fn open(
        &self,
        connect: impl Future<Output = Result<(Io, bool), NoAnswer>>,
    ) -> Result<Opened, NoAnswer> {
        let failures = self.failures.load(Ordering::Acquire);
        // A server of HTTP/1.1 needs one for each: none waits for another.
        let _opening =
            if self.is_http1.load(Ordering::Acquire) { None } else { Some(self.opening.lock().await) };
        if let Some(place) = self.place() {
            return Ok(Opened::Http2(place));
        }
        if self.failures.load(Ordering::Acquire) != failures {
            return Err(NoAnswer::Unreachable(
                "the connection that was waited for could not be opened".into(),
            ));
        }
        let opened = self.opened(connect).await;
        if opened.is_err() {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
        opened
    }

    async fn opened(
        &self,
        connect: impl Future<Output = Result<(Io, bool), NoAnswer>>,
    ) -> Result<Opened, NoAnswer> {
        let (io, is_http2) = connect.await?;
        self.is_http1.store(!is_http2, Ordering::Release);
        if !is_http2 {
            return Ok(Opened::Http1(Box::new(io)));
        }
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_BUFFER_BYTES as u32)
            .max_send_buf_size(MAX_BUFFER_BYTES)
            .keep_alive_interval(KEEP_ALIVE);
        let (sender, connection) = builder.handshake(io).await?;
        // Its end is told to the exchanges; it ends when its last sender is dropped.
        let connection = Arc::new(Mutex::new(Some(connection)));
        tokio::spawn(driven(Arc::clone(&connection)));
        let (streams, last_used) = (AtomicUsize::new(1), Mutex::new(Instant::now()));
        let shared = Arc::new(Shared { sender, connection, streams, last_used });
        locked(&self.list).push(Arc::clone(&shared));
        Ok(Opened::Http2(Place(shared)))
    }

    /// Closes the connections that are not used.
    pub(super) fn sweep(&self) {
        let is_used = |shared: &Arc<Shared>| {
            let last_used = *locked(&shared.last_used);
            shared.streams.load(Ordering::Acquire) > 0 || last_used.elapsed() < IDLE
        };
        locked(&self.list).retain(|shared| !shared.sender.is_closed() && is_used(shared));
    }
}
