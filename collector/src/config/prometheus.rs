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
            if self.targets[..place].iter().any(|other| other.url == target.url) {
                return fail(
                    "source.prometheus.targets.url",
                    "an address is given twice; it would count twice".to_owned(),
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
