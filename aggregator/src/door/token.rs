//! Bearer tokens: `wb1_<id>_<secret>`, id 16 hexadecimal digits, secret 64 of them.
//!
//! The id finds the entry and is no secret; the secret is 256 random bits, so a plain SHA-256 of it can be stored: there is
//! nothing to guess. Hexadecimal, because it survives every shell, YAML file and header. The prefix lets scanners for secrets find
//! a token that was checked in.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;

use super::sha256;

const PREFIX: &str = "wb1";
/// Of `Authorization`; compared without case, as HTTP has it.
const SCHEME: &str = "bearer";

/// Names a token; no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenId(pub(super) [u8; 8]);

/// A new token. Shows itself once, by `reveal`.
pub(super) struct Token {
    pub(super) id: TokenId,
    secret: [u8; 32],
}

impl Token {
    pub(super) fn generate() -> Result<Token, getrandom::Error> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        Ok(Token { id: TokenId(id), secret })
    }

    pub(super) fn reveal(&self) -> String {
        format!("{PREFIX}_{}_{}", HEX.encode(&self.id.0), HEX.encode(&self.secret))
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        sha256(&self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A token that a client presented; the secret is hashed already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Presented {
    pub(super) id: TokenId,
    pub(super) sha256: [u8; 32],
}

impl Presented {
    /// From the value of `Authorization`; none if it is not one of our tokens.
    pub(super) fn read(authorization: &[u8]) -> Option<Presented> {
        let text = std::str::from_utf8(authorization).ok()?;
        let (scheme, token) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let (id, secret) = token.trim().strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
        let id = HEX.decode(id.as_bytes()).ok()?.try_into().ok()?;
        let secret: [u8; 32] = HEX.decode(secret.as_bytes()).ok()?.try_into().ok()?;
        Some(Presented { id: TokenId(id), sha256: sha256(&secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Presented> {
        Presented::read(text.as_bytes())
    }

    #[test]
    fn a_token_reads_back_and_never_shows_in_debug() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let presented = read(&format!("{scheme} {text}")).unwrap();
            assert!(presented.id == token.id && presented.sha256 == token.sha256());
        }
        assert_eq!(text.len(), 3 + 1 + 16 + 1 + 64);
        assert_eq!(format!("{token:?}"), "***");
        assert_ne!(Token::generate().unwrap().reveal(), text);
    }

    #[test]
    fn anything_else_is_no_token() {
        let text = Token::generate().unwrap().reveal();
        let (cut, more) = (&text[..text.len() - 1], format!("Bearer {text}00"));
        for wrong in
            ["", "Bearer", "Bearer ", &format!("Basic {text}"), &text, &format!("Bearer {cut}"), &more]
        {
            assert!(read(wrong).is_none(), "{wrong}");
        }
        assert!(Presented::read(&[0xff; 90]).is_none());
    }
}
