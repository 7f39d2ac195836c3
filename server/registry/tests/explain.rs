//! What is explained is what the next report would be told.

use muster_proto::v1::ExplainVerdict;
use proptest::prelude::*;

use super::story::{Step, USERS, addition, steps};
use super::undelete::verdict;
use super::*;

const NAMES: [&str; 5] = ["root", "a", "b", "#FOS_Administrator", "never"];

fn place(name: &str) -> Place {
    Place { owner: None, serial: Some(serial()), vdom: vdom(name) }
}

impl Register {
    fn explain(&mut self, subject: Explained) -> Finding {
        match self.answer(Action::Explain(subject)).after {
            After::Finding(finding) => *finding,
            other => panic!("{other:?}"),
        }
    }

    fn of_client(&mut self, name: &str) -> (ExplainVerdict, Option<Reason>) {
        let finding = self.explain(Explained::Client(place(name)));
        (finding.verdict, finding.reason)
    }

    fn of_user(&mut self, name: &str, user: &str) -> (ExplainVerdict, Option<Reason>) {
        let finding = self.explain(Explained::User(place(name), user.parse().unwrap()));
        (finding.verdict, finding.reason)
    }

    fn of_device(&mut self) -> (ExplainVerdict, Option<Reason>) {
        let finding = self.explain(Explained::Device(serial()));
        (finding.verdict, finding.reason)
    }
}

/// What a refused report says of the thing that it reports.
fn refused(reason: Reason) -> ExplainVerdict {
    match reason {
        Reason::DeviceRetired | Reason::AuthClientRetired | Reason::PendingApproval | Reason::CloneSuspected => {
            ExplainVerdict::Held
        }
        _ => ExplainVerdict::Refused,
    }
}

/// Whether a verdict on something agrees with what its report would be told.
fn agrees(found: (ExplainVerdict, Option<Reason>), outcome: Outcome, reason: Option<Reason>) -> bool {
    match outcome {
        Outcome::Unchanged | Outcome::Updated => {
            found.0 == ExplainVerdict::Present
                || (found.0 == ExplainVerdict::Held
                    && matches!(found.1, Some(Reason::RemovalHeld | Reason::RemovalRejected)))
        }
        Outcome::Created => found.0 == ExplainVerdict::NeverSeen && found.1.is_none(),
        Outcome::Restored => found == (ExplainVerdict::Absent, Some(Reason::Evicted)),
        Outcome::Refused | Outcome::Held => {
            // What never waited does so with its first report.
            let first = reason == Some(Reason::PendingApproval) && found.0 == ExplainVerdict::NeverSeen;
            found.1 == reason && (first || Some(found.0) == reason.map(refused))
        }
        _ => false,
    }
}

fn report(register: &mut Register, name: &str) -> (Outcome, Option<Reason>) {
    match register.plan(rehearsed(Action::Register(registration(name)).into())) {
        Err(refusal) => (Outcome::Refused, Some(refusal.reason)),
        Ok(Planned { refused: Some(refusal), .. }) => (Outcome::Refused, Some(refusal.reason)),
        Ok(planned) => {
            let item = planned.answer.items.iter().find(|item| item.vdom == vdom(name)).unwrap();
            (item.outcome, item.reason)
        }
    }
}

proptest! {
    #[test]
    fn a_verdict_is_what_a_report_of_the_thing_would_be_told(steps in steps(24)) {
        let (mut register, east) = Register::with_east();
        for step in &steps {
            if let Some(command) = register.command(step, east) {
                let _ = register.plan(command);
            }
        }
        for name in NAMES {
            let (outcome, reason) = report(&mut register, name);
            let found = register.of_client(name);
            prop_assert!(agrees(found, outcome, reason), "{name}: {found:?}, and a report is {outcome:?} {reason:?}");
            for user in USERS {
                let adding = register.plan(rehearsed(addition(name, user).into()));
                let (outcome, reason) = match adding {
                    Err(refusal) => (Outcome::Refused, Some(refusal.reason)),
                    Ok(Planned { refused: Some(refusal), .. }) => (Outcome::Refused, Some(refusal.reason)),
                    Ok(planned) => (planned.answer.users[0].outcome, planned.answer.users[0].reason),
                };
                let found = register.of_user(name, user);
                // Adding a user to a VDOM that is not there brings the VDOM, or finds another spelling; what is explained is the user.
                let is_there = register.known(name).is_some_and(AuthClient::is_active);
                let spelled = reason == Some(Reason::UsernameCollision);
                if is_there && !spelled {
                    prop_assert!(agrees(found, outcome, reason), "{user} on {name}: {found:?}, and adding is {outcome:?} {reason:?}");
                }
            }
        }
    }
}

