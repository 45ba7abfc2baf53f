//! Ingest over librdkafka's mock cluster and a real gRPC connection.

use super::*;
use crate::record;
use futures_util::StreamExt as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
use weighbridge_proto::cells::{self, Cell, CellKey, Counts};
use weighbridge_proto::report::{self, CollectorId};
use weighbridge_proto::uplink::uplink_client::UplinkClient;
use weighbridge_proto::v1::{Choice, Operation, Outcome, ReceiptStatus, Refusal, Report};

const NOW_S: u64 = 1_795_435_200;
const PARTITIONS: i32 = 3;
const DAY: u64 = SECONDS_PER_DAY;

type Mock = MockCluster<'static, DefaultProducerContext>;

/// Partition, key, schema and value.
type Record = (i32, Vec<u8>, Vec<u8>, Vec<u8>);

struct Rig {
    mock: Mock,
    instruments: Instruments,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), IngestError>>,
    to_ingest: Option<mpsc::Sender<Bytes>>,
    receipts: Streaming<Receipt>,
}

fn sealed(sequence: u64, change: impl FnOnce(&mut Report)) -> Bytes {
    let mut report = Report {
        schema: 1,
        collector_id: vec![9; 16].into(),
        boot_epoch: 77,
        sequence,
        window_start_s: NOW_S - 60,
        window_s: 60,
        catalogue_version: 2_026_112_301,
        environment: 1,
        vantage: 1,
        gateway_product: 2,
        ..Report::default()
    };
    change(&mut report);
    report::seal(&report)
}

/// As many cells as a report takes, with counts that need many bytes.
fn large_cells() -> Vec<u64> {
    let key = |model: u32| CellKey {
        model: ModelId(model),
        provider: ProviderId(1),
        openness: Openness::Closed,
        hosting: Hosting::FirstParty,
        operation: Operation::Chat,
        choice: Choice::First,
        streaming: weighbridge_proto::v1::Streaming::No,
        outcome: Outcome::Ok,
    };
    let counts =
        Counts { requests: 1 << 52, attempts: 1 << 52, input_tokens: 1 << 52, output_tokens: 1 << 52 };
    let cells: Vec<Cell> =
        (0..cells::MAX_CELLS as u32).map(|model| Cell { key: key(model), counts }).collect();
    cells::pack(&cells)
}

impl Rig {
    async fn start(change: impl FnOnce(&mut config::Ingest)) -> Rig {
        let mock = MockCluster::new(1).unwrap();
        let kafka = config::Kafka { bootstrap_servers: mock.bootstrap_servers(), ..config::Kafka::default() };
        mock.create_topic(&kafka.topic, PARTITIONS, 1).unwrap();
        let mut ingest = config::Ingest { delivery_timeout_ms: 2_000, drain_ms: 5_000, ..Default::default() };
        change(&mut ingest);
        let clock = Clock::fixed(NOW_S * 1_000);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (instruments, shutdown) = (Instruments::default(), CancellationToken::new());
        let serving = tokio::spawn({
            let (instruments, shutdown) = (instruments.clone(), shutdown.clone());
            let config = IngestConfig { kafka, ingest, clock };
            async move { serve(config, listener, &instruments, shutdown).await }
        });
        let (to_ingest, reports) = mpsc::channel(1_024);
        let mut client = UplinkClient::connect(url).await.unwrap();
        let receipts = client.deliver(ReceiverStream::new(reports)).await.unwrap().into_inner();
        let mut rig = Rig { mock, instruments, shutdown, serving, to_ingest: Some(to_ingest), receipts };
        rig.wait_until_ready().await;
        rig
    }

