//! Wire scan of `ExportMetricsServiceRequest`.
//!
//! Field numbers: request 1 resource_metrics; ResourceMetrics 1 resource, 2 scope_metrics; ScopeMetrics 1 scope, 2 metrics;
//! Metric 1 name, 7 sum, 9 histogram, 10 exponential_histogram; Sum 1 points, 2 temporality, 3 is_monotonic; Histogram and
//! ExponentialHistogram 1 points, 2 temporality; NumberDataPoint 2 start, 3 time, 4 as_double, 6 as_int, 7 attributes,
//! 8 flags; HistogramDataPoint 2 start, 3 time, 4 count, 5 sum, 9 attributes, 10 flags; ExponentialHistogramDataPoint
//! 1 attributes, 2 start, 3 time, 4 count, 5 sum, 10 flags. Gauges, summaries, buckets and exemplars are passed over.

use std::hash::{BuildHasher as _, Hasher as _};

use super::spans::{read_attribute, scope_name, text};
use super::{Point, PointKind, SeriesHasher, Temporality};
use crate::discard::Refusal;
use crate::source::Payload;
use crate::source::attributes::Attributes;
use crate::source::keys::AllowList;
use crate::source::protobuf::{Fields, Value};

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u64 = 1;

/// What the points of one metric share.
struct Context<'a, 'h, K> {
    hasher: &'h SeriesHasher,
    keys: &'h K,
    target: u64,
    scope: &'a str,
    metric: &'a str,
}

// Not derived: the list itself need not be copied.
impl<K> Clone for Context<'_, '_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Context<'_, '_, K> {}

/// Hands every histogram and monotonic sum point of the metrics that `wanted` names, with the attributes on the list `keys`,
/// to `each`, in order.
///
/// # Errors
/// `Refusal::Malformed` when the payload is not an `ExportMetricsServiceRequest`; `each` may have seen points before.
pub fn read_metrics<'a, K: AllowList>(
    payload: &'a [u8],
    keys: &K,
    hasher: &SeriesHasher,
    wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(&Point<'a>),
) -> Payload<()> {
    let mut request = Fields::of(payload);
    while let Some((field, value)) = request.next_field()? {
        if field != 1 {
            continue;
        }
        let resource_metrics = value.bytes()?;
        let target = target_of(resource_metrics, hasher)?;
        let mut fields = Fields::of(resource_metrics);
        while let Some((field, value)) = fields.next_field()? {
            if field == 2 {
                let context = Context { hasher, keys, target, scope: "", metric: "" };
                read_scope_metrics(value.bytes()?, context, &wanted, &mut each)?;
            }
        }
    }
    Ok(())
}

/// One exporting process: all attributes of the resource, in any order.
fn target_of(resource_metrics: &[u8], hasher: &SeriesHasher) -> Payload<u64> {
    let mut target = 0_u64;
    let mut fields = Fields::of(resource_metrics);
    while let Some((field, value)) = fields.next_field()? {
        if field != 1 {
            continue;
        }
        let mut resource = Fields::of(value.bytes()?);
        while let Some((field, value)) = resource.next_field()? {
            if field == 1 {
                target = target.wrapping_add(hasher.hash_one(value.bytes()?));
            }
        }
    }
    Ok(target)
}

fn read_scope_metrics<'a, K: AllowList>(
    message: &'a [u8],
    mut context: Context<'a, '_, K>,
    wanted: &impl Fn(&str) -> bool,
    each: &mut impl FnMut(&Point<'a>),
) -> Payload<()> {
    // A scope whose name is not UTF-8 is no scope that a profile reads; its points are passed over as such.
    context.scope = scope_name(message)?.unwrap_or("\u{fffd}");
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        if field == 2 {
            read_metric(value.bytes()?, context, wanted, each)?;
        }
    }
    Ok(())
}

