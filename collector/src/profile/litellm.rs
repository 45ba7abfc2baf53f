//! LiteLLM proxy, read and measured on 1.106.2 (OTLP V1, OTLP V2, `generic_api` webhook).
//!
//! * The served model is `litellm.provider.model` (spans), `gen_ai.request.model` (metrics), `model` (webhook). Never the
//!   response model: LiteLLM rewrites it to the name that the client asked for.
//! * One record is one attempt. Attempts of a client call share `litellm.call_id`; another model group than the first is a
//!   fallback, the same group a retry.
//! * V2 spans: kind CLIENT in scope `litellm`. Routers, cache look-ups and server spans are of other kinds.
//! * V1 spans: `litellm_request` in scope `litellm` (needs `USE_OTEL_LITELLM_REQUEST_SPAN=true`; without it LiteLLM stamps
//!   failures on its `fastapi` spans, which are read too, and most successes are not told at all).
//! * Never reached a model: in V1 `ProxyException` and `ProxyModelNotFoundError`, in the webhook a failure without
//!   `api_base`. V2 has no span for them.
//! * Cache hits: V2 has no span; in V1 only `hidden_params` tells (`HiddenParams::marks_cache_hit`); the webhook has a flag.
//!   Metrics: `gen_ai.client.response.duration` counts answers of the provider, `gen_ai.client.operation.duration` also
//!   cache hits; the token metric includes the tokens of cache hits and cannot be separated.
//! * Metrics tell attempts: a failed operation is an attempt, its request's outcome is not told.
//! * A stream that the client leaves is told as a success with estimated tokens, in every signal.
//! * The webhook loses 5 to 6 % of its events under concurrent load (its queue is cleared after a POST): V2 spans are exact.

use weighbridge_catalog::Origin;
use weighbridge_proto::v1::{Outcome, Streaming};

use super::{Discard, Mapper, MetricRule, MetricValue, cell_key, streaming};
use crate::classifier::Classifier;
use crate::count::{PointClass, StagedPoint};
use crate::discard::{Refusal, Skip};
use crate::observation::{self, Call, Observation};
use crate::source::attributes::{Role, whole_float};
use crate::source::otlp::{CLIENT, Point, Span};
use crate::source::webhook::{HiddenParams, Record};

/// Metrics read. Cost and time metrics repeat the same operations.
pub(super) const METRICS: &[MetricRule] = &[
    ("gen_ai.client.response.duration", PointClass::Requests, 0, MetricValue::Count),
    ("gen_ai.client.operation.duration", PointClass::Requests, 1, MetricValue::Count),
    ("gen_ai.client.token.usage", PointClass::Tokens, 0, MetricValue::TokensByType),
];

/// Which exporter made a span.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exporter {
    V1,
    /// V1 without its request span: the attributes stand on a span of the web framework.
    V1Stamped,
    V2,
}

fn exporter(span: &Span<'_>) -> Result<Exporter, Skip> {
    match (span.scope, span.name, span.kind) {
        ("litellm", b"litellm_request", _) => Ok(Exporter::V1),
        ("litellm", _, CLIENT) => Ok(Exporter::V2),
        ("litellm", ..) => Err(Skip::NotInference),
        ("fastapi", ..) if span.attributes.has(Role::CallId) && span.attributes.has(Role::Operation) => {
            Ok(Exporter::V1Stamped)
        }
        ("fastapi", ..) => Err(Skip::NotInference),
        _ => Err(Skip::Scope),
    }
}

