//! Replacing a box (RMA): everything that the old serial number has goes to the new one.

use muster_proto::{Reason, SerialNumber};

use super::auth_client::later;
use super::cluster::record;
use super::contact::first_contact;
use super::merge::{Moved, hand_over, park};
use super::{
    Answer, Change, Context, DeleteMode, Name, Outcome, OwnerId, Planned, Record, Refusal, State, Stop, Tombstone,
};

/// An admin replaces one device by another. Auth clients keep their ids and users; each device keeps its own id, because an id stands for one
/// box for ever.
pub(super) fn replace(
    state: &mut State,
    old: SerialNumber,
    new: SerialNumber,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let why = format!("replaced by {new}");
    let unknown = || Refusal::new(Reason::DeviceUnknown, format!("no device {old} was ever registered"));
    let device = state.device(old)?.ok_or_else(unknown)?;
    if let Some(tombstone) = &device.deleted {
        if tombstone.why.as_str() == why {
            let answer = Answer { reason: Some(Reason::AlreadyDeleted), ..Answer::new(Outcome::Unchanged) };
            return Ok(Planned::unchanged(answer));
        }
        return Err(Refusal::new(Reason::DeviceDeleted, format!("{old} is deleted")).into());
    }
    let (cluster, realm, from) = (device.cluster, device.realm, OwnerId(device.id.0));
    let outcome = make_ready(state, new, context)?;
    let to = state.owner(new)?.unwrap_or(OwnerId(0));
    let mut moved = Moved::default();
    let mut records = Vec::new();
    if let Some(id) = cluster {
        if let Some(cluster) = state.cluster(id)?.cloned() {
            let role = cluster.role(old);
            if let Some(cluster) = state.clusters.change(&id) {
                cluster.members.retain(|member| *member != old);
                cluster.members.push(new);
                cluster.members.sort_unstable();
                cluster.listed.retain(|listed| *listed != new);
                if cluster.primary == old {
                    cluster.primary = new;
                }
                cluster.updated_at = later(cluster.updated_at, context.now);
            }
            records.push(record(id, vec![Change::value("member", old, new), Change::value("role", "", role.as_str())]));
        }
    } else {
        moved = hand_over(state, from, to, Reason::MovedToDevice, context)?;
    }
    if let Some(device) = state.devices.change(&old) {
        device.cluster = None;
        device.contacts = 0;
        let why = why.parse().unwrap_or_default();
        let tombstone = Tombstone { mode: DeleteMode::Retire, why, ..Tombstone::evicted(context) };
        device.deleted = Some(Box::new(tombstone));
    }
    if let Some(device) = state.devices.change(&new) {
        device.cluster = cluster;
        device.realm = realm.or(device.realm);
    }
    state.seal(old, context.now)?;
    state.seal(new, context.now)?;
    let Some(device) = state.device(new)? else { return Err(unknown().into()) };
    let mut changes = vec![Change::value("replaces", "", old)];
    changes.extend(moved.changes);
    let answer = Answer::of(device, outcome, moved.items);
    let mut planned = Planned::about(answer, device.id.0, Name::Device(new), changes);
    if let Some(device) = state.device(old)? {
        let changes = vec![Change::value("state", "active", "deleted"), Change::value("replaced_by", "", new)];
        let (about, name, generation) = (device.id.0, Name::Device(old), device.generation);
        planned.records.push(Record { about, name, generation, changes });
    }
    planned.records.extend(records);
    planned.records.extend(super::license::pass_on(state, old, new, context)?);
    Ok(planned)
}

/// Makes sure that the replacement is in the register, has no users, and that its own empty auth clients stand in nobody's way.
fn make_ready(state: &mut State, new: SerialNumber, context: &mut Context<'_>) -> Result<Outcome, Stop> {
    let Some(device) = state.device(new)? else {
        let device = first_contact(new, None, context);
        state.whole.owners.insert(device.owner());
        state.whole.held.insert(device.owner());
        state.devices.put(new, device);
        return Ok(Outcome::Created);
    };
    if device.is_banned() {
        return Err(Refusal::new(Reason::DeviceBanned, format!("{new} is banned")).into());
    }
    if let Some(cluster) = device.cluster {
        let message = format!("{new} is a member of clusters/{}", cluster.0);
        return Err(Refusal::new(Reason::ClusterOther, message).into());
    }
    let owner = device.owner();
    let clients: Vec<_> = state.clients(owner)?.map(|client| (client.vdom, client.users, client.is_active())).collect();
    let users: i64 = clients.iter().map(|(_, users, _)| users).sum();
    if users > 0 {
        let message = format!("{new} has {users} users of its own");
        return Err(Refusal::new(Reason::ReplacementHasUsers, message).with("users", users).into());
    }
    for (vdom, _, active) in clients {
        if active {
            let tombstone = Tombstone::evicted(context);
            if let Some(client) = state.auth_clients.change(&(owner, vdom)) {
                client.deleted = Some(Box::new(tombstone));
                client.changed(context.now);
            }
        }
        park(state, owner, vdom)?;
    }
    if let Some(device) = state.devices.change(&new) {
        device.deleted = None;
        device.contacts = 0;
    }
    Ok(Outcome::Updated)
}
