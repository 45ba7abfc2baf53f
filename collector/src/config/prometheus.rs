//! `source: prometheus:` which pages are scraped, and with which credentials.

use std::path::PathBuf;

use serde::Deserialize;
use tonic::transport::Endpoint;

use super::ConfigError;
use crate::profile::rules;

/// `/metrics` pages, scraped.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSource {
    /// Whose pages they are: a file of `collector/profiles/`.
    pub profile: String,
    /// The pages. Each process has its own; never an address with a load balancer behind it.
    pub targets: Vec<ScrapeTarget>,
    /// The names on the pages whose requests count; without it all. For ensembles (Triton), whose parts count a request again.
    #[serde(default)]
    pub entry_models: Vec<String>,
    /// Seconds between two pages of a target, 5 to 300.
    #[serde(default = "default_scrape_interval")]
    pub interval_s: u64,
    /// Seconds for one page, 1 to the interval.
    #[serde(default = "default_scrape_timeout")]
    pub timeout_s: u64,
}

/// One page.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrapeTarget {
    /// `http://` or `https://` address of the page.
    pub url: String,
    /// The model it serves, for servers whose pages do not say so (TGI).
    #[serde(default)]
    pub model: String,
    /// File with a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// Basic authentication.
    pub basic_auth: Option<BasicAuth>,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Basic authentication.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// User.
    pub username: String,
    /// File with the password.
    pub password_file: PathBuf,
}

/// A crash between two pages loses nothing; this bounds how late a window tells of its last requests.
fn default_scrape_interval() -> u64 {
    15
}

/// Servers under load answer late; two thirds of the interval.
fn default_scrape_timeout() -> u64 {
    10
}

impl PrometheusSource {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let fail = |field, fix: String| Err(ConfigError::Value { field, fix });
        if let Err(error) = rules::named(&self.profile) {
            return fail("source.prometheus.profile", error.fix);
        }
        if self.targets.is_empty() {
            return fail("source.prometheus.targets", "write at least one target with its url".to_owned());
        }
        for (place, target) in self.targets.iter().enumerate() {
            let is_url = Endpoint::from_shared(target.url.clone())
                .is_ok_and(|url| matches!(url.uri().scheme_str(), Some("http" | "https")));
            if !is_url {
                return fail("source.prometheus.targets.url", "write http://host:port/metrics".to_owned());
            }
            let identity = page_identity(&target.url);
            if let Some(other) =
                self.targets[..place].iter().find(|other| page_identity(&other.url) == identity)
            {
                return fail(
                    "source.prometheus.targets.url",
                    format!(
                        "{} and {} are one page, which would count twice; remove one",
                        other.url, target.url
                    ),
                );
            }
            if target.bearer_token_file.is_some() && target.basic_auth.is_some() {
                return fail(
                    "source.prometheus.targets",
                    "write bearer_token_file or basic_auth, not both".to_owned(),
                );
            }
        }
        if !(5..=300).contains(&self.interval_s) {
            return fail("source.prometheus.interval_s", "write 5 to 300 seconds".to_owned());
        }
        if !(1..=self.interval_s).contains(&self.timeout_s) {
            return fail("source.prometheus.timeout_s", "write 1 second to interval_s".to_owned());
        }
        Ok(())
    }
}

/// What two spellings of one page's address share: scheme, host, port and path without what makes no difference.
fn page_identity(url: &str) -> String {
    let Ok(uri) = url.parse::<http::Uri>() else { return url.to_owned() };
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let is_loopback = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
    let host = if is_loopback { "localhost" } else { host.trim_end_matches('.') };
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let path = uri.path().trim_end_matches('/');
    let query = uri.query().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    format!("{scheme}://{host}:{port}{path}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_page_are_one_page() {
        let page = "http://localhost:80/metrics";
        for same in [
            "http://localhost/metrics",
            "http://localhost/metrics/",
            "HTTP://LocalHost:80/metrics",
            "http://127.0.0.1/metrics",
            "http://[::1]:80/metrics?",
        ] {
            assert_eq!(page_identity(same), page_identity(page), "{same}");
        }
        for other in [
            "http://localhost:81/metrics",
            "https://localhost/metrics",
            "http://localhost/metrics?target=b",
            "http://localhost/stats",
            "http://10.0.0.1/metrics",
        ] {
            assert_ne!(page_identity(other), page_identity(page), "{other}");
        }
    }
}
