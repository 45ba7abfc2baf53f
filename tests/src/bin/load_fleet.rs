//! Load of a large fleet: many simulated collectors whose windows all close at the same moment, as those of a clock do.
//!
//! `load-fleet [--collectors N] [--windows N] [--window-s N] [--cells N] [--streams N]` starts Kafka, ClickHouse, one ingest and
//! one loader, sends a report of each collector at the end of each window, and prints how long a report took from the close of its
//! window until a query of ClickHouse saw it, CPU and peak memory of each process, bytes on disk, and the check of totals. Fails when a
//! total differs; never judges a time.
//!
//! A report becomes visible in the order in which it was sent, give or take a batch: the n-th to be seen is taken for the n-th of its
//! window.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::uplink::uplink_client::UplinkClient;
use weighbridge_proto::v1::ReceiptStatus;
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::kafka::Kafka;
use weighbridge_tests::processes::{Process, free_port, release_binary};
use weighbridge_tests::simulated::Start;
use weighbridge_tests::usage::{cpu_s, memory_kib};

const LIMIT: Duration = Duration::from_secs(120);
/// Reports of one stream that wait for a receipt: what ingest takes of one.
const IN_FLIGHT: usize = 64;
/// How often ClickHouse is asked how many reports it has.
const LOOK: Duration = Duration::from_millis(250);

