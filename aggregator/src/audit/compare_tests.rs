//! One boot epoch, one thing changed at a time: each is named at its stage, and what is accounted for is not a difference.

use super::*;
use crate::audit::state::Content;
use weighbridge_proto::report::{BootEpoch, CollectorId};

const NAME: EpochName = EpochName { collector: CollectorId([7; 16]), boot_epoch: BootEpoch(5) };

fn content(sequence: u64) -> Content {
    let counts = |n: u64| Counts { requests: n, attempts: n, input_tokens: 2 * n, output_tokens: 3 * n };
    // Every report has 10 requests.
    Content {
        window_start_s: 60 * sequence,
        cells: 2,
        counts: counts(10),
        totals: counts(10 * (sequence + 1)),
        dropped_requests: 0,
    }
}

/// Ten reports that are everywhere.
fn whole() -> Epoch {
    let mut epoch = Epoch::default();
    for sequence in 0..10 {
        let content = content(sequence);
        epoch.file.add(sequence, &content);
        epoch.kafka.add(sequence, &content);
        epoch.stored.add(sequence, &content);
        epoch.chain.add(sequence, &content);
    }
    epoch
}

fn side(sequences: impl IntoIterator<Item = u64>) -> Side {
    let mut side = Side::default();
    for sequence in sequences {
        side.add(sequence, &content(sequence));
    }
    side
}

fn store(epoch: &mut Epoch, sequences: impl IntoIterator<Item = u64>, dropped_requests: u64) {
    (epoch.stored, epoch.chain) = Default::default();
    for sequence in sequences {
        let content = Content { dropped_requests, ..content(sequence) };
        epoch.stored.add(sequence, &content);
        epoch.chain.add(sequence, &content);
    }
}

fn found(tested: &Epoch) -> (Vec<(Stage, String)>, Vec<String>) {
    let mut findings = Findings::default();
    epoch(NAME, tested, &mut findings);
    let differences = findings.differences.iter();
    let differences = differences.map(|difference| (difference.stage, difference.to_string())).collect();
    (differences, findings.notes.iter().map(ToString::to_string).collect())
}

/// Exactly one difference: its stage and text.
fn only(epoch: &Epoch) -> (Stage, String) {
    let (differences, notes) = found(epoch);
    assert_eq!((differences.len(), notes.len()), (1, 0), "{differences:?} {notes:?}");
    differences.into_iter().next().unwrap()
}

#[test]
fn equal_everywhere() {
    assert_eq!(found(&whole()), (vec![], vec![]));
    let mut without_file = whole();
    without_file.file = Side::default();
    assert_eq!(found(&without_file), (vec![], vec![]));
}

#[test]
fn lost_before_kafka() {
    let mut epoch = whole();
    epoch.kafka = side((0..10).filter(|sequence| !(4..=6).contains(sequence)));
    store(&mut epoch, (0..10).filter(|sequence| !(4..=6).contains(sequence)), 0);
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::CollectorToIngest);
    let expected = "collector -> ingest: 3 reports of collector 07070707070707070707070707070707 boot epoch 5 (sequences 4-6) are in the ledger of the collector and not in Kafka";
    assert_eq!(text, expected);

    // Without the collector's ledger the gap tells, and the totals how much was in it.
    epoch.file = Side::default();
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::CollectorToIngest);
    assert!(text.contains("(sequences 4-6)") && text.contains("30 requests"), "{text}");
}

#[test]
fn a_lost_tail_is_seen_with_the_ledger_only() {
    let mut epoch = whole();
    epoch.kafka = side(0..9);
    store(&mut epoch, 0..9, 0);
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::CollectorToIngest);
    assert!(text.contains("1 report ") && text.contains("(sequence 9) is in the ledger"), "{text}");
    assert!(text.contains("may still be in its spool"), "{text}");
}

#[test]
fn dropped_unsent_is_told_and_no_difference() {
    let mut epoch = whole();
    epoch.kafka = side([0, 1, 5, 6, 7, 8, 9]);
    epoch.kafka.add(10, &content(10));
    store(&mut epoch, [0, 1, 5, 6, 7, 8, 9, 10], 30);
    epoch.file = side(0..11);
    let (differences, notes) = found(&epoch);
    assert!(differences.is_empty() || differences.iter().all(|d| d.1.contains("say")), "{differences:?}");
    assert!(
        notes[0].contains("(sequences 2-4) are in the ledger of the collector and were dropped"),
        "{notes:?}"
    );

    // More is missing than was declared.
    epoch.chain.dropped_requests = 29;
    let (differences, _) = found(&epoch);
    assert!(differences.iter().any(|(_, text)| text.contains("(sequences 2-4)")), "{differences:?}");
}

