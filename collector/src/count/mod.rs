//! The counter: observations and metric points in, cells out. Pure: no clock, no I/O, no async.
//!
//! In: staged observations and points of one payload, with the caller's time. Out: the cells of the open window.
//! Guarantees: every observation that is not a duplicate adds exactly one request (at the end of its call) and the
//! attempts it tells; counts stay below 2^53; memory is bounded: cells by `MAX_CELLS`, calls on hold, remembered fingerprints and
//! series by the constants of their modules. What does not fit is counted under `unlisted`, never forgotten.

mod calls;
mod page;
mod recent;
mod series;
mod state;
mod trees;

pub use calls::HOLD_MS;
pub use page::{PageRow, SIDES, Side};
pub use series::{PointClass, StagedPoint};

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use weighbridge_catalog::{ModelId, ProviderId};
use weighbridge_proto::cells::{Cell, CellKey, Counts, MAX_CELLS};
use weighbridge_proto::v1::{Choice, Outcome};

use crate::discard::{Skip, Tally};
use crate::observation::{Call, Link, Observation};
use calls::{Calls, Failure};
use page::{Pages, PagesState};
use recent::Recent;
use series::{SeriesState, SeriesTable, times};
use trees::{Leaf, Trees};

/// For keys that already are keyed hashes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Under which `Recent` remembers that a record was counted.
fn counted_mark(span: u64) -> u64 {
    span.rotate_left(16) ^ 0xd1b5_4a32_d192_ed03
}

/// Under which `Recent` remembers that a record was counted inside this one.
fn encloses_mark(span: u64) -> u64 {
    span.rotate_left(48) ^ 0xabc9_8388_fb8f_ac03
}

pub(crate) type PrehashedState = BuildHasherDefault<Prehashed>;

/// The series of a target as they were when it was seen for the first time.
#[derive(Debug)]
pub struct MetTarget(SeriesState);

impl MetTarget {
    /// `state` (of `Counter::series_state`, if there is one) with this target added.
    pub fn added_to(&self, state: Option<&[u8]>, mark: u64) -> Vec<u8> {
        let kept = state.and_then(|state| postcard::from_bytes::<(u64, SeriesState, PagesState)>(state).ok());
        let (_, mut series, pages) = kept.filter(|(written, ..)| *written == mark).unwrap_or((
            mark,
            SeriesState::default(),
            PagesState::default(),
        ));
        series.add(self.0.clone());
        postcard::to_stdvec(&(mark, series, pages)).unwrap_or_default()
    }
}

/// Counts one gateway's traffic.
#[derive(Debug)]
pub struct Counter {
    cells: HashMap<CellKey, Counts, foldhash::fast::RandomState>,
    totals: Counts,
    recent: Recent,
    calls: Calls,
    trees: Trees,
    series: SeriesTable,
    pages: Pages,
    tally: Tally,
    /// Moves whenever a record or point was looked at.
    revision: u64,
}

impl Counter {
    /// An empty counter of a process that started at `started_unix_nano`: counters that began earlier are a baseline at
    /// first sight, later ones count whole. 0 counts every series from its start.
    pub fn new(started_unix_nano: u64) -> Counter {
        Counter {
            cells: HashMap::default(),
            totals: Counts::default(),
            recent: Recent::default(),
            calls: Calls::default(),
            trees: Trees::default(),
            series: SeriesTable::new(started_unix_nano),
            pages: Pages::default(),
            tally: Tally::default(),
            revision: 0,
        }
    }

    /// Counts one observation at `now_ms` (Unix milliseconds by the caller's clock).
    pub fn observe(&mut self, observation: &Observation, now_ms: u64) {
        self.revision += 1;
        if let Some(fingerprint) = observation.fingerprint
            && !self.recent.insert(fingerprint, now_ms)
        {
            self.tally.skip(Skip::Duplicate);
            return;
        }
        let mut key = observation.key;
        let Observation { attempts, input_tokens, output_tokens, .. } = *observation;
        let mut counts = Counts { requests: 1, attempts, input_tokens, output_tokens };
        match observation.call {
            Call::Whole | Call::Attempt { .. } => {}
            Call::Nested { span, parent } => {
                if self.is_told_by_another(span, parent, now_ms) {
                    self.tally.skip(Skip::Duplicate);
                    return;
                }
            }
            Call::Leaf { parent, group, start_unix_nano, end_unix_nano } => {
                let counts = Counts { requests: 0, ..counts };
                let leaf = Leaf { key, counts, parent, group, start_unix_nano, end_unix_nano };
                self.tally.count();
                let evicted = self.trees.hold(leaf, now_ms);
                evicted.into_iter().for_each(|leaves| self.add_tree(leaves));
                return;
            }
        }
        if let Call::Attempt { id, group, fallback } = observation.call {
            let succeeded = key.outcome == Outcome::Ok;
            let first_group = self.calls.first_group(id);
            let is_fallback = fallback || first_group.is_some_and(|first| first != group);
            key.choice = if is_fallback { Choice::Fallback } else { Choice::First };
            if succeeded {
                self.calls.succeeded(id);
                self.recent.insert(calls::done_mark(id), now_ms);
            } else {
                counts.requests = 0;
                // A failure that is told after its call's success is an attempt only.
                if !self.recent.contains(calls::done_mark(id)) {
                    let first_group = first_group.unwrap_or(group);
                    let evicted = self.calls.failed(id, Failure { key, first_group }, now_ms);
                    evicted.into_iter().for_each(|failure| self.final_failure(failure));
                }
            }
        }
        self.tally.count();
        self.add(key, counts);
    }