fn read_metric<'a, K: AllowList>(
    message: &'a [u8],
    mut context: Context<'a, '_, K>,
    wanted: &impl Fn(&str) -> bool,
    each: &mut impl FnMut(&Point<'a>),
) -> Payload<()> {
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        if field == 1 {
            context.metric = text(value.bytes()?).unwrap_or("");
        }
    }
    let is_wanted = wanted(context.metric);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            7 | 9 | 10 if is_wanted => read_points(field, value.bytes()?, context, each)?,
            // Not wanted: still has to be a message, so that a damaged payload is refused wherever the damage is.
            7 | 9 | 10 => {
                let mut data = Fields::of(value.bytes()?);
                while data.next_field()?.is_some() {}
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_points<'a, K: AllowList>(
    data_field: u32,
    data: &'a [u8],
    context: Context<'a, '_, K>,
    each: &mut impl FnMut(&Point<'a>),
) -> Payload<()> {
    let kind = if data_field == 7 { PointKind::Counter } else { PointKind::Histogram };
    // Unspecified, which is how protobuf leaves it out, is not a temporality.
    let (mut temporality, mut fault, mut monotonic) =
        (Temporality::Cumulative, Some(Refusal::UnknownEnum), false);
    let mut fields = Fields::of(data);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            2 => match value.number()? {
                1 => (temporality, fault) = (Temporality::Delta, None),
                2 => (temporality, fault) = (Temporality::Cumulative, None),
                _ => {}
            },
            3 => monotonic = value.number()? != 0,
            _ => {}
        }
    }
    if kind == PointKind::Counter && !monotonic {
        return Ok(());
    }
    let mut fields = Fields::of(data);
    while let Some((field, value)) = fields.next_field()? {
        if field == 1 {
            let mut point = read_point(data_field, value.bytes()?, context)?;
            (point.kind, point.temporality) = (kind, temporality);
            point.fault = point.fault.or(fault);
            each(&point);
        }
    }
    Ok(())
}

fn read_point<'a, K: AllowList>(
    data_field: u32,
    message: &'a [u8],
    context: Context<'a, '_, K>,
) -> Payload<Point<'a>> {
    let (attributes_field, flags_field) = match data_field {
        7 => (7, 8),
        9 => (9, 10),
        _ => (1, 10),
    };
    let is_sum = data_field == 7;
    let mut point = Point {
        target: context.target,
        series: 0,
        scope: context.scope,
        metric: context.metric,
        kind: PointKind::Histogram,
        temporality: Temporality::Cumulative,
        start_unix_nano: 0,
        time_unix_nano: 0,
        count: 0,
        sum: None,
        no_value: false,
        attributes: Attributes::default(),
        fault: None,
    };
    let mut attributes_hash = 0_u64;
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next_field()? {
        match (field, value) {
            (field, value) if field == attributes_field => {
                let attribute = value.bytes()?;
                attributes_hash = attributes_hash.wrapping_add(context.hasher.hash_one(attribute));
                read_attribute(attribute, context.keys, &mut point.attributes, &mut point.fault)?;
            }
            (field, value) if field == flags_field => {
                point.no_value = value.number()? & NO_RECORDED_VALUE != 0
            }
            (2, value) => point.start_unix_nano = value.number()?,
            (3, value) => point.time_unix_nano = value.number()?,
            (4, Value::Fixed64(bits)) if is_sum => point.sum = Some(f64::from_bits(bits)),
            (6, Value::Fixed64(bits)) if is_sum => point.sum = Some(bits.cast_signed() as f64),
            (4, Value::Fixed64(count)) => point.count = count,
            (5, Value::Fixed64(bits)) if !is_sum => point.sum = Some(f64::from_bits(bits)),
            (4, _) => return Err(Refusal::Malformed),
            _ => {}
        }
    }
    point.series = series_of(context, attributes_hash);
    Ok(point)
}

fn series_of<K>(context: Context<'_, '_, K>, attributes_hash: u64) -> u64 {
    let mut hasher = context.hasher.build_hasher();
    hasher.write_u64(context.target);
    hasher.write_u64(attributes_hash);
    hasher.write(context.scope.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(context.metric.as_bytes());
    hasher.finish()
}
