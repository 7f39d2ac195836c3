//! What a fleet asks as an admin: what the register holds of the run, and the debug feed.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use muster_proto::v1;
use muster_proto::v1::auth_client_service_client::AuthClientServiceClient;
use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use muster_proto::v1::user_service_client::UserServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status, Streaming};

use super::invariants::{HeldClient, HeldDevice, Register};
use crate::connect::{Connection, Dialer};
use crate::failure::CallError;
use crate::http2::Http2;

/// How many rows are asked for at once.
const PAGE: i32 = 1_000;
/// How long a connection may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection of the admin.
pub type AdminChannel = InterceptedService<Http2, Bearer>;

/// Shows the token with every call.
#[derive(Clone, Debug)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Somebody with an admin token.
#[derive(Clone, Debug)]
pub struct Admin {
    dialer: Dialer,
    bearer: Bearer,
}

impl Admin {
    /// With the token in this file.
    pub fn new(dialer: Dialer, token: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(token).with_context(|| {
            format!("could not read {}: name the data directory of the server with --muster-data", token.display())
        })?;
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {}", text.trim()).parse().context("the admin token is not one line of text")?;
        bearer.set_sensitive(true);
        Ok(Self { dialer, bearer: Bearer(bearer) })
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<(Connection, AdminChannel), CallError> {
        let connection = self.dialer.connect(LIMIT).await?;
        let channel = InterceptedService::new(connection.channel.clone(), self.bearer.clone());
        Ok((connection, channel))
    }

    /// What the register holds of the serial numbers that begin so.
    pub async fn register(&self, prefix: &str) -> Result<Register, CallError> {
        let (connection, channel) = self.connect().await?;
        let failed = |status: Status| CallError::of(&connection, &status);
        let filter = format!("serial_number = \"{prefix}*\"");
        let mut register = Register::default();

        let mut devices = DeviceAdminServiceClient::new(channel.clone());
        let mut page_token = String::new();
        loop {
            let request = v1::ListDevicesRequest {
                page_size: PAGE,
                page_token,
                filter: filter.clone(),
                show_deleted: true,
                ..Default::default()
            };
            let page = devices.list_devices(request).await.map_err(failed)?.into_inner();
            register.devices.extend(page.devices.into_iter().map(|device| {
                let active = device.state() == v1::LifecycleState::Active;
                let held = HeldDevice { id: device.id, active, generation: device.generation, digest: device.digest };
                (device.serial_number, held)
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }

        let mut users = UserServiceClient::new(channel.clone());
        loop {
            let filter = format!("username = \"{prefix}*\"");
            let request = v1::ListUsersRequest { page_size: PAGE, page_token, filter, ..Default::default() };
            let page = users.list_users(request).await.map_err(failed)?.into_inner();
            register.users.extend(page.users.into_iter().map(|user| user.username));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }

        let mut clients = AuthClientServiceClient::new(channel);
        loop {
            let request = v1::ListAuthClientsRequest {
                page_size: PAGE,
                page_token,
                filter: filter.clone(),
                show_deleted: true,
                ..Default::default()
            };
            let page = clients.list_auth_clients(request).await.map_err(failed)?.into_inner();
            register.clients.extend(page.auth_clients.into_iter().map(|client| HeldClient {
                active: client.state() == v1::LifecycleState::Active,
                serial: client.serial_number,
                vdom: client.vdom,
                id: client.id,
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(register);
            }
        }
    }

    /// Opens the debug feed.
    pub async fn feed(
        &self,
        request: v1::StreamDebugLogsRequest,
    ) -> Result<Streaming<v1::StreamDebugLogsResponse>, CallError> {
        let (connection, channel) = self.connect().await?;
        let opened = DebugLogServiceClient::new(channel).stream_debug_logs(request).await;
        Ok(opened.map_err(|status| CallError::of(&connection, &status))?.into_inner())
    }
}
