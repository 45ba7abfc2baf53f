//! `source: tap:` where the tap listens, and what it stands before.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;

use super::ConfigError;
use crate::profile::tap::TapProfile;

/// A reverse proxy before a server that tells nothing by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapSource {
    /// Address that clients use instead of the server's.
    pub listen: SocketAddr,
    /// Address of the server, `http://` or `https://`; a path in it comes before every request's.
    pub upstream: String,
    /// What the server is: a file of `collector/profiles/tap/`.
    pub profile: TapProfile,
    /// The model it serves, where its answers do not say so or repeat the client's word.
    #[serde(default)]
    pub served_model: String,
    /// Connections of clients at one time; more wait.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// Seconds for a connection to the server, 1 to 60.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_s: u64,
    /// Seconds for open exchanges to end after SIGTERM; then they are cut.
    #[serde(default = "default_drain_timeout")]
    pub drain_timeout_s: u64,
    /// What is spoken to the server.
    #[serde(default)]
    pub upstream_protocol: UpstreamProtocol,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// The version of HTTP that is spoken to the server. Upgrades, such as WebSockets, are always asked for in HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// What the server chooses of HTTP/2 and HTTP/1.1 with TLS (ALPN); HTTP/1.1 without.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: with TLS nothing else is offered, without it is spoken by prior knowledge.
    Http2,
}

/// Ten thousand slow streams, with room.
fn default_max_connections() -> usize {
    16_384
}

/// The server is near.
fn default_connect_timeout() -> u64 {
    5
}

/// Half of Kubernetes' default grace period of 30 s: with the last reports (`uplink.drain_timeout_s`, 10) and the ends of connections
/// it stays within it.
fn default_drain_timeout() -> u64 {
    15
}

impl TapSource {
    /// The server's address.
    pub fn uri(&self) -> Option<Uri> {
        let uri: Uri = self.upstream.parse().ok()?;
        (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none())
            .then_some(uri)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let fail = |field, fix: &str| Err(ConfigError::Value { field, fix: fix.to_owned() });
        let Some(uri) = self.uri() else {
            return fail("source.tap.upstream", "write http://host:port or https://host");
        };
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        // Only addresses and localhost are looked at: no name is asked for here.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        let is_itself = host.parse().is_ok_and(|ip: std::net::IpAddr| {
            let same_host = ip == self.listen.ip() || (self.listen.ip().is_unspecified() && ip.is_loopback());
            same_host && port == self.listen.port()
        });
        if is_itself {
            return fail(
                "source.tap.upstream",
                "write the server's address; this is where the tap itself listens",
            );
        }
        if self.max_connections == 0 {
            return fail("source.tap.max_connections", "write 1 or more");
        }
        if !(1..=60).contains(&self.connect_timeout_s) {
            return fail("source.tap.connect_timeout_s", "write 1 to 60 seconds");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::UpstreamProtocol;
    use crate::config::{Config, Source};

    #[test]
    fn a_tap_knows_its_upstream() {
        let with = |fields: &str| {
            let text = format!(
                "data_folder: /tmp/w\nenvironment: production\nsource: {{tap: {{{fields}}}}}\n\
                 uplink: {{endpoint: 'http://127.0.0.1:1'}}\n"
            );
            Config::parse(&text, |_| None)
        };
        let config =
            with("profile: auto, listen: '127.0.0.1:11435', upstream: 'http://127.0.0.1:11434'").unwrap();
        let Source::Tap(tap) = &config.source else { panic!("tap") };
        assert_eq!((tap.profile.name(), tap.max_connections, tap.drain_timeout_s), ("auto", 16_384, 15));
        with("listen: '0.0.0.0:1', upstream: 'https://api.example.com/v1', profile: ollama, served_model: x")
            .unwrap();
        for (name, protocol) in [
            ("auto", UpstreamProtocol::Auto),
            ("http1", UpstreamProtocol::Http1),
            ("http2", UpstreamProtocol::Http2),
        ] {
            let fields = format!(
                "profile: auto, listen: '127.0.0.1:1', upstream: 'http://x', upstream_protocol: {name}"
            );
            let Source::Tap(tap) = with(&fields).unwrap().source else { panic!("tap") };
            assert_eq!(tap.upstream_protocol, protocol);
        }
        let faults = [
            ("profile: auto, listen: '127.0.0.1:1', upstream: 'http://x', upstream_protocol: h3", "http2"),
            ("profile: auto, listen: '127.0.0.1:1', upstream: 'example.com'", "source.tap.upstream"),
            ("profile: auto, listen: '127.0.0.1:1', upstream: 'ftp://example.com'", "source.tap.upstream"),
            (
                "profile: auto, listen: '127.0.0.1:80', upstream: 'http://127.0.0.1'",
                "where the tap itself listens",
            ),
            (
                "profile: auto, listen: '0.0.0.0:9', upstream: 'http://localhost:9/x'",
                "where the tap itself listens",
            ),
            (
                "listen: '127.0.0.1:1', upstream: 'http://x', profile: olama",
                "tap.profile: olama: write one of auto, llama-cpp, ollama",
            ),
            (
                "profile: auto, listen: '127.0.0.1:1', upstream: 'http://x', max_connections: 0",
                "source.tap.max_connections",
            ),
            (
                "profile: auto, listen: '127.0.0.1:1', upstream: 'http://x', connect_timeout_s: 0",
                "source.tap.connect_timeout_s",
            ),
            ("profile: auto, listen: '127.0.0.1:1'", "upstream"),
        ];
        for (fields, expected) in faults {
            let error = with(fields).unwrap_err().to_string();
            assert!(error.contains(expected), "{fields}: {error}");
        }
    }
}
