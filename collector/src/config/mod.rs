//! The collector's configuration: one YAML file, unknown fields denied, units in field names.
//!
//! In: the file's text and the environment (`WEIGHBRIDGE_*`, which overrides). Out: a `Config` whose every value is within its
//! range, or an error that names the field and the fix.

mod access_log;
mod otlp;
mod prometheus;
mod standing;
mod tap;
mod uplink;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weighbridge_catalog::Catalogue;
use weighbridge_proto::report::{MAX_WINDOW_S, MIN_WINDOW_S};
use weighbridge_proto::v1::Environment;

use crate::aliases::{AliasError, Aliases};
use crate::deliver::spool::DEFAULT_MAX_BYTES;
use crate::intake::Signal;
use crate::message::names_of;
use crate::profile::{Dialect, Profile};
use crate::window::DEFAULT_WINDOW_S;
pub use access_log::{AccessLogSource, StartAt};
pub use prometheus::{BasicAuth, PrometheusSource, ScrapeTarget};
pub use standing::Precedence;
pub use tap::{TapSource, UpstreamProtocol};
pub use uplink::{Secret, Uplink};

/// Largest request body by default, before and after decompression: four times the default limit of OTLP exporters.
pub const DEFAULT_MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Time for the last reports to be acknowledged after SIGTERM: a third of Kubernetes' default grace period.
pub const DEFAULT_DRAIN_TIMEOUT_S: u64 = 10;

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file.
    #[error("config: {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not YAML, an unknown field, a value of the wrong kind.
    #[error("config: {0}")]
    Parse(String),
    /// A value out of its range.
    #[error("config: {field}: {fix}")]
    Value {
        /// The field.
        field: &'static str,
        /// What to write instead.
        fix: String,
    },
    /// The file of aliases.
    #[error("config: aliases_file: {0}")]
    Aliases(#[from] AliasError),
}

impl ConfigError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            ConfigError::Read { .. } => "read",
            ConfigError::Parse(_) => "parse",
            ConfigError::Value { .. } => "value",
            ConfigError::Aliases(error) => error.code(),
        }
    }
}

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder for identity, spool and ledger; one per collector. Environment: `WEIGHBRIDGE_DATA_FOLDER`.
    pub data_folder: PathBuf,
    /// Where the gateway runs: production, staging, development or unknown. Environment: `WEIGHBRIDGE_ENVIRONMENT`.
    pub environment: String,
    /// Where the collector stands: gateway, server or client. Default: gateway, or server with `behind_gateway`.
    #[serde(default)]
    pub vantage: Option<String>,
    /// The model server that is read stands behind a gateway that is counted: its counts are a cross-check, see `standing`.
    #[serde(default)]
    pub behind_gateway: bool,
    /// Your own name of the gateway instance. Two collectors of this machine with the same one refuse to start, see `claim.rs`.
    /// It never leaves.
    #[serde(default)]
    pub gateway_id: Option<String>,
    /// Folder that these collectors share for their claims. Default: `weighbridge-claims` beside the data folder.
    #[serde(default)]
    pub claims_folder: Option<PathBuf>,
    /// The file that was read, if one was.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The contributor's own names for models, see `aliases.rs`; the file never leaves.
    #[serde(default)]
    pub aliases_file: Option<PathBuf>,
    /// Length of a window, seconds, 10 to 3,600.
    #[serde(default = "default_window")]
    pub window_s: u32,
    /// What is counted. Exactly one: two sources of one gateway would count it twice.
    pub source: Source,
    /// Bounds of what is received.
    #[serde(default)]
    pub receiver: Receiver,
    /// Bounds of what is kept.
    #[serde(default)]
    pub spool: SpoolConfig,
    /// Where reports go.
    pub uplink: Uplink,
    /// `/livez`, `/readyz`, `/metrics`.
    #[serde(default)]
    pub admin: Admin,
}

/// What is counted.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// OTLP from the gateway.
    Otlp(OtlpSource),
    /// Records that the gateway posts.
    Webhook(WebhookSource),
    /// `/metrics` pages, scraped.
    Prometheus(PrometheusSource),
    /// A gateway's access log.
    AccessLog(AccessLogSource),
    /// What passes through a reverse proxy before the server.
    Tap(TapSource),
}

/// OTLP from the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpSource {
    /// Whose telemetry it is.
    pub profile: Profile,
    /// Which signal is counted; the others are taken and not counted.
    pub signal: OtlpSignal,
    /// Address of the gRPC receiver.
    #[serde(default = "default_grpc_listen")]
    pub grpc_listen: Option<SocketAddr>,
    /// Address of the HTTP receiver (protobuf and JSON).
    #[serde(default = "default_http_listen")]
    pub http_listen: Option<SocketAddr>,
}

/// An OTLP signal that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpSignal {
    /// Spans: exact outcome, streaming and fallback.
    Traces,
    /// Metrics: cheapest, less is told.
    Metrics,
}

