//! Client requests whose attempts are leaves of a tree of records, held until the tree's root ends.
//!
//! In: leaves (attempts) and links (the records between them and the root). Out: for each finished request its attempts, one of
//! which is the request: the last success, else the last failure. Leaves end before the records around them, so a tree is
//! whole when its root comes; a root that never comes ends the request after `HOLD_MS`.
//!
//! An attempt that ended before another one under the same record began has failed, whatever it says of itself: nothing else
//! makes a gateway try again. An attempt is a fallback if all that ended before it began have failed, one of another group.
//! Bounded: at most `MAX_LEAVES` attempts are held (1.5 MiB), beyond that the oldest request ends early; links are remembered for one to
//! two times `HOLD_MS`, at most twice `MAX_LINKS` of them (0.7 MiB).

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use weighbridge_proto::cells::{Cell, CellKey, Counts};
use weighbridge_proto::v1::{Choice, Outcome};

use super::state::PackedCell;
use super::{HOLD_MS, PrehashedState};
use crate::observation::Link;

/// Most attempts on hold.
const MAX_LEAVES: usize = 14_336;
/// Most links in a generation.
const MAX_LINKS: usize = 14_336;
/// Longest way from a leaf to its root.
const MAX_DEPTH: usize = 32;

/// An attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) key: CellKey,
    pub(super) counts: Counts,
    pub(super) parent: u64,
    pub(super) group: u64,
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
}

impl HeldLeaf {
    fn leaf(&self) -> Option<Leaf> {
        let Cell { key, counts } = self.cell.cell()?;
        let HeldLeaf { parent, group, start_unix_nano, end_unix_nano, .. } = *self;
        Some(Leaf { key, counts, parent, group, start_unix_nano, end_unix_nano })
    }
}

#[derive(Debug, Default)]
struct Group {
    leaves: Vec<Leaf>,
    deadline: u64,
}

/// An attempt as it is kept over a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct HeldLeaf {
    cell: PackedCell,
    parent: u64,
    group: u64,
    start_unix_nano: u64,
    end_unix_nano: u64,
}

/// What is kept over a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TreesState {
    /// Outermost record, deadline, attempts.
    groups: Vec<(u64, u64, Vec<HeldLeaf>)>,
    links: Vec<(u64, u64)>,
}

/// Requests on hold.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// By the outermost record that is known to be around them.
    groups: HashMap<u64, Group, PrehashedState>,
    /// (deadline, group), ascending; stale when the group has another deadline by now.
    deadlines: VecDeque<(u64, u64)>,
    held: usize,
    /// Record to the one around it; the older generation is dropped whole.
    links: HashMap<u64, u64, PrehashedState>,
    older_links: HashMap<u64, u64, PrehashedState>,
    links_since_ms: u64,
}

impl Trees {
    /// Holds an attempt. Returns the oldest request if there was no room.
    pub(super) fn hold(&mut self, leaf: Leaf, now_ms: u64) -> Option<Vec<Leaf>> {
        let evicted = if self.held >= MAX_LEAVES { self.expire(u64::MAX) } else { None };
        let around = self.outermost(leaf.parent);
        self.add(around, vec![leaf], now_ms);
        evicted
    }

    /// Notes a record of a tree; of a root the finished request is returned.
    pub(super) fn link(&mut self, link: Link, now_ms: u64) -> Option<Vec<Leaf>> {
        let Some(parent) = link.parent else { return self.take(link.span) };
        if self.links.len() >= MAX_LINKS || now_ms.saturating_sub(self.links_since_ms) >= HOLD_MS {
            self.older_links = std::mem::take(&mut self.links);
            self.links_since_ms = now_ms;
        }
        self.links.insert(link.span, parent);
        if let Some(leaves) = self.take(link.span) {
            let around = self.outermost(parent);
            self.add(around, leaves, now_ms);
        }
        None
    }

