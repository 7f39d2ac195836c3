//! Two boxes with one serial number: held, and shown side by side, until an admin picks (domain sheet, section 1.4).
//!
//! A device is known by the public key that it first called with. A call with another key while the first is alive is held. A device whose
//! first key has been silent for a while has a new key: it goes on, visibly.

use std::net::IpAddr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use muster_proto::{Reason, SerialNumber, Timestamp};

use super::{
    Action, After, Answer, Change, Context, Device, Name, Outcome, Planned, Proof, Record, Refusal, State, Stop,
};

/// How long the first key counts as alive after a call: Fortinet's own cache of active VM instances keeps one that long.
pub(super) const ALIVE: Duration = Duration::from_mins(90);
/// How exact the time of the last call of each key is kept.
const EXACT: Duration = Duration::from_mins(1);

/// What a key may do in the name of a disputed serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeyState {
    /// It is the key of the device.
    Accepted = 1,
    /// It waits for an admin.
    Held = 2,
    /// An admin picked another one.
    Banned = 3,
}

impl KeyState {
    /// The state that a database holds.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Accepted),
            2 => Some(Self::Held),
            3 => Some(Self::Banned),
            _ => None,
        }
    }
}

/// One key that claims a serial number, as soon as there are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKey {
    /// Its id.
    pub id: i64,
    /// The serial number.
    pub serial: SerialNumber,
    /// The SHA-256 of the public key.
    pub key: [u8; 32],
    /// What it may do.
    pub state: KeyState,
    /// Where it last called from; `None` if that was before the dispute.
    pub address: Option<IpAddr>,
    /// The serial number of its certificate, in hexadecimal; empty if it last called before the dispute.
    pub certificate: Box<str>,
    /// From when on and until when its certificate is valid.
    pub validity: Option<(Timestamp, Timestamp)>,
    /// When it first called; for the first key, when the device was registered.
    pub first_seen_at: Timestamp,
    /// When it last called, to the minute.
    pub last_seen_at: Timestamp,
}

impl DeviceKey {
    fn saw(&mut self, proof: &Proof, now: Timestamp) {
        self.address = Some(proof.address);
        self.certificate = proof.certificate.clone();
        self.validity = Some((proof.valid_from, proof.valid_until));
        self.last_seen_at = now;
    }
}

/// What the key of a caller means for its call.
pub(super) enum Verdict {
    /// The call goes on; what was noted about the device on the way.
    Passed(Option<(Record, Option<Reason>)>),
    /// It does not.
    Held(Box<Planned>),
}

/// Looks at the key of a device that calls itself. In the normal case that is one comparison.
pub(super) fn check(state: &mut State, action: &Action, context: &mut Context<'_>) -> Result<Verdict, Stop> {
    let Some(proof) = context.proof.filter(|_| action.is_from_device()) else { return Ok(Verdict::Passed(None)) };
    let Some(serial) = action.serial() else { return Ok(Verdict::Passed(None)) };
    // A first contact brings its key along.
    let Some(device) = state.device(serial)? else { return Ok(Verdict::Passed(None)) };
    let Some(current) = device.key_hash else {
        return Ok(Verdict::Passed(take(state, serial, proof, None)));
    };
    if current == proof.key {
        if device.disputed {
            note(state, serial, proof, KeyState::Accepted, context)?;
        }
        return Ok(Verdict::Passed(None));
    }
    let (disputed, last) = (device.disputed, device.last_seen_at.max(state.last_seen(serial)?));
    if state.device_key(serial, proof.key)?.is_some_and(|key| key.state == KeyState::Banned) {
        let message = format!("an admin picked another key for {serial} than {}", short(&proof.key));
        return Err(Refusal::new(Reason::KeyBanned, message).into());
    }
    if !disputed && context.now.since(last) > ALIVE {
        return Ok(Verdict::Passed(take(state, serial, proof, Some(Reason::KeyChanged))));
    }
    hold(state, serial, proof, last, context).map(|planned| Verdict::Held(Box::new(planned)))
}

/// The key becomes that of the device.
fn take(
    state: &mut State,
    serial: SerialNumber,
    proof: &Proof,
    reason: Option<Reason>,
) -> Option<(Record, Option<Reason>)> {
    let device = state.devices.change(&serial)?;
    let before = device.key_hash.as_ref().map(short).unwrap_or_default();
    device.key_hash = Some(proof.key);
    Some((of(device, vec![Change::value("key", before, short(&proof.key))]), reason))
}

