//! Web apps sync their own users, by the rules that hold for devices.

use muster_proto::v1::{self, HeldRemovalState, Outcome, StreamDebugLogsRequest, SyncUsersDemand};
use muster_proto::{Reason, UserKind};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster, Refusal, UserStream};

use crate::web_apps::{calls, create, delete, of, service};

pub(crate) fn begin(web_app: &str) -> v1::SyncUsersBegin {
    v1::SyncUsersBegin { target: of(web_app), ..Default::default() }
}

pub(crate) fn users(names: &[&str]) -> Vec<v1::UserAttributes> {
    names.iter().map(|name| user(name)).collect()
}

/// A Web app, and its caller.
async fn shop(muster: &Muster) -> (v1::WebApp, Caller) {
    let (app, secret) = create(&muster.admin(), "shop").await;
    let caller = calls(muster, &app, &secret);
    (app, caller)
}

/// More users than the guard lets go at once.
fn crowd() -> Vec<v1::UserAttributes> {
    (0..25).map(|number| user(&format!("user{number:02}"))).collect()
}

/// What a list of nobody gets while the guard holds all users of the Web app.
async fn held(shop: &Caller) -> v1::HeldNotice {
    shop.sync_users(begin(""), &crowd()).await.unwrap();
    let synced = shop.sync_users(begin(""), &[]).await.unwrap();
    assert_eq!(synced.counts()[6..], [25, 0]);
    assert!(synced.outcomes.iter().all(|item| item.ends_with("held REMOVAL_HELD")), "{:?}", synced.outcomes);
    synced.summary.held_removal.unwrap()
}

async fn how_many(muster: &Muster, app: &v1::WebApp) -> i64 {
    let get = v1::GetWebAppRequest { name: app.name.clone() };
    service(&muster.admin()).get_web_app(get).await.unwrap().into_inner().web_app.unwrap().users
}

#[tokio::test]
async fn a_web_app_syncs_its_list_and_the_log_and_the_feed_name_it() {
    let muster = Muster::start().await;
    let (app, shop) = shop(&muster).await;
    shop.sync_users(begin(""), &users(&["alice", "bob", "carol"])).await.unwrap();
    let nameless = v1::UserAttributes { email: String::new(), ..user("dave") };
    let remote = v1::UserAttributes { kind: v1::UserKind::Remote.into(), ..user("erin") };
    let moved = v1::UserAttributes { email: "b@example.com".to_owned(), ..user("bob") };
    let synced = shop.sync_users(begin(&app.name), &[user("alice"), moved, nameless, remote]).await.unwrap();
    let expected = ["bob updated", "carol removed", "dave refused USER_EMAIL_MISSING", "erin refused FIELD_INVALID"];
    assert_eq!(synced.outcomes, expected);
    assert_eq!((synced.summary.users, synced.summary.vdoms.len(), how_many(&muster, &app).await), (2, 0, 2));

    let request = v1::ListAuditEntriesRequest { filter: "method = \"SyncUsers\"".to_owned(), ..Default::default() };
    let audited = muster.admin().audit().list_audit_entries(request).await.unwrap().into_inner().audit_entries;
    let caller = format!("webapp:{}", app.client_id);
    // What came at first; then what went, and what changed.
    assert_eq!(audited.len(), 3);
    assert!(audited.iter().all(|row| row.name == app.name && row.caller == caller), "{audited:?}");
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = muster.admin().watch(everything).await.events().await;
    let of_sync: Vec<_> = events.iter().filter(|event| event.operation_id == synced.summary.operation_id).collect();
    assert_eq!(of_sync.len(), 5);
    assert!(of_sync.iter().all(|event| event.caller == caller && event.realm == "default"), "{of_sync:?}");
    assert!(of_sync.last().unwrap().terminal);
}

#[tokio::test]
async fn a_web_app_with_an_equal_digest_sends_no_list_and_can_rehearse_what_it_sends() {
    let muster = Muster::start().await;
    let (app, shop) = shop(&muster).await;
    let rehearsed = v1::SyncUsersBegin { validate_only: true, ..begin("") };
    let rehearsed = shop.sync_users(rehearsed, &users(&["alice"])).await.unwrap();
    assert_eq!((rehearsed.outcomes, how_many(&muster, &app).await), (vec!["alice created".to_owned()], 0));
    let planned = v1::SyncUsersBegin { plan_id: rehearsed.summary.plan_id, ..begin("") };
    let other = shop.sync_users(planned.clone(), &users(&["bob"])).await.unwrap_err();
    assert_eq!(Refusal::read(&other).reason, Reason::PlanStale);
    shop.sync_users(planned, &users(&["alice"])).await.unwrap();

    let digest = muster_proto::user::digest("alice", "alice@example.com", "", UserKind::Local, true).to_vec();
    let equal = UserStream::open(&shop, v1::SyncUsersBegin { digest: digest.clone(), ..begin("") }).await;
    assert_eq!(equal.demand(), SyncUsersDemand::InSync);
    let summary = equal.finish().await.unwrap().summary;
    assert_eq!((summary.unchanged, summary.users, &summary.users_digest), (1, 1, &digest));
    let other = v1::SyncUsersBegin { digest: vec![1; 32], bucket_digests: [[0; 32], [1; 32]].concat(), ..begin("") };
    assert_eq!(UserStream::open(&shop, other).await.demand(), SyncUsersDemand::SendBuckets);
}

