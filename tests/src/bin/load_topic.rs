//! Load of the loader: from a topic full of reports into ClickHouse, once by `load` and once by a JSONEachRow insert path.
//!
//! `load-topic [--reports N] [--cells N] [--reports-per-record N]` fills one topic, then lets each of the two empty it into the tables of a
//! ClickHouse of its own, and prints cells per CPU-second of both processes together. What is held at the end is compared with what
//! was sent, by SQL with FINAL; it fails when a total differs and never judges a time.
//!
//! ClickHouse's own Kafka engine is not in the embedded library. The peer, `load-topic --peer`, is what stands in its place: a consumer of the same
//! topic in a group of its own, batches of as many rows, the same tables and columns, one JSON object a row, offsets committed after the insert.
//! `load` builds no rollups while it is measured, for the peer has none, and neither of them compresses what goes over loopback.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Serialize;
use tokio::time::{sleep, timeout};
use weighbridge_catalog::{Hosting, Openness};
use weighbridge_proto::cells::Counts;
use weighbridge_proto::report::{self, CheckedReport};
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::kafka::Kafka;
use weighbridge_tests::processes::{Process, free_port, release_binary};
use weighbridge_tests::simulated::Start;
use weighbridge_tests::usage::{cpu_s, memory_kib};

const LIMIT: Duration = Duration::from_secs(600);
const TOPIC: &str = "weighbridge.reports.v1";
const PARTITIONS: i32 = 12;
/// As `load.flush_rows` and `load.flush_ms`.
const FLUSH_ROWS: usize = 500_000;
const FLUSH: Duration = Duration::from_secs(1);
/// Collectors that the reports are of.
const COLLECTORS: u64 = 1_000;

#[derive(Clone, Copy)]
struct Arguments {
    reports: u64,
    cells: u32,
    reports_per_record: usize,
}

fn arguments(given: &[String]) -> Result<Arguments, String> {
    let mut parsed = Arguments { reports: 200_000, cells: 30, reports_per_record: 100 };
    for pair in given.chunks(2) {
        let number = pair.get(1).and_then(|text| text.parse::<u32>().ok()).filter(|number| *number > 0);
        let number = number.ok_or(format!("{} takes a number above 0", pair[0]))?;
        match pair[0].as_str() {
            "--reports" => parsed.reports = u64::from(number),
            "--cells" => parsed.cells = number,
            "--reports-per-record" => parsed.reports_per_record = number as usize,
            other => return Err(format!("{other} is unknown; use --reports, --cells, --reports-per-record")),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let [first, bootstrap, group, clickhouse] = given.as_slice()
        && first == "--peer"
    {
        runtime.block_on(peer(bootstrap, group, clickhouse));
        return ExitCode::SUCCESS;
    }
    match arguments(&given) {
        Ok(arguments) if runtime.block_on(drive(arguments)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load-topic: {error}");
            ExitCode::from(64)
        }
    }
}

/// A row of `ledger`.
#[derive(Serialize)]
struct LedgerRow<'a> {
    window_start: u64,
    collector_id: &'a str,
    boot_epoch: u64,
    sequence: u64,
    cell: usize,
    window_s: u32,
    catalogue_version: u32,
    environment: &'a str,
    vantage: &'a str,
    gateway_product: &'a str,
    model: u32,
    provider: u16,
    openness: Openness,
    hosting: Hosting,
    operation: &'a str,
    choice: &'a str,
    streaming: &'a str,
    outcome: &'a str,
    requests: u64,
    attempts: u64,
    input_tokens: u64,
    output_tokens: u64,
    kafka_partition: i32,
    kafka_offset: i64,
}

/// A row of `reports`.
#[derive(Serialize)]
struct ReportRow<'a> {
    window_start: u64,
    collector_id: &'a str,
    boot_epoch: u64,
    sequence: u64,
    window_s: u32,
    catalogue_version: u32,
    environment: &'a str,
    vantage: &'a str,
    gateway_product: &'a str,
    cells: usize,
    total_requests: u64,
    total_attempts: u64,
    total_input_tokens: u64,
    total_output_tokens: u64,
    dropped_requests: u64,
    kafka_partition: i32,
    kafka_offset: i64,
}

/// What the peer has read and not inserted.
#[derive(Default)]
struct Batch {
    ledger: Vec<u8>,
    reports: Vec<u8>,
    rows: usize,
    next_offsets: HashMap<i32, i64>,
}

impl Batch {
    fn take(&mut self, value: &[u8], partition: i32, offset: i64) {
        let mut rest = value;
        while !rest.is_empty() {
            let length = prost::encoding::decode_varint(&mut rest).expect("a length") as usize;
            let report = report::check(&rest[..length]).expect("a report");
            rest = &rest[length..];
            self.add(&report, partition, offset);
        }
        self.next_offsets.insert(partition, offset + 1);
    }

