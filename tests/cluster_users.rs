//! Whatever becomes of a cluster, no user changes; and nobody but its primary changes one.

use muster_proto::v1::{self, HaRole, Outcome, SyncUsersDemand};
use muster_proto::{Reason, UserKind};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster, Refusal, UserStream};

use crate::clusters::{ha, only_cluster, reported};

/// A box that takes the place of another one.
const SPARE: &str = "FG101FTK19002790";
const VDOMS: [&str; 2] = ["root", "sales"];

/// The users of the register, whole.
async fn everybody(muster: &Muster) -> Vec<v1::User> {
    let request = v1::ListUsersRequest { show_deleted: true, ..Default::default() };
    muster.admin().users().list_users(request).await.unwrap().into_inner().users
}

fn begin(serial: &str, epoch: Option<i64>) -> v1::SyncUsersBegin {
    let product = v1::FortiProductTarget { serial_number: serial.to_owned(), vdom: "sales".to_owned(), epoch };
    let target = v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::FortiProduct(product)) };
    v1::SyncUsersBegin { target: Some(target), ..Default::default() }
}

/// Whether the register has exactly these users on the VDOM of a box, by the digest that the box has of them.
async fn agrees(caller: &Caller, serial: &str, epoch: Option<i64>, names: &[&str]) -> bool {
    let mut digest = vec![0; 32];
    for name in names {
        let one = muster_proto::user::digest(name, &format!("{name}@example.com"), "", UserKind::Local, true);
        digest.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
    }
    let stream = UserStream::open(caller, v1::SyncUsersBegin { digest, ..begin(serial, epoch) }).await;
    stream.demand() == SyncUsersDemand::InSync
}

async fn report(muster: &Muster, serial: &str, role: HaRole, epoch: Option<i64>) -> v1::SyncResponse {
    let members: &[&str] = if role == HaRole::Standalone { &[] } else { &[A, B] };
    let request = reported(serial, &VDOMS, ha(role, epoch, members));
    muster.device(serial).devices().sync(request).await.unwrap().into_inner()
}

/// A (primary) and B in one cluster, with alice, bob and carol on `sales`; and the users as they are.
async fn pair(muster: &Muster) -> Vec<v1::User> {
    muster.device(A).devices().sync(sync(A, &VDOMS)).await.unwrap();
    for name in ["alice", "bob", "carol"] {
        muster.device(A).devices().add_user(add_user(A, "sales", name)).await.unwrap();
    }
    let before = everybody(muster).await;
    assert_eq!(before.len(), 3);
    report(muster, A, HaRole::Primary, None).await;
    report(muster, B, HaRole::Secondary, None).await;
    assert_eq!(only_cluster(muster).await.members.len(), 2);
    assert_eq!(everybody(muster).await, before, "founding and joining");
    before
}

const ALL: &[&str] = &["alice", "bob", "carol"];

#[tokio::test]
async fn a_failover_changes_no_user_and_the_old_primary_changes_none_any_more() {
    let muster = Muster::start().await;
    let before = pair(&muster).await;
    let (a, b) = (muster.device(A), muster.device(B));
    assert!(agrees(&a, A, Some(1), ALL).await && agrees(&b, B, None, ALL).await);
    // The old primary is in the middle of a list, which would remove two, as the other one takes over.
    let overtaken = UserStream::open(&a, begin(A, Some(1))).await;
    overtaken.list(&[user("alice")]).await;
    report(&muster, B, HaRole::Primary, Some(2)).await;
    let refusal = Refusal::read(&overtaken.end().await.unwrap_err());
    assert_eq!((refusal.reason, refusal.details["epoch"].as_str()), (Reason::StaleEpoch, "2"));
    assert_eq!(refusal.details["primary"], B);

    let target = begin(A, Some(1)).target;
    let add = |target| v1::AddUserRequest { target, ..add_user(A, "sales", "dave") };
    let update = |target| v1::UpdateUserRequest {
        target,
        email: Some("new@example.com".to_owned()),
        ..update_user(A, "sales", "alice")
    };
    let delete = |target| v1::DeviceServiceDeleteUserRequest { target, ..delete_user(A, "sales", "alice") };
    for (epoch, reason) in
        [(Some(1), Reason::StaleEpoch), (Some(3), Reason::EpochAhead), (None, Reason::PrimaryDecides)]
    {
        let target = begin(A, epoch).target;
        let added = muster.refusal(a.devices().add_user(add(target.clone())).await).await;
        let updated = muster.refusal(a.devices().update_user(update(target.clone())).await).await;
        let deleted = muster.refusal(a.devices().delete_user(delete(target)).await).await;
        let vdom = v1::DeleteRequest { epoch, ..delete_vdom(A, "sales") };
        let vdom = muster.refusal(a.devices().delete(vdom).await).await;
        assert_eq!([added.reason, updated.reason, deleted.reason, vdom.reason], [reason; 4], "{epoch:?}");
    }
    let whole = v1::DeleteRequest { epoch: Some(1), ..delete_whole(A) };
    assert_eq!(muster.refusal(a.devices().delete(whole).await).await.reason, Reason::StaleEpoch);
    let status = UserStream::try_open(&a, begin(A, Some(1))).await.unwrap_err();
    assert_eq!(Refusal::read(&status).reason, Reason::StaleEpoch);
    // Without an epoch its list is looked at, and nothing of it is done.
    let moved = v1::UserAttributes { email: "b@example.com".to_owned(), ..user("bob") };
    let held = a.sync_users(begin(A, None), &[user("alice"), moved, user("dave")]).await.unwrap();
    let expected = ["bob held PRIMARY_DECIDES", "carol held PRIMARY_DECIDES", "dave held PRIMARY_DECIDES"];
    assert_eq!((held.outcomes, held.summary.users), (expected.map(str::to_owned).to_vec(), 3));
    assert!(held.summary.held_removal.is_none(), "nobody can confirm what the primary decides");

    assert_eq!(everybody(&muster).await, before);
    assert!(agrees(&b, B, Some(2), ALL).await);
    // The new primary changes them; and the fence stands after a restart.
    let by_primary = v1::AddUserRequest { target: begin(B, Some(2)).target, ..add_user(B, "", "dave") };
    let added = b.devices().add_user(by_primary).await;
    assert_eq!(added.unwrap().into_inner().user.unwrap().outcome(), Outcome::Created);
    let muster = muster.restart().await;
    let refusal = muster.refusal(muster.device(A).devices().add_user(add(target)).await).await;
    assert_eq!(refusal.reason, Reason::StaleEpoch);
}

