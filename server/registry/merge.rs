//! Auth clients that change hands: from a device to its cluster, or back. Ids stay, users stay, counters stay exact; what becomes one is listed.

use muster_proto::{Reason, Text, UserKey, VdomName};

use super::auth_client::later;
use super::users::{digest_of, toggle};
use super::{
    AuthClient, AuthClientId, Change, Context, DeleteMode, Item, Outcome, OwnerId, RealmId, Refusal, State, Stop,
    Subject, Tombstone, UserItem,
};

/// What became of auth clients that changed hands.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) items: Vec<Item>,
    pub(super) users: Vec<UserItem>,
    pub(super) changes: Vec<Change>,
}

impl Moved {
    pub(super) fn extend(&mut self, other: Self) {
        self.items.extend(other.items);
        self.users.extend(other.users);
        self.changes.extend(other.changes);
    }
}

/// Gives every auth client of one owner to another one that has none for the same VDOM, deleted ones too.
pub(super) fn hand_over(
    state: &mut State,
    from: OwnerId,
    to: OwnerId,
    reason: Reason,
    context: &Context<'_>,
) -> Result<Moved, Stop> {
    let mut moved = Moved::default();
    let clients: Vec<(VdomName, bool)> = state.clients(from)?.map(|it| (it.vdom, it.is_active())).collect();
    // What stands in the way has no users: it was emptied before.
    for (vdom, _) in &clients {
        park(state, to, *vdom)?;
    }
    for (vdom, active) in clients {
        give(state, from, to, vdom, context);
        if active {
            moved.items.push(Item { vdom, outcome: Outcome::Updated, reason: Some(reason) });
        }
    }
    Ok(moved)
}

/// Refuses what [`merge`] cannot do, before anything is done.
pub(super) fn may_merge(state: &State, from: OwnerId, to: OwnerId) -> Result<(), Stop> {
    for client in state.clients(from)?.filter(|client| client.users > 0) {
        let Some(existing) = state.client(to, client.vdom)? else { continue };
        let vdom = client.vdom;
        let refusal = match existing.deleted.as_deref().map(|tombstone| tombstone.mode) {
            Some(DeleteMode::Ban) => (Reason::AuthClientBanned, "the cluster has a ban on"),
            Some(DeleteMode::Retire) => (Reason::AuthClientRetired, "the cluster has retired"),
            None | Some(DeleteMode::Evict) if existing.realm != client.realm => {
                (Reason::ClusterRealmsDiffer, "the device and the cluster are in different realms with")
            }
            None | Some(DeleteMode::Evict) => continue,
        };
        let message =
            format!("{} the VDOM {:?}, and the device has {} users there", refusal.1, vdom.as_str(), client.users);
        return Err(Refusal::new(refusal.0, message).with("vdom", vdom).into());
    }
    Ok(())
}

/// Gives every auth client of a device to its cluster. Where the cluster has one for the same VDOM, the references move to that one.
pub(super) fn merge(
    state: &mut State,
    from: OwnerId,
    to: OwnerId,
    cluster: &Text,
    context: &Context<'_>,
) -> Result<Moved, Stop> {
    may_merge(state, from, to)?;
    let mut moved = Moved::default();
    let clients: Vec<AuthClient> = state.clients(from)?.cloned().collect();
    for client in clients {
        let vdom = client.vdom;
        if state.client(to, vdom)?.is_none() {
            give(state, from, to, vdom, context);
            if client.is_active() {
                moved.items.push(Item { vdom, outcome: Outcome::Updated, reason: Some(Reason::MovedToCluster) });
            }
            continue;
        }
        if client.users > 0 {
            merge_users(state, from, to, vdom, &mut moved, context)?;
        }
        if client.is_active() {
            let why = format!("merged into the cluster {cluster}").parse().unwrap_or_default();
            if let Some(client) = state.auth_clients.change(&(from, vdom)) {
                client.deleted = Some(Box::new(Tombstone { why, ..Tombstone::evicted(context) }));
                client.changed(context.now);
            }
            moved.changes.push(Change::state(Subject::Vdom(vdom), "active", "merged"));
            moved.items.push(Item { vdom, outcome: Outcome::Removed, reason: Some(Reason::MovedToCluster) });
        }
        park(state, from, vdom)?;
    }
    Ok(moved)
}

