//! What the counter must know after a restart, on disk: `series.state` in the data folder. Series, so that a restart neither
//! loses nor repeats what counters gained meanwhile; for sources of events also the records counted last and the calls on hold.
//!
//! The state belongs to a report: counts up to it are in the report, later ones are still to be taken. Both must be kept or
//! neither, and two files cannot be written at once. So the state is first written to `series.next`, then the report is
//! spooled, then the file is renamed. After a crash `series.next` counts if its report is in the spool: the report cannot
//! have been acknowledged and removed, because the spool is locked until the file is renamed.
//!
//! Format: `MAGIC`; boot epoch and sequence of the report (u64, little-endian); the state; CRC-32C of all before it (u32).
//! A file that is damaged or of another version is set aside; first contact is a baseline then, and that is told.
//!
//! `series.key` holds the key of the hashes, 8 random bytes: it never leaves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::spool::{Position, write_durably};
use crate::count::MetTarget;
use crate::window::Sealed;
use weighbridge_proto::report::{BootEpoch, Identity, Sequence};

const MAGIC: &[u8; 8] = b"WBSERS\0\x01";

/// The files in a data folder.
#[derive(Clone, Debug)]
pub struct StateFile {
    state: PathBuf,
    next: PathBuf,
    key: PathBuf,
}

impl StateFile {
    /// Those of `data_folder`.
    pub fn new(data_folder: &Path) -> StateFile {
        StateFile {
            state: data_folder.join("series.state"),
            next: data_folder.join("series.next"),
            key: data_folder.join("series.key"),
        }
    }

    /// The key of the hashes, made at the first start.
    ///
    /// # Errors
    /// The disk or the source of random numbers refused.
    pub fn key(&self) -> io::Result<u64> {
        match fs::read(&self.key).map(<[u8; 8]>::try_from) {
            Ok(Ok(key)) => Ok(u64::from_le_bytes(key)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            // Made anew where it is damaged: the state that belongs to it is not known again.
            _ => {
                let key = getrandom::u64().map_err(io::Error::other)?;
                write_durably(&self.key, &key.to_le_bytes())?;
                Ok(key)
            }
        }
    }

    /// The state to go on from, and the report it belongs to; `is_spooled` says whether a report is in the spool.
    ///
    /// # Errors
    /// The disk refused.
    pub fn recover(&self, is_spooled: impl Fn(Position) -> bool) -> io::Result<Option<(Position, Vec<u8>)>> {
        if let Some((position, _)) = read(&self.next)?
            && is_spooled(position)
        {
            fs::rename(&self.next, &self.state)?;
        }
        read(&self.state)
    }

    /// Adds a target that is seen for the first time, before anything of it is counted: were it killed before the next report,
    /// the next start would not know what was there already.
    ///
    /// # Errors
    /// The disk refused.
    pub fn add(&self, target: &MetTarget, mark: u64) -> io::Result<()> {
        let kept = read(&self.state)?;
        let state = target.added_to(kept.as_ref().map(|(_, state)| state.as_slice()), mark);
        let first = Position { boot_epoch: BootEpoch(0), sequence: Sequence(0) };
        write_durably(&self.state, &encode(kept.map_or(first, |(position, _)| position), &state))
    }

    /// Writes the state of `sealed` before its report is spooled.
    ///
    /// # Errors
    /// The disk refused.
    pub fn prepare(&self, sealed: &Sealed) -> io::Result<()> {
        let Some(state) = &sealed.state else { return Ok(()) };
        let Identity { boot_epoch, sequence, .. } = sealed.identity;
        write_durably(&self.next, &encode(Position { boot_epoch, sequence }, state))
    }

    /// The report of the prepared state is spooled.
    ///
    /// # Errors
    /// The disk refused.
    pub fn commit(&self, sealed: &Sealed) -> io::Result<()> {
        if sealed.state.is_some() { fs::rename(&self.next, &self.state) } else { Ok(()) }
    }
}

fn encode(position: Position, state: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(position.boot_epoch.0.to_le_bytes());
    bytes.extend(position.sequence.0.to_le_bytes());
    bytes.extend(state);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Position and state in a file; `None` if it is not there, damaged or of another version.
fn read(path: &Path) -> io::Result<Option<(Position, Vec<u8>)>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let parsed = parse(&bytes);
    if parsed.is_none() {
        tracing::warn!(file = %path.display(), "damaged or of another version; set aside, counters begin with a baseline");
        fs::rename(path, path.with_extension("damaged"))?;
    }
    Ok(parsed)
}

fn parse(bytes: &[u8]) -> Option<(Position, Vec<u8>)> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let (boot_epoch, rest) = rest.split_first_chunk::<8>()?;
    let (sequence, state) = rest.split_first_chunk::<8>()?;
    let position = Position {
        boot_epoch: BootEpoch(u64::from_le_bytes(*boot_epoch)),
        sequence: Sequence(u64::from_le_bytes(*sequence)),
    };
    Some((position, state.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use weighbridge_proto::report::{COLLECTOR_ID_BYTES, CollectorId};

    fn sealed(sequence: u64, state: &[u8]) -> Sealed {
        Sealed {
            identity: Identity {
                collector: CollectorId([1; COLLECTOR_ID_BYTES]),
                boot_epoch: BootEpoch(7),
                sequence: Sequence(sequence),
            },
            bytes: Bytes::new(),
            state: Some(state.to_vec()),
            read_to: None,
        }
    }

    #[test]
    fn a_state_counts_exactly_when_its_report_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        assert_eq!(file.recover(|_| true).unwrap(), None);
        file.prepare(&sealed(1, b"one")).unwrap();
        assert_eq!(file.recover(|_| false).unwrap(), None, "killed before the report was spooled");
        file.prepare(&sealed(1, b"one")).unwrap();
        file.commit(&sealed(1, b"one")).unwrap();
        assert_eq!(file.recover(|_| false).unwrap().map(|(_, state)| state).as_deref(), Some(&b"one"[..]));
        file.prepare(&sealed(2, b"two")).unwrap();
        assert_eq!(file.recover(|_| false).unwrap().map(|(_, state)| state).as_deref(), Some(&b"one"[..]));
        let in_spool = |position: Position| position.sequence == Sequence(2);
        assert_eq!(
            file.recover(in_spool).unwrap().map(|(_, state)| state).as_deref(),
            Some(&b"two"[..]),
            "killed before the rename"
        );
        assert_eq!(file.recover(|_| false).unwrap().map(|(_, state)| state).as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn damage_is_set_aside_and_the_key_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        let key = file.key().unwrap();
        assert_eq!(file.key().unwrap(), key);
        file.prepare(&sealed(1, b"one")).unwrap();
        file.commit(&sealed(1, b"one")).unwrap();
        let mut bytes = fs::read(folder.path().join("series.state")).unwrap();
        bytes[20] ^= 1;
        fs::write(folder.path().join("series.state"), bytes).unwrap();
        assert_eq!(file.recover(|_| true).unwrap(), None);
        assert!(folder.path().join("series.damaged").is_file());
    }
}
