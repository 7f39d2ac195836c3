//! Who calls, and what each kind of caller may do.

use std::collections::BTreeSet;

use muster_proto::Reason;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{self, ClosingReason, DebugFilter, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{Ca, Caller, DAY, Follower, Issued, Muster, Refusal};
use tonic::Response;
use tonic_types::StatusExt as _;

const RELAY_URI: &str = "urn:muster:relay:fmg-1";

async fn refused(muster: &Muster, caller: &Caller, reason: Reason) {
    let refusal = muster.refusal(caller.devices().register(register(A, &[])).await).await;
    assert_eq!(refusal.reason, reason);
    assert!(refusal.fields.is_empty());
}

/// A connection with this certificate is not accepted, and the feed says why.
async fn not_accepted(muster: &Muster, certificate: &Issued, reason: Reason) {
    let mut feed = muster.admin().watch(StreamDebugLogsRequest { follow: true, ..Default::default() }).await;
    let call = muster.with_certificate(certificate).devices().register(register(A, &[])).await;
    assert!(call.is_err_and(|status| status.get_details_error_info().is_none()));
    let event = feed.event(|event| event.step == "handshake").await;
    assert_eq!(
        (event.reason.as_str(), event.code.as_str(), event.terminal),
        (reason.as_str(), "UNAUTHENTICATED", true)
    );
    assert!(event.message.contains(A) && event.message.ends_with(reason.fix()), "{}", event.message);
}

#[tokio::test]
async fn a_device_that_names_another_serial_number_is_refused() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    muster.device(B).devices().register(register(B, &["sales"])).await.unwrap();
    for refusal in [
        muster.refusal(device.register(register(B, &["dmz"])).await).await,
        muster.refusal(device.sync(sync(B, &["root"])).await).await,
        muster.refusal(device.delete(delete_whole(B)).await).await,
    ] {
        assert_eq!(refusal.reason, Reason::IdentityMismatch);
        assert!(refusal.message.contains("device:FG101FTK19002788 may not speak for FG101FTK19002789"));
    }
    assert_eq!(names(&muster.admin().get_device(B).await.vdoms), ["root", "sales"]);
}

#[tokio::test]
async fn a_device_is_known_by_its_common_name_or_by_a_uri() {
    let muster = Muster::start().await;
    let ca = muster.device_ca();
    let uri = |serial: &str| format!("urn:muster:device:{serial}");
    // Three boxes, because each certificate has a key of its own.
    for (serial, certificate) in
        [(A, ca.issue(A, &[], DAY)), (B, ca.issue("a box", &[&uri(B)], DAY)), (VM, ca.issue(VM, &[&uri(VM)], DAY))]
    {
        let mut device = muster.with_certificate(&certificate).devices();
        device.register(register(serial, &[])).await.unwrap();
    }
    let other = format!("urn:muster:device:{B}");
    for certificate in [
        ca.issue("a box", &[], DAY),
        ca.issue(&A.to_ascii_lowercase(), &[], DAY),
        // Two names are no name.
        ca.issue(A, &[&other], DAY),
    ] {
        refused(&muster, &muster.with_certificate(&certificate), Reason::CertificateWithoutIdentity).await;
    }
}

#[tokio::test]
async fn a_certificate_of_a_ca_that_is_not_trusted_is_not_accepted_and_the_feed_says_so() {
    let muster = Muster::start().await;
    not_accepted(&muster, &Ca::unknown().issue(A, &[], DAY), Reason::CertificateNotTrusted).await;
    // A server of somebody else has a device CA of the same name.
    let other = Muster::start().await;
    not_accepted(&muster, &other.device_ca().issue(A, &[], DAY), Reason::CertificateNotTrusted).await;
}

#[tokio::test]
async fn a_certificate_outside_of_its_time_is_not_accepted_and_the_feed_says_so() {
    let muster = Muster::start().await;
    for valid in [-7_200..-3_600, 3_600..7_200] {
        not_accepted(&muster, &muster.device_ca().issue(A, &[], valid), Reason::CertificateExpired).await;
    }
}

