//! ClickHouse over HTTP, with a time limit on every call.
//!
//! An error of the `clickhouse` crate can hold the raw body of a response, rows included. What leaves this module is a code and a
//! name, and for statements that hold no data (migrations) the first part of the server's message.
//!
//! An insert that fails may still have happened: the caller repeats it, and identity absorbs the copy.

use std::sync::Arc;
use std::time::Duration;

use clickhouse::{Client, Row, RowOwned, RowRead};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::cluster;
use crate::config;
use crate::native::Block;
use crate::register::quote;

/// As the `clickhouse` crate has them for plain connections: ClickHouse closes an idle one after 3 s.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Part of a server's message that may be shown.
const DETAIL_CHARACTERS: usize = 300;

/// What ClickHouse or the way to it did wrong. Holds no data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The server answered with an error.
    #[error("ClickHouse error {code} {name}{detail}")]
    Refused {
        /// Its number.
        code: u32,
        /// Its name (`UNKNOWN_TABLE`).
        name: String,
        /// `: ` and the beginning of the message, for statements without data; else empty.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("ClickHouse cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time. What was asked for may have happened.
    #[error("ClickHouse did not answer in time")]
    Timeout,
    /// The answer does not have the columns that this binary expects.
    #[error("ClickHouse's tables are not those of this binary; run `weighbridge-aggregator migrate check`")]
    Schema,
    /// Certificates.
    #[error("clickhouse.ca_file: {0}")]
    Tls(String),
    /// A mistake in this program.
    #[error("{0}")]
    Internal(String),
}

impl StoreError {
    /// Stable name for metrics and logs.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Refused { .. } => "clickhouse_refused",
            StoreError::Unreachable(_) => "clickhouse_unreachable",
            StoreError::Timeout => "clickhouse_timeout",
            StoreError::Schema => "clickhouse_schema",
            StoreError::Tls(_) => "clickhouse_tls",
            StoreError::Internal(_) => "internal",
        }
    }

    /// A table, column or database that this binary needs is not there: `migrate up` was not run.
    pub fn is_unmigrated(&self) -> bool {
        // UNKNOWN_IDENTIFIER, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_TABLE, UNKNOWN_DATABASE, THERE_IS_NO_COLUMN.
        matches!(self, StoreError::Refused { code: 8 | 16 | 47 | 60 | 81, .. } | StoreError::Schema)
    }
}

/// Time limits of an insert. They are not the flush period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InsertTimeouts {
    pub(crate) send: Duration,
    pub(crate) end: Duration,
}

/// One ClickHouse database.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    database: String,
    query_timeout: Duration,
    ledger_ttl_days: u16,
    retention: config::Retention,
    /// For `cluster`.
    config: Arc<config::ClickHouse>,
    /// A dictionary asks its own server as this user; ClickHouse hides the password in what it shows of the dictionary.
    dictionary_credentials: config::Secret,
    dedup_setting: Arc<OnceCell<(&'static str, &'static str)>>,
}

impl Store {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// The certificates of an `https:` URL cannot be read.
    pub fn new(config: &config::ClickHouse) -> Result<Store, StoreError> {
        let compression = match config.compression {
            config::Compression::Lz4 => clickhouse::Compression::Lz4,
            config::Compression::None => clickhouse::Compression::None,
        };
        let client = if config.url.starts_with("https:") { secured(config)? } else { Client::default() };
        let mut client = client
            .with_url(&config.url)
            .with_compression(compression)
            .with_product_info("weighbridge-aggregator", env!("CARGO_PKG_VERSION"));
        if !config.user.is_empty() {
            client = client.with_user(&config.user);
        }
        if !config.password.expose().is_empty() {
            client = client.with_password(config.password.expose());
        }
        Ok(Store {
            client,
            database: config.database.clone(),
            query_timeout: Duration::from_secs(config.query_timeout_s),
            ledger_ttl_days: config.ledger_ttl_days,
            retention: config.retention,
            config: Arc::new(config.clone()),
            dictionary_credentials: config::Secret::new(dictionary_credentials(config)),
            dedup_setting: Arc::default(),
        })
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// How long the ledger keeps a row.
    pub fn ledger_ttl_days(&self) -> u16 {
        self.ledger_ttl_days
    }

    /// How long the rollups keep a row.
    pub fn retention(&self) -> config::Retention {
        self.retention
    }

    /// `sql` with `{database}`, `{ledger_ttl_days}` and `{dictionary_credentials}` filled in.
    pub(crate) fn sql(&self, sql: &str) -> String {
        sql.replace("{database}", &self.database)
            .replace("{ledger_ttl_days}", &self.ledger_ttl_days.to_string())
            .replace("{dictionary_credentials}", self.dictionary_credentials.expose())
    }

    /// Runs a statement that holds no data: its error may show the server's message.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), StoreError> {
        let query = self.client.query_raw(&self.sql(sql)).execute();
        timeout(self.query_timeout, query)
            .await
            .map_err(|_| StoreError::Timeout)?
            .map_err(|error| sanitise(&error, true))
    }

