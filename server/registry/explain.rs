//! Explaining: how something stands, and which rule decides on its next report.
//!
//! The rules themselves are asked, so that what is said here is what the next report would be told; a property test holds the two together.

use std::fmt;

use muster_proto::{MAX_VDOMS, Reason, SerialNumber, UserKey, Username, VdomName};

use muster_proto::v1::ExplainVerdict as Verdict;

use super::admission::{Decision, decide};
use super::contact::may_call;
use super::held::{HeldOn, HeldState};
use super::lobby::{may_add, rejected};
use super::{
    After, Answer, AuthClient, Context, DeleteMode, Device, LobbyState, NamedUser, Outcome, OwnerId, Planned, Reach,
    Refusal, State, Stop, Tombstone, quota,
};

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
            device(state, *serial, context)?
        }
        Explained::Client(place) => client(state, place, context)?.0,
        Explained::User(place, username) => user(state, place, username, context)?,
        Explained::Person(named) => person(state, named, context)?,
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

fn device(state: &State, serial: SerialNumber, context: &Context<'_>) -> Result<Finding, Stop> {
    let Some(device) = state.device(serial)? else { return stranger(state, serial, context) };
    let sent_away = state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Rejected);
    let mut finding = match may_call(device) {
        Err(refusal) if refusal.reason == Reason::DeviceRetired && sent_away => Finding::of(&rejected(state, serial)?),
        Err(refusal) => Finding::of(&refusal),
        Ok(()) if !device.is_active() => {
            let message = format!("{serial} was removed, and nothing keeps it from coming back");
            Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
        }
        Ok(()) if device.disputed => {
            let message = format!("{serial} is in the register, and boxes with other keys call in its name");
            Finding::new(Verdict::Held, Some(Reason::CloneSuspected), message)
        }
        Ok(()) => Finding::new(Verdict::Present, None, format!("{serial} is in the register and in use")),
    };
    finding.about = device_ids(device);
    finding.tombstone(device.deleted.as_deref());
    if !device.is_active() {
        finding.set("retention_days", state.settings().retention_days);
        finding.set("calls since it was removed", device.contacts);
    }
    if let Some(cluster) = device.cluster {
        finding.set("cluster", format_args!("clusters/{}", cluster.0));
    }
    for license in state.licenses_of(serial)? {
        let since = license.bound.map_or_else(String::new, |(_, since)| format!(", since {since}"));
        finding.set(format!("licenses/{}", license.number), format_args!("{}{since}", license.model));
        finding.about.push(license.id);
    }
    if let Some(entry) = state.lobby(serial)?.filter(|entry| entry.state == LobbyState::Waiting) {
        finding.about.push(entry.id.0);
        let vdoms: Vec<String> = entry.vdoms.iter().map(ToString::to_string).collect();
        finding.set("waiting in the lobby", vdoms.join(", "));
    }
    Ok(finding)
}

fn device_ids(device: &Device) -> Vec<i64> {
    [Some(device.id.0), device.cluster.map(|cluster| cluster.0)].into_iter().flatten().collect()
}

/// A device that is not in the register: what its first call would find.
fn stranger(state: &State, serial: SerialNumber, context: &Context<'_>) -> Result<Finding, Stop> {
    let entry = state.lobby(serial)?;
    let is_rejected = entry.is_some_and(|entry| entry.state == LobbyState::Rejected);
    let mut finding = match decide(state, serial, context.address)? {
        Decision::Admit(_) => {
            Finding::new(Verdict::NeverSeen, None, format!("{serial} never came in; its next call registers it"))
        }
        Decision::Reject => Finding::of(&rejected(state, serial)?),
        Decision::Lobby if is_rejected => Finding::of(&rejected(state, serial)?),
        Decision::Lobby if entry.is_some_and(|entry| entry.state == LobbyState::Waiting) => Finding::new(
            Verdict::Held,
            Some(Reason::PendingApproval),
            format!("{serial} waits for approval in the lobby"),
        ),
        Decision::Lobby => {
            let message = format!("{serial} never called; when it does, it waits for approval in the lobby");
            Finding::new(Verdict::NeverSeen, Some(Reason::PendingApproval), message)
        }
    };
    if let Some(entry) = entry {
        finding.about.push(entry.id.0);
        finding.set("calls turned away", entry.attempts);
        if let Some(at) = entry.decided_at {
            finding.set("lobby", format_args!("decided by {} at {at}", entry.decided_by));
        }
    }
    finding.set("auto_create_auth_clients", on_off(state.settings().auto_create_auth_clients));
    Ok(finding)
}

