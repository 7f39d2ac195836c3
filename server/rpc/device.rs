//! `DeviceService`: what devices and relays call.

use muster_proto::device::{Deletion, Registration, Sync};
use muster_proto::v1;
use muster_proto::v1::device_service_server::DeviceService;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::wire::{self, options};
use crate::registry::Action;
use crate::writer::Writer;

const REGISTER: Method = method("DeviceService/Register");
const SYNC: Method = method("DeviceService/Sync");
const DELETE: Method = method("DeviceService/Delete");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    pub(super) gate: Gate,
    pub(super) writer: Writer,
}

#[tonic::async_trait]
impl DeviceService for Devices {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RegisterRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let registration = Registration::try_from(&message)?;
            call.speaks_for(registration.serial)?;
            let answer = call.submit(&self.writer, Action::Register(registration), options).await?;
            Ok(wire::registered(call.operation().id, &answer))
        };
        self.gate.unary(&REGISTER, request, work).await
    }

    async fn sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        let work = async |call: &mut Call, message: v1::SyncRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let sync = Sync::try_from(&message)?;
            call.speaks_for(sync.serial)?;
            let answer = call.submit(&self.writer, Action::Sync(sync), options).await?;
            Ok(wire::synced(call.operation().id, &answer))
        };
        self.gate.unary(&SYNC, request, work).await
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let deletion = Deletion::try_from(&message)?;
            call.speaks_for(deletion.serial)?;
            let answer = call.submit(&self.writer, Action::Delete(deletion), options).await?;
            Ok(wire::deleted(call.operation().id, &answer))
        };
        self.gate.unary(&DELETE, request, work).await
    }
}
