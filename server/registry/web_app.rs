//! Web apps: auth clients that are no device, known by a client id and a secret (domain sheet, section 1.3).
//!
//! A Web app is two rows: this one, and an auth client of which it is the owner. The realm and the users are those of the auth client, so that
//! whatever moves auth clients moves Web apps too.

use std::time::Duration;

use muster_proto::web_app::NewWebApp;
use muster_proto::{RealmRef, Reason, Text, Timestamp, VdomName};

use super::admin_token::realm_for;
use super::auth_client::later;
use super::delete::{moment, remove};
use super::held::withdraw_all;
use super::undelete::{Back, pardon};
use super::{
    After, Answer, AuthClient, AuthClientId, Change, Context, Name, Outcome, OwnerId, Planned, RealmId, Refusal,
    SecretHash, State, Stop, Subject, Tombstone, WebAppId,
};

/// The first name of a Web app that is given none.
const DEFAULT_NAME: &str = "MyAuthClient";

/// A Web app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebApp {
    /// Its id.
    pub id: WebAppId,
    /// What it is known by when it calls.
    pub client_id: ClientId,
    /// What people call it.
    pub name: Text,
    /// The hash of its secret.
    pub secret: SecretHash,
    /// The hash of the secret before that, and until when it is valid.
    pub previous: Option<(SecretHash, Timestamp)>,
    /// What names the request that made it; empty if nothing does.
    pub request_id: Text,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed, its users aside.
    pub updated_at: Timestamp,
    /// When it was deleted; `None` while it is in use.
    pub deleted_at: Option<Timestamp>,
}

/// What a Web app is known by: the text of a UUID. It does not show when it is debugged: it is drawn at random each time that a command is worked
/// out, and a plan must not depend on it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientId(pub Box<str>);

impl std::fmt::Debug for ClientId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientId(..)")
    }
}

impl WebApp {
    /// Whose its auth client is.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        OwnerId(self.id.0)
    }

    /// What changes with every change of it, its users aside.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }

    /// Whether it is in use.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.deleted_at.is_none()
    }
}

/// A Web app within reach, with its auth client.
fn find(state: &State, id: WebAppId, context: &Context<'_>) -> Result<(WebApp, AuthClient), Stop> {
    let unknown = || Refusal::new(Reason::WebAppUnknown, format!("there never was webApps/{}", id.0));
    let app = state.web_apps()?.find(|app| app.id == id).ok_or_else(unknown)?.clone();
    let client = state.client(app.owner(), VdomName::WEB_APP)?;
    let client = client.filter(|client| context.may_touch(client.realm)).ok_or_else(unknown)?;
    Ok((app, client.clone()))
}

fn check_etag(app: &WebApp, etag: Option<&str>) -> Result<(), Refusal> {
    if etag.is_some_and(|etag| etag != app.etag()) {
        return Err(Refusal::new(Reason::EtagMismatch, "the Web app changed since its etag was read"));
    }
    Ok(())
}

fn check_active(app: &WebApp) -> Result<(), Refusal> {
    if app.is_active() {
        return Ok(());
    }
    Err(Refusal::new(Reason::WebAppDeleted, format!("webApps/{} is deleted", app.id.0)))
}

