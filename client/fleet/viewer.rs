//! Viewers of the debug feed, who write down what they see.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_proto::v1;
use muster_proto::v1::stream_debug_logs_response::Kind;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

use super::admin::Admin;
use super::invariants::Seen;
use super::shared::lock;
use crate::backoff::Backoff;
use crate::failure::CallError;

/// A feed that says nothing for so long is dead: the server sends a heartbeat every 25 seconds.
const SILENCE: Duration = Duration::from_mins(1);

/// Somebody who follows the debug feed; gone when this is dropped.
#[derive(Debug)]
pub struct Viewer {
    /// Whether it reads.
    reads: watch::Sender<bool>,
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Viewer {
    /// Opens the feed of the serial numbers that begin so, and tells when it is open. A slow viewer reads no further until it is woken.
    pub async fn open(admin: Admin, prefix: &str, is_slow: bool, chance: u64) -> Option<Self> {
        let (reads, reading) = watch::channel(!is_slow);
        let seen = Arc::default();
        let (opened, is_open) = oneshot::channel();
        let filter = v1::DebugFilter { serial_number: format!("{prefix}*"), ..Default::default() };
        let viewing = Viewing {
            admin,
            request: v1::StreamDebugLogsRequest { follow: true, include: vec![filter], ..Default::default() },
            reading,
            seen: Arc::clone(&seen),
            opened: Some(opened),
            rng: StdRng::seed_from_u64(chance),
        };
        let task = tokio::spawn(viewing.view()).abort_handle();
        is_open.await.ok().map(|()| Self { reads, seen, task })
    }

    /// A slow viewer reads from now on.
    pub fn wake(&self) {
        self.reads.send_replace(true);
    }

    /// Whether it has seen the end of this operation.
    #[must_use]
    pub fn has_seen(&self, operation: &str) -> bool {
        lock(&self.seen).terminal.contains_key(operation)
    }

    /// What it has seen.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }
}

struct Viewing {
    admin: Admin,
    request: v1::StreamDebugLogsRequest,
    reading: watch::Receiver<bool>,
    seen: Arc<Mutex<Seen>>,
    opened: Option<oneshot::Sender<()>>,
    rng: StdRng,
}

impl Viewing {
    /// Follows the feed for ever, across reconnects: with the last cursor nothing is missed without a gap.
    async fn view(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let asked = match self.admin.feed(self.request.clone()).await {
                Ok(stream) => {
                    backoff.reset();
                    self.read(stream).await
                }
                // The first stream must open: a viewer that is not let in has nothing to wait for.
                Err(error) if self.opened.is_some() && !error.is_passing() => return,
                Err(CallError::Refused(refusal)) => refusal.retry_after,
                Err(_) => None,
            };
            sleep(backoff.next(asked, &mut self.rng)).await;
        }
    }

    /// Reads until the stream ends, and tells how long the server asks to wait.
    async fn read(&mut self, mut stream: Streaming<v1::StreamDebugLogsResponse>) -> Option<Duration> {
        while let Ok(Ok(Some(message))) = timeout(SILENCE, stream.message()).await {
            match message.kind {
                Some(Kind::Opened(opened)) => {
                    self.moved(opened.cursor);
                    if let Some(opened) = self.opened.take() {
                        let _ = opened.send(());
                        // An error means that the viewer is dropped, and this task with it.
                        let _ = self.reading.wait_for(|reads| *reads).await;
                    }
                }
                Some(Kind::Event(event)) => {
                    let mut seen = lock(&self.seen);
                    seen.events += 1;
                    if event.terminal {
                        *seen.terminal.entry(event.operation_id).or_default() += 1;
                    }
                    drop(seen);
                    self.moved(event.cursor);
                }
                Some(Kind::Gap(gap)) => {
                    let mut seen = lock(&self.seen);
                    seen.gaps += 1;
                    match gap.count {
                        Some(count) => seen.missed += count,
                        None => seen.uncounted = Some(Instant::now()),
                    }
                    drop(seen);
                    self.moved(gap.to_cursor);
                }
                Some(
                    Kind::CaughtUp(v1::FeedCaughtUp { cursor }) | Kind::Heartbeat(v1::FeedHeartbeat { cursor, .. }),
                ) => {
                    self.moved(cursor);
                }
                Some(Kind::Closing(closing)) => {
                    self.moved(closing.resume_cursor);
                    return closing.retry_after.and_then(|delay| delay.try_into().ok());
                }
                None => {}
            }
        }
        None
    }

    fn moved(&mut self, cursor: String) {
        if !cursor.is_empty() {
            self.request.cursor = cursor;
        }
    }
}
