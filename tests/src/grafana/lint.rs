//! What must hold of a dashboard whatever the data: rules that a reader would otherwise check by eye, each with a number.
//!
//! In go all dashboards, out come findings; none means clean. Nothing is run. Rules of queries hold for ClickHouse only.

use std::collections::BTreeSet;

use serde_json::Value;

use super::board::{ALERT_DATASOURCE, Alert, CLICKHOUSE, Dashboard, Target, list, text};
use super::macros;
use super::variables::{Reference, split_arguments};

/// Shown instead of an empty panel.
const NO_DATA: &str = "no data for this period";
const CONDITIONAL: &str = "$__conditionalAll(";
/// Variables whose values are ours: parts of names and of intervals, never a text.
const BUILT_IN: &[&str] = &[
    "database",
    "resolution",
    "resolution_coarse",
    "step",
    "step_coarse",
    "measure",
    "heard",
    "silent",
    "present",
];
/// Panels that show rows; they need a LIMIT.
const ROWS: &[&str] = &["table", "barchart", "piechart", "bargauge"];

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Number of the rule.
    pub rule: u8,
    /// File, panel or variable.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

struct Findings(Vec<Finding>);

impl Findings {
    fn check(&mut self, holds: bool, rule: u8, place: &str, problem: &str) {
        if !holds {
            self.0.push(Finding { rule, place: place.to_owned(), problem: problem.to_owned() });
        }
    }
}

/// All findings in all dashboards.
pub fn dashboards(all: &[Dashboard]) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    let mut uids = BTreeSet::new();
    for board in all {
        found.check(uids.insert(board.uid()), 2, &board.file, "another dashboard has this uid");
        whole(board, &mut found);
        for variable in board.variables() {
            self::variable(board, variable, &mut found);
        }
        for panel in board.panels() {
            self::panel(board, panel, &mut found);
        }
        if !board.is_prometheus() {
            for target in board.targets() {
                target_query(board, target, &mut found);
            }
            for (name, sql) in board.variable_queries() {
                query(sql, &format!("{}: ${name}", board.file), &mut found);
                let from_table = sql.contains("FROM ");
                let limited = !from_table || sql.contains("LIMIT ");
                found.check(limited, 12, &format!("{}: ${name}", board.file), "no LIMIT");
            }
        }
        references(board, &mut found);
        links(board, all, &mut found);
    }
    found.0
}

/// Rules 2 and 3: what Grafana needs to import a file unedited.
fn whole(board: &Dashboard, found: &mut Findings) {
    let json = &board.json;
    let place = board.file.as_str();
    let raw = json.to_string();
    found.check(json.get("__inputs").is_none() && !raw.contains("${DS_"), 3, place, "inputs of an export");
    found.check(json.get("id").is_none(), 3, place, "a database id");
    let uid = board.uid();
    let lower = uid.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    found.check(!uid.is_empty() && uid.len() <= 40 && lower, 2, place, "uid is not a short lower-case name");
    found.check(json["schemaVersion"] == 39, 3, place, "schemaVersion is not 39");
    for key in ["title", "description"] {
        found.check(!text(&json[key]).is_empty(), 4, place, "the dashboard has no title or description");
    }
    let tags = list(&json["tags"]);
    found.check(tags.contains(&Value::from("weighbridge")), 3, place, "no tag weighbridge");
    let annotations = list(&json["annotations"]["list"]);
    let built_in = annotations.iter().any(|one| text(&one["datasource"]["uid"]) == "-- Grafana --");
    found.check(built_in, 3, place, "the built-in annotations are missing");
    let mut ids = BTreeSet::new();
    for panel in list(&json["panels"]) {
        let id = panel["id"].as_i64();
        found.check(id.is_some() && ids.insert(id), 2, place, "a panel has no id of its own");
        let grid = |key: &str| panel["gridPos"][key].as_i64().unwrap_or(-1);
        let fits = grid("x") >= 0 && grid("w") > 0 && grid("x") + grid("w") <= 24 && grid("h") > 0;
        found.check(fits, 3, &named(board, panel), "gridPos does not fit into 24 columns");
    }
}

fn named(board: &Dashboard, panel: &Value) -> String {
    format!("{}: {}", board.file, text(&panel["title"]))
}

