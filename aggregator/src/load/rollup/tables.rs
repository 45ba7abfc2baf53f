//! The rollups: what each is built from, by which statement, and which of its partitions are swapped.
//!
//! ```text
//! ledger  ─> traffic_1m ─> traffic_1h ─> rollup_models_1h ─> rollup_models_6h            by day, partition a day
//!                       └> rollup_split_1m ─> rollup_split_1h ─> rollup_unknown_1h
//!                                          └> rollup_split_5m
//!         ─> traffic_1d ─> rollup_split_1d ─> rollup_split_1w ─> rollup_split_4w         by day, partition a week; weeks from days
//!                       └> rollup_models_1d ─> rollup_models_1w ─> rollup_models_4w
//!         ─> rollup_fallbacks_1h, rollup_fallbacks_1d ─> rollup_fallbacks_1w
//!         ─> participation_1d ─> participation_4w ─> rollup_adoption_4w
//!                             └> participation_1mo ─> rollup_retention
//! reports ─> rollup_coverage_1h, reporting_1d ─> rollup_coverage_1d ─> rollup_coverage_1w (with rollup_split_1w)
//! ```
//!
//! A statement (`aggregator/rollups/NAME.sql`) fills a table that no reader sees. `{stage:NAME}` is that table of NAME, so one build
//! feeds the next and all of a day are of the same rows. None reads both the ledger and a rollup of another build. `{whole}` is the
//! database whose tables hold the rows of all shards.

/// What is built from the ledger or the reports, a day at a time.
pub(super) struct DayTable {
    pub(super) name: &'static str,
    pub(super) time: &'static str,
    pub(super) period: Period,
    pub(super) rows: Rows,
    pub(super) fill: &'static str,
}

/// Content of a partition of a `DayTable`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Day,
    /// From Monday. A rebuilt day takes the other days of its week along: a year is 53 partitions to open instead of 365.
    Week,
}

/// Whether a day of the source leaves rows. Of a day without, nothing shows that it was built: the last table of a source always has
/// some, and is swapped last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Always,
    Perhaps,
}

/// What is built whole from a finer rollup, a partition at a time.
pub(super) struct DerivedTable {
    pub(super) name: &'static str,
    /// Rows of (partition as text, fingerprint of the builds it is made of, first day it is made of).
    pub(super) wanted: &'static str,
    /// Rows of (partition as text, fingerprint).
    pub(super) built: &'static str,
    /// Made of the rows of all shards, by the loaders of the first; else of the shard's own.
    pub(super) whole: bool,
    /// The partition in an `ALTER TABLE`, with `{partition}`.
    pub(super) partition: &'static str,
    pub(super) fill: &'static str,
}

macro_rules! day_table {
    ($name:literal, $time:literal, $period:ident, $rows:ident) => {
        DayTable {
            name: $name,
            time: $time,
            period: Period::$period,
            rows: Rows::$rows,
            fill: include_str!(concat!("../../../rollups/", $name, ".sql")),
        }
    };
}

/// Tables from one source, in the order in which they are filled.
pub(super) struct Source {
    pub(super) table: &'static str,
    pub(super) tables: &'static [DayTable],
}

pub(super) const SOURCES: [Source; 2] = [
    Source {
        table: "ledger",
        tables: &[
            day_table!("traffic_1m", "minute", Day, Always),
            day_table!("traffic_1h", "hour", Day, Always),
            day_table!("rollup_split_1m", "minute", Day, Always),
            day_table!("rollup_split_1h", "hour", Day, Always),
            day_table!("traffic_1d", "day", Week, Always),
            day_table!("rollup_split_1d", "day", Week, Always),
            day_table!("rollup_models_1d", "day", Week, Perhaps),
            day_table!("rollup_fallbacks_1h", "hour", Day, Perhaps),
            day_table!("rollup_fallbacks_1d", "day", Week, Perhaps),
            day_table!("participation_1d", "day", Day, Always),
        ],
    },
    Source {
        table: "reports",
        tables: &[
            day_table!("rollup_coverage_1h", "hour", Day, Always),
            day_table!("reporting_1d", "day", Day, Always),
        ],
    },
];

macro_rules! wanted {
    ($partition:literal, $first:literal, $source:literal, $time:literal) => {
        concat!(
            "SELECT ",
            $partition,
            " AS key, sum(cityHash64(toDate(",
            $time,
            "), block)) AS print, ",
            $first,
            " AS first \
             FROM (SELECT ",
            $time,
            ", max(built_from) AS block FROM {whole}.",
            $source,
            " WHERE _part_offset = 0 GROUP BY ",
            $time,
            "{by_shard}) GROUP BY ALL"
        )
    };
}

