//! Runs the binary: until it ends, or until it is ready and beyond.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use crate::patience::within;

const BINARY: &str = env!("CARGO_BIN_EXE_muster-server");

/// The binary with these arguments.
pub(crate) fn binary<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    behind::<&str, _>([], arguments)
}

/// The binary that serves this data directory on a free port.
pub(crate) fn server(data: &Path) -> Command {
    binary(serving(data))
}

/// The arguments for that.
pub(crate) fn serving(data: &Path) -> [&OsStr; 4] {
    [OsStr::new("--data-dir"), data.as_os_str(), OsStr::new("--listen"), OsStr::new("127.0.0.1:0")]
}

/// The binary, run by a program that changes its surroundings and then becomes it.
pub(crate) fn behind<P: AsRef<OsStr>, S: AsRef<OsStr>>(
    program: impl IntoIterator<Item = P>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut words = program.into_iter();
    let mut command = match words.next() {
        None => Command::new(BINARY),
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(BINARY);
            command
        }
    };
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for variable in std::env::vars_os().map(|(name, _)| name) {
        if variable.to_string_lossy().starts_with("MUSTER_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A binary that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What stands in the one line that says why it failed.
    pub(crate) fn only_line(&self) -> &str {
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        self.stderr.trim_end()
    }
}

/// Runs the binary until it ends by itself.
pub(crate) async fn run(mut command: Command) -> Ended {
    let output = within(command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it printed when it was ready.
    pub(crate) announced: String,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: JoinHandle<String>,
}

impl Running {
    /// Starts a server and waits until it is ready.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = child.stderr.take().unwrap();
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.unwrap();
            text
        });
        let mut announced = String::new();
        while !announced.contains("StreamDebugLogs") {
            let Some(line) = within(stdout.next_line()).await.unwrap() else {
                panic!("the server did not start: {announced}{}", stderr.await.unwrap());
            };
            announced.push_str(&line);
            announced.push('\n');
        }
        let address = announced.split_once("://").and_then(|(_, rest)| rest.split_once(',')).unwrap().0;
        Self { child, address: address.parse().unwrap(), announced, stdout, stderr }
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends it a signal, as in "TERM".
    pub(crate) fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Whether it has not ended yet.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = within(self.child.wait()).await.unwrap();
        let mut stdout = String::new();
        while let Some(line) = within(self.stdout.next_line()).await.unwrap() {
            stdout.push_str(&line);
        }
        Ended { status, stdout, stderr: within(self.stderr).await.unwrap() }
    }
}
