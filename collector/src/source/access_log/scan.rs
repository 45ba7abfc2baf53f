//! The walk over one line.

use super::bytes::next_special;
use super::fields::{Fields, Node, Point};
use super::record::{Record, Value};
use crate::discard::Refusal;

/// Deepest nesting of a line.
const MAX_DEPTH: u32 = 64;

/// Reads the allow-listed fields of `line`, one JSON object, into `record`.
///
/// # Errors
/// `Refusal::Malformed` when the line is cut or is not one JSON object.
#[inline]
pub fn scan<'a>(line: &'a [u8], fields: &Fields, record: &mut Record<'a>) -> Result<(), Refusal> {
    let text = Text::<false>(line);
    let end = text.object(text.spaces(0), 0, &fields.root, record).ok_or(Refusal::Malformed)?;
    if text.spaces(end) == line.len() { Ok(()) } else { Err(Refusal::Malformed) }
}

/// Keeps a text that came apart from its line, such as an attribute, and reads the document in it if one is wanted.
pub(crate) fn scan_text<'a>(text: &'a [u8], point: &Point, record: &mut Record<'a>) {
    point.set(record, Value::Text(text));
    if let Some(node) = &point.json {
        scan_document(text, node, record);
    }
}

/// Reads `text` if it is a JSON object. Any other text tells nothing.
pub(crate) fn scan_document<'a>(text: &'a [u8], node: &Node, record: &mut Record<'a>) {
    read_whole(Text::<false>(text), node, record);
}

/// A document that cannot be read tells nothing; the line still counts.
fn read_whole<'a, const INNER: bool>(text: Text<'a, INNER>, node: &Node, record: &mut Record<'a>) {
    let before = record.clone();
    if text.object(text.spaces(0), 0, node, record).is_none() {
        *record = before;
    }
}

/// Length of the JSON value at the start of `bytes`; `None` if it is cut or not JSON.
pub(super) fn value_length(bytes: &[u8]) -> Option<usize> {
    Text::<false>(bytes).skip_value(0, 0)
}

/// A document. `INNER`: it stands inside a JSON string, so its quotes are written `\"` and its backslashes `\\`.
///
/// Every method takes a position and returns the one after what it read, so that positions stay in registers.
#[derive(Clone, Copy)]
struct Text<'a, const INNER: bool>(&'a [u8]);

/// A string: what is written between its quotes, and the position after it.
#[derive(Clone, Copy)]
struct Written {
    start: usize,
    end: usize,
    after: usize,
    has_escapes: bool,
}

impl<'a, const INNER: bool> Text<'a, INNER> {
    #[inline(always)]
    fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    #[inline(always)]
    fn spaces(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte(at) {
            at += 1;
        }
        at
    }

    #[inline(always)]
    fn expect(self, at: usize, byte: u8) -> Option<usize> {
        (self.byte(at)? == byte).then_some(at + 1)
    }

