//! Ingest: reports in over gRPC, records out to Kafka, receipts back.
//!
//! In: the bytes of a report as the collector sealed them. Out: the same bytes in the reports topic (see `record`).
//! Guarantees: a receipt OK means that Kafka confirmed the report on every replica in sync; anything else, the end of a stream
//! included, means "not acknowledged". Every report gets one receipt. Memory is bounded: reports per stream, bytes per
//! process. Who sends is decided by `door`; no address and no name of a peer is stored or logged. Stateless: may be killed, doubled
//! or rolled back at any time. A stream ends in order after `max_connection_age_s`, and at once when its credentials cease to hold.
//! Bad input: a report that fails its check, or whose window is outside the span around ingest's clock, is refused with a
//! typed reason and never taken; a message over `message_bytes` ends its stream.

mod metrics;
mod pack;
mod stream;
mod waiting;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Server;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};
use weighbridge_proto::uplink::uplink_server::{Uplink, UplinkServer};
use weighbridge_proto::v1::Receipt;

use crate::admin::{Condition, Instruments};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config;
use crate::door::{self, DoorError, Guard, Identified, Peer};
use crate::kafka::{self, Producer};
use metrics::Metrics;
use pack::Packer;
use stream::{Farewell, Receipts};

/// A collector has one stream; a proxy in front may bundle some.
const STREAMS_PER_CONNECTION: u32 = 256;
/// Bytes that a stream and a connection may send ahead of being read: what a collector has in flight, and four such streams.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// After its age a connection ends at the latest with this: what is in flight is answered before, within Kafka's time.
const CONNECTION_GRACE: Duration = Duration::from_secs(60);
/// How often the number of partitions is looked up anew.
const METADATA_REFRESH: Duration = Duration::from_secs(60);

/// What ingest needs.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// The section `kafka`.
    pub kafka: config::Kafka,
    /// The section `ingest`.
    pub ingest: config::Ingest,
    /// The time that windows are compared with.
    pub clock: Clock,
}

/// Why ingest stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The configuration of the producer, or librdkafka itself.
    #[error("ingest: no Kafka producer: {0}")]
    Producer(#[from] KafkaError),
    /// The producer can do nothing more; start anew. Nothing acknowledged is lost.
    #[error("ingest: the Kafka producer failed for good")]
    ProducerFatal,
    /// Who may send cannot be told, or nobody should be let in this way.
    #[error("ingest: {0}")]
    Door(#[from] DoorError),
    /// The gRPC server.
    #[error("ingest: gRPC server: {0}")]
    Server(#[from] tonic::transport::Error),
}

impl IngestError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            IngestError::Producer(_) => "ingest_producer",
            IngestError::ProducerFatal => "ingest_producer_fatal",
            IngestError::Door(error) => error.code(),
            IngestError::Server(_) => "ingest_server",
        }
    }
}

/// Serves until `shutdown`, then answers what is in flight and flushes the producer within `drain_ms`.
///
/// # Errors
/// See `IngestError`. Unreachable Kafka is none: reports are answered RETRY until it is back.
pub async fn serve(
    config: IngestConfig,
    listener: TcpListener,
    instruments: &Instruments,
    shutdown: CancellationToken,
) -> Result<(), IngestError> {
    let limits = config.ingest.clone();
    let drain = Duration::from_millis(limits.drain_ms);
    let stop = shutdown.child_token();
    let on_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let guard = Arc::new(Guard::new(&limits.door, on_loopback, config.clock.clone(), instruments)?);
    let shared = Arc::new(Shared::new(config, instruments)?);
    let packing = CancellationToken::new();
    let packer = tokio::spawn({
        let (shared, packing) = (Arc::clone(&shared), packing.clone());
        async move { shared.packer.keep_going(packing).await }
    });
    let keeping_up = tokio::spawn(Arc::clone(&guard).keep_up(stop.clone()));
    let partitions = tokio::spawn(watch_partitions(Arc::clone(&shared), stop.clone()));
    let age = Duration::from_secs(limits.max_connection_age_s);
    let service =
        Service { shared: Arc::clone(&shared), guard: Arc::clone(&guard), age, shutdown: stop.clone() };
    let service = UplinkServer::new(service).max_decoding_message_size(limits.message_bytes);
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_connection_age(age)
        .max_connection_age_grace(CONNECTION_GRACE)
        .add_service(service)
        .serve_with_incoming_shutdown(
            door::start(listener, guard, stop.clone()),
            stop.clone().cancelled_owned(),
        );
    tokio::pin!(server);
    let ended = tokio::select! {
        result = &mut server => Some(result),
        () = stop.cancelled() => None,
        () = shared.fatal.cancelled() => None,
    };
    stop.cancel();
    let result = match ended {
        Some(result) => result,
        None => timeout(drain, &mut server).await.unwrap_or_else(|_| {
            warn!("streams were still open at the deadline; their reports are sent again");
            Ok(())
        }),
    };
    partitions.abort();
    keeping_up.abort();
    // After the streams, which wait for what it hands over.
    packing.cancel();
    let _ = packer.await;
    shared.flush(drain).await;
    if shared.fatal.is_cancelled() {
        return Err(IngestError::ProducerFatal);
    }
    Ok(result?)
}

