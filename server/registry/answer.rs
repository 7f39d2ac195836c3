//! What the rules answer: the outcome of each item, and what changed.

use std::borrow::Cow;
use std::fmt;

pub use muster_proto::v1::{Outcome, SyncStatus};
use muster_proto::{Reason, SerialNumber, Timestamp, Username, VdomName};

use super::{
    AdminToken, Admission, AuthClient, AuthClientId, Cluster, Device, DeviceKey, Finding, HeldId, LicenseItem,
    LobbyEntry, OwnerId, Realm, RealmId, Settings, Standing, User, WebApp, WebAppId,
};

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

/// What became of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserItem {
    /// The auth client it is about, by VDOM.
    pub vdom: VdomName,
    /// The user, as the auth client names it.
    pub username: Username,
    /// What became of it.
    pub outcome: Outcome,
    /// Why; the reason knows the fix.
    pub reason: Option<Reason>,
    /// What is to be said besides the reason, as in who it collides with; empty if nothing.
    pub detail: String,
}

/// An auth client as an admin names it: by its id, with where it was when that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedClient {
    /// Its id.
    pub id: AuthClientId,
    /// Whose it is.
    pub owner: OwnerId,
    /// Its VDOM.
    pub vdom: VdomName,
    /// The name that people know.
    pub label: Box<str>,
}

/// What became of one auth client, and of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientItem {
    /// The auth client.
    pub client: NamedClient,
    /// What became of it, or of the user there.
    pub outcome: Outcome,
    /// Why; the reason knows the fix.
    pub reason: Option<Reason>,
    /// How many users are on it.
    pub users_total: i64,
    /// What became of those of its users of whom there is something to say.
    pub users: Vec<UserItem>,
}

/// What the caller is told of removals that are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The held set.
    pub id: HeldId,
    /// What confirms it.
    pub token: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// Whether this command made it.
    pub is_new: bool,
}

/// What the caller named, as it is after the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// The answer says it all.
    #[default]
    Nothing,
    /// An auth client.
    AuthClient(AuthClient),
    /// A realm.
    Realm(Realm),
    /// The settings.
    Settings(Settings),
    /// A user.
    User(User),
    /// An admin token.
    AdminToken(Box<AdminToken>),
    /// A Web app, and its auth client.
    WebApp(Box<(WebApp, AuthClient)>),
    /// An entry of the lobby.
    Lobby(Box<LobbyEntry>),
    /// The admission rules.
    Admission(Box<Admission>),
    /// A cluster.
    Cluster(Cluster),
    /// The rows of an import.
    Imported(Vec<LicenseItem>),
    /// A release code, and when it can no longer be used.
    ReleaseCode(Timestamp),
    /// The keys that claim a serial number.
    DeviceKeys(Vec<DeviceKey>),
    /// How something stands, and why.
    Finding(Box<Finding>),
}

impl After {
    /// The realm that it is in, or is.
    #[must_use]
    pub fn realm(&self) -> Option<RealmId> {
        match self {
            Self::Nothing
            | Self::Settings(_)
            | Self::Cluster(_)
            | Self::DeviceKeys(_)
            | Self::ReleaseCode(_)
            | Self::Finding(_)
            | Self::Imported(_)
            | Self::AdminToken(_)
            | Self::Lobby(_)
            | Self::Admission(_) => None,
            Self::AuthClient(client) => Some(client.realm),
            Self::WebApp(found) => Some(found.1.realm),
            Self::Realm(realm) => Some(realm.id),
            Self::User(user) => Some(user.realm),
        }
    }
}

/// What the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of what the command is about.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
    /// How a sync ended; `Completed` for every other command.
    pub status: SyncStatus,
    /// What became of each VDOM.
    pub items: Vec<Item>,
    /// What became of each user.
    pub users: Vec<UserItem>,
    /// What became of each auth client, for commands about several of any devices.
    pub clients: Vec<ClientItem>,
    /// The generation of the device after the command; 0 if there is no device.
    pub generation: i64,
    /// The digest of the device after the command; zeros if there is no device.
    pub digest: [u8; 32],
    /// What the caller named, as it is after the command.
    pub after: After,
    /// How many references to users are gone for good.
    pub purged_users: i64,
    /// How the device stands in its cluster; `None` if it is in none and said nothing of one.
    pub standing: Option<Standing>,
    /// The removals of the command that wait for a confirmation, or for an admin.
    pub held: Option<Notice>,
    /// Which plan this is, if the command was only worked out.
    pub plan: Option<String>,
}

impl Answer {
    /// An answer about something that is no device.
    pub(super) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            status: SyncStatus::Completed,
            items: Vec::new(),
            users: Vec::new(),
            clients: Vec::new(),
            generation: 0,
            digest: [0; 32],
            after: After::Nothing,
            purged_users: 0,
            standing: None,
            held: None,
            plan: None,
        }
    }

    /// An answer about a device.
    pub(super) fn of(device: &Device, outcome: Outcome, items: Vec<Item>) -> Self {
        Self { items, generation: device.generation, digest: device.digest, ..Self::new(outcome) }
    }
}

