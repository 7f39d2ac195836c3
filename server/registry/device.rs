//! A box that reports in, and the cluster it may be a member of.

use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, Text, Timestamp};

use super::{ClusterId, DeleteMode, DeviceId, OwnerId, RealmId, Tombstone};

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
    /// How it was deleted; `None` while it is active.
    pub deleted: Option<Box<Tombstone>>,
    /// When it last called.
    pub last_seen_at: Timestamp,
    /// How often it called since it was deleted.
    pub contacts: i64,
    /// The cluster it is a member of.
    pub cluster: Option<ClusterId>,
    /// The realm that its new auth clients go to, where an admission decided that.
    pub realm: Option<RealmId>,
    /// The hash of the public key that it proved itself with; `None` while only relays have spoken for it.
    pub key_hash: Option<[u8; 32]>,
    /// Whether boxes with other keys claim its serial number, and no admin has decided yet.
    pub disputed: bool,
}

impl Device {
    /// Whether it is in use.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deleted.is_none()
    }

    /// Whether an admin has banned it.
    #[must_use]
    pub fn is_banned(&self) -> bool {
        self.deleted.as_deref().is_some_and(|tombstone| tombstone.mode == DeleteMode::Ban)
    }

    /// Whose auth clients it works with: those of its cluster, or its own.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.cluster.map_or(OwnerId(self.id.0), |cluster| OwnerId(cluster.0))
    }
}

/// The role of a member of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MemberRole {
    /// It speaks for the cluster.
    Primary = 1,
    /// It takes over when the primary fails.
    Secondary = 2,
}

/// Boxes that behave as one auth client for each VDOM (domain sheet, section 1.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its id; auth clients of the cluster have it as their owner.
    pub id: ClusterId,
    /// The name that people gave it: the HA group name, or the serial number of its first primary.
    pub name: Text,
    /// Begins with 1 and grows by one each time that another member becomes the primary; fences out the primary before.
    pub epoch: i64,
    /// The member that speaks for the cluster; the last one that did, if the cluster is deleted.
    pub primary: SerialNumber,
    /// Its members in the order of their serial numbers, the primary among them.
    pub members: Vec<SerialNumber>,
    /// The devices that the primary lists and that are no members yet: each joins when it says so itself.
    pub listed: Vec<SerialNumber>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its last member left; `None` while it is in use.
    pub deleted_at: Option<Timestamp>,
}

impl Cluster {
    /// Whether it is in use.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// What changes with every change of this cluster.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }

    /// The role of a member.
    #[must_use]
    pub fn role(&self, serial: SerialNumber) -> MemberRole {
        if serial == self.primary { MemberRole::Primary } else { MemberRole::Secondary }
    }
}

impl MemberRole {
    /// The role in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}
