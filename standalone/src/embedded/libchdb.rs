//! Runs ClickHouse inside this process, from the shared library `libchdb.so`.
//!
//! Guarantees: the server listens on 127.0.0.1 only; SIGTERM and SIGINT end it in order (data parts are
//! finished, exit status 0); when it was started for a parent process, it dies with that parent.
//! Does not guarantee: anything after `serve` has been entered other than by process exit. The library owns
//! the process from then on, so this belongs in a child process, see `super::clickhouse`.
//!
//! This is the one file of the workspace with `unsafe`. The argument for it:
//!
//! * Loading. `dlopen` runs the library's constructors. They are as trustworthy as the file, which the
//!   operator names; no other code runs in this process yet (`serve` is called from a single-threaded `main`,
//!   before tokio), so no constructor can race with us.
//! * The symbol's type. The library's header `programs/local/chdb.h` declares
//!   `chdb_result * chdb_query_cmdline(int argc, char ** argv)` and
//!   `const char * chdb_result_error(chdb_result *)`. The type aliases below are those declarations;
//!   `chdb_result` is opaque there and stays an untyped pointer here.
//! * The arguments. `argv` is an array of NUL-terminated strings with a closing null pointer, like main's. The
//!   strings are owned by `arguments`, in memory that we may write, and both vectors outlive the call. The
//!   library may reorder and write them, which is why they are `*mut` from `CString::into_raw`, never a cast of
//!   something shared.
//! * C++ exceptions do not cross: `chdb_query_cmdline` catches everything and returns it as a result.
//! * Signals. SIGTERM and SIGINT are blocked before `dlopen`, so each thread the library starts inherits the
//!   mask and only our `sigwait` thread receives them. The signal sets are plain data, initialised by
//!   `sigemptyset` before use.
//! * Leaving. Returning from main would run the library's static destructors while its threads still run, which
//!   ends in SIGSEGV. So the library is never unloaded (`mem::forget`) and the process leaves by `_exit`,
//!   which runs neither destructors nor `atexit` handlers. Nothing of ours waits for either of them.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, NulError, OsStr, c_char, c_int, c_void};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::config;

/// `chdb_result * chdb_query_cmdline(int argc, char ** argv)`
type QueryCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
/// `const char * chdb_result_error(chdb_result * result)`
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

/// Marks the query that keeps the server alive, so that it can be found and killed.
const KEEP_ALIVE_MARK: &str = "weighbridge-keep-alive";
/// One attempt to reach our own HTTP port; it is on loopback, so it answers at once or not at all.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two attempts to end the keep-alive query, while the server is still starting.
const KILL_RETRY: Duration = Duration::from_millis(200);
/// Usual time from the end of the query to the end of main is 1 s, and 3 s more when clients keep idle connections.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the keep-alive query is looked for before the process leaves without it (10 s in all).
const KILL_ATTEMPTS: u32 = 50;

/// What the child process runs.
#[derive(Debug, Clone)]
pub struct LibraryServer {
    /// The shared library.
    pub library: PathBuf,
    /// Data folder; created when absent, kept at the end.
    pub data: PathBuf,
    /// Port of the HTTP interface on 127.0.0.1.
    pub http_port: u16,
    /// Port of the native interface on 127.0.0.1; none: not opened.
    pub tcp_port: Option<u16>,
    /// The process to die with: the one that started this one.
    pub parent: Option<i32>,
}

/// Why the embedded server could not run.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The library could not be loaded.
    #[error("cannot load {path}: {source}; `make setup` installs it")]
    Load {
        /// The file that was tried.
        path: PathBuf,
        /// What the dynamic linker said.
        source: libloading::Error,
    },
    /// A path contains a NUL byte.
    #[error("a path contains a NUL byte: {0}")]
    Path(#[from] NulError),
    /// The configuration could not be written.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// A system call failed.
    #[error("{call}: {source}")]
    System {
        /// The call.
        call: &'static str,
        /// Its error.
        source: std::io::Error,
    },
    /// The parent process was gone before this one was ready.
    #[error("the parent process {0} is gone")]
    Orphan(i32),
    /// ClickHouse itself gave up.
    #[error("ClickHouse stopped: {0}")]
    Stopped(String),
}

