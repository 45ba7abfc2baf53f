//! What the chart holds a copy of is the same as its source, and what it makes of it is what was meant.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use weighbridge_tests::helm::{Helm, chart, objects};
use weighbridge_tests::processes::{root, tool};

use super::newest;

const SYNC: &str = "run scripts/sync-chart.sh";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn dashboards_and_rules_are_their_sources() {
    let (own, source) = (chart().join("files/dashboards"), root().join("deploy/grafana/dashboards"));
    assert_eq!(names(&own), names(&source), "{SYNC}");
    for name in names(&own) {
        assert!(read(&own.join(&name)) == read(&source.join(&name)), "{name} differs; {SYNC}");
    }
    let rules = [chart().join("files/rules.yaml"), root().join("deploy/prometheus/rules.yaml")];
    assert!(read(&rules[0]) == read(&rules[1]), "rules.yaml differs; {SYNC}");
}

#[test]
fn readme_is_what_helm_docs_makes() {
    let mut command = Command::new(tool("helm/helm-docs"));
    command.arg("--chart-search-root").arg(root().join("deploy/helm")).args([
        "--dry-run",
        "--log-level",
        "warning",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    let readme = read(&chart().join("README.md"));
    assert!(made.trim() == readme.trim(), "README.md is not up to date; {SYNC}");
    // Every value has a description.
    let bare: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("| ") && line.ends_with("|  |")).collect();
    assert_eq!(bare, Vec::<&str>::new());
}

/// Blocks of values in the README render; blocks of templates are those of the fixture, which is rendered elsewhere.
#[test]
fn blocks_of_the_readme_are_true() {
    let readme = read(&chart().join("README.md"));
    let fixture = root().join("tests/fixtures/helm/gateway");
    let known = read(&fixture.join("values.yaml")) + &read(&fixture.join("templates/deployment.yaml"));
    let mut kinds = [0, 0];
    for block in readme.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        if block.starts_with("kafka:") {
            kinds[0] += 1;
            Helm::V4.template_text(block, "1.36.0").unwrap_or_else(|failure| panic!("{block}: {failure}"));
        } else {
            kinds[1] += 1;
            assert!(known.contains(block), "not in the fixture: {block}");
        }
    }
    assert_eq!(kinds, [2, 3]);
}

/// Helm knows every command and flag that the documents show.
#[test]
fn commands_of_the_documents_are_helms() {
    let mut count = 0;
    for document in [chart().join("README.md"), root().join("README.md")] {
        let text = read(&document);
        for line in text.lines().filter(|line| line.starts_with("helm ")) {
            count += 1;
            for helm in Helm::ALL {
                let output = helm.command().args(line.split(' ').skip(1)).arg("--help").output().unwrap();
                assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
    assert_eq!(count, 5);
}

#[test]
fn dashboards_are_taken_by_grafana_and_ask_the_configured_database() {
    let boards = |objects: &[Value]| -> Vec<(String, Value, String)> {
        let maps = objects.iter().filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1");
        maps.flat_map(|map| {
            let data = map["data"].as_object().unwrap().iter();
            data.map(|(name, text)| {
                (name.clone(), map["metadata"].clone(), text.as_str().unwrap().to_owned())
            })
        })
        .collect()
    };
    let source = root().join("deploy/grafana/dashboards");
    let values = format!("{}dashboards: {{enabled: true}}\n", read(&chart().join("ci/minimal-values.yaml")));
    let plain = boards(&objects(&Helm::V4.template_text(&values, "1.36.0").unwrap()));
    assert_eq!(plain.len(), names(&source).len());
    for (name, metadata, text) in plain {
        let file = name.strip_prefix("weighbridge-").unwrap();
        assert_eq!(text.trim_end(), read(&source.join(file)).trim_end(), "{name}");
        assert_eq!(metadata["namespace"], weighbridge_tests::helm::NAMESPACE);
    }
    for (name, metadata, text) in boards(newest("full")) {
        assert_eq!(metadata["namespace"], "grafana");
        assert_eq!(metadata["annotations"]["grafana_folder"], "Weighbridge");
        let file = name.strip_prefix("weighbridge-").unwrap();
        let mut expected: Value = serde_json::from_str(&read(&source.join(file))).unwrap();
        for variable in expected["templating"]["list"].as_array_mut().unwrap() {
            if variable["name"] == "database" {
                variable["query"] = "split".into();
                variable["current"] = serde_json::json!({"text": "split", "value": "split"});
            }
        }
        let found: Value = serde_json::from_str(&text).unwrap();
        assert!(found == expected, "{name} differs in more than its database");
    }
}

#[test]
fn rules_are_rules_of_prometheus_and_take_labels() {
    let rule = newest("full").iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    // JSON is YAML.
    std::fs::write(&file, rule["spec"].to_string()).unwrap();
    let output =
        Command::new(tool("prometheus/usr/bin/promtool")).args(["check", "rules"]).arg(&file).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let alerts: Vec<&Value> = rule["spec"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().iter().filter(|rule| !rule["alert"].is_null()))
        .collect();
    let source: Value = serde_saphyr::from_str(&read(&root().join("deploy/prometheus/rules.yaml"))).unwrap();
    let of_source =
        source["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let of_source: Vec<&Value> = of_source.filter(|rule| !rule["alert"].is_null()).collect();
    // One is left out and one is added by the values.
    assert_eq!(alerts.len(), of_source.len());
    assert!(!alerts.iter().any(|alert| alert["alert"] == "WeighbridgeIngestQuotaReached"));
    for alert in alerts.iter().filter(|alert| alert["alert"] != "TooManyUnknown") {
        let same = of_source.iter().find(|one| one["alert"] == alert["alert"]).unwrap();
        assert_eq!(alert["expr"], same["expr"]);
        assert_eq!(alert["labels"]["severity"], same["labels"]["severity"]);
        assert_eq!(alert["labels"]["team"], "inference");
        let runbook = alert["annotations"]["runbook_url"].as_str().unwrap();
        let own = same["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(runbook, format!("https://runbooks.example.org/{own}"));
    }
}

/// Chart, images and programs have one version; the notes of the chart's changes and the images for Artifact Hub, too.
#[test]
fn versions_agree() {
    let description: Value = serde_saphyr::from_str(&read(&chart().join("Chart.yaml"))).unwrap();
    assert_eq!(description["appVersion"], env!("CARGO_PKG_VERSION"));
    let images = description["annotations"]["artifacthub.io/images"].as_str().unwrap();
    assert_eq!(images.matches(&format!(":{}\n", env!("CARGO_PKG_VERSION"))).count(), 2, "{images}");
}
