//! The questions that the program answers, one command each: arguments, query, answer.
//!
//! In: arguments as typed and the time. Out: the answer in the form asked for, ready to print. Each answer is a `Document`; what its
//! columns mean is told by the comments of the views that it reads (migrations 12 and 13). Thresholds are the views': groups of
//! fewer than five contributors are `suppressed`.

pub mod adoption;
pub mod coverage;
pub mod fallbacks;
pub mod models;
pub mod outcomes;
pub mod production;
pub mod retention;

use serde_json::{Map, Value, json};

use crate::answers::{
    AnswerError, Document, Format, Grid, Period, PeriodArguments, Selection, SelectionArguments,
    environments, render, rfc3339,
};
use crate::report::{self, ReportArguments};
use crate::split::{self, SplitArguments};
use crate::store::Store;

/// A question with its arguments.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Question {
    /// Say which share of requests and tokens goes to open-weight and which to closed models.
    Split(SplitArguments),
    /// Is presence commitment: organisations with any open traffic, with most of it, with sustained use, by four weeks.
    Adoption(AskedArguments),
    /// Prototype or production: the split by environment, volume and days active, by four weeks.
    Production(AskedArguments),
    /// Why they come: requests served as fallback, from which class, after which outcome, to which class.
    Fallbacks(PartArguments),
    /// How requests ended, by class, and how many attempts they took.
    Outcomes(outcomes::OutcomesArguments),
    /// Do they stay: of the collectors with first open traffic in a month, how many still have it 1, 3 and 6 months later.
    Retention(retention::RetentionArguments),
    /// Which models are served, with openness and licence.
    Models(models::ModelsArguments),
    /// What stands behind the figures: who reported and who fell silent, partial and late windows, unknown models, the register.
    Coverage(coverage::CoverageArguments),
    /// One document with charts for a period: HTML or Markdown, complete in one file.
    Report(ReportArguments),
}

/// The answer, as it is printed. `now_s` is the time, Unix seconds.
///
/// # Errors
/// An option that cannot be used, or ClickHouse did not answer.
pub async fn answer(store: &Store, question: &Question, now_s: u64) -> Result<String, AnswerError> {
    let (document, format) = match question {
        Question::Split(arguments) => {
            let answer = split::query(store, &arguments.query(now_s)?).await?;
            return Ok(split::render(&answer, arguments.format));
        }
        Question::Report(arguments) => return report::run(store, arguments, now_s).await,
        Question::Adoption(arguments) => {
            (adoption::query(store, &arguments.days(now_s)?).await?, arguments.format)
        }
        Question::Production(arguments) => {
            (production::query(store, &arguments.days(now_s)?).await?, arguments.format)
        }
        Question::Fallbacks(arguments) => {
            (fallbacks::query(store, &arguments.hours(now_s)?).await?, arguments.asked.format)
        }
        Question::Outcomes(arguments) => {
            let (asked, filter) = arguments.query(now_s)?;
            (outcomes::query(store, &asked, &filter).await?, arguments.format)
        }
        Question::Retention(arguments) => {
            (retention::query(store, &arguments.query(now_s)?).await?, arguments.format)
        }
        Question::Models(arguments) => {
            (models::query(store, &arguments.query(now_s)?).await?, arguments.format)
        }
        Question::Coverage(arguments) => {
            let (asked, by) = arguments.query(now_s)?;
            (coverage::query(store, &asked, by).await?, arguments.part.asked.format)
        }
    };
    Ok(render(&document, format))
}

/// A period and environments, as they are typed.
#[derive(Clone, Debug, clap::Args)]
pub struct AskedArguments {
    /// From when to when.
    #[command(flatten)]
    pub period: PeriodArguments,
    /// Environments, separated by commas, or `all`: production, staging, development, unknown.
    #[arg(long, default_value = "all")]
    pub environment: String,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

impl AskedArguments {
    /// What they ask for, in whole days. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn days(&self, now_s: u64) -> Result<Asked, AnswerError> {
        Asked::new(self.period.days(now_s)?, &self.environment)
    }

    /// The same in whole hours.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn hours(&self, now_s: u64) -> Result<Asked, AnswerError> {
        Asked::new(self.period.hours(now_s, "")?, &self.environment)
    }
}

/// The same, and a part of the gateways.
#[derive(Clone, Debug, clap::Args)]
pub struct PartArguments {
    /// Period, environments and form.
    #[command(flatten)]
    pub asked: AskedArguments,
    /// Gateway products, separated by commas: litellm, kong, vllm and so on.
    #[arg(long)]
    pub product: Option<String>,
}

impl PartArguments {
    fn of(&self, asked: Asked) -> Result<Asked, AnswerError> {
        let selection = SelectionArguments { product: self.product.clone(), ..SelectionArguments::default() };
        Ok(Asked { selection: selection.selection()?, ..asked })
    }

    /// What they ask for, in whole hours. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn hours(&self, now_s: u64) -> Result<Asked, AnswerError> {
        self.of(self.asked.hours(now_s)?)
    }

    /// The same in whole days.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn days(&self, now_s: u64) -> Result<Asked, AnswerError> {
        self.of(self.asked.days(now_s)?)
    }
}

/// A period and environments, as an option names them.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// From when to when.
    pub period: Period,
    /// Names; empty: all of them together.
    pub environments: Vec<&'static str>,
    /// A part of the gateways, where the question has one.
    pub selection: Selection,
}

impl Asked {
    fn new(period: Period, environment: &str) -> Result<Asked, AnswerError> {
        let is_all = environment == "all";
        let named = environments(environment)?;
        let environments = named.iter().filter(|_| !is_all).map(|environment| environment.name()).collect();
        Ok(Asked::of(period, environments))
    }

    /// All gateways of these environments.
    pub(crate) fn of(period: Period, environments: Vec<&'static str>) -> Asked {
        Asked { period, environments, selection: Selection::default() }
    }

    /// ` AND environment IN (...)` and what is selected, or nothing.
    fn and_part(&self) -> String {
        let selection = self.selection.condition();
        if self.environments.is_empty() {
            return selection;
        }
        format!(" AND environment IN ({}){selection}", self.quoted())
    }

    fn quoted(&self) -> String {
        let names: Vec<String> = self.environments.iter().map(|name| format!("'{name}'")).collect();
        names.join(", ")
    }

    fn document(&self, what: &str, tables: Vec<Grid>, notes: Vec<String>) -> Document {
        let (from, to) = (rfc3339(self.period.from), rfc3339(self.period.to));
        let environments = match self.environments.as_slice() {
            [] => "all".to_owned(),
            names => names.join(", "),
        };
        let mut asked = Map::new();
        asked.insert("from".to_owned(), json!(from));
        asked.insert("to".to_owned(), json!(to));
        let names =
            if self.environments.is_empty() { json!("all") } else { Value::from(self.environments.clone()) };
        asked.insert("environments".to_owned(), names);
        asked.insert("selection".to_owned(), self.selection.names());
        let part = self.selection.in_words();
        let heading =
            format!("{from} to {to} (UTC), {what}, environments: {environments}, at vantage gateway{part}");
        Document { heading, asked, tables, notes }
    }
}

/// Said below every answer that has thresholds.
const THRESHOLD: &str =
    "suppressed: fewer than five organisations, or a group that would give such a one away";
