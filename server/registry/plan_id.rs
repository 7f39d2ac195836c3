//! Plan ids: a dry run that can be held to its word.
//!
//! A plan id is the hash of what a command would do: the rows it would change as they were found, what it would change in them, and what
//! it would answer. Nothing is kept: the command that names a plan is planned again, and is done only if the hash is still the same.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::{Action, Answer, Planned, State};

/// The plan id of a command that was just worked out and neither kept nor taken back yet.
pub(super) fn of(state: &State, action: &Action, planned: &Planned) -> String {
    let mut hasher = Sha256::new();
    let Answer { outcome, reason, status, items, users, clients, .. } = &planned.answer;
    let answer = format!("{:?}", (outcome, reason, status, items, users, clients));
    // Ids are left out: new ones differ each time.
    let changes: Vec<_> = planned.records.iter().map(|record| &record.changes).collect();
    for text in [format!("{action:?}"), state.found(), answer, format!("{changes:?}")] {
        hasher.update(text.len().to_be_bytes());
        hasher.update(text);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    let short = hash.get(..16).unwrap_or(&hash);
    format!("p{}", HEXLOWER.encode(short))
}
