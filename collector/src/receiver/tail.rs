//! Follows a log file over rotation (rename or copy-and-truncate), truncation and restarts of the collector.
//!
//! Guarantees: every complete line of the file is handed on once, in order; a line without its newline waits for it; a file
//! that was renamed is read to its end before the next one is begun, also when several rotations happened while the collector
//! was away; of a copy that was made before a truncation the part is read that was not read before. Memory is one chunk, and a
//! line over `MAX_RECORD_BYTES` is refused and passed over. Not seen: lines written between a copy and its truncation, and
//! rotated files that were compressed before they were read.
//!
//! Files are looked at four times a second and read only if they grew. A busy gateway writes thousands of lines a second; a
//! file watch would wake for each of them, and none comes from network file systems. A look is two system calls.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Gate;
use crate::config::StartAt;
use crate::source::access_log::{LogPosition, MAX_RECORD_BYTES};

/// Time between two looks at the file.
const TICK: Duration = Duration::from_millis(250);
/// A renamed file is left when it did not grow for so long: writers reopen within it.
const ROTATION_GRACE_MS: u64 = 1_000;
/// Read at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// Bytes before a position that are compared before reading goes on.
const CHECK_BYTES: usize = 64;

/// A log file and the place up to which it was read.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    start_at: StartAt,
    resume: Option<LogPosition>,
    open: Option<Open>,
    buffer: Vec<u8>,
    /// The path was looked for before: a file that appears later is read from its beginning.
    was_looked_for: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    position: LogPosition,
    size: u64,
    /// A copy whose original was truncated: after it comes the live file.
    is_copy: bool,
    /// Inside a line that is passed over.
    skips_line: bool,
    /// Since when it neither grew nor is the file at the path, by the caller's clock.
    left_since_ms: Option<u64>,
}

impl Tail {
    /// Follows `path` from `resume`, or as `start_at` says if the file was never seen.
    pub fn new(path: PathBuf, start_at: StartAt, resume: Option<LogPosition>) -> Tail {
        Tail { path, start_at, resume, open: None, buffer: Vec::new(), was_looked_for: false }
    }

