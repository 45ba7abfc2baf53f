//! What is kept of each boot epoch while its reports go by: sets of sequences, sums, a digest.
//!
//! Memory per boot epoch does not grow with its reports as long as their sequences have few gaps (see `ranges`). A digest is the
//! sum of one hash a report, so it does not depend on their order, and two sides with the same sequences have the same digest
//! exactly when every report says the same on both (up to a collision of 64 bits).

use std::collections::BTreeMap;

use weighbridge_proto::cells::Counts;
use weighbridge_proto::report::{BootEpoch, CheckedReport, CollectorId, Identity};

use crate::ranges::Ranges;

/// What a report says, wherever it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) window_start_s: u64,
    pub(crate) cells: u64,
    /// Sums of its cells.
    pub(crate) counts: Counts,
    /// Running totals of the boot epoch, this report included.
    pub(crate) totals: Counts,
    pub(crate) dropped_requests: u64,
}

impl Content {
    pub(crate) fn of(report: &CheckedReport) -> Content {
        let mut counts = Counts::default();
        report.cells.iter().for_each(|cell| counts.add(&cell.counts));
        Content {
            window_start_s: report.window_start.0,
            cells: report.cells.len() as u64,
            counts,
            totals: report.totals,
            dropped_requests: report.dropped_requests,
        }
    }

    fn digest(&self, sequence: u64) -> u64 {
        let fields =
            |counts: &Counts| [counts.requests, counts.attempts, counts.input_tokens, counts.output_tokens];
        let head = [sequence, self.window_start_s, self.cells, self.dropped_requests];
        let numbers = head.into_iter().chain(fields(&self.counts)).chain(fields(&self.totals));
        numbers.fold(0, |hash, number| mix(hash ^ number))
    }
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output. Not for secrets.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The reports of a boot epoch at one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub(crate) sequences: Ranges,
    pub(crate) cells: u64,
    pub(crate) counts: Counts,
    digest: u64,
}

impl Side {
    /// Adds a report; false if one of this sequence was there, which is then what counts.
    pub(crate) fn add(&mut self, sequence: u64, content: &Content) -> bool {
        let is_new = self.sequences.insert(sequence);
        if is_new {
            self.cells += content.cells;
            self.counts.add(&content.counts);
            self.digest = self.digest.wrapping_add(content.digest(sequence));
        }
        is_new
    }

    pub(crate) fn says_the_same(&self, other: &Side) -> bool {
        self.digest == other.digest
    }

    /// This and `other`, which share no sequence.
    pub(crate) fn with(&self, other: &Side) -> Side {
        let mut both = self.clone();
        both.sequences.add_disjoint(&other.sequences);
        both.cells += other.cells;
        both.counts.add(&other.counts);
        both.digest = both.digest.wrapping_add(other.digest);
        both
    }
}

/// The running totals along a boot epoch in ClickHouse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    first: Option<(u64, Content)>,
    last: Option<(u64, Content)>,
    counted: Counts,
    pub(crate) dropped_requests: u64,
}

impl Chain {
    pub(crate) fn add(&mut self, sequence: u64, content: &Content) {
        self.counted.add(&content.counts);
        self.dropped_requests = self.dropped_requests.max(content.dropped_requests);
        if self.first.as_ref().is_none_or(|(first, _)| sequence < *first) {
            self.first = Some((sequence, *content));
        }
        if self.last.as_ref().is_none_or(|(last, _)| sequence > *last) {
            self.last = Some((sequence, *content));
        }
    }

    /// What was counted, and what the first and the last report say must have been.
    pub(crate) fn counted_and_claimed(&self) -> (Counts, Counts) {
        let (Some((_, first)), Some((_, last))) = (&self.first, &self.last) else {
            return Default::default();
        };
        let claimed = |of: fn(&Counts) -> u64| {
            of(&last.totals).saturating_add(of(&first.counts)).saturating_sub(of(&first.totals))
        };
        let claimed = Counts {
            requests: claimed(|counts| counts.requests),
            attempts: claimed(|counts| counts.attempts),
            input_tokens: claimed(|counts| counts.input_tokens),
            output_tokens: claimed(|counts| counts.output_tokens),
        };
        (self.counted, claimed)
    }
}

