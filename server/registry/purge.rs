//! Purging: what was deleted longer ago than the retention time is removed for good, and so is what an admin does not want to keep.
//!
//! Ids are never given again: a device that returns after this is a new one. A ban must not end by itself, so of what is banned the row with the
//! tombstone stays.

use muster_proto::{Reason, SerialNumber, Timestamp, UserKey};

use super::delete::{known, within_reach};
use super::{
    Answer, AuthClient, AuthClientId, Change, ClusterId, Context, DeleteMode, Item, Name, Outcome, OwnerId, Planned,
    RealmId, Refusal, State, Stop, Subject, Tombstone, WebAppId,
};

/// An admin purges a deleted device now.
pub(super) fn device(state: &mut State, serial: SerialNumber, context: &Context<'_>) -> Result<Planned, Stop> {
    within_reach(state, serial, context)?;
    let device = known(state, serial)?;
    if device.is_active() {
        let message = format!("{serial} is active");
        return Err(Refusal::new(Reason::DeviceActive, message).into());
    }
    let owner = device.owner();
    // What was deleted in another realm would go for good, too.
    if state.clients(owner)?.any(|client| !context.may_touch(client.realm)) {
        let message = format!("{serial} had auth clients in realms that {} has no part in", context.caller);
        return Err(Refusal::new(Reason::RoleNotAllowed, message).into());
    }
    sweep(state, Some(serial), owner, &|_| true)
}

/// The retention time of something of this owner, or of this device, has ended.
pub(super) fn overdue(
    state: &mut State,
    serial: Option<SerialNumber>,
    owner: OwnerId,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    // Whoever is gone, or has joined a cluster since it was found, is left alone.
    let serial = match serial {
        Some(serial) if state.owner(serial)? == Some(owner) => Some(serial),
        _ => None,
    };
    let (settings, now) = (state.settings().clone(), context.now);
    sweep(state, serial, owner, &|at| settings.retention_end(at) <= now)
}

/// Removes whatever went at a time that is over.
fn sweep(
    state: &mut State,
    serial: Option<SerialNumber>,
    owner: OwnerId,
    over: &dyn Fn(Timestamp) -> bool,
) -> Result<Planned, Stop> {
    let is_over = |tombstone: &Tombstone| over(tombstone.at);
    let mut changes = Vec::new();
    let mut items = Vec::new();
    let mut users = 0;
    let clients: Vec<AuthClient> = state.clients(owner)?.cloned().collect();
    for client in clients {
        let purged = references(state, client.id, client.realm, over)?;
        users += purged;
        if purged > 0 {
            changes.push(Change::purged(Subject::Vdom(client.vdom), "users", purged));
        }
        let key = (owner, client.vdom);
        if client.deleted.as_deref().is_some_and(|it| is_over(it) && it.mode != DeleteMode::Ban) {
            state.auth_clients.remove(&key);
            changes.push(Change::state(Subject::Vdom(client.vdom), "deleted", "purged"));
            items.push(Item { vdom: client.vdom, outcome: Outcome::Removed, reason: None });
        } else if client.removed_at.is_some_and(over)
            && let Some(client) = state.auth_clients.change(&key)
        {
            client.removed_at = None;
            changes
                .push(Change { subject: Subject::Vdom(client.vdom), ..Change::value("undelete", "possible", "ended") });
        }
    }
    let Some(serial) = serial else {
        // A Web app goes with its auth client.
        let goes = state.web_apps()?.any(|app| app.owner() == owner) && state.clients(owner)?.next().is_none();
        if goes {
            state.web_apps.remove(&WebAppId(owner.0));
            changes.insert(0, Change::state(Subject::Itself, "deleted", "purged"));
        }
        let answer = Answer { purged_users: users, ..Answer::new(outcome(goes, &changes)) };
        let kind = if state.cluster(ClusterId(owner.0))?.is_some() { "clusters" } else { "webApps" };
        let name = Name::Resource(format!("{kind}/{}", owner.0).into());
        return Ok(Planned::about(Answer { items, ..answer }, owner.0, name, changes));
    };
    let device = known(state, serial)?;
    let id = device.id.0;
    let tombstone = device.deleted.as_deref();
    // A banned VDOM needs its device: else it would return with the device as if it were new.
    let banned = device.is_banned() || state.clients(owner)?.any(AuthClient::is_banned);
    let goes = tombstone.is_some_and(is_over) && !banned;
    let kept = banned.then_some(Reason::BanKept);
    let answer = Answer { reason: kept, purged_users: users, ..Answer::of(device, Outcome::Unchanged, items) };
    if goes {
        state.devices.remove(&serial);
        changes.insert(0, Change::state(Subject::Itself, "deleted", "purged"));
    }
    let answer = Answer { outcome: outcome(goes, &changes), ..answer };
    Ok(Planned::about(answer, id, Name::Device(serial), changes))
}

fn outcome(goes: bool, changes: &[Change]) -> Outcome {
    match (goes, changes.is_empty()) {
        (true, _) => Outcome::Removed,
        (false, false) => Outcome::Updated,
        (false, true) => Outcome::Unchanged,
    }
}

/// Removes the references of an auth client that are gone for long enough, and the persons that nobody can bring back any more.
fn references(
    state: &mut State,
    client: AuthClientId,
    realm: RealmId,
    over: &dyn Fn(Timestamp) -> bool,
) -> Result<i64, Stop> {
    let gone = state.user_refs_of(client)?.filter(|it| it.deleted_at.is_some_and(over));
    let gone: Vec<UserKey> = gone.map(|it| it.key.clone()).collect();
    let mut count = 0;
    for key in gone {
        // The person went with its last reference, and so later than every other one: none of them can be brought back any more.
        if state.user(realm, &key)?.is_some_and(|person| person.deleted_at.is_some_and(over)) {
            state.users.remove(&(realm, key.clone()));
        }
        state.user_refs.remove(&(client, key));
        count += 1;
    }
    Ok(count)
}

impl Change {
    fn purged(subject: Subject, field: &'static str, count: i64) -> Self {
        Self { subject, ..Self::value(field, count, 0) }
    }
}
