//! Users on auth clients: how a person comes with its first reference and goes with its last, and what is counted on the way.

use muster_proto::user::{digest, masked_email, masked_mobile};
use muster_proto::{Reason, UserKey, VdomName};

use super::auth_client::later;
use super::{
    AuthClient, AuthClientId, Change, Context, Outcome, OwnerId, RealmId, State, Stop, Subject, User, UserAttributes,
    UserId, UserItem, UserRef, UserRefId, quota,
};

/// The digest of one user, as it goes into the digest of its auth client.
pub(super) fn digest_of(attributes: &UserAttributes) -> [u8; 32] {
    digest(
        attributes.username.as_str(),
        attributes.email.as_str(),
        attributes.mobile.as_ref().map_or("", |mobile| mobile.as_str()),
        attributes.kind,
        attributes.active,
    )
}

/// Puts a user into the digest of an auth client, or takes it out: both are the same.
pub fn toggle(of_client: &mut [u8; 32], of_user: &[u8; 32]) {
    for (byte, other) in of_client.iter_mut().zip(of_user) {
        *byte ^= other;
    }
}

/// An auth client, as the place of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Whose it is.
    pub owner: OwnerId,
    /// Its VDOM.
    pub vdom: VdomName,
    /// Its id.
    pub client: AuthClientId,
    /// The realm that it is in.
    pub realm: RealmId,
}

impl From<&AuthClient> for Site {
    fn from(client: &AuthClient) -> Self {
        Self { owner: client.owner, vdom: client.vdom, client: client.id, realm: client.realm }
    }
}

/// What was done to the users of an auth client and is not in its counts yet. Counted once for many users: each count is a row that would
/// otherwise change with every user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// How many came to the auth client.
    users: i64,
    /// What changes in its digest.
    digest: [u8; 32],
    /// How many came to the realm, and so to the register.
    people: i64,
    /// Whether anything was done at all.
    any: bool,
}

impl Tally {
    fn toggle(&mut self, of_user: &[u8; 32]) {
        toggle(&mut self.digest, of_user);
        self.any = true;
    }

    /// Brings the counts up to date.
    pub(super) fn count(self, state: &mut State, site: Site, context: &Context<'_>) -> Result<(), Stop> {
        if !self.any {
            return Ok(());
        }
        // Looked up before anything changes.
        state.realm(site.realm)?;
        if let Some(client) = state.auth_clients.change(&(site.owner, site.vdom)) {
            client.users += self.users;
            toggle(&mut client.users_digest, &self.digest);
            client.changed(context.now);
        }
        if self.people != 0 {
            if let Some(realm) = state.realms.change(&site.realm) {
                realm.users += self.people;
            }
            if let Some(settings) = state.settings.change(&()) {
                settings.users += self.people;
            }
        }
        Ok(())
    }
}

/// What becomes of a user whose name is there in another letter case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Respelled {
    /// It is refused: whoever adds it may not know that it is the same person.
    Refused,
    /// It is taken over, and said: a full list has the one spelling alone.
    Noted,
}

/// Puts a user on an auth client, or changes what is there; with its digest. What the quota does not allow ends in a refusal, before anything
/// changes.
pub(super) fn put(
    state: &mut State,
    site: Site,
    (attributes, of_user): (&UserAttributes, &[u8; 32]),
    respelled: Respelled,
    tally: &mut Tally,
    changes: &mut Vec<Change>,
    context: &mut Context<'_>,
) -> Result<UserItem, Stop> {
    let key = attributes.username.key(state.settings().fold_usernames);
    let found = state.user_ref(site.client, &key)?;
    let item = |outcome, reason, detail| UserItem {
        vdom: site.vdom,
        username: attributes.username.clone(),
        outcome,
        reason,
        detail,
    };
    match found {
        Some(found) if found.deleted_at.is_none() => {
            if found.attributes == *attributes {
                return Ok(item(Outcome::Unchanged, None, String::new()));
            }
            let before = found.attributes.clone();
            let (mut reason, mut detail) = (None, String::new());
            if before.username != attributes.username {
                reason = Some(Reason::UsernameCollision);
                detail = format!("the auth client has it as {}", before.username);
                if respelled == Respelled::Refused {
                    return Ok(item(Outcome::Refused, reason, detail));
                }
            }
            note_changes(changes, site.vdom, &before, attributes);
            tally.toggle(&digest_of(&before));
            tally.toggle(of_user);
            if let Some(found) = state.user_refs.change(&(site.client, key)) {
                found.attributes.clone_from(attributes);
                found.updated_at = later(found.updated_at, context.now);
            }
            Ok(item(Outcome::Updated, reason, detail))
        }
        found => {
            let returns = found.is_some();
            let (user, reason, detail) = refer(state, site, &key, attributes, tally, context)?;
            let subject = Subject::User(site.vdom, attributes.username.clone());
            changes.push(Change::state(subject, if returns { "deleted" } else { "" }, "active"));
            tally.users += 1;
            tally.toggle(of_user);
            if let Some(found) = state.user_refs.change(&(site.client, key.clone())) {
                found.attributes.clone_from(attributes);
                found.user = user;
                found.deleted_at = None;
                found.updated_at = later(found.updated_at, context.now);
                return Ok(item(Outcome::Restored, reason.or(Some(Reason::ReturnedAfterRemoval)), detail));
            }
            let new = UserRef {
                id: UserRefId(context.id()),
                client: site.client,
                key: key.clone(),
                user,
                attributes: attributes.clone(),
                created_at: context.now,
                updated_at: context.now,
                deleted_at: None,
            };
            state.user_refs.put((site.client, key), new);
            Ok(item(Outcome::Created, reason, detail))
        }
    }
}

