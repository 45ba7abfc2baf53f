//! What load counts. Counters are kept where things happen, never computed from each other, so that the equations can fail.
//!
//! At any quiet moment, exactly:
//!
//! ```text
//! reports_read = reports_loaded + sum over reasons(reports_set_aside) + reports_of_other_shards + reports_buffered
//! rows_inserted{table="ledger"} >= cells_loaded      a row is inserted again when the fate of an insert was unknown
//! ```
//!
//! A report that is read again counts again on both sides. Reports that were read and neither loaded nor set aside when the
//! process ends are read again by the next one.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::admin::{Instruments, Labelled};

/// Why a report was set aside: the codes of `ReportError`, and load's own two.
pub(crate) const POISON: &[&str] =
    &["undecodable", "collector_id", "window", "cells", "checksum", "size", "header", MALFORMED];
/// The value of a record does not split into reports.
pub(crate) const MALFORMED: &str = "malformed";
/// A window outside 2020 to 2100.
pub(crate) const WINDOW: &str = "window";
/// The tables that load inserts into.
const TABLES: &[&str] = &["ledger", "reports"];
/// Codes of `StoreError`.
const ERRORS: &[&str] = &[
    "clickhouse_refused",
    "clickhouse_unreachable",
    "clickhouse_timeout",
    "clickhouse_schema",
    "clickhouse_tls",
    "internal",
];

/// Load's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) records: Counter,
    pub(crate) reports_read: Counter,
    pub(crate) reports_loaded: Counter,
    reports_of_other_shards: Counter,
    pub(crate) cells_loaded: Counter,
    set_aside: Labelled,
    pub(crate) buffered: Gauge,
    rows_inserted: Labelled,
    failures: Labelled,
    pub(crate) insert_seconds: Histogram,
    pub(crate) record_age_seconds: Gauge,
    pub(crate) partitions: Gauge,
    pub(crate) paused: Gauge,
    pub(crate) dead_letters_waiting: Gauge,
    pub(crate) days_rebuilt: Counter,
    pub(crate) rebuild_failures: Counter,
    pub(crate) rebuild_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn register(to: &Instruments) -> Metrics {
        Metrics {
            records: to.counter("weighbridge_load_records", "Kafka records read, repeated ones included"),
            reports_read: to.counter(
                "weighbridge_load_reports_read",
                "Reports in these records; a value that does not split counts as one",
            ),
            reports_of_other_shards: to.counter(
                "weighbridge_load_reports_of_other_shards",
                "Reports that the loaders of another shard store; always 0 with one shard",
            ),
            reports_loaded: to.counter(
                "weighbridge_load_reports_loaded",
                "Reports whose rows ClickHouse confirmed, repeated ones included",
            ),
            cells_loaded: to.counter("weighbridge_load_cells_loaded", "Cells of these reports"),
            set_aside: to.labelled(
                "weighbridge_load_reports_set_aside",
                "Reports that cannot be loaded, by reason; Kafka confirmed them in the topic of dead letters",
                "reason",
                POISON,
            ),
            buffered: to.gauge(
                "weighbridge_load_reports_buffered",
                "Reports read and neither loaded nor set aside yet",
            ),
            rows_inserted: to.labelled(
                "weighbridge_load_rows_inserted",
                "Rows that ClickHouse confirmed, by table, repeated ones included",
                "table",
                TABLES,
            ),
            failures: to.labelled(
                "weighbridge_load_insert_failures",
                "Inserts that failed and were tried again, by code; the rows may have been inserted",
                "code",
                ERRORS,
            ),
            insert_seconds: to.histogram(
                "weighbridge_load_insert_seconds",
                "One try of one insert, failures included",
                [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0],
            ),
            record_age_seconds: to.gauge(
                "weighbridge_load_record_age_seconds",
                "Age of the newest record of the last batch when ClickHouse had it: how far load is behind",
            ),
            partitions: to.gauge("weighbridge_load_partitions", "Partitions assigned to this process"),
            paused: to.gauge(
                "weighbridge_load_paused",
                "1 while nothing is fetched, because ClickHouse takes longer than 5 s for a batch",
            ),
            dead_letters_waiting: to.gauge(
                "weighbridge_load_dead_letters_waiting",
                "Letters in the topic of dead letters that were neither replayed nor dropped, as the process that keeps the \
                 rollup sees it; 0 in all others",
            ),
            days_rebuilt: to
                .counter("weighbridge_load_days_rebuilt", "Days of the rollup rebuilt and swapped in"),
            rebuild_failures: to.counter(
                "weighbridge_load_rebuild_failures",
                "Runs of the rollup that failed; the days stay as they were until the next run",
            ),
            rebuild_seconds: to.histogram(
                "weighbridge_load_rebuild_seconds",
                "Rebuild of one day, failures included",
                [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0],
            ),
        }
    }

    /// A report that was read and is left to another shard.
    pub(crate) fn of_other_shard(&self) {
        self.reports_read.inc();
        self.reports_of_other_shards.inc();
    }

    pub(crate) fn set_aside(&self, reason: &'static str) {
        self.set_aside.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn inserted(&self, table: &'static str, rows: usize) {
        self.rows_inserted.get_or_create(&[("table", table)]).inc_by(rows as u64);
    }

    pub(crate) fn failed(&self, code: &'static str) {
        self.failures.get_or_create(&[("code", code)]).inc();
    }
}