    /// Runs a statement that makes or changes something in the schema: on a cluster, everywhere.
    pub(crate) async fn define(&self, sql: &str) -> Result<(), StoreError> {
        self.run(&self.definition(sql)).await
    }

    /// Its tables have replicas.
    pub(crate) fn is_replicated(&self) -> bool {
        !self.config.cluster.name.is_empty() && self.config.cluster.replicated
    }

    /// What `define` runs.
    pub(crate) fn definition(&self, sql: &str) -> String {
        cluster::define(&self.config, &self.sql(sql))
    }

    /// The statements that make the database over all shards; none on one server.
    pub(crate) fn overview_statements(&self) -> Vec<String> {
        let made = cluster::overview_statements(&self.config, &cluster::sharded_tables());
        made.iter().map(|sql| self.definition(sql)).collect()
    }

    /// Every row of a query's answer.
    pub(crate) async fn rows<T>(&self, sql: &str) -> Result<Vec<T>, StoreError>
    where
        T: Row + RowOwned + RowRead,
    {
        let query = self.client.query_raw(&self.sql(sql)).fetch_all::<T>();
        timeout(self.query_timeout, query)
            .await
            .map_err(|_| StoreError::Timeout)?
            .map_err(|error| sanitise(&error, false))
    }

    /// Hands every row of a query's answer to `each` as it comes: for answers that do not fit in memory. The time limit holds
    /// for each row.
    pub(crate) async fn each_row<T>(&self, sql: &str, mut each: impl FnMut(T)) -> Result<(), StoreError>
    where
        T: Row + RowOwned + RowRead,
    {
        let mut cursor =
            self.client.query_raw(&self.sql(sql)).fetch::<T>().map_err(|error| sanitise(&error, false))?;
        loop {
            let row = timeout(self.query_timeout, cursor.next()).await;
            match row.map_err(|_| StoreError::Timeout)?.map_err(|error| sanitise(&error, false))? {
                Some(row) => each(row),
                None => return Ok(()),
            }
        }
    }

    /// Inserts one block, whole or not at all. The body is complete before the request opens.
    pub(crate) async fn insert(&self, block: &Block<'_>, timeouts: InsertTimeouts) -> Result<(), StoreError> {
        let (setting, value) = self.dedup_setting().await?;
        let sql = format!("INSERT INTO {}.{} ({}) FORMAT Native", self.database, block.table, block.names());
        let mut insert = self
            .client
            .insert_formatted_with(sql)
            .with_setting("async_insert", "0")
            // Copies within a block are absorbed by merges and FINAL like all others: looking for them here costs a quarter.
            .with_setting("optimize_on_insert", "0")
            .with_setting(setting, value)
            .with_timeouts(Some(timeouts.send), Some(timeouts.end));
        let send = async {
            for piece in block.pieces() {
                insert.send(piece).await?;
            }
            insert.end().await
        };
        timeout(timeouts.send + timeouts.end, send)
            .await
            .map_err(|_| StoreError::Timeout)?
            .map_err(|error| sanitise(&error, false))
    }