/// One more auth client refers to a person, who comes with the first one. Says so if the person is known by another spelling.
fn refer(
    state: &mut State,
    site: Site,
    key: &UserKey,
    attributes: &UserAttributes,
    tally: &mut Tally,
    context: &mut Context<'_>,
) -> Result<(UserId, Option<Reason>, String), Stop> {
    let person = state.user(site.realm, key)?;
    let is_there = person.is_some_and(|person| person.deleted_at.is_none());
    let (mut reason, mut detail) = (None, String::new());
    if let Some(person) = person.filter(|person| is_there && person.username != attributes.username) {
        reason = Some(Reason::UsernameCollision);
        detail = format!("the realm has this person as {}", person.username);
    }
    if !is_there {
        quota::admit(state, site.realm, tally.people)?;
        tally.people += 1;
    }
    // A person whom an admin disabled stays disabled, and so does one who returns.
    if let Some(person) = state.users.change(&(site.realm, key.clone())) {
        if !is_there {
            person.username = attributes.username.clone();
            person.references = 0;
            person.deleted_at = None;
        }
        person.references += 1;
        person.updated_at = later(person.updated_at, context.now);
        return Ok((person.id, reason, detail));
    }
    let id = UserId(context.id());
    let person = User {
        id,
        realm: site.realm,
        key: key.clone(),
        username: attributes.username.clone(),
        disabled: false,
        references: 1,
        created_at: context.now,
        updated_at: context.now,
        deleted_at: None,
    };
    state.users.put((site.realm, key.clone()), person);
    Ok((id, None, String::new()))
}

/// Which values of a user changed. E-mail addresses and mobile numbers are masked: they are for few eyes.
fn note_changes(changes: &mut Vec<Change>, vdom: VdomName, before: &UserAttributes, after: &UserAttributes) {
    let mobile =
        |of: &UserAttributes| of.mobile.as_ref().map(|mobile| masked_mobile(mobile.as_str())).unwrap_or_default();
    let active = |of: &UserAttributes| if of.active { "yes" } else { "no" };
    let username = &after.username;
    let mut note = |field, before: String, after: String| {
        let subject = Subject::User(vdom, username.clone());
        changes.push(Change { subject, field, before: before.into(), after: after.into() });
    };
    if before.username != after.username {
        note("username", before.username.to_string(), after.username.to_string());
    }
    if before.email != after.email {
        note("email", masked_email(before.email.as_str()), masked_email(after.email.as_str()));
    }
    if before.mobile != after.mobile {
        note("mobile_number", mobile(before), mobile(after));
    }
    if before.kind != after.kind {
        note("kind", before.kind.as_str().to_owned(), after.kind.as_str().to_owned());
    }
    if before.active != after.active {
        note("active", active(before).to_owned(), active(after).to_owned());
    }
}

/// Takes a user off an auth client. The person goes with the last reference. False if it was not there.
pub(super) fn take(
    state: &mut State,
    site: Site,
    key: &UserKey,
    tally: &mut Tally,
    context: &Context<'_>,
) -> Result<bool, Stop> {
    let Some(of_user) = state
        .user_ref(site.client, key)?
        .filter(|found| found.deleted_at.is_none())
        .map(|found| digest_of(&found.attributes))
    else {
        return Ok(false);
    };
    // Looked up before anything changes.
    state.user(site.realm, key)?;
    if let Some(found) = state.user_refs.change(&(site.client, key.clone())) {
        found.deleted_at = Some(context.now);
        found.updated_at = later(found.updated_at, context.now);
    }
    tally.users -= 1;
    tally.toggle(&of_user);
    if let Some(user) = state.users.change(&(site.realm, key.clone())) {
        user.references -= 1;
        user.updated_at = later(user.updated_at, context.now);
        if user.references <= 0 {
            user.deleted_at = Some(context.now);
            tally.people -= 1;
        }
    }
    Ok(true)
}

/// Takes a user off an auth client, and counts it.
pub(super) fn detach(
    state: &mut State,
    owner: OwnerId,
    vdom: VdomName,
    key: &UserKey,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let Some(site) = state.client(owner, vdom)?.map(Site::from) else { return Ok(()) };
    let mut tally = Tally::default();
    take(state, site, key, &mut tally, context)?;
    tally.count(state, site, context)
}

/// Takes every user off an auth client that is being removed.
pub(super) fn detach_all(state: &mut State, owner: OwnerId, vdom: VdomName, context: &Context<'_>) -> Result<(), Stop> {
    let Some(site) = state.client(owner, vdom)?.filter(|client| client.users > 0).map(Site::from) else {
        return Ok(());
    };
    let present = state.user_refs_of(site.client)?.filter(|found| found.deleted_at.is_none());
    let keys: Vec<UserKey> = present.map(|found| found.key.clone()).collect();
    let mut tally = Tally::default();
    for key in keys {
        take(state, site, &key, &mut tally, context)?;
    }
    tally.count(state, site, context)
}
