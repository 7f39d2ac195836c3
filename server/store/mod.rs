//! What the register keeps, and the only rooms that know SQL.
//!
//! The [`Writer`](crate::writer) owns the one [`Writing`] half; everybody may share the [`Reading`] half, and what is [`Recalling`].

mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use muster_proto::RealmRef;
use muster_proto::admin::{AuthClientName, Query};
use muster_proto::explain::AuditQuery;
use muster_proto::license::LicenseNumber;
use muster_proto::user_sync::Kinds;
use muster_proto::{SerialNumber, Timestamp, UserKey, Username, VdomName};

pub use sqlite::open_sqlite;

use crate::operation::OperationId;
use crate::registry::{
    AdminToken, AdminTokenId, Admission, AuthClient, AuthClientId, Cluster, ClusterId, Device, DeviceId, DeviceKey,
    Entry, Held, HeldId, License, LobbyEntry, Name, Needs, OwnerId, Realm, Settings, State, User, UserId, UserRef,
    WebApp, WebAppId,
};

/// Who changed what, in which operation.
#[derive(Debug)]
pub struct AuditRow<'a> {
    /// When.
    pub at: Timestamp,
    /// Ties the row to the answer and to the debug events.
    pub operation: OperationId,
    /// Who, as in "device:FG101FTK19002788" or "relay:east for FG101FTK19002788".
    pub caller: &'a str,
    /// The method, as in "Sync".
    pub method: &'static str,
    /// The id of what it is about; 0 for the settings.
    pub about: i64,
    /// The name of what it is about.
    pub name: &'a Name,
    /// The generation of the device afterwards; 0 if it is about no device.
    pub generation: i64,
    /// The values before and after, as a JSON list.
    pub changes: String,
}

/// When a device last called, and how often it was refused since that was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// How many of its calls were refused because it was deleted.
    pub refused: i64,
}

/// The half of a store that changes it. There is one for each process.
#[async_trait]
pub trait Writing: Send {
    /// The next id that is free.
    async fn next_id(&mut self) -> Result<i64, StoreError>;

    /// Loads what is needed into the state. Begins a batch: what is loaded cannot change before [`Writing::apply`] or
    /// [`Writing::abandon`]. The settings come with every load.
    async fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError>;