#[tokio::test]
async fn a_relay_speaks_for_the_devices_of_its_prefixes_and_both_names_are_audited() {
    let muster = Muster::start().await;
    let relay = muster.relay("east", &["FG101F", "FGVM"]);
    for serial in [A, VM] {
        relay.devices().sync(sync(serial, &["root"])).await.unwrap();
    }
    let outside = muster.refusal(relay.devices().sync(sync(&fleet(1), &["root"])).await).await;
    assert_eq!(outside.reason, Reason::IdentityMismatch);
    assert!(outside.message.contains("relay:east may not speak for FG200FT900000001"), "{}", outside.message);

    muster.relay("west", &[]).devices().sync(sync(&fleet(1), &["root"])).await.unwrap();
    let audit = muster.database().audit().await;
    let names: Vec<_> = audit.iter().map(|row| (row.caller.as_str(), row.serial.as_str())).collect();
    assert_eq!(names, [("relay:east", A), ("relay:east", VM), ("relay:west", "FG200FT900000001")]);
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = muster.admin().watch(everything).await.events().await;
    assert!(events.iter().any(|event| event.caller == "relay:east" && event.serial_number == VM));
}

#[tokio::test]
async fn a_relay_watches_the_devices_that_it_may_speak_for() {
    let muster = Muster::start().await;
    for serial in [A, VM] {
        muster.device(serial).devices().register(register(serial, &[])).await.unwrap();
    }
    let seen = async |relay: &Caller| {
        let request = StreamDebugLogsRequest { earliest: true, ..Default::default() };
        let (events, _) = relay.watch(request).await.events().await;
        events.into_iter().map(|event| event.serial_number).collect::<BTreeSet<_>>()
    };
    assert_eq!(seen(&muster.relay("east", &["FG101F"])).await, [A.to_owned()].into());
    assert_eq!(seen(&muster.relay("north", &[])).await, [A.to_owned(), VM.to_owned()].into());
    let asked = StreamDebugLogsRequest {
        include: vec![DebugFilter { serial_number: VM.to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let call = muster.relay("east", &["FG101F"]).debug_logs().stream_debug_logs(asked).await;
    assert_eq!(muster.refusal(call).await.reason, Reason::IdentityMismatch);
}

#[tokio::test]
async fn only_the_operator_makes_relays() {
    let muster = Muster::start().await;
    // The device CA may be a manufacturer's: nothing that it issues speaks for others.
    let factory = muster.device_ca().issue(A, &[RELAY_URI], DAY);
    let device = muster.with_certificate(&factory);
    device.devices().register(register(A, &[])).await.unwrap();
    let refusal = muster.refusal(device.devices().register(register(B, &[])).await).await;
    assert_eq!(refusal.reason, Reason::IdentityMismatch);
    let factory = muster.device_ca().issue("a proxy", &[RELAY_URI], DAY);
    refused(&muster, &muster.with_certificate(&factory), Reason::CertificateWithoutIdentity).await;
    // And the operator's CA makes relays, not devices.
    let operator = muster.operator_ca().issue(A, &[], DAY);
    refused(&muster, &muster.with_certificate(&operator), Reason::CertificateWithoutIdentity).await;
    let unlimited = ["urn:muster:relay:x", "urn:muster:relay-prefix:*"];
    let limit_unread = muster.operator_ca().issue("relay x", &unlimited, DAY);
    refused(&muster, &muster.with_certificate(&limit_unread), Reason::CertificateWithoutIdentity).await;
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_told_from_a_role_that_does_not_fit() {
    let muster = Muster::start().await;
    let list = async |caller: &Caller| {
        let call = caller.auth_clients().list_auth_clients(v1::ListAuthClientsRequest::default()).await;
        muster.refusal(call).await.reason
    };
    let nobody = muster.nobody();
    assert_eq!(list(&nobody).await, Reason::CredentialsMissing);
    let token = muster.admin_token();
    let mut wrong = token.clone();
    wrong.replace_range(8..9, if wrong.as_bytes()[8] == b'a' { "b" } else { "a" });
    for text in [
        format!("Bearer {wrong}"),
        format!("Bearer {}", token.to_ascii_uppercase()),
        token.clone(),
        "Bearer".to_owned(),
        "Bearer ' OR 1=1 --".to_owned(),
    ] {
        assert_eq!(list(&nobody.with_authorization(&text)).await, Reason::TokenInvalid, "{text}");
    }
    let basic = format!("Basic {token}");
    assert_eq!(list(&nobody.with_authorization(&basic)).await, Reason::SecretInvalid);
    assert_eq!(list(&muster.device(A)).await, Reason::RoleNotAllowed);
    // Whoever sends a token does so on purpose: it counts more than a certificate.
    assert_eq!(list(&muster.device(A).with_token(&wrong)).await, Reason::TokenInvalid);
    let both = muster.device(A).with_token(&token);
    both.auth_clients().list_auth_clients(v1::ListAuthClientsRequest::default()).await.unwrap();
    let refusal = muster.refusal(both.devices().register(register(A, &[])).await).await;
    assert_eq!(refusal.reason, Reason::RoleNotAllowed);
}

#[tokio::test]
async fn a_revoked_token_is_refused_after_the_restart() {
    let muster = Muster::start().await;
    let before = muster.admin_token();
    let stopped = muster.stop().await;
    stopped.rotate_admin_token().await;
    let muster = stopped.start().await;
    let after = muster.admin_token();
    assert_ne!(before, after);
    let request = v1::ListAuthClientsRequest::default;
    muster.admin().auth_clients().list_auth_clients(request()).await.unwrap();
    let revoked = muster.nobody().with_token(&before);
    let refusal = muster.refusal(revoked.auth_clients().list_auth_clients(request()).await).await;
    assert_eq!(refusal.reason, Reason::TokenInvalid);

    let muster = muster.restart().await;
    assert_eq!(muster.admin_token(), after);
    muster.admin().auth_clients().list_auth_clients(request()).await.unwrap();
    let database = std::fs::read(muster.data_dir().join("muster.db")).unwrap();
    assert!(!database.windows(after.len()).any(|bytes| bytes == after.as_bytes()), "only the hash is kept");
}

/// The end of a stream whose viewer lost its rights.
async fn authorisation_ended(mut feed: Follower) -> Refusal {
    let (kinds, end) = feed.rest().await;
    let Some(Kind::Closing(closing)) = kinds.last() else { panic!("no closing: {kinds:?}") };
    assert_eq!(closing.reason(), ClosingReason::AuthorisationEnded);
    Refusal::of(end.map(Response::new))
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_of_its_viewer() {
    let muster = Muster::start().await;
    let device = muster.with_certificate(&muster.device_ca().issue(A, &[], -3_600..2));
    let feed = device.watch(StreamDebugLogsRequest { follow: true, ..Default::default() }).await;
    assert_eq!(authorisation_ended(feed).await.reason, Reason::CertificateExpired);
    refused(&muster, &device, Reason::CertificateExpired).await;
}

#[tokio::test]
async fn a_device_ca_that_is_taken_away_ends_streams_and_refuses_calls_on_open_connections() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.devices().register(register(A, &[])).await.unwrap();
    let feed = device.watch(StreamDebugLogsRequest { follow: true, ..Default::default() }).await;
    std::fs::write(muster.data_dir().join("device-ca.pem"), Ca::unknown().certificate()).unwrap();
    assert_eq!(authorisation_ended(feed).await.reason, Reason::CertificateNotTrusted);
    refused(&muster, &device, Reason::CertificateNotTrusted).await;
}
