//! What a counter that is fed by events must remember over a restart: the records it counted last, the calls on hold, the series.
//!
//! In: a counter. Out: bytes, and a counter that goes on from them. Guarantees: a record whose sender had no answer when the
//! process was killed and that comes again counts once; a failure on hold still finds its fallback; a counter of a series gains
//! what it gained meanwhile. Bytes of another version, or of another hash function, restore nothing.

use serde::{Deserialize, Serialize};
use weighbridge_proto::cells::{self, Cell, CellKey, Counts};

use super::Counter;
use super::calls::HeldCall;
use super::series::SeriesState;
use super::trees::TreesState;

/// Layout of the bytes; another one restores nothing.
const VERSION: u32 = 1;

/// A cell as the wire packs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PackedCell(Vec<u64>);

impl PackedCell {
    pub(super) fn of(key: CellKey, counts: Counts) -> PackedCell {
        PackedCell(cells::pack(&[Cell { key, counts }]))
    }

    pub(super) fn cell(&self) -> Option<Cell> {
        cells::unpack(&self.0).ok()?.first().copied()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    version: u32,
    mark: u64,
    recent: Vec<u64>,
    calls: Vec<HeldCall>,
    trees: TreesState,
    series: SeriesState,
}

impl Counter {
    /// Everything above, with a mark of the hash function.
    pub fn events_state(&self, mark: u64) -> Vec<u8> {
        let state = State {
            version: VERSION,
            mark,
            recent: self.recent.latest().collect(),
            calls: self.calls.state(),
            trees: self.trees.state(),
            series: self.series.state(),
        };
        // Numbers and lists of numbers always encode.
        postcard::to_stdvec(&state).unwrap_or_default()
    }

    /// Takes over what `events_state` gave; false if it is of another version. `now_ms` as for `observe`.
    pub fn restore_events(&mut self, state: &[u8], mark: u64, now_ms: u64) -> bool {
        let Ok(state) = postcard::from_bytes::<State>(state) else { return false };
        if state.version != VERSION || state.mark != mark {
            return false;
        }
        for hash in state.recent {
            self.recent.insert(hash, now_ms);
        }
        self.calls.restore(state.calls);
        self.trees.restore(state.trees);
        self.series.restore(state.series);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{Call, Observation};
    use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
    use weighbridge_proto::v1::{Choice, Operation, Outcome, Streaming};

    const MARK: u64 = 77;

    fn observation(outcome: Outcome, fingerprint: u64, call: Call) -> Observation {
        Observation {
            key: CellKey {
                model: ModelId(3),
                provider: ProviderId::UNLISTED,
                openness: Openness::Unknown,
                hosting: Hosting::Unknown,
                operation: Operation::Chat,
                choice: Choice::Unknown,
                streaming: Streaming::No,
                outcome,
            },
            attempts: 1,
            input_tokens: 5,
            output_tokens: 7,
            fingerprint: Some(fingerprint),
            call,
        }
    }

    /// The counter of the process that was started after a kill.
    fn restarted(before: &Counter) -> Counter {
        let mut after = Counter::new(0);
        assert!(after.restore_events(&before.events_state(MARK), MARK, 2_000));
        after
    }

    #[test]
    fn what_was_counted_is_not_counted_again() {
        let mut before = Counter::new(0);
        before.observe(&observation(Outcome::Ok, 1, Call::Whole), 1_000);
        let mut after = restarted(&before);
        after.observe(&observation(Outcome::Ok, 1, Call::Whole), 2_000);
        after.observe(&observation(Outcome::Ok, 2, Call::Whole), 2_000);
        assert_eq!(after.totals().requests, 1);
    }

    #[test]
    fn a_failure_on_hold_finds_its_fallback() {
        let attempt = |outcome, fingerprint, group| {
            observation(outcome, fingerprint, Call::Attempt { id: 9, group, fallback: false })
        };
        let mut before = Counter::new(0);
        before.observe(&attempt(Outcome::RateLimited, 1, 100), 1_000);
        let mut after = restarted(&before);
        after.observe(&attempt(Outcome::Ok, 2, 200), 2_000);
        after.finish_calls();
        let cells = after.take_cells();
        assert_eq!(cells.len(), 1, "the failure was an attempt of the call, counted before: {cells:?}");
        assert_eq!((cells[0].key.choice, cells[0].counts.requests), (Choice::Fallback, 1));
    }

    #[test]
    fn a_failure_on_hold_ends_at_its_time() {
        let mut before = Counter::new(0);
        let call = Call::Attempt { id: 9, group: 1, fallback: false };
        before.observe(&observation(Outcome::ServerError, 1, call), 1_000);
        let mut after = restarted(&before);
        after.expire_calls(1_000 + super::super::HOLD_MS - 1);
        assert_eq!(after.totals().requests, 0);
        after.expire_calls(1_000 + super::super::HOLD_MS);
        assert_eq!(after.totals().requests, 1);
    }

    #[test]
    fn leaves_of_a_tree_wait_for_their_root() {
        let leaf = |fingerprint, outcome| {
            let call = Call::Leaf { parent: 50, group: 1, start_unix_nano: fingerprint, end_unix_nano: 10 };
            observation(outcome, fingerprint, call)
        };
        let mut before = Counter::new(0);
        before.observe(&leaf(1, Outcome::Ok), 1_000);
        let mut after = restarted(&before);
        after.link(crate::observation::Link { span: 50, parent: None }, 2_000);
        assert_eq!(after.totals(), Counts { requests: 1, attempts: 1, input_tokens: 5, output_tokens: 7 });
    }

    #[test]
    fn another_hash_function_or_damage_restores_nothing() {
        let mut before = Counter::new(0);
        before.observe(&observation(Outcome::Ok, 1, Call::Whole), 1_000);
        let state = before.events_state(MARK);
        assert!(!Counter::new(0).restore_events(&state, MARK + 1, 0));
        assert!(!Counter::new(0).restore_events(&state[..state.len() / 2], MARK, 0));
        assert!(!Counter::new(0).restore_events(b"", MARK, 0));
    }
}