    /// Ends a batch: writes what changed in the state in one commit that survives a power cut, or nothing of it.
    async fn apply(&mut self, state: &State, audit: &[AuditRow<'_>], next_id: i64) -> Result<(), StoreError>;

    /// What this half remembers of what it committed.
    fn recalling(&self) -> Arc<dyn Recalling>;

    /// Opens a transaction for a change that is too long to be planned as one: everything up to [`Writing::commit`] or [`Writing::rollback`]
    /// becomes one commit, or nothing.
    async fn begin(&mut self) -> Result<(), StoreError>;

    /// Writes what changed in the state so far, within the transaction that is open.
    async fn stage(&mut self, state: &State, audit: &[AuditRow<'_>], next_id: i64) -> Result<(), StoreError>;

    /// Ends the transaction that is open in one commit that survives a power cut. The state has what was staged last of everything but users.
    async fn commit(&mut self, state: &State) -> Result<(), StoreError>;

    /// Ends the transaction that is open without changing anything, because that is what was asked for: nothing failed.
    async fn withdraw(&mut self, state: &State) -> Result<(), StoreError>;

    /// Ends the transaction that is open without changing anything, after a failure.
    async fn rollback(&mut self, state: &State) -> Result<(), StoreError>;

    /// Some of the users that are on an auth client, of these kinds, in the order of their keys and behind `after`.
    async fn present_users(
        &mut self,
        client: AuthClientId,
        kinds: Kinds,
        after: &UserKey,
    ) -> Result<Vec<(UserKey, Username)>, StoreError>;

    /// Ends a batch without changing anything.
    async fn abandon(&mut self) -> Result<(), StoreError>;

    /// Notes when devices last called, and how often they were refused. Times only ever move forward.
    async fn touch(&mut self, seen: &[(DeviceId, Seen)]) -> Result<(), StoreError>;

    /// Writes something of no consequence, to find out whether the store can be written.
    async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError>;

    /// The serial numbers of the devices that are banned.
    async fn banned(&mut self) -> Result<Vec<SerialNumber>, StoreError>;

    /// Whether any admin token, even a revoked one, is known.
    async fn has_admin_token(&mut self) -> Result<bool, StoreError>;

    /// Keeps the hash of a new admin token, and revokes all others of that name.
    async fn replace_admin_token(&mut self, name: &str, hash: [u8; 32], now: Timestamp) -> Result<(), StoreError>;
}

/// What the writing half remembers of what it committed last. It never waits for the database.
pub trait Recalling: Send + Sync + std::fmt::Debug {
    /// What the rules read of a device that reports nothing new: the device, the settings, and that nothing is held of its lists. `None` if
    /// that is not so, or not remembered.
    fn recall(&self, serial: SerialNumber) -> Option<State>;
}

/// The half of a store that only reads.
#[async_trait]
pub trait Reading: Send + Sync + std::fmt::Debug {
    /// A device and its auth clients, deleted ones too.
    async fn device(&self, serial: SerialNumber) -> Result<Option<(Device, Vec<AuthClient>)>, StoreError>;

    /// An auth client, with its device and its realm.
    async fn auth_client(&self, name: AuthClientName) -> Result<Option<AuthClientRow>, StoreError>;

    /// One page of auth clients, with one row more if there is a next page; and how many there are in all.
    async fn list_auth_clients(&self, query: &Query) -> Result<(Vec<AuthClientRow>, i64), StoreError>;

    /// One page of licences, with one row more if there is a next page; and how many there are in all.
    async fn list_licenses(&self, query: &Query) -> Result<(Vec<LicenseHeld>, i64), StoreError>;

    /// A licence, deleted or not.
    async fn license(&self, number: &LicenseNumber) -> Result<Option<LicenseHeld>, StoreError>;

    /// One page of devices that several keys claim, with one more if there is a next page; and how many there are in all.
    async fn list_clone_cases(&self, query: &Query) -> Result<(Vec<CloneCase>, i64), StoreError>;

    /// The keys that claim a serial number, the earliest first; none if there never was more than one.
    async fn device_keys(&self, serial: SerialNumber) -> Result<Vec<DeviceKey>, StoreError>;

    /// One page of clusters with their members, with one row more if there is a next page; and how many there are in all.
    async fn list_clusters(&self, query: &Query) -> Result<(Vec<Cluster>, i64), StoreError>;

    /// A cluster with its members, deleted or not.
    async fn cluster(&self, id: ClusterId) -> Result<Option<Cluster>, StoreError>;

    /// One page of devices, with one row more if there is a next page; and how many there are in all.
    async fn list_devices(&self, query: &Query) -> Result<(Vec<Device>, i64), StoreError>;

    /// The entry of a device in the lobby, whatever became of it.
    async fn lobby_entry(&self, serial: SerialNumber) -> Result<Option<LobbyEntry>, StoreError>;

    /// One page of the lobby, with one row more if there is a next page; and how many there are in all.
    async fn list_lobby(&self, query: &Query) -> Result<(Vec<LobbyEntry>, i64), StoreError>;

    /// The admission rules.
    async fn admission(&self) -> Result<Admission, StoreError>;

    /// A realm, deleted or not.
    async fn realm(&self, name: &RealmRef) -> Result<Option<Realm>, StoreError>;

    /// One page of realms, with one row more if there is a next page; and how many there are in all.
    async fn list_realms(&self, query: &Query) -> Result<(Vec<Realm>, i64), StoreError>;

    /// One page of audit entries, with one more if there is a next page; and how many there are in all.
    async fn list_audit(&self, query: &AuditQuery) -> Result<(Vec<Entry>, i64), StoreError>;

    /// Audit entries about some things in the order of their commits, and how many there are besides those that were asked for.
    async fn story(&self, story: &Story) -> Result<(Vec<Entry>, i64), StoreError>;

    /// The settings.
    async fn settings(&self) -> Result<Settings, StoreError>;

    /// A user, gone or not, with its realm and the auth clients that refer to it.
    async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError>;

    /// One page of users, each with the name of its realm, with one row more if there is a next page; and how many there are in all.
    async fn list_users(&self, query: &Query) -> Result<(Vec<(User, String)>, i64), StoreError>;

    /// The admin token that has this hash, usable or not.
    async fn admin(&self, token_hash: [u8; 32]) -> Result<Option<AdminToken>, StoreError>;

    /// An admin token, usable or not.
    async fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, StoreError>;

    /// One page of admin tokens, with one row more if there is a next page; and how many there are in all.
    async fn list_admin_tokens(&self, query: &Query) -> Result<(Vec<AdminToken>, i64), StoreError>;

    /// A Web app with its auth client, deleted or not.
    async fn web_app(&self, id: WebAppId) -> Result<Option<WebAppRow>, StoreError>;

    /// The Web app of this client id, deleted or not.
    async fn web_app_of(&self, client_id: &str) -> Result<Option<WebApp>, StoreError>;

    /// One page of Web apps, with one row more if there is a next page; and how many there are in all.
    async fn list_web_apps(&self, query: &Query) -> Result<(Vec<WebAppRow>, i64), StoreError>;

    /// One held removal, decided or not.
    async fn held(&self, id: HeldId) -> Result<Option<Held>, StoreError>;

    /// One page of held removals, with one row more if there is a next page; and how many there are in all.
    async fn list_held(&self, query: &Query) -> Result<(Vec<Held>, i64), StoreError>;

    /// Some of the held removals whose time has passed, and of those that ended before the retention time.
    async fn overdue(&self, now: Timestamp, most: u32) -> Result<Vec<Held>, StoreError>;

    /// The digest of the users of an auth client that are of these kinds, as a whole and in so many buckets.
    async fn user_digests(
        &self,
        client: AuthClientId,
        kinds: Kinds,
        buckets: usize,
    ) -> Result<([u8; 32], Vec<[u8; 32]>), StoreError>;

    /// Some of the devices, and of the owners of auth clients, of whom something was deleted before the retention time.
    async fn purgeable(&self, now: Timestamp, most: u32) -> Result<Vec<(Option<SerialNumber>, OwnerId)>, StoreError>;
}

/// A licence as admins see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseHeld {
    /// The licence.
    pub license: License,
    /// The name of its realm.
    pub realm: String,
}

/// A device that several keys claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneCase {
    /// The id of the device.
    pub device: i64,
    /// Its serial number.
    pub serial: SerialNumber,
    /// The keys, the earliest first.
    pub keys: Vec<DeviceKey>,
}

/// Which audit entries tell the story of something.
#[derive(Clone, Debug)]
pub struct Story {
    /// The ids of what they are about.
    pub about: Vec<i64>,
    /// The auth client whose story it is, if it is that of one.
    pub client: Option<i64>,
    /// Its VDOM: what is about other VDOMs is left out.
    pub vdom: Option<VdomName>,
    /// With a VDOM: what is about other users is left out.
    pub user: Option<String>,
    /// Only entries behind this id.
    pub after: i64,
    /// Only entries at or after this time.
    pub since: Timestamp,
    /// How many at most.
    pub most: u32,
    /// Whether the latest are wanted, if there are more.
    pub latest: bool,
}

/// An auth client as admins see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthClientRow {
    /// The auth client.
    pub client: AuthClient,
    /// The serial number of its device, or of the primary of its cluster; `None` if it belongs to neither.
    pub serial: Option<SerialNumber>,
    /// The name of its realm.
    pub realm: String,
    /// Its cluster, if it belongs to one, and the name of it.
    pub cluster: Option<(ClusterId, String)>,
    /// The name of the Web app that it is, if it is one.
    pub web_app: Option<String>,
}

/// A Web app as admins see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAppRow {
    /// The Web app.
    pub app: WebApp,
    /// Its auth client.
    pub client: AuthClient,
}

