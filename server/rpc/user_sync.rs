//! `DeviceService.SyncUsers`: the stream of one sync of users. A task of its own works it: once the list is complete, the result is noted in the
//! debug feed even if the caller has gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_proto::device_users::ClientTarget;
use muster_proto::user::digest;
use muster_proto::user_sync::{Kinds, MAX_USERS, UserSync};
use muster_proto::v1::sync_users_request::Kind as Up;
use muster_proto::v1::sync_users_response::Kind as Down;
use muster_proto::{Reason, SerialNumber, UserAttributes, VdomName, v1};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::call::Call;
use super::status::Failure;
use super::wire::{self, options};
use crate::operation::OperationId;
use crate::registry::{Action, After, AuthClient, AuthClientId, Options, OwnerId};
use crate::spool::{SpoolReader, SpoolWriter};
use crate::store::Reading;
use crate::writer::{Spooled, UserSyncJob, UsersSynced, Writer, arrival, user_outcome};

/// How long the caller may take for its next message, or to take one.
const IDLE: Duration = Duration::from_secs(30);
/// How long a list may take as a whole.
const WHOLE: Duration = Duration::from_mins(10);
/// How many messages wait for the caller.
const WAITING: usize = 16;
/// How many outcomes one message has.
const OUTCOMES: usize = 1_024;
/// After so many users more the caller is told how far its sync is.
const PROGRESS: i64 = 8_192;

/// What syncs of users need.
#[derive(Clone, Debug)]
pub(super) struct UserSyncs {
    pub(super) writer: Writer,
    pub(super) store: Arc<dyn Reading>,
    pub(super) running: Running,
}

/// Which auth clients are being synced, and by which operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<Place, OperationId>>>);

/// An auth client; one that is not known yet is known by its serial number.
type Place = (Result<OwnerId, SerialNumber>, VdomName);

/// One sync that runs, until it is dropped.
#[derive(Debug)]
struct Run {
    running: Running,
    place: Place,
}

