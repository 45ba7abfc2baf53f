//! Seals windows when they are due and keeps them: ledger first, then spool with state and position, then the uplink is woken.
//!
//! In: the counting core and the time. Out: reports in the spool, once a second a checkpoint of the open window. Guarantees: a
//! report that the disk does not take (full, read-only) waits in memory, up to `WAITING_BYTES`, and is tried again every second
//! in its order; none is sent before it is on disk. Beyond the bound the oldest is dropped and counted, and the next reports
//! say so. While draining (`drain`) the open window is sealed every second, and at once when it is asked for, unless a report waits
//! for the disk.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::admin::SealStats;
use crate::deliver::checkpoint::CheckpointFile;
use crate::deliver::ledger::Ledger;
use crate::deliver::position::LogPositions;
use crate::deliver::spool::{Dropped, SpoolError};
use crate::deliver::state_file::StateFile;
use crate::deliver::uplink::Outbox;
use crate::drain::Orders;
use crate::receiver::Gate;
use crate::window::Sealed;

/// Reports that wait for the disk, bytes with their state: some hours of windows, and little beside the rest of the process.
pub const WAITING_BYTES: usize = 2 * 1024 * 1024;
/// How often calls on hold are looked at, a checkpoint is written, and a disk that refused is asked again.
const PAUSE_MS: u64 = 1_000;

/// Where sealed reports are kept.
#[derive(Debug)]
pub struct Kept {
    /// The spool, shared with the uplink.
    pub outbox: Outbox,
    /// What leaves, for the contributor.
    pub ledger: Ledger,
    /// What the counter must know after a restart.
    pub state_file: StateFile,
    /// The window that is open.
    pub checkpoints: CheckpointFile,
    /// How far a log was read.
    pub positions: LogPositions,
}

impl Kept {
    /// What leaves is written down before it leaves; what cannot be written down does not leave.
    fn record(&self, sealed: &Sealed) -> Result<(), SpoolError> {
        self.ledger.record(sealed).map_err(at("ledger.jsonl"))
    }

    /// May be repeated: what is done already is done again to the same effect.
    fn keep(&mut self, sealed: &Sealed) -> (Result<(), SpoolError>, Dropped) {
        let Kept { outbox, state_file, checkpoints, positions, .. } = self;
        // Under one lock: no report is acknowledged before the state and the position that belong to it are in place.
        outbox.with(|spool| {
            let kept = (|| {
                state_file.prepare(sealed).map_err(at("series.next"))?;
                positions.keep(spool, sealed)?;
                state_file.commit(sealed).map_err(at("series.state"))?;
                checkpoints.remove().map_err(at("open-window"))
            })();
            (kept, spool.take_dropped())
        })
    }
}

fn at(path: &str) -> impl FnOnce(std::io::Error) -> SpoolError {
    let path = path.into();
    move |source| SpoolError::Io { path, source }
}

/// See above.
pub struct Sealer {
    gate: Gate,
    kept: Arc<Mutex<Kept>>,
    stats: Arc<SealStats>,
    waiting: VecDeque<Sealed>,
    waiting_bytes: usize,
    /// The oldest of them is in the ledger already.
    recorded: bool,
    /// The disk refused last time; it is told once.
    refused: bool,
}

impl Sealer {
    /// Nothing waits yet.
    pub fn new(gate: Gate, kept: Kept, stats: Arc<SealStats>) -> Sealer {
        Sealer {
            gate,
            kept: Arc::new(Mutex::new(kept)),
            stats,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            recorded: false,
            refused: false,
        }
    }

    /// Seals and keeps until `shutdown`, sooner while `orders` to drain were given.
    pub async fn run_until(&mut self, orders: &mut Orders, shutdown: &CancellationToken) {
        loop {
            let due_in_ms = self.gate.edge().due_in_ms(self.gate.now_ms());
            let pause = Duration::from_millis(due_in_ms.clamp(1, PAUSE_MS));
            let order = tokio::select! {
                () = tokio::time::sleep(pause) => None,
                order = orders.next() => Some(order),
                () = shutdown.cancelled() => return,
            };
            // More reports would not leave sooner past one that the disk refused.
            let is_early = orders.has_begun() && self.waiting.is_empty();
            let (sealed, open) = {
                let mut edge = self.gate.edge();
                let due = edge.tick(self.gate.now_ms());
                let sealed = due.or_else(|| if is_early { edge.flush() } else { None });
                let open = if sealed.is_none() { edge.checkpoint() } else { None };
                (sealed, open)
            };
            if let Some(sealed) = sealed {
                self.wait(sealed);
            }
            self.keep_waiting().await;
            if let Some(order) = order {
                // Whoever gave it may have stopped waiting.
                let _ = order.send(self.waiting.is_empty());
            }
            // A checkpoint stands after every sealed report, so it is not written before them.
            if let Some(open) = open.filter(|_| self.waiting.is_empty()) {
                self.write_checkpoint(open).await;
            }
        }
    }

