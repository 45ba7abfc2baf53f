//! Draining and ending, as a pod does it: the order leaves the counts at ingest before SIGTERM, and changes none of them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{NOON_MS, attempt, traces};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use weighbridge_collector::intake::{Encoding, Now, Signal as Kind};
use weighbridge_collector::profile::Profile;
use weighbridge_collector::window::Edge;
use weighbridge_proto::report::{self, CheckedReport};
use weighbridge_proto::uplink::uplink_server::{Uplink, UplinkServer};
use weighbridge_proto::v1::{GatewayProduct, Receipt, ReceiptStatus};

/// Bound of every wait.
const LIMIT: Duration = Duration::from_secs(30);

/// `attempts` calls of one attempt, numbered from `first`, that end at `end_ms`.
fn spans(first: u64, attempts: u64, end_ms: u64) -> Vec<u8> {
    let span = |id: u64| {
        let mut span = attempt(0, &format!("call {id}"), "openai/gpt-4o", None);
        span.span_id = (id + 1).to_be_bytes().to_vec();
        span.end_time_unix_nano = end_ms * 1_000_000;
        span
    };
    traces((first..first + attempts).map(span).collect())
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

fn requests(report: &CheckedReport) -> u64 {
    report.cells.iter().map(|cell| cell.counts.requests).sum()
}

#[test]
fn a_window_may_have_several_reports_and_no_empty_ones_before_its_end() {
    let header = common::header(GatewayProduct::Litellm);
    let mut edge = Edge::new(common::intake(Profile::Litellm, NOON_MS), header, NOON_MS);
    assert_eq!(edge.flush(), None, "nothing was counted");
    let mut reports = Vec::new();
    for (first, second) in [(0, 1), (10, 2), (20, 59)] {
        let at = NOON_MS + second * 1_000;
        edge.intake().take(Kind::Traces, Encoding::Protobuf, &spans(first, 3, at), Now::At(at)).unwrap();
        assert_eq!(edge.tick(at), None);
        if second < 59 {
            reports.extend(edge.flush());
            assert_eq!(edge.flush(), None, "sealed already");
        }
    }
    // The rest of the window comes at its end, as ever, and so does a window of silence.
    reports.extend(edge.tick(NOON_MS + 60_000));
    reports.extend(edge.tick(NOON_MS + 120_000));
    let reports: Vec<_> = reports.iter().map(|sealed| report::check(&sealed.bytes).unwrap()).collect();
    let told: Vec<_> = reports
        .iter()
        .map(|report| {
            let second = report.window_start.0 - NOON_MS / 1_000;
            (report.identity.sequence.0, second, requests(report), report.totals.requests)
        })
        .collect();
    assert_eq!(told, [(0, 0, 3, 3), (1, 0, 3, 6), (2, 0, 3, 9), (3, 60, 0, 9)]);
}

/// An ingest that acknowledges, or takes and never answers.
#[derive(Clone, Default)]
struct FakeIngest {
    received: Arc<Mutex<Vec<CheckedReport>>>,
    is_silent: bool,
}

impl FakeIngest {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = UplinkServer::new(self.clone());
        tokio::spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        address
    }

    fn requests(&self) -> u64 {
        self.received.lock().unwrap().iter().map(requests).sum()
    }
}

#[tonic::async_trait]
impl Uplink for FakeIngest {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Receipt, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let ingest = self.clone();
        let receipts = request.into_inner().filter_map(move |bytes| {
            let report = report::check(&bytes.ok()?).unwrap();
            let mut receipt = Receipt {
                boot_epoch: report.identity.boot_epoch.0,
                sequence: report.identity.sequence.0,
                ..Receipt::default()
            };
            receipt.set_status(ReceiptStatus::Ok);
            ingest.received.lock().unwrap().push(report);
            (!ingest.is_silent).then_some(Ok(receipt))
        });
        Ok(Response::new(Box::pin(receipts)))
    }
}

