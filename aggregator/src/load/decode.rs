//! One Kafka record into a batch: every report of it becomes rows or poison.

use rdkafka::message::{BorrowedMessage, Message as _};
use weighbridge_proto::report::{self, ReportError};

use super::metrics::{MALFORMED, Metrics, WINDOW};
use super::rows::{Batch, Place, Poison};
use crate::record;

/// A report of a layout that this binary does not know. Neither loaded nor set aside: a newer binary must read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewerSchema(pub(crate) u32);

/// Takes a record into `batch`. With `NewerSchema` the record does not count as taken.
pub(crate) fn take(
    message: &BorrowedMessage<'_>,
    batch: &mut Batch,
    metrics: &Metrics,
) -> Result<(), NewerSchema> {
    let place = Place { partition: message.partition(), offset: message.offset() };
    take_value(message.payload().unwrap_or_default(), message.key(), place, batch, metrics)?;
    metrics.records.inc();
    batch.took(place, message.timestamp().to_millis());
    Ok(())
}

fn take_value(
    value: &[u8],
    key: Option<&[u8]>,
    place: Place,
    batch: &mut Batch,
    metrics: &Metrics,
) -> Result<(), NewerSchema> {
    for bytes in record::decode(value) {
        let (reason, poison) = match bytes {
            Err(record::Malformed) => (MALFORMED, value.to_vec()),
            Ok(bytes) => match report::check(bytes) {
                Err(ReportError::Schema(schema)) => return Err(NewerSchema(schema)),
                Err(error) => (error.code(), record::encode([bytes])),
                Ok(report) => match batch.add(&report, place) {
                    Ok(()) => {
                        count(metrics);
                        continue;
                    }
                    Err(_) => (WINDOW, record::encode([bytes])),
                },
            },
        };
        count(metrics);
        batch.poison.push(Poison { place, reason, key: key.map(<[u8]>::to_vec), value: poison });
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
