//! What the writing connection remembers of what it committed: it is the only one that writes, so what it remembers is true.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use muster_proto::SerialNumber;

use super::super::Recalling;
use crate::registry::{Admission, Device, OwnerId, Realm, RealmId, Settings, State};

/// How many devices are remembered as a whole, about 300 bytes each.
const DEVICES: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// How many realms are.
const REALMS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// What is in the database.
#[derive(Debug)]
pub(super) struct Recent {
    /// Every serial number that was ever registered: a new device needs no look-up to be known as new.
    known: HashSet<SerialNumber>,
    devices: LruCache<SerialNumber, Device>,
    realms: LruCache<RealmId, Realm>,
    settings: Option<Settings>,
    admission: Option<Admission>,
    /// The serial numbers of all that ever waited in the lobby.
    lobby: HashSet<SerialNumber>,
    /// The owners of whom removals are held; `None` if that must be read.
    held: Option<HashSet<OwnerId>>,
}

/// What is remembered of a device.
pub(super) enum Memory<'a> {
    /// It was never registered.
    New,
    /// It is in the database, and must be read.
    Faded,
    /// It is in the database, as it is here.
    Fresh(&'a Device),
}

impl Recent {
    /// Remembers these serial numbers, and nothing else yet.
    pub(super) fn new(known: HashSet<SerialNumber>, lobby: HashSet<SerialNumber>) -> Self {
        Self {
            known,
            devices: LruCache::new(DEVICES),
            realms: LruCache::new(REALMS),
            settings: None,
            admission: None,
            lobby,
            held: None,
        }
    }

    /// What is remembered of a device.
    pub(super) fn recall(&mut self, serial: &SerialNumber) -> Memory<'_> {
        match self.devices.get(serial) {
            Some(device) => Memory::Fresh(device),
            None if self.known.contains(serial) => Memory::Faded,
            None => Memory::New,
        }
    }

    /// A realm, if it is remembered.
    pub(super) fn realm(&mut self, id: RealmId) -> Option<Realm> {
        self.realms.get(&id).cloned()
    }

    /// The settings, if they are remembered.
    pub(super) fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref()
    }

    /// The owners of whom removals are held, if they are remembered.
    pub(super) fn held(&self) -> Option<&HashSet<OwnerId>> {
        self.held.as_ref()
    }

    /// Notes the owners of whom removals are held.
    pub(super) fn note_held(&mut self, owners: HashSet<OwnerId>) {
        self.held = Some(owners);
    }

    /// The admission rules, if they are remembered.
    pub(super) fn admission(&self) -> Option<&Admission> {
        self.admission.as_ref()
    }

    /// Notes the admission rules, as read or committed.
    pub(super) fn note_admission(&mut self, admission: &Admission) {
        self.admission = Some(admission.clone());
    }

    /// Whether a device may ever have waited in the lobby.
    pub(super) fn waited(&self, serial: &SerialNumber) -> bool {
        self.lobby.contains(serial)
    }

    /// Whether anybody ever did.
    pub(super) fn anybody_waited(&self) -> bool {
        !self.lobby.is_empty()
    }

    /// Notes a device that was read, or committed.
    pub(super) fn note(&mut self, device: &Device) {
        self.known.insert(device.serial);
        self.devices.put(device.serial, device.clone());
    }

    /// Notes a realm that was read, or committed.
    pub(super) fn note_realm(&mut self, realm: &Realm) {
        self.realms.put(realm.id, realm.clone());
    }

    /// Notes the settings, as read or committed.
    pub(super) fn note_settings(&mut self, settings: &Settings) {
        self.settings = Some(settings.clone());
    }

    /// Notes what was committed.
    pub(super) fn note_all(&mut self, state: &State) {
        // A device that was purged is as new when it returns.
        for device in state.devices.removed() {
            self.known.remove(&device.serial);
            self.devices.pop(&device.serial);
        }
        state.devices.changed().for_each(|device| self.note(device));
        state.realms.changed().for_each(|realm| self.note_realm(realm));
        state.settings.changed().for_each(|settings| self.note_settings(settings));
        state.admission.changed().for_each(|admission| self.note_admission(admission));
        self.lobby.extend(state.lobby.changed().map(|entry| entry.serial));
        if let Some(owners) = &mut self.held {
            // One of whom nothing is held any more costs a query, and no more.
            owners.extend(state.held.changed().filter(|held| held.state.stands()).map(|held| held.on.owner()));
        }
    }

    /// Forgets what was changed and then deliberately not kept: it may have been read again meanwhile. Everything else is as it was.
    pub(super) fn forget_changed(&mut self, state: &State) {
        for device in state.devices.changed().chain(state.devices.removed()) {
            self.devices.pop(&device.serial);
        }
        state.realms.changed().for_each(|realm| drop(self.realms.pop(&realm.id)));
        if state.settings.changed().next().is_some() {
            self.settings = None;
        }
        if state.admission.changed().next().is_some() {
            self.admission = None;
        }
        if state.held.changed().next().is_some() {
            self.held = None;
        }
    }

    /// Forgets what things are like: it is not certain what a failed commit left behind. New serial numbers may be in the database too.
    pub(super) fn doubt(&mut self, state: &State) {
        self.devices.clear();
        self.realms.clear();
        self.settings = None;
        self.admission = None;
        self.lobby.extend(state.lobby.changed().map(|entry| entry.serial));
        self.held = None;
        // One that was purged, or was to be, is looked for once more.
        self.known.extend(state.devices.changed().map(|device| device.serial));
    }
}

impl Recalling for Mutex<Recent> {
    fn recall(&self, serial: SerialNumber) -> Option<State> {
        let mut recent = self.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory::Fresh(device) = recent.recall(&serial) else { return None };
        let device = device.clone();
        let owner = device.owner();
        let (settings, held) = (recent.settings.as_ref()?, recent.held.as_ref()?);
        if held.contains(&owner) {
            return None;
        }
        let mut state = State::default();
        state.settings.load((), Some(settings.clone()));
        state.devices.load(serial, Some(device));
        state.whole.held.insert(owner);
        Some(state)
    }
}
