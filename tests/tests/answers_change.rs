//! How answers change with their data, what they hide, and who may ask.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use serde_json::Value;
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config;
use weighbridge_aggregator::load::rollup;
use weighbridge_aggregator::store::Store;
use weighbridge_tests::answers::Answers;
use weighbridge_tests::processes::{http_client, root};

/// Three environments, all classes, fallbacks, two months. No volume class changes when all is doubled.
const CELLS: &str = "
2026-10-05T10:00:00 1 0 production  litellm unlisted     closed          first_party  chat first    rate_limited 0 4 0 0
2026-10-05T10:00:00 1 0 production  litellm unlisted     closed          first_party  chat first    server_error 1 3 0 0
2026-10-05T10:00:00 1 0 production  litellm gpt-oss-120b open-permissive self_hosted  chat fallback ok 3 3 40 4
2026-10-05T10:00:00 1 0 production  litellm unlisted     closed          first_party  chat first    ok 31 31 700 80
2026-10-05T10:00:00 2 0 staging     kong    glm-5.3      open-restricted third_party  chat first    ok 10 10 10 10
2026-10-05T10:00:00 2 0 staging     kong    unlisted     unknown         unknown      chat first    ok 7 7 70 7
2026-10-05T10:00:00 3 0 development genai   unlisted     closed          marketplace  chat first    ok 3 3 3 3
2026-11-03T10:00:00 1 0 production  litellm gpt-oss-120b open-permissive self_hosted  chat first    ok 11 11 90 3
2026-11-03T10:00:00 1 0 production  litellm unlisted     closed          first_party  chat first    ok 13 13 60 9
";
/// As many again, of no class.
const UNKNOWN: &str = "
2026-10-05T10:30:00 1 0 production litellm unlisted unknown unknown chat first ok 50 50 500 50
2026-10-05T10:30:00 3 0 development genai  unlisted unknown unknown chat first ok 50 50 500 50
2026-11-03T10:30:00 1 0 production litellm unlisted unknown unknown chat first ok 50 50 500 50
";

/// View, columns that say which row it is.
const ANSWERS: [(&str, &str); 8] = [
    ("traffic_split", "span, environment"),
    ("hosting", "span, environment, hosting"),
    ("licences", "span, environment, licence, openness"),
    ("model_split", "span, environment, model_id, openness"),
    ("fallbacks", "span, environment, from_class, after_outcome, to_class"),
    ("adoption", "span, environment"),
    ("production_share", "span, environment, volume_class, active_days"),
    ("retention", "cohort, months_later"),
];

async fn all(answers: &Answers, view: &str, keys: &str) -> Vec<Value> {
    answers.rows(&format!("SELECT * FROM weighbridge.{view} ORDER BY {keys}")).await
}

/// Columns that are a part of something, between 0 and 1 (`moved`: -1 and 1).
fn is_share(column: &str) -> bool {
    column.contains("share") || column.starts_with("retention") || column == "moved"
}

#[tokio::test]
async fn doubling_every_count_leaves_every_share() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    answers.ledger(CELLS, 1).await;
    answers.rebuild().await;
    let mut once = Vec::new();
    for (view, keys) in ANSWERS {
        once.push(all(&answers, view, keys).await);
    }
    answers.clickhouse.query("TRUNCATE TABLE weighbridge.ledger").await;
    answers.ledger(CELLS, 2).await;
    answers.rebuild().await;
    for ((view, keys), once) in ANSWERS.into_iter().zip(once) {
        let twice = all(&answers, view, keys).await;
        assert!(!once.is_empty() && once.len() == twice.len(), "{view}: {once:?} {twice:?}");
        for (once, twice) in once.iter().zip(&twice) {
            for (column, value) in once.as_object().unwrap() {
                let counted = ["_requests", "_tokens", "requests_min", "requests_max", "requests_likely"];
                if counted.iter().any(|end| column.ends_with(end)) && !is_share(column) {
                    assert_eq!(
                        twice[column].as_f64().unwrap(),
                        2. * value.as_f64().unwrap(),
                        "{view} {column}"
                    );
                } else {
                    assert_eq!(&twice[column], value, "{view} {column}");
                }
                let share = value.as_f64().filter(|_| is_share(column));
                assert!(share.is_none_or(|share| (-1. ..=1.).contains(&share)), "{view} {column} {value}");
            }
        }
    }
}

