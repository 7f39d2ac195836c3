//! What an operation leaves behind besides its answer: an audit row, and debug events.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use muster_proto::debug_log::Level;
use muster_proto::device_users::UserTarget;
use muster_proto::{Reason, SerialNumber, Timestamp, VdomName, v1};
use serde::Serialize;
use tonic::Code;

use super::Operation;
use super::batch::RealmNames;
use crate::feed::{DebugEvent, ValueChange};
use crate::registry::{
    Action, After, Answer, Change, ClientItem, Command, Item, Name, Outcome, Planned, RealmId, Record, Refusal,
    Subject, SyncStatus, UserItem, WebAppId,
};

/// One changed value, as the audit log keeps it.
#[derive(Serialize)]
struct AuditedChange<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vdom: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    field: &'a str,
    before: &'a str,
    after: &'a str,
}

/// The changes of one operation, as the audit log keeps them: a JSON list.
pub(super) fn audit(changes: &[Change]) -> String {
    let changes: Vec<AuditedChange<'_>> = changes
        .iter()
        .map(|change| {
            let (vdom, user) = match &change.subject {
                Subject::Itself => (None, None),
                Subject::Vdom(vdom) => (Some(vdom.as_str()), None),
                Subject::User(vdom, user) => (Some(vdom.as_str()), Some(user.as_str())),
            };
            AuditedChange { vdom, user, field: change.field, before: &change.before, after: &change.after }
        })
        .collect();
    // Serialising texts into memory cannot fail.
    serde_json::to_string(&changes).unwrap_or_default()
}

/// Adds the debug events of an operation, the terminal one last.
pub(super) fn events(
    into: &mut Vec<DebugEvent>,
    operation: &Operation,
    command: &Command,
    result: &Result<Planned, Refusal>,
    realms: &RealmNames,
    now: Timestamp,
) {
    let first = into.len();
    unplaced(into, operation, command, result, now);
    if let Some(web_app) = web_app(&command.action, result) {
        into.iter_mut().skip(first).for_each(|event| event.web_app = Some(web_app));
    }
    if let Ok(planned) = result {
        into.iter_mut().skip(first).for_each(|event| place(event, planned, realms));
    }
}

/// The one Web app that a command of an admin is about, if it is about one.
fn web_app(action: &Action, result: &Result<Planned, Refusal>) -> Option<WebAppId> {
    match action {
        Action::RenameWebApp { app, .. }
        | Action::RotateWebApp { app, .. }
        | Action::DeleteWebApp { app, .. }
        | Action::UndeleteWebApp(app) => Some(*app),
        // The one had no id before, and the other has only that of the set.
        Action::CreateWebApp { .. } | Action::DecideHeld { .. } => {
            result.as_ref().ok()?.records.iter().find_map(|record| record.name.web_app())
        }
        _ => None,
    }
}

/// Says which realm an event is about: that of its VDOM, else that of what the caller named, else the one that all auth clients of the
/// device are in.
fn place(event: &mut DebugEvent, planned: &Planned, realms: &RealmNames) {
    let of_vdom = |vdom: VdomName| planned.realms.iter().find(|(known, _)| *known == vdom).map(|(_, realm)| *realm);
    let common = || {
        let (_, first) = planned.realms.first()?;
        planned.realms.iter().all(|(_, realm)| realm == first).then_some(*first)
    };
    let id = match event.vdom {
        Some(vdom) => of_vdom(vdom).or_else(|| planned.answer.after.realm()),
        None => planned.answer.after.realm().or_else(common),
    };
    event.realm_id = id;
    event.realm = id.and_then(|id| realms.get(&id).cloned());
}

