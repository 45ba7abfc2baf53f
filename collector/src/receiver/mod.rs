//! Receivers: the network side of the sources. gRPC and HTTP hand whole, decompressed bodies to `Gate`.
//!
//! Guarantees: bodies are bounded before and after decompression; every refusal reaches the sender with a text that names the
//! fix, and is counted by reason; nothing of a body is logged.

pub mod grpc;
pub mod http;
pub mod response;
pub mod tail;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::count::MetTarget;
use crate::discard::Refusal;
use crate::intake::{Accepted, Encoding, Now, Signal};
use crate::profile::prometheus::Target;
use crate::profile::tap::{End, Exchange, Reply};
use crate::source::access_log::LogPosition;
use crate::window::Edge;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Unix milliseconds.
    fn now_ms(&self) -> u64;
}

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// The counting core, as the receivers and the sealing task share it.
#[derive(Clone)]
pub struct Gate {
    edge: Arc<Mutex<Edge>>,
    clock: Arc<dyn Clock>,
    signal: Signal,
    max_body_bytes: usize,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("signal", &self.signal).finish_non_exhaustive()
    }
}

impl Gate {
    /// Counts `signal` into `edge`.
    pub fn new(edge: Edge, clock: Arc<dyn Clock>, signal: Signal, max_body_bytes: usize) -> Gate {
        Gate { edge: Arc::new(Mutex::new(edge)), clock, signal, max_body_bytes }
    }

    /// The core. A poisoned lock is taken over: a payload is counted after it was staged, so counts are whole.
    pub fn edge(&self) -> MutexGuard<'_, Edge> {
        self.edge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Largest body, bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body_bytes
    }

    /// Counts a body, if its signal is the one that is counted here.
    ///
    /// # Errors
    /// The body cannot be read.
    pub fn take(&self, signal: Option<Signal>, encoding: Encoding, body: &[u8]) -> Result<Accepted, Refusal> {
        let mut edge = self.edge();
        if signal != Some(self.signal) {
            edge.intake().skip_payload();
            return Ok(Accepted::default());
        }
        edge.intake().take(self.signal, encoding, body, Now::At(self.clock.now_ms()))
    }

    /// Counts a scraped page; a target that is seen for the first time is lent to `met` before. False: the target's counters jump back and forth, and it is not counted any more.
    ///
    /// # Errors
    /// The page cannot be read.
    pub fn take_page(
        &self,
        page: &[u8],
        target: Target<'_>,
        met: impl FnOnce(&MetTarget, u64),
    ) -> Result<bool, Refusal> {
        let now_nano = self.clock.now_ms().saturating_mul(1_000_000);
        self.edge().intake().take_page(page, target, now_nano, met)
    }

    /// Counts lines of a log and notes how far it was read, in one step: a window has both or neither.
    pub fn take_lines(&self, lines: &[u8], read_to: Option<LogPosition>) {
        let mut edge = self.edge();
        let intake = edge.intake();
        // A line that cannot be read is refused alone, and counted by reason.
        let _ = intake.take(self.signal, Encoding::JsonLines, lines, Now::At(self.clock.now_ms()));
        if let Some(position) = read_to {
            intake.set_read_to(position);
        }
    }

    /// Counts an exchange that has passed through the tap.
    pub fn take_exchange(&self, exchange: Exchange, end: End, address: &str, served_model: &str) {
        let now_ms = self.clock.now_ms();
        self.edge().intake().take_exchange(exchange, end, address, served_model, now_ms);
    }

    /// Counts a request of a WebSocket session that passes through the tap.
    pub fn take_reply(&self, reply: &Reply, address: &str, served_model: &str) {
        let now_ms = self.clock.now_ms();
        self.edge().intake().take_reply(reply, address, served_model, now_ms);
    }

    /// Notes a body that was refused before it could be read.
    pub fn refuse(&self, refusal: Refusal) {
        self.edge().intake().refuse_payload(refusal);
    }
}
