//! Who serves it: labels and addresses, as gateways spell them.

use crate::support::AT;
use weighbridge_catalog::{Hosting, Origin};

fn served(name: &str, provider: &str, address: &str) -> (Hosting, &'static str) {
    let catalogue = weighbridge_catalog::embedded();
    let found = catalogue.classify(name, Origin { provider, address }, AT);
    (found.hosting, catalogue.provider(found.provider).map_or("unlisted", |provider| provider.name))
}

const OPEN: &str = "meta-llama/Llama-3.3-70B-Instruct";

#[test]
fn the_openai_label_often_means_the_schema() {
    use Hosting::{FirstParty, Marketplace, SelfHosted, ThirdParty, Unknown};
    for (name, address, expected) in [
        ("gpt-4o", "", (FirstParty, "openai")),
        ("gpt-4o", "https://api.openai.com/v1", (FirstParty, "openai")),
        (OPEN, "", (Unknown, "openai")),
        ("my-model", "", (Unknown, "openai")),
        (OPEN, "http://127.0.0.1:8000/v1", (SelfHosted, "unlisted")),
        (OPEN, "http://10.2.3.4:8000", (SelfHosted, "unlisted")),
        (OPEN, "vllm.models.svc:8000", (SelfHosted, "unlisted")),
        (OPEN, "http://vllm.models.svc.cluster.local/v1", (SelfHosted, "unlisted")),
        (OPEN, "http://vllm:8000", (SelfHosted, "unlisted")),
        (OPEN, "https://llm.example.com/v1", (Unknown, "unlisted")),
        (OPEN, "https://openrouter.ai/api/v1", (ThirdParty, "openrouter")),
        (OPEN, "https://api.together.xyz/v1", (ThirdParty, "together_ai")),
        (OPEN, "https://api.fireworks.ai/inference/v1", (ThirdParty, "fireworks_ai")),
        ("gpt-4o", "https://acme.openai.azure.com/", (Marketplace, "azure")),
        ("deepseek-chat", "https://api.deepseek.com", (FirstParty, "deepseek")),
        (OPEN, "https://bedrock-runtime.eu-west-1.amazonaws.com", (Marketplace, "bedrock")),
        (OPEN, "https://internal-x.elb.amazonaws.com", (Unknown, "unlisted")),
        (OPEN, "https://api.openai.com.evil.example", (Unknown, "unlisted")),
    ] {
        assert_eq!(served(name, "openai", address), expected, "{name} at {address}");
    }
}

#[test]
fn labels_without_an_address() {
    use Hosting::{FirstParty, Marketplace, SelfHosted, ThirdParty, Unknown};
    for (name, label, expected) in [
        (OPEN, "", (Unknown, "unlisted")),
        (OPEN, "never-heard-of", (Unknown, "unlisted")),
        (OPEN, "hosted_vllm", (SelfHosted, "hosted_vllm")),
        (OPEN, "ollama", (SelfHosted, "ollama")),
        (OPEN, "llamafile", (SelfHosted, "llamafile")),
        (OPEN, "lm_studio", (SelfHosted, "lm_studio")),
        (OPEN, "xinference", (SelfHosted, "xinference")),
        (OPEN, "triton", (SelfHosted, "triton")),
        (OPEN, "tgi", (SelfHosted, "tgi")),
        ("gpt-oss:120b-cloud", "ollama", (ThirdParty, "ollama-cloud")),
        ("deepseek-v3.2:cloud", "ollama_chat", (ThirdParty, "ollama-cloud")),
        ("deepseek-chat", "deepseek", (FirstParty, "deepseek")),
        (OPEN, "nvidia_nim", (ThirdParty, "nvidia")),
        ("nvidia/nemotron-3-nano-30b-a3b", "nvidia_nim", (FirstParty, "nvidia")),
        ("my-private-thing", "anthropic", (Unknown, "anthropic")),
        ("claude-sonnet-4-5", "anthropic", (FirstParty, "anthropic")),
        ("claude-sonnet-4-5", "aws.bedrock", (Marketplace, "bedrock")),
        ("claude-sonnet-4-5", "bedrock_converse", (Marketplace, "bedrock")),
        ("gpt-4o", "az.ai.openai", (Marketplace, "azure")),
        ("gpt-4o", "azure.ai.openai", (Marketplace, "azure")),
        ("Phi-4", "azure.ai.inference", (Marketplace, "azure_ai")),
        ("gemini-3-flash", "gcp.vertex_ai", (Marketplace, "vertex_ai")),
        ("gemini-3-flash", "gcp.gemini", (FirstParty, "gemini")),
        ("grok-4", "x_ai", (FirstParty, "xai")),
        ("grok-4", "xai", (FirstParty, "xai")),
        (OPEN, "together_ai", (ThirdParty, "together_ai")),
        (OPEN, "Fireworks-AI", (ThirdParty, "fireworks_ai")),
        (OPEN, "litellm_proxy", (Unknown, "unlisted")),
    ] {
        assert_eq!(served(name, label, ""), expected, "{name} from {label}");
    }
}

#[test]
fn an_address_tells_more_than_a_label() {
    use Hosting::{FirstParty, Marketplace, SelfHosted, ThirdParty, Unknown};
    for (name, label, address, expected) in [
        (OPEN, "", "http://[::1]:8000", (SelfHosted, "unlisted")),
        ("claude-sonnet-4-5", "", "https://api.anthropic.com", (FirstParty, "anthropic")),
        ("claude-sonnet-4-5", "anthropic", "https://openrouter.ai/api", (ThirdParty, "openrouter")),
        ("gemini-3-flash", "", "generativelanguage.googleapis.com", (FirstParty, "gemini")),
        ("gemini-3-flash", "", "europe-west4-aiplatform.googleapis.com", (Marketplace, "vertex_ai")),
        (OPEN, "hosted_vllm", "https://llm.example.com", (SelfHosted, "hosted_vllm")),
        (OPEN, "bedrock", "https://10.0.0.7", (Marketplace, "bedrock")),
        (OPEN, "deepseek", "http://10.0.0.7", (Unknown, "deepseek")),
        (OPEN, "ollama", "https://ollama.com", (ThirdParty, "ollama-cloud")),
        ("kimi-k2:1t-cloud", "ollama", "http://localhost:11434", (ThirdParty, "ollama-cloud")),
    ] {
        assert_eq!(served(name, label, address), expected, "{name} from {label} at {address}");
    }
}
