//! The section `ingest`, and in it the door.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Ingest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Address of the gRPC service.
    pub listen: SocketAddr,
    /// Oldest window taken, days before ingest's clock: a day less than the ledger keeps, so that the rollup, which leaves a
    /// day alone once its rows expire, still sees every row.
    pub accept_past_days: u64,
    /// Newest window taken, days ahead of ingest's clock: a collector in another time zone with a clock set to local time.
    pub accept_future_days: u64,
    /// Reports of one stream between receipt and answer.
    pub reports_in_flight_per_stream: usize,
    /// Bytes of all streams between receipt and answer. Over it reports are answered RETRY.
    pub bytes_in_flight: usize,
    /// Largest gRPC message. Over the largest report (512 KiB), so that a report that is too large gets an answer; a message
    /// over this one ends the stream.
    pub message_bytes: usize,
    /// How long Kafka may take before the answer is RETRY.
    pub delivery_timeout_ms: u64,
    /// What a RETRY asks the collector to wait at least; up to twice as long, so that collectors do not come back at once.
    pub retry_after_ms: u32,
    /// Age at which a stream is ended in order, between four fifths of it and all of it, and its connection after that: streams
    /// spread over instances that came later, and a client certificate that expired meanwhile is noticed.
    pub max_connection_age_s: u64,
    /// Who may send.
    pub door: Door,
    /// From SIGTERM until everything must be answered or dropped: within Kubernetes' 30 s.
    pub drain_ms: u64,
}

impl Default for Ingest {
    fn default() -> Self {
        Ingest {
            listen: SocketAddr::from(([0, 0, 0, 0], 4750)),
            accept_past_days: 34,
            accept_future_days: 1,
            reports_in_flight_per_stream: 64,
            bytes_in_flight: 64 * 1024 * 1024,
            message_bytes: 2 * 1024 * 1024,
            delivery_timeout_ms: 30_000,
            retry_after_ms: 1_000,
            max_connection_age_s: 3_600,
            door: Door::default(),
            drain_ms: 20_000,
        }
    }
}

/// Who may send reports, and how the connection is secured. Files are read again when they change; no restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Door {
    /// Who may send.
    pub mode: DoorMode,
    /// Registry of contributors, which `weighbridge-aggregator contributor` keeps. Needed by `mode: registered`.
    pub contributors_file: Option<PathBuf>,
    /// 64 hexadecimal digits: the key of pseudonyms, the same in every instance, for as long as any data is kept. `contributor
    /// add` makes it when it is missing. Needed by `mode: registered`.
    pub pseudonym_key_file: Option<PathBuf>,
    /// Certificate chain of this server, PEM. With it every connection must be TLS; without it `mode: registered` listens on
    /// loopback only.
    pub certificate_file: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// Authorities of client certificates, PEM. With it a contributor may show a certificate instead of a token.
    pub client_ca_file: Option<PathBuf>,
    /// What one contributor may send to one instance; over it reports are answered RETRY.
    pub quota: Quota,
}

/// Who may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DoorMode {
    /// Whoever is on this machine; ingest refuses to listen on any other address. For a laptop and for tests.
    #[default]
    Loopback,
    /// Whoever reaches the port: for a network where everybody is trusted.
    Open,
    /// Contributors of the registry only.
    Registered,
}

/// What one contributor may send. An organisation with half a million collectors stays below both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Reports a minute; a minute's worth may come at once.
    pub reports_per_minute: u64,
    /// Bytes of reports a minute; a minute's worth may come at once.
    pub bytes_per_minute: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Quota { reports_per_minute: 600_000, bytes_per_minute: 1024 * 1024 * 1024 }
    }
}

impl Ingest {
    pub(super) fn check(&self, ledger_ttl_days: u16) -> Result<(), ConfigError> {
        let refuse = |field, problem: &str| Err(ConfigError::Value { field, problem: problem.to_owned() });
        if self.accept_past_days >= u64::from(ledger_ttl_days) {
            return refuse("ingest.accept_past_days", "must be less than clickhouse.ledger_ttl_days");
        }
        if self.message_bytes <= weighbridge_proto::report::MAX_REPORT_BYTES {
            return refuse("ingest.message_bytes", "must be over the largest report, 524288");
        }
        if self.bytes_in_flight < self.message_bytes {
            return refuse("ingest.bytes_in_flight", "must be at least ingest.message_bytes");
        }
        if self.reports_in_flight_per_stream == 0 {
            return refuse("ingest.reports_in_flight_per_stream", "must be at least 1");
        }
        if self.max_connection_age_s == 0 {
            return refuse("ingest.max_connection_age_s", "must be at least 1");
        }
        self.door.check()
    }
}

impl Door {
    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, problem: &str| Err(ConfigError::Value { field, problem: problem.to_owned() });
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return refuse("ingest.door.certificate_file", "and ingest.door.key_file belong together");
        }
        if self.client_ca_file.is_some() && self.certificate_file.is_none() {
            return refuse("ingest.door.client_ca_file", "needs ingest.door.certificate_file");
        }
        if self.mode == DoorMode::Registered && self.contributors_file.is_none() {
            return refuse("ingest.door.contributors_file", "is needed by mode: registered");
        }
        if self.mode == DoorMode::Registered && self.pseudonym_key_file.is_none() {
            return refuse("ingest.door.pseudonym_key_file", "is needed by mode: registered");
        }
        if self.quota.reports_per_minute == 0 {
            return refuse("ingest.door.quota.reports_per_minute", "must be at least 1");
        }
        if self.quota.bytes_per_minute < weighbridge_proto::report::MAX_REPORT_BYTES as u64 {
            return refuse(
                "ingest.door.quota.bytes_per_minute",
                "must be at least the largest report, 524288",
            );
        }
        Ok(())
    }
}