/// Rules 1, 3 and 15 of a variable.
fn variable(board: &Dashboard, variable: &Value, found: &mut Findings) {
    let place = format!("{}: ${}", board.file, text(&variable["name"]));
    match text(&variable["type"]) {
        "datasource" => {
            let named = variable["name"] == "datasource" && variable["label"] == "Data source";
            found.check(named, 1, &place, "the data source variable is not named datasource, Data source");
            let kind = text(&variable["query"]);
            found.check(kind == CLICKHOUSE || kind == "prometheus", 1, &place, "another kind of data source");
        }
        "query" => {
            templated(&variable["datasource"], &place, found);
            found.check(variable["refresh"] == 2, 15, &place, "not read again when the time range changes");
            if !board.is_prometheus() {
                let same = variable["definition"] == variable["query"]["rawSql"];
                found.check(same, 15, &place, "definition differs from the query");
            }
        }
        "custom" | "textbox" | "constant" => {}
        other => found.check(false, 15, &place, &format!("a variable of type {other}")),
    }
    let current = &variable["current"]["value"];
    let filled = variable["type"] == "datasource" || current.is_string() || !list(current).is_empty();
    found.check(filled, 15, &place, "current.value is not filled: the plugin reads it");
    let label = text(&variable["label"]);
    found.check(!label.is_empty(), 4, &place, "no label");
}

fn templated(datasource: &Value, place: &str, found: &mut Findings) {
    found.check(datasource["uid"] == "${datasource}", 1, place, "a data source that is not ${datasource}");
}

/// Rules 1, 4 and 15 of a panel.
fn panel(board: &Dashboard, panel: &Value, found: &mut Findings) {
    let place = named(board, panel);
    templated(&panel["datasource"], &place, found);
    let described = text(&panel["description"]);
    found.check(!text(&panel["title"]).is_empty(), 4, &place, "no title");
    found.check(described.len() >= 30, 4, &place, "no description that says what is counted");
    let defaults = &panel["fieldConfig"]["defaults"];
    found.check(!text(&defaults["unit"]).is_empty(), 4, &place, "no unit");
    found.check(defaults["noValue"] == NO_DATA, 15, &place, "an empty panel does not say so");
    found.check(!list(&panel["targets"]).is_empty(), 4, &place, "no query");
    let mut shares = vec![defaults.clone()];
    for field in list(&panel["fieldConfig"]["overrides"]) {
        let mut set = serde_json::Map::new();
        for property in list(&field["properties"]) {
            set.insert(text(&property["id"]).to_owned(), property["value"].clone());
        }
        shares.push(Value::Object(set));
    }
    for share in shares.iter().filter(|share| share["unit"] == "percentunit") {
        let bounded = share["min"].is_number() && share["max"].is_number();
        found.check(bounded, 15, &place, "a share without min and max");
        if !board.is_prometheus() {
            let words = ["unknown", "suppressed", "denominator"];
            let told =
                words.iter().any(|word| described.to_lowercase().contains(word)) || described.contains('/');
            found.check(told, 4, &place, "a share whose description tells no denominator");
        }
    }
}

/// Rules 1, 6, 12 of a query of a panel.
fn target_query(board: &Dashboard, target: Target<'_>, found: &mut Findings) {
    let place = format!("{}: {}", board.file, target.name());
    let json = target.json;
    templated(&json["datasource"], &place, found);
    found.check(json["datasource"]["type"] == CLICKHOUSE, 1, &place, "not a query of the plugin");
    let sql = target.sql();
    let kind = match json["format"].as_i64() {
        Some(0) => "timeseries",
        Some(1) => "table",
        _ => "",
    };
    found.check(
        json["editorType"] == "sql" && json["queryType"] == kind,
        1,
        &place,
        "format and queryType do not fit",
    );
    if target.is_series() {
        found.check(sql.contains("ORDER BY time"), 6, &place, "a time series that is not ORDER BY time");
        found.check(sql.contains(" AS time"), 6, &place, "a time series without a column time");
        found.check(target.panel["interval"].is_string(), 6, &place, "no smallest interval");
    }
    if ROWS.contains(&text(&target.panel["type"])) {
        found.check(sql.contains("LIMIT "), 12, &place, "rows without LIMIT");
    }
    query(sql, &place, found);
}

