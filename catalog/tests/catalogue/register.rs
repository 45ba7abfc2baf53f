//! The register as a whole: its files, its numbers, its dates, and names that the labelled set does not hold.

use std::collections::BTreeSet;

use crate::support::{AT, classify, rows};
use weighbridge_catalog::{
    CatalogueVersion, Day, ModelId, Openness, Origin, ProviderId, Reason, Sources, lint,
};

/// Names written for this crate, one `name,expectation` a line, to reach every family: `open`, `closed` or `unknown`.
fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("../fixtures/names.csv").lines().filter_map(|line| line.rsplit_once(','))
}

#[test]
fn names_beside_the_labelled_set() {
    let mut wrong = Vec::new();
    for (name, expected) in names() {
        let openness = classify(name).openness;
        let side = match openness {
            Openness::Unknown => "unknown",
            Openness::Closed => "closed",
            _ => "open",
        };
        if side != expected {
            wrong.push(format!("{name} is {expected}, not {}", openness.as_str()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_family_has_a_name() {
    let labelled = rows();
    let all = labelled.iter().map(|row| row.name.as_str()).chain(names().map(|(name, _)| name));
    let reached: BTreeSet<&str> = all.map(|name| classify(name).family).collect();
    let unseen: Vec<_> =
        weighbridge_catalog::embedded().families().filter(|family| !reached.contains(family)).collect();
    assert!(unseen.is_empty(), "no name reaches {unseen:?}");
}

#[test]
fn every_makers_own_provider_has_models() {
    let catalogue = weighbridge_catalog::embedded();
    let makers: BTreeSet<&str> = catalogue.models().map(|model| model.developer()).collect();
    for provider in catalogue.providers().filter(|provider| !provider.developer.is_empty()) {
        assert!(makers.contains(provider.developer), "{}: {}", provider.name, provider.developer);
    }
}

fn data() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

#[test]
fn lint_finds_nothing() {
    let sources = Sources::read(&data()).expect("the data folder");
    assert_eq!(lint(&sources).expect("a register"), []);
}

/// The sidecar holds them in memory.
#[test]
fn tables_stay_under_half_a_mebibyte() {
    let bytes = weighbridge_catalog::embedded().table_bytes();
    assert!(bytes < 512 * 1_024, "{bytes}");
}

#[test]
fn numbers_lead_back_to_their_entries() {
    let catalogue = weighbridge_catalog::embedded();
    assert_eq!(catalogue.version(), CatalogueVersion(2_026_112_301));
    assert_eq!(catalogue.facts_until(), Day::from_civil(2026, 10, 9));
    for model in catalogue.models() {
        assert_eq!(catalogue.model(model.id()).map(|found| found.name()), Some(model.name()));
    }
    for provider in catalogue.providers() {
        assert_eq!(catalogue.provider(provider.id), Some(provider));
    }
    assert!(catalogue.model(ModelId::UNLISTED).is_none());
    assert!(catalogue.provider(ProviderId::UNLISTED).is_none());
}

#[test]
fn openness_has_dates() {
    for (name, day, expected) in [
        ("glm-5.3", (2026, 8, 14), Openness::Closed),
        ("glm-5.3", (2026, 8, 27), Openness::Closed),
        ("glm-5.3", (2026, 8, 28), Openness::OpenRestricted),
        ("qwen3.8-max", (2026, 8, 3), Openness::Closed),
        ("qwen3.8-max", (2026, 8, 12), Openness::OpenRestricted),
        ("grok-2-1212", (2025, 8, 22), Openness::Closed),
        ("grok-2-1212", (2025, 8, 23), Openness::OpenRestricted),
        ("mistral-large-latest", (2024, 3, 1), Openness::Closed),
        ("mistral-large-latest", (2025, 1, 1), Openness::OpenNoncommercial),
        ("mistral-large-latest", (2026, 1, 1), Openness::OpenPermissive),
        // A clock that runs before a model's first day must not make it unknown.
        ("glm-5.3", (1970, 1, 1), Openness::Closed),
    ] {
        let (year, month, date) = day;
        let at = Day::from_civil(year, month, date);
        let found = weighbridge_catalog::embedded().classify(name, Origin::default(), at);
        assert_eq!(found.openness, expected, "{name} on {day:?}");
    }
}

#[test]
fn days_count_from_1970() {
    for ((year, month, day), number) in [
        ((1970, 1, 1), 0),
        ((1969, 12, 31), -1),
        ((2000, 2, 29), 11_016),
        ((2000, 3, 1), 11_017),
        ((2026, 11, 23), 20_780),
    ] {
        assert_eq!(Day::from_civil(year, month, day), Day(number));
    }
    assert_eq!(Day::from_unix_seconds(20_780 * 86_400 + 5), Day::from_civil(2026, 11, 23));
}

#[test]
fn reasons_are_told() {
    for (name, reason) in [
        ("gpt-4o", Reason::Matched),
        ("ft:gpt-4o-mini-2024-07-18:acme:support:9x", Reason::Derived),
        ("bartowski/Llama-3.3-70B-Instruct-GGUF", Reason::Derived),
        ("olafangensan-glm-4.7-flash-heretic", Reason::Derived),
        ("deepseek-chat", Reason::Alias),
        ("claude-sonnet-latest", Reason::Alias),
        ("arn:aws:bedrock:us-east-1:1:provisioned-model/8xk2", Reason::Opaque),
        ("projects/1/locations/x/endpoints/2", Reason::Opaque),
        ("8c1f0f6e-7f0e-4c11-9f0d-3d1c2b0a9e88", Reason::Opaque),
        ("ep-20250101123456-abcde", Reason::Opaque),
        ("openrouter/auto", Reason::Router),
        ("support-bot", Reason::Unmatched),
        ("", Reason::Unmatched),
    ] {
        assert_eq!(classify(name).reason, reason, "{name}");
    }
}

#[test]
fn a_family_may_be_known_when_the_model_is_not() {
    let found = classify("qwen4-ultra");
    assert_eq!((found.model, found.family, found.openness), (ModelId::UNLISTED, "qwen", Openness::Unknown));
    let found = classify("llama-7-instruct");
    assert_eq!((found.model, found.family, found.openness), (ModelId::UNLISTED, "llama", Openness::Unknown));
}

#[test]
fn models_are_told_apart() {
    for (name, model) in [
        ("openai/gpt-4o", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4.5"),
        ("claude-4.5-sonnet", "claude-sonnet-4.5"),
        ("hosted_vllm/meta-llama/Llama-3.3-70B-Instruct", "llama-3.3"),
        ("deepseek.r1-v1:0", "deepseek-r1"),
        ("deepseek-r1:14b-qwen-distill-q4_K_M", "deepseek-r1-distill-qwen"),
        ("gemini/gemini-gemma-2-27b-it", "gemma-2"),
        ("microsoft/MAI-DS-R1", "mai-ds-r1"),
        ("Qwen/Qwen3.7-Max", "qwen-3.7-closed"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "llama-3.1"),
    ] {
        let id = classify(name).model;
        let found = weighbridge_catalog::embedded().model(id).map_or("none", |found| found.name());
        assert_eq!(found, model, "{name}");
    }
}

#[test]
fn licences_go_with_periods() {
    let catalogue = weighbridge_catalog::embedded();
    let id = classify("glm-5.3").model;
    let model = catalogue.model(id).expect("in the register");
    assert_eq!(model.licence_at(Day::from_civil(2026, 9, 1)), "GLM-5.3 License");
    assert_eq!(model.openness_at(AT), Openness::OpenRestricted);
}
