//! What devices call: register, sync, delete.

use std::collections::BTreeSet;

use muster_proto::Reason;
use muster_proto::v1::{self, Outcome, SyncStatus};
use muster_tests::requests::*;
use muster_tests::{Muster, eventually};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_registration_creates_the_device_its_vdoms_and_root() {
    let muster = Muster::start().await;
    let request = v1::RegisterRequest {
        info: Some(info("FortiGate-101F", "branch-7", "v7.4.8,build2795")),
        ..register(A, &["sales", "dmz"])
    };
    let answer = muster.device(A).devices().register(request).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), Outcome::Created);
    assert_eq!(items(&answer.vdoms), ["root created", "sales created", "dmz created"]);
    assert_eq!(answer.generation, 1);
    assert_eq!(answer.digest, digest_of(["FortiGate-101F", "branch-7", "v7.4.8,build2795"], &["root", "sales", "dmz"]));
    assert!(answer.next_sync_after.unwrap().seconds > 0);

    let held = muster.admin().get_device(A).await;
    assert_eq!(names(&held.vdoms), ["dmz", "root", "sales"]);
    let device = held.device.unwrap();
    assert_eq!((device.generation, &device.digest), (1, &answer.digest));
    assert_eq!((device.product.as_str(), device.info.unwrap().hostname.as_str()), ("FortiGate", "branch-7"));
    let audit = muster.database().audit().await;
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0].operation_id, answer.operation_id);
    assert_eq!((audit[0].caller.as_str(), audit[0].method.as_str()), ("device:FG101FTK19002788", "Register"));
}

#[tokio::test]
async fn a_repeated_call_changes_nothing_and_leaves_no_audit_row() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales"])).await.unwrap();
    let before = muster.admin().get_device(A).await;

    let again = device.register(register(A, &["sales"])).await.unwrap().into_inner();
    assert_eq!(again.outcome(), Outcome::Unchanged);
    assert_eq!(items(&again.vdoms), ["root unchanged", "sales unchanged"]);
    let synced = device.sync(sync(A, &["sales", "root"])).await.unwrap().into_inner();
    assert_eq!((synced.status(), synced.outcome()), (SyncStatus::Completed, Outcome::Unchanged));
    assert_eq!(items(&synced.vdoms), ["sales unchanged", "root unchanged"]);

    let after = muster.admin().get_device(A).await.device.unwrap();
    let before = before.device.unwrap();
    assert_eq!((after.generation, after.digest, after.update_time), (1, before.digest, before.update_time));
    assert_eq!(muster.database().audit().await.len(), 1);
}

#[tokio::test]
async fn a_call_that_changes_nothing_is_seen_all_the_same() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &[])).await.unwrap();
    let admin = muster.admin();
    let first = admin.get_device(A).await.device.unwrap();
    device.register(register(A, &[])).await.unwrap();
    let later = eventually(async || {
        let device = admin.get_device(A).await.device.unwrap();
        let (seen, before) = (device.last_seen_time.unwrap(), first.last_seen_time.unwrap());
        ((seen.seconds, seen.nanos) > (before.seconds, before.nanos)).then_some(device)
    })
    .await;
    assert_eq!((later.generation, later.update_time), (first.generation, first.update_time));
}

#[tokio::test]
async fn a_registration_never_removes() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales", "dmz"])).await.unwrap();
    let answer = device.register(register(A, &["guests"])).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), Outcome::Updated);
    assert_eq!(items(&answer.vdoms), ["root unchanged", "guests created"]);
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["dmz", "guests", "root", "sales"]);
}

#[tokio::test]
async fn an_empty_text_leaves_what_the_register_holds() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let first = v1::RegisterRequest { info: Some(info("FortiGate-101F", "old", "v7.4.8")), ..register(A, &[]) };
    device.register(first).await.unwrap();
    let second = v1::SyncRequest { info: Some(info("", "new", "")), ..sync(A, &["root"]) };
    assert_eq!(device.sync(second).await.unwrap().into_inner().outcome(), Outcome::Updated);
    let held = muster.admin().get_device(A).await.device.unwrap();
    assert_eq!(held.info, Some(info("FortiGate-101F", "new", "v7.4.8")));
}

