//! What each column of a view means, in the database: `system.columns`, `DESCRIBE`, and every tool that shows them.
//!
//! In: the views that are there. Out: a comment on each of their columns, set where it differs: a view that a later migration replaces
//! gets its comments back. A column has one meaning wherever its name stands, but for `OF_VIEWS`. A column without a comment
//! here keeps what it has; a test fails while there is one.

use tracing::info;

use crate::cluster;
use crate::register::quote;
use crate::store::{Store, StoreError};

/// Rows of (database, view, column, comment).
const FOUND: &str = "\
SELECT c.database, c.table, c.name, c.comment FROM system.columns AS c \
INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table \
WHERE c.database IN ('{database}', '{overview}') AND t.engine = 'View' ORDER BY c.database, c.table, c.position";

/// View, column, comment: where a name means something else than elsewhere.
const OF_VIEWS: &[(&str, &str, &str)] = &[
    ("adoption", "environment", "environment of the collectors; all: over every environment"),
    ("fallbacks", "share", "requests_likely over all fallbacks of the span and environment, 0 to 1"),
    ("coverage", "requests", "requests of the split: served chat and text completion"),
    ("coverage_1h", "requests", "requests of the split: served chat and text completion"),
    ("coverage_1d", "requests", "requests of the split: served chat and text completion"),
    ("coverage_1w", "requests", "requests of the split: served chat and text completion"),
    ("coverage_1h", "collectors", "collectors that sent a report of this hour"),
    ("coverage_1d", "collectors", "collectors that sent a report of this day"),
    ("retention", "collectors", "collectors whose first open traffic on record is of this month"),
    ("report_audit", "reports", "copies of the report in the table reports: 1"),
    ("report_audit_by_window", "reports", "copies of the report in the table reports: 1"),
    (
        "licences_1w",
        "licence",
        "licence of the model on the Monday of the week, by the register of now; empty: not known",
    ),
    (
        "licences_4w",
        "licence",
        "licence of the model on the first day of the span, by the register of now; empty: not known",
    ),
    (
        "licences",
        "licence",
        "licence of the model on the Monday of each week, by the register of now; empty: not known",
    ),
    ("traffic_reclassified", "openness", "openness of the model on the day, by the register of now"),
];

