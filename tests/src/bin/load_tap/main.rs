//! The tap and nginx side by side as reverse proxies before one upstream: CPU a request, latency, memory, and slow streams.
//!
//! `load-tap [--requests N] [--connections N] [--rate N] [--streams N,N,...]` starts the release binary of the collector and nginx with
//! one worker, sends each the same requests in turns (half of them answered as streams of 40 events): with every connection busy, where
//! CPU is measured, and at a rate, where latency is. Then it opens N slow streams at one time through each, and the most of them
//! through a tap that speaks HTTP/2 to the upstream, where a stream takes one descriptor. The checksum of every body is compared at
//! its other end, and the tap's count with what was sent. Fails when they differ; never judges a time.

mod upstream;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use upstream::{EVENT, EVENTS, GO, HELD, SUM, last_event, whole_answer};
use weighbridge_tests::processes::{Process, free_port, http_client, release_binary, tool};
use weighbridge_tests::usage::{counter, memory_kib, shared_out_kib, threads_cpu_s};

/// A proxy starts, ends and finishes a round within this time, or the run fails.
const LIMIT: Duration = Duration::from_secs(120);
/// Turns of each proxy: each beside one of the others, because a machine's speed changes.
const TURNS: usize = 10;
/// Length of the prompt in a request, bytes.
const PROMPT: usize = 2_000;
/// Descriptors of a process for everything but streams.
const OTHER_DESCRIPTORS: u64 = 100;
/// Seconds of a turn at a rate.
const PACED_S: usize = 3;

struct Arguments {
    requests: usize,
    connections: usize,
    /// Requests a second where the latency is measured: far from what the machine can do.
    rate: usize,
    /// Open at one time, one after another.
    streams: Vec<usize>,
    /// Open at one time over shared connections to the upstream: the most of `streams`, as far as descriptors allow.
    shared_streams: usize,
}

fn arguments() -> Result<Arguments, String> {
    let streams = vec![1_000, 2_000, 10_000];
    let mut parsed = Arguments { requests: 4_000, connections: 32, rate: 400, streams, shared_streams: 0 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let numbers: Option<Vec<usize>> = given
            .next()
            .and_then(|text| text.split(',').map(|number| number.parse().ok().filter(|n| *n > 0)).collect());
        let numbers = numbers.ok_or(format!("{name} takes a number above 0"))?;
        match (name.as_str(), numbers.as_slice()) {
            ("--requests", [number]) => parsed.requests = *number,
            ("--connections", [number]) => parsed.connections = *number,
            ("--rate", [number]) => parsed.rate = *number,
            ("--streams", _) => parsed.streams = numbers,
            (other, _) => {
                let known = "use --requests, --connections, --rate with a number, --streams with some";
                return Err(format!("{other}: {known}"));
            }
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    // How it starts itself as the upstream.
    if let Some(port) = std::env::args().skip_while(|word| word != "upstream").nth(1) {
        runtime().block_on(upstream::serve(port.parse().expect("a port")));
    }
    let mut arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("load-tap: {error}");
            return ExitCode::from(64);
        }
    };
    let most = arguments.streams.iter().copied().max().unwrap_or_default();
    // A proxy has two descriptors a stream.
    let descriptors = raise_descriptor_limit(2 * most as u64 + OTHER_DESCRIPTORS) - OTHER_DESCRIPTORS;
    let room = (descriptors / 2) as usize;
    if room < most {
        println!("descriptors of a process are limited: {room} streams instead of {most}, but over HTTP/2");
        arguments.streams.iter_mut().for_each(|count| *count = (*count).min(room));
    }
    arguments.shared_streams = most.min(descriptors as usize);
    if runtime().block_on(drive(&arguments)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Streams are open files; what is started from here inherits the limit. Gives what there is.
fn raise_descriptor_limit(needed: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(maximum) = limit.maximum else { return needed };
    let raise = |to: u64, maximum: u64| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum: Some(maximum) }).is_ok()
    };
    // Above its hard limit only for the superuser.
    if maximum < needed && raise(needed, needed) {
        return needed;
    }
    let _ = raise(maximum, maximum);
    maximum.min(needed)
}

