//! Batches of GenAI spans for benches and the load tool: 512 spans of 14 attributes, about 600 bytes each.
//!
//! In: a number of spans. Out: an encoded `ExportTraceServiceRequest` whose span and call ids can be renewed in place, so that
//! every span sent is distinct: a loss shows as a smaller total, a replay would show as a larger one.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

/// Input tokens of every span.
pub const INPUT_TOKENS: u64 = 1_200;
/// Output tokens of every span.
pub const OUTPUT_TOKENS: u64 = 345;
/// Spans in a batch, the default of OpenTelemetry's batch processor.
pub const SPANS: usize = 512;

const MODELS: [(&str, &str); 5] = [
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("hosted_vllm", "meta-llama/Llama-3.3-70B-Instruct"),
    ("deepseek", "deepseek-chat"),
    ("mistral", "mistral-small-2506"),
];
/// Stands in a template where a span's number is written; found again in the encoded bytes.
const MARK: &[u8; 8] = b"\xf0SPANID\xf1";
/// The same for response ids, which are text.
const TEXT_MARK: &[u8; 8] = b"RESPONSE";

/// An encoded batch.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    span_ids: Vec<usize>,
    response_ids: Vec<usize>,
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn span(index: usize, now_ns: u64) -> Span {
    let (provider, model) = MODELS[index % MODELS.len()];
    let text = |value: &str| Value::StringValue(value.to_owned());
    let response_id = format!("chatcmpl-{}", String::from_utf8_lossy(TEXT_MARK));
    Span {
        trace_id: vec![index as u8; 16],
        span_id: MARK.to_vec(),
        parent_span_id: vec![9; 8],
        name: format!("chat {model}"),
        kind: 3,
        start_time_unix_nano: now_ns - 1_000_000_000,
        end_time_unix_nano: now_ns,
        attributes: vec![
            attribute("gen_ai.operation.name", text("chat")),
            attribute("gen_ai.provider.name", text(provider)),
            attribute("gen_ai.request.model", text(model)),
            attribute("gen_ai.response.model", text(model)),
            attribute("gen_ai.response.id", text(&response_id)),
            attribute("gen_ai.response.finish_reasons", text("stop")),
            attribute("gen_ai.request.temperature", Value::DoubleValue(0.7)),
            attribute("gen_ai.request.max_tokens", Value::IntValue(1_024)),
            attribute("gen_ai.usage.input_tokens", Value::IntValue(INPUT_TOKENS as i64)),
            attribute("gen_ai.usage.output_tokens", Value::IntValue(OUTPUT_TOKENS as i64)),
            attribute("server.address", text("gateway.internal")),
            attribute("server.port", Value::IntValue(8_443)),
            attribute("user.id", text("7c9e6679-7425-40de-944b-e07fc1f90ae7")),
            attribute("session.id", text("550e8400-e29b-41d4-a716-446655440000")),
        ],
        ..Span::default()
    }
}

impl Batch {
    /// A batch of `spans` spans that end now.
    pub fn new(spans: usize) -> Batch {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let scope = InstrumentationScope { name: "gateway".to_owned(), ..InstrumentationScope::default() };
        let spans = (0..spans).map(|index| span(index, now.as_nanos() as u64)).collect();
        let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
        let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
        let bytes = ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec();
        let find = |mark: &[u8]| {
            let found = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark);
            found.map(|(position, _)| position).collect()
        };
        let (span_ids, response_ids) = (find(MARK), find(TEXT_MARK));
        Batch { bytes, span_ids, response_ids }
    }

    /// Makes every span of the batch a new one, from number `first` on.
    pub fn renew(&mut self, first: u64) -> &[u8] {
        for (offset, position) in self.span_ids.iter().enumerate() {
            self.bytes[*position..position + 8].copy_from_slice(&(first + offset as u64).to_be_bytes());
        }
        for (offset, position) in self.response_ids.iter().enumerate() {
            // Eight letters of four bits: distinct for four billion spans.
            let number = first + offset as u64;
            for (digit, byte) in self.bytes[*position..position + 8].iter_mut().enumerate() {
                *byte = b'a' + ((number >> (4 * digit)) & 15) as u8;
            }
        }
        &self.bytes
    }
}
