//! Auth clients moved between realms, with their users.
//!
//! Two users of the same name in one realm are the same person: the one that was in the realm first is kept (domain sheet, section 1.9). A
//! person whom other auth clients of the old realm refer to stays there. Nobody is dropped without being listed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use muster_proto::{Reason, Text, UserKey, Username};

use super::auth_client::later;
use super::quota::{Growth, admit_done};
use super::realms::{deleted, known};
use super::{
    After, Answer, AuthClient, Change, ClientItem, Context, Name, NamedClient, Needs, Outcome, Planned, Realm, RealmId,
    Record, Refusal, State, Stop, Subject, User, UserId, UserItem,
};

/// A person who comes along, as auth clients that are moved refer to it.
type Person = (RealmId, UserKey);

/// Moves auth clients to a realm, in their order, all or none of those that can be.
pub(super) fn auth_clients(
    state: &mut State,
    clients: &[NamedClient],
    target: RealmId,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let (items, records) = to_realm(state, clients, target, context)?;
    let moved = items.iter().any(|item| item.outcome == Outcome::Updated);
    let outcome = if moved { Outcome::Updated } else { Outcome::Unchanged };
    let after = After::Realm(known(state, target)?.clone());
    let answer = Answer { clients: items, after, ..Answer::new(outcome) };
    Ok(Planned { records, ..Planned::unchanged(answer) })
}

/// Gives an auth client another alias, or moves it, or both.
pub(super) fn update(
    state: &mut State,
    named: &NamedClient,
    alias: Option<&Text>,
    realm: Option<RealmId>,
    etag: Option<&str>,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let client = find(state, named, context)?.ok_or_else(|| unknown(named))?;
    if etag.is_some_and(|etag| etag != client.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the auth client changed since its etag was read").into());
    }
    if !client.is_active() {
        return Err(Refusal::new(Reason::AuthClientDeleted, format!("{} is deleted", named.label)).into());
    }
    let before = client.alias.clone();
    let (mut items, mut records) = (Vec::new(), Vec::new());
    if let Some(realm) = realm {
        (items, records) = to_realm(state, std::slice::from_ref(named), realm, context)?;
    }
    if let Some(alias) = alias.filter(|alias| **alias != before) {
        if let Some(client) = state.auth_clients.change(&(named.owner, named.vdom)) {
            client.alias = alias.clone();
            client.changed(context.now);
        }
        let change = Change::value("alias", &before, alias);
        match records.first_mut() {
            Some(record) => record.changes.push(change),
            None => records.push(record(named, vec![change])),
        }
    }
    let outcome = if records.is_empty() { Outcome::Unchanged } else { Outcome::Updated };
    let client = find(state, named, context)?.ok_or_else(|| unknown(named))?;
    let answer = Answer { clients: items, after: After::AuthClient(client.clone()), ..Answer::new(outcome) };
    Ok(Planned { records, ..Planned::unchanged(answer) })
}

fn unknown(named: &NamedClient) -> Refusal {
    Refusal::new(Reason::AuthClientUnknown, format!("there is no auth client {}", named.label))
}

/// The auth client, if it is still where it was when its name was looked up, and within reach.
fn find<'s>(state: &'s State, named: &NamedClient, context: &Context<'_>) -> Result<Option<&'s AuthClient>, Stop> {
    let client = state.client(named.owner, named.vdom)?;
    Ok(client.filter(|client| client.id == named.id && context.may_touch(client.realm)))
}

fn record(named: &NamedClient, changes: Vec<Change>) -> Record {
    Record {
        about: named.id.0,
        name: Name::Resource(format!("authClients/{}", named.id.0).into()),
        generation: 0,
        changes,
    }
}

