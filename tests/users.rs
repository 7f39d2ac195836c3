//! What devices say of their users: one by one, and in syncs.

use muster_proto::v1::{self, Outcome};
use muster_proto::{Reason, UserKind, user};
use muster_tests::Muster;
use muster_tests::requests::*;

/// The digest of these users of one auth client: (name, e-mail address).
fn digest_of_users<'a>(users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut all = vec![0; 32];
    for (name, email) in users {
        let one = user::digest(name, email, "", UserKind::Local, true);
        all.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
    }
    all
}

#[tokio::test]
async fn a_first_user_is_a_first_contact() {
    let muster = Muster::start().await;
    let answer = muster.device(A).devices().add_user(add_user(A, "sales", "alice")).await.unwrap().into_inner();
    assert_eq!(user_item(answer.user.as_ref().unwrap()), "alice created");
    assert_eq!(items(&answer.vdoms), ["root created", "sales created"]);
    assert_eq!((answer.users, answer.users_digest), (1, digest_of_users([("alice", "alice@example.com")])));
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["root", "sales"]);
    let audit = muster.database().audit().await;
    assert!(audit.iter().all(|row| row.operation_id == answer.operation_id && row.method == "AddUser"), "{audit:?}");
    assert!(audit.iter().any(|row| row.changes.contains(r#""user":"alice""#)), "{audit:?}");
    assert!(!audit.iter().any(|row| row.changes.contains("alice@example.com")), "{audit:?}");
}

#[tokio::test]
async fn administrators_live_in_a_vdom_of_their_own() {
    let muster = Muster::start().await;
    let mut request = add_user(A, "#FOS_Administrator", "admin");
    request.user.as_mut().unwrap().kind = v1::UserKind::Administrator.into();
    let answer = muster.device(A).devices().add_user(request).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root created", "#FOS_Administrator created"]);
}

#[tokio::test]
async fn a_user_is_added_changed_and_deleted_once_however_often_it_is_said() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &[])).await.unwrap();
    let add = add_user(A, "", "alice");
    let rehearsed = v1::AddUserRequest { validate_only: true, ..add.clone() };
    let plan = device.add_user(rehearsed).await.unwrap().into_inner();
    assert_eq!((user_item(plan.user.as_ref().unwrap()).as_str(), plan.users), ("alice created", 1));
    let planned = v1::AddUserRequest { plan_id: plan.plan_id, ..add.clone() };
    for expected in ["alice created", "alice unchanged"] {
        let request = if expected == "alice created" { planned.clone() } else { add.clone() };
        let answer = device.add_user(request).await.unwrap().into_inner();
        assert_eq!(user_item(answer.user.as_ref().unwrap()), expected);
    }
    let stale = muster.refusal(device.add_user(planned).await).await;
    assert_eq!(stale.reason, Reason::PlanStale);

    let update = v1::UpdateUserRequest {
        email: Some("alice@example.org".to_owned()),
        mobile_number: Some("+14080123456".to_owned()),
        ..update_user(A, "", "alice")
    };
    for expected in ["alice updated", "alice unchanged"] {
        let answer = device.update_user(update.clone()).await.unwrap().into_inner();
        assert_eq!(user_item(answer.user.as_ref().unwrap()), expected);
        let expected = user::digest("alice", "alice@example.org", "+14080123456", UserKind::Local, true);
        assert_eq!(answer.users_digest, expected);
    }
    let audit = muster.database().audit().await;
    let row = audit.iter().find(|row| row.method == "UpdateUser").unwrap();
    assert!(row.changes.contains("a***@example.org") && !row.changes.contains("alice@example.org"), "{row:?}");
    assert!(row.changes.contains("+14***56"), "{row:?}");

    for expected in ["alice removed", "alice unchanged ALREADY_DELETED"] {
        let answer = device.delete_user(delete_user(A, "", "alice")).await.unwrap().into_inner();
        assert_eq!(user_item(answer.user.as_ref().unwrap()), expected);
        assert_eq!((answer.users, answer.users_digest), (0, vec![0; 32]));
    }
    let answer = device.add_user(add).await.unwrap().into_inner();
    assert_eq!(answer.user.unwrap().outcome(), Outcome::Restored);
}

#[tokio::test]
async fn what_is_wrong_with_a_user_is_said_by_name() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let mut request = add_user(A, "", "alice");
    request.user.as_mut().unwrap().email.clear();
    let refusal = muster.refusal(device.add_user(request).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::UserEmailMissing, vec!["user.email".to_owned()]));
    let nobody = muster.refusal(device.update_user(update_user(A, "", "alice")).await).await;
    assert_eq!(nobody.reason, Reason::DeviceUnknown);
    device.register(register(A, &[])).await.unwrap();
    for refusal in [
        muster.refusal(device.update_user(update_user(A, "", "alice")).await).await,
        muster.refusal(device.delete_user(delete_user(A, "", "alice")).await).await,
    ] {
        assert_eq!(refusal.reason, Reason::UserUnknown);
    }
    let elsewhere = muster.refusal(device.delete_user(delete_user(A, "dmz", "alice")).await).await;
    assert_eq!(elsewhere.reason, Reason::VdomUnknown);
}

#[tokio::test]
async fn another_letter_case_is_no_second_person() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.add_user(add_user(A, "", "alice")).await.unwrap();
    let refusal = muster.refusal(device.add_user(add_user(A, "", "Alice")).await).await;
    assert_eq!(refusal.reason, Reason::UsernameCollision);
    assert!(refusal.message.contains("the auth client has it as alice"), "{}", refusal.message);
    // On another auth client of the realm it is the same person, and that is said.
    let answer = device.add_user(add_user(A, "dmz", "ALICE")).await.unwrap().into_inner();
    let item = answer.user.unwrap();
    assert_eq!(user_item(&item), "ALICE created USERNAME_COLLISION");
    assert_eq!(item.detail, "the realm has this person as alice");
}