    fn add(&mut self, report: &CheckedReport, kafka_partition: i32, kafka_offset: i64) {
        let id = uuid(report.identity.collector.0);
        let row = ReportRow {
            window_start: report.window_start.0,
            collector_id: &id,
            boot_epoch: report.identity.boot_epoch.0,
            sequence: report.identity.sequence.0,
            window_s: report.window_s,
            catalogue_version: report.catalogue_version,
            environment: report.environment.name(),
            vantage: report.vantage.name(),
            gateway_product: report.gateway_product.name(),
            cells: report.cells.len(),
            total_requests: report.totals.requests,
            total_attempts: report.totals.attempts,
            total_input_tokens: report.totals.input_tokens,
            total_output_tokens: report.totals.output_tokens,
            dropped_requests: report.dropped_requests,
            kafka_partition,
            kafka_offset,
        };
        line(&mut self.reports, &row);
        for (number, cell) in report.cells.iter().enumerate() {
            let row = LedgerRow {
                window_start: report.window_start.0,
                collector_id: &id,
                boot_epoch: report.identity.boot_epoch.0,
                sequence: report.identity.sequence.0,
                cell: number,
                window_s: report.window_s,
                catalogue_version: report.catalogue_version,
                environment: report.environment.name(),
                vantage: report.vantage.name(),
                gateway_product: report.gateway_product.name(),
                model: cell.key.model.0,
                provider: cell.key.provider.0,
                openness: cell.key.openness,
                hosting: cell.key.hosting,
                operation: cell.key.operation.name(),
                choice: cell.key.choice.name(),
                streaming: cell.key.streaming.name(),
                outcome: cell.key.outcome.name(),
                requests: cell.counts.requests,
                attempts: cell.counts.attempts,
                input_tokens: cell.counts.input_tokens,
                output_tokens: cell.counts.output_tokens,
                kafka_partition,
                kafka_offset,
            };
            line(&mut self.ledger, &row);
        }
        self.rows += 1 + report.cells.len();
    }
}

fn line(to: &mut Vec<u8>, row: &impl Serialize) {
    serde_json::to_writer(&mut *to, row).expect("a row");
    to.push(b'\n');
}

