//! Connections: accepted, secured, and handed to gRPC with the key of the client's certificate and nothing else of the client.
//!
//! A connection that fails to secure itself is counted and closed; it is not named anywhere. At most `MAX_HANDSHAKES` are between
//! accepted and secured, each for at most `HANDSHAKE_TIMEOUT`; beyond that the kernel's backlog holds them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
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

/// A peer that is gone without a word is noticed within 15 s, by the kernel: collectors ask with pings of HTTP/2 whether ingest is
/// there, and ingest asking them as well would be more work than their reports.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 1;

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
    if let Err(error) = prepare(&stream) {
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

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    // The same for what was sent and is not confirmed.
    let limit = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL;
    Ok(sockopt::set_tcp_user_timeout(stream, limit.as_millis() as u32)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_asks_for_a_silent_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream).unwrap();
        // 02: the timer of keep-alive runs. Before, none did.
        let (table, port) =
            (std::fs::read_to_string("/proc/self/net/tcp").unwrap(), listener.local_addr().unwrap().port());
        let own = format!(":{port:04X} ");
        let of_server =
            |line: &&str| line.split_whitespace().nth(3) == Some("01") && line[..22].contains(&own);
        let line = table.lines().find(of_server).unwrap();
        let (kind, left) = line.split_whitespace().nth(5).unwrap().split_once(':').unwrap();
        let left = u64::from_str_radix(left, 16).unwrap();
        assert_eq!(kind, "02", "{line}");
        assert!((1..=1_000).contains(&left), "{left} ticks of 10 ms: {line}");
    }
}
