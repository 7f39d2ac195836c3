//! `fortigate` against a small server of its own: the generated services behind real mutual TLS.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, as the test may")]

mod binary;
mod console;
mod failures;
mod feed;
mod pki;
mod server;
mod sessions;
mod terminal;
mod update;
mod users;

use std::io::Write;
use std::path::Path;

use clap::Parser as _;
use muster_client::args::Arguments;
use muster_client::cli::{self, Exit};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::pki::Pki;
use crate::server::Server;

const SERIAL: &str = "FG101FTK19002788";

/// A directory with a data directory of the server and a box.
struct Bench {
    dir: TempDir,
    pki: Pki,
}

/// What a command left behind.
struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Bench {
    /// A box with the VDOMs `root` and `dmz`, made for a server with this PKI.
    async fn new(pki: Pki) -> Self {
        let bench = Self { dir: TempDir::new().unwrap(), pki };
        bench.pki.write(&bench.path("muster-data"));
        let data = bench.path("muster-data");
        let made = bench.run(&format!("init --serial {SERIAL} --vdom dmz --muster-data {}", data.display())).await;
        assert_eq!(made.exit, Exit::Done, "{}", made.err);
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn device(&self) -> std::path::PathBuf {
        self.path("box")
    }

    /// Runs a command of words without blanks.
    async fn run(&self, command: &str) -> Ran {
        run(&self.device(), command).await
    }

    /// Updates the box at a server; the port of the server reads "PORT" in what is shown.
    async fn update(&self, server: &str, flags: &str) -> Ran {
        let mut ran = self.run(&format!("--server {server} {flags} exec exe forti upd")).await;
        let port = server.rsplit_once(':').unwrap().1;
        ran.err = ran.err.replace(port, "PORT");
        ran
    }
}

async fn run(device: &Path, command: &str) -> Ran {
    let mut out = Vec::new();
    let (exit, err) = run_into(&mut out, device, command).await;
    Ran { exit, out: String::from_utf8(out).unwrap(), err }
}

async fn run_into(out: &mut impl Write, device: &Path, command: &str) -> (Exit, String) {
    let device = device.to_str().unwrap();
    let words = ["fortigate", "--device", device].into_iter().chain(command.split_whitespace());
    let arguments = Arguments::try_parse_from(words).unwrap();
    let (mut rng, mut err) = (StdRng::seed_from_u64(1), Vec::new());
    let exit = cli::run(arguments, OffsetDateTime::now_utc(), &mut rng, out, &mut err).await;
    (exit, String::from_utf8(err).unwrap())
}

/// A box, and a server that it trusts and that trusts it.
async fn bench_and_server() -> (Bench, Server) {
    let bench = Bench::new(Pki::new()).await;
    let server = Server::start(bench.pki.server_config()).await;
    (bench, server)
}
