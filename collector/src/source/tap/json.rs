//! Reads the fields of an allow-list from JSON that passes by in pieces, and keeps nothing else.
//!
//! In: pieces of any length, cut anywhere. Out: the scalar values at the listed paths, as they end. Arrays on the way to a listed
//! field are passed through (`[{"usage": ...}]` is read like `{"usage": ...}`); documents may follow one another.
//! Guarantees: only keys and values of listed places are ever copied, at most `LONGEST` bytes of one at a time; a longer value
//! is told as `TooLong`. Any bytes are taken: what is not JSON makes the reader wait for `reset`, never fail. Constant memory but
//! for that one buffer; linear, no recursion.
//! Not checked: whether skipped parts are valid JSON.

use memchr::memchr2;

/// Longest value that is kept, bytes: names over 256 are unknown to the register.
pub const LONGEST: usize = 256;
/// Most containers between a document and a listed field.
const MAX_DEPTH: usize = 8;
/// Longest key on a list.
const LONGEST_KEY: usize = 64;

/// Why a path is not taken.
#[derive(Debug, thiserror::Error)]
#[error("{0}: write a path such as /usage/prompt_tokens, of at most 7 steps and 64 bytes a step")]
pub struct PathError(String);

/// How the value at a place is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A string, number or literal, whole; of a container only that it is there.
    Scalar(u8),
    /// A string in pieces: it holds an encoded document.
    Encoded,
}

/// The listed paths, as a tree.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(Box<[u8]>, u16)>,
    want: Option<Want>,
}

const ROOT: u16 = 0;

