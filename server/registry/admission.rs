//! Admission: whether a device that is not known may come, and which realm it goes to.
//!
//! The order, of which the first that says something decides:
//!
//! 1. what an admin decided in the lobby: rejected, or approved (for a realm);
//! 2. the first admission rule that matches: into a realm, away, or into the lobby;
//! 3. `auto_create_auth_clients`: in if it is on, into the lobby if it is off.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use muster_proto::{Reason, SerialNumber, Timestamp};

use super::auth_client::later;
use super::lobby::LobbyState;
use super::{After, Answer, Change, Context, Name, Outcome, Planned, RealmId, Refusal, State, Stop};

/// What becomes of a device that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is registered; in this realm, if that is decided.
    Admit(Option<RealmId>),
    /// It waits for an admin.
    Lobby,
    /// It is refused.
    Reject,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admit(Some(realm)) => write!(f, "realms/{}", realm.0),
            Self::Admit(None) => f.write_str("no rule"),
            Self::Lobby => f.write_str("lobby"),
            Self::Reject => f.write_str("reject"),
        }
    }
}

/// One admission rule. What it does not name, it does not ask about; a rule without both matches every device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionRule {
    /// What the serial number begins with; empty for any.
    pub serial_prefix: Box<str>,
    /// Where the device itself calls from. A device behind a relay has no address, and so matches no range.
    pub range: Option<IpNet>,
    /// What becomes of it; never `Admit(None)`.
    pub decision: Decision,
}

impl AdmissionRule {
    fn matches(&self, serial: SerialNumber, address: Option<IpAddr>) -> bool {
        serial.as_str().starts_with(&*self.serial_prefix)
            && self.range.is_none_or(|range| address.is_some_and(|address| range.contains(&address.to_canonical())))
    }

    /// Whether every device that `other` matches is matched by this one.
    fn covers(&self, other: &Self) -> bool {
        let range = match (&self.range, &other.range) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => wide.contains(narrow),
        };
        range && other.serial_prefix.starts_with(&*self.serial_prefix)
    }
}

/// A device that might come, and what the rules are to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionTest {
    /// The device.
    pub serial: SerialNumber,
    /// Where it calls from; `None` behind a relay.
    pub address: Option<IpAddr>,
    /// What the rules are to say; `Admit(None)` if none of them is to match.
    pub expected: Decision,
}

/// The admission rules, in their order, with the tests that hold them to their word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// The rules: the first that matches decides.
    pub rules: Vec<AdmissionRule>,
    /// The tests.
    pub tests: Vec<AdmissionTest>,
    /// When they last changed; `None` if they never did.
    pub updated_at: Option<Timestamp>,
}

impl Admission {
    /// What changes with every change.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.map_or(0, Timestamp::micros))
    }

    /// What the rules say of a device; `Admit(None)` if none matches.
    #[must_use]
    pub fn decide(&self, serial: SerialNumber, address: Option<IpAddr>) -> Decision {
        self.rules.iter().find(|rule| rule.matches(serial, address)).map_or(Decision::Admit(None), |rule| rule.decision)
    }

    /// The tests that fail, by place, each with what it got.
    #[must_use]
    pub fn failures(&self) -> Vec<(usize, Decision)> {
        let got = |test: &AdmissionTest| self.decide(test.serial, test.address);
        let failed = self.tests.iter().enumerate().filter(|(_, test)| got(test) != test.expected);
        failed.map(|(index, test)| (index, got(test))).collect()
    }

    /// The rules that no device can reach, by place, each with the earlier one that takes all of its devices.
    #[must_use]
    pub fn unreachable(&self) -> Vec<(usize, usize)> {
        let before = |index: usize, rule: &AdmissionRule| self.rules.iter().take(index).position(|it| it.covers(rule));
        let rules = self.rules.iter().enumerate();
        rules.filter_map(|(index, rule)| before(index, rule).map(|first| (index, first))).collect()
    }
}

/// Whether a device that is not known may come, and which realm it goes to: see the order above.
pub(super) fn decide(state: &State, serial: SerialNumber, address: Option<IpAddr>) -> Result<Decision, Stop> {
    let decision = match state.lobby(serial)?.map(|entry| (entry.state, entry.realm)) {
        Some((LobbyState::Rejected, _)) => Decision::Reject,
        Some((LobbyState::Approved, realm)) => Decision::Admit(realm),
        Some((LobbyState::Waiting | LobbyState::Admitted, _)) | None => match state.admission().decide(serial, address)
        {
            Decision::Admit(None) if !state.settings().auto_create_auth_clients => Decision::Lobby,
            decision => decision,
        },
    };
    if let Decision::Admit(Some(realm)) = decision
        && state.realm(realm)?.is_none_or(|realm| realm.deleted_at.is_some())
    {
        // Where it was to go is no longer there: an admin decides anew.
        return Ok(Decision::Lobby);
    }
    Ok(decision)
}

/// Replaces the rules as a whole, if their tests hold.
pub(super) fn update(
    state: &mut State,
    new: &Admission,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let current = state.admission().clone();
    if etag.is_some_and(|etag| etag != current.etag()) {
        let message = "the admission rules changed since their etag was read";
        return Err(Refusal::new(Reason::EtagMismatch, message).into());
    }
    for rule in &new.rules {
        if let Decision::Admit(Some(realm)) = rule.decision
            && state.realm(realm)?.is_none_or(|realm| realm.deleted_at.is_some())
        {
            return Err(Refusal::new(Reason::RealmUnknown, format!("there is no realms/{}", realm.0)).into());
        }
    }
    let failures = new.failures();
    if !failures.is_empty() {
        let of = |(index, got): &(usize, Decision)| {
            let test = new.tests.get(*index);
            let address = test.and_then(|test| test.address).map_or(String::new(), |it| format!(" from {it}"));
            let serial = test.map_or("", |test| test.serial.as_str());
            let expected = test.map_or(Decision::Reject, |test| test.expected);
            format!("tests[{index}]: {serial}{address} gets {got} instead of {expected}")
        };
        let message = failures.iter().map(of).collect::<Vec<_>>().join("; ");
        return Err(Refusal::new(Reason::AdmissionTestsFailed, message).into());
    }
    if new.rules == current.rules && new.tests == current.tests {
        let after = After::Admission(Box::new(current));
        return Ok(Planned::unchanged(Answer { after, ..Answer::new(Outcome::Unchanged) }));
    }
    let changes = vec![
        Change::value("rules", shown(&current), shown(new)),
        Change::value("tests", current.tests.len(), new.tests.len()),
    ];
    let updated_at = Some(later(current.updated_at.unwrap_or(Timestamp::from_micros(0)), context.now));
    let admission = Admission { updated_at, ..new.clone() };
    state.admission.put((), admission.clone());
    let answer = Answer { after: After::Admission(Box::new(admission)), ..Answer::new(Outcome::Updated) };
    Ok(Planned::about(answer, 0, Name::Resource("admissionRules".into()), changes))
}

/// The rules in a line.
fn shown(admission: &Admission) -> String {
    let rule = |rule: &AdmissionRule| {
        let range = rule.range.map_or(String::new(), |range| format!(" from {range}"));
        format!("{}*{range} -> {}", rule.serial_prefix, rule.decision)
    };
    admission.rules.iter().map(rule).collect::<Vec<_>>().join("; ")
}
