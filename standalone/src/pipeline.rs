//! The whole path in one process: collector, ingest, Kafka, load, rollup, ClickHouse.
//!
//! In: where data lives and which parts are real servers. Out: a running pipeline whose stages are the same library functions
//! that the separate programs run. Guarantees: started in the order of the data's way back (ClickHouse, tables, Kafka, load,
//! ingest, collector) and stopped in the order of its way (collector drained, ingest, load, ClickHouse), so nothing is in
//! flight when a stage stops.
//!
//! The in-process Kafka broker (librdkafka's mock cluster) holds its topic in memory: a `kill -9` loses reports that ingest
//! acknowledged and load had not inserted, at most the last few seconds. With `--kafka` it does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weighbridge_aggregator::admin::Instruments;
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config;
use weighbridge_aggregator::ingest::{self, IngestConfig};
use weighbridge_aggregator::load::{self, LoadConfig};
use weighbridge_aggregator::store::Store;
use weighbridge_aggregator::{migrate, register};

use crate::embedded::clickhouse::{Config as ClickHouseConfig, EmbeddedClickHouse};

/// Partitions of the in-process topic: one process loads them all.
const MOCK_PARTITIONS: i32 = 2;
/// A second: a person watches.
const ROLLUP_INTERVAL_S: u64 = 1;
/// Time for a stage to drain.
const STAGE_DRAIN: Duration = Duration::from_secs(25);

/// What to start.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// Folder for everything.
    pub data: PathBuf,
    /// Bootstrap servers of a real Kafka; none: the in-process broker.
    pub kafka: Option<String>,
    /// URL of a real ClickHouse; none: the embedded one.
    pub clickhouse: Option<String>,
    /// HTTP port of the embedded ClickHouse.
    pub clickhouse_port: u16,
}

/// Ingest, load and their servers, running.
pub struct Pipeline {
    clickhouse: Option<EmbeddedClickHouse>,
    // Dropping it ends the broker.
    _broker: Option<MockCluster<'static, DefaultProducerContext>>,
    store_config: config::ClickHouse,
    ingest_address: SocketAddr,
    instruments: Instruments,
    ingest: Stage,
    load: Stage,
}

/// A stage and how to stop it.
struct Stage {
    name: &'static str,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Stage {
    fn spawn<F>(name: &'static str, run: impl FnOnce(CancellationToken) -> F) -> Stage
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Stage { name, task: tokio::spawn(run(stop.clone())), stop }
    }

    async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = tokio::time::timeout(STAGE_DRAIN, self.task).await;
        ended.with_context(|| format!("{} did not stop in time", self.name))?.context(self.name)?
    }
}

impl Pipeline {
    /// Starts everything up to ingest.
    ///
    /// # Errors
    /// A part cannot be started; the text says which and what to do.
    pub async fn start(options: &PipelineConfig) -> anyhow::Result<Pipeline> {
        std::fs::create_dir_all(&options.data)
            .with_context(|| format!("data folder {}", options.data.display()))?;
        // ClickHouse resolves relative paths from a folder of its own.
        let folder = std::fs::canonicalize(&options.data)
            .with_context(|| format!("data folder {}", options.data.display()))?;
        let clickhouse = match &options.clickhouse {
            Some(_) => None,
            None => {
                let data = folder.join("clickhouse");
                Some(EmbeddedClickHouse::start(ClickHouseConfig::new(data, options.clickhouse_port)).await?)
            }
        };
        let url = match (&options.clickhouse, &clickhouse) {
            (Some(url), _) => url.clone(),
            (None, Some(embedded)) => embedded.url(),
            (None, None) => bail!("no ClickHouse"),
        };
        let store_config = config::ClickHouse { url, ..config::ClickHouse::default() };
        let store = Store::new(&store_config)?;
        migrate::up(&store, &register::read(None)?).await.context("tables")?;
        let (kafka, broker) = kafka(options.kafka.as_deref()).await?;

        let instruments = Instruments::default();
        let load_config = LoadConfig {
            kafka: kafka.clone(),
            load: config::Load { rollup_interval_s: ROLLUP_INTERVAL_S, ..config::Load::default() },
            store,
            clock: Clock::default(),
        };
        let load_instruments = instruments.clone();
        let load =
            Stage::spawn(
                "load",
                |stop| async move { Ok(load::run(load_config, &load_instruments, stop).await?) },
            );
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let ingest_address = listener.local_addr()?;
        let ingest_config =
            IngestConfig { kafka, ingest: config::Ingest::default(), clock: Clock::default() };
        let ingest_instruments = instruments.clone();
        let ingest = Stage::spawn("ingest", |stop| async move {
            Ok(ingest::serve(ingest_config, listener, &ingest_instruments, stop).await?)
        });
        Ok(Pipeline { clickhouse, _broker: broker, store_config, ingest_address, instruments, ingest, load })
    }

    /// Where a collector sends its reports.
    pub fn ingest_endpoint(&self) -> String {
        format!("http://{}", self.ingest_address)
    }

    /// Where answers are.
    pub fn clickhouse(&self) -> &config::ClickHouse {
        &self.store_config
    }

    /// Metrics of ingest and load.
    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Drains and stops, in the order of the data's way.
    ///
    /// # Errors
    /// A stage ended with an error or did not stop in time.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.ingest.stop().await?;
        self.load.stop().await?;
        if let Some(clickhouse) = self.clickhouse {
            clickhouse.stop().await?;
        }
        Ok(())
    }
}

async fn kafka(
    servers: Option<&str>,
) -> anyhow::Result<(config::Kafka, Option<MockCluster<'static, DefaultProducerContext>>)> {
    if let Some(servers) = servers {
        // One broker is what a person has at hand; copies are the cluster's own setting.
        let kafka = config::Kafka {
            bootstrap_servers: servers.to_owned(),
            replication_factor: 1,
            ..config::Kafka::default()
        };
        migrate::create_topics(&kafka).await.context("Kafka topics")?;
        return Ok((kafka, None));
    }
    let broker = MockCluster::new(1).context("in-process Kafka broker")?;
    let kafka = config::Kafka { bootstrap_servers: broker.bootstrap_servers(), ..config::Kafka::default() };
    for topic in [kafka.topic.clone(), weighbridge_aggregator::kafka::dead_letter_topic(&kafka.topic)] {
        broker.create_topic(&topic, MOCK_PARTITIONS, 1).context("topic of the in-process broker")?;
    }
    Ok((kafka, Some(broker)))
}
