//! The list of a sync: its names, and each of its users on the way in and out.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io;

use muster_proto::{UserAttributes, UserKey, printable, v1};

use super::{PART, Spooled};
use crate::registry::user_sync::{Entry, Listed, SyncItem};
use crate::spool::SpoolReader;

/// How many characters of a name are said if it cannot be taken.
const SHOWN: usize = 80;

/// Names, by hashes that nobody can foresee: a hundred thousand of them take a few megabytes.
pub(super) struct Names {
    fold: bool,
    hashers: [RandomState; 2],
    known: HashSet<[u64; 2]>,
}

impl Names {
    pub(super) fn new(fold: bool) -> Self {
        Self { fold, hashers: [RandomState::new(), RandomState::new()], known: HashSet::new() }
    }

    fn hash(&self, key: &str) -> [u64; 2] {
        let [first, second] = &self.hashers;
        [first.hash_one(key), second.hash_one(key)]
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.known.contains(&self.hash(key))
    }

    /// Notes a name; false if it was noted before.
    pub(super) fn insert(&mut self, name: &str) -> bool {
        let hash = if self.fold { self.hash(&name.to_lowercase()) } else { self.hash(name) };
        self.known.insert(hash)
    }
}

/// The users of the list, part by part.
pub(super) struct Parts {
    users: SpoolReader,
    names: Names,
    fold: bool,
}

impl Parts {
    pub(super) fn new(users: SpoolReader, fold: bool) -> Self {
        Self { users, names: Names::new(fold), fold }
    }

    /// The next users, as the rules take them; none behind the last.
    pub(super) fn next(&mut self) -> io::Result<Vec<Entry>> {
        let spooled: Vec<Spooled> = self.users.take(PART)?;
        Ok(spooled.iter().map(|user| entry(user, &mut self.names, self.fold)).collect())
    }
}

/// A user of the list, as the rules take it.
fn entry(Spooled { user, digest }: &Spooled, names: &mut Names, fold: bool) -> Entry {
    match UserAttributes::parse(user) {
        Ok(attributes) => {
            let again = !names.insert(attributes.username.as_str());
            let digest = digest.as_slice().try_into().unwrap_or_default();
            Entry { key: attributes.username.key(fold), listed: Listed::User(Box::new(attributes), digest), again }
        }
        Err((reason, field)) => {
            let key = if fold { user.username.to_lowercase() } else { user.username.clone() };
            let shown: String = user.username.chars().take(SHOWN).collect();
            let listed = Listed::Refused(printable(&shown).into(), reason, field);
            Entry { listed, key: UserKey::new(&key), again: false }
        }
    }
}

/// What became of a user, as the caller is told.
pub(super) fn outcome(item: &SyncItem) -> v1::UserOutcome {
    v1::UserOutcome {
        username: item.username.to_string(),
        outcome: item.outcome.into(),
        reason: item.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        fix: item.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
        detail: item.detail.clone(),
    }
}
