//! Opens the envelopes that gateways and clouds put around a model's name.
//!
//! In: a name as a gateway spells it. Out: its path segments, last first, in a lower-case copy on the stack, and what the
//! envelope itself tells: a fine-tune (`ft:`), or a resource that names no model (a private ARN, a Vertex endpoint).
//! Guarantees: linear, no allocation. Refuses names that are empty, not ASCII, or over 256 bytes.
//!
//! | spelling | what is kept |
//! |---|---|
//! | `ft:gpt-4.1:acme:tagger:bk33` | `gpt-4.1`, as a fine-tune |
//! | `arn:...:foundation-model/X`, `arn:...:inference-profile/X` | `X` |
//! | `arn:` with any other resource, `projects/.../endpoints/N` | nothing: opaque |
//! | `accounts/fireworks/models/X#accounts/a/deployments/b` | `X` |
//! | `models--org--name/snapshots/hash` | `name` |
//! | `X?api-version=1` | `X` |
//!
//! Tags (`X@20240620`, `X:free`, `X:8b-q4_K_M`) stay: they often hold the version or the size.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2, memrchr};

use crate::lexicon::KEY_LETTERS;

/// Longest name that is looked at; longer ones are no model names.
pub(crate) const MAX_NAME: usize = 256;
/// Segments kept, counted from the last. Deeper paths are folders.
pub(crate) const MAX_SEGMENTS: usize = 5;

/// How the folder of one model begins in a Hugging Face cache.
const CACHE_FOLDER: &[u8] = b"models--";

/// A name, opened.
pub(crate) struct Envelope {
    /// In lower case; zeros after it, so that a word's key can be read in one piece.
    text: [u8; MAX_NAME + KEY_LETTERS],
    length: usize,
    segments: [Range<u16>; MAX_SEGMENTS],
    count: usize,
    /// The envelope says that this is a fine-tune.
    pub(crate) fine_tune: bool,
    /// The envelope says that the name is of a private resource.
    pub(crate) opaque: bool,
}

impl Envelope {
    /// An envelope without a name. It is filled where it stands: it is too large to be handed around.
    #[inline]
    pub(crate) fn new() -> Envelope {
        Envelope {
            text: [0; MAX_NAME + KEY_LETTERS],
            length: 0,
            segments: [const { 0..0 }; MAX_SEGMENTS],
            count: 0,
            fine_tune: false,
            opaque: false,
        }
    }

    /// Opens `name`; false if it cannot be a model's name.
    pub(crate) fn open(&mut self, name: &str) -> bool {
        let name = name.trim_ascii();
        if name.is_empty() || name.len() > MAX_NAME || !name.is_ascii() {
            return false;
        }
        self.length = name.len();
        let text = &mut self.text[..name.len()];
        text.copy_from_slice(name.as_bytes());
        text.make_ascii_lowercase();
        // Most names have none of these; all are looked for at once.
        let special =
            text.iter().fold(false, |found, byte| found | matches!(byte, b'\\' | b':' | b'#' | b'?'));
        let range = if special { self.strip() } else { 0..name.len() };
        self.split(range);
        // A Vertex endpoint: the number after it says nothing.
        self.opaque |=
            self.segment(1) == Some(b"endpoints") && segment_prefix(self.text(), b"projects/").is_some();
        true
    }

    /// How many segments there are.
    #[inline]
    pub(crate) fn segments(&self) -> usize {
        self.count
    }

    /// The place in `text` of the segment with this number, the last one being 0.
    #[inline]
    pub(crate) fn range(&self, number: usize) -> Range<usize> {
        let range = &self.segments[number];
        usize::from(range.start)..usize::from(range.end)
    }

    /// The segment with this number, the last one being 0.
    pub(crate) fn segment(&self, number: usize) -> Option<&[u8]> {
        (number < self.count).then(|| &self.text[self.range(number)])
    }

