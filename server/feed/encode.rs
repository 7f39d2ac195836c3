//! What viewers get, encoded.

use std::time::Duration;

use muster_proto::debug_log::Filter;
use muster_proto::encoded::EncodedResponse;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::{Cursor, Timestamp, v1};
use tonic::Code;

use super::event::DebugEvent;

/// The most bytes that the parts of an encoded event with a bounded length take, tags and lengths included.
pub(super) const EVENT_FIXED: usize = 384;
/// The same of a change.
pub(super) const CHANGE_FIXED: usize = 64;

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

pub(super) fn event(event: &DebugEvent, cursor: Cursor) -> EncodedResponse {
    let changes = event.changes.iter().map(|change| v1::ValueChange {
        field: change.field.to_owned(),
        before: change.before.clone(),
        after: change.after.clone(),
    });
    response(Kind::Event(v1::DebugEvent {
        cursor: cursor.to_string(),
        time: Some(event.time.into()),
        device_time: event.device_time.map(Into::into),
        operation_id: event.operation.to_string(),
        serial_number: event.serial.map(|serial| serial.as_str().to_owned()).unwrap_or_default(),
        vdom: event.vdom.map(|vdom| vdom.as_str().to_owned()).unwrap_or_default(),
        realm: event.realm.as_deref().unwrap_or_default().to_owned(),
        component: event.component.clone().into_owned(),
        level: u32::from(event.level as u8),
        step: event.step.to_owned(),
        message: event.message.clone().into_owned(),
        reason: event.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        changes: changes.collect(),
        caller: event.caller.as_deref().unwrap_or_default().to_owned(),
        terminal: event.terminal.is_some(),
        code: event.terminal.map(|code| code_name(code).to_owned()).unwrap_or_default(),
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

/// The name of a gRPC code, as its specification writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
