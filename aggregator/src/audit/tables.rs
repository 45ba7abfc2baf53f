//! The reports in ClickHouse, and the rollup beside the ledger.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;
use time::{Date, Month};
use uuid::Uuid;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::report::{BootEpoch, CollectorId};

use super::arguments::Windows;
use super::state::{Content, EpochName, Epochs};
use crate::bounded::Span;
use crate::load::rollup::{BUILT_FROM, LEDGER_BLOCKS, day_number};
use crate::store::{Store, StoreError};

/// Windows asked for at a time: bounds what ClickHouse groups at once. A day is a whole number of them.
const STEP_S: u64 = 6 * 3_600;
const SECONDS_PER_DAY: u64 = 86_400;
const SECONDS_PER_HOUR: u64 = 3_600;

/// Days that hold anything.
const DAYS: &str = "\
SELECT DISTINCT toUInt32(partition) AS day FROM system.parts \
WHERE database = '{database}' AND table IN ('ledger', 'reports') AND active ORDER BY day";

const REPORTS: &str = "\
SELECT toUInt32(window_start) AS window_start_s, collector_id, boot_epoch, sequence, reports, ledger_cells, report_cells, requests, attempts, input_tokens, \
output_tokens, total_requests, total_attempts, total_input_tokens, total_output_tokens, dropped_requests, kafka_partition, \
kafka_offset FROM {database}.report_audit_by_window \
WHERE window_start >= toDateTime({from}, 'UTC') AND window_start < toDateTime({to}, 'UTC')";

const HOURS: &str = "\
SELECT toUInt32(hour) AS hour_s, ledger_requests, rollup_requests, ledger_attempts, rollup_attempts, ledger_input_tokens, rollup_input_tokens, \
ledger_output_tokens, rollup_output_tokens, ledger_digest, rollup_digest FROM {database}.rollup_audit \
WHERE hour >= toDateTime({from}, 'UTC') AND hour < toDateTime({to}, 'UTC')";

const DISTRIBUTED: &str = "\
SELECT count() FROM system.tables WHERE database = '{database}' AND name = 'ledger' AND engine = 'Distributed'";

/// Whether the database only reads from shards, see `cluster`.
pub(crate) async fn are_of_all_shards(store: &Store) -> Result<bool, StoreError> {
    Ok(store.rows::<u64>(DISTRIBUTED).await? != [0])
}

#[derive(Row, Deserialize)]
struct Stored {
    window_start_s: u32,
    #[serde(with = "clickhouse::serde::uuid")]
    collector_id: Uuid,
    boot_epoch: u64,
    sequence: u64,
    reports: u64,
    ledger_cells: u64,
    report_cells: u64,
    requests: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
    total_requests: u64,
    total_attempts: u64,
    total_input_tokens: u64,
    total_output_tokens: u64,
    dropped_requests: u64,
    kafka_partition: u16,
    kafka_offset: u64,
}

/// What was read of ClickHouse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) reports: u64,
    pub(crate) cells: u64,
}

/// Adds the reports that ClickHouse holds. `spans` is what was looked at in Kafka before.
pub(crate) async fn read(
    store: &Store,
    windows: Windows,
    spans: &BTreeMap<i32, Span>,
    epochs: &mut Epochs,
) -> Result<Read, StoreError> {
    let mut read = Read::default();
    let days: Vec<u32> = store.rows(DAYS).await?;
    for Windows { from, to } in days.into_iter().flat_map(|day| steps(day, windows)) {
        let sql = REPORTS.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
        store
            .each_row::<Stored>(&sql, |row| {
                read.reports += u64::from(row.reports > 0);
                read.cells += row.ledger_cells;
                add(&row, spans, epochs);
            })
            .await?;
    }
    Ok(read)
}

/// The part of `windows` that lies within a day (yyyymmdd), in steps.
fn steps(day: u32, windows: Windows) -> impl Iterator<Item = Windows> {
    let month = u8::try_from(day / 100 % 100).ok().and_then(|month| Month::try_from(month).ok());
    let date = month.and_then(|month| {
        // Of a number below 100.
        Date::from_calendar_date(i32::try_from(day / 10_000).ok()?, month, (day % 100) as u8).ok()
    });
    let start = date.map_or(0, |date| date.midnight().assume_utc().unix_timestamp().unsigned_abs());
    let end = if date.is_some() { start + SECONDS_PER_DAY } else { start };
    (start..end).step_by(STEP_S as usize).filter_map(move |step| {
        let (from, to) = (step.max(windows.from), (step + STEP_S).min(windows.to));
        (from < to).then_some(Windows { from, to })
    })
}

