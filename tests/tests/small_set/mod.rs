//! A day of four collectors whose every answer can be worked out by hand.
//!
//! What counts for the split (served chat at gateways): a hundred requests.
//!
//! | collector | environment | model | class | hosting | requests | input | output |
//! |---|---|---|---|---|---|---|---|
//! | 1 | production | claude-sonnet-4.5 | closed | first party | 40 | 4,000 | 400 |
//! | 1 | production | deepseek-v3.2 | open, permissive, after a rate limit | third party | 10 | 1,000 | 100 |
//! | 2 | production | claude-sonnet-4.5 | closed | first party | 20 | 2,000 | 200 |
//! | 3 | staging | llama-3.3 | open, restricted | self-hosted | 20 | 10,000 | 200 |
//! | 3 | staging | a name outside the register | unknown | unknown | 10 | 1,000 | 100 |
//!
//! Open 10 + 20 = 30, closed 40 + 20 = 60, unknown 10; of 18,000 input tokens 11,000 open, of 1,000 output tokens 300.
//! Beside it: ten attempts at claude-sonnet-4.5 that were rate limited and went on to deepseek-v3.2; five requests of collector 4 that
//! failed; 700 embeddings of collector 4 by an open-source model.
#![allow(missing_docs, unreachable_pub)]

use crate::aggregator::{Rig, midnight};

/// Days ago.
pub const DAYS_AGO: u64 = 2;

struct Row {
    collector: u8,
    environment: &'static str,
    model: &'static str,
    provider: u16,
    openness: &'static str,
    hosting: &'static str,
    operation: &'static str,
    choice: &'static str,
    outcome: &'static str,
    requests: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
}

const SERVED: Row = Row {
    collector: 1,
    environment: "production",
    model: "claude-sonnet-4.5",
    provider: 1,
    openness: "closed",
    hosting: "first_party",
    operation: "chat",
    choice: "first",
    outcome: "ok",
    requests: 40,
    attempts: 40,
    input_tokens: 4_000,
    output_tokens: 400,
};

fn rows() -> Vec<Row> {
    vec![
        SERVED,
        Row {
            outcome: "rate_limited",
            requests: 0,
            attempts: 10,
            input_tokens: 0,
            output_tokens: 0,
            ..SERVED
        },
        Row {
            model: "deepseek-v3.2",
            provider: 2,
            openness: "open-permissive",
            hosting: "third_party",
            choice: "fallback",
            requests: 10,
            attempts: 10,
            input_tokens: 1_000,
            output_tokens: 100,
            ..SERVED
        },
        Row { collector: 2, requests: 20, attempts: 20, input_tokens: 2_000, output_tokens: 200, ..SERVED },
        Row {
            collector: 3,
            environment: "staging",
            model: "llama-3.3",
            provider: 3,
            openness: "open-restricted",
            hosting: "self_hosted",
            requests: 20,
            attempts: 20,
            input_tokens: 10_000,
            output_tokens: 200,
            ..SERVED
        },
        Row {
            collector: 3,
            environment: "staging",
            model: "",
            provider: 0,
            openness: "unknown",
            hosting: "unknown",
            requests: 10,
            attempts: 10,
            input_tokens: 1_000,
            output_tokens: 100,
            ..SERVED
        },
        Row {
            collector: 4,
            outcome: "server_error",
            requests: 5,
            attempts: 5,
            input_tokens: 0,
            output_tokens: 0,
            ..SERVED
        },
        Row {
            collector: 4,
            model: "olmo-3",
            openness: "open-source",
            operation: "embeddings",
            requests: 700,
            attempts: 700,
            input_tokens: 7_000,
            output_tokens: 0,
            ..SERVED
        },
    ]
}

fn id(collector: u8) -> String {
    format!("toUUID('{:08}-0000-0000-0000-000000000000')", collector)
}

/// Writes the set into the ledger and lets `load` make the rollups of it. `contributor`: who sent it; empty: nobody was asked.
pub async fn fill(rig: &Rig, contributor_of: fn(u8) -> String) {
    let register = weighbridge_catalog::embedded();
    let window = midnight(DAYS_AGO) + 10 * 3_600;
    let mut cells = Vec::new();
    for (cell, row) in rows().iter().enumerate() {
        let model = register.model_named(row.model).map_or(0, |model| model.id().0);
        assert!(model != 0 || ["", "olmo-3"].contains(&row.model), "{} is not in the register", row.model);
        cells.push(format!(
            "({window}, {}, 1, 0, {cell}, {}, 3600, 2026112301, '{}', 'gateway', 'litellm', {model}, {}, '{}', '{}', '{}', '{}', 'no', '{}', {}, {}, {}, {})",
            id(row.collector),
            contributor_of(row.collector),
            row.environment,
            row.provider,
            row.openness,
            row.hosting,
            row.operation,
            row.choice,
            row.outcome,
            row.requests,
            row.attempts,
            row.input_tokens,
            row.output_tokens,
        ));
    }
    let sql = format!(
        "INSERT INTO weighbridge.ledger (window_start, collector_id, boot_epoch, sequence, cell, contributor, window_s, catalogue_version, \
         environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, \
         requests, attempts, input_tokens, output_tokens) VALUES {}",
        cells.join(", ")
    );
    rig.clickhouse.query(&sql).await;
    let mut reports = Vec::new();
    for collector in 1..=4_u8 {
        let own: Vec<Row> = rows().into_iter().filter(|row| row.collector == collector).collect();
        let sum = |of: fn(&Row) -> u64| own.iter().map(of).sum::<u64>();
        reports.push(format!(
            "({window}, {}, 1, 0, {}, 3600, 2026112301, '{}', 'gateway', 'litellm', {}, {}, {}, {}, {})",
            id(collector),
            contributor_of(collector),
            own[0].environment,
            own.len(),
            sum(|row| row.requests),
            sum(|row| row.attempts),
            sum(|row| row.input_tokens),
            sum(|row| row.output_tokens),
        ));
    }
    let sql = format!(
        "INSERT INTO weighbridge.reports (window_start, collector_id, boot_epoch, sequence, contributor, window_s, catalogue_version, \
         environment, vantage, gateway_product, cells, total_requests, total_attempts, total_input_tokens, total_output_tokens) \
         VALUES {}",
        reports.join(", ")
    );
    rig.clickhouse.query(&sql).await;
    let load = rig.load("small-set").await;
    // The rollup that is made last, of all the others.
    rig.wait_for("SELECT count() > 0 FROM weighbridge.rollup_retention", "1").await;
    load.stop().await;
}

/// Zeros: one's own collectors.
pub fn own(_: u8) -> String {
    "toUUID('00000000-0000-0000-0000-000000000000')".to_owned()
}

/// A contributor for each collector.
pub fn each(collector: u8) -> String {
    format!("toUUID('00000000-0000-0000-0000-{collector:012}')")
}

/// `--from` and `--to` of the day.
pub async fn period(rig: &Rig) -> [String; 4] {
    let date = async |days| {
        let sql = format!("SELECT toString(toDate(toDateTime({}, 'UTC'), 'UTC'))", midnight(days));
        rig.clickhouse.query(&sql).await
    };
    ["--from".to_owned(), date(DAYS_AGO).await, "--to".to_owned(), date(DAYS_AGO - 1).await]
}
