//! Real handshakes over loopback sockets, with certificates of every kind.

mod accepting;
mod first_start;
mod handshakes;
mod names;
mod reload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use muster_proto::{SerialNumber, Timestamp};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ca::Authority;
use super::connection::Connection;
use super::handshake::HandshakeFailure;
use super::incoming::{HandshakeLimits, Incoming};
use super::issued::Issued;
use super::tls::TlsTime;
use super::trust::{Trust, TrustFiles};
use crate::clock::Clock;
use crate::data_dir::{DataDir, DataFile};

const SERIAL: &str = "FG101FTK19002788";
const DAY: Duration = Duration::from_hours(24);

fn serial() -> SerialNumber {
    SERIAL.parse().unwrap()
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
struct StandingClock(AtomicI64);

impl StandingClock {
    fn advance(&self, time: Duration) {
        let now = self.now().plus(time);
        self.0.store(now.micros(), Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A data directory after the first start, and the clock of the server and of its clients.
struct World {
    data: DataDir,
    clock: Arc<StandingClock>,
    _temp: TempDir,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::open(temp.path()).unwrap();
        let clock = Arc::new(StandingClock(AtomicI64::new(1_780_000_000_000_000)));
        let world = Self { data, clock, _temp: temp };
        world.start();
        world
    }

    /// What every start of the server does.
    fn start(&self) {
        let authority = Authority::ensure(&self.data, self.clock.now()).unwrap();
        authority.ensure_device_ca(self.clock.now()).unwrap();
        authority.ensure_server_certificate(&["muster.example".to_owned()], self.clock.now()).unwrap();
    }

    fn text(&self, file: DataFile) -> String {
        self.data.read(file).unwrap().unwrap()
    }

    fn trust(&self) -> Arc<Trust> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Trust::load(TrustFiles::of(&self.data), clock).unwrap()
    }

    fn device_ca(&self) -> Ca {
        self.ca(DataFile::DeviceCa, DataFile::DeviceCaKey)
    }

    fn operator_ca(&self) -> Ca {
        self.ca(DataFile::Ca, DataFile::CaKey)
    }

    fn ca(&self, certificate: DataFile, key: DataFile) -> Ca {
        Ca { certificate: self.text(certificate), key: KeyPair::from_pem(&self.text(key)).unwrap() }
    }

    /// What a certificate that is valid from now on for a day looks like.
    fn leaf(&self, common_name: &str, uris: &[&str]) -> CertificateParams {
        let now = OffsetDateTime::from_unix_timestamp(self.clock.now().micros() / 1_000_000).unwrap();
        let mut params = CertificateParams::default();
        params.not_before = now;
        params.not_after = now + DAY;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params
    }

    /// What a client trusts and shows.
    fn client(&self, identity: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.text(DataFile::Ca).as_bytes()).unwrap()).unwrap();
        let time = Arc::new(TlsTime(Arc::clone(&self.clock) as _));
        let builder = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), time)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let chain =
                    CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    async fn connect(&self, address: SocketAddr, identity: Option<&Issued>) -> std::io::Result<TlsStream<TcpStream>> {
        connect(address, self.client(identity, rustls::ALL_VERSIONS)).await
    }
}

/// Connects and waits for the first word of the server: only then does a TLS 1.3 client know that it is accepted.
async fn connect(address: SocketAddr, client: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(client).connect(name, stream).await?;
    stream.read_u8().await?;
    Ok(stream)
}

/// A CA that tests issue certificates from.
struct Ca {
    certificate: String,
    key: KeyPair,
}

impl Ca {
    /// A CA that nobody knows.
    fn unknown() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "unknown CA");
        Self { certificate: params.self_signed(&key).unwrap().pem(), key }
    }

    fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &self.key).unwrap();
        Issued { certificate: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A listener whose connections and failures are handed to the test.
struct Gate {
    address: SocketAddr,
    connections: UnboundedReceiver<Connection>,
    failures: UnboundedReceiver<HandshakeFailure>,
    driver: JoinHandle<()>,
}

impl Gate {
    async fn open(trust: Arc<Trust>, limits: HandshakeLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (failed, failures) = unbounded_channel();
        let mut incoming = Incoming::tls(listener, trust, limits, move |failure| _ = failed.send(failure));
        let (accepted, connections) = unbounded_channel();
        let driver = tokio::spawn(async move {
            while let Some(connection) = incoming.next().await {
                let mut connection = connection.unwrap();
                // The word that clients wait for.
                connection.write_u8(b'!').await.unwrap();
                connection.flush().await.unwrap();
                _ = accepted.send(connection);
            }
        });
        Self { address, connections, failures, driver }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
