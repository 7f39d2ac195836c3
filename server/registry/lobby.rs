//! The lobby: who waits for an admin, and what the admin decides.
//!
//! A device that is not known and may not come by itself waits here, with the VDOMs that it asked for; so does a device that was retired, and a
//! known one for new VDOMs while `auto_create_auth_clients` is off. Once that is on, all of them come in at their next call.

use std::net::IpAddr;

use muster_proto::device::{DeviceInfo, Registration};
use muster_proto::device_users::{UserAddition, UserTarget};
use muster_proto::{RealmRef, Reason, SerialNumber, Text, Timestamp, VdomName};

use super::admin_token::realm_for;
use super::admission::{Decision, decide};
use super::{
    Action, After, Answer, Change, Context, DeleteMode, Device, LobbyId, Name, Outcome, Planned, RealmId, Record,
    Refusal, State, Stop, report,
};

/// How an entry of the lobby stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LobbyState {
    /// It waits.
    Waiting = 1,
    /// An admin let it in.
    Approved = 2,
    /// An admin sent it away.
    Rejected = 3,
    /// It came in without an admin, because the rules or the settings changed.
    Admitted = 4,
}

impl LobbyState {
    /// The state that a database holds.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Waiting),
            2 => Some(Self::Approved),
            3 => Some(Self::Rejected),
            4 => Some(Self::Admitted),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Admitted => "admitted",
        }
    }
}

/// One who waits, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LobbyEntry {
    /// Its id.
    pub id: LobbyId,
    /// The device.
    pub serial: SerialNumber,
    /// What it last said of itself.
    pub info: DeviceInfo,
    /// The VDOMs that wait, by name.
    pub vdoms: Vec<VdomName>,
    /// Where it last called from, if it called itself.
    pub address: Option<IpAddr>,
    /// How it stands.
    pub state: LobbyState,
    /// The realm that it was approved for, if one was named.
    pub realm: Option<RealmId>,
    /// Who decided; empty if nobody did.
    pub decided_by: Box<str>,
    /// Why.
    pub why: Text,
    /// When it first called.
    pub first_seen_at: Timestamp,
    /// When it last called; up to a few seconds behind.
    pub last_seen_at: Timestamp,
    /// How often it was turned away; up to a few seconds behind.
    pub attempts: i64,
    /// When it was decided; `None` while it waits.
    pub decided_at: Option<Timestamp>,
}

impl LobbyEntry {
    fn record(&self, changes: Vec<Change>) -> Record {
        let name = Name::Resource(format!("lobby/{}", self.serial).into());
        Record { about: self.id.0, name, generation: 0, changes }
    }
}

/// What a first contact asks for; `None` for an action that makes none.
fn asks(action: &Action) -> Option<(SerialNumber, DeviceInfo, Vec<VdomName>)> {
    match action {
        Action::Register(registration) => {
            Some((registration.serial, registration.info.clone(), registration.vdoms.clone()))
        }
        Action::Sync(sync) => sync.full_list.clone().map(|list| (sync.serial, sync.info.clone(), list)),
        Action::Hello(hello) => Some((hello.serial, hello.info.clone(), Vec::new())),
        Action::AddUser(UserAddition { target: UserTarget::FortiProduct(target), .. })
        | Action::BeginUserSync(UserTarget::FortiProduct(target)) => {
            Some((target.serial, DeviceInfo::default(), vec![target.vdom]))
        }
        _ => None,
    }
}

/// Stops at the door whoever has to wait, or was sent away: notes it, and says what the caller is told. `None` for everybody else.
pub(super) fn at_the_door(
    state: &mut State,
    action: &Action,
    context: &mut Context<'_>,
) -> Result<Option<Planned>, Stop> {
    let Some((serial, info, vdoms)) = asks(action) else { return Ok(None) };
    let refusal = match state.device(serial)? {
        None => match decide(state, serial, context.address)? {
            Decision::Admit(_) => return Ok(None),
            Decision::Reject => return Err(rejected(state, serial)?.into()),
            // A licence admits whom nobody sent away.
            Decision::Lobby if presents_license(action) => {
                if state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Rejected) {
                    return Err(rejected(state, serial)?.into());
                }
                return Ok(None);
            }
            Decision::Lobby => pending(serial),
        },
        Some(device) => match device.deleted.as_deref() {
            Some(tombstone) if tombstone.mode == DeleteMode::Retire => {
                let message = format!("{serial} was retired by {} and waits for approval", tombstone.by);
                Refusal::new(Reason::DeviceRetired, message)
            }
            None => {
                // Users may be the first sign of a VDOM; a list of VDOMs says of each what became of it.
                let (Action::AddUser(UserAddition { target: UserTarget::FortiProduct(target), .. })
                | Action::BeginUserSync(UserTarget::FortiProduct(target))) = action
                else {
                    return Ok(None);
                };
                let vdom = target.vdom;
                let owner = device.owner();
                if vdom == VdomName::ROOT || state.client(owner, vdom)?.is_some() || may_add(state, serial, vdom)? {
                    return Ok(None);
                }
                pending(serial)
            }
            Some(_) => return Ok(None),
        },
    };
    if state.lobby(serial)?.is_some_and(|entry| entry.state == LobbyState::Rejected) {
        return Err(rejected(state, serial)?.into());
    }
    let mut planned = Planned::unchanged(Answer::new(Outcome::Held));
    planned.records.extend(note(state, serial, &info, &vdoms, context)?);
    planned.refused = Some(refusal);
    Ok(Some(planned))
}

