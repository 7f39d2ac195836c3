//! Calls about one user of an auth client: add, update, delete.

use muster_proto::device::DeviceInfo;
use muster_proto::device_users::{ClientTarget, NewMobile, UserAddition, UserDeletion, UserTarget, UserUpdate};
use muster_proto::user_sync::Kinds;
use muster_proto::{Reason, Username, VdomName};

use super::contact::may_call;
use super::held::{HeldOn, withdraw};
use super::report::{Report, decides};
use super::users::{Respelled, Site, Tally, digest_of, put, take};
use super::{
    After, Answer, Change, Context, Device, Name, Outcome, OwnerId, Planned, Record, Refusal, State, Stop, Subject,
    SyncStatus, UserItem, quota,
};

/// Makes sure that the auth client is in the register: first contact, a return, or just one more call. What came of that is in the plan.
pub(super) fn arrive(
    state: &mut State,
    target: ClientTarget,
    context: &mut Context<'_>,
) -> Result<(Site, Planned), Stop> {
    let ClientTarget { serial, vdom, .. } = target;
    let present = match state.device(serial)? {
        Some(device) if device.is_active() => {
            let owner = device.owner();
            state.client(owner, vdom)?.filter(|client| client.is_active()).map(Site::from)
        }
        _ => None,
    };
    if let Some(site) = present {
        let unchanged = Answer::new(Outcome::Unchanged);
        return Ok((site, Planned::unchanged(unchanged)));
    }
    let mut report = Report::begin(state, serial, &DeviceInfo::default(), None, context)?;
    if vdom != VdomName::ROOT {
        report.add(VdomName::ROOT, context)?;
    }
    report.add(vdom, context)?;
    let planned = report.end(context)?;
    let refused = planned.answer.items.iter().find(|item| item.vdom == vdom);
    if let Some(reason) =
        refused.filter(|item| matches!(item.outcome, Outcome::Refused | Outcome::Held)).and_then(|it| it.reason)
    {
        return Err(
            Refusal::new(reason, format!("{serial} may not have the auth client of VDOM {:?}", vdom.as_str())).into()
        );
    }
    let owner = state.owner(serial)?;
    let site = match owner {
        Some(owner) => state.client(owner, vdom)?.map(Site::from),
        None => None,
    };
    let missing = || Refusal::new(Reason::Internal, "what was made present is not there");
    Ok((site.ok_or_else(missing)?, planned))
}

/// The auth client of a Web app.
pub(super) fn of_web_app(state: &State, app: Option<i64>) -> Result<Site, Stop> {
    let unknown = || Refusal::new(Reason::WebAppUnknown, "the call names no Web app that there is");
    let app = app.ok_or_else(unknown)?;
    let client = state.client(OwnerId(app), VdomName::WEB_APP)?.ok_or_else(unknown)?;
    if !client.is_active() {
        return Err(Refusal::new(Reason::WebAppDeleted, format!("webApps/{app} is deleted")).into());
    }
    Ok(client.into())
}

/// The auth client of a call about a user that is there.
fn site_of(state: &State, target: UserTarget) -> Result<Site, Stop> {
    match target {
        UserTarget::FortiProduct(target) => known(state, target),
        UserTarget::WebApp(app) => of_web_app(state, app),
    }
}

/// The auth client of a call that makes none.
fn known(state: &State, target: ClientTarget) -> Result<Site, Stop> {
    let ClientTarget { serial, vdom, .. } = target;
    let unknown = || Refusal::new(Reason::DeviceUnknown, format!("no device {serial} was ever registered"));
    let device = state.device(serial)?.ok_or_else(unknown)?;
    may_call(device)?;
    let client = state
        .client(device.owner(), vdom)?
        .ok_or_else(|| Refusal::new(Reason::VdomUnknown, format!("{serial} never had a VDOM {:?}", vdom.as_str())))?;
    if !client.is_active() {
        let message = format!("the VDOM {:?} of {serial} is deleted, and its users with it", vdom.as_str());
        return Err(Refusal::new(Reason::AuthClientDeleted, message).into());
    }
    Ok(client.into())
}

/// Makes sure that the auth client is there, as far as that is up to the caller: a device makes it, a Web app has it.
pub(super) fn arrive_at(
    state: &mut State,
    target: UserTarget,
    context: &mut Context<'_>,
) -> Result<(Site, Planned), Stop> {
    match target {
        UserTarget::FortiProduct(target) => arrive(state, target, context),
        UserTarget::WebApp(app) => Ok((of_web_app(state, app)?, Planned::unchanged(Answer::new(Outcome::Unchanged)))),
    }
}

/// Whether the full lists of the target count: all but those of the secondaries of a cluster do.
pub(super) fn rules_its_users(state: &State, target: UserTarget) -> Result<bool, Stop> {
    target.serial().map_or(Ok(true), |serial| decides(state, serial))
}

/// The answer about one user, and what is audited of it.
fn finish(
    state: &State,
    target: UserTarget,
    site: Site,
    item: UserItem,
    changes: Vec<Change>,
    mut planned: Planned,
) -> Result<Planned, Stop> {
    let (generation, digest) = match target.serial() {
        Some(serial) => state.device(serial)?.map_or((0, [0; 32]), |it: &Device| (it.generation, it.digest)),
        None => (0, [0; 32]),
    };
    let name = name_of(target, site);
    planned.answer.outcome = item.outcome;
    planned.answer.reason = item.reason;
    (planned.answer.generation, planned.answer.digest) = (generation, digest);
    planned.answer.users = vec![item];
    if let Some(client) = state.client(site.owner, site.vdom)? {
        planned.answer.after = After::AuthClient(client.clone());
    }
    if !changes.is_empty() {
        planned.records.push(Record { about: site.client.0, name, generation, changes });
    }
    Ok(planned)
}

