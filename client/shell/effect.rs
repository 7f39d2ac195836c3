//! What a line at the console did: what is shown, and what is to be done outside of the session.

use muster_proto::VdomName;
use time::OffsetDateTime;

use crate::conf::configuration::Configuration;
use crate::conf::users::{CloudUser, Kind};
use crate::shell::answers::Refused;
use crate::shell::filter::Filter;

/// Which users a sync is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// All of them.
    All,
    /// Administrators and local users.
    Local,
    /// Those of directories.
    Remote,
}

/// How an update is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// As FortiOS does it.
    Now,
    /// Ask what it would do.
    DryRun,
    /// Do what the last dry run said.
    Confirm,
    /// Because the VDOMs or the HA settings changed: what goes well is not told.
    Changed,
}

/// What a change of the configuration did to a user of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// It is new.
    Added(CloudUser),
    /// It is another than before.
    Changed(CloudUser),
    /// It is gone.
    Removed(CloudUser),
}

/// What a command wants done outside of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the list of VDOMs.
    Update(Update),
    /// Send the users.
    SyncUsers(Users, Update),
    /// Send what became of users.
    Users(Vec<UserChange>),
    /// Delete a user at the service, whatever the box has.
    DeleteUser(String, VdomName),
    /// Make sure that the service has a user of this kind with its address, for a new activation code.
    NewCode(String, Kind, VdomName),
    /// Say how the service is.
    ShowService,
    /// Say whether the server is reached.
    ShowServer,
    /// Say which users the box would send.
    ShowUsers(Option<(String, VdomName)>),
    /// Write a text to a file.
    Backup(String, String),
    /// Read a file, and pass it to the session: `Session::restore`.
    Restore(String),
    /// Leave the console.
    Close,
}

/// What a line did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What is to be shown.
    pub output: String,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// Whether the line was refused, and as what.
    pub refused: Option<Refused>,
    /// Which lines of all that the command shows are wanted.
    pub filter: Option<Filter>,
}

/// What a session needs of the world at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: OffsetDateTime,
    /// For what is stored scrambled.
    pub salt: u64,
}

/// What a change of the configuration means for the service: a list of VDOMs or a cluster that is no longer the same, and users that came, changed or went.
#[must_use]
pub fn changes(before: &Configuration, after: &Configuration) -> Vec<Effect> {
    if before == after || !after.uses_cloud() {
        return Vec::new();
    }
    let mut effects = Vec::new();
    if before.vdoms() != after.vdoms() || before.ha_group() != after.ha_group() {
        effects.push(Effect::Update(Update::Changed));
    }
    let (old, new) = (before.cloud_users(), after.cloud_users());
    let gone = old.iter().filter(|user| !new.iter().any(|other| other.key() == user.key()));
    // The users of a VDOM that is gone go with it.
    let gone = gone.filter(|user| user.vdom.is_pseudo() || after.vdoms().contains(&user.vdom));
    let mut users: Vec<UserChange> = gone.cloned().map(UserChange::Removed).collect();
    for user in new {
        match old.iter().find(|other| other.key() == user.key()) {
            None => users.push(UserChange::Added(user)),
            Some(other) if *other != user => users.push(UserChange::Changed(user)),
            Some(_) => {}
        }
    }
    if !users.is_empty() {
        effects.push(Effect::Users(users));
    }
    effects
}

impl From<String> for Step {
    fn from(output: String) -> Self {
        Self { output, ..Self::default() }
    }
}

impl From<Effect> for Step {
    fn from(effect: Effect) -> Self {
        Self { effects: vec![effect], ..Self::default() }
    }
}

impl From<Refused> for Step {
    fn from(refused: Refused) -> Self {
        Self { output: format!("{refused}\n"), refused: Some(refused), ..Self::default() }
    }
}
