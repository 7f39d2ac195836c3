//! The removal guard: a sync that would remove too much waits for a confirmation or for an admin.

use muster_proto::Reason;
use muster_proto::v1::{self, HeldRemovalKind, HeldRemovalState, Outcome};
use muster_tests::requests::*;
use muster_tests::{Muster, UserStream, eventually, within};

fn confirming(vdoms: &[&str], token: &str) -> v1::SyncRequest {
    v1::SyncRequest { confirm_token: token.to_owned(), ..sync(A, vdoms) }
}

fn approve(name: &str) -> v1::ApproveHeldRemovalRequest {
    v1::ApproveHeldRemovalRequest { name: name.to_owned(), ..Default::default() }
}

fn reject(name: &str) -> v1::RejectHeldRemovalRequest {
    v1::RejectHeldRemovalRequest { name: name.to_owned(), ..Default::default() }
}

/// A device with the VDOMs root, a, b and c, of which a sync would remove three; and the notice that it got.
async fn held(muster: &Muster) -> v1::HeldNotice {
    let mut device = muster.device(A).devices();
    device.register(register(A, &["a", "b", "c"])).await.unwrap();
    let answer = device.sync(sync(A, &["root", "d"])).await.unwrap().into_inner();
    let expected = ["root unchanged", "d created", "a held REMOVAL_HELD", "b held REMOVAL_HELD", "c held REMOVAL_HELD"];
    assert_eq!(items(&answer.vdoms), expected);
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["a", "b", "c", "d", "root"]);
    answer.held.unwrap()
}

async fn list(muster: &Muster, show_deleted: bool) -> Vec<v1::HeldRemoval> {
    let request = v1::ListHeldRemovalsRequest { show_deleted, ..Default::default() };
    muster.admin().held_removals().list_held_removals(request).await.unwrap().into_inner().held_removals
}

async fn get(muster: &Muster, name: &str) -> v1::HeldRemoval {
    let request = v1::GetHeldRemovalRequest { name: name.to_owned() };
    muster.admin().held_removals().get_held_removal(request).await.unwrap().into_inner().held_removal.unwrap()
}

#[tokio::test]
async fn the_device_confirms_what_was_held_and_nothing_else() {
    let muster = Muster::start().await;
    let notice = held(&muster).await;
    let mut device = muster.device(A).devices();
    // The same again is the same set, in the database once, and after a restart too.
    let again = device.sync(sync(A, &["root", "d"])).await.unwrap().into_inner();
    assert_eq!(again.held.as_ref(), Some(&notice));
    let muster = muster.restart().await;
    let mut device = muster.device(A).devices();
    let again = device.sync(sync(A, &["root", "d"])).await.unwrap().into_inner();
    assert_eq!((again.held.as_ref(), list(&muster, true).await.len()), (Some(&notice), 1));

    let other = device.sync(confirming(&["root", "c", "d"], &notice.confirm_token)).await.unwrap().into_inner();
    let expected = [
        "root unchanged",
        "c unchanged",
        "d unchanged",
        "a held CONFIRM_TOKEN_MISMATCH",
        "b held CONFIRM_TOKEN_MISMATCH",
    ];
    assert_eq!(items(&other.vdoms), expected);
    let notice = other.held.unwrap();
    let done = device.sync(confirming(&["root", "c", "d"], &notice.confirm_token)).await.unwrap().into_inner();
    assert_eq!(items(&done.vdoms)[3..], ["a removed", "b removed"]);
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["c", "d", "root"]);
    let states: Vec<_> = list(&muster, true).await.iter().map(v1::HeldRemoval::state).collect();
    assert_eq!(states, [HeldRemovalState::Withdrawn, HeldRemovalState::Confirmed]);
    assert!(list(&muster, false).await.is_empty());
}

