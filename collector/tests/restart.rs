//! What comes once survives a `kill -9` and a disk that refuses: real processes, told by the reports in the spool.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{attempt, counts, int, metrics, point, text, traces};
use opentelemetry_proto::tonic::trace::v1::Span;
use tempfile::TempDir;
use weighbridge_catalog::{Hosting, ModelId, Openness, ProviderId};
use weighbridge_collector::deliver::checkpoint::CheckpointFile;
use weighbridge_collector::deliver::spool::{Position, Spool};
use weighbridge_collector::deliver::state_file::StateFile;
use weighbridge_collector::window::Sealed;
use weighbridge_proto::cells::{self, Cell, CellKey, Counts};
use weighbridge_proto::report::{self, BootEpoch, CheckedReport, Identity, Sequence};
use weighbridge_proto::v1::{
    Choice, Environment, GatewayProduct, Operation, Outcome, Report, Streaming, Vantage,
};

/// Bound of every wait.
const LIMIT: Duration = Duration::from_secs(30);

fn now_nano() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// An attempt that ended now.
fn span(id: u64, call: u64, served: &str, error: Option<&str>) -> Span {
    let mut span = attempt(0, &format!("call {call}"), served, error);
    span.span_id = (id + 1).to_be_bytes().to_vec();
    span.end_time_unix_nano = now_nano();
    span
}

fn whole(ids: std::ops::Range<u64>) -> Vec<u8> {
    traces(ids.map(|id| span(id, id, "openai/gpt-4o", None)).collect())
}

