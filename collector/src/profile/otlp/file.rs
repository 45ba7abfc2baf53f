//! The file of an OTLP profile, `collector/profiles/otlp/*.yaml`.
//!
//! ```yaml
//! name: kong                       # of the profile
//! gateway_product: kong            # gateway_product of the reports
//! vantage: gateway                 # where it stands: gateway, server or client
//! versions: "3.14, documentation"
//! notes: ["what it tells and what not"]
//! attributes:                      # what is read, synonyms by rank; no other attribute is decoded
//!   operation: [gen_ai.operation.name]
//!   requested_model: [gen_ai.request.model]
//!   served_model: [gen_ai.response.model]        # counted; without it the requested one
//!   provider: [gen_ai.provider.name, gen_ai.system]
//!   upstream: [server.address]
//!   input_tokens: [gen_ai.usage.input_tokens]    # subsets such as cached tokens are not listed, so they are never added
//!   output_tokens: [gen_ai.usage.output_tokens]
//!   token_type: [gen_ai.token.type]
//!   error: [error.type]            # present only on errors
//!   status: [http.response.status_code]
//!   streaming: [gen_ai.request.stream]
//!   first_chunk: [gen_ai.response.time_to_first_chunk]   # present only if streamed
//!   response_id: [gen_ai.response.id]            # two spans with one id are one call
//!   cache: [cache_hit]             # a word of cache_hits, or true: no model was asked
//!   retries: [retry.attempt]       # attempts after the first
//!   path: [http.path]              # tells the operation where no label does
//!   details: [reason]              # see unreached
//! operations: {LLM: chat}          # words beside the names of the GenAI conventions
//! schema_only: [openai]            # provider labels that name the API's schema: they say nothing of hosting
//! streaming: {yes: [stream], no: [oneshot]}      # beside true and false
//! cache_hits: [hit]
//! errors: {ThrottlingException: rate_limited}    # error classes, before the common ones
//! unreached: {details: [RateLimit]}              # beginnings of the details of a request that reached no model
//! spans:
//!   scopes: [kong-internal, "kong*"]             # spans of other scopes are skipped
//!   kinds: [client]                # default: all
//!   names: [kong.gen_ai]           # default: all
//!   operations: {AudioSpeech: audio}             # by span name, where one label stands for several operations
//!   needs_provider: false          # default true: an operation without a provider is no call to a model
//!   exceptions: true               # without an error class: the one of the last exception event
//!   streamed_events: [First Token Stream Event]  # an event that only streams have
//!   nested: true                   # of spans around one another that all count, the innermost is the call
//!   tree: {root: function_inference, branches: [model_inference]}   # attempts of one request are leaves of such a tree
//! metrics:
//!   scopes: [kong-internal]
//!   requests:                      # by rank: of the lists, the first that a process sends counts, later ones are synonyms
//!     - - {metric: gen_ai.client.operation.duration}       # histogram: its count; counter: its value
//!   tokens:
//!     - - {metric: gen_ai.client.token.usage, tokens: by_type}   # or input, output
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::access_log::{Unreached, Words};
use crate::source::attributes::Role;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) gateway_product: String,
    pub(super) vantage: String,
    /// For people, like the notes.
    #[serde(rename = "versions")]
    _versions: String,
    #[serde(rename = "notes")]
    _notes: Vec<String>,
    pub(super) attributes: BTreeMap<Role, Vec<String>>,
    #[serde(default)]
    pub(super) operations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) schema_only: Vec<String>,
    #[serde(default)]
    pub(super) streaming: Words,
    #[serde(default)]
    pub(super) cache_hits: Vec<String>,
    #[serde(default)]
    pub(super) errors: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) unreached: Unreached,
    pub(super) spans: Option<SpanSection>,
    pub(super) metrics: Option<MetricSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpanSection {
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) kinds: Vec<String>,
    #[serde(default)]
    pub(super) names: Vec<String>,
    #[serde(default)]
    pub(super) operations: BTreeMap<String, String>,
    #[serde(default = "yes")]
    pub(super) needs_provider: bool,
    #[serde(default)]
    pub(super) exceptions: bool,
    #[serde(default)]
    pub(super) streamed_events: Vec<String>,
    #[serde(default)]
    pub(super) nested: bool,
    pub(super) tree: Option<TreeSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TreeSection {
    pub(super) root: String,
    pub(super) branches: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricSection {
    pub(super) scopes: Vec<String>,
    pub(super) requests: Vec<Vec<MetricEntry>>,
    #[serde(default)]
    pub(super) tokens: Vec<Vec<MetricEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricEntry {
    pub(super) metric: String,
    /// Of a metric of tokens: which.
    pub(super) tokens: Option<Tokens>,
    /// Of points without an operation; chat by default.
    pub(super) operation: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tokens {
    Input,
    Output,
    /// As the attribute `token_type` says; anything but input and output is a subset or a sum of them.
    ByType,
}

fn yes() -> bool {
    true
}
