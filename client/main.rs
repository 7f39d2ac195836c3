//! The binary `fortigate`.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use muster_client::args::{Arguments, Command};
use muster_client::cli::{self, Exit};
use time::OffsetDateTime;
use tokio::runtime::Builder;

/// Runs one command on a runtime of one thread: there is one connection to serve, unless it is a whole fleet. The runtime is not `#[tokio::main]`'s, because that
/// one would wait for a name service that does not answer, long after the command has given up on it.
///
/// SIGINT keeps its default action, which ends a feed at once and quietly, even one that waits for a slow terminal; the console takes it
/// while a command runs, to end that command alone.
fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let mut builder = match &arguments.command {
        Command::Fleet(_) => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: could not start: {error}");
            return Exit::Failed.into();
        }
    };
    let (mut rng, mut out, mut err) = (rand::rng(), BufWriter::new(io::stdout()), io::stderr());
    let command = cli::run(arguments, OffsetDateTime::now_utc(), &mut rng, &mut out, &mut err);
    let exit = runtime.block_on(command);
    runtime.shutdown_background();
    exit.into()
}

/// Help is shown as clap has it; what is wrong with the command line is said in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that has seen enough is no failure.
        let _ = error.print();
        return Exit::Done.into();
    }
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let _ = writeln!(io::stderr(), "{}", muster_proto::printable(&lines.join(" ")));
    Exit::Usage.into()
}
