//! Exchanges that pass through the tap: what is picked out of a request and its answer while their bytes go by.
//!
//! In: pieces of a body as they go over the wire, in whatever encoding and framing, or of a form. Out: `Told`: the model, whether
//! a stream was asked for, token counts, whether an error was told, and nothing else; every other byte is passed over.
//! Guarantees: no piece is kept; memory is that of `json::Reader`, and of the decoder where a body is compressed. Any bytes are
//! taken: what is not understood tells nothing, and `Look::is_readable` says so; of a body that is too large the beginning tells.
//! Where it is cut changes nothing.

pub mod encoding;
pub mod events;
pub mod fields;
pub mod form;
pub mod frames;
pub mod framing;
pub mod json;
mod needles;

use std::io::{self, Write};

use data_encoding::BASE64;

use encoding::{Decoder, MAX_DECODED_BYTES};
use fields::{Fields, PathError, Want};
use form::Form;
use framing::{Documents, Framing};
use json::{Reader, Sink, Value};

/// Terms that a token count may be the sum of, input and output together.
pub const MAX_TERMS: usize = 8;
const MODEL: u8 = 0;
const STREAM: u8 = 1;
const ERROR: u8 = 2;
const MARK: u8 = 3;
const TERMS: u8 = 4;

/// What is listed of one kind of body.
#[derive(Clone, Debug, Default)]
pub struct BodyFields {
    fields: Fields,
    terms: u8,
    marks: Vec<Box<[u8]>>,
}

impl BodyFields {
    /// Places of the model's name.
    ///
    /// # Errors
    /// A path is none.
    pub fn model(&mut self, paths: &[String]) -> Result<(), PathError> {
        self.add(paths, MODEL)
    }

    /// Places of the flag that asks for a stream.
    ///
    /// # Errors
    /// A path is none.
    pub fn stream(&mut self, paths: &[String]) -> Result<(), PathError> {
        self.add(paths, STREAM)
    }

    /// Places that hold something only when the request failed.
    ///
    /// # Errors
    /// A path is none.
    pub fn error(&mut self, paths: &[String]) -> Result<(), PathError> {
        self.add(paths, ERROR)
    }

    /// Places where one of `words` says that this was no inference.
    ///
    /// # Errors
    /// A path is none.
    pub fn mark(&mut self, paths: &[String], words: &[String]) -> Result<(), PathError> {
        self.marks = words.iter().map(|word| word.as_bytes().into()).collect();
        self.add(paths, MARK)
    }

    /// Places of strings that hold further documents in base64.
    ///
    /// # Errors
    /// A path is none.
    pub fn encoded(&mut self, paths: &[String]) -> Result<(), PathError> {
        paths.iter().try_for_each(|path| self.fields.add(path, Want::Encoded))
    }

    /// Places of one count of tokens, and the number of that term; `None` if there is no room for another.
    ///
    /// # Errors
    /// A path is none.
    pub fn term(&mut self, paths: &[String]) -> Result<Option<u8>, PathError> {
        if usize::from(self.terms) == MAX_TERMS {
            return Ok(None);
        }
        self.add(paths, TERMS + self.terms)?;
        self.terms += 1;
        Ok(Some(self.terms - 1))
    }

    fn add(&mut self, paths: &[String], slot: u8) -> Result<(), PathError> {
        paths.iter().try_for_each(|path| self.fields.add(path, Want::Scalar(slot)))
    }
}

/// What a body told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The last name of a model; empty if its name is longer than any in the register.
    pub model: Option<Box<str>>,
    /// Whether a stream was asked for.
    pub stream: Option<bool>,
    /// An error was told.
    pub is_error: bool,
    /// It said that this was no inference.
    pub is_marked: bool,
    terms: [Option<u64>; MAX_TERMS],
}

impl Told {
    /// The sum of these terms; `None` if none of them was told. Streams repeat their counts as they grow, so the largest of
    /// each term is taken.
    pub fn sum(&self, terms: impl IntoIterator<Item = u8>) -> Option<u64> {
        let told = terms.into_iter().filter_map(|term| self.terms.get(usize::from(term)).copied().flatten());
        told.fold(None, |sum, count| Some(sum.unwrap_or(0u64).saturating_add(count)))
    }

