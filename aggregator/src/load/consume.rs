//! Kafka records into batches, batches to the writer, offsets back to Kafka.
//!
//! One batch fills while the one before is written. Batches are written in the order in which they were read, so the offset
//! after a batch's last record is always the lowest that is not done: that is what is committed. When the batch that fills is
//! full and the writer is not free, nothing is read; if that lasts for `PAUSE_AFTER`, the partitions are paused and polling goes
//! on, so that the group keeps this member. Not at once: a pause throws away what librdkafka has fetched ahead.
//!
//! Rebalance: a revoked partition's offsets are not committed any more. Its rows that are already in a batch are inserted all
//! the same: the other member inserts them again, and a set does not mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::LoadError;
use super::decode::{self, NewerSchema};
use super::metrics::Metrics;
use super::rows::Batch;
use super::write::Done;
use crate::admin::Condition;
use crate::cluster::Shard;
use crate::kafka;
use crate::sabotage::{self, Guarantee};

/// Far above an insert (0.05 s for 50,000 rows), far below what a rebalance waits for a member.
const PAUSE_AFTER: Duration = Duration::from_secs(5);

/// Kafka answers a member that leaves at once, or not at all.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// When to hand a batch to the writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

/// librdkafka's callbacks.
pub(crate) struct LoadContext {
    pub(crate) paused: AtomicBool,
    pub(crate) assigned: Condition,
    /// Partition 0 is assigned here: of all members this one keeps the rollup.
    pub(crate) leads: Arc<AtomicBool>,
    pub(crate) metrics: Metrics,
}

impl ClientContext for LoadContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        kafka::Context.log(level, fac, log_message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka::Context.error(error, reason);
    }
}

impl ConsumerContext for LoadContext {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            self.assigned.set(true);
            // librdkafka keeps a pause while the partition is another member's: one that comes back must be resumed.
            let paused = self.paused.load(Ordering::Relaxed);
            let set = if paused { consumer.pause(partitions) } else { consumer.resume(partitions) };
            if let Err(error) = set {
                warn!(%error, paused, "new partitions could not be paused or resumed");
            }
        }
        let assignment = consumer.assignment().unwrap_or_default();
        let leads = assignment.elements().iter().any(|partition| partition.partition() == 0);
        self.leads.store(leads, Ordering::Relaxed);
        let count = assignment.count();
        self.metrics.partitions.set(count as i64);
        info!(partitions = count, rollup = leads, "rebalanced");
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        kafka::Context.commit_callback(result, offsets);
    }
}

pub(crate) type Consumer = StreamConsumer<LoadContext>;

/// Reads until `shutdown`, then waits for what was read until the deadline.
pub(crate) struct Reader {
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) topic: String,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) done: mpsc::Receiver<Done>,
    pub(crate) clock: crate::clock::Clock,
    shard: Shard,
    batch: Batch,
    writing: bool,
    /// The batch that fills is full and the writer is not free.
    full_since: Option<Instant>,
}

/// The two ends of the writer.
pub(crate) struct ToWriter {
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) done: mpsc::Receiver<Done>,
}

impl Reader {
    pub(crate) fn new(
        consumer: Consumer,
        topic: String,
        limits: Limits,
        metrics: Metrics,
        writer: ToWriter,
        clock: crate::clock::Clock,
        shard: Shard,
    ) -> Reader {
        let ToWriter { batches, done } = writer;
        let consumer = Arc::new(consumer);
        Reader {
            consumer,
            topic,
            limits,
            metrics,
            batches,
            done,
            clock,
            shard,
            batch: Batch::default(),
            writing: false,
            full_since: None,
        }
    }

