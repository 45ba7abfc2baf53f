//! Simulated collectors: each seals reports, keeps them until a receipt says OK, sends them again over a new stream, some out of
//! order, some twice, with clocks that step and starts that begin anew. What they sealed is the truth.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fastrand::Rng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use weighbridge_proto::cells::Counts;
use weighbridge_proto::uplink::uplink_client::UplinkClient;
use weighbridge_proto::v1::ReceiptStatus;

use crate::simulated::Start;

/// Name of a report: collector, boot epoch, sequence.
pub(super) type Name = (u128, u64, u64);

/// What was sealed.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Cells of each report by model, which is distinct within a report.
    pub(super) reports: HashMap<Name, BTreeMap<u32, Counts>>,
    /// Reports whose collector lost its disk before they were acknowledged: there once or not at all.
    pub(super) maybe: HashSet<Name>,
    /// Answers that no report of ours may get.
    pub(super) wrong_answers: Vec<String>,
}

/// Reports of a stream that wait for their receipt.
const IN_FLIGHT: usize = 64;
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// Less than the real collector's minute, so that a swallowed answer costs a run little.
const RECEIPT_LIMIT: Duration = Duration::from_secs(8);
/// Everything must be acknowledged within this time of the last fault.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);
const DAY: u64 = 86_400;

/// The collectors, running.
#[derive(Debug)]
pub(super) struct Fleet {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Shared {
    truth: Mutex<Truth>,
    sealed: AtomicU64,
    acknowledged: AtomicU64,
    streams: AtomicU64,
}

impl Fleet {
    pub(super) fn start(collectors: usize, ingest: Vec<String>, mut random: Rng) -> Fleet {
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for _ in 0..collectors {
            let random = random.fork();
            let member = Member::new(ingest.clone(), Arc::clone(&shared), stopping.clone(), random);
            tasks.spawn(member.run());
        }
        Fleet { tasks, shared, stop }
    }

    pub(super) fn progress(&self) -> String {
        let [sealed, acknowledged, streams] =
            [&self.shared.sealed, &self.shared.acknowledged, &self.shared.streams]
                .map(|count| count.load(Ordering::Relaxed));
        format!("{sealed} reports sealed, {acknowledged} acknowledged, {streams} streams")
    }

    /// Seals nothing more and waits until every report is acknowledged.
    pub(super) async fn finish(mut self) -> Truth {
        self.stop.send_replace(true);
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("a simulated collector");
            }
        };
        let drained = timeout(DRAIN_LIMIT, all).await;
        assert!(drained.is_ok(), "not acknowledged within {DRAIN_LIMIT:?}: {}", self.progress());
        std::mem::take(&mut *self.shared.truth.lock().expect("the truth"))
    }
}

/// One collector.
struct Member {
    ingest: Vec<String>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    random: Rng,
    start: Start,
    /// Steps of its clock, seconds.
    clock_off_s: i64,
    spool: BTreeMap<(u64, u64), Bytes>,
    acknowledged: Vec<Bytes>,
    due: Instant,
}

impl Member {
    fn new(ingest: Vec<String>, shared: Arc<Shared>, stop: watch::Receiver<bool>, mut random: Rng) -> Member {
        let start = Start::new(random.u128(1..), random.u64(1 << 20..1 << 60));
        Member {
            ingest,
            shared,
            stop,
            random,
            start,
            clock_off_s: 0,
            spool: BTreeMap::new(),
            acknowledged: Vec::new(),
            due: Instant::now(),
        }
    }

    async fn run(mut self) {
        loop {
            self.seal_what_is_due();
            if *self.stop.borrow() && self.spool.is_empty() {
                return;
            }
            // Ends when the network or ingest ends it.
            self.stream().await;
            sleep(Duration::from_millis(self.random.u64(20..250))).await;
        }
    }

