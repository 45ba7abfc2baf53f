//! From figures to sections. Pure: the same figures make the same page.

mod answers;
mod methods;

use time::{OffsetDateTime, Time};
use weighbridge_catalog::Openness;

use super::ReportQuery;
use super::charts::{Bar, Range, Tone, shortened};
use super::figures::{Figures, cohorts, environments_named};
use super::page::{Figure, Page, Plot, Section};
use crate::answers::{Cell, Document, Filter, Grid, NO_DATA, Period, percent, rfc3339};
use crate::split::{Counting, Group, Measure, Split, class_grid, counting_grid, headline_grid, part_grid};

/// Rows of a chart and of a table of models; the command has all.
const TOP: usize = 25;
/// Of a group's name in a chart, with its part of all behind it.
const KEY_CHARACTERS: usize = 20;

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
    let mut sections = vec![
        headline(figures, &commands),
        side_by_side(figures, &commands),
        over_time(figures, &commands),
        countings(figures, &commands),
        populations(figures, &commands),
        grouped("environment", "Prototype or production?", &figures.environment, &commands),
        grouped("hosting", "Who can run it?", &figures.hosting, &commands),
        grouped("licences", "How free are the weights?", &figures.licence, &commands),
        answers::adoption(figures, &commands),
        answers::production(figures, &commands),
        answers::fallbacks(figures, &commands),
        answers::outcomes(figures, &commands, &query.filter),
        answers::retention(figures, &commands),
        answers::models(figures, &commands),
        answers::coverage(figures, &commands),
        methods::section(figures),
    ];
    if !is_what_views_count(&query.filter) {
        for section in sections.iter_mut().filter(|section| FROM_VIEWS.contains(&section.id)) {
            section.notes.push(VIEWS_COUNT.to_owned());
        }
    }
    Page { title: "Where the AI traffic went".to_owned(), scope, sections }
}

/// Sections whose views know no other vantage, operation and outcome.
const FROM_VIEWS: [&str; 6] = ["units", "adoption", "production", "fallbacks", "retention", "coverage"];
const VIEWS_COUNT: &str = "Organisations, fallbacks, retention and coverage are of served chat and text completion at gateways, whatever \
                           the report's filter.";

fn is_what_views_count(filter: &Filter) -> bool {
    *filter == Filter { environments: filter.environments.clone(), ..Filter::default() }
}

/// The command line of a figure.
struct Commands {
    period: String,
    /// The days that the period touches.
    days: String,
    /// The months whose collectors can be followed into it.
    cohorts: String,
    filter: String,
    /// The environments of the filter.
    environment: String,
}

impl Commands {
    fn new(query: &ReportQuery) -> Commands {
        let time = |at: OffsetDateTime| match at.time() == Time::MIDNIGHT {
            true => at.date().to_string(),
            false => rfc3339(at),
        };
        let options = |period: &Period| format!(" --from {} --to {}", time(period.from), time(period.to));
        let environment = match environments_named(&query.filter).as_slice() {
            [] => String::new(),
            names => format!(" --environment {}", names.join(",")),
        };
        Commands {
            period: options(&query.period),
            days: options(&query.period.days_touched()),
            cohorts: options(&cohorts(&query.period)),
            filter: query.filter.as_options(),
            environment,
        }
    }

    /// A command over the report's period and filter.
    fn with_filter(&self, command: &str, more: &str) -> String {
        format!("weighbridge-aggregator {command}{}{}{more}", self.period, self.filter)
    }

    /// A command over the report's period and environments.
    fn with_environment(&self, command: &str) -> String {
        format!("weighbridge-aggregator {command}{}{}", self.period, self.environment)
    }

