//! Any name, provider and address on any day: no panic, and an answer of the register.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weighbridge_catalog::{Day, ModelId, Openness, Origin, ProviderId, Reason};

fuzz_target!(|input: (&str, &str, &str, i32)| {
    let (name, provider, address, day) = input;
    let catalogue = weighbridge_catalog::embedded();
    let found = catalogue.classify(name, Origin { provider, address }, Day(day));
    assert!(found.family.is_empty() || catalogue.families().any(|family| family == found.family));
    assert!(found.provider == ProviderId::UNLISTED || catalogue.provider(found.provider).is_some());
    match catalogue.model(found.model) {
        Some(model) => assert_eq!(model.openness_at(Day(day)), found.openness),
        None => assert_eq!(found.model, ModelId::UNLISTED),
    }
    if matches!(found.reason, Reason::Opaque | Reason::Router | Reason::Unmatched) {
        assert_eq!((found.model, found.openness), (ModelId::UNLISTED, Openness::Unknown));
    }
});
