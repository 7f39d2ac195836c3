//! Handing a device over: its present realm releases it by a code, and whoever has the code takes it into another realm.
//!
//! Neither side need reach into the realms of the other: the code is the permission. What it permits is what whoever made it could do: a device
//! that has come into other realms since is not theirs to release.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_proto::{RealmRef, Reason, SerialNumber, Timestamp};

use super::admin_token::realm_for;
use super::auth_client::later;
use super::delete::{known, within_reach};
use super::moves::to_realm;
use super::{
    After, Answer, Change, Context, DeviceId, Name, NamedClient, Outcome, Planned, Reach, RealmId, Record, Refusal,
    SecretHash, State, Stop,
};

/// After so many wrong codes the right one is void: 2^100 codes and ten guesses.
const MAX_FAILURES: i64 = 10;

/// What releases a device from its realm, once. The code itself is known by its hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseCode {
    /// The device; a code does not outlive it.
    pub device: DeviceId,
    /// What its bearer shows is known by this.
    pub hash: SecretHash,
    /// How far whoever made it reached: it releases from nowhere else.
    pub reach: Reach,
    /// Who made it.
    pub created_by: Box<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it can no longer be used.
    pub expires_at: Timestamp,
    /// How many wrong codes were tried since.
    pub failures: i64,
    /// Who used it, for which realm and when.
    pub used: Option<(Box<str>, RealmId, Timestamp)>,
}

impl ReleaseCode {
    fn is_open(&self, now: Timestamp) -> bool {
        self.used.is_none() && now < self.expires_at && self.failures < MAX_FAILURES
    }
}

/// The realms that a device is in: those of its auth clients, and those that new ones of it would go to. Those of its whole cluster, if it is
/// in one.
fn realms_of(state: &State, serial: SerialNumber) -> Result<BTreeSet<RealmId>, Stop> {
    let clients = state.clients(known(state, serial)?.owner())?.filter(|client| client.is_active());
    let mut realms: BTreeSet<RealmId> = clients.map(|client| client.realm).collect();
    for member in boxes_of(state, serial)? {
        realms.extend(state.device(member)?.and_then(|device| device.realm));
    }
    Ok(realms)
}

/// The device, or all members of its cluster.
fn boxes_of(state: &State, serial: SerialNumber) -> Result<Vec<SerialNumber>, Stop> {
    let Some(cluster) = known(state, serial)?.cluster else { return Ok(vec![serial]) };
    Ok(state.cluster(cluster)?.map(|cluster| cluster.members.clone()).unwrap_or_default())
}

fn deleted(serial: SerialNumber) -> Refusal {
    Refusal::new(Reason::DeviceDeleted, format!("{serial} is deleted"))
}

/// Makes a code; the one before is void from now on.
pub(super) fn create(
    state: &mut State,
    serial: SerialNumber,
    hash: SecretHash,
    validity: Duration,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    within_reach(state, serial, context)?;
    let device = known(state, serial)?;
    let (id, generation, is_active) = (device.id, device.generation, device.is_active());
    if !is_active {
        return Err(deleted(serial).into());
    }
    if realms_of(state, serial)?.iter().any(|realm| !context.may_touch(*realm)) {
        let message = format!("{serial} belongs to a realm that {} has no part in", context.caller);
        return Err(Refusal::new(Reason::RoleNotAllowed, message).into());
    }
    let was_open = state.release_code(id)?.is_some_and(|code| code.is_open(context.now));
    let expires_at = context.now.plus(validity);
    let code = ReleaseCode {
        device: id,
        hash,
        reach: context.reach.clone(),
        created_by: context.caller.into(),
        created_at: context.now,
        expires_at,
        failures: 0,
        used: None,
    };
    state.release_codes.put(id, code);
    let changes = vec![
        Change::value("release_code", if was_open { "open" } else { "" }, "open, a new one"),
        Change::value("release_code_seconds", "", validity.as_secs()),
    ];
    let answer = Answer { after: After::ReleaseCode(expires_at), ..Answer::new(Outcome::Created) };
    let record = Record { about: id.0, name: Name::Device(serial), generation, changes };
    Ok(Planned { records: vec![record], ..Planned::unchanged(answer) })
}

/// Takes a device into a realm, with all its auth clients and their users.
pub(super) fn claim(
    state: &mut State,
    serial: SerialNumber,
    hash: SecretHash,
    realm: &RealmRef,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let realm = realm_for(state, realm, context)?.clone();
    // One answer for all: whether there is such a device, or such a code, is nobody's business who has no code.
    let invalid = || Refusal::new(Reason::ReleaseCodeInvalid, format!("this code does not release {serial}"));
    let device = state.device(serial)?.ok_or_else(invalid)?;
    let (id, generation, is_active) = (device.id, device.generation, device.is_active());
    let code = state.release_code(id)?.ok_or_else(invalid)?.clone();
    if let Some((_, target, _)) = &code.used
        && code.hash == hash
        && *target == realm.id
    {
        return Ok(Planned::unchanged(Answer { after: After::Realm(realm), ..Answer::new(Outcome::Unchanged) }));
    }
    if !code.is_open(context.now) {
        return Err(invalid().into());
    }
    if code.hash != hash {
        if let Some(code) = state.release_codes.change(&id) {
            code.failures += 1;
        }
        let changes = vec![Change::value("release_code_failures", code.failures, code.failures + 1)];
        let records = vec![Record { about: id.0, name: Name::Device(serial), generation, changes }];
        let answer = Answer::new(Outcome::Refused);
        return Ok(Planned { records, refused: Some(invalid()), ..Planned::unchanged(answer) });
    }
    if realms_of(state, serial)?.iter().any(|realm| !code.reach.covers(*realm)) {
        return Err(invalid().into());
    }
    if !is_active {
        return Err(deleted(serial).into());
    }
    let owner = known(state, serial)?.owner();
    let active = state.clients(owner)?.filter(|client| client.is_active());
    let clients: Vec<NamedClient> = active
        .map(|client| NamedClient {
            id: client.id,
            owner,
            vdom: client.vdom,
            label: format!("{serial}-{}", client.vdom).into(),
        })
        .collect();
    let everything = Reach::Everything;
    let mut released = Context { next_id: &mut *context.next_id, reach: &everything, ..*context };
    let (items, of_clients) = to_realm(state, &clients, realm.id, &mut released)?;
    if let Some(code) = state.release_codes.change(&id) {
        code.used = Some((context.caller.into(), realm.id, context.now));
    }
    let mut records = Vec::new();
    for member in boxes_of(state, serial)? {
        let Some(before) = state.device(member)?.cloned() else { continue };
        let mut changes = Vec::new();
        if before.realm != Some(realm.id) {
            let name = match before.realm {
                Some(realm) => state.realm(realm)?.map(|realm| realm.name.to_string()).unwrap_or_default(),
                None => String::new(),
            };
            changes.push(Change::value("realm", name, &realm.name));
            if let Some(device) = state.devices.change(&member) {
                device.realm = Some(realm.id);
                device.updated_at = later(device.updated_at, context.now);
            }
        }
        if member == serial {
            changes.push(Change::value("release_code", "open", "used"));
        }
        if !changes.is_empty() {
            let (about, generation) = (before.id.0, before.generation);
            records.push(Record { about, name: Name::Device(member), generation, changes });
        }
    }
    records.extend(of_clients);
    let after = After::Realm(state.realm(realm.id)?.cloned().unwrap_or(realm));
    let answer = Answer { clients: items, after, ..Answer::new(Outcome::Updated) };
    Ok(Planned { records, ..Planned::unchanged(answer) })
}