#[tokio::test]
async fn a_web_app_syncs_nobody_elses_users_and_nobody_else_syncs_its_own() {
    let muster = Muster::start().await;
    let (app, shop) = shop(&muster).await;
    let (other, secret) = create(&muster.admin(), "other").await;
    muster.device(A).devices().add_user(add_user(A, "", "alice")).await.unwrap();
    shop.sync_users(begin(""), &users(&["bob"])).await.unwrap();
    for target in [of(&other.name), target(A, "")] {
        let begin = v1::SyncUsersBegin { target, ..Default::default() };
        let status = UserStream::try_open(&shop, begin).await.unwrap_err();
        assert_eq!(Refusal::read(&status).reason, Reason::IdentityMismatch);
    }
    for caller in [muster.device(A), muster.relay("fmg-1", &[]), calls(&muster, &other, &secret)] {
        let status = UserStream::try_open(&caller, begin(&app.name)).await.unwrap_err();
        assert_eq!(Refusal::read(&status).reason, Reason::IdentityMismatch);
    }
    let remote = v1::SyncUsersBegin { kinds: vec![v1::UserKind::Remote.into()], ..begin("") };
    let status = UserStream::try_open(&shop, remote).await.unwrap_err();
    assert_eq!(Refusal::read(&status).fields, ["kinds[0]"]);
    // Its list names neither the user of the device nor that of the other Web app.
    calls(&muster, &other, &secret).sync_users(begin(""), &users(&["carol"])).await.unwrap();
    let synced = shop.sync_users(begin(""), &users(&["dave"])).await.unwrap();
    assert_eq!(synced.outcomes, ["bob removed", "dave created"]);
    let everybody = muster.admin().users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner();
    let mut names: Vec<_> = everybody.users.iter().map(|user| user.username.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["alice", "carol", "dave"]);
}

#[tokio::test]
async fn a_second_sync_of_the_same_web_app_waits_and_that_of_another_does_not() {
    let muster = Muster::start().await;
    let (app, shop) = shop(&muster).await;
    let (other, secret) = create(&muster.admin(), "other").await;
    let running = UserStream::open(&shop, begin("")).await;
    let refusal = Refusal::read(&UserStream::try_open(&shop, begin(&app.name)).await.unwrap_err());
    assert_eq!((refusal.reason, refusal.retry_after.is_some()), (Reason::SyncInProgress, true));
    assert_eq!(refusal.details["running_operation_id"], running.opened.operation_id);
    calls(&muster, &other, &secret).sync_users(begin(""), &users(&["bob"])).await.unwrap();
    running.list(&users(&["alice"])).await;
    running.end().await.unwrap();
    shop.sync_users(begin(""), &users(&["alice"])).await.unwrap();
}

#[tokio::test]
async fn the_removals_of_a_web_app_are_held_until_it_confirms_exactly_those() {
    let muster = Muster::start().await;
    let (app, shop) = shop(&muster).await;
    let notice = held(&shop).await;
    let confirming = v1::SyncUsersBegin { confirm_token: notice.confirm_token, ..begin("") };
    let fewer = shop.sync_users(confirming.clone(), &users(&["user00"])).await.unwrap();
    assert!(fewer.outcomes.iter().all(|item| item.ends_with("held CONFIRM_TOKEN_MISMATCH")), "{:?}", fewer.outcomes);
    assert_eq!(how_many(&muster, &app).await, 25);
    let refusal = shop.sync_users(confirming, &[]).await.unwrap();
    assert_eq!(refusal.counts()[6..], [25, 0], "the list between has withdrawn what the token was of");
    let confirming =
        v1::SyncUsersBegin { confirm_token: refusal.summary.held_removal.unwrap().confirm_token, ..begin("") };
    let done = shop.sync_users(confirming, &[]).await.unwrap();
    assert_eq!((done.counts()[4], how_many(&muster, &app).await), (25, 0));
}

#[tokio::test]
async fn an_admin_decides_on_what_a_web_app_would_remove_and_its_deletion_withdraws_it() {
    let muster = Muster::start().await;
    let (app, shop) = shop(&muster).await;
    let notice = held(&shop).await;
    let mut sets = muster.admin().held_removals();
    let get = |name: &str| v1::GetHeldRemovalRequest { name: name.to_owned() };
    let set = sets.get_held_removal(get(&notice.name)).await.unwrap().into_inner().held_removal.unwrap();
    assert_eq!((&set.web_app, set.serial_number.as_str(), set.vdom.as_str()), (&app.name, "", ""));
    assert_eq!(set.requested_by, format!("webapp:{}", app.client_id));
    let approve = v1::ApproveHeldRemovalRequest { name: notice.name, ..Default::default() };
    let done = sets.approve_held_removal(approve).await.unwrap().into_inner();
    assert_eq!((done.outcome(), how_many(&muster, &app).await), (Outcome::Updated, 0));
    let rows = muster.database().audit().await;
    assert!(rows.iter().any(|row| row.method == "ApproveHeldRemoval" && row.changes.contains("user00")), "{rows:?}");

    let notice = held(&shop).await;
    service(&muster.admin()).delete_web_app(delete(&app)).await.unwrap();
    let set = sets.get_held_removal(get(&notice.name)).await.unwrap().into_inner().held_removal.unwrap();
    assert_eq!(set.state(), HeldRemovalState::Withdrawn);
}
