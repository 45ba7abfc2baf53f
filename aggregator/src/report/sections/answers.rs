//! The sections that are a command's whole answer: its tables and notes as they are, and a chart over them.

use super::{Commands, TOP, empty, legend, range_legend};
use crate::answers::{Cell, Document, Filter, Grid};
use crate::report::charts::{Bar, Range, Tone};
use crate::report::figures::{Figures, MODELS_SHOWN};
use crate::report::page::{Figure, Plot, Section};

/// A section of a document; without rows it says that there are none.
fn of(
    id: &'static str,
    title: &'static str,
    document: &Document,
    command: String,
    figure: impl FnOnce(&Document) -> Option<Figure>,
) -> Section {
    let section = Section { id, title, commands: vec![command], ..Section::default() };
    if document.is_empty() {
        return empty(section);
    }
    Section {
        figure: figure(document),
        tables: document.tables.iter().filter(|grid| !grid.rows.is_empty()).cloned().collect(),
        notes: document.notes.clone(),
        ..section
    }
}

fn column<'a>(grid: &'a Grid, row: &'a [Cell], name: &str) -> Option<&'a Cell> {
    let at = grid.columns.iter().position(|column| *column == name)?;
    row.get(at)
}

fn share(grid: &Grid, row: &[Cell], name: &str) -> Option<f64> {
    match column(grid, row, name) {
        Some(Cell::Share(share)) => Some(*share),
        _ => None,
    }
}

fn words(grid: &Grid, row: &[Cell], names: &[&str]) -> String {
    let cells = names.iter().filter_map(|name| column(grid, row, name));
    cells.map(Cell::for_people).collect::<Vec<_>>().join(", ")
}

/// Span and environment, where there is more than one span and not all environments.
fn place(grid: &Grid, row: &[Cell]) -> Vec<String> {
    let span = column(grid, row, "span");
    let is_one_span = grid.rows.iter().all(|other| column(grid, other, "span") == span);
    let names = [span.filter(|_| !is_one_span), column(grid, row, "environment")];
    names.into_iter().flatten().map(Cell::for_people).filter(|name| name != "all").collect()
}

pub(super) fn adoption(figures: &Figures, commands: &Commands) -> Section {
    let caption = "Organisations with any open traffic, mostly open, and with sustained open use";
    of(
        "adoption",
        "How many organisations take part?",
        &figures.adoption,
        commands.of_days("adoption"),
        |document| {
            let grid = document.tables.first()?;
            let mut bars = Vec::new();
            for row in &grid.rows {
                for (what, name) in [
                    ("any open", "with_open_share"),
                    ("mostly open", "with_majority_share"),
                    ("sustained open", "with_sustained_share"),
                ] {
                    let Some(share) = share(grid, row, name) else { continue };
                    let mut label = place(grid, row);
                    label.push(what.to_owned());
                    let label = label.join(", ");
                    bars.push(Bar { label, segments: vec![(Tone::Neutral, share)] });
                }
            }
            let legend = vec![(Tone::Neutral, "share of organisations")];
            let figure = Figure { caption: caption.to_owned(), plot: Plot::Bars(bars), legend };
            figure.has_rows().then_some(figure)
        },
    )
}

pub(super) fn production(figures: &Figures, commands: &Commands) -> Section {
    let title = "Prototype or production: by volume and days active?";
    of("production", title, &figures.production, commands.of_days("production"), |document| {
        let grid = document.tables.first()?;
        let rows = grid.rows.iter().filter_map(|row| {
            let mut label = place(grid, row);
            label.push(words(grid, row, &["requests_a_day"]).replace(" and more", "+"));
            label.push(format!("{} days", words(grid, row, &["active_days"])));
            Some(Range {
                label: label.join(", "),
                value: share(grid, row, "open_share")?,
                lower: share(grid, row, "open_share_lower")?,
                upper: share(grid, row, "open_share_upper")?,
            })
        });
        let figure = Figure {
            caption: "Open share of requests by environment, requests a day and days active".to_owned(),
            plot: Plot::Ranges(rows.take(TOP).collect()),
            legend: range_legend(),
        };
        figure.has_rows().then_some(figure)
    })
}

