//! Arguments, cells and forms, without a server.

use super::*;
use serde_json::{Map, json};

fn document(rows: Vec<Vec<Cell>>) -> Document {
    let mut grid = Grid::new("spans", "Spans", &["span_start", "any_open", "change"]);
    rows.into_iter().for_each(|row| grid.push(row));
    let mut asked = Map::new();
    asked.insert("from".to_owned(), json!("2026-11-01T00:00:00Z"));
    Document {
        heading: "what | was asked".to_owned(),
        asked,
        tables: vec![grid],
        notes: vec!["a note".into()],
    }
}

#[test]
fn cells_in_every_form() {
    let document = document(vec![
        vec![Cell::text("a"), Cell::Share(0.125), Cell::Change(-0.05)],
        vec![Cell::text("b"), Cell::Suppressed, Cell::Nothing],
    ]);
    assert_eq!(
        render(&document, Format::Table),
        "what | was asked\n\nspan start    any open       change\na                12.5%  -5.0 points\n\
         b           suppressed            -\n\na note\n"
    );
    assert_eq!(render(&document, Format::Csv), "span_start,any_open,change\na,0.125,-0.05\nb,suppressed,\n");
    assert_eq!(
        render(&document, Format::Markdown),
        "what \\| was asked\n\n**Spans**\n\n| span start | any open | change |\n| :-- | --: | --: |\n\
         | a | 12.5% | -5.0 points |\n| b | suppressed | - |\n\na note\n"
    );
    let json: serde_json::Value = serde_json::from_str(&render(&document, Format::Json)).unwrap();
    assert_eq!(json["spans"][0], json!({"span_start": "a", "any_open": 0.125, "change": -0.05}));
    assert_eq!(json["spans"][1], json!({"span_start": "b", "any_open": "suppressed", "change": null}));
    assert_eq!(json["message"], json!(null));
}

#[test]
fn nothing_is_said_in_every_form() {
    let empty = document(vec![]);
    for format in [Format::Table, Format::Json, Format::Csv, Format::Markdown] {
        let text = render(&empty, format);
        assert!(text.contains("no data for this period") && !text.contains('%'), "{text}");
    }
    assert_eq!(render(&empty, Format::Csv), "span_start,any_open,change\nno data for this period,,\n");
}

#[test]
fn what_is_no_number_is_none() {
    assert_eq!(Cell::part(0, 0), Cell::Nothing);
    assert_eq!(Cell::share(Some(f64::NAN)), Cell::Nothing);
    assert_eq!(Cell::change(Some(f64::INFINITY)), Cell::Nothing);
    assert_eq!(Cell::part(1, 4), Cell::Share(0.25));
    assert_eq!([1, 999, 1_000, 1_234_567].map(grouped_digits), ["1", "999", "1,000", "1,234,567"]);
}

#[test]
fn days_and_hours() {
    let at = |from: &str, to: &str| PeriodArguments { from: Some(from.into()), to: Some(to.into()) };
    let error = at("2026-11-01T01:00:00Z", "2026-11-02").days(0).unwrap_err().to_string();
    assert!(error.starts_with("--from") && error.contains("2026-11-01"), "{error}");
    let error = at("2026-11-01", "2026-11-01T01:30:00Z").hours(0, "").unwrap_err().to_string();
    assert!(error.starts_with("--to") && error.contains("full hour"), "{error}");
    let period = PeriodArguments::default().days(1_795_435_200 + 5).unwrap();
    assert_eq!(period.to.unix_timestamp() % 86_400, 0);
    assert_eq!((period.to - period.from).whole_days(), 28);
    let error =
        PeriodArguments { from: None, to: Some("1970-01-02".into()) }.days(0).unwrap_err().to_string();
    assert!(error.starts_with("--from"), "{error}");
}

#[test]
fn a_filter_in_sql_and_in_words() {
    let filter = FilterArguments::default().filter().unwrap();
    assert_eq!(filter, Filter::default());
    assert_eq!(
        filter.condition(),
        "vantage = 'gateway' AND operation IN ('chat', 'text_completion') AND outcome = 'ok'"
    );
    let all = FilterArguments {
        environment: "production, staging".to_owned(),
        operation: "all".to_owned(),
        outcome: OutcomeFilter::All,
        ..FilterArguments::default()
    };
    let filter = all.filter().unwrap();
    assert_eq!(filter.condition(), "vantage = 'gateway' AND environment IN ('production', 'staging')");
    assert!(filter.in_words().contains("every outcome") && filter.in_words().contains("production, staging"));
}
