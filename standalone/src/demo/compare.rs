//! The comparison: what ClickHouse holds against what the generator sent, cell by cell, and the split beside the truth.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use weighbridge_aggregator::answers::{Filter, Period};
use weighbridge_aggregator::config;
use weighbridge_aggregator::split::{By, Group, Source, SplitQuery, Sums, query};
use weighbridge_aggregator::store::Store;
use weighbridge_catalog::{ModelId, Openness};
use weighbridge_proto::cells::Counts;
use weighbridge_proto::v1::{Operation, Outcome};

use super::traffic::{Key, Truth};

/// Load inserts within a second of the acknowledgement; a broker's first group join takes three.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

const COUNTED: &str = "
SELECT model, toString(openness) AS openness, toString(outcome) AS outcome, toString(choice) AS choice,
       toString(streaming) AS streaming, sum(requests) AS requests, sum(attempts) AS attempts,
       sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM ledger FINAL
WHERE window_start >= toDateTime(?, 'UTC')
GROUP BY model, openness, outcome, choice, streaming";

#[derive(clickhouse::Row, Deserialize)]
struct Counted {
    model: u32,
    openness: String,
    outcome: String,
    choice: String,
    streaming: String,
    requests: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// What the ledger holds of windows from `began_s` (Unix seconds) on.
pub(super) async fn counted(clickhouse: &config::ClickHouse, began_s: u64) -> anyhow::Result<Truth> {
    let client = clickhouse::Client::default().with_url(&clickhouse.url).with_database(&clickhouse.database);
    let rows: Vec<Counted> = client.query(COUNTED).bind(began_s).fetch_all().await.context("the ledger")?;
    let catalogue = weighbridge_catalog::embedded();
    let mut counted = Truth::default();
    for row in rows {
        let model =
            Some(ModelId(row.model)).filter(|id| *id != ModelId::UNLISTED).and_then(|id| catalogue.model(id));
        let key = Key {
            model: model.map_or("unlisted", |model| model.name()).to_owned(),
            openness: row.openness,
            outcome: row.outcome,
            choice: row.choice,
            streaming: row.streaming,
        };
        let Counted { requests, attempts, input_tokens, output_tokens, .. } = row;
        counted.add(key, Counts { requests, attempts, input_tokens, output_tokens });
    }
    Ok(counted)
}

/// Waits until the ledger holds `truth` beside `before`, and prints the split beside the truth.
///
/// # Errors
/// They are not equal in time, or ClickHouse cannot be asked.
pub(super) async fn compare(
    clickhouse: &config::ClickHouse,
    began_s: u64,
    before: &Truth,
    truth: &Truth,
) -> anyhow::Result<()> {
    let mut expected = before.clone();
    truth.0.iter().for_each(|(key, counts)| expected.add(key.clone(), *counts));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let found = loop {
        let found = counted(clickhouse, began_s).await?;
        if found == expected || tokio::time::Instant::now() > deadline {
            break found;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    print_split(clickhouse, began_s, &expected).await?;
    if found != expected {
        print_differences(&found, &expected);
        bail!("the split differs from what was sent");
    }
    println!(
        "equal to the generator's truth in all {} cells, to the request and to the token",
        expected.0.len()
    );
    Ok(())
}

async fn print_split(clickhouse: &config::ClickHouse, began_s: u64, expected: &Truth) -> anyhow::Result<()> {
    let from = time::OffsetDateTime::from_unix_timestamp(began_s.cast_signed())?;
    let asked = SplitQuery {
        period: Period { from, to: from + time::Duration::days(1) },
        by: By::Openness,
        filter: Filter { operations: vec![Operation::Chat], ..Filter::default() },
        source: Source::Ledger,
    };
    let split = query(&Store::new(clickhouse)?, &asked).await.context("split")?.total;
    let mut sent = Group::new("sent");
    for (key, counts) in &expected.0 {
        let class = Openness::ALL.into_iter().find(|class| class.as_str() == key.openness);
        if let Some(class) = class.filter(|_| key.outcome == Outcome::Ok.name()) {
            let Counts { requests, input_tokens, output_tokens, .. } = *counts;
            sent.add(class, Sums { requests, input_tokens, output_tokens });
        }
    }
    println!("\nserved requests and tokens by openness of the weights, split | generator's truth");
    let line = |name: &str, split: Sums, sent: Sums| {
        println!(
            "{name:<20} {:>9} | {:<9} requests  {:>12} | {:<12} input tokens  {:>12} | {:<12} output tokens",
            split.requests,
            sent.requests,
            split.input_tokens,
            sent.input_tokens,
            split.output_tokens,
            sent.output_tokens
        );
    };
    for class in Openness::ALL {
        line(class.as_str(), split.class(class), sent.class(class));
    }
    line("all", split.total(), sent.total());
    for measure in
        [weighbridge_aggregator::split::Measure::Requests, weighbridge_aggregator::split::Measure::Tokens]
    {
        if let Some(shares) = split.shares(measure) {
            println!(
                "open share of {}: {:.1} %, between {:.1} and {:.1} % whatever the unknown {:.1} % are; {:.1} points of it under restricted licences",
                measure.name(),
                100.0 * shares.open,
                100.0 * shares.open_lower,
                100.0 * shares.open_upper,
                100.0 * shares.unknown,
                100.0 * shares.restricted
            );
        }
    }
    println!();
    Ok(())
}

fn print_differences(found: &Truth, expected: &Truth) {
    let keys: BTreeSet<&Key> = found.0.keys().chain(expected.0.keys()).collect();
    for key in keys {
        let (found, expected) = (found.0.get(key), expected.0.get(key));
        if found != expected {
            println!("DIFFERENT {key:?}: counted {found:?}, sent {expected:?}");
        }
    }
}
