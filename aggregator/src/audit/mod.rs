//! The audit: collectors' ledgers, Kafka, ClickHouse and the rollup compared, and the first stage named where they differ.
//!
//! In: a span of windows, `ledger.jsonl` files of collectors (if any), the topic of reports, the tables. Out: every difference with
//! its stage, collector, boot epoch and sequences; what is accounted for and told; how much was looked at.
//! Guarantees: reads only; joins no group and commits nothing. Streams: memory grows with the boot epochs that are met, not with
//! their reports (see `state`). What Kafka no longer keeps is told as not retained, never as lost.
//! Where ClickHouse has shards it compares one: the tables and the reports of the shard of `load.shard`.
//! Does not guarantee: that a lost tail of a boot epoch is seen without the collector's ledger. An audit of a span that is still
//! being loaded tells what load has yet to read; it is not a difference.
//!
//! | file | what |
//! |---|---|
//! | `ledger_file`, `topic`, `tables` | what each place holds |
//! | `state` | what is kept of it |
//! | `compare` | what differs |
//! | `render` | the answer |

mod arguments;
mod compare;
mod ledger_file;
mod render;
mod state;
mod tables;
mod topic;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

pub use arguments::{AuditArguments, Windows};
pub use render::render;
pub use state::EpochName;

use crate::bounded::ReadError;
use crate::clock::Clock;
use crate::cluster::Shard;
use crate::config::Config;
use crate::load::rollup::oldest_kept_s;
use crate::ranges::Ranges;
use crate::store::{Store, StoreError};
use compare::Verdict;
use state::Epochs;

/// Differences and notes that are told; more are only counted.
const MAX_TOLD: usize = 10_000;
const SECONDS_PER_DAY: u64 = 86_400;
/// Clocks of ingest and Kafka may be this far apart.
const CLOCKS_APART_S: u64 = 3_600;
/// Looks at a day that is being loaded or rebuilt before it is told.
const LOOKS: usize = 3;

/// Where two places that should hold the same do not. In the order of the data's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Collector, uplink, ingest: up to Kafka.
    CollectorToIngest,
    /// The same and load, where Kafka no longer says what it had.
    CollectorToClickHouse,
    /// Load.
    KafkaToClickHouse,
    /// The tables among themselves.
    ClickHouse,
    /// The rollup.
    LedgerToRollup,
}

impl Stage {
    /// Its name in every format.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::CollectorToIngest => "collector -> ingest",
            Stage::CollectorToClickHouse => "collector -> ClickHouse",
            Stage::KafkaToClickHouse => "Kafka -> ClickHouse",
            Stage::ClickHouse => "ClickHouse",
            Stage::LedgerToRollup => "ledger -> rollup",
        }
    }
}

/// A difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where.
    pub stage: Stage,
    /// Whose reports.
    pub name: Option<EpochName>,
    /// Which day of the rollup, yyyymmdd.
    pub day: Option<u32>,
    pub(crate) sequences: Ranges,
    /// What.
    pub what: String,
}

/// Something that is accounted for.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Whose reports.
    pub name: Option<EpochName>,
    pub(crate) sequences: Ranges,
    /// What.
    pub what: String,
}

/// `3 reports of collector X boot epoch Y (sequences 4-6) <what>`.
fn sentence(
    f: &mut fmt::Formatter<'_>,
    name: Option<EpochName>,
    sequences: &Ranges,
    what: &str,
) -> fmt::Result {
    let Some(EpochName { collector, boot_epoch }) = name else { return f.write_str(what) };
    let n = sequences.len();
    let (reports, numbers) = if n == 1 { ("report", "sequence") } else { ("reports", "sequences") };
    // Sentences are written for many.
    let what = match (n, what.split_once(' ')) {
        (1, Some(("are", rest))) => format!("is {rest}"),
        (1, Some(("say", rest))) => format!("says {rest}"),
        (1, Some(("do", rest))) => format!("does {rest}"),
        _ => what.to_owned(),
    };
    let boot_epoch = boot_epoch.0;
    write!(
        f,
        "{n} {reports} of collector {collector:?} boot epoch {boot_epoch} ({numbers} {sequences}) {what}"
    )
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.stage.name())?;
        sentence(f, self.name, &self.sequences, &self.what)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        sentence(f, self.name, &self.sequences, &self.what)
    }
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LookedAt {
    /// Files of collectors' ledgers.
    pub ledger_files: u64,
    /// Their lines.
    pub ledger_lines: u64,
    /// Lines that a crash had cut.
    pub ledger_lines_cut: u64,
    /// Reports of the span in them.
    pub ledger_reports: u64,
    /// Records of the topic.
    pub kafka_records: u64,
    /// Reports of the span in them, each once.
    pub kafka_reports: u64,
    /// Copies of these.
    pub kafka_copies: u64,
    /// Values in them that are no report: dead letters.
    pub kafka_not_reports: u64,
    /// Reports of the span in ClickHouse.
    pub clickhouse_reports: u64,
    /// Rows of the ledger.
    pub clickhouse_cells: u64,
    /// Reports of these that Kafka no longer retains.
    pub not_retained: u64,
    /// Collectors.
    pub collectors: u64,
    /// Their starts.
    pub boot_epochs: u64,
    /// Days of the rollup.
    pub days: u64,
}

