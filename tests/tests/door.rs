//! The door, by the real program: who is let in, when it ends, and that nobody is named anywhere.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::aggregator::{Edge, LIMIT, Rig, Stage, TOPIC, counts, key, midnight};
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tonic::Code;
use weighbridge_catalog::Openness;
use weighbridge_proto::v1::{Receipt, ReceiptStatus};
use weighbridge_tests::canary;
use weighbridge_tests::collector::{Collector, Input};
use weighbridge_tests::processes::{free_port, http_client};
use weighbridge_tests::tls::{Authority, Client, Identity, Uplink};

/// A year that certificates outlive.
const LATER: i32 = 2100;

/// Servers, an ingest with a door, and what belongs to it.
struct Door {
    rig: Rig,
    /// Registry, certificates and tokens; apart from `rig.folder`, which is searched for what is in here.
    files: tempfile::TempDir,
    authority: Authority,
    server: Identity,
    port: u16,
    environment: Vec<(&'static str, String)>,
    ingest: Stage,
}

impl Door {
    async fn start(further: &[(&'static str, &str)]) -> Door {
        let rig = Rig::start().await;
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new(files.path(), "weighbridge");
        let server = authority.certify(files.path(), "server", LATER);
        let port = free_port();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let mut environment = vec![
            ("WEIGHBRIDGE_INGEST_LISTEN", format!("127.0.0.1:{port}")),
            ("WEIGHBRIDGE_INGEST_DOOR_MODE", "registered".to_owned()),
            ("WEIGHBRIDGE_INGEST_DOOR_CONTRIBUTORS_FILE", path(&files.path().join("contributors.json"))),
            ("WEIGHBRIDGE_INGEST_DOOR_PSEUDONYM_KEY_FILE", path(&files.path().join("pseudonym.key"))),
            ("WEIGHBRIDGE_INGEST_DOOR_CERTIFICATE_FILE", path(&server.certificate)),
            ("WEIGHBRIDGE_INGEST_DOOR_KEY_FILE", path(&server.key)),
            ("WEIGHBRIDGE_INGEST_DOOR_CLIENT_CA_FILE", path(authority.file())),
        ];
        environment.extend(further.iter().map(|(name, value)| (*name, (*value).to_owned())));
        contributor(&rig, &environment, &["add", "nobody-in-particular"]);
        let ingest = rig.stage(&["ingest"], &environment).await;
        Door { rig, files, authority, server, port, environment, ingest }
    }

    /// Runs `contributor`; what it printed.
    fn contributor(&self, arguments: &[&str]) -> String {
        contributor(&self.rig, &self.environment, arguments)
    }

    fn client(&self) -> Client {
        Client { port: self.port, ca: Some(self.authority.file().to_owned()), ..Client::default() }
    }

    fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.client() }
    }

    /// A new contributor's client.
    fn add(&self, name: &str) -> Client {
        self.with_token(&self.contributor(&["add", name]))
    }

    /// Waits until ingest has read the registry `times` times.
    async fn reread(&self, file: &str, times: i64) {
        let name = format!("weighbridge_ingest_door_reloads_total{{file=\"{file}\"}}");
        self.ingest.wait_for_metric(&name, times).await;
    }

    async fn reloads(&self) -> i64 {
        self.ingest.metric("weighbridge_ingest_door_reloads_total{file=\"contributors\"}").await
    }
}

fn contributor(rig: &Rig, environment: &[(&str, String)], arguments: &[&str]) -> String {
    let mut command = rig.command();
    command.arg("contributor").args(arguments).envs(environment.iter().cloned());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn report(edge: &mut Edge, requests: u64) -> Bytes {
    let window = midnight(1) + edge.sequence * 60;
    edge.report(window, &[(key(1, Openness::Closed), counts(requests, 10, 10))])
}

async fn takes(client: &Client, report: &Bytes) -> Uplink {
    let mut uplink = client.open().await.unwrap();
    let receipt = uplink.deliver(report).await.unwrap();
    assert_eq!(receipt.status(), ReceiptStatus::Ok);
    uplink
}

/// Refused by ingest, which says why.
async fn refuses(client: &Client, why: &str) {
    let status = client.open().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, why));
}

/// No connection at all: one of the two sides ends TLS. With TLS 1.3 a client hears of it when it asks for something, and how
/// depends on who was faster.
async fn unreachable(client: &Client) {
    let status = client.open().await.unwrap_err();
    assert_ne!(status.code(), Code::Unauthenticated, "{status:?}");
}