/// A user as admins see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The user.
    pub user: User,
    /// The name of its realm.
    pub realm: String,
    /// Its references, gone ones aside, each with the auth client; oldest first.
    pub references: Vec<(UserRef, AuthClientRow)>,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be read or written now; a retry may help.
    #[error("the database cannot be used now: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The disk of the database is full.
    #[error("the disk of the database is full: {0}")]
    Full(#[source] sqlx::Error),
    /// The database refused the change itself, as a constraint does.
    #[error("the database refused the change: {0}")]
    Refused(#[source] sqlx::Error),
    /// The database holds something that the rules do not allow.
    #[error("the database is inconsistent: {table}.{column} holds {value:?}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// The database cannot be opened.
    #[error("could not open the database {path}: {detail}")]
    Open {
        /// Where it is.
        path: String,
        /// What is wrong and what to do.
        detail: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        let Some(database) = error.as_database_error() else { return Self::Unavailable(error) };
        // SQLITE_FULL is 13; extended codes keep the primary code in their low byte.
        let primary = database.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
        match (primary, database.kind()) {
            (Some(13), _) => Self::Full(error),
            (
                _,
                ErrorKind::UniqueViolation
                | ErrorKind::ForeignKeyViolation
                | ErrorKind::NotNullViolation
                | ErrorKind::CheckViolation,
            )
            | (Some(19 | 20), _) => Self::Refused(error),
            _ => Self::Unavailable(error),
        }
    }
}

#[cfg(test)]
mod tests;
