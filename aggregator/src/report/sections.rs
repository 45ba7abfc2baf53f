//! From figures to sections. Pure: the same figures make the same page.

use weighbridge_catalog::Openness;

use super::ReportQuery;
use super::charts::{Bar, Range, Tone};
use super::figures::Figures;
use super::page::{Figure, Page, Plot, Section};
use crate::answers::{Cell, Grid, NO_DATA, percent, rfc3339};
use crate::split::{
    By, Counting, Group, Measure, Split, class_grid, counting_grid, headline_grid, part_grid,
};

/// Rows of a chart and of a table of models; the command has all.
const TOP: usize = 25;

/// Classes as they stand in a bar: open from the left, then unknown, then closed, so that both bounds are edges.
const ORDER: [(Openness, &str); 6] = [
    (Openness::OpenSource, "open source"),
    (Openness::OpenPermissive, "open, permissive"),
    (Openness::OpenRestricted, "open, restricted"),
    (Openness::OpenNoncommercial, "open, non-commercial"),
    (Openness::Unknown, "unknown"),
    (Openness::Closed, "closed"),
];

fn legend() -> Vec<(Tone, &'static str)> {
    ORDER.map(|(openness, text)| (Tone::of(openness), text)).to_vec()
}

/// The whole report.
pub(super) fn page(query: &ReportQuery, figures: &Figures) -> Page {
    let scope = format!(
        "{} to {} (UTC): {}.",
        rfc3339(query.period.from),
        rfc3339(query.period.to),
        query.filter.in_words()
    );
    let commands = Commands::new(query);
    let sections = vec![
        headline(figures, &commands),
        over_time(figures, &commands),
        countings(figures, &commands),
        populations(figures, &commands),
        grouped("environment", "Prototype or production?", &figures.environment, &commands),
        grouped("hosting", "Who can run it?", &figures.hosting, &commands),
        grouped("licences", "How free are the weights?", &figures.licence, &commands),
    ];
    Page { title: "Where the AI traffic went".to_owned(), scope, sections }
}

/// The command line of a figure.
struct Commands {
    period: String,
    filter: String,
}

impl Commands {
    fn new(query: &ReportQuery) -> Commands {
        let time = |at: time::OffsetDateTime| match at.time() == time::Time::MIDNIGHT {
            true => at.date().to_string(),
            false => rfc3339(at),
        };
        let period = format!(" --from {} --to {}", time(query.period.from), time(query.period.to));
        Commands { period, filter: query.filter.as_options() }
    }

    /// The program's subcommand over the report's period and filter.
    fn with_filter(&self, command: &str, more: &str) -> String {
        format!("weighbridge-aggregator {command}{}{}{more}", self.period, self.filter)
    }
}

fn empty(mut section: Section) -> Section {
    section.statement = Some(NO_DATA.to_owned());
    section
}

/// Segments of a group, none of nothing.
fn segments(group: &Group, measure: Measure) -> Option<Vec<(Tone, f64)>> {
    let total = measure.of(&group.total());
    let share = |class: Openness| measure.of(&group.class(class)) as f64 / total as f64;
    (total > 0).then(|| ORDER.map(|(class, _)| (Tone::of(class), share(class))).to_vec())
}

fn bar(label: &str, group: &Group, measure: Measure) -> Option<Bar> {
    Some(Bar { label: label.to_owned(), segments: segments(group, measure)? })
}

fn headline(figures: &Figures, commands: &Commands) -> Section {
    let split = &figures.openness;
    let section = Section {
        id: "headline",
        title: "Where does production traffic go?",
        commands: vec![commands.with_filter("split", "")],
        ..Section::default()
    };
    let Some(shares) = split.total.shares(Measure::Requests) else { return empty(section) };
    let statement = format!(
        "{} of requests went to open-weight models: between {} and {}, whatever the unknown {} are.",
        percent(shares.open),
        percent(shares.open_lower),
        percent(shares.open_upper),
        percent(shares.unknown)
    );
    let rows = [Measure::Requests, Measure::InputTokens, Measure::OutputTokens, Measure::Tokens];
    let bars =
        rows.iter().filter_map(|measure| bar(&measure.name().replace('_', " "), &split.total, *measure));
    Section {
        statement: Some(statement),
        paragraphs: vec![format!(
            "{} went to closed models, and {} to open weights whose licence limits their use.",
            percent(shares.closed),
            percent(shares.restricted)
        )],
        figure: Some(Figure {
            caption: "Requests and tokens by class".to_owned(),
            plot: Plot::Bars(bars.collect()),
            legend: legend(),
        }),
        tables: vec![headline_grid(&split.total), class_grid(split)],
        ..section
    }
}

