//! OTLP/HTTP (protobuf and JSON, gzip and zstd), webhooks, and access logs that a gateway posts.
//!
//! A body is read under the size limit, decompressed under the same limit, and handed on. Answers follow OTLP 1.x: 200 with a
//! response in the request's encoding, 400 for bodies that cannot be read, 413 and 415 for size and type, each with a
//! `google.rpc.Status`.

use std::io::Read;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{Gate, response};
use crate::discard::Refusal;
use crate::intake::{Encoding, Signal};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// `/v1/traces`, `/v1/metrics`, `/v1/logs`.
pub fn otlp(gate: Gate) -> Router {
    Router::new()
        .route(
            "/v1/traces",
            post(|gate, request| otlp_export(gate, Some(Signal::Traces), "rejectedSpans", request)),
        )
        .route(
            "/v1/metrics",
            post(|gate, request| otlp_export(gate, Some(Signal::Metrics), "rejectedDataPoints", request)),
        )
        .route(
            "/v1/logs",
            post(|gate, request| otlp_export(gate, Some(Signal::Logs), "rejectedLogRecords", request)),
        )
        .with_state(gate)
}

/// Records that a gateway posts, at any path: LiteLLM's `GENERIC_LOGGER_ENDPOINT`, the `http_endpoint` of Kong's http-log,
/// which also sends PUT and PATCH.
pub fn webhook(gate: Gate) -> Router {
    let take = |gate, request| posted_records(gate, Signal::Webhook, request);
    Router::new().fallback_service(post(take).put(take).patch(take).with_state(gate))
}

/// `POST /access-log`: a JSON object, an array of them or JSON lines, as Kong's http-log and APISIX's http-logger send them.
pub fn access_log(gate: Gate) -> Router {
    Router::new()
        .route("/access-log", post(|gate, request| posted_records(gate, Signal::AccessLog, request)))
        .with_state(gate)
}

async fn otlp_export(
    State(gate): State<Gate>,
    signal: Option<Signal>,
    rejected: &'static str,
    request: Request<Body>,
) -> Response<Body> {
    let encoding = match content_type(request.headers()) {
        PROTOBUF => Encoding::Protobuf,
        JSON => Encoding::Json,
        _ => return refused(&gate, Refusal::ContentType, Encoding::Json),
    };
    let body = match whole_body(request, gate.max_body_bytes()).await {
        Ok(body) => body,
        Err(refusal) => return refused(&gate, refusal, encoding),
    };
    match gate.take(signal, encoding, &body) {
        Ok(accepted) => answer(
            StatusCode::OK,
            encoding,
            match encoding {
                Encoding::Protobuf => response::export_response(&accepted),
                Encoding::Json | Encoding::JsonLines => response::export_response_json(&accepted, rejected),
            },
        ),
        Err(refusal) => error_answer(refusal, encoding),
    }
}

async fn posted_records(State(gate): State<Gate>, signal: Signal, request: Request<Body>) -> Response<Body> {
    if !matches!(content_type(request.headers()), JSON | "application/x-ndjson" | "application/jsonl") {
        return refused(&gate, Refusal::ContentType, Encoding::Json);
    }
    let body = match whole_body(request, gate.max_body_bytes()).await {
        Ok(body) => body,
        Err(refusal) => return refused(&gate, refusal, Encoding::Json),
    };
    match gate.take(Some(signal), Encoding::Json, &body) {
        Ok(accepted) => answer(
            StatusCode::OK,
            Encoding::Json,
            response::export_response_json(&accepted, "rejectedRecords"),
        ),
        Err(refusal) => error_answer(refusal, Encoding::Json),
    }
}

/// Without parameters such as `charset`.
fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim()
}

async fn whole_body(request: Request<Body>, limit: usize) -> Result<Bytes, Refusal> {
    let encoding = request.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_vec());
    let body = Limited::new(request.into_body(), limit).collect().await.map_err(|error| {
        if error.downcast_ref::<LengthLimitError>().is_some() {
            Refusal::TooLarge
        } else {
            Refusal::Malformed
        }
    })?;
    let body = body.to_bytes();
    match encoding.as_deref() {
        None | Some(b"" | b"identity") => Ok(body),
        Some(b"gzip") => decompress(flate2::read::MultiGzDecoder::new(body.as_ref()), limit),
        Some(b"zstd") => {
            let decoder = zstd::Decoder::with_buffer(body.as_ref()).map_err(|_| Refusal::Encoding)?;
            decompress(decoder, limit)
        }
        Some(_) => Err(Refusal::Encoding),
    }
}

/// Reads at most `limit` bytes out of `decoder`: a small body must not grow without bound.
fn decompress(decoder: impl Read, limit: usize) -> Result<Bytes, Refusal> {
    let mut body = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut body).map_err(|_| Refusal::Encoding)?;
    if body.len() > limit { Err(Refusal::TooLarge) } else { Ok(body.into()) }
}

fn refused(gate: &Gate, refusal: Refusal, encoding: Encoding) -> Response<Body> {
    gate.refuse(refusal);
    error_answer(refusal, encoding)
}

fn error_answer(refusal: Refusal, encoding: Encoding) -> Response<Body> {
    let status = match refusal {
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::ContentType | Refusal::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::BAD_REQUEST,
    };
    answer(
        status,
        encoding,
        match encoding {
            Encoding::Protobuf => response::status(refusal),
            Encoding::Json | Encoding::JsonLines => response::status_json(refusal),
        },
    )
}

fn answer(status: StatusCode, encoding: Encoding, body: Bytes) -> Response<Body> {
    let content_type = if encoding == Encoding::Protobuf { PROTOBUF } else { JSON };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
