//! Load of ingest's door: thousands of TLS connections, each with reports that wait for their receipts, once at the real ingest
//! and once at a plain unary server, over the same broker.
//!
//! `load-ingest [--connections N] [--reports N] [--cells N]` prints for both the CPU of the server per report, its resident memory
//! per connection and the records that reached Kafka. Reports are counted at the far end, in the topic; it fails when one is missing or
//! was not acknowledged, and never judges a time.
//!
//! The peer, `load-ingest --peer`, is what a service of tonic's documentation looks like: a call per report, decoded by prost, written to Kafka
//! as a record of its own by the same producer settings, answered when Kafka confirmed it. It asks nobody who he is; ingest checks a
//! token, the checksum, the window and the quota besides.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::v1::{Receipt, ReceiptStatus, Report};
use weighbridge_tests::kafka::Kafka;
use weighbridge_tests::processes::{Process, free_port, release_binary};
use weighbridge_tests::simulated::Start;
use weighbridge_tests::tls::{Authority, Client, Identity};
use weighbridge_tests::usage::{cpu_s, memory_kib};

const LIMIT: Duration = Duration::from_secs(120);
/// Connections that are being opened at the same time: a handshake is work for both sides.
const OPENING: usize = 64;
const PARTITIONS: i32 = 12;
/// A year that certificates outlive.
const LATER: i32 = 2100;

#[derive(Clone, Copy)]
struct Arguments {
    connections: usize,
    reports: u64,
    cells: u32,
}

fn arguments(given: &[String]) -> Result<Arguments, String> {
    let mut parsed = Arguments { connections: 5_000, reports: 40, cells: 30 };
    for pair in given.chunks(2) {
        let number = pair.get(1).and_then(|text| text.parse::<u32>().ok()).filter(|number| *number > 0);
        let number = number.ok_or(format!("{} takes a number above 0", pair[0]))?;
        match pair[0].as_str() {
            "--connections" => parsed.connections = number as usize,
            "--reports" => parsed.reports = u64::from(number),
            "--cells" => parsed.cells = number,
            other => return Err(format!("{other} is unknown; use --connections, --reports, --cells")),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let [first, port, bootstrap, certificate, key] = given.as_slice()
        && first == "--peer"
    {
        let identity = Identity { certificate: certificate.into(), key: key.into() };
        runtime.block_on(peer(port.parse().expect("a port"), bootstrap, &identity));
        return ExitCode::SUCCESS;
    }
    match arguments(&given) {
        Ok(arguments) if runtime.block_on(drive(arguments)) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load-ingest: {error}");
            ExitCode::from(64)
        }
    }
}

/// Serves unary calls until it is killed.
async fn peer(port: u16, bootstrap: &str, identity: &Identity) {
    let certificates = CertificateDer::pem_file_iter(&identity.certificate).expect("a certificate");
    let certificates = certificates.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("a server's certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    // As ingest's, with librdkafka's batching instead of packs.
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("compression.codec", "zstd")
        .create()
        .expect("a producer");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a socket");
        let (acceptor, producer) = (acceptor.clone(), producer.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = move |request: http::Request<Incoming>| {
                let unary = Unary(producer.clone());
                let mut server = tonic::server::Grpc::new(ProstCodec::<Receipt, Report>::default());
                async move { Ok::<_, std::convert::Infallible>(server.unary(unary, request).await) }
            };
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer)).await;
        });
    }
}

struct Unary(FutureProducer);

impl tonic::server::UnaryService<Report> for Unary {
    type Response = Receipt;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Receipt>, Status>> + Send>>;

    fn call(&mut self, request: Request<Report>) -> Self::Future {
        let producer = self.0.clone();
        Box::pin(async move {
            let report = request.into_inner();
            let value = report.encode_to_vec();
            let record = FutureRecord::to(PEERS_TOPIC).key(&report.collector_id[..]).payload(&value);
            producer
                .send(record, Timeout::Never)
                .await
                .map_err(|(error, _)| Status::unavailable(error.to_string()))?;
            let status = ReceiptStatus::Ok.into();
            let receipt = Receipt {
                boot_epoch: report.boot_epoch,
                sequence: report.sequence,
                status,
                ..Receipt::default()
            };
            Ok(Response::new(receipt))
        })
    }
}

const PEERS_TOPIC: &str = "unary";
const TOPIC: &str = "weighbridge.reports.v1";
const PEERS_PATH: &str = "/peer/Deliver";