pub(super) fn fallbacks(figures: &Figures, commands: &Commands) -> Section {
    let command = commands.with_environment("fallbacks");
    of("fallbacks", "Why do they come?", &figures.fallbacks, command, |document| {
        let grid = document.tables.first()?;
        let rows = grid.rows.iter().filter_map(|row| {
            let [from, after, to] = ["from_class", "after_outcome", "to_class"]
                .map(|name| column(grid, row, name).map(Cell::for_people).unwrap_or_default());
            Some(Range {
                label: format!("{from} to {to}, {}", after.replace('_', " ")),
                value: share(grid, row, "share")?,
                lower: share(grid, row, "share_lower")?,
                upper: share(grid, row, "share_upper")?,
            })
        });
        let figure = Figure {
            caption: "Fallbacks by class before, class after, and outcome between: part of all fallbacks"
                .to_owned(),
            plot: Plot::Ranges(rows.take(TOP).collect()),
            legend: vec![(Tone::Permissive, "likely"), (Tone::Unknown, "from least to most")],
        };
        figure.has_rows().then_some(figure)
    })
}

pub(super) fn outcomes(figures: &Figures, commands: &Commands, filter: &Filter) -> Section {
    let operations = Filter { operations: filter.operations.clone(), ..Filter::default() }.as_options();
    let command = format!("{}{operations}", commands.with_environment("outcomes"));
    of("outcomes", "How do requests end?", &figures.outcomes, command, |document| {
        let grid = document.tables.get(1)?;
        let bars = grid.rows.iter().filter_map(|row| {
            let served = share(grid, row, "served_share")?;
            Some(Bar { label: words(grid, row, &["class"]), segments: vec![(Tone::Neutral, served)] })
        });
        let figure = Figure {
            caption: "Served part of the requests to each class".to_owned(),
            plot: Plot::Bars(bars.collect()),
            legend: vec![(Tone::Neutral, "served")],
        };
        figure.has_rows().then_some(figure)
    })
}

pub(super) fn retention(figures: &Figures, commands: &Commands) -> Section {
    let command = format!("weighbridge-aggregator retention{}", commands.cohorts);
    of("retention", "Do they stay?", &figures.retention, command, |document| {
        let grid = document.tables.first()?;
        let rows = grid.rows.iter().filter_map(|row| {
            let retained = share(grid, row, "retention")?;
            let upper = share(grid, row, "retention_upper")?;
            let label =
                format!("{} months", words(grid, row, &["cohort", "months_later"]).replace(", ", " + "));
            Some(Range { label, value: retained, lower: retained, upper })
        });
        let figure = Figure {
            caption: "Collectors that still have open traffic, by first month and months later".to_owned(),
            plot: Plot::Ranges(rows.take(TOP).collect()),
            legend: vec![
                (Tone::Permissive, "still open"),
                (Tone::Unknown, "and these, if unknown were open"),
            ],
        };
        figure.has_rows().then_some(figure)
    })
}

pub(super) fn models(figures: &Figures, commands: &Commands) -> Section {
    let command = commands.with_filter("models", &format!(" --limit {MODELS_SHOWN}"));
    of("models", "Which models?", &figures.models, command, |document| {
        let grid = document.tables.first()?;
        let rows = grid.rows.iter().filter_map(|row| {
            let openness = column(grid, row, "openness")?.for_people();
            let class =
                weighbridge_catalog::Openness::ALL.into_iter().find(|class| class.as_str() == openness);
            let share = share(grid, row, "share_of_requests")?;
            let label = words(grid, row, &["model"]);
            Some(Bar { label, segments: vec![(class.map_or(Tone::Neutral, Tone::of), share)] })
        });
        let mut legend = legend();
        legend.push((Tone::Neutral, "all others"));
        let figure = Figure {
            caption: "Models by their part of requests".to_owned(),
            plot: Plot::Bars(rows.collect()),
            legend,
        };
        figure.has_rows().then_some(figure)
    })
}

pub(super) fn coverage(figures: &Figures, commands: &Commands) -> Section {
    of(
        "coverage",
        "What stands behind these figures?",
        &figures.coverage,
        commands.of_days("coverage"),
        |document| {
            let grid = document.tables.get(1)?;
            let columns = grid.rows.iter().filter_map(|row| {
                let covered = share(grid, row, "covered_share")?;
                Some(Bar { label: words(grid, row, &["day"]), segments: vec![(Tone::Neutral, covered)] })
            });
            let figure = Figure {
                caption: "Part of the day that the windows of reporting collectors cover".to_owned(),
                plot: Plot::Columns(columns.collect()),
                legend: vec![(Tone::Neutral, "covered")],
            };
            figure.has_rows().then_some(figure)
        },
    )
}
