//! The rules of the register. Pure: no I/O, no async, no clock, no randomness; the time and the ids are passed in.
//!
//! [`plan`] takes what is known of the register ([`State`]) and a [`Command`], changes the former and answers the latter. The same function
//! serves every database and every batch size.
//!
//! # Layout, in reading order
//!
//! - What the register holds: [`Device`], [`Cluster`], [`AuthClient`], [`Realm`], [`User`] and [`UserRef`], [`Settings`]; all under
//!   ids of one sequence. What was deleted leaves a [`Tombstone`].
//! - [`State`]: what is known of it, in [`Table`]s that can take back what a command did; a look-up of what is not known says what to load.
//! - [`Command`] in, [`Planned`] or [`Stop`] out.
//! - The rules: `admission` and `lobby` (may it come), `contact` (and where to), `report` (register, sync), `held` (the removal guard), `delete`, `undelete`, `purge`, `users` (what every
//!   change of users goes through), `user_calls`, `user_sync`, `channel`; `quota`; what admins do: `realms`,
//!   `moves`, `release_code`, `configure` (the settings), `people`, `web_app`; `settle` counts once a command is done.

mod admin_token;
mod admission;
mod answer;
mod auth_client;
mod channel;
mod clone;
mod cluster;
mod command;
mod concern;
mod configure;
mod contact;
mod delete;
mod device;
mod explain;
mod fence;
mod foresee;
mod ha;
mod handed;
mod held;
mod history;
mod ids;
mod key;
mod license;
mod lobby;
mod merge;
mod moves;
mod needs;
mod people;
mod plan_id;
mod purge;
mod quota;
mod reach;
mod realm;
mod realms;
mod release_code;
mod replace;
mod report;
mod secret_hash;
mod settings;
mod settle;
mod state;
mod table;
mod tombstone;
mod undelete;
mod user;
mod user_calls;
pub mod user_sync;
mod users;
mod web_app;

use std::net::IpAddr;

use muster_proto::{Reason, Timestamp};

pub use admin_token::AdminToken;
pub use admission::{Admission, AdmissionRule, AdmissionTest, Decision};
pub use answer::{
    After, Answer, Change, ClientItem, Item, Name, NamedClient, Notice, Outcome, Planned, QuotaUse, Record, Refusal,
    Subject, SyncStatus, UserItem,
};
pub use auth_client::AuthClient;
pub use clone::{DeviceKey, KeyState};
pub use cluster::Standing;
pub use command::{Action, Command, Options};
pub use contact::may_call;
pub use delete::Verdict;
pub use device::{Cluster, Device, MemberRole};
pub use explain::{Explained, Finding, Place};
pub use held::{HELD_FOR, Held, HeldOn, HeldState};
pub use history::{Entry, EntryChange, Folding, Past, differences};
pub use ids::{
    AdminTokenId, AuthClientId, ClusterId, DeviceId, HeldId, LobbyId, OwnerId, RealmId, UserId, UserRefId, WebAppId,
};
pub use key::Proof;
pub use license::{License, LicenseItem};
pub use lobby::{LobbyEntry, LobbyState};
pub use muster_proto::UserAttributes;
pub use needs::{Needs, Stop};
pub use people::NamedUser;
pub use reach::Reach;
pub use realm::Realm;
pub use release_code::ReleaseCode;
pub use secret_hash::SecretHash;
pub use settings::Settings;
pub use state::State;
pub use table::Table;
pub use tombstone::{DeleteMode, Tombstone};
pub use user::{User, UserRef};
pub use user_calls::name_of;
pub use users::{Site, toggle};
pub use web_app::{ClientId, WebApp};

/// What the rules may not find out for themselves.
#[derive(Debug)]
pub struct Context<'a> {
    /// The time now.
    pub now: Timestamp,
    /// The next id of this register; each is given away once.
    pub next_id: &'a mut i64,
    /// Who calls, as in "device:FG101FTK19002788".
    pub caller: &'a str,
    /// How the device proved that it is what it says, if it called itself; `None` for relays and admins.
    pub proof: Option<&'a Proof>,
    /// Which realms the caller may touch.
    pub reach: &'a Reach,
    /// Where the call comes from, if the device itself calls.
    pub address: Option<IpAddr>,
}

