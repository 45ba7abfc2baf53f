//! The commands that answer, by the real program on a real ClickHouse: known answers by hand, forms, mistakes, nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use crate::aggregator::Rig;
use crate::small_set;
use serde_json::{Value, json};

const COMMANDS: [&str; 8] =
    ["split", "adoption", "production", "fallbacks", "outcomes", "retention", "models", "coverage"];
const FORMATS: [&str; 4] = ["table", "json", "csv", "markdown"];

struct Asker<'a> {
    rig: &'a Rig,
    period: [String; 4],
}

impl Asker<'_> {
    fn text(&self, command: &str, more: &[&str]) -> String {
        let period: Vec<&str> = self.period.iter().map(String::as_str).collect();
        self.rig.run(&[&[command], period.as_slice(), more].concat())
    }

    fn json(&self, command: &str, more: &[&str]) -> Value {
        serde_json::from_str(&self.text(command, &[more, &["--format", "json"]].concat())).unwrap()
    }
}

fn row<'a>(answer: &'a Value, table: &str, which: &[(&str, &str)]) -> &'a Value {
    let rows = answer[table].as_array().unwrap_or_else(|| panic!("no {table} in {answer:#}"));
    let is_it = |row: &&Value| which.iter().all(|(name, value)| row[*name] == *value);
    rows.iter().find(is_it).unwrap_or_else(|| panic!("no {which:?} in {answer:#}"))
}

/// Exact for counts and names, to nine digits for shares.
fn holds(row: &Value, expected: &[(&str, Value)]) {
    for (name, expected) in expected {
        match (row[*name].as_f64(), expected.as_f64()) {
            (Some(found), Some(wanted)) => assert!((found - wanted).abs() < 1e-9, "{name} of {row:#}"),
            _ => assert_eq!(row[*name], *expected, "{name} of {row:#}"),
        }
    }
}

#[tokio::test]
async fn known_answers_of_a_small_set() {
    let rig = Rig::start().await;
    small_set::fill(&rig, small_set::own).await;
    let ask = Asker { rig: &rig, period: small_set::period(&rig).await };

    split(&ask);
    countings(&ask);
    adoption_and_production(&ask);
    fallbacks(&ask);
    outcomes(&ask);
    models(&ask);
    coverage(&ask);
    selections(&ask);
    views_agree(&rig, &ask).await;
    forms(&ask);
    nothing(&rig);
    mistakes(&rig);
    retention(&rig, &ask).await;
}