    /// Reads what is new and hands complete lines to `take`, with the position after them. Returns when nothing is new.
    ///
    /// # Errors
    /// The file or its folder cannot be read; the next call tries again from the same position.
    pub fn poll(&mut self, now_ms: u64, mut take: impl FnMut(&[u8], LogPosition)) -> io::Result<()> {
        if self.open.is_none() {
            self.open = self.first()?;
            self.was_looked_for = true;
            if let Some(open) = &self.open {
                take(b"", open.position);
            }
        }
        while let Some(mut open) = self.open.take() {
            let read = open.read(&mut self.buffer, &mut take);
            let next = read.and_then(|state| match state {
                State::Quiet => self.next(&mut open, now_ms, &mut take),
                State::Replaced => self.after_truncation(&open),
            });
            match next {
                Ok(Some(next)) => self.open = Some(next),
                Ok(None) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Err(error) => {
                    self.open = Some(open);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The file to begin with; `None` while there is none.
    fn first(&mut self) -> io::Result<Option<Open>> {
        let live = open_if_there(&self.path)?;
        let Some(resume) = self.resume else {
            let Some(file) = live else { return Ok(None) };
            let at_end = self.start_at == StartAt::End && !self.was_looked_for;
            let offset = if at_end { file.metadata()?.len() } else { 0 };
            return Open::at(file, offset).map(Some);
        };
        if let Some(file) = live
            && file.metadata()?.ino() == resume.inode
            && is_at(&file, &resume)
        {
            self.resume = None;
            return Open::resumed(file, resume, false).map(Some);
        }
        // Renamed while the collector was away, or copied and truncated.
        let mut found = None;
        for (path, metadata) in self.siblings(false)? {
            let Some(file) = open_if_there(&path)? else { continue };
            let is_renamed = metadata.ino() == resume.inode;
            if path != self.path && is_at(&file, &resume) && (is_renamed || resume.check_bytes > 0) {
                found = Some((file, !is_renamed));
                if is_renamed {
                    break;
                }
            }
        }
        if let Some((file, is_copy)) = found {
            self.resume = None;
            return Open::resumed(file, resume, is_copy).map(Some);
        }
        let Some(file) = open_if_there(&self.path)? else { return Ok(None) };
        tracing::error!(path = %self.path.display(), "the log that was read before is gone; lines that were not read are lost");
        self.resume = None;
        Open::at(file, 0).map(Some)
    }

    /// After a file that did not grow: the next one, if this one was renamed and its writer has left it.
    fn next(
        &self,
        open: &mut Open,
        now_ms: u64,
        take: &mut impl FnMut(&[u8], LogPosition),
    ) -> io::Result<Option<Open>> {
        let inode = open.position.inode;
        let live = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if live.ino() == inode {
            open.left_since_ms = None;
            return Ok(None);
        }
        let next = if open.is_copy { None } else { self.successor(&open.file.metadata()?)? };
        let since = *open.left_since_ms.get_or_insert(now_ms);
        let may_be_written = !open.is_copy && next.is_none();
        if may_be_written && now_ms.saturating_sub(since) < ROTATION_GRACE_MS {
            return Ok(None);
        }
        let file = match next {
            Some(path) => File::open(path)?,
            None => File::open(&self.path)?,
        };
        let next = Open::at(file, 0)?;
        // Nobody will write the newline of a last line any more.
        open.read_last(take, next.position)?;
        take(b"", next.position);
        Ok(Some(next))
    }

    /// The file that was begun after `current` was renamed, if it was renamed itself since.
    fn successor(&self, current: &Metadata) -> io::Result<Option<PathBuf>> {
        let live = fs::metadata(&self.path).map(|metadata| metadata.ino()).unwrap_or(0);
        let modified = |metadata: &Metadata| metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let siblings = self.siblings(true)?.into_iter();
        let later = siblings.filter(|(_, other)| {
            other.ino() != current.ino() && other.ino() != live && modified(other) > modified(current)
        });
        Ok(later.min_by_key(|(_, other)| modified(other)).map(|(path, _)| path))
    }

    /// After a truncation: the rest of the copy that was made before it, if there is one, else the file from its beginning.
    fn after_truncation(&self, open: &Open) -> io::Result<Option<Open>> {
        if open.position.check_bytes > 0 {
            for (path, metadata) in self.siblings(false)? {
                let Some(file) = open_if_there(&path)? else { continue };
                let is_other = metadata.ino() != open.position.inode;
                if is_other && metadata.len() > open.position.offset && is_at(&file, &open.position) {
                    return Open::resumed(file, open.position, true).map(Some);
                }
            }
        }
        Open::at(open.file.try_clone()?, 0).map(Some)
    }

    /// Files beside the log; `rotated`: only those that are named like rotated ones (`access.log.1`, `access-20261123.log`).
    fn siblings(&self, rotated: bool) -> io::Result<Vec<(PathBuf, Metadata)>> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut siblings = Vec::new();
        for entry in fs::read_dir(folder.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && path != self.path && (!rotated || is_rotated_name(&self.path, &path)) {
                siblings.push((path, metadata));
            }
        }
        Ok(siblings)
    }
}

enum State {
    /// Everything that is there was read.
    Quiet,
    /// Truncated, or overwritten: what is there is not what was read.
    Replaced,
}

impl Open {
    /// Begins at `offset`; inside a line that line is passed over.
    fn at(file: File, offset: u64) -> io::Result<Open> {
        let position = position(&file, offset)?;
        Open::resumed(file, position, false)
    }

    /// Goes on where `position` says, which is another file's for a copy.
    fn resumed(file: File, position: LogPosition, is_copy: bool) -> io::Result<Open> {
        let position = LogPosition { inode: file.metadata()?.ino(), ..position };
        let mut before = [b'\n'];
        if position.offset > 0 {
            file.read_exact_at(&mut before, position.offset - 1)?;
        }
        let skips_line = before != [b'\n'];
        Ok(Open { file, position, size: 0, is_copy, skips_line, left_since_ms: None })
    }

    fn read(&mut self, buffer: &mut Vec<u8>, take: &mut impl FnMut(&[u8], LogPosition)) -> io::Result<State> {
        loop {
            let size = self.file.metadata()?.len();
            if size == self.size {
                return Ok(State::Quiet);
            }
            if size < self.position.offset || !is_at(&self.file, &self.position) {
                return Ok(State::Replaced);
            }
            self.left_since_ms = None;
            while self.read_chunk(buffer, size, take)? {}
            self.size = size;
        }
    }

    /// Reads one chunk; false when no complete line is left before `size`.
    fn read_chunk(
        &mut self,
        buffer: &mut Vec<u8>,
        size: u64,
        take: &mut impl FnMut(&[u8], LogPosition),
    ) -> io::Result<bool> {
        let mut wanted = CHUNK_BYTES;
        loop {
            let left = usize::try_from(size - self.position.offset).unwrap_or(usize::MAX);
            buffer.resize(wanted.min(left), 0);
            self.file.read_exact_at(buffer, self.position.offset)?;
            let end =
                if self.skips_line { memchr::memchr(b'\n', buffer) } else { memchr::memrchr(b'\n', buffer) };
            if let Some(end) = end {
                let lines = buffer.get(..=end).unwrap_or_default();
                self.position = position(&self.file, self.position.offset + lines.len() as u64)?;
                let lines = if std::mem::take(&mut self.skips_line) { b"" } else { lines };
                take(lines, self.position);
                return Ok(true);
            }
            if left <= wanted && !self.skips_line && left <= MAX_RECORD_BYTES {
                return Ok(false);
            }
            if self.skips_line || wanted > MAX_RECORD_BYTES {
                // Handed on without its end, so that it is refused as too long.
                self.position = position(&self.file, self.position.offset + buffer.len() as u64)?;
                let line: &[u8] = if self.skips_line { b"" } else { buffer };
                take(line, self.position);
                self.skips_line = true;
                buffer.shrink_to(CHUNK_BYTES);
                return Ok(self.position.offset < size);
            }
            wanted = MAX_RECORD_BYTES + 1;
        }
    }

    /// The last line of a file that is left, without its newline.
    fn read_last(&mut self, take: &mut impl FnMut(&[u8], LogPosition), next: LogPosition) -> io::Result<()> {
        let left = self.file.metadata()?.len().saturating_sub(self.position.offset);
        if left > 0 && left <= MAX_RECORD_BYTES as u64 && !self.skips_line {
            let mut line = vec![0; left as usize];
            self.file.read_exact_at(&mut line, self.position.offset)?;
            take(&line, next);
        }
        Ok(())
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The position `offset` of `file`.
fn position(file: &File, offset: u64) -> io::Result<LogPosition> {
    let mut bytes = [0; CHECK_BYTES];
    let length = offset.min(CHECK_BYTES as u64);
    let checked = bytes.get_mut(..length as usize).unwrap_or_default();
    file.read_exact_at(checked, offset - length)?;
    let check = crc32c::crc32c(checked);
    Ok(LogPosition { inode: file.metadata()?.ino(), offset, check_bytes: length as u8, check })
}

/// Whether `file` holds before the position what was there when the position was taken.
fn is_at(file: &File, expected: &LogPosition) -> bool {
    position(file, expected.offset)
        .is_ok_and(|found| found.check == expected.check && found.check_bytes == expected.check_bytes)
}

fn is_rotated_name(log: &Path, other: &Path) -> bool {
    let (Some(log_name), Some(name)) = (log.file_name(), other.file_name()) else { return false };
    let (log_name, name) = (log_name.as_encoded_bytes(), name.as_encoded_bytes());
    let has_number = |rest: &[u8]| matches!(rest, [b'.' | b'-' | b'_', b'0'..=b'9', ..]);
    let is_packed = [&b".gz"[..], b".zst", b".bz2", b".xz", b".lz4"].iter().any(|end| name.ends_with(end));
    let stem = log.file_stem().map(|stem| stem.as_encoded_bytes()).unwrap_or(log_name);
    !is_packed
        && (name.strip_prefix(log_name).is_some_and(has_number)
            || (log.extension() == other.extension() && name.strip_prefix(stem).is_some_and(has_number)))
}

/// Follows `tail` into `gate` until `shutdown`; what is there by then is read.
pub async fn run(mut tail: Tail, gate: Gate, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut had_fault = false;
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = shutdown.cancelled() => true,
        };
        let into = gate.clone();
        let read = tokio::task::spawn_blocking(move || {
            let polled = tail.poll(into.now_ms(), |lines, position| into.take_lines(lines, Some(position)));
            (tail, polled)
        });
        // Only a panic while reading ends it otherwise; the position is the last one that was counted.
        let Ok((returned, polled)) = read.await else {
            tracing::error!("reading of the log ended; restart the collector to go on where it was");
            return;
        };
        tail = returned;
        match polled {
            Ok(()) => had_fault = false,
            Err(error) if !had_fault => {
                tracing::warn!(path = %tail.path.display(), %error, "the log cannot be read; tried again");
                had_fault = true;
            }
            Err(_) => {}
        }
        if is_last {
            return;
        }
    }
}

/// Counts the lines of `input` until its end; then the gateway has ended, and `at_end` is called. For standard input, on a
/// thread of its own, because a read from it cannot be cancelled.
pub fn read_lines(mut input: impl io::Read, gate: &Gate, at_end: impl FnOnce()) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut filled, mut skips_line) = (0, false);
    loop {
        let read = match input.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::error!(%error, "standard input cannot be read");
                0
            }
        };
        filled += read;
        let held = buffer.get(..filled).unwrap_or_default();
        let complete = if read == 0 { filled } else { memchr::memrchr(b'\n', held).map_or(0, |end| end + 1) };
        let mut lines = held.get(..complete).unwrap_or_default();
        if skips_line && complete > 0 {
            let end = memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            lines = lines.get(end..).unwrap_or_default();
            skips_line = false;
        }
        if !lines.is_empty() {
            gate.take_lines(lines, None);
        }
        if read == 0 {
            return at_end();
        }
        buffer.copy_within(complete..filled, 0);
        filled -= complete;
        if filled == buffer.len() && filled <= MAX_RECORD_BYTES {
            buffer.resize(MAX_RECORD_BYTES + 1, 0);
        } else if filled == buffer.len() {
            if !skips_line {
                gate.take_lines(&buffer, None);
            }
            skips_line = true;
            filled = 0;
        } else if filled < CHUNK_BYTES && buffer.len() > CHUNK_BYTES {
            buffer.truncate(CHUNK_BYTES);
            buffer.shrink_to_fit();
        }
    }
}
