//! The dashboards and alert rules of `deploy/grafana` and `deploy/prometheus`: their structure, their macros, and every query of every
//! panel, variable and alert against a real ClickHouse with a month of traffic.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod breakages;
mod commands;
mod macros;
mod prometheus;
mod queries;

use weighbridge_tests::grafana::{board, lint, schema};

#[test]
fn six_dashboards_import_unedited() {
    let all = board::dashboards();
    let uids: Vec<&str> = all.iter().map(board::Dashboard::uid).collect();
    let expected = [
        "weighbridge-adoption",
        "weighbridge-fallbacks",
        "weighbridge-models",
        "weighbridge-overview",
        "weighbridge-pipeline-prometheus",
        "weighbridge-pipeline",
    ];
    assert_eq!(uids, expected);
    for board in &all {
        assert_eq!(schema::unknown_keys(&board.json), Vec::<String>::new(), "{}", board.file);
    }
}

#[test]
fn dashboards_and_alerts_follow_the_rules() {
    assert_eq!(lint::dashboards(&board::dashboards()), []);
    assert_eq!(lint::alerts(&board::alerts()), []);
}
