//! Undeleting: what a deletion took comes back, exactly, as long as the retention time of the settings has not ended.
//!
//! A deletion marks everything that it takes with its own time, which is later than every change before it: so the VDOMs and the users that went
//! with it can be told from those that had gone by themselves. What was banned or retired for longer than the retention time may return all the
//! same, with nothing: a ban must be possible to lift.

use muster_proto::{Reason, SerialNumber, Timestamp, UserKey, VdomName};

use super::auth_client::later;
use super::delete::{known, one_of, within_reach};
use super::users::{digest_of, toggle};
use super::{
    After, Answer, AuthClient, Change, Context, DeleteMode, Item, Name, Outcome, OwnerId, Planned, RealmId, Refusal,
    State, Stop, Subject, Tombstone, User, UserId, UserItem, quota,
};

/// An admin brings a device back, with the auth clients and the users that its deletion took.
pub(super) fn device(state: &mut State, serial: SerialNumber, context: &mut Context<'_>) -> Result<Planned, Stop> {
    within_reach(state, serial, context)?;
    let device = known(state, serial)?;
    let owner = device.owner();
    let Some(tombstone) = device.deleted.as_deref().cloned() else {
        let answer = Answer::of(device, Outcome::Unchanged, Vec::new());
        return Ok(Planned::unchanged(Answer { reason: Some(Reason::AlreadyActive), ..answer }));
    };
    if let Some(changes) = pardon(state, &tombstone, context)? {
        if let Some(device) = state.devices.change(&serial) {
            device.deleted = Some(Box::new(Tombstone { mode: DeleteMode::Evict, ..tombstone }));
        }
        state.seal(serial, context.now)?;
        let device = known(state, serial)?;
        let answer =
            Answer { reason: Some(Reason::RetentionEnded), ..Answer::of(device, Outcome::Updated, Vec::new()) };
        return Ok(Planned::about(answer, device.id.0, Name::Device(serial), changes));
    }
    let of_the_same = |client: &&AuthClient| client.deleted.as_deref().is_some_and(|it| it.at == tombstone.at);
    let vdoms: Vec<VdomName> = state.clients(owner)?.filter(of_the_same).map(|client| client.vdom).collect();
    let mut back = Back::default();
    for vdom in vdoms {
        back.client(state, owner, vdom, context)?;
        back.items.push(Item { vdom, outcome: Outcome::Restored, reason: None });
    }
    if let Some(device) = state.devices.change(&serial) {
        device.deleted = None;
        device.contacts = 0;
    }
    back.changes.insert(0, Change::state(Subject::Itself, "deleted", "active"));
    back.planned(state, serial, Outcome::Restored, context)
}

/// An admin brings an auth client back with its users; or, if it returned without them, its users.
pub(super) fn auth_client(
    state: &mut State,
    serial: SerialNumber,
    vdom: VdomName,
    etag: Option<&str>,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let (owner, client) = one_of(state, serial, vdom, etag, context)?;
    let mut back = Back::default();
    let outcome = match client.deleted.as_deref() {
        None => {
            let within = |at: &Timestamp| !ended(state, *at, context.now);
            let Some(_) = client.removed_at.filter(within) else {
                let answer = Answer::of(known(state, serial)?, Outcome::Unchanged, Vec::new());
                let answer = Answer { reason: Some(Reason::AlreadyActive), after: After::AuthClient(client), ..answer };
                return Ok(Planned::unchanged(answer));
            };
            back.client(state, owner, vdom, context)?;
            let any = back.users.iter().any(|item| item.outcome == Outcome::Restored);
            if any { Outcome::Updated } else { Outcome::Unchanged }
        }
        Some(_) if !known(state, serial)?.is_active() => {
            let message = format!("{serial} is deleted, and an auth client cannot be there without its device");
            return Err(Refusal::new(Reason::DeviceDeleted, message).into());
        }
        Some(tombstone) => {
            if let Some(changes) = pardon(state, tombstone, context)? {
                let tombstone = Tombstone { mode: DeleteMode::Evict, ..tombstone.clone() };
                if let Some(client) = state.auth_clients.change(&(owner, vdom)) {
                    client.deleted = Some(Box::new(tombstone));
                    client.changed(context.now);
                }
                back.changes = changes.into_iter().map(|it| Change { subject: Subject::Vdom(vdom), ..it }).collect();
                let mut planned = back.planned(state, serial, Outcome::Updated, context)?;
                planned.answer.reason = Some(Reason::RetentionEnded);
                return after(state, owner, vdom, planned);
            }
            let present = state.active_vdoms(owner)?.iter().filter(|vdom| !vdom.is_pseudo()).count();
            if !vdom.is_pseudo() && present >= muster_proto::MAX_VDOMS {
                let message = format!("{serial} has {present} VDOMs already");
                return Err(Refusal::new(Reason::VdomLimit, message).into());
            }
            back.client(state, owner, vdom, context)?;
            Outcome::Restored
        }
    };
    let planned = back.planned(state, serial, outcome, context)?;
    after(state, owner, vdom, planned)
}

/// Shows the auth client as it is after the command.
fn after(state: &State, owner: OwnerId, vdom: VdomName, mut planned: Planned) -> Result<Planned, Stop> {
    if let Some(client) = state.client(owner, vdom)? {
        planned.answer.after = After::AuthClient(client.clone());
    }
    Ok(planned)
}

/// Whether what went at this time can no longer be restored.
pub(super) fn ended(state: &State, at: Timestamp, now: Timestamp) -> bool {
    state.settings().retention_end(at) <= now
}

