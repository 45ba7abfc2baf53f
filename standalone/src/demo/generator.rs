//! The demo's gateway: sends spans as LiteLLM's V2 exporter does (1.106.2), and keeps the truth of what it sent.
//!
//! A day's shape in some seconds: quiet nights, two humps by day. Requests end in order, so an attempt is told before the one
//! that follows it, often in another batch.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use weighbridge_proto::codec::RawCodec;
use weighbridge_proto::v1::{Choice, Outcome, Streaming};

use super::traffic::{DEPLOYMENTS, Deployment, FALLBACK, Fate, Truth};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// OpenTelemetry's default batch.
const BATCH: usize = 512;
/// Steps of a day.
const HOURS: u32 = 24;
/// Traffic by hour, in percent of the busiest.
const SHAPE: [u32; HOURS as usize] =
    [18, 14, 11, 10, 12, 18, 30, 48, 70, 88, 97, 100, 92, 90, 96, 99, 94, 84, 72, 64, 56, 44, 34, 25];
/// `SPAN_KIND_CLIENT`, `STATUS_CODE_ERROR`.
const CLIENT: i32 = 3;
const ERROR: i32 = 2;

/// How much traffic.
pub(super) struct Day {
    pub(super) seconds: u32,
    pub(super) requests: u32,
    pub(super) seed: u64,
}

/// Sends the day to an OTLP/gRPC receiver.
pub(super) async fn drive(endpoint: &str, day: &Day) -> anyhow::Result<Truth> {
    let channel = Endpoint::from_shared(endpoint.to_owned())?.connect().await.context("the OTLP receiver")?;
    let mut client = Grpc::new(channel);
    let mut random = fastrand::Rng::with_seed(day.seed);
    let mut truth = Truth::default();
    let mut spans = Vec::new();
    let all: u32 = SHAPE.iter().sum();
    let (mut sent, mut shape_so_far) = (0, 0);
    for (hour, weight) in SHAPE.iter().enumerate() {
        shape_so_far += weight;
        let until = (u64::from(day.requests) * u64::from(shape_so_far) / u64::from(all)) as u32;
        for number in sent..until {
            request(number, &mut random, &mut truth, &mut spans);
            if spans.len() >= BATCH {
                export(&mut client, std::mem::take(&mut spans)).await?;
            }
        }
        export(&mut client, std::mem::take(&mut spans)).await?;
        println!("{hour:02}:00  {:<40} {:>6} requests", "#".repeat((weight * 2 / 5) as usize), until - sent);
        sent = until;
        tokio::time::sleep(Duration::from_secs(u64::from(day.seconds)) / HOURS).await;
    }
    Ok(truth)
}

/// One client request: its spans, and its truth.
fn request(number: u32, random: &mut fastrand::Rng, truth: &mut Truth, spans: &mut Vec<Span>) {
    let mut ticket = random.u32(0..DEPLOYMENTS.iter().map(|deployment| deployment.weight).sum());
    let chosen = DEPLOYMENTS.iter().find(|deployment| {
        let taken = ticket < deployment.weight;
        ticket = ticket.saturating_sub(deployment.weight);
        taken
    });
    let to = chosen.unwrap_or(&DEPLOYMENTS[0]);
    let streaming = if random.u32(0..100) < 60 { Streaming::Yes } else { Streaming::No };
    let may_fall_back = to.openness == "closed";
    let fate = match random.u32(0..1000) {
        0..35 if may_fall_back => Fate::FellBack,
        0..12 => Fate::RateLimited,
        35..55 => Fate::Failed,
        _ => Fate::Served,
    };
    let mut tell = |to: &Deployment, outcome, choice, ends| {
        let tokens = if outcome == Outcome::Ok { spread(to.tokens, random) } else { (0, 0) };
        // LiteLLM marks only answers as streamed.
        let streaming = if outcome == Outcome::Ok { streaming } else { Streaming::No };
        truth.attempt(to, (outcome, choice, streaming), tokens, ends);
        spans.push(span(number, spans.len(), to, outcome, streaming, tokens));
    };
    match fate {
        Fate::Served => tell(to, Outcome::Ok, Choice::First, true),
        Fate::RateLimited => tell(to, Outcome::RateLimited, Choice::First, true),
        Fate::Failed => tell(to, Outcome::ServerError, Choice::First, true),
        Fate::FellBack => {
            tell(to, Outcome::RateLimited, Choice::First, false);
            tell(&DEPLOYMENTS[FALLBACK], Outcome::Ok, Choice::Fallback, true);
        }
    }
}

/// Half to one and a half times the mean.
fn spread(mean: (u64, u64), random: &mut fastrand::Rng) -> (u64, u64) {
    let mut around = |mean: u64| mean / 2 + random.u64(0..=mean);
    (around(mean.0), around(mean.1))
}

/// Names this process's requests: a second run on the same data folder must not look like the first one sent again.
static RUN: LazyLock<u64> = LazyLock::new(|| fastrand::u64(1..));

fn span(
    number: u32,
    position: usize,
    to: &Deployment,
    outcome: Outcome,
    streaming: Streaming,
    tokens: (u64, u64),
) -> Span {
    let text = |key: &str, value: &str| attribute(key, Value::StringValue(value.to_owned()));
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", to.provider),
        text("gen_ai.system", to.provider),
        text("gen_ai.request.model", to.alias),
        text("gen_ai.response.model", to.alias),
        text("litellm.provider.model", to.served),
        text("litellm.call_id", &format!("demo-{:016x}-{number}", *RUN)),
        text("server.address", to.address),
        text("litellm.metadata.user_api_key_end_user_id", "someone@example.org"),
        attribute("gen_ai.usage.input_tokens", Value::IntValue(tokens.0 as i64)),
        attribute("gen_ai.usage.output_tokens", Value::IntValue(tokens.1 as i64)),
    ];
    if streaming == Streaming::Yes {
        attributes.push(attribute("llm.is_streaming", Value::BoolValue(true)));
    }
    let error = match outcome {
        Outcome::RateLimited => Some("RateLimitError"),
        Outcome::ServerError => Some("InternalServerError"),
        _ => None,
    };
    attributes.extend(error.map(|class| text("error.type", class)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    // Distinct for every attempt: request, and place of the span in its batch.
    let span_id = (*RUN << 48) | (u64::from(number) << 16) | (position as u64 + 1);
    Span {
        trace_id: (u128::from(*RUN) << 64 | u128::from(number + 1)).to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        name: format!("chat {}", to.alias),
        kind: CLIENT,
        start_time_unix_nano: now,
        end_time_unix_nano: now,
        attributes,
        status: error.map(|_| Status { code: ERROR, ..Status::default() }),
        ..Span::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

async fn export(client: &mut Grpc<Channel>, spans: Vec<Span>) -> anyhow::Result<()> {
    let scope = InstrumentationScope { name: "litellm".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
    let path = http::uri::PathAndQuery::from_static(EXPORT);
    client.ready().await.context("the OTLP receiver")?;
    let body = tonic::Request::new(Bytes::from(request.encode_to_vec()));
    let answer =
        client.unary(body, path, RawCodec::<Bytes, Bytes>::default()).await.context("OTLP export")?;
    anyhow::ensure!(answer.get_ref().is_empty(), "the receiver refused some spans");
    Ok(())
}
