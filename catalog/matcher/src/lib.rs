//! The register's tables, the matcher over them, and the compiler that makes them. The register itself, its data, is in
//! `weighbridge-catalog`, which lends all of this out again.
//!
//! In: a model name as a gateway spells it, the provider label and upstream address beside it, and a date.
//! Out: numbers of the register and a reason, never the input, its hash or its length.
//! Guarantees: pure (no I/O and no clock when matching), linear in the length of the name, never panics, no allocation
//! per look-up. Bad input (over 256 bytes, not ASCII, empty) is `Openness::Unknown` with `Reason::Unmatched`.

mod address;
mod axes;
mod compile;
mod coverage;
mod diff;
mod envelope;
mod export;
mod guard;
mod hosting;
mod lexicon;
mod lint;
mod matcher;
mod numbers;
mod register;
mod tables;
mod token;

use std::fmt;

pub use axes::{Hosting, Openness};
pub use compile::{CompileError, SourceError, Sources, compile};
pub use coverage::{Coverage, Group, coverage};
pub use diff::{Change, diff};
pub use export::{ModelExport, PeriodExport, ProviderExport, RegisterExport};
pub use lint::{Problem, lint};
pub use numbers::{AllotError, Allotted, allot};
pub use register::{Catalogue, Model, Period, Provider};
pub use tables::FormatError;

/// Number of a model in the register. Numbers are permanent and never reused; 0 is `UNLISTED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub u32);

impl ModelId {
    /// A name outside the register. Its openness is what a proven family gives, else unknown.
    pub const UNLISTED: ModelId = ModelId(0);
}

/// Number of a provider in the register. Numbers are permanent and never reused; 0 is `UNLISTED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(pub u16);

impl ProviderId {
    /// No provider label, or one outside the register.
    pub const UNLISTED: ProviderId = ProviderId(0);
}

/// A calendar day in UTC, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i32);

impl Day {
    /// The day that holds a Unix time in seconds.
    pub const fn from_unix_seconds(seconds: u64) -> Day {
        Day((seconds / 86_400) as i32)
    }

    /// The day with this date in the Gregorian calendar. Months run from 1 to 12; days beyond a month's end run over
    /// into the next.
    pub const fn from_civil(year: i32, month: u32, day: u32) -> Day {
        // Counted from 0000-03-01, so that the leap day is a year's last.
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (month as i32 + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + day as i32 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Day(era * 146_097 + day_of_era - 719_468)
    }

    /// Year, month and day in the Gregorian calendar: the inverse of `from_civil`.
    pub const fn to_civil(self) -> (i32, u32, u32) {
        let from_march_0000 = self.0 as i64 + 719_468;
        let era = from_march_0000.div_euclid(146_097);
        let day_of_era = from_march_0000.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        (year as i32, month as u32, day as u32)
    }

    /// The day written `yyyy-mm-dd`.
    pub fn from_text(text: &str) -> Option<Day> {
        let mut parts = text.split('-').map(str::parse::<u32>);
        let (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let made = Day::from_civil(i32::try_from(year).ok()?, month, day);
        // A day beyond its month's end would come out as another one.
        (month >= 1 && made.to_civil() == (year as i32, month, day)).then_some(made)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.to_civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// Version of the register: `yyyymmdd * 100 + counter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CatalogueVersion(pub u32);

/// What stands beside a model name and tells who hosts it. Never decides openness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Provider label as the gateway spells it (`openai`, `hosted_vllm`, `aws.bedrock`), empty if there is none.
    pub provider: &'a str,
    /// Host or URL of the upstream (`https://api.openai.com/v1`, `127.0.0.1:8000`), empty if not told.
    pub address: &'a str,
}

/// Why a classification came out as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A rule of the register names it.
    Matched,
    /// A fine-tune or conversion of a model of the register.
    Derived,
    /// An alias (the maker's own or the contributor's).
    Alias,
    /// A name that says nothing: a deployment, an endpoint, an ARN of a private resource.
    Opaque,
    /// A router that picks a model by itself.
    Router,
    /// Nothing in the register matches.
    Unmatched,
}

impl Reason {
    /// Stable name, used in CSV and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Matched => "matched",
            Reason::Derived => "derived",
            Reason::Alias => "alias",
            Reason::Opaque => "opaque",
            Reason::Router => "router",
            Reason::Unmatched => "unmatched",
        }
    }
}

/// What the register says of a name. All names in it come from the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classification {
    /// The model, or `ModelId::UNLISTED`.
    pub model: ModelId,
    /// Family of the model (`gpt`, `llama`); empty if unknown. May be known when the model is not.
    pub family: &'static str,
    /// Openness of the weights at the date asked for.
    pub openness: Openness,
    /// Who hosts it.
    pub hosting: Hosting,
    /// The provider, or `ProviderId::UNLISTED`.
    pub provider: ProviderId,
    /// Why.
    pub reason: Reason,
}
