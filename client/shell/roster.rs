//! The users of the service that a box has: administrators, local users, and those of its directories.

use std::collections::HashSet;
use std::fs;

use muster_proto::{VdomName, printable, v1};

use crate::conf::users::{CloudUser, Kind};
use crate::device::Device;
use crate::device_dir::DeviceDir;
use crate::directory;

/// The users of a box.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// All of them: administrators, then VDOM by VDOM, then those of directories.
    pub users: Vec<CloudUser>,
    /// The VDOMs of directories that could not be read, with a line that says which and why.
    pub unread: Vec<(VdomName, String)>,
}

impl Roster {
    /// Reads the users of a box.
    #[must_use]
    pub fn new(dir: &DeviceDir, device: &Device) -> Self {
        let mut roster = Self { users: device.conf.cloud_users(), unread: Vec::new() };
        for directory in device.conf.directories() {
            let path = dir.directory(&directory.server);
            let read = fs::read_to_string(&path).map_err(|error| error.to_string());
            match read.and_then(|text| directory::users(&directory, &text).map_err(|error| error.to_string())) {
                Ok(found) => roster.users.extend(found),
                Err(error) => {
                    let name = printable(&directory.name);
                    let line = format!("{name} ({}): not read: {}: {error}", directory.vdom, path.display());
                    roster.unread.push((directory.vdom, line));
                }
            }
        }
        roster
    }

    /// Whether every directory of a VDOM was read.
    #[must_use]
    pub fn is_read(&self, vdom: VdomName) -> bool {
        self.unread.iter().all(|(other, _)| *other != vdom)
    }

    /// The lines of the directories that could not be read.
    pub fn unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(|(_, line)| line.as_str())
    }

    /// The users of a VDOM that are of these kinds, all if there are none, each name once; and what is to be said of those that come twice.
    #[must_use]
    pub fn of(&self, vdom: VdomName, kinds: &[i32]) -> (Vec<CloudUser>, Vec<v1::UserOutcome>) {
        let meant = |user: &&CloudUser| {
            user.vdom == vdom && (kinds.is_empty() || kinds.contains(&crate::users::attributes(user).kind))
        };
        let mut names = HashSet::new();
        let (once, twice): (Vec<_>, Vec<_>) =
            self.users.iter().filter(meant).partition(|user| names.insert(user.username.as_str()));
        let refused = |user: &CloudUser| v1::UserOutcome {
            username: user.username.clone(),
            outcome: v1::Outcome::Refused.into(),
            fix: "this name is on the box twice: rename one of them, or narrow the filter of the directory".to_owned(),
            ..Default::default()
        };
        (once.into_iter().cloned().collect(), twice.into_iter().map(refused).collect())
    }
}

/// A user in a line.
#[must_use]
pub fn line(user: &CloudUser) -> String {
    let kind = match user.kind {
        Kind::Admin => "admin",
        Kind::Local => "local",
        Kind::Remote => "remote",
    };
    let part = |name: &str, value: &str| if value.is_empty() { String::new() } else { format!(", {name} {value}") };
    let line = format!(
        "{} ({}): {kind}{}{}{}",
        user.username,
        user.vdom,
        part("email", &user.email),
        part("phone", &user.mobile),
        if user.enabled { "" } else { ", disabled" }
    );
    printable(&line)
}
