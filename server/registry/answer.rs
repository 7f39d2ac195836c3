//! What the rules answer: the outcome of each item, and what changed.

use std::borrow::Cow;
use std::fmt;

pub use muster_proto::v1::{Outcome, SyncStatus};
use muster_proto::{Reason, VdomName};

use super::{AuthClient, Device};

/// What became of one VDOM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The VDOM.
    pub vdom: VdomName,
    /// What became of it.
    pub outcome: Outcome,
    /// Why; the reason knows the fix.
    pub reason: Option<Reason>,
}

/// What the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of the device.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
    /// How a sync ended; `Completed` for every other command.
    pub status: SyncStatus,
    /// What became of each VDOM.
    pub items: Vec<Item>,
    /// The generation of the device after the command; 0 if there is no device.
    pub generation: i64,
    /// The digest of the device after the command; zeros if there is no device.
    pub digest: [u8; 32],
    /// The auth client that an admin named, after the command.
    pub auth_client: Option<AuthClient>,
}

impl Answer {
    pub(super) fn of(device: &Device, outcome: Outcome, items: Vec<Item>) -> Self {
        Self {
            outcome,
            reason: None,
            status: SyncStatus::Completed,
            items,
            generation: device.generation,
            digest: device.digest,
            auth_client: None,
        }
    }
}

/// One value that a command changed, for the audit log and the debug feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The VDOM, or `None` for the device itself.
    pub vdom: Option<VdomName>,
    /// The field, as in "state" or "hostname".
    pub field: &'static str,
    /// Its value before; empty if there was none.
    pub before: Cow<'static, str>,
    /// Its value after; empty if there is none.
    pub after: Cow<'static, str>,
}

impl Change {
    /// Something came, went or returned.
    pub(super) fn state(vdom: Option<VdomName>, before: &'static str, after: &'static str) -> Self {
        Self { vdom, field: "state", before: before.into(), after: after.into() }
    }
}

/// A command that was worked out: what to answer, and what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What the caller is told.
    pub answer: Answer,
    /// What changed; empty if nothing did.
    pub changes: Vec<Change>,
}

/// A command that the rules do not allow. It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Why, as a code that knows its gRPC code and its fix.
    pub reason: Reason,
    /// What happened, for people; free of control characters.
    pub message: String,
}

impl Refusal {
    /// A refusal for a reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
