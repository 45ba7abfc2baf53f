//! A generated year of rollups of 100,000 collectors, and what panels ask of it.
//!
//! How the year is made is said in `year.sql`. Weeks, spans, cohorts and six hours are then built by the project's own code from days, months and hours.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::answers::Answers;
use crate::grafana::macros::TimeRange;
use crate::grafana::run;

/// Statements that make the year.
const YEAR: &str = include_str!("year.sql");
/// The year of panels.
const PERIOD: &str = "t.time >= toDateTime('2025-11-24 00:00:00', 'UTC') AND t.time < toDateTime('2026-11-23 00:00:00', 'UTC')";
/// The last 13 weeks of it: the most for which panels by model take weeks instead of spans of four.
const QUARTER: &str = "t.time >= toDateTime('2026-08-24 00:00:00', 'UTC') AND t.time < toDateTime('2026-11-23 00:00:00', 'UTC')";
/// The last 14 days of it: the most for which panels by model take days.
const LATELY: &str = "t.time >= toDateTime('2026-11-09 00:00:00', 'UTC') AND t.time < toDateTime('2026-11-23 00:00:00', 'UTC')";
/// The last 30 days of it: the most for which panels by outcome take days.
const MONTH: &str = "t.time >= toDateTime('2026-10-24 00:00:00', 'UTC') AND t.time < toDateTime('2026-11-23 00:00:00', 'UTC')";
/// The last 60 days of it: the most for which panels of the split take days instead of weeks.
const RECENT: &str = "t.time >= toDateTime('2026-09-24 00:00:00', 'UTC') AND t.time < toDateTime('2026-11-23 00:00:00', 'UTC')";
const SHARES: &str = "sumIf(t.requests, t.class = 'open') / nullIf(sumIf(t.requests, t.class != 'unknown'), 0) AS open_share, \
     sumIf(t.requests, t.class = 'open') / nullIf(sum(t.requests), 0) AS lower, \
     sumIf(t.requests, t.class != 'closed') / nullIf(sum(t.requests), 0) AS upper";

/// The year's merges take seconds.
const MERGES_LIMIT: Duration = Duration::from_secs(120);

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// What it is printed as.
    pub name: String,
    /// Its statement, without FORMAT.
    pub sql: String,
}

/// What a query cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Rows of the answer.
    pub rows: u64,
    /// Rows that ClickHouse read.
    pub rows_read: u64,
    /// Milliseconds of each run by ClickHouse's own clock, ascending.
    pub milliseconds: Vec<f64>,
}

impl Cost {
    /// The time that so many percent of the runs do not exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        let last = self.milliseconds.len().saturating_sub(1);
        self.milliseconds
            .get((self.milliseconds.len() * percent / 100).min(last))
            .copied()
            .unwrap_or_default()
    }
}

/// All dashboards.
const EVERY: &[&str] = &["adoption:", "fallbacks:", "models:", "overview:", "pipeline-health:"];
/// Those that read hours and minutes.
const BY_HOUR: &[&str] = &["fallbacks:", "models:", "overview:", "pipeline-health:"];

/// What the delivered dashboards ask: of the year, of the longest ranges for which they take a finer rollup, and of hours.
pub async fn of_dashboards(answers: &Answers) -> Vec<Query> {
    let mut all = Vec::new();
    for (name, from, boards) in [
        ("year", "2025-11-24 00:00:00", EVERY),
        ("60 days", "2026-09-24 00:00:00", EVERY),
        ("13 weeks", "2026-08-24 00:00:00", &["models:"]),
        ("14 days", "2026-11-09 00:00:00", &["models:"]),
        ("30 days", "2026-10-24 00:00:00", &["fallbacks:"]),
        ("72 hours", "2026-11-20 00:00:00", BY_HOUR),
        ("48 hours", "2026-11-21 00:00:00", BY_HOUR),
        ("24 hours", "2026-11-22 00:00:00", BY_HOUR),
        ("12 hours", "2026-11-22 12:00:00", BY_HOUR),
        ("6 hours", "2026-11-22 18:00:00", BY_HOUR),
        ("1 hour", "2026-11-22 23:00:00", BY_HOUR),
    ] {
        let ms = |time: &str| format!("toUnixTimestamp(toDateTime('{time}', 'UTC')) * 1000");
        let bounds = format!("SELECT {}, {}", ms(from), ms("2026-11-23 00:00:00"));
        let bounds = answers.clickhouse.query(&bounds).await;
        let (from_ms, to_ms) = bounds.split_once('\t').expect("two numbers");
        let range = TimeRange {
            from_ms: from_ms.parse().expect("milliseconds"),
            to_ms: to_ms.parse().expect("milliseconds"),
            interval_ms: 60_000,
        };
        let statements = run::statements(&answers.clickhouse.url(), range).await;
        let mut statements = statements.unwrap_or_else(|problem| panic!("dashboards: {problem}"));
        statements.retain(|(panel, _)| boards.iter().any(|board| panel.starts_with(board)));
        for (panel, sql) in statements {
            all.push(Query { name: format!("{name}, {panel}"), sql });
        }
    }
    all
}

