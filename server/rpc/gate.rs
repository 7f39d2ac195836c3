//! What every call goes through: who calls, may they, how often, by when; and one log line and one terminal debug event at its end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use muster_proto::{Reason, SerialNumber, Timestamp};
use rand::RngExt as _;
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Response, Status};

use super::limits::{Key, Limits, Permit};
use super::status::Failure;
use crate::clock::Clock;
use crate::feed::Feed;
use crate::identity::caller::{Admin, Caller};
use crate::identity::peer::Peer;
use crate::identity::token::bearer_token;
use crate::operation::OperationId;
use crate::registry::{Answer, Command};
use crate::store::Reading;
use crate::writer::{Operation, Writer, terminal};

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Devices, and relays in their names.
    Devices,
    /// Those who hold an admin token.
    Admins,
    /// Everybody who is known.
    Known,
}

/// A method of a service.
#[derive(Debug)]
pub(super) struct Method {
    /// Its name, as in "Sync".
    pub(super) name: &'static str,
    /// Who may call it.
    pub(super) audience: Audience,
}

/// What the calls of all services share.
#[derive(Clone, Debug)]
pub(super) struct Gate(Arc<Shared>);

/// A [`Gate`] that does not keep the services alive.
#[derive(Debug)]
pub(super) struct WeakGate(Weak<Shared>);

impl WeakGate {
    pub(super) fn upgrade(&self) -> Option<Gate> {
        self.0.upgrade().map(Gate)
    }
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    feed: Feed,
    store: Arc<dyn Reading>,
    limits: Arc<Limits>,
}

/// One call that was let in.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) caller: Caller,
    /// The device that the call is about, once that is known.
    serial: Option<SerialNumber>,
    feed: Feed,
    clock: Arc<dyn Clock>,
    began: Instant,
    /// Whether the terminal debug event is somebody else's, or left already.
    settled: bool,
    /// Whether the call has ended.
    ended: bool,
    _permit: Option<Permit>,
}

impl Gate {
    pub(super) fn new(clock: Arc<dyn Clock>, feed: Feed, store: Arc<dyn Reading>) -> Self {
        Self(Arc::new(Shared { clock, feed, store, limits: Limits::new() }))
    }

    /// Forgets callers that have not called for a while.
    pub(super) fn tidy(&self) {
        self.0.limits.tidy();
    }

    /// A handle that does not keep the services alive.
    pub(super) fn downgrade(&self) -> WeakGate {
        WeakGate(Arc::downgrade(&self.0))
    }

    /// Takes one unary call through: `work` is done only for a caller who may call, and its failure becomes a status.
    pub(super) async fn unary<M, R, W>(
        &self,
        method: &Method,
        request: Request<M>,
        work: W,
    ) -> Result<Response<R>, Status>
    where
        W: AsyncFnOnce(&mut Call, M) -> Result<R, Failure>,
    {
        let deadline = deadline(&request);
        let mut call = self.open(method, &request).await?;
        let message = request.into_inner();
        let result = match deadline {
            None => work(&mut call, message).await,
            Some(deadline) => timeout(deadline, work(&mut call, message))
                .await
                .unwrap_or_else(|_| Err(Failure::new(Reason::DeadlinePassed, "the deadline of the caller passed"))),
        };
        call.end(result).map(Response::new)
    }

