//! Profiles: what an item of one gateway product's telemetry says about requests.
//!
//! In: a span, metric point or webhook record as a source read it. Out: an `Observation` or `StagedPoint`, or the reason why
//! it is none. The same attribute means different things in different products, so nothing is guessed from names alone:
//! a profile is declared, and each module states the versions it was read or measured on.

pub mod access_log;
mod embedded;
mod genai;
mod litellm;
pub mod look;
pub mod otlp;
pub mod prometheus;
pub mod rules;
pub mod tap;

pub use access_log::LogProfile;
pub use otlp::OtlpProfile;

use std::hash::BuildHasher as _;
use std::str::FromStr;

use serde::Deserialize;
use weighbridge_catalog::{Classification, Origin};
use weighbridge_proto::cells::{CellKey, Counts};
use weighbridge_proto::v1::{Choice, GatewayProduct, Operation, Outcome, Streaming, Vantage};

use crate::classifier::Classifier;
use crate::count::{PointClass, StagedPoint};
use crate::discard::{Refusal, Skip};
use crate::observation::{self, Link, Observation};
use crate::source::attributes::{Role, whole_float};
use crate::source::otlp::{Point, PointKind, SeriesHasher, Span};
use crate::source::webhook::Record;

/// A product whose telemetry is understood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Profile {
    /// LiteLLM proxy: OTLP V1 and V2, webhook.
    Litellm,
    /// Anything that emits the OpenTelemetry GenAI conventions (three generations).
    Genai,
    /// Any other: a file of `collector/profiles/otlp/`.
    Data(OtlpProfile),
}

/// There is no profile of this name.
#[derive(Debug, thiserror::Error)]
#[error("{name}: write one of {known}")]
pub struct UnknownProfile {
    name: String,
    known: String,
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Profile, UnknownProfile> {
        // No profile is parsed that is not asked for.
        let in_rust = [Profile::Litellm, Profile::Genai].into_iter().find(|profile| profile.name() == name);
        in_rust
            .or_else(|| OtlpProfile::from_name(name).map(Profile::Data))
            .ok_or_else(|| UnknownProfile { name: name.to_owned(), known: Profile::names(Profile::all()) })
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(|error| serde::de::Error::custom(format!("otlp.profile: {error}")))
    }
}

/// What an intake reads: a product's telemetry, or the lines of a gateway's access log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dialect {
    /// OTLP and webhooks.
    Telemetry(Profile),
    /// An access log.
    AccessLog(LogProfile),
    /// What passes through the tap.
    Tap(tap::TapProfile),
}

impl From<Profile> for Dialect {
    fn from(profile: Profile) -> Dialect {
        Dialect::Telemetry(profile)
    }
}

impl From<LogProfile> for Dialect {
    fn from(profile: LogProfile) -> Dialect {
        Dialect::AccessLog(profile)
    }
}

impl From<tap::TapProfile> for Dialect {
    fn from(profile: tap::TapProfile) -> Dialect {
        Dialect::Tap(profile)
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dialect::Telemetry(profile) => write!(f, "profile {}", profile.name()),
            Dialect::AccessLog(profile) => write!(f, "access-log profile {}", profile.name()),
            Dialect::Tap(profile) => write!(f, "tap profile {}", profile.name()),
        }
    }
}

impl Dialect {
    /// Who posts to the webhook: LiteLLM's `generic_api`, or a gateway whose log profile has one.
    ///
    /// # Errors
    /// No such profile; the text names those that there are.
    pub fn of_webhook(name: &str) -> Result<Dialect, String> {
        if name == Profile::Litellm.name() {
            return Ok(Profile::Litellm.into());
        }
        let posting = LogProfile::from_name(name).filter(|profile| profile.has_webhook());
        posting.map(Dialect::from).ok_or_else(|| {
            let posting = LogProfile::all().filter(|profile| profile.has_webhook());
            let names = posting.map(LogProfile::name).collect::<Vec<_>>().join(", ");
            format!("write one of {}, {names}", Profile::Litellm.name())
        })
    }