/// How an auth client stands, and what is known of it.
fn client<'s>(
    state: &'s State,
    place: &Place,
    context: &Context<'_>,
) -> Result<(Finding, Option<&'s AuthClient>), Stop> {
    let Place { owner, serial, vdom } = *place;
    let owner = match (owner, serial) {
        (Some(owner), _) => Some(owner),
        (None, Some(serial)) => state.owner(serial)?,
        (None, None) => None,
    };
    let found = match owner {
        Some(owner) => state.client(owner, vdom)?,
        None => None,
    };
    let may_see = match found {
        Some(found) => context.may_touch(found.realm),
        None => *context.reach == Reach::Everything,
    };
    if !may_see {
        return Err(Refusal::new(Reason::AuthClientUnknown, "there never was such an auth client").into());
    }
    let mut finding = match found {
        Some(found) if found.is_active() => present(state, found)?,
        Some(found) => gone(state, found, serial, context)?,
        None => never(state, serial, owner, vdom, context)?,
    };
    if let Some(found) = found {
        finding.about.push(found.id.0);
        finding.tombstone(found.deleted.as_deref());
        if !found.is_active() {
            finding.set("retention_days", state.settings().retention_days);
        }
    }
    if let Some(serial) = serial
        && let Some(device) = state.device(serial)?
    {
        finding.about.extend(device_ids(device));
    }
    finding.about.extend(owner.map(|owner| owner.0).filter(|owner| *owner > 0));
    finding.about.sort_unstable();
    finding.about.dedup();
    Ok((finding, found))
}

fn present(state: &State, client: &AuthClient) -> Result<Finding, Stop> {
    let vdom = client.vdom;
    let held = state.held_on(HeldOn::Vdoms(client.owner))?;
    let Some(held) = held.filter(|held| held.names.iter().any(|name| **name == *vdom.as_str())) else {
        return Ok(Finding::new(Verdict::Present, None, format!("{} is in use", named(vdom))));
    };
    let (reason, how) = match held.state {
        HeldState::Rejected => (Reason::RemovalRejected, "an admin rejected"),
        _ => (Reason::RemovalHeld, "the removal guard holds"),
    };
    let message = format!("the VDOM {vdom} is in use; its device asks to remove it, which {how}");
    let mut finding = Finding::new(Verdict::Held, Some(reason), message);
    let settings = state.settings();
    finding.set("guard_vdoms", settings.guard_vdoms);
    finding.set("guard_vdom_percent", settings.guard_vdom_percent);
    finding
        .set(format!("heldRemovals/{}", held.id.0), format_args!("{} VDOMs, asked by {}", held.names.len(), held.by));
    finding.about.push(held.id.0);
    Ok(finding)
}

/// An auth client that was removed: what keeps it from returning, if anything does.
fn gone(
    state: &State,
    client: &AuthClient,
    serial: Option<SerialNumber>,
    context: &Context<'_>,
) -> Result<Finding, Stop> {
    let vdom = client.vdom;
    if client.owner.0 < 0 {
        let message = format!("the VDOM {vdom} became one with that of a cluster, and its users went there");
        return Ok(Finding::new(Verdict::Absent, Some(Reason::MovedToCluster), message));
    }
    if let Some(finding) = kept_out(state, serial, context)? {
        return Ok(finding);
    }
    let mode = client.deleted.as_deref().map(|tombstone| tombstone.mode);
    Ok(match mode {
        Some(DeleteMode::Ban) => {
            Finding::of(&Refusal::new(Reason::AuthClientBanned, format!("{} was removed and banned", named(vdom))))
        }
        Some(DeleteMode::Retire) => {
            Finding::of(&Refusal::new(Reason::AuthClientRetired, format!("{} is out of service", named(vdom))))
        }
        Some(DeleteMode::Evict) | None => too_many(state, client.owner, vdom)?.unwrap_or_else(|| {
            let message = format!("{} was removed, and nothing keeps it from coming back", named(vdom));
            Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
        }),
    })
}