#[tokio::test]
async fn the_users_that_a_joining_device_brings_along_join_those_who_are_there() {
    let muster = Muster::start().await;
    muster.device(B).devices().add_user(add_user(B, "sales", "dave")).await.unwrap();
    muster.device(A).devices().add_user(add_user(A, "sales", "alice")).await.unwrap();
    let before = everybody(&muster).await;
    report(&muster, A, HaRole::Primary, None).await;
    report(&muster, B, HaRole::Secondary, None).await;
    assert_eq!(everybody(&muster).await, before);
    assert!(agrees(&muster.device(A), A, Some(1), &["alice", "dave"]).await);
    assert_eq!(muster.admin().get_auth_client(&format!("{B}-sales")).await.users, 2);
}

#[tokio::test]
async fn a_member_that_leaves_takes_no_user_along_and_costs_none() {
    let muster = Muster::start().await;
    let before = pair(&muster).await;
    let cluster = only_cluster(&muster).await.name;
    let remove = |serial: &str| v1::RemoveClusterMemberRequest {
        name: cluster.clone(),
        serial_number: serial.to_owned(),
        ..Default::default()
    };
    muster.admin().clusters().remove_cluster_member(remove(B)).await.unwrap();
    assert_eq!(everybody(&muster).await, before);
    let refusal = UserStream::try_open(&muster.device(B), begin(B, Some(1))).await.unwrap_err();
    assert_eq!(Refusal::read(&refusal).reason, Reason::NotAMember);
    // It comes back; and then the primary is the one that leaves, of itself.
    report(&muster, A, HaRole::Primary, Some(1)).await;
    report(&muster, B, HaRole::Secondary, None).await;
    muster.device(A).devices().delete(v1::DeleteRequest { epoch: Some(1), ..delete_whole(A) }).await.unwrap();
    assert_eq!(everybody(&muster).await, before);
    assert!(agrees(&muster.device(B), B, Some(2), ALL).await);
}

#[tokio::test]
async fn going_standalone_leaves_every_user_where_it_was() {
    let muster = Muster::start().await;
    let before = pair(&muster).await;
    report(&muster, B, HaRole::Standalone, Some(1)).await;
    assert_eq!(everybody(&muster).await, before);
    assert_eq!(muster.admin().get_auth_client(&format!("{B}-sales")).await.users, 0);
    report(&muster, A, HaRole::Standalone, Some(1)).await;
    assert_eq!(everybody(&muster).await, before);
    assert!(agrees(&muster.device(A), A, None, ALL).await);
}

#[tokio::test]
async fn replacing_a_member_changes_no_user_whichever_it_is() {
    let muster = Muster::start().await;
    let before = pair(&muster).await;
    for (old, new, primary) in [(A, SPARE, SPARE), (B, VM, SPARE)] {
        let replace = v1::ReplaceDeviceRequest {
            name: format!("devices/{old}"),
            replacement_serial_number: new.to_owned(),
            ..Default::default()
        };
        muster.admin().device_admin().replace_device(replace).await.unwrap();
        assert_eq!(everybody(&muster).await, before, "{old} by {new}");
        let cluster = only_cluster(&muster).await;
        assert_eq!((cluster.primary_serial_number.as_str(), cluster.members.len()), (primary, 2));
        assert!(agrees(&muster.device(primary), primary, Some(cluster.epoch), ALL).await);
        let refusal = muster.refusal(muster.device(old).devices().add_user(add_user(old, "sales", "dave")).await).await;
        assert_eq!(refusal.reason, Reason::DeviceRetired);
    }
    assert_eq!(everybody(&muster).await, before);
}
