//! Any bytes as OTLP/JSON: the first byte chooses spans, metrics or logs, the clock and the profile.
//! What holds is said at `weighbridge_collector_fuzz`; besides, the order of keys tells nothing, and what is taken is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use weighbridge_collector::intake::Encoding;
use weighbridge_collector_fuzz::otlp;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, payload)) = bytes.split_first() else { return };
    let (push, good) = otlp(*choice, Encoding::Json);
    let outcome = push.checked(payload, good);
    if outcome.taken.is_ok() {
        assert!(serde_json::from_slice::<IgnoredAny>(payload).is_ok(), "taken and no JSON");
        push.reordered(payload, good);
    }
});