/// Column, comment.
#[rustfmt::skip]
const COLUMNS: &[(&str, &str)] = &[
    // When.
    ("time", "start of the step that the name of the view ends with, UTC"),
    ("hour", "start of the hour, UTC"),
    ("span", "first day of the four weeks, a Monday; spans are counted from 1970-01-05"),
    ("cohort", "month of the first open traffic, its first day"),
    ("months_later", "months after that: 0, 1, 3, 6"),
    ("window_start", "start of the window, by the collector's clock, UTC"),
    ("window_end", "end of the report's window, by the collector's clock, UTC"),
    ("last_window_end", "end of the newest window, by the collector's clock, UTC"),
    ("newest", "start of the newest window with traffic in the hour, by the collector's clock, UTC"),
    // What kind of traffic.
    ("environment", "environment of the collector"),
    ("vantage", "where the collector stands; only gateway counts for the split"),
    ("gateway_product", "product that the collector reads"),
    ("model_id", "number of the served model in the register; 0: unlisted"),
    ("model", "name of the served model in the register"),
    ("family", "family of the model in the register"),
    ("developer", "maker of the model in the register; empty: unlisted"),
    ("licence", "licence of the model on the day, by the register of now; empty: not known"),
    ("provider_id", "number of the provider in the register; 0: unlisted"),
    ("provider", "name of the provider in the register"),
    ("openness", "openness of the model's weights at the date of the traffic, as counted"),
    ("counted_openness", "openness at the date of the traffic, as counted"),
    ("class", "openness in three: open, closed, unknown"),
    ("hosting", "who runs the model"),
    ("operation", "what was asked for"),
    ("choice", "first: the model chosen first; fallback: another after it failed"),
    ("streaming", "whether the answer was streamed"),
    ("outcome", "how the request ended"),
    ("from_class", "class of the model that failed"),
    ("after_outcome", "how it failed"),
    ("to_class", "class of the model that served"),
    ("volume_class", "10 to this power requests a day with traffic, and more"),
    ("active_days", "days with any request in the span"),
    // Counts.
    ("requests", "client requests with a final outcome, number"),
    ("attempts", "tries at an upstream, number; never added to requests"),
    ("input_tokens", "input tokens, number"),
    ("output_tokens", "output tokens, number"),
    ("open_requests", "requests to open models, number"),
    ("closed_requests", "requests to closed models, number"),
    ("unknown_requests", "requests to models of unknown openness, number"),
    ("open_input_tokens", "input tokens of open models, number"),
    ("closed_input_tokens", "input tokens of closed models, number"),
    ("unknown_input_tokens", "input tokens of models of unknown openness, number"),
    ("open_output_tokens", "output tokens of open models, number"),
    ("closed_output_tokens", "output tokens of closed models, number"),
    ("unknown_output_tokens", "output tokens of models of unknown openness, number"),
    ("requests_min", "at least so many requests went this way"),
    ("requests_max", "at most so many requests went this way"),
    ("requests_likely", "requests that went this way, in proportion to the failed attempts of the window"),
    ("dropped_requests", "requests that were counted and dropped unsent because the spool was full, number"),
    // Shares.
    ("open_share", "open over open and closed requests, 0 to 1; NULL: of nothing"),
    ("open_share_lower", "the same with unknown as closed, 0 to 1"),
    ("open_share_upper", "the same with unknown as open, 0 to 1"),
    ("input_open_share", "open over open and closed input tokens, 0 to 1; NULL: of nothing"),
    ("input_open_share_lower", "the same with unknown as closed, 0 to 1"),
    ("input_open_share_upper", "the same with unknown as open, 0 to 1"),
    ("output_open_share", "open over open and closed output tokens, 0 to 1; NULL: of nothing"),
    ("output_open_share_lower", "the same with unknown as closed, 0 to 1"),
    ("output_open_share_upper", "the same with unknown as open, 0 to 1"),
    ("share_of_requests", "requests of the row over those of its span and environment, 0 to 1"),
    ("share_lower", "the same of requests_min, 0 to 1"),
    ("share_upper", "the same of requests_max, 0 to 1"),
    // Who.
    ("suppressed", "1: a group of fewer than five contributors, or the one beside it; what is counted is NULL"),
    ("contributors_at_least", "contributors, a lower bound; 0: not authenticated"),
    ("participants", "contributors (not authenticated: collectors) with served chat or text completion, number"),
    ("with_open", "participants with any open traffic, number"),
    ("with_open_max", "participants with any open or unknown traffic, number"),
    ("with_majority", "participants with more open than closed requests, number"),
    ("with_majority_min", "the same with unknown as closed, number"),
    ("with_majority_max", "the same with unknown as open, number"),
    ("with_sustained", "participants with open traffic on at least 20 of the 28 days, number"),
    ("with_sustained_max", "participants with open or unknown traffic on at least 20 of the 28 days, number"),
    ("with_open_share", "with_open over participants, 0 to 1"),
    ("with_open_max_share", "with_open_max over participants, 0 to 1"),
    ("with_majority_share", "with_majority over participants, 0 to 1"),
    ("with_majority_min_share", "with_majority_min over participants, 0 to 1"),
    ("with_majority_max_share", "with_majority_max over participants, 0 to 1"),
    ("with_sustained_share", "with_sustained over participants, 0 to 1"),
    ("with_sustained_max_share", "with_sustained_max over participants, 0 to 1"),
    ("is_first_on_record", "1: the first month on record, whose collectors may have begun earlier"),
    ("is_complete", "1: the later month is over"),
    ("still", "collectors of the cohort with open traffic in the later month, number"),
    ("still_max", "collectors of the cohort with open or unknown traffic in the later month, number"),
    ("retention", "still over collectors, 0 to 1"),
    ("retention_upper", "still_max over collectors, 0 to 1"),
    ("share_first", "mean open share of those that stayed, in the first month, 0 to 1"),
    ("share_later", "mean open share of those that stayed, in the later month, 0 to 1"),
    ("moved", "share_later less share_first, -1 to 1"),
    // What stands behind it.
    ("collectors_silent", "collectors that reported in the seven days before and not on this day"),
    ("collector_days", "collectors that reported, summed over days"),
    ("silent_collector_days", "collectors that reported in the seven days before and not on the day, summed over days"),
    ("reports", "reports, number"),
    ("covered_s", "time covered by windows, seconds, summed over collectors"),
    ("partial_windows", "windows in which the collector started, number"),
    ("late_windows", "windows stored more than ten minutes after their end, number"),
    ("unknown_share", "unknown_requests over requests, 0 to 1"),
    ("covered_share", "time covered over the days of collectors that reported, 0 to 1"),
    ("partial_share", "partial windows over reports, 0 to 1"),
    ("late_share", "late windows over reports, 0 to 1"),
    ("version", "version of the newest migration that was run"),
    // Audits.
    ("collector_id", "random id of the collector"),
    ("boot_epoch", "one start of the collector: Unix milliseconds << 20 | random"),
    ("sequence", "number of the report within the boot epoch"),
    ("first_sequence", "smallest sequence that is there"),
    ("last_sequence", "largest sequence that is there"),
    ("present_reports", "reports that are there, number"),
    ("expected_reports", "reports from the first to the last sequence, number"),
    ("torn_reports", "reports whose cells are not all there, or that are there twice, number"),
    ("ledger_cells", "cells of the report in the ledger, number"),
    ("report_cells", "cells that the report says it has, number"),
    ("total_requests", "requests of the boot epoch up to this report, as it says"),
    ("total_attempts", "attempts of the boot epoch up to this report, as it says"),
    ("total_input_tokens", "input tokens of the boot epoch up to this report, as it says"),
    ("total_output_tokens", "output tokens of the boot epoch up to this report, as it says"),
    ("counted_requests", "requests in the ledger"),
    ("claimed_requests", "requests that the reports say there are"),
    ("counted_attempts", "attempts in the ledger"),
    ("claimed_attempts", "attempts that the reports say there are"),
    ("counted_input_tokens", "input tokens in the ledger"),
    ("claimed_input_tokens", "input tokens that the reports say there are"),
    ("counted_output_tokens", "output tokens in the ledger"),
    ("claimed_output_tokens", "output tokens that the reports say there are"),
    ("kafka_partition", "partition of the topic where the stored copy was read"),
    ("kafka_offset", "offset in it"),
    ("ledger_requests", "requests in the ledger"),
    ("ledger_attempts", "attempts in the ledger"),
    ("ledger_input_tokens", "input tokens in the ledger"),
    ("ledger_output_tokens", "output tokens in the ledger"),
    ("ledger_digest", "sum of counts weighted by a hash of their dimensions, in the ledger"),
    ("rollup_requests", "requests in traffic_1h"),
    ("rollup_attempts", "attempts in traffic_1h"),
    ("rollup_input_tokens", "input tokens in traffic_1h"),
    ("rollup_output_tokens", "output tokens in traffic_1h"),
    ("rollup_digest", "the same sum in traffic_1h; equal: every combination of dimensions holds the same"),
];