impl Fields {
    /// Adds the place `path` (`/usage/prompt_tokens`).
    ///
    /// # Errors
    /// The path is none.
    pub fn add(&mut self, path: &str, want: Want) -> Result<(), PathError> {
        let wrong = || PathError(path.to_owned());
        let steps: Vec<&str> = path.strip_prefix('/').ok_or_else(wrong)?.split('/').collect();
        if steps.len() >= MAX_DEPTH || steps.iter().any(|step| step.is_empty() || step.len() > LONGEST_KEY) {
            return Err(wrong());
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = usize::from(ROOT);
        for step in steps {
            let known = self.nodes[node].children.iter().find(|(key, _)| **key == *step.as_bytes());
            node = match known {
                Some((_, child)) => usize::from(*child),
                None => {
                    let child = self.nodes.len();
                    let number = u16::try_from(child).map_err(|_| wrong())?;
                    self.nodes.push(Node::default());
                    self.nodes[node].children.push((step.as_bytes().into(), number));
                    child
                }
            };
        }
        self.nodes[node].want = Some(want);
        Ok(())
    }

    fn child(&self, node: u16, key: &[u8]) -> Option<u16> {
        let node = self.nodes.get(usize::from(node))?;
        node.children.iter().find(|(name, _)| **name == *key).map(|(_, child)| *child)
    }

    fn want(&self, node: u16) -> Option<Want> {
        self.nodes.get(usize::from(node)).and_then(|node| node.want)
    }

    fn has_children(&self, node: u16) -> bool {
        self.nodes.get(usize::from(node)).is_some_and(|node| !node.children.is_empty())
    }
}

/// A value at a listed place; `null` is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string, unescaped but for escapes that no name holds.
    Text(&'a [u8]),
    /// A number as it is written, `true` or `false`.
    Literal(&'a [u8]),
    /// An object or an array.
    Container,
    /// A string of more than `LONGEST` bytes.
    TooLong,
}

/// Takes what is found.
pub trait Sink {
    /// The value of a `Want::Scalar`.
    fn value(&mut self, slot: u8, value: Value<'_>);

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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Seen(Vec<(u8, String)>, Vec<u8>);

    impl Sink for Seen {
        fn value(&mut self, slot: u8, value: Value<'_>) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.0.push((
                slot,
                match value {
                    Value::Text(bytes) => format!("'{}'", text(bytes)),
                    Value::Literal(bytes) => text(bytes),
                    Value::Container => "container".to_owned(),
                    Value::TooLong => "too long".to_owned(),
                },
            ));
        }

        fn encoded(&mut self, piece: &[u8], is_last: bool) {
            self.1.extend_from_slice(piece);
            if is_last {
                self.1.push(b'.');
            }
        }
    }

    fn fields() -> Fields {
        let mut fields = Fields::default();
        let paths =
            [("/model", 0), ("/usage/input", 1), ("/usage/output", 2), ("/error", 3), ("/error/code", 4)];
        paths.iter().for_each(|(path, slot)| fields.add(path, Want::Scalar(*slot)).unwrap());
        fields.add("/bytes", Want::Encoded).unwrap();
        fields
    }

    fn read(pieces: &[&[u8]]) -> Seen {
        let (mut reader, fields, mut seen) = (Reader::default(), fields(), Seen::default());
        pieces.iter().for_each(|piece| reader.read(piece, &fields, &mut seen));
        reader.finish(&fields, &mut seen);
        seen
    }

    fn values(text: &str) -> Vec<(u8, String)> {
        read(&[text.as_bytes()]).0
    }

    #[test]
    fn listed_fields_are_told_and_nothing_else() {
        let told = values(
            r#"{"choices":[{"model":"no","x":"{\"model\":\"no\""}],"model":"gpt\/4 \"x\"","usage":{"input":12,"in":{"output":1},"output":3.0e1},"n":null}"#,
        );
        assert_eq!(told, [(0, "'gpt/4 \"x\"'".into()), (1, "12".into()), (2, "3.0e1".into())]);
    }

    #[test]
    fn arrays_on_the_way_are_passed_through_and_documents_follow_one_another() {
        assert_eq!(
            values(r#"[{"model":"a"},{"usage":[{"input":1}]}]"#),
            [(0, "'a'".into()), (1, "1".into())]
        );
        assert_eq!(values("{\"model\":\"a\"}\n{\"model\":\"b\"} {}[]7 {\"model\":\"c\"}").len(), 3);
    }

    #[test]
    fn null_is_not_told_and_containers_are() {
        assert_eq!(values(r#"{"error":null,"model":null}"#), []);
        let told = [(3, "container".into()), (4, "'x'".into())];
        assert_eq!(values(r#"{"error":{"message":"secret","code":"x"}}"#), told);
        assert_eq!(values(r#"{"error":"secret"}"#), [(3, "'secret'".into())]);
    }

    #[test]
    fn long_values_are_told_as_such() {
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(
            values(&format!(r#"{{"model":"{long}","usage":{{"input":1}}}}"#))[0],
            (0, "too long".into())
        );
        assert_eq!(values(&format!(r#"{{"{long}":{{"input":1}},"model":"a"}}"#)), [(0, "'a'".into())]);
    }

    #[test]
    fn encoded_strings_come_in_pieces() {
        assert_eq!(read(&[br#"{"bytes":"ab\/"#, br#"cd","model":"m"}"#]).1, b"ab/cd.");
    }

    #[test]
    fn what_is_no_json_waits_for_a_reset() {
        for text in
            ["[DONE]", "hello", "}", "{]", "{\"model\" \"x\"}", "{\"usage\":{\"input\":1]}", "\u{feff}{}"]
        {
            let (mut reader, fields, mut seen) = (Reader::default(), fields(), Seen::default());
            reader.read(text.as_bytes(), &fields, &mut seen);
            reader.read(b"{\"model\":\"lost\"}", &fields, &mut seen);
            reader.reset();
            reader.read(b"{\"model\":\"a\"}", &fields, &mut seen);
            assert_eq!(seen.0.last().unwrap().1, "'a'", "{text}");
            assert!(!seen.0.iter().any(|(_, value)| value == "'lost'"), "{text}: {seen:?}");
        }
    }

    #[test]
    fn faulty_paths_are_refused() {
        let mut fields = Fields::default();
        for path in ["", "model", "/", "/a//b", "/1/2/3/4/5/6/7/8"] {
            assert!(fields.add(path, Want::Scalar(0)).is_err(), "{path}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[ -~]{0,12}".prop_map(Into::into),
            "\\PC{0,4}".prop_map(Into::into),
        ];
        let key = prop_oneof![Just("model"), Just("usage"), Just("input"), Just("error"), Just("x")];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
                proptest::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same by a full parser.
    fn by_tree(value: &serde_json::Value, node: u16, fields: &Fields, told: &mut Vec<(u8, bool)>) {
        let slot = match fields.want(node) {
            Some(Want::Scalar(slot)) => Some(slot),
            _ => None,
        };
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::Array(values) => {
                told.extend(slot.map(|slot| (slot, true)));
                if fields.has_children(node) {
                    values.iter().for_each(|value| by_tree(value, node, fields, told));
                }
            }
            serde_json::Value::Object(map) => {
                told.extend(slot.map(|slot| (slot, true)));
                for (key, value) in map {
                    if let Some(child) = fields.child(node, key.as_bytes()) {
                        by_tree(value, child, fields, told);
                    }
                }
            }
            _ => told.extend(slot.map(|slot| (slot, false))),
        }
    }

    proptest! {
        #[test]
        fn a_full_parser_finds_the_same(value in json(), cuts in proptest::collection::vec(0usize..200, 0..6)) {
            let text = value.to_string().into_bytes();
            let whole = read(&[&text]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(&read(&pieces), &whole);
            let mut told = Vec::new();
            by_tree(&value, ROOT, &fields(), &mut told);
            let found: Vec<(u8, bool)> = whole.0.iter().map(|(slot, value)| (*slot, value == "container")).collect();
            prop_assert_eq!(found, told);
        }

        #[test]
        fn any_bytes_are_taken(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = read(&pieces);
        }
    }
}
