//! Where a stream starts.

use muster_proto::debug_log::{FeedRequest, Start};
use muster_proto::v1::GapReason;
use muster_proto::{Cursor, Invalid, Reason, Timestamp};

use super::Shared;
use super::control::Gap;
use super::ring::Extent;

/// Where a stream starts.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// The position before the first event to look at; a survey finds that of a tail.
    pub(super) position: u64,
    /// Events behind the requested cursor that are gone.
    pub(super) gap: Option<Gap>,
    /// Skip what is earlier, until the first event that is not.
    pub(super) since: Option<Timestamp>,
    /// What the viewer should know.
    pub(super) warning: Option<String>,
}

impl Opening {
    /// Finds where the request starts in a ring of this extent.
    pub(super) fn new(shared: &Shared, extent: &Extent, request: &FeedRequest) -> Result<Self, Invalid> {
        let at = |position| Self { position, gap: None, since: None, warning: None };
        Ok(match request.start {
            Start::Now | Start::Tail(_) => at(extent.latest),
            Start::Earliest => at(extent.dropped),
            Start::Since(since) => {
                let position = shared.ring.position_at(since);
                Self { since: Some(since), warning: missing(shared, extent, since), ..at(position) }
            }
            Start::Cursor(cursor) => {
                let position = if cursor.epoch == shared.epoch { cursor.position } else { 0 };
                if position > extent.latest {
                    let description = "is ahead of the feed: pass a cursor back exactly as the feed sent it";
                    return Err(Invalid::field("cursor", Reason::CursorMalformed, description));
                }
                let gap = gap_behind(shared, extent, cursor);
                Self { gap, ..at(position.max(extent.dropped)) }
            }
        })
    }
}

fn gap_behind(shared: &Shared, extent: &Extent, cursor: Cursor) -> Option<Gap> {
    let reason = if cursor.epoch != shared.epoch {
        GapReason::Restart
    } else if cursor.position < extent.dropped {
        GapReason::Expired
    } else {
        return None;
    };
    Some(Gap { from: cursor, to: shared.cursor(extent.dropped), reason })
}

/// Says so if events at or after this time may have been recorded and are gone.
fn missing(shared: &Shared, extent: &Extent, since: Timestamp) -> Option<String> {
    let gone = match extent.dropped_time {
        Some(dropped) => (since <= dropped).then(|| format!("events up to {dropped} are no longer held")),
        None => (since < shared.began).then(|| format!("this feed began at {}", shared.began)),
    };
    gone.map(|gone| format!("{gone}: the stream starts later than since"))
}