/// What has been gone for too long to be restored may return all the same, if that was forbidden: what changes then. `None` if it can be
/// restored.
pub(super) fn pardon(state: &State, tombstone: &Tombstone, context: &Context<'_>) -> Result<Option<Vec<Change>>, Stop> {
    if !ended(state, tombstone.at, context.now) {
        return Ok(None);
    }
    if tombstone.mode == DeleteMode::Evict {
        let message =
            format!("it was removed by {} at {}, and what it had is no longer kept", tombstone.by, tombstone.at);
        return Err(Refusal::new(Reason::RetentionEnded, message).into());
    }
    Ok(Some(vec![Change::value("mode", tombstone.mode.as_str(), DeleteMode::Evict.as_str())]))
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Back {
    items: Vec<Item>,
    pub(super) users: Vec<UserItem>,
    pub(super) changes: Vec<Change>,
}

impl Back {
    /// Brings one auth client back, if it is gone, and the users that went with it.
    pub(super) fn client(
        &mut self,
        state: &mut State,
        owner: OwnerId,
        vdom: VdomName,
        context: &mut Context<'_>,
    ) -> Result<(), Stop> {
        let Some(client) = state.client(owner, vdom)?.cloned() else { return Ok(()) };
        if let Some(realm) = state.realm(client.realm)?.filter(|realm| realm.deleted_at.is_some()) {
            let message = format!("the VDOM {vdom} was in the realm {:?}, which is deleted", realm.name.as_str());
            return Err(Refusal::new(Reason::RealmDeleted, message).into());
        }
        let went = |at: Option<Timestamp>| at.is_some() && at == client.removed_at;
        // A reference that was there at some time keeps its row; most auth clients never had one.
        let gone = state.user_refs_of(client.id)?.filter(|it| went(it.deleted_at)).map(|it| it.key.clone());
        let gone: Vec<UserKey> = gone.collect();
        if let Some(row) = state.auth_clients.change(&(owner, vdom)) {
            row.removed_at = None;
            row.changed(context.now);
            if row.deleted.take().is_some() {
                self.changes.push(Change::state(Subject::Vdom(vdom), "deleted", "active"));
            }
        }
        for key in gone {
            let item = attach_again(state, &client, &key, context)?;
            if item.outcome == Outcome::Restored {
                self.changes.push(Change::state(Subject::User(vdom, item.username.clone()), "deleted", "active"));
            } else if let Some(row) = state.auth_clients.change(&(owner, vdom)) {
                // Whoever finds no room now may come later.
                row.removed_at = client.removed_at;
            }
            self.users.push(item);
        }
        Ok(())
    }

    fn planned(
        self,
        state: &mut State,
        serial: SerialNumber,
        outcome: Outcome,
        context: &Context<'_>,
    ) -> Result<Planned, Stop> {
        if !self.changes.is_empty() {
            state.seal(serial, context.now)?;
        }
        let device = known(state, serial)?;
        let answer = Answer { users: self.users, ..Answer::of(device, outcome, self.items) };
        Ok(Planned::about(answer, device.id.0, Name::Device(serial), self.changes))
    }
}

/// Puts a user back on an auth client, if there is room for the person.
fn attach_again(
    state: &mut State,
    client: &AuthClient,
    key: &UserKey,
    context: &mut Context<'_>,
) -> Result<UserItem, Stop> {
    let (row, realm) = ((client.id, key.clone()), client.realm);
    let attributes = match state.user_ref(client.id, key)? {
        Some(found) => found.attributes.clone(),
        None => return Err(Refusal::new(Reason::Internal, "a reference that was just seen is gone").into()),
    };
    let item = |outcome, reason, detail| UserItem {
        vdom: client.vdom,
        username: attributes.username.clone(),
        outcome,
        reason,
        detail,
    };
    if attributes.username.key(state.settings().fold_usernames) != *key {
        // Under its old key it would be a second person of the same name.
        let detail = "fold_usernames was changed since this user was deleted".to_owned();
        return Ok(item(Outcome::Refused, Some(Reason::SettingLocked), detail));
    }
    let person = state.user(realm, key)?.cloned();
    state.realm(realm)?;
    let comes = person.as_ref().is_none_or(|person| person.deleted_at.is_some());
    if comes {
        match quota::admit(state, realm, 0) {
            Err(Stop::Refused(refusal)) => {
                return Ok(item(Outcome::Refused, Some(refusal.reason), refusal.message));
            }
            other => other?,
        }
    }
    let id = present(state, realm, key, person, &attributes.username, context);
    if let Some(found) = state.user_refs.change(&row) {
        found.deleted_at = None;
        found.user = id;
        found.updated_at = later(found.updated_at, context.now);
    }
    if let Some(client) = state.auth_clients.change(&(client.owner, client.vdom)) {
        client.users += 1;
        toggle(&mut client.users_digest, &digest_of(&attributes));
    }
    if comes {
        if let Some(realm) = state.realms.change(&realm) {
            realm.users += 1;
        }
        if let Some(settings) = state.settings.change(&()) {
            settings.users += 1;
        }
    }
    Ok(item(Outcome::Restored, None, String::new()))
}

/// Makes sure that the person is there, with one reference more; disabled if it was.
fn present(
    state: &mut State,
    realm: RealmId,
    key: &UserKey,
    person: Option<User>,
    username: &muster_proto::Username,
    context: &mut Context<'_>,
) -> UserId {
    let mut person = person.unwrap_or_else(|| User {
        id: UserId(context.id()),
        realm,
        key: key.clone(),
        username: username.clone(),
        disabled: false,
        references: 0,
        created_at: context.now,
        updated_at: context.now,
        deleted_at: None,
    });
    person.references += 1;
    person.deleted_at = None;
    person.updated_at = later(person.updated_at, context.now);
    let id = person.id;
    state.users.put((realm, key.clone()), person);
    id
}
