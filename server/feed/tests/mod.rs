//! The feed as its viewers see it.

mod event;
mod opening;
mod property;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use muster_proto::debug_log::{FeedRequest, Filter, HEARTBEAT, Level, Start};
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::{Cursor, Pattern, SerialNumber, Timestamp, v1};
use prost::Message as _;
use tokio::task::coop;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{DebugEvent, Feed, Scope, Viewing};
use crate::clock::Clock;
use crate::operation::OperationId;

const EPOCH: u64 = 7;
const ROOMY: usize = 1 << 20;
/// When the clock of a test starts, in seconds.
const START: i64 = 1_000;

/// A clock that goes with tokio's, which tests can pause.
#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        second(START).plus(self.0.elapsed())
    }
}

fn second(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn feed(capacity: usize) -> Feed {
    Feed::new(capacity, EPOCH, Arc::new(TestClock(Instant::now())))
}

fn cursor(position: u64) -> Cursor {
    Cursor { epoch: EPOCH, position }
}

fn serial(text: &str) -> SerialNumber {
    format!("{text:0<16}").parse().unwrap()
}

/// An event at the start of the clock.
fn event(message: &str) -> DebugEvent {
    let operation = OperationId::new(second(START), 1);
    DebugEvent::new(second(START), operation, Level::Outcome, "sync", message.to_owned())
}

fn event_of(serial: SerialNumber, message: &str) -> DebugEvent {
    DebugEvent { serial: Some(serial), ..event(message) }
}

fn event_at(seconds: i64, message: &str) -> DebugEvent {
    DebugEvent { time: second(seconds), ..event(message) }
}

fn request(start: Start, follow: bool) -> FeedRequest {
    FeedRequest { start, follow, until: None, limit: None, include: vec![], exclude: vec![], heartbeat: HEARTBEAT }
}

fn of_serial(serial: SerialNumber) -> Filter {
    Filter { serial: Some(Pattern::Exact(serial.to_string())), ..Filter::default() }
}

fn watch(feed: &Feed, request: &FeedRequest) -> Viewing {
    feed.watch(request, &Scope::All, CancellationToken::new()).unwrap()
}

fn decode(response: &muster_proto::encoded::EncodedResponse) -> Kind {
    v1::StreamDebugLogsResponse::decode(response.bytes().clone()).unwrap().kind.unwrap()
}

/// What the stream has now; `None` if it waits, or has ended.
fn now(viewing: &mut Viewing) -> Option<Kind> {
    // A test is one long task: without this, the runtime would want it to yield.
    let response = coop::unconstrained(viewing.next()).now_or_never()?;
    response.as_ref().map(decode)
}

async fn next(viewing: &mut Viewing) -> Kind {
    decode(&viewing.next().await.unwrap())
}

/// A response in a few words, with positions for cursors.
fn brief(kind: &Kind) -> String {
    let position = |text: &str| text.parse::<Cursor>().map_or_else(|_| text.to_owned(), |it| it.position.to_string());
    match kind {
        Kind::Opened(opened) if opened.warning.is_empty() => format!("opened {}", position(&opened.cursor)),
        Kind::Opened(opened) => format!("opened {}: {}", position(&opened.cursor), opened.warning),
        Kind::Event(event) => format!("event {} {}", position(&event.cursor), event.message),
        Kind::Gap(gap) => {
            let count = gap.count.map_or("?".to_owned(), |count| count.to_string());
            format!("gap {}..{} {count} {}", position(&gap.from_cursor), position(&gap.to_cursor), short(gap.reason()))
        }
        Kind::CaughtUp(caught_up) => format!("caught_up {}", position(&caught_up.cursor)),
        Kind::Heartbeat(heartbeat) => format!("heartbeat {}", position(&heartbeat.cursor)),
        Kind::Closing(closing) => format!("closing {} {}", position(&closing.resume_cursor), short(closing.reason())),
    }
}

fn short(reason: impl fmt::Debug) -> String {
    format!("{reason:?}")
}

/// Everything the stream has now, in a few words each.
fn all_now(viewing: &mut Viewing) -> Vec<String> {
    std::iter::from_fn(|| now(viewing)).map(|kind| brief(&kind)).collect()
}

/// Everything that such a stream has now.
fn shown(feed: &Feed, request: &FeedRequest) -> Vec<String> {
    all_now(&mut watch(feed, request))
}
