//! A split as a table for people, JSON or CSV.
//!
//! JSON and CSV hold the shares as numbers between 0 and 1, null or empty where there is nothing to share. CSV has one row per
//! group and measure, and the total as group `total`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{By, Group, Measure, OutcomeFilter, Source, Split, SplitQuery};
use crate::table::{columns, csv_field};

/// Form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One object.
    Json,
    /// One row per group and measure.
    Csv,
}

const NO_DATA: &str = "no data for this period";

/// The answer, with a newline at its end.
pub fn render(split: &Split, format: Format) -> String {
    match format {
        Format::Table => table(split),
        Format::Json => format!("{:#}\n", as_json(split)),
        Format::Csv => csv(split),
    }
}

fn rfc3339(at: OffsetDateTime) -> String {
    // Every time in a query has a four-digit year.
    at.format(&Rfc3339).unwrap_or_default()
}

fn operations(query: &SplitQuery) -> Vec<&'static str> {
    query.operations.iter().map(|operation| operation.name()).collect()
}

fn as_json(split: &Split) -> Value {
    let query = &split.query;
    let groups: Vec<Value> = split.groups.iter().map(|group| group_json(group, &split.total)).collect();
    json!({
        "from": rfc3339(query.from),
        "to": rfc3339(query.to),
        "by": query.by,
        "vantage": query.vantage.name(),
        "operations": operations(query),
        "outcome": query.outcome,
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
    let whole = measure.of(&total.total());
    (whole > 0).then(|| measure.of(&group.total()) as f64 / whole as f64)
}

fn csv(split: &Split) -> String {
    let by = split.query.by.name();
    let mut out =
        format!("{by},measure,count,of_total,open,restricted,closed,unknown,open_lower,open_upper\n");
    for group in split.groups.iter().chain([&split.total]) {
        for measure in Measure::ALL {
            let key = csv_field(&group.key);
            let count = measure.of(&group.total());
            let of_total =
                part(group, &split.total, measure).map(|part| part.to_string()).unwrap_or_default();
            let shares = match group.shares(measure) {
                None => ",,,,,".to_owned(),
                Some(s) => format!(
                    "{},{},{},{},{},{}",
                    s.open, s.restricted, s.closed, s.unknown, s.open_lower, s.open_upper
                ),
            };
            // Writing to a String does not fail.
            let _ = writeln!(out, "{key},{},{count},{of_total},{shares}", measure.name());
        }
    }
    out
}

fn table(split: &Split) -> String {
    let query = &split.query;
    let outcome = match query.outcome {
        OutcomeFilter::Ok => "served requests",
        OutcomeFilter::All => "requests of every outcome",
    };
    let source = match query.source {
        Source::Rollup => "rollup",
        Source::Ledger => "ledger",
    };
    let mut out = format!(
        "{} to {} (UTC), {outcome} of {} at vantage {}, from the {source}\n\n",
        rfc3339(query.from),
        rfc3339(query.to),
        operations(query).join(", "),
        query.vantage.name(),
    );
    if split.is_empty() {
        out.push_str(NO_DATA);
        out.push('\n');
        return out;
    }
    let groups = if query.by == By::Openness { classes(split) } else { grouped(split) };
    out.push_str(&columns(&groups));
    out.push('\n');
    out.push_str(&columns(&headline(&split.total)));
    out
}

/// Classes and their part of the total.
fn classes(split: &Split) -> Vec<Vec<String>> {
    let titles = ["openness", "requests", "share", "input_tokens", "share", "output_tokens", "share"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for group in split.groups.iter().chain([&split.total]) {
        let mut row = vec![group.key.clone()];
        for measure in [Measure::Requests, Measure::InputTokens, Measure::OutputTokens] {
            row.push(measure.of(&group.total()).to_string());
            row.push(percent(part(group, &split.total, measure)));
        }
        rows.push(row);
    }
    rows
}

/// Groups with the split of each, for requests and for tokens.
fn grouped(split: &Split) -> Vec<Vec<String>> {
    let mut titles = vec![split.query.by.name(), "requests", "input_tokens", "output_tokens"];
    titles.extend(["open", "restricted", "closed", "unknown", "open is between"]);
    titles.extend(["open/tokens", "closed/tokens", "unknown/tokens"]);
    let mut rows = vec![titles.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for group in split.groups.iter().chain([&split.total]) {
        let sums = group.total();
        let requests = group.shares(Measure::Requests);
        let tokens = group.shares(Measure::Tokens);
        let mut row = vec![group.key.clone()];
        row.extend([sums.requests, sums.input_tokens, sums.output_tokens].map(|count| count.to_string()));
        row.extend([
            percent(requests.map(|shares| shares.open)),
            percent(requests.map(|shares| shares.restricted)),
            percent(requests.map(|shares| shares.closed)),
            percent(requests.map(|shares| shares.unknown)),
            between(requests.map(|shares| (shares.open_lower, shares.open_upper))),
            percent(tokens.map(|shares| shares.open)),
            percent(tokens.map(|shares| shares.closed)),
            percent(tokens.map(|shares| shares.unknown)),
        ]);
        rows.push(row);
    }
    rows
}

/// The answer to the question.
fn headline(total: &Group) -> Vec<Vec<String>> {
    let titles = ["share of", "open", "of it restricted", "closed", "unknown", "open is between"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for measure in Measure::ALL {
        let shares = total.shares(measure);
        rows.push(vec![
            measure.name().to_owned(),
            percent(shares.map(|shares| shares.open)),
            percent(shares.map(|shares| shares.restricted)),
            percent(shares.map(|shares| shares.closed)),
            percent(shares.map(|shares| shares.unknown)),
            between(shares.map(|shares| (shares.open_lower, shares.open_upper))),
        ]);
    }
    rows
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

fn between(bounds: Option<(f64, f64)>) -> String {
    bounds.map_or("-".to_owned(), |(lower, upper)| {
        format!("{} and {}", percent(Some(lower)), percent(Some(upper)))
    })
}
