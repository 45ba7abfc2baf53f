//! Every view on a small set whose sums can be done by hand, and on changes of it whose effect is known.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config;
use weighbridge_aggregator::load::rollup;
use weighbridge_aggregator::migrate;
use weighbridge_aggregator::store::Store;
use weighbridge_tests::answers::{Answers, uuid};

/// Four organisations (not authenticated: a collector is one) in the four weeks from Monday, 2026-10-26.
///
/// | collector | environment | open | closed | unknown |
/// |---|---|---|---|---|
/// | 1 | production | 20 days of 30 = 600 | 20 days of 10 = 200 | |
/// | 2 | production | 10 (restricted) | 90 | |
/// | 3 | staging | | 5 | 5 |
/// | 4 | production | | 100 | |
const NOVEMBER: &str = "
# minute          collector contributor environment product model  openness hosting operation choice outcome requests attempts input output
2026-11-03T10:00:00 2 0 production kong    glm-5.3  open-restricted third_party chat            first ok 10   10   10   10
2026-11-03T10:00:00 2 0 production kong    unlisted closed          marketplace chat            first ok 90   90   90   90
2026-11-03T10:00:00 3 0 staging    genai   unlisted unknown         unknown     chat            first ok 5    5    5    5
2026-11-03T10:00:00 3 0 staging    genai   unlisted closed          first_party chat            first ok 5    5    5    5
2026-11-04T10:00:00 4 0 production litellm unlisted closed          first_party text_completion first ok 100  100  100  100
2026-11-04T10:00:00 4 0 production litellm gpt-oss-120b open-permissive self_hosted embeddings  first ok 900  900  900  0   # not of the split
2026-11-04T10:00:00 4 0 production litellm unlisted closed          first_party chat            first server_error 7 7 0 0  # served by nobody
";

fn twenty_days() -> String {
    let days = (1..=20).map(|day| {
        format!(
            "2026-11-{day:02}T10:00:00 1 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok 30 30 300 30
             2026-11-{day:02}T10:00:00 1 0 production litellm unlisted closed first_party chat first ok 10 10 1000 100\n"
        )
    });
    days.collect()
}

/// Fallbacks in the four weeks before. In the first minute of collector 1 every fallback has one origin; in the second, 3 failures of
/// one kind and 1 of another stand before 3 fallbacks; collector 2 does not tell failures.
const OCTOBER: &str = "
2026-10-05T10:00:00 1 0 production litellm unlisted closed first_party chat first rate_limited 0 4 0 0
2026-10-05T10:00:00 1 0 production litellm gpt-oss-120b open-permissive self_hosted chat fallback ok 4 4 4 4
2026-10-05T10:01:00 1 0 production litellm unlisted closed first_party chat first rate_limited 0 3 0 0
2026-10-05T10:01:00 1 0 production litellm unlisted closed first_party chat first server_error 1 2 0 0   # one of two was the end
2026-10-05T10:01:00 1 0 production litellm gpt-oss-120b open-permissive self_hosted chat fallback ok 2 2 2 2
2026-10-05T10:01:00 1 0 production litellm unlisted closed first_party chat fallback ok 1 1 1 1
2026-10-05T10:00:00 2 0 production kong gpt-oss-120b open-permissive self_hosted chat fallback ok 5 5 5 5
";

/// Three collectors whose first open traffic is of March 2026.
const COHORT: &str = "
2026-03-10T10:00:00 11 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok 10 10 0 0
2026-03-10T10:00:00 11 0 production litellm unlisted     closed          first_party chat first ok 10 10 0 0
2026-03-10T10:00:00 12 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok 20 20 0 0
2026-03-10T10:00:00 13 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok  1  1 0 0
2026-03-10T10:00:00 13 0 production litellm unlisted     closed          first_party chat first ok  9  9 0 0
2026-04-10T10:00:00 11 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok 30 30 0 0
2026-04-10T10:00:00 11 0 production litellm unlisted     closed          first_party chat first ok 10 10 0 0
2026-04-10T10:00:00 13 0 production litellm unlisted     unknown         unknown     chat first ok  5  5 0 0
2026-06-10T10:00:00 11 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok 10 10 0 0
2026-06-10T10:00:00 12 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok  5  5 0 0
2026-06-10T10:00:00 12 0 production litellm unlisted     closed          first_party chat first ok  5  5 0 0
2026-09-10T10:00:00 11 0 production litellm unlisted     closed          first_party chat first ok 10 10 0 0
2026-09-10T10:00:00 12 0 production litellm gpt-oss-120b open-permissive self_hosted chat first ok  1  1 0 0
2026-09-10T10:00:00 12 0 production litellm unlisted     unknown         unknown     chat first ok  9  9 0 0
";

