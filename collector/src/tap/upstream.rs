//! The connections to the upstream: HTTP/1.1, kept between exchanges.
//!
//! A connection is not a task of its own: whoever waits for its answer drives it (`Link::poll`), so that what came in one read
//! leaves in one write. Between exchanges nobody does; before it is used again it is looked at, and one that the server has
//! closed meanwhile is let go. `Upstream::sweep` closes those that are not used.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::Service as _;

use super::MAX_BUFFER_BYTES;
use super::body::RequestBody;
use super::io::Io;
use crate::config::TapSource;
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

/// A connection to the upstream.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    connection: Connection<Io, RequestBody>,
    is_ended: bool,
}

impl Link {
    /// Reads and writes what can be.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        // What went wrong is told where the answer is waited for.
        if !self.is_ended && Pin::new(&mut self.connection).poll(context).is_ready() {
            self.is_ended = true;
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
            if !*is_ended && Pin::new(&mut *connection).poll(context).is_ready() {
                *is_ended = true;
            }
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

/// Where requests go.
pub(super) struct Upstream {
    connector: HttpsConnector<HttpConnector>,
    idle: Mutex<Vec<(Instant, Box<Link>)>>,
    scheme: Scheme,
    authority: Authority,
    /// Path in front of every request's, without a slash at its end.
    base: String,
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
        let builder = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(client_config(source.ca_file.as_deref(), &source.upstream)?)
            .https_or_http();
        let connector = builder.enable_http1().wrap_connector(connector);
        let base =
            parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
        let (scheme, authority) = parts.scheme.zip(parts.authority).ok_or(UpstreamError::Address)?;
        Ok(Upstream { connector, idle: Mutex::default(), scheme, authority, base })
    }

    /// Host of the upstream, as the register knows hosts.
    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    /// What requests call the upstream.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The target of a request for `path` there.
    pub(super) fn target(&self, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
        let path = path.map_or("/", PathAndQuery::as_str);
        if self.base.is_empty() {
            return Uri::builder().path_and_query(path).build();
        }
        Uri::builder().path_and_query(format!("{}{path}", self.base)).build()
    }

    /// Sends a request, over a connection that is there if one is.
    pub(super) async fn send(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Box<Link>), NoAnswer> {
        loop {
            let kept = self.kept().await;
            let is_kept = kept.is_some();
            let mut link = match kept {
                Some(link) => link,
                // Boxed: a future of its size would stay with every connection.
                None => Box::pin(self.connect()).await?,
            };
            match link.send(request).await {
                Ok(answer) => return Ok((answer, link)),
                // A kept connection was closed in the very moment; each round takes one off, so this ends.
                Err((_, Some(unsent))) if is_kept => request = unsent,
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Sends a request that asks for an upgrade, over a connection of its own.
    pub(super) async fn send_upgrade(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let Link { mut sender, connection, .. } = *Box::pin(self.connect()).await?;
        // Its end is told by the body or the upgraded stream.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Ok(sender.send_request(request).await?)
    }

    async fn connect(&self) -> Result<Box<Link>, NoAnswer> {
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query("/")
            .build();
        let uri = uri.map_err(|error| NoAnswer::Unreachable(error.into()))?;
        let mut connector = self.connector.clone();
        poll_fn(|context| connector.poll_ready(context)).await.map_err(NoAnswer::Unreachable)?;
        let io = connector.call(uri).await.map_err(NoAnswer::Unreachable)?;
        let (sender, connection) =
            Builder::new().max_buf_size(MAX_BUFFER_BYTES).handshake(Io::from(io)).await?;
        Ok(Box::new(Link { sender, connection, is_ended: false }))
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
    pub(super) fn keep(&self, link: Box<Link>) {
        let mut idle = self.idle();
        if !link.is_ended && idle.len() < MAX_IDLE {
            idle.push((Instant::now(), link));
        }
    }

    /// Closes the connections that were not used for `IDLE`.
    pub(super) fn sweep(&self) {
        self.idle().retain(|(since, _)| since.elapsed() < IDLE);
    }
}
