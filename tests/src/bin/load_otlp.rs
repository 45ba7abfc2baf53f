//! Drives the collector's OTLP/gRPC receiver and prints spans per CPU-second, peak memory and the check of totals.
//!
//! `load-otlp [--spans N] [--requests N] [--connections N] [--gzip]` starts the release binary of the collector, sends
//! requests of N distinct spans over connections that wait for each answer, then asks the collector's `/metrics` what it
//! counted. Fails when the totals differ; never judges a time.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::transport::Endpoint;
use weighbridge_proto::codec::RawCodec;
use weighbridge_tests::processes::{Process, free_port, release_binary};
use weighbridge_tests::telemetry::{Batch, INPUT_TOKENS, OUTPUT_TOKENS, SPANS};
use weighbridge_tests::usage::{counter, cpu_s, memory_kib};

/// The collector starts and ends within this time, or the run fails.
const LIMIT: Duration = Duration::from_secs(20);

struct Arguments {
    spans: usize,
    requests: usize,
    connections: usize,
    gzip: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { spans: SPANS, requests: 8_000, connections: 4, gzip: false };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || given.next().and_then(|text| text.parse().ok()).filter(|n| *n > 0);
        match name.as_str() {
            "--spans" => parsed.spans = number().ok_or("--spans takes a number above 0")?,
            "--requests" => parsed.requests = number().ok_or("--requests takes a number above 0")?,
            "--connections" => parsed.connections = number().ok_or("--connections takes a number above 0")?,
            "--gzip" => parsed.gzip = true,
            other => {
                return Err(format!("{other} is unknown; use --spans, --requests, --connections, --gzip"));
            }
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("load-otlp: {error}");
            return ExitCode::from(64);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if runtime.block_on(drive(&arguments)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start_collector(folder: &Path, grpc: u16, admin: u16) -> Process {
    let config = format!(
        "data_folder: {}\nenvironment: development\nwindow_s: 3600\n\
         source: {{otlp: {{profile: genai, signal: traces, grpc_listen: '127.0.0.1:{grpc}', http_listen: null}}}}\n\
         uplink: {{endpoint: 'http://127.0.0.1:{}', drain_timeout_s: 0}}\nadmin: {{listen: '127.0.0.1:{admin}'}}\n",
        folder.display(),
        free_port(),
    );
    let path = folder.join("collector.yaml");
    std::fs::write(&path, config).expect("configuration");
    let mut command = Command::new(release_binary("weighbridge-collector"));
    command.args(["run", "--config"]).arg(&path).env("WEIGHBRIDGE_LOG", "error");
    Process::start("collector", &command, folder)
}

async fn drive(arguments: &Arguments) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let (grpc, admin) = (free_port(), free_port());
    let mut collector = start_collector(folder.path(), grpc, admin);
    let base = format!("http://127.0.0.1:{admin}");
    collector.wait_for_http(&format!("{base}/readyz"), LIMIT).await;
    let (cpu_before, idle_kib) = (cpu_s(collector.id()), memory_kib(collector.id(), "VmRSS"));

    let per_connection = arguments.requests.div_ceil(arguments.connections);
    let senders = (0..arguments.connections).map(|connection| {
        let first = (connection * per_connection * arguments.spans) as u64;
        send(grpc, arguments, first, per_connection)
    });
    futures_util::future::join_all(senders).await;
    let (cpu_after, peak_kib) = (cpu_s(collector.id()), memory_kib(collector.id(), "VmHWM"));

    let page = reqwest::get(format!("{base}/metrics")).await.expect("metrics").text().await.expect("metrics");
    let sent = (per_connection * arguments.connections * arguments.spans) as u64;
    let counted =
        (counter(&page, "requests"), counter(&page, "input_tokens"), counter(&page, "output_tokens"));
    let expected = (sent, sent * INPUT_TOKENS, sent * OUTPUT_TOKENS);
    let cpu = cpu_after - cpu_before;
    println!(
        "{} spans a request{}: {sent} spans in {cpu:.2} CPU-seconds = {:.2} million spans per CPU-second",
        arguments.spans,
        if arguments.gzip { ", gzip" } else { ", plain" },
        sent as f64 / cpu / 1e6
    );
    println!(
        "resident memory: {:.1} MiB idle, {:.1} MiB peak",
        idle_kib as f64 / 1024.0,
        peak_kib as f64 / 1024.0
    );
    println!(
        "totals: sent {expected:?}, counted {counted:?}: {}",
        if counted == expected { "equal" } else { "DIFFERENT" }
    );
    collector.terminate(LIMIT).await;
    counted == expected
}

async fn send(port: u16, arguments: &Arguments, first: u64, requests: usize) {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("a URL");
    let channel = endpoint.connect().await.expect("the receiver accepts");
    let mut client = Grpc::new(channel);
    if arguments.gzip {
        client = client.send_compressed(CompressionEncoding::Gzip);
    }
    let mut batch = Batch::new(arguments.spans);
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for request in 0..requests {
        let bytes = Bytes::copy_from_slice(batch.renew(first + (request * arguments.spans) as u64));
        client.ready().await.expect("the receiver is ready");
        let answer = client
            .unary(
                tonic::Request::new(bytes),
                http::uri::PathAndQuery::from_static(path),
                RawCodec::<Bytes, Bytes>::default(),
            )
            .await
            .expect("the receiver answers");
        assert!(answer.into_inner().is_empty(), "no span was refused");
    }
}