/// A collector with windows of an hour: what leaves sooner leaves by the order.
struct Rig {
    folder: TempDir,
    otlp: u16,
    admin: u16,
    child: Child,
    client: reqwest::Client,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Rig {
    async fn start(ingest: SocketAddr, drain_timeout_s: u64) -> Rig {
        let otlp = free_port();
        let source = format!(
            "otlp: {{profile: litellm, signal: traces, grpc_listen: null, http_listen: '127.0.0.1:{otlp}'}}"
        );
        Rig::start_with(&source, otlp, ingest, drain_timeout_s).await
    }

    async fn start_with(source: &str, otlp: u16, ingest: SocketAddr, drain_timeout_s: u64) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let admin = free_port();
        let config = format!(
            "data_folder: {}\nenvironment: production\nwindow_s: 3600\nsource:\n  {source}\n\
             uplink: {{endpoint: 'http://{ingest}', drain_timeout_s: {drain_timeout_s}}}\n\
             admin: {{listen: '0.0.0.0:{admin}'}}\n",
            folder.path().join("data").display()
        );
        std::fs::write(folder.path().join("collector.yaml"), config).unwrap();
        let mut command = collector();
        command.arg("run").arg("--config").arg(folder.path().join("collector.yaml")).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        let rig = Rig { folder, otlp, admin, child, client };
        rig.until("readiness", async || rig.status("/readyz").await == Some(200)).await;
        rig
    }

    async fn until(&self, what: &str, mut check: impl AsyncFnMut() -> bool) {
        let done = async {
            while !check().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, done).await.unwrap_or_else(|_| panic!("{what} did not come"));
    }

