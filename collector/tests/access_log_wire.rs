//! Access logs as OTLP logs and over Envoy's gRPC service: the same rules, checked against the official messages.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use common::{NOON_MS, attribute, counts, int, intake, text};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message;
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::transport::{Endpoint, Server};
use weighbridge_collector::discard::Refusal;
use weighbridge_collector::intake::{Accepted, Encoding, Intake, Now, Signal};
use weighbridge_collector::profile::access_log::LogProfile;
use weighbridge_collector::receiver::{Clock, Gate, grpc};
use weighbridge_collector::window::Edge;
use weighbridge_proto::cells::{Cell, Counts};
use weighbridge_proto::codec::RawCodec;
use weighbridge_proto::v1::{GatewayProduct, Outcome};

fn log_intake(profile: &str) -> Intake {
    intake(LogProfile::from_name(profile).unwrap(), 0)
}

fn take(intake: &mut Intake, signal: Signal, encoding: Encoding, payload: &[u8]) -> Accepted {
    intake.take(signal, encoding, payload, Now::At(NOON_MS)).unwrap()
}

fn cell(intake: &mut Intake) -> Cell {
    let cells = intake.counter().take_cells();
    assert_eq!(cells.len(), 1, "{cells:?}");
    cells[0]
}

fn record(body: Option<Value>, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord {
        time_unix_nano: NOON_MS * 1_000_000,
        body: body.map(|value| AnyValue { value: Some(value) }),
        attributes,
        ..LogRecord::default()
    }
}

fn request(log_records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

fn list(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values })
}

/// As Envoy 1.40 sends it with the configuration of the samples.
fn envoy_attributes(model: &str) -> Vec<KeyValue> {
    vec![
        text("response_code", "200"),
        text("response_flags", "-"),
        text("request_id", "r1"),
        text("team", "canary"),
        text("model", model),
        text("input_tokens", "11"),
        text("output_tokens", "7"),
    ]
}

#[test]
fn otlp_attributes_are_fields() {
    let body = Value::StringValue("POST /v1/chat/completions 200".to_owned());
    let payload = request(vec![
        record(Some(body), envoy_attributes("gpt-4o")),
        record(None, vec![text("response_code", "200")]),
    ]);
    let mut envoy = log_intake("envoy");
    let accepted = take(&mut envoy, Signal::Logs, Encoding::Protobuf, &payload);
    assert_eq!(accepted, Accepted { counted: 1, skipped: 1, ..Accepted::default() });
    assert_eq!(envoy.counter().totals(), counts(1, 1, 11, 7));
    take(&mut envoy, Signal::Logs, Encoding::Protobuf, &payload);
    assert_eq!(envoy.counter().totals(), counts(1, 1, 11, 7), "a resent batch");
    for length in 0..payload.len() {
        let mut envoy = log_intake("envoy");
        let taken = envoy.take(Signal::Logs, Encoding::Protobuf, &payload[..length], Now::At(NOON_MS));
        assert!(length == 0 || taken.is_err(), "cut at {length}");
        assert_eq!(envoy.counter().totals(), Counts::default());
    }
}

#[test]
fn otlp_bodies_are_documents_or_lists() {
    let kong = include_str!("fixtures/access-log/kong.jsonl").trim_end();
    let meta = list(vec![text("response_model", "gpt-4o"), text("prompt", "canary")]);
    let usage = list(vec![int("prompt_tokens", 11), attribute("completion_tokens", Value::DoubleValue(7.0))]);
    let ai = list(vec![attribute("proxy", list(vec![attribute("meta", meta), attribute("usage", usage)]))]);
    let lists = [
        record(Some(list(vec![attribute("ai", ai.clone())])), Vec::new()),
        record(None, vec![attribute("ai", ai)]),
    ];
    let mut intake = log_intake("kong");
    take(&mut intake, Signal::Logs, Encoding::Protobuf, &request(lists.to_vec()));
    assert_eq!(intake.counter().totals(), counts(2, 2, 22, 14));
    let mut intake = log_intake("kong");
    let body = record(Some(Value::StringValue(kong.to_owned())), Vec::new());
    take(&mut intake, Signal::Logs, Encoding::Protobuf, &request(vec![body]));
    assert_eq!(intake.counter().totals(), counts(1, 1, 11_184, 19));
}