/// Records that a gateway posts: LiteLLM's `generic_api` callback, Kong's `http-log` plugin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSource {
    /// Whose records they are.
    #[serde(deserialize_with = "webhook_profile")]
    pub profile: Dialect,
    /// Address of the HTTP receiver.
    #[serde(default = "default_webhook_listen")]
    pub listen: SocketAddr,
}

/// Bounds of what is received.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receiver {
    /// Largest request body, bytes, before and after decompression.
    pub max_body_bytes: usize,
}

/// Bounds of what is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolConfig {
    /// Most bytes of unacknowledged reports; beyond it the oldest are dropped and counted.
    pub max_bytes: u64,
}

/// The admin port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub listen: SocketAddr,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver { max_body_bytes: DEFAULT_MAX_BODY_BYTES }
    }
}

impl Default for SpoolConfig {
    fn default() -> Self {
        SpoolConfig { max_bytes: DEFAULT_MAX_BYTES }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: SocketAddr::from(([127, 0, 0, 1], 9_464)) }
    }
}

fn webhook_profile<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Dialect, D::Error> {
    let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    Dialect::of_webhook(&name)
        .map_err(|fix| serde::de::Error::custom(format!("source.webhook.profile: {name}: {fix}")))
}

fn default_window() -> u32 {
    DEFAULT_WINDOW_S
}

fn default_drain_timeout() -> u64 {
    DEFAULT_DRAIN_TIMEOUT_S
}

/// The port that OTLP gives to gRPC, on loopback: a sidecar serves its own pod.
fn default_grpc_listen() -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], 4_317)))
}

/// The port that OTLP gives to HTTP.
fn default_http_listen() -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], 4_318)))
}

/// The next one: the OTLP ports stay free for the gateway's other telemetry.
fn default_webhook_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_319))
}

