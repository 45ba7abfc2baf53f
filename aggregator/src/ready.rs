//! The command `ready`, and waiting for the schema: for containers that hold no other program to ask with.
//!
//! In: an address `host:port` of admin ports; a name may stand for many processes (a headless Service), and each is asked. Out: nothing
//! when every one answers 200 on `/readyz`; else what the first one that does not said. Within the given time it is tried again, with
//! growing pauses; every attempt has a limit. Sends no data, reads at most 4 KiB of an answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::migrate::{self, Difference, MigrateError};
use crate::store::Store;

/// Time limit of one question: a process that is alive answers from memory.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);
/// Most of an answer that is read.
const ANSWER_BYTES: u64 = 4096;

/// Why a process does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// The name stands for no address.
    #[error("ready: {0} stands for no address")]
    NoAddress(String),
    /// No connection, or it broke.
    #[error("ready: {address}: {source}")]
    Unreachable {
        /// What was asked.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It answered something else than 200.
    #[error("ready: {address}: {answer}")]
    NotReady {
        /// Who answered.
        address: SocketAddr,
        /// Its last line, which names what it waits for.
        answer: String,
    },
}

impl ReadyError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            ReadyError::NoAddress(_) => "ready_no_address",
            ReadyError::Unreachable { .. } => "ready_unreachable",
            ReadyError::NotReady { .. } => "ready_not_ready",
        }
    }
}

/// Asks every process behind `address`, until all are ready or `wait` is over; at least once.
///
/// # Errors
/// Why the first of them was not, the last time.
pub async fn wait(address: &str, wait: Duration) -> Result<(), ReadyError> {
    let (end, mut backoff) = (Instant::now() + wait, Backoff::default());
    loop {
        let failure = match ask_all(address).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if !pause(end, &mut backoff).await {
            return Err(failure);
        }
    }
}

/// Asks ClickHouse for the schema of this binary until it is there or `wait` is over; at least once. What waiting cannot mend, a
/// published migration that differs, is told at once.
///
/// # Errors
/// ClickHouse did not answer, the last time.
pub async fn wait_for_schema(store: &Store, wait: Duration) -> Result<Vec<Difference>, MigrateError> {
    let (end, mut backoff) = (Instant::now() + wait, Backoff::default());
    loop {
        let answer = migrate::check(store).await;
        let is_final = answer.as_ref().is_ok_and(|differences| {
            differences.is_empty() || differences.iter().any(|one| matches!(one, Difference::Checksum(..)))
        });
        if is_final || !pause(end, &mut backoff).await {
            return answer;
        }
    }
}

/// Waits before another try; false when the time is over.
async fn pause(end: Instant, backoff: &mut Backoff) -> bool {
    let left = end.saturating_duration_since(Instant::now());
    sleep(backoff.next().min(left)).await;
    !left.is_zero()
}

async fn ask_all(address: &str) -> Result<(), ReadyError> {
    let unreachable = |source| ReadyError::Unreachable { address: address.to_owned(), source };
    let addresses: Vec<SocketAddr> = lookup_host(address).await.map_err(unreachable)?.collect();
    if addresses.is_empty() {
        return Err(ReadyError::NoAddress(address.to_owned()));
    }
    for one in addresses {
        let late = |_| Err(std::io::ErrorKind::TimedOut.into());
        let answer = timeout(QUESTION_TIMEOUT, ask(one)).await.unwrap_or_else(late);
        let answer = answer.map_err(|source| ReadyError::Unreachable { address: one.to_string(), source })?;
        if !is_ok(&answer) {
            let answer = answer.trim_end().lines().last().unwrap_or("no answer").to_owned();
            return Err(ReadyError::NotReady { address: one, answer });
        }
    }
    Ok(())
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let question = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn is_ok(answer: &str) -> bool {
    answer.split(' ').nth(1) == Some("200")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{self, Instruments};

    #[tokio::test]
    async fn says_what_a_process_waits_for_and_waits_with_it() {
        let instruments = Instruments::default();
        let kafka = instruments.condition("kafka");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(admin::serve(listener, instruments, CancellationToken::new()));
        let refused = wait(&address, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("ready: {address}: waiting for: kafka"));
        assert_eq!(refused.code(), "ready_not_ready");
        let waiting = tokio::spawn(async move { wait(&address, Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        kafka.set(true);
        waiting.await.unwrap().unwrap();
        server.abort();
    }

    #[tokio::test]
    async fn nobody_there_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert_eq!(wait(&address, Duration::ZERO).await.unwrap_err().code(), "ready_unreachable");
    }
}
