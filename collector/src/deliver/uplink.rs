//! The uplink: sends spooled reports over one stream and forgets those that are acknowledged.
//!
//! In: the spool, a wake-up when a report was added, the ingest endpoint. Guarantees: a report leaves the spool only after
//! a receipt says OK (or REFUSED, then it is set aside); at most `MAX_IN_FLIGHT` reports are unanswered; without a receipt
//! for `RECEIPT_TIMEOUT` the stream is given up and everything unanswered is sent again over a new one, after a backoff with
//! jitter. The gateway never waits for any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use weighbridge_proto::report::{BootEpoch, Sequence};
use weighbridge_proto::uplink::uplink_client::UplinkClient;
use weighbridge_proto::v1::{Receipt, ReceiptStatus, Refusal};

use super::dial::{DialError, Dialer};
use super::spool::{Position, Spool, SpoolError};

/// Unanswered reports: enough to catch up quickly after an outage, a bound on what is sent twice.
const MAX_IN_FLIGHT: usize = 64;
/// Ingest answers within Kafka's delivery time-out of 30 s; twice that means that it is gone.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead peer is noticed within 15 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What the uplink did, for `/metrics`.
#[derive(Debug, Default)]
pub struct UplinkStats {
    /// A stream is open.
    pub connected: AtomicBool,
    /// Streams opened.
    pub streams: AtomicU64,
    /// Reports put on a stream, resends included.
    pub sent: AtomicU64,
    /// Reports acknowledged while they were in the spool.
    pub acknowledged: AtomicU64,
    /// Receipts for reports that the full spool had dropped while they were under way: they count as dropped.
    pub settled_late: AtomicU64,
    /// Receipts that asked for a resend.
    pub retried: AtomicU64,
    /// Reports that ingest will never take, set aside.
    pub refused: AtomicU64,
}

/// The spool as the sealing side and the uplink share it.
#[derive(Clone, Debug)]
pub struct Outbox {
    spool: Arc<Mutex<Spool>>,
    added: Arc<Notify>,
    emptied: Arc<Notify>,
}

impl Outbox {
    /// Shares `spool`.
    pub fn new(spool: Spool) -> Outbox {
        Outbox { spool: Arc::new(Mutex::new(spool)), added: Arc::default(), emptied: Arc::default() }
    }

