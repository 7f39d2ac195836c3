//! Devices handed over from one realm to another by release codes.

use std::time::Duration;

use muster_proto::RealmRef;

use super::people::People;
use super::*;

const RIGHT: SecretHash = SecretHash([1; 32]);
const WRONG: SecretHash = SecretHash([2; 32]);

fn release(hash: SecretHash) -> Action {
    Action::CreateReleaseCode { serial: serial(), hash, validity: Duration::from_hours(1) }
}

fn claim(hash: SecretHash, realm: RealmId) -> Action {
    Action::ClaimDevice { serial: serial(), hash, realm: RealmRef::Id(realm.0) }
}

/// A device with two VDOMs and "root" in the realm "default" and a user on one of them, another realm, and the code RIGHT.
fn released() -> (People, RealmId) {
    let mut people = People::with("a b");
    let east = people.realm("east");
    people.add("a", "alice");
    as_admin_of(&mut people, RealmId::DEFAULT);
    people.0.plan(release(RIGHT)).unwrap();
    as_admin_of(&mut people, east);
    (people, east)
}

fn as_admin_of(people: &mut People, realm: RealmId) {
    people.0.reach = [realm].into_iter().collect();
}

/// Whether the rules refuse it as if there were no code.
fn is_invalid(people: &mut People, action: Action) -> bool {
    people.0.refused(action) == Reason::ReleaseCodeInvalid
}

#[test]
fn a_code_takes_a_device_with_its_auth_clients_and_users_into_the_realm_of_its_bearer_once() {
    let (mut people, east) = released();
    let alice = people.user(RealmId::DEFAULT, "alice").unwrap().id;
    let said = people.0.plan(rehearsed(claim(RIGHT, east).into())).unwrap();
    assert_eq!(people.0.client("a").realm, RealmId::DEFAULT);
    let done = people.0.plan(claim(RIGHT, east)).unwrap();
    assert_eq!((said.answer.outcome, &said.answer.clients), (Outcome::Updated, &done.answer.clients));
    assert_eq!(said.records, done.records);
    assert_eq!(done.answer.clients.len(), 3);
    assert!(["a", "b", "root"].iter().all(|name| people.0.client(name).realm == east));
    assert_eq!(people.user(east, "alice").unwrap().id, alice);
    assert_eq!(people.0.device().realm, Some(east));
    let device = done.records.iter().find(|record| record.name == Name::Device(serial())).unwrap();
    let fields: Vec<_> = device.changes.iter().map(|change| (change.field, &*change.after)).collect();
    assert_eq!(fields, [("realm", "east"), ("release_code", "used")]);

    // Repeated, it is done; for another realm, it is used up.
    let again = people.0.plan(claim(RIGHT, east)).unwrap();
    assert_eq!((again.answer.outcome, again.records.len()), (Outcome::Unchanged, 0));
    people.0.reach = Reach::Everything;
    let west = people.realm("west");
    assert!(is_invalid(&mut people, claim(RIGHT, west)));
    // What comes later is in the new realm too.
    people.0.register("a b c");
    assert_eq!(people.0.client("c").realm, east);
}

#[test]
fn ten_wrong_codes_make_the_right_one_void_even_if_they_are_only_validated() {
    let (mut people, east) = released();
    for guess in 0..10 {
        let command: Command = claim(WRONG, east).into();
        let plan = (guess % 3 == 2).then(|| "p0".to_owned());
        let options = Options { validate_only: guess % 3 == 1, plan };
        let planned = people.0.plan(Command { options, ..command }).unwrap();
        assert_eq!(planned.refused.unwrap().reason, Reason::ReleaseCodeInvalid);
        assert_eq!(planned.records[0].changes[0].field, "release_code_failures");
    }
    assert!(is_invalid(&mut people, claim(RIGHT, east)));
    assert_eq!(people.0.client("a").realm, RealmId::DEFAULT);
    as_admin_of(&mut people, RealmId::DEFAULT);
    people.0.plan(release(WRONG)).unwrap();
    as_admin_of(&mut people, east);
    assert_eq!(people.0.answer(claim(WRONG, east)).outcome, Outcome::Updated);
}

