//! Client calls whose last attempt failed, held until a fallback succeeds or the hold ends.
//!
//! A gateway tells attempts one by one. A success ends the call at once. A failure is held for `HOLD_MS`: if a success of the
//! same call comes, the failure was an attempt; if none comes, it was the request's outcome. At most `MAX_HELD` calls are
//! held (1.3 MiB); beyond that the oldest is ended early, as a failed request.

use std::collections::{HashMap, VecDeque};

use weighbridge_proto::cells::{CellKey, Counts};

use serde::{Deserialize, Serialize};

use super::PrehashedState;
use super::state::PackedCell;

/// How long a failure waits for a fallback. LiteLLM's retries and cool-downs stay under it by default.
pub const HOLD_MS: u64 = 60_000;
/// Most calls on hold.
const MAX_HELD: usize = 14_336;

/// The last failure of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// The cell of the failed attempt.
    pub(super) key: CellKey,
    /// Model group of the call's first attempt.
    pub(super) first_group: u64,
}

/// A call on hold as it is kept over a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HeldCall {
    id: u64,
    deadline: u64,
    first_group: u64,
    failure: PackedCell,
}

/// Calls on hold.
#[derive(Debug, Default)]
pub(super) struct Calls {
    held: HashMap<u64, (Failure, u64), PrehashedState>,
    /// (deadline, call), ascending; an entry is stale when the call has another deadline by now.
    deadlines: VecDeque<(u64, u64)>,
}

/// Fingerprint under which `Recent` remembers that a call succeeded.
pub(super) fn done_mark(id: u64) -> u64 {
    id.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15
}

impl Calls {
    /// Model group of the first attempt of a call on hold.
    pub(super) fn first_group(&self, id: u64) -> Option<u64> {
        self.held.get(&id).map(|(failure, _)| failure.first_group)
    }

    /// A call succeeded.
    pub(super) fn succeeded(&mut self, id: u64) {
        self.held.remove(&id);
    }

    /// An attempt failed; the hold begins anew. Returns the oldest call if there was no room.
    pub(super) fn failed(&mut self, id: u64, failure: Failure, now_ms: u64) -> Option<Failure> {
        let evicted = if self.held.len() >= MAX_HELD && !self.held.contains_key(&id) {
            self.expire(u64::MAX)
        } else {
            None
        };
        let deadline = now_ms.saturating_add(HOLD_MS);
        self.held.insert(id, (failure, deadline));
        self.deadlines.push_back((deadline, id));
        self.drop_stale();
        evicted
    }

    /// The next call whose hold has ended.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<Failure> {
        loop {
            let (deadline, id) = *self.deadlines.front()?;
            if deadline > now_ms {
                return None;
            }
            self.deadlines.pop_front();
            if let Some((failure, current)) = self.held.get(&id).copied()
                && current == deadline
            {
                self.held.remove(&id);
                return Some(failure);
            }
        }
    }

    /// Every call on hold.
    pub(super) fn state(&self) -> Vec<HeldCall> {
        let held = |(id, (failure, deadline)): (&u64, &(Failure, u64))| HeldCall {
            id: *id,
            deadline: *deadline,
            first_group: failure.first_group,
            failure: PackedCell::of(failure.key, Counts { requests: 1, ..Counts::default() }),
        };
        self.held.iter().map(held).collect()
    }

    /// Takes over the calls that an earlier process held.
    pub(super) fn restore(&mut self, mut calls: Vec<HeldCall>) {
        calls.sort_unstable_by_key(|call| call.deadline);
        for call in calls {
            let Some(cell) = call.failure.cell() else { continue };
            let failure = Failure { key: cell.key, first_group: call.first_group };
            self.held.insert(call.id, (failure, call.deadline));
            self.deadlines.push_back((call.deadline, call.id));
        }
    }

    /// Keeps the queue within twice the number of calls on hold.
    fn drop_stale(&mut self) {
        if self.deadlines.len() > 2 * MAX_HELD {
            let held = &self.held;
            self.deadlines
                .retain(|(deadline, id)| held.get(id).is_some_and(|(_, current)| current == deadline));
        }
    }
}
