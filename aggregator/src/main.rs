//! The `weighbridge-aggregator` command.
//!
//! Thin: parses the command line and the configuration, builds the parts, waits for one signal, drains in order (intake,
//! pipeline, producer, offsets, admin) and exits. Exit code 0: done; 1: failed, or `migrate check` or `audit` found differences, or
//! `dead-letter` could not do all that was asked for, or `ready` found a process that is not; 2: bad arguments.

use std::path::PathBuf;
use std::process::exit;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use weighbridge_aggregator::admin::{self, Instruments};
use weighbridge_aggregator::answers::AnswerError;
use weighbridge_aggregator::audit::{self, AuditArguments, AuditError};
use weighbridge_aggregator::clock::Clock;
use weighbridge_aggregator::config::Config;
use weighbridge_aggregator::dead_letter::{self, DeadLetterAction, DeadLetterError};
use weighbridge_aggregator::door::command::{self, ContributorAction};
use weighbridge_aggregator::ingest::{self, IngestConfig};
use weighbridge_aggregator::load::{self, LoadConfig};
use weighbridge_aggregator::questions::{self, Question};
use weighbridge_aggregator::store::Store;
use weighbridge_aggregator::{migrate, ready, register, telemetry};

#[derive(Parser)]
#[command(name = "weighbridge-aggregator", version, about)]
struct Arguments {
    /// Configuration file; without one the defaults hold. WEIGHBRIDGE_<SECTION>_<FIELD> overrides a field.
    #[arg(long, global = true, env = "WEIGHBRIDGE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take reports over gRPC and answer when Kafka has them.
    Ingest,
    /// Load reports from Kafka into ClickHouse and keep the rollup.
    Load,
    #[command(flatten)]
    Ask(Question),
    /// What load could not load: list it, put it back, or give it up.
    DeadLetter {
        #[command(subcommand)]
        action: DeadLetterAction,
    },
    /// Compare collectors' ledgers, Kafka, ClickHouse and the rollup, and name the first stage where they differ.
    Audit(AuditArguments),
    /// Say who may send reports: the registry of `ingest.door.contributors_file`.
    Contributor {
        #[command(subcommand)]
        action: ContributorAction,
    },
    /// The schema of ClickHouse and the topics of Kafka.
    Migrate {
        #[command(subcommand)]
        action: Migrate,
    },
    /// Ask an admin port, or each behind a name, whether it is ready; exit code 1 when one is not.
    Ready {
        /// The admin port.
        #[arg(default_value = "127.0.0.1:4751")]
        address: String,
        /// Ask again for so many seconds until all are.
        #[arg(long, default_value_t = 0)]
        wait_s: u64,
    },
}

#[derive(Clone, Subcommand)]
enum Migrate {
    /// Bring ClickHouse, the register in it and the topics up to this binary. May be repeated.
    Up {
        /// A register that `weighbridge-collector catalog export` wrote, instead of the one of this binary.
        #[arg(long)]
        register: Option<PathBuf>,
    },
    /// Say in what the database is behind this binary; exit code 1 when it is.
    Check {
        /// Ask again for so many seconds until it is not, or until ClickHouse answers: for a container that starts before `migrate up`.
        #[arg(long, default_value_t = 0)]
        wait_s: u64,
    },
    /// Print the schema as SQL, for this configuration (one server, shards, replicas). Asks no server.
    Plan,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failure) => {
            eprintln!("weighbridge-aggregator: no runtime: {failure}");
            exit(1)
        }
    };
    let result = runtime.block_on(run(arguments));
    // Never by returning: dropping librdkafka's clients can hang, dropping the runtime waits for calls into them. What they
    // held is unacknowledged or uncommitted.
    match result {
        Ok(code) => exit(code),
        Err(failure) => {
            eprintln!("weighbridge-aggregator: {failure:#}");
            exit(if is_argument(&failure) { BAD_ARGUMENTS } else { FAILED })
        }
    }
}

/// Exit codes; clap ends with the last one, too.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const BAD_ARGUMENTS: i32 = 2;

/// A mistake in the command line that clap cannot see.
fn is_argument(failure: &anyhow::Error) -> bool {
    let audit = failure.downcast_ref::<AuditError>().is_some_and(AuditError::is_argument);
    let answer = failure.downcast_ref::<AnswerError>().is_some_and(AnswerError::is_argument);
    let letters = failure.downcast_ref::<DeadLetterError>();
    audit || answer || letters.is_some_and(|error| matches!(error, DeadLetterError::Argument { .. }))
}