    /// The next request whose hold has ended.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<Vec<Leaf>> {
        loop {
            let (deadline, around) = *self.deadlines.front()?;
            if deadline > now_ms {
                return None;
            }
            self.deadlines.pop_front();
            if self.groups.get(&around).is_some_and(|group| group.deadline == deadline) {
                return self.take(around);
            }
        }
    }

    /// Every request on hold, and the links.
    pub(super) fn state(&self) -> TreesState {
        let held = |leaf: &Leaf| HeldLeaf {
            cell: PackedCell::of(leaf.key, leaf.counts),
            parent: leaf.parent,
            group: leaf.group,
            start_unix_nano: leaf.start_unix_nano,
            end_unix_nano: leaf.end_unix_nano,
        };
        let groups = self
            .groups
            .iter()
            .map(|(around, group)| (*around, group.deadline, group.leaves.iter().map(held).collect()));
        let links = self.older_links.iter().chain(&self.links).map(|(span, parent)| (*span, *parent));
        TreesState { groups: groups.collect(), links: links.collect() }
    }

    /// Takes over what an earlier process held.
    pub(super) fn restore(&mut self, mut state: TreesState) {
        self.older_links = state.links.into_iter().collect();
        state.groups.sort_unstable_by_key(|(_, deadline, _)| *deadline);
        for (around, deadline, leaves) in state.groups {
            let leaves: Vec<Leaf> = leaves.iter().filter_map(HeldLeaf::leaf).collect();
            self.held += leaves.len();
            self.groups.insert(around, Group { leaves, deadline });
            self.deadlines.push_back((deadline, around));
        }
    }

    fn outermost(&self, mut record: u64) -> u64 {
        for _ in 0..MAX_DEPTH {
            match self.links.get(&record).or_else(|| self.older_links.get(&record)) {
                Some(parent) => record = *parent,
                None => break,
            }
        }
        record
    }

    fn add(&mut self, around: u64, leaves: Vec<Leaf>, now_ms: u64) {
        self.held += leaves.len();
        let group = self.groups.entry(around).or_default();
        if group.leaves.is_empty() {
            group.deadline = now_ms.saturating_add(HOLD_MS);
            self.deadlines.push_back((group.deadline, around));
        }
        group.leaves.extend(leaves);
        if self.deadlines.len() > 2 * MAX_LEAVES {
            let groups = &self.groups;
            let is_current = |(deadline, around): &(u64, u64)| {
                groups.get(around).is_some_and(|group| group.deadline == *deadline)
            };
            self.deadlines.retain(is_current);
        }
    }

    fn take(&mut self, around: u64) -> Option<Vec<Leaf>> {
        let group = self.groups.remove(&around)?;
        self.held -= group.leaves.len();
        Some(group.leaves)
    }
}

