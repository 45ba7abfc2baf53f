//! The spool: sealed reports on disk until they are acknowledged.
//!
//! Layout of the data folder:
//!
//! ```text
//! lock                                 held (flock) by the one process that uses the folder
//! collector-id                         32 hexadecimal digits, made once
//! log-position.json                    how far a log file was read, see `position`
//! series.state, series.key             what the counter must know after a restart, see `state_file`
//! open-window                          the window that is open, see `checkpoint`
//! spool/EEEEEEEEEEEEEEEE-SSSSSSSSSSSSSSSS.report    boot epoch and sequence in hexadecimal; the sealed bytes as sent
//! spool/*.tmp                          a write that was cut; removed at start
//! refused/                             reports that ingest will never take, kept for a look
//! damaged/                             files whose checksum does not match, set aside at start
//! ```
//!
//! Guarantees: `append` returns after the report and its name are on disk (file and folder fsynced); a report is there whole
//! or not at all; only `acknowledge`, `set_aside` and the size bound take one away. Over `max_bytes`, counted in blocks of the disk
//! as a file takes them, the oldest reports are dropped, and `take_dropped` tells how many requests were in them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use weighbridge_proto::report::{self, BootEpoch, COLLECTOR_ID_BYTES, CollectorId, Sequence};

use crate::window::Sealed;

/// A file takes whole blocks of the disk; a report of 30 cells is a tenth of one.
pub const BLOCK_BYTES: u64 = 4_096;
/// Default bound: 16,384 windows, eleven days at a minute.
pub const DEFAULT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Files kept in `refused/` and `damaged/`, each: enough to look at, no second spool.
const MAX_SET_ASIDE: usize = 1_000;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder or a file in it.
    #[error("data folder: {path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two processes would send under one name.
    #[error("data folder: {0} is used by another collector; give each its own `data_folder`")]
    InUse(PathBuf),
    /// Not 32 hexadecimal digits.
    #[error("data folder: {0} does not hold 32 hexadecimal digits; remove it to begin as a new collector")]
    CollectorId(PathBuf),
}

impl SpoolError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            SpoolError::Io { .. } => "io",
            SpoolError::InUse(_) => "in_use",
            SpoolError::CollectorId(_) => "collector_id",
        }
    }
}

/// Position of a report of this collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Start of the collector.
    pub boot_epoch: BootEpoch,
    /// Place within it.
    pub sequence: Sequence,
}

impl Position {
    /// Where a report stands.
    pub fn of(sealed: &Sealed) -> Position {
        Position { boot_epoch: sealed.identity.boot_epoch, sequence: sealed.identity.sequence }
    }
}

/// What the size bound cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Reports dropped.
    pub reports: u64,
    /// Requests in them.
    pub requests: u64,
}

/// Reports on disk.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    _lock: File,
    collector: CollectorId,
    max_bytes: u64,
    bytes: u64,
    reports: BTreeMap<Position, u64>,
    damaged: u64,
    /// Dropped and not told yet.
    dropped: Dropped,
}

impl Spool {
    /// Opens the data folder, making it if needed, and takes stock of what an earlier start left.
    ///
    /// # Errors
    /// The folder cannot be written, is in use, or its identity is unreadable.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Spool, SpoolError> {
        for part in ["spool", "refused", "damaged"] {
            fs::create_dir_all(folder.join(part)).map_err(at(&folder.join(part)))?;
        }
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(at(&lock_path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SpoolError::InUse(folder.to_path_buf()))?;
        let collector = collector_id(folder)?;
        let mut spool = Spool {
            folder: folder.to_path_buf(),
            _lock: lock,
            collector,
            max_bytes,
            bytes: 0,
            reports: BTreeMap::new(),
            damaged: 0,
            dropped: Dropped::default(),
        };
        spool.scan()?;
        Ok(spool)
    }

    /// This collector's identifier.
    pub fn collector(&self) -> CollectorId {
        self.collector
    }

    /// Number and size of the reports on disk.
    pub fn size(&self) -> (u64, u64) {
        (self.reports.len() as u64, self.bytes)
    }

    /// Files set aside at start because their checksum did not match.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Keeps a report, unless it is kept already. When it returns, the report is on disk. What was dropped to make room, also in
    /// vain, `take_dropped` tells.
    ///
    /// # Errors
    /// The disk refused; the report is not kept.
    pub fn append(&mut self, sealed: &Sealed) -> Result<(), SpoolError> {
        let position = Position::of(sealed);
        if self.holds(position) {
            return Ok(());
        }
        let size = on_disk(sealed.bytes.len());
        while self.bytes + size > self.max_bytes {
            let Some(oldest) = self.reports.keys().next().copied() else { break };
            self.dropped.requests += self.requests_in(oldest);
            self.dropped.reports += 1;
            self.remove(oldest)?;
        }
        let path = self.path(position);
        write_durably(&path, &sealed.bytes).map_err(at(&path))?;
        self.reports.insert(position, size);
        self.bytes += size;
        Ok(())
    }

