//! The binary `muster-server`: flags, log, bind, serve, exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use muster_server::args::{self, Args, Command, LogFormat};
use muster_server::clock::{Clock as _, SystemClock};
use muster_server::serve::{Server, Settings};
use muster_server::{announce, maintenance};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What `sysexits.h` calls a command that was used wrongly.
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            // One line: the rest of clap's text is a `--help` away.
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
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
    log(&args);
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

fn log(args: &Args) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&args.log).unwrap_or_default())
        .with_writer(std::io::stderr)
        .with_target(false);
    match args.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
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
    };
    // Bound first: a port that is taken must leave nothing behind.
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("could not listen on {}", args.listen))?;
    let address = listener.local_addr().context("could not find out the address")?;
    let server = Server::open(settings, Arc::new(SystemClock)).await?;
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
