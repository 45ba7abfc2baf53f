//! The connections to the upstream: HTTP/1.1, kept between exchanges; those of HTTP/2 are in `upstream_h2`.
//!
//! A connection is not a task of its own: whoever waits for its answer drives it (`Link::poll_body`), so that what came in one
//! read leaves in one write. Between exchanges nobody does; before it is used again it is looked at, and one that the server has
//! closed meanwhile is let go. `Upstream::sweep` closes those that are not used.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::uri::{self, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::Service as _;

use super::MAX_BUFFER_BYTES;
use super::body::{Polled, RequestBody};
use super::io::Io;
use super::turn::Turn;
use super::upstream_h2::{Opened, Place, Pool, Target};
use crate::config::{TapSource, UpstreamProtocol};
use crate::tls::{TlsError, client_config};

/// How long an unused connection is kept. Servers close theirs after 5 s (Node, uvicorn) or more; a request that is sent just then
/// would be lost.
pub(super) const IDLE: Duration = Duration::from_secs(4);
/// Unused connections kept.
const MAX_IDLE: usize = 1_024;

/// Why the upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Certificates.
    #[error("source.tap.ca_file: {0}")]
    Certificates(#[from] TlsError),
    /// The address.
    #[error("source.tap.upstream: write http://host:port or https://host")]
    Address,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// No connection.
    #[error("no connection: {0}")]
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    /// It broke, or what came is no HTTP.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
}

/// What an answer comes over.
pub(super) enum Over {
    /// A connection of its own, driven by whoever waits for it.
    Own(Box<Link>),
    /// A place on one that is shared.
    Shared(Place),
}

/// A connection to the upstream.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    connection: Connection<Io, RequestBody>,
    turn: Turn,
    is_ended: bool,
}

impl Link {
    /// Reads and writes what can be.
    fn poll(&mut self, context: &mut Context<'_>) {
        drive(&mut self.connection, &mut self.is_ended, context);
    }

    /// The next piece of `body`, which comes over this connection: reads it if it is there.
    pub(super) fn poll_body(&mut self, context: &Context<'_>, body: &mut Incoming) -> Poll<Polled> {
        let Link { connection, turn, is_ended, .. } = self;
        turn.begin(context);
        loop {
            drive(connection, is_ended, &mut Context::from_waker(turn.waker()));
            // Only the connection fills it, which is driven first: nobody has to be woken for it.
            let polled = Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                turn.leave();
                return polled;
            }
            if turn.end() {
                return Poll::Pending;
            }
        }
    }

    /// Sends a request and waits for the head of its answer. A request of which nothing was sent comes back.
    async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<RequestBody>>)> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let (connection, is_ended) = (&mut self.connection, &mut self.is_ended);
        poll_fn(|context| {
            drive(connection, is_ended, context);
            answer.as_mut().poll(context)
        })
        .await
        .map_err(|mut error| {
            let unsent = error.take_message();
            (error.into_error(), unsent)
        })
    }

    /// Lets it go on by itself, for this one exchange: what is still sent does not wait for what is read then.
    pub(super) fn detach(self: Box<Self>) {
        if !self.is_ended {
            // Its end is told by the body.
            tokio::spawn(async move { drop(self.connection.await) });
        }
    }
}

fn drive(connection: &mut Connection<Io, RequestBody>, is_ended: &mut bool, context: &mut Context<'_>) {
    // What went wrong is told where the answer is waited for.
    if !*is_ended && Pin::new(connection).poll(context).is_ready() {
        *is_ended = true;
    }
}

/// Where requests go.
pub(super) struct Upstream {
    /// Speaks HTTP/1.1 only.
    connector: HttpsConnector<HttpConnector>,
    idle: Mutex<Vec<(Instant, Box<Link>)>>,
    /// There if HTTP/2 may be spoken.
    http2: Option<Http2>,
    target: Target,
    /// The same as a header's value.
    authority: HeaderValue,
    /// Path in front of every request's, without a slash at its end.
    base: String,
}

