//! What every command that answers from ClickHouse shares: period, filter, errors, and the forms of an answer.
//!
//! In: arguments as typed. Out: a checked `Period` and `Filter`, whose every value is a number or a name of an enumeration, so that a
//! statement made of them needs no quoting. An argument that cannot be used is an error that names the option and the fix. An answer
//! is a `Document`: what was asked, tables, notes; each is printed as table, JSON, CSV or Markdown. Nothing to show is said in words
//! in every form: a share of nothing is no number.

mod document;
mod filter;
mod period;
mod render;
mod selection;
mod view;

pub(crate) use document::share_of;
pub use document::{Cell, Document, Grid};
pub(crate) use filter::environments;
pub use filter::{Filter, FilterArguments, OutcomeFilter};
pub use period::{Period, PeriodArguments};
pub(crate) use period::{instant, rfc3339};
pub use render::{Format, render};
pub(crate) use render::{NO_DATA, escaped, grouped_digits, markdown_table, no_data_row, percent};
pub use selection::{Selection, SelectionArguments};
pub(crate) use view::{Column, Kind, View};

use crate::store::StoreError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// An option that cannot be used, and the fix.
    #[error("{option}: {problem}")]
    Argument {
        /// The option.
        option: &'static str,
        /// What is wrong, and the fix.
        problem: String,
    },
    /// ClickHouse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tables and views that the answer is read from are not there.
    #[error("the database is behind this program ({0}); run: weighbridge-aggregator migrate up")]
    Unmigrated(StoreError),
    /// A chart or a page could not be made: a mistake in this program.
    #[error("the report cannot be drawn: {0}")]
    Drawing(String),
    /// The file of `report --output`.
    #[error("--output {path}: {source}; name a file in a folder that exists and may be written to")]
    Output {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl AnswerError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            AnswerError::Argument { .. } => "answer_argument",
            AnswerError::Store(error) => error.code(),
            AnswerError::Unmigrated(_) => "answer_unmigrated",
            AnswerError::Drawing(_) => "answer_drawing",
            AnswerError::Output { .. } => "answer_output",
        }
    }

    /// A mistake in the command line.
    pub fn is_argument(&self) -> bool {
        matches!(self, AnswerError::Argument { .. } | AnswerError::Output { .. })
    }
}

pub(crate) fn refuse(option: &'static str, problem: impl Into<String>) -> AnswerError {
    AnswerError::Argument { option, problem: problem.into() }
}

/// A missing view or column is told with its fix.
pub(crate) fn asked(error: StoreError) -> AnswerError {
    if error.is_unmigrated() { AnswerError::Unmigrated(error) } else { AnswerError::Store(error) }
}

#[cfg(test)]
mod tests;
