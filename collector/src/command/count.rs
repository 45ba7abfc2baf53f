//! `count`: what would be counted from captured payloads.
//!
//! In: files in the order given, each one payload (a request body as it came over the wire). Out: one JSON line a cell,
//! sorted, then one summary line. Nothing is sent or kept. Counters in captured metrics are counted from their own start, as
//! if the collector had been there first; calls on hold end with the last file.
//!
//! A file that cannot be read as a payload is refused and named in the summary; the others count. JSON files may wrap the
//! payload as `{"request": ...}`, the form in which captures are often saved.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use weighbridge_catalog::Day;
use weighbridge_proto::cells::Cell;

use super::har;
use crate::aliases::Aliases;
use crate::classifier::Classifier;
use crate::discard::Refusal;
use crate::intake::{Encoding, Intake, Now, Signal};
use crate::profile::access_log::LogProfile;
use crate::profile::prometheus::{PagePlan, Target};
use crate::profile::rules::{self, ProfileError};
use crate::profile::tap::TapProfile;
use crate::profile::{Dialect, Profile};
use crate::report_view::CellView;

/// What the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CaptureSource {
    /// OTLP traces, protobuf (`.pb`) or JSON.
    OtlpTraces,
    /// OTLP metrics, protobuf (`.pb`) or JSON.
    OtlpMetrics,
    /// OTLP logs, protobuf (`.pb`) or JSON: counted with an access-log profile, else taken and not counted.
    OtlpLogs,
    /// An access log: JSON lines, or a JSON array or object.
    AccessLog,
    /// Messages of Envoy's gRPC access log service, each as its protobuf bytes.
    Als,
    /// Records that a gateway posts, LiteLLM's `generic_api` or Kong's `http-log`: a JSON array, JSON lines or one object.
    Webhook,
    /// Prometheus pages of one target, in time order.
    Prometheus,
    /// Exchanges with a server, as an HTTP archive (HAR 1.2).
    Tap,
}

impl CaptureSource {
    /// An intake for such captures of the gateway `profile`, with `aliases`, as of `now_ms` (Unix milliseconds).
    ///
    /// # Errors
    /// No profile of this name reads such captures.
    pub fn intake(self, profile: &str, aliases: Aliases, now_ms: u64) -> Result<Intake, CaptureError> {
        let day = Day::from_unix_seconds(now_ms / 1_000);
        let classifier = Classifier::new(weighbridge_catalog::embedded(), aliases, day);
        // Counters are counted from their own start, as if the collector had been there first.
        if self == CaptureSource::Prometheus {
            let plan = PagePlan::new(&rules::named(profile)?)?;
            return Ok(Intake::of_pages(plan, classifier, 0, 0));
        }
        Ok(Intake::new(dialect(self, profile)?, classifier, 0))
    }
}

/// The profile that `name` means for `source`, pages aside. Products have profiles of the same name for their telemetry and for
/// their log.
///
/// # Errors
/// There is none; the text names those that there are.
pub fn dialect(source: CaptureSource, name: &str) -> Result<Dialect, CaptureError> {
    let log = LogProfile::from_name(name).map(Dialect::from);
    let telemetry = |reads: fn(&Profile) -> bool| {
        let profile = Profile::all().filter(reads).find(|profile| profile.name() == name);
        profile.map(Dialect::from).ok_or_else(|| CaptureError::Profile {
            name: name.to_owned(),
            known: Profile::names(Profile::all().filter(reads)),
        })
    };
    match source {
        CaptureSource::Tap => {
            let tap = TapProfile::from_name(name).map(Dialect::from);
            tap.ok_or_else(|| CaptureError::Tap(name.to_owned()))
        }
        CaptureSource::AccessLog | CaptureSource::Als => {
            log.ok_or_else(|| CaptureError::AccessLog(name.to_owned()))
        }
        CaptureSource::OtlpLogs => log.map_or_else(|| telemetry(|_| true), Ok),
        CaptureSource::Webhook => {
            Dialect::of_webhook(name).map_err(|fix| CaptureError::Webhook { name: name.to_owned(), fix })
        }
        CaptureSource::OtlpMetrics => telemetry(|profile| profile.reads(false)),
        CaptureSource::OtlpTraces | CaptureSource::Prometheus => telemetry(|profile| profile.reads(true)),
    }
}