struct Http2 {
    pool: Pool,
    /// Offers HTTP/2.
    connector: HttpsConnector<HttpConnector>,
    /// Without TLS nothing is negotiated: it is spoken at once.
    is_sure: bool,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

impl Upstream {
    pub(super) fn new(source: &TapSource) -> Result<Upstream, UpstreamError> {
        let parts = source.uri().ok_or(UpstreamError::Address)?.into_parts();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(source.connect_timeout_s)));
        let tls = client_config(source.ca_file.as_deref(), &source.upstream)?;
        let builder =
            || hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
        let is_sure = parts.scheme == Some(Scheme::HTTP);
        let http2 = match source.upstream_protocol {
            UpstreamProtocol::Http1 => None,
            UpstreamProtocol::Auto if is_sure => None,
            UpstreamProtocol::Auto => Some(builder().enable_all_versions()),
            UpstreamProtocol::Http2 => Some(builder().enable_http2()),
        };
        let http2 = http2.map(|builder| {
            let connector = builder.wrap_connector(connector.clone());
            Http2 { pool: Pool::default(), connector, is_sure }
        });
        let connector = builder().enable_http1().wrap_connector(connector);
        let base =
            parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
        let (scheme, authority) = parts.scheme.zip(parts.authority).ok_or(UpstreamError::Address)?;
        let target = Target { scheme, authority };
        let authority =
            HeaderValue::from_str(target.authority.as_str()).map_err(|_| UpstreamError::Address)?;
        Ok(Upstream { connector, idle: Mutex::default(), http2, target, authority, base })
    }

    /// Host of the upstream, as the register knows hosts.
    pub(super) fn host(&self) -> &str {
        self.target.authority.host()
    }

    /// What requests call the upstream.
    pub(super) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The target of a request for `path` there.
    pub(super) fn target(&self, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(match path {
            Some(path) if self.base.is_empty() => path.clone(),
            _ => {
                let path = path.map_or("/", PathAndQuery::as_str);
                PathAndQuery::try_from(format!("{}{path}", self.base))?
            }
        });
        Ok(Uri::from_parts(parts)?)
    }

    /// Sends a request, over a connection that is there if one is.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Over), NoAnswer> {
        loop {
            let (over, is_kept) = match self.open_one().await {
                Some(over) => (over, true),
                // Boxed: a future of its size would stay with every connection.
                None => (Box::pin(self.connect()).await?, false),
            };
            let sent = match over {
                Over::Own(mut link) => link.send(request).await.map(|answer| (answer, Over::Own(link))),
                Over::Shared(place) => {
                    place.send(request, &self.target).await.map(|answer| (answer, Over::Shared(place)))
                }
            };
            match sent {
                Ok(answered) => return Ok(answered),
                // A kept connection was closed in the very moment; each round takes one off, so this ends.
                Err((_, Some(unsent))) if is_kept => request = unsent,
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// A connection that is open and has room.
    async fn open_one(&self) -> Option<Over> {
        match self.http2.as_ref().and_then(|http2| http2.pool.place()) {
            Some(place) => Some(Over::Shared(place)),
            None => self.kept().await.map(Over::Own),
        }
    }

    /// Sends a request that asks for an upgrade, over a connection of its own.
    pub(super) async fn send_upgrade(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let io = Box::pin(self.connect_with(&self.connector)).await?;
        let Link { mut sender, connection, .. } = *link(io).await?;
        // Its end is told by the body or the upgraded stream.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> Result<Over, NoAnswer> {
        let Some(http2) = &self.http2 else {
            return Ok(Over::Own(link(self.connect_with(&self.connector).await?).await?));
        };
        let opened = http2.pool.open(async {
            let io = self.connect_with(&http2.connector).await?;
            let is_http2 = http2.is_sure || io.is_negotiated_http2();
            Ok((io, is_http2))
        });
        match opened.await? {
            Opened::Http1(io) => Ok(Over::Own(link(*io).await?)),
            Opened::Http2(place) => Ok(Over::Shared(place)),
        }
    }

    async fn connect_with(&self, connector: &HttpsConnector<HttpConnector>) -> Result<Io, NoAnswer> {
        let uri = Uri::builder()
            .scheme(self.target.scheme.clone())
            .authority(self.target.authority.clone())
            .path_and_query("/")
            .build();
        let uri = uri.map_err(|error| NoAnswer::Unreachable(error.into()))?;
        let mut connector = connector.clone();
        poll_fn(|context| connector.poll_ready(context)).await.map_err(NoAnswer::Unreachable)?;
        Ok(Io::from(connector.call(uri).await.map_err(NoAnswer::Unreachable)?))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Box<Link>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if it is still good.
    async fn kept(&self) -> Option<Box<Link>> {
        loop {
            let (since, mut link) = self.idle().pop()?;
            let is_ready = poll_fn(|context| {
                link.poll(context);
                Poll::Ready(matches!(link.sender.poll_ready(context), Poll::Ready(Ok(()))))
            });
            if since.elapsed() < IDLE && is_ready.await && !link.is_ended {
                return Some(link);
            }
        }
    }

    /// Keeps a connection whose answer has passed whole.
    pub(super) fn keep(&self, mut link: Box<Link>) {
        link.turn.forget();
        let mut idle = self.idle();
        if !link.is_ended && idle.len() < MAX_IDLE {
            idle.push((Instant::now(), link));
        }
    }

    /// Closes the connections that were not used for `IDLE`.
    pub(super) fn sweep(&self) {
        self.idle().retain(|(since, _)| since.elapsed() < IDLE);
        if let Some(http2) = &self.http2 {
            http2.pool.sweep();
        }
    }
}

/// Begins HTTP/1.1.
async fn link(io: Io) -> Result<Box<Link>, NoAnswer> {
    let (sender, connection) = Builder::new().max_buf_size(MAX_BUFFER_BYTES).handshake(io).await?;
    Ok(Box::new(Link { sender, connection, turn: Turn::new(), is_ended: false }))
}
