//! Profiles as data: one YAML file a gateway, `collector/profiles/*.yaml`, so that a new gateway is a file and a sample, no Rust.
//!
//! In: the text of such a file. Out: rules that `profile/prometheus.rs` applies, or an error that names file, rule and fix.
//!
//! ```yaml
//! gateway: kong                    # gateway_product of the reports, and the name of the profile
//! vantage: gateway                 # where such a page stands: gateway, or server, which runs the model itself
//! behind_gateway: true             # it often stands behind a gateway; a server always may
//! versions: "22246ef (2026-07-01), read"
//! notes: ["what it cannot tell"]
//! look: ...                        # what `doctor` looks for, see `look.rs`
//! prometheus:
//!   native_only: {status: 500, fix: "..."}   # what it answers to the text format when its histograms are native only
//!   detect: [kong_ai_llm_requests] # a page with one of these is of this gateway
//!   prefixes: [kserve_]            # also accepted before every name; `_total` and `:` for `_` are accepted anyway
//!   requests:                      # ranked: the first list of which the page has a sample counts, later ones are synonyms
//!     - - metric: kong_ai_llm_requests
//!         value: counter           # counter, count or sum (of a histogram)
//!         model: [ai_model]        # labels by rank; a missing marker ("", None, unknown, -) counts as absent
//!         model_of: {metric: m, key: model_id, label: name}   # else: the label of that metric's sample with the same key
//!         provider: ai_provider
//!         address: api_base
//!         operation: chat          # or {label: op}, read as GenAI operation names; default chat
//!                                  # or {label: method, values: {embedding: embeddings}}; other values are no inference
//!                                  # or {path: route}: the path of the usual APIs; other paths are no inference
//!         outcome: ok              # or {status: code, class: error} or {label: reason, values: {stop: ok}, default: unknown}
//!         streaming: "no"          # or {label: mode, values: [stream]}; default unknown
//!         choice: first            # or {label: fallback_index, first: ["0"]}; default unknown
//!         only: {type: [llm]}      # samples with another value are skipped
//!         except: {cache: [hit]}   # samples with this value are skipped
//!         unserved: {class: [ProxyException]}  # such a request reached no model: counted without model and attempt
//!         less: {metric: hits, on: {model: model}}             # increments to take off: cache replays
//!         retried: {metric: m, on: {...}, except: {index: ["0"]}}   # of the increments, as many had another try: attempts only
//!         streamed: {metric: ttft, value: count, on: {...}}    # of the increments, as many were streamed, the rest not
//!         fallback: {metric: fallbacks, on: {...}}             # of the increments, as many were a fallback, the rest not
//!   attempts: ...                  # same; without it every request that reached a model is one attempt
//!   tokens:                        # same, and which tokens:
//!     - - {metric: t, value: sum, model: [m], tokens: {label: gen_ai_token_type, input: [input], output: [output]}}
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use weighbridge_proto::v1::{GatewayProduct, Vantage};

use super::embedded::PROMETHEUS;
use super::look::PageLook;

/// Why a profile is not taken.
#[derive(Debug, thiserror::Error)]
#[error("profile {profile}: {fix}")]
pub struct ProfileError {
    /// Name of the profile.
    pub profile: String,
    /// What to write instead.
    pub fix: String,
}

/// A profile's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// Name of the profile, one of the gateway products.
    pub gateway: String,
    /// Where the gateway or server stands.
    pub vantage: String,
    /// A gateway of engines that often stands behind a gateway of applications; see `may_stand_behind_gateway`.
    #[serde(default)]
    pub behind_gateway: bool,
    /// Which versions the rules were read or measured on.
    pub versions: String,
    /// What a person should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What `doctor` looks for.
    pub look: PageLook,
    /// Rules for `/metrics` pages.
    pub prometheus: PrometheusRules,
}

/// Rules for `/metrics` pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusRules {
    /// Metrics of which one is on every page of this gateway and on no other's.
    pub detect: Vec<String>,
    /// What its page answers when its histograms are native only, which the text format cannot hold.
    pub native_only: Option<NativeOnly>,
    /// Also accepted before every metric's name.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Requests, by rank.
    pub requests: Vec<Vec<MetricRule>>,
    /// Attempts, by rank.
    #[serde(default)]
    pub attempts: Vec<Vec<MetricRule>>,
    /// Tokens, by rank.
    #[serde(default)]
    pub tokens: Vec<Vec<MetricRule>>,
}

/// How a gateway shows that its histograms are native only.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeOnly {
    /// The HTTP status of its answer to a request for the text format.
    pub status: u16,
    /// What to write in its configuration.
    pub fix: String,
}

/// What a value of a metric is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    /// A counter.
    #[default]
    Counter,
    /// Number of values in a histogram.
    Count,
    /// Sum of the values in a histogram.
    Sum,
}

/// Values by label.
pub type Values = BTreeMap<String, Vec<String>>;

