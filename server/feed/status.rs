//! How the feed is.

use muster_proto::{Cursor, v1};

/// How the feed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// The position before the earliest event that is held.
    pub earliest: Cursor,
    /// The position of the latest event.
    pub latest: Cursor,
    /// How many bytes the held events take, their encoded form included.
    pub held_bytes: usize,
    /// How many bytes they may take.
    pub capacity_bytes: usize,
    /// How many streams are open.
    pub viewers: u32,
    /// How many gaps viewers were given since the start.
    pub gaps: u64,
}

impl From<FeedStatus> for v1::GetFeedStatusResponse {
    fn from(status: FeedStatus) -> Self {
        Self {
            earliest_cursor: status.earliest.to_string(),
            latest_cursor: status.latest.to_string(),
            held_events: status.latest.position - status.earliest.position,
            held_bytes: status.held_bytes as u64,
            capacity_bytes: status.capacity_bytes as u64,
            recorded_events: status.latest.position,
            dropped_events: status.earliest.position,
            viewers: status.viewers,
            gaps: status.gaps,
        }
    }
}
