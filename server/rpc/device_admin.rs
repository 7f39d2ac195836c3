//! `DeviceAdminService`: the devices, for admins.

use std::sync::Arc;

use muster_proto::admin::{DEVICES, PRESENCE, Position, Query, device_name};
use muster_proto::channel::DebugWish;
use muster_proto::release_code::{ReleaseCode, validity};
use muster_proto::v1::device_admin_service_server::DeviceAdminService;
use muster_proto::{Check, Invalid, RealmRef, Reason, SerialNumber, Text, v1};
use rand::RngExt as _;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options};
use super::wire_admin;
use super::wire_deleting::{self, verdict};
use crate::presence::Presence;
use crate::registry::{Action, After, AuthClient, Device, SecretHash};
use crate::store::Reading;
use crate::writer::Writer;

const LIST: Method = method("DeviceAdminService/ListDevices");
const GET: Method = method("DeviceAdminService/GetDevice");
const REPLACE: Method = method("DeviceAdminService/ReplaceDevice");
const RELEASE: Method = method("DeviceAdminService/CreateReleaseCode");
const CLAIM: Method = method("DeviceAdminService/ClaimDevice");
const DELETE: Method = method("DeviceAdminService/DeleteDevice");
const UNDELETE: Method = method("DeviceAdminService/UndeleteDevice");
const PURGE: Method = method("DeviceAdminService/PurgeDevice");
const PRESENT: Method = method("DeviceAdminService/ListPresence");
const SYNC: Method = method("DeviceAdminService/RequestSync");
const DEBUG: Method = method("DeviceAdminService/SetDeviceDebug");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct DeviceAdmin {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
    pub(super) presence: Presence,
}