    /// A command over whole days.
    fn of_days(&self, command: &str) -> String {
        format!("weighbridge-aggregator {command}{}{}", self.days, self.environment)
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
    let known = shares
        .open_of_known
        .map_or_else(String::new, |share| format!(" Of those whose model is known, {} did.", percent(share)));
    let statement = format!(
        "Between {} and {} of requests went to open-weight models.{known}",
        percent(shares.open_lower),
        percent(shares.open_upper),
    );
    let rows = [Measure::Requests, Measure::InputTokens, Measure::OutputTokens, Measure::Tokens];
    let bars =
        rows.iter().filter_map(|measure| bar(&measure.name().replace('_', " "), &split.total, *measure));
    Section {
        statement: Some(statement),
        paragraphs: vec![format!(
            "The bounds are what the share would be if the unknown {} of requests were all closed, or all open. {} went to closed \
             models, and {} to open weights whose licence limits their use.",
            percent(shares.unknown),
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

/// Requests, tokens and organisations.
fn side_by_side(figures: &Figures, commands: &Commands) -> Section {
    let columns = ["unit", "open_lower", "open_of_known", "open_upper"];
    let mut grid = Grid::new("units", "Open share by unit", &columns);
    for measure in [Measure::Requests, Measure::InputTokens, Measure::OutputTokens] {
        if let Some(shares) = figures.openness.total.shares(measure) {
            let name = measure.name().replace('_', " ");
            grid.push(vec![
                Cell::text(name),
                Cell::Share(shares.open_lower),
                Cell::share(shares.open_of_known),
                Cell::Share(shares.open_upper),
            ]);
        }
    }
    for (of, shares) in organisations(&figures.adoption) {
        for (name, lower, share, upper) in shares {
            grid.push(vec![Cell::text(format!("{name}, {of}")), lower, share, upper]);
        }
    }
    let section = Section {
        id: "units",
        title: "Is presence commitment?",
        commands: vec![commands.with_filter("split", ""), commands.of_days("adoption")],
        ..Section::default()
    };
    if grid.rows.is_empty() {
        return empty(section);
    }
    let ranges = grid.rows.iter().filter_map(|row| match row.as_slice() {
        [Cell::Text(label), Cell::Share(lower), Cell::Share(value), Cell::Share(upper)] => {
            // Which four weeks is in the table.
            let label = label.split(", four weeks").next().unwrap_or(label).to_owned();
            Some(Range { label, value: *value, lower: *lower, upper: *upper })
        }
        _ => None,
    });
    Section {
        paragraphs: vec![
            "The same traffic by requests, by tokens and by organisations. An organisation with any open traffic counts as much as \
             one that has moved all of it; that is why presence alone says little about where the traffic goes."
                .to_owned(),
        ],
        figure: Some(Figure {
            caption: "Open share by unit, with what is unknown".to_owned(),
            plot: Plot::Ranges(ranges.collect()),
            legend: range_legend(),
        }),
        tables: vec![grid],
        ..section
    }
}

fn range_legend() -> Vec<(Tone, &'static str)> {
    vec![
        (Tone::Permissive, "open share of what is known"),
        (Tone::Unknown, "from unknown as closed to unknown as open"),
    ]
}

type Bounds = (&'static str, Cell, Cell, Cell);

/// Of the newest span that is over, else of the one that runs, by environment: any open traffic, most of it, sustained use, each with
/// its bounds.
fn organisations(adoption: &Document) -> Vec<(String, Vec<Bounds>)> {
    let [spans, bounds, ..] = adoption.tables.as_slice() else { return Vec::new() };
    let of = |grid: &Grid, row: &[Cell], name: &str| {
        let at = grid.columns.iter().position(|column| *column == name);
        at.and_then(|at| row.get(at)).cloned().unwrap_or(Cell::Nothing)
    };
    let is_over = |row: &&Vec<Cell>| of(spans, row, "complete") == Cell::text("yes");
    let Some(newest) = spans.rows.iter().rfind(is_over).or(spans.rows.last()) else { return Vec::new() };
    let span = of(spans, newest, "span");
    // Both tables are the same rows of one view in one order.
    let rows = spans.rows.iter().zip(&bounds.rows).filter(|(row, _)| of(spans, row, "span") == span);
    rows.map(|(row, bound)| {
        let (own, other) = (|name| of(spans, row, name), |name| of(bounds, bound, name));
        let any = own("with_open_share");
        let sustained = own("with_sustained_share");
        let shares = vec![
            ("organisations, any open", any.clone(), any, other("with_open_max_share")),
            (
                "organisations, mostly open",
                other("with_majority_min_share"),
                own("with_majority_share"),
                other("with_majority_max_share"),
            ),
            (
                "organisations, sustained open",
                sustained.clone(),
                sustained,
                other("with_sustained_max_share"),
            ),
        ];
        let place = match own("environment").for_people().as_str() {
            "all" => String::new(),
            environment => format!("{environment}, "),
        };
        let runs = if own("complete") == Cell::text("yes") { "" } else { " (they still run)" };
        (format!("{place}four weeks from {}{runs}", span.for_people()), shares)
    })
    .collect()
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
        bar(&format!("{} ({part})", shortened(&group.key, KEY_CHARACTERS)), group, Measure::Requests)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn adoption(rows: &[(&str, &str, &str)]) -> Document {
        let mut spans = Grid::new(
            "spans",
            "",
            &[
                "span",
                "environment",
                "with_open_share",
                "with_majority_share",
                "with_sustained_share",
                "complete",
            ],
        );
        let mut bounds = Grid::new(
            "bounds",
            "",
            &[
                "with_open_max_share",
                "with_majority_min_share",
                "with_majority_max_share",
                "with_sustained_max_share",
            ],
        );
        for (span, environment, complete) in rows {
            let share = Cell::Share(0.5);
            let names = [Cell::text(*span), Cell::text(*environment)];
            spans.push(
                [&names[..], &[share.clone(), share, Cell::Suppressed, Cell::text(*complete)]].concat(),
            );
            bounds.push(vec![Cell::Share(0.75); 4]);
        }
        Document {
            heading: String::new(),
            asked: serde_json::Map::new(),
            tables: vec![spans, bounds],
            notes: Vec::new(),
        }
    }

    #[test]
    fn organisations_are_of_four_weeks_that_are_over() {
        let names = |rows: &[(&str, &str, &str)]| -> Vec<String> {
            organisations(&adoption(rows)).into_iter().map(|(name, _)| name).collect()
        };
        let (october, november) = (("2026-10-26", "all", "yes"), ("2026-11-23", "all", "no"));
        assert_eq!(names(&[october, november]), ["four weeks from 2026-10-26"]);
        assert_eq!(names(&[november]), ["four weeks from 2026-11-23 (they still run)"]);
        let two = [("2026-10-26", "production", "yes"), ("2026-10-26", "staging", "yes")];
        assert_eq!(
            names(&two),
            ["production, four weeks from 2026-10-26", "staging, four weeks from 2026-10-26"]
        );
        assert!(names(&[]).is_empty());
        let shares = organisations(&adoption(&[october])).remove(0).1;
        assert_eq!(
            shares[0],
            ("organisations, any open", Cell::Share(0.5), Cell::Share(0.5), Cell::Share(0.75))
        );
        assert_eq!(shares[2].2, Cell::Suppressed);
    }

    #[test]
    fn other_filters_are_not_what_views_count() {
        let filter = Filter::default();
        assert!(is_what_views_count(&filter));
        let production =
            Filter { environments: vec![weighbridge_proto::v1::Environment::Production], ..filter.clone() };
        assert!(is_what_views_count(&production));
        let servers = Filter { vantage: weighbridge_proto::v1::Vantage::Server, ..filter };
        assert!(!is_what_views_count(&servers));
    }
}
