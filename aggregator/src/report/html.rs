//! The report as one HTML file: no script, no other file, nothing from a network. Every text is escaped by the template.

use askama::Template;

use super::charts::{self, Chart, Tone};
use super::page::{Page, Plot, Section};
use crate::answers::{AnswerError, Cell, Grid, grouped_digits};

#[derive(Template)]
#[template(path = "report.html")]
struct Html<'a> {
    title: &'a str,
    scope: &'a str,
    tones: Vec<(&'static str, String)>,
    sections: Vec<HtmlSection<'a>>,
}

struct HtmlSection<'a> {
    id: &'a str,
    title: &'a str,
    statement: Option<&'a str>,
    paragraphs: &'a [String],
    figure: Option<HtmlFigure<'a>>,
    tables: Vec<HtmlTable<'a>>,
    notes: &'a [String],
    commands: &'a [String],
}

struct HtmlFigure<'a> {
    caption: &'a str,
    description: String,
    legend: Vec<(&'static str, &'static str)>,
    chart: Chart,
}

struct HtmlTable<'a> {
    title: &'a str,
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

struct Column {
    title: String,
    is_number: bool,
}

struct Value {
    text: String,
    is_number: bool,
}

/// The file.
pub(super) fn render(page: &Page) -> Result<String, AnswerError> {
    let sections = page.sections.iter().map(section).collect::<Result<Vec<_>, AnswerError>>()?;
    let html = Html {
        title: &page.title,
        scope: &page.scope,
        tones: Tone::ALL.map(|tone| (tone.name(), tone.hex())).to_vec(),
        sections,
    };
    html.render().map_err(|error| AnswerError::Drawing(error.to_string()))
}

fn section(section: &Section) -> Result<HtmlSection<'_>, AnswerError> {
    let figure = match &section.figure {
        None => None,
        Some(figure) => Some(HtmlFigure {
            caption: &figure.caption,
            description: figure.description(),
            legend: figure.legend.iter().map(|(tone, text)| (tone.name(), *text)).collect(),
            chart: match &figure.plot {
                Plot::Bars(rows) => charts::bars(rows),
                Plot::Columns(rows) => charts::columns(rows),
                Plot::Ranges(rows) => charts::ranges(rows),
            }?,
        }),
    };
    Ok(HtmlSection {
        id: section.id,
        title: section.title,
        statement: section.statement.as_deref(),
        paragraphs: &section.paragraphs,
        figure,
        tables: section.tables.iter().map(table).collect(),
        notes: &section.notes,
        commands: &section.commands,
    })
}

fn table(grid: &Grid) -> HtmlTable<'_> {
    let is_number = |cell: &Cell| !matches!(cell, Cell::Text(_));
    let columns = grid.columns.iter().enumerate().map(|(at, name)| Column {
        title: name.replace('_', " "),
        is_number: grid.rows.iter().filter_map(|row| row.get(at)).any(is_number),
    });
    let value = |cell: &Cell| Value {
        is_number: is_number(cell),
        text: match cell {
            Cell::Count(count) => grouped_digits(*count),
            other => other.for_people(),
        },
    };
    HtmlTable {
        title: &grid.title,
        columns: columns.collect(),
        rows: grid.rows.iter().map(|row| row.iter().map(value).collect()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::charts::Bar;
    use crate::report::markdown;
    use crate::report::page::Figure;

    const NASTY: &str = "<script>alert('x')</script> & \"y\" | `z` {{ title }}";

    fn page() -> Page {
        let mut grid = Grid::new("models", NASTY, &["model", "requests", "open"]);
        grid.push(vec![Cell::text(NASTY), Cell::Count(1_234_567), Cell::Suppressed]);
        let bars =
            vec![Bar { label: NASTY.to_owned(), segments: vec![(Tone::Closed, 0.5), (Tone::Unknown, 0.5)] }];
        let figure = Figure {
            caption: NASTY.to_owned(),
            plot: Plot::Bars(bars),
            legend: vec![(Tone::Closed, "closed")],
        };
        let section = Section {
            id: "models",
            title: "Models",
            statement: Some(NASTY.to_owned()),
            paragraphs: vec![NASTY.to_owned()],
            figure: Some(figure),
            tables: vec![grid],
            notes: vec![NASTY.to_owned()],
            commands: vec![NASTY.replace('`', "")],
        };
        Page { title: NASTY.to_owned(), scope: NASTY.to_owned(), sections: vec![section] }
    }

    #[test]
    fn every_text_is_escaped() {
        let html = render(&page()).unwrap();
        assert!(!html.contains("<script") && !html.contains("\"y\""), "{html}");
        assert!(html.contains("{{ title }}") && html.contains("1,234,567") && html.contains("suppressed"));
        let markdown = markdown::render(&page());
        let outside_code = markdown.split("```").step_by(2).collect::<String>();
        let lines = outside_code.lines().filter(|line| !line.starts_with("From the command line"));
        assert!(lines.into_iter().all(|line| !line.contains("<script")), "{markdown}");
        assert!(markdown.contains("| 1234567 | suppressed |"), "{markdown}");
        assert_eq!(markdown.matches("```").count(), 2, "a label cannot end its block");
    }
}
