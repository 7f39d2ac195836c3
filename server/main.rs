//! The binary `muster-server`: flags, log, bind, serve, exit code.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use muster_server::args::{self, Args, Command};
use muster_server::clock::{Clock as _, SystemClock};
use muster_server::presence::ChannelSettings;
use muster_server::serve::{Server, Settings};
use muster_server::{announce, log, maintenance};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Measured: a fifth of the CPU of a registration was spent in the allocator of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `sysexits.h` calls a command that was used wrongly.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            // One line of clap's first paragraph, which may have a list in it; the rest is a `--help` away.
            let text = error.to_string();
            let paragraph: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            let line = paragraph.join(" ");
            let _ = writeln!(std::io::stderr(), "{line} (see muster-server --help)");
            return ExitCode::from(EX_USAGE);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    log::start(args.log_format, &args.log, std::io::stderr, std::io::stderr().is_terminal());
    let runtime = tokio::runtime::Runtime::new().context("could not start the runtime")?;
    runtime.block_on(async {
        match &args.command {
            None => serve(args).await,
            Some(Command::RelayCert { name, prefixes, out }) => {
                let text = maintenance::relay_cert(&args.data_dir, name, prefixes, out, SystemClock.now())?;
                print(&text)
            }
            Some(Command::RotateAdminToken) => {
                let text = maintenance::rotate_admin_token(&args, SystemClock.now()).await?;
                print(&text)
            }
        }
    })
}

/// Text for people goes to stdout; a reader that has gone is no failure of the server.
#[expect(clippy::unnecessary_wraps, reason = "the shape of the other branches")]
fn print(text: &str) -> anyhow::Result<()> {
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let (stopping, killed) = signals().context("could not listen for signals")?;
    let settings = Settings {
        data_dir: args.data_dir.clone(),
        database: args.database_path(),
        tls: args.tls_cert.clone().zip(args.tls_key.clone()),
        device_ca: args.device_ca.clone(),
        insecure_plaintext: args.insecure_plaintext,
        grace: args.grace,
        feed_memory: usize::try_from(args.feed_memory.as_u64()).unwrap_or(usize::MAX),
        channels: ChannelSettings { heartbeat: args.channel_heartbeat, grace: args.channel_grace },
    };
    // Bound first: a port that is taken must leave nothing behind.
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("could not listen on {}", args.listen))?;
    let address = listener.local_addr().context("could not find out the address")?;
    let server = Server::open(settings, address, Arc::new(SystemClock)).await?;
    print(&announce::text(&args, address))?;
    Ok(server.serve(listener, stopping, killed).await?)
}

/// The first SIGTERM or SIGINT stops the server, the second one at once.
fn signals() -> std::io::Result<(CancellationToken, CancellationToken)> {
    let (stopping, killed) = (CancellationToken::new(), CancellationToken::new());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let tokens = [stopping.clone(), killed.clone()];
    tokio::spawn(async move {
        for token in tokens {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok((stopping, killed))
}
