//! `UserService`: the users, for admins.

use std::sync::Arc;

use muster_proto::admin::{AuthClientName, Position, Query, USERS, user_name};
use muster_proto::v1::user_service_server::UserService;
use muster_proto::{Invalid, Pattern, Reason, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{etag, options};
use super::wire_admin;
use crate::registry::{Action, NamedUser, User, UserId};
use crate::store::{Reading, UserRow};
use crate::writer::Writer;

const LIST: Method = method("UserService/ListUsers");
const GET: Method = method("UserService/GetUser");
const DISABLE: Method = method("UserService/DisableUser");
const ENABLE: Method = method("UserService/EnableUser");
const DELETE: Method = method("UserService/DeleteUser");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Users {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Where the page behind a user starts.
fn position(query: &Query, (user, realm): &(User, String)) -> Position {
    let key = match query.order.key {
        Some("username") => user.username.to_string(),
        Some("realm") => realm.clone(),
        _ => String::new(),
    };
    Position { id: user.id.0, key }
}

/// The user as the rules find it again.
fn named(row: &UserRow, etag: Option<String>) -> NamedUser {
    NamedUser { id: row.user.id, realm: row.user.realm, key: row.user.key.clone(), etag }
}

impl Users {
    async fn find(&self, call: &Call, name: &str) -> Result<UserRow, Failure> {
        let id = user_name(name)?;
        let found = self.store.user(UserId(id)).await?.filter(|row| call.may_see(row.user.realm));
        found.ok_or_else(|| Failure::new(Reason::UserUnknown, format!("there never was users/{id}")))
    }

    /// The query with the auth clients of its filter as the store knows them: by id.
    async fn resolve(&self, call: &Call, mut query: Query) -> Result<Query, Failure> {
        for comparison in &mut query.filter {
            match comparison.field {
                "email" if !call.caller.may_see_contacts() => {
                    let message =
                        format!("{} may not see e-mail addresses, and so not look for them", call.operation().caller);
                    return Err(Failure::new(Reason::RoleNotAllowed, message));
                }
                "auth_client" => {
                    let malformed =
                        |description: &str| Invalid::field("filter", Reason::FilterMalformed, description.to_owned());
                    let Pattern::Exact(name) = &comparison.pattern else {
                        return Err(malformed("compares auth_client with a whole name only").into());
                    };
                    let name = AuthClientName::parse(name).map_err(|invalid| malformed(&invalid.to_string()))?;
                    let found = self.store.auth_client(name).await?.filter(|row| call.may_see(row.client.realm));
                    let found = found
                        .ok_or_else(|| Failure::new(Reason::AuthClientUnknown, format!("there never was {name}")))?;
                    comparison.pattern = Pattern::Exact(found.client.id.0.to_string());
                }
                _ => {}
            }
        }
        Ok(query)
    }

    async fn set_disabled(
        &self,
        call: &mut Call,
        name: &str,
        etag: Option<String>,
        disabled: bool,
        options: crate::registry::Options,
    ) -> Result<(v1::User, i32, String), Failure> {
        let row = self.find(call, name).await?;
        let action = Action::SetUserDisabled { user: named(&row, etag), disabled };
        let answer = call.submit(&self.writer, action, options).await?;
        Ok((wire_admin::user_after(&answer, &row), answer.outcome.into(), answer.plan.unwrap_or_default()))
    }
}

#[tonic::async_trait]
impl UserService for Users {
    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ListUsersRequest| {
            let v1::ListUsersRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(USERS, *page_size, page_token, filter, order_by, *show_deleted)?;
            let query = call.narrow(self.resolve(call, query).await?);
            let (mut rows, total_size) = self.store.list_users(&query).await?;
            let next_page_token = super::next_page(&query, &mut rows, position);
            let users = rows.iter().map(|(user, realm)| wire_admin::user(user, realm)).collect();
            Ok(v1::ListUsersResponse { users, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_user(&self, request: Request<v1::GetUserRequest>) -> Result<Response<v1::GetUserResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetUserRequest| {
            let row = self.find(call, &message.name).await?;
            Ok(wire_admin::user_with_references(&row, call.caller.may_see_contacts()))
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn disable_user(
        &self,
        request: Request<v1::DisableUserRequest>,
    ) -> Result<Response<v1::DisableUserResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DisableUserRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let done = self.set_disabled(call, &message.name, etag(message.etag), true, options).await?;
            let (user, outcome, plan_id) = done;
            let operation_id = call.operation().id.to_string();
            Ok(v1::DisableUserResponse { operation_id, outcome, user: Some(user), plan_id })
        };
        self.gate.unary(&DISABLE, request, work).await
    }

    async fn enable_user(
        &self,
        request: Request<v1::EnableUserRequest>,
    ) -> Result<Response<v1::EnableUserResponse>, Status> {
        let work = async |call: &mut Call, message: v1::EnableUserRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let done = self.set_disabled(call, &message.name, etag(message.etag), false, options).await?;
            let (user, outcome, plan_id) = done;
            let operation_id = call.operation().id.to_string();
            Ok(v1::EnableUserResponse { operation_id, outcome, user: Some(user), plan_id })
        };
        self.gate.unary(&ENABLE, request, work).await
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteUserRequest| {
            let row = self.find(call, &message.name).await?;
            let options = options(message.validate_only, &message.plan_id);
            let clients = row.references.iter().map(|(_, client)| wire_admin::named(client)).collect();
            let action = Action::DeletePerson { user: named(&row, etag(message.etag)), clients };
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire_admin::user_deleted(call.operation().id, &answer, &row))
        };
        self.gate.unary(&DELETE, request, work).await
    }
}
