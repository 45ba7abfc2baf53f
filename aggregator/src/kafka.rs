//! Kafka clients with every setting that exactness stands on made explicit: librdkafka's defaults are another's choice.
//!
//! An acknowledged record is on every replica in sync. An error of a producer never means that the record is not in Kafka
//! (a timeout may come after the write); whoever sends it again is absorbed by identity.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::producer::{FutureProducer, Producer as _};
use rdkafka::{ClientContext, TopicPartitionList};
use tracing::{debug, info, warn};

use crate::config::{ConfigError, Kafka};
use crate::record;

/// Suffix of the topic of dead letters.
pub const DEAD_LETTER_SUFFIX: &str = ".dlq";
/// Suffix of the topic that remembers which dead letters are done, see `dead_letter`.
pub const DONE_SUFFIX: &str = ".dlq.done";
/// Time limit of a request for metadata.
pub(crate) const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of creating topics.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Memory of a producer's queue, KiB; with it full reports are answered RETRY.
const PRODUCER_QUEUE_KIB: &str = "65536";
/// Kafka's own default limit of a record batch, with room for the largest report.
const MESSAGE_BYTES: &str = "1048576";

/// Properties that `kafka.properties` may not set.
const OWN_PROPERTIES: &[&str] = &[
    "acks",
    "request.required.acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "partition.assignment.strategy",
    "partitioner",
    "transactional.id",
];

/// The topic of dead letters beside `topic`.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}{DEAD_LETTER_SUFFIX}")
}

/// The topic that remembers which dead letters of `topic` are done.
pub fn done_topic(topic: &str) -> String {
    format!("{topic}{DONE_SUFFIX}")
}

pub(crate) fn check_properties(kafka: &Kafka) -> Result<(), ConfigError> {
    match kafka.properties.keys().find(|name| OWN_PROPERTIES.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(ConfigError::Value {
            field: "kafka.properties",
            problem: format!("must not set {name}: exact delivery stands on it"),
        }),
    }
}

/// A producer that reports delivery.
pub(crate) type Producer = FutureProducer<Context>;

/// Sends librdkafka's log and errors to `tracing`. Payloads are never in them.
#[derive(Clone, Debug, Default)]
pub struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, log_message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => warn!(facility = fac, "librdkafka: {log_message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!(facility = fac, "librdkafka: {log_message}");
            }
            RDKafkaLogLevel::Debug => debug!(facility = fac, "librdkafka: {log_message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Twenty a second while no broker answers, and the same as in the log above, which is limited. All of them are retried
        // by librdkafka; a fatal one is met again where it is used.
        debug!(%error, "Kafka: {reason}");
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        // Harmless: what is not committed is read again and absorbed.
        if let Err(error) = result {
            debug!(%error, "offset commit failed");
        }
    }
}

fn client_config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in &kafka.properties {
        config.set(name, value.expose());
    }
    config.set("bootstrap.servers", &kafka.bootstrap_servers);
    config.set("client.id", "weighbridge-aggregator");
    // A topic that is missing is an error to see, not one to hide behind a topic with one replica.
    config.set("allow.auto.create.topics", "false");
    config
}

/// A producer whose delivery report means: on every replica in sync.
pub(crate) fn producer(kafka: &Kafka, delivery_timeout_ms: u64) -> KafkaResult<Producer> {
    let mut config = client_config(kafka);
    // librdkafka's default is off; on, its own retries neither double nor reorder.
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    // Bounds how long a collector waits for its receipt. A timeout may come after the write: the copy is absorbed.
    config.set("message.timeout.ms", delivery_timeout_ms.to_string());
    // Ingest packs what many streams send in the same moment, see `ingest/pack.rs`.
    config.set("linger.ms", "0");
    config.set("compression.codec", "zstd");
    config.set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KIB);
    config.set("message.max.bytes", MESSAGE_BYTES);
    config.create_with_context(Context)
}

