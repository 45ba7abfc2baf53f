//! `run --stand-by`: a collector that cannot run does not end.
//!
//! A sidecar that ends again and again holds up its pod: the kubelet waits for it before it starts the gateway, and takes a pod for
//! unready while one of its containers restarts. So a configuration that is wrong or not there yet, a port that is taken, or a disk that
//! refuses must not end the process.
//!
//! In: an address for probes, and why the collector cannot run. Guarantees: until `RETRY` has passed or SIGTERM comes, `/livez` answers 200
//! at the address, `/readyz` 503 with the reason, `/metrics` the one gauge `weighbridge_collector_standing_by`, and `/drain` 200, as nothing
//! is held. If the address cannot be had, it waits without it. Does not guarantee anything about counts: nothing listens for telemetry
//! meanwhile, and its senders keep or drop it as they do.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// From one attempt to the next: a ConfigMap that is put right is read soon, and a port that stays taken fills no log.
pub const RETRY: Duration = Duration::from_secs(5);

const METRICS: &str = "\
# HELP weighbridge_collector_standing_by 1 while the collector cannot run; its log and /readyz say why.
# TYPE weighbridge_collector_standing_by gauge
weighbridge_collector_standing_by 1
# EOF
";

/// Why standing by is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Time for the next attempt.
    TryAgain,
    /// The process was told to end.
    Ended,
}

/// Answers at `address` until it is over.
pub async fn stand_by(address: SocketAddr, reason: String, shutdown: &CancellationToken) -> Over {
    let stop = CancellationToken::new();
    let _on_return = stop.clone().drop_guard();
    // Tasks of the attempt that failed are dropped when the runtime comes to them; one may hold this port.
    tokio::task::yield_now().await;
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let server = axum::serve(listener, router(reason)).with_graceful_shutdown(stop.cancelled_owned());
            tokio::spawn(server.into_future());
        }
        Err(error) => tracing::warn!(%address, %error, "probes get no answer"),
    }
    tokio::select! {
        () = shutdown.cancelled() => Over::Ended,
        () = tokio::time::sleep(RETRY) => Over::TryAgain,
    }
}

fn router(reason: String) -> Router {
    let ready = move || async move { (StatusCode::SERVICE_UNAVAILABLE, format!("standing by: {reason}\n")) };
    let content_type = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Router::new()
        .route("/livez", get(|| async { "standing by\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { (content_type, METRICS) }))
        .route("/drain", post(|| async { "standing by; nothing is held\n" }))
}