/// A proxy under test.
struct Proxy {
    name: &'static str,
    port: u16,
    /// Its processes, and the admin port if it counts.
    pids: Vec<u32>,
    admin: Option<u16>,
    process: Option<Process>,
    rounds: Vec<Round>,
}

/// What requests cost in one turn.
struct Round {
    /// CPU a request, all connections busy.
    cpu_us: f64,
    /// CPU a request at the given rate.
    paced_cpu_us: f64,
    /// Latency at that rate.
    p50_us: f64,
    p99_us: f64,
}

/// `protocol`: what it speaks to the upstream; its files are called so too.
fn start_tap(folder: &Path, upstream: u16, protocol: &str) -> (Process, u16, u16) {
    let (port, admin) = (free_port(), free_port());
    let config = format!(
        "data_folder: {}/{protocol}\nenvironment: development\nwindow_s: 3600\n\
         source: {{tap: {{profile: auto, listen: '127.0.0.1:{port}', upstream: 'http://127.0.0.1:{upstream}', upstream_protocol: {protocol}}}}}\n\
         uplink: {{endpoint: 'http://127.0.0.1:{}', drain_timeout_s: 0}}\nadmin: {{listen: '127.0.0.1:{admin}'}}\n",
        folder.display(),
        free_port(),
    );
    let path = folder.join(format!("{protocol}.yaml"));
    std::fs::write(&path, config).expect("configuration");
    let mut command = Command::new(release_binary("weighbridge-collector"));
    command.args(["run", "--config"]).arg(&path).env("WEIGHBRIDGE_LOG", "error");
    (Process::start(&format!("collector-{protocol}"), &command, folder), port, admin)
}

/// nginx as it is set up before model servers: kept connections, nothing buffered, no log.
fn start_nginx(folder: &Path, upstream: u16, streams: usize) -> (Process, u16) {
    let port = free_port();
    // When a sixteenth or less of its places are free it closes connections whose request is not there yet.
    let (files, connections) = (2 * streams + 2_000, 5 * streams / 2 + 1_000);
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
    fn new(
        name: &'static str,
        port: u16,
        pids: Vec<u32>,
        admin: Option<u16>,
        process: Option<Process>,
    ) -> Proxy {
        Proxy { name, port, pids, admin, process, rounds: Vec::new() }
    }

    async fn ends(&mut self) {
        if let Some(process) = self.process.take() {
            process.terminate(LIMIT).await;
        }
    }

    fn cpu_s(&self) -> f64 {
        self.pids.iter().map(|pid| threads_cpu_s(*pid)).sum()
    }

    /// Resident KiB of all its processes; then the same with what they share divided between those that share it.
    fn memory_kib(&self) -> (u64, u64) {
        (
            self.pids.iter().map(|pid| memory_kib(*pid, "VmRSS")).sum(),
            self.pids.iter().map(|pid| shared_out_kib(*pid)).sum(),
        )
    }

    /// A turn with every connection busy, then one at a rate.
    async fn round(&mut self, arguments: &Arguments) {
        let each = arguments.requests.div_ceil(arguments.connections);
        let (cpu_us, _) = self.turn(arguments.connections, each, None).await;
        let pause = Duration::from_secs_f64(arguments.connections as f64 / arguments.rate as f64);
        let (paced_cpu_us, latencies) =
            self.turn(arguments.connections, paced(arguments, each), Some(pause)).await;
        let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize] as f64;
        self.rounds.push(Round { cpu_us, paced_cpu_us, p50_us: at(0.5), p99_us: at(0.99) });
    }

    fn of_rounds(&self, of: fn(&Round) -> f64) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(of)
    }

    /// CPU a request, and all latencies in order.
    async fn turn(&self, connections: usize, each: usize, pause: Option<Duration>) -> (f64, Vec<u64>) {
        let before = self.cpu_s();
        let runs = (0..connections).map(|number| {
            let pace = pause.map(|pause| (pause.mul_f64(number as f64 / connections as f64), pause));
            requests(self.port, number, each, pace)
        });
        let mut latencies: Vec<u64> = futures_util::future::join_all(runs).await.concat();
        latencies.sort_unstable();
        ((self.cpu_s() - before) * 1e6 / latencies.len() as f64, latencies)
    }
}

