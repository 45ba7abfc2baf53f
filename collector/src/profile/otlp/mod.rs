//! OTLP profiles as data, `collector/profiles/otlp/`: what the spans and metric points of one product say about requests.
//!
//! In: the text of a file (`file.rs` documents it). Out: rules compiled for the hot path: attribute keys as an allow-list by
//! length and bytes, words as bytes, or an error that names file, rule and fix. A new product is a file and a sample, no Rust.
//! Guarantees: a span or point of a scope that the file does not list is skipped; nothing is guessed from names alone; tokens
//! that are a subset of others are not listed and cannot be added.

mod file;
mod points;
mod spans;

use std::collections::BTreeMap;
use weighbridge_catalog::Origin;
use weighbridge_proto::v1::{GatewayProduct, Operation, Outcome, Streaming, Vantage};

use super::embedded::{Embedded, OTLP};
use super::rules::ProfileError;
use crate::message::names_of;
use crate::observation;
use crate::source::attributes::{Attributes, Role, Scalar, is_missing_text};
use crate::source::keys::Keys;
use file::File;
use points::Metrics;
use spans::Spans;

/// The profiles that come with the collector.
static EMBEDDED: Embedded<Rules, { OTLP.len() }> = Embedded::new(OTLP, |text| Rules::parse(text).ok());

