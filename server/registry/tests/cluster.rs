//! Clusters: who is in them, who speaks for them, and that no user changes whatever becomes of them.

mod fence;
mod held;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::cluster::{HaReport, HaRole};
use muster_proto::{Text, UserKey, UserKind};
use proptest::prelude::*;

use super::*;
use crate::registry::users::{digest_of, toggle};

const A: &str = "FG101FTK00000001";
const B: &str = "FG101FTK00000002";
const C: &str = "FG101FTK00000003";
const SPARE: &str = "FG101FTK00000004";

fn box_of(serial: &str) -> SerialNumber {
    serial.parse().unwrap()
}

fn boxes(serials: &[&str]) -> Vec<SerialNumber> {
    serials.iter().map(|serial| box_of(serial)).collect()
}

fn ha(role: HaRole, epoch: Option<i64>, members: &[&str]) -> HaReport {
    HaReport { group: "ha-7".parse().unwrap(), role, epoch, members: boxes(members) }
}

/// A sync of `root` and these VDOMs by one box, with what it says of its cluster.
fn reported(serial: &str, names: &str, ha: HaReport) -> Sync {
    Sync { serial: box_of(serial), ha: Some(ha), ..listed(&format!("root {names}")) }
}

fn sync(serial: &str, names: &str, role: HaRole, epoch: Option<i64>, members: &[&str]) -> Action {
    Action::Sync(reported(serial, names, ha(role, epoch, members)))
}

impl Register {
    fn joins(&mut self, serial: &str, names: &str) {
        let registration = Registration { serial: box_of(serial), ..registration(names) };
        self.answer(Action::Register(registration));
    }

    fn owner(&self, serial: &str) -> OwnerId {
        self.state.devices.get(&box_of(serial)).unwrap().owner()
    }

    fn of(&self, serial: &str, name: &str) -> &AuthClient {
        self.state.auth_clients.get(&(self.owner(serial), vdom(name))).unwrap()
    }

    fn cluster(&self) -> &Cluster {
        self.state.clusters.iter().map(|(_, cluster)| cluster).last().unwrap()
    }

    /// Puts a user onto an auth client, as if it had always been there.
    fn add_user(&mut self, serial: &str, name: &str, username: &str) {
        let owner = self.owner(serial);
        let (client, realm) = (self.of(serial, name).id, self.of(serial, name).realm);
        let key = UserKey::new(username);
        let time = Timestamp::from_micros(1);
        self.next_id += 2;
        let (user, id) = (UserId(self.next_id - 2), UserRefId(self.next_id - 1));
        let attributes = UserAttributes {
            username: username.parse().unwrap(),
            email: format!("{username}@{}.example", serial.to_ascii_lowercase()).parse().unwrap(),
            mobile: None,
            kind: UserKind::Local,
            active: true,
        };
        let of_user = digest_of(&attributes);
        let person = (realm, key.clone());
        if self.state.users.get(&person).is_none() {
            let user = User {
                id: user,
                realm,
                key: key.clone(),
                username: username.parse().unwrap(),
                disabled: false,
                references: 0,
                created_at: time,
                updated_at: time,
                deleted_at: None,
            };
            self.state.users.put(person.clone(), user);
        }
        let user = self.state.users.change(&person).unwrap();
        user.references += 1;
        let user = user.id;
        let user_ref = UserRef {
            id,
            client,
            key: key.clone(),
            user,
            attributes,
            created_at: time,
            updated_at: time,
            deleted_at: None,
        };
        self.state.user_refs.put((client, key), user_ref);
        self.state.whole.client_users.insert(client);
        let client = self.state.auth_clients.change(&(owner, vdom(name))).unwrap();
        client.users += 1;
        toggle(&mut client.users_digest, &of_user);
        self.state.keep();
    }

    /// The usernames on an auth client.
    fn users(&self, serial: &str, name: &str) -> String {
        let found = self.state.user_refs_of(self.of(serial, name).id).unwrap();
        let names = found.filter(|it| it.deleted_at.is_none()).map(|it| it.attributes.username.to_string());
        names.collect::<Vec<_>>().join(" ")
    }

    /// A pair of A (primary, with `a`) and B.
    fn pair() -> Self {
        let mut register = Self::empty();
        register.joins(A, "a");
        register.joins(B, "a");
        register.answer(sync(A, "a", HaRole::Primary, None, &[B]));
        register.answer(sync(B, "a", HaRole::Secondary, None, &[A]));
        register
    }
}

