//! `DeviceService.Channel`: the stream of one channel. A state machine by hand, without a task or a timer of its own: tens of thousands of
//! channels are idle most of the time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use muster_proto::channel::Hello;
use muster_proto::v1::channel_request::Kind as Up;
use muster_proto::v1::channel_response::Kind as Down;
use muster_proto::{Reason, SerialNumber, printable, v1};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};

use super::call::{Call, Trace};
use super::gate::refused;
use super::lines::{Bucket, Lines};
use super::status::Failure;
use super::wire;
use crate::identity::caller::Caller;
use crate::identity::peer::Peer;
use crate::presence::{End, Opening, Origin, Presence, Saying, Seat};
use crate::registry::{Action, Answer, Options, SyncStatus};
use crate::writer::Writer;

/// How long a device may take to say hello.
const HELLO: Duration = Duration::from_secs(10);
/// How many messages one device may send in a second, and at once.
const MESSAGES: (f64, f64) = (50.0, 500.0);
/// How many messages are worked on before others get their turn.
const TURN: usize = 32;

/// What opening a channel needs.
#[derive(Debug)]
pub(super) struct Opener<'a> {
    pub(super) presence: &'a Presence,
    pub(super) writer: &'a Writer,
}

impl Opener<'_> {
    /// Waits for the hello and opens the channel.
    pub(super) async fn open(
        &self,
        mut call: Call,
        peer: Peer,
        mut inbound: Streaming<v1::ChannelRequest>,
    ) -> Result<ChannelStream, Status> {
        let (hello, answer) = match self.hello(&mut call, &mut inbound).await {
            Ok(found) => found,
            Err(failure) => return Err(call.trace.fail(&failure)),
        };
        // The opening of the channel is done. The channel itself is an operation of its own, and takes no place among the calls in flight: a
        // device has one channel, and a relay as many as it has devices.
        let mut trace = call.trace.next();
        let relay = match &call.caller {
            Caller::Relay(relay) => Some(relay.clone()),
            _ => None,
        };
        let origin = Origin { address: peer.remote_addr(), relay, boot_id: hello.boot_id };
        let Hello { serial, features, device_time, .. } = hello;
        let opening = Opening { serial, origin, features, device_time, operation: trace.operation() };
        let seat = match self.presence.open(opening) {
            Ok(seat) => seat,
            Err(refusal) => {
                call.trace.end(Ok(()))?;
                return Err(trace.fail(&refusal.into()));
            }
        };
        let first = Some(Box::new(self.message(&call, &trace, &seat, &answer, device_time)));
        call.trace.end(Ok(()))?;
        let messages = Bucket::new(MESSAGES.0, MESSAGES.1, Instant::now());
        let live = Some(Live { seat, trace, peer });
        Ok(ChannelStream { inbound, live, first, lines: None, messages, ending: None })
    }

    /// Waits for the hello, and has it worked on.
    async fn hello(
        &self,
        call: &mut Call,
        inbound: &mut Streaming<v1::ChannelRequest>,
    ) -> Result<(Hello, Answer), Failure> {
        self.presence.is_open()?;
        let needed = |what: &str| Failure::new(Reason::ChannelHelloRequired, format!("the channel began {what}"));
        let first = timeout(HELLO, inbound.message()).await.map_err(|_| needed("with silence"))?;
        let hello = match first.map_err(|status| unreadable(&status))?.map(|message| message.kind) {
            Some(Some(Up::Hello(hello))) => Hello::try_from(&hello)?,
            Some(_) => return Err(needed("with something else than hello")),
            None => return Err(needed("with its end")),
        };
        call.speaks_for(hello.serial)?;
        let answer = call.submit(self.writer, Action::Hello(hello.clone()), Options::default()).await?;
        Ok((hello, answer))
    }

    fn message(
        &self,
        call: &Call,
        trace: &Trace,
        seat: &Seat,
        answer: &Answer,
        device_time: Option<muster_proto::Timestamp>,
    ) -> v1::ChannelWelcome {
        let in_sync = answer.status == SyncStatus::InSync;
        let next_sync_after = if in_sync { wire::next_sync() } else { self.presence.next_slot().try_into().ok() };
        let now = trace.clock().now();
        v1::ChannelWelcome {
            operation_id: call.operation().id.to_string(),
            channel_operation_id: trace.operation().id.to_string(),
            heartbeat_interval: self.presence.heartbeat().try_into().ok(),
            connection_generation: seat.line().generation,
            outcome: answer.outcome.into(),
            in_sync,
            next_sync_after,
            generation: answer.generation,
            digest: answer.digest.to_vec(),
            server_time: Some(now.into()),
            clock_skew: device_time.map(|time| crate::presence::signed(time.micros().saturating_sub(now.micros()))),
        }
    }
}