    /// The whole name in lower case.
    #[inline]
    pub(crate) fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }

    /// The key of the word of `length` letters at `start` (`lexicon.rs`).
    #[inline]
    pub(crate) fn key(&self, start: usize, length: usize) -> u64 {
        let Some(eight) = self.text.get(start..).and_then(<[u8]>::first_chunk) else { return 0 };
        let key = u64::from_le_bytes(*eight);
        if length < KEY_LETTERS { key & ((1 << (8 * length)) - 1) } else { key }
    }

    /// Finds the part of the text that may name a model.
    fn strip(&mut self) -> Range<usize> {
        let text = &mut self.text[..self.length];
        text.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        let text = &*text;
        let mut range = 0..self.length;
        if memchr(b':', text).is_some() {
            if let Some(at) = segment_prefix(text, b"arn:") {
                let resource = [&b":foundation-model/"[..], b":inference-profile/"]
                    .iter()
                    .find_map(|kind| find(&text[at..], kind).map(|found| at + found + kind.len()));
                match resource {
                    Some(start) => range.start = start,
                    None => self.opaque = true,
                }
            } else if let Some(at) = segment_prefix(text, b"ft:") {
                self.fine_tune = true;
                range.start = at + b"ft:".len();
                if let Some(end) = memchr(b':', &text[range.start..]) {
                    range.end = range.start + end;
                }
            }
        }
        if let Some(end) = memchr2(b'#', b'?', &text[range.clone()]) {
            range.end = range.start + end;
        }
        range
    }

    /// Notes the last segments of the text in `range`.
    fn split(&mut self, range: Range<usize>) {
        let mut end = range.end;
        while self.count < MAX_SEGMENTS {
            let start =
                memrchr(b'/', &self.text[range.start..end]).map_or(range.start, |at| range.start + at + 1);
            if start < end {
                if self.text[start..end].starts_with(CACHE_FOLDER) {
                    // Below it are only `snapshots` and a hash.
                    self.count = 0;
                }
                let inner = self.inner(start..end);
                // Places in a name fit: it has at most `MAX_NAME` letters.
                self.segments[self.count] = inner.start as u16..inner.end as u16;
                self.count += 1;
            }
            if start == range.start {
                break;
            }
            end = start - 1;
        }
    }

    /// Cuts a Hugging Face cache folder down to the name in it.
    fn inner(&self, segment: Range<usize>) -> Range<usize> {
        let text = &self.text[segment.clone()];
        if text.starts_with(CACHE_FOLDER) {
            let name = text.windows(2).rposition(|pair| pair == b"--").map_or(0, |at| at + 2);
            return segment.start + name..segment.end;
        }
        segment
    }
}

/// Where `prefix` opens a path segment.
fn segment_prefix(text: &[u8], prefix: &[u8]) -> Option<usize> {
    if text.starts_with(prefix) {
        return Some(0);
    }
    memchr_iter(b'/', text).map(|at| at + 1).find(|&at| text[at..].starts_with(prefix))
}

/// Where `part`, which is not empty, first occurs.
fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr_iter(*part.first()?, text).find(|&at| text[at..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(name: &str) -> Option<Envelope> {
        let mut envelope = Envelope::new();
        envelope.open(name).then_some(envelope)
    }

    fn core(name: &str) -> String {
        let envelope = opened(name).expect("a name");
        String::from_utf8_lossy(envelope.segment(0).unwrap_or_default()).into_owned()
    }

    #[test]
    fn envelopes_open() {
        for (name, expected) in [
            ("openai/GPT-4o", "gpt-4o"),
            ("ft:gpt-4.1-2025-04-14:acme::id", "gpt-4.1-2025-04-14"),
            (
                "bedrock/arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-8b-v1:0",
                "meta.llama3-8b-v1:0",
            ),
            ("accounts/fireworks/models/x1#accounts/a/deployments/b", "x1"),
            ("vertex_ai/claude-3@20240229", "claude-3@20240229"),
            ("@cf/meta/llama", "llama"),
            ("a/b/", "b"),
            ("/cache/models--org--name", "name"),
        ] {
            assert_eq!(core(name), expected, "{name}");
        }
    }

    #[test]
    fn private_resources_are_opaque() {
        for name in [
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/8xk2m1p0q9ab",
            "arn:aws:bedrock:us-west-2:210987654321:application-inference-profile/ab12cd34ef56",
            "projects/77/locations/asia-northeast1/endpoints/4455667788",
        ] {
            assert!(opened(name).is_some_and(|envelope| envelope.opaque), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long = "a".repeat(MAX_NAME + 1);
        for name in ["", "   ", "gpt-4o\u{e9}", long.as_str()] {
            assert!(opened(name).is_none(), "{name}");
        }
    }

    #[test]
    fn hugging_face_cache_path_keeps_the_name() {
        let envelope = opened("/hub/models--Org--Name-7B/snapshots/abcdef").expect("a name");
        assert_eq!(envelope.segment(0), Some(&b"name-7b"[..]));
    }
}
