//! Connections: accepted, secured, and handed to gRPC with the key of the client's certificate and nothing else of the client.
//!
//! A connection that fails to secure itself is counted and closed; it is not named anywhere. At most `MAX_HANDSHAKES` are between
//! accepted and secured, each for at most `HANDSHAKE_TIMEOUT`; beyond that the kernel's backlog holds them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::guard::{Guard, HandshakeFailure};
use super::roster::KeyDigest;
use super::tls::key_digest;

/// Longer than a slow network needs, shorter than somebody who holds connections open would like.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A handshake is half a millisecond of work; more at once only wait for each other.
const MAX_HANDSHAKES: usize = 512;
/// Secured connections that gRPC has not taken yet.
const ACCEPTED_AHEAD: usize = 64;
/// After an error of `accept`: out of descriptors, as a rule, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What ingest knows of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peer {
    /// Of the client's certificate, which TLS has verified.
    pub(super) key: Option<KeyDigest>,
}

/// A connection, secured if the door has a certificate.
pub(crate) struct Connection {
    io: Io,
    peer: Peer,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Accepts until `stop`.
pub(crate) fn start(
    listener: TcpListener,
    guard: Arc<Guard>,
    stop: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (out, accepted) = mpsc::channel(ACCEPTED_AHEAD);
    tokio::spawn(accept(listener, guard, out, stop));
    ReceiverStream::new(accepted)
}

async fn accept(
    listener: TcpListener,
    guard: Arc<Guard>,
    out: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let next = async {
            let permit = Arc::clone(&handshakes).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        let stream = match accepted {
            // The address is dropped here.
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(kind = ?error.kind(), "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (guard, out) = (Arc::clone(&guard), out.clone());
        tokio::spawn(async move {
            if let Some(connection) = secure(stream, &guard).await {
                // Nobody takes it any more when ingest stops.
                let _ = out.send(Ok(connection)).await;
            }
            drop(permit);
        });
    }
}

async fn secure(stream: TcpStream, guard: &Guard) -> Option<Connection> {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(kind = ?error.kind(), "a connection was gone at once");
        return None;
    }
    let Some(acceptor) = guard.acceptor() else {
        return Some(Connection { io: Io::Plain(stream), peer: Peer::default() });
    };
    let failure = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            // A certificate that TLS verified can be parsed; one that could not would be no certificate.
            let key = certificate.and_then(key_digest);
            return Some(Connection { io: Io::Tls(Box::new(stream)), peer: Peer { key } });
        }
        Ok(Err(_)) => HandshakeFailure::Tls,
        Err(_) => HandshakeFailure::Timeout,
    };
    guard.handshake_failed(failure);
    None
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
