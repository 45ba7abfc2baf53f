//! `weighbridge-aggregator contributor`: adds, rotates, revokes and lists who may send.
//!
//! Works on the file of `ingest.door.contributors_file` and asks no running program; every ingest that reads the file follows
//! within about a second. A token is printed once, alone on standard output, and cannot be had again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::DoorError;
use super::pseudonym::PseudonymKey;
use super::registry::{self, Contributor, Grant, Hex};
use super::tls::key_digest_of_file;
use super::token::Token;
use crate::config;

const SECONDS_PER_DAY: u64 = 86_400;
const SECONDS_PER_HOUR: u64 = 3_600;

/// What to do with the registry.
#[derive(Clone, Debug, Subcommand)]
pub enum ContributorAction {
    /// Let a contributor in: prints its token, or takes the key of its certificate. A revoked one comes back.
    Add {
        /// Your name for it; it stays in the registry.
        name: String,
        /// Days until the credential expires; without it, never.
        #[arg(long)]
        expires_days: Option<u64>,
        /// Its client certificate, PEM, instead of a token.
        #[arg(long)]
        certificate: Option<PathBuf>,
    },
    /// Give a contributor a new token, or the key of a new certificate; the old one of the same kind ends after the grace time.
    Rotate {
        /// Its name.
        name: String,
        /// Hours for which the old credential still opens.
        #[arg(long, default_value_t = 24)]
        grace_hours: u64,
        /// Days until the new credential expires; without it, never.
        #[arg(long)]
        expires_days: Option<u64>,
        /// Its new client certificate, PEM, instead of a token.
        #[arg(long)]
        certificate: Option<PathBuf>,
    },
    /// Shut a contributor out, at once and with all its credentials. Its open streams end.
    Revoke {
        /// Its name.
        name: String,
    },
    /// Show all contributors, without secrets.
    List {
        /// Form of the list.
        #[arg(long, default_value = "table")]
        format: ListFormat,
    },
}

/// Form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Does it; gives what belongs on standard output.
///
/// # Errors
/// Nothing was changed then.
pub fn run(action: &ContributorAction, door: &config::Door, now_s: u64) -> Result<String, DoorError> {
    let path = door.contributors_file.as_deref().ok_or(DoorError::Unset("ingest.door.contributors_file"))?;
    match action {
        ContributorAction::Add { name, expires_days, certificate } => {
            if let Some(key) = &door.pseudonym_key_file {
                PseudonymKey::create(key)?;
            }
            let mut id = [0; 16];
            getrandom::fill(&mut id).map_err(DoorError::Random)?;
            let (grant, printed) = grant(certificate.as_deref())?;
            let expires_at_s = after_days(now_s, *expires_days);
            registry::update(path, |registry| registry.add(name, Hex(id), &grant, now_s, expires_at_s))?;
            Ok(printed)
        }
        ContributorAction::Rotate { name, grace_hours, expires_days, certificate } => {
            let (grant, printed) = grant(certificate.as_deref())?;
            let old_until_s = now_s.saturating_add(grace_hours.saturating_mul(SECONDS_PER_HOUR));
            let expires_at_s = after_days(now_s, *expires_days);
            registry::update(path, |registry| {
                registry.rotate(name, &grant, now_s, old_until_s, expires_at_s)
            })?;
            Ok(printed)
        }
        ContributorAction::Revoke { name } => {
            registry::update(path, |registry| registry.revoke(name, now_s))?;
            Ok(String::new())
        }
        ContributorAction::List { format } => {
            let registry = registry::read(path)?;
            let rows: Vec<Row<'_>> =
                registry.contributors.iter().map(|contributor| Row::new(contributor, now_s)).collect();
            match format {
                ListFormat::Table => Ok(table(&rows)),
                ListFormat::Json => serde_json::to_string_pretty(&rows)
                    .map(|text| text + "\n")
                    .map_err(|error| DoorError::content(path, error)),
            }
        }
    }
}

/// A new token and its line, or the key of a certificate and nothing to print.
fn grant(certificate: Option<&Path>) -> Result<(Grant, String), DoorError> {
    if let Some(path) = certificate {
        return Ok((Grant::Certificate { spki_sha256: Hex(key_digest_of_file(path)?) }, String::new()));
    }
    let token = Token::generate().map_err(DoorError::Random)?;
    Ok((Grant::from(&token), format!("{}\n", token.reveal())))
}

fn after_days(now_s: u64, days: Option<u64>) -> Option<u64> {
    days.map(|days| now_s.saturating_add(days.saturating_mul(SECONDS_PER_DAY)))
}

/// A contributor as it is shown. Tokens by their id, which opens nothing.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    state: &'static str,
    added_at_s: u64,
    tokens: Vec<Credential>,
    certificates: Vec<Credential>,
}