    /// Notes a record that is no attempt itself; with the root of its tree a request is counted.
    pub fn link(&mut self, link: Link, now_ms: u64) {
        self.revision += 1;
        if let Some(leaves) = self.trees.link(link, now_ms) {
            self.add_tree(leaves);
        }
    }

    /// Whether a record around this one, or one inside it, was counted; if not, this one is.
    fn is_told_by_another(&mut self, span: u64, parent: Option<u64>, now_ms: u64) -> bool {
        let parent_was_counted = parent.is_some_and(|parent| self.recent.contains(counted_mark(parent)));
        if parent_was_counted || self.recent.contains(encloses_mark(span)) {
            return true;
        }
        self.recent.insert(counted_mark(span), now_ms);
        if let Some(parent) = parent {
            self.recent.insert(encloses_mark(parent), now_ms);
        }
        false
    }

    fn add_tree(&mut self, leaves: Vec<Leaf>) {
        trees::counted(leaves).for_each(|(key, counts)| self.add(key, counts));
    }

    /// Counts the metric points of one payload at `now_ms`.
    pub fn observe_points(&mut self, points: &[StagedPoint], now_ms: u64) {
        self.revision += 1;
        let Counter { series, tally, .. } = self;
        let mut additions = Vec::new();
        series.apply(points, now_ms, tally, |place, increment| {
            additions.push((points[place].key, times(&points[place].unit, increment)));
        });
        additions.into_iter().for_each(|(key, counts)| self.add(key, counts));
    }

    /// Counts the rows of one `/metrics` page at `now_nano` (Unix nanoseconds by the caller's clock). `met` is lent a target
    /// that is seen for the first time, before anything of it is counted. False: the target's counters jump back and
    /// forth, and it is not counted any more.
    pub fn observe_page(&mut self, rows: &[PageRow], now_nano: u64, met: impl FnOnce(&MetTarget)) -> bool {
        let Counter { series, pages, tally, .. } = self;
        let mut additions = Vec::new();
        let met = |state| met(&MetTarget(state));
        let is_one =
            pages.apply(rows, now_nano, series, tally, met, |key, counts| additions.push((key, counts)));
        additions.into_iter().for_each(|(key, counts)| self.add(key, counts));
        is_one
    }

    /// What is known of series, with a mark of the hash function.
    pub fn series_state(&self, mark: u64) -> Vec<u8> {
        let state = (mark, self.series.state(), self.pages.state());
        // Numbers and lists of numbers always encode.
        postcard::to_stdvec(&state).unwrap_or_default()
    }

    /// Takes over what `series_state` gave; false if it is of another version.
    pub fn restore_series(&mut self, state: &[u8], mark: u64) -> bool {
        let Ok((written, series, pages)) = postcard::from_bytes::<(u64, SeriesState, PagesState)>(state)
        else {
            return false;
        };
        if written == mark {
            self.series.restore(series);
            self.pages.restore(pages);
        }
        written == mark
    }

    /// Ends the calls whose last failure was `HOLD_MS` ago: no fallback came, the failure was the outcome.
    pub fn expire_calls(&mut self, now_ms: u64) {
        while let Some(failure) = self.calls.expire(now_ms) {
            self.final_failure(failure);
        }
        while let Some(leaves) = self.trees.expire(now_ms) {
            self.add_tree(leaves);
        }
    }

    /// Ends every call on hold, at shutdown or at the end of a capture.
    pub fn finish_calls(&mut self) {
        self.expire_calls(u64::MAX);
    }

    fn final_failure(&mut self, failure: Failure) {
        self.add(failure.key, Counts { requests: 1, ..Counts::default() });
    }

    fn add(&mut self, mut key: CellKey, counts: Counts) {
        if counts.is_zero() {
            return;
        }
        self.revision += 1;
        self.totals.add(&counts);
        // Room is kept for the folded cells: openness x hosting x operation x shape is far below half of the limit.
        if self.cells.len() >= MAX_CELLS / 2 && !self.cells.contains_key(&key) {
            (key.model, key.provider) = (ModelId::UNLISTED, ProviderId::UNLISTED);
        }
        self.cells.entry(key).or_default().add(&counts);
    }

    /// Takes the cells of the open window and begins the next one.
    pub fn take_cells(&mut self) -> Vec<Cell> {
        let cells = self.cells.drain().map(|(key, counts)| Cell { key, counts }).collect();
        // A burst of distinct cells must not keep its memory.
        self.cells.shrink_to(64);
        cells
    }

    /// The cells of the open window as they are now.
    pub fn cells(&self) -> Vec<Cell> {
        self.cells.iter().map(|(key, counts)| Cell { key: *key, counts: *counts }).collect()
    }

    /// Another number if anything may have changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Everything counted since `new`.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// Counters that began anew since `new`.
    pub fn resets(&self) -> u64 {
        self.series.resets()
    }

    /// What was skipped and refused since `new`.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Adds what a profile skipped or refused.
    pub fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