    fn take(&mut self, slot: u8, value: Value<'_>) {
        match (slot, value) {
            (MODEL, Value::Text(name) | Value::Plain(name)) if !name.is_empty() => {
                self.model = Some(std::str::from_utf8(name).unwrap_or_default().into());
            }
            (MODEL, Value::TooLong) => self.model = Some("".into()),
            (STREAM, Value::Literal(flag)) => self.stream = Some(flag == b"true"),
            // Servers take all of these for a flag in a form.
            (STREAM, Value::Plain(flag)) => {
                self.stream = Some(flag == b"1" || flag.eq_ignore_ascii_case(b"true"));
            }
            (ERROR, Value::Literal(b"false") | Value::Text(b"")) => {}
            (ERROR, _) => self.is_error = true,
            (TERMS.., Value::Literal(number)) => {
                if let (Some(term), Some(count)) =
                    (self.terms.get_mut(usize::from(slot - TERMS)), count(number))
                {
                    *term = (*term).max(Some(count));
                }
            }
            _ => {}
        }
    }
}

/// Takes values and looks into encoded documents.
#[derive(Debug)]
struct Picked {
    told: Told,
    body: &'static BodyFields,
    inner: Option<Box<Inner>>,
    /// What is read now stands in an encoded document: none is looked for in it.
    is_inside: bool,
}

/// A document inside a base64 string.
#[derive(Debug, Default)]
struct Inner {
    reader: Reader,
    /// Letters that are not yet a whole block of four.
    carried: Vec<u8>,
    /// It was no base64: the rest of it is not read.
    is_lost: bool,
}

/// Letters of base64 that are decoded at once.
const BASE64_LETTERS: usize = 1_024;

impl Sink for Picked {
    fn value(&mut self, slot: u8, value: Value<'_>) {
        match (slot, value) {
            (MARK, Value::Text(word)) => {
                self.told.is_marked |= self.body.marks.iter().any(|mark| **mark == *word);
            }
            _ => self.told.take(slot, value),
        }
    }

    fn is_known(&self, slot: u8, text: &[u8]) -> bool {
        slot == MODEL
            && !text.is_empty()
            && self.told.model.as_deref().is_some_and(|known| known.as_bytes() == text)
    }

    fn encoded_begins(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reader.reset();
            inner.carried.clear();
            inner.is_lost = false;
        }
    }

    fn encoded(&mut self, mut piece: &[u8], is_last: bool) {
        if self.is_inside {
            return;
        }
        self.is_inside = true;
        let mut inner = self.inner.take().unwrap_or_default();
        let mut room = [0; BASE64_LETTERS / 4 * 3];
        while !piece.is_empty() && !inner.is_lost {
            let (mine, rest) = piece.split_at(piece.len().min(BASE64_LETTERS - inner.carried.len()));
            inner.carried.extend_from_slice(mine);
            piece = rest;
            let whole = inner.carried.len() / 4 * 4;
            let decoded = BASE64.decode_mut(&inner.carried[..whole], &mut room[..whole / 4 * 3]);
            inner.carried.drain(..whole);
            // Of what is no base64 the blocks before the first wrong one are read, however many came together.
            inner.is_lost = decoded.is_err();
            let length = decoded.unwrap_or_else(|partial| partial.written);
            inner.reader.read(&room[..length], &self.body.fields, self);
        }
        if is_last {
            inner.reader.finish(&self.body.fields, self);
        }
        self.inner = Some(inner);
        self.is_inside = false;
    }
}

/// A whole count below 2^53; servers write it as an integer, some as a float.
fn count(number: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(number).ok()?;
    crate::source::attributes::whole_float(text.parse().ok()?).ok()
}

/// What reads a body.
#[derive(Debug)]
enum Reading {
    Documents(Documents),
    Form(Box<Form>),
}

impl Reading {
    fn of(content_type: &str) -> Option<Reading> {
        let documents = || Some(Reading::Documents(Documents::new(Framing::of(content_type)?)));
        Form::new(content_type).map(Box::new).map(Reading::Form).or_else(documents)
    }
}

/// Where the decoder writes to.
#[derive(Debug)]
struct Looked {
    reading: Reading,
    picked: Picked,
    seen: u64,
}

impl Write for Looked {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.seen += piece.len() as u64;
        if self.seen > MAX_DECODED_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let fields = &self.picked.body.fields;
        match &mut self.reading {
            Reading::Documents(documents) => documents.read(piece, fields, &mut self.picked),
            Reading::Form(form) => form.read(piece, fields, &mut self.picked),
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A look at one body as it passes.
pub struct Look {
    decoder: Option<Decoder<Looked>>,
    is_readable: bool,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("is_readable", &self.is_readable).finish_non_exhaustive()
    }
}

impl Look {
    /// At a body with these headers, of which `body` is listed.
    pub fn new(body: &'static BodyFields, content_type: &str, content_encoding: &str) -> Look {
        let decoder = Reading::of(content_type).and_then(|reading| {
            let picked = Picked { told: Told::default(), body, inner: None, is_inside: false };
            let looked = Looked { reading, picked, seen: 0 };
            Decoder::new(content_encoding, looked).ok()
        });
        Look { is_readable: decoder.is_some(), decoder }
    }

