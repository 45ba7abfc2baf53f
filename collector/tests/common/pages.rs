//! `/metrics` pages for tests, and what an intake counted in lines that can be compared.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::Intake;
use weighbridge_collector::profile::prometheus::{PagePlan, Target};
use weighbridge_collector::profile::rules;
use weighbridge_collector::report_view::CellView;
use weighbridge_proto::cells::Counts;

use super::NOON_MS;

pub const SECOND: u64 = 1_000_000_000;
pub const NOON: u64 = NOON_MS * 1_000_000;
pub const TARGET: Target<'static> = Target { url: "http://127.0.0.1:8000/metrics", model: "" };

/// A collector that started at `started_nano`; 0 counts every series from its start.
pub fn pages(profile: &str, started_nano: u64) -> Intake {
    let plan = PagePlan::new(&rules::named(profile).unwrap()).unwrap();
    let day = Day::from_unix_seconds(NOON_MS / 1_000);
    let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), day);
    Intake::of_pages(plan, classifier, 1, started_nano)
}

/// Takes a page, some seconds after noon. False: its target is not counted any more.
pub fn take_page(intake: &mut Intake, page: &str, at_s: u64) -> bool {
    intake.take_page(page.as_bytes(), TARGET, NOON + at_s * SECOND, |_, _| {}).unwrap()
}

/// `model outcome choice streaming requests attempts input output`, sorted.
pub fn lines(intake: &mut Intake) -> Vec<String> {
    let cells = intake.counter().take_cells();
    let line = |cell| {
        let view = CellView::of(cell, weighbridge_catalog::embedded());
        let words = [view.model, view.outcome, view.choice, view.streaming].join(" ");
        let counts = [view.requests, view.attempts, view.input_tokens, view.output_tokens];
        format!("{words} {}", counts.map(|count| count.to_string()).join(" "))
    };
    let mut lines: Vec<String> = cells.iter().map(line).collect();
    lines.sort();
    lines
}

/// What a page counts from the start of its series.
pub fn counted(profile: &str, page: &str) -> Vec<String> {
    let mut intake = pages(profile, 0);
    assert!(take_page(&mut intake, page, 0));
    lines(&mut intake)
}

/// Requests after each page, 15 s apart, of a collector that started at noon.
pub fn requests_after(profile: &str, all: &[&str]) -> Vec<u64> {
    let mut intake = pages(profile, NOON);
    let after = |(number, page): (usize, &&str)| {
        take_page(&mut intake, page, number as u64 * 15);
        intake.counter().totals().requests
    };
    all.iter().enumerate().map(after).collect()
}

/// Everything that a page counts, summed.
pub fn totals(profile: &str, page: &str) -> Counts {
    let mut intake = pages(profile, 0);
    assert!(take_page(&mut intake, page, 0));
    intake.counter().totals()
}

/// A saved page.
pub fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/prometheus/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Why items were skipped, with their number.
pub fn skipped(intake: &mut Intake) -> Vec<(&'static str, u64)> {
    let tally = intake.counter().tally();
    assert!(tally.closes(), "received = counted + skipped + refused: {tally:?}");
    intake.counter().tally().skipped().map(|(reason, count)| (reason.name(), count)).collect()
}
