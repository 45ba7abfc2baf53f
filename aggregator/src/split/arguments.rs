//! Arguments of `split`, checked: a mistake names the option and the fix.

use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, Duration, OffsetDateTime, UtcOffset};
use weighbridge_proto::v1::{Operation, Vantage};

use super::{By, Format, OutcomeFilter, Source, SplitQuery};
use crate::store::StoreError;

/// Period without `--from`: a month, so that no day of the week weighs more.
const DEFAULT_PERIOD: Duration = Duration::days(28);
const SECONDS_PER_HOUR: i64 = 3_600;
/// What a ClickHouse DateTime can hold.
const LATEST: i64 = u32::MAX as i64;

/// Which share of requests and tokens goes to open-weight and which to closed models.
#[derive(Clone, Debug, clap::Args)]
pub struct SplitArguments {
    /// Start of the period, included: a date (2026-11-01) or a time (2026-11-01T06:00:00Z), UTC. Default: 28 days before --to.
    #[arg(long)]
    pub from: Option<String>,
    /// End of the period, excluded. Default: the end of this hour.
    #[arg(long)]
    pub to: Option<String>,
    /// One group per value of this.
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// Where the requests were counted: gateway, server or client. The vantages overlap, so one at a time.
    #[arg(long, default_value = "gateway")]
    pub vantage: String,
    /// What was asked for, separated by commas, or `all`: chat, text_completion, embeddings, rerank, image, audio, other.
    #[arg(long, default_value = "chat,text_completion")]
    pub operation: String,
    /// Requests that were served, or all.
    #[arg(long, value_enum, default_value_t)]
    pub outcome: OutcomeFilter,
    /// Read the ledger instead of the rollup: exact to the window, weeks instead of years.
    #[arg(long)]
    pub ledger: bool,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Why there is no split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// An option that cannot be used, and the fix.
    #[error("{option}: {problem}")]
    Argument {
        /// The option.
        option: &'static str,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// ClickHouse.
    #[error("split: {0}")]
    Store(#[from] StoreError),
}

impl SplitError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            SplitError::Argument { .. } => "split_argument",
            SplitError::Store(error) => error.code(),
        }
    }
}

fn refuse(option: &'static str, problem: String) -> SplitError {
    SplitError::Argument { option, problem }
}

impl SplitArguments {
    /// The query they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn query(&self, now_s: u64) -> Result<SplitQuery, SplitError> {
        let source = if self.ledger { Source::Ledger } else { Source::Rollup };
        let to = match &self.to {
            Some(text) => instant("--to", text)?,
            None => next_hour(now_s),
        };
        let from = match &self.from {
            Some(text) => instant("--from", text)?,
            None => to - DEFAULT_PERIOD,
        };
        if from >= to {
            let problem = format!(
                "{from} is not before --to {to}; the end is excluded, so one day is --from D --to D+1"
            );
            return Err(refuse("--from", problem));
        }
        for (option, at) in [("--from", from), ("--to", to)] {
            if source == Source::Rollup && at.unix_timestamp() % SECONDS_PER_HOUR != 0 {
                let problem = "the rollup holds whole hours; give a full hour or add --ledger".to_owned();
                return Err(refuse(option, problem));
            }
        }
        Ok(SplitQuery {
            from,
            to,
            by: self.by,
            vantage: vantage(&self.vantage)?,
            operations: operations(&self.operation)?,
            outcome: self.outcome,
            source,
        })
    }
}

fn next_hour(now_s: u64) -> OffsetDateTime {
    let hour = i64::try_from(now_s).unwrap_or(0) / SECONDS_PER_HOUR + 1;
    OffsetDateTime::from_unix_timestamp(hour * SECONDS_PER_HOUR).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn instant(option: &'static str, text: &str) -> Result<OffsetDateTime, SplitError> {
    let date = Date::parse(text, &Iso8601::DATE).ok().filter(|_| text.len() == "2026-11-01".len());
    let parsed = match date {
        Some(date) => Some(date.midnight().assume_utc()),
        None => OffsetDateTime::parse(text, &Rfc3339).ok().map(|at| at.to_offset(UtcOffset::UTC)),
    };
    let in_range = |at: &OffsetDateTime| at.nanosecond() == 0 && (0..=LATEST).contains(&at.unix_timestamp());
    parsed.filter(in_range).ok_or_else(|| {
        refuse(
            option,
            format!("{text:?} is neither a date like 2026-11-01 nor a time like 2026-11-01T06:00:00Z"),
        )
    })
}

fn vantage(text: &str) -> Result<Vantage, SplitError> {
    Vantage::from_name(text)
        .ok_or_else(|| refuse("--vantage", format!("{text:?} is none of gateway, server, client")))
}

fn operations(text: &str) -> Result<Vec<Operation>, SplitError> {
    if text == "all" {
        return Ok(Operation::ALL.to_vec());
    }
    let mut operations = Vec::new();
    for name in text.split(',').map(str::trim) {
        let operation = Operation::from_name(name).ok_or_else(|| {
            let names: Vec<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
            refuse("--operation", format!("{name:?} is none of all, {}", names.join(", ")))
        })?;
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    }
    Ok(operations)
}