/// A consumer's configuration; offsets move only when `load` commits them.
pub(crate) fn consumer_config(kafka: &Kafka, load: &crate::config::Load) -> ClientConfig {
    let mut config = client_config(kafka);
    config.set("group.id", &load.group_id);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // librdkafka's default, largest, would skip what came before the group's first commit.
    config.set("auto.offset.reset", "earliest");
    config.set("isolation.level", "read_committed");
    // Never with `group.instance.id`: a cooperative rebalance takes a partition from one member in a first round and gives it to
    // another in a second one. A static member that ends in between comes back to the assignment of the first round, nobody asks
    // for the second, and the partition is nobody's (broker 4.4, fault suite).
    config.set("partition.assignment.strategy", "cooperative-sticky");
    config.set("max.poll.interval.ms", "300000");
    // A killed loader's partitions move after this; librdkafka's 45 s would show as a gap in every panel.
    config.set("session.timeout.ms", "10000");
    // By its heartbeat a member learns that partitions are dealt out anew; librdkafka's 3 s would be the longest part of it.
    config.set("heartbeat.interval.ms", "1000");
    // Bounds memory: what is fetched ahead of the batch that fills.
    config.set("queued.max.messages.kbytes", "16384");
    // With that bound reached, librdkafka's 1 s until it looks again would be the longest step of a batch.
    config.set("fetch.queue.backoff.ms", "20");
    config
}

/// A consumer's configuration for bounded reading by assignment. librdkafka wants the name of a group, which is never joined
/// and whose offsets are never committed: load's own, which whoever may read the topic may ask about.
pub(crate) fn reader_config(kafka: &Kafka, group_id: &str) -> ClientConfig {
    let mut config = client_config(kafka);
    config.set("group.id", group_id);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // What was deleted between the look at the ends and the reading is passed over.
    config.set("auto.offset.reset", "earliest");
    config.set("isolation.level", "read_committed");
    config.set("enable.partition.eof", "true");
    config.set("queued.max.messages.kbytes", "16384");
    config
}

/// The header `senders` of a record, if it has one. Without a value it is an empty one: nobody sent the first report.
pub(crate) fn senders<'a>(message: &'a BorrowedMessage<'_>) -> Option<&'a [u8]> {
    let found = message.headers()?.iter().find(|header| header.key == record::HEADER_SENDERS)?;
    Some(found.value.unwrap_or_default())
}

/// Number of partitions of `topic`, or `None` while it does not exist. Blocks up to `METADATA_TIMEOUT`.
pub(crate) fn partition_count(producer: &Producer, topic: &str) -> KafkaResult<Option<u32>> {
    let metadata = producer.client().fetch_metadata(Some(topic), METADATA_TIMEOUT)?;
    let found =
        metadata.topics().iter().find(|candidate| candidate.name() == topic && candidate.error().is_none());
    Ok(found.map(|topic| topic.partitions().len() as u32).filter(|count| *count > 0))
}

/// The producer can do nothing more; the process must start anew.
pub(crate) fn is_fatal(producer: &Producer) -> bool {
    match producer.client().fatal_error() {
        None => false,
        Some((code, reason)) => {
            warn!(%code, "Kafka producer failed for good: {reason}; unacknowledged reports are sent again");
            true
        }
    }
}

/// Creates the topic of reports, that of dead letters and that of those that are done, where they are missing. Existing ones are
/// left as they are.
///
/// librdkafka's mock cluster does not know this request; there topics appear on first use.
///
/// # Errors
/// The first topic that could neither be created nor existed.
pub async fn create_topics(kafka: &Kafka) -> Result<(), KafkaError> {
    let admin: AdminClient<Context> = client_config(kafka).create_with_context(Context)?;
    let retention = (kafka.retention_hours * 3_600_000).to_string();
    // Acknowledged means on two disks; with one copy there is only one.
    let in_sync = if kafka.replication_factor >= 3 { "2" } else { "1" };
    let (dead_letters, done) = (dead_letter_topic(&kafka.topic), done_topic(&kafka.topic));
    let topic = |name, partitions, retention| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(kafka.replication_factor))
            .set("min.insync.replicas", in_sync)
            .set("unclean.leader.election.enable", "false")
            .set("retention.ms", retention)
            .set("retention.bytes", "-1")
            .set("message.timestamp.type", "LogAppendTime")
    };
    // Dead letters stay until someone has looked at them, and the marks of those that are done as long as they.
    let topics = [
        topic(&kafka.topic, kafka.partitions, &retention),
        topic(&dead_letters, 1, "-1"),
        topic(&done, 1, "-1").set("cleanup.policy", "compact"),
    ];
    let options =
        AdminOptions::new().operation_timeout(Some(ADMIN_TIMEOUT)).request_timeout(Some(ADMIN_TIMEOUT));
    for result in admin.create_topics(&topics, &options).await? {
        match result {
            Ok(name) => info!(topic = name, "created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                warn!(topic = name, %code, "could not be created");
                return Err(KafkaError::AdminOp(code));
            }
        }
    }
    Ok(())
}
