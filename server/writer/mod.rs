//! Shares commits: commands queue up while one commit is under way, and the next commit takes them all.
//!
//! A report that changes nothing is answered at a glance, from what was committed last, and never queues up.
//!
//! A batch gives exactly what its commands would give one by one: each is planned on what the ones before it left. What the rules refuse
//! fails alone. If the database refuses a batch, the batch is tried again in halves, so that a poison command fails alone too.

mod batch;
mod glance;
mod notes;
mod seen;
mod task;
mod user_sync;

use std::net::IpAddr;
use std::sync::Arc;

use glance::Glance;
use muster_proto::{Reason, Timestamp};
use tokio::sync::{mpsc, oneshot};

pub(crate) use notes::terminal;
pub(crate) use notes::{arrival, user_outcome};
pub use task::WriterTask;
pub use user_sync::{Count, Counts, Spooled, UserSyncJob, UsersSynced};

use crate::operation::OperationId;
use crate::registry::{Answer, Command, Context, Proof, Reach, Refusal, WebAppId};
use crate::spool::SpoolReader;

/// How many commands may wait.
const QUEUE: usize = 4_096;
/// How many syncs of users may wait: each is long.
const USER_SYNCS: usize = 64;

/// The work of one call, as the audit log and the debug feed know it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// When it began.
    pub at: Timestamp,
    /// The method, as in "Sync".
    pub method: &'static str,
    /// Who called, as in "device:FG101FTK19002788".
    pub caller: Arc<str>,
    /// How the device proved itself, if it calls itself.
    pub proof: Option<Arc<Proof>>,
    /// Which realms the caller may touch.
    pub reach: Reach,
    /// Where the call comes from, if the device itself calls.
    pub address: Option<IpAddr>,
    /// The Web app that calls, if it is one.
    pub web_app: Option<WebAppId>,
}

impl Operation {
    /// What the rules are told of it.
    fn context<'a>(&'a self, next_id: &'a mut i64, now: Timestamp) -> Context<'a> {
        Context {
            now,
            next_id,
            caller: &self.caller,
            reach: &self.reach,
            address: self.address,
            proof: self.proof.as_deref(),
        }
    }
}

/// A command on its way to the database.
#[derive(Debug)]
struct Submission {
    operation: Operation,
    command: Command,
    reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// Where commands are handed in. Cheap to clone; the task ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Writer {
    glance: Arc<Glance>,
    queue: mpsc::Sender<Submission>,
    user_syncs: mpsc::Sender<(UserSyncJob, SpoolReader)>,
}

/// The other ends of the queues.
struct Queued {
    submissions: mpsc::Receiver<Submission>,
    user_syncs: mpsc::Receiver<(UserSyncJob, SpoolReader)>,
}

/// Both ends of the queues.
fn queue(glance: Glance) -> (Writer, Queued) {
    let (queue, submissions) = mpsc::channel(QUEUE);
    let (syncs, user_syncs) = mpsc::channel(USER_SYNCS);
    (Writer { glance: Arc::new(glance), queue, user_syncs: syncs }, Queued { submissions, user_syncs })
}

/// What the caller waits for.
#[derive(Debug)]
pub enum Pending {
    /// Nothing: the command changes nothing.
    Settled(Box<Answer>),
    /// The answer of the writer.
    Queued(oneshot::Receiver<Result<Answer, Refusal>>),
}

impl Writer {
    /// Hands a command in. From here on the writer leaves the terminal debug event of the operation, whatever becomes of it.
    pub fn submit(&self, operation: Operation, command: Command) -> Result<Pending, Refusal> {
        match self.glance.answer(&operation, &command) {
            Some(answer) => Ok(Pending::Settled(Box::new(answer))),
            None => self.enqueue(operation, command),
        }
    }

    fn enqueue(&self, operation: Operation, command: Command) -> Result<Pending, Refusal> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Submission { operation, command, reply }) {
            Ok(()) => Ok(Pending::Queued(answer)),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(Refusal::new(Reason::QueueFull, format!("{QUEUE} changes are waiting already")))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(stopped()),
        }
    }

    /// Hands a sync of users in, with its list of [`Spooled`]. The caller leaves all of its debug events.
    pub fn sync_users(&self, job: UserSyncJob, users: SpoolReader) -> Result<(), Refusal> {
        self.user_syncs.try_send((job, users)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::new(Reason::QueueFull, format!("{USER_SYNCS} syncs of users are waiting already"))
            }
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })
    }
}

impl Pending {
    /// The answer, once the change is on disk.
    pub async fn answer(self) -> Result<Answer, Refusal> {
        match self {
            Self::Settled(answer) => Ok(*answer),
            Self::Queued(answer) => answer.await.unwrap_or_else(|_| Err(stopped())),
        }
    }
}

pub(crate) fn stopped() -> Refusal {
    Refusal::new(Reason::ShuttingDown, "the server no longer takes changes")
}

#[cfg(test)]
mod tests;
