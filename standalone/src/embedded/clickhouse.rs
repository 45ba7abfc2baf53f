//! Starts and stops a ClickHouse server as a child process on 127.0.0.1.
//!
//! Guarantees: `start` returns a server that answers, or an error within its time limit with the child
//! gone; `stop` ends it in order, by force after a limit; rows that were acknowledged survive `stop`, a kill of the
//! server and a kill of this process; the child dies with this process.
//! Does not guarantee: that the server keeps running. Whoever holds it may watch `wait`.
//!
//! The child is this program's own `clickhouse` subcommand on `libchdb.so`, or, when there is no such library, a
//! `clickhouse` program found on the PATH.
//!
//! Call `start` from a thread that lives as long as the server is wanted (main, or a worker of a runtime): Linux
//! ties the child's life to the thread that started it. Never from `spawn_blocking`.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::config;

/// Environment variable with the path of the library.
pub const LIBRARY_VARIABLE: &str = "WEIGHBRIDGE_LIBCHDB";
/// Where `make setup` puts the library, relative to the checkout.
pub const LIBRARY_IN_CHECKOUT: &str = ".tools/clickhouse/libchdb.so";
/// Usual time to answer is 0.3 s; a folder with many parts on a busy laptop takes longer.
const DEFAULT_START_TIMEOUT: Duration = Duration::from_secs(60);
/// Usual time to stop is 1 s, and 3 s more when clients keep idle connections.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks whether the child answers. There is no event to wait for instead.
const PING_INTERVAL: Duration = Duration::from_millis(50);
/// One look.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Data folder; created when absent, kept at the end.
    pub data: PathBuf,
    /// Port of the HTTP interface.
    pub http_port: u16,
    /// Port of the native interface; none: not opened.
    pub tcp_port: Option<u16>,
    /// The library; none: looked up in the environment, then in the checkout.
    pub library: Option<PathBuf>,
    /// Program with the `clickhouse` subcommand; none: this one.
    pub launcher: Option<PathBuf>,
    /// Time limit of `start`.
    pub start_timeout: Duration,
}

impl Config {
    /// A server over `data` that listens on `http_port`.
    pub fn new(data: impl Into<PathBuf>, http_port: u16) -> Self {
        Self {
            data: data.into(),
            http_port,
            tcp_port: None,
            library: None,
            launcher: None,
            start_timeout: DEFAULT_START_TIMEOUT,
        }
    }
}

/// Why the server could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// There is neither a library nor a program.
    #[error(
        "no ClickHouse found: {tried} is not there and no `clickhouse` is on the PATH; run `make setup`, \
         or name the library in {LIBRARY_VARIABLE}"
    )]
    NotInstalled {
        /// The library file that was looked for.
        tried: PathBuf,
    },
    /// The configuration could not be written.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// The child could not be started or waited for.
    #[error("ClickHouse process: {0}")]
    Process(#[from] std::io::Error),
    /// The child ended before it answered.
    #[error(
        "ClickHouse ended before it answered: {0}; see standard error, and clickhouse.log in its data folder"
    )]
    EndedEarly(ExitStatus),
    /// The child did not answer in time.
    #[error("ClickHouse did not answer on 127.0.0.1:{port} within {limit:?}")]
    NotReady {
        /// Its HTTP port.
        port: u16,
        /// The time limit.
        limit: Duration,
    },
    /// Someone else answers on the port.
    #[error("127.0.0.1:{0} is in use")]
    PortInUse(u16),
}

impl EmbeddedError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInstalled { .. } => "clickhouse_not_installed",
            Self::Config(inner) => inner.code(),
            Self::Process(_) => "clickhouse_process",
            Self::EndedEarly(_) => "clickhouse_ended_early",
            Self::NotReady { .. } => "clickhouse_not_ready",
            Self::PortInUse(_) => "clickhouse_port_in_use",
        }
    }
}

/// A running server. Dropping it kills the child; `stop` ends it in order.
#[derive(Debug)]
pub struct EmbeddedClickHouse {
    child: Child,
    http_port: u16,
}

