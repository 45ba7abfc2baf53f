//! Macros and variables: golden vectors of the plugin, and the rules of its frontend.

use serde_json::Value;
use weighbridge_tests::grafana::macros::{TimeRange, expand};
use weighbridge_tests::grafana::variables::{Selection, Variables, conditional_all, interpolate};

const VECTORS: &str = include_str!("../../fixtures/grafana/macros.json");
const HOUR: TimeRange = TimeRange { from_ms: 0, to_ms: 3_600_000, interval_ms: 60_000 };

#[test]
fn macros_expand_as_the_plugin_expands_them() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["expanded"].as_array().unwrap();
    assert!(cases.len() >= 20);
    for case in cases {
        let number = |key: &str| case[key].as_i64().unwrap();
        let range = TimeRange {
            from_ms: number("from_ms"),
            to_ms: number("to_ms"),
            interval_ms: number("interval_ms"),
        };
        let expanded = expand(case["sql"].as_str().unwrap(), range).unwrap();
        assert_eq!(expanded, case["expanded"].as_str().unwrap(), "{}", case["name"]);
    }
    for refused in vectors["refused"].as_array().unwrap() {
        assert!(expand(refused.as_str().unwrap(), HOUR).is_err(), "{refused}");
    }
}

#[test]
fn what_is_no_macro_is_refused_and_what_is_commented_out_is_not_seen() {
    assert!(expand("SELECT $__timeFiltre(t)", HOUR).unwrap_err().contains("timeFiltre"));
    assert!(expand("SELECT $__lttb(1, a, b)", HOUR).is_err());
    assert!(expand("SELECT $__timeFilter(t", HOUR).unwrap_err().contains("not closed"));
    assert_eq!(expand("SELECT 1 -- $__nothing\n/* $__lttb( */, 2", HOUR).unwrap(), "SELECT 1 \n, 2");
    assert_eq!(expand("SELECT `a--b`, '/*' , $__interval_s", HOUR).unwrap(), "SELECT `a--b`, '/*' , 60");
}

fn variables() -> Variables {
    let many = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    Variables::from([
        ("all".to_owned(), Selection::All(many(&["a", "b"]))),
        ("some".to_owned(), Selection::Many(many(&["it's", "b"]))),
        ("one".to_owned(), Selection::One("requests".to_owned())),
        ("box".to_owned(), Selection::One(String::new())),
        ("full".to_owned(), Selection::One("o'r, (x".to_owned())),
    ])
}

#[test]
fn conditional_all_is_true_when_all_or_nothing_is_selected() {
    let expanded = |sql: &str| conditional_all(sql, &variables());
    assert_eq!(expanded("$__conditionalAll(x IN (${all:singlequote}), $all) AND y").unwrap(), "1=1 AND y");
    assert_eq!(expanded("$__conditionalAll(x = 1, $box)").unwrap(), "1=1");
    assert_eq!(
        expanded("$__conditionalAll(f(x, ${some:singlequote}) > 0, ${some})").unwrap(),
        "f(x, ${some:singlequote}) > 0"
    );
    let nested = "$__conditionalAll($__conditionalAll(a = 1, $all) OR b = 2, $some)";
    assert_eq!(expanded(nested).unwrap(), "1=1 OR b = 2");
    // A comma in a text splits the arguments: the plugin knows no quotes, and leaves the call as it is.
    assert!(expanded("$__conditionalAll(x IN ('a,b', 'c'), $all, $one)").is_err());
    assert!(expanded("$__conditionalAll(x = 1").is_err());
    // A name that is no variable counts as selected.
    assert_eq!(expanded("$__conditionalAll(x = 1, $nobody)").unwrap(), "x = 1");
}

#[test]
fn variables_are_formatted_as_the_frontend_does() {
    let filled = |sql: &str| interpolate(sql, &variables()).unwrap();
    assert_eq!(filled("x IN (${some:singlequote})"), r"x IN ('it\'s','b')");
    assert_eq!(filled("x IN ($all)"), "x IN ('a','b')");
    assert_eq!(filled("sum(t.${one}) $one"), "sum(t.requests) requests");
    assert_eq!(filled("${full:singlequote} ${box:singlequote}"), r"'o\'r, (x' ''");
    assert_eq!(filled("$__fromTime ${__from} $5 ${nobody} $"), "$__fromTime ${__from} $5 ${nobody} $");
    assert!(interpolate("${one:regex}", &variables()).unwrap_err().contains("regex"));
}
