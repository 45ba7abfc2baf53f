//! Packing, sealing and checking: nothing is lost on the way, and nothing else gets through.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
use weighbridge_proto::cells::{self, COUNT_LIMIT, Cell, CellKey, CellsError, Counts};
use weighbridge_proto::report::{self, ReportError};
use weighbridge_proto::v1::{
    Choice, Environment, GatewayProduct, Operation, Outcome, Refusal, Report, Streaming, Vantage,
};

fn key() -> impl Strategy<Value = CellKey> {
    let model = prop_oneof![0..20_u32, any::<u32>()];
    let provider = prop_oneof![0..20_u16, any::<u16>()];
    let axes = (0..6_u64, 0..5_u64, 0..7_u64, 0..3_u64, 0..3_u64, 0..6_u64);
    (model, provider, axes).prop_map(
        |(model, provider, (openness, hosting, operation, choice, streaming, outcome))| CellKey {
            model: ModelId(model),
            provider: ProviderId(provider),
            openness: Openness::from_number(openness).unwrap(),
            hosting: Hosting::from_number(hosting).unwrap(),
            operation: Operation::from_number(operation).unwrap(),
            choice: Choice::from_number(choice).unwrap(),
            streaming: Streaming::from_number(streaming).unwrap(),
            outcome: Outcome::from_number(outcome).unwrap(),
        },
    )
}

fn counts() -> impl Strategy<Value = Counts> {
    let count = || prop_oneof![Just(0), 1..1_000_u64, 0..COUNT_LIMIT];
    (count(), count(), count(), count()).prop_map(|(requests, attempts, input_tokens, output_tokens)| {
        Counts { requests, attempts, input_tokens, output_tokens }
    })
}

fn cells() -> impl Strategy<Value = BTreeMap<CellKey, Counts>> {
    prop::collection::btree_map(key(), counts(), 0..60)
}

fn sample(cells: &[Cell]) -> Report {
    Report {
        schema: report::SCHEMA,
        collector_id: Bytes::from_static(&[7; 16]),
        boot_epoch: 1_795_000_000_000 << 20,
        sequence: 3,
        window_start_s: 1_795_000_020,
        window_s: 60,
        catalogue_version: 2_026_112_301,
        environment: Environment::Production.into(),
        vantage: Vantage::Gateway.into(),
        gateway_product: GatewayProduct::Litellm.into(),
        cells: cells::pack(cells),
        total_requests: 12,
        ..Report::default()
    }
}

proptest! {
    #[test]
    fn unpack_gives_back_what_pack_took(map in cells()) {
        let list: Vec<Cell> = map.iter().map(|(key, counts)| Cell { key: *key, counts: *counts }).collect();
        let mut reversed = list.clone();
        reversed.reverse();
        let packed = cells::pack(&list);
        prop_assert_eq!(&packed, &cells::pack(&reversed), "equal sets have equal bytes");
        let unpacked: BTreeMap<_, _> = cells::unpack(&packed).unwrap().into_iter().map(|c| (c.key, c.counts)).collect();
        let expected: BTreeMap<_, _> = map.into_iter().filter(|(_, counts)| !counts.is_zero()).collect();
        prop_assert_eq!(unpacked, expected);
    }

    #[test]
    fn unpack_takes_only_what_pack_would_write(numbers in prop::collection::vec(prop_oneof![0..10_u64, 0..3_000_u64, any::<u64>()], 0..40)) {
        if let Ok(cells) = cells::unpack(&numbers) {
            prop_assert_eq!(cells::pack(&cells), numbers);
        }
    }

    #[test]
    fn a_sealed_report_checks_and_a_changed_one_does_not(map in cells(), position: prop::sample::Index, bit in 0..8_u8) {
        let list: Vec<Cell> = map.iter().map(|(key, counts)| Cell { key: *key, counts: *counts }).collect();
        let sealed = report::seal(&sample(&list));
        let checked = report::check(&sealed).unwrap();
        prop_assert_eq!(checked.totals.requests, 12);
        prop_assert_eq!(Some(checked.identity), report::identity(&sealed));
        let mut damaged = sealed.to_vec();
        damaged[position.index(sealed.len())] ^= 1 << bit;
        prop_assert!(report::check(&damaged).is_err());
    }

    #[test]
    fn check_never_panics(bytes: Vec<u8>) {
        prop_assert!(report::check(&bytes).is_err());
    }
}

#[test]
fn every_field_out_of_range_is_named() {
    type Case = (fn(&mut Report), ReportError, Refusal);
    let cases: [Case; 13] = [
        (|r| r.schema = 0, ReportError::Header("schema"), Refusal::Header),
        (|r| r.schema = 2, ReportError::Schema(2), Refusal::Schema),
        (|r| r.collector_id = Bytes::from_static(b"short"), ReportError::CollectorId, Refusal::CollectorId),
        (|r| r.collector_id = Bytes::from_static(&[0; 16]), ReportError::CollectorId, Refusal::CollectorId),
        (|r| r.window_s = 9, ReportError::Window, Refusal::Window),
        (|r| r.window_s = 3_601, ReportError::Window, Refusal::Window),
        (|r| r.window_start_s += 1, ReportError::Window, Refusal::Window),
        (|r| r.catalogue_version = 0, ReportError::Header("catalogue_version"), Refusal::Header),
        (|r| r.environment = 0, ReportError::Header("environment"), Refusal::Header),
        (|r| r.vantage = 99, ReportError::Header("vantage"), Refusal::Header),
        (|r| r.gateway_product = -1, ReportError::Header("gateway_product"), Refusal::Header),
        (|r| r.total_attempts = COUNT_LIMIT, ReportError::Header("total"), Refusal::Header),
        (|r| r.cells = vec![1], ReportError::Cells(CellsError::Truncated), Refusal::Cells),
    ];
    for (spoil, error, refusal) in cases {
        let mut bad = sample(&[]);
        spoil(&mut bad);
        let found = report::check(&report::seal(&bad)).unwrap_err();
        assert_eq!((found.refusal(), &found), (refusal, &error));
    }
    let unsealed = sample(&[]).encode_to_vec();
    assert_eq!(report::check(&unsealed), Err(ReportError::Checksum));
    assert!(matches!(report::check(&vec![0; report::MAX_REPORT_BYTES + 1]), Err(ReportError::TooLarge(_))));
}

