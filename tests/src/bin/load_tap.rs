//! The tap and nginx side by side as reverse proxies before one upstream: CPU a request, latency, memory, and slow streams.
//!
//! `load-tap [--requests N] [--connections N] [--streams N]` starts the release binary of the collector and nginx with one worker,
//! sends each the same requests in turns (half of them answered as streams of 40 events), then opens N slow streams at one
//! time through each. The checksum of every body is compared at its other end, and the tap's count with what was sent. Fails
//! when they differ; never judges a time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use weighbridge_tests::processes::{Process, free_port, release_binary, tool};
use weighbridge_tests::usage::{counter, cpu_s, memory_kib};

/// A proxy starts, ends and finishes a round within this time, or the run fails.
const LIMIT: Duration = Duration::from_secs(120);
/// Turns of each proxy, of which the best counts: other work on the machine only makes one slower.
const TURNS: usize = 5;
const EVENTS: usize = 40;
const EVENT: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"}}]}\n\n";
/// Length of the prompt in a request, bytes.
const PROMPT: usize = 2_000;
const SUM: &str = "x-crc32c";

struct Arguments {
    requests: usize,
    connections: usize,
    streams: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { requests: 4_000, connections: 32, streams: 10_000 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let number = given.next().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        let number = number.ok_or(format!("{name} takes a number above 0"))?;
        match name.as_str() {
            "--requests" => parsed.requests = number,
            "--connections" => parsed.connections = number,
            "--streams" => parsed.streams = number,
            other => return Err(format!("{other} is unknown; use --requests, --connections, --streams")),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("load-tap: {error}");
            return ExitCode::from(64);
        }
    };
    raise_descriptor_limit(2 * arguments.streams as u64 + 2_000);
    let (upstream, held) = (free_port(), Arc::new(Held::default()));
    let of_upstream = Arc::clone(&held);
    std::thread::spawn(move || runtime().block_on(serve(upstream, of_upstream)));
    if runtime().block_on(drive(&arguments, upstream, &held)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Streams are open files; what is started from here inherits the limit.
fn raise_descriptor_limit(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map_or(needed, |maximum| maximum.max(needed));
    let raised = Rlimit { current: Some(maximum), maximum: Some(maximum) };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("load-tap: {needed} descriptors are needed: {error}");
    }
}

/// Streams that the upstream holds open until all are there.
#[derive(Default)]
struct Held {
    open: AtomicU64,
    go: Notify,
}

type Body = BoxBody<Bytes, Infallible>;

async fn serve(port: u16, held: Arc<Held>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the upstream's port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let held = Arc::clone(&held);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&held)));
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that left is seen by its own side.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, held: Arc<Held>) -> Result<Response<Body>, Infallible> {
    let is_slow = request.headers().contains_key("x-slow");
    let body = request.into_body().collect().await.expect("a whole request").to_bytes();
    let is_stream = memchr::memmem::find(&body, b"\"stream\":true").is_some();
    let builder = Response::builder().header(SUM, crc32c::crc32c(&body).to_string());
    let usage = "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}";
    let last = format!("data: {{\"model\":\"gpt-4o\",\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n");
    let event = || Ok(Frame::data(Bytes::from_static(EVENT.as_bytes())));
    let end = futures_util::stream::once(async move { Ok(Frame::data(Bytes::from(last))) });
    let body = match (is_stream, is_slow) {
        (false, _) => {
            let text = format!(
                "{{\"model\":\"gpt-4o\",\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}],{usage}}}",
                "word ".repeat(160)
            );
            let answer = builder.header("content-type", "application/json").body(Full::from(text).boxed());
            return Ok(answer.expect("an answer"));
        }
        // One by one, as a model makes them.
        (true, false) => {
            let events = futures_util::stream::iter(0..EVENTS).then(move |_| async move {
                tokio::task::yield_now().await;
                event()
            });
            BodyExt::boxed(StreamBody::new(events.chain(end)))
        }
        (true, true) => {
            let first = futures_util::stream::once(async move { event() });
            let rest = futures_util::stream::once(async move {
                let go = held.go.notified();
                held.open.fetch_add(1, Ordering::Relaxed);
                go.await;
                event()
            });
            BodyExt::boxed(StreamBody::new(first.chain(rest).chain(end)))
        }
    };
    Ok(builder.header("content-type", "text/event-stream").body(body).expect("an answer"))
}

/// A proxy under test.
struct Proxy {
    name: &'static str,
    port: u16,
    /// Its processes, and the admin port if it counts.
    pids: Vec<u32>,
    admin: Option<u16>,
    process: Option<Process>,
    best: Option<Round>,
}

/// What a round of requests cost.
#[derive(Clone, Copy)]
struct Round {
    cpu_us: f64,
    p50_us: u64,
    p99_us: u64,
}

fn start_tap(folder: &Path, upstream: u16) -> (Process, u16, u16) {
    let (port, admin) = (free_port(), free_port());
    let config = format!(
        "data_folder: {}/data\nenvironment: development\nwindow_s: 3600\n\
         source: {{tap: {{profile: auto, listen: '127.0.0.1:{port}', upstream: 'http://127.0.0.1:{upstream}'}}}}\n\
         uplink: {{endpoint: 'http://127.0.0.1:{}', drain_timeout_s: 0}}\nadmin: {{listen: '127.0.0.1:{admin}'}}\n",
        folder.display(),
        free_port(),
    );
    let path = folder.join("collector.yaml");
    std::fs::write(&path, config).expect("configuration");
    let mut command = Command::new(release_binary("weighbridge-collector"));
    command.args(["run", "--config"]).arg(&path).env("WEIGHBRIDGE_LOG", "error");
    (Process::start("collector", &command, folder), port, admin)
}

/// nginx as it is set up before model servers: kept connections, nothing buffered, no log.
fn start_nginx(folder: &Path, upstream: u16, streams: usize) -> (Process, u16) {
    let port = free_port();
    let (files, connections) = (2 * streams + 2_000, 2 * streams + 1_000);
    let config = format!(
        "daemon off; pid {0}/nginx.pid; error_log {0}/nginx-error.log; worker_processes 1; worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
  tcp_nodelay on; keepalive_requests 1000000;
  upstream server {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
",
        folder.display()
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config).expect("configuration");
    let mut command = Command::new(tool("nginx/usr/sbin/nginx"));
    command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(&path);
    (Process::start("nginx", &command, folder), port)
}

/// The processes that `pid` has started.
fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

impl Proxy {
    fn cpu_s(&self) -> f64 {
        self.pids.iter().map(|pid| cpu_s(*pid)).sum()
    }

    /// Resident and peak KiB, all its processes.
    fn memory_kib(&self) -> (u64, u64) {
        let of = |name| self.pids.iter().map(|pid| memory_kib(*pid, name)).sum();
        (of("VmRSS"), of("VmHWM"))
    }

    async fn round(&mut self, arguments: &Arguments) {
        let before = if self.pids.is_empty() { 0.0 } else { self.cpu_s() };
        let each = arguments.requests.div_ceil(arguments.connections);
        let runs = (0..arguments.connections).map(|number| requests(self.port, number, each));
        let mut latencies: Vec<u64> = futures_util::future::join_all(runs).await.concat();
        latencies.sort_unstable();
        let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize];
        let cpu = if self.pids.is_empty() { 0.0 } else { self.cpu_s() - before };
        let round = Round { cpu_us: cpu * 1e6 / latencies.len() as f64, p50_us: at(0.5), p99_us: at(0.99) };
        let best = self.best.get_or_insert(round);
        best.cpu_us = best.cpu_us.min(round.cpu_us);
        (best.p50_us, best.p99_us) = (best.p50_us.min(round.p50_us), best.p99_us.min(round.p99_us));
    }
}

async fn connect(port: u16) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

/// Sends one request and checks the sums of both bodies; `started` is called when the answer's head is there.
async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    number: usize,
    is_stream: bool,
    is_slow: bool,
) -> Incoming {
    let text = format!(
        "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{number} {}\"}}],\"model\":\"gpt-4o\",\"stream\":{is_stream}}}",
        "p".repeat(if is_slow { 10 } else { PROMPT })
    );
    let sum = crc32c::crc32c(text.as_bytes()).to_string();
    let mut request = Request::post("/v1/chat/completions")
        .header("host", "proxy")
        .header("content-type", "application/json");
    if is_slow {
        request = request.header("x-slow", "1");
    }
    let request = request.body(Full::from(text)).expect("a request");
    sender.ready().await.expect("a connection that is kept");
    let answer = sender.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[SUM], sum.as_str(), "the request's body came as it was sent");
    answer.into_body()
}

