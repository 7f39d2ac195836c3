//! The lobby and the admission rules.

use std::net::IpAddr;

use muster_proto::{RealmRef, Text};
use proptest::prelude::*;

use super::*;

/// A register where nobody comes by itself.
fn closed() -> Register {
    let mut register = Register::empty();
    register.settings(|settings| settings.auto_create_auth_clients = false);
    let default = Realm::new(RealmId::DEFAULT, "default".parse().unwrap(), Timestamp::from_micros(0));
    register.state.realms.load(RealmId::DEFAULT, Some(default));
    register
}

fn knock(register: &mut Register, names: &str) -> (Reason, usize) {
    let planned = register.plan(Action::Register(registration(names))).unwrap();
    (planned.refused.unwrap().reason, planned.records.len())
}

fn entry(register: &Register) -> LobbyEntry {
    register.state.lobby.get(&serial()).unwrap().clone()
}

fn approve(register: &mut Register) -> Planned {
    register.plan(Action::ApproveLobby { serial: serial(), realm: None }).unwrap()
}

#[test]
fn who_waits_is_noted_once_and_comes_in_with_what_it_asked_for() {
    let mut register = closed();
    assert_eq!(knock(&mut register, "root sales"), (Reason::PendingApproval, 1));
    assert_eq!(knock(&mut register, "root sales"), (Reason::PendingApproval, 0));
    assert_eq!(knock(&mut register, "root dmz"), (Reason::PendingApproval, 1));
    assert!(register.held().is_none());
    let planned = approve(&mut register);
    assert_eq!(planned.answer.outcome, Outcome::Created);
    assert_eq!(register.active(), "dmz root sales");
    assert_eq!(entry(&register).state, LobbyState::Approved);
    assert_eq!(approve(&mut register).answer.reason, Some(Reason::AlreadyDecided));
}

#[test]
fn a_rejected_device_is_refused_until_it_is_approved_after_all() {
    let mut register = closed();
    knock(&mut register, "root");
    let why: Text = "not ours".parse().unwrap();
    register.plan(Action::RejectLobby { serial: serial(), why }).unwrap();
    let refusal = register.plan(Action::Register(registration("root"))).unwrap_err();
    assert_eq!(refusal.reason, Reason::AdmissionRejected);
    assert!(refusal.message.contains("not ours"), "{refusal}");
    register.settings(|settings| settings.auto_create_auth_clients = true);
    assert_eq!(register.refused(Action::Register(registration("root"))), Reason::AdmissionRejected);
    assert_eq!(approve(&mut register).answer.outcome, Outcome::Created);
}

#[test]
fn whoever_waits_comes_in_at_its_next_call_once_auto_create_is_on() {
    let mut register = closed();
    knock(&mut register, "root sales");
    register.settings(|settings| settings.auto_create_auth_clients = true);
    register.register("root sales");
    assert_eq!(register.active(), "root sales");
    assert_eq!(entry(&register).state, LobbyState::Admitted);
}

#[test]
fn a_new_vdom_of_a_known_device_is_held_and_the_rest_is_done() {
    let mut register = Register::with("root sales");
    register.settings(|settings| settings.auto_create_auth_clients = false);
    let answer = register.sync("root dmz");
    assert_eq!(items(&answer), "root Unchanged, dmz Held PENDING_APPROVAL, sales Removed");
    assert_eq!(entry(&register).vdoms, vdoms("dmz"));
    approve(&mut register);
    assert_eq!(register.active(), "dmz root");
    assert_eq!(items(&register.sync("root dmz lab")), "root Unchanged, dmz Unchanged, lab Held PENDING_APPROVAL");
    register.settings(|settings| settings.auto_create_auth_clients = true);
    register.sync("root dmz lab");
    assert_eq!(register.active(), "dmz lab root");
    assert_eq!(entry(&register).state, LobbyState::Admitted);
}

#[test]
fn a_retired_device_waits_and_returns_under_its_old_id() {
    let mut register = Register::with("root sales");
    let id = register.device().id;
    let tombstone = Tombstone {
        at: Timestamp::from_micros(1),
        mode: DeleteMode::Retire,
        by: "admin:first".into(),
        why: Text::default(),
    };
    let owner = register.device().owner();
    register.state.devices.change(&serial()).unwrap().deleted = Some(Box::new(tombstone.clone()));
    for vdom in vdoms("root sales") {
        register.state.auth_clients.change(&(owner, vdom)).unwrap().deleted = Some(Box::new(tombstone.clone()));
    }
    register.state.keep();
    assert_eq!(knock(&mut register, "root sales"), (Reason::DeviceRetired, 1));
    assert_eq!(approve(&mut register).answer.outcome, Outcome::Restored);
    assert_eq!((register.device().id, register.active().as_str()), (id, "root sales"));
}

