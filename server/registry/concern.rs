//! Whom an action concerns: its device, its user, and whether the device itself calls.

use muster_proto::device_users::{ClientTarget, UserAddition, UserDeletion, UserUpdate};
use muster_proto::{SerialNumber, Username};

use super::Action;

impl Action {
    /// The device that this is about, if it is about one.
    #[must_use]
    pub fn serial(&self) -> Option<SerialNumber> {
        match self {
            Self::Register(registration) => Some(registration.serial),
            Self::Sync(sync) => Some(sync.serial),
            Self::Delete(deletion) => Some(deletion.serial),
            Self::BeginUserSync(target) | Self::UsersInSync(target, _) => target.serial(),
            Self::AddUser(_) | Self::UpdateUser(_) | Self::DeleteUser(_) => {
                self.user().map(|(target, _)| target.serial)
            }
            Self::Hello(hello) => Some(hello.serial),
            Self::Explain(subject) => subject.serial(),
            Self::Contact(serial)
            | Self::RequestSync { serial, .. }
            | Self::SetDeviceDebug { serial, .. }
            | Self::DeleteAuthClient { serial, .. }
            | Self::DeleteDevice { serial, .. }
            | Self::UndeleteAuthClient { serial, .. }
            | Self::UndeleteDevice { serial }
            | Self::CreateReleaseCode { serial, .. }
            | Self::ClaimDevice { serial, .. }
            | Self::PurgeDevice { serial }
            | Self::AddMember { serial, .. }
            | Self::RemoveMember { serial, .. }
            | Self::SetPrimary { serial, .. }
            | Self::ApproveLobby { serial, .. }
            | Self::RejectLobby { serial, .. }
            | Self::ResolveClone { serial, .. } => Some(*serial),
            Self::CreateCluster { primary, .. } => Some(*primary),
            Self::ReplaceDevice { old, .. } => Some(*old),
            Self::CreateAdminToken { .. }
            | Self::CreateWebApp { .. }
            | Self::RenameWebApp { .. }
            | Self::RotateWebApp { .. }
            | Self::DeleteWebApp { .. }
            | Self::UndeleteWebApp(_)
            | Self::RevokeAdminToken(_)
            | Self::UpdateAdmission { .. }
            | Self::ImportLicenses(_)
            | Self::ReleaseLicense(_)
            | Self::DeleteLicense(_)
            | Self::RenameCluster { .. }
            | Self::DeleteCluster { .. }
            | Self::CreateRealm(_)
            | Self::UpdateRealm { .. }
            | Self::DeleteRealm { .. }
            | Self::UndeleteRealm { .. }
            | Self::UpdateSettings { .. }
            | Self::MoveAuthClients { .. }
            | Self::UpdateAuthClient { .. }
            | Self::SetUserDisabled { .. }
            | Self::DeletePerson { .. } => None,
            Self::DecideHeld { serial, .. } | Self::ExpireHeld { serial, .. } | Self::Purge { serial, .. } => *serial,
        }
    }

    /// Whether it is the device that calls, itself or through a relay.
    #[must_use]
    pub fn is_from_device(&self) -> bool {
        match self {
            Self::Register(_) | Self::Sync(_) | Self::Delete(_) | Self::Contact(_) | Self::Hello(_) => true,
            Self::BeginUserSync(target) | Self::UsersInSync(target, _) => target.serial().is_some(),
            _ => self.user().is_some(),
        }
    }

    /// The one user of a VDOM that this is about, and where, if it is about one.
    pub(super) fn user(&self) -> Option<(ClientTarget, &Username)> {
        let (target, username) = match self {
            Self::AddUser(UserAddition { target, user }) => (target, &user.username),
            Self::UpdateUser(UserUpdate { target, username, .. })
            | Self::DeleteUser(UserDeletion { target, username }) => (target, username),
            _ => return None,
        };
        target.forti_product().map(|target| (target, username))
    }
}
