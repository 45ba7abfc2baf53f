//! The configuration of every subcommand, one YAML file.
//!
//! Unknown fields are refused, units stand in the names, every default is a constant with its reason. A variable
//! `WEIGHBRIDGE_<SECTION>_<FIELD>` overrides a field (`WEIGHBRIDGE_CLICKHOUSE_PASSWORD`, `WEIGHBRIDGE_INGEST_LISTEN`); one
//! that names no field of a section is refused, too. `WEIGHBRIDGE_KAFKA_PROPERTIES_SASL_PASSWORD` is `sasl.password` in
//! `kafka.properties`. Secrets show as `***` in `Debug` and in errors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

mod ingest;

pub use ingest::{Door, DoorMode, Ingest, Quota};

const ENVIRONMENT_PREFIX: &str = "WEIGHBRIDGE_";
/// With the largest report on top it stays under the 1,048,449 rows above which ClickHouse splits an insert in two.
const MAX_FLUSH_ROWS: usize = 500_000;

/// Everything in the file. A subcommand reads the sections it needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the reports travel; `ingest`, `load` and `migrate` use it.
    pub kafka: Kafka,
    /// Where they end up; `load`, `migrate` and `split` use it.
    pub clickhouse: ClickHouse,
    /// The `ingest` subcommand.
    pub ingest: Ingest,
    /// The `load` subcommand.
    pub load: Load,
    /// The port of `/livez`, `/readyz` and `/metrics` of `ingest` and `load`.
    pub admin: Admin,
    /// Logs and OTLP.
    pub telemetry: Telemetry,
}

/// The Kafka cluster and the topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// `host:port,host:port`; empty: no Kafka configured, and `migrate` creates no topic.
    pub bootstrap_servers: String,
    /// Topic of the reports; dead letters go to `<topic>.dlq`.
    pub topic: String,
    /// Further librdkafka properties, for example `security.protocol`. Those that exactness stands on are refused.
    pub properties: BTreeMap<String, Secret>,
    /// Partitions of a topic that `migrate` creates: 12 can be spread over 1, 2, 3, 4, 6 and 12 loaders.
    pub partitions: i32,
    /// Copies of a topic that `migrate` creates. Acknowledged means on two disks: three copies, two of them in sync.
    pub replication_factor: i32,
    /// Retention of a topic that `migrate` creates. A week to repair ClickHouse in; with the age that ingest accepts it must
    /// stay within `clickhouse.ledger_ttl_days`.
    pub retention_hours: u64,
}

impl Default for Kafka {
    fn default() -> Self {
        Kafka {
            bootstrap_servers: String::new(),
            topic: "weighbridge.reports.v1".to_owned(),
            properties: BTreeMap::new(),
            partitions: 12,
            replication_factor: 3,
            retention_hours: 168,
        }
    }
}

/// The ClickHouse server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouse {
    /// HTTP interface, `http:` or `https:`.
    pub url: String,
    /// Authorities that the server's certificate is checked against, PEM; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// Database of all tables; letters, digits and underscores.
    pub database: String,
    /// User; empty: the server's default user.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// File with the password, read when `password` is empty.
    pub password_file: Option<PathBuf>,
    /// Compression of inserts: a third of the bytes on the network for 0.05 us per row.
    pub compression: Compression,
    /// Time limit of a query. A rebuild of a day with 100 M rows takes minutes.
    pub query_timeout_s: u64,
    /// How long the ledger keeps a row. Longer than a spool, Kafka and a margin together: nothing may arrive after the row
    /// that would absorb it is gone.
    pub ledger_ttl_days: u16,
    /// How long the rollups keep theirs; `migrate up` sets it.
    pub retention: Retention,
    /// Several servers instead of one.
    pub cluster: Cluster,
}

/// Shards and replicas of ClickHouse, see `cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// Its name in the servers' `remote_servers`; empty: one server.
    pub name: String,
    /// Tables are replicated by the servers' macros `{shard}` and `{replica}`, and the schema is made `ON CLUSTER`. False: shards
    /// without replicas and without Keeper; run `migrate up` against each server.
    pub replicated: bool,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster { name: String::new(), replicated: true }
    }
}

/// Days after which rollups drop a row; 0: never. Not less than `ledger_ttl_days`: what is dropped would be built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Rollups by minute: to look into a quarter's incidents.
    pub minute_days: u16,
    /// Rollups by hour: this year beside the year before.
    pub hour_days: u16,
    /// Rollups by day: small, and nothing else is left of old times.
    pub day_days: u16,
    /// Tables that follow a collector over time: thirteen months, so that a cohort's year is whole.
    pub participation_days: u16,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { minute_days: 90, hour_days: 730, day_days: 0, participation_days: 396 }
    }
}

