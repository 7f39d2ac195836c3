//! What devices say of their users: one by one, and in syncs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use muster_proto::user_sync::bucket_of;
use muster_proto::v1::sync_users_request::Kind as Up;
use muster_proto::v1::{self, DebugFilter, Outcome, StreamDebugLogsRequest, SyncUsersDemand};
use muster_proto::{Reason, UserKind};
use muster_tests::requests::*;
use muster_tests::{Muster, Proxy, Refusal, UserStream};
use tonic_types::StatusExt as _;

/// The digest of these users of one auth client: (name, e-mail address).
fn digest_of_users<'a>(users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut all = vec![0; 32];
    for (name, email) in users {
        let one = muster_proto::user::digest(name, email, "", UserKind::Local, true);
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
        let expected = muster_proto::user::digest("alice", "alice@example.org", "+14080123456", UserKind::Local, true);
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

fn begin(vdom: &str) -> v1::SyncUsersBegin {
    v1::SyncUsersBegin { target: target(A, vdom), ..Default::default() }
}

fn users(names: &[&str]) -> Vec<v1::UserAttributes> {
    names.iter().map(|name| user(name)).collect()
}

/// So many users, named user0 and on.
fn many(count: usize) -> Vec<v1::UserAttributes> {
    (0..count).map(|number| user(&format!("user{number}"))).collect()
}

fn digest_of_list(users: &[v1::UserAttributes]) -> Vec<u8> {
    digest_of_users(users.iter().map(|user| (user.username.as_str(), user.email.as_str())))
}

/// The digests of the buckets of a list, one behind the other.
fn buckets_of(users: &[v1::UserAttributes], count: usize) -> Vec<u8> {
    let mut buckets = vec![[0; 32]; count];
    for user in users {
        let one = muster_proto::user::digest(&user.username, &user.email, "", UserKind::Local, true);
        let bucket = &mut buckets[bucket_of(&user.username, count)];
        bucket.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
    }
    buckets.concat()
}

#[tokio::test]
async fn a_sync_makes_the_register_hold_exactly_the_list() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let list = users(&["alice", "bob", "carol"]);
    let first = device.sync_users(begin("sales"), &list).await.unwrap();
    assert_eq!(first.outcomes, ["alice created", "bob created", "carol created"]);
    assert_eq!(first.counts(), [3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(items(&first.summary.vdoms), ["root created", "sales created"]);
    assert_eq!((first.summary.users, &first.summary.users_digest), (3, &digest_of_list(&list)));

    let again = device.sync_users(begin("sales"), &list).await.unwrap();
    assert_eq!((again.outcomes.len(), again.counts()), (0, [0, 0, 0, 0, 0, 0, 0, 3]));
    let mut changed = users(&["alice", "bob", "dora"]);
    changed[1].email = "bob@example.org".to_owned();
    let asked = v1::SyncUsersBegin { list_unchanged: true, ..begin("sales") };
    let second = device.sync_users(asked, &changed).await.unwrap();
    assert_eq!(second.outcomes, ["alice unchanged", "bob updated", "carol removed", "dora created"]);
    assert_eq!(second.summary.users_digest, digest_of_list(&changed));

    let audit = muster.database().audit().await;
    let of_second: Vec<_> = audit.iter().filter(|row| row.operation_id == second.summary.operation_id).collect();
    assert!(of_second.iter().all(|row| row.method == "SyncUsers" && !row.changes.contains("bob@example.org")));
    assert!(of_second.iter().any(|row| row.changes.contains("b***@example.org")), "{of_second:?}");
    let only = DebugFilter { operation_id: second.summary.operation_id.clone(), ..Default::default() };
    let request = StreamDebugLogsRequest { include: vec![only], earliest: true, ..Default::default() };
    let (events, _) = muster.admin().watch(request).await.events().await;
    let mut messages: Vec<_> = events.iter().map(|event| event.message.as_str()).collect();
    assert!(events.last().unwrap().terminal && events.iter().filter(|event| event.terminal).count() == 1);
    assert_eq!(messages.pop(), Some("users synced: 1 created, 1 updated, 1 removed, 1 unchanged, 0 held, 0 refused"));
    assert_eq!(messages, ["user carol removed", "user bob updated", "user dora created"]);
    assert!(events.iter().all(|event| event.realm == "default"), "{events:?}");
}

#[tokio::test]
async fn an_equal_digest_needs_no_list() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let list = many(2_500);
    device.sync_users(begin(""), &list).await.unwrap();
    let equal = v1::SyncUsersBegin { digest: digest_of_list(&list), ..begin("") };
    let stream = UserStream::open(&device, equal.clone()).await;
    assert_eq!(stream.demand(), SyncUsersDemand::InSync);
    let synced = stream.finish().await.unwrap();
    assert_eq!((synced.counts(), synced.summary.users), ([0, 0, 0, 0, 0, 0, 0, 2_500], 2_500));
    let of_local = v1::SyncUsersBegin { kinds: vec![v1::UserKind::Local.into()], ..equal };
    assert_eq!(UserStream::open(&device, of_local).await.demand(), SyncUsersDemand::InSync);
}

#[tokio::test]
async fn only_the_buckets_that_differ_are_sent() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let mut list = many(3_000);
    device.sync_users(begin(""), &list).await.unwrap();
    list[7].email = "seven@example.org".to_owned();
    list.remove(2_999);
    list.push(user("newcomer"));
    let differs =
        v1::SyncUsersBegin { digest: digest_of_list(&list), bucket_digests: buckets_of(&list, 1_024), ..begin("") };
    let stream = UserStream::open(&device, differs).await;
    assert_eq!(stream.demand(), SyncUsersDemand::SendBuckets);
    let wanted: BTreeSet<usize> = stream.opened.buckets.iter().map(|bucket| *bucket as usize).collect();
    assert!((1..=3).contains(&wanted.len()), "{wanted:?}");
    let part: Vec<_> = list.iter().filter(|user| wanted.contains(&bucket_of(&user.username, 1_024))).cloned().collect();
    assert!(part.len() < 30, "{}", part.len());
    stream.list(&part).await;
    let synced = stream.end().await.unwrap();
    assert_eq!(synced.outcomes, ["newcomer created", "user2999 removed", "user7 updated"]);
    assert_eq!((synced.summary.users, synced.summary.users_digest), (3_000, digest_of_list(&list)));
}

