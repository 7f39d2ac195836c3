//! `ExplainService`: why something is as it is, and how it was; for admins.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_proto::admin::AuthClientName;
use muster_proto::explain::{HistoryRequest, Span, Subject};
use muster_proto::v1::explain_service_server::ExplainService;
use muster_proto::{Reason, SerialNumber, Timestamp, VdomName, v1};
use tonic::{Request, Response, Status};

use super::audit;
use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use crate::feed::{DebugEvent, Feed};
use crate::registry::{
    Action, After, Entry, Explained, Finding, Folding, NamedUser, Options, Past, Place, UserId, WebAppId, differences,
};
use crate::store::{AuthClientRow, Reading, Story};
use crate::writer::Writer;

const EXPLAIN: Method = method("ExplainService/Explain");
const HISTORY: Method = method("ExplainService/GetHistory");

/// How many steps an explanation has at most, of each source.
const MAX_STEPS: u32 = 200;
/// How many entries are read at once, and shown at most.
const MAX_ENTRIES: u32 = 1_000;
/// How many users are shown of a past auth client.
const MAX_USERS: usize = 1_000;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Explain {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
    pub(super) feed: Feed,
}

/// What the steps are about.
struct Scope {
    serial: Option<SerialNumber>,
    web_app: Option<WebAppId>,
    client: Option<i64>,
    vdom: Option<VdomName>,
    user: Option<String>,
    /// Of a caller who does not see everything: the VDOMs that it may see.
    seen: Option<BTreeSet<String>>,
}

#[tonic::async_trait]
impl ExplainService for Explain {
    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ExplainRequest| {
            let (subject, scope) = self.find(call, Subject::try_from(&message)?).await?;
            if let Some(serial) = scope.serial {
                call.concerns(serial);
            }
            let answer = call.submit(&self.writer, Action::Explain(subject), Options::default()).await?;
            let After::Finding(finding) = answer.after else {
                return Err(Failure::new(Reason::Internal, "nothing was found out"));
            };
            self.tell(call, *finding, &scope).await
        };
        self.gate.unary(&EXPLAIN, request, work).await
    }

    async fn get_history(
        &self,
        request: Request<v1::GetHistoryRequest>,
    ) -> Result<Response<v1::GetHistoryResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetHistoryRequest| {
            let HistoryRequest { name, span } = HistoryRequest::try_from(&message)?;
            let found = self.store.auth_client(name).await?.filter(|row| call.may_see(row.client.realm));
            let row =
                found.ok_or_else(|| Failure::new(Reason::AuthClientUnknown, format!("there never was {name}")))?;
            if let Some(serial) = row.serial {
                call.concerns(serial);
            }
            self.look_back(&row, span).await
        };
        self.gate.unary(&HISTORY, request, work).await
    }
}

impl Explain {
    /// What is meant, and where to look for its steps.
    async fn find(&self, call: &Call, subject: Subject) -> Result<(Explained, Scope), Failure> {
        let nothing = Scope { serial: None, web_app: None, client: None, vdom: None, user: None, seen: None };
        Ok(match subject {
            Subject::Device(serial) => (
                Explained::Device(serial),
                Scope { serial: Some(serial), seen: self.seen(call, serial).await?, ..nothing },
            ),
            Subject::AuthClient(name) => {
                let (place, scope) = self.place(call, name).await?;
                (Explained::Client(place), scope)
            }
            Subject::User(name, username) => {
                let (place, scope) = self.place(call, name).await?;
                let user = Some(username.to_string());
                (Explained::User(place, username), Scope { user, ..scope })
            }
            Subject::Person(id) => {
                let found = self.store.user(UserId(id)).await?.filter(|row| call.may_see(row.user.realm));
                let row =
                    found.ok_or_else(|| Failure::new(Reason::UserUnknown, format!("there never was users/{id}")))?;
                let named = NamedUser { id: row.user.id, realm: row.user.realm, key: row.user.key, etag: None };
                (Explained::Person(named), nothing)
            }
        })
    }

    /// The VDOMs of a device that the caller may see, if it does not see everything.
    async fn seen(&self, call: &Call, serial: SerialNumber) -> Result<Option<BTreeSet<String>>, Failure> {
        if call.sees_everything() {
            return Ok(None);
        }
        let clients = self.store.device(serial).await?.map(|(_, clients)| clients).unwrap_or_default();
        let seen = clients.iter().filter(|client| call.may_see(client.realm)).map(|client| client.vdom.to_string());
        Ok(Some(seen.collect()))
    }

