//! A part of the fault suite, and the proof that the suite sees what it is for: with each guarantee broken once, it fails.
//! `make faults` runs all of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use weighbridge_tests::faults::{self, Kind, Plan, Verdict};
use weighbridge_tests::processes::root;

fn say(line: String) {
    println!("{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan { faults: 50, ..Plan::default() };
    let verdict = faults::run(&plan, folder.path(), say).await;
    assert_eq!(verdict.differences, Vec::<String>::new(), "seed {}", plan.seed);
    assert!(verdict.requests > 500_000, "{verdict:?}");
}

/// What the suite finds when the aggregator breaks `guarantee` while only `kinds` happen.
async fn broken(guarantee: &str, kinds: &[Kind], faults: usize) -> Verdict {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), std::path::PathBuf::from);
    let aggregator = root().join(target).join("sabotaged/weighbridge-aggregator");
    assert!(aggregator.is_file(), "{} is not there; build it with: make build", aggregator.display());
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        faults,
        collectors: 20,
        gateways: 0,
        kinds: kinds.to_vec(),
        aggregator: Some(aggregator),
        sabotage: Some(guarantee.to_owned()),
        patience: Duration::from_secs(12),
        ..Plan::default()
    };
    faults::run(&plan, folder.path(), say).await
}

fn assert_finds(verdict: &Verdict, what: &str) {
    assert!(verdict.differences.iter().any(|line| line.contains(what)), "not found: {what}: {verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_before_the_delivery_report_is_found() {
    let kinds = [Kind::IngestKilledUnheard];
    assert_finds(&broken("receipt-before-delivery", &kinds, 8).await, "held None");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_before_the_insert_is_found() {
    let kinds = [Kind::LoadKilledUnanswered];
    assert_finds(&broken("offset-before-insert", &kinds, 10).await, "held None");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_key_without_the_sequence_is_found() {
    assert_finds(&broken("row-key-without-sequence", &[Kind::LoadStopped], 2).await, "held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollup_that_is_fed_twice_is_found() {
    assert_finds(&broken("rollup-fed-twice", &[Kind::LoadStopped], 2).await, "the rollup to");
}
