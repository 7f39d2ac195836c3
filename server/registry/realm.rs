//! Realms: containers of users with a quota.

use muster_proto::{RealmName, Text, Timestamp};

use super::RealmId;

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
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed, its users aside.
    pub updated_at: Timestamp,
    /// When it was deleted; `None` while it is in use.
    pub deleted_at: Option<Timestamp>,
}

impl Realm {
    /// What changes with every change of this realm, its users aside.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }
}