#[tokio::test]
async fn one_that_cannot_be_taken_is_refused_by_name_and_the_rest_is_done() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.sync_users(begin(""), &users(&["alice", "dave"])).await.unwrap();
    let mut list = users(&["alice", "bob", "carol", "Bob", "bob", "erin", " frank", "grace", "DAVE"]);
    list[0].email.clear();
    list[2].email.clear();
    list[5].mobile_number = "0800".to_owned();
    list[7].kind = v1::UserKind::Remote.into();
    let only_local = v1::SyncUsersBegin { kinds: vec![v1::UserKind::Local.into()], ..begin("") };
    let synced = device.sync_users(only_local, &list).await.unwrap();
    let expected = [
        " frank refused USERNAME_MALFORMED",
        "Bob refused USERNAME_COLLISION",
        "DAVE updated USERNAME_COLLISION",
        "alice refused USER_EMAIL_MISSING",
        "bob created",
        "bob refused USER_DUPLICATE",
        "carol refused USER_EMAIL_MISSING",
        "erin refused USER_MOBILE_MALFORMED",
        "grace refused USER_KIND_NOT_SYNCED",
    ];
    assert_eq!(synced.outcomes, expected);
    assert_eq!(synced.details["Bob"], "the list has it as bob, too");
    assert_eq!(synced.details["DAVE"], "the auth client has it as dave");
    assert_eq!(synced.counts(), [1, 4, 1, 3, 0, 0, 0, 0]);
    // One that is listed is never removed.
    assert_eq!(synced.summary.users, 3);
}

#[tokio::test]
async fn a_hundred_thousand_users_are_one_result() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let list = many(100_000);
    let began = Instant::now();
    let synced = device.sync_users(begin(""), &list).await.unwrap();
    eprintln!("100,000 users synced in {:?}", began.elapsed());
    assert_eq!((synced.counts()[0], synced.outcomes.len()), (100_000, 100_000));
    assert_eq!((synced.summary.users, &synced.summary.users_digest), (100_000, &digest_of_list(&list)));
    let equal = v1::SyncUsersBegin { digest: digest_of_list(&list), ..begin("") };
    assert_eq!(UserStream::open(&device, equal).await.demand(), SyncUsersDemand::InSync);
    let stream = UserStream::open(&device, begin("")).await;
    stream.list(&list).await;
    stream.list(&users(&["one-more"])).await;
    let refusal = Refusal::read(&stream.end().await.unwrap_err());
    assert_eq!(refusal.reason, Reason::UserListTooLong);
}

