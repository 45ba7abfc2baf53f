//! Where reading of a log goes on after a restart: exactly where the last report on disk ended.
//!
//! `log-position.json` in the data folder. A line counts once although position and report are two files: the intent is written
//! first (`report`, `before`, `after`), then the report, then the position alone. After a crash between them the spool tells
//! which of the two positions holds: `after` if the report is there. All three happen under the spool's lock, so the uplink
//! cannot send and forget the report in between. Lines that were counted and not yet sealed are read again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weighbridge_proto::report::{BootEpoch, Sequence};

use super::spool::{Position, Spool, SpoolError, write_durably};
use crate::source::access_log::LogPosition;
use crate::window::Sealed;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Boot epoch and sequence of the report that takes the position from `before` to `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<(u64, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<LogPosition>,
    after: LogPosition,
}

/// The position file.
#[derive(Debug)]
pub struct LogPositions {
    path: PathBuf,
    committed: Option<LogPosition>,
}

impl LogPositions {
    /// Reads the position that an earlier start left.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of ours.
    pub fn open(folder: &Path, spool: &Spool) -> Result<LogPositions, SpoolError> {
        let path = folder.join("log-position.json");
        let fail = |source| SpoolError::Io { path: path.clone(), source };
        let file: Option<File> = match fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|error| fail(error.into()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail(error)),
        };
        let committed = file.and_then(|file| match file.report {
            Some((epoch, sequence))
                if !spool.holds(Position { boot_epoch: BootEpoch(epoch), sequence: Sequence(sequence) }) =>
            {
                file.before
            }
            _ => Some(file.after),
        });
        Ok(LogPositions { path, committed })
    }

    /// Where reading goes on.
    pub fn committed(&self) -> Option<LogPosition> {
        self.committed
    }

    /// Keeps a report in the spool, and how far the log was read for it.
    ///
    /// # Errors
    /// The disk refused; the report is not kept.
    pub fn keep(&mut self, spool: &mut Spool, sealed: &Sealed) -> Result<(), SpoolError> {
        let Some(after) = sealed.read_to.filter(|after| Some(*after) != self.committed) else {
            return spool.append(sealed);
        };
        let report = (sealed.identity.boot_epoch.0, sealed.identity.sequence.0);
        self.write(&File { report: Some(report), before: self.committed, after })?;
        spool.append(sealed)?;
        self.write(&File { report: None, before: None, after })?;
        self.committed = Some(after);
        Ok(())
    }

    fn write(&self, file: &File) -> Result<(), SpoolError> {
        let fail = |source| SpoolError::Io { path: self.path.clone(), source };
        let bytes = serde_json::to_vec(file).map_err(|error| fail(error.into()))?;
        write_durably(&self.path, &bytes).map_err(fail)
    }
}
