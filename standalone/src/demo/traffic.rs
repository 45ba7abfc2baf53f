//! What the demo sends: models, how often they are asked, what goes wrong, and the truth of it.
//!
//! The openness of each model is written here by hand, apart from the register, so that the comparison also checks the
//! register's answer for every one of them.

use std::collections::BTreeMap;

use weighbridge_proto::cells::Counts;
use weighbridge_proto::v1::{Choice, Outcome, Streaming};

/// A model behind the demo's gateway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deployment {
    /// What clients ask for.
    pub(super) alias: &'static str,
    /// LiteLLM's provider label.
    pub(super) provider: &'static str,
    /// `provider/model` as LiteLLM tells it.
    pub(super) served: &'static str,
    /// Address of the upstream.
    pub(super) address: &'static str,
    /// Name in the register; `unlisted` for private ones.
    pub(super) model: &'static str,
    /// Openness of its weights.
    pub(super) openness: &'static str,
    /// Requests out of a hundred.
    pub(super) weight: u32,
    /// Mean input and output tokens.
    pub(super) tokens: (u64, u64),
}

const fn deployment(names: [&'static str; 6], weight: u32, tokens: (u64, u64)) -> Deployment {
    let [alias, provider, served, address, model, openness] = names;
    Deployment { alias, provider, served, address, model, openness, weight, tokens }
}

/// Ten public models and two names that nobody outside knows.
pub(super) const DEPLOYMENTS: [Deployment; 12] = [
    deployment(["smart", "openai", "openai/gpt-4o", "api.openai.com", "gpt-4o", "closed"], 18, (900, 260)),
    deployment(
        ["mini", "openai", "openai/gpt-4o-mini", "api.openai.com", "gpt-4o-mini", "closed"],
        14,
        (600, 180),
    ),
    deployment(
        [
            "claude",
            "anthropic",
            "anthropic/claude-sonnet-4-5-20250929",
            "api.anthropic.com",
            "claude-sonnet-4.5",
            "closed",
        ],
        12,
        (2_400, 420),
    ),
    deployment(
        [
            "gemini",
            "gemini",
            "gemini/gemini-2.5-flash",
            "generativelanguage.googleapis.com",
            "gemini-2.5-flash",
            "closed",
        ],
        6,
        (1_100, 210),
    ),
    deployment(
        [
            "llama",
            "hosted_vllm",
            "hosted_vllm/meta-llama/Llama-3.3-70B-Instruct",
            "vllm.models.svc.cluster.local",
            "llama-3.3",
            "open-restricted",
        ],
        14,
        (800, 240),
    ),
    deployment(
        [
            "deepseek",
            "deepseek",
            "deepseek/deepseek-chat",
            "api.deepseek.com",
            "deepseek-chat",
            "open-permissive",
        ],
        9,
        (1_300, 330),
    ),
    deployment(
        [
            "qwen",
            "together_ai",
            "together_ai/Qwen/Qwen3-235B-A22B-Instruct-2507",
            "api.together.xyz",
            "qwen-3",
            "open-permissive",
        ],
        7,
        (1_000, 280),
    ),
    deployment(
        ["oss", "groq", "groq/openai/gpt-oss-120b", "api.groq.com", "gpt-oss-120b", "open-permissive"],
        7,
        (700, 190),
    ),
    deployment(
        [
            "small",
            "mistral",
            "mistral/mistral-small-2506",
            "api.mistral.ai",
            "mistral-small-3",
            "open-permissive",
        ],
        5,
        (500, 150),
    ),
    deployment(
        [
            "olmo",
            "hosted_vllm",
            "hosted_vllm/allenai/OLMo-2-0325-32B-Instruct",
            "vllm.models.svc.cluster.local",
            "olmo-2",
            "open-source",
        ],
        2,
        (400, 120),
    ),
    deployment(
        [
            "acme",
            "hosted_vllm",
            "hosted_vllm/acme-prod-7",
            "vllm.models.svc.cluster.local",
            "unlisted",
            "unknown",
        ],
        4,
        (650, 200),
    ),
    deployment(
        ["team", "azure", "azure/my-deployment", "acme.openai.azure.com", "unlisted", "unknown"],
        2,
        (750, 230),
    ),
];

/// Where rate-limited requests go.
pub(super) const FALLBACK: usize = 4;

/// How a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Served by the model asked for.
    Served,
    /// 429, then served by the fallback.
    FellBack,
    /// 429 without a fallback.
    RateLimited,
    /// 500.
    Failed,
}

/// What is compared: everything a cell tells of these requests but hosting and provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) model: String,
    pub(super) openness: String,
    pub(super) outcome: String,
    pub(super) choice: String,
    pub(super) streaming: String,
}

/// Counts by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Truth(pub(super) BTreeMap<Key, Counts>);

impl Truth {
    pub(super) fn add(&mut self, key: Key, counts: Counts) {
        if !counts.is_zero() {
            self.0.entry(key).or_default().add(&counts);
        }
    }

    /// Adds one attempt; `ends` when the request ended with it.
    pub(super) fn attempt(
        &mut self,
        to: &Deployment,
        how: (Outcome, Choice, Streaming),
        tokens: (u64, u64),
        ends: bool,
    ) {
        let (outcome, choice, streaming) = how;
        let key = Key {
            model: to.model.to_owned(),
            openness: to.openness.to_owned(),
            outcome: outcome.name().to_owned(),
            choice: choice.name().to_owned(),
            streaming: streaming.name().to_owned(),
        };
        let counts = Counts {
            requests: u64::from(ends),
            attempts: 1,
            input_tokens: tokens.0,
            output_tokens: tokens.1,
        };
        self.add(key, counts);
    }
}
