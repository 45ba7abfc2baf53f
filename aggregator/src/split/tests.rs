//! Shares, arguments and forms, without a server.

use super::*;
use proptest::prelude::*;
use weighbridge_proto::v1::Operation;

fn arguments() -> SplitArguments {
    let period = PeriodArguments { from: Some("2026-11-01".to_owned()), to: Some("2026-11-02".to_owned()) };
    SplitArguments { period, ..SplitArguments::default() }
}

const NOW: u64 = 1_795_435_200;

fn requests(requests: u64) -> Sums {
    Sums { requests, input_tokens: requests * 10, output_tokens: 0 }
}

fn split(by: By, groups: Vec<Group>) -> Split {
    let mut total = Group::new("total");
    for group in &groups {
        for openness in Openness::ALL {
            total.add(openness, group.class(openness));
        }
    }
    let query = SplitArguments { by, ..arguments() }.query(NOW).unwrap();
    Split { query, total, groups }
}

#[test]
fn shares_by_hand() {
    let mut group = Group::new("x");
    group.add(Openness::Closed, requests(50));
    group.add(Openness::OpenRestricted, requests(10));
    group.add(Openness::OpenNoncommercial, requests(5));
    group.add(Openness::OpenPermissive, requests(20));
    group.add(Openness::OpenSource, requests(5));
    group.add(Openness::Unknown, requests(10));
    let shares = group.shares(Measure::Requests).unwrap();
    let expected = Shares {
        open: 0.4,
        restricted: 0.15,
        closed: 0.5,
        unknown: 0.1,
        open_of_known: Some(40.0 / 90.0),
        open_lower: 0.4,
        open_upper: 0.5,
    };
    assert_eq!(shares, expected);
    assert_eq!(group.shares(Measure::InputTokens), Some(expected));
    assert_eq!(group.shares(Measure::OutputTokens), None, "a share of nothing is no number");
}

proptest! {
    #[test]
    fn shares_add_up(counts in prop::array::uniform6(0u64..1 << 52)) {
        let mut group = Group::new("x");
        for (openness, count) in Openness::ALL.into_iter().zip(counts) {
            group.add(openness, Sums { requests: count, ..Sums::default() });
        }
        match group.shares(Measure::Requests) {
            None => prop_assert_eq!(counts.iter().sum::<u64>(), 0),
            Some(shares) => {
                prop_assert!((shares.open + shares.closed + shares.unknown - 1.0).abs() < 1e-9);
                prop_assert!(shares.restricted <= shares.open && shares.open_lower <= shares.open_upper);
                prop_assert!((shares.open_upper - shares.open - shares.unknown).abs() < 1e-9);
            }
        }
    }
}

#[test]
fn arguments_that_are_refused_name_option_and_fix() {
    type Change = fn(&mut SplitArguments);
    let changes: [(Change, &str, &str); 9] = [
        (|a| a.period.from = Some("yesterday".into()), "--from", "2026-11-01"),
        (|a| a.period.to = Some("2026-13-01".into()), "--to", "2026-11-01"),
        (|a| a.period.from = Some("2026-11-02".into()), "--from", "before --to"),
        (|a| a.period.from = Some("2026-11-01T00:30:00Z".into()), "--from", "--ledger"),
        (|a| a.filter.vantage = "proxy".into(), "--vantage", "gateway"),
        (|a| a.filter.operation = "chat,talk".into(), "--operation", "embeddings"),
        (|a| a.filter.operation = String::new(), "--operation", "all"),
        (|a| a.filter.environment = "prod".into(), "--environment", "production"),
        (|a| a.filter.environment = "production,".into(), "--environment", "staging"),
    ];
    for (change, option, fix) in changes {
        let mut arguments = arguments();
        change(&mut arguments);
        let error = arguments.query(NOW).unwrap_err();
        assert!(error.is_argument());
        let error = error.to_string();
        assert!(error.starts_with(option) && error.contains(fix), "{error}");
    }
}

#[test]
fn arguments_that_are_taken() {
    let query = SplitArguments::default().query(NOW).unwrap();
    assert_eq!((query.period.to - query.period.from).whole_days(), 28);
    assert_eq!(query.period.to.unix_timestamp(), NOW as i64 + 3_600);
    let mut with_offset = SplitArguments { ledger: true, ..arguments() };
    with_offset.period.from = Some("2026-11-01T02:30:00+02:30".to_owned());
    with_offset.filter.operation = "all".to_owned();
    let query = with_offset.query(NOW).unwrap();
    assert_eq!(query.period.from.unix_timestamp(), 1_793_491_200);
    assert_eq!(query.filter.operations.len(), Operation::ALL.len());
}

const FORMATS: [Format; 4] = [Format::Table, Format::Json, Format::Csv, Format::Markdown];

#[test]
fn empty_period_has_no_numbers() {
    for by in [By::Openness, By::Day, By::Counting] {
        let empty = split(by, vec![]);
        for format in FORMATS {
            let text = render(&empty, format);
            assert!(text.contains("no data for this period"), "{text}");
            assert!(!text.contains("NaN") && !text.contains('%') && !text.contains(",0"), "{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&render(&empty, Format::Json)).unwrap();
        assert_eq!(json["total"], serde_json::Value::Null);
        let csv = render(&empty, Format::Csv);
        let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(columns, [11, 11]);
    }
}

#[test]
fn forms() {
    let mut a = Group::new("a,\"b\"|<c>");
    a.add(Openness::Closed, requests(3));
    a.add(Openness::OpenRestricted, requests(1));
    let split = split(By::Family, vec![a]);
    let table = render(&split, Format::Table);
    assert!(table.contains("25.0%") && table.contains("25.0% and 25.0%"), "{table}");
    let markdown = render(&split, Format::Markdown);
    assert!(markdown.contains("| a,\"b\"\\|&lt;c&gt; | 4 | 40 | 0 | 25.0% |"), "{markdown}");
    assert!(
        markdown.contains("| requests | 25.0% | 25.0% | 75.0% | 0.0% | 25.0% and 25.0% | 25.0% |"),
        "{markdown}"
    );
    let csv = render(&split, Format::Csv);
    assert!(csv.contains("\"a,\"\"b\"\"|<c>\",requests,4,1,0.25,0.25,0.75,0,0.25,0.25,0.25"), "{csv}");
    assert!(csv.contains("total,output_tokens,0,,,,,,,,\n"), "{csv}");
    assert_eq!(csv.lines().count(), 9);
    let columns: Vec<usize> = csv.lines().skip(5).map(|line| line.split(',').count()).collect();
    assert!(columns.iter().all(|n| *n == 11), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&render(&split, Format::Json)).unwrap();
    assert_eq!(json["groups"][0]["shares"]["requests"]["open"], 0.25);
    assert_eq!(json["groups"][0]["shares"]["output_tokens"], serde_json::Value::Null);
}
