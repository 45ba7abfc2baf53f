//! Metric series to increments: cumulative counters, resets, first sight, delta temporality, resends and synonyms.
//!
//! In: the points of one payload, staged. Out: increments of cells.
//! The rules, each with its reason, are those measured on real exporters:
//!
//! | case | increment |
//! |---|---|
//! | known series, same start, value not smaller | value - last |
//! | known series, smaller value or later start | value (the counter was reset) |
//! | new series of a known target, start at or after the previous batch, or no start | value (LiteLLM V1 makes one series a request) |
//! | new series at first contact, start at or after our own start | value |
//! | otherwise at first sight | 0, baseline |
//! | delta temporality | value, unless its time is not after the last one (a resend) |
//!
//! Times of one exporter are compared with each other, never with our clock, but for first contact.
//! State is bounded: `MAX_SERIES` series (idle ones are dropped after `IDLE_MS`), `MAX_TARGETS` exporting processes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use weighbridge_proto::cells::{CellKey, Counts};

use super::PrehashedState;
use crate::discard::{Skip, Tally};
use crate::source::otlp::Temporality;

/// Most series: seven eighths of 65,536, where the table would grow; 3.2 MiB.
const MAX_SERIES: usize = 57_344;
/// Most exporting processes.
const MAX_TARGETS: usize = 1_792;
/// A series not seen for this long is dropped when room is needed.
const IDLE_MS: u64 = 15 * 60 * 1_000;
/// Points of one collection cycle carry times this close, also when it is sent in several requests.
const CYCLE_NANO: u64 = 1_000_000_000;

/// Metrics that tell the same thing share a class; one rank of a class is counted for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointClass {
    /// Inference requests.
    Requests = 0,
    /// Embeddings requests.
    EmbeddingsRequests = 1,
    /// Tokens.
    Tokens = 2,
    /// Failed attempts, where they are told apart from requests.
    FailedAttempts = 3,
    /// Attempts, where a second metric tells them.
    Attempts = 4,
    /// A metric that says something about some increments of another one.
    Side = 5,
}

const CLASSES: usize = 6;
const NO_RANK: u8 = u8::MAX;

/// A point that a profile understood.
#[derive(Clone, Copy, Debug)]
pub struct StagedPoint {
    /// The exporting process.
    pub target: u64,
    /// The series.
    pub series: u64,
    /// What it tells.
    pub class: PointClass,
    /// Rank among the synonyms of its class; the lowest one that a target sends is counted.
    pub rank: u8,
    /// Cumulative or delta.
    pub temporality: Temporality,
    /// Start of the series, Unix nanoseconds, 0 if not told.
    pub start_unix_nano: u64,
    /// The exporter tells all its series each time, and not when this one began: it is new if it was not there before.
    pub is_new_if_unseen: bool,
    /// Time of the point, Unix nanoseconds.
    pub time_unix_nano: u64,
    /// The counter's value.
    pub value: u64,
    /// The cell it adds to.
    pub key: CellKey,
    /// What one unit of the value adds.
    pub unit: Counts,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Series {
    start_unix_nano: u64,
    time_unix_nano: u64,
    value: u64,
    seen_ms: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Target {
    /// Time of the newest collection cycle, and of the one before it.
    cycle_unix_nano: u64,
    previous_cycle_unix_nano: u64,
    first_contact: bool,
    ranks: [u8; CLASSES],
    /// The choice of a rank was made in an earlier payload.
    decided: [bool; CLASSES],
    seen_ms: u64,
}

/// What is kept over a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SeriesState {
    series: Vec<(u64, Series)>,
    targets: Vec<(u64, Target)>,
}

impl SeriesState {
    /// Adds what was met since.
    pub(super) fn add(&mut self, met: SeriesState) {
        self.series.extend(met.series);
        self.targets.extend(met.targets);
    }
}

/// Series of every exporting process.
#[derive(Debug)]
pub(super) struct SeriesTable {
    started_unix_nano: u64,
    series: HashMap<u64, Series, PrehashedState>,
    targets: HashMap<u64, Target, PrehashedState>,
    resets: u64,
}

impl SeriesTable {
    pub(super) fn new(started_unix_nano: u64) -> SeriesTable {
        SeriesTable { started_unix_nano, series: HashMap::default(), targets: HashMap::default(), resets: 0 }
    }

    /// Everything that is kept.
    pub(super) fn state(&self) -> SeriesState {
        SeriesState {
            series: self.series.iter().map(|(key, series)| (*key, *series)).collect(),
            targets: self.targets.iter().map(|(key, target)| (*key, *target)).collect(),
        }
    }

    /// Takes over what an earlier process kept.
    pub(super) fn restore(&mut self, state: SeriesState) {
        self.series = state.series.into_iter().collect();
        self.targets = state.targets.into_iter().collect();
    }

    /// Counters that began anew since `new`.
    pub(super) fn resets(&self) -> u64 {
        self.resets
    }

    /// Turns the points of one payload into increments; `add` gets the place of a point and what it gained.
    pub(super) fn apply(
        &mut self,
        points: &[StagedPoint],
        now_ms: u64,
        tally: &mut Tally,
        mut add: impl FnMut(usize, u64),
    ) {
        self.make_room(points.len(), now_ms);
        self.meet_targets(points, now_ms);
        for (place, point) in points.iter().enumerate() {
            let Some(target) = self.targets.get(&point.target).copied() else {
                tally.skip(Skip::SeriesLimit);
                continue;
            };
            if target.ranks[point.class as usize] != point.rank {
                tally.skip(Skip::Synonym);
                continue;
            }
            match self.increment(point, &target, now_ms) {
                Ok(increment) => {
                    tally.count();
                    add(place, increment);
                }
                Err(skip) => tally.skip(skip),
            }
        }
    }

