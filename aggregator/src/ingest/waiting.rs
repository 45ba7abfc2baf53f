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
