//! What viewers get besides events, encoded.

use std::time::Duration;

use muster_proto::debug_log::Filter;
use muster_proto::encoded::EncodedResponse;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::{Cursor, Timestamp, v1};

/// Events that a viewer does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The position before the first of them.
    pub(super) from: Cursor,
    /// The position of the last of them.
    pub(super) to: Cursor,
    /// Why.
    pub(super) reason: v1::GapReason,
}

fn response(kind: Kind) -> EncodedResponse {
    EncodedResponse::new(&v1::StreamDebugLogsResponse { kind: Some(kind) })
}

pub(super) fn opened<'a>(
    include: impl Iterator<Item = &'a Filter>,
    exclude: impl Iterator<Item = &'a Filter>,
    warning: String,
    cursor: Cursor,
) -> EncodedResponse {
    response(Kind::Opened(v1::FeedOpened {
        include: include.map(Into::into).collect(),
        exclude: exclude.map(Into::into).collect(),
        warning,
        cursor: cursor.to_string(),
    }))
}

pub(super) fn gap(gap: &Gap) -> EncodedResponse {
    // Positions of two epochs cannot be subtracted: nobody can count what an earlier process held.
    let count = (gap.from.epoch == gap.to.epoch).then(|| gap.to.position.saturating_sub(gap.from.position));
    response(Kind::Gap(v1::FeedGap {
        from_cursor: gap.from.to_string(),
        to_cursor: gap.to.to_string(),
        count,
        reason: gap.reason.into(),
    }))
}

pub(super) fn caught_up(cursor: Cursor) -> EncodedResponse {
    response(Kind::CaughtUp(v1::FeedCaughtUp { cursor: cursor.to_string() }))
}

pub(super) fn heartbeat(cursor: Cursor, time: Timestamp) -> EncodedResponse {
    response(Kind::Heartbeat(v1::FeedHeartbeat { cursor: cursor.to_string(), time: Some(time.into()) }))
}

pub(super) fn closing(reason: v1::ClosingReason, resume: Cursor, retry_after: Option<Duration>) -> EncodedResponse {
    response(Kind::Closing(v1::FeedClosing {
        reason: reason.into(),
        resume_cursor: resume.to_string(),
        // A delay beyond what the wire can say is as good as none.
        retry_after: retry_after.and_then(|delay| delay.try_into().ok()),
    }))
}
