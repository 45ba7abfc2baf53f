//! Finds the JSON documents in a body that passes by in pieces: one document, JSON lines, server-sent events, and the event
//! stream of AWS.
//!
//! In: pieces of a decoded body, cut anywhere. Out: their bytes to a `json::Reader`. Guarantees: constant memory; any bytes are
//! taken; a document that is broken costs only its own line or event. A line or event that is there whole and tells nothing
//! (`needles`) is not read.
//! Sources: WHATWG HTML, "server-sent events"; AWS "Event stream encoding" (prelude of total length, length of the headers and
//! CRC, headers, payload, CRC; all big-endian), whose checksums are the client's to check.

use memchr::memchr2;

use super::fields::Fields;
use super::json::{Reader, Sink};

/// How documents stand in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One document, or several after one another.
    Json,
    /// A document a line (Ollama).
    Lines,
    /// `text/event-stream`.
    Events,
    /// `application/vnd.amazon.eventstream` (Bedrock).
    AwsEvents,
}

impl Framing {
    /// What a content type stands for; `None` for what holds no JSON.
    pub fn of(content_type: &str) -> Option<Framing> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        let is = |known: &&str| name.eq_ignore_ascii_case(known);
        // Older servers send JSON without saying so.
        if name.is_empty() || ["application/json", "text/json"].iter().any(is) {
            return Some(Framing::Json);
        }
        if is(&"text/event-stream") {
            return Some(Framing::Events);
        }
        if LINES.iter().any(is) {
            return Some(Framing::Lines);
        }
        if is(&"application/vnd.amazon.eventstream") {
            return Some(Framing::AwsEvents);
        }
        let end = name.len().checked_sub(JSON_SUFFIX.len()).and_then(|at| name.get(at..))?;
        end.eq_ignore_ascii_case(JSON_SUFFIX).then_some(Framing::Json)
    }
}

/// Content types of a document a line.
const LINES: [&str; 4] =
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/stream+json"];
/// RFC 6839, 3.1.
const JSON_SUFFIX: &str = "+json";
/// Bytes before the headers of an AWS event.
const AWS_PRELUDE: u8 = 12;
/// Bytes after its payload.
const AWS_END: u32 = 4;
const DATA: &[u8] = b"data:";

/// Where the next byte of a body belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes of `data:` were seen since the line began.
    LineStart(u8),
    /// In the value of `data:`.
    Data,
    /// In another line.
    Other,
    /// In the prelude of an AWS event, so many bytes seen.
    Prelude(u8),
    /// In its headers or checksum: so many bytes to pass, then so many of payload.
    Pass(u32, u32),
    /// In its payload.
    Payload(u32),
    /// A length that cannot be: the rest is not read.
    Lost,
}

/// Reads the documents of one body.
#[derive(Debug)]
pub struct Documents {
    framing: Framing,
    place: Place,
    prelude: [u8; 8],
    reader: Reader,
}

impl Documents {
    /// For a body of this framing.
    pub fn new(framing: Framing) -> Documents {
        let place = if framing == Framing::AwsEvents { Place::Prelude(0) } else { Place::LineStart(0) };
        Documents { framing, place, prelude: [0; 8], reader: Reader::default() }
    }

    /// Reads a piece of the body.
    pub fn read(&mut self, piece: &[u8], fields: &Fields, sink: &mut impl Sink) {
        match self.framing {
            Framing::Json => self.reader.read(piece, fields, sink),
            Framing::Lines => self.read_lines(piece, fields, sink),
            Framing::Events => self.read_events(piece, fields, sink),
            Framing::AwsEvents => self.read_aws_events(piece, fields, sink),
        }
    }

    /// The body ends here.
    pub fn finish(&mut self, fields: &Fields, sink: &mut impl Sink) {
        self.reader.finish(fields, sink);
    }

