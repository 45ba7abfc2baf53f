//! The registry of contributors: one JSON file, and what may happen to it.
//!
//! ```text
//! {"version": 1, "contributors": [{
//!    "name": "acme",                      known to the operator only; never leaves this file
//!    "id": "<32 hex>",                    random; pseudonyms are made of it
//!    "added_at_s": 1795435200, "revoked_at_s": null,
//!    "tokens": [{"id": "<16 hex>", "sha256": "<64 hex>", "created_at_s": ..., "expires_at_s": null}],
//!    "certificates": [{"spki_sha256": "<64 hex>", "added_at_s": ..., "expires_at_s": null}]}]}
//! ```
//!
//! Times are Unix seconds. A change is written beside the file, synced and renamed over it, mode 0600, under a lock on
//! `<file>.lock`: a reader sees the file before or after, two commands at once happen one after the other, and a kill leaves the
//! file as it was. A revoked contributor stays in the file, so that its credentials are refused by name and its id comes back
//! with it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::DoorError;
use super::token::Token;

const VERSION: u32 = 1;
const MAX_NAME_BYTES: usize = 64;

/// Bytes, written as hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hex<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEX.encode(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEX.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Hex).ok_or_else(|| serde::de::Error::custom(format!("not {} hexadecimal digits", 2 * N)))
    }
}

/// Names a contributor for as long as it is registered; random.
pub(super) type ContributorId = Hex<16>;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    pub(super) version: u32,
    pub(super) contributors: Vec<Contributor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contributor {
    pub(super) name: String,
    pub(super) id: ContributorId,
    pub(super) added_at_s: u64,
    pub(super) revoked_at_s: Option<u64>,
    #[serde(default)]
    pub(super) tokens: Vec<TokenEntry>,
    #[serde(default)]
    pub(super) certificates: Vec<CertificateEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenEntry {
    pub(super) id: Hex<8>,
    pub(super) sha256: Hex<32>,
    pub(super) created_at_s: u64,
    pub(super) expires_at_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateEntry {
    pub(super) spki_sha256: Hex<32>,
    pub(super) added_at_s: u64,
    pub(super) expires_at_s: Option<u64>,
}

/// What a contributor gets: a token, or the key of its certificate.
#[derive(Clone, Debug)]
pub(super) enum Grant {
    Token { id: Hex<8>, sha256: Hex<32> },
    Certificate { spki_sha256: Hex<32> },
}

impl From<&Token> for Grant {
    fn from(token: &Token) -> Grant {
        Grant::Token { id: Hex(token.id.0), sha256: Hex(token.sha256()) }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Registry { version: VERSION, contributors: Vec::new() }
    }
}

impl Registry {
    /// A new contributor, or a revoked one that comes back under its old id.
    pub(super) fn add(
        &mut self,
        name: &str,
        id: ContributorId,
        grant: &Grant,
        now_s: u64,
        expires_at_s: Option<u64>,
    ) -> Result<(), DoorError> {
        check_name(name)?;
        self.check_grant(grant)?;
        let found = self.contributors.iter_mut().find(|contributor| contributor.name == name);
        let contributor = match found {
            Some(contributor) if contributor.revoked_at_s.is_none() => return Err(DoorError::NameTaken),
            Some(contributor) => contributor,
            None => {
                self.contributors.push(Contributor {
                    name: name.to_owned(),
                    id,
                    added_at_s: now_s,
                    revoked_at_s: None,
                    tokens: Vec::new(),
                    certificates: Vec::new(),
                });
                let last = self.contributors.len() - 1;
                &mut self.contributors[last]
            }
        };
        // What was revoked stays revoked: only the new credential opens.
        contributor.tokens.clear();
        contributor.certificates.clear();
        contributor.revoked_at_s = None;
        contributor.grant(grant, now_s, expires_at_s);
        Ok(())
    }

    /// One more credential; those of the same kind end at `old_until_s`, if not before.
    pub(super) fn rotate(
        &mut self,
        name: &str,
        grant: &Grant,
        now_s: u64,
        old_until_s: u64,
        expires_at_s: Option<u64>,
    ) -> Result<(), DoorError> {
        self.check_grant(grant)?;
        let contributor = self.find(name)?;
        if contributor.revoked_at_s.is_some() {
            return Err(DoorError::Revoked);
        }
        let end = |expires_at_s: &mut Option<u64>| {
            *expires_at_s = Some(expires_at_s.map_or(old_until_s, |until| until.min(old_until_s)));
        };
        match grant {
            Grant::Token { .. } => {
                // Expired ones have no more to say, so that the file does not grow for ever.
                contributor.tokens.retain(|token| token.expires_at_s.is_none_or(|until| until > now_s));
                contributor.tokens.iter_mut().for_each(|token| end(&mut token.expires_at_s));
            }
            Grant::Certificate { .. } => {
                contributor.certificates.retain(|entry| entry.expires_at_s.is_none_or(|until| until > now_s));
                contributor.certificates.iter_mut().for_each(|entry| end(&mut entry.expires_at_s));
            }
        }
        contributor.grant(grant, now_s, expires_at_s);
        Ok(())
    }

    /// No credential of this contributor opens any more. Again: nothing new.
    pub(super) fn revoke(&mut self, name: &str, now_s: u64) -> Result<(), DoorError> {
        let contributor = self.find(name)?;
        contributor.revoked_at_s = contributor.revoked_at_s.or(Some(now_s));
        Ok(())
    }

    fn find(&mut self, name: &str) -> Result<&mut Contributor, DoorError> {
        let found = self.contributors.iter_mut().find(|contributor| contributor.name == name);
        found.ok_or(DoorError::UnknownName)
    }

    fn check_grant(&self, grant: &Grant) -> Result<(), DoorError> {
        let Grant::Certificate { spki_sha256 } = grant else { return Ok(()) };
        let taken = |contributor: &Contributor| {
            contributor.certificates.iter().any(|entry| entry.spki_sha256 == *spki_sha256)
        };
        if self.contributors.iter().any(taken) { Err(DoorError::CertificateTaken) } else { Ok(()) }
    }

    /// Names, ids, tokens and keys are each somebody's alone.
    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version {}, this binary reads {VERSION}", self.version));
        }
        let mut seen = std::collections::HashSet::new();
        for contributor in &self.contributors {
            let own = [("name", contributor.name.as_bytes()), ("id", &contributor.id.0)];
            let tokens = contributor.tokens.iter().map(|token| ("token", &token.id.0[..]));
            let keys = contributor.certificates.iter().map(|entry| ("certificate", &entry.spki_sha256.0[..]));
            for unique in own.into_iter().chain(tokens).chain(keys) {
                if !seen.insert(unique) {
                    return Err(format!("a {} is there twice", unique.0));
                }
            }
        }
        Ok(())
    }
}

