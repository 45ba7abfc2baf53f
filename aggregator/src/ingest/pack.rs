//! Packs: many reports in one Kafka record.
//!
//! In: reports that passed their check, each with its partition and sender. Out: for each the fate of the record that holds it.
//! Guarantees: a fate is `Confirmed` only after Kafka's delivery report of that record. Reports of a partition are written in the
//! order in which they came. A pack leaves when it is full, when the next report does not fit to it, or `LINGER` after its
//! first report. A record that fails is the failure of each of its reports, and all of them are sent again by their collectors;
//! what of it was written all the same is absorbed by identity.
//! Does not guarantee: a bound of what waits. The caller holds `bytes_in_flight` for each report until its fate is known.
//!
//! Why: a record costs librdkafka and the broker the same whether it holds one report of 100 bytes or a thousand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use weighbridge_proto::report::{CollectorId, SCHEMA};

use super::metrics::Metrics;
use crate::kafka::Producer;
use crate::record::{self, Sender};

/// Far below the second that a window may take longer; librdkafka itself waits for nothing.
const LINGER: Duration = Duration::from_millis(20);
/// A pack this large leaves. With the largest report added to it, it still fits into Kafka's limit of a record, 1 MiB.
const PACK_BYTES: usize = 256 * 1024;
/// Bounds what `load` takes at once: 30 cells a report are 30,000 rows.
const PACK_REPORTS: usize = 1_000;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// On every replica in sync.
    Confirmed,
    /// Kafka did not confirm it. Possibly written all the same.
    NotDelivered,
    /// The producer's queue is full.
    QueueFull,
}

/// The fate of one record, for the streams whose reports are in it.
#[derive(Debug, Default)]
pub(super) struct FateOfRecord {
    fate: OnceLock<Fate>,
    waiting: Mutex<Vec<Waker>>,
}

impl FateOfRecord {
    /// None: Kafka has not answered.
    pub(super) fn get(&self) -> Option<Fate> {
        self.fate.get().copied()
    }

    /// Wakes `waker` once when the fate is decided; when it is already, `get` tells it from now on.
    pub(super) fn wake_when_decided(&self, waker: &Waker) {
        // A panic while it was held can only have left a list that is whole.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get().is_none() {
            waiting.push(waker.clone());
        }
    }

    pub(super) fn decide(&self, fate: Fate) {
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Decided once, by whoever has the pack.
            let _ = self.fate.set(fate);
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The packs of all partitions that fill.
pub(super) struct Packer {
    producer: Producer,
    topic: String,
    metrics: Metrics,
    filling: Mutex<HashMap<i32, Pack>>,
    /// A pack began.
    began: Notify,
}

struct Pack {
    /// Of the first report; all have the same partition.
    key: CollectorId,
    value: Vec<u8>,
    reports: usize,
    /// As in the header; none: nobody was asked who he is.
    senders: Option<Vec<u8>>,
    fate: Arc<FateOfRecord>,
}

impl Pack {
    fn new(key: CollectorId, has_senders: bool) -> Pack {
        Pack { key, value: Vec::new(), reports: 0, senders: has_senders.then(Vec::new), fate: Arc::default() }
    }

    fn add(&mut self, report: &[u8], sender: Option<Sender>) {
        record::append(&mut self.value, report);
        self.reports += 1;
        if let (Some(senders), Some(sender)) = (&mut self.senders, sender) {
            senders.extend_from_slice(&sender.to_bytes());
        }
    }

    fn is_full(&self) -> bool {
        self.value.len() >= PACK_BYTES || self.reports >= PACK_REPORTS
    }
}

impl Packer {
    pub(super) fn new(producer: Producer, topic: String, metrics: Metrics) -> Packer {
        Packer { producer, topic, metrics, filling: Mutex::default(), began: Notify::new() }
    }

    /// Puts a report into the pack of its partition.
    pub(super) fn add(
        &self,
        partition: i32,
        collector: CollectorId,
        sender: Option<Sender>,
        report: &[u8],
    ) -> Arc<FateOfRecord> {
        // A panic while it was held can only have left a pack that is whole.
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        // The header is about all reports of a record or none.
        if filling.get(&partition).is_some_and(|pack| pack.senders.is_some() != sender.is_some())
            && let Some(pack) = filling.remove(&partition)
        {
            self.hand_over(partition, pack);
        }
        let none_filled = filling.is_empty();
        let pack = filling.entry(partition).or_insert_with(|| Pack::new(collector, sender.is_some()));
        pack.add(report, sender);
        let fate = Arc::clone(&pack.fate);
        // Handed over while the lock is held, so that the order stays.
        if pack.is_full()
            && let Some(pack) = filling.remove(&partition)
        {
            self.hand_over(partition, pack);
        } else if none_filled {
            self.began.notify_one();
        }
        fate
    }

    /// Hands packs over when they have waited for `LINGER`, until `shutdown`; then those that are left.
    pub(super) async fn keep_going(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return self.hand_over_all(),
                () = self.began.notified() => {}
            }
            sleep(LINGER).await;
            self.hand_over_all();
        }
    }

    fn hand_over_all(&self) {
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, pack) in filling.drain() {
            self.hand_over(partition, pack);
        }
    }

    fn hand_over(&self, partition: i32, pack: Pack) {
        let schema = SCHEMA.to_string();
        let mut headers =
            OwnedHeaders::new().insert(Header { key: record::HEADER_SCHEMA, value: Some(&schema) });
        if let Some(senders) = &pack.senders {
            headers = headers.insert(Header { key: record::HEADER_SENDERS, value: Some(senders) });
        }
        let record = FutureRecord::to(&self.topic)
            .partition(partition)
            .key(&pack.key.0[..])
            .payload(&pack.value)
            .headers(headers);
        let fate = pack.fate;
        match self.producer.send_result(record) {
            Ok(delivery) => {
                self.metrics.records_produced.inc();
                tokio::spawn(async move {
                    let confirmed = matches!(delivery.await, Ok(Ok(_)));
                    fate.decide(if confirmed { Fate::Confirmed } else { Fate::NotDelivered });
                });
            }
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                fate.decide(Fate::QueueFull);
            }
            Err((error, _)) => {
                warn!(%error, "Kafka takes no record");
                fate.decide(Fate::NotDelivered);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    pub(in crate::ingest) struct Wakes(pub(in crate::ingest) AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn all_who_wait_are_woken_once_and_later_ones_see_it() {
        let (fate, wakes) = (FateOfRecord::default(), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        fate.wake_when_decided(&waker);
        fate.wake_when_decided(&waker);
        assert_eq!((fate.get(), wakes.0.load(Ordering::Relaxed)), (None, 0));
        fate.decide(Fate::NotDelivered);
        fate.decide(Fate::Confirmed);
        fate.wake_when_decided(&waker);
        assert_eq!((fate.get(), wakes.0.load(Ordering::Relaxed)), (Some(Fate::NotDelivered), 2));
    }
}