async fn requests(port: u16, connection: usize, count: usize) -> Vec<u64> {
    let mut sender = connect(port).await;
    let mut latencies = Vec::with_capacity(count);
    for number in 0..count {
        let begun = Instant::now();
        let is_stream = number % 2 == 0;
        let body = exchange(&mut sender, connection * count + number, is_stream, false).await;
        let body = body.collect().await.expect("a whole answer").to_bytes();
        latencies.push(begun.elapsed().as_micros() as u64);
        check(&body, is_stream, EVENTS);
    }
    latencies
}

/// The answer came as it was sent.
fn check(body: &[u8], is_stream: bool, events: usize) {
    let usage = "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}";
    let expected = if is_stream {
        format!(
            "{}data: {{\"model\":\"gpt-4o\",\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n",
            EVENT.repeat(events)
        )
    } else {
        format!(
            "{{\"model\":\"gpt-4o\",\"choices\":[{{\"message\":{{\"content\":\"{}\"}}}}],{usage}}}",
            "word ".repeat(160)
        )
    };
    assert_eq!(
        crc32c::crc32c(body),
        crc32c::crc32c(expected.as_bytes()),
        "the answer's body came as it was sent"
    );
}

/// Opens `count` streams, waits until the upstream holds all of them, gives the proxy's memory then, and lets them end.
async fn slow_streams(proxy: &Proxy, count: usize, held: &Held) -> (u64, u64) {
    held.open.store(0, Ordering::Relaxed);
    let opened = futures_util::stream::iter(0..count).map(|number| async move {
        let mut sender = connect(proxy.port).await;
        let mut body = exchange(&mut sender, number, true, true).await;
        let first = body.frame().await.expect("an event").expect("an event").into_data().expect("an event");
        (sender, body, first.to_vec())
    });
    let streams: Vec<_> = opened.buffer_unordered(64).collect().await;
    let all = async {
        while held.open.load(Ordering::Relaxed) < count as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, all).await.expect("all streams are open");
    let memory = proxy.memory_kib();
    held.go.notify_waiters();
    let ended = streams.into_iter().map(|(sender, body, mut got)| async move {
        got.extend(body.collect().await.expect("a whole stream").to_bytes());
        drop(sender);
        check(&got, true, 2);
    });
    futures_util::future::join_all(ended).await;
    memory
}