    /// Lets a call in, or refuses it.
    pub(super) async fn open<M>(&self, method: &Method, request: &Request<M>) -> Result<Call, Status> {
        let shared = &*self.0;
        let at = shared.clock.now();
        let peer = request.extensions().get::<Peer>();
        let identified = self.identify(peer, request, at).await;
        let (caller, failure) = match identified {
            Ok(caller) => (Some(caller), None),
            Err(failure) => (None, Some(failure)),
        };
        let label: Arc<str> = caller.as_ref().map_or_else(|| Arc::from(""), |caller| caller.to_string().into());
        let key = match &caller {
            Some(caller) => Key::of(caller, &label),
            None => Key::Address(peer.map(|peer| peer.remote_addr().ip())),
        };
        let permit = shared.limits.admit(key);
        let operation =
            Operation { id: OperationId::new(at, rand::rng().random()), at, method: method.name, caller: label };
        let mut call = Call {
            operation,
            caller: caller.unwrap_or_else(|| Caller::Admin(Arc::new(Admin { name: muster_proto::Text::default() }))),
            serial: None,
            feed: shared.feed.clone(),
            clock: Arc::clone(&shared.clock),
            began: Instant::now(),
            settled: false,
            ended: false,
            _permit: None,
        };
        match (permit, failure) {
            (Err(failure), _) | (Ok(_), Some(failure)) => return Err(call.fail(&failure)),
            (Ok(permit), None) => call._permit = Some(permit),
        }
        let allowed = match method.audience {
            Audience::Devices => !matches!(call.caller, Caller::Admin(_)),
            Audience::Admins => matches!(call.caller, Caller::Admin(_)),
            Audience::Known => true,
        };
        if !allowed {
            let message = format!("{} may not call {}", call.operation.caller, method.name);
            return Err(call.fail(&Failure::new(Reason::RoleNotAllowed, message)));
        }
        Ok(call)
    }

    /// Who calls: a token counts more than a certificate, because whoever sends it does so on purpose.
    async fn identify<M>(&self, peer: Option<&Peer>, request: &Request<M>, at: Timestamp) -> Result<Caller, Failure> {
        if let Some(token) = bearer_token(request.metadata()).map_err(refused)? {
            let name = self.0.store.admin(token.hash().0).await?.ok_or_else(|| refused(Reason::TokenInvalid))?;
            let name = name.parse().unwrap_or_default();
            return Ok(Caller::Admin(Arc::new(Admin { name })));
        }
        let caller = peer.map_or(Ok(None), |peer| peer.caller(at)).map_err(refused)?;
        caller.ok_or_else(|| refused(Reason::CredentialsMissing))
    }
}

/// The failure of a caller who could not be identified, or no longer is.
pub(super) fn refused(reason: Reason) -> Failure {
    let message = match reason {
        Reason::TokenInvalid => "the token is wrong, expired or revoked",
        Reason::CertificateExpired => "the client certificate is not valid at this time",
        Reason::CertificateNotTrusted => "the client certificate is not from a CA that the server trusts now",
        Reason::CertificateWithoutIdentity => "the client certificate names neither a serial number nor a relay",
        _ => "the call came with neither a client certificate nor a token",
    };
    Failure::new(reason, message)
}

/// How long the caller is willing to wait. A little less is used, so that the answer says why before the transport cuts the call off.
fn deadline<M>(request: &Request<M>) -> Option<Duration> {
    let text = request.metadata().get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(number.saturating_mul(3_600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    Some(timeout.saturating_sub(Duration::from_millis(3)))
}

impl Call {
    /// Makes sure that the caller may speak for the device, and notes which one the call is about.
    pub(super) fn speaks_for(&mut self, serial: SerialNumber) -> Result<(), Failure> {
        self.serial = Some(serial);
        if self.caller.may_speak_for(&serial) {
            return Ok(());
        }
        let message = format!("{} may not speak for {serial}", self.operation.caller);
        Err(Failure::new(Reason::IdentityMismatch, message))
    }

    /// Notes which device the call is about.
    pub(super) fn concerns(&mut self, serial: SerialNumber) {
        self.serial = Some(serial);
    }

    /// Hands a command to the writer and waits for its answer. The writer leaves the debug events, the terminal one too.
    pub(super) async fn submit(&mut self, writer: &Writer, command: Command) -> Result<Answer, Failure> {
        let pending = writer.submit(self.operation.clone(), command)?;
        self.settled = true;
        Ok(pending.answer().await?)
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
        if self.settled {
            return;
        }
        self.settled = true;
        let event = terminal(&self.operation, self.serial, code, self.clock.now());
        self.feed.record(match failure {
            Some(failure) => event.refused(&failure.refusal),
            None => event,
        });
    }
}

impl Drop for Call {
    /// A call that is dropped before it ended was cancelled by its caller.
    fn drop(&mut self) {
        if !self.ended {
            self.finish(Code::Cancelled, None);
        }
    }
}