fn over_time(figures: &Figures, commands: &Commands) -> Section {
    let split = &figures.time;
    let by = split.query.by.name();
    let section = Section {
        id: "time",
        title: "How does it move?",
        commands: vec![commands.with_filter("split", &format!(" --by {by}"))],
        ..Section::default()
    };
    if split.is_empty() {
        return empty(section);
    }
    let columns = split.groups.iter().filter_map(|group| bar(&group.key, group, Measure::Requests));
    Section {
        figure: Some(Figure {
            caption: format!("Requests by {by} and class"),
            plot: Plot::Columns(columns.collect()),
            legend: legend(),
        }),
        tables: vec![part_grid(split)],
        ..section
    }
}

fn countings(figures: &Figures, commands: &Commands) -> Section {
    let split = &figures.counting;
    let section = Section {
        id: "countings",
        title: "How would the answer change if it were counted otherwise?",
        commands: vec![commands.with_filter("split", " --by counting")],
        ..Section::default()
    };
    if split.is_empty() {
        return empty(section);
    }
    let ranges = split.groups.iter().filter_map(|group| {
        let shares = group.shares(Measure::Requests)?;
        Some(Range {
            label: group.key.replace('_', " "),
            value: shares.open,
            lower: shares.open_lower,
            upper: shares.open_upper,
        })
    });
    let ranges: Vec<Range> = ranges.collect();
    let lowest = ranges.iter().map(|range| range.value).fold(1.0, f64::min);
    let highest = ranges.iter().map(|range| range.value).fold(0.0, f64::max);
    Section {
        statement: Some(format!(
            "The same requests are {} to {} open, by the rule of counting alone.",
            percent(lowest),
            percent(highest)
        )),
        figure: Some(Figure {
            caption: "Open share of requests by way of counting, with what is unknown under it".to_owned(),
            plot: Plot::Ranges(ranges),
            legend: vec![(Tone::Permissive, "open share"), (Tone::Unknown, "to here if unknown were open")],
        }),
        tables: vec![counting_grid(split)],
        notes: Counting::ALL
            .map(|rule| format!("{}: {}.", rule.name().replace('_', " "), rule.rule()))
            .to_vec(),
        ..section
    }
}

fn populations(figures: &Figures, commands: &Commands) -> Section {
    let columns =
        ["population", "requests", "open", "open_is_between", "open_of_tokens", "difference_of_requests"];
    let mut grid = Grid::new("populations", "Open share by population", &columns);
    let open = |split: &Split, measure| split.total.shares(measure).map(|shares| shares.open);
    let own = open(&figures.openness, Measure::Requests);
    let mut asked = Vec::new();
    for (name, options, split) in &figures.populations {
        let requests = split.total.shares(Measure::Requests);
        let difference = requests.zip(own).map(|(requests, own)| requests.open - own);
        grid.push(vec![
            Cell::text(*name),
            Cell::Count(split.total.total().requests),
            Cell::share(requests.map(|shares| shares.open)),
            requests.map_or(Cell::Nothing, |shares| Cell::Between(shares.open_lower, shares.open_upper)),
            Cell::share(open(split, Measure::Tokens)),
            Cell::change(difference),
        ]);
        asked.push(format!("weighbridge-aggregator split{}{options}", commands.period));
    }
    let section = Section {
        id: "populations",
        title: "And if other requests were counted?",
        commands: asked,
        ..Section::default()
    };
    if figures.populations.iter().all(|(_, _, split)| split.is_empty()) {
        return empty(section);
    }
    Section { tables: vec![grid], ..section }
}

/// A section of a split by one axis.
fn grouped(id: &'static str, title: &'static str, split: &Split, commands: &Commands) -> Section {
    let by = split.query.by.name();
    let section = Section {
        id,
        title,
        commands: vec![commands.with_filter("split", &format!(" --by {by}"))],
        ..Section::default()
    };
    if split.is_empty() {
        return empty(section);
    }
    let all = split.total.total().requests;
    let bars = split.groups.iter().take(TOP).filter_map(|group| {
        let part = Cell::part(group.total().requests, all).for_people();
        bar(&format!("{} ({part})", group.key), group, Measure::Requests)
    });
    Section {
        figure: Some(Figure {
            caption: format!("Requests by {by}: its part of all, and the classes within it"),
            plot: Plot::Bars(bars.collect()),
            legend: legend(),
        }),
        tables: vec![part_grid(split)],
        ..section
    }
}
