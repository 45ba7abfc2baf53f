//! From sealed windows to receipts: nothing leaves the spool without one, nothing is sent under another name.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{NOON_MS, attempt, traces};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use weighbridge_collector::deliver::spool::{Spool, SpoolError};
use weighbridge_collector::deliver::uplink::{self, Outbox, UplinkStats};
use weighbridge_collector::intake::{Encoding, Now, Signal};
use weighbridge_collector::profile::Profile;
use weighbridge_collector::window::{Edge, Header, Sealed, boot_epoch};
use weighbridge_proto::report::{self, CheckedReport};
use weighbridge_proto::uplink::uplink_server::{Uplink, UplinkServer};
use weighbridge_proto::v1::{Environment, GatewayProduct, Receipt, ReceiptStatus, Refusal, Vantage};

const MINUTE_MS: u64 = 60_000;

fn edge(spool: &Spool) -> Edge {
    let header = Header {
        collector: spool.collector(),
        boot_epoch: boot_epoch(NOON_MS, 7),
        window_s: 60,
        environment: Environment::Production,
        vantage: Vantage::Gateway,
        gateway_product: GatewayProduct::Litellm,
    };
    Edge::new(common::intake(Profile::Litellm, NOON_MS), header, NOON_MS)
}

fn count(edge: &mut Edge, id: u8, now_ms: u64) {
    let mut span = attempt(id, &format!("call {id}"), "openai/gpt-4o", None);
    span.end_time_unix_nano = now_ms * 1_000_000;
    edge.intake().take(Signal::Traces, Encoding::Protobuf, &traces(vec![span]), Now::At(now_ms)).unwrap();
}

fn checked(sealed: &Sealed) -> CheckedReport {
    report::check(&sealed.bytes).unwrap()
}

#[test]
fn windows_follow_the_callers_clock_and_lose_nothing_when_it_steps() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 1 << 20).unwrap();
    let mut edge = edge(&spool);
    let (day, hour) = (24 * 60 * MINUTE_MS, 60 * MINUTE_MS);
    // On time, within the window, late by some windows, a day ahead, back again.
    let clock = [
        NOON_MS + 59_999,
        NOON_MS + MINUTE_MS,
        NOON_MS + MINUTE_MS + 1,
        NOON_MS + hour,
        NOON_MS + day,
        NOON_MS + 5,
    ];
    let mut reports = Vec::new();
    for (id, now_ms) in clock.into_iter().enumerate() {
        count(&mut edge, id as u8 + 1, now_ms);
        reports.extend(edge.tick(now_ms).map(|sealed| checked(&sealed)));
    }
    reports.push(checked(&edge.finish()));
    let starts: Vec<_> =
        reports.iter().map(|report| (report.window_start.0 * 1_000) as i64 - NOON_MS as i64).collect();
    assert_eq!(starts, [0, MINUTE_MS as i64, hour as i64, day as i64, 0]);
    let requests: Vec<u64> =
        reports.iter().map(|r| r.cells.iter().map(|cell| cell.counts.requests).sum()).collect();
    assert_eq!(requests, [2, 2, 1, 1, 0]);
    for (place, report) in reports.iter().enumerate() {
        assert_eq!(report.identity.sequence.0, place as u64);
        assert_eq!(report.totals.requests, requests[..=place].iter().sum::<u64>(), "running total");
    }
}

#[test]
fn the_spool_survives_restarts_damage_and_its_own_bound() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
    let collector = spool.collector();
    assert!(matches!(Spool::open(folder.path(), 1 << 20), Err(SpoolError::InUse(_))));
    let mut edge = edge(&spool);
    let mut sealed = Vec::new();
    for minute in 1..=4 {
        count(&mut edge, minute as u8, NOON_MS + minute * MINUTE_MS - 1);
        sealed.extend(edge.tick(NOON_MS + minute * MINUTE_MS));
        spool.append(sealed.last().unwrap()).unwrap();
    }
    drop(spool);
    // A write that was cut, a flipped bit, a foreign file.
    let report_file = |sequence: usize| {
        let name = format!("{:016x}-{sequence:016x}.report", sealed[0].identity.boot_epoch.0);
        folder.path().join("spool").join(name)
    };
    std::fs::write(folder.path().join("spool/x.tmp"), b"half").unwrap();
    let mut damaged = std::fs::read(report_file(1)).unwrap();
    damaged[20] ^= 1;
    std::fs::write(report_file(1), damaged).unwrap();
    std::fs::write(folder.path().join("spool/foreign"), b"?").unwrap();

    // A small report is a file of one block.
    assert!(sealed.iter().all(|sealed| sealed.bytes.len() < 4_096));
    let mut spool = Spool::open(folder.path(), 3 * 4_096 + 8).unwrap();
    assert_eq!(spool.collector(), collector, "the same collector");
    assert_eq!((spool.size(), spool.damaged()), ((3, 3 * 4_096), 2));
    let oldest = spool.oldest(|_| false).unwrap();
    assert_eq!(spool.read(oldest).unwrap(), sealed[0].bytes, "as sealed");
    // Over the bound the oldest goes, and the caller learns what was in it.
    count(&mut edge, 9, NOON_MS + 5 * MINUTE_MS - 1);
    spool.append(&edge.tick(NOON_MS + 5 * MINUTE_MS).unwrap()).unwrap();
    let dropped = spool.take_dropped();
    assert_eq!((dropped.reports, dropped.requests), (1, 1));
    assert_eq!((spool.size().0, spool.take_dropped().reports), (3, 0));
    // Also when the one that it made room for cannot be written: what went is told.
    let sixth = edge.tick(NOON_MS + 6 * MINUTE_MS).unwrap();
    std::fs::create_dir(report_file(5)).unwrap();
    assert!(spool.append(&sixth).is_err());
    assert_eq!((spool.size().0, spool.take_dropped().reports), (2, 1));
    std::fs::remove_dir(report_file(5)).unwrap();
    std::fs::write(folder.path().join("collector-id"), "not an id").unwrap();
    drop(spool);
    assert!(matches!(Spool::open(folder.path(), 1 << 20), Err(SpoolError::CollectorId(_))));
}

