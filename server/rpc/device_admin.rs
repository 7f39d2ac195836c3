//! `DeviceAdminService`: the devices, for admins.

use std::sync::Arc;

use muster_proto::admin::{DEVICES, Position, Query, device_name};
use muster_proto::v1::device_admin_service_server::DeviceAdminService;
use muster_proto::{Reason, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options, verdict};
use crate::registry::{Action, AuthClient, Device};
use crate::store::Reading;
use crate::writer::Writer;

const LIST: Method = method("DeviceAdminService/ListDevices");
const GET: Method = method("DeviceAdminService/GetDevice");
const DELETE: Method = method("DeviceAdminService/DeleteDevice");
const UNDELETE: Method = method("DeviceAdminService/UndeleteDevice");
const PURGE: Method = method("DeviceAdminService/PurgeDevice");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct DeviceAdmin {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Where the page behind `device` starts.
fn position(query: &Query, device: &Device) -> Position {
    let key = query.order.key.map(|_| device.serial.to_string()).unwrap_or_default();
    Position { id: device.id.0, key }
}

#[tonic::async_trait]
impl DeviceAdminService for DeviceAdmin {
    async fn list_devices(
        &self,
        request: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ListDevicesRequest| {
            let v1::ListDevicesRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(DEVICES, *page_size, page_token, filter, order_by, *show_deleted)?;
            let query = call.narrow(query);
            let (mut devices, total_size) = self.store.list_devices(&query).await?;
            let next_page_token = super::next_page(&query, &mut devices, position);
            let devices = devices.iter().map(wire::device).collect();
            Ok(v1::ListDevicesResponse { devices, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_device(
        &self,
        request: Request<v1::GetDeviceRequest>,
    ) -> Result<Response<v1::GetDeviceResponse>, Status> {
        let work = async |call: &mut Call, message: v1::GetDeviceRequest| {
            let serial = device_name(&message.name)?;
            call.concerns(serial);
            // One without any auth client is seen by those who see everything.
            let seen = |(_, clients): &(Device, Vec<AuthClient>)| {
                call.sees_everything() || clients.iter().any(|client| call.may_see(client.realm))
            };
            let found = self.store.device(serial).await?.filter(seen);
            let (device, clients) = found.ok_or_else(|| {
                Failure::new(Reason::DeviceUnknown, format!("no device {serial} was ever registered"))
            })?;
            let active = clients.iter().filter(|client| client.is_active() && call.may_see(client.realm));
            let vdoms = active.map(|client| v1::Vdom { name: client.vdom.to_string() }).collect();
            Ok(v1::GetDeviceResponse { device: Some(wire::device(&device)), vdoms })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn delete_device(
        &self,
        request: Request<v1::DeleteDeviceRequest>,
    ) -> Result<Response<v1::DeleteDeviceResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteDeviceRequest| {
            let serial = device_name(&message.name)?;
            call.concerns(serial);
            let verdict = verdict(message.mode, &message.why)?;
            let action = Action::DeleteDevice { serial, generation: message.generation, verdict };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire::device_deleted(call.operation().id, &answer))
        };
        self.gate.unary(&DELETE, request, work).await
    }

    async fn undelete_device(
        &self,
        request: Request<v1::UndeleteDeviceRequest>,
    ) -> Result<Response<v1::UndeleteDeviceResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UndeleteDeviceRequest| {
            let serial = device_name(&message.name)?;
            call.concerns(serial);
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::UndeleteDevice { serial }, options).await?;
            Ok(wire::device_undeleted(call.operation().id, &answer))
        };
        self.gate.unary(&UNDELETE, request, work).await
    }

    async fn purge_device(
        &self,
        request: Request<v1::PurgeDeviceRequest>,
    ) -> Result<Response<v1::PurgeDeviceResponse>, Status> {
        let work = async |call: &mut Call, message: v1::PurgeDeviceRequest| {
            let serial = device_name(&message.name)?;
            call.concerns(serial);
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::PurgeDevice { serial }, options).await?;
            Ok(wire::device_purged(call.operation().id, &answer))
        };
        self.gate.unary(&PURGE, request, work).await
    }
}
