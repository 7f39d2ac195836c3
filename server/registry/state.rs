//! What is known of the register while a batch is worked through, and what is missing to decide.
//!
//! The rules look things up here and nowhere else. A look-up of what was never loaded ends the command in [`Stop::Missing`]; what it did so far
//! is taken back, what it needs is loaded, and it is planned again. So a rule need not say beforehand what it will read.

use std::ops::Bound;

use muster_proto::license::LicenseNumber;
use muster_proto::{RealmName, SerialNumber, Timestamp, UserKey, VdomName, digest};

use super::table::Table;
use super::{
    AdminToken, AdminTokenId, Admission, AuthClient, AuthClientId, Cluster, ClusterId, Device, DeviceId, DeviceKey,
    Held, HeldId, HeldOn, License, LobbyEntry, Needs, OwnerId, Realm, RealmId, ReleaseCode, Settings, Stop, User,
    UserRef, WebApp, WebAppId,
};

/// What the rules know of the register.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The settings.
    pub settings: Table<(), Settings>,
    /// Devices.
    pub devices: Table<SerialNumber, Device>,
    /// Clusters.
    pub clusters: Table<ClusterId, Cluster>,
    /// Auth clients.
    pub auth_clients: Table<(OwnerId, VdomName), AuthClient>,
    /// Realms.
    pub realms: Table<RealmId, Realm>,
    /// Users.
    pub users: Table<(RealmId, UserKey), User>,
    /// User references.
    pub user_refs: Table<(AuthClientId, UserKey), UserRef>,
    /// The admission rules.
    pub admission: Table<(), Admission>,
    /// The lobby.
    pub lobby: Table<SerialNumber, LobbyEntry>,
    /// Admin tokens.
    pub admin_tokens: Table<AdminTokenId, AdminToken>,
    /// Web apps.
    pub web_apps: Table<WebAppId, WebApp>,
    /// Held removals.
    pub held: Table<HeldId, Held>,
    /// Licences.
    pub licenses: Table<LicenseNumber, License>,
    /// Release codes.
    pub release_codes: Table<DeviceId, ReleaseCode>,
    /// The keys that claim disputed serial numbers.
    pub device_keys: Table<(SerialNumber, [u8; 32]), DeviceKey>,
    /// When devices last called, as the database has it. Never written from here.
    pub last_seen: Table<SerialNumber, Timestamp>,
    /// What is known as a whole: nothing of it is missing from the tables above.
    pub whole: Needs,
}

/// Does the same to every table: each is of another type.
macro_rules! each_table {
    ($state:expr, $call:ident) => {{
        $state.settings.$call();
        $state.devices.$call();
        $state.device_keys.$call();
        $state.licenses.$call();
        $state.release_codes.$call();
        $state.clusters.$call();
        $state.auth_clients.$call();
        $state.realms.$call();
        $state.users.$call();
        $state.user_refs.$call();
        $state.admin_tokens.$call();
        $state.web_apps.$call();
        $state.admission.$call();
        $state.lobby.$call();
        $state.held.$call();
    }};
}

impl State {
    /// Keeps what the command at hand did.
    pub(super) fn keep(&mut self) {
        each_table!(self, keep);
    }

    /// Takes back what the command at hand did.
    pub(super) fn take_back(&mut self) {
        each_table!(self, take_back);
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        // The store always loads them; a register without them has those of a new one.
        self.settings.get(&()).unwrap_or(&Settings::NEW)
    }

    /// A device, if it was ever registered.
    pub fn device(&self, serial: SerialNumber) -> Result<Option<&Device>, Stop> {
        if self.devices.knows(&serial) {
            return Ok(self.devices.get(&serial));
        }
        Err(Needs { devices: [serial].into(), ..Needs::default() }.into())
    }

    /// Whose auth clients a device works with, if it was ever registered.
    pub fn owner(&self, serial: SerialNumber) -> Result<Option<OwnerId>, Stop> {
        Ok(self.device(serial)?.map(Device::owner))
    }

    /// A cluster.
    pub fn cluster(&self, id: ClusterId) -> Result<Option<&Cluster>, Stop> {
        if self.whole.clusters.contains(&id) {
            return Ok(self.clusters.get(&id));
        }
        Err(Needs { clusters: [id].into(), ..Needs::default() }.into())
    }

    /// The auth clients of an owner by VDOM, deleted ones too.
    pub fn clients(&self, owner: OwnerId) -> Result<impl Iterator<Item = &AuthClient>, Stop> {
        if !self.whole.owners.contains(&owner) {
            return Err(Needs { owners: [owner].into(), ..Needs::default() }.into());
        }
        let behind = (OwnerId(owner.0.saturating_add(1)), VdomName::FIRST);
        Ok(self
            .auth_clients
            .range((Bound::Included((owner, VdomName::FIRST)), Bound::Excluded(behind)))
            .map(|(_, client)| client))
    }

