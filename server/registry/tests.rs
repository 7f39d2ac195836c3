//! The rules of the register.

mod deletion;
mod property;
mod report;

use muster_proto::device::{Deletion, DeviceInfo, Registration, Sync, Target};
use muster_proto::{MAX_VDOMS, Reason, SerialNumber, VdomName, digest};

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
    Registration { serial: serial(), info: DeviceInfo::default(), vdoms: vdoms(names), validate_only: false }
}

fn listed(names: &str) -> Sync {
    let full_list = Some(vdoms(names));
    let info = DeviceInfo::default();
    Sync { serial: serial(), info, full_list, base_generation: None, digest: None, validate_only: false }
}

fn deletion(target: Target) -> Command {
    Command::Delete(Deletion { serial: serial(), target, validate_only: false })
}

fn without(name: &str) -> Command {
    deletion(Target::Vdom(vdom(name)))
}

/// A register with at most one device in it; each command comes a second after the one before.
#[derive(Clone, Debug)]
struct Register {
    held: Option<Aggregate>,
    now: i64,
    next_id: i64,
}

impl Register {
    fn empty() -> Self {
        Self { held: None, now: 0, next_id: 1_000 }
    }

    fn with(names: &str) -> Self {
        let mut register = Self::empty();
        register.register(names);
        register
    }

    fn plan(&mut self, command: &Command) -> Result<Planned, Refusal> {
        self.now += 1;
        let now = Timestamp::from_micros(self.now * 1_000_000);
        plan(&mut self.held, command, &mut Context { now, next_id: &mut self.next_id })
    }

    fn answer(&mut self, command: &Command) -> Answer {
        self.plan(command).unwrap().answer
    }

    fn refused(&mut self, command: &Command) -> Reason {
        self.plan(command).unwrap_err().reason
    }

    fn register(&mut self, names: &str) -> Answer {
        self.answer(&Command::Register(registration(names)))
    }

    fn sync(&mut self, names: &str) -> Answer {
        self.answer(&Command::Sync(listed(names)))
    }

    fn device(&self) -> &Device {
        self.held.as_ref().unwrap().device.get()
    }

    fn client(&self, name: &str) -> &AuthClient {
        self.held.as_ref().unwrap().auth_clients[&vdom(name)].get()
    }

    fn active(&self) -> String {
        let names: Vec<String> =
            self.held.iter().flat_map(Aggregate::active_vdoms).map(|vdom| vdom.to_string()).collect();
        names.join(" ")
    }
}

/// The items of an answer, in a line.
fn items(answer: &Answer) -> String {
    let item = |item: &Item| match item.reason {
        Some(reason) => format!("{} {:?} {reason}", item.vdom, item.outcome),
        None => format!("{} {:?}", item.vdom, item.outcome),
    };
    answer.items.iter().map(item).collect::<Vec<_>>().join(", ")
}
