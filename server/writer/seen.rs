//! When devices last called, as long as that is not written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_proto::Timestamp;

use crate::registry::DeviceId;
use crate::store::Seen;

/// What was seen of devices. Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings(Arc<Mutex<HashMap<DeviceId, Seen>>>);

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes devices that called, and whether each was refused because it is deleted.
    pub(super) fn note(&self, devices: impl IntoIterator<Item = (DeviceId, bool)>, now: Timestamp) {
        let mut all = self.lock();
        for (device, refused) in devices {
            let seen = all.entry(device).or_insert(Seen { at: now, refused: 0 });
            seen.at = seen.at.max(now);
            seen.refused += i64::from(refused);
        }
    }

    /// Takes out at most so many, to be written.
    pub(super) fn take(&self, most: usize) -> Vec<(DeviceId, Seen)> {
        self.lock().extract_if(|_, _| true).take(most).collect()
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&self, taken: Vec<(DeviceId, Seen)>) {
        let mut all = self.lock();
        for (device, before) in taken {
            let seen = all.entry(device).or_insert(Seen { at: before.at, refused: 0 });
            seen.at = seen.at.max(before.at);
            seen.refused += before.refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_is_added_to_what_was_seen_meanwhile() {
        let (sightings, device) = (Sightings::default(), DeviceId(1));
        let at = Timestamp::from_micros;
        sightings.note([(device, true)], at(1));
        let taken = sightings.take(10);
        sightings.note([(device, true), (DeviceId(2), false)], at(2));
        sightings.put_back(taken);
        let mut left = sightings.take(10);
        left.sort_by_key(|(device, _)| device.0);
        assert_eq!(left, [(device, Seen { at: at(2), refused: 2 }), (DeviceId(2), Seen { at: at(2), refused: 0 })]);
    }

    #[test]
    fn no_more_is_taken_than_was_asked_for_and_the_rest_stays() {
        let sightings = Sightings::default();
        sightings.note((1..=5).map(|id| (DeviceId(id), false)), Timestamp::from_micros(1));
        let mut all = sightings.take(3);
        assert_eq!(all.len(), 3);
        all.extend(sightings.take(3));
        all.sort_by_key(|(device, _)| device.0);
        assert_eq!(all.iter().map(|(device, _)| device.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
