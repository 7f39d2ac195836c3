//! Whatever may happen to one device, its auth clients and their users: for tests of what is said of it afterwards.

use muster_proto::device_users::{ClientTarget, NewMobile, UserAddition, UserDeletion, UserUpdate};
use muster_proto::{UserKind, Username};
use proptest::prelude::*;

use super::undelete::verdict;
use super::*;

const NAMES: [&str; 4] = ["root", "a", "b", "#FOS_Administrator"];
pub(super) const USERS: [&str; 4] = ["alice", "Alice", "bob", "carol"];
const MODES: [DeleteMode; 3] = [DeleteMode::Evict, DeleteMode::Ban, DeleteMode::Retire];

/// One thing that happens. Ids are looked up when it does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The device reports, or something is deleted.
    Report(Box<Command>),
    DeleteClient(&'static str, DeleteMode),
    DeleteDevice(DeleteMode),
    UndeleteClient(&'static str),
    UndeleteDevice,
    Add(&'static str, &'static str),
    Disable(&'static str, &'static str),
    DeleteUser(&'static str, &'static str),
    DeletePerson(&'static str),
    Alias(&'static str, &'static str),
    Move(&'static str, bool),
    AutoCreate(bool),
    Quota(Option<i64>),
    Lobby(bool),
    Held(bool),
    /// Another device reports these VDOMs.
    Other(Vec<VdomName>),
    OtherAdds(&'static str, &'static str),
    /// The two become a cluster, the other one joins it, one of them leaves, or it ends.
    Cluster,
    Join,
    Leave(bool),
    Dissolve,
    Rename(&'static str),
    Replace,
}

/// The other device.
fn other() -> SerialNumber {
    "FG101FTK19002789".parse().unwrap()
}

pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(NAMES.to_vec());
    let user = || prop::sample::select(USERS.to_vec());
    let mode = || prop::sample::select(MODES.to_vec());
    let step = prop_oneof![
        8 => super::property::command().prop_map(|command| Step::Report(Box::new(command))),
        2 => (name(), mode()).prop_map(|(name, mode)| Step::DeleteClient(name, mode)),
        1 => mode().prop_map(Step::DeleteDevice),
        2 => name().prop_map(Step::UndeleteClient),
        2 => Just(Step::UndeleteDevice),
        8 => (name(), user()).prop_map(|(name, user)| Step::Add(name, user)),
        1 => (name(), user()).prop_map(|(name, user)| Step::Disable(name, user)),
        2 => (name(), user()).prop_map(|(name, user)| Step::DeleteUser(name, user)),
        1 => user().prop_map(Step::DeletePerson),
        1 => (name(), prop::sample::select(vec!["", "head office"])).prop_map(|(name, alias)| Step::Alias(name, alias)),
        1 => (name(), any::<bool>()).prop_map(|(name, east)| Step::Move(name, east)),
        1 => any::<bool>().prop_map(Step::AutoCreate),
        1 => prop::option::of(0_i64..3).prop_map(Step::Quota),
        1 => any::<bool>().prop_map(Step::Lobby),
        1 => any::<bool>().prop_map(Step::Held),
    ];
    prop::collection::vec(step, 1..most)
}

/// The same, with another device that may be in one cluster with the first.
pub(super) fn steps_of_two(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(NAMES.to_vec());
    let names = || prop::sample::subsequence(NAMES.as_slice(), 1..=NAMES.len());
    let names = names().prop_map(|names| names.into_iter().map(vdom).collect());
    let of_two = prop_oneof![
        4 => names.prop_map(Step::Other),
        4 => (name(), prop::sample::select(USERS.to_vec())).prop_map(|(name, user)| Step::OtherAdds(name, user)),
        2 => Just(Step::Cluster),
        3 => Just(Step::Join),
        2 => any::<bool>().prop_map(Step::Leave),
        1 => Just(Step::Dissolve),
        1 => prop::sample::select(vec!["east wing", "west wing"]).prop_map(Step::Rename),
        1 => Just(Step::Replace),
    ];
    (steps(most), prop::collection::vec((any::<prop::sample::Index>(), of_two), 1..most)).prop_map(
        |(mut steps, others)| {
            for (place, step) in others {
                steps.insert(place.index(steps.len() + 1), step);
            }
            steps
        },
    )
}

fn target(name: &str) -> ClientTarget {
    ClientTarget { serial: serial(), vdom: vdom(name), epoch: None }
}

pub(super) fn addition(name: &str, username: &str) -> Action {
    let user = UserAttributes {
        username: username.parse().unwrap(),
        email: "a@example.com".parse().unwrap(),
        mobile: None,
        kind: UserKind::Local,
        active: true,
    };
    Action::AddUser(UserAddition { target: target(name).into(), user })
}

impl Register {
    /// A register with a second realm.
    pub(super) fn with_east() -> (Self, RealmId) {
        let mut register = Self::empty();
        let new = muster_proto::realms::NewRealm {
            name: "east".parse().unwrap(),
            description: Text::default(),
            user_quota: None,
            request: None,
        };
        let After::Realm(east) = register.answer(Action::CreateRealm(new)).after else { panic!("no realm") };
        (register, east.id)
    }

    /// The command of a step; `None` if there is nothing that it could be about.
    pub(super) fn command(&mut self, step: &Step, east: RealmId) -> Option<Command> {
        let action = match step {
            Step::Report(command) => return Some(Command::clone(command)),
            Step::DeleteClient(name, mode) => Action::DeleteAuthClient {
                serial: serial(),
                vdom: vdom(name),
                etag: None,
                verdict: verdict(*mode, "sold"),
            },
            Step::DeleteDevice(mode) => {
                Action::DeleteDevice { serial: serial(), generation: None, verdict: verdict(*mode, "sold") }
            }
            Step::UndeleteClient(name) => Action::UndeleteAuthClient { serial: serial(), vdom: vdom(name), etag: None },
            Step::UndeleteDevice => Action::UndeleteDevice { serial: serial() },
            Step::Add(name, user) => addition(name, user),
            Step::Disable(name, user) => Action::UpdateUser(UserUpdate {
                target: target(name).into(),
                username: user.parse().unwrap(),
                email: None,
                mobile: NewMobile::default(),
                kind: None,
                active: Some(false),
            }),
            Step::DeleteUser(name, user) => {
                Action::DeleteUser(UserDeletion { target: target(name).into(), username: user.parse().unwrap() })
            }
            Step::DeletePerson(user) => {
                let username: Username = user.parse().unwrap();
                let key = username.key(true);
                let person = self.state.users.get(&(RealmId::DEFAULT, key.clone()))?;
                let user = NamedUser { id: person.id, realm: person.realm, key: key.clone(), etag: None };
                let owner = self.held()?.owner();
                let clients =
                    self.state.auth_clients.iter().map(|(_, client)| client).filter(|client| client.owner == owner);
                let refers = |client: &&AuthClient| {
                    self.state.user_refs.get(&(client.id, key.clone())).is_some_and(|it| it.deleted_at.is_none())
                };
                let clients = clients.filter(refers).map(named).collect();
                Action::DeletePerson { user, clients }
            }
            Step::Alias(name, alias) => Action::UpdateAuthClient {
                client: named(self.known(name)?),
                alias: Some(alias.parse().unwrap()),
                realm: None,
                etag: None,
            },
            Step::Move(name, to_east) => {
                let realm = if *to_east { east } else { RealmId::DEFAULT };
                Action::MoveAuthClients { clients: vec![named(self.known(name)?)], realm }
            }
            Step::AutoCreate(on) => {
                self.settings(|settings| settings.auto_create_auth_clients = *on);
                return None;
            }
            Step::Quota(quota) => {
                self.settings(|settings| settings.user_quota = *quota);
                return None;
            }
            Step::Lobby(true) => Action::ApproveLobby { serial: serial(), realm: None },
            Step::Lobby(false) => Action::RejectLobby { serial: serial(), why: Text::default() },
            Step::Held(approve) => {
                let (id, _) = self.state.held.iter().find(|(_, held)| held.state == HeldState::Pending)?;
                Action::DecideHeld { id: *id, serial: Some(serial()), approve: *approve }
            }
            Step::Other(vdoms) => {
                let info = DeviceInfo::default();
                let full_list = Some(vdoms.clone());
                Action::Sync(Sync { serial: other(), info, full_list, ..listed("") })
            }
            Step::OtherAdds(name, user) => {
                let Action::AddUser(addition) = addition(name, user) else { return None };
                let target = ClientTarget { serial: other(), vdom: vdom(name), epoch: None };
                Action::AddUser(UserAddition { target: target.into(), ..addition })
            }
            // Not a second one: it would have the same name.
            Step::Cluster if self.cluster_in_use().is_some() => return None,
            Step::Cluster => Action::CreateCluster { name: Text::default(), primary: serial(), others: vec![] },
            Step::Join => Action::AddMember { cluster: self.cluster_in_use()?, serial: other() },
            Step::Leave(first) => Action::RemoveMember {
                cluster: self.cluster_in_use()?,
                serial: if *first { serial() } else { other() },
            },
            Step::Dissolve => Action::DeleteCluster { cluster: self.cluster_in_use()?, etag: None },
            Step::Rename(name) => {
                Action::RenameCluster { cluster: self.cluster_in_use()?, name: name.parse().unwrap(), etag: None }
            }
            // What the old box asked to remove is noted of the old box, whoever has the auth clients by then.
            Step::Replace if self.state.held.iter().any(|(_, held)| held.state.stands()) => return None,
            Step::Replace => Action::ReplaceDevice { old: other(), new: "FG101FTK19002790".parse().unwrap() },
        };
        Some(action.into())
    }

    /// The cluster that is in use.
    fn cluster_in_use(&self) -> Option<ClusterId> {
        self.state.clusters.iter().find(|(_, cluster)| cluster.is_active()).map(|(id, _)| *id)
    }

    /// An auth client, if it was ever there.
    pub(super) fn known(&self, name: &str) -> Option<&AuthClient> {
        self.state.auth_clients.get(&(self.held()?.owner(), vdom(name)))
    }
}

fn named(client: &AuthClient) -> NamedClient {
    NamedClient { id: client.id, owner: client.owner, vdom: client.vdom, label: client.vdom.to_string().into() }
}
