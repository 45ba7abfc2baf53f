//! OTLP traces, metrics and logs, as protobuf and as JSON (OTLP 1.x; protobuf field numbers of `opentelemetry/proto/*/v1`).
//!
//! Both encodings yield the same `Span` and `Point`, so a profile does not know which one it reads. A payload is read
//! whole before anything of it is counted: a truncated payload changes no count.

mod events;
pub mod json;
mod logs;
mod metrics;
mod spans;

pub use events::Events;
pub use logs::read_logs;
pub use metrics::read_metrics;
pub use spans::read_spans;

use super::attributes::Attributes;
use crate::discard::Refusal;

/// `SPAN_KIND_CLIENT`.
pub const CLIENT: u8 = 3;
/// The highest kind that OTLP defines, CONSUMER.
const MAX_KIND: u64 = 5;

/// The read fields of one span.
#[derive(Clone, Debug, Default)]
pub struct Span<'a> {
    /// Name of the instrumentation scope.
    pub scope: &'a str,
    /// Name of the span; only compared with fixed names, so it is never decoded.
    pub name: &'a [u8],
    /// Kind; 3 is CLIENT.
    pub kind: u8,
    /// Span id as it came (8 bytes in protobuf, 16 hex digits in JSON).
    pub span_id: &'a [u8],
    /// Id of the span around it, empty if there is none. This and the two after it are read for the allow-lists that ask
    /// for them.
    pub parent_span_id: &'a [u8],
    /// Start, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// Its events, not read yet.
    pub events: Events<'a>,
    /// End, Unix nanoseconds.
    pub end_unix_nano: u64,
    /// Status code is ERROR.
    pub failed: bool,
    /// Allow-listed attributes.
    pub attributes: Attributes<'a>,
    /// A field of this span that is read and is wrong; the span is refused, the others of the payload are not.
    pub fault: Option<Refusal>,
}

impl Span<'_> {
    /// Makes room for the next span: an instance is used for all spans of a payload.
    #[inline]
    fn clear(&mut self) {
        (self.name, self.kind, self.span_id, self.end_unix_nano, self.failed) = (b"", 0, b"", 0, false);
        self.fault = None;
        self.attributes.clear();
    }

    /// The same for what only some allow-lists ask for.
    #[inline]
    fn clear_relations(&mut self) {
        (self.parent_span_id, self.start_unix_nano, self.events) = (b"", 0, Events::None);
    }
}

/// What kind of number a metric point carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// A histogram or exponential histogram: `count` and `sum`.
    Histogram,
    /// A monotonic sum: `sum`.
    Counter,
}

/// How a point's value relates to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// The value since `start`.
    Cumulative,
    /// The value since the point before.
    Delta,
}

/// The read fields of one metric point.
#[derive(Clone, Debug)]
pub struct Point<'a> {
    /// Keyed hash of the resource: one exporting process.
    pub target: u64,
    /// Keyed hash of target, scope, metric and all attributes.
    pub series: u64,
    /// Name of the instrumentation scope.
    pub scope: &'a str,
    /// Name of the metric.
    pub metric: &'a str,
    /// Histogram or counter.
    pub kind: PointKind,
    /// Cumulative or delta.
    pub temporality: Temporality,
    /// Start of the series, Unix nanoseconds, 0 if not told.
    pub start_unix_nano: u64,
    /// Time of the point, Unix nanoseconds.
    pub time_unix_nano: u64,
    /// Number of recorded values (histograms).
    pub count: u64,
    /// Sum of recorded values, or the counter's value; `None` if not told.
    pub sum: Option<f64>,
    /// The exporter says that there is no value.
    pub no_value: bool,
    /// Allow-listed attributes.
    pub attributes: Attributes<'a>,
    /// A field of this point that is read and is wrong.
    pub fault: Option<Refusal>,
}

/// The key of the hashes in a `Point`: random, never leaves the collector.
pub type SeriesHasher = foldhash::fast::FixedState;
