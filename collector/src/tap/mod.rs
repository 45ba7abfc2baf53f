//! The tap: a reverse proxy in front of one server, which counts what passes. The network side of `source: tap`.
//!
//! In: HTTP/1.1 and HTTP/2 (by prior knowledge) from clients. Out: the same requests to the upstream, its answers back, and
//! one exchange each to `Gate`, at its end.
//! Guarantees: bodies, trailers and status pass as they are, byte for byte, as they come, with backpressure and no limit of
//! size or time: how long an answer may take is for client and server to say. Headers pass but for those of the connection
//! (RFC 9110, 7.6.1), `expect`, which is answered here, and `host`, which is the upstream's; none is added. Upgrades pass both
//! ways; of WebSockets that carry requests the server's events are looked at (`upgraded`). A client that leaves ends its request
//! upstream. Nothing is sent twice, but where a connection that was open was found closed before a byte of the request was
//! written. What cannot be understood passes all the same. A request that the upstream cannot be reached for is answered with
//! 502, and so is counted.
//! Not passed on: `CONNECT`, header names' upper case, 1xx answers but 101. To the upstream it speaks HTTP/1.1 (`upstream`), or
//! HTTP/2 over shared connections where the server agrees (`upstream_h2`).

mod body;
mod io;
mod serve;
mod turn;
mod upgraded;
mod upstream;
mod upstream_h2;

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::TapSource;
use crate::receiver::Gate;
use body::Turns;
use serve::Tap;
use upgraded::Slot;
use upstream::Upstream;
pub use upstream::UpstreamError;

// What an open stream takes, measured: 27 to 28 KiB resident, where nginx takes 17; 15 where it shares a connection to the upstream. Of
// that 5 KiB are state. The rest are six pages of which hyper uses the first bytes only: a read and a write buffer of 8 KiB on each
// side, which cannot be made smaller (a read buffer of an exact size is also the limit of a head), and the first block of the queue
// for requests to the upstream, 9.5 KiB.

/// Largest head of a request or an answer, and largest read, bytes: as much as nginx takes, and no more memory a connection.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Descriptors for everything else: spool, uplink, admin port.
const OTHER_DESCRIPTORS: u64 = 256;
/// Pause after a connection could not be accepted, when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until `shutdown`, then until every open exchange has ended. Ending the task cuts them.
///
/// # Errors
/// The certificates of the upstream cannot be read.
pub fn start(
    tasks: &mut JoinSet<()>,
    source: &TapSource,
    listener: TcpListener,
    gate: &Gate,
    shutdown: &CancellationToken,
) -> Result<(), UpstreamError> {
    raise_descriptor_limit(source.max_connections as u64);
    let tap = Arc::new(Tap::new(source, Upstream::new(source)?, gate.clone()));
    let places = Arc::new(Semaphore::new(source.max_connections));
    tasks.spawn(accept(listener, tap, places, shutdown.clone()));
    Ok(())
}

/// Every exchange takes two descriptors. The system's usual 1,024 are soft: a process may have more if it asks.
fn raise_descriptor_limit(connections: u64) {
    let needed = 2 * connections + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let current = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum });
    if raised.is_err() || current < needed {
        tracing::warn!(
            needed,
            current,
            "too few file descriptors for source.tap.max_connections; connections wait when they are used up"
        );
    }
}

async fn accept(listener: TcpListener, tap: Arc<Tap>, places: Arc<Semaphore>, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut sweeps = tokio::time::interval(upstream::IDLE);
    loop {
        // Without a free place the next connection waits with the kernel.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let (tap, shutdown) = (Arc::clone(&tap), shutdown.clone());
                    connections.spawn(async move {
                        connection(stream, tap, shutdown).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = sweeps.tick() => tap.sweep(),
            () = shutdown.cancelled() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// First letters of HTTP/2's preface; no method begins with them.
const PREFACE: &[u8; 3] = b"PRI";

async fn connection(stream: TcpStream, tap: Arc<Tap>, shutdown: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let upgraded = Slot::default();
    let mut first = [0; PREFACE.len()];
    let seen = tokio::select! {
        seen = stream.peek(&mut first) => seen,
        // It has asked for nothing.
        () = shutdown.cancelled() => return,
    };
    let ended = match seen {
        Ok(0) => return,
        Ok(seen) if first[..seen] != PREFACE[..seen] => only_http1(stream, tap, &upgraded, &shutdown).await,
        // HTTP/2, or too little to know. Boxed: its room would stay with every connection.
        Ok(_) => Box::pin(any_version(stream, tap, &upgraded, &shutdown)).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = ended {
        // A client that left, or no HTTP: its exchange is counted where it ends.
        tracing::debug!(%error, "connection ended");
    }
    if let Some(upgraded) = upgraded.take() {
        Box::pin(upgraded.pass(shutdown)).await;
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn only_http1(stream: TcpStream, tap: Arc<Tap>, slot: &Slot, shutdown: &CancellationToken) -> Ended {
    let turns = Turns::default();
    let of_exchange = turns.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        // Boxed: hyper keeps the room of a future after it has ended.
        let answer = Box::pin(Arc::clone(&tap).exchange(request, Some(of_exchange.clone()), slot));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = http1::Builder::new();
    // Without writev: an answer is copied into one buffer, which costs less than to list its pieces.
    builder.auto_date_header(false).max_buf_size(MAX_BUFFER_BYTES).writev(false);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let mut shut = pin!(shutdown.cancelled());
    let mut is_shut = false;
    poll_fn(|context| {
        turns.next();
        if !is_shut && shut.as_mut().poll(context).is_ready() {
            is_shut = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await?;
    Ok(())
}

async fn any_version(stream: TcpStream, tap: Arc<Tap>, slot: &Slot, shutdown: &CancellationToken) -> Ended {
    let slot = slot.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (tap, slot) = (Arc::clone(&tap), slot.clone());
        // Its bodies are driven by tasks of their own.
        async move { Ok::<_, Infallible>(tap.exchange(request, None, &slot).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().auto_date_header(false).max_buf_size(MAX_BUFFER_BYTES);
    builder.http2().auto_date_header(false).max_header_list_size(MAX_BUFFER_BYTES as u32);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
