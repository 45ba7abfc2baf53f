//! OTLP payloads for tests, made with the official message types, so that the wire scan is checked against them.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

pub mod pages;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, ResourceMetrics, ScopeMetrics, metric::Data,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::classifier::Classifier;
use weighbridge_collector::intake::Intake;
use weighbridge_collector::profile::Dialect;
use weighbridge_collector::window::Header;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::report::{BootEpoch, CollectorId};
use weighbridge_proto::v1::{Environment, GatewayProduct, Vantage};

/// 2026-11-23 12:00 UTC.
pub const NOON_MS: u64 = 1_795_435_200_000;

pub fn intake(dialect: impl Into<Dialect>, started_ms: u64) -> Intake {
    let day = Day::from_unix_seconds(NOON_MS / 1_000);
    let classifier = Classifier::new(weighbridge_catalog::embedded(), Aliases::default(), day);
    Intake::new(dialect, classifier, started_ms * 1_000_000)
}

/// Reports of a minute, of one collector in production at a gateway.
pub fn header(gateway_product: GatewayProduct) -> Header {
    Header {
        collector: CollectorId([1; 16]),
        boot_epoch: BootEpoch(1),
        window_s: 60,
        environment: Environment::Production,
        vantage: Vantage::Gateway,
        gateway_product,
    }
}

pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// An attempt as LiteLLM's V2 exporter tells it.
pub fn attempt(id: u8, call: &str, served: &str, error: Option<&str>) -> Span {
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", served.split('/').next().unwrap()),
        text("gen_ai.request.model", &format!("alias of {served}")),
        text("litellm.provider.model", served),
        text("litellm.call_id", call),
        text("gen_ai.prompt.0.content", "canary-prompt"),
        int("gen_ai.usage.input_tokens", if error.is_some() { 0 } else { 11 }),
        int("gen_ai.usage.output_tokens", if error.is_some() { 0 } else { 7 }),
    ];
    attributes.extend(error.map(|class| text("error.type", class)));
    Span {
        span_id: vec![id; 8],
        name: "chat alias".to_owned(),
        kind: 3,
        end_time_unix_nano: NOON_MS * 1_000_000,
        attributes,
        status: error.map(|_| Status { code: 2, ..Status::default() }),
        ..Span::default()
    }
}

/// An operation as the GenAI conventions tell it.
pub fn operation(id: u8, attributes: Vec<KeyValue>) -> Span {
    Span {
        span_id: vec![id; 8],
        name: "chat".to_owned(),
        kind: 3,
        end_time_unix_nano: NOON_MS * 1_000_000,
        attributes,
        ..Span::default()
    }
}

pub fn traces_of(scope: &str, spans: Vec<Span>) -> Vec<u8> {
    let scope = InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

pub fn traces(spans: Vec<Span>) -> Vec<u8> {
    traces_of("litellm", spans)
}

/// A point of a histogram: attributes, start and time in seconds after noon, count and sum.
pub fn point(
    attributes: Vec<KeyValue>,
    start_s: i64,
    time_s: i64,
    count: u64,
    sum: f64,
) -> HistogramDataPoint {
    let nanos = |seconds: i64| ((NOON_MS as i64 + seconds * 1_000) * 1_000_000) as u64;
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: nanos(start_s),
        time_unix_nano: nanos(time_s),
        count,
        sum: Some(sum),
        ..HistogramDataPoint::default()
    }
}

/// Histograms of one process. Temporality 1 is delta, 2 cumulative.
pub fn metrics(process: &str, temporality: i32, histograms: Vec<(&str, Vec<HistogramDataPoint>)>) -> Vec<u8> {
    let metric = |(name, data_points): (&str, Vec<HistogramDataPoint>)| Metric {
        name: name.to_owned(),
        data: Some(Data::Histogram(Histogram { data_points, aggregation_temporality: temporality })),
        ..Metric::default()
    };
    let scope = InstrumentationScope { name: "litellm".to_owned(), ..InstrumentationScope::default() };
    let scope_metrics = ScopeMetrics {
        scope: Some(scope),
        metrics: histograms.into_iter().map(metric).collect(),
        ..ScopeMetrics::default()
    };
    let resource = Resource { attributes: vec![text("service.instance.id", process)], ..Resource::default() };
    let resource_metrics = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }.encode_to_vec()
}

pub fn counts(requests: u64, attempts: u64, input_tokens: u64, output_tokens: u64) -> Counts {
    Counts { requests, attempts, input_tokens, output_tokens }
}
