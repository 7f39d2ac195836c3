//! Who on a box uses the service: its users and administrators with `set two-factor fortitoken-cloud`.

use muster_proto::VdomName;

use crate::conf::configuration::{Configuration, Place};
use crate::conf::tree::{Block, Body};

/// What kind of user it is, in the words of `execute fortitoken-cloud new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An administrator of the box.
    Admin,
    /// A user that the box itself has.
    Local,
    /// A user of a directory.
    Remote,
}

/// A user of the service, as the box knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudUser {
    /// The VDOM, or the pseudo-VDOM of administrators.
    pub vdom: VdomName,
    /// The name.
    pub username: String,
    /// Where from.
    pub kind: Kind,
    /// The e-mail address; empty if there is none.
    pub email: String,
    /// The mobile number; empty if there is none.
    pub mobile: String,
    /// `set two-factor-authentication`: `fortitoken`, `email` or `sms`; empty if the service decides.
    pub method: String,
    /// `set two-factor-notification`: `email` or `sms`; empty if the service decides.
    pub notification: String,
    /// Whether the box lets the user in at all.
    pub enabled: bool,
}

impl CloudUser {
    /// What names the user on this box: letter case counts here.
    #[must_use]
    pub fn key(&self) -> (VdomName, &str) {
        (self.vdom, &self.username)
    }

    fn of(vdom: VdomName, kind: Kind, row: &Block) -> Option<Self> {
        let value = |name| first(&row.body, name).unwrap_or_default().to_owned();
        (first(&row.body, "two-factor") == Some("fortitoken-cloud")).then(|| Self {
            vdom,
            username: row.name().to_owned(),
            kind,
            email: value("email-to"),
            mobile: value("sms-phone"),
            method: value("two-factor-authentication"),
            notification: value("two-factor-notification"),
            enabled: first(&row.body, "status") != Some("disable"),
        })
    }
}

/// The first value of a setting.
#[must_use]
pub fn first<'a>(body: &'a Body, name: &str) -> Option<&'a str> {
    body.get(name).and_then(|values| values.first()).map(String::as_str)
}

/// A row of `config user ldap` whose users use the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The VDOM.
    pub vdom: VdomName,
    /// The name of the row.
    pub name: String,
    /// `set server`.
    pub server: String,
    /// `set cnid`: the attribute that has the username.
    pub cnid: String,
    /// `set dn`: where the users are.
    pub dn: String,
    /// `set two-factor-filter`: which of them; all if it is empty.
    pub filter: String,
}

impl Configuration {
    /// The administrators and local users of the service: administrators first, then VDOM by VDOM.
    #[must_use]
    pub fn cloud_users(&self) -> Vec<CloudUser> {
        let admins = self.rows(&Place::Global, "system admin");
        let admins = admins.into_iter().filter_map(|row| CloudUser::of(VdomName::ADMINISTRATORS, Kind::Admin, row));
        let locals = self.vdoms().into_iter().flat_map(|vdom| {
            let rows = self.rows(&Place::Vdom(vdom.to_string()), "user local");
            rows.into_iter().filter_map(move |row| CloudUser::of(vdom, Kind::Local, row))
        });
        admins.chain(locals).collect()
    }

    /// The directories whose users use the service.
    #[must_use]
    pub fn directories(&self) -> Vec<Directory> {
        let of_vdom = |vdom: VdomName| {
            let rows = self.rows(&Place::Vdom(vdom.to_string()), "user ldap").into_iter();
            rows.filter(|row| first(&row.body, "two-factor") == Some("fortitoken-cloud")).map(move |row| {
                let value = |name, default: &str| first(&row.body, name).unwrap_or(default).to_owned();
                Directory {
                    vdom,
                    name: row.name().to_owned(),
                    server: value("server", ""),
                    cnid: value("cnid", "cn"),
                    dn: value("dn", ""),
                    filter: value("two-factor-filter", ""),
                }
            })
        };
        self.vdoms().into_iter().flat_map(of_vdom).collect()
    }

    /// Whether the service is switched on: `config system global`, `set fortitoken-cloud`.
    #[must_use]
    pub fn uses_cloud(&self) -> bool {
        self.global("fortitoken-cloud") != Some("disable")
    }
}
