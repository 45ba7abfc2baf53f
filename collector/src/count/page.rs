//! Rows of `/metrics` pages to increments of cells.
//!
//! In: the rows of one page, its time. Out: what each cell gained since the page before. Increments follow the rules of
//! `series.rs`; a page lists every series that its target has, so a series that was not there before is new and counts whole.
//!
//! Some gateways tell a part of what was counted in a second metric: replays from a cache (`Less`), streams (`Streamed`),
//! fallbacks (`Fallback`), calls after which it tried again (`Retried`). Their increments are taken off, or moved, from increments of the rows with the same labels; what has
//! no counterpart yet waits for the next page, so nothing is taken twice. What a gateway tells on a later page than the
//! request itself is thus moved from a later request: right in the sum of a running gateway, not in every window.
//!
//! Guarantees: bounded by `series.rs`; a target whose counters jump back and forth (a load balancer in front of several
//! processes) is not counted any more, and that is told: its sums would be wrong in either direction.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use weighbridge_proto::cells::{CellKey, Counts};
use weighbridge_proto::v1::{Choice, Streaming};

use super::series::{PointClass, SeriesState, SeriesTable, StagedPoint, times};
use crate::discard::{Skip, Tally};
use crate::source::otlp::Temporality;

/// Pages in a row with a counter that went back, after which a target is taken for several processes behind one address.
const RESETS_IN_A_ROW: u8 = 3;
/// A series begun this recently is new: clocks differ, and a page takes its values some time before we have it. Far shorter than
/// series that are on no page are kept (15 minutes), so that no known one is taken for new.
const YOUNG_NANO: u64 = 60 * 1_000_000_000;

/// What a second metric says of some increments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// They are no requests to a model.
    Less = 0,
    /// They were streamed.
    Streamed = 1,
    /// They were a fallback.
    Fallback = 2,
    /// Another try came after them: attempts, no requests.
    Retried = 3,
}

/// Number of `Side`s.
pub const SIDES: usize = 4;

/// A series on a page, as a profile understood it.
#[derive(Clone, Copy, Debug)]
pub struct PageRow {
    /// Keyed hash of the target.
    pub target: u64,
    /// Keyed hash of target, metric and all labels.
    pub series: u64,
    /// Keyed hash of all labels.
    pub labels_hash: u64,
    /// The rule it was read by.
    pub rule: u16,
    /// What it tells.
    pub class: PointClass,
    /// Rank among the synonyms of its class.
    pub rank: u8,
    /// For a second metric: what it says, and the hash of the labels that both have.
    pub side: Option<(Side, u64)>,
    /// The same hashes for the row's own second metrics, by `Side`.
    pub joins: [Option<u64>; SIDES],
    /// Start of the series, Unix nanoseconds, 0 if not told.
    pub own_start_nano: u64,
    /// Start of the process, Unix nanoseconds, 0 if not told.
    pub process_start_nano: u64,
    /// The counter's value.
    pub value: u64,
    /// The cell it adds to.
    pub key: CellKey,
    /// What one unit adds.
    pub unit: Counts,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Health {
    process_start_nano: u64,
    resets_in_a_row: u8,
    is_several: bool,
}

/// What is kept between pages.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Increments of second metrics that wait for their counterpart.
    waiting: HashMap<(Side, u64), u64>,
    health: HashMap<u64, Health>,
}

/// What is kept over a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct PagesState {
    waiting: Vec<((Side, u64), u64)>,
    health: Vec<(u64, Health)>,
}

impl Pages {
    /// Everything that is kept.
    pub(super) fn state(&self) -> PagesState {
        PagesState {
            waiting: self.waiting.iter().map(|(key, count)| (*key, *count)).collect(),
            health: self.health.iter().map(|(target, health)| (*target, *health)).collect(),
        }
    }

    /// Takes over what an earlier process kept.
    pub(super) fn restore(&mut self, state: PagesState) {
        self.waiting = state.waiting.into_iter().collect();
        self.health = state.health.into_iter().collect();
    }

