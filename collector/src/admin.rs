//! The admin port: `/livez`, `/readyz`, `/metrics`, and `POST /drain` (`drain`).
//!
//! In Kubernetes it listens on every address of the pod, for probes and Prometheus. `/drain` is for this machine's own loopback only:
//! not for other addresses of 127.0.0.0/8, from which a service mesh hands on what came from outside, and not for web pages.
//!
//! Metrics are read from the counting core and the spool when they are asked for; nothing is kept twice, and nothing is computed
//! from something else, so that the equations can fail. At any quiet moment, exactly:
//!
//! ```text
//! items_received = items_counted + sum over reasons(items_skipped) + sum over reasons(items_refused)
//! reports_sealed + reports_resumed = reports_acknowledged + reports_refused + reports_dropped + spool_reports
//! requests_dropped = requests in reports_dropped and reports_failed; every later report of the boot epoch carries the sum
//! ```
//!
//! All names begin with `weighbridge_collector_`. An item is what `discard` says. `reports_failed` could not be written to disk: they
//! were never sealed, and their requests are in `requests_dropped`. `reports_settled_late` are among `reports_dropped`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::routing::{get, post};
use http::header::ORIGIN;
use http::{HeaderMap, StatusCode, Uri};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text::encode};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::deliver::uplink::{Outbox, UplinkStats};
use crate::drain::{Drain, Drained};
use crate::receiver::Gate;
use crate::scrape::ScrapeStats;

/// What the sealing side did.
#[derive(Debug, Default)]
pub struct SealStats {
    /// Reports found in the spool at start.
    pub resumed: AtomicU64,
    /// Reports sealed and on disk.
    pub sealed: AtomicU64,
    /// Reports that could not be written to disk; they were counted as dropped requests.
    pub failed: AtomicU64,
    /// Reports dropped unsent because the spool was full.
    pub dropped: AtomicU64,
    /// Requests in dropped and failed reports.
    pub dropped_requests: AtomicU64,
    /// Receivers are listening.
    pub ready: AtomicBool,
}

/// Everything `/metrics` looks at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The counting core.
    pub gate: Gate,
    /// The spool.
    pub outbox: Outbox,
    /// The uplink.
    pub uplink: Arc<UplinkStats>,
    /// The sealing side.
    pub seal: Arc<SealStats>,
    /// The scraper.
    pub scraped: Arc<ScrapeStats>,
    /// Where the order to drain goes.
    pub drain: Drain,
}

