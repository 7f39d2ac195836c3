//! `WebAppService`: Web apps, for admins.

use std::sync::Arc;

use muster_proto::admin::{Position, Query, WEB_APPS};
use muster_proto::v1::web_app_service_server::WebAppService;
use muster_proto::web_app::{NewWebApp, web_app_name, web_app_rename, web_app_rotation};
use muster_proto::{Reason, v1};
use rand::RngExt as _;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, etag, options, user_item};
use crate::identity::web_app::{new_client_id, new_secret};
use crate::registry::{Action, After, Answer, AuthClient, Outcome, WebApp, WebAppId};
use crate::store::{Reading, WebAppRow};
use crate::writer::Writer;

const LIST: Method = method("WebAppService/ListWebApps");
const GET: Method = method("WebAppService/GetWebApp");
const CREATE: Method = method("WebAppService/CreateWebApp");
const UPDATE: Method = method("WebAppService/UpdateWebApp");
const ROTATE: Method = method("WebAppService/RotateWebAppSecret");
const DELETE: Method = method("WebAppService/DeleteWebApp");
const UNDELETE: Method = method("WebAppService/UndeleteWebApp");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct WebApps {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Where the page behind `row` starts.
fn position(query: &Query, row: &WebAppRow) -> Position {
    let key = query.order.key.map(|_| row.app.name.to_string()).unwrap_or_default();
    Position { id: row.app.id.0, key }
}

/// What is known of a Web app.
fn shown(app: &WebApp, client: &AuthClient) -> v1::WebApp {
    v1::WebApp {
        name: format!("webApps/{}", app.id.0),
        id: app.id.0,
        display_name: app.name.to_string(),
        client_id: app.client_id.0.to_string(),
        auth_client: format!("authClients/{}", client.id.0),
        realm: format!("realms/{}", client.realm.0),
        users: client.users,
        state: wire::state(!app.is_active()),
        etag: app.etag(),
        create_time: Some(app.created_at.into()),
        update_time: Some(app.updated_at.into()),
        delete_time: app.deleted_at.map(Into::into),
        previous_secret_expire_time: app.previous.map(|(_, until)| until.into()),
    }
}

/// The Web app after the command. One that was not made has no client id yet.
fn after(answer: &Answer) -> Option<v1::WebApp> {
    match &answer.after {
        After::WebApp(found) => {
            let mut shown = shown(&found.0, &found.1);
            if answer.outcome == Outcome::Created && answer.plan.is_some() {
                shown.client_id.clear();
            }
            Some(shown)
        }
        _ => None,
    }
}

#[tonic::async_trait]
impl WebAppService for WebApps {
    async fn list_web_apps(
        &self,
        request: Request<v1::ListWebAppsRequest>,
    ) -> Result<Response<v1::ListWebAppsResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ListWebAppsRequest| {
            let v1::ListWebAppsRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(WEB_APPS, *page_size, page_token, filter, order_by, *show_deleted)?;
            let (mut rows, total_size) = self.store.list_web_apps(&call.narrow(query.clone())).await?;
            let next_page_token = super::next_page(&query, &mut rows, position);
            let web_apps = rows.iter().map(|row| shown(&row.app, &row.client)).collect();
            Ok(v1::ListWebAppsResponse { web_apps, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_web_app(
        &self,
        request: Request<v1::GetWebAppRequest>,
    ) -> Result<Response<v1::GetWebAppResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetWebAppRequest| {
            let id = web_app_name(&message.name)?;
            let found = self.store.web_app(WebAppId(id)).await?.filter(|row| call.may_see(row.client.realm));
            let unknown = || Failure::new(Reason::WebAppUnknown, format!("there never was webApps/{id}"));
            let row = found.ok_or_else(unknown)?;
            Ok(v1::GetWebAppResponse { web_app: Some(shown(&row.app, &row.client)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn create_web_app(
        &self,
        request: Request<v1::CreateWebAppRequest>,
    ) -> Result<Response<v1::CreateWebAppResponse>, Status> {
        let work = async |call: &mut Call, message: v1::CreateWebAppRequest| {
            let new = NewWebApp::try_from(&message)?;
            let (secret, hash) = new_secret(rand::rng().random());
            let client_id = new_client_id(rand::rng().random());
            let action = Action::CreateWebApp { new, client_id, secret: hash };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            let made = answer.outcome == Outcome::Created && !message.validate_only;
            Ok(v1::CreateWebAppResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                web_app: after(&answer),
                secret: if made { secret } else { String::new() },
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&CREATE, request, work).await
    }

    async fn update_web_app(
        &self,
        request: Request<v1::UpdateWebAppRequest>,
    ) -> Result<Response<v1::UpdateWebAppResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UpdateWebAppRequest| {
            let (id, name) = web_app_rename(&message)?;
            let action = Action::RenameWebApp { app: WebAppId(id), name, etag: etag(message.etag) };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(v1::UpdateWebAppResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                web_app: after(&answer),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&UPDATE, request, work).await
    }

    async fn rotate_web_app_secret(
        &self,
        request: Request<v1::RotateWebAppSecretRequest>,
    ) -> Result<Response<v1::RotateWebAppSecretResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RotateWebAppSecretRequest| {
            let (id, grace) = web_app_rotation(&message)?;
            let (secret, hash) = new_secret(rand::rng().random());
            let action = Action::RotateWebApp { app: WebAppId(id), secret: hash, grace };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(v1::RotateWebAppSecretResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                web_app: after(&answer),
                secret: if message.validate_only { String::new() } else { secret },
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&ROTATE, request, work).await
    }

    async fn delete_web_app(
        &self,
        request: Request<v1::DeleteWebAppRequest>,
    ) -> Result<Response<v1::DeleteWebAppResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteWebAppRequest| {
            let app = WebAppId(web_app_name(&message.name)?);
            let action = Action::DeleteWebApp { app, etag: etag(message.etag) };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(v1::DeleteWebAppResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                web_app: after(&answer),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&DELETE, request, work).await
    }

    async fn undelete_web_app(
        &self,
        request: Request<v1::UndeleteWebAppRequest>,
    ) -> Result<Response<v1::UndeleteWebAppResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UndeleteWebAppRequest| {
            let action = Action::UndeleteWebApp(WebAppId(web_app_name(&message.name)?));
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(v1::UndeleteWebAppResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                web_app: after(&answer),
                users: answer.users.iter().map(user_item).collect(),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&UNDELETE, request, work).await
    }
}