#[test]
fn a_device_that_is_only_tried_out_leaves_no_entry() {
    let mut register = closed();
    let command = rehearsed(Action::Register(registration("root")).into());
    assert_eq!(register.plan(command).unwrap().refused.unwrap().reason, Reason::PendingApproval);
    assert!(register.state.lobby.get(&serial()).is_none());
    assert_eq!(register.refused(Action::ApproveLobby { serial: serial(), realm: None }), Reason::LobbyUnknown);
}

#[test]
fn an_approval_for_a_realm_that_is_not_there_is_refused() {
    let mut register = closed();
    knock(&mut register, "root");
    let realm = Some(RealmRef::Id(7));
    assert_eq!(register.refused(Action::ApproveLobby { serial: serial(), realm }), Reason::RealmUnknown);
    assert_eq!(entry(&register).state, LobbyState::Waiting);
}

fn rule(prefix: &str, range: &str, decision: Decision) -> AdmissionRule {
    AdmissionRule { serial_prefix: prefix.into(), range: range.parse().ok(), decision }
}

fn update(rules: Vec<AdmissionRule>, tests: Vec<AdmissionTest>) -> Action {
    Action::UpdateAdmission { new: Admission { rules, tests, updated_at: None }, etag: None }
}

#[test]
fn rules_whose_tests_fail_are_not_saved_and_each_failure_says_what_it_got() {
    let mut register = closed();
    let test = |serial: &str, expected| AdmissionTest { serial: serial.parse().unwrap(), address: None, expected };
    let rules = vec![rule("FG101F", "", Decision::Reject)];
    let tests = vec![test("FG101FTK19002788", Decision::Lobby), test("FG200FT900000001", Decision::Reject)];
    let refusal = register.plan(update(rules.clone(), tests)).unwrap_err();
    assert_eq!(refusal.reason, Reason::AdmissionTestsFailed);
    assert!(refusal.message.contains("tests[0]: FG101FTK19002788 gets reject instead of lobby"), "{refusal}");
    assert!(refusal.message.contains("tests[1]: FG200FT900000001 gets no rule instead of reject"), "{refusal}");
    assert_eq!(register.state.admission(), &Admission::default());
    let planned = register.plan(update(rules, vec![test("FG101FTK19002788", Decision::Reject)])).unwrap();
    assert_eq!(planned.answer.outcome, Outcome::Updated);
    assert_eq!(register.refused(Action::Register(registration("root"))), Reason::AdmissionRejected);
}

#[test]
fn a_rule_admits_where_the_settings_would_not_and_into_its_realm() {
    let mut register = closed();
    register.plan(update(vec![rule("FG101F", "", Decision::Admit(Some(RealmId::DEFAULT)))], vec![])).unwrap();
    register.register("root");
    assert_eq!(register.device().realm, Some(RealmId::DEFAULT));
}

#[test]
fn a_range_matches_the_address_of_the_device_alone() {
    let rules = vec![rule("", "10.1.0.0/16", Decision::Reject), rule("", "10.0.0.0/8", Decision::Lobby)];
    let admission = Admission { rules, tests: vec![], updated_at: None };
    let decide = |address: &str| admission.decide(serial(), address.parse::<IpAddr>().ok());
    assert_eq!(decide("10.1.2.3"), Decision::Reject);
    assert_eq!(decide("::ffff:10.1.2.3"), Decision::Reject);
    assert_eq!(decide("10.2.2.3"), Decision::Lobby);
    assert_eq!(decide("192.0.2.1"), Decision::Admit(None));
    assert_eq!(decide(""), Decision::Admit(None));
}

fn any_rule() -> impl Strategy<Value = AdmissionRule> {
    let prefix = prop_oneof![Just(""), Just("F"), Just("FG1"), Just("FG101F"), Just("FGVM")];
    let range = prop_oneof![Just(""), Just("10.0.0.0/8"), Just("10.1.0.0/16"), Just("10.1.2.0/24")];
    let decision = prop_oneof![Just(Decision::Reject), Just(Decision::Lobby), Just(Decision::Admit(Some(RealmId(1))))];
    (prefix, range, decision).prop_map(|(prefix, range, decision)| rule(prefix, range, decision))
}

proptest! {
    #[test]
    fn a_rule_that_is_called_unreachable_can_be_left_out(
        rules in prop::collection::vec(any_rule(), 0..6),
        serial in prop_oneof![Just("FG101FTK19002788"), Just("FGVM01TM00000001"), Just("FG200FT900000001")],
        address in prop_oneof![Just(None), Just(Some("10.1.2.3")), Just(Some("10.1.9.9")), Just(Some("10.9.9.9"))],
    ) {
        let whole = Admission { rules, tests: vec![], updated_at: None };
        let dead: Vec<usize> = whole.unreachable().into_iter().map(|(index, _)| index).collect();
        let mut without = whole.clone();
        let mut index = 0;
        without.rules.retain(|_| {
            index += 1;
            !dead.contains(&(index - 1))
        });
        let (serial, address) = (serial.parse().unwrap(), address.map(|it| it.parse().unwrap()));
        prop_assert_eq!(whole.decide(serial, address), without.decide(serial, address));
    }
}
