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
    let mut walk = Walk::<false> { bytes: line, at: 0, depth: 0 };
    walk.spaces();
    walk.object(&fields.root, record).ok_or(Refusal::Malformed)?;
    walk.spaces();
    if walk.at == line.len() { Ok(()) } else { Err(Refusal::Malformed) }
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
    let mut walk = Walk::<false> { bytes: text, at: 0, depth: 0 };
    walk.spaces();
    let mut read = record.clone();
    if walk.object(node, &mut read).is_some() {
        *record = read;
    }
}

/// Length of the JSON value at the start of `bytes`; `None` if it is cut or not JSON.
pub(super) fn value_length(bytes: &[u8]) -> Option<usize> {
    let mut walk = Walk::<false> { bytes, at: 0, depth: 0 };
    walk.skip_value()?;
    Some(walk.at)
}

/// A position in a document. `INNER`: the document stands inside a JSON string, so its quotes are written `\"` and its
/// backslashes `\\`.
struct Walk<'a, const INNER: bool> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

/// A string as it is written between its quotes.
#[derive(Clone, Copy)]
struct Written<'a> {
    raw: &'a [u8],
    has_escapes: bool,
}

impl<'a, const INNER: bool> Walk<'a, INNER> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn spaces(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// An object whose fields are wanted as `node` says.
    #[inline]
    fn object(&mut self, node: &Node, record: &mut Record<'a>) -> Option<()> {
        self.expect(b'{')?;
        self.deeper()?;
        self.spaces();
        if self.peek()? == b'}' {
            self.at += 1;
            self.depth -= 1;
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.spaces();
            self.expect(b':')?;
            self.spaces();
            match node.get(key.raw) {
                Some(point) => self.value(point, record)?,
                None => self.skip_value()?,
            }
            self.spaces();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
            self.spaces();
        }
        self.at += 1;
        self.depth -= 1;
        Some(())
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }

    /// A value of which something is wanted.
    #[inline]
    fn value(&mut self, point: &Point, record: &mut Record<'a>) -> Option<()> {
        let value = match self.peek()? {
            b'{' => {
                return match &point.object {
                    Some(node) => self.object(node, record),
                    None => self.skip_value(),
                };
            }
            b'[' => return self.array(point, record),
            b'"' | b'\\' => {
                let text = self.string()?;
                if let Some(node) = &point.json {
                    read_inner(text, node, record);
                }
                match text.has_escapes {
                    false => Value::Text(text.raw),
                    true => Value::Escaped(text.raw, if INNER { 2 } else { 1 }),
                }
            }
            _ => match self.token()? {
                b"true" => Value::Bool(true),
                b"false" => Value::Bool(false),
                b"null" => Value::None,
                number @ [b'-' | b'0'..=b'9', ..] => Value::Number(number),
                _ => return None,
            },
        };
        point.set(record, value);
        Some(())
    }

    /// An array of which the last element or the length is wanted.
    fn array(&mut self, point: &Point, record: &mut Record<'a>) -> Option<()> {
        if point.last.is_none() && point.length.is_empty() {
            return self.skip_value();
        }
        self.expect(b'[')?;
        self.deeper()?;
        self.spaces();
        let (mut length, mut last_at) = (0, None);
        if self.peek()? == b']' {
            self.at += 1;
        } else {
            loop {
                (length, last_at) = (length + 1, Some(self.at));
                self.skip_value()?;
                self.spaces();
                let next = self.peek()?;
                self.at += 1;
                match next {
                    b',' => self.spaces(),
                    b']' => break,
                    _ => return None,
                }
            }
        }
        let end = self.at;
        point.length.iter().for_each(|slot| record.set(*slot, Value::Int(length)));
        if let (Some(last), Some(at)) = (&point.last, last_at) {
            self.at = at;
            self.value(last, record)?;
            self.at = end;
        }
        self.depth -= 1;
        Some(())
    }

    /// A string; the position is after its closing quote.
    #[inline(always)]
    fn string(&mut self) -> Option<Written<'a>> {
        if INNER {
            return self.inner_string();
        }
        self.expect(b'"')?;
        let start = self.at;
        let end = next_special(self.bytes, start)?;
        if self.bytes[end] == b'"' {
            self.at = end + 1;
            return Some(Written { raw: self.bytes.get(start..end)?, has_escapes: false });
        }
        self.string_with_escapes(start, end)
    }

    fn string_with_escapes(&mut self, start: usize, mut at: usize) -> Option<Written<'a>> {
        // Past the backslash and what it escapes; the digits of \u are no specials.
        while self.bytes[at] == b'\\' {
            at = next_special(self.bytes, at + 2)?;
        }
        self.at = at + 1;
        Some(Written { raw: self.bytes.get(start..at)?, has_escapes: true })
    }

    fn inner_string(&mut self) -> Option<Written<'a>> {
        self.expect(b'\\')?;
        self.expect(b'"')?;
        let start = self.at;
        let (mut at, mut has_escapes) = (start, false);
        loop {
            // A bare quote would have ended the outer string.
            at = next_special(self.bytes, at)?;
            match self.bytes.get(at + 1)? {
                b'"' => break,
                b'\\' => {
                    // What the backslash of the inner string escapes is itself written with or without one.
                    at += if self.bytes.get(at + 2)? == &b'\\' { 4 } else { 3 };
                }
                // Would hide a quote or a backslash; nobody writes them so.
                b'u' if matches!(self.bytes.get(at + 2..at + 6)?, b"0022" | b"005c" | b"005C") => {
                    return None;
                }
                _ => at += 2,
            }
            has_escapes = true;
        }
        self.at = at + 2;
        Some(Written { raw: self.bytes.get(start..at)?, has_escapes })
    }

    /// A number or `true`, `false`, `null`.
    #[inline(always)]
    fn token(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        while let Some(b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'+' | b'E') = self.peek() {
            self.at += 1;
        }
        self.bytes.get(start..self.at).filter(|token| !token.is_empty())
    }

    /// Passes over a value: strings, brackets and separators only.
    #[inline(always)]
    fn skip_value(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' => self.skip_nested(),
            b'"' | b'\\' => self.string().map(|_| ()),
            _ => self.token().map(|_| ()),
        }
    }

    fn skip_nested(&mut self) -> Option<()> {
        // One bit an open bracket: 1 for an object.
        let (mut kinds, mut depth) = (0_u64, 0_u32);
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    depth += 1;
                    if self.depth + depth > MAX_DEPTH {
                        return None;
                    }
                    kinds = kinds << 1 | u64::from(open == b'{');
                    self.at += 1;
                }
                close @ (b'}' | b']') => {
                    if (kinds & 1 == 1) != (close == b'}') {
                        return None;
                    }
                    kinds >>= 1;
                    depth -= 1;
                    self.at += 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
                b'"' | b'\\' => {
                    self.string()?;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => {
                    self.token()?;
                }
            }
        }
    }
}

/// The document in a string. One that cannot be read tells nothing, the line still counts.
fn read_inner<'a>(text: Written<'a>, node: &Node, record: &mut Record<'a>) {
    let mut inner = Walk::<true> { bytes: text.raw, at: 0, depth: 0 };
    inner.spaces();
    let mut read = record.clone();
    if inner.object(node, &mut read).is_some() {
        *record = read;
    }
}
