//! Prints the table of docs/benchmarks.md: each figure with its echo beside it, measured in turns in one run, over the same TLS, by the
//! same client.

mod echo;
mod feed;
mod fleet;
mod load;
mod servers;
mod table;
mod users;

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use muster_server::args::LogFormat;

/// That of the server; the echo shares it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Muster side by side with bare tonic.
#[derive(Debug, Parser)]
struct Args {
    /// How long each measurement lasts.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// How many turns each pair of measurements takes; the median is printed.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// What Muster logs meanwhile.
    #[arg(long, default_value = "info")]
    log: String,
    /// Measure Muster alone, for a profiler.
    #[arg(long)]
    no_echo: bool,
    /// Only the figures whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Every call is logged, as in production; only the terminal is spared.
    let nowhere = std::fs::File::create("/dev/null").context("could not open /dev/null")?;
    muster_server::log::start(LogFormat::Text, &args.log, nowhere, false);
    let runtime = tokio::runtime::Runtime::new().context("could not start the runtime")?;
    runtime.block_on(async {
        let mut table = table::Table::new(args.time, args.turns, args.only, args.no_echo);
        let servers = servers::start().await?;
        fleet::measure(&servers, &mut table).await?;
        users::measure(&servers, &mut table).await?;
        feed::measure(&servers, &mut table).await?;
        table.print()
    })
}