    async fn place(&self, call: &Call, name: AuthClientName) -> Result<(Place, Scope), Failure> {
        let row = self.store.auth_client(name).await?;
        let unknown = || Failure::new(Reason::AuthClientUnknown, format!("there never was {name}"));
        let (place, client) = match (row, name) {
            (Some(row), _) => {
                if !call.may_see(row.client.realm) {
                    return Err(unknown());
                }
                let AuthClientRow { client, serial, .. } = row;
                (Place { owner: Some(client.owner), serial, vdom: client.vdom }, Some(client.id.0))
            }
            // One that never was is explained too.
            (None, AuthClientName::Vdom(serial, vdom)) => (Place { owner: None, serial: Some(serial), vdom }, None),
            (None, AuthClientName::Id(_)) => return Err(unknown()),
        };
        let web_app = place.owner.filter(|_| place.vdom == VdomName::WEB_APP).map(|owner| WebAppId(owner.0));
        let vdom = Some(place.vdom);
        Ok((place, Scope { serial: place.serial, web_app, client, vdom, user: None, seen: None }))
    }

    /// The finding with what led to it: from the audit log, and what the debug feed still has of calls that were refused.
    async fn tell(&self, call: &Call, finding: Finding, scope: &Scope) -> Result<v1::ExplainResponse, Failure> {
        let Finding { verdict, reason, message, settings, about } = finding;
        let story = Story {
            about,
            client: scope.client,
            vdom: scope.vdom,
            user: scope.user.clone(),
            after: 0,
            since: Timestamp::from_micros(i64::MIN),
            most: MAX_STEPS,
            latest: true,
        };
        let (entries, total) = self.store.story(&story).await?;
        let earlier_steps = total - i64::try_from(entries.len()).unwrap_or(total);
        let mut steps: Vec<(Timestamp, v1::ExplainStep)> =
            entries.iter().filter_map(|entry| Some((entry.at, audited(entry, scope)?))).collect();
        let may_see =
            |event: &DebugEvent| call.sees_everything() || event.realm_id.is_some_and(|realm| call.may_see(realm));
        let wanted = |event: &DebugEvent| is_step(event, scope) && may_see(event);
        let events = self.feed.recall(wanted, MAX_STEPS as usize);
        steps.extend(events.iter().map(|event| (event.time, recorded(event))));
        steps.sort_by_key(|(at, _)| *at);
        Ok(v1::ExplainResponse {
            verdict: verdict.into(),
            message,
            reason: reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
            fix: reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
            settings: settings.into_iter().map(|(name, value)| v1::DecidingSetting { name, value }).collect(),
            steps: steps.into_iter().map(|(_, step)| step).collect(),
            earlier_steps,
        })
    }

    async fn look_back(&self, row: &AuthClientRow, span: Span) -> Result<v1::GetHistoryResponse, Failure> {
        let client = &row.client;
        let mut story = of(self.reporters(row).await?);
        (story.client, story.vdom) = (Some(client.id.0), Some(client.vdom));
        let mut folding = Folding::of(client);
        let (mut before, mut after) = (None, None);
        let (mut between, mut later_entries) = (Vec::new(), 0);
        let mut place = Position::Before;
        loop {
            let (entries, _) = self.store.story(&story).await?;
            let Some(last) = entries.last().map(|entry| entry.id) else { break };
            for entry in &entries {
                if !folding.take(entry) {
                    continue;
                }
                place = place.max(position(span, entry));
                match place {
                    Position::Before => before = folding.past().cloned(),
                    Position::Within if between.len() < MAX_ENTRIES as usize => between.push(audit::entry(entry)),
                    Position::Within => later_entries += 1,
                    Position::Behind => {}
                }
                if place != Position::Behind {
                    after = folding.past().cloned();
                }
            }
            story.after = last;
        }
        let is_complete = folding.past().is_some_and(|now| {
            let users = i64::try_from(now.users.len()).unwrap_or(i64::MAX);
            let Past { active, realm, alias, .. } = now;
            (*active, realm, alias.as_str(), users)
                == (client.is_active(), &row.realm, client.alias.as_str(), client.users)
        });
        Ok(v1::GetHistoryResponse {
            differences: differences(client.vdom, before.as_ref(), after.as_ref()).iter().map(audit::change).collect(),
            before: before.map(past),
            after: after.map(past),
            entries: between,
            later_entries,
            incomplete: !is_complete,
        })
    }

    /// The auth client, and the devices that ever reported it, by id.
    async fn reporters(&self, row: &AuthClientRow) -> Result<Vec<i64>, Failure> {
        let mut about = vec![row.client.id.0];
        about.extend(Some(row.client.owner.0).filter(|owner| *owner > 0));
        // Who had it before stands in its own entries; who is, or was, a member of its cluster, in those of the cluster.
        let (entries, _) = self.store.story(&of(about.clone())).await?;
        let named = entries.iter().flat_map(|entry| &entry.changes).flat_map(|change| {
            let is_named = matches!(change.field.as_str(), "owner" | "member" | "primary");
            [&change.before, &change.after].into_iter().filter(move |_| is_named)
        });
        let mut serials: BTreeSet<SerialNumber> =
            named.filter_map(|name| name.strip_prefix("devices/").unwrap_or(name).parse().ok()).collect();
        serials.extend(row.serial);
        if let Some((id, _)) = &row.cluster
            && let Some(cluster) = self.store.cluster(*id).await?
        {
            serials.extend(cluster.members);
        }
        for serial in serials {
            if let Some((device, _)) = self.store.device(serial).await? {
                about.push(device.id.0);
            }
        }
        about.sort_unstable();
        about.dedup();
        Ok(about)
    }
}

