//! The requests in what a server says over a WebSocket: it tells of each that it begins and that it has ended.
//!
//! In: the server's bytes after the handshake, cut anywhere. Out: each request that ended, with the words that its event told, and
//! how many are open. Guarantees: of an event only its kind, its status, the model's name and the token counts are kept; memory is
//! that of `frames` and `json::Reader`. Any bytes are taken: an event that is not understood costs itself, and where the WebSocket
//! itself is not understood the reading ends, and `Events::is_lost` says so.

use super::fields::{Fields, PathError, Want};
use super::frames::{Frames, Messages, Side};
use super::json::{Reader, Sink, Value};
use super::{BodyFields, Told};

/// Slots beside those of a body.
const KIND: u8 = 128;
const STATUS: u8 = 129;

/// What is listed of the events of one kind of WebSocket.
#[derive(Clone, Debug, Default)]
pub struct EventFields {
    body: BodyFields,
    begins: Vec<Box<[u8]>>,
    ends: Vec<Box<[u8]>>,
    statuses: Vec<Box<[u8]>>,
}

impl EventFields {
    /// Model and tokens, as in a body.
    pub fn body(&mut self) -> &mut BodyFields {
        &mut self.body
    }

    /// Places of an event's kind, and the kinds of events that tell that a request begins and has ended.
    ///
    /// # Errors
    /// A path is none.
    pub fn kinds(&mut self, paths: &[String], begins: &[String], ends: &[String]) -> Result<(), PathError> {
        (self.begins, self.ends) = (words(begins), words(ends));
        paths.iter().try_for_each(|path| self.fields().add(path, Want::Scalar(KIND)))
    }

    /// Places of the status of a request that has ended, and its words; later they are told by their number.
    ///
    /// # Errors
    /// A path is none.
    pub fn statuses(&mut self, paths: &[String], statuses: &[String]) -> Result<(), PathError> {
        self.statuses = words(statuses);
        paths.iter().try_for_each(|path| self.fields().add(path, Want::Scalar(STATUS)))
    }

    fn fields(&mut self) -> &mut Fields {
        &mut self.body.fields
    }
}

fn words(words: &[String]) -> Vec<Box<[u8]>> {
    words.iter().map(|word| word.as_bytes().into()).collect()
}

/// A request that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The number of its status in the list; `None` if it told another or none.
    pub status: Option<usize>,
    /// Its tokens, and the model that the session had named last.
    pub told: Told,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    Begins,
    Ends,
}

/// The event that is read.
#[derive(Debug)]
struct Event {
    fields: &'static EventFields,
    kind: Kind,
    status: Option<usize>,
    told: Told,
}

impl Sink for Event {
    fn value(&mut self, slot: u8, value: Value<'_>) {
        let is = |words: &[Box<[u8]>]| match value {
            Value::Text(text) => words.iter().position(|word| **word == *text),
            _ => None,
        };
        match slot {
            KIND if is(&self.fields.begins).is_some() => self.kind = Kind::Begins,
            KIND if is(&self.fields.ends).is_some() => self.kind = Kind::Ends,
            KIND => self.kind = Kind::Other,
            STATUS => self.status = is(&self.fields.statuses),
            _ => self.told.take(slot, value),
        }
    }

    fn encoded(&mut self, _: &[u8], _: bool) {}
}

/// Reads what one server says.
#[derive(Debug)]
pub struct Events {
    frames: Frames,
    reading: Reading,
}

#[derive(Debug)]
struct Reading {
    reader: Reader,
    event: Event,
    /// The name that the session told last.
    model: Option<Box<str>>,
    open: u64,
    ended: Vec<Ended>,
}

impl Events {
    /// From the end of the handshake; `is_deflated` if permessage-deflate was agreed on.
    pub fn new(fields: &'static EventFields, is_deflated: bool) -> Events {
        let event = Event { fields, kind: Kind::Other, status: None, told: Told::default() };
        let reading = Reading { reader: Reader::default(), event, model: None, open: 0, ended: Vec::new() };
        Events { frames: Frames::new(Side::Server(is_deflated)), reading }
    }

    /// Reads a piece; the requests that ended in it.
    pub fn read(&mut self, piece: &[u8]) -> Vec<Ended> {
        self.frames.read(piece, &mut self.reading);
        std::mem::take(&mut self.reading.ended)
    }

