//! Dead letters by the real programs on a real Kafka: listed without their value, replayed to where they belong, dropped, once each, also
//! when killed at any moment.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use crate::aggregator::{Edge, LIMIT, Rig, TOPIC, counts, key, many, midnight, produce};
use bytes::Bytes;
use prost::encoding::encode_varint;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use weighbridge_catalog::Openness;
use weighbridge_proto::report;
use weighbridge_tests::kafka::Kafka;
use weighbridge_tests::processes::Process;

const DLQ: &str = "weighbridge.reports.v1.dlq";
const LEDGER: &str = "SELECT sum(requests) FROM weighbridge.ledger FINAL";
const SECRET: &str = "SECRET-PROMPT-7f3a";

fn value_of(report: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    encode_varint(report.len() as u64, &mut value);
    value.extend_from_slice(report);
    value
}

/// Letters as load writes them, written here by hand.
async fn letters(kafka: &Kafka, reports: &[Bytes], reason: &str) {
    let producer: FutureProducer = kafka.client_config().create().unwrap();
    let sends = reports.iter().enumerate().map(|(place, report)| {
        let collector = report::identity(report).map(|name| name.collector.0.to_vec());
        let (value, producer) = (value_of(report), &producer);
        async move {
            let offset = place.to_string();
            let header = |key, value| Header { key, value: Some(value) };
            let headers = OwnedHeaders::new()
                .insert(header("original_topic", TOPIC))
                .insert(header("original_partition", "1"))
                .insert(header("original_offset", &offset))
                .insert(header("reason", reason));
            let mut record = FutureRecord::<[u8], [u8]>::to(DLQ).payload(&value).headers(headers);
            record.key = collector.as_deref();
            producer.send(record, LIMIT).await.unwrap_or_else(|(error, _)| panic!("{error}"));
        }
    });
    futures_util::future::join_all(sends).await;
}

fn list(rig: &Rig, arguments: &[&str]) -> Value {
    let arguments = [&["dead-letter", "list", "--format", "json"], arguments].concat();
    let text = rig.run(&arguments);
    assert!(!text.contains(SECRET) && !text.contains("SECRET"), "{text}");
    serde_json::from_str(&text).unwrap()
}

