//! Two collectors of one machine and one gateway instance: the second refuses to start, and says what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use weighbridge_collector::claim::{Claim, ClaimError};
use weighbridge_collector::config::Config;

const SPANS: &str = "otlp: {profile: litellm, signal: traces, grpc_listen: '127.0.0.1:0', http_listen: null}";
const WEBHOOK: &str = "webhook: {profile: litellm, listen: '127.0.0.1:0'}";

fn write(folder: &Path, name: &str, source: &str, lines: &str) -> PathBuf {
    let text = format!(
        "data_folder: {}\nenvironment: production\nsource: {{{source}}}\n\
         uplink: {{endpoint: 'http://127.0.0.1:1', drain_timeout_s: 0}}\nadmin: {{listen: '127.0.0.1:0'}}\n{lines}\n",
        folder.join(name).display()
    );
    let path = folder.join(format!("{name}.yaml"));
    std::fs::write(&path, text).unwrap();
    path
}

fn take(path: &Path) -> Result<Option<Claim>, ClaimError> {
    Claim::take(&Config::load(path).unwrap())
}

fn command(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"));
    command.args(["run", "--config"]).arg(path);
    command
}

/// A running collector, killed when it goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one and waits until it holds its claim: its line is written under the lock.
fn start(path: &Path, lock: &Path) -> Running {
    let running = Running(command(path).env("WEIGHBRIDGE_LOG", "error").spawn().unwrap());
    let mine = format!("\"{}\"", path.display());
    for _ in 0..600 {
        if std::fs::read_to_string(lock).is_ok_and(|line| line.contains(&mine)) {
            return running;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("no claim within 30 s");
}

fn refused(path: &Path) -> String {
    let Output { status, stderr, .. } =
        command(path).stdin(Stdio::null()).stdout(Stdio::null()).output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

#[test]
fn the_second_collector_of_a_gateway_refuses_and_says_which_input_to_keep() {
    let folder = tempfile::tempdir().unwrap();
    let spans = write(folder.path(), "spans", SPANS, "gateway_id: litellm-1");
    let webhook = write(folder.path(), "webhook", WEBHOOK, "gateway_id: litellm-1");
    let lock = folder.path().join("weighbridge-claims/litellm-1.gateway.lock");

    let first = start(&spans, &lock);
    let said = refused(&webhook);
    assert!(said.contains("gateway_id: litellm-1 is counted already, by"), "{said}");
    assert!(said.contains("spans.yaml (otlp traces, profile litellm; process "), "{said}");
    assert!(
        said.contains("This one's event log or webhook tell more than its gateway spans: stop the other"),
        "{said}"
    );
    assert!(said.contains("server counters, SDK metrics, SDK spans"), "{said}");
    assert!(!folder.path().join("webhook").exists(), "nothing was begun");

    // A kill gives the claim back at once; the file that stays is no claim.
    drop(first);
    assert!(lock.exists());
    drop(start(&webhook, &lock));
}

#[test]
fn the_better_input_is_kept_when_it_runs_already() {
    let folder = tempfile::tempdir().unwrap();
    let spans = write(folder.path(), "spans", SPANS, "gateway_id: g");
    let webhook = write(folder.path(), "webhook", WEBHOOK, "gateway_id: g");
    let held = take(&webhook).unwrap();
    let said = take(&spans).unwrap_err().to_string();
    assert!(
        said.contains("Its event log or webhook tell more than this one's gateway spans: keep the other"),
        "{said}"
    );
    let again = write(folder.path(), "again", WEBHOOK, "gateway_id: g");
    let error = take(&again).unwrap_err();
    assert_eq!(error.code(), "gateway_claimed");
    assert!(error.to_string().contains("Both read event log or webhook: keep one of them"), "{error}");
    drop(held);
    assert!(take(&spans).unwrap().is_some());
}

#[test]
fn other_instances_other_vantages_and_unnamed_ones_do_not_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let page = "prometheus: {profile: vllm, targets: [{url: 'http://127.0.0.1:1/metrics'}]}";
    let claims = [
        ("one", SPANS, "gateway_id: one"),
        ("two", SPANS, "gateway_id: two"),
        // A cross-check of the same instance is not summed with it.
        ("check", page, "gateway_id: one\nbehind_gateway: true"),
        ("elsewhere", SPANS, &format!("gateway_id: one\nclaims_folder: {}/other", folder.path().display())),
    ];
    let held: Vec<_> = claims
        .iter()
        .map(|(name, source, lines)| take(&write(folder.path(), name, source, lines)).unwrap().unwrap())
        .collect();
    assert!(take(&write(folder.path(), "unnamed", SPANS, "")).unwrap().is_none());
    drop(held);
}

#[test]
fn a_folder_that_cannot_be_written_names_the_field_and_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let lines = format!("gateway_id: g\nclaims_folder: {}/file", folder.path().display());
    let error = take(&write(folder.path(), "one", SPANS, &lines)).unwrap_err();
    assert_eq!(error.code(), "claims_folder");
    assert!(error.to_string().contains("every collector of this machine may write in"), "{error}");
}
