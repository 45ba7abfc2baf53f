//! Following a log file: every line once, over rotation, truncation, restarts and `kill -9`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weighbridge_collector::config::StartAt;
use weighbridge_collector::deliver::position::LogPositions;
use weighbridge_collector::deliver::spool::Spool;
use weighbridge_collector::receiver::tail::Tail;
use weighbridge_collector::source::access_log::LogPosition;
use weighbridge_collector::window::Sealed;
use weighbridge_proto::report::{BootEpoch, CollectorId, Identity, Sequence};

/// A log whose lines are numbers, and what a tail read of it.
struct Log {
    folder: tempfile::TempDir,
    written: u64,
    read: Vec<String>,
    position: Option<LogPosition>,
    now_ms: u64,
}

impl Log {
    fn new() -> Log {
        let folder = tempfile::tempdir().unwrap();
        Log { folder, written: 0, read: Vec::new(), position: None, now_ms: 0 }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }

    fn rotated(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, path: &Path, text: &str) {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        self.written += 1;
        format!("{{\"line\":{},\"padding\":\"abcdefghijklmnopqrstuvwxyz\"}}\n", self.written)
    }

    fn write(&mut self, lines: u64) {
        for _ in 0..lines {
            let line = self.line();
            self.append(&self.path(), &line);
        }
    }

    fn tail(&self) -> Tail {
        Tail::new(self.path(), StartAt::Beginning, self.position)
    }

    /// Looks twice, further apart than a writer needs to reopen its file.
    fn poll(&mut self, tail: &mut Tail) {
        for _ in 0..3 {
            self.now_ms += 2_000;
            tail.poll(self.now_ms, |lines, position| {
                let text = std::str::from_utf8(lines).unwrap();
                self.read.extend(text.lines().map(str::to_owned));
                self.position = Some(position);
            })
            .unwrap();
        }
    }

    fn assert_exact(&self) {
        let numbers: Vec<u64> = self
            .read
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["line"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (1..=self.written).collect::<Vec<_>>());
    }
}

#[test]
fn a_partial_line_waits_for_its_newline() {
    let mut log = Log::new();
    let mut tail = log.tail();
    log.poll(&mut tail);
    log.write(2);
    let line = log.line();
    log.append(&log.path(), &line[..9]);
    log.poll(&mut tail);
    assert_eq!(log.read.len(), 2);
    log.append(&log.path(), &line[9..]);
    log.poll(&mut tail);
    log.assert_exact();
}

#[test]
fn a_renamed_file_is_read_to_its_end() {
    let mut log = Log::new();
    let mut tail = log.tail();
    log.write(3);
    log.poll(&mut tail);
    log.write(2);
    fs::rename(log.path(), log.rotated("access.log.1")).unwrap();
    // The writer has not reopened yet.
    let late = log.line();
    log.append(&log.rotated("access.log.1"), &late);
    log.poll(&mut tail);
    log.write(4);
    log.poll(&mut tail);
    // No newline at the end of a file that is left.
    let last = log.line();
    log.append(&log.path(), last.trim_end());
    log.poll(&mut tail);
    fs::rename(log.path(), log.rotated("access.log.2")).unwrap();
    log.write(1);
    log.poll(&mut tail);
    log.assert_exact();
}

#[test]
fn several_rotations_while_away_lose_nothing() {
    let mut log = Log::new();
    let mut tail = log.tail();
    log.write(3);
    log.poll(&mut tail);
    drop(tail);
    for name in ["access.log-20261121", "access.log-20261122", "access.log-20261123"] {
        log.write(2);
        std::thread::sleep(Duration::from_millis(20));
        fs::rename(log.path(), log.rotated(name)).unwrap();
    }
    log.write(5);
    fs::write(log.rotated("access.log.notes"), "not a log").unwrap();
    fs::write(log.rotated("access.log.9.gz"), "not a log").unwrap();
    let mut tail = log.tail();
    log.poll(&mut tail);
    log.assert_exact();
}