impl Context<'_> {
    fn id(&mut self) -> i64 {
        let id = *self.next_id;
        *self.next_id += 1;
        id
    }

    /// Whether the caller may touch what is in this realm. What it may not touch is answered as if it had never been.
    fn may_touch(&self, realm: RealmId) -> bool {
        self.reach.covers(realm)
    }
}

/// Works out what a command does: changes `state` accordingly and answers. A command that is refused, that is only to be validated, or that
/// needs something that is not loaded, changes nothing.
pub fn plan(state: &mut State, command: &Command, context: &mut Context<'_>) -> Result<Planned, Stop> {
    let first_id = *context.next_id;
    let Command { action, options } = command;
    let plan =
        if options.validate_only || options.plan.is_some() { Some(plan_of(state, action, context)?) } else { None };
    let mut result = work_out(state, action, context);
    let is_guess = result.as_ref().is_ok_and(Planned::is_guess);
    if !is_guess && options.plan.as_ref().is_some_and(|expected| plan.as_ref() != Some(expected)) {
        let message = "what the plan depends on has changed since, or it is a plan of something else";
        result = Err(Refusal::new(Reason::PlanStale, message).into());
    } else if let (Ok(planned), true) = (&mut result, options.validate_only) {
        planned.answer.plan = plan;
        // What is not done is not held either: there is nothing to confirm yet.
        planned.answer.held = planned.answer.held.take().filter(|notice| !notice.is_new);
    }
    if let (Ok(planned), Some(serial)) = (&mut result, action.serial())
        && planned.looked_at_clients()
    {
        planned.realms = state.realms_of(serial);
    }
    if is_guess || result.is_ok() && !options.validate_only {
        state.keep();
    } else {
        state.take_back();
        *context.next_id = first_id;
    }
    result
}

/// The plan id of a command, worked out on its own: nothing of it is left.
fn plan_of(state: &mut State, action: &Action, context: &Context<'_>) -> Result<String, Stop> {
    let mut ids = plan_id::FIRST_ID;
    let mut context = Context { next_id: &mut ids, ..*context };
    let plan = work_out(state, action, &mut context).map(|planned| plan_id::of(state, action, &planned, &context));
    state.take_back();
    plan
}

/// Works a command out, and counts what came of it.
fn work_out(state: &mut State, action: &Action, context: &mut Context<'_>) -> Result<Planned, Stop> {
    let mut planned = checked(state, action, context)?;
    planned.records.extend(settle::settle(state, context)?);
    // First, because what the rules say of the device is about whoever has its auth clients afterwards.
    planned.records.splice(0..0, handed::handed(state)?);
    if let After::Realm(realm) = &mut planned.answer.after
        && let Some(counted) = state.realms.get(&realm.id)
    {
        realm.clone_from(counted);
    }
    Ok(planned)
}

/// Works a command out, unless the key of the device that calls is held.
fn checked(state: &mut State, action: &Action, context: &mut Context<'_>) -> Result<Planned, Stop> {
    match clone::check(state, action, context)? {
        clone::Verdict::Passed(None) => decide(state, action, context),
        clone::Verdict::Passed(Some((record, reason))) => {
            let mut planned = decide(state, action, context)?;
            planned.answer.reason = planned.answer.reason.or(reason);
            planned.records.push(record);
            Ok(planned)
        }
        clone::Verdict::Held(planned) => Ok(*planned),
    }
}