fn add(row: &Stored, spans: &BTreeMap<i32, Span>, epochs: &mut Epochs) {
    let name = EpochName {
        collector: CollectorId(row.collector_id.into_bytes()),
        boot_epoch: BootEpoch(row.boot_epoch),
    };
    let content = Content {
        window_start_s: u64::from(row.window_start_s),
        cells: row.ledger_cells,
        counts: Counts {
            requests: row.requests,
            attempts: row.attempts,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
        },
        totals: Counts {
            requests: row.total_requests,
            attempts: row.total_attempts,
            input_tokens: row.total_input_tokens,
            output_tokens: row.total_output_tokens,
        },
        dropped_requests: row.dropped_requests,
    };
    let epoch = epochs.entry(name).or_default();
    if row.reports != 1 || row.ledger_cells != row.report_cells {
        epoch.torn.insert(row.sequence);
    }
    if row.reports > 0 {
        epoch.chain.add(row.sequence, &content);
    }
    let span = spans.get(&i32::from(row.kafka_partition));
    let offset = i64::try_from(row.kafka_offset).unwrap_or(i64::MAX);
    let side = match span {
        Some(span) if offset >= span.end => {
            epoch.stored_since.insert(row.sequence);
            return;
        }
        Some(span) if offset >= span.start => &mut epoch.stored,
        _ => &mut epoch.stored_before_kafka,
    };
    side.add(row.sequence, &content);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Deserialize)]
struct Hour {
    hour_s: u32,
    ledger_requests: u64,
    rollup_requests: u64,
    ledger_attempts: u64,
    rollup_attempts: u64,
    ledger_input_tokens: u64,
    rollup_input_tokens: u64,
    ledger_output_tokens: u64,
    rollup_output_tokens: u64,
    ledger_digest: u64,
    rollup_digest: u64,
}

/// A day of the rollup against the ledger: what the hours of the span sum to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) ledger: Counts,
    pub(crate) rollup: Counts,
    pub(crate) is_equal: bool,
    /// Block numbers: the ledger's before and after it was summed, and the one that the rollup was built from.
    pub(crate) before: Option<i64>,
    pub(crate) after: Option<i64>,
    pub(crate) built_from: Option<i64>,
}

impl Day {
    /// The ledger moved while it was looked at.
    pub(crate) fn moves(&self) -> bool {
        self.before != self.after
    }

    /// The rollup is not of the ledger as it is.
    pub(crate) fn is_behind(&self) -> bool {
        self.built_from != self.after
    }
}

/// The days of the whole hours within `windows`, by yyyymmdd.
pub(crate) async fn days(store: &Store, windows: Windows) -> Result<BTreeMap<u32, Day>, StoreError> {
    let from = windows.from.next_multiple_of(SECONDS_PER_HOUR);
    let to = windows.to - windows.to % SECONDS_PER_HOUR;
    let mut days: BTreeMap<u32, Day> = BTreeMap::new();
    if from >= to {
        return Ok(days);
    }
    let before = blocks(store, from).await?.0;
    let sql = HOURS.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
    let hours: Vec<Hour> = store.rows(&sql).await?;
    let (after, built_from) = blocks(store, from).await?;
    for hour in hours {
        let number = day_number(u64::from(hour.hour_s));
        let day = days.entry(number).or_insert(Day { is_equal: true, ..Day::default() });
        day.add(&hour);
        day.before = before.get(&number).copied();
        day.after = after.get(&number).copied();
        day.built_from = built_from.get(&number).copied();
    }
    Ok(days)
}

