//! What callers ask of the register.

use muster_proto::device::{Deletion, DeviceInfo, Registration, Sync};
use muster_proto::{SerialNumber, VdomName, digest};

use super::{Device, HeldId, Needs, OwnerId, RealmId, Verdict};

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
    /// The time of removals that are held has passed.
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
    /// An admin deletes a device.
    DeleteDevice {
        /// The device.
        serial: SerialNumber,
        /// Only if this is its generation.
        generation: Option<i64>,
        /// What it means, and why.
        verdict: Verdict,
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
            Self::DecideHeld { serial, .. } | Self::ExpireHeld { serial, .. } | Self::Purge { serial, .. } => *serial,
            Self::Contact(serial)
            | Self::UndeleteAuthClient { serial, .. }
            | Self::UndeleteDevice { serial }
            | Self::PurgeDevice { serial }
            | Self::DeleteAuthClient { serial, .. }
            | Self::DeleteDevice { serial, .. } => Some(*serial),
        }
    }

    /// Whether it is the device that calls, itself or through a relay.
    #[must_use]
    pub fn is_from_device(&self) -> bool {
        matches!(self, Self::Register(_) | Self::Sync(_) | Self::Delete(_) | Self::Contact(_))
    }

    /// What will certainly be looked up, so that a batch loads it at once. What is missing here is loaded one command at a time.
    pub fn foresee(&self, needs: &mut Needs) {
        needs.devices.extend(self.serial());
        if self.is_from_device() {
            // Where its auth clients are counted, most of the time.
            needs.realms.insert(RealmId::DEFAULT);
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
            Self::Contact(_) | Self::ExpireHeld { .. } => false,
            Self::Delete(_)
            | Self::DecideHeld { .. }
            | Self::UndeleteAuthClient { .. }
            | Self::PurgeDevice { .. }
            | Self::Purge { .. }
            | Self::UndeleteDevice { .. }
            | Self::DeleteAuthClient { .. }
            | Self::DeleteDevice { .. } => true,
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
