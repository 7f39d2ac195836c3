//! `migrate-ftm`: the local users of a VDOM with a FortiToken Mobile become users of FortiToken Cloud (domain sheet, section 3.2).
//!
//! The real migration moves the tokens of a licence too, in a task that can be followed. Here there are none to move, so that all of it is one
//! change of the configuration, and what it means for the service is sent like any other change of users.

use muster_proto::{VdomName, printable};

use crate::conf::configuration::Place;
use crate::conf::users::first;
use crate::conf::words::Word;
use crate::device::Device;
use crate::shell::answers::Refused;
use crate::shell::effect::Step;
use crate::shell::session::{Question, Session};

const TABLE: &str = "user local";
/// How the serial number of a FortiToken Mobile begins; hardware tokens stay as they are.
const MOBILE: &str = "FTKMOB";

impl Session {
    /// What follows the word `migrate-ftm`, of `execute` and of `diagnose`.
    pub(super) fn migrate(&mut self, read: &[&str], device: &Device) -> Result<Step, Refused> {
        let (verb, rest) = match read {
            ["show" | "start" | "abort" | "add-users" | "delete-users" | "ftm2ftc", rest @ ..] => (read[0], rest),
            rest => ("start", rest),
        };
        let license = rest.first().copied().unwrap_or_default();
        let digits = license.strip_prefix("EFTM").unwrap_or_default();
        if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refused::Value(printable(license)));
        }
        let vdom = rest.get(1).copied().unwrap_or(VdomName::ROOT.as_str());
        let known = vdom.parse().ok().filter(|vdom| device.vdoms().contains(vdom));
        let vdom: VdomName = known.ok_or_else(|| Refused::Datasource(printable(vdom)))?;
        let users = mobile_users(device, vdom);
        match verb {
            "show" => {
                let listed = users.iter().map(|user| format!("{} ({vdom})", printable(user)));
                let lines: Vec<_> =
                    std::iter::once(format!("Users to migrate: {}", users.len())).chain(listed).collect();
                Ok(format!("{}\n", lines.join("\n")).into())
            }
            "start" | "ftm2ftc" if users.is_empty() => Err(Refused::NoMobileUsers(vdom.to_string())),
            "start" | "ftm2ftc" => {
                self.asking = Some(Question::Migrate(vdom));
                let warning = format!(
                    "Warning: {} FortiToken Mobile users of VDOM {vdom} will be migrated to FortiToken Cloud.\n",
                    users.len()
                );
                Ok(warning.into())
            }
            _ => Err(Refused::NotOffered("a migration is done at once, or not at all: there is none under way")),
        }
    }
}

/// Makes the users of a VDOM that have a FortiToken Mobile users of FortiToken Cloud.
pub(super) fn migrate(device: &mut Device, vdom: VdomName) {
    let place = Place::Vdom(vdom.to_string());
    for user in mobile_users(device, vdom) {
        device.conf.edit_row(&place, TABLE, &user, |row| {
            row.set("two-factor", &[Word::bare("fortitoken-cloud")], 2);
            row.unset("fortitoken");
        });
    }
}

fn mobile_users(device: &Device, vdom: VdomName) -> Vec<String> {
    let rows = device.conf.rows(&Place::Vdom(vdom.to_string()), TABLE).into_iter();
    let has_mobile = rows.filter(|row| {
        first(&row.body, "two-factor") == Some("fortitoken")
            && first(&row.body, "fortitoken").is_some_and(|token| token.starts_with(MOBILE))
    });
    has_mobile.map(|row| row.name().to_owned()).collect()
}