/// The events, their realms aside.
fn unplaced(
    into: &mut Vec<DebugEvent>,
    operation: &Operation,
    command: &Command,
    result: &Result<Planned, Refusal>,
    now: Timestamp,
) {
    let serial = command.action.serial();
    let planned = match result {
        Ok(Planned { refused: Some(refusal), .. }) | Err(refusal) => {
            into.push(terminal(operation, serial, refusal.reason.code(), now).refused(refusal));
            return;
        }
        Ok(planned) => planned,
    };
    let validate_only = command.options.validate_only;
    if !validate_only {
        for record in &planned.records {
            let of_itself: Vec<ValueChange> =
                record.changes.iter().filter(|change| change.subject == Subject::Itself).map(value).collect();
            if !of_itself.is_empty() {
                let mut event = event(operation, record.name.serial().or(serial), now);
                event.level = Level::Detail;
                event.message = match &record.name {
                    Name::Device(_) => {
                        event.step = "device";
                        Cow::Borrowed(outcome(planned.answer.outcome))
                    }
                    // Held removals come and go on the side of something else.
                    Name::Resource(name) => match record.changes.iter().find(|change| change.field == "state") {
                        Some(state) => Cow::Owned(format!("{name} {}", state.after)),
                        None => Cow::Owned(format!("{name} {}", outcome(planned.answer.outcome))),
                    },
                };
                event.changes = of_itself;
                into.push(event);
            }
        }
        for item in &planned.answer.items {
            if item.outcome != Outcome::Unchanged || item.reason.is_some() {
                into.push(item_event(operation, serial, item, &planned.records, now));
            }
        }
        for item in &planned.answer.users {
            if item.outcome != Outcome::Unchanged || item.reason.is_some() {
                into.push(user_event(operation, serial, item, now));
            }
        }
        for item in &planned.answer.clients {
            if item.outcome != Outcome::Unchanged || item.reason.is_some() {
                into.push(client_event(operation, item, now));
            }
            into.extend(item.users.iter().map(|user| {
                let web_app = operation.web_app.or(web_app_of(item));
                DebugEvent { web_app, ..user_event(operation, None, user, now) }
            }));
        }
    }
    if let Action::BeginUserSync(_) = command.action {
        // Whoever syncs leaves the terminal event, once the list is worked off.
        if planned.answer.reason.is_some() {
            let mut event = event(operation, serial, now);
            event.message = Cow::Borrowed("the sync of users begins");
            event.reason = planned.answer.reason;
            into.push(event);
        }
        return;
    }
    let mut event = terminal(operation, serial, Code::Ok, now);
    event.message = Cow::Owned(summary(&command.action, &planned.answer, validate_only));
    event.reason = planned.answer.reason;
    into.push(event);
}

fn item_event(
    operation: &Operation,
    serial: Option<SerialNumber>,
    item: &Item,
    records: &[Record],
    now: Timestamp,
) -> DebugEvent {
    let mut event = event(operation, serial, now);
    event.level = level(item.outcome);
    event.step = "vdom";
    event.vdom = Some(item.vdom);
    event.message = Cow::Borrowed(outcome(item.outcome));
    event.reason = item.reason;
    let changes = records.iter().flat_map(|record| &record.changes);
    event.changes = changes.filter(|change| change.subject == Subject::Vdom(item.vdom)).map(value).collect();
    event
}

/// What became of the device and its VDOMs before its users were synced.
pub(crate) fn arrival(
    operation: &Operation,
    serial: SerialNumber,
    Planned { answer, records, .. }: &Planned,
    now: Timestamp,
) -> Vec<DebugEvent> {
    let changed = answer.items.iter().filter(|item| item.outcome != Outcome::Unchanged || item.reason.is_some());
    let mut events: Vec<_> = changed.map(|item| item_event(operation, Some(serial), item, records, now)).collect();
    if matches!(answer.outcome, Outcome::Created | Outcome::Restored) {
        let mut event = event(operation, Some(serial), now);
        event.step = "device";
        event.message = Cow::Borrowed(outcome(answer.outcome));
        events.insert(0, event);
    }
    events
}

/// What became of one user of a sync.
pub(crate) fn user_outcome(
    operation: &Operation,
    target: UserTarget,
    realm: &(RealmId, Arc<str>),
    item: &v1::UserOutcome,
    now: Timestamp,
) -> DebugEvent {
    let mut event = event(operation, target.serial(), now);
    event.level = level(item.outcome());
    event.step = "user";
    event.vdom = Some(target.vdom());
    (event.realm_id, event.realm) = (Some(realm.0), Some(Arc::clone(&realm.1)));
    let detail = if item.detail.is_empty() { String::new() } else { format!(": {}", item.detail) };
    event.message = Cow::Owned(format!("user {} {}{detail}", item.username, outcome(item.outcome())));
    event.reason = Reason::ALL.iter().copied().find(|reason| reason.as_str() == item.reason);
    event
}

/// The Web app that an auth client is, if it is one.
fn web_app_of(item: &ClientItem) -> Option<WebAppId> {
    (item.client.vdom == VdomName::WEB_APP).then_some(WebAppId(item.client.owner.0))
}

/// What became of one auth client among those of several devices.
fn client_event(operation: &Operation, item: &ClientItem, now: Timestamp) -> DebugEvent {
    let mut event = event(operation, None, now);
    event.level = level(item.outcome);
    event.step = "auth_client";
    event.web_app = web_app_of(item);
    event.vdom = Some(item.client.vdom);
    event.message = Cow::Owned(format!("auth client {} {}", item.client.label, outcome(item.outcome)));
    event.reason = item.reason;
    event
}

/// What became of one user. Values stay in the audit log: e-mail addresses and mobile numbers are for few eyes.
fn user_event(operation: &Operation, serial: Option<SerialNumber>, item: &UserItem, now: Timestamp) -> DebugEvent {
    let mut event = event(operation, serial, now);
    event.level = level(item.outcome);
    event.step = "user";
    event.vdom = Some(item.vdom);
    let detail = if item.detail.is_empty() { String::new() } else { format!(": {}", item.detail) };
    event.message = Cow::Owned(format!("user {} {}{detail}", item.username, outcome(item.outcome)));
    event.reason = item.reason;
    event
}