fn split(ask: &Asker<'_>) {
    let answer = ask.json("split", &[]);
    // 30 of 100 open, 60 closed, 10 unknown; 20 of the 30 restricted; 30 of the 90 that are known.
    let expected = [
        ("open", json!(0.3)),
        ("restricted", json!(0.2)),
        ("closed", json!(0.6)),
        ("unknown", json!(0.1)),
        ("open_lower", json!(0.3)),
        ("open_upper", json!(0.4)),
        ("open_of_known", json!(30.0 / 90.0)),
    ];
    holds(&answer["total"]["shares"]["requests"], &expected);
    holds(&answer["total"]["shares"]["input_tokens"], &[("open", json!(11_000.0 / 18_000.0))]);
    holds(&answer["total"]["shares"]["output_tokens"], &[("open", json!(0.3))]);
    // In production 50 + 20 = 70, of which 10 open.
    let production = ask.json("split", &["--environment", "production"]);
    assert_eq!(production["total"]["requests"], 70);
    holds(&production["total"]["shares"]["requests"], &[("open", json!(10.0 / 70.0))]);
    let hosting = ask.json("split", &["--by", "hosting"]);
    holds(row(&hosting, "groups", &[("group", "first_party")]), &[("requests", json!(60))]);
    holds(row(&hosting, "groups", &[("group", "self_hosted")]), &[("requests", json!(20))]);
    let licence = ask.json("split", &["--by", "licence"]);
    holds(row(&licence, "groups", &[("group", "MIT")]), &[("requests", json!(10))]);
    holds(row(&licence, "groups", &[("group", "Llama 3.3 Community License")]), &[("requests", json!(20))]);
    for (by, group, requests) in [
        ("developer", "Anthropic", 60),
        ("product", "litellm", 100),
        ("environment", "staging", 30),
        ("family", "deepseek", 10),
        ("model", "llama-3.3", 20),
    ] {
        holds(
            row(&ask.json("split", &["--by", by]), "groups", &[("group", group)]),
            &[("requests", json!(requests))],
        );
    }
    let day = ask.json("split", &["--by", "day"]);
    assert_eq!(day["groups"][0]["group"], ask.period[1]);
    assert_eq!(day["groups"].as_array().unwrap().len(), 1);
    let hour = ask.json("split", &["--by", "hour"]);
    assert_eq!(hour["groups"][0]["group"], format!("{}T10:00Z", ask.period[1]));
    holds(
        row(&ask.json("split", &["--by", "choice"]), "groups", &[("group", "fallback")]),
        &[("requests", json!(10))],
    );
    let month = ask.json("split", &["--by", "month"]);
    assert_eq!(month["groups"][0]["group"], ask.period[1][..7]);
    // 5 failed ones are of a closed model: 100 + 5 requests.
    assert_eq!(ask.json("split", &["--outcome", "all"])["total"]["requests"], 105);
    assert_eq!(ask.json("split", &["--operation", "embeddings"])["total"]["requests"], 700);
}

fn countings(ask: &Asker<'_>) {
    let answer = ask.json("split", &["--by", "counting"]);
    for (rule, open) in [
        ("per_model", 0.3),
        ("unknown_as_closed", 0.3),
        ("unknown_as_open", 0.4),
        ("known_only", 30.0 / 90.0),
        ("noncommercial_as_closed", 0.3),
        ("restricted_as_closed", 0.1),
        ("open_source_only", 0.0),
        // Anthropic is closed, DeepSeek and Meta are open: each has one class here.
        ("one_class_per_maker", 0.3),
        // Provider 1 served 60 closed ones, 2 ten open ones, 3 twenty open ones.
        ("one_class_per_provider", 0.3),
        // DeepSeek's ten.
        ("four_labs", 0.1),
    ] {
        holds(&row(&answer, "groups", &[("group", rule)])["shares"]["requests"], &[("open", json!(open))]);
    }
}

fn adoption_and_production(ask: &Asker<'_>) {
    // Collectors 1, 2 and 3 have traffic that counts. 1 and 3 have open traffic; of 1 it is 10 of 50, of 3 it is 20 and 10 unknown.
    let answer = ask.json("adoption", &[]);
    let all = row(&answer, "spans", &[("environment", "all")]);
    let expected = [
        ("participants", json!(3)),
        ("with_open", json!(2)),
        ("with_open_share", json!(2.0 / 3.0)),
        ("with_majority", json!(1)),
        ("with_majority_share", json!(1.0 / 3.0)),
        // A day is less than 20 of 28.
        ("with_sustained", json!(0)),
        ("open_share", json!(30.0 / 90.0)),
        ("open_share_lower", json!(0.3)),
        ("open_share_upper", json!(0.4)),
    ];
    holds(all, &expected);
    let bounds = row(&answer, "bounds", &[("environment", "all")]);
    holds(
        bounds,
        &[("with_open_max", json!(2)), ("with_majority_min", json!(1)), ("with_majority_max", json!(1))],
    );
    holds(
        bounds,
        &[("input_open_share", json!(11_000.0 / 17_000.0)), ("output_open_share", json!(300.0 / 900.0))],
    );
    let both = ask.json("adoption", &["--environment", "production,staging"]);
    holds(
        row(&both, "spans", &[("environment", "production")]),
        &[("participants", json!(2)), ("with_open", json!(1))],
    );
    holds(
        row(&both, "spans", &[("environment", "staging")]),
        &[("participants", json!(1)), ("with_open", json!(1))],
    );

    // On one active day: 50 and 20 requests in production and 30 in staging are all of the order of ten.
    let answer = ask.json("production", &[]);
    let production = row(&answer, "classes", &[("environment", "production")]);
    let expected = [
        ("requests_a_day", json!("10^1 and more")),
        ("active_days", json!("1-4")),
        ("participants", json!(2)),
        ("open_requests", json!(10)),
        ("closed_requests", json!(60)),
        ("open_share", json!(10.0 / 70.0)),
    ];
    holds(production, &expected);
}