/// One of the OTLP profiles that are data.
#[derive(Clone, Copy, Debug)]
pub struct OtlpProfile(&'static Rules);

impl PartialEq for OtlpProfile {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl OtlpProfile {
    /// Every profile that comes with the collector.
    pub fn all() -> impl Iterator<Item = OtlpProfile> {
        EMBEDDED.all().map(OtlpProfile)
    }

    /// The profile with this name.
    pub fn from_name(name: &str) -> Option<OtlpProfile> {
        EMBEDDED.get(name).map(OtlpProfile)
    }

    /// Its rules.
    #[inline]
    pub fn rules(self) -> &'static Rules {
        self.0
    }
}

/// The rules of one product's telemetry.
#[derive(Debug)]
pub struct Rules {
    name: String,
    product: GatewayProduct,
    vantage: Vantage,
    keys: Keys,
    operations: Vec<(Box<str>, Operation)>,
    schema_only: Vec<Box<str>>,
    streaming: Vec<(Box<str>, Streaming)>,
    cache_hits: Vec<Box<str>>,
    errors: Vec<(Box<str>, Outcome)>,
    unreached: Vec<Box<str>>,
    spans: Option<Spans>,
    metrics: Option<Metrics>,
}

impl Rules {
    /// Reads a profile.
    ///
    /// # Errors
    /// Not YAML, an unknown field, a word that is in no vocabulary, or a rule that counts nothing.
    pub fn parse(text: &str) -> Result<Rules, ProfileError> {
        let file: File = serde_saphyr::from_str(text)
            .map_err(|error| ProfileError { profile: "otlp".to_owned(), fix: error.to_string() })?;
        let fail = |fix: String| ProfileError { profile: file.name.clone(), fix };
        let product = GatewayProduct::from_name(&file.gateway_product).ok_or_else(|| {
            fail(format!(
                "gateway_product: write one of {}",
                names_of(GatewayProduct::ALL, |value| value.name())
            ))
        })?;
        let vantage = Vantage::from_name(&file.vantage).ok_or_else(|| {
            fail(format!("vantage: write one of {}", names_of(Vantage::ALL, |value| value.name())))
        })?;
        let mut keys = Keys::default();
        for (role, names) in &file.attributes {
            for (rank, name) in names.iter().enumerate() {
                let rank = u8::try_from(rank).unwrap_or(u8::MAX - 1).min(u8::MAX - 1);
                let added = keys.add(name, *role, rank);
                added.map_err(|error| fail(format!("attributes: {role:?}: {name}: {error}")))?;
            }
        }
        if file.spans.is_none() && file.metrics.is_none() {
            return Err(fail("write spans or metrics".to_owned()));
        }
        let streaming = [(&file.streaming.yes, Streaming::Yes), (&file.streaming.no, Streaming::No)];
        let streaming = streaming
            .into_iter()
            .flat_map(|(words, value)| words.iter().map(move |word| (word.as_str().into(), value)));
        Ok(Rules {
            product,
            vantage,
            keys,
            operations: operations("operations", &file.operations).map_err(fail)?,
            schema_only: file.schema_only.iter().map(|word| word.as_str().into()).collect(),
            streaming: streaming.collect(),
            cache_hits: file.cache_hits.iter().map(|word| word.as_str().into()).collect(),
            errors: words("errors", &file.errors, Outcome::from_name, || {
                names_of(Outcome::ALL, |value| value.name())
            })
            .map_err(fail)?,
            unreached: file.unreached.details.iter().map(|word| word.as_str().into()).collect(),
            spans: file.spans.as_ref().map(Spans::new).transpose().map_err(fail)?,
            metrics: file.metrics.as_ref().map(Metrics::new).transpose().map_err(fail)?,
            name: file.name,
        })
    }

    /// Its name, as configuration and commands spell it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What reports call the product.
    pub fn gateway_product(&self) -> GatewayProduct {
        self.product
    }

    /// Where the product stands.
    pub fn vantage(&self) -> Vantage {
        self.vantage
    }

    /// The attributes that are read.
    #[inline]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether its spans are understood.
    pub fn has_spans(&self) -> bool {
        self.spans.is_some()
    }

    /// Whether its metrics are understood.
    pub fn has_metrics(&self) -> bool {
        self.metrics.is_some()
    }

    /// What an operation label means; `None` if it is no inference.
    fn operation(&self, label: &str) -> Option<Operation> {
        let told = self.operations.iter().find(|(word, _)| **word == *label).map(|(_, operation)| *operation);
        told.or_else(|| observation::operation(label))
    }

    /// The served model, else the one that was asked for.
    fn model<'a>(&self, attributes: &Attributes<'a>) -> &'a str {
        let named = [attributes.text(Role::ResponseModel), attributes.text(Role::RequestModel)];
        named.into_iter().find(|name| !is_missing_text(name.as_bytes())).unwrap_or("")
    }

    /// Who served it. A label that only names the API's schema says nothing of that.
    fn origin<'a>(&self, attributes: &Attributes<'a>) -> Origin<'a> {
        let label = attributes.text(Role::Provider);
        let is_schema = self.schema_only.iter().any(|word| word.eq_ignore_ascii_case(label));
        Origin { provider: if is_schema { "" } else { label }, address: attributes.text(Role::ServerAddress) }
    }

    fn streaming(&self, attributes: &Attributes<'_>) -> Streaming {
        if attributes.has(Role::FirstChunk) {
            return Streaming::Yes;
        }
        let word = attributes.text(Role::Streaming);
        let told = self.streaming.iter().find(|(known, _)| **known == *word).map(|(_, streaming)| *streaming);
        told.unwrap_or_else(|| super::streaming(attributes.flag(Role::Streaming), Streaming::Unknown))
    }

    fn is_cache_hit(&self, attributes: &Attributes<'_>) -> bool {
        match attributes.get(Role::CacheHit) {
            Scalar::None => false,
            Scalar::Text(word) if self.cache_hits.iter().any(|hit| hit.eq_ignore_ascii_case(word)) => true,
            _ => attributes.flag(Role::CacheHit) == Some(true),
        }
    }

    fn outcome(&self, failed: bool, status: Option<u16>, class: &str) -> Outcome {
        let last = class.rsplit('.').next().unwrap_or(class);
        let told = self.errors.iter().find(|(word, _)| **word == *class || **word == *last);
        told.map_or_else(|| observation::outcome(failed, status, class), |(_, outcome)| *outcome)
    }
}

/// Scopes whose items are read: whole names, and beginnings written with a star at their end.
#[derive(Debug)]
struct Scopes(Vec<(Box<str>, bool)>);

impl Scopes {
    fn new(section: &str, scopes: &[String]) -> Result<Scopes, String> {
        if scopes.is_empty() {
            return Err(format!("{section}.scopes: list at least one"));
        }
        let scope = |scope: &String| match scope.strip_suffix('*') {
            Some(beginning) => (beginning.into(), true),
            None => (scope.as_str().into(), false),
        };
        Ok(Scopes(scopes.iter().map(scope).collect()))
    }

