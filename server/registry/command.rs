//! What callers ask of the register.

use muster_proto::device::{Deletion, DeviceInfo, Registration, Sync};
use muster_proto::realms::{NewRealm, RealmChange};
use muster_proto::settings::SettingsChange;
use muster_proto::{SerialNumber, Text, VdomName, digest};

use super::{Device, NamedClient, NamedUser, Needs, RealmId};

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
    /// An admin deletes an auth client.
    DeleteAuthClient {
        /// The device.
        serial: SerialNumber,
        /// The VDOM.
        vdom: VdomName,
        /// Only if this is its etag.
        etag: Option<String>,
    },
    /// An admin deletes a device.
    DeleteDevice {
        /// The device.
        serial: SerialNumber,
        /// Only if this is its generation.
        generation: Option<i64>,
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
    DeleteUser {
        /// The user.
        user: NamedUser,
        /// The auth clients that referred to it when it was looked up.
        clients: Vec<NamedClient>,
    },
}

impl From<Action> for Command {
    fn from(action: Action) -> Self {
        Self { action, options: Options::default() }
    }
}

impl Action {
    /// The device that this is about, if it is about one.
    #[must_use]
    pub fn serial(&self) -> Option<SerialNumber> {
        match self {
            Self::Register(registration) => Some(registration.serial),
            Self::Sync(sync) => Some(sync.serial),
            Self::Delete(deletion) => Some(deletion.serial),
            Self::DeleteAuthClient { serial, .. } | Self::DeleteDevice { serial, .. } => Some(*serial),
            Self::CreateRealm(_)
            | Self::UpdateRealm { .. }
            | Self::DeleteRealm { .. }
            | Self::UndeleteRealm { .. }
            | Self::UpdateSettings { .. }
            | Self::MoveAuthClients { .. }
            | Self::UpdateAuthClient { .. }
            | Self::SetUserDisabled { .. }
            | Self::DeleteUser { .. } => None,
        }
    }

    /// Whether it is the device that calls, itself or through a relay.
    #[must_use]
    pub fn is_from_device(&self) -> bool {
        matches!(self, Self::Register(_) | Self::Sync(_) | Self::Delete(_))
    }

    /// What will certainly be looked up, so that a batch loads it at once. What is missing here is loaded one command at a time.
    pub fn foresee(&self, needs: &mut Needs) {
        needs.devices.extend(self.serial());
        if self.is_from_device() {
            // Where its auth clients are counted, most of the time.
            needs.realms.insert(RealmId::DEFAULT);
        }
        match self {
            Self::MoveAuthClients { clients, realm } => {
                needs.owners.extend(clients.iter().map(|client| client.owner));
                needs.client_users.extend(clients.iter().map(|client| client.id));
                needs.realms.insert(*realm);
            }
            Self::SetUserDisabled { user, .. } => {
                needs.users.insert((user.realm, user.key.clone()));
            }
            Self::DeleteUser { user, clients } => {
                needs.owners.extend(clients.iter().map(|client| client.owner));
                needs.user_refs.extend(clients.iter().map(|client| (client.id, user.key.clone())));
                needs.users.insert((user.realm, user.key.clone()));
            }
            _ => {}
        }
    }

    /// The auth clients that will be looked up, once the device is known. A report that agrees with the digest of an active device changes
    /// nothing, and is answered from the device alone.
    pub fn foresee_of(&self, device: &Device, needs: &mut Needs) {
        let reads_vdoms = match self {
            Self::Register(registration) => !agrees(device, &registration.info, &registration.vdoms),
            Self::Sync(sync) => match &sync.full_list {
                Some(list) => !is_digest_of(device, sync.digest) && !agrees(device, &sync.info, list),
                None => false,
            },
            // Every other one that is about a device.
            _ => true,
        };
        if reads_vdoms {
            needs.owners.insert(device.owner());
        }
    }
}

/// Whether this is the digest of an active device.
pub(super) fn is_digest_of(device: &Device, digest: Option<[u8; 32]>) -> bool {
    device.is_active() && digest == Some(device.digest)
}

/// Whether a report of these VDOMs, "root" added, is what the register holds of the device. A report with a pseudo-VDOM never agrees,
/// because the digest does not cover it.
pub(super) fn agrees(device: &Device, info: &DeviceInfo, vdoms: &[VdomName]) -> bool {
    device.is_active()
        && !vdoms.iter().any(VdomName::is_pseudo)
        && digest(merged(&device.info, info), vdoms.iter().copied().chain([VdomName::ROOT])) == device.digest
}

/// What the register holds of a device after it said `info`: an empty text leaves what is there.
fn merged<'a>(held: &'a DeviceInfo, info: &'a DeviceInfo) -> [&'a str; 3] {
    let (held, info) = (held.texts(), info.texts());
    [0, 1, 2].map(|index| if info[index].is_empty() { held[index] } else { info[index] })
}