#[tokio::test]
async fn who_is_let_in_and_who_is_not() {
    let door = Door::start(&[]).await;
    let mut edge = Edge::new(1);
    let folder = door.files.path();
    let acme = door.add("acme");
    let expired = door.with_token(&door.contributor(&["add", "expired", "--expires-days", "0"]));
    let gone = door.add("gone");
    door.contributor(&["revoke", "gone"]);
    let maker = door.authority.certify(folder, "maker", LATER);
    let late = door.authority.certify(folder, "late", 2021);
    let other = Authority::new(folder, "other");
    let foreign = other.certify(folder, "foreign", LATER);
    for (name, identity) in [("maker", &maker), ("late", &late), ("foreign", &foreign)] {
        door.contributor(&["add", name, "--certificate", identity.certificate.to_str().unwrap()]);
    }
    let with = |identity: &Identity| Client { identity: Some(identity.clone()), ..door.client() };
    timeout(LIMIT, async { while door.client_is_unknown(&acme).await {} }).await.unwrap();

    takes(&acme, &report(&mut edge, 1)).await;
    takes(&with(&maker), &report(&mut edge, 1)).await;
    let both = door.with_token(&door.contributor(&["rotate", "maker"]));
    let both = Client { identity: Some(maker.clone()), ..both };
    timeout(LIMIT, async { while door.client_is_unknown(&both).await {} }).await.unwrap();
    takes(&both, &report(&mut edge, 1)).await;
    let received = door.ingest.metric("weighbridge_ingest_reports_received_total").await;

    refuses(&door.client(), "no credentials").await;
    refuses(&door.with_token("garbage"), "unknown credentials").await;
    let token = acme.token.clone().unwrap();
    let wrong_secret = format!("{}{}", &token[..token.len() - 64], "0".repeat(64));
    refuses(&door.with_token(&wrong_secret), "unknown credentials").await;
    refuses(&expired, "credentials have expired").await;
    refuses(&gone, "credentials were revoked").await;
    refuses(&with(&door.authority.certify(folder, "stranger", LATER)), "unknown credentials").await;
    let stolen = Client { identity: Some(maker.clone()), ..acme.clone() };
    refuses(&stolen, "token and certificate belong to different contributors").await;
    let before = door.ingest.metric("weighbridge_ingest_door_handshakes_failed_total").await;
    for client in [
        with(&late),
        with(&foreign),
        Client { ca: None, ..acme.clone() },
        Client { ca: Some(other.file().to_owned()), ..acme.clone() },
    ] {
        unreachable(&client).await;
    }
    door.ingest.wait_for_metric("weighbridge_ingest_door_handshakes_failed_total", before + 4).await;
    assert_eq!(door.ingest.metric("weighbridge_ingest_reports_received_total").await, received);
    let table = door.contributor(&["list"]);
    for row in
        ["acme                  active", "expired               expired", "gone                  revoked"]
    {
        assert!(table.contains(row), "{table}");
    }
    door.ingest.stop().await;
}

impl Door {
    /// The registry that ingest reads may be a second old.
    async fn client_is_unknown(&self, client: &Client) -> bool {
        client.open().await.is_err_and(|status| status.message() == "unknown credentials")
    }
}

#[tokio::test]
async fn revocation_and_rotation_reach_open_streams_and_nobody_elses() {
    let door = Door::start(&[]).await;
    let (mut edge, reloads) = (Edge::new(1), door.reloads().await);
    let (acme, beta) = (door.add("acme"), door.add("beta"));
    timeout(LIMIT, async { while door.client_is_unknown(&beta).await {} }).await.unwrap();
    let mut acme_stream = takes(&acme, &report(&mut edge, 1)).await;
    let mut beta_stream = takes(&beta, &report(&mut edge, 1)).await;
    let mut another = beta.open().await.unwrap();

    let revoked_at = Instant::now();
    door.contributor(&["revoke", "acme"]);
    let status = acme_stream.receipt().await.unwrap_err();
    println!("a revoked stream ended after {:?}", revoked_at.elapsed());
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "credentials were revoked"));
    refuses(&acme, "credentials were revoked").await;
    for stream in [&mut beta_stream, &mut another] {
        assert_eq!(stream.deliver(&report(&mut edge, 1)).await.unwrap().status(), ReceiptStatus::Ok);
    }

    // The old token opens for the grace time, and then no more: open streams of it end, too.
    let newer = door.with_token(&door.contributor(&["rotate", "beta", "--grace-hours", "1"]));
    timeout(LIMIT, async { while door.client_is_unknown(&newer).await {} }).await.unwrap();
    let mut newer_stream = takes(&newer, &report(&mut edge, 1)).await;
    takes(&beta, &report(&mut edge, 1)).await;
    door.contributor(&["rotate", "beta", "--grace-hours", "0"]);
    for stream in [&mut beta_stream, &mut another, &mut newer_stream] {
        let status = stream.receipt().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "credentials have expired"));
    }
    refuses(&beta, "credentials have expired").await;
    assert!(door.reloads().await > reloads);
    assert_eq!(door.ingest.metric("weighbridge_ingest_door_ended_total{reason=\"expired\"}").await, 3);

    // Somebody empties the file: nobody is registered, nothing breaks.
    let gamma = door.add("gamma");
    timeout(LIMIT, async { while door.client_is_unknown(&gamma).await {} }).await.unwrap();
    let mut gamma_stream = takes(&gamma, &report(&mut edge, 1)).await;
    std::fs::write(door.files.path().join("contributors.json"), "{\"version\": 1, \"contributors\": []}")
        .unwrap();
    assert_eq!(gamma_stream.receipt().await.unwrap_err().message(), "unknown credentials");
    door.ingest.stop().await;
}

