//! Modes, undeleting and purging, with users.

use std::collections::HashMap;

use muster_proto::UserKey;
use muster_proto::user::UserKind;
use proptest::prelude::*;

use super::*;
use crate::registry::users::{digest_of, toggle};

const DAY: i64 = 86_400;

pub(super) fn verdict(mode: DeleteMode, why: &str) -> Verdict {
    Verdict { mode: Some(mode), why: why.parse().unwrap() }
}

fn delete_device(mode: DeleteMode) -> Action {
    Action::DeleteDevice { serial: serial(), generation: None, verdict: verdict(mode, "sold") }
}

fn delete_client(name: &str, mode: DeleteMode) -> Action {
    Action::DeleteAuthClient { serial: serial(), vdom: vdom(name), etag: None, verdict: verdict(mode, "") }
}

fn undelete_client(name: &str) -> Action {
    Action::UndeleteAuthClient { serial: serial(), vdom: vdom(name), etag: None }
}

fn undelete() -> Action {
    Action::UndeleteDevice { serial: serial() }
}

fn purge() -> Action {
    Action::PurgeDevice { serial: serial() }
}

impl Register {
    /// A register whose device has these VDOMs, each with these users.
    pub(super) fn with_users(names: &str, users: &str) -> Self {
        let mut register = Self::with(names);
        for vdom in names.split_whitespace() {
            users.split_whitespace().for_each(|user| register.add(vdom, user));
        }
        register
    }

