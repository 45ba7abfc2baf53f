//! `bench-panels [--runs N] [--queries FILE]`: the cost of panels over a generated year of 100,000 collectors.
//!
//! Prints bytes a row and a column, then for each query rows read, median, p95 and the slowest run on two threads. Fails when a query
//! reads more than two million rows or answers nothing; never by time, which depends on the machine: the goal is a p95 of 50 ms on two
//! free cores. FILE: more queries, a JSON array of {"name", "sql"}.

use std::process::ExitCode;

use serde_json::Value;
use weighbridge_tests::answers::Answers;
use weighbridge_tests::panels::{self, Query};

const USAGE: &str = "use --runs (a number), --queries (a file)";
/// A panel may read so many rows.
const MAX_ROWS_READ: u64 = 2_000_000;
/// So that a p95 is one of the runs.
const RUNS: usize = 40;

struct Plan {
    runs: usize,
    more: Vec<Query>,
}

fn plan() -> Result<Plan, String> {
    let mut plan = Plan { runs: RUNS, more: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or(USAGE)?;
        match name.as_str() {
            "--runs" => plan.runs = value.parse().map_err(|_| format!("{name} takes a number; {USAGE}"))?,
            "--queries" => {
                plan.more = read(&value).ok_or_else(|| format!("{value} is no array of name and sql"))?
            }
            _ => return Err(format!("{name} is unknown; {USAGE}")),
        }
    }
    Ok(plan)
}

fn read(path: &str) -> Option<Vec<Query>> {
    let value: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let text = |query: &Value, field: &str| query[field].as_str().map(str::to_owned);
    value
        .as_array()?
        .iter()
        .map(|query| Some(Query { name: text(query, "name")?, sql: text(query, "sql")? }))
        .collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let plan = match plan() {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("bench-panels: {error}");
            return ExitCode::from(64);
        }
    };
    let folder = tempfile::tempdir().expect("a folder");
    let answers = Answers::start(folder.path()).await;
    panels::generate(&answers, |line| println!("{line}")).await;
    println!(
        "\n{:22} {:>12} {:>8} {:>8}\n{}\n",
        "table",
        "rows",
        "B/row",
        "B/column",
        panels::sizes(&answers).await.replace('\t', " ")
    );
    println!(
        "{:42} {:>10} {:>7} {:>9} {:>9} {:>9}",
        "panel", "rows read", "rows", "p50 ms", "p95 ms", "max ms"
    );
    let mut failures = 0;
    let dashboards = panels::of_dashboards(&answers).await;
    for query in panels::queries().iter().chain(&dashboards).chain(&plan.more) {
        let cost = panels::measure(&answers, query, plan.runs).await;
        let wrong = match cost {
            _ if cost.rows_read > MAX_ROWS_READ => "  TOO MANY ROWS READ",
            _ if cost.rows == 0 => "  NO ROWS",
            _ => "",
        };
        failures += usize::from(!wrong.is_empty());
        println!(
            "{:42} {:>10} {:>7} {:>9.1} {:>9.1} {:>9.1}{wrong}",
            query.name,
            cost.rows_read,
            cost.rows,
            cost.percentile(50),
            cost.percentile(95),
            cost.percentile(100)
        );
    }
    answers.clickhouse.stop().await;
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
