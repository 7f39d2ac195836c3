//! The debug feed: what is recorded, who watches, and what is lost on the way.
//!
//! # Layout, in reading order
//!
//! - [`DebugEvent`]: one line of the feed; `encode` turns it into bytes, once however many viewers it has.
//! - `ring`: the latest events up to a bound in bytes, and the viewers that wait for more.
//! - [`Scope`] and `filter`: which events a viewer gets.
//! - `opening` and `survey`: where a stream starts, and what its filters name in vain.
//! - [`Viewing`]: the stream of one viewer; `pace` tells when it looks again, `control` is what it is sent besides events.
//!
//! Invariant: every recorded event is, for every viewer, delivered, filtered out, or inside one gap with an exact count.

mod control;
mod encode;
mod event;
mod filter;
#[cfg(test)]
mod model;
mod opening;
mod pace;
mod ring;
mod scope;
mod status;
mod survey;
#[cfg(test)]
mod tests;
mod viewer;

pub use event::{COMPONENT, DebugEvent, ValueChange};
pub use scope::Scope;
pub use status::FeedStatus;
pub use viewer::{Ending, Viewing};

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_proto::debug_log::FeedRequest;
use muster_proto::{Cursor, Invalid, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use event::Entry;
use ring::Ring;

/// How many events a look back reads at once, so that it never holds up who records for long.
const RECALL: usize = 256;

/// What `ring` locks with; `model` gives it another.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};
}

/// The debug feed. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Ring<Arc<Entry>>,
    epoch: u64,
    clock: Arc<dyn Clock>,
    /// When the feed began.
    began: Timestamp,
    /// How many gaps viewers were given.
    gaps: AtomicU64,
}

impl Shared {
    fn cursor(&self, position: u64) -> Cursor {
        Cursor { epoch: self.epoch, position }
    }
}

impl Feed {
    /// An empty feed that holds up to so many bytes of events, and always the latest one. The epoch tells its cursors from those of
    /// every other feed, so draw it at random.
    #[must_use]
    pub fn new(capacity_bytes: usize, epoch: u64, clock: Arc<dyn Clock>) -> Self {
        let (ring, began, gaps) = (Ring::new(capacity_bytes), clock.now(), AtomicU64::new(0));
        Self { shared: Arc::new(Shared { ring, epoch, clock, began, gaps }) }
    }

    /// Records an event. Never waits for a viewer.
    pub fn record(&self, event: DebugEvent) {
        self.shared.ring.record(iter::once(Arc::new(Entry::new(event))));
    }

    /// Records events side by side, in their order.
    pub fn record_all(&self, events: impl IntoIterator<Item = DebugEvent>) {
        let entries: Vec<_> = events.into_iter().map(|event| Arc::new(Entry::new(event))).collect();
        self.shared.ring.record(entries);
    }

    /// Opens a stream that shows what is asked for, as far as the scope allows (see [`Scope::check`]), until the token is cancelled
    /// because the viewer may no longer watch. Refuses a cursor that this feed cannot have sent.
    pub fn watch(
        &self,
        request: &FeedRequest,
        scope: &Scope,
        authorisation: CancellationToken,
    ) -> Result<Viewing, Invalid> {
        Viewing::open(Arc::clone(&self.shared), request, scope, authorisation)
    }

    /// The latest events that are wanted, the earliest of them first: a look back, apart from any stream.
    #[must_use]
    pub fn recall(&self, wanted: impl Fn(&DebugEvent) -> bool, most: usize) -> Vec<DebugEvent> {
        let mut found = Vec::new();
        let mut batch = Vec::new();
        let mut seen_from = self.shared.ring.extent().latest;
        while found.len() < most {
            batch.clear();
            let first = self.shared.ring.read_back(seen_from, RECALL, &mut batch);
            if first >= seen_from {
                break;
            }
            seen_from = first;
            let left = most - found.len();
            let events = batch.iter().rev().map(|entry| entry.event()).filter(|event| wanted(event));
            found.extend(events.take(left).cloned());
        }
        found.reverse();
        found
    }

    /// How the feed is.
    #[must_use]
    pub fn status(&self) -> FeedStatus {
        let extent = self.shared.ring.extent();
        FeedStatus {
            earliest: self.shared.cursor(extent.dropped),
            latest: self.shared.cursor(extent.latest),
            held_bytes: extent.bytes,
            capacity_bytes: self.shared.ring.capacity(),
            viewers: extent.viewers,
            gaps: self.shared.gaps.load(Ordering::Relaxed),
        }
    }

    /// Ends every stream once it has what was recorded up to now; a stream that is opened later ends too. Recording goes on.
    pub fn shut_down(&self, retry_after: Duration) {
        self.shared.ring.close(retry_after);
    }
}
