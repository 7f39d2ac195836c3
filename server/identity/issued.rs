//! A certificate with its key.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::relay::RelayName;
use crate::data_dir::write_atomically;

/// A certificate and its key, in PEM form (the key in PKCS #8).
pub struct Issued {
    /// The certificate, for everyone to see.
    pub certificate: String,
    /// The key, for its owner alone.
    pub key: String,
}

impl Issued {
    /// Writes both into a directory, which is made if there is none, as NAME.pem and NAME.key (for this user alone). Former ones are
    /// replaced. Answers where the certificate and the key are.
    pub fn save(&self, directory: &Path, name: &RelayName) -> io::Result<(PathBuf, PathBuf)> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        write_atomically(&key, self.key.as_bytes(), 0o600)?;
        write_atomically(&certificate, self.certificate.as_bytes(), 0o644)?;
        Ok((certificate, key))
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
