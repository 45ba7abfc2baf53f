//! One stream of reports: each report that comes in leaves one receipt, in the order in which Kafka confirms.
//!
//! A stream whose reports in flight are at their limit is not read, so that the collector feels it. When ingest shuts down
//! or the stream has reached its age it is not read either; it ends when its last report is answered. A stream whose credentials
//! cease to hold ends at once. A stream that is dropped forgets its reports in flight:
//! they count as retried, and the collector sends them again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tonic::Status;
use tracing::debug;
use weighbridge_proto::report::{self, Identity};
use weighbridge_proto::v1::{Receipt, ReceiptStatus, Refusal, Report};

use super::Shared;
use super::metrics::Retry;
use super::pack::Fate;
use super::waiting::{Entry, InFlight};
use crate::door::{Identified, OverQuota, Refused};
use crate::record;
use crate::sabotage::{self, Guarantee};

/// The answers to one stream of reports.
pub(crate) struct Receipts<S> {
    reports: Option<S>,
    in_flight: InFlight,
    shared: Arc<Shared>,
    identified: Identified,
    /// One at most. Here it is looked at when it has something to say, and not at every report.
    farewell: FuturesUnordered<Pin<Box<dyn Future<Output = Farewell> + Send>>>,
}

/// How a stream ends by ingest's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Nothing more is read, what is in flight is answered.
    InOrder,
    /// At once: who sends may not.
    Refused(Refused),
}

impl<S> Receipts<S>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin,
{
    pub(crate) fn new(
        reports: S,
        shared: Arc<Shared>,
        identified: Identified,
        farewell: impl Future<Output = Farewell> + Send + 'static,
    ) -> Self {
        shared.metrics.streams.inc();
        let in_flight = InFlight::new(shared.metrics.clone());
        let farewell = FuturesUnordered::from_iter([Box::pin(farewell) as Pin<Box<_>>]);
        Receipts { reports: Some(reports), in_flight, shared, identified, farewell }
    }
}

impl<S> Drop for Receipts<S> {
    fn drop(&mut self) {
        self.shared.metrics.streams.dec();
    }
}

impl<S> Stream for Receipts<S>
where
    S: Stream<Item = Result<Bytes, Status>> + Unpin,
{
    type Item = Result<Receipt, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(Some(farewell)) = this.farewell.poll_next_unpin(cx) {
            this.reports = None;
            if let Farewell::Refused(refused) = farewell {
                // What is with Kafka counts as retried; the collector sends it again when it may.
                this.in_flight.clear();
                return Poll::Ready(Some(Err(refused.into())));
            }
        }
        loop {
            if let Some((fate, entry)) = this.in_flight.decided(cx.waker()) {
                return Poll::Ready(Some(Ok(this.shared.answer(fate, &entry))));
            }
            let Some(reports) = &mut this.reports else {
                return if this.in_flight.len() == 0 { Poll::Ready(None) } else { Poll::Pending };
            };
            if this.in_flight.len() >= this.shared.reports_in_flight_per_stream {
                return Poll::Pending;
            }
            match reports.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => match this.shared.take(&bytes, &mut this.identified) {
                    Taken::Answered(receipt) => return Poll::Ready(Some(Ok(receipt))),
                    Taken::InFlight(entry) => this.in_flight.push(entry, cx.waker()),
                },
                // Not logged with its text, which can name the peer.
                Poll::Ready(Some(Err(status))) => {
                    debug!(code = ?status.code(), "a stream broke off");
                    this.reports = None;
                }
                Poll::Ready(None) => this.reports = None,
            }
        }
    }
}

/// What became of a report at once.
pub(super) enum Taken {
    /// Refused, or to be sent again.
    Answered(Receipt),
    /// With Kafka.
    InFlight(Entry),
}

