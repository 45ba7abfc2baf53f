//! An answer before it has a form: what was asked, tables, notes.

use serde_json::{Map, Value};

/// One value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A name.
    Text(String),
    /// A count.
    Count(u64),
    /// A share between 0 and 1.
    Share(f64),
    /// A difference of shares, between -1 and 1.
    Change(f64),
    /// The bounds of a share.
    Between(f64, f64),
    /// A number with one decimal.
    Number(f64),
    /// There is no such number: a share of nothing.
    Nothing,
    /// There is one, and it is not told: fewer than five organisations.
    Suppressed,
}

impl Cell {
    /// A name.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell::Text(text.into())
    }

    /// A share, or that there is none.
    pub fn share(share: Option<f64>) -> Cell {
        finite(share).map_or(Cell::Nothing, Cell::Share)
    }

    /// A change of a share, or that there is none.
    pub fn change(change: Option<f64>) -> Cell {
        finite(change).map_or(Cell::Nothing, Cell::Change)
    }

    /// A number, or that there is none.
    pub fn number(number: Option<f64>) -> Cell {
        finite(number).map_or(Cell::Nothing, Cell::Number)
    }

    /// A count, or that there is none.
    pub fn count(count: Option<u64>) -> Cell {
        count.map_or(Cell::Nothing, Cell::Count)
    }

    /// `part` of `whole`; none of nothing.
    pub fn part(part: u64, whole: u64) -> Cell {
        Cell::share(share_of(part, whole))
    }
}

/// NaN and infinity are no numbers of an answer, wherever they come from.
fn finite(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.is_finite())
}

/// `part` of `whole`; none of nothing. Counts below 2^53 are exact in an f64, and beyond it a share does not notice.
pub(crate) fn share_of(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A table: its columns by their stable names, its rows as long as its columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Stable name, the field in JSON.
    pub name: &'static str,
    /// For people.
    pub title: String,
    /// Stable names, the fields of a row.
    pub columns: Vec<&'static str>,
    /// Rows.
    pub rows: Vec<Vec<Cell>>,
}

impl Grid {
    /// A table without rows.
    pub fn new(name: &'static str, title: impl Into<String>, columns: &[&'static str]) -> Grid {
        Grid { name, title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.columns.len(), "{}", self.name);
        self.rows.push(row);
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What was asked, in a sentence.
    pub heading: String,
    /// What was asked, for programs.
    pub asked: Map<String, Value>,
    /// The tables; the first one is the answer, the others say more. CSV holds the first.
    pub tables: Vec<Grid>,
    /// What must be known to read them.
    pub notes: Vec<String>,
}

impl Document {
    /// No row in the table that is the answer.
    pub fn is_empty(&self) -> bool {
        self.tables.first().is_none_or(|grid| grid.rows.is_empty())
    }
}
