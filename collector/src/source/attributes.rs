//! The allow-list: the only attributes of a span or metric point that are ever looked at.
//!
//! An attribute that is not here is passed over without decoding its value, so prompts, answers, keys and users cannot
//! get in. Synonyms of the three generations of the OpenTelemetry GenAI conventions (up to 1.36, 1.37 to 1.41, newest),
//! of OpenLLMetry and of LiteLLM share a `Role`; of two synonyms on one item the lower rank wins.
//! Sources: `open-telemetry/semantic-conventions` (deprecated GenAI pages, 1.44),
//! `open-telemetry/semantic-conventions-genai` (migration page), LiteLLM 1.106.2 (measured).

use serde::Deserialize;

use crate::discard::Refusal;
use weighbridge_proto::cells::COUNT_LIMIT;

/// What an attribute says. The names are those of the profiles' YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Operation (`chat`, `embeddings`).
    Operation,
    /// Provider label.
    Provider,
    /// Model the client asked for, or that was sent upstream.
    #[serde(rename = "requested_model")]
    RequestModel,
    /// Model the answer names.
    #[serde(rename = "served_model")]
    ResponseModel,
    /// `provider/model` that LiteLLM used upstream.
    #[serde(skip)]
    ServedModel,
    /// LiteLLM's id of a client call, shared by its attempts.
    #[serde(skip)]
    CallId,
    /// Provider's id of the answer.
    ResponseId,
    /// Class of error; present only on errors.
    #[serde(rename = "error")]
    ErrorType,
    /// HTTP status.
    #[serde(rename = "status")]
    StatusCode,
    /// Whether the answer was streamed.
    Streaming,
    /// Present only when the answer was streamed.
    FirstChunk,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Address of the upstream.
    #[serde(rename = "upstream")]
    ServerAddress,
    /// `input`, `output` or a subset.
    TokenType,
    /// Whether the gateway answered from its cache.
    #[serde(rename = "cache")]
    CacheHit,
    /// LiteLLM's name for what a client asked for, V1.
    #[serde(skip)]
    ModelGroup,
    /// LiteLLM's JSON with cache and fallback markers, V1.
    #[serde(skip)]
    HiddenParams,
    /// Path of the request, from which the operation is derived where no label is told.
    Path,
    /// Number of attempts after the first.
    Retries,
    /// Who answered, or why the gateway did.
    Details,
}

const ROLES: usize = Role::Details as usize + 1;

/// Attribute key, what it says, rank among synonyms. Ascending by length, so that a key is compared with few.
const KEYS: &[(&str, Role, u8)] = &[
    ("stream", Role::Streaming, 3),
    ("cache_hit", Role::CacheHit, 1),
    ("error.type", Role::ErrorType, 0),
    ("llm.system", Role::Provider, 3),
    ("llm.provider", Role::Provider, 2),
    ("gen_ai.system", Role::Provider, 1),
    ("hidden_params", Role::HiddenParams, 0),
    ("server.address", Role::ServerAddress, 0),
    ("llm.model_name", Role::ResponseModel, 1),
    ("litellm.call_id", Role::CallId, 0),
    ("llm.request.type", Role::Operation, 1),
    ("llm.is_streaming", Role::Streaming, 2),
    ("gen_ai.token.type", Role::TokenType, 0),
    ("litellm.cache_hit", Role::CacheHit, 0),
    ("gen_ai.response.id", Role::ResponseId, 0),
    ("litellm.model_group", Role::ModelGroup, 0),
    ("gen_ai.is_streaming", Role::Streaming, 2),
    ("gen_ai.provider.name", Role::Provider, 0),
    ("gen_ai.request.model", Role::RequestModel, 0),
    ("gen_ai.operation.name", Role::Operation, 0),
    ("gen_ai.request.stream", Role::Streaming, 0),
    ("gen_ai.response.model", Role::ResponseModel, 0),
    ("litellm.provider.model", Role::ServedModel, 0),
    ("llm.token_count.prompt", Role::InputTokens, 2),
    ("http.response.status_code", Role::StatusCode, 0),
    ("litellm.request.streaming", Role::Streaming, 1),
    ("gen_ai.usage.input_tokens", Role::InputTokens, 0),
    ("gen_ai.usage.output_tokens", Role::OutputTokens, 0),
    ("gen_ai.usage.prompt_tokens", Role::InputTokens, 1),
    ("llm.token_count.completion", Role::OutputTokens, 2),
    ("litellm.provider.error.code", Role::StatusCode, 1),
    ("gen_ai.usage.completion_tokens", Role::OutputTokens, 1),
    ("gen_ai.response.time_to_first_chunk", Role::FirstChunk, 0),
];

