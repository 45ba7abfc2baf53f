//! Draining: from the order on, what is counted leaves every second, while the gateway uses up its grace period.
//!
//! In Kubernetes a sidecar may have no time between SIGTERM and SIGKILL: a gateway with long streams uses all of it. So the order is
//! given when the pod begins to end (preStop, `weighbridge-collector drain`), as `POST /drain?wait_ms=N` to the admin port.
//!
//! In: orders. Out: to the sealing task, seal now and every second from now on; to the scraper, ask every second; to the one who
//! asked, whether everything counted before the order is acknowledged, after at most `wait`. Guarantees: receivers go on
//! unchanged; an order may be repeated; there is no way back but a new start; sealing more often changes no count, because a
//! window may have any number of reports.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::deliver::uplink::Outbox;

/// Longest wait that an order may ask for; a request must end.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// Orders that wait for the sealing task; more wait with their senders.
const ORDERS: usize = 4;

/// What became of an order by the time it was answered. It holds in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything counted before is acknowledged.
    Acknowledged,
    /// So many reports are in the spool, or wait for the disk.
    Waiting {
        /// In the spool.
        reports: u64,
    },
}

/// Gives orders.
#[derive(Clone, Debug)]
pub struct Drain {
    begun: CancellationToken,
    orders: mpsc::Sender<oneshot::Sender<bool>>,
    outbox: Outbox,
}

/// Takes orders, in the sealing task.
#[derive(Debug)]
pub struct Orders {
    begun: CancellationToken,
    orders: mpsc::Receiver<oneshot::Sender<bool>>,
}

/// The two ends.
pub fn channel(outbox: Outbox) -> (Drain, Orders) {
    let begun = CancellationToken::new();
    let (sender, receiver) = mpsc::channel(ORDERS);
    let drain = Drain { begun: begun.clone(), orders: sender, outbox };
    (drain, Orders { begun, orders: receiver })
}

impl Drain {
    /// Begins to drain, and waits until what was counted so far is acknowledged, at most `wait`.
    pub async fn order(&self, wait: Duration) -> Drained {
        self.begun.cancel();
        match tokio::time::timeout(wait.min(MAX_WAIT), self.acknowledged()).await {
            Ok(true) => Drained::Acknowledged,
            _ => Drained::Waiting { reports: self.outbox.with(|spool| spool.size().0) },
        }
    }

    /// Cancelled when it began.
    pub fn begun(&self) -> &CancellationToken {
        &self.begun
    }

    /// False: the disk takes nothing, or the collector is about to end and seals anyway.
    async fn acknowledged(&self) -> bool {
        let (answer, kept) = oneshot::channel();
        let is_kept = self.orders.send(answer).await.is_ok() && kept.await == Ok(true);
        if is_kept {
            self.outbox.empty().await;
        }
        is_kept
    }
}

impl Orders {
    /// The next order; answered with whether everything counted so far is on disk.
    pub async fn next(&mut self) -> oneshot::Sender<bool> {
        match self.orders.recv().await {
            Some(order) => order,
            // Nobody is left who could give one.
            None => std::future::pending().await,
        }
    }

    /// Whether it began.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }
}