async fn wait_for_letters(rig: &Rig, waiting: u64) -> Value {
    let deadline = Instant::now() + LIMIT;
    loop {
        let listing = list(rig, &[]);
        if listing["waiting"] == waiting {
            return listing;
        }
        assert!(Instant::now() < deadline, "{waiting} letters did not come: {listing:#}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Every record of a topic: key, value, partition.
fn records(kafka: &Kafka, topic: &str, partitions: i32) -> Vec<(Option<Vec<u8>>, Vec<u8>, i32)> {
    let mut config = kafka.client_config();
    config.set("group.id", "the-test").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut found, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match consumer.poll(LIMIT).unwrap() {
            Ok(message) => found.push((
                message.key().map(<[u8]>::to_vec),
                message.payload().unwrap_or_default().to_vec(),
                message.partition(),
            )),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
    found
}

#[tokio::test]
async fn letters_are_listed_replayed_and_dropped_once() {
    let rig = Rig::start().await;
    let load = rig.load("letters").await;
    let mut edge = Edge::new(1);
    let cells = [(key(1, Openness::Closed), counts(5, 6, 7))];
    let good = edge.report(midnight(1), &cells);
    let mut flipped = edge.report(midnight(1) + 60, &cells).to_vec();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    produce(rig.kafka(), &[Bytes::from(flipped.clone()), Bytes::from_static(b"\xff SECRET-PROMPT-7f3a")])
        .await;
    let listing = wait_for_letters(&rig, 2).await;
    let by_reason = |listing: &Value, reason: &str| {
        let found = listing["letters"].as_array().unwrap().iter().find(|letter| letter["reason"] == reason);
        found.unwrap_or_else(|| panic!("no {reason} in {listing:#}")).clone()
    };
    let checksum = by_reason(&listing, "checksum");
    assert_eq!(checksum["collector_id"], "01010101010101010101010101010101");
    assert_eq!((&checksum["sequence"], &checksum["boot_epoch"]), (&1.into(), &1001.into()));
    assert_eq!(checksum["bytes"], value_of(&flipped).len());
    assert_eq!(checksum["original_topic"], TOPIC);
    let garbage = by_reason(&listing, "undecodable");
    assert_eq!(garbage["collector_id"], Value::Null);
    load.wait_for_metric("weighbridge_load_dead_letters_waiting", 2).await;

    // One that this load can read: set aside by an older one.
    letters(rig.kafka(), std::slice::from_ref(&good), "schema").await;
    assert_eq!(list(&rig, &["--reason", "schema"])["matching"], 1);
    assert_eq!(list(&rig, &["--limit", "1"])["letters"].as_array().unwrap().len(), 1);
    for format in ["table", "csv"] {
        let text = rig.run(&["dead-letter", "list", "--format", format]);
        assert!(text.contains("checksum") && !text.contains("SECRET"), "{text}");
    }
    let position = by_reason(&list(&rig, &[]), "schema")["position"].as_str().unwrap().to_owned();
    let told = rig.run(&["dead-letter", "replay", "--offset", &position]);
    assert!(told.starts_with("1 replayed"), "{told}");
    rig.wait_for(LEDGER, "5").await;
    // Byte for byte, under its key, where ingest would have put it.
    let id = edge.id.to_vec();
    let partition = (crc32c::crc32c(&id) % 3) as i32;
    let replayed = records(rig.kafka(), TOPIC, 3);
    assert!(replayed.contains(&(Some(id), value_of(&good), partition)), "partition {partition}");

    // Again: nothing happens. Another reason, an unknown position: told.
    let told = rig.run(&["dead-letter", "replay", "--offset", &position]);
    assert!(told.starts_with("0 replayed, 1 were done before"), "{told}");
    assert_eq!(records(rig.kafka(), TOPIC, 3).len(), replayed.len());
    let unknown = rig.output(&["dead-letter", "replay", "--offset", "4711"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stdout).contains("0:4711: no such letter"));

    // What is still poison comes back as a new letter, and the old one is not listed again.
    let old = by_reason(&list(&rig, &[]), "checksum")["position"].clone();
    let told = rig.run(&["dead-letter", "replay", "--all", "--reason", "checksum"]);
    assert!(told.starts_with("1 replayed"), "{told}");
    let listing = wait_for_letters(&rig, 2).await;
    assert_ne!(by_reason(&listing, "checksum")["position"], old);

    for arguments in [
        &["dead-letter", "drop", "--all"][..],
        &["dead-letter", "drop", "--yes"],
        &["dead-letter", "replay"],
        &["dead-letter", "replay", "--all", "--offset", "1"],
        &["dead-letter", "replay", "--offset", "x"],
    ] {
        assert_eq!(rig.output(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(list(&rig, &[])["waiting"], 2, "nothing was dropped by a mistake");
    let told = rig.run(&["dead-letter", "drop", "--all", "--yes"]);
    assert!(told.starts_with("2 dropped"), "{told}");
    assert!(rig.run(&["dead-letter", "drop", "--all", "--yes"]).starts_with("0 dropped"));
    assert_eq!(list(&rig, &[])["waiting"], 0);
    let deadline = Instant::now() + LIMIT;
    while load.metric("weighbridge_load_dead_letters_waiting").await != 0 {
        assert!(Instant::now() < deadline, "the gauge does not go back");
        sleep(Duration::from_millis(200)).await;
    }
    load.stop().await;
}

#[tokio::test]
async fn a_replay_that_is_killed_loses_nothing_and_counts_nothing_twice() {
    let rig = Rig::start().await;
    let (reports, truth) = many(6, 400);
    letters(rig.kafka(), &reports, "schema").await;
    let before = list(&rig, &["--limit", "3"])["waiting"].as_u64().unwrap();
    assert_eq!(before, reports.len() as u64);
    // Killed at any moment, again and again: while it reads, between a value and its mark, after.
    let mut least = before;
    for round in 0..8_u64 {
        let mut command = rig.command();
        command.args(["dead-letter", "replay", "--all"]);
        let replay = Process::start("replay", &command, rig.folder.path());
        sleep(Duration::from_millis(60 + 70 * round)).await;
        replay.kill().await;
        let waiting = list(&rig, &["--limit", "1"])["waiting"].as_u64().unwrap();
        assert!(waiting <= least, "a letter that was done waits again");
        least = waiting;
    }
    rig.run(&["dead-letter", "replay", "--all"]);
    assert_eq!(list(&rig, &[])["waiting"], 0);
    assert!(records(rig.kafka(), TOPIC, 3).len() >= reports.len());
    let load = rig.load("replayed").await;
    rig.wait_for(LEDGER, &truth.requests.to_string()).await;
    rig.wait_for("SELECT count() FROM weighbridge.reports FINAL", &reports.len().to_string()).await;
    assert_eq!(rig.clickhouse.query("SELECT count() FROM weighbridge.audit").await, "0");
    load.stop().await;
}

/// A value that just fits into a record of the reports topic, and with the headers of a letter no more.
#[tokio::test]
async fn a_value_too_large_for_a_letter_is_told_without_it_and_load_goes_on() {
    let rig = Rig::start().await;
    // Random, so that compression makes nothing of it.
    let mut large = vec![0; 1_048_437];
    fastrand::fill(&mut large);
    let large = value_of(&large);
    let producer: FutureProducer =
        rig.kafka().client_config().set("message.max.bytes", "3000000").create().unwrap();
    let record = FutureRecord::<[u8], [u8]>::to(TOPIC).payload(&large).partition(0);
    producer.send(record, LIMIT).await.unwrap_or_else(|(error, _)| panic!("{error}"));
    let good = Edge::new(3).report(midnight(1), &[(key(1, Openness::Closed), counts(8, 1, 1))]);
    produce(rig.kafka(), &[good]).await;
    let load = rig.load("large").await;
    rig.wait_for(LEDGER, "8").await;
    let listing = wait_for_letters(&rig, 1).await;
    let letter = &listing["letters"][0];
    assert_eq!((&letter["is_omitted"], &letter["original_offset"]), (&true.into(), &0.into()), "{listing:#}");
    assert_eq!((&letter["reason"], &letter["bytes"]), (&"size".into(), &large.len().into()), "{listing:#}");
    let replay = rig.output(&["dead-letter", "replay", "--all"]);
    assert_eq!(replay.status.code(), Some(1));
    let told = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert!(told.contains("0 replayed") && told.contains("it is in weighbridge.reports.v1 at 0:0"), "{told}");
    assert_eq!(list(&rig, &[])["waiting"], 1);
    assert!(rig.run(&["dead-letter", "drop", "--all", "--yes"]).starts_with("1 dropped"));
    load.stop().await;
}
