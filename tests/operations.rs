//! What operators rely on: health, reflection, deadlines, limits, new certificates, and a stop that ends.

use std::time::Duration;

use muster_proto::Reason;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{self, ClosingReason, Outcome, StreamDebugLogsRequest, SyncStatus};
use muster_tests::requests::*;
use muster_tests::{Caller, Database, Muster, Refusal, eventually, within};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

const SERVICES: [&str; 4] = [
    "muster.v1.AuthClientService",
    "muster.v1.DebugLogService",
    "muster.v1.DeviceAdminService",
    "muster.v1.DeviceService",
];

fn of_service(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn health(caller: &Caller, service: &str) -> Result<ServingStatus, Status> {
    let answer = within(caller.health().check(of_service(service))).await?;
    Ok(answer.into_inner().status())
}

#[tokio::test]
async fn health_is_told_to_anybody_for_each_service() {
    let muster = Muster::start().await;
    let nobody = muster.nobody();
    for service in SERVICES.into_iter().chain([""]) {
        assert_eq!(health(&nobody, service).await.unwrap(), ServingStatus::Serving, "{service}");
    }
    assert_eq!(health(&nobody, "muster.v1.Nothing").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn health_follows_the_store() {
    let muster = Muster::start().await;
    let (device, admin) = (muster.device(A), muster.admin());
    device.devices().register(register(A, &[])).await.unwrap();
    let locked = muster.database().lock().await;
    let refusal = muster.refusal(device.devices().register(register(A, &["sales"])).await).await;
    assert_eq!(refusal.reason, Reason::StoreUnavailable);
    for service in SERVICES {
        assert_eq!(health(&admin, service).await.unwrap(), ServingStatus::NotServing, "{service}");
    }
    // Reads go on.
    assert_eq!(names(&admin.get_device(A).await.vdoms), ["root"]);

    Database::unlock(locked).await;
    eventually(async || (health(&admin, "").await.unwrap() == ServingStatus::Serving).then_some(())).await;
    let answer = device.devices().register(register(A, &["sales"])).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root unchanged", "sales created"]);
}

#[tokio::test]
async fn a_sync_that_changes_nothing_does_not_wait_for_the_database() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let digest = device.register(register(A, &["sales"])).await.unwrap().into_inner().digest;
    let locked = muster.database().lock().await;
    // It holds up whoever comes after it in the queue.
    let mut other = muster.device(B).devices();
    let changing = tokio::spawn(async move { other.register(register(B, &[])).await });
    for _ in 0..20 {
        let answer = device.sync(sync(A, &["sales", "root"])).await.unwrap().into_inner();
        assert_eq!((answer.outcome(), items(&answer.vdoms).len()), (Outcome::Unchanged, 2));
        let by_digest = v1::SyncRequest { digest: digest.clone(), full_list: None, ..sync(A, &[]) };
        assert_eq!(device.sync(by_digest).await.unwrap().into_inner().status(), SyncStatus::InSync);
    }
    assert!(!changing.is_finished());
    Database::unlock(locked).await;
    changing.await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_shows_every_service_in_both_versions() {
    let muster = Muster::start().await;
    for version in ["v1", "v1alpha"] {
        let own = format!("grpc.reflection.{version}.ServerReflection");
        // Both versions have the same messages.
        let list = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request: list };
        let answer = muster.nobody().raw(&format!("{own}/ServerReflectionInfo"), request.encode_to_vec()).await;
        let answer = ServerReflectionResponse::decode(answer.unwrap().into_inner()).unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("no list") };
        let shown: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health", &own]) {
            assert!(shown.contains(&service), "{version} does not show {service}: {shown:?}");
        }
    }
}