fn fallbacks(ask: &Asker<'_>) {
    let answer = ask.json("fallbacks", &[]);
    // Ten rate-limited attempts at a closed model, ten fallbacks to an open one, nothing else failed in that window at collector 1.
    let way = row(&answer, "ways", &[("from_class", "closed"), ("to_class", "open")]);
    let expected = [
        ("after_outcome", json!("rate_limited")),
        ("requests_min", json!(10)),
        ("requests_max", json!(10)),
        ("requests_likely", json!(10.0)),
        ("share", json!(1.0)),
    ];
    holds(way, &expected);
    assert_eq!(answer["ways"].as_array().unwrap().len(), 1, "{answer:#}");
    holds(
        row(&answer, "choices", &[("choice", "fallback")]),
        &[
            ("requests", json!(10)),
            ("share_of_requests", json!(0.1)),
            ("open", json!(1.0)),
            ("closed", json!(0.0)),
        ],
    );
    holds(
        row(&answer, "choices", &[("choice", "first")]),
        &[("requests", json!(90)), ("open", json!(20.0 / 90.0))],
    );
    let staging = ask.json("fallbacks", &["--environment", "staging"]);
    assert_eq!(staging["message"], "no data for this period", "{staging:#}");
}

fn outcomes(ask: &Asker<'_>) {
    let answer = ask.json("outcomes", &[]);
    // Closed: 60 served in 60 attempts, 10 attempts that were rate limited, 5 that failed: 75 attempts for 65 requests.
    let limited = row(&answer, "outcomes", &[("class", "closed"), ("outcome", "rate_limited")]);
    holds(limited, &[("requests", json!(0)), ("share_of_requests", json!(0.0)), ("attempts", json!(10))]);
    let failed = row(&answer, "outcomes", &[("class", "closed"), ("outcome", "server_error")]);
    holds(failed, &[("requests", json!(5)), ("share_of_requests", json!(5.0 / 105.0))]);
    let closed = row(&answer, "classes", &[("class", "closed")]);
    let expected = [
        ("requests", json!(65)),
        ("served_share", json!(60.0 / 65.0)),
        ("attempts", json!(75)),
        ("attempts_a_request", json!(75.0 / 65.0)),
    ];
    holds(closed, &expected);
    holds(
        row(&answer, "classes", &[("class", "open")]),
        &[("served_share", json!(1.0)), ("requests", json!(30))],
    );
    let all = ask.json("outcomes", &["--operation", "all"]);
    holds(row(&all, "classes", &[("class", "open")]), &[("requests", json!(730))]);
    let by = ask.json("split", &["--by", "outcome", "--outcome", "all"]);
    holds(row(&by, "groups", &[("group", "server_error")]), &[("requests", json!(5))]);
}

