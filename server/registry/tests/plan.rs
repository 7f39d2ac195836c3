//! Plans: what makes one stale, and what does not.

use super::undelete::verdict;
use super::*;

/// What somebody does between a plan and its application.
type Between = fn(&mut Register);

fn applied(action: &Action, plan: Option<String>) -> Command {
    Command { action: action.clone(), options: Options { validate_only: false, plan } }
}

/// Plans, lets something happen, and applies the plan: whether it was still good.
fn still_good(mut register: Register, action: &Action, between: Between) -> bool {
    let plan = register.answer(rehearsed(action.clone().into())).plan;
    assert!(plan.is_some());
    between(&mut register);
    let before = register.rows();
    match register.plan(applied(action, plan)) {
        Ok(_) => true,
        Err(refusal) => {
            assert_eq!((refusal.reason, register.rows()), (Reason::PlanStale, before));
            false
        }
    }
}

fn whole() -> Action {
    Action::DeleteDevice { serial: serial(), generation: None, verdict: verdict(DeleteMode::Retire, "sold") }
}

#[test]
fn what_a_plan_does_not_depend_on_does_not_make_it_stale() {
    let unrelated: [Between; 5] = [
        |_| {},
        // Others make things: new rows get other ids.
        |register| register.next_id += 77,
        |register| {
            let other = Registration { serial: "FG101FTK19002789".parse().unwrap(), ..registration("x") };
            register.answer(Action::Register(other));
        },
        // The device calls, and is refused or not.
        |register| {
            let device = register.state.devices.change(&serial()).unwrap();
            (device.last_seen_at, device.contacts) = (muster_proto::Timestamp::from_micros(9_000_000), 3);
            register.state.devices.keep();
        },
        // Users come to other auth clients of the realm.
        |register| {
            register.settings(|settings| settings.users += 5);
            register.state.realms.change(&RealmId::DEFAULT).unwrap().users += 5;
            register.state.realms.keep();
        },
    ];
    for (number, between) in unrelated.into_iter().enumerate() {
        for action in [whole(), Action::Sync(listed("root b c")), Action::Register(registration("d"))] {
            let register = Register::with_users("a b", "ann bob");
            assert!(still_good(register, &action, between), "{number}: {action:?}");
        }
    }
}

#[test]
fn what_a_plan_depends_on_makes_it_stale() {
    let cases: [(Action, Between); 7] = [
        // What goes with it.
        (whole(), |register| register.add("a", "cid")),
        (whole(), |register| drop(register.register("c"))),
        // What was only read: where a new VDOM is placed, and what may go in one sync.
        (Action::Register(registration("c")), |register| register.settings(|it| it.multi_realm_mode = true)),
        (Action::Sync(listed("root b")), |register| {
            register.settings(|it| {
                it.guard_vdoms = 0;
                it.guard_vdom_percent = 0;
            });
        }),
        // It went and came back.
        (Action::Sync(listed("root b")), |register| {
            register.answer(without("a"));
            register.register("a");
        }),
        // The device changed, and the outcome is the same.
        (Action::Register(registration("a")), |register| drop(register.register("c"))),
        (Action::Register(registration("c")), |register| drop(register.register("c"))),
    ];
    for (number, (action, between)) in cases.into_iter().enumerate() {
        assert!(!still_good(Register::with_users("a b", "ann bob"), &action, between), "{number}: {action:?}");
    }
}

#[test]
fn a_plan_that_makes_new_things_is_good_whatever_ids_are_left() {
    for between in [|_: &mut Register| {}, |register: &mut Register| register.next_id += 1_000] {
        let mut register = Register::empty();
        register.settings(|settings| settings.multi_realm_mode = true);
        assert!(still_good(register, &Action::Register(registration("a b")), between));
    }
}

#[test]
fn a_plan_is_of_one_action_alone() {
    let mut register = Register::with("a b");
    let plan = register.answer(rehearsed(Action::Sync(listed("root b")).into())).plan;
    assert_eq!(register.refused(applied(&Action::Sync(listed("root a")), plan.clone())), Reason::PlanStale);
    assert_eq!(register.refused(applied(&Action::Sync(listed("root b")), Some("p0".to_owned()))), Reason::PlanStale);
    let only = Options { validate_only: true, plan: plan.clone() };
    let again = register.answer(Command { action: Action::Sync(listed("root b")), options: only });
    assert_eq!(again.plan, plan);
}