/// What became of each auth client, and what changed.
pub(super) fn to_realm(
    state: &mut State,
    clients: &[NamedClient],
    target: RealmId,
    context: &mut Context<'_>,
) -> Result<(Vec<ClientItem>, Vec<Record>), Stop> {
    if !context.may_touch(target) {
        return Err(Refusal::new(Reason::RealmUnknown, format!("there never was realms/{}", target.0)).into());
    }
    let realm = known(state, target)?.clone();
    if !realm.is_active() {
        return Err(deleted(&realm).into());
    }
    let registered = state.settings().users;
    let mut items = Vec::with_capacity(clients.len());
    let mut sources = vec![None; clients.len()];
    let mut people: BTreeMap<Person, Vec<(usize, Username)>> = BTreeMap::new();
    for (index, named) in clients.iter().enumerate() {
        let client = find(state, named, context)?.map(|client| (client.is_active(), client.realm, client.users));
        let (outcome, reason) = match client {
            None => (Outcome::Refused, Some(Reason::AuthClientUnknown)),
            Some((false, ..)) => (Outcome::Refused, Some(Reason::AuthClientDeleted)),
            Some((true, from, _)) if from == target => (Outcome::Unchanged, None),
            Some((true, from, _)) => {
                sources[index] = Some(from);
                (Outcome::Updated, None)
            }
        };
        let users_total = client.map_or(0, |(_, _, users)| users);
        items.push(ClientItem { client: named.clone(), outcome, reason, users_total, users: Vec::new() });
        let Some(from) = sources[index] else { continue };
        for found in state.user_refs_of(named.id)?.filter(|found| found.deleted_at.is_none()) {
            let username = found.attributes.username.clone();
            people.entry((from, found.key.clone())).or_default().push((index, username));
        }
    }
    load_people(state, &people, target)?;
    // Who moves first is kept.
    let mut people: Vec<_> = people.into_iter().collect();
    people.sort_by_key(|(_, members)| members.first().map(|(index, _)| *index));
    let mut changes: Vec<Vec<Change>> = vec![Vec::new(); clients.len()];
    for (person, members) in people {
        bring(state, &realm, &person, &members, clients, &mut items, &mut changes, context)?;
    }
    let mut records = Vec::new();
    for (index, (named, of_users)) in clients.iter().zip(changes).enumerate() {
        let Some(from) = sources[index] else { continue };
        let before = known(state, from)?.name.clone();
        if let Some(client) = state.auth_clients.change(&(named.owner, named.vdom)) {
            client.realm = target;
            client.changed(context.now);
        }
        let mut all = vec![Change::value("realm", before, &realm.name)];
        all.extend(of_users);
        records.push(record(named, all));
    }
    let growth =
        Growth { realm: known(state, target)?.users - realm.users, register: state.settings().users - registered };
    admit_done(state, target, growth)?;
    Ok((items, records))
}

/// Asks for all of the people at once: one trip to the database, however many they are.
fn load_people<T>(state: &State, people: &BTreeMap<Person, T>, target: RealmId) -> Result<(), Stop> {
    let mut needs = Needs::default();
    for (from, key) in people.keys() {
        let both = [*from, target].map(|realm| (realm, key.clone()));
        needs.users.extend(both.into_iter().filter(|person| !state.users.knows(person)));
        needs.realms.extend(Some(*from).filter(|realm| !state.realms.knows(realm)));
    }
    if needs.is_empty() { Ok(()) } else { Err(needs.into()) }
}

/// How a person comes to the new realm.
enum Fate {
    /// It moves, with everything about it.
    Moves,
    /// It stays for other auth clients, and the new realm gets one like it.
    Split,
    /// The new realm had this person before.
    Returns(User),
    /// The new realm has this person.
    Merges(User),
}

/// Brings one person to the new realm, for all of the auth clients that are moved with it.
#[expect(clippy::too_many_arguments, reason = "one step of a loop, apart for its length")]
fn bring(
    state: &mut State,
    realm: &Realm,
    (from, key): &Person,
    members: &[(usize, Username)],
    clients: &[NamedClient],
    items: &mut [ClientItem],
    changes: &mut [Vec<Change>],
    context: &mut Context<'_>,
) -> Result<(), Stop> {
    let from = known(state, *from)?.clone();
    let Some(person) = state.user(from.id, key)?.filter(|user| user.deleted_at.is_none()).cloned() else {
        let message = format!("an auth client refers to a user that realm {} does not have", from.name);
        return Err(Refusal::new(Reason::Internal, message).into());
    };
    let coming = i64::try_from(members.len()).unwrap_or(i64::MAX);
    let staying = person.references - coming;
    let fate = match state.user(realm.id, key)?.cloned() {
        None if staying <= 0 => Fate::Moves,
        None => Fate::Split,
        Some(there) if there.deleted_at.is_some() => Fate::Returns(there),
        Some(there) => Fate::Merges(there),
    };
    let there = arrive(state, realm.id, key, &person, coming, &fate, context);
    if !matches!(fate, Fate::Moves) {
        leave(state, &from, key, staying, context);
    }
    for (index, username) in members {
        let Some(named) = clients.get(*index) else { continue };
        if let Some(found) = state.user_refs.change(&(named.id, key.clone())) {
            found.user = there;
            found.updated_at = later(found.updated_at, context.now);
        }
        let Some((outcome, reason)) = said(&fate, staying) else { continue };
        let detail = detail(&fate, &person, staying, &from, realm);
        let subject = Subject::User(named.vdom, username.clone());
        let (before, after) = (format!("users/{}", person.id.0), kept(&fate));
        changes[*index].push(Change { subject, field: "user", before: before.into(), after: after.into() });
        items[*index].users.push(UserItem {
            vdom: named.vdom,
            username: username.clone(),
            outcome,
            reason: Some(reason),
            detail,
        });
    }
    Ok(())
}

