//! Properties of the matcher over names from the labelled set, changed and made up.

use std::collections::BTreeSet;

use crate::support::{AT, classify, rows};
use proptest::prelude::*;
use weighbridge_catalog::{Day, ModelId, Openness, Origin, ProviderId, Reason};

/// Names whose punctuation carries meaning of its own.
fn plain(name: &str) -> bool {
    let envelopes = ["arn:", "ft:", "models--", "projects/", "@", "accounts/"];
    !envelopes.iter().any(|envelope| name.contains(envelope))
}

#[test]
fn case_changes_nothing() {
    for row in rows() {
        assert_eq!(classify(&row.name.to_ascii_uppercase()), classify(&row.name), "{}", row.name);
    }
}

#[test]
fn separators_change_nothing() {
    for row in rows().iter().filter(|row| plain(&row.name)) {
        for (from, to) in [('-', "_"), ('.', "-"), ('.', "_"), ('_', "-"), (':', "-"), (' ', "-")] {
            // An organisation is a name of its own, not a list of words: only the last segment is changed.
            let (path, core) =
                row.name.rsplit_once('/').map_or(("", row.name.as_str()), |(path, core)| (path, core));
            let changed = core.trim().replace(from, to);
            let changed = if path.is_empty() { changed } else { format!("{path}/{changed}") };
            let (before, after) = (classify(&row.name), classify(&changed));
            // Whether a silent name is opaque or unmatched may turn on its punctuation.
            if before.reason != Reason::Opaque {
                assert_eq!(after, before, "{} as {changed}", row.name);
            }
        }
    }
}

#[test]
fn decimals_may_be_spelt_with_p() {
    for (name, other) in [
        ("llama-3.1-8b-instruct", "llama-v3p1-8b-instruct"),
        ("qwen2.5-0.5b", "qwen2p5-0p5b"),
        ("kimi-k2.6", "kimi-k2p6"),
        ("glm-5.3-flash", "glm-5p3-flash"),
        ("minimax-m2.7", "minimax-m2p7"),
    ] {
        assert_eq!(classify(other), classify(name), "{name}");
        assert_ne!(classify(name).model, ModelId::UNLISTED, "{name}");
    }
}

fn assert_of_the_register(name: &str, provider: &str, address: &str, day: i32) {
    let catalogue = weighbridge_catalog::embedded();
    let families: BTreeSet<&str> = catalogue.families().collect();
    let found = catalogue.classify(name, Origin { provider, address }, Day(day));
    assert!(found.family.is_empty() || families.contains(found.family));
    assert!(found.model == ModelId::UNLISTED || catalogue.model(found.model).is_some());
    assert!(found.provider == ProviderId::UNLISTED || catalogue.provider(found.provider).is_some());
    if let Some(model) = catalogue.model(found.model) {
        assert_eq!(model.openness_at(Day(day)), found.openness);
        assert_eq!(model.family(), found.family);
    }
    if matches!(found.reason, Reason::Opaque | Reason::Router | Reason::Unmatched) {
        assert_eq!((found.model, found.openness), (ModelId::UNLISTED, Openness::Unknown));
    }
}

proptest! {
    #[test]
    fn any_text_gives_an_answer_of_the_register(
        name in any::<String>(), provider in any::<String>(), address in any::<String>(), day in any::<i32>(),
    ) {
        assert_of_the_register(&name, &provider, &address, day);
    }

    #[test]
    fn any_name_like_text_gives_an_answer_of_the_register(
        name in "[a-z0-9:/@#?._ -]{0,300}", provider in "[a-z_.-]{0,70}", address in "[a-z0-9:/.@\\[\\]-]{0,300}",
    ) {
        assert_of_the_register(&name, &provider, &address, AT.0);
    }

    #[test]
    fn any_mix_of_known_words_gives_an_answer_of_the_register(
        words in prop::collection::vec(prop::sample::select(vec![
            "ft:", "arn:", ":foundation-model/", "projects/", "/endpoints/", "models--", "--", "/", "@", "#", ":",
            "gpt", "claude", "llama", "qwen", "glm", "mistral", "large", "3", "4", "5", "7b", "70b", "-", ".", "v", "p",
            "instruct", "gguf", "us", "databricks", "openai", "deepseek", "r", "k", "max", "latest", "cloud",
        ]), 0..40),
    ) {
        assert_of_the_register(&words.concat(), "", "", AT.0);
    }

    #[test]
    fn what_is_no_name_is_unknown(name in "[a-z0-9-]{257,400}") {
        let found = classify(&name);
        prop_assert_eq!((found.openness, found.reason), (Openness::Unknown, Reason::Unmatched));
    }
}
