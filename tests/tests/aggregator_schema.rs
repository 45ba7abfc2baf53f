//! `migrate` and `split` by the real program on the real server.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::aggregator::{DAY, Edge, Rig, counts, key, midnight, produce};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use weighbridge_catalog::Openness;
use weighbridge_proto::cells::CellKey;
use weighbridge_proto::v1::{Operation, Outcome, Vantage};
use weighbridge_tests::processes::Process;

/// Tables and views that people read.
const TABLES: [&str; 24] = [
    "adoption",
    "audit",
    "coverage",
    "fallbacks",
    "hosting",
    "ledger",
    "licences",
    "migrations",
    "model_on_day",
    "model_split",
    "models",
    "participation_1d",
    "production_share",
    "providers",
    "reports",
    "retention",
    "schema_version",
    "traffic",
    "traffic_1d",
    "traffic_1h",
    "traffic_1m",
    "traffic_split",
    "traffic_cross_check",
    "traffic_reclassified",
];

#[tokio::test]
async fn migrate_up_is_repeatable_and_check_names_what_differs() {
    let rig = Rig::with_clickhouse().await;
    let check = |expected: &str| {
        let output = rig.output(&["migrate", "check"]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.success(), expected.is_empty(), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    check("holds no migrations");
    let mut waits = rig.command();
    waits.args(["migrate", "check", "--wait-s", "600"]);
    let mut waits = Process::start("waits", &waits, rig.folder.path());

    // Killed at any statement, again and again, then run to the end.
    for delay_ms in [5, 15, 30, 60, 100, 150, 250] {
        let mut command = rig.command();
        command.args(["migrate", "up"]);
        let up = Process::start("migrate", &command, rig.folder.path());
        sleep(Duration::from_millis(delay_ms)).await;
        up.kill().await;
    }
    rig.run(&["migrate", "up"]);
    check("");
    let ended = async {
        loop {
            match waits.ended() {
                Some(status) => break status,
                None => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let status = timeout(Duration::from_secs(120), ended).await.expect("the waiting check ends");
    assert!(status.success(), "{}", waits.output());
    let tables = "SELECT groupArray(name) FROM (SELECT name FROM system.tables WHERE database = 'weighbridge' ORDER BY name)";
    let before = rig.clickhouse.query(tables).await;
    for name in TABLES {
        assert!(before.contains(&format!("'{name}'")), "{before}");
    }
    let models = rig.clickhouse.query("SELECT count(), uniqExact(id) FROM weighbridge.models").await;
    rig.run(&["migrate", "up"]);
    check("");
    assert_eq!(rig.clickhouse.query(tables).await, before);
    assert_eq!(rig.clickhouse.query("SELECT count(), uniqExact(id) FROM weighbridge.models").await, models);
    let catalogue = weighbridge_catalog::embedded();
    let expected = catalogue.models().filter(|model| model.id().0 != 0).count() + 1;
    assert_eq!(models, format!("{expected}\t{expected}"));

    let change = |sql: &'static str| rig.clickhouse.query(sql);
    let synchronous = "SETTINGS mutations_sync = 2";
    rig.clickhouse
        .query(&format!(
            "ALTER TABLE weighbridge.migrations DELETE WHERE version = 4 AND state = 'done' {synchronous}"
        ))
        .await;
    check("migration 4 (views) was started and not finished");
    rig.run(&["migrate", "up"]);
    check("");
    change("TRUNCATE TABLE weighbridge.providers").await;
    check("providers");
    rig.run(&["migrate", "up"]);
    check("");
    rig.clickhouse
        .query(&format!(
            "ALTER TABLE weighbridge.migrations UPDATE checksum = 'ffffffff' WHERE version = 2 {synchronous}"
        ))
        .await;
    check("migration 2 (rollup) was run with checksum ffffffff");
    assert!(!rig.output(&["migrate", "up"]).status.success());
}

#[tokio::test]
async fn retention_is_what_is_configured_now_also_of_tables_that_are_there() {
    let rig = Rig::with_clickhouse().await;
    rig.run(&["migrate", "up"]);
    let kept = |table: &str| {
        format!(
            "SELECT extract(engine_full, 'TTL (.*) SETTINGS') FROM system.tables WHERE database = 'weighbridge' AND name = '{table}'"
        )
    };
    assert_eq!(rig.clickhouse.query(&kept("traffic_1m")).await, "minute + toIntervalDay(90)");
    assert_eq!(rig.clickhouse.query(&kept("traffic_1d")).await, "");
    let mut other = rig.command();
    other
        .env("WEIGHBRIDGE_CLICKHOUSE_RETENTION_MINUTE_DAYS", "0")
        .env("WEIGHBRIDGE_CLICKHOUSE_RETENTION_DAY_DAYS", "4000");
    assert!(other.args(["migrate", "up"]).output().unwrap().status.success());
    assert_eq!(rig.clickhouse.query(&kept("traffic_1m")).await, "");
    assert_eq!(rig.clickhouse.query(&kept("traffic_1d")).await, "day + toIntervalDay(4000)");
    rig.run(&["migrate", "up"]);
    assert_eq!(rig.clickhouse.query(&kept("traffic_1m")).await, "minute + toIntervalDay(90)");
}

/// Stored counts are classified anew by a query: the dictionary says what the register says of the traffic's day.
#[tokio::test]
async fn stored_traffic_is_reclassified_under_a_newer_register() {
    let rig = Rig::with_clickhouse().await;
    rig.run(&["migrate", "up"]);
    let catalogue = weighbridge_catalog::embedded();
    let glm = catalogue.model_named("glm-5.3").unwrap().id().0;
    // Closed until 2026-08-27, open from the day on which the weights were published; counted as closed on both days.
    for (hour, model, requests) in [("2026-08-27", glm, 3), ("2026-08-28", glm, 5), ("2026-08-28", 0, 7)] {
        rig.clickhouse
            .query(&format!(
                "INSERT INTO weighbridge.traffic_1h (hour, environment, vantage, gateway_product, model, openness, requests) \
                 VALUES ('{hour} 12:00:00', 'production', 'gateway', 'litellm', {model}, 'closed', {requests})"
            ))
            .await;
    }
    let sql = "SELECT openness, counted_openness, model, licence, sum(requests) FROM weighbridge.traffic_reclassified \
               GROUP BY ALL ORDER BY sum(requests)";
    let under_own = rig.clickhouse.query(sql).await;
    assert_eq!(
        under_own,
        "closed\tclosed\tglm-5.3\tproprietary\t3\nopen-restricted\tclosed\tglm-5.3\tGLM-5.3 License\t5\nclosed\tclosed\tunlisted\t\t7"
    );

    let mut newer = catalogue.export();
    newer.version += 1;
    for model in newer.models.iter_mut().filter(|model| model.name == "glm-5.3") {
        model.periods[1].from = Some("2026-08-27".to_owned());
    }
    let file = rig.folder.path().join("register.json");
    std::fs::write(&file, serde_json::to_vec(&newer).unwrap()).unwrap();
    let file = file.to_str().unwrap();
    rig.run(&["migrate", "up", "--register", file]);
    let under_newer = "closed\tclosed\tunlisted\t\t7\nopen-restricted\tclosed\tglm-5.3\tGLM-5.3 License\t8";
    assert_eq!(rig.clickhouse.query(sql).await, under_newer);
    // The binary's own, older register does not come back.
    rig.run(&["migrate", "up"]);
    assert_eq!(rig.clickhouse.query(sql).await, under_newer);
}

#[tokio::test]
async fn split_of_a_small_set_by_hand() {
    let rig = Rig::start().await;
    let with = |change: fn(&mut CellKey), key: CellKey| {
        let mut key = key;
        change(&mut key);
        key
    };
    // Served chat: closed 50, restricted 10, permissive 30, unknown 10; the rest must not count by default.
    let cells = [
        (key(1, Openness::Closed), counts(50, 5_000, 500)),
        (key(2, Openness::OpenRestricted), counts(10, 1_000, 100)),
        (key(3, Openness::OpenPermissive), counts(30, 30_000, 300)),
        (key(0, Openness::Unknown), counts(10, 4_000, 100)),
        (with(|key| key.outcome = Outcome::ServerError, key(1, Openness::Closed)), counts(7, 0, 0)),
        (with(|key| key.operation = Operation::Embeddings, key(4, Openness::OpenSource)), counts(900, 9, 0)),
    ];
    let mut edge = Edge::new(1);
    let reports = [edge.report(midnight(2) + 3_600, &cells), edge.report(midnight(1), &cells[..1])];
    produce(rig.kafka(), &reports).await;
    let load = rig.load("split").await;
    rig.wait_for("SELECT sum(requests) FROM weighbridge.traffic_1h", "1057").await;
    load.stop().await;

    let (from, to) = (date(&rig, 2).await, date(&rig, 1).await);
    for ledger in [&["--format", "json"][..], &["--format", "json", "--ledger"]] {
        let split = json(&rig, &[&["--from", &from, "--to", &to], ledger].concat());
        let shares = &split["total"]["shares"];
        let expected = [("open", 0.4), ("restricted", 0.1), ("closed", 0.5), ("unknown", 0.1)];
        for (name, share) in expected.into_iter().chain([("open_lower", 0.4), ("open_upper", 0.5)]) {
            assert_eq!(shares["requests"][name], share, "{name}");
        }
        assert_eq!(shares["input_tokens"]["open"], 0.775);
        assert_eq!(shares["tokens"]["closed"], 5_500.0 / 41_000.0);
        assert_eq!(split["total"]["requests"], 100);
    }
    let all = json(
        &rig,
        &["--from", &from, "--to", &to, "--outcome", "all", "--operation", "all", "--format", "json"],
    );
    assert_eq!(all["total"]["requests"], 1_007);
    let days = json(&rig, &["--from", &from, "--by", "day", "--format", "json"]);
    let groups: Vec<_> =
        days["groups"].as_array().unwrap().iter().map(|group| group["group"].clone()).collect();
    assert_eq!(groups, [Value::from(from.clone()), Value::from(to.clone())]);
    assert_eq!(days["groups"][1]["shares"]["requests"]["closed"], 1.0);
    let families = json(&rig, &["--from", &from, "--to", &to, "--by", "family", "--format", "json"]);
    assert!(families["groups"].as_array().unwrap().iter().any(|group| group["group"] == "unlisted"));

    let table = rig.run(&["split", "--from", &from, "--to", &to]);
    assert!(table.contains("40.0% and 50.0%"), "{table}");
    let empty = rig.run(&["split", "--from", "2021-01-01", "--to", "2021-01-02"]);
    assert!(empty.contains("no data for this period"), "{empty}");
    let wrong = rig.output(&["split", "--vantage", "moon"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("--vantage"));
    assert_eq!(midnight(1) - midnight(2), DAY);
}

/// The same hundred requests seen at a gateway, at the model servers behind it and at the applications, in one hour.
#[tokio::test]
async fn a_split_sums_gateways_only_and_the_rest_is_a_cross_check() {
    let rig = Rig::start().await;
    let mut reports = Vec::new();
    for (number, vantage, requests) in
        [(1, Vantage::Gateway, 100), (2, Vantage::Server, 90), (3, Vantage::Client, 70)]
    {
        let mut edge = Edge { vantage, ..Edge::new(number) };
        let cells = [
            (key(1, Openness::Closed), counts(requests / 2, requests, 10)),
            (key(2, Openness::OpenPermissive), counts(requests / 2, requests, 10)),
        ];
        reports.push(edge.report(midnight(1) + 3_600, &cells));
    }
    produce(rig.kafka(), &reports).await;
    let load = rig.load("vantages").await;
    rig.wait_for("SELECT sum(requests) FROM weighbridge.traffic_1h", "260").await;
    load.stop().await;

    let from = date(&rig, 1).await;
    for (vantage, requests) in [("gateway", 100), ("server", 90), ("client", 70)] {
        for ledger in [&[][..], &["--ledger"]] {
            let asked = [&["--from", &from, "--format", "json", "--vantage", vantage], ledger].concat();
            assert_eq!(json(&rig, &asked)["total"]["requests"], requests, "{asked:?}");
        }
    }
    let asked = ["--from", &from, "--format", "json"];
    assert_eq!(json(&rig, &asked)["total"]["requests"], 100, "gateway, unless asked");

    // A person who forgets the vantage still counts each request once.
    for (view, expected) in [
        ("traffic", "100\t100\t200"),
        ("traffic_reclassified", "100\t100\t200"),
        ("traffic_cross_check", "160\t160\t320"),
    ] {
        let sql = format!("SELECT sum(requests), sum(attempts), sum(input_tokens) FROM weighbridge.{view}");
        assert_eq!(rig.clickhouse.query(&sql).await, expected, "{view}");
    }
    let sql = "SELECT vantage, sum(requests) FROM weighbridge.traffic_cross_check GROUP BY vantage ORDER BY vantage";
    assert_eq!(rig.clickhouse.query(sql).await, "server\t90\nclient\t70");
}

/// The date, `days` days ago.
async fn date(rig: &Rig, days: u64) -> String {
    let sql = format!("SELECT toString(toDate(toDateTime({}, 'UTC'), 'UTC'))", midnight(days));
    rig.clickhouse.query(&sql).await
}

fn json(rig: &Rig, arguments: &[&str]) -> Value {
    serde_json::from_str(&rig.run(&[&["split"], arguments].concat())).unwrap()
}
