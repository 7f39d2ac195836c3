//! The audit log, folded, is the register.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::story::steps;
use super::*;
use crate::operation::OperationId;

/// The entries of a register, and what it was after each command.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    then: Vec<(Timestamp, BTreeMap<&'static str, Seen>)>,
}

/// An auth client as the register has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: i64,
    active: bool,
    realm: String,
    alias: String,
    users: Vec<String>,
}

const NAMES: [&str; 4] = ["root", "a", "b", "#FOS_Administrator"];

impl Log {
    fn note(&mut self, planned: &Planned, now: Timestamp) {
        for record in &planned.records {
            let id = i64::try_from(self.entries.len()).unwrap() + 1;
            let (vdom, user) = (
                |change: &Change| match &change.subject {
                    Subject::Itself => None,
                    Subject::Vdom(vdom) | Subject::User(vdom, _) => Some(vdom.to_string()),
                },
                |change: &Change| match &change.subject {
                    Subject::User(_, user) => Some(user.to_string()),
                    _ => None,
                },
            );
            let changes = record.changes.iter().map(|change| EntryChange {
                vdom: vdom(change),
                user: user(change),
                field: change.field.to_owned(),
                before: change.before.to_string(),
                after: change.after.to_string(),
            });
            self.entries.push(Entry {
                id,
                at: now,
                operation: OperationId::new(now, 0),
                caller: "test".to_owned(),
                method: "Test".to_owned(),
                about: record.about,
                name: String::new(),
                generation: record.generation,
                changes: changes.collect(),
            });
        }
    }

    /// What the entries up to a time say of an auth client.
    fn fold(&self, register: &Register, name: &str, until: Timestamp) -> Option<Past> {
        let client = register.known(name)?;
        let folding =
            Folding { client: client.id.0, vdom: client.vdom, created_at: client.created_at, joined: BTreeMap::new() };
        let about = [client.id.0, client.owner.0];
        let mut past = None;
        for entry in self.entries.iter().filter(|entry| entry.at <= until && about.contains(&entry.about)) {
            folding.apply(&mut past, entry);
        }
        past
    }
}

fn seen(register: &Register) -> BTreeMap<&'static str, Seen> {
    let state = &register.state;
    let mut found = BTreeMap::new();
    for name in NAMES {
        let Some(client) = register.known(name) else { continue };
        let users =
            state.user_refs.iter().map(|(_, it)| it).filter(|it| it.client == client.id && it.deleted_at.is_none());
        let mut users: Vec<String> = users.map(|it| it.attributes.username.to_string()).collect();
        users.sort();
        let realm = state.realms.get(&client.realm).unwrap().name.to_string();
        let alias = client.alias.to_string();
        found.insert(name, Seen { id: client.id.0, active: client.is_active(), realm, alias, users });
    }
    found
}

fn as_seen(past: &Past, id: i64) -> Seen {
    let Past { active, realm, alias, users, .. } = past.clone();
    Seen { id, active, realm, alias, users: users.into_iter().collect() }
}

proptest! {
    #[test]
    fn all_changes_lead_to_what_is_and_those_up_to_a_time_to_what_was_then(steps in steps(40)) {
        let (mut register, east) = Register::with_east();
        let mut log = Log::default();
        for step in &steps {
            let Some(command) = register.command(step, east) else { continue };
            let validate_only = command.options.validate_only;
            let planned = register.plan(command);
            let now = Timestamp::from_micros(register.now * 1_000_000);
            if let Ok(planned) = &planned
                && !validate_only
            {
                log.note(planned, now);
            }
            log.then.push((now, seen(&register)));
        }
        for (at, then) in &log.then {
            for name in NAMES {
                let Some(client) = register.known(name) else { continue };
                let folded = log.fold(&register, name, *at).map(|past| as_seen(&past, client.id.0));
                // One of the same name that was purged before was another.
                let then = then.get(name).filter(|then| then.id == client.id.0);
                prop_assert_eq!(folded.as_ref(), then, "{} at {}", name, at);
            }
        }
    }
}

#[test]
fn differences_name_each_value_once() {
    let past = |active, realm: &str, users: &[&str]| Past {
        at: Timestamp::from_micros(1),
        operation: OperationId::new(Timestamp::from_micros(1), 0),
        generation: 1,
        active,
        realm: realm.to_owned(),
        alias: String::new(),
        users: users.iter().map(|user| (*user).to_owned()).collect(),
    };
    let said = |before: Option<&Past>, after: &Past| {
        let found = differences(vdom("a"), before, Some(after));
        found
            .iter()
            .map(|it| format!("{} {} {}>{}", it.user.as_deref().unwrap_or("-"), it.field, it.before, it.after))
            .collect::<Vec<_>>()
    };
    let (first, second) = (past(true, "default", &["alice", "bob"]), past(true, "east", &["bob", "carol"]));
    let expected = ["- realm default>east", "alice state active>deleted", "carol state >active"];
    assert_eq!(said(Some(&first), &second), expected);
    assert!(said(Some(&first), &first).is_empty());
    assert_eq!(said(None, &past(true, "default", &[])), ["- state >active", "- realm >default"]);
}
