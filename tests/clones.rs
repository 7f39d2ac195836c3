//! Two boxes with one serial number, and boxes that are replaced.

use muster_proto::Reason;
use muster_proto::v1::{self, KeyState, Outcome, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{DAY, Muster};

async fn case(muster: &Muster) -> v1::CloneCase {
    let request = v1::GetCloneCaseRequest { name: format!("cloneCases/{A}") };
    muster.admin().clones().get_clone_case(request).await.unwrap().into_inner().clone_case.unwrap()
}

fn states(case: &v1::CloneCase) -> Vec<KeyState> {
    case.keys.iter().map(v1::DeviceKey::state).collect()
}

async fn open_cases(muster: &Muster, show_resolved: bool) -> i64 {
    let request = v1::ListCloneCasesRequest { show_resolved, ..Default::default() };
    muster.admin().clones().list_clone_cases(request).await.unwrap().into_inner().total_size
}

#[tokio::test]
async fn a_second_box_is_held_and_shown_beside_the_first_until_an_admin_picks() {
    let muster = Muster::start().await;
    let (first, second) = (muster.device(A), muster.clone_of(A));
    first.devices().register(register(A, &["sales"])).await.unwrap();
    let refusal = muster.refusal(second.devices().sync(sync(A, &["root"])).await).await;
    assert_eq!(refusal.reason, Reason::CloneSuspected);
    // The first goes on, and shows its certificate.
    first.devices().sync(sync(A, &["root", "sales"])).await.unwrap();
    let held = case(&muster).await;
    assert!(held.open);
    let mut seen = states(&held);
    seen.sort_unstable();
    assert_eq!(seen, [KeyState::Accepted, KeyState::Held]);
    for key in &held.keys {
        assert_eq!((key.address.as_str(), key.key.len()), ("127.0.0.1", 64));
        assert!(!key.certificate_serial.is_empty() && key.certificate_valid_until.is_some(), "{key:?}");
    }
    assert_eq!(open_cases(&muster, false).await, 1);
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["root", "sales"]);

    let picked = held.keys.iter().find(|key| key.state() == KeyState::Held).unwrap().key.clone();
    let name = held.name.clone();
    let resolve = v1::ResolveCloneCaseRequest { name, accept_key: picked.clone(), ..Default::default() };
    let mut admin = muster.admin().clones();
    let rehearsed = v1::ResolveCloneCaseRequest { validate_only: true, ..resolve.clone() };
    let plan = admin.resolve_clone_case(rehearsed).await.unwrap().into_inner();
    assert_eq!((plan.outcome(), plan.clone_case.unwrap().open), (Outcome::Updated, false));
    assert!(case(&muster).await.open);
    let done = v1::ResolveCloneCaseRequest { plan_id: plan.plan_id, ..resolve.clone() };
    admin.resolve_clone_case(done).await.unwrap();
    let again = admin.resolve_clone_case(resolve).await.unwrap().into_inner();
    assert_eq!(again.outcome(), Outcome::Unchanged);

    second.devices().sync(sync(A, &["root", "sales"])).await.unwrap();
    let refusal = muster.refusal(first.devices().sync(sync(A, &["root"])).await).await;
    assert_eq!(refusal.reason, Reason::KeyBanned);
    assert_eq!((open_cases(&muster, false).await, open_cases(&muster, true).await), (0, 1));
    let muster = muster.restart().await;
    assert_eq!(case(&muster).await.keys.len(), 2);
}

#[tokio::test]
async fn a_case_that_is_not_there_and_a_key_that_nobody_has_are_told_so() {
    let muster = Muster::start().await;
    let mut admin = muster.admin().clones();
    let get = v1::GetCloneCaseRequest { name: format!("cloneCases/{A}") };
    assert_eq!(muster.refusal(admin.get_clone_case(get).await).await.reason, Reason::CloneCaseUnknown);
    let resolve = v1::ResolveCloneCaseRequest {
        name: format!("cloneCases/{A}"),
        accept_key: "ab".repeat(32),
        ..Default::default()
    };
    assert_eq!(muster.refusal(admin.resolve_clone_case(resolve.clone()).await).await.reason, Reason::DeviceUnknown);
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    assert_eq!(muster.refusal(admin.resolve_clone_case(resolve.clone()).await).await.reason, Reason::CloneKeyUnknown);
    let short = v1::ResolveCloneCaseRequest { accept_key: "ab".to_owned(), ..resolve };
    assert_eq!(muster.refusal(admin.resolve_clone_case(short).await).await.fields, ["accept_key"]);
}

