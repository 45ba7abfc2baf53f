//! The reports in Kafka: the topic from the offsets of a time to its ends, each report decoded and counted once by its name.

use std::collections::{BTreeMap, HashSet};

use rdkafka::Message as _;
use weighbridge_proto::report;

use super::arguments::Windows;
use super::state::{Content, EpochName, Epochs, StoredAs};
use crate::bounded::{Begin, Go, ReadError, Span, TopicReader};
use crate::cluster::Shard;
use crate::{config, kafka, record};

/// What was read of Kafka.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    /// Where each partition was read.
    pub(crate) spans: BTreeMap<i32, Span>,
    pub(crate) records: u64,
    /// Reports of the span, copies not counted.
    pub(crate) reports: u64,
    /// Copies of a report that was read before.
    pub(crate) copies: u64,
    /// Values and parts of values that are no report: load sets them aside.
    pub(crate) not_reports: u64,
    /// Kafka holds everything since then, Unix milliseconds: before it, retention may have taken something. 0: nothing was taken.
    pub(crate) kept_since_ms: i64,
    /// What a boot epoch is called in ClickHouse.
    pub(crate) stored_as: StoredAs,
    /// Whose reports these are; those of others were left out.
    pub(crate) shard: Shard,
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    pub(crate) kafka: &'a config::Kafka,
    pub(crate) group_id: &'a str,
    pub(crate) windows: Windows,
    /// First time at which a report of the span can have come to Kafka, Unix milliseconds.
    pub(crate) begin_ms: i64,
    pub(crate) now_ms: i64,
    /// Whose tables Kafka is compared with.
    pub(crate) shard: Shard,
}

/// Adds the reports of the topic. Blocks.
pub(crate) fn read(task: Task<'_>, epochs: &mut Epochs) -> Result<Read, ReadError> {
    let reader = TopicReader::new(task.kafka, task.group_id, &task.kafka.topic)?;
    let spans = reader.spans(Begin::Time(task.begin_ms))?;
    let committed = reader.committed(&spans)?;
    let mut read = Read { shard: task.shard, ..Read::default() };
    // Where reading begins with the oldest record that is left, older ones may have been of the span.
    let mut shortened: HashSet<i32> =
        spans.iter().filter(|(_, span)| span.low > 0 && span.start == span.low).map(|span| *span.0).collect();
    if spans.iter().any(|(partition, span)| span.start >= span.end && shortened.contains(partition)) {
        read.kept_since_ms = task.now_ms;
    }
    reader.read(&spans, |message| {
        if shortened.remove(&message.partition()) {
            let oldest = message.timestamp().to_millis().unwrap_or(task.now_ms);
            read.kept_since_ms = read.kept_since_ms.max(oldest);
        }
        let is_ahead =
            committed.get(&message.partition()).is_some_and(|committed| message.offset() >= *committed);
        read.records += 1;
        let value = (message.payload().unwrap_or_default(), kafka::senders(message));
        take(value, is_ahead, task.windows, epochs, &mut read);
        Go::On
    })?;
    read.spans = spans;
    reader.close();
    Ok(read)
}