#[test]
fn the_first_report_of_a_primary_founds_the_cluster_and_takes_its_auth_clients_over() {
    let mut register = Register::empty();
    register.joins(A, "a");
    register.add_user(A, "a", "ann");
    let before = register.of(A, "a").clone();
    let answer = register.answer(sync(A, "a", HaRole::Primary, None, &[B]));
    let standing = answer.standing.unwrap();
    assert_eq!((standing.outcome, standing.reason), (Outcome::Created, None));
    let (id, name, role, epoch) = standing.cluster.unwrap();
    assert_eq!((name.as_str(), role, epoch), ("ha-7", MemberRole::Primary, 1));
    let after = register.of(A, "a");
    assert_eq!((after.id, after.owner, after.users), (before.id, OwnerId(id.0), 1));
    assert_eq!(register.users(A, "a"), "ann");
    assert_eq!(register.cluster().listed, boxes(&[B]));
    let again = register.plan(sync(A, "a", HaRole::Primary, Some(1), &[B])).unwrap();
    assert_eq!(again.records, []);
    assert_eq!(again.answer.standing.unwrap().outcome, Outcome::Unchanged);
}

#[test]
fn a_box_joins_only_if_it_says_so_and_the_primary_lists_it() {
    let mut register = Register::empty();
    register.joins(A, "a");
    register.joins(B, "");
    register.joins(C, "");
    register.answer(sync(A, "a", HaRole::Primary, None, &[B]));
    assert_eq!(register.cluster().members, boxes(&[A]));
    let held = register.answer(sync(C, "", HaRole::Secondary, None, &[A])).standing.unwrap();
    assert_eq!((held.cluster, held.outcome, held.reason), (None, Outcome::Held, Some(Reason::ClusterNotConfirmed)));
    let joined = register.answer(sync(B, "", HaRole::Secondary, None, &[A])).standing.unwrap();
    assert_eq!((joined.outcome, joined.cluster.unwrap().2), (Outcome::Updated, MemberRole::Secondary));
    assert_eq!((&register.cluster().members, &register.cluster().listed), (&boxes(&[A, B]), &vec![]));
    // Who claims to be the primary of others founds a cluster of its own, and gets none of theirs.
    register.answer(sync(C, "", HaRole::Primary, None, &[A, B]));
    assert_ne!(register.owner(C), register.owner(A));
    assert_eq!(register.owner(B), register.owner(A));
}

#[test]
fn what_a_joining_box_has_comes_along_and_every_merged_user_is_listed() {
    let mut register = Register::empty();
    register.joins(A, "a");
    register.joins(B, "a b");
    for (serial, name, user) in [(A, "a", "ann"), (A, "a", "bob"), (B, "a", "bob"), (B, "a", "cid"), (B, "b", "dan")] {
        register.add_user(serial, name, user);
    }
    let (kept, moved) = (register.of(A, "a").id, register.of(B, "b").id);
    register.answer(sync(A, "a", HaRole::Primary, None, &[B]));
    let add = Action::AddMember { cluster: register.cluster().id, serial: box_of(B) };
    let seen = register.plan(rehearsed(add.clone().into())).unwrap().answer;
    let answer = register.answer(add);
    assert_eq!((&seen.items, &seen.users), (&answer.items, &answer.users));
    assert_eq!(items(&answer), "a Removed MOVED_TO_CLUSTER, b Updated MOVED_TO_CLUSTER, root Removed MOVED_TO_CLUSTER");
    let merged: Vec<_> = answer.users.iter().map(|it| (it.vdom, it.username.to_string(), it.reason)).collect();
    assert_eq!(merged, [(vdom("a"), "bob".to_owned(), Some(Reason::UserMerged))]);
    assert_eq!((register.of(B, "a").id, register.of(B, "b").id), (kept, moved));
    assert_eq!((register.users(B, "a"), register.users(B, "b")), ("ann bob cid".to_owned(), "dan".to_owned()));
    assert_eq!(register.of(A, "a").users, 3);
}

#[test]
fn users_in_two_realms_keep_a_box_out_until_an_admin_decides() {
    let mut register = Register::empty();
    register.joins(A, "a");
    register.joins(B, "a");
    let owner = register.owner(B);
    register.state.auth_clients.change(&(owner, vdom("a"))).unwrap().realm = RealmId(7);
    register.state.keep();
    register.add_user(B, "a", "bob");
    register.answer(sync(A, "a", HaRole::Primary, None, &[B]));
    let add = Action::AddMember { cluster: register.cluster().id, serial: box_of(B) };
    assert_eq!(register.refused(add), Reason::ClusterRealmsDiffer);
    let answer = register.answer(sync(B, "a", HaRole::Secondary, None, &[A]));
    let standing = answer.standing.unwrap();
    assert_eq!((standing.outcome, standing.reason), (Outcome::Refused, Some(Reason::ClusterRealmsDiffer)));
    assert_eq!(register.users(B, "a"), "bob");
}

