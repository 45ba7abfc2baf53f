//! The labelled names in `fixtures/dev.csv`: what share of each kind the register decides as labelled.
//!
//! The numbers asserted are those measured when the data last changed: a change of data that lowers one must say so here.
//! `WEIGHBRIDGE_MISSES=1 cargo test -p weighbridge-catalog --test catalogue -- dev_set --nocapture` prints every miss.

use std::collections::BTreeMap;

use crate::support::{classify, rows};
use weighbridge_catalog::{ModelId, Openness};

/// Kind, rows, rows decided as labelled.
const MEASURED: [(&str, usize, usize); 6] = [
    ("list", 3357, 3357),
    ("list-hard", 144, 144),
    ("private/opaque", 99, 99),
    ("router/stealth/placeholder", 10, 10),
    ("synthetic", 232, 232),
    ("tricky", 49, 49),
];

/// Of the rows decided as labelled whose class is sourced, the share with that class, in per mille. The rest are community
/// tunes that the set labels with their base's licence and whose own card says otherwise (Zephyr: MIT, OpenChat: Apache-2.0).
const CLASS_PER_MILLE: usize = 996;

#[derive(Default)]
struct Tally {
    rows: usize,
    right: usize,
    swapped: Vec<String>,
    class_rows: usize,
    class_right: usize,
}

fn side(openness: Openness) -> &'static str {
    match openness {
        Openness::Unknown => "unknown",
        Openness::Closed => "closed",
        _ => "open",
    }
}

fn tallies() -> BTreeMap<String, Tally> {
    let print = std::env::var_os("WEIGHBRIDGE_MISSES").is_some();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for row in rows() {
        let found = classify(&row.name);
        let said = side(found.openness);
        let tally = tallies.entry(row.kind.clone()).or_default();
        tally.rows += 1;
        tally.right += usize::from(said == row.truth);
        if said != row.truth && said != "unknown" && row.truth != "unknown" {
            tally.swapped.push(row.name.clone());
        }
        if !row.openness.is_empty() && said == row.truth {
            let right = found.openness.as_str() == row.openness;
            tally.class_rows += 1;
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
    let tallies = tallies();
    for (kind, tally) in &tallies {
        println!(
            "{kind}: {} of {}, class {} of {}",
            tally.right, tally.rows, tally.class_right, tally.class_rows
        );
    }
    for (kind, rows, right) in MEASURED {
        let tally = &tallies[kind];
        assert_eq!(tally.rows, rows, "{kind}");
        assert!(tally.right >= right, "{kind}: {} of {rows}, was {right}", tally.right);
    }
    assert_eq!(tallies.len(), MEASURED.len());
    let rows: usize = tallies.values().map(|tally| tally.class_rows).sum();
    let right: usize = tallies.values().map(|tally| tally.class_right).sum();
    assert!(right * 1000 / rows >= CLASS_PER_MILLE, "class: {right} of {rows}");
}

#[test]
fn no_side_is_swapped() {
    for (kind, tally) in tallies() {
        assert!(tally.swapped.is_empty(), "{kind}: {:?}", tally.swapped);
    }
}

#[test]
fn private_names_say_nothing() {
    for row in rows().iter().filter(|row| row.kind == "private/opaque") {
        let found = classify(&row.name);
        assert_eq!(found.model, ModelId::UNLISTED, "{}", row.name);
        assert_eq!(found.openness, Openness::Unknown, "{}", row.name);
    }
}
