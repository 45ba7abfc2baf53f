//! The real servers start, keep what they acknowledged over `kill -9`, and stop.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::process::Command;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use weighbridge_tests::clickhouse::ClickHouse;
use weighbridge_tests::kafka::Kafka;
use weighbridge_tests::processes::{Process, free_port, release_binary, tool};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn clickhouse_keeps_rows_over_kill_and_over_stop() {
    let folder = tempfile::tempdir().unwrap();
    let server = ClickHouse::start(folder.path()).await;
    let port = server.http_port;
    server.query("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n").await;
    for start in [0, 1000, 2000] {
        server.query(&format!("INSERT INTO kept SELECT number + {start} FROM numbers(1000)")).await;
    }
    server.kill().await;

    let server = ClickHouse::start_on(folder.path(), port).await;
    assert_eq!(server.query("SELECT count(), sum(n) FROM kept").await, "3000\t4498500");
    server.query("INSERT INTO kept VALUES (3000)").await;
    server.stop().await;

    let server = ClickHouse::start_on(folder.path(), port).await;
    assert_eq!(server.query("SELECT count(), sum(n) FROM kept").await, "3001\t4501500");
    server.stop().await;
}

#[tokio::test]
async fn clickhouse_dies_with_the_process_that_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut parent = Command::new("sh");
    // The shell is the parent; the last command keeps it from handing its process over to the server.
    parent.args(["-c", "\"$0\" clickhouse --library \"$1\" --data \"$2\" --http-port $3 --parent $$; true"]);
    parent.arg(release_binary("weighbridge")).arg(tool("clickhouse/libchdb.so"));
    parent.arg(folder.path().join("clickhouse")).arg(port.to_string());
    let mut parent = Process::start("parent", &parent, folder.path());
    parent.wait_for_http(&format!("http://127.0.0.1:{port}/ping"), LIMIT).await;
    parent.kill().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        assert!(Instant::now() < deadline, "ClickHouse outlived its parent");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn kafka_keeps_records_over_kill() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Kafka::start(folder.path()).await;
    broker.create_topic("kept", 2).await;
    produce(&broker, 0..100).await;
    let ports = broker.ports();
    broker.kill().await;

    let broker = Kafka::start_on(folder.path(), ports).await;
    produce(&broker, 100..150).await;
    let mut numbers = consume(&broker, "group-1", 150).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..150).collect::<Vec<u32>>());
    broker.stop().await;
}

async fn produce(broker: &Kafka, numbers: std::ops::Range<u32>) {
    let producer: FutureProducer = broker
        .client_config()
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "30000")
        .create()
        .unwrap();
    for number in numbers {
        let (key, value) = (number.to_string(), number.to_be_bytes());
        let record = FutureRecord::to("kept").key(&key).payload(&value[..]);
        producer.send(record, LIMIT).await.unwrap_or_else(|(error, _)| panic!("record {number}: {error}"));
    }
}

async fn consume(broker: &Kafka, group: &str, count: usize) -> Vec<u32> {
    let consumer: StreamConsumer = broker
        .client_config()
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&["kept"]).unwrap();
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let message = timeout(LIMIT, consumer.recv()).await.expect("records in time").unwrap();
        numbers.push(u32::from_be_bytes(message.payload().unwrap().try_into().unwrap()));
        consumer.commit_message(&message, CommitMode::Async).unwrap();
    }
    numbers
}
