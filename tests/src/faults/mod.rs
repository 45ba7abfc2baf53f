//! The fault suite: the whole path on real parts, while everything on it is killed, stopped, cut off and slowed down.
//!
//! In: a `Plan` (seed, number of faults, size). Out: a `Verdict`: every difference between what was sent and what ClickHouse
//! holds. Each report is distinct and its cells are known, so a loss shows as less and a replay as more, cell by cell.
//!
//! | file | what |
//! |---|---|
//! | `proxy` | what the network does to a connection |
//! | `fleet` | simulated collectors that speak the uplink as the real one does, and the truth |
//! | `gateways` | real collectors that scrape counters, and what the counters reached |
//! | `rig` | the processes and the proxies between them |
//! | `disk`, `versions` | a disk that can be full; which version a stage is |
//! | `fault` | what can happen, and how it ends |
//! | `verdict` | what ClickHouse holds, compared with the truth |
//!
//! Guarantees: one seed gives the same faults in the same order (not the same interleaving of the processes); loops are bounded
//! in count and time. Does not judge speed.

pub mod disk;
mod fault;
mod fleet;
mod gateways;
mod proxy;
mod rig;
mod verdict;
mod versions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;

pub use fault::Kind;
pub use verdict::Verdict;

use fleet::Fleet;
use gateways::Gateways;
use rig::Rig;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of every choice.
    pub seed: u64,
    /// Faults to inject.
    pub faults: usize,
    /// Simulated collectors.
    pub collectors: usize,
    /// Real collectors that scrape a gateway.
    pub gateways: usize,
    /// What may happen; empty: everything.
    pub kinds: Vec<Kind>,
    /// Binary of the aggregator; `None`: the one that is delivered.
    pub aggregator: Option<PathBuf>,
    /// Binary of an earlier version: stages come and go as the one and the other.
    pub previous: Option<PathBuf>,
    /// A guarantee that the aggregator breaks on purpose, for a binary that can.
    pub sabotage: Option<String>,
    /// How long loaders may take to catch up after the last fault.
    pub patience: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            seed: fastrand::u64(..),
            faults: 60,
            collectors: 40,
            gateways: 2,
            kinds: Vec::new(),
            aggregator: None,
            previous: None,
            sabotage: None,
            patience: Duration::from_secs(180),
        }
    }
}

/// Carries out `plan` over `folder` and tells each step by `say`.
///
/// # Panics
/// A process does not start, or does not come back to work by itself.
pub async fn run(plan: &Plan, folder: &Path, say: impl Fn(String)) -> Verdict {
    say(format!("seed {}: {} faults, {} collectors", plan.seed, plan.faults, plan.collectors));
    let mut random = Rng::with_seed(plan.seed);
    let mut rig = Rig::start(folder, plan).await;
    let fleet = Fleet::start(plan.collectors, rig.ingest_urls(), random.fork());
    let mut gateways = Gateways::start(plan.gateways, folder, &rig.ingest_urls()).await;
    let mut done: BTreeMap<Kind, usize> = BTreeMap::new();
    let mut poison = Vec::new();
    let mut faults = 0;
    while faults < plan.faults {
        let kind = fault::choose(&plan.kinds, &mut random);
        if kind.needs_gateways() && plan.gateways == 0 || kind == Kind::Upgrade && plan.previous.is_none() {
            continue;
        }
        faults += 1;
        *done.entry(kind).or_default() += 1;
        say(format!("{faults:>4} {kind:?}; {}", fleet.progress()));
        fault::inject(kind, &mut rig, &mut gateways, &mut poison, &mut random).await;
    }
    say("no more faults; waiting until everything is delivered".to_owned());
    rig.heal().await;
    let counted = gateways.finish().await;
    let truth = fleet.finish().await;
    let verdict = verdict::reach(&rig, &truth, &counted, &poison, plan.patience).await;
    let verdict::Verdict { differences, requests, reports } = &verdict;
    say(format!("{reports} reports, {requests} requests, {} differences; {done:?}", differences.len()));
    rig.stop().await;
    verdict
}
