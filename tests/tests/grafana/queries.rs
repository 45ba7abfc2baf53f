//! Every query of every panel, variable and alert, against a real ClickHouse with a month of traffic.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config;
use weighbridge_aggregator::load::rollup;
use weighbridge_aggregator::migrate;
use weighbridge_aggregator::store::Store;
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::grafana::board::{self, Dashboard, text};
use weighbridge_tests::grafana::data;
use weighbridge_tests::grafana::macros::{self, TimeRange};
use weighbridge_tests::grafana::run::{Answer, Choice, ask, expand, judge, select, with_interval};
use weighbridge_tests::grafana::variables::Variables;
use weighbridge_tests::processes::root;

use super::commands;

const HOUR_S: u64 = 3_600;
pub const DAY_S: u64 = 86_400;
/// A text that breaks out of quotes, a condition and a link, if anything lets it.
const QUOTES: &str = "it's (a, \"b\") -- $model";

/// Columns that hold nothing in this month, by panel: nobody is hidden, the register has no model of unknown openness, and sustained use needs
/// twenty days.
fn may_be_zero(panel: &str, column: &str, range: &str) -> bool {
    let few_days = range != "a year" && range != "7 days";
    match (panel, column) {
        (_, "hidden") | ("Makers", "unknown") => true,
        ("Sustained open use", _) | (_, "sustained" | "sustained open use") => few_days,
        _ => false,
    }
}

pub struct World {
    pub folder: TempDir,
    pub clickhouse: ClickHouse,
    pub now_s: u64,
}

impl World {
    /// A migrated server with traffic, rolled up by the project's own rebuild.
    async fn start() -> World {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("clickhouse/weighbridge-users.d");
        std::fs::create_dir_all(&users).unwrap();
        std::fs::copy(root().join("deploy/clickhouse/users.xml"), users.join("weighbridge.xml")).unwrap();
        let clickhouse = ClickHouse::start(folder.path()).await;
        let configured = config::ClickHouse { url: clickhouse.url(), ..config::ClickHouse::default() };
        let store = Store::new(&configured).unwrap();
        migrate::up(&store, &weighbridge_catalog::embedded().export()).await.unwrap();
        for statement in data::statements() {
            clickhouse.query(&statement).await;
        }
        rollup::rebuild(&store, &Clock::default()).await.unwrap();
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        World { folder, clickhouse, now_s }
    }

    /// As Grafana asks: by the user that is delivered for dashboards, with the setting that its driver sends.
    pub fn url(&self) -> String {
        let user = "user=weighbridge_dashboards&password=change-me&max_execution_time=30";
        format!("{}/?{user}", self.clickhouse.url())
    }

    fn last(&self, length: Duration) -> TimeRange {
        self.range(self.now_s - length.as_secs(), self.now_s)
    }

    pub fn range(&self, from_s: u64, to_s: u64) -> TimeRange {
        let ms = |seconds: u64| i64::try_from(seconds * 1_000).unwrap();
        TimeRange { from_ms: ms(from_s), to_ms: ms(to_s), interval_ms: 60_000 }
    }

    pub async fn panel(
        &self,
        sql: &str,
        range: TimeRange,
        panel: &Value,
        chosen: &Variables,
    ) -> Result<Answer, String> {
        let range = with_interval(range, panel, chosen);
        ask(&self.url(), &expand(sql, range, chosen)?).await
    }
}

pub fn clickhouse_boards() -> Vec<Dashboard> {
    board::dashboards().into_iter().filter(|board| !board.is_prometheus()).collect()
}