    /// Puts a user on an auth client, if it is there.
    pub(super) fn add(&mut self, name: &str, user: &str) {
        self.now += 1;
        let now = Timestamp::from_micros(self.now * 1_000_000);
        let Some(owner) = self.held().filter(|device| device.is_active()).map(Device::owner) else { return };
        let Some(client) = self.state.auth_clients.get(&(owner, vdom(name))).filter(|it| it.is_active()).cloned()
        else {
            return;
        };
        let key = UserKey::new(user);
        let row = (client.id, key.clone());
        let old = self.state.user_refs.get(&row).cloned();
        if old.as_ref().is_some_and(|old| old.deleted_at.is_none()) {
            return;
        }
        let mut id = || {
            self.next_id += 1;
            self.next_id - 1
        };
        let place = (client.realm, key.clone());
        let mut person = self.state.users.get(&place).cloned().unwrap_or_else(|| User {
            id: UserId(id()),
            realm: client.realm,
            key: key.clone(),
            username: user.parse().unwrap(),
            disabled: user == "disabled",
            references: 0,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        });
        let comes = person.references == 0;
        person.references += 1;
        person.deleted_at = None;
        let attributes = UserAttributes {
            username: user.parse().unwrap(),
            email: format!("{user}@example.com").parse().unwrap(),
            mobile: None,
            kind: UserKind::Local,
            active: true,
        };
        let of_user = digest_of(&attributes);
        let user_ref = UserRef {
            id: old.map_or_else(|| UserRefId(id()), |old| old.id),
            client: client.id,
            key,
            user: person.id,
            attributes,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        self.state.users.put(place, person);
        self.state.user_refs.put(row, user_ref);
        let client = self.state.auth_clients.change(&(owner, client.vdom)).unwrap();
        client.users += 1;
        toggle(&mut client.users_digest, &of_user);
        client.updated_at = now;
        if comes {
            self.state.settings.change(&()).unwrap().users += 1;
            self.state.realms.change(&RealmId::DEFAULT).unwrap().users += 1;
        }
        self.state.keep();
    }

    /// What is held, its times and generations aside.
    pub(super) fn rows(&self) -> Vec<String> {
        let state = &self.state;
        let gone = |deleted: bool| if deleted { " gone" } else { "" };
        let devices = state.devices.iter().map(|(_, it)| {
            format!("{:?} {:?} {:?} {:?}{}", it.id, it.info, it.digest, it.key_hash, gone(!it.is_active()))
        });
        let clients = state.auth_clients.iter().map(|(_, it)| {
            let (users, digest) = (it.users, it.users_digest);
            format!(
                "{:?} {:?} {:?} {:?} {users} {digest:?}{}",
                it.id,
                it.vdom,
                it.realm,
                it.alias,
                gone(!it.is_active())
            )
        });
        let users = state.users.iter().map(|(_, it)| {
            let (disabled, references) = (it.disabled, it.references);
            format!("{:?} {:?} {disabled} {references}{}", it.id, it.key, gone(it.deleted_at.is_some()))
        });
        let refs = state.user_refs.iter().map(|(_, it)| {
            format!("{:?} {:?} {:?} {:?}{}", it.id, it.client, it.user, it.attributes, gone(it.deleted_at.is_some()))
        });
        let counts = [format!("{} users", state.settings().users)];
        devices.chain(clients).chain(users).chain(refs).chain(counts).collect()
    }

    /// Whether what is counted is what is there.
    fn check_counts(&self) {
        let state = &self.state;
        let there: Vec<&UserRef> =
            state.user_refs.iter().map(|(_, it)| it).filter(|it| it.deleted_at.is_none()).collect();
        for (_, client) in state.auth_clients.iter() {
            let mut of_client = [0; 32];
            let mine: Vec<_> = there.iter().filter(|it| it.client == client.id).collect();
            for it in &mine {
                toggle(&mut of_client, &digest_of(&it.attributes));
            }
            assert_eq!((client.users, client.users_digest), (i64::try_from(mine.len()).unwrap(), of_client));
            assert!(client.is_active() || mine.is_empty());
        }
        let mut persons = 0;
        for (_, person) in state.users.iter() {
            let references = there.iter().filter(|it| it.user == person.id).count();
            assert_eq!(person.references, i64::try_from(references).unwrap(), "{person:?}");
            assert_eq!(person.deleted_at.is_none(), references > 0, "{person:?}");
            persons += i64::from(references > 0);
        }
        assert!(there.iter().all(|it| state.users.iter().any(|(_, person)| person.id == it.user)));
        assert_eq!(state.settings().users, persons);
        assert_eq!(state.realms.get(&RealmId::DEFAULT).map_or(0, |realm| realm.users), persons);
    }

    fn everybody(&self) -> String {
        let there = self.state.user_refs.iter().map(|(_, it)| it).filter(|it| it.deleted_at.is_none());
        there.map(|it| it.attributes.username.to_string()).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn an_evicted_device_returns_under_its_old_id_without_its_users() {
    let mut register = Register::with_users("a", "ann bob");
    let before = register.rows();
    register.answer(delete_device(DeleteMode::Evict));
    assert_eq!(register.everybody(), "");
    let id = register.client("a").id;
    let answer = register.sync("root a");
    assert_eq!(items(&answer), "root Restored RETURNED_AFTER_REMOVAL, a Restored RETURNED_AFTER_REMOVAL");
    assert_eq!((register.everybody().as_str(), register.client("a").id), ("", id));
    // An admin brings the users back.
    let answer = register.answer(undelete_client("a"));
    assert_eq!((answer.outcome, answer.users.len(), register.everybody().as_str()), (Outcome::Updated, 2, "ann bob"));
    assert_eq!(register.rows(), before);
    let again = register.answer(undelete_client("a"));
    assert_eq!((again.outcome, again.reason), (Outcome::Unchanged, Some(Reason::AlreadyActive)));
}

#[test]
fn a_banned_device_is_refused_until_the_ban_is_lifted() {
    let mut register = Register::with_users("a", "ann");
    let before = register.rows();
    register.answer(delete_device(DeleteMode::Ban));
    assert!(register.device().is_banned());
    for action in [
        Action::Register(registration("a")),
        Action::Sync(listed("root")),
        Action::Delete(Deletion { serial: serial(), target: Target::WholeDevice, epoch: None }),
        Action::Contact(serial()),
    ] {
        let refusal = register.plan(action).unwrap_err();
        assert_eq!(refusal.reason, Reason::DeviceBanned);
        assert!(refusal.message.ends_with(": sold"), "{}", refusal.message);
    }
    let answer = register.answer(undelete());
    assert_eq!((answer.outcome, items(&answer).as_str()), (Outcome::Restored, "a Restored, root Restored"));
    assert_eq!(register.rows(), before);
    assert_eq!(register.answer(undelete()).reason, Some(Reason::AlreadyActive));
    assert_eq!(register.sync("root a").outcome, Outcome::Unchanged);
}

#[test]
fn a_retired_device_waits_for_an_admin() {
    let mut register = Register::with("a");
    register.answer(delete_device(DeleteMode::Retire));
    assert_eq!(register.refused(Action::Sync(listed("root"))), Reason::DeviceRetired);
    register.answer(undelete());
    assert_eq!(register.sync("root a").outcome, Outcome::Unchanged);
}

#[test]
fn a_banned_vdom_is_refused_and_a_retired_one_held_while_the_rest_of_the_list_is_done() {
    let mut register = Register::with("a b");
    register.answer(delete_client("a", DeleteMode::Ban));
    register.answer(delete_client("b", DeleteMode::Retire));
    let answer = register.sync("root a b c");
    let expected = "root Unchanged, a Refused AUTH_CLIENT_BANNED, b Held AUTH_CLIENT_RETIRED, c Created";
    assert_eq!(items(&answer), expected);
    register.answer(undelete_client("a"));
    assert_eq!(register.answer(undelete_client("b")).outcome, Outcome::Restored);
    assert_eq!(register.active(), "a b c root");
}

#[test]
fn a_second_deletion_changes_the_mode_alone_and_only_if_it_names_one() {
    let mut register = Register::with("a");
    let unsaid = Action::DeleteDevice { serial: serial(), generation: None, verdict: Verdict::default() };
    register.answer(unsaid.clone());
    let at = register.device().deleted.as_ref().unwrap().at;
    let planned = register.plan(delete_device(DeleteMode::Ban)).unwrap();
    assert_eq!(planned.answer.outcome, Outcome::Updated);
    let changes: Vec<_> = planned.records[0].changes.iter().map(|it| format!("{} {}", it.field, it.after)).collect();
    assert_eq!(changes, ["mode ban", "why sold"]);
    let answer = register.answer(unsaid);
    assert_eq!((answer.outcome, answer.reason), (Outcome::Unchanged, Some(Reason::AlreadyDeleted)));
    let tombstone = register.device().deleted.as_deref().unwrap();
    assert_eq!((tombstone.at, tombstone.mode, tombstone.why.as_str()), (at, DeleteMode::Ban, "sold"));
    // The VDOMs were evicted with the device: what decides is the device.
    register.answer(delete_device(DeleteMode::Evict));
    assert_eq!(
        items(&register.sync("root a")),
        "root Restored RETURNED_AFTER_REMOVAL, a Restored RETURNED_AFTER_REMOVAL"
    );
}

#[test]
fn what_had_gone_before_the_deletion_stays_gone() {
    let mut register = Register::with_users("a b", "ann bob");
    register.answer(without("b"));
    let before = register.rows();
    // The clock stands still.
    register.now -= 1;
    register.answer(delete_device(DeleteMode::Evict));
    assert_eq!(items(&register.answer(undelete())), "a Restored, root Restored");
    assert_eq!(register.rows(), before);
}

#[test]
fn an_auth_client_comes_back_only_to_a_device_that_is_there() {
    let mut register = Register::with("a");
    register.answer(delete_device(DeleteMode::Evict));
    assert_eq!(register.refused(undelete_client("a")), Reason::DeviceDeleted);
    assert_eq!(register.refused(undelete_client("b")), Reason::AuthClientUnknown);
    assert_eq!(Register::empty().refused(undelete()), Reason::DeviceUnknown);
}

#[test]
fn nothing_comes_back_once_the_retention_time_has_ended_but_a_ban_can_be_lifted() {
    let mut register = Register::with_users("a", "ann");
    register.answer(delete_device(DeleteMode::Evict));
    let deleted = register.clone();
    register.now += 30 * DAY;
    assert_eq!(register.refused(undelete()), Reason::RetentionEnded);
    let mut in_time = deleted.clone();
    in_time.now += 30 * DAY - 2;
    assert_eq!(in_time.answer(undelete()).outcome, Outcome::Restored);

    let mut banned = deleted;
    banned.answer(delete_device(DeleteMode::Ban));
    banned.now += 30 * DAY;
    let answer = banned.answer(undelete());
    assert_eq!((answer.outcome, answer.reason), (Outcome::Updated, Some(Reason::RetentionEnded)));
    assert_eq!(banned.sync("root").outcome, Outcome::Restored);
}

#[test]
fn a_realm_that_was_deleted_meanwhile_must_come_back_first() {
    let mut register = Register::with("a");
    register.answer(delete_device(DeleteMode::Evict));
    register.state.realms.change(&RealmId::DEFAULT).unwrap().deleted_at = Some(Timestamp::from_micros(1));
    register.state.realms.keep();
    let before = register.rows();
    assert_eq!(register.refused(undelete()), Reason::RealmDeleted);
    assert_eq!(register.rows(), before);
}

#[test]
fn a_user_for_whom_there_is_no_room_is_refused_by_name_and_may_come_later() {
    let mut register = Register::with_users("a", "ann bob cid");
    register.answer(delete_device(DeleteMode::Evict));
    register.settings(|settings| settings.user_quota = Some(2));
    let answer = register.answer(undelete());
    let users: Vec<_> = answer.users.iter().map(|it| format!("{} {:?}", it.username, it.outcome)).collect();
    assert_eq!(users, ["ann Restored", "bob Restored", "cid Refused"]);
    register.check_counts();
    register.settings(|settings| settings.user_quota = None);
    assert_eq!(register.answer(undelete_client("a")).outcome, Outcome::Updated);
    assert_eq!(register.everybody(), "ann bob cid");
}

#[test]
fn a_purge_leaves_nothing_and_whoever_returns_is_new() {
    let mut register = Register::with_users("a b", "ann");
    let id = register.device().id;
    assert_eq!(register.refused(purge()), Reason::DeviceActive);
    register.answer(delete_device(DeleteMode::Evict));
    let only = register.answer(rehearsed(purge().into()));
    let answer = register.answer(purge());
    assert_eq!(
        (answer.outcome, answer.purged_users, items(&answer).as_str()),
        (Outcome::Removed, 2, "a Removed, b Removed, root Removed",)
    );
    assert_eq!(items(&only), items(&answer));
    assert_eq!(register.rows(), ["0 users"]);
    assert_eq!(register.refused(purge()), Reason::DeviceUnknown);
    assert_eq!(register.sync("root a").outcome, Outcome::Created);
    assert_ne!(register.device().id, id);
}

#[test]
fn a_ban_outlives_a_purge() {
    let mut register = Register::with_users("a b", "ann");
    register.answer(delete_client("b", DeleteMode::Ban));
    register.answer(delete_device(DeleteMode::Ban));
    let answer = register.answer(purge());
    assert_eq!((answer.outcome, answer.reason), (Outcome::Updated, Some(Reason::BanKept)));
    assert_eq!(register.refused(Action::Sync(listed("root"))), Reason::DeviceBanned);
    assert_eq!(register.answer(purge()).outcome, Outcome::Unchanged);
    register.answer(undelete());
    assert_eq!(items(&register.sync("root a b")), "root Created, a Created, b Refused AUTH_CLIENT_BANNED");
    // The device goes, and its banned VDOM is not forgotten.
    register.answer(delete_device(DeleteMode::Evict));
    assert_eq!(register.answer(purge()).reason, Some(Reason::BanKept));
    assert_eq!(items(&register.sync("root b")), "root Created, b Refused AUTH_CLIENT_BANNED");
}

#[test]
fn only_what_is_overdue_is_purged_by_itself() {
    let mut register = Register::with_users("a b", "ann");
    register.answer(without("a"));
    register.now += 10 * DAY;
    register.answer(delete_client("b", DeleteMode::Evict));
    let owner = register.device().owner();
    let overdue = Action::Purge { serial: Some(serial()), owner };
    assert!(register.plan(overdue.clone()).unwrap().records.is_empty());
    register.now += 20 * DAY;
    assert_eq!(items(&register.answer(overdue.clone())), "a Removed");
    assert_eq!(register.answer(undelete_client("b")).outcome, Outcome::Restored);
    assert_eq!(register.everybody(), "ann");
    // Of an auth client that returned without its users, these are purged.
    register.answer(without("b"));
    register.register("b");
    register.now += 30 * DAY;
    assert_eq!(register.answer(overdue.clone()).purged_users, 1);
    assert_eq!(register.answer(undelete_client("b")).reason, Some(Reason::AlreadyActive));
    assert!(register.plan(overdue).unwrap().records.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Do(Box<Command>),
    Add(&'static str, &'static str),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(vec!["root", "a", "b"]);
    let mode = || prop::sample::select(vec![DeleteMode::Evict, DeleteMode::Ban, DeleteMode::Retire]);
    let overdue = Just(Action::Purge { serial: Some(serial()), owner: OwnerId(1_000) });
    let action = prop_oneof![
        2 => mode().prop_map(delete_device),
        2 => (name(), mode()).prop_map(|(name, mode)| delete_client(name, mode)),
        3 => name().prop_map(undelete_client),
        3 => Just(undelete()),
        1 => Just(purge()),
        1 => overdue,
        2 => (name(), any::<bool>()).prop_map(|(name, yes)| if yes { Action::Sync(listed(name)) } else {
            Action::Register(registration(name))
        }),
    ];
    let action = (action, prop::bool::weighted(0.1)).prop_map(|(action, validate_only)| {
        Step::Do(Box::new(Command { action, options: Options { validate_only, plan: None } }))
    });
    prop_oneof![
        8 => action,
        4 => (name(), prop::sample::select(vec!["ann", "bob", "disabled"])).prop_map(|(vdom, user)| Step::Add(vdom, user)),
        1 => prop::sample::select(vec![0, 1, 31 * DAY]).prop_map(Step::Wait),
    ]
}

/// Does these steps on a device with VDOMs and users.
fn after(steps: &[Step], mut check: impl FnMut(&Register)) -> Register {
    let mut register = Register::with_users("root a b", "ann bob");
    for step in steps {
        match step {
            Step::Do(command) => drop(register.plan(Command::clone(command))),
            Step::Add(vdom, user) => register.add(vdom, user),
            // The clock may stand still, too: the next command comes at the time of the one before.
            Step::Wait(0) => register.now -= 1,
            Step::Wait(seconds) => register.now += seconds,
        }
        check(&register);
    }
    register
}

proptest! {
    #[test]
    fn deleting_and_undeleting_changes_nothing(steps in prop::collection::vec(step(), 0..12), ban in any::<bool>()) {
        let mut register = after(&steps, |_| {});
        if register.held().is_some_and(Device::is_active) {
            let before = register.rows();
            register.answer(delete_device(if ban { DeleteMode::Ban } else { DeleteMode::Retire }));
            register.now += 29 * DAY;
            prop_assert_eq!(register.answer(undelete()).outcome, Outcome::Restored);
            prop_assert_eq!(register.rows(), before.clone());
            let active = register.active();
            for name in ["a", "b"].into_iter().filter(|name| active.split(' ').any(|it| it == *name)) {
                register.answer(delete_client(name, DeleteMode::Retire));
                prop_assert_eq!(register.answer(undelete_client(name)).outcome, Outcome::Restored);
                prop_assert_eq!(register.rows(), before.clone());
            }
        }
    }

    #[test]
    fn what_is_counted_is_what_is_there(steps in prop::collection::vec(step(), 0..24)) {
        after(&steps, Register::check_counts);
    }

    #[test]
    fn no_id_is_ever_given_to_something_else(steps in prop::collection::vec(step(), 0..24)) {
        let mut known: HashMap<i64, String> = HashMap::new();
        after(&steps, |register| {
            let state = &register.state;
            let devices = state.devices.iter().map(|(_, it)| (it.id.0, format!("device {}", it.serial)));
            let clients = state.auth_clients.iter().map(|(_, it)| (it.id.0, format!("client {:?} {}", it.owner, it.vdom)));
            let users = state.users.iter().map(|(_, it)| (it.id.0, format!("user {}", it.key.as_str())));
            let refs = state.user_refs.iter().map(|(_, it)| (it.id.0, format!("ref {:?} {}", it.client, it.key.as_str())));
            for (id, what) in devices.chain(clients).chain(users).chain(refs) {
                assert!(id < register.next_id);
                assert_eq!(known.entry(id).or_insert_with(|| what.clone()), &what);
            }
        });
    }
}
