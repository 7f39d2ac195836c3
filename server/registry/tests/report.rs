//! Registrations and syncs.

use super::*;

#[test]
fn first_contact_registers_the_device_and_root_whichever_call_it_is() {
    let mut register = Register::empty();
    let answer = register.register("b a");
    assert_eq!((answer.outcome, answer.generation), (Outcome::Created, 1));
    assert_eq!(items(&answer), "root Created, b Created, a Created");
    assert_eq!(answer.digest, digest(["", "", ""], vdoms("a b root")));

    let mut register = Register::empty();
    let answer = register.sync("root a");
    assert_eq!((answer.outcome, answer.status), (Outcome::Created, SyncStatus::Completed));
    assert_eq!(register.active(), "a root");
}

#[test]
fn a_registration_adds_and_never_removes() {
    let mut register = Register::with("a");
    let answer = register.register("b");
    assert_eq!((answer.outcome, answer.generation), (Outcome::Updated, 2));
    assert_eq!(items(&answer), "root Unchanged, b Created");
    assert_eq!(register.active(), "a b root");
}

#[test]
fn a_sync_makes_the_register_hold_exactly_the_list() {
    let mut register = Register::with("a b");
    let answer = register.sync("root c a");
    assert_eq!(items(&answer), "root Unchanged, c Created, a Unchanged, b Removed");
    assert_eq!(register.active(), "a c root");
}

#[test]
fn a_list_without_root_leaves_root_and_says_so() {
    let mut register = Register::with("a");
    assert_eq!(items(&register.sync("a")), "a Unchanged, root Refused ROOT_VDOM_REQUIRED");
    assert_eq!(items(&register.sync("b")), "b Created, root Refused ROOT_VDOM_REQUIRED, a Removed");
    assert_eq!(items(&Register::empty().sync("a")), "a Created, root Created ROOT_VDOM_REQUIRED");
    register.answer(deletion(Target::WholeDevice));
    let answer = register.sync("b");
    assert_eq!(items(&answer), "b Restored RETURNED_AFTER_REMOVAL, root Restored ROOT_VDOM_REQUIRED");
}

#[test]
fn the_pseudo_vdom_may_be_listed_and_is_in_no_lists_power() {
    let mut register = Register::with("a");
    assert_eq!(
        items(&register.sync("root #FOS_Administrator")),
        "root Unchanged, #FOS_Administrator Created, a Removed"
    );
    let answer = register.sync("root b");
    assert_eq!(items(&answer), "root Unchanged, b Created");
    assert_eq!(register.active(), "#FOS_Administrator b root");
    assert_eq!(answer.digest, digest(["", "", ""], vdoms("b root")));
}

#[test]
fn a_removed_vdom_comes_back_under_its_old_id() {
    let mut register = Register::with("a");
    let before = register.client("a").clone();
    register.sync("root");
    assert!(!register.client("a").is_active());
    assert_eq!(items(&register.sync("root a")), "root Unchanged, a Restored RETURNED_AFTER_REMOVAL");
    let after = register.client("a");
    assert_eq!((after.id, after.created_at, &after.deleted), (before.id, before.created_at, &None));
    assert_ne!(after.etag(), before.etag());
}

#[test]
fn a_deleted_device_comes_back_under_its_old_id_and_its_vdoms_only_as_listed() {
    let mut register = Register::with("a b");
    let (device, root) = (register.device().id, register.client("root").id);
    register.answer(deletion(Target::WholeDevice));
    assert_eq!(register.active(), "");
    let answer = register.sync("root a");
    assert_eq!(answer.outcome, Outcome::Restored);
    assert_eq!((register.device().id, register.client("root").id), (device, root));
    assert_eq!(register.active(), "a root");
    register.answer(deletion(Target::WholeDevice));
    assert_eq!(register.register("").outcome, Outcome::Restored);
    assert_eq!(register.active(), "root");
}

#[test]
fn a_stale_base_generation_is_fenced_out() {
    let based = |generation| Action::Sync(Sync { base_generation: Some(generation), ..listed("root a") });
    let mut register = Register::empty();
    assert_eq!(register.refused(based(1)), Reason::StaleGeneration);
    assert!(register.held().is_none());
    assert_eq!(register.answer(based(0)).generation, 1);
    assert_eq!(register.refused(based(0)), Reason::StaleGeneration);
    assert_eq!(register.answer(based(1)).outcome, Outcome::Unchanged);
}