/// A data folder and the collectors that use it, one after the other.
struct Rig {
    folder: TempDir,
    otlp: u16,
    running: Option<Child>,
    client: reqwest::Client,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Rig {
    fn new(signal: &str, window_s: u32) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let otlp = free_port();
        let config = format!(
            "data_folder: {}\nenvironment: production\nwindow_s: {window_s}\n\
             source: {{otlp: {{profile: litellm, signal: {signal}, grpc_listen: null, http_listen: '127.0.0.1:{otlp}'}}}}\n\
             uplink: {{endpoint: 'http://127.0.0.1:1', drain_timeout_s: 0}}\nadmin: {{listen: '127.0.0.1:0'}}\n",
            folder.path().join("data").display()
        );
        fs::write(folder.path().join("collector.yaml"), config).unwrap();
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Rig { folder, otlp, running: None, client }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn start(&mut self) {
        self.start_as(Command::new(env!("CARGO_BIN_EXE_weighbridge-collector")));
    }

    fn start_as(&mut self, mut command: Command) {
        let config = self.folder.path().join("collector.yaml");
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
        self.running = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn terminate(&mut self) {
        let mut child = self.running.take().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    async fn post(&self, path: &str, body: Vec<u8>) {
        let url = format!("http://127.0.0.1:{}/v1/{path}", self.otlp);
        let sent = async {
            loop {
                let request = self.client.post(&url).header("content-type", "application/x-protobuf");
                match request.body(body.clone()).send().await {
                    Ok(answer) => break assert!(answer.status().is_success(), "{answer:?}"),
                    // Not listening yet.
                    Err(error) if error.is_connect() => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::time::timeout(LIMIT, sent).await.expect("the collector answers");
    }

    /// Waits until the checkpoint on disk holds `requests` requests and `attempts` attempts.
    async fn checkpointed(&self, requests: u64, attempts: u64) {
        let path = self.data().join("open-window");
        let told = async {
            loop {
                let report = fs::read(&path).ok().map(|bytes| open_report(&bytes));
                let sums = report.as_ref().map(|report| sums(std::slice::from_ref(report)));
                if sums.is_some_and(|sums| (sums.requests, sums.attempts) == (requests, attempts)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, told).await.expect("a checkpoint with these counts");
    }

    fn reports(&self) -> Vec<CheckedReport> {
        spooled(&self.data())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Every report in the spool of a data folder.
fn spooled(data: &Path) -> Vec<CheckedReport> {
    let files = fs::read_dir(data.join("spool")).unwrap().map(|file| file.unwrap().path());
    let reports = files.filter(|path| path.extension().is_some_and(|extension| extension == "report"));
    reports.map(|path| report::check(&fs::read(path).unwrap()).unwrap()).collect()
}

/// The report in a checkpoint: after eight bytes of magic and its length.
fn open_report(bytes: &[u8]) -> CheckedReport {
    let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    report::check(&bytes[12..12 + length]).unwrap()
}

fn sums(reports: &[CheckedReport]) -> Counts {
    let mut sums = Counts::default();
    reports.iter().flat_map(|report| &report.cells).for_each(|cell| sums.add(&cell.counts));
    sums
}

#[tokio::test]
async fn a_kill_costs_nothing_that_was_checkpointed_and_what_is_sent_again_counts_once() {
    let mut rig = Rig::new("traces", 3_600);
    let mut sent = 0;
    for round in 0..5 {
        rig.start();
        if round > 0 {
            // Its answer was lost with the process that was killed, so the exporter sends it again.
            rig.post("traces", whole(sent - 20..sent)).await;
        }
        rig.post("traces", whole(sent..sent + 40)).await;
        sent += 40;
        rig.checkpointed(40, 40).await;
        rig.kill();
    }
    rig.start();
    rig.post("traces", whole(sent - 40..sent)).await;
    rig.terminate();
    assert_eq!(sums(&rig.reports()).requests, sent);
    assert!(!rig.data().join("open-window").exists(), "sealed, so no window is open");
}

#[tokio::test]
async fn a_fallback_after_a_kill_still_belongs_to_the_call_that_failed_before() {
    let mut rig = Rig::new("traces", 3_600);
    rig.start();
    rig.post("traces", traces(vec![span(1, 7, "openai/gpt-4o", Some("RateLimitError"))])).await;
    rig.checkpointed(0, 1).await;
    rig.kill();
    rig.start();
    rig.post("traces", traces(vec![span(2, 7, "groq/llama-3.3-70b-versatile", None)])).await;
    rig.terminate();
    let reports = rig.reports();
    assert_eq!(sums(&reports), counts(1, 2, 11, 7));
    let request = reports.iter().flat_map(|report| &report.cells).find(|cell| cell.counts.requests == 1);
    assert_eq!(request.unwrap().key.choice, Choice::Fallback);
}

#[tokio::test]
async fn cumulative_counters_lose_nothing_by_a_kill() {
    let mut rig = Rig::new("metrics", 3_600);
    let started = now_nano();
    // A process that began after the collector, `count` operations so far.
    let page = |start_nano: u64, count: u64| {
        let attributes = vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.request.model", "gpt-4o"),
            text("gen_ai.response.model", "gpt-4o"),
            int("server.port", 443),
        ];
        let mut duration = point(attributes, 0, 0, count, count as f64);
        duration.start_time_unix_nano = start_nano;
        duration.time_unix_nano = now_nano();
        metrics("one", 2, vec![("gen_ai.client.operation.duration", vec![duration])])
    };
    rig.start();
    rig.post("metrics", page(started + 60_000_000_000, 100)).await;
    rig.checkpointed(100, 100).await;
    rig.kill();
    // It went on while the collector was away.
    rig.start();
    rig.post("metrics", page(started + 60_000_000_000, 160)).await;
    rig.checkpointed(60, 60).await;
    rig.kill();
    rig.start();
    rig.post("metrics", page(started + 60_000_000_000, 160)).await;
    rig.terminate();
    assert_eq!(sums(&rig.reports()).requests, 160);
}

/// A disk of a megabyte in a namespace of its own, which the test fills and empties.
#[tokio::test]
async fn a_full_disk_costs_nothing() {
    let mut rig = Rig::new("traces", 10);
    fs::create_dir(rig.data()).unwrap();
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size=1m none '{}' && exec \"$@\"", rig.data().display());
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"]);
    command.arg(env!("CARGO_BIN_EXE_weighbridge-collector"));
    rig.start_as(command);
    rig.post("traces", whole(0..30)).await;
    let inside = format!("/proc/{}/root{}", rig.running.as_ref().unwrap().id(), rig.data().display());
    let inside = Path::new(&inside);
    let mut filler = fs::File::create(inside.join("filler")).unwrap();
    // Until it is full to the last byte.
    while filler.write_all(&[0; 512]).is_ok() {}
    let before = spooled(inside).len();
    // Two windows and more pass while nothing can be written.
    for part in 1..26 {
        rig.post("traces", whole(part * 30..(part + 1) * 30)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(spooled(inside).len(), before, "the disk was full");
    drop(filler);
    fs::remove_file(inside.join("filler")).unwrap();
    // The mount goes with the process, so the reports are read while it runs.
    let all_kept = async {
        while sums(&spooled(inside)).requests < 26 * 30 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let kept = tokio::time::timeout(LIMIT, all_kept).await;
    assert!(kept.is_ok(), "{:?} of {} requests", sums(&spooled(inside)), 26 * 30);
    let reports = spooled(inside);
    assert_eq!(sums(&reports).requests, 26 * 30);
    assert!(reports.len() >= before + 2, "windows stayed as they were");
    assert!(reports.iter().all(|report| report.dropped_requests == 0));
    rig.kill();
}

/// A report of `requests` requests at `sequence`, with a state that names it.
fn sealed(spool: &Spool, boot_epoch: u64, sequence: u64, requests: u64) -> Sealed {
    let identity = Identity {
        collector: spool.collector(),
        boot_epoch: BootEpoch(boot_epoch),
        sequence: Sequence(sequence),
    };
    let key = CellKey {
        model: ModelId(3),
        provider: ProviderId::UNLISTED,
        openness: Openness::Closed,
        hosting: Hosting::FirstParty,
        operation: Operation::Chat,
        choice: Choice::First,
        streaming: Streaming::No,
        outcome: Outcome::Ok,
    };
    let cell = Cell { key, counts: Counts { requests, ..Counts::default() } };
    let report = Report {
        schema: report::SCHEMA,
        collector_id: identity.collector.0.to_vec().into(),
        boot_epoch,
        sequence,
        window_start_s: common::NOON_MS / 1_000,
        window_s: 60,
        catalogue_version: 2_026_112_301,
        environment: Environment::Production.into(),
        vantage: Vantage::Gateway.into(),
        gateway_product: GatewayProduct::Litellm.into(),
        cells: cells::pack(&[cell]),
        total_requests: requests,
        ..Report::default()
    };
    let state = Some(format!("{boot_epoch}/{sequence}/{requests}").into_bytes());
    Sealed { identity, bytes: report::seal(&report), state, read_to: None }
}

#[test]
fn a_window_is_taken_over_or_was_sealed_at_every_crash_point() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
    let (state_file, checkpoints) = (StateFile::new(folder.path()), CheckpointFile::new(folder.path()));
    let recover = |spool: &mut Spool| {
        let found = checkpoints.recover(spool, &state_file, |_| Ok(())).unwrap();
        let state = state_file.recover(|position| spool.holds(position)).unwrap().map(|(_, state)| state);
        (found.map(|found| found.requests), state.map(|state| String::from_utf8(state).unwrap()))
    };
    assert_eq!(recover(&mut spool), (None, None), "a first start");
    // Killed in the first window.
    checkpoints.write(&sealed(&spool, 5, 0, 10)).unwrap();
    assert_eq!(recover(&mut spool), (Some(10), Some("5/0/10".to_owned())));
    assert_eq!(recover(&mut spool), (None, Some("5/0/10".to_owned())), "killed again at once");
    // Killed after the report was spooled and before its state was put in place.
    let last = sealed(&spool, 6, 0, 12);
    checkpoints.write(&sealed(&spool, 6, 0, 11)).unwrap();
    state_file.prepare(&last).unwrap();
    spool.append(&last).unwrap();
    assert_eq!(recover(&mut spool), (None, Some("6/0/12".to_owned())));
    // Killed after that, when the report was even acknowledged, and the checkpoint came back with a power loss.
    checkpoints.write(&sealed(&spool, 6, 0, 11)).unwrap();
    spool.acknowledge(Position::of(&last)).unwrap();
    assert_eq!(recover(&mut spool), (None, Some("6/0/12".to_owned())));
    // Killed before the report was spooled: the checkpoint holds, its state too.
    checkpoints.write(&sealed(&spool, 6, 1, 20)).unwrap();
    state_file.prepare(&sealed(&spool, 6, 1, 21)).unwrap();
    assert_eq!(recover(&mut spool), (Some(20), Some("6/1/20".to_owned())));
    // A clock that stepped back names the next start by a smaller number.
    checkpoints.write(&sealed(&spool, 4, 0, 30)).unwrap();
    assert_eq!(recover(&mut spool), (Some(30), Some("4/0/30".to_owned())));
    let spooled = [(5, 0), (6, 1), (4, 0)]
        .map(|(epoch, sequence)| Position { boot_epoch: BootEpoch(epoch), sequence: Sequence(sequence) });
    assert!(spooled.iter().all(|position| spool.holds(*position)));
    assert_eq!(spool.size().0, 3);
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), 1 << 20).unwrap();
    let (state_file, checkpoints) = (StateFile::new(folder.path()), CheckpointFile::new(folder.path()));
    let path = folder.path().join("open-window");
    checkpoints.write(&sealed(&spool, 5, 0, 10)).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        for damaged in [&bytes[..], &whole[..at]] {
            fs::write(&path, damaged).unwrap();
            assert!(checkpoints.recover(&mut spool, &state_file, |_| Ok(())).unwrap().is_none());
            assert!(folder.path().join("open-window.damaged").exists() && !path.exists());
        }
    }
    assert_eq!(spool.size().0, 0);
}
