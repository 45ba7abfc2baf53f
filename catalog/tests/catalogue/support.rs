//! Reads the labelled names.

use weighbridge_catalog::{Classification, Day, Origin};

/// The day the facts of the set are of.
pub(crate) const AT: Day = Day::from_civil(2026, 10, 9);

/// A labelled name.
pub(crate) struct Row {
    pub(crate) name: String,
    /// `open`, `closed` or `unknown`.
    pub(crate) truth: String,
    /// One of the five classes, empty where only the side is sourced.
    pub(crate) openness: String,
    pub(crate) kind: String,
}

/// Every row of `fixtures/dev.csv`.
pub(crate) fn rows() -> Vec<Row> {
    let mut lines = include_str!("../fixtures/dev.csv").lines();
    let header = fields(lines.next().expect("a header"));
    let column = |name: &str| header.iter().position(|field| field == name).expect("a column");
    let (name, truth) = (column("name"), column("truth"));
    let (openness, kind) = (column("openness"), column("kind"));
    let row = |line| {
        let fields = fields(line);
        Row {
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

/// Classifies a name without anything beside it.
pub(crate) fn classify(name: &str) -> Classification {
    weighbridge_catalog::embedded().classify(name, Origin::default(), AT)
}