fn decide(state: &mut State, action: &Action, context: &mut Context<'_>) -> Result<Planned, Stop> {
    if let Some(stopped) = lobby::at_the_door(state, action, context)? {
        return Ok(stopped);
    }
    fence::check(state, action)?;
    match action {
        Action::Register(registration) => report::register(state, registration, context),
        Action::Sync(sync) => report::sync(state, sync, context),
        Action::Delete(deletion) => delete::by_device(state, deletion, context),
        Action::AddUser(addition) => user_calls::add(state, addition, context),
        Action::UpdateUser(update) => user_calls::update(state, update, context),
        Action::DeleteUser(deletion) => user_calls::delete(state, deletion, context),
        Action::BeginUserSync(target) => user_sync::begin(state, *target),
        Action::UsersInSync(target, kinds) => user_calls::in_sync(state, *target, *kinds, context),
        Action::Hello(hello) => channel::hello(state, hello, context),
        Action::Contact(serial) => contact::contact(state, *serial),
        Action::DecideHeld { id, approve: true, .. } => held::decision::approve(state, *id, context),
        Action::DecideHeld { id, approve: false, .. } => held::decision::reject(state, *id, context),
        Action::ExpireHeld { id, .. } => held::decision::expire(state, *id, context),
        Action::DeleteAuthClient { serial, vdom, etag, verdict } => {
            delete::auth_client(state, *serial, *vdom, etag.as_deref(), verdict, context)
        }
        Action::UndeleteAuthClient { serial, vdom, etag } => {
            undelete::auth_client(state, *serial, *vdom, etag.as_deref(), context)
        }
        Action::PurgeDevice { serial } => purge::device(state, *serial, context),
        Action::Purge { serial, owner } => purge::overdue(state, *serial, *owner, context),
        Action::UndeleteDevice { serial } => undelete::device(state, *serial, context),
        Action::DeleteDevice { serial, generation, verdict } => {
            delete::device(state, *serial, *generation, verdict, context)
        }
        Action::CreateCluster { name, primary, others } => cluster::create(state, name, *primary, others, context),
        Action::RenameCluster { cluster, name, etag } => {
            cluster::rename(state, *cluster, name, etag.as_deref(), context)
        }
        Action::DeleteCluster { cluster, etag } => cluster::delete(state, *cluster, etag.as_deref(), context),
        Action::AddMember { cluster, serial } => cluster::add_member(state, *cluster, *serial, context),
        Action::RemoveMember { cluster, serial } => cluster::remove_member(state, *cluster, *serial, context),
        Action::SetPrimary { cluster, serial } => cluster::set_primary(state, *cluster, *serial, context),
        Action::ImportLicenses(rows) => license::import(state, rows, context),
        Action::ReleaseLicense(number) => license::release(state, number, context),
        Action::DeleteLicense(number) => license::delete(state, number, context),
        Action::ApproveLobby { serial, realm } => lobby::approve(state, *serial, realm.as_ref(), context),
        Action::RejectLobby { serial, why } => lobby::reject(state, *serial, why, context),
        Action::UpdateAdmission { new, etag } => admission::update(state, new, etag.as_deref(), context),
        Action::ReplaceDevice { old, new } => replace::replace(state, *old, *new, context),
        Action::ResolveClone { serial, key } => clone::resolve(state, *serial, *key, context),
        Action::CreateReleaseCode { serial, hash, validity } => {
            release_code::create(state, *serial, *hash, *validity, context)
        }
        Action::ClaimDevice { serial, hash, realm } => release_code::claim(state, *serial, *hash, realm, context),
        Action::CreateRealm(new) => realms::create(state, new, context),
        Action::UpdateRealm { realm, change, etag } => realms::update(state, *realm, change, etag.as_deref(), context),
        Action::DeleteRealm { realm, etag } => realms::delete(state, *realm, etag.as_deref(), context),
        Action::UndeleteRealm { realm } => realms::undelete(state, *realm, context),
        Action::UpdateSettings { change, etag } => configure::update(state, change, etag.as_deref(), context),
        Action::MoveAuthClients { clients, realm } => moves::auth_clients(state, clients, *realm, context),
        Action::UpdateAuthClient { client, alias, realm, etag } => {
            moves::update(state, client, alias.as_ref(), *realm, etag.as_deref(), context)
        }
        Action::SetUserDisabled { user, disabled } => people::set_disabled(state, user, *disabled, context),
        Action::DeletePerson { user, clients } => people::delete(state, user, clients, context),
        Action::CreateAdminToken { new, hash } => admin_token::create(state, new, *hash, context),
        Action::RevokeAdminToken(id) => admin_token::revoke(state, *id, context),
        Action::CreateWebApp { new, client_id, secret } => web_app::create(state, new, client_id, *secret, context),
        Action::RenameWebApp { app, name, etag } => web_app::rename(state, *app, name, etag.as_deref(), context),
        Action::RotateWebApp { app, secret, grace } => web_app::rotate(state, *app, *secret, *grace, context),
        Action::DeleteWebApp { app, etag } => web_app::delete(state, *app, etag.as_deref(), context),
        Action::UndeleteWebApp(app) => web_app::undelete(state, *app, context),
        Action::Explain(subject) => explain::explain(state, subject, context),
        Action::RequestSync { serial, why } => channel::request_sync(state, *serial, why, context),
        Action::SetDeviceDebug { serial, wish } => channel::set_debug(state, *serial, wish, context),
    }
}

#[cfg(test)]
mod tests;