#[test]
fn a_failover_changes_the_primary_and_the_epoch_and_fences_the_old_one_out() {
    let mut register = Register::pair();
    register.add_user(A, "a", "ann");
    let before = register.of(A, "a").clone();
    for epoch in [None, Some(1)] {
        assert_eq!(register.refused(sync(B, "a", HaRole::Primary, epoch, &[A])), Reason::StaleEpoch);
    }
    assert_eq!(register.refused(sync(B, "a", HaRole::Primary, Some(3), &[A])), Reason::EpochAhead);
    let standing = register.answer(sync(B, "a", HaRole::Primary, Some(2), &[A])).standing.unwrap();
    assert_eq!(standing.cluster.map(|it| (it.2, it.3)), Some((MemberRole::Primary, 2)));
    assert_eq!(register.of(B, "a"), &before);
    // The answer was lost, and the report comes again.
    let again = register.answer(sync(B, "a", HaRole::Primary, Some(2), &[A])).standing.unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);
    let refused = register.plan(sync(A, "", HaRole::Primary, Some(1), &[B])).unwrap_err();
    assert_eq!(refused.reason, Reason::StaleEpoch);
    assert!(refused.details.contains(&("epoch", "2".to_owned())), "{:?}", refused.details);
    assert_eq!(register.of(B, "a"), &before);
}

#[test]
fn the_primary_decides_which_vdoms_there_are() {
    let mut register = Register::pair();
    let answer = register.answer(sync(B, "b", HaRole::Secondary, Some(1), &[A]));
    assert_eq!(items(&answer), "root Unchanged, b Held PRIMARY_DECIDES, a Held PRIMARY_DECIDES");
    let target = Target::Vdom(vdom("a"));
    let deletion = |serial| Action::Delete(Deletion { serial: box_of(serial), target, epoch: None });
    assert_eq!(register.refused(deletion(B)), Reason::PrimaryDecides);
    assert_eq!(items(&register.answer(deletion(A))), "a Removed");
}

#[test]
fn every_member_has_the_digest_of_the_cluster() {
    let mut register = Register::pair();
    let answer = register.answer(sync(A, "a b", HaRole::Primary, Some(1), &[B]));
    let by_digest =
        Sync { full_list: None, digest: Some(answer.digest), ..reported(B, "", ha(HaRole::Secondary, Some(1), &[A])) };
    assert_eq!(register.answer(Action::Sync(by_digest)).status, SyncStatus::InSync);
}

#[test]
fn a_secondary_that_goes_standalone_starts_afresh_and_a_primary_takes_everything() {
    let mut register = Register::pair();
    register.add_user(A, "a", "ann");
    let (before, old) = (register.of(A, "a").id, register.owner(A));
    let answer = register.answer(sync(B, "a", HaRole::Standalone, None, &[]));
    assert_eq!(items(&answer), "root Created, a Created");
    assert_eq!((register.owner(A), register.users(B, "a")), (old, String::new()));
    let answer = register.answer(sync(A, "a", HaRole::Standalone, None, &[]));
    assert_eq!(answer.standing.map(|it| (it.cluster, it.outcome)), Some((None, Outcome::Updated)));
    assert_eq!((register.of(A, "a").id, register.users(A, "a")), (before, "ann".to_owned()));
    assert!(!register.cluster().is_active() && register.cluster().members.is_empty());
}

#[test]
fn the_next_member_speaks_for_the_cluster_when_the_primary_is_deleted() {
    let mut register = Register::pair();
    register.add_user(A, "a", "ann");
    let delete =
        |serial| Action::DeleteDevice { serial: box_of(serial), generation: None, verdict: Verdict::default() };
    let answer = register.answer(delete(A));
    assert_eq!((answer.outcome, items(&answer)), (Outcome::Removed, String::new()));
    assert_eq!((register.cluster().primary, register.cluster().epoch), (box_of(B), 2));
    assert_eq!(register.users(B, "a"), "ann");
    assert_eq!(items(&register.answer(delete(B))), "a Removed, root Removed");
    assert!(!register.cluster().is_active());
}

