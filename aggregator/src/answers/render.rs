//! The forms of an answer: a table for people, JSON, CSV, Markdown.
//!
//! JSON and CSV hold shares as numbers between 0 and 1, null or empty where there is none; JSON says `"suppressed"` and CSV
//! `suppressed` where a number is not told. An answer without rows says `no data for this period` in every form: in JSON as
//! `message`, in CSV in the first column.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{Cell, Document, Grid};
use crate::table::{columns, csv_field};

/// Form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One object.
    Json,
    /// One row per thing found.
    Csv,
    /// A table for documents.
    Markdown,
}

pub(crate) const NO_DATA: &str = "no data for this period";
const SUPPRESSED: &str = "suppressed";

/// The answer, with a newline at its end.
pub fn render(document: &Document, format: Format) -> String {
    match format {
        Format::Table => table(document),
        Format::Json => format!("{:#}\n", as_json(document)),
        Format::Csv => document.tables.first().map(csv).unwrap_or_default(),
        Format::Markdown => markdown(document),
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// 1,234,567
pub(crate) fn grouped_digits(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl Cell {
    /// For people.
    pub fn for_people(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Share(share) => percent(*share),
            Cell::Change(change) => format!("{:+.1} points", change * 100.0),
            Cell::Between(lower, upper) => format!("{} and {}", percent(*lower), percent(*upper)),
            Cell::Number(number) => format!("{number:.1}"),
            Cell::Nothing => "-".to_owned(),
            Cell::Suppressed => SUPPRESSED.to_owned(),
        }
    }

    fn value(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Count(count) => json!(count),
            Cell::Share(number) | Cell::Change(number) | Cell::Number(number) => json!(number),
            Cell::Between(lower, upper) => json!([lower, upper]),
            Cell::Nothing => Value::Null,
            Cell::Suppressed => json!(SUPPRESSED),
        }
    }

    fn field(&self) -> String {
        match self {
            Cell::Text(text) => csv_field(text),
            Cell::Count(count) => count.to_string(),
            Cell::Share(number) | Cell::Change(number) | Cell::Number(number) => number.to_string(),
            Cell::Between(lower, upper) => format!("{lower} {upper}"),
            Cell::Nothing => String::new(),
            Cell::Suppressed => SUPPRESSED.to_owned(),
        }
    }
}

fn as_json(document: &Document) -> Value {
    let mut object = document.asked.clone();
    let message = if document.is_empty() { json!(NO_DATA) } else { Value::Null };
    object.insert("message".to_owned(), message);
    for grid in &document.tables {
        let rows = grid.rows.iter().map(|row| {
            let fields = grid.columns.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.value()));
            Value::Object(fields.collect::<Map<_, _>>())
        });
        object.insert(grid.name.to_owned(), rows.collect());
    }
    object.insert("notes".to_owned(), json!(document.notes));
    Value::Object(object)
}

fn csv(grid: &Grid) -> String {
    let mut out = grid.columns.join(",");
    out.push('\n');
    if grid.rows.is_empty() {
        out.push_str(&no_data_row(grid.columns.len()));
    }
    for row in &grid.rows {
        out.push_str(&row.iter().map(Cell::field).collect::<Vec<_>>().join(","));
        out.push('\n');
    }
    out
}

/// A row of CSV that says that there is none.
pub(crate) fn no_data_row(columns: usize) -> String {
    format!("{NO_DATA}{}\n", ",".repeat(columns.saturating_sub(1)))
}

fn titles(grid: &Grid) -> impl Iterator<Item = String> {
    grid.columns.iter().map(|name| name.replace('_', " "))
}

fn table(document: &Document) -> String {
    let mut out = format!("{}\n\n", document.heading);
    if document.is_empty() {
        out.push_str(NO_DATA);
        out.push('\n');
        return out;
    }
    let tables: Vec<&Grid> = document.tables.iter().filter(|grid| !grid.rows.is_empty()).collect();
    for (at, grid) in tables.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if tables.len() > 1 {
            out.push_str(&grid.title);
            out.push('\n');
        }
        let mut rows = vec![titles(grid).collect::<Vec<_>>()];
        rows.extend(grid.rows.iter().map(|row| row.iter().map(Cell::for_people).collect()));
        out.push_str(&columns(&rows));
    }
    for (at, note) in document.notes.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { "" });
        out.push_str(note);
        out.push('\n');
    }
    out
}

fn markdown(document: &Document) -> String {
    let mut out = format!("{}\n", escaped(&document.heading));
    if document.is_empty() {
        return format!("{out}\n{NO_DATA}\n");
    }
    for grid in document.tables.iter().filter(|grid| !grid.rows.is_empty()) {
        out.push_str(&format!("\n**{}**\n\n{}", escaped(&grid.title), markdown_table(grid)));
    }
    for note in &document.notes {
        out.push_str(&format!("\n{}\n", escaped(note)));
    }
    out
}

/// A table of GitHub's Markdown, numbers to the right.
pub(crate) fn markdown_table(grid: &Grid) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let is_text = |column: usize| {
        grid.rows.iter().all(|row| matches!(row.get(column), Some(Cell::Text(_) | Cell::Nothing)))
    };
    let mut out = line(titles(grid).map(|title| escaped(&title).into_owned()).collect());
    let rules = (0..grid.columns.len()).map(|column| if is_text(column) { ":--" } else { "--:" }.to_owned());
    out.push_str(&line(rules.collect()));
    for row in &grid.rows {
        out.push_str(&line(row.iter().map(|cell| escaped(&cell.for_people()).into_owned()).collect()));
    }
    out
}

/// Text that Markdown shows as it is, within a cell, too.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let is_special = |c: char| "\\`*_[]<>|#&".contains(c);
    if !text.contains(|c: char| is_special(c) || c.is_control()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => {
                if is_special(c) {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
    Cow::Owned(out)
}