impl Shared {
    /// Checks a report and hands it to Kafka.
    pub(super) fn take(self: &Arc<Self>, bytes: &Bytes, identified: &mut Identified) -> Taken {
        self.metrics.received(bytes.len());
        let checked = match report::check(bytes) {
            Ok(checked) => checked,
            Err(error) => return self.refuse(name_of(bytes), error.refusal()),
        };
        let name = Name::from(checked.identity);
        if !self.within_span(checked.window_start.0) {
            return self.refuse(name, Refusal::Window);
        }
        let partitions = self.partitions.load(std::sync::atomic::Ordering::Relaxed);
        if partitions == 0 {
            return self.retry(name, Retry::NotReady);
        }
        if let Err(over) = identified.spend(bytes.len()) {
            return self.over_quota(name, over);
        }
        // A report is at most 512 KiB here.
        let Ok(bytes_held) = Arc::clone(&self.bytes_in_flight).try_acquire_many_owned(bytes.len() as u32)
        else {
            return self.retry(name, Retry::Overloaded);
        };
        let collector = checked.identity.collector;
        let sender = identified.sender(collector, checked.window_start.0);
        let fate = self.packer.add(record::partition(collector, partitions), collector, sender, bytes);
        if sabotage::breaks(Guarantee::ReceiptAfterDelivery) {
            return Taken::Answered(self.receipt(name, ReceiptStatus::Ok));
        }
        self.metrics.in_flight.inc();
        Taken::InFlight(Entry { name, fate, since: Instant::now(), _bytes_held: bytes_held })
    }

    /// The receipt of a report that was with Kafka.
    fn answer(&self, fate: Fate, entry: &Entry) -> Receipt {
        self.metrics.in_flight.dec();
        self.metrics.delivery_seconds.observe(entry.since.elapsed().as_secs_f64());
        match fate {
            Fate::Confirmed => {
                self.metrics.forwarded();
                self.receipt(entry.name, ReceiptStatus::Ok)
            }
            Fate::QueueFull => {
                self.metrics.retried(Retry::Overloaded);
                self.retry_receipt(entry.name)
            }
            Fate::NotDelivered => {
                self.metrics.retried(Retry::NotDelivered);
                self.delivery_failed();
                self.retry_receipt(entry.name)
            }
        }
    }

    fn refuse(&self, name: Name, refusal: Refusal) -> Taken {
        self.metrics.refused(refusal);
        debug!(reason = refusal.name(), "report refused");
        Taken::Answered(Receipt { refusal: refusal.into(), ..self.receipt(name, ReceiptStatus::Refused) })
    }

    fn retry(&self, name: Name, retry: Retry) -> Taken {
        self.metrics.retried(retry);
        Taken::Answered(self.retry_receipt(name))
    }

    /// Only its own contributor waits, until there is room again.
    fn over_quota(&self, name: Name, OverQuota(room_in): OverQuota) -> Taken {
        self.metrics.retried(Retry::Quota);
        let receipt = self.retry_receipt(name);
        let room_in_ms = u32::try_from(room_in.as_millis()).unwrap_or(u32::MAX);
        Taken::Answered(Receipt {
            retry_after_ms: receipt.retry_after_ms.saturating_add(room_in_ms),
            ..receipt
        })
    }

    fn retry_receipt(&self, name: Name) -> Receipt {
        // Up to twice as long, so that collectors do not come back at once.
        let retry_after_ms = fastrand::u32(self.retry_after_ms..=self.retry_after_ms.saturating_mul(2));
        Receipt { retry_after_ms, ..self.receipt(name, ReceiptStatus::Retry) }
    }

    fn receipt(&self, name: Name, status: ReceiptStatus) -> Receipt {
        Receipt {
            boot_epoch: name.boot_epoch,
            sequence: name.sequence,
            status: status.into(),
            server_time_ms: self.clock.unix_ms(),
            ..Receipt::default()
        }
    }

    /// Within the days around ingest's clock that are taken.
    fn within_span(&self, window_start_s: u64) -> bool {
        let now = self.clock.unix_s();
        let oldest = now.saturating_sub(self.accept_past_s);
        (oldest..=now.saturating_add(self.accept_future_s)).contains(&window_start_s)
    }
}

/// What a receipt says of its report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Name {
    pub(super) boot_epoch: u64,
    pub(super) sequence: u64,
}

impl From<Identity> for Name {
    fn from(identity: Identity) -> Self {
        Name { boot_epoch: identity.boot_epoch.0, sequence: identity.sequence.0 }
    }
}

/// The name in a report that was refused: as far as it can be read, else zeros.
fn name_of(bytes: &Bytes) -> Name {
    match Report::decode(bytes.as_ref()) {
        Ok(report) => Name { boot_epoch: report.boot_epoch, sequence: report.sequence },
        Err(_) => Name::default(),
    }
}
