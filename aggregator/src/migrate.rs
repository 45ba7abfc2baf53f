//! The schema of ClickHouse, the register of models as tables, and the topics of Kafka.
//!
//! A migration is a file `migrations/NNNN_name.sql`, embedded. `{database}`, `{ledger_ttl_days}` and `{dictionary_credentials}` are
//! filled in (`store.rs`); a statement ends with `;` at the end of a line; a line that begins with `--` is a comment. Every statement can be run again, so a migration that was
//! killed in the middle is run again from its first statement. Published files never change: `check` compares checksums.
//!
//! The table `migrations` holds a row per version and state (`started`, `done`); the register is replaced whole, and by an
//! older binary never.

use clickhouse::Row;
use serde::Deserialize;
use tracing::info;
use weighbridge_catalog::RegisterExport;

use crate::comments;
use crate::config;
use crate::kafka;
use crate::register;
use crate::retention;
use crate::store::{Store, StoreError};

/// A migration.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Position; the number in the file's name.
    pub version: u32,
    /// The file's name without number and extension.
    pub name: &'static str,
    /// The file.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal $file:literal)+) => {
        &[$(Migration { version: $version, name: $name, sql: include_str!(concat!("../migrations/", $file)) }),+]
    };
}

/// All migrations, in order.
pub const MIGRATIONS: &[Migration] = migrations! {
    1 "ledger" "0001_ledger.sql"
    2 "rollup" "0002_rollup.sql"
    3 "register" "0003_register.sql"
    4 "views" "0004_views.sql"
    5 "register_by_day" "0005_register_by_day.sql"
    6 "gateway_products" "0006_gateway_products.sql"
    7 "vantage_of_views" "0007_vantage_of_views.sql"
    8 "contributor" "0008_contributor.sql"
    9 "audit_of_stepping_clocks" "0009_audit_of_stepping_clocks.sql"
    10 "conservation" "0010_conservation.sql"
    11 "rollups" "0011_rollups.sql"
    12 "series" "0012_series.sql"
    13 "answers" "0013_answers.sql"
    14 "model_spans" "0014_model_spans.sql"
    15 "short_ranges" "0015_short_ranges.sql"
};

const DATABASE: &str = "CREATE DATABASE IF NOT EXISTS {database}";

const MIGRATIONS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS {database}.migrations (version UInt32, name String, checksum String, \
state Enum8('started' = 1, 'done' = 2), at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')) \
ENGINE = MergeTree ORDER BY (version, at) SETTINGS fsync_after_insert = 1, non_replicated_deduplication_window = 0 \
COMMENT 'Which migrations were started and done.'";

const APPLIED: &str = "\
SELECT version, argMax(checksum, (at, state)) AS checksum, max(state = 'done') AS done \
FROM {database}.migrations GROUP BY version ORDER BY version";

/// Why a migration did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// ClickHouse, outside a migration.
    #[error("migrate: {0}")]
    Store(#[from] StoreError),
    /// A statement of a migration. Run `migrate up` again when the cause is gone.
    #[error("migrate: migration {version} ({name}), statement {statement}: {source}")]
    Statement {
        /// The migration.
        version: u32,
        /// Its name.
        name: &'static str,
        /// Which statement of it, from 1.
        statement: usize,
        /// What ClickHouse said.
        source: StoreError,
    },
    /// A published migration is not what this binary holds.
    #[error("migrate: the database is not what this binary expects: {0}")]
    Differs(Difference),
    /// The topics.
    #[error("migrate: Kafka topics: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
}

impl MigrateError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            MigrateError::Store(_) => "migrate_store",
            MigrateError::Statement { .. } => "migrate_statement",
            MigrateError::Differs(_) => "migrate_differs",
            MigrateError::Kafka(_) => "migrate_kafka",
        }
    }
}

