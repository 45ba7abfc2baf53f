//! Reads the fields of an allow-list from JSON that passes by in pieces, and keeps nothing else.
//!
//! In: pieces of any length, cut anywhere. Out: the scalar values at the listed paths, as they end. Arrays on the way to a listed
//! field are passed through (`[{"usage": ...}]` is read like `{"usage": ...}`); documents may follow one another.
//! Guarantees: only keys and values of listed places are ever copied, at most `LONGEST` bytes of one at a time; a longer value
//! is told as `TooLong`. Any bytes are taken: what is not JSON makes the reader wait for `reset`, never fail. Constant memory but
//! for that one buffer; linear, no recursion.
//! Not checked: whether skipped parts are valid JSON.

use memchr::memchr2;

use super::fields::{Fields, LONGEST_KEY, MAX_DEPTH, ROOT, Want};

/// Longest value that is kept, bytes: names over 256 are unknown to the register.
pub const LONGEST: usize = 256;

/// A value at a listed place; `null` is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string, unescaped but for escapes that no name holds.
    Text(&'a [u8]),
    /// A number as it is written, `true` or `false`.
    Literal(&'a [u8]),
    /// A part of a form: text that may stand for anything.
    Plain(&'a [u8]),
    /// An object or an array.
    Container,
    /// A string of more than `LONGEST` bytes.
    TooLong,
}

/// Takes what is found.
pub trait Sink {
    /// The value of a `Want::Scalar`.
    fn value(&mut self, slot: u8, value: Value<'_>);

    /// Telling this text at a place of this slot would change nothing.
    fn is_known(&self, _slot: u8, _text: &[u8]) -> bool {
        false
    }

    /// A string of a `Want::Encoded` begins; the one before may have been broken off.
    fn encoded_begins(&mut self) {}

    /// A piece of a `Want::Encoded`; the last one of a string says so.
    fn encoded(&mut self, piece: &[u8], is_last: bool);
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a value, or between documents.
    Value,
    /// In an object, before a key.
    Key,
    KeyText,
    KeyEscape,
    Colon,
    Text,
    TextEscape,
    /// In `\uXXXX`: so many digits are still to come.
    TextUnicode(u8),
    Literal,
    Encoded,
    EncodedEscape,
    SkippedText,
    SkippedEscape,
    SkippedLiteral,
    /// In a container that holds nothing listed.
    Skipped,
    /// The same, in one of its strings.
    SkippedInner,
    SkippedInnerEscape,
    /// After a value in a container.
    After,
    /// Not JSON.
    Lost,
}

/// An open container on the way to a listed field.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    node: u16,
    is_object: bool,
}

/// Reads one stream of documents.
#[derive(Debug)]
pub struct Reader {
    state: State,
    depth: u8,
    open: [Open; MAX_DEPTH],
    /// Containers open inside a skipped one.
    skipped: u32,
    /// The place of the value that comes next or is being read.
    place: Option<u16>,
    text: Vec<u8>,
    is_too_long: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            state: State::Value,
            depth: 0,
            open: [Open::default(); MAX_DEPTH],
            skipped: 0,
            place: Some(ROOT),
            text: Vec::new(),
            is_too_long: false,
        }
    }
}

