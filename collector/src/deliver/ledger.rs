//! The contributor's record of what leaves: one JSON line a report in `ledger.jsonl`, written before it is first sent.
//!
//! The file is rotated at `MAX_BYTES` to `ledger.1.jsonl`, whose older content goes: at most twice that is kept. A line is
//! the report as `preview` shows it, so that a person can check the wire against it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use weighbridge_catalog::Catalogue;
use weighbridge_proto::report;

use crate::report_view::ReportView;
use crate::window::Sealed;

/// Size at which the file is rotated: some weeks of a busy gateway.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Where what leaves is written down.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    catalogue: &'static Catalogue,
}

impl Ledger {
    /// A ledger in the data folder.
    pub fn new(data_folder: &Path, catalogue: &'static Catalogue) -> Ledger {
        Ledger { path: data_folder.join("ledger.jsonl"), catalogue }
    }

    /// Writes down a report.
    ///
    /// # Errors
    /// The disk refused; nothing of the line stays.
    pub fn record(&self, sealed: &Sealed) -> io::Result<()> {
        let report = report::check(&sealed.bytes).map_err(io::Error::other)?;
        let mut line = serde_json::to_vec(&ReportView::of(&report, self.catalogue))?;
        line.push(b'\n');
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() + line.len() as u64 > MAX_BYTES) {
            fs::rename(&self.path, self.path.with_extension("1.jsonl"))?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let before = file.metadata()?.len();
        file.write_all(&line).inspect_err(|_| {
            // Half a line would spoil the next one. Where even this fails, the reader meets half a line.
            let _ = file.set_len(before);
        })
    }
}
