//! OTLP/gRPC: `Export` of the trace, metrics and logs services over raw message bytes, with gzip and zstd; and Envoy's gRPC
//! access log.
//!
//! tonic carries the messages; nothing is decoded by prost. A body that cannot be read is answered INVALID_ARGUMENT, which
//! OTLP defines as not retryable; refused items as partial success.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tonic::codec::CompressionEncoding;
use tonic::server::{ClientStreamingService, Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status, Streaming, body::Body};
use tower::Service;
use weighbridge_proto::codec::RawCodec;

use super::{Gate, response};
use crate::discard::Refusal;
use crate::intake::{Encoding, Signal};

/// Declares an OTLP service: its type, gRPC name and signal.
macro_rules! services {
    ($($(#[$doc:meta])* $type:ident = $name:literal, $signal:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $type(pub Gate);

        impl NamedService for $type {
            const NAME: &'static str = $name;
        }

        impl Service<http::Request<Body>> for $type {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                Box::pin(export(self.0.clone(), $signal, concat!("/", $name, "/Export"), request))
            }
        }
    )+};
}

services! {
    /// `TraceService`.
    TraceExport = "opentelemetry.proto.collector.trace.v1.TraceService", Some(Signal::Traces);
    /// `MetricsService`.
    MetricsExport = "opentelemetry.proto.collector.metrics.v1.MetricsService", Some(Signal::Metrics);
    /// `LogsService`. Where logs are not counted they are taken all the same, so that an exporter does not retry for ever.
    LogsExport = "opentelemetry.proto.collector.logs.v1.LogsService", Some(Signal::Logs);
}

async fn export(
    gate: Gate,
    signal: Option<Signal>,
    path: &'static str,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Infallible> {
    if request.uri().path() != path {
        return Ok(Status::unimplemented("only Export is served").into_http());
    }
    let mut grpc = Grpc::new(RawCodec::<Bytes, Bytes>::default())
        .max_decoding_message_size(gate.max_body_bytes())
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let response = grpc.unary(Export { gate: gate.clone(), signal }, request).await;
    // Refused by tonic before a whole message was there; INVALID_ARGUMENT is ours and counted already.
    match Status::from_header_map(response.headers()).map(|status| status.code()) {
        Some(Code::OutOfRange | Code::ResourceExhausted) => gate.refuse(Refusal::TooLarge),
        Some(Code::Unimplemented) => gate.refuse(Refusal::Encoding),
        Some(Code::Internal) => gate.refuse(Refusal::Malformed),
        _ => {}
    }
    Ok(response)
}

struct Export {
    gate: Gate,
    signal: Option<Signal>,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let taken = self.gate.take(self.signal, Encoding::Protobuf, request.get_ref());
        ready(match taken {
            Ok(accepted) => Ok(Response::new(response::export_response(&accepted))),
            Err(refusal) => Err(Status::invalid_argument(refusal.to_string())),
        })
    }
}

/// Envoy's `AccessLogService`: one stream of messages from every worker, without acknowledgement. A message that cannot be
/// read is counted as refused and the stream goes on; Envoy would only open it again.
#[derive(Clone, Debug)]
pub struct AccessLogStream(pub Gate);

impl NamedService for AccessLogStream {
    const NAME: &'static str = "envoy.service.accesslog.v3.AccessLogService";
}

impl Service<http::Request<Body>> for AccessLogStream {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let gate = self.0.clone();
        Box::pin(async move {
            if request.uri().path() != "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs" {
                return Ok(Status::unimplemented("only StreamAccessLogs is served").into_http());
            }
            let mut grpc = Grpc::new(RawCodec::<Bytes, Bytes>::default())
                .max_decoding_message_size(gate.max_body_bytes())
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd);
            Ok(grpc.client_streaming(StreamAccessLogs { gate }, request).await)
        })
    }
}

struct StreamAccessLogs {
    gate: Gate,
}

impl ClientStreamingService<Bytes> for StreamAccessLogs {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let gate = self.gate.clone();
        Box::pin(async move {
            let mut messages = request.into_inner();
            loop {
                match messages.message().await {
                    Ok(Some(message)) => {
                        // Counted by reason where it is refused.
                        let _ = gate.take(Some(Signal::Als), Encoding::Protobuf, &message);
                    }
                    // `StreamAccessLogsResponse` has no fields.
                    Ok(None) => return Ok(Response::new(Bytes::new())),
                    Err(status) => {
                        match status.code() {
                            Code::OutOfRange | Code::ResourceExhausted => gate.refuse(Refusal::TooLarge),
                            Code::Internal => gate.refuse(Refusal::Malformed),
                            _ => {}
                        }
                        return Err(status);
                    }
                }
            }
        })
    }
}