async fn drive(arguments: &Arguments, upstream: u16, held: &Held) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut nginx, nginx_port) = start_nginx(folder.path(), upstream, arguments.streams);
    let (mut tap, tap_port, admin) = start_tap(folder.path(), upstream);
    tap.wait_for_http(&format!("http://127.0.0.1:{admin}/readyz"), LIMIT).await;
    nginx
        .wait_until("it listens", LIMIT, || async {
            TcpStream::connect(("127.0.0.1", nginx_port)).await.is_ok()
        })
        .await;
    let of_nginx = [vec![nginx.id()], children(nginx.id())].concat();
    let proxy = |name, port, pids, admin, process| Proxy { name, port, pids, admin, process, best: None };
    let mut proxies = [
        proxy("direct", upstream, Vec::new(), None, None),
        proxy("nginx", nginx_port, of_nginx, None, Some(nginx)),
        proxy("tap", tap_port, vec![tap.id()], Some(admin), Some(tap)),
    ];
    let idle: HashMap<&str, u64> =
        proxies[1..].iter().map(|proxy| (proxy.name, proxy.memory_kib().0)).collect();
    for _ in 0..TURNS {
        for proxy in &mut proxies {
            proxy.round(arguments).await;
        }
    }
    let direct = proxies[0].best.expect("a round");
    println!(
        "{} requests on {} connections, best of {TURNS} turns:",
        arguments.requests, arguments.connections
    );
    for proxy in &proxies {
        let Round { cpu_us, p50_us, p99_us } = proxy.best.expect("a round");
        println!(
            "  {:7} {cpu_us:6.1} us CPU a request, median {p50_us} us (+{}), p99 {p99_us} us (+{})",
            proxy.name,
            p50_us.saturating_sub(direct.p50_us),
            p99_us.saturating_sub(direct.p99_us)
        );
    }
    let mib = |kib: u64| kib as f64 / 1024.0;
    for proxy in &proxies[1..] {
        let loaded = proxy.memory_kib().1;
        let (held_kib, peak_kib) = slow_streams(proxy, arguments.streams, held).await;
        println!(
            "  {:7} resident: {:.1} MiB idle, {:.1} MiB peak under requests, {:.1} MiB with {} streams open, {:.1} MiB peak",
            proxy.name,
            mib(idle[proxy.name]),
            mib(loaded),
            mib(held_kib),
            arguments.streams,
            mib(peak_kib)
        );
    }
    let sent = (arguments.requests.div_ceil(arguments.connections) * arguments.connections * TURNS
        + arguments.streams) as u64;
    let is_equal = counted(&proxies[2], sent).await;
    for proxy in &mut proxies {
        if let Some(process) = proxy.process.take() {
            process.terminate(LIMIT).await;
        }
    }
    is_equal
}

async fn counted(tap: &Proxy, sent: u64) -> bool {
    let url = format!("http://127.0.0.1:{}/metrics", tap.admin.expect("the tap has an admin port"));
    let page = reqwest::get(url).await.expect("metrics").text().await.expect("metrics");
    let counted =
        (counter(&page, "requests"), counter(&page, "input_tokens"), counter(&page, "output_tokens"));
    let expected = (sent, 7 * sent, 5 * sent);
    println!(
        "totals: sent {expected:?}, counted {counted:?}: {}",
        if counted == expected { "equal" } else { "DIFFERENT" }
    );
    counted == expected
}
