//! Access-log profiles: what the fields of one gateway's log say about requests, as data (`collector/profiles/access-log/`).
//!
//! A profile is one YAML file: which fields tell what, by rank; words for operations, streaming and cache hits; what Envoy's
//! response flags mean; how attempts tell a choice. A new gateway is a file and a sample. One line is one client request:
//! retries and fallbacks inside it are attempts.

mod map;
mod time;

pub(super) use map::{PathOperation, operation_of_path};

use std::collections::BTreeMap;

use serde::Deserialize;
use weighbridge_proto::v1::{GatewayProduct, Operation, Outcome, Streaming};

use super::embedded::{self, ACCESS_LOG, Embedded};
use super::look::LogLook;
use crate::message::names_of;
use crate::source::access_log::{Fields, PathError, Role};

/// The profiles that come with the collector.
static EMBEDDED: Embedded<Rules, { ACCESS_LOG.len() }> =
    Embedded::new(ACCESS_LOG, |text| Rules::parse(text).ok());

/// Why a profile is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not YAML, an unknown field, a value of the wrong kind.
    #[error("access-log profile: {0}")]
    Parse(String),
    /// A field path.
    #[error("access-log profile {profile}: {field:?}: {source}")]
    Path {
        /// The profile.
        profile: String,
        /// What the path is for.
        field: Role,
        /// What is wrong.
        source: PathError,
    },
    /// A word that is not in its vocabulary.
    #[error("access-log profile {profile}: {field}: {word}: write one of {expected}")]
    Word {
        /// The profile.
        profile: String,
        /// The field of the file.
        field: &'static str,
        /// What stands there.
        word: String,
        /// The vocabulary.
        expected: String,
    },
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    gateway_product: String,
    /// Versions, sources, what it tells and what not: for people.
    #[serde(rename = "notes")]
    _notes: Vec<String>,
    look: LogLook,
    /// The gateway posts its entries to a URL by itself, one object or an array of them a request.
    #[serde(default)]
    webhook: bool,
    fields: BTreeMap<Role, Vec<String>>,
    /// Fields of Envoy's gRPC access log: `/metadata/NAMESPACE/KEY`, `/request_headers/NAME`, `/response_headers/NAME`.
    #[serde(default)]
    als_fields: BTreeMap<Role, Vec<String>>,
    #[serde(default)]
    operations: BTreeMap<String, String>,
    #[serde(default)]
    streaming: Words,
    #[serde(default)]
    cache_hits: Vec<String>,
    #[serde(default)]
    flags: BTreeMap<String, String>,
    #[serde(default)]
    errors: BTreeMap<String, String>,
    #[serde(default)]
    unreached: Unreached,
    /// Beginnings of the response code details that prove an attempt, whatever the flags say.
    #[serde(default)]
    reached_details: Vec<String>,
    #[serde(default)]
    model_after: String,
}

/// Words for yes and no.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    #[serde(default)]
    pub(super) yes: Vec<String>,
    #[serde(default)]
    pub(super) no: Vec<String>,
}

/// What marks a request that reached no upstream.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unreached {
    /// Response flags.
    #[serde(default)]
    pub(super) flags: Vec<String>,
    /// Beginnings of the response code details.
    #[serde(default)]
    pub(super) details: Vec<String>,
}

/// The rules of one gateway's log.
#[derive(Debug)]
pub struct Rules {
    name: String,
    look: LogLook,
    product: GatewayProduct,
    webhook: bool,
    fields: Fields,
    als_fields: Fields,
    operations: Vec<(Box<[u8]>, Operation)>,
    streaming: Vec<(Box<[u8]>, Streaming)>,
    cache_hits: Vec<Box<[u8]>>,
    flags: Vec<(Box<[u8]>, Outcome)>,
    errors: Vec<(Box<[u8]>, Outcome)>,
    unreached_flags: Vec<Box<[u8]>>,
    unreached_details: Vec<Box<[u8]>>,
    reached_details: Vec<Box<[u8]>>,
    model_after: String,
}

/// One of the access-log profiles.
#[derive(Clone, Copy, Debug)]
pub struct LogProfile(&'static Rules);

impl PartialEq for LogProfile {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl<'de> Deserialize<'de> for LogProfile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        LogProfile::from_name(&name).ok_or_else(|| {
            let names = LogProfile::names();
            serde::de::Error::custom(format!("access_log.profile: {name}: write one of {names}"))
        })
    }
}

impl LogProfile {
    /// Every profile that comes with the collector.
    pub fn all() -> impl Iterator<Item = LogProfile> + Clone {
        EMBEDDED.all().map(LogProfile)
    }

    /// The profile with this name.
    pub fn from_name(name: &str) -> Option<LogProfile> {
        EMBEDDED.get(name).map(LogProfile)
    }