impl EmbeddedClickHouse {
    /// Starts the server and waits until it answers.
    pub async fn start(config: Config) -> Result<Self, EmbeddedError> {
        // A server of somebody else would answer the readiness look in the child's place.
        if TcpStream::connect(("127.0.0.1", config.http_port)).await.is_ok() {
            return Err(EmbeddedError::PortInUse(config.http_port));
        }
        let mut command = command(&config)?;
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut server = Self { child: command.spawn()?, http_port: config.http_port };
        let told = server.child.stderr.take().map(|stderr| tokio::spawn(pass_on(stderr)));
        let deadline = Instant::now() + config.start_timeout;
        loop {
            if let Some(status) = server.child.try_wait()? {
                finish(told).await;
                return Err(EmbeddedError::EndedEarly(status));
            }
            if matches!(timeout(PING_TIMEOUT, ping(config.http_port)).await, Ok(Ok(true))) {
                return Ok(server);
            }
            if Instant::now() >= deadline {
                let limit = config.start_timeout;
                server.child.kill().await?;
                return Err(EmbeddedError::NotReady { port: config.http_port, limit });
            }
            sleep(PING_INTERVAL).await;
        }
    }

    /// Where to send HTTP queries.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Process id while the child runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the child ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus, EmbeddedError> {
        Ok(self.child.wait().await?)
    }

    /// Ends the server: SIGTERM, and SIGKILL when that did not help in time.
    pub async fn stop(mut self) -> Result<ExitStatus, EmbeddedError> {
        if let Some(pid) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // The child is not reaped before `wait`, so the id is still its own. It may have ended: no error then.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        match timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.child.kill().await?;
                Ok(self.child.wait().await?)
            }
        }
    }
}

/// Writes to our standard error what the server writes to its own.
async fn pass_on(stderr: ChildStderr) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        // Where its log is; and that the query which keeps it up was ended, which is how it is stopped.
        let is_usual = text.starts_with("Logging ") || text.contains("(QUERY_WAS_CANCELLED)");
        if !is_usual {
            eprint!("{text}");
        }
        line.clear();
    }
}

/// The child has ended, so its last words are there.
async fn finish(told: Option<JoinHandle<()>>) {
    if let Some(told) = told {
        // It does not panic and is not cancelled.
        let _ = told.await;
    }
}

/// The library to use: the option, else the environment, else the checkout.
pub fn library_path(option: Option<&Path>) -> PathBuf {
    option
        .map(Path::to_owned)
        .or_else(|| std::env::var_os(LIBRARY_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(LIBRARY_IN_CHECKOUT))
}

fn command(config: &Config) -> Result<Command, EmbeddedError> {
    let library = library_path(config.library.as_deref());
    if library.is_file() {
        return library_command(config, &library);
    }
    let Some(program) = program_on_path("clickhouse") else {
        return Err(EmbeddedError::NotInstalled { tried: library });
    };
    let config_file = config::write(&config.data, config.http_port, config.tcp_port)?;
    let mut command = Command::new(program);
    command.arg("server").arg("--config-file").arg(config_file);
    Ok(command)
}

fn library_command(config: &Config, library: &Path) -> Result<Command, EmbeddedError> {
    let launcher = match &config.launcher {
        Some(path) => path.clone(),
        None => std::env::current_exe()?,
    };
    let mut command = Command::new(launcher);
    command.arg("clickhouse").arg("--library").arg(library).arg("--data").arg(&config.data);
    command.args(["--http-port", &config.http_port.to_string()]);
    if let Some(port) = config.tcp_port {
        command.args(["--tcp-port", &port.to_string()]);
    }
    command.args(["--parent", &std::process::id().to_string()]);
    Ok(command)
}

fn program_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether the server answers. Written by hand: one line is not worth an HTTP client.
async fn ping(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n").await?;
    let mut answer = Vec::with_capacity(512);
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.") && answer.ends_with(b"Ok.\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path, http_port: u16) -> Config {
        let library = folder.join("libchdb.so");
        std::fs::write(&library, "").unwrap();
        Config {
            library: Some(library),
            launcher: Some(PathBuf::from("false")),
            ..Config::new(folder.join("data"), http_port)
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_refused_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = EmbeddedClickHouse::start(config(folder.path(), port)).await.unwrap_err();
        assert_eq!(error.code(), "clickhouse_port_in_use");
    }

    #[tokio::test]
    async fn a_child_that_ends_is_noticed_at_once() {
        let folder = tempfile::tempdir().unwrap();
        // Port 1 is nobody's.
        let error = EmbeddedClickHouse::start(config(folder.path(), 1)).await.unwrap_err();
        assert_eq!(error.code(), "clickhouse_ended_early");
    }
}