const LONGEST: usize = 40;

/// `STARTS[n]` is the first entry of `KEYS` with length n or more.
const STARTS: [u8; LONGEST + 2] = starts();

const fn starts() -> [u8; LONGEST + 2] {
    let mut starts = [0; LONGEST + 2];
    let mut length = 0;
    while length < LONGEST + 2 {
        let mut index = 0;
        while index < KEYS.len() && KEYS[index].0.len() < length {
            index += 1;
        }
        starts[length] = index as u8;
        length += 1;
    }
    let mut index = 1;
    while index < KEYS.len() {
        assert!(KEYS[index - 1].0.len() <= KEYS[index].0.len(), "KEYS ascend by length");
        index += 1;
    }
    starts
}

/// The last eight bytes of every key, so that nearly all others are told apart without comparing strings.
const TAILS: [u64; KEYS.len()] = {
    let mut tails = [0; KEYS.len()];
    let mut index = 0;
    while index < KEYS.len() {
        tails[index] = tail(KEYS[index].0.as_bytes());
        index += 1;
    }
    tails
};

/// The last eight bytes of a key, or all of a shorter one.
pub(super) const fn tail(key: &[u8]) -> u64 {
    if let Some(last) = key.last_chunk::<8>() {
        return u64::from_le_bytes(*last);
    }
    let mut tail = 0;
    let mut index = 0;
    while index < key.len() {
        tail = tail << 8 | key[index] as u64;
        index += 1;
    }
    tail
}

/// The role and rank of an attribute key, if it is on the allow-list.
#[inline]
pub fn role_of(key: &[u8]) -> Option<(Role, u8)> {
    if key.len() > LONGEST {
        return None;
    }
    let tail = tail(key);
    let candidates = STARTS[key.len()] as usize..STARTS[key.len() + 1] as usize;
    candidates.into_iter().find_map(|index| {
        let (name, role, rank) = KEYS[index];
        (TAILS[index] == tail && same_head(name.as_bytes(), key)).then_some((role, rank))
    })
}

/// Whether two keys of one length, whose last eight bytes are known to be the same, are the same. In words of eight bytes:
/// keys are too short for a call of `memcmp` to pay.
#[inline]
pub(super) fn same_head(name: &[u8], key: &[u8]) -> bool {
    let (name, key) = (name.as_chunks::<8>().0, key.as_chunks::<8>().0);
    name.iter().zip(key).all(|(a, b)| u64::from_le_bytes(*a) == u64::from_le_bytes(*b))
}

/// A scalar attribute value, borrowed from the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Scalar<'a> {
    /// Absent, or not a scalar.
    #[default]
    None,
    /// A string.
    Text(&'a str),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
}

/// The allow-listed attributes of one item.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    values: [Scalar<'a>; ROLES],
    ranks: [u8; ROLES],
}

impl Default for Attributes<'_> {
    fn default() -> Self {
        Attributes { values: [Scalar::None; ROLES], ranks: [u8::MAX; ROLES] }
    }
}

impl<'a> Attributes<'a> {
    /// Keeps `value` unless a better-ranked synonym is there. An empty string or a missing marker counts as absent.
    /// Inlined, because a value that is passed through memory waits there for its own bytes.
    #[inline(always)]
    pub fn set(&mut self, (role, rank): (Role, u8), value: Scalar<'a>) {
        let index = role as usize;
        if rank < self.ranks[index] && !is_missing(value) {
            self.values[index] = value;
            self.ranks[index] = rank;
        }
    }

