//! `report`: one document that answers for a period, with charts, to be read without this program.
//!
//! In: a period and a filter. Out: HTML, one file without a script and without anything from elsewhere, or Markdown. Every figure is
//! the answer of a command, asked by the same query and printed by the same code; under each table stands that command. A question
//! without traffic is answered by `no data for this period`.
//!
//! | file | what it does |
//! |---|---|
//! | `figures` | asks ClickHouse, through the commands' queries |
//! | `sections` | from figures to sentences, charts and tables |
//! | `page` | what a report says, before it has a form; the charts in words |
//! | `charts` | SVG |
//! | `html`, `markdown` | the two forms |

mod charts;
mod figures;
mod html;
mod markdown;
mod page;
mod sections;

use std::path::PathBuf;

use crate::answers::{AnswerError, Filter, FilterArguments, Period, PeriodArguments};
use crate::store::Store;

/// One document with charts for a period: HTML or Markdown, complete in one file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReportArguments {
    /// From when to when.
    #[command(flatten)]
    pub period: PeriodArguments,
    /// Which requests.
    #[command(flatten)]
    pub filter: FilterArguments,
    /// Form of the document.
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
    /// Write it to this file instead of to the terminal.
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// Form of the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// One file for a browser and a printer.
    #[default]
    Html,
    /// Text; the charts are bars of characters.
    Markdown,
}

/// What the report is about, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportQuery {
    /// From when to when, on the hour.
    pub period: Period,
    /// Which requests.
    pub filter: Filter,
}

impl ReportArguments {
    /// The query they ask for. `now_s` is the time, Unix seconds.
    ///
    /// # Errors
    /// The first option that cannot be used.
    pub fn query(&self, now_s: u64) -> Result<ReportQuery, AnswerError> {
        Ok(ReportQuery { period: self.period.hours(now_s, "")?, filter: self.filter.filter()? })
    }
}

/// The document.
///
/// # Errors
/// ClickHouse did not answer, or a chart could not be drawn.
pub async fn document(
    store: &Store,
    query: &ReportQuery,
    format: ReportFormat,
) -> Result<String, AnswerError> {
    let figures = figures::gather(store, query).await?;
    let page = sections::page(query, &figures);
    match format {
        ReportFormat::Html => html::render(&page),
        ReportFormat::Markdown => Ok(markdown::render(&page)),
    }
}

/// Asks, and writes the document to `--output` or gives it back for the terminal.
///
/// # Errors
/// An option that cannot be used, no answer, or a file that cannot be written.
pub async fn run(store: &Store, arguments: &ReportArguments, now_s: u64) -> Result<String, AnswerError> {
    let text = document(store, &arguments.query(now_s)?, arguments.format).await?;
    let Some(path) = &arguments.output else { return Ok(text) };
    tokio::fs::write(path, &text)
        .await
        .map_err(|source| AnswerError::Output { path: path.display().to_string(), source })?;
    Ok(String::new())
}