fn level(of: Outcome) -> Level {
    if matches!(of, Outcome::Refused | Outcome::Held) { Level::Warning } else { Level::Outcome }
}

/// The last debug event of an operation.
pub(crate) fn terminal(operation: &Operation, serial: Option<SerialNumber>, code: Code, now: Timestamp) -> DebugEvent {
    let mut event = event(operation, serial, now);
    event.terminal = Some(code);
    event
}

fn event(operation: &Operation, serial: Option<SerialNumber>, now: Timestamp) -> DebugEvent {
    DebugEvent {
        time: now,
        device_time: None,
        operation: operation.id,
        serial,
        vdom: None,
        realm: None,
        realm_id: None,
        web_app: operation.web_app,
        component: Cow::Borrowed("ftc"),
        level: Level::Outcome,
        step: operation.method,
        message: Cow::Borrowed(""),
        reason: None,
        changes: Vec::new(),
        caller: Some(operation.caller.clone()),
        terminal: None,
    }
}

impl DebugEvent {
    /// The same event, for something that was refused or failed.
    pub(crate) fn refused(mut self, refusal: &Refusal) -> Self {
        self.level = match refusal.reason.code() {
            Code::Internal | Code::Unavailable => Level::Error,
            _ => Level::Warning,
        };
        self.reason = Some(refusal.reason);
        self.message = Cow::Owned(format!("{}; {}", refusal.message, refusal.reason.fix()));
        self
    }
}

fn value(change: &Change) -> ValueChange {
    ValueChange { field: change.field, before: change.before.to_string(), after: change.after.to_string() }
}

/// An outcome in a word.
fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Removed => "removed",
        Outcome::Restored => "restored",
        Outcome::Refused => "refused",
        Outcome::Held => "held",
        Outcome::Unspecified => "unknown",
    }
}

/// The outcomes that a summary counts, in its order.
const COUNTED: [Outcome; 7] = [
    Outcome::Created,
    Outcome::Updated,
    Outcome::Restored,
    Outcome::Removed,
    Outcome::Refused,
    Outcome::Held,
    Outcome::Unchanged,
];

/// How an operation ended, in a line.
fn summary(action: &Action, answer: &Answer, validate_only: bool) -> String {
    let done = if validate_only { " (validated only, nothing was done)" } else { "" };
    if let ([user], After::AuthClient(_)) = (answer.users.as_slice(), &answer.after) {
        return format!("user {} {}{done}", user.username, outcome(user.outcome));
    }
    let of_clients = || {
        let moved = answer.clients.iter().filter(|item| item.outcome == Outcome::Updated).count();
        let users = answer.clients.iter().map(|item| item.users.len()).sum::<usize>();
        format!("{moved} of {} auth clients moved, {users} users merged or split", answer.clients.len())
    };
    let what = match &answer.after {
        After::Nothing => None,
        After::AuthClient(_) => Some("auth client".to_owned()),
        After::Realm(realm) if !answer.clients.is_empty() => Some(format!("{}, realm {}", of_clients(), realm.name)),
        After::Realm(realm) => Some(format!("realm {}", realm.name)),
        After::AdminToken(_) => Some("admin token".to_owned()),
        After::WebApp(found) => Some(format!("Web app {}", found.0.name)),
        After::Lobby(entry) => Some(format!("{} in the lobby: device", entry.serial)),
        After::Admission(_) => Some("admission rules".to_owned()),
        After::Settings(_) => Some("settings".to_owned()),
        After::User(user) => Some(format!("user {}", user.username)),
        After::Imported(items) => Some(format!("{} licences", items.len())),
        After::DeviceKeys(_) => Some("key of the device".to_owned()),
        After::ReleaseCode(_) => Some("release code".to_owned()),
        After::Finding(finding) => return format!("explained: {}", finding.message),
        After::Cluster(cluster) => Some(format!("cluster {}", cluster.name)),
    };
    if let Some(what) = what {
        return format!("{what} {}{done}", outcome(answer.outcome));
    }
    let mut text = match answer.status {
        SyncStatus::InSync => String::from("in sync"),
        SyncStatus::ListNeeded => String::from("the digest differs: the full list is needed"),
        SyncStatus::Completed | SyncStatus::Unspecified => {
            let about = match action {
                Action::DecideHeld { .. } | Action::ExpireHeld { .. } => "held removal",
                _ => "device",
            };
            format!("{about} {}", outcome(answer.outcome))
        }
    };
    for counted in COUNTED {
        let count = answer.items.iter().filter(|item| item.outcome == counted).count();
        if count > 0 {
            let _ = write!(text, ", {count} {}", outcome(counted));
        }
    }
    text.push_str(done);
    text
}

/// A command whose caller was gone before its turn came.
pub(super) fn abandoned() -> Refusal {
    Refusal::new(Reason::DeadlinePassed, "the caller went away, or its deadline passed, before the change was made")
}