    async fn stream(&mut self) -> Option<()> {
        let url = self.random.choice(&self.ingest)?.clone();
        let mut client = timeout(CONNECT_LIMIT, UplinkClient::connect(url)).await.ok()?.ok()?;
        let (reports, outgoing) = mpsc::channel(IN_FLIGHT);
        let answer =
            timeout(CONNECT_LIMIT, client.deliver(ReceiverStream::new(outgoing))).await.ok()?.ok()?;
        let mut receipts = answer.into_inner();
        self.shared.streams.fetch_add(1, Ordering::Relaxed);
        // Sometimes it goes elsewhere although all is well.
        let leave_at = Instant::now() + Duration::from_millis(self.random.u64(2_000..20_000));
        let mut in_flight: HashSet<(u64, u64)> = HashSet::new();
        let mut heard = Instant::now();
        loop {
            self.seal_what_is_due();
            self.send(&reports, &mut in_flight);
            if in_flight.is_empty() {
                heard = Instant::now();
                if *self.stop.borrow() && self.spool.is_empty() {
                    return Some(());
                }
            }
            tokio::select! {
                receipt = receipts.message() => {
                    let receipt = receipt.ok()??;
                    heard = Instant::now();
                    let name = (receipt.boot_epoch, receipt.sequence);
                    in_flight.remove(&name);
                    match receipt.status() {
                        ReceiptStatus::Ok => self.settle(name),
                        ReceiptStatus::Retry | ReceiptStatus::Unspecified => {}
                        ReceiptStatus::Refused => self.wrong(format!("refused: {receipt:?}")),
                    }
                }
                () = tokio::time::sleep_until(self.due) => {}
            }
            if heard.elapsed() > RECEIPT_LIMIT || Instant::now() > leave_at {
                return None;
            }
        }
    }

    /// Out of order, and a copy now and then.
    fn send(&mut self, reports: &mpsc::Sender<Bytes>, in_flight: &mut HashSet<(u64, u64)>) {
        let mut open: Vec<_> = self.spool.keys().filter(|name| !in_flight.contains(name)).copied().collect();
        self.random.shuffle(&mut open);
        for name in open.into_iter().take(IN_FLIGHT.saturating_sub(in_flight.len())) {
            let Some(bytes) = self.spool.get(&name) else { continue };
            if reports.try_send(bytes.clone()).is_err() {
                return;
            }
            in_flight.insert(name);
        }
        if self.random.u8(..) < 8
            && let Some(copy) = self.random.choice(&self.acknowledged)
        {
            // Where there is no room the copy is not sent.
            let _ = reports.try_send(copy.clone());
        }
    }

    fn settle(&mut self, name: (u64, u64)) {
        if let Some(bytes) = self.spool.remove(&name) {
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            let at = self.random.usize(..=self.acknowledged.len().min(20));
            self.acknowledged.truncate(20);
            self.acknowledged.insert(at.min(self.acknowledged.len()), bytes);
        }
    }

    fn wrong(&self, what: String) {
        self.shared.truth.lock().expect("the truth").wrong_answers.push(what);
    }

    fn seal_what_is_due(&mut self) {
        while Instant::now() >= self.due && !*self.stop.borrow() && self.spool.len() < 200 {
            self.due += Duration::from_millis(self.random.u64(100..500));
            match self.random.u16(..1_000) {
                // Started again: another boot epoch, the spool is kept.
                0..15 => self.begin(),
                // Its disk is lost: another collector, what was not acknowledged is gone.
                15..18 => {
                    let mut truth = self.shared.truth.lock().expect("the truth");
                    let lost = self.spool.keys().map(|(epoch, sequence)| (self.start.id, *epoch, *sequence));
                    truth.maybe.extend(lost);
                    drop(truth);
                    self.spool.clear();
                    self.acknowledged.clear();
                    self.start.id = self.random.u128(1..);
                    self.begin();
                }
                // A clock steps by up to a day, either way, and over a change of daylight time.
                18..40 => self.clock_off_s = self.random.i64(-86_400..80_000),
                _ => {}
            }
            self.seal();
        }
        if Instant::now() >= self.due {
            self.due = Instant::now() + Duration::from_millis(300);
        }
    }

    fn begin(&mut self) {
        self.start = Start::new(self.start.id, self.random.u64(1 << 20..1 << 60));
    }

    fn seal(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let late_s = if self.random.u8(..) < 30 { self.random.u64(..3 * DAY) } else { 0 };
        let start = now.saturating_add_signed(self.clock_off_s).saturating_sub(late_s) / 60 * 60;
        let mut counted = BTreeMap::new();
        for _ in 0..self.random.u32(..20) {
            let requests = self.random.u64(1..200);
            let counts = Counts {
                requests,
                attempts: requests + self.random.u64(..5),
                input_tokens: self.random.u64(..1_000_000),
                output_tokens: self.random.u64(..100_000),
            };
            counted.insert(self.random.u32(1..600), counts);
        }
        let name = (self.start.id, self.start.boot_epoch, self.start.sequence);
        let report = self.start.seal((start, 60), counted.iter().map(|(model, counts)| (*model, *counts)));
        self.shared.truth.lock().expect("the truth").reports.insert(name, counted);
        self.spool.insert((name.1, name.2), report);
        self.shared.sealed.fetch_add(1, Ordering::Relaxed);
    }
}
