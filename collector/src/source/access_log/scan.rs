//! The walk over one line along the allow-list.

use super::bytes::next_special;
use super::fields::{Fields, Node, Point};
use super::record::{Record, Saved, Value};
use super::shape::{Draft, Shapes};
use super::text::{MAX_DEPTH, Text, Written};
use crate::discard::Refusal;

/// Reads the lines of one log.
#[derive(Debug)]
pub struct Scanner<'f> {
    fields: &'f Fields,
    shapes: Shapes<'f>,
}

impl<'f> Scanner<'f> {
    /// One that keeps `fields`.
    pub fn new(fields: &'f Fields) -> Scanner<'f> {
        Scanner { fields, shapes: Shapes::default() }
    }

    /// Reads the allow-listed fields of `line`, one JSON object, into `record`, which is cleared before.
    ///
    /// # Errors
    /// `Refusal::Malformed` when the line is cut or is not one JSON object.
    #[inline]
    pub fn scan<'a>(&mut self, line: &'a [u8], record: &mut Record<'a>) -> Result<(), Refusal> {
        record.clear();
        if self.shapes.replay(line, record) {
            return Ok(());
        }
        self.walk(line, record)
    }

    #[inline(never)]
    fn walk<'a>(&mut self, line: &'a [u8], record: &mut Record<'a>) -> Result<(), Refusal> {
        record.clear();
        let mut walk = Walk { record, draft: self.shapes.draft() };
        let text = Text::<false>(line);
        let end = object(text, text.spaces(0), 0, &self.fields.root, &mut walk);
        if end.is_none_or(|end| text.spaces(end) != line.len()) {
            return Err(Refusal::Malformed);
        }
        self.shapes.learn(line);
        Ok(())
    }
}

/// Keeps a text that came apart from its line, such as an attribute, and reads the document in it if one is wanted.
pub(crate) fn scan_text<'a>(text: &'a [u8], point: &Point, record: &mut Record<'a>) {
    point.set(record, Value::Text(text));
    if let Some(node) = &point.json {
        scan_document(text, node, record);
    }
}

/// Reads `text` if it is a JSON object. A document that cannot be read tells nothing.
pub(crate) fn scan_document<'a>(text: &'a [u8], node: &Node, record: &mut Record<'a>) {
    let before = record.clone();
    let text = Text::<false>(text);
    let mut walk = Walk { record, draft: &mut Draft::off() };
    if object(text, text.spaces(0), 0, node, &mut walk).is_none() {
        *record = before;
    }
}

/// Length of the JSON value at the start of `bytes`; `None` if it is cut or not JSON.
pub(super) fn value_length(bytes: &[u8]) -> Option<usize> {
    Text::<false>(bytes).skip_value(0, 0)
}

/// Where a walk puts what it finds, and notes how the line is made.
struct Walk<'w, 'a, 'f> {
    record: &'w mut Record<'a>,
    draft: &'w mut Draft<'f>,
}

