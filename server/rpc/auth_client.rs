//! `AuthClientService`: the auth clients, for admins.

use std::sync::Arc;

use muster_proto::admin::{AUTH_CLIENTS, AuthClientName, Position, Query};
use muster_proto::realms::AuthClientChange;
use muster_proto::v1::auth_client_service_server::AuthClientService;
use muster_proto::{Reason, SerialNumber, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::realm::find_realm;
use super::status::Failure;
use super::wire::{self, etag, options};
use super::wire_admin;
use super::wire_deleting::{self, verdict};
use crate::registry::Action;
use crate::store::{AuthClientRow, Reading};
use crate::writer::Writer;

const LIST: Method = method("AuthClientService/ListAuthClients");
const GET: Method = method("AuthClientService/GetAuthClient");
const DELETE: Method = method("AuthClientService/DeleteAuthClient");
const UNDELETE: Method = method("AuthClientService/UndeleteAuthClient");
const UPDATE: Method = method("AuthClientService/UpdateAuthClient");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct AuthClients {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

impl AuthClients {
    async fn find(&self, call: &Call, name: &str) -> Result<AuthClientRow, Failure> {
        let name = AuthClientName::parse(name)?;
        let found = self.store.auth_client(name).await?.filter(|row| call.may_see(row.client.realm));
        found.ok_or_else(|| Failure::new(Reason::AuthClientUnknown, format!("there never was {name}")))
    }
}

/// The device of an auth client that is to be changed.
fn of_device(call: &mut Call, row: &AuthClientRow) -> Result<SerialNumber, Failure> {
    if row.web_app.is_some() {
        return Err(Failure::new(Reason::AuthClientIsWebApp, "the auth client is a Web app"));
    }
    let Some(serial) = row.serial else {
        let message = "its users are on another auth client now, and nothing is left of it";
        return Err(Failure::new(Reason::AuthClientUnknown, message));
    };
    call.concerns(serial);
    Ok(serial)
}

/// Where the page behind `row` starts.
fn position(query: &Query, row: &AuthClientRow) -> Position {
    let key = match query.order.key {
        Some("serial_number") => row.serial.map(|serial| serial.to_string()).unwrap_or_default(),
        Some("vdom") => row.client.vdom.to_string(),
        _ => String::new(),
    };
    Position { id: row.client.id.0, key }
}

#[tonic::async_trait]
impl AuthClientService for AuthClients {
    async fn list_auth_clients(
        &self,
        request: Request<v1::ListAuthClientsRequest>,
    ) -> Result<Response<v1::ListAuthClientsResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ListAuthClientsRequest| {
            let v1::ListAuthClientsRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(AUTH_CLIENTS, *page_size, page_token, filter, order_by, *show_deleted)?;
            let query = call.narrow(query);
            let (mut rows, total_size) = self.store.list_auth_clients(&query).await?;
            let next_page_token = super::next_page(&query, &mut rows, position);
            Ok(v1::ListAuthClientsResponse {
                auth_clients: rows.iter().map(wire::auth_client).collect(),
                next_page_token,
                total_size,
            })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_auth_client(
        &self,
        request: Request<v1::GetAuthClientRequest>,
    ) -> Result<Response<v1::GetAuthClientResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetAuthClientRequest| {
            let row = self.find(call, &message.name).await?;
            row.serial.into_iter().for_each(|serial| call.concerns(serial));
            Ok(v1::GetAuthClientResponse { auth_client: Some(wire::auth_client(&row)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn delete_auth_client(
        &self,
        request: Request<v1::DeleteAuthClientRequest>,
    ) -> Result<Response<v1::DeleteAuthClientResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteAuthClientRequest| {
            // Which device and VDOM an id stands for never changes, so the writer can be asked by these.
            let verdict = verdict(message.mode, &message.why)?;
            let row = self.find(call, &message.name).await?;
            let serial = of_device(call, &row)?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::DeleteAuthClient { serial, vdom: row.client.vdom, etag: etag(message.etag), verdict };
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire::auth_client_deleted(call.operation().id, &answer, row))
        };
        self.gate.unary(&DELETE, request, work).await
    }

    async fn undelete_auth_client(
        &self,
        request: Request<v1::UndeleteAuthClientRequest>,
    ) -> Result<Response<v1::UndeleteAuthClientResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UndeleteAuthClientRequest| {
            let row = self.find(call, &message.name).await?;
            let serial = of_device(call, &row)?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::UndeleteAuthClient { serial, vdom: row.client.vdom, etag: etag(message.etag) };
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire_deleting::auth_client_undeleted(call.operation().id, &answer, row))
        };
        self.gate.unary(&UNDELETE, request, work).await
    }

    async fn update_auth_client(
        &self,
        request: Request<v1::UpdateAuthClientRequest>,
    ) -> Result<Response<v1::UpdateAuthClientResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UpdateAuthClientRequest| {
            let AuthClientChange { alias, realm } = AuthClientChange::try_from(&message)?;
            let mut row = self.find(call, &message.name).await?;
            row.serial.into_iter().for_each(|serial| call.concerns(serial));
            let to = match realm {
                Some(realm) => Some(find_realm(&*self.store, call, &realm).await?),
                None => None,
            };
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::UpdateAuthClient {
                client: wire_admin::named(&row),
                alias,
                realm: to.as_ref().map(|realm| realm.id),
                etag: etag(message.etag),
            };
            let answer = call.submit(&self.writer, action, options).await?;
            if let Some(realm) = to {
                row.realm = realm.name.to_string();
            }
            Ok(wire_admin::auth_client_updated(call.operation().id, &answer, row))
        };
        self.gate.unary(&UPDATE, request, work).await
    }
}
