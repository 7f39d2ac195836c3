//! The box's half of the live channel: hello, heartbeats and debug lines up; what the server says down. The contract is in channel.proto.

mod wish;

use std::time::Duration;

use muster_proto::v1;
use muster_proto::v1::channel_request::Kind as Up;
use muster_proto::v1::channel_response::Kind as Down;
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::connect::Connection;
use crate::device::Device;
use crate::failure::CallError;
use wish::Wish;

/// How often a heartbeat is sent if the server does not say: within what the contract allows.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// How many messages may wait to be sent. A server that takes none is not worth more memory.
const QUEUE: usize = 4;
/// How much room a message gets at first, and how much may wait to be sent.
const BUFFERS: (usize, usize) = (256, 8 * 1024);

/// How long a goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// The codec of the generated client, with room for the small messages of a channel: the usual room is 8 KiB each way.
#[derive(Clone, Copy, Debug)]
struct SmallCodec;

impl Codec for SmallCodec {
    type Encode = v1::ChannelRequest;
    type Decode = v1::ChannelResponse;
    type Encoder = ProstEncoder<v1::ChannelRequest>;
    type Decoder = ProstDecoder<v1::ChannelResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFERS.0, BUFFERS.1))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFERS.0, BUFFERS.1))
    }
}

/// An open channel.
#[derive(Debug)]
pub struct Channel {
    connection: Connection,
    /// On the heap, because a queue reserves room for dozens.
    up: mpsc::Sender<Box<v1::ChannelRequest>>,
    down: Streaming<v1::ChannelResponse>,
    interval: Duration,
    next_heartbeat: Instant,
    heard: Instant,
    sequence: u64,
    wish: Option<Wish>,
    goodbye: Option<v1::ChannelGoodbye>,
}

/// What happens on a channel.
#[derive(Debug)]
pub enum Happening {
    /// The server wants a sync now.
    SyncNow(v1::ChannelSyncNow),
    /// The device was removed from the register.
    Removed(v1::ChannelRemoved),
    /// The server wants debug lines, or no more of them. [`Channel::say`] heeds that by itself.
    Debug(v1::ChannelDebug),
    /// The server says when to sync next.
    Pacing(Duration),
    /// A heartbeat was answered.
    Heartbeat(v1::ChannelHeartbeat),
    /// The channel is over: with the goodbye of the server if it said one, and why.
    Over(Option<v1::ChannelGoodbye>, CallError),
}

/// The hello of a box that can do everything. `boot_id` is drawn at each start of the box.
#[must_use]
pub fn hello(device: &Device, boot_id: &str, now: OffsetDateTime) -> v1::ChannelHello {
    let sync = device.sync_request();
    v1::ChannelHello {
        serial_number: sync.serial_number,
        info: sync.info,
        boot_id: boot_id.to_owned(),
        device_time: Some(timestamp(now)),
        digest: device.digest(),
        features: vec![v1::ChannelFeature::SyncNow.into(), v1::ChannelFeature::Debug.into()],
    }
}

fn timestamp(time: OffsetDateTime) -> prost_types::Timestamp {
    // Nanoseconds of a second always fit.
    let nanos = i32::try_from(time.nanosecond()).unwrap_or(0);
    prost_types::Timestamp { seconds: time.unix_timestamp(), nanos }
}

/// A duration of the server; one that is none is as if it were not there.
pub(crate) fn duration(duration: Option<prost_types::Duration>) -> Option<Duration> {
    duration.and_then(|duration| duration.try_into().ok())
}

impl Channel {
    /// Opens a channel: says hello, and waits for the welcome.
    pub async fn open(
        connection: &Connection,
        hello: v1::ChannelHello,
        limit: Duration,
    ) -> Result<(Self, v1::ChannelWelcome), CallError> {
        let (up, requests) = mpsc::channel(QUEUE);
        let request = Box::new(v1::ChannelRequest { kind: Some(Up::Hello(hello)) });
        // There is room for the first message.
        let _ = up.try_send(request);
        let requests = ReceiverStream::new(requests).map(|request| *request);
        let failed = |status| CallError::of(connection, &status);
        let opening = async {
            let mut client = Grpc::new(connection.channel.clone());
            client.ready().await.map_err(|error| failed(Status::from_error(error)))?;
            let path = PathAndQuery::from_static("/muster.v1.DeviceService/Channel");
            let opened = client.streaming(Request::new(requests), path, SmallCodec).await;
            let mut down = opened.map_err(failed)?.into_inner();
            loop {
                match down.message().await.map_err(failed)?.map(|message| message.kind) {
                    Some(Some(Down::Welcome(welcome))) => return Ok((down, welcome)),
                    // A goodbye comes with a status behind it, which says more.
                    Some(_) => {}
                    None => return Err(CallError::Lost("the server ended the channel".to_owned())),
                }
            }
        };
        let (down, welcome) = timeout(limit, opening).await.map_err(|_| CallError::NoAnswer(limit))??;
        let interval = duration(welcome.heartbeat_interval).filter(|interval| !interval.is_zero()).unwrap_or(HEARTBEAT);
        let now = Instant::now();
        let channel = Self {
            connection: connection.clone(),
            up,
            down,
            interval,
            next_heartbeat: now + interval,
            heard: now,
            sequence: 0,
            wish: None,
            goodbye: None,
        };
        Ok((channel, welcome))
    }

