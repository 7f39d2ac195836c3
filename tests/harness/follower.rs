//! A stream of the debug feed that waits for what a test expects.

use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{DebugEvent, FeedClosing, FeedOpened, StreamDebugLogsResponse};
use tonic::{Status, Streaming};

use crate::within;

/// An open stream of the debug feed.
#[derive(Debug)]
pub struct Follower {
    /// What the stream began with.
    pub opened: FeedOpened,
    stream: Streaming<StreamDebugLogsResponse>,
}

impl Follower {
    pub(crate) async fn open(mut stream: Streaming<StreamDebugLogsResponse>) -> Self {
        let first = within(stream.message()).await.unwrap().and_then(|response| response.kind);
        let Some(Kind::Opened(opened)) = first else { panic!("a stream opens first, not with {first:?}") };
        Self { opened, stream }
    }

    /// The next response; `None` if the stream ended well.
    pub async fn next(&mut self) -> Result<Option<Kind>, Status> {
        let response = within(self.stream.message()).await?;
        Ok(response.map(|response| response.kind.unwrap()))
    }

    /// The first response from here on that something can be made of; the others are skipped.
    pub async fn find<T>(&mut self, pick: impl Fn(Kind) -> Option<T>) -> T {
        within(async {
            loop {
                let kind = self.next().await.unwrap().expect("the stream ended before what the test waits for");
                if let Some(found) = pick(kind) {
                    return found;
                }
            }
        })
        .await
    }

    /// The first such event from here on.
    pub async fn event(&mut self, wanted: impl Fn(&DebugEvent) -> bool) -> DebugEvent {
        self.find(|kind| match kind {
            Kind::Event(event) if wanted(&event) => Some(event),
            _ => None,
        })
        .await
    }

    /// Everything up to the end of the stream, and how it ended.
    pub async fn rest(&mut self) -> (Vec<Kind>, Result<(), Status>) {
        let mut kinds = Vec::new();
        let end = within(async {
            loop {
                match self.next().await {
                    Ok(Some(kind)) => kinds.push(kind),
                    Ok(None) => return Ok(()),
                    Err(status) => return Err(status),
                }
            }
        })
        .await;
        (kinds, end)
    }

    /// The events up to the end of a stream that does not follow, and what it closed with.
    pub async fn events(&mut self) -> (Vec<DebugEvent>, FeedClosing) {
        let (kinds, end) = self.rest().await;
        end.unwrap();
        let mut events = Vec::new();
        let mut closing = None;
        for kind in kinds {
            match kind {
                Kind::Event(event) => events.push(event),
                Kind::Closing(last) => closing = Some(last),
                _ => {}
            }
        }
        (events, closing.expect("the server says why it ends a stream"))
    }
}
