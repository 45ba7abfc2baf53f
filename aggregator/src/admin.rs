//! Health and metrics of a process: what the stages register, and the port where it is read.
//!
//! `/livez` is 200 while the process serves; `/readyz` is 200 when every registered condition holds, else 503 with the names
//! of those that do not; `/metrics` is OpenMetrics text. The port answers nothing else and takes no input.

use std::fmt;
use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A counter per value of one label.
pub(crate) type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

/// What one process shows of itself. Clones share it.
#[derive(Clone, Default)]
pub struct Instruments(Arc<Shared>);

#[derive(Default)]
struct Shared {
    registry: Mutex<Registry>,
    conditions: Mutex<Vec<Condition>>,
    exported: Mutex<Exported>,
}

/// What `telemetry` exports, and where to once it is attached. Stages may register before and after.
#[derive(Default)]
struct Exported {
    sources: Vec<Export>,
    sink: Option<Sink>,
}

type Sink = Box<dyn Fn(&Export) + Send>;

/// A metric for `telemetry`: name, help and where its value is.
pub(crate) type Export = (&'static str, &'static str, Source);

/// A metric as `telemetry` exports it by OTLP.
#[derive(Clone)]
pub(crate) enum Source {
    Counter(Counter),
    Labelled(Labelled, &'static str, &'static [&'static str]),
    Gauge(Gauge),
}

/// Something that must hold before traffic is welcome.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    holds: Arc<AtomicBool>,
}

impl Condition {
    /// Says whether it holds now.
    pub fn set(&self, holds: bool) {
        self.holds.store(holds, Ordering::Relaxed);
    }
}

/// A panic elsewhere does not make health unreadable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instruments")
    }
}

impl Instruments {
    /// Registers a condition; it does not hold yet.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition { name, holds: Arc::default() };
        lock(&self.0.conditions).push(condition.clone());
        condition
    }

    /// Names of the conditions that do not hold.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = |condition: &&Condition| !condition.holds.load(Ordering::Relaxed);
        lock(&self.0.conditions).iter().filter(missing).map(|condition| condition.name).collect()
    }

    /// All metrics as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        match text::encode(&mut out, &lock(&self.0.registry)) {
            Ok(()) => out,
            // Writing to a String does not fail.
            Err(_) => String::new(),
        }
    }

    /// Hands every metric, present and future, to `sink`.
    pub(crate) fn export_to(&self, sink: impl Fn(&Export) + Send + 'static) {
        let mut exported = lock(&self.0.exported);
        exported.sources.iter().for_each(&sink);
        exported.sink = Some(Box::new(sink));
    }

    fn exported(&self, export: Export) {
        let mut exported = lock(&self.0.exported);
        if let Some(sink) = &exported.sink {
            sink(&export);
        }
        exported.sources.push(export);
    }

    pub(crate) fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        lock(&self.0.registry).register(name, help, counter.clone());
        self.exported((name, help, Source::Counter(counter.clone())));
        counter
    }

    /// Every value of the label is there from the start, at 0.
    pub(crate) fn labelled(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: &'static [&'static str],
    ) -> Labelled {
        let family = Labelled::default();
        for value in values {
            drop(family.get_or_create(&[(label, *value)]));
        }
        lock(&self.0.registry).register(name, help, family.clone());
        self.exported((name, help, Source::Labelled(family.clone(), label, values)));
        family
    }

    pub(crate) fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        let gauge = Gauge::default();
        lock(&self.0.registry).register(name, help, gauge.clone());
        self.exported((name, help, Source::Gauge(gauge.clone())));
        gauge
    }

    pub(crate) fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        buckets: impl IntoIterator<Item = f64>,
    ) -> Histogram {
        let histogram = Histogram::new(buckets);
        lock(&self.0.registry).register(name, help, histogram.clone());
        histogram
    }
}

/// Serves the port until `shutdown`. The last thing to stop in a process.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    instruments: Instruments,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(instruments);
    // Not a graceful stop: a scraper that holds its connection must not hold the process.
    tokio::select! {
        result = axum::serve(listener, router).into_future() => result,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn ready(State(instruments): State<Instruments>) -> (StatusCode, String) {
    match instruments.missing() {
        missing if missing.is_empty() => (StatusCode::OK, "ok\n".to_owned()),
        missing => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", missing.join(", "))),
    }
}

async fn metrics(
    State(instruments): State<Instruments>,
) -> ([(header::HeaderName, &'static str); 1], String) {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], instruments.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_and_metrics() {
        let instruments = Instruments::default();
        let kafka = instruments.condition("kafka");
        assert_eq!(instruments.missing(), ["kafka"]);
        kafka.set(true);
        assert!(instruments.missing().is_empty());
        instruments.counter("weighbridge_test", "A test").inc();
        instruments.labelled("weighbridge_labelled", "A test", "reason", &["a", "b"]);
        let text = instruments.render();
        assert!(text.contains("weighbridge_test_total 1"), "{text}");
        assert!(text.contains("weighbridge_labelled_total{reason=\"b\"} 0"), "{text}");
    }
}
