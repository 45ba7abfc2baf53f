//! Every report of a record becomes rows or poison, and is counted.

use super::*;
use crate::admin::Instruments;
use crate::load::rows::Batch;
use crate::native::Group;
use crate::record::Sender;
use bytes::Bytes;
use proptest::prelude::*;
use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
use weighbridge_proto::cells::{self, Cell, CellKey, Counts};
use weighbridge_proto::report::CollectorId;
use weighbridge_proto::v1::{Choice, Operation, Outcome, Report, Streaming};

const PLACE: Place = Place { partition: 3, offset: 41 };

fn report(sequence: u64, models: u32) -> Report {
    let cells: Vec<Cell> = (0..models).map(cell).collect();
    Report {
        schema: 1,
        collector_id: vec![7; 16].into(),
        boot_epoch: 5,
        sequence,
        window_start_s: 1_795_392_000,
        window_s: 60,
        catalogue_version: 2_026_112_301,
        environment: 1,
        vantage: 1,
        gateway_product: 2,
        cells: cells::pack(&cells),
        ..Report::default()
    }
}

fn cell(model: u32) -> Cell {
    let key = CellKey {
        model: ModelId(model),
        provider: ProviderId(1),
        openness: Openness::Closed,
        hosting: Hosting::FirstParty,
        operation: Operation::Chat,
        choice: Choice::First,
        streaming: Streaming::No,
        outcome: Outcome::Ok,
    };
    Cell { key, counts: Counts { requests: 2, attempts: 3, input_tokens: 4, output_tokens: 5 } }
}

fn sealed(change: impl FnOnce(&mut Report)) -> Bytes {
    let mut report = report(0, 1);
    change(&mut report);
    report::seal(&report)
}

struct Taken {
    batch: Batch,
    result: Result<(), NewerSchema>,
    metrics: String,
}

fn take_bytes(value: &[u8]) -> Taken {
    take_sent(value, None)
}

fn take_sent(value: &[u8], senders: Option<&[u8]>) -> Taken {
    take_as(Shard { index: 0, count: 1 }, value, senders)
}

fn take_as(shard: Shard, value: &[u8], senders: Option<&[u8]>) -> Taken {
    let instruments = Instruments::default();
    let metrics = Metrics::register(&instruments);
    let mut batch = Batch::default();
    let read = Read { value, key: Some(b"key"), senders };
    let result = take_value(&read, PLACE, shard, &mut batch, &metrics);
    Taken { batch, result, metrics: instruments.render() }
}

#[test]
fn reports_of_one_record_become_rows_of_their_days() {
    let next_day = sealed(|report| report.window_start_s += 86_400);
    let empty = sealed(|report| report.cells.clear());
    let value = record::encode([report::seal(&report(1, 3)).as_ref(), &next_day, &empty]);
    let Taken { batch, result, metrics } = take_bytes(&value);
    assert_eq!(result, Ok(()));
    assert_eq!((batch.reports, batch.cells, batch.rows()), (3, 4, 7));
    let rows: Vec<_> = batch.days.values().map(|day| day.blocks().unwrap().map(|block| block.rows)).collect();
    assert_eq!(rows, [[3, 2], [1, 1]], "of ledger and of reports");
    assert!(metrics.contains("weighbridge_load_reports_read_total 3"), "{metrics}");
    assert!(metrics.contains("weighbridge_load_reports_buffered 3"), "{metrics}");
}

#[test]
fn poison_is_set_aside_and_its_neighbours_are_not() {
    let good = report::seal(&report(0, 1));
    let mut broken = good.to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let cases = [
        (broken, "checksum"),
        (vec![0xff; 9], "undecodable"),
        (sealed(|report| report.cells[2] = 9).to_vec(), "cells"),
        (sealed(|report| report.collector_id.clear()).to_vec(), "collector_id"),
        (sealed(|report| report.vantage = 9).to_vec(), "header"),
        (sealed(|report| report.window_start_s = 60).to_vec(), "window"),
        (sealed(|report| report.window_start_s = 4_102_444_800).to_vec(), "window"),
    ];
    for (bad, reason) in cases {
        let Taken { batch, result, .. } = take_bytes(&record::encode([good.as_ref(), &bad, &good]));
        assert_eq!(result, Ok(()));
        assert_eq!(batch.reports, 2, "{reason}");
        let value = record::encode([bad.as_slice()]);
        let key = Some(b"key".to_vec());
        assert_eq!(batch.poison, [Poison { place: PLACE, reason, key, value, senders: None }]);
    }
}

