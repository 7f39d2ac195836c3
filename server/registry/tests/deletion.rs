//! Deletions, by devices and by admins.

use super::*;

fn by_admin(name: &str, etag: Option<String>) -> Action {
    Action::DeleteAuthClient { serial: serial(), vdom: vdom(name), etag, verdict: Verdict::default() }
}

#[test]
fn one_vdom_goes_and_the_device_stays() {
    let mut register = Register::with("a b");
    let answer = register.answer(without("a"));
    assert_eq!((answer.outcome, answer.generation), (Outcome::Unchanged, 2));
    assert_eq!(items(&answer), "a Removed");
    assert_eq!(register.active(), "b root");
    assert_eq!(items(&register.answer(without("a"))), "a Unchanged ALREADY_DELETED");
    assert_eq!(register.device().generation, 2);
}

#[test]
fn the_whole_device_goes_with_all_its_vdoms() {
    let mut register = Register::with("a #FOS_Administrator");
    let answer = register.answer(deletion(Target::WholeDevice));
    assert_eq!(answer.outcome, Outcome::Removed);
    assert_eq!(items(&answer), "#FOS_Administrator Removed, a Removed, root Removed");
    let again = register.answer(deletion(Target::WholeDevice));
    assert_eq!((again.outcome, again.reason), (Outcome::Unchanged, Some(Reason::AlreadyDeleted)));
}

#[test]
fn root_cannot_go_while_its_device_is_there() {
    let mut register = Register::with("");
    assert_eq!(register.refused(without("root")), Reason::RootVdomRequired);
    register.answer(deletion(Target::WholeDevice));
    assert_eq!(items(&register.answer(without("root"))), "root Unchanged ALREADY_DELETED");
}

#[test]
fn what_was_never_there_cannot_be_deleted() {
    let mut register = Register::empty();
    assert_eq!(register.refused(without("a")), Reason::DeviceUnknown);
    assert_eq!(register.refused(without("root")), Reason::DeviceUnknown);
    assert_eq!(register.refused(deletion(Target::WholeDevice)), Reason::DeviceUnknown);
    assert_eq!(register.refused(by_admin("a", None)), Reason::AuthClientUnknown);
    register.register("");
    assert_eq!(register.refused(without("a")), Reason::VdomUnknown);
    assert_eq!(register.refused(by_admin("a", None)), Reason::AuthClientUnknown);
}

#[test]
fn an_admin_deletes_an_auth_client_only_with_its_etag() {
    let mut register = Register::with("a");
    let etag = register.client("a").etag();
    assert_eq!(register.refused(by_admin("a", Some("0".to_owned()))), Reason::EtagMismatch);
    let answer = register.answer(by_admin("a", Some(etag.clone())));
    assert_eq!(answer.outcome, Outcome::Removed);
    assert_eq!(answer.after, After::AuthClient(register.client("a").clone()));
    assert_eq!(register.refused(by_admin("a", Some(etag))), Reason::EtagMismatch);
    let again = register.answer(by_admin("a", None));
    assert_eq!((again.outcome, again.reason), (Outcome::Unchanged, Some(Reason::AlreadyDeleted)));
}

#[test]
fn an_admin_may_delete_root_and_it_returns_with_the_next_report() {
    let mut register = Register::with("a");
    assert_eq!(register.answer(by_admin("root", None)).outcome, Outcome::Removed);
    assert_eq!(items(&register.sync("root a")), "root Restored RETURNED_AFTER_REMOVAL, a Unchanged");
}

#[test]
fn an_admin_deletes_a_device_only_at_its_generation() {
    let at = |generation| Action::DeleteDevice { serial: serial(), generation, verdict: Verdict::default() };
    let mut register = Register::empty();
    assert_eq!(register.refused(at(None)), Reason::DeviceUnknown);
    register.register("a");
    assert_eq!(register.refused(at(Some(2))), Reason::StaleGeneration);
    assert_eq!(register.answer(at(Some(1))).outcome, Outcome::Removed);
    assert_eq!(register.answer(at(None)).reason, Some(Reason::AlreadyDeleted));
}

#[test]
fn an_etag_changes_even_if_the_clock_stands_still() {
    let mut register = Register::with("a");
    let mut etags = vec![register.client("a").etag()];
    for command in [without("a"), Action::Register(registration("a")).into(), by_admin("a", None).into()] {
        register.now = 0;
        register.answer(command);
        etags.push(register.client("a").etag());
    }
    etags.sort_unstable();
    etags.dedup();
    assert_eq!(etags.len(), 4);
}