/// What `check` found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// No table `migrations`: `migrate up` was never run.
    #[error("the database {0} holds no migrations; run `migrate up`")]
    Empty(String),
    /// Never run.
    #[error("migration {0} ({1}) is missing; run `migrate up`")]
    Missing(u32, &'static str),
    /// Killed in the middle.
    #[error("migration {0} ({1}) was started and not finished; run `migrate up`")]
    Unfinished(u32, &'static str),
    /// The file was changed after it was run.
    #[error(
        "migration {0} ({1}) was run with checksum {2}, this binary holds {3}; published migrations must not change"
    )]
    Checksum(u32, &'static str, String, String),
    /// A table of the register is older than the register in this binary.
    #[error("the table {0} holds register {1}, this binary {2}; run `migrate up`")]
    Register(&'static str, u32, u32),
}

#[derive(Row, Deserialize)]
struct Applied {
    version: u32,
    checksum: String,
    done: u8,
}

/// Brings the database up to this binary: missing and unfinished migrations in order, then the times of retention, the comments of
/// views, then `register`.
///
/// # Errors
/// The first thing that failed; what was done before it stays. A migration whose file changed stops it before anything is run.
pub async fn up(store: &Store, register: &RegisterExport) -> Result<(), MigrateError> {
    store.define(DATABASE).await?;
    store.define(MIGRATIONS_TABLE).await?;
    let applied: Vec<Applied> = store.rows(APPLIED).await?;
    let found = |migration: &Migration| applied.iter().find(|row| row.version == migration.version);
    for migration in MIGRATIONS {
        if let Some(changed) = found(migration).and_then(|row| checksum_differs(migration, row)) {
            return Err(MigrateError::Differs(changed));
        }
    }
    for migration in MIGRATIONS {
        if found(migration).is_none_or(|row| row.done == 0) {
            run(store, migration).await?;
        }
    }
    for sql in store.overview_statements() {
        store.run(&sql).await?;
    }
    retention::apply(store).await?;
    comments::apply(store).await?;
    register::fill(store, register).await?;
    Ok(())
}

/// The whole schema as `up` makes it under this configuration, one statement after the other, without asking a server. The times of
/// retention, the comments of views' columns, the register and the state of the migrations are not in it.
pub fn plan(store: &Store) -> String {
    let migrated = MIGRATIONS.iter().flat_map(|migration| statements(migration.sql));
    let schema = [DATABASE.to_owned(), MIGRATIONS_TABLE.to_owned()].into_iter().chain(migrated);
    let all = schema.map(|sql| store.definition(&sql)).chain(store.overview_statements());
    all.flat_map(|sql| [sql, ";\n\n".to_owned()]).collect()
}

/// Creates the topics, if Kafka is configured.
///
/// # Errors
/// Kafka refused, or cannot be reached.
pub async fn create_topics(kafka: &config::Kafka) -> Result<(), MigrateError> {
    if kafka.bootstrap_servers.is_empty() {
        return Ok(());
    }
    Ok(kafka::create_topics(kafka).await?)
}

/// Everything in which the database is behind this binary, or differs. A database that is ahead is no difference.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn check(store: &Store) -> Result<Vec<Difference>, MigrateError> {
    let applied = match store.rows::<Applied>(APPLIED).await {
        Err(error) if error.is_unmigrated() => {
            return Ok(vec![Difference::Empty(store.database().to_owned())]);
        }
        other => other?,
    };
    let mut differences = Vec::new();
    for migration in MIGRATIONS {
        let Migration { version, name, .. } = *migration;
        match applied.iter().find(|row| row.version == version) {
            None => differences.push(Difference::Missing(version, name)),
            Some(row) => {
                differences.extend(checksum_differs(migration, row));
                if row.done == 0 {
                    differences.push(Difference::Unfinished(version, name));
                }
            }
        }
    }
    if differences.is_empty() {
        let own = weighbridge_catalog::embedded().version().0;
        for table in register::TABLES {
            let held = register::version_in(store, table).await?;
            if held < own {
                differences.push(Difference::Register(table, held, own));
            }
        }
    }
    Ok(differences)
}

fn checksum(migration: &Migration) -> String {
    format!("{:08x}", crc32c::crc32c(migration.sql.as_bytes()))
}

fn checksum_differs(migration: &Migration, row: &Applied) -> Option<Difference> {
    let own = checksum(migration);
    (row.checksum != own)
        .then(|| Difference::Checksum(migration.version, migration.name, row.checksum.clone(), own))
}

#[tracing::instrument(skip_all, fields(version = migration.version))]
async fn run(store: &Store, migration: &Migration) -> Result<(), MigrateError> {
    let Migration { version, name, sql } = *migration;
    let checksum = checksum(migration);
    let mark = |state: &str| {
        format!(
            "INSERT INTO {{database}}.migrations (version, name, checksum, state) VALUES ({version}, '{name}', '{checksum}', '{state}')"
        )
    };
    store.run(&mark("started")).await?;
    for (index, sql) in statements(sql).iter().enumerate() {
        let failed = |source| MigrateError::Statement { version, name, statement: index + 1, source };
        store.define(sql).await.map_err(failed)?;
    }
    store.run(&mark("done")).await?;
    info!(version, name, "migrated");
    Ok(())
}

