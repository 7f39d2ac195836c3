//! Deleting: evict, ban and retire; what happens on re-contact; undeleting; purging.

use muster_proto::Reason;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{self, ClosingReason, DeleteMode, LifecycleState, Outcome, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{Muster, Refusal, eventually, within};

fn delete_as(mode: DeleteMode, why: &str) -> v1::DeleteDeviceRequest {
    v1::DeleteDeviceRequest { mode: mode.into(), why: why.to_owned(), ..delete_device(A) }
}

fn undelete() -> v1::UndeleteDeviceRequest {
    v1::UndeleteDeviceRequest { name: format!("devices/{A}"), ..Default::default() }
}

fn undelete_client(name: &str) -> v1::UndeleteAuthClientRequest {
    v1::UndeleteAuthClientRequest { name: format!("authClients/{A}-{name}"), ..Default::default() }
}

fn purge() -> v1::PurgeDeviceRequest {
    v1::PurgeDeviceRequest { name: format!("devices/{A}"), ..Default::default() }
}

fn follow() -> StreamDebugLogsRequest {
    StreamDebugLogsRequest { follow: true, ..Default::default() }
}

async fn registered() -> Muster {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &["sales", "dmz"])).await.unwrap();
    muster
}

async fn deleted(muster: &Muster, mode: DeleteMode) {
    let request = delete_as(mode, "sold to ACME");
    assert_eq!(
        muster.admin().device_admin().delete_device(request).await.unwrap().into_inner().outcome(),
        Outcome::Removed
    );
}