impl Contributor {
    fn grant(&mut self, grant: &Grant, now_s: u64, expires_at_s: Option<u64>) {
        match *grant {
            Grant::Token { id, sha256 } => {
                self.tokens.push(TokenEntry { id, sha256, created_at_s: now_s, expires_at_s });
            }
            Grant::Certificate { spki_sha256 } => {
                self.certificates.push(CertificateEntry { spki_sha256, added_at_s: now_s, expires_at_s });
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), DoorError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed);
    if fits { Ok(()) } else { Err(DoorError::Name) }
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Registry, DoorError> {
    let text = std::fs::read(path).map_err(DoorError::file(path))?;
    // The place and not the text: serde quotes what it read.
    let registry: Registry = serde_json::from_slice(&text).map_err(|error| {
        DoorError::content(path, format!("no registry, line {} column {}", error.line(), error.column()))
    })?;
    registry.check().map_err(|problem| DoorError::content(path, problem))?;
    Ok(registry)
}

/// Changes the file; a missing one is an empty registry. An error of `change` leaves it as it is.
pub(super) fn update<T>(
    path: &Path,
    change: impl FnOnce(&mut Registry) -> Result<T, DoorError>,
) -> Result<T, DoorError> {
    let _lock = lock(path)?;
    let mut registry = match read(path) {
        Err(DoorError::File { source, .. }) if source.kind() == ErrorKind::NotFound => Registry::default(),
        other => other?,
    };
    let result = change(&mut registry)?;
    let mut text = serde_json::to_vec_pretty(&registry).map_err(|error| DoorError::content(path, error))?;
    text.push(b'\n');
    replace(path, &text)?;
    Ok(result)
}

/// Held until dropped; by the kernel, so that a kill frees it.
fn lock(path: &Path) -> Result<File, DoorError> {
    let beside = with_suffix(path, ".lock");
    let file = private().truncate(false).open(&beside).map_err(DoorError::file(&beside))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| DoorError::file(&beside)(error.into()))?;
    Ok(file)
}

/// Writes a file whole or not at all, readable by its owner only.
pub(super) fn replace(path: &Path, text: &[u8]) -> Result<(), DoorError> {
    let beside = with_suffix(path, ".new");
    let write = || {
        let mut file = private().truncate(true).open(&beside)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(DoorError::file(path))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
