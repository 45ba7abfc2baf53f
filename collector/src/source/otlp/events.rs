//! Events of a span, read only when a profile asks: their names, and the class of an exception.
//!
//! Field numbers: Span 11 events; Event 2 name, 3 attributes. The message, the stack trace and every other attribute of an
//! event are passed over. An event that cannot be read tells nothing; the span still counts.

use serde_json::value::RawValue;

use crate::source::protobuf::{Fields, Value, WireError};

/// The one attribute of an event that is read.
pub(super) const EXCEPTION_TYPE: &str = "exception.type";

/// The events of one span, not read yet.
#[derive(Clone, Copy, Debug, Default)]
pub enum Events<'a> {
    /// There are none, or nobody reads them.
    #[default]
    None,
    /// The span as protobuf.
    Wire(&'a [u8]),
    /// The events as JSON.
    Json(&'a [&'a RawValue]),
}

impl Events<'_> {
    /// Hands the name of every event, with the class of the exception in it, to `each`, in order.
    pub fn read(&self, mut each: impl FnMut(&[u8], &str)) {
        match self {
            Events::None => {}
            Events::Wire(span) => {
                // What cannot be read ends the list.
                let _ = read_wire(span, &mut each);
            }
            Events::Json(events) => events.iter().for_each(|event| super::json::read_event(event, &mut each)),
        }
    }
}

fn read_wire(span: &[u8], each: &mut impl FnMut(&[u8], &str)) -> Result<(), WireError> {
    let mut fields = Fields::of(span);
    while let Some((field, value)) = fields.next_field()? {
        if field != 11 {
            continue;
        }
        let (mut name, mut class): (&[u8], &str) = (b"", "");
        let mut event = Fields::of(value.bytes()?);
        while let Some((field, value)) = event.next_field()? {
            match field {
                2 => name = value.bytes()?,
                3 => class = exception_type(value.bytes()?)?.unwrap_or(class),
                _ => {}
            }
        }
        each(name, class);
    }
    Ok(())
}

/// The text of a `KeyValue` if it is the class of an exception.
fn exception_type(key_value: &[u8]) -> Result<Option<&str>, WireError> {
    let (mut key, mut text): (&[u8], Option<&[u8]>) = (b"", None);
    let mut fields = Fields::of(key_value);
    while let Some((field, value)) = fields.next_field()? {
        match field {
            1 => key = value.bytes()?,
            2 if key == EXCEPTION_TYPE.as_bytes() => {
                let mut any_value = Fields::of(value.bytes()?);
                while let Some((field, value)) = any_value.next_field()? {
                    if let (1, Value::Bytes(bytes)) = (field, value) {
                        text = Some(bytes);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(text.and_then(|bytes| std::str::from_utf8(bytes).ok()))
}
