//! A sync of the users of one auth client, in steps: the list is too long to be worked out as one command. Each step is kept or taken back as a
//! whole, and the caller keeps or takes back all of them.

use muster_proto::device_users::UserTarget;
use muster_proto::user_sync::Kinds;
use muster_proto::{Reason, UserKey, UserKind, Username, VdomName};

use super::held::{HeldOn, Removals, Ruling};
use super::user_calls::{arrive_at, of_web_app, rules_its_users};
use super::users::{Respelled, Tally, put, take};
use super::{
    Action, After, Answer, Change, Context, Notice, Outcome, Planned, Record, Site, State, Stop, Subject,
    UserAttributes, UserItem, clone, contact, fence, held, lobby, quota, settle,
};

/// One user of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A user, with its digest.
    User(Box<UserAttributes>, [u8; 32]),
    /// One that cannot be taken: its name made printable, why, and which field.
    Refused(Box<str>, Reason, &'static str),
}

/// One user of a list, and whether its name came before in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The user.
    pub listed: Listed,
    /// What makes it the same person.
    pub key: UserKey,
    /// Whether the list has it twice, and this is not the first one.
    pub again: bool,
}

/// What became of one user of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncItem {
    /// The name, printable.
    pub username: Box<str>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
    /// What is to be said besides the reason.
    pub detail: String,
    /// Whether it was on the auth client before.
    pub was_there: bool,
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What became of each user.
    pub items: Vec<SyncItem>,
    /// What changed.
    pub changes: Vec<Change>,
}

/// Whether the removals of a sync stay, and why.
pub type Stays = Option<(Outcome, Reason, Option<Notice>)>;

/// Keeps what a step did, or takes it back.
fn step<T>(
    state: &mut State,
    context: &mut Context<'_>,
    work: impl FnOnce(&mut State, &mut Context<'_>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let first_id = *context.next_id;
    let result = work(state, context);
    if result.is_ok() {
        state.keep();
    } else {
        state.take_back();
        *context.next_id = first_id;
    }
    result
}

/// A sync of users is about to begin: it may, unless the whole list would be refused. Answers with the auth client, if there is one yet.
pub(super) fn begin(state: &mut State, target: UserTarget) -> Result<Planned, Stop> {
    let (mut planned, client) = match target {
        UserTarget::WebApp(app) => {
            let site = of_web_app(state, app)?;
            (Planned::unchanged(Answer::new(Outcome::Unchanged)), state.client(site.owner, site.vdom)?)
        }
        UserTarget::FortiProduct(target) => {
            let planned = contact::contact(state, target.serial)?;
            let client = match state.device(target.serial)?.filter(|device| device.is_active()) {
                Some(device) => state.client(device.owner(), target.vdom)?,
                None => None,
            };
            (planned, client)
        }
    };
    if let Some(client) = client.filter(|client| client.is_active()) {
        quota::may_have_users(state, client)?;
        planned.answer.after = After::AuthClient(client.clone());
    }
    Ok(planned)
}

/// What may have changed since the sync began, such as the key that is the device's.
fn pass_again(state: &mut State, target: UserTarget, context: &mut Context<'_>) -> Result<Option<Record>, Stop> {
    let action = Action::BeginUserSync(target);
    let (stopped, record) = match clone::check(state, &action, context)? {
        clone::Verdict::Held(planned) => (Some(*planned), None),
        clone::Verdict::Passed(passed) => {
            (lobby::at_the_door(state, &action, context)?, passed.map(|(record, _)| record))
        }
    };
    // Who waits, and with which key, is noted at the next call: nothing of this one is kept.
    match stopped.and_then(|planned| planned.refused) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(record),
    }
}

/// Makes sure that the caller still may come, and that the auth client is there and may have users.
pub fn open(state: &mut State, target: UserTarget, context: &mut Context<'_>) -> Result<(Site, Planned), Stop> {
    step(state, context, |state, context| {
        let record = pass_again(state, target, context)?;
        // Another member may have taken over since the sync began.
        fence::of_target(state, target)?;
        let (site, mut planned) = arrive_at(state, target, context)?;
        planned.records.extend(record);
        if let Some(client) = state.client(site.owner, site.vdom)? {
            quota::may_have_users(state, client)?;
        }
        state.realm(site.realm)?;
        planned.records.extend(settle::settle(state, context)?);
        Ok((site, planned))
    })
}

