//! Logs to stderr, and this program's own traces and metrics by OTLP when an endpoint is configured.
//!
//! The metrics exported are those of `/metrics` (histograms excepted), read at each export. Export never blocks a stage; what
//! cannot be exported is dropped by the SDK. No payload, address or name of a peer is in any of them.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::admin::{Export, Instruments, Source};
use crate::config::{LogFormat, Telemetry};

const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Spans of the exporter's own gRPC calls would be exported in turn.
const TRACE_FILTER: &str = "weighbridge_aggregator=info,clickhouse=info";

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.log_filter`.
    #[error("telemetry.log_filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// `telemetry.otlp_endpoint`.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Another subscriber was there before.
    #[error("telemetry: the log was set up twice")]
    Twice,
}

impl TelemetryError {
    /// Stable name.
    pub fn code(&self) -> &'static str {
        match self {
            TelemetryError::Filter(_) => "telemetry_filter",
            TelemetryError::Exporter(_) => "telemetry_exporter",
            TelemetryError::Twice => "telemetry_twice",
        }
    }
}

/// Keeps the exporters; `shutdown` sends what they hold.
#[derive(Debug, Default)]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl Guard {
    /// Sends what is left. Blocks up to the export's time limit.
    pub fn shutdown(self) {
        // Nothing can be done about telemetry that cannot be delivered at the end.
        if let Some(traces) = self.traces {
            drop(traces.shutdown());
        }
        if let Some(metrics) = self.metrics {
            drop(metrics.shutdown());
        }
    }

    /// Exports the metrics of `instruments`; those of stages that register later, too.
    ///
    /// # Errors
    /// An endpoint that cannot be used.
    pub fn export(&mut self, config: &Telemetry, instruments: &Instruments) -> Result<(), TelemetryError> {
        if config.otlp_endpoint.is_empty() {
            return Ok(());
        }
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&config.otlp_endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let provider =
            SdkMeterProvider::builder().with_periodic_exporter(exporter).with_resource(resource()).build();
        let meter = provider.meter("weighbridge-aggregator");
        instruments.export_to(move |metric| register(&meter, metric));
        self.metrics = Some(provider);
        Ok(())
    }
}

/// Sets up the log and the export of traces. Call it inside the runtime.
///
/// # Errors
/// A filter or an endpoint that cannot be used.
pub fn start(config: &Telemetry) -> Result<Guard, TelemetryError> {
    let filter = if config.log_filter.is_empty() { "info" } else { &config.log_filter };
    let log = fmt::layer().with_writer(std::io::stderr);
    let log = match config.log_format {
        LogFormat::Json => log.json().boxed(),
        LogFormat::Text => log.boxed(),
    };
    let log = log.with_filter(EnvFilter::try_new(filter)?);
    let traces = match config.otlp_endpoint.as_str() {
        "" => None,
        endpoint => {
            let exporter = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .with_timeout(EXPORT_TIMEOUT)
                .build()?;
            Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build())
        }
    };
    let spans = match &traces {
        None => None,
        Some(provider) => Some(
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("weighbridge-aggregator"))
                .with_filter(EnvFilter::try_new(TRACE_FILTER)?),
        ),
    };
    tracing_subscriber::registry().with(log).with(spans).try_init().map_err(|_| TelemetryError::Twice)?;
    Ok(Guard { traces, metrics: None })
}

fn resource() -> Resource {
    Resource::builder()
        .with_service_name("weighbridge-aggregator")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The provider keeps the callback; the instrument itself is not needed again.
fn register(meter: &Meter, (name, help, source): &Export) {
    let (name, help) = (*name, *help);
    match source.clone() {
        Source::Counter(counter) => {
            let observe = move |to: &dyn AsyncInstrument<u64>| to.observe(counter.get(), &[]);
            let _ = meter.u64_observable_counter(name).with_description(help).with_callback(observe).build();
        }
        Source::Labelled(family, label, values) => {
            let observe = move |to: &dyn AsyncInstrument<u64>| {
                for value in values {
                    let count = family.get_or_create(&[(label, *value)]).get();
                    to.observe(count, &[KeyValue::new(label, *value)]);
                }
            };
            let _ = meter.u64_observable_counter(name).with_description(help).with_callback(observe).build();
        }
        Source::Gauge(gauge) => {
            let observe = move |to: &dyn AsyncInstrument<i64>| to.observe(gauge.get(), &[]);
            let _ = meter.i64_observable_gauge(name).with_description(help).with_callback(observe).build();
        }
    }
}
