//! A split in its four forms.
//!
//! JSON and CSV hold the shares as numbers between 0 and 1, null or empty where there is nothing to share. CSV has one row per
//! group and measure, and the total as group `total`. Table and Markdown are for people.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{By, Counting, Group, Measure, Shares, Source, Split};
use crate::answers::{self, Cell, Document, Format, Grid, NO_DATA, no_data_row, rfc3339, share_of};
use crate::table::csv_field;

/// The answer, with a newline at its end.
pub fn render(split: &Split, format: Format) -> String {
    match format {
        Format::Table | Format::Markdown => answers::render(&document(split), format),
        Format::Json => format!("{:#}\n", as_json(split)),
        Format::Csv => csv(split),
    }
}

fn as_json(split: &Split) -> Value {
    let query = &split.query;
    let groups: Vec<Value> = split.groups.iter().map(|group| group_json(group, &split.total)).collect();
    json!({
        "from": rfc3339(query.period.from),
        "to": rfc3339(query.period.to),
        "by": query.by,
        "environments": query.filter.environment_names(),
        "vantage": query.filter.vantage.name(),
        "operations": query.filter.operation_names(),
        "selection": query.filter.selection.names(),
        "outcome": query.filter.outcome,
        "source": query.source,
        "message": if split.is_empty() { Value::from(NO_DATA) } else { Value::Null },
        "total": if split.is_empty() { Value::Null } else { group_json(&split.total, &split.total) },
        "groups": groups,
    })
}

fn group_json(group: &Group, total: &Group) -> Value {
    let sums = group.total();
    let mut shares = Map::new();
    let mut of_total = Map::new();
    for measure in Measure::ALL {
        shares.insert(measure.name().to_owned(), json!(group.shares(measure)));
        of_total.insert(measure.name().to_owned(), json!(part(group, total, measure)));
    }
    json!({
        "group": group.key,
        "requests": sums.requests,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "of_total": of_total,
        "shares": shares,
    })
}

/// The group's part of the total; none of nothing.
fn part(group: &Group, total: &Group, measure: Measure) -> Option<f64> {
    share_of(measure.of(&group.total()), measure.of(&total.total()))
}

fn csv(split: &Split) -> String {
    let by = split.query.by.name();
    let columns = "measure,count,of_total,open,restricted,closed,unknown,open_lower,open_upper,open_of_known";
    let mut out = format!("{by},{columns}\n");
    if split.is_empty() {
        out.push_str(&no_data_row(columns.split(',').count() + 1));
        return out;
    }
    for group in split.groups.iter().chain([&split.total]) {
        for measure in Measure::ALL {
            let key = csv_field(&group.key);
            let count = measure.of(&group.total());
            let of_total =
                part(group, &split.total, measure).map(|part| part.to_string()).unwrap_or_default();
            let shares = match group.shares(measure) {
                None => ",,,,,,".to_owned(),
                Some(s) => format!(
                    "{},{},{},{},{},{},{}",
                    s.open,
                    s.restricted,
                    s.closed,
                    s.unknown,
                    s.open_lower,
                    s.open_upper,
                    s.open_of_known.map(|share| share.to_string()).unwrap_or_default()
                ),
            };
            // Writing to a String does not fail.
            let _ = writeln!(out, "{key},{},{count},{of_total},{shares}", measure.name());
        }
    }
    out
}

fn document(split: &Split) -> Document {
    let query = &split.query;
    let source = match query.source {
        Source::Rollup => "rollup",
        Source::Ledger => "ledger",
    };
    let heading = format!(
        "{} to {} (UTC), {}, from the {source}",
        rfc3339(query.period.from),
        rfc3339(query.period.to),
        query.filter.in_words(),
    );
    let groups = match query.by {
        By::Openness => class_grid(split),
        By::Counting => counting_grid(split),
        _ => part_grid(split),
    };
    let tables = if split.is_empty() {
        vec![Grid::new("groups", "", &[])]
    } else {
        vec![groups, headline_grid(&split.total)]
    };
    let notes = match query.by {
        By::Counting => {
            Counting::ALL.iter().map(|rule| format!("{}: {}", rule.name(), rule.rule())).collect()
        }
        _ => Vec::new(),
    };
    Document { heading, asked: Map::new(), tables, notes }
}