async fn drive(arguments: Arguments) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = Kafka::start(folder.path()).await;
    let authority = Authority::new(folder.path(), "load");
    let server = authority.certify(folder.path(), "server", LATER);
    let rig = Rig { folder: folder.path().to_owned(), kafka, authority, server, arguments };
    println!("while the broker compiles itself, not to be compared:");
    let mut exact = rig.measure(Who::Ingest).await;
    println!("twice each, in the order A B B A:");
    for who in [Who::Ingest, Who::Peer, Who::Peer, Who::Ingest] {
        exact &= rig.measure(who).await;
    }
    rig.kafka.stop().await;
    exact
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Ingest,
    Peer,
}

struct Rig {
    folder: PathBuf,
    kafka: Kafka,
    authority: Authority,
    server: Identity,
    arguments: Arguments,
}

impl Rig {
    async fn measure(&self, who: Who) -> bool {
        let run = format!("{:08x}", fastrand::u32(..));
        let topic = if who == Who::Ingest { TOPIC } else { PEERS_TOPIC };
        // The topic lives over both runs of a server: what counts is what comes to it.
        let before = self.reports_in(topic).await.unwrap_or((0, 0));
        if before == (0, 0) {
            self.kafka.create_topic(topic, PARTITIONS).await;
        }
        let (process, client) = match who {
            Who::Ingest => self.ingest(&run).await,
            Who::Peer => self.peer(&run).await,
        };
        let idle_kib = memory_kib(process.id(), "VmRSS");
        let mut connections = self.open(who, &client).await;
        let open_kib = memory_kib(process.id(), "VmRSS");
        let cpu_before = cpu_s(process.id());
        let acknowledged = deliver(&mut connections, self.arguments).await;
        let cpu = cpu_s(process.id()) - cpu_before;
        drop(connections);
        let peak_kib = memory_kib(process.id(), "VmHWM");
        process.terminate(LIMIT).await;
        let after = self.reports_in(topic).await.expect("the topic");
        let (records, held) = (after.0 - before.0, after.1 - before.1);
        let sent = self.arguments.connections as u64 * self.arguments.reports;
        let is_exact = acknowledged == sent && held == sent;
        println!(
            "{}: {:.1} us of CPU a report, {:.1} KiB resident a connection, {:.0} MiB peak; {sent} reports sent, {acknowledged} \
             acknowledged, {held} in Kafka in {records} records: {}",
            if who == Who::Ingest { "ingest" } else { "unary peer" },
            cpu * 1e6 / sent as f64,
            open_kib.saturating_sub(idle_kib) as f64 / self.arguments.connections as f64,
            peak_kib as f64 / 1_024.0,
            if is_exact { "equal" } else { "DIFFERENT" },
        );
        is_exact
    }

    async fn ingest(&self, run: &str) -> (Process, Client) {
        let (port, admin) = (free_port(), format!("127.0.0.1:{}", free_port()));
        let config = self.folder.join("aggregator.yaml");
        let text = format!(
            "kafka: {{bootstrap_servers: '{}', partitions: {PARTITIONS}, replication_factor: 1}}\n\
             ingest:\n  listen: 127.0.0.1:{port}\n  door: {{mode: registered, contributors_file: '{folder}/contributors.json', \
             pseudonym_key_file: '{folder}/pseudonym.key', certificate_file: '{}', key_file: '{}'}}\n\
             admin: {{listen: '{admin}'}}\ntelemetry: {{log_format: text}}\n",
            self.kafka.bootstrap(),
            self.server.certificate.display(),
            self.server.key.display(),
            folder = self.folder.display(),
        );
        std::fs::write(&config, text).expect("a configuration");
        let command = |arguments: &[&str]| {
            let mut command = Command::new(release_binary("weighbridge-aggregator"));
            command.args(arguments).env("WEIGHBRIDGE_CONFIG", &config);
            command
        };
        let added = command(&["contributor", "add", run]).output().expect("contributor add");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let token = String::from_utf8(added.stdout).expect("a token").trim().to_owned();
        let mut process = Process::start("ingest", &command(&["ingest"]), &self.folder);
        process.wait_for_http(&format!("http://{admin}/readyz"), LIMIT).await;
        (process, Client { port, token: Some(token), ..self.client() })
    }

    async fn peer(&self, run: &str) -> (Process, Client) {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--peer", &port.to_string(), &self.kafka.bootstrap()]);
        command.args([&self.server.certificate, &self.server.key]);
        let mut process = Process::start(&format!("peer-{run}"), &command, &self.folder);
        let connects = || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
        process.wait_until("the peer listened", LIMIT, connects).await;
        (process, Client { port, ..self.client() })
    }