    /// Looks at the next piece.
    pub fn read(&mut self, piece: &[u8]) {
        if self.is_readable
            && let Some(decoder) = &mut self.decoder
        {
            self.is_readable = decoder.write(piece).is_ok();
        }
    }

    /// What the body told, and whether it could be read.
    pub fn finish(mut self) -> (Told, bool) {
        let Some(looked) = self.decoder.as_mut().map(Decoder::get_mut) else {
            return (Told::default(), false);
        };
        // How much comes out of a body that does not decompress depends on how it was cut, so nothing of it is told.
        if !self.is_readable && looked.seen <= MAX_DECODED_BYTES {
            return (Told::default(), false);
        }
        if let Reading::Documents(documents) = &mut looked.reading {
            documents.finish(&looked.picked.body.fields, &mut looked.picked);
        }
        (std::mem::take(&mut looked.picked.told), self.is_readable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> &'static BodyFields {
        let paths = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut body = BodyFields::default();
        body.model(&paths(&["/model", "/message/model"])).unwrap();
        body.stream(&paths(&["/stream"])).unwrap();
        body.error(&paths(&["/error"])).unwrap();
        body.mark(&paths(&["/done_reason"]), &paths(&["load"])).unwrap();
        body.encoded(&paths(&["/bytes"])).unwrap();
        assert_eq!(body.term(&paths(&["/usage/input", "/message/usage/input"])).unwrap(), Some(0));
        assert_eq!(body.term(&paths(&["/usage/cached"])).unwrap(), Some(1));
        assert_eq!(body.term(&paths(&["/usage/output"])).unwrap(), Some(2));
        Box::leak(Box::new(body))
    }

    fn told(content_type: &str, text: &[u8]) -> Told {
        let read = |cut: usize| {
            let mut look = Look::new(body(), content_type, "");
            text.chunks(cut).for_each(|piece| look.read(piece));
            look.finish().0
        };
        let whole = read(text.len().max(1));
        (1..7).for_each(|cut| assert_eq!(read(cut), whole));
        whole
    }

    #[test]
    fn counts_grow_with_a_stream_and_terms_add_up() {
        let stream = b"data: {\"message\":{\"model\":\"claude\",\"usage\":{\"input\":7}}}\n\n\
            data: {\"usage\":{\"output\":1,\"cached\":5}}\n\ndata: {\"usage\":{\"output\":9}}\n\ndata: {\"usage\":{\"output\":null}}\n\n";
        let told = told("text/event-stream", stream);
        assert_eq!(told.model.as_deref(), Some("claude"));
        assert_eq!((told.sum([0, 1]), told.sum([2]), told.sum([3])), (Some(12), Some(9), None));
    }

    #[test]
    fn flags_errors_and_marks() {
        assert_eq!(told("application/json", b"{\"stream\":true}").stream, Some(true));
        assert_eq!(told("application/json", b"{\"stream\":false,\"error\":null}").stream, Some(false));
        assert!(told("application/json", b"{\"error\":{\"message\":\"x\"}}").is_error);
        assert!(!told("application/json", b"{\"error\":null}").is_error);
        assert!(told("application/json", b"{\"done_reason\":\"load\"}").is_marked);
        assert!(!told("application/json", b"{\"done_reason\":\"stop\"}").is_marked);
    }

    #[test]
    fn documents_in_base64_are_read_through() {
        let inner = [
            BASE64.encode(b"{\"model\":\"titan\"}"),
            BASE64.encode(b"{\"usage\":{\"input\":3,\"output\":14}}"),
        ];
        let text = inner.map(|inner| format!("{{\"bytes\":\"{inner}\",\"p\":\"abc\"}}")).join("\n");
        let told = told("application/json", text.as_bytes());
        assert_eq!((told.model.as_deref(), told.sum([0]), told.sum([2])), (Some("titan"), Some(3), Some(14)));
    }

    #[test]
    fn what_cannot_be_counted_tells_nothing() {
        for number in ["-1", "1.5", "9007199254740992", "\"12\"", "1e400", "true"] {
            let text = format!("{{\"usage\":{{\"input\":{number}}}}}");
            assert_eq!(told("application/json", text.as_bytes()).sum([0]), None, "{number}");
        }
        assert_eq!(told("application/json", b"{\"usage\":{\"input\":1.2e1}}").sum([0]), Some(12));
    }

    #[test]
    fn what_is_unreadable_is_said() {
        assert!(!Look::new(body(), "image/png", "").finish().1);
        assert!(!Look::new(body(), "multipart/form-data", "").finish().1);
        assert!(!Look::new(body(), "application/json", "compress").finish().1);
        let mut look = Look::new(body(), "application/json", "gzip");
        look.read(b"no gzip at all");
        assert!(!look.finish().1);
    }
}
