//! `RealmService`: the realms, and the moves of auth clients between them, for admins.

use std::sync::Arc;

use muster_proto::admin::{AuthClientName, Position, Query, REALMS};
use muster_proto::realms::{Move, NewRealm, RealmChange};
use muster_proto::v1::realm_service_server::RealmService;
use muster_proto::{RealmRef, Reason, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{etag, options};
use super::wire_admin;
use crate::registry::{Action, NamedClient, Realm};
use crate::store::Reading;
use crate::writer::Writer;

const LIST: Method = method("RealmService/ListRealms");
const GET: Method = method("RealmService/GetRealm");
const CREATE: Method = method("RealmService/CreateRealm");
const UPDATE: Method = method("RealmService/UpdateRealm");
const DELETE: Method = method("RealmService/DeleteRealm");
const UNDELETE: Method = method("RealmService/UndeleteRealm");
const MOVE: Method = method("RealmService/MoveAuthClients");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Realms {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// The realm of this name, if the caller may see it.
pub(super) async fn find_realm(store: &dyn Reading, call: &Call, name: &RealmRef) -> Result<Realm, Failure> {
    let found = store.realm(name).await?.filter(|realm| call.may_see(realm.id));
    found.ok_or_else(|| Failure::new(Reason::RealmUnknown, format!("there never was {name}")))
}

impl Realms {
    async fn find(&self, call: &Call, name: &str) -> Result<Realm, Failure> {
        find_realm(&*self.store, call, &RealmRef::parse("name", name)?).await
    }

    /// Where the auth clients are now. All that are not known are named at once, and nothing is moved.
    async fn find_clients(&self, call: &Call, names: Vec<AuthClientName>) -> Result<Vec<NamedClient>, Failure> {
        let (mut found, mut unknown) = (Vec::<NamedClient>::with_capacity(names.len()), Vec::new());
        for name in names {
            match self.store.auth_client(name).await?.filter(|row| call.may_see(row.client.realm)) {
                // Named in two ways: once is enough.
                Some(row) if found.iter().any(|known| known.id == row.client.id) => {}
                Some(row) => found.push(wire_admin::named(&row)),
                None => unknown.push(name.to_string()),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        Err(Failure::new(Reason::AuthClientUnknown, format!("there never was {}", unknown.join(", "))))
    }
}

/// Where the page behind `realm` starts.
fn position(query: &Query, realm: &Realm) -> Position {
    let key = match query.order.key {
        Some("display_name") => realm.name.to_string(),
        Some("users") => format!("{:019}", realm.users),
        Some("auth_clients") => format!("{:019}", realm.clients),
        _ => String::new(),
    };
    Position { id: realm.id.0, key }
}

#[tonic::async_trait]
impl RealmService for Realms {
    async fn list_realms(
        &self,
        request: Request<v1::ListRealmsRequest>,
    ) -> Result<Response<v1::ListRealmsResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ListRealmsRequest| {
            let v1::ListRealmsRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(REALMS, *page_size, page_token, filter, order_by, *show_deleted)?;
            let query = call.narrow(query);
            let (mut rows, total_size) = self.store.list_realms(&query).await?;
            let next_page_token = super::next_page(&query, &mut rows, position);
            let realms = rows.iter().map(wire_admin::realm).collect();
            Ok(v1::ListRealmsResponse { realms, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_realm(&self, request: Request<v1::GetRealmRequest>) -> Result<Response<v1::GetRealmResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetRealmRequest| {
            let realm = self.find(call, &message.name).await?;
            Ok(v1::GetRealmResponse { realm: Some(wire_admin::realm(&realm)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn create_realm(
        &self,
        request: Request<v1::CreateRealmRequest>,
    ) -> Result<Response<v1::CreateRealmResponse>, Status> {
        let work = async |call: &mut Call, message: v1::CreateRealmRequest| {
            let new = NewRealm::try_from(&message)?;
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::CreateRealm(new), options).await?;
            Ok(wire_admin::realm_created(call.operation().id, &answer, message.validate_only))
        };
        self.gate.unary(&CREATE, request, work).await
    }

    async fn update_realm(
        &self,
        request: Request<v1::UpdateRealmRequest>,
    ) -> Result<Response<v1::UpdateRealmResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UpdateRealmRequest| {
            let change = RealmChange::try_from(&message)?;
            let realm = self.find(call, &message.name).await?.id;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::UpdateRealm { realm, change, etag: etag(message.etag) };
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire_admin::realm_updated(call.operation().id, &answer))
        };
        self.gate.unary(&UPDATE, request, work).await
    }

    async fn delete_realm(
        &self,
        request: Request<v1::DeleteRealmRequest>,
    ) -> Result<Response<v1::DeleteRealmResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteRealmRequest| {
            let realm = self.find(call, &message.name).await?.id;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::DeleteRealm { realm, etag: etag(message.etag) };
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire_admin::realm_deleted(call.operation().id, &answer))
        };
        self.gate.unary(&DELETE, request, work).await
    }

    async fn undelete_realm(
        &self,
        request: Request<v1::UndeleteRealmRequest>,
    ) -> Result<Response<v1::UndeleteRealmResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UndeleteRealmRequest| {
            let realm = self.find(call, &message.name).await?.id;
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::UndeleteRealm { realm }, options).await?;
            Ok(wire_admin::realm_undeleted(call.operation().id, &answer))
        };
        self.gate.unary(&UNDELETE, request, work).await
    }

    async fn move_auth_clients(
        &self,
        request: Request<v1::MoveAuthClientsRequest>,
    ) -> Result<Response<v1::MoveAuthClientsResponse>, Status> {
        let work = async |call: &mut Call, message: v1::MoveAuthClientsRequest| {
            let Move { clients, realm } = Move::try_from(&message)?;
            let realm = find_realm(&*self.store, call, &realm).await?.id;
            let clients = self.find_clients(call, clients).await?;
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::MoveAuthClients { clients, realm }, options).await?;
            Ok(wire_admin::moved(call.operation().id, &answer))
        };
        self.gate.unary(&MOVE, request, work).await
    }
}
