//! Users, and their references: a person in a realm, and that person on one auth client.

use muster_proto::{Timestamp, UserAttributes, UserKey, Username};

use super::{AuthClientId, RealmId, UserId, UserRefId};

/// A person in a realm. It is there as long as an auth client refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its realm.
    pub realm: RealmId,
    /// What makes it the same person.
    pub key: UserKey,
    /// The name as it was first given.
    pub username: Username,
    /// Whether an admin has disabled it; it counts towards the quota all the same (domain sheet, section 1.10).
    pub disabled: bool,
    /// How many auth clients refer to it.
    pub references: i64,
    /// When it came.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When the last reference went; `None` while it is there.
    pub deleted_at: Option<Timestamp>,
}

impl User {
    /// What changes with every change of this user.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }
}

/// A person on one auth client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRef {
    /// Its id.
    pub id: UserRefId,
    /// The auth client.
    pub client: AuthClientId,
    /// What makes it the same person: the user's key in the realm of the auth client.
    pub key: UserKey,
    /// The person.
    pub user: UserId,
    /// What the auth client says of it.
    pub attributes: UserAttributes,
    /// When it came.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it went; `None` while it is there.
    pub deleted_at: Option<Timestamp>,
}
