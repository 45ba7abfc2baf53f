//! `weighbridge-collector`: parses, builds, runs; everything else is in the library.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use weighbridge_catalog::Day;
use weighbridge_collector::aliases::Aliases;
use weighbridge_collector::command::catalog::{CatalogCommand, catalog, parse_day};
use weighbridge_collector::command::classify::classify;
use weighbridge_collector::command::count::{CaptureSource, count};
use weighbridge_collector::command::detect::detect;
use weighbridge_collector::command::doctor::{self, DoctorArguments, DoctorError};
use weighbridge_collector::command::drain;
use weighbridge_collector::command::preview::preview;
use weighbridge_collector::config::Config;
use weighbridge_collector::receiver::{Clock as _, SystemClock};
use weighbridge_collector::standby::{self, Over};
use weighbridge_collector::{run, shutdown};

/// Exit code for a configuration or arguments that cannot be used (BSD `EX_USAGE`).
const EXIT_USAGE: u8 = 64;

#[derive(Parser)]
#[command(
    name = "weighbridge-collector",
    version,
    about = "Counts a gateway's requests by model and sends the counts"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Receive telemetry, count, send reports.
    Run {
        /// Configuration file.
        #[arg(long, default_value = "collector.yaml", env = "WEIGHBRIDGE_CONFIG")]
        config: PathBuf,
        /// For sidecars: when it cannot run, do not end, but answer probes at this address and try again every few seconds.
        #[arg(long, value_name = "ADMIN")]
        stand_by: Option<SocketAddr>,
    },
    /// Tell the running collector that its gateway ends: what it counts leaves every second from now on. For preStop hooks.
    Drain {
        /// Admin port of the collector, host:port.
        #[arg(long, default_value = drain::DEFAULT_ADMIN)]
        admin: String,
        /// Seconds to wait until everything counted so far is acknowledged, 0 to 60.
        #[arg(long, default_value_t = drain::DEFAULT_WAIT_S, value_parser = clap::value_parser!(u64).range(..=60))]
        wait_s: u64,
    },
    /// Check a configuration file and say what it means.
    Validate {
        /// Configuration file.
        #[arg(long, default_value = "collector.yaml", env = "WEIGHBRIDGE_CONFIG")]
        config: PathBuf,
    },
    /// Show exactly what would leave for captured payloads, decoded and raw. Opens no socket.
    Preview {
        /// Configuration file.
        #[arg(long, default_value = "collector.yaml", env = "WEIGHBRIDGE_CONFIG")]
        config: PathBuf,
        /// Captured payloads of the configured source, in order.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Count captured payloads: one JSON line a cell, then a summary. Opens no socket.
    Count {
        /// What the files hold.
        #[arg(long)]
        source: CaptureSource,
        /// Whose telemetry or access log it is.
        #[arg(long, default_value = "litellm")]
        profile: String,
        /// The contributor's own names for models.
        #[arg(long)]
        aliases: Option<PathBuf>,
        /// Captured payloads, in order: `.pb` is protobuf, everything else JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Name the profile of unknown `/metrics` pages, `-` for standard input: curl -s HOST/metrics | ... detect -
    Detect {
        /// The pages.
        #[arg(required = true)]
        pages: Vec<PathBuf>,
    },
    /// Look at running gateways and say which input to use, what is missing, and the configuration. Only GET; nothing is sent.
    Doctor(DoctorArguments),
    /// Say what the register says of names: CSV with header `provider,name` on standard input, CSV on standard output.
    Classify {
        /// Day of the traffic, yyyy-mm-dd, for rows without a column `at`; today by default.
        #[arg(long, value_parser = parse_day)]
        at: Option<Day>,
        /// The contributor's own names for models.
        #[arg(long)]
        aliases: Option<PathBuf>,
    },
    /// Check, compare, measure and export the register of models.
    Catalog {
        #[command(subcommand)]
        command: CatalogCommand,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; a closed pipe cannot be told.
            let _ = error.print();
            let is_doctor = std::env::args_os().nth(1).is_some_and(|command| command == "doctor");
            let usage = if is_doctor { doctor::EXIT_ARGUMENTS } else { EXIT_USAGE };
            return if error.use_stderr() { ExitCode::from(usage) } else { ExitCode::SUCCESS };
        }
    };
    match act(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weighbridge-collector: {error:#}");
            if let Some(DoctorError::Argument { .. }) = error.downcast_ref() {
                return ExitCode::from(doctor::EXIT_ARGUMENTS);
            }
            let is_config = error.downcast_ref::<weighbridge_collector::config::ConfigError>().is_some();
            if is_config { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn act(command: Command) -> anyhow::Result<()> {
    let now_ms = SystemClock.now_ms();
    let today = Day::from_unix_seconds(now_ms / 1_000);
    match command {
        Command::Run { config, stand_by } => run_until_signal(&config, stand_by),
        Command::Drain { admin, wait_s } => {
            let wait = Duration::from_secs(wait_s);
            Ok(runtime()?.block_on(drain::drain(&admin, wait, &mut io::stderr().lock()))?)
        }
        Command::Validate { config } => {
            let config = Config::load(&config)?;
            let read = config.dialect().map(|dialect| dialect.to_string());
            println!(
                "valid: counts {:?} of {} in windows of {} s, environment {}, vantage {}, sends to {}",
                config.signal(),
                read.unwrap_or_else(|| format!("profile {}", config.profile())),
                config.window_s,
                config.environment,
                config.vantage()?.name(),
                config.uplink.endpoint
            );
            if let Some(note) = config.standing_note() {
                println!("note: {note}");
            }
            Ok(())
        }
        Command::Preview { config, files } => {
            let config = Config::load(&config)?;
            let mut out = io::BufWriter::new(io::stdout().lock());
            preview(&config, &files, now_ms, &mut out)?;
            Ok(out.flush()?)
        }
        Command::Count { source, profile, aliases, files } => {
            let intake = source.intake(&profile, read_aliases(aliases)?, now_ms)?;
            let mut out = io::BufWriter::new(io::stdout().lock());
            let counted = count(source, intake, &files, now_ms, &mut out);
            out.flush()?;
            Ok(counted?)
        }
        Command::Detect { pages } => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let told = detect(&pages, &mut out);
            out.flush()?;
            Ok(told?)
        }
        Command::Doctor(arguments) => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let told = runtime()?.block_on(doctor::doctor(&arguments, now_ms, &mut out));
            out.flush()?;
            Ok(told?)
        }
        Command::Classify { at, aliases } => {
            let (day, aliases) = (at.unwrap_or(today), read_aliases(aliases)?);
            let out = io::BufWriter::new(io::stdout().lock());
            Ok(classify(weighbridge_catalog::embedded(), aliases, day, io::stdin().lock(), out)?)
        }
        Command::Catalog { command } => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let done = catalog(&command, today, &mut out);
            out.flush()?;
            Ok(done?)
        }
    }
}

fn read_aliases(file: Option<PathBuf>) -> anyhow::Result<Aliases> {
    let file = file.map(|path| Aliases::load(&path, weighbridge_catalog::embedded()));
    Ok(file.transpose()?.unwrap_or_default())
}

/// One thread is enough for more spans than a gateway makes, and keeps the sidecar small.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("tokio runtime")
}