/// What is classified stays what it is; the lower bound does not rise, the upper one does not fall.
#[tokio::test]
async fn adding_unknown_widens_the_bounds_only() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    answers.ledger(CELLS, 1).await;
    answers.rebuild().await;
    let views = [ANSWERS[0], ANSWERS[5]];
    let mut before = Vec::new();
    for (view, keys) in views {
        before.push(all(&answers, view, keys).await);
    }
    answers.ledger(UNKNOWN, 1).await;
    answers.rebuild().await;
    for ((view, keys), before) in views.into_iter().zip(before) {
        let after = all(&answers, view, keys).await;
        assert!(!before.is_empty() && before.len() == after.len(), "{view}");
        let mut widened = 0;
        for (before, after) in before.iter().zip(&after) {
            for (column, value) in before.as_object().unwrap() {
                let (Some(old), Some(new)) = (value.as_f64(), after[column].as_f64()) else { continue };
                if column.ends_with("_lower") || column.contains("_min") {
                    assert!(new <= old, "{view} {column}: {old} to {new}");
                    widened += usize::from(new < old);
                } else if column.ends_with("_upper") || column.contains("_max") {
                    assert!(new >= old, "{view} {column}: {old} to {new}");
                    widened += usize::from(new > old);
                } else if !column.starts_with("unknown") {
                    assert_eq!(old, new, "{view} {column}");
                }
            }
        }
        assert!(widened > 3, "{view} has bounds, and they moved: {widened}");
    }
}

/// A share of nothing is NULL; a period without data has no row.
#[tokio::test]
async fn nothing_is_no_share() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    for (view, keys) in ANSWERS {
        assert!(all(&answers, view, keys).await.is_empty(), "{view} of nothing");
    }
    // Embeddings are no part of the split; of unknown traffic no share of the classified can be told.
    let only = "
2026-10-05T10:00:00 1 0 production litellm unlisted closed  unknown embeddings first ok 9 9 9 0
2026-10-05T10:00:00 2 0 staging    litellm unlisted unknown unknown chat       first ok 9 9 0 0
";
    answers.ledger(only, 1).await;
    assert_eq!((answers.rebuild().await, answers.rebuild().await), (1, 0));
    let split = all(&answers, "traffic_split", "environment").await;
    let row = split.iter().find(|row| row["environment"] == "staging").unwrap();
    assert_eq!((&row["open_share"], &row["input_open_share_lower"]), (&Value::Null, &Value::Null));
    assert_eq!((row["open_share_lower"].as_f64(), row["open_share_upper"].as_f64()), (Some(0.), Some(1.)));
    assert!(!split.iter().any(|row| row["environment"] == "production"), "{split:?}");
    for (view, keys) in ANSWERS {
        for row in all(&answers, view, keys).await {
            assert!(!row.to_string().contains("nan") && !row.to_string().contains("inf"), "{view}: {row}");
        }
    }
}

/// Contributors 1 to 3 in staging, 11 to 22 in development, 31 to 50 in production, each with a collector of its own.
fn contributors() -> String {
    let groups = [("staging", 1..=3), ("development", 11..=22), ("production", 31..=50)];
    let lines = groups.into_iter().flat_map(|(environment, numbers)| {
        numbers.map(move |number| {
            format!(
                "2026-11-03T10:00:00 {number} {number} {environment} litellm gpt-oss-120b open-permissive self_hosted chat first ok 10 10 10 10\n"
            )
        })
    });
    lines.collect()
}