#[tokio::test]
async fn every_query_runs_and_its_answer_can_be_shown() {
    let world = World::start().await;
    let mut problems = Vec::new();
    let mut executions = 0;
    let ranges = [
        ("1 hour", world.last(Duration::from_secs(HOUR_S))),
        ("4 hours", world.last(Duration::from_secs(4 * HOUR_S))),
        ("2 days", world.last(Duration::from_secs(2 * DAY_S))),
        ("7 days", world.last(Duration::from_secs(7 * DAY_S))),
        ("a year", world.last(Duration::from_secs(365 * DAY_S))),
    ];
    let choices = [Choice::All, Choice::One("a".to_owned()), Choice::Odd(QUOTES.to_owned())];
    for board in clickhouse_boards() {
        for (name, range) in ranges {
            for choice in &choices {
                let chosen = match select(&world.url(), &board, range, choice).await {
                    Ok(chosen) => chosen,
                    Err(problem) => {
                        problems.push(problem);
                        continue;
                    }
                };
                let place = |target: &str| format!("{}, {target}, {name}, {choice:?}", board.file);
                for target in board.targets() {
                    executions += 1;
                    match world.panel(target.sql(), range, target.panel, &chosen).await {
                        Err(problem) => problems.push(format!("{}: {problem}", place(&target.name()))),
                        Ok(answer) => {
                            let wrong = judge(target, &answer);
                            if !wrong.is_empty() {
                                problems.push(format!("{}: {}", place(&target.name()), wrong.join("; ")));
                            }
                            // With All every column has something to show.
                            if *choice == Choice::All && !needs_a_longer_past(target.panel, name) {
                                let title = text(&target.panel["title"]);
                                let dead = answer.dead_columns();
                                let dead: Vec<&str> = dead
                                    .into_iter()
                                    .filter(|column| !may_be_zero(title, column, name))
                                    .collect();
                                if !dead.is_empty() || answer.is_empty() {
                                    problems.push(format!("{}: nothing in {dead:?}", place(&target.name())));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{executions} executions");
    problems.extend(resolutions(&world).await);
    problems.extend(nothing_is_shown_of_an_empty_period(&world).await);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(executions > 500, "{executions}");
    commands::agree(&world).await;
    broken_queries_are_found(&world).await;
    names_with_quotes_select_what_they_name(&world).await;
    // The last: it adds traffic.
    alerts(&world).await;
}

/// Spans of four weeks and cohorts need months; a change needs a period before it.
fn needs_a_longer_past(panel: &Value, range: &str) -> bool {
    let title = text(&panel["title"]);
    ["Still there", "By how much it moved"].contains(&title)
        || (range != "a year" && title == "Cohorts")
        || (range == "a year" && title == "Change against the period before")
}

/// Long ranges read coarse views.
async fn resolutions(world: &World) -> Vec<String> {
    let boards = clickhouse_boards();
    let overview = boards.iter().find(|board| board.uid() == "weighbridge-overview").unwrap();
    let mut problems = Vec::new();
    let days = 24;
    for (hours, fine, coarse) in [
        (1, "1m", "1h"),
        (2, "5m", "1h"),
        (6, "5m", "1h"),
        (7, "1h", "1h"),
        (12, "1h", "1h"),
        (13, "1h", "6h"),
        (3 * days, "1h", "6h"),
        (3 * days + 1, "1d", "1d"),
        (14 * days, "1d", "1d"),
        (14 * days + 1, "1d", "1w"),
        (60 * days, "1d", "1w"),
        (60 * days + 1, "1w", "1w"),
        (13 * 7 * days, "1w", "1w"),
        (13 * 7 * days + 1, "1w", "4w"),
    ] {
        let range = world.last(Duration::from_secs(hours * HOUR_S));
        let chosen = select(&world.url(), overview, range, &Choice::All).await.unwrap();
        let found = expand("${resolution} ${resolution_coarse}", range, &chosen).unwrap();
        if found != format!("{fine} {coarse}") {
            problems.push(format!("{hours} hours read {found}"));
        }
    }
    problems
}

/// A period without traffic: null or no row, so that Grafana shows `no data for this period`; never 0 and never NaN.
async fn nothing_is_shown_of_an_empty_period(world: &World) -> Vec<String> {
    let mut problems = Vec::new();
    let range = world.range(world.now_s - 400 * DAY_S, world.now_s - 390 * DAY_S);
    for board in clickhouse_boards() {
        let chosen = select(&world.url(), &board, range, &Choice::All).await.unwrap();
        for target in board.targets() {
            match world.panel(target.sql(), range, target.panel, &chosen).await {
                Ok(answer) if answer.is_empty() => {}
                Ok(answer) => {
                    problems.push(format!("{}, {}: {:?} of nothing", board.file, target.name(), answer.rows))
                }
                Err(problem) => {
                    problems.push(format!("{}, {}, empty period: {problem}", board.file, target.name()))
                }
            }
        }
    }
    problems
}

/// What an alert finds at a time: its number, and whether its threshold fires; none when there is no row.
async fn evaluate(world: &World, uid: &str, now_s: u64) -> Option<(f64, bool)> {
    let alert = board::alerts().into_iter().find(|alert| text(&alert.json["uid"]) == uid).unwrap();
    let seconds = |before: i64| now_s - u64::try_from(before).unwrap();
    let range = world.range(seconds(alert.from_s), seconds(alert.to_s));
    let answer = ask(&world.url(), &macros::expand(&alert.sql, range).unwrap()).await.unwrap();
    assert!(answer.columns.len() == 1 && answer.columns[0].1.contains("Float64"), "{uid}: {answer:?}");
    assert!(answer.rows.len() <= 1, "{uid}: {answer:?}");
    let value = answer.rows.first()?[0].as_f64().unwrap_or_else(|| panic!("{uid}: {answer:?}"));
    let evaluator = &alert.json["data"][2]["model"]["conditions"][0]["evaluator"];
    let threshold = evaluator["params"][0].as_f64().unwrap();
    let fires = match text(&evaluator["type"]) {
        "gt" => value > threshold,
        "lt" => value < threshold,
        other => panic!("{uid}: evaluator {other}"),
    };
    Some((value, fires))
}

/// Each alert is silent when it should be, fires in its case, and has nothing to say of an empty period but that there is no data.
async fn alerts(world: &World) {
    let now = world.now_s;
    let empty = now - 400 * DAY_S;
    let silent = |found: Option<(f64, bool)>| found.is_some_and(|(_, fires)| !fires);
    let fires = |found: Option<(f64, bool)>| found.is_some_and(|(_, fires)| fires);

    assert!(silent(evaluate(world, "weighbridge-no-data", now).await));
    assert_eq!(evaluate(world, "weighbridge-no-data", empty).await, Some((0.0, true)));

    // A ninth of what counts is unlisted and not proven: over 5 %.
    assert!(fires(evaluate(world, "weighbridge-unknown-share", now).await));
    assert_eq!(evaluate(world, "weighbridge-unknown-share", empty).await, None);

    assert!(silent(evaluate(world, "weighbridge-collectors-fell", now).await));
    // Three hours later nobody has reported.
    assert_eq!(evaluate(world, "weighbridge-collectors-fell", now + 4 * HOUR_S).await, Some((0.0, true)));
    assert_eq!(evaluate(world, "weighbridge-collectors-fell", empty).await, None);

    assert!(silent(evaluate(world, "weighbridge-open-share-moved", now).await));
    assert_eq!(evaluate(world, "weighbridge-open-share-moved", empty).await, None);
    let burst = format!(
        "INSERT INTO weighbridge.rollup_split_1h (hour, environment, vantage, gateway_product, openness, hosting, operation, choice, outcome, requests) \
         SELECT toStartOfHour(toDateTime({}, 'UTC')), 'production', 'gateway', 'litellm', 'open-permissive', 'self_hosted', 'chat', 'first', 'ok', 1000000",
        now - HOUR_S
    );
    world.clickhouse.query(&burst).await;
    assert!(fires(evaluate(world, "weighbridge-open-share-moved", now).await));
}

/// Queries that are wrong in the ways that happen are found by running them.
async fn broken_queries_are_found(world: &World) {
    let boards = clickhouse_boards();
    let overview = boards.iter().find(|board| board.uid() == "weighbridge-overview").unwrap();
    let range = world.last(Duration::from_secs(2 * DAY_S));
    let chosen = select(&world.url(), overview, range, &Choice::All).await.unwrap();
    let target = overview
        .targets()
        .into_iter()
        .find(|target| target.panel["title"] == "Open share with its bounds")
        .unwrap();
    for (from, to, expected) in [
        ("t.class = 'open'", "t.klass = 'open'", "UNKNOWN_IDENTIFIER"),
        ("t.class != 'unknown'", "t.class = 'nothing'", "dead: open_share"),
        ("traffic_split_", "traffic_splits_", "UNKNOWN_TABLE"),
        (
            "t.class != 'unknown'), 0) AS open_share",
            "t.class = 'closed'), 0) + 1 AS open_share",
            "outside 0 to 1",
        ),
        (
            "nullIf(sumIf(t.${measure}, t.class != 'unknown'), 0)",
            "(sumIf(t.${measure}, t.class != 'unknown') * 0)",
            "inf",
        ),
        ("ORDER BY time", "ORDER BY time DESC", "not sorted"),
        ("GROUP BY time", "GROUP BY time, t.class", "a time twice"),
        ("t.time AS time", "toString(t.time) AS time", "not a DateTime"),
        ("AS open_share", "AS requests, sum(requests) AS open_share", "ILLEGAL_AGGREGATION"),
    ] {
        assert!(target.sql().contains(from), "{from}");
        let sql = target.sql().replacen(from, to, 1);
        let found = match world.panel(&sql, range, target.panel, &chosen).await {
            Ok(answer) => {
                format!("{} dead: {}", judge(target, &answer).join("; "), answer.dead_columns().join(" "))
            }
            Err(problem) => problem,
        };
        assert!(found.contains(expected), "{to}: {found}");
    }
}

/// A value with a quote finds its rows: nothing is lost in quoting.
async fn names_with_quotes_select_what_they_name(world: &World) {
    let sql = "SELECT countIf(name = ${name:singlequote}) AS found FROM (SELECT 'it\\'s' AS name)";
    let chosen = Variables::from([(
        "name".to_owned(),
        weighbridge_tests::grafana::variables::Selection::Many(vec!["it's".to_owned()]),
    )]);
    let answer = ask(&world.url(), &expand(sql, world.last(Duration::from_secs(1)), &chosen).unwrap()).await;
    assert_eq!(answer.unwrap().value("found"), Some(1.0));
}