/// The place of a device in the list of presences.
fn listed((serial, _): &(SerialNumber, v1::DevicePresence)) -> Position {
    Position { id: 0, key: serial.to_string() }
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
            let devices = devices.iter().map(|device| wire::device(device, self.presence.of(device.serial))).collect();
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
            Ok(v1::GetDeviceResponse { device: Some(wire::device(&device, self.presence.of(serial))), vdoms })
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
            Ok(wire_deleting::device_undeleted(call.operation().id, &answer))
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
            Ok(wire_deleting::device_purged(call.operation().id, &answer))
        };
        self.gate.unary(&PURGE, request, work).await
    }

    async fn list_presence(
        &self,
        request: Request<v1::ListPresenceRequest>,
    ) -> Result<Response<v1::ListPresenceResponse>, Status> {
        let work = async |_: &mut Call, message: v1::ListPresenceRequest| {
            let v1::ListPresenceRequest { page_size, page_token, filter } = &message;
            let query = Query::parse(PRESENCE, *page_size, page_token, filter, "", false)?;
            let (mut found, total, online) = self.presence.list(&query);
            let next_page_token = super::next_page(&query, &mut found, |_, row| listed(row));
            let devices = found.into_iter().map(|(serial, presence)| v1::PresenceOfDevice {
                name: format!("devices/{serial}"),
                presence: Some(presence),
            });
            Ok(v1::ListPresenceResponse {
                devices: devices.collect(),
                next_page_token,
                total_size: i64::try_from(total).unwrap_or(i64::MAX),
                online_size: i64::try_from(online).unwrap_or(i64::MAX),
            })
        };
        self.gate.unary(&PRESENT, request, work).await
    }

    async fn request_sync(
        &self,
        request: Request<v1::RequestSyncRequest>,
    ) -> Result<Response<v1::RequestSyncResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RequestSyncRequest| {
            let serial = device_name(&message.name)?;
            let mut check = Check::default();
            let why = check.take("reason", Reason::TextMalformed, message.reason.parse::<Text>());
            let plan = check.take("sync_plan_id", Reason::TextMalformed, message.sync_plan_id.parse::<Text>());
            let (Some(why), Some(sync_plan)) = (why, plan) else { return Err(check.invalid().into()) };
            call.concerns(serial);
            let found = self.store.device(serial).await?;
            let sees = |clients: &[AuthClient]| clients.iter().any(|client| call.may_see(client.realm));
            // A device that was never registered, or that the admin may not see, is refused by the rules; one that cannot be told, before
            // anything is noted.
            if found.is_some_and(|(_, clients)| call.sees_everything() || sees(&clients)) {
                self.presence.can_sync(serial)?;
            }
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::RequestSync { serial, why: why.clone() };
            let answer = call.submit(&self.writer, action, options).await?;
            let operation_id = call.operation().id.to_string();
            if answer.plan.is_none() {
                let (reason, plan_id) = (why.to_string(), sync_plan.to_string());
                self.presence
                    .sync_now(serial, v1::ChannelSyncNow { operation_id: operation_id.clone(), reason, plan_id })?;
            }
            let presence = self.presence.of(serial);
            Ok(v1::RequestSyncResponse { operation_id, presence, plan_id: answer.plan.unwrap_or_default() })
        };
        self.gate.unary(&SYNC, request, work).await
    }

    async fn set_device_debug(
        &self,
        request: Request<v1::SetDeviceDebugRequest>,
    ) -> Result<Response<v1::SetDeviceDebugResponse>, Status> {
        let work = async |call: &mut Call, message: v1::SetDeviceDebugRequest| {
            let serial = device_name(&message.name)?;
            let mut check = Check::default();
            let Some(wish) = DebugWish::parse(&mut check, &message) else { return Err(check.invalid().into()) };
            call.concerns(serial);
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::SetDeviceDebug { serial, wish: wish.clone() };
            let answer = call.submit(&self.writer, action, options).await?;
            let operation = call.operation().id;
            let delivered = answer.plan.is_none() && self.presence.set_debug(serial, operation, wish);
            Ok(v1::SetDeviceDebugResponse {
                operation_id: operation.to_string(),
                delivered,
                presence: self.presence.of(serial),
                plan_id: answer.plan.unwrap_or_default(),
            })
        };
        self.gate.unary(&DEBUG, request, work).await
    }

    async fn replace_device(
        &self,
        request: Request<v1::ReplaceDeviceRequest>,
    ) -> Result<Response<v1::ReplaceDeviceResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ReplaceDeviceRequest| {
            let old = device_name(&message.name)?;
            let field = "replacement_serial_number";
            let new: SerialNumber = message
                .replacement_serial_number
                .parse()
                .map_err(|error| Invalid::field(field, Reason::SerialNumberMalformed, error))?;
            if new == old {
                return Err(Invalid::field(field, Reason::FieldInvalid, "must be another serial number").into());
            }
            call.concerns(old);
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, Action::ReplaceDevice { old, new }, options).await?;
            Ok(v1::ReplaceDeviceResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                reason: answer.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
                vdoms: answer.items.iter().map(wire::item).collect(),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&REPLACE, request, work).await
    }

    async fn create_release_code(
        &self,
        request: Request<v1::CreateReleaseCodeRequest>,
    ) -> Result<Response<v1::CreateReleaseCodeResponse>, Status> {
        let work = async |call: &mut Call, message: v1::CreateReleaseCodeRequest| {
            let serial = device_name(&message.name)?;
            let mut check = Check::default();
            let Some(validity) = validity(&mut check, &message) else { return Err(check.invalid().into()) };
            call.concerns(serial);
            let code = ReleaseCode::new(rand::rng().random());
            let action = Action::CreateReleaseCode { serial, hash: SecretHash(code.hash()), validity };
            let options = options(message.validate_only, &message.plan_id);
            let answer = call.submit(&self.writer, action, options).await?;
            let expire_time = match answer.after {
                After::ReleaseCode(expires_at) => Some(expires_at.into()),
                _ => None,
            };
            Ok(v1::CreateReleaseCodeResponse {
                operation_id: call.operation().id.to_string(),
                outcome: answer.outcome.into(),
                release_code: if message.validate_only { String::new() } else { code.expose() },
                expire_time,
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&RELEASE, request, work).await
    }

    async fn claim_device(
        &self,
        request: Request<v1::ClaimDeviceRequest>,
    ) -> Result<Response<v1::ClaimDeviceResponse>, Status> {
        let work = async |call: &mut Call, message: v1::ClaimDeviceRequest| {
            let mut check = Check::default();
            let serial = device_name(&message.name).map_err(|invalid| check.absorb(invalid)).ok();
            let code = message.release_code.parse::<ReleaseCode>();
            let code = check.take("release_code", Reason::FieldInvalid, code);
            let realm = check.take("realm", Reason::NameMalformed, message.realm.parse::<RealmRef>());
            let (Some(serial), Some(code), Some(realm)) = (serial, code, realm) else {
                return Err(check.invalid().into());
            };
            call.concerns(serial);
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::ClaimDevice { serial, hash: SecretHash(code.hash()), realm };
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire_admin::claimed(call.operation().id, &answer))
        };
        self.gate.unary(&CLAIM, request, work).await
    }
}
