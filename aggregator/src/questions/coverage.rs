//! `coverage`: what stands behind the figures: who reported and who fell silent, which windows were partial or late, what was dropped,
//! how much is unknown, which register classified it.

use super::{Asked, PartArguments};
use crate::answers::Kind::{Count, Name, Share};
use crate::answers::{AnswerError, Column, Document, View};
use crate::store::Store;

const SUMS: [Column; 12] = [
    ("environment", "environment", Name),
    ("collector_days", "all_collectors", Count),
    ("silent_collector_days", "all_silent", Count),
    ("reports", "all_reports", Count),
    ("covered_share", "all_covered_s / nullIf(all_collectors * 86400, 0)", Share),
    ("partial_windows", "all_partial", Count),
    ("late_windows", "all_late", Count),
    ("late_share", "all_late / nullIf(all_reports, 0)", Share),
    ("dropped_requests", "all_dropped", Count),
    ("requests", "all_requests", Count),
    ("unknown_requests", "all_unknown", Count),
    ("unknown_share", "all_unknown / nullIf(all_requests, 0)", Share),
];

const DAYS: [Column; 9] = [
    ("day", "toDate(time)", Name),
    ("collectors", "all_collectors", Count),
    ("silent_collectors", "all_silent", Count),
    ("reports", "all_reports", Count),
    ("covered_share", "all_covered_s / nullIf(all_collectors * 86400, 0)", Share),
    ("late_windows", "all_late", Count),
    ("dropped_requests", "all_dropped", Count),
    ("requests", "all_requests", Count),
    ("unknown_share", "all_unknown / nullIf(all_requests, 0)", Share),
];

const HOURS: [Column; 9] = [
    ("hour", "formatDateTime(time, '%Y-%m-%dT%H:00Z', 'UTC')", Name),
    ("collectors", "all_collectors", Count),
    ("reports", "all_reports", Count),
    ("covered_share", "all_covered_s / nullIf(all_collectors * 3600, 0)", Share),
    ("partial_windows", "all_partial", Count),
    ("late_windows", "all_late", Count),
    ("late_share", "all_late / nullIf(all_reports, 0)", Share),
    ("requests", "all_requests", Count),
    ("unknown_share", "all_unknown / nullIf(all_requests, 0)", Share),
];

const REGISTER: [Column; 4] = [
    ("register_of_the_database", "version", Name),
    ("oldest_of_the_reports", "if(found = 0, '-', toString(oldest))", Name),
    ("newest_of_the_reports", "if(found = 0, '-', toString(newest))", Name),
    ("reports_still_kept", "found", Count),
];

/// What stands behind which figures.
#[derive(Clone, Debug, clap::Args)]
pub struct CoverageArguments {
    /// Period, environments and products.
    #[command(flatten)]
    pub part: PartArguments,
    /// One row per day or per hour.
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
}

/// Rows of the table over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Days, UTC, with who fell silent and what was dropped.
    #[default]
    Day,
    /// Hours, UTC.
    Hour,
}

impl CoverageArguments {
    /// What they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn query(&self, now_s: u64) -> Result<(Asked, By), AnswerError> {
        Ok((self.part.days(now_s)?, self.by))
    }
}

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, asked: &Asked, by: By) -> Result<Document, AnswerError> {
    let condition = format!("{}{}", asked.period.covers_time("time"), asked.and_part());
    let summed = |series: &str, by: &str| {
        let of_days = match series {
            "coverage_1d" => "sum(collectors_silent) AS all_silent, sum(dropped_requests) AS all_dropped,",
            _ => "",
        };
        format!(
            "(SELECT {by}, {of_days} sum(collectors) AS all_collectors, sum(reports) AS all_reports, \
             sum(covered_s) AS all_covered_s, sum(partial_windows) AS all_partial, sum(late_windows) AS all_late, \
             sum(requests) AS all_requests, sum(unknown_requests) AS all_unknown \
             FROM {{database}}.{series} WHERE {condition} GROUP BY {by})"
        )
    };
    let sums = summed("coverage_1d", "environment");
    let (series, columns, key, caption): (_, &[Column], _, _) = match by {
        By::Day => ("coverage_1d", &DAYS, "days", "By day"),
        By::Hour => ("coverage_1h", &HOURS, "hours", "By hour"),
    };
    let over_time = summed(series, "time");
    let register = format!(
        "(SELECT (SELECT max(catalogue_version) FROM {{database}}.models) AS version, count() AS found, \
         min(catalogue_version) AS oldest, max(catalogue_version) AS newest FROM {{database}}.reports WHERE {})",
        asked.period.covers_time("window_start")
    );
    let view = |from, columns: &'static [Column], order| View {
        from,
        columns,
        suppressed: "0",
        condition: "1",
        order,
    };
    let tables = vec![
        view(&sums, &SUMS, "environment").read(store, "sums", "What stands behind the figures").await?,
        view(&over_time, columns, "time").read(store, key, caption).await?,
        view(&register, &REGISTER, "version").read(store, "register", "Register of models").await?,
    ];
    let notes = vec![
        "silent: reported in the seven days before and not on this day. covered: part of the day that the windows of those who reported \
         cover; late: stored more than ten minutes after the window's end."
            .to_owned(),
        "dropped: declared by collectors whose spool was full. requests: those that count for the split.".to_owned(),
    ];
    Ok(asked.document("what stands behind the figures", tables, notes))
}