/// The statements of a file, without comment lines.
pub fn statements(sql: &str) -> Vec<String> {
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    let body: String = lines.flat_map(|line| [line.trim_end(), "\n"]).collect();
    body.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::rows;
    use crate::native::Columns as _;
    use weighbridge_catalog::{Hosting, Openness};
    use weighbridge_proto::v1::{
        Choice, Environment, GatewayProduct, Operation, Outcome, Streaming, Vantage,
    };

    #[test]
    fn versions_are_consecutive_and_statements_are_rerunnable() {
        assert!(MIGRATIONS.iter().zip(1..).all(|(migration, version)| migration.version == version));
        for migration in MIGRATIONS {
            for statement in statements(migration.sql) {
                let again = [
                    "CREATE TABLE IF NOT EXISTS ",
                    "CREATE OR REPLACE VIEW ",
                    "CREATE OR REPLACE DICTIONARY ",
                ];
                // To the type that a column has already, MODIFY COLUMN does nothing.
                let changes = [
                    "\n    MODIFY COLUMN ",
                    "\n    ADD COLUMN IF NOT EXISTS ",
                    "\n    MODIFY SETTING ",
                    "\n    MODIFY SQL SECURITY ",
                ];
                let modifies = statement.starts_with("ALTER TABLE ")
                    && changes.iter().any(|change| statement.contains(change));
                assert!(modifies || again.iter().any(|start| statement.starts_with(start)), "{statement}");
                assert!(statement.contains("{database}."), "{statement}");
            }
        }
    }

    #[test]
    fn enumerations_have_their_one_name() {
        macro_rules! enum8 {
            ($values:expr, $name:ident) => {
                enum8($values.iter().map(|value| (value.$name(), *value as i32)))
            };
        }
        let expected = [
            (rows::ENVIRONMENT, enum8!(Environment::ALL, name)),
            (rows::VANTAGE, enum8!(Vantage::ALL, name)),
            (rows::OPENNESS, enum8!(Openness::ALL, as_str)),
            (rows::HOSTING, enum8!(Hosting::ALL, as_str)),
            (rows::OPERATION, enum8!(Operation::ALL, name)),
            (rows::CHOICE, enum8!(Choice::ALL, name)),
            (rows::STREAMING, enum8!(Streaming::ALL, name)),
            (rows::OUTCOME, enum8!(Outcome::ALL, name)),
        ];
        for (written, names) in expected {
            assert_eq!(written, names);
            assert!(MIGRATIONS[0].sql.contains(&names), "{names}");
        }
        // Extended since: the newest migration of the column has all names.
        let products = enum8!(GatewayProduct::ALL, name);
        assert_eq!(rows::GATEWAY_PRODUCT, products);
        let newest =
            MIGRATIONS.iter().rev().find(|migration| migration.sql.contains("COLUMN gateway_product"));
        assert_eq!(newest.map(|migration| migration.sql.matches(&products).count()), Some(3));
        // A migration that extends it names the rollups of migrations 11 and 15, too.
        for rollups in [MIGRATIONS[10].sql, MIGRATIONS[14].sql] {
            assert!(rollups.contains(&products));
            assert_eq!(rollups.matches(" gateway_product ").count(), rollups.matches(&products).count());
        }
    }

    fn enum8(values: impl Iterator<Item = (&'static str, i32)>) -> String {
        let values: Vec<String> = values.map(|(name, number)| format!("'{name}' = {number}")).collect();
        format!("Enum8({})", values.join(", "))
    }

    #[test]
    fn columns_are_those_of_the_tables() {
        let tables = statements(MIGRATIONS[0].sql);
        let added = statements(MIGRATIONS[7].sql);
        assert!(added.len() == 2 && added.iter().all(|sql| sql.contains("EXISTS contributor UUID ")));
        let (reports, cells, totals) = Default::default();
        let own = [rows::CellColumns::told(&cells), rows::TotalColumns::told(&totals)];
        for (sql, own) in tables.iter().zip(own) {
            let columns = rows::ReportColumns::told(&reports).into_iter().chain(own);
            for (name, kind, ..) in columns.filter(|(name, ..)| *name != "contributor") {
                let declared = sql.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
                let extended = name == "gateway_product";
                assert!(declared.is_some_and(|line| extended || line.contains(kind)), "{name} {kind}");
            }
        }
    }
}
