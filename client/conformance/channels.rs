//! The live channel.

use std::time::Duration;

use muster_proto::v1;
use muster_proto::v1::channel_request::Kind as Up;
use muster_proto::v1::channel_response::Kind as Down;
use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use muster_proto::v1::stream_debug_logs_response::Kind;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::Found;
use super::subject::{Caller, Subject, answered, digest, expect, refused};

struct Line {
    up: mpsc::Sender<v1::ChannelRequest>,
    down: Streaming<v1::ChannelResponse>,
}

fn hello(device: &Caller) -> v1::ChannelHello {
    v1::ChannelHello {
        serial_number: device.serial.clone(),
        features: vec![v1::ChannelFeature::SyncNow.into(), v1::ChannelFeature::Debug.into()],
        ..Default::default()
    }
}

async fn begin(device: &Caller, first: Up) -> Result<Line, Status> {
    let (up, messages) = mpsc::channel(8);
    let _ = up.try_send(v1::ChannelRequest { kind: Some(first) });
    let down = device.client.clone().channel(ReceiverStream::new(messages)).await?.into_inner();
    Ok(Line { up, down })
}

async fn open(device: &Caller, hello: v1::ChannelHello) -> Result<(Line, v1::ChannelWelcome), String> {
    let line = begin(device, Up::Hello(hello)).await;
    let mut line = line.map_err(|status| format!("Channel: expected a stream, got {:?}", status.code()))?;
    match line.next().await? {
        Down::Welcome(welcome) => Ok((line, welcome)),
        other => Err(format!("the first message: expected welcome, got {other:?}")),
    }
}

impl Line {
    async fn say(&self, kind: Up) -> Found {
        self.up.send(v1::ChannelRequest { kind: Some(kind) }).await.map_err(|_| "the channel is closed".to_owned())
    }

    async fn next(&mut self) -> Result<Down, String> {
        match self.down.message().await {
            Ok(Some(message)) => message.kind.ok_or_else(|| "a message of no kind".to_owned()),
            Ok(None) => Err("the channel ended without a word".to_owned()),
            Err(status) => Err(format!("the channel ended with {:?} ({})", status.code(), status.message())),
        }
    }
}

pub(super) async fn begins_with_welcome(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let (_line, welcome) = open(&device, hello(&device)).await?;
    expect("first contact", welcome.outcome(), v1::Outcome::Created)?;
    let interval = welcome.heartbeat_interval.and_then(|interval| Duration::try_from(interval).ok());
    let is_short = |interval: Duration| !interval.is_zero() && interval <= Duration::from_secs(25);
    expect("an interval of at most 25 seconds", interval.is_some_and(is_short), true)
}

pub(super) async fn knows_the_digest(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let registered = device.register(&["a"]).await?;
    let same = v1::ChannelHello { digest: digest(&["root", "a"])?, ..hello(&device) };
    let (_one, welcome) = open(&device, same).await?;
    expect("an equal digest", (welcome.in_sync, welcome.generation), (true, registered.generation))?;
    let other = v1::ChannelHello { digest: digest(&["root"])?, ..hello(&device) };
    let (_two, welcome) = open(&device, other).await?;
    expect("another digest", (welcome.in_sync, welcome.digest), (false, registered.digest))
}

pub(super) async fn heartbeats_are_answered(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let (mut line, _) = open(&device, hello(&device)).await?;
    for sequence in 1..=3 {
        line.say(Up::Heartbeat(v1::ChannelDeviceHeartbeat { sequence, device_time: None })).await?;
        match line.next().await? {
            Down::Heartbeat(heartbeat) => expect("its number", heartbeat.sequence, sequence)?,
            other => return Err(format!("expected a heartbeat, got {other:?}")),
        }
    }
    Ok(())
}

pub(super) async fn needs_a_hello(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let first = Up::Heartbeat(v1::ChannelDeviceHeartbeat::default());
    let ended = match begin(&device, first).await {
        Ok(mut line) => loop {
            match line.down.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            }
        },
        Err(status) => Err(status),
    };
    refused("a heartbeat first", ended, Code::InvalidArgument, "CHANNEL_HELLO_REQUIRED").map(drop)
}

pub(super) async fn is_superseded(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let (mut first, one) = open(&device, hello(&device)).await?;
    let (_second, two) = open(&device, hello(&device)).await?;
    expect("the connection generation", two.connection_generation, one.connection_generation + 1)?;
    match first.next().await? {
        Down::Goodbye(goodbye) => expect("the reason", goodbye.reason.as_str(), "CHANNEL_SUPERSEDED"),
        other => Err(format!("expected goodbye, got {other:?}")),
    }
}

pub(super) async fn sync_now(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let (mut line, _) = open(&device, hello(&device)).await?;
    let mut admin = DeviceAdminServiceClient::new(subject.admin().await?);
    let request = v1::RequestSyncRequest {
        name: format!("devices/{}", device.serial),
        reason: "conformance".to_owned(),
        ..Default::default()
    };
    answered("RequestSync", admin.request_sync(request).await)?;
    match line.next().await? {
        Down::SyncNow(sync_now) => expect("the reason", sync_now.reason.as_str(), "conformance"),
        other => Err(format!("expected sync_now, got {other:?}")),
    }
}

pub(super) async fn removed(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let (mut line, _) = open(&device, hello(&device)).await?;
    let mut admin = DeviceAdminServiceClient::new(subject.admin().await?);
    let request = v1::DeleteDeviceRequest { name: format!("devices/{}", device.serial), ..Default::default() };
    answered("DeleteDevice", admin.delete_device(request).await)?;
    match line.next().await? {
        Down::Removed(_) => Ok(()),
        other => Err(format!("expected removed, got {other:?}")),
    }
}

pub(super) async fn debug(subject: &Subject) -> Found {
    let device = subject.device().await?;
    let (mut line, _) = open(&device, hello(&device)).await?;
    let mut admin = DeviceAdminServiceClient::new(subject.admin().await?);
    let request = v1::SetDeviceDebugRequest { name: format!("devices/{}", device.serial), ..Default::default() };
    answered("SetDeviceDebug", admin.set_device_debug(request).await)?;
    match line.next().await? {
        Down::Debug(debug) if debug.level_mask != 0 => {}
        other => return Err(format!("expected debug, got {other:?}")),
    }
    let text = "handle_req-Rcvd auth req";
    let said = v1::ChannelDebugLine { component: "fnbamd".to_owned(), text: text.to_owned(), ..Default::default() };
    line.say(Up::DebugLines(v1::ChannelDebugLines { lines: vec![said], lost: 0 })).await?;
    let filter =
        v1::DebugFilter { serial_number: device.serial.clone(), component: "fnbamd".to_owned(), ..Default::default() };
    let request =
        v1::StreamDebugLogsRequest { tail: Some(10), follow: true, include: vec![filter], ..Default::default() };
    let mut feed = DebugLogServiceClient::new(device.connection.channel.clone());
    let mut feed = answered("StreamDebugLogs", feed.stream_debug_logs(request).await)?;
    while let Some(message) = feed.message().await.map_err(|status| format!("the feed: {:?}", status.code()))? {
        if let Some(Kind::Event(event)) = message.kind {
            return expect("the line", event.message.contains(text), true);
        }
    }
    Err("the feed ended before the line came".to_owned())
}
