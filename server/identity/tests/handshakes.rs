//! Who is let in, as whom, and who is not.

use super::*;
use crate::identity::caller::Caller;
use crate::identity::handshake::HandshakeCause;
use crate::identity::relay::Relay;
use muster_proto::Reason;
use rustls::HandshakeKind;

/// Connects with this certificate; what the server makes of it.
async fn caller(world: &World, identity: Option<&Issued>) -> Result<Option<Caller>, Reason> {
    let mut gate = Gate::open(world.trust(), HandshakeLimits::default()).await;
    let _client = world.connect(gate.address, identity).await.unwrap();
    gate.connections.recv().await.unwrap().peer().caller(world.clock.now())
}

/// Connects with a certificate that the handshake refuses; what the server says of it.
async fn refusal(world: &World, identity: &Issued) -> HandshakeFailure {
    let mut gate = Gate::open(world.trust(), HandshakeLimits::default()).await;
    world.connect(gate.address, Some(identity)).await.unwrap_err();
    gate.failures.recv().await.unwrap()
}

#[tokio::test]
async fn a_device_is_known_by_its_common_name_or_its_uri() {
    let world = World::new();
    let uri = format!("urn:muster:device:{SERIAL}");
    for params in
        [world.leaf(SERIAL, &[]), world.leaf("", &[&uri]), world.leaf(SERIAL, &[&uri]), world.leaf("box", &[&uri])]
    {
        let identity = world.device_ca().issue(&params);
        assert_eq!(caller(&world, Some(&identity)).await, Ok(Some(Caller::Device(serial()))));
    }
}

#[tokio::test]
async fn a_device_certificate_without_one_serial_number_names_nobody() {
    let world = World::new();
    for params in [
        world.leaf("", &["https://muster.example/"]),
        world.leaf("fg101ftk19002788", &[]),
        world.leaf("FG101FTK1900278", &[]),
        world.leaf(SERIAL, &["urn:muster:device:FG101FTK19002789"]),
    ] {
        let identity = world.device_ca().issue(&params);
        assert_eq!(caller(&world, Some(&identity)).await, Err(Reason::CertificateWithoutIdentity));
    }
}

#[tokio::test]
async fn a_device_that_sends_its_intermediates_is_known_too() {
    let world = World::new();
    let mut params = world.leaf("factory 7", &[]);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages.clear();
    let root = Ca::unknown();
    let intermediate = root.issue(&params);
    let factory = Ca { key: KeyPair::from_pem(&intermediate.key).unwrap(), certificate: intermediate.certificate };
    let mut identity = factory.issue(&world.leaf(SERIAL, &[]));
    identity.certificate += &factory.certificate;
    world.data.write(DataFile::DeviceCa, &root.certificate).unwrap();
    assert_eq!(caller(&world, Some(&identity)).await, Ok(Some(Caller::Device(serial()))));
}

