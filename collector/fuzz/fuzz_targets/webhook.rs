//! Any bytes as what LiteLLM or Kong posts: the first byte chooses which, the clock, and lines of a file.
//! What holds is said at `weighbridge_collector_fuzz`; besides, records of an array count as they do one a line, and the order
//! of keys tells nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use weighbridge_collector::intake::{Encoding, Signal};
use weighbridge_collector::profile::Dialect;
use weighbridge_collector_fuzz::{Push, now};

const LITELLM: &[u8] = br#"{"litellm_call_id":"a","status":"success","call_type":"acompletion","model":"openai/gpt-4o","prompt_tokens":1}"#;
const KONG: &[u8] = include_bytes!("../../tests/fixtures/access-log/kong.jsonl");

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, payload)) = bytes.split_first() else { return };
    let (name, good) = if choice & 1 == 0 { ("litellm", LITELLM) } else { ("kong", KONG) };
    let dialect = Dialect::of_webhook(name).expect("a dialect");
    let encoding = if choice & 4 == 0 { Encoding::Json } else { Encoding::JsonLines };
    let push = Push { dialect, signal: Signal::Webhook, encoding, now: now(choice & 2 == 0) };
    let outcome = push.checked(payload, good);
    if encoding != Encoding::Json {
        return;
    }
    push.reordered(payload, good);
    if let Ok(records) = serde_json::from_slice::<Vec<&RawValue>>(payload)
        && records.iter().all(|record| record.get().starts_with('{') && !record.get().contains('\n'))
    {
        let lines: Vec<&str> = records.iter().map(|record| record.get()).collect();
        assert_eq!(push.checked(lines.join("\n").as_bytes(), good), outcome, "as lines");
    }
});