/// An auth client that never was: what its first report would find.
fn never(
    state: &State,
    serial: Option<SerialNumber>,
    owner: Option<OwnerId>,
    vdom: VdomName,
    context: &Context<'_>,
) -> Result<Finding, Stop> {
    if let Some(finding) = kept_out(state, serial, context)? {
        return Ok(finding);
    }
    let Some(owner) = owner else {
        let mut finding = match serial {
            Some(serial) => stranger(state, serial, context)?,
            None => Finding::new(Verdict::NeverSeen, None, ""),
        };
        finding.message = format!("no device that has the VDOM {vdom} ever came in; {}", finding.message);
        return Ok(finding);
    };
    if let Some(finding) = too_many(state, owner, vdom)? {
        return Ok(finding);
    }
    if let Some(serial) = serial
        && vdom != VdomName::ROOT
        && state.device(serial)?.is_some()
        && !may_add(state, serial, vdom)?
    {
        if state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Rejected && entry.vdoms.contains(&vdom))
        {
            return Ok(Finding::of(&rejected(state, serial)?));
        }
        let waits =
            state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Waiting && entry.vdoms.contains(&vdom));
        let (verdict, message) = if waits {
            (Verdict::Held, format!("the VDOM {vdom} waits for approval in the lobby"))
        } else {
            (
                Verdict::NeverSeen,
                format!("{serial} never reported the VDOM {vdom}; when it does, it waits for approval in the lobby"),
            )
        };
        let mut finding = Finding::new(verdict, Some(Reason::PendingApproval), message);
        finding.set("auto_create_auth_clients", on_off(false));
        return Ok(finding);
    }
    let message = format!("the VDOM {vdom} was never reported; the next sync that lists it makes it an auth client");
    Ok(Finding::new(Verdict::NeverSeen, None, message))
}

/// Why the device cannot report anything, if it cannot.
fn kept_out(state: &State, serial: Option<SerialNumber>, context: &Context<'_>) -> Result<Option<Finding>, Stop> {
    let Some(serial) = serial else { return Ok(None) };
    let Some(found) = state.device(serial)? else {
        let finding = stranger(state, serial, context)?;
        return Ok((finding.verdict != Verdict::NeverSeen).then_some(finding));
    };
    // A box with another key is held, and the device itself is not.
    if may_call(found).is_err() { device(state, serial, context).map(Some) } else { Ok(None) }
}

/// Whether the owner has as many VDOMs as any may have.
fn too_many(state: &State, owner: OwnerId, vdom: VdomName) -> Result<Option<Finding>, Stop> {
    if vdom.is_pseudo() {
        return Ok(None);
    }
    let active = state.active_vdoms(owner)?;
    let count = active.iter().filter(|vdom| !vdom.is_pseudo()).count();
    let kept = usize::from(vdom != VdomName::ROOT && !active.contains(&VdomName::ROOT));
    if count + kept < MAX_VDOMS {
        return Ok(None);
    }
    let message = format!("the device has {count} VDOMs, and no place for {vdom}");
    let mut finding = Finding::of(&Refusal::new(Reason::VdomLimit, message));
    finding.set("VDOMs", format_args!("{count} of {MAX_VDOMS}"));
    Ok(Some(finding))
}

fn user(state: &State, place: &Place, username: &Username, context: &Context<'_>) -> Result<Finding, Stop> {
    let (of_client, found) = client(state, place, context)?;
    let key = username.key(state.settings().fold_usernames);
    let Some(client) = found else {
        let message = format!("user {username}: {}", of_client.message);
        return Ok(Finding { message, ..of_client });
    };
    let user_ref = state.user_ref(client.id, &key)?;
    let person = state.user(client.realm, &key)?;
    let mut finding = match user_ref {
        Some(found) if found.deleted_at.is_none() => {
            let mut finding = on_client(state, client, username, &key)?;
            finding.set("active on the auth client", on_off(found.attributes.active));
            finding.set("disabled by an admin", on_off(person.is_some_and(|person| person.disabled)));
            finding
        }
        _ if !client.is_active() => {
            let verdict = match (of_client.verdict, user_ref) {
                (Verdict::Absent, None) => Verdict::NeverSeen,
                (verdict, _) => verdict,
            };
            let message = format!("user {username} is not there, because {}", of_client.message);
            Finding { verdict, message, ..of_client.clone() }
        }
        user_ref => match room(state, client, &key)? {
            Some(refusal) => Finding::of(&refusal),
            None if user_ref.is_some() => {
                let message = format!(
                    "user {username} was removed from {}, and nothing keeps it from coming back",
                    named(client.vdom)
                );
                Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
            }
            None => {
                let message = format!("user {username} was never on {}", named(client.vdom));
                Finding::new(Verdict::NeverSeen, None, message)
            }
        },
    };
    finding.about.extend(of_client.about);
    finding.about.extend(person.map(|person| person.id.0));
    finding.about.sort_unstable();
    finding.about.dedup();
    finding.set("fold_usernames", on_off(state.settings().fold_usernames));
    quotas(state, client, &mut finding)?;
    Ok(finding)
}