/// Everything that is known of a boot epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epoch {
    /// In the collector's ledger.
    pub(crate) file: Side,
    /// Of these, windows that ended before the oldest time that Kafka has kept whole.
    pub(crate) file_before_kafka: Ranges,
    /// In Kafka.
    pub(crate) kafka: Side,
    /// Of these, records that load has not committed.
    pub(crate) kafka_ahead: Ranges,
    /// In Kafka, with a window outside the span.
    pub(crate) kafka_elsewhere: Ranges,
    /// In ClickHouse, read at an offset that was looked at.
    pub(crate) stored: Side,
    /// In ClickHouse, read at an offset that Kafka no longer keeps.
    pub(crate) stored_before_kafka: Side,
    /// In ClickHouse, read after Kafka was looked at.
    pub(crate) stored_since: Ranges,
    /// In ClickHouse, with other cells in `ledger` than `reports` says, or in one of the two only.
    pub(crate) torn: Ranges,
    /// Running totals in ClickHouse.
    pub(crate) chain: Chain,
}

/// One start of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochName {
    /// The collector.
    pub collector: CollectorId,
    /// Its start.
    pub boot_epoch: BootEpoch,
}

impl From<Identity> for EpochName {
    fn from(identity: Identity) -> EpochName {
        EpochName { collector: identity.collector, boot_epoch: identity.boot_epoch }
    }
}

/// Under which name a boot epoch is stored: a collector whose contributor is known is stored under another id than its own (see
/// `door`). Learnt from Kafka, which has both. Where a second contributor sent copies of its reports, most reports decide.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredAs(BTreeMap<EpochName, BTreeMap<CollectorId, u64>>);

impl StoredAs {
    pub(crate) fn learn(&mut self, own: EpochName, stored: CollectorId) {
        *self.0.entry(own).or_default().entry(stored).or_default() += 1;
    }

    pub(crate) fn name(&self, own: EpochName) -> EpochName {
        let most = self.0.get(&own).and_then(|ids| ids.iter().max_by_key(|(_, reports)| **reports));
        EpochName { collector: most.map_or(own.collector, |(stored, _)| *stored), ..own }
    }
}

/// All boot epochs that were met.
pub(crate) type Epochs = BTreeMap<EpochName, Epoch>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(requests: u64) -> Content {
        let counts = Counts { requests, attempts: requests, input_tokens: 2, output_tokens: 3 };
        Content { window_start_s: 60, cells: 1, counts, totals: counts, dropped_requests: 0 }
    }

    proptest! {
        #[test]
        fn a_digest_does_not_depend_on_order_and_copies(numbers in prop::collection::vec(0u64..50, 1..60)) {
            let (mut there, mut back) = (Side::default(), Side::default());
            for number in &numbers {
                there.add(*number, &content(*number));
            }
            for number in numbers.iter().rev().chain(&numbers) {
                back.add(*number, &content(*number));
            }
            prop_assert!(there.says_the_same(&back));
            prop_assert_eq!((there.counts, there.cells), (back.counts, back.cells));
            let mut other = Side::default();
            for number in &numbers {
                other.add(*number, &content(number + u64::from(*number == numbers[0])));
            }
            prop_assert!(!there.says_the_same(&other));
        }
    }

    #[test]
    fn every_field_is_in_the_digest() {
        let base = content(7);
        let mut changed = vec![base; 12];
        changed[0].window_start_s += 1;
        changed[1].cells += 1;
        changed[2].dropped_requests += 1;
        for (place, counts) in changed[3..7].iter_mut().enumerate() {
            *[
                &mut counts.counts.requests,
                &mut counts.counts.attempts,
                &mut counts.counts.input_tokens,
                &mut counts.counts.output_tokens,
            ][place] += 1;
        }
        for (place, counts) in changed[7..11].iter_mut().enumerate() {
            *[
                &mut counts.totals.requests,
                &mut counts.totals.attempts,
                &mut counts.totals.input_tokens,
                &mut counts.totals.output_tokens,
            ][place] += 1;
        }
        let mut digests: Vec<u64> = changed.iter().map(|content| content.digest(1)).collect();
        digests.push(base.digest(2));
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 13);
    }

    #[test]
    fn totals_claim_what_was_counted_whatever_the_order() {
        let mut total = Counts::default();
        let mut reports = Vec::new();
        for sequence in 3..9 {
            let mut one = content(sequence);
            total.add(&one.counts);
            // The boot epoch began before the span: the totals are ahead by what was counted then.
            one.totals = total;
            one.totals.requests += 100;
            reports.push((sequence, one));
        }
        reports.swap(0, 4);
        let mut chain = Chain::default();
        reports.iter().for_each(|(sequence, content)| chain.add(*sequence, content));
        let (counted, claimed) = chain.counted_and_claimed();
        assert_eq!(counted, claimed);
        let mut chain = Chain::default();
        reports.iter().filter(|report| report.0 != 5).for_each(|report| chain.add(report.0, &report.1));
        let (counted, claimed) = chain.counted_and_claimed();
        assert_eq!(claimed.requests - counted.requests, 5);
    }
}
