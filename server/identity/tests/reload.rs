//! New certificates without a restart.

use super::*;
use crate::identity::caller::Caller;
use crate::identity::peer::Peer;
use crate::identity::trust::TrustError;
use muster_proto::Reason;

const LOOKS: Duration = Duration::from_millis(5);

fn watch(trust: &Arc<Trust>) -> JoinHandle<()> {
    tokio::spawn(Arc::clone(trust).watch(LOOKS))
}

async fn accept_device(world: &World, gate: &mut Gate) -> (TlsStream<TcpStream>, Connection) {
    let identity = world.device_ca().issue(&world.leaf(SERIAL, &[]));
    let client = world.connect(gate.address, Some(&identity)).await.unwrap();
    (client, gate.connections.recv().await.unwrap())
}

fn caller(world: &World, peer: &Peer) -> Result<Option<Caller>, Reason> {
    peer.caller(world.clock.now())
}

#[tokio::test]
async fn a_new_server_certificate_serves_new_connections_while_open_ones_go_on() {
    let world = World::new();
    let trust = world.trust();
    let watcher = watch(&trust);
    let mut epochs = trust.epochs();
    let mut gate = Gate::open(Arc::clone(&trust), HandshakeLimits::default()).await;
    let (before, open) = accept_device(&world, &mut gate).await;

    world.clock.advance(DAY * 370);
    world.start();
    epochs.changed().await.unwrap();
    let (after, _) = accept_device(&world, &mut gate).await;
    let certificate = |client: &TlsStream<TcpStream>| client.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_ne!(certificate(&before), certificate(&after));
    assert_eq!(caller(&world, open.peer()), Err(Reason::CertificateExpired));
    watcher.abort();
}

#[tokio::test]
async fn new_device_cas_count_for_calls_on_open_connections_too() {
    let world = World::new();
    let trust = world.trust();
    let watcher = watch(&trust);
    let mut epochs = trust.epochs();
    let mut gate = Gate::open(Arc::clone(&trust), HandshakeLimits::default()).await;
    let (_client, open) = accept_device(&world, &mut gate).await;
    let peer = open.peer().clone();
    assert_eq!(caller(&world, &peer), Ok(Some(Caller::Device(serial()))));
    let long_call = tokio::spawn({
        let peer = peer.clone();
        async move { peer.refused().await }
    });

    let former = world.text(DataFile::DeviceCa);
    world.data.write(DataFile::DeviceCa, &Ca::unknown().certificate).unwrap();
    epochs.changed().await.unwrap();
    assert_eq!(caller(&world, &peer), Err(Reason::CertificateNotTrusted));
    assert_eq!(long_call.await.unwrap(), Reason::CertificateNotTrusted);

    world.data.write(DataFile::DeviceCa, &(Ca::unknown().certificate + &former)).unwrap();
    epochs.changed().await.unwrap();
    assert_eq!(caller(&world, &peer), Ok(Some(Caller::Device(serial()))));
    watcher.abort();
}

/// Time stands still but for the sleeps of this test, and does not pass while the watcher reads.
#[tokio::test(start_paused = true)]
async fn broken_files_change_nothing_are_reported_once_and_count_when_mended() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let warnings = || {
        let log = std::fs::read_to_string(log.path()).unwrap();
        log.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect::<Vec<_>>()
    };

    let world = World::new();
    let trust = world.trust();
    let watcher = watch(&trust);
    let config = Arc::clone(&trust.current().config);
    let former = world.text(DataFile::Server);
    let device_ca = world.text(DataFile::DeviceCa);

    std::fs::remove_file(world.data.path(DataFile::DeviceCa)).unwrap();
    tokio::time::sleep(LOOKS * 10).await;
    world.data.write(DataFile::DeviceCa, &device_ca).unwrap();
    world.data.write(DataFile::ServerKey, &KeyPair::generate().unwrap().serialize_pem()).unwrap();
    tokio::time::sleep(LOOKS * 10).await;
    assert!(Arc::ptr_eq(&trust.current().config, &config));
    let said = warnings();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("device-ca.pem: No such file"), "{}", said[0]);
    assert!(said[1].contains("server.key is not the key of") && said[1].ends_with("server.pem"), "{}", said[1]);

    world.start();
    assert_ne!(world.text(DataFile::Server), former);
    tokio::time::sleep(LOOKS * 10).await;
    assert_eq!(trust.current().epoch, 1);
    assert_eq!(warnings().len(), 2);
    watcher.abort();
}

#[test]
fn each_fault_of_the_files_is_named() {
    let world = World::new();
    let directory = world.data.path(DataFile::Ca).with_file_name("").display().to_string();
    let mut faults = Vec::new();
    for (file, text) in [
        (DataFile::DeviceCa, String::new()),
        (DataFile::Ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
        (DataFile::Server, world.text(DataFile::Server)[..200].to_owned()),
        (DataFile::ServerKey, world.text(DataFile::Server)),
        (DataFile::ServerKey, world.text(DataFile::CaKey)),
    ] {
        let before = world.text(file);
        world.data.write(file, &text).unwrap();
        let error = Trust::load(TrustFiles::of(&world.data), Arc::clone(&world.clock) as _).unwrap_err();
        faults.push(error.to_string().replace(&directory, ""));
        world.data.write(file, &before).unwrap();
    }
    insta::assert_snapshot!(faults.join("\n"), @r"
    device-ca.pem is not a certificate in PEM form
    ca.pem is not a certificate in PEM form
    server.pem is not a certificate in PEM form
    server.key is not a private key in PEM form
    server.key is not the key of server.pem
    ");
}

#[test]
fn an_expired_certificate_does_not_replace_one_that_serves() {
    let world = World::new();
    let trust = world.trust();
    let mut params = world.leaf("localhost", &[]);
    params.not_before -= DAY * 3;
    params.not_after -= DAY * 3;
    let expired = world.operator_ca().issue(&params);
    world.data.write(DataFile::ServerKey, &expired.key).unwrap();
    world.data.write(DataFile::Server, &expired.certificate).unwrap();
    assert!(matches!(trust.reload(), Err(TrustError::NotValidNow { .. })));
    // Where there is nothing better, it is used: another can take its place without a restart.
    Trust::load(TrustFiles::of(&world.data), Arc::clone(&world.clock) as _).unwrap();
}