    /// The names of all profiles, for messages.
    pub fn names() -> String {
        embedded::names(ACCESS_LOG)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// What reports call the product.
    pub fn gateway_product(self) -> GatewayProduct {
        self.0.product
    }

    /// Whether the gateway posts its entries to a URL by itself.
    pub fn has_webhook(self) -> bool {
        self.0.webhook
    }

    /// Its rules.
    #[inline]
    pub fn rules(self) -> &'static Rules {
        self.0
    }
}

impl Rules {
    /// Reads a profile.
    ///
    /// # Errors
    /// See `ProfileError`.
    pub fn parse(text: &str) -> Result<Rules, ProfileError> {
        let file: File =
            serde_saphyr::from_str(text).map_err(|error| ProfileError::Parse(error.to_string()))?;
        let word = |field, word: &str, expected: String| ProfileError::Word {
            profile: file.name.clone(),
            field,
            word: word.to_owned(),
            expected,
        };
        let product = GatewayProduct::from_name(&file.gateway_product).ok_or_else(|| {
            word(
                "gateway_product",
                &file.gateway_product,
                names_of(GatewayProduct::ALL, |value| value.name()),
            )
        })?;
        let outcomes = |field, words: &BTreeMap<String, String>| -> Result<Vec<_>, ProfileError> {
            let outcome = |(key, name): (&String, &String)| {
                let outcome = Outcome::from_name(name)
                    .ok_or_else(|| word(field, name, names_of(Outcome::ALL, |value| value.name())))?;
                Ok((bytes(key), outcome))
            };
            words.iter().map(outcome).collect()
        };
        let operation = |(key, name): (&String, &String)| {
            let operation = Operation::from_name(name)
                .ok_or_else(|| word("operations", name, names_of(Operation::ALL, |value| value.name())))?;
            Ok((bytes(key), operation))
        };
        let streaming = [(&file.streaming.yes, Streaming::Yes), (&file.streaming.no, Streaming::No)];
        Ok(Rules {
            product,
            webhook: file.webhook,
            fields: compile(&file.name, &file.fields)?,
            als_fields: compile(&file.name, &file.als_fields)?,
            operations: file.operations.iter().map(operation).collect::<Result<_, ProfileError>>()?,
            streaming: streaming
                .into_iter()
                .flat_map(|(words, value)| words.iter().map(move |word| (bytes(word), value)))
                .collect(),
            cache_hits: file.cache_hits.iter().map(|word| bytes(word)).collect(),
            flags: outcomes("flags", &file.flags)?,
            errors: outcomes("errors", &file.errors)?,
            unreached_flags: file.unreached.flags.iter().map(|word| bytes(word)).collect(),
            unreached_details: file.unreached.details.iter().map(|word| bytes(word)).collect(),
            reached_details: file.reached_details.iter().map(|word| bytes(word)).collect(),
            model_after: file.model_after,
            name: file.name,
            look: file.look,
        })
    }

    /// The fields of its JSON log, and of OTLP attributes.
    #[inline]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What `doctor` looks for.
    pub fn look(&self) -> &LogLook {
        &self.look
    }

    /// The fields of its gRPC access log.
    pub fn als_fields(&self) -> &Fields {
        &self.als_fields
    }
}

fn compile(profile: &str, paths: &BTreeMap<Role, Vec<String>>) -> Result<Fields, ProfileError> {
    let mut fields = Fields::default();
    for (role, paths) in paths {
        for (rank, path) in paths.iter().enumerate() {
            let rank = u8::try_from(rank).unwrap_or(u8::MAX - 1).min(u8::MAX - 1);
            fields.add(path, *role, rank).map_err(|source| ProfileError::Path {
                profile: profile.to_owned(),
                field: *role,
                source,
            })?;
        }
    }
    Ok(fields)
}

fn bytes(word: &str) -> Box<[u8]> {
    word.as_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_parses() {
        for (name, text) in ACCESS_LOG {
            let rules = Rules::parse(text).unwrap();
            assert_eq!(rules.name, *name, "the file's name");
            assert_eq!(LogProfile::from_name(&rules.name).unwrap().gateway_product(), rules.product);
        }
        assert_eq!(LogProfile::all().count(), ACCESS_LOG.len());
        assert!(LogProfile::from_name("litellm").is_none());
    }

    #[test]
    fn faults_name_the_field_and_the_fix() {
        let good = "name: x\ngateway_product: kong\nnotes: []\nlook: {name: X, keys: [], tells: [], off: o, file: f, doubles: d}\nfields: {status: [/status]}\n";
        Rules::parse(good).unwrap();
        let faults = [
            (good.replace("kong", "king"), "gateway_product: king: write one of other"),
            (good.replace("/status", "status"), "Status: status: write a path"),
            (good.replace("/status", "/a/@length/b"), "`@length` must be the last step"),
            (good.replace("{status", "{state"), "state"),
            (format!("{good}flags: {{DC: gone}}\n"), "flags: gone: write one of ok"),
            (format!("{good}colour: red\n"), "colour"),
        ];
        for (text, expected) in faults {
            let error = Rules::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
