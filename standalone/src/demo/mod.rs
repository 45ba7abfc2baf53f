//! `demo`: drives the whole path with generated traffic and compares what comes out with what went in.
//!
//! In: nothing but options. Out: progress, the split beside the generator's own truth, and whether they are equal, cell by
//! cell. Ends with an error when they are not. The traffic goes in as LiteLLM's own OTLP spans over gRPC; nothing of the
//! pipeline knows that it is a demo.

mod compare;
mod generator;
mod traffic;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;
use weighbridge_collector::run as collector;

use crate::pipeline::Pipeline;
use crate::serve::{Input, ServeArguments, serve};

/// The shortest window, so that a person sees windows close.
const WINDOW_S: u32 = 10;

/// Options of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArguments {
    /// Seconds that the generated day takes.
    #[arg(long, default_value_t = 24)]
    pub seconds: u32,
    /// Client requests to send.
    #[arg(long, default_value_t = 20_000)]
    pub requests: u32,
    /// Seed of the traffic.
    #[arg(long, default_value_t = 2026)]
    pub seed: u64,
    /// Stay up afterwards, for SQL over HTTP and more traffic.
    #[arg(long)]
    pub serve: bool,
    #[command(flatten)]
    parts: ServeArguments,
}

/// Runs the demo; with `--serve` stays up until `shutdown`.
///
/// # Errors
/// A part cannot be started, or the split differs from the truth.
pub async fn demo(mut arguments: DemoArguments, shutdown: CancellationToken) -> anyhow::Result<()> {
    arguments.parts.window_s = WINDOW_S;
    arguments.parts.input = Input::Traces;
    println!("weighbridge demo: ClickHouse, Kafka broker, load, ingest and collector in this process");
    let pipeline = Pipeline::start(&arguments.parts.pipeline()).await?;
    let began = unix_s() - unix_s() % u64::from(WINDOW_S);
    let before = compare::counted(pipeline.clickhouse(), began).await?;
    let config = arguments.parts.collector(pipeline.ingest_endpoint())?;
    let ready = format!("http://{}/readyz", config.admin.listen);
    let stop = CancellationToken::new();
    let collecting = tokio::spawn(collector::run(config, stop.clone()));
    let truth = tokio::select! {
        truth = drive(&arguments, &ready) => truth?,
        () = shutdown.cancelled() => bail!("interrupted"),
    };
    // SIGTERM's way: calls on hold end, the open window is sealed, every report is acknowledged.
    stop.cancel();
    collecting.await?.context("collector")?;
    println!("all windows sealed and acknowledged; waiting for the last one in ClickHouse");
    let outcome = compare::compare(pipeline.clickhouse(), began, &before, &truth).await;
    pipeline.stop().await?;
    outcome?;
    if arguments.serve {
        return serve(arguments.parts, shutdown).await;
    }
    println!("run with --serve to keep it up for SQL over HTTP");
    Ok(())
}

async fn drive(arguments: &DemoArguments, ready: &str) -> anyhow::Result<traffic::Truth> {
    wait_until_ready(ready).await?;
    let endpoint = format!("http://{}:{}", arguments.parts.listen, arguments.parts.grpc_port);
    let day = generator::Day {
        seconds: arguments.seconds.max(1),
        requests: arguments.requests.max(1),
        seed: arguments.seed,
    };
    generator::drive(&endpoint, &day).await
}

async fn wait_until_ready(url: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    for _ in 0..100 {
        if client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        // A started task has no event to wait for until its port answers.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the collector did not answer on {url}")
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