/// Whether the connection is gone, rather than what came over it wrong.
fn broke(status: &Status) -> bool {
    matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Unknown)
}

/// Bytes that are no message of a channel, or a connection that broke.
fn unreadable(status: &Status) -> Failure {
    let reason = match status.code() {
        _ if broke(status) => Reason::DeadlinePassed,
        Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
        _ => Reason::MessageMalformed,
    };
    Failure::new(reason, printable(status.message()))
}

/// A channel that is open.
#[derive(Debug)]
struct Live {
    seat: Seat,
    /// Ends with the channel.
    trace: Trace,
    peer: Peer,
}

/// The responses of one channel, and the status at its end.
#[derive(Debug)]
pub(super) struct ChannelStream {
    inbound: Streaming<v1::ChannelRequest>,
    /// `None` once the channel has ended.
    live: Option<Live>,
    /// The welcome, until it is sent.
    first: Option<Box<v1::ChannelWelcome>>,
    /// Made by the first debug line: most devices send none.
    lines: Option<Box<Lines>>,
    messages: Bucket,
    /// What the stream ends with once goodbye is said.
    ending: Option<Box<Failure>>,
}

/// What is to be done about a message of the device.
enum Next {
    /// Nothing.
    Nothing,
    /// Answer.
    Answer(Down),
    /// Say goodbye, and end so.
    End(Failure, Option<Duration>),
    /// The device has ended the channel.
    Left,
}

