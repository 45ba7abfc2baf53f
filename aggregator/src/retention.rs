//! How long each table keeps a row.
//!
//! In: the configured days. Out: the TTL of every table that has one, changed where it differs; partitions drop whole. A table that
//! is right already is not touched, so `migrate up` may be run at any time. 0 days: the TTL is removed.

use tracing::info;

use crate::config::Retention;
use crate::store::{Store, StoreError};

/// From the later of window and arrival, so that a late row is not deleted on arrival.
const LEDGER: &str = "greatest(window_start, ingested_at)";

const DEFINITIONS: &str =
    "SELECT name, engine_full FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree'";

/// Table, time it counts from, days.
fn tables(ledger_days: u16, retention: Retention) -> Vec<(&'static str, &'static str, u16)> {
    let Retention { minute_days, hour_days, day_days, participation_days } = retention;
    vec![
        ("ledger", LEDGER, ledger_days),
        ("reports", LEDGER, ledger_days),
        ("traffic_1m", "minute", minute_days),
        ("rollup_split_1m", "minute", minute_days),
        ("rollup_split_5m", "minute", minute_days),
        ("traffic_1h", "hour", hour_days),
        ("rollup_split_1h", "hour", hour_days),
        ("rollup_models_1h", "hour", hour_days),
        ("rollup_models_6h", "hour", hour_days),
        ("rollup_unknown_1h", "hour", hour_days),
        ("rollup_fallbacks_1h", "hour", hour_days),
        ("rollup_coverage_1h", "hour", hour_days),
        ("traffic_1d", "day", day_days),
        ("rollup_split_1d", "day", day_days),
        ("rollup_models_1d", "day", day_days),
        ("rollup_split_1w", "week", day_days),
        ("rollup_models_1w", "week", day_days),
        ("rollup_models_4w", "span", day_days),
        ("rollup_split_4w", "span", day_days),
        ("rollup_fallbacks_1w", "week", day_days),
        ("rollup_coverage_1w", "week", day_days),
        ("rollup_fallbacks_1d", "day", day_days),
        ("rollup_coverage_1d", "day", day_days),
        ("rollup_adoption_4w", "span", day_days),
        ("reporting_1d", "day", participation_days),
        ("participation_1d", "day", participation_days),
        ("participation_4w", "span", participation_days),
        ("participation_1mo", "month", participation_days),
    ]
}

/// Sets what differs.
///
/// # Errors
/// ClickHouse refused, or cannot be reached. Run it again.
pub(crate) async fn apply(store: &Store) -> Result<(), StoreError> {
    let definitions: Vec<(String, String)> = store.rows(DEFINITIONS).await?;
    for (table, time, days) in tables(store.ledger_ttl_days(), store.retention()) {
        let Some((_, definition)) = definitions.iter().find(|(name, _)| name == table) else { continue };
        if let Some(change) = change(definition, time, days) {
            store.define(&format!("ALTER TABLE {{database}}.{table} {change}")).await?;
            info!(table, days, "retention set");
        }
    }
    Ok(())
}

/// What brings a table with this definition to the days; none if it is there.
fn change(definition: &str, time: &str, days: u16) -> Option<String> {
    let ttl = definition.split(" SETTINGS ").next().and_then(|start| start.split_once(" TTL "));
    match (ttl, days) {
        (None, 0) => None,
        (Some(_), 0) => Some("REMOVE TTL".to_owned()),
        (Some((_, ttl)), days) if ttl == format!("{time} + toIntervalDay({days})") => None,
        _ => Some(format!("MODIFY TTL {time} + INTERVAL {days} DAY")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_changed() {
        let with = "MergeTree PARTITION BY toYYYYMMDD(minute) ORDER BY minute TTL minute + toIntervalDay(90) SETTINGS index_granularity = 8192";
        let without = "MergeTree ORDER BY minute SETTINGS index_granularity = 8192";
        assert_eq!(change(with, "minute", 90), None);
        assert_eq!(change(without, "minute", 0), None);
        assert_eq!(change(with, "minute", 0).unwrap(), "REMOVE TTL");
        for definition in [with, without] {
            assert_eq!(change(definition, "minute", 7).unwrap(), "MODIFY TTL minute + INTERVAL 7 DAY");
        }
    }
}
