//! One sync of the users of an auth client: worked off in parts inside one transaction, so that it is one atomic result and is never held as a
//! whole. Other changes wait meanwhile.

mod list;
mod work;

use std::sync::Arc;

use muster_proto::user_sync::UserSync;
use muster_proto::{Reason, v1};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(super) use self::work::run;
use super::Operation;
use crate::registry::user_sync::SyncItem;
use crate::registry::{Notice, Options, Outcome, Planned, Refusal};
use crate::spool::SpoolReader;

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

/// A sync whose list is complete, and waits in a spool.
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