/// An object whose fields are wanted as `node` says.
fn object<'a, 'f, const INNER: bool>(
    text: Text<'a, INNER>,
    at: usize,
    depth: u32,
    node: &'f Node,
    walk: &mut Walk<'_, 'a, 'f>,
) -> Option<usize> {
    if depth >= MAX_DEPTH {
        return None;
    }
    let mut at = text.spaces(text.expect(at, b'{')?);
    if text.byte(at)? == b'}' {
        return Some(at + 1);
    }
    loop {
        let key = text.string(at)?;
        at = text.spaces(text.expect(text.spaces(key.after), b':')?);
        at = match node.get_in(text.0, key.start, key.end) {
            None => unwanted(text, at, depth + 1, walk)?,
            Some(point) => value(text, at, depth + 1, point, walk)?,
        };
        at = text.spaces(at);
        match text.byte(at)? {
            b',' => at = text.spaces(at + 1),
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

fn unwanted<'f, const INNER: bool>(
    text: Text<'_, INNER>,
    at: usize,
    depth: u32,
    walk: &mut Walk<'_, '_, 'f>,
) -> Option<usize> {
    let after = text.skip_value(at, depth)?;
    walk.draft.value(at..after, INNER, depth, None);
    Some(after)
}

/// A value of which something is wanted.
fn value<'a, 'f, const INNER: bool>(
    text: Text<'a, INNER>,
    at: usize,
    depth: u32,
    point: &'f Point,
    walk: &mut Walk<'_, 'a, 'f>,
) -> Option<usize> {
    let after = match text.byte(at)? {
        b'"' | b'\\' => match &point.json {
            Some(node) if !INNER => return document(text, at, point, node, walk),
            _ => {
                let written = text.string(at)?;
                set_string(text, written, point, walk.record)?;
                written.after
            }
        },
        b'{' => {
            return match &point.object {
                Some(node) => object(text, at, depth, node, walk),
                None => {
                    walk.draft.give_up();
                    text.skip_value(at, depth)
                }
            };
        }
        b'[' => return array(text, at, depth, point, walk),
        _ => {
            let after = text.token(at)?;
            point.set(walk.record, word(text.0.get(at..after)?)?);
            after
        }
    };
    walk.draft.value(at..after, INNER, depth, Some(point));
    Some(after)
}

fn set_string<'a, const INNER: bool>(
    text: Text<'a, INNER>,
    written: Written,
    point: &Point,
    record: &mut Record<'a>,
) -> Option<()> {
    let raw = text.0.get(written.start..written.end)?;
    let value = if written.has_escapes { Value::Escaped(raw, levels(text)) } else { Value::Text(raw) };
    point.set(record, value);
    Some(())
}

/// How often a string of `text` is escaped.
pub(super) fn levels<const INNER: bool>(_: Text<'_, INNER>) -> u8 {
    if INNER { 2 } else { 1 }
}

/// A value that is wanted and neither a string nor has fields or elements.
pub(super) fn word(raw: &[u8]) -> Option<Value<'_>> {
    match raw {
        [b'-' | b'0'..=b'9', ..] => Some(Value::Number(raw)),
        b"true" => Some(Value::Bool(true)),
        b"false" => Some(Value::Bool(false)),
        b"null" => Some(Value::None),
        _ => None,
    }
}

/// A string with a document that is wanted. One that cannot be read tells nothing; the line still counts.
fn document<'a, 'f, const INNER: bool>(
    text: Text<'a, INNER>,
    at: usize,
    point: &'f Point,
    node: &'f Node,
    walk: &mut Walk<'_, 'a, 'f>,
) -> Option<usize> {
    let start = text.expect(at, b'"')?;
    let (inner, mut before) = (Text::<true>(text.0), Saved::new());
    walk.record.save(point.roles, &mut before);
    let read = object(inner, inner.spaces(start), 0, node, walk);
    if read.is_none() {
        walk.record.restore(&before);
    }
    if read.is_none() || point.has_slot() {
        walk.draft.give_up();
    }
    // A document that was read ends before the bare quote that ends the string, and not inside an escape.
    let first = next_special(text.0, start)?;
    let written = if text.byte(first)? == b'"' {
        Written { start, end: first, after: first + 1, has_escapes: false }
    } else {
        text.string_with_escapes(start, next_special(text.0, read.unwrap_or(first))?)?
    };
    set_string(text, written, point, walk.record)?;
    Some(written.after)
}

/// An array of which the last element or the length is wanted.
fn array<'a, 'f, const INNER: bool>(
    text: Text<'a, INNER>,
    at: usize,
    depth: u32,
    point: &'f Point,
    walk: &mut Walk<'_, 'a, 'f>,
) -> Option<usize> {
    if point.last.is_none() && point.length.is_empty() {
        walk.draft.give_up();
        return text.skip_value(at, depth);
    }
    if depth >= MAX_DEPTH {
        return None;
    }
    let mut at = text.spaces(text.expect(at, b'[')?);
    let (mut length, mut last_at) = (0, None);
    let mark = walk.draft.mark();
    if text.byte(at)? == b']' {
        at += 1;
    } else {
        loop {
            (length, last_at) = (length + 1, Some(at));
            at = text.spaces(unwanted(text, at, depth + 1, walk)?);
            match text.byte(at)? {
                b',' => at = text.spaces(at + 1),
                b']' => break,
                _ => return None,
            }
        }
        at += 1;
    }
    for slot in &point.length {
        walk.record.set(*slot, Value::Int(length));
        walk.draft.constant(*slot, length);
    }
    if let (Some(last), Some(last_at)) = (&point.last, last_at) {
        walk.draft.forget_last(mark);
        value(text, last_at, depth + 1, last, walk)?;
    }
    Some(at)
}