/// The attempts of one request as cells: each an attempt, one of them the request.
pub(super) fn counted(mut leaves: Vec<Leaf>) -> impl Iterator<Item = (CellKey, Counts)> {
    leaves.sort_unstable_by_key(|leaf| (leaf.end_unix_nano, leaf.start_unix_nano));
    for at in 0..leaves.len() {
        let Some((leaf, later)) = leaves.get_mut(at..).and_then(<[Leaf]>::split_first_mut) else { break };
        let is_followed =
            later.iter().any(|next| next.parent == leaf.parent && next.start_unix_nano >= leaf.end_unix_nano);
        if is_followed && leaf.key.outcome == Outcome::Ok {
            leaf.key.outcome = Outcome::ServerError;
        }
    }
    let served = leaves.iter().rposition(|leaf| leaf.key.outcome == Outcome::Ok);
    let served = served.unwrap_or(leaves.len().saturating_sub(1));
    let choices: Vec<Choice> = leaves
        .iter()
        .map(|leaf| {
            let mut before = leaves.iter().filter(|other| other.end_unix_nano <= leaf.start_unix_nano);
            let is_fallback = before.clone().any(|other| other.group != leaf.group)
                && before.all(|other| other.key.outcome != Outcome::Ok);
            if is_fallback { Choice::Fallback } else { Choice::First }
        })
        .collect();
    leaves.into_iter().zip(choices).enumerate().map(move |(at, (leaf, choice))| {
        let counts = Counts { requests: u64::from(at == served), ..leaf.counts };
        (CellKey { choice, ..leaf.key }, counts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
    use weighbridge_proto::v1::{Operation, Streaming};

    /// An attempt at model `group` under `parent`, from one second to another.
    fn leaf(parent: u64, group: u32, outcome: Outcome, (start, end): (u64, u64)) -> Leaf {
        Leaf {
            key: CellKey {
                model: ModelId(group),
                provider: ProviderId::UNLISTED,
                openness: Openness::Unknown,
                hosting: Hosting::Unknown,
                operation: Operation::Chat,
                choice: Choice::Unknown,
                streaming: Streaming::No,
                outcome,
            },
            counts: Counts { attempts: 1, ..Counts::default() },
            parent,
            group: u64::from(group),
            start_unix_nano: start * 1_000_000_000,
            end_unix_nano: end * 1_000_000_000,
        }
    }

    fn told(leaves: Vec<Leaf>) -> Vec<(u32, Outcome, Choice, u64)> {
        counted(leaves).map(|(key, counts)| (key.model.0, key.outcome, key.choice, counts.requests)).collect()
    }

    const BRANCH: u64 = 10;
    const ROOT: u64 = 1;

    #[test]
    fn the_success_after_a_failure_of_another_is_a_fallback() {
        let leaves =
            vec![leaf(BRANCH, 7, Outcome::Ok, (2, 3)), leaf(BRANCH, 5, Outcome::RateLimited, (0, 1))];
        let expected = [(5, Outcome::RateLimited, Choice::First, 0), (7, Outcome::Ok, Choice::Fallback, 1)];
        assert_eq!(told(leaves), expected);
        let again = vec![leaf(BRANCH, 5, Outcome::RateLimited, (0, 1)), leaf(BRANCH, 5, Outcome::Ok, (2, 3))];
        assert_eq!(told(again)[1], (5, Outcome::Ok, Choice::First, 1), "a retry");
    }

    #[test]
    fn attempts_at_the_same_time_are_no_fallback_and_one_request() {
        let candidates = vec![
            leaf(11, 5, Outcome::ServerError, (0, 1)),
            leaf(12, 6, Outcome::Ok, (0, 2)),
            leaf(13, 7, Outcome::Ok, (0, 3)),
            leaf(BRANCH, 8, Outcome::Ok, (4, 5)),
        ];
        let told = told(candidates);
        assert_eq!(told.iter().map(|cell| cell.3).sum::<u64>(), 1);
        assert_eq!(told[1], (6, Outcome::Ok, Choice::First, 0));
        assert_eq!(told[3], (8, Outcome::Ok, Choice::First, 1), "the last answer is the request's");
    }

    #[test]
    fn an_attempt_that_was_followed_by_another_has_failed() {
        let leaves =
            vec![leaf(BRANCH, 5, Outcome::Ok, (0, 1)), leaf(BRANCH, 6, Outcome::ServerError, (1, 2))];
        let expected =
            [(5, Outcome::ServerError, Choice::First, 0), (6, Outcome::ServerError, Choice::Fallback, 1)];
        assert_eq!(told(leaves), expected);
    }

    #[test]
    fn a_tree_is_whole_at_its_root_in_any_order_of_its_links() {
        let links = [Link { span: 3, parent: Some(ROOT) }, Link { span: 4, parent: Some(3) }];
        for order in [[0, 1], [1, 0]] {
            let mut trees = Trees::default();
            assert!(trees.hold(leaf(4, 5, Outcome::Ok, (0, 1)), 0).is_none());
            order.iter().for_each(|at| assert!(trees.link(links[*at], 0).is_none()));
            assert!(trees.hold(leaf(4, 5, Outcome::Ok, (2, 3)), 0).is_none(), "later than its links");
            assert_eq!(trees.link(Link { span: ROOT, parent: None }, 0).unwrap().len(), 2);
            assert_eq!(trees.held, 0);
            assert!(trees.expire(u64::MAX).is_none());
        }
    }

    #[test]
    fn a_request_without_its_root_ends_after_the_hold() {
        let mut trees = Trees::default();
        trees.hold(leaf(4, 5, Outcome::Ok, (0, 1)), 1_000);
        trees.hold(leaf(9, 5, Outcome::Ok, (0, 1)), 2_000);
        assert!(trees.expire(HOLD_MS).is_none());
        assert_eq!(trees.expire(HOLD_MS + 1_000).unwrap().len(), 1);
        assert!(trees.expire(HOLD_MS + 1_000).is_none());
        assert_eq!(trees.expire(HOLD_MS + 2_000).unwrap().len(), 1);
    }

    #[test]
    fn stays_bounded() {
        let mut trees = Trees::default();
        let mut ended = 0;
        for number in 0..100_000_u64 {
            let parent = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ended += trees.hold(leaf(parent, 5, Outcome::Ok, (0, 1)), 0).map_or(0, |leaves| leaves.len());
            assert!(trees.link(Link { span: parent, parent: Some(!parent) }, 0).is_none());
        }
        assert_eq!((ended + trees.held, trees.held), (100_000, MAX_LEAVES), "ended early, not forgotten");
        assert!(trees.links.len() + trees.older_links.len() <= 2 * MAX_LINKS);
        assert!(trees.deadlines.len() <= 2 * MAX_LEAVES + 1);
    }
}