struct Arguments {
    collectors: u64,
    windows: u64,
    window_s: u64,
    cells: u64,
    streams: u64,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { collectors: 100_000, windows: 10, window_s: 60, cells: 30, streams: 200 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let number = given.next().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        let number = number.ok_or(format!("{name} takes a number above 0"))?;
        match name.as_str() {
            "--collectors" => parsed.collectors = number,
            "--windows" => parsed.windows = number,
            "--window-s" => parsed.window_s = number,
            "--cells" => parsed.cells = number,
            "--streams" => parsed.streams = number,
            other => {
                return Err(format!(
                    "{other} is unknown; use --collectors, --windows, --window-s, --cells, --streams"
                ));
            }
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("load-fleet: {error}");
            return ExitCode::from(64);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if runtime.block_on(drive(&arguments)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The processes, by name.
struct Rig {
    kafka: Kafka,
    clickhouse: ClickHouse,
    ingest: Process,
    load: Process,
    url: String,
}

impl Rig {
    async fn start(folder: &Path) -> Rig {
        let kafka = Kafka::start(folder).await;
        let clickhouse = ClickHouse::start(folder).await;
        let text = format!(
            "kafka: {{bootstrap_servers: '{}', partitions: 12, replication_factor: 1}}\nclickhouse: {{url: '{}'}}\n\
             telemetry: {{log_format: text}}\n",
            kafka.bootstrap(),
            clickhouse.url()
        );
        let config = folder.join("aggregator.yaml");
        std::fs::write(&config, text).expect("a configuration");
        let command = |arguments: &[&str], admin: &str| {
            let mut command = Command::new(release_binary("weighbridge-aggregator"));
            command.args(arguments).env("WEIGHBRIDGE_CONFIG", &config).env("WEIGHBRIDGE_ADMIN_LISTEN", admin);
            command
        };
        let migrated = command(&["migrate", "up"], "127.0.0.1:0").output().expect("migrate runs");
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let listen = format!("127.0.0.1:{}", free_port());
        let admins = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let mut ingest = command(&["ingest"], &admins[0]);
        ingest.env("WEIGHBRIDGE_INGEST_LISTEN", &listen);
        let mut ingest = Process::start("ingest", &ingest, folder);
        let mut load = Process::start("load", &command(&["load"], &admins[1]), folder);
        ingest.wait_for_http(&format!("http://{}/readyz", admins[0]), LIMIT).await;
        load.wait_for_http(&format!("http://{}/readyz", admins[1]), LIMIT).await;
        Rig { kafka, clickhouse, ingest, load, url: format!("http://{listen}") }
    }

    fn processes(&self) -> [(&'static str, u32); 4] {
        [
            ("ingest", self.ingest.id()),
            ("kafka", self.kafka.id()),
            ("load", self.load.id()),
            ("clickhouse", self.clickhouse.id()),
        ]
    }
}

/// The report of one of the collectors of a stream.
fn report(member: &mut Start, window_start_s: u64, arguments: &Arguments) -> Bytes {
    let counted = (1..=arguments.cells as u32).map(|model| {
        let requests = fastrand::u64(1..50);
        let (input_tokens, output_tokens) = (requests * 700, requests * 90);
        (model, Counts { requests, attempts: requests, input_tokens, output_tokens })
    });
    member.seal((window_start_s, arguments.window_s as u32), counted)
}

/// What the streams share.
#[derive(Default)]
struct Shared {
    acknowledged: AtomicU64,
    requests: AtomicU64,
    /// Of all reports, as they were sent.
    bytes: AtomicU64,
    /// From the close of the window to the receipt, milliseconds.
    receipts_ms: Mutex<Vec<u32>>,
}

/// Sends the reports of `members`, window after window, each made before its window closes.
async fn stream(
    url: String,
    mut members: Vec<Start>,
    arguments: Arc<Arguments>,
    shared: Arc<Shared>,
    closes: Arc<Vec<(Instant, u64)>>,
) {
    let mut client = UplinkClient::connect(url).await.expect("ingest");
    let (reports, outgoing) = mpsc::channel(IN_FLIGHT);
    let mut receipts = client.deliver(ReceiverStream::new(outgoing)).await.expect("a stream").into_inner();
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let many = members.len() as u64 * arguments.windows;
    let answered = {
        let (room, shared, closes) = (Arc::clone(&room), Arc::clone(&shared), Arc::clone(&closes));
        tokio::spawn(async move {
            for _ in 0..many {
                let receipt = receipts.message().await.expect("a receipt").expect("a receipt");
                assert_eq!(receipt.status(), ReceiptStatus::Ok, "{receipt:?}");
                room.add_permits(1);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                let took = closes[receipt.sequence as usize].0.elapsed();
                shared.receipts_ms.lock().expect("times").push(took.as_millis() as u32);
            }
        })
    };
    for (close, start_s) in closes.iter() {
        let sealed: Vec<Bytes> =
            members.iter_mut().map(|member| report(member, *start_s, &arguments)).collect();
        sleep_until(*close).await;
        for report in sealed {
            room.acquire().await.expect("room").forget();
            shared.bytes.fetch_add(report.len() as u64, Ordering::Relaxed);
            reports.send(report).await.expect("ingest takes reports");
        }
    }
    answered.await.expect("the receipts");
    let sum: u64 = members.iter().map(|member| member.totals.requests).sum();
    shared.requests.fetch_add(sum, Ordering::Relaxed);
}

fn percentile(sorted: &[u32], part: f64) -> f64 {
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    f64::from(sorted.get(at).copied().unwrap_or(0)) / 1_000.0
}

fn told(what: &str, times: &mut [u32]) {
    times.sort_unstable();
    let [median, p99, last] = [0.5, 0.99, 1.0].map(|part| percentile(times, part));
    println!("{what}: median {median:.2} s, p99 {p99:.2} s, last {last:.2} s");
}

async fn drive(arguments: &Arguments) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start(folder.path()).await;
    let cpu_before = rig.processes().map(|(_, id)| cpu_s(id));
    let now_s =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    // The first close leaves time to make the reports of the whole fleet.
    let first = Instant::now() + Duration::from_secs(arguments.window_s.min(30));
    let closes = (0..arguments.windows).map(|window| {
        let close = first + Duration::from_secs(window * arguments.window_s);
        (close, (now_s / arguments.window_s + window) * arguments.window_s)
    });
    let closes: Arc<Vec<_>> = Arc::new(closes.collect());
    let shared = Arc::new(Shared::default());
    let given = Arc::new(Arguments { ..*arguments });
    let per_stream = arguments.collectors.div_ceil(arguments.streams);
    let mut numbers = 0..arguments.collectors;
    let mut streams = tokio::task::JoinSet::new();
    while !numbers.is_empty() {
        let members = numbers
            .by_ref()
            .take(per_stream as usize)
            .map(|number| Start::new(u128::from(number) + 1, 1 << 60 | number));
        let (shared, closes) = (Arc::clone(&shared), Arc::clone(&closes));
        streams.spawn(stream(rig.url.clone(), members.collect(), Arc::clone(&given), shared, closes));
    }
    let mut visible_ms = watch(&rig.clickhouse, arguments, &closes).await;
    while let Some(ended) = streams.join_next().await {
        ended.expect("a stream");
    }
    told("window close to receipt", &mut shared.receipts_ms.lock().expect("times"));
    told("window close to queryable", &mut visible_ms);
    for ((name, id), before) in rig.processes().into_iter().zip(cpu_before) {
        let (cpu, peak) = (cpu_s(id) - before, memory_kib(id, "VmHWM") as f64 / 1024.0);
        println!("{name}: {cpu:.1} CPU-seconds, {peak:.0} MiB peak");
    }
    let exact = check(&rig.clickhouse, arguments, shared.requests.load(Ordering::Relaxed)).await;
    println!("reports: {} bytes", shared.bytes.load(Ordering::Relaxed));
    disk(folder.path(), &rig.clickhouse).await;
    rig.ingest.terminate(LIMIT).await;
    rig.load.terminate(LIMIT).await;
    exact
}

/// What Kafka keeps of a report, and ClickHouse of a row, when everything is merged.
async fn disk(folder: &Path, clickhouse: &ClickHouse) {
    let logs = std::fs::read_dir(folder.join("kafka/log")).expect("Kafka's folder").flatten();
    let of_topic =
        logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("weighbridge.reports.v1-"));
    let segments = of_topic.flat_map(|entry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten());
    let records = segments.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
    let kafka: u64 = records.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    for table in ["ledger", "reports"] {
        clickhouse.query(&format!("OPTIMIZE TABLE weighbridge.{table} FINAL")).await;
    }
    let sql = "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'weighbridge' \
               AND table NOT LIKE '%stage%' AND rows > 0 GROUP BY table ORDER BY table FORMAT TSV";
    let tables = clickhouse.query(sql).await;
    println!("disk: Kafka {kafka} bytes; tables, rows and bytes:");
    tables.lines().for_each(|line| println!("  {}", line.replace('\t', " ")));
}

/// Asks ClickHouse how many reports it has until it has all; for each the time since its window closed.
async fn watch(clickhouse: &ClickHouse, arguments: &Arguments, closes: &[(Instant, u64)]) -> Vec<u32> {
    let all = arguments.collectors * arguments.windows;
    // Both tables are filled at the same time: a report counts when its cells are there, too.
    let sql = format!(
        "SELECT least((SELECT count() FROM weighbridge.reports), intDiv((SELECT count() FROM weighbridge.ledger), {}))",
        arguments.cells
    );
    let mut seen = 0;
    let mut times = Vec::new();
    let deadline = closes.last().map_or_else(Instant::now, |close| close.0) + LIMIT;
    while seen < all {
        sleep(LOOK).await;
        let answer = clickhouse.query(&sql).await;
        let count: u64 = answer.parse::<u64>().expect("a number").min(all);
        while seen < count {
            let close = closes[(seen / arguments.collectors) as usize].0;
            times.push(close.elapsed().as_millis() as u32);
            seen += 1;
        }
        assert!(Instant::now() < deadline, "{seen} of {all} reports were queryable in time");
    }
    times
}

async fn check(clickhouse: &ClickHouse, arguments: &Arguments, requests: u64) -> bool {
    let (reports, cells) = (arguments.collectors * arguments.windows, arguments.cells);
    let expected = format!("{reports}\t{}\t{requests}", reports * cells);
    let sql = "SELECT (SELECT count() FROM weighbridge.reports FINAL), count(), sum(requests) FROM weighbridge.ledger FINAL";
    let held = clickhouse.query(sql).await;
    let wrong = "SELECT count() FROM weighbridge.epoch_audit WHERE counted_requests != claimed_requests OR \
                 present_reports != expected_reports OR torn_reports != 0";
    let wrong = clickhouse.query(wrong).await;
    let exact = held == expected && wrong == "0";
    println!(
        "reports, cells, requests: sent {}, held {}, {wrong} collectors do not add up: {}",
        expected.replace('\t', " "),
        held.replace('\t', " "),
        if exact { "equal" } else { "DIFFERENT" }
    );
    exact
}
