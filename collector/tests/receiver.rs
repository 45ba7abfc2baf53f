//! The network side: what senders get back, and that a refused body changes no count.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use common::{NOON_MS, attempt, counts, traces};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Endpoint, Server};
use weighbridge_collector::intake::Signal;
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_collector::profile::{Dialect, Profile};
use weighbridge_collector::receiver::{Clock, Gate, grpc, http};
use weighbridge_collector::window::Edge;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::codec::RawCodec;
use weighbridge_proto::v1::GatewayProduct;

const LIMIT: usize = 64 * 1024;

struct AtNoon;

impl Clock for AtNoon {
    fn now_ms(&self) -> u64 {
        NOON_MS
    }
}

fn gate(signal: Signal) -> Gate {
    gate_of(Profile::Litellm, signal)
}

fn gate_of(dialect: impl Into<Dialect>, signal: Signal) -> Gate {
    let header = common::header(GatewayProduct::Litellm);
    let edge = Edge::new(common::intake(dialect, NOON_MS), header, NOON_MS);
    Gate::new(edge, Arc::new(AtNoon), signal, LIMIT)
}

fn totals(gate: &Gate) -> Counts {
    gate.edge().intake().counter().totals()
}

fn refused(gate: &Gate) -> Vec<(&'static str, u64)> {
    let mut edge = gate.edge();
    edge.intake().counter().tally().refused().map(|(reason, count)| (reason.name(), count)).collect()
}

fn body() -> Vec<u8> {
    traces(vec![attempt(1, "a", "openai/gpt-4o", None)])
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

async fn serve_http(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// Status and body of a POST with a content type and perhaps a content encoding.
async fn post(url: &str, kind: &str, encoding: Option<&str>, body: Vec<u8>) -> (u16, Bytes) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.post(url).header("content-type", kind).body(body);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap())
}

const PROTOBUF: &str = "application/x-protobuf";

/// Content type, content encoding, body; status and reason.
type Refused<'a> = (&'a str, Option<&'a str>, Vec<u8>, u16, &'a str);

#[tokio::test]
async fn http_takes_protobuf_and_json_plain_gzip_and_zstd() {
    let zstd = zstd::encode_all(body().as_slice(), 3).unwrap();
    for (encoding, body) in [(None, body()), (Some("gzip"), gzip(&body())), (Some("zstd"), zstd)] {
        let gate = gate(Signal::Traces);
        let url = format!("{}/v1/traces", serve_http(http::otlp(gate.clone())).await);
        assert_eq!(post(&url, PROTOBUF, encoding, body).await, (200, Bytes::new()), "{encoding:?}");
        assert_eq!(totals(&gate), counts(1, 1, 11, 7), "{encoding:?}");
    }
    let gate = gate(Signal::Traces);
    let url = format!("{}/v1/traces", serve_http(http::otlp(gate.clone())).await);
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"litellm"},"spans":[{"spanId":"0101010101010101","name":"chat x","kind":3,
        "endTimeUnixNano":"1795435200000000000","attributes":[{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},
        {"key":"litellm.call_id","value":{"stringValue":"a"}},{"key":"litellm.provider.model","value":{"stringValue":"openai/gpt-4o"}},
        {"key":"gen_ai.prompt","value":{"kvlistValue":{"values":[{"key":"x","value":{"stringValue":"never read"}}]}}},
        {"key":"gen_ai.usage.input_tokens","value":{"intValue":"11"}},{"key":"gen_ai.usage.output_tokens","value":{"intValue":7}}]}]}]}]}"#;
    let answer = post(&url, "application/json; charset=utf-8", None, json.into()).await;
    assert_eq!(answer, (200, Bytes::from_static(b"{}")));
    assert_eq!(totals(&gate), counts(1, 1, 11, 7));
}

#[tokio::test]
async fn http_refuses_with_a_reason_and_changes_no_count() {
    let gate = gate(Signal::Traces);
    let url = format!("{}/v1/traces", serve_http(http::otlp(gate.clone())).await);
    let bomb = gzip(&vec![0; 100 * 1024 * 1024]);
    let truncated = body()[..body().len() - 3].to_vec();
    let cases: Vec<Refused<'_>> = vec![
        ("text/plain", None, body(), 415, "content_type"),
        (PROTOBUF, Some("br"), body(), 415, "encoding"),
        (PROTOBUF, Some("gzip"), body(), 415, "encoding"),
        (PROTOBUF, None, truncated, 400, "malformed"),
        ("application/json", None, b"{\"resourceSpans\":[".to_vec(), 400, "malformed"),
        (PROTOBUF, Some("gzip"), bomb, 413, "too_large"),
        (PROTOBUF, None, vec![0; LIMIT + 1], 413, "too_large"),
    ];
    for (kind, encoding, body, status, reason) in cases {
        let before =
            refused(&gate).into_iter().find(|(name, _)| *name == reason).map_or(0, |(_, count)| count);
        let answer = post(&url, kind, encoding, body).await;
        assert_eq!(answer.0, status, "{reason}");
        assert!(!answer.1.is_empty(), "{reason}: a text that names the fix");
        assert!(refused(&gate).contains(&(reason, before + 1)), "{reason}: {:?}", refused(&gate));
    }
    assert_eq!(totals(&gate), Counts::default());
    // A body of 100 MB is refused while it arrives; the receiver goes on.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let huge =
        client.post(&url).header("content-type", PROTOBUF).body(vec![0; 100 * 1024 * 1024]).send().await;
    assert!(huge.is_err() || huge.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(post(&url, PROTOBUF, None, body()).await.0, 200);
    assert_eq!(totals(&gate).requests, 1);
}