    /// Seals the open window, at shutdown.
    pub async fn finish(&mut self) {
        let sealed = self.gate.edge().finish();
        self.wait(sealed);
        self.keep_waiting().await;
        if !self.waiting.is_empty() {
            tracing::error!(
                reports = self.waiting.len(),
                "the disk refused these reports to the end; they are lost"
            );
        }
    }

    fn wait(&mut self, sealed: Sealed) {
        self.waiting_bytes += size(&sealed);
        self.waiting.push_back(sealed);
        while self.waiting_bytes > WAITING_BYTES && self.waiting.len() > 1 {
            let Some(oldest) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= size(&oldest);
            self.recorded = false;
            let requests = requests_in(&oldest);
            tracing::error!(requests, "the disk takes no report; the oldest that waited was dropped");
            self.stats.failed.fetch_add(1, Ordering::Relaxed);
            self.add_dropped(requests);
        }
    }

    /// Keeps what waits, oldest first, until the disk refuses.
    async fn keep_waiting(&mut self) {
        while let Some(sealed) = self.waiting.front().cloned() {
            let (kept, recorded) = (Arc::clone(&self.kept), self.recorded);
            let keep = move || {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let written = if recorded { Ok(()) } else { kept.record(&sealed) };
                match written {
                    Ok(()) => (true, kept.keep(&sealed)),
                    Err(error) => (false, (Err(error), Dropped::default())),
                }
            };
            let (recorded, (kept, dropped)) = match tokio::task::spawn_blocking(keep).await {
                Ok(done) => done,
                Err(error) => return self.refused(&error),
            };
            self.recorded = recorded;
            self.dropped(dropped);
            match kept {
                Ok(()) => self.kept(),
                Err(error) => return self.refused(&error),
            }
        }
    }

    /// The oldest that waited is on disk.
    fn kept(&mut self) {
        self.recorded = false;
        if let Some(sealed) = self.waiting.pop_front() {
            self.waiting_bytes -= size(&sealed);
        }
        if std::mem::take(&mut self.refused) {
            tracing::info!("the disk takes reports again");
        }
        self.stats.sealed.fetch_add(1, Ordering::Relaxed);
        self.outbox().notify_added();
    }

    fn dropped(&self, Dropped { reports, requests }: Dropped) {
        if reports > 0 {
            tracing::error!(reports, requests, "spool full; oldest dropped");
            self.stats.dropped.fetch_add(reports, Ordering::Relaxed);
            self.add_dropped(requests);
        }
    }

    fn outbox(&self) -> Outbox {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).outbox.clone()
    }

    fn refused(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.refused, true) {
            tracing::warn!(%error, "the disk takes no report; they wait in memory, nothing is lost yet");
        }
    }

    async fn write_checkpoint(&mut self, open: Sealed) {
        let kept = Arc::clone(&self.kept);
        let write = move || kept.lock().unwrap_or_else(PoisonError::into_inner).checkpoints.write(&open);
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.refused(&error),
            Err(error) => self.refused(&error),
        }
    }

    fn add_dropped(&self, requests: u64) {
        self.stats.dropped_requests.fetch_add(requests, Ordering::Relaxed);
        self.gate.edge().add_dropped(requests);
    }
}

fn size(sealed: &Sealed) -> usize {
    sealed.bytes.len() + sealed.state.as_ref().map_or(0, Vec::len)
}

fn requests_in(sealed: &Sealed) -> u64 {
    let report = weighbridge_proto::report::check(&sealed.bytes);
    report.map_or(0, |report| report.cells.iter().map(|cell| cell.counts.requests).sum())
}
