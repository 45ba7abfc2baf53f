//! LiteLLM proxy, read and measured on 1.106.2 (OTLP V1, OTLP V2, `generic_api` webhook).
//!
//! * The served model is `litellm.provider.model` (spans), `gen_ai.request.model` (metrics), `model` (webhook). Never the
//!   response model: LiteLLM rewrites it to the name that the client asked for.
//! * One record is one attempt at a model group. Attempts of a client call share `litellm.call_id`; another group than the
//!   first is a fallback. `num_retries` inside a group leaves one record.
//! * Spans: scopes `litellm` and `fastapi` (V1 stamps failures on its `fastapi.endpoint` span) with an operation and a call
//!   id. Routers, `raw_gen_ai_request` and the server spans have no operation.
//! * A failure without provider (spans) or without `api_base` (webhook) never reached a model.
//! * Metrics tell attempts: a failed operation is an attempt, its request's outcome is not told.
//! * Cache hits, health checks and mirrored requests are not requests to a model.

use weighbridge_catalog::Origin;
use weighbridge_proto::v1::{Outcome, Streaming};

use super::{Discard, Mapper, MetricRule, MetricValue, cell_key, origin, streaming};
use crate::classifier::Classifier;
use crate::count::{PointClass, StagedPoint};
use crate::discard::{Refusal, Skip};
use crate::observation::{self, Call, Observation};
use crate::source::attributes::{Role, whole_float};
use crate::source::otlp::{Point, Span};
use crate::source::webhook::Record;

/// Metrics read. `gen_ai.client.response.duration`, cost and time metrics repeat the same operations.
pub(super) const METRICS: &[MetricRule] = &[
    ("gen_ai.client.operation.duration", PointClass::Requests, 0, MetricValue::Count),
    ("gen_ai.client.token.usage", PointClass::Tokens, 0, MetricValue::TokensByType),
];

pub(super) fn span(span: &Span<'_>, mapper: &mut Mapper) -> Result<Observation, Discard> {
    if !matches!(span.scope, "litellm" | "fastapi") {
        return Err(Skip::Scope.into());
    }
    let attributes = &span.attributes;
    let call_id = attributes.text(Role::CallId);
    let operation_label = attributes.text(Role::Operation);
    if call_id.is_empty() || operation_label.is_empty() || span.name == "raw_gen_ai_request" {
        return Err(span.fault.map_or(Skip::NotInference.into(), Discard::Refuse));
    }
    if let Some(fault) = span.fault {
        return Err(fault.into());
    }
    let operation = observation::operation(operation_label).ok_or(Skip::Operation)?;
    if attributes.flag(Role::CacheHit) == Some(true) {
        return Err(Skip::CacheHit.into());
    }
    let outcome = observation::outcome(
        span.failed,
        attributes.status(Role::StatusCode),
        attributes.text(Role::ErrorType),
    );
    let served = first_of(attributes.text(Role::ServedModel), attributes.text(Role::RequestModel));
    let origin = origin(attributes);
    let reached_model = outcome == Outcome::Ok || !origin.provider.is_empty();
    let classification =
        if reached_model { mapper.classifier.classify(served, origin) } else { Classifier::unserved() };
    let flag = if attributes.has(Role::FirstChunk) { Some(true) } else { attributes.flag(Role::Streaming) };
    Ok(Observation {
        // V2 leaves the flag out when the answer was not streamed.
        key: cell_key(&classification, operation, streaming(flag, Streaming::No), outcome),
        input_tokens: attributes.count(Role::InputTokens)?,
        output_tokens: attributes.count(Role::OutputTokens)?,
        reached_model,
        fingerprint: mapper.hash_bytes(span.span_id),
        call: Call::Attempt {
            id: mapper.hash_bytes(call_id.as_bytes()),
            group: mapper.hash_bytes(served.as_bytes()),
            fallback: false,
        },
    })
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
    let end = record.end_time.unwrap_or(0.0);
    Ok(Observation {
        // LiteLLM writes null for answers that were not streamed.
        key: cell_key(&classification, operation, streaming(record.stream, Streaming::No), outcome),
        input_tokens: whole_float(record.prompt_tokens.unwrap_or(0.0))?,
        output_tokens: whole_float(record.completion_tokens.unwrap_or(0.0))?,
        reached_model,
        fingerprint: mapper.hash((&record.litellm_call_id, &record.model_id, &record.status, end.to_bits())),
        call: Call::Attempt {
            id: mapper.hash_bytes(record.litellm_call_id.as_bytes()),
            group: mapper.hash_bytes(first_of(&record.model_group, &record.model).as_bytes()),
            fallback: record.attempted_fallbacks().is_some_and(|fallbacks| fallbacks > 0),
        },
    })
}

fn first_of<'a>(preferred: &'a str, otherwise: &'a str) -> &'a str {
    if preferred.is_empty() { otherwise } else { preferred }
}
