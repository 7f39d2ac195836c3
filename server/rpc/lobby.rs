//! `LobbyService`: who waits, for global admins.

use std::sync::Arc;

use muster_proto::admin::{LOBBY, Position, Query, lobby_name};
use muster_proto::v1::lobby_service_server::LobbyService;
use muster_proto::{Check, RealmRef, Reason, Text, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options};
use crate::registry::{Action, After, Answer, LobbyEntry, LobbyState};
use crate::store::Reading;
use crate::writer::Writer;

const LIST: Method = method("LobbyService/ListLobby");
const GET: Method = method("LobbyService/GetLobbyEntry");
const APPROVE: Method = method("LobbyService/ApproveLobbyEntry");
const REJECT: Method = method("LobbyService/RejectLobbyEntry");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Lobby {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Where the page behind `entry` starts.
fn position(query: &Query, entry: &LobbyEntry) -> Position {
    let key = query.order.key.map(|_| entry.serial.to_string()).unwrap_or_default();
    Position { id: entry.id.0, key }
}

fn shown(entry: &LobbyEntry) -> v1::LobbyEntry {
    let state = match entry.state {
        LobbyState::Waiting => v1::LobbyState::Waiting,
        LobbyState::Approved => v1::LobbyState::Approved,
        LobbyState::Rejected => v1::LobbyState::Rejected,
        LobbyState::Admitted => v1::LobbyState::Admitted,
    };
    v1::LobbyEntry {
        name: format!("lobby/{}", entry.serial),
        id: entry.id.0,
        serial_number: entry.serial.to_string(),
        info: Some((&entry.info).into()),
        vdoms: entry.vdoms.iter().map(ToString::to_string).collect(),
        address: entry.address.map(|address| address.to_string()).unwrap_or_default(),
        state: state.into(),
        realm: entry.realm.map(|realm| format!("realms/{}", realm.0)).unwrap_or_default(),
        decided_by: entry.decided_by.to_string(),
        why: entry.why.to_string(),
        first_seen_time: Some(entry.first_seen_at.into()),
        last_seen_time: Some(entry.last_seen_at.into()),
        attempts: entry.attempts,
        decide_time: entry.decided_at.map(Into::into),
    }
}

fn after(answer: &Answer) -> Option<v1::LobbyEntry> {
    match &answer.after {
        After::Lobby(entry) => Some(shown(entry)),
        _ => None,
    }
}

#[tonic::async_trait]
impl LobbyService for Lobby {
    async fn list_lobby(
        &self,
        request: Request<v1::ListLobbyRequest>,
    ) -> Result<Response<v1::ListLobbyResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ListLobbyRequest| {
            let v1::ListLobbyRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = call.narrow(Query::parse(LOBBY, *page_size, page_token, filter, order_by, *show_deleted)?);
            let (mut entries, total_size) = self.store.list_lobby(&query).await?;
            let next_page_token = super::next_page(&query, &mut entries, position);
            Ok(v1::ListLobbyResponse { lobby: entries.iter().map(shown).collect(), next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_lobby_entry(
        &self,
        request: Request<v1::GetLobbyEntryRequest>,
    ) -> Result<Response<v1::GetLobbyEntryResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetLobbyEntryRequest| {
            let serial = lobby_name(&message.name)?;
            call.concerns(serial);
            let entry = self
                .store
                .lobby_entry(serial)
                .await?
                .ok_or_else(|| Failure::new(Reason::LobbyUnknown, format!("{serial} never waited in the lobby")))?;
            Ok(v1::GetLobbyEntryResponse { lobby_entry: Some(shown(&entry)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn approve_lobby_entry(
        &self,
        request: Request<v1::ApproveLobbyEntryRequest>,
    ) -> Result<Response<v1::ApproveLobbyEntryResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ApproveLobbyEntryRequest| {
            let serial = lobby_name(&message.name)?;
            call.concerns(serial);
            let realm = if message.realm.is_empty() { None } else { Some(RealmRef::parse("realm", &message.realm)?) };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::ApproveLobby { serial, realm }, options).await?;
            Ok(v1::ApproveLobbyEntryResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                vdoms: answer.items.iter().map(wire::item).collect(),
                lobby_entry: after(&answer),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&APPROVE, request, work).await
    }

    async fn reject_lobby_entry(
        &self,
        request: Request<v1::RejectLobbyEntryRequest>,
    ) -> Result<Response<v1::RejectLobbyEntryResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RejectLobbyEntryRequest| {
            let serial = lobby_name(&message.name)?;
            call.concerns(serial);
            let mut check = Check::default();
            let why = check.take("why", Reason::TextMalformed, message.why.parse::<Text>());
            let Some(why) = why else { return Err(check.invalid().into()) };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::RejectLobby { serial, why }, options).await?;
            Ok(v1::RejectLobbyEntryResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: wire::reason(answer.reason),
                lobby_entry: after(&answer),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&REJECT, request, work).await
    }
}