    fn client(&self) -> Client {
        Client { ca: Some(self.authority.file().to_owned()), ..Client::default() }
    }

    async fn open(&self, who: Who, client: &Client) -> Vec<Connection> {
        let room = Arc::new(tokio::sync::Semaphore::new(OPENING));
        let mut opening = JoinSet::new();
        for number in 0..self.arguments.connections {
            let (client, room) = (client.clone(), Arc::clone(&room));
            opening.spawn(async move {
                let _room = room.acquire().await.expect("room");
                let start = Start::new(number as u128 + 1, 1 << 60 | u64::from(fastrand::u32(..)));
                let line = match who {
                    Who::Ingest => Line::Stream(client.open().await.expect("a stream")),
                    Who::Peer => Line::Calls(client.connect().await.expect("a connection")),
                };
                Connection { start, line }
            });
        }
        opening.join_all().await
    }

    /// Records and reports in a topic; none: it is not there.
    async fn reports_in(&self, topic: &'static str) -> Option<(u64, u64)> {
        let config = self.kafka.client_config();
        tokio::task::spawn_blocking(move || read(config, topic)).await.expect("a thread")
    }
}

struct Connection {
    start: Start,
    line: Line,
}

enum Line {
    Stream(weighbridge_tests::tls::Uplink),
    Calls(tonic::transport::Channel),
}

impl Connection {
    async fn deliver(&mut self, report: &Bytes) -> Receipt {
        match &mut self.line {
            Line::Stream(uplink) => uplink.deliver(report).await.expect("a receipt"),
            Line::Calls(channel) => {
                let mut client = tonic::client::Grpc::new(channel.clone());
                client.ready().await.expect("a connection");
                let report = Report::decode(report.clone()).expect("a report");
                let path = http::uri::PathAndQuery::from_static(PEERS_PATH);
                let codec = ProstCodec::<Report, Receipt>::default();
                client.unary(Request::new(report), path, codec).await.expect("a receipt").into_inner()
            }
        }
    }
}

/// Every connection sends its reports one after the other, all at the same time. Gives the number of receipts OK.
async fn deliver(connections: &mut Vec<Connection>, arguments: Arguments) -> u64 {
    let now_s =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let mut sending = JoinSet::new();
    for mut connection in connections.drain(..) {
        sending.spawn(async move {
            let mut acknowledged = 0;
            for number in 0..arguments.reports {
                let start_s = (now_s / 60 - arguments.reports + number) * 60;
                let cells = (1..=arguments.cells).map(|model| {
                    let requests = fastrand::u64(1..50);
                    let (input_tokens, output_tokens) = (requests * 700, requests * 90);
                    (model, Counts { requests, attempts: requests, input_tokens, output_tokens })
                });
                let report = connection.start.seal((start_s, 60), cells);
                let receipt = connection.deliver(&report).await;
                acknowledged += u64::from(receipt.status() == ReceiptStatus::Ok);
            }
            (connection, acknowledged)
        });
    }
    let (kept, counts): (Vec<_>, Vec<u64>) = sending.join_all().await.into_iter().unzip();
    *connections = kept;
    counts.iter().sum()
}

fn read(config: ClientConfig, topic: &str) -> Option<(u64, u64)> {
    let mut config = config;
    config
        .set("group.id", "load-ingest")
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("metadata");
    let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none())?;
    let partitions = found.partitions().len();
    if partitions == 0 {
        return None;
    }
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&all).expect("an assignment");
    let (mut records, mut reports, mut ends) = (0, 0, 0);
    while ends < partitions {
        match consumer.poll(LIMIT).expect("a record or an end in time") {
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("Kafka: {error}"),
            Ok(message) => {
                records += 1;
                reports += count(message.payload().unwrap_or_default(), topic);
            }
        }
    }
    Some((records, reports))
}

/// Reports of a value: the peer writes one without a length before it.
fn count(value: &[u8], topic: &str) -> u64 {
    if topic == PEERS_TOPIC {
        return u64::from(Report::decode(value).is_ok());
    }
    let (mut rest, mut reports) = (value, 0);
    while !rest.is_empty() {
        let length = prost::encoding::decode_varint(&mut rest).expect("a length") as usize;
        assert!(Report::decode(&rest[..length]).is_ok(), "a report");
        rest = &rest[length..];
        reports += 1;
    }
    reports
}