#[tokio::test]
async fn a_deadline_of_the_caller_is_kept_and_the_feed_says_whether_the_change_was_made() {
    let muster = Muster::start().await;
    let mut patient = muster.patient_device(A).await;
    let locked = muster.database().lock().await;
    let mut request = Request::new(register(A, &[]));
    request.set_timeout(Duration::from_millis(300));
    let began = Instant::now();
    let refusal = Refusal::of(within(patient.register(request)).await);
    assert_eq!(refusal.reason, Reason::DeadlinePassed);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    Database::unlock(locked).await;

    let of_call = v1::DebugFilter { operation_id: refusal.operation, ..Default::default() };
    let request = StreamDebugLogsRequest { include: vec![of_call], earliest: true, follow: true, ..Default::default() };
    let event = muster.admin().watch(request).await.event(|event| event.terminal).await;
    let again = patient.register(register(A, &[])).await.unwrap().into_inner();
    let made = if event.code == "OK" { Outcome::Unchanged } else { Outcome::Created };
    assert_eq!(again.outcome(), made, "{event:?}");
}

#[tokio::test]
async fn a_message_that_does_not_come_in_time_is_refused_with_the_reason() {
    let muster = Muster::start().await;
    for millis in [2, 60] {
        let call = muster.unfinished(A, "/muster.v1.DeviceService/Register", Duration::from_millis(millis));
        assert_eq!(Refusal::read(&within(call).await).reason, Reason::DeadlinePassed);
    }
}

#[tokio::test]
async fn a_caller_above_its_rate_is_told_when_to_come_back_and_harms_nobody_else() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &[])).await.unwrap();
    let mut calls = 0;
    let refusal = within(async {
        loop {
            calls += 1;
            if let Err(status) = device.register(register(A, &[])).await {
                return Refusal::read(&status);
            }
        }
    })
    .await;
    assert_eq!(refusal.reason, Reason::RateLimited);
    assert!(calls >= 200, "{calls}");
    let delay = refusal.retry_after.unwrap();
    assert!(delay <= Duration::from_secs(1), "{delay:?}");
    muster.device(B).devices().register(register(B, &[])).await.unwrap();
    // Whoever comes back when told to is served.
    tokio::time::sleep(delay).await;
    device.register(register(A, &[])).await.unwrap();
}

#[tokio::test]
async fn a_stranger_cannot_try_tokens_without_end() {
    let muster = Muster::start().await;
    let stranger = muster.nobody().with_token("muster_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    let list = v1::ListAuthClientsRequest::default;
    let refusal = within(async {
        loop {
            let refusal = Refusal::of(stranger.auth_clients().list_auth_clients(list()).await);
            if refusal.reason != Reason::TokenInvalid {
                return refusal;
            }
        }
    })
    .await;
    assert_eq!(refusal.reason, Reason::RateLimited);
    muster.admin().auth_clients().list_auth_clients(list()).await.unwrap();
}

#[tokio::test]
async fn calls_in_flight_are_limited_and_those_let_in_end_well_when_the_server_stops() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.devices().register(register(A, &[])).await.unwrap();
    let locked = muster.database().lock().await;
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let mut devices = device.devices();
        calls.spawn(async move { devices.register(register(A, &[&format!("v{number}")])).await });
    }
    // Once another one is too many, all of these are in the hands of the server.
    let refusal = eventually(async || {
        let mut devices = device.devices();
        let call = devices.register(register(A, &["late"]));
        Some(Refusal::of(tokio::time::timeout(Duration::from_millis(50), call).await.ok()?))
    })
    .await;
    assert_eq!(refusal.reason, Reason::ConcurrencyLimited);
    muster.begin_to_stop();
    Database::unlock(locked).await;
    while let Some(answer) = within(calls.join_next()).await {
        assert_eq!(answer.unwrap().unwrap().into_inner().outcome(), Outcome::Updated);
    }
    let muster = muster.restart().await;
    let held = muster.admin().get_device(A).await.vdoms;
    assert!((17..=18).contains(&held.len()), "{held:?}");
}

