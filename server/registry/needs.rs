//! What is missing to decide: a look-up that finds nothing loaded says so, instead of guessing.

use std::collections::BTreeSet;

use muster_proto::license::LicenseNumber;
use muster_proto::{RealmName, SerialNumber, UserKey};

use super::{AuthClientId, ClusterId, DeviceId, HeldId, OwnerId, RealmId, Refusal};

/// Keys to be loaded. In their order, so that servers that share a database lock rows in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Devices.
    pub devices: BTreeSet<SerialNumber>,
    /// Owners with all of their auth clients, deleted ones too.
    pub owners: BTreeSet<OwnerId>,
    /// Clusters with their member devices.
    pub clusters: BTreeSet<ClusterId>,
    /// Realms, by id.
    pub realms: BTreeSet<RealmId>,
    /// Realms, by name.
    pub realm_names: BTreeSet<RealmName>,
    /// Users.
    pub users: BTreeSet<(RealmId, UserKey)>,
    /// User references.
    pub user_refs: BTreeSet<(AuthClientId, UserKey)>,
    /// Auth clients with all of their references, deleted ones too, and the users behind them.
    pub client_users: BTreeSet<AuthClientId>,
    /// Entries of the lobby.
    pub lobby: BTreeSet<SerialNumber>,
    /// All admin tokens: there are few.
    pub admin_tokens: bool,
    /// All Web apps with their auth clients: there are few.
    pub web_apps: bool,
    /// Owners with all removals that are held of their lists and still stand.
    pub held: BTreeSet<OwnerId>,
    /// Held removals, by id.
    pub held_ids: BTreeSet<HeldId>,
    /// Every realm with a quota of its own.
    pub quota_realms: bool,
    /// Licences.
    pub licenses: BTreeSet<LicenseNumber>,
    /// Devices with all licences that they have.
    pub licenses_of: BTreeSet<SerialNumber>,
    /// Devices with all keys that claim their serial numbers.
    pub device_keys: BTreeSet<SerialNumber>,
    /// Devices whose release codes are asked for.
    pub release_codes: BTreeSet<DeviceId>,
    /// Devices whose last call is asked for.
    pub last_seen: BTreeSet<SerialNumber>,
}

impl Needs {
    /// Whether nothing is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a command could not be worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The rules do not allow it.
    Refused(Refusal),
    /// Something was not loaded.
    Missing(Box<Needs>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Needs> for Stop {
    fn from(needs: Needs) -> Self {
        Self::Missing(Box::new(needs))
    }
}