const SPAN: &str = "span = '2026-10-26'";

async fn all_of_it(answers: &Answers) {
    for cells in [NOVEMBER, &twenty_days(), OCTOBER, COHORT] {
        answers.ledger(cells, 1).await;
    }
    // 22 days of the first two, 4 of the cohort; two of the cells of November and of the twenty days are of one day.
    assert_eq!(answers.rebuild().await, 20 + 1 + 4);
    assert_eq!(answers.rebuild().await, 0, "nothing moved since");
}

/// One row, of which the named columns are as expected; numbers within a millionth.
async fn expect(answers: &Answers, from: &str, expected: Value) {
    let rows = answers.rows(&format!("SELECT * FROM weighbridge.{from}")).await;
    let [row] = &rows[..] else { panic!("{from}: {} rows: {rows:?}", rows.len()) };
    for (column, value) in expected.as_object().unwrap() {
        let found = &row[column];
        let same = match (found.as_f64(), value.as_f64()) {
            (Some(found), Some(value)) => (found - value).abs() < 1e-6,
            _ => found == value,
        };
        assert!(same, "{from}: {column} is {found}, by hand {value}: {row}");
    }
}

#[tokio::test]
async fn every_view_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    all_of_it(&answers).await;
    answers_by_hand(&answers).await;
    fallbacks_by_hand(&answers).await;
    retention_by_hand(&answers).await;
    every_series_sums_to_the_ledger(&answers).await;
}

/// What was rolled up before a table was made is in it too, though the ledger has forgotten those days.
#[tokio::test]
async fn new_rollups_hold_the_days_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    all_of_it(&answers).await;
    let tables = [
        "rollup_split_5m",
        "rollup_models_1h",
        "rollup_models_6h",
        "rollup_unknown_1h",
        "rollup_split_4w",
        "rollup_fallbacks_1w",
        "rollup_coverage_1w",
    ];
    let content = |table: &str| format!("SELECT * EXCEPT built_from FROM weighbridge.{table} ORDER BY ALL");
    let mut expected = Vec::new();
    for table in tables {
        expected.push(answers.clickhouse.query(&content(table)).await);
        answers.clickhouse.query(&format!("TRUNCATE TABLE weighbridge.{table}")).await;
    }
    let config = config::ClickHouse {
        url: answers.clickhouse.url(),
        ledger_ttl_days: 1,
        retention: answers.store.retention(),
        ..config::ClickHouse::default()
    };
    let forgets = Store::new(&config).unwrap();
    assert_eq!(rollup::rebuild(&forgets, &Clock::default()).await.unwrap(), 0, "no day of the ledger");
    for (table, expected) in tables.into_iter().zip(expected) {
        assert!(!expected.is_empty(), "{table}");
        assert_eq!(answers.clickhouse.query(&content(table)).await, expected, "{table}");
    }
}

/// Every column of every view says what it means, and a view that is made again is told again.
#[tokio::test]
async fn every_column_of_a_view_has_a_comment() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    let without = "SELECT concat(c.table, '.', c.name) FROM system.columns AS c INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table \
                   WHERE c.database = 'weighbridge' AND t.engine = 'View' AND c.comment = '' ORDER BY ALL";
    assert_eq!(answers.clickhouse.query(without).await, "");
    let units = "SELECT comment FROM system.columns WHERE database = 'weighbridge' AND table = 'coverage_1h' AND name = 'covered_s'";
    assert_eq!(
        answers.clickhouse.query(units).await,
        "time covered by windows, seconds, summed over collectors"
    );
    // Readers still read as the user who migrated.
    let secure = "SELECT count() FROM system.tables WHERE database = 'weighbridge' AND name = 'adoption' AND create_table_query LIKE '%SQL SECURITY DEFINER%'";
    assert_eq!(answers.clickhouse.query(secure).await, "1");
    let again = "CREATE OR REPLACE VIEW weighbridge.schema_version AS SELECT max(version) AS version FROM weighbridge.migrations";
    answers.clickhouse.query(again).await;
    assert_eq!(answers.clickhouse.query(without).await, "schema_version.version");
    migrate::up(&answers.store, &weighbridge_catalog::embedded().export()).await.unwrap();
    assert_eq!(answers.clickhouse.query(without).await, "");
}