#[tokio::test]
async fn a_group_of_fewer_than_five_contributors_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    answers.ledger(&contributors(), 1).await;
    answers.rebuild().await;
    for (view, keys) in [ANSWERS[0], ANSWERS[5]] {
        let rows = all(&answers, view, keys).await;
        let of = |environment: &str| rows.iter().find(|row| row["environment"] == environment).unwrap();
        // Three in staging. Development is hidden beside it: all less production and development would be staging.
        for hidden in ["staging", "development"] {
            let row = of(hidden).as_object().unwrap();
            assert_eq!(row["suppressed"], 1, "{view}: {row:?}");
            let shown = row
                .iter()
                .filter(|(column, _)| !["span", "environment", "suppressed"].contains(&column.as_str()));
            assert!(
                shown.clone().count() > 10 && shown.clone().all(|(_, value)| value.is_null()),
                "{view}: {row:?}"
            );
        }
        assert_eq!(
            (&of("production")["suppressed"], of("production")["open_requests"].as_u64()),
            (&0.into(), Some(200))
        );
    }
    let adoption = all(&answers, "adoption", "environment").await;
    assert_eq!(adoption.iter().find(|row| row["environment"] == "all").unwrap()["participants"], 35);
    // Twenty contributors take at least twelve of 64 bits, here; never more than they are.
    let split = all(&answers, "traffic_split", "environment").await;
    let at_least = split.iter().find_map(|row| row["contributors_at_least"].as_u64()).unwrap();
    assert!((12..=20).contains(&at_least), "{at_least}");
    // By collector: all 35 of November, known by month.
    let retention = all(&answers, "retention", "months_later").await;
    assert_eq!((&retention[0]["suppressed"], &retention[0]["collectors"]), (&0.into(), &35.into()));
}

struct As<'a>(&'a Answers, &'static str);

impl As<'_> {
    /// The answer, or the number of the error.
    async fn ask(&self, sql: &str, settings: &str) -> Result<String, String> {
        let url = format!("{}/?user={}&password=change-me{settings}", self.0.clickhouse.url(), self.1);
        let answer = http_client().post(url).body(sql.to_owned()).send().await.unwrap();
        let is_error = !answer.status().is_success();
        let text = answer.text().await.unwrap();
        match is_error {
            false => Ok(text.trim_end().to_owned()),
            true => Err(text.split(['.', ' ']).nth(1).unwrap_or_default().to_owned()),
        }
    }
}

const NOT_ENOUGH_PRIVILEGES: &str = "497";

#[tokio::test]
async fn each_role_may_what_it_needs_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("clickhouse/weighbridge-users.d");
    std::fs::create_dir_all(&users).unwrap();
    std::fs::copy(root().join("deploy/clickhouse/users.xml"), users.join("weighbridge.xml")).unwrap();
    let answers = Answers::start(folder.path()).await;
    answers.ledger(CELLS, 1).await;

    // The writer rolls up, and keeps everything else.
    let config = config::ClickHouse {
        url: answers.clickhouse.url(),
        user: "weighbridge_load".to_owned(),
        password: config::Secret::new("change-me"),
        ledger_ttl_days: answers.store.ledger_ttl_days(),
        retention: answers.store.retention(),
        ..config::ClickHouse::default()
    };
    let store = Store::new(&config).unwrap();
    assert_eq!(rollup::rebuild(&store, &Clock::default()).await.unwrap(), 2);
    let writer = As(&answers, "weighbridge_load");
    writer.ask("INSERT INTO weighbridge.ledger (window_start) VALUES (now())", "").await.unwrap();
    for sql in [
        "DROP TABLE weighbridge.ledger",
        "TRUNCATE TABLE weighbridge.reports",
        "ALTER TABLE weighbridge.ledger DROP PARTITION 20261105",
        "DROP TABLE weighbridge.traffic_1d",
        "DROP VIEW weighbridge.adoption",
    ] {
        assert_eq!(writer.ask(sql, "").await, Err(NOT_ENOUGH_PRIVILEGES.to_owned()), "{sql}");
    }

    let names = "SELECT name FROM system.tables WHERE database = 'weighbridge' AND";
    let views =
        answers.clickhouse.query(&format!("{names} engine = 'View' AND NOT name LIKE '%audit%'")).await;
    let tables = answers.clickhouse.query(&format!("{names} engine != 'View'")).await;
    let (reader, publisher) = (As(&answers, "weighbridge_reader"), As(&answers, "weighbridge_publisher"));
    let answers_only: Vec<&str> =
        ANSWERS.iter().map(|(view, _)| *view).chain(["coverage", "schema_version"]).collect();
    assert!(
        views.lines().count() > 30
            && answers_only.iter().all(|answer| views.lines().any(|view| view == *answer))
    );
    for view in views.lines() {
        let sql = format!("SELECT count() FROM (SELECT * FROM weighbridge.{view} LIMIT 1)");
        reader.ask(&sql, "").await.unwrap_or_else(|error| panic!("{view}: {error}"));
        let may = publisher.ask(&sql, "").await;
        assert_eq!(may.is_ok(), answers_only.contains(&view), "{view}: {may:?}");
    }
    for table in tables.lines() {
        for user in [&reader, &publisher] {
            let sql = format!("SELECT count() FROM weighbridge.{table}");
            assert_eq!(user.ask(&sql, "").await, Err(NOT_ENOUGH_PRIVILEGES.to_owned()), "{table}");
        }
    }

    let dashboards = As(&answers, "weighbridge_dashboards");
    // As Grafana's driver asks, with a time limit of its own.
    assert_eq!(
        dashboards.ask("SELECT count() FROM weighbridge.traffic_split", "&max_execution_time=45").await,
        Ok("4".to_owned())
    );
    for (sql, settings) in [
        ("SELECT 1", "&max_execution_time=3600"),
        ("SELECT 1", "&max_memory_usage=0"),
        ("SELECT 1", "&readonly=0"),
        ("INSERT INTO weighbridge.ledger (window_start) VALUES (now())", ""),
        ("SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')", ""),
    ] {
        assert!(dashboards.ask(sql, settings).await.is_err(), "{sql} {settings}");
    }
    let quota = "SELECT max_queries FROM system.quota_limits WHERE quota_name = 'weighbridge_dashboards'";
    assert_eq!(answers.clickhouse.query(quota).await, "3000");
}

