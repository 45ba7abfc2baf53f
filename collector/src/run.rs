//! `run`: assembles receivers, core, spool, uplink and admin port in one readable place, and drains them in order.
//!
//! Order of shutdown: receivers (no new payloads), core (calls on hold end, the open window is sealed), uplink (last reports
//! acknowledged, within `drain_timeout_s`), admin. What is not acknowledged by then stays in the spool and is sent by the next
//! start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use weighbridge_catalog::{Catalogue, Day};

use crate::admin::{self, Observed, SealStats};
use crate::claim::{Claim, ClaimError};
use crate::classifier::Classifier;
use crate::config::{Config, ConfigError, Source};
use crate::deliver::checkpoint::CheckpointFile;
use crate::deliver::dial::Dialer;
use crate::deliver::ledger::Ledger;
use crate::deliver::position::LogPositions;
use crate::deliver::spool::{Spool, SpoolError};
use crate::deliver::state_file::StateFile;
use crate::deliver::uplink::{self, Outbox, UplinkStats};
use crate::drain;
use crate::intake::Intake;
use crate::profile::prometheus::PagePlan;
use crate::profile::rules::{self, ProfileError};
use crate::receiver::tail::{self, Tail};
use crate::receiver::{Clock, Gate, SystemClock, grpc, http};
use crate::scrape::{self, ScrapeError, ScrapeStats};
use crate::seal::{Kept, Sealer};
use crate::source::access_log::LogPosition;
use crate::tap::{self, UpstreamError};
use crate::window::{Edge, Header, boot_epoch};

/// Receivers finish the requests at hand within this time; exporters keep their connections open for ever.
const RECEIVER_DRAIN: Duration = Duration::from_secs(2);
/// HTTP/2 windows of the receiver: one large batch in flight, no more memory than that.
const H2_WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2 frames of the receiver: a batch in a few frames instead of twenty, for senders that heed it.
const H2_FRAME_BYTES: u32 = 128 * 1024;

