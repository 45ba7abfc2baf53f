//! `serve`: the whole path in one process, for a gateway on this machine.
//!
//! Receives OTLP (or the LiteLLM webhook) on the usual ports, counts in windows, keeps everything in one folder that survives a
//! restart, and answers SQL over HTTP. SIGTERM and Ctrl-C drain it: the open window is sealed and loaded before it ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use weighbridge_collector::config::{
    Admin, Config, OtlpSignal, OtlpSource, Receiver, Source, SpoolConfig, Uplink, WebhookSource,
};
use weighbridge_collector::profile::{Dialect, Profile};
use weighbridge_collector::run as collector;
use weighbridge_collector::window::DEFAULT_WINDOW_S;

use crate::pipeline::{Pipeline, PipelineConfig};

/// Time for the last reports to be durable before `serve` ends.
const DRAIN_TIMEOUT_S: u64 = 20;

/// What a gateway sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Input {
    /// OTLP spans.
    Traces,
    /// OTLP metrics.
    Metrics,
    /// LiteLLM's `generic_api` records.
    Webhook,
}

/// Options of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArguments {
    /// Folder for everything: spool, ledger, ClickHouse.
    #[arg(long, default_value = "weighbridge-data")]
    pub data: PathBuf,
    /// Whose telemetry it is.
    #[arg(long, default_value = "litellm")]
    pub profile: Profile,
    /// What the gateway sends.
    #[arg(long, default_value = "traces")]
    pub input: Input,
    /// Length of a window, seconds, 10 to 3600.
    #[arg(long, default_value_t = DEFAULT_WINDOW_S)]
    pub window_s: u32,
    /// Where the gateway runs: production, staging, development or unknown.
    #[arg(long, default_value = "development")]
    pub environment: String,
    /// Your own names for models (see `aliases_file` of the collector).
    #[arg(long)]
    pub aliases: Option<PathBuf>,
    /// Address for receivers.
    #[arg(long, default_value = "127.0.0.1")]
    pub listen: std::net::IpAddr,
    /// Port of OTLP/gRPC.
    #[arg(long, default_value_t = 4317)]
    pub grpc_port: u16,
    /// Port of OTLP/HTTP.
    #[arg(long, default_value_t = 4318)]
    pub http_port: u16,
    /// Port of the webhook, path /webhook.
    #[arg(long, default_value_t = 4319)]
    pub webhook_port: u16,
    /// Port of the collector's /livez, /readyz and /metrics.
    #[arg(long, default_value_t = 9464)]
    pub admin_port: u16,
    /// HTTP port of the embedded ClickHouse.
    #[arg(long, default_value_t = 8123)]
    pub clickhouse_port: u16,
    /// Bootstrap servers of a real Kafka instead of the in-process broker.
    #[arg(long)]
    pub kafka: Option<String>,
    /// URL of a real ClickHouse instead of the embedded one.
    #[arg(long)]
    pub clickhouse: Option<String>,
}

impl ServeArguments {
    /// The parts behind the collector.
    pub fn pipeline(&self) -> PipelineConfig {
        PipelineConfig {
            data: self.data.clone(),
            kafka: self.kafka.clone(),
            clickhouse: self.clickhouse.clone(),
            clickhouse_port: self.clickhouse_port,
        }
    }

    /// The collector that sends to `endpoint`.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn collector(&self, endpoint: String) -> anyhow::Result<Config> {
        let at = |port| SocketAddr::new(self.listen, port);
        let otlp = |signal| {
            Source::Otlp(OtlpSource {
                profile: self.profile,
                signal,
                grpc_listen: Some(at(self.grpc_port)),
                http_listen: Some(at(self.http_port)),
            })
        };
        let source = match self.input {
            Input::Traces => otlp(OtlpSignal::Traces),
            Input::Metrics => otlp(OtlpSignal::Metrics),
            Input::Webhook => {
                let profile = Dialect::of_webhook(self.profile.name()).map_err(anyhow::Error::msg)?;
                Source::Webhook(WebhookSource { profile, listen: at(self.webhook_port) })
            }
        };
        let config = Config {
            data_folder: self.data.join("collector"),
            environment: self.environment.clone(),
            aliases_file: self.aliases.clone(),
            vantage: None,
            behind_gateway: false,
            gateway_id: None,
            claims_folder: None,
            file: None,
            window_s: self.window_s,
            source,
            receiver: Receiver::default(),
            spool: SpoolConfig::default(),
            uplink: Uplink::plain(endpoint, DRAIN_TIMEOUT_S),
            admin: Admin { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, self.admin_port)) },
        };
        config.check()?;
        Ok(config)
    }

    /// What a person does next.
    fn print_next_steps(&self, clickhouse: &str) {
        let input = match self.input {
            Input::Webhook => format!("webhook on http://{}:{}/webhook", self.listen, self.webhook_port),
            _ => format!(
                "OTLP on {0}:{1} (gRPC) and http://{0}:{2}",
                self.listen, self.grpc_port, self.http_port
            ),
        };
        println!("weighbridge: listening for {input}");
        println!("weighbridge: a window closes every {} s; data in {}", self.window_s, self.data.display());
        println!("weighbridge: the split:  weighbridge split --clickhouse {clickhouse}");
        println!(
            "weighbridge: SQL:        curl '{clickhouse}' --data 'SELECT * FROM weighbridge.traffic LIMIT 10'"
        );
    }
}

/// Runs until `shutdown`, then drains.
///
/// # Errors
/// A part cannot be started, or ended with an error.
pub async fn serve(arguments: ServeArguments, shutdown: CancellationToken) -> anyhow::Result<()> {
    let pipeline = Pipeline::start(&arguments.pipeline()).await?;
    let config = arguments.collector(pipeline.ingest_endpoint())?;
    arguments.print_next_steps(&pipeline.clickhouse().url);
    let collected = collector::run(config, shutdown).await.context("collector");
    pipeline.stop().await?;
    collected
}
