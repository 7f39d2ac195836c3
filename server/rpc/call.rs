//! One call from its beginning to its end: whom it is for, and the one log line and the one terminal debug event that it leaves.

use std::borrow::Cow;
use std::sync::Arc;

use muster_proto::admin::Query;
use muster_proto::device_users::UserTarget;
use muster_proto::{Reason, SerialNumber, VdomName};
use rand::RngExt as _;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::limits::Permit;
use super::status::Failure;
use crate::clock::Clock;
use crate::feed::Feed;
use crate::identity::caller::Caller;
use crate::operation::OperationId;
use crate::registry::{Action, Answer, Command, Options, Reach, RealmId};
use crate::writer::{Operation, Writer, terminal};

/// What a call leaves behind.
#[derive(Debug)]
pub(super) struct Trace {
    operation: Operation,
    /// The device that the call is about, once that is known.
    serial: Option<SerialNumber>,
    feed: Feed,
    clock: Arc<dyn Clock>,
    began: Instant,
    /// Whether the terminal debug event is the writer's to leave.
    handed_over: bool,
    ended: bool,
    /// How the call ended, in words, where that is not a failure.
    note: Cow<'static, str>,
    /// The VDOM that the call was about, and the realm of it.
    place: Option<(VdomName, (RealmId, Arc<str>))>,
}

impl Trace {
    pub(super) fn begin(
        operation: Operation,
        serial: Option<SerialNumber>,
        feed: Feed,
        clock: Arc<dyn Clock>,
        began: Instant,
    ) -> Self {
        Self {
            operation,
            serial,
            feed,
            clock,
            began,
            handed_over: false,
            ended: false,
            note: Cow::Borrowed(""),
            place: None,
        }
    }

    pub(super) fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The same caller goes on in an operation of its own: a stream that the call has opened.
    pub(super) fn next(&self) -> Self {
        let at = self.clock.now();
        let operation = Operation { id: OperationId::new(at, rand::rng().random()), at, ..self.operation.clone() };
        Self::begin(operation, self.serial, self.feed.clone(), Arc::clone(&self.clock), Instant::now())
    }

    /// Ends without a trace: nothing was asked.
    pub(super) fn dismiss(&mut self) {
        self.ended = true;
    }

    /// What tells the time.
    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Where the call leaves its events.
    pub(super) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Says how the call is about to end.
    pub(super) fn note(&mut self, note: impl Into<Cow<'static, str>>) {
        self.note = note.into();
    }

    /// Says which VDOM the call was about, and in which realm that is.
    pub(super) fn place(&mut self, vdom: VdomName, realm: (RealmId, Arc<str>)) {
        self.place = Some((vdom, realm));
    }

    /// Ends the call: what the caller gets.
    pub(super) fn end<R>(&mut self, result: Result<R, Failure>) -> Result<R, Status> {
        match result {
            Ok(answer) => {
                self.finish(Code::Ok, None);
                Ok(answer)
            }
            Err(failure) => Err(self.fail(&failure)),
        }
    }

    /// Ends the call in a failure.
    pub(super) fn fail(&mut self, failure: &Failure) -> Status {
        self.finish(failure.refusal.reason.code(), Some(failure));
        failure.status(self.operation.id)
    }

    fn finish(&mut self, code: Code, failure: Option<&Failure>) {
        self.ended = true;
        let took = self.began.elapsed();
        let reason = failure.map_or("", |failure| failure.refusal.reason.as_str());
        super::log::operation(&self.operation, self.serial, code, reason, took);
        if self.handed_over {
            return;
        }
        let mut event = terminal(&self.operation, self.serial, code, self.clock.now());
        event.message = std::mem::take(&mut self.note);
        if let Some((vdom, (id, name))) = self.place.take() {
            (event.vdom, event.realm_id, event.realm) = (Some(vdom), Some(id), Some(name));
        }
        self.feed.record(match failure {
            Some(failure) => event.refused(&failure.refusal),
            None => event,
        });
    }
}

impl Drop for Trace {
    /// A call that is dropped before it ended was cancelled by its caller.
    fn drop(&mut self) {
        if !self.ended {
            self.finish(Code::Cancelled, None);
        }
    }
}

/// A call that was let in.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) trace: Trace,
    pub(super) caller: Caller,
    /// Held until the call has ended.
    _permit: Permit,
}

impl Call {
    pub(super) fn new(trace: Trace, caller: Caller, permit: Permit) -> Self {
        Self { trace, caller, _permit: permit }
    }

    pub(super) fn operation(&self) -> &Operation {
        &self.trace.operation
    }

    /// Whether the caller may see what is in this realm. What it may not see is answered as if it had never been.
    pub(super) fn may_see(&self, realm: RealmId) -> bool {
        self.operation().reach.covers(realm)
    }

    /// Whether the caller may see what is in no realm, too.
    pub(super) fn sees_everything(&self) -> bool {
        self.operation().reach == Reach::Everything
    }

    /// The list query, narrowed to what the caller may see.
    pub(super) fn narrow(&self, query: Query) -> Query {
        query.within(self.operation().reach.realms())
    }

    /// Makes sure that the caller may speak for the device, and notes which one the call is about.
    pub(super) fn speaks_for(&mut self, serial: SerialNumber) -> Result<(), Failure> {
        if self.caller.may_speak_for(&serial) {
            self.concerns(serial);
            return Ok(());
        }
        let message = format!("{} may not speak for {serial}", self.operation().caller);
        Err(Failure::new(Reason::IdentityMismatch, message))
    }

    /// Makes sure that the caller may change the users of this auth client: those of a device that it speaks for, or its own. Says which Web app
    /// it is, if the call does not.
    pub(super) fn speaks_for_users(&mut self, target: &mut UserTarget) -> Result<(), Failure> {
        match (target, &self.caller) {
            (UserTarget::FortiProduct(target), _) => self.speaks_for(target.serial),
            (UserTarget::WebApp(named), Caller::WebApp(app)) if named.is_none_or(|id| id == app.id) => {
                *named = Some(app.id);
                Ok(())
            }
            (UserTarget::WebApp(_), _) => {
                let message = format!("{} may not speak for that Web app", self.operation().caller);
                Err(Failure::new(Reason::IdentityMismatch, message))
            }
        }
    }

    /// Notes which device the call is about.
    pub(super) fn concerns(&mut self, serial: SerialNumber) {
        self.trace.serial = Some(serial);
    }

    /// Hands a command to the writer and waits for its answer. The writer leaves the debug events, the terminal one too.
    pub(super) async fn submit(
        &mut self,
        writer: &Writer,
        action: Action,
        options: Options,
    ) -> Result<Answer, Failure> {
        let command = Command { action, options };
        let pending = writer.submit(self.trace.operation.clone(), command)?;
        self.trace.handed_over = true;
        Ok(pending.answer().await?)
    }

    /// The same for a command that only begins what the call is for. If it is refused, that ends the call; else the call ends itself.
    pub(super) async fn begin(&mut self, writer: &Writer, action: Action, options: Options) -> Result<Answer, Failure> {
        let answer = self.submit(writer, action, options).await?;
        self.trace.handed_over = false;
        Ok(answer)
    }
}