/// The SQL form cannot be run on the embedded server, which has no storage for users: it is parsed, and says the same as users.xml.
#[tokio::test]
async fn access_in_sql_parses_and_grants_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    let read =
        |name: &str| std::fs::read_to_string(root().join("deploy/clickhouse").join(Path::new(name))).unwrap();
    let (sql, xml) = (read("access.sql"), read("users.xml"));
    let statements = weighbridge_aggregator::migrate::statements(&sql);
    assert!(statements.len() > 50);
    for statement in &statements {
        answers.clickhouse.query(&format!("EXPLAIN AST {}", statement.trim_end_matches(';'))).await;
    }
    let in_xml = |user: &str| {
        let text = xml
            .split("<users>")
            .nth(1)
            .unwrap()
            .split(&format!("<{user}>"))
            .nth(1)
            .unwrap()
            .split(&format!("</{user}>"))
            .next()
            .unwrap();
        let mut grants: Vec<String> = text
            .split("<query>")
            .skip(1)
            .map(|rest| rest.split("</query>").next().unwrap().to_owned())
            .collect();
        grants.sort();
        grants
    };
    let in_sql = |roles: &[&str]| {
        let is_of = |role: &str| roles.contains(&role);
        let split = |statement: &String| {
            let (what, role) = statement.rsplit_once(" TO ").or_else(|| statement.rsplit_once(" FROM "))?;
            let is_grant =
                what.contains(" ON ") && (what.starts_with("GRANT ") || what.starts_with("REVOKE "));
            (is_grant && is_of(role.trim_end_matches(';'))).then(|| what.to_owned())
        };
        let mut grants: Vec<String> = statements.iter().filter_map(split).collect();
        grants.sort();
        grants
    };
    assert_eq!(in_xml("weighbridge_load"), in_sql(&["weighbridge_writer"]));
    assert_eq!(in_xml("weighbridge_publisher"), in_sql(&["weighbridge_publisher"]));
    assert_eq!(in_xml("weighbridge_reader"), in_sql(&["weighbridge_publisher", "weighbridge_reader"]));
    assert_eq!(in_xml("weighbridge_dashboards"), in_xml("weighbridge_reader"));
}
