//! Bounded reading of a Kafka topic: from positions that are looked up once to the ends that it has at that moment.
//!
//! In: a topic, and the time to begin at or its beginning. Out: every record between, once, partition by partition in order.
//! Guarantees: partitions are assigned, never subscribed to; no group is joined and no offset is committed, so that nobody who
//! reads the topic notices. Ends when the ends are reached, whatever comes in meanwhile. Every call has a time limit.
//! Blocks: call it from a thread that may.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::config;
use crate::kafka::{self, Context, METADATA_TIMEOUT};

/// Without a record for this long the broker is taken for gone.
const SILENCE: Duration = Duration::from_secs(30);
/// One wait for a record.
const POLL: Duration = Duration::from_millis(500);

/// Why a topic could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Kafka, or librdkafka.
    #[error("Kafka topic {topic}: {source}")]
    Kafka {
        /// The topic.
        topic: String,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// The topic does not exist.
    #[error("Kafka topic {0} does not exist; run `weighbridge-aggregator migrate up`")]
    Missing(String),
    /// The broker stopped answering.
    #[error("Kafka topic {topic}: no record for {} s with {left} partitions left to read", SILENCE.as_secs())]
    Silent {
        /// The topic.
        topic: String,
        /// Partitions not read to their end.
        left: usize,
    },
}

impl ReadError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            ReadError::Kafka { .. } => "kafka_read",
            ReadError::Missing(_) => "kafka_topic_missing",
            ReadError::Silent { .. } => "kafka_silent",
        }
    }
}

/// What of a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Oldest offset that is still there.
    pub(crate) low: i64,
    /// First offset read.
    pub(crate) start: i64,
    /// The offset after the last one read.
    pub(crate) end: i64,
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    /// With what is oldest.
    Oldest,
    /// With the first record at or after this time, Unix milliseconds.
    Time(i64),
}

/// A client that reads one topic.
pub(crate) struct TopicReader {
    consumer: BaseConsumer<Context>,
    topic: String,
}

impl TopicReader {
    /// Connects on first use.
    pub(crate) fn new(kafka: &config::Kafka, group_id: &str, topic: &str) -> Result<TopicReader, ReadError> {
        let consumer = kafka::reader_config(kafka, group_id)
            .create_with_context(Context)
            .map_err(|source| ReadError::Kafka { topic: topic.to_owned(), source })?;
        Ok(TopicReader { consumer, topic: topic.to_owned() })
    }

    fn failed(&self, source: KafkaError) -> ReadError {
        ReadError::Kafka { topic: self.topic.clone(), source }
    }

    /// Looks up where each partition begins and ends now.
    pub(crate) fn spans(&self, begin: Begin) -> Result<BTreeMap<i32, Span>, ReadError> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(&self.topic), METADATA_TIMEOUT)
            .map_err(|source| self.failed(source))?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let partitions: Vec<i32> = found
            .filter(|topic| topic.error().is_none())
            .map(|topic| topic.partitions().iter().map(|partition| partition.id()).collect())
            .filter(|partitions: &Vec<i32>| !partitions.is_empty())
            .ok_or_else(|| ReadError::Missing(self.topic.clone()))?;
        let mut spans = BTreeMap::new();
        for partition in partitions {
            let marks = self.consumer.fetch_watermarks(&self.topic, partition, METADATA_TIMEOUT);
            let (low, end) = marks.map_err(|source| self.failed(source))?;
            spans.insert(partition, Span { low, start: low, end });
        }
        if let Begin::Time(unix_ms) = begin {
            self.begin_at(unix_ms, &mut spans)?;
        }
        Ok(spans)
    }

    fn begin_at(&self, unix_ms: i64, spans: &mut BTreeMap<i32, Span>) -> Result<(), ReadError> {
        let mut times = TopicPartitionList::new();
        for partition in spans.keys() {
            times
                .add_partition_offset(&self.topic, *partition, Offset::Offset(unix_ms))
                .map_err(|source| self.failed(source))?;
        }
        let found =
            self.consumer.offsets_for_times(times, METADATA_TIMEOUT).map_err(|source| self.failed(source))?;
        for element in found.elements() {
            let Some(span) = spans.get_mut(&element.partition()) else { continue };
            span.start = match element.offset() {
                Offset::Offset(offset) => offset.clamp(span.low, span.end.max(span.low)),
                // No record that late.
                Offset::End => span.end,
                _ => span.low,
            };
        }
        Ok(())
    }

    /// Offsets after the last records that `group_id` is done with, where it committed any. Only asks.
    pub(crate) fn committed(
        &self,
        partitions: &BTreeMap<i32, Span>,
    ) -> Result<BTreeMap<i32, i64>, ReadError> {
        let mut asked = TopicPartitionList::new();
        partitions.keys().for_each(|partition| {
            asked.add_partition(&self.topic, *partition);
        });
        let found =
            self.consumer.committed_offsets(asked, METADATA_TIMEOUT).map_err(|source| self.failed(source))?;
        let offset =
            |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            };
        Ok(found.elements().into_iter().filter_map(offset).collect())
    }

    /// Hands every record within `spans` to `each`, until it says that it has seen enough.
    pub(crate) fn read(
        &self,
        spans: &BTreeMap<i32, Span>,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> Go,
    ) -> Result<(), ReadError> {
        let mut left: BTreeMap<i32, i64> = BTreeMap::new();
        let mut assignment = TopicPartitionList::new();
        for (partition, span) in spans.iter().filter(|(_, span)| span.start < span.end) {
            left.insert(*partition, span.end);
            assignment
                .add_partition_offset(&self.topic, *partition, Offset::Offset(span.start))
                .map_err(|source| self.failed(source))?;
        }
        if left.is_empty() {
            return Ok(());
        }
        self.consumer.assign(&assignment).map_err(|source| self.failed(source))?;
        let result = self.read_until(&mut left, &mut each);
        self.consumer.unassign().map_err(|source| self.failed(source))?;
        result
    }

    fn read_until(
        &self,
        left: &mut BTreeMap<i32, i64>,
        each: &mut impl FnMut(&BorrowedMessage<'_>) -> Go,
    ) -> Result<(), ReadError> {
        let mut heard = Instant::now();
        while !left.is_empty() {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let Some(end) = left.get(&message.partition()).copied() else { continue };
                    if message.offset() < end && each(&message) == Go::Stop {
                        return Ok(());
                    }
                    if message.offset() + 1 >= end {
                        left.remove(&message.partition());
                    }
                    // After `each`, which may take its time.
                    heard = Instant::now();
                }
                // The last offsets of a compacted partition may be gone.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    left.remove(&partition);
                }
                Some(Err(source)) if is_final(&source) => return Err(self.failed(source)),
                // librdkafka goes on by itself.
                Some(Err(_)) | None if heard.elapsed() < SILENCE => {}
                Some(Err(_)) | None => {
                    return Err(ReadError::Silent { topic: self.topic.clone(), left: left.len() });
                }
            }
        }
        Ok(())
    }

    /// Dropping a consumer has been seen to hang: not on a thread that anybody waits for.
    pub(crate) fn close(self) {
        std::thread::spawn(move || drop(self));
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    On,
    Stop,
}

/// Trying again would give the same.
fn is_final(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        Authentication, Fatal, SaslAuthenticationFailed, TopicAuthorizationFailed, UnknownPartition,
        UnknownTopic, UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            Fatal
                | Authentication
                | SaslAuthenticationFailed
                | TopicAuthorizationFailed
                | UnknownTopic
                | UnknownPartition
                | UnknownTopicOrPartition
        )
    )
}
