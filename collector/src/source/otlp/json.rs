//! OTLP/JSON, read with the same allow-list as the protobuf scan.
//!
//! Values of attributes that are not on the allow-list stay unparsed slices of the payload. Accepted beside the OTLP/JSON
//! rules (64-bit integers as text, enumerations as numbers): integers as numbers and enumerations by their protobuf name,
//! which generic protobuf-to-JSON converters write.

mod logs;

pub use logs::read_logs;

use std::borrow::Cow;
use std::hash::{BuildHasher as _, Hasher as _};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use serde_json::value::RawValue;

use super::{Events, MAX_KIND, Point, PointKind, SeriesHasher, Span, Temporality};
use crate::discard::Refusal;
use crate::source::Payload;
use crate::source::attributes::{Attributes, Role, Scalar};
use crate::source::keys::AllowList;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TracesRequest<'a> {
    #[serde(borrow, default, alias = "resource_spans")]
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    #[serde(borrow, default, alias = "scope_spans")]
    scope_spans: Vec<ScopeSpans<'a>>,
}

#[derive(Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow, default)]
    scope: Scope<'a>,
    #[serde(borrow, default)]
    spans: Vec<JsonSpan<'a>>,
}

#[derive(Deserialize, Default)]
struct Scope<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(borrow, default, alias = "span_id")]
    span_id: Cow<'a, str>,
    #[serde(borrow, default, alias = "parent_span_id")]
    parent_span_id: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(default, alias = "start_time_unix_nano")]
    start_time_unix_nano: Unsigned,
    #[serde(default, alias = "end_time_unix_nano")]
    end_time_unix_nano: Unsigned,
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
    #[serde(borrow, default)]
    events: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
}

#[derive(Deserialize, Default)]
struct Status<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(borrow, default, alias = "string_value")]
    string_value: Option<Cow<'a, str>>,
    #[serde(default, alias = "bool_value")]
    bool_value: Option<bool>,
    #[serde(default, alias = "int_value")]
    int_value: Option<Signed>,
    #[serde(default, alias = "double_value")]
    double_value: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricsRequest<'a> {
    #[serde(borrow, default, alias = "resource_metrics")]
    resource_metrics: Vec<ResourceMetrics<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceMetrics<'a> {
    #[serde(borrow, default)]
    resource: Resource<'a>,
    #[serde(borrow, default, alias = "scope_metrics")]
    scope_metrics: Vec<ScopeMetrics<'a>>,
}

#[derive(Deserialize, Default)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
}

#[derive(Deserialize)]
struct ScopeMetrics<'a> {
    #[serde(borrow, default)]
    scope: Scope<'a>,
    #[serde(borrow, default)]
    metrics: Vec<Metric<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    sum: Option<&'a RawValue>,
    #[serde(borrow, default)]
    histogram: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "exponential_histogram")]
    exponential_histogram: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow, default, alias = "data_points")]
    data_points: Vec<DataPoint<'a>>,
    #[serde(borrow, default, alias = "aggregation_temporality")]
    aggregation_temporality: Option<&'a RawValue>,
    #[serde(default, alias = "is_monotonic")]
    is_monotonic: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataPoint<'a> {
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
    #[serde(default, alias = "start_time_unix_nano")]
    start_time_unix_nano: Unsigned,
    #[serde(default, alias = "time_unix_nano")]
    time_unix_nano: Unsigned,
    #[serde(default)]
    count: Unsigned,
    #[serde(default)]
    sum: Option<f64>,
    #[serde(default, alias = "as_int")]
    as_int: Option<Signed>,
    #[serde(default, alias = "as_double")]
    as_double: Option<f64>,
    #[serde(default)]
    flags: u32,
}