    /// Waits for what happens next, and sends the heartbeats meanwhile. May be given up and called again; after [`Happening::Over`] it is not
    /// to be called any more.
    pub async fn next(&mut self) -> Happening {
        loop {
            tokio::select! {
                message = self.down.message() => {
                    self.heard = Instant::now();
                    let happening = match message {
                        Ok(Some(message)) => self.heard(message.kind),
                        Ok(None) => Some(self.over(CallError::Lost("the server ended the channel".to_owned()))),
                        Err(status) => Some(self.over(CallError::of(&self.connection, &status))),
                    };
                    if let Some(happening) = happening {
                        return happening;
                    }
                }
                () = sleep_until(self.next_heartbeat) => {
                    let silence = self.heard.elapsed();
                    if silence > self.interval * 2 {
                        return self.over(CallError::NoAnswer(silence));
                    }
                    self.heartbeat();
                }
            }
        }
    }

    fn heard(&mut self, kind: Option<Down>) -> Option<Happening> {
        match kind? {
            Down::Heartbeat(heartbeat) => Some(Happening::Heartbeat(heartbeat)),
            Down::SyncNow(sync_now) => Some(Happening::SyncNow(sync_now)),
            Down::Removed(removed) => Some(Happening::Removed(removed)),
            Down::Debug(debug) => {
                self.wish = Wish::new(&debug, Instant::now());
                Some(Happening::Debug(debug))
            }
            Down::Pacing(pacing) => duration(pacing.next_sync_after).map(Happening::Pacing),
            Down::Goodbye(goodbye) => {
                // The status behind it comes next.
                self.goodbye = Some(goodbye);
                None
            }
            Down::Welcome(_) => None,
        }
    }

    fn over(&mut self, error: CallError) -> Happening {
        Happening::Over(self.goodbye.take(), error)
    }

    fn heartbeat(&mut self) {
        self.sequence += 1;
        self.next_heartbeat = Instant::now() + self.interval;
        let device_time = Some(timestamp(OffsetDateTime::now_utc()));
        self.send(Up::Heartbeat(v1::ChannelDeviceHeartbeat { sequence: self.sequence, device_time }));
    }

    /// A message that finds no room is lost: the connection is stuck, and the missing heartbeats will tell.
    fn send(&self, kind: Up) -> bool {
        self.up.try_send(Box::new(v1::ChannelRequest { kind: Some(kind) })).is_ok()
    }

    /// Says what a daemon of the box has to say, if the server asked for that.
    pub fn say(&mut self, component: &str, level: u32, vdom: &str, text: &str) {
        let now = Instant::now();
        self.wish.take_if(|wish| wish.is_over(now));
        if self.wish.as_ref().is_some_and(|wish| wish.wants(component, level, now)) {
            let line = v1::ChannelDebugLine {
                component: component.to_owned(),
                level,
                device_time: Some(timestamp(OffsetDateTime::now_utc())),
                text: text.to_owned(),
                vdom: vdom.to_owned(),
            };
            self.send(Up::DebugLines(v1::ChannelDebugLines { lines: vec![line], lost: 0 }));
        }
    }

    /// Says goodbye, and waits a little until the server has heard it.
    pub async fn leave(self, reason: &str) {
        self.send(Up::Goodbye(v1::ChannelDeviceGoodbye { reason: reason.to_owned() }));
        self.hang_up().await;
    }

    /// Ends the channel without a goodbye, so that another one of the box can take its place within the grace period of the server.
    pub async fn hang_up(self) {
        let Self { up, mut down, .. } = self;
        drop(up);
        // Whatever comes now is not for somebody who goes.
        let _ = timeout(FAREWELL, async { while let Ok(Some(_)) = down.message().await {} }).await;
    }
}