#[test]
fn rows_are_the_senders_and_a_report_without_one_among_others_is_set_aside() {
    let contributors = |batch: &Batch| {
        let day = batch.days.values().next().unwrap();
        day.reports.contributor.bytes().to_vec()
    };
    let one = Sender { contributor: [1; 16], collector: CollectorId([2; 16]) };
    let two = Sender { contributor: [3; 16], collector: CollectorId([4; 16]) };
    let value = record::encode([sealed(|_| ()).as_ref(), &report::seal(&report(1, 2))]);
    let header = [one.to_bytes(), two.to_bytes()].concat();
    let Taken { batch, .. } = take_sent(&value, Some(&header));
    assert_eq!(batch.reports, 2);
    assert_eq!(contributors(&batch), [[1; 16], [3; 16]].concat());
    let day = batch.days.values().next().unwrap();
    assert_eq!(day.reports.collector_id.bytes(), [[2; 16], [4; 16]].concat());

    let Taken { batch, .. } = take_bytes(&value);
    assert_eq!(contributors(&batch), [0; 32], "without the header: nobody's");
    assert_eq!(batch.days.values().next().unwrap().reports.collector_id.bytes(), [7; 32]);

    let Taken { batch, metrics, .. } = take_sent(&value, Some(&one.to_bytes()));
    assert_eq!((batch.reports, batch.poison.len(), batch.poison[0].reason), (1, 1, MALFORMED));
    assert!(metrics.contains("weighbridge_load_reports_read_total 2"), "{metrics}");
    let old = sealed(|report| report.window_start_s = 60);
    let Taken { batch, .. } = take_sent(&record::encode([old.as_ref()]), Some(&two.to_bytes()));
    assert_eq!(batch.poison[0].senders, Some(two.to_bytes().to_vec()), "kept for whoever repairs it");
}

#[test]
fn each_shard_takes_its_own_and_together_they_take_all() {
    let of = |id: u8| sealed(|report| report.collector_id = vec![id; 16].into());
    let outside = sealed(|report| (report.collector_id, report.window_start_s) = (vec![2; 16].into(), 60));
    let values = [of(1), of(2), of(3), of(4), outside, Bytes::from_static(&[0xff; 9])];
    let value = record::encode(values.iter().map(AsRef::as_ref));
    let mut reasons = Vec::new();
    let mut loaded = 0;
    for index in 0..3 {
        let Taken { batch, metrics, .. } = take_as(Shard { index, count: 3 }, &value, None);
        reasons.extend(batch.poison.iter().map(|poison| poison.reason));
        loaded += batch.reports;
        let others = values.len() - batch.reports - batch.poison.len();
        assert!(metrics.contains("weighbridge_load_reports_read_total 6"), "{metrics}");
        assert!(
            metrics.contains(&format!("weighbridge_load_reports_of_other_shards_total {others}")),
            "{metrics}"
        );
    }
    reasons.sort_unstable();
    assert_eq!((loaded, reasons), (4, vec!["undecodable", WINDOW]));
}

#[test]
fn what_does_not_split_is_set_aside_whole() {
    let mut value = record::encode([report::seal(&report(0, 1)).as_ref()]);
    value.extend_from_slice(&[200, 1, 1]);
    let Taken { batch, .. } = take_bytes(&value);
    assert_eq!((batch.reports, batch.poison.len()), (1, 1));
    assert_eq!((batch.poison[0].reason, &batch.poison[0].value), (MALFORMED, &value));
    assert_eq!(take_bytes(&[]).batch.poison.len(), 1, "an empty value is no record");
}

#[test]
fn a_newer_schema_is_neither_loaded_nor_set_aside() {
    let Taken { batch, result, .. } =
        take_bytes(&record::encode([sealed(|report| report.schema = 2).as_ref()]));
    assert_eq!(result, Err(NewerSchema(2)));
    assert!(batch.poison.is_empty() && batch.reports == 0);
}

#[test]
fn every_poison_has_its_counter() {
    for reason in ["undecodable", "collector_id", "window", "cells", "checksum", "size", "header", MALFORMED]
    {
        assert!(super::super::metrics::POISON.contains(&reason), "{reason}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_counted(value in prop::collection::vec(any::<u8>(), 0..400)) {
        let Taken { batch, metrics, .. } = take_bytes(&value);
        let buffered = batch.reports + batch.poison.len();
        let read_line = format!("weighbridge_load_reports_read_total {buffered}");
        prop_assert!(metrics.contains(&read_line));
    }
}

#[test]
fn rows_are_sent_in_the_order_of_the_tables() {
    let sender = |low: u8, high: u8| {
        let mut id = [0; 16];
        (id[0], id[15]) = (high, low);
        Sender { contributor: [0; 16], collector: CollectorId(id) }
    };
    // By window, then by the second half of the id, then by the first, then by sequence.
    let (first, second, third) = (sender(1, 9), sender(2, 1), sender(2, 3));
    let sent = [(third, 1, 2), (second, 1, 0), (first, 8, 1), (first, 7, 3)];
    let reports: Vec<Bytes> =
        sent.iter().map(|(_, sequence, cells)| report::seal(&report(*sequence, *cells))).collect();
    let senders: Vec<u8> = sent.iter().flat_map(|(sender, ..)| sender.to_bytes()).collect();
    let value = record::encode(reports.iter().map(AsRef::as_ref));
    let Taken { batch, .. } = take_sent(&value, Some(&senders));
    let [ledger, reports] = batch.days.values().next().unwrap().blocks().unwrap();
    let groups = |list: [(usize, std::ops::Range<usize>); 4]| list.map(|(index, rows)| Group { index, rows });
    assert_eq!(reports.groups(), groups([(3, 3..4), (2, 2..3), (1, 1..2), (0, 0..1)]));
    assert_eq!(ledger.groups(), groups([(3, 3..6), (2, 2..3), (1, 2..2), (0, 0..2)]));
}
