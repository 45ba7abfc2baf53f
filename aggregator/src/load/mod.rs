//! Load: records of the reports topic into ClickHouse, and the rollup over it.
//!
//! In: records as `record` describes them. Out: rows of `ledger` and `reports`; dead letters; committed offsets; the rollups.
//! Guarantees: an offset is committed only after ClickHouse confirmed every row, and Kafka every dead letter, of every record
//! before it. Any record may be read any number of times, by any number of processes: its rows count once. Memory is bounded:
//! one batch fills, one is written. Nothing that this process remembers is needed for correctness.
//! Bad input: what is no report, or fails its check, is set aside in `<topic>.dlq` with the reason and counted; a report of a
//! newer schema stops this process, for a newer one to read it.
//!
//! | file | stage |
//! |---|---|
//! | `consume` | polls, batches, commits |
//! | `decode` | a record into rows or poison |
//! | `rows` | the tables' columns |
//! | `write` | batches into ClickHouse |
//! | `dead_letters` | poison into the topic of dead letters |
//! | `rollup` | the ledger summed by minute, hour, day and week, and by collector |

mod consume;
mod dead_letters;
mod decode;
mod metrics;
pub mod rollup;
pub(crate) mod rows;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin::Instruments;
use crate::clock::Clock;
use crate::cluster::Shard;
use crate::config;
use crate::dead_letter::waiting::Watch;
use crate::kafka;
use crate::store::{InsertTimeouts, Store};
use consume::{Consumer, Limits, LoadContext, Reader, ToWriter};
use dead_letters::DeadLetters;
use metrics::Metrics;
use write::Writer;

/// How often the letters that wait are counted: an alert need not be faster.
const DEAD_LETTER_LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What load needs.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// The section `kafka`.
    pub kafka: config::Kafka,
    /// The section `load`.
    pub load: config::Load,
    /// The section `clickhouse`, opened.
    pub store: Store,
    /// The time that days expire by.
    pub clock: Clock,
}

/// Why load stopped by itself. Nothing is lost: what is not committed is read again.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration of a Kafka client, or librdkafka itself.
    #[error("load: no Kafka client: {0}")]
    Kafka(#[from] KafkaError),
    /// The consumer can do nothing more; start anew.
    #[error("load: the Kafka consumer failed for good: {0}")]
    ConsumerFatal(RDKafkaErrorCode),
    /// A collector and an ingest are newer than this binary.
    #[error("load: a report has schema {0}, newer than this binary reads; upgrade load before ingest")]
    NewerSchema(u32),
    /// The writer ended: a mistake in this program.
    #[error("load: the writer stopped")]
    Writer,
}

impl LoadError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            LoadError::Kafka(_) => "load_kafka",
            LoadError::ConsumerFatal(_) => "load_consumer_fatal",
            LoadError::NewerSchema(_) => "load_newer_schema",
            LoadError::Writer => "load_writer",
        }
    }
}

/// Loads and rolls up until `shutdown`, then writes and commits what was read within `drain_ms`.
///
/// # Errors
/// See `LoadError`. Unreachable Kafka or ClickHouse is none: both are waited for.
pub async fn run(
    config: LoadConfig,
    instruments: &Instruments,
    shutdown: CancellationToken,
) -> Result<(), LoadError> {
    let LoadConfig { kafka, load, store, clock } = config;
    let shard = Shard { index: load.shard, count: load.shards };
    let metrics = Metrics::register(instruments);
    let leads = Arc::new(AtomicBool::new(false));
    let context = LoadContext {
        leads: Arc::clone(&leads),
        paused: AtomicBool::new(false),
        assigned: instruments.condition("kafka_partitions"),
        metrics: metrics.clone(),
    };
    let consumer: Consumer = kafka::consumer_config(&kafka, &load).create_with_context(context)?;
    consumer.subscribe(&[&kafka.topic])?;
    // Room for one: the reader hands over a batch only when the writer is free.
    let (batches, to_write) = mpsc::channel(1);
    let (written, done) = mpsc::channel(1);
    let writer = Writer {
        store: store.clone(),
        timeouts: InsertTimeouts {
            send: Duration::from_secs(load.insert_send_timeout_s),
            end: Duration::from_secs(load.insert_end_timeout_s),
        },
        dead_letters: DeadLetters::new(&kafka, metrics.clone())?,
        metrics: metrics.clone(),
        ready: instruments.condition("clickhouse"),
    };
    let limits =
        Limits { rows: load.flush_rows, bytes: load.flush_bytes, age: Duration::from_millis(load.flush_ms) };
    let writing = tokio::spawn(writer.run(to_write, written));
    let rollup = rollup::Rollup {
        store,
        metrics: metrics.clone(),
        clock: clock.clone(),
        every: Duration::from_secs(load.rollup_interval_s),
        shard,
        leads: Arc::clone(&leads),
    };
    let rollup = tokio::spawn(rollup.run(shutdown.child_token()));
    let letters = Watch::new(&kafka, &load.group_id);
    let letters = tokio::spawn(watch_dead_letters(letters, leads, metrics.clone()));
    let reader =
        Reader::new(consumer, kafka.topic, limits, metrics, ToWriter { batches, done }, clock, shard);
    let result = reader.run(shutdown, Duration::from_millis(load.drain_ms)).await;
    writing.abort();
    rollup.abort();
    letters.abort();
    result
}

/// Keeps the gauge of the letters that wait, in one process of the group.
async fn watch_dead_letters(mut letters: Watch, leads: Arc<AtomicBool>, metrics: Metrics) {
    let mut ticks = interval(DEAD_LETTER_LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !leads.load(Ordering::Relaxed) {
            metrics.dead_letters_waiting.set(0);
        } else if let Some(waiting) = letters.look().await {
            metrics.dead_letters_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_consumer_that_failed_for_good_ends_load() {
        let mock: MockCluster<'_, DefaultProducerContext> = MockCluster::new(1).unwrap();
        let kafka = config::Kafka { bootstrap_servers: mock.bootstrap_servers(), ..config::Kafka::default() };
        mock.create_topic(&kafka.topic, 1, 1).unwrap();
        let fenced = RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
        mock.request_errors(RDKafkaApiKey::JoinGroup, &[fenced]);
        let config = LoadConfig {
            kafka,
            load: config::Load::default(),
            store: Store::new(&config::ClickHouse::default()).unwrap(),
            clock: Clock::fixed(0),
        };
        let (instruments, shutdown) = (Instruments::default(), CancellationToken::new());
        let ended = timeout(Duration::from_secs(30), run(config, &instruments, shutdown)).await.unwrap();
        assert!(matches!(ended, Err(LoadError::ConsumerFatal(_))), "{ended:?}");
    }
}