    /// What the size bound cost since it was last asked.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    /// The oldest report for which `skip` is false.
    pub fn oldest(&self, skip: impl Fn(&Position) -> bool) -> Option<Position> {
        self.reports.keys().find(|position| !skip(position)).copied()
    }

    /// Whether a report is on disk.
    pub fn holds(&self, position: Position) -> bool {
        self.reports.contains_key(&position)
    }

    /// The bytes of a report.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, position: Position) -> Result<Bytes, SpoolError> {
        let path = self.path(position);
        fs::read(&path).map(Bytes::from).map_err(at(&path))
    }

    /// Forgets an acknowledged report. Not fsynced: a report that comes back after a power loss is sent again and counts once.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn acknowledge(&mut self, position: Position) -> Result<(), SpoolError> {
        self.remove(position)
    }

    /// Moves a report that will never be taken to `refused/`.
    ///
    /// # Errors
    /// The file cannot be moved.
    pub fn set_aside(&mut self, position: Position) -> Result<(), SpoolError> {
        let path = self.path(position);
        self.forget(position);
        move_aside(&path, &self.folder.join("refused"))
    }

    fn requests_in(&self, position: Position) -> u64 {
        let report = self.read(position).ok().and_then(|bytes| report::check(&bytes).ok());
        report.map_or(0, |report| report.cells.iter().map(|cell| cell.counts.requests).sum())
    }

    fn remove(&mut self, position: Position) -> Result<(), SpoolError> {
        let path = self.path(position);
        if self.forget(position) {
            fs::remove_file(&path).map_err(at(&path))?;
        }
        Ok(())
    }

    fn forget(&mut self, position: Position) -> bool {
        let size = self.reports.remove(&position);
        self.bytes -= size.unwrap_or(0);
        size.is_some()
    }

    fn path(&self, position: Position) -> PathBuf {
        let name = format!("{:016x}-{:016x}.report", position.boot_epoch.0, position.sequence.0);
        self.folder.join("spool").join(name)
    }

    fn scan(&mut self) -> Result<(), SpoolError> {
        let spool = self.folder.join("spool");
        for entry in fs::read_dir(&spool).map_err(at(&spool))? {
            let path = entry.map_err(at(&spool))?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path).map_err(at(&path))?;
                continue;
            }
            let bytes = fs::read(&path).map_err(at(&path))?;
            let identity = report::identity(&bytes).filter(|identity| identity.collector == self.collector);
            let position = identity
                .map(|identity| Position { boot_epoch: identity.boot_epoch, sequence: identity.sequence });
            match position.filter(|position| self.path(*position) == path) {
                Some(position) => {
                    let size = on_disk(bytes.len());
                    self.reports.insert(position, size);
                    self.bytes += size;
                }
                None => {
                    self.damaged += 1;
                    move_aside(&path, &self.folder.join("damaged"))?;
                }
            }
        }
        Ok(())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_path_buf();
    move |source| SpoolError::Io { path, source }
}

fn collector_id(folder: &Path) -> Result<CollectorId, SpoolError> {
    let path = folder.join("collector-id");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut id = [0_u8; COLLECTOR_ID_BYTES];
            getrandom::fill(&mut id)
                .map_err(|error| SpoolError::Io { path: path.clone(), source: io::Error::other(error) })?;
            let text = format!("{:?}\n", CollectorId(id));
            write_durably(&path, text.as_bytes()).map_err(at(&path))?;
            text
        }
        Err(error) => return Err(at(&path)(error)),
    };
    parse_id(text.trim()).ok_or(SpoolError::CollectorId(path))
}

fn parse_id(text: &str) -> Option<CollectorId> {
    let number = u128::from_str_radix(text, 16).ok().filter(|number| text.len() == 32 && *number != 0)?;
    Some(CollectorId(number.to_be_bytes()))
}

/// Disk that a file of this length takes on the usual file systems. A volume with a limit (an `emptyDir`) counts so, too.
fn on_disk(length: usize) -> u64 {
    (length as u64).div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// Writes a file so that after it returns the whole file is there under its name, or nothing is.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn move_aside(path: &Path, folder: &Path) -> Result<(), SpoolError> {
    let kept = fs::read_dir(folder).map_err(at(folder))?.count();
    let target = path.file_name().map(|name| folder.join(name));
    match target.filter(|_| kept < MAX_SET_ASIDE) {
        Some(target) => fs::rename(path, target).map_err(at(path)),
        None => fs::remove_file(path).map_err(at(path)),
    }
}