#[test]
fn an_admin_makes_names_and_dissolves_a_cluster_and_each_command_may_be_repeated() {
    let mut register = Register::empty();
    register.joins(A, "a");
    register.joins(B, "");
    let create = Action::CreateCluster { name: Text::default(), primary: box_of(A), others: boxes(&[B]) };
    assert_eq!(register.answer(create.clone()).outcome, Outcome::Created);
    assert_eq!(register.answer(create).outcome, Outcome::Unchanged);
    let cluster = register.cluster().id;
    assert_eq!(register.cluster().name.as_str(), A);
    let rename = Action::RenameCluster { cluster, name: "edge".parse().unwrap(), etag: None };
    assert_eq!(register.answer(rename.clone()).outcome, Outcome::Updated);
    assert_eq!(register.answer(rename).outcome, Outcome::Unchanged);
    let primary = |serial| Action::SetPrimary { cluster, serial: box_of(serial) };
    assert_eq!(register.answer(primary(B)).outcome, Outcome::Updated);
    assert_eq!(register.answer(primary(B)).outcome, Outcome::Unchanged);
    register.joins(C, "");
    assert_eq!(register.refused(primary(C)), Reason::NotAMember);
    let remove = |serial| Action::RemoveMember { cluster, serial: box_of(serial) };
    assert_eq!(register.answer(remove(C)).outcome, Outcome::Unchanged);
    let delete = Action::DeleteCluster { cluster, etag: None };
    assert_eq!(register.answer(delete.clone()).outcome, Outcome::Removed);
    assert_eq!(register.answer(delete).outcome, Outcome::Unchanged);
    assert_eq!(register.refused(Action::AddMember { cluster, serial: box_of(A) }), Reason::ClusterDeleted);
    assert_eq!(register.of(B, "a").users, 0);
    let unknown = Action::DeleteCluster { cluster: ClusterId(1), etag: None };
    assert_eq!(register.refused(unknown), Reason::ClusterUnknown);
}

fn step() -> impl Strategy<Value = Command> {
    let serial = || prop::sample::select(vec![A, B, C]);
    let others = || prop::sample::subsequence(vec![A, B, C], 0..=3);
    let role = || prop::sample::select(vec![HaRole::Standalone, HaRole::Primary, HaRole::Primary, HaRole::Secondary]);
    let cluster = || (1_000_i64..1_040).prop_map(ClusterId);
    let action = prop_oneof![
        8 => (serial(), role(), prop::option::of(1_i64..5), others()).prop_map(|(serial, role, epoch, others)| {
            let others: Vec<_> = others.into_iter().filter(|other| *other != serial).collect();
            sync(serial, "a b", role, epoch, &others)
        }),
        1 => (serial(), others()).prop_map(|(primary, others)| {
            let others = boxes(&others).into_iter().filter(|other| *other != box_of(primary)).collect();
            Action::CreateCluster { name: Text::default(), primary: box_of(primary), others }
        }),
        2 => (cluster(), serial()).prop_map(|(cluster, serial)| Action::AddMember { cluster, serial: box_of(serial) }),
        2 => (cluster(), serial()).prop_map(|(cluster, serial)| Action::RemoveMember { cluster, serial: box_of(serial) }),
        2 => (cluster(), serial()).prop_map(|(cluster, serial)| Action::SetPrimary { cluster, serial: box_of(serial) }),
        1 => cluster().prop_map(|cluster| Action::DeleteCluster { cluster, etag: None }),
        1 => (serial(), serial()).prop_filter("two boxes", |(old, new)| old != new)
            .prop_map(|(old, new)| Action::ReplaceDevice { old: box_of(old), new: box_of(new) }),
        1 => serial().prop_map(|old| Action::ReplaceDevice { old: box_of(old), new: box_of(SPARE) }),
    ];
    (action, prop::bool::weighted(0.1))
        .prop_map(|(action, validate_only)| Command { action, options: Options { validate_only, plan: None } })
}

/// Who is where: each user of each VDOM, with what any auth client says of it.
fn people(register: &Register) -> BTreeSet<(VdomName, String)> {
    let clients: BTreeMap<_, _> = register.state.auth_clients.iter().map(|(_, it)| (it.id, it)).collect();
    let refs = register.state.user_refs.iter().filter(|(_, it)| it.deleted_at.is_none());
    refs.map(|((client, key), _)| (clients[client].vdom, key.as_str().to_owned())).collect()
}

