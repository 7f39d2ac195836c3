//! Deleting: one VDOM, or a device with all its VDOMs; by the device itself, or by an admin.

use muster_proto::device::{Deletion, Target};
use muster_proto::{Reason, SerialNumber, VdomName};

use super::cluster;
use super::contact::may_call;
use super::held::withdraw_all;
use super::users::detach_all;
use super::{
    After, Answer, Change, Context, Device, Item, Name, Outcome, OwnerId, Planned, Reach, Refusal, State, Stop,
    Subject, Tombstone,
};

/// A device, or its relay, deletes a VDOM or the device.
pub(super) fn by_device(state: &mut State, deletion: &Deletion, context: &Context<'_>) -> Result<Planned, Stop> {
    let device = known(state, deletion.serial)?;
    may_call(device)?;
    match deletion.target {
        Target::WholeDevice => whole(state, deletion.serial, &Tombstone::evicted(context), context),
        Target::Vdom(VdomName::ROOT) if device.is_active() => {
            let message = "the VDOM \"root\" cannot be removed while its device is there";
            Err(Refusal::new(Reason::RootVdomRequired, message).into())
        }
        Target::Vdom(vdom) => {
            if let Some(cluster) = device.cluster
                && state.cluster(cluster)?.is_some_and(|cluster| cluster.primary != deletion.serial)
            {
                let message = format!("{} is a secondary of its cluster", deletion.serial);
                return Err(Refusal::new(Reason::PrimaryDecides, message).into());
            }
            one(state, deletion.serial, vdom, &Tombstone::evicted(context), context)?.ok_or_else(|| {
                let message = format!("{} never had a VDOM {:?}", deletion.serial, vdom.as_str());
                Refusal::new(Reason::VdomUnknown, message).into()
            })
        }
    }
}

/// An admin deletes an auth client, "root" too.
pub(super) fn auth_client(
    state: &mut State,
    serial: SerialNumber,
    vdom: VdomName,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let unknown = || Refusal::new(Reason::AuthClientUnknown, "there never was such an auth client");
    let owner = state.owner(serial)?.ok_or_else(unknown)?;
    let client = state.client(owner, vdom)?.filter(|client| context.may_touch(client.realm)).ok_or_else(unknown)?;
    if etag.is_some_and(|etag| etag != client.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the auth client changed since its etag was read").into());
    }
    let mut planned = one(state, serial, vdom, &Tombstone::evicted(context), context)?.ok_or_else(unknown)?;
    // The admin asked about the auth client, not about its device.
    if let Some(item) = planned.answer.items.first() {
        (planned.answer.outcome, planned.answer.reason) = (item.outcome, item.reason);
    }
    if let Some(client) = state.client(owner, vdom)? {
        planned.answer.after = After::AuthClient(client.clone());
    }
    Ok(planned)
}

/// An admin deletes a device with all its auth clients.
pub(super) fn device(
    state: &mut State,
    serial: SerialNumber,
    generation: Option<i64>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    within_reach(state, serial, context)?;
    let current = known(state, serial)?.generation;
    if let Some(expected) = generation
        && expected != current
    {
        let message = format!("the device is at generation {current}, and the deletion expects {expected}");
        return Err(Refusal::new(Reason::StaleGeneration, message).into());
    }
    whole(state, serial, &Tombstone::evicted(context), context)
}

/// An admin of some realms sees a device that has an auth client there, and may delete it if it has none elsewhere.
fn within_reach(state: &State, serial: SerialNumber, context: &Context<'_>) -> Result<(), Stop> {
    if *context.reach == Reach::Everything {
        return Ok(());
    }
    let owner = known(state, serial)?.owner();
    let realms = state.clients(owner)?.map(|client| (context.may_touch(client.realm), client.is_active()));
    let (mut seen, mut elsewhere) = (false, false);
    for (within, active) in realms {
        seen |= within;
        elsewhere |= active && !within;
    }
    if !seen {
        return Err(unknown(serial).into());
    }
    if elsewhere {
        let message = format!("{serial} has auth clients in realms that {} has no part in", context.caller);
        return Err(Refusal::new(Reason::RoleNotAllowed, message).into());
    }
    Ok(())
}

