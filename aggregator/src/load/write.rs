//! Batches into ClickHouse, poison into the topic of dead letters, for as long as it takes.
//!
//! A batch is done when every row was confirmed and every dead letter, too; only then may its offsets be committed. An insert
//! whose fate is unknown is repeated: identity absorbs the copy. There is no error that ends it, since every row is numbers
//! that this crate wrote within their columns' ranges: what ClickHouse refuses is its state (space, load, a missing migration),
//! which passes, and never one row of a batch, so that a batch need not be split to find it.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::warn;

use super::dead_letters::DeadLetters;
use super::metrics::Metrics;
use super::rows::Batch;
use crate::admin::Condition;
use crate::backoff::Backoff;
use crate::native::Block;
use crate::store::{InsertTimeouts, Store};

/// Inserts of one batch at a time: the two tables of two days. More only makes ClickHouse's own threads wait for each other.
const CONCURRENT_INSERTS: usize = 4;

/// A batch that is done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) next_offsets: HashMap<i32, i64>,
    pub(crate) newest_record_ms: Option<i64>,
}

/// Where batches go.
pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) timeouts: InsertTimeouts,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) metrics: Metrics,
    pub(crate) ready: Condition,
}

impl Writer {
    /// Writes batch after batch until `batches` is closed.
    pub(crate) async fn run(mut self, mut batches: mpsc::Receiver<Batch>, done: mpsc::Sender<Done>) {
        self.wait_for_tables().await;
        while let Some(batch) = batches.recv().await {
            if done.send(self.write(batch).await).await.is_err() {
                return;
            }
        }
    }

    /// Not needed for exactness: a first insert would wait just as well. It makes `/readyz` say what is missing.
    async fn wait_for_tables(&self) {
        let mut backoff = Backoff::default();
        loop {
            let sql = "SELECT count() FROM system.tables WHERE database = '{database}' AND name IN ('ledger', 'reports', 'traffic_1h')";
            match self.store.rows::<u64>(sql).await {
                Ok(count) if count == [3] => return self.ready.set(true),
                Ok(_) => warn!("tables are missing; run `weighbridge-aggregator migrate up`"),
                Err(error) => warn!(%error, code = error.code(), "waiting for ClickHouse"),
            }
            sleep(backoff.next()).await;
        }
    }

    #[tracing::instrument(skip_all, fields(reports = batch.reports, cells = batch.cells))]
    async fn write(&mut self, batch: Batch) -> Done {
        let Batch { days, poison, next_offsets, reports, cells, newest_record_ms, .. } = batch;
        let mut blocks = Vec::new();
        for day in days.values() {
            match day.blocks() {
                // That of `ledger` is empty when all reports of the day are.
                Ok(of_day) => blocks.extend(of_day.into_iter().filter(|block| block.rows > 0)),
                Err(mistake) => {
                    // Columns of different lengths cannot come out of `rows`; if they did, stopping here keeps the offsets.
                    warn!(error = %mistake, "rows could not be encoded; this process loads nothing more");
                    return std::future::pending().await;
                }
            }
        }
        let writer = &*self;
        stream::iter(&blocks).for_each_concurrent(CONCURRENT_INSERTS, |block| writer.insert(block)).await;
        for record in &poison {
            self.dead_letters.set_aside(record).await;
        }
        self.metrics.reports_loaded.inc_by(reports as u64);
        self.metrics.cells_loaded.inc_by(cells as u64);
        self.metrics.buffered.dec_by((reports + poison.len()) as i64);
        Done { next_offsets, newest_record_ms }
    }

    async fn insert(&self, block: &Block<'_>) {
        let mut backoff = Backoff::default();
        loop {
            let since = Instant::now();
            let result = self.store.insert(block, self.timeouts).await;
            self.metrics.insert_seconds.observe(since.elapsed().as_secs_f64());
            match result {
                Ok(()) => {
                    self.ready.set(true);
                    return self.metrics.inserted(block.table, block.rows);
                }
                Err(error) => {
                    self.ready.set(false);
                    self.metrics.failed(error.code());
                    warn!(table = block.table, rows = block.rows, %error, code = error.code(), "insert failed, trying again");
                    sleep(backoff.next()).await;
                }
            }
        }
    }
}