/// An ingest that answers as it is told.
#[derive(Clone, Default)]
struct FakeIngest {
    received: Arc<Mutex<Vec<Bytes>>>,
    answer_ok: Arc<AtomicBool>,
    refuse_sequence: Option<u64>,
}

#[tonic::async_trait]
impl Uplink for FakeIngest {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Receipt, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let ingest = self.clone();
        let receipts = request.into_inner().map(move |bytes| {
            let bytes = bytes?;
            let identity = report::identity(&bytes).expect("sealed bytes arrive unchanged");
            ingest.received.lock().unwrap().push(bytes);
            let mut receipt = Receipt {
                boot_epoch: identity.boot_epoch.0,
                sequence: identity.sequence.0,
                status: ReceiptStatus::Retry.into(),
                ..Receipt::default()
            };
            if ingest.refuse_sequence == Some(identity.sequence.0) {
                receipt.set_status(ReceiptStatus::Refused);
                receipt.set_refusal(Refusal::Window);
            } else if ingest.answer_ok.load(Ordering::SeqCst) {
                receipt.set_status(ReceiptStatus::Ok);
            }
            Ok(receipt)
        });
        Ok(Response::new(Box::pin(receipts)))
    }
}

async fn serve(ingest: FakeIngest, listener: TcpListener, stop: CancellationToken) {
    Server::builder()
        .add_service(UplinkServer::new(ingest))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await
        .unwrap();
}

fn spooled(folder: &std::path::Path, reports: u64) -> (Outbox, Vec<Bytes>) {
    let mut spool = Spool::open(folder, 1 << 20).unwrap();
    let mut edge = edge(&spool);
    let mut sent = Vec::new();
    for minute in 1..=reports {
        count(&mut edge, minute as u8, NOON_MS + minute * MINUTE_MS - 1);
        let sealed = edge.tick(NOON_MS + minute * MINUTE_MS).unwrap();
        spool.append(&sealed).unwrap();
        sent.push(sealed.bytes);
    }
    (Outbox::new(spool), sent)
}

fn start_uplink(outbox: &Outbox, address: SocketAddr) -> (Arc<UplinkStats>, CancellationToken) {
    let stats = Arc::new(UplinkStats::default());
    let stop = CancellationToken::new();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    tokio::spawn(uplink::run(outbox.clone(), endpoint, Arc::clone(&stats), stop.clone()));
    (stats, stop)
}

async fn within<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

#[tokio::test]
async fn a_report_stays_until_it_is_acknowledged_and_is_sent_again_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, sent) = spooled(folder.path(), 3);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ingest = FakeIngest::default();
    tokio::spawn(serve(ingest.clone(), listener, CancellationToken::new()));
    let (stats, _stop) = start_uplink(&outbox, address);
    let retried = async {
        while stats.retried.load(Ordering::Relaxed) < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("three RETRY receipts", retried).await;
    assert_eq!(outbox.with(|spool| spool.size().0), 3, "RETRY is no acknowledgement");
    ingest.answer_ok.store(true, Ordering::SeqCst);
    within("an empty spool", outbox.empty()).await;
    assert_eq!(stats.acknowledged.load(Ordering::Relaxed), 3);
    let received = ingest.received.lock().unwrap();
    assert!(received.len() >= 6);
    assert!(received.iter().all(|bytes| sent.contains(bytes)), "the same bytes every time");
}

#[tokio::test]
async fn a_refused_report_is_set_aside_and_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, _) = spooled(folder.path(), 3);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ingest = FakeIngest { refuse_sequence: Some(1), ..FakeIngest::default() };
    ingest.answer_ok.store(true, Ordering::SeqCst);
    tokio::spawn(serve(ingest, listener, CancellationToken::new()));
    let (stats, _stop) = start_uplink(&outbox, address);
    within("an empty spool", outbox.empty()).await;
    assert_eq!(stats.acknowledged.load(Ordering::Relaxed), 2);
    assert_eq!(stats.refused.load(Ordering::Relaxed), 1);
    assert_eq!(std::fs::read_dir(folder.path().join("refused")).unwrap().count(), 1);
}

#[tokio::test]
async fn reports_wait_for_an_ingest_that_is_away_and_for_one_that_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (outbox, sent) = spooled(folder.path(), 2);
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let (stats, _stop) = start_uplink(&outbox, address);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(outbox.with(|spool| spool.size().0), 2);
    let ingest = FakeIngest::default();
    ingest.answer_ok.store(true, Ordering::SeqCst);
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(serve(ingest.clone(), listener, CancellationToken::new()));
    within("an empty spool", outbox.empty()).await;
    assert_eq!(*ingest.received.lock().unwrap(), sent, "oldest first, once each");
    assert_eq!(stats.acknowledged.load(Ordering::Relaxed), 2);
}