pub(super) fn span(span: &Span<'_>, mapper: &mut Mapper) -> Result<Observation, Discard> {
    let exporter = match (exporter(span), span.fault) {
        (Err(Skip::Scope), _) => return Err(Skip::Scope.into()),
        // A fault may be what hides that it is a call.
        (_, Some(fault)) => return Err(fault.into()),
        (exporter, None) => exporter?,
    };
    let attributes = &span.attributes;
    let operation = observation::operation(attributes.text(Role::Operation)).ok_or(Skip::Operation)?;
    let error_class = attributes.text(Role::ErrorType);
    let outcome = observation::outcome(span.failed, attributes.status(Role::StatusCode), error_class);
    let flag = if attributes.has(Role::FirstChunk) { Some(true) } else { attributes.flag(Role::Streaming) };
    let hidden = hidden_params(attributes.text(Role::HiddenParams));
    if exporter == Exporter::V1 && outcome == Outcome::Ok && flag == Some(false) && hidden.marks_cache_hit() {
        return Err(Skip::CacheHit.into());
    }
    let served = first_of(attributes.text(Role::ServedModel), attributes.text(Role::RequestModel));
    let told = attributes.text(Role::Provider);
    let reached_model = match exporter {
        Exporter::V2 => true,
        Exporter::V1 => !matches!(error_class, "ProxyException" | "ProxyModelNotFoundError"),
        Exporter::V1Stamped => outcome == Outcome::Ok || !told.is_empty(),
    };
    // V1 leaves the provider out for embeddings and Anthropic messages; the served model then begins with it.
    let prefix = served.split_once('/').map_or("", |(provider, _)| provider);
    let origin = Origin {
        provider: first_of(told, prefix),
        address: first_of(attributes.text(Role::ServerAddress), &hidden.api_base),
    };
    let classification =
        if reached_model { mapper.classifier.classify(served, origin) } else { Classifier::unserved() };
    let alias = if exporter == Exporter::V2 {
        attributes.text(Role::RequestModel)
    } else {
        attributes.text(Role::ModelGroup)
    };
    Ok(Observation {
        // V2 leaves the flag out when the answer was not streamed.
        key: cell_key(&classification, operation, streaming(flag, Streaming::No), outcome),
        input_tokens: attributes.count(Role::InputTokens)?,
        output_tokens: attributes.count(Role::OutputTokens)?,
        attempts: u64::from(reached_model),
        fingerprint: Some(mapper.hash_bytes(span.span_id)),
        call: Call::Attempt {
            id: mapper.hash_bytes(attributes.text(Role::CallId).as_bytes()),
            group: mapper.hash_bytes(first_of(alias, served).as_bytes()),
            fallback: hidden.attempted_fallbacks().is_some_and(|fallbacks| fallbacks > 0),
        },
    })
}

/// Empty if the attribute is missing or is no JSON object.
fn hidden_params(json: &str) -> HiddenParams<'_> {
    serde_json::from_str(json).unwrap_or_default()
}

pub(super) fn point(point: &Point<'_>, mapper: &mut Mapper) -> Result<StagedPoint, Discard> {
    let rule = METRICS.iter().find(|(name, ..)| *name == point.metric).ok_or(Skip::Metric)?;
    if point.scope != "litellm" {
        return Err(Skip::Scope.into());
    }
    if let Some(fault) = point.fault {
        return Err(fault.into());
    }
    mapper.stage(point, rule, point.attributes.text(Role::RequestModel), 0)
}

pub(super) fn record(record: &Record<'_>, mapper: &mut Mapper) -> Result<Observation, Discard> {
    let failed = match record.status.as_ref() {
        "success" => false,
        "failure" => true,
        _ => return Err(Refusal::UnknownEnum.into()),
    };
    let operation = observation::operation(&record.call_type).ok_or(Skip::Operation)?;
    if record.cache_hit == Some(true) {
        return Err(Skip::CacheHit.into());
    }
    if record.metadata.as_ref().is_some_and(|metadata| metadata.health_check) {
        return Err(Skip::HealthCheck.into());
    }
    if record.metadata.as_ref().is_some_and(|metadata| metadata.mirrored) {
        return Err(Skip::Mirrored.into());
    }
    let error = record.error_information.as_ref().filter(|_| failed);
    let status = error.and_then(|error| error.error_code.parse().ok());
    let outcome = observation::outcome(failed, status, error.map_or("", |error| error.error_class.as_ref()));
    let reached_model = !failed || !record.api_base.is_empty();
    let origin = Origin { provider: &record.custom_llm_provider, address: &record.api_base };
    let classification = if reached_model {
        mapper.classifier.classify(&record.model, origin)
    } else {
        Classifier::unserved()
    };
    let fallbacks = record.hidden_params.as_ref().and_then(HiddenParams::attempted_fallbacks);
    let end = record.end_time.unwrap_or(0.0);
    Ok(Observation {
        // LiteLLM writes null for answers that were not streamed.
        key: cell_key(&classification, operation, streaming(record.stream, Streaming::No), outcome),
        input_tokens: whole_float(record.prompt_tokens.unwrap_or(0.0))?,
        output_tokens: whole_float(record.completion_tokens.unwrap_or(0.0))?,
        attempts: u64::from(reached_model),
        fingerprint: Some(mapper.hash((
            &record.litellm_call_id,
            &record.model_id,
            &record.status,
            end.to_bits(),
        ))),
        call: Call::Attempt {
            id: mapper.hash_bytes(record.litellm_call_id.as_bytes()),
            group: mapper.hash_bytes(first_of(&record.model_group, &record.model).as_bytes()),
            fallback: fallbacks.is_some_and(|fallbacks| fallbacks > 0),
        },
    })
}

fn first_of<'a>(preferred: &'a str, otherwise: &'a str) -> &'a str {
    if preferred.is_empty() { otherwise } else { preferred }
}