    /// The value of a role.
    #[inline]
    pub fn get(&self, role: Role) -> Scalar<'a> {
        let index = role as usize;
        if self.ranks[index] == u8::MAX { Scalar::None } else { self.values[index] }
    }

    /// Forgets everything. The values themselves are not cleared, which is most of the work of a new one.
    #[inline]
    pub fn clear(&mut self) {
        self.ranks = [u8::MAX; ROLES];
    }

    /// The attribute was there and not a missing marker.
    #[inline]
    pub fn has(&self, role: Role) -> bool {
        self.get(role) != Scalar::None
    }

    /// A string, empty if absent or of another kind.
    #[inline]
    pub fn text(&self, role: Role) -> &'a str {
        if let Scalar::Text(text) = self.get(role) { text } else { "" }
    }

    /// A boolean, also spelled as text (`"True"`).
    pub fn flag(&self, role: Role) -> Option<bool> {
        match self.get(role) {
            Scalar::Bool(flag) => Some(flag),
            Scalar::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Scalar::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A count, also spelled as a float or text; 0 if absent.
    ///
    /// # Errors
    /// Negative, not whole, not a number, or 2^53 and more.
    pub fn count(&self, role: Role) -> Result<u64, Refusal> {
        match self.get(role) {
            Scalar::None | Scalar::Bool(_) => Ok(0),
            Scalar::Int(number) => whole(number),
            Scalar::Double(number) => whole_float(number),
            Scalar::Text(text) => text.parse::<i64>().map_err(|_| Refusal::CountRange).and_then(whole),
        }
    }

    /// An HTTP status, also spelled as text.
    pub fn status(&self, role: Role) -> Option<u16> {
        match self.get(role) {
            Scalar::Int(number) => u16::try_from(number).ok(),
            Scalar::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// A whole count below 2^53.
///
/// # Errors
/// Negative or too large.
pub fn whole(number: i64) -> Result<u64, Refusal> {
    let count = u64::try_from(number).map_err(|_| Refusal::NegativeCount)?;
    if count < COUNT_LIMIT { Ok(count) } else { Err(Refusal::CountRange) }
}

/// A whole count below 2^53, written as a float (Prometheus and OTLP sums).
///
/// # Errors
/// Negative, not whole, not finite or too large.
pub fn whole_float(number: f64) -> Result<u64, Refusal> {
    if number < 0.0 {
        return Err(Refusal::NegativeCount);
    }
    if number.fract() != 0.0 || number >= COUNT_LIMIT as f64 || number.is_nan() {
        return Err(Refusal::CountRange);
    }
    Ok(number as u64)
}

/// Whether a label's value is a spelling of "not told", or empty.
pub fn is_missing_text(value: &[u8]) -> bool {
    matches!(value, b"" | b"None" | b"unknown" | b"null" | b"-" | b"UNSPECIFIED" | b"other")
}

/// Spellings of "not told" seen at gateways; kept as unknown, never as a name.
#[inline]
fn is_missing(value: Scalar<'_>) -> bool {
    match value {
        Scalar::None => true,
        Scalar::Text(text) => match text.as_bytes().first() {
            None => true,
            Some(b'N' | b'n' | b'u' | b'U' | b'-') => {
                matches!(text, "None" | "unknown" | "null" | "-" | "UNSPECIFIED")
            }
            Some(_) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_nothing_else() {
        for (key, role, rank) in KEYS {
            assert_eq!(role_of(key.as_bytes()), Some((*role, *rank)), "{key}");
        }
        for key in ["gen_ai.prompt.0.content", "gen_ai.input.messages", "", "x", "metadata.user_api_key_hash"]
        {
            assert_eq!(role_of(key.as_bytes()), None, "{key}");
        }
        assert_eq!(role_of(&[b'a'; 500]), None);
    }

    #[test]
    fn better_synonym_wins_in_any_order() {
        for order in [[0, 1], [1, 0]] {
            let values = [
                ((Role::Provider, 0), Scalar::Text("azure.ai.openai")),
                ((Role::Provider, 1), Scalar::Text("azure")),
            ];
            let mut attributes = Attributes::default();
            order.iter().for_each(|i| attributes.set(values[*i].0, values[*i].1));
            assert_eq!(attributes.text(Role::Provider), "azure.ai.openai");
        }
    }

    #[test]
    fn counts_are_whole_and_bounded() {
        let count = |value| {
            let mut attributes = Attributes::default();
            attributes.set((Role::InputTokens, 0), value);
            attributes.count(Role::InputTokens)
        };
        assert_eq!(count(Scalar::Int(7)), Ok(7));
        assert_eq!(count(Scalar::Double(7.0)), Ok(7));
        assert_eq!(count(Scalar::Text("7")), Ok(7));
        assert_eq!(count(Scalar::None), Ok(0));
        assert_eq!(count(Scalar::Int(-1)), Err(Refusal::NegativeCount));
        assert_eq!(count(Scalar::Double(1.5)), Err(Refusal::CountRange));
        assert_eq!(count(Scalar::Double(f64::NAN)), Err(Refusal::CountRange));
        assert_eq!(count(Scalar::Int(1 << 53)), Err(Refusal::CountRange));
        assert_eq!(count(Scalar::Text("seven")), Err(Refusal::CountRange));
    }
}
