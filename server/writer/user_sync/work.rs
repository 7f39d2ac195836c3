//! The work on one sync of users, part by part.

use std::io;

use muster_proto::user_sync::{UserSync, bucket_of};
use muster_proto::{Reason, Timestamp, UserKey, Username};
use sha2::{Digest as _, Sha256};

use super::list::{Names, Parts, outcome};
use super::{Counts, PART, Spooled, UserSyncJob, UsersSynced};
use crate::registry::user_sync::{self, Done, Entry, SyncItem};
use crate::registry::{Context, DeviceId, Needs, Notice, Outcome, Record, Refusal, Site, State, Stop, Table, name_of};
use crate::spool::{SpoolReader, SpoolWriter};
use crate::store::{AuditRow, StoreError, Writing};
use crate::writer::batch::MAX_LOADS;

/// What became of a job, for the writer.
pub(in crate::writer) struct Worked {
    pub(in crate::writer) result: Result<UsersSynced, Refusal>,
    pub(in crate::writer) next_id: i64,
    pub(in crate::writer) wrote: bool,
    pub(in crate::writer) device: Option<DeviceId>,
}

/// Works a job off. Nothing of it is kept if this fails, or if the result is a refusal.
pub(in crate::writer) async fn run(
    store: &mut dyn Writing,
    (job, users): (&UserSyncJob, SpoolReader),
    next_id: i64,
    now: Timestamp,
) -> Result<Worked, StoreError> {
    store.begin().await?;
    let hashes = job.options.validate_only || job.options.plan.is_some();
    let mut work = Work {
        store,
        job,
        now,
        next_id,
        state: State::default(),
        staged: false,
        counts: Counts::default(),
        outcomes: SpoolWriter::default(),
        plan: hashes.then(Sha256::new),
    };
    let result = work.all(users).await;
    let Work { store, state, staged, job, .. } = &mut work;
    let keep = matches!(result, Ok(Ok(_))) && *staged && !job.options.validate_only;
    match &result {
        Ok(_) if keep => store.commit(state).await?,
        // It was refused, or only worked out.
        Ok(_) => store.withdraw(state).await?,
        Err(_) => store.rollback(state).await?,
    }
    let device =
        work.job.sync.target.serial().and_then(|serial| work.state.devices.get(&serial)).map(|device| device.id);
    let next_id = if keep { work.next_id } else { next_id };
    Ok(Worked { result: result?, next_id, wrote: keep, device: device.filter(|_| !work.job.options.validate_only) })
}

struct Work<'a> {
    store: &'a mut dyn Writing,
    job: &'a UserSyncJob,
    now: Timestamp,
    next_id: i64,
    state: State,
    staged: bool,
    counts: Counts,
    outcomes: SpoolWriter,
    plan: Option<Sha256>,
}

/// What a part of the work may end in besides what it is for.
type Worth<T> = Result<Result<T, Refusal>, StoreError>;

