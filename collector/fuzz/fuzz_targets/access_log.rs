//! Any bytes as a line of a log, as OTLP logs and as Envoy's gRPC log: no panic; what serde_json reads as an object the scan
//! reads too, with the same number; what the scan refuses serde_json does not read as one.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use weighbridge_collector::source::access_log::{Fields, Record, Role, Scanner, Value, each_record};
use weighbridge_collector::source::{als, otlp};

const PATHS: &[(&str, Role)] = &[
    ("/response_code", Role::Status),
    ("/ai/proxy/usage/prompt_tokens", Role::InputTokens),
    ("/ai/proxy/tried_targets/@last/model", Role::ServedModel),
    ("/ai/proxy/tried_targets/@length", Role::Targets),
    ("/ai_log/@json/model", Role::RequestedModel),
    ("/metadata/ai/model", Role::Provider),
];

fn fields() -> &'static Fields {
    static FIELDS: OnceLock<Fields> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let mut fields = Fields::default();
        PATHS.iter().for_each(|(path, role)| fields.add(path, *role, 0).expect("a path"));
        fields
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut record = Record::default();
    let mut scanner = Scanner::new(fields());
    let first = scanner.scan(bytes, &mut record);
    // What was learned of it changes nothing.
    let scanned = scanner.scan(bytes, &mut record);
    assert_eq!(scanned, first);
    let parsed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes);
    if let Ok(object) = &parsed {
        // Deeper than a log is.
        let is_deep = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > 60;
        assert!(scanned.is_ok() || is_deep);
        // A key that is there twice, or written with escapes, may be read otherwise.
        let is_plain =
            !bytes.contains(&b'\\') && bytes.windows(13).filter(|at| at == b"response_code").count() == 1;
        if let (true, Some(serde_json::Value::Number(number)), Value::Number(raw)) =
            (is_plain && scanned.is_ok(), object.get("response_code"), record.get(Role::Status))
        {
            let raw = std::str::from_utf8(raw).ok().and_then(|raw| raw.parse::<f64>().ok());
            let (number, raw) = (number.as_f64().expect("a number"), raw.expect("a number"));
            // serde_json rounds the last digit its own way.
            assert!((number - raw).abs() <= number.abs() * 1e-12, "{number} {raw}");
        }
    }
    let _ = each_record(bytes, |_| {});
    let _ = otlp::read_logs(bytes, fields(), |_| {});
    let _ = otlp::json::read_logs(bytes, fields(), |_| {});
    let _ = als::read_entries(bytes, fields(), |_| {});
});
