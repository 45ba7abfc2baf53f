//! How the uplink reaches ingest: plain or TLS, with a token, a client certificate, both or neither.
//!
//! Files are read at every connection, so that a rotated token, certificate or authority needs no restart. What is wrong with them
//! ends the attempt, not the collector: reports stay in the spool.

use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::config::{ConfigError, Secret, Uplink};
use crate::message::chain;
use crate::tls::{self, Identity};

const HTTPS_PORT: u16 = 443;

/// Why there is no connection. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}: {1}")]
    File(String, String),
    #[error("{0}: not a token that fits into a header")]
    Token(String),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("{}", chain(.0))]
    Connect(#[from] tonic::transport::Error),
}

/// Connects to ingest.
#[derive(Clone, Debug)]
pub struct Dialer {
    pub(super) endpoint: Endpoint,
    uplink: Option<Uplink>,
}

/// Without TLS and credentials.
impl From<Endpoint> for Dialer {
    fn from(endpoint: Endpoint) -> Dialer {
        Dialer { endpoint, uplink: None }
    }
}

impl Dialer {
    /// As the configuration says. Reads no file yet.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub fn new(uplink: &Uplink) -> Result<Dialer, ConfigError> {
        Ok(Dialer { endpoint: uplink.endpoint()?, uplink: Some(uplink.clone()) })
    }

    /// A connection, and what to send as `Authorization` over it.
    pub(super) async fn connect(&self) -> Result<(Channel, Option<MetadataValue<Ascii>>), DialError> {
        let authorization = self.uplink.as_ref().map(authorization).transpose()?.flatten();
        let channel = match &self.uplink {
            Some(uplink) if self.endpoint.uri().scheme_str() == Some("https") => {
                let tls = connector(uplink)?;
                let dial = move |uri: Uri| secured(tls.clone(), uri);
                self.endpoint.connect_with_connector(tower::service_fn(dial)).await?
            }
            _ => self.endpoint.connect().await?,
        };
        Ok((channel, authorization))
    }
}

fn connector(uplink: &Uplink) -> Result<TlsConnector, DialError> {
    let identity = uplink.client_certificate_file.as_deref().zip(uplink.client_key_file.as_deref());
    let identity = identity.map(|(certificate, key)| Identity { certificate, key });
    let mut config = tls::client_config_with(uplink.ca_file.as_deref(), &uplink.endpoint, identity)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn secured(tls: TlsConnector, uri: Uri) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(HTTPS_PORT))).await?;
    stream.set_nodelay(true)?;
    let name =
        ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(TokioIo::new(tls.connect(name, stream).await?))
}

fn authorization(uplink: &Uplink) -> Result<Option<MetadataValue<Ascii>>, DialError> {
    let (token, from) = match (&uplink.token, &uplink.token_file) {
        (Some(token), _) => (token.clone(), "WEIGHBRIDGE_UPLINK_TOKEN".to_owned()),
        (None, Some(path)) => (read(path)?, path.display().to_string()),
        (None, None) => return Ok(None),
    };
    let value = format!("Bearer {}", token.expose().trim());
    let mut value: MetadataValue<Ascii> = value.parse().map_err(|_| DialError::Token(from))?;
    // Kept out of header compression and of Debug.
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read(path: &Path) -> Result<Secret, DialError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| DialError::File(path.display().to_string(), error.to_string()))?;
    Ok(Secret::new(text))
}
