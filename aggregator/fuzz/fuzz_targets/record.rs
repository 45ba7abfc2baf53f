//! Any bytes as the value of a Kafka record: no panic, it ends, nothing is handed on twice; what splits is put together again
//! byte for byte if it was written as `encode` writes; what does not says so once, at its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weighbridge_proto::report;

// The partition is not fuzzed.
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/record.rs"]
mod record;

fuzz_target!(|value: &[u8]| {
    let parts: Vec<_> = record::decode(value).collect();
    assert!(!parts.is_empty() && parts.len() <= value.len() + 1);
    let faults = parts.iter().filter(|part| part.is_err()).count();
    assert!(faults == 0 || (faults == 1 && parts.last().is_some_and(Result::is_err)));
    let reports: Vec<&[u8]> = parts.iter().filter_map(|part| part.ok()).collect();
    let held: usize = reports.iter().map(|report| report.len()).sum();
    assert!(held <= value.len());
    // A length may be written longer than it must be; ours is the shortest.
    let encoded = record::encode(reports.iter().copied());
    assert!(encoded.len() <= value.len());
    if faults == 0 {
        let back: Result<Vec<&[u8]>, _> = record::decode(&encoded).collect();
        assert_eq!(back.as_ref(), Ok(&reports));
        assert!(encoded.len() < value.len() || encoded == value);
    }
    for bytes in reports {
        let _ = report::check(bytes);
    }
});
