//! One sync of the users of an auth client: worked off in parts inside one transaction, so that it is one atomic result and is never held as a
//! whole. Other changes wait meanwhile.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::Arc;

use muster_proto::user_sync::{UserSync, bucket_of};
use muster_proto::{Reason, Timestamp, UserAttributes, UserKey, Username, printable, v1};
use sha2::{Digest as _, Sha256};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Operation, batch::MAX_LOADS};
use crate::registry::user_sync::{self, Done, Entry, Listed, SyncItem};
use crate::registry::{
    Context, DeviceId, Name, Needs, Notice, Options, Outcome, Planned, Record, Refusal, Site, State, Stop, Table,
};
use crate::spool::{SpoolReader, SpoolWriter};
use crate::store::{AuditRow, StoreError, Writing};

/// How many characters of a name are said if it cannot be taken.
const SHOWN: usize = 80;
/// How many users are worked off at once.
const PART: usize = 1_024;

/// One user as it waits in the spool.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Spooled {
    /// The user, whether or not it can be taken.
    #[prost(message, required, tag = "1")]
    pub user: v1::UserAttributes,
    /// Its digest, if it can.
    #[prost(bytes = "vec", tag = "2")]
    pub digest: Vec<u8>,
}

/// A sync whose list is complete.
#[derive(Debug)]
pub struct UserSyncJob {
    /// Whose work it is.
    pub operation: Operation,
    /// How it began.
    pub sync: UserSync,
    /// Which buckets were asked for, of how many; `None` for all users.
    pub buckets: Option<Vec<bool>>,
    /// How it is asked.
    pub options: Options,
    /// The users.
    pub users: SpoolReader,
    /// How many of them are worked off.
    pub progress: watch::Sender<i64>,
    /// Cancelled when the caller goes away: nothing is done then.
    pub gone: CancellationToken,
    /// Where the result goes.
    pub reply: oneshot::Sender<Result<UsersSynced, Refusal>>,
}

/// How often something was done, and how often not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Done.
    pub success: i64,
    /// Refused.
    pub failure: i64,
}

/// How many users ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came, or came back.
    pub create: Count,
    /// Changed.
    pub modify: Count,
    /// Went.
    pub delete: Count,
    /// As they were.
    pub unchanged: i64,
    /// Held.
    pub held: i64,
}

/// What became of a sync.
#[derive(Debug)]
pub struct UsersSynced {
    /// How many users ended how.
    pub counts: Counts,
    /// What became of the device and its VDOMs, if anything.
    pub arrived: Planned,
    /// The realm that it happened in: its id and its name.
    pub realm: (crate::registry::RealmId, Arc<str>),
    /// How many users the auth client has, and their digest.
    pub users: (i64, [u8; 32]),
    /// How to confirm what is held.
    pub held: Option<Notice>,
    /// Which plan this is, if it was only worked out.
    pub plan: Option<String>,
    /// What became of each user: `v1::UserOutcome`.
    pub outcomes: SpoolReader,
}

/// What became of a job, for the writer.
pub(super) struct Worked {
    pub(super) result: Result<UsersSynced, Refusal>,
    pub(super) next_id: i64,
    pub(super) wrote: bool,
    pub(super) device: Option<DeviceId>,
}

/// Works a job off. Nothing of it is kept if this fails, or if the result is a refusal.
pub(super) async fn run(
    store: &mut dyn Writing,
    job: &mut UserSyncJob,
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
    let result = work.all().await;
    let Work { store, state, staged, job, .. } = &mut work;
    let keep = matches!(result, Ok(Ok(_))) && *staged && !job.options.validate_only;
    match &result {
        Ok(_) if keep => store.commit(state).await?,
        // It was refused, or only worked out.
        Ok(_) => store.withdraw(state).await?,
        Err(_) => store.rollback(state).await?,
    }
    let device = work.state.devices.get(&work.job.sync.target.serial).map(|device| device.id);
    let next_id = if keep { work.next_id } else { next_id };
    Ok(Worked { result: result?, next_id, wrote: keep, device: device.filter(|_| !work.job.options.validate_only) })
}

