//! The `weighbridge` command: everything in one process on embedded parts.
//!
//! Thin: parses the command line and calls the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use weighbridge::demo::{DemoArguments, demo};
use weighbridge::embedded::{clickhouse, libchdb};
use weighbridge::serve::{ServeArguments, serve};
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config;
use weighbridge_aggregator::questions::{self, Question};
use weighbridge_aggregator::report::ReportArguments;
use weighbridge_aggregator::split::SplitArguments;
use weighbridge_aggregator::store::Store;
use weighbridge_collector::shutdown;

#[derive(Parser)]
#[command(name = "weighbridge", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate a day of traffic, count it through the whole path, and compare the split with the truth.
    Demo(DemoArguments),
    /// Count a gateway of this machine: receivers, counting, ClickHouse, all in one process.
    Serve(ServeArguments),
    /// Print the split that `serve` or `demo --serve` has counted.
    Split(Asked<SplitArguments>),
    /// Write one document with charts about what they have counted: HTML or Markdown.
    Report(Asked<ReportArguments>),
    /// Run the embedded ClickHouse on 127.0.0.1 until SIGTERM.
    Clickhouse(ClickHouseArguments),
}

#[derive(clap::Args)]
struct Asked<Q: clap::Args> {
    /// HTTP interface of the ClickHouse that holds the counts.
    #[arg(long, default_value = "http://127.0.0.1:8123")]
    clickhouse: String,
    #[command(flatten)]
    question: Q,
}

#[derive(clap::Args)]
struct ClickHouseArguments {
    /// The library libchdb.so; default: WEIGHBRIDGE_LIBCHDB, then .tools/clickhouse/libchdb.so.
    #[arg(long)]
    library: Option<PathBuf>,
    /// Data folder, created when absent.
    #[arg(long)]
    data: PathBuf,
    /// Port of the HTTP interface.
    #[arg(long)]
    http_port: u16,
    /// Port of the native interface; not opened when absent.
    #[arg(long)]
    tcp_port: Option<u16>,
    /// Die with this process, which must be the one that started this one.
    #[arg(long, hide = true)]
    parent: Option<i32>,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => until_signal(|shutdown| demo(arguments, shutdown)),
        Command::Serve(arguments) => until_signal(|shutdown| serve(arguments, shutdown)),
        Command::Split(asked) => until_signal(|_| answer(asked.clickhouse, Question::Split(asked.question))),
        Command::Report(asked) => {
            until_signal(|_| answer(asked.clickhouse, Question::Report(asked.question)))
        }
        Command::Clickhouse(arguments) => run_clickhouse(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weighbridge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `act`, which is told to stop by SIGTERM or Ctrl-C.
fn until_signal<F>(act: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let filter = tracing_subscriber::EnvFilter::try_from_env("WEIGHBRIDGE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async { act(shutdown::on_signal()?).await });
    // Everything was drained or has failed; librdkafka's own threads are not waited for.
    runtime.shutdown_background();
    outcome
}

async fn answer(clickhouse: String, question: Question) -> anyhow::Result<()> {
    let store = Store::new(&config::ClickHouse { url: clickhouse, ..config::ClickHouse::default() })?;
    print!("{}", questions::answer(&store, &question, Clock::default().unix_s()).await?);
    Ok(())
}

// Single-threaded up to here, as `libchdb::serve` needs: a runtime belongs inside the other subcommands.
fn run_clickhouse(arguments: ClickHouseArguments) -> anyhow::Result<()> {
    let server = libchdb::LibraryServer {
        library: clickhouse::library_path(arguments.library.as_deref()),
        data: arguments.data,
        http_port: arguments.http_port,
        tcp_port: arguments.tcp_port,
        parent: arguments.parent,
    };
    match libchdb::serve(&server)? {}
}
