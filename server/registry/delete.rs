//! Deleting: one VDOM, or a device with all its VDOMs; by the device itself, or by an admin.

use muster_proto::device::{Deletion, Target};
use muster_proto::{Reason, SerialNumber, Text, Timestamp, VdomName};

use super::auth_client::later;
use super::cluster;
use super::contact::may_call;
use super::held::withdraw_all;
use super::users::detach_all;
use super::{
    After, Answer, AuthClient, Change, Context, DeleteMode, Device, Item, Name, Outcome, OwnerId, Planned, Reach,
    Refusal, State, Stop, Subject, Tombstone,
};

/// What an admin says of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What it means for the future; `None` if the admin did not say: then it may return, and what is deleted already stays as it is.
    pub mode: Option<DeleteMode>,
    /// Why, in the admin's words; may be empty.
    pub why: Text,
}

impl Verdict {
    fn tombstone(&self, context: &Context<'_>) -> Tombstone {
        let mode = self.mode.unwrap_or(DeleteMode::Evict);
        Tombstone { mode, why: self.why.clone(), ..Tombstone::evicted(context) }
    }
}

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
    verdict: &Verdict,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let (owner, client) = one_of(state, serial, vdom, etag, context)?;
    let mut planned = match client.deleted {
        Some(tombstone) => {
            let (tombstone, changes) = revised(&tombstone, verdict, &Subject::Vdom(vdom), context);
            if !changes.is_empty() {
                if let Some(client) = state.auth_clients.change(&(owner, vdom)) {
                    client.deleted = Some(Box::new(tombstone));
                    client.changed(context.now);
                }
                state.seal(serial, context.now)?;
            }
            let device = known(state, serial)?;
            let (outcome, reason) = settled(&changes);
            let answer = Answer { reason, ..Answer::of(device, outcome, vec![Item { vdom, outcome, reason }]) };
            Planned::about(answer, device.id.0, Name::Device(serial), changes)
        }
        None => one(state, serial, vdom, &verdict.tombstone(context), context)?.ok_or_else(never)?,
    };
    // The admin asked about the auth client, not about its device.
    if let Some(item) = planned.answer.items.first() {
        (planned.answer.outcome, planned.answer.reason) = (item.outcome, item.reason);
    }
    if let Some(client) = state.client(owner, vdom)? {
        planned.answer.after = After::AuthClient(client.clone());
    }
    Ok(planned)
}