#[tokio::test]
async fn a_sync_makes_the_register_hold_exactly_the_list() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales", "dmz", "guests"])).await.unwrap();
    let answer = device.sync(sync(A, &["voice", "root", "dmz"])).await.unwrap().into_inner();
    assert_eq!((answer.status(), answer.outcome()), (SyncStatus::Completed, Outcome::Updated));
    let expected = ["voice created", "root unchanged", "dmz unchanged", "guests removed", "sales removed"];
    assert_eq!(items(&answer.vdoms), expected);
    assert_eq!((answer.generation, answer.digest), (2, digest_of([""; 3], &["dmz", "root", "voice"])));
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["dmz", "root", "voice"]);
}

#[tokio::test]
async fn a_sync_of_a_device_that_is_not_known_registers_it_on_the_way() {
    let muster = Muster::start().await;
    let answer = muster.device(A).devices().sync(sync(A, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!((answer.status(), answer.outcome(), answer.generation), (SyncStatus::Completed, Outcome::Created, 1));
    assert_eq!(items(&answer.vdoms), ["root created", "sales created"]);
}

#[tokio::test]
async fn a_removed_vdom_returns_under_its_old_id_and_says_so() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.register(register(A, &["sales", "dmz"])).await.unwrap();
    let id = admin.get_auth_client("FG101FTK19002788-sales").await.id;
    device.sync(sync(A, &["root", "dmz"])).await.unwrap();
    assert_eq!(admin.get_auth_client("FG101FTK19002788-sales").await.state(), v1::LifecycleState::Deleted);

    let answer = device.sync(sync(A, &["root", "dmz", "sales"])).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root unchanged", "dmz unchanged", "sales restored RETURNED_AFTER_REMOVAL"]);
    let back = admin.get_auth_client("FG101FTK19002788-sales").await;
    assert_eq!((back.id, back.state(), back.delete_time), (id, v1::LifecycleState::Active, None));
}

#[tokio::test]
async fn an_equal_digest_is_in_sync_and_another_one_asks_for_the_list() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let by_digest = |digest| v1::SyncRequest { serial_number: A.to_owned(), digest, ..Default::default() };

    let unknown = device.sync(by_digest(vec![7; 32])).await.unwrap().into_inner();
    assert_eq!((unknown.status(), unknown.generation), (SyncStatus::ListNeeded, 0));
    let request = v1::GetDeviceRequest { name: format!("devices/{A}") };
    let refusal = muster.refusal(muster.admin().device_admin().get_device(request).await).await;
    assert_eq!(refusal.reason, Reason::DeviceUnknown);

    device.register(register(A, &["sales"])).await.unwrap();
    let equal = device.sync(by_digest(digest_of([""; 3], &["sales", "root"]))).await.unwrap().into_inner();
    assert_eq!((equal.status(), equal.outcome(), equal.vdoms), (SyncStatus::InSync, Outcome::Unchanged, vec![]));
    let other = device.sync(by_digest(vec![7; 32])).await.unwrap().into_inner();
    assert_eq!((other.status(), other.outcome(), other.generation), (SyncStatus::ListNeeded, Outcome::Unchanged, 1));
    assert_eq!(other.digest, equal.digest);

    // With a list beside it, a digest that differs costs no second call.
    let both = v1::SyncRequest { digest: vec![7; 32], ..sync(A, &["root"]) };
    let both = device.sync(both).await.unwrap().into_inner();
    assert_eq!(
        (both.status(), items(&both.vdoms)),
        (SyncStatus::Completed, vec!["root unchanged".to_owned(), "sales removed".to_owned()])
    );
}

#[tokio::test]
async fn the_digest_of_a_deleted_device_is_never_in_sync() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &[])).await.unwrap();
    device.delete(delete_whole(A)).await.unwrap();
    let held = muster.admin().get_device(A).await.device.unwrap();
    let request = v1::SyncRequest { serial_number: A.to_owned(), digest: held.digest, ..Default::default() };
    assert_eq!(device.sync(request).await.unwrap().into_inner().status(), SyncStatus::ListNeeded);
}

