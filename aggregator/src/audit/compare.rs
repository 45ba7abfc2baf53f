//! From what was read to what differs: per boot epoch one comparison a stage, per day ledger against rollup. Pure.
//!
//! | stage | equal means |
//! |---|---|
//! | collector -> ingest | what a collector wrote down before it sent, and only that, is in Kafka; no sequence is missing in between |
//! | collector -> ClickHouse | the same, where Kafka no longer keeps what was sent |
//! | Kafka -> ClickHouse | what is in Kafka, and only that, is in `reports` and `ledger`, report by report the same |
//! | ClickHouse | the running totals of a boot epoch's reports add up |
//! | ledger -> rollup | every hour of the rollup is the sum of the ledger |
//!
//! Told and no difference, because it is accounted for: what the collector declared as dropped unsent, what load has yet to read,
//! what Kafka no longer keeps and ClickHouse has.

use super::state::{Epoch, EpochName, Side};
use super::tables::Day;
use super::{Difference, Findings, Note, Stage};
use crate::ranges::Ranges;
use weighbridge_proto::cells::Counts;

/// Compares one boot epoch.
pub(super) fn epoch(name: EpochName, epoch: &Epoch, findings: &mut Findings) {
    let stored = epoch.stored.with(&without_seen(&epoch.stored_before_kafka, &epoch.stored));
    let mut in_clickhouse = Comparison { name, epoch, stored: &stored, findings };
    in_clickhouse.written_and_sent();
    in_clickhouse.sent_and_stored();
    in_clickhouse.running_totals();
}

/// The side, if it shares no sequence with `seen`: rows of one sequence under two windows are torn, and named as such.
fn without_seen(side: &Side, seen: &Side) -> Side {
    let overlaps = side.sequences.without(&seen.sequences).len() < side.sequences.len();
    if overlaps { Side::default() } else { side.clone() }
}

struct Comparison<'a> {
    name: EpochName,
    epoch: &'a Epoch,
    /// Everything in ClickHouse but what came since Kafka was looked at.
    stored: &'a Side,
    findings: &'a mut Findings,
}

fn sums(side: &Side) -> String {
    format!("{} cells, {}", side.cells, counts(&side.counts))
}

fn counts(counts: &Counts) -> String {
    let Counts { requests, attempts, input_tokens, output_tokens } = counts;
    format!(
        "{requests} requests, {attempts} attempts, {input_tokens} input tokens, {output_tokens} output tokens"
    )
}

