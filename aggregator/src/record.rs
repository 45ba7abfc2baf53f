//! The value of a Kafka record of the reports topic, its key, its partition and its headers.
//!
//! ```text
//! value = { varint(length) report{length} }     at least one
//! key = the 16 bytes of the collector id of the first report
//! partition = crc32c(collector id) % partitions of the topic, the same for every report of a record
//! header schema = newest layout of Report.cells in the value, decimal
//! header senders = { contributor{16} collector id{16} } for each report, in order; none: nobody was asked who he is
//! ```
//!
//! A report is stored under the collector id of its sender, if it has one, and under the report's own if not (see `door`). A
//! loader that does not know `senders` would store it under the report's own: upgrade load before ingest asks who sends.
//!
//! Guarantees: a report comes out byte for byte as it went in. A value that ends early, or with bytes that are no whole
//! report, is `Malformed`; the reports before that point are still given. The partition keeps a collector's reports in one place
//! for locality; exactness does not depend on it, so hash and number of partitions may change at any time.

use bytes::BufMut as _;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use weighbridge_proto::report::CollectorId;

/// Name of the header with the newest schema in a value.
pub const HEADER_SCHEMA: &str = "schema";
/// Name of the header that says who sent each report.
pub const HEADER_SENDERS: &str = "senders";
/// Bytes of a sender in the header.
pub const SENDER_BYTES: usize = 32;

/// Who sent a report: keyed hashes, made by ingest (see `door`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Pseudonym of the contributor for the epoch of the report's window.
    pub contributor: [u8; 16],
    /// The collector id that the report is stored under.
    pub collector: CollectorId,
}

impl Sender {
    /// As in the header.
    pub fn to_bytes(self) -> [u8; SENDER_BYTES] {
        let mut bytes = [0; SENDER_BYTES];
        let (contributor, collector) = bytes.split_at_mut(SENDER_BYTES / 2);
        contributor.copy_from_slice(&self.contributor);
        collector.copy_from_slice(&self.collector.0);
        bytes
    }
}

/// The sender of the report at `index`.
///
/// # Errors
/// The header ends before it.
pub fn sender(senders: &[u8], index: usize) -> Result<Sender, Malformed> {
    let bytes = senders.chunks_exact(SENDER_BYTES).nth(index).ok_or(Malformed)?;
    let (mut contributor, mut collector) = ([0; 16], [0; 16]);
    contributor.copy_from_slice(&bytes[..16]);
    collector.copy_from_slice(&bytes[16..]);
    Ok(Sender { contributor, collector: CollectorId(collector) })
}

/// The value does not split into reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record: the value does not split into length-delimited reports")]
pub struct Malformed;

/// The value that holds `reports`.
pub fn encode<'a>(reports: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut value = Vec::new();
    for report in reports {
        append(&mut value, report);
    }
    value
}

/// Adds a report to a value.
pub fn append(value: &mut Vec<u8>, report: &[u8]) {
    let length = report.len() as u64;
    value.reserve(encoded_len_varint(length) + report.len());
    encode_varint(length, value);
    value.put_slice(report);
}

/// The reports of a value, in order.
pub fn decode(value: &[u8]) -> Reports<'_> {
    Reports { rest: value, first: true }
}

/// See `decode`.
#[derive(Clone, Debug)]
pub struct Reports<'a> {
    rest: &'a [u8],
    first: bool,
}

impl<'a> Iterator for Reports<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() && !std::mem::take(&mut self.first) {
            return None;
        }
        self.first = false;
        let mut rest = self.rest;
        self.rest = &[];
        let Some(length) = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok())
        else {
            return Some(Err(Malformed));
        };
        let Some((report, after)) = rest.split_at_checked(length) else { return Some(Err(Malformed)) };
        self.rest = after;
        Some(Ok(report))
    }
}

/// The partition of a collector's reports; `partitions` is at least 1.
pub fn partition(collector: CollectorId, partitions: u32) -> i32 {
    // Fits: the remainder is below a number of partitions, which Kafka keeps in an i32.
    (crc32c::crc32c(&collector.0) % partitions.max(1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(reports in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5)) {
            let value = encode(reports.iter().map(Vec::as_slice));
            let back: Result<Vec<_>, _> = decode(&value).collect();
            prop_assert_eq!(back.unwrap(), reports.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }

        #[test]
        fn cut_short_is_malformed_and_never_panics(report in prop::collection::vec(any::<u8>(), 1..300), cut in 0usize..300) {
            let value = encode([report.as_slice()]);
            let cut = cut % value.len();
            prop_assert_eq!(decode(&value[..cut]).last(), Some(Err(Malformed)));
        }

        #[test]
        fn any_bytes_end(value in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(decode(&value).count() <= value.len() + 1);
        }

        #[test]
        fn partition_is_within(id in any::<[u8; 16]>(), partitions in 1u32..100) {
            let partition = partition(CollectorId(id), partitions);
            prop_assert!(partition >= 0 && (partition as u32) < partitions);
        }
    }

    #[test]
    fn senders_are_read_in_order_and_a_missing_one_is_malformed() {
        let one = Sender { contributor: [1; 16], collector: CollectorId([2; 16]) };
        let two = Sender { contributor: [3; 16], collector: CollectorId([4; 16]) };
        let header = [one.to_bytes(), two.to_bytes()].concat();
        assert_eq!((sender(&header, 0), sender(&header, 1)), (Ok(one), Ok(two)));
        assert_eq!(sender(&header, 2), Err(Malformed));
        assert_eq!(sender(&header[..63], 1), Err(Malformed));
    }

    #[test]
    fn partitions_are_used_evenly() {
        let mut used = [0u32; 12];
        for id in 0u128..12_000 {
            used[partition(CollectorId(id.to_be_bytes()), 12) as usize] += 1;
        }
        assert!(used.iter().all(|n| (800..1_200).contains(n)), "{used:?}");
    }
}