    /// Requests that began and have not ended.
    pub fn open(&self) -> u64 {
        self.reading.open
    }

    /// The name that the session told last.
    pub fn model(&self) -> Option<&str> {
        self.reading.model.as_deref()
    }

    /// What came is no WebSocket as it was agreed on, and the rest is not read.
    pub fn is_lost(&self) -> bool {
        self.frames.is_lost()
    }

    /// The server has said that it closes.
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }
}

impl Messages for Reading {
    fn text(&mut self, piece: &[u8]) {
        self.reader.read(piece, &self.event.fields.body.fields, &mut self.event);
    }

    fn text_ends(&mut self) {
        self.reader.finish(&self.event.fields.body.fields, &mut self.event);
        self.reader.reset();
        let event = &mut self.event;
        let (kind, status) = (std::mem::take(&mut event.kind), event.status.take());
        let mut told = std::mem::take(&mut event.told);
        if told.model.is_some() {
            self.model.clone_from(&told.model);
        }
        match kind {
            Kind::Other => {}
            Kind::Begins => self.open += 1,
            Kind::Ends => {
                self.open = self.open.saturating_sub(1);
                told.model.clone_from(&self.model);
                self.ended.push(Ended { status, told });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> &'static EventFields {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut fields = EventFields::default();
        fields.kinds(&texts(&["/type"]), &texts(&["begin"]), &texts(&["done", "failed"])).unwrap();
        fields.statuses(&texts(&["/response/status"]), &texts(&["bad", "good"])).unwrap();
        fields.body().model(&texts(&["/session/model"])).unwrap();
        fields.body().term(&texts(&["/response/usage/input"])).unwrap();
        Box::leak(Box::new(fields))
    }

    fn said(events: &[&str]) -> Vec<u8> {
        let frame = |text: &&str| [&[0x81, text.len() as u8], text.as_bytes()].concat();
        events.iter().flat_map(frame).collect()
    }

    /// What ended, as `model status tokens`, and what is open, however it is cut.
    fn told(bytes: &[u8]) -> (Vec<String>, u64) {
        let read = |length: usize| {
            let mut events = Events::new(fields(), false);
            let ended: Vec<Ended> = bytes.chunks(length).flat_map(|piece| events.read(piece)).collect();
            (ended, events.open(), events.is_lost(), events.model().map(str::to_owned))
        };
        let whole = read(usize::MAX);
        (1..bytes.len()).for_each(|length| assert_eq!(read(length), whole, "cut every {length}"));
        let text = |ended: &Ended| {
            let tokens = ended.told.sum([0]);
            format!("{} {:?} {tokens:?}", ended.told.model.as_deref().unwrap_or_default(), ended.status)
        };
        (whole.0.iter().map(text).collect(), whole.1)
    }

    #[test]
    fn each_request_that_ends_is_told_once() {
        let bytes = said(&[
            r#"{"type":"created","session":{"model":"a"}}"#,
            r#"{"type":"begin","response":{"status":"good","usage":null}}"#,
            r#"{"type":"delta","delta":"{\"type\":\"done\"}","x":{"type":"done"}}"#,
            r#"{"response":{"usage":{"input":7},"status":"good"},"type":"done"}"#,
            r#"{"type":"begin"}"#,
            r#"{"type":"begin"}"#,
            r#"{"type":"failed","response":{"status":"bad"},"session":{"model":"b"}}"#,
            r#"{"type":"done","response":{"status":"odd","usage":{"input":1}}}"#,
            r#"{"type":"done"}"#,
            r#"{"type":"begin"}"#,
        ]);
        let expected = ["a Some(1) Some(7)", "b Some(0) None", "b None Some(1)", "b None None"];
        assert_eq!(told(&bytes), (expected.map(str::to_owned).to_vec(), 1));
    }

    #[test]
    fn an_event_that_is_not_understood_costs_itself() {
        let bytes = said(&["no json", r#"{"type":"#, "[[", "", r#"{"type":7}"#, r#"{"type":"done"}"#]);
        assert_eq!(told(&bytes), (vec![" None None".to_owned()], 0));
    }
}
