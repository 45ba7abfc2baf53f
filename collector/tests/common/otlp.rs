//! Captures of OTLP profiles: built with the official message types, told as protobuf and as JSON, which must count the same.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use serde_json::{Value as Json, json};
use weighbridge_collector::intake::{Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::Profile;
use weighbridge_proto::cells::Cell;
use weighbridge_proto::v1::Streaming;

use super::common::{NOON_MS, attribute, intake, text};

pub const INTERNAL: i32 = 1;
pub const SERVER: i32 = 2;
pub const CLIENT: i32 = 3;

const NOON_NANO: u64 = NOON_MS * 1_000_000;
const SECOND: u64 = 1_000_000_000;

pub fn flag(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

/// A span with id `id` inside `parent` (0: none) that took from one second after noon to another.
pub fn span(id: u8, parent: u8, name: &str, (start, end): (u64, u64), attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: name.to_owned(),
        kind: CLIENT,
        start_time_unix_nano: NOON_NANO + start * SECOND,
        end_time_unix_nano: NOON_NANO + end * SECOND,
        attributes,
        status: Some(Status { code: 1, ..Status::default() }),
        ..Span::default()
    }
}

pub fn of_kind(kind: i32, span: Span) -> Span {
    Span { kind, ..span }
}

/// The span as one that failed; its status message holds what must not be read.
pub fn failed(span: Span) -> Span {
    Span { status: Some(Status { code: 2, message: "canary-message".to_owned() }), ..span }
}

pub fn with_event(span: Span, name: &str, attributes: Vec<KeyValue>) -> Span {
    let event = Event { time_unix_nano: NOON_NANO, name: name.to_owned(), attributes, ..Event::default() };
    Span { events: span.events.into_iter().chain([event]).collect(), ..span }
}

/// What the SDKs record for an exception.
pub fn exception(class: &str) -> Vec<KeyValue> {
    vec![
        text("exception.message", "canary-message"),
        text("exception.type", class),
        text("exception.stacktrace", "canary-stack"),
    ]
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: name.to_owned(), ..InstrumentationScope::default() })
}

pub fn traces_request(spans: Vec<(&str, Vec<Span>)>) -> ExportTraceServiceRequest {
    let scope_spans = |(name, spans)| ScopeSpans { scope: scope(name), spans, ..ScopeSpans::default() };
    let scope_spans = spans.into_iter().map(scope_spans).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

/// A histogram's point of one process that began at noon: attributes, count and sum.
pub fn histogram(name: &str, points: Vec<(Vec<KeyValue>, u64, f64)>) -> Metric {
    let point = |(attributes, count, sum)| HistogramDataPoint {
        attributes,
        start_time_unix_nano: NOON_NANO,
        time_unix_nano: NOON_NANO + 10 * SECOND,
        count,
        sum: Some(sum),
        ..HistogramDataPoint::default()
    };
    let data_points = points.into_iter().map(point).collect();
    let data = Data::Histogram(Histogram { data_points, aggregation_temporality: 2 });
    Metric { name: name.to_owned(), data: Some(data), ..Metric::default() }
}

/// A counter's points, likewise.
pub fn counter(name: &str, points: Vec<(Vec<KeyValue>, i64)>) -> Metric {
    let point = |(attributes, value)| NumberDataPoint {
        attributes,
        start_time_unix_nano: NOON_NANO,
        time_unix_nano: NOON_NANO + 10 * SECOND,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    };
    let data_points = points.into_iter().map(point).collect();
    let data = Data::Sum(Sum { data_points, aggregation_temporality: 2, is_monotonic: true });
    Metric { name: name.to_owned(), data: Some(data), ..Metric::default() }
}

pub fn metrics_request(metrics: Vec<(&str, Vec<Metric>)>) -> ExportMetricsServiceRequest {
    let scope_metrics =
        |(name, metrics)| ScopeMetrics { scope: scope(name), metrics, ..ScopeMetrics::default() };
    let resource = Resource { attributes: vec![text("service.instance.id", "a")], ..Resource::default() };
    let scope_metrics = metrics.into_iter().map(scope_metrics).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics,
            ..ResourceMetrics::default()
        }],
    }
}

