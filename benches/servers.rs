//! Muster and its echo, side by side in this process, and clients of both.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use muster_proto::v1;
use muster_proto::v1::debug_log_service_server::DebugLogServiceServer;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use muster_proto::v1::device_service_server::DeviceServiceServer;
use muster_server::clock::{Clock as _, SystemClock};
use muster_server::data_dir::DataDir;
use muster_server::feed::Feed;
use muster_server::identity::ca::Authority;
use muster_server::identity::relay::Relay;
use muster_server::presence::ChannelSettings;
use muster_server::serve::{Server, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

use crate::echo::Echo;

/// The servers, and what clients need.
pub(crate) struct Servers {
    pub(crate) muster: SocketAddr,
    pub(crate) echo: SocketAddr,
    pub(crate) feed: Feed,
    pub(crate) data: tempfile::TempDir,
    tls: ClientTlsConfig,
    stop: CancellationToken,
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Servers {
    /// A new connection to one of the servers, as a relay.
    pub(crate) async fn connect(&self, address: SocketAddr) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
        endpoint.tls_config(self.tls.clone())?.tcp_nodelay(true).connect().await.context("could not connect")
    }

    /// So many new connections to one of the servers.
    pub(crate) async fn connections(&self, address: SocketAddr, count: usize) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..count {
            channels.push(self.connect(address).await?);
        }
        Ok(channels)
    }
}

/// Starts both.
pub(crate) async fn start() -> anyhow::Result<Servers> {
    let base = std::env::current_dir().context("no current directory")?.join("target");
    let data = tempfile::Builder::new().prefix("muster-bench").tempdir_in(base).context("no place for data")?;
    let settings = Settings {
        data_dir: data.path().to_owned(),
        database: None,
        tls: None,
        device_ca: None,
        insecure_plaintext: false,
        grace: Duration::from_secs(1),
        feed_memory: 64 << 20,
        channels: ChannelSettings::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let muster = listener.local_addr()?;
    let server = Server::open(settings, muster, Arc::new(SystemClock)).await?;
    let (feed, stop) = (server.feed().clone(), CancellationToken::new());
    tokio::spawn(server.serve(listener, stop.clone(), CancellationToken::new()));
    let tls = client_tls(data.path())?;
    let mut servers = Servers { muster, echo: muster, feed, data, tls, stop };
    servers.echo = start_echo(&servers).await?;
    Ok(servers)
}

/// What a relay shows to the server of this data directory.
pub(crate) fn client_tls(data: &Path) -> anyhow::Result<ClientTlsConfig> {
    let directory = DataDir::of_running_server(data);
    let relay = Relay { name: "bench".parse()?, prefixes: Vec::new() };
    let issued = Authority::load(&directory)?.issue_relay(&relay, SystemClock.now())?;
    let ca = std::fs::read(data.join("ca.pem"))?;
    Ok(ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .identity(Identity::from_pem(issued.certificate, issued.key)))
}

/// The echo answers what Muster answered to the same messages.
async fn start_echo(servers: &Servers) -> anyhow::Result<SocketAddr> {
    let mut client = DeviceServiceClient::new(servers.connect(servers.muster).await?);
    let serial = "FG101FTK00000000";
    let registered = client.register(crate::fleet::registration(serial.to_owned())).await?.into_inner();
    client.sync(crate::fleet::full_sync(serial.to_owned())).await?;
    let synced = client.sync(crate::fleet::full_sync(serial.to_owned())).await?.into_inner();
    let event = v1::StreamDebugLogsResponse {
        kind: Some(v1::stream_debug_logs_response::Kind::Event(v1::DebugEvent {
            cursor: "c0123456789abcdef0123456789abcdef00".to_owned(),
            time: Some(prost_types::Timestamp { seconds: 1_764_000_000, nanos: 123_456_000 }),
            operation_id: registered.operation_id.clone(),
            serial_number: serial.to_owned(),
            vdom: "dmz".to_owned(),
            component: "ftc".to_owned(),
            level: 4,
            step: "vdom".to_owned(),
            message: "created".to_owned(),
            changes: vec![v1::ValueChange {
                field: "state".to_owned(),
                after: "active".to_owned(),
                ..Default::default()
            }],
            caller: "relay:bench".to_owned(),
            ..Default::default()
        })),
    };
    let echo = Echo { registered, synced, event };
    let data = servers.data.path();
    let identity = Identity::from_pem(std::fs::read(data.join("server.pem"))?, std::fs::read(data.join("server.key"))?);
    let ca = Certificate::from_pem(std::fs::read(data.join("ca.pem"))?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tonic::transport::Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity).client_ca_root(ca))?
        .add_service(DeviceServiceServer::new(echo.clone()))
        .add_service(DebugLogServiceServer::new(echo))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            servers.stop.clone().cancelled_owned(),
        );
    tokio::spawn(server);
    Ok(address)
}