pub(super) fn unknown(serial: SerialNumber) -> Refusal {
    Refusal::new(Reason::DeviceUnknown, format!("no device {serial} was ever registered"))
}

pub(super) fn known(state: &State, serial: SerialNumber) -> Result<&Device, Stop> {
    state.device(serial)?.ok_or_else(|| unknown(serial).into())
}

/// Removes one VDOM; `None` if the device never had it.
fn one(
    state: &mut State,
    serial: SerialNumber,
    vdom: VdomName,
    tombstone: &Tombstone,
    context: &Context<'_>,
) -> Result<Option<Planned>, Stop> {
    let Some(owner) = state.owner(serial)? else { return Ok(None) };
    let Some(active) = state.client(owner, vdom)?.map(super::AuthClient::is_active) else { return Ok(None) };
    let mut changes = Vec::new();
    let item = if active {
        remove(state, owner, vdom, tombstone, context)?;
        state.seal(serial, context.now)?;
        changes.push(Change::state(Subject::Vdom(vdom), "active", "deleted"));
        Item { vdom, outcome: Outcome::Removed, reason: None }
    } else {
        Item { vdom, outcome: Outcome::Unchanged, reason: Some(Reason::AlreadyDeleted) }
    };
    let device = known(state, serial)?;
    let answer = Answer::of(device, Outcome::Unchanged, vec![item]);
    Ok(Some(Planned::about(answer, device.id.0, Name::Device(serial), changes)))
}

/// Removes the device with everything that hangs on it.
fn whole(
    state: &mut State,
    serial: SerialNumber,
    tombstone: &Tombstone,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let device = known(state, serial)?;
    if !device.is_active() {
        let answer = Answer::of(device, Outcome::Unchanged, Vec::new());
        return Ok(Planned::unchanged(Answer { reason: Some(Reason::AlreadyDeleted), ..answer }));
    }
    // A member leaves its cluster first: the cluster keeps its auth clients, unless this was the last member.
    let mut of_cluster = Vec::new();
    if let Some(cluster) = device.cluster {
        let left = cluster::leave(state, cluster, serial, context)?;
        of_cluster.push(cluster::record(cluster, left.changes));
    }
    let owner = known(state, serial)?.owner();
    let vdoms = state.active_vdoms(owner)?;
    if let Some(device) = state.devices.change(&serial) {
        device.deleted = Some(Box::new(tombstone.clone()));
        device.contacts = 0;
    }
    let mut changes = vec![Change::state(Subject::Itself, "active", "deleted")];
    let mut items = Vec::new();
    for vdom in vdoms {
        remove(state, owner, vdom, tombstone, context)?;
        changes.push(Change::state(Subject::Vdom(vdom), "active", "deleted"));
        items.push(Item { vdom, outcome: Outcome::Removed, reason: None });
    }
    state.seal(serial, context.now)?;
    let device = known(state, serial)?;
    let answer = Answer::of(device, Outcome::Removed, items);
    let mut planned = Planned::about(answer, device.id.0, Name::Device(serial), changes);
    planned.records.extend(of_cluster);
    withdraw_all(state, owner, &mut planned.records, context)?;
    Ok(planned)
}

/// Marks an auth client as deleted, with its users.
pub(super) fn remove(
    state: &mut State,
    owner: OwnerId,
    vdom: VdomName,
    tombstone: &Tombstone,
    context: &Context<'_>,
) -> Result<(), Stop> {
    detach_all(state, owner, vdom, context)?;
    if let Some(client) = state.auth_clients.change(&(owner, vdom)) {
        client.deleted = Some(Box::new(tombstone.clone()));
        client.changed(context.now);
    }
    Ok(())
}
