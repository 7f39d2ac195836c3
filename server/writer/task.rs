//! The task that takes batches from the queue and gives them to the store.

use std::sync::Arc;
use std::time::Duration;

use muster_proto::{Reason, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, error, info, warn};

use super::batch::RealmNames;
use super::glance::Glance;
use super::seen::Sightings;
use super::{Queued, Submission, UserSyncJob, Writer, batch, notes, queue, user_sync};
use crate::clock::Clock;
use crate::feed::{DebugEvent, Feed};
use crate::identity::revocations::{Identity, Revocations};
use crate::presence::Presence;
use crate::registry::Refusal;
use crate::spool::SpoolReader;
use crate::store::{StoreError, Writing};

/// How many commands one commit takes at most: bounds its size and how long its first caller waits. Measured: with 256
/// calls in flight, neither larger ones nor waiting for more commands is faster.
const MAX_BATCH: usize = 128;
/// How often `last_seen` times are written.
const FLUSH: Duration = Duration::from_secs(2);
/// How many of them one flush writes at most, so that no commit waits long for it.
const MAX_FLUSH: usize = 4_096;

/// The task that owns the writing half of the store.
pub struct WriterTask {
    submissions: mpsc::Receiver<Submission>,
    user_syncs: mpsc::Receiver<(UserSyncJob, SpoolReader)>,
    store: Box<dyn Writing>,
    feed: Feed,
    clock: Arc<dyn Clock>,
    next_id: i64,
    /// When devices last called.
    seen: Sightings,
    /// The debug events of a batch. The room is kept: a few hundred kilobytes that come and go cost more than what is in them.
    events: Vec<DebugEvent>,
    /// Whether the store could be used when it last was.
    healthy: watch::Sender<bool>,
    /// Where banned devices are announced.
    revocations: Revocations,
    /// Where devices that were removed are told so, if they have a channel.
    presence: Option<Presence>,
}

impl std::fmt::Debug for WriterTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterTask").field("next_id", &self.next_id).finish_non_exhaustive()
    }
}

impl WriterTask {
    /// A writer over this store. `healthy` is told whether the store can be used, and `revocations` which devices are banned.
    pub async fn new(
        mut store: Box<dyn Writing>,
        feed: Feed,
        clock: Arc<dyn Clock>,
        healthy: watch::Sender<bool>,
        revocations: Revocations,
    ) -> Result<(Writer, Self), StoreError> {
        let next_id = store.next_id().await?;
        let seen = Sightings::default();
        let (writer, Queued { submissions, user_syncs }) = queue(Glance {
            recalling: store.recalling(),
            seen: seen.clone(),
            feed: feed.clone(),
            clock: Arc::clone(&clock),
        });
        Ok((
            writer,
            Self {
                submissions,
                user_syncs,
                store,
                feed,
                clock,
                next_id,
                seen,
                events: Vec::new(),
                healthy,
                revocations,
                presence: None,
            },
        ))
    }

    /// The same, which tells devices over their channels that they were removed.
    #[must_use]
    pub fn telling(mut self, presence: Presence) -> Self {
        self.presence = Some(presence);
        self
    }

    /// Works until the last [`Writer`] is dropped and the queue is empty.
    pub async fn run(mut self) {
        let mut flush = interval_at(Instant::now() + FLUSH, FLUSH);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(MAX_BATCH);
        loop {
            // In no order: neither commands nor syncs of users may keep the others out.
            tokio::select! {
                _ = flush.tick() => {
                    self.flush(MAX_FLUSH).await;
                    self.probe().await;
                }
                taken = self.submissions.recv_many(&mut batch, MAX_BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.process(&mut batch).await;
                }
                Some(job) = self.user_syncs.recv() => self.sync_users(job).await,
            }
        }
        while let Ok(job) = self.user_syncs.try_recv() {
            self.sync_users(job).await;
        }
        self.flush(usize::MAX).await;
    }

    /// Works a sync of users off.
    async fn sync_users(&mut self, (job, users): (UserSyncJob, SpoolReader)) {
        let now = self.clock.now();
        let began = Instant::now();
        let result = match user_sync::run(&mut *self.store, (&job, users), self.next_id, now).await {
            Ok(worked) => {
                self.next_id = worked.next_id;
                if worked.result.is_ok() {
                    self.seen.note(worked.device.map(|device| (device, false)), now);
                }
                if worked.wrote {
                    self.report_health(true);
                }
                worked.result
            }
            Err(failure) => Err(self.failed(&failure)),
        };
        debug!(took = ?began.elapsed(), "user sync");
        // Whoever waits for it leaves the debug events.
        let _ = job.reply.send(result);
    }

