//! The rollups: rebuilt from `ledger FINAL` and `reports FINAL`, one day at a time, and swapped in whole.
//!
//! In: the ledger and the reports. Out: the tables of `tables`. Guarantees: a reader of a table sees a day (for those made of days:
//! a week, a span, a month) as it was before or after a rebuild, never between. Each is a pure function of its source, so
//! a rebuild may be killed anywhere and any number may run at once: an older build that wins carries an older block
//! number, and the next run replaces it. A day whose source begins to expire is never rebuilt again.
//! Does not guarantee: that the rollups hold the last seconds (they are at most one interval and one rebuild behind), nor that two
//! tables are of the same moment.

mod stage;
mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use time::macros::format_description;
use time::{Date, OffsetDateTime};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::stage::Stages;
use self::tables::{DERIVED, DayTable, DerivedTable, Period, Rows, SOURCES, Source};
use super::metrics::Metrics;
use crate::clock::Clock;
use crate::cluster::{self, Shard};
use crate::sabotage::{self, Guarantee};
use crate::store::{Store, StoreError};

const SECONDS_PER_DAY: u64 = 86_400;
/// A day is left alone this long before its first rows expire: longer than a rebuild takes.
const EXPIRY_MARGIN_S: u64 = 3_600;

/// A run is followed by a pause of at least so many times its length: rebuilds take a third of the time at most.
const REST: u32 = 2;

/// Per day the highest block number of the ledger.
pub(crate) const LEDGER_BLOCKS: &str = "\
SELECT toUInt32(partition) AS day, max(max_block_number) AS block FROM system.parts \
WHERE database = '{database}' AND table = 'ledger' AND active GROUP BY partition ORDER BY day";

/// Per day from `{oldest}` on the block number that the rollup by hour was built from.
pub(crate) const BUILT_FROM: &str = "\
SELECT toYYYYMMDD(hour) AS day, max(built_from) AS block FROM {database}.traffic_1h \
WHERE toYYYYMMDD(hour) >= {oldest} GROUP BY day";

/// The same of any table. Where a partition is a day, all rows of a part are of one build and the first tells.
const BUILT_BY_DAY: &str = "\
SELECT toYYYYMMDD({time}) AS of_day, max(built_from) AS block FROM {database}.{table} \
WHERE {time} >= toDateTime(YYYYMMDDToDate({oldest}), 'UTC'){first} GROUP BY of_day";

/// The other days of a week, taken along.
const OTHER_DAYS: &str = "\
INSERT INTO {database}.{stage:{table}} SELECT * FROM {database}.{table} \
WHERE toMonday({time}) = toMonday(YYYYMMDDToDate({day})) AND toYYYYMMDD({time}) != {day} SETTINGS async_insert = 0";

/// The task that keeps the rollup.
pub(crate) struct Rollup {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) every: Duration,
    pub(crate) shard: Shard,
    /// Nothing is rebuilt while it is false. Two tasks that both lead only do the work twice.
    pub(crate) leads: Arc<AtomicBool>,
}

impl Rollup {
    /// Rebuilds what moved, again and again, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if !self.leads.load(Ordering::Relaxed) {
                continue;
            }
            let since = Instant::now();
            // Dropped in the middle it leaves stage tables, which a later run drops.
            let result = tokio::select! {
                () = shutdown.cancelled() => return,
                result = rebuild_with(&self.store, &self.clock, self.shard, |since, built| self.observe(since, built)) => result,
            };
            if let Err(error) = result {
                self.metrics.rebuild_failures.inc();
                warn!(%error, code = error.code(), "rollup not rebuilt, trying again at the next run");
            }
            ticks.reset_after(self.every.max(since.elapsed() * REST));
        }
    }

    fn observe(&self, since: Instant, built: bool) {
        self.metrics.rebuild_seconds.observe(since.elapsed().as_secs_f64());
        if built {
            self.metrics.days_rebuilt.inc();
        }
    }
}

/// Rebuilds every day whose ledger moved since its build; gives the number of days.
///
/// # Errors
/// The first statement that failed. Days before it are rebuilt.
pub async fn rebuild(store: &Store, clock: &Clock) -> Result<usize, StoreError> {
    rebuild_with(store, clock, Shard::default(), |_, _| ()).await
}