/// Makes the year.
pub async fn generate(answers: &Answers, mut say: impl FnMut(&str)) {
    for statement in weighbridge_aggregator::migrate::statements(YEAR) {
        let since = Instant::now();
        answers.clickhouse.query(&statement).await;
        let begin: String = statement.chars().take(60).collect();
        say(&format!("{:6.1} s {}", since.elapsed().as_secs_f64(), begin.replace('\n', " ")));
    }
    let since = Instant::now();
    answers.rebuild().await;
    answers.clickhouse.query("DROP DATABASE population SYNC").await;
    say(&format!(
        "{:6.1} s weeks, adoption and cohorts from days, spans and months",
        since.elapsed().as_secs_f64()
    ));
    let since = Instant::now();
    // A server merges what was loaded at once; panels are asked of one that has.
    while since.elapsed() < MERGES_LIMIT
        && answers.clickhouse.query("SELECT count() FROM system.merges").await != "0"
    {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    say(&format!("{:6.1} s merges", since.elapsed().as_secs_f64()));
}

/// ClickHouse takes no more threads than the server has GiB free, and the embedded one is given two at most.
const TWO_THREADS: &str = "max_threads = 2, max_threads_min_free_memory_per_thread = 67108864";

/// Runs a query so often and measures it, on two threads.
pub async fn measure(answers: &Answers, query: &Query, runs: usize) -> Cost {
    let sql = format!("{} SETTINGS {TWO_THREADS} FORMAT JSON", query.sql);
    let mut cost = Cost { rows: 0, rows_read: 0, milliseconds: Vec::with_capacity(runs) };
    for _ in 0..runs {
        let answer: Value =
            serde_json::from_str(&answers.clickhouse.query(&sql).await).expect("an answer in JSON");
        cost.rows = answer["rows"].as_u64().unwrap_or_default();
        cost.rows_read = answer["statistics"]["rows_read"].as_u64().unwrap_or_default();
        cost.milliseconds.push(answer["statistics"]["elapsed"].as_f64().unwrap_or_default() * 1_000.);
    }
    cost.milliseconds.sort_by(f64::total_cmp);
    cost
}

/// What panels ask of every view: over the year, and by day where they do.
pub fn queries() -> Vec<Query> {
    let series = |view: &str, period: &str, what: &str, by: &str| {
        format!("SELECT {what} FROM weighbridge.{view} AS t WHERE {period} {by}")
    };
    let by_time = |view: &str, period: &str| {
        series(view, period, &format!("t.time, {SHARES}"), "GROUP BY t.time ORDER BY t.time")
    };
    let top = |view: &str, period: &str, key: &str, and: &str| {
        let what = format!("{key} AS label, sum(t.requests) AS total, {SHARES}");
        series(view, &format!("{period}{and}"), &what, "GROUP BY label ORDER BY total DESC LIMIT 20")
    };
    let production = " AND t.environment = 'production'";
    let answer = |view: &str, and: &str| {
        format!(
            "SELECT * FROM weighbridge.{view} AS t WHERE t.span >= '2025-11-24' AND t.span < '2026-11-23'{and}"
        )
    };
    let listed = [
        ("split: headline, year", series("traffic_split_1w", PERIOD, SHARES, "")),
        ("split: shares by week, year", by_time("traffic_split_1w", PERIOD)),
        ("split: shares by day, 60 days", by_time("traffic_split_1d", RECENT)),
        ("split: one product by week, year", by_time("traffic_split_1w", &format!("{PERIOD} AND t.gateway_product = 'kong'"))),
        ("split: hosting, year", top("traffic_split_1w", PERIOD, "toString(t.hosting)", "")),
        ("split: products of production, year", top("traffic_split_1w", PERIOD, "toString(t.gateway_product)", production)),
        (
            "outcomes by week, year",
            series("outcomes_1w", PERIOD, "t.time, t.outcome, sum(t.requests), sum(t.attempts)", "GROUP BY t.time, t.outcome ORDER BY t.time"),
        ),
        (
            "outcomes by day, 30 days",
            series("outcomes_1d", MONTH, "t.time, t.outcome, sum(t.requests), sum(t.attempts)", "GROUP BY t.time, t.outcome ORDER BY t.time"),
        ),
        (
            "models: top 20 by number, year",
            series("models_4w", PERIOD, "any(t.model), t.model_id, sum(t.requests) AS total", "GROUP BY t.model_id ORDER BY total DESC LIMIT 20"),
        ),
        ("models: top 20 by name, year", top("models_4w", PERIOD, "t.model", "")),
        ("models: providers of production, year", top("models_4w", PERIOD, "t.provider", production)),
        ("models: one model by week, 13 weeks", by_time("models_1w", &format!("{QUARTER} AND t.model_id = (SELECT max(id) FROM weighbridge.models WHERE name = 'gpt-oss-120b')"))),
        ("models: top 20 by number, 13 weeks", series("models_1w", QUARTER, "any(t.model), t.model_id, sum(t.requests) AS total", "GROUP BY t.model_id ORDER BY total DESC LIMIT 20")),
        ("models: top 20 by number, 14 days", series("models_1d", LATELY, "any(t.model), t.model_id, sum(t.requests) AS total", "GROUP BY t.model_id ORDER BY total DESC LIMIT 20")),
        ("licences, year", top("licences_4w", PERIOD, "t.licence", "")),
        (
            "fallbacks by kind, year",
            series(
                "fallbacks_1w",
                PERIOD,
                "t.from_class, t.after_outcome, t.to_class, sum(t.requests_min), sum(t.requests_likely), sum(t.requests_max)",
                "GROUP BY t.from_class, t.after_outcome, t.to_class",
            ),
        ),
        (
            "coverage by week, year",
            series("coverage_1w", PERIOD, "t.time, sum(t.collector_days), sum(t.late_windows), sum(t.unknown_requests)", "GROUP BY t.time ORDER BY t.time"),
        ),
        (
            "coverage by day, 60 days",
            series("coverage_1d", RECENT, "t.time, sum(t.collectors), sum(t.collectors_silent), sum(t.unknown_requests)", "GROUP BY t.time ORDER BY t.time"),
        ),
        ("answer: traffic_split, year", answer("traffic_split", "")),
        ("answer: hosting, year", answer("hosting", "")),
        ("answer: licences, a span", "SELECT * FROM weighbridge.licences AS t WHERE t.span = '2026-10-26'".to_owned()),
        (
            "answer: models of production, a span",
            "SELECT * FROM weighbridge.model_split AS t WHERE t.span = '2026-10-26' AND t.environment = 'production' ORDER BY t.share_of_requests DESC LIMIT 20".to_owned(),
        ),
        ("answer: fallbacks, year", answer("fallbacks", " AND t.environment = 'production'")),
        ("answer: adoption, year", answer("adoption", "")),
        ("answer: production_share, year", answer("production_share", "")),
        ("answer: coverage, year", answer("coverage", "")),
        ("answer: retention", "SELECT * FROM weighbridge.retention".to_owned()),
    ];
    listed.into_iter().map(|(name, sql)| Query { name: name.to_owned(), sql }).collect()
}

/// Bytes of each table and what they are per row and per column of a row.
pub async fn sizes(answers: &Answers) -> String {
    answers
        .clickhouse
        .query(
            "SELECT rpad(p.table, 22), lpad(toString(sum(p.rows)), 12), lpad(toString(round(sum(p.data_compressed_bytes) / sum(p.rows), 2)), 8), \
             lpad(toString(round(sum(p.data_compressed_bytes) / sum(p.rows) / any(c.columns), 3)), 8) \
             FROM system.parts AS p \
             INNER JOIN (SELECT table, count() AS columns FROM system.columns WHERE database = 'weighbridge' GROUP BY table) AS c ON c.table = p.table \
             WHERE p.database = 'weighbridge' AND p.active AND p.rows > 1000 GROUP BY p.table ORDER BY p.table",
        )
        .await
}
