//! A register with people in it, and what admins do to them.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{UserKey, UserKind, Username};

use super::super::users::{digest_of, toggle};
use super::*;

/// A register with users, and the VDOMs they are on.
#[derive(Clone, Debug)]
pub(super) struct People(pub(super) Register);

impl People {
    /// A register with these VDOMs and "root".
    pub(super) fn with(names: &str) -> Self {
        Self(Register::with(names))
    }

    /// Makes a realm.
    pub(super) fn realm(&mut self, name: &str) -> RealmId {
        let new = muster_proto::realms::NewRealm {
            name: name.parse().unwrap(),
            description: Text::default(),
            user_quota: None,
            request: None,
        };
        match self.0.answer(Action::CreateRealm(new)).after {
            After::Realm(realm) => realm.id,
            other => panic!("{other:?}"),
        }
    }

    /// The auth client as an admin names it.
    pub(super) fn named(&self, name: &str) -> NamedClient {
        let client = self.0.client(name);
        NamedClient { id: client.id, owner: client.owner, vdom: client.vdom, label: format!("X-{name}").into() }
    }

    /// Puts a user on a VDOM, as a device does.
    pub(super) fn add(&mut self, name: &str, username: &str) {
        let username: Username = username.parse().unwrap();
        let key = username.key(true);
        let (client, owner, realm, active) = {
            let client = self.0.client(name);
            (client.id, client.owner, client.realm, client.is_active())
        };
        let state = &mut self.0.state;
        let held = state.user_refs.get(&(client, key.clone()));
        if !active || held.is_some_and(|held| held.deleted_at.is_none()) {
            return;
        }
        let now = Timestamp::from_micros(self.0.now * 1_000_000 + 1);
        let person = state.users.get(&(realm, key.clone())).map(|user| (user.id, user.deleted_at.is_some()));
        let (id, is_new) = person.unwrap_or_else(|| {
            self.0.next_id += 1;
            (UserId(self.0.next_id), true)
        });
        let person = User {
            id,
            realm,
            key: key.clone(),
            username: username.clone(),
            disabled: false,
            references: 0,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        let mut person = state.users.get(&(realm, key.clone())).cloned().unwrap_or(person);
        person.references += 1;
        person.deleted_at = None;
        state.users.put((realm, key.clone()), person);
        if is_new {
            state.realms.change(&realm).unwrap().users += 1;
            state.settings.change(&()).unwrap().users += 1;
        }
        self.0.next_id += 1;
        let attributes = UserAttributes {
            username,
            email: "a@example.com".parse().unwrap(),
            mobile: None,
            kind: UserKind::Local,
            active: true,
        };
        let of_user = digest_of(&attributes);
        let ref_id = held_id(state, client, &key).unwrap_or(UserRefId(self.0.next_id));
        let found = UserRef {
            id: ref_id,
            client,
            key: key.clone(),
            user: id,
            attributes,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        state.user_refs.put((client, key), found);
        let client = state.auth_clients.change(&(owner, vdom(name))).unwrap();
        client.users += 1;
        toggle(&mut client.users_digest, &of_user);
        state.keep();
    }

    pub(super) fn user(&self, realm: RealmId, username: &str) -> Option<&User> {
        self.0.state.users.get(&(realm, UserKey::new(username)))
    }

    /// The user as an admin names it.
    pub(super) fn person(&self, realm: RealmId, username: &str) -> NamedUser {
        let user = self.user(realm, username).unwrap();
        NamedUser { id: user.id, realm, key: user.key.clone(), etag: None }
    }

    pub(super) fn set_disabled(&mut self, realm: RealmId, username: &str, disabled: bool) -> Outcome {
        let user = self.person(realm, username);
        self.0.answer(Action::SetUserDisabled { user, disabled }).outcome
    }

    /// The people who are there, by id: (realm, key).
    pub(super) fn present(&self) -> BTreeMap<i64, (RealmId, String)> {
        let users = self.0.state.users.iter().map(|(_, user)| user).filter(|user| user.deleted_at.is_none());
        users.map(|user| (user.id.0, (user.realm, user.key.as_str().to_owned()))).collect()
    }

    /// Every count of the register equals the rows that it counts, and every reference stands for the person of its realm.
    pub(super) fn check(&self) {
        let state = &self.0.state;
        let users: Vec<&User> = state.users.iter().map(|(_, user)| user).collect();
        let present = |found: &&UserRef| found.deleted_at.is_none();
        let refs: Vec<&UserRef> = state.user_refs.iter().map(|(_, found)| found).filter(present).collect();
        let clients: Vec<&AuthClient> = state.auth_clients.iter().map(|(_, client)| client).collect();
        let count = |number: usize| i64::try_from(number).unwrap();
        for (id, realm) in state.realms.iter() {
            let there = users.iter().filter(|user| user.realm == *id && user.deleted_at.is_none()).count();
            let active = clients.iter().filter(|client| client.realm == *id && client.is_active()).count();
            assert_eq!((realm.users, realm.clients), (count(there), count(active)), "{realm:?}");
            assert!(realm.is_active() || active + there == 0, "{realm:?}");
        }
        let all = users.iter().filter(|user| user.deleted_at.is_none()).count();
        assert_eq!(state.settings().users, count(all));
        for user in &users {
            let of_user = refs.iter().filter(|found| found.user == user.id).count();
            assert_eq!(user.references, count(of_user), "{user:?}");
            assert_eq!(user.deleted_at.is_some(), of_user == 0, "{user:?}");
        }
        for client in &clients {
            let of_client: Vec<_> = refs.iter().filter(|found| found.client == client.id).collect();
            let mut digest = [0; 32];
            for found in &of_client {
                toggle(&mut digest, &digest_of(&found.attributes));
                let person = state.users.get(&(client.realm, found.key.clone())).unwrap();
                assert_eq!(person.id, found.user);
            }
            assert_eq!((client.users, client.users_digest), (count(of_client.len()), digest), "{client:?}");
        }
        let ids: BTreeSet<i64> = users.iter().map(|user| user.id.0).collect();
        assert_eq!(ids.len(), users.len());
    }
}

fn held_id(state: &State, client: AuthClientId, key: &UserKey) -> Option<UserRefId> {
    state.user_refs.get(&(client, key.clone())).map(|held| held.id)
}

#[test]
fn a_disabled_user_stays_counted_until_it_is_deleted() {
    let mut people = People::with("a");
    people.add("a", "alice");
    assert_eq!(people.set_disabled(RealmId::DEFAULT, "alice", true), Outcome::Updated);
    assert_eq!(people.set_disabled(RealmId::DEFAULT, "alice", true), Outcome::Unchanged);
    assert!(people.user(RealmId::DEFAULT, "alice").unwrap().disabled);
    assert_eq!(people.0.state.settings().users, 1);
    assert_eq!(people.set_disabled(RealmId::DEFAULT, "alice", false), Outcome::Updated);
    people.check();
}

#[test]
fn a_deleted_user_is_off_all_of_its_auth_clients_and_each_is_named() {
    let mut people = People::with("a b");
    for (client, name) in [("a", "Alice"), ("b", "alice"), ("a", "bob")] {
        people.add(client, name);
    }
    let delete = |people: &People| Action::DeletePerson {
        user: people.person(RealmId::DEFAULT, "alice"),
        clients: vec![people.named("a"), people.named("b")],
    };
    let action = delete(&people);
    let rehearsal = people.0.answer(rehearsed(action.clone().into()));
    let answer = people.0.answer(action);
    assert_eq!((answer.outcome, answer.reason), (Outcome::Removed, Some(Reason::UserMayReturn)));
    let labels: Vec<_> = answer.clients.iter().map(|item| (&*item.client.label, item.outcome)).collect();
    assert_eq!(labels, [("X-a", Outcome::Removed), ("X-b", Outcome::Removed)]);
    assert_eq!(rehearsal.clients, answer.clients);
    assert_eq!(people.0.state.settings().users, 1);
    people.check();
    let again = delete(&people);
    let again = people.0.answer(again);
    assert_eq!((again.outcome, again.reason), (Outcome::Unchanged, Some(Reason::AlreadyDeleted)));
    let gone = people.person(RealmId::DEFAULT, "alice");
    let disabling = Action::SetUserDisabled { user: gone, disabled: true };
    assert_eq!(people.0.refused(disabling), Reason::UserUnknown);
}

#[test]
fn a_user_that_came_to_another_auth_client_meanwhile_is_not_deleted_by_halves() {
    let mut people = People::with("a b");
    people.add("a", "alice");
    let clients = vec![people.named("a")];
    let user = people.person(RealmId::DEFAULT, "alice");
    people.add("b", "alice");
    assert_eq!(people.0.refused(Action::DeletePerson { user, clients }), Reason::EtagMismatch);
    assert_eq!(people.user(RealmId::DEFAULT, "alice").unwrap().references, 2);
    people.check();
}

#[test]
fn a_user_is_changed_only_with_its_etag_and_where_it_was_found() {
    let mut people = People::with("a");
    people.add("a", "alice");
    let stale = NamedUser { etag: Some("0".to_owned()), ..people.person(RealmId::DEFAULT, "alice") };
    assert_eq!(people.0.refused(Action::SetUserDisabled { user: stale, disabled: true }), Reason::EtagMismatch);
    let exact = people.user(RealmId::DEFAULT, "alice").unwrap().etag();
    let exact = NamedUser { etag: Some(exact), ..people.person(RealmId::DEFAULT, "alice") };
    assert_eq!(people.0.answer(Action::SetUserDisabled { user: exact, disabled: true }).outcome, Outcome::Updated);
    let moved = NamedUser { id: UserId(1), ..people.person(RealmId::DEFAULT, "alice") };
    assert_eq!(people.0.refused(Action::SetUserDisabled { user: moved, disabled: true }), Reason::EtagMismatch);
}