impl Observed {
    fn encode_all(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (totals, tally, resets) = {
            let mut edge = self.gate.edge();
            let counter = edge.intake().counter();
            (counter.totals(), counter.tally().clone(), counter.resets())
        };
        let skipped: Vec<_> = tally.skipped().map(|(reason, count)| (reason.name(), count)).collect();
        let refused: Vec<_> = tally.refused().map(|(reason, count)| (reason.name(), count)).collect();
        family(
            encoder,
            "items_skipped",
            "Items of telemetry that are no request to a model, by reason",
            &skipped,
        )?;
        family(encoder, "items_refused", "Items and payloads refused as bad input, by reason", &refused)?;
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let (seal, uplink, scraped) = (&self.seal, &self.uplink, &self.scraped);
        let counters = [
            (
                "items_received",
                "Items of telemetry read; what is refused or skipped whole is one",
                tally.items_received(),
            ),
            ("items_counted", "Items of telemetry taken into the counts", tally.items_counted()),
            ("requests", "Client requests with a final outcome", totals.requests),
            ("attempts", "Attempts at a model", totals.attempts),
            ("input_tokens", "Input tokens", totals.input_tokens),
            ("output_tokens", "Output tokens", totals.output_tokens),
            ("pages_scraped", "Pages of metrics that were counted", load(&scraped.pages)),
            ("scrapes_failed", "Requests for a page that gave none", load(&scraped.failed)),
            ("counter_resets", "Counters of pages and pushed metrics that began anew", resets),
            ("reports_resumed", "Reports found in the spool at start", load(&seal.resumed)),
            ("reports_sealed", "Reports sealed and on disk", load(&seal.sealed)),
            ("reports_failed", "Reports that could not be written to disk", load(&seal.failed)),
            ("reports_dropped", "Reports dropped unsent because the spool was full", load(&seal.dropped)),
            ("requests_dropped", "Requests in dropped and failed reports", load(&seal.dropped_requests)),
            ("reports_sent", "Reports put on a stream, resends included", load(&uplink.sent)),
            (
                "reports_acknowledged",
                "Reports of the spool that ingest made durable",
                load(&uplink.acknowledged),
            ),
            ("reports_retried", "Receipts that asked for a resend", load(&uplink.retried)),
            ("reports_refused", "Reports that ingest will never take", load(&uplink.refused)),
            (
                "reports_settled_late",
                "Receipts for reports that the full spool had dropped while they were under way",
                load(&uplink.settled_late),
            ),
            ("uplink_streams", "Streams opened to ingest", load(&uplink.streams)),
        ];
        for (name, help, value) in counters {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(&prefixed(name), help, None, metric.metric_type())?)?;
        }
        let (reports, bytes, damaged) = self.outbox.with(|spool| {
            let (reports, bytes) = spool.size();
            (reports, bytes, spool.damaged())
        });
        let connected = i64::from(uplink.connected.load(Ordering::Relaxed));
        let draining = i64::from(self.drain.begun().is_cancelled());
        let gauges = [
            ("draining", "1 since the order to drain: what is counted leaves every second", None, draining),
            ("spool_reports", "Reports in the spool", None, reports as i64),
            ("spool", "Size of the spool", Some(Unit::Bytes), bytes as i64),
            ("spool_damaged_files", "Spool files set aside at start", None, damaged as i64),
            ("uplink_connected", "1 while a stream to ingest is open", None, connected),
        ];
        for (name, help, unit, value) in gauges {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(
                &prefixed(name),
                help,
                unit.as_ref(),
                metric.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

fn prefixed(name: &str) -> String {
    format!("weighbridge_collector_{name}")
}

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    reasons: &[(&'static str, u64)],
) -> Result<(), std::fmt::Error> {
    let metric_type = ConstCounter::new(0_u64).metric_type();
    let name = prefixed(name);
    let mut metric_encoder = encoder.encode_descriptor(&name, help, None, metric_type)?;
    for (reason, count) in reasons {
        let labels = [("reason", *reason)];
        ConstCounter::new(*count).encode(metric_encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

#[derive(Debug)]
struct AtScrape(Observed);

impl Collector for AtScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode_all(&mut encoder)
    }
}

#[derive(Clone)]
struct AdminState {
    registry: Arc<Registry>,
    seal: Arc<SealStats>,
    drain: Drain,
}

/// The admin endpoints. To be served with the peer's address.
pub fn router(observed: Observed) -> Router {
    let (seal, drain) = (Arc::clone(&observed.seal), observed.drain.clone());
    let mut registry = Registry::default();
    registry.register_collector(Box::new(AtScrape(observed)));
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/drain", post(drain_now))
        .with_state(AdminState { registry: Arc::new(registry), seal, drain })
}

/// Ready means listening; whether ingest is reachable is no reason to hold back the gateway.
async fn ready(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    if state.seal.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

/// Answers 200 when everything counted before is acknowledged, 202 when that did not come within `wait_ms`.
async fn drain_now(
    State(state): State<AdminState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: Uri,
) -> (StatusCode, String) {
    // A browser says where a page that posts comes from; nothing else does.
    if !is_own_loopback(peer.ip()) || headers.contains_key(ORIGIN) {
        return (
            StatusCode::FORBIDDEN,
            "draining is asked for from the same pod or machine only\n".to_owned(),
        );
    }
    let wait = match uri.query().unwrap_or("wait_ms=0").strip_prefix("wait_ms=").map(str::parse) {
        Some(Ok(wait_ms)) => Duration::from_millis(wait_ms),
        _ => return (StatusCode::BAD_REQUEST, "write /drain or /drain?wait_ms=2000\n".to_owned()),
    };
    if !state.drain.begun().is_cancelled() {
        tracing::info!("draining: what is counted leaves every second from now on");
    }
    match state.drain.order(wait).await {
        Drained::Acknowledged => {
            (StatusCode::OK, "draining; everything counted so far is acknowledged\n".to_owned())
        }
        Drained::Waiting { reports } => (
            StatusCode::ACCEPTED,
            format!(
                "draining; not acknowledged within {} ms, {reports} reports are in the spool\n",
                wait.as_millis()
            ),
        ),
    }
}

fn is_own_loopback(peer: IpAddr) -> bool {
    matches!(peer.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST))
}

async fn metrics(
    State(state): State<AdminState>,
) -> (StatusCode, [(http::HeaderName, &'static str); 1], String) {
    let mut text = String::new();
    let content_type =
        [(http::header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match encode(&mut text, &state.registry) {
        Ok(()) => (StatusCode::OK, content_type, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, content_type, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_loopback_may_ask_to_drain() {
        for (peer, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("127.0.0.6", false),
            ("10.1.2.3", false),
            ("::ffff:10.1.2.3", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_own_loopback(peer.parse().unwrap()), expected, "{peer}");
        }
    }
}
