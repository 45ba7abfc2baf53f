//! What every profile turns telemetry into, whatever the dialect: one `Observation` a record.
//!
//! An observation holds numbers and enumerations only; the names stopped at the classifier. It owns nothing, so a payload
//! is staged as a list of them and counted only after it was read whole.

use weighbridge_proto::cells::CellKey;
use weighbridge_proto::v1::{Operation, Outcome};

/// One attempt at a model, or a whole request where the source tells no attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The cell it belongs to; `choice` is decided by the counter.
    pub key: CellKey,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Attempts at a model. 0 for requests that the gateway refused by itself; more than 1 only where the source tells them.
    pub attempts: u64,
    /// Keyed hash that a second copy of this record shares; `None` where records have no identity.
    pub fingerprint: Option<u64>,
    /// How it belongs to other records.
    pub call: Call,
}

/// How an observation belongs to a client request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    /// It is one client request; nothing tells of choices.
    Whole,
    /// One client request, unless another record stands around it or inside it: of those the innermost, or the one that was
    /// told first, is the request.
    Nested {
        /// Keyed hash of the record's id.
        span: u64,
        /// Keyed hash of the id of the record around it.
        parent: Option<u64>,
    },
    /// An attempt of a client request whose records form a tree, of which `Link`s tell the rest.
    Leaf {
        /// Keyed hash of the id of the record around it; attempts with the same one were made one after the other.
        parent: u64,
        /// Keyed hash of what was tried: another one than before is a fallback.
        group: u64,
        /// Start, Unix nanoseconds.
        start_unix_nano: u64,
        /// End, Unix nanoseconds.
        end_unix_nano: u64,
    },
    /// One attempt of a client call; the last success, or the last failure, is the request's outcome.
    Attempt {
        /// Keyed hash of the call's id.
        id: u64,
        /// Keyed hash of the model group that was tried: another group than the first one is a fallback.
        group: u64,
        /// The gateway says that this attempt is a fallback.
        fallback: bool,
    },
}

/// A record that is no attempt itself, in the tree of a client request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Keyed hash of its id.
    pub span: u64,
    /// Keyed hash of the id of the record around it; `None` for the root, which ends when the request has ended.
    pub parent: Option<u64>,
}

/// HTTP status and error class to an outcome. Source: `reference` rule 8 of the gateway survey: 2xx without an error is ok;
/// 429 rate-limited; 499 and aborts cancelled; time-outs and 5xx server error; other 4xx client error.
pub fn outcome(failed: bool, status: Option<u16>, error_class: &str) -> Outcome {
    if !failed && error_class.is_empty() && status.is_none_or(|status| status < 400) {
        return Outcome::Ok;
    }
    // A class says more than a status: LiteLLM gives a time-out the status 408.
    let class = error_class.rsplit('.').next().unwrap_or(error_class);
    match class {
        "RateLimitError" | "rate_limit" | "rate_limited" => return Outcome::RateLimited,
        "Timeout" | "timeout" | "APITimeoutError" | "TimeoutError" | "DeadlineExceeded" | "_OTHER" => {
            return Outcome::ServerError;
        }
        "CancelledError" | "cancelled" | "canceled" | "abort" | "ClientDisconnect" => {
            return Outcome::Cancelled;
        }
        _ => {}
    }
    let status = status.or_else(|| class.parse().ok());
    match status {
        Some(429) => return Outcome::RateLimited,
        Some(499) => return Outcome::Cancelled,
        Some(408 | 500..=599) => return Outcome::ServerError,
        Some(400..=498) => return Outcome::ClientError,
        _ => {}
    }
    match class {
        "AuthenticationError"
        | "BadRequestError"
        | "NotFoundError"
        | "PermissionDeniedError"
        | "UnprocessableEntityError"
        | "ContextWindowExceededError"
        | "ContentPolicyViolationError"
        | "UnsupportedParamsError"
        | "BudgetExceededError"
        | "ProxyModelNotFoundError"
        | "InvalidRequestError" => Outcome::ClientError,
        "InternalServerError"
        | "ServiceUnavailableError"
        | "APIConnectionError"
        | "APIError"
        | "BadGatewayError"
        | "APIResponseValidationError"
        | "MidStreamFallbackError" => Outcome::ServerError,
        _ => Outcome::Unknown,
    }
}

/// Operation labels of the GenAI conventions, of OpenLLMetry and of LiteLLM's call types (1.106.2). `None` is not an
/// inference: tools, agents, workflows, retrieval, memory, token counting.
pub fn operation(label: &str) -> Option<Operation> {
    Some(match label {
        "chat"
        | "generate_content"
        | "completion"
        | "acompletion"
        | "messages"
        | "anthropic_messages"
        | "responses"
        | "aresponses"
        | "generate_content_stream"
        | "agenerate_content"
        | "agenerate_content_stream" => Operation::Chat,
        "text_completion" | "atext_completion" => Operation::TextCompletion,
        "embeddings" | "embedding" | "aembedding" => Operation::Embeddings,
        "rerank" | "arerank" => Operation::Rerank,
        "image_generation" | "aimage_generation" | "image_edit" | "aimage_edit" | "image" => Operation::Image,
        "transcription" | "atranscription" | "speech" | "aspeech" | "audio" => Operation::Audio,
        "moderation"
        | "amoderation"
        | "ocr"
        | "aocr"
        | "pass_through_endpoint"
        | "allm_passthrough_route"
        | "_arealtime"
        | "realtime"
        | "avideo_generation" => Operation::Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_follow_class_then_status() {
        let cases = [
            (false, None, "", Outcome::Ok),
            (false, Some(200), "", Outcome::Ok),
            (true, Some(429), "RateLimitError", Outcome::RateLimited),
            (true, Some(408), "litellm.exceptions.Timeout", Outcome::ServerError),
            (true, Some(500), "InternalServerError", Outcome::ServerError),
            (true, Some(401), "", Outcome::ClientError),
            (true, None, "404", Outcome::ClientError),
            (true, Some(499), "", Outcome::Cancelled),
            (true, None, "SomethingNew", Outcome::Unknown),
            (false, Some(503), "", Outcome::ServerError),
            (false, None, "_OTHER", Outcome::ServerError),
        ];
        for (failed, status, class, expected) in cases {
            assert_eq!(outcome(failed, status, class), expected, "{failed} {status:?} {class}");
        }
    }

    #[test]
    fn tools_and_agents_are_no_operation() {
        for label in
            ["execute_tool", "invoke_agent", "create_agent", "retrieval", "count_tokens", "", "tokenize"]
        {
            assert_eq!(operation(label), None, "{label}");
        }
        assert_eq!(operation("acompletion"), Some(Operation::Chat));
    }
}