#[tokio::test]
async fn the_servers_certificate_is_renewed_without_a_restart() {
    let door = Door::start(&[]).await;
    let mut edge = Edge::new(1);
    let acme = door.add("acme");
    timeout(LIMIT, async { while door.client_is_unknown(&acme).await {} }).await.unwrap();
    let mut stream = takes(&acme, &report(&mut edge, 1)).await;
    let newer = Authority::new(door.files.path(), "newer");
    let renewed = newer.certify(door.files.path(), "renewed", LATER);
    // One after the other, as they are: between the two they do not fit, and the old ones stay in force.
    std::fs::copy(&renewed.certificate, &door.server.certificate).unwrap();
    let failures = "weighbridge_ingest_door_reload_failures_total{file=\"certificate\"}";
    door.ingest.wait_for_metric(failures, 1).await;
    takes(&acme, &report(&mut edge, 1)).await;
    std::fs::copy(&renewed.key, &door.server.key).unwrap();
    door.reread("certificate", 1).await;
    takes(&Client { ca: Some(newer.file().to_owned()), ..acme.clone() }, &report(&mut edge, 1)).await;
    unreachable(&acme).await;
    assert_eq!(stream.deliver(&report(&mut edge, 1)).await.unwrap().status(), ReceiptStatus::Ok);
    door.ingest.stop().await;
}

#[tokio::test]
async fn a_recorded_connection_is_worth_nothing() {
    let door = Door::start(&[]).await;
    let mut edge = Edge::new(1);
    let acme = door.add("acme");
    timeout(LIMIT, async { while door.client_is_unknown(&acme).await {} }).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let recorded_at = listener.local_addr().unwrap().port();
    let recording = Arc::new(Mutex::new(Vec::new()));
    let (ingest, tape) = (door.port, Arc::clone(&recording));
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, ingest)).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; 65_536];
        while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
            tape.lock().unwrap().extend_from_slice(&buffer[..n]);
            to_server.write_all(&buffer[..n]).await.unwrap();
        }
    });
    takes(&Client { port: recorded_at, ..acme.clone() }, &report(&mut edge, 1)).await;

    let received = door.ingest.metric("weighbridge_ingest_reports_received_total").await;
    let failed = door.ingest.metric("weighbridge_ingest_door_handshakes_failed_total").await;
    let bytes = recording.lock().unwrap().clone();
    assert!(bytes.len() > 500 && !bytes.windows(4).any(|four| four == b"wb1_"), "{} bytes", bytes.len());
    let mut replay = TcpStream::connect((Ipv4Addr::LOCALHOST, door.port)).await.unwrap();
    replay.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(LIMIT, replay.read_to_end(&mut answer)).await.unwrap();
    door.ingest.wait_for_metric("weighbridge_ingest_door_handshakes_failed_total", failed + 1).await;
    assert_eq!(door.ingest.metric("weighbridge_ingest_reports_received_total").await, received);
    door.ingest.stop().await;
}

