//! The labelled names in `fixtures/dev.csv`: what share of each kind the register decides as labelled, and what it gets wrong.
//!
//! `WEIGHBRIDGE_MISSES=1 cargo test -p weighbridge-catalog --test dev_set -- --nocapture` prints every miss.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::collections::BTreeMap;

use weighbridge_catalog::{Catalogue, Classification, Day, Openness, Origin};

/// The day the facts of the set are of.
const AT: Day = Day::from_civil(2026, 10, 9);

struct Row {
    provider: String,
    name: String,
    truth: String,
    openness: String,
    kind: String,
}

fn rows() -> Vec<Row> {
    let text = include_str!("fixtures/dev.csv");
    let mut lines = text.lines();
    let header = fields(lines.next().expect("a header"));
    let column = |name: &str| header.iter().position(|field| field == name).expect("a column");
    let (provider, name, truth) = (column("provider"), column("name"), column("truth"));
    let (openness, kind) = (column("openness"), column("kind"));
    let row = |line| {
        let fields = fields(line);
        Row {
            provider: fields[provider].clone(),
            name: fields[name].clone(),
            truth: fields[truth].clone(),
            openness: fields[openness].clone(),
            kind: fields[kind].clone(),
        }
    };
    lines.map(row).collect()
}

/// The fields of a CSV line; quotes as in RFC 4180, no line breaks inside.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("one field").push(other),
        }
    }
    fields
}

fn classify(row: &Row) -> Classification {
    Catalogue::embedded().classify(&row.name, Origin { provider: &row.provider, address: "" }, AT)
}

fn side(openness: Openness) -> &'static str {
    match openness {
        Openness::Unknown => "unknown",
        Openness::Closed => "closed",
        _ => "open",
    }
}

#[derive(Default)]
struct Tally {
    rows: usize,
    right: usize,
    swapped: Vec<String>,
    class_rows: usize,
    class_right: usize,
}

fn tallies() -> BTreeMap<String, Tally> {
    let print = std::env::var_os("WEIGHBRIDGE_MISSES").is_some();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for row in rows() {
        let found = classify(&row);
        let said = side(found.openness);
        let tally = tallies.entry(row.kind.clone()).or_default();
        tally.rows += 1;
        tally.right += usize::from(said == row.truth);
        if said != row.truth && said != "unknown" && row.truth != "unknown" {
            tally.swapped.push(row.name.clone());
        }
        if !row.openness.is_empty() && said == row.truth {
            tally.class_rows += 1;
            let right = found.openness.as_str() == row.openness;
            tally.class_right += usize::from(right);
            if print && !right {
                println!(
                    "class {} {} is {} not {}",
                    row.kind,
                    row.name,
                    row.openness,
                    found.openness.as_str()
                );
            }
        }
        if print && said != row.truth {
            let (kind, name, truth, family) = (&row.kind, &row.name, &row.truth, found.family);
            println!("miss {kind} {name} is {truth} not {said} ({family}, {})", found.reason.as_str());
        }
    }
    tallies
}

#[test]
fn accuracy_is_as_measured() {
    for (kind, tally) in tallies() {
        let share = 100.0 * tally.right as f64 / tally.rows as f64;
        let class = 100.0 * tally.class_right as f64 / tally.class_rows.max(1) as f64;
        let (right, rows, swapped) = (tally.right, tally.rows, &tally.swapped);
        println!("{kind}: {right}/{rows} = {share:.2} %, class {class:.2} %, swapped {swapped:?}");
    }
}
