//! Splits a name, or a pattern of the register, into tokens. Both go through the same code, so they always agree.
//!
//! In: lower-case ASCII. Out: runs of letters and runs of digits, cut at every separator and at every letter/digit
//! boundary, with three exceptions that the dialects of gateways need:
//! - a parameter count stays whole (`70b`, `335m`), because `llama-3-1b` and `llama-3.1` must not meet;
//! - `p` between digits is a dot (`v3p1`);
//! - `v` before a digit says nothing (`v3` is `3`).
//!
//! Guarantees: linear, no allocation, never panics.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters.
    Word,
    /// Digits: a version, a date, a context length.
    Number,
    /// A parameter count (`70b`, `335m`).
    Size,
}

/// A token's place in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
}

/// Smallest count in millions that is taken for a model's size; below it `1m` is a context length.
const SMALLEST_MILLIONS: usize = 20;

/// What a byte is in a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Separator,
    Letter,
    Digit,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Separator; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_digit() {
            classes[byte] = Class::Digit;
        } else if (byte as u8).is_ascii_alphabetic() {
            classes[byte] = Class::Letter;
        }
        byte += 1;
    }
    classes
};

/// The tokens of a text, in order.
pub(crate) struct Pieces<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Pieces<'a> {
    /// The tokens of `text`.
    #[inline]
    pub(crate) fn of(text: &'a [u8]) -> Pieces<'a> {
        Pieces { text, at: 0 }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    #[inline(always)]
    fn next(&mut self) -> Option<Piece> {
        let text = self.text;
        loop {
            let start = self.at;
            let byte = *text.get(start)?;
            match CLASSES[usize::from(byte)] {
                Class::Separator => self.at += 1,
                Class::Letter => {
                    let end = run_end(text, start, Class::Letter);
                    self.at = end;
                    if byte != b'v' || end != start + 1 || !digit_at(text, end) {
                        return Some(Piece { start, end, kind: Kind::Word });
                    }
                }
                Class::Digit => {
                    let digits_end = run_end(text, start, Class::Digit);
                    let letters_end = run_end(text, digits_end, Class::Letter);
                    let end = match &text[digits_end..letters_end] {
                        b"b" => letters_end,
                        b"m" if millions(&text[start..digits_end]) >= SMALLEST_MILLIONS => letters_end,
                        _ => digits_end,
                    };
                    let kind = if end == digits_end { Kind::Number } else { Kind::Size };
                    let dot_spelt_p = &text[digits_end..letters_end] == b"p" && digit_at(text, letters_end);
                    self.at = if dot_spelt_p { letters_end } else { end };
                    return Some(Piece { start, end, kind });
                }
            }
        }
    }
}

#[inline]
fn digit_at(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_digit)
}

/// The end of the run of `class` from `from` on.
#[inline]
fn run_end(text: &[u8], from: usize, class: Class) -> usize {
    let mut end = from;
    while end < text.len() && CLASSES[usize::from(text[end])] == class {
        end += 1;
    }
    end
}

fn millions(digits: &[u8]) -> usize {
    digits.iter().take(6).fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> String {
        let words: Vec<&str> =
            Pieces::of(text.as_bytes()).map(|piece| &text[piece.start..piece.end]).collect();
        words.join(" ")
    }

    #[test]
    fn dialects_meet() {
        for (name, tokens) in [
            ("llama-v3p1-8b-instruct", "llama 3 1 8b instruct"),
            ("llama3.1-8b", "llama 3 1 8b"),
            ("llama-3_1_8b", "llama 3 1 8b"),
            ("gpt-4o", "gpt 4 o"),
            ("gpt4o", "gpt 4 o"),
            ("qwen3-0p6b", "qwen 3 0 6b"),
            ("mixtral-8x22b", "mixtral 8 x 22b"),
            ("gemma-3n-e4b-it", "gemma 3 n e 4b it"),
            ("bge-large:335m", "bge large 335m"),
            ("qwen2.5-14b-instruct-1m", "qwen 2 5 14b instruct 1 m"),
            ("deepseek-v3.2", "deepseek 3 2"),
            ("kimi-k2p5", "kimi k 2 5"),
            ("qwen3_5-9b", "qwen 3 5 9b"),
            ("palm-2", "palm 2"),
            ("", ""),
            ("---", ""),
            ("v", "v"),
        ] {
            assert_eq!(split(name), tokens, "{name}");
        }
    }
}