/// A 64-bit integer, as text or as a number.
#[derive(Clone, Copy, Default)]
struct Unsigned(u64);
#[derive(Clone, Copy)]
struct Signed(i64);

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = i128;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a 64-bit integer, as text or as a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<i128, E> {
        Ok(i128::from(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<i128, E> {
        Ok(i128::from(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<i128, E> {
        text.parse().map_err(|_| E::custom("not an integer"))
    }
}

impl<'de> Deserialize<'de> for Unsigned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(IntegerVisitor)?;
        u64::try_from(number).map(Unsigned).map_err(|_| D::Error::custom("out of range"))
    }
}

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(IntegerVisitor)?;
        i64::try_from(number).map(Signed).map_err(|_| D::Error::custom("out of range"))
    }
}

/// Hands every span of `payload` with the attributes on the list `keys` to `each`, in order.
///
/// # Errors
/// `Refusal::Malformed` or `InvalidUtf8` when the payload is not an OTLP/JSON traces request; `each` saw nothing then.
pub fn read_spans(payload: &[u8], keys: &impl AllowList, mut each: impl FnMut(&Span<'_>)) -> Payload<()> {
    let request: TracesRequest<'_> = parse(payload)?;
    for scope_spans in request.resource_spans.iter().flat_map(|resource| &resource.scope_spans) {
        for span in &scope_spans.spans {
            with_attributes(&span.attributes, keys, |attributes, mut fault| {
                let (failed, status_fault) = status(&span.status);
                let (kind, kind_fault) = kind(span.kind);
                fault = fault.or(status_fault).or(kind_fault);
                each(&Span {
                    scope: &scope_spans.scope.name,
                    name: span.name.as_bytes(),
                    kind,
                    span_id: span.span_id.as_bytes(),
                    parent_span_id: span.parent_span_id.as_bytes(),
                    start_unix_nano: span.start_time_unix_nano.0,
                    events: Events::Json(&span.events),
                    end_unix_nano: span.end_time_unix_nano.0,
                    failed,
                    attributes,
                    fault,
                });
            });
        }
    }
    Ok(())
}

/// The name of an event and the class of the exception in it, to `each`.
pub(super) fn read_event(raw: &RawValue, each: &mut impl FnMut(&[u8], &str)) {
    let Ok(event) = serde_json::from_str::<Event<'_>>(raw.get()) else { return };
    let class = event.attributes.iter().rfind(|attribute| attribute.key == super::events::EXCEPTION_TYPE);
    let class = class.and_then(|attribute| serde_json::from_str::<AnyValue<'_>>(attribute.value?.get()).ok());
    each(event.name.as_bytes(), class.and_then(|class| class.string_value).as_deref().unwrap_or(""));
}

/// Hands every histogram and monotonic sum point of the metrics that `wanted` names, with the attributes on the list `keys`,
/// to `each`, in order.
///
/// # Errors
/// `Refusal::Malformed` or `InvalidUtf8` when the payload is not an OTLP/JSON metrics request.
pub fn read_metrics<K: AllowList>(
    payload: &[u8],
    keys: &K,
    hasher: &SeriesHasher,
    wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(&Point<'_>),
) -> Payload<()> {
    let request: MetricsRequest<'_> = parse(payload)?;
    for resource_metrics in &request.resource_metrics {
        let target = attributes_hash(&resource_metrics.resource.attributes, hasher);
        for scope_metrics in &resource_metrics.scope_metrics {
            for metric in scope_metrics.metrics.iter().filter(|metric| wanted(&metric.name)) {
                let kinds = [
                    (metric.sum, PointKind::Counter),
                    (metric.histogram, PointKind::Histogram),
                    (metric.exponential_histogram, PointKind::Histogram),
                ];
                for (data, kind) in kinds {
                    let Some(data) = data else { continue };
                    let data: Data<'_> = parse(data.get().as_bytes())?;
                    let head = Head {
                        hasher,
                        keys,
                        target,
                        scope: &scope_metrics.scope.name,
                        metric: &metric.name,
                        kind,
                    };
                    read_points(&data, &head, &mut each);
                }
            }
        }
    }
    Ok(())
}

struct Head<'a, K> {
    hasher: &'a SeriesHasher,
    keys: &'a K,
    target: u64,
    scope: &'a str,
    metric: &'a str,
    kind: PointKind,
}

fn read_points<K: AllowList>(data: &Data<'_>, head: &Head<'_, K>, each: &mut impl FnMut(&Point<'_>)) {
    if head.kind == PointKind::Counter && !data.is_monotonic {
        return;
    }
    let temporality = match data.aggregation_temporality.map(RawValue::get) {
        Some("1" | "\"AGGREGATION_TEMPORALITY_DELTA\"") => Ok(Temporality::Delta),
        Some("2" | "\"AGGREGATION_TEMPORALITY_CUMULATIVE\"") => Ok(Temporality::Cumulative),
        _ => Err(Refusal::UnknownEnum),
    };
    for point in &data.data_points {
        let mut hasher = head.hasher.build_hasher();
        hasher.write_u64(head.target);
        hasher.write_u64(attributes_hash(&point.attributes, head.hasher));
        hasher.write(head.scope.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(head.metric.as_bytes());
        let sum = match head.kind {
            PointKind::Histogram => point.sum,
            PointKind::Counter => point.as_int.map(|number| number.0 as f64).or(point.as_double),
        };
        with_attributes(&point.attributes, head.keys, |attributes, fault| {
            each(&Point {
                target: head.target,
                series: hasher.finish(),
                scope: head.scope,
                metric: head.metric,
                kind: head.kind,
                temporality: temporality.unwrap_or(Temporality::Cumulative),
                start_unix_nano: point.start_time_unix_nano.0,
                time_unix_nano: point.time_unix_nano.0,
                count: point.count.0,
                sum,
                no_value: point.flags & 1 != 0,
                attributes,
                fault: fault.or(temporality.err()),
            });
        });
    }
}

fn attributes_hash(attributes: &[Attribute<'_>], hasher: &SeriesHasher) -> u64 {
    let hash = |attribute: &Attribute<'_>| {
        hasher.hash_one((attribute.key.as_ref(), attribute.value.map_or("", RawValue::get)))
    };
    attributes.iter().map(hash).fold(0, u64::wrapping_add)
}

/// Parses the allow-listed values and lends them to `use_them`.
fn with_attributes(
    raw: &[Attribute<'_>],
    keys: &impl AllowList,
    use_them: impl FnOnce(Attributes<'_>, Option<Refusal>),
) {
    let mut fault = None;
    let mut values: Vec<((Role, u8), AnyValue<'_>)> = Vec::new();
    for attribute in raw {
        let Some(role) = keys.role_of(attribute.key.as_bytes()) else { continue };
        let Some(value) = attribute.value else { continue };
        match serde_json::from_str(value.get()) {
            Ok(value) => values.push((role, value)),
            Err(_) => fault = Some(Refusal::Malformed),
        }
    }
    let mut attributes = Attributes::default();
    for (role, value) in &values {
        let scalar = match value {
            AnyValue { string_value: Some(text), .. } => Scalar::Text(text),
            AnyValue { int_value: Some(number), .. } => Scalar::Int(number.0),
            AnyValue { double_value: Some(number), .. } => Scalar::Double(*number),
            AnyValue { bool_value: Some(flag), .. } => Scalar::Bool(*flag),
            _ => Scalar::None,
        };
        attributes.set(*role, scalar);
    }
    use_them(attributes, fault);
}

fn kind(kind: Option<&RawValue>) -> (u8, Option<Refusal>) {
    const NAMES: [&str; MAX_KIND as usize + 1] = [
        "\"SPAN_KIND_UNSPECIFIED\"",
        "\"SPAN_KIND_INTERNAL\"",
        "\"SPAN_KIND_SERVER\"",
        "\"SPAN_KIND_CLIENT\"",
        "\"SPAN_KIND_PRODUCER\"",
        "\"SPAN_KIND_CONSUMER\"",
    ];
    let text = kind.map_or("0", RawValue::get);
    let number = text.parse().ok().or_else(|| NAMES.iter().position(|name| *name == text));
    match number {
        Some(number) if number <= MAX_KIND as usize => (number as u8, None),
        _ => (0, Some(Refusal::UnknownEnum)),
    }
}

/// Whether the status is ERROR.
fn status(status: &Status<'_>) -> (bool, Option<Refusal>) {
    match status.code.map(RawValue::get) {
        None | Some("0" | "1" | "\"STATUS_CODE_UNSET\"" | "\"STATUS_CODE_OK\"") => (false, None),
        Some("2" | "\"STATUS_CODE_ERROR\"") => (true, None),
        Some(_) => (false, Some(Refusal::UnknownEnum)),
    }
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Payload<T> {
    let text = std::str::from_utf8(payload).map_err(|_| Refusal::InvalidUtf8)?;
    serde_json::from_str(text).map_err(|_| Refusal::Malformed)
}