    /// Gives a batch to the store, in halves if the database refuses it, and answers every command of it.
    async fn process(&mut self, batch: &mut Vec<Submission>) {
        self.turn_away(batch);
        let mut parts = vec![std::mem::take(batch)];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let now = self.clock.now();
            debug!(commands = part.len(), "batch");
            match batch::run(&mut *self.store, &part, self.next_id, now).await {
                Ok(applied) => {
                    self.next_id = applied.next_id;
                    self.seen.note(applied.seen, now);
                    // A batch that only read says nothing of a full disk.
                    if applied.wrote {
                        self.report_health(true);
                    }
                    // Before the answer: whoever is told of a ban finds the device shut out.
                    self.announce(applied.standing);
                    self.revocations.replace_secrets(applied.secrets);
                    if let Some(presence) = &self.presence {
                        applied
                            .removed
                            .iter()
                            .for_each(|(operation, device)| presence.tell_removed(*operation, device));
                    }
                    self.answer(&mut part, applied.results.into_iter(), &applied.realms, now);
                    // Its room takes in the next one.
                    *batch = part;
                }
                Err(StoreError::Refused(_) | StoreError::Inconsistent { .. }) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
                Err(failure) => {
                    let refusal = self.failed(&failure);
                    let results = vec![Err(refusal); part.len()];
                    self.answer(&mut part, results.into_iter(), &RealmNames::new(), now);
                }
            }
        }
    }

    /// Tells open calls of those who were shut out. Most batches shut nobody out and let nobody in again.
    fn announce(&self, standing: Vec<(Identity, bool)>) {
        let changes = standing.into_iter();
        self.revocations.settle(changes.filter(|(identity, out)| *out != self.revocations.is_revoked(identity)));
    }

    /// Takes out the commands whose callers wait no more. They are not begun, and leave their terminal event now.
    fn turn_away(&mut self, batch: &mut Vec<Submission>) {
        let mut abandoned: Vec<_> = batch.extract_if(.., |submission| submission.reply.is_closed()).collect();
        if !abandoned.is_empty() {
            let results = vec![Err(notes::abandoned()); abandoned.len()];
            self.answer(&mut abandoned, results.into_iter(), &RealmNames::new(), self.clock.now());
        }
    }

    fn answer(
        &mut self,
        batch: &mut Vec<Submission>,
        results: impl Iterator<Item = Result<crate::registry::Planned, Refusal>>,
        realms: &RealmNames,
        now: Timestamp,
    ) {
        for (submission, result) in batch.drain(..).zip(results) {
            notes::events(&mut self.events, &submission.operation, &submission.command, &result, realms, now);
            // A caller that is gone by now finds the change done when it asks again.
            let answer = result.and_then(|planned| planned.refused.map_or(Ok(planned.answer), Err));
            let _ = submission.reply.send(answer);
        }
        self.feed.record_all(self.events.drain(..));
    }

    /// What callers are told of a failure, whose cause is for the operator alone.
    fn failed(&self, failure: &StoreError) -> Refusal {
        error!(error = %failure, "the store failed");
        match failure {
            StoreError::Refused(_) => {
                Refusal::new(Reason::StoreRefused, "the database refused the change; nothing was done")
            }
            StoreError::Inconsistent { .. } => Refusal::new(Reason::Internal, "the register is inconsistent"),
            StoreError::Full(_) => {
                self.report_health(false);
                Refusal::new(Reason::StoreFull, "the disk of the database is full; nothing was done")
            }
            StoreError::Unavailable(_) | StoreError::Open { .. } => {
                self.report_health(false);
                Refusal::new(Reason::StoreUnavailable, "the database cannot be written now")
            }
        }
    }

    fn report_health(&self, healthy: bool) {
        self.healthy.send_if_modified(|was| std::mem::replace(was, healthy) != healthy);
    }

    /// After a failure: whether the store can be written again.
    async fn probe(&mut self) {
        if *self.healthy.borrow() {
            return;
        }
        let now = self.clock.now();
        match self.store.probe(now).await {
            Ok(()) => {
                info!("the store can be used again");
                self.report_health(true);
            }
            Err(failure) => warn!(error = %failure, "the store cannot be used yet"),
        }
    }

    async fn flush(&mut self, most: usize) {
        let seen = self.seen.take(most);
        if seen.is_empty() {
            return;
        }
        if let Err(failure) = self.store.touch(&seen).await {
            warn!(error = %failure, "could not note when devices last called");
            // They are written with the next flush.
            self.seen.put_back(seen);
        }
    }
}