impl Config {
    /// Reads and checks the file, with the process's environment.
    ///
    /// # Errors
    /// See `ConfigError`.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let mut config = Config::parse(&text, |name| std::env::var(name).ok())?;
        config.file = Some(path.to_path_buf());
        Ok(config)
    }

    /// The contributor's aliases; none without `aliases_file`.
    ///
    /// # Errors
    /// The file cannot be read, or an entry is wrong.
    pub fn aliases(&self, catalogue: &Catalogue) -> Result<Aliases, ConfigError> {
        let file = self.aliases_file.as_deref();
        Ok(file.map(|path| Aliases::load(path, catalogue)).transpose()?.unwrap_or_default())
    }

    /// Parses and checks a text, with `environment` to look up overrides.
    ///
    /// # Errors
    /// See `ConfigError`.
    pub fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let mut config: Config =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Parse(error.to_string()))?;
        if let Some(folder) = environment("WEIGHBRIDGE_DATA_FOLDER") {
            config.data_folder = folder.into();
        }
        if let Some(name) = environment("WEIGHBRIDGE_ENVIRONMENT") {
            config.environment = name;
        }
        if let Some(endpoint) = environment("WEIGHBRIDGE_UPLINK_ENDPOINT") {
            config.uplink.endpoint = endpoint;
        }
        let token = environment("WEIGHBRIDGE_UPLINK_TOKEN").filter(|token| !token.is_empty());
        config.uplink.token = token.map(Secret::new);
        config.check()?;
        Ok(config)
    }

    /// Checks that every value is within its range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |field, fix: String| Err(ConfigError::Value { field, fix });
        self.environment()?;
        self.check_standing()?;
        self.uplink.check()?;
        if !(MIN_WINDOW_S..=MAX_WINDOW_S).contains(&self.window_s) {
            return fail("window_s", format!("write {MIN_WINDOW_S} to {MAX_WINDOW_S} seconds"));
        }
        if let Source::Otlp(otlp) = &self.source {
            otlp.check(self.vantage()?)?;
        }
        if let Source::Prometheus(prometheus) = &self.source {
            prometheus.check()?;
        }
        if let Source::AccessLog(log) = &self.source {
            log.check()?;
        }
        if let Source::Tap(tap) = &self.source {
            tap.check()?;
        }
        if self.receiver.max_body_bytes < 1_024 {
            return fail("receiver.max_body_bytes", "write 1024 or more".to_owned());
        }
        if self.spool.max_bytes < 1_024 * 1_024 {
            return fail("spool.max_bytes", "write 1048576 or more".to_owned());
        }
        Ok(())
    }

    /// The declared environment.
    ///
    /// # Errors
    /// Not one of the names.
    pub fn environment(&self) -> Result<Environment, ConfigError> {
        Environment::from_name(&self.environment).ok_or_else(|| ConfigError::Value {
            field: "environment",
            fix: format!("write one of {}", names_of(Environment::ALL, |value| value.name())),
        })
    }

    /// Name of the profile that reads the source.
    pub fn profile(&self) -> &str {
        match &self.source {
            Source::Otlp(otlp) => otlp.profile.name(),
            Source::Webhook(webhook) => webhook.profile.name(),
            Source::Prometheus(prometheus) => &prometheus.profile,
            Source::AccessLog(log) => log.profile.name(),
            Source::Tap(tap) => tap.profile.name(),
        }
    }

    /// Whose telemetry or log is read; none for pages, which a file of rules reads.
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.source {
            Source::Otlp(otlp) => Some(otlp.profile.into()),
            Source::Webhook(webhook) => Some(webhook.profile),
            Source::Prometheus(_) => None,
            Source::AccessLog(log) => Some(log.profile.into()),
            Source::Tap(tap) => Some(tap.profile.into()),
        }
    }

    /// Which signal is counted.
    pub fn signal(&self) -> Signal {
        match &self.source {
            Source::Otlp(OtlpSource { signal: OtlpSignal::Traces, .. }) => Signal::Traces,
            Source::Otlp(OtlpSource { signal: OtlpSignal::Metrics, .. }) => Signal::Metrics,
            Source::Webhook(_) => Signal::Webhook,
            Source::Prometheus(_) => Signal::Prometheus,
            Source::AccessLog(log) => log.signal(),
            Source::Tap(_) => Signal::Tap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weighbridge_proto::v1::Vantage;

    const MINIMAL: &str = "
data_folder: /tmp/w
environment: production
source: {otlp: {profile: litellm, signal: traces}}
uplink: {endpoint: 'http://127.0.0.1:4500'}
";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, |_| None)
    }

    #[test]
    fn minimal_has_the_documented_defaults() {
        let config = parse(MINIMAL).unwrap();
        assert_eq!(
            (config.window_s, config.vantage().unwrap(), config.signal()),
            (60, Vantage::Gateway, Signal::Traces)
        );
        let Source::Otlp(otlp) = &config.source else { panic!("otlp") };
        assert_eq!(otlp.grpc_listen.unwrap().to_string(), "127.0.0.1:4317");
        assert_eq!(otlp.http_listen.unwrap().to_string(), "127.0.0.1:4318");
        assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9464");
    }

    #[test]
    fn every_fault_names_its_field() {
        let faults = [
            ("window_s: 5", "window_s"),
            ("window_s: 4000", "window_s"),
            ("vantage: rooftop", "vantage"),
            ("windows_s: 60", "windows_s"),
            ("receiver: {max_body_bytes: 1}", "receiver.max_body_bytes"),
            ("spool: {max_bytes: 1}", "spool.max_bytes"),
        ];
        for (line, field) in faults {
            let error = parse(&format!("{MINIMAL}{line}\n")).unwrap_err().to_string();
            assert!(error.contains(field), "{line}: {error}");
        }
        let error = parse(&MINIMAL.replace("http://127.0.0.1:4500", "127.0.0.1")).unwrap_err();
        assert!(error.to_string().contains("uplink.endpoint"), "{error}");
        let error = parse(&MINIMAL.replace("production", "prod")).unwrap_err();
        assert!(error.to_string().contains("environment: write one of production"), "{error}");
        let two = MINIMAL.replace("traces}", "traces}, webhook: {profile: litellm}");
        assert!(parse(&two).is_err(), "two sources of one gateway");
    }

    #[test]
    fn the_sample_is_valid_and_shows_the_defaults() {
        let sample = parse(include_str!("../../../deploy/config/collector.yaml")).unwrap();
        let minimal = parse(MINIMAL).unwrap();
        assert_eq!(sample.window_s, minimal.window_s);
        assert_eq!(sample.vantage().unwrap(), minimal.vantage().unwrap());
        assert_eq!(sample.receiver.max_body_bytes, minimal.receiver.max_body_bytes);
        assert_eq!(sample.spool.max_bytes, minimal.spool.max_bytes);
        assert_eq!(sample.admin.listen, minimal.admin.listen);
        assert_eq!(sample.uplink.drain_timeout_s, minimal.uplink.drain_timeout_s);
        assert_eq!(format!("{:?}", sample.source), format!("{:?}", minimal.source));
    }

    #[test]
    fn environment_overrides() {
        let config = Config::parse(MINIMAL, |name| match name {
            "WEIGHBRIDGE_ENVIRONMENT" => Some("staging".to_owned()),
            "WEIGHBRIDGE_UPLINK_ENDPOINT" => Some("https://ingest:1".to_owned()),
            "WEIGHBRIDGE_DATA_FOLDER" => Some("/data".to_owned()),
            "WEIGHBRIDGE_UPLINK_TOKEN" => Some("secret".to_owned()),
            _ => None,
        });
        let config = config.unwrap();
        assert_eq!(config.environment, "staging");
        assert_eq!(config.uplink.endpoint, "https://ingest:1");
        assert_eq!(config.uplink.token.unwrap().expose(), "secret");
        assert_eq!(config.data_folder, Path::new("/data"));
    }
}
