//! Tables that a rebuild fills and no reader sees, and their swap into place.
//!
//! Guarantees: what a rebuild made is dropped at its end, also when it failed; what a killed one left is dropped by a later run.

use tracing::info;

use super::tables;
use crate::cluster;
use crate::store::{Store, StoreError};

/// Older than any rebuild: what is left of one that was killed.
const ORPHAN_AGE_S: u64 = 3_600;
/// Between the name of a rollup and 16 random digits.
const STAGE_INFIX: &str = "_stage_";

const ORPHANS: &str = "\
SELECT name FROM system.tables WHERE database = '{database}' AND position(name, '{infix}') > 0 \
AND metadata_modification_time < now() - {age}";

const ENGINE: &str =
    "SELECT engine_full FROM system.tables WHERE database = '{database}' AND name = '{table}'";

/// The stage tables of one rebuild.
pub(super) struct Stages<'a> {
    store: &'a Store,
    digits: String,
    made: Vec<&'static str>,
}

impl<'a> Stages<'a> {
    pub(super) fn new(store: &'a Store) -> Stages<'a> {
        Stages { store, digits: format!("{:016x}", fastrand::u64(..)), made: Vec::new() }
    }

    fn of(&self, table: &str) -> String {
        format!("{table}{STAGE_INFIX}{}", self.digits)
    }

    /// Makes an empty stage of a rollup.
    pub(super) async fn create(&mut self, table: &'static str) -> Result<(), StoreError> {
        let stage = self.of(table);
        self.made.push(table);
        let mut sql = format!("CREATE TABLE {{database}}.{stage} AS {{database}}.{table}");
        if self.store.is_replicated() {
            let engine = ENGINE.replace("{table}", table);
            let engine = self.store.rows::<String>(&engine).await?.pop().unwrap_or_default();
            sql = format!("{sql} ENGINE = {}", cluster::stage_engine(&engine));
        }
        self.store.run(&sql).await
    }

    /// Runs a statement with `{stage:NAME}` filled in.
    pub(super) async fn run(&self, sql: &str) -> Result<(), StoreError> {
        let mut sql = sql.to_owned();
        for table in &self.made {
            sql = sql.replace(&format!("{{stage:{table}}}"), &self.of(table));
        }
        self.store.run(&sql).await
    }

    /// Swaps a partition in, whole. Nothing was filled: the partition goes, ClickHouse does not replace one by none.
    pub(super) async fn swap(&self, table: &str, partition: &str) -> Result<(), StoreError> {
        let stage = self.of(table);
        let rows: Vec<u64> = self.store.rows(&format!("SELECT count() FROM {{database}}.{stage}")).await?;
        let change = match rows[..] {
            [0] => format!("DROP PARTITION {partition}"),
            _ => format!("REPLACE PARTITION {partition} FROM {{database}}.{stage}"),
        };
        self.store.run(&format!("ALTER TABLE {{database}}.{table} {change}")).await
    }

    /// Drops them; an error of the rebuild goes before one of this.
    pub(super) async fn end(self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        let mut result = result;
        for table in &self.made {
            let sql = format!("DROP TABLE IF EXISTS {{database}}.{} SYNC", self.of(table));
            result = result.and(self.store.run(&sql).await);
        }
        result
    }
}

/// Drops what killed rebuilds left.
pub(super) async fn drop_orphans(store: &Store) -> Result<(), StoreError> {
    let sql = ORPHANS.replace("{infix}", STAGE_INFIX).replace("{age}", &ORPHAN_AGE_S.to_string());
    for name in store.rows::<String>(&sql).await? {
        // Our own names only, so that nothing else can be dropped.
        if is_stage(&name) {
            info!(table = name, "dropping what a killed rebuild left");
            store.run(&format!("DROP TABLE IF EXISTS {{database}}.{name} SYNC")).await?;
        }
    }
    Ok(())
}

fn is_stage(name: &str) -> bool {
    name.split_once(STAGE_INFIX).is_some_and(|(table, digits)| {
        tables::names().any(|own| own == table)
            && digits.len() == 16
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_stages_are_orphans() {
        assert!(is_stage("traffic_1h_stage_0123456789abcdef"));
        assert!(is_stage("participation_4w_stage_0123456789abcdef"));
        for name in ["models_stage", "traffic_1h", "traffic_1h_stage_", "ledger_stage_0123456789abcdef"] {
            assert!(!is_stage(name), "{name}");
        }
    }
}