impl Day {
    fn add(&mut self, hour: &Hour) {
        self.ledger.add(&Counts {
            requests: hour.ledger_requests,
            attempts: hour.ledger_attempts,
            input_tokens: hour.ledger_input_tokens,
            output_tokens: hour.ledger_output_tokens,
        });
        self.rollup.add(&Counts {
            requests: hour.rollup_requests,
            attempts: hour.rollup_attempts,
            input_tokens: hour.rollup_input_tokens,
            output_tokens: hour.rollup_output_tokens,
        });
        self.is_equal &= hour.ledger_requests == hour.rollup_requests
            && hour.ledger_attempts == hour.rollup_attempts
            && hour.ledger_input_tokens == hour.rollup_input_tokens
            && hour.ledger_output_tokens == hour.rollup_output_tokens
            && hour.ledger_digest == hour.rollup_digest;
    }
}

type Blocks = BTreeMap<u32, i64>;

/// Per day the ledger's highest block number and the one that the rollup was built from.
async fn blocks(store: &Store, from_s: u64) -> Result<(Blocks, Blocks), StoreError> {
    let ledger: Vec<(u32, i64)> = store.rows(LEDGER_BLOCKS).await?;
    let built = BUILT_FROM.replace("{oldest}", &day_number(from_s).to_string());
    let built: Vec<(u32, i64)> = store.rows(&built).await?;
    Ok((ledger.into_iter().collect(), built.into_iter().collect()))
}

/// How long a rebuild that is due may take to come.
pub(crate) fn patience(rollup_interval_s: u64) -> std::time::Duration {
    std::time::Duration::from_secs(rollup_interval_s.saturating_add(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_where_load_read_them() {
        let spans = BTreeMap::from([(0, Span { low: 5, start: 10, end: 20 })]);
        let mut epochs = Epochs::default();
        let row = |sequence, kafka_partition, kafka_offset, reports| Stored {
            window_start_s: 60,
            collector_id: Uuid::from_u128(7),
            boot_epoch: 5,
            sequence,
            reports,
            ledger_cells: 2,
            report_cells: 2 * reports,
            requests: 3,
            attempts: 3,
            input_tokens: 0,
            output_tokens: 0,
            total_requests: 3 * (sequence + 1),
            total_attempts: 3 * (sequence + 1),
            total_input_tokens: 0,
            total_output_tokens: 0,
            dropped_requests: 0,
            kafka_partition,
            kafka_offset,
        };
        for (sequence, partition, offset, reports) in
            [(0, 0, 9, 1), (1, 0, 10, 1), (2, 0, 19, 1), (3, 0, 20, 1), (4, 9, 15, 1), (5, 0, 15, 0)]
        {
            add(&row(sequence, partition, offset, reports), &spans, &mut epochs);
        }
        let epoch = epochs.values().next().unwrap();
        assert_eq!(epoch.stored.sequences.to_string(), "1-2, 5");
        assert_eq!(epoch.stored_before_kafka.sequences.to_string(), "0, 4");
        assert_eq!(epoch.stored_since.to_string(), "3");
        assert_eq!(epoch.torn.to_string(), "5", "cells without their report");
        let (counted, claimed) = epoch.chain.counted_and_claimed();
        assert_eq!(counted, claimed);
    }

    #[test]
    fn steps_cover_a_day_within_the_span_once() {
        let day = 1_795_392_000;
        let all = |from, to| steps(20_261_123, Windows { from, to }).collect::<Vec<_>>();
        let whole = all(0, u64::MAX);
        assert_eq!((whole.len(), whole[0].from, whole[3].to), (4, day, day + SECONDS_PER_DAY));
        assert!(whole.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(all(day + 60, day + 120), [Windows { from: day + 60, to: day + 120 }]);
        assert_eq!(all(0, day), []);
        assert_eq!(steps(20_261_399, Windows { from: 0, to: u64::MAX }).count(), 0, "no day");
    }

    #[test]
    fn a_day_differs_by_its_digest_alone() {
        let hour = Hour {
            hour_s: 3_600,
            ledger_requests: 1,
            rollup_requests: 1,
            ledger_attempts: 1,
            rollup_attempts: 1,
            ledger_input_tokens: 2,
            rollup_input_tokens: 2,
            ledger_output_tokens: 3,
            rollup_output_tokens: 3,
            ledger_digest: 9,
            rollup_digest: 9,
        };
        let mut day = Day { is_equal: true, ..Day::default() };
        day.add(&hour);
        assert!(day.is_equal && !day.moves() && !day.is_behind());
        day.add(&Hour { rollup_digest: 8, ..hour });
        assert!(!day.is_equal && day.ledger == day.rollup);
    }
}
