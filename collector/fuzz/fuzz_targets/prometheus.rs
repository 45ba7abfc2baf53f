//! Any bytes as two pages of one target, read by every profile: no panic, nothing counted twice.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::Intake;
use weighbridge_collector::profile::prometheus::{PagePlan, Target};
use weighbridge_collector::profile::rules::{self, ProfileFile};

const TARGET: Target<'static> = Target { url: "http://127.0.0.1/metrics", model: "" };
/// Noon of a day that the register knows, Unix seconds.
const NOON_S: u64 = 1_790_000_000;

fn profiles() -> &'static [ProfileFile] {
    static PROFILES: OnceLock<Vec<ProfileFile>> = OnceLock::new();
    PROFILES.get_or_init(|| rules::NAMES.iter().map(|name| rules::named(name).expect("a profile")).collect())
}

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the profile.
    let Some((choice, page)) = bytes.split_first() else { return };
    let profile = &profiles()[usize::from(*choice) % profiles().len()];
    let classifier =
        Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), Day::from_unix_seconds(NOON_S));
    let plan = PagePlan::new(profile).expect("a plan");
    let mut intake = Intake::of_pages(plan, classifier, 1, 0);
    let noon = NOON_S * 1_000_000_000;
    let first = intake.take_page(page, TARGET, noon, |_, _| {});
    let counted = intake.counter().totals().requests;
    let second = intake.take_page(page, TARGET, noon + 15_000_000_000, |_, _| {});
    if first.is_ok() && second.is_ok() && !has_twice(page) {
        assert_eq!(intake.counter().totals().requests, counted, "the same page again");
    }
});

/// A series that is on a page twice, with two values, gains something each time.
fn has_twice(page: &[u8]) -> bool {
    let mut lines: Vec<&[u8]> = page
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.starts_with(b"#"))
        .map(|line| &line[..line.iter().position(|byte| matches!(byte, b' ' | b'{')).unwrap_or(line.len())])
        .collect();
    lines.sort_unstable();
    lines.windows(2).any(|pair| pair[0] == pair[1])
}