/// Rules 5, 7, 8, 9, 10, 11 and 15 of SQL.
fn query(sql: &str, place: &str, found: &mut Findings) {
    found.check(
        !sql.is_empty() && !sql.contains(['\t', '\r', ';']),
        9,
        place,
        "empty, or a tab, a CR or a semicolon in it",
    );
    for (at, _) in sql.match_indices('$') {
        let Some(reference) = Reference::at_start(&sql[at..]) else { continue };
        if let Some(name) = reference.name.strip_prefix("__") {
            let known = macros::KNOWN.contains(&name) || name == "conditionalAll";
            found.check(known, 5, place, &format!("$__{name} is no macro"));
        } else if !BUILT_IN.contains(&reference.name) {
            // As second argument of $__conditionalAll it is plain; everywhere else it is a text in quotes.
            let quoted = reference.format == Some("singlequote");
            let second = sql[..at].ends_with(", ") && sql[at + reference.length..].starts_with(')');
            let plain = reference.format.is_none() && second && !sql[at..].starts_with("${");
            found.check(quoted || plain, 15, place, "a variable without :singlequote");
        }
    }
    conditions(sql, place, found);
    aliases(sql, place, found);
    if sql.contains("FROM ") {
        let bounded =
            sql.contains("$__timeFilter(") || (sql.contains("$__fromTime") && sql.contains("$__toTime"));
        found.check(bounded, 11, place, "no time filter");
        let ours = |(at, from): (usize, &str)| {
            let after = sql[at + from.len()..].trim_start();
            after.starts_with("${database}.") || after.starts_with('(')
        };
        let all_ours = sql.match_indices("FROM").all(ours);
        found.check(all_ours, 11, place, "a table that is not of ${database}");
    }
}

/// Rules 7 and 8: the plugin splits the arguments at commas and brackets and knows no quotes.
fn conditions(sql: &str, place: &str, found: &mut Findings) {
    for (at, _) in sql.match_indices(CONDITIONAL) {
        let Some((arguments, _)) = split_arguments(&sql[at + CONDITIONAL.len()..]) else {
            found.check(false, 7, place, "$__conditionalAll is not closed");
            continue;
        };
        let second = arguments.get(1).map_or("", |second| second.trim());
        let plain = Reference::at_start(second)
            .is_some_and(|reference| reference.format.is_none() && reference.length == second.len());
        found.check(
            arguments.len() == 2 && plain,
            7,
            place,
            "second argument of $__conditionalAll is not a plain variable",
        );
        let quotes = arguments.first().is_some_and(|first| first.contains(['\'', '"', '`']));
        found.check(!quotes, 8, place, "a text within $__conditionalAll");
    }
}

