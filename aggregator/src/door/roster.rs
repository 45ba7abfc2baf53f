//! The registry as it is looked up: by token id, and by the key of a certificate.
//!
//! Pure: the caller says what time it is. A roster never changes; a changed registry makes a new one.

use std::collections::HashMap;

use subtle::ConstantTimeEq as _;
use tonic::Status;

use super::registry::{ContributorId, Registry};
use super::token::{self, TokenId};

/// SHA-256 of a certificate's public key (SubjectPublicKeyInfo).
pub(crate) type KeyDigest = [u8; 32];

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Neither a token nor a certificate.
    NoCredentials,
    /// Not in the registry, or not what is there.
    Unknown,
    /// Its time is over.
    Expired,
    /// Its contributor is revoked.
    Revoked,
    /// Token and certificate are not the same contributor's.
    Mismatch,
}

impl Refused {
    pub(crate) const NAMES: &'static [&'static str] =
        &["no_credentials", "unknown", "expired", "revoked", "mismatch"];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Only the reason: what was presented is not repeated.
impl From<Refused> for Status {
    fn from(refused: Refused) -> Status {
        Status::unauthenticated(match refused {
            Refused::NoCredentials => "no credentials",
            Refused::Unknown => "unknown credentials",
            Refused::Expired => "credentials have expired",
            Refused::Revoked => "credentials were revoked",
            Refused::Mismatch => "token and certificate belong to different contributors",
        })
    }
}

/// What a connection presented, hashed.
#[derive(Clone, Copy, Default)]
pub(super) struct Presented {
    pub(super) token: Option<token::Presented>,
    pub(super) key: Option<KeyDigest>,
}

/// Who it is, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) contributor: ContributorId,
    pub(super) expires_at_s: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    admitted: Admitted,
    revoked: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    tokens: HashMap<TokenId, ([u8; 32], Entry)>,
    keys: HashMap<KeyDigest, Entry>,
    contributors: usize,
}

impl Roster {
    pub(super) fn new(registry: &Registry) -> Roster {
        let mut roster = Roster::default();
        for contributor in &registry.contributors {
            let revoked = contributor.revoked_at_s.is_some();
            let entry = |expires_at_s| Entry {
                admitted: Admitted { contributor: contributor.id, expires_at_s },
                revoked,
            };
            roster.tokens.extend(
                contributor
                    .tokens
                    .iter()
                    .map(|token| (TokenId(token.id.0), (token.sha256.0, entry(token.expires_at_s)))),
            );
            let certificates = contributor.certificates.iter();
            roster.keys.extend(certificates.map(|key| (key.spki_sha256.0, entry(key.expires_at_s))));
            roster.contributors += usize::from(!revoked);
        }
        roster
    }

    /// Contributors that are not revoked.
    pub(super) fn contributors(&self) -> usize {
        self.contributors
    }

    /// All that is presented must hold, and be one contributor's.
    pub(super) fn admit(&self, presented: &Presented, now_s: u64) -> Result<Admitted, Refused> {
        let token = presented.token.map(|token| self.by_token(&token, now_s)).transpose()?;
        let key = presented.key.map(|key| check(self.keys.get(&key), now_s)).transpose()?;
        match (token, key) {
            (None, None) => Err(Refused::NoCredentials),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (Some(token), Some(key)) if token.contributor != key.contributor => Err(Refused::Mismatch),
            (Some(token), Some(key)) => {
                let expires_at_s = token.expires_at_s.into_iter().chain(key.expires_at_s).min();
                Ok(Admitted { expires_at_s, ..token })
            }
        }
    }

    fn by_token(&self, token: &token::Presented, now_s: u64) -> Result<Admitted, Refused> {
        let found = self.tokens.get(&token.id);
        // Compared in any case, so that an unknown id takes as long as a wrong secret.
        let stored = found.map_or(&[0; 32], |(sha256, _)| sha256);
        let same = bool::from(stored.ct_eq(&token.sha256));
        check(found.filter(|_| same).map(|(_, entry)| entry), now_s)
    }
}

