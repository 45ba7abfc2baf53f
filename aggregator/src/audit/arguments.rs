//! Arguments of `audit`, checked: a mistake names the option and the fix.

use std::path::PathBuf;

use time::OffsetDateTime;

use super::AuditError;
use crate::answers::{self, AnswerError};
use crate::table::Format;

/// Windows this young are left out without `--to`: reports may overtake one another, and load takes a moment.
const SETTLED_S: u64 = 600;

/// Compare collectors' ledgers, Kafka, ClickHouse and the rollup, and name the first stage where they differ.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArguments {
    /// Start of the span, included: windows that begin at or after it. A date (2026-11-01) or a time (2026-11-01T06:00:00Z), UTC.
    #[arg(long)]
    pub from: String,
    /// End of the span, excluded. Default: ten minutes ago.
    #[arg(long)]
    pub to: Option<String>,
    /// A collector's ledger.jsonl or ledger.1.jsonl, which it wrote before it sent; may be repeated.
    #[arg(long)]
    pub ledger: Vec<PathBuf>,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// The windows that are looked at: those that begin within, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// First second, included.
    pub from: u64,
    /// Last second, excluded.
    pub to: u64,
}

impl Windows {
    pub(crate) fn have(self, window_start_s: u64) -> bool {
        (self.from..self.to).contains(&window_start_s)
    }
}

impl AuditArguments {
    pub(super) fn windows(&self, now_s: u64) -> Result<Windows, AuditError> {
        let from = instant("--from", &self.from)?;
        let to = match &self.to {
            Some(text) => instant("--to", text)?,
            None => now_s.saturating_sub(SETTLED_S),
        };
        if from < to {
            return Ok(Windows { from, to });
        }
        let problem = "is not before --to; the end is excluded, so one day is --from D --to D+1".to_owned();
        Err(AuditError::Argument { option: "--from", problem })
    }
}

fn instant(option: &'static str, text: &str) -> Result<u64, AuditError> {
    let at = answers::instant(option, text).map(OffsetDateTime::unix_timestamp);
    // `instant` gives times after 1970.
    at.map(i64::unsigned_abs).map_err(|error| {
        let problem = match error {
            AnswerError::Argument { problem, .. } => problem,
            other => other.to_string(),
        };
        AuditError::Argument { option, problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(from: &str, to: Option<&str>) -> Result<Windows, AuditError> {
        let arguments = AuditArguments {
            from: from.to_owned(),
            to: to.map(str::to_owned),
            ledger: Vec::new(),
            format: Format::Json,
        };
        arguments.windows(1_795_435_200)
    }

    #[test]
    fn spans() {
        let day = windows("2026-11-22", Some("2026-11-23")).unwrap();
        assert_eq!(day, Windows { from: 1_795_305_600, to: 1_795_392_000 });
        assert!(day.have(day.from) && !day.have(day.to));
        assert_eq!(windows("2026-11-23", None).unwrap().to, 1_795_435_200 - 600);
        for (from, to) in [("2026-11-23", Some("2026-11-23")), ("soon", None), ("2026-11-23", Some("late"))] {
            let error = windows(from, to).unwrap_err();
            assert!(error.is_argument(), "{error}");
        }
    }
}
