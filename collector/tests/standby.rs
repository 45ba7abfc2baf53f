//! A sidecar that cannot run answers probes and tries again; without the option it ends and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test ends where it fails")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Bound of every wait.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(config: &Path, stand_by: Option<SocketAddr>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weighbridge-collector"));
    command.args(["run", "--config"]).arg(config);
    if let Some(address) = stand_by {
        command.args(["--stand-by", &address.to_string()]);
    }
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// Status line and body of an answer; nothing while nobody listens.
fn ask(method: &str, address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {LIMIT:?}");
        std::thread::sleep(LOOK);
    }
}

/// Its exit code and what it said.
fn ended(mut child: Child) -> (ExitStatus, String) {
    let status = until("the end", || child.try_wait().unwrap());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (status, said)
}

fn terminate(child: Child) -> (ExitStatus, String) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    ended(child)
}

fn answers(path: &str, admin: SocketAddr, expected: &str) {
    until(&format!("{expected} from {path}"), || {
        ask("GET", admin, path).filter(|answer| answer.contains(expected))
    });
}

#[test]
fn a_sidecar_waits_for_its_configuration_and_for_its_port() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("collector.yaml");
    let admin = free_address();
    let child = start(&config, Some(admin));
    answers("/livez", admin, "200 OK");
    answers("/readyz", admin, "503 Service Unavailable");
    assert!(ask("GET", admin, "/readyz").is_none_or(|answer| answer.contains("standing by: config: ")));
    answers("/metrics", admin, "weighbridge_collector_standing_by 1\n# EOF");
    until("an answer to drain", || ask("POST", admin, "/drain").filter(|answer| answer.contains("200 OK")));

    // Another container of the pod has the port of the receiver: still nothing to count with, and no end.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let data = folder.path().join("data");
    let text = format!(
        "data_folder: '{}'\nenvironment: production\n\
         source: {{otlp: {{profile: litellm, signal: traces, grpc_listen: '{}', http_listen: null}}}}\n\
         uplink: {{endpoint: 'http://{}', drain_timeout_s: 1}}\nadmin: {{listen: '{admin}'}}\n",
        data.display(),
        taken.local_addr().unwrap(),
        free_address(),
    );
    std::fs::write(&config, text).unwrap();
    answers("/readyz", admin, "standing by: cannot listen on ");
    drop(taken);
    answers("/readyz", admin, "200 OK");
    answers("/metrics", admin, "weighbridge_collector_items_received_total 0");
    let (status, said) = terminate(child);
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("cannot run, nothing is counted; standing by"), "{said}");
}

#[test]
fn sigterm_ends_standing_by_at_once_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let admin = free_address();
    let child = start(&folder.path().join("none.yaml"), Some(admin));
    answers("/livez", admin, "200 OK");
    let (status, said) = terminate(child);
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("none.yaml"), "{said}");
}

#[test]
fn without_the_option_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (status, said) = ended(start(&folder.path().join("none.yaml"), None));
    assert_eq!(status.code(), Some(64), "{said}");
}
