//! The period of an answer: start included, end excluded, UTC.

use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, Duration, OffsetDateTime, Time, UtcOffset};

use super::{AnswerError, refuse};

/// Period without `--from`: four weeks, so that no day of the week weighs more.
const DEFAULT_PERIOD: Duration = Duration::days(28);
const SECONDS_PER_HOUR: i64 = 3_600;
const SECONDS_PER_DAY: i64 = 86_400;
/// What a ClickHouse DateTime can hold.
const LATEST: i64 = u32::MAX as i64;

/// From when to when.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PeriodArguments {
    /// Start of the period, included: a date (2026-11-01) or a time (2026-11-01T06:00:00Z), UTC. Default: 28 days before --to.
    #[arg(long)]
    pub from: Option<String>,
    /// End of the period, excluded. Default: the end of this hour, or of this day where days are counted.
    #[arg(long)]
    pub to: Option<String>,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Start, included.
    pub from: OffsetDateTime,
    /// End, excluded.
    pub to: OffsetDateTime,
}

impl PeriodArguments {
    /// The period they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// A time that is none, or an end that is not after the start.
    pub fn period(&self, now_s: u64) -> Result<Period, AnswerError> {
        self.ending(now_s, SECONDS_PER_HOUR, DEFAULT_PERIOD)
    }

    /// As `period`, of whole hours.
    ///
    /// # Errors
    /// As above, and a time within an hour.
    pub fn hours(&self, now_s: u64, otherwise: &str) -> Result<Period, AnswerError> {
        self.ending(now_s, SECONDS_PER_HOUR, DEFAULT_PERIOD)?
            .whole(SECONDS_PER_HOUR, || format!("the rollup holds whole hours; give a full hour{otherwise}"))
    }

    /// As `period`, of whole days.
    ///
    /// # Errors
    /// As above, and a time within a day.
    pub fn days(&self, now_s: u64) -> Result<Period, AnswerError> {
        self.days_of(now_s, DEFAULT_PERIOD)
    }

    /// As `days`, beginning this long before `--to` without `--from`.
    ///
    /// # Errors
    /// As above.
    pub fn days_of(&self, now_s: u64, otherwise: Duration) -> Result<Period, AnswerError> {
        self.ending(now_s, SECONDS_PER_DAY, otherwise)?.whole(SECONDS_PER_DAY, || {
            "this answer is counted by whole days, UTC; give a date like 2026-11-01".to_owned()
        })
    }

    fn ending(&self, now_s: u64, step_s: i64, otherwise: Duration) -> Result<Period, AnswerError> {
        let to = match &self.to {
            Some(text) => instant("--to", text)?,
            None => end_of(now_s, step_s),
        };
        let from = match &self.from {
            Some(text) => instant("--from", text)?,
            None => to - otherwise,
        };
        if from >= to {
            let problem = format!(
                "{from} is not before --to {to}; the end is excluded, so one day is --from D --to D+1"
            );
            return Err(refuse("--from", problem));
        }
        if from < OffsetDateTime::UNIX_EPOCH {
            return Err(refuse("--from", "a period begins in 1970 at the earliest; give --from, too"));
        }
        Ok(Period { from, to })
    }
}

impl Period {
    fn whole(self, step_s: i64, problem: impl Fn() -> String) -> Result<Period, AnswerError> {
        for (option, at) in [("--from", self.from), ("--to", self.to)] {
            if at.unix_timestamp() % step_s != 0 {
                return Err(refuse(option, problem()));
            }
        }
        Ok(self)
    }

    /// `column >= from AND column < to`, for a DateTime.
    pub(crate) fn covers_time(&self, column: &str) -> String {
        let (from, to) = (self.from.unix_timestamp(), self.to.unix_timestamp());
        format!("{column} >= toDateTime({from}, 'UTC') AND {column} < toDateTime({to}, 'UTC')")
    }

    /// For a Date on which a span of four weeks begins.
    pub(crate) fn overlaps_span(&self, column: &str) -> String {
        let (from, to) = (self.from.unix_timestamp(), self.to.unix_timestamp());
        format!(
            "{column} >= toDate(toDateTime({from}, 'UTC'), 'UTC') - 27 AND {column} <= toDate(toDateTime({}, 'UTC'), 'UTC')",
            to - 1
        )
    }

    /// For a Date on which a month begins.
    pub(crate) fn overlaps_month(&self, column: &str) -> String {
        let (from, to) = (self.from.unix_timestamp(), self.to.unix_timestamp());
        format!(
            "{column} >= toStartOfMonth(toDateTime({from}, 'UTC')) AND {column} <= toDate(toDateTime({}, 'UTC'), 'UTC')",
            to - 1
        )
    }

    /// The whole days that it touches.
    pub(crate) fn days_touched(&self) -> Period {
        let from = self.from.replace_time(Time::MIDNIGHT);
        let to = match self.to.time() == Time::MIDNIGHT {
            true => self.to,
            false => self.to.replace_time(Time::MIDNIGHT) + Duration::days(1),
        };
        Period { from, to }
    }

    /// Whether it begins and ends at midnight.
    pub(crate) fn is_of_days(&self) -> bool {
        *self == self.days_touched()
    }
}

fn end_of(now_s: u64, step_s: i64) -> OffsetDateTime {
    let step = i64::try_from(now_s).unwrap_or(0) / step_s + 1;
    OffsetDateTime::from_unix_timestamp(step * step_s).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn instant(option: &'static str, text: &str) -> Result<OffsetDateTime, AnswerError> {
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

pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    // Every time of a period has a four-digit year.
    at.format(&Rfc3339).unwrap_or_default()
}
