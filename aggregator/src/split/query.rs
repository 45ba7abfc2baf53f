//! A split from ClickHouse. Every value in the statement is a name of an enumeration or a number.

use clickhouse::Row;
use serde::Deserialize;
use time::Duration;
use weighbridge_catalog::Openness;

use super::{By, Group, Source, Split, SplitQuery, Sums, counting};
use crate::answers::{AnswerError, Period, asked};
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
pub async fn query(store: &Store, query: &SplitQuery) -> Result<Split, AnswerError> {
    if query.by == By::Counting {
        return counting::query(store, query).await;
    }
    let rows: Vec<Found> = store.rows(&statement(query)).await.map_err(asked)?;
    Ok(assemble(query.clone(), rows))
}

/// Longer periods of whole days are read from the rollup of days: a twentieth of the rows, and kept for good.
const HOURS_READ: Duration = Duration::days(62);

/// Table and its column of time.
pub(super) fn table(query: &SplitQuery) -> (&'static str, &'static str) {
    match query.source {
        // A day has no hours.
        Source::Rollup if query.by == By::Hour => ("{database}.traffic_1h", "hour"),
        Source::Rollup => rollup_of(&query.period),
        Source::Ledger => ("{database}.ledger FINAL", "window_start"),
    }
}

/// The rollup for a period, and its column of time.
pub(crate) fn rollup_of(period: &Period) -> (&'static str, &'static str) {
    if period.is_of_days() && period.to - period.from > HOURS_READ {
        ("{database}.traffic_1d", "day")
    } else {
        ("{database}.traffic_1h", "hour")
    }
}

/// The licence of a model on the day of the traffic, by the register of now.
pub(crate) fn licence_on(time: &str) -> String {
    let licence =
        format!("dictGet('{{database}}.model_on_day', 'licence', toUInt64(model), toDate32({time}, 'UTC'))");
    format!("if({licence} = '', 'not known', {licence})")
}

/// The sums per value of `key` and class.
fn sums(query: &SplitQuery, key: &str) -> String {
    let (table, time) = table(query);
    format!(
        "SELECT {key} AS key, CAST(openness, 'Int8') AS class, sum(requests) AS requests, \
         sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens FROM {table} \
         WHERE {} AND {} GROUP BY key, class",
        query.period.covers_time(time),
        query.filter.condition(),
    )
}

fn statement(query: &SplitQuery) -> String {
    let (_, time) = table(query);
    // Names after the sums: the join sees hundreds of rows instead of millions.
    let (key, register, name) = match query.by {
        By::Openness | By::Counting => return sums(query, "''"),
        By::Hour => return sums(query, &format!("formatDateTime({time}, '%Y-%m-%dT%H:00Z', 'UTC')")),
        By::Day => return sums(query, &format!("toString(toDate({time}, 'UTC'))")),
        By::Month => return sums(query, &format!("formatDateTime({time}, '%Y-%m', 'UTC')")),
        By::Hosting => return sums(query, "toString(hosting)"),
        By::Environment => return sums(query, "toString(environment)"),
        By::Product => return sums(query, "toString(gateway_product)"),
        By::Choice => return sums(query, "toString(choice)"),
        By::Outcome => return sums(query, "toString(outcome)"),
        By::Licence => return sums(query, &licence_on(time)),
        By::Provider => ("provider", "providers", "if(names.name = '', concat('#', sums.key), names.name)"),
        By::Developer => ("model", "models", "if(names.developer = '', 'unlisted', names.developer)"),
        By::Family => ("model", "models", "if(names.family = '', 'unlisted', names.family)"),
        By::Model => ("model", "models", "if(names.name = '', concat('#', sums.key), names.name)"),
    };
    format!(
        "SELECT {name} AS key, class, sum(sums.requests) AS requests, sum(sums.input_tokens) AS input_tokens, \
         sum(sums.output_tokens) AS output_tokens FROM ({}) AS sums \
         LEFT JOIN {{database}}.{register} AS names ON names.id = toUInt32(sums.key) GROUP BY key, class",
        sums(query, &format!("toString({key})"))
    )
}

pub(super) fn class(number: i8) -> Openness {
    u64::try_from(number).ok().and_then(Openness::from_number).unwrap_or_default()
}

fn assemble(query: SplitQuery, rows: Vec<Found>) -> Split {
    let mut total = Group::new("total");
    let mut groups: Vec<Group> = Vec::new();
    if query.by == By::Openness {
        groups.extend(Openness::ALL.map(|openness| Group::new(openness.as_str())));
    }
    for row in rows {
        let openness = class(row.class);
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
        By::Hour | By::Day | By::Month => groups.sort_by(|a, b| a.key.cmp(&b.key)),
        _ => {
            groups.sort_by(|a, b| b.total().requests.cmp(&a.total().requests).then_with(|| a.key.cmp(&b.key)))
        }
    }
    Split { query, total, groups }
}