/// Puts the person into the new realm. Answers which user the auth clients refer to from now on.
fn arrive(
    state: &mut State,
    realm: RealmId,
    key: &UserKey,
    person: &User,
    coming: i64,
    fate: &Fate,
    context: &mut Context<'_>,
) -> UserId {
    let at = (realm, key.clone());
    let mut grown = 1;
    let id = match fate {
        Fate::Moves => {
            state.users.rekey(&(person.realm, key.clone()), at, |user| {
                user.realm = realm;
                user.updated_at = later(user.updated_at, context.now);
            });
            if let Some(realm) = state.realms.change(&person.realm) {
                realm.users -= 1;
            }
            person.id
        }
        Fate::Split => {
            let id = UserId(context.id());
            let now = context.now;
            state
                .users
                .put(at, User { id, realm, references: coming, created_at: now, updated_at: now, ..person.clone() });
            id
        }
        Fate::Returns(there) | Fate::Merges(there) => {
            if let Some(user) = state.users.change(&at) {
                let returns = user.deleted_at.take().is_some();
                // Whoever is disabled stays so until an admin says otherwise.
                user.disabled |= person.disabled;
                if returns {
                    user.username = person.username.clone();
                }
                user.references = if returns { coming } else { user.references + coming };
                user.updated_at = later(user.updated_at, context.now);
                grown = i64::from(returns);
            }
            there.id
        }
    };
    if let Some(realm) = state.realms.change(&realm) {
        realm.users += grown;
    }
    if !matches!(fate, Fate::Moves)
        && grown > 0
        && let Some(settings) = state.settings.change(&())
    {
        settings.users += grown;
    }
    id
}

/// Takes the person out of the old realm, or leaves it there for the other auth clients that refer to it.
fn leave(state: &mut State, from: &Realm, key: &UserKey, staying: i64, context: &Context<'_>) {
    if let Some(user) = state.users.change(&(from.id, key.clone())) {
        user.references = staying.max(0);
        user.updated_at = later(user.updated_at, context.now);
        if staying <= 0 {
            user.deleted_at = Some(context.now);
        }
    }
    if staying <= 0 {
        if let Some(realm) = state.realms.change(&from.id) {
            realm.users -= 1;
        }
        if let Some(settings) = state.settings.change(&()) {
            settings.users -= 1;
        }
    }
}

/// What is to be said of a person; nothing if it just comes along.
fn said(fate: &Fate, staying: i64) -> Option<(Outcome, Reason)> {
    match fate {
        Fate::Moves => None,
        Fate::Split => Some((Outcome::Created, Reason::UserSplit)),
        Fate::Returns(_) => Some((Outcome::Restored, Reason::UsersMerged)),
        Fate::Merges(_) if staying > 0 => Some((Outcome::Updated, Reason::UsersMerged)),
        Fate::Merges(_) => Some((Outcome::Removed, Reason::UsersMerged)),
    }
}

/// Who the auth clients refer to from now on; the id of a new user is not known before it is made.
fn kept(fate: &Fate) -> String {
    match fate {
        Fate::Returns(there) | Fate::Merges(there) => format!("users/{}", there.id.0),
        Fate::Moves | Fate::Split => "a new user".to_owned(),
    }
}

/// Which user is kept, and what is lost.
fn detail(fate: &Fate, person: &User, staying: i64, from: &Realm, to: &Realm) -> String {
    let id = format!("users/{}", person.id.0);
    let lost = if staying > 0 {
        format!("{id} stays in realm {} for {staying} other auth clients", from.name)
    } else {
        format!("{id} of realm {} is gone", from.name)
    };
    let mut text = match fate {
        Fate::Moves => return String::new(),
        Fate::Split => return format!("{lost}, and realm {} gets a user of its own", to.name),
        Fate::Returns(there) => {
            format!("users/{}, whom realm {} had before, is back and kept; {lost}", there.id.0, to.name)
        }
        Fate::Merges(there) => format!("users/{}, who was in realm {} first, is kept; {lost}", there.id.0, to.name),
    };
    if let Fate::Merges(there) | Fate::Returns(there) = fate {
        if there.username != person.username && matches!(fate, Fate::Merges(_)) {
            let _ = write!(text, "; it is spelled {}, no longer {}", there.username, person.username);
        }
        text.push_str(match (person.disabled, there.disabled) {
            (true, false) => "; the one that comes is disabled, and so the one that is kept is disabled now",
            (false, true) => "; the one that is kept is disabled, and so the user is disabled on this auth client too",
            (false, false) | (true, true) => "",
        });
    }
    text
}