/// Sets what differs, a statement a view.
///
/// # Errors
/// ClickHouse refused, or cannot be reached. Run it again.
pub(crate) async fn apply(store: &Store) -> Result<(), StoreError> {
    let found = FOUND.replace("{overview}", &cluster::overview(store.database()));
    let found: Vec<(String, String, String, String)> = store.rows(&found).await?;
    for columns in found.chunk_by(|one, next| (&one.0, &one.1) == (&next.0, &next.1)) {
        let Some((database, view, ..)) = columns.first() else { continue };
        let changes: Vec<String> = columns
            .iter()
            .filter_map(|(_, view, column, comment)| Some((column, comment, comment_of(view, column)?)))
            .filter(|(_, comment, wanted)| comment.as_str() != *wanted)
            .map(|(column, _, wanted)| format!("COMMENT COLUMN {column} {}", quote(wanted)))
            .collect();
        if !changes.is_empty() {
            store.define(&format!("ALTER TABLE {database}.{view} {}", changes.join(", "))).await?;
            info!(view, columns = changes.len(), "columns commented");
        }
    }
    Ok(())
}

/// What a column of a view means.
fn comment_of(view: &str, column: &str) -> Option<&'static str> {
    let own = OF_VIEWS.iter().find(|(of, name, _)| *of == view && *name == column).map(|(_, _, text)| *text);
    own.or_else(|| COLUMNS.iter().find(|(name, _)| *name == column).map(|(_, text)| *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_meaning_but_where_a_view_says_otherwise() {
        let mut names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert_eq!(comment_of("adoption", "environment"), Some(OF_VIEWS[0].2));
        assert_eq!(comment_of("hosting", "environment"), Some("environment of the collector"));
        assert_eq!(comment_of("hosting", "nothing"), None);
    }
}