proptest! {
    #[test]
    fn no_user_is_lost_whatever_becomes_of_clusters(
        users in prop::collection::btree_set((prop::sample::select(vec![A, B, C]), prop::sample::select(vec!["a", "b"]), "[xyz]"), 0..9),
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut register = Register::empty();
        for serial in [A, B, C] {
            register.joins(serial, "a b");
        }
        for (serial, name, user) in &users {
            register.add_user(serial, name, user);
        }
        let expected = people(&register);
        let ids: BTreeMap<_, _> = register.state.user_refs.iter().map(|(_, it)| (it.id, (it.key.clone(), it.attributes.clone()))).collect();
        for step in steps {
            let before = register.values();
            let planned = register.plan(step.clone());
            let noted = planned.as_ref().is_ok_and(|planned| !planned.records.is_empty()) && !step.options.validate_only;
            prop_assert!(noted || before == register.values(), "{:?}", step);
            prop_assert_eq!(&people(&register), &expected, "{:?}", step);
            for (_, client) in register.state.auth_clients.iter() {
                let present = || register.state.user_refs.iter().map(|(_, it)| it).filter(|it| it.client == client.id && it.deleted_at.is_none());
                prop_assert_eq!(i64::try_from(present().count()).unwrap(), client.users);
                let mut digest = [0; 32];
                present().for_each(|it| toggle(&mut digest, &digest_of(&it.attributes)));
                prop_assert_eq!(digest, client.users_digest);
                prop_assert!(client.is_active() || client.users == 0);
            }
            for (_, user) in register.state.users.iter() {
                let references = register.state.user_refs.iter().filter(|(_, it)| it.user == user.id && it.deleted_at.is_none());
                prop_assert_eq!(i64::try_from(references.count()).unwrap(), user.references);
            }
            for (_, it) in register.state.user_refs.iter() {
                prop_assert_eq!(&(it.key.clone(), it.attributes.clone()), &ids[&it.id]);
            }
            for (id, cluster) in register.state.clusters.iter() {
                let members: Vec<_> = register.state.devices.iter().filter(|(_, it)| it.cluster == Some(*id)).map(|(serial, _)| *serial).collect();
                prop_assert_eq!(&members, &cluster.members);
                prop_assert_eq!(cluster.is_active(), cluster.members.contains(&cluster.primary));
                prop_assert!(cluster.is_active() || register.state.auth_clients.iter().all(|((owner, _), _)| owner.0 != id.0));
            }
            for (serial, device) in register.state.devices.iter() {
                let vdoms = register.state.active_vdoms(device.owner()).unwrap();
                prop_assert_eq!(device.digest, digest(device.info.texts(), vdoms), "{}", serial);
            }
        }
    }
}

#[test]
fn a_plan_of_a_cluster_is_the_same_when_it_is_done() {
    let mut register = Register::empty();
    register.joins(A, "a");
    register.joins(B, "a");
    let create: Command =
        Action::CreateCluster { name: Text::default(), primary: box_of(A), others: boxes(&[B]) }.into();
    let plan = register.plan(rehearsed(create.clone())).unwrap().answer.plan;
    assert!(plan.is_some());
    let options = Options { validate_only: false, plan };
    register.next_id += 5;
    assert_eq!(register.answer(Command { options, ..create }).outcome, Outcome::Created);
}

#[test]
fn a_replacement_takes_the_place_of_the_old_box_in_its_cluster() {
    let mut register = Register::pair();
    register.add_user(A, "a", "ann");
    let before = register.of(A, "a").clone();
    let replace = |old, new| Action::ReplaceDevice { old: box_of(old), new: box_of(new) };
    assert_eq!(register.refused(replace(A, B)), Reason::ClusterOther);
    let seen = register.plan(rehearsed(replace(A, SPARE).into())).unwrap();
    let planned = register.plan(replace(A, SPARE)).unwrap();
    assert_eq!((&seen.records, planned.answer.outcome), (&planned.records, Outcome::Created));
    assert_eq!(register.of(SPARE, "a"), &before);
    assert_eq!((register.cluster().primary, register.cluster().epoch), (box_of(SPARE), 1));
    assert_eq!(register.cluster().members, boxes(&[B, SPARE]));
    let again = register.answer(replace(A, SPARE));
    assert_eq!((again.outcome, again.reason), (Outcome::Unchanged, Some(Reason::AlreadyDeleted)));
    assert_eq!(register.refused(replace(A, C)), Reason::DeviceDeleted);
    assert_eq!(register.refused(sync(A, "a", HaRole::Primary, Some(1), &[B])), Reason::DeviceRetired);
    register.joins(C, "a");
    assert_eq!(
        register.refused(Action::ReplaceDevice { old: box_of("FG101FTK99999999"), new: box_of(C) }),
        Reason::DeviceUnknown
    );
    register.add_user(C, "a", "bob");
    assert_eq!(register.refused(replace(SPARE, C)), Reason::ReplacementHasUsers);
}