#[test]
fn otlp_json_says_the_same() {
    let quoted = |value: &str| serde_json::to_string(value).unwrap();
    let kong = include_str!("fixtures/access-log/kong.jsonl").trim_end();
    let attributes = r#"[{"key":"model","value":{"stringValue":"meta-llama\/Llama-3.3-70B-Instruct"}},{"key":"input_tokens","value":{"intValue":"11"}},
        {"key":"output_tokens","value":{"doubleValue":7.0}},{"key":"prompt","value":{"kvlistValue":{"values":[]}}}]"#;
    let wrap = |record: &str| {
        format!(
            r#"{{"resourceLogs":[{{"resource":{{}},"scopeLogs":[{{"scope":{{}},"logRecords":[{record}]}}]}}]}}"#
        )
    };
    let mut envoy = log_intake("envoy");
    let good = format!(
        r#"{{"timeUnixNano":"1795435200000000000","body":{{"stringValue":"x"}},"attributes":{attributes}}}"#
    );
    let bad = r#"{"attributes":{}}"#;
    let accepted =
        take(&mut envoy, Signal::Logs, Encoding::Json, wrap(&format!("{good},{bad},{good}")).as_bytes());
    assert_eq!(
        (accepted.counted, accepted.refused, accepted.first_refusal),
        (2, 1, Some(Refusal::Malformed))
    );
    assert_eq!(envoy.counter().totals(), counts(2, 2, 22, 14));
    assert!(cell(&mut envoy).key.model != weighbridge_catalog::ModelId::UNLISTED);
    let mut intake = log_intake("kong");
    let body = format!(r#"{{"body":{{"stringValue":{}}}}}"#, quoted(kong));
    take(&mut intake, Signal::Logs, Encoding::Json, wrap(&body).as_bytes());
    let ai = r#"{"key":"ai","value":{"kvlistValue":{"values":[{"key":"proxy","value":{"kvlistValue":{"values":[{"key":"usage","value":{"kvlistValue":{"values":[{"key":"prompt_tokens","value":{"intValue":5}}]}}}]}}}]}}}"#;
    take(&mut intake, Signal::Logs, Encoding::Json, wrap(&format!(r#"{{"attributes":[{ai}]}}"#)).as_bytes());
    assert_eq!(intake.counter().totals(), counts(2, 2, 11_189, 19));
}

/// Envoy's messages, as far as the tests fill them; field numbers of the official files.
mod als {
    use super::{HashMap, Message};

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Stream {
        #[prost(message, optional, tag = "2")]
        pub(crate) http_logs: Option<Entries>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Entries {
        #[prost(message, repeated, tag = "1")]
        pub(crate) log_entry: Vec<Entry>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Entry {
        #[prost(message, optional, tag = "1")]
        pub(crate) common_properties: Option<Common>,
        #[prost(message, optional, tag = "3")]
        pub(crate) request: Option<Request>,
        #[prost(message, optional, tag = "4")]
        pub(crate) response: Option<Response>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Common {
        #[prost(message, optional, tag = "5")]
        pub(crate) start_time: Option<prost_time::Timestamp>,
        #[prost(string, tag = "15")]
        pub(crate) upstream_cluster: String,
        #[prost(message, optional, tag = "16")]
        pub(crate) response_flags: Option<Flags>,
        #[prost(message, optional, tag = "17")]
        pub(crate) metadata: Option<Metadata>,
        #[prost(uint32, tag = "24")]
        pub(crate) upstream_request_attempt_count: u32,
        #[prost(bool, tag = "27")]
        pub(crate) intermediate_log_entry: bool,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Flags {
        #[prost(bool, tag = "12")]
        pub(crate) rate_limited: bool,
        #[prost(bool, tag = "15")]
        pub(crate) downstream_connection_termination: bool,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Metadata {
        #[prost(map = "string, message", tag = "1")]
        pub(crate) filter_metadata: HashMap<String, Struct>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Struct {
        #[prost(map = "string, message", tag = "1")]
        pub(crate) fields: HashMap<String, Value>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Value {
        #[prost(double, optional, tag = "2")]
        pub(crate) number: Option<f64>,
        #[prost(string, optional, tag = "3")]
        pub(crate) string: Option<String>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Request {
        #[prost(string, tag = "5")]
        pub(crate) path: String,
        #[prost(string, tag = "9")]
        pub(crate) request_id: String,
        #[prost(map = "string, string", tag = "13")]
        pub(crate) request_headers: HashMap<String, String>,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Response {
        #[prost(message, optional, tag = "1")]
        pub(crate) response_code: Option<Number>,
        #[prost(string, tag = "6")]
        pub(crate) response_code_details: String,
    }
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Number {
        #[prost(uint32, tag = "1")]
        pub(crate) value: u32,
    }
    pub(crate) mod prost_time {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(crate) struct Timestamp {
            #[prost(int64, tag = "1")]
            pub(crate) seconds: i64,
            #[prost(int32, tag = "2")]
            pub(crate) nanos: i32,
        }
    }
}

fn entry(id: &str, status: u32, attempts: u32) -> als::Entry {
    let string = |text: &str| als::Value { string: Some(text.to_owned()), ..als::Value::default() };
    let number = |number: f64| als::Value { number: Some(number), ..als::Value::default() };
    let fields = if status == 200 {
        HashMap::from([
            ("response_model".to_owned(), string("gpt-4o")),
            ("llm_input_token".to_owned(), number(11.0)),
            ("llm_output_token".to_owned(), number(7.0)),
        ])
    } else {
        HashMap::new()
    };
    let namespace = HashMap::from([
        ("io.envoy.ai_gateway".to_owned(), als::Struct { fields }),
        (
            "canary".to_owned(),
            als::Struct { fields: HashMap::from([("response_model".to_owned(), string("x"))]) },
        ),
    ]);
    als::Entry {
        common_properties: Some(als::Common {
            start_time: Some(als::prost_time::Timestamp { seconds: (NOON_MS / 1_000) as i64, nanos: 5 }),
            upstream_cluster: "httproute/default/aigw-run/rule/0".to_owned(),
            metadata: Some(als::Metadata { filter_metadata: namespace }),
            upstream_request_attempt_count: attempts,
            ..als::Common::default()
        }),
        request: Some(als::Request {
            path: "/v1/chat/completions".to_owned(),
            request_id: id.to_owned(),
            request_headers: HashMap::from([("x-ai-eg-model".to_owned(), "gpt-4o".to_owned())]),
        }),
        response: Some(als::Response {
            response_code: Some(als::Number { value: status }),
            ..als::Response::default()
        }),
    }
}

fn message(log_entry: Vec<als::Entry>) -> Vec<u8> {
    als::Stream { http_logs: Some(als::Entries { log_entry }) }.encode_to_vec()
}

#[test]
fn als_entries_are_requests() {
    let mut intake = log_intake("envoy-ai-gateway");
    take(&mut intake, Signal::Als, Encoding::Protobuf, &message(vec![entry("a", 200, 3)]));
    let counted = cell(&mut intake);
    assert_eq!(counted.counts, counts(1, 3, 11, 7));
    assert_eq!(counted.key.outcome, Outcome::Ok);
    assert!(counted.key.model != weighbridge_catalog::ModelId::UNLISTED);
    // An intermediate entry is no request; one that repeats after a reconnect counts once.
    let mut running = entry("b", 200, 1);
    running.common_properties.as_mut().unwrap().intermediate_log_entry = true;
    let accepted =
        take(&mut intake, Signal::Als, Encoding::Protobuf, &message(vec![running, entry("a", 200, 3)]));
    assert_eq!((accepted.counted, accepted.skipped), (1, 1));
    let skipped: Vec<_> = intake.counter().tally().skipped().map(|(reason, _)| reason.name()).collect();
    assert_eq!(skipped, ["intermediate", "duplicate"]);
}

#[test]
fn als_flags_and_a_count_that_is_left_out() {
    let mut limited = entry("l", 429, 0);
    limited.common_properties.as_mut().unwrap().response_flags =
        Some(als::Flags { rate_limited: true, ..als::Flags::default() });
    let mut intake = log_intake("envoy-ai-gateway");
    take(&mut intake, Signal::Als, Encoding::Protobuf, &message(vec![limited]));
    let counted = cell(&mut intake);
    assert_eq!((counted.counts, counted.key.outcome), (counts(1, 0, 0, 0), Outcome::RateLimited));
    let mut left = entry("c", 0, 1);
    left.common_properties.as_mut().unwrap().response_flags =
        Some(als::Flags { downstream_connection_termination: true, ..als::Flags::default() });
    take(&mut intake, Signal::Als, Encoding::Protobuf, &message(vec![left]));
    let counted = cell(&mut intake);
    assert_eq!((counted.counts, counted.key.outcome), (counts(1, 1, 0, 0), Outcome::Cancelled));
}

struct AtNoon;

impl Clock for AtNoon {
    fn now_ms(&self) -> u64 {
        NOON_MS
    }
}

#[tokio::test]
async fn envoy_streams_messages_over_grpc() {
    let header = common::header(GatewayProduct::EnvoyAiGateway);
    let edge = Edge::new(log_intake("envoy-ai-gateway"), header, NOON_MS);
    let gate = Gate::new(edge, Arc::new(AtNoon), Signal::Als, 64 * 1024);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = Server::builder().add_service(grpc::AccessLogStream(gate.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let messages = [
        Bytes::from(message(vec![entry("a", 200, 1), entry("b", 200, 1)])),
        Bytes::from_static(&[0x12, 0xff]),
        Bytes::from(message(vec![entry("c", 200, 1)])),
    ];
    let path = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs".parse().unwrap();
    let request = tonic::Request::new(tokio_stream::iter(messages));
    let answer = client.client_streaming(request, path, RawCodec::<Bytes, Bytes>::default()).await.unwrap();
    assert_eq!(answer.into_inner(), Bytes::new());
    let mut edge = gate.edge();
    assert_eq!(edge.intake().counter().totals(), counts(3, 3, 33, 21), "a bad message is refused alone");
    assert_eq!(edge.intake().counter().tally().refused().collect::<Vec<_>>(), [(Refusal::Malformed, 1)]);
}

proptest! {
    #[test]
    fn nothing_panics(body: Vec<u8>, position: prop::sample::Index, byte: u8) {
        let mut damaged = [
            request(vec![record(None, envoy_attributes("gpt-4o"))]),
            message(vec![entry("a", 200, 1), entry("b", 429, 0)]),
        ];
        let mut intake = log_intake("envoy-ai-gateway");
        for signal in [Signal::Logs, Signal::Als, Signal::AccessLog] {
            for encoding in [Encoding::Protobuf, Encoding::Json, Encoding::JsonLines] {
                let _ = intake.take(signal, encoding, &body, Now::At(NOON_MS));
                for message in &mut damaged {
                    let at = position.index(message.len());
                    message[at] = byte;
                    let _ = intake.take(signal, encoding, message, Now::At(NOON_MS));
                }
            }
        }
    }
}
