//! What does not hold, with the evidence.

use std::fmt;

/// What does not hold, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// An acknowledged device is not in use.
    DeviceAbsent {
        /// Which one.
        serial: String,
        /// The operation that acknowledged it.
        operation: String,
    },
    /// An acknowledged VDOM is not in use.
    VdomAbsent {
        /// Of which device.
        serial: String,
        /// Which one.
        vdom: String,
        /// The operation that acknowledged it.
        operation: String,
    },
    /// An acknowledged user is not there.
    UserAbsent {
        /// Of which device.
        serial: String,
        /// Which one.
        user: String,
    },
    /// A VDOM is in use that was acknowledged as removed, or never reported.
    VdomUnexpected {
        /// Of which device.
        serial: String,
        /// Which one.
        vdom: String,
        /// The operation that acknowledged the list without it.
        operation: String,
    },
    /// The register is older than, or not the same as, what was acknowledged.
    StateDiffers {
        /// Of which device.
        serial: String,
        /// The generation that was acknowledged, and the one that is held.
        generations: (i64, i64),
        /// The operation that acknowledged it.
        operation: String,
    },
    /// Two things have one id.
    DuplicateId {
        /// The id.
        id: i64,
        /// Who has it.
        holders: (String, String),
    },
    /// Something has another id than before.
    IdChanged {
        /// What.
        what: String,
        /// The id before and now; none if it is gone.
        ids: (i64, Option<i64>),
    },
    /// Acknowledged operations have no terminal event, and no gap accounts for them.
    EventsLost {
        /// Which viewer.
        viewer: usize,
        /// How many.
        count: usize,
        /// How many events its gaps account for.
        missed: u64,
        /// One of the operations, and whose it was.
        example: (String, String),
    },
    /// An operation has several terminal events.
    EventTwice {
        /// Which viewer.
        viewer: usize,
        /// The operation.
        operation: String,
        /// How many.
        count: u32,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceAbsent { serial, operation } => {
                write!(f, "acknowledged but absent: device {serial} (operation {operation})")
            }
            Self::VdomAbsent { serial, vdom, operation } => {
                write!(f, "acknowledged but absent: VDOM {vdom} of {serial} (operation {operation})")
            }
            Self::UserAbsent { serial, user } => write!(f, "acknowledged but absent: user {user} of {serial}"),
            Self::VdomUnexpected { serial, vdom, operation } => {
                write!(f, "present but not acknowledged: VDOM {vdom} of {serial} (operation {operation})")
            }
            Self::StateDiffers { serial, generations: (acknowledged, held), operation } => write!(
                f,
                "another state than acknowledged: {serial} is at generation {held}, acknowledged was {acknowledged} (operation {operation})"
            ),
            Self::DuplicateId { id, holders: (one, other) } => {
                write!(f, "duplicate id: {one} and {other} both have {id}")
            }
            Self::IdChanged { what, ids: (before, Some(now)) } => {
                write!(f, "changed id: {what} had {before}, and has {now}")
            }
            Self::IdChanged { what, ids: (before, None) } => write!(f, "lost id: {what} had {before}, and is gone"),
            Self::EventsLost { viewer, count, missed, example: (operation, serial) } => write!(
                f,
                "events lost without a gap: viewer {viewer} missed the end of {count} operations and its gaps count {missed} events; one \
                 is {operation} of {serial}"
            ),
            Self::EventTwice { viewer, operation, count } => {
                write!(f, "an event twice: viewer {viewer} saw {count} ends of operation {operation}")
            }
        }
    }
}