    /// Notes the series of a target that is not known yet, without counting: those that count whole begin at 0, the others
    /// where they are. `None` if the target is known. What is returned is to be kept before anything of the target is counted;
    /// without it a restart could not tell what was counted already. And how many points of the class's counted rank are a baseline:
    /// `apply` sees them again, and finds that they gained nothing.
    pub(super) fn meet(&mut self, points: &[StagedPoint], now_ms: u64) -> Option<(SeriesState, u64)> {
        let number = points.first()?.target;
        if self.targets.contains_key(&number) {
            return None;
        }
        self.make_room(points.len(), now_ms);
        self.meet_targets(points, now_ms);
        let target = self.targets.get_mut(&number)?;
        let as_met = *target;
        target.first_contact = false;
        let known = *target;
        let mut met = SeriesState { series: Vec::new(), targets: vec![(number, known)] };
        let mut baselines = 0;
        for point in points {
            if self.series.len() >= MAX_SERIES {
                break;
            }
            let counts = self.counts_at_first_sight(point, &as_met);
            baselines += u64::from(!counts && known.ranks[point.class as usize] == point.rank);
            let series = Series {
                start_unix_nano: point.start_unix_nano,
                time_unix_nano: point.time_unix_nano,
                value: if counts { 0 } else { point.value },
                seen_ms: now_ms,
            };
            self.series.insert(point.series, series);
            met.series.push((point.series, series));
        }
        Some((met, baselines))
    }

    /// Notes the cycle and the best rank of each class before any point is counted.
    fn meet_targets(&mut self, points: &[StagedPoint], now_ms: u64) {
        for point in points {
            let time = point.time_unix_nano;
            if self.targets.len() >= MAX_TARGETS && !self.targets.contains_key(&point.target) {
                continue;
            }
            let target = self.targets.entry(point.target).or_insert(Target {
                cycle_unix_nano: time,
                previous_cycle_unix_nano: 0,
                first_contact: true,
                ranks: [NO_RANK; CLASSES],
                decided: [false; CLASSES],
                seen_ms: now_ms,
            });
            target.seen_ms = now_ms;
            if time > target.cycle_unix_nano.saturating_add(CYCLE_NANO) {
                target.previous_cycle_unix_nano = target.cycle_unix_nano;
                target.cycle_unix_nano = time;
                target.first_contact = false;
            }
            let class = point.class as usize;
            if !target.decided[class] {
                target.ranks[class] = target.ranks[class].min(point.rank);
            }
        }
        // Kept from now on: a synonym that appears later would count everything again.
        for point in points {
            if let Some(target) = self.targets.get_mut(&point.target) {
                target.decided[point.class as usize] = true;
            }
        }
    }

    fn increment(&mut self, point: &StagedPoint, target: &Target, now_ms: u64) -> Result<u64, Skip> {
        let seen = Series {
            start_unix_nano: point.start_unix_nano,
            time_unix_nano: point.time_unix_nano,
            value: point.value,
            seen_ms: now_ms,
        };
        let Some(last) = self.series.get_mut(&point.series) else {
            let has_room = self.series.len() < MAX_SERIES;
            if has_room {
                self.series.insert(point.series, seen);
            }
            let counts = self.counts_at_first_sight(point, target);
            return if counts {
                Ok(point.value)
            } else {
                Err(if has_room { Skip::Baseline } else { Skip::SeriesLimit })
            };
        };
        if point.time_unix_nano < last.time_unix_nano
            || (point.temporality == Temporality::Delta && point.time_unix_nano == last.time_unix_nano)
        {
            return Err(Skip::Duplicate);
        }
        let was_reset = point.start_unix_nano > last.start_unix_nano || point.value < last.value;
        let before = if point.temporality == Temporality::Delta || was_reset { 0 } else { last.value };
        if was_reset {
            self.resets += 1;
        }
        *last = seen;
        Ok(point.value - before)
    }

    fn counts_at_first_sight(&self, point: &StagedPoint, target: &Target) -> bool {
        if point.temporality == Temporality::Delta {
            return true;
        }
        if target.first_contact {
            return point.start_unix_nano >= self.started_unix_nano
                && (point.start_unix_nano > 0 || self.started_unix_nano == 0);
        }
        point.start_unix_nano == 0
            || point.is_new_if_unseen
            || point.start_unix_nano >= target.previous_cycle_unix_nano
    }

    fn make_room(&mut self, arriving: usize, now_ms: u64) {
        let is_fresh = |seen_ms: u64| now_ms.saturating_sub(seen_ms) < IDLE_MS;
        if self.series.len() + arriving > MAX_SERIES {
            self.series.retain(|_, series| is_fresh(series.seen_ms));
        }
        if self.targets.len() + arriving > MAX_TARGETS {
            self.targets.retain(|_, target| is_fresh(target.seen_ms));
        }
    }
}

/// What `increment` units add.
pub(super) fn times(unit: &Counts, increment: u64) -> Counts {
    Counts {
        requests: unit.requests * increment,
        attempts: unit.attempts * increment,
        input_tokens: unit.input_tokens * increment,
        output_tokens: unit.output_tokens * increment,
    }
}