/// State of all streams.
pub(crate) struct Shared {
    producer: Producer,
    topic: String,
    packer: Packer,
    /// 0 until Kafka told.
    partitions: AtomicU32,
    bytes_in_flight: Arc<Semaphore>,
    reports_in_flight_per_stream: usize,
    retry_after_ms: u32,
    accept_past_s: u64,
    accept_future_s: u64,
    clock: Clock,
    metrics: Metrics,
    kafka_ready: Condition,
    /// Cancelled when the producer can do nothing more.
    fatal: CancellationToken,
}

const SECONDS_PER_DAY: u64 = 86_400;

impl Shared {
    fn new(config: IngestConfig, instruments: &Instruments) -> Result<Shared, KafkaError> {
        let IngestConfig { kafka, ingest, clock } = config;
        let producer = kafka::producer(&kafka, ingest.delivery_timeout_ms)?;
        let metrics = Metrics::register(instruments);
        Ok(Shared {
            packer: Packer::new(producer.clone(), kafka.topic.clone(), metrics.clone()),
            producer,
            topic: kafka.topic,
            partitions: AtomicU32::new(0),
            bytes_in_flight: Arc::new(Semaphore::new(ingest.bytes_in_flight.min(Semaphore::MAX_PERMITS))),
            reports_in_flight_per_stream: ingest.reports_in_flight_per_stream,
            retry_after_ms: ingest.retry_after_ms,
            accept_past_s: ingest.accept_past_days.saturating_mul(SECONDS_PER_DAY),
            accept_future_s: ingest.accept_future_days.saturating_mul(SECONDS_PER_DAY),
            clock,
            metrics,
            kafka_ready: instruments.condition("kafka"),
            fatal: CancellationToken::new(),
        })
    }

    /// A record was not confirmed: is it the end of the producer?
    pub(crate) fn delivery_failed(&self) {
        if kafka::is_fatal(&self.producer) {
            self.fatal.cancel();
        }
    }

    async fn flush(&self, limit: Duration) {
        let producer = self.producer.clone();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(limit)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!("records were left in the producer's queue; their reports are sent again");
        }
    }
}

/// Keeps the number of partitions up to date. The answer to a report never waits for it.
async fn watch_partitions(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let producer = shared.producer.clone();
        let topic = shared.topic.clone();
        let found = tokio::task::spawn_blocking(move || kafka::partition_count(&producer, &topic)).await;
        let wait = match found {
            Ok(Ok(Some(count))) => {
                if shared.partitions.swap(count, Ordering::Relaxed) != count {
                    shared.metrics.partitions.set(i64::from(count));
                    info!(partitions = count, "topic found");
                }
                shared.kafka_ready.set(true);
                backoff = Backoff::default();
                METADATA_REFRESH
            }
            Ok(Ok(None)) => {
                warn!(topic = shared.topic, "the topic does not exist; `migrate up` creates it");
                shared.kafka_ready.set(false);
                backoff.next()
            }
            Ok(Err(error)) => {
                warn!(%error, "Kafka gives no metadata");
                shared.kafka_ready.set(false);
                backoff.next()
            }
            // The blocking pool is going down with the process.
            Err(_) => return,
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

struct Service {
    shared: Arc<Shared>,
    guard: Arc<Guard>,
    age: Duration,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Uplink for Service {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Receipt, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
        let pass = self.guard.admit(request.metadata(), peer)?;
        let identified: Identified = pass.identified();
        let (age, shutdown) = (jittered(self.age), self.shutdown.clone());
        let farewell = async move {
            tokio::select! {
                () = shutdown.cancelled_owned() => Farewell::InOrder,
                () = sleep(age) => Farewell::InOrder,
                refused = pass.ceases() => Farewell::Refused(refused),
            }
        };
        let receipts = Receipts::new(request.into_inner(), Arc::clone(&self.shared), identified, farewell);
        Ok(Response::new(Box::pin(receipts)))
    }
}

/// Between four fifths of it and all of it: streams that began together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.8 + fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests;
