//! The letters of JSON: strings, numbers and brackets, and how a value is passed over.

use super::bytes::{digits, next_special};

/// Deepest nesting of a line.
pub(super) const MAX_DEPTH: u32 = 64;

/// A document. `INNER`: it stands inside a JSON string, so its quotes are written `\"` and its backslashes `\\`, and a bare quote
/// ends it.
///
/// Every method takes a position and returns the one after what it read, so that positions stay in registers.
#[derive(Clone, Copy)]
pub(super) struct Text<'a, const INNER: bool>(pub(super) &'a [u8]);

/// A string: what is written between its quotes, and the position after it.
#[derive(Clone, Copy)]
pub(super) struct Written {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) after: usize,
    pub(super) has_escapes: bool,
}

impl<'a, const INNER: bool> Text<'a, INNER> {
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    #[inline(always)]
    pub(super) fn spaces(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte(at) {
            at += 1;
        }
        at
    }

    #[inline(always)]
    pub(super) fn expect(self, at: usize, byte: u8) -> Option<usize> {
        (self.byte(at)? == byte).then_some(at + 1)
    }

    #[inline(always)]
    pub(super) fn string(self, at: usize) -> Option<Written> {
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
    pub(super) fn string_with_escapes(self, start: usize, mut at: usize) -> Option<Written> {
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
            at = next_special(self.0, at)?;
            // A bare quote ends the outer string, also after an escaped backslash.
            self.expect(at, b'\\')?;
            match self.byte(at + 1)? {
                b'"' => return Some(Written { start, end: at, after: at + 2, has_escapes }),
                b'\\' => {
                    // What the backslash of the inner string escapes is itself written with or without one.
                    at += match self.byte(at + 2)? {
                        b'\\' => 4,
                        b'"' => return None,
                        _ => 3,
                    };
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
    pub(super) fn token(self, start: usize) -> Option<usize> {
        let mut at = digits(self.0, start);
        if self.byte(at) == Some(b'.') {
            at = digits(self.0, at + 1);
        }
        match self.byte(at) {
            Some(b',' | b'}') if at > start => Some(at),
            _ => self.token_of_any_kind(start, at),
        }
    }

    #[inline(never)]
    fn token_of_any_kind(self, start: usize, mut at: usize) -> Option<usize> {
        loop {
            match self.byte(at) {
                Some(b'a'..=b'z' | b'-' | b'+' | b'E') => at += 1,
                Some(b'.' | b'0'..=b'9') => at = digits(self.0, at + 1),
                _ => return (at > start).then_some(at),
            }
        }
    }

    /// Passes over a value: strings, brackets and separators only.
    #[inline(always)]
    pub(super) fn skip_value(self, at: usize, depth: u32) -> Option<usize> {
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