    /// One auth client, deleted or not.
    pub fn client(&self, owner: OwnerId, vdom: VdomName) -> Result<Option<&AuthClient>, Stop> {
        let key = (owner, vdom);
        if !self.auth_clients.knows(&key) && !self.whole.owners.contains(&owner) {
            return Err(Needs { owners: [owner].into(), ..Needs::default() }.into());
        }
        Ok(self.auth_clients.get(&key))
    }

    /// The VDOMs of an owner that are in use, by name, pseudo-VDOMs too.
    pub fn active_vdoms(&self, owner: OwnerId) -> Result<Vec<VdomName>, Stop> {
        Ok(self.clients(owner)?.filter(|client| client.is_active()).map(|client| client.vdom).collect())
    }

    /// A realm, deleted or not.
    pub fn realm(&self, id: RealmId) -> Result<Option<&Realm>, Stop> {
        if self.realms.knows(&id) {
            return Ok(self.realms.get(&id));
        }
        Err(Needs { realms: [id].into(), ..Needs::default() }.into())
    }

    /// The realm of this name, deleted or not.
    pub fn realm_named(&self, name: &RealmName) -> Result<Option<&Realm>, Stop> {
        // One that the batch made or renamed is found here too.
        let found = self.realms.iter().map(|(_, realm)| realm).find(|realm| realm.name == *name);
        if found.is_some() || self.whole.realm_names.contains(name) {
            return Ok(found);
        }
        Err(Needs { realm_names: [name.clone()].into(), ..Needs::default() }.into())
    }

    /// The realms in use that have a quota of their own.
    pub fn quota_realms(&self) -> Result<impl Iterator<Item = &Realm>, Stop> {
        if !self.whole.quota_realms {
            return Err(Needs { quota_realms: true, ..Needs::default() }.into());
        }
        let realms = self.realms.iter().map(|(_, realm)| realm);
        Ok(realms.filter(|realm| realm.user_quota.is_some() && realm.is_active()))
    }

    /// A user, gone or not.
    pub fn user(&self, realm: RealmId, key: &UserKey) -> Result<Option<&User>, Stop> {
        let key = (realm, key.clone());
        if self.users.knows(&key) {
            return Ok(self.users.get(&key));
        }
        Err(Needs { users: [key].into(), ..Needs::default() }.into())
    }

    /// A user reference, gone or not.
    pub fn user_ref(&self, client: AuthClientId, key: &UserKey) -> Result<Option<&UserRef>, Stop> {
        let key = (client, key.clone());
        if self.user_refs.knows(&key) || self.whole.client_users.contains(&client) {
            return Ok(self.user_refs.get(&key));
        }
        Err(Needs { user_refs: [key].into(), ..Needs::default() }.into())
    }

    /// Every reference of an auth client, gone ones too; the users behind them are known then.
    pub fn user_refs_of(&self, client: AuthClientId) -> Result<impl Iterator<Item = &UserRef>, Stop> {
        if !self.whole.client_users.contains(&client) {
            return Err(Needs { client_users: [client].into(), ..Needs::default() }.into());
        }
        let (first, behind) =
            ((client, UserKey::new("")), (AuthClientId(client.0.saturating_add(1)), UserKey::new("")));
        Ok(self.user_refs.range((Bound::Included(first), Bound::Excluded(behind))).map(|(_, user_ref)| user_ref))
    }

