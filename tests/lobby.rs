//! The lobby and the admission rules, over the wire.

use muster_proto::Reason;
use muster_proto::v1::admission_decision::Kind;
use muster_proto::v1::{self, LobbyState, Outcome};
use muster_tests::requests::*;
use muster_tests::{Muster, eventually};

/// A server where nobody comes by itself.
async fn closed() -> Muster {
    let muster = Muster::start().await;
    set_auto_create(muster, false).await
}

/// The same server with the switch turned, which is read when it starts.
async fn set_auto_create(muster: Muster, on: bool) -> Muster {
    let database = muster.database();
    let stopped = muster.stop().await;
    let text = if on {
        "UPDATE settings SET auto_create_auth_clients = 1"
    } else {
        "UPDATE settings SET auto_create_auth_clients = 0"
    };
    database.execute(text).await;
    stopped.start().await
}

fn approve(serial: &str) -> v1::ApproveLobbyEntryRequest {
    v1::ApproveLobbyEntryRequest { name: format!("lobby/{serial}"), ..Default::default() }
}

async fn entry(muster: &Muster, serial: &str) -> v1::LobbyEntry {
    let request = v1::GetLobbyEntryRequest { name: format!("lobby/{serial}") };
    muster.admin().lobby().get_lobby_entry(request).await.unwrap().into_inner().lobby_entry.unwrap()
}

