//! The schema on a cluster of ClickHouse servers.
//!
//! In: the statements of `migrate`, which are written for one server, and the section `clickhouse.cluster`. Out: the statements that
//! are run. Without a cluster they are the same.
//!
//! | | one server | shards without replicas | shards with replicas |
//! |---|---|---|---|
//! | configuration | `name` empty | `name`, `replicated: false` | `name`, `replicated: true` |
//! | engine of a table | `MergeTree` | `MergeTree` | `ReplicatedMergeTree`, by the macros `{shard}` and `{replica}` |
//! | statements run | here | here: `migrate up` against each server | `ON CLUSTER`: once |
//!
//! Guarantees: a table of `<database>` holds the rows of its shard, so load and the rollups work on a shard as on a single server.
//! `<database>_all` holds the same names over all shards: tables that only read, and every view. What is the same everywhere (the
//! register, the state of the migrations) is replicated to all servers, whatever their shard.
//! Does not: move rows. A database that was made for one server stays one; a collector belongs to one shard for good (`Shard`).

use crate::config::{ClickHouse, Cluster};
use crate::migrate::{MIGRATIONS, statements};
use crate::register::{self, quote};

/// After the name of the database: the same names over all shards.
const OVERVIEW: &str = "_all";
/// Tables without shard: each server holds all rows.
const EVERYWHERE: [&str; 4] = ["migrations", "models", "providers", "model_periods"];
/// How a statement begins that names what it makes or changes. The name follows.
const DEFINITIONS: [&str; 8] = [
    "CREATE DATABASE IF NOT EXISTS ",
    "CREATE TABLE IF NOT EXISTS ",
    "CREATE OR REPLACE TABLE ",
    "CREATE OR REPLACE VIEW ",
    "CREATE OR REPLACE DICTIONARY ",
    "ALTER TABLE ",
    "SYSTEM RELOAD DICTIONARY ",
    "SYSTEM SYNC REPLICA ",
];

/// Which collectors a loader stores: shard `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: u16,
    /// At least 1.
    pub count: u16,
}

impl Default for Shard {
    fn default() -> Self {
        Shard { index: 0, count: 1 }
    }
}

impl Shard {
    /// Whether the reports of a collector belong here. By its random id, which never changes: all its rows meet in one place.
    pub fn holds(self, collector_id: &[u8; 16]) -> bool {
        let [.., a, b] = *collector_id;
        u16::from_be_bytes([a, b]) % self.count.max(1) == self.index
    }

    /// The rollups over all shards are built by one.
    pub fn leads(self) -> bool {
        self.index == 0
    }

    /// There are others.
    pub fn is_one_of_many(self) -> bool {
        self.count > 1
    }
}

/// The database over all shards.
pub fn overview(database: &str) -> String {
    format!("{database}{OVERVIEW}")
}

/// A statement that makes or changes something in the schema, for this configuration. Others come back as they are.
pub(crate) fn define(clickhouse: &ClickHouse, sql: &str) -> String {
    let Cluster { name, replicated } = &clickhouse.cluster;
    if name.is_empty() || !replicated {
        return sql.to_owned();
    }
    let Some((start, rest)) = DEFINITIONS.iter().find_map(|start| Some((*start, sql.strip_prefix(start)?)))
    else {
        return sql.to_owned();
    };
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (object, rest) = rest.split_at(end);
    let table = object.rsplit('.').next().unwrap_or(object);
    // Another server would not know whose rights are meant.
    let user = if clickhouse.user.is_empty() { "default" } else { &clickhouse.user };
    let rest = rest.replace("DEFINER = CURRENT_USER", &format!("DEFINER = {}", quote_name(user)));
    let rest = match copied(&rest) {
        // A copy of a replicated table would claim its path.
        Some(of) => format!("{rest} {}", plain_engine(of)),
        None => replicate(&rest, &clickhouse.database, table),
    };
    let on = format!("ON CLUSTER {}", quote(name));
    if start.starts_with("SYSTEM ") {
        return format!("{start}{on} {object}{rest}");
    }
    format!("{start}{object} {on}{rest}")
}

/// `ENGINE = [Replacing]MergeTree` becomes the replicated one.
fn replicate(sql: &str, database: &str, table: &str) -> String {
    let (shard, replica) = match EVERYWHERE.contains(&table) {
        true => ("everywhere", "{shard}-{replica}"),
        false => ("{shard}", "{replica}"),
    };
    let arguments = format!("MergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')");
    for engine in ["ReplacingMergeTree", "MergeTree"] {
        if let Some((before, after)) = sql.split_once(&format!("ENGINE = {engine}")) {
            let engine = engine.replace("MergeTree", &arguments);
            return format!("{before}ENGINE = Replicated{engine}{after}");
        }
    }
    sql.to_owned()
}

/// The table that a new one is made like.
fn copied(rest: &str) -> Option<&str> {
    let [copy, of] = rest.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    (copy == "AS").then(|| of.rsplit('.').next().unwrap_or(of))
}