/// Rules on the removals of a list: `names` are the keys of the users that it leaves out, in ascending order.
pub fn rule(
    state: &mut State,
    site: Site,
    (target, kinds): (UserTarget, Kinds),
    names: &[Box<str>],
    token: Option<&str>,
    context: &mut Context<'_>,
) -> Result<(Stays, Vec<Record>), Stop> {
    step(state, context, |state, context| {
        if !rules_its_users(state, target)? {
            let stays = (!names.is_empty()).then_some((Outcome::Held, Reason::PrimaryDecides, None));
            return Ok((stays, Vec::new()));
        }
        let limit = state.settings().guard_users;
        let removals = Removals {
            on: HeldOn::Users(site.owner, site.vdom, kinds),
            serial: target.serial(),
            names: names.to_vec(),
            beyond: i64::try_from(names.len()).is_ok_and(|count| count > limit),
            token,
        };
        let mut records = Vec::new();
        let stays = match held::rule(state, removals, &mut records, context)? {
            Ruling::Go => None,
            Ruling::Stay(outcome, reason, notice) => Some((outcome, reason, Some(notice))),
        };
        Ok((stays, records))
    })
}

/// Takes some users off the auth client.
pub fn remove(
    state: &mut State,
    site: Site,
    users: &[(UserKey, Username)],
    context: &mut Context<'_>,
) -> Result<Done, Stop> {
    step(state, context, |state, context| {
        let (mut done, mut tally) = (Done::default(), Tally::default());
        for (key, username) in users {
            if take(state, site, key, &mut tally, context)? {
                done.changes.push(Change::state(Subject::User(site.vdom, username.clone()), "active", "deleted"));
                done.items.push(SyncItem::removed(username, Outcome::Removed, None));
            }
        }
        tally.count(state, site, context)?;
        Ok(done)
    })
}

/// Puts some users on the auth client.
pub fn put_all(
    state: &mut State,
    site: Site,
    target: UserTarget,
    entries: &[Entry],
    kinds: Kinds,
    context: &mut Context<'_>,
) -> Result<Done, Stop> {
    step(state, context, |state, context| {
        let rules = rules_its_users(state, target)?;
        let mut tally = Tally::default();
        let mut done = Done { items: Vec::with_capacity(entries.len()), changes: Vec::new() };
        for entry in entries {
            let item = one(state, site, entry, (kinds, rules), (&mut tally, &mut done.changes), context)?;
            done.items.push(item);
        }
        tally.count(state, site, context)?;
        Ok(done)
    })
}

fn one(
    state: &mut State,
    site: Site,
    Entry { listed, key, again }: &Entry,
    (kinds, rules): (Kinds, bool),
    (tally, changes): (&mut Tally, &mut Vec<Change>),
    context: &mut Context<'_>,
) -> Result<SyncItem, Stop> {
    let there = state.user_ref(site.client, key)?.filter(|found| found.deleted_at.is_none());
    let was_there = there.is_some();
    let refused = |username: &str, reason, detail: String| SyncItem {
        username: username.into(),
        outcome: Outcome::Refused,
        reason: Some(reason),
        detail,
        was_there,
    };
    let (attributes, digest) = match listed {
        Listed::User(attributes, digest) => (attributes, digest),
        Listed::Refused(username, reason, field) => return Ok(refused(username, *reason, (*field).to_owned())),
    };
    let username = attributes.username.as_str();
    if *again {
        let first = there.map(|found| &found.attributes.username).filter(|first| **first != attributes.username);
        return Ok(match first {
            Some(first) => refused(username, Reason::UsernameCollision, format!("the list has it as {first}, too")),
            None => refused(username, Reason::UserDuplicate, String::new()),
        });
    }
    if site.vdom == VdomName::WEB_APP && attributes.kind != UserKind::Local {
        return Ok(refused(username, Reason::FieldInvalid, "kind: the users of a Web app are local".to_owned()));
    }
    if !kinds.has(attributes.kind) {
        return Ok(refused(username, Reason::UserKindNotSynced, attributes.kind.as_str().to_owned()));
    }
    if !rules {
        let same = there.is_some_and(|found| found.attributes == **attributes);
        let (outcome, reason) =
            if same { (Outcome::Unchanged, None) } else { (Outcome::Held, Some(Reason::PrimaryDecides)) };
        return Ok(SyncItem { username: username.into(), outcome, reason, detail: String::new(), was_there });
    }
    match put(state, site, (attributes, digest), Respelled::Noted, tally, changes, context) {
        Ok(UserItem { username, outcome, reason, detail, .. }) => {
            Ok(SyncItem { username: username.as_str().into(), outcome, reason, detail, was_there })
        }
        // There is no room for it; others may still be changed.
        Err(Stop::Refused(refusal)) => Ok(refused(username, refusal.reason, refusal.message)),
        Err(missing) => Err(missing),
    }
}

impl SyncItem {
    /// What became of a user that is not listed.
    #[must_use]
    pub fn removed(username: &Username, outcome: Outcome, reason: Option<Reason>) -> Self {
        Self { username: username.as_str().into(), outcome, reason, detail: String::new(), was_there: true }
    }
}
