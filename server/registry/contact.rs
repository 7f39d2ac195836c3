//! Contact: what a call of a device finds, whether it may come (back), and where its new auth clients go.

use muster_proto::device::DeviceInfo;
use muster_proto::{RealmName, Reason, SerialNumber, Text, VdomName};

use super::admission::{Decision, decide};
use super::lobby::rejected;
use super::{
    Answer, AuthClient, AuthClientId, Change, Context, DeleteMode, Device, DeviceId, Outcome, OwnerId, Planned, Realm,
    RealmId, Refusal, State, Stop, Subject,
};

/// Refuses a device that was banned or retired, whatever it asks.
pub fn may_call(device: &Device) -> Result<(), Refusal> {
    let Some(tombstone) = &device.deleted else { return Ok(()) };
    let reason = match tombstone.mode {
        DeleteMode::Evict => return Ok(()),
        DeleteMode::Ban => Reason::DeviceBanned,
        DeleteMode::Retire => Reason::DeviceRetired,
    };
    let why = if tombstone.why.is_empty() { String::new() } else { format!(": {}", tombstone.why) };
    let message = format!("{} was removed by {} at {}{why}", device.serial, tombstone.by, tombstone.at);
    Err(Refusal::new(reason, message))
}

/// A device opens a stream: it may, unless it was banned or retired.
pub(super) fn contact(state: &mut State, serial: SerialNumber) -> Result<Planned, Stop> {
    let Some(device) = state.device(serial)? else { return Ok(Planned::unchanged(Answer::new(Outcome::Unchanged))) };
    may_call(device)?;
    Ok(Planned::unchanged(Answer::of(device, Outcome::Unchanged, Vec::new())))
}

/// Makes sure that the device is in the register: first contact, a return, or just one more call.
pub(super) fn make_present(
    state: &mut State,
    serial: SerialNumber,
    changes: &mut Vec<Change>,
    context: &mut Context<'_>,
) -> Result<Outcome, Stop> {
    let Some(device) = state.device(serial)? else {
        let realm = match decide(state, serial, context.address)? {
            Decision::Admit(realm) => realm,
            Decision::Reject => return Err(rejected(state, serial)?.into()),
            Decision::Lobby => {
                let message = format!("{serial} waits for approval in the lobby");
                return Err(Refusal::new(Reason::PendingApproval, message).into());
            }
        };
        let device = first_contact(serial, realm, context);
        // What was just made has no auth clients, and nothing held, that would have to be loaded.
        state.whole.owners.insert(device.owner());
        state.whole.held.insert(device.owner());
        state.devices.put(serial, device);
        changes.push(Change::state(Subject::Itself, "", "active"));
        return Ok(Outcome::Created);
    };
    may_call(device)?;
    if device.is_active() {
        return Ok(Outcome::Unchanged);
    }
    if let Some(device) = state.devices.change(&serial) {
        device.deleted = None;
        device.contacts = 0;
    }
    changes.push(Change::state(Subject::Itself, "deleted", "active"));
    Ok(Outcome::Restored)
}

pub(super) fn first_contact(serial: SerialNumber, realm: Option<RealmId>, context: &mut Context<'_>) -> Device {
    Device {
        id: DeviceId(context.id()),
        serial,
        info: DeviceInfo::default(),
        generation: 0,
        digest: [0; 32],
        created_at: context.now,
        updated_at: context.now,
        deleted: None,
        last_seen_at: context.now,
        contacts: 0,
        cluster: None,
        realm,
        key_hash: context.proof.map(|proof| proof.key),
        disputed: false,
    }
}

/// Makes a new auth client of a device.
pub(super) fn new_client(
    state: &mut State,
    serial: SerialNumber,
    owner: OwnerId,
    vdom: VdomName,
    context: &mut Context<'_>,
) -> Result<(), Stop> {
    let realm = placement(state, serial, vdom, context)?;
    let client = AuthClient {
        id: AuthClientId(context.id()),
        owner,
        vdom,
        realm,
        alias: Text::default(),
        users: 0,
        users_digest: [0; 32],
        created_at: context.now,
        updated_at: context.now,
        deleted: None,
        removed_at: None,
    };
    // What was just made has no users that would have to be loaded.
    state.whole.client_users.insert(client.id);
    state.auth_clients.put((owner, vdom), client);
    Ok(())
}

/// The realm of a new auth client: the one its device was admitted to, or in multi-realm mode one of its own, or the default one.
fn placement(
    state: &mut State,
    serial: SerialNumber,
    vdom: VdomName,
    context: &mut Context<'_>,
) -> Result<RealmId, Stop> {
    if let Some(realm) = state.device(serial)?.and_then(|device| device.realm) {
        return Ok(realm);
    }
    if !state.settings().multi_realm_mode {
        return Ok(RealmId::DEFAULT);
    }
    // A serial number and a VDOM always make a good name.
    let Ok(name) = format!("{serial}-{vdom}").parse::<RealmName>() else { return Ok(RealmId::DEFAULT) };
    if let Some(realm) = state.realm_named(&name)? {
        return Ok(if realm.deleted_at.is_none() { realm.id } else { RealmId::DEFAULT });
    }
    let realm = Realm::new(RealmId(context.id()), name, context.now);
    let id = realm.id;
    state.realms.put(id, realm);
    Ok(id)
}