#[test]
fn a_device_that_never_called_is_told_what_its_first_call_would_find() {
    let mut register = Register::empty();
    assert_eq!(register.of_device(), (ExplainVerdict::NeverSeen, None));
    register.settings(|settings| settings.auto_create_auth_clients = false);
    assert_eq!(register.of_device(), (ExplainVerdict::NeverSeen, Some(Reason::PendingApproval)));
    let _ = register.plan(Action::Register(registration("a")));
    assert_eq!(register.of_device(), (ExplainVerdict::Held, Some(Reason::PendingApproval)));
    register.answer(Action::RejectLobby { serial: serial(), why: Text::default() });
    assert_eq!(register.of_device(), (ExplainVerdict::Refused, Some(Reason::AdmissionRejected)));
    let settings = register.explain(Explained::Device(serial())).settings;
    assert!(settings.contains(&("auto_create_auth_clients".to_owned(), "off".to_owned())), "{settings:?}");
}

#[test]
fn how_something_was_deleted_decides_and_is_quoted() {
    for (mode, found) in [
        (DeleteMode::Evict, (ExplainVerdict::Absent, Some(Reason::Evicted))),
        (DeleteMode::Ban, (ExplainVerdict::Refused, Some(Reason::DeviceBanned))),
        (DeleteMode::Retire, (ExplainVerdict::Held, Some(Reason::DeviceRetired))),
    ] {
        let mut register = Register::with("a");
        register.answer(Action::DeleteDevice { serial: serial(), generation: None, verdict: verdict(mode, "sold") });
        assert_eq!((register.of_device(), register.of_client("a")), (found, found));
        let settings = register.explain(Explained::Device(serial())).settings;
        let (_, tombstone) = settings.iter().find(|(name, _)| name == "tombstone").unwrap();
        assert!(tombstone.starts_with(&format!("{} by test at", mode.as_str())) && tombstone.ends_with(": sold"));
    }
}

#[test]
fn a_quota_that_is_used_up_is_named_with_its_use() {
    let mut register = Register::with("a");
    register.answer(addition("a", "alice"));
    register.settings(|settings| settings.user_quota = Some(1));
    assert_eq!(register.of_user("a", "alice"), (ExplainVerdict::Present, None));
    let finding = register.explain(Explained::User(place("a"), "bob".parse().unwrap()));
    assert_eq!((finding.verdict, finding.reason), (ExplainVerdict::Refused, Some(Reason::UserQuotaExceeded)));
    assert!(finding.settings.contains(&("settings.user_quota".to_owned(), "1 of 1".to_owned())), "{finding:?}");
}

#[test]
fn a_removal_that_is_held_leaves_the_thing_there_and_says_so() {
    let mut register = Register::with("a b c");
    let held = Action::Sync(listed("root"));
    register.answer(held);
    assert_eq!(register.of_client("a"), (ExplainVerdict::Held, Some(Reason::RemovalHeld)));
    let finding = register.explain(Explained::Client(place("a")));
    assert!(finding.settings.iter().any(|(name, _)| name == "guard_vdoms"), "{finding:?}");
}

#[test]
fn an_admin_of_some_realms_is_told_of_what_is_there_alone() {
    let (mut register, east) = Register::with_east();
    register.register("a b");
    let step = Step::Move("a", true);
    let command = register.command(&step, east).unwrap();
    register.answer(command);
    register.reach = Reach::from_iter([east]);
    assert_eq!(register.of_client("a"), (ExplainVerdict::Present, None));
    assert_eq!(register.of_device().0, ExplainVerdict::Present);
    for subject in [Explained::Client(place("b")), Explained::Client(place("never"))] {
        assert_eq!(register.refused(Action::Explain(subject)), Reason::AuthClientUnknown);
    }
    register.reach = Reach::from_iter([RealmId(4_711)]);
    assert_eq!(register.refused(Action::Explain(Explained::Device(serial()))), Reason::DeviceUnknown);
}