    fn read_lines(&mut self, mut piece: &[u8], fields: &Fields, sink: &mut impl Sink) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            self.read_last(&piece[..end], fields, sink);
            self.end_document(fields, sink);
            piece = &piece[end + 1..];
        }
        self.reader.read(piece, fields, sink);
    }

    /// Reads the rest of a document, of which this may be all.
    fn read_last(&mut self, rest: &[u8], fields: &Fields, sink: &mut impl Sink) {
        if !self.reader.is_between() || fields.may_tell(rest, sink) {
            self.reader.read(rest, fields, sink);
        }
    }

    fn end_document(&mut self, fields: &Fields, sink: &mut impl Sink) {
        self.reader.finish(fields, sink);
        self.reader.reset();
    }

    fn read_events(&mut self, mut piece: &[u8], fields: &Fields, sink: &mut impl Sink) {
        while let Some(first) = piece.first() {
            let is_end = matches!(first, b'\n' | b'\r');
            match self.place {
                Place::LineStart(seen) if !is_end => {
                    self.place = match DATA.get(usize::from(seen)) {
                        Some(expected) if expected == first && usize::from(seen) + 1 == DATA.len() => {
                            Place::Data
                        }
                        Some(expected) if expected == first => Place::LineStart(seen + 1),
                        _ => Place::Other,
                    };
                    piece = &piece[1..];
                }
                Place::LineStart(seen) => {
                    // An empty line ends the event. `\r\n` ends a line and looks like an empty one: an event whose data is
                    // several lines would be cut there, which no inference server sends.
                    if seen == 0 {
                        self.end_document(fields, sink);
                    }
                    (self.place, piece) = (Place::LineStart(0), &piece[1..]);
                }
                _ => {
                    let end = memchr2(b'\n', b'\r', piece);
                    let line = &piece[..end.unwrap_or(piece.len())];
                    if self.place == Place::Data {
                        // An empty line follows: it is the last of its event.
                        match end.and_then(|end| piece.get(end + 1)) {
                            Some(b'\n' | b'\r') => self.read_last(line, fields, sink),
                            _ => self.reader.read(line, fields, sink),
                        }
                    }
                    let Some(end) = end else { return };
                    (self.place, piece) = (Place::LineStart(0), &piece[end + 1..]);
                }
            }
        }
    }

    fn read_aws_events(&mut self, mut piece: &[u8], fields: &Fields, sink: &mut impl Sink) {
        while let Some(first) = piece.first() {
            match self.place {
                Place::Prelude(seen) => {
                    if let Some(kept) = self.prelude.get_mut(usize::from(seen)) {
                        *kept = *first;
                    }
                    piece = &piece[1..];
                    self.place =
                        if seen + 1 < AWS_PRELUDE { Place::Prelude(seen + 1) } else { self.after_prelude() };
                }
                Place::Pass(left, payload) => {
                    let passed = piece.len().min(left as usize);
                    piece = &piece[passed..];
                    let left = left - passed as u32;
                    self.place = match (left, payload) {
                        (1.., _) => Place::Pass(left, payload),
                        (0, 0) => Place::Prelude(0),
                        (0, _) => Place::Payload(payload),
                    };
                }
                Place::Payload(left) => {
                    let (mine, rest) = piece.split_at(piece.len().min(left as usize));
                    self.reader.read(mine, fields, sink);
                    piece = rest;
                    let left = left - mine.len() as u32;
                    if left > 0 {
                        self.place = Place::Payload(left);
                    } else {
                        self.end_document(fields, sink);
                        self.place = Place::Pass(AWS_END, 0);
                    }
                }
                _ => return,
            }
        }
    }

    fn after_prelude(&self) -> Place {
        let number = |at: usize| {
            self.prelude.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
        };
        let (total, headers) = (number(0).unwrap_or(0), number(4).unwrap_or(0));
        let rest =
            total.checked_sub(u32::from(AWS_PRELUDE) + AWS_END).and_then(|rest| rest.checked_sub(headers));
        match rest {
            None => Place::Lost,
            // An event without payload: its headers, and the checksum.
            Some(0) => Place::Pass(headers + AWS_END, 0),
            Some(payload) if headers == 0 => Place::Payload(payload),
            Some(payload) => Place::Pass(headers, payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::Want;
    use super::super::json::Value;
    use super::*;

    #[derive(Default)]
    struct Models(Vec<String>);

    impl Sink for Models {
        fn value(&mut self, _: u8, value: Value<'_>) {
            let (Value::Text(text) | Value::Literal(text)) = value else { panic!("{value:?}") };
            self.0.push(String::from_utf8(text.to_vec()).unwrap());
        }

        fn encoded(&mut self, _: &[u8], _: bool) {}
    }

    /// The models in a body, however it is cut.
    fn models(framing: Framing, body: &[u8]) -> Vec<String> {
        let mut fields = Fields::default();
        fields.add("/model", Want::Scalar(0)).unwrap();
        let read = |length: usize| {
            let (mut documents, mut sink) = (Documents::new(framing), Models::default());
            body.chunks(length).for_each(|piece| documents.read(piece, &fields, &mut sink));
            documents.finish(&fields, &mut sink);
            sink.0
        };
        let whole = read(body.len().max(1));
        (1..9).for_each(|length| assert_eq!(read(length), whole, "cut every {length}"));
        whole
    }

    #[test]
    fn content_types_tell_the_framing() {
        assert_eq!(Framing::of("text/event-stream; charset=utf-8"), Some(Framing::Events));
        assert_eq!(Framing::of("Application/JSON"), Some(Framing::Json));
        assert_eq!(Framing::of("application/problem+json"), Some(Framing::Json));
        assert_eq!(Framing::of("application/x-ndjson"), Some(Framing::Lines));
        assert_eq!(Framing::of(""), Some(Framing::Json));
        assert_eq!(Framing::of("application/Stream+JSON"), Some(Framing::Lines));
        assert_eq!(Framing::of("TEXT/JSON "), Some(Framing::Json));
        assert_eq!(Framing::of("application/vnd.amazon.eventstream"), Some(Framing::AwsEvents));
        assert_eq!(Framing::of("audio/mpeg"), None);
        assert_eq!(Framing::of("json"), None);
    }

    #[test]
    fn events_are_read_line_by_line() {
        let body = b": hello\n\nevent: x\ndata: {\"model\":\"a\"}\n\ndata:{\"model\":\ndata: \"b\"}\n\ndatax: {\"model\":\"no\"}\r\n\
            data: {\"model\":\"c\"}\r\n\r\ndata: {\"mod\n\ndata: {\"model\":\"d\"}\n\ndata: [DONE]\n\n\
            id: data: {\"model\":\"no\"}\ndata: {\"model\":\"e\"}";
        assert_eq!(models(Framing::Events, body), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_broken_line_costs_itself() {
        assert_eq!(
            models(Framing::Lines, b"{\"model\":\"a\"}\n{\"model\":\n\nx\n{\"model\":\"b\"}"),
            ["a", "b"]
        );
    }

    fn aws(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let total = (12 + headers.len() + payload.len() + 4) as u32;
        let mut event = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes(), [9; 4]].concat();
        [headers, payload, &[7; 4]].iter().for_each(|part| event.extend_from_slice(part));
        event
    }

    #[test]
    fn aws_events_are_taken_apart() {
        let body = [
            aws(b"{\"model\":\"no\"}", b"{\"model\":\"a\"}"),
            aws(b"", b"{\"model\":\"b\"}"),
            aws(b"abc", b""),
            aws(b"", b""),
            aws(b"x", b"{\"model\":"),
            aws(b"x", b"{\"model\":\"c\"}"),
        ];
        assert_eq!(models(Framing::AwsEvents, &body.concat()), ["a", "b", "c"]);
        assert!(models(Framing::AwsEvents, &[0; 40]).is_empty(), "a length that cannot be");
    }
}
