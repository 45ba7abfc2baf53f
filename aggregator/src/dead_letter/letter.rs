//! A dead letter as a record of `<topic>.dlq`.
//!
//! ```text
//! value  = the value as `record` describes it, with the one report that could not be loaded; what does not split: the whole value
//! key    = the key of the original record
//! header original_topic, original_partition, original_offset    where load read it, decimal
//! header reason                                                  why, one of load's reasons
//! header senders                                                 as `record` describes it, if the original record had it
//! header omitted_bytes                                           only if the value was too large to be set aside: its size; the letter's own is empty
//! ```

use prost::Message as _;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders};
use weighbridge_proto::report::{COLLECTOR_ID_BYTES, CollectorId};
use weighbridge_proto::v1::Report;

use crate::record;

const ORIGINAL_TOPIC: &str = "original_topic";
const ORIGINAL_PARTITION: &str = "original_partition";
const ORIGINAL_OFFSET: &str = "original_offset";
const REASON: &str = "reason";
const OMITTED_BYTES: &str = "omitted_bytes";
/// Longest text of a header that is shown: a topic's name has at most 249.
const SHOWN: usize = 249;

/// Where a letter stands in the topic of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Partition; `migrate up` makes one.
    pub partition: i32,
    /// Offset in it.
    pub offset: u64,
}

/// `partition:offset`.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// `partition:offset`, or an offset of partition 0.
impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (partition, offset) = text.split_once(':').unwrap_or(("0", text));
        match (partition.parse(), offset.parse()) {
            (Ok(partition), Ok(offset)) if partition >= 0 => Ok(Place { partition, offset }),
            _ => Err(format!("{text:?} is neither an offset like 41 nor a position like 0:41")),
        }
    }
}

/// The headers of a letter.
pub(crate) fn headers(
    topic: &str,
    (partition, offset): (i32, i64),
    reason: &str,
    omitted_bytes: Option<usize>,
    senders: Option<&[u8]>,
) -> OwnedHeaders {
    let (partition, offset) = (partition.to_string(), offset.to_string());
    let omitted_bytes = omitted_bytes.map(|bytes| bytes.to_string());
    let all = [
        (ORIGINAL_TOPIC, Some(topic)),
        (ORIGINAL_PARTITION, Some(&partition)),
        (ORIGINAL_OFFSET, Some(&offset)),
        (REASON, Some(reason)),
        (OMITTED_BYTES, omitted_bytes.as_deref()),
    ];
    let headers = all.into_iter().fold(OwnedHeaders::new(), |headers, (key, value)| match value {
        None => headers,
        Some(value) => headers.insert(Header { key, value: Some(value) }),
    });
    match senders {
        None => headers,
        Some(value) => headers.insert(Header { key: record::HEADER_SENDERS, value: Some(value) }),
    }
}

/// What is told of a letter. Never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it stands.
    pub place: Place,
    /// When it was set aside, Unix milliseconds.
    pub time_ms: Option<i64>,
    /// Why.
    pub reason: String,
    /// The topic it was read from.
    pub original_topic: String,
    /// The partition it was read from.
    pub original_partition: Option<i32>,
    /// The offset it was read at.
    pub original_offset: Option<i64>,
    /// Size of the value that could not be loaded.
    pub bytes: u64,
    /// The value was too large to be kept here.
    pub is_omitted: bool,
    /// What can be read of the report's name.
    pub name: Option<Name>,
}

/// The name of a report that failed its check: as it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its collector, if that is an id.
    pub collector: Option<CollectorId>,
    /// Start of the collector.
    pub boot_epoch: u64,
    /// Place within it.
    pub sequence: u64,
    /// Start of the window, Unix seconds.
    pub window_start_s: u64,
}

impl Letter {
    /// Reads a record of the topic of dead letters. Headers that are missing leave their field empty.
    pub(crate) fn read(message: &BorrowedMessage<'_>) -> Letter {
        let value = message.payload().unwrap_or_default();
        let header = |wanted: &str| {
            let headers = message.headers()?;
            let found = headers.iter().find(|header| header.key == wanted)?;
            std::str::from_utf8(found.value?).ok()
        };
        let omitted = header(OMITTED_BYTES).and_then(|text| text.parse().ok());
        Letter {
            place: Place { partition: message.partition(), offset: message.offset().unsigned_abs() },
            time_ms: message.timestamp().to_millis(),
            reason: shown(header(REASON)),
            original_topic: shown(header(ORIGINAL_TOPIC)),
            original_partition: header(ORIGINAL_PARTITION).and_then(|text| text.parse().ok()),
            original_offset: header(ORIGINAL_OFFSET).and_then(|text| text.parse().ok()),
            bytes: omitted.unwrap_or(value.len() as u64),
            is_omitted: omitted.is_some(),
            name: name_in(value),
        }
    }
}

/// A terminal must not be written to by whoever can write to the topic.
fn shown(text: Option<&str>) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.unwrap_or("unknown").chars().filter(is_plain).take(SHOWN).collect()
}

/// The name in a value with one report, as far as it can be read.
fn name_in(value: &[u8]) -> Option<Name> {
    let mut reports = record::decode(value);
    let (Some(Ok(bytes)), None) = (reports.next(), reports.next()) else { return None };
    let report = Report::decode(bytes).ok()?;
    let id: Option<[u8; COLLECTOR_ID_BYTES]> = report.collector_id.as_ref().try_into().ok();
    Some(Name {
        collector: id.map(CollectorId),
        boot_epoch: report.boot_epoch,
        sequence: report.sequence,
        window_start_s: report.window_start_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = Place { partition: 2, offset: 41 };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!("41".parse(), Ok(Place { partition: 0, offset: 41 }));
        for wrong in ["", "a", "-1", "1:", ":1", "1:2:3", "-1:2"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_read_of_damaged_reports_and_of_nothing_else() {
        let report = Report {
            collector_id: vec![7; 16].into(),
            boot_epoch: 5,
            sequence: 6,
            window_start_s: 60,
            ..Report::default()
        };
        let damaged = report.encode_to_vec();
        let name = name_in(&record::encode([damaged.as_slice()])).unwrap();
        assert_eq!((name.collector, name.boot_epoch), (Some(CollectorId([7; 16])), 5));
        assert_eq!((name.sequence, name.window_start_s), (6, 60));
        assert_eq!(name_in(b"secret prompt"), None);
        assert_eq!(name_in(&record::encode([damaged.as_slice(), &damaged])), None, "which of them?");
        assert_eq!(name_in(&[]), None);
    }

    #[test]
    fn headers_cannot_write_to_a_terminal() {
        assert_eq!(shown(Some("check\u{1b}[31msum")), "check31msum");
        assert_eq!(shown(None), "unknown");
    }
}
