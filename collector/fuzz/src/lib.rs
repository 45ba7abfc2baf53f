//! What the targets share: an intake, and what holds for every payload that is pushed to one.
//!
//! A payload that is refused changes no count, is noted once, and leaves the intake as it was: the next one counts as if it
//! had been the first. Of one that is taken the cells add up to the totals, every item that was told as refused or skipped is in
//! the tally, and no more requests are counted than items. Every item received is counted, skipped or refused.

use std::sync::OnceLock;

use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::discard::Refusal;
use weighbridge_collector::intake::{Accepted, Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_collector::profile::{Dialect, Profile};
use weighbridge_proto::cells::{Cell, Counts};

/// 2026-11-23 12:00 UTC: the samples were made for it.
pub const NOON_MS: u64 = 1_795_435_200_000;

/// An intake that has counted nothing.
pub fn intake(dialect: impl Into<Dialect>) -> Intake {
    let day = Day::from_unix_seconds(NOON_MS / 1_000);
    let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), day);
    Intake::new(dialect, classifier, 0)
}

/// Cuts what passes: whole, each byte, or pieces of lengths that a seed says.
pub fn pieces(body: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    let mut state = u32::from(seed);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = match seed {
            0 => rest.len(),
            1 => 1,
            _ => (state >> 24) as usize % usize::from(seed) + 1,
        };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// How a payload is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// To whom.
    pub dialect: Dialect,
    /// As what.
    pub signal: Signal,
    /// In which encoding.
    pub encoding: Encoding,
    /// When.
    pub now: Now,
}

/// The clock that a bit of the choice says: the times of a payload are checked, or it is a replay.
pub fn now(is_replay: bool) -> Now {
    if is_replay { Now::Replay(NOON_MS) } else { Now::At(NOON_MS) }
}

/// A field of protobuf that holds text or a message: its parts, fewer than 128 bytes together.
pub fn field(number: u8, parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.as_ref().len()).sum();
    assert!(number < 16 && length < 128);
    let mut field = vec![number << 3 | 2, length as u8];
    parts.iter().for_each(|part| field.extend_from_slice(part.as_ref()));
    field
}

const SPANS_JSON: &[u8] = br#"{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"litellm"},"spans":[{"spanId":"0102030405060708","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}}]}]}]}]}"#;

fn spans() -> &'static [u8] {
    static SPANS: OnceLock<Vec<u8>> = OnceLock::new();
    SPANS.get_or_init(|| {
        let attribute = |key: &str, text: &str| field(9, &[field(1, &[key]), field(2, &[field(1, &[text])])]);
        let model = attribute("gen_ai.request.model", "gpt-4o");
        let span = field(2, &[field(2, &[[7_u8; 8]]), attribute("gen_ai.operation.name", "chat"), model]);
        field(1, &[field(2, &[field(1, &[field(1, &["litellm"])]), span])])
    })
}

/// How OTLP is pushed, as the choice says: spans, metrics or logs (2 bits), the clock (1), the profile; and a payload of spans
/// that counts something.
pub fn otlp(choice: u8, encoding: Encoding) -> (Push, &'static [u8]) {
    let signal = match choice & 3 {
        1 => Signal::Metrics,
        2 => Signal::Logs,
        _ => Signal::Traces,
    };
    let place = usize::from(choice >> 3);
    let dialect = if signal == Signal::Logs {
        let profiles: Vec<LogProfile> = LogProfile::all().collect();
        profiles[place % profiles.len()].into()
    } else {
        let profiles: Vec<Profile> = Profile::all().collect();
        profiles[place % profiles.len()].into()
    };
    let good = if encoding == Encoding::Json { SPANS_JSON } else { spans() };
    (Push { dialect, signal, encoding, now: now(choice & 4 == 0) }, good)
}

/// What became of a payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What the intake told.
    pub taken: Result<Accepted, Refusal>,
    /// What it counted, calls on hold ended.
    pub totals: Counts,
    /// The same as cells, sorted.
    pub cells: Vec<Cell>,
    /// Items skipped, by the source, the profile or the counter.
    pub skipped: u64,
}