fn run_until_signal(config: &Path, stand_by: Option<SocketAddr>) -> anyhow::Result<()> {
    // A level, not a filter by module: the filter's engine would be a tenth of the sidecar's code.
    let level = std::env::var("WEIGHBRIDGE_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(tracing::level_filters::LevelFilter::INFO))
        .with_writer(io::stderr)
        .init();
    let runtime = runtime()?;
    let (outcome, over) = runtime.block_on(async {
        let shutdown = shutdown::on_signal()?;
        let ran = match Config::load(config) {
            Ok(config) => run::run(config, shutdown.clone()).await.map_err(anyhow::Error::from),
            Err(error) => Err(error.into()),
        };
        let over = match (&ran, stand_by) {
            (Err(error), Some(address)) => {
                tracing::error!("cannot run, nothing is counted; standing by: {error:#}");
                standby::stand_by(address, format!("{error:#}"), &shutdown).await
            }
            _ => Over::Ended,
        };
        anyhow::Ok((ran, over))
    })?;
    runtime.shutdown_background();
    match over {
        Over::Ended => outcome,
        // This program from its beginning, in the same process: nothing of the attempt that failed is left.
        Over::TryAgain => {
            let itself = std::env::current_exe().context("where this program lies")?;
            Err(process::Command::new(itself).args(std::env::args_os().skip(1)).exec().into())
        }
    }
}
