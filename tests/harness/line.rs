//! The channel of a device, as the device sees it.

use muster_proto::v1::channel_request::Kind as Up;
use muster_proto::v1::channel_response::Kind as Down;
use muster_proto::v1::{self, ChannelFeature, ChannelHello};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::{Caller, within};

/// An open channel.
#[derive(Debug)]
pub struct Line {
    /// What the server began with.
    pub welcome: v1::ChannelWelcome,
    up: mpsc::Sender<v1::ChannelRequest>,
    down: Streaming<v1::ChannelResponse>,
    sequence: u64,
}

/// The hello of a device that can do everything.
#[must_use]
pub fn hello(serial: &str) -> ChannelHello {
    ChannelHello {
        serial_number: serial.to_owned(),
        features: vec![ChannelFeature::SyncNow.into(), ChannelFeature::Debug.into()],
        ..Default::default()
    }
}

impl Caller {
    /// Opens a channel, which must open.
    pub async fn channel(&self, hello: ChannelHello) -> Line {
        self.try_channel(Up::Hello(hello)).await.unwrap()
    }

    /// Begins a channel with this message.
    pub async fn try_channel(&self, first: Up) -> Result<Line, Status> {
        let (up, messages) = mpsc::channel(64);
        up.send(v1::ChannelRequest { kind: Some(first) }).await.unwrap();
        let mut down = within(self.devices().channel(ReceiverStream::new(messages))).await?.into_inner();
        let first = within(down.message()).await?.and_then(|response| response.kind);
        let Some(Down::Welcome(welcome)) = first else { panic!("a channel begins with welcome, not with {first:?}") };
        Ok(Line { welcome, up, down, sequence: 0 })
    }
}

impl Line {
    /// Says something.
    pub async fn say(&self, kind: Up) {
        self.up.send(v1::ChannelRequest { kind: Some(kind) }).await.unwrap();
    }

    /// Sends a heartbeat, by a clock that may be wrong, and waits for its answer. What comes before the answer is skipped.
    pub async fn heartbeat(&mut self, device_time: Option<prost_types::Timestamp>) -> v1::ChannelHeartbeat {
        self.sequence += 1;
        let heartbeat = v1::ChannelDeviceHeartbeat { sequence: self.sequence, device_time };
        self.say(Up::Heartbeat(heartbeat)).await;
        loop {
            match self.next().await.unwrap() {
                Some(Down::Heartbeat(answer)) if answer.sequence == self.sequence => return answer,
                Some(_) => {}
                None => panic!("the channel ended before its heartbeat was answered"),
            }
        }
    }

    /// What the server says next; `None` if the channel ended well.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        let response = within(self.down.message()).await?;
        Ok(response.map(|response| response.kind.unwrap()))
    }

    /// The goodbye that must come next, and the status behind it.
    pub async fn goodbye(&mut self) -> (v1::ChannelGoodbye, Result<Response<()>, Status>) {
        let goodbye = match self.next().await.unwrap() {
            Some(Down::Goodbye(goodbye)) => goodbye,
            other => panic!("no goodbye, but {other:?}"),
        };
        let end = self.next().await.map(|rest| {
            assert!(rest.is_none(), "goodbye comes last");
            Response::new(())
        });
        (goodbye, end)
    }

    /// The device closes its side without a word.
    pub async fn hang_up(self) -> Result<(), Status> {
        let Self { up, mut down, .. } = self;
        drop(up);
        within(async {
            while down.message().await?.is_some() {}
            Ok(())
        })
        .await
    }
}
