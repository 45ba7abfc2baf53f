//! Each rule of the lint and of the schema is broken once, on a copy of the real dashboards, and must be named.

use serde_json::{Value, json};
use weighbridge_tests::grafana::board::{self, Dashboard};
use weighbridge_tests::grafana::{lint, schema};

/// What is broken, the rule that must say so, and how.
type Breakage = (&'static str, u8, fn(&mut Value));

/// The first panel with a series of the overview.
fn panel(json: &mut Value) -> &mut Value {
    let panels = json["panels"].as_array_mut().unwrap();
    panels.iter_mut().find(|panel| panel["type"] == "timeseries").unwrap()
}

fn table(json: &mut Value) -> &mut Value {
    let panels = json["panels"].as_array_mut().unwrap();
    panels.iter_mut().find(|panel| panel["type"] == "table").unwrap()
}

fn edit(value: &mut Value, from: &str, to: &str) {
    let text = value.as_str().unwrap();
    assert!(text.contains(from), "{text}");
    *value = json!(text.replacen(from, to, 1));
}

fn sql(json: &mut Value, from: &str, to: &str) {
    edit(&mut panel(json)["targets"][0]["rawSql"], from, to);
}

const BREAKAGES: &[Breakage] = &[
    ("a panel with a fixed data source", 1, |json| panel(json)["datasource"]["uid"] = json!("P1234")),
    ("a query with a fixed data source", 1, |json| {
        panel(json)["targets"][0]["datasource"]["uid"] = json!("P1234")
    }),
    ("a data source variable of another name", 1, |json| {
        json["templating"]["list"][0]["label"] = json!("Source");
    }),
    ("a uid twice", 2, |json| json["uid"] = json!("weighbridge-models")),
    ("a panel id twice", 2, |json| json["panels"][1]["id"] = json["panels"][0]["id"].clone()),
    ("inputs of an export", 3, |json| json["__inputs"] = json!([])),
    ("a database id", 3, |json| json["id"] = json!(7)),
    ("a newer schema", 3, |json| json["schemaVersion"] = json!(42)),
    ("a panel over the edge", 3, |json| panel(json)["gridPos"]["x"] = json!(20)),
    ("a panel without title", 4, |json| panel(json)["title"] = json!("")),
    ("a panel without description", 4, |json| panel(json)["description"] = json!("")),
    ("a panel without unit", 4, |json| panel(json)["fieldConfig"]["defaults"]["unit"] = json!("")),
    ("a share without its denominator", 4, |json| {
        panel(json)["description"] = json!("What part of the traffic it is, in each interval.");
    }),
    ("a macro that is none", 5, |json| sql(json, "$__fromTime", "$__fromTim")),
    ("an unsorted series", 6, |json| sql(json, "ORDER BY time", "ORDER BY open")),
    ("a series without smallest interval", 6, |json| panel(json)["interval"] = Value::Null),
    ("a condition on a formatted variable", 7, |json| {
        sql(json, ", $environment)", ", ${environment:singlequote})")
    }),
    ("a text within a condition", 8, |json| sql(json, "${environment:singlequote}", "'production, staging'")),
    ("a tab", 9, |json| sql(json, "\n", "\t")),
    ("an alias that is a column", 10, |json| {
        sql(json, " AS open,", " AS requests, sum(t.requests) AS open,")
    }),
    ("a time macro over the alias", 10, |json| sql(json, "WHERE ", "WHERE $__timeFilter(time) AND ")),
    ("a query of all times", 11, |json| sql(json, "$__fromTime", "toDateTime(0)")),
    ("a table of a fixed database", 11, |json| sql(json, "${database}.", "weighbridge.")),
    ("rows without limit", 12, |json| {
        edit(&mut table(json)["targets"][0]["rawSql"], "LIMIT 50", "");
    }),
    ("a variable that is not declared", 13, |json| sql(json, "${measure}", "${weight}")),
    ("a variable that nothing uses", 13, |json| {
        let mut copy = json["templating"]["list"][1].clone();
        copy["name"] = json!("lonely");
        json["templating"]["list"].as_array_mut().unwrap().push(copy);
    }),
    ("a link to nowhere", 14, |json| {
        let text = json["panels"].to_string().replace("/d/weighbridge-models?", "/d/weighbridge-model?");
        json["panels"] = serde_json::from_str(&text).unwrap();
    }),
    ("a link that sets no variable there", 14, |json| {
        let text = json["panels"].to_string().replace("var-model=", "var-modell=");
        json["panels"] = serde_json::from_str(&text).unwrap();
    }),
    ("a link that forgets the time range", 14, |json| {
        let text = json["panels"].to_string().replace("${__url_time_range}&", "");
        json["panels"] = serde_json::from_str(&text).unwrap();
    }),
    ("a text without quotes", 15, |json| sql(json, "${environment:singlequote}", "${environment}")),
    ("a variable without a current value", 15, |json| {
        let list = json["templating"]["list"].as_array_mut().unwrap();
        let multi = list.iter_mut().find(|variable| variable["multi"] == true).unwrap();
        multi["current"] = json!({});
    }),
    ("a variable that stays when the time range changes", 15, |json| {
        let list = json["templating"]["list"].as_array_mut().unwrap();
        let query = list.iter_mut().find(|variable| variable["type"] == "query").unwrap();
        query["refresh"] = json!(1);
    }),
    ("an empty panel that shows nothing", 15, |json| {
        panel(json)["fieldConfig"]["defaults"]["noValue"] = json!("0")
    }),
    ("a share without bounds", 15, |json| panel(json)["fieldConfig"]["defaults"]["max"] = Value::Null),
];

#[test]
fn every_rule_of_the_lint_is_broken_and_named() {
    let mut rules: Vec<u8> = BREAKAGES.iter().map(|(_, rule, _)| *rule).collect();
    rules.dedup();
    assert_eq!(rules, (1..=15).collect::<Vec<u8>>());
    for (what, rule, breaks) in BREAKAGES {
        let mut all = board::dashboards();
        let overview = all.iter_mut().find(|board| board.file == "overview.json").unwrap();
        breaks(&mut overview.json);
        let found = lint::dashboards(&all);
        assert!(found.iter().any(|finding| finding.rule == *rule), "{what}: {found:?}");
    }
}

#[test]
fn a_key_that_grafana_does_not_know_is_named() {
    let Dashboard { json, .. } =
        board::dashboards().into_iter().find(|board| board.file == "overview.json").unwrap();
    let breakages: [fn(&mut Value); 5] = [
        |json| json["titel"] = json!("x"),
        |json| panel(json)["fieldConfig"]["defaults"]["units"] = json!("short"),
        |json| panel(json)["options"]["legends"] = json!({}),
        |json| panel(json)["targets"][0]["rawSQL"] = json!("SELECT 1"),
        |json| json["templating"]["list"][1]["hidden"] = json!(true),
    ];
    for breaks in breakages {
        let mut copy = json.clone();
        breaks(&mut copy);
        assert_eq!(schema::unknown_keys(&copy).len(), 1);
    }
}

#[test]
fn alert_rules_know_no_variable() {
    let good = board::alerts();
    let mut broken = good.clone();
    broken[0].sql.push_str(" AND x IN (${environment:singlequote})");
    assert!(lint::alerts(&broken).iter().any(|finding| finding.rule == 5));
    let mut broken = good.clone();
    broken[0].sql.push_str(" AND $__conditionalAll(x, $y)");
    assert!(lint::alerts(&broken).iter().any(|finding| finding.rule == 5));
    let mut broken = good.clone();
    broken[1].json["uid"] = broken[0].json["uid"].clone();
    assert!(lint::alerts(&broken).iter().any(|finding| finding.rule == 2));
    let mut broken = good;
    broken[1].json["annotations"]["summary"] = json!("");
    assert!(lint::alerts(&broken).iter().any(|finding| finding.rule == 4));
}
