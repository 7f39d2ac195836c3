//! What stands in the way of users: who may sync them, how many there may be, and what admins decided of them.

use std::time::Duration;

use muster_proto::v1::{self, AdminRole, DeleteMode, KeyState, LobbyState};
use muster_proto::{Reason, UserKind};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster, Refusal, UserStream};
use tonic::Response;
use tonic_types::StatusExt as _;

fn begin(vdom: &str) -> v1::SyncUsersBegin {
    v1::SyncUsersBegin { target: target(A, vdom), ..Default::default() }
}

fn users(names: &[&str]) -> Vec<v1::UserAttributes> {
    names.iter().map(|name| user(name)).collect()
}

/// Why a sync does not even begin.
async fn refused(muster: &Muster, caller: &Caller, begin: v1::SyncUsersBegin) -> Refusal {
    muster.refusal(UserStream::try_open(caller, begin).await.map(Response::new)).await
}

async fn set(muster: &Muster, settings: v1::Settings) {
    let request = v1::UpdateSettingsRequest { settings: Some(settings), ..Default::default() };
    muster.admin().settings().update_settings(request).await.unwrap();
}

async fn set_auto_create(muster: &Muster, on: bool) {
    set(muster, v1::Settings { auto_create_auth_clients: Some(on), ..Default::default() }).await;
}

async fn waiting(muster: &Muster) -> Vec<v1::LobbyEntry> {
    muster.admin().lobby().list_lobby(v1::ListLobbyRequest::default()).await.unwrap().into_inner().lobby
}

async fn listed(admin: &Caller) -> Vec<v1::User> {
    admin.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner().users
}

fn approve() -> v1::ApproveLobbyEntryRequest {
    v1::ApproveLobbyEntryRequest { name: format!("lobby/{A}"), ..Default::default() }
}

#[tokio::test]
async fn a_sync_of_a_device_that_nobody_knows_waits_in_the_lobby() {
    let muster = Muster::start().await;
    set_auto_create(&muster, false).await;
    let device = muster.device(A);
    let rehearsed = v1::SyncUsersBegin { validate_only: true, ..begin("sales") };
    assert_eq!(refused(&muster, &device, rehearsed).await.reason, Reason::PendingApproval);
    assert!(waiting(&muster).await.is_empty());
    assert_eq!(refused(&muster, &device, begin("sales")).await.reason, Reason::PendingApproval);
    let entries = waiting(&muster).await;
    assert_eq!((entries.len(), entries[0].name.as_str()), (1, "lobby/FG101FTK19002788"));
    assert_eq!((entries[0].state(), &entries[0].vdoms), (LobbyState::Waiting, &vec!["sales".to_owned()]));
    let audit = muster.database().audit().await;
    assert!(audit.iter().any(|row| row.method == "SyncUsers" && row.changes.contains("waiting")), "{audit:?}");
    muster.admin().lobby().approve_lobby_entry(approve()).await.unwrap();
    let synced = device.sync_users(begin("sales"), &users(&["alice"])).await.unwrap();
    assert_eq!(synced.outcomes, ["alice created"]);
}

#[tokio::test]
async fn a_sync_of_a_vdom_that_nobody_knows_waits_in_the_lobby() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.devices().register(register(A, &["dmz"])).await.unwrap();
    set_auto_create(&muster, false).await;
    assert_eq!(refused(&muster, &device, begin("sales")).await.reason, Reason::PendingApproval);
    let entries = waiting(&muster).await;
    assert_eq!((entries.len(), &entries[0].vdoms), (1, &vec!["sales".to_owned()]));
    // What is known goes on.
    for vdom in ["", "dmz"] {
        device.sync_users(begin(vdom), &users(&["alice"])).await.unwrap();
    }
    muster.admin().lobby().approve_lobby_entry(approve()).await.unwrap();
    device.sync_users(begin("sales"), &users(&["alice"])).await.unwrap();
}