/// Rule 10: ClickHouse takes an alias for the column of the same name, in filters and in aggregates too.
fn aliases(sql: &str, place: &str, found: &mut Findings) {
    let columns: BTreeSet<&str> = ["t.", "s."]
        .iter()
        .flat_map(|prefix| sql.match_indices(prefix).map(move |(at, _)| (at, prefix.len())))
        .filter(|(at, _)| !sql[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
        .map(|(at, length)| identifier(&sql[at + length..]))
        .collect();
    for (at, matched) in sql.match_indices(" AS ") {
        let after = &sql[at + matched.len()..];
        let alias = after
            .strip_prefix('`')
            .map_or_else(|| identifier(after), |quoted| quoted.split('`').next().unwrap_or_default());
        // `time` is what a time series must be called; it is safe because every mention of the column is qualified.
        let allowed = alias == "time" || !columns.contains(alias);
        found.check(allowed, 10, place, &format!("the alias {alias} is a column too"));
    }
    for call in ["$__timeFilter(", "$__timeInterval("] {
        for (at, matched) in sql.match_indices(call) {
            let qualified =
                sql[at + matched.len()..].split(')').next().is_some_and(|inside| inside.contains('.'));
            found.check(qualified, 10, place, "the column of a time macro is not qualified");
        }
    }
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Rule 13: every variable that is used is declared, and every declared one is used.
fn references(board: &Dashboard, found: &mut Findings) {
    let names: Vec<&str> = board.variables().iter().map(|variable| text(&variable["name"])).collect();
    let mut used = BTreeSet::new();
    let mut collect = |value: &Value| {
        let mut stack = vec![value];
        while let Some(value) = stack.pop() {
            match value {
                Value::String(one) => {
                    used.extend(Reference::all(one).iter().map(|found| found.name.to_owned()))
                }
                Value::Array(many) => stack.extend(many),
                Value::Object(many) => stack.extend(many.values()),
                _ => {}
            }
        }
    };
    collect(&board.json["panels"]);
    board.variables().iter().for_each(|variable| collect(&variable["query"]));
    collect(&Value::from("${datasource}"));
    let declared = |name: &str| names.contains(&name);
    for name in used.iter().filter(|name| !name.starts_with("__") && !name.contains('.') && !name.is_empty())
    {
        let digits = name.chars().all(|c| c.is_ascii_digit());
        found.check(digits || declared(name), 13, &board.file, &format!("${name} is used and not declared"));
    }
    for name in names {
        found.check(used.contains(name), 13, &board.file, &format!("${name} is declared and not used"));
    }
}

/// Rule 14: a link leads to one of our dashboards, takes time and data source along, and sets variables that are there.
fn links(board: &Dashboard, all: &[Dashboard], found: &mut Findings) {
    let mut urls = Vec::new();
    let mut stack = vec![&board.json["panels"]];
    while let Some(value) = stack.pop() {
        match value {
            Value::Array(many) => stack.extend(many),
            Value::Object(many) => {
                urls.extend(many.get("url").and_then(Value::as_str));
                stack.extend(many.values());
            }
            _ => {}
        }
    }
    for url in urls {
        let place = format!("{}: {url}", board.file);
        let target = url.strip_prefix("/d/").and_then(|rest| rest.split('?').next());
        let target = all.iter().find(|other| Some(other.uid()) == target);
        found.check(target.is_some(), 14, &place, "leads to no dashboard of ours");
        let along = url.contains("${__url_time_range}") && url.contains("var-datasource=${datasource}");
        found.check(along, 14, &place, "does not take time range and data source along");
        let Some(target) = target else { continue };
        let has = |name: &str| target.variables().iter().any(|variable| variable["name"] == name);
        for part in url.split('&') {
            let named = part.strip_prefix("var-").and_then(|set| set.split('=').next());
            let handed = part.strip_prefix("${").and_then(|rest| rest.strip_suffix(":queryparam}"));
            if let Some(name) = named.or(handed) {
                found.check(has(name), 14, &place, &format!("{name} is no variable there"));
            }
        }
    }
}

/// Findings in alert rules: they run in the backend, which knows no variable and no frontend macro.
pub fn alerts(all: &[Alert]) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    let mut uids = BTreeSet::new();
    for alert in all {
        let json = &alert.json;
        let place = text(&json["uid"]);
        found.check(!place.is_empty() && uids.insert(place), 2, place, "no uid of its own");
        for reference in Reference::all(&alert.sql) {
            let known = reference.name.strip_prefix("__").is_some_and(|name| macros::KNOWN.contains(&name));
            found.check(known, 5, place, &format!("${} is nothing that the backend knows", reference.name));
        }
        aliases(&alert.sql, place, &mut found);
        found.check(alert.sql.contains("$__fromTime"), 11, place, "no time filter");
        found.check(json["data"][0]["datasourceUid"] == ALERT_DATASOURCE, 1, place, "another data source");
        found.check(json["data"][0]["model"]["format"] == 1, 6, place, "not a table");
        let refs: Vec<&str> = list(&json["data"]).iter().map(|query| text(&query["refId"])).collect();
        found.check(
            refs == ["A", "B", "C"] && json["condition"] == "C",
            15,
            place,
            "not A, B, C with condition C",
        );
        let nodata = text(&json["noDataState"]);
        found.check(["Alerting", "OK", "NoData"].contains(&nodata), 15, place, "noDataState");
        found.check(json["execErrState"] == "Error", 15, place, "execErrState");
        for key in ["for", "title"] {
            found.check(!text(&json[key]).is_empty(), 4, place, &format!("no {key}"));
        }
        found.check(!text(&json["labels"]["severity"]).is_empty(), 4, place, "no severity");
        for key in ["summary", "description", "runbook_url"] {
            found.check(!text(&json["annotations"][key]).is_empty(), 4, place, &format!("no {key}"));
        }
    }
    found.0
}
