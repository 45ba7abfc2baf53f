//! The split: which share of requests and tokens goes to open-weight and which to closed models.
//!
//! What counts is a `Filter` (see there). Requests, never attempts: retries and fallback attempts are a ledger of their own.
//!
//! open = open-noncommercial + open-restricted + open-permissive + open-source; restricted, the part of open whose licence limits use,
//! = open-noncommercial + open-restricted. Unknown is on neither side: it makes bounds, open / total to (open + unknown) / total.
//! A share of nothing is no number, and is never shown as one.
//!
//! Reads the rollup or, with `Source::Ledger`, `ledger FINAL`; never both.

mod counting;
mod query;
mod render;

pub use counting::Counting;
pub use query::query;
pub(crate) use query::{licence_on, rollup_of};
pub use render::render;
pub(crate) use render::{class_grid, counting_grid, headline_grid, part_grid};

use serde::Serialize;
use weighbridge_catalog::Openness;

use crate::answers::{
    AnswerError, Filter, FilterArguments, Format, Period, PeriodArguments, SelectionArguments, share_of,
};

/// Which share of requests and tokens goes to open-weight and which to closed models.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SplitArguments {
    /// From when to when.
    #[command(flatten)]
    pub period: PeriodArguments,
    /// One group per value of this.
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// Which requests.
    #[command(flatten)]
    pub filter: FilterArguments,
    /// Which part of them.
    #[command(flatten)]
    pub selection: SelectionArguments,
    /// Read the ledger instead of the rollup: exact to the window, weeks instead of years.
    #[arg(long)]
    pub ledger: bool,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl SplitArguments {
    /// The query they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn query(&self, now_s: u64) -> Result<SplitQuery, AnswerError> {
        let (source, period) = match self.ledger {
            true => (Source::Ledger, self.period.period(now_s)?),
            false => (Source::Rollup, self.period.hours(now_s, " or add --ledger")?),
        };
        let filter = Filter { selection: self.selection.selection()?, ..self.filter.filter()? };
        Ok(SplitQuery { period, by: self.by, filter, source })
    }
}

/// What to split. Made from arguments, which check it.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitQuery {
    /// From when to when; on the hour when the rollup is read.
    pub period: Period,
    /// One group per value of this.
    pub by: By,
    /// Which requests.
    pub filter: Filter,
    /// What is read.
    pub source: Source,
}

/// Groups of a split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The six classes.
    #[default]
    Openness,
    /// Hours, UTC.
    Hour,
    /// Days, UTC.
    Day,
    /// Calendar months, UTC.
    Month,
    /// Who runs the weights.
    Hosting,
    /// Licences of the weights, by the register on the day of the traffic.
    Licence,
    /// Where the gateway runs.
    Environment,
    /// Gateway products.
    Product,
    /// First choice or fallback.
    Choice,
    /// How they ended; ask with `--outcome all`.
    Outcome,
    /// Who serves.
    Provider,
    /// Who made the model.
    Developer,
    /// Families of the register.
    Family,
    /// Models of the register.
    Model,
    /// Ways to count the same traffic: one class per maker, restricted licences as closed, unknown as open, and so on.
    Counting,
}

impl By {
    /// Its name on the command line and in every format.
    pub const fn name(self) -> &'static str {
        match self {
            By::Openness => "openness",
            By::Hour => "hour",
            By::Day => "day",
            By::Month => "month",
            By::Hosting => "hosting",
            By::Licence => "licence",
            By::Environment => "environment",
            By::Product => "product",
            By::Choice => "choice",
            By::Outcome => "outcome",
            By::Provider => "provider",
            By::Developer => "developer",
            By::Family => "family",
            By::Model => "model",
            By::Counting => "counting",
        }
    }
}

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `traffic_1h`: years of it, at most seconds old.
    #[default]
    Rollup,
    /// `ledger FINAL`: weeks of it, exact to the window.
    Ledger,
}

/// What is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Requests.
    pub requests: u64,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.requests = self.requests.saturating_add(other.requests);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
    }

    /// Input and output.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// One group: its sums per class.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The group's value.
    pub key: String,
    classes: [Sums; Openness::ALL.len()],
}

/// Shares of one measure, each between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shares {
    /// Open, restricted included.
    pub open: f64,
    /// The part of open whose licence limits use.
    pub restricted: f64,
    /// Closed.
    pub closed: f64,
    /// Neither known to be open nor closed.
    pub unknown: f64,
    /// Open, of what is known; none if nothing is.
    pub open_of_known: Option<f64>,
    /// Open, if all unknown were closed.
    pub open_lower: f64,
    /// Open, if all unknown were open.
    pub open_upper: f64,
}

/// A measure of `Sums`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests.
    Requests,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Input and output tokens.
    Tokens,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 4] =
        [Measure::Requests, Measure::InputTokens, Measure::OutputTokens, Measure::Tokens];

    /// Its name in every format.
    pub const fn name(self) -> &'static str {
        match self {
            Measure::Requests => "requests",
            Measure::InputTokens => "input_tokens",
            Measure::OutputTokens => "output_tokens",
            Measure::Tokens => "tokens",
        }
    }

    pub(crate) fn of(self, sums: &Sums) -> u64 {
        match self {
            Measure::Requests => sums.requests,
            Measure::InputTokens => sums.input_tokens,
            Measure::OutputTokens => sums.output_tokens,
            Measure::Tokens => sums.tokens(),
        }
    }
}

impl Group {
    /// A group with nothing in it.
    pub fn new(key: impl Into<String>) -> Group {
        Group { key: key.into(), classes: Default::default() }
    }

    /// Adds sums of one class.
    pub fn add(&mut self, openness: Openness, sums: Sums) {
        self.classes[openness as usize].add(sums);
    }

    /// Sums of one class.
    pub fn class(&self, openness: Openness) -> Sums {
        self.classes[openness as usize]
    }

    /// Sums of all classes.
    pub fn total(&self) -> Sums {
        self.sum(|_| true)
    }

    fn sum(&self, which: impl Fn(Openness) -> bool) -> Sums {
        let mut sums = Sums::default();
        for openness in Openness::ALL {
            if which(openness) {
                sums.add(self.class(openness));
            }
        }
        sums
    }

    /// Shares of a measure; none of nothing.
    pub fn shares(&self, measure: Measure) -> Option<Shares> {
        let total = measure.of(&self.total());
        if total == 0 {
            return None;
        }
        // Counts below 2^53 are exact in an f64, and beyond it a share does not notice.
        let share = |which: &dyn Fn(Openness) -> bool| measure.of(&self.sum(which)) as f64 / total as f64;
        Some(Shares {
            open: share(&Openness::is_open),
            restricted: share(&is_restricted),
            closed: share(&|openness| openness == Openness::Closed),
            unknown: share(&|openness| openness == Openness::Unknown),
            open_of_known: share_of(
                measure.of(&self.sum(Openness::is_open)),
                measure.of(&self.sum(|openness| openness != Openness::Unknown)),
            ),
            open_lower: share(&Openness::is_open),
            open_upper: share(&|openness| openness.is_open() || openness == Openness::Unknown),
        })
    }
}

fn is_restricted(openness: Openness) -> bool {
    matches!(openness, Openness::OpenNoncommercial | Openness::OpenRestricted)
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What was asked.
    pub query: SplitQuery,
    /// All groups together.
    pub total: Group,
    /// The groups: days and classes in their order, all else by requests, most first.
    pub groups: Vec<Group>,
}

impl Split {
    /// No request in the period.
    pub fn is_empty(&self) -> bool {
        self.total.total() == Sums::default()
    }
}

#[cfg(test)]
mod tests;