#[tokio::test]
async fn a_quota_slows_its_own_contributor_and_an_old_stream_ends_in_order() {
    let further = [
        ("WEIGHBRIDGE_INGEST_DOOR_QUOTA_REPORTS_PER_MINUTE", "50"),
        ("WEIGHBRIDGE_INGEST_MAX_CONNECTION_AGE_S", "3"),
    ];
    let door = Door::start(&further).await;
    let (acme, beta) = (door.add("acme"), door.add("beta"));
    timeout(LIMIT, async { while door.client_is_unknown(&beta).await {} }).await.unwrap();
    let (mut one, mut two) = (Edge::new(1), Edge::new(2));
    let mut streams = [acme.open().await.unwrap(), acme.open().await.unwrap()];
    let mut retried = 0;
    for number in 0..60 {
        let receipt = streams[number % 2].deliver(&report(&mut one, 1)).await.unwrap();
        if receipt.status() == ReceiptStatus::Retry {
            assert!(receipt.retry_after_ms >= 1_000, "{receipt:?}");
            retried += 1;
        }
    }
    assert!(retried > 0, "over the quota");
    let by_reason = "weighbridge_ingest_reports_retried_total{reason=\"quota\"}";
    assert_eq!(door.ingest.metric(by_reason).await, retried);

    // Its neighbour is not disturbed, and loses nothing when its stream ends.
    let mut stream = beta.open().await.unwrap();
    let sent: Vec<Bytes> = (0..40).map(|_| report(&mut two, 1)).collect();
    for report in &sent {
        stream.send(report).await;
    }
    let mut answered: Vec<Receipt> = Vec::new();
    while let Some(receipt) = stream.receipt().await.unwrap() {
        answered.push(receipt);
    }
    assert_eq!(answered.len(), sent.len());
    assert!(answered.iter().all(|receipt| receipt.status() == ReceiptStatus::Ok));
    takes(&beta, &report(&mut two, 1)).await;
    door.ingest.stop().await;
}

/// What must not be anywhere behind the door.
struct Secrets {
    all: Vec<String>,
}

impl Secrets {
    fn sought(&self) -> Vec<&str> {
        self.all.iter().map(String::as_str).collect()
    }
}

#[tokio::test]
async fn a_replay_of_anothers_reports_counts_as_ones_own_and_nobody_is_named() {
    let door = Door::start(&[]).await;
    let maker = door.authority.certify(door.files.path(), "subject-canary-5k", LATER);
    door.contributor(&["add", "maker-canary-7q", "--certificate", maker.certificate.to_str().unwrap()]);
    let thief = door.add("thief-canary-3x");
    timeout(LIMIT, async { while door.client_is_unknown(&thief).await {} }).await.unwrap();
    let from = Some(Ipv4Addr::new(127, 0, 0, 77));
    let victim = Client { identity: Some(maker), from, ..door.client() };
    let thief = Client { from, ..thief };

    // The thief has seen two reports, and makes up the ones that will come: same names, other numbers.
    let mut edge = Edge::new(1);
    let first = [report(&mut edge, 100), report(&mut edge, 100)];
    let mut forger = Edge { sequence: 2, totals: edge.totals, ..Edge::new(1) };
    let forged = [report(&mut forger, 7), report(&mut forger, 7)];
    let later = [report(&mut edge, 1_000), report(&mut edge, 1_000)];
    for (client, reports) in [
        (&victim, &first[..]),
        (&thief, &first[..]),
        (&thief, &forged[..]),
        (&victim, &later[..]),
        (&thief, &first[..]),
    ] {
        let mut stream = client.open().await.unwrap();
        for report in reports {
            assert_eq!(stream.deliver(report).await.unwrap().status(), ReceiptStatus::Ok);
        }
    }
    let load = door.rig.load("door").await;
    let sums =
        "SELECT sum(requests) FROM weighbridge.ledger FINAL GROUP BY contributor ORDER BY sum(requests)";
    door.rig.wait_for(sums, "214\n2200").await;
    let clickhouse = &door.rig.clickhouse;
    let sums =
        "SELECT uniqExact(contributor), uniqExact(collector_id), count() FROM weighbridge.reports FINAL";
    assert_eq!(clickhouse.query(sums).await, "2\t2\t8");
    let own = "SELECT count() FROM weighbridge.ledger WHERE contributor = toUUID('00000000-0000-0000-0000-000000000000') OR collector_id = toUUID('01010101-0101-0101-0101-010101010101')";
    assert_eq!(clickhouse.query(own).await, "0", "nothing is stored under the sender's own names");
    assert_eq!(clickhouse.query("SELECT count() FROM weighbridge.audit").await, "0");

    let token = thief.token.clone().unwrap();
    let secret = token.rsplit('_').next().unwrap().to_owned();
    let names =
        ["subject-canary-5k", "maker-canary-7q", "thief-canary-3x", "127.0.0.77", "weighbridge authority"];
    let mut secrets = Secrets { all: names.map(str::to_owned).to_vec() };
    secrets.all.extend([token[4..20].to_owned(), secret]);
    let pages = [metrics(&door.ingest).await, metrics(&load).await];
    load.stop().await;
    let Door { rig, ingest, files, .. } = door;
    ingest.stop().await;
    nobody_is_named(&rig, &secrets, &pages).await;
    let (_, found) = canary::search(files.path(), &["thief-canary-3x"]);
    assert!(!found.is_empty(), "the search finds what is there");
}