    /// The admission rules.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        // The store always loads them; a register without them has none.
        static NONE: Admission = Admission { rules: Vec::new(), tests: Vec::new(), updated_at: None };
        self.admission.get(&()).unwrap_or(&NONE)
    }

    /// The entry of a device in the lobby, if it ever waited.
    pub fn lobby(&self, serial: SerialNumber) -> Result<Option<&LobbyEntry>, Stop> {
        if self.lobby.knows(&serial) {
            return Ok(self.lobby.get(&serial));
        }
        Err(Needs { lobby: [serial].into(), ..Needs::default() }.into())
    }

    /// The admin tokens, revoked ones too.
    pub fn admin_tokens(&self) -> Result<impl Iterator<Item = &AdminToken>, Stop> {
        if !self.whole.admin_tokens {
            return Err(Needs { admin_tokens: true, ..Needs::default() }.into());
        }
        Ok(self.admin_tokens.iter().map(|(_, token)| token))
    }

    /// The Web apps, deleted ones too.
    pub fn web_apps(&self) -> Result<impl Iterator<Item = &WebApp>, Stop> {
        if !self.whole.web_apps {
            return Err(Needs { web_apps: true, ..Needs::default() }.into());
        }
        Ok(self.web_apps.iter().map(|(_, app)| app))
    }

    /// The removals that are held of a list and still stand.
    pub fn held_on(&self, on: HeldOn) -> Result<Option<&Held>, Stop> {
        Ok(self.held_over(on)?.find(|held| held.on == on))
    }

    /// The removals that are held and still stand, of this list and of those that overlap.
    pub fn held_over(&self, on: HeldOn) -> Result<impl Iterator<Item = &Held>, Stop> {
        if !self.whole.held.contains(&on.owner()) {
            return Err(Needs { held: [on.owner()].into(), ..Needs::default() }.into());
        }
        Ok(self.held.iter().map(|(_, held)| held).filter(move |held| held.on.overlaps(on) && held.state.stands()))
    }

    /// The removals that are held of all lists of an owner and still stand.
    pub fn held_of(&self, owner: OwnerId) -> Result<Vec<HeldId>, Stop> {
        // Known as a whole, or it says so.
        self.held_on(HeldOn::Vdoms(owner))?;
        let held =
            self.held.iter().map(|(_, held)| held).filter(|held| held.on.owner() == owner && held.state.stands());
        Ok(held.map(|held| held.id).collect())
    }

    /// Held removals, by id; decided ones too.
    pub fn held(&self, id: HeldId) -> Result<Option<&Held>, Stop> {
        if self.held.knows(&id) {
            return Ok(self.held.get(&id));
        }
        Err(Needs { held_ids: [id].into(), ..Needs::default() }.into())
    }

    /// The realms of the auth clients of a device, as far as they are known: for the debug feed, which never asks for more.
    pub(super) fn realms_of(&self, serial: SerialNumber) -> Vec<(VdomName, RealmId)> {
        let Some(owner) = self.devices.get(&serial).map(Device::owner) else { return Vec::new() };
        let known = self.clients(owner).ok().into_iter().flatten();
        known.map(|client| (client.vdom, client.realm)).collect()
    }

    /// A licence, deleted or not.
    pub fn license(&self, number: &LicenseNumber) -> Result<Option<&License>, Stop> {
        if self.licenses.knows(number) {
            return Ok(self.licenses.get(number));
        }
        Err(Needs { licenses: [number.clone()].into(), ..Needs::default() }.into())
    }

    /// The licences that a device has.
    pub fn licenses_of(&self, serial: SerialNumber) -> Result<impl Iterator<Item = &License>, Stop> {
        if !self.whole.licenses_of.contains(&serial) {
            return Err(Needs { licenses_of: [serial].into(), ..Needs::default() }.into());
        }
        let all = self.licenses.iter().map(|(_, license)| license);
        Ok(all.filter(move |license| license.bound.is_some_and(|(bound, _)| bound == serial)))
    }

    /// The release code of a device, good or not.
    pub fn release_code(&self, device: DeviceId) -> Result<Option<&ReleaseCode>, Stop> {
        if self.release_codes.knows(&device) {
            return Ok(self.release_codes.get(&device));
        }
        Err(Needs { release_codes: [device].into(), ..Needs::default() }.into())
    }

    /// The keys that claim a serial number, if there ever was more than one.
    pub fn device_keys(&self, serial: SerialNumber) -> Result<impl Iterator<Item = &DeviceKey>, Stop> {
        if !self.whole.device_keys.contains(&serial) {
            return Err(Needs { device_keys: [serial].into(), ..Needs::default() }.into());
        }
        Ok(self.device_keys.range((serial, [0; 32])..=(serial, [255; 32])).map(|(_, key)| key))
    }

    /// One of them.
    pub fn device_key(&self, serial: SerialNumber, key: [u8; 32]) -> Result<Option<&DeviceKey>, Stop> {
        Ok(self.device_keys(serial)?.find(|found| found.key == key))
    }

    /// When a device last called, up to a few seconds behind.
    pub fn last_seen(&self, serial: SerialNumber) -> Result<Timestamp, Stop> {
        if !self.last_seen.knows(&serial) {
            return Err(Needs { last_seen: [serial].into(), ..Needs::default() }.into());
        }
        Ok(self.last_seen.get(&serial).copied().unwrap_or(Timestamp::from_micros(0)))
    }

    /// Closes an operation that changed a device, or the VDOMs of its owner: next generation and new digest for every device of the owner.
    pub(super) fn seal(&mut self, serial: SerialNumber, now: Timestamp) -> Result<(), Stop> {
        let Some((owner, cluster)) = self.device(serial)?.map(|device| (device.owner(), device.cluster)) else {
            return Ok(());
        };
        let vdoms = self.active_vdoms(owner)?;
        let members = match cluster {
            None => vec![serial],
            Some(cluster) => self.cluster(cluster)?.map(|cluster| cluster.members.clone()).unwrap_or_default(),
        };
        for member in members {
            if let Some(device) = self.devices.change(&member) {
                device.generation += 1;
                device.digest = digest(device.info.texts(), vdoms.iter().copied());
                device.updated_at = now;
            }
        }
        Ok(())
    }
}
