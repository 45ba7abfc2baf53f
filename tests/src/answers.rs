//! A ClickHouse with the project's schema and rows put straight into the ledger, rolled up by the project's own code.
//!
//! For tests of views and for the bench: no Kafka, no collector. The days of the rows are fixed, so the tables keep them for good.

use std::path::Path;

use serde_json::Value;
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config::{self, Retention};
use weighbridge_aggregator::load::rollup;
use weighbridge_aggregator::store::Store;
use weighbridge_aggregator::{migrate, register};

use crate::clickhouse::ClickHouse;

/// Long enough for fixed days until 2080.
const FOR_GOOD_DAYS: u16 = 20_000;

/// The server and its schema.
#[derive(Debug)]
pub struct Answers {
    /// The server.
    pub clickhouse: ClickHouse,
    /// Its database.
    pub store: Store,
}

impl Answers {
    /// Starts a server over `folder` and migrates it.
    pub async fn start(folder: &Path) -> Answers {
        let clickhouse = ClickHouse::start(folder).await;
        let retention = Retention { minute_days: 0, hour_days: 0, day_days: 0, participation_days: 0 };
        let config = config::ClickHouse {
            url: clickhouse.url(),
            ledger_ttl_days: FOR_GOOD_DAYS,
            retention,
            ..config::ClickHouse::default()
        };
        let store = Store::new(&config).expect("a plain connection");
        let register = register::read(None).expect("the register of the program");
        migrate::up(&store, &register).await.unwrap_or_else(|error| panic!("{error}"));
        Answers { clickhouse, store }
    }

    /// Rolls up what is in the ledger and the reports; gives the number of days of the ledger.
    pub async fn rebuild(&self) -> usize {
        let rebuilt = rollup::rebuild(&self.store, &Clock::default()).await;
        rebuilt.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The rows of a query's answer as objects, numbers as numbers.
    pub async fn rows(&self, sql: &str) -> Vec<Value> {
        let sql = format!("{sql} FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0");
        let text = self.clickhouse.query(&sql).await;
        text.lines().map(|line| serde_json::from_str(line).expect("a row of JSON")).collect()
    }

    /// `insert_cells` into its ledger.
    pub async fn ledger(&self, cells: &str, times: u64) {
        insert_cells(&self.clickhouse, cells, times).await;
    }
}

/// Inserts cells, a line each, fields by blanks; `#` begins a comment, blank lines are skipped:
/// `minute collector contributor environment product model openness hosting operation choice outcome requests attempts input output`,
/// collector and contributor as numbers (contributor 0: not authenticated), the model by its name in the register or `unlisted`.
/// Requests, attempts and tokens are taken `times`. Cells of a collector and minute are one report, in their order.
pub async fn insert_cells(clickhouse: &ClickHouse, cells: &str, times: u64) {
    let lines = cells.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let catalogue = weighbridge_catalog::embedded();
    let mut values = Vec::new();
    for (number, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [minute, collector, contributor, environment, product, model, dimensions @ ..] = &fields[..]
        else {
            panic!("too few fields: {line}")
        };
        let [openness, hosting, operation, choice, outcome, counts @ ..] = dimensions else {
            panic!("too few fields: {line}")
        };
        let model = match *model {
            "unlisted" => 0,
            name => catalogue.model_named(name).unwrap_or_else(|| panic!("no model {name}")).id().0,
        };
        let counts: Vec<u64> =
            counts.iter().map(|count| count.parse::<u64>().expect("a count") * times).collect();
        let [requests, attempts, input, output] = counts[..] else { panic!("four counts: {line}") };
        values.push(format!(
                "(toDateTime('{}', 'UTC'), '{}', 1, toUnixTimestamp(toDateTime('{}', 'UTC')), {number}, '{}', 60, 2026112301, '{environment}', 'gateway', '{product}', \
                 {model}, 1, '{openness}', '{hosting}', '{operation}', '{choice}', 'no', '{outcome}', {requests}, {attempts}, {input}, {output})",
                minute.replace('T', " "), uuid(collector), minute.replace('T', " "), uuid(contributor),
            ));
    }
    let columns = "window_start, collector_id, boot_epoch, sequence, cell, contributor, window_s, catalogue_version, environment, vantage, \
             gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, requests, attempts, input_tokens, output_tokens";
    clickhouse
        .query(&format!("INSERT INTO weighbridge.ledger ({columns}) VALUES {}", values.join(", ")))
        .await;
}

/// The id of a collector or contributor of a number.
pub fn uuid(number: &str) -> String {
    format!("00000000-0000-0000-0000-{number:0>12}")
}