fn models(ask: &Asker<'_>) {
    let answer = ask.json("models", &[]);
    let expected = [
        ("family", json!("claude")),
        ("developer", json!("Anthropic")),
        ("openness", json!("closed")),
        ("requests", json!(60)),
        ("share_of_requests", json!(0.6)),
        ("share_of_input", json!(6_000.0 / 18_000.0)),
    ];
    holds(row(&answer, "models", &[("model", "claude-sonnet-4.5")]), &expected);
    let llama = row(&answer, "models", &[("model", "llama-3.3")]);
    holds(llama, &[("licence", json!("Llama 3.3 Community License")), ("share_of_output", json!(0.2))]);
    holds(
        row(&answer, "models", &[("model", "unlisted")]),
        &[("requests", json!(10)), ("openness", json!("unknown"))],
    );
    let short = ask.json("models", &["--limit", "1"]);
    holds(
        &short["models"][1],
        &[("model", json!("3 others")), ("requests", json!(40)), ("share_of_requests", json!(0.4))],
    );
}

fn coverage(ask: &Asker<'_>) {
    let answer = ask.json("coverage", &[]);
    // Collectors 1, 2 and 4 reported one window of an hour each: 3 of 72 hours.
    let production = row(&answer, "sums", &[("environment", "production")]);
    let expected = [
        ("collector_days", json!(3)),
        ("reports", json!(3)),
        ("covered_share", json!(3.0 / 72.0)),
        ("requests", json!(70)),
        ("unknown_share", json!(0.0)),
        ("dropped_requests", json!(0)),
    ];
    holds(production, &expected);
    holds(row(&answer, "sums", &[("environment", "staging")]), &[("unknown_share", json!(10.0 / 30.0))]);
    holds(
        &answer["days"][0],
        &[("collectors", json!(4)), ("requests", json!(100)), ("unknown_share", json!(0.1))],
    );
    let register = weighbridge_catalog::embedded().version().0.to_string();
    let expected = [
        ("register_of_the_database", json!(register)),
        ("newest_of_the_reports", json!("2026112301")),
        ("reports_still_kept", json!(4)),
    ];
    holds(&answer["register"][0], &expected);
}

/// The variables of the dashboards as options, alone and together.
fn selections(ask: &Asker<'_>) {
    for (options, requests) in [
        (&["--hosting", "self_hosted"][..], 20),
        (&["--hosting", "self_hosted,first_party"], 80),
        (&["--product", "litellm"], 100),
        (&["--product", "kong,vllm"], 0),
        (&["--model", "llama-3.3,deepseek-v3.2"], 30),
        (&["--model", "unlisted"], 10),
        (&["--developer", "Anthropic"], 60),
        (&["--developer", "Anthropic", "--model", "llama-3.3"], 0),
        (&["--model", "claude-sonnet-4.5", "--environment", "production", "--hosting", "first_party"], 60),
    ] {
        // Nothing is no data, not 0.
        let expected = if requests == 0 { Value::Null } else { json!(requests) };
        assert_eq!(ask.json("split", options)["total"]["requests"], expected, "{options:?}");
        let models = ask.json("models", options);
        let sum: u64 =
            models["models"].as_array().unwrap().iter().filter_map(|row| row["requests"].as_u64()).sum();
        assert_eq!(sum, requests, "{options:?}");
    }
    let by_provider = ask.json("split", &["--by", "provider"]);
    for group in by_provider["groups"].as_array().unwrap() {
        let one = ask.json("split", &["--provider", group["group"].as_str().unwrap()]);
        assert_eq!(one["total"]["requests"], group["requests"], "{group}");
        assert_eq!(one["selection"]["provider"], json!([group["group"]]));
    }
    let self_hosted = ask.json("outcomes", &["--hosting", "self_hosted"]);
    holds(row(&self_hosted, "classes", &[("class", "open")]), &[("requests", json!(20))]);
    assert_eq!(ask.json("outcomes", &["--product", "kong"])["classes"], json!([]));
    assert_eq!(ask.json("fallbacks", &["--product", "kong"])["ways"], json!([]));
    assert_ne!(ask.json("fallbacks", &["--product", "litellm"])["ways"], json!([]));
    assert_eq!(ask.json("coverage", &["--product", "kong"])["sums"], json!([]));
    // One window of a minute of each of the four collectors, in one hour.
    let hour = &ask.json("coverage", &["--by", "hour"])["hours"][0];
    let expected = [
        ("hour", json!(format!("{}T10:00Z", ask.period[1]))),
        ("collectors", json!(4)),
        ("requests", json!(100)),
        ("unknown_share", json!(0.1)),
    ];
    holds(hour, &expected);
}

