//! The removal guard: removals that are more than a device may ask for in one go wait for a confirmation, or for an admin (design, section 7).
//!
//! A [`Held`] set is what one sync would have removed. At most one stands for each list (the VDOMs of an owner, the users of some kinds on an auth
//! client): the next sync of that list finds it again if it would remove the same, and withdraws it if it would not, as does one of a list that
//! overlaps; lists of other kinds do not touch each other. Nothing is removed before the device gives the
//! token of exactly this set back, or an admin approves it.

pub(super) mod decision;

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use muster_proto::user_sync::Kinds;
use muster_proto::{Reason, SerialNumber, Timestamp, VdomName};
use sha2::{Digest as _, Sha256};

use super::answer::Notice;
use super::auth_client::later;
use super::{Change, Context, HeldId, Name, Outcome, OwnerId, Record, State, Stop, Subject};

/// How long a set waits: a long weekend, and a day to look into it.
pub const HELD_FOR: Duration = Duration::from_hours(5 * 24);
/// How many names the audit log keeps of one set.
const NAMED: usize = 100;

/// Which list a removal was asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeldOn {
    /// The VDOMs of a device or cluster.
    Vdoms(OwnerId),
    /// The users of these kinds on one auth client.
    Users(OwnerId, VdomName, Kinds),
}

impl HeldOn {
    /// Whose list it is.
    #[must_use]
    pub const fn owner(self) -> OwnerId {
        match self {
            Self::Vdoms(owner) | Self::Users(owner, ..) => owner,
        }
    }

    /// Whether anything can stand in both lists.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Vdoms(owner), Self::Vdoms(of)) => owner == of,
            (Self::Users(owner, vdom, kinds), Self::Users(of, on, others)) => {
                (owner, vdom) == (of, on) && kinds.overlap(others)
            }
            _ => false,
        }
    }
}

/// What became of a held set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HeldState {
    /// It waits.
    Pending = 1,
    /// An admin said no. It stands as long as the device asks for the same, so that nobody is asked again.
    Rejected = 2,
    /// The device confirmed it, and it was removed.
    Confirmed = 3,
    /// An admin approved it, and it was removed.
    Approved = 4,
    /// The device asked for something else since, or went.
    Withdrawn = 5,
    /// Nobody decided in time; nothing was removed.
    Expired = 6,
}

impl HeldState {
    /// Whether the device is still refused what it asks for.
    #[must_use]
    pub const fn stands(self) -> bool {
        matches!(self, Self::Pending | Self::Rejected)
    }

    /// The state in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "held",
            Self::Rejected => "rejected",
            Self::Confirmed => "confirmed",
            Self::Approved => "approved",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }

    /// The state that a database holds.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Pending),
            2 => Some(Self::Rejected),
            3 => Some(Self::Confirmed),
            4 => Some(Self::Approved),
            5 => Some(Self::Withdrawn),
            6 => Some(Self::Expired),
            _ => None,
        }
    }
}

/// A set of removals that waits, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: HeldId,
    /// Which list it is of.
    pub on: HeldOn,
    /// The device that asked, if it was one.
    pub serial: Option<SerialNumber>,
    /// What would go, in ascending order: names of VDOMs, or keys of users.
    pub names: Arc<[Box<str>]>,
    /// What became of it.
    pub state: HeldState,
    /// Who asked, as in "device:FG101FTK19002788".
    pub by: Box<str>,
    /// Who decided; empty while nobody has.
    pub decided_by: Box<str>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Held {
    /// What the device gives back to confirm it: of this set, and of no other.
    #[must_use]
    pub fn token(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.id.0.to_be_bytes());
        for name in &*self.names {
            hasher.update(&**name);
            hasher.update([0]);
        }
        let hash: [u8; 32] = hasher.finalize().into();
        format!("c{}", HEXLOWER.encode(hash.get(..16).unwrap_or(&hash)))
    }

    /// When it ends if nobody decides.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.created_at.plus(HELD_FOR)
    }

    /// Whether it waits and its time has passed.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == HeldState::Pending && self.expires_at() <= now
    }
}

/// What a sync would remove.
#[derive(Debug)]
pub(super) struct Removals<'a> {
    /// Of which list.
    pub(super) on: HeldOn,
    /// The device that asks, if it is one.
    pub(super) serial: Option<SerialNumber>,
    /// What would go, in ascending order; empty if nothing would.
    pub(super) names: Vec<Box<str>>,
    /// Whether that is more than may go in one sync.
    pub(super) beyond: bool,
    /// What the caller confirms.
    pub(super) token: Option<&'a str>,
}

/// Whether a sync may remove what it would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It may, or there is nothing to remove.
    Go,
    /// It may not; each of its removals ends so. The notice goes into the answer.
    Stay(Outcome, Reason, Notice),
}

