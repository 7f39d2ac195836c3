//! What an admin, or the time, makes of held removals.

use muster_proto::{Reason, SerialNumber, UserKey, Username, VdomName};

use super::super::delete::{moment, remove};
use super::super::users::detach;
use super::super::{
    Answer, AuthClient, Change, ClusterId, Context, HeldId, Item, Name, Outcome, OwnerId, Planned, Refusal, State,
    Stop, Subject, Tombstone, UserItem,
};
use super::{Held, HeldOn, HeldState, decide, note};

/// An admin approves what is held: it is removed as if the device had confirmed it.
pub(in crate::registry) fn approve(state: &mut State, id: HeldId, context: &Context<'_>) -> Result<Planned, Stop> {
    let Some(held) = open(state, id, HeldState::Approved, context)? else { return Ok(decided()) };
    let mut planned = Planned::unchanged(Answer::new(Outcome::Updated));
    decide(state, id, HeldState::Approved, &mut planned.records, context);
    match held.on {
        HeldOn::Vdoms(owner) => remove_vdoms(state, &held, owner, &mut planned, context)?,
        HeldOn::Users(owner, vdom, _) => remove_users(state, &held, owner, vdom, &mut planned, context)?,
    }
    Ok(planned)
}

/// An admin decides that what is held stays.
pub(in crate::registry) fn reject(state: &mut State, id: HeldId, context: &Context<'_>) -> Result<Planned, Stop> {
    if open(state, id, HeldState::Rejected, context)?.is_none() {
        return Ok(decided());
    }
    let mut planned = Planned::unchanged(Answer::new(Outcome::Updated));
    decide(state, id, HeldState::Rejected, &mut planned.records, context);
    Ok(planned)
}

/// Ends what nobody decided in time, and forgets what was over for the retention time.
pub(in crate::registry) fn expire(state: &mut State, id: HeldId, context: &Context<'_>) -> Result<Planned, Stop> {
    let mut planned = Planned::unchanged(Answer::new(Outcome::Unchanged));
    let Some(held) = state.held(id)? else { return Ok(planned) };
    if held.is_overdue(context.now) {
        planned.answer.outcome = Outcome::Updated;
        decide(state, id, HeldState::Expired, &mut planned.records, context);
    } else if !held.state.stands() && state.settings().retention_end(held.updated_at) <= context.now {
        planned.answer.outcome = Outcome::Removed;
        note(&mut planned.records, id, vec![Change::state(Subject::Itself, held.state.as_str(), "purged")]);
        state.held.remove(&id);
    }
    Ok(planned)
}

/// A set that can be decided so; `None` if it was.
fn open(state: &State, id: HeldId, fate: HeldState, context: &Context<'_>) -> Result<Option<Held>, Stop> {
    let unknown = || Refusal::new(Reason::HeldRemovalUnknown, format!("there never was heldRemovals/{}", id.0));
    let held = state.held(id)?.ok_or_else(unknown)?;
    if held.state == fate {
        return Ok(None);
    }
    if !held.state.stands() || held.is_overdue(context.now) {
        let state = if held.state.stands() { HeldState::Expired } else { held.state };
        let message = format!("heldRemovals/{} is {}", id.0, state.as_str());
        return Err(Refusal::new(Reason::HeldRemovalClosed, message).into());
    }
    Ok(Some(held.clone()))
}

fn decided() -> Planned {
    Planned::unchanged(Answer { reason: Some(Reason::AlreadyDecided), ..Answer::new(Outcome::Unchanged) })
}

fn remove_vdoms(
    state: &mut State,
    held: &Held,
    owner: OwnerId,
    planned: &mut Planned,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let mut changes = Vec::new();
    for vdom in held.names.iter().filter_map(|name| name.parse::<VdomName>().ok()) {
        let there = state.client(owner, vdom)?.is_some_and(AuthClient::is_active);
        let (outcome, reason) =
            if there { (Outcome::Removed, None) } else { (Outcome::Unchanged, Some(Reason::AlreadyDeleted)) };
        planned.answer.items.push(Item { vdom, outcome, reason });
        if there {
            let at = moment(state, owner, context)?;
            remove(state, owner, vdom, &Tombstone { at, ..Tombstone::evicted(context) }, context)?;
            changes.push(Change::state(Subject::Vdom(vdom), "active", "deleted"));
        }
    }
    // Only a device has VDOMs.
    let Some(serial) = speaker(state, held, owner)? else { return Ok(()) };
    if !changes.is_empty() {
        state.seal(serial, context.now)?;
    }
    if let Some(device) = state.device(serial)? {
        (planned.answer.generation, planned.answer.digest) = (device.generation, device.digest);
        let of_device = Planned::about(planned.answer.clone(), device.id.0, Name::Device(serial), changes);
        planned.records.extend(of_device.records);
    }
    Ok(())
}

/// The device whose list it is now: the one that asked, or the primary of the cluster that it has left since.
fn speaker(state: &State, held: &Held, owner: OwnerId) -> Result<Option<SerialNumber>, Stop> {
    let Some(serial) = held.serial else { return Ok(None) };
    if state.owner(serial)? == Some(owner) {
        return Ok(Some(serial));
    }
    Ok(state.cluster(ClusterId(owner.0))?.map(|cluster| cluster.primary))
}

fn remove_users(
    state: &mut State,
    held: &Held,
    owner: OwnerId,
    vdom: VdomName,
    planned: &mut Planned,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let Some(client) = state.client(owner, vdom)?.map(|client| client.id) else { return Ok(()) };
    let mut changes = Vec::new();
    for name in &*held.names {
        let key = UserKey::new(name);
        let there = state.user_ref(client, &key)?.filter(|found| found.deleted_at.is_none());
        let there = there.map(|found| found.attributes.username.clone());
        let (username, outcome, reason) = match (there, name.parse::<Username>()) {
            (Some(username), _) => (username, Outcome::Removed, None),
            (None, Ok(username)) => (username, Outcome::Unchanged, Some(Reason::AlreadyDeleted)),
            (None, Err(_)) => continue,
        };
        if outcome == Outcome::Removed {
            detach(state, owner, vdom, &key, context)?;
            changes.push(Change::state(Subject::User(vdom, username.clone()), "active", "deleted"));
        }
        planned.answer.users.push(UserItem { vdom, username, outcome, reason, detail: String::new() });
    }
    let name = match held.serial {
        Some(serial) => Name::Device(serial),
        None if vdom == VdomName::WEB_APP => Name::Resource(format!("webApps/{}", owner.0).into()),
        None => Name::Resource(format!("authClients/{}", client.0).into()),
    };
    let of_client = Planned::about(planned.answer.clone(), client.0, name, changes);
    planned.records.extend(of_client.records);
    Ok(())
}