async fn answers_by_hand(answers: &Answers) {
    // 600 + 10 open, 200 + 90 + 100 closed; input tokens 20 * 300 + 10 to 20 * 1000 + 90 + 100.
    expect(
        answers,
        &format!("traffic_split WHERE {SPAN} AND environment = 'production'"),
        json!({"suppressed": 0, "contributors_at_least": 0, "open_requests": 610, "closed_requests": 390, "unknown_requests": 0,
            "open_share": 0.61, "open_share_lower": 0.61, "open_share_upper": 0.61,
            "open_input_tokens": 6_010, "closed_input_tokens": 20_190, "input_open_share": 6_010. / 26_200.,
            "open_output_tokens": 610, "closed_output_tokens": 2_190, "output_open_share": 610. / 2_800.}),
    )
    .await;
    // Nothing open, 5 closed, 5 unknown: none of the classified, at most half of all.
    expect(
        answers,
        &format!("traffic_split WHERE {SPAN} AND environment = 'staging'"),
        json!({"open_share": 0, "open_share_lower": 0, "open_share_upper": 0.5}),
    )
    .await;
    // Collectors 1, 2 and 4; 1 and 2 have open traffic, 1 more open than closed, 1 on twenty days.
    expect(
        answers,
        &format!("adoption WHERE {SPAN} AND environment = 'production'"),
        json!({"suppressed": 0, "participants": 3, "with_open": 2, "with_open_max": 2, "with_majority": 1, "with_sustained": 1,
            "with_open_share": 2. / 3., "with_majority_share": 1. / 3., "open_share": 0.61, "input_open_share": 6_010. / 26_200.}),
    )
    .await;
    // With collector 3, whose unknown traffic may be open, but not more than its closed traffic without doubt.
    expect(
        answers,
        &format!("adoption WHERE {SPAN} AND environment = 'all'"),
        json!({"participants": 4, "with_open": 2, "with_open_max": 3, "with_majority_min": 1, "with_majority": 1,
            "with_majority_max": 1, "with_open_share": 0.5, "with_open_max_share": 0.75,
            "open_share": 610. / 1_005., "open_share_lower": 610. / 1_010., "open_share_upper": 615. / 1_010.}),
    )
    .await;
    // A day with traffic has 40 requests of collector 1, 100 of 2, and of 4 all that it counted, 1007.
    for (class, days, participants, open_share) in
        [(1, "20-28", 1, 0.75), (2, "1-4", 1, 0.1), (3, "1-4", 1, 0.)]
    {
        expect(
            answers,
            &format!(
                "production_share WHERE {SPAN} AND environment = 'production' AND volume_class = {class}"
            ),
            json!({"active_days": days, "participants": participants, "open_share": open_share}),
        )
        .await;
    }
    // Of 1000 requests in production.
    for (hosting, open, closed, share) in [
        ("self_hosted", 600, 0, 0.6),
        ("first_party", 0, 300, 0.3),
        ("third_party", 10, 0, 0.01),
        ("marketplace", 0, 90, 0.09),
    ] {
        expect(
            answers,
            &format!("hosting WHERE {SPAN} AND environment = 'production' AND hosting = '{hosting}'"),
            json!({"open_requests": open, "closed_requests": closed, "share_of_requests": share}),
        )
        .await;
    }
    for (licence, share) in [("Apache-2.0", 0.6), ("GLM-5.3 License", 0.01), ("", 0.39)] {
        let from = format!("licences WHERE {SPAN} AND environment = 'production' AND licence = '{licence}'");
        expect(answers, &from, json!({"share_of_requests": share})).await;
    }
    for (model, developer, share) in [("gpt-oss-120b", "OpenAI", 0.6), ("unlisted", "", 0.39)] {
        let from = format!("model_split WHERE {SPAN} AND environment = 'production' AND model = '{model}'");
        let found = answers.rows(&format!("SELECT * FROM weighbridge.{from}")).await;
        assert_eq!(found[0]["developer"].as_str().unwrap().is_empty(), developer.is_empty());
        expect(answers, &from, json!({"share_of_requests": share})).await;
    }
}

