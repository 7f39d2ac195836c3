//! Realms made, changed, deleted and brought back by admins.

use muster_proto::realms::{NewRealm, RealmChange};
use muster_proto::{RealmName, Reason};

use super::{After, Answer, Change, Context, Outcome, Planned, Realm, RealmId, Refusal, State, Stop, Subject};

/// Makes a realm. The request that made it is answered with it again.
pub(super) fn create(state: &mut State, new: &NewRealm, context: &mut Context<'_>) -> Result<Planned, Stop> {
    if let Some(taken) = state.realm_named(&new.name)? {
        if taken.request.is_some() && taken.request == new.request {
            return Ok(Planned::unchanged(answer(Outcome::Unchanged, taken)));
        }
        return Err(name_taken(taken).into());
    }
    let id = RealmId(context.id());
    let realm = Realm {
        description: new.description.clone(),
        user_quota: new.user_quota,
        request: new.request,
        ..Realm::new(id, new.name.clone(), context.now)
    };
    let mut changes = vec![Change::state(Subject::Itself, "", "active"), Change::value("name", "", &new.name)];
    if !new.description.is_empty() {
        changes.push(Change::value("description", "", &new.description));
    }
    if new.user_quota.is_some() {
        changes.push(Change::value("user_quota", "", quota_text(new.user_quota)));
    }
    state.realms.put(id, realm);
    finish(state, id, Outcome::Created, changes)
}

/// Changes what an admin may change about a realm.
pub(super) fn update(
    state: &mut State,
    id: RealmId,
    change: &RealmChange,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let realm = known(state, id)?.clone();
    check_etag(&realm, etag)?;
    if !realm.is_active() {
        return Err(deleted(&realm).into());
    }
    let RealmChange { name, description, user_quota } = change;
    let mut changes = Vec::new();
    let mut new = realm.clone();
    if let Some(name) = name.as_ref().filter(|name| **name != realm.name) {
        if id == RealmId::DEFAULT {
            let message = "the realm \"default\" keeps its name";
            return Err(Refusal::new(Reason::RealmDefault, message).into());
        }
        if let Some(taken) = state.realm_named(name)? {
            return Err(name_taken(taken).into());
        }
        changes.push(Change::value("name", &realm.name, name));
        new.name = name.clone();
    }
    if let Some(description) = description.as_ref().filter(|description| **description != realm.description) {
        changes.push(Change::value("description", &realm.description, description));
        new.description = description.clone();
    }
    if let Some(quota) = user_quota.filter(|quota| *quota != realm.user_quota) {
        changes.push(Change::value("user_quota", quota_text(realm.user_quota), quota_text(quota)));
        new.user_quota = quota;
    }
    if changes.is_empty() {
        return Ok(Planned::unchanged(answer(Outcome::Unchanged, &realm)));
    }
    new.changed(context.now);
    if let Some(realm) = state.realms.change(&id) {
        *realm = new;
    }
    finish(state, id, Outcome::Updated, changes)
}

/// Deletes a realm that nothing is in.
pub(super) fn delete(
    state: &mut State,
    id: RealmId,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let realm = known(state, id)?;
    check_etag(realm, etag)?;
    if id == RealmId::DEFAULT {
        return Err(Refusal::new(Reason::RealmDefault, "the realm \"default\" always exists").into());
    }
    if !realm.is_active() {
        let answer = Answer { reason: Some(Reason::AlreadyDeleted), ..answer(Outcome::Unchanged, realm) };
        return Ok(Planned::unchanged(answer));
    }
    if realm.clients > 0 || realm.users > 0 {
        let message = format!("realm {} has {} auth clients and {} users", realm.name, realm.clients, realm.users);
        let refusal = Refusal::new(Reason::RealmNotEmpty, message);
        return Err(refusal.with("auth_clients", realm.clients).with("users", realm.users).into());
    }
    if let Some(realm) = state.realms.change(&id) {
        realm.deleted_at = Some(context.now);
        realm.changed(context.now);
    }
    finish(state, id, Outcome::Removed, vec![Change::state(Subject::Itself, "active", "deleted")])
}

/// Brings a deleted realm back.
pub(super) fn undelete(state: &mut State, id: RealmId, context: &Context<'_>) -> Result<Planned, Stop> {
    let realm = known(state, id)?;
    if realm.is_active() {
        return Ok(Planned::unchanged(answer(Outcome::Unchanged, realm)));
    }
    if let Some(realm) = state.realms.change(&id) {
        realm.deleted_at = None;
        realm.changed(context.now);
    }
    finish(state, id, Outcome::Restored, vec![Change::state(Subject::Itself, "deleted", "active")])
}

/// A realm that there is, deleted or not.
pub(super) fn known(state: &State, id: RealmId) -> Result<&Realm, Stop> {
    state
        .realm(id)?
        .ok_or_else(|| Refusal::new(Reason::RealmUnknown, format!("there never was realms/{}", id.0)).into())
}

/// The refusal of something for which a realm must not be deleted.
pub(super) fn deleted(realm: &Realm) -> Refusal {
    Refusal::new(Reason::RealmDeleted, format!("realm {} is deleted", realm.name))
}

fn name_taken(taken: &Realm) -> Refusal {
    let RealmId(id) = taken.id;
    let name: &RealmName = &taken.name;
    let state = if taken.is_active() { "is in use" } else { "is deleted and keeps its name" };
    Refusal::new(Reason::RealmNameTaken, format!("realms/{id} is named {name}, and {state}"))
        .with("realm", format!("realms/{id}"))
}

fn check_etag(realm: &Realm, etag: Option<&str>) -> Result<(), Refusal> {
    if etag.is_some_and(|etag| etag != realm.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the realm changed since its etag was read"));
    }
    Ok(())
}

/// A quota as the audit log has it.
pub(super) fn quota_text(quota: Option<i64>) -> String {
    quota.map(|quota| quota.to_string()).unwrap_or_default()
}

fn answer(outcome: Outcome, realm: &Realm) -> Answer {
    Answer { after: After::Realm(realm.clone()), ..Answer::new(outcome) }
}

/// The answer about a realm that changed, with what is to be noted about its quota.
fn finish(state: &State, id: RealmId, outcome: Outcome, changes: Vec<Change>) -> Result<Planned, Stop> {
    let realm = known(state, id)?;
    let about_quota = changes.iter().any(|change| change.field == "user_quota" || change.after == "active");
    let reason = if !about_quota {
        None
    } else if realm.user_quota.is_some_and(|quota| quota < realm.users) {
        Some(Reason::QuotaBelowUse)
    } else if realm.user_quota.is_some() && overallocated(state)? {
        Some(Reason::QuotaOverallocated)
    } else {
        None
    };
    let answer = Answer { reason, ..answer(outcome, realm) };
    Ok(Planned::about(answer, id.0, realm.resource(), changes))
}

/// Whether the realms are promised more users than the register may have.
pub(super) fn overallocated(state: &State) -> Result<bool, Stop> {
    let settings = state.settings();
    let Some(limit) = settings.user_quota.filter(|_| !settings.share_quota) else { return Ok(false) };
    let promised = state.quota_realms()?.filter_map(|realm| realm.user_quota).fold(0, i64::saturating_add);
    Ok(promised > limit)
}
