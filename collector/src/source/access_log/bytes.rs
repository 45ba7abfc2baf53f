//! The innermost loop: the next byte of a string that means something.

use wide::u8x16;

/// Bytes looked at together.
const STEP: usize = 16;

/// Position of the next `"` or `\` at or after `at`.
#[inline(always)]
pub(super) fn next_special(bytes: &[u8], at: usize) -> Option<usize> {
    let mut rest = bytes.get(at..)?;
    while let Some((step, after)) = rest.split_first_chunk::<STEP>() {
        let mask = specials(*step);
        if mask != 0 {
            return Some(bytes.len() - rest.len() + mask.trailing_zeros() as usize);
        }
        rest = after;
    }
    let start = bytes.len() - rest.len();
    if let Some(last) = bytes.last_chunk::<STEP>() {
        // The last step again, without the bytes that were looked at or come before `at`.
        let mask = specials(*last) >> (STEP - rest.len());
        return (mask != 0).then(|| start + mask.trailing_zeros() as usize);
    }
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|index| start + index)
}

/// A bit for each byte that is `"` or `\`.
#[inline(always)]
fn specials(step: [u8; STEP]) -> u32 {
    let word = u8x16::new(step);
    (word.simd_eq(u8x16::splat(b'"')) | word.simd_eq(u8x16::splat(b'\\'))).to_bitmask()
}

/// Position of the first byte at or after `at` that is no decimal digit.
#[inline(always)]
pub(super) fn digits(bytes: &[u8], mut at: usize) -> usize {
    if let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        // Of a digit the upper half is 3, and still is when 6 is added; no byte carries into the next but one that is over 249,
        // which is no digit and comes after those that are looked at.
        let word = u64::from_le_bytes(*chunk);
        let upper = |word: u64| word & 0xf0f0_f0f0_f0f0_f0f0;
        let threes = 0x3030_3030_3030_3030;
        let other = (upper(word) ^ threes) | (upper(word.wrapping_add(0x0606_0606_0606_0606)) ^ threes);
        if other != 0 {
            return at + other.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// A text, made to be compared quickly.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Literal {
    /// Its first bytes, and whatever after a shorter one.
    head: [u8; 2 * STEP],
    /// A bit for each byte of the head that counts.
    mask: u32,
    length: usize,
    tail: Box<[u8]>,
}

impl Literal {
    pub(super) fn new(text: &[u8]) -> Literal {
        let mut head = [0; 2 * STEP];
        let (start, tail) = text.split_at(text.len().min(head.len()));
        head.iter_mut().zip(start).for_each(|(to, from)| *to = *from);
        let mask = if start.len() < head.len() { (1 << start.len()) - 1 } else { u32::MAX };
        Literal { head, mask, length: text.len(), tail: tail.into() }
    }

    /// The position after it if it stands at `at`.
    #[inline(always)]
    pub(super) fn at(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = bytes.get(at..)?;
        let Some((start, rest)) = rest.split_first_chunk::<{ 2 * STEP }>() else {
            return self.at_end(rest, at);
        };
        let same = |half: usize| {
            let (found, wanted) = (start.as_chunks::<STEP>().0[half], self.head.as_chunks::<STEP>().0[half]);
            u8x16::new(found).simd_eq(u8x16::new(wanted)).to_bitmask()
        };
        if (same(0) | same(1) << STEP) & self.mask != self.mask
            || (!self.tail.is_empty() && !rest.starts_with(&self.tail))
        {
            return None;
        }
        Some(at + self.length)
    }

    /// The position after all but its last `left_out` bytes if those stand at `at`.
    pub(super) fn at_without_last(&self, left_out: usize, bytes: &[u8], at: usize) -> Option<usize> {
        let length = self.length - left_out;
        let (head, tail) = match length.checked_sub(self.head.len()) {
            None => (self.head.get(..length)?, &self.tail[..0]),
            Some(more) => (self.head.as_slice(), self.tail.get(..more)?),
        };
        let rest = bytes.get(at..)?.strip_prefix(head)?;
        rest.starts_with(tail).then_some(at + length)
    }

    /// The same in the last bytes.
    #[inline(never)]
    fn at_end(&self, rest: &[u8], at: usize) -> Option<usize> {
        let head = self.head.get(..self.length)?;
        rest.starts_with(head).then_some(at + self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in prop::collection::vec(prop::sample::select(b"ab\"\\\x80".to_vec()), 0..80), at in 0_usize..90) {
            let expected = (at..bytes.len()).find(|index| matches!(bytes[*index], b'"' | b'\\'));
            prop_assert_eq!(next_special(&bytes, at), expected);
        }

        #[test]
        fn digits_end_where_a_plain_search_ends(bytes in prop::collection::vec(prop_oneof![4 => b'0'..=b'9', 1 => any::<u8>()], 0..30), at in 0_usize..32) {
            let expected = (at..bytes.len()).find(|index| !bytes[*index].is_ascii_digit()).unwrap_or(bytes.len().max(at));
            prop_assert_eq!(digits(&bytes, at), expected);
        }

        #[test]
        fn literals_are_found_as_by_a_plain_comparison(
            bytes in prop::collection::vec(prop::sample::select(b"ab".to_vec()), 0..120),
            literal in prop::collection::vec(prop::sample::select(b"ab".to_vec()), 0..80),
            at in 0_usize..100,
            stands: bool,
        ) {
            let literal = if stands { bytes.iter().skip(at).take(literal.len()).copied().collect() } else { literal };
            let is_there = bytes.get(at..).is_some_and(|rest| rest.starts_with(&literal));
            prop_assert_eq!(Literal::new(&literal).at(&bytes, at), is_there.then_some(at + literal.len()));
        }
    }
}
