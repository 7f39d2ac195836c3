//! What a box of a fleet can be asked.

use indicatif::ProgressBar;
use muster_proto::v1;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::fleet::invariants::Acknowledged;
use crate::fleet::metrics::Kind;

/// An operation that is due; dropped when it has ended, well or not.
#[derive(Debug)]
pub struct Ticket {
    /// When it was due.
    pub due: Instant,
    /// Moves when it has ended.
    pub progress: ProgressBar,
    /// Whoever waits for the step waits for the last of these to be dropped.
    pub pending: mpsc::Sender<()>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.progress.inc(1);
    }
}

/// What a box can be asked.
#[derive(Debug)]
pub enum Ask {
    /// Come up: connect and register.
    Connect(Ticket),
    /// Report what is there.
    Sync(Ticket),
    /// Report what is there while the server may be gone.
    SyncMeanwhile(Ticket),
    /// Get so many VDOMs, and report them.
    AddVdoms(u32, Ticket),
    /// Lose so many VDOMs, and report what is left.
    RemoveVdoms(u32, Ticket),
    /// Report the users of every auth client.
    SyncUsers(Ticket),
    /// Get so many users, and add them one by one.
    AddUsers(u32, Ticket),
    /// Close the connection, and come back.
    Reconnect(Ticket),
    /// Report with a word on the HA pair, and tell how the box stands in it.
    Ha(v1::HaReport, Kind, Ticket, oneshot::Sender<v1::ClusterStanding>),
    /// Come under the serial number of another box.
    Intrude(Ticket),
    /// Report, and tell the id of that operation.
    Mark(oneshot::Sender<String>),
    /// Tell what was acknowledged.
    Recall(oneshot::Sender<Acknowledged>),
}
