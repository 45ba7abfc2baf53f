//! Replay and drop: what is to happen with a letter happens, then its mark is written.
//!
//! A kill between the two leaves the letter waiting: it is replayed again, and the copy is absorbed by identity. Two who settle at
//! the same time do the work twice, with the same result.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::FutureRecord;
use rdkafka::util::Timeout;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use weighbridge_proto::report::{COLLECTOR_ID_BYTES, CollectorId, SCHEMA};

use super::done::{Done, Outcome};
use super::letter::{Letter, Place};
use super::{Chosen, DeadLetterError, open};
use crate::bounded::{Begin, Go, ReadError};
use crate::kafka::{self, Producer};
use crate::{config, record};

/// How long Kafka may take to confirm a record.
const DELIVERY_TIMEOUT_MS: u64 = 30_000;
/// Letters and bytes between two rounds of marks: what a kill repeats, and what is held in memory.
const ROUND_LETTERS: usize = 256;
const ROUND_BYTES: usize = 8 * 1024 * 1024;
/// Header of a replayed record: the letter that it was.
const REPLAYED_FROM: &str = "replayed_from";

/// What was settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Letters replayed or dropped now.
    pub settled: u64,
    /// Letters that were asked for by position and were done before.
    pub already: u64,
    /// Letters without their value, which cannot be replayed: where each was read.
    pub without_value: Vec<Letter>,
    /// Positions that were asked for and hold no letter that was asked for.
    pub unknown: Vec<Place>,
}

struct Held {
    letter: Letter,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    senders: Option<Vec<u8>>,
}

/// Settles the chosen letters that were waiting when it began.
pub(super) async fn settle(
    kafka: &config::Kafka,
    group_id: &str,
    chosen: &Chosen,
    outcome: Outcome,
) -> Result<Settled, DeadLetterError> {
    let producer = kafka::producer(kafka, DELIVERY_TIMEOUT_MS).map_err(DeadLetterError::Producer)?;
    let done_topic = kafka::done_topic(&kafka.topic);
    let partitions = partitions_of(&producer, &kafka.topic).await?;
    let marks_are_there = partitions_of(&producer, &done_topic).await;
    marks_are_there?;
    let (rounds, mut to_settle) = mpsc::channel(1);
    let reading = {
        let (kafka, group_id, chosen) = (kafka.clone(), group_id.to_owned(), chosen.clone());
        spawn_blocking(move || read(&kafka, &group_id, &chosen, &rounds))
    };
    let mut settled = Settled::default();
    while let Some(round) = to_settle.recv().await {
        let mut kept: Vec<Place> = Vec::new();
        let mut sends = Vec::new();
        for held in &round {
            if outcome == Outcome::Dropped {
                kept.push(held.letter.place);
            } else if held.letter.is_omitted {
                settled.without_value.push(held.letter.clone());
            } else {
                kept.push(held.letter.place);
                sends.push(replay(&producer, &kafka.topic, partitions, held));
            }
        }
        futures_util::future::try_join_all(sends).await?;
        // Only now: every value of this round is on every replica in sync.
        let marks = kept.iter().map(|place| mark(&producer, &done_topic, *place, outcome));
        futures_util::future::try_join_all(marks).await?;
        settled.settled += kept.len() as u64;
    }
    let (already, unknown) = reading.await.map_err(|_| DeadLetterError::Stopped)??;
    settled.already = already;
    settled.unknown = unknown;
    Ok(settled)
}

async fn partitions_of(producer: &Producer, topic: &str) -> Result<u32, DeadLetterError> {
    let (client, name) = (producer.clone(), topic.to_owned());
    let found = spawn_blocking(move || kafka::partition_count(&client, &name)).await;
    let found = found.map_err(|_| DeadLetterError::Stopped)?;
    found
        .map_err(|source| ReadError::Kafka { topic: topic.to_owned(), source })?
        .ok_or_else(|| ReadError::Missing(topic.to_owned()).into())
}

