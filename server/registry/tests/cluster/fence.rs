//! Who of a cluster may write, and in which epoch.

use muster_proto::Username;
use muster_proto::device_users::{ClientTarget, NewMobile, UserAddition, UserDeletion, UserUpdate};
use muster_proto::user_sync::Kinds;

use super::*;

/// Everything that a device writes besides its reports, in its epoch.
fn writes(serial: &str, epoch: Option<i64>) -> Vec<Action> {
    let target = ClientTarget { serial: box_of(serial), vdom: vdom("a"), epoch };
    let user = UserAttributes {
        username: "bob".parse().unwrap(),
        email: "bob@example.com".parse().unwrap(),
        mobile: None,
        kind: UserKind::Local,
        active: true,
    };
    let username: Username = "ann".parse().unwrap();
    let update = UserUpdate {
        target: target.into(),
        username: username.clone(),
        email: Some("new@example.com".parse().unwrap()),
        mobile: NewMobile::Kept,
        kind: None,
        active: None,
    };
    let deletion = |target| Action::Delete(Deletion { serial: box_of(serial), target, epoch });
    vec![
        Action::AddUser(UserAddition { target: target.into(), user }),
        Action::UpdateUser(update),
        Action::DeleteUser(UserDeletion { target: target.into(), username }),
        Action::BeginUserSync(target.into()),
        Action::UsersInSync(target.into(), Kinds::ALL),
        deletion(Target::Vdom(vdom("a"))),
        deletion(Target::WholeDevice),
    ]
}

#[test]
fn a_replaced_primary_writes_nothing_in_its_old_epoch_and_nobody_in_one_that_never_was() {
    let mut register = Register::pair();
    register.add_user(A, "a", "ann");
    register.answer(sync(B, "a", HaRole::Primary, Some(2), &[A]));
    for (serial, epoch, reason) in
        [(A, 1, Reason::StaleEpoch), (B, 1, Reason::StaleEpoch), (A, 3, Reason::EpochAhead), (B, 3, Reason::EpochAhead)]
    {
        for action in writes(serial, Some(epoch)) {
            assert_eq!(register.refused(action.clone()), reason, "{action:?}");
        }
    }
    assert_eq!((register.users(B, "a"), register.cluster().members.len()), ("ann".to_owned(), 2));
    for action in writes(B, Some(2)) {
        register.answer(action);
    }
}

#[test]
fn a_secondary_writes_no_user_whether_or_not_it_knows_the_epoch() {
    let mut register = Register::pair();
    register.add_user(A, "a", "ann");
    for epoch in [None, Some(1)] {
        let actions = writes(B, epoch);
        for action in &actions[..3] {
            assert_eq!(register.refused(action.clone()), Reason::PrimaryDecides, "{action:?}");
        }
        assert_eq!(register.refused(actions[5].clone()), Reason::PrimaryDecides);
        // What the lists of a secondary come to is said of each user.
        register.answer(actions[3].clone());
    }
    assert_eq!(register.users(A, "a"), "ann");
}

#[test]
fn a_device_that_was_taken_out_of_its_cluster_writes_nothing_in_the_epoch_of_it() {
    let mut register = Register::pair();
    let cluster = register.cluster().id;
    register.answer(Action::RemoveMember { cluster, serial: box_of(A) });
    for action in writes(A, Some(1)) {
        assert_eq!(register.refused(action.clone()), Reason::NotAMember, "{action:?}");
    }
    // It starts afresh, without an epoch.
    register.answer(writes(A, None)[0].clone());
    assert_eq!((register.users(A, "a"), register.users(B, "a")), ("bob".to_owned(), String::new()));
}

#[test]
fn a_banned_device_is_told_that_it_is_banned_whatever_its_epoch() {
    let mut register = Register::pair();
    let verdict = Verdict { mode: Some(DeleteMode::Ban), ..Verdict::default() };
    register.answer(Action::DeleteDevice { serial: box_of(A), generation: None, verdict });
    for action in writes(A, Some(1)) {
        assert_eq!(register.refused(action.clone()), Reason::DeviceBanned, "{action:?}");
    }
}