/// Engine and keys of a table as its migration defines them.
fn plain_engine(table: &str) -> String {
    let created = format!("CREATE TABLE IF NOT EXISTS {{database}}.{table}\n");
    let mut all = MIGRATIONS.iter().flat_map(|migration| statements(migration.sql));
    let definition = all.find(|sql| sql.starts_with(&created)).unwrap_or_default();
    let engine =
        definition.split_once("ENGINE = ").map_or("MergeTree ORDER BY tuple()", |(_, engine)| engine);
    format!("ENGINE = {}", engine.split("\nCOMMENT ").next().unwrap_or(engine))
}

/// The engine of a stage beside a table with this one: a stage lives a moment on one server.
pub(crate) fn stage_engine(engine_full: &str) -> String {
    let Some(replicated) = engine_full.strip_prefix("Replicated") else { return engine_full.to_owned() };
    // Its arguments are two quoted texts; keys follow the parenthesis.
    let quoted =
        |text: &str| text.find('\'').and_then(|from| text[from + 1..].find('\'').map(|to| from + to + 2));
    let Some((engine, rest)) = replicated.split_once('(') else { return replicated.to_owned() };
    let after_path = quoted(rest).unwrap_or(0);
    let after_replica = after_path + quoted(&rest[after_path..]).unwrap_or(0);
    let keys = rest[after_replica..].split_once(')').map_or("", |(_, keys)| keys);
    format!("{engine}{keys}")
}

/// The database over all shards; empty without a cluster. The definitions of now: older ones of the same name are left out.
pub(crate) fn overview_statements(clickhouse: &ClickHouse, tables: &[&str]) -> Vec<String> {
    let Cluster { name, .. } = &clickhouse.cluster;
    if name.is_empty() {
        return Vec::new();
    }
    let (database, all) = (&clickhouse.database, overview(&clickhouse.database));
    let mut made = vec![format!("CREATE DATABASE IF NOT EXISTS {all}")];
    made.extend(tables.iter().map(|table| {
        format!(
            "CREATE OR REPLACE TABLE {all}.{table} AS {database}.{table} ENGINE = Distributed({}, {}, {})",
            quote(name),
            quote(database),
            quote(table)
        )
    }));
    made.extend(
        EVERYWHERE
            .iter()
            .map(|table| format!("CREATE OR REPLACE VIEW {all}.{table} AS SELECT * FROM {database}.{table}")),
    );
    made.extend(newest_views().into_iter().map(|sql| sql.replace("{database}", &all)));
    made
}

/// Views and dictionaries, each as its newest migration defines it, and what changes views.
fn newest_views() -> Vec<String> {
    let all: Vec<String> = MIGRATIONS.iter().flat_map(|migration| statements(migration.sql)).collect();
    let name = |sql: &str| {
        let start = ["CREATE OR REPLACE VIEW ", "CREATE OR REPLACE DICTIONARY "];
        let rest = start.iter().find_map(|start| sql.strip_prefix(start))?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let names: Vec<Option<String>> = all.iter().map(|sql| name(sql)).collect();
    let is_newest = |index: usize| names[index].is_some() && !names[index + 1..].contains(&names[index]);
    let of_a_view = |sql: &str| sql.starts_with("ALTER TABLE ") && sql.contains("MODIFY SQL SECURITY");
    let kept = all.iter().enumerate().filter(|(index, sql)| is_newest(*index) || of_a_view(sql));
    kept.map(|(_, sql)| sql.clone()).collect()
}

/// Tables whose rows are spread over the shards: all that the migrations make, but the register, its stages and the state.
pub(crate) fn sharded_tables() -> Vec<&'static str> {
    let is_stage = |table: &str| register::TABLES.iter().any(|of| table == format!("{of}_stage"));
    let created = MIGRATIONS.iter().flat_map(|migration| migration.sql.lines()).filter_map(|line| {
        line.strip_prefix("CREATE TABLE IF NOT EXISTS {database}.")?.split([' ', ';']).next()
    });
    created.filter(|table| !EVERYWHERE.contains(table) && !is_stage(table)).collect()
}

fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(name: &str, replicated: bool) -> ClickHouse {
        let cluster = Cluster { name: name.to_owned(), replicated };
        ClickHouse { cluster, user: "migrator".to_owned(), ..ClickHouse::default() }
    }

    #[test]
    fn one_server_runs_what_is_written() {
        let sql = "CREATE TABLE IF NOT EXISTS weighbridge.ledger (a UInt8) ENGINE = MergeTree ORDER BY a";
        assert_eq!(define(&on("", true), sql), sql);
        assert_eq!(define(&on("c", false), sql), sql);
        assert_eq!(overview_statements(&on("", true), &["ledger"]), [""; 0]);
    }

    #[test]
    fn replicas_share_a_path_and_statements_go_to_all() {
        let define = |sql| define(&on("main", true), sql);
        assert_eq!(
            define(
                "CREATE TABLE IF NOT EXISTS weighbridge.ledger\n(a UInt8)\nENGINE = ReplacingMergeTree\nORDER BY a"
            ),
            "CREATE TABLE IF NOT EXISTS weighbridge.ledger ON CLUSTER 'main'\n(a UInt8)\n\
             ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/weighbridge/ledger', '{replica}')\nORDER BY a"
        );
        assert_eq!(
            define("CREATE TABLE IF NOT EXISTS weighbridge.models (a UInt8) ENGINE = MergeTree ORDER BY a"),
            "CREATE TABLE IF NOT EXISTS weighbridge.models ON CLUSTER 'main' (a UInt8) \
             ENGINE = ReplicatedMergeTree('/clickhouse/tables/everywhere/weighbridge/models', '{shard}-{replica}') ORDER BY a"
        );
        assert_eq!(
            define(
                "CREATE OR REPLACE VIEW weighbridge.v DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT 1"
            ),
            "CREATE OR REPLACE VIEW weighbridge.v ON CLUSTER 'main' DEFINER = `migrator` SQL SECURITY DEFINER AS SELECT 1"
        );
        assert_eq!(
            define("SYSTEM RELOAD DICTIONARY weighbridge.d"),
            "SYSTEM RELOAD DICTIONARY ON CLUSTER 'main' weighbridge.d"
        );
        assert_eq!(
            define("CREATE TABLE IF NOT EXISTS weighbridge.models_stage AS weighbridge.models"),
            "CREATE TABLE IF NOT EXISTS weighbridge.models_stage ON CLUSTER 'main' AS weighbridge.models \
             ENGINE = MergeTree ORDER BY id\nSETTINGS non_replicated_deduplication_window = 0"
        );
        assert_eq!(
            define("SYSTEM SYNC REPLICA weighbridge.models"),
            "SYSTEM SYNC REPLICA ON CLUSTER 'main' weighbridge.models"
        );
        let alter = define("ALTER TABLE weighbridge.ledger\n    ADD COLUMN IF NOT EXISTS b UInt8");
        assert_eq!(
            alter,
            "ALTER TABLE weighbridge.ledger ON CLUSTER 'main'\n    ADD COLUMN IF NOT EXISTS b UInt8"
        );
        assert_eq!(
            define("INSERT INTO weighbridge.models VALUES (1)"),
            "INSERT INTO weighbridge.models VALUES (1)"
        );
    }

    /// Every statement of every migration is one that `define` knows.
    #[test]
    fn no_statement_of_a_migration_stays_on_one_server() {
        for migration in MIGRATIONS {
            for sql in statements(migration.sql) {
                let sql = define(&on("main", true), &sql);
                assert!(sql.contains(" ON CLUSTER 'main'"), "{sql}");
                let is_plain = sql.contains("ENGINE = MergeTree") && !sql.contains("_stage ");
                assert!(!sql.contains("CURRENT_USER") && !is_plain, "{sql}");
            }
        }
    }

    #[test]
    fn a_stage_is_of_the_plain_engine() {
        let keys = " PARTITION BY toYYYYMMDD(day) ORDER BY (a, b) SETTINGS ttl_only_drop_parts = 1";
        let replicated = format!("ReplicatedReplacingMergeTree('/a/{{shard}}/(b)', '{{replica}}'){keys}");
        assert_eq!(stage_engine(&replicated), format!("ReplacingMergeTree{keys}"));
        assert_eq!(stage_engine(&format!("MergeTree{keys}")), format!("MergeTree{keys}"));
    }

    #[test]
    fn a_collector_has_one_shard() {
        let mut counts = [0; 3];
        for number in 0..3_000_u128 {
            let id = number.to_be_bytes();
            let held: Vec<u16> =
                (0..3).filter(|index| Shard { index: *index, count: 3 }.holds(&id)).collect();
            assert_eq!(held.len(), 1);
            counts[usize::from(held[0])] += 1;
        }
        assert_eq!(counts, [1_000; 3]);
        assert!(Shard { index: 0, count: 1 }.holds(&[255; 16]));
    }

    #[test]
    fn the_overview_has_each_name_once() {
        let made = overview_statements(&on("main", true), &sharded_tables());
        let name = |sql: &String| {
            sql.split_whitespace().find(|word| word.starts_with("weighbridge_all.")).map(str::to_owned)
        };
        let mut names: Vec<String> =
            made.iter().filter(|sql| sql.starts_with("CREATE OR")).filter_map(name).collect();
        for wanted in ["ledger", "rollup_split_1d", "traffic_split", "model_by_id", "models", "audit"] {
            assert!(names.contains(&format!("weighbridge_all.{wanted}")), "{wanted}");
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(made.iter().all(|sql| !sql.contains("{database}")));
    }
}
