//! The Prometheus side: rules by promtool, names by what the programs really export, anchors by the runbook.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use weighbridge_tests::grafana::board::{self, list, text};
use weighbridge_tests::processes::{root, tool};

const RULES: &str = "deploy/prometheus/rules.yaml";

fn promtool(arguments: &[&str]) -> String {
    let mut command = Command::new(tool("prometheus/usr/bin/promtool"));
    let output = command.args(arguments).current_dir(root()).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

#[test]
fn promtool_takes_the_rules_and_every_alert_fires_in_its_case() {
    assert!(promtool(&["check", "rules", "--lint-fatal", RULES]).contains("SUCCESS"));
    let said = promtool(&["test", "rules", "tests/fixtures/prometheus/rules_test.yaml"]);
    assert!(said.contains("SUCCESS"), "{said}");
    let cases = std::fs::read_to_string(root().join("tests/fixtures/prometheus/rules_test.yaml")).unwrap();
    for alert in alerts() {
        let fires = cases.contains(&format!("alertname: {}\n", text(&alert["alert"])));
        assert!(fires, "{} has no case in which it fires", alert["alert"]);
    }
}

fn groups() -> Vec<Value> {
    list(&board::yaml("prometheus/rules.yaml")["groups"]).to_vec()
}

fn alerts() -> Vec<Value> {
    groups()
        .iter()
        .flat_map(|group| list(&group["rules"]).to_vec())
        .filter(|rule| rule.get("alert").is_some())
        .collect()
}

#[test]
fn every_alert_says_what_to_do() {
    let runbook = std::fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let anchors: BTreeSet<String> =
        runbook.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    let grafana = board::alerts();
    let all = alerts().into_iter().chain(grafana.into_iter().map(|alert| alert.json));
    let mut used = BTreeSet::new();
    for alert in all {
        for key in ["summary", "description"] {
            assert!(!text(&alert["annotations"][key]).is_empty(), "{alert}");
        }
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"])), "{alert}");
        assert!(!text(&alert["for"]).is_empty(), "{alert}");
        let url = text(&alert["annotations"]["runbook_url"]);
        let anchor = url.strip_prefix("docs/runbook.md#").unwrap_or_else(|| panic!("{url}"));
        assert!(anchors.contains(anchor), "{url} is no section of the runbook");
        used.insert(anchor.to_owned());
    }
    assert_eq!(used, anchors, "a section of the runbook without an alert");
}

/// As GitHub makes them.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Names that begin with `weighbridge_` in an expression.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    expression.match_indices("weighbridge_").map(|(at, _)| {
        let rest = &expression[at..];
        &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())]
    })
}

/// The names in `/metrics`, read from where the programs define them: a counter gets `_total`, a histogram `_bucket`.
fn exported() -> BTreeSet<String> {
    let read = |file: &str| std::fs::read_to_string(root().join(file)).unwrap();
    let mut names = BTreeSet::new();
    for file in
        ["aggregator/src/ingest/metrics.rs", "aggregator/src/load/metrics.rs", "aggregator/src/door/guard.rs"]
    {
        let source: String = read(file).split_whitespace().collect::<Vec<_>>().join(" ");
        for (kind, ending) in
            [("counter", "_total"), ("labelled", "_total"), ("gauge", ""), ("histogram", "_bucket")]
        {
            for part in source.split(&format!(".{kind}(")).skip(1) {
                let name = part.trim_start().trim_start_matches('"').split('"').next().unwrap();
                names.insert(format!("{name}{ending}"));
            }
        }
    }
    // A page written out: the names of its types.
    let written = read("collector/src/standby.rs");
    let types = written.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.extend(types.map(str::to_owned));
    let source: String = read("collector/src/admin.rs").split_whitespace().collect::<Vec<_>>().join(" ");
    let between = |from: &str, to: &str| {
        let rest = source.split_once(from).unwrap_or_else(|| panic!("no {from}")).1;
        rest.split_once(to).unwrap().0.to_owned()
    };
    let quoted = |text: &str| -> Vec<String> {
        text.split("( \"")
            .chain(text.split("(\""))
            .skip(1)
            .map(|part| part.split('"').next().unwrap().to_owned())
            .collect()
    };
    for name in quoted(&between("let counters = [", "];")) {
        names.insert(format!("weighbridge_collector_{name}_total"));
    }
    for name in quoted(&between("let gauges = [", "];")) {
        names.insert(format!("weighbridge_collector_{name}"));
    }
    for name in ["items_skipped", "items_refused"] {
        assert!(source.contains(&format!("encoder, \"{name}\"")), "{name}");
        names.insert(format!("weighbridge_collector_{name}_total"));
    }
    assert!(source.contains("(\"spool\", \"Size of the spool\", Some(Unit::Bytes)"));
    names.insert("weighbridge_collector_spool_bytes".to_owned());
    names
}

#[test]
fn every_metric_of_rules_and_dashboard_is_exported() {
    let exported = exported();
    assert!(exported.len() > 50, "{exported:?}");
    let boards = board::dashboards();
    let board = boards.iter().find(|board| board.is_prometheus()).unwrap();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for target in board.targets() {
        used.extend(metrics(text(&target.json["expr"])).map(str::to_owned));
    }
    for group in groups() {
        for rule in list(&group["rules"]) {
            used.extend(metrics(text(&rule["expr"])).map(str::to_owned));
        }
    }
    assert!(used.len() > 30, "{used:?}");
    let missing: Vec<&String> = used.difference(&exported).collect();
    assert!(missing.is_empty(), "used and not exported: {missing:?}\nexported: {exported:?}");
}

#[test]
fn expressions_of_the_dashboard_parse() {
    let boards = board::dashboards();
    let board = boards.iter().find(|board| board.is_prometheus()).unwrap();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, target) in board.targets().iter().enumerate() {
        let filled = text(&target.json["expr"])
            .replace("$__rate_interval", "5m")
            .replace("$__range", "6h")
            .replace("$instance", ".*");
        assert!(!filled.contains('$'), "{filled}");
        rules.push_str(&format!(
            "      - record: panel:{number}\n        expr: '{}'\n",
            filled.replace('\'', "''")
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", "--lint", "none", file.to_str().unwrap()]);
}