/// Weeks, rebuilt by four (a year is 13 partitions to open), of the days that may still change.
macro_rules! week_table {
    ($name:literal, $source:literal) => {
        DerivedTable {
            name: $name,
            wanted: concat!(
                "SELECT toString(toDate(4 + intDiv(toUInt32(toDate(day)) - 4, 28) * 28)) AS key, sum(cityHash64(day, block)) AS print, toUInt32(29991231) AS first \
                 FROM (SELECT day, max(built_from) AS block FROM {database}.",
                $source,
                " WHERE day >= toDate(4 + intDiv(toUInt32(YYYYMMDDToDate({oldest})) - 4, 28) * 28) GROUP BY day) GROUP BY key"
            ),
            built: concat!(
                "SELECT toString(toDate(4 + intDiv(toUInt32(toDate(week)) - 4, 28) * 28)) AS key, max(built_from) FROM {database}.", $name, " WHERE _part_offset = 0 GROUP BY key"
            ),
            whole: false,
            partition: "'{partition}'",
            fill: include_str!(concat!("../../../rollups/", $name, ".sql")),
        }
    };
}

/// Days of finer steps of the same days. Asked are days that may still change, and those before the first that is there: what was
/// rolled up before this table was made is filled in from the newest on, so a build that is killed leaves no gap.
macro_rules! short_table {
    ($name:literal, $source:literal, $time:literal) => {
        DerivedTable {
            name: $name,
            wanted: concat!(
                "SELECT toString(toYYYYMMDD(",
                $time,
                ")) AS key, toUInt64(max(built_from)) AS print, toUInt32(29991231) AS first FROM {database}.",
                $source,
                " WHERE _part_offset = 0 AND (toYYYYMMDD(",
                $time,
                ") >= {oldest} OR toYYYYMMDD(",
                $time,
                ") < (SELECT ifNull(toYYYYMMDD(minOrNull(",
                $time,
                ")), 99991231) FROM {database}.",
                $name,
                ")) GROUP BY key ORDER BY key DESC"
            ),
            built: concat!(
                "SELECT toString(toYYYYMMDD(",
                $time,
                ")) AS key, max(built_from) FROM {database}.",
                $name,
                " WHERE _part_offset = 0 AND toYYYYMMDD(",
                $time,
                ") >= {oldest} GROUP BY key"
            ),
            whole: false,
            partition: "{partition}",
            fill: include_str!(concat!("../../../rollups/", $name, ".sql")),
        }
    };
}

/// Spans of four weeks. A partition of weeks is a span, of one build.
macro_rules! span_table {
    ($name:literal, $source:literal) => {
        DerivedTable {
            name: $name,
            wanted: concat!(
                "SELECT toString(toDate(4 + intDiv(toUInt32(toDate(week)) - 4, 28) * 28)) AS key, max(built_from) AS print, toUInt32(29991231) AS first \
                 FROM {database}.",
                $source,
                " WHERE _part_offset = 0 GROUP BY key"
            ),
            built: concat!("SELECT toString(span) AS key, max(built_from) FROM {database}.", $name, " WHERE _part_offset = 0 GROUP BY key"),
            whole: false,
            partition: "'{partition}'",
            fill: include_str!(concat!("../../../rollups/", $name, ".sql")),
        }
    };
}