fn on_client(state: &State, client: &AuthClient, username: &Username, key: &UserKey) -> Result<Finding, Stop> {
    let held = state.held_on(HeldOn::Users(client.owner, client.vdom))?;
    let Some(held) = held.filter(|held| held.names.iter().any(|name| **name == *key.as_str())) else {
        let message = format!("user {username} is on {}", named(client.vdom));
        return Ok(Finding::new(Verdict::Present, None, message));
    };
    let reason = if held.state == HeldState::Rejected { Reason::RemovalRejected } else { Reason::RemovalHeld };
    let message = format!("user {username} is on {}; its removal is held", named(client.vdom));
    let mut finding = Finding::new(Verdict::Held, Some(reason), message);
    finding.set("guard_users", state.settings().guard_users);
    finding.about.push(held.id.0);
    Ok(finding)
}

/// Why there is no room for a user on this auth client, if there is none.
fn room(state: &State, client: &AuthClient, key: &UserKey) -> Result<Option<Refusal>, Stop> {
    if let Err(refusal) = quota::may_have_users(state, client) {
        return Ok(Some(refusal));
    }
    if state.user(client.realm, key)?.is_some_and(|person| person.deleted_at.is_none()) {
        return Ok(None);
    }
    match quota::admit(state, client.realm, 0) {
        Err(Stop::Refused(refusal)) => Ok(Some(refusal)),
        Err(missing) => Err(missing),
        Ok(()) => Ok(None),
    }
}

/// The quotas that a user of this auth client counts towards.
fn quotas(state: &State, client: &AuthClient, finding: &mut Finding) -> Result<(), Stop> {
    let settings = state.settings();
    if let Some(realm) = state.realm(client.realm)? {
        let limit = realm.user_quota.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        finding.set(format!("quota of realm {}", realm.name), format_args!("{} of {limit}", realm.users));
    }
    let limit = settings.user_quota.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    finding.set("quota of the register", format_args!("{} of {limit}", settings.users));
    finding.set("share_quota", on_off(settings.share_quota));
    finding.set("multi_realm_mode", on_off(settings.multi_realm_mode));
    Ok(())
}

fn person(state: &State, named: &NamedUser, context: &Context<'_>) -> Result<Finding, Stop> {
    let unknown = || Refusal::new(Reason::UserUnknown, format!("there never was users/{}", named.id.0));
    if !context.may_touch(named.realm) {
        return Err(unknown().into());
    }
    let person = state.user(named.realm, &named.key)?.filter(|person| person.id == named.id).ok_or_else(unknown)?;
    let username = &person.username;
    let mut finding = match person.deleted_at {
        None => {
            let message = format!("user {username} is on {} auth clients of its realm", person.references);
            Finding::new(Verdict::Present, None, message)
        }
        Some(at) => {
            let message = format!("user {username} went at {at} with the last auth client that had it");
            Finding::new(Verdict::Absent, Some(Reason::Evicted), message)
        }
    };
    finding.set("disabled by an admin", on_off(person.disabled));
    finding.about.push(person.id.0);
    Ok(finding)
}

/// An auth client in words: a Web app has no VDOM.
fn named(vdom: VdomName) -> String {
    if vdom == VdomName::WEB_APP { "the Web app".to_owned() } else { format!("the VDOM {vdom}") }
}

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}
