//! The users of the service that a box has: administrators, local users, and those of its directories.

use std::fs;

use muster_proto::printable;

use crate::conf::users::{CloudUser, Kind};
use crate::device::Device;
use crate::device_dir::DeviceDir;
use crate::directory;
use crate::shell::session::Users;

/// The users that are meant, and a line for each directory that could not be read.
#[must_use]
pub fn of(dir: &DeviceDir, device: &Device, which: Users) -> (Vec<CloudUser>, Vec<String>) {
    let mut users = if which == Users::Remote { Vec::new() } else { device.conf.cloud_users() };
    let mut unread = Vec::new();
    let directories = if which == Users::Local { Vec::new() } else { device.conf.directories() };
    for directory in directories {
        let path = dir.directory(&directory.server);
        let read = fs::read_to_string(&path).map_err(|error| error.to_string());
        match read.and_then(|text| directory::users(&directory, &text).map_err(|error| error.to_string())) {
            Ok(found) => users.extend(found),
            Err(error) => {
                let name = printable(&directory.name);
                unread.push(format!("{name} ({}): not read: {}: {error}", directory.vdom, path.display()));
            }
        }
    }
    (users, unread)
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
