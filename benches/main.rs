//! Prints the table of docs/benchmarks.md: each figure with its echo beside it, measured in turns in one run, over the same TLS, by the
//! same client.

mod channels;
mod child;
mod echo;
mod feed;
mod fleet;
mod load;
mod servers;
mod table;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// How many idle channels are opened to measure their memory.
    #[arg(long, default_value_t = 1_000)]
    channels: usize,
    /// How many boxes come back after the restart of a server.
    #[arg(long, default_value_t = 500)]
    boxes: usize,
    /// Serve instead of measuring: what a measurement starts itself.
    #[arg(long, hide = true, requires_all = ["data", "listen"])]
    child: Option<child::Kind>,
    /// The data directory of that server.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
    /// The address of that server.
    #[arg(long, hide = true)]
    listen: Option<SocketAddr>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Every call is logged, as in production; only the terminal is spared.
    let nowhere = std::fs::File::create("/dev/null").context("could not open /dev/null")?;
    muster_server::log::start(LogFormat::Text, &args.log, nowhere, false);
    let runtime = tokio::runtime::Runtime::new().context("could not start the runtime")?;
    if let (Some(kind), Some(data), Some(listen)) = (args.child, &args.data, args.listen) {
        return runtime.block_on(child::serve(kind, data, listen));
    }
    runtime.block_on(async {
        let mut table = table::Table::new(args.time, args.turns, args.only, args.no_echo);
        let servers = servers::start().await?;
        fleet::measure(&servers, &mut table).await?;
        users::measure(&servers, &mut table).await?;
        feed::measure(&servers, &mut table).await?;
        drop(servers);
        channels::measure(&mut table, args.channels, args.boxes).await?;
        table.print()
    })
}
