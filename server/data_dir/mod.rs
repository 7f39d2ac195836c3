//! The data directory: everything that the server keeps, in one place, held by one process.

mod file;
mod lock;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub use file::write_atomically;
pub use lock::Holder;

/// What the server keeps in its data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFile {
    /// The certificate of the operator CA, which clients of the server trust.
    Ca,
    /// The key of the operator CA. It may be taken off line once the server has its certificate.
    CaKey,
    /// The certificate of the server.
    Server,
    /// The key of the server.
    ServerKey,
    /// The certificate of the factory CA of stand-in devices.
    DeviceCa,
    /// The key of the factory CA of stand-in devices.
    DeviceCaKey,
    /// The first admin token, for the operator to read; the server itself needs only its hash.
    AdminToken,
    /// The SQLite database.
    Database,
}

impl DataFile {
    /// The name of the file in the directory.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca.pem",
            Self::CaKey => "ca.key",
            Self::Server => "server.pem",
            Self::ServerKey => "server.key",
            Self::DeviceCa => "device-ca.pem",
            Self::DeviceCaKey => "device-ca.key",
            Self::AdminToken => "admin-token",
            Self::Database => "muster.db",
        }
    }

    /// The permissions it is created with: certificates are for everyone to read, the rest for the server alone.
    const fn mode(self) -> u32 {
        match self {
            Self::Ca | Self::Server | Self::DeviceCa => 0o644,
            Self::CaKey | Self::ServerKey | Self::DeviceCaKey | Self::AdminToken | Self::Database => 0o600,
        }
    }
}

/// A data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held for as long as this process may write.
    _lock: Option<File>,
}

/// Why there is no data directory to work with.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process works with it.
    #[error("the data directory {} is in use by {holder}", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// Something else has that name.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What was to be the directory.
        path: PathBuf,
    },
    /// It is on a file system that cannot be written.
    #[error("the data directory {} is on a read-only file system", path.display())]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// The user of this process may not write there.
    #[error("this user may not write to the data directory {}", path.display())]
    NotAllowed {
        /// The directory.
        path: PathBuf,
    },
    /// Anything else that went wrong.
    #[error("could not open the data directory {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory if there is none (for this user alone, 0700), and holds it until the value is dropped.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let given = path;
        let refused = |error| refusal(given, error);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refused)?;
        // A relative path would mean something else after a change of the working directory.
        let path = fs::canonicalize(path).map_err(refused)?;
        let lock = lock::take(&path)?;
        file::remove_unfinished(&path).map_err(refused)?;
        if fs::metadata(&path).map_err(refused)?.permissions().mode() & 0o022 != 0 {
            tracing::warn!(path = %path.display(), "others may write to the data directory, and so replace its keys");
        }
        Ok(Self { path, _lock: Some(lock) })
    }

    /// The directory of a server that may be running, only to be read.
    #[must_use]
    pub fn of_running_server(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    /// Where a file of the directory is.
    #[must_use]
    pub fn path(&self, file: DataFile) -> PathBuf {
        self.path.join(file.name())
    }

    /// What a file has in it; `None` if there is no such file.
    pub fn read(&self, file: DataFile) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a file, empty and with its permissions, if there is none; for those that write it in their own way.
    pub fn touch(&self, file: DataFile) -> io::Result<PathBuf> {
        let path = self.path(file);
        OpenOptions::new().append(true).create(true).mode(file.mode()).open(&path)?;
        Ok(path)
    }

    /// Writes a file: after a crash it has either all of the text, on the disk, or what it had before.
    pub fn write(&self, file: DataFile, text: &str) -> io::Result<()> {
        write_atomically(&self.path(file), text.as_bytes(), file.mode())
    }
}

fn refusal(path: &Path, error: io::Error) -> DataDirError {
    let path = path.to_owned();
    match error.kind() {
        // `mkdir` says "exists" of a file that is in the way of the directory itself, and "not a directory" of one further up.
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => DataDirError::NotADirectory { path },
        ErrorKind::ReadOnlyFilesystem => DataDirError::ReadOnly { path },
        ErrorKind::PermissionDenied => DataDirError::NotAllowed { path },
        _ => DataDirError::Io { path, source: error },
    }
}

#[cfg(test)]
mod tests;
