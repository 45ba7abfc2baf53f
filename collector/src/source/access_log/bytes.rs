//! The innermost loop: the next byte of a string that means something.

use wide::u8x16;

/// Bytes looked at together.
const STEP: usize = 16;

/// Position of the next `"` or `\` at or after `at`.
#[inline(always)]
pub(super) fn next_special(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<STEP>()) {
        let word = u8x16::new(*chunk);
        let found = word.simd_eq(u8x16::splat(b'"')) | word.simd_eq(u8x16::splat(b'\\'));
        let mask = found.to_bitmask();
        if mask != 0 {
            return Some(at + mask.trailing_zeros() as usize);
        }
        at += STEP;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|index| at + index)
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
