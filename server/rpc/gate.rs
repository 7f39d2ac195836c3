//! What every call goes through before its work: who calls, may they, how often, and by when.

use std::future::{Future, pending};
use std::sync::{Arc, Weak};
use std::time::Duration;

use muster_proto::{Reason, SerialNumber, Timestamp};
use rand::RngExt as _;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::call::{Call, Trace};
use super::deadline::deadline;
use super::limits::{Key, Limits};
use super::methods::{Access, Audience, Extent};
pub(super) use super::methods::{Method, method};
use super::status::Failure;
use crate::clock::Clock;
use crate::feed::Feed;
use crate::identity::caller::{Admin, Caller};
use crate::identity::peer::Peer;
use crate::identity::revocations::{Identity, Revocations};
use crate::identity::token::{TokenHash, bearer_token};
use crate::identity::web_app::basic_credentials;
use crate::operation::OperationId;
use crate::registry::{AdminToken, Reach, WebAppId};
use crate::store::Reading;
use crate::writer::Operation;

/// How long a stream that is watched goes on at most before the clock is read again: the clock of the machine may be set.
const CLOCK_CHECK: Duration = Duration::from_mins(1);

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
    revocations: Revocations,
}

impl Gate {
    pub(super) fn new(clock: Arc<dyn Clock>, feed: Feed, store: Arc<dyn Reading>, revocations: Revocations) -> Self {
        Self(Arc::new(Shared { clock, feed, store, limits: Limits::new(), revocations }))
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
            Some(deadline) => timeout_at(deadline, work(&mut call, message))
                .await
                .unwrap_or_else(|_| Err(Failure::new(Reason::DeadlinePassed, "the deadline of the caller passed"))),
        };
        call.trace.end(result).map(Response::new)
    }

    /// Lets a call in, or refuses it.
    pub(super) async fn open<M>(&self, method: &Method, request: &Request<M>) -> Result<Call, Status> {
        let began = Instant::now();
        let shared = &*self.0;
        let at = shared.clock.now();
        let peer = request.extensions().get::<Peer>();
        let identified = self.identify(peer, request, at).await;
        let label: Arc<str> = identified.as_ref().map_or_else(|_| Arc::from(""), |caller| caller.to_string().into());
        let key = match &identified {
            Ok(caller) => Key::of(caller, &label),
            Err(_) => Key::Address(peer.map(|peer| peer.remote_addr().ip())),
        };
        // A device sees in its own feed why it was refused.
        let about = match &identified {
            Ok(Caller::Device(serial)) => Some(*serial),
            _ => None,
        };
        let permit = shared.limits.admit(key);
        let id = OperationId::new(at, rand::rng().random());
        let (reach, address) = match &identified {
            Ok(Caller::Admin(admin)) => (admin.reach.clone(), None),
            // The address of a relay says nothing of the device.
            Ok(Caller::Device(_)) => (Reach::Everything, peer.map(|peer| peer.remote_addr().ip())),
            _ => (Reach::Everything, None),
        };
        let proof = about.and_then(|_| peer?.proof());
        let web_app = match &identified {
            Ok(Caller::WebApp(app)) => Some(WebAppId(app.id)),
            _ => None,
        };
        let operation = Operation { id, at, method: method.name, caller: label, reach, address, proof, web_app };
        let mut trace = Trace::begin(operation, about, shared.feed.clone(), Arc::clone(&shared.clock), began);
        let (permit, caller) = match (permit, identified) {
            (Ok(permit), Ok(caller)) => (permit, caller),
            (Err(failure), _) | (Ok(_), Err(failure)) => return Err(trace.fail(&failure)),
        };
        if let Err(why) = may_call(method.audience, &caller) {
            let message = format!("{} {why} call {}", trace.operation().caller, method.name);
            return Err(trace.fail(&Failure::new(Reason::RoleNotAllowed, message)));
        }
        Ok(Call::new(trace, caller, permit))
    }

    /// Whether the device is banned, as far as the latest commit goes: unary calls learn it from the rules, a stream asks here.
    pub(super) fn is_banned(&self, serial: SerialNumber) -> bool {
        self.0.revocations.is_revoked(&Identity::Device(serial))
    }

    /// Waits until an open call of this caller would no longer be let in, and says why: a stream has to end then.
    pub(super) fn shut_out(&self, caller: &Caller, peer: Option<Peer>) -> impl Future<Output = Reason> + Send + use<> {
        // Not the gate itself: a stream must not keep the services, and so the server, alive.
        let (revocations, identity) = (self.0.revocations.clone(), caller.identity());
        let secret = match caller {
            Caller::WebApp(_) => Reason::SecretInvalid,
            _ => Reason::TokenInvalid,
        };
        let shown = match caller {
            Caller::WebApp(app) => Some((app.id, app.secret)),
            _ => None,
        };
        let (clock, end) = (Arc::clone(&self.0.clock), caller.expires_at());
        // A certificate may expire or lose its CA, and a token may expire, while the stream is open.
        let peer = peer.filter(|_| !matches!(caller, Caller::Admin(_) | Caller::WebApp(_)));
        async move {
            let certificate = async {
                match &peer {
                    Some(peer) => peer.refused().await,
                    None => pending().await,
                }
            };
            let revoked = async {
                match identity {
                    Some(identity) => revocations.revoked(identity).await,
                    None => pending().await,
                }
                match identity {
                    Some(Identity::Device(_)) => Reason::DeviceBanned,
                    _ => secret,
                }
            };
            let until = async |end: Timestamp| {
                // The clock of the machine may be set meanwhile.
                while clock.now() < end {
                    tokio::time::sleep(end.since(clock.now()).min(CLOCK_CHECK)).await;
                }
            };
            let expired = async {
                match (end, shown) {
                    (end, Some((id, secret))) => revocations.secret_ended(id, secret, end, until).await,
                    (Some(end), None) => until(end).await,
                    (None, None) => pending().await,
                }
            };
            tokio::select! {
                () = expired => secret,
                reason = certificate => reason,
                reason = revoked => reason,
            }
        }
    }

    /// Who calls: a token counts more than a certificate, because whoever sends it does so on purpose.
    async fn identify<M>(&self, peer: Option<&Peer>, request: &Request<M>, at: Timestamp) -> Result<Caller, Failure> {
        if let Some(shown) = basic_credentials(request.metadata()).map_err(refused)? {
            let found = self.0.store.web_app_of(&shown.client_id).await?;
            let caller = found.and_then(|app| shown.caller(&app, at)).map(Caller::WebApp);
            return caller.ok_or_else(|| refused(Reason::SecretInvalid));
        }
        if let Some(token) = bearer_token(request.metadata()).map_err(refused)? {
            let found = self.0.store.admin(token.hash().0).await?.filter(|token| token.is_usable(at));
            return found
                .map(|token| Caller::Admin(Arc::new(admin(token))))
                .ok_or_else(|| refused(Reason::TokenInvalid));
        }
        let caller = peer.map_or(Ok(None), |peer| peer.caller(at)).map_err(refused)?;
        caller.ok_or_else(|| refused(Reason::CredentialsMissing))
    }
}

