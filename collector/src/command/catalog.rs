//! `catalog`: the register itself, for those who keep it and for those who ask what it covers. Opens no socket.
//!
//! | command | in | out |
//! |---|---|---|
//! | `lint [--data DIR] [--allot]` | a data folder | findings, one a line; fails if there are any. `--allot` first numbers new entries |
//! | `diff OLD NEW [--names FILE]` | two data folders | CSV of the names whose class or model changes |
//! | `coverage FILE` | CSV of names as for `classify` | how much is decided, and the largest undecided groups |
//! | `export [--data DIR]` | a data folder, or the register of this binary | JSON for `weighbridge-aggregator migrate up --register` |

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use weighbridge_catalog::{
    AllotError, Catalogue, CompileError, Day, Openness, SourceError, Sources, allot, coverage, diff, lint,
};

use super::classify::{ClassifyError, read_names};

/// Undecided groups shown.
const GROUPS: usize = 25;

/// What to do with the register.
#[derive(Clone, Debug, Subcommand)]
pub enum CatalogCommand {
    /// Check a data folder; exit code 1 when something is found.
    Lint {
        /// The data folder.
        #[arg(long, default_value = "catalog/data")]
        data: PathBuf,
        /// First give a permanent number to every new model and provider.
        #[arg(long)]
        allot: bool,
    },
    /// Show which names another version of the register puts into another class.
    Diff {
        /// Data folder of the old version.
        old: PathBuf,
        /// Data folder of the new version.
        new: PathBuf,
        /// CSV of names to compare, beside those that the patterns of both describe.
        #[arg(long)]
        names: Option<PathBuf>,
        /// Day of the traffic, yyyy-mm-dd; today by default.
        #[arg(long, value_parser = parse_day)]
        at: Option<Day>,
    },
    /// Say how much of a list of names is decided.
    Coverage {
        /// CSV of names, as for `classify`.
        file: PathBuf,
        /// A data folder instead of the register of this binary.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Day of the traffic, yyyy-mm-dd; today by default.
        #[arg(long, value_parser = parse_day)]
        at: Option<Day>,
    },
    /// Write the register as JSON.
    Export {
        /// A data folder instead of the register of this binary.
        #[arg(long)]
        data: Option<PathBuf>,
    },
}

/// Why a command on the register failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A data folder.
    #[error("catalog: {0}")]
    Source(#[from] SourceError),
    /// The data.
    #[error("catalog: {0}")]
    Compile(#[from] CompileError),
    /// Numbers.
    #[error("catalog: {0}")]
    Allot(#[from] AllotError),
    /// A list of names.
    #[error("{path}: {source}")]
    Names {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ClassifyError,
    },
    /// Input or output.
    #[error("catalog: {0}")]
    Io(#[from] io::Error),
    /// The lint found something; it was printed.
    #[error("catalog: {0} findings")]
    Findings(usize),
}

impl CatalogError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            CatalogError::Source(_) => "source",
            CatalogError::Compile(_) => "compile",
            CatalogError::Allot(_) => "allot",
            CatalogError::Names { .. } => "names",
            CatalogError::Io(_) => "io",
            CatalogError::Findings(_) => "findings",
        }
    }
}

/// A day of the command line.
///
/// # Errors
/// It is not written yyyy-mm-dd.
pub fn parse_day(text: &str) -> Result<Day, String> {
    Day::from_text(text).ok_or_else(|| "write a day as yyyy-mm-dd".to_owned())
}

/// Runs `command`; `today` is the day where none is given.
///
/// # Errors
/// See `CatalogError`.
pub fn catalog(command: &CatalogCommand, today: Day, out: &mut impl Write) -> Result<(), CatalogError> {
    match command {
        CatalogCommand::Lint { data, allot } => run_lint(data, *allot, out),
        CatalogCommand::Diff { old, new, names, at } => {
            run_diff(old, new, names.as_deref(), at.unwrap_or(today), out)
        }
        CatalogCommand::Coverage { file, data, at } => {
            run_coverage(file, &register(data.as_deref())?, at.unwrap_or(today), out)
        }
        CatalogCommand::Export { data } => {
            serde_json::to_writer_pretty(&mut *out, &register(data.as_deref())?.export())
                .map_err(io::Error::from)?;
            Ok(writeln!(out)?)
        }
    }
}

/// The register of a data folder, or the one of this binary.
fn register(data: Option<&Path>) -> Result<Catalogue, CatalogError> {
    match data {
        Some(folder) => Ok(Catalogue::compiled(&Sources::read(folder)?)?),
        None => Ok(*weighbridge_catalog::embedded()),
    }
}

fn run_lint(data: &Path, with_numbers: bool, out: &mut impl Write) -> Result<(), CatalogError> {
    if with_numbers {
        for new in allot(data)? {
            writeln!(out, "allotted {} {} to {}", new.kind, new.number, new.name)?;
        }
    }
    let problems = lint(&Sources::read(data)?)?;
    for problem in &problems {
        writeln!(out, "{problem}")?;
    }
    if problems.is_empty() { Ok(()) } else { Err(CatalogError::Findings(problems.len())) }
}

fn names_of(path: &Path) -> Result<Vec<(String, String)>, CatalogError> {
    let mut names = Vec::new();
    let read = read_names(File::open(path)?, |row, _| {
        names.push((row.provider.clone(), row.name.clone()));
        Ok(())
    });
    read.map_err(|source| CatalogError::Names { path: path.to_path_buf(), source })?;
    Ok(names)
}

fn run_diff(
    old: &Path,
    new: &Path,
    names: Option<&Path>,
    at: Day,
    out: &mut impl Write,
) -> Result<(), CatalogError> {
    let names = names.map(names_of).transpose()?.unwrap_or_default();
    let names = names.into_iter().map(|(_, name)| name);
    let changes = diff(&Sources::read(old)?, &Sources::read(new)?, names, at)?;
    let mut csv = csv::Writer::from_writer(out);
    let written = csv.write_record(["name", "old_openness", "new_openness", "old_model", "new_model"]);
    written.map_err(ClassifyError::Csv).map_err(output)?;
    for change in changes {
        let (was, is) = (change.old.openness.as_str(), change.new.openness.as_str());
        let row = [change.name.as_str(), was, is, change.old_model, change.new_model];
        csv.write_record(row).map_err(ClassifyError::Csv).map_err(output)?;
    }
    Ok(csv.flush()?)
}

fn output(source: ClassifyError) -> CatalogError {
    CatalogError::Names { path: PathBuf::from("standard output"), source }
}

fn run_coverage(
    file: &Path,
    catalogue: &Catalogue,
    at: Day,
    out: &mut impl Write,
) -> Result<(), CatalogError> {
    let names = names_of(file)?;
    let rows = names.iter().map(|(provider, name)| (provider.as_str(), name.as_str()));
    let found = coverage(catalogue, rows, at);
    writeln!(
        out,
        "{} names on {at}: {:.1} % decided\n{:>6} open\n{:>6} {}\n{:>6} say nothing (private resources, routers)\n\
         {:>6} of a known family, model not in the register\n{:>6} unknown",
        found.names,
        found.decided_percent(),
        found.open,
        found.closed,
        Openness::Closed.as_str(),
        found.silent,
        found.family_only,
        found.unknown
    )?;
    if !found.groups.is_empty() {
        writeln!(out, "\nundecided, by first word:")?;
    }
    for group in found.groups.iter().take(GROUPS) {
        writeln!(out, "{:>6} {}: {}", group.names, group.word, group.examples.join(", "))?;
    }
    Ok(())
}
