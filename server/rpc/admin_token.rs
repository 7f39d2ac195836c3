//! `AdminTokenService`: the tokens of admins, for global admins.

use std::sync::Arc;

use muster_proto::admin::{ADMIN_TOKENS, Position, Query};
use muster_proto::admin_token::{NewAdminToken, admin_token_name};
use muster_proto::v1::admin_token_service_server::AdminTokenService;
use muster_proto::{Reason, Timestamp, v1};
use rand::RngExt as _;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options};
use crate::identity::token::AdminToken as Secret;
use crate::registry::{Action, AdminToken, AdminTokenId, After, Answer, Outcome, SecretHash};
use crate::store::Reading;
use crate::writer::Writer;

const LIST: Method = method("AdminTokenService/ListAdminTokens");
const GET: Method = method("AdminTokenService/GetAdminToken");
const CREATE: Method = method("AdminTokenService/CreateAdminToken");
const REVOKE: Method = method("AdminTokenService/RevokeAdminToken");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct AdminTokens {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Where the page behind `token` starts.
fn position(query: &Query, token: &AdminToken) -> Position {
    let key = query.order.key.map(|_| token.display_name.to_string()).unwrap_or_default();
    Position { id: token.id.0, key }
}

/// What is known of a token.
fn shown(token: &AdminToken, now: Timestamp) -> v1::AdminToken {
    let realms = token.reach.realms();
    let role = if realms.is_some() { v1::AdminRole::Realm } else { v1::AdminRole::Global };
    let state = match token.revoked_at {
        Some(_) => v1::AdminTokenState::Revoked,
        None if token.is_usable(now) => v1::AdminTokenState::Active,
        None => v1::AdminTokenState::Expired,
    };
    v1::AdminToken {
        name: format!("adminTokens/{}", token.id.0),
        id: token.id.0,
        display_name: token.display_name.to_string(),
        role: role.into(),
        realms: realms.unwrap_or_default().into_iter().map(|id| format!("realms/{id}")).collect(),
        read_only: token.read_only,
        state: state.into(),
        create_time: Some(token.created_at.into()),
        creator: token.created_by.to_string(),
        expire_time: token.expires_at.map(Into::into),
        revoke_time: token.revoked_at.map(Into::into),
    }
}

fn after(answer: &Answer, now: Timestamp) -> Option<v1::AdminToken> {
    match &answer.after {
        After::AdminToken(token) => Some(shown(token, now)),
        _ => None,
    }
}

#[tonic::async_trait]
impl AdminTokenService for AdminTokens {
    async fn list_admin_tokens(
        &self,
        request: Request<v1::ListAdminTokensRequest>,
    ) -> Result<Response<v1::ListAdminTokensResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ListAdminTokensRequest| {
            let v1::ListAdminTokensRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(ADMIN_TOKENS, *page_size, page_token, filter, order_by, *show_deleted)?;
            let (mut tokens, total_size) = self.store.list_admin_tokens(&call.narrow(query.clone())).await?;
            let next_page_token = super::next_page(&query, &mut tokens, position);
            let admin_tokens = tokens.iter().map(|token| shown(token, call.operation().at)).collect();
            Ok(v1::ListAdminTokensResponse { admin_tokens, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_admin_token(
        &self,
        request: Request<v1::GetAdminTokenRequest>,
    ) -> Result<Response<v1::GetAdminTokenResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetAdminTokenRequest| {
            let id = admin_token_name(&message.name)?;
            let token =
                self.store.admin_token(AdminTokenId(id)).await?.ok_or_else(|| {
                    Failure::new(Reason::AdminTokenUnknown, format!("there never was adminTokens/{id}"))
                })?;
            Ok(v1::GetAdminTokenResponse { admin_token: Some(shown(&token, call.operation().at)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn create_admin_token(
        &self,
        request: Request<v1::CreateAdminTokenRequest>,
    ) -> Result<Response<v1::CreateAdminTokenResponse>, Status> {
        let work = async |call: &mut Call, message: v1::CreateAdminTokenRequest| {
            let now = call.operation().at;
            let new = NewAdminToken::parse(&message, now)?;
            let secret = Secret::new(rand::rng().random());
            let action = Action::CreateAdminToken { new, hash: SecretHash(secret.hash().0) };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            let made = answer.outcome == Outcome::Created && !message.validate_only;
            Ok(v1::CreateAdminTokenResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                admin_token: after(&answer, now),
                token: if made { secret.expose() } else { String::new() },
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&CREATE, request, work).await
    }

    async fn revoke_admin_token(
        &self,
        request: Request<v1::RevokeAdminTokenRequest>,
    ) -> Result<Response<v1::RevokeAdminTokenResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RevokeAdminTokenRequest| {
            let action = Action::RevokeAdminToken(AdminTokenId(admin_token_name(&message.name)?));
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(v1::RevokeAdminTokenResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                admin_token: after(&answer, call.operation().at),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&REVOKE, request, work).await
    }
}