async fn rebuild_with(
    store: &Store,
    clock: &Clock,
    shard: Shard,
    observe: impl Fn(Instant, bool),
) -> Result<usize, StoreError> {
    stage::drop_orphans(store).await?;
    let oldest = oldest_day(clock.unix_s(), store.ledger_ttl_days());
    let mut days = 0;
    for source in &SOURCES {
        for (day, block) in moved(store, source, oldest).await? {
            let since = Instant::now();
            let result = rebuild_day(store, source, day, block).await;
            observe(since, result.is_ok());
            result?;
            debug!(day, block, source = source.table, "rollups rebuilt");
            days += usize::from(source.table == "ledger");
        }
    }
    let participation = match store.retention().participation_days {
        0 => 0,
        days => oldest_day(clock.unix_s(), days),
    };
    for table in DERIVED.iter().filter(|table| shard.leads() || !table.whole) {
        derive(store, shard, table, [participation, oldest]).await?;
    }
    Ok(days)
}

/// Days of a source, with its block number, that one of its tables was not built from.
async fn moved(store: &Store, source: &Source, oldest: u32) -> Result<Vec<(u32, i64)>, StoreError> {
    // The source's block first: what comes in after it is rebuilt at the next run.
    let blocks = LEDGER_BLOCKS.replace("'ledger'", &format!("'{}'", source.table));
    let mut found: Vec<(u32, i64)> = store.rows(&blocks).await?;
    found.retain(|(day, _)| *day >= oldest);
    let mut kept = Vec::new();
    for DayTable { name, time, period, rows, .. } in source.tables {
        let first = if *period == Period::Day { " AND _part_offset = 0" } else { "" };
        let sql = BUILT_BY_DAY.replace("{first}", first).replace("{time}", time).replace("{table}", name);
        let built: Vec<(u32, i64)> = store.rows(&sql.replace("{oldest}", &oldest.to_string())).await?;
        kept.push((rows, built));
    }
    let is_built = |(day, block): &(u32, i64)| {
        kept.iter().all(|(rows, built)| match built.iter().find(|(of, _)| of == day) {
            Some((_, of_block)) => of_block == block,
            None => **rows == Rows::Perhaps,
        })
    };
    found.retain(|day| !is_built(day));
    Ok(found)
}

#[tracing::instrument(skip(store, source))]
async fn rebuild_day(store: &Store, source: &Source, day: u32, block: i64) -> Result<(), StoreError> {
    let mut stages = Stages::new(store);
    let result = fill_and_swap(&mut stages, source, &day.to_string(), &block.to_string()).await;
    stages.end(result).await
}

async fn fill_and_swap(
    stages: &mut Stages<'_>,
    source: &Source,
    day: &str,
    block: &str,
) -> Result<(), StoreError> {
    for DayTable { name, time, period, fill, .. } in source.tables {
        stages.create(name).await?;
        if *period == Period::Week {
            let others = OTHER_DAYS.replace("{table}", name).replace("{time}", time);
            stages.run(&others.replace("{day}", day)).await?;
        }
        let fill = fill.replace("{day}", day).replace("{block}", block);
        stages.run(&fill).await?;
        if *name == "traffic_1m" && sabotage::breaks(Guarantee::RollupOnce) {
            stages.run(&fill).await?;
        }
    }
    for DayTable { name, period, .. } in source.tables {
        let partition = match period {
            Period::Day => day.to_owned(),
            Period::Week => format!("'{}'", monday(day)),
        };
        stages.swap(name, &partition).await?;
    }
    Ok(())
}