fn check(entry: Option<&Entry>, now_s: u64) -> Result<Admitted, Refused> {
    match entry {
        None => Err(Refused::Unknown),
        Some(entry) if entry.revoked => Err(Refused::Revoked),
        Some(entry) if entry.admitted.expires_at_s.is_some_and(|until| until <= now_s) => {
            Err(Refused::Expired)
        }
        Some(entry) => Ok(entry.admitted),
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::{Grant, Hex};
    use super::super::token::Token;
    use super::*;

    const NOW_S: u64 = 1_795_435_200;
    const ACME: ContributorId = Hex([1; 16]);
    const BETA: ContributorId = Hex([2; 16]);

    struct Rig {
        registry: Registry,
        acme: Token,
        beta: Token,
    }

    impl Rig {
        fn new() -> Rig {
            let (acme, beta) = (Token::generate().unwrap(), Token::generate().unwrap());
            let mut registry = Registry::default();
            registry.add("acme", ACME, &Grant::from(&acme), NOW_S, Some(NOW_S + 100)).unwrap();
            registry.add("beta", BETA, &Grant::from(&beta), NOW_S, None).unwrap();
            let key = Grant::Certificate { spki_sha256: Hex([7; 32]) };
            registry.rotate("acme", &key, NOW_S, NOW_S, Some(NOW_S + 50)).unwrap();
            Rig { registry, acme, beta }
        }

        fn admit(
            &self,
            token: Option<&Token>,
            key: Option<KeyDigest>,
            now_s: u64,
        ) -> Result<Admitted, Refused> {
            let token = token.map(|token| token::Presented { id: token.id, sha256: token.sha256() });
            Roster::new(&self.registry).admit(&Presented { token, key }, now_s)
        }
    }

    #[test]
    fn who_is_let_in_and_who_is_not() {
        let mut rig = Rig::new();
        let (acme, beta) = (Some(&rig.acme), Some(&rig.beta));
        let admitted = |contributor, expires_at_s| Ok(Admitted { contributor, expires_at_s });
        assert_eq!(rig.admit(acme, None, NOW_S), admitted(ACME, Some(NOW_S + 100)));
        assert_eq!(rig.admit(beta, None, NOW_S), admitted(BETA, None));
        assert_eq!(rig.admit(None, Some([7; 32]), NOW_S), admitted(ACME, Some(NOW_S + 50)));
        assert_eq!(rig.admit(acme, Some([7; 32]), NOW_S), admitted(ACME, Some(NOW_S + 50)));
        assert_eq!(rig.admit(None, None, NOW_S), Err(Refused::NoCredentials));
        assert_eq!(rig.admit(beta, Some([7; 32]), NOW_S), Err(Refused::Mismatch));
        assert_eq!(rig.admit(beta, Some([8; 32]), NOW_S), Err(Refused::Unknown));
        assert_eq!(rig.admit(None, Some([8; 32]), NOW_S), Err(Refused::Unknown));
        assert_eq!(rig.admit(Some(&Token::generate().unwrap()), Some([7; 32]), NOW_S), Err(Refused::Unknown));
        assert_eq!(rig.admit(acme, None, NOW_S + 100), Err(Refused::Expired));
        assert_eq!(rig.admit(acme, Some([7; 32]), NOW_S + 50), Err(Refused::Expired));
        let known_id = token::Presented { id: rig.acme.id, sha256: [0; 32] };
        let presented = Presented { token: Some(known_id), key: None };
        assert_eq!(Roster::new(&rig.registry).admit(&presented, NOW_S), Err(Refused::Unknown));

        assert_eq!(Roster::new(&rig.registry).contributors(), 2);
        rig.registry.revoke("acme", NOW_S).unwrap();
        assert_eq!(Roster::new(&rig.registry).contributors(), 1);
        assert_eq!(rig.admit(Some(&rig.acme), None, NOW_S), Err(Refused::Revoked));
        assert_eq!(rig.admit(None, Some([7; 32]), NOW_S), Err(Refused::Revoked));
        assert!(rig.admit(Some(&rig.beta), None, NOW_S).is_ok());
    }

    #[test]
    fn every_refusal_has_its_name() {
        let all =
            [Refused::NoCredentials, Refused::Unknown, Refused::Expired, Refused::Revoked, Refused::Mismatch];
        assert_eq!(all.map(Refused::name), Refused::NAMES);
        assert!(all.iter().all(|refused| Status::from(*refused).code() == tonic::Code::Unauthenticated));
    }
}
