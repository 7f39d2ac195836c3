//! How an auth client was: the audit log, folded.
//!
//! An entry of the audit log holds what one operation changed about one thing, so that the changes of an auth client, in their order, lead from
//! nothing to what it is now; up to any moment they lead to what it was then.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{Timestamp, VdomName};

use crate::operation::OperationId;

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id; entries are in the order of their commits.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// The operation.
    pub operation: OperationId,
    /// Who.
    pub caller: String,
    /// The method, as in "Sync".
    pub method: String,
    /// The id of what it is about.
    pub about: i64,
    /// The name of what it is about.
    pub name: String,
    /// The generation of the device afterwards; 0 if it is about no device.
    pub generation: i64,
    /// What changed, in its order.
    pub changes: Vec<EntryChange>,
}

/// One value that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryChange {
    /// The VDOM it belongs to, if to one.
    pub vdom: Option<String>,
    /// The user it belongs to, if to one.
    pub user: Option<String>,
    /// The field.
    pub field: String,
    /// The value before; empty if there was none.
    pub before: String,
    /// The value after; empty if there is none.
    pub after: String,
}

/// An auth client as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When it last changed.
    pub at: Timestamp,
    /// The operation of that change.
    pub operation: OperationId,
    /// The generation of the device then.
    pub generation: i64,
    /// Whether it was in use.
    pub active: bool,
    /// The name of its realm.
    pub realm: String,
    /// Its alias.
    pub alias: String,
    /// Its users, by name.
    pub users: BTreeSet<String>,
}

/// The realm of an auth client whose creation says nothing of one.
const DEFAULT_REALM: &str = "default";

/// Which entries are about an auth client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folding {
    /// The id of the auth client.
    pub client: i64,
    /// Its VDOM.
    pub vdom: VdomName,
    /// When it was created: what is earlier is of others.
    pub created_at: Timestamp,
    /// Devices that came to its cluster later, with the id of the entry of that: what they did before is of other auth clients.
    pub joined: BTreeMap<i64, i64>,
}

impl Folding {
    /// The changes of an entry that are about the auth client.
    fn changes<'e>(&self, entry: &'e Entry) -> impl Iterator<Item = &'e EntryChange> {
        let is_own = entry.about == self.client;
        let is_later = entry.at >= self.created_at && self.joined.get(&entry.about).is_none_or(|id| entry.id > *id);
        let vdom = self.vdom;
        entry
            .changes
            .iter()
            .filter(move |change| is_later && change.vdom.as_deref().map_or(is_own, |name| name == vdom.as_str()))
    }

    /// Whether an entry is about the auth client.
    #[must_use]
    pub fn concerns(&self, entry: &Entry) -> bool {
        self.changes(entry).next().is_some()
    }

    /// Takes one more entry into account; they come in the order of their ids.
    pub fn apply(&self, past: &mut Option<Past>, entry: &Entry) {
        for change in self.changes(entry) {
            let creates = change.user.is_none() && change.field == "state" && change.before.is_empty();
            if past.is_none() && creates {
                *past = Some(Past {
                    at: entry.at,
                    operation: entry.operation,
                    generation: entry.generation,
                    active: false,
                    realm: DEFAULT_REALM.to_owned(),
                    alias: String::new(),
                    users: BTreeSet::new(),
                });
            }
            let Some(past) = past else { continue };
            (past.at, past.operation) = (entry.at, entry.operation);
            past.generation = past.generation.max(entry.generation);
            past.take(change);
        }
    }
}

impl Past {
    fn take(&mut self, change: &EntryChange) {
        let EntryChange { user, field, before, after, .. } = change;
        match (user.as_deref(), field.as_str()) {
            (None, "state") => {
                self.active = after == "active";
                // An auth client goes with its users; what brings it back says which of them come back.
                if !self.active {
                    self.users.clear();
                }
            }
            (None, "realm") => self.realm.clone_from(after),
            (None, "alias") => self.alias.clone_from(after),
            (Some(user), "state") if after == "active" => drop(self.users.insert(user.to_owned())),
            (Some(user), "state") if after == "deleted" => drop(self.users.remove(user)),
            (Some(_), "username") => {
                self.users.remove(before);
                self.users.insert(after.clone());
            }
            _ => {}
        }
    }
}

/// How one value is read from what was.
type ValueOf = fn(&Past) -> String;

/// What differs between two moments, each value once. `before` is unset if the auth client was not there yet.
#[must_use]
pub fn differences(vdom: VdomName, before: Option<&Past>, after: Option<&Past>) -> Vec<EntryChange> {
    let text = |past: Option<&Past>, of: ValueOf| past.map(of).unwrap_or_default();
    let fields: [(&str, ValueOf); 3] = [
        ("state", |past| if past.active { "active" } else { "deleted" }.to_owned()),
        ("realm", |past| past.realm.clone()),
        ("alias", |past| past.alias.clone()),
    ];
    let change = |user: Option<&String>, field: &str, before: String, after: String| EntryChange {
        vdom: Some(vdom.to_string()),
        user: user.cloned(),
        field: field.to_owned(),
        before,
        after,
    };
    let mut differences = Vec::new();
    for (field, of) in fields {
        let (before, after) = (text(before, of), text(after, of));
        if before != after {
            differences.push(change(None, field, before, after));
        }
    }
    let nobody = BTreeSet::new();
    let users = |past: Option<&'_ Past>| past.map_or_else(|| nobody.clone(), |past| past.users.clone());
    let (before, after) = (users(before), users(after));
    for user in before.difference(&after) {
        differences.push(change(Some(user), "state", "active".to_owned(), "deleted".to_owned()));
    }
    for user in after.difference(&before) {
        differences.push(change(Some(user), "state", String::new(), "active".to_owned()));
    }
    differences
}