impl LibraryError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load { .. } => "library_load",
            Self::Path(_) => "library_path",
            Self::Config(inner) => inner.code(),
            Self::System { .. } => "library_system",
            Self::Orphan(_) => "library_orphan",
            Self::Stopped(_) => "library_stopped",
        }
    }
}

/// Runs the server until SIGTERM or SIGINT, then ends the process with status 0. Returns only on failure.
pub fn serve(server: &LibraryServer) -> Result<std::convert::Infallible, LibraryError> {
    if let Some(parent) = server.parent {
        die_with(parent)?;
    }
    let config_file = config::write(&server.data, server.http_port, server.tcp_port)?;
    let signals = block_signals()?;
    let (ended, main_ended) = channel();
    let http_port = server.http_port;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || wait_for_signal(&signals, http_port, &main_ended))
        .map_err(|source| LibraryError::System { call: "thread", source })?;
    let outcome = run_library(server, config_file.as_os_str());
    finish(outcome, &ended)
}

/// Asks the kernel to kill this process when its parent dies.
///
/// The kernel means the parent's thread that forked. A parent that starts us from a thread which ends early
/// would take us with it; `super::clickhouse` says so to its callers.
fn die_with(parent: i32) -> Result<(), LibraryError> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|errno| LibraryError::System { call: "prctl", source: errno.into() })?;
    // The parent may have died between fork and prctl: then nobody will ever signal us.
    let actual = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if actual == Some(parent) { Ok(()) } else { Err(LibraryError::Orphan(parent)) }
}

fn block_signals() -> Result<libc::sigset_t, LibraryError> {
    // SAFETY: `sigset_t` is plain data for which all zero bytes are a valid value; `sigemptyset` and `sigaddset`
    // get a pointer to this live local, and signal numbers that exist; `pthread_sigmask` reads the set
    // and is allowed a null pointer for the old mask.
    let (set, status) = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        let status = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        (set, status)
    };
    if status == 0 {
        Ok(set)
    } else {
        let source = std::io::Error::from_raw_os_error(status);
        Err(LibraryError::System { call: "pthread_sigmask", source })
    }
}

/// Body of the signal thread: waits for one signal, ends the keep-alive query, and gives main time to leave.
fn wait_for_signal(signals: &libc::sigset_t, http_port: u16, main_ended: &Receiver<()>) {
    let mut received: c_int = 0;
    // SAFETY: both pointers are to live values of the right type; the signals of the set are blocked in every
    // thread of the process, as sigwait asks for.
    let status = unsafe { libc::sigwait(signals, &raw mut received) };
    if status != 0 {
        return; // the set is valid, so this cannot be; the process then ends by SIGKILL only
    }
    for _ in 0..KILL_ATTEMPTS {
        // The listener may not be open yet, or the query not started: then try again.
        let killed = kill_keep_alive(http_port).unwrap_or(false);
        match main_ended.recv_timeout(if killed { LEAVE_TIMEOUT } else { KILL_RETRY }) {
            Err(RecvTimeoutError::Timeout) => {}
            // Main is leaving and ends the process.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
    eprintln!("ClickHouse did not end its keep-alive query; leaving without it");
    exit_now(1);
}

/// Whether the server found the query.
fn kill_keep_alive(http_port: u16) -> std::io::Result<bool> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, http_port));
    let mut stream = TcpStream::connect_timeout(&address, KILL_TIMEOUT)?;
    stream.set_read_timeout(Some(KILL_TIMEOUT))?;
    stream.set_write_timeout(Some(KILL_TIMEOUT))?;
    // The pattern is assembled by the server, so that this statement does not match itself.
    let (head, tail) = KEEP_ALIVE_MARK.split_at(4);
    let body = format!("KILL QUERY WHERE query LIKE concat('%{head}', '{tail}%') ASYNC");
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.take(16 * 1024).read_to_end(&mut answer)?;
    // One line for each query that was told to stop, an empty body for none.
    Ok(answer.windows(KEEP_ALIVE_MARK.len()).any(|window| window == KEEP_ALIVE_MARK.as_bytes()))
}

