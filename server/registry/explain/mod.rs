//! Explaining: how something stands, and which rule decides on its next report.
//!
//! The rules themselves are asked, so that what is said here is what the next report would be told; a property test holds the two together.

mod client;
mod device;
mod user;

use std::fmt;

use muster_proto::v1::ExplainVerdict as Verdict;
use muster_proto::{Reason, SerialNumber, Username, VdomName};

use super::{After, Answer, Context, NamedUser, Outcome, OwnerId, Planned, Reach, Refusal, State, Stop, Tombstone};

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explained {
    /// A device.
    Device(SerialNumber),
    /// An auth client, or one that never was.
    Client(Place),
    /// A user on an auth client, or one that never was.
    User(Place, Username),
    /// A person.
    Person(NamedUser),
}

/// Where an auth client is, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose it is; `None` if that is known by the serial number alone.
    pub owner: Option<OwnerId>,
    /// The device that would report it, if there is one.
    pub serial: Option<SerialNumber>,
    /// The VDOM.
    pub vdom: VdomName,
}

impl Explained {
    /// The device that it is about, if it is about one.
    #[must_use]
    pub fn serial(&self) -> Option<SerialNumber> {
        match self {
            Self::Device(serial) => Some(*serial),
            Self::Client(place) | Self::User(place, _) => place.serial,
            Self::Person(_) => None,
        }
    }
}

/// How something stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub verdict: Verdict,
    /// The rule that decides; it knows the fix.
    pub reason: Option<Reason>,
    /// The same in a sentence, for people.
    pub message: String,
    /// What the rule goes by, with its value now.
    pub settings: Vec<(String, String)>,
    /// What the audit log has more about: ids of the device, its cluster, the auth client, the user.
    pub about: Vec<i64>,
}

impl Finding {
    fn new(verdict: Verdict, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self { verdict, reason, message: message.into(), settings: Vec::new(), about: Vec::new() }
    }

    /// What a report would be refused with, or would wait for.
    fn of(refusal: &Refusal) -> Self {
        let verdict = match refusal.reason {
            Reason::DeviceRetired | Reason::PendingApproval | Reason::AuthClientRetired | Reason::CloneSuspected => {
                Verdict::Held
            }
            _ => Verdict::Refused,
        };
        let mut finding = Self::new(verdict, Some(refusal.reason), refusal.message.clone());
        if let Some(quota) = &refusal.quota {
            finding.set(format!("{}.user_quota", quota.subject), format_args!("{} of {}", quota.used, quota.limit));
            if !quota.held_elsewhere.is_empty() {
                finding.set("allocated elsewhere", &quota.held_elsewhere);
            }
        }
        finding
    }

    fn set(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        self.settings.push((name.into(), value.to_string()));
    }

    /// How it was deleted.
    fn tombstone(&mut self, tombstone: Option<&Tombstone>) {
        let Some(Tombstone { at, mode, by, why }) = tombstone else { return };
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        self.set("tombstone", format_args!("{} by {by} at {at}{why}", mode.as_str()));
    }
}

/// Explains something. Changes nothing.
pub(super) fn explain(state: &State, subject: &Explained, context: &Context<'_>) -> Result<Planned, Stop> {
    let finding = match subject {
        Explained::Device(serial) => {
            within_reach(state, *serial, context)?;
            device::device(state, *serial, context)?
        }
        Explained::Client(place) => client::client(state, place, context)?.0,
        Explained::User(place, username) => user::user(state, place, username, context)?,
        Explained::Person(named) => user::person(state, named, context)?,
    };
    let after = After::Finding(Box::new(finding));
    Ok(Planned::unchanged(Answer { after, ..Answer::new(Outcome::Unchanged) }))
}

/// An admin of some realms is told of devices with an auth client there alone; of all others it is as if they had never been.
fn within_reach(state: &State, serial: SerialNumber, context: &Context<'_>) -> Result<(), Stop> {
    if *context.reach == Reach::Everything {
        return Ok(());
    }
    if let Some(device) = state.device(serial)?
        && state.clients(device.owner())?.any(|client| context.may_touch(client.realm))
    {
        return Ok(());
    }
    Err(super::delete::unknown(serial).into())
}

/// An auth client in words: a Web app has no VDOM.
fn named(vdom: VdomName) -> String {
    if vdom == VdomName::WEB_APP { "the Web app".to_owned() } else { format!("the VDOM {vdom}") }
}

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}
