//! The rollup: `traffic_1h` rebuilt from `ledger FINAL`, one day at a time, and swapped in whole.
//!
//! Guarantees: a reader sees a day as it was before or after a rebuild, never between. A day is a pure function of the ledger, so
//! a rebuild may be killed anywhere and any number may run at once: an older build that wins carries an older block
//! number, and the next run replaces it. A day whose ledger rows begin to expire is never rebuilt again.
//! Does not guarantee: that the rollup holds the last seconds. It is at most one interval and one rebuild behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::metrics::Metrics;
use crate::clock::Clock;
use crate::sabotage::{self, Guarantee};
use crate::store::{Store, StoreError};

const SECONDS_PER_DAY: u64 = 86_400;
/// A day is left alone this long before its first rows expire: longer than a rebuild takes.
const EXPIRY_MARGIN_S: u64 = 3_600;
/// Older than any rebuild: what is left of one that was killed.
const ORPHAN_AGE_S: u64 = 3_600;
/// Name of the table a rebuild writes into, before 16 random digits.
const STAGE_PREFIX: &str = "traffic_1h_stage_";

/// Per day the highest block number of the ledger.
pub(crate) const LEDGER_BLOCKS: &str = "\
SELECT toUInt32(partition) AS day, max(max_block_number) AS block FROM system.parts \
WHERE database = '{database}' AND table = 'ledger' AND active GROUP BY partition ORDER BY day";

/// Per day from `{oldest}` on the block number that the rollup was built from.
pub(crate) const BUILT_FROM: &str = "\
SELECT toYYYYMMDD(hour) AS day, max(built_from) AS block FROM {database}.traffic_1h \
WHERE toYYYYMMDD(hour) >= {oldest} GROUP BY day";

const BUILD: &str = "\
INSERT INTO {database}.{stage} (hour, environment, vantage, gateway_product, model, provider, openness, hosting, operation, \
choice, streaming, outcome, requests, attempts, input_tokens, output_tokens, built_from) \
SELECT toStartOfHour(window_start) AS hour, environment, vantage, gateway_product, model, provider, openness, hosting, operation, \
choice, streaming, outcome, sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens), {block} \
FROM {database}.ledger FINAL WHERE toYYYYMMDD(window_start) = {day} \
GROUP BY hour, environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome \
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0";

const ORPHANS: &str = "\
SELECT name FROM system.tables WHERE database = '{database}' AND startsWith(name, '{prefix}') \
AND metadata_modification_time < now() - {age}";

/// The task that keeps the rollup.
pub(crate) struct Rollup {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) every: Duration,
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
            // Dropped in the middle it leaves a stage table, which a later run drops.
            let result = tokio::select! {
                () = shutdown.cancelled() => return,
                result = rebuild_with(&self.store, &self.clock, |since, built| self.observe(since, built)) => result,
            };
            if let Err(error) = result {
                self.metrics.rebuild_failures.inc();
                warn!(%error, code = error.code(), "rollup not rebuilt, trying again at the next run");
            }
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
    rebuild_with(store, clock, |_, _| ()).await
}

async fn rebuild_with(
    store: &Store,
    clock: &Clock,
    observe: impl Fn(Instant, bool),
) -> Result<usize, StoreError> {
    drop_orphans(store).await?;
    let oldest = oldest_day(clock.unix_s(), store.ledger_ttl_days());
    // The ledger's block first: what comes in after it is rebuilt at the next run.
    let ledger: Vec<(u32, i64)> = store.rows(LEDGER_BLOCKS).await?;
    let built: Vec<(u32, i64)> = store.rows(&BUILT_FROM.replace("{oldest}", &oldest.to_string())).await?;
    let moved = ledger.into_iter().filter(|day| day.0 >= oldest && !built.contains(day));
    let mut days = 0;
    for (day, block) in moved {
        let since = Instant::now();
        let result = rebuild_day(store, day, block).await;
        observe(since, result.is_ok());
        result?;
        debug!(day, block, "rollup rebuilt");
        days += 1;
    }
    Ok(days)
}

#[tracing::instrument(skip(store))]
async fn rebuild_day(store: &Store, day: u32, block: i64) -> Result<(), StoreError> {
    let stage = format!("{STAGE_PREFIX}{:016x}", fastrand::u64(..));
    let (day, block) = (day.to_string(), block.to_string());
    let fill = |sql: &str| sql.replace("{stage}", &stage).replace("{day}", &day).replace("{block}", &block);
    store.run(&fill("CREATE TABLE {database}.{stage} AS {database}.traffic_1h")).await?;
    let swapped = async {
        store.run(&fill(BUILD)).await?;
        if sabotage::breaks(Guarantee::RollupOnce) {
            store.run(&fill(BUILD)).await?;
        }
        store
            .run(&fill("ALTER TABLE {database}.traffic_1h REPLACE PARTITION {day} FROM {database}.{stage}"))
            .await
    };
    let result = swapped.await;
    let dropped = store.run(&fill("DROP TABLE IF EXISTS {database}.{stage} SYNC")).await;
    result.and(dropped)
}

async fn drop_orphans(store: &Store) -> Result<(), StoreError> {
    let sql = ORPHANS.replace("{prefix}", STAGE_PREFIX).replace("{age}", &ORPHAN_AGE_S.to_string());
    for name in store.rows::<String>(&sql).await? {
        // Our own names only, so that nothing else can be dropped.
        if name.strip_prefix(STAGE_PREFIX).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            info!(table = name, "dropping what a killed rebuild left");
            store.run(&format!("DROP TABLE IF EXISTS {{database}}.{name} SYNC")).await?;
        }
    }
    Ok(())
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
}
