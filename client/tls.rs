//! TLS as a device speaks it, and what can be wrong with it.

use std::sync::Arc;
use std::{fmt, io};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

/// What a device proves itself with, and whom it trusts; all PEM.
pub struct Credentials {
    /// The CA of the server, or several.
    pub ca: Vec<u8>,
    /// The certificate of the device, and those between it and its CA if there are any.
    pub certificate: Vec<u8>,
    /// The private key of the device.
    pub key: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The CA file has no certificate, or one that cannot be read.
    #[error("the CA of the server is not a certificate in PEM")]
    Ca,
    /// The certificate of the device cannot be read.
    #[error("the certificate of the device is not a certificate in PEM")]
    Certificate,
    /// The private key of the device cannot be read.
    #[error("the key of the device is not a private key in PEM")]
    Key,
    /// Certificate and key cannot be used together.
    #[error("the certificate and the key of the device cannot be used")]
    Pair(#[source] rustls::Error),
}

impl Credentials {
    /// The TLS of a device with these credentials: mutual, and HTTP/2 inside.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, CredentialsError> {
        let trust = Trust::new(&self.ca)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(CredentialsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| CredentialsError::Key)?;
        Ok(Arc::new(trust.client_config(Some((chain, key)))?))
    }
}

/// Whom a client trusts; shared by every connection of a process.
#[derive(Clone, Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// Trusts the CA, or the several, of this PEM.
    pub fn new(ca: &[u8]) -> Result<Self, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(ca) {
            ca.ok().and_then(|ca| roots.add(ca).ok()).ok_or(CredentialsError::Ca)?;
        }
        if roots.is_empty() {
            return Err(CredentialsError::Ca);
        }
        Ok(Self { provider: Arc::new(rustls::crypto::ring::default_provider()), roots: Arc::new(roots) })
    }

    /// The TLS of a client that shows this certificate, or none.
    pub fn client_config(
        &self,
        identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<ClientConfig, CredentialsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(CredentialsError::Pair)?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(CredentialsError::Pair)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// What is wrong between the two ends of a TLS connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// The certificate of the server is not from a CA that the device trusts.
    #[error("the certificate of the server is not from a CA that this box trusts")]
    ServerUnknownCa,
    /// The certificate of the server is no longer, or not yet, valid.
    #[error("the certificate of the server is not valid now: {0}")]
    ServerExpired(String),
    /// The certificate of the server is for another name.
    #[error("the certificate of the server is not for this name: {0}")]
    ServerName(String),
    /// The certificate of the server is wrong in another way.
    #[error("the certificate of the server is not acceptable: {0}")]
    ServerCertificate(String),
    /// The server does not trust the CA of the device certificate.
    #[error("the server refused the certificate of this box: it is not from a device CA that the server trusts")]
    DeviceUnknownCa,
    /// The certificate of the device is no longer, or not yet, valid.
    #[error("the server refused the certificate of this box: it is not valid now")]
    DeviceExpired,
    /// The server does not want the certificate of the device for another reason.
    #[error("the server refused the certificate of this box: {0}")]
    DeviceCertificate(String),
    /// The other end does not speak TLS.
    #[error("what listens there does not speak TLS")]
    NotTls,
    /// The other end speaks TLS, and not with HTTP/2 inside.
    #[error("what listens there does not speak HTTP/2")]
    NotHttp2,
    /// The other end closed the connection.
    #[error("the connection was closed during the handshake")]
    Closed,
    /// The other end says nothing.
    #[error("the handshake was not answered in time")]
    TimedOut,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl TlsProblem {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::ServerUnknownCa => {
                "name the CA of this server with --ca; a server that was set up anew needs a new box"
            }
            Self::ServerExpired(_) => "renew the certificate of the server, and check the clocks of both sides",
            Self::ServerName(_) => "use a name or address that the certificate of the server has",
            Self::ServerCertificate(_) => "replace the certificate of the server",
            Self::DeviceUnknownCa => "make the box with the factory CA that the server trusts as its device CA",
            Self::DeviceExpired => "give the box a new certificate, and check the clocks of both sides",
            Self::DeviceCertificate(_) => {
                "give the box a certificate for client authentication from the device CA of the server"
            }
            Self::NotTls | Self::NotHttp2 => "check host and port: they belong to something else than muster-server",
            Self::Closed | Self::TimedOut => "check host and port, and what stands between the box and the server",
            Self::Other(_) => "check that both sides speak TLS 1.2 or 1.3",
        }
    }

    /// Whether trying again later may help without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Closed | Self::TimedOut)
    }
}

impl From<&rustls::Error> for TlsProblem {
    fn from(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(certificate) => Self::of_server_certificate(certificate),
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert),
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::NoApplicationProtocol => Self::NotHttp2,
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<&io::Error> for TlsProblem {
    fn from(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => error.into(),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Self::Closed
                }
                io::ErrorKind::TimedOut => Self::TimedOut,
                _ => Self::Other(error.to_string()),
            },
        }
    }
}

impl TlsProblem {
    fn of_server_certificate(error: &CertificateError) -> Self {
        match error {
            // A bad signature is what another CA of the same name looks like.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::ServerUnknownCa,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::ServerExpired(error.to_string()),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::ServerName(error.to_string())
            }
            error => Self::ServerCertificate(error.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            // DecryptError: the signature of the certificate is not that of the CA, which has the same name.
            AlertDescription::UnknownCA | AlertDescription::DecryptError => Self::DeviceUnknownCa,
            AlertDescription::CertificateExpired => Self::DeviceExpired,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired => Self::DeviceCertificate(format!("alert {alert:?}")),
            AlertDescription::NoApplicationProtocol => Self::NotHttp2,
            alert => Self::Other(format!("the server ended the connection: alert {alert:?}")),
        }
    }
}
