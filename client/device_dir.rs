//! The directory that holds a box: `box.toml` with what the factory gave it, `box.conf` with its configuration, its certificate and key, and
//! the CA that it trusts.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::certificate::Identity;
use crate::conf::configuration::{Configuration, ConfigurationError};
use crate::device::{Device, FieldError, VdomError};
use crate::ha::{self, Unit};
use crate::memory::Memory;
use crate::tls::Credentials;

const BOX: &str = "box.toml";
const CONF: &str = "box.conf";
/// What the box remembers of the service.
const MEMORY: &str = "service.toml";
/// Held by whoever keeps the channel of the box.
const CHANNEL: &str = "channel.lock";
/// Where the files are that stand in for LDAP servers.
const DIRECTORIES: &str = "ldap";
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
    /// `box.conf` is not what it should be.
    #[error("{} is damaged", .0.display())]
    DamagedConf(PathBuf, #[source] ConfigurationError),
    /// `service.toml` is not what it should be.
    #[error("{} is damaged: remove it, and the box remembers nothing of the service", .0.display())]
    DamagedMemory(PathBuf, #[source] toml::de::Error),
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
        match [BOX, CONF, MEMORY, KEY, CERTIFICATE, CA].iter().map(|name| self.0.join(name)).find(|path| path.exists())
        {
            Some(taken) => Err(DirError::Taken(taken)),
            None => Ok(()),
        }
    }

    /// Puts a new box into the directory; never over another.
    pub fn create(&self, device: &Device, identity: &Identity, ca: &str) -> Result<(), DirError> {
        self.check_free()?;
        let (text, conf) = (device.to_toml()?, device.conf.to_string());
        fs::create_dir_all(&self.0).map_err(|error| DirError::Write(self.0.clone(), error))?;
        // box.toml comes last: without it there is no box.
        let files = [
            (KEY, 0o600, identity.key.as_str()),
            (CERTIFICATE, 0o644, identity.certificate.as_str()),
            (CA, 0o644, ca),
            (CONF, 0o600, conf.as_str()),
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

    /// The box, with what it says of its HA cluster.
    pub fn load(&self) -> Result<Device, DirError> {
        let mut device = self.load_alone()?;
        let own = self.unit(&device)?;
        let others = if own.group.is_some() { self.neighbours() } else { Vec::new() };
        device.ha = ha::report(&own, &others);
        Ok(device)
    }

    /// The box as its heartbeat interfaces show it to others.
    fn unit(&self, device: &Device) -> Result<Unit, DirError> {
        Ok(Unit { serial: device.serial, group: device.conf.ha_group(), memory: self.memory()? })
    }

    /// The boxes in the directories beside this one. What cannot be read is no box, or one that is down.
    fn neighbours(&self) -> Vec<Unit> {
        let beside = fs::canonicalize(&self.0).ok().and_then(|path| fs::read_dir(path.parent()?).ok());
        let dirs = beside.into_iter().flatten().filter_map(|entry| Some(Self(entry.ok()?.path())));
        let boxes = dirs.filter(|dir| dir.0.join(BOX).is_file());
        boxes.filter_map(|dir| dir.unit(&dir.load_alone().ok()?).ok()).collect()
    }

    /// What the box remembers of the service.
    pub fn memory(&self) -> Result<Memory, DirError> {
        let path = self.0.join(MEMORY);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| DirError::DamagedMemory(path, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
            Err(error) => Err(DirError::Read(path, error)),
        }
    }

    /// Changes what the box remembers of the service. Two processes take turns.
    pub fn remember(&self, change: impl FnOnce(&mut Memory)) -> Result<(), DirError> {
        let _turn = self.turn()?;
        let before = self.memory()?;
        let mut memory = before.clone();
        change(&mut memory);
        if memory == before { Ok(()) } else { self.replace(MEMORY, 0o644, &toml::to_string(&memory)?) }
    }

    /// The box. Its configuration is made from `box.toml` if the first version made the box.
    fn load_alone(&self) -> Result<Device, DirError> {
        let path = self.0.join(BOX);
        let text = fs::read_to_string(&path).map_err(|error| self.unreadable(path.clone(), error))?;
        let mut device = Device::from_toml(&text).map_err(|error| DirError::Damaged(path, error))?;
        let path = self.0.join(CONF);
        match fs::read_to_string(&path) {
            Ok(text) => {
                device.conf = Configuration::parse(&text).map_err(|error| DirError::DamagedConf(path, error))?;
                Ok(device)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(device),
            Err(error) => Err(DirError::Read(path, error)),
        }
    }

    fn unreadable(&self, path: PathBuf, error: io::Error) -> DirError {
        match error.kind() {
            io::ErrorKind::NotFound => DirError::Missing(self.0.clone()),
            _ => DirError::Read(path, error),
        }
    }

    /// Changes the box, or leaves it as it is if the change fails. Two processes take turns, and each sees what the other left. Only what
    /// changed is written, the configuration in one step.
    pub fn edit<T, E: From<DirError>>(&self, change: impl FnOnce(&mut Device) -> Result<T, E>) -> Result<T, E> {
        let _turn = self.turn()?;
        let before = self.load()?;
        let mut device = before.clone();
        let done = change(&mut device)?;
        if device.conf != before.conf {
            self.replace(CONF, 0o600, &device.conf.to_string())?;
        }
        let text = device.to_toml().map_err(DirError::from)?;
        if text != before.to_toml().map_err(DirError::from)? {
            self.replace(BOX, 0o644, &text)?;
        }
        Ok(done)
    }

    /// The right to keep the channel of the box, until it is dropped; `None` if another process has it.
    pub fn hold_channel(&self) -> Result<Option<File>, DirError> {
        let path = self.0.join(CHANNEL);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| DirError::Write(path.clone(), error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(DirError::Write(path, error)),
        }
    }

    /// The turn of this process, until it is dropped.
    fn turn(&self) -> Result<File, DirError> {
        let turn = File::open(&self.0).map_err(|error| self.unreadable(self.0.clone(), error))?;
        turn.lock().map_err(|error| DirError::Write(self.0.clone(), error))?;
        Ok(turn)
    }

    /// The file that stands in for an LDAP server.
    #[must_use]
    pub fn directory(&self, server: &str) -> PathBuf {
        // A server is named in a configuration that may come from anywhere: only a plain name is a file.
        let name: String = server.chars().map(|character| if character == '/' { '_' } else { character }).collect();
        self.0.join(DIRECTORIES).join(format!("{name}.ldif"))
    }

    /// Replaces a file as a whole: a reader, or a crash, sees the old text or the new one.
    fn replace(&self, name: &str, mode: u32, text: &str) -> Result<(), DirError> {
        let path = self.0.join(name);
        let written = || {
            let mut file =
                tempfile::Builder::new().permissions(PermissionsExt::from_mode(mode)).tempfile_in(&self.0)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            // The new name of the file is on disk when the directory is.
            File::open(&self.0)?.sync_all()
        };
        written().map_err(|error| DirError::Write(path.clone(), error))
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
