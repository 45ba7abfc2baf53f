//! The open window on disk, so that a `kill -9` costs at most the last second of what comes once, and nothing twice.
//!
//! `open-window` in the data folder holds the report that would be sealed now and the state that belongs to it (`state_file`).
//! It is written at most once a second, and replaced as a whole. A start takes it over (`recover`): as the report of that window,
//! unless the window was sealed after all. Whether it was is told by the state file, whose position is that of the last report
//! that was sealed: it moves on in the same step as the report is spooled, and a report cannot be acknowledged before.
//!
//! Format: `MAGIC`; length of the report (u32, little-endian); the report; the state; CRC-32C of all before it (u32). A file
//! that is damaged is set aside as `open-window.damaged`; its window is lost then, and that is told.
//!
//! Does not guarantee: what was counted after the last checkpoint. Written without waiting for the disk, a power loss costs what the
//! system had not written yet, some seconds.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use weighbridge_proto::report;

use super::spool::{Position, Spool, SpoolError};
use super::state_file::StateFile;
use crate::window::Sealed;

const MAGIC: &[u8; 8] = b"WBOPEN\0\x01";

/// The file in a data folder.
#[derive(Clone, Debug)]
pub struct CheckpointFile {
    path: PathBuf,
}

/// What a start found.
#[derive(Debug)]
pub struct Recovered {
    /// The report of the window that was open.
    pub sealed: Sealed,
    /// Requests in it.
    pub requests: u64,
}

impl CheckpointFile {
    /// That of `data_folder`.
    pub fn new(data_folder: &Path) -> CheckpointFile {
        CheckpointFile { path: data_folder.join("open-window") }
    }

    /// Replaces what was written before.
    ///
    /// # Errors
    /// The disk refused; what was written before is still there.
    pub fn write(&self, open: &Sealed) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((open.bytes.len() as u32).to_le_bytes());
        bytes.extend(&open.bytes);
        bytes.extend(open.state.as_deref().unwrap_or_default());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let next = self.path.with_extension("tmp");
        File::create(&next)?.write_all(&bytes)?;
        fs::rename(&next, &self.path)
    }

    /// Forgets the open window: it was sealed, or taken over.
    ///
    /// # Errors
    /// The disk refused.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts the window that an earlier process had open into the spool, with its state; `record` is called with it before.
    ///
    /// # Errors
    /// The disk refused; nothing was taken over, and the next start tries again.
    pub fn recover(
        &self,
        spool: &mut Spool,
        state_file: &StateFile,
        record: impl FnOnce(&Sealed) -> io::Result<()>,
    ) -> Result<Option<Recovered>, SpoolError> {
        let at = |source| SpoolError::Io { path: self.path.clone(), source };
        let found = self.read(spool).map_err(at)?;
        let sealed_last = state_file.recover(|position| spool.holds(position)).map_err(at)?;
        let is_open = |sealed: &Sealed| {
            let position = Position::of(sealed);
            // Within one start sequences ascend. Of another start the file was taken over when this one began.
            sealed_last.as_ref().is_none_or(|(last, _)| {
                last.boot_epoch != position.boot_epoch || last.sequence < position.sequence
            }) && !spool.holds(position)
        };
        let open = found.filter(|found| is_open(&found.sealed));
        if let Some(Recovered { sealed, .. }) = &open {
            record(sealed).map_err(at)?;
            state_file.prepare(sealed).map_err(at)?;
            spool.append(sealed)?;
            state_file.commit(sealed).map_err(at)?;
        }
        self.remove().map_err(at)?;
        Ok(open)
    }

    fn read(&self, spool: &Spool) -> io::Result<Option<Recovered>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let parsed = parse(&bytes).filter(|found| found.sealed.identity.collector == spool.collector());
        if parsed.is_none() {
            let aside = self.path.with_extension("damaged");
            tracing::error!(file = %aside.display(), "the open window of the last start is damaged; set aside, its counts are lost");
            fs::rename(&self.path, aside)?;
        }
        Ok(parsed)
    }
}

fn parse(bytes: &[u8]) -> Option<Recovered> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (length, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let (report, state) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let checked = report::check(report).ok()?;
    let sealed = Sealed {
        identity: checked.identity,
        bytes: Bytes::copy_from_slice(report),
        state: Some(state.to_vec()),
        read_to: None,
    };
    Some(Recovered { sealed, requests: checked.cells.iter().map(|cell| cell.counts.requests).sum() })
}
