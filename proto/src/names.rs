//! One name for every enumeration value, the same in SQL, JSON, YAML, on the terminal and in dashboards.
//!
//! A name never changes once published. `UNSPECIFIED` values have no name: they are never valid in a report.

use crate::v1::{Choice, Environment, GatewayProduct, Operation, Outcome, Refusal, Streaming, Vantage};

/// Gives an enumeration its values and their names.
macro_rules! names {
    ($($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),+ $(,)? })+) => {$(
        impl $type {
            /// Every value that may stand in a report, in the order of the wire numbers.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The stable name; empty for `Unspecified`.
            #[allow(unreachable_patterns)]
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                    _ => "",
                }
            }

            /// The value with this stable name.
            pub fn from_name(name: &str) -> Option<$type> {
                $type::ALL.iter().copied().find(|value| value.name() == name)
            }

            /// The value with this wire number, if it may stand in a report.
            pub fn from_number(number: u64) -> Option<$type> {
                let number = i32::try_from(number).ok()?;
                $type::ALL.iter().copied().find(|value| *value as i32 == number)
            }
        }
    )+};
}

names! {
    Environment { Production = "production", Staging = "staging", Development = "development", Unknown = "unknown" }
    Vantage { Gateway = "gateway", Server = "server", Client = "client" }
    GatewayProduct {
        Other = "other", Litellm = "litellm", Genai = "genai", Vllm = "vllm", Sglang = "sglang", Smg = "smg", Bifrost = "bifrost", Dynamo = "dynamo", LlmD = "llm-d", Tgi = "tgi", Tensorzero = "tensorzero", Triton = "triton", Nim = "nim", RayServe = "ray-serve", Kserve = "kserve", Ollama = "ollama", LlamaCpp = "llama-cpp", Tei = "tei", EnvoyAiGateway = "envoy-ai-gateway", Agentgateway = "agentgateway", Kong = "kong", Higress = "higress", Apisix = "apisix", Nginx = "nginx", Envoy = "envoy", Portkey = "portkey", TraefikHub = "traefik-hub",
        Openllmetry = "openllmetry", Openinference = "openinference", OpentelemetrySdk = "opentelemetry-sdk",
    }
    Operation {
        Chat = "chat", TextCompletion = "text_completion", Embeddings = "embeddings", Rerank = "rerank",
        Image = "image", Audio = "audio", Other = "other",
    }
    Outcome {
        Ok = "ok", RateLimited = "rate_limited", ClientError = "client_error", ServerError = "server_error",
        Cancelled = "cancelled", Unknown = "unknown",
    }
    Choice { First = "first", Fallback = "fallback", Unknown = "unknown" }
    Streaming { No = "no", Yes = "yes", Unknown = "unknown" }
    Refusal {
        Schema = "schema", CollectorId = "collector_id", Window = "window", Cells = "cells", Checksum = "checksum",
        Size = "size", Header = "header",
    }
}