#[tokio::test]
async fn a_second_box_syncs_no_users_and_a_banned_key_neither() {
    let muster = Muster::start().await;
    let (first, second) = (muster.device(A), muster.clone_of(A));
    first.sync_users(begin(""), &users(&["alice"])).await.unwrap();
    assert_eq!(refused(&muster, &second, begin("")).await.reason, Reason::CloneSuspected);
    // Not even what the register has of the users is said.
    let equal = v1::SyncUsersBegin { digest: digest_of_users(&["alice"]), ..begin("") };
    assert_eq!(refused(&muster, &second, equal).await.reason, Reason::CloneSuspected);
    first.sync_users(begin(""), &users(&["alice", "bob"])).await.unwrap();

    let name = format!("cloneCases/{A}");
    let mut admin = muster.admin().clones();
    let case = admin.get_clone_case(v1::GetCloneCaseRequest { name: name.clone() }).await.unwrap().into_inner();
    let keys = case.clone_case.unwrap().keys;
    let held = keys.iter().find(|key| key.state() == KeyState::Held).unwrap();
    let resolve = v1::ResolveCloneCaseRequest { name, accept_key: held.key.clone(), ..Default::default() };
    admin.resolve_clone_case(resolve).await.unwrap();
    assert_eq!(refused(&muster, &first, begin("")).await.reason, Reason::KeyBanned);
    second.sync_users(begin(""), &users(&["carol"])).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_banned_while_the_list_is_on_its_way_does_nothing() {
    let muster = Muster::start().await;
    let (first, second) = (muster.device(A), muster.clone_of(A));
    let stream = {
        first.devices().register(register(A, &[])).await.unwrap();
        let stream = UserStream::open(&first, begin("")).await;
        refused(&muster, &second, begin("dmz")).await;
        stream
    };
    let name = format!("cloneCases/{A}");
    let mut admin = muster.admin().clones();
    let case = admin.get_clone_case(v1::GetCloneCaseRequest { name: name.clone() }).await.unwrap().into_inner();
    let held = case.clone_case.unwrap().keys.into_iter().find(|key| key.state() == KeyState::Held).unwrap();
    admin
        .resolve_clone_case(v1::ResolveCloneCaseRequest { name, accept_key: held.key, ..Default::default() })
        .await
        .unwrap();
    stream.list(&users(&["alice"])).await;
    let refusal = muster.refusal(stream.end().await.map(Response::new)).await;
    assert_eq!(refusal.reason, Reason::KeyBanned);
    assert!(listed(&muster.admin()).await.is_empty());
}

#[tokio::test]
async fn a_device_that_was_banned_syncs_no_users() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.sync_users(begin(""), &users(&["alice"])).await.unwrap();
    let ban = v1::DeleteDeviceRequest { mode: DeleteMode::Ban.into(), why: "sold".to_owned(), ..delete_device(A) };
    muster.admin().device_admin().delete_device(ban).await.unwrap();
    for caller in [muster.device(A), muster.relay("fmg-1", &[])] {
        let refusal = refused(&muster, &caller, begin("")).await;
        assert_eq!(refusal.reason, Reason::DeviceBanned);
    }
}

#[tokio::test]
async fn a_full_quota_refuses_by_name_and_the_rest_of_the_sync_is_done() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.sync_users(begin(""), &users(&["alice", "bob"])).await.unwrap();
    set(&muster, v1::Settings { user_quota: Some(3), ..Default::default() }).await;
    let mut list = users(&["alice", "carol", "dave", "erin"]);
    list[0].email = "alice@example.org".to_owned();
    let synced = device.sync_users(begin(""), &list).await.unwrap();
    let expected =
        ["alice updated", "bob removed", "carol created", "dave created", "erin refused USER_QUOTA_EXCEEDED"];
    assert_eq!(synced.outcomes, expected);
    assert_eq!(synced.counts(), [2, 1, 1, 0, 1, 0, 0, 0]);
    assert_eq!(synced.details["erin"], "the register may have 3 users and has 3");

    let status = device.devices().add_user(add_user(A, "", "erin")).await.unwrap_err();
    assert_eq!(Refusal::read(&status).reason, Reason::UserQuotaExceeded);
    let details = status.get_error_details();
    let violation = &details.quota_failure().unwrap().violations[0];
    assert_eq!((violation.subject.as_str(), violation.description.as_str()), ("settings", "limit 3, used 3"));
    // Whoever is there already needs no room on another auth client of the realm.
    let elsewhere = device.sync_users(begin("dmz"), &users(&["alice", "erin"])).await.unwrap();
    assert_eq!(elsewhere.outcomes, ["alice created", "erin refused USER_QUOTA_EXCEEDED"]);

    let own = v1::Realm { user_quota: Some(2), ..Default::default() };
    let own = v1::UpdateRealmRequest { name: "realms/default".to_owned(), realm: Some(own), ..Default::default() };
    muster.admin().realms().update_realm(own).await.unwrap();
    let synced = device.sync_users(begin("sales"), &users(&["frank"])).await.unwrap();
    assert_eq!(synced.outcomes, ["frank refused REALM_QUOTA_EXCEEDED"]);
}

