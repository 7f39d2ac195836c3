//! The lock on a data directory.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{DataDirError, refusal};

/// Who holds a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process id that stands in the lock file; `None` in the moment before it is written.
    pub pid: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// Takes the lock and writes down who has it. The system gives it back when the process ends, however it ends.
pub(super) fn take(directory: &Path) -> Result<File, DataDirError> {
    let refused = |error| refusal(directory, error);
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = Holder { pid: read_pid(&mut file) };
            return Err(DataDirError::Held { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(refused(error)),
    }
    write_pid(&mut file).map_err(refused)?;
    Ok(file)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The text is as long as any other process id, so that a reader never sees the rest of a longer one.
fn write_pid(file: &mut File) -> io::Result<()> {
    writeln!(file, "{:<10}", std::process::id())
}
