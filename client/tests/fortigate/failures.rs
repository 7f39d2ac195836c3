//! Every way in which the server is not reached is told apart.

use std::fs;

use muster_client::cli::Exit;
use muster_proto::Reason;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::pki::Pki;
use crate::server::Server;
use crate::{Bench, Ran, bench_and_server};

const UNREACHABLE: &str = "Cannot find ftc server!\nCommand fail. Return code -1\n";

fn assert_unreachable(ran: &Ran, exit: Exit) {
    assert_eq!(ran.out, UNREACHABLE, "{}", ran.err);
    assert_eq!(ran.exit, exit, "{}", ran.err);
}

/// Listens, does this with each connection, and closes it.
async fn peer<F: Future<Output = ()> + Send>(act: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            act(stream).await;
        }
    });
    url
}

#[tokio::test]
async fn a_name_without_an_address_is_a_matter_of_dns() {
    let ran = Bench::new(Pki::new()).await.update("https://nowhere.invalid:7443", "").await;
    assert_unreachable(&ran, Exit::Unreachable);
    assert!(ran.err.starts_with("DNS: nowhere.invalid:PORT: the name has no address: "), "{}", ran.err);
    assert!(ran.err.ends_with("fix: check the name of the server (--server), and the name service of this machine\n"));
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_a_matter_of_connecting() {
    let bench = Bench::new(Pki::new()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    drop(listener);
    let ran = bench.update(&url, "").await;
    assert_unreachable(&ran, Exit::Unreachable);
    insta::assert_snapshot!(ran.err, @r"
    connect: 127.0.0.1:PORT: 127.0.0.1:PORT refused the connection
    fix: start muster-server, or check host and port (--server): nothing listens there
    ");
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    let bench = Bench::new(Pki::new()).await;
    let silent = peer(|mut stream| async move { while stream.read_u8().await.is_ok() {} }).await;
    let ran = bench.update(&silent, "--connect-timeout 200ms").await;
    assert_unreachable(&ran, Exit::Unreachable);
    insta::assert_snapshot!(ran.err, @r"
    TLS: 127.0.0.1:PORT: the handshake was not answered in time
    fix: check host and port, and what stands between the box and the server
    ");
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_call_is_given_up() {
    let (bench, server) = bench_and_server().await;
    let ran = bench.update(&server.url(), "--timeout 300ms").await;
    assert_unreachable(&ran, Exit::Unreachable);
    insta::assert_snapshot!(ran.err, @r"
    timeout: 127.0.0.1:PORT: no answer within 300ms
    fix: check that the server is well, or allow more time with --timeout
    ");
    assert_eq!(server.syncs().len(), 1);
}

#[tokio::test]
async fn a_peer_without_tls_is_told_apart() {
    let bench = Bench::new(Pki::new()).await;
    let plain = peer(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        while stream.read_u8().await.is_ok() {}
    });
    let ran = bench.update(&plain.await, "").await;
    assert_unreachable(&ran, Exit::Unreachable);
    assert!(ran.err.starts_with("TLS: 127.0.0.1:PORT: what listens there does not speak TLS\n"), "{}", ran.err);

    let closing = peer(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
    });
    let ran = bench.update(&closing.await, "").await;
    assert_unreachable(&ran, Exit::Unreachable);
    assert!(
        ran.err.starts_with("TLS: 127.0.0.1:PORT: the connection was closed during the handshake\n"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn a_server_from_an_unknown_ca_is_not_trusted_whatever_the_name_of_that_ca() {
    let bench = Bench::new(Pki::named("Test")).await;
    for other in ["Other", "Test"] {
        let server = Server::start(Pki::named(other).server_config()).await;
        let ran = bench.update(&server.url(), "").await;
        assert_unreachable(&ran, Exit::Unreachable);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.err, @r"
            TLS: 127.0.0.1:PORT: the certificate of the server is not from a CA that this box trusts
            fix: name the CA of this server with --ca; a server that was set up anew needs a new box
            ");
        }
        assert!(server.syncs().is_empty());
    }
}

#[tokio::test]
async fn the_ca_can_be_named_for_one_command() {
    let bench = Bench::new(Pki::new()).await;
    let other = Pki { device_ca: bench.pki.device_ca_copy(), ..Pki::named("Other") };
    other.write(&bench.path("other-data"));
    let server = Server::start(other.server_config()).await;
    server.answers(Ok(crate::update::completed(vec![])));
    let ran = bench.update(&server.url(), &format!("--ca {}", bench.path("other-data/ca.pem").display())).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
}

#[tokio::test]
async fn an_expired_certificate_of_the_server_is_told_apart() {
    let bench = Bench::new(Pki::new()).await;
    let yesterday = OffsetDateTime::now_utc() - Duration::days(1);
    let server = Server::start(bench.pki.config(rustls::ALL_VERSIONS, |params| params.not_after = yesterday)).await;
    let ran = bench.update(&server.url(), "").await;
    assert_unreachable(&ran, Exit::Unreachable);
    assert!(
        ran.err.starts_with("TLS: 127.0.0.1:PORT: the certificate of the server is not valid now: "),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn a_server_of_another_name_is_told_apart() {
    let bench = Bench::new(Pki::new()).await;
    let config = bench.pki.config(rustls::ALL_VERSIONS, |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("ftc.example".try_into().unwrap())];
    });
    let server = Server::start(config).await;
    let ran = bench.update(&server.url(), "").await;
    assert_unreachable(&ran, Exit::Unreachable);
    assert!(
        ran.err.starts_with("TLS: 127.0.0.1:PORT: the certificate of the server is not for this name: "),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("ftc.example"), "{}", ran.err);
}

/// The refusal arrives before the end of the handshake in TLS 1.2, and after it in TLS 1.3: then the alert races with the first bytes of
/// HTTP/2, hence the repetitions.
#[tokio::test]
async fn a_server_that_wants_another_device_ca_is_told_apart() {
    let bench = Bench::new(Pki::named("Test")).await;
    for other in ["Other", "Test"] {
        let wanted = Pki { server_ca: bench.pki.server_ca_copy(), ..Pki::named(other) };
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let server = Server::start(wanted.config(&[version], |_| {})).await;
            for _ in 0..10 {
                let ran = bench.update(&server.url(), "").await;
                assert_unreachable(&ran, Exit::Unreachable);
                insta::allow_duplicates! {
                    insta::assert_snapshot!(ran.err, @r"
                    TLS: 127.0.0.1:PORT: the server refused the certificate of this box: it is not from a device CA that the server trusts
                    fix: make the box with the factory CA that the server trusts as its device CA
                    ");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_expired_certificate_of_the_box_is_told_apart() {
    let (bench, server) = bench_and_server().await;
    let expired = bench.pki.expired_identity();
    fs::write(bench.device().join("device.pem"), &expired.certificate).unwrap();
    fs::write(bench.device().join("device.key"), &expired.key).unwrap();
    let expected = "the server refused the certificate of this box: it is not valid now\n";
    for command in ["exec exe forti upd", "debug", "debug --follow"] {
        let ran = bench.run(&format!("--server {} {command}", server.url())).await;
        assert_eq!(ran.exit, Exit::Unreachable, "{command}: {}", ran.err);
        assert!(ran.err.contains(expected), "{command}: {}", ran.err);
    }
}

#[tokio::test]
async fn what_the_server_forbids_is_told_with_reason_and_fix() {
    let (bench, server) = bench_and_server().await;
    let mut details = ErrorDetails::new();
    details.set_error_info(Reason::IdentityMismatch.as_str(), "muster", []);
    details.add_help_link(Reason::IdentityMismatch.fix(), "");
    server.answers(Err(Status::with_error_details(Code::PermissionDenied, "not for \u{1b}[2Jthis device", details)));
    let ran = bench.update(&server.url(), "").await;
    assert_unreachable(&ran, Exit::NotAuthorised);
    insta::assert_snapshot!(ran.err, @r"
    authorisation: 127.0.0.1:PORT: not for \u{1b}[2Jthis device (IDENTITY_MISMATCH)
    fix: name the serial number of the client certificate, or call through a relay that may speak for the device
    ");
}

#[tokio::test]
async fn every_bad_field_of_a_refused_call_is_told() {
    let (bench, server) = bench_and_server().await;
    let mut details = ErrorDetails::new();
    details.set_error_info(Reason::VdomNameMalformed.as_str(), "muster", []);
    details.add_bad_request_violation("full_list.vdoms[1].name", "must have at most 31 characters");
    details.add_bad_request_violation("info.model", "must be printable text, without control characters");
    server.answers(Err(Status::with_error_details(Code::InvalidArgument, "2 fields are malformed", details)));
    let ran = bench.update(&server.url(), "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Failed, "Command fail. Return code -1\n"));
    insta::assert_snapshot!(ran.err, @r"
    InvalidArgument: 127.0.0.1:PORT: 2 fields are malformed (VDOM_NAME_MALFORMED)
      full_list.vdoms[1].name: must have at most 31 characters
      info.model: must be printable text, without control characters
    fix: send each VDOM name as FortiOS has it: 1 to 31 characters of A-Z, a-z, 0-9, '-', '_' and '.'
    ");
}
