//! What ends by itself: what was deleted is purged when its retention time has ended, removals that nobody decided on expire, and
//! those that were decided are forgotten after the retention time.
//!
//! Each is a command like any other: it goes through the writer, stands in the audit log and shows in the debug feed.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::operation::OperationId;
use crate::registry::{Action, Command, Options, Reach, Refusal};
use crate::store::{Reading, StoreError};
use crate::writer::{Operation, Writer};

/// How often it is looked for: time enough in days of retention.
const EVERY: Duration = Duration::from_mins(10);
/// How many commands are handed in at a time, so that no commit is long and nobody waits for them.
const STEP: u32 = 16;

/// Who does it, for the audit log.
const CALLER: &str = "server:sweep";

/// Why a sweep ended early.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// What is due could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A command was not done; what is left is for the next sweep.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Sweeps once at the start, and then every few minutes until it is told to stop.
pub async fn keep_sweeping(
    writer: Writer,
    store: Arc<dyn Reading>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
) {
    let mut due = interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        loop {
            due.tick().await;
            match sweep(&writer, &*store, &*clock).await {
                Ok(0) => {}
                Ok(commands) => info!(commands, "purged or expired what was due"),
                Err(failure) => warn!(%failure, "the sweep ended early"),
            }
        }
    };
    // The writer works until the last handle is dropped, so this one must not outlive the stop.
    tokio::select! {
        () = stopping.cancelled() => {}
        () = work => {}
    }
}

/// Does everything that is due now; how many commands that took.
pub async fn sweep(writer: &Writer, store: &dyn Reading, clock: &dyn Clock) -> Result<usize, SweepError> {
    let mut done = 0;
    loop {
        let now = clock.now();
        let overdue = store.overdue(now, STEP).await?;
        let expire = overdue.into_iter().map(|held| {
            let method = if held.state.stands() { "Expire" } else { "Purge" };
            (method, Action::ExpireHeld { id: held.id, serial: held.serial })
        });
        let purgeable = store.purgeable(now, STEP).await?;
        let purge = purgeable.into_iter().map(|(serial, owner)| ("Purge", Action::Purge { serial, owner }));
        let mut pending = Vec::new();
        for (method, action) in expire.chain(purge) {
            let operation = Operation {
                id: OperationId::new(now, rand::rng().random()),
                at: now,
                method,
                caller: Arc::from(CALLER),
                reach: Reach::Everything,
                address: None,
                web_app: None,
                proof: None,
            };
            pending.push(writer.submit(operation, Command { action, options: Options::default() })?);
        }
        if pending.is_empty() {
            return Ok(done);
        }
        let mut changed = false;
        for pending in pending {
            changed |= pending.answer().await?.outcome != crate::registry::Outcome::Unchanged;
            done += 1;
        }
        // What cannot be purged would be found for ever.
        if !changed {
            return Ok(done);
        }
    }
}
