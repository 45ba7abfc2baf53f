//! How much of LiteLLM's own list of names the register decides (`model_prices_and_context_window_backup.json` of its wheel
//! 1.109.1, names and modes only). The list carries no openness: this is about what is decided, not whether rightly.

use crate::support::AT;
use weighbridge_catalog::coverage;

/// Modes whose models read and write text.
const TEXT: [&str; 3] = ["chat", "completion", "responses"];
/// Decided names of text models, per cent, at least.
const TEXT_PERCENT: f64 = 97.0;
/// Decided names of all models, per cent, at least.
const ALL_PERCENT: f64 = 95.0;

/// Mode, provider and name of every row.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    include_str!("../fixtures/litellm-names.csv").lines().skip(1).filter_map(|line| {
        let mut fields = line.splitn(3, ',');
        Some((fields.next()?, fields.next()?, fields.next()?))
    })
}

#[test]
fn litellms_names_are_decided() {
    let catalogue = weighbridge_catalog::embedded();
    let text = rows().filter(|(mode, ..)| TEXT.contains(mode)).map(|(_, provider, name)| (provider, name));
    let all = rows().map(|(_, provider, name)| (provider, name));
    let (text, all) = (coverage(catalogue, text, AT), coverage(catalogue, all, AT));
    println!(
        "text models: {:.1} % of {}, all: {:.1} % of {}",
        text.decided_percent(),
        text.names,
        all.decided_percent(),
        all.names
    );
    println!("{:?}", &text.groups[..text.groups.len().min(40)]);
    assert!(text.decided_percent() >= TEXT_PERCENT, "{:.2} %: {:?}", text.decided_percent(), text.groups);
    assert!(all.decided_percent() >= ALL_PERCENT, "{:.2} %: {:?}", all.decided_percent(), all.groups);
}

#[test]
fn undecided_groups_are_named_by_their_first_word() {
    let names = [
        ("", "zorg-1"),
        ("", "a/zorg-2"),
        ("", "gpt-4o"),
        ("", "openrouter/auto"),
        ("", "qwen4-ultra"),
        ("", "123"),
    ];
    let found = coverage(weighbridge_catalog::embedded(), names, AT);
    assert_eq!(
        (found.names, found.open, found.closed, found.silent, found.family_only, found.unknown),
        (6, 0, 1, 2, 1, 2)
    );
    assert_eq!((found.groups[0].word.as_str(), found.groups[0].names), ("zorg", 2));
    assert_eq!(found.groups[0].examples, ["zorg-1", "a/zorg-2"]);
    assert!((found.decided_percent() - 50.0).abs() < 1e-9);
}
