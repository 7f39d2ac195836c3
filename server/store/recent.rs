//! What the writing connection remembers of what it committed: it is the only one that writes, so what it remembers is true.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use lru::LruCache;
use muster_proto::SerialNumber;

use crate::registry::Device;

/// How many devices are remembered as a whole, about 300 bytes each.
const DEVICES: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Devices as they are in the database.
#[derive(Debug)]
pub(super) struct Recent {
    /// Every serial number that was ever registered: a new device needs no look-up to be known as new.
    known: HashSet<SerialNumber>,
    devices: LruCache<SerialNumber, Device>,
}

/// What is remembered of a device.
pub(super) enum Memory {
    /// It was never registered.
    New,
    /// It is in the database, and must be read.
    Faded,
    /// It is in the database, as it is here.
    Fresh(Device),
}

impl Recent {
    /// Remembers these serial numbers, and nothing else yet.
    pub(super) fn new(known: HashSet<SerialNumber>) -> Self {
        Self { known, devices: LruCache::new(DEVICES) }
    }

    /// What is remembered of a device.
    pub(super) fn recall(&mut self, serial: &SerialNumber) -> Memory {
        match self.devices.get(serial) {
            Some(device) => Memory::Fresh(device.clone()),
            None if self.known.contains(serial) => Memory::Faded,
            None => Memory::New,
        }
    }

    /// Notes what was read, or committed.
    pub(super) fn note(&mut self, device: &Device) {
        self.known.insert(device.serial);
        self.devices.put(device.serial, device.clone());
    }

    /// Forgets what devices are like: it is not certain what a failed commit left behind. New serial numbers may be in the database too.
    pub(super) fn doubt<'d>(&mut self, devices: impl Iterator<Item = &'d Device>) {
        self.devices.clear();
        self.known.extend(devices.map(|device| device.serial));
    }
}
