//! What callers ask of the register.

use std::time::Duration;

use muster_proto::admin_token::NewAdminToken;
use muster_proto::channel::{DebugWish, Hello};
use muster_proto::device::{Deletion, Registration, Sync};
use muster_proto::device_users::{UserAddition, UserDeletion, UserTarget, UserUpdate};
use muster_proto::license::{LicenseNumber, LicenseRow};
use muster_proto::realms::{NewRealm, RealmChange};
use muster_proto::settings::SettingsChange;
use muster_proto::user_sync::Kinds;
use muster_proto::web_app::NewWebApp;
use muster_proto::{RealmRef, SerialNumber, Text, VdomName};

use super::{
    AdminTokenId, Admission, ClientId, ClusterId, Explained, HeldId, NamedClient, NamedUser, OwnerId, RealmId,
    SecretHash, Verdict, WebAppId,
};

/// One thing that a caller asks of the register, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What is asked.
    pub action: Action,
    /// How.
    pub options: Options,
}

/// How something is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only say what would happen.
    pub validate_only: bool,
    /// Only if it is still this plan.
    pub plan: Option<String>,
}

/// What a caller asks of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A device, or its relay, registers it.
    Register(Registration),
    /// A device, or its relay, reports its VDOMs.
    Sync(Sync),
    /// A device, or its relay, deletes a VDOM or the device.
    Delete(Deletion),
    /// A user comes to an auth client.
    AddUser(UserAddition),
    /// What an auth client says of a user changes.
    UpdateUser(UserUpdate),
    /// A user leaves an auth client.
    DeleteUser(UserDeletion),
    /// A sync of users begins: it goes on only if the device may come.
    BeginUserSync(UserTarget),
    /// A sync of users found that the digests are equal.
    UsersInSync(UserTarget, Kinds),
    /// A device, or its relay, opens the channel of the device.
    Hello(Hello),
    /// A device that was banned comes back with a stream.
    Contact(SerialNumber),
    /// An admin decides on removals that are held.
    DecideHeld {
        /// The held removals.
        id: HeldId,
        /// The device that asked, for the debug feed.
        serial: Option<SerialNumber>,
        /// Whether they are to be done.
        approve: bool,
    },
    /// The time of removals that are held has passed, or the retention time of those that no longer stand.
    ExpireHeld {
        /// The held removals.
        id: HeldId,
        /// The device that asked, for the debug feed.
        serial: Option<SerialNumber>,
    },
    /// An admin deletes an auth client.
    DeleteAuthClient {
        /// The device.
        serial: SerialNumber,
        /// The VDOM.
        vdom: VdomName,
        /// Only if this is its etag.
        etag: Option<String>,
        /// What it means, and why.
        verdict: Verdict,
    },
    /// An admin removes a deleted device for good.
    PurgeDevice {
        /// The device.
        serial: SerialNumber,
    },
    /// The retention time of something has ended.
    Purge {
        /// The device, if it is about one.
        serial: Option<SerialNumber>,
        /// Whose auth clients it is about.
        owner: OwnerId,
    },
    /// An admin brings a deleted auth client back, or its users.
    UndeleteAuthClient {
        /// The device.
        serial: SerialNumber,
        /// The VDOM.
        vdom: VdomName,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin brings a deleted device back.
    UndeleteDevice {
        /// The device.
        serial: SerialNumber,
    },
    /// An admin imports licences.
    ImportLicenses(Vec<LicenseRow>),
    /// An admin frees a licence for another device.
    ReleaseLicense(LicenseNumber),
    /// An admin deletes a licence.
    DeleteLicense(LicenseNumber),
    /// An admin replaces a box by another one.
    ReplaceDevice {
        /// The box that goes.
        old: SerialNumber,
        /// The box that takes its place.
        new: SerialNumber,
    },
    /// An admin picks the key of a device.
    ResolveClone {
        /// The device.
        serial: SerialNumber,
        /// The SHA-256 of the key.
        key: [u8; 32],
    },
    /// An admin makes a cluster.
    CreateCluster {
        /// Its name; empty for the serial number of the primary.
        name: Text,
        /// The primary.
        primary: SerialNumber,
        /// The other members, in the order of their serial numbers.
        others: Vec<SerialNumber>,
    },
    /// An admin gives a cluster another name.
    RenameCluster {
        /// The cluster.
        cluster: ClusterId,
        /// The new name.
        name: Text,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin dissolves a cluster.
    DeleteCluster {
        /// The cluster.
        cluster: ClusterId,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin makes a device a member of a cluster.
    AddMember {
        /// The cluster.
        cluster: ClusterId,
        /// The device.
        serial: SerialNumber,
    },
    /// An admin takes a member out of a cluster.
    RemoveMember {
        /// The cluster.
        cluster: ClusterId,
        /// The device.
        serial: SerialNumber,
    },
    /// An admin makes another member the primary.
    SetPrimary {
        /// The cluster.
        cluster: ClusterId,
        /// The member.
        serial: SerialNumber,
    },
    /// An admin deletes a device.
    DeleteDevice {
        /// The device.
        serial: SerialNumber,
        /// Only if this is its generation.
        generation: Option<i64>,
        /// What it means, and why.
        verdict: Verdict,
    },
    /// An admin makes a realm.
    CreateRealm(NewRealm),
    /// An admin changes a realm.
    UpdateRealm {
        /// The realm.
        realm: RealmId,
        /// What changes.
        change: RealmChange,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin deletes a realm.
    DeleteRealm {
        /// The realm.
        realm: RealmId,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin brings a realm back.
    UndeleteRealm {
        /// The realm.
        realm: RealmId,
    },
    /// An admin changes the settings.
    UpdateSettings {
        /// What changes.
        change: SettingsChange,
        /// Only if this is their etag.
        etag: Option<String>,
    },
    /// An admin moves auth clients to a realm.
    MoveAuthClients {
        /// The auth clients, in the order in which they move.
        clients: Vec<NamedClient>,
        /// Where to.
        realm: RealmId,
    },
    /// An admin changes an auth client.
    UpdateAuthClient {
        /// The auth client.
        client: NamedClient,
        /// Its alias, if that changes.
        alias: Option<Text>,
        /// Its realm, if that changes.
        realm: Option<RealmId>,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin disables or enables a user.
    SetUserDisabled {
        /// The user.
        user: NamedUser,
        /// Whether it is disabled afterwards.
        disabled: bool,
    },
    /// An admin deletes a user.
    DeletePerson {
        /// The user.
        user: NamedUser,
        /// The auth clients that referred to it when it was looked up.
        clients: Vec<NamedClient>,
    },
    /// An admin lets in who waits in the lobby.
    ApproveLobby {
        /// The device.
        serial: SerialNumber,
        /// The realm that it goes to, if one is named.
        realm: Option<RealmRef>,
    },
    /// An admin sends away who waits in the lobby.
    RejectLobby {
        /// The device.
        serial: SerialNumber,
        /// Why.
        why: Text,
    },
    /// An admin replaces the admission rules.
    UpdateAdmission {
        /// The rules as they are to be.
        new: Admission,
        /// Only if this is the etag of those that are there.
        etag: Option<String>,
    },
    /// An admin makes a code that releases a device from its realm.
    CreateReleaseCode {
        /// The device.
        serial: SerialNumber,
        /// What its bearer will show is known by this.
        hash: SecretHash,
        /// For how long it is good.
        validity: Duration,
    },
    /// An admin takes a device into a realm by a code.
    ClaimDevice {
        /// The device.
        serial: SerialNumber,
        /// What the admin shows is known by this.
        hash: SecretHash,
        /// The realm.
        realm: RealmRef,
    },
    /// An admin makes a token.
    CreateAdminToken {
        /// What it is to allow.
        new: NewAdminToken,
        /// What its bearer will show is known by this.
        hash: SecretHash,
    },
    /// An admin revokes a token.
    RevokeAdminToken(AdminTokenId),
    /// An admin makes a Web app.
    CreateWebApp {
        /// What it is to be.
        new: NewWebApp,
        /// What it is known by.
        client_id: ClientId,
        /// Its secret is known by this.
        secret: SecretHash,
    },
    /// An admin gives a Web app another name.
    RenameWebApp {
        /// The Web app.
        app: WebAppId,
        /// The new name.
        name: Text,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin gives a Web app a new secret.
    RotateWebApp {
        /// The Web app.
        app: WebAppId,
        /// The new secret is known by this.
        secret: SecretHash,
        /// For how long the old one is valid.
        grace: Duration,
    },
    /// An admin deletes a Web app.
    DeleteWebApp {
        /// The Web app.
        app: WebAppId,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin brings a Web app back.
    UndeleteWebApp(WebAppId),
    /// An admin asks why something is as it is.
    Explain(Explained),
    /// An admin has a device told to sync.
    RequestSync {
        /// The device.
        serial: SerialNumber,
        /// Why.
        why: Text,
    },
    /// An admin asks a device for debug lines.
    SetDeviceDebug {
        /// The device.
        serial: SerialNumber,
        /// Which, and for how long.
        wish: DebugWish,
    },
}

impl From<Action> for Command {
    fn from(action: Action) -> Self {
        Self { action, options: Options::default() }
    }
}
