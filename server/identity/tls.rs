//! The certificates in use, as rustls needs them.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::sync::Arc;

use muster_proto::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::names::{self, Names};
use super::trust_files::{Contents, TrustError, TrustFiles};
use crate::clock::Clock;

tokio::task_local! {
    /// What the client certificate claims that the handshake of this task has refused.
    static CLAIMED: Cell<Names>;
}

/// One handshake. With a failure comes what the refused certificate says of itself: nobody has vouched for it.
pub(super) async fn accept(
    config: Arc<ServerConfig>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, (io::Error, Names)> {
    CLAIMED
        .scope(Cell::default(), async {
            TlsAcceptor::from(config).accept(stream).await.map_err(|error| (error, CLAIMED.with(Cell::take)))
        })
        .await
}

pub(super) fn server_config(
    files: &TrustFiles,
    contents: &Contents,
    anchors: &[&RootCertStore],
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TrustError> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| TrustError::NoKey { path: files.key.clone() })?;
    let time = Arc::new(TlsTime(Arc::clone(clock)));
    let mut config = ServerConfig::builder_with_details(provider(), time)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(Doorkeeper(verifier(anchors)?)))
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            TlsError::InconsistentKeys(_) => {
                TrustError::KeyMismatch { key: files.key.clone(), certificate: files.certificate.clone() }
            }
            TlsError::General(_) => TrustError::NoKey { path: files.key.clone() },
            error => error.into(),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the verification of the client certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Verifies client certificates against all of these anchors; callers without one pass too.
pub(super) fn verifier(anchors: &[&RootCertStore]) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
    let mut all = RootCertStore::empty();
    all.extend(anchors.iter().flat_map(|store| store.roots.iter().cloned()));
    WebPkiClientVerifier::builder_with_provider(Arc::new(all), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::General(error.to_string()).into())
}

pub(super) fn anchors(path: &Path, pem: &[u8]) -> Result<RootCertStore, TrustError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        store.add(certificate).map_err(|_| TrustError::NoCertificate { path: path.to_owned() })?;
    }
    Ok(store)
}

/// Whether the certificate of the server is valid at this time.
pub(super) fn is_valid_at(files: &TrustFiles, contents: &Contents, now: Timestamp) -> Result<bool, TrustError> {
    let chain = certificates(&files.certificate, &contents.certificate)?;
    let leaf = chain.first().and_then(|leaf| names::read(leaf).ok());
    let (_, validity) = leaf.ok_or_else(|| TrustError::NoCertificate { path: files.certificate.clone() })?;
    Ok(validity.contains(now))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TrustError::NoCertificate { path: path.to_owned() }),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The server's clock, for rustls.
#[derive(Debug)]
pub(super) struct TlsTime(pub(super) Arc<dyn Clock>);

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.now().since(Timestamp::from_micros(0))))
    }
}

/// Leaves every decision to the verifier of rustls, and notes whom a refused certificate claims to be from: the operator who asks why
/// a device does not come through knows its serial number, not its address.
#[derive(Debug)]
struct Doorkeeper(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Doorkeeper {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.0.verify_client_cert(end_entity, intermediates, now).inspect_err(|_| {
            if let Ok((names, _)) = names::read(end_entity) {
                // Outside of `accept` there is nobody to tell.
                _ = CLAIMED.try_with(|claimed| claimed.set(names));
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