#[test]
fn wrong_codes_do_not_make_a_plan_of_the_right_one_stale() {
    let (mut people, east) = released();
    let plan = people.0.answer(rehearsed(claim(RIGHT, east).into())).plan;
    people.0.refused(claim(WRONG, east));
    let options = Options { validate_only: false, plan };
    let action = claim(RIGHT, east);
    assert_eq!(people.0.answer(Command { action, options }).outcome, Outcome::Updated);
}

#[test]
fn a_code_that_is_old_or_replaced_or_of_no_device_is_answered_like_a_wrong_one() {
    let (mut people, east) = released();
    as_admin_of(&mut people, RealmId::DEFAULT);
    people.0.plan(release(WRONG)).unwrap();
    as_admin_of(&mut people, east);
    assert!(is_invalid(&mut people, claim(RIGHT, east)));
    people.0.now += 3_600;
    assert!(is_invalid(&mut people, claim(WRONG, east)));
    let serial = "FG101FTK19999999".parse().unwrap();
    let stranger = Action::ClaimDevice { serial, hash: RIGHT, realm: RealmRef::Id(east.0) };
    assert!(is_invalid(&mut people, stranger));
}

#[test]
fn only_who_reaches_into_every_realm_of_a_device_releases_it_and_only_from_these() {
    let (mut people, east) = released();
    // The bearer reaches into the new realm only, and so can neither release it nor send it elsewhere.
    assert_eq!(people.0.refused(release(RIGHT)), Reason::DeviceUnknown);
    assert_eq!(people.0.refused(claim(RIGHT, RealmId::DEFAULT)), Reason::RealmUnknown);
    // The device has come into a third realm since: the one who made the code could not release it now.
    people.0.reach = Reach::Everything;
    let west = people.realm("west");
    people.0.plan(Action::MoveAuthClients { clients: vec![people.named("a")], realm: west }).unwrap();
    as_admin_of(&mut people, east);
    assert!(is_invalid(&mut people, claim(RIGHT, east)));
    as_admin_of(&mut people, RealmId::DEFAULT);
    assert_eq!(people.0.refused(release(RIGHT)), Reason::RoleNotAllowed);
    people.0.reach = Reach::Everything;
    people.0.plan(release(RIGHT)).unwrap();
    as_admin_of(&mut people, east);
    assert_eq!(people.0.answer(claim(RIGHT, east)).outcome, Outcome::Updated);
    assert_eq!(people.0.client("a").realm, east);
}

#[test]
fn the_users_of_a_device_that_is_claimed_become_one_with_those_who_are_there() {
    let (mut people, east) = released();
    people.0.reach = Reach::Everything;
    people.0.plan(Action::MoveAuthClients { clients: vec![people.named("b")], realm: east }).unwrap();
    people.add("b", "alice");
    people.0.plan(release(RIGHT)).unwrap();
    let answer = people.0.answer(claim(RIGHT, east));
    let said: Vec<_> = answer.clients.iter().flat_map(|item| &item.users).map(|user| user.reason.unwrap()).collect();
    assert_eq!(said, [Reason::UsersMerged]);
    assert_eq!(people.user(east, "alice").unwrap().references, 2);
    people.check();
}

#[test]
fn a_device_that_is_deleted_is_neither_released_nor_claimed() {
    let (mut people, east) = released();
    people.0.plan(deletion(Target::WholeDevice)).unwrap();
    assert_eq!(people.0.refused(claim(RIGHT, east)), Reason::DeviceDeleted);
    people.0.reach = Reach::Everything;
    assert_eq!(people.0.refused(release(RIGHT)), Reason::DeviceDeleted);
}
