//! Registration and sync: a fleet behind four relay connections, and one client alone.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use muster_proto::v1;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use tonic::transport::Channel;

use crate::load::{latency, throughput};
use crate::servers::Servers;
use crate::table::Table;

const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 64;
/// How many devices take turns in syncing.
const SYNCING: u64 = 10_000;

/// A serial number that no other call uses, and that sorts at random, as serial numbers do.
pub(crate) fn serial(number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut left = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = String::from("FG1");
    for _ in 0..13 {
        text.push(char::from(DIGITS[usize::try_from(left % 36).unwrap_or(0)]));
        left /= 36;
    }
    text
}

fn vdoms(names: &[&str]) -> Vec<v1::Vdom> {
    names.iter().map(|name| v1::Vdom { name: (*name).to_owned() }).collect()
}

fn info() -> v1::DeviceInfo {
    let (model, hostname, firmware) =
        ("FortiGate-101F".to_owned(), "branch-7".to_owned(), "v7.4.8,build2795".to_owned());
    v1::DeviceInfo { model, hostname, firmware }
}

/// A new device with three VDOMs.
pub(crate) fn registration(serial_number: String) -> v1::RegisterRequest {
    v1::RegisterRequest {
        serial_number,
        info: Some(info()),
        vdoms: vdoms(&["root", "sales", "dmz"]),
        ..Default::default()
    }
}

/// The full list of ten VDOMs.
pub(crate) fn full_sync(serial_number: String) -> v1::SyncRequest {
    let names = ["root", "sales", "dmz", "guests", "voice", "lab", "iot", "backup", "branch-1", "branch-2"];
    let full_list = Some(v1::VdomList { vdoms: vdoms(&names) });
    v1::SyncRequest { serial_number, info: Some(info()), full_list, ..Default::default() }
}

/// Measures all of it.
pub(crate) async fn measure(servers: &Servers, table: &mut Table) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(1));
    let register = |channels: Vec<Channel>| {
        let next = Arc::clone(&next);
        move |time| {
            let (channels, next) = (channels.clone(), Arc::clone(&next));
            async move {
                throughput(&channels, IN_FLIGHT, time, move |channel| {
                    let serial = serial(next.fetch_add(1, Ordering::Relaxed));
                    async move { DeviceServiceClient::new(channel).register(registration(serial)).await }
                })
                .await
            }
        }
    };
    let connect = async |address: SocketAddr| servers.connections(address, CONNECTIONS).await;
    let (muster, echo) = (connect(servers.muster).await?, connect(servers.echo).await?);
    table
        .pair(
            "register, 3 VDOMs each, 4 x 64 in flight",
            "/s",
            ">= 0.5",
            register(muster.clone()),
            register(echo.clone()),
        )
        .await?;

    let sync = |channels: Vec<Channel>| {
        let next = Arc::new(AtomicU64::new(0));
        move |time| {
            let (channels, next) = (channels.clone(), Arc::clone(&next));
            async move {
                throughput(&channels, IN_FLIGHT, time, move |channel| {
                    let serial = serial(u64::MAX / 2 + next.fetch_add(1, Ordering::Relaxed) % SYNCING);
                    async move { DeviceServiceClient::new(channel).sync(full_sync(serial)).await }
                })
                .await
            }
        }
    };
    // The first round registers the fleet; only the rounds behind it are measured.
    let muster_sync = sync(muster.clone());
    muster_sync(Duration::from_secs(1)).await?;
    table.pair("sync, 10 VDOMs, nothing changed", "/s", ">= 0.7", muster_sync, sync(echo.clone())).await?;

    let alone = |channel: Channel| {
        let next = Arc::clone(&next);
        move |time| {
            let (channel, next) = (channel.clone(), Arc::clone(&next));
            async move {
                latency(time, || {
                    let serial = serial(next.fetch_add(1, Ordering::Relaxed));
                    let channel = channel.clone();
                    async move { DeviceServiceClient::new(channel).register(registration(serial)).await }
                })
                .await
            }
        }
    };
    let first = |channels: &[Channel]| channels.first().cloned().ok_or_else(|| anyhow::anyhow!("no connection"));
    let log = Arc::new(servers.data.path().join("fsync"));
    let sync_only = |time| {
        let log = Arc::clone(&log);
        async move { tokio::task::spawn_blocking(move || fsync(&log, time)).await? }
    };
    table.alone("one fsync, p50", "us", "", sync_only).await?;
    table
        .pair(
            "register, one client alone, p50",
            "us",
            "<= 1.5 x (echo + one fsync)",
            alone(first(&muster)?),
            alone(first(&echo)?),
        )
        .await
}

/// The median time of one fsync, in microseconds: so many bytes as a commit of one registration writes, at the end of a file.
fn fsync(path: &Path, time: Duration) -> anyhow::Result<f64> {
    let commit = vec![7; 28 * 1024];
    let mut file = File::create(path)?;
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < time {
        file.write_all(&commit)?;
        let sync_began = Instant::now();
        file.sync_data()?;
        times.push(sync_began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(crate::load::quantile(times, 0.5))
}