#[tokio::test]
async fn without_folding_each_spelling_is_a_person_of_its_own() {
    let muster = Muster::start().await;
    set(&muster, v1::Settings { fold_usernames: Some(false), ..Default::default() }).await;
    let device = muster.device(A);
    let synced = device.sync_users(begin(""), &users(&["Alice", "alice"])).await.unwrap();
    assert_eq!((synced.outcomes.join(", ").as_str(), synced.summary.users), ("Alice created, alice created", 2));
    let synced = device.sync_users(begin(""), &users(&["alice"])).await.unwrap();
    assert_eq!(synced.outcomes, ["Alice removed"]);
    let answer = device.devices().add_user(add_user(A, "", "ALICE")).await.unwrap().into_inner();
    assert_eq!((user_item(answer.user.as_ref().unwrap()).as_str(), answer.users), ("ALICE created", 2));
}

#[tokio::test]
async fn in_multi_realm_mode_the_default_realm_takes_no_list() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.devices().register(register(A, &[])).await.unwrap();
    set(&muster, v1::Settings { multi_realm_mode: Some(true), ..Default::default() }).await;
    // It is said before the list is sent.
    assert_eq!(refused(&muster, &device, begin("")).await.reason, Reason::RealmRequired);
    // A new one has a realm of its own.
    let synced = device.sync_users(begin("sales"), &users(&["alice"])).await.unwrap();
    assert_eq!(synced.outcomes, ["alice created"]);
    assert_eq!(listed(&muster.admin()).await[0].realm, "FG101FTK19002788-sales");
}

#[tokio::test]
async fn a_user_that_an_admin_disabled_stays_so_whatever_its_device_says() {
    let muster = Muster::start().await;
    let (device, admin) = (muster.device(A), muster.admin());
    device.sync_users(begin(""), &users(&["alice", "bob"])).await.unwrap();
    let alice = listed(&admin).await.into_iter().find(|user| user.username == "alice").unwrap().name;
    admin.users().disable_user(v1::DisableUserRequest { name: alice, ..Default::default() }).await.unwrap();
    let disabled = async || listed(&admin).await.into_iter().find(|user| user.username == "alice").unwrap().disabled;
    let mut list = users(&["alice", "bob"]);
    list[0].email = "alice@example.org".to_owned();
    assert_eq!(device.sync_users(begin(""), &list).await.unwrap().outcomes, ["alice updated"]);
    assert!(disabled().await);
    // Nor does it help to go and come back.
    device.sync_users(begin(""), &list[1..]).await.unwrap();
    device.sync_users(begin(""), &list).await.unwrap();
    assert!(disabled().await);
}

#[tokio::test]
async fn who_may_only_read_sees_masked_contacts_and_may_not_look_for_them() {
    let muster = Muster::start().await;
    let mut list = users(&["alice"]);
    list[0].mobile_number = "+14080123456".to_owned();
    muster.device(A).sync_users(begin(""), &list).await.unwrap();
    let reader = muster.admin_as("auditor", AdminRole::Global, &[], true).await;
    let name = listed(&reader).await[0].name.clone();
    let shown = reader.users().get_user(v1::GetUserRequest { name }).await.unwrap().into_inner();
    let reference = &shown.references[0];
    assert_eq!((reference.email.as_str(), reference.mobile_number.as_str()), ("a***@example.com", "+14***56"));
    let by_email = v1::ListUsersRequest { filter: r#"email = "alice@example.com""#.to_owned(), ..Default::default() };
    let refusal = muster.refusal(reader.users().list_users(by_email.clone()).await).await;
    assert_eq!(refusal.reason, Reason::RoleNotAllowed);
    assert_eq!(muster.admin().users().list_users(by_email).await.unwrap().into_inner().total_size, 1);
}

#[tokio::test]
async fn a_deadline_leaves_nothing_or_everything() {
    let muster = Muster::start().await;
    let (device, admin) = (muster.device(A), muster.admin());
    device.devices().register(register(A, &[])).await.unwrap();
    let list: Vec<_> = (0..10_000).map(|number| user(&format!("user{number}"))).collect();
    let mut deadline = Duration::from_millis(10);
    let mut refused = 0;
    loop {
        let synced = match UserStream::try_open_until(&device, begin(""), Some(deadline)).await {
            Ok(stream) => stream.try_whole(&list).await,
            Err(status) => Err(status),
        };
        let users = admin.get_auth_client("FG101FTK19002788-root").await.users;
        assert!(users == 0 || users == 10_000, "{users} users after {deadline:?}");
        if let Ok(synced) = synced {
            assert_eq!((synced.summary.users, users), (10_000, 10_000));
            break;
        }
        refused += 1;
        deadline = deadline * 3 / 2;
    }
    assert!(refused > 0);
}

fn digest_of_users(names: &[&str]) -> Vec<u8> {
    let mut all = vec![0; 32];
    for user in users(names) {
        let one = muster_proto::user::digest(&user.username, &user.email, "", UserKind::Local, true);
        all.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
    }
    all
}