/// Whether a Web app that is in use in the realm has the name.
fn is_taken(state: &State, realm: RealmId, name: &str) -> Result<bool, Stop> {
    for app in state.web_apps()?.filter(|app| app.is_active() && app.name.as_str() == name) {
        if state.client(app.owner(), VdomName::WEB_APP)?.is_some_and(|client| client.realm == realm) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn check_name(state: &State, realm: RealmId, name: &Text) -> Result<(), Stop> {
    if is_taken(state, realm, name.as_str())? {
        let message = format!("there is a Web app {:?} in the realm already", name.as_str());
        return Err(Refusal::new(Reason::WebAppNameTaken, message).into());
    }
    Ok(())
}

/// The first of `MyAuthClient`, `MyAuthClient1`, ... that is free.
fn free_name(state: &State, realm: RealmId) -> Result<Text, Stop> {
    let mut name = DEFAULT_NAME.to_owned();
    for number in 1_u64.. {
        if !is_taken(state, realm, &name)? {
            break;
        }
        name = format!("{DEFAULT_NAME}{number}");
    }
    name.parse().map_err(|_| Refusal::new(Reason::Internal, "the name of a new Web app is too long").into())
}

/// Makes a Web app.
pub(super) fn create(
    state: &mut State,
    new: &NewWebApp,
    client_id: &ClientId,
    secret: SecretHash,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let asked = |app: &&WebApp| !new.request_id.is_empty() && app.request_id == new.request_id;
    if let Some(id) = state.web_apps()?.find(asked).map(|app| app.id) {
        let (app, client) = find(state, id, context)?;
        return Ok(unchanged(app, client, Reason::SecretShownBefore));
    }
    let named = new.realm.clone().unwrap_or(RealmRef::Id(RealmId::DEFAULT.0));
    let realm = realm_for(state, &named, context)?.clone();
    let name = if new.display_name.is_empty() {
        free_name(state, realm.id)?
    } else {
        check_name(state, realm.id, &new.display_name)?;
        new.display_name.clone()
    };
    let app = WebApp {
        id: WebAppId(context.id()),
        client_id: client_id.clone(),
        name,
        secret,
        previous: None,
        request_id: new.request_id.clone(),
        created_at: context.now,
        updated_at: context.now,
        deleted_at: None,
    };
    let client = AuthClient {
        id: AuthClientId(context.id()),
        owner: app.owner(),
        vdom: VdomName::WEB_APP,
        realm: realm.id,
        alias: Text::default(),
        users: 0,
        users_digest: [0; 32],
        created_at: context.now,
        updated_at: context.now,
        deleted: None,
        removed_at: None,
    };
    let changes = vec![
        Change::state(Subject::Itself, "", "active"),
        Change::value("display_name", "", &app.name),
        Change::value("realm", "", &realm.name),
    ];
    state.auth_clients.put((client.owner, client.vdom), client);
    finish(state, app, Outcome::Created, changes)
}

/// Gives a Web app another name.
pub(super) fn rename(
    state: &mut State,
    id: WebAppId,
    name: &Text,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let (mut app, client) = find(state, id, context)?;
    check_etag(&app, etag)?;
    check_active(&app)?;
    if app.name == *name {
        return Ok(Planned::unchanged(answer(app, client, Outcome::Unchanged)));
    }
    check_name(state, client.realm, name)?;
    let changes = vec![Change::value("display_name", &app.name, name)];
    app.name = name.clone();
    app.updated_at = later(app.updated_at, context.now);
    finish(state, app, Outcome::Updated, changes)
}

/// Gives a Web app a new secret; the old one is valid a little longer.
pub(super) fn rotate(
    state: &mut State,
    id: WebAppId,
    secret: SecretHash,
    grace: Duration,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let (mut app, _) = find(state, id, context)?;
    check_active(&app)?;
    app.previous = Some((app.secret, context.now.plus(grace)));
    app.secret = secret;
    app.updated_at = later(app.updated_at, context.now);
    let changes = vec![Change::value("secret", "old", format!("new, the old one valid for {} s", grace.as_secs()))];
    finish(state, app, Outcome::Updated, changes)
}

/// Deletes a Web app, with its users.
pub(super) fn delete(
    state: &mut State,
    id: WebAppId,
    etag: Option<&str>,
    context: &Context<'_>,
) -> Result<Planned, Stop> {
    let (mut app, client) = find(state, id, context)?;
    check_etag(&app, etag)?;
    if !app.is_active() {
        return Ok(unchanged(app, client, Reason::AlreadyDeleted));
    }
    let at = moment(state, app.owner(), context)?;
    remove(state, app.owner(), VdomName::WEB_APP, &Tombstone { at, ..Tombstone::evicted(context) }, context)?;
    app.deleted_at = Some(at);
    app.updated_at = later(app.updated_at, at);
    let mut changes = vec![Change::state(Subject::Itself, "active", "deleted")];
    if client.users > 0 {
        changes.push(Change::value("users", client.users, 0));
    }
    let owner = app.owner();
    let mut planned = finish(state, app, Outcome::Removed, changes)?;
    withdraw_all(state, owner, &mut planned.records, context)?;
    Ok(planned)
}

/// Brings a Web app back, with the users that went with it. Its secret is what it was.
pub(super) fn undelete(state: &mut State, id: WebAppId, context: &mut Context<'_>) -> Result<Planned, Stop> {
    let (mut app, client) = find(state, id, context)?;
    let Some(tombstone) = client.deleted.as_deref() else {
        return Ok(unchanged(app, client, Reason::AlreadyActive));
    };
    // What is evicted is refused if it is over, and never pardoned.
    pardon(state, tombstone, context)?;
    check_name(state, client.realm, &app.name)?;
    let mut back = Back::default();
    back.client(state, app.owner(), VdomName::WEB_APP, context)?;
    app.deleted_at = None;
    app.updated_at = later(app.updated_at, context.now);
    back.changes.insert(0, Change::state(Subject::Itself, "deleted", "active"));
    let mut planned = finish(state, app, Outcome::Restored, back.changes)?;
    planned.answer.users = back.users;
    Ok(planned)
}

fn answer(app: WebApp, client: AuthClient, outcome: Outcome) -> Answer {
    Answer { after: After::WebApp(Box::new((app, client))), ..Answer::new(outcome) }
}

fn unchanged(app: WebApp, client: AuthClient, reason: Reason) -> Planned {
    Planned::unchanged(Answer { reason: Some(reason), ..answer(app, client, Outcome::Unchanged) })
}

fn finish(state: &mut State, app: WebApp, outcome: Outcome, changes: Vec<Change>) -> Result<Planned, Stop> {
    let (id, name) = (app.id, Name::Resource(format!("webApps/{}", app.id.0).into()));
    state.web_apps.put(id, app.clone());
    let missing = || Refusal::new(Reason::Internal, "the auth client of a Web app is not there");
    let client = state.client(app.owner(), VdomName::WEB_APP)?.ok_or_else(missing)?.clone();
    Ok(Planned::about(answer(app, client, outcome), id.0, name, changes))
}
