//! The channels of devices: the memory of an idle one, and how long a fleet takes to be back after a restart of the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use muster_proto::v1::channel_request::Kind as Up;
use muster_proto::v1::channel_response::Kind as Down;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use muster_proto::v1::{self, ChannelHello, ChannelRequest};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::child::{Child, Kind};
use crate::fleet::serial;
use crate::servers::client_tls;
use crate::table::Table;

/// How many channels are opened before memory is looked at for the first time: what the first ones make is there for all.
const FIRST: usize = 100;
/// How many connections are made at once.
const AT_ONCE: usize = 128;

/// An open channel, and the connection that carries it.
struct Line {
    _connection: Channel,
    /// Dropped with the line: a request that never ends would keep the connection open.
    _requests: mpsc::Sender<ChannelRequest>,
    answers: Streaming<v1::ChannelResponse>,
    welcome: Option<v1::ChannelWelcome>,
}

/// Measures both.
pub(crate) async fn measure(table: &mut Table, channels: usize, boxes: usize) -> anyhow::Result<()> {
    let base = std::env::current_dir().context("no current directory")?.join("target");
    let data = tempfile::Builder::new().prefix("muster-bench").tempdir_in(base).context("no place for data")?;
    // The first start makes the certificates.
    start(Kind::Muster, data.path()).await?.stop().await?;
    let tls = client_tls(data.path())?;
    let idle = |kind: Kind| {
        let (data, tls) = (data.path(), tls.clone());
        move |_| idle(kind, data, tls.clone(), channels)
    };
    table
        .pair("memory of an idle channel over mutual TLS", "KiB", "<= 1.25", idle(Kind::Muster), idle(Kind::Echo))
        .await?;
    let storm = |_| storm(data.path(), tls.clone(), boxes);
    table.alone("boxes back and in sync after a restart", "s", "<= 10 (5,000 boxes)", storm).await
}

async fn start(kind: Kind, data: &Path) -> anyhow::Result<Child> {
    Child::start(kind, data, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
}

/// KiB for each channel.
async fn idle(kind: Kind, data: &Path, tls: ClientTlsConfig, channels: usize) -> anyhow::Result<f64> {
    let server = start(kind, data).await?;
    let mut lines = open_all(server.address, &tls, 0..FIRST).await?;
    let before = settled(&server).await?;
    lines.extend(open_all(server.address, &tls, FIRST..FIRST + channels).await?);
    let after = settled(&server).await?;
    drop(lines);
    server.stop().await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of channels")]
    Ok((after - before) / channels as f64)
}

/// The memory of a server that has nothing left to do.
async fn settled(server: &Child) -> anyhow::Result<f64> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.memory()
}

async fn open_all(
    address: SocketAddr,
    tls: &ClientTlsConfig,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<Vec<Line>> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for number in numbers {
        let (tls, places) = (tls.clone(), Arc::clone(&places));
        opening.spawn(async move {
            let _place = places.acquire().await?;
            open(address, tls, hello(number)?).await
        });
    }
    let mut lines = Vec::new();
    while let Some(line) = opening.join_next().await {
        lines.push(line??);
    }
    Ok(lines)
}

fn hello(number: usize) -> anyhow::Result<ChannelHello> {
    let digest = muster_proto::digest(["", "", ""], [muster_proto::VdomName::ROOT]).to_vec();
    Ok(ChannelHello { serial_number: serial(u64::try_from(number)? + (1 << 40)), digest, ..Default::default() })
}

async fn open(address: SocketAddr, tls: ClientTlsConfig, hello: ChannelHello) -> anyhow::Result<Line> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
    let connection = endpoint.tls_config(tls)?.tcp_nodelay(true).connect().await?;
    let first = ChannelRequest { kind: Some(Up::Hello(hello)) };
    let (requests, messages) = mpsc::channel(1);
    requests.send(first).await?;
    let messages = ReceiverStream::new(messages);
    let mut answers = DeviceServiceClient::new(connection.clone()).channel(messages).await?.into_inner();
    let welcome = match answers.message().await?.and_then(|response| response.kind) {
        Some(Down::Welcome(welcome)) => Some(welcome),
        _ => None,
    };
    Ok(Line { _connection: connection, _requests: requests, answers, welcome })
}

/// Seconds from the order to stop until every box has a channel to the new server and is in sync. The boxes keep to what the goodbye says.
async fn storm(data: &Path, tls: ClientTlsConfig, boxes: usize) -> anyhow::Result<f64> {
    let server = start(Kind::Muster, data).await?;
    let address = server.address;
    let lines = open_all(address, &tls, 0..boxes).await?;
    let began = Instant::now();
    let mut returning = JoinSet::new();
    for (number, line) in lines.into_iter().enumerate() {
        let tls = tls.clone();
        returning.spawn(async move { come_back(address, tls, number, line).await });
    }
    server.stop().await?;
    let _server = Child::start(Kind::Muster, data, address).await?;
    while let Some(back) = returning.join_next().await {
        back??;
    }
    Ok(began.elapsed().as_secs_f64())
}

async fn come_back(address: SocketAddr, tls: ClientTlsConfig, number: usize, mut line: Line) -> anyhow::Result<()> {
    let mut delay = Duration::from_millis(500);
    while let Ok(Some(response)) = line.answers.message().await {
        if let Some(Down::Goodbye(goodbye)) = response.kind {
            delay = goodbye.reconnect_after.and_then(|delay| delay.try_into().ok()).unwrap_or(delay);
        }
    }
    drop(line);
    tokio::time::sleep(delay).await;
    let line = loop {
        match open(address, tls.clone(), hello(number)?).await {
            Ok(line) => break line,
            // Whatever it was, a box tries again.
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    };
    let welcome = line.welcome.as_ref().context("no welcome")?;
    anyhow::ensure!(welcome.in_sync, "box {number} is not in sync");
    Ok(())
}
