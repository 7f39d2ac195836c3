//! A server in a process of its own: its memory is its own, and it can be stopped and started again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use muster_proto::v1;
use muster_proto::v1::device_service_server::DeviceServiceServer;
use muster_server::clock::SystemClock;
use muster_server::presence::ChannelSettings;
use muster_server::serve::{Server, Settings};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child as Process, Command};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::echo::Echo;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Muster.
    Muster,
    /// Bare tonic, with the certificates of a Muster.
    Echo,
}

/// A server that runs in another process.
pub(crate) struct Child {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts one.
    pub(crate) async fn start(kind: Kind, data: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let kind = kind.to_possible_value().context("no such server")?.get_name().to_owned();
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--child", &kind, "--listen", &listen.to_string(), "--data"])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("could not start a server")?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("no output")?;
        BufReader::new(stdout).read_line(&mut line).await?;
        let address = line.trim().parse().context("the server did not start")?;
        Ok(Self { process, address })
    }

    /// How much memory it has, in KiB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let id = self.process.id().context("the server is gone")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let text = line.trim().trim_end_matches(" kB");
        text.parse().context("VmRSS is no number")
    }

    /// Stops it as an operator does, and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        self.process.wait().await?;
        Ok(())
    }
}

/// Serves until stdin ends.
pub(crate) async fn serve(kind: Kind, data: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        // Whatever comes: it ends.
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
        stopped.cancel();
    });
    match kind {
        Kind::Muster => {
            let settings = Settings {
                data_dir: data.to_owned(),
                database: None,
                tls: None,
                device_ca: None,
                insecure_plaintext: false,
                grace: Duration::from_secs(10),
                feed_memory: 64 << 20,
                // Idle means idle: no heartbeat within a measurement.
                channels: ChannelSettings { heartbeat: Duration::from_mins(10), ..ChannelSettings::default() },
            };
            let server = Server::open(settings, address, Arc::new(SystemClock)).await?;
            ready(address);
            server.serve(listener, stop, CancellationToken::new()).await?;
        }
        Kind::Echo => {
            let read = |name| std::fs::read(data.join(name));
            let identity = Identity::from_pem(read("server.pem")?, read("server.key")?);
            let tls = ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(read("ca.pem")?));
            let echo = Echo {
                registered: v1::RegisterResponse::default(),
                synced: v1::SyncResponse::default(),
                event: v1::StreamDebugLogsResponse::default(),
            };
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            ready(address);
            tonic::transport::Server::builder()
                .tls_config(tls)?
                .add_service(DeviceServiceServer::new(echo))
                .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
                .await?;
        }
    }
    Ok(())
}

/// Tells the parent where it listens.
fn ready(address: SocketAddr) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{address}");
}
