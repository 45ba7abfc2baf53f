//! The schema of a dashboard file: which keys Grafana knows, for what we use of it.
//!
//! Taken from the published types of `@grafana/schema` 13.2.3 (dashboard v1, the one of schemaVersion 39, and the options of the panels
//! stat, timeseries, table and barchart). A key that is not in it is a typing mistake: Grafana would ignore it in silence.

use serde_json::Value;

use super::board::{list, text};

const DASHBOARD: &[&str] = &[
    "annotations",
    "description",
    "editable",
    "fiscalYearStartMonth",
    "graphTooltip",
    "links",
    "liveNow",
    "panels",
    "preload",
    "refresh",
    "schemaVersion",
    "tags",
    "templating",
    "time",
    "timepicker",
    "timezone",
    "title",
    "uid",
    "version",
    "weekStart",
];
const VARIABLE: &[&str] = &[
    "allValue",
    "allowCustomValue",
    "current",
    "datasource",
    "description",
    "hide",
    "includeAll",
    "label",
    "multi",
    "name",
    "options",
    "query",
    "refresh",
    "regex",
    "skipUrlSync",
    "sort",
    "type",
    "definition",
];
const PANEL: &[&str] = &[
    "datasource",
    "description",
    "fieldConfig",
    "gridPos",
    "id",
    "interval",
    "links",
    "maxDataPoints",
    "options",
    "pluginVersion",
    "targets",
    "title",
    "transformations",
    "transparent",
    "type",
];
const ROW: &[&str] = &["collapsed", "gridPos", "id", "panels", "title", "type"];
const FIELD: &[&str] = &[
    "color",
    "custom",
    "decimals",
    "description",
    "displayName",
    "filterable",
    "links",
    "mappings",
    "max",
    "min",
    "noValue",
    "thresholds",
    "unit",
];
const LINK: &[&str] = &[
    "asDropdown",
    "icon",
    "includeVars",
    "keepTime",
    "tags",
    "targetBlank",
    "title",
    "tooltip",
    "type",
    "url",
];
const QUERY: &[&str] =
    &["datasource", "editorType", "format", "meta", "pluginVersion", "queryType", "rawSql", "refId"];
const PROMETHEUS: &[&str] = &["datasource", "expr", "instant", "legendFormat", "range", "refId"];
const LEGEND: &[&str] = &["calcs", "displayMode", "placement", "showLegend"];
const TOOLTIP: &[&str] = &["mode", "sort"];

/// Options and own field settings of a kind of panel.
fn of_panel(kind: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    Some(match kind {
        "stat" => (
            &[
                "colorMode",
                "graphMode",
                "justifyMode",
                "orientation",
                "reduceOptions",
                "textMode",
                "wideLayout",
            ],
            &[],
        ),
        "timeseries" => (
            &["legend", "tooltip"],
            &["drawStyle", "fillBelowTo", "fillOpacity", "lineWidth", "showPoints", "spanNulls", "stacking"],
        ),
        "table" => (&["cellHeight", "showHeader", "sortBy"], &["align", "filterable"]),
        "barchart" => (
            &["legend", "orientation", "showValue", "stacking", "tooltip", "xField"],
            &["fillOpacity", "lineWidth"],
        ),
        _ => return None,
    })
}

/// Keys that Grafana does not know, with their places.
pub fn unknown_keys(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    keys(dashboard, DASHBOARD, "dashboard", &mut found);
    for link in list(&dashboard["links"]) {
        keys(link, LINK, "link", &mut found);
    }
    for variable in list(&dashboard["templating"]["list"]) {
        let place = format!("variable {}", text(&variable["name"]));
        keys(variable, VARIABLE, &place, &mut found);
        whole(&variable["hide"], 0..=2, &place, "hide", &mut found);
        if variable.get("refresh").is_some() {
            whole(&variable["refresh"], 0..=2, &place, "refresh", &mut found);
        }
    }
    for panel in list(&dashboard["panels"]) {
        self::panel(panel, &mut found);
    }
    found
}

fn panel(panel: &Value, found: &mut Vec<String>) {
    let place = text(&panel["title"]).to_owned();
    keys(&panel["gridPos"], &["h", "w", "x", "y"], &place, found);
    if panel["type"] == "row" {
        keys(panel, ROW, &place, found);
        return;
    }
    keys(panel, PANEL, &place, found);
    let Some((options, custom)) = of_panel(text(&panel["type"])) else {
        found.push(format!("{place}: a panel of type {}", panel["type"]));
        return;
    };
    keys(&panel["options"], options, &place, found);
    keys(&panel["options"]["legend"], LEGEND, &place, found);
    keys(&panel["options"]["tooltip"], TOOLTIP, &place, found);
    keys(&panel["options"]["reduceOptions"], &["calcs", "fields", "limit", "values"], &place, found);
    keys(&panel["fieldConfig"], &["defaults", "overrides"], &place, found);
    let defaults = &panel["fieldConfig"]["defaults"];
    keys(defaults, FIELD, &place, found);
    keys(&defaults["custom"], custom, &place, found);
    for field in list(&panel["fieldConfig"]["overrides"]) {
        keys(field, &["matcher", "properties"], &place, found);
        keys(&field["matcher"], &["id", "options"], &place, found);
        for property in list(&field["properties"]) {
            keys(property, &["id", "value"], &place, found);
            let id = text(&property["id"]);
            let known =
                FIELD.contains(&id) || id.strip_prefix("custom.").is_some_and(|own| custom.contains(&own));
            if !known {
                found.push(format!("{place}: the override {id}"));
            }
        }
    }
    for target in list(&panel["targets"]) {
        let known = if target.get("expr").is_some() { PROMETHEUS } else { QUERY };
        keys(target, known, &place, found);
    }
}

fn keys(value: &Value, known: &[&str], place: &str, found: &mut Vec<String>) {
    for key in value.as_object().into_iter().flat_map(|object| object.keys()) {
        if !known.contains(&key.as_str()) {
            found.push(format!("{place}: the key {key}"));
        }
    }
}

fn whole(
    value: &Value,
    range: std::ops::RangeInclusive<i64>,
    place: &str,
    key: &str,
    found: &mut Vec<String>,
) {
    if !value.as_i64().is_some_and(|number| range.contains(&number)) {
        found.push(format!("{place}: {key} is {value}"));
    }
}
