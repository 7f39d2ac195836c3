//! The removal guard.

use super::*;

fn confirming(names: &str, token: &str) -> Action {
    Action::Sync(Sync { confirm_token: Some(token.to_owned()), ..listed(names) })
}

fn decision(id: HeldId, approve: bool) -> Action {
    Action::DecideHeld { id, serial: Some(serial()), approve }
}

impl Register {
    /// The held sets, in a line.
    fn sets(&self) -> String {
        let set = |held: &Held| format!("{} {}", held.names.join("+"), held.state.as_str());
        self.state.held.iter().map(|(_, held)| set(held)).collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn removals_beyond_both_limits_are_held_and_everything_else_is_done() {
    let mut register = Register::with("a b c");
    let answer = register.sync("root c d");
    assert_eq!(items(&answer), "root Unchanged, c Unchanged, d Created, a Removed, b Removed", "two of four are half");
    let answer = register.sync("root e");
    assert_eq!(items(&answer), "root Unchanged, e Created, c Held REMOVAL_HELD, d Held REMOVAL_HELD");
    assert_eq!((register.active().as_str(), register.sets().as_str()), ("c d e root", "c+d held"));
    let mut small = Register::with("a");
    assert_eq!(items(&small.sync("root")), "root Unchanged, a Removed", "one may always go");
}

#[test]
fn the_same_sync_finds_the_same_set_again() {
    let mut register = Register::with("a b c");
    let first = register.answer(Action::Sync(listed("root"))).held.unwrap();
    let planned = register.plan(Action::Sync(listed("root"))).unwrap();
    let again = planned.answer.held.unwrap();
    assert_eq!((first.is_new, again.is_new), (true, false));
    assert_eq!((again.id, again.token, again.expires_at), (first.id, first.token, first.expires_at));
    assert!(planned.records.is_empty());
}

#[test]
fn a_rehearsal_holds_nothing_and_has_nothing_to_confirm() {
    let mut register = Register::with("a b c");
    let only = rehearsed(Action::Sync(listed("root")).into());
    let answer = register.answer(only.clone());
    assert_eq!(items(&answer), "root Unchanged, a Held REMOVAL_HELD, b Held REMOVAL_HELD, c Held REMOVAL_HELD");
    assert_eq!((answer.held, register.sets()), (None, String::new()));
    let token = register.sync("root").held.unwrap().token;
    assert_eq!(register.answer(only).held.unwrap().token, token);
}

#[test]
fn the_device_confirms_exactly_the_set_that_was_held() {
    let mut register = Register::with("a b c");
    let token = register.sync("root").held.unwrap().token;
    let answer = register.answer(confirming("root", &token));
    assert_eq!(items(&answer), "root Unchanged, a Removed, b Removed, c Removed");
    assert_eq!((register.sets().as_str(), answer.held), ("a+b+c confirmed", None));
    // The answer was lost: the device confirms again.
    assert_eq!(items(&register.answer(confirming("root", &token))), "root Unchanged");
}

#[test]
fn a_token_of_another_set_confirms_nothing() {
    let mut register = Register::with("a b c d");
    let first = register.sync("root").held.unwrap();
    let answer = register.answer(confirming("root d", &first.token));
    let mismatch = "a Held CONFIRM_TOKEN_MISMATCH, b Held CONFIRM_TOKEN_MISMATCH, c Held CONFIRM_TOKEN_MISMATCH";
    assert_eq!(items(&answer), format!("root Unchanged, d Unchanged, {mismatch}"));
    assert_eq!(register.sets(), "a+b+c+d withdrawn, a+b+c held");
    let second = answer.held.unwrap();
    assert_ne!((second.id, &second.token), (first.id, &first.token));
    // Not even what may go without a confirmation: whoever confirms means something else.
    let answer = register.answer(confirming("root b c d", &second.token));
    assert!(items(&answer).ends_with("d Unchanged, a Held CONFIRM_TOKEN_MISMATCH"), "{}", items(&answer));
    let third = answer.held.unwrap().token;
    assert!(items(&register.answer(confirming("root b c d", &third))).ends_with("a Removed"));
    // A set of the same names that is held later has a token of its own.
    let later = register.sync("root").held.unwrap().token;
    assert!(![first.token, second.token, third].contains(&later));
}

#[test]
fn a_later_list_that_names_them_again_withdraws_the_set() {
    let reports: [fn(&mut Register) -> Answer; 4] = [
        |register| register.sync("root a b c"),
        |register| register.sync("root a b c d"),
        |register| register.register("b"),
        |register| {
            let digest = Some(register.device().digest);
            register.answer(Action::Sync(Sync { full_list: None, digest, ..listed("") }))
        },
    ];
    for report in reports {
        let mut register = Register::with("a b c");
        register.sync("root");
        report(&mut register);
        assert_eq!(register.sets(), "a+b+c withdrawn");
    }
    let mut register = Register::with("a b c");
    register.sync("root");
    register.register("d");
    assert_eq!(register.sets(), "a+b+c held", "a report of something else leaves it");
    register.answer(deletion(Target::WholeDevice));
    assert_eq!(register.sets(), "a+b+c withdrawn");
}

#[test]
fn an_admin_approves_or_rejects() {
    let mut register = Register::with("a b c");
    let id = register.sync("root").held.unwrap().id;
    let answer = register.answer(decision(id, false));
    assert_eq!((answer.outcome, register.sets().as_str()), (Outcome::Updated, "a+b+c rejected"));
    let answer = register.answer(decision(id, false));
    assert_eq!((answer.outcome, answer.reason), (Outcome::Unchanged, Some(Reason::AlreadyDecided)));
    // The device is told, and nobody is asked again.
    let answer = register.sync("root");
    let token = answer.held.clone().unwrap().token;
    let refused = "root Unchanged, a Refused REMOVAL_REJECTED, b Refused REMOVAL_REJECTED, c Refused REMOVAL_REJECTED";
    assert_eq!(items(&answer), refused);
    assert_eq!(items(&register.answer(confirming("root", &token))), refused);
    assert_eq!(register.sets(), "a+b+c rejected");
    // On second thoughts, and "b" went by itself.
    register.answer(without("b"));
    let generation = register.device().generation;
    let answer = register.answer(decision(id, true));
    assert_eq!(items(&answer), "a Removed, b Unchanged ALREADY_DELETED, c Removed");
    assert_eq!((register.active().as_str(), register.sets().as_str()), ("root", "a+b+c approved"));
    assert_eq!((register.device().generation, answer.generation), (generation + 1, generation + 1));
    assert_eq!(register.answer(decision(id, true)).reason, Some(Reason::AlreadyDecided));
    assert_eq!(register.refused(decision(id, false)), Reason::HeldRemovalClosed);
    assert_eq!(register.refused(decision(HeldId(1), true)), Reason::HeldRemovalUnknown);
}

#[test]
fn what_nobody_decides_expires_and_nothing_is_removed() {
    let mut register = Register::with("a b c");
    let first = register.sync("root").held.unwrap();
    let expire = Action::ExpireHeld { id: first.id, serial: Some(serial()) };
    assert!(register.plan(expire.clone()).unwrap().records.is_empty(), "not yet");
    register.now += i64::try_from(HELD_FOR.as_secs()).unwrap();
    assert_eq!(register.refused(decision(first.id, true)), Reason::HeldRemovalClosed);
    let answer = register.answer(confirming("root", &first.token));
    assert!(items(&answer).ends_with("c Held CONFIRM_TOKEN_MISMATCH"), "{}", items(&answer));
    assert_eq!(register.sets(), "a+b+c expired, a+b+c held");
    register.now += i64::try_from(HELD_FOR.as_secs()).unwrap();
    let id = answer.held.unwrap().id;
    assert_eq!(register.answer(Action::ExpireHeld { id, serial: Some(serial()) }).outcome, Outcome::Updated);
    assert_eq!((register.sets().as_str(), register.active().as_str()), ("a+b+c expired, a+b+c expired", "a b c root"));
}

#[test]
fn the_limits_are_those_of_the_settings() {
    let mut register = Register::with("a b c");
    register.settings(|settings| settings.guard_vdoms = 3);
    assert_eq!(items(&register.sync("root")), "root Unchanged, a Removed, b Removed, c Removed");
    let mut register = Register::with("a b c");
    register.settings(|settings| (settings.guard_vdoms, settings.guard_vdom_percent) = (0, 0));
    assert_eq!(items(&register.sync("root a b")), "root Unchanged, a Unchanged, b Unchanged, c Held REMOVAL_HELD");
}