impl Retention {
    fn fields(self) -> [(&'static str, u16); 4] {
        [
            ("clickhouse.retention.minute_days", self.minute_days),
            ("clickhouse.retention.hour_days", self.hour_days),
            ("clickhouse.retention.day_days", self.day_days),
            ("clickhouse.retention.participation_days", self.participation_days),
        ]
    }
}

impl Default for ClickHouse {
    fn default() -> Self {
        ClickHouse {
            url: "http://127.0.0.1:8123".to_owned(),
            ca_file: None,
            database: "weighbridge".to_owned(),
            user: String::new(),
            password: Secret::default(),
            password_file: None,
            compression: Compression::Lz4,
            query_timeout_s: 300,
            ledger_ttl_days: 35,
            retention: Retention::default(),
            cluster: Cluster::default(),
        }
    }
}

/// Compression of inserts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// For a network between `load` and ClickHouse.
    Lz4,
    /// For the same machine.
    None,
}

/// Load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Consumer group.
    pub group_id: String,
    /// Shards of ClickHouse. Each has its own loaders, with their own `group_id` and `clickhouse.url`, which store the collectors of
    /// their shard. It stays as it is for as long as Kafka and the ledger keep what was sent: a collector may not move.
    pub shards: u16,
    /// The shard of this loader, from 0.
    pub shard: u16,
    /// Flush at this many rows. Merges cost ClickHouse more than inserts, and large inserts need fewer of them.
    pub flush_rows: usize,
    /// Flush at this many bytes held: 46 a cell, 150 a report.
    pub flush_bytes: usize,
    /// Flush at this age of the oldest row: what a reader waits at most.
    pub flush_ms: u64,
    /// Time limit of sending an insert's body. Not the flush period: that makes a crash loop.
    pub insert_send_timeout_s: u64,
    /// Time limit of the answer to an insert.
    pub insert_end_timeout_s: u64,
    /// How often days whose ledger moved are rolled up.
    pub rollup_interval_s: u64,
    /// From SIGTERM until the last insert and commit must be through: within Kubernetes' 30 s.
    pub drain_ms: u64,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            group_id: "weighbridge-load".to_owned(),
            shards: 1,
            shard: 0,
            flush_rows: 500_000,
            flush_bytes: 32 * 1024 * 1024,
            flush_ms: 1_000,
            insert_send_timeout_s: 30,
            insert_end_timeout_s: 120,
            rollup_interval_s: 10,
            drain_ms: 20_000,
        }
    }
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { listen: SocketAddr::from(([0, 0, 0, 0], 4751)) }
    }
}

/// Logs and OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// OTLP/gRPC endpoint for this program's own traces and metrics (`http://collector:4317`); empty: none.
    pub otlp_endpoint: String,
    /// Filter of the log in the syntax of `RUST_LOG`; empty: `info`.
    pub log_filter: String,
    /// Form of the log.
    pub log_format: LogFormat,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// A value that shows as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
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
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}

/// Why a configuration cannot be used. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not YAML, an unknown field, or a value of the wrong type.
    #[error("configuration: {0}")]
    Parse(String),
    /// A variable that names no field.
    #[error(
        "environment variable {0} names no field of the configuration; the form is WEIGHBRIDGE_<SECTION>_<FIELD>"
    )]
    UnknownVariable(String),
    /// A value that cannot work.
    #[error("configuration: {field} {problem}")]
    Value {
        /// The field, with its section.
        field: &'static str,
        /// What is wrong, and the fix.
        problem: String,
    },
}

impl ConfigError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            ConfigError::Read { .. } => "config_read",
            ConfigError::Parse(_) => "config_parse",
            ConfigError::UnknownVariable(_) => "config_unknown_variable",
            ConfigError::Value { .. } => "config_value",
        }
    }
}