/// The entries about some things, a page at a time from the first one on.
fn of(about: Vec<i64>) -> Story {
    let since = Timestamp::from_micros(i64::MIN);
    Story { about, client: None, vdom: None, user: None, after: 0, since, most: MAX_ENTRIES, latest: false }
}

/// Where an entry lies: before what is asked for, within it, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    Before,
    Within,
    Behind,
}

fn position(span: Span, entry: &Entry) -> Position {
    match span {
        Span::AsOf(at) if entry.at <= at => Position::Before,
        // What is about no device, or changes no generation, belongs to the one that is current.
        Span::Generations(from, _) if entry.generation <= from => Position::Before,
        Span::Generations(_, Some(to)) if entry.generation > to => Position::Behind,
        Span::Everything | Span::AsOf(_) | Span::Generations(..) => Position::Within,
    }
}

fn past(past: Past) -> v1::PastAuthClient {
    let state = if past.active { v1::LifecycleState::Active } else { v1::LifecycleState::Deleted };
    v1::PastAuthClient {
        time: Some(past.at.into()),
        operation_id: past.operation.to_string(),
        generation: past.generation,
        state: state.into(),
        realm: past.realm,
        alias: past.alias,
        users: i64::try_from(past.users.len()).unwrap_or(i64::MAX),
        usernames: past.users.into_iter().take(MAX_USERS).collect(),
    }
}

/// One entry of the audit log as a step, if there is anything in it for the caller.
fn audited(entry: &Entry, scope: &Scope) -> Option<v1::ExplainStep> {
    let of_scope = |vdom: &Option<String>| match (vdom, scope.vdom) {
        (Some(name), Some(vdom)) => name == vdom.as_str(),
        (Some(name), None) => scope.seen.as_ref().is_none_or(|seen| seen.contains(name)),
        (None, _) => true,
    };
    let changes: Vec<_> = entry.changes.iter().filter(|change| of_scope(&change.vdom)).collect();
    if changes.is_empty() {
        return None;
    }
    let words: Vec<String> = changes
        .iter()
        .map(|change| {
            let whose = match (&change.vdom, &change.user) {
                (Some(vdom), Some(user)) if vdom == VdomName::WEB_APP.as_str() => format!("user {user} on the Web app"),
                (Some(vdom), None) if vdom == VdomName::WEB_APP.as_str() => "the Web app".to_owned(),
                (Some(vdom), Some(user)) => format!("user {user} on VDOM {vdom}"),
                (Some(vdom), None) => format!("VDOM {vdom}"),
                (None, Some(user)) => format!("user {user}"),
                (None, None) => entry.name.clone(),
            };
            match (change.before.is_empty(), change.after.is_empty()) {
                (true, _) => format!("{whose}: {} is {}", change.field, change.after),
                (false, true) => format!("{whose}: {} is no longer {}", change.field, change.before),
                (false, false) => format!("{whose}: {} from {} to {}", change.field, change.before, change.after),
            }
        })
        .take(20)
        .collect();
    Some(v1::ExplainStep {
        time: Some(entry.at.into()),
        operation_id: entry.operation.to_string(),
        caller: entry.caller.clone(),
        method: entry.method.clone(),
        what: words.join("; "),
        reason: String::new(),
        changes: changes
            .into_iter()
            .map(|change| v1::ValueChange {
                field: change.field.clone(),
                before: change.before.clone(),
                after: change.after.clone(),
            })
            .collect(),
        audited: true,
    })
}

/// Whether an event says why something was not done to what is explained.
fn is_step(event: &DebugEvent, scope: &Scope) -> bool {
    let is_of_device = event.serial.is_some() && event.serial == scope.serial;
    let is_of_web_app = event.web_app.is_some() && event.web_app == scope.web_app;
    if !(is_of_device || is_of_web_app) || event.reason.is_none() {
        return false;
    }
    match (&scope.user, event.vdom, scope.vdom) {
        (_, Some(of), Some(vdom)) if of != vdom => false,
        // Of a user only what names the user, and what concerns the device as a whole.
        (Some(user), Some(_), _) => event.message.starts_with(&format!("user {user} ")),
        _ => true,
    }
}

/// One event of the debug feed as a step.
fn recorded(event: &DebugEvent) -> v1::ExplainStep {
    v1::ExplainStep {
        time: Some(event.time.into()),
        operation_id: event.operation.to_string(),
        caller: event.caller.as_deref().unwrap_or_default().to_owned(),
        method: event.step.to_owned(),
        what: event.message.to_string(),
        reason: event.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        changes: Vec::new(),
        audited: false,
    }
}