#[test]
fn retention_is_not_loss() {
    let mut epoch = whole();
    epoch.kafka = side(5..10);
    epoch.stored = side(5..10);
    epoch.stored_before_kafka = side(0..5);
    let (differences, notes) = found(&epoch);
    assert_eq!(differences, []);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("(sequences 0-4)") && notes[0].contains("not retained in Kafka"), "{notes:?}");

    // Neither in Kafka, which no longer says, nor in ClickHouse.
    epoch.stored_before_kafka = side(0..4);
    epoch.file_before_kafka = (0..5).collect();
    let (differences, _) = found(&epoch);
    assert_eq!(differences[0].0, Stage::CollectorToClickHouse);
    assert!(differences[0].1.contains("(sequence 4)"), "{differences:?}");
}

#[test]
fn lost_between_kafka_and_clickhouse() {
    let mut epoch = whole();
    store(&mut epoch, (0..10).filter(|sequence| *sequence != 3), 0);
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::KafkaToClickHouse);
    assert!(text.contains("(sequence 3) is in Kafka and not in ClickHouse"), "{text}");

    epoch.kafka_ahead = [3].into_iter().collect();
    let (differences, notes) = found(&epoch);
    assert_eq!(differences, []);
    assert!(notes[0].contains("load has yet to read"), "{notes:?}");
}

#[test]
fn what_nobody_sent_is_not_in_clickhouse() {
    let mut epoch = whole();
    epoch.stored.add(77, &content(77));
    epoch.chain.add(77, &content(77));
    let (differences, _) = found(&epoch);
    assert_eq!((differences.len(), differences[0].0), (1, Stage::KafkaToClickHouse), "{differences:?}");
    assert!(differences[0].1.contains("(sequence 77) is in ClickHouse and not in Kafka"), "{differences:?}");
}

#[test]
fn torn_and_changed_reports() {
    let mut epoch = whole();
    epoch.torn.insert(4);
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::KafkaToClickHouse);
    assert!(text.contains("(sequence 4) is torn"), "{text}");

    let mut epoch = whole();
    epoch.stored = Side::default();
    for sequence in 0..10 {
        let mut changed = content(sequence);
        changed.counts.input_tokens += u64::from(sequence == 4);
        epoch.stored.add(sequence, &changed);
    }
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::KafkaToClickHouse);
    assert!(text.contains("say one thing in Kafka") && text.contains("201 input tokens"), "{text}");
}

#[test]
fn what_was_not_written_down_may_not_leave() {
    let mut epoch = whole();
    epoch.file = side((2..10).filter(|sequence| *sequence != 7));
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::CollectorToIngest);
    assert!(text.contains("(sequence 7) is in Kafka and not in the ledger of the collector"), "{text}");

    let mut epoch = whole();
    epoch.file = Side::default();
    for sequence in 0..10 {
        let mut changed = content(sequence);
        changed.counts.requests += u64::from(sequence == 4);
        epoch.file.add(sequence, &changed);
    }
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::CollectorToIngest);
    assert!(text.contains("say one thing in the ledger of the collector"), "{text}");
}

#[test]
fn totals_that_do_not_add_up() {
    let mut epoch = whole();
    // Everywhere the same: only the running totals can tell.
    for side in [&mut epoch.file, &mut epoch.kafka, &mut epoch.stored] {
        *side = Side::default();
    }
    epoch.chain = Default::default();
    for sequence in 0..10 {
        let mut changed = content(sequence);
        changed.counts.requests += u64::from(sequence == 4);
        for side in [&mut epoch.file, &mut epoch.kafka, &mut epoch.stored] {
            side.add(sequence, &changed);
        }
        epoch.chain.add(sequence, &changed);
    }
    let (stage, text) = only(&epoch);
    assert_eq!(stage, Stage::ClickHouse);
    assert!(text.contains("counted 101 requests") && text.contains("claimed 100 requests"), "{text}");
}

#[test]
fn days() {
    let equal = Day { is_equal: true, ..Day::default() };
    let differs = Day { before: Some(3), after: Some(3), built_from: Some(3), ..Day::default() };
    let behind = Day { built_from: Some(2), ..differs };
    let moves = Day { after: Some(4), ..differs };
    assert_eq!(day(&equal), Verdict::Equal);
    assert_eq!(day(&differs), Verdict::Differs);
    assert_eq!(day(&behind), Verdict::Again);
    assert_eq!(day(&moves), Verdict::Again);
    let mut findings = Findings::default();
    day_found(20_261_122, &moves, &mut findings);
    assert!(findings.first.is_none() && findings.notes[0].what.contains("is being loaded"));
    day_found(20_261_122, &behind, &mut findings);
    assert_eq!(findings.first, Some(Stage::LedgerToRollup));
    assert!(findings.differences[0].what.contains("is load running?"));
}