/// Rebuilds the partitions of a table whose source was rebuilt since; none whose first source day is before `oldest`.
async fn derive(
    store: &Store,
    shard: Shard,
    table: &'static DerivedTable,
    [oldest, oldest_of_ledger]: [u32; 2],
) -> Result<(), StoreError> {
    let (whole, by_shard) = match shard.is_one_of_many() {
        true => (cluster::overview(store.database()), ", _shard_num"),
        false => (store.database().to_owned(), ""),
    };
    let spread = |sql: &str| sql.replace("{whole}", &whole).replace("{by_shard}", by_shard);
    let since = |sql: &str| sql.replace("{oldest}", &oldest_of_ledger.to_string());
    let built: Vec<(String, u64)> = store.rows(&since(table.built)).await?;
    let wanted: Vec<(String, u64, u32)> = store.rows(&since(&spread(table.wanted))).await?;
    for (partition, fingerprint, first) in wanted {
        if first < oldest || built.iter().any(|(key, print)| *key == partition && *print == fingerprint) {
            continue;
        }
        let mut stages = Stages::new(store);
        let filled = async {
            stages.create(table.name).await?;
            let fill = spread(table.fill).replace("{partition}", &partition);
            stages.run(&fill.replace("{fingerprint}", &fingerprint.to_string())).await?;
            stages.swap(table.name, &table.partition.replace("{partition}", &partition)).await
        };
        let result = filled.await;
        stages.end(result).await?;
        debug!(table = table.name, partition, "rollup rebuilt");
    }
    Ok(())
}

/// The Monday of a day of yyyymmdd, as yyyy-mm-dd; the day itself if it is none.
fn monday(day: &str) -> String {
    let date = Date::parse(day, format_description!("[year][month][day]"));
    let Ok(date) = date else { return day.to_owned() };
    let back = Duration::from_secs(u64::from(date.weekday().number_days_from_monday()) * SECONDS_PER_DAY);
    let monday = date.saturating_sub(time::Duration::try_from(back).unwrap_or_default());
    format!("{:04}-{:02}-{:02}", monday.year(), u8::from(monday.month()), monday.day())
}

/// The first day, as yyyymmdd, none of whose rows can have expired or will while it is rebuilt.
fn oldest_day(now_s: u64, ledger_ttl_days: u16) -> u32 {
    day_number(oldest_kept_s(now_s, ledger_ttl_days))
}

/// Its first second.
pub(crate) fn oldest_kept_s(now_s: u64, ledger_ttl_days: u16) -> u64 {
    let kept_s = u64::from(ledger_ttl_days) * SECONDS_PER_DAY;
    let first_kept_s = (now_s + EXPIRY_MARGIN_S).saturating_sub(kept_s);
    first_kept_s.div_ceil(SECONDS_PER_DAY) * SECONDS_PER_DAY
}

/// The day of a second, as yyyymmdd.
pub(crate) fn day_number(unix_s: u64) -> u32 {
    let start = i64::try_from(unix_s).unwrap_or(0);
    let date = OffsetDateTime::from_unix_timestamp(start).unwrap_or(OffsetDateTime::UNIX_EPOCH).date();
    date.year().unsigned_abs() * 10_000 + u32::from(u8::from(date.month())) * 100 + u32::from(date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_expire_are_left_alone() {
        // 2026-11-23 00:00:00: 2026-10-19 is 35 days back and begins to expire now.
        let midnight = 1_795_392_000;
        assert_eq!(oldest_day(midnight, 35), 20_261_020);
        assert_eq!(oldest_day(midnight + 82_000, 35), 20_261_020);
        assert_eq!(oldest_day(midnight - EXPIRY_MARGIN_S, 35), 20_261_019);
        assert_eq!(oldest_day(0, 35), 19_700_101);
    }

    #[test]
    fn a_week_begins_on_monday() {
        for (day, monday_of_it) in
            [("20261123", "2026-11-23"), ("20261129", "2026-11-23"), ("20270101", "2026-12-28")]
        {
            assert_eq!(monday(day), monday_of_it);
        }
    }

    /// Every column of a table but those with a default is filled, and a statement names no stage that is made after it.
    #[test]
    fn statements_name_what_is_there() {
        for source in &SOURCES {
            let mut made = Vec::new();
            for table in source.tables {
                made.push(table.name);
                assert!(table.fill.contains(&format!(
                    "INSERT INTO {{database}}.{{stage:{}}} ({}, ",
                    table.name, table.time
                )));
                for stage in table.fill.split("{stage:").skip(1) {
                    assert!(
                        made.iter().any(|name| stage.starts_with(&format!("{name}}}"))),
                        "{}",
                        table.name
                    );
                }
            }
        }
    }
}