/// 12 fallbacks: 4 after a rate limit beyond doubt, 3 after one of four failures, 5 after nothing that was told.
async fn fallbacks_by_hand(answers: &Answers) {
    for (from, after, to, min, max, likely) in [
        // 4, and of the second minute 2 - 1 (the other failure explains one) to 2, likely 2 * 3/4.
        ("closed", "rate_limited", "open", 5, 6, 5.5),
        ("closed", "rate_limited", "closed", 0, 1, 0.75),
        ("closed", "server_error", "open", 0, 1, 0.5),
        ("closed", "server_error", "closed", 0, 1, 0.25),
        ("unknown", "unknown", "open", 5, 5, 5.),
    ] {
        let which = format!("from_class = '{from}' AND after_outcome = '{after}' AND to_class = '{to}'");
        let counts = json!({"requests_min": min, "requests_max": max, "requests_likely": likely});
        expect(answers, &format!("fallbacks_1h WHERE {which}"), counts.clone()).await;
        expect(answers, &format!("fallbacks_1d WHERE {which}"), counts.clone()).await;
        let shares = json!({"suppressed": 0, "share": likely / 12., "share_lower": f64::from(min) / 12., "share_upper": f64::from(max) / 12.});
        expect(answers, &format!("fallbacks WHERE {which}"), shares).await;
        expect(answers, &format!("fallbacks WHERE {which}"), counts).await;
    }
    let likely =
        answers.clickhouse.query("SELECT sum(requests_likely), count() FROM weighbridge.fallbacks_1d").await;
    assert_eq!(likely, "12\t5");
}

async fn retention_by_hand(answers: &Answers) {
    // Open shares in March: 0.5, 1 and 0.1.
    let first = (0.5 + 1. + 0.1) / 3.;
    for (months, still, still_max, share_first, share_later) in [
        (0, 3, 3, first, first),
        // April: only 11, by 0.5 to 0.75; 13 has unknown traffic.
        (1, 1, 2, 0.5, 0.75),
        // June: 11 by 0.5 to 1, 12 by 1 to 0.5.
        (3, 2, 2, 0.75, 0.75),
        // September: 12, all of what is classified; 11 has closed traffic only.
        (6, 1, 1, 1., 1.),
    ] {
        expect(
            answers,
            &format!("retention WHERE cohort = '2026-03-01' AND months_later = {months}"),
            json!({"suppressed": 0, "is_first_on_record": 1, "collectors": 3, "still": still, "still_max": still_max,
                "retention": f64::from(still) / 3., "retention_upper": f64::from(still_max) / 3.,
                "share_first": share_first, "share_later": share_later, "moved": share_later - share_first}),
        )
        .await;
    }
    // Collectors 1 and 2 began in October, and both are there in November: 6 of 7 to 600 of 800, and 5 of 5 to 10 of 100.
    expect(
        answers,
        "retention WHERE cohort = '2026-10-01' AND months_later = 1",
        json!({"is_first_on_record": 0, "collectors": 2, "still": 2, "moved": ((0.75 - 6. / 7.) + (0.1 - 1.)) / 2.}),
    )
    .await;
    let later = answers
        .clickhouse
        .query("SELECT count() FROM weighbridge.retention WHERE cohort = '2026-10-01'")
        .await;
    assert_eq!(later, "2", "three months after October have not begun");
}

