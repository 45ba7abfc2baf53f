//! Any bytes as an HTTP archive: the first byte chooses the tap profile. An archive that is refused changes no count; of one that
//! is taken every entry is counted, skipped or refused, exactly once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::IgnoredAny;
use weighbridge_collector::command::har;
use weighbridge_collector::profile::tap::TapProfile;
use weighbridge_collector_fuzz::{NOON_MS, intake};
use weighbridge_proto::cells::Counts;

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<IgnoredAny>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, archive)) = bytes.split_first() else { return };
    let profiles: Vec<TapProfile> = TapProfile::all().collect();
    let profile = profiles[usize::from(*choice) % profiles.len()];
    let mut intake = intake(profile);
    let read = har::count(&mut intake, profile, archive, NOON_MS);
    let counter = intake.counter();
    let skipped: u64 = counter.tally().skipped().map(|(_, count)| count).sum();
    let refused: u64 = counter.tally().refused().map(|(_, count)| count).sum();
    let totals = counter.totals();
    match read {
        Err(_) => assert_eq!((totals, skipped, refused), (Counts::default(), 0, 1)),
        Ok(()) => {
            let archive: Archive = serde_json::from_slice(archive).expect("an archive");
            assert_eq!(totals.requests + skipped + refused, archive.log.entries.len() as u64);
        }
    }
});
