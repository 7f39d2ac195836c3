//! The rules of the register. Pure: no I/O, no async, no clock, no randomness; the time and the ids are passed in.
//!
//! [`plan`] takes what the register holds of one device and a [`Command`] about it, changes the former and answers the latter. The same
//! function serves every database and every batch size.

mod aggregate;
mod answer;
mod command;
mod delete;
mod report;

use muster_proto::Timestamp;

pub use aggregate::{Aggregate, AuthClient, AuthClientId, Device, DeviceId, Kept, RealmId};
pub use answer::{Answer, Change, Item, Outcome, Planned, Refusal, SyncStatus};
pub use command::Command;

/// What the rules may not find out for themselves.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time now.
    pub now: Timestamp,
    /// The next id of this register; each is given away once.
    pub next_id: &'a mut i64,
}

impl Context<'_> {
    fn id(&mut self) -> i64 {
        let id = *self.next_id;
        *self.next_id += 1;
        id
    }
}

/// Works out what a command does to its device: changes `held` accordingly and answers. A refused command, and one that is only to be
/// validated, changes nothing.
///
/// `held` is what the register holds of [`Command::serial`], or `None` if it never heard of it. Its VDOMs may be left unloaded if
/// [`Command::needs_vdoms`] says so.
pub fn plan(held: &mut Option<Aggregate>, command: &Command, context: &mut Context<'_>) -> Result<Planned, Refusal> {
    if command.validate_only() {
        let mut next_id = *context.next_id;
        return decide(&mut held.clone(), command, &mut Context { now: context.now, next_id: &mut next_id });
    }
    decide(held, command, context)
}

fn decide(held: &mut Option<Aggregate>, command: &Command, context: &mut Context<'_>) -> Result<Planned, Refusal> {
    match command {
        Command::Register(registration) => Ok(report::register(held, registration, context)),
        Command::Sync(sync) => report::sync(held, sync, context),
        Command::Delete(deletion) => delete::by_device(held.as_mut(), deletion, context),
        Command::DeleteAuthClient { vdom, etag, .. } => {
            delete::auth_client(held.as_mut(), *vdom, etag.as_deref(), context)
        }
        Command::DeleteDevice { generation, .. } => delete::device(held.as_mut(), *generation, context),
    }
}

#[cfg(test)]
mod tests;