/// Reads the letters that are chosen and wait, in rounds. Gives how many chosen positions were done, and which hold no letter.
fn read(
    kafka: &config::Kafka,
    group_id: &str,
    chosen: &Chosen,
    rounds: &mpsc::Sender<Vec<Held>>,
) -> Result<(u64, Vec<Place>), ReadError> {
    let (letters, marks) = open(kafka, group_id)?;
    let spans = letters.spans(Begin::Oldest)?;
    let mut done = Done::default();
    done.catch_up(&marks)?;
    let mut unseen: BTreeSet<Place> = chosen.places.iter().copied().collect();
    let (mut round, mut bytes, mut already) = (Vec::new(), 0, 0);
    letters.read(&spans, |message| {
        let letter = Letter::read(message);
        if !chosen.has(&letter) {
            return Go::On;
        }
        unseen.remove(&letter.place);
        if done.contains(letter.place) {
            already += u64::from(!chosen.places.is_empty());
            return Go::On;
        }
        let value = message.payload().unwrap_or_default().to_vec();
        bytes += value.len();
        let senders = kafka::senders(message).map(<[u8]>::to_vec);
        round.push(Held { letter, key: message.key().map(<[u8]>::to_vec), value, senders });
        if round.len() < ROUND_LETTERS && bytes < ROUND_BYTES {
            return Go::On;
        }
        bytes = 0;
        // Closed only when settling failed.
        if rounds.blocking_send(std::mem::take(&mut round)).is_ok() { Go::On } else { Go::Stop }
    })?;
    if !round.is_empty() {
        let _ = rounds.blocking_send(round);
    }
    letters.close();
    marks.close();
    Ok((already, unseen.into_iter().collect()))
}

async fn replay(
    producer: &Producer,
    topic: &str,
    partitions: u32,
    held: &Held,
) -> Result<(), DeadLetterError> {
    let (schema, from) = (SCHEMA.to_string(), held.letter.place.to_string());
    let headers = OwnedHeaders::new()
        .insert(Header { key: record::HEADER_SCHEMA, value: Some(&schema) })
        .insert(Header { key: REPLAYED_FROM, value: Some(&from) });
    // Who sent it stays who sent it.
    let headers = match &held.senders {
        None => headers,
        Some(value) => headers.insert(Header { key: record::HEADER_SENDERS, value: Some(value) }),
    };
    let mut record = FutureRecord::<[u8], [u8]>::to(topic)
        .partition(partition(held.key.as_deref(), held.letter.original_partition, partitions))
        .payload(&held.value)
        .headers(headers);
    record.key = held.key.as_deref();
    send(producer, record).await
}

/// The partition as `record` says it, if the key is a collector's id; else the one it came from.
fn partition(key: Option<&[u8]>, original: Option<i32>, partitions: u32) -> i32 {
    let id: Option<[u8; COLLECTOR_ID_BYTES]> = key.and_then(|key| key.try_into().ok());
    match id {
        Some(id) => record::partition(CollectorId(id), partitions),
        None => original
            .filter(|original| u32::try_from(*original).is_ok_and(|original| original < partitions))
            .unwrap_or(0),
    }
}

async fn mark(
    producer: &Producer,
    topic: &str,
    place: Place,
    outcome: Outcome,
) -> Result<(), DeadLetterError> {
    let key = place.to_string();
    send(producer, FutureRecord::<str, str>::to(topic).key(&key).payload(outcome.name())).await
}

async fn send<K, P>(producer: &Producer, record: FutureRecord<'_, K, P>) -> Result<(), DeadLetterError>
where
    K: rdkafka::message::ToBytes + ?Sized,
    P: rdkafka::message::ToBytes + ?Sized,
{
    let topic = record.topic.to_owned();
    // A full queue is waited for as long as Kafka may take.
    let queue = Timeout::After(Duration::from_millis(DELIVERY_TIMEOUT_MS));
    match producer.send(record, queue).await {
        Ok(_) => Ok(()),
        Err((source, _)) => Err(DeadLetterError::NotDelivered { topic, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_goes_where_ingest_would_put_it() {
        let id = [9; 16];
        let expected = record::partition(CollectorId(id), 12);
        assert_eq!(partition(Some(&id), Some(3), 12), expected);
        assert_eq!(partition(Some(b"another key"), Some(3), 12), 3);
        assert_eq!(partition(None, Some(12), 12), 0, "the topic has fewer partitions now");
        assert_eq!(partition(None, Some(-1), 12), 0);
        assert_eq!(partition(None, None, 12), 0);
    }
}
