//! `detect`: which profile reads an unknown `/metrics` page.
//!
//! In: pages as files, `-` for standard input. Out: one line a page: its name, the profile, and where such a gateway stands. A
//! page of no known gateway is said to be so, and fails the command. A server's page that also shows an engine's metrics (KServe,
//! Triton) names every profile that fits, the most specific mark first.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use crate::profile::prometheus::PagePlan;
use crate::profile::rules::{self, ProfileError};

/// Why a page was not told.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// A file.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A profile of this binary.
    #[error(transparent)]
    Rules(#[from] ProfileError),
    /// The output.
    #[error("output: {0}")]
    Write(#[from] io::Error),
    /// At least one page is of no known gateway; it was printed.
    #[error("{0} of the pages are of no known gateway")]
    Unknown(usize),
}

impl DetectError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            DetectError::Read { .. } => "read",
            DetectError::Rules(_) => "profile",
            DetectError::Write(_) => "write",
            DetectError::Unknown(_) => "unknown",
        }
    }
}

/// Prints the profiles of `pages` to `out`.
///
/// # Errors
/// See `DetectError`; pages after an unknown one are told.
pub fn detect(pages: &[PathBuf], out: &mut impl Write) -> Result<(), DetectError> {
    let mut plans = Vec::new();
    for name in rules::NAMES {
        plans.push((*name, PagePlan::new(&rules::named(name)?)?));
    }
    let mut unknown = 0;
    for path in pages {
        let page = read(path).map_err(|source| DetectError::Read { path: path.clone(), source })?;
        let fitting: Vec<String> = plans
            .iter()
            .filter(|(_, plan)| plan.detects(&page))
            .map(|(name, plan)| format!("{name} ({})", plan.vantage().name()))
            .collect();
        if fitting.is_empty() {
            unknown += 1;
            writeln!(
                out,
                "{}: no known gateway; NVIDIA NIM has unprefixed names, declare `profile: nim`",
                path.display()
            )?;
        } else {
            writeln!(out, "{}: {}", path.display(), fitting.join(", "))?;
        }
    }
    if unknown == 0 { Ok(()) } else { Err(DetectError::Unknown(unknown)) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut page = Vec::new();
        io::stdin().lock().read_to_end(&mut page)?;
        return Ok(page);
    }
    std::fs::read(path)
}