/// What one changed value belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What the record is about: the device, the realm, ...
    Itself,
    /// One of its VDOMs.
    Vdom(VdomName),
    /// A user on one of its VDOMs.
    User(VdomName, Username),
}

/// One value that a command changed, for the audit log and the debug feed. It holds neither ids nor the time, which differ each time that
/// a command is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it belongs to.
    pub subject: Subject,
    /// The field, as in "state" or "hostname".
    pub field: &'static str,
    /// Its value before; empty if there was none.
    pub before: Cow<'static, str>,
    /// Its value after; empty if there is none.
    pub after: Cow<'static, str>,
}

impl Change {
    /// Something came, went or returned.
    pub(super) fn state(subject: Subject, before: &'static str, after: &'static str) -> Self {
        Self { subject, field: "state", before: before.into(), after: after.into() }
    }

    /// A value of what the record is about.
    pub(super) fn value(field: &'static str, before: impl fmt::Display, after: impl fmt::Display) -> Self {
        Self { subject: Subject::Itself, field, before: before.to_string().into(), after: after.to_string().into() }
    }
}

/// What a command changed about one thing: one row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The id of what it is about: a device, a realm, ...; 0 for the settings.
    pub about: i64,
    /// The name of what it is about, as in "devices/FG101FTK19002788" or "realms/7".
    pub name: Name,
    /// The generation of the device after the command; 0 if it is about no device.
    pub generation: i64,
    /// What changed; not empty.
    pub changes: Vec<Change>,
}

/// What a record, or the events of a command, are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A device.
    Device(SerialNumber),
    /// Anything else, by its resource name, as in "realms/7".
    Resource(Box<str>),
}

impl Name {
    /// The device, if it is one.
    #[must_use]
    pub fn serial(&self) -> Option<SerialNumber> {
        match self {
            Self::Device(serial) => Some(*serial),
            Self::Resource(_) => None,
        }
    }

    /// The Web app, if it is one.
    #[must_use]
    pub fn web_app(&self) -> Option<WebAppId> {
        match self {
            Self::Device(_) => None,
            Self::Resource(name) => name.strip_prefix("webApps/")?.parse().ok().map(WebAppId),
        }
    }
}

/// A command that was worked out: what to answer, and what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What the caller is told.
    pub answer: Answer,
    /// What changed; empty if nothing did.
    pub records: Vec<Record>,
    /// Set if the caller is refused although something was noted, such as a device that now waits for approval.
    pub refused: Option<Refusal>,
    /// The realms of the auth clients that the answer names by VDOM. Not part of the plan: the id of a new realm differs each time.
    pub realms: Vec<(VdomName, RealmId)>,
}

impl Planned {
    /// An answer to a command that changed nothing.
    pub(super) fn unchanged(answer: Answer) -> Self {
        Self { answer, records: Vec::new(), refused: None, realms: Vec::new() }
    }

    /// Whether the command looked at auth clients: it changed something, or left one of them. What a report that agrees with the digest is
    /// told of "root" comes without a look.
    pub(super) fn looked_at_clients(&self) -> bool {
        let left = |item: &Item| item.reason.is_some_and(|reason| reason != Reason::RootVdomRequired);
        // Held removals are withdrawn without a look at what they are of.
        let noted =
            |record: &Record| !matches!(&record.name, Name::Resource(name) if name.starts_with("heldRemovals/"));
        self.records.iter().any(noted) || !self.answer.users.is_empty() || self.answer.items.iter().any(left)
    }

    /// Whether this is a wrong guess at a secret: it counts however the command was asked, or else it could be tried for nothing.
    pub(crate) fn is_guess(&self) -> bool {
        self.refused.as_ref().is_some_and(|refusal| refusal.reason == Reason::ReleaseCodeInvalid)
    }

    /// An answer to a command that changed one thing, or nothing if there are no changes.
    pub(super) fn about(answer: Answer, about: i64, name: Name, changes: Vec<Change>) -> Self {
        let generation = answer.generation;
        let record = (!changes.is_empty()).then_some(Record { about, name, generation, changes });
        Self { answer, records: record.into_iter().collect(), refused: None, realms: Vec::new() }
    }
}

/// A command that the rules do not allow. It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Why, as a code that knows its gRPC code and its fix.
    pub reason: Reason,
    /// What happened, for people; free of control characters.
    pub message: String,
    /// The quota that is used up, if that is why.
    pub quota: Option<Box<QuotaUse>>,
    /// What a caller may act on without reading the message, by name; as in the epoch that is current.
    pub details: Vec<(&'static str, String)>,
}

/// A quota that is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// Whose it is: "realms/7", or "settings" for that of the register as a whole.
    pub subject: String,
    /// How many users it allows.
    pub limit: i64,
    /// How many it has.
    pub used: i64,
    /// Who holds the rest, in words; empty if nobody else does.
    pub held_elsewhere: String,
}

impl Refusal {
    /// A refusal for a reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), quota: None, details: Vec::new() }
    }

    /// The same refusal, with a value that the caller may act on.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.details.push((name, value.to_string()));
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