impl Stream for ChannelStream {
    type Item = Result<v1::ChannelResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(failure) = this.ending.take() {
            let live = this.live.take();
            return Poll::Ready(live.map(|mut live| Err(live.trace.fail(&failure))));
        }
        if let Some(welcome) = this.first.take() {
            return Poll::Ready(Some(Ok(response(Down::Welcome(*welcome)))));
        }
        let Some(live) = &this.live else { return Poll::Ready(None) };
        match live.seat.line().poll_saying(cx) {
            Poll::Ready(Saying::Say(kind)) => return Poll::Ready(Some(Ok(response(kind)))),
            Poll::Ready(Saying::End(End { refusal, reconnect_after })) => {
                return Poll::Ready(Some(Ok(this.say_goodbye(refusal.into(), reconnect_after))));
            }
            Poll::Pending => {}
        }
        for _ in 0..TURN {
            let next = match Pin::new(&mut this.inbound).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(message))) => this.heard(message),
                Poll::Ready(Some(Err(status))) if broke(&status) => {
                    drop(this.live.take().map(Live::broken));
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(status))) => Next::End(unreadable(&status), None),
                Poll::Ready(None) => Next::Left,
            };
            match next {
                Next::Nothing => {}
                Next::Answer(kind) => return Poll::Ready(Some(Ok(response(kind)))),
                Next::End(failure, reconnect_after) => {
                    return Poll::Ready(Some(Ok(this.say_goodbye(failure, reconnect_after))));
                }
                Next::Left => {
                    this.leave(None);
                    return Poll::Ready(None);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl ChannelStream {
    /// Works on one message of the device.
    fn heard(&mut self, message: v1::ChannelRequest) -> Next {
        let Some(live) = &mut self.live else { return Next::Left };
        let now = Instant::now();
        if !self.messages.take(now) {
            let message = format!("more than {} messages a second", MESSAGES.0);
            let second = Duration::from_secs(1);
            return Next::End(Failure::new(Reason::RateLimited, message).retry_after(second), Some(second));
        }
        let serial = live.seat.line().serial;
        match message.kind {
            Some(Up::Heartbeat(heartbeat)) => {
                if let Err(failure) = live.still_allowed(serial) {
                    return Next::End(failure, None);
                }
                // A time that is none is no reason to end a channel.
                let device_time = heartbeat.device_time.as_ref().and_then(|time| time.try_into().ok());
                let skew = live.seat.heard(device_time, live.trace.operation());
                let at = live.trace.clock().now();
                if let Some(event) =
                    self.lines.as_mut().and_then(|lines| lines.flush(serial, live.trace.operation(), (now, at)))
                {
                    live.trace.feed().record(event);
                }
                Next::Answer(Down::Heartbeat(v1::ChannelHeartbeat {
                    sequence: heartbeat.sequence,
                    server_time: Some(at.into()),
                    clock_skew: skew.map(crate::presence::signed),
                }))
            }
            Some(Up::DebugLines(lines)) => {
                let at = live.trace.clock().now();
                let kept = self.lines.get_or_insert_with(|| Box::new(Lines::new(now)));
                let events = kept.take(lines, serial, live.trace.operation(), (now, at));
                live.trace.feed().record_all(events);
                Next::Nothing
            }
            Some(Up::Goodbye(goodbye)) => {
                self.leave(Some(&goodbye.reason));
                Next::Left
            }
            Some(Up::Hello(_)) => {
                Next::End(Failure::new(Reason::ChannelHelloRequired, "the channel has a second hello"), None)
            }
            // A kind of a later version.
            None => Next::Nothing,
        }
    }

    /// The last message; the status is what the stream gives next.
    fn say_goodbye(&mut self, failure: Failure, reconnect_after: Option<Duration>) -> v1::ChannelResponse {
        self.count_lost();
        let reason = failure.refusal.reason.as_str().to_owned();
        let failure = match reconnect_after {
            Some(delay) => failure.retry_after(delay),
            None => failure,
        };
        self.ending = Some(Box::new(failure));
        let reconnect_after = reconnect_after.and_then(|delay| delay.try_into().ok());
        response(Down::Goodbye(v1::ChannelGoodbye { reason, reconnect_after }))
    }

    /// The device has ended the channel, with words or without.
    fn leave(&mut self, goodbye: Option<&str>) {
        self.count_lost();
        let Some(mut live) = self.live.take() else { return };
        let note = match goodbye {
            Some(why) => {
                let why: String = why.chars().take(64).collect();
                let why = printable(&why);
                live.seat.goodbye(&why);
                format!("the device said goodbye: {why}")
            }
            None => "the device ended the channel".to_owned(),
        };
        live.trace.note(note);
        // It cannot fail: there is no failure to end with.
        let _ = live.trace.end(Ok(()));
    }

    fn count_lost(&mut self) {
        let Some((live, lines)) = self.live.as_ref().zip(self.lines.as_mut()) else { return };
        let moment = (Instant::now(), live.trace.clock().now());
        if let Some(event) = lines.flush(live.seat.line().serial, live.trace.operation(), moment) {
            live.trace.feed().record(event);
        }
    }
}

impl Drop for ChannelStream {
    /// A stream that is dropped before it ended has lost its connection.
    fn drop(&mut self) {
        self.count_lost();
        drop(self.live.take().map(Live::broken));
    }
}

impl Live {
    /// Ends a channel whose connection is gone.
    fn broken(mut self) -> Self {
        self.trace.note("the connection of the channel broke");
        self
    }

    /// Every heartbeat asks again what the handshake asked: certificates expire, and CAs are taken away.
    fn still_allowed(&self, serial: SerialNumber) -> Result<(), Failure> {
        let caller = self.peer.caller(self.trace.clock().now()).map_err(refused)?;
        if caller.as_ref().is_some_and(|caller| caller.may_speak_for(&serial)) {
            return Ok(());
        }
        let message = format!("{} may no longer speak for {serial}", self.trace.operation().caller);
        Err(Failure::new(Reason::IdentityMismatch, message))
    }
}

fn response(kind: Down) -> v1::ChannelResponse {
    v1::ChannelResponse { kind: Some(kind) }
}
