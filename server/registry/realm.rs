//! Realms: containers of users with a quota.

use muster_proto::{RealmName, Text, Timestamp};

use super::auth_client::later;
use super::{Name, RealmId};

/// A container of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Its id.
    pub id: RealmId,
    /// Its name; unique, also among deleted ones.
    pub name: RealmName,
    /// What people say of it.
    pub description: Text,
    /// How many users it may have; `None` for as many as the register as a whole may have.
    pub user_quota: Option<i64>,
    /// How many users it has; disabled ones count.
    pub users: i64,
    /// How many auth clients are in it; deleted ones do not count.
    pub clients: i64,
    /// The hash of the request that made it, if that came with a request id.
    pub request: Option<[u8; 32]>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed, its users and auth clients aside.
    pub updated_at: Timestamp,
    /// When it was deleted; `None` while it is in use.
    pub deleted_at: Option<Timestamp>,
}

impl Realm {
    /// A new one, without users.
    pub(super) fn new(id: RealmId, name: RealmName, now: Timestamp) -> Self {
        Self {
            id,
            name,
            description: Text::default(),
            user_quota: None,
            users: 0,
            clients: 0,
            request: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    /// Whether it is in use.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// What changes with every change of this realm, its users and auth clients aside.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }

    /// Notes a change. The time always moves on, even if the clock does not: no two states share an etag.
    pub(super) fn changed(&mut self, now: Timestamp) {
        self.updated_at = later(self.updated_at, now);
    }

    /// How many of the users that are allocated to it are not there yet.
    pub(super) fn unused(&self) -> i64 {
        self.user_quota.map_or(0, |quota| quota.saturating_sub(self.users).max(0))
    }

    /// Its resource name, as in "realms/7".
    pub(super) fn resource(&self) -> Name {
        Name::Resource(format!("realms/{}", self.id.0).into())
    }
}
