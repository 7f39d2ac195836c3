//! Quotas: who may have how many users, and who holds the rest.

use super::super::quota::{Growth, check, may_have_users};
use super::*;

/// A register with these settings, and these realms: (name, quota, users).
fn register(change: impl FnOnce(&mut Settings), realms: &[(&str, Option<i64>, i64)]) -> State {
    let mut settings = Settings::NEW;
    change(&mut settings);
    let mut state = State::default();
    state.whole.quota_realms = true;
    for (id, (name, quota, users)) in (1..).zip(realms) {
        let realm = Realm::new(RealmId(id), name.parse().unwrap(), Timestamp::from_micros(0));
        state.realms.load(RealmId(id), Some(Realm { user_quota: *quota, users: *users, ..realm }));
        settings.users += users;
    }
    state.settings.load((), Some(settings));
    state
}

fn refused(state: &State, realm: i64, more: i64) -> Option<Refusal> {
    let [more, none] = [more, 0].map(|count| Growth { realm: count, register: count });
    match check(state, RealmId(realm), more, none) {
        Ok(()) => None,
        Err(Stop::Refused(refusal)) => Some(refusal),
        Err(Stop::Missing(needs)) => panic!("{needs:?}"),
    }
}

fn use_of(refusal: &Refusal) -> (&str, i64, i64, &str) {
    let quota = refusal.quota.as_deref().unwrap();
    (&quota.subject, quota.limit, quota.used, &quota.held_elsewhere)
}

#[test]
fn without_a_quota_there_is_room_for_all() {
    assert_eq!(refused(&register(|_| {}, &[("default", None, 7)]), 1, 1_000_000), None);
}

#[test]
fn a_realm_never_has_more_users_than_its_own_quota() {
    for share in [true, false] {
        let state = register(|settings| settings.share_quota = share, &[("default", Some(3), 2)]);
        assert_eq!(refused(&state, 1, 1), None);
        let refusal = refused(&state, 1, 2).unwrap();
        assert_eq!((refusal.reason, use_of(&refusal)), (Reason::RealmQuotaExceeded, ("realms/1", 3, 2, "")));
        assert!(refusal.message.contains("realm default may have 3 users and has 2"), "{refusal}");
    }
}

#[test]
fn with_share_quota_all_realms_share_what_the_register_may_have() {
    let limits = |settings: &mut Settings| settings.user_quota = Some(10);
    let state = register(limits, &[("default", None, 4), ("a", Some(8), 5), ("b", None, 0)]);
    assert_eq!(refused(&state, 3, 1), None);
    for realm in [1, 2, 3] {
        let refusal = refused(&state, realm, 2).unwrap();
        assert_eq!(refusal.reason, Reason::UserQuotaExceeded);
    }
    let refusal = refused(&state, 1, 2).unwrap();
    assert_eq!(use_of(&refusal), ("settings", 10, 9, "5 of them are in realms other than default"));
}

#[test]
fn without_share_quota_what_is_allocated_to_others_is_kept_for_them_and_they_are_named() {
    let limits = |settings: &mut Settings| (settings.user_quota, settings.share_quota) = (Some(20), false);
    let realms = [("default", None, 1), ("a", Some(4), 1), ("b", Some(9), 2), ("c", Some(2), 2), ("d", None, 3)];
    let state = register(limits, &realms);
    // 20, less 9 that are there, less 3 for "a" and 7 for "b".
    assert_eq!((refused(&state, 1, 1), refused(&state, 5, 1)), (None, None));
    let refusal = refused(&state, 1, 2).unwrap();
    assert_eq!(refusal.reason, Reason::QuotaAllocatedElsewhere);
    let held = "10 unused ones are allocated to b (7 of 9), a (3 of 4)";
    assert_eq!(use_of(&refusal), ("settings", 20, 9, held));
    assert!(refusal.message.ends_with(held), "{refusal}");
    // Whom it is allocated to may have it.
    assert_eq!(refused(&state, 3, 7), None);
    assert_eq!(refused(&state, 3, 8).unwrap().reason, Reason::RealmQuotaExceeded);
}

#[test]
fn of_many_realms_that_hold_the_rest_the_largest_are_named() {
    let limits = |settings: &mut Settings| (settings.user_quota, settings.share_quota) = (Some(28), false);
    let names: Vec<String> = (1..=7).map(|number| format!("r{number}")).collect();
    let mut realms = vec![("default", None, 0)];
    realms.extend((1..).zip(&names).map(|(number, name)| (name.as_str(), Some(number), 0)));
    let refusal = refused(&register(limits, &realms), 1, 1).unwrap();
    let held = "28 unused ones are allocated to r7 (7 of 7), r6 (6 of 6), r5 (5 of 5), r4 (4 of 4), r3 (3 of 3), 2 realms more";
    assert_eq!(use_of(&refusal).3, held);
}

#[test]
fn a_deleted_realm_holds_nothing() {
    let limits = |settings: &mut Settings| (settings.user_quota, settings.share_quota) = (Some(5), false);
    let mut state = register(limits, &[("default", None, 0), ("a", Some(5), 0)]);
    assert_eq!(refused(&state, 1, 1).unwrap().reason, Reason::QuotaAllocatedElsewhere);
    state.realms.change(&RealmId(2)).unwrap().deleted_at = Some(Timestamp::from_micros(1));
    assert_eq!(refused(&state, 1, 5), None);
}

#[test]
fn in_multi_realm_mode_the_default_realm_takes_no_users() {
    let mut register = Register::with("a");
    assert_eq!(may_have_users(&register.state, register.client("a")), Ok(()));
    register.state.settings.change(&()).unwrap().multi_realm_mode = true;
    let refusal = may_have_users(&register.state, register.client("a")).unwrap_err();
    assert_eq!(refusal.reason, Reason::RealmRequired);
    register.register("b");
    assert_eq!(may_have_users(&register.state, register.client("b")), Ok(()));
}

#[test]
fn a_realm_counts_its_auth_clients() {
    let mut register = Register::with("a b");
    let clients = |register: &Register| register.state.realms.get(&RealmId::DEFAULT).unwrap().clients;
    assert_eq!(clients(&register), 3);
    register.answer(without("a"));
    assert_eq!(clients(&register), 2);
    register.answer(rehearsed(deletion(Target::WholeDevice)));
    assert_eq!(clients(&register), 2);
    register.register("a c");
    assert_eq!(clients(&register), 4);
    register.answer(deletion(Target::WholeDevice));
    assert_eq!(clients(&register), 0);
}

#[test]
fn a_deleted_realm_is_in_use_again_when_something_returns_to_it() {
    let mut register = Register::with("a");
    register.answer(deletion(Target::WholeDevice));
    register.state.realms.change(&RealmId::DEFAULT).unwrap().deleted_at = Some(Timestamp::from_micros(1));
    let planned = register.plan(Action::Register(registration(""))).unwrap();
    assert!(register.state.realms.get(&RealmId::DEFAULT).unwrap().is_active());
    let realm = planned.records.last().unwrap();
    assert_eq!((realm.about, &realm.changes[0].after), (1, &"active".into()));
}
