//! Auth clients: what users hang on.

use muster_proto::{Text, Timestamp, VdomName};

use super::{AuthClientId, DeleteMode, OwnerId, RealmId, Tombstone};

/// One VDOM of one device or cluster, or a Web app: what users hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthClient {
    /// Its id.
    pub id: AuthClientId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The VDOM; [`VdomName::WEB_APP`] for a Web app.
    pub vdom: VdomName,
    /// The realm it is in.
    pub realm: RealmId,
    /// The name that an admin gave it; empty if none did.
    pub alias: Text,
    /// How many users it has.
    pub users: i64,
    /// The digest of its users: the XOR of the digests of each (`SyncUsersRequest`).
    pub users_digest: [u8; 32],
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// How it was deleted; `None` while it is active.
    pub deleted: Option<Box<Tombstone>>,
    /// When it was last removed, as long as the users that went with it have not come back; kept when the auth client returns.
    pub removed_at: Option<Timestamp>,
}

impl AuthClient {
    /// What changes with every change of this auth client.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }

    /// Notes a change. The time always moves on, even if the clock does not: no two states share an etag.
    pub(super) fn changed(&mut self, now: Timestamp) {
        self.updated_at = later(self.updated_at, now);
    }

    /// Whether an admin has banned it.
    #[must_use]
    pub fn is_banned(&self) -> bool {
        self.deleted.as_deref().is_some_and(|tombstone| tombstone.mode == DeleteMode::Ban)
    }

    /// Whether it is in use.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deleted.is_none()
    }
}

/// Now, or just after `before` if the clock has not moved on.
pub(super) fn later(before: Timestamp, now: Timestamp) -> Timestamp {
    now.max(Timestamp::from_micros(before.micros().saturating_add(1)))
}