fn of(device: &Device, changes: Vec<Change>) -> Record {
    Record { about: device.id.0, name: Name::Device(device.serial), generation: device.generation, changes }
}

/// Enough of a key to tell it from others.
fn short(key: &[u8; 32]) -> String {
    HEXLOWER.encode(key.get(..8).unwrap_or(key))
}

fn hold(
    state: &mut State,
    serial: SerialNumber,
    proof: &Proof,
    last: Timestamp,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let is_new = state.device_key(serial, proof.key)?.is_none();
    note(state, serial, proof, KeyState::Held, context)?;
    let Some(device) = state.device(serial)?.cloned() else {
        return Ok(Planned::unchanged(Answer::new(Outcome::Held)));
    };
    let current = device.key_hash.unwrap_or_default();
    if state.device_key(serial, current)?.is_none() {
        let first = DeviceKey {
            id: context.id(),
            serial,
            key: current,
            state: KeyState::Accepted,
            address: None,
            certificate: Box::default(),
            validity: None,
            first_seen_at: device.created_at,
            last_seen_at: last,
        };
        state.device_keys.put((serial, current), first);
    }
    if !device.disputed
        && let Some(device) = state.devices.change(&serial)
    {
        device.disputed = true;
    }
    let message = format!(
        "{serial} is in use by a box with the key {}, which last called at {last}; this one has the key {}",
        short(&current),
        short(&proof.key)
    );
    let mut planned = Planned::unchanged(Answer::of(&device, Outcome::Held, Vec::new()));
    if is_new {
        let seen = format!("{} from {}", short(&proof.key), proof.address);
        planned.records.push(of(&device, vec![Change::value("clone", "", seen)]));
    }
    planned.refused = Some(Refusal::new(Reason::CloneSuspected, message));
    Ok(planned)
}

/// Notes a call with a key of a disputed serial number, at most once a minute.
fn note(
    state: &mut State,
    serial: SerialNumber,
    proof: &Proof,
    of_new: KeyState,
    context: &mut Context<'_>,
) -> Result<(), Stop> {
    let now = context.now;
    let at = (serial, proof.key);
    match state.device_key(serial, proof.key)? {
        None => {
            let mut key = DeviceKey {
                id: context.id(),
                serial,
                key: proof.key,
                state: of_new,
                address: None,
                certificate: Box::default(),
                validity: None,
                first_seen_at: now,
                last_seen_at: now,
            };
            key.saw(proof, now);
            state.device_keys.put(at, key);
        }
        Some(key) if key.address != Some(proof.address) || now.since(key.last_seen_at) > EXACT => {
            if let Some(key) = state.device_keys.change(&at) {
                key.saw(proof, now);
            }
        }
        Some(_) => {}
    }
    Ok(())
}

/// An admin picks the key of a disputed device; the others are banned. It may be picked anew later.
pub(super) fn resolve(
    state: &mut State,
    serial: SerialNumber,
    picked: [u8; 32],
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let unknown = || Refusal::new(Reason::DeviceUnknown, format!("no device {serial} was ever registered"));
    let device = state.device(serial)?.ok_or_else(unknown)?;
    let (before, disputed) = (device.key_hash, device.disputed);
    let keys: Vec<[u8; 32]> = state.device_keys(serial)?.map(|key| key.key).collect();
    if !keys.contains(&picked) {
        let message = format!("no box called as {serial} with the key {}", short(&picked));
        return Err(Refusal::new(Reason::CloneKeyUnknown, message).into());
    }
    let mut changes = Vec::new();
    if disputed || before != Some(picked) {
        for key in keys {
            if let Some(key) = state.device_keys.change(&(serial, key)) {
                key.state = if key.key == picked { KeyState::Accepted } else { KeyState::Banned };
            }
        }
        if let Some(device) = state.devices.change(&serial) {
            (device.key_hash, device.disputed) = (Some(picked), false);
            device.updated_at = context.now;
        }
        let before = before.as_ref().map(short).unwrap_or_default();
        changes.push(Change::value("key", before, short(&picked)));
        changes.push(Change::value("clone", if disputed { "held" } else { "resolved" }, "resolved"));
    }
    let outcome = if changes.is_empty() { Outcome::Unchanged } else { Outcome::Updated };
    let device = state.device(serial)?.ok_or_else(unknown)?;
    let after = After::DeviceKeys(state.device_keys(serial)?.cloned().collect());
    let answer = Answer { after, ..Answer::of(device, outcome, Vec::new()) };
    Ok(Planned::about(answer, device.id.0, Name::Device(serial), changes))
}
