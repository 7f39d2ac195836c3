//! What commands will look up, so that a batch loads it at once. What is not foreseen here is loaded one command at a time.

use muster_proto::device::DeviceInfo;
use muster_proto::device_users::ClientTarget;
use muster_proto::{VdomName, digest};

use super::{Action, Device, Needs, RealmId, State};

impl Action {
    /// The user that will be looked up, once its auth client is known.
    pub fn foresee_user(&self, state: &State, needs: &mut Needs) {
        let Some((ClientTarget { serial, vdom, .. }, username)) = self.user() else { return };
        let Some(owner) = state.devices.get(&serial).map(Device::owner) else { return };
        let Some(client) = state.auth_clients.get(&(owner, vdom)) else { return };
        let key = username.key(state.settings().fold_usernames);
        needs.realms.insert(client.realm);
        needs.users.insert((client.realm, key.clone()));
        needs.user_refs.insert((client.id, key));
    }

    /// What will certainly be looked up, so that a batch loads it at once. What is missing here is loaded one command at a time.
    pub fn foresee(&self, needs: &mut Needs) {
        needs.devices.extend(self.serial());
        needs.lobby.extend(self.serial());
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
            Self::DeletePerson { user, clients } => {
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
            Self::Register(registration) => {
                registration.ha.is_some()
                    || registration.license.is_some()
                    || !agrees(device, &registration.info, &registration.vdoms)
            }
            Self::Sync(sync) => match &sync.full_list {
                Some(list) => !is_digest_of(device, sync.digest) && !agrees(device, &sync.info, list),
                None => false,
            },
            Self::Hello(hello) => !is_digest_of(device, hello.digest),
            Self::Delete(_)
            | Self::DecideHeld { .. }
            | Self::DeleteAuthClient { .. }
            | Self::DeleteDevice { .. }
            | Self::UndeleteAuthClient { .. }
            | Self::UndeleteDevice { .. }
            | Self::CreateReleaseCode { .. }
            | Self::ClaimDevice { .. }
            | Self::PurgeDevice { .. }
            | Self::Purge { .. }
            | Self::CreateCluster { .. }
            | Self::ReplaceDevice { .. }
            | Self::AddMember { .. }
            | Self::RemoveMember { .. }
            | Self::BeginUserSync(_)
            | Self::UsersInSync(..)
            | Self::AddUser(_)
            | Self::UpdateUser(_)
            | Self::DeleteUser(_) => true,
            // What these look up besides is loaded when they do.
            _ => false,
        };
        if reads_vdoms {
            needs.owners.insert(device.owner());
        }
        needs.held.insert(device.owner());
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
