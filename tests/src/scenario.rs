//! What the client, the gateway and the model provider of a test agree on: deployments, behaviours, canaries.
//!
//! Each request carries a mark, `wb-000123`, in its text, so that what the client sent and what the provider saw
//! can be compared one by one. Token counts follow from the mark.

use std::time::Duration;

/// Strings that may show up nowhere but between client, gateway and provider.
pub mod canaries {
    /// In every prompt.
    pub const PROMPT: &str = "canary-prompt-Zk41vQ7m";
    /// In every answer of the provider.
    pub const ANSWER: &str = "canary-answer-Hw93xT2p";
    /// The key that clients show to the gateway.
    pub const KEY: &str = "sk-canary-key-Bf58nR6d";
    /// The key that the gateway shows to the provider.
    pub const UPSTREAM_KEY: &str = "sk-canary-upstream-Ls20cJ9e";
    /// A key that the gateway refuses.
    pub const BAD_KEY: &str = "sk-canary-badkey-Yt64gM1a";
    /// The end user that a request names.
    pub const USER: &str = "canary-user-Pd77kV3s@example.org";
    /// The value of a header of the client's own.
    pub const HEADER: &str = "canary-header-Nc15wF8z";
    /// A name that clients use for a public model.
    pub const ALIAS: &str = "canary-alias-qe82uh4j";
    /// The name of a private model.
    pub const MODEL: &str = "canary-model-xo36yb5r";
    /// A model that the gateway does not have.
    pub const UNKNOWN_MODEL: &str = "canary-unknown-ga09ti7w";

    /// All of them.
    pub const ALL: [&str; 10] =
        [PROMPT, ANSWER, KEY, UPSTREAM_KEY, BAD_KEY, USER, HEADER, ALIAS, MODEL, UNKNOWN_MODEL];
}

/// How the provider treats a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers.
    Answer,
    /// Answers; a stream lasts long enough to be left in the middle.
    LongStream,
    /// Always 429.
    RateLimit,
    /// Always 500.
    Fail,
    /// 500 the first time a mark is seen, an answer from then on.
    FailOnce,
    /// Answers after the gateway has given up.
    Slow,
}

/// The provider's API that a deployment speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/v1/chat/completions` of OpenAI.
    OpenAiChat,
    /// `/v1/embeddings` of OpenAI.
    OpenAiEmbeddings,
    /// `/v1/messages` of Anthropic.
    AnthropicMessages,
}

/// One model of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// What clients ask for.
    pub alias: &'static str,
    /// LiteLLM's name of the provider.
    pub provider: &'static str,
    /// The model at the provider.
    pub model: &'static str,
    /// The provider's API.
    pub api: Api,
    /// How the provider treats it.
    pub behaviour: Behaviour,
}

const fn chat(
    alias: &'static str,
    provider: &'static str,
    model: &'static str,
    behaviour: Behaviour,
) -> Deployment {
    Deployment { alias, provider, model, api: Api::OpenAiChat, behaviour }
}

/// A closed model.
pub const GPT_4O: Deployment = chat("smart", "openai", "gpt-4o", Behaviour::Answer);
/// A closed model behind Anthropic's API.
pub const CLAUDE: Deployment = Deployment {
    alias: "claude",
    provider: "anthropic",
    model: "claude-sonnet-4-5-20250929",
    api: Api::AnthropicMessages,
    behaviour: Behaviour::Answer,
};
/// An open model, served by its user.
pub const LLAMA: Deployment =
    chat("llama", "hosted_vllm", "meta-llama/Llama-3.3-70B-Instruct", Behaviour::Answer);
/// An open model, served by its maker.
pub const DEEPSEEK: Deployment = chat("deepseek", "deepseek", "deepseek-chat", Behaviour::Answer);
/// A private model whose name says so.
pub const PRIVATE: Deployment = chat("private", "hosted_vllm", "acme-prod-7", Behaviour::Answer);
/// A private model whose name is a canary.
pub const CANARY_MODEL: Deployment = chat("secret", "hosted_vllm", canaries::MODEL, Behaviour::Answer);
/// A public model under an alias that is a canary.
pub const CANARY_ALIAS: Deployment = chat(canaries::ALIAS, "openai", "gpt-4o-mini", Behaviour::Answer);
/// An embedding model.
pub const EMBEDDING: Deployment = Deployment {
    alias: "embed",
    provider: "openai",
    model: "text-embedding-3-small",
    api: Api::OpenAiEmbeddings,
    behaviour: Behaviour::Answer,
};
/// A closed model over its limit; the gateway falls back to `LLAMA`.
pub const LIMITED: Deployment = Deployment {
    alias: "limited",
    provider: "anthropic",
    model: "claude-opus-4-1-20250805",
    api: Api::AnthropicMessages,
    behaviour: Behaviour::RateLimit,
};
/// A closed model over its limit, without a fallback.
pub const LIMITED_ALONE: Deployment = chat("limited-alone", "openai", "gpt-4.1", Behaviour::RateLimit);
/// A closed model that fails.
pub const BROKEN: Deployment = chat("broken", "openai", "o3", Behaviour::Fail);
/// An open model that fails once for each request; the gateway retries.
pub const FLAKY: Deployment = chat("flaky", "hosted_vllm", "Qwen/Qwen3-32B", Behaviour::FailOnce);
/// A closed model that is too slow.
pub const SLOW: Deployment = chat("slow", "openai", "gpt-4.1-mini", Behaviour::Slow);
/// An open model with long streams.
pub const TALKATIVE: Deployment =
    chat("talkative", "hosted_vllm", "mistralai/Mistral-Small-24B-Instruct-2501", Behaviour::LongStream);

/// All of the gateway's models.
pub const DEPLOYMENTS: [Deployment; 14] = [
    GPT_4O,
    CLAUDE,
    LLAMA,
    DEEPSEEK,
    PRIVATE,
    CANARY_MODEL,
    CANARY_ALIAS,
    EMBEDDING,
    LIMITED,
    LIMITED_ALONE,
    BROKEN,
    FLAKY,
    SLOW,
    TALKATIVE,
];

/// How long the gateway waits for `SLOW`.
pub const GATEWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the provider takes for it.
pub const SLOW_ANSWER: Duration = Duration::from_secs(4);
/// Chunks of a long stream, and the pause between them: 10 s in all.
pub const LONG_STREAM: (u32, Duration) = (200, Duration::from_millis(50));

/// The mark of request number `number`, as it stands in its text.
pub fn mark(number: u32) -> String {
    format!("wb-{number:06}")
}

/// The first mark in a text.
pub fn find_mark(text: &[u8]) -> Option<u32> {
    text.windows(9).find_map(|window| {
        let digits = window.strip_prefix(b"wb-")?;
        digits
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
    })
}

/// Input and output tokens that the provider reports for a request.
pub fn tokens(number: u32) -> (u64, u64) {
    (u64::from(11 + number % 37), u64::from(7 + number % 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found() {
        assert_eq!(find_mark(mark(120_407).as_bytes()), Some(120_407));
        assert_eq!(find_mark(b"x wb-x wb-000009y"), Some(9));
        assert_eq!(find_mark(b"wb-00009"), None);
    }

    #[test]
    fn models_tell_deployments_apart() {
        let mut models: Vec<_> = DEPLOYMENTS.iter().map(|deployment| deployment.model).collect();
        models.sort_unstable();
        models.dedup();
        assert_eq!(models.len(), DEPLOYMENTS.len());
    }
}
