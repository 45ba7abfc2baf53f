//! Kafka to ClickHouse by real programs: exact under duplicates, disorder, `kill -9`, replay of the whole topic, poison;
//! receipts only after delivery.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::aggregator::{Edge, LIMIT, Rig, TOPIC, counts, key, many, midnight, produce};
use bytes::Bytes;
use futures_util::StreamExt as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{sleep, timeout};
use weighbridge_catalog::Openness;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::uplink::uplink_client::UplinkClient;
use weighbridge_proto::v1::{Receipt, ReceiptStatus};
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::kafka::Kafka;

const SUMS: &str = "SELECT sum(requests), sum(attempts), sum(input_tokens), sum(output_tokens) FROM";
const LEDGER: &str = "weighbridge.ledger FINAL";

fn text(sums: &Counts) -> String {
    format!("{}\t{}\t{}\t{}", sums.requests, sums.attempts, sums.input_tokens, sums.output_tokens)
}

#[tokio::test]
async fn exact_under_disorder_kill_replay_and_poison() {
    let rig = Rig::start().await;
    let (reports, truth) = many(8, 100);
    let mut sent = reports.clone();
    sent.extend(reports.iter().filter(|_| fastrand::u8(..) < 60).cloned());
    fastrand::shuffle(&mut sent);
    let poison = poison(&reports[0]);
    sent.extend(poison.iter().map(|(bytes, _)| bytes.clone()));

    // Killed in the middle again and again, while records keep coming.
    for part in sent.chunks(sent.len() / 4 + 1) {
        let load = rig.load("first").await;
        produce(rig.kafka(), part).await;
        sleep(Duration::from_millis(fastrand::u64(0..400))).await;
        load.process.kill().await;
    }
    let load = rig.load("first").await;
    rig.wait_for(&format!("{SUMS} {LEDGER}"), &text(&truth)).await;
    load.stop().await;
    let reports_present = "SELECT count() FROM weighbridge.reports FINAL";
    assert_eq!(rig.clickhouse.query(reports_present).await, reports.len().to_string());
    assert_eq!(rig.clickhouse.query("SELECT count() FROM weighbridge.audit").await, "0");
    assert_eq!(rig.clickhouse.query("SELECT count() FROM weighbridge.epoch_audit").await, "8");

    // What killed rebuilds left stays for an hour: another process might be at it.
    let left = rig.clickhouse.query(&format!("SELECT groupArray(name) {STAGES}")).await;

    // The whole topic once more, by another group.
    let load = rig.load("second").await;
    load.wait_for_metric("weighbridge_load_records_total", sent.len() as i64).await;
    load.wait_for_metric("weighbridge_load_reports_set_aside_total", poison.len() as i64).await;
    while load.metric("weighbridge_load_reports_buffered").await > 0 {
        sleep(Duration::from_millis(50)).await;
    }
    let read = load.metric("weighbridge_load_reports_read_total").await;
    let loaded = load.metric("weighbridge_load_reports_loaded_total").await;
    let aside = load.metric("weighbridge_load_reports_set_aside_total").await;
    assert_eq!(read, loaded + aside);
    assert_eq!(rig.clickhouse.query(&format!("{SUMS} {LEDGER}")).await, text(&truth));
    assert_eq!(rig.clickhouse.query("SELECT count() FROM weighbridge.audit").await, "0");

    rollup_equals_ledger(&rig, &left).await;
    load.stop().await;
    dead_letters_are_there(&rig, &poison).await;
    audit_fails_when_it_must(&rig).await;
}

/// Tables that rebuilds fill.
const STAGES: &str =
    "FROM system.tables WHERE database = 'weighbridge' AND match(name, '_stage_[0-9a-f]{16}$')";

/// Bytes that are no report, and why.
fn poison(good: &Bytes) -> Vec<(Bytes, &'static str)> {
    let mut flipped = good.to_vec();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let old = Edge::new(200).report(60, &[(key(1, Openness::Closed), counts(1, 1, 1))]);
    vec![(flipped.into(), "checksum"), (Bytes::from_static(&[0xff; 30]), "undecodable"), (old, "window")]
}

