//! Any files in a data folder: the spool opens or says why not, and never panics; every report that is whole, of this collector
//! and under its own name is held and read back, no other is; what is set aside is still there; the bound holds.
//!
//! The input is a list of files: one byte says which folder and what kind of name, one the length of the contents.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use libfuzzer_sys::fuzz_target;
use weighbridge_collector::deliver::spool::{Position, Spool};
use weighbridge_proto::report::{self, BootEpoch, Sequence};
use weighbridge_proto::v1::Report;

const ID: [u8; 16] = [7; 16];
static ROUND: AtomicU64 = AtomicU64::new(0);

fn sealed(collector: [u8; 16], boot_epoch: u64, sequence: u64) -> Vec<u8> {
    let report = Report {
        schema: 1,
        collector_id: collector.to_vec().into(),
        boot_epoch,
        sequence,
        window_start_s: 1_795_435_200,
        window_s: 60,
        catalogue_version: 2_026_112_301,
        environment: 1,
        vantage: 1,
        gateway_product: 2,
        ..Report::default()
    };
    report::seal(&report).to_vec()
}

fn name(boot_epoch: u64, sequence: u64) -> String {
    format!("{boot_epoch:016x}-{sequence:016x}.report")
}

/// Writes what the input says; gives whether the collector's id was left alone.
fn fill(folder: &Path, mut input: &[u8]) -> bool {
    let mut is_own = true;
    while let [kind, length, rest @ ..] = input {
        let (contents, after) = rest.split_at((*length as usize).min(rest.len()));
        input = after;
        let number = u64::from(*length);
        let spool = folder.join("spool");
        let (path, contents): (PathBuf, Vec<u8>) = match kind % 8 {
            0 => (spool.join(name(number % 5, number)), contents.to_vec()),
            1 => (spool.join(format!("{number}.tmp")), contents.to_vec()),
            2 => (spool.join(name(number, 1)), sealed([8; 16], number, 1)),
            3 => (spool.join(name(number, 2)), sealed(ID, number, 3)),
            4 => {
                let mut cut = sealed(ID, number, 4);
                cut.truncate(contents.len());
                (spool.join(name(number, 4)), cut)
            }
            5 => {
                let mut changed = sealed(ID, number, 5);
                let place = contents.first().map_or(0, |place| usize::from(*place)) % changed.len();
                changed[place] ^= 1 << (contents.len() % 8);
                (spool.join(name(number, 5)), changed)
            }
            6 => (folder.join(["damaged", "refused"][contents.len() % 2]).join(name(number, 6)), contents.to_vec()),
            _ => {
                is_own = false;
                (folder.join("collector-id"), contents.to_vec())
            }
        };
        fs::write(path, contents).expect("a file");
    }
    is_own
}

fuzz_target!(|input: &[u8]| {
    let round = ROUND.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("weighbridge-fuzz-spool-{}-{round}", std::process::id()));
    for part in ["spool", "refused", "damaged"] {
        fs::create_dir_all(folder.join(part)).expect("a folder");
    }
    fs::write(folder.join("collector-id"), "07".repeat(16)).expect("the id");
    let is_own = fill(&folder, input);
    // Whole ones, last, so that nothing is written over them.
    let mut whole = BTreeMap::new();
    for sequence in 100..103 {
        let bytes = sealed(ID, 9, sequence);
        fs::write(folder.join("spool").join(name(9, sequence)), &bytes).expect("a report");
        whole.insert(Position { boot_epoch: BootEpoch(9), sequence: Sequence(sequence) }, bytes);
    }
    let there = |folder: &Path| fs::read_dir(folder).map_or(0, Iterator::count);
    let before: usize = ["spool", "refused", "damaged"].iter().map(|part| there(&folder.join(part))).sum();
    let opened = Spool::open(&folder, u64::MAX);
    assert!(opened.is_ok() || !is_own, "its own folder opens");
    if let Ok(spool) = opened {
        let is_mine = format!("{:?}", spool.collector()) == "07".repeat(16);
        for (position, bytes) in &whole {
            assert_eq!(spool.holds(*position), is_mine);
            if is_mine {
                assert_eq!(spool.read(*position).expect("a report").as_ref(), bytes.as_slice());
            }
        }
        let (reports, bytes) = spool.size();
        assert_eq!(reports as usize, there(&folder.join("spool")), "what is there is held");
        let on_disk = fs::read_dir(folder.join("spool")).expect("the spool");
        let on_disk: u64 = on_disk.map(|file| file.expect("a file").metadata().expect("its size").len()).sum();
        assert_eq!(bytes, on_disk);
        let mut seen = Vec::new();
        while let Some(position) = spool.oldest(|position| seen.contains(position)) {
            let identity = report::identity(&spool.read(position).expect("a report")).expect("whole");
            assert_eq!((identity.boot_epoch, identity.sequence), (position.boot_epoch, position.sequence));
            assert_eq!(identity.collector, spool.collector());
            seen.push(position);
        }
        assert_eq!(seen.len() as u64, reports);
    } else {
        // Nothing was touched that is whole.
        for (position, bytes) in &whole {
            let path = folder.join("spool").join(name(position.boot_epoch.0, position.sequence.0));
            assert_eq!(&fs::read(path).expect("a report"), bytes);
        }
    }
    let after: usize = ["spool", "refused", "damaged"].iter().map(|part| there(&folder.join(part))).sum();
    let cut = input.len() + before - after;
    assert!(after <= before && cut <= 2 * input.len(), "only cut writes and names taken twice go");
    fs::remove_dir_all(&folder).expect("the folder");
});