/// What a dashboard reads from the views is what the commands print.
async fn views_agree(rig: &Rig, ask: &Asker<'_>) {
    let sums = "sum(requests), sumIf(requests, class = 'open'), sumIf(input_tokens, class = 'open')";
    for view in ["traffic_split_1m", "traffic_split_1h", "traffic_split_1d", "models_1h", "models_1d"] {
        let sql = format!("SELECT {sums} FROM weighbridge.{view}");
        assert_eq!(rig.clickhouse.query(&sql).await, "100\t30\t11000", "{view}");
    }
    for (by, column) in
        [("hosting", "hosting"), ("environment", "environment"), ("product", "gateway_product")]
    {
        for group in ask.json("split", &["--by", by])["groups"].as_array().unwrap() {
            let name = group["group"].as_str().unwrap();
            let sql =
                format!("SELECT sum(requests) FROM weighbridge.traffic_split_1d WHERE {column} = '{name}'");
            assert_eq!(rig.clickhouse.query(&sql).await, group["requests"].to_string(), "{by} {name}");
        }
    }
    let all = ask.json("split", &["--operation", "all", "--outcome", "all"]);
    let sql = "SELECT sum(requests) FROM weighbridge.outcomes_1d";
    assert_eq!(rig.clickhouse.query(sql).await, all["total"]["requests"].to_string());
}

fn forms(ask: &Asker<'_>) {
    for command in COMMANDS.into_iter().filter(|command| *command != "retention") {
        let csv = ask.text(command, &["--format", "csv"]);
        let table = ask.text(command, &["--format", "table"]);
        let markdown = ask.text(command, &["--format", "markdown"]);
        assert!(csv.lines().count() > 1 && csv.lines().next().unwrap().contains(','), "{csv}");
        assert!(table.contains(&ask.period[1]), "{table}");
        assert!(markdown.contains("| :--") || markdown.contains("| --:"), "{markdown}");
        for text in [csv, table, markdown] {
            assert!(!text.contains("NaN") && !text.contains("no data"), "{command}: {text}");
        }
    }
    assert!(ask.text("split", &[]).contains("30.0% and 40.0%"));
}

fn nothing(rig: &Rig) {
    let period = ["--from", "2021-01-01", "--to", "2021-01-02"];
    for command in COMMANDS {
        for format in FORMATS {
            let text = rig.run(&[&[command], &period[..], &["--format", format]].concat());
            assert!(text.contains("no data for this period"), "{command} {format}: {text}");
            assert!(!text.contains("NaN") && !text.contains('%'), "{command} {format}: {text}");
        }
    }
    for format in ["html", "markdown"] {
        let text = rig.run(&[&["report"], &period[..], &["--format", format]].concat());
        let body = text.split("</style>").last().unwrap();
        assert!(body.matches("no data for this period").count() >= 10, "{body}");
        assert!(!body.contains("NaN") && !body.contains("0.0%") && !body.contains("<figure"), "{body}");
    }
}