#[test]
fn a_digest_is_answered_in_sync_or_list_needed() {
    let by_digest = |digest| Action::Sync(Sync { full_list: None, digest: Some(digest), ..listed("") });
    let mut register = Register::empty();
    let answer = register.answer(by_digest([1; 32]));
    assert_eq!((answer.status, answer.generation, answer.digest), (SyncStatus::ListNeeded, 0, [0; 32]));
    assert!(register.held().is_none());

    let digest = register.register("a").digest;
    let answer = register.answer(by_digest(digest));
    assert_eq!((answer.status, answer.items.len(), answer.generation), (SyncStatus::InSync, 0, 1));
    let answer = register.answer(by_digest([1; 32]));
    assert_eq!((answer.status, answer.outcome, answer.digest), (SyncStatus::ListNeeded, Outcome::Unchanged, digest));
}

#[test]
fn a_deleted_device_with_an_equal_digest_is_restored_and_not_in_sync() {
    let mut register = Register::with("a");
    register.answer(deletion(Target::WholeDevice));
    let digest = Some(register.device().digest);
    let answer = register.answer(Action::Sync(Sync { full_list: None, digest, ..listed("") }));
    assert_eq!(answer.status, SyncStatus::ListNeeded);
    let answer = register.answer(Action::Sync(Sync { digest, ..listed("root a") }));
    assert_eq!((answer.status, answer.outcome), (SyncStatus::Completed, Outcome::Restored));
    assert_eq!(register.active(), "a root");
}

#[test]
fn an_empty_text_leaves_what_the_register_holds() {
    let info = |model: &str, hostname: &str| DeviceInfo {
        model: model.parse().unwrap(),
        hostname: hostname.parse().unwrap(),
        ..DeviceInfo::default()
    };
    let mut register = Register::empty();
    register.answer(Action::Register(Registration { info: info("m", "h"), ..registration("") }));
    let renamed = Action::Register(Registration { info: info("", "g"), ..registration("") });
    let planned = register.plan(renamed).unwrap();
    assert_eq!(planned.answer.outcome, Outcome::Updated);
    let expected = Change { subject: Subject::Itself, field: "hostname", before: "h".into(), after: "g".into() };
    assert_eq!(planned.records[0].changes, [expected]);
    assert_eq!(register.device().info, info("m", "g"));
}

#[test]
fn beyond_the_limit_a_vdom_is_refused_and_the_rest_is_done() {
    let names: Vec<String> = (1..MAX_VDOMS).map(|number| format!("v{number}")).collect();
    let mut register = Register::with(&names.join(" "));
    let answer = register.register("new #FOS_Administrator v1");
    assert_eq!(items(&answer), "root Unchanged, new Refused VDOM_LIMIT, #FOS_Administrator Created, v1 Unchanged");
    assert_eq!(items(&register.register("new")), "root Unchanged, new Refused VDOM_LIMIT");
    assert_eq!(register.device().generation, 2);
}

#[test]
fn a_full_list_leaves_room_for_root() {
    let names: Vec<String> = (0..MAX_VDOMS).map(|number| format!("v{number}")).collect();
    let mut register = Register::empty();
    let answer = register.sync(&names.join(" "));
    let line = items(&answer);
    assert!(line.ends_with("v499 Refused VDOM_LIMIT, root Created ROOT_VDOM_REQUIRED"), "{line}");
    assert!(register.client("root").is_active());
}

#[test]
fn a_rehearsal_answers_the_same_changes_nothing_and_takes_no_id() {
    for mut register in [Register::empty(), Register::with("a b")] {
        let before = register.clone();
        let rehearsal = register.plan(rehearsed(Action::Sync(listed("root b c")).into())).unwrap();
        assert_eq!((register.values(), register.next_id), (before.values(), before.next_id));
        register.now = before.now;
        let mut done = register.plan(Action::Sync(listed("root b c"))).unwrap();
        done.answer.plan.clone_from(&rehearsal.answer.plan);
        assert_eq!(done, rehearsal);
    }
}

#[test]
fn a_plan_is_done_only_if_it_would_still_do_the_same() {
    let planned = |plan: &Option<String>| Command {
        options: Options { validate_only: false, plan: plan.clone() },
        ..Action::Sync(listed("root b c")).into()
    };
    let mut register = Register::with("a b");
    let plan = register.answer(rehearsed(Action::Sync(listed("root b c")).into())).plan;
    let before = register.values();
    register.sync("root a b d");
    assert_eq!(register.refused(planned(&plan)), Reason::PlanStale);
    assert_eq!(register.active(), "a b d root");
    let mut untouched = Register::with("a b");
    assert_eq!(untouched.values(), before);
    assert_eq!(items(&untouched.answer(planned(&plan))), "root Unchanged, b Unchanged, c Created, a Removed");
    assert_eq!(untouched.refused(planned(&plan)), Reason::PlanStale);
}