fn presents_license(action: &Action) -> bool {
    matches!(action, Action::Register(registration) if registration.license.is_some())
}

fn pending(serial: SerialNumber) -> Refusal {
    Refusal::new(Reason::PendingApproval, format!("{serial} waits for approval in the lobby"))
}

/// The refusal of a device that an admin, or a rule, sent away.
pub(super) fn rejected(state: &State, serial: SerialNumber) -> Result<Refusal, Stop> {
    let message = match state.lobby(serial)?.filter(|entry| entry.state == LobbyState::Rejected) {
        Some(entry) if entry.why.is_empty() => format!("{serial} was rejected by {}", entry.decided_by),
        Some(entry) => format!("{serial} was rejected by {}: {}", entry.decided_by, entry.why),
        None => format!("an admission rule rejects {serial}"),
    };
    Ok(Refusal::new(Reason::AdmissionRejected, message))
}

/// Whether a new VDOM of a known device needs nobody's approval, or has it.
pub(super) fn may_add(state: &State, serial: SerialNumber, vdom: VdomName) -> Result<bool, Stop> {
    if state.settings().auto_create_auth_clients {
        return Ok(true);
    }
    let entry = state.lobby(serial)?;
    Ok(entry.is_some_and(|entry| entry.state == LobbyState::Approved && entry.vdoms.contains(&vdom)))
}

/// Notes that a device waits, for these VDOMs besides those that wait already; `None` if that is known.
pub(super) fn note(
    state: &mut State,
    serial: SerialNumber,
    info: &DeviceInfo,
    vdoms: &[VdomName],
    context: &mut Context<'_>,
) -> Result<Option<Record>, Stop> {
    let before = state.lobby(serial)?.cloned();
    let waiting = before.as_ref().filter(|entry| entry.state == LobbyState::Waiting);
    let mut wanted: Vec<VdomName> = waiting.map(|entry| entry.vdoms.clone()).unwrap_or_default();
    wanted.extend(vdoms.iter().copied().filter(|vdom| *vdom != VdomName::ROOT));
    wanted.sort_unstable();
    wanted.dedup();
    if waiting.is_some_and(|entry| entry.vdoms == wanted && (entry.info == *info || *info == DeviceInfo::default())) {
        return Ok(None);
    }
    let entry = LobbyEntry {
        id: before.as_ref().map_or_else(|| LobbyId(context.id()), |entry| entry.id),
        serial,
        info: if *info == DeviceInfo::default() {
            before.as_ref().map(|it| it.info.clone()).unwrap_or_default()
        } else {
            info.clone()
        },
        vdoms: wanted,
        address: context.address.or(before.as_ref().and_then(|entry| entry.address)),
        state: LobbyState::Waiting,
        realm: None,
        decided_by: "".into(),
        why: Text::default(),
        first_seen_at: waiting.map_or(context.now, |entry| entry.first_seen_at),
        last_seen_at: context.now,
        attempts: before.as_ref().map_or(0, |entry| entry.attempts),
        decided_at: None,
    };
    let names = |entry: &LobbyEntry| entry.vdoms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut changes = vec![Change::value("vdoms", waiting.map(names).unwrap_or_default(), names(&entry))];
    if waiting.is_none() {
        let from = before.as_ref().map_or("", |entry| entry.state.as_str());
        changes.insert(0, Change::value("state", from, "waiting"));
    }
    let record = entry.record(changes);
    state.lobby.put(serial, entry);
    Ok(Some(record))
}