/// Why `count` and `preview` cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output.
    #[error("output: {0}")]
    Write(#[from] io::Error),
    /// A profile.
    #[error(transparent)]
    Rules(#[from] ProfileError),
    /// No profile of an access log.
    #[error("--profile: no access log of {0}; write one of {names}", names = LogProfile::names())]
    AccessLog(String),
    /// No profile of the tap.
    #[error("--profile: no tap of {0}; write one of {names}", names = TapProfile::names())]
    Tap(String),
    /// No profile of such telemetry.
    #[error(
        "--profile: {name}: write one of {known}; other gateways are read by --source prometheus or access-log"
    )]
    Profile {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// No profile of a gateway that posts.
    #[error("--profile: {name} posts to no webhook; {fix}")]
    Webhook {
        /// The name.
        name: String,
        /// What to write instead.
        fix: String,
    },
    /// At least one file was refused; the summary names it.
    #[error("{0} of the files could not be read as payloads; see `refused_files` in the summary")]
    Refused(usize),
}

impl CaptureError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            CaptureError::Read { .. } => "read",
            CaptureError::Write(_) => "write",
            CaptureError::Rules(_)
            | CaptureError::AccessLog(_)
            | CaptureError::Tap(_)
            | CaptureError::Webhook { .. }
            | CaptureError::Profile { .. } => "profile",
            CaptureError::Refused(_) => "refused",
        }
    }
}

/// The last line of `count`.
#[derive(Debug, Serialize)]
struct Summary {
    summary: Totals,
    skipped: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    refused_files: Vec<RefusedFile>,
}

#[derive(Debug, Serialize)]
struct Totals {
    files: usize,
    cells: usize,
    requests: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
    catalogue_version: u32,
}

#[derive(Debug, Serialize)]
struct RefusedFile {
    file: PathBuf,
    reason: &'static str,
    explanation: String,
}

/// Captured payloads, counted.
pub struct Counted {
    /// The counts.
    pub cells: Vec<Cell>,
    /// The intake that counted them.
    pub intake: Intake,
    refused_files: Vec<RefusedFile>,
}

/// Captured pages are taken for those of a server beside the collector.
const CAPTURED_TARGET: &str = "http://127.0.0.1/metrics";
/// Time between captured pages, which do not carry one: that of a usual scrape.
const PAGE_STEP_NANO: u64 = 15_000_000_000;

/// Counts `files` in order into `intake`, as of `now_ms` (Unix milliseconds; openness is that of its day).
///
/// # Errors
/// A file cannot be read from disk.
pub fn count_files(
    source: CaptureSource,
    mut intake: Intake,
    files: &[PathBuf],
    now_ms: u64,
) -> Result<Counted, CaptureError> {
    let mut refused_files = Vec::new();
    for (number, path) in files.iter().enumerate() {
        let bytes =
            std::fs::read(path).map_err(|source| CaptureError::Read { path: path.clone(), source })?;
        let taken = if source == CaptureSource::Prometheus {
            let now_nano = now_ms * 1_000_000 + number as u64 * PAGE_STEP_NANO;
            intake
                .take_page(&bytes, Target { url: CAPTURED_TARGET, model: "" }, now_nano, |_, _| {})
                .map(|_| ())
        } else {
            take(&mut intake, source, path, &bytes, now_ms)
        };
        if let Err(refusal) = taken {
            let (reason, explanation) = (refusal.name(), refusal.to_string());
            refused_files.push(RefusedFile { file: path.clone(), reason, explanation });
        }
    }
    intake.counter().finish_calls();
    let cells = intake.counter().take_cells();
    Ok(Counted { cells, intake, refused_files })
}

