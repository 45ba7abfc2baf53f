//! The OpenTelemetry GenAI conventions in three generations (up to 1.36, 1.37 to 1.41, newest), for SDK instrumentations and
//! for gateways that follow them.
//!
//! * A span is one logical operation, retries included: one request. It must have an inference operation and a provider;
//!   agents, tools and workflows are not requests.
//! * The served model is the response model, else the request model.
//! * Of metrics that tell the same requests or tokens the lowest rank that a process sends is counted, never a sum of them.
//! * Spans of a framework, an SDK and a gateway for one call share `gen_ai.response.id` and count once.

use weighbridge_proto::v1::Streaming;

use super::{Discard, Mapper, MetricRule, MetricValue, cell_key, origin, streaming};
use crate::count::{PointClass, StagedPoint};
use crate::discard::Skip;
use crate::observation::{self, Call, Observation};
use crate::source::attributes::{Attributes, Role};
use crate::source::otlp::{Point, Span};

/// Metrics read. Server metrics come first: where both sides are told, the server's is the client request.
pub(super) const METRICS: &[MetricRule] = &[
    ("gen_ai.server.request.duration", PointClass::Requests, 0, MetricValue::Count),
    ("gen_ai.client.inference.duration", PointClass::Requests, 1, MetricValue::Count),
    ("gen_ai.client.operation.duration", PointClass::Requests, 2, MetricValue::Count),
    ("gen_ai.client.embeddings.duration", PointClass::EmbeddingsRequests, 1, MetricValue::Count),
    ("gen_ai.client.inference.usage.input_tokens", PointClass::Tokens, 0, MetricValue::InputTokens),
    ("gen_ai.client.inference.usage.output_tokens", PointClass::Tokens, 0, MetricValue::OutputTokens),
    ("gen_ai.client.token.usage", PointClass::Tokens, 1, MetricValue::TokensByType),
    ("gen_ai.client.inference.operation.input_tokens", PointClass::Tokens, 2, MetricValue::InputTokens),
    ("gen_ai.client.inference.operation.output_tokens", PointClass::Tokens, 2, MetricValue::OutputTokens),
];

#[inline]
pub(super) fn span(span: &Span<'_>, mapper: &mut Mapper) -> Result<Observation, Discard> {
    let attributes = &span.attributes;
    let operation_label = attributes.text(Role::Operation);
    if operation_label.is_empty() {
        return Err(span.fault.map_or(Skip::NotInference.into(), Discard::Refuse));
    }
    let operation = observation::operation(operation_label).ok_or(Skip::Operation)?;
    if let Some(fault) = span.fault {
        return Err(fault.into());
    }
    if !attributes.has(Role::Provider) {
        return Err(Skip::NoProvider.into());
    }
    let outcome = observation::outcome(
        span.failed,
        attributes.status(Role::StatusCode),
        attributes.text(Role::ErrorType),
    );
    let classification = mapper.classifier.classify(model(attributes), origin(attributes));
    let flag = if attributes.has(Role::FirstChunk) { Some(true) } else { attributes.flag(Role::Streaming) };
    let response_id = attributes.text(Role::ResponseId);
    let identity = if response_id.is_empty() { span.span_id } else { response_id.as_bytes() };
    Ok(Observation {
        key: cell_key(&classification, operation, streaming(flag, Streaming::Unknown), outcome),
        input_tokens: attributes.count(Role::InputTokens)?,
        output_tokens: attributes.count(Role::OutputTokens)?,
        attempts: 1,
        fingerprint: Some(mapper.hash_bytes(identity)),
        call: Call::Whole,
    })
}

pub(super) fn point(point: &Point<'_>, mapper: &mut Mapper) -> Result<StagedPoint, Discard> {
    let rule = METRICS.iter().find(|(name, ..)| *name == point.metric).ok_or(Skip::Metric)?;
    if let Some(fault) = point.fault {
        return Err(fault.into());
    }
    mapper.stage(point, rule, model(&point.attributes), 1)
}

fn model<'a>(attributes: &Attributes<'a>) -> &'a str {
    let response = attributes.text(Role::ResponseModel);
    if response.is_empty() { attributes.text(Role::RequestModel) } else { response }
}
