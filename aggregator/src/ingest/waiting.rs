//! The reports of one stream that are with Kafka, by the record that they are in.
//!
//! In: reports, each with the record that holds it. Out: each report once, with the fate of its record, after Kafka decided it.
//! Guarantees: whoever polls is woken once for each record, however many of the stream's reports are in it. What is
//! still here when the stream ends counts as retried: the collector sends it again.
//!
//! Looking costs as much as there are records in flight, a few for each partition, and not as much as there are reports.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use super::metrics::{Metrics, Retry};
use super::pack::{Fate, FateOfRecord};
use super::stream::Name;

/// A report that is with Kafka.
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) fate: Arc<FateOfRecord>,
    pub(super) since: Instant,
    /// Its bytes of `ingest.bytes_in_flight`.
    pub(super) _bytes_held: OwnedSemaphorePermit,
}

/// See the module.
pub(super) struct InFlight {
    /// Entries of one record are neighbours in one of these.
    records: Vec<VecDeque<Entry>>,
    reports: usize,
    /// Who is woken.
    waker: Option<Waker>,
    metrics: Metrics,
}

impl InFlight {
    pub(super) fn new(metrics: Metrics) -> InFlight {
        InFlight { records: Vec::new(), reports: 0, waker: None, metrics }
    }

    /// Number of reports.
    pub(super) fn len(&self) -> usize {
        self.reports
    }

    /// Adds one; `waker` is woken when it can be taken.
    pub(super) fn push(&mut self, entry: Entry, waker: &Waker) {
        self.reports += 1;
        let same = |entries: &&mut VecDeque<Entry>| {
            entries.front().is_some_and(|first| Arc::ptr_eq(&first.fate, &entry.fate))
        };
        // From the newest on, which is the one that fills.
        match self.records.iter_mut().rev().find(same) {
            Some(entries) => entries.push_back(entry),
            None => {
                entry.fate.wake_when_decided(waker);
                self.records.push(VecDeque::from([entry]));
            }
        }
    }

    /// Takes a report whose fate is decided; without one `waker` is woken when there is.
    pub(super) fn decided(&mut self, waker: &Waker) -> Option<(Fate, Entry)> {
        self.wakes(waker);
        for (index, entries) in self.records.iter_mut().enumerate() {
            let Some(fate) = entries.front().and_then(|entry| entry.fate.get()) else { continue };
            let entry = entries.pop_front()?;
            if entries.is_empty() {
                self.records.remove(index);
            }
            self.reports -= 1;
            return Some((fate, entry));
        }
        None
    }

    /// Forgets all: they count as retried.
    pub(super) fn clear(&mut self) {
        for _ in self.records.drain(..).flatten() {
            self.metrics.in_flight.dec();
            self.metrics.retried(Retry::StreamEnded);
        }
        self.reports = 0;
    }

    /// A stream stays with its task; should it move, its records learn of it.
    fn wakes(&mut self, waker: &Waker) {
        if self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        self.waker = Some(waker.clone());
        for first in self.records.iter().filter_map(VecDeque::front) {
            first.fate.wake_when_decided(waker);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::admin::Instruments;
    use crate::ingest::pack::tests::Wakes;

    fn entry(fate: &Arc<FateOfRecord>, sequence: u64) -> Entry {
        let room = Arc::new(Semaphore::new(1));
        Entry {
            name: Name { boot_epoch: 1, sequence },
            fate: Arc::clone(fate),
            since: Instant::now(),
            _bytes_held: room.try_acquire_owned().unwrap(),
        }
    }

    #[test]
    fn reports_come_out_with_their_record_and_the_rest_counts_as_retried() {
        let instruments = Instruments::default();
        let metrics = Metrics::register(&instruments);
        let mut in_flight = InFlight::new(metrics.clone());
        let (first, second) = (Arc::new(FateOfRecord::default()), Arc::new(FateOfRecord::default()));
        let (before, after) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        let [waker, other] = [&before, &after].map(|wakes| Waker::from(Arc::clone(wakes)));
        for (fate, sequence) in [(&first, 0), (&first, 1), (&second, 2), (&first, 3), (&second, 4)] {
            metrics.in_flight.inc();
            in_flight.push(entry(fate, sequence), &waker);
        }
        assert!(in_flight.decided(&waker).is_none());
        assert!(in_flight.decided(&other).is_none(), "the stream has moved to another task");
        second.decide(Fate::Confirmed);
        assert_eq!(after.0.load(Ordering::Relaxed), 1, "once for two reports");
        let mut taken = || in_flight.decided(&other).map(|(fate, entry)| (fate, entry.name.sequence));
        assert_eq!(taken(), Some((Fate::Confirmed, 2)));
        first.decide(Fate::QueueFull);
        let rest = [taken(), taken(), taken()].map(Option::unwrap);
        assert_eq!(rest, [(Fate::QueueFull, 0), (Fate::QueueFull, 1), (Fate::QueueFull, 3)]);
        assert_eq!(in_flight.len(), 1);
        drop(in_flight);
        let told = instruments.render();
        assert!(told.contains("reports_retried_total{reason=\"stream_ended\"} 1"), "{told}");
        assert!(
            told.contains("weighbridge_ingest_reports_in_flight 4"),
            "answers take the others off: {told}"
        );
    }
}
