//! Kafka by TLS and SASL, ClickHouse by TLS with a user: real servers, the real program.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::net::{Ipv4Addr, SocketAddr};

use crate::aggregator::{Edge, Rig, counts, key, midnight, produce};
use weighbridge_catalog::Openness;
use weighbridge_proto::v1::ReceiptStatus;
use weighbridge_tests::clickhouse;
use weighbridge_tests::kafka::{Kafka, PASSWORD, USER};
use weighbridge_tests::processes::free_port;
use weighbridge_tests::tls::{Authority, Client, tls_in_front_of};

const LATER: i32 = 2100;

fn config(rig: &Rig, kafka: &str, clickhouse: &str) {
    let text = format!(
        "kafka: {{partitions: 3, replication_factor: 1, {kafka}}}\nclickhouse: {{{clickhouse}}}\n\
         load: {{flush_ms: 100, rollup_interval_s: 1}}\ntelemetry: {{log_format: text}}\n"
    );
    std::fs::write(&rig.config, text).unwrap();
}

#[tokio::test]
async fn kafka_by_tls_and_sasl() {
    let mut rig = Rig::with_clickhouse().await;
    let authority = Authority::new(rig.folder.path(), "kafka");
    let other = Authority::new(rig.folder.path(), "other");
    let identity = authority.certify(rig.folder.path(), "broker", LATER);
    let kafka = Kafka::start_secured(rig.folder.path(), &identity).await;
    let clickhouse = format!("url: '{}'", rig.clickhouse.url());
    let secured = |mechanism: &str, password: &str, authority: &Authority| {
        format!(
            "bootstrap_servers: '{}', properties: {{security.protocol: SASL_SSL, ssl.ca.location: '{}', \
             sasl.mechanism: {mechanism}, sasl.username: {USER}, sasl.password: '{password}'}}",
            kafka.secured_bootstrap(),
            authority.file().display()
        )
    };
    for (mechanism, password, authority) in [
        ("SCRAM-SHA-512", "a-password-that-is-wrong", &authority),
        ("PLAIN", "a-password-that-is-wrong", &authority),
        ("PLAIN", PASSWORD, &other),
    ] {
        config(&rig, &secured(mechanism, password, authority), &clickhouse);
        let output = rig.output(&["migrate", "up"]);
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{mechanism}: {said}");
        assert!(!said.contains(password), "{said}");
    }
    let mut edge = Edge::new(1);
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        // As in a container: the password is a variable.
        config(&rig, &secured(mechanism, "a-password-that-is-wrong", &authority), &clickhouse);
        let mut migrate = rig.command();
        migrate.env("WEIGHBRIDGE_KAFKA_PROPERTIES_SASL_PASSWORD", PASSWORD).args(["migrate", "up"]);
        assert!(migrate.output().unwrap().status.success(), "{mechanism}");
        config(&rig, &secured(mechanism, PASSWORD, &authority), &clickhouse);
        let port = free_port();
        let listen = ("WEIGHBRIDGE_INGEST_LISTEN", format!("127.0.0.1:{port}"));
        let ingest = rig.stage(&["ingest"], &[listen]).await;
        let load = rig.load("secured").await;
        let mut uplink = Client { port, ..Client::default() }.open().await.unwrap();
        for _ in 0..20 {
            let cells = [(key(1, Openness::Closed), counts(5, 10, 10))];
            let window = midnight(1) + edge.sequence * 60;
            let receipt = uplink.deliver(&edge.report(window, &cells)).await.unwrap();
            assert_eq!(receipt.status(), ReceiptStatus::Ok, "{mechanism}");
        }
        let sum = "SELECT sum(requests) FROM weighbridge.ledger FINAL";
        rig.wait_for(sum, &edge.totals.requests.to_string()).await;
        drop(uplink);
        ingest.stop().await;
        load.stop().await;
    }
    let log = std::fs::read_to_string(rig.folder.path().join("ingest.log")).unwrap();
    assert!(!log.contains(PASSWORD));
    rig.kafka = Some(kafka);
}

/// Many threads: the TLS server runs here while commands are waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_by_tls_with_a_user() {
    let rig = Rig::start().await;
    let authority = Authority::new(rig.folder.path(), "clickhouse");
    let other = Authority::new(rig.folder.path(), "other");
    let identity = authority.certify(rig.folder.path(), "database", LATER);
    let plain = SocketAddr::from((Ipv4Addr::LOCALHOST, rig.clickhouse.http_port));
    let port = tls_in_front_of(plain, &identity).await;
    let kafka = format!("bootstrap_servers: '{}'", rig.kafka().bootstrap());
    let secured = |password: &str, authority: &Authority| {
        format!(
            "url: 'https://localhost:{port}', ca_file: '{}', user: {}, password: '{password}'",
            authority.file().display(),
            clickhouse::USER
        )
    };
    for (password, authority, code) in
        [("a-password-that-is-wrong", &authority, "516"), (clickhouse::PASSWORD, &other, "cannot be reached")]
    {
        config(&rig, &kafka, &secured(password, authority));
        let output = rig.output(&["migrate", "check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(code), "{said}");
        assert!(!said.contains(password), "{said}");
    }
    config(&rig, &kafka, &secured(clickhouse::PASSWORD, &authority));
    rig.run(&["migrate", "up"]);
    rig.run(&["migrate", "check"]);
    let load = rig.load("secured").await;
    let mut edge = Edge::new(1);
    let cells = [(key(1, Openness::Closed), counts(5, 10, 10))];
    let reports: Vec<_> = (0..50).map(|n| edge.report(midnight(1) + n * 60, &cells)).collect();
    produce(rig.kafka(), &reports).await;
    rig.wait_for("SELECT sum(requests) FROM weighbridge.traffic_1h", "250").await;
    load.stop().await;
    let split = rig.run(&["split", "--format", "json"]);
    assert!(split.contains("250"), "{split}");
}
