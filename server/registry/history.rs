//! How an auth client was: the audit log, folded.
//!
//! An entry of the audit log holds what one operation changed about one thing, so that the changes of an auth client, in their order, lead from
//! nothing to what it is now; up to any moment they lead to what it was then.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{Timestamp, VdomName};

use super::AuthClient;
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

/// The history of one auth client while it is put together. It takes the entries of the whole log, or of the auth client itself and of the
/// devices that ever reported it, in the order of their ids.
#[derive(Clone, Debug)]
pub struct Folding {
    /// The ids of the auth client, and of the Web app that it is.
    own: Vec<i64>,
    vdom: VdomName,
    /// What is earlier is of others.
    created_at: Timestamp,
    /// Whose it is: "devices/SERIAL" or "cluster NAME"; empty before it was created.
    owner: String,
    /// The clusters that devices are in, by the names of both.
    clusters: BTreeMap<String, String>,
    /// The realm that it goes to when it is created.
    realm: String,
    /// What it is so far.
    past: Option<Past>,
}

impl Folding {
    /// That of an auth client, before anything happened.
    #[must_use]
    pub fn of(client: &AuthClient) -> Self {
        let web_app = client.vdom == VdomName::WEB_APP;
        Self {
            own: [client.id.0].into_iter().chain(web_app.then_some(client.owner.0)).collect(),
            vdom: client.vdom,
            created_at: client.created_at,
            owner: String::new(),
            clusters: BTreeMap::new(),
            realm: DEFAULT_REALM.to_owned(),
            past: None,
        }
    }

    /// What it is so far; `None` before it was created.
    #[must_use]
    pub fn past(&self) -> Option<&Past> {
        self.past.as_ref()
    }

    /// Takes one more entry into account, and tells whether it is about the auth client.
    pub fn take(&mut self, entry: &Entry) -> bool {
        self.follow_clusters(entry);
        if entry.at < self.created_at {
            return false;
        }
        let is_own = self.own.contains(&entry.about);
        let mut concerned = false;
        for change in &entry.changes {
            let is_about_it = match &change.vdom {
                None => is_own,
                Some(vdom) => vdom == self.vdom.as_str() && (is_own || self.reports(entry, change)),
            };
            if is_about_it {
                concerned = true;
                self.apply(entry, change);
            }
        }
        concerned
    }

    /// Notes which device is in which cluster, and what clusters are called.
    fn follow_clusters(&mut self, entry: &Entry) {
        for change in entry.changes.iter().filter(|change| change.vdom.is_none()) {
            if change.field == "cluster" && entry.name.starts_with("devices/") {
                self.clusters.remove(&entry.name);
                if !change.after.is_empty() {
                    self.clusters.insert(entry.name.clone(), change.after.clone());
                }
            } else if change.field == "member" && !change.before.is_empty() {
                let [before, after] = [&change.before, &change.after].map(|serial| format!("devices/{serial}"));
                let cluster = self.clusters.remove(&before);
                // A box that takes the place of another takes it in its cluster too.
                self.clusters.extend(cluster.filter(|_| !change.after.is_empty()).map(|cluster| (after, cluster)));
            } else if change.field == "name" && entry.name.starts_with("clusters/") && change.after.is_empty() {
                // It is no more.
                self.clusters.retain(|_, name| *name != change.before);
            } else if change.field == "name" && entry.name.starts_with("clusters/") && !change.before.is_empty() {
                let [before, after] = [&change.before, &change.after].map(|name| format!("cluster {name}"));
                if self.owner == before {
                    self.owner = after;
                }
                for name in self.clusters.values_mut().filter(|name| **name == change.before) {
                    name.clone_from(&change.after);
                }
            }
        }
    }

    /// Whose auth clients a device reports.
    fn owner_of(&self, device: &str) -> String {
        self.clusters.get(device).map_or_else(|| device.to_owned(), |cluster| format!("cluster {cluster}"))
    }

    /// Whether what an entry about a device says of the VDOM is about this auth client.
    fn reports(&self, entry: &Entry, change: &EntryChange) -> bool {
        if !entry.name.starts_with("devices/") {
            return false;
        }
        if self.past.is_none() {
            // Several may come into being at one moment, but not of one VDOM on one device.
            return entry.at == self.created_at && change.user.is_none() && change.before.is_empty();
        }
        // That one of the same VDOM went up in this one is said of that one.
        self.owner == self.owner_of(&entry.name) && change.after != "merged"
    }

    fn apply(&mut self, entry: &Entry, change: &EntryChange) {
        if self.past.is_none() && change.user.is_none() && change.before.is_empty() {
            match change.field.as_str() {
                "realm" => self.realm.clone_from(&change.after),
                "state" => {
                    self.owner = self.owner_of(&entry.name);
                    self.past = Some(Past {
                        at: entry.at,
                        operation: entry.operation,
                        generation: entry.generation,
                        active: false,
                        realm: self.realm.clone(),
                        alias: String::new(),
                        users: BTreeSet::new(),
                    });
                }
                _ => {}
            }
        }
        let Some(past) = &mut self.past else { return };
        (past.at, past.operation) = (entry.at, entry.operation);
        past.generation = past.generation.max(entry.generation);
        if change.user.is_none() && change.field == "owner" {
            self.owner.clone_from(&change.after);
            // Whoever has it by itself is in no cluster, whatever was noted of that.
            self.clusters.remove(&self.owner);
            if change.after == "merged" {
                past.active = false;
                past.users.clear();
            }
        } else {
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

/// What differs between two moments, each value once. `before` is unset if the auth client was not there yet.
#[must_use]
pub fn differences(vdom: VdomName, before: Option<&Past>, after: Option<&Past>) -> Vec<EntryChange> {
    let values = |past: Option<&Past>| match past {
        None => Default::default(),
        Some(past) => {
            let state = if past.active { "active" } else { "deleted" };
            [state.to_owned(), past.realm.clone(), past.alias.clone()]
        }
    };
    let change = |user: Option<&String>, field: &str, before: String, after: String| EntryChange {
        vdom: Some(vdom.to_string()),
        user: user.cloned(),
        field: field.to_owned(),
        before,
        after,
    };
    let mut differences = Vec::new();
    for (field, (before, after)) in
        ["state", "realm", "alias"].into_iter().zip(values(before).into_iter().zip(values(after)))
    {
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