impl Running {
    /// Begins a sync, unless one of the same auth client runs.
    fn begin(&self, place: Place, operation: OperationId) -> Result<Run, Failure> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = running.get(&place) {
            let message = format!("operation {other} syncs the users of this auth client");
            let refusal = crate::registry::Refusal::new(Reason::SyncInProgress, message);
            return Err(Failure::from(refusal.with("running_operation_id", other)).retry_after(Duration::from_secs(2)));
        }
        running.insert(place, operation);
        Ok(Run { running: self.clone(), place })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

/// What the caller is told.
pub(super) type Answers = ReceiverStream<Result<v1::SyncUsersResponse, Status>>;

impl UserSyncs {
    /// Begins to work a stream.
    pub(super) fn start<S>(self, mut call: Call, inbound: S, deadline: Option<Duration>) -> Answers
    where
        S: Stream<Item = Result<v1::SyncUsersRequest, Status>> + Send + Unpin + 'static,
    {
        let (answers, receiver) = mpsc::channel(WAITING);
        let until = Instant::now() + deadline.unwrap_or(WHOLE).min(WHOLE);
        tokio::spawn(async move {
            let mut session = Session { syncs: self, inbound, answers, until, received: 0 };
            let result = session.work(&mut call).await;
            match result {
                // The caller has gone: that is how the call ends when it is dropped.
                Err(Ended::Gone) => {}
                Err(Ended::Failed(failure)) => {
                    let status = call.trace.fail(&failure);
                    let _ = timeout(IDLE, session.answers.send(Err(status))).await;
                }
                Ok(()) => {
                    let _ = call.trace.end(Ok(()));
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

/// Why a session did not come to its end.
enum Ended {
    Gone,
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Ended {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

struct Session<S> {
    syncs: UserSyncs,
    inbound: S,
    answers: mpsc::Sender<Result<v1::SyncUsersResponse, Status>>,
    until: Instant,
    received: i64,
}

fn out_of_order(message: &str) -> Ended {
    Ended::Failed(Failure::new(Reason::SyncOutOfOrder, message))
}

impl<S: Stream<Item = Result<v1::SyncUsersRequest, Status>> + Unpin> Session<S> {
    async fn work(&mut self, call: &mut Call) -> Result<(), Ended> {
        let Up::Begin(begin) = self.next().await? else { return Err(out_of_order("the first message is no begin")) };
        let options = options(begin.validate_only, &begin.plan_id);
        let sync = UserSync::try_from(&begin)?;
        let target = sync.target;
        call.speaks_for(target.serial)?;
        // A sync is a contact like any other: it passes the same door, before anything is said of the auth client.
        let door = Options { validate_only: begin.validate_only, plan: None };
        call.begin(&self.syncs.writer, Action::BeginUserSync(target), door).await?;
        let known = self.syncs.store.device(target.serial).await?;
        let owner = known.as_ref().map(|(device, _)| device.owner()).ok_or(target.serial);
        let run = self.syncs.running.begin((owner, target.vdom), call.operation().id)?;
        let active = |client: &AuthClient| client.vdom == target.vdom && client.is_active();
        let client = known.and_then(|(device, clients)| {
            clients.into_iter().find(|client| device.is_active() && active(client)).map(|client| client.id)
        });
        let (demand, buckets) = self.demand(&sync, client).await?;
        let opened = v1::SyncUsersOpened {
            operation_id: call.operation().id.to_string(),
            demand: demand.into(),
            buckets: buckets
                .iter()
                .flatten()
                .enumerate()
                .filter(|(_, wanted)| **wanted)
                .filter_map(|(index, _)| u32::try_from(index).ok())
                .collect(),
        };
        if demand == v1::SyncUsersDemand::InSync {
            // Nothing is left to be done: the next one may begin as soon as the caller hears of it.
            drop(run);
            self.send(Down::Opened(opened)).await?;
            return self.settled(call, target).await;
        }
        self.send(Down::Opened(opened)).await?;
        let users = self.receive().await?;
        let synced = self.submit(call, sync, buckets, options, users).await?;
        // It is on disk: the next sync may begin.
        drop(run);
        self.report(call, target, synced).await
    }

    /// What the device is to send.
    async fn demand(
        &mut self,
        sync: &UserSync,
        client: Option<AuthClientId>,
    ) -> Result<(v1::SyncUsersDemand, Option<Vec<bool>>), Ended> {
        let (Some(digest), Some(client)) = (sync.digest, client) else {
            return Ok((v1::SyncUsersDemand::SendAll, None));
        };
        if sync.kinds == Kinds::ALL {
            // The register has the digest of all users at hand.
            let held = self.syncs.store.auth_client(muster_proto::admin::AuthClientName::Id(client.0)).await?;
            if held.is_some_and(|row| row.client.users_digest == digest) {
                return Ok((v1::SyncUsersDemand::InSync, None));
            }
            if sync.buckets.is_empty() {
                return Ok((v1::SyncUsersDemand::SendAll, None));
            }
        }
        let (whole, held) = self.syncs.store.user_digests(client, sync.kinds, sync.buckets.len()).await?;
        if whole == digest {
            return Ok((v1::SyncUsersDemand::InSync, None));
        }
        if sync.buckets.is_empty() {
            return Ok((v1::SyncUsersDemand::SendAll, None));
        }
        let differ: Vec<bool> = held.iter().zip(&sync.buckets).map(|(held, sent)| held != sent).collect();
        Ok((v1::SyncUsersDemand::SendBuckets, Some(differ)))
    }

    /// The digests are equal: the writer notes who called, and ends the operation.
    async fn settled(&mut self, call: &mut Call, target: ClientTarget) -> Result<(), Ended> {
        let answer = call.submit(&self.syncs.writer, Action::UsersInSync(target), Options::default()).await?;
        let (users, digest) = match &answer.after {
            After::AuthClient(client) => (client.users, client.users_digest),
            _ => (0, [0; 32]),
        };
        let summary =
            v1::SyncUsersSummary { unchanged: users, ..wire::users_summary(call.operation().id, (users, digest)) };
        self.send(Down::Summary(summary)).await
    }

    /// Receives the list up to its end.
    async fn receive(&mut self) -> Result<SpoolReader, Ended> {
        let mut spool = SpoolWriter::default();
        let mut told = 0;
        loop {
            let users = match self.next().await? {
                Up::Chunk(chunk) => chunk.users,
                Up::End(_) => return spool.into_reader().map_err(|error| unspooled(&error)),
                Up::Begin(_) => return Err(out_of_order("a second begin")),
            };
            self.received += i64::try_from(users.len()).unwrap_or(i64::MAX);
            if usize::try_from(self.received).is_ok_and(|received| received > MAX_USERS) {
                let message = format!("the list has more than {MAX_USERS} users");
                return Err(Ended::Failed(Failure::new(Reason::UserListTooLong, message)));
            }
            for user in users {
                let digest = UserAttributes::parse(&user).map_or_else(|_| Vec::new(), |user| digest_of(&user).to_vec());
                spool.push(&Spooled { user, digest }).map_err(|error| unspooled(&error))?;
            }
            if self.received - told >= PROGRESS {
                told = self.received;
                self.send(Down::Progress(v1::SyncUsersProgress { received: told, processed: 0 })).await?;
            }
        }
    }

    /// Hands the list to the writer, and waits for its commit.
    async fn submit(
        &mut self,
        call: &Call,
        sync: UserSync,
        buckets: Option<Vec<bool>>,
        options: Options,
        users: SpoolReader,
    ) -> Result<UsersSynced, Ended> {
        let (reply, mut result) = oneshot::channel();
        let (progress, mut processed) = watch::channel(0);
        let gone = CancellationToken::new();
        let operation = call.operation().clone();
        let job = UserSyncJob { operation, sync, buckets, options, users, progress, gone: gone.clone(), reply };
        self.syncs.writer.sync_users(job)?;
        let mut told = 0;
        loop {
            // The writer has the last word on whether it was done, also when the caller goes away meanwhile.
            tokio::select! {
                result = &mut result => return Ok(result.unwrap_or_else(|_| Err(crate::writer::stopped()))?),
                () = self.answers.closed(), if !gone.is_cancelled() => gone.cancel(),
                () = tokio::time::sleep_until(self.until), if !gone.is_cancelled() => gone.cancel(),
                Ok(()) = processed.changed() => {
                    let processed = *processed.borrow_and_update();
                    if processed - told >= PROGRESS {
                        told = processed;
                        let progress = v1::SyncUsersProgress { received: self.received, processed };
                        // Nobody waits for a caller that does not listen.
                        let _ = self.answers.try_send(Ok(v1::SyncUsersResponse { kind: Some(Down::Progress(progress)) }));
                    }
                }
            }
        }
    }

    /// Tells the caller and the debug feed what became of each user.
    async fn report(&mut self, call: &mut Call, target: ClientTarget, synced: UsersSynced) -> Result<(), Ended> {
        let UsersSynced { counts, arrived, realm, users, held, plan, mut outcomes } = synced;
        let is_rehearsed = plan.is_some();
        let now = call.trace.clock().now();
        if !is_rehearsed {
            let events = arrival(call.operation(), target.serial, &arrived, now);
            call.trace.feed().record_all(events);
        }
        let mut listens = true;
        loop {
            let part: Vec<v1::UserOutcome> = outcomes.take(OUTCOMES).map_err(|error| unspooled(&error))?;
            if part.is_empty() {
                break;
            }
            if !is_rehearsed {
                let done = part.iter().filter(|item| item.outcome() != v1::Outcome::Unchanged);
                let events = done.map(|item| user_outcome(call.operation(), target, &realm, item, now));
                call.trace.feed().record_all(events);
            }
            listens = listens && self.send(Down::Outcomes(v1::SyncUsersOutcomes { outcomes: part })).await.is_ok();
        }
        let summary = v1::SyncUsersSummary {
            held_removal: held.as_ref().map(wire::held_notice),
            vdoms: wire::vdoms(&arrived.answer),
            plan_id: plan.unwrap_or_default(),
            ..wire::users_counted(call.operation().id, &counts, users)
        };
        call.trace.place(target.vdom, realm);
        call.trace.note(wire::users_synced_in_words(&counts, is_rehearsed));
        if listens {
            let _ = self.send(Down::Summary(summary)).await;
        }
        Ok(())
    }

    /// The next message of the caller.
    async fn next(&mut self) -> Result<Up, Ended> {
        let until = self.until.min(Instant::now() + IDLE);
        tokio::select! {
            () = self.answers.closed() => Err(Ended::Gone),
            message = next(&mut self.inbound, until) => message,
        }
    }

    async fn send(&mut self, kind: Down) -> Result<(), Ended> {
        let response = v1::SyncUsersResponse { kind: Some(kind) };
        match timeout(IDLE, self.answers.send(Ok(response))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Ended::Failed(Failure::new(Reason::SyncStalled, "the caller takes no answers"))),
        }
    }
}

/// The next message of a stream, if it comes in time.
async fn next<S: Stream<Item = Result<v1::SyncUsersRequest, Status>> + Unpin>(
    inbound: &mut S,
    until: Instant,
) -> Result<Up, Ended> {
    let failed = |reason, message| Err(Ended::Failed(Failure::new(reason, message)));
    match timeout_at(until, inbound.next()).await {
        Err(_) => failed(Reason::SyncStalled, "the next part of the list did not come in time"),
        Ok(Some(Ok(message))) => message.kind.ok_or_else(|| out_of_order("a message of no kind")),
        // The caller ended its side.
        Ok(None) => Err(out_of_order("the stream ended without end")),
        Ok(Some(Err(status))) => match status.code() {
            Code::Cancelled | Code::Unknown | Code::Unavailable => Err(Ended::Gone),
            Code::OutOfRange | Code::ResourceExhausted => {
                failed(Reason::MessageTooLarge, "a chunk has more bytes than the server reads")
            }
            _ => failed(Reason::MessageMalformed, "a message cannot be read"),
        },
    }
}

fn digest_of(user: &UserAttributes) -> [u8; 32] {
    let mobile = user.mobile.as_ref().map_or("", |mobile| mobile.as_str());
    digest(user.username.as_str(), user.email.as_str(), mobile, user.kind, user.active)
}

/// The disk that holds what is on its way is full, or broken.
fn unspooled(error: &std::io::Error) -> Ended {
    tracing::error!(%error, "the spool of a user sync failed");
    crate::registry::Refusal::new(Reason::StoreFull, "the list could not be kept until it was complete").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(ended: Ended) -> Option<Reason> {
        match ended {
            Ended::Gone => None,
            Ended::Failed(failure) => Some(failure.refusal.reason),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_says_nothing_is_not_waited_for() {
        let began = Instant::now();
        let mut silent = tokio_stream::pending();
        let ended = next(&mut silent, began + IDLE).await.unwrap_err();
        assert_eq!(reason(ended), Some(Reason::SyncStalled));
        assert_eq!(began.elapsed(), IDLE);
    }

    #[tokio::test]
    async fn what_ends_a_stream_is_told_apart() {
        let until = Instant::now() + IDLE;
        for (message, expected) in [
            (None, Some(Reason::SyncOutOfOrder)),
            (Some(Ok(v1::SyncUsersRequest::default())), Some(Reason::SyncOutOfOrder)),
            (Some(Err(Status::cancelled(""))), None),
            (Some(Err(Status::out_of_range(""))), Some(Reason::MessageTooLarge)),
            (Some(Err(Status::internal(""))), Some(Reason::MessageMalformed)),
        ] {
            let mut stream = tokio_stream::iter(message);
            assert_eq!(reason(next(&mut stream, until).await.unwrap_err()), expected);
        }
    }

    #[test]
    fn a_sync_runs_once_for_each_auth_client_until_it_is_dropped() {
        let running = Running::default();
        let operation = |number| OperationId::new(muster_proto::Timestamp::from_micros(number), 0);
        let place = |owner| (Ok(OwnerId(owner)), VdomName::ROOT);
        let first = running.begin(place(1), operation(1)).unwrap();
        let refused = running.begin(place(1), operation(2)).unwrap_err().refusal;
        assert_eq!(refused.details, [("running_operation_id", operation(1).to_string())]);
        running.begin(place(2), operation(3)).unwrap();
        drop(first);
        running.begin(place(1), operation(4)).unwrap();
    }
}