/// Why the collector cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another collector counts the gateway instance.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The data folder.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A port.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
    /// The file of scraped series.
    #[error("data folder: series: {0}")]
    Series(#[from] std::io::Error),
    /// A profile.
    #[error(transparent)]
    Rules(#[from] ProfileError),
    /// A target to scrape.
    #[error("source.prometheus: {0}")]
    Scrape(#[from] ScrapeError),
    /// The server that the tap stands before.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A receiver.
    #[error("receiver: {0}")]
    Receiver(String),
}

impl RunError {
    /// Stable label.
    pub fn code(&self) -> &'static str {
        match self {
            RunError::Config(error) => error.code(),
            RunError::Claim(error) => error.code(),
            RunError::Spool(error) => error.code(),
            RunError::Listen { .. } => "listen",
            RunError::Random(_) => "random",
            RunError::Series(_) => "series",
            RunError::Rules(_) => "profile",
            RunError::Scrape(error) => error.code(),
            RunError::Upstream(_) => "upstream",
            RunError::Receiver(_) => "receiver",
        }
    }
}

/// Runs until `shutdown`, then drains.
///
/// # Errors
/// The configuration, the data folder or a port cannot be used.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), RunError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let catalogue = weighbridge_catalog::embedded();
    let _claim = Claim::take(&config)?;
    if let Some(note) = config.standing_note() {
        tracing::info!("{note}");
    }
    let mut spool = Spool::open(&config.data_folder, config.spool.max_bytes)?;
    let ledger = Ledger::new(&config.data_folder, catalogue);
    let state_file = StateFile::new(&config.data_folder);
    let checkpoints = CheckpointFile::new(&config.data_folder);
    if let Some(open) = checkpoints.recover(&mut spool, &state_file, |sealed| ledger.record(sealed))? {
        tracing::info!(requests = open.requests, "the last start was killed; its open window was taken over");
    }
    let seal = Arc::new(SealStats::default());
    seal.resumed.store(spool.size().0, Ordering::Relaxed);
    let positions = LogPositions::open(&config.data_folder, &spool)?;
    let edge = edge(&config, &spool, &state_file, catalogue, clock.now_ms())?;
    let gate = Gate::new(edge, clock, config.signal(), config.receiver.max_body_bytes);
    let outbox = Outbox::new(spool);
    let stats = Arc::new(UplinkStats::default());
    let scraped = Arc::new(ScrapeStats::default());
    let (drain, mut orders) = drain::channel(outbox.clone());
    let observed = Observed {
        gate: gate.clone(),
        outbox: outbox.clone(),
        uplink: Arc::clone(&stats),
        seal: Arc::clone(&seal),
        scraped: Arc::clone(&scraped),
        drain: drain.clone(),
    };

    let receiver_drain = match &config.source {
        Source::Tap(tap) => Duration::from_secs(tap.drain_timeout_s),
        _ => RECEIVER_DRAIN,
    };
    let stop_admin = CancellationToken::new();
    let mut admin_tasks = JoinSet::new();
    let listener = listen(config.admin.listen).await?;
    serve_http(&mut admin_tasks, listener, admin::router(observed), stop_admin.clone());

    let mut receivers = JoinSet::new();
    let resumed = Resumed {
        read_to: positions.committed(),
        state_file: state_file.clone(),
        stats: scraped,
        draining: drain.begun().clone(),
    };
    start_receivers(&mut receivers, &config, &gate, &resumed, &shutdown).await?;
    let dialer = Dialer::new(&config.uplink)?;
    let stop_uplink = CancellationToken::new();
    let sending = tokio::spawn(uplink::run(outbox.clone(), dialer, stats, stop_uplink.clone()));
    let kept = Kept { outbox: outbox.clone(), ledger, state_file, checkpoints, positions };
    let mut sealer = Sealer::new(gate, kept, Arc::clone(&seal));
    seal.ready.store(true, Ordering::Relaxed);
    tracing::info!(
        catalogue = catalogue.version().0,
        resumed = seal.resumed.load(Ordering::Relaxed),
        "collector started"
    );

    sealer.run_until(&mut orders, &shutdown).await;
    // Who asks from here on learns that it ends.
    drop(orders);
    seal.ready.store(false, Ordering::Relaxed);
    end(&mut receivers, receiver_drain).await;
    sealer.finish().await;
    let drained =
        tokio::time::timeout(Duration::from_secs(config.uplink.drain_timeout_s), outbox.empty()).await;
    if drained.is_err() {
        let (reports, _) = outbox.with(|spool| spool.size());
        tracing::warn!(
            reports,
            "not acknowledged in time; they stay in the spool and are sent by the next start"
        );
    }
    stop_uplink.cancel();
    // A panic of the uplink task loses nothing: its reports are in the spool.
    let _ = sending.await;
    stop_admin.cancel();
    end(&mut admin_tasks, RECEIVER_DRAIN).await;
    Ok(())
}

/// The counting core of `config`, beginning at `now_ms`.
fn edge(
    config: &Config,
    spool: &Spool,
    state_file: &StateFile,
    catalogue: &'static Catalogue,
    now_ms: u64,
) -> Result<Edge, RunError> {
    let day = Day::from_unix_seconds(now_ms / 1_000);
    let classifier = Classifier::new(catalogue, config.aliases(catalogue)?, day);
    let started_nano = now_ms.saturating_mul(1_000_000);
    let key = state_file.key()?;
    let mut intake = match &config.source {
        Source::Otlp(otlp) => Intake::of_events(otlp.profile, classifier, key, started_nano),
        Source::Webhook(webhook) => Intake::of_events(webhook.profile, classifier, key, started_nano),
        Source::AccessLog(log) => Intake::of_events(log.profile, classifier, key, started_nano),
        Source::Tap(tap) => Intake::of_events(tap.profile, classifier, key, started_nano),
        Source::Prometheus(prometheus) => {
            let plan = PagePlan::new(&rules::named(&prometheus.profile)?)?;
            Intake::of_pages(plan, classifier, key, started_nano).with_entry_models(&prometheus.entry_models)
        }
    };
    if let Some((_, state)) = state_file.recover(|position| spool.holds(position))?
        && !intake.restore(&state, now_ms)
    {
        tracing::warn!("the state of an earlier version is not read; counters begin with a baseline");
    }
    let random = getrandom::u32().map_err(|error| RunError::Random(error.to_string()))?;
    let header = Header {
        collector: spool.collector(),
        boot_epoch: boot_epoch(now_ms, random),
        window_s: config.window_s,
        environment: config.environment()?,
        vantage: config.vantage()?,
        gateway_product: intake.gateway_product(),
    };
    Ok(Edge::new(intake, header, now_ms))
}