#[test]
fn copy_and_truncate_loses_nothing_that_was_copied() {
    for is_away in [false, true] {
        let mut log = Log::new();
        let mut tail = log.tail();
        log.write(3);
        log.poll(&mut tail);
        log.write(2);
        if is_away {
            drop(tail);
            tail = Tail::new(log.path(), StartAt::End, log.position);
        }
        fs::copy(log.path(), log.rotated("access.log.1")).unwrap();
        fs::write(log.path(), "").unwrap();
        // Longer than before by the time somebody looks.
        log.write(9);
        log.poll(&mut tail);
        log.write(1);
        log.poll(&mut tail);
        log.assert_exact();
    }
}

#[test]
fn truncation_without_a_copy_begins_anew() {
    let mut log = Log::new();
    let mut tail = log.tail();
    log.write(3);
    log.poll(&mut tail);
    fs::write(log.path(), "").unwrap();
    log.poll(&mut tail);
    log.write(1);
    log.poll(&mut tail);
    log.assert_exact();
}

#[test]
fn resumes_where_it_was_and_begins_at_the_end_of_an_unknown_file() {
    let mut log = Log::new();
    log.append(&log.path(), "{\"old\":1}\n{\"cut");
    let mut tail = Tail::new(log.path(), StartAt::End, None);
    log.poll(&mut tail);
    log.append(&log.path(), "\":1}\n");
    log.write(3);
    log.poll(&mut tail);
    for _ in 0..3 {
        drop(tail);
        log.write(2);
        tail = Tail::new(log.path(), StartAt::End, log.position);
        log.poll(&mut tail);
    }
    log.assert_exact();
}

#[test]
fn a_file_that_appears_later_is_read_from_its_beginning() {
    let mut log = Log::new();
    let mut tail = Tail::new(log.path(), StartAt::End, None);
    log.poll(&mut tail);
    log.write(2);
    log.poll(&mut tail);
    log.assert_exact();
}

#[test]
fn an_overlong_line_is_handed_on_cut_and_the_next_one_whole() {
    let mut log = Log::new();
    let mut tail = log.tail();
    log.write(1);
    log.append(&log.path(), &"x".repeat(3 * 1024 * 1024));
    log.poll(&mut tail);
    log.append(&log.path(), &("y".repeat(1024 * 1024) + "\n"));
    log.write(2);
    log.poll(&mut tail);
    let long = log.read.remove(1);
    assert_eq!(long.len(), 1024 * 1024 + 1);
    log.assert_exact();
}

#[test]
fn position_and_report_hold_together_at_every_crash_point() {
    let folder = tempfile::tempdir().unwrap();
    let at = |offset| LogPosition { inode: 1, offset, check_bytes: 0, check: 0 };
    let sealed = |sequence, read_to| {
        let collector = CollectorId([1; 16]);
        let identity = Identity { collector, boot_epoch: BootEpoch(7), sequence: Sequence(sequence) };
        Sealed { identity, bytes: vec![0].into(), state: None, read_to }
    };
    let spool = || Spool::open(folder.path(), 1 << 20).unwrap();
    {
        let mut spool = spool();
        let mut positions = LogPositions::open(folder.path(), &spool).unwrap();
        assert_eq!(positions.committed(), None);
        positions.keep(&mut spool, &sealed(0, Some(at(10)))).unwrap();
        assert_eq!(positions.committed(), Some(at(10)));
    }
    let file = folder.path().join("log-position.json");
    let intent = |sequence: u64| {
        format!(
            r#"{{"report":[7,{sequence}],"before":{},"after":{}}}"#,
            serde_json::to_string(&at(10)).unwrap(),
            serde_json::to_string(&at(20)).unwrap()
        )
    };
    // Killed after the intent: the report is not there.
    fs::write(&file, intent(1)).unwrap();
    let mut spool = spool();
    assert_eq!(LogPositions::open(folder.path(), &spool).unwrap().committed(), Some(at(10)));
    // Killed after the report.
    spool.append(&sealed(1, None)).unwrap();
    assert_eq!(LogPositions::open(folder.path(), &spool).unwrap().committed(), Some(at(20)));
}