#[tokio::test]
async fn a_stale_base_generation_changes_nothing() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let based_on = |generation, vdoms: &[&str]| v1::SyncRequest { base_generation: Some(generation), ..sync(A, vdoms) };

    let early = muster.refusal(device.sync(based_on(1, &["root"])).await).await;
    assert_eq!(early.reason, Reason::StaleGeneration);
    let first = device.sync(based_on(0, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!(first.generation, 1);
    let stale = muster.refusal(device.sync(based_on(0, &["root"])).await).await;
    assert_eq!(stale.reason, Reason::StaleGeneration);
    assert!(stale.message.contains("is at generation 1, and the sync is based on 0"), "{}", stale.message);
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["root", "sales"]);
    assert_eq!(device.sync(based_on(1, &["root"])).await.unwrap().into_inner().generation, 2);
}

#[tokio::test]
async fn validate_only_answers_what_would_happen_and_changes_nothing() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    let only = v1::RegisterRequest { validate_only: true, ..register(A, &["sales"]) };
    let said = device.register(only).await.unwrap().into_inner();
    let request = v1::GetDeviceRequest { name: format!("devices/{A}") };
    assert_eq!(muster.refusal(admin.device_admin().get_device(request).await).await.reason, Reason::DeviceUnknown);
    let done = device.register(register(A, &["sales"])).await.unwrap().into_inner();
    assert_eq!((said.outcome, items(&said.vdoms)), (done.outcome, items(&done.vdoms)));
    assert_eq!((said.generation, said.digest), (done.generation, done.digest));

    let before = admin.get_device(A).await;
    let only = v1::SyncRequest { validate_only: true, ..sync(A, &["root", "dmz"]) };
    let said = device.sync(only).await.unwrap().into_inner();
    let only = v1::DeleteRequest { validate_only: true, ..delete_vdom(A, "sales") };
    let deletion = device.delete(only).await.unwrap().into_inner();
    assert_eq!(items(&deletion.vdoms), ["sales removed"]);
    let only = v1::DeleteRequest { validate_only: true, ..delete_whole(A) };
    let deletion = device.delete(only).await.unwrap().into_inner();
    assert_eq!((deletion.outcome(), items(&deletion.vdoms).len()), (Outcome::Removed, 2));
    let held = admin.get_device(A).await;
    assert_eq!((held.device.unwrap().generation, held.vdoms), (1, before.vdoms));
    assert_eq!(muster.database().audit().await.len(), 1);

    let done = device.sync(sync(A, &["root", "dmz"])).await.unwrap().into_inner();
    assert_eq!((said.outcome, items(&said.vdoms)), (done.outcome, items(&done.vdoms)));
    assert_eq!((said.status, said.generation, said.digest), (done.status, done.generation, done.digest));
}

#[tokio::test]
async fn a_list_without_root_keeps_root_and_says_so() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let first = device.sync(sync(A, &["sales"])).await.unwrap().into_inner();
    assert_eq!(items(&first.vdoms), ["sales created", "root created ROOT_VDOM_REQUIRED"]);
    for _ in 0..2 {
        let again = device.sync(sync(A, &["sales"])).await.unwrap().into_inner();
        assert_eq!(items(&again.vdoms), ["sales unchanged", "root refused ROOT_VDOM_REQUIRED"]);
    }
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["root", "sales"]);
}

#[tokio::test]
async fn root_cannot_be_deleted_while_its_device_is_there() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &[])).await.unwrap();
    let refusal = muster.refusal(device.delete(delete_vdom(A, "root")).await).await;
    assert_eq!(refusal.reason, Reason::RootVdomRequired);
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["root"]);
}

#[tokio::test]
async fn the_vdom_of_administrators_is_in_no_lists_power() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales", "#FOS_Administrator"])).await.unwrap();
    let answer = device.sync(sync(A, &["root"])).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root unchanged", "sales removed"]);
    assert_eq!(answer.digest, digest_of([""; 3], &["root"]));
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["#FOS_Administrator", "root"]);
    // It can be removed by name all the same.
    let answer = device.delete(delete_vdom(A, "#FOS_Administrator")).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["#FOS_Administrator removed"]);
}

#[tokio::test]
async fn deleting_a_vdom_is_idempotent_and_tells_what_never_was() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let refusal = muster.refusal(device.delete(delete_vdom(A, "sales")).await).await;
    assert_eq!(refusal.reason, Reason::DeviceUnknown);

    device.register(register(A, &["sales"])).await.unwrap();
    let first = device.delete(delete_vdom(A, "sales")).await.unwrap().into_inner();
    assert_eq!(items(&first.vdoms), ["sales removed"]);
    let second = device.delete(delete_vdom(A, "sales")).await.unwrap().into_inner();
    assert_eq!(
        (second.outcome(), items(&second.vdoms)),
        (Outcome::Unchanged, vec!["sales unchanged ALREADY_DELETED".to_owned()])
    );
    // VDOM names are case-sensitive.
    let refusal = muster.refusal(device.delete(delete_vdom(A, "Sales")).await).await;
    assert_eq!(refusal.reason, Reason::VdomUnknown);
}