/// Where the sources go on that are read from here: files and pages.
struct Resumed {
    read_to: Option<LogPosition>,
    state_file: StateFile,
    stats: Arc<ScrapeStats>,
    draining: CancellationToken,
}

async fn start_receivers(
    tasks: &mut JoinSet<()>,
    config: &Config,
    gate: &Gate,
    resumed: &Resumed,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    match &config.source {
        Source::Otlp(otlp) => {
            if let Some(address) = otlp.grpc_listen {
                let listener = listen(address).await?;
                serve_grpc(tasks, listener, gate, shutdown.clone());
            }
            if let Some(address) = otlp.http_listen {
                serve_http(tasks, listen(address).await?, http::otlp(gate.clone()), shutdown.clone());
            }
        }
        Source::Webhook(webhook) => {
            serve_http(tasks, listen(webhook.listen).await?, http::webhook(gate.clone()), shutdown.clone());
        }
        Source::Prometheus(prometheus) => {
            let ends = scrape::Ends { shutdown: shutdown.clone(), draining: resumed.draining.clone() };
            scrape::start(tasks, prometheus, gate, &resumed.state_file, &resumed.stats, &ends)?;
        }
        Source::Tap(source) => tap::start(tasks, source, listen(source.listen).await?, gate, shutdown)?,
        Source::AccessLog(log) => {
            if let Some(path) = &log.file {
                let tail = Tail::new(path.clone(), log.start_at, resumed.read_to);
                tasks.spawn(tail::run(tail, gate.clone(), shutdown.clone()));
            }
            if let Some(address) = log.otlp_grpc_listen {
                serve_grpc(tasks, listen(address).await?, gate, shutdown.clone());
            }
            if let Some(address) = log.otlp_http_listen {
                serve_http(tasks, listen(address).await?, http::otlp(gate.clone()), shutdown.clone());
            }
            if let Some(address) = log.als_listen {
                serve_grpc(tasks, listen(address).await?, gate, shutdown.clone());
            }
            if log.stdin {
                let (gate, shutdown) = (gate.clone(), shutdown.clone());
                let read = move || tail::read_lines(std::io::stdin().lock(), &gate, || shutdown.cancel());
                let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
                thread.map_err(|error| RunError::Receiver(error.to_string()))?;
            }
            if let Some(address) = log.http_listen {
                let router = http::access_log(gate.clone());
                serve_http(tasks, listen(address).await?, router, shutdown.clone());
            }
        }
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
}

fn serve_grpc(tasks: &mut JoinSet<()>, listener: TcpListener, gate: &Gate, shutdown: CancellationToken) {
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(H2_WINDOW_BYTES)
        .initial_connection_window_size(H2_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES)
        .add_service(grpc::TraceExport(gate.clone()))
        .add_service(grpc::MetricsExport(gate.clone()))
        .add_service(grpc::LogsExport(gate.clone()))
        .add_service(grpc::AccessLogStream(gate.clone()))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            shutdown.cancelled_owned(),
        );
    tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::warn!(%error, "gRPC receiver ended");
        }
    });
}

fn serve_http(tasks: &mut JoinSet<()>, listener: TcpListener, router: Router, shutdown: CancellationToken) {
    // Without it an answer waits 40 ms for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    tasks.spawn(async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = server.await {
            tracing::warn!(%error, "HTTP receiver ended");
        }
    });
}

/// Waits for tasks that were told to stop, and ends those that do not.
async fn end(tasks: &mut JoinSet<()>, limit: Duration) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DEFAULT_DRAIN_TIMEOUT_S};

    /// What Kubernetes gives a pod by default.
    const GRACE_PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn the_longest_end_by_default_fits_into_the_grace_period() {
        let text = "data_folder: /tmp/w\nenvironment: production\n\
            source: {tap: {profile: auto, listen: '127.0.0.1:11435', upstream: 'http://127.0.0.1:11434'}}\n\
            uplink: {endpoint: 'http://127.0.0.1:1'}\n";
        let Source::Tap(tap) = Config::parse(text, |_| None).unwrap().source else { panic!("tap") };
        let receivers = Duration::from_secs(tap.drain_timeout_s).max(RECEIVER_DRAIN);
        let uplink = Duration::from_secs(DEFAULT_DRAIN_TIMEOUT_S);
        assert!(receivers + uplink + RECEIVER_DRAIN < GRACE_PERIOD);
    }
}