#[tokio::test]
async fn a_stream_that_breaks_off_changes_nothing() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.sync_users(begin(""), &users(&["alice"])).await.unwrap();
    let stream = UserStream::open(&device, begin("")).await;
    stream.list(&users(&["bob"])).await;
    let refusal = Refusal::read(&stream.finish().await.unwrap_err());
    assert_eq!(refusal.reason, Reason::SyncOutOfOrder);
    // The same box, until what is in its way cuts it off in the middle of its list.
    let proxy = Proxy::start(muster.address(), Duration::from_millis(500)).await;
    let stream = UserStream::open(&muster.device_by(proxy.address, A), begin("")).await;
    stream.list(&users(&["carol"])).await;
    let operation = stream.opened.operation_id.clone();
    let only = DebugFilter { operation_id: operation, ..Default::default() };
    let request = StreamDebugLogsRequest { include: vec![only], earliest: true, follow: true, ..Default::default() };
    let ended = muster.admin().watch(request).await.event(|event| event.terminal).await;
    assert_eq!(ended.code, "CANCELLED");
    assert_eq!(proxy.cuts(), 1);
    drop(stream);
    let held = v1::SyncUsersBegin { digest: digest_of_list(&users(&["alice"])), ..begin("") };
    assert_eq!(UserStream::open(&device, held).await.demand(), SyncUsersDemand::InSync);
    for (first, reason) in [
        (Up::End(v1::SyncUsersEnd {}), Reason::SyncOutOfOrder),
        (Up::Begin(v1::SyncUsersBegin::default()), Reason::AuthClientMissing),
        (Up::Begin(v1::SyncUsersBegin { target: target(B, ""), ..Default::default() }), Reason::IdentityMismatch),
    ] {
        let message = v1::SyncUsersRequest { kind: Some(first) };
        let mut down = device.devices().sync_users(tokio_stream::once(message)).await.unwrap().into_inner();
        assert_eq!(Refusal::read(&down.message().await.unwrap_err()).reason, reason);
    }
}

#[tokio::test]
async fn a_second_sync_of_the_same_auth_client_is_told_which_one_runs() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.devices().register(register(A, &["dmz"])).await.unwrap();
    let running = UserStream::open(&device, begin("")).await;
    let status = UserStream::try_open(&device, begin("")).await.unwrap_err();
    let refusal = Refusal::read(&status);
    assert_eq!(refusal.reason, Reason::SyncInProgress);
    assert!(refusal.retry_after.is_some());
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["running_operation_id"], running.opened.operation_id);
    // Another auth client of the device is free, and so is this one once the sync has ended.
    device.sync_users(begin("dmz"), &users(&["bob"])).await.unwrap();
    running.list(&users(&["alice"])).await;
    running.end().await.unwrap();
    device.sync_users(begin(""), &users(&["alice"])).await.unwrap();
}

#[tokio::test]
async fn a_sync_can_be_seen_before_it_is_done() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.sync_users(begin(""), &users(&["alice", "bob"])).await.unwrap();
    let before = (muster.database().audit().await, digest_of_list(&users(&["alice", "bob"])));
    let list = users(&["alice", "carol"]);
    let rehearsed = v1::SyncUsersBegin { validate_only: true, ..begin("") };
    let plan = device.sync_users(rehearsed, &list).await.unwrap();
    assert_eq!(plan.outcomes, ["bob removed", "carol created"]);
    assert_eq!((plan.summary.users, &plan.summary.users_digest), (2, &digest_of_list(&list)));
    assert_eq!(muster.database().audit().await, before.0);
    let held = v1::SyncUsersBegin { digest: before.1, ..begin("") };
    assert_eq!(UserStream::open(&device, held).await.demand(), SyncUsersDemand::InSync);

    let planned = v1::SyncUsersBegin { plan_id: plan.summary.plan_id, ..begin("") };
    let other = device.sync_users(planned.clone(), &users(&["carol"])).await.unwrap_err();
    assert_eq!(Refusal::read(&other).reason, Reason::PlanStale);
    let done = device.sync_users(planned, &list).await.unwrap();
    assert_eq!((done.outcomes, done.summary.plan_id.as_str()), (plan.outcomes, ""));
}

#[tokio::test]
async fn removals_beyond_the_limit_are_held_until_the_device_confirms_exactly_these() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let list = many(30);
    device.sync_users(begin(""), &list).await.unwrap();
    let mut few = list[..5].to_vec();
    few.push(user("newcomer"));
    let held = device.sync_users(begin(""), &few).await.unwrap();
    assert_eq!(held.counts(), [1, 0, 0, 0, 0, 0, 25, 5]);
    assert!(held.outcomes.contains(&"user9 held REMOVAL_HELD".to_owned()), "{:?}", held.outcomes);
    assert_eq!(held.summary.users, 31);
    let token = held.summary.held_removal.unwrap().confirm_token;

    let confirmed = v1::SyncUsersBegin { confirm_token: token, ..begin("") };
    let others = device.sync_users(confirmed.clone(), &few[..4]).await.unwrap();
    assert_eq!((others.counts()[4], others.counts()[6]), (0, 27));
    assert!(others.outcomes.contains(&"user9 held CONFIRM_TOKEN_MISMATCH".to_owned()), "{:?}", others.outcomes);
    let again = device.sync_users(begin(""), &few).await.unwrap();
    let token = again.summary.held_removal.unwrap().confirm_token;
    let confirmed = v1::SyncUsersBegin { confirm_token: token, ..begin("") };
    let done = device.sync_users(confirmed, &few).await.unwrap();
    assert_eq!((done.counts(), done.summary.users), ([0, 0, 0, 0, 25, 0, 0, 6], 6));
    // Twenty may go at once.
    device.sync_users(begin("dmz"), &many(21)).await.unwrap();
    let gone = device.sync_users(begin("dmz"), &many(1)).await.unwrap();
    assert_eq!(gone.counts()[4], 20);
}