/// Goes on with what was worked out, or ends in the refusal.
macro_rules! or_refused {
    ($worth:expr) => {
        match $worth {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl Work<'_> {
    async fn all(&mut self, mut users: SpoolReader) -> Worth<UsersSynced> {
        let target = self.job.sync.target;
        let (site, arrived) =
            or_refused!(self.attempt(|state, context| user_sync::open(state, target, context)).await?);
        let is_new = self.state.whole.client_users.contains(&site.client);
        // On an auth client that was just made nothing can be missing.
        let missing = if is_new {
            Vec::new()
        } else {
            let listed = or_refused!(self.listed(&mut users));
            self.missing(site, &listed).await?
        };
        let names: Vec<Box<str>> = missing.iter().map(|(key, _)| key.as_str().into()).collect();
        let (token, list) = (self.job.sync.confirm_token.clone(), (target, self.job.sync.kinds));
        let ruled = self
            .attempt(|state, context| user_sync::rule(state, site, list, &names, token.as_deref(), context))
            .await?;
        let (stays, mut records) = or_refused!(ruled);
        records.extend(arrived.records.iter().cloned());
        if !records.is_empty() {
            self.stage(&records).await?;
        }
        or_refused!(self.remove(site, &missing, stays.as_ref()).await?);
        or_refused!(self.put(site, is_new, users).await?);
        let plan = self.plan.take().map(|hasher| plan_id(hasher, &self.job.sync));
        if self.job.options.plan.is_some() && self.job.options.plan != plan {
            let message = "what the plan depends on has changed since, or it is a plan of something else";
            return Ok(Err(Refusal::new(Reason::PlanStale, message)));
        }
        let client = self.state.client(site.owner, site.vdom).ok().flatten();
        let users = client.map_or((0, [0; 32]), |client| (client.users, client.users_digest));
        let name = self.state.realms.get(&site.realm).map_or("", |realm| realm.name.as_str());
        let realm = (site.realm, name.into());
        let validate_only = self.job.options.validate_only;
        // A token of what is not held yet would confirm nothing.
        let held = stays.and_then(|(_, _, notice)| notice).filter(|notice| !(validate_only && notice.is_new));
        let outcomes = or_refused!(std::mem::take(&mut self.outcomes).into_reader().map_err(|error| spool(&error)));
        let plan = plan.filter(|_| validate_only);
        Ok(Ok(UsersSynced { counts: self.counts, arrived, realm, users, held, plan, outcomes }))
    }

    /// Tries a step until everything it needs is loaded.
    async fn attempt<T>(&mut self, mut step: impl FnMut(&mut State, &mut Context<'_>) -> Result<T, Stop>) -> Worth<T> {
        for _ in 0..MAX_LOADS {
            let mut context = self.job.operation.context(&mut self.next_id, self.now);
            match step(&mut self.state, &mut context) {
                Ok(done) => return Ok(Ok(done)),
                Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
                Err(Stop::Missing(needs)) => self.store.load(&needs, &mut self.state).await?,
            }
        }
        Ok(Err(Refusal::new(Reason::Internal, "the rules ask for ever more")))
    }

    /// The names of the list, as far as it takes to know them again.
    fn listed(&self, users: &mut SpoolReader) -> Result<Names, Refusal> {
        let mut names = Names::new(self.state.settings().fold_usernames);
        while let Some(user) = users.read::<Spooled>().map_err(|error| spool(&error))? {
            names.insert(&user.user.username);
        }
        users.rewind().map_err(|error| spool(&error))?;
        Ok(names)
    }

    /// The users that are on the auth client and not listed, in the order of their keys.
    async fn missing(&mut self, site: Site, listed: &Names) -> Result<Vec<(UserKey, Username)>, StoreError> {
        let (mut missing, mut after) = (Vec::new(), UserKey::new(""));
        loop {
            let page = self.store.present_users(site.client, self.job.sync.kinds, &after).await?;
            let Some((last, _)) = page.last() else { return Ok(missing) };
            after = last.clone();
            let wanted = |name: &Username| match &self.job.buckets {
                Some(buckets) => buckets.get(bucket_of(name.as_str(), buckets.len())).is_some_and(|it| *it),
                None => true,
            };
            missing.extend(page.into_iter().filter(|(key, name)| !listed.has(key.as_str()) && wanted(name)));
        }
    }

    async fn remove(
        &mut self,
        site: Site,
        missing: &[(UserKey, Username)],
        stays: Option<&(Outcome, Reason, Option<Notice>)>,
    ) -> Worth<()> {
        for part in missing.chunks(PART) {
            let done = if let Some((outcome, reason, _)) = stays {
                let items = part.iter().map(|(_, name)| SyncItem::removed(name, *outcome, Some(*reason))).collect();
                Done { items, changes: Vec::new() }
            } else {
                let mut needs = Needs::default();
                for (key, _) in part {
                    needs.user_refs.insert((site.client, key.clone()));
                    needs.users.insert((site.realm, key.clone()));
                }
                self.store.load(&needs, &mut self.state).await?;
                or_refused!(self.attempt(|state, context| user_sync::remove(state, site, part, context)).await?)
            };
            or_refused!(self.finish(site, done).await?);
        }
        Ok(Ok(()))
    }

    async fn put(&mut self, site: Site, is_new: bool, users: SpoolReader) -> Worth<()> {
        let mut parts = Parts::new(users, self.state.settings().fold_usernames);
        let mut entries = or_refused!(parts.next().map_err(|error| spool(&error)));
        let mut processed = 0;
        while !entries.is_empty() {
            processed += i64::try_from(entries.len()).unwrap_or(i64::MAX);
            self.load_part(site, &entries, is_new).await?;
            let (target, kinds) = (self.job.sync.target, self.job.sync.kinds);
            let done = or_refused!(
                self.attempt(|state, context| user_sync::put_all(state, site, target, &entries, kinds, context))
                    .await?
            );
            // While the database takes this part in, the next one is read.
            let (finished, next) = tokio::join!(self.finish(site, done), async { parts.next() });
            or_refused!(finished?);
            self.job.progress.send_replace(processed);
            entries = or_refused!(next.map_err(|error| spool(&error)));
        }
        Ok(Ok(()))
    }

    /// Loads what a part will look up: the references, then the persons behind those that are not there.
    async fn load_part(&mut self, site: Site, entries: &[Entry], is_new: bool) -> Result<(), StoreError> {
        let mut needs = Needs::default();
        for entry in entries {
            let key = (site.client, entry.key.clone());
            // An auth client that was just made has no users but those of this list.
            if is_new && !entry.again {
                self.state.user_refs.load(key, None);
            } else {
                needs.user_refs.insert(key);
            }
        }
        if !needs.user_refs.is_empty() {
            self.store.load(&needs, &mut self.state).await?;
        }
        let mut needs = Needs::default();
        for entry in entries {
            let found = self.state.user_refs.get(&(site.client, entry.key.clone()));
            if found.is_none_or(|found| found.deleted_at.is_some()) {
                needs.users.insert((site.realm, entry.key.clone()));
            }
        }
        if !needs.users.is_empty() {
            self.store.load(&needs, &mut self.state).await?;
        }
        Ok(())
    }

    /// Stages what a part did, notes the outcomes, and lets go of its users.
    async fn finish(&mut self, site: Site, done: Done) -> Worth<()> {
        if self.job.gone.is_cancelled() {
            return Ok(Err(crate::writer::notes::abandoned()));
        }
        if let Some(plan) = &mut self.plan {
            plan.update(format!("{:?}", (&done.items, &done.changes)));
        }
        for item in &done.items {
            self.counts.add(item);
            if item.outcome != Outcome::Unchanged || self.job.sync.list_unchanged {
                or_refused!(self.outcomes.push(&outcome(item)).map_err(|error| spool(&error)));
            }
        }
        if !done.changes.is_empty() {
            let target = self.job.sync.target;
            let device = target.serial().and_then(|serial| self.state.devices.get(&serial));
            let generation = device.map_or(0, |device| device.generation);
            let name = name_of(target, site);
            self.stage(&[Record { about: site.client.0, name, generation, changes: done.changes }]).await?;
        }
        self.state.users = Table::default();
        self.state.user_refs = Table::default();
        self.state.whole.client_users.remove(&site.client);
        Ok(Ok(()))
    }

    async fn stage(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let operation = &self.job.operation;
        let audit: Vec<AuditRow<'_>> = records
            .iter()
            .map(|record| AuditRow {
                at: self.now,
                operation: operation.id,
                caller: &operation.caller,
                method: operation.method,
                about: record.about,
                name: &record.name,
                generation: record.generation,
                changes: crate::writer::notes::audit(&record.changes),
            })
            .collect();
        self.staged = true;
        self.store.stage(&self.state, &audit, self.next_id).await
    }
}

fn plan_id(mut hasher: Sha256, sync: &UserSync) -> String {
    hasher.update(format!("{:?}", (sync.target, sync.kinds)));
    let hash: [u8; 32] = hasher.finalize().into();
    format!("p{}", data_encoding::HEXLOWER.encode(hash.get(..16).unwrap_or(&hash)))
}

/// A spool that cannot be read or written: its file is on a disk, too.
fn spool(error: &io::Error) -> Refusal {
    tracing::error!(%error, "the spool of a user sync failed");
    Refusal::new(Reason::StoreFull, "the list could not be kept until it was complete; nothing was done")
}