#[tokio::test]
async fn the_server_stops_in_time_whatever_is_open() {
    let muster = Muster::start_with(|settings| settings.grace = Duration::from_millis(400)).await;
    let admin = muster.admin();
    let mut feed = admin.watch(StreamDebugLogsRequest { follow: true, ..Default::default() }).await;
    let mut unread = admin.watch(StreamDebugLogsRequest { follow: true, ..Default::default() }).await;
    let mut watch = admin.health().watch(of_service("muster.v1.DeviceService")).await.unwrap().into_inner();
    let status = |answer: Result<Option<HealthCheckResponse>, Status>| answer.unwrap().map(|answer| answer.status());
    assert_eq!(status(within(watch.message()).await), Some(ServingStatus::Serving));
    let silent = TcpStream::connect(muster.address()).await.unwrap();
    let silent_behind_tls = (muster.tls(None).await, muster.tls(Some(A)).await);

    let began = Instant::now();
    muster.begin_to_stop();
    assert_eq!(status(within(watch.message()).await), Some(ServingStatus::NotServing));
    let (kinds, end) = feed.rest().await;
    assert!(matches!(kinds.last(), Some(Kind::Closing(closing)) if closing.reason() == ClosingReason::Shutdown));
    assert_eq!(end.unwrap_err().code(), Code::Unavailable);
    muster.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(unread.rest().await.1.unwrap_err().code(), Code::Unavailable);
    drop((silent, silent_behind_tls));
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let muster = Muster::start().await;
    // One box, with one key, before and after.
    let device = muster.device_ca().issue(A, &[], muster_tests::DAY);
    muster.with_certificate(&device).devices().register(register(A, &["sales"])).await.unwrap();
    let (admin, token) = (muster.admin(), muster.admin_token());
    let before = admin.shown(v1::ListAuthClientsRequest::default()).await;
    let client = admin.get_auth_client("FG101FTK19002788-sales").await;

    let muster = muster.restart().await;
    assert_eq!(muster.admin_token(), token);
    assert_eq!(muster.admin().shown(v1::ListAuthClientsRequest::default()).await, before);
    assert_eq!(muster.admin().get_auth_client("FG101FTK19002788-sales").await, client);
    // The CAs are the same too, and ids go on where they were.
    let mut again = muster.with_certificate(&device).devices();
    let answer = again.register(register(A, &["dmz"])).await.unwrap().into_inner();
    assert_eq!(
        (answer.generation, items(&answer.vdoms)),
        (2, vec!["root unchanged".to_owned(), "dmz created".to_owned()])
    );
    assert!(muster.admin().get_auth_client("FG101FTK19002788-dmz").await.id > client.id);
}

#[tokio::test]
async fn a_new_server_certificate_is_used_without_a_restart() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let mut feed = admin.watch(StreamDebugLogsRequest { follow: true, ..Default::default() }).await;
    let new = muster.operator_ca().issue_server();
    let der = CertificateDer::from_pem_slice(new.certificate.as_bytes()).unwrap();
    assert_ne!(muster.shown_certificate().await, der);
    std::fs::write(muster.data_dir().join("server.key"), &new.key).unwrap();
    std::fs::write(muster.data_dir().join("server.pem"), &new.certificate).unwrap();
    eventually(async || (muster.shown_certificate().await == der).then_some(())).await;
    // Connections that were open go on, streams too.
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    feed.event(|event| event.terminal && event.serial_number == A).await;
}

#[tokio::test]
async fn plain_text_is_for_admins_on_this_machine() {
    let muster = Muster::start_with(|settings| settings.insecure_plaintext = true).await;
    muster.admin().auth_clients().list_auth_clients(v1::ListAuthClientsRequest::default()).await.unwrap();
    let refusal = muster.refusal(muster.nobody().devices().register(register(A, &[])).await).await;
    assert_eq!(refusal.reason, Reason::CredentialsMissing);
    assert_eq!(health(&muster.nobody(), "").await.unwrap(), ServingStatus::Serving);
}