impl Comparison<'_> {
    fn differ(&mut self, stage: Stage, sequences: Ranges, what: impl Into<String>) {
        let name = Some(self.name);
        self.findings.differ(Difference { stage, name, day: None, sequences, what: what.into() });
    }

    fn note(&mut self, sequences: Ranges, what: impl Into<String>) {
        self.findings.note(Note { name: Some(self.name), sequences, what: what.into() });
    }

    /// Whether the collector declared at least `requests` as dropped unsent.
    fn is_declared(&self, requests: u64) -> bool {
        let declared = self.epoch.chain.dropped_requests;
        declared > 0 && requests <= declared
    }

    /// The collector's ledger against Kafka.
    fn written_and_sent(&mut self) {
        let Epoch { file, kafka, kafka_elsewhere, stored_since, .. } = self.epoch;
        if file.sequences.is_empty() {
            return;
        }
        let missing = file.sequences.without(&kafka.sequences).without(kafka_elsewhere);
        let unseen = missing.without(&self.stored.sequences).without(stored_since);
        let not_retained = missing.without(&unseen).without(stored_since);
        if !not_retained.is_empty() {
            self.note(
                not_retained,
                "are in the ledger of the collector and in ClickHouse; not retained in Kafka",
            );
        }
        let lost = unseen.without(&self.epoch.file_before_kafka);
        let untold = unseen.without(&lost);
        // What is written down and is nowhere: as much as the ledger says more than all other places together.
        let (written, seen) = (file.counts.requests, self.seen_requests());
        let declared = !unseen.is_empty() && self.is_declared(written.saturating_sub(seen));
        if declared {
            let text = format!(
                "are in the ledger of the collector and were dropped unsent, as it declares: {} requests of its boot epoch",
                self.epoch.chain.dropped_requests
            );
            self.note(unseen, text);
        } else {
            if !untold.is_empty() {
                let what = "are in the ledger of the collector and not in ClickHouse; Kafka no longer retains their time";
                self.differ(Stage::CollectorToClickHouse, untold, what);
            }
            if !lost.is_empty() {
                let is_tail = lost.last() == file.sequences.last();
                let mut what = "are in the ledger of the collector and not in Kafka".to_owned();
                if is_tail {
                    what += " (its last: they may still be in its spool)";
                }
                self.differ(Stage::CollectorToIngest, lost, what);
            }
        }
        self.sent_unwritten();
        if file.sequences == kafka.sequences && !file.says_the_same(kafka) {
            let what = format!(
                "say one thing in the ledger of the collector ({}) and another in Kafka ({})",
                sums(file),
                sums(kafka)
            );
            self.differ(Stage::CollectorToIngest, file.sequences.clone(), what);
        }
    }

    /// Requests of the reports that are in Kafka or ClickHouse.
    fn seen_requests(&self) -> u64 {
        self.epoch.kafka.counts.requests.max(self.stored.counts.requests)
    }

    /// What went out without having been written down, as far as the ledger reaches.
    fn sent_unwritten(&mut self) {
        let Epoch { file, kafka, .. } = self.epoch;
        let (Some(first), Some(last)) = (file.sequences.first(), file.sequences.last()) else { return };
        let unwritten = kafka.sequences.without(&file.sequences).within(first, last);
        if !unwritten.is_empty() {
            let what = "are in Kafka and not in the ledger of the collector, which it writes before it sends";
            self.differ(Stage::CollectorToIngest, unwritten, what);
        }
    }

    /// Kafka against ClickHouse.
    fn sent_and_stored(&mut self) {
        let Epoch { kafka, kafka_ahead, stored, stored_before_kafka, stored_since, torn, .. } = self.epoch;
        let missing = kafka.sequences.without(&self.stored.sequences).without(stored_since);
        let missing = missing.without(&stored_before_kafka.sequences);
        let lost = missing.without(kafka_ahead);
        let ahead = missing.without(&lost);
        if !ahead.is_empty() {
            self.note(ahead, "are in Kafka and load has yet to read them");
        }
        if !lost.is_empty() {
            self.differ(Stage::KafkaToClickHouse, lost, "are in Kafka and not in ClickHouse");
        }
        let unsent = self.unsent();
        if !unsent.is_empty() {
            let what = "are in ClickHouse and not in Kafka, which retains the offsets that ClickHouse names";
            self.differ(Stage::KafkaToClickHouse, unsent, what);
        }
        let not_retained = stored_before_kafka.sequences.without(&kafka.sequences);
        self.findings.not_retained += not_retained.len();
        if !torn.is_empty() {
            let what = format!(
                "are torn: their rows in `ledger` are not the cells that `reports` says (ClickHouse {}; Kafka {})",
                sums(self.stored),
                sums(kafka)
            );
            self.differ(Stage::KafkaToClickHouse, torn.clone(), what);
            return;
        }
        let whole = [stored, self.stored].into_iter().find(|side| side.sequences == kafka.sequences);
        if let Some(side) = whole.filter(|side| !side.says_the_same(kafka)) {
            let what = format!(
                "say one thing in Kafka ({}) and another in ClickHouse ({})",
                sums(kafka),
                sums(side)
            );
            self.differ(Stage::KafkaToClickHouse, kafka.sequences.clone(), what);
        }
    }

    /// What ClickHouse holds and nobody sent.
    fn unsent(&self) -> Ranges {
        let Epoch { kafka, kafka_elsewhere, stored, .. } = self.epoch;
        stored.sequences.without(&kafka.sequences).without(kafka_elsewhere)
    }

    /// The running totals in ClickHouse.
    fn running_totals(&mut self) {
        let Epoch { file, kafka, kafka_elsewhere, stored_since, torn, chain, .. } = self.epoch;
        let (counted, claimed) = chain.counted_and_claimed();
        let missing = claimed.requests.saturating_sub(counted.requests);
        // What nobody sent makes no gap and has no totals.
        let unsent = self.unsent();
        let sent = self.stored.sequences.without(&unsent);
        let gaps = sent.gaps().without(stored_since).without(kafka_elsewhere);
        let untold = gaps.without(&kafka.sequences).without(&file.sequences);
        if !untold.is_empty() {
            let what = format!(
                "between others are neither in Kafka nor in ClickHouse; {missing} requests were in what is missing, as the running totals say"
            );
            if self.is_declared(missing) {
                let declared = chain.dropped_requests;
                let what = format!("{what}; the collector declares {declared} requests as dropped unsent");
                self.note(untold, what);
            } else {
                // Offsets before those that were looked at: whether they were in Kafka cannot be told.
                let is_old = !self.epoch.stored_before_kafka.sequences.is_empty();
                let stage = if is_old { Stage::CollectorToClickHouse } else { Stage::CollectorToIngest };
                self.differ(stage, untold, what);
            }
        }
        if gaps.is_empty()
            && torn.is_empty()
            && unsent.is_empty()
            && stored_since.is_empty()
            && counted != claimed
        {
            let what = format!("do not add up: counted {}, claimed {}", counts(&counted), counts(&claimed));
            self.differ(Stage::ClickHouse, self.stored.sequences.clone(), what);
        }
    }
}

/// What is to be done about a day of the rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    /// Being loaded or rebuilt: look again.
    Again,
    Differs,
}

/// Judges one day.
pub(super) fn day(day: &Day) -> Verdict {
    if day.is_equal {
        Verdict::Equal
    } else if day.moves() || day.is_behind() {
        Verdict::Again
    } else {
        Verdict::Differs
    }
}

/// What is found of a day that is not equal, also after having been looked at again.
pub(super) fn day_found(number: u32, day: &Day, findings: &mut Findings) {
    if day.moves() {
        let what = format!("the ledger of day {number} is being loaded; its rollup was not compared");
        return findings.note(Note { name: None, sequences: Ranges::default(), what });
    }
    let behind = if day.is_behind() {
        "; the rollup was not rebuilt since the ledger changed: is load running?"
    } else {
        ""
    };
    let same = if day.ledger == day.rollup { "; the sums are the same, under other dimensions" } else { "" };
    let what = format!(
        "day {number}: the ledger has {}, the rollup {}{same}{behind}",
        counts(&day.ledger),
        counts(&day.rollup)
    );
    let sequences = Ranges::default();
    findings.differ(Difference {
        stage: Stage::LedgerToRollup,
        name: None,
        day: Some(number),
        sequences,
        what,
    });
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
