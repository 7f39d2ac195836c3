//! The CA that is built in: what the first start makes, what later starts keep in repair, and the certificates of relays.
//!
//! Keys are written before the certificates that belong to them: whatever a killed start leaves, the next one completes.

use std::io;
use std::path::PathBuf;

use muster_proto::Timestamp;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::issue;
use super::issued::Issued;
use super::relay::Relay;
use super::server_certificate::{self, Finding};
use crate::data_dir::{DataDir, DataFile};

/// What could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file of the data directory could not be read or written.
    #[error("could not read or write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file has something else in it than its name says.
    #[error("{} is not a certificate or key in PEM form", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A key belongs to another certificate.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// There is nothing to issue a certificate with.
    #[error("{} is missing, so no certificate can be issued", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A certificate could not be made.
    #[error("could not make a certificate")]
    Issue(#[from] rcgen::Error),
}

/// A certificate of a CA, and its key unless the operator has taken that off line.
#[derive(Debug)]
struct Pair {
    certificate: CertificateDer<'static>,
    key: Option<KeyPair>,
}

/// The operator CA of a data directory.
#[derive(Debug)]
pub struct Authority<'a> {
    data: &'a DataDir,
    operator: Pair,
}

impl<'a> Authority<'a> {
    /// The operator CA, made if there is none.
    pub fn ensure(data: &'a DataDir, now: Timestamp) -> Result<Self, AuthorityError> {
        let operator = ensure_ca(data, DataFile::Ca, DataFile::CaKey, issue::OPERATOR_CA, now)?;
        Ok(Self { data, operator })
    }

    /// The operator CA of a data directory that a server has used before.
    pub fn load(data: &'a DataDir) -> Result<Self, AuthorityError> {
        let operator = load_ca(data, DataFile::Ca, DataFile::CaKey)?;
        let operator = operator.ok_or_else(|| AuthorityError::Missing { path: data.path(DataFile::Ca) })?;
        Ok(Self { data, operator })
    }

    /// Makes the factory CA of stand-in devices if there is no device CA. One that the operator put there may have its key elsewhere.
    pub fn ensure_device_ca(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if self.read(DataFile::DeviceCa)?.is_none() {
            ensure_ca(self.data, DataFile::DeviceCa, DataFile::DeviceCaKey, issue::DEVICE_CA, now)?;
        }
        Ok(())
    }

    /// Makes the certificate of the server for these host names and addresses, beside "localhost" and its addresses. One of ours that
    /// would not do (less than 30 days left, another CA or key, a name missing) is made anew; one that the operator put there is left
    /// alone.
    pub fn ensure_server_certificate(&self, names: &[String], now: Timestamp) -> Result<(), AuthorityError> {
        let names = issue::server_names(names);
        let found = self.read(DataFile::Server)?;
        let finding = match &found {
            None => Finding::Replace("there is none"),
            Some(pem) => {
                let der = certificate(pem).ok_or_else(|| self.malformed(DataFile::Server))?;
                let public_key = || self.server_key().map(|key| key.map(|key| key.subject_public_key_info()));
                server_certificate::inspect(&der, &self.operator.certificate, public_key, &names, now)?
                    .ok_or_else(|| self.malformed(DataFile::Server))?
            }
        };
        match finding {
            Finding::Keep => Ok(()),
            Finding::Replace(why) if found.is_some() && self.operator.key.is_none() => {
                tracing::warn!(
                    why,
                    "the server certificate should be replaced, but the key of the operator CA is not here"
                );
                Ok(())
            }
            Finding::Replace(why) => {
                self.issue_server_certificate(&names, now)?;
                tracing::info!(why, "issued a server certificate");
                Ok(())
            }
        }
    }

    /// Issues a certificate for a relay, valid for 397 days.
    pub fn issue_relay(&self, relay: &Relay, now: Timestamp) -> Result<Issued, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = self.issue(&issue::relay(relay, now)?, &key)?;
        Ok(Issued { certificate, key: key.serialize_pem() })
    }

    fn issue_server_certificate(&self, names: &[String], now: Timestamp) -> Result<(), AuthorityError> {
        let key = match self.server_key()? {
            Some(key) => key,
            None => new_key(self.data, DataFile::ServerKey)?,
        };
        let certificate = self.issue(&issue::server(names, now)?, &key)?;
        write(self.data, DataFile::Server, &certificate)
    }

    fn issue(&self, params: &CertificateParams, key: &KeyPair) -> Result<String, AuthorityError> {
        let signing = self
            .operator
            .key
            .as_ref()
            .ok_or_else(|| AuthorityError::Missing { path: self.data.path(DataFile::CaKey) })?;
        let issuer = Issuer::from_ca_cert_der(&self.operator.certificate, signing)?;
        Ok(params.signed_by(key, &issuer)?.pem())
    }

    fn server_key(&self) -> Result<Option<KeyPair>, AuthorityError> {
        read_key(self.data, DataFile::ServerKey)
    }

    fn read(&self, file: DataFile) -> Result<Option<String>, AuthorityError> {
        read(self.data, file)
    }

    fn malformed(&self, file: DataFile) -> AuthorityError {
        AuthorityError::Malformed { path: self.data.path(file) }
    }
}

fn ensure_ca(
    data: &DataDir,
    file: DataFile,
    key_file: DataFile,
    name: &str,
    now: Timestamp,
) -> Result<Pair, AuthorityError> {
    if let Some(pair) = load_ca(data, file, key_file)? {
        return Ok(pair);
    }
    let key = match read_key(data, key_file)? {
        Some(key) => key,
        None => new_key(data, key_file)?,
    };
    let certificate = issue::ca(name, &key, now)?.self_signed(&key)?;
    write(data, file, &certificate.pem())?;
    tracing::info!(path = %data.path(file).display(), "made a CA");
    Ok(Pair { certificate: certificate.der().clone(), key: Some(key) })
}

fn load_ca(data: &DataDir, file: DataFile, key_file: DataFile) -> Result<Option<Pair>, AuthorityError> {
    let Some(pem) = read(data, file)? else { return Ok(None) };
    let malformed = || AuthorityError::Malformed { path: data.path(file) };
    let certificate = certificate(&pem).ok_or_else(malformed)?;
    let public_key = server_certificate::public_key(&certificate).ok_or_else(malformed)?;
    let key = read_key(data, key_file)?;
    match &key {
        Some(key) if key.subject_public_key_info() != public_key => {
            Err(AuthorityError::KeyMismatch { key: data.path(key_file), certificate: data.path(file) })
        }
        _ => Ok(Some(Pair { certificate, key })),
    }
}

fn certificate(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn new_key(data: &DataDir, file: DataFile) -> Result<KeyPair, AuthorityError> {
    let key = KeyPair::generate()?;
    write(data, file, &key.serialize_pem())?;
    Ok(key)
}

fn read_key(data: &DataDir, file: DataFile) -> Result<Option<KeyPair>, AuthorityError> {
    let malformed = |_| AuthorityError::Malformed { path: data.path(file) };
    read(data, file)?.map(|pem| KeyPair::from_pem(&pem).map_err(malformed)).transpose()
}

fn read(data: &DataDir, file: DataFile) -> Result<Option<String>, AuthorityError> {
    data.read(file).map_err(|source| AuthorityError::File { path: data.path(file), source })
}

fn write(data: &DataDir, file: DataFile, text: &str) -> Result<(), AuthorityError> {
    data.write(file, text).map_err(|source| AuthorityError::File { path: data.path(file), source })
}
