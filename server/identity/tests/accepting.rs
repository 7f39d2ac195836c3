//! What a listener goes through, and what tonic makes of its connections.

use std::env;
use std::io::{self, Write};
use std::process::Command;

use tokio::sync::mpsc::UnboundedSender;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::identity::handshake::HandshakeCause;
use crate::identity::peer::Peer;

#[tokio::test]
async fn silent_peers_hold_up_nobody_and_lose_their_places() {
    let world = World::new();
    let limits = HandshakeLimits {
        timeout: Duration::from_hours(1),
        timeout_when_crowded: Duration::from_millis(200),
        places: 8,
    };
    let mut gate = Gate::open(world.trust(), limits).await;
    // With places to spare a slow peer may take its time, and others come in beside it.
    let patient = TcpStream::connect(gate.address).await.unwrap();
    let _client = world.connect(gate.address, None).await.unwrap();
    let first = gate.connections.recv().await.unwrap();
    assert_eq!(first.peer().caller(world.clock.now()), Ok(None));
    assert!(gate.failures.is_empty());

    // Many more silent peers than places: each place is free again soon, so that an honest peer comes through.
    let mut silent = vec![patient];
    for _ in 0..20 {
        silent.push(TcpStream::connect(gate.address).await.unwrap());
    }
    let _client = world.connect(gate.address, None).await.unwrap();
    gate.connections.recv().await.unwrap();
    assert_eq!(gate.failures.recv().await.unwrap().cause, HandshakeCause::TimedOut);
}

#[tokio::test]
async fn a_silent_peer_is_dropped_after_the_timeout() {
    let world = World::new();
    let limits = HandshakeLimits { timeout: Duration::from_millis(50), ..HandshakeLimits::default() };
    let mut gate = Gate::open(world.trust(), limits).await;
    let mut silent = TcpStream::connect(gate.address).await.unwrap();
    assert_eq!(gate.failures.recv().await.unwrap().cause, HandshakeCause::TimedOut);
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_peer_that_is_silent_after_the_handshake_is_dropped_after_the_timeout_too() {
    let world = World::new();
    let limits = HandshakeLimits { timeout: Duration::from_millis(200), ..HandshakeLimits::default() };
    let mut gate = Gate::open(world.trust(), limits).await;
    let mut clients = Vec::new();
    for said in [0, 23] {
        let mut client = world.connect(gate.address, None).await.unwrap();
        client.write_all(&vec![b'x'; said]).await.unwrap();
        client.flush().await.unwrap();
        let mut connection = gate.connections.recv().await.unwrap();
        let error = connection.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        clients.push(client);
    }
    // Whoever has begun may be silent for longer: here, until it goes.
    let mut client = world.connect(gate.address, None).await.unwrap();
    client.write_all(&[b'x'; 24]).await.unwrap();
    client.flush().await.unwrap();
    let mut connection = gate.connections.recv().await.unwrap();
    connection.read_exact(&mut [0; 24]).await.unwrap();
    let longer = tokio::time::timeout(limits.timeout * 2, connection.read_u8()).await;
    assert!(longer.is_err(), "{longer:?}");
}

#[tokio::test]
async fn without_tls_a_peer_is_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut incoming = Incoming::plain(listener);
    let mut client = TcpStream::connect(incoming.local_addr().unwrap()).await.unwrap();
    let mut connection = incoming.next().await.unwrap().unwrap();
    assert_eq!(connection.peer().remote_addr(), client.local_addr().unwrap());
    assert_eq!(connection.peer().caller(Timestamp::from_micros(0)), Ok(None));
    client.write_all(b"ping").await.unwrap();
    let mut word = [0; 4];
    connection.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
}

#[tokio::test]
async fn a_call_finds_its_peer_among_the_extensions_of_the_request() {
    let incoming = Incoming::plain(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let (found, mut peers) = unbounded_channel();
    let (_, health) = tonic_health::server::health_reporter();
    let service = InterceptedService::new(health, move |request: tonic::Request<()>| {
        _ = found.send(request.extensions().get::<Peer>().cloned());
        Ok(request)
    });
    let server = tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);
    client.check(HealthCheckRequest::default()).await.unwrap();
    let peer = peers.recv().await.unwrap().unwrap();
    assert!(peer.remote_addr().ip().is_loopback());
    assert_eq!(peer.caller(Timestamp::from_micros(0)), Ok(None));
    server.abort();
}

/// Hands the lines of the log to the test.
struct Log(UnboundedSender<String>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The part of the next test that runs in a process of its own, which may open few files.
#[tokio::test]
async fn with_few_file_descriptors() {
    if env::var_os("MUSTER_TEST_FEW_FILES").is_none() {
        return;
    }
    let (log, mut said) = unbounded_channel();
    let subscriber = tracing_subscriber::fmt().with_writer(move || Log(log.clone())).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let mut incoming = Incoming::plain(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = incoming.local_addr().unwrap();
    let mut clients = Vec::new();
    while let Ok(client) = TcpStream::connect(address).await {
        clients.push(client);
    }
    let (first, rest) = (clients.remove(0), clients);
    let driver = tokio::spawn(async move { incoming.next().await.unwrap().unwrap() });
    let said = said.recv().await.unwrap();
    assert!(said.contains("could not accept a connection"), "{said}");
    drop(rest);
    let connection = driver.await.unwrap();
    assert_eq!(connection.peer().remote_addr(), first.local_addr().unwrap());
    println!("accepted after all");
}

#[test]
fn a_lack_of_file_descriptors_is_waited_out() {
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 40 && exec \"$0\" identity::tests::accepting::with_few_file_descriptors --exact --nocapture",
        ])
        .arg(env::current_exe().unwrap())
        .env("MUSTER_TEST_FEW_FILES", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("accepted after all"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