impl Reader {
    /// No document has begun.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Value && self.depth == 0
    }

    /// Forgets an unfinished document: the next byte begins a new one.
    pub fn reset(&mut self) {
        (self.state, self.depth, self.skipped, self.place) = (State::Value, 0, 0, Some(ROOT));
        self.text.clear();
    }

    /// The document ends here: a number without anything after it is complete.
    pub fn finish(&mut self, fields: &Fields, sink: &mut impl Sink) {
        if self.state == State::Literal {
            self.end_literal(fields, sink);
        }
    }

    /// Reads a piece.
    pub fn read(&mut self, mut piece: &[u8], fields: &Fields, sink: &mut impl Sink) {
        while let Some((byte, rest)) = piece.split_first() {
            match self.state {
                State::Lost => return,
                State::SkippedText => piece = self.skip_text(piece, State::SkippedEscape, State::After),
                State::SkippedInner => {
                    piece = self.skip_text(piece, State::SkippedInnerEscape, State::Skipped);
                }
                State::SkippedEscape => (self.state, piece) = (State::SkippedText, rest),
                State::SkippedInnerEscape => (self.state, piece) = (State::SkippedInner, rest),
                State::Skipped => piece = self.skip_container(piece),
                State::Text => piece = self.read_text(piece, fields, sink),
                State::KeyText => piece = self.read_key(piece, fields),
                State::Encoded => piece = self.read_encoded(piece, sink),
                State::EncodedEscape => {
                    // `\/` is all that an encoder writes in base64.
                    sink.encoded(&piece[..1], false);
                    (self.state, piece) = (State::Encoded, rest);
                }
                // What a number ends at belongs to what is around it.
                State::Literal if is_end_of_literal(*byte) => self.end_literal(fields, sink),
                State::SkippedLiteral if is_end_of_literal(*byte) => self.state = State::After,
                _ => {
                    self.step(*byte, fields, sink);
                    piece = rest;
                }
            }
            self.between_documents();
        }
    }

    /// After the outermost value another document may begin.
    fn between_documents(&mut self) {
        if self.state == State::After && self.depth == 0 {
            (self.state, self.place) = (State::Value, Some(ROOT));
        }
    }

    fn step(&mut self, byte: u8, fields: &Fields, sink: &mut impl Sink) {
        match (self.state, byte) {
            (State::Value | State::Key | State::Colon | State::After, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Value, _) => self.begin_value(byte, fields, sink),
            (State::Key, b'"') => {
                self.begin_text();
                self.state = State::KeyText;
            }
            (State::KeyEscape, _) => {
                // No listed key holds an escape.
                self.is_too_long = true;
                self.state = State::KeyText;
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::TextEscape, _) => self.escape(byte),
            (State::TextUnicode(left), _) => {
                self.state = if left > 1 { State::TextUnicode(left - 1) } else { State::Text };
            }
            (State::Literal, _) => self.keep(&[byte]),
            (State::SkippedLiteral, _) => {}
            (State::After, b',') => self.next_value(),
            (State::Key | State::After, b'}' | b']') => self.close(byte),
            _ => self.state = State::Lost,
        }
    }

    fn begin_value(&mut self, byte: u8, fields: &Fields, sink: &mut impl Sink) {
        let want = self.place.and_then(|place| fields.want(place));
        match byte {
            b'{' | b'[' => self.open(byte == b'{', want, fields, sink),
            b'"' => {
                self.begin_text();
                self.state = match want {
                    Some(Want::Scalar(_)) => State::Text,
                    Some(Want::Encoded) => {
                        sink.encoded_begins();
                        State::Encoded
                    }
                    None => State::SkippedText,
                };
            }
            b'}' | b']' => self.close(byte),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.begin_text();
                if matches!(want, Some(Want::Scalar(_))) {
                    self.keep(&[byte]);
                    self.state = State::Literal;
                } else {
                    self.state = State::SkippedLiteral;
                }
            }
            _ => self.state = State::Lost,
        }
    }

    fn open(&mut self, is_object: bool, want: Option<Want>, fields: &Fields, sink: &mut impl Sink) {
        if let Some(Want::Scalar(slot)) = want {
            sink.value(slot, Value::Container);
        }
        match self.place {
            Some(node) if fields.has_children(node) && usize::from(self.depth) < MAX_DEPTH => {
                self.open[usize::from(self.depth)] = Open { node, is_object };
                self.depth += 1;
                self.state = if is_object { State::Key } else { State::Value };
            }
            _ => (self.state, self.skipped) = (State::Skipped, 1),
        }
    }

    fn close(&mut self, byte: u8) {
        match self.top() {
            Some(open) if open.is_object == (byte == b'}') => {
                self.depth -= 1;
                self.state = State::After;
            }
            _ => self.state = State::Lost,
        }
    }

    fn next_value(&mut self) {
        match self.top() {
            Some(Open { is_object: true, .. }) => self.state = State::Key,
            Some(Open { node, .. }) => (self.state, self.place) = (State::Value, Some(node)),
            None => self.state = State::Lost,
        }
    }

    fn top(&self) -> Option<Open> {
        self.open.get(usize::from(self.depth.checked_sub(1)?)).copied()
    }

    fn begin_text(&mut self) {
        self.text.clear();
        self.is_too_long = false;
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.text.len() + bytes.len() > LONGEST {
            self.is_too_long = true;
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn escape(&mut self, byte: u8) {
        self.state = State::Text;
        match byte {
            b'"' | b'\\' | b'/' => self.keep(&[byte]),
            b'u' => {
                // No name in the register holds such a letter; what is kept in its place makes it unknown.
                self.keep(b"?");
                self.state = State::TextUnicode(4);
            }
            _ => self.keep(b"?"),
        }
    }

    fn read_text<'a>(&mut self, piece: &'a [u8], fields: &Fields, sink: &mut impl Sink) -> &'a [u8] {
        let end = memchr2(b'"', b'\\', piece).unwrap_or(piece.len());
        let (text, rest) = piece.split_at(end);
        self.keep(text);
        let Some((byte, rest)) = rest.split_first() else { return rest };
        if *byte == b'\\' {
            self.state = State::TextEscape;
            return rest;
        }
        if let Some(Want::Scalar(slot)) = self.place.and_then(|place| fields.want(place)) {
            sink.value(slot, if self.is_too_long { Value::TooLong } else { Value::Text(&self.text) });
        }
        self.state = State::After;
        rest
    }

    fn read_key<'a>(&mut self, piece: &'a [u8], fields: &Fields) -> &'a [u8] {
        let end = memchr2(b'"', b'\\', piece).unwrap_or(piece.len());
        let (text, rest) = piece.split_at(end);
        if self.text.len() + text.len() > LONGEST_KEY {
            self.is_too_long = true;
        } else {
            self.text.extend_from_slice(text);
        }
        let Some((byte, rest)) = rest.split_first() else { return rest };
        if *byte == b'\\' {
            self.state = State::KeyEscape;
            return rest;
        }
        let node = self.top().map(|open| open.node).filter(|_| !self.is_too_long);
        self.place = node.and_then(|node| fields.child(node, &self.text));
        self.state = State::Colon;
        rest
    }

    fn read_encoded<'a>(&mut self, piece: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let end = memchr2(b'"', b'\\', piece).unwrap_or(piece.len());
        let (text, rest) = piece.split_at(end);
        let next = rest.split_first();
        sink.encoded(text, next.is_some_and(|(byte, _)| *byte == b'"'));
        let Some((byte, rest)) = next else { return rest };
        self.state = if *byte == b'\\' { State::EncodedEscape } else { State::After };
        rest
    }

    fn end_literal(&mut self, fields: &Fields, sink: &mut impl Sink) {
        let want = self.place.and_then(|place| fields.want(place));
        if let (Some(Want::Scalar(slot)), false, true) = (want, self.is_too_long, self.text != b"null") {
            sink.value(slot, Value::Literal(&self.text));
        }
        self.state = State::After;
    }

    fn skip_text<'a>(&mut self, piece: &'a [u8], escape: State, after: State) -> &'a [u8] {
        let Some(end) = memchr2(b'"', b'\\', piece) else { return &[] };
        self.state = if piece[end] == b'"' { after } else { escape };
        &piece[end + 1..]
    }

    fn skip_container<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        for (place, byte) in piece.iter().enumerate() {
            match byte {
                b'"' => {
                    self.state = State::SkippedInner;
                    return &piece[place + 1..];
                }
                b'{' | b'[' => self.skipped = self.skipped.saturating_add(1),
                b'}' | b']' => {
                    self.skipped -= 1;
                    if self.skipped == 0 {
                        self.state = State::After;
                        return &piece[place + 1..];
                    }
                }
                _ => {}
            }
        }
        &[]
    }
}

fn is_end_of_literal(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests;
