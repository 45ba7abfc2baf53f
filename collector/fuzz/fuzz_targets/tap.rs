//! Any bytes as an exchange through the tap. The first seven choose: the profile, the path, content types and encodings of the
//! request and of the answer, the status and how it ended, where the answer begins, where the bodies are cut.
//! Where bodies are cut changes nothing; what asks a model counts as one request or is one cache hit or preload, and what
//! does not is skipped once.
#![no_main]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use weighbridge_collector::discard::Skip;
use weighbridge_collector::profile::tap::{End, Exchange, Head, TapProfile};
use weighbridge_collector_fuzz::{NOON_MS, intake, pieces};
use weighbridge_proto::cells::Cell;

const PATHS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/images/generations",
    "/openai/deployments/prod/chat/completions",
    "/v1/messages",
    "/v1beta/models/gemini-2.5-flash:generateContent",
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    "/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict",
    "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream",
    "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke-with-response-stream",
    "/v2/chat",
    "/v2/rerank",
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/embed",
    "/rerank",
    "/generate",
    "/generate_stream",
    "/completion",
    "/v1/models",
    "/tokenize",
    "/v1/audio/transcriptions",
];

const TYPES: &[&str] = &[
    "application/json",
    "text/event-stream; charset=utf-8",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "application/problem+json",
    "",
    "audio/mpeg",
    "multipart/form-data; boundary=x",
];

const STATUSES: &[u16] = &[200, 200, 200, 400, 401, 404, 429, 503];
const ENDS: &[End] = &[End::Complete, End::ClientLeft, End::UpstreamBroke, End::Unreachable];
/// Headers of gateways that tell of caches and attempts.
const TOLD: &[(&str, &str)] = &[
    ("x-portkey-cache-status", "HIT"),
    ("x-portkey-retry-attempt-count", "2"),
    ("x-portkey-last-used-option-index", "config.targets[1]"),
    ("x-amzn-bedrock-input-token-count", "7"),
];

/// One body with its headers.
struct Message {
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Message {
    fn new(choice: u8, body: &[u8]) -> Message {
        let (encoding, body) = encoded(choice >> 3 & 7, body);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPES[usize::from(choice & 7)]));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        Message { headers, body }
    }
}

/// A body that is encoded, or says so.
fn encoded(choice: u8, body: &[u8]) -> (&'static str, Vec<u8>) {
    const WHOLE: &str = "memory takes all";
    match choice {
        1 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).expect(WHOLE);
            ("gzip", encoder.finish().expect(WHOLE))
        }
        2 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).expect(WHOLE);
            ("deflate", encoder.finish().expect(WHOLE))
        }
        3 => ("zstd", zstd::encode_all(body, 1).expect(WHOLE)),
        4 => ("gzip", body.to_vec()),
        5 => ("br", body.to_vec()),
        6 => ("zstd", body.to_vec()),
        7 => ("compress", body.to_vec()),
        _ => ("", body.to_vec()),
    }
}

struct Case<'a> {
    profile: TapProfile,
    path: &'a str,
    request: Message,
    answer: Message,
    status: u16,
    end: End,
}

/// What was counted and skipped, and whether it asked a model.
#[derive(Debug, PartialEq)]
struct Counted(Vec<Cell>, Vec<(Skip, u64)>, bool);

impl Case<'_> {
    fn pass(&self, seed: u8) -> Counted {
        let mut intake = intake(self.profile);
        let head = Head { method: &Method::POST, path: self.path, headers: &self.request.headers };
        let mut exchange = Exchange::new(self.profile, head);
        let is_inference = exchange.is_inference();
        pieces(&self.request.body, seed).for_each(|piece| exchange.request_piece(piece));
        exchange.request_end();
        if self.end != End::Unreachable {
            exchange.answer(self.status, &self.answer.headers);
            pieces(&self.answer.body, seed).for_each(|piece| exchange.answer_piece(piece));
        }
        intake.take_exchange(exchange, self.end, "10.0.0.7", "", NOON_MS);
        let counter = intake.counter();
        Counted(counter.take_cells(), counter.tally().skipped().collect(), is_inference)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[profile, path, asked, told, status, split, seed], bodies)) = bytes.split_first_chunk() else {
        return;
    };
    let profiles: Vec<TapProfile> = TapProfile::all().collect();
    let (request, answer) = bodies.split_at(bodies.len() * usize::from(split) / 256);
    let mut answer = Message::new(told, answer);
    for (place, (name, value)) in TOLD.iter().enumerate() {
        if status >> (place + 4) & 1 == 1 {
            answer.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    let case = Case {
        profile: profiles[usize::from(profile) % profiles.len()],
        path: PATHS[usize::from(path) % PATHS.len()],
        request: Message::new(asked, request),
        answer,
        status: STATUSES[usize::from(status & 7)],
        end: ENDS[usize::from(asked >> 6)],
    };
    let whole = case.pass(0);
    let requests: u64 = whole.0.iter().map(|cell| cell.counts.requests).sum();
    match (requests, whole.1.as_slice()) {
        (1, []) => assert!(whole.2 && whole.0.len() == 1),
        (0, [(Skip::CacheHit, 1)]) => assert!(whole.2),
        // Also what loads a model and asks it nothing.
        (0, [(Skip::NotInference, 1)]) => {}
        other => panic!("{other:?}"),
    }
    for seed in [1, seed] {
        assert_eq!(case.pass(seed), whole, "cut by {seed}");
    }
});