#[tokio::test]
async fn a_device_waits_until_it_is_approved_and_comes_in_at_once_with_its_vdoms() {
    let muster = closed().await;
    let mut device = muster.device(A).devices();
    let refusal = muster.refusal(device.sync(sync(A, &["root", "sales"])).await).await;
    assert_eq!(refusal.reason, Reason::PendingApproval);
    assert!(refusal.retry_after.is_some());
    muster.refusal(device.sync(sync(A, &["root", "sales"])).await).await;
    let waiting = entry(&muster, A).await;
    assert_eq!(
        (waiting.state(), waiting.vdoms, waiting.address),
        (LobbyState::Waiting, vec!["sales".to_owned()], "127.0.0.1".to_owned())
    );
    eventually(async || (entry(&muster, A).await.attempts == 2).then_some(())).await;

    let mut lobby = muster.admin().lobby();
    let listed = lobby.list_lobby(v1::ListLobbyRequest::default()).await.unwrap().into_inner();
    assert_eq!((listed.total_size, listed.lobby[0].name.as_str()), (1, "lobby/FG101FTK19002788"));
    let dry = v1::ApproveLobbyEntryRequest { validate_only: true, ..approve(A) };
    let planned = lobby.approve_lobby_entry(dry).await.unwrap().into_inner();
    assert_eq!(items(&planned.vdoms), ["root created", "sales created"]);
    assert_eq!(entry(&muster, A).await.state(), LobbyState::Waiting);
    let held =
        v1::ApproveLobbyEntryRequest { plan_id: planned.plan_id, realm: "realms/default".to_owned(), ..approve(A) };
    assert_eq!(muster.refusal(lobby.approve_lobby_entry(held).await).await.reason, Reason::PlanStale);
    let approved = lobby.approve_lobby_entry(approve(A)).await.unwrap().into_inner();
    assert_eq!(
        (approved.outcome(), items(&approved.vdoms)),
        (Outcome::Created, vec!["root created".to_owned(), "sales created".to_owned()])
    );
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["root", "sales"]);
    let settled = device.sync(sync(A, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!(items(&settled.vdoms), ["root unchanged", "sales unchanged"]);
    let again = lobby.approve_lobby_entry(approve(A)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DECIDED"));
    let listed = lobby.list_lobby(v1::ListLobbyRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.total_size, 0);
    let audit = muster.database().audit().await;
    assert!(audit.iter().any(|row| row.method == "ApproveLobbyEntry" && row.caller == "admin:first"), "{audit:?}");
}

#[tokio::test]
async fn a_rejected_device_is_told_why_also_after_a_restart() {
    let muster = closed().await;
    muster.refusal(muster.device(A).devices().register(register(A, &[])).await).await;
    let reject =
        v1::RejectLobbyEntryRequest { name: format!("lobby/{A}"), why: "not ours".to_owned(), ..Default::default() };
    let answer = muster.admin().lobby().reject_lobby_entry(reject.clone()).await.unwrap().into_inner();
    assert_eq!(answer.lobby_entry.unwrap().state(), LobbyState::Rejected);
    let muster = set_auto_create(muster, true).await;
    let refusal = muster.refusal(muster.device(A).devices().register(register(A, &[])).await).await;
    assert_eq!(refusal.reason, Reason::AdmissionRejected);
    assert!(refusal.message.contains("not ours"), "{}", refusal.message);
    let unknown = v1::RejectLobbyEntryRequest { name: format!("lobby/{B}"), ..reject };
    assert_eq!(
        muster.refusal(muster.admin().lobby().reject_lobby_entry(unknown).await).await.reason,
        Reason::LobbyUnknown
    );
}

#[tokio::test]
async fn whoever_waits_comes_in_at_its_next_call_once_the_switch_is_on() {
    let muster = closed().await;
    muster.refusal(muster.device(A).devices().sync(sync(A, &["root", "sales"])).await).await;
    let muster = set_auto_create(muster, true).await;
    let answer = muster.device(A).devices().sync(sync(A, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root created", "sales created"]);
    assert_eq!(entry(&muster, A).await.state(), LobbyState::Admitted);
}

#[tokio::test]
async fn the_administrators_of_a_known_device_wait_too_and_the_refusal_names_the_cure() {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    let muster = set_auto_create(muster, false).await;
    let mut device = muster.device(A).devices();
    let refusal = muster.refusal(device.add_user(add_user(A, "#FOS_Administrator", "alice")).await).await;
    assert_eq!(refusal.reason, Reason::PendingApproval);
    assert!(refusal.message.contains("auto_create_auth_clients"), "{}", refusal.message);
    let answer = device.sync(sync(A, &["root", "dmz"])).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root unchanged", "dmz held PENDING_APPROVAL"]);
    assert_eq!(entry(&muster, A).await.vdoms, ["#FOS_Administrator", "dmz"]);
    muster.admin().lobby().approve_lobby_entry(approve(A)).await.unwrap();
    device.add_user(add_user(A, "#FOS_Administrator", "alice")).await.unwrap();
}

fn decision(kind: Kind) -> v1::AdmissionDecision {
    v1::AdmissionDecision { kind: Some(kind) }
}

fn rule(prefix: &str, range: &str, kind: Kind) -> v1::AdmissionRule {
    v1::AdmissionRule {
        serial_prefix: prefix.to_owned(),
        address_range: range.to_owned(),
        decision: Some(decision(kind)),
    }
}

#[tokio::test]
async fn rules_decide_by_prefix_and_range_and_hold_what_their_tests_expect() {
    let muster = Muster::start().await;
    let mut admin = muster.admin().admission_rules();
    let rules = v1::AdmissionRules {
        rules: vec![
            rule("FGVM", "", Kind::Reject(true)),
            rule("FG101F", "127.0.0.0/8", Kind::Lobby(true)),
            rule("FG101FTK", "127.0.0.1/32", Kind::Reject(true)),
            rule("", "10.0.0.0/8", Kind::Realm("realms/1".to_owned())),
        ],
        tests: vec![v1::AdmissionTest {
            serial_number: VM.to_owned(),
            address: "10.1.2.3".to_owned(),
            expected: Some(decision(Kind::Lobby(true))),
        }],
        ..Default::default()
    };
    let update = |rules: &v1::AdmissionRules| v1::UpdateAdmissionRulesRequest {
        admission_rules: Some(rules.clone()),
        ..Default::default()
    };
    let refusal = muster.refusal(admin.update_admission_rules(update(&rules)).await).await;
    assert_eq!(refusal.reason, Reason::AdmissionTestsFailed);
    assert!(
        refusal.message.contains("tests[0]: FGVM01TM00000001 from 10.1.2.3 gets reject instead of lobby"),
        "{}",
        refusal.message
    );

    let mut good = rules.clone();
    good.tests[0].expected = Some(decision(Kind::Reject(true)));
    let answer = admin.update_admission_rules(update(&good)).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), Outcome::Updated);
    assert_eq!(answer.warnings, ["rules[2] is never reached: rules[1] takes all of its devices"]);
    let held =
        admin.get_admission_rules(v1::GetAdmissionRulesRequest {}).await.unwrap().into_inner().admission_rules.unwrap();
    assert_eq!((&held.rules, &held.tests), (&good.rules, &good.tests));
    let stale = v1::AdmissionRules { etag: "0".to_owned(), ..good.clone() };
    assert_eq!(muster.refusal(admin.update_admission_rules(update(&stale)).await).await.reason, Reason::EtagMismatch);

    let muster = muster.restart().await;
    let refusal = muster.refusal(muster.device(VM).devices().register(register(VM, &[])).await).await;
    assert_eq!(refusal.reason, Reason::AdmissionRejected);
    let refusal = muster.refusal(muster.device(A).devices().register(register(A, &[])).await).await;
    assert_eq!(refusal.reason, Reason::PendingApproval);
    // A device behind a relay has no address of its own.
    muster.relay("fmg-1", &[]).devices().register(register(B, &[])).await.unwrap();
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_is_refused_by_field() {
    let muster = Muster::start().await;
    let rules = v1::AdmissionRules {
        rules: vec![rule("FG 1", "10.0.0.0/33", Kind::Realm("default".to_owned())), v1::AdmissionRule::default()],
        ..Default::default()
    };
    let request = v1::UpdateAdmissionRulesRequest { admission_rules: Some(rules), ..Default::default() };
    let refusal = muster.refusal(muster.admin().admission_rules().update_admission_rules(request).await).await;
    let field = |name: &str| format!("admission_rules.rules{name}");
    let expected = ["[0].serial_prefix", "[0].address_range", "[0].decision.realm", "[1].decision"].map(field);
    assert_eq!(refusal.fields, expected);
}
