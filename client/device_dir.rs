//! The directory that holds a box: `box.toml`, its certificate and key, and the CA that it trusts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::certificate::Identity;
use crate::device::{Device, FieldError, VdomError};
use crate::tls::Credentials;

const BOX: &str = "box.toml";
const KEY: &str = "device.key";
const CERTIFICATE: &str = "device.pem";
/// A copy, so that the box keeps what it trusts when the file it came from moves.
const CA: &str = "ca.pem";

/// The directory of a box.
#[derive(Clone, Debug)]
pub struct DeviceDir(PathBuf);

/// A box that cannot be read, made or changed.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// There is no box.
    #[error("there is no box in {}: make one with \"fortigate --device {} init\"", .0.display(), .0.display())]
    Missing(PathBuf),
    /// There is a box, or a part of one, and it is not overwritten.
    #[error("{} exists already: choose another --device, or remove it", .0.display())]
    Taken(PathBuf),
    /// A file cannot be read.
    #[error("could not read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file cannot be written.
    #[error("could not write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// `box.toml` is not what it should be.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf, #[source] FieldError),
    /// The box cannot be written as TOML.
    #[error("the box cannot be written as TOML")]
    Encode(#[from] toml::ser::Error),
    /// The rules do not allow the change.
    #[error(transparent)]
    Vdom(#[from] VdomError),
}

impl DeviceDir {
    /// The directory at this path, which need not exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Says so if there is a box already, or a part of one.
    pub fn check_free(&self) -> Result<(), DirError> {
        match [BOX, KEY, CERTIFICATE, CA].iter().map(|name| self.0.join(name)).find(|path| path.exists()) {
            Some(taken) => Err(DirError::Taken(taken)),
            None => Ok(()),
        }
    }

    /// Puts a new box into the directory; never over another.
    pub fn create(&self, device: &Device, identity: &Identity, ca: &str) -> Result<(), DirError> {
        self.check_free()?;
        let text = device.to_toml()?;
        fs::create_dir_all(&self.0).map_err(|error| DirError::Write(self.0.clone(), error))?;
        // box.toml comes last: without it there is no box.
        let files = [
            (KEY, 0o600, identity.key.as_str()),
            (CERTIFICATE, 0o644, identity.certificate.as_str()),
            (CA, 0o644, ca),
            (BOX, 0o644, text.as_str()),
        ];
        let mut written = Vec::new();
        for (name, mode, text) in files {
            let path = self.0.join(name);
            if let Err(error) = write_new(&path, mode, text) {
                // What was begun is taken back, so that the next try is not refused because of it.
                for path in written {
                    let _ = fs::remove_file(path);
                }
                return Err(match error.kind() {
                    io::ErrorKind::AlreadyExists => DirError::Taken(path),
                    _ => DirError::Write(path, error),
                });
            }
            written.push(path);
        }
        Ok(())
    }

    /// The box.
    pub fn load(&self) -> Result<Device, DirError> {
        let path = self.0.join(BOX);
        let text = fs::read_to_string(&path).map_err(|error| self.unreadable(path.clone(), error))?;
        Device::from_toml(&text).map_err(|error| DirError::Damaged(path, error))
    }

    fn unreadable(&self, path: PathBuf, error: io::Error) -> DirError {
        match error.kind() {
            io::ErrorKind::NotFound => DirError::Missing(self.0.clone()),
            _ => DirError::Read(path, error),
        }
    }

    /// Changes the box, or leaves it as it is if the change fails. Two processes take turns.
    pub fn edit(&self, change: impl FnOnce(&mut Device) -> Result<(), VdomError>) -> Result<(), DirError> {
        let path = self.0.join(BOX);
        let turn = File::open(&self.0).map_err(|error| self.unreadable(self.0.clone(), error))?;
        turn.lock().map_err(|error| DirError::Write(path.clone(), error))?;
        let mut device = self.load()?;
        change(&mut device)?;
        let text = device.to_toml()?;
        replace(&self.0, &path, &text).map_err(|error| DirError::Write(path, error))
    }

    /// What the box proves itself with, and whom it trusts: `ca`, or its own copy.
    pub fn credentials(&self, ca: Option<&Path>) -> Result<Credentials, DirError> {
        let read = |path: PathBuf| fs::read(&path).map_err(|error| DirError::Read(path, error));
        Ok(Credentials {
            ca: read(ca.map_or_else(|| self.0.join(CA), Path::to_owned))?,
            certificate: read(self.0.join(CERTIFICATE))?,
            key: read(self.0.join(KEY))?,
        })
    }
}

fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

/// Replaces a file as a whole: a reader, or a crash, sees the old text or the new one.
fn replace(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o644)).tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