/// How one metric is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricRule {
    /// Its name, without `_total`.
    pub metric: String,
    /// What its value is.
    #[serde(default)]
    pub value: ValueKind,
    /// Labels that name the served model, by rank.
    #[serde(default)]
    pub model: Vec<String>,
    /// Another metric that names it.
    pub model_of: Option<Lookup>,
    /// Label of the provider.
    pub provider: Option<String>,
    /// Label of the upstream's address.
    pub address: Option<String>,
    /// Operation.
    pub operation: Option<OperationRule>,
    /// Outcome.
    pub outcome: Option<OutcomeRule>,
    /// Whether the answer was streamed.
    pub streaming: Option<StreamingRule>,
    /// First choice or fallback.
    pub choice: Option<ChoiceRule>,
    /// Which tokens, in the section `tokens`.
    pub tokens: Option<TokensRule>,
    /// Samples that count.
    #[serde(default)]
    pub only: Values,
    /// Samples that do not.
    #[serde(default)]
    pub except: Values,
    /// Samples of requests that reached no model.
    #[serde(default)]
    pub unserved: Values,
    /// Increments to take off.
    pub less: Option<Join>,
    /// Increments after which the gateway tried again: attempts, but not how a request ended.
    pub retried: Option<Join>,
    /// Increments that were streamed.
    pub streamed: Option<Join>,
    /// Increments that were a fallback.
    pub fallback: Option<Join>,
}

/// A name that stands on another metric's sample.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The other metric.
    pub metric: String,
    /// Label with the same value on both.
    pub key: String,
    /// Label with the name.
    pub label: String,
}

/// Another metric whose increments say something about some of ours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The other metric.
    pub metric: String,
    /// What its value is.
    #[serde(default)]
    pub value: ValueKind,
    /// Our label to theirs: the values must be the same.
    pub on: BTreeMap<String, String>,
    /// Its samples that say so.
    #[serde(default)]
    pub only: Values,
    /// Its samples that do not.
    #[serde(default)]
    pub except: Values,
}

/// Operation of a sample.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OperationRule {
    /// Always this one.
    Fixed(String),
    /// By values of a label; any other value is no inference.
    Values {
        /// The label.
        label: String,
        /// Value to operation.
        values: BTreeMap<String, String>,
    },
    /// By a label with GenAI operation names.
    Label {
        /// The label.
        label: String,
    },
    /// By a label with the request's path; a path of none of the usual APIs is no inference.
    Path {
        /// The label.
        path: String,
    },
}

/// Outcome of a sample.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OutcomeRule {
    /// Always this one.
    Fixed(String),
    /// By values of a label.
    Label {
        /// The label.
        label: String,
        /// Value to outcome.
        values: BTreeMap<String, String>,
        /// Any other value.
        default: String,
    },
    /// By HTTP status and error class, as for events.
    Status {
        /// Label of the status.
        status: Option<String>,
        /// Label of the class.
        class: Option<String>,
    },
}

/// Whether a sample's requests were streamed.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum StreamingRule {
    /// Always this.
    Fixed(String),
    /// By values of a label; any other value is no.
    Label {
        /// The label.
        label: String,
        /// Values that mean yes.
        values: Vec<String>,
    },
}

/// First choice or fallback.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum ChoiceRule {
    /// Always this.
    Fixed(String),
    /// By values of a label; any other value is a fallback.
    Label {
        /// The label.
        label: String,
        /// Values that mean first.
        first: Vec<String>,
    },
}

/// Which tokens a sample counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum TokensRule {
    /// `input` or `output`.
    Fixed(String),
    /// By values of a label; any other value is a subset or a sum of the two and is skipped.
    Label {
        /// The label.
        label: String,
        /// Values that mean input.
        input: Vec<String>,
        /// Values that mean output.
        output: Vec<String>,
    },
}

impl ProfileFile {
    /// Parses a file.
    ///
    /// # Errors
    /// Not YAML, an unknown field, or a name that is none.
    pub fn parse(profile: &str, text: &str) -> Result<ProfileFile, ProfileError> {
        let fail = |fix: String| ProfileError { profile: profile.to_owned(), fix };
        let file: ProfileFile = serde_saphyr::from_str(text).map_err(|error| fail(error.to_string()))?;
        if file.gateway != profile || GatewayProduct::from_name(profile).is_none() {
            return Err(fail(format!(
                "gateway: write the name of the file, a gateway product; not {}",
                file.gateway
            )));
        }
        if Vantage::from_name(&file.vantage).is_none() {
            return Err(fail("vantage: write gateway or server".to_owned()));
        }
        if file.prometheus.requests.is_empty() {
            return Err(fail("prometheus.requests: write at least one metric".to_owned()));
        }
        Ok(file)
    }

    /// Whether a contributor may say that a counted gateway stands in front of it: a model server or a router of engines. What
    /// applications talk to does not: its counts would be missing from every split.
    pub fn may_stand_behind_gateway(&self) -> bool {
        self.behind_gateway || self.vantage == Vantage::Server.name()
    }
}

/// The profiles for `/metrics` pages, by name.
pub const NAMES: &[&str] = &{
    let mut names = [""; PROMETHEUS.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = PROMETHEUS[place].0;
        place += 1;
    }
    names
};

fn text(name: &str) -> Option<&'static str> {
    PROMETHEUS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The profile of this name.
///
/// # Errors
/// There is none, or its file is wrong.
pub fn named(name: &str) -> Result<ProfileFile, ProfileError> {
    let unknown =
        || ProfileError { profile: name.to_owned(), fix: format!("write one of {}", NAMES.join(", ")) };
    ProfileFile::parse(name, text(name).ok_or_else(unknown)?)
}
