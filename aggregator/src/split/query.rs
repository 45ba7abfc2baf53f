//! A split from ClickHouse. Every value in the statement is a name of an enumeration or a number.

use clickhouse::Row;
use serde::Deserialize;
use weighbridge_catalog::Openness;

use super::{By, Group, OutcomeFilter, Source, Split, SplitError, SplitQuery, Sums};
use crate::store::Store;

#[derive(Row, Deserialize)]
struct Found {
    key: String,
    class: i8,
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// Asks ClickHouse.
///
/// # Errors
/// ClickHouse did not answer.
pub async fn query(store: &Store, query: &SplitQuery) -> Result<Split, SplitError> {
    let rows: Vec<Found> = store.rows(&statement(query)).await?;
    Ok(assemble(query.clone(), rows))
}

fn statement(query: &SplitQuery) -> String {
    let (table, time) = match query.source {
        Source::Rollup => ("{database}.traffic_1h", "hour"),
        Source::Ledger => ("{database}.ledger FINAL", "window_start"),
    };
    let key = match query.by {
        By::Openness => "''".to_owned(),
        By::Day => format!("toString(toDate({time}, 'UTC'))"),
        By::Hosting => "toString(hosting)".to_owned(),
        By::Environment => "toString(environment)".to_owned(),
        By::Family | By::Model => "toString(model)".to_owned(),
    };
    let operations: Vec<String> =
        query.operations.iter().map(|operation| format!("'{}'", operation.name())).collect();
    let outcome = match query.outcome {
        OutcomeFilter::Ok => " AND outcome = 'ok'",
        OutcomeFilter::All => "",
    };
    let sums = format!(
        "SELECT {key} AS key, CAST(openness, 'Int8') AS class, sum(requests) AS requests, \
         sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens FROM {table} \
         WHERE {time} >= toDateTime({}, 'UTC') AND {time} < toDateTime({}, 'UTC') \
         AND vantage = '{}' AND operation IN ({}){outcome} GROUP BY key, class",
        query.from.unix_timestamp(),
        query.to.unix_timestamp(),
        query.vantage.name(),
        operations.join(", "),
    );
    // Names after the sums: the join sees hundreds of rows instead of millions.
    let name = match query.by {
        By::Family => "if(names.family = '', 'unlisted', names.family)",
        By::Model => "if(names.name = '', concat('#', sums.key), names.name)",
        _ => return sums,
    };
    format!(
        "SELECT {name} AS key, class, sum(sums.requests) AS requests, sum(sums.input_tokens) AS input_tokens, \
         sum(sums.output_tokens) AS output_tokens FROM ({sums}) AS sums \
         LEFT JOIN {{database}}.models AS names ON names.id = toUInt32(sums.key) GROUP BY key, class"
    )
}

fn assemble(query: SplitQuery, rows: Vec<Found>) -> Split {
    let mut total = Group::new("total");
    let mut groups: Vec<Group> = Vec::new();
    if query.by == By::Openness {
        groups.extend(Openness::ALL.map(|openness| Group::new(openness.as_str())));
    }
    for row in rows {
        let openness = u64::try_from(row.class).ok().and_then(Openness::from_number).unwrap_or_default();
        let sums =
            Sums { requests: row.requests, input_tokens: row.input_tokens, output_tokens: row.output_tokens };
        total.add(openness, sums);
        let key = if query.by == By::Openness { openness.as_str() } else { &row.key };
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => group.add(openness, sums),
            None => {
                let mut group = Group::new(key);
                group.add(openness, sums);
                groups.push(group);
            }
        }
    }
    match query.by {
        By::Openness => groups.retain(|group| group.total() != Sums::default()),
        By::Day => groups.sort_by(|a, b| a.key.cmp(&b.key)),
        _ => {
            groups.sort_by(|a, b| b.total().requests.cmp(&a.total().requests).then_with(|| a.key.cmp(&b.key)))
        }
    }
    Split { query, total, groups }
}