fn mistakes(rig: &Rig) {
    let no_folder = "/no/such/folder/report.html";
    for (arguments, option, fix) in [
        (&["adoption", "--from", "soon"][..], "--from", "2026-11-01"),
        (&["adoption", "--from", "2026-11-01T03:00:00Z"], "--from", "whole days"),
        (&["production", "--environment", "prod"], "--environment", "production"),
        (&["fallbacks", "--from", "2026-11-01T03:30:00Z"], "--from", "full hour"),
        (&["retention", "--from", "2026-11-02", "--to", "2026-11-01"], "--from", "before --to"),
        (&["models", "--operation", "talk"], "--operation", "embeddings"),
        (&["outcomes", "--operation", "Chat"], "--operation", "text_completion"),
        (&["models", "--limit", "0"], "--limit", "1.."),
        (&["coverage", "--to", "2026-13-01"], "--to", "2026-11-01"),
        (&["split", "--by", "colour"], "--by", "openness"),
        (&["split", "--product", "lite"], "--product", "litellm"),
        (&["split", "--provider", "nobody"], "--provider", "split --by provider"),
        (&["models", "--model", "gpt-99"], "--model", "classify"),
        (&["outcomes", "--hosting", "cloud"], "--hosting", "marketplace"),
        (&["coverage", "--by", "week"], "--by", "hour"),
        (&["report", "--vantage", "moon"], "--vantage", "gateway"),
        (&["report", "--format", "pdf"], "--format", "markdown"),
        (&["report", "--output", no_folder], "--output", "folder that exists"),
    ] {
        let output = rig.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(option) && said.contains(fix), "{arguments:?}: {said}");
    }
}

/// Months lie further apart than a test's ledger keeps: rows of the rollup that the view reads.
async fn retention(rig: &Rig, ask: &Asker<'_>) {
    rig.clickhouse.query("TRUNCATE TABLE weighbridge.rollup_retention").await;
    // Of four that began in January two still had open traffic in February and one more may have had; their share rose from 20 to 50 %.
    rig.clickhouse
        .query(
            "INSERT INTO weighbridge.rollup_retention (cohort, vantage, months_later, is_first_on_record, authenticated, \
             participants, collectors, still, still_max, share_first, share_later) VALUES \
             ('2026-01-01', 'gateway', 0, 1, 0, 4, 4, 4, 4, 0.2, 0.2), ('2026-01-01', 'gateway', 1, 1, 0, 4, 4, 2, 3, 0.2, 0.5), \
             ('2026-02-01', 'gateway', 0, 0, 1, 3, 3, 3, 3, 0.9, 0.9)",
        )
        .await;
    let months = ["retention", "--from", "2026-01-15", "--to", "2026-02-02"];
    let answer: Value =
        serde_json::from_str(&rig.run(&[&months[..], &["--format", "json"]].concat())).unwrap();
    let january = &answer["cohorts"][1];
    let expected = [
        ("cohort", json!("2026-01")),
        ("months_later", json!(1)),
        ("collectors", json!(4)),
        ("still", json!(2)),
        ("retention", json!(0.5)),
        ("retention_upper", json!(0.75)),
        ("moved", json!(0.3)),
        ("first_on_record", json!("yes")),
    ];
    holds(january, &expected);
    // Three authenticated contributors are fewer than five.
    holds(&answer["cohorts"][2], &[("collectors", json!("suppressed")), ("retention", json!("suppressed"))]);
    let table = rig.run(&months);
    assert!(table.contains("+30.0 points") && table.contains("suppressed"), "{table}");
    assert!(ask.text("report", &["--format", "markdown"]).contains("## Do they stay?"));
}

/// Three authenticated contributors are fewer than five: no answer about organisations tells a number.
#[tokio::test]
async fn small_groups_of_contributors_are_not_told() {
    let rig = Rig::start().await;
    small_set::fill(&rig, small_set::each).await;
    let ask = Asker { rig: &rig, period: small_set::period(&rig).await };
    for (command, table) in [("adoption", "spans"), ("production", "classes")] {
        let answer = ask.json(command, &[]);
        let rows = answer[table].as_array().unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            holds(row, &[("participants", json!("suppressed")), ("open_share", json!("suppressed"))]);
        }
        for format in FORMATS {
            let text = ask.text(command, &["--format", format]);
            assert!(text.contains("suppressed") && !text.contains('%'), "{command}: {text}");
        }
    }
    let report = ask.text("report", &["--format", "markdown"]);
    let section = report.split("## How many organisations take part?").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    assert!(section.contains("suppressed") && !section.contains('%'), "{section}");
}
