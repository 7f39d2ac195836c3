//! What the register holds of one device: the device, and its auth clients.

use std::collections::BTreeMap;

use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, Timestamp, VdomName, digest};

/// The id of a device; never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub i64);

/// The id of an auth client; never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthClientId(pub i64);

/// The id of a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealmId(pub i64);

impl RealmId {
    /// The realm that always exists (domain sheet, section 1.9).
    pub const DEFAULT: Self = Self(1);
}

/// One box that reports in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its serial number.
    pub serial: SerialNumber,
    /// What it last said of itself.
    pub info: DeviceInfo,
    /// Grows by one with every operation that changes the device or its VDOMs.
    pub generation: i64,
    /// The digest over its info and its active VDOMs.
    pub digest: [u8; 32],
    /// When it was first registered.
    pub created_at: Timestamp,
    /// When it, or one of its VDOMs, last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; `None` while it is active.
    pub deleted_at: Option<Timestamp>,
    /// When it last called.
    pub last_seen_at: Timestamp,
}

/// One VDOM of one device: what users hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthClient {
    /// Its id.
    pub id: AuthClientId,
    /// Its device.
    pub device: DeviceId,
    /// The VDOM.
    pub vdom: VdomName,
    /// The realm it is in.
    pub realm: RealmId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted; `None` while it is active.
    pub deleted_at: Option<Timestamp>,
}

impl AuthClient {
    /// What changes with every change of this auth client.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }

    /// Notes a change. The time always moves on, even if the clock does not: no two states share an etag.
    pub(super) fn changed(&mut self, now: Timestamp) {
        self.updated_at = now.max(Timestamp::from_micros(self.updated_at.micros().saturating_add(1)));
    }

    /// Whether it is in use.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deleted_at.is_none()
    }
}

/// Something of the database, and whether it must be written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<T> {
    value: T,
    dirty: bool,
}

impl<T> Kept<T> {
    /// As it was loaded.
    pub fn loaded(value: T) -> Self {
        Self { value, dirty: false }
    }

    /// Not in the database yet.
    pub fn new(value: T) -> Self {
        Self { value, dirty: true }
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The value, to be changed; it is written back from now on.
    pub fn change(&mut self) -> &mut T {
        self.dirty = true;
        &mut self.value
    }

    /// The value if it must be written back.
    pub fn dirty(&self) -> Option<&T> {
        self.dirty.then_some(&self.value)
    }
}

/// What the register holds of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// The device.
    pub device: Kept<Device>,
    /// Its auth clients by VDOM, deleted ones too.
    pub auth_clients: BTreeMap<VdomName, Kept<AuthClient>>,
}

impl Aggregate {
    /// The VDOMs in use, by name, pseudo-VDOMs too.
    pub fn active_vdoms(&self) -> impl Iterator<Item = VdomName> {
        self.auth_clients.values().map(Kept::get).filter(|client| client.is_active()).map(|client| client.vdom)
    }

    /// Closes an operation that changed something: next generation, new digest.
    pub(super) fn seal(&mut self, now: Timestamp) {
        let digest = digest(self.device.get().info.texts(), self.active_vdoms());
        let device = self.device.change();
        device.generation += 1;
        device.digest = digest;
        device.updated_at = now;
    }
}
