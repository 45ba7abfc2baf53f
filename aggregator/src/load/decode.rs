//! One Kafka record into a batch: every report of it becomes rows or poison.

use rdkafka::message::{BorrowedMessage, Message as _};
use weighbridge_proto::report::{self, ReportError};

use super::metrics::{MALFORMED, Metrics, WINDOW};
use super::rows::{Batch, Place, Poison};
use crate::cluster::Shard;
use crate::{kafka, record};

/// A report of a layout that this binary does not know. Neither loaded nor set aside: a newer binary must read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewerSchema(pub(crate) u32);

/// Takes a record into `batch`. With `NewerSchema` the record does not count as taken.
pub(crate) fn take(
    message: &BorrowedMessage<'_>,
    shard: Shard,
    batch: &mut Batch,
    metrics: &Metrics,
) -> Result<(), NewerSchema> {
    let place = Place { partition: message.partition(), offset: message.offset() };
    let read = Read {
        value: message.payload().unwrap_or_default(),
        key: message.key(),
        senders: kafka::senders(message),
    };
    take_value(&read, place, shard, batch, metrics)?;
    metrics.records.inc();
    batch.took(place, message.timestamp().to_millis());
    Ok(())
}

/// What matters of a record.
#[derive(Clone, Copy)]
struct Read<'a> {
    value: &'a [u8],
    key: Option<&'a [u8]>,
    senders: Option<&'a [u8]>,
}

fn take_value(
    read: &Read<'_>,
    place: Place,
    shard: Shard,
    batch: &mut Batch,
    metrics: &Metrics,
) -> Result<(), NewerSchema> {
    for (index, bytes) in record::decode(read.value).enumerate() {
        let sender = read.senders.map(|senders| record::sender(senders, index)).transpose();
        let own = sender.ok().flatten().map(|sender| sender.to_bytes().to_vec());
        // What is no report belongs to no collector: the first shard sets it aside for all.
        let (reason, poison, senders, is_ours) = match bytes {
            Err(record::Malformed) => {
                (MALFORMED, read.value.to_vec(), read.senders.map(<[u8]>::to_vec), shard.leads())
            }
            Ok(bytes) if sender.is_err() => (MALFORMED, record::encode([bytes]), None, shard.leads()),
            Ok(bytes) => match report::check(bytes) {
                Err(ReportError::Schema(schema)) => return Err(NewerSchema(schema)),
                Err(error) => (error.code(), record::encode([bytes]), own, shard.leads()),
                Ok(report) if !shard.holds(&report.identity.collector.0) => {
                    metrics.of_other_shard();
                    continue;
                }
                Ok(report) => match batch.add(&report, sender.ok().flatten(), place) {
                    Ok(()) => {
                        count(metrics);
                        continue;
                    }
                    Err(_) => (WINDOW, record::encode([bytes]), own, true),
                },
            },
        };
        if !is_ours {
            metrics.of_other_shard();
            continue;
        }
        count(metrics);
        let key = read.key.map(<[u8]>::to_vec);
        batch.poison.push(Poison { place, reason, key, value: poison, senders });
    }
    Ok(())
}

fn count(metrics: &Metrics) {
    metrics.reports_read.inc();
    metrics.buffered.inc();
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