    /// Until the number of partitions is known: sends a report until it is taken.
    async fn wait_until_ready(&mut self) {
        loop {
            let receipt = self.deliver(sealed(1_000_000, |_| ())).await;
            if receipt.status() == ReceiptStatus::Ok {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn send(&self, report: Bytes) {
        self.to_ingest.as_ref().unwrap().send(report).await.unwrap();
    }

    async fn receipt(&mut self) -> Receipt {
        timeout(Duration::from_secs(20), self.receipts.next()).await.unwrap().unwrap().unwrap()
    }

    async fn deliver(&mut self, report: Bytes) -> Receipt {
        self.send(report).await;
        self.receipt().await
    }

    fn metric(&self, name: &str) -> i64 {
        let text = self.instruments.render();
        let lines = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum()
    }

    fn assert_all_are_accounted_for(&self) {
        let outcomes = ["forwarded_total", "refused_total", "retried_total", "in_flight"];
        let sum: i64 = outcomes
            .iter()
            .map(|outcome| self.metric(&format!("weighbridge_ingest_reports_{outcome}")))
            .sum();
        assert_eq!(self.metric("weighbridge_ingest_reports_received_total"), sum);
    }

    /// Every record of the topic.
    fn records(&self) -> Vec<Record> {
        let topic = config::Kafka::default().topic;
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("group.id", "test")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let (mut records, mut ends) = (Vec::new(), 0);
        while ends < PARTITIONS {
            match consumer.poll(Duration::from_secs(10)).unwrap() {
                Err(KafkaError::PartitionEOF(_)) => ends += 1,
                Err(error) => panic!("{error}"),
                Ok(message) => {
                    let header = message.headers().unwrap().get(0);
                    assert_eq!(header.key, record::HEADER_SCHEMA);
                    records.push((
                        message.partition(),
                        message.key().unwrap().to_vec(),
                        header.value.unwrap().to_vec(),
                        message.payload().unwrap().to_vec(),
                    ));
                }
            }
        }
        records
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_acknowledged_when_kafka_has_its_bytes() {
    let mut rig = Rig::start(|_| ()).await;
    let sent: Vec<Bytes> = (0..200).map(|sequence| sealed(sequence, |_| ())).collect();
    for report in &sent {
        rig.send(report.clone()).await;
    }
    let mut acknowledged = Vec::new();
    for _ in &sent {
        let receipt = rig.receipt().await;
        assert_eq!((receipt.status(), receipt.boot_epoch), (ReceiptStatus::Ok, 77));
        assert_eq!(receipt.server_time_ms, NOW_S * 1_000);
        acknowledged.push(receipt.sequence);
    }
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (0..200).collect::<Vec<_>>());
    rig.assert_all_are_accounted_for();
    let records = rig.records();
    let partition = record::partition(CollectorId([9; 16]), PARTITIONS as u32);
    let mut written = Vec::new();
    for (of, key, schema, value) in &records {
        assert_eq!((*of, key.as_slice(), schema.as_slice()), (partition, &[9; 16][..], &b"1"[..]));
        written.extend(record::decode(value).map(|report| report.unwrap().to_vec()));
    }
    written.retain(|report| sent.iter().any(|sent| sent == report));
    assert_eq!(written, sent, "each once, in order");
    assert_eq!(rig.metric("weighbridge_ingest_records_produced_total"), records.len() as i64);
    assert_eq!(rig.metric("weighbridge_ingest_partitions"), i64::from(PARTITIONS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reports_become_few_records_that_kafka_takes() {
    let mut rig = Rig::start(|ingest| ingest.reports_in_flight_per_stream = 4_000).await;
    let before = rig.records().len();
    let small: Vec<Bytes> = (0..2_500).map(|sequence| sealed(sequence, |_| ())).collect();
    // Just under the limit of a report: it fits behind a pack that is nearly full.
    let large: Vec<Bytes> =
        (0..3).map(|sequence| sealed(9_000 + sequence, |report| report.cells = large_cells())).collect();
    assert!(large[0].len() > 250_000, "{}", large[0].len());
    for report in small.iter().chain(&large) {
        rig.send(report.clone()).await;
    }
    for _ in small.iter().chain(&large) {
        assert_eq!(rig.receipt().await.status(), ReceiptStatus::Ok);
    }
    let records = &rig.records()[before..];
    assert!(records.len() < 100, "{} records", records.len());
    let per_record = |(_, _, _, value): &Record| record::decode(value).count();
    assert!(records.iter().map(per_record).max().unwrap() <= 1_000);
    assert_eq!(records.iter().map(per_record).sum::<usize>(), small.len() + large.len());
    rig.assert_all_are_accounted_for();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_says_why_and_the_stream_goes_on() {
    let mut rig = Rig::start(|_| ()).await;
    let mut broken = sealed(1, |_| ()).to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let cases = [
        (sealed(1, |report| report.schema = 2), Refusal::Schema),
        (sealed(1, |report| report.collector_id = vec![1; 3].into()), Refusal::CollectorId),
        (sealed(1, |report| report.window_start_s += 7), Refusal::Window),
        (sealed(1, |report| report.window_start_s = (NOW_S - 34 * DAY) / 60 * 60 - 60), Refusal::Window),
        (sealed(1, |report| report.window_start_s = NOW_S + DAY + 60), Refusal::Window),
        (sealed(1, |report| report.cells = vec![1]), Refusal::Cells),
        (broken.into(), Refusal::Checksum),
        (sealed(1, |report| report.cells = vec![1 << 60; 70_000]), Refusal::Size),
        (sealed(1, |report| report.environment = 0), Refusal::Header),
    ];
    for (report, refusal) in cases {
        let receipt = rig.deliver(report).await;
        assert_eq!((receipt.status(), receipt.refusal()), (ReceiptStatus::Refused, refusal));
        assert_eq!((receipt.boot_epoch, receipt.sequence), (77, 1));
    }
    let receipt = rig.deliver(Bytes::from_static(&[0xff; 20])).await;
    assert_eq!((receipt.status(), receipt.refusal()), (ReceiptStatus::Refused, Refusal::Header));
    for edge in [NOW_S - 34 * DAY + 60, NOW_S + DAY] {
        let receipt = rig.deliver(sealed(2, |report| report.window_start_s = edge / 60 * 60)).await;
        assert_eq!(receipt.status(), ReceiptStatus::Ok);
    }
    assert_eq!(rig.metric("weighbridge_ingest_reports_refused_total"), 10);
    rig.assert_all_are_accounted_for();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_kafka_the_answer_is_retry_and_never_ok() {
    let mut rig = Rig::start(|_| ()).await;
    let before = rig.records().len();
    rig.mock.broker_down(1).unwrap();
    let receipt = rig.deliver(sealed(5, |_| ())).await;
    assert_eq!(receipt.status(), ReceiptStatus::Retry);
    assert!((1_000..=2_000).contains(&receipt.retry_after_ms), "{receipt:?}");
    rig.assert_all_are_accounted_for();
    rig.mock.broker_up(1).unwrap();
    while rig.deliver(sealed(5, |_| ())).await.status() != ReceiptStatus::Ok {}
    assert!(rig.records().len() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_bytes_ingest_answers_retry() {
    // One report of the rig fits and two do not.
    let mut rig = Rig::start(|ingest| ingest.bytes_in_flight = 100).await;
    rig.mock.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    rig.send(sealed(1, |_| ())).await;
    rig.send(sealed(2, |_| ())).await;
    let (first, second) = (rig.receipt().await, rig.receipt().await);
    assert_eq!((first.sequence, first.status()), (2, ReceiptStatus::Retry));
    assert_eq!((second.sequence, second.status()), (1, ReceiptStatus::Ok));
    assert_eq!(rig.metric("weighbridge_ingest_reports_retried_total{reason=\"overloaded\"}"), 1);
    rig.assert_all_are_accounted_for();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_answers_what_is_in_flight_and_ends_the_stream() {
    let mut rig = Rig::start(|_| ()).await;
    rig.mock.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    for sequence in 0..10 {
        rig.send(sealed(sequence, |_| ())).await;
    }
    while rig.metric("weighbridge_ingest_reports_in_flight") < 10 {
        tokio::task::yield_now().await;
    }
    rig.shutdown.cancel();
    for _ in 0..10 {
        assert_eq!(rig.receipt().await.status(), ReceiptStatus::Ok);
    }
    assert!(timeout(Duration::from_secs(5), rig.receipts.next()).await.unwrap().is_none());
    rig.to_ingest = None;
    timeout(Duration::from_secs(10), &mut rig.serving).await.unwrap().unwrap().unwrap();
    rig.assert_all_are_accounted_for();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_off_forgets_nothing_silently() {
    let Rig { mock, instruments, to_ingest, receipts, shutdown, serving } = Rig::start(|_| ()).await;
    mock.broker_down(1).unwrap();
    to_ingest.as_ref().unwrap().send(sealed(5, |_| ())).await.unwrap();
    let in_flight = || instruments.render().contains("weighbridge_ingest_reports_in_flight 1");
    while !in_flight() {
        tokio::task::yield_now().await;
    }
    drop((to_ingest, receipts));
    let ended = || instruments.render().contains("retried_total{reason=\"stream_ended\"} 1");
    timeout(Duration::from_secs(10), async {
        while !ended() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(!in_flight());
    shutdown.cancel();
    drop(serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_not_confirmed_is_the_failure_of_each_of_its_reports() {
    let mut rig = Rig::start(|_| ()).await;
    rig.mock.broker_down(1).unwrap();
    for sequence in 0..20 {
        rig.send(sealed(sequence, |_| ())).await;
    }
    let mut retried = Vec::new();
    for _ in 0..20 {
        let receipt = rig.receipt().await;
        assert_eq!(receipt.status(), ReceiptStatus::Retry);
        retried.push(receipt.sequence);
    }
    retried.sort_unstable();
    assert_eq!(retried, (0..20).collect::<Vec<_>>());
    assert_eq!(rig.metric("weighbridge_ingest_reports_retried_total{reason=\"not_delivered\"}"), 20);
    rig.assert_all_are_accounted_for();
}