/// Classes and their part of the total.
pub(crate) fn class_grid(split: &Split) -> Grid {
    let columns = [
        "openness",
        "requests",
        "share_of_requests",
        "input_tokens",
        "share_of_input",
        "output_tokens",
        "share_of_output",
    ];
    let mut grid = Grid::new("classes", "Requests and tokens by class", &columns);
    for group in split.groups.iter().chain([&split.total]) {
        let mut row = vec![Cell::text(&group.key)];
        for measure in [Measure::Requests, Measure::InputTokens, Measure::OutputTokens] {
            row.push(Cell::Count(measure.of(&group.total())));
            row.push(Cell::share(part(group, &split.total, measure)));
        }
        grid.push(row);
    }
    grid
}

/// Ways of counting, each of the whole, and how far each is from the first, the program's own.
pub(crate) fn counting_grid(split: &Split) -> Grid {
    let columns = [
        "counting",
        "open_of_requests",
        "open_of_input_tokens",
        "open_of_output_tokens",
        "open_of_tokens",
        "unknown_of_requests",
        "difference_of_requests",
    ];
    let mut grid = Grid::new("groups", "Open share by way of counting", &columns);
    let open = |group: &Group, measure| group.shares(measure).map(|shares| shares.open);
    let own = open(&split.total, Measure::Requests);
    for group in &split.groups {
        let requests = group.shares(Measure::Requests);
        let difference = requests.zip(own).map(|(requests, own)| requests.open - own);
        grid.push(vec![
            Cell::text(&group.key),
            Cell::share(open(group, Measure::Requests)),
            Cell::share(open(group, Measure::InputTokens)),
            Cell::share(open(group, Measure::OutputTokens)),
            Cell::share(open(group, Measure::Tokens)),
            Cell::share(requests.map(|shares| shares.unknown)),
            Cell::change(difference),
        ]);
    }
    grid
}

/// Groups with the split of each, for requests and for tokens.
pub(crate) fn part_grid(split: &Split) -> Grid {
    let by = split.query.by;
    let columns = [
        by.name(),
        "requests",
        "input_tokens",
        "output_tokens",
        "open",
        "restricted",
        "closed",
        "unknown",
        "open_is_between",
        "open_of_tokens",
        "closed_of_tokens",
        "unknown_of_tokens",
    ];
    let mut grid = Grid::new("groups", format!("Requests and tokens by {}", by.name()), &columns);
    for group in split.groups.iter().chain([&split.total]) {
        let sums = group.total();
        let requests = group.shares(Measure::Requests);
        let tokens = group.shares(Measure::Tokens);
        let mut row = vec![Cell::text(&group.key)];
        row.extend([sums.requests, sums.input_tokens, sums.output_tokens].map(Cell::Count));
        row.extend([
            Cell::share(requests.map(|shares| shares.open)),
            Cell::share(requests.map(|shares| shares.restricted)),
            Cell::share(requests.map(|shares| shares.closed)),
            Cell::share(requests.map(|shares| shares.unknown)),
            between(requests),
            Cell::share(tokens.map(|shares| shares.open)),
            Cell::share(tokens.map(|shares| shares.closed)),
            Cell::share(tokens.map(|shares| shares.unknown)),
        ]);
        grid.push(row);
    }
    grid
}

/// The answer to the question.
pub(crate) fn headline_grid(total: &Group) -> Grid {
    let columns =
        ["share_of", "open", "of_it_restricted", "closed", "unknown", "open_is_between", "open_of_known"];
    let mut grid = Grid::new("headline", "The split", &columns);
    for measure in Measure::ALL {
        let shares = total.shares(measure);
        grid.push(vec![
            Cell::text(measure.name()),
            Cell::share(shares.map(|shares| shares.open)),
            Cell::share(shares.map(|shares| shares.restricted)),
            Cell::share(shares.map(|shares| shares.closed)),
            Cell::share(shares.map(|shares| shares.unknown)),
            between(shares),
            Cell::share(shares.and_then(|shares| shares.open_of_known)),
        ]);
    }
    grid
}

fn between(shares: Option<Shares>) -> Cell {
    shares.map_or(Cell::Nothing, |shares| Cell::Between(shares.open_lower, shares.open_upper))
}