fn json_attributes(attributes: &[KeyValue]) -> Json {
    let value = |value: &Value| match value {
        Value::StringValue(text) => json!({"stringValue": text}),
        Value::BoolValue(flag) => json!({"boolValue": flag}),
        Value::IntValue(number) => json!({"intValue": number.to_string()}),
        Value::DoubleValue(number) => json!({"doubleValue": number}),
        other => panic!("{other:?}"),
    };
    let pair = |pair: &KeyValue| json!({"key": pair.key, "value": value(pair.value.as_ref().unwrap().value.as_ref().unwrap())});
    attributes.iter().map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json_of_traces(request: &ExportTraceServiceRequest) -> Json {
    let event = |event: &Event| {
        json!({"timeUnixNano": event.time_unix_nano.to_string(), "name": event.name,
            "attributes": json_attributes(&event.attributes)})
    };
    let span = |span: &Span| {
        json!({"traceId": hex(&span.trace_id), "spanId": hex(&span.span_id), "parentSpanId": hex(&span.parent_span_id),
            "name": span.name, "kind": span.kind, "startTimeUnixNano": span.start_time_unix_nano.to_string(),
            "endTimeUnixNano": span.end_time_unix_nano.to_string(), "attributes": json_attributes(&span.attributes),
            "events": span.events.iter().map(event).collect::<Vec<_>>(),
            "status": {"code": span.status.as_ref().map_or(0, |status| status.code)}})
    };
    let scope = |scoped: &ScopeSpans| {
        json!({"scope": {"name": scoped.scope.as_ref().unwrap().name},
            "spans": scoped.spans.iter().map(span).collect::<Vec<_>>()})
    };
    let resource = |resource: &ResourceSpans| json!({"scopeSpans": resource.scope_spans.iter().map(scope).collect::<Vec<_>>()});
    json!({"resourceSpans": request.resource_spans.iter().map(resource).collect::<Vec<_>>()})
}

fn json_of_metrics(request: &ExportMetricsServiceRequest) -> Json {
    let times = |start: u64, time: u64| (start.to_string(), time.to_string());
    let histogram = |point: &HistogramDataPoint| {
        let (start, time) = times(point.start_time_unix_nano, point.time_unix_nano);
        json!({"attributes": json_attributes(&point.attributes), "startTimeUnixNano": start, "timeUnixNano": time,
            "count": point.count.to_string(), "sum": point.sum})
    };
    let number = |point: &NumberDataPoint| {
        let (start, time) = times(point.start_time_unix_nano, point.time_unix_nano);
        let Some(number_data_point::Value::AsInt(value)) = point.value else { panic!("{point:?}") };
        json!({"attributes": json_attributes(&point.attributes), "startTimeUnixNano": start, "timeUnixNano": time,
            "asInt": value.to_string()})
    };
    let metric = |metric: &Metric| match metric.data.as_ref().unwrap() {
        Data::Histogram(data) => json!({"name": metric.name, "histogram": {"aggregationTemporality": 2,
            "dataPoints": data.data_points.iter().map(histogram).collect::<Vec<_>>()}}),
        Data::Sum(data) => {
            json!({"name": metric.name, "sum": {"aggregationTemporality": 2, "isMonotonic": true,
            "dataPoints": data.data_points.iter().map(number).collect::<Vec<_>>()}})
        }
        other => panic!("{other:?}"),
    };
    let scope = |scoped: &ScopeMetrics| {
        json!({"scope": {"name": scoped.scope.as_ref().unwrap().name},
            "metrics": scoped.metrics.iter().map(metric).collect::<Vec<_>>()})
    };
    let resource = |resource: &ResourceMetrics| {
        json!({"resource": {"attributes": json_attributes(&resource.resource.as_ref().unwrap().attributes)},
            "scopeMetrics": resource.scope_metrics.iter().map(scope).collect::<Vec<_>>()})
    };
    json!({"resourceMetrics": request.resource_metrics.iter().map(resource).collect::<Vec<_>>()})
}

/// What became of a capture: cells as (model hosting outcome operation streaming choice) and (requests, attempts, input, output),
/// sorted, and what was skipped.
pub struct Told {
    pub cells: Vec<(String, [u64; 4])>,
    pub skipped: Vec<(&'static str, u64)>,
}

pub fn profile(name: &str) -> Profile {
    name.parse().unwrap()
}

pub fn finish(intake: &mut Intake) -> Told {
    let describe = |cell: &Cell| {
        let key = &cell.key;
        let model = weighbridge_catalog::embedded().model(key.model).map_or("unlisted", |model| model.name());
        let streaming = match key.streaming {
            Streaming::Yes => "stream",
            Streaming::No => "whole",
            _ => "unknown",
        };
        let words = [
            model,
            key.hosting.as_str(),
            key.outcome.name(),
            key.operation.name(),
            streaming,
            key.choice.name(),
        ];
        let counts = cell.counts;
        (words.join(" "), [counts.requests, counts.attempts, counts.input_tokens, counts.output_tokens])
    };
    let counter = intake.counter();
    counter.finish_calls();
    let mut cells: Vec<_> = counter.take_cells().iter().map(describe).collect();
    cells.sort();
    let skipped = counter.tally().skipped().map(|(reason, count)| (reason.name(), count)).collect();
    assert_eq!(counter.tally().refused().count(), 0);
    assert!(counter.tally().closes(), "received = counted + skipped + refused: {:?}", counter.tally());
    Told { cells, skipped }
}

fn both(name: &str, signal: Signal, protobuf: &[u8], json: &Json) -> Told {
    let mut told = [(Encoding::Protobuf, protobuf.to_vec()), (Encoding::Json, json.to_string().into_bytes())]
        .map(|(encoding, payload)| {
            let mut intake = intake(profile(name), 0);
            intake.take(signal, encoding, &payload, Now::At(NOON_MS)).unwrap();
            finish(&mut intake)
        })
        .into_iter();
    let (protobuf, json) = (told.next().unwrap(), told.next().unwrap());
    assert_eq!(protobuf.cells, json.cells, "{name}: protobuf and JSON");
    assert_eq!(protobuf.skipped, json.skipped, "{name}: protobuf and JSON");
    protobuf
}

/// Counts spans by scope as one payload, in both encodings.
pub fn told_by_spans(name: &str, spans: Vec<(&str, Vec<Span>)>) -> Told {
    let request = traces_request(spans);
    both(name, Signal::Traces, &request.encode_to_vec(), &json_of_traces(&request))
}

/// Counts metrics by scope as one payload, in both encodings.
pub fn told_by_metrics(name: &str, metrics: Vec<(&str, Vec<Metric>)>) -> Told {
    let request = metrics_request(metrics);
    both(name, Signal::Metrics, &request.encode_to_vec(), &json_of_metrics(&request))
}

impl Told {
    #[track_caller]
    pub fn assert_cells(&self, expected: &[(&str, [u64; 4])]) {
        let told: Vec<_> = self.cells.iter().map(|(words, counts)| (words.as_str(), *counts)).collect();
        assert_eq!(told, expected);
    }
}