/// In order: one may be made of the one before.
pub(super) const DERIVED: [DerivedTable; 15] = [
    short_table!("rollup_split_5m", "rollup_split_1m", "minute"),
    short_table!("rollup_models_1h", "traffic_1h", "hour"),
    short_table!("rollup_models_6h", "rollup_models_1h", "hour"),
    short_table!("rollup_unknown_1h", "rollup_split_1h", "hour"),
    week_table!("rollup_split_1w", "rollup_split_1d"),
    week_table!("rollup_models_1w", "rollup_models_1d"),
    span_table!("rollup_models_4w", "rollup_models_1w"),
    span_table!("rollup_split_4w", "rollup_split_1w"),
    DerivedTable {
        name: "rollup_fallbacks_1w",
        // Weeks by quarter, of the days that may still change and of those before the first week that is there, as `short_table`.
        wanted: "SELECT toString(toStartOfQuarter(toMonday(day))) AS key, sum(cityHash64(day, block)) AS print, toUInt32(29991231) AS first \
                 FROM (SELECT day, max(built_from) AS block FROM {database}.rollup_fallbacks_1d \
                       WHERE toMonday(day) >= toStartOfQuarter(toMonday(YYYYMMDDToDate({oldest}))) \
                          OR toMonday(day) < (SELECT ifNull(toStartOfQuarter(minOrNull(week)), toDate('2149-01-01')) FROM {database}.rollup_fallbacks_1w) \
                       GROUP BY day) GROUP BY key ORDER BY key DESC",
        built: "SELECT toString(toStartOfQuarter(week)) AS key, max(built_from) FROM {database}.rollup_fallbacks_1w WHERE _part_offset = 0 GROUP BY key",
        whole: false,
        partition: "'{partition}'",
        fill: include_str!("../../../rollups/rollup_fallbacks_1w.sql"),
    },
    DerivedTable {
        name: "rollup_coverage_1d",
        // A week needs the seven days before it, to see who fell silent.
        wanted: "SELECT toString(week) AS key, sum(cityHash64(day, block)) AS print, toYYYYMMDD(week - 7) AS first \
                 FROM (SELECT day, max(built_from) AS block FROM {whole}.reporting_1d WHERE _part_offset = 0 GROUP BY day{by_shard}) \
                 ARRAY JOIN [toMonday(day), toMonday(day) + 7] AS week GROUP BY week HAVING countIf(toMonday(day) = week) > 0",
        built: "SELECT toString(toMonday(day)) AS key, max(built_from) FROM {database}.rollup_coverage_1d GROUP BY key",
        whole: true,
        partition: "'{partition}'",
        fill: include_str!("../../../rollups/rollup_coverage_1d.sql"),
    },
    DerivedTable {
        name: "rollup_coverage_1w",
        // Weeks by quarter. A partition of days is a week, one of weeks a span, which may lie in two quarters; each is of one build.
        wanted: "SELECT toString(quarter) AS key, sum(cityHash64(start, kind, block)) AS print, toUInt32(29991231) AS first \
                 FROM (SELECT toMonday(day) AS start, 'days' AS kind, max(built_from) AS block, [toStartOfQuarter(start)] AS quarters \
                       FROM {database}.rollup_coverage_1d WHERE _part_offset = 0 GROUP BY start \
                       UNION ALL \
                       SELECT toDate(4 + intDiv(toUInt32(toDate(week)) - 4, 28) * 28) AS start, 'weeks' AS kind, max(built_from) AS block, \
                              arrayDistinct([toStartOfQuarter(start), toStartOfQuarter(start + 21)]) AS quarters \
                       FROM {whole}.rollup_split_1w WHERE _part_offset = 0 GROUP BY start{by_shard}) \
                 ARRAY JOIN quarters AS quarter GROUP BY quarter",
        built: "SELECT toString(toStartOfQuarter(week)) AS key, max(built_from) FROM {database}.rollup_coverage_1w WHERE _part_offset = 0 GROUP BY key",
        whole: true,
        partition: "'{partition}'",
        fill: include_str!("../../../rollups/rollup_coverage_1w.sql"),
    },
    DerivedTable {
        name: "participation_4w",
        // Day 4 of Unix time is the first Monday: as the epochs of pseudonyms (`door::pseudonym`).
        wanted: wanted!(
            "toString(toDate(4 + intDiv(toUInt32(day) - 4, 28) * 28))",
            "toYYYYMMDD(toDate(4 + intDiv(toUInt32(any(day)) - 4, 28) * 28))",
            "participation_1d",
            "day"
        ),
        built: "SELECT toString(span) AS key, max(built_from) FROM {database}.participation_4w WHERE _part_offset = 0 GROUP BY key",
        whole: true,
        partition: "'{partition}'",
        fill: include_str!("../../../rollups/participation_4w.sql"),
    },
    DerivedTable {
        name: "rollup_adoption_4w",
        wanted: "SELECT toString(span) AS key, max(built_from) AS print, toYYYYMMDD(span) AS first \
                 FROM {database}.participation_4w WHERE _part_offset = 0 GROUP BY span",
        built: "SELECT toString(span) AS key, max(built_from) FROM {database}.rollup_adoption_4w WHERE _part_offset = 0 GROUP BY key",
        whole: true,
        partition: "'{partition}'",
        fill: include_str!("../../../rollups/rollup_adoption_4w.sql"),
    },
    DerivedTable {
        name: "participation_1mo",
        wanted: wanted!(
            "toString(toStartOfMonth(day))",
            "toYYYYMMDD(toStartOfMonth(any(day)))",
            "participation_1d",
            "day"
        ),
        built: "SELECT toString(month) AS key, max(built_from) FROM {database}.participation_1mo WHERE _part_offset = 0 GROUP BY key",
        whole: true,
        partition: "'{partition}'",
        fill: include_str!("../../../rollups/participation_1mo.sql"),
    },
    DerivedTable {
        name: "rollup_retention",
        wanted: "SELECT 'all' AS key, sum(cityHash64(month, block)) AS print, toUInt32(29991231) AS first \
                 FROM (SELECT month, max(built_from) AS block FROM {database}.participation_1mo WHERE _part_offset = 0 GROUP BY month) \
                 HAVING count() > 0",
        built: "SELECT 'all' AS key, max(built_from) AS print FROM {database}.rollup_retention HAVING count() > 0",
        whole: true,
        partition: "tuple()",
        fill: include_str!("../../../rollups/rollup_retention.sql"),
    },
];

/// Names of all rollups.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let by_day = SOURCES.iter().flat_map(|source| source.tables).map(|table| table.name);
    by_day.chain(DERIVED.iter().map(|table| table.name))
}
