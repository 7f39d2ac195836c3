//! How something was deleted, and what becomes of it when it reports again.

use muster_proto::{Text, Timestamp};

use super::Context;

/// What a deletion means for the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DeleteMode {
    /// It may return: the next report restores it under its old id.
    Evict = 1,
    /// It may not return: every call is refused.
    Ban = 2,
    /// It is out of service: a report waits for an admin's approval.
    Retire = 3,
}

impl DeleteMode {
    /// The mode in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evict => "evict",
            Self::Ban => "ban",
            Self::Retire => "retire",
        }
    }

    /// The mode that a database holds.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Evict),
            2 => Some(Self::Ban),
            3 => Some(Self::Retire),
            _ => None,
        }
    }
}

/// What a deletion leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// When.
    pub at: Timestamp,
    /// What it means for the future.
    pub mode: DeleteMode,
    /// Who, as in "admin:first" or "device:FG101FTK19002788".
    pub by: Box<str>,
    /// Why, in the words of whoever did it; empty if they said nothing.
    pub why: Text,
}

impl Tombstone {
    /// That of something that went and may return, removed by the caller of the command at hand.
    pub(super) fn evicted(context: &Context<'_>) -> Self {
        Self { at: context.now, mode: DeleteMode::Evict, by: context.caller.into(), why: Text::default() }
    }
}
