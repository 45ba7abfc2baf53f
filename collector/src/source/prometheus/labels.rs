//! The labels of one sample.
//!
//! In: the text between the braces. Out: names and values in order, borrowed, values with their escapes. Guarantees: never
//! panics, allocates nothing, ends at the first fault.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Iterates over label names and raw values.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

/// The labels of `text`.
pub fn labels_of(text: &[u8]) -> Labels<'_> {
    Labels { rest: text }
}

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let equals = memchr(b'=', self.rest)?;
        let name = self.rest[..equals].trim_ascii();
        let after = self.rest[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
        let end = closing_quote(after)?;
        let value = &after[..end];
        let rest = after[end + 1..].trim_ascii_start();
        self.rest = rest.strip_prefix(b",").unwrap_or(rest);
        Some((name, value))
    }
}

/// Where the quote stands that ends a value.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Where the brace stands that ends the labels; braces inside values do not.
pub(super) fn end(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'}', b'"', inside.get(at..)?)?;
        if inside[at] == b'}' {
            return Some(at);
        }
        at += 1 + closing_quote(&inside[at + 1..])? + 1;
    }
}

/// A raw value as text: `\\`, `\"` and `\n` replaced. `None` if it is not UTF-8.
pub fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(raw).ok()?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (other, _) => plain.push(other),
        }
    }
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_in_order_with_their_escapes() {
        let found: Vec<_> = labels_of(br#" a = "1" ,b="x\"y\\",c="",  "#).collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", br#"x\"y\\"#), (b"c", b"")];
        assert_eq!(found, expected);
        assert_eq!(text(br#"x\"y\\z\n"#).unwrap(), "x\"y\\z\n");
        assert_eq!(text(b"\xff"), None);
    }

    #[test]
    fn a_fault_ends_them() {
        assert_eq!(labels_of(b"a=\"1\",b=2").count(), 1);
        assert_eq!(labels_of(b"a=\"1").count(), 0);
        assert_eq!(end(b"a=\"}\"} 1"), Some(5));
        assert_eq!(end(b"a=\"}\" 1"), None);
    }
}