/// Requests a connection at a rate: some seconds of them.
fn paced(arguments: &Arguments, each: usize) -> usize {
    each.min((PACED_S * arguments.rate).div_ceil(arguments.connections))
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

/// `pace`: the first request's delay, and the time from one to the next.
async fn requests(
    port: u16,
    connection: usize,
    count: usize,
    pace: Option<(Duration, Duration)>,
) -> Vec<u64> {
    let mut sender = connect(port).await;
    let mut latencies = Vec::with_capacity(count);
    let mut ticks =
        pace.map(|(delay, pause)| tokio::time::interval_at(tokio::time::Instant::now() + delay, pause));
    for number in 0..count {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let begun = Instant::now();
        // Some at each time stream.
        let is_stream = (connection + number).is_multiple_of(2);
        let body = exchange(&mut sender, connection * count + number, is_stream, false).await;
        let body = body.collect().await.expect("a whole answer").to_bytes();
        latencies.push(begun.elapsed().as_micros() as u64);
        check(&body, is_stream, EVENTS);
    }
    latencies
}

/// The answer came as it was sent.
fn check(body: &[u8], is_stream: bool, events: usize) {
    let expected = if is_stream { EVENT.repeat(events) + &last_event() } else { whole_answer() };
    assert_eq!(
        crc32c::crc32c(body),
        crc32c::crc32c(expected.as_bytes()),
        "the answer's body came as it was sent"
    );
}

async fn ask(port: u16, path: &str) -> String {
    let answer =
        http_client().get(format!("http://127.0.0.1:{port}{path}")).send().await.expect("the upstream");
    answer.text().await.expect("the upstream")
}

/// Opens `count` streams, waits until the upstream holds all of them, gives the proxy's memory then, and lets them end.
async fn slow_streams(proxy: &Proxy, count: usize, upstream: u16) -> (u64, u64) {
    let opened = futures_util::stream::iter(0..count).map(|number| async move {
        let mut sender = connect(proxy.port).await;
        let mut body = exchange(&mut sender, number, true, true).await;
        let first = body.frame().await.expect("an event").expect("an event").into_data().expect("an event");
        (sender, body, first.to_vec())
    });
    let streams: Vec<_> = opened.buffer_unordered(64).collect().await;
    let all = async {
        while ask(upstream, HELD).await != count.to_string() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, all).await.expect("all streams are open");
    let memory = proxy.memory_kib();
    ask(upstream, GO).await;
    let ended = streams.into_iter().map(|(sender, body, mut got)| async move {
        got.extend(body.collect().await.expect("a whole stream").to_bytes());
        drop(sender);
        check(&got, true, 2);
    });
    futures_util::future::join_all(ended).await;
    memory
}

/// The upstream, and all that stands before it.
async fn start(folder: &Path, arguments: &Arguments) -> (Process, u16, [Proxy; 3]) {
    let upstream = free_port();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["upstream", &upstream.to_string()]);
    let mut served = Process::start("upstream", &command, folder);
    let listens = |port| async move { TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
    served.wait_until("it listens", LIMIT, || listens(upstream)).await;
    let most = arguments.streams.iter().copied().max().unwrap_or_default();
    let (mut nginx, nginx_port) = start_nginx(folder, upstream, most);
    let tap = ready_tap(folder, upstream, "http1").await;
    nginx.wait_until("it listens", LIMIT, || listens(nginx_port)).await;
    let of_nginx = [vec![nginx.id()], children(nginx.id())].concat();
    let proxies = [
        Proxy::new("direct", upstream, Vec::new(), None, None),
        Proxy::new("nginx", nginx_port, of_nginx, None, Some(nginx)),
        tap,
    ];
    (served, upstream, proxies)
}

async fn ready_tap(folder: &Path, upstream: u16, protocol: &str) -> Proxy {
    let (mut tap, port, admin) = start_tap(folder, upstream, protocol);
    tap.wait_for_http(&format!("http://127.0.0.1:{admin}/readyz"), LIMIT).await;
    Proxy::new("tap", port, vec![tap.id()], Some(admin), Some(tap))
}

/// Slow streams through a tap that shares connections to the upstream between them.
async fn shared_streams(folder: &Path, upstream: u16, count: usize) -> bool {
    let mut tap = ready_tap(folder, upstream, "http2").await;
    let idle = mib(tap.memory_kib().0);
    let held = mib(slow_streams(&tap, count, upstream).await.0);
    println!(
        "{count} streams open, HTTP/2 to the upstream: tap {held:.1} MiB, {:.1} KiB a stream",
        (held - idle) * 1024.0 / count as f64
    );
    let is_equal = counted(&tap, count as u64).await;
    tap.ends().await;
    is_equal
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians of all turns, and how the tap compares to nginx: the median of what their neighbouring turns had.
fn print_rounds(proxies: &[Proxy; 3]) {
    for proxy in proxies {
        let of = |of: fn(&Round) -> f64| median(proxy.of_rounds(of));
        let added = |of: fn(&Round) -> f64| {
            median(
                proxy.of_rounds(of).zip(proxies[0].of_rounds(of)).map(|(through, direct)| through - direct),
            )
        };
        println!(
            "  {:7} {:6.1} us CPU a request (least {:.1}), {:6.1} at the rate; latency then: median {:.0} us (+{:.0}), p99 {:.0} us (+{:.0})",
            proxy.name,
            of(|round| round.cpu_us),
            proxy.of_rounds(|round| round.cpu_us).fold(f64::INFINITY, f64::min),
            of(|round| round.paced_cpu_us),
            of(|round| round.p50_us),
            added(|round| round.p50_us),
            of(|round| round.p99_us),
            added(|round| round.p99_us),
        );
    }
    let [_, nginx, tap] = proxies;
    let ratio = |of: fn(&Round) -> f64| {
        median(tap.of_rounds(of).zip(nginx.of_rounds(of)).map(|(tap, nginx)| tap / nginx))
    };
    println!(
        "  tap to nginx: CPU {:.2}, at the rate {:.2}; latency {:.2}, p99 {:.2}",
        ratio(|round| round.cpu_us),
        ratio(|round| round.paced_cpu_us),
        ratio(|round| round.p50_us),
        ratio(|round| round.p99_us),
    );
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// What nginx and the tap hold at one time, and what part of nginx's the tap takes.
fn print_memory(when: &str, [nginx, tap]: [(u64, u64); 2]) {
    println!(
        "  {when:24} nginx {:6.1} MiB ({:.1} shared out), tap {:6.1} MiB ({:.1}): {:.2}",
        mib(nginx.0),
        mib(nginx.1),
        mib(tap.0),
        mib(tap.1),
        tap.0 as f64 / nginx.0 as f64
    );
}

async fn drive(arguments: &Arguments) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let (served, upstream, mut proxies) = start(folder.path(), arguments).await;
    let idle = [proxies[1].memory_kib(), proxies[2].memory_kib()];
    for _ in 0..TURNS {
        for proxy in &mut proxies {
            proxy.round(arguments).await;
        }
    }
    let Arguments { requests, connections, rate, .. } = arguments;
    println!("{requests} requests on {connections} connections, then {rate} a second, {TURNS} turns each:");
    print_rounds(&proxies);
    println!("resident memory, all processes of each:");
    print_memory("idle", idle);
    print_memory("after the requests", [proxies[1].memory_kib(), proxies[2].memory_kib()]);
    for count in &arguments.streams {
        let mut held = [(0, 0); 2];
        for (proxy, held) in proxies[1..].iter().zip(&mut held) {
            *held = slow_streams(proxy, *count, upstream).await;
        }
        print_memory(&format!("{count} streams open"), held);
    }
    let each = requests.div_ceil(*connections);
    let in_turns = (each + paced(arguments, each)) * connections * TURNS;
    let is_equal = counted(&proxies[2], (in_turns + arguments.streams.iter().sum::<usize>()) as u64).await;
    for proxy in &mut proxies {
        proxy.ends().await;
    }
    let is_shared_equal = shared_streams(folder.path(), upstream, arguments.shared_streams).await;
    served.kill().await;
    is_equal && is_shared_equal
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
