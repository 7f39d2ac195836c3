//! The echo: bare tonic that carries the same messages over the same TLS and does nothing.

use std::pin::Pin;

use muster_proto::v1;
use muster_proto::v1::debug_log_service_server::DebugLogService;
use muster_proto::v1::device_service_server::DeviceService;
use tokio_stream::Stream;
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

/// Answers with what it was given at the start.
#[derive(Clone, Debug)]
pub(crate) struct Echo {
    pub(crate) registered: v1::RegisterResponse,
    pub(crate) synced: v1::SyncResponse,
    pub(crate) event: v1::StreamDebugLogsResponse,
}

#[tonic::async_trait]
impl DeviceService for Echo {
    async fn register(&self, _: Request<v1::RegisterRequest>) -> Result<Response<v1::RegisterResponse>, Status> {
        Ok(Response::new(self.registered.clone()))
    }

    async fn sync(&self, _: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        Ok(Response::new(self.synced.clone()))
    }

    async fn delete(&self, _: Request<v1::DeleteRequest>) -> Result<Response<v1::DeleteResponse>, Status> {
        Err(Status::unimplemented("the echo deletes nothing"))
    }

    async fn add_user(&self, _: Request<v1::AddUserRequest>) -> Result<Response<v1::AddUserResponse>, Status> {
        Err(Status::unimplemented("the echo syncs users, and adds none"))
    }

    async fn update_user(&self, _: Request<v1::UpdateUserRequest>) -> Result<Response<v1::UpdateUserResponse>, Status> {
        Err(Status::unimplemented("the echo syncs users, and updates none"))
    }

    async fn delete_user(
        &self,
        _: Request<v1::DeviceServiceDeleteUserRequest>,
    ) -> Result<Response<v1::DeviceServiceDeleteUserResponse>, Status> {
        Err(Status::unimplemented("the echo syncs users, and deletes none"))
    }

    type SyncUsersStream = Pin<Box<dyn Stream<Item = Result<v1::SyncUsersResponse, Status>> + Send>>;

    async fn sync_users(
        &self,
        request: Request<Streaming<v1::SyncUsersRequest>>,
    ) -> Result<Response<Self::SyncUsersStream>, Status> {
        Ok(Response::new(crate::users::echo(request.into_inner())))
    }

    type ChannelStream = Pin<Box<dyn Stream<Item = Result<v1::ChannelResponse, Status>> + Send>>;

    /// One answer to each message.
    async fn channel(
        &self,
        request: Request<Streaming<v1::ChannelRequest>>,
    ) -> Result<Response<Self::ChannelStream>, Status> {
        let answer = v1::channel_response::Kind::Heartbeat(v1::ChannelHeartbeat::default());
        let response = v1::ChannelResponse { kind: Some(answer) };
        Ok(Response::new(Box::pin(request.into_inner().map(move |message| message.map(|_| response.clone())))))
    }
}

#[tonic::async_trait]
impl DebugLogService for Echo {
    type StreamDebugLogsStream = Pin<Box<dyn Stream<Item = Result<v1::StreamDebugLogsResponse, Status>> + Send>>;

    /// As many ready-made events as the limit says.
    async fn stream_debug_logs(
        &self,
        request: Request<v1::StreamDebugLogsRequest>,
    ) -> Result<Response<Self::StreamDebugLogsStream>, Status> {
        let (event, mut left) = (self.event.clone(), request.get_ref().limit);
        let events = std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            Some(Ok(event.clone()))
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(events))))
    }

    async fn get_feed_status(
        &self,
        _: Request<v1::GetFeedStatusRequest>,
    ) -> Result<Response<v1::GetFeedStatusResponse>, Status> {
        Ok(Response::new(v1::GetFeedStatusResponse::default()))
    }
}
