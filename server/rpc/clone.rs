//! `CloneService`: boxes that claim one serial number, for admins.

use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;
use muster_proto::admin::{CLONE_CASES, Position, Query};
use muster_proto::v1::clone_service_server::CloneService;
use muster_proto::{Invalid, Reason, SerialNumber, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options};
use crate::registry::{Action, After, DeviceKey, KeyState};
use crate::store::{CloneCase, Reading};
use crate::writer::Writer;

const LIST: Method = method("CloneService/ListCloneCases");
const GET: Method = method("CloneService/GetCloneCase");
const RESOLVE: Method = method("CloneService/ResolveCloneCase");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Clones {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

fn case_name(name: &str) -> Result<SerialNumber, Invalid> {
    name.strip_prefix("cloneCases/").and_then(|serial| serial.parse().ok()).ok_or_else(|| {
        Invalid::field(
            "name",
            Reason::NameMalformed,
            "must be \"cloneCases/SERIAL\", as in cloneCases/FG101FTK19002788",
        )
    })
}

/// Where the page behind `case` starts.
fn position(query: &Query, case: &CloneCase) -> Position {
    let key = query.order.key.map(|_| case.serial.to_string()).unwrap_or_default();
    Position { id: case.device, key }
}

fn key(key: &DeviceKey) -> v1::DeviceKey {
    let state = match key.state {
        KeyState::Accepted => v1::KeyState::Accepted,
        KeyState::Held => v1::KeyState::Held,
        KeyState::Banned => v1::KeyState::Banned,
    };
    v1::DeviceKey {
        key: HEXLOWER_PERMISSIVE.encode(&key.key),
        state: state.into(),
        address: key.address.map(|address| address.to_string()).unwrap_or_default(),
        certificate_serial: key.certificate.to_string(),
        certificate_valid_from: key.validity.map(|(from, _)| from.into()),
        certificate_valid_until: key.validity.map(|(_, until)| until.into()),
        first_seen_time: Some(key.first_seen_at.into()),
        last_seen_time: Some(key.last_seen_at.into()),
    }
}

fn case(serial: SerialNumber, keys: &[DeviceKey]) -> v1::CloneCase {
    v1::CloneCase {
        name: format!("cloneCases/{serial}"),
        serial_number: serial.to_string(),
        open: keys.iter().any(|key| key.state == KeyState::Held),
        keys: keys.iter().map(key).collect(),
    }
}

#[tonic::async_trait]
impl CloneService for Clones {
    async fn list_clone_cases(
        &self,
        request: Request<v1::ListCloneCasesRequest>,
    ) -> Result<Response<v1::ListCloneCasesResponse>, Status> {
        let work = async |_: &mut Call, message: v1::ListCloneCasesRequest| {
            let v1::ListCloneCasesRequest { page_size, page_token, filter, order_by, show_resolved } = &message;
            let query = Query::parse(CLONE_CASES, *page_size, page_token, filter, order_by, *show_resolved)?;
            let (mut cases, total_size) = self.store.list_clone_cases(&query).await?;
            let next_page_token = super::next_page(&query, &mut cases, position);
            let clone_cases = cases.iter().map(|found| case(found.serial, &found.keys)).collect();
            Ok(v1::ListCloneCasesResponse { clone_cases, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_clone_case(
        &self,
        request: Request<v1::GetCloneCaseRequest>,
    ) -> Result<Response<v1::GetCloneCaseResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetCloneCaseRequest| {
            let serial = case_name(&message.name)?;
            call.concerns(serial);
            let keys = self.store.device_keys(serial).await?;
            if keys.is_empty() {
                let message = format!("there never was more than one key for {serial}");
                return Err(Failure::new(Reason::CloneCaseUnknown, message));
            }
            Ok(v1::GetCloneCaseResponse { clone_case: Some(case(serial, &keys)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn resolve_clone_case(
        &self,
        request: Request<v1::ResolveCloneCaseRequest>,
    ) -> Result<Response<v1::ResolveCloneCaseResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ResolveCloneCaseRequest| {
            let serial = case_name(&message.name)?;
            call.concerns(serial);
            let picked = HEXLOWER_PERMISSIVE.decode(message.accept_key.as_bytes()).ok();
            let picked: [u8; 32] = picked.and_then(|key| key.try_into().ok()).ok_or_else(|| {
                Invalid::field(
                    "accept_key",
                    Reason::FieldInvalid,
                    "must be 64 hexadecimal digits, as the case shows them",
                )
            })?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::ResolveClone { serial, key: picked };
            let answer = call.submit(&self.writer, action, options).await?;
            let clone_case = match &answer.after {
                After::DeviceKeys(keys) => Some(case(serial, keys)),
                _ => None,
            };
            Ok(v1::ResolveCloneCaseResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                clone_case,
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&RESOLVE, request, work).await
    }
}