/// Collector 1 sends two windows on the 10th, one of them late, and declares 3 dropped requests; collector 2 was there the day before.
#[tokio::test]
async fn coverage_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Answers::start(folder.path()).await;
    answers
        .ledger(
            "2026-11-10T10:00:00 1 0 production litellm unlisted unknown unknown chat first ok 1 1 0 0",
            1,
        )
        .await;
    answers
        .ledger("2026-11-10T11:00:00 1 0 production litellm unlisted closed unknown chat first ok 3 3 0 0", 1)
        .await;
    let report = |window: &str, collector: &str, sequence: u64, product: &str, dropped: u64, after_s: u64| {
        // What kong reports is a window without traffic.
        let cells = u8::from(product == "litellm");
        format!(
            "(toDateTime('{window}', 'UTC'), '{}', 1, {sequence}, 3600, 'production', 'gateway', '{product}', {dropped}, {cells}, \
             toDateTime('{window}', 'UTC') + 3600 + {after_s})",
            uuid(collector)
        )
    };
    let reports = [
        report("2026-11-10 10:00:00", "1", 0, "litellm", 0, 600),
        report("2026-11-10 11:00:00", "1", 1, "litellm", 3, 601),
        // Drained: the same window once more, covered once.
        report("2026-11-10 11:00:00", "1", 2, "litellm", 3, 0),
        report("2026-11-09 11:00:00", "2", 5, "kong", 7, 0),
    ];
    let sql = "INSERT INTO weighbridge.reports (window_start, collector_id, boot_epoch, sequence, window_s, environment, vantage, \
               gateway_product, dropped_requests, cells, ingested_at) VALUES";
    answers.clickhouse.query(&format!("{sql} {}", reports.join(", "))).await;
    answers.rebuild().await;
    assert_eq!(answers.rebuild().await, 0);
    expect(
        &answers,
        "coverage_1d WHERE time = '2026-11-10 00:00:00' AND gateway_product = 'litellm'",
        json!({"collectors": 1, "collectors_silent": 0, "reports": 3, "covered_s": 7_200, "partial_windows": 1, "late_windows": 1,
            "dropped_requests": 3, "requests": 4, "unknown_requests": 1}),
    )
    .await;
    expect(
        &answers,
        "coverage_1d WHERE time = '2026-11-10 00:00:00' AND gateway_product = 'kong'",
        json!({"collectors": 0, "collectors_silent": 1, "reports": 0}),
    )
    .await;
    expect(
        &answers,
        "coverage_1h WHERE time = '2026-11-10 11:00:00'",
        json!({"collectors": 1, "reports": 2, "covered_s": 3_600, "late_windows": 1, "partial_windows": 0, "requests": 3, "unknown_requests": 0}),
    )
    .await;
    // Both in the week of Monday the 9th: three days of collectors, one of them silent.
    expect(
        &answers,
        "coverage WHERE span = '2026-10-26'",
        json!({"collector_days": 2, "silent_collector_days": 1, "reports": 4, "dropped_requests": 3, "requests": 4,
            "unknown_share": 0.25, "partial_share": 1. / 4., "late_share": 1. / 4., "covered_share": 3. * 3_600. / (2. * 86_400.)}),
    )
    .await;
    let weeks = answers
        .clickhouse
        .query("SELECT sum(collector_days), sum(reports), sum(requests) FROM weighbridge.coverage_1w")
        .await;
    assert_eq!(weeks, "2\t4\t4");
    let newest = answers.clickhouse.query("SELECT count(), max(newest) FROM weighbridge.newest_1h").await;
    assert_eq!(newest, "2\t2026-11-10 11:00:00");
}