    /// Uses the spool. A poisoned lock is taken over: every operation leaves the index and the disk in step or the disk ahead.
    pub fn with<T>(&self, use_it: impl FnOnce(&mut Spool) -> T) -> T {
        use_it(&mut self.spool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A report was added.
    pub fn notify_added(&self) {
        self.added.notify_one();
    }

    /// Waits until every report was acknowledged or set aside.
    pub async fn empty(&self) {
        loop {
            // Before the look, so that a notice between look and wait is not missed.
            let emptied = self.emptied.notified();
            if self.with(|spool| spool.size().0 == 0) {
                return;
            }
            emptied.await;
        }
    }
}

/// Why a stream ended. All of them pass: the uplink tries again.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    #[error("cannot connect: {0}")]
    Connect(#[from] DialError),
    #[error("{code}: {message}", code = .0.code(), message = .0.message())]
    Status(Status),
    #[error("ingest ended the stream")]
    Closed,
    #[error("no receipt for {} s", RECEIPT_TIMEOUT.as_secs())]
    Silent,
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Sends until `shutdown`.
pub async fn run(
    outbox: Outbox,
    dialer: impl Into<Dialer>,
    stats: Arc<UplinkStats>,
    shutdown: CancellationToken,
) {
    let mut dialer = dialer.into();
    dialer.endpoint = dialer
        .endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let mut backoff = FIRST_BACKOFF;
    loop {
        let mut session =
            Session { outbox: &outbox, stats: &stats, in_flight: BTreeSet::new(), waiting: BTreeMap::new() };
        let acknowledged = stats.acknowledged.load(Ordering::Relaxed);
        let end = tokio::select! {
            end = session.run(&dialer) => end,
            () = shutdown.cancelled() => return,
        };
        stats.connected.store(false, Ordering::Relaxed);
        if stats.acknowledged.load(Ordering::Relaxed) > acknowledged {
            backoff = FIRST_BACKOFF;
        }
        // Half of it is jitter: a thousand collectors must not come back at once.
        let pause = backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
        let retry_in_ms = pause.as_millis() as u64;
        match &end {
            // Ingest does so now and then, so that streams spread over its instances.
            StreamEnd::Closed => tracing::info!(retry_in_ms, "{end}; connecting anew"),
            _ => tracing::warn!(reason = %end, retry_in_ms, "uplink lost; reports stay in the spool"),
        }
        backoff = (backoff * 2).min(MAX_BACKOFF);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

struct Session<'a> {
    outbox: &'a Outbox,
    stats: &'a UplinkStats,
    in_flight: BTreeSet<Position>,
    /// Reports that ingest asked to be sent again, and when.
    waiting: BTreeMap<Position, Instant>,
}

impl Session<'_> {
    async fn run(&mut self, dialer: &Dialer) -> StreamEnd {
        match self.stream(dialer).await {
            Ok(()) => StreamEnd::Closed,
            Err(end) => end,
        }
    }

    async fn stream(&mut self, dialer: &Dialer) -> Result<(), StreamEnd> {
        let (channel, authorization) = dialer.connect().await?;
        let (reports, outgoing) = mpsc::channel(MAX_IN_FLIGHT);
        let mut receipts = open(channel, authorization, outgoing).await?;
        self.stats.connected.store(true, Ordering::Relaxed);
        self.stats.streams.fetch_add(1, Ordering::Relaxed);
        tracing::info!("uplink open");
        let mut heard = Instant::now();
        loop {
            self.send_what_fits(&reports)?;
            if self.in_flight.is_empty() {
                heard = Instant::now();
            }
            let wake = self.waiting.values().min().copied().unwrap_or_else(|| heard + RECEIPT_TIMEOUT);
            tokio::select! {
                receipt = receipts.message() => match receipt.map_err(StreamEnd::Status)? {
                    Some(receipt) => {
                        heard = Instant::now();
                        self.settle(&receipt)?;
                    }
                    None => return Ok(()),
                },
                () = self.outbox.added.notified() => {}
                () = sleep_until(wake) => {}
            }
            if !self.in_flight.is_empty() && heard.elapsed() >= RECEIPT_TIMEOUT {
                return Err(StreamEnd::Silent);
            }
        }
    }

    fn send_what_fits(&mut self, reports: &mpsc::Sender<Bytes>) -> Result<(), StreamEnd> {
        let now = Instant::now();
        self.waiting.retain(|_, until| *until > now);
        while self.in_flight.len() < MAX_IN_FLIGHT {
            let (in_flight, waiting) = (&self.in_flight, &self.waiting);
            let taken = |position: &Position| in_flight.contains(position) || waiting.contains_key(position);
            let Some(position) = self.outbox.with(|spool| spool.oldest(taken)) else { break };
            let Ok(permit) = reports.try_reserve() else { break };
            permit.send(self.outbox.with(|spool| spool.read(position))?);
            self.in_flight.insert(position);
            self.stats.sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn settle(&mut self, receipt: &Receipt) -> Result<(), StreamEnd> {
        let position =
            Position { boot_epoch: BootEpoch(receipt.boot_epoch), sequence: Sequence(receipt.sequence) };
        // A receipt for a report that is not on this stream says nothing.
        if !self.in_flight.remove(&position) {
            return Ok(());
        }
        match receipt.status() {
            ReceiptStatus::Ok => {
                let (is_held, forgotten) =
                    self.outbox.with(|spool| (spool.holds(position), spool.acknowledge(position)));
                // Told even if its file stays: the next start sends it again, and it counts once.
                self.settled(is_held, &self.stats.acknowledged);
                forgotten?;
            }
            ReceiptStatus::Refused => {
                let refusal = Refusal::try_from(receipt.refusal).unwrap_or_default().name();
                tracing::error!(
                    refusal,
                    sequence = position.sequence.0,
                    "ingest refused a report; it is in refused/"
                );
                let (is_held, moved) = self.outbox.with(|spool| {
                    let is_held = spool.holds(position);
                    (is_held, if is_held { spool.set_aside(position) } else { Ok(()) })
                });
                self.settled(is_held, &self.stats.refused);
                moved?;
            }
            ReceiptStatus::Retry | ReceiptStatus::Unspecified => {
                let pause = Duration::from_millis(u64::from(receipt.retry_after_ms))
                    .clamp(FIRST_BACKOFF, MAX_BACKOFF);
                self.waiting.insert(position, Instant::now() + pause);
                self.stats.retried.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.outbox.with(|spool| spool.size().0) == 0 {
            self.outbox.emptied.notify_waiters();
        }
        Ok(())
    }

    /// A report is settled once: what the full spool dropped while it was under way is dropped, whatever became of it.
    fn settled(&self, is_held: bool, as_what: &AtomicU64) {
        let counter = if is_held { as_what } else { &self.stats.settled_late };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

async fn open(
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    outgoing: mpsc::Receiver<Bytes>,
) -> Result<Streaming<Receipt>, StreamEnd> {
    let mut client = UplinkClient::new(channel);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization);
    }
    // The response headers come before the first receipt; a peer that never sends them is as silent as one without receipts.
    let response = timeout(RECEIPT_TIMEOUT, client.deliver(request)).await;
    let response = response.map_err(|_| StreamEnd::Silent)?.map_err(StreamEnd::Status)?;
    Ok(response.into_inner())
}
