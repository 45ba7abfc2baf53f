//! LiteLLM's `generic_api` webhook: standard logging payloads as a JSON array, as JSON lines, or as one object
//! (LiteLLM 1.106.2 and 1.109.1, `litellm/types/utils.py` StandardLoggingPayload; measured on 1.106.2).
//!
//! Prompts and answers are in these bodies by default. Each record is sliced out unparsed, then only the fields below are
//! read; everything else is skipped over. A record that does not parse is refused alone; a body that is not JSON whole.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Payload;
use crate::discard::Refusal;

/// The read fields of one record: one attempt at a model group, with its outcome.
#[derive(Debug, Deserialize)]
pub struct Record<'a> {
    /// Id of the client call, shared by its attempts.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub litellm_call_id: Cow<'a, str>,
    /// `acompletion`, `aembedding`, `anthropic_messages`, ...
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub call_type: Cow<'a, str>,
    /// `success` or `failure`.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub status: Cow<'a, str>,
    /// Provider label.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub custom_llm_provider: Cow<'a, str>,
    /// `provider/model` that was used upstream.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub model: Cow<'a, str>,
    /// The alias that the router resolved.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub model_group: Cow<'a, str>,
    /// The deployment that was used.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub model_id: Cow<'a, str>,
    /// Address of the upstream; empty if none was reached.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub api_base: Cow<'a, str>,
    /// True for streams, null otherwise.
    #[serde(default)]
    pub stream: Option<bool>,
    /// True when answered from the gateway's cache.
    #[serde(default)]
    pub cache_hit: Option<bool>,
    /// Input tokens.
    #[serde(default)]
    pub prompt_tokens: Option<f64>,
    /// Output tokens.
    #[serde(default)]
    pub completion_tokens: Option<f64>,
    /// End, Unix seconds.
    #[serde(default, rename = "endTime")]
    pub end_time: Option<f64>,
    /// Code and class of the error.
    #[serde(borrow, default)]
    pub error_information: Option<ErrorInformation<'a>>,
    /// Fallback marker.
    #[serde(borrow, default)]
    pub hidden_params: Option<HiddenParams<'a>>,
    /// Health check and mirror markers.
    #[serde(borrow, default)]
    pub metadata: Option<Metadata<'a>>,
}

/// `error_information`.
#[derive(Debug, Deserialize)]
pub struct ErrorInformation<'a> {
    /// HTTP status as text.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub error_code: Cow<'a, str>,
    /// Python class of the error.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub error_class: Cow<'a, str>,
}

/// `hidden_params`, in a record or as the JSON of a V1 span's attribute.
#[derive(Debug, Default, Deserialize)]
pub struct HiddenParams<'a> {
    /// Address of the upstream.
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub api_base: Cow<'a, str>,
    #[serde(default)]
    cache_key: Presence,
    #[serde(default)]
    litellm_overhead_time_ms: Presence,
    #[serde(borrow, default)]
    additional_headers: Option<AdditionalHeaders<'a>>,
}

/// Whether a field is there, and whether it is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    #[default]
    Absent,
    Null,
    Value,
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<IgnoredAny>::deserialize(deserializer)?;
        Ok(if value.is_some() { Presence::Value } else { Presence::Null })
    }
}

impl HiddenParams<'_> {
    /// Number of fallbacks before this attempt, if told: on answers in one piece.
    pub fn attempted_fallbacks(&self) -> Option<u64> {
        let headers = self.additional_headers.as_ref()?;
        headers.attempted_fallbacks?.get().trim_matches('"').parse().ok()
    }

    /// What a V1 span of a cache hit has and no other success that was not streamed: a cache key, or an overhead of null.
    pub fn marks_cache_hit(&self) -> bool {
        self.cache_key == Presence::Value || self.litellm_overhead_time_ms == Presence::Null
    }
}

#[derive(Debug, Deserialize)]
struct AdditionalHeaders<'a> {
    #[serde(borrow, default, rename = "x-litellm-attempted-fallbacks")]
    attempted_fallbacks: Option<&'a RawValue>,
}

/// `metadata`. Key and team aliases are compared with LiteLLM's own marker while they pass and are not kept.
#[derive(Debug, Default)]
pub struct Metadata<'a> {
    /// Sent by LiteLLM's own health check.
    pub health_check: bool,
    /// A mirrored request.
    pub mirrored: bool,
    marker: std::marker::PhantomData<&'a ()>,
}

/// Key and team alias of LiteLLM's own health checks.
const HEALTH_CHECK_ALIAS: &str = "litellm-internal-health-check";

impl<'de: 'a, 'a> Deserialize<'de> for Metadata<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Markers;
        impl<'de> Visitor<'de> for Markers {
            type Value = (bool, bool);

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(bool, bool), A::Error> {
                let (mut health_check, mut mirrored) = (false, false);
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match key.as_ref() {
                        "user_api_key_alias" | "user_api_key_team_alias" => {
                            let raw = map.next_value::<&'de RawValue>()?.get();
                            health_check |= raw.trim_matches('"') == HEALTH_CHECK_ALIAS;
                        }
                        "is_silent_experiment" => {
                            mirrored |= map.next_value::<&'de RawValue>()?.get() == "true"
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok((health_check, mirrored))
            }
        }
        let (health_check, mirrored) = deserializer.deserialize_map(Markers)?;
        Ok(Metadata { health_check, mirrored, marker: std::marker::PhantomData })
    }
}

/// `null` reads as empty.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'de>>::deserialize(deserializer)?.map_or(Cow::Borrowed(""), |text| text.0))
}

/// Hands every record of `body` to `each`, in order: `Err` for one that does not parse.
///
/// # Errors
/// `Refusal::Malformed` or `InvalidUtf8` when the body is not a JSON array, JSON lines or one object; `each` saw nothing.
pub fn read_records<'a>(body: &'a [u8], mut each: impl FnMut(Result<Record<'a>, Refusal>)) -> Payload<()> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::InvalidUtf8)?;
    let mut records: Vec<&'a RawValue> = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&'a RawValue>() {
        let value = value.map_err(|_| Refusal::Malformed)?;
        match value.get().as_bytes().first() {
            Some(b'[') => {
                records.extend(
                    serde_json::from_str::<Vec<&'a RawValue>>(value.get()).map_err(|_| Refusal::Malformed)?,
                );
            }
            Some(b'{') => records.push(value),
            _ => return Err(Refusal::Malformed),
        }
    }
    records
        .iter()
        .for_each(|record| each(serde_json::from_str(record.get()).map_err(|_| Refusal::Malformed)));
    Ok(())
}