impl Config {
    /// The file, overridden by the environment, checked. Without a file: the defaults, overridden.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let text = match path {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
        };
        Config::parse(&text, std::env::vars())
    }

    /// As `load`, from the text of the file and the variables of an environment.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let parse = |error: &dyn fmt::Display| ConfigError::Parse(error.to_string());
        let mut tree = Value::Object(serde_json::Map::new());
        if !text.trim().is_empty() {
            // Twice: the first reading names the line of an error.
            serde_saphyr::from_str::<Config>(text).map_err(|error| parse(&error))?;
            tree = serde_saphyr::from_str::<Value>(text).map_err(|error| parse(&error))?;
        }
        let defaults = serde_json::to_value(Config::default()).map_err(|error| parse(&error))?;
        for (name, value) in variables {
            override_field(&mut tree, &defaults, &name, value)?;
        }
        let mut config: Config = serde_json::from_value(tree).map_err(|error| parse(&error))?;
        config.clickhouse.read_password()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field, problem: &str| Err(ConfigError::Value { field, problem: problem.to_owned() });
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !word(&self.clickhouse.database) {
            return refuse("clickhouse.database", "must be letters, digits and underscores");
        }
        if self.clickhouse.ledger_ttl_days < 2 {
            return refuse("clickhouse.ledger_ttl_days", "must be at least 2");
        }
        for (field, days) in self.clickhouse.retention.fields() {
            if days != 0 && days < self.clickhouse.ledger_ttl_days {
                return refuse(field, "must be 0 (never) or at least clickhouse.ledger_ttl_days");
            }
        }
        if self.clickhouse.ca_file.is_some() && !self.clickhouse.url.starts_with("https://") {
            return refuse("clickhouse.ca_file", "needs an https: URL in clickhouse.url");
        }
        self.ingest.check(self.clickhouse.ledger_ttl_days)?;
        if self.load.flush_rows == 0 || self.load.flush_rows > MAX_FLUSH_ROWS {
            return refuse("load.flush_rows", "must be 1 to 500000, so that an insert stays one block");
        }
        if self.load.shard >= self.load.shards {
            return refuse("load.shard", "must be less than load.shards, from 0");
        }
        if self.load.shards > 1 && self.clickhouse.cluster.name.is_empty() {
            return refuse(
                "load.shards",
                "above 1 needs clickhouse.cluster.name: totals are read over all shards",
            );
        }
        if self.clickhouse.cluster.name.contains(['\'', '\\']) {
            return refuse("clickhouse.cluster.name", "must not hold quotes or backslashes");
        }
        if self.load.flush_ms == 0 || self.load.rollup_interval_s == 0 {
            return refuse("load.flush_ms and load.rollup_interval_s", "must be at least 1");
        }
        crate::kafka::check_properties(&self.kafka)
    }
}

impl ClickHouse {
    fn read_password(&mut self) -> Result<(), ConfigError> {
        if let (Some(path), true) = (&self.password_file, self.password.expose().is_empty()) {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
            self.password = Secret::new(text.trim_end_matches(['\r', '\n']));
        }
        Ok(())
    }
}

/// Sets the field that `name` names, if its section is one of ours. The type is that of the default.
fn override_field(tree: &mut Value, defaults: &Value, name: &str, value: String) -> Result<(), ConfigError> {
    let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { return Ok(()) };
    let rest = rest.to_ascii_lowercase();
    let Some((section, field)) = rest.split_once('_') else { return Ok(()) };
    let Some(fields) = defaults.get(section) else { return Ok(()) };
    let unknown = || ConfigError::UnknownVariable(name.to_owned());
    let (path, default) = find_field(fields, field).ok_or_else(unknown)?;
    let value = match default {
        Value::Number(_) | Value::Bool(_) => serde_json::from_str(&value)
            .map_err(|_| ConfigError::Parse(format!("{name} must be a number or true or false")))?,
        _ => Value::String(value),
    };
    let mut place = tree;
    for step in [Cow::Borrowed(section)].into_iter().chain(path) {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = &mut place[step.as_ref()];
    }
    *place = value;
    Ok(())
}

/// Where a variable puts its value, and the default there: `door_mode` is `mode` in `door`. In a group without fields of its own, which
/// takes any name, an underscore is a dot: `properties_sasl_password` is `sasl.password` in `properties`.
fn find_field<'a>(fields: &'a Value, name: &'a str) -> Option<(Vec<Cow<'a, str>>, &'a Value)> {
    let fields = fields.as_object()?;
    if fields.is_empty() && !name.is_empty() {
        return Some((vec![Cow::Owned(name.replace('_', "."))], &Value::Null));
    }
    if let Some(default) = fields.get(name).filter(|default| !default.is_object()) {
        return Some((vec![Cow::Borrowed(name)], default));
    }
    let mut groups = fields.iter().filter(|(_, value)| value.is_object());
    groups.find_map(|(group, fields)| {
        let (path, default) = find_field(fields, name.strip_prefix(group.as_str())?.strip_prefix('_')?)?;
        Some(([Cow::Borrowed(group.as_str())].into_iter().chain(path).collect(), default))
    })
}

#[cfg(test)]
mod tests;
