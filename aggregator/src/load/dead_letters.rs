//! Poison into the topic of dead letters, for as long as it takes.
//!
//! In: a record that cannot be loaded, with its place and the reason. Out: a letter that every replica in sync has; its headers are
//! `dead_letter::letter`'s. Guarantees: at least one letter each; a letter whose fate is unknown is produced again, and so is one
//! whose producer failed for good, by a new producer. Bad input: a value that is too large for the topic is left out; the letter
//! says how large it was and where it is, and load goes on.

use std::time::Duration;

use rdkafka::error::KafkaResult;
use rdkafka::producer::FutureRecord;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use tokio::time::sleep;
use tracing::warn;

use super::metrics::Metrics;
use super::rows::Poison;
use crate::backoff::Backoff;
use crate::config;
use crate::dead_letter::letter;
use crate::kafka::{self, Producer};

/// How long Kafka may take for a dead letter before it is produced anew.
const TIMEOUT_MS: u64 = 30_000;

/// See above.
pub(crate) struct DeadLetters {
    kafka: config::Kafka,
    /// Of the dead letters.
    topic: String,
    producer: Producer,
    metrics: Metrics,
}

impl DeadLetters {
    pub(crate) fn new(kafka: &config::Kafka, metrics: Metrics) -> KafkaResult<DeadLetters> {
        let producer = kafka::producer(kafka, TIMEOUT_MS)?;
        Ok(DeadLetters {
            kafka: kafka.clone(),
            topic: kafka::dead_letter_topic(&kafka.topic),
            producer,
            metrics,
        })
    }

    /// Returns when Kafka has the letter.
    pub(crate) async fn set_aside(&mut self, poison: &Poison) {
        let mut backoff = Backoff::default();
        let Poison { place, reason, .. } = *poison;
        let origin = (place.partition, place.offset);
        let mut omitted = None;
        loop {
            let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic)
                .payload(if omitted.is_none() { &poison.value } else { &[] })
                .headers(letter::headers(
                    &self.kafka.topic,
                    origin,
                    reason,
                    omitted,
                    poison.senders.as_deref(),
                ));
            record.key = poison.key.as_deref();
            match self.producer.send(record, Timeout::After(Duration::ZERO)).await {
                Ok(_) => {
                    let (partition, offset) = origin;
                    warn!(reason, partition, offset, omitted, "report set aside as a dead letter");
                    return self.metrics.set_aside(reason);
                }
                Err((error, _)) => {
                    let is_too_large =
                        error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge);
                    if is_too_large && omitted.is_none() {
                        omitted = Some(poison.value.len());
                        continue;
                    }
                    warn!(%error, topic = self.topic, "dead letter not delivered, trying again");
                    self.renew_if_fatal();
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    fn renew_if_fatal(&mut self) {
        if kafka::is_fatal(&self.producer) {
            match kafka::producer(&self.kafka, TIMEOUT_MS) {
                Ok(producer) => self.producer = producer,
                Err(error) => warn!(%error, "no new Kafka producer"),
            }
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
    use crate::admin::Instruments;
    use crate::load::rows::Place;

    #[tokio::test]
    async fn a_producer_that_failed_for_good_is_replaced() {
        let mock: MockCluster<'_, DefaultProducerContext> = MockCluster::new(1).unwrap();
        let kafka = config::Kafka { bootstrap_servers: mock.bootstrap_servers(), ..config::Kafka::default() };
        mock.create_topic(&kafka::dead_letter_topic(&kafka.topic), 1, 1).unwrap();
        let mut letters = DeadLetters::new(&kafka, Metrics::register(&Instruments::default())).unwrap();
        let poison = Poison {
            place: Place { partition: 2, offset: 7 },
            reason: "crc_mismatch",
            key: None,
            value: vec![1, 2, 3],
            senders: None,
        };
        // The broker has forgotten what the producer's first record follows: librdkafka gives up.
        let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        mock.request_errors(RDKafkaApiKey::Produce, &[lost]);
        let first = letters.producer.clone();
        timeout(Duration::from_secs(30), letters.set_aside(&poison)).await.unwrap();
        assert!(kafka::is_fatal(&first), "the test is about nothing");
        assert!(!kafka::is_fatal(&letters.producer));
    }
}