#[tokio::test]
async fn every_connection_is_verified_in_full_whatever_its_version() {
    let world = World::new();
    let mut gate = Gate::open(world.trust(), HandshakeLimits::default()).await;
    let identity = world.device_ca().issue(&world.leaf(SERIAL, &[]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // One configuration for both connections: the client would resume its session if it could.
        let client = world.client(Some(&identity), &[version]);
        for _ in 0..2 {
            let stream = connect(gate.address, Arc::clone(&client)).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
            let connection = gate.connections.recv().await.unwrap();
            assert_eq!(connection.peer().caller(world.clock.now()), Ok(Some(Caller::Device(serial()))));
        }
    }
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_let_in_as_nobody() {
    assert_eq!(caller(&World::new(), None).await, Ok(None));
}

#[tokio::test]
async fn a_relay_speaks_for_the_prefixes_of_its_certificate() {
    let world = World::new();
    let authority = Authority::load(&world.data).unwrap();
    for prefixes in [vec![], vec!["FG101F".parse().unwrap(), "FGVM".parse().unwrap()]] {
        let relay = Relay { name: "fmg-1".parse().unwrap(), prefixes };
        let identity = authority.issue_relay(&relay, world.clock.now()).unwrap();
        assert_eq!(caller(&world, Some(&identity)).await, Ok(Some(Caller::Relay(Arc::new(relay)))));
    }
}

#[tokio::test]
async fn the_device_ca_makes_no_relay() {
    let world = World::new();
    let identity = world.device_ca().issue(&world.leaf("", &["urn:muster:relay:fmg-1"]));
    assert_eq!(caller(&world, Some(&identity)).await, Err(Reason::CertificateWithoutIdentity));
    let identity = world.device_ca().issue(&world.leaf(SERIAL, &["urn:muster:relay:fmg-1"]));
    assert_eq!(caller(&world, Some(&identity)).await, Ok(Some(Caller::Device(serial()))));

    // Not even where an operator uses one CA for both.
    let identity = world.operator_ca().issue(&world.leaf("", &["urn:muster:relay:fmg-1"]));
    world.data.write(DataFile::DeviceCa, &world.text(DataFile::Ca)).unwrap();
    assert_eq!(caller(&world, Some(&identity)).await, Err(Reason::CertificateWithoutIdentity));
}

#[tokio::test]
async fn the_operator_ca_makes_no_device_and_no_relay_by_way_of_another_ca() {
    let world = World::new();
    let identity = world.operator_ca().issue(&world.leaf(SERIAL, &[]));
    assert_eq!(caller(&world, Some(&identity)).await, Err(Reason::CertificateWithoutIdentity));

    let root = Ca::unknown();
    let mut params = world.leaf("below", &[]);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages.clear();
    let below = root.issue(&params);
    let below = Ca { key: KeyPair::from_pem(&below.key).unwrap(), certificate: below.certificate };
    let mut identity = below.issue(&world.leaf("", &["urn:muster:relay:fmg-1"]));
    identity.certificate += &below.certificate;
    let mut files = TrustFiles::of(&world.data);
    files.operator_ca = files.operator_ca.with_file_name("relays.pem");
    std::fs::write(&files.operator_ca, &root.certificate).unwrap();
    let trust = Trust::load(files, Arc::clone(&world.clock) as _).unwrap();
    let mut gate = Gate::open(trust, HandshakeLimits::default()).await;
    let _client = world.connect(gate.address, Some(&identity)).await.unwrap();
    let connection = gate.connections.recv().await.unwrap();
    assert_eq!(connection.peer().caller(world.clock.now()), Err(Reason::CertificateNotTrusted));
}

#[tokio::test]
async fn a_certificate_from_an_unknown_ca_is_refused_and_its_claim_is_told() {
    let world = World::new();
    let failure = refusal(&world, &Ca::unknown().issue(&world.leaf(SERIAL, &[]))).await;
    assert_eq!(failure.cause, HandshakeCause::CertificateNotTrusted);
    assert_eq!(failure.cause.reason(), Some(Reason::CertificateNotTrusted));
    assert_eq!(failure.claimed.device, Some(serial()));
    assert!(failure.remote.ip().is_loopback());
}

#[tokio::test]
async fn a_certificate_by_the_name_of_our_ca_is_refused() {
    let world = World::new();
    let impostor = Ca { certificate: world.text(DataFile::DeviceCa), key: KeyPair::generate().unwrap() };
    let failure = refusal(&world, &impostor.issue(&world.leaf(SERIAL, &[]))).await;
    assert_eq!(failure.cause, HandshakeCause::CertificateNotTrusted);
}

#[tokio::test]
async fn an_expired_certificate_and_one_of_tomorrow_are_refused() {
    let world = World::new();
    let mut params = world.leaf(SERIAL, &[]);
    let today = params.not_before;
    for (from, to) in [(today - DAY * 2, today - DAY), (today + DAY, today + DAY * 2)] {
        (params.not_before, params.not_after) = (from, to);
        let failure = refusal(&world, &world.device_ca().issue(&params)).await;
        assert_eq!(failure.cause, HandshakeCause::CertificateExpired);
        assert_eq!(failure.claimed.device, Some(serial()));
    }
}

#[tokio::test]
async fn a_certificate_of_a_server_does_not_make_a_client() {
    let world = World::new();
    let identity = Issued { certificate: world.text(DataFile::Server), key: world.text(DataFile::ServerKey) };
    assert_eq!(refusal(&world, &identity).await.cause, HandshakeCause::CertificateUnusable);
}

#[tokio::test]
async fn a_certificate_that_expires_ends_the_calls_of_an_open_connection() {
    let world = World::new();
    let mut gate = Gate::open(world.trust(), HandshakeLimits::default()).await;
    let identity = world.device_ca().issue(&world.leaf(SERIAL, &[]));
    let _client = world.connect(gate.address, Some(&identity)).await.unwrap();
    let connection = gate.connections.recv().await.unwrap();
    world.clock.advance(DAY);
    assert_eq!(connection.peer().caller(world.clock.now()), Ok(Some(Caller::Device(serial()))));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(connection.peer().caller(world.clock.now()), Err(Reason::CertificateExpired));
    assert_eq!(connection.peer().refused().await, Reason::CertificateExpired);
    world.clock.0.store(0, Ordering::SeqCst);
    assert_eq!(connection.peer().caller(world.clock.now()), Err(Reason::CertificateExpired));
}

#[tokio::test]
async fn peers_that_do_not_finish_the_handshake_are_told_apart() {
    let world = World::new();
    let mut gate = Gate::open(world.trust(), HandshakeLimits::default()).await;

    let mut plain = TcpStream::connect(gate.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert_eq!(gate.failures.recv().await.unwrap().cause, HandshakeCause::NotTls);

    drop(TcpStream::connect(gate.address).await.unwrap());
    assert_eq!(gate.failures.recv().await.unwrap().cause, HandshakeCause::Left);

    let stranger = World::new();
    stranger.connect(gate.address, None).await.unwrap_err();
    assert_eq!(gate.failures.recv().await.unwrap().cause, HandshakeCause::ServerNotTrusted);
}
