//! The innermost loop: the next byte of a string that means something.

/// Bytes looked at together: a word. Strings of a log are short, so a wider step does not pay.
const STEP: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;

/// Position of the next `"` or `\` at or after `at`.
#[inline(always)]
pub(super) fn next_special(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<STEP>()) {
        let word = u64::from_le_bytes(*chunk);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += STEP;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|index| at + index)
}

/// The highest bit of every byte that is zero; of higher bytes than the first zero also others, which nobody looks at.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
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
    }
}
