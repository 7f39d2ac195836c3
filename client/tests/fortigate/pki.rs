//! Certificate authorities and certificates, good and bad.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use muster_client::certificate::{self, FactoryCa, Identity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use time::{Duration, OffsetDateTime};

use crate::SERIAL;

/// What one server has: the CA of its own certificate and the CA of the devices.
pub(crate) struct Pki {
    pub(crate) server_ca: FactoryCa,
    pub(crate) device_ca: FactoryCa,
}

fn copy(ca: &FactoryCa) -> FactoryCa {
    FactoryCa { certificate: ca.certificate.clone(), key: ca.key.clone() }
}

fn ca(name: &str) -> FactoryCa {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = OffsetDateTime::now_utc() - Duration::days(20 * 365);
    FactoryCa { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("Test")
    }

    /// Authorities of this name; two of the same name are still not the same.
    pub(crate) fn named(name: &str) -> Self {
        Self { server_ca: ca(&format!("{name} CA")), device_ca: ca(&format!("{name} device CA")) }
    }

    /// Writes what `fortigate init` looks for in the data directory of a server.
    pub(crate) fn write(&self, data: &Path) {
        fs::create_dir_all(data).unwrap();
        fs::write(data.join("ca.pem"), &self.server_ca.certificate).unwrap();
        fs::write(data.join("device-ca.pem"), &self.device_ca.certificate).unwrap();
        fs::write(data.join("device-ca.key"), &self.device_ca.key).unwrap();
    }

    pub(crate) fn server_ca_copy(&self) -> FactoryCa {
        copy(&self.server_ca)
    }

    pub(crate) fn device_ca_copy(&self) -> FactoryCa {
        copy(&self.device_ca)
    }

    /// The identity of a box that was made long ago and is over now.
    pub(crate) fn expired_identity(&self) -> Identity {
        let long_ago = OffsetDateTime::now_utc() - Duration::days(6 * 365);
        certificate::issue(&self.device_ca, &SERIAL.parse().unwrap(), long_ago).unwrap()
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        self.config(rustls::ALL_VERSIONS, |_| {})
    }

    /// The TLS of a server whose certificate is changed as it is made.
    pub(crate) fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let ca_key = KeyPair::from_pem(&self.server_ca.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.server_ca.certificate, ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();

        let mut devices = RootCertStore::empty();
        devices.add(CertificateDer::from_pem_slice(self.device_ca.certificate.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(devices), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}