struct Work<'a> {
    store: &'a mut dyn Writing,
    job: &'a mut UserSyncJob,
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
    async fn all(&mut self) -> Worth<UsersSynced> {
        let target = self.job.sync.target;
        let (site, arrived) =
            or_refused!(self.attempt(|state, context| user_sync::open(state, target, context)).await?);
        let is_new = self.state.whole.client_users.contains(&site.client);
        let listed = or_refused!(self.listed());
        let missing = if is_new { Vec::new() } else { self.missing(site, &listed).await? };
        let names: Vec<Box<str>> = missing.iter().map(|(key, _)| key.as_str().into()).collect();
        let token = self.job.sync.confirm_token.clone();
        let ruled = self
            .attempt(|state, context| user_sync::rule(state, site, target.serial, &names, token.as_deref(), context))
            .await?;
        let (stays, mut records) = or_refused!(ruled);
        records.extend(arrived.records.iter().cloned());
        if !records.is_empty() {
            self.stage(&records).await?;
        }
        or_refused!(self.remove(site, &missing, stays.as_ref()).await?);
        or_refused!(self.put(site, is_new).await?);
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
            let operation = &self.job.operation;
            let mut context = Context {
                now: self.now,
                next_id: &mut self.next_id,
                caller: &operation.caller,
                reach: &operation.reach,
                address: operation.address,
                proof: operation.proof.as_deref(),
            };
            match step(&mut self.state, &mut context) {
                Ok(done) => return Ok(Ok(done)),
                Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
                Err(Stop::Missing(needs)) => self.store.load(&needs, &mut self.state).await?,
            }
        }
        Ok(Err(Refusal::new(Reason::Internal, "the rules ask for ever more")))
    }

    /// The names of the list, as far as it takes to know them again.
    fn listed(&mut self) -> Result<Names, Refusal> {
        let mut names = Names::new(self.state.settings().fold_usernames);
        let users = &mut self.job.users;
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

    async fn put(&mut self, site: Site, is_new: bool) -> Worth<()> {
        let fold = self.state.settings().fold_usernames;
        let mut names = Names::new(fold);
        let mut processed = 0;
        loop {
            let spooled: Vec<Spooled> = or_refused!(self.job.users.take(PART).map_err(|error| spool(&error)));
            if spooled.is_empty() {
                return Ok(Ok(()));
            }
            processed += i64::try_from(spooled.len()).unwrap_or(i64::MAX);
            let entries: Vec<Entry> = spooled.iter().map(|user| entry(user, &mut names, fold)).collect();
            self.load_part(site, &entries, is_new).await?;
            let kinds = self.job.sync.kinds;
            let done = or_refused!(
                self.attempt(|state, context| user_sync::put_all(state, site, &entries, kinds, context)).await?
            );
            or_refused!(self.finish(site, done).await?);
            self.job.progress.send_replace(processed);
        }
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
            return Ok(Err(super::notes::abandoned()));
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
            let serial = self.job.sync.target.serial;
            let generation = self.state.devices.get(&serial).map_or(0, |device| device.generation);
            let name = Name::Device(serial);
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
                changes: super::notes::audit(&record.changes),
            })
            .collect();
        self.staged = true;
        self.store.stage(&self.state, &audit, self.next_id).await
    }
}

/// Names, by hashes that nobody can foresee: a hundred thousand of them take a few megabytes.
struct Names {
    fold: bool,
    hashers: [RandomState; 2],
    known: HashSet<[u64; 2]>,
}

impl Names {
    fn new(fold: bool) -> Self {
        Self { fold, hashers: [RandomState::new(), RandomState::new()], known: HashSet::new() }
    }

    fn hash(&self, key: &str) -> [u64; 2] {
        let [first, second] = &self.hashers;
        [first.hash_one(key), second.hash_one(key)]
    }

    fn has(&self, key: &str) -> bool {
        self.known.contains(&self.hash(key))
    }

    /// Notes a name; false if it was noted before.
    fn insert(&mut self, name: &str) -> bool {
        let hash = if self.fold { self.hash(&name.to_lowercase()) } else { self.hash(name) };
        self.known.insert(hash)
    }
}

fn entry(Spooled { user, digest }: &Spooled, names: &mut Names, fold: bool) -> Entry {
    match UserAttributes::parse(user) {
        Ok(attributes) => {
            let again = !names.insert(attributes.username.as_str());
            let digest = digest.as_slice().try_into().unwrap_or_default();
            Entry { key: attributes.username.key(fold), listed: Listed::User(Box::new(attributes), digest), again }
        }
        Err((reason, field)) => {
            let key = if fold { user.username.to_lowercase() } else { user.username.clone() };
            let shown: String = user.username.chars().take(SHOWN).collect();
            let listed = Listed::Refused(printable(&shown).into(), reason, field);
            Entry { listed, key: UserKey::new(&key), again: false }
        }
    }
}

fn outcome(item: &SyncItem) -> v1::UserOutcome {
    v1::UserOutcome {
        username: item.username.to_string(),
        outcome: item.outcome.into(),
        reason: item.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        fix: item.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
        detail: item.detail.clone(),
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

impl Counts {
    fn add(&mut self, item: &SyncItem) {
        let of = if item.was_there { &mut self.modify } else { &mut self.create };
        match item.outcome {
            Outcome::Refused if item.reason == Some(Reason::RemovalRejected) => self.delete.failure += 1,
            Outcome::Refused => of.failure += 1,
            Outcome::Created | Outcome::Restored => self.create.success += 1,
            Outcome::Updated => self.modify.success += 1,
            Outcome::Removed => self.delete.success += 1,
            Outcome::Held => self.held += 1,
            Outcome::Unchanged | Outcome::Unspecified => self.unchanged += 1,
        }
    }
}