/// Counts `files` into `intake` and prints cells and summary to `out`.
///
/// # Errors
/// A file cannot be read, the output cannot be written, or a file was refused.
pub fn count(
    source: CaptureSource,
    intake: Intake,
    files: &[PathBuf],
    now_ms: u64,
    out: &mut impl Write,
) -> Result<(), CaptureError> {
    let mut counted = count_files(source, intake, files, now_ms)?;
    let catalogue = weighbridge_catalog::embedded();
    let mut views: Vec<_> = counted.cells.iter().map(|cell| CellView::of(cell, catalogue)).collect();
    views.sort();
    for view in &views {
        print_line(view, out)?;
    }
    let counter = counted.intake.counter();
    let (totals, tally) = (counter.totals(), counter.tally());
    let summary = Summary {
        summary: Totals {
            files: files.len(),
            cells: views.len(),
            requests: totals.requests,
            attempts: totals.attempts,
            input_tokens: totals.input_tokens,
            output_tokens: totals.output_tokens,
            catalogue_version: catalogue.version().0,
        },
        skipped: tally.skipped().map(|(reason, count)| (reason.name(), count)).collect(),
        refused: tally.refused().map(|(reason, count)| (reason.name(), count)).collect(),
        refused_files: counted.refused_files,
    };
    print_line(&summary, out)?;
    if summary.refused_files.is_empty() {
        Ok(())
    } else {
        Err(CaptureError::Refused(summary.refused_files.len()))
    }
}

fn print_line(line: &impl Serialize, out: &mut impl Write) -> Result<(), CaptureError> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn take(
    intake: &mut Intake,
    source: CaptureSource,
    path: &Path,
    bytes: &[u8],
    now_ms: u64,
) -> Result<(), Refusal> {
    let signal = match source {
        CaptureSource::OtlpTraces => Signal::Traces,
        CaptureSource::OtlpMetrics => Signal::Metrics,
        CaptureSource::Webhook => Signal::Webhook,
        CaptureSource::AccessLog => {
            let is_document = bytes.trim_ascii_start().first() == Some(&b'[') || has_extension(path, "json");
            let encoding = if is_document { Encoding::Json } else { Encoding::JsonLines };
            return intake.take(Signal::AccessLog, encoding, bytes, Now::Replay(now_ms)).map(|_| ());
        }
        CaptureSource::OtlpLogs if intake.counts_logs() => Signal::Logs,
        CaptureSource::Tap => {
            let Some(profile) = intake.tap_profile() else { return Err(Refusal::ContentType) };
            return har::count(intake, profile, bytes, now_ms);
        }
        CaptureSource::OtlpLogs | CaptureSource::Prometheus => {
            intake.skip_payload();
            return Ok(());
        }
        CaptureSource::Als => {
            return intake.take(Signal::Als, Encoding::Protobuf, bytes, Now::Replay(now_ms)).map(|_| ());
        }
    };
    let is_json = signal == Signal::Webhook || !has_extension(path, "pb");
    let (encoding, payload) =
        if is_json { (Encoding::Json, unwrapped(bytes)) } else { (Encoding::Protobuf, bytes) };
    intake.take(signal, encoding, payload, Now::Replay(now_ms)).map(|_| ())
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|extension| extension == expected)
}

/// The payload inside `{"request": ...}`, or the bytes themselves.
fn unwrapped(bytes: &[u8]) -> &[u8] {
    #[derive(Deserialize)]
    struct Wrapper<'a> {
        #[serde(borrow)]
        request: &'a RawValue,
    }
    serde_json::from_slice::<Wrapper<'_>>(bytes).map_or(bytes, |wrapper| wrapper.request.get().as_bytes())
}