fn give(state: &mut State, from: OwnerId, to: OwnerId, vdom: VdomName, context: &Context<'_>) {
    state.auth_clients.rekey(&(from, vdom), (to, vdom), |client| {
        client.owner = to;
        client.changed(context.now);
    });
}

/// Puts an auth client that has no users aside, where no report finds it: it is nobody's from then on. Negative ids are before all others,
/// so that the place is free in the database before another row takes it.
pub(super) fn park(state: &mut State, owner: OwnerId, vdom: VdomName) -> Result<(), Stop> {
    let Some(id) = state.client(owner, vdom)?.map(|client| client.id) else { return Ok(()) };
    let nobody = OwnerId(-id.0);
    state.auth_clients.rekey(&(owner, vdom), (nobody, vdom), |client| client.owner = nobody);
    Ok(())
}

/// Moves the references of one VDOM to the auth client of another owner in the same realm.
fn merge_users(
    state: &mut State,
    from: OwnerId,
    to: OwnerId,
    vdom: VdomName,
    moved: &mut Moved,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let (Some((source, realm)), Some((target, active))) = (
        state.client(from, vdom)?.map(|client| (client.id, client.realm)),
        state.client(to, vdom)?.map(|client| (client.id, client.is_active())),
    ) else {
        return Ok(());
    };
    let keys: Vec<UserKey> =
        state.user_refs_of(source)?.filter(|it| it.deleted_at.is_none()).map(|it| it.key.clone()).collect();
    state.user_refs_of(target)?.next();
    let before = state.client(to, vdom)?.map_or(0, |client| client.users);
    for key in keys {
        merge_user(state, (from, source), (to, target), (vdom, realm), &key, moved, context)?;
    }
    if let Some(client) = state.auth_clients.change(&(to, vdom)) {
        client.deleted = None;
        client.changed(context.now);
        let subject = Subject::Vdom(vdom);
        let (before, after) = (before.to_string().into(), client.users.to_string().into());
        moved.changes.push(Change { subject, field: "users", before, after });
    }
    if !active {
        moved.changes.push(Change::state(Subject::Vdom(vdom), "deleted", "active"));
    }
    Ok(())
}

fn merge_user(
    state: &mut State,
    (from, source): (OwnerId, AuthClientId),
    (to, target): (OwnerId, AuthClientId),
    (vdom, realm): (VdomName, RealmId),
    key: &UserKey,
    moved: &mut Moved,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let Some(found) = state.user_ref(source, key)?.cloned() else { return Ok(()) };
    let of_user = digest_of(&found.attributes);
    let existing = state.user_ref(target, key)?.map(|existing| existing.deleted_at.is_none());
    let at = (source, key.clone());
    match existing {
        None => state.user_refs.rekey(&at, (target, key.clone()), |it| {
            it.client = target;
            it.updated_at = later(it.updated_at, context.now);
        }),
        Some(present) => {
            if let Some(it) = state.user_refs.change(&at) {
                it.deleted_at = Some(context.now);
                it.updated_at = later(it.updated_at, context.now);
            }
            // One that is gone returns under its old id with what the device says of the user.
            if !present && let Some(it) = state.user_refs.change(&(target, key.clone())) {
                it.deleted_at = None;
                it.user = found.user;
                it.attributes = found.attributes.clone();
                it.updated_at = later(it.updated_at, context.now);
            }
        }
    }
    if let Some(client) = state.auth_clients.change(&(from, vdom)) {
        client.users -= 1;
        toggle(&mut client.users_digest, &of_user);
    }
    let username = found.attributes.username;
    if existing == Some(true) {
        state.user(realm, key)?;
        if let Some(user) = state.users.change(&(realm, key.clone())) {
            user.references -= 1;
            user.updated_at = later(user.updated_at, context.now);
        }
        moved.changes.push(Change::state(Subject::User(vdom, username.clone()), "on both", "one reference"));
        let reason = Some(Reason::UserMerged);
        moved.users.push(UserItem { vdom, username, outcome: Outcome::Removed, reason, detail: String::new() });
    } else if let Some(client) = state.auth_clients.change(&(to, vdom)) {
        client.users += 1;
        toggle(&mut client.users_digest, &of_user);
    }
    Ok(())
}