    /// Reads until `shutdown`; then what was read is written and its offsets are committed within `drain`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken, drain: Duration) -> Result<(), LoadError> {
        let result = self.read(shutdown).await;
        let deadline = Instant::now() + drain;
        let drained = timeout_at(deadline, self.drain()).await;
        if drained.is_err() {
            warn!("the last batch was not through at the deadline; its records are read again");
        }
        // Dropping a consumer leaves the group, so that the others need not wait until the session is over. It has been seen to hang:
        // not on a thread that must end.
        let consumer = self.consumer;
        let (left, has_left) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            drop(consumer);
            drop(left);
        });
        if timeout(LEAVE_LIMIT, has_left).await.is_err() {
            warn!("the group was not left in time; the partitions are another's when the session is over");
        }
        result
    }

    async fn read(&mut self, shutdown: CancellationToken) -> Result<(), LoadError> {
        let consumer = Arc::clone(&self.consumer);
        let mut messages = consumer.stream();
        loop {
            let due = Instant::from_std(self.batch.since) + self.limits.age;
            let may_flush = !self.batch.is_empty() && !self.writing;
            let pause_at = self.full_since.map(|since| since + PAUSE_AFTER);
            let holds = pause_at.is_some_and(|at| Instant::now() < at);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                done = self.done.recv() => match done {
                    Some(done) => self.finished(&done),
                    None => return Err(LoadError::Writer),
                },
                () = sleep_until(due), if may_flush => self.flush()?,
                () = sleep_until(pause_at.unwrap_or(due)), if holds => {}
                message = messages.next(), if !holds => match message {
                    Some(Ok(message)) => self.take(&message)?,
                    Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                        return Err(LoadError::ConsumerFatal(code));
                    }
                    // librdkafka goes on by itself; it reports here and in its log.
                    Some(Err(error)) => debug!(%error, "Kafka gives no record"),
                    None => return Err(LoadError::Writer),
                },
            }
            match (self.is_full(), self.writing) {
                (false, _) => self.full_since = None,
                (true, false) => self.flush()?,
                // Again for a record that comes all the same: its partition was assigned in between.
                (true, true)
                    if self.full_since.is_some_and(|since| since + PAUSE_AFTER <= Instant::now()) =>
                {
                    self.pause()
                }
                (true, true) => self.full_since = self.full_since.or(Some(Instant::now())),
            }
        }
    }

    fn take(&mut self, message: &rdkafka::message::BorrowedMessage<'_>) -> Result<(), LoadError> {
        if self.batch.is_empty() {
            self.batch.since = std::time::Instant::now();
        }
        decode::take(message, self.shard, &mut self.batch, &self.metrics)
            .map_err(|NewerSchema(schema)| LoadError::NewerSchema(schema))
    }

    fn is_full(&self) -> bool {
        self.batch.rows() >= self.limits.rows || self.batch.bytes() >= self.limits.bytes
    }

    /// Only when the writer is free: its channel then has room for the one batch.
    fn flush(&mut self) -> Result<(), LoadError> {
        let batch = std::mem::take(&mut self.batch);
        if sabotage::breaks(Guarantee::OffsetAfterInsert) {
            self.finished(&Done { next_offsets: batch.next_offsets.clone(), newest_record_ms: None });
        }
        self.batches.try_send(batch).map_err(|_| LoadError::Writer)?;
        self.writing = true;
        self.full_since = None;
        self.resume();
        Ok(())
    }

    fn finished(&mut self, done: &Done) {
        self.writing = false;
        if let Some(record_ms) = done.newest_record_ms {
            let age_ms = self.clock.unix_ms().saturating_sub(record_ms.max(0) as u64);
            self.metrics.record_age_seconds.set((age_ms / 1_000) as i64);
        }
        let offsets = self.still_ours(done);
        if offsets.count() > 0
            && let Err(error) = self.consumer.commit(&offsets, CommitMode::Async)
        {
            debug!(%error, "offsets not committed; they are with the next batch");
        }
    }

    /// The offsets of the partitions that are still assigned.
    fn still_ours(&self, done: &Done) -> TopicPartitionList {
        let mut offsets = TopicPartitionList::new();
        let Ok(assignment) = self.consumer.assignment() else { return offsets };
        for (&partition, &next) in &done.next_offsets {
            if assignment.find_partition(&self.topic, partition).is_some()
                && let Err(error) = offsets.add_partition_offset(&self.topic, partition, Offset::Offset(next))
            {
                debug!(%error, partition, "offset not committed");
            }
        }
        offsets
    }

    fn pause(&self) {
        if !self.consumer.context().paused.swap(true, Ordering::Relaxed) {
            self.metrics.paused.set(1);
            debug!("waiting for ClickHouse, partitions paused");
        }
        let paused = self.consumer.assignment().and_then(|assignment| self.consumer.pause(&assignment));
        if let Err(error) = paused {
            debug!(%error, "partitions could not be paused");
        }
    }

    fn resume(&self) {
        if self.consumer.context().paused.swap(false, Ordering::Relaxed) {
            self.metrics.paused.set(0);
            let resumed = self.consumer.assignment().and_then(|assignment| self.consumer.resume(&assignment));
            if let Err(error) = resumed {
                warn!(%error, "partitions could not be resumed");
            }
        }
    }

    /// Writes what was read and commits it.
    async fn drain(&mut self) {
        let mut last = None;
        while self.writing || !self.batch.is_empty() {
            if !self.writing && self.flush().is_err() {
                return;
            }
            match self.done.recv().await {
                Some(done) => {
                    self.finished(&done);
                    last = Some(done);
                }
                None => return,
            }
        }
        let offsets = last.map(|done| self.still_ours(&done)).unwrap_or_default();
        if offsets.count() > 0 {
            let consumer = Arc::clone(&self.consumer);
            let commit = tokio::task::spawn_blocking(move || consumer.commit(&offsets, CommitMode::Sync));
            if let Ok(Err(error)) = commit.await {
                debug!(%error, "the last offsets were not committed; their records are read again");
            }
        }
    }
}
