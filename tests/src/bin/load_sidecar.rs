//! What the sidecar takes beside a gateway: memory and CPU of the delivered collector at 0, 100 and 2,000 requests a second.
//!
//! `load-sidecar [--seconds N]` starts the collector anew for each row: with OTLP spans, as a gateway's exporter sends them, in a
//! batch every 200 ms (exporters wait for 1 to 5 s, which takes less), and as a tap, through which the requests pass. An ingest in
//! this process adds up what arrives. Fails when that differs from what was sent; never judges a time. The figures back the requests
//! and limits of the sidecar in `deploy/`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::Request;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use weighbridge_proto::codec::RawCodec;
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::simple_ingest::SimpleIngest;
use weighbridge_tests::telemetry::Batch;
use weighbridge_tests::usage::{cpu_s, memory_kib};

/// Requests a second: idle, a busy gateway, and far more than one gateway of an organisation has.
const RATES: [u64; 3] = [0, 100, 2_000];
/// Ticks a second: at each the requests of a fifth of a second come.
const TICKS: u64 = 5;
/// Connections through the tap.
const CONNECTIONS: u64 = 16;
const DEFAULT_SECONDS: u64 = 20;
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const ANSWER: &str = r#"{"model":"gpt-4o","choices":[{"message":{"content":"word word word"}}],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
const QUESTION: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"one two three"}]}"#;

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let seconds = match given.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(DEFAULT_SECONDS),
        ["--seconds", number] => number.parse().ok().filter(|number| *number > 0),
        _ => None,
    };
    let Some(seconds) = seconds else {
        eprintln!("load-sidecar: write --seconds with a number above 0, or nothing");
        return ExitCode::from(64);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if runtime.block_on(measure(seconds)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(seconds: u64) -> bool {
    println!(
        "| input | requests a second | CPU, millicores | memory, MiB | most, MiB | of it its own, MiB | totals |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut is_equal = true;
    for by_tap in [false, true] {
        for rate in RATES {
            is_equal &= row(by_tap, rate, seconds).await;
        }
    }
    is_equal
}

/// One start of the collector under one load.
async fn row(by_tap: bool, rate: u64, seconds: u64) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let ingest = SimpleIngest::start().await;
    let mut collector = start(folder.path(), by_tap, &ingest).await;
    let pid = collector.process_id();
    // What a start takes is not what it takes to run.
    sleep(Duration::from_secs(1)).await;
    let (cpu, began) = (cpu_s(pid), Instant::now());
    let sent =
        if by_tap { ask(&collector, rate, seconds).await } else { export(&collector, rate, seconds).await };
    let (cpu, took) = (cpu_s(pid) - cpu, began.elapsed().as_secs_f64());
    let mib = |name| memory_kib(pid, name) as f64 / 1024.0;
    let (now, most, own) = (mib("VmRSS"), mib("VmHWM"), mib("RssAnon"));
    collector.drain().await;
    let arrived = ingest.requests();
    println!(
        "| {} | {:.0} | {:.1} | {now:.1} | {most:.1} | {own:.1} | {sent} sent, {arrived} arrived: {} |",
        if by_tap { "tap" } else { "OTLP spans" },
        sent as f64 / took,
        cpu / took * 1_000.0,
        if sent == arrived { "equal" } else { "DIFFERENT" }
    );
    collector.stop().await;
    sent == arrived
}

async fn start(folder: &Path, by_tap: bool, ingest: &SimpleIngest) -> Collector {
    let input = if by_tap {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the provider's port");
        let upstream = format!("http://{}", listener.local_addr().expect("the provider's port"));
        let answer = || async { ([("content-type", "application/json")], ANSWER) };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Input::Tap { profile: "auto", upstream }
    } else {
        Input::GenAiTraces
    };
    // Windows as they are delivered are longer, which takes less.
    Collector::start(folder, "sidecar", input, &ingest.url()).await
}

/// Sends spans of `rate` requests a second for so many seconds; how many.
async fn export(collector: &Collector, rate: u64, seconds: u64) -> u64 {
    let channel = Endpoint::from_shared(collector.grpc.clone()).expect("a URL").connect().await;
    let mut client = Grpc::new(channel.expect("the receiver accepts"));
    let spans = rate / TICKS;
    let mut batch = Batch::new(spans as usize);
    let mut ticks = interval(Duration::from_secs(1) / TICKS as u32);
    // All of them are sent: the load is the same on a machine that is late.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for tick in 0..seconds * TICKS {
        ticks.tick().await;
        if spans == 0 {
            continue;
        }
        let bytes = Bytes::copy_from_slice(batch.renew(tick * spans));
        client.ready().await.expect("the receiver is ready");
        let codec = RawCodec::<Bytes, Bytes>::default();
        let answer = client.unary(tonic::Request::new(bytes), PathAndQuery::from_static(EXPORT), codec).await;
        assert!(answer.expect("the receiver answers").into_inner().is_empty(), "no span was refused");
    }
    seconds * TICKS * spans
}

/// Sends `rate` requests a second through the tap; how many.
async fn ask(collector: &Collector, rate: u64, seconds: u64) -> u64 {
    let address = collector.tap.strip_prefix("http://").expect("an address with scheme").to_owned();
    let each = (rate / TICKS).div_ceil(CONNECTIONS).max(1);
    let connections = rate / TICKS / each;
    let askers = (0..connections).map(|_| ask_in_turn(address.clone(), each, seconds));
    let all = futures_util::future::join_all(askers);
    let ((), _) = tokio::join!(sleep(Duration::from_secs(seconds)), all);
    connections * each * seconds * TICKS
}

async fn ask_in_turn(address: String, each: u64, seconds: u64) {
    let stream = TcpStream::connect(&address).await.expect("the tap accepts");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let mut ticks = interval(Duration::from_secs(1) / TICKS as u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..seconds * TICKS {
        ticks.tick().await;
        for _ in 0..each {
            once(&mut sender, &address).await;
        }
    }
}

async fn once(sender: &mut SendRequest<Full<Bytes>>, host: &str) {
    let request = Request::post("/v1/chat/completions").header("host", host);
    let request = request.header("content-type", "application/json");
    let request = request.body(Full::from(QUESTION)).expect("a request");
    sender.ready().await.expect("an open connection");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    assert_eq!(body, ANSWER.as_bytes());
}
