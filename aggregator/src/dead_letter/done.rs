//! Which letters are done: replayed or dropped. The compacted topic `<topic>.dlq.done`.
//!
//! ```text
//! key   = position of the letter in `<topic>.dlq`, `partition:offset`
//! value = `replayed` or `dropped`
//! ```
//!
//! A mark is written after what it stands for has happened, and Kafka confirmed it. Marks may be there twice: a set does not mind.
//! The letters themselves stay where they are, so that a mark is never about another letter.

use std::collections::BTreeMap;

use rdkafka::Message as _;

use super::letter::Place;
use crate::bounded::{Begin, Go, ReadError, Span, TopicReader};
use crate::ranges::Ranges;

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its value is in the topic of reports again.
    Replayed,
    /// Nobody wants it.
    Dropped,
}

impl Outcome {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Outcome::Replayed => "replayed",
            Outcome::Dropped => "dropped",
        }
    }
}

/// The letters that are done, as far as the marks were read.
#[derive(Debug, Default)]
pub(crate) struct Done {
    offsets: BTreeMap<i32, Ranges>,
    read_to: BTreeMap<i32, i64>,
}

impl Done {
    /// Reads the marks that came since the last time.
    pub(crate) fn catch_up(&mut self, marks: &TopicReader) -> Result<(), ReadError> {
        let mut spans = marks.spans(Begin::Oldest)?;
        for (partition, span) in &mut spans {
            let read_to = self.read_to.get(partition).copied().unwrap_or(span.low);
            // A topic that was made anew begins at 0 again.
            span.start = if read_to > span.end { span.low } else { read_to.max(span.low) };
        }
        marks.read(&spans, |message| {
            let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
            if let Some(place) = key.and_then(|key| key.parse().ok()) {
                self.insert(place);
            }
            Go::On
        })?;
        self.read_to = spans.into_iter().map(|(partition, span)| (partition, span.end)).collect();
        Ok(())
    }

    pub(crate) fn insert(&mut self, place: Place) {
        self.offsets.entry(place.partition).or_default().insert(place.offset);
    }

    pub(crate) fn contains(&self, place: Place) -> bool {
        self.offsets.get(&place.partition).is_some_and(|offsets| offsets.contains(place.offset))
    }

    /// How many letters of `spans` are not done. Offsets of the topic have no gaps: its producers use no transactions.
    pub(crate) fn waiting(&self, spans: &BTreeMap<i32, Span>) -> u64 {
        let waiting = |(partition, span): (&i32, &Span)| {
            let (low, end) = (span.low.max(0) as u64, span.end.max(0) as u64);
            let done = self.offsets.get(partition).map_or(0, |offsets| offsets.count_within(low, end));
            end.saturating_sub(low).saturating_sub(done)
        };
        spans.iter().map(waiting).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_what_is_there_and_not_done() {
        let mut done = Done::default();
        for place in ["0:3", "0:4", "0:3", "1:9", "0:99"] {
            done.insert(place.parse().unwrap());
        }
        let span = |low, end| Span { low, start: low, end };
        let spans = BTreeMap::from([(0, span(0, 10)), (1, span(0, 0)), (2, span(5, 7))]);
        assert_eq!(done.waiting(&spans), 8 + 2);
        assert!(done.contains("0:4".parse().unwrap()) && !done.contains("1:4".parse().unwrap()));
        assert_eq!(done.waiting(&BTreeMap::from([(0, span(4, 10))])), 5, "older ones were deleted");
    }
}
