//! From a contributor to what is stored of it: two keyed hashes.
//!
//! ```text
//! contributor = HMAC-SHA-256(key, "weighbridge contributor v1" 0 epoch id)[..16]            epoch: u64, big-endian
//! collector   = HMAC-SHA-256(key, "weighbridge collector v1" 0 id collector id)[..16]
//! epoch       = whole spans of 28 days since Monday, 1970-01-05, 00:00 UTC, by the start of the report's window
//! ```
//!
//! 28 days are the accounting period of published tables; a span begins on a Monday. By the window and not by the clock: a copy of
//! a report that comes later gets the same pseudonym. Without the key nobody can tell which pseudonyms are one contributor's by
//! the pseudonyms alone. Rows still share a collector id over the end of an epoch: those of the ledger and the reports for five weeks, those of
//! `participation_1d`, `participation_1mo` and `reporting_1d`, which follow a collector to see who stays, for thirteen months by default.
//! No role but the writer's reads these tables (`deploy/clickhouse/access.sql`). All other rollups hold sums, and bits of pseudonyms
//! within a day or week.
//!
//! The key is 32 random bytes, 64 hexadecimal digits in a file. Whoever has it and the registry can undo the pseudonyms: keep
//! both from those who read ClickHouse. Destroy it to end that for good.

use std::io::ErrorKind;
use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use ring::hmac;
use weighbridge_proto::report::CollectorId;

use super::DoorError;
use super::registry::{self, ContributorId};
use crate::record::Sender;

const EPOCH_S: u64 = 28 * 86_400;
/// The first Monday of Unix time.
const FIRST_MONDAY_S: u64 = 4 * 86_400;
const CONTRIBUTOR: &[u8] = b"weighbridge contributor v1\0";
const COLLECTOR: &[u8] = b"weighbridge collector v1\0";

/// The key of pseudonyms.
pub(super) struct PseudonymKey(hmac::Key);

impl PseudonymKey {
    fn new(key: &[u8; 32]) -> PseudonymKey {
        PseudonymKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(super) fn read(path: &Path) -> Result<PseudonymKey, DoorError> {
        let text = std::fs::read_to_string(path).map_err(DoorError::file(path))?;
        let key = HEX.decode(text.trim().as_bytes()).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
        let key = key.ok_or_else(|| DoorError::content(path, "not 64 hexadecimal digits"))?;
        Ok(PseudonymKey::new(&key))
    }

    /// Makes the file unless it is there; an existing one must be a key. True: it was made.
    pub(super) fn create(path: &Path) -> Result<bool, DoorError> {
        match PseudonymKey::read(path) {
            Ok(_) => Ok(false),
            Err(DoorError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(DoorError::Random)?;
                registry::replace(path, format!("{}\n", HEX.encode(&key)).as_bytes())?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Who sent a report of this collector and epoch.
    pub(super) fn sender(&self, id: ContributorId, collector: CollectorId, epoch: Epoch) -> Sender {
        let epoch = epoch.0.to_be_bytes();
        Sender {
            contributor: self.hash([CONTRIBUTOR, &epoch, &id.0]),
            collector: CollectorId(self.hash([COLLECTOR, &id.0, &collector.0])),
        }
    }

    fn hash(&self, parts: [&[u8]; 3]) -> [u8; 16] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&context.sign().as_ref()[..16]);
        short
    }
}

/// A span of 28 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Epoch {
    /// That of a window.
    pub(super) fn of(window_start_s: u64) -> Epoch {
        Epoch(window_start_s.saturating_sub(FIRST_MONDAY_S) / EPOCH_S)
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::Hex;
    use super::*;

    fn epoch(window_start_s: u64) -> u64 {
        Epoch::of(window_start_s).0
    }

    fn sender(key: &PseudonymKey, id: ContributorId, collector: CollectorId, window_start_s: u64) -> Sender {
        key.sender(id, collector, Epoch::of(window_start_s))
    }

    /// 2026-11-23, a Monday.
    const MONDAY_S: u64 = 1_795_392_000;
    const ACME: ContributorId = Hex([1; 16]);
    const ONE: CollectorId = CollectorId([9; 16]);

    #[test]
    fn epochs_are_four_weeks_and_begin_on_a_monday() {
        assert_eq!((MONDAY_S - FIRST_MONDAY_S) % (7 * 86_400), 0);
        let begins = FIRST_MONDAY_S + epoch(MONDAY_S) * EPOCH_S;
        assert_eq!((epoch(begins - 1) + 1, epoch(begins), epoch(begins + EPOCH_S - 1)), {
            let epoch = epoch(begins);
            (epoch, epoch, epoch)
        });
    }

    #[test]
    fn what_is_stored_depends_on_the_key_the_contributor_and_the_epoch() {
        let key = PseudonymKey::new(&[3; 32]);
        let own = sender(&key, ACME, ONE, MONDAY_S);
        assert!(own == sender(&key, ACME, ONE, MONDAY_S + 60), "copies and neighbours agree");
        let later = sender(&key, ACME, ONE, MONDAY_S + EPOCH_S);
        assert_ne!(later.contributor, own.contributor);
        assert_eq!(later.collector, own.collector, "a collector stays one for the audit");
        let other = sender(&key, Hex([2; 16]), ONE, MONDAY_S);
        assert!(other.contributor != own.contributor && other.collector != own.collector);
        assert_ne!(sender(&key, ACME, CollectorId([8; 16]), MONDAY_S).collector, own.collector);
        let other_key = sender(&PseudonymKey::new(&[4; 32]), ACME, ONE, MONDAY_S);
        assert!(other_key.contributor != own.contributor && other_key.collector != own.collector);
        assert!(own.collector != ONE && own.contributor != [0; 16]);
    }

    #[test]
    fn the_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(PseudonymKey::read(&path).err().unwrap().code(), "door_file");
        assert!(PseudonymKey::create(&path).unwrap());
        let made = std::fs::read(&path).unwrap();
        assert!(!PseudonymKey::create(&path).unwrap());
        assert_eq!((std::fs::read(&path).unwrap(), made.len()), (made, 65));
        std::fs::write(&path, "short").unwrap();
        assert_eq!(PseudonymKey::create(&path).unwrap_err().code(), "door_content");
    }
}
