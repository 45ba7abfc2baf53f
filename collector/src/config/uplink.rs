//! The section `uplink`: where reports go, and how the collector shows whose it is.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use tonic::transport::{Endpoint, Uri};

use super::{ConfigError, default_drain_timeout};

/// Where reports go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// `https://host:port` or `http://host:port` of ingest. Environment: `WEIGHBRIDGE_UPLINK_ENDPOINT`.
    pub endpoint: String,
    /// Authorities that ingest's certificate is checked against, PEM; none: the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// File with the token that ingest's operator gave; read at every connection, so that a new one needs no restart.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The token itself, from the environment only: `WEIGHBRIDGE_UPLINK_TOKEN`.
    #[serde(skip)]
    pub token: Option<Secret>,
    /// Certificate chain to show to ingest, PEM; read at every connection.
    #[serde(default)]
    pub client_certificate_file: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(default)]
    pub client_key_file: Option<PathBuf>,
    /// Seconds for the last reports to be acknowledged after SIGTERM.
    #[serde(default = "default_drain_timeout")]
    pub drain_timeout_s: u64,
}

/// A value that shows as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Uplink {
    /// To an ingest of this machine: without TLS and credentials.
    pub fn plain(endpoint: String, drain_timeout_s: u64) -> Uplink {
        Uplink {
            endpoint,
            ca_file: None,
            token_file: None,
            token: None,
            client_certificate_file: None,
            client_key_file: None,
            drain_timeout_s,
        }
    }

    /// The ingest endpoint.
    ///
    /// # Errors
    /// Not a URL.
    pub fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        let endpoint = Endpoint::from_shared(self.endpoint.clone()).ok();
        let known = |endpoint: &Endpoint| matches!(endpoint.uri().scheme_str(), Some("http" | "https"));
        endpoint.filter(known).ok_or_else(|| ConfigError::Value {
            field: "uplink.endpoint",
            fix: "write a URL such as https://weighbridge-ingest:4750".to_owned(),
        })
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let fail = |field, fix: &str| Err(ConfigError::Value { field, fix: fix.to_owned() });
        let endpoint = self.endpoint()?;
        let secured = endpoint.uri().scheme_str() == Some("https");
        if self.client_certificate_file.is_some() != self.client_key_file.is_some() {
            return fail(
                "uplink.client_certificate_file",
                "write client_certificate_file and client_key_file",
            );
        }
        if self.token.is_some() && self.token_file.is_some() {
            return fail("uplink.token_file", "write token_file or set WEIGHBRIDGE_UPLINK_TOKEN, not both");
        }
        if !secured && self.client_certificate_file.is_some() {
            return fail("uplink.client_certificate_file", "a certificate needs an endpoint with https:");
        }
        if !secured && self.ca_file.is_some() {
            return fail("uplink.ca_file", "authorities need an endpoint with https:");
        }
        let has_token = self.token.is_some() || self.token_file.is_some();
        if has_token && !secured && !is_loopback(endpoint.uri()) {
            return fail(
                "uplink.endpoint",
                "a token needs an endpoint with https:, it would cross the network readable",
            );
        }
        Ok(())
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uplink(text: &str, token: Option<&str>) -> Result<Uplink, ConfigError> {
        let mut uplink: Uplink = serde_saphyr::from_str(text).unwrap();
        uplink.token = token.map(Secret::new);
        uplink.check().map(|()| uplink)
    }

    #[test]
    fn a_token_does_not_cross_a_network_readable() {
        for taken in [
            "{endpoint: 'https://ingest:4750', token_file: a}",
            "{endpoint: 'http://127.0.0.1:4750', token_file: a}",
            "{endpoint: 'http://[::1]:4750', token_file: a}",
            "{endpoint: 'http://localhost:4750', token_file: a}",
            "{endpoint: 'http://ingest:4750'}",
            "{endpoint: 'https://ingest', ca_file: a, client_certificate_file: b, client_key_file: c}",
        ] {
            uplink(taken, None).unwrap();
        }
        for (refused, field) in [
            ("{endpoint: 'http://ingest:4750', token_file: a}", "uplink.endpoint"),
            ("{endpoint: 'ftp://ingest:4750'}", "uplink.endpoint"),
            ("{endpoint: 'http://ingest', ca_file: a}", "uplink.ca_file"),
            ("{endpoint: 'https://ingest', client_key_file: a}", "uplink.client_certificate_file"),
            (
                "{endpoint: 'http://127.0.0.1', client_certificate_file: a, client_key_file: b}",
                "uplink.client_certificate_file",
            ),
        ] {
            let error = uplink(refused, None).unwrap_err().to_string();
            assert!(error.contains(field), "{refused}: {error}");
        }
        assert!(uplink("{endpoint: 'http://ingest'}", Some("a")).is_err());
        assert!(uplink("{endpoint: 'https://ingest', token_file: a}", Some("a")).is_err());
    }

    #[test]
    fn a_token_does_not_show() {
        let uplink = uplink("{endpoint: 'https://ingest'}", Some("top-secret")).unwrap();
        assert!(!format!("{uplink:?}").contains("top-secret"));
    }
}
