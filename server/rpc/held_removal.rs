//! `HeldRemovalService`: removals that the guard holds, for admins.

use std::sync::Arc;

use muster_proto::admin::{HELD_REMOVALS, Position, Query, held_removal_name};
use muster_proto::v1::held_removal_service_server::HeldRemovalService;
use muster_proto::{Reason, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options};
use crate::registry::{Action, Answer, Held, HeldId, Options};
use crate::store::Reading;
use crate::writer::Writer;

const LIST: Method = method("HeldRemovalService/ListHeldRemovals");
const GET: Method = method("HeldRemovalService/GetHeldRemoval");
const APPROVE: Method = method("HeldRemovalService/ApproveHeldRemoval");
const REJECT: Method = method("HeldRemovalService/RejectHeldRemoval");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct HeldRemovals {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

impl HeldRemovals {
    async fn find(&self, call: &mut Call, name: &str) -> Result<Held, Failure> {
        let id = HeldId(held_removal_name(name)?);
        let found = self.store.held(id).await?;
        let held = found.ok_or_else(|| {
            Failure::new(Reason::HeldRemovalUnknown, format!("there never was heldRemovals/{}", id.0))
        })?;
        held.serial.into_iter().for_each(|serial| call.concerns(serial));
        Ok(held)
    }

    async fn decide(&self, call: &mut Call, name: &str, approve: bool, options: Options) -> Result<Answer, Failure> {
        let Held { id, serial, .. } = self.find(call, name).await?;
        call.submit(&self.writer, Action::DecideHeld { id, serial, approve }, options).await
    }
}

/// Where the page behind `held` starts.
fn position(query: &Query, held: &Held) -> Position {
    let serial = held.serial.map(|serial| serial.to_string()).unwrap_or_default();
    Position { id: held.id.0, key: query.order.key.map(|_| serial).unwrap_or_default() }
}

#[tonic::async_trait]
impl HeldRemovalService for HeldRemovals {
    async fn list_held_removals(
        &self,
        request: Request<v1::ListHeldRemovalsRequest>,
    ) -> Result<Response<v1::ListHeldRemovalsResponse>, Status> {
        let work = async |_: &mut Call, message: v1::ListHeldRemovalsRequest| {
            let v1::ListHeldRemovalsRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(HELD_REMOVALS, *page_size, page_token, filter, order_by, *show_deleted)?;
            let (mut rows, total_size) = self.store.list_held(&query).await?;
            let next_page_token = super::next_page(&query, &mut rows, position);
            let held_removals = rows.iter().map(wire::held_removal).collect();
            Ok(v1::ListHeldRemovalsResponse { held_removals, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_held_removal(
        &self,
        request: Request<v1::GetHeldRemovalRequest>,
    ) -> Result<Response<v1::GetHeldRemovalResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetHeldRemovalRequest| {
            let held = self.find(call, &message.name).await?;
            Ok(v1::GetHeldRemovalResponse { held_removal: Some(wire::held_removal(&held)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn approve_held_removal(
        &self,
        request: Request<v1::ApproveHeldRemovalRequest>,
    ) -> Result<Response<v1::ApproveHeldRemovalResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ApproveHeldRemovalRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let answer = self.decide(call, &message.name, true, options).await?;
            Ok(wire::held_approved(call.operation().id, &answer))
        };
        self.gate.unary(&APPROVE, request, work).await
    }

    async fn reject_held_removal(
        &self,
        request: Request<v1::RejectHeldRemovalRequest>,
    ) -> Result<Response<v1::RejectHeldRemovalResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RejectHeldRemovalRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let answer = self.decide(call, &message.name, false, options).await?;
            Ok(wire::held_rejected(call.operation().id, &answer))
        };
        self.gate.unary(&REJECT, request, work).await
    }
}