fn admin(token: AdminToken) -> Admin {
    let AdminToken { hash, display_name, reach, read_only, expires_at, .. } = token;
    Admin { hash: TokenHash(hash.0), name: display_name, reach, read_only, expires_at }
}

/// Whether a caller may make such a call, or why not.
fn may_call(audience: Audience, caller: &Caller) -> Result<(), &'static str> {
    match (audience, caller) {
        (Audience::Known, _)
        | (Audience::AuthClients, Caller::WebApp(_))
        | (Audience::Devices | Audience::AuthClients, Caller::Device(_) | Caller::Relay(_)) => Ok(()),
        (Audience::Admins(access, extent), Caller::Admin(admin)) => {
            if access == Access::Write && admin.read_only {
                Err("is read-only and may not")
            } else if extent == Extent::Register && admin.reach != Reach::Everything {
                Err("is an admin of some realms only and may not")
            } else {
                Ok(())
            }
        }
        _ => Err("may not"),
    }
}

/// The failure of a caller who could not be identified, or no longer is.
pub(super) fn refused(reason: Reason) -> Failure {
    let message = match reason {
        Reason::TokenInvalid => "the token is wrong, expired or revoked",
        Reason::SecretInvalid => "the client id or the secret is wrong, or no longer valid",
        Reason::DeviceBanned => "the device was banned",
        Reason::CertificateExpired => "the client certificate is not valid at this time",
        Reason::CertificateNotTrusted => "the client certificate is not from a CA that the server trusts now",
        Reason::CertificateWithoutIdentity => "the client certificate names neither a serial number nor a relay",
        _ => "the call came with neither a client certificate nor a token",
    };
    Failure::new(reason, message)
}
