//! Quotas: how many users a realm, and the register as a whole, may have (domain sheet, section 1.10).
//!
//! A realm with a quota of its own never has more users than that. With `share_quota` on, all realms share what the register as a whole may have.
//! With it off, a quota is an allocation: what a realm has not used of it is kept for that realm, and realms without one share what is
//! allocated to nobody. Disabled users count until they are deleted.

use muster_proto::Reason;

use super::{AuthClient, QuotaUse, Realm, RealmId, Refusal, State, Stop};

/// How many of the realms that hold the rest are named.
const NAMED: usize = 5;

/// How many users come, and how many there were before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// How many come to the realm.
    pub(super) realm: i64,
    /// How many come to the register as a whole.
    pub(super) register: i64,
}

/// Refuses if there is no room in the realm, or in the register as a whole, for one user more, besides `came` ones that are not counted yet.
pub(super) fn admit(state: &State, realm: RealmId, came: i64) -> Result<(), Stop> {
    check(state, realm, Growth { realm: 1, register: 1 }, Growth { realm: -came, register: -came })
}

/// Refuses if what a command did leaves more users than there is room for. `done` is what is in the counts already.
pub(super) fn admit_done(state: &State, realm: RealmId, done: Growth) -> Result<(), Stop> {
    check(state, realm, done, done)
}

/// Refuses if there is no room for `more`; `counted` of what the counts say is not to be counted.
pub(super) fn check(state: &State, id: RealmId, more: Growth, counted: Growth) -> Result<(), Stop> {
    let Some(realm) = state.realm(id)? else { return Ok(()) };
    if more.realm <= 0 && more.register <= 0 {
        return Ok(());
    }
    let settings = state.settings();
    let used = realm.users - counted.realm;
    if let Some(limit) = realm.user_quota
        && more.realm > 0
        && used + more.realm > limit
    {
        return Err(of_realm(state, realm, (used, limit), counted).into());
    }
    let Some(limit) = settings.user_quota else { return Ok(()) };
    let used = settings.users - counted.register;
    if more.register > 0 && used + more.register > limit {
        return Err(of_register(realm, used, limit, used - (realm.users - counted.realm)).into());
    }
    if settings.share_quota || realm.user_quota.is_some() || more.realm <= 0 {
        return Ok(());
    }
    // What others have not used of their allocations is kept for them.
    let kept: i64 = state.quota_realms()?.filter(|other| other.id != id).map(Realm::unused).sum();
    if kept > 0 && used + more.register + kept > limit {
        return Err(kept_for_others(state, realm, used, limit)?.into());
    }
    Ok(())
}

fn of_realm(state: &State, realm: &Realm, (used, limit): (i64, i64), counted: Growth) -> Refusal {
    let settings = state.settings();
    let free = match settings.user_quota {
        None => "the register as a whole has no limit".to_owned(),
        Some(all) => {
            format!("{} of the {all} users of the register are free", (all - settings.users + counted.register).max(0))
        }
    };
    let message = format!("realm {} may have {limit} users and has {used}; {free}", realm.name);
    refusal(Reason::RealmQuotaExceeded, message, format!("realms/{}", realm.id.0), (limit, used), String::new())
}

fn of_register(realm: &Realm, used: i64, limit: i64, elsewhere: i64) -> Refusal {
    let held = if elsewhere > 0 {
        format!("{elsewhere} of them are in realms other than {}", realm.name)
    } else {
        String::new()
    };
    let tail = if held.is_empty() { String::new() } else { format!("; {held}") };
    let message = format!("the register may have {limit} users and has {used}{tail}");
    refusal(Reason::UserQuotaExceeded, message, "settings".to_owned(), (limit, used), held)
}

fn kept_for_others(state: &State, realm: &Realm, used: i64, limit: i64) -> Result<Refusal, Stop> {
    let mut holders: Vec<&Realm> =
        state.quota_realms()?.filter(|other| other.id != realm.id && other.unused() > 0).collect();
    holders.sort_by_key(|other| (-other.unused(), other.id));
    let mut held = Vec::new();
    for other in holders.iter().take(NAMED) {
        held.push(format!("{} ({} of {})", other.name, other.unused(), other.user_quota.unwrap_or(0)));
    }
    if holders.len() > NAMED {
        held.push(format!("{} realms more", holders.len() - NAMED));
    }
    let kept: i64 = holders.iter().map(|other| other.unused()).sum();
    let held = format!("{kept} unused ones are allocated to {}", held.join(", "));
    let message = format!(
        "realm {} has no quota of its own, share_quota is off, and the register has {used} of {limit} users; {held}",
        realm.name
    );
    Ok(refusal(Reason::QuotaAllocatedElsewhere, message, "settings".to_owned(), (limit, used), held))
}

fn refusal(
    reason: Reason,
    message: String,
    subject: String,
    (limit, used): (i64, i64),
    held_elsewhere: String,
) -> Refusal {
    let quota = Some(Box::new(QuotaUse { subject, limit, used, held_elsewhere }));
    Refusal { quota, ..Refusal::new(reason, message) }
}

/// Refuses users on an auth client that multi-realm mode has left in the default realm (domain sheet, section 1.9).
pub(super) fn may_have_users(state: &State, client: &AuthClient) -> Result<(), Refusal> {
    if state.settings().multi_realm_mode && client.realm == RealmId::DEFAULT {
        let message =
            format!("the auth client authClients/{} is in the default realm, and multi_realm_mode is on", client.id.0);
        return Err(Refusal::new(Reason::RealmRequired, message));
    }
    Ok(())
}
