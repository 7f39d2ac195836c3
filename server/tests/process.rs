//! The real binary as a process: how it is started, reached and stopped.

#![allow(dead_code, reason = "each suite uses its part")]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use muster_server::clock::{Clock as _, SystemClock};
use muster_server::data_dir::DataDir;
use muster_server::identity::ca::Authority;
use muster_server::identity::relay::Relay;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// A server process; killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    out: BufReader<ChildStdout>,
}

/// The binary with these arguments, and with no variable of ours in its environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MUSTER_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a server on a free port, and waits until it says that it listens.
    pub(crate) fn start(data_dir: &Path) -> Self {
        let data_dir = data_dir.to_str().unwrap();
        let arguments = ["--data-dir", data_dir, "--listen", "127.0.0.1:0", "--log", "error"];
        let mut child = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.split_once("https://").unwrap().1.split_once(',').unwrap().0.parse().unwrap();
        Self { child, address, out }
    }

    /// What it printed behind the first line, up to the end of the lines to try.
    pub(crate) fn rest_of_the_greeting(&mut self) -> String {
        let mut text = String::new();
        while !text.contains("StreamDebugLogs") {
            assert_ne!(self.out.read_line(&mut text).unwrap(), 0, "{text}");
        }
        text
    }

    /// `kill -SIGNAL`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a relay for every device reaches a server with this data directory.
pub(crate) fn relay(data_dir: &Path, address: SocketAddr) -> Endpoint {
    let relay = Relay { name: "tests".parse().unwrap(), prefixes: Vec::new() };
    let data = DataDir::of_running_server(data_dir);
    let issued = Authority::load(&data).unwrap().issue_relay(&relay, SystemClock.now()).unwrap();
    let ca = std::fs::read(data_dir.join("ca.pem")).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .identity(Identity::from_pem(issued.certificate, issued.key));
    Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap()
}

/// A connection of that relay.
pub(crate) async fn connect(data_dir: &Path, address: SocketAddr) -> Channel {
    relay(data_dir, address).connect().await.unwrap()
}
