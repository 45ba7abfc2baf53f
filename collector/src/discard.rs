//! What became of every item of telemetry, and why one was not counted: two typed, stable vocabularies and their tallies.
//!
//! An item is what a reader hands on: a span, a point of a metric that is read, a line, a record, an exchange, a use of a page's sample. A payload that
//! is refused or skipped whole is one item. An item is received where it is read; later, elsewhere, it is counted, skipped or refused, once:
//! received = counted + skipped + refused. Counted means taken into the counts: a failure or a part of a trace may wait for the end of its
//! call before its request shows.
//!
//! `Skip` is normal: the item is well-formed and is not a request of ours. `Refusal` is bad input: the item or its payload is
//! refused, the sender is told, and nothing of it changes a count. Both are exported as metrics under these names.

use std::fmt;

/// Declares an enum whose every value has one stable name.
macro_rules! reasons {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($(#[$vdoc])* $variant,)+ }

        impl $type {
            /// Every reason.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// Stable name, used in metrics, logs and `count`.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// Well-formed, and not a request of ours.
    Skip {
        /// A span or metric of a scope that the profile does not read.
        Scope = "scope",
        /// No GenAI operation: an HTTP, router, database or child span.
        NotInference = "not_inference",
        /// An operation that is not an inference (tools, agents, retrieval, token counting).
        Operation = "operation",
        /// An operation without a provider attribute: not a call to a model.
        NoProvider = "no_provider",
        /// Answered from the gateway's cache.
        CacheHit = "cache_hit",
        /// The gateway's own health check.
        HealthCheck = "health_check",
        /// A mirrored request whose answer nobody waits for.
        Mirrored = "mirrored",
        /// A log entry that was written while its request was running.
        Intermediate = "intermediate",
        /// Already counted: a resent batch, or a second record of one call.
        Duplicate = "duplicate",
        /// A metric that the profile does not read.
        Metric = "metric",
        /// A synonym of a metric that is already counted for this exporter.
        Synonym = "synonym",
        /// A token type other than input and output: a subset of them.
        TokenType = "token_type",
        /// A point without a recorded value.
        NoValue = "no_value",
        /// First sight of a series that began before us: its value is the baseline.
        Baseline = "baseline",
        /// First sight of a series for which there is no room; its growth is not counted.
        SeriesLimit = "series_limit",
        /// A sample with a label that the profile leaves out.
        Filtered = "filtered",
        /// A page of a target whose counters jump back and forth: several processes behind one address.
        UnstableTarget = "unstable_target",
        /// A signal that this collector is not configured to count.
        OtherSignal = "other_signal",
    }
}

reasons! {
    /// Bad input.
    Refusal {
        /// Not the message it claims to be: truncated protobuf, broken JSON.
        Malformed = "malformed",
        /// A field that is read is not UTF-8.
        InvalidUtf8 = "invalid_utf8",
        /// A negative count.
        NegativeCount = "negative_count",
        /// A count that is not a whole number below 2^53.
        CountRange = "count_range",
        /// A time further from the collector's clock than the accepted span.
        ClockSkew = "clock_skew",
        /// A number outside its enumeration.
        UnknownEnum = "unknown_enum",
        /// A body over the size limit, before or after decompression.
        TooLarge = "too_large",
        /// A line or record of a log over the size limit of one.
        LineTooLong = "line_too_long",
        /// A content type that this endpoint does not take.
        ContentType = "content_type",
        /// A content encoding that is unknown or does not decompress.
        Encoding = "encoding",
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Malformed => "the payload is truncated or is not what its content type says",
            Refusal::InvalidUtf8 => "a string that is read is not valid UTF-8",
            Refusal::NegativeCount => "a count is negative; send counts of 0 or more",
            Refusal::CountRange => "a count is not a whole number below 2^53",
            Refusal::ClockSkew => "a time is too far from the collector's clock; check the sender's clock",
            Refusal::UnknownEnum => "an enumeration holds a number that OTLP does not define",
            Refusal::TooLarge => "the body is larger than receiver.max_body_bytes; send smaller batches",
            Refusal::LineTooLong => "a line of the log is longer than 1 MiB; log no bodies",
            Refusal::ContentType => "send application/x-protobuf or application/json",
            Refusal::Encoding => "the body does not decompress; send gzip, zstd or identity",
        })
    }
}

/// How many items were received, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    received: u64,
    counted: u64,
    skipped: [u64; Skip::ALL.len()],
    refused: [u64; Refusal::ALL.len()],
}

impl Tally {
    /// An item was read.
    #[inline]
    pub fn receive(&mut self) {
        self.received += 1;
    }

    /// An item was taken into the counts.
    #[inline]
    pub fn count(&mut self) {
        self.counted += 1;
    }

    /// Items that were taken into the counts turn out to be a baseline.
    pub fn baseline(&mut self, items: u64) {
        self.counted -= items;
        self.skipped[Skip::Baseline as usize] += items;
    }

    /// An item was skipped.
    #[inline]
    pub fn skip(&mut self, reason: Skip) {
        self.skipped[reason as usize] += 1;
    }

    /// Items were skipped together.
    pub fn skip_all(&mut self, reason: Skip, items: u64) {
        self.skipped[reason as usize] += items;
    }

    /// Items read.
    pub fn items_received(&self) -> u64 {
        self.received
    }

    /// Items taken into the counts.
    pub fn items_counted(&self) -> u64 {
        self.counted
    }

    /// Every item that was read was counted, skipped or refused.
    pub fn closes(&self) -> bool {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        self.received == self.counted + sum(&self.skipped) + sum(&self.refused)
    }

    /// Counts a refused item or payload.
    pub fn refuse(&mut self, reason: Refusal) {
        self.refused[reason as usize] += 1;
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Tally) {
        let add = |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        self.received += other.received;
        self.counted += other.counted;
        add(&mut self.skipped, &other.skipped);
        add(&mut self.refused, &other.refused);
    }

    /// Reasons with a count, skipped items.
    pub fn skipped(&self) -> impl Iterator<Item = (Skip, u64)> + '_ {
        Skip::ALL
            .iter()
            .map(|reason| (*reason, self.skipped[*reason as usize]))
            .filter(|(_, count)| *count > 0)
    }

    /// Reasons with a count, refused items.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL
            .iter()
            .map(|reason| (*reason, self.refused[*reason as usize]))
            .filter(|(_, count)| *count > 0)
    }
}
