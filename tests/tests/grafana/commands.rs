//! What dashboards show and what the terminal says of the same period are the same numbers.
//!
//! A table of a panel and rows of a command become maps from a key to numbers, and the maps must be equal.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use weighbridge_tests::grafana::board::{list, text};
use weighbridge_tests::grafana::run::{Answer, Choice, select};
use weighbridge_tests::processes::release_binary;

use super::queries::{DAY_S, World, clickhouse_boards};

/// Names of a row, and its numbers; null is -1.
type Figures = BTreeMap<String, Vec<f64>>;

struct Period {
    from_s: u64,
    to_s: u64,
}

/// A week that ended at midnight: whole days for the panels, whole hours for the commands.
fn week(world: &World) -> Period {
    let to_s = world.now_s / DAY_S * DAY_S;
    Period { from_s: to_s - 7 * DAY_S, to_s }
}

impl Period {
    async fn command(&self, world: &World, arguments: &[&str]) -> Value {
        let at = |seconds: u64| async move {
            let sql = format!("SELECT formatDateTime(toDateTime({seconds}, 'UTC'), '%FT%TZ')");
            world.clickhouse.query(&sql).await
        };
        let config = world.folder.path().join("aggregator.yaml");
        std::fs::write(&config, format!("clickhouse: {{url: '{}'}}\n", world.clickhouse.url())).unwrap();
        let mut command = Command::new(release_binary("weighbridge-aggregator"));
        command.env("WEIGHBRIDGE_CONFIG", &config).args(arguments).args(["--format", "json"]);
        command.args(["--from", &at(self.from_s).await, "--to", &at(self.to_s).await]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn panel(&self, world: &World, uid: &str, title: &str) -> Answer {
        let boards = clickhouse_boards();
        let board = boards.iter().find(|board| board.uid() == uid).unwrap();
        let range = world.range(self.from_s, self.to_s);
        let chosen = select(&world.url(), board, range, &Choice::All).await.unwrap();
        let target = board.targets().into_iter().find(|target| target.panel["title"] == title);
        let target = target.unwrap_or_else(|| panic!("{uid} has no panel {title}"));
        world.panel(target.sql(), range, target.panel, &chosen).await.unwrap()
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(-1.0)
}

/// Rows of a panel: `names` joined are the key; rows of one key are added.
fn shown(answer: &Answer, names: &[&str], numbers: &[&str]) -> Figures {
    let at = |name: &&str| {
        let found = answer.columns.iter().position(|(column, _)| column == name);
        found.unwrap_or_else(|| panic!("no column {name} in {:?}", answer.columns))
    };
    let mut figures = Figures::new();
    for row in &answer.rows {
        let key: Vec<String> = names.iter().map(at).map(|at| plain(&row[at])).collect();
        add(&mut figures, key.join(" "), numbers.iter().map(at).map(|at| number(&row[at])).collect());
    }
    figures
}

/// Rows of a command, in the same way.
fn told(rows: &Value, names: &[&str], numbers: &[&str]) -> Figures {
    let mut figures = Figures::new();
    for row in list(rows) {
        let get = |name: &&str| row.get(*name).unwrap_or_else(|| panic!("no {name} in {row}"));
        let key: Vec<String> = names.iter().map(|name| plain(get(name))).collect();
        add(&mut figures, key.join(" "), numbers.iter().map(|name| number(get(name))).collect());
    }
    figures
}

fn add(figures: &mut Figures, key: String, numbers: Vec<f64>) {
    let sums = figures.entry(key).or_insert_with(|| vec![0.0; numbers.len()]);
    sums.iter_mut().zip(&numbers).for_each(|(sum, number)| *sum += number);
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        number => number.as_f64().map_or_else(|| number.to_string(), |number| format!("{number}")),
    }
}

fn same(what: &str, shown: &Figures, told: &Figures) {
    assert!(!shown.is_empty(), "{what}: nothing to compare");
    let keys = |figures: &Figures| figures.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(shown), keys(told), "{what}");
    for (key, numbers) in shown {
        for (a, b) in numbers.iter().zip(&told[key]) {
            assert!(
                (a - b).abs() <= 1e-9 * b.abs().max(1.0),
                "{what}, {key}: shown {numbers:?}, told {:?}",
                told[key]
            );
        }
    }
}

/// Groups of `split`: requests open, closed and unknown, from the shares of each.
fn split_groups(split: &Value) -> Figures {
    let mut figures = Figures::new();
    for group in list(&split["groups"]) {
        let all = number(&group["requests"]);
        let shares = &group["shares"]["requests"];
        let open = (number(&shares["open_lower"]) * all).round();
        let unknown = (number(&shares["unknown"]) * all).round();
        figures.insert(text(&group["group"]).to_owned(), vec![open, all - open - unknown, unknown]);
    }
    figures
}

/// All panels whose figures a command has.
pub async fn agree(world: &World) {
    let week = week(world);
    splits(world, &week).await;
    models(world, &week).await;
    organisations(world).await;
    outcomes(world, &week).await;
    ways(world, &week).await;
    coverage(world, &week).await;
}

async fn splits(world: &World, week: &Period) {
    let classes = ["open", "closed", "unknown"];
    for (by, uid, title, name) in [
        ("hosting", "weighbridge-overview", "By hosting", "host"),
        ("environment", "weighbridge-overview", "By environment", "env"),
        ("product", "weighbridge-overview", "By gateway", "gateway"),
        ("developer", "weighbridge-models", "Makers", "maker"),
    ] {
        let answer = week.panel(world, uid, title).await;
        let split = week.command(world, &["split", "--by", by]).await;
        let mut told = split_groups(&split);
        told.retain(|key, _| by != "developer" || (!key.is_empty() && key != "unlisted" && key != "-"));
        same(title, &shown(&answer, &[name], &classes), &told);
    }
    let days = week.panel(world, "weighbridge-overview", "Traffic over time").await;
    let mut by_day = shown(&days, &["time"], &classes);
    by_day = by_day.into_iter().map(|(key, value)| (key[..10].to_owned(), value)).collect();
    same("Traffic over time", &by_day, &split_groups(&week.command(world, &["split", "--by", "day"]).await));

    let split = week.command(world, &["split"]).await;
    let mut requests = [0.0; 3];
    for (key, numbers) in told(&split["groups"], &["group"], &["requests"]) {
        let at = usize::from(!key.starts_with("open-")) + usize::from(key == "unknown");
        requests[at] += numbers[0];
    }
    let [open, closed, unknown] = requests;
    let all = open + closed + unknown;
    for (title, columns, expected) in [
        ("Open share", &["open_share"][..], vec![open / (open + closed)]),
        ("Bounds of the open share", &["lower", "upper"], vec![open / all, (open + unknown) / all]),
        ("Unknown share", &["unknown_share"], vec![unknown / all]),
        ("Traffic counted", &["total"], vec![all]),
    ] {
        let answer = week.panel(world, "weighbridge-overview", title).await;
        same(title, &shown(&answer, &[], columns), &Figures::from([(String::new(), expected)]));
    }
}

/// How requests ended, of every operation.
async fn outcomes(world: &World, week: &Period) {
    let command = week.command(world, &["outcomes", "--operation", "all"]).await;
    let answer = week.panel(world, "weighbridge-fallbacks", "Outcomes by class").await;
    let shown_rows = shown(&answer, &["weights", "ended"], &["counted", "share", "tries"]);
    let names = ["requests", "share_of_requests", "attempts"];
    same("Outcomes by class", &shown_rows, &told(&command["outcomes"], &["class", "outcome"], &names));

    let rows = list(&command["outcomes"]);
    let sum = |outcome: &str, column: &str| -> f64 {
        rows.iter()
            .filter(|row| outcome.is_empty() || row["outcome"] == outcome)
            .map(|row| number(&row[column]))
            .sum()
    };
    let all = sum("", "requests");
    for (title, column, expected) in [
        ("Served", "served", sum("ok", "requests") / all),
        ("Rate limited", "rate limited", sum("rate_limited", "requests") / all),
        ("Attempts a request", "attempts_a_request", sum("", "attempts") / all),
    ] {
        let answer = week.panel(world, "weighbridge-fallbacks", title).await;
        same(title, &shown(&answer, &[], &[column]), &Figures::from([(String::new(), vec![expected])]));
    }
}

async fn models(world: &World, week: &Period) {
    let answer = week.panel(world, "weighbridge-models", "Models").await;
    let columns = ["counted requests", "counted input tokens", "counted output tokens"];
    let command = week.command(world, &["models", "--limit", "1000"]).await;
    let told =
        told(&command["models"], &["model", "openness"], &["requests", "input_tokens", "output_tokens"]);
    same("Models", &shown(&answer, &["name", "weights"], &columns), &told);
    for (by, title, name) in [("licence", "Licences", "terms"), ("provider", "Providers", "name")] {
        let answer = week.panel(world, "weighbridge-models", title).await;
        let split = week.command(world, &["split", "--by", by]).await;
        let mut told = Figures::new();
        for row in list(&split["groups"]) {
            let key = text(&row["group"]);
            add(&mut told, key.to_owned(), vec![number(&row["requests"])]);
        }
        same(title, &shown(&answer, &[name], &["counted"]), &told);
    }
}

/// Spans and cohorts overlap the period, so it is a year.
async fn organisations(world: &World) {
    let to_s = world.now_s / DAY_S * DAY_S + DAY_S;
    let year = Period { from_s: to_s - 365 * DAY_S, to_s };
    let answer = year.panel(world, "weighbridge-adoption", "Spans").await;
    let spans = year.command(world, &["adoption"]).await;
    let columns = [
        "organisations",
        "any open",
        "majority open",
        "sustained",
        "open share",
        "open share, lower",
        "open share, upper",
    ];
    let names = [
        "participants",
        "with_open",
        "with_majority",
        "with_sustained",
        "open_share",
        "open_share_lower",
        "open_share_upper",
    ];
    same("Spans", &shown(&answer, &["first_day"], &columns), &told(&spans["spans"], &["span"], &names));

    let answer = year.panel(world, "weighbridge-adoption", "Cohorts").await;
    let cohorts = year.command(world, &["retention"]).await;
    let columns = ["cohort_size", "still there", "share still there", "possible", "moved by"];
    let names = ["collectors", "still", "retention", "retention_upper", "moved"];
    let months = shown(&answer, &["first_month", "later"], &columns);
    let months = months.into_iter().map(|(key, value)| (key[..7].to_owned() + &key[10..], value)).collect();
    same("Cohorts", &months, &told(&cohorts["cohorts"], &["cohort", "months_later"], &names));

    let answer = year.panel(world, "weighbridge-adoption", "By environment").await;
    let classes = year.command(world, &["production"]).await;
    let last = list(&classes["classes"]).iter().map(|row| text(&row["span"])).max().unwrap().to_owned();
    let mut sums = Figures::new();
    for row in list(&classes["classes"])
        .iter()
        .filter(|row| row["span"] == last.as_str() && row["open_requests"].is_number())
    {
        add(
            &mut sums,
            text(&row["environment"]).to_owned(),
            vec![number(&row["open_requests"]), number(&row["closed_requests"])],
        );
    }
    let shares: Figures = sums.into_iter().map(|(key, n)| (key, vec![n[0] / (n[0] + n[1])])).collect();
    let mut shown = shown(&answer, &["env"], &["open share"]);
    shown.retain(|_, share| share[0] >= 0.0);
    same("By environment of organisations", &shown, &shares);
}

async fn ways(world: &World, week: &Period) {
    let answer = week.panel(world, "weighbridge-fallbacks", "Flows").await;
    let command = week.command(world, &["fallbacks"]).await;
    let shown =
        shown(&answer, &["origin", "cause", "destination"], &["at least", "at most", "likely", "share"]);
    let names = ["requests_min", "requests_max", "requests_likely", "share"];
    same("Flows", &shown, &told(&command["ways"], &["from_class", "after_outcome", "to_class"], &names));
}

async fn coverage(world: &World, week: &Period) {
    let answer = week.panel(world, "weighbridge-pipeline", "Coverage").await;
    let command = week.command(world, &["coverage"]).await;
    let shown = shown(&answer, &["env"], &["windows", "dropped"]);
    same("Coverage", &shown, &told(&command["sums"], &["environment"], &["reports", "dropped_requests"]));
    let days = week.panel(world, "weighbridge-pipeline", "Collectors").await;
    let by_day: Figures = super::commands::shown(&days, &["time"], &["reporting"])
        .into_iter()
        .map(|(key, value)| (key[..10].to_owned(), value))
        .collect();
    same("Collectors", &by_day, &told(&command["days"], &["day"], &["collectors"]));
}