async fn rollup_equals_ledger(rig: &Rig, left: &str) {
    let dimensions = "environment, vantage, gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome";
    let sums = "sum(requests) AS r, sum(attempts) AS a, sum(input_tokens) AS i, sum(output_tokens) AS o";
    let difference = format!(
        "SELECT count() FROM (SELECT toStartOfHour(window_start) AS hour, {dimensions}, {sums} FROM {LEDGER} GROUP BY ALL) AS l \
         FULL OUTER JOIN (SELECT hour, {dimensions}, {sums} FROM weighbridge.traffic_1h GROUP BY ALL) AS t \
         USING (hour, {dimensions}) WHERE l.r != t.r OR l.a != t.a OR l.i != t.i OR l.o != t.o"
    );
    rig.wait_for(&difference, "0").await;
    let (ledger, rollup) = (format!("{SUMS} {LEDGER}"), format!("{SUMS} weighbridge.traffic_1h"));
    assert_eq!(rig.clickhouse.query(&ledger).await, rig.clickhouse.query(&rollup).await);
    rig.wait_for(&format!("SELECT count() {STAGES} AND NOT has(CAST({left}, 'Array(String)'), name)"), "0")
        .await;
}

/// At least one dead letter for each, with reason and place, and its bytes.
async fn dead_letters_are_there(rig: &Rig, poison: &[(Bytes, &'static str)]) {
    let kafka = rig.kafka.as_ref().unwrap();
    let consumer: BaseConsumer = kafka
        .client_config()
        .set("group.id", "dead-letters")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(&format!("{TOPIC}.dlq"), 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let mut letters = Vec::new();
    while let Ok(message) = consumer.poll(LIMIT).unwrap() {
        let headers = message.headers().unwrap();
        let headers: Vec<_> = headers.iter().map(|header| (header.key, header.value.unwrap())).collect();
        assert_eq!(headers[0], ("original_topic", TOPIC.as_bytes()));
        assert_eq!((headers[1].0, headers[2].0), ("original_partition", "original_offset"));
        letters
            .push((message.payload().unwrap().to_vec(), String::from_utf8(headers[3].1.to_vec()).unwrap()));
    }
    for (bytes, reason) in poison {
        let found = letters.iter().any(|(value, why)| value.ends_with(bytes) && why == reason);
        assert!(found, "no dead letter for {reason}");
    }
}

/// Doubled under another key, lost, torn: each is one row of the audit.
async fn audit_fails_when_it_must(rig: &Rig) {
    let columns = "window_start, collector_id, boot_epoch, sequence, window_s, catalogue_version, environment, vantage, \
                   gateway_product, model, provider, openness, hosting, operation, choice, streaming, outcome, requests, \
                   attempts, input_tokens, output_tokens, kafka_partition, kafka_offset";
    let double = format!(
        "INSERT INTO weighbridge.ledger (cell, {columns}) SELECT 999, {columns} FROM {LEDGER} WHERE boot_epoch = 1001 LIMIT 1"
    );
    rig.clickhouse.query(&double).await;
    let lost = "DELETE FROM weighbridge.reports WHERE boot_epoch = 1002 AND sequence = 50";
    rig.clickhouse.query(lost).await;
    let found = "SELECT boot_epoch FROM weighbridge.audit ORDER BY boot_epoch";
    assert_eq!(rig.clickhouse.query(found).await, "1001\n1002");
}

#[tokio::test]
async fn without_clickhouse_load_waits_and_loses_nothing() {
    let mut rig = Rig::start().await;
    let (reports, truth) = many(6, 200);
    let load = rig.load("waits").await;
    produce(rig.kafka(), &reports[..200]).await;
    load.wait_for_metric("weighbridge_load_reports_loaded_total", 200).await;
    let port = rig.clickhouse.http_port;
    rig.clickhouse.kill().await;
    // Many batches of 500 rows: one is written, one is full, and after five seconds the partitions are paused.
    produce(rig.kafka.as_ref().unwrap(), &reports[200..]).await;
    load.wait_for_metric("weighbridge_load_insert_failures_total", 3).await;
    load.wait_for_metric("weighbridge_load_paused", 1).await;
    let read = load.metric("weighbridge_load_reports_read_total").await;
    assert!(read < reports.len() as i64, "{read} reports were read ahead");
    rig.clickhouse = ClickHouse::start_on(rig.folder.path(), port).await;
    rig.wait_for(&format!("{SUMS} {LEDGER}"), &text(&truth)).await;
    assert_eq!(load.metric("weighbridge_load_paused").await, 0);
    assert_eq!(rig.clickhouse.query("SELECT count() FROM weighbridge.audit").await, "0");
    load.stop().await;
}

#[tokio::test]
async fn a_receipt_ok_means_that_kafka_has_it() {
    let mut rig = Rig::start().await;
    let listen = format!("127.0.0.1:{}", weighbridge_tests::processes::free_port());
    let ingest = rig.stage(&["ingest"], &[("WEIGHBRIDGE_INGEST_LISTEN", listen.clone())]).await;
    rig.becomes_ready(&ingest).await;
    let mut edge = Edge::new(1);
    let cells = [(key(1, Openness::OpenPermissive), counts(3, 4, 5))];
    let first: Vec<Bytes> = (0..50).map(|n| edge.report(midnight(1) + n * 60, &cells)).collect();
    let later: Vec<Bytes> = (50..60).map(|n| edge.report(midnight(1) + n * 60, &cells)).collect();
    let url = format!("http://{listen}");
    for receipt in deliver(&url, &first).await {
        assert_eq!(receipt.status(), ReceiptStatus::Ok);
    }

    let ports = rig.kafka.as_ref().unwrap().ports();
    rig.kafka.take().unwrap().kill().await;
    for receipt in deliver(&url, &later).await {
        assert_eq!(receipt.status(), ReceiptStatus::Retry, "{receipt:?}");
    }
    rig.kafka = Some(Kafka::start_on(rig.folder.path(), ports).await);
    let mut open = later.clone();
    while !open.is_empty() {
        let receipts = deliver(&url, &open).await;
        let acknowledged: Vec<u64> =
            receipts.iter().filter(|r| r.status() == ReceiptStatus::Ok).map(|r| r.sequence).collect();
        open = later.iter().filter(|report| open.contains(report)).cloned().collect();
        open.retain(|report| {
            let name = weighbridge_proto::report::identity(report).unwrap();
            !acknowledged.contains(&name.sequence.0)
        });
    }
    let outcomes = ["forwarded_total", "refused_total", "retried_total", "in_flight"];
    let mut sum = 0;
    for outcome in outcomes {
        sum += ingest.metric(&format!("weighbridge_ingest_reports_{outcome}")).await;
    }
    assert_eq!(ingest.metric("weighbridge_ingest_reports_received_total").await, sum);
    ingest.stop().await;

    let load = rig.load("receipts").await;
    rig.wait_for(&format!("{SUMS} {LEDGER}"), &text(&edge.totals)).await;
    assert_eq!(rig.clickhouse.query("SELECT count() FROM weighbridge.audit").await, "0");
    load.stop().await;
}

/// Sends reports on one stream; their receipts.
async fn deliver(url: &str, reports: &[Bytes]) -> Vec<Receipt> {
    let mut client = UplinkClient::connect(url.to_owned()).await.unwrap();
    let stream = futures_util::stream::iter(reports.to_vec());
    let receipts = client.deliver(stream).await.unwrap().into_inner();
    let receipts: Vec<_> = timeout(LIMIT, receipts.collect()).await.unwrap();
    assert_eq!(receipts.len(), reports.len(), "one receipt per report");
    receipts.into_iter().map(Result::unwrap).collect()
}

/// Prints cells per CPU-second of `load`: `cargo test -p weighbridge-tests --test all -- --nocapture cells_per_cpu`.
#[tokio::test]
async fn cells_per_cpu_second_of_load() {
    const COLLECTORS: u8 = 200;
    const REPORTS: u64 = 300;
    let rig = Rig::start().await;
    let (reports, truth) = many(COLLECTORS, REPORTS);
    for part in reports.chunks(10_000) {
        produce(rig.kafka(), part).await;
    }
    let environment = [
        ("WEIGHBRIDGE_LOAD_FLUSH_ROWS", "50000".to_owned()),
        ("WEIGHBRIDGE_LOAD_FLUSH_MS", "1000".to_owned()),
        ("WEIGHBRIDGE_LOAD_ROLLUP_INTERVAL_S", "3600".to_owned()),
    ];
    let load = rig.stage(&["load"], &environment).await;
    rig.wait_for(&format!("{SUMS} {LEDGER}"), &text(&truth)).await;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", load.process.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of proc(5), in ticks of 10 ms; the state is field 3.
    let seconds = (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0;
    let cells = load.metric("weighbridge_load_cells_loaded_total").await;
    let rate = cells as f64 / seconds;
    println!("{} reports, {cells} cells, {seconds} CPU-s, {rate:.0} cells per CPU-second", reports.len());
    load.stop().await;
}