    /// An object whose fields are wanted as `node` says.
    #[inline]
    fn object(self, at: usize, depth: u32, node: &Node, record: &mut Record<'a>) -> Option<usize> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let mut at = self.spaces(self.expect(at, b'{')?);
        if self.byte(at)? == b'}' {
            return Some(at + 1);
        }
        loop {
            let key = self.string(at)?;
            at = self.spaces(self.expect(self.spaces(key.after), b':')?);
            at = match node.get_in(self.0, key.start, key.end) {
                None => self.skip_value(at, depth + 1)?,
                Some(point) => self.value(at, depth + 1, point, record)?,
            };
            at = self.spaces(at);
            match self.byte(at)? {
                b',' => at = self.spaces(at + 1),
                b'}' => return Some(at + 1),
                _ => return None,
            }
        }
    }

    /// A value of which something is wanted.
    #[inline]
    fn value(self, at: usize, depth: u32, point: &Point, record: &mut Record<'a>) -> Option<usize> {
        let (value, after) = match self.byte(at)? {
            b'"' | b'\\' => {
                let text = self.string(at)?;
                let raw = self.0.get(text.start..text.end)?;
                if let Some(node) = &point.json {
                    read_whole(Text::<true>(raw), node, record);
                }
                let levels = if INNER { 2 } else { 1 };
                let value = if text.has_escapes { Value::Escaped(raw, levels) } else { Value::Text(raw) };
                (value, text.after)
            }
            b'{' => {
                return match &point.object {
                    Some(node) => self.object(at, depth, node, record),
                    None => self.skip_value(at, depth),
                };
            }
            b'[' => return self.array(at, depth, point, record),
            _ => {
                let after = self.token(at)?;
                let value = match self.0.get(at..after)? {
                    number @ [b'-' | b'0'..=b'9', ..] => Value::Number(number),
                    b"true" => Value::Bool(true),
                    b"false" => Value::Bool(false),
                    b"null" => Value::None,
                    _ => return None,
                };
                (value, after)
            }
        };
        point.set(record, value);
        Some(after)
    }

    /// An array of which the last element or the length is wanted.
    fn array(self, at: usize, depth: u32, point: &Point, record: &mut Record<'a>) -> Option<usize> {
        if point.last.is_none() && point.length.is_empty() {
            return self.skip_value(at, depth);
        }
        if depth >= MAX_DEPTH {
            return None;
        }
        let mut at = self.spaces(self.expect(at, b'[')?);
        let (mut length, mut last_at) = (0, None);
        if self.byte(at)? == b']' {
            at += 1;
        } else {
            loop {
                (length, last_at) = (length + 1, Some(at));
                at = self.spaces(self.skip_value(at, depth + 1)?);
                match self.byte(at)? {
                    b',' => at = self.spaces(at + 1),
                    b']' => break,
                    _ => return None,
                }
            }
            at += 1;
        }
        point.length.iter().for_each(|slot| record.set(*slot, Value::Int(length)));
        if let (Some(last), Some(last_at)) = (&point.last, last_at) {
            self.value(last_at, depth + 1, last, record)?;
        }
        Some(at)
    }

    #[inline(always)]
    fn string(self, at: usize) -> Option<Written> {
        if INNER {
            return self.inner_string(at);
        }
        let start = self.expect(at, b'"')?;
        let end = next_special(self.0, start)?;
        if self.byte(end)? == b'"' {
            return Some(Written { start, end, after: end + 1, has_escapes: false });
        }
        self.string_with_escapes(start, end)
    }

    #[inline(never)]
    fn string_with_escapes(self, start: usize, mut at: usize) -> Option<Written> {
        // Past the backslash and what it escapes; the digits of \u are no specials.
        while self.byte(at)? == b'\\' {
            at = next_special(self.0, at + 2)?;
        }
        Some(Written { start, end: at, after: at + 1, has_escapes: true })
    }

    fn inner_string(self, at: usize) -> Option<Written> {
        let start = self.expect(self.expect(at, b'\\')?, b'"')?;
        let (mut at, mut has_escapes) = (start, false);
        loop {
            // A bare quote would have ended the outer string.
            at = next_special(self.0, at)?;
            match self.byte(at + 1)? {
                b'"' => return Some(Written { start, end: at, after: at + 2, has_escapes }),
                b'\\' => {
                    // What the backslash of the inner string escapes is itself written with or without one.
                    at += if self.byte(at + 2)? == b'\\' { 4 } else { 3 };
                }
                // Would hide a quote or a backslash; nobody writes them so.
                b'u' if matches!(self.0.get(at + 2..at + 6)?, b"0022" | b"005c" | b"005C") => return None,
                _ => at += 2,
            }
            has_escapes = true;
        }
    }

    /// A number or `true`, `false`, `null`.
    #[inline(always)]
    fn token(self, start: usize) -> Option<usize> {
        let mut at = start;
        while let Some(b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'+' | b'E') = self.byte(at) {
            at += 1;
        }
        (at > start).then_some(at)
    }

    /// Passes over a value: strings, brackets and separators only.
    #[inline(always)]
    fn skip_value(self, at: usize, depth: u32) -> Option<usize> {
        match self.byte(at)? {
            b'"' | b'\\' => self.string(at).map(|text| text.after),
            b'{' | b'[' => self.skip_nested(at, depth),
            _ => self.token(at),
        }
    }

    #[inline(never)]
    fn skip_nested(self, mut at: usize, depth: u32) -> Option<usize> {
        // One bit an open bracket: 1 for an object.
        let (mut kinds, mut open) = (0_u64, 0_u32);
        loop {
            match self.byte(at)? {
                b'"' | b'\\' => at = self.string(at)?.after,
                bracket @ (b'{' | b'[') => {
                    open += 1;
                    if depth + open > MAX_DEPTH {
                        return None;
                    }
                    kinds = kinds << 1 | u64::from(bracket == b'{');
                    at += 1;
                }
                bracket @ (b'}' | b']') => {
                    if (kinds & 1 == 1) != (bracket == b'}') {
                        return None;
                    }
                    kinds >>= 1;
                    open -= 1;
                    at += 1;
                    if open == 0 {
                        return Some(at);
                    }
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => at += 1,
                _ => at = self.token(at)?,
            }
        }
    }
}
