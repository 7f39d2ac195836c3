//! Users disabled, enabled and deleted by admins.

use muster_proto::{Reason, UserKey};

use super::auth_client::later;
use super::users::detach;
use super::{
    After, Answer, Change, ClientItem, Context, Name, NamedClient, Outcome, Planned, RealmId, Record, Refusal, State,
    Stop, Subject, User, UserId,
};

/// A user as an admin names it: by its id, with where it was when that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUser {
    /// Its id.
    pub id: UserId,
    /// Its realm.
    pub realm: RealmId,
    /// What makes it the same person there.
    pub key: UserKey,
    /// Only if this is its etag.
    pub etag: Option<String>,
}

/// Says whether a user may authenticate. It counts towards the quota all the same.
pub(super) fn set_disabled(
    state: &mut State,
    named: &NamedUser,
    disabled: bool,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let user = find(state, named, context)?.clone();
    if user.deleted_at.is_some() {
        let message = format!("users/{} is gone: no auth client refers to it any more", user.id.0);
        return Err(Refusal::new(Reason::UserUnknown, message).into());
    }
    if user.disabled == disabled {
        return Ok(Planned::unchanged(answer(Outcome::Unchanged, user)));
    }
    if let Some(user) = state.users.change(&(named.realm, named.key.clone())) {
        user.disabled = disabled;
        user.updated_at = later(user.updated_at, context.now);
    }
    let word = |disabled: bool| if disabled { "disabled" } else { "enabled" };
    let changes = vec![Change::state(Subject::Itself, word(!disabled), word(disabled))];
    let user = find_after(state, named)?;
    Ok(Planned::about(answer(Outcome::Updated, user), named.id.0, resource(named.id), changes))
}

/// Takes a user off all of its auth clients. `clients` are those that referred to it when it was looked up.
pub(super) fn delete(
    state: &mut State,
    named: &NamedUser,
    clients: &[NamedClient],
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let user = find(state, named, context)?.clone();
    if user.deleted_at.is_some() {
        let answer = Answer { reason: Some(Reason::AlreadyDeleted), ..answer(Outcome::Unchanged, user) };
        return Ok(Planned::unchanged(answer));
    }
    let mut items = Vec::with_capacity(clients.len());
    let mut records = Vec::with_capacity(clients.len());
    for client in clients {
        let refers = state.user_ref(client.id, &named.key)?.filter(|found| found.deleted_at.is_none());
        let Some(username) = refers.map(|found| found.attributes.username.clone()) else { continue };
        if state.client(client.owner, client.vdom)?.is_none_or(|found| found.id != client.id) {
            return Err(meanwhile(named).into());
        }
        detach(state, client.owner, client.vdom, &named.key, context)?;
        // Of each auth client by itself, because a VDOM of the same name is on many devices.
        let changes = vec![Change::state(Subject::User(client.vdom, username), "active", "deleted")];
        let name = Name::Resource(format!("authClients/{}", client.id.0).into());
        records.push(Record { about: client.id.0, name, generation: 0, changes });
        items.push(ClientItem {
            client: client.clone(),
            outcome: Outcome::Removed,
            reason: Some(Reason::UserMayReturn),
            users_total: 0,
            users: Vec::new(),
        });
    }
    let after = find_after(state, named)?;
    if after.deleted_at.is_none() {
        // An auth client that was not there when the user was looked up refers to it now.
        return Err(meanwhile(named).into());
    }
    let answer = Answer { reason: Some(Reason::UserMayReturn), clients: items, ..answer(Outcome::Removed, after) };
    let changes = vec![Change::state(Subject::Itself, "active", "deleted")];
    let mut planned = Planned::about(answer, named.id.0, resource(named.id), changes);
    planned.records.extend(records);
    Ok(planned)
}

fn resource(id: UserId) -> Name {
    Name::Resource(format!("users/{}", id.0).into())
}

fn answer(outcome: Outcome, user: User) -> Answer {
    Answer { after: After::User(user), ..Answer::new(outcome) }
}

fn meanwhile(named: &NamedUser) -> Refusal {
    Refusal::new(Reason::EtagMismatch, format!("users/{} changed while it was looked up", named.id.0))
}

/// The user, if it is still where it was when its name was looked up, and within reach.
fn find<'s>(state: &'s State, named: &NamedUser, context: &Context<'_>) -> Result<&'s User, Stop> {
    if !context.may_touch(named.realm) {
        return Err(Refusal::new(Reason::UserUnknown, format!("there never was users/{}", named.id.0)).into());
    }
    let user = state.user(named.realm, &named.key)?.filter(|user| user.id == named.id);
    let user = user.ok_or_else(|| meanwhile(named))?;
    if named.etag.as_ref().is_some_and(|etag| *etag != user.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the user changed since its etag was read").into());
    }
    Ok(user)
}

fn find_after(state: &State, named: &NamedUser) -> Result<User, Stop> {
    state.user(named.realm, &named.key)?.cloned().ok_or_else(|| meanwhile(named).into())
}