#[tokio::test]
async fn a_wrong_span_is_told_as_partial_success() {
    let gate = gate(Signal::Traces);
    let url = format!("{}/v1/traces", serve_http(http::otlp(gate.clone())).await);
    let mut wrong = attempt(2, "b", "openai/gpt-4o", None);
    wrong.attributes[6] = common::int("gen_ai.usage.input_tokens", -1);
    let (status, answer) =
        post(&url, PROTOBUF, None, traces(vec![attempt(1, "a", "openai/gpt-4o", None), wrong])).await;
    let partial = ExportTraceServiceResponse::decode(answer).unwrap().partial_success.unwrap();
    assert_eq!((status, partial.rejected_spans), (200, 1));
    assert!(partial.error_message.contains("negative"), "{}", partial.error_message);
    assert_eq!(totals(&gate).requests, 1);
}

#[tokio::test]
async fn a_signal_that_is_not_counted_is_taken() {
    let gate = gate(Signal::Metrics);
    let base = serve_http(http::otlp(gate.clone())).await;
    assert_eq!(post(&format!("{base}/v1/traces"), PROTOBUF, None, body()).await.0, 200);
    assert_eq!(post(&format!("{base}/v1/logs"), PROTOBUF, None, body()).await.0, 200);
    assert_eq!(totals(&gate), Counts::default());
    let skipped: Vec<_> = {
        let mut edge = gate.edge();
        edge.intake().counter().tally().skipped().map(|(reason, count)| (reason.name(), count)).collect()
    };
    assert_eq!(skipped, [("other_signal", 2)]);
}

#[tokio::test]
async fn the_webhook_takes_arrays_lines_and_single_records() {
    let record = |id: &str| {
        format!(
            r#"{{"litellm_call_id":"{id}","status":"success","call_type":"acompletion","model":"openai/gpt-4o","custom_llm_provider":"openai","stream":null,"prompt_tokens":11,"completion_tokens":7,"messages":[{{"content":"never read"}}]}}"#
        )
    };
    let gate = gate(Signal::Webhook);
    let url = format!("{}/webhook", serve_http(http::webhook(gate.clone())).await);
    let bodies = [
        ("application/json", format!("[{},{}]", record("a"), record("b"))),
        ("application/x-ndjson", format!("{}\n{}\n", record("c"), record("d"))),
        ("application/json", record("e")),
    ];
    for (kind, body) in bodies {
        assert_eq!(post(&url, kind, None, body.into()).await, (200, Bytes::from_static(b"{}")));
    }
    assert_eq!(totals(&gate), counts(5, 5, 55, 35));
    assert_eq!(post(&url, "text/html", None, Vec::new()).await.0, 415);
}

async fn serve_grpc(gate: &Gate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(grpc::TraceExport(gate.clone()))
        .add_service(grpc::LogsExport(gate.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn export(
    address: SocketAddr,
    body: Vec<u8>,
    encoding: Option<CompressionEncoding>,
) -> Result<Bytes, Code> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = Grpc::new(channel);
    if let Some(encoding) = encoding {
        client = client.send_compressed(encoding);
    }
    client.ready().await.unwrap();
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export".parse().unwrap();
    let codec = RawCodec::<Bytes, Bytes>::default();
    let answer = client.unary(tonic::Request::new(Bytes::from(body)), path, codec).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.code())
}

#[tokio::test]
async fn grpc_takes_plain_gzip_and_zstd_and_refuses_with_a_reason() {
    for encoding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let gate = gate(Signal::Traces);
        let address = serve_grpc(&gate).await;
        assert_eq!(export(address, body(), encoding).await, Ok(Bytes::new()), "{encoding:?}");
        assert_eq!(totals(&gate), counts(1, 1, 11, 7), "{encoding:?}");
    }
    let gate = gate(Signal::Traces);
    let address = serve_grpc(&gate).await;
    assert_eq!(export(address, body()[..50].to_vec(), None).await, Err(Code::InvalidArgument));
    assert_eq!(export(address, vec![0; LIMIT + 1], None).await, Err(Code::OutOfRange));
    assert_eq!(totals(&gate), Counts::default());
    assert_eq!(refused(&gate), [("malformed", 1), ("too_large", 1)]);
}

#[tokio::test]
async fn http_takes_access_logs_as_gateways_post_them() {
    let line = include_str!("fixtures/access-log/kong.jsonl").trim_end();
    let bodies = [
        ("application/json; charset=utf-8", line.to_owned(), 1),
        ("application/json", format!("[{line},{line}]"), 2),
        ("application/x-ndjson", format!("{line}\n{line}\n{line}\n"), 3),
    ];
    for (kind, body, requests) in bodies {
        let gate = gate_of(LogProfile::from_name("kong").unwrap(), Signal::AccessLog);
        let url = format!("{}/access-log", serve_http(http::access_log(gate.clone())).await);
        assert_eq!(post(&url, kind, Some("gzip"), gzip(body.as_bytes())).await.0, 200);
        assert_eq!(totals(&gate), counts(requests, requests, requests * 11_184, requests * 19), "{kind}");
    }
    let gate = gate_of(LogProfile::from_name("kong").unwrap(), Signal::AccessLog);
    let url = format!("{}/access-log", serve_http(http::access_log(gate.clone())).await);
    assert_eq!(post(&url, "application/json", None, b"[{}".to_vec()).await.0, 400);
    let (status, answer) = post(&url, "application/json", None, format!("{line}\n{{\n").into_bytes()).await;
    assert_eq!(status, 200, "a bad record is refused alone");
    assert!(String::from_utf8_lossy(&answer).contains("rejectedRecords"));
    assert_eq!(refused(&gate), [("malformed", 2)]);
    assert_eq!(totals(&gate).requests, 1);
}