/// Every combination of dimensions that a coarser rollup keeps has there what it has in the ledger.
async fn rollups_made_of_rollups(answers: &Answers) {
    let counts = "WHERE outcome = 'ok' AND operation IN ('chat', 'text_completion')";
    let sums = "sum(requests), sum(input_tokens), sum(output_tokens)";
    let split = "environment, vantage, gateway_product, openness, hosting, operation, choice, outcome";
    let models = "environment, vantage, model, provider, openness, hosting, operation";
    let span = "toDate(4 + intDiv(toUInt32(toDate(window_start)) - 4, 28) * 28)";
    for (table, time, of_ledger, dimensions, of) in [
        ("rollup_split_5m", "minute", "toStartOfFiveMinutes(window_start)", split, ""),
        ("rollup_models_1h", "hour", "toStartOfHour(window_start)", models, counts),
        (
            "rollup_models_6h",
            "hour",
            "toStartOfInterval(window_start, INTERVAL 6 HOUR, 'UTC')",
            models,
            counts,
        ),
        ("rollup_split_4w", "span", span, "environment, vantage, openness, hosting", counts),
    ] {
        let of = format!("FROM weighbridge.ledger FINAL {of}");
        let ledger = format!("SELECT {of_ledger} AS at, {dimensions}, {sums} {of} GROUP BY ALL ORDER BY ALL");
        let kept = format!(
            "SELECT {time} AS at, {dimensions}, {sums} FROM weighbridge.{table} GROUP BY ALL ORDER BY ALL"
        );
        let expected = answers.clickhouse.query(&ledger).await;
        assert!(expected.lines().count() > 5, "{table}: {expected}");
        assert_eq!(answers.clickhouse.query(&kept).await, expected, "{table}");
    }
    for (coarse, fine, sums) in [
        ("fallbacks_1w", "fallbacks_1d", "sum(requests_min), sum(requests_max), sum(requests_likely)"),
        ("coverage_1h", "coverage_1d", "sum(requests), sum(unknown_requests)"),
        ("coverage_1w", "coverage_1d", "sum(requests), sum(unknown_requests), sum(reports)"),
    ] {
        let of = |view: &str| {
            format!(
                "SELECT toMonday(time) AS week, environment, gateway_product, {sums} FROM weighbridge.{view} GROUP BY ALL ORDER BY ALL"
            )
        };
        let expected = answers.clickhouse.query(&of(fine)).await;
        assert!(!expected.is_empty(), "{fine}");
        assert_eq!(answers.clickhouse.query(&of(coarse)).await, expected, "{coarse}");
    }
}

/// The same sums at every grain of time and in every rollup.
async fn every_series_sums_to_the_ledger(answers: &Answers) {
    let counts = "outcome = 'ok' AND operation IN ('chat', 'text_completion')";
    let sums = "sum(requests), sum(input_tokens), sum(output_tokens)";
    let total = answers
        .clickhouse
        .query(&format!("SELECT {sums} FROM weighbridge.ledger FINAL WHERE {counts}"))
        .await;
    for view in ["traffic_split", "models", "licences"] {
        for (grain, first) in [
            ("1m", "2026-03-10 "),
            ("5m", "2026-03-10 10:00:00"),
            ("1h", "2026-03-10 10:00:00"),
            ("6h", "2026-03-10 06:00:00"),
            ("1d", "2026-03-10 "),
            ("1w", "2026-03-09 00:00:00"),
            ("4w", "2026-02-16 00:00:00"),
        ] {
            let none = [
                ("licences", "1m"),
                ("licences", "5m"),
                ("models", "5m"),
                ("traffic_split", "6h"),
                ("traffic_split", "4w"),
            ];
            if none.contains(&(view, grain)) {
                continue;
            }
            let sql = format!("SELECT {sums} FROM weighbridge.{view}_{grain}");
            assert_eq!(answers.clickhouse.query(&sql).await, total, "{view}_{grain}");
            let begins =
                answers.clickhouse.query(&format!("SELECT min(time) FROM weighbridge.{view}_{grain}")).await;
            assert!(begins.starts_with(first), "{view}_{grain} begins at {begins}");
        }
    }
    let sums = "sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens)";
    let total = answers.clickhouse.query(&format!("SELECT {sums} FROM weighbridge.ledger FINAL")).await;
    let tables = [
        "outcomes_1m",
        "outcomes_5m",
        "outcomes_1h",
        "outcomes_1d",
        "outcomes_1w",
        "traffic_1m",
        "traffic_1h",
        "traffic_1d",
    ];
    for table in tables {
        let sql = format!("SELECT {sums} FROM weighbridge.{table}");
        assert_eq!(answers.clickhouse.query(&sql).await, total, "{table}");
    }
    rollups_made_of_rollups(answers).await;
    let classes =
        "SELECT class, sum(requests) FROM weighbridge.traffic_split_1d GROUP BY class ORDER BY class";
    // Open: 610, 11 fallbacks and 31 + 30 + 15 + 1 of the cohort; closed: 395, 1 and 19 + 10 + 5 + 10; unknown: 5 and 5 + 9.
    assert_eq!(answers.clickhouse.query(classes).await, "unknown\t19\nclosed\t440\nopen\t698");
    let stages = "SELECT count() FROM system.tables WHERE database = 'weighbridge' AND name LIKE '%_stage_%'";
    assert_eq!(answers.clickhouse.query(stages).await, "0");
}