#[tokio::test]
async fn a_deleted_device_returns_with_its_old_ids_when_it_reports() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.register(register(A, &["sales", "dmz"])).await.unwrap();
    let ids = async || {
        let device = admin.get_device(A).await.device.unwrap().id;
        let root = admin.get_auth_client("FG101FTK19002788-root").await.id;
        (device, root, admin.get_auth_client("FG101FTK19002788-sales").await.id)
    };
    let before = ids().await;
    let deletion = device.delete(delete_whole(A)).await.unwrap().into_inner();
    assert_eq!(deletion.outcome(), Outcome::Removed);
    assert_eq!(items(&deletion.vdoms), ["dmz removed", "root removed", "sales removed"]);
    let held = admin.get_device(A).await;
    assert_eq!((held.device.unwrap().state(), held.vdoms), (v1::LifecycleState::Deleted, vec![]));
    let again = device.delete(delete_whole(A)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.vdoms), (Outcome::Unchanged, vec![]));

    let back = device.sync(sync(A, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!(back.outcome(), Outcome::Restored);
    let expected = ["root restored RETURNED_AFTER_REMOVAL", "sales restored RETURNED_AFTER_REMOVAL"];
    assert_eq!(items(&back.vdoms), expected);
    assert_eq!(ids().await, before);
    assert_eq!(names(&admin.get_device(A).await.vdoms), ["root", "sales"]);
}

#[tokio::test]
async fn a_serial_number_in_lower_case_is_the_same_device() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(&A.to_ascii_lowercase(), &[])).await.unwrap();
    let again = device.register(register(A, &[])).await.unwrap().into_inner();
    assert_eq!(again.outcome(), Outcome::Unchanged);
    assert_eq!(muster.admin().get_device(&A.to_ascii_lowercase()).await.device.unwrap().serial_number, A);
}

#[tokio::test]
async fn what_is_beyond_500_vdoms_is_refused_alone() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let request = v1::RegisterRequest { vdoms: many_vdoms(500), ..register(A, &[]) };
    let answer = device.register(request).await.unwrap().into_inner();
    let found = items(&answer.vdoms);
    assert_eq!(found.len(), 501);
    assert!(found[..500].iter().all(|item| item.ends_with(" created")));
    assert_eq!(found[500], "v499 refused VDOM_LIMIT");
    // A sync makes room before it adds.
    let mut list = many_vdoms(499);
    list[0].name = "new".to_owned();
    list.extend(vdoms(&["root"]));
    let request = v1::SyncRequest { full_list: Some(v1::VdomList { vdoms: list }), ..sync(A, &[]) };
    let answer = device.sync(request).await.unwrap().into_inner();
    let changed: Vec<_> = items(&answer.vdoms).into_iter().filter(|item| !item.ends_with(" unchanged")).collect();
    assert_eq!(changed, ["new created", "v0 removed"]);
}

#[tokio::test]
async fn calls_at_the_same_time_never_make_two_of_one() {
    let muster = Muster::start().await;
    let relay = muster.relay("fmg-1", &[]);
    let mut calls = JoinSet::new();
    for number in 0..64 {
        let mut devices = relay.devices();
        // Eight devices, each registered eight times.
        calls.spawn(async move { devices.register(register(&fleet(number % 8), &["sales"])).await });
    }
    let mut created = 0;
    while let Some(answer) = calls.join_next().await {
        created += usize::from(answer.unwrap().unwrap().into_inner().outcome() == Outcome::Created);
    }
    assert_eq!(created, 8);
    let all = muster.admin().auth_clients().list_auth_clients(v1::ListAuthClientsRequest::default()).await;
    let all = all.unwrap().into_inner().auth_clients;
    let (ids, shown): (BTreeSet<_>, BTreeSet<_>) = all.iter().map(|client| (client.id, &client.display_name)).unzip();
    assert_eq!((all.len(), ids.len(), shown.len()), (16, 16, 16));
}