/// The auth client that an admin names, deleted or not, and its owner.
pub(super) fn one_of(
    state: &State,
    serial: SerialNumber,
    vdom: VdomName,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<(OwnerId, AuthClient), Stop> {
    let owner = state.owner(serial)?.ok_or_else(never)?;
    let client = state.client(owner, vdom)?.filter(|client| context.may_touch(client.realm)).ok_or_else(never)?;
    if etag.is_some_and(|etag| etag != client.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the auth client changed since its etag was read").into());
    }
    Ok((owner, client.clone()))
}

fn never() -> Refusal {
    Refusal::new(Reason::AuthClientUnknown, "there never was such an auth client")
}

/// What becomes of a tombstone when an admin deletes again what is deleted: another mode is taken over, with who and why. When it went stays,
/// and so does what can be restored.
fn revised(
    tombstone: &Tombstone,
    verdict: &Verdict,
    subject: &Subject,
    context: &Context<'_>,
) -> (Tombstone, Vec<Change>) {
    let mode = verdict.mode.unwrap_or(tombstone.mode);
    if mode == tombstone.mode {
        return (tombstone.clone(), Vec::new());
    }
    let why = if verdict.why.is_empty() { tombstone.why.clone() } else { verdict.why.clone() };
    let change = |field, before: &str, after: &str| {
        let subject = subject.clone();
        Change { subject, ..Change::value(field, before, after) }
    };
    let mut changes = vec![change("mode", tombstone.mode.as_str(), mode.as_str())];
    if why != tombstone.why {
        changes.push(change("why", tombstone.why.as_str(), why.as_str()));
    }
    (Tombstone { at: tombstone.at, mode, by: context.caller.into(), why }, changes)
}

/// How a second deletion ends.
fn settled(changes: &[Change]) -> (Outcome, Option<Reason>) {
    if changes.is_empty() { (Outcome::Unchanged, Some(Reason::AlreadyDeleted)) } else { (Outcome::Updated, None) }
}

/// What the audit log keeps of a deletion besides the deletion itself.
fn said(tombstone: &Tombstone, subject: &Subject) -> Vec<Change> {
    let change = |field, after: &str| Change { subject: subject.clone(), ..Change::value(field, "", after) };
    let mode = (tombstone.mode != DeleteMode::Evict).then(|| change("mode", tombstone.mode.as_str()));
    let why = (!tombstone.why.is_empty()).then(|| change("why", tombstone.why.as_str()));
    mode.into_iter().chain(why).collect()
}

/// An admin deletes a device with all its auth clients.
pub(super) fn device(
    state: &mut State,
    serial: SerialNumber,
    generation: Option<i64>,
    verdict: &Verdict,
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
    let Some(tombstone) = known(state, serial)?.deleted.clone() else {
        return whole(state, serial, &verdict.tombstone(context), context);
    };
    let (tombstone, changes) = revised(&tombstone, verdict, &Subject::Itself, context);
    if !changes.is_empty() {
        if let Some(device) = state.devices.change(&serial) {
            device.deleted = Some(Box::new(tombstone));
        }
        state.seal(serial, context.now)?;
    }
    let device = known(state, serial)?;
    let (outcome, reason) = settled(&changes);
    let answer = Answer { reason, ..Answer::of(device, outcome, Vec::new()) };
    Ok(Planned::about(answer, device.id.0, Name::Device(serial), changes))
}

/// An admin of some realms sees a device that has an auth client there, and may delete it if it has none elsewhere.
pub(super) fn within_reach(state: &State, serial: SerialNumber, context: &Context<'_>) -> Result<(), Stop> {
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
        let tombstone = Tombstone { at: moment(state, owner, context)?, ..tombstone.clone() };
        remove(state, owner, vdom, &tombstone, context)?;
        state.seal(serial, context.now)?;
        changes.push(Change::state(Subject::Vdom(vdom), "active", "deleted"));
        changes.extend(said(&tombstone, &Subject::Vdom(vdom)));
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
    let tombstone = &Tombstone { at: moment(state, owner, context)?, ..tombstone.clone() };
    if let Some(device) = state.devices.change(&serial) {
        device.deleted = Some(Box::new(tombstone.clone()));
        device.contacts = 0;
    }
    let mut changes = vec![Change::state(Subject::Itself, "active", "deleted")];
    changes.extend(said(tombstone, &Subject::Itself));
    // Whether the device may return is up to its own tombstone: if it may, its VDOMs may.
    let tombstone = &Tombstone { mode: DeleteMode::Evict, ..tombstone.clone() };
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

/// When a deletion takes place: later than the latest change of all auth clients of the owner, even if the clock stands still, so that what
/// goes with it can be told from what had gone before.
pub(super) fn moment(state: &State, owner: OwnerId, context: &Context<'_>) -> Result<Timestamp, Stop> {
    Ok(state.clients(owner)?.fold(context.now, |at, client| later(client.updated_at, at)))
}

/// Marks an auth client as deleted, with its users: all of them at the time of the tombstone.
pub(super) fn remove(
    state: &mut State,
    owner: OwnerId,
    vdom: VdomName,
    tombstone: &Tombstone,
    context: &Context<'_>,
) -> Result<(), Stop> {
    // No ids are given away here.
    let mut none = 0;
    let at = Context { now: tombstone.at, next_id: &mut none, ..*context };
    detach_all(state, owner, vdom, &at)?;
    if let Some(client) = state.auth_clients.change(&(owner, vdom)) {
        client.deleted = Some(Box::new(tombstone.clone()));
        client.removed_at = Some(tombstone.at);
        client.changed(tombstone.at);
    }
    Ok(())
}