/// What was found, with a bound on what is told.
#[derive(Debug, Default)]
struct Findings {
    differences: Vec<Difference>,
    notes: Vec<Note>,
    /// Of all differences, told or not.
    count: u64,
    first: Option<Stage>,
    not_retained: u64,
}

impl Findings {
    fn differ(&mut self, difference: Difference) {
        self.count += 1;
        self.first = Some(self.first.map_or(difference.stage, |first| first.min(difference.stage)));
        if self.differences.len() < MAX_TOLD {
            self.differences.push(difference);
        }
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() < MAX_TOLD {
            self.notes.push(note);
        }
    }
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The windows that were looked at.
    pub windows: Windows,
    /// How much was looked at.
    pub looked_at: LookedAt,
    /// What differs, by stage; the first 10,000.
    pub differences: Vec<Difference>,
    /// All differences.
    pub difference_count: u64,
    /// Where the first of them is.
    pub first: Option<Stage>,
    /// What is accounted for.
    pub notes: Vec<Note>,
}

impl Audit {
    /// Nothing differs.
    pub fn is_equal(&self) -> bool {
        self.first.is_none()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// An option that cannot be used, and the fix.
    #[error("{option}: {problem}")]
    Argument {
        /// The option.
        option: &'static str,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// A file that is no collector's ledger.
    #[error("--ledger: {path}: {reason}; give a collector's ledger.jsonl or ledger.1.jsonl")]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Kafka.
    #[error("audit: {0}")]
    Kafka(#[from] ReadError),
    /// ClickHouse.
    #[error("audit: {0}")]
    Store(#[from] StoreError),
    /// A task ended: a mistake in this program.
    #[error("audit: a task stopped")]
    Stopped,
}

impl AuditError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            AuditError::Argument { .. } => "audit_argument",
            AuditError::Ledger { .. } => "audit_ledger",
            AuditError::Kafka(error) => error.code(),
            AuditError::Store(error) => error.code(),
            AuditError::Stopped => "audit_stopped",
        }
    }

    /// The command line is wrong.
    pub fn is_argument(&self) -> bool {
        matches!(self, AuditError::Argument { .. } | AuditError::Ledger { .. })
    }
}

/// Reads everything and compares it.
///
/// # Errors
/// See `AuditError`.
pub async fn run(config: &Config, arguments: &AuditArguments, clock: &Clock) -> Result<Audit, AuditError> {
    let mut findings = Findings::default();
    let windows = kept(arguments.windows(clock.unix_s())?, config, clock, &mut findings)?;
    let store = Store::new(&config.clickhouse)?;
    if tables::are_of_all_shards(&store).await? {
        let problem = format!(
            "{} is over all shards; audit each shard with the configuration of its loaders",
            store.database()
        );
        return Err(AuditError::Argument { option: "clickhouse.database", problem });
    }
    let (mut epochs, mut looked_at, topic) = read_outside(config, arguments, windows, clock).await?;
    let stored = tables::read(&store, windows, &topic.spans, &mut epochs).await?;
    looked_at.clickhouse_reports = stored.reports;
    looked_at.clickhouse_cells = stored.cells;
    // Those that have reports outside the span only.
    epochs.retain(|_, epoch| {
        !(epoch.file.sequences.is_empty()
            && epoch.kafka.sequences.is_empty()
            && epoch.stored.sequences.is_empty()
            && epoch.stored_before_kafka.sequences.is_empty()
            && epoch.stored_since.is_empty())
    });
    for (name, epoch) in &epochs {
        compare::epoch(*name, epoch, &mut findings);
    }
    looked_at.boot_epochs = epochs.len() as u64;
    let mut collectors: Vec<_> = epochs.keys().map(|name| name.collector).collect();
    collectors.dedup();
    looked_at.collectors = collectors.len() as u64;
    looked_at.not_retained = findings.not_retained;
    looked_at.days = compare_days(config, &store, windows, &mut findings).await?;
    findings.differences.sort_by_key(|difference| difference.stage);
    Ok(Audit {
        windows,
        looked_at,
        differences: findings.differences,
        difference_count: findings.count,
        first: findings.first,
        notes: findings.notes,
    })
}

/// The windows that ClickHouse still keeps whole.
fn kept(
    windows: Windows,
    config: &Config,
    clock: &Clock,
    findings: &mut Findings,
) -> Result<Windows, AuditError> {
    if config.kafka.bootstrap_servers.is_empty() {
        let problem = "is empty; set it in the file or by WEIGHBRIDGE_KAFKA_BOOTSTRAP_SERVERS".to_owned();
        return Err(AuditError::Argument { option: "kafka.bootstrap_servers", problem });
    }
    let oldest = oldest_kept_s(clock.unix_s(), config.clickhouse.ledger_ttl_days);
    if windows.to <= oldest {
        let problem = format!(
            "the ledger keeps {} days; all of the span has expired",
            config.clickhouse.ledger_ttl_days
        );
        return Err(AuditError::Argument { option: "--to", problem });
    }
    if windows.from < oldest {
        let what = format!(
            "windows before {} have expired in ClickHouse or are about to; they were not compared",
            crate::table::time_text(i64::try_from(oldest).unwrap_or(0))
        );
        findings.note(Note { name: None, sequences: Ranges::default(), what });
    }
    Ok(Windows { from: windows.from.max(oldest), ..windows })
}

/// Kafka first, then the collectors' ledgers, which are judged by what Kafka has kept.
async fn read_outside(
    config: &Config,
    arguments: &AuditArguments,
    windows: Windows,
    clock: &Clock,
) -> Result<(Epochs, LookedAt, topic::Read), AuditError> {
    let (kafka, group_id) = (config.kafka.clone(), config.load.group_id.clone());
    let ahead_s = config.ingest.accept_future_days.saturating_mul(SECONDS_PER_DAY) + CLOCKS_APART_S;
    let begin_ms = i64::try_from(windows.from.saturating_sub(ahead_s) * 1_000).unwrap_or(0);
    let now_ms = i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX);
    let files = arguments.ledger.clone();
    let shard = Shard { index: config.load.shard, count: config.load.shards };
    let reading = move || {
        let mut epochs = Epochs::default();
        let task = topic::Task { kafka: &kafka, group_id: &group_id, windows, begin_ms, now_ms, shard };
        // A file that cannot be opened is told before a topic is read for nothing.
        let mut written = ledger_file::Read::default();
        ledger_file::probe(&files)?;
        let sent = topic::read(task, &mut epochs)?;
        for path in &files {
            ledger_file::read(path, windows, &sent, &mut epochs, &mut written)?;
        }
        let looked_at = LookedAt {
            ledger_files: written.files,
            ledger_lines: written.lines,
            ledger_lines_cut: written.cut,
            ledger_reports: written.reports,
            kafka_records: sent.records,
            kafka_reports: sent.reports,
            kafka_copies: sent.copies,
            kafka_not_reports: sent.not_reports,
            ..LookedAt::default()
        };
        Ok((epochs, looked_at, sent))
    };
    spawn_blocking(reading).await.map_err(|_| AuditError::Stopped)?
}

/// Compares the rollup; gives the number of days. A day that is being loaded or rebuilt is looked at again.
async fn compare_days(
    config: &Config,
    store: &Store,
    windows: Windows,
    findings: &mut Findings,
) -> Result<u64, AuditError> {
    let mut days = BTreeMap::new();
    for look in 1..=LOOKS {
        days = tables::days(store, windows).await?;
        let is_settled = days.values().all(|day| compare::day(day) != Verdict::Again);
        if is_settled || look == LOOKS {
            break;
        }
        sleep(tables::patience(config.load.rollup_interval_s)).await;
    }
    for (number, day) in days.iter().filter(|(_, day)| compare::day(day) != Verdict::Equal) {
        compare::day_found(*number, day, findings);
    }
    Ok(days.len() as u64)
}