    /// Its name, as configuration and commands spell it.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Telemetry(profile) => profile.name(),
            Dialect::AccessLog(profile) => profile.name(),
            Dialect::Tap(profile) => profile.name(),
        }
    }

    /// What reports call the product.
    pub fn gateway_product(self) -> GatewayProduct {
        match self {
            Dialect::Telemetry(profile) => profile.gateway_product(),
            Dialect::AccessLog(profile) => profile.gateway_product(),
            Dialect::Tap(profile) => profile.gateway_product(),
        }
    }
}

/// Why an item is no observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// Not a request of ours.
    Skip(Skip),
    /// Bad input.
    Refuse(Refusal),
}

impl From<Skip> for Discard {
    fn from(skip: Skip) -> Discard {
        Discard::Skip(skip)
    }
}

impl From<Refusal> for Discard {
    fn from(refusal: Refusal) -> Discard {
        Discard::Refuse(refusal)
    }
}

/// What mapping needs beside the item: the classifier and a key for hashes.
#[derive(Debug)]
pub struct Mapper {
    /// Names to numbers.
    pub classifier: Classifier,
    /// Key of series, call and fingerprint hashes: random, never exported.
    pub hasher: SeriesHasher,
    /// Records that were found to be no attempts themselves, in trees of attempts.
    pub links: Vec<Link>,
}

impl Profile {
    /// Every profile.
    pub fn all() -> impl Iterator<Item = Profile> {
        [Profile::Litellm, Profile::Genai].into_iter().chain(OtlpProfile::all().map(Profile::Data))
    }

    /// Names for messages.
    pub fn names(profiles: impl Iterator<Item = Profile>) -> String {
        profiles.map(Profile::name).collect::<Vec<_>>().join(", ")
    }

    /// Its name, as configuration and commands spell it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Litellm | Profile::Genai => self.gateway_product().name(),
            Profile::Data(profile) => profile.rules().name(),
        }
    }

    /// What reports call the product.
    pub fn gateway_product(self) -> GatewayProduct {
        match self {
            Profile::Litellm => GatewayProduct::Litellm,
            Profile::Genai => GatewayProduct::Genai,
            Profile::Data(profile) => profile.rules().gateway_product(),
        }
    }

    /// Where it stands, if the product says so; the GenAI conventions do not.
    pub fn vantage(self) -> Option<Vantage> {
        match self {
            Profile::Litellm => Some(Vantage::Gateway),
            Profile::Genai => None,
            Profile::Data(profile) => Some(profile.rules().vantage()),
        }
    }

    /// Whether it understands spans, `false`: metrics.
    pub fn reads(self, spans: bool) -> bool {
        match self {
            Profile::Litellm | Profile::Genai => true,
            Profile::Data(profile) if spans => profile.rules().has_spans(),
            Profile::Data(profile) => profile.rules().has_metrics(),
        }
    }

    /// What a span says.
    ///
    /// # Errors
    /// The reason why it is not counted.
    #[inline]
    pub fn span(self, span: &Span<'_>, mapper: &mut Mapper) -> Result<Observation, Discard> {
        match self {
            Profile::Litellm => litellm::span(span, mapper),
            Profile::Genai => genai::span(span, mapper),
            Profile::Data(profile) => profile.rules().span(span, mapper),
        }
    }

    /// Whether the points of a metric are looked at.
    pub fn wants_metric(self, metric: &str) -> bool {
        match self {
            Profile::Litellm => litellm::METRICS.iter().any(|(name, ..)| *name == metric),
            Profile::Genai => genai::METRICS.iter().any(|(name, ..)| *name == metric),
            Profile::Data(profile) => profile.rules().wants_metric(metric),
        }
    }

    /// What a metric point says.
    ///
    /// # Errors
    /// The reason why it is not counted.
    pub fn point(self, point: &Point<'_>, mapper: &mut Mapper) -> Result<StagedPoint, Discard> {
        match self {
            Profile::Litellm => litellm::point(point, mapper),
            Profile::Genai => genai::point(point, mapper),
            Profile::Data(profile) => profile.rules().point(point, mapper),
        }
    }

    /// What a webhook record says.
    ///
    /// # Errors
    /// The reason why it is not counted.
    pub fn record(self, record: &Record<'_>, mapper: &mut Mapper) -> Result<Observation, Discard> {
        match self {
            Profile::Litellm => litellm::record(record, mapper),
            Profile::Genai | Profile::Data(_) => Err(Skip::OtherSignal.into()),
        }
    }
}