async fn metrics(stage: &Stage) -> String {
    let page = http_client().get(format!("http://{}/metrics", stage.admin)).send().await.unwrap();
    page.text().await.unwrap()
}

/// Neither in logs, metrics, Kafka's files and records nor in ClickHouse's files and rows.
async fn nobody_is_named(rig: &Rig, secrets: &Secrets, pages: &[String]) {
    let sought = secrets.sought();
    let (files, found) = canary::search(rig.folder.path(), &sought);
    assert!(files > 20, "logs, segments and parts are in this folder");
    assert_eq!(found, []);
    for page in pages {
        assert!(page.contains("weighbridge_"));
        assert_eq!(canary::search_bytes(page.as_bytes(), &sought), []);
    }
    // Segments and parts are compressed: what they hold, once more.
    let records = records(rig);
    assert!(records.len() > 1_000);
    assert_eq!(canary::search_bytes(&records, &sought), []);
    let mut rows = String::new();
    for table in ["ledger", "reports", "traffic_1h", "migrations"] {
        rows += &rig.clickhouse.query(&format!("SELECT * FROM weighbridge.{table} FORMAT JSONEachRow")).await;
    }
    assert!(rows.contains("contributor"));
    assert_eq!(canary::search_bytes(rows.as_bytes(), &sought), []);
}

/// Keys, values and headers of the whole topic, one after the other.
fn records(rig: &Rig) -> Vec<u8> {
    let consumer: BaseConsumer = rig
        .kafka()
        .client_config()
        .set("group.id", "search")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for partition in 0..3 {
        partitions.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut bytes, mut ends) = (Vec::new(), 0);
    while ends < 3 {
        let Ok(message) = consumer.poll(LIMIT).unwrap() else {
            ends += 1;
            continue;
        };
        bytes.extend_from_slice(message.key().unwrap());
        bytes.extend_from_slice(message.payload().unwrap());
        for header in message.headers().unwrap().iter() {
            bytes.extend_from_slice(header.key.as_bytes());
            bytes.extend_from_slice(header.value.unwrap());
        }
    }
    bytes
}

#[tokio::test]
async fn a_collector_that_was_shut_out_waits_and_loses_nothing() {
    let door = Door::start(&[]).await;
    let token_file: PathBuf = door.files.path().join("token");
    std::fs::write(&token_file, door.contributor(&["add", "acme"])).unwrap();
    let uplink = format!(
        "endpoint: 'https://localhost:{}', ca_file: '{}', token_file: '{}'",
        door.port,
        door.authority.file().display(),
        token_file.display()
    );
    let folder = door.rig.folder.path();
    let mut collector = Collector::start_with(folder, "sidecar", Input::Traces, &uplink).await;
    let acknowledged = |at_least: u64| {
        let collector = &collector;
        async move {
            let wait = async {
                while collector.counter("reports_acknowledged").await < at_least {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            };
            timeout(LIMIT, wait).await.unwrap();
        }
    };
    acknowledged(1).await;
    door.contributor(&["revoke", "acme"]);
    door.ingest.wait_for_metric("weighbridge_ingest_door_ended_total{reason=\"revoked\"}", 1).await;
    door.ingest.wait_for_metric("weighbridge_ingest_door_refused_total{reason=\"revoked\"}", 2).await;
    let before = collector.counter("reports_acknowledged").await;
    // Comes back with a new token, which the collector finds in its file.
    std::fs::write(&token_file, door.contributor(&["add", "acme"])).unwrap();
    acknowledged(before + 2).await;
    collector.stop().await;
    let sealed = collector.ledger().len();
    let load = door.rig.load("door").await;
    door.rig.wait_for("SELECT count() FROM weighbridge.reports FINAL", &sealed.to_string()).await;
    let audit = "SELECT count(), countIf(present_reports != expected_reports), sum(torn_reports) FROM weighbridge.epoch_audit";
    assert_eq!(door.rig.clickhouse.query(audit).await, "1\t0\t0");
    let token = std::fs::read_to_string(&token_file).unwrap();
    let (_, found) = canary::search(&folder.join("collector.log"), &[token.trim()]);
    assert_eq!(found, []);
    load.stop().await;
    door.ingest.stop().await;
}