#[tokio::test]
async fn an_admin_sees_what_is_held_and_approves_it() {
    let muster = Muster::start().await;
    let notice = held(&muster).await;
    let [set] = &list(&muster, false).await[..] else { panic!("one is held") };
    assert_eq!((&set.name, set.expire_time), (&notice.name, notice.expire_time));
    assert_eq!((set.kind(), set.state()), (HeldRemovalKind::Vdoms, HeldRemovalState::Pending));
    assert_eq!((set.serial_number.as_str(), set.requested_by.as_str()), (A, "device:FG101FTK19002788"));
    assert_eq!((set.removals.join(" "), set.decided_by.as_str()), ("a b c".to_owned(), ""));

    let mut admin = muster.admin().held_removals();
    let only = v1::ApproveHeldRemovalRequest { validate_only: true, ..approve(&notice.name) };
    let said = admin.approve_held_removal(only).await.unwrap().into_inner();
    assert_eq!(items(&said.vdoms), ["a removed", "b removed", "c removed"]);
    assert_eq!(get(&muster, &notice.name).await.state(), HeldRemovalState::Pending);
    let planned = v1::ApproveHeldRemovalRequest { plan_id: said.plan_id, ..approve(&notice.name) };
    let done = admin.approve_held_removal(planned).await.unwrap().into_inner();
    assert_eq!((done.outcome(), items(&done.vdoms)), (Outcome::Updated, items(&said.vdoms)));
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["d", "root"]);
    let set = get(&muster, &notice.name).await;
    assert_eq!((set.state(), set.decided_by.as_str()), (HeldRemovalState::Approved, "admin:first"));
    let again = admin.approve_held_removal(approve(&notice.name)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DECIDED"));
    let refusal = muster.refusal(admin.reject_held_removal(reject(&notice.name)).await).await;
    assert_eq!(refusal.reason, Reason::HeldRemovalClosed);
}

#[tokio::test]
async fn what_an_admin_rejects_stays_and_the_device_is_told() {
    let muster = Muster::start().await;
    let notice = held(&muster).await;
    let mut admin = muster.admin().held_removals();
    let only = v1::RejectHeldRemovalRequest { validate_only: true, ..reject(&notice.name) };
    admin.reject_held_removal(only).await.unwrap();
    assert_eq!(get(&muster, &notice.name).await.state(), HeldRemovalState::Pending);
    let done = admin.reject_held_removal(reject(&notice.name)).await.unwrap().into_inner();
    assert_eq!(done.outcome(), Outcome::Updated);
    let mut device = muster.device(A).devices();
    let answer = device.sync(confirming(&["root", "d"], &notice.confirm_token)).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms)[2], "a refused REMOVAL_REJECTED");
    assert_eq!(list(&muster, false).await[0].state(), HeldRemovalState::Rejected);
    // The device lists them again: nothing is held any more, and the digests agree.
    let answer = device.sync(sync(A, &["root", "a", "b", "c", "d"])).await.unwrap().into_inner();
    assert_eq!((answer.held, answer.digest), (None, digest_of([""; 3], &["root", "a", "b", "c", "d"])));
    assert_eq!(get(&muster, &notice.name).await.state(), HeldRemovalState::Withdrawn);
    let refusal = muster.refusal(admin.approve_held_removal(approve(&notice.name)).await).await;
    assert_eq!(refusal.reason, Reason::HeldRemovalClosed);
}

#[tokio::test]
async fn a_held_removal_that_never_was_is_not_found() {
    let muster = Muster::start().await;
    let mut admin = muster.admin().held_removals();
    for (name, reason) in
        [("heldRemovals/7", Reason::HeldRemovalUnknown), ("", Reason::NameMalformed), ("held/7", Reason::NameMalformed)]
    {
        let request = v1::GetHeldRemovalRequest { name: name.to_owned() };
        assert_eq!(muster.refusal(admin.get_held_removal(request).await).await.reason, reason);
        assert_eq!(muster.refusal(admin.approve_held_removal(approve(name)).await).await.reason, reason);
        assert_eq!(muster.refusal(admin.reject_held_removal(reject(name)).await).await.reason, reason);
    }
}

