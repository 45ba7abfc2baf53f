//! Starts real programs and ends them: by SIGTERM, by `kill -9`, and always with the test.
//!
//! A program's output goes to a file in the test's folder; a failed wait quotes the end of it.
//! Linux ends the child when the thread that started it ends, so a test that is killed leaves nothing behind: start
//! processes from the test's own thread, not from a spawned task of a many-threaded runtime.

use std::collections::HashSet;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How much of a program's output a panic quotes.
const QUOTED_BYTES: usize = 4000;
/// Pause between two looks at something that offers no event to wait for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Ports handed out lie below the range that the kernel uses for outgoing connections, so that none is taken
/// between being found and being listened on.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A free port on 127.0.0.1, never handed out twice by one test program.
pub fn free_port() -> u16 {
    let mut guard = HANDED_OUT.lock().unwrap();
    let taken = guard.get_or_insert_default();
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && taken.insert(port) {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 in {PORTS:?}");
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file that `make setup` installs. Panics when it is not there.
pub fn tool(relative: &str) -> PathBuf {
    let path = root().join(".tools").join(relative);
    assert!(path.exists(), "{} is not there; run: make setup", path.display());
    path
}

/// A binary of the workspace as it is delivered: the sidecar by its own profile. Panics when it has not been built.
pub fn release_binary(name: &str) -> PathBuf {
    let profile = if name == "weighbridge-collector" { "sidecar" } else { "release" };
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let path = root().join(target).join(profile).join(name);
    assert!(path.is_file(), "{} is not there; build it with: make build", path.display());
    path
}

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output appended to `folder/name.log`.
    pub fn start(name: &str, command: &std::process::Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("log file of a process");
        // setpriv: the kernel kills the child when this thread ends, however it ends.
        let mut with_parent = Command::new("setpriv");
        with_parent.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => with_parent.env(key, value),
                None => with_parent.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            with_parent.current_dir(folder);
        }
        let child = with_parent
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("log file of a process"))
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} through setpriv (util-linux): {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id. `setpriv` replaces itself by the program, so this is the program's own.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// The file with its output.
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("state of a child process")
    }

    /// Waits until `check` is true. Panics, with the end of the output, when the program ends or time is up.
    pub async fn wait_until<F>(&mut self, what: &str, limit: Duration, mut check: impl FnMut() -> F)
    where
        F: Future<Output = bool>,
    {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                panic!("{} ended ({status}) before {what}:\n{}", self.name, self.tail());
            }
            if matches!(timeout(Duration::from_secs(5), check()).await, Ok(true)) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{}: {what} did not come within {limit:?}:\n{}",
                self.name,
                self.tail()
            );
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until an HTTP GET of `url` answers with success.
    pub async fn wait_for_http(&mut self, url: &str, limit: Duration) {
        let client = http_client();
        let what = format!("{url} answered");
        self.wait_until(&what, limit, || async {
            client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Sends `kill -9` and waits for the end; it may have ended by itself.
    pub async fn kill(mut self) {
        if self.ended().is_none() {
            self.child.kill().await.expect("kill -9 of a child process");
        }
    }

    /// Sends SIGTERM and waits for the end. Panics, with the end of the output, when it takes longer than `limit`.
    pub async fn terminate(mut self, limit: Duration) -> ExitStatus {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // Not reaped yet, so the id is still the child's. An error means that it has ended.
            let _ = kill_process(pid, Signal::TERM);
        }
        match timeout(limit, self.child.wait()).await {
            Ok(status) => status.expect("state of a child process"),
            Err(_) => panic!("{} did not end within {limit:?} of SIGTERM:\n{}", self.name, self.tail()),
        }
    }

    fn tail(&self) -> String {
        let text = self.output();
        let start = text.len().saturating_sub(QUOTED_BYTES);
        let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text[start..].to_owned()
    }
}

/// An HTTP client for loopback: no proxy, a time limit on everything, a new connection for each request. A server that
/// closes an idle connection just as the next request is on its way leaves that request without an answer (uvicorn does after
/// 5 s, on a busy machine while the request is already there), and a test must not send one twice.
pub fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(60))
        .connect_timeout(Duration::from_secs(5))
        .build()
        .expect("HTTP client")
}
