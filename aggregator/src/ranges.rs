//! A set of numbers kept as ranges: sequences of a boot epoch, offsets of a partition.
//!
//! Guarantees: a set, whatever the order of insertion. Memory is one pair of numbers a range: numbers that are nearly all there, as
//! sequences and offsets are, take next to none, in whatever order they come once the gaps have closed.

use std::collections::BTreeMap;
use std::fmt;

/// Ranges that `Display` writes before it only says how many more there are.
const SHOWN: usize = 12;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    /// First number of a range to its last; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl Ranges {
    /// Adds a number; false if it was there.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let before = self.ranges.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let joined = before.filter(|(_, last)| number - last == 1);
        let first = joined.map_or(number, |(first, _)| first);
        let after = number.checked_add(1).and_then(|next| self.ranges.remove(&next));
        self.ranges.insert(first, after.unwrap_or(number));
        self.len += 1;
        true
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, last)| number <= *last)
    }

    /// How many numbers.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.ranges.keys().next().copied()
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.ranges.values().next_back().copied()
    }

    /// How many numbers of `from..until` are in it.
    pub(crate) fn count_within(&self, from: u64, until: u64) -> u64 {
        let within = |(first, last): (&u64, &u64)| {
            let (first, end) = ((*first).max(from), last.saturating_add(1).min(until));
            end.saturating_sub(first)
        };
        self.ranges.iter().map(within).sum()
    }

    /// The numbers of `first..=last` that are in it.
    pub(crate) fn within(&self, first: u64, last: u64) -> Ranges {
        let mut within = Ranges::default();
        for (from, to) in &self.ranges {
            let (from, to) = ((*from).max(first), (*to).min(last));
            if from <= to {
                within.push(from, to);
            }
        }
        within
    }

    /// The numbers between the first and the last that are not in it.
    pub(crate) fn gaps(&self) -> Ranges {
        let mut gaps = Ranges::default();
        let mut next = None;
        for (first, last) in &self.ranges {
            if let Some(next) = next {
                gaps.push(next, first - 1);
            }
            next = last.checked_add(1);
        }
        gaps
    }

    /// The numbers in it that are not in `other`.
    pub(crate) fn without(&self, other: &Ranges) -> Ranges {
        let mut left = Ranges::default();
        for (first, last) in &self.ranges {
            let mut at = *first;
            let before = other.ranges.range(..=at).next_back().map(|(_, end)| *end).filter(|end| *end >= at);
            let mut covered = before.map_or_else(|| Some(at), |end| end.checked_add(1));
            for (from, to) in other.ranges.range(at..=*last) {
                let Some(start) = covered else { break };
                if *from > start {
                    left.push(start, from - 1);
                }
                covered = to.checked_add(1).map(|next| next.max(start));
            }
            if let Some(start) = covered {
                at = start;
                if at <= *last {
                    left.push(at, *last);
                }
            }
        }
        left
    }

    /// Adds everything in `other`, which shares no number with this.
    pub(crate) fn add_disjoint(&mut self, other: &Ranges) {
        let (mine, theirs) = (std::mem::take(self), other.clone());
        let mut all: Vec<(u64, u64)> = mine.ranges.into_iter().chain(theirs.ranges).collect();
        all.sort_unstable();
        all.into_iter().for_each(|(first, last)| self.push(first, last));
    }

    /// A range beyond all others, not empty.
    fn push(&mut self, first: u64, last: u64) {
        let touching = self.ranges.last_entry().filter(|entry| entry.get().checked_add(1) == Some(first));
        match touching {
            Some(mut entry) => *entry.get_mut() = last,
            None => drop(self.ranges.insert(first, last)),
        }
        self.len += last - first + 1;
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Ranges {
        let mut ranges = Ranges::default();
        for number in numbers {
            ranges.insert(number);
        }
        ranges
    }
}

/// `4-6, 9`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.ranges.iter().take(SHOWN).enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        let more = self.ranges.len().saturating_sub(SHOWN);
        if more > 0 { write!(f, " and {more} more ranges") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn both(numbers: &[u64]) -> (Ranges, BTreeSet<u64>) {
        (numbers.iter().copied().collect(), numbers.iter().copied().collect())
    }

    fn listed(ranges: &Ranges) -> Vec<u64> {
        ranges.ranges.iter().flat_map(|(first, last)| *first..=*last).collect()
    }

    proptest! {
        #[test]
        fn is_a_set(a in prop::collection::vec(0u64..60, 0..80), b in prop::collection::vec(0u64..60, 0..80)) {
            let (ranges, set) = both(&a);
            let (other, other_set) = both(&b);
            prop_assert_eq!(listed(&ranges), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ranges.len(), set.len() as u64);
            prop_assert_eq!((ranges.first(), ranges.last()), (set.first().copied(), set.last().copied()));
            for number in 0..61 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
            prop_assert_eq!(ranges.count_within(10, 30), set.range(10..30).count() as u64);
            let within = ranges.within(10, 29);
            prop_assert_eq!(listed(&within), set.range(10..30).copied().collect::<Vec<_>>());
            let without = ranges.without(&other);
            prop_assert_eq!(listed(&without), set.difference(&other_set).copied().collect::<Vec<_>>());
            prop_assert_eq!(without.len(), set.difference(&other_set).count() as u64);
            if let (Some(first), Some(last)) = (set.first(), set.last()) {
                let missing: Vec<u64> = (*first..=*last).filter(|number| !set.contains(number)).collect();
                prop_assert_eq!(listed(&ranges.gaps()), missing);
            }
            let mut ranges = ranges;
            ranges.add_disjoint(&other.without(&ranges));
            prop_assert_eq!(&ranges, &set.union(&other_set).copied().collect::<Ranges>());
            // Ranges neither overlap nor touch.
            let ends: Vec<(u64, u64)> = ranges.ranges.into_iter().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }

    #[test]
    fn ends_of_the_numbers_and_text() {
        let ranges: Ranges = [u64::MAX, 0, u64::MAX - 1, 4, 6, 5].into_iter().collect();
        assert_eq!(ranges.to_string(), "0, 4-6, 18446744073709551614-18446744073709551615");
        assert!(ranges.without(&ranges).is_empty());
        let many: Ranges = (0..20).map(|number| number * 2).collect();
        assert!(many.to_string().ends_with("22 and 8 more ranges"), "{many}");
    }
}