/// A metric that a profile reads: name, class, rank among synonyms, how its value is read.
type MetricRule = (&'static str, PointClass, u8, MetricValue);

/// How the value of a metric is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricValue {
    /// The number of recorded values.
    Count,
    /// The sum of recorded values, input or output by `gen_ai.token.type`.
    TokensByType,
    /// The sum, input tokens.
    InputTokens,
    /// The sum, output tokens.
    OutputTokens,
}

fn cell_key(
    classification: &Classification,
    operation: Operation,
    streaming: Streaming,
    outcome: Outcome,
) -> CellKey {
    CellKey {
        model: classification.model,
        provider: classification.provider,
        openness: classification.openness,
        hosting: classification.hosting,
        operation,
        choice: Choice::Unknown,
        streaming,
        outcome,
    }
}

fn origin<'a>(item: &crate::source::attributes::Attributes<'a>) -> Origin<'a> {
    Origin { provider: item.text(Role::Provider), address: item.text(Role::ServerAddress) }
}

fn streaming(flag: Option<bool>, absent: Streaming) -> Streaming {
    flag.map_or(absent, |streamed| if streamed { Streaming::Yes } else { Streaming::No })
}

impl Mapper {
    fn hash(&self, parts: (&str, &str, &str, u64)) -> u64 {
        self.hasher.hash_one(parts)
    }

    /// Keyed hash of bytes.
    pub(crate) fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    /// Stages a point of `rule` for `model`. A failed operation adds `failed_requests` requests a unit: 0 where the exporter
    /// tells attempts, 1 where it tells whole requests.
    fn stage(
        &mut self,
        point: &Point<'_>,
        rule: &MetricRule,
        model: &str,
        failed_requests: u64,
    ) -> Result<StagedPoint, Discard> {
        let attributes = &point.attributes;
        if point.no_value {
            return Err(Skip::NoValue.into());
        }
        let operation_label = attributes.text(Role::Operation);
        let operation = if operation_label.is_empty() {
            Operation::Chat
        } else {
            observation::operation(operation_label).ok_or(Skip::Operation)?
        };
        let error_class = attributes.text(Role::ErrorType);
        let outcome = observation::outcome(!error_class.is_empty(), None, error_class);
        let requests = if outcome == Outcome::Ok { 1 } else { failed_requests };
        let (class, unit) = match rule.3 {
            MetricValue::Count => {
                let class = match operation {
                    // An exporter that tells attempts may have a metric of successes beside one of all: its failures
                    // have no synonym then.
                    _ if outcome != Outcome::Ok && failed_requests == 0 => PointClass::FailedAttempts,
                    Operation::Embeddings => PointClass::EmbeddingsRequests,
                    _ => rule.1,
                };
                (class, Counts { requests, attempts: 1, ..Counts::default() })
            }
            MetricValue::InputTokens => (rule.1, Counts { input_tokens: 1, ..Counts::default() }),
            MetricValue::OutputTokens => (rule.1, Counts { output_tokens: 1, ..Counts::default() }),
            MetricValue::TokensByType => match attributes.text(Role::TokenType) {
                "input" | "prompt" => (rule.1, Counts { input_tokens: 1, ..Counts::default() }),
                "output" | "completion" => (rule.1, Counts { output_tokens: 1, ..Counts::default() }),
                // Cached, reasoning and total are subsets or sums of the two.
                _ => return Err(Skip::TokenType.into()),
            },
        };
        let value = match (rule.3, point.kind) {
            (MetricValue::Count, PointKind::Histogram) => point.count,
            _ => whole_float(point.sum.ok_or(Skip::NoValue)?)?,
        };
        let classification = self.classifier.classify(model, origin(attributes));
        Ok(StagedPoint {
            target: point.target,
            series: point.series,
            class,
            rank: rule.2,
            temporality: point.temporality,
            start_unix_nano: point.start_unix_nano,
            is_new_if_unseen: false,
            time_unix_nano: point.time_unix_nano,
            value,
            key: cell_key(&classification, operation, Streaming::Unknown, outcome),
            unit,
        })
    }
}
