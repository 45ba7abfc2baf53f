//! The connections to the upstream.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::MAX_BUFFER_BYTES;
use super::body::RequestBody;
use crate::config::TapSource;

/// How long an unused connection is kept. Servers close theirs after 5 s (Node, uvicorn) or more; a request that is sent just then
/// would be lost.
const IDLE: Duration = Duration::from_secs(4);
/// Unused connections kept.
const MAX_IDLE: usize = 1_024;

/// Why the upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Certificates.
    #[error("source.tap.ca_file: {0}")]
    Certificates(String),
    /// The address.
    #[error("source.tap.upstream: write http://host:port or https://host")]
    Address,
}

/// Where requests go.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, RequestBody>,
    scheme: Scheme,
    authority: Authority,
    /// Path in front of every request's, without a slash at its end.
    base: String,
}

impl Upstream {
    pub(super) fn new(source: &TapSource) -> Result<Upstream, UpstreamError> {
        let parts = source.uri().ok_or(UpstreamError::Address)?.into_parts();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(source.connect_timeout_s)));
        let builder =
            hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls(source)?).https_or_http();
        // With TLS the server chooses; without, HTTP/2 cannot be asked for.
        let connector = builder.enable_http1().enable_http2().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_BUFFER_BYTES)
            .build(connector);
        let base =
            parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
        let (scheme, authority) = parts.scheme.zip(parts.authority).ok_or(UpstreamError::Address)?;
        Ok(Upstream { client, scheme, authority, base })
    }

    /// Host of the upstream, as the register knows hosts.
    pub(super) fn host(&self) -> &str {
        self.authority.host()
    }

    /// The address of a request for `path` there.
    pub(super) fn uri(&self, path: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
        let path = path.map_or("/", PathAndQuery::as_str);
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        if self.base.is_empty() {
            return builder.path_and_query(path).build();
        }
        builder.path_and_query(format!("{}{path}", self.base)).build()
    }

    pub(super) async fn send(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await
    }
}

/// Certificates of `ca_file`, or the system's.
fn tls(source: &TapSource) -> Result<ClientConfig, UpstreamError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &source.ca_file {
        let wrong = |error: &dyn std::fmt::Display| {
            UpstreamError::Certificates(format!("{}: {error}", path.display()))
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    } else if source.upstream.starts_with("https:") {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| UpstreamError::Certificates(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