#[tokio::test]
async fn a_tombstone_says_who_when_and_why() {
    let muster = registered().await;
    deleted(&muster, DeleteMode::Retire).await;
    let device = muster.admin().get_device(A).await.device.unwrap();
    let tombstone = device.tombstone.unwrap();
    assert_eq!((tombstone.mode(), tombstone.deleted_by.as_str()), (DeleteMode::Retire, "admin:first"));
    assert_eq!((tombstone.why.as_str(), tombstone.delete_time), ("sold to ACME", device.delete_time));
    assert!(tombstone.delete_time.is_some());
    let client = muster.admin().get_auth_client("FG101FTK19002788-sales").await;
    assert_eq!(client.tombstone.unwrap().mode(), DeleteMode::Evict);
    let audit = muster.database().audit().await;
    assert!(audit[1].changes.contains(r#"{"field":"mode","before":"","after":"retire"}"#), "{}", audit[1].changes);
    assert!(audit[1].changes.contains(r#"{"field":"why","before":"","after":"sold to ACME"}"#));
}

#[tokio::test]
async fn every_attempt_of_a_banned_device_is_refused_counted_and_in_the_feed() {
    let muster = registered().await;
    deleted(&muster, DeleteMode::Ban).await;
    let mut device = muster.device(A).devices();
    for refusal in [
        muster.refusal(device.register(register(A, &[])).await).await,
        muster.refusal(device.sync(sync(A, &["root"])).await).await,
        muster.refusal(device.delete(delete_whole(A)).await).await,
        muster.refusal(muster.relay("fmg-1", &[]).devices().sync(sync(A, &["root"])).await).await,
        muster.refusal(muster.device(A).debug_logs().stream_debug_logs(follow()).await).await,
    ] {
        assert_eq!(refusal.reason, Reason::DeviceBanned);
        assert!(refusal.message.contains("sold to ACME"), "{}", refusal.message);
    }
    // What is only tried out is no attempt.
    let only = v1::SyncRequest { validate_only: true, ..sync(A, &["root"]) };
    assert_eq!(muster.refusal(device.sync(only).await).await.reason, Reason::DeviceBanned);
    let shown = async || {
        let request = v1::ListDevicesRequest { show_deleted: true, ..Default::default() };
        let page = muster.admin().device_admin().list_devices(request).await.unwrap().into_inner();
        Some(page.devices[0].clone()).filter(|device| device.recontact_attempts > 4)
    };
    let device = eventually(shown).await;
    assert_eq!((device.recontact_attempts, device.state()), (5, LifecycleState::Deleted));
    assert!(device.last_recontact_time.unwrap().seconds >= device.delete_time.unwrap().seconds);
    // Others are served as before.
    muster.device(B).devices().register(register(B, &[])).await.unwrap();
}

#[tokio::test]
async fn a_ban_ends_the_open_streams_of_the_device_at_once_and_no_others() {
    let muster = registered().await;
    let (mut own, mut other) = (muster.device(A).watch(follow()).await, muster.device(B).watch(follow()).await);
    deleted(&muster, DeleteMode::Ban).await;
    let (kinds, end) = own.rest().await;
    let Some(Kind::Closing(closing)) = kinds.last() else { panic!("{kinds:?}") };
    assert_eq!(closing.reason(), ClosingReason::AuthorisationEnded);
    assert_eq!(Refusal::read(&end.unwrap_err()).reason, Reason::DeviceBanned);
    muster.device(B).devices().register(register(B, &[])).await.unwrap();
    other.event(|event| event.terminal && event.serial_number == B).await;

    // Not after a restart either, until the ban is lifted.
    let muster = muster.restart().await;
    let refusal = muster.refusal(muster.device(A).debug_logs().stream_debug_logs(follow()).await).await;
    assert_eq!(refusal.reason, Reason::DeviceBanned);
    muster.admin().device_admin().undelete_device(undelete()).await.unwrap();
    muster.device(A).watch(follow()).await;
}

#[tokio::test]
async fn an_evicted_device_keeps_its_streams_and_may_return() {
    let muster = registered().await;
    let mut own = muster.device(A).watch(follow()).await;
    deleted(&muster, DeleteMode::Evict).await;
    let back = muster.device(A).devices().sync(sync(A, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!(back.outcome(), Outcome::Restored);
    own.event(|event| event.terminal && event.step == "Sync").await;
    let device = muster.admin().get_device(A).await.device.unwrap();
    assert_eq!((device.state(), device.tombstone, device.recontact_attempts), (LifecycleState::Active, None, 0));
}

#[tokio::test]
async fn a_retired_device_waits_until_it_is_undeleted() {
    let muster = registered().await;
    deleted(&muster, DeleteMode::Retire).await;
    let mut device = muster.device(A).devices();
    let refusal = muster.refusal(device.sync(sync(A, &["root"])).await).await;
    assert_eq!(refusal.reason, Reason::DeviceRetired);
    let mut admin = muster.admin().device_admin();
    let only = v1::UndeleteDeviceRequest { validate_only: true, ..undelete() };
    let said = admin.undelete_device(only).await.unwrap().into_inner();
    assert_eq!(items(&said.vdoms), ["dmz restored", "root restored", "sales restored"]);
    assert_eq!(muster.admin().get_device(A).await.device.unwrap().state(), LifecycleState::Deleted);
    let planned = v1::UndeleteDeviceRequest { plan_id: said.plan_id.clone(), ..undelete() };
    let done = admin.undelete_device(planned.clone()).await.unwrap().into_inner();
    assert_eq!((done.outcome(), items(&done.vdoms)), (Outcome::Restored, items(&said.vdoms)));
    assert_eq!(muster.refusal(admin.undelete_device(planned).await).await.reason, Reason::PlanStale);
    let again = admin.undelete_device(undelete()).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_ACTIVE"));
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["dmz", "root", "sales"]);
    let settled = device.sync(sync(A, &["root", "sales", "dmz"])).await.unwrap().into_inner();
    assert_eq!(settled.outcome(), Outcome::Unchanged);
}

#[tokio::test]
async fn a_vdom_is_banned_and_brought_back_by_itself() {
    let muster = registered().await;
    let mut admin = muster.admin().auth_clients();
    let id = muster.admin().get_auth_client("FG101FTK19002788-sales").await.id;
    let ban = v1::DeleteAuthClientRequest {
        mode: DeleteMode::Ban.into(),
        why: "not ours".to_owned(),
        ..delete_auth_client("FG101FTK19002788-sales")
    };
    let gone = admin.delete_auth_client(ban).await.unwrap().into_inner().auth_client.unwrap();
    assert_eq!(gone.tombstone.unwrap().why, "not ours");
    let mut device = muster.device(A).devices();
    let answer = device.sync(sync(A, &["root", "sales", "dmz"])).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root unchanged", "sales refused AUTH_CLIENT_BANNED", "dmz unchanged"]);
    let stale = v1::UndeleteAuthClientRequest { etag: "0".to_owned(), ..undelete_client("sales") };
    assert_eq!(muster.refusal(admin.undelete_auth_client(stale).await).await.reason, Reason::EtagMismatch);
    let back = admin.undelete_auth_client(undelete_client("sales")).await.unwrap().into_inner();
    let client = back.auth_client.clone().unwrap();
    assert_eq!((back.outcome(), client.id, client.state()), (Outcome::Restored, id, LifecycleState::Active));
    let again = admin.undelete_auth_client(undelete_client("sales")).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_ACTIVE"));
    let refusal = muster.refusal(admin.undelete_auth_client(undelete_client("none")).await).await;
    assert_eq!(refusal.reason, Reason::AuthClientUnknown);
    deleted(&muster, DeleteMode::Evict).await;
    let refusal = muster.refusal(admin.undelete_auth_client(undelete_client("sales")).await).await;
    assert_eq!(refusal.reason, Reason::DeviceDeleted);
}

#[tokio::test]
async fn deleting_again_with_another_mode_changes_the_mode() {
    let muster = registered().await;
    deleted(&muster, DeleteMode::Evict).await;
    let mut admin = muster.admin().device_admin();
    let again = admin.delete_device(delete_as(DeleteMode::Ban, "stolen")).await.unwrap().into_inner();
    assert_eq!(again.outcome(), Outcome::Updated);
    let refusal = muster.refusal(muster.device(A).devices().register(register(A, &[])).await).await;
    assert!(refusal.message.contains("stolen"), "{}", refusal.message);
    let again = admin.delete_device(delete_device(A)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DELETED"));
    for (request, fields) in [
        (v1::DeleteDeviceRequest { mode: 9, ..delete_device(A) }, ["mode"]),
        (v1::DeleteDeviceRequest { why: "x".repeat(65), ..delete_device(A) }, ["why"]),
        (v1::DeleteDeviceRequest { why: "\u{1b}[2J".to_owned(), ..delete_device(A) }, ["why"]),
    ] {
        assert_eq!(muster.refusal(admin.delete_device(request).await).await.fields, fields);
    }
}

#[tokio::test]
async fn a_purged_device_returns_as_a_new_one() {
    let muster = registered().await;
    let before = muster.admin().get_device(A).await.device.unwrap().id;
    let mut admin = muster.admin().device_admin();
    assert_eq!(muster.refusal(admin.purge_device(purge()).await).await.reason, Reason::DeviceActive);
    deleted(&muster, DeleteMode::Evict).await;
    let only = v1::PurgeDeviceRequest { validate_only: true, ..purge() };
    let said = admin.purge_device(only).await.unwrap().into_inner();
    let done =
        admin.purge_device(v1::PurgeDeviceRequest { plan_id: said.plan_id, ..purge() }).await.unwrap().into_inner();
    assert_eq!((done.outcome(), items(&done.vdoms)), (Outcome::Removed, items(&said.vdoms)));
    let request = v1::GetDeviceRequest { name: format!("devices/{A}") };
    assert_eq!(muster.refusal(admin.get_device(request).await).await.reason, Reason::DeviceUnknown);
    assert_eq!(muster.refusal(admin.undelete_device(undelete()).await).await.reason, Reason::DeviceUnknown);
    let back = muster.device(A).devices().register(register(A, &["sales"])).await.unwrap().into_inner();
    assert_eq!(back.outcome(), Outcome::Created);
    assert!(muster.admin().get_device(A).await.device.unwrap().id > before);
}

#[tokio::test]
async fn what_is_past_the_retention_time_is_purged_by_itself_and_a_ban_is_not() {
    let muster = registered().await;
    let mut other = muster.device(B).devices();
    other.register(register(B, &["sales"])).await.unwrap();
    deleted(&muster, DeleteMode::Evict).await;
    let ban = v1::DeleteDeviceRequest { mode: DeleteMode::Ban.into(), ..delete_device(B) };
    muster.admin().device_admin().delete_device(ban).await.unwrap();
    let month_ago = "UPDATE device SET deleted_at = deleted_at - 31 * 86400000000";
    let stopped = muster.stop().await;
    stopped.database().execute(month_ago).await;
    stopped.database().execute("UPDATE auth_client SET deleted_at = deleted_at - 31 * 86400000000").await;
    stopped.database().execute("UPDATE auth_client SET removed_at = deleted_at").await;
    let muster = stopped.start().await;
    let left = eventually(async || {
        let request = v1::ListDevicesRequest { show_deleted: true, ..Default::default() };
        let page = muster.admin().device_admin().list_devices(request).await.unwrap().into_inner();
        let request = v1::ListAuthClientsRequest { show_deleted: true, ..Default::default() };
        let clients = muster.admin().auth_clients().list_auth_clients(request).await.unwrap().into_inner();
        (page.devices.len() == 1 && clients.total_size == 0).then(|| page.devices[0].clone())
    })
    .await;
    assert_eq!((left.serial_number.as_str(), left.tombstone.unwrap().mode()), (B, DeleteMode::Ban));
    let audit = muster.database().audit().await;
    let purged: Vec<_> = audit.iter().filter(|row| row.method == "Purge" && row.caller == "server:sweep").collect();
    assert_eq!(purged.len(), 2, "{purged:?}");
    let refusal = muster.refusal(muster.device(B).devices().sync(sync(B, &["root"])).await).await;
    assert_eq!(refusal.reason, Reason::DeviceBanned);
    // Too late to restore anything; the ban can be lifted all the same.
    let request = v1::UndeleteDeviceRequest { name: format!("devices/{B}"), ..Default::default() };
    let lifted = muster.admin().device_admin().undelete_device(request).await.unwrap().into_inner();
    assert_eq!((lifted.outcome(), lifted.reason.as_str()), (Outcome::Updated, "RETENTION_ENDED"));
    within(muster.device(B).devices().sync(sync(B, &["root"]))).await.unwrap();
}

/// Everybody, with the auth clients that each is on; without the times, where it shows that they went and came back.
async fn everybody(muster: &Muster) -> Vec<(v1::User, Vec<v1::UserReference>)> {
    let mut users = muster.admin().users();
    let request = v1::ListUsersRequest { page_size: 100, ..Default::default() };
    let mut all = Vec::new();
    for user in users.list_users(request).await.unwrap().into_inner().users {
        let request = v1::GetUserRequest { name: user.name };
        let mut found = users.get_user(request).await.unwrap().into_inner();
        found.references.iter_mut().for_each(|reference| reference.update_time = None);
        let user = v1::User { update_time: None, etag: String::new(), ..found.user.unwrap() };
        all.push((user, found.references));
    }
    all
}

#[tokio::test]
async fn users_go_with_their_device_and_come_back_with_it_exactly_as_they_were() {
    let muster = registered().await;
    for (vdom, name) in [("sales", "alice"), ("sales", "bob"), ("dmz", "alice"), ("dmz", "carol")] {
        muster.device(A).devices().add_user(add_user(A, vdom, name)).await.unwrap();
    }
    let before = everybody(&muster).await;
    assert_eq!(before.len(), 3);
    for mode in [DeleteMode::Evict, DeleteMode::Ban, DeleteMode::Retire] {
        deleted(&muster, mode).await;
        assert_eq!(everybody(&muster).await, [], "{mode:?}");
        let back = muster.admin().device_admin().undelete_device(undelete()).await.unwrap().into_inner();
        assert_eq!(back.outcome(), Outcome::Restored);
        assert_eq!(everybody(&muster).await, before, "{mode:?}");
    }
    // What is purged has no way back, and its ids go to nobody.
    deleted(&muster, DeleteMode::Evict).await;
    muster.admin().device_admin().purge_device(purge()).await.unwrap();
    muster.device(A).devices().register(register(A, &["sales", "dmz"])).await.unwrap();
    assert_eq!(everybody(&muster).await, []);
    muster.device(A).devices().add_user(add_user(A, "sales", "alice")).await.unwrap();
    let after = everybody(&muster).await;
    assert!(before.iter().all(|(user, _)| user.name != after[0].0.name), "{after:?}");
}

#[tokio::test]
async fn a_user_whose_name_is_another_key_by_now_does_not_return_as_a_second_person() {
    let muster = registered().await;
    for name in ["Alice", "bob"] {
        muster.device(A).devices().add_user(add_user(A, "sales", name)).await.unwrap();
    }
    deleted(&muster, DeleteMode::Evict).await;
    let settings = v1::Settings { fold_usernames: Some(false), ..Default::default() };
    let change = v1::UpdateSettingsRequest { settings: Some(settings), ..Default::default() };
    muster.admin().settings().update_settings(change).await.unwrap();
    let back = muster.admin().device_admin().undelete_device(undelete()).await.unwrap().into_inner();
    let users: Vec<_> =
        back.users.iter().map(|user| (user.username.as_str(), user.outcome(), user.reason.as_str())).collect();
    assert_eq!(users, [("Alice", Outcome::Refused, "SETTING_LOCKED"), ("bob", Outcome::Restored, "")]);
    let present = everybody(&muster).await;
    assert_eq!(present.iter().map(|(user, _)| user.username.as_str()).collect::<Vec<_>>(), ["bob"]);
}