impl Push {
    /// Pushes `payload` to a new intake and checks what holds for all of them. `good` counts something.
    pub fn checked(self, payload: &[u8], good: &[u8]) -> Outcome {
        let mut intake = intake(self.dialect);
        let outcome = self.outcome(&mut intake, payload);
        let refused: u64 = intake.counter().tally().refused().map(|(_, count)| count).sum();
        assert!(intake.counter().tally().closes(), "{:?}", intake.counter().tally());
        let Outcome { taken, totals, cells, skipped } = &outcome;
        match taken {
            Err(refusal) => {
                assert_eq!((*totals, cells.len(), *skipped), (Counts::default(), 0, 0), "refused whole");
                assert_eq!(intake.counter().tally().refused().collect::<Vec<_>>(), [(*refusal, 1)]);
                let after = self.outcome(&mut intake, good);
                assert_eq!(after, self.outcome(&mut crate::intake(self.dialect), good), "after a refusal");
            }
            Ok(accepted) => {
                assert_eq!(refused, accepted.refused);
                assert!(*skipped >= accepted.skipped);
                assert_eq!(accepted.first_refusal.is_some(), refused > 0);
                let mut sum = Counts::default();
                cells.iter().for_each(|cell| sum.add(&cell.counts));
                assert_eq!(sum, *totals, "cells and totals");
                if self.signal != Signal::Metrics {
                    // What the counter skipped were duplicates.
                    let counted = accepted.counted + accepted.skipped - *skipped;
                    assert!(totals.requests <= counted, "{} requests of {counted}", totals.requests);
                    assert_eq!(totals.requests == 0, counted == 0, "items are no requests");
                }
            }
        }
        outcome
    }

    fn outcome(self, intake: &mut Intake, payload: &[u8]) -> Outcome {
        let taken = intake.take(self.signal, self.encoding, payload, self.now);
        let counter = intake.counter();
        counter.finish_calls();
        let skipped = counter.tally().skipped().map(|(_, count)| count).sum();
        let mut cells = counter.take_cells();
        cells.sort_by_key(|cell| format!("{:?}", cell.key));
        Outcome { taken, totals: counter.totals(), cells, skipped }
    }

    /// A payload that holds everything twice tells twice as many items: messages of protobuf are joined by writing them after
    /// one another.
    pub fn joined(self, payload: &[u8], once: &Outcome, good: &[u8]) {
        let Ok(once) = once.taken else { return };
        let twice = self.checked(&[payload, payload].concat(), good);
        let (counted, skipped, refused) = (2 * once.counted, 2 * once.skipped, 2 * once.refused);
        let expected = Accepted { counted, skipped, refused, first_refusal: once.first_refusal };
        assert_eq!(twice.taken, Ok(expected), "the payload twice");
    }

    /// The same JSON with the keys of every object in one order and in the other tells the same.
    pub fn reordered(self, payload: &[u8], good: &[u8]) {
        // Parsed into sorted maps, so that no key is there twice any more.
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(payload) else { return };
        let (mut sorted, mut reversed) = (Vec::new(), Vec::new());
        write(&value, false, &mut sorted);
        write(&value, true, &mut reversed);
        let text = String::from_utf8_lossy(&sorted).into_owned();
        assert_eq!(self.checked(&sorted, good), self.checked(&reversed, good), "keys reversed: {text}");
    }
}

/// Writes JSON with the keys of its objects in ascending or descending order.
fn write(value: &serde_json::Value, is_reversed: bool, out: &mut Vec<u8>) {
    match value {
        serde_json::Value::Object(object) => {
            let mut pairs: Vec<_> = object.iter().collect();
            pairs.sort_by_key(|(key, _)| key.as_str());
            if is_reversed {
                pairs.reverse();
            }
            out.push(b'{');
            for (place, (key, value)) in pairs.into_iter().enumerate() {
                out.extend_from_slice(if place > 0 { b"," } else { b"" });
                out.extend_from_slice(&serde_json::to_vec(key).expect("text"));
                out.push(b':');
                write(value, is_reversed, out);
            }
            out.push(b'}');
        }
        serde_json::Value::Array(values) => {
            out.push(b'[');
            for (place, value) in values.iter().enumerate() {
                out.extend_from_slice(if place > 0 { b"," } else { b"" });
                write(value, is_reversed, out);
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(&serde_json::to_vec(scalar).expect("a scalar")),
    }
}
