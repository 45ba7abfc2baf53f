//! How the figures were made, in words.

use crate::answers::{Cell, Grid};
use crate::report::figures::Figures;
use crate::report::page::Section;

const METHODS: [&str; 8] = [
    "Counted, not asked: collectors beside inference gateways count each client request with a final outcome. Retries and fallback \
     attempts are attempts and never added to requests; cache replays, health checks and mirrored traffic are neither.",
    "One vantage: gateways. The same request counted at a gateway and at the server behind it is one request.",
    "The served model decides, never the name of the provider's interface and never the alias that a client asked for.",
    "Openness is a property of a model's weights on the day of the traffic, from a public, dated register with a source for every \
     claim: closed; open, non-commercial; open, restricted; open, permissive; open source in the OSAID sense; unknown.",
    "Unknown is shown and never folded into either side: it makes the bounds. The open share of what is known lies between them.",
    "Organisations: a contributor where ingest asks who sends, else a collector. A contributor's pseudonym lives four weeks, so \
     organisations are counted by four weeks, and retention follows collectors.",
    "Groups of fewer than five contributors are suppressed, and so is a second group that would give such a one away.",
    "Exact by identity: a report may travel many times and counts once. Figures are read from rollups that are rebuilt from the ledger \
     and swapped in whole.",
];

/// Methods, and the versions they stand on.
pub(super) fn section(figures: &Figures) -> Section {
    let register = figures.coverage.tables.iter().find(|grid| grid.name == "register");
    let version = register
        .and_then(|grid| grid.rows.first())
        .and_then(|row| row.first())
        .map_or_else(|| "-".to_owned(), Cell::for_people);
    let mut grid = Grid::new("versions", "Versions", &["what", "version"]);
    grid.push(vec![Cell::text("register of models"), Cell::text(version)]);
    grid.push(vec![Cell::text("weighbridge-aggregator"), Cell::text(env!("CARGO_PKG_VERSION"))]);
    Section {
        id: "methods",
        title: "Methods",
        paragraphs: METHODS.map(str::to_owned).to_vec(),
        tables: vec![grid],
        ..Section::default()
    }
}