#[tokio::test]
async fn a_device_whose_old_key_was_silent_goes_on_with_a_new_one_and_the_feed_says_so() {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    let muster = muster.stop().await;
    let hours_ago = "UPDATE device SET last_seen_at = last_seen_at - 7200000000, created_at = created_at - 7200000000";
    muster.database().execute(hours_ago).await;
    let muster = muster.start().await;
    let renewed = muster.with_certificate(&muster.device_ca().issue(A, &[], DAY));
    let operation = renewed.devices().sync(sync(A, &["root"])).await.unwrap().into_inner().operation_id;
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = muster.admin().watch(everything).await.events().await;
    let event = events.iter().find(|event| event.operation_id == operation && event.terminal).unwrap();
    assert_eq!(event.reason, "KEY_CHANGED");
    assert_eq!(open_cases(&muster, true).await, 0);
    assert!(muster.database().audit().await.iter().any(|row| row.changes.contains(r#""field":"key""#)));
}

fn replace(old: &str, new: &str) -> v1::ReplaceDeviceRequest {
    let (name, replacement_serial_number) = (format!("devices/{old}"), new.to_owned());
    v1::ReplaceDeviceRequest { name, replacement_serial_number, ..Default::default() }
}

#[tokio::test]
async fn a_replacement_takes_over_the_auth_clients_and_the_old_box_is_retired() {
    let muster = Muster::start().await;
    let mut admin = muster.admin().device_admin();
    assert_eq!(muster.refusal(admin.replace_device(replace(A, B)).await).await.reason, Reason::DeviceUnknown);
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    muster.device(B).devices().register(register(B, &["dmz"])).await.unwrap();
    let before = muster.admin().get_auth_client(&format!("{A}-sales")).await;
    let rehearsed = v1::ReplaceDeviceRequest { validate_only: true, ..replace(A, B) };
    let plan = admin.replace_device(rehearsed).await.unwrap().into_inner();
    assert_eq!(plan.outcome(), Outcome::Updated);
    assert_eq!(muster.admin().get_auth_client(&format!("{A}-sales")).await, before);
    let done = v1::ReplaceDeviceRequest { plan_id: plan.plan_id, ..replace(A, B) };
    let done = admin.replace_device(done).await.unwrap().into_inner();
    assert_eq!(items(&done.vdoms), ["root updated MOVED_TO_DEVICE", "sales updated MOVED_TO_DEVICE"]);
    let after = muster.admin().get_auth_client(&format!("{B}-sales")).await;
    assert_eq!((after.id, after.display_name), (before.id, format!("{B}-sales")));
    assert_eq!(names(&muster.admin().get_device(B).await.vdoms), ["root", "sales"]);
    let refusal = muster.refusal(muster.device(A).devices().sync(sync(A, &["root"])).await).await;
    assert_eq!(refusal.reason, Reason::DeviceRetired);
    let replaced = format!(r#""field":"replaced_by","before":"","after":"{B}""#);
    assert!(muster.database().audit().await.iter().any(|row| row.changes.contains(&replaced)));
    let again = admin.replace_device(replace(A, B)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DELETED"));
    let unchanged = muster.device(B).devices().sync(sync(B, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!(unchanged.outcome(), Outcome::Unchanged);
    // The serial number of another box may be new to the register, too.
    let created = admin.replace_device(replace(B, VM)).await.unwrap().into_inner();
    assert_eq!(created.outcome(), Outcome::Created);
    assert_eq!(muster.admin().get_auth_client(&format!("{VM}-sales")).await.id, before.id);
    assert_eq!(muster.refusal(admin.replace_device(replace(A, A)).await).await.fields, ["replacement_serial_number"]);
}
