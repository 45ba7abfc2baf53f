//! Bad input is refused with its reason, changes no count, and loses nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use common::{NOON_MS, attempt, counts, intake, metrics, point, text, traces};
use proptest::prelude::*;
use weighbridge_collector::discard::Refusal;
use weighbridge_collector::intake::{Accepted, Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::Profile;
use weighbridge_proto::cells::Counts;

const GPT: &str = "openai/gpt-4o";

fn litellm() -> Intake {
    intake(Profile::Litellm, NOON_MS)
}

fn refused(intake: &mut Intake) -> Vec<(&'static str, u64)> {
    let tally = intake.counter().tally();
    assert!(tally.closes(), "received = counted + skipped + refused: {tally:?}");
    tally.refused().map(|(reason, count)| (reason.name(), count)).collect()
}

#[test]
fn a_truncated_payload_changes_no_count() {
    let body = traces(vec![attempt(1, "a", GPT, None), attempt(2, "b", GPT, None)]);
    let mut intake = litellm();
    for length in 1..body.len() {
        // Cut at a boundary it is a shorter, valid payload; the wire format cannot tell.
        if intake.take(Signal::Traces, Encoding::Protobuf, &body[..length], Now::At(NOON_MS))
            == Err(Refusal::Malformed)
        {
            assert_eq!(intake.counter().totals(), Counts::default(), "{length} bytes");
        }
    }
    assert!(refused(&mut intake)[0].1 > body.len() as u64 / 2);
    intake.take(Signal::Traces, Encoding::Protobuf, &body, Now::At(NOON_MS)).unwrap();
    assert_eq!(intake.counter().totals().requests, 2);
}

#[test]
fn a_truncated_json_body_changes_no_count() {
    let body = br#"[{"litellm_call_id":"a","status":"success","call_type":"acompletion","model":"openai/gpt-4o"},{"litellm_call_id":"b""#;
    let mut intake = litellm();
    assert_eq!(intake.take(Signal::Webhook, Encoding::Json, body, Now::At(NOON_MS)), Err(Refusal::Malformed));
    assert_eq!(intake.counter().totals(), Counts::default());
}

/// One good span beside one with a fault: the good one counts, the other is refused with its reason.
fn only_this_span(spoil: impl Fn(&mut opentelemetry_proto::tonic::trace::v1::Span), reason: Refusal) {
    let mut bad = attempt(2, "b", GPT, None);
    spoil(&mut bad);
    let mut intake = litellm();
    let accepted = intake.take(
        Signal::Traces,
        Encoding::Protobuf,
        &traces(vec![attempt(1, "a", GPT, None), bad]),
        Now::At(NOON_MS),
    );
    assert_eq!(accepted, Ok(Accepted { counted: 1, skipped: 0, refused: 1, first_refusal: Some(reason) }));
    assert_eq!(intake.counter().totals(), counts(1, 1, 11, 7));
    assert_eq!(refused(&mut intake), [(reason.name(), 1)]);
    assert!(!reason.to_string().is_empty());
}

#[test]
fn a_wrong_span_is_refused_alone() {
    let tokens = 6;
    only_this_span(
        |span| span.attributes[tokens] = common::int("gen_ai.usage.input_tokens", -5),
        Refusal::NegativeCount,
    );
    only_this_span(
        |span| span.attributes[tokens] = common::int("gen_ai.usage.input_tokens", i64::MAX),
        Refusal::CountRange,
    );
    only_this_span(
        |span| span.attributes[tokens] = text("gen_ai.usage.input_tokens", "many"),
        Refusal::CountRange,
    );
    let year_ns = 365 * 24 * 3_600 * 1_000_000_000;
    only_this_span(|span| span.end_time_unix_nano += year_ns, Refusal::ClockSkew);
    only_this_span(|span| span.end_time_unix_nano -= year_ns, Refusal::ClockSkew);
    only_this_span(|span| span.kind = 77, Refusal::UnknownEnum);
    only_this_span(
        |span| {
            span.status =
                Some(opentelemetry_proto::tonic::trace::v1::Status { code: 9, ..Default::default() })
        },
        Refusal::UnknownEnum,
    );
}

#[test]
fn text_that_is_not_utf8_is_refused_where_it_is_read_and_passed_over_where_it_is_not() {
    // A string of the same length, so that the encoding stays valid.
    let spoil = |needle: &[u8]| {
        let mut body = traces(vec![attempt(1, "a", GPT, None), attempt(2, "b", "openai/ruined", None)]);
        let at = body.windows(needle.len()).rposition(|window| window == needle).unwrap();
        body[at..at + needle.len()].fill(0xff);
        let mut intake = litellm();
        let accepted = intake.take(Signal::Traces, Encoding::Protobuf, &body, Now::At(NOON_MS)).unwrap();
        (accepted.counted, accepted.first_refusal)
    };
    assert_eq!(spoil(b"ruined"), (1, Some(Refusal::InvalidUtf8)));
    assert_eq!(spoil(b"canary-prompt"), (2, None), "never decoded");
    let mut intake = litellm();
    assert_eq!(
        intake.take(Signal::Webhook, Encoding::Json, b"[\xff]", Now::At(NOON_MS)),
        Err(Refusal::InvalidUtf8)
    );
}

#[test]
fn a_wrong_webhook_record_is_refused_alone() {
    let good = r#"{"litellm_call_id":"a","status":"success","call_type":"acompletion","model":"openai/gpt-4o","custom_llm_provider":"openai","prompt_tokens":11,"completion_tokens":7,"endTime":1795435200.5}"#;
    let faults = [
        (r#""prompt_tokens":11"#, r#""prompt_tokens":-11"#, Refusal::NegativeCount),
        (r#""prompt_tokens":11"#, r#""prompt_tokens":1.5"#, Refusal::CountRange),
        (r#""prompt_tokens":11"#, r#""prompt_tokens":"x""#, Refusal::Malformed),
        (r#""status":"success""#, r#""status":"maybe""#, Refusal::UnknownEnum),
        (r#""endTime":1795435200.5"#, r#""endTime":1700000000.5"#, Refusal::ClockSkew),
    ];
    for (from, to, reason) in faults {
        let bad = good.replace(from, to).replace(r#""a""#, r#""b""#);
        let mut intake = litellm();
        let accepted = intake.take(
            Signal::Webhook,
            Encoding::Json,
            format!("[{good},{bad}]").as_bytes(),
            Now::At(NOON_MS),
        );
        assert_eq!(accepted.unwrap().first_refusal, Some(reason), "{to}");
        assert_eq!(intake.counter().totals(), counts(1, 1, 11, 7), "{to}");
        // The same as JSON lines.
        let mut intake = litellm();
        intake
            .take(Signal::Webhook, Encoding::Json, format!("{bad}\n{good}\n").as_bytes(), Now::At(NOON_MS))
            .unwrap();
        assert_eq!(intake.counter().totals(), counts(1, 1, 11, 7), "{to}");
    }
}

#[test]
fn a_wrong_point_is_refused_alone() {
    let series = |name: &str| vec![text("gen_ai.operation.name", "chat"), text("gen_ai.request.model", name)];
    let body = metrics(
        "p",
        0,
        vec![("gen_ai.client.operation.duration", vec![point(series("gpt-4o"), 1, 10, 5, 1.0)])],
    );
    let mut intake = litellm();
    let accepted = intake.take(Signal::Metrics, Encoding::Protobuf, &body, Now::At(NOON_MS)).unwrap();
    assert_eq!(accepted.first_refusal, Some(Refusal::UnknownEnum), "temporality is unspecified");
    let tokens = |sum| {
        let attributes = [series("gpt-4o"), vec![text("gen_ai.token.type", "input")]].concat();
        metrics("p", 2, vec![("gen_ai.client.token.usage", vec![point(attributes, 1, 10, 1, sum)])])
    };
    for (sum, reason) in
        [(-1.0, Refusal::NegativeCount), (0.5, Refusal::CountRange), (f64::NAN, Refusal::CountRange)]
    {
        let accepted =
            intake.take(Signal::Metrics, Encoding::Protobuf, &tokens(sum), Now::At(NOON_MS)).unwrap();
        assert_eq!(accepted.first_refusal, Some(reason));
    }
    assert_eq!(intake.counter().totals(), Counts::default());
}

proptest! {
    #[test]
    fn nothing_panics(body: Vec<u8>, json: String) {
        let mut intake = litellm();
        for signal in [Signal::Traces, Signal::Metrics, Signal::Webhook] {
            let _ = intake.take(signal, Encoding::Protobuf, &body, Now::At(NOON_MS));
            let _ = intake.take(signal, Encoding::Json, &body, Now::At(NOON_MS));
            let _ = intake.take(signal, Encoding::Json, json.as_bytes(), Now::At(NOON_MS));
        }
    }

    #[test]
    fn a_damaged_payload_never_panics(position: prop::sample::Index, byte: u8) {
        let mut body = traces(vec![attempt(1, "a", GPT, None), attempt(2, "b", GPT, Some("Timeout"))]);
        let at = position.index(body.len());
        body[at] = byte;
        let mut intake = litellm();
        let _ = intake.take(Signal::Traces, Encoding::Protobuf, &body, Now::At(NOON_MS));
        intake.counter().finish_calls();
        prop_assert!(intake.counter().totals().requests <= 2);
    }
}
