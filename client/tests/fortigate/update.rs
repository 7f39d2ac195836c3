//! `execute fortitoken-cloud update`.

use std::time::Duration;

use muster_client::cli::Exit;
use muster_proto::v1::{Outcome, SyncResponse, SyncStatus, VdomOutcome};
use muster_proto::{Reason, VdomName};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{SERIAL, bench_and_server};

const UPDATED: &str = "List of VDOMs updated to FortiToken Cloud.\n";

pub(crate) fn completed(vdoms: Vec<VdomOutcome>) -> SyncResponse {
    let (status, outcome) = (SyncStatus::Completed.into(), Outcome::Unchanged.into());
    SyncResponse { status, outcome, vdoms, ..Default::default() }
}

fn item(vdom: &str, outcome: Outcome, reason: Option<Reason>) -> VdomOutcome {
    let (reason, fix) = reason.map(|reason| (reason.as_str(), reason.fix())).unwrap_or_default();
    VdomOutcome { vdom: vdom.to_owned(), outcome: outcome.into(), reason: reason.to_owned(), fix: fix.to_owned() }
}

fn busy(code: Code, reason: Reason, retry_after: Option<Duration>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason.as_str(), "muster", []);
    details.set_retry_info(retry_after);
    Status::with_error_details(code, "try again", details)
}

#[tokio::test]
async fn an_update_sends_the_full_list_and_says_what_fortios_says() {
    let (bench, server) = bench_and_server().await;
    let items = vec![item("root", Outcome::Unchanged, None), item("dmz", Outcome::Created, None)];
    server.answers(Ok(completed(items)));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, UPDATED, ""));

    let syncs = server.syncs();
    let [sync] = syncs.as_slice() else { panic!("one sync, not {}", syncs.len()) };
    let info = sync.info.clone().unwrap();
    let names: Vec<_> = sync.full_list.iter().flat_map(|list| &list.vdoms).map(|vdom| vdom.name.as_str()).collect();
    assert_eq!(sync.serial_number, SERIAL);
    assert_eq!(names, ["root", "dmz"]);
    assert_eq!((info.model.as_str(), info.hostname.as_str()), ("FortiGate-101F", SERIAL));
    let vdoms = [VdomName::ROOT, "dmz".parse().unwrap()];
    assert_eq!(sync.digest, muster_proto::digest([&info.model, &info.hostname, &info.firmware], vdoms));
    assert_eq!((sync.base_generation, sync.validate_only), (None, false));
}

#[tokio::test]
async fn an_update_that_changes_nothing_says_the_same() {
    let (bench, server) = bench_and_server().await;
    server.answers(Ok(SyncResponse { status: SyncStatus::InSync.into(), ..Default::default() }));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, UPDATED, ""));
}

#[tokio::test]
async fn what_was_not_simply_done_is_told_item_by_item() {
    let (bench, server) = bench_and_server().await;
    server.answers(Ok(completed(vec![
        item("root", Outcome::Unchanged, None),
        item("dmz", Outcome::Restored, Some(Reason::ReturnedAfterRemoval)),
        item("lab\u{1b}", Outcome::Refused, Some(Reason::VdomLimit)),
        item("old", Outcome::Removed, None),
    ])));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Failed, ""));
    insta::assert_snapshot!(ran.out, @r"
    List of VDOMs updated to FortiToken Cloud.
    dmz: restored (RETURNED_AFTER_REMOVAL): nothing to do, unless it was removed for good: then remove it on the device too
    lab\u{1b}: refused (VDOM_LIMIT): remove VDOMs that are no longer used: a device has at most 500
    old: removed
    ");
}

#[tokio::test]
async fn an_outcome_of_a_newer_server_is_not_taken_for_success() {
    let (bench, server) = bench_and_server().await;
    let held = VdomOutcome { vdom: "dmz".to_owned(), outcome: 99, ..Default::default() };
    server.answers(Ok(completed(vec![held])));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!(ran.exit, Exit::Failed);
    assert_eq!(ran.out, format!("{UPDATED}dmz: outcome not known to this client\n"));

    server.answers(Ok(SyncResponse { status: SyncStatus::ListNeeded.into(), ..Default::default() }));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failed, "Command fail. Return code -1\n"));
    assert_eq!(ran.err, "error: the server did not take the list: it answered SYNC_STATUS_LIST_NEEDED\n");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let (bench, server) = bench_and_server().await;
    let soon = Some(Duration::from_millis(20));
    server.answers(Err(busy(Code::ResourceExhausted, Reason::QueueFull, soon)));
    server.answers(Err(busy(Code::Unavailable, Reason::ShuttingDown, soon)));
    server.answers(Ok(completed(vec![])));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, UPDATED));
    insta::assert_snapshot!(ran.err, @r"
    127.0.0.1:PORT: try again (QUEUE_FULL); trying again in 0.0 s
    127.0.0.1:PORT: try again (SHUTTING_DOWN); trying again in 0.0 s
    ");
    assert_eq!(server.syncs().len(), 3);
}

#[tokio::test]
async fn a_server_that_stays_busy_is_given_up_within_the_limit() {
    let (bench, server) = bench_and_server().await;
    server.answers(Err(busy(Code::Unavailable, Reason::StoreUnavailable, Some(Duration::from_hours(1)))));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!(ran.exit, Exit::Unreachable);
    insta::assert_snapshot!(ran.err, @r"
    Unavailable: 127.0.0.1:PORT: try again (STORE_UNAVAILABLE)
      retry after 3600.0 s
    fix: repeat the call after the retry delay; the operator finds the cause in the server's log
    ");
    assert_eq!(server.syncs().len(), 1);
}

#[tokio::test]
async fn what_cannot_pass_is_not_asked_again() {
    let (bench, server) = bench_and_server().await;
    server.answers(Err(busy(Code::ResourceExhausted, Reason::MessageTooLarge, None)));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!(ran.exit, Exit::Failed);
    assert_eq!(server.syncs().len(), 1);
}