#[test]
fn every_field_is_read_from_its_own_place() {
    let sent = Report {
        sequence: 4,
        window_start_s: 1_795_000_080,
        window_s: 40,
        environment: Environment::Staging.into(),
        vantage: Vantage::Server.into(),
        gateway_product: GatewayProduct::Vllm.into(),
        total_requests: 13,
        total_attempts: 14,
        total_input_tokens: 15,
        total_output_tokens: 16,
        dropped_requests: 17,
        ..sample(&minute(true))
    };
    let checked = report::check(&report::seal(&sent)).unwrap();
    let totals = Counts { requests: 13, attempts: 14, input_tokens: 15, output_tokens: 16 };
    let identity = checked.identity;
    assert_eq!(
        (identity.collector.0, identity.boot_epoch.0, identity.sequence.0),
        ([7; 16], sent.boot_epoch, 4)
    );
    assert_eq!((checked.window_start.0, checked.window_s), (1_795_000_080, 40));
    assert_eq!(checked.catalogue_version, sent.catalogue_version);
    assert_eq!((checked.environment, checked.vantage), (Environment::Staging, Vantage::Server));
    assert_eq!(
        (checked.gateway_product, checked.totals, checked.dropped_requests),
        (GatewayProduct::Vllm, totals, 17)
    );
    assert_eq!(checked.cells, cells::unpack(&sent.cells).unwrap());
    assert_eq!(checked.cells.len(), 30);
}

#[test]
fn unpack_names_what_is_wrong() {
    // model 5, origin chat/unknown/closed/provider 1, one cell: shape 0, 3 requests.
    let origin = 1 << 9 | 1 << 6;
    assert_eq!(cells::unpack(&[5, origin, 1, 0, 3]).unwrap().len(), 1);
    let cases: [(&[u64], CellsError); 9] = [
        (&[5, origin, 1, 0], CellsError::Truncated),
        (&[5, origin, 0], CellsError::Empty),
        (&[5, origin, 1, 0, 0], CellsError::Empty),
        (&[5, origin, 2, 0, 3, 0, 3], CellsError::Order),
        (&[5, origin, 1, 0, 3, 0, origin, 1, 0, 3], CellsError::Order),
        (&[5, origin, 1, 7 << 2, 3], CellsError::Range("outcome")),
        (&[5, origin | 7, 1, 0, 3], CellsError::Range("operation")),
        (&[5, origin, 1, 0, COUNT_LIMIT], CellsError::Range("count")),
        (&[5, origin, 10_001, 0, 3], CellsError::TooMany),
    ];
    for (numbers, error) in cases {
        assert_eq!(cells::unpack(numbers), Err(error), "{numbers:?}");
    }
}

/// A gateway's minute: 10 models, each with ok, rate-limited and server error.
fn minute(with_tokens: bool) -> Vec<Cell> {
    let outcomes = [(Outcome::Ok, 90), (Outcome::RateLimited, 4), (Outcome::ServerError, 1)];
    let cell = |model: u32, (outcome, requests): (Outcome, u64)| Cell {
        key: CellKey {
            model: ModelId(3 + model * 7),
            provider: ProviderId(1 + model as u16 % 4),
            openness: Openness::Closed,
            hosting: Hosting::FirstParty,
            operation: Operation::Chat,
            choice: Choice::First,
            streaming: Streaming::No,
            outcome,
        },
        counts: Counts {
            requests,
            attempts: requests,
            input_tokens: if with_tokens && outcome == Outcome::Ok { 108_000 } else { 0 },
            output_tokens: if with_tokens && outcome == Outcome::Ok { 31_050 } else { 0 },
        },
    };
    (0..10).flat_map(|model| outcomes.map(|outcome| cell(model, outcome))).collect()
}

fn packed_bytes(cells: &[Cell]) -> usize {
    let report = Report { cells: cells::pack(cells), ..Report::default() };
    report.encoded_len()
}

#[test]
fn thirty_cells_take_about_a_hundred_bytes() {
    let (counts, with_tokens) = (packed_bytes(&minute(false)), packed_bytes(&minute(true)));
    println!("30 cells: {counts} bytes of counts, {with_tokens} bytes with two token sums in 10 of them");
    assert_eq!(minute(true).len(), 30);
    assert_eq!((counts, with_tokens), (102, 163));
}

#[test]
fn the_format_of_layout_1_does_not_change() {
    let packed = cells::pack(&minute(true)[..3]);
    let origin = 1 << 9 | 1 << 6 | 1 << 3;
    assert_eq!(packed, [3, origin, 3, 2, 90, 108_000, 31_050, 1 << 2, 4, 3 << 2, 1]);
}
