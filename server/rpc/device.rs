//! `DeviceService`: what devices and relays call.

use muster_proto::device::{Deletion, Registration, Sync};
use muster_proto::device_users::{UserAddition, UserDeletion, UserUpdate};
use muster_proto::v1::device_service_server::DeviceService;
use muster_proto::{Reason, SerialNumber, v1};
use tonic::{Request, Response, Status, Streaming};

use super::call::Call;
use super::channel::{ChannelStream, Opener};
use super::deadline::deadline;
use super::gate::{Gate, Method, method, refused};
use super::status::Failure;
use super::user_sync::{Answers, UserSyncs};
use super::wire::{self, options};
use crate::identity::peer::Peer;
use crate::presence::Presence;
use crate::registry::Action;
use crate::writer::Writer;

const REGISTER: Method = method("DeviceService/Register");
const SYNC: Method = method("DeviceService/Sync");
const DELETE: Method = method("DeviceService/Delete");
const ADD_USER: Method = method("DeviceService/AddUser");
const UPDATE_USER: Method = method("DeviceService/UpdateUser");
const SYNC_USERS: Method = method("DeviceService/SyncUsers");
const DELETE_USER: Method = method("DeviceService/DeleteUser");
const CHANNEL: Method = method("DeviceService/Channel");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    pub(super) gate: Gate,
    pub(super) writer: Writer,
    pub(super) presence: Presence,
    pub(super) user_syncs: UserSyncs,
}

impl Devices {
    /// Tells a device whose report found no room on its channel when to come again.
    fn paced<T>(&self, serial: SerialNumber, answer: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure { refusal, retry_after: Some(earliest), .. }) = &answer
            && matches!(refusal.reason, Reason::QueueFull | Reason::StoreUnavailable | Reason::StoreFull)
        {
            self.presence.pace(serial, *earliest);
        }
        answer
    }
}

#[tonic::async_trait]
impl DeviceService for Devices {
    async fn register(&self, request: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RegisterRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let registration = Registration::try_from(&message)?;
            call.speaks_for(registration.serial)?;
            let serial = registration.serial;
            let answer = call.submit(&self.writer, Action::Register(registration), options).await;
            let answer = self.paced(serial, answer)?;
            Ok(wire::registered(call.operation().id, &answer))
        };
        self.gate.unary(&REGISTER, request, work).await
    }

    async fn sync(&self, request: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        let work = async |call: &mut Call, message: v1::SyncRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let sync = Sync::try_from(&message)?;
            call.speaks_for(sync.serial)?;
            let serial = sync.serial;
            let answer = call.submit(&self.writer, Action::Sync(sync), options).await;
            let answer = self.paced(serial, answer)?;
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

    async fn add_user(&self, request: Request<v1::AddUserRequest>) -> Result<Response<v1::AddUserResponse>, Status> {
        let work = async |call: &mut Call, message: v1::AddUserRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let mut addition = UserAddition::try_from(&message)?;
            call.speaks_for_users(&mut addition.target)?;
            let answer = call.submit(&self.writer, Action::AddUser(addition), options).await?;
            Ok(wire::user_added(call.operation().id, &answer))
        };
        self.gate.unary(&ADD_USER, request, work).await
    }

    async fn update_user(
        &self,
        request: Request<v1::UpdateUserRequest>,
    ) -> Result<Response<v1::UpdateUserResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UpdateUserRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let mut update = UserUpdate::try_from(&message)?;
            call.speaks_for_users(&mut update.target)?;
            let answer = call.submit(&self.writer, Action::UpdateUser(update), options).await?;
            Ok(wire::user_updated(call.operation().id, &answer))
        };
        self.gate.unary(&UPDATE_USER, request, work).await
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeviceServiceDeleteUserRequest>,
    ) -> Result<Response<v1::DeviceServiceDeleteUserResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeviceServiceDeleteUserRequest| {
            let options = options(message.validate_only, &message.plan_id);
            let mut deletion = UserDeletion::try_from(&message)?;
            call.speaks_for_users(&mut deletion.target)?;
            let answer = call.submit(&self.writer, Action::DeleteUser(deletion), options).await?;
            Ok(wire::user_deleted(call.operation().id, &answer))
        };
        self.gate.unary(&DELETE_USER, request, work).await
    }

    type SyncUsersStream = Answers;

    async fn sync_users(&self, request: Request<Streaming<v1::SyncUsersRequest>>) -> Result<Response<Answers>, Status> {
        let deadline = deadline(&request);
        let peer = request.extensions().get::<Peer>().cloned();
        let call = self.gate.open(&SYNC_USERS, &request).await?;
        let shut_out = Box::pin(self.gate.shut_out(&call.caller, peer));
        Ok(Response::new(self.user_syncs.clone().start(call, request.into_inner(), shut_out, deadline)))
    }

    type ChannelStream = ChannelStream;

    async fn channel(
        &self,
        request: Request<Streaming<v1::ChannelRequest>>,
    ) -> Result<Response<ChannelStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let mut call = self.gate.open(&CHANNEL, &request).await?;
        // Every connection that the server accepts has one.
        let Some(peer) = peer else { return Err(call.trace.fail(&refused(Reason::CredentialsMissing))) };
        let opener = Opener { presence: &self.presence, writer: &self.writer };
        opener.open(call, peer, request.into_inner()).await.map(Response::new)
    }
}
