//! Which records were counted lately, so that a resent batch counts once.
//!
//! Remembers keyed hashes for 5 to 10 minutes, or the last 57,344 to 114,688 of them when they come faster: exporters resend
//! within seconds. Memory: at most 1.4 MiB. Two generations: the older one is dropped whole, so there is no list to keep.

use std::collections::{HashSet, VecDeque};

use super::PrehashedState;

/// A generation is closed after this time.
const GENERATION_MS: u64 = 5 * 60 * 1_000;
/// A generation is closed at this size: seven eighths of 65,536, where the table would grow.
const GENERATION_ENTRIES: usize = 57_344;

/// Hashes that are kept over a restart: those of the requests that may wait for their answer when the process is killed, sixteen
/// senders with a full batch each.
const LATEST: usize = 16_384;

/// A set that forgets.
#[derive(Debug, Default)]
pub(super) struct Recent {
    current: HashSet<u64, PrehashedState>,
    previous: HashSet<u64, PrehashedState>,
    current_since_ms: u64,
    latest: VecDeque<u64>,
}

impl Recent {
    /// Remembers `hash`; false if it was remembered already.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, now_ms: u64) -> bool {
        if self.previous.contains(&hash) {
            return false;
        }
        let full = self.current.len() >= GENERATION_ENTRIES;
        if full || now_ms.saturating_sub(self.current_since_ms) >= GENERATION_MS {
            std::mem::swap(&mut self.current, &mut self.previous);
            if full {
                self.current.clear()
            } else {
                self.current = HashSet::default()
            }
            self.current_since_ms = now_ms;
            if self.previous.contains(&hash) {
                return false;
            }
        }
        let is_new = self.current.insert(hash);
        if is_new {
            if self.latest.len() == LATEST {
                self.latest.pop_front();
            }
            self.latest.push_back(hash);
        }
        is_new
    }

    /// The hashes that came last, in order.
    pub(super) fn latest(&self) -> impl Iterator<Item = u64> {
        self.latest.iter().copied()
    }

    /// Whether `hash` is remembered.
    pub(super) fn contains(&self, hash: u64) -> bool {
        self.current.contains(&hash) || self.previous.contains(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_at_least_one_generation_and_forgets_after_two() {
        let mut recent = Recent::default();
        assert!(recent.insert(1, 0));
        assert!(!recent.insert(1, GENERATION_MS - 1));
        assert!(!recent.insert(1, GENERATION_MS));
        assert!(recent.insert(2, GENERATION_MS));
        assert!(!recent.contains(3));
        assert!(recent.insert(3, 3 * GENERATION_MS));
        assert!(recent.insert(1, 3 * GENERATION_MS), "two generations later");
    }

    #[test]
    fn stays_bounded() {
        let mut recent = Recent::default();
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for number in 0..1_000_000_u64 {
            assert!(recent.insert(hash(number), 0));
        }
        assert!(recent.current.len() + recent.previous.len() <= 2 * GENERATION_ENTRIES);
        assert!(!recent.insert(hash(999_999), 0));
        assert_eq!(recent.latest().last(), Some(hash(999_999)));
        assert_eq!(recent.latest().count(), LATEST);
    }
}
