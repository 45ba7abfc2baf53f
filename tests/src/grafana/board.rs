//! Dashboards, their panels, queries and variables, as they lie in `deploy/grafana`. Panics with the file's name when one is no JSON.

use std::path::PathBuf;

use serde_json::Value;

use crate::processes::root;

/// Type of the ClickHouse plugin.
pub const CLICKHOUSE: &str = "grafana-clickhouse-datasource";
/// Uid of the provisioned ClickHouse data source, which alert rules name.
pub const ALERT_DATASOURCE: &str = "weighbridge-clickhouse";

/// One file.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Name of the file.
    pub file: String,
    /// What is in it.
    pub json: Value,
}

/// A query of a panel.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The panel.
    pub panel: &'a Value,
    /// The query.
    pub json: &'a Value,
}

/// A Grafana-managed alert rule.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The rule.
    pub json: Value,
    /// Its query.
    pub sql: String,
    /// Start of what it reads, seconds before now.
    pub from_s: i64,
    /// End of it.
    pub to_s: i64,
}

/// All dashboards, by file name.
pub fn dashboards() -> Vec<Dashboard> {
    let folder = root().join("deploy/grafana/dashboards");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry of the folder").path())
        .collect();
    files.sort();
    files.iter().map(load).collect()
}

fn load(path: &PathBuf) -> Dashboard {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Dashboard { file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), json }
}

/// A YAML file of `deploy` as JSON.
pub fn yaml(relative: &str) -> Value {
    let path = root().join("deploy").join(relative);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The alert rules of `deploy/grafana/provisioning/alerting`.
pub fn alerts() -> Vec<Alert> {
    let file = yaml("grafana/provisioning/alerting/rules.yaml");
    let groups = list(&file["groups"]);
    groups.iter().flat_map(|group| list(&group["rules"])).map(alert).collect()
}

fn alert(rule: &Value) -> Alert {
    let query = &rule["data"][0];
    let number = |key: &str| query["relativeTimeRange"][key].as_i64().expect("seconds of relativeTimeRange");
    Alert {
        json: rule.clone(),
        sql: text(&query["model"]["rawSql"]).to_owned(),
        from_s: number("from"),
        to_s: number("to"),
    }
}

/// The text of a value, empty when it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The items of a list, none when it is no list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Dashboard {
    /// Its uid.
    pub fn uid(&self) -> &str {
        text(&self.json["uid"])
    }

    /// Whether it reads Prometheus instead of ClickHouse.
    pub fn is_prometheus(&self) -> bool {
        self.variables().iter().any(|variable| text(&variable["query"]) == "prometheus")
    }

    /// Its variables.
    pub fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// All panels that show something, those in collapsed rows too.
    pub fn panels(&self) -> Vec<&Value> {
        let top = list(&self.json["panels"]);
        let inner = top.iter().flat_map(|panel| list(&panel["panels"]));
        top.iter().filter(|panel| text(&panel["type"]) != "row").chain(inner).collect()
    }

    /// All queries of all panels.
    pub fn targets(&self) -> Vec<Target<'_>> {
        self.panels()
            .into_iter()
            .flat_map(|panel| list(&panel["targets"]).iter().map(move |json| Target { panel, json }))
            .collect()
    }

    /// SQL of the variables that ask ClickHouse, with their names, in order.
    pub fn variable_queries(&self) -> Vec<(&str, &str)> {
        self.variables()
            .iter()
            .filter(|variable| text(&variable["type"]) == "query" && !self.is_prometheus())
            .map(|variable| (text(&variable["name"]), text(&variable["query"]["rawSql"])))
            .collect()
    }
}

impl Target<'_> {
    /// Its SQL, empty for Prometheus.
    pub fn sql(&self) -> &str {
        text(&self.json["rawSql"])
    }

    /// Whether it gives a time series.
    pub fn is_series(&self) -> bool {
        self.json["format"] == 0
    }

    /// `title (refId)`, for messages.
    pub fn name(&self) -> String {
        format!("{} ({})", text(&self.panel["title"]), text(&self.json["refId"]))
    }
}