/// What the audit log names when users of an auth client change: the device, or the Web app.
#[must_use]
pub fn name_of(target: UserTarget, site: Site) -> Name {
    match target.serial() {
        Some(serial) => Name::Device(serial),
        None => Name::Resource(format!("webApps/{}", site.owner.0).into()),
    }
}

/// A refusal that is about the one user that was named.
fn refused(item: &UserItem) -> Stop {
    let reason = item.reason.unwrap_or(Reason::Internal);
    Refusal::new(reason, format!("user {}: {}", item.username, item.detail)).into()
}

/// Puts a user on an auth client.
pub(super) fn add(state: &mut State, addition: &UserAddition, context: &mut Context<'_>) -> Result<Planned, Stop> {
    let (site, planned) = arrive_at(state, addition.target, context)?;
    if let Some(client) = state.client(site.owner, site.vdom)? {
        quota::may_have_users(state, client)?;
    }
    let (mut tally, mut changes) = (Tally::default(), Vec::new());
    let item = put(
        state,
        site,
        (&addition.user, &digest_of(&addition.user)),
        Respelled::Refused,
        &mut tally,
        &mut changes,
        context,
    )?;
    if item.outcome == Outcome::Refused {
        return Err(refused(&item));
    }
    tally.count(state, site, context)?;
    finish(state, addition.target, site, item, changes, planned)
}

fn unknown(target: UserTarget, username: &Username) -> Stop {
    let message = match target {
        UserTarget::FortiProduct(ClientTarget { serial, vdom, .. }) => {
            format!("the VDOM {:?} of {serial} has no user {username}", vdom.as_str())
        }
        UserTarget::WebApp(_) => format!("the Web app has no user {username}"),
    };
    Refusal::new(Reason::UserUnknown, message).into()
}

/// Changes what an auth client says of a user.
pub(super) fn update(state: &mut State, update: &UserUpdate, context: &mut Context<'_>) -> Result<Planned, Stop> {
    let site = site_of(state, update.target)?;
    let key = update.username.key(state.settings().fold_usernames);
    let found = state.user_ref(site.client, &key)?.filter(|found| found.deleted_at.is_none());
    let Some(mut attributes) = found.map(|found| found.attributes.clone()) else {
        return Err(unknown(update.target, &update.username));
    };
    attributes.username.clone_from(&update.username);
    if let Some(email) = &update.email {
        attributes.email.clone_from(email);
    }
    match &update.mobile {
        NewMobile::Kept => {}
        NewMobile::Gone => attributes.mobile = None,
        NewMobile::Is(mobile) => attributes.mobile = Some(mobile.clone()),
    }
    attributes.kind = update.kind.unwrap_or(attributes.kind);
    attributes.active = update.active.unwrap_or(attributes.active);
    let (mut tally, mut changes) = (Tally::default(), Vec::new());
    let item = put(
        state,
        site,
        (&attributes, &digest_of(&attributes)),
        Respelled::Refused,
        &mut tally,
        &mut changes,
        context,
    )?;
    if item.outcome == Outcome::Refused {
        return Err(refused(&item));
    }
    tally.count(state, site, context)?;
    finish(state, update.target, site, item, changes, Planned::unchanged(Answer::new(Outcome::Unchanged)))
}

/// Takes a user off an auth client.
pub(super) fn delete(state: &mut State, deletion: &UserDeletion, context: &Context<'_>) -> Result<Planned, Stop> {
    let site = site_of(state, deletion.target)?;
    let key = deletion.username.key(state.settings().fold_usernames);
    let Some(username) = state.user_ref(site.client, &key)?.map(|found| found.attributes.username.clone()) else {
        return Err(unknown(deletion.target, &deletion.username));
    };
    let (mut tally, mut changes) = (Tally::default(), Vec::new());
    let gone = take(state, site, &key, &mut tally, context)?;
    let (outcome, reason) =
        if gone { (Outcome::Removed, None) } else { (Outcome::Unchanged, Some(Reason::AlreadyDeleted)) };
    if gone {
        changes.push(Change::state(Subject::User(site.vdom, username.clone()), "active", "deleted"));
    }
    tally.count(state, site, context)?;
    let item = UserItem { vdom: site.vdom, username, outcome, reason, detail: String::new() };
    finish(state, deletion.target, site, item, changes, Planned::unchanged(Answer::new(Outcome::Unchanged)))
}

/// A sync of users found that the digests are equal: the auth client has what it asked to remove before, and whoever called is noted.
pub(super) fn in_sync(
    state: &mut State,
    target: UserTarget,
    kinds: Kinds,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let site = site_of(state, target)?;
    let mut records = Vec::new();
    if rules_its_users(state, target)? {
        withdraw(state, HeldOn::Users(site.owner, site.vdom, kinds), &mut records, context)?;
    }
    let mut answer = Answer { status: SyncStatus::InSync, ..Answer::new(Outcome::Unchanged) };
    if let Some(client) = state.client(site.owner, site.vdom)? {
        answer.after = After::AuthClient(client.clone());
    }
    Ok(Planned { records, ..Planned::unchanged(answer) })
}
