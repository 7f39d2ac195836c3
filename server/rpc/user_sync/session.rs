//! One stream of `SyncUsers`, from begin to summary.

use muster_proto::device_users::UserTarget;
use muster_proto::user::digest;
use muster_proto::user_sync::{MAX_USERS, UserSync};
use muster_proto::{Reason, UserAttributes, v1};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::inbound::{next, out_of_order};
use super::{Down, IDLE, ShutOut, Up, UserSyncs};
use crate::registry::{Action, After, Options};
use crate::rpc::call::Call;
use crate::rpc::gate::refused;
use crate::rpc::status::Failure;
use crate::rpc::wire::{self, options};
use crate::spool::{SpoolReader, SpoolWriter};
use crate::writer::{Spooled, UserSyncJob, UsersSynced, arrival, user_outcome};

/// How many outcomes one message has.
const OUTCOMES: usize = 1_024;
/// After so many users more the caller is told how far its sync is.
const PROGRESS: i64 = 8_192;

/// Why a session did not come to its end.
pub(super) enum Ended {
    Gone,
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for Ended {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

/// An open stream.
pub(super) struct Session<S> {
    pub(super) syncs: UserSyncs,
    pub(super) inbound: S,
    pub(super) answers: mpsc::Sender<Result<v1::SyncUsersResponse, Status>>,
    pub(super) shut_out: ShutOut,
    pub(super) until: Instant,
    pub(super) received: i64,
}

impl<S: Stream<Item = Result<v1::SyncUsersRequest, Status>> + Unpin> Session<S> {
    /// Works the stream to its end.
    pub(super) async fn work(&mut self, call: &mut Call) -> Result<(), Ended> {
        let Up::Begin(begin) = self.next().await? else { return Err(out_of_order("the first message is no begin")) };
        let options = options(begin.validate_only, &begin.plan_id);
        let mut sync = UserSync::try_from(&begin)?;
        call.speaks_for_users(&mut sync.target)?;
        let target = sync.target;
        // A sync is a contact like any other: it passes the same door, before anything is said of the auth client.
        let door = Options { validate_only: begin.validate_only, plan: None };
        let found = call.begin(&self.syncs.writer, Action::BeginUserSync(target), door).await?;
        let client = if let After::AuthClient(client) = found.after { Some(client) } else { None };
        let place = match &client {
            Some(client) => (Ok(client.owner), client.vdom),
            None => self.syncs.place(target).await?,
        };
        let run = self.syncs.running.begin(place, call.operation().id)?;
        let (demand, buckets) = self.syncs.demand(&sync, client.map(|client| client.id)).await?;
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
            return self.settled(call, &sync, begin.validate_only).await;
        }
        self.send(Down::Opened(opened)).await?;
        let users = self.receive().await?;
        let synced = self.submit(call, sync, buckets, options, users).await?;
        // It is on disk: the next sync may begin.
        drop(run);
        self.report(call, target, synced).await
    }

    /// The digests are equal: the writer notes who called, and ends the operation.
    async fn settled(&mut self, call: &mut Call, sync: &UserSync, validate_only: bool) -> Result<(), Ended> {
        let in_sync = Action::UsersInSync(sync.target, sync.kinds);
        let answer = call.submit(&self.syncs.writer, in_sync, Options { validate_only, plan: None }).await?;
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
        let job = UserSyncJob { operation, sync, buckets, options, progress, gone: gone.clone(), reply };
        self.syncs.writer.sync_users(job, users)?;
        let (mut told, mut shut_out) = (0, None);
        loop {
            // The writer has the last word on whether it was done, also when the caller goes away meanwhile.
            tokio::select! {
                result = &mut result => {
                    let result = result.unwrap_or_else(|_| Err(crate::writer::stopped()));
                    return result.map_err(|refusal| match shut_out {
                        Some(reason) => Ended::Failed(refused(reason)),
                        None => refusal.into(),
                    });
                }
                reason = &mut self.shut_out, if shut_out.is_none() => {
                    shut_out = Some(reason);
                    gone.cancel();
                }
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
    async fn report(&mut self, call: &mut Call, target: UserTarget, synced: UsersSynced) -> Result<(), Ended> {
        let UsersSynced { counts, arrived, realm, users, held, plan, mut outcomes } = synced;
        let is_rehearsed = plan.is_some();
        let now = call.trace.clock().now();
        if !is_rehearsed {
            let events = target.serial().map(|serial| arrival(call.operation(), serial, &arrived, now));
            call.trace.feed().record_all(events.unwrap_or_default());
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
        call.trace.place(target.vdom(), realm);
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
            reason = &mut self.shut_out => Err(Ended::Failed(refused(reason))),
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

fn digest_of(user: &UserAttributes) -> [u8; 32] {
    let mobile = user.mobile.as_ref().map_or("", |mobile| mobile.as_str());
    digest(user.username.as_str(), user.email.as_str(), mobile, user.kind, user.active)
}

/// The disk that holds what is on its way is full, or broken.
fn unspooled(error: &std::io::Error) -> Ended {
    tracing::error!(%error, "the spool of a user sync failed");
    crate::registry::Refusal::new(Reason::StoreFull, "the list could not be kept until it was complete").into()
}