fn take(
    (value, senders): (&[u8], Option<&[u8]>),
    is_ahead: bool,
    windows: Windows,
    epochs: &mut Epochs,
    read: &mut Read,
) {
    for (index, bytes) in record::decode(value).enumerate() {
        let sender = senders.map(|senders| record::sender(senders, index)).transpose();
        let report = bytes.ok().and_then(|bytes| report::check(bytes).ok());
        let (Ok(sender), Some(report)) = (sender, report) else {
            read.not_reports += 1;
            continue;
        };
        if !read.shard.holds(&report.identity.collector.0) {
            continue;
        }
        let sequence = report.identity.sequence.0;
        let own = EpochName::from(report.identity);
        let stored = sender.map_or(own.collector, |sender| sender.collector);
        read.stored_as.learn(own, stored);
        let epoch = epochs.entry(EpochName { collector: stored, ..own }).or_default();
        if !windows.have(report.window_start.0) {
            epoch.kafka_elsewhere.insert(sequence);
        } else if epoch.kafka.add(sequence, &Content::of(&report)) {
            read.reports += 1;
            if is_ahead {
                epoch.kafka_ahead.insert(sequence);
            }
        } else {
            read.copies += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weighbridge_proto::report::{BootEpoch, CollectorId};
    use weighbridge_proto::v1::Report;

    fn sealed(sequence: u64, window_start_s: u64) -> Vec<u8> {
        let report = Report {
            schema: 1,
            collector_id: vec![7; 16].into(),
            boot_epoch: 5,
            sequence,
            window_start_s,
            window_s: 60,
            catalogue_version: 2_026_112_301,
            environment: 1,
            vantage: 1,
            gateway_product: 2,
            ..Report::default()
        };
        report::seal(&report).to_vec()
    }

    #[test]
    fn reports_count_once_and_what_is_none_is_told() {
        let windows = Windows { from: 600, to: 1_200 };
        let (mut epochs, mut read) = (Epochs::default(), Read::default());
        let (one, two, elsewhere) = (sealed(1, 600), sealed(2, 660), sealed(3, 1_200));
        let value = record::encode([one.as_slice(), &two, b"poison", &elsewhere]);
        take((&value, None), false, windows, &mut epochs, &mut read);
        take((&record::encode([two.as_slice()]), None), true, windows, &mut epochs, &mut read);
        take((&record::encode([sealed(4, 660).as_slice()]), None), true, windows, &mut epochs, &mut read);
        assert_eq!((read.reports, read.copies, read.not_reports), (3, 1, 1));
        let epoch = epochs.values().next().unwrap();
        assert_eq!(epoch.kafka.sequences.to_string(), "1-2, 4");
        assert_eq!(
            epoch.kafka_ahead.to_string(),
            "4",
            "a copy that load has yet to read is nothing to wait for"
        );
        assert_eq!(epoch.kafka_elsewhere.to_string(), "3");
    }

    #[test]
    fn another_shards_reports_are_left_out() {
        let windows = Windows { from: 600, to: 1_200 };
        let value = record::encode([sealed(1, 600).as_slice(), b"poison"]);
        // The id ends with 0x0707, which is odd.
        for (index, reports) in [(0, 0), (1, 1)] {
            let shard = Shard { index, count: 2 };
            let (mut epochs, mut read) = (Epochs::default(), Read { shard, ..Read::default() });
            take((&value, None), false, windows, &mut epochs, &mut read);
            assert_eq!((read.reports, read.not_reports, epochs.len() as u64), (reports, 1, reports));
        }
    }

    #[test]
    fn a_boot_epoch_goes_by_the_name_that_most_of_its_reports_are_stored_under() {
        let windows = Windows { from: 600, to: 1_200 };
        let (mut epochs, mut read) = (Epochs::default(), Read::default());
        let own = EpochName { collector: CollectorId([7; 16]), boot_epoch: BootEpoch(5) };
        let sender = |stored: u8| {
            record::Sender { contributor: [1; 16], collector: CollectorId([stored; 16]) }.to_bytes()
        };
        let value = record::encode([sealed(1, 600).as_slice(), &sealed(2, 660)]);
        take((&value, Some(&[sender(8), sender(8)].concat())), false, windows, &mut epochs, &mut read);
        let copy = record::encode([sealed(1, 600).as_slice()]);
        take((&copy, Some(&sender(9))), false, windows, &mut epochs, &mut read);
        take((&copy, Some(b"cut")), false, windows, &mut epochs, &mut read);
        assert_eq!((read.reports, read.copies, read.not_reports), (3, 0, 1));
        assert_eq!(read.stored_as.name(own).collector, CollectorId([8; 16]));
        let other = EpochName { boot_epoch: BootEpoch(6), ..own };
        assert_eq!(read.stored_as.name(other), other, "never seen");
    }
}
