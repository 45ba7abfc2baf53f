//! The report as Markdown: the same sections; charts are bars of text, so that they show wherever the text does.

use std::fmt::Write as _;

use super::charts::{Bar, Tone};
use super::page::{Figure, Page, Plot};
use crate::answers::{escaped, markdown_table, percent};

/// Characters of 100 %.
const BAR: usize = 40;

/// What the characters of a bar of classes mean.
const KEY: &str = "█ open  ▓ open, restricted or non-commercial  ░ unknown  . closed";

/// The document.
pub(super) fn render(page: &Page) -> String {
    let mut out = format!("# {}\n\n{}\n", escaped(&page.title), escaped(&page.scope));
    for section in &page.sections {
        // Writing to a String does not fail.
        let _ = writeln!(out, "\n## {}", escaped(section.title));
        if let Some(statement) = &section.statement {
            let _ = writeln!(out, "\n**{}**", escaped(statement));
        }
        for paragraph in &section.paragraphs {
            let _ = writeln!(out, "\n{}", escaped(paragraph));
        }
        if let Some(figure) = &section.figure {
            let _ = writeln!(out, "\n{}:\n\n```text\n{}```", escaped(&figure.caption), chart(figure));
        }
        for grid in section.tables.iter().filter(|grid| !grid.rows.is_empty()) {
            let _ = write!(out, "\n**{}**\n\n{}", escaped(&grid.title), markdown_table(grid));
        }
        for note in &section.notes {
            let _ = writeln!(out, "\n{}", escaped(note));
        }
        for command in &section.commands {
            let _ = writeln!(out, "\nFrom the command line: `{command}`");
        }
    }
    out
}

fn chart(figure: &Figure) -> String {
    let mut out = String::new();
    if figure.legend.iter().any(|(tone, _)| *tone == Tone::Closed) {
        let _ = writeln!(out, "{KEY}\n");
    }
    match &figure.plot {
        Plot::Bars(bars) | Plot::Columns(bars) => {
            let width = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
            for bar in bars {
                let shown = bar.segments.iter().filter(|(_, share)| *share > 0.0 || bar.segments.len() == 1);
                let parts: Vec<String> = shown.map(|(_, share)| percent(*share)).collect();
                let _ = writeln!(out, "{:<width$} {} {}", line(&bar.label), text_bar(bar), parts.join(" "));
            }
        }
        Plot::Ranges(ranges) => {
            let width = ranges.iter().map(|range| range.label.chars().count()).max().unwrap_or(0);
            for range in ranges {
                let segments = vec![
                    (Tone::Permissive, range.value),
                    (Tone::Unknown, (range.upper - range.value).max(0.0)),
                    (Tone::Closed, (1.0 - range.upper).max(0.0)),
                ];
                let bar = Bar { label: String::new(), segments };
                let _ = writeln!(
                    out,
                    "{:<width$} {} {}",
                    line(&range.label),
                    text_bar(&bar),
                    percent(range.value)
                );
            }
        }
    }
    out
}

/// A label cannot end the block that it is in.
fn line(label: &str) -> String {
    label.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect()
}

/// Open solid, unknown shaded, closed dotted.
fn text_bar(bar: &Bar) -> String {
    let mut out = String::new();
    let (mut until, mut drawn) = (0.0, 0);
    for (tone, share) in &bar.segments {
        until += share;
        let end = ((until * BAR as f64).round() as usize).min(BAR);
        let glyph = match tone {
            Tone::Closed => '.',
            Tone::Unknown => '░',
            Tone::Restricted | Tone::Noncommercial => '▓',
            _ => '█',
        };
        (drawn..end).for_each(|_| out.push(glyph));
        drawn = drawn.max(end);
    }
    (drawn..BAR).for_each(|_| out.push(' '));
    out
}