#[derive(Serialize)]
struct Credential {
    id: String,
    since_s: u64,
    expires_at_s: Option<u64>,
}

impl<'a> Row<'a> {
    fn new(contributor: &'a Contributor, now_s: u64) -> Row<'a> {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        let tokens = contributor.tokens.iter().map(|token| Credential {
            id: hex(&token.id.0),
            since_s: token.created_at_s,
            expires_at_s: token.expires_at_s,
        });
        let certificates = contributor.certificates.iter().map(|entry| Credential {
            id: hex(&entry.spki_sha256.0),
            since_s: entry.added_at_s,
            expires_at_s: entry.expires_at_s,
        });
        let mut row = Row {
            name: &contributor.name,
            state: "revoked",
            added_at_s: contributor.added_at_s,
            tokens: tokens.collect(),
            certificates: certificates.collect(),
        };
        if contributor.revoked_at_s.is_none() {
            let mut all = row.tokens.iter().chain(&row.certificates);
            let open = all.any(|one| one.expires_at_s.is_none_or(|until| until > now_s));
            row.state = if open { "active" } else { "expired" };
        }
        row
    }

    /// When nothing opens any more, as far as that is known.
    fn until_s(&self) -> Option<u64> {
        let all = self.tokens.iter().chain(&self.certificates).map(|one| one.expires_at_s);
        all.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(4);
    let mut text = format!("{:width$}  state    tokens  certificates  added       expires\n", "name");
    for row in rows {
        let until = row.until_s().map_or_else(|| "never".to_owned(), date);
        let (tokens, certificates) = (row.tokens.len(), row.certificates.len());
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{:width$}  {:7}  {tokens:6}  {certificates:12}  {}  {until}",
            row.name,
            row.state,
            date(row.added_at_s)
        );
    }
    text
}

fn date(unix_s: u64) -> String {
    let at = i64::try_from(unix_s).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    at.map_or_else(|| "?".to_owned(), |at| at.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_795_435_200;

    struct Rig {
        _folder: tempfile::TempDir,
        door: config::Door,
    }

    impl Rig {
        fn new() -> Rig {
            let folder = tempfile::tempdir().unwrap();
            let door = config::Door {
                contributors_file: Some(folder.path().join("contributors.json")),
                pseudonym_key_file: Some(folder.path().join("key")),
                ..config::Door::default()
            };
            Rig { _folder: folder, door }
        }

        fn run(&self, action: ContributorAction) -> Result<String, DoorError> {
            run(&action, &self.door, NOW_S)
        }

        fn add(&self, name: &str, expires_days: Option<u64>) -> Result<String, DoorError> {
            self.run(ContributorAction::Add { name: name.to_owned(), expires_days, certificate: None })
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.door.contributors_file.as_ref().unwrap()).unwrap()
        }
    }

    #[test]
    fn a_token_is_printed_once_and_kept_nowhere() {
        let rig = Rig::new();
        let printed = rig.add("acme", None).unwrap();
        let secret = printed.trim().rsplit('_').next().unwrap();
        assert_eq!(secret.len(), 64);
        assert!(!rig.text().contains(secret));
        let list = rig.run(ContributorAction::List { format: ListFormat::Json }).unwrap();
        assert!(!list.contains(secret) && list.contains("\"acme\""), "{list}");
        assert!(rig.door.pseudonym_key_file.as_ref().unwrap().exists());
        assert_eq!(rig.add("acme", None).unwrap_err().code(), "door_name_taken");
        let rotated = rig.run(ContributorAction::Rotate {
            name: "acme".to_owned(),
            grace_hours: 1,
            expires_days: None,
            certificate: None,
        });
        assert_ne!(rotated.unwrap(), printed);
    }

    #[test]
    fn the_list_says_who_may_send() {
        let rig = Rig::new();
        rig.add("acme", None).unwrap();
        rig.add("beta", Some(30)).unwrap();
        rig.add("gamma", Some(0)).unwrap();
        rig.add("delta", None).unwrap();
        rig.run(ContributorAction::Revoke { name: "delta".to_owned() }).unwrap();
        let expected = "\
name   state    tokens  certificates  added       expires
acme   active        1             0  2026-11-23  never
beta   active        1             0  2026-11-23  2026-12-23
gamma  expired       1             0  2026-11-23  2026-11-23
delta  revoked       1             0  2026-11-23  never
";
        assert_eq!(rig.run(ContributorAction::List { format: ListFormat::Table }).unwrap(), expected);
    }

    #[test]
    fn without_a_registry_the_field_is_named() {
        let action = ContributorAction::Revoke { name: "acme".to_owned() };
        let error = run(&action, &config::Door::default(), NOW_S).unwrap_err();
        assert!(error.to_string().contains("ingest.door.contributors_file"), "{error}");
    }
}
