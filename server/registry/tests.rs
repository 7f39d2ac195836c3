//! The rules of the register.

mod admin_token;
mod channel;
mod clone;
mod cluster;
mod deletion;
mod explain;
mod guard;
mod guard_property;
mod history;
mod license;
mod lobby;
mod moves;
mod people;
mod plan;
mod property;
mod quota;
mod realms;
mod report;
mod settings;
mod story;
mod transfer;
mod undelete;
mod web_app;

use muster_proto::device::{Deletion, DeviceInfo, Registration, Sync, Target};
use muster_proto::{MAX_VDOMS, Reason, SerialNumber, Text, VdomName, digest};

use super::*;

fn serial() -> SerialNumber {
    "FG101FTK19002788".parse().unwrap()
}

fn vdom(name: &str) -> VdomName {
    name.parse().unwrap()
}

fn vdoms(names: &str) -> Vec<VdomName> {
    names.split_whitespace().map(vdom).collect()
}

fn registration(names: &str) -> Registration {
    Registration { serial: serial(), info: DeviceInfo::default(), vdoms: vdoms(names), ha: None, license: None }
}

fn listed(names: &str) -> Sync {
    let full_list = Some(vdoms(names));
    let info = DeviceInfo::default();
    Sync { serial: serial(), info, full_list, base_generation: None, digest: None, confirm_token: None, ha: None }
}

fn deletion(target: Target) -> Command {
    Action::Delete(Deletion { serial: serial(), target, epoch: None }).into()
}

/// The same command, only to be worked out.
fn rehearsed(command: Command) -> Command {
    Command { options: Options { validate_only: true, plan: None }, ..command }
}

fn without(name: &str) -> Command {
    deletion(Target::Vdom(vdom(name)))
}

/// A register of which everything is known; each command comes a second after the one before.
#[derive(Clone, Debug)]
struct Register {
    state: State,
    now: i64,
    next_id: i64,
    /// What the caller of the commands may touch.
    reach: Reach,
    /// What the device that calls proves; `None` while a relay calls for it.
    proof: Option<Proof>,
}

impl Register {
    fn empty() -> Self {
        let mut state = State::default();
        state.settings.load((), Some(Settings::NEW));
        let default = Realm::new(RealmId::DEFAULT, "default".parse().unwrap(), Timestamp::from_micros(0));
        state.realms.load(RealmId::DEFAULT, Some(default));
        Self { state, now: 0, next_id: 1_000, reach: Reach::Everything, proof: None }
    }

    fn with(names: &str) -> Self {
        let mut register = Self::empty();
        register.register(names);
        register
    }

    /// Works a command out. What it asks for and is not there is not in the register.
    fn plan(&mut self, command: impl Into<Command>) -> Result<Planned, Refusal> {
        self.now += 1;
        let now = Timestamp::from_micros(self.now * 1_000_000);
        let command = command.into();
        loop {
            let mut context = Context {
                now,
                next_id: &mut self.next_id,
                caller: "test",
                reach: &self.reach,
                address: None,
                proof: self.proof.as_ref(),
            };
            match plan(&mut self.state, &command, &mut context) {
                Ok(planned) => return Ok(planned),
                Err(Stop::Refused(refusal)) => return Err(refusal),
                Err(Stop::Missing(needs)) => nothing_else(&mut self.state, *needs),
            }
        }
    }

    fn answer(&mut self, command: impl Into<Command>) -> Answer {
        self.plan(command).unwrap().answer
    }

    fn refused(&mut self, command: impl Into<Command>) -> Reason {
        // Something may have been noted, as that a device waits.
        self.plan(command).map_or_else(|refusal| refusal, |planned| planned.refused.unwrap()).reason
    }

    /// Changes the settings, as an admin would.
    fn settings<T>(&mut self, change: impl FnOnce(&mut Settings) -> T) {
        change(self.state.settings.change(&()).unwrap());
        self.state.settings.keep();
    }

    fn register(&mut self, names: &str) -> Answer {
        self.answer(Action::Register(registration(names)))
    }

    fn sync(&mut self, names: &str) -> Answer {
        self.answer(Action::Sync(listed(names)))
    }

    fn held(&self) -> Option<&Device> {
        self.state.devices.get(&serial())
    }

    fn device(&self) -> &Device {
        self.held().unwrap()
    }

    fn client(&self, name: &str) -> &AuthClient {
        self.state.auth_clients.get(&(self.device().owner(), vdom(name))).unwrap()
    }

    fn active_vdoms(&self) -> Vec<VdomName> {
        self.held().map_or_else(Vec::new, |device| self.state.active_vdoms(device.owner()).unwrap())
    }

    fn active(&self) -> String {
        let names: Vec<String> = self.active_vdoms().iter().map(ToString::to_string).collect();
        names.join(" ")
    }

    /// What is held, whether or not it must be written.
    fn values(&self) -> (Vec<Device>, Vec<AuthClient>) {
        let devices = self.state.devices.iter().map(|(_, device)| device.clone());
        (devices.collect(), self.state.auth_clients.iter().map(|(_, client)| client.clone()).collect())
    }
}

/// The register has no more than what is known of it.
fn nothing_else(state: &mut State, needs: Needs) {
    needs.devices.into_iter().for_each(|key| state.devices.load(key, None));
    needs.realms.into_iter().for_each(|key| state.realms.load(key, None));
    needs.users.into_iter().for_each(|key| state.users.load(key, None));
    needs.user_refs.into_iter().for_each(|key| state.user_refs.load(key, None));
    state.whole.admin_tokens |= needs.admin_tokens;
    state.whole.web_apps |= needs.web_apps;
    needs.lobby.into_iter().for_each(|key| state.lobby.load(key, None));
    state.whole.owners.extend(needs.owners);
    state.whole.clusters.extend(needs.clusters);
    state.whole.realm_names.extend(needs.realm_names);
    needs.held_ids.into_iter().for_each(|key| state.held.load(key, None));
    state.whole.client_users.extend(needs.client_users);
    state.whole.held.extend(needs.held);
    needs.last_seen.into_iter().for_each(|key| state.last_seen.load(key, None));
    state.whole.device_keys.extend(needs.device_keys);
    needs.licenses.into_iter().for_each(|key| state.licenses.load(key, None));
    needs.release_codes.into_iter().for_each(|key| state.release_codes.load(key, None));
    state.whole.licenses_of.extend(needs.licenses_of);
    state.whole.quota_realms |= needs.quota_realms;
}

/// The items of an answer, in a line.
fn items(answer: &Answer) -> String {
    let item = |item: &Item| match item.reason {
        Some(reason) => format!("{} {:?} {reason}", item.vdom, item.outcome),
        None => format!("{} {:?}", item.vdom, item.outcome),
    };
    answer.items.iter().map(item).collect::<Vec<_>>().join(", ")
}