    fn admits(&self, scope: &str) -> bool {
        self.0.iter().any(
            |(name, is_beginning)| {
                if *is_beginning { scope.starts_with(&**name) } else { **name == *scope }
            },
        )
    }
}

fn operations(field: &str, names: &BTreeMap<String, String>) -> Result<Vec<(Box<str>, Operation)>, String> {
    words(field, names, Operation::from_name, || names_of(Operation::ALL, |value| value.name()))
}

/// Words of the product to values of ours.
fn words<T>(
    field: &str,
    words: &BTreeMap<String, String>,
    value: impl Fn(&str) -> Option<T>,
    known: impl Fn() -> String,
) -> Result<Vec<(Box<str>, T)>, String> {
    let pair = |(word, name): (&String, &String)| {
        let value = value(name).ok_or_else(|| format!("{field}: {name}: write one of {}", known()))?;
        Ok((word.as_str().into(), value))
    };
    words.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_parses() {
        for (name, text) in OTLP {
            let rules = Rules::parse(text).unwrap();
            assert_eq!(rules.name(), *name, "the file's name");
            assert_eq!(GatewayProduct::from_name(rules.name()), Some(rules.gateway_product()), "one name");
        }
        assert_eq!(OtlpProfile::all().count(), OTLP.len());
    }

    #[test]
    fn faults_name_the_field_and_the_fix() {
        let good = "name: x\ngateway_product: kong\nvantage: gateway\nversions: '1'\nnotes: []\n\
            attributes: {operation: [op]}\nspans: {scopes: [kong]}\n\
            metrics: {scopes: ['*'], requests: [[{metric: m}]], tokens: [[{metric: t, tokens: by_type}]]}\n";
        Rules::parse(good).unwrap();
        let faults = [
            (good.replace("kong\nv", "king\nv"), "gateway_product: write one of other"),
            (good.replace("vantage: gateway", "vantage: roof"), "vantage: write one of gateway"),
            (good.replace("{operation: [op]}", "{operation: [op, op]}"), "a key can stand once"),
            (good.replace("{operation: [op]}", "{operation: ['']}"), "write a key of 1 to 63 bytes"),
            (good.replace("{operation: [op]}", "{served: [op]}"), "served"),
            (good.replace("scopes: [kong]", "scopes: []"), "spans.scopes: list at least one"),
            (
                good.replace("scopes: [kong]", "scopes: [kong], kinds: [upstream]"),
                "spans.kinds: upstream: write one of",
            ),
            (
                good.replace("scopes: [kong]", "scopes: [kong], nested: true, tree: {root: r, branches: []}"),
                "spans: nested or tree",
            ),
            (good.replace("[[{metric: m}]]", "[]"), "metrics.requests: list at least one metric"),
            (good.replace(", tokens: by_type", ""), "metrics.tokens: t: say which tokens"),
            (
                good.replace("{metric: m}", "{metric: m, operation: talk}"),
                "metrics.requests: talk: write one of chat",
            ),
            (format!("{good}operations: {{LLM: talk}}\n"), "operations: talk: write one of chat"),
            (format!("{good}errors: {{Throttled: gone}}\n"), "errors: gone: write one of ok"),
            (format!("{good}colour: red\n"), "colour"),
        ];
        for (text, expected) in faults {
            let error = Rules::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let neither = good.lines().filter(|line| !line.starts_with("spans") && !line.starts_with("metrics"));
        let error = Rules::parse(&neither.collect::<Vec<_>>().join("\n")).unwrap_err().to_string();
        assert!(error.contains("write spans or metrics"), "{error}");
    }

    #[test]
    fn scopes_are_whole_names_or_beginnings() {
        let scopes = Scopes::new("spans", &["a.b".to_owned(), "c.*".to_owned()]).unwrap();
        for (scope, admitted) in
            [("a.b", true), ("a.b.c", false), ("a", false), ("c.d", true), ("c", false), ("", false)]
        {
            assert_eq!(scopes.admits(scope), admitted, "{scope}");
        }
    }
}