fn run_library(server: &LibraryServer, config_file: &OsStr) -> Result<(), LibraryError> {
    let load = |source| LibraryError::Load { path: server.library.clone(), source };
    let arguments = arguments(server, config_file)?;
    let count = c_int::try_from(arguments.len()).unwrap_or(c_int::MAX);
    // SAFETY: see the module's argument, "Loading".
    let library = unsafe { libloading::Library::new(&server.library) }.map_err(load)?;
    // SAFETY: see the module's argument, "The symbol's type".
    let run = *unsafe { library.get::<QueryCommandLine>(b"chdb_query_cmdline\0") }.map_err(load)?;
    // SAFETY: as above.
    let error = *unsafe { library.get::<ResultError>(b"chdb_result_error\0") }.map_err(load)?;
    std::mem::forget(library);
    let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    pointers.push(std::ptr::null_mut());
    // SAFETY: see the module's argument, "The arguments". The strings are leaked on purpose: the library may keep
    // pointers to them, and the process ends right after.
    let message = unsafe {
        let result = run(count, pointers.as_mut_ptr());
        let text = if result.is_null() { std::ptr::null() } else { error(result) };
        // The text belongs to the result, which is never destroyed.
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    };
    match message {
        // Killing the keep-alive query is how the server is asked to stop, and is reported as an error.
        Some(text) if !text.is_empty() && !text.contains("QUERY_WAS_CANCELLED") => {
            Err(LibraryError::Stopped(text.lines().next().unwrap_or_default().to_owned()))
        }
        _ => Ok(()),
    }
}

/// The command line of clickhouse-local that turns it into a server.
fn arguments(server: &LibraryServer, config_file: &OsStr) -> Result<Vec<CString>, NulError> {
    let joined = |name: &str, value: &OsStr| {
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend_from_slice(value.as_bytes());
        CString::new(bytes)
    };
    let mut list = vec![
        CString::new("clickhouse")?,
        joined("--config-file=", config_file)?,
        // Not `server.data`, which may be relative: with fsync ClickHouse puts a relative path before itself once more.
        joined("--path=", Path::new(config_file).parent().unwrap_or(&server.data).as_os_str())?,
        CString::new("--listen_host=127.0.0.1")?,
        // The level in the file is not read by clickhouse-local, which logs everything without this.
        CString::new("--log-level=warning")?,
        CString::new(format!("--http_port={}", server.http_port))?,
    ];
    let mut query = "SYSTEM START LISTEN HTTP; ".to_owned();
    if let Some(port) = server.tcp_port {
        list.push(CString::new(format!("--tcp_port={port}"))?);
        query.push_str("SYSTEM START LISTEN TCP; ");
    }
    // One row a second from an endless table: runs until it is killed and costs nothing. Killing it is an exception to
    // ClickHouse, whose stack trace would be looked up in 500 MB of symbols.
    query.push_str(&format!(
        "SELECT sleepEachRow(1) /* {KEEP_ALIVE_MARK} */ FROM system.numbers \
         SETTINGS max_block_size = 1, calculate_text_stack_trace = 0 FORMAT Null"
    ));
    list.push(CString::new(format!("--query={query}"))?);
    Ok(list)
}

fn finish(
    outcome: Result<(), LibraryError>,
    ended: &Sender<()>,
) -> Result<std::convert::Infallible, LibraryError> {
    match outcome {
        // The library never ran: an ordinary return is safe.
        Err(error @ (LibraryError::Load { .. } | LibraryError::Path(_))) => Err(error),
        Err(error) => {
            eprintln!("{error}");
            exit_now(1)
        }
        Ok(()) => {
            let _ = ended.send(());
            exit_now(0)
        }
    }
}

fn exit_now(status: c_int) -> ! {
    // SAFETY: `_exit` has no precondition and does not return.
    unsafe { libc::_exit(status) }
}