    /// Counts the rows of one page; `met` is lent what is to be kept of a new target before it is counted. False: the target is several processes, and is not counted any more.
    pub(super) fn apply(
        &mut self,
        rows: &[PageRow],
        now_nano: u64,
        series: &mut SeriesTable,
        tally: &mut Tally,
        met: impl FnOnce(SeriesState),
        mut add: impl FnMut(CellKey, Counts),
    ) -> bool {
        let Some(first) = rows.first() else { return true };
        let health = self.health.entry(first.target).or_default();
        if first.process_start_nano < health.process_start_nano && first.process_start_nano > 0 {
            health.is_several = true;
        }
        health.process_start_nano = health.process_start_nano.max(first.process_start_nano);
        if health.is_several {
            tally.skip_all(Skip::UnstableTarget, rows.len() as u64);
            return false;
        }
        let points: Vec<StagedPoint> = rows.iter().map(|row| point(row, now_nano)).collect();
        let mut baselines = 0;
        if let Some((target, of_baseline)) = series.meet(&points, now_nano / 1_000_000) {
            baselines = of_baseline;
            met(target);
        }
        let mut applied = Tally::default();
        let mut increments = vec![0; rows.len()];
        let resets = series.resets();
        let add_up = |index: usize, increment| increments[index] = increment;
        series.apply(&points, now_nano / 1_000_000, &mut applied, add_up);
        applied.baseline(baselines);
        let was_reset = series.resets() > resets && first.process_start_nano == 0;
        health.resets_in_a_row = if was_reset { health.resets_in_a_row + 1 } else { 0 };
        if health.resets_in_a_row >= RESETS_IN_A_ROW {
            health.is_several = true;
            tally.skip_all(Skip::UnstableTarget, rows.len() as u64);
            return false;
        }
        tally.add(&applied);
        for (row, increment) in rows.iter().zip(&increments) {
            if let Some((side, join)) = row.side
                && *increment > 0
            {
                *self.waiting.entry((side, join)).or_default() += increment;
            }
        }
        for (row, increment) in rows.iter().zip(&increments).filter(|(row, _)| row.side.is_none()) {
            self.count(row, *increment, &mut add);
        }
        self.waiting.retain(|_, count| *count > 0);
        true
    }

    /// Adds what a row gained, less and moved as its second metrics say.
    fn count(&mut self, row: &PageRow, increment: u64, add: &mut impl FnMut(CellKey, Counts)) {
        let mut take = |side: Side, most: u64| {
            let Some(join) = row.joins[side as usize] else { return 0 };
            let Some(waiting) = self.waiting.get_mut(&(side, join)) else { return 0 };
            let taken = most.min(*waiting);
            *waiting -= taken;
            taken
        };
        let increment = increment - take(Side::Less, increment);
        let retried = take(Side::Retried, increment);
        if retried > 0 {
            add(row.key, times(&Counts { requests: 0, ..row.unit }, retried));
        }
        let increment = increment - retried;
        let streamed = take(Side::Streamed, increment);
        let fallback = take(Side::Fallback, increment);
        // Which of the streamed were a fallback is not told: the others are taken first.
        let plain_fallback = fallback.min(increment - streamed);
        let parts = [
            (increment - streamed - plain_fallback, false, false),
            (plain_fallback, false, true),
            (streamed - (fallback - plain_fallback), true, false),
            (fallback - plain_fallback, true, true),
        ];
        for (count, is_streamed, is_fallback) in parts.into_iter().filter(|(count, ..)| *count > 0) {
            let mut key = row.key;
            if is_streamed {
                key.streaming = Streaming::Yes;
            }
            if is_fallback {
                key.choice = Choice::Fallback;
            }
            add(key, times(&row.unit, count));
        }
    }
}

fn point(row: &PageRow, now_nano: u64) -> StagedPoint {
    StagedPoint {
        target: row.target,
        series: row.series,
        class: if row.side.is_some() { PointClass::Side } else { row.class },
        rank: if row.side.is_some() { 0 } else { row.rank },
        temporality: Temporality::Cumulative,
        start_unix_nano: row.own_start_nano.max(row.process_start_nano),
        is_new_if_unseen: row.own_start_nano == 0 || row.own_start_nano.saturating_add(YOUNG_NANO) > now_nano,
        time_unix_nano: now_nano,
        value: row.value,
        key: row.key,
        unit: row.unit,
    }
}