    /// The setting that turns block deduplication off: it loses rows on `kill -9`. 26.2 renamed it and made the old name void.
    async fn dedup_setting(&self) -> Result<(&'static str, &'static str), StoreError> {
        let find = || async {
            let sql = "SELECT count() FROM system.settings WHERE name = 'deduplicate_insert'";
            let found: Vec<u64> = self.rows(sql).await?;
            Ok(if found == [0] { ("insert_deduplicate", "0") } else { ("deduplicate_insert", "disable") })
        };
        self.dedup_setting.get_or_try_init(find).await.copied()
    }
}

/// Trusts `ca_file`, else the system's authorities; a server that is not `https:` is not spoken to.
fn secured(config: &config::ClickHouse) -> Result<Client, StoreError> {
    let tls = crate::tls::client_config(config.ca_file.as_deref()).map_err(StoreError::Tls)?;
    let mut http = HttpConnector::new();
    http.set_keepalive(Some(TCP_KEEPALIVE));
    http.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(http);
    let builder = legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(POOL_IDLE_TIMEOUT).clone();
    Ok(Client::with_http_client(builder.build(connector)))
}

/// Nothing for the server's default user without a password.
fn dictionary_credentials(config: &config::ClickHouse) -> String {
    let (user, password) = (&config.user, config.password.expose());
    let user = if user.is_empty() { String::new() } else { format!("USER {} ", quote(user)) };
    if password.is_empty() { user } else { format!("{user}PASSWORD {} ", quote(password)) }
}

fn sanitise(error: &clickhouse::error::Error, with_detail: bool) -> StoreError {
    use clickhouse::error::Error;
    match error {
        Error::TimedOut => StoreError::Timeout,
        Error::SchemaMismatch(_) | Error::NotEnoughData | Error::InvalidColumnsHeader(_) => {
            StoreError::Schema
        }
        Error::BadResponse(text) => refused(text, with_detail),
        Error::Network(source) => StoreError::Unreachable(root_cause(source.as_ref())),
        Error::Unsupported(_) => {
            StoreError::Unreachable("clickhouse.url must begin with http:// or https://".to_owned())
        }
        Error::InvalidParams(_) => StoreError::Unreachable("clickhouse.url is not a URL".to_owned()),
        _ => StoreError::Internal("unexpected answer from ClickHouse".to_owned()),
    }
}

/// `Code: 60. DB::Exception: ... (UNKNOWN_TABLE) (version ...)`, possibly after rows.
fn refused(text: &str, with_detail: bool) -> StoreError {
    let (_, after) = text.rsplit_once("Code: ").unwrap_or(("", text));
    let digits = after.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    let is_name = |word: &&str| {
        word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let name = after.rsplit(['(', ')']).find(is_name).unwrap_or("UNKNOWN").to_owned();
    let detail = match with_detail {
        true => format!(": {}", after.chars().take(DETAIL_CHARACTERS).collect::<String>()),
        false => String::new(),
    };
    StoreError::Refused { code: digits.parse().unwrap_or(0), name, detail }
}

/// The innermost error: the others say only that something below failed.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().take(DETAIL_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_hold_no_rows() {
        let text = "7\tsecret-row\nCode: 60. DB::Exception: Table x.secret does not exist. (UNKNOWN_TABLE) (version 26.7.2.1)";
        let error = refused(text, false);
        assert_eq!(error.to_string(), "ClickHouse error 60 UNKNOWN_TABLE");
        assert!(error.is_unmigrated());
        assert!(refused(text, true).to_string().contains("does not exist"));
        assert!(!refused(text, true).to_string().contains("secret-row"));
    }

    #[tokio::test]
    async fn nobody_listens() {
        let config = config::ClickHouse { url: "http://127.0.0.1:1".to_owned(), ..Default::default() };
        let error = Store::new(&config).unwrap().run("SELECT 1").await.unwrap_err();
        assert_eq!(error.code(), "clickhouse_unreachable");
    }
}
