//! Any bytes as OTLP protobuf: the first byte chooses spans, metrics or logs, the clock and the profile.
//! What holds is said at `weighbridge_collector_fuzz`; besides, a payload written twice in a row tells each item twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weighbridge_collector::intake::Encoding;
use weighbridge_collector_fuzz::otlp;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, payload)) = bytes.split_first() else { return };
    let (push, good) = otlp(*choice, Encoding::Protobuf);
    let outcome = push.checked(payload, good);
    push.joined(payload, &outcome, good);
});
