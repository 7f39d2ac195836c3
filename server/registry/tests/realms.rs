//! Realms made, changed, deleted and brought back.

use muster_proto::realms::{NewRealm, RealmChange};

use super::people::People;
use super::*;

fn new(name: &str) -> NewRealm {
    NewRealm { name: name.parse().unwrap(), description: Text::default(), user_quota: None, request: None }
}

fn create(name: &str) -> Action {
    Action::CreateRealm(new(name))
}

fn made(register: &mut Register, name: &str) -> RealmId {
    match register.answer(create(name)).after {
        After::Realm(realm) => realm.id,
        other => panic!("{other:?}"),
    }
}

fn update(realm: RealmId, change: RealmChange) -> Action {
    Action::UpdateRealm { realm, change, etag: None }
}

fn named(name: &str) -> RealmChange {
    RealmChange { name: Some(name.parse().unwrap()), ..RealmChange::default() }
}

fn quota(quota: i64) -> RealmChange {
    RealmChange { user_quota: Some(Some(quota)), ..RealmChange::default() }
}

#[test]
fn a_realm_is_made_once_and_the_request_that_made_it_gets_it_again() {
    let mut register = Register::empty();
    let request = NewRealm { request: Some([7; 32]), ..new("a") };
    let first = register.answer(Action::CreateRealm(request.clone()));
    assert_eq!(first.outcome, Outcome::Created);
    let again = register.answer(Action::CreateRealm(request.clone()));
    assert_eq!((again.outcome, &again.after), (Outcome::Unchanged, &first.after));
    assert_eq!(register.refused(create("a")), Reason::RealmNameTaken);
    let other = NewRealm { request: Some([8; 32]), ..request };
    assert_eq!(register.refused(Action::CreateRealm(other)), Reason::RealmNameTaken);
}

#[test]
fn a_realm_changes_what_is_named_and_nothing_else() {
    let mut register = Register::empty();
    let id = made(&mut register, "a");
    let before = register.state.realms.get(&id).unwrap().clone();
    let planned = register.plan(update(id, named("b"))).unwrap();
    assert_eq!(planned.answer.outcome, Outcome::Updated);
    let after = register.state.realms.get(&id).unwrap().clone();
    assert_ne!(after.etag(), before.etag());
    assert_eq!(Realm { name: before.name.clone(), updated_at: before.updated_at, ..after }, before);
    assert_eq!(planned.records[0].changes, [Change::value("name", "a", "b")]);
    let again = register.plan(update(id, named("b"))).unwrap();
    assert_eq!((again.answer.outcome, again.records.len()), (Outcome::Unchanged, 0));
    // The old name is free.
    made(&mut register, "a");
    assert_eq!(register.refused(update(id, named("a"))), Reason::RealmNameTaken);
    let stale = Action::UpdateRealm { realm: id, change: named("c"), etag: Some(before.etag()) };
    assert_eq!(register.refused(stale), Reason::EtagMismatch);
    assert_eq!(register.refused(update(RealmId(77), named("c"))), Reason::RealmUnknown);
}

#[test]
fn the_default_realm_stays_and_keeps_its_name() {
    let mut register = Register::empty();
    let delete = Action::DeleteRealm { realm: RealmId::DEFAULT, etag: None };
    assert_eq!(register.refused(delete), Reason::RealmDefault);
    assert_eq!(register.refused(update(RealmId::DEFAULT, named("a"))), Reason::RealmDefault);
    assert_eq!(register.answer(update(RealmId::DEFAULT, quota(3))).outcome, Outcome::Updated);
}

#[test]
fn a_realm_goes_only_when_nothing_is_in_it_and_comes_back_under_its_id() {
    let mut people = People::with("a");
    let id = people.realm("east");
    let delete = || Action::DeleteRealm { realm: id, etag: None };
    let clients = vec![people.named("a")];
    people.add("a", "alice");
    people.0.answer(Action::MoveAuthClients { clients: clients.clone(), realm: id });
    let refusal = people.0.plan(delete()).unwrap_err();
    assert_eq!(refusal.reason, Reason::RealmNotEmpty);
    assert!(refusal.message.contains("1 auth clients and 1 users"), "{refusal}");
    people.0.answer(Action::MoveAuthClients { clients: clients.clone(), realm: RealmId::DEFAULT });
    assert_eq!(people.0.answer(rehearsed(delete().into())).outcome, Outcome::Removed);
    assert_eq!(people.0.answer(delete()).outcome, Outcome::Removed);
    assert_eq!(people.0.answer(delete()).reason, Some(Reason::AlreadyDeleted));
    // Its name is kept for it, and nothing comes in.
    assert_eq!(people.0.refused(create("east")), Reason::RealmNameTaken);
    assert_eq!(people.0.refused(Action::MoveAuthClients { clients, realm: id }), Reason::RealmDeleted);
    assert_eq!(people.0.refused(update(id, quota(1))), Reason::RealmDeleted);
    let back = people.0.answer(Action::UndeleteRealm { realm: id });
    assert_eq!((back.outcome, back.after.realm()), (Outcome::Restored, Some(id)));
    assert_eq!(people.0.answer(Action::UndeleteRealm { realm: id }).outcome, Outcome::Unchanged);
    people.check();
}

#[test]
fn a_quota_below_use_or_beyond_the_register_is_allowed_and_shown() {
    let mut people = People::with("a");
    people.add("a", "alice");
    people.add("a", "bob");
    let below = people.0.answer(update(RealmId::DEFAULT, quota(1)));
    assert_eq!((below.outcome, below.reason), (Outcome::Updated, Some(Reason::QuotaBelowUse)));
    let settings = people.0.state.settings.change(&()).unwrap();
    (settings.user_quota, settings.share_quota) = (Some(10), false);
    people.0.state.keep();
    let beyond = people.0.answer(Action::CreateRealm(NewRealm { user_quota: Some(10), ..new("a") }));
    assert_eq!((beyond.outcome, beyond.reason), (Outcome::Created, Some(Reason::QuotaOverallocated)));
    let within = people.0.answer(Action::CreateRealm(new("b")));
    assert_eq!((within.outcome, within.reason), (Outcome::Created, None));
}
