//! The files that the certificates in use are read from, and what can be wrong with them.

use std::path::PathBuf;
use std::{fs, io};

use rustls::Error as TlsError;
use sha2::{Digest as _, Sha256};

use crate::data_dir::{DataDir, DataFile};

/// Where the certificates are.
#[derive(Clone, Debug)]
pub struct TrustFiles {
    /// The certificate of the server, followed by its intermediates if it has any.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
    /// The CAs of devices, one or more.
    pub device_ca: PathBuf,
    /// The CAs of relays, one or more. Whatever else an operator brings, this stays the CA of the data directory: `relay-cert` issues
    /// from it.
    pub operator_ca: PathBuf,
}

impl TrustFiles {
    /// The files of a data directory.
    #[must_use]
    pub fn of(data: &DataDir) -> Self {
        Self {
            certificate: data.path(DataFile::Server),
            key: data.path(DataFile::ServerKey),
            device_ca: data.path(DataFile::DeviceCa),
            operator_ca: data.path(DataFile::Ca),
        }
    }

    pub(super) fn read(&self) -> Result<Contents, TrustError> {
        let read =
            |path: &PathBuf| fs::read(path).map_err(|source| TrustError::Unreadable { path: path.clone(), source });
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            device_ca: read(&self.device_ca)?,
            operator_ca: read(&self.operator_ca)?,
        })
    }
}

/// What was in the files.
pub(super) struct Contents {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) device_ca: Vec<u8>,
    pub(super) operator_ca: Vec<u8>,
}

/// Stands for the contents of all files.
pub(super) type Fingerprint = [u8; 32];

impl Contents {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Sha256::new();
        for content in [&self.certificate, &self.key, &self.device_ca, &self.operator_ca] {
            hasher.update(content.len().to_be_bytes());
            hasher.update(content);
        }
        hasher.finalize().into()
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read.
    #[error("could not read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file has no certificate in it, or a broken one.
    #[error("{} is not a certificate in PEM form", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file has no private key in it, or one of a kind that TLS here does not know.
    #[error("{} is not a private key in PEM form", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key belongs to another certificate.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The key.
        key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// The new certificate is not valid now, so that the former one serves better.
    #[error("the certificate in {} is expired or not yet valid", path.display())]
    NotValidNow {
        /// The file.
        path: PathBuf,
    },
    /// TLS does not take it.
    #[error("could not set up TLS")]
    Tls(#[from] TlsError),
}