#[tokio::test]
async fn what_is_held_stands_in_the_audit_log_and_in_the_feed() {
    let muster = Muster::start().await;
    let everything = v1::StreamDebugLogsRequest { follow: true, ..Default::default() };
    let mut feed = muster.device(A).watch(everything).await;
    let notice = held(&muster).await;
    let event = feed.event(|event| event.message == format!("{} held", notice.name)).await;
    assert_eq!(event.changes[1].after, "a, b, c");
    let event = feed.event(|event| event.vdom == "b" && event.reason == "REMOVAL_HELD").await;
    assert_eq!(event.message, "held");
    let mut admin = muster.admin().held_removals();
    within(admin.approve_held_removal(approve(&notice.name))).await.unwrap();
    feed.event(|event| event.message == format!("{} approved", notice.name)).await;
    let end = feed.event(|event| event.terminal && event.step == "ApproveHeldRemoval").await;
    assert_eq!(end.message, "held removal updated, 3 removed");
    let audit = muster.database().audit().await;
    let approved = audit.iter().filter(|row| row.method == "ApproveHeldRemoval" && row.caller == "admin:first");
    let changes: Vec<_> = approved.map(|row| row.changes.as_str()).collect();
    assert_eq!(changes.len(), 2, "one row of the held removal, and one of the device: {changes:?}");
    assert!(changes[0].contains(r#""before":"held","after":"approved""#), "{changes:?}");
}

/// Thirty users on a device's VDOM "root", of whom a sync keeps five.
async fn users_held(muster: &Muster) -> (Vec<v1::UserAttributes>, v1::HeldNotice) {
    let device = muster.device(A);
    let all: Vec<_> = (0..30).map(|number| user(&format!("user{number:02}"))).collect();
    device.sync_users(begin(""), &all).await.unwrap();
    let synced = device.sync_users(begin(""), &all[..5]).await.unwrap();
    assert_eq!((synced.counts()[6], synced.summary.users), (25, 30));
    (all, synced.summary.held_removal.unwrap())
}

fn begin(token: &str) -> v1::SyncUsersBegin {
    v1::SyncUsersBegin { target: target(A, ""), confirm_token: token.to_owned(), ..Default::default() }
}

async fn usernames(muster: &Muster) -> Vec<String> {
    let request = v1::ListUsersRequest { page_size: 100, ..Default::default() };
    let users = muster.admin().users().list_users(request).await.unwrap().into_inner().users;
    users.into_iter().map(|user| user.username).collect()
}

#[tokio::test]
async fn an_admin_approves_that_users_go_and_exactly_those_go() {
    let muster = Muster::start().await;
    let (all, notice) = users_held(&muster).await;
    let set = get(&muster, &notice.name).await;
    assert_eq!((set.kind(), set.removals.len(), set.serial_number.as_str()), (HeldRemovalKind::Users, 25, A));
    let mut admin = muster.admin().held_removals();
    let only = v1::ApproveHeldRemovalRequest { validate_only: true, ..approve(&notice.name) };
    let said = admin.approve_held_removal(only).await.unwrap().into_inner();
    assert_eq!(
        (usernames(&muster).await.len(), get(&muster, &notice.name).await.state()),
        (30, HeldRemovalState::Pending)
    );
    // One more came meanwhile: it is not among those that go, and the plan is that of another register no longer.
    muster.device(A).devices().add_user(add_user(A, "", "newcomer")).await.unwrap();
    assert!(!said.plan_id.is_empty());
    let done = admin.approve_held_removal(approve(&notice.name)).await.unwrap().into_inner();
    assert_eq!(done.outcome(), Outcome::Updated);
    let mut stay: Vec<_> = all[..5].iter().map(|user| user.username.clone()).collect();
    stay.insert(0, "newcomer".to_owned());
    let mut present = usernames(&muster).await;
    present.sort();
    assert_eq!(present, stay);
    assert_eq!(get(&muster, &notice.name).await.state(), HeldRemovalState::Approved);
}

#[tokio::test]
async fn users_whose_removal_an_admin_rejects_stay_whatever_token_comes() {
    let muster = Muster::start().await;
    let (all, notice) = users_held(&muster).await;
    let done = muster.admin().held_removals().reject_held_removal(reject(&notice.name)).await.unwrap().into_inner();
    assert_eq!(done.outcome(), Outcome::Updated);
    let again = muster.device(A).sync_users(begin(&notice.confirm_token), &all[..5]).await.unwrap();
    assert!(again.outcomes.contains(&"user29 refused REMOVAL_REJECTED".to_owned()), "{:?}", again.outcomes);
    assert_eq!((again.summary.users, usernames(&muster).await.len()), (30, 30));
}

#[tokio::test]
async fn a_rehearsal_of_the_whole_list_withdraws_nothing_and_the_list_itself_does() {
    let muster = Muster::start().await;
    let (all, notice) = users_held(&muster).await;
    let mut digest = vec![0; 32];
    for user in &all {
        let one = muster_proto::user::digest(&user.username, &user.email, "", muster_proto::UserKind::Local, true);
        digest.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
    }
    for (validate_only, state) in [(true, HeldRemovalState::Pending), (false, HeldRemovalState::Withdrawn)] {
        let begin = v1::SyncUsersBegin { digest: digest.clone(), validate_only, ..begin("") };
        let stream = UserStream::open(&muster.device(A), begin).await;
        assert_eq!(stream.demand(), v1::SyncUsersDemand::InSync);
        stream.finish().await.unwrap();
        assert_eq!(get(&muster, &notice.name).await.state(), state);
    }
}

#[tokio::test]
async fn lists_of_other_kinds_of_users_leave_each_others_removals_alone() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let of_kind = |kind: v1::UserKind, name: &str, count: usize| -> Vec<v1::UserAttributes> {
        let one = |number| v1::UserAttributes { kind: kind.into(), ..user(&format!("{name}{number:02}")) };
        (0..count).map(one).collect()
    };
    let (local, remote) = (of_kind(v1::UserKind::Local, "local", 30), of_kind(v1::UserKind::Remote, "remote", 30));
    device.sync_users(begin(""), &[local.clone(), remote.clone()].concat()).await.unwrap();
    let only = |kind: v1::UserKind, token: &str| v1::SyncUsersBegin { kinds: vec![kind.into()], ..begin(token) };
    let held = async |kind, users: &[v1::UserAttributes]| {
        device.sync_users(only(kind, ""), users).await.unwrap().summary.held_removal.unwrap()
    };
    let of_local = held(v1::UserKind::Local, &local[..5]).await;
    let of_remote = held(v1::UserKind::Remote, &remote[..5]).await;
    let states = async || {
        let set = async |name: &str| get(&muster, name).await;
        (set(&of_local.name).await.state(), set(&of_remote.name).await.state())
    };
    assert_eq!(get(&muster, &of_remote.name).await.kinds, [v1::UserKind::Remote as i32]);
    assert_eq!(states().await, (HeldRemovalState::Pending, HeldRemovalState::Pending));

    // The box has its remote users again: that says nothing of the local ones, whose removal it confirms.
    device.sync_users(only(v1::UserKind::Remote, ""), &remote).await.unwrap();
    assert_eq!(states().await, (HeldRemovalState::Pending, HeldRemovalState::Withdrawn));
    let done = device.sync_users(only(v1::UserKind::Local, &of_local.confirm_token), &local[..5]).await.unwrap();
    assert_eq!((done.counts()[4], done.summary.users), (25, 35));
    // A list of all kinds is about both.
    let again = held(v1::UserKind::Remote, &remote[..5]).await;
    device.sync_users(begin(""), &[local[..5].to_vec(), remote].concat()).await.unwrap();
    assert_eq!(get(&muster, &again.name).await.state(), HeldRemovalState::Withdrawn);
}

#[tokio::test]
async fn what_nobody_decides_expires_by_itself_and_is_forgotten_after_the_retention_time() {
    let muster = Muster::start().await;
    let (all, notice) = users_held(&muster).await;
    let stopped = muster.stop().await;
    let six_days =
        "UPDATE held SET created_at = created_at - 6 * 86400000000, expires_at = expires_at - 6 * 86400000000";
    stopped.database().execute(six_days).await;
    let muster = stopped.start().await;
    let state = async || Some(get(&muster, &notice.name).await).filter(|set| set.state() == HeldRemovalState::Expired);
    let expired = eventually(state).await;
    assert_eq!((expired.decided_by.as_str(), usernames(&muster).await.len()), ("server:sweep", 30));
    let refusal = muster.admin().held_removals().approve_held_removal(approve(&notice.name)).await;
    assert_eq!(muster.refusal(refusal).await.reason, Reason::HeldRemovalClosed);
    let late = muster.device(A).sync_users(begin(&notice.confirm_token), &all[..5]).await.unwrap();
    assert!(late.outcomes.contains(&"user29 held CONFIRM_TOKEN_MISMATCH".to_owned()), "{:?}", late.outcomes);
    assert_ne!(late.summary.held_removal.unwrap().name, notice.name);

    // The settings say thirty days, and the one that is pending is not old.
    let stopped = muster.stop().await;
    let a_month =
        "UPDATE held SET updated_at = updated_at - 31 * 86400000000, deleted_at = deleted_at - 31 * 86400000000";
    stopped.database().execute(a_month).await;
    let muster = stopped.start().await;
    eventually(async || (list(&muster, true).await.len() == 1).then_some(())).await;
    let request = v1::GetHeldRemovalRequest { name: notice.name.clone() };
    let refusal = muster.admin().held_removals().get_held_removal(request).await;
    assert_eq!(muster.refusal(refusal).await.reason, Reason::HeldRemovalUnknown);
    let audit = muster.database().audit().await;
    let last = audit.iter().rev().find(|row| row.method == "Purge").unwrap();
    assert!(last.changes.contains(r#""before":"expired","after":"purged""#), "{}", last.changes);
    assert_eq!(usernames(&muster).await.len(), 30);
}