    async fn status(&self, path: &str) -> Option<u16> {
        let answer = self.client.get(format!("http://127.0.0.1:{}{path}", self.admin)).send().await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    async fn metric(&self, name: &str) -> u64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        let page = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let prefix = format!("weighbridge_collector_{name} ");
        let found = page.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::parse);
        found.unwrap_or_else(|| panic!("no {prefix}in\n{page}")).unwrap()
    }

    async fn post(&self, first: u64, attempts: u64) {
        let request = self.client.post(format!("http://127.0.0.1:{}/v1/traces", self.otlp));
        let request = request.header("content-type", "application/x-protobuf");
        let answer = request.body(spans(first, attempts, now_ms())).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Runs the command as a preStop hook does.
    async fn drain(&self, wait_s: &str) -> Output {
        drain(&format!("127.0.0.1:{}", self.admin), wait_s).await
    }

    fn signal(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        let waited = async {
            while status.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                status = self.child.try_wait().unwrap();
            }
        };
        tokio::time::timeout(LIMIT, waited).await.expect("the collector ends");
        status.unwrap().code()
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("data/spool")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collector() -> Command {
    Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"))
}

async fn drain(admin: &str, wait_s: &str) -> Output {
    let mut command = collector();
    command.args(["drain", "--admin", admin, "--wait-s", wait_s]);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn told(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn counts_leave_every_second_from_the_order_on_and_add_up() {
    let ingest = FakeIngest::default();
    let mut rig = Rig::start(ingest.start().await, 10).await;
    rig.post(0, 30).await;
    assert_eq!((rig.metric("draining").await, ingest.requests()), (0, 0));
    let output = rig.drain("30").await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(told(&output).contains("everything counted so far is acknowledged"), "{output:?}");
    assert_eq!((rig.metric("draining").await, ingest.requests()), (1, 30));
    // The gateway goes on for its grace period: no further order is needed.
    for round in 1..=3 {
        rig.post(round * 100, 10).await;
        rig.until("the next second", async || ingest.requests() == 30 + round * 10).await;
    }
    // It may be repeated, and with nothing new it makes no report.
    let sealed = rig.metric("reports_sealed_total").await;
    assert_eq!(rig.drain("30").await.status.code(), Some(0));
    assert_eq!((rig.metric("reports_sealed_total").await, sealed), (4, 4));
    rig.post(900, 5).await;
    rig.signal();
    assert_eq!(rig.ended().await, Some(0));
    assert_eq!(ingest.requests(), 65);
    let mut reports = ingest.received.lock().unwrap().clone();
    reports.sort_by_key(|report| report.identity.sequence);
    let mut total = 0;
    for (place, report) in reports.iter().enumerate() {
        total += requests(report);
        assert_eq!((report.identity.sequence.0, report.totals.requests), (place as u64, total));
        assert_eq!(report.window_start, reports[0].window_start, "one window");
    }
    assert_eq!(std::fs::read_dir(rig.spool()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_ingest_that_is_away_does_not_fail_the_hook() {
    let mut rig = Rig::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), 0).await;
    rig.post(0, 7).await;
    for _ in 0..2 {
        let output = rig.drain("0").await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(told(&output).contains("not acknowledged within 0 ms"), "{output:?}");
    }
    // It leaves the disk as little as ingest: sealed, and in the spool for whoever sends it.
    rig.until("a report in the spool", async || rig.metric("spool_reports").await == 1).await;
    let output = rig.drain("1").await;
    assert!(
        told(&output).contains("not acknowledged within 1000 ms, 1 reports are in the spool"),
        "{output:?}"
    );
    rig.signal();
    assert_eq!(rig.ended().await, Some(0));
}

#[tokio::test]
async fn a_hook_that_finds_no_collector_says_so() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let output = drain(&nobody, "0").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(told(&output).contains(&format!("no collector answers on {nobody}")), "{output:?}");
    let output = drain("no address", "0").await;
    assert!(told(&output).contains("write host:port"), "{output:?}");
    assert_eq!(drain(&nobody, "61").await.status.code(), Some(64));
}

/// A POST to `/drain` from a local address; the status.
async fn ask(admin: u16, from: Ipv4Addr, header: &str) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect((Ipv4Addr::LOCALHOST, admin).into()).await.unwrap();
    let request =
        format!("POST /drain HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}content-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn only_the_same_pod_gives_the_order() {
    let rig = Rig::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), 0).await;
    // Where Istio's proxy hands on what came from outside of the pod.
    assert_eq!(ask(rig.admin, Ipv4Addr::new(127, 0, 0, 6), "").await, 403);
    assert_eq!(ask(rig.admin, Ipv4Addr::LOCALHOST, "origin: http://example.com\r\n").await, 403);
    assert_eq!(rig.status("/drain").await, Some(405), "a GET changes nothing");
    assert_eq!(rig.metric("draining").await, 0);
    // 200 if it was quick: nothing waits.
    assert!(matches!(ask(rig.admin, Ipv4Addr::LOCALHOST, "").await, 200 | 202));
    assert_eq!(rig.metric("draining").await, 1);
}

#[tokio::test]
async fn an_end_is_bounded_and_a_second_signal_ends_at_once() {
    let ingest = FakeIngest { is_silent: true, ..FakeIngest::default() };
    let address = ingest.start().await;
    let mut bounded = Rig::start(address, 1).await;
    bounded.post(0, 3).await;
    bounded.signal();
    assert_eq!(bounded.ended().await, Some(0));
    assert_eq!(std::fs::read_dir(bounded.spool()).unwrap().count(), 1, "for the next start");
    // One that would wait for longer than the test does.
    let mut rig = Rig::start(address, 3_600).await;
    rig.post(100, 3).await;
    rig.signal();
    rig.until("the first signal", async || rig.status("/readyz").await == Some(503)).await;
    rig.until("a sealed window", async || std::fs::read_dir(rig.spool()).unwrap().count() == 1).await;
    rig.signal();
    assert_eq!(rig.ended().await, Some(143));
    assert_eq!(std::fs::read_dir(rig.spool()).unwrap().count(), 1);
}

#[tokio::test]
async fn pages_are_asked_every_second_while_the_gateway_ends() {
    let ingest = FakeIngest::default();
    let served = Arc::new(std::sync::atomic::AtomicU64::new(10));
    let counter = Arc::clone(&served);
    let page = axum::routing::get(move || {
        let count = counter.load(std::sync::atomic::Ordering::SeqCst);
        async move {
            format!(
                "# TYPE vllm:request_success_total counter\n\
                 vllm:request_success_total{{finished_reason=\"stop\",model_name=\"meta-llama/Llama-3.3-70B-Instruct\"}} {count}.0\n"
            )
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = listener.local_addr().unwrap();
    tokio::spawn(
        async move { axum::serve(listener, axum::Router::new().route("/metrics", page)).await.unwrap() },
    );
    let source = format!(
        "prometheus: {{profile: vllm, interval_s: 300, timeout_s: 10, targets: [{{url: 'http://{gateway}/metrics'}}]}}"
    );
    let rig = Rig::start_with(&source, 0, ingest.start().await, 10).await;
    rig.until("the first page", async || rig.metric("pages_scraped_total").await == 1).await;
    served.store(42, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(rig.drain("5").await.status.code(), Some(0));
    rig.until("what the gateway served since", async || ingest.requests() == 32).await;
}