struct Collector(Child);

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Collector {
    fn start(config: &Path) -> Collector {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"));
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null()).stderr(Stdio::null());
        Collector(command.spawn().unwrap())
    }

    /// Waits until `/metrics` shows `requests`.
    fn wait_for(&self, port: u16, requests: u64) {
        let until = Instant::now() + Duration::from_secs(20);
        let wanted = format!("weighbridge_collector_requests_total {requests}\n");
        let mut last = String::new();
        while Instant::now() < until {
            if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                last.clear();
                let _ = std::io::Read::read_to_string(&mut stream, &mut last);
                if last.contains(&wanted) {
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never {requests} requests: {last}");
    }

    fn terminate(mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

#[test]
fn killed_and_restarted_no_line_is_lost_or_doubled() {
    let mut log = Log::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = log.rotated("collector.yaml");
    let data = log.rotated("data");
    let text = format!(
        "data_folder: {}\nenvironment: production\nwindow_s: 3600\nadmin: {{listen: '127.0.0.1:{port}'}}\n\
         source: {{access_log: {{profile: envoy, file: {}, start_at: beginning}}}}\n\
         uplink: {{endpoint: 'http://127.0.0.1:1', drain_timeout_s: 0}}\n",
        data.display(),
        log.path().display()
    );
    fs::write(&config, text).unwrap();
    let write = |log: &mut Log, lines: u64| {
        for _ in 0..lines {
            log.written += 1;
            let line = format!(
                "{{\"request_id\":\"{}\",\"model\":\"gpt-4o\",\"response_code\":200}}\n",
                log.written
            );
            log.append(&log.path(), &line);
        }
    };
    write(&mut log, 100);
    let first = Collector::start(&config);
    first.wait_for(port, 100);
    // Counted and not sealed: read again.
    drop(first);
    write(&mut log, 50);
    let second = Collector::start(&config);
    second.wait_for(port, 150);
    second.terminate();
    // Sealed: not read again. Rotated while away.
    write(&mut log, 30);
    fs::rename(log.path(), log.rotated("access.log.1")).unwrap();
    write(&mut log, 20);
    let third = Collector::start(&config);
    third.wait_for(port, 50);
    third.terminate();
    let requests: u64 = fs::read_dir(data.join("spool"))
        .unwrap()
        .map(|entry| {
            let report = weighbridge_proto::report::check(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
            report.cells.iter().map(|cell| cell.counts.requests).sum::<u64>()
        })
        .sum();
    assert_eq!(requests, log.written);
}

#[test]
fn standard_input_is_counted_to_its_end() {
    let log = Log::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = log.rotated("collector.yaml");
    let text = format!(
        "data_folder: {}\nenvironment: production\nadmin: {{listen: '127.0.0.1:{port}'}}\n\
         source: {{access_log: {{profile: kong, stdin: true}}}}\n\
         uplink: {{endpoint: 'http://127.0.0.1:1', drain_timeout_s: 0}}\n",
        log.rotated("data").display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"));
    command.arg("run").arg("--config").arg(&config).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut collector = Collector(command.spawn().unwrap());
    let mut input = collector.0.stdin.take().unwrap();
    let line = include_str!("fixtures/access-log/kong.jsonl");
    for _ in 0..1_000 {
        input.write_all(line.as_bytes()).unwrap();
    }
    input.write_all(&[b'x'; 2 * 1024 * 1024]).unwrap();
    input.write_all(format!("\n{}", line.trim_end()).as_bytes()).unwrap();
    drop(input);
    assert!(collector.0.wait().unwrap().success(), "the end of the input is the collector's");
    let reports = fs::read_dir(log.rotated("data").join("spool")).unwrap();
    let requests: u64 = reports
        .map(|entry| {
            let report = weighbridge_proto::report::check(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
            report.cells.iter().map(|cell| cell.counts.requests).sum::<u64>()
        })
        .sum();
    assert_eq!(requests, 1_001);
}
