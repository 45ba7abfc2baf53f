//! What ingest counts. Counters are kept where things happen, never computed from each other, so that the equations can fail.
//!
//! At any quiet moment, exactly:
//!
//! ```text
//! reports_received = reports_forwarded + sum over reasons(reports_refused) + sum over reasons(reports_retried) + reports_in_flight
//! ```
//!
//! Forwarded is a receipt OK, which means durable. What a message over `message_bytes` held is not received: it ends its stream.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use weighbridge_proto::v1::Refusal;

use crate::admin::{Instruments, Labelled};

/// Why a report was refused; the names of `Refusal`.
const REFUSALS: &[&str] = &["schema", "collector_id", "window", "cells", "checksum", "size", "header"];

/// Why a report has to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The number of partitions is not known yet: Kafka or the topic was never reached.
    NotReady,
    /// Ingest's own bytes in flight, or the producer's queue, are at their limit.
    Overloaded,
    /// The contributor has sent more than its quota.
    Quota,
    /// Kafka refused or did not confirm in time. The report may be there nevertheless.
    NotDelivered,
    /// The stream ended before the delivery report came. The report may be there nevertheless.
    StreamEnded,
}

impl Retry {
    const NAMES: &'static [&'static str] =
        &["not_ready", "overloaded", "quota", "not_delivered", "stream_ended"];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Ingest's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    received: Counter,
    received_bytes: Counter,
    forwarded: Counter,
    refused: Labelled,
    retried: Labelled,
    pub(crate) in_flight: Gauge,
    pub(crate) streams: Gauge,
    /// As Kafka told last; 0 until it did.
    pub(crate) partitions: Gauge,
    pub(crate) records_produced: Counter,
    pub(crate) delivery_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn register(to: &Instruments) -> Metrics {
        Metrics {
            received: to.counter("weighbridge_ingest_reports_received", "Reports read from streams"),
            received_bytes: to.counter("weighbridge_ingest_received_bytes", "Bytes of these reports"),
            forwarded: to.counter(
                "weighbridge_ingest_reports_forwarded",
                "Reports that Kafka confirmed on every replica in sync, answered OK",
            ),
            refused: to.labelled(
                "weighbridge_ingest_reports_refused",
                "Reports that will never be taken, by reason, answered REFUSED",
                "reason",
                REFUSALS,
            ),
            retried: to.labelled(
                "weighbridge_ingest_reports_retried",
                "Reports that must be sent again, by reason, answered RETRY or not at all",
                "reason",
                Retry::NAMES,
            ),
            in_flight: to.gauge("weighbridge_ingest_reports_in_flight", "Reports between receipt and answer"),
            streams: to.gauge("weighbridge_ingest_streams", "Open streams"),
            partitions: to.gauge("weighbridge_ingest_partitions", "Partitions of the topic of reports"),
            records_produced: to.counter(
                "weighbridge_ingest_records_produced",
                "Kafka records handed to the producer; each holds many reports",
            ),
            delivery_seconds: to.histogram(
                "weighbridge_ingest_delivery_seconds",
                "From taking a report to the delivery report of its record, failures included",
                [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
            ),
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.inc();
        self.received_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn forwarded(&self) {
        self.forwarded.inc();
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refused.get_or_create(&[("reason", refusal.name())]).inc();
    }

    pub(crate) fn retried(&self, retry: Retry) {
        self.retried.get_or_create(&[("reason", retry.name())]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_the_wire() {
        assert_eq!(Refusal::ALL.iter().map(|refusal| refusal.name()).collect::<Vec<_>>(), REFUSALS);
    }
}
