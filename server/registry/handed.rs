//! What a command did to auth clients that no rule says by itself: where a new one went, and who changed hands with which users.
//!
//! The audit log needs it to be enough for the history of an auth client, whichever rule was at work.

use std::collections::{BTreeMap, BTreeSet};

use super::{AuthClient, AuthClientId, Change, ClusterId, Name, OwnerId, RealmId, Record, State, Stop, Subject};

/// The records of a command that was just worked out.
pub(super) fn handed(state: &State) -> Result<Vec<Record>, Stop> {
    let mut before: BTreeMap<AuthClientId, (OwnerId, bool)> = BTreeMap::new();
    let mut after: BTreeMap<AuthClientId, &AuthClient> = BTreeMap::new();
    for (key, found) in state.auth_clients.found() {
        // What stood under any key first is what was there before the command.
        if let Some(found) = found {
            before.entry(found.id).or_insert((found.owner, found.is_active()));
        }
        if let Some(client) = state.auth_clients.get(key) {
            after.insert(client.id, client);
        }
    }
    let mut changes: BTreeMap<AuthClientId, Vec<Change>> = BTreeMap::new();
    let mut handed_over = false;
    let mut woken = Vec::new();
    for (id, client) in &after {
        match before.get(id).copied() {
            // New ones go to the default realm, unless it is said where.
            None if client.realm != RealmId::DEFAULT => {
                if let Some(realm) = state.realm(client.realm)? {
                    changes.entry(*id).or_default().push(Change::value("realm", "", &realm.name));
                }
            }
            Some((owner, _)) if owner != client.owner => {
                handed_over = true;
                let change = Change::value("owner", label(state, owner), label(state, client.owner));
                changes.entry(*id).or_default().push(change);
            }
            Some((_, false)) if client.is_active() => woken.push(*id),
            _ => {}
        }
    }
    if handed_over {
        // It came back with the users that another one brought.
        for id in woken {
            changes.entry(id).or_default().push(Change::value("state", "deleted", "active"));
        }
        came_along(state, &after, &mut changes);
    }
    let record = |(id, changes): (AuthClientId, Vec<Change>)| Record {
        about: id.0,
        name: Name::Resource(format!("authClients/{}", id.0).into()),
        generation: 0,
        changes,
    };
    Ok(changes.into_iter().map(record).collect())
}

/// The users that auth clients have now and had not before.
fn came_along(
    state: &State,
    clients: &BTreeMap<AuthClientId, &AuthClient>,
    changes: &mut BTreeMap<AuthClientId, Vec<Change>>,
) {
    let mut seen = BTreeSet::new();
    for (key, before) in state.user_refs.found() {
        if !seen.insert(key) || before.is_some_and(|before| before.deleted_at.is_none()) {
            continue;
        }
        let Some(now) = state.user_refs.get(key).filter(|now| now.deleted_at.is_none()) else { continue };
        let Some(client) = clients.get(&now.client) else { continue };
        let subject = Subject::User(client.vdom, now.attributes.username.clone());
        let was = if before.is_some() { "deleted" } else { "" };
        changes.entry(client.id).or_default().push(Change::state(subject, was, "active"));
    }
}

/// An owner by name. Ids of new clusters differ each time that a command is planned.
fn label(state: &State, owner: OwnerId) -> String {
    if owner.0 < 0 {
        return "merged".to_owned();
    }
    if let Some(cluster) = state.clusters.get(&ClusterId(owner.0)) {
        return format!("cluster {}", cluster.name);
    }
    let device = state.devices.iter().map(|(_, device)| device).find(|device| device.id.0 == owner.0);
    device.map_or_else(|| "another owner".to_owned(), |device| format!("devices/{}", device.serial))
}