fn uuid(bytes: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Reads and inserts until it is killed.
async fn peer(bootstrap: &str, group: &str, clickhouse: &str) {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[TOPIC]).expect("a subscription");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut batch = Batch::default();
    let mut since = Instant::now();
    loop {
        if let Ok(message) = timeout(FLUSH.saturating_sub(since.elapsed()), consumer.recv()).await {
            let message = message.expect("a record");
            if batch.rows == 0 {
                since = Instant::now();
            }
            batch.take(message.payload().expect("a value"), message.partition(), message.offset());
        }
        if batch.rows < FLUSH_ROWS && since.elapsed() < FLUSH {
            continue;
        }
        since = Instant::now();
        let Batch { ledger, reports, next_offsets, .. } = std::mem::take(&mut batch);
        if next_offsets.is_empty() {
            continue;
        }
        for (table, rows) in [("ledger", ledger), ("reports", reports)] {
            let query =
                format!("INSERT INTO weighbridge.{table} SETTINGS async_insert = 0 FORMAT JSONEachRow\n");
            let answer = client.post(clickhouse).body([query.into_bytes(), rows].concat()).send().await;
            let answer = answer.expect("ClickHouse");
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next_offsets {
            offsets.add_partition_offset(TOPIC, partition, Offset::Offset(offset)).expect("an offset");
        }
        consumer.commit(&offsets, CommitMode::Async).expect("a commit");
    }
}

async fn drive(arguments: Arguments) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = Kafka::start(folder.path()).await;
    kafka.create_topic(TOPIC, PARTITIONS).await;
    let requests = fill(&kafka, arguments).await;
    let expected =
        format!("{}\t{}\t{requests}", arguments.reports, arguments.reports * u64::from(arguments.cells));
    let mut exact = true;
    // Twice each, in the order A B B A: the broker's cache is warm for the later ones.
    for (run, who) in [Who::Load, Who::Peer, Who::Peer, Who::Load].into_iter().enumerate() {
        let folder = folder.path().join(run.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        exact &= measure(who, &kafka, &folder, arguments, &expected).await;
    }
    kafka.stop().await;
    exact
}

/// Writes the reports, many to a record, as ingest does. Gives their requests.
async fn fill(kafka: &Kafka, arguments: Arguments) -> u64 {
    let producer: FutureProducer =
        kafka.client_config().set("compression.codec", "zstd").create().expect("a producer");
    let now_s =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let mut starts: Vec<Start> =
        (1..=COLLECTORS).map(|id| Start::new(u128::from(id), 1 << 60 | id)).collect();
    let windows = arguments.reports.div_ceil(COLLECTORS);
    let mut left = arguments.reports;
    let (mut packs, mut records) = (vec![(Vec::new(), 0); PARTITIONS as usize], 0);
    for window in 0..windows {
        for (number, start) in starts.iter_mut().enumerate().take(left.min(COLLECTORS) as usize) {
            let cells = (1..=arguments.cells).map(|model| {
                let requests = fastrand::u64(1..50);
                let (input_tokens, output_tokens) = (requests * 700, requests * 90);
                (model, Counts { requests, attempts: requests, input_tokens, output_tokens })
            });
            let report = start.seal(((now_s / 60 - windows + window) * 60, 60), cells);
            let partition = number % PARTITIONS as usize;
            let (value, reports) = &mut packs[partition];
            prost::encoding::encode_varint(report.len() as u64, value);
            value.extend_from_slice(&report);
            *reports += 1;
            if *reports == arguments.reports_per_record {
                send(&producer, partition, &std::mem::take(&mut packs[partition]).0).await;
                records += 1;
            }
        }
        left -= left.min(COLLECTORS);
    }
    for (partition, (value, reports)) in packs.into_iter().enumerate() {
        if reports > 0 {
            send(&producer, partition, &value).await;
            records += 1;
        }
    }
    producer.flush(LIMIT).expect("Kafka");
    println!("the topic has {} reports in {} records", arguments.reports, records);
    starts.iter().map(|start| start.totals.requests).sum()
}

async fn send(producer: &FutureProducer, partition: usize, value: &[u8]) {
    let record = FutureRecord::<[u8], [u8]>::to(TOPIC).partition(partition as i32).payload(value);
    producer.send(record, Timeout::Never).await.map_err(|(error, _)| error).expect("Kafka");
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Load,
    Peer,
}

async fn measure(who: Who, kafka: &Kafka, folder: &Path, arguments: Arguments, expected: &str) -> bool {
    let clickhouse = ClickHouse::start(folder).await;
    let admin = format!("127.0.0.1:{}", free_port());
    // Another one each time, so that it begins with the oldest record.
    let group = folder.file_name().expect("a name").to_string_lossy().into_owned();
    let text = format!(
        "kafka: {{bootstrap_servers: '{}', partitions: {PARTITIONS}, replication_factor: 1}}\nclickhouse: {{url: '{}', compression: none}}\n\
         load: {{group_id: '{group}', rollup_interval_s: 86400}}\nadmin: {{listen: '{admin}'}}\ntelemetry: {{log_format: text}}\n",
        kafka.bootstrap(),
        clickhouse.url(),
    );
    let config = folder.join("aggregator.yaml");
    std::fs::write(&config, text).expect("a configuration");
    let mut migrate = Command::new(release_binary("weighbridge-aggregator"));
    let migrated = migrate.args(["migrate", "up"]).env("WEIGHBRIDGE_CONFIG", &config).output();
    let migrated = migrated.expect("migrate runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let server_before = cpu_s(clickhouse.id());
    let mut command = match who {
        Who::Load => Command::new(release_binary("weighbridge-aggregator")),
        Who::Peer => Command::new(std::env::current_exe().expect("this program")),
    };
    match who {
        Who::Load => command.arg("load").env("WEIGHBRIDGE_CONFIG", &config),
        Who::Peer => command.args(["--peer", &kafka.bootstrap(), &group, &clickhouse.url()]),
    };
    let mut process = Process::start("loader", &command, folder);
    let all = || async {
        let rows = "SELECT (SELECT count() FROM weighbridge.reports), count() FROM weighbridge.ledger";
        let held = clickhouse.query(rows).await;
        expected.starts_with(&held)
    };
    process.wait_until("every report was there", LIMIT, all).await;
    let cpu = cpu_s(process.id());
    let server = cpu_s(clickhouse.id()) - server_before;
    let peak = memory_kib(process.id(), "VmHWM") as f64 / 1_024.0;
    // Merges that follow are the same rows either way; how many depends on the sizes of the inserts.
    settle(&clickhouse).await;
    let settled = cpu_s(clickhouse.id()) - server_before;
    let held = clickhouse
        .query("SELECT (SELECT count() FROM weighbridge.reports FINAL), count(), sum(requests) FROM weighbridge.ledger FINAL")
        .await;
    let cells = arguments.reports as f64 * f64::from(arguments.cells);
    println!(
        "{}: {:.0} cells per CPU-second ({cpu:.1} s of its own, {server:.1} s of ClickHouse), {:.0} with the merges that followed; \
         {peak:.0} MiB peak; held {}: {}",
        if who == Who::Load { "load" } else { "JSONEachRow peer" },
        cells / (cpu + server),
        cells / (cpu + settled),
        held.replace('\t', " "),
        if held == expected { "equal" } else { "DIFFERENT" },
    );
    process.kill().await;
    clickhouse.stop().await;
    held == expected
}

async fn settle(clickhouse: &ClickHouse) {
    let deadline = Instant::now() + LIMIT;
    let mut quiet = 0;
    while quiet < 5 {
        assert!(Instant::now() < deadline, "merges did not end");
        sleep(Duration::from_secs(1)).await;
        let merges =
            clickhouse.query("SELECT count() FROM system.merges WHERE database = 'weighbridge'").await;
        quiet = if merges == "0" { quiet + 1 } else { 0 };
    }
}