/// Rules on the removals of a sync, and keeps the books of what is held. To be asked by every full list, also by one that removes nothing: what
/// it no longer asks for is withdrawn.
pub(super) fn rule(
    state: &mut State,
    removals: Removals<'_>,
    records: &mut Vec<Record>,
    context: &mut Context<'_>,
) -> Result<Ruling, Stop> {
    let Removals { on, serial, names, beyond, token } = removals;
    let standing = state.held_on(on)?.cloned();
    let same = standing.filter(|held| *held.names == *names && !held.is_overdue(context.now));
    let fate = |held: &Held| if held.is_overdue(context.now) { HeldState::Expired } else { HeldState::Withdrawn };
    let replaced = state.held_over(on)?.filter(|held| same.as_ref().is_none_or(|same| same.id != held.id));
    let replaced: Vec<_> = replaced.map(|held| (held.id, fate(held))).collect();
    for (id, fate) in replaced {
        decide(state, id, fate, records, context);
    }
    let Some(held) = same else {
        if names.is_empty() || (!beyond && token.is_none()) {
            return Ok(Ruling::Go);
        }
        // A token is of one set alone. Whoever confirms another one does not mean this.
        let reason = if token.is_some() { Reason::ConfirmTokenMismatch } else { Reason::RemovalHeld };
        return Ok(Ruling::Stay(Outcome::Held, reason, hold(state, on, serial, names, records, context)));
    };
    let notice = Notice { id: held.id, token: held.token(), expires_at: held.expires_at(), is_new: false };
    if held.state == HeldState::Rejected {
        return Ok(Ruling::Stay(Outcome::Refused, Reason::RemovalRejected, notice));
    }
    match token {
        Some(token) if token == notice.token => {
            decide(state, held.id, HeldState::Confirmed, records, context);
            Ok(Ruling::Go)
        }
        Some(_) => Ok(Ruling::Stay(Outcome::Held, Reason::ConfirmTokenMismatch, notice)),
        None => Ok(Ruling::Stay(Outcome::Held, Reason::RemovalHeld, notice)),
    }
}

/// Withdraws whatever is held of this list and of those that overlap: it was reported in full again, or has gone.
pub(super) fn withdraw(
    state: &mut State,
    on: HeldOn,
    records: &mut Vec<Record>,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let ids: Vec<_> = state.held_over(on)?.map(|held| held.id).collect();
    for id in ids {
        decide(state, id, HeldState::Withdrawn, records, context);
    }
    Ok(())
}

/// Withdraws whatever is held of the lists of an owner that goes.
pub(super) fn withdraw_all(
    state: &mut State,
    owner: OwnerId,
    records: &mut Vec<Record>,
    context: &Context<'_>,
) -> Result<(), Stop> {
    for id in state.held_of(owner)? {
        decide(state, id, HeldState::Withdrawn, records, context);
    }
    Ok(())
}

fn hold(
    state: &mut State,
    on: HeldOn,
    serial: Option<SerialNumber>,
    names: Vec<Box<str>>,
    records: &mut Vec<Record>,
    context: &mut Context<'_>,
) -> Notice {
    let held = Held {
        id: HeldId(context.id()),
        on,
        serial,
        names: names.into(),
        state: HeldState::Pending,
        by: context.caller.into(),
        decided_by: Box::default(),
        created_at: context.now,
        updated_at: context.now,
    };
    let mut shown: Vec<&str> = held.names.iter().take(NAMED).map(|name| &**name).collect();
    let more = format!("and {} more", held.names.len().saturating_sub(NAMED));
    if held.names.len() > NAMED {
        shown.push(&more);
    }
    let removals = Change::value("removals", "", shown.join(", "));
    note(records, held.id, vec![Change::state(Subject::Itself, "", HeldState::Pending.as_str()), removals]);
    let notice = Notice { id: held.id, token: held.token(), expires_at: held.expires_at(), is_new: true };
    state.held.put(held.id, held);
    notice
}

/// Notes what becomes of a set.
pub(super) fn decide(state: &mut State, id: HeldId, fate: HeldState, records: &mut Vec<Record>, context: &Context<'_>) {
    let Some(held) = state.held.change(&id) else { return };
    note(records, id, vec![Change::state(Subject::Itself, held.state.as_str(), fate.as_str())]);
    held.state = fate;
    held.decided_by = context.caller.into();
    held.updated_at = later(held.updated_at, context.now);
}

fn note(records: &mut Vec<Record>, id: HeldId, changes: Vec<Change>) {
    let name = Name::Resource(format!("heldRemovals/{}", id.0).into());
    records.push(Record { about: id.0, name, generation: 0, changes });
}