async fn run(arguments: Arguments) -> anyhow::Result<i32> {
    let config = Config::load(arguments.config.as_deref())?;
    match arguments.command {
        Command::Ingest => serve(&config, Stage::Ingest).await.map(|()| DONE),
        Command::Load => serve(&config, Stage::Load).await.map(|()| DONE),
        Command::Ask(question) => {
            let store = Store::new(&config.clickhouse)?;
            print!("{}", questions::answer(&store, &question, Clock::default().unix_s()).await?);
            Ok(DONE)
        }
        Command::Contributor { action } => {
            print!("{}", command::run(&action, &config.ingest.door, Clock::default().unix_s())?);
            Ok(DONE)
        }
        Command::Migrate { action } => run_migrate(&config, action).await.map(|()| DONE),
        Command::Ready { address, wait_s } => {
            ready::wait(&address, Duration::from_secs(wait_s)).await?;
            Ok(DONE)
        }
        Command::DeadLetter { action } => {
            let (answer, is_done) = dead_letter::run(&config, action).await?;
            print!("{answer}");
            Ok(if is_done { DONE } else { FAILED })
        }
        Command::Audit(arguments) => {
            let audit = audit::run(&config, &arguments, &Clock::default()).await?;
            print!("{}", audit::render(&audit, arguments.format));
            Ok(if audit.is_equal() { DONE } else { FAILED })
        }
    }
}

async fn run_migrate(config: &Config, action: Migrate) -> anyhow::Result<()> {
    let guard = telemetry::start(&config.telemetry)?;
    let store = Store::new(&config.clickhouse)?;
    match action {
        Migrate::Up { register } => {
            migrate::up(&store, &register::read(register.as_deref())?).await?;
            migrate::create_topics(&config.kafka).await?;
        }
        Migrate::Plan => print!("{}", migrate::plan(&store)),
        Migrate::Check { wait_s } => {
            let differences = ready::wait_for_schema(&store, Duration::from_secs(wait_s)).await?;
            for difference in &differences {
                println!("{difference}");
            }
            if !differences.is_empty() {
                bail!("the database differs from this binary in {} points", differences.len());
            }
        }
    }
    drop(tokio::task::spawn_blocking(|| guard.shutdown()).await);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Ingest,
    Load,
}

/// A stage with its admin port, until SIGTERM or SIGINT.
async fn serve(config: &Config, stage: Stage) -> anyhow::Result<()> {
    if config.kafka.bootstrap_servers.is_empty() {
        bail!(
            "kafka.bootstrap_servers is empty; set it in the file or by WEIGHBRIDGE_KAFKA_BOOTSTRAP_SERVERS"
        );
    }
    let mut guard = telemetry::start(&config.telemetry)?;
    let instruments = Instruments::default();
    let (shutdown, admin_shutdown) = (CancellationToken::new(), CancellationToken::new());
    let listener = TcpListener::bind(config.admin.listen)
        .await
        .with_context(|| format!("admin.listen {}", config.admin.listen))?;
    let admin = tokio::spawn(admin::serve(listener, instruments.clone(), admin_shutdown.clone()));
    let running = match stage {
        Stage::Ingest => tokio::spawn(run_ingest(config.clone(), instruments.clone(), shutdown.clone())),
        Stage::Load => tokio::spawn(run_load(config.clone(), instruments.clone(), shutdown.clone())),
    };
    guard.export(&config.telemetry, &instruments)?;
    info!(?stage, admin = %config.admin.listen, "started");
    tokio::spawn(cancel_on_signal(shutdown));
    let result = running.await.context("the stage panicked")?;
    admin_shutdown.cancel();
    admin.await.context("the admin port panicked")?.context("admin port")?;
    match &result {
        Ok(()) => info!(?stage, "stopped"),
        Err(failure) => warn!(?stage, "stopped: {failure:#}"),
    }
    drop(tokio::task::spawn_blocking(|| guard.shutdown()).await);
    result
}

async fn run_ingest(
    config: Config,
    instruments: Instruments,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listen = config.ingest.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("ingest.listen {listen}"))?;
    let config = IngestConfig { kafka: config.kafka, ingest: config.ingest, clock: Clock::default() };
    Ok(ingest::serve(config, listener, &instruments, shutdown).await?)
}

async fn run_load(
    config: Config,
    instruments: Instruments,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let store = Store::new(&config.clickhouse)?;
    let config = LoadConfig { kafka: config.kafka, load: config.load, store, clock: Clock::default() };
    Ok(load::run(config, &instruments, shutdown).await?)
}

/// One signal drains; a second one is the kernel's to answer, with SIGKILL.
async fn cancel_on_signal(shutdown: CancellationToken) {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("no signal handler; stop this process by SIGKILL");
        return;
    };
    tokio::select! {
        _ = term.recv() => info!("SIGTERM, draining"),
        _ = interrupt.recv() => info!("SIGINT, draining"),
    }
    shutdown.cancel();
}
