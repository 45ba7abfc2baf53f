//! The `weighbridge` command: everything in one process on embedded parts.
//!
//! Thin: parses the command line and calls the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weighbridge::embedded::{clickhouse, libchdb};

#[derive(Parser)]
#[command(name = "weighbridge", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the embedded ClickHouse on 127.0.0.1 until SIGTERM.
    Clickhouse(ClickHouseArguments),
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
