//! Admin tokens: how they come, what they allow, and how they go.

use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{self, AdminRole, AdminTokenState, ClosingReason, Outcome, StreamDebugLogsRequest};
use muster_proto::{Reason, Timestamp};
use muster_server::clock::{Clock as _, SystemClock};
use muster_tests::{Muster, Refusal};
use tonic::Response;

fn global(name: &str) -> v1::CreateAdminTokenRequest {
    v1::CreateAdminTokenRequest { display_name: name.to_owned(), role: AdminRole::Global.into(), ..Default::default() }
}

fn revoke(name: &str) -> v1::RevokeAdminTokenRequest {
    v1::RevokeAdminTokenRequest { name: name.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_token_is_shown_once_works_at_once_and_only_its_hash_is_kept() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let made = admin.admin_tokens().create_admin_token(global("portal")).await.unwrap().into_inner();
    assert_eq!(made.outcome(), Outcome::Created);
    let shown = made.admin_token.unwrap();
    assert_eq!(
        (shown.display_name.as_str(), shown.role(), shown.creator.as_str()),
        ("portal", AdminRole::Global, "admin:first")
    );
    assert_eq!(shown.state(), AdminTokenState::Active);
    let portal = muster.nobody().with_token(&made.token);
    let read = v1::GetAdminTokenRequest { name: shown.name.clone() };
    let read = portal.admin_tokens().get_admin_token(read).await.unwrap().into_inner();
    assert_eq!(read.admin_token, Some(shown));
    let listed =
        portal.admin_tokens().list_admin_tokens(v1::ListAdminTokensRequest::default()).await.unwrap().into_inner();
    let names: Vec<_> = listed.admin_tokens.iter().map(|token| token.display_name.as_str()).collect();
    assert_eq!((names, listed.total_size), (vec!["first", "portal"], 2));

    let audit = muster.database().audit().await;
    assert_eq!((audit[0].caller.as_str(), audit[0].method.as_str()), ("admin:first", "CreateAdminToken"));
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = admin.watch(everything).await.events().await;
    assert!(events.iter().any(|event| event.message.contains("adminTokens/") && event.message.ends_with("active")));
    let secret = made.token.trim_start_matches("muster_");
    assert!(!format!("{events:?}{audit:?}").contains(secret), "no secret enters the feed or the audit log");
    muster.restart().await.nobody().with_token(&made.token).get_admin_tokens().await;
}

#[tokio::test]
async fn a_request_that_is_repeated_makes_no_second_token() {
    let muster = Muster::start().await;
    let mut tokens = muster.admin().admin_tokens();
    let request = v1::CreateAdminTokenRequest { request_id: "7f1d".to_owned(), ..global("portal") };
    let first = tokens.create_admin_token(request.clone()).await.unwrap().into_inner();
    let second = tokens.create_admin_token(request).await.unwrap().into_inner();
    assert_eq!(second.admin_token, first.admin_token);
    assert_eq!(
        (second.outcome(), second.reason.as_str(), second.token.as_str()),
        (Outcome::Unchanged, "SECRET_SHOWN_BEFORE", "")
    );
    let refusal = muster.refusal(tokens.create_admin_token(global("portal")).await).await;
    assert_eq!(refusal.reason, Reason::AdminTokenNameTaken);
}

#[tokio::test]
async fn a_plan_of_a_token_holds_and_makes_nothing() {
    let muster = Muster::start().await;
    let mut tokens = muster.admin().admin_tokens();
    let dry = v1::CreateAdminTokenRequest { validate_only: true, ..global("portal") };
    let planned = tokens.create_admin_token(dry).await.unwrap().into_inner();
    assert!(planned.token.is_empty() && !planned.plan_id.is_empty());
    assert_eq!(muster.admin().get_admin_tokens().await.len(), 1);
    let held = v1::CreateAdminTokenRequest { plan_id: planned.plan_id, ..global("portal") };
    assert!(!tokens.create_admin_token(held).await.unwrap().into_inner().token.is_empty());
    let other = v1::CreateAdminTokenRequest { plan_id: "p0".to_owned(), ..global("other") };
    assert_eq!(muster.refusal(tokens.create_admin_token(other).await).await.reason, Reason::PlanStale);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_its_open_streams_end() {
    let muster = Muster::start().await;
    let portal = muster.admin_as("portal", AdminRole::Global, &[], false).await;
    let bystander = muster.admin_as("bystander", AdminRole::Global, &[], false).await;
    let follow = StreamDebugLogsRequest { follow: true, ..Default::default() };
    let mut feed = portal.watch(follow.clone()).await;
    let mut other = bystander.watch(follow).await;
    muster.revoke("portal").await;
    let (kinds, end) = feed.rest().await;
    let Some(Kind::Closing(closing)) = kinds.last() else { panic!("no closing: {kinds:?}") };
    assert_eq!(closing.reason(), ClosingReason::AuthorisationEnded);
    assert_eq!(Refusal::of(end.map(Response::new)).reason, Reason::TokenInvalid);
    let list = v1::ListDevicesRequest::default();
    assert_eq!(muster.refusal(portal.device_admin().list_devices(list).await).await.reason, Reason::TokenInvalid);
    other.event(|event| event.step == "RevokeAdminToken").await;
}

#[tokio::test]
async fn a_token_ends_when_its_time_is_over_and_its_open_streams_with_it() {
    let muster = Muster::start().await;
    let end = SystemClock.now().plus(std::time::Duration::from_millis(1_500));
    let request = v1::CreateAdminTokenRequest { expire_time: Some(end.into()), ..global("guest") };
    let made = muster.admin().admin_tokens().create_admin_token(request).await.unwrap().into_inner();
    let guest = muster.nobody().with_token(&made.token);
    let mut feed = guest.watch(StreamDebugLogsRequest { follow: true, ..Default::default() }).await;
    let (_, ended) = feed.rest().await;
    assert_eq!(Refusal::of(ended.map(Response::new)).reason, Reason::TokenInvalid);
    assert!(SystemClock.now() >= end);
    let tokens = muster.admin().get_admin_tokens().await;
    assert_eq!(tokens.last().unwrap().state(), AdminTokenState::Expired);
    let past = v1::CreateAdminTokenRequest { expire_time: Some(Timestamp::from_micros(1).into()), ..global("past") };
    let refusal = muster.refusal(muster.admin().admin_tokens().create_admin_token(past).await).await;
    assert_eq!(refusal.fields, ["expire_time"]);
}

#[tokio::test]
async fn the_last_global_token_that_may_write_stays() {
    let muster = Muster::start().await;
    let mut tokens = muster.admin().admin_tokens();
    muster.admin_as("reader", AdminRole::Global, &[], true).await;
    muster.admin_as("of-realm", AdminRole::Realm, &["realms/default"], false).await;
    let first = muster.admin().get_admin_tokens().await.remove(0);
    let refusal = muster.refusal(tokens.revoke_admin_token(revoke(&first.name)).await).await;
    assert_eq!(refusal.reason, Reason::LastAdmin);
    let second = muster.admin_as("second", AdminRole::Global, &[], false).await;
    let gone = tokens.revoke_admin_token(revoke(&first.name)).await.unwrap().into_inner();
    assert_eq!(gone.outcome(), Outcome::Removed);
    let again = second.admin_tokens().revoke_admin_token(revoke(&first.name)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DELETED"));
    let refusal = Refusal::of(second.admin_tokens().revoke_admin_token(revoke("adminTokens/1")).await);
    assert_eq!(refusal.reason, Reason::AdminTokenUnknown);
}

#[tokio::test]
async fn a_token_of_a_realm_that_is_not_there_is_refused() {
    let muster = Muster::start().await;
    let request = v1::CreateAdminTokenRequest {
        role: AdminRole::Realm.into(),
        realms: vec!["realms/nowhere".to_owned()],
        ..global("branch")
    };
    let refusal = muster.refusal(muster.admin().admin_tokens().create_admin_token(request).await).await;
    assert_eq!(refusal.reason, Reason::RealmUnknown);
}
