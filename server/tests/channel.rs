//! The channel of the stand-in through a proxy that cuts what is quiet, against the real binary.

use std::time::Duration;

use muster_client::channel::{self, Channel, Happening};
use muster_client::connect::Dialer;
use muster_client::device::Device;
use muster_client::device_dir::DeviceDir;
use muster_proto::v1;
use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use time::OffsetDateTime;

use crate::boxes::{A, Site, UPDATE};
use crate::clients::admin;
use crate::patience::{eventually, within};
use crate::proxy::Proxy;

/// Shorter than the minute of real proxies, and longer than the heartbeats of the first test.
const PATIENCE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(10);

fn dialer(dir: &DeviceDir, proxy: &Proxy) -> Dialer {
    let tls = dir.credentials(None).unwrap().client_config().unwrap();
    Dialer { server: format!("https://{}", proxy.address).parse().unwrap(), tls, connect_timeout: LIMIT }
}

async fn presence(site: &Site) -> Option<v1::DevicePresence> {
    let mut devices = DeviceAdminServiceClient::new(admin(&site.dir.path().join("muster-data"), site.running.address));
    let request = v1::GetDeviceRequest { name: format!("devices/{A}") };
    devices.get_device(request).await.ok()?.into_inner().device?.presence
}

#[tokio::test]
async fn heartbeats_as_often_as_the_server_says_keep_a_channel_open_through_a_proxy_that_cuts_what_is_quiet() {
    let site = Site::with(&["--channel-heartbeat", "1s"]).await;
    site.init(A).await;
    let proxy = Proxy::start(site.running.address, PATIENCE).await;
    let dir = DeviceDir::new(&site.dir.path().join(A));
    let device: Device = dir.load().unwrap();
    let connection = dialer(&dir, &proxy).connect(LIMIT).await.unwrap();
    let hello = channel::hello(&device, "boot", OffsetDateTime::now_utc());
    let (mut channel, welcome) = Channel::open(&connection, hello, LIMIT).await.unwrap();
    assert_eq!(welcome.heartbeat_interval.unwrap().seconds, 1);
    // Longer than the proxy has patience.
    loop {
        match within(channel.next()).await {
            Happening::Heartbeat(heartbeat) if heartbeat.sequence == 4 => break,
            Happening::Heartbeat(heartbeat) => assert!(heartbeat.clock_skew.is_some()),
            other => panic!("the channel should only be alive: {other:?}"),
        }
    }
    assert_eq!(proxy.cuts(), 0);
    channel.leave("done").await;
    eventually(async || presence(&site).await.filter(|presence| !presence.online)).await;
}

#[tokio::test]
async fn a_channel_that_is_cut_is_opened_again_and_the_box_stays_online() {
    // Nothing is said for twenty seconds: the proxy cuts, again and again.
    let site = Site::with(&["--channel-heartbeat", "20s"]).await;
    site.init(A).await;
    site.run(A, &UPDATE).await;
    let proxy = Proxy::start(site.running.address, Duration::from_millis(300)).await;
    let server = format!("https://{}", proxy.address);
    let command = ["--server", &server, "channel"];
    let keeping = site.run(A, &command);
    let watching = async {
        let first = eventually(async || presence(&site).await).await;
        let again = eventually(async || {
            presence(&site).await.filter(|presence| presence.connection_generation > first.connection_generation + 1)
        })
        .await;
        (first, again)
    };
    let (first, again) = tokio::select! {
        found = watching => found,
        ended = keeping => panic!("the daemon ended: {ended:?}"),
    };
    assert!(proxy.cuts() > 1 && again.online);
    assert_eq!((again.since_time, again.boot_id), (first.since_time, first.boot_id), "it was online all the time");
}
