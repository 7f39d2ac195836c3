//! Connections with an identity, and the clients of every service on them.

use muster_proto::v1::admin_token_service_client::AdminTokenServiceClient;
use muster_proto::v1::admission_rule_service_client::AdmissionRuleServiceClient;
use muster_proto::v1::audit_service_client::AuditServiceClient;
use muster_proto::v1::auth_client_service_client::AuthClientServiceClient;
use muster_proto::v1::clone_service_client::CloneServiceClient;
use muster_proto::v1::cluster_service_client::ClusterServiceClient;
use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use muster_proto::v1::explain_service_client::ExplainServiceClient;
use muster_proto::v1::held_removal_service_client::HeldRemovalServiceClient;
use muster_proto::v1::license_service_client::LicenseServiceClient;
use muster_proto::v1::lobby_service_client::LobbyServiceClient;
use muster_proto::v1::realm_service_client::RealmServiceClient;
use muster_proto::v1::settings_service_client::SettingsServiceClient;
use muster_proto::v1::user_service_client::UserServiceClient;
use muster_proto::v1::{self, StreamDebugLogsRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_health::pb::health_client::HealthClient;

use crate::{Follower, within};

/// A connection, and the token that every call on it carries.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Puts "authorization" into the metadata of each call, if there is anything to put there.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// One who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    channel: Channel,
    bearer: Bearer,
}

impl Caller {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, bearer: Bearer::default() }
    }

    /// The same connection, with this token on every call.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        self.with_authorization(&format!("Bearer {token}"))
    }

    /// The same connection, with this text as "authorization" of every call.
    #[must_use]
    pub fn with_authorization(&self, text: &str) -> Self {
        Self { channel: self.channel.clone(), bearer: Bearer(Some(text.parse().unwrap())) }
    }

    /// The connection, for clients of other services.
    #[must_use]
    pub fn connection(&self) -> Connection {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    /// What devices call.
    #[must_use]
    pub fn devices(&self) -> DeviceServiceClient<Connection> {
        DeviceServiceClient::new(self.connection())
    }

    /// Who waits.
    #[must_use]
    pub fn lobby(&self) -> LobbyServiceClient<Connection> {
        LobbyServiceClient::new(self.connection())
    }

    /// What becomes of devices that are not known.
    #[must_use]
    pub fn admission_rules(&self) -> AdmissionRuleServiceClient<Connection> {
        AdmissionRuleServiceClient::new(self.connection())
    }

    /// The tokens of admins.
    #[must_use]
    pub fn admin_tokens(&self) -> AdminTokenServiceClient<Connection> {
        AdminTokenServiceClient::new(self.connection())
    }

    /// The auth clients, for admins.
    #[must_use]
    pub fn auth_clients(&self) -> AuthClientServiceClient<Connection> {
        AuthClientServiceClient::new(self.connection())
    }

    /// The devices, for admins.
    #[must_use]
    pub fn device_admin(&self) -> DeviceAdminServiceClient<Connection> {
        DeviceAdminServiceClient::new(self.connection())
    }

    /// The boxes that claim one serial number, for admins.
    #[must_use]
    pub fn clones(&self) -> CloneServiceClient<Connection> {
        CloneServiceClient::new(self.connection())
    }

    /// The realms, for admins.
    #[must_use]
    pub fn realms(&self) -> RealmServiceClient<Connection> {
        RealmServiceClient::new(self.connection())
    }

    /// The settings, for admins.
    #[must_use]
    pub fn settings(&self) -> SettingsServiceClient<Connection> {
        SettingsServiceClient::new(self.connection())
    }

    /// The users, for admins.
    #[must_use]
    pub fn users(&self) -> UserServiceClient<Connection> {
        UserServiceClient::new(self.connection())
    }

    /// The licences, for admins.
    #[must_use]
    pub fn licenses(&self) -> LicenseServiceClient<Connection> {
        LicenseServiceClient::new(self.connection())
    }

    /// The clusters, for admins.
    #[must_use]
    pub fn clusters(&self) -> ClusterServiceClient<Connection> {
        ClusterServiceClient::new(self.connection())
    }

    /// The removals that are held, for admins.
    #[must_use]
    pub fn held_removals(&self) -> HeldRemovalServiceClient<Connection> {
        HeldRemovalServiceClient::new(self.connection())
    }

    /// Why things are as they are.
    #[must_use]
    pub fn explaining(&self) -> ExplainServiceClient<Connection> {
        ExplainServiceClient::new(self.connection())
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> AuditServiceClient<Connection> {
        AuditServiceClient::new(self.connection())
    }

    /// The debug feed.
    #[must_use]
    pub fn debug_logs(&self) -> DebugLogServiceClient<Connection> {
        DebugLogServiceClient::new(self.connection())
    }

    /// The health of the server.
    #[must_use]
    pub fn health(&self) -> HealthClient<Connection> {
        HealthClient::new(self.connection())
    }

    /// Opens a stream of the debug feed, which must open.
    pub async fn watch(&self, request: StreamDebugLogsRequest) -> Follower {
        let stream = within(self.debug_logs().stream_debug_logs(request)).await.unwrap().into_inner();
        Follower::open(stream).await
    }

    /// The admin tokens, as an admin sees them.
    pub async fn get_admin_tokens(&self) -> Vec<v1::AdminToken> {
        let request = v1::ListAdminTokensRequest::default();
        self.admin_tokens().list_admin_tokens(request).await.unwrap().into_inner().admin_tokens
    }

    /// What the register holds of a device, as an admin sees it.
    pub async fn get_device(&self, serial: &str) -> v1::GetDeviceResponse {
        let request = v1::GetDeviceRequest { name: format!("devices/{serial}") };
        self.device_admin().get_device(request).await.unwrap().into_inner()
    }

    /// What the register holds of an auth client, as an admin sees it; the name without "authClients/".
    pub async fn get_auth_client(&self, name: &str) -> v1::AuthClient {
        let request = v1::GetAuthClientRequest { name: format!("authClients/{name}") };
        self.auth_clients().get_auth_client(request).await.unwrap().into_inner().auth_client.unwrap()
    }
    /// The names of the auth clients that an admin sees on one page of a list.
    pub async fn shown(&self, request: v1::ListAuthClientsRequest) -> Vec<String> {
        let page = self.auth_clients().list_auth_clients(request).await.unwrap().into_inner();
        page.auth_clients.into_iter().map(|client| client.display_name).collect()
    }
}