/// Closes the entry of a device that came in without an admin, or of a VDOM of it that did.
pub(super) fn came_in(
    state: &mut State,
    serial: SerialNumber,
    vdom: Option<VdomName>,
    context: &Context<'_>,
) -> Result<Option<Record>, Stop> {
    let Some(mut entry) = state.lobby(serial)?.filter(|entry| entry.state == LobbyState::Waiting).cloned() else {
        return Ok(None);
    };
    if let Some(vdom) = vdom {
        let before = entry.vdoms.len();
        entry.vdoms.retain(|waiting| *waiting != vdom);
        if entry.vdoms.len() == before || !entry.vdoms.is_empty() {
            state.lobby.put(serial, entry);
            return Ok(None);
        }
    }
    entry.state = LobbyState::Admitted;
    entry.decided_at = Some(context.now);
    let record = entry.record(vec![Change::value("state", "waiting", "admitted")]);
    state.lobby.put(serial, entry);
    Ok(Some(record))
}

fn known(state: &State, serial: SerialNumber) -> Result<LobbyEntry, Stop> {
    let unknown = || Refusal::new(Reason::LobbyUnknown, format!("{serial} never waited in the lobby"));
    Ok(state.lobby(serial)?.ok_or_else(unknown)?.clone())
}

/// An admin lets a device in, with the VDOMs that it asked for.
pub(super) fn approve(
    state: &mut State,
    serial: SerialNumber,
    realm: Option<&RealmRef>,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let mut entry = known(state, serial)?;
    if matches!(entry.state, LobbyState::Approved | LobbyState::Admitted) {
        return Ok(decided_before(entry));
    }
    let realm = match realm {
        Some(realm) => Some(realm_for(state, realm, context)?.id),
        None => None,
    };
    let before = entry.state;
    entry.state = LobbyState::Approved;
    entry.realm = realm;
    entry.decided_by = context.caller.into();
    entry.decided_at = Some(context.now);
    entry.why = Text::default();
    state.lobby.put(serial, entry.clone());
    let retired = |mode| mode == DeleteMode::Retire;
    if let Some(device) = state.device(serial)?.cloned() {
        let owner = device.owner();
        let clients: Vec<VdomName> = state
            .clients(owner)?
            .filter(|client| client.deleted.as_deref().is_some_and(|it| retired(it.mode)))
            .map(|client| client.vdom)
            .collect();
        if device.deleted.as_deref().is_some_and(|it| retired(it.mode)) {
            let evicted = |tombstone: &mut Option<Box<super::Tombstone>>| {
                if let Some(tombstone) = tombstone {
                    tombstone.mode = DeleteMode::Evict;
                }
            };
            if let Some(device) = state.devices.change(&serial) {
                evicted(&mut device.deleted);
            }
            for vdom in clients {
                if let Some(client) = state.auth_clients.change(&(owner, vdom)) {
                    evicted(&mut client.deleted);
                }
            }
        }
        if realm.is_some()
            && let Some(device) = state.devices.change(&serial)
        {
            device.realm = realm;
        }
    }
    let registration =
        Registration { serial, info: entry.info.clone(), vdoms: entry.vdoms.clone(), ha: None, license: None };
    let mut planned = report::register(state, &registration, context)?;
    let mut changes = vec![Change::value("state", before.as_str(), "approved")];
    if let Some(realm) = realm {
        changes.push(Change::value("realm", "", format!("realms/{}", realm.0)));
    }
    planned.records.push(entry.record(changes));
    planned.answer.after = After::Lobby(Box::new(entry));
    Ok(planned)
}

/// An admin sends a device away.
pub(super) fn reject(
    state: &mut State,
    serial: SerialNumber,
    why: &Text,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let mut entry = known(state, serial)?;
    if entry.state == LobbyState::Rejected {
        return Ok(decided_before(entry));
    }
    if state.device(serial)?.is_some_and(Device::is_active) && entry.state != LobbyState::Waiting {
        let message = format!("{serial} is in the register");
        return Err(Refusal::new(Reason::DeviceActive, message).into());
    }
    let mut changes = vec![Change::value("state", entry.state.as_str(), "rejected")];
    if !why.is_empty() {
        changes.push(Change::value("why", "", why));
    }
    entry.state = LobbyState::Rejected;
    entry.decided_by = context.caller.into();
    entry.decided_at = Some(context.now);
    entry.why = why.clone();
    state.lobby.put(serial, entry.clone());
    let mut planned = Planned::unchanged(Answer::new(Outcome::Refused));
    planned.records.push(entry.record(changes));
    planned.answer.after = After::Lobby(Box::new(entry));
    Ok(planned)
}

fn decided_before(entry: LobbyEntry) -> Planned {
    let answer = Answer::new(Outcome::Unchanged);
    Planned::unchanged(Answer { reason: Some(Reason::AlreadyDecided), after: After::Lobby(Box::new(entry)), ..answer })
}
