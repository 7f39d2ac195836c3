//! What callers ask of the register.

use muster_proto::device::{Deletion, DeviceInfo, Registration, Sync};
use muster_proto::{SerialNumber, VdomName, digest};

use super::Device;

/// One thing that a caller asks of the register. Each is about exactly one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
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
        /// Only say what would happen.
        validate_only: bool,
    },
    /// An admin deletes a device.
    DeleteDevice {
        /// The device.
        serial: SerialNumber,
        /// Only if this is its generation.
        generation: Option<i64>,
        /// Only say what would happen.
        validate_only: bool,
    },
}

impl Command {
    /// The device that the command is about.
    #[must_use]
    pub fn serial(&self) -> SerialNumber {
        match self {
            Self::Register(registration) => registration.serial,
            Self::Sync(sync) => sync.serial,
            Self::Delete(deletion) => deletion.serial,
            Self::DeleteAuthClient { serial, .. } | Self::DeleteDevice { serial, .. } => *serial,
        }
    }

    /// Whether the caller only wants to know what would happen.
    #[must_use]
    pub fn validate_only(&self) -> bool {
        match self {
            Self::Register(registration) => registration.validate_only,
            Self::Sync(sync) => sync.validate_only,
            Self::Delete(deletion) => deletion.validate_only,
            Self::DeleteAuthClient { validate_only, .. } | Self::DeleteDevice { validate_only, .. } => *validate_only,
        }
    }

    /// Whether it is the device that calls, itself or through a relay.
    #[must_use]
    pub fn is_from_device(&self) -> bool {
        matches!(self, Self::Register(_) | Self::Sync(_) | Self::Delete(_))
    }

    /// Whether the VDOMs of the device must be loaded to decide. A report that agrees with the digest of an active device changes
    /// nothing, and can be answered from the device alone.
    #[must_use]
    pub fn needs_vdoms(&self, device: &Device) -> bool {
        match self {
            Self::Register(registration) => !agrees(device, &registration.info, &registration.vdoms),
            Self::Sync(sync) => match &sync.full_list {
                Some(list) => !is_digest_of(device, sync.digest) && !agrees(device, &sync.info, list),
                None => false,
            },
            Self::Delete(_) | Self::DeleteAuthClient { .. } | Self::DeleteDevice { .. } => true,
        }
    }
}

/// Whether this is the digest of an active device.
pub(super) fn is_digest_of(device: &Device, digest: Option<[u8; 32]>) -> bool {
    device.deleted_at.is_none() && digest == Some(device.digest)
}

/// Whether a report of these VDOMs, "root" added, is what the register holds of the device. A report with a pseudo-VDOM never agrees,
/// because the digest does not cover it.
pub(super) fn agrees(device: &Device, info: &DeviceInfo, vdoms: &[VdomName]) -> bool {
    device.deleted_at.is_none()
        && !vdoms.iter().any(VdomName::is_pseudo)
        && digest(merged(&device.info, info), vdoms.iter().copied().chain([VdomName::ROOT])) == device.digest
}

/// What the register holds of a device after it said `info`: an empty text leaves what is there.
fn merged<'a>(held: &'a DeviceInfo, info: &'a DeviceInfo) -> [&'a str; 3] {
    let (held, info) = (held.texts(), info.texts());
    [0, 1, 2].map(|index| if info[index].is_empty() { held[index] } else { info[index] })
}
