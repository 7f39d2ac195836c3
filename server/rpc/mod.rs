//! One file per gRPC service: parse, one call inward, answer. What they share: `gate` (who calls, limits, the log line), `status`
//! (errors), `wire` (answers).

mod admin_token;
mod admission_rule;
mod audit;
mod auth_client;
mod call;
mod channel;
mod clone;
mod cluster;
mod deadline;
mod debug_log;
mod device;
mod device_admin;
mod explain;
mod gate;
mod health;
mod held_removal;
mod license;
mod limits;
mod lines;
mod lobby;
mod log;
mod methods;
mod realm;
mod settings;
mod status;
mod unhandled;
mod user;
mod user_sync;
mod web_app;
mod wire;
mod wire_admin;
mod wire_deleting;

use std::sync::Arc;
use std::time::Duration;

use muster_proto::DESCRIPTORS;
use muster_proto::admin::{Position, Query};
use muster_proto::encoded::debug_log_service_server::DebugLogServiceServer;
use muster_proto::v1::admin_token_service_server::AdminTokenServiceServer;
use muster_proto::v1::admission_rule_service_server::AdmissionRuleServiceServer;
use muster_proto::v1::audit_service_server::AuditServiceServer;
use muster_proto::v1::auth_client_service_server::AuthClientServiceServer;
use muster_proto::v1::clone_service_server::CloneServiceServer;
use muster_proto::v1::cluster_service_server::ClusterServiceServer;
use muster_proto::v1::device_admin_service_server::DeviceAdminServiceServer;
use muster_proto::v1::device_service_server::DeviceServiceServer;
use muster_proto::v1::explain_service_server::ExplainServiceServer;
use muster_proto::v1::held_removal_service_server::HeldRemovalServiceServer;
use muster_proto::v1::license_service_server::LicenseServiceServer;
use muster_proto::v1::lobby_service_server::LobbyServiceServer;
use muster_proto::v1::realm_service_server::RealmServiceServer;
use muster_proto::v1::settings_service_server::SettingsServiceServer;
use muster_proto::v1::user_service_server::UserServiceServer;
use muster_proto::v1::web_app_service_server::WebAppServiceServer;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tower::layer::util::{Identity, Stack};

pub use health::Health;
pub use methods::{Access, Audience, Extent, METHODS, Method};

use crate::clock::Clock;
use crate::feed::Feed;
use crate::identity::revocations::Revocations;
use crate::presence::Presence;
use crate::store::Reading;
use crate::writer::Writer;

/// How many bytes one request may have.
const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// How many bytes the metadata of one request may have.
const MAX_METADATA: u32 = 16 * 1024;
/// How many calls one connection may have in flight.
const MAX_STREAMS: u32 = 1_024;
/// After how long a silent connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// How often callers that have not called for a while are forgotten.
const TIDY: Duration = Duration::from_mins(1);

/// What the services work with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The debug feed.
    pub feed: Feed,
    /// Reads.
    pub store: Arc<dyn Reading>,
    /// Changes.
    pub writer: Writer,
    /// Channels.
    pub presence: Presence,
    /// Who may no longer call.
    pub revocations: Revocations,
}

/// What every call passes before its service.
pub type Layers = Stack<unhandled::UnhandledLayer, Identity>;

/// Everything that is served: the services of `muster.v1`, health, and reflection v1 and v1alpha.
pub fn router(parts: Parts, health: &Health) -> Result<Router<Layers>, tonic_reflection::server::Error> {
    let Parts { clock, feed, store, writer, presence, revocations } = parts;
    let gate = gate::Gate::new(Arc::clone(&clock), feed.clone(), Arc::clone(&store), revocations);
    tidy_now_and_then(&gate);
    let user_syncs = user_sync::UserSyncs {
        writer: writer.clone(),
        store: Arc::clone(&store),
        running: user_sync::Running::default(),
    };
    let devices =
        device::Devices { gate: gate.clone(), writer: writer.clone(), presence: presence.clone(), user_syncs };
    let auth_clients =
        auth_client::AuthClients { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let lobby = lobby::Lobby { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let admission_rules =
        admission_rule::AdmissionRules { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let clones = clone::Clones { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let realms = realm::Realms { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let settings = settings::SettingsAdmin { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let users = user::Users { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let admin_tokens =
        admin_token::AdminTokens { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let web_apps = web_app::WebApps { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let licenses = license::Licenses { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let clusters = cluster::Clusters { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let device_admin =
        device_admin::DeviceAdmin { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone(), presence };
    let held_removals =
        held_removal::HeldRemovals { gate: gate.clone(), store: Arc::clone(&store), writer: writer.clone() };
    let audit = audit::Audit { gate: gate.clone(), store: Arc::clone(&store) };
    let explain = explain::Explain { gate: gate.clone(), store, writer: writer.clone(), feed: feed.clone() };
    let debug_logs = debug_log::DebugLogs { gate, feed: feed.clone(), writer };
    // Each version needs the descriptors of its own: clients of one do not see what only the other has.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(HEALTH_DESCRIPTORS)
    };
    let services = Routes::new(DeviceServiceServer::new(devices).max_decoding_message_size(MAX_REQUEST))
        .add_service(AuthClientServiceServer::new(auth_clients).max_decoding_message_size(MAX_REQUEST))
        .add_service(DeviceAdminServiceServer::new(device_admin).max_decoding_message_size(MAX_REQUEST))
        .add_service(CloneServiceServer::new(clones).max_decoding_message_size(MAX_REQUEST))
        .add_service(RealmServiceServer::new(realms).max_decoding_message_size(MAX_REQUEST))
        .add_service(SettingsServiceServer::new(settings).max_decoding_message_size(MAX_REQUEST))
        .add_service(UserServiceServer::new(users).max_decoding_message_size(MAX_REQUEST))
        .add_service(LicenseServiceServer::new(licenses).max_decoding_message_size(MAX_REQUEST))
        .add_service(ClusterServiceServer::new(clusters).max_decoding_message_size(MAX_REQUEST))
        .add_service(HeldRemovalServiceServer::new(held_removals).max_decoding_message_size(MAX_REQUEST))
        .add_service(AuditServiceServer::new(audit).max_decoding_message_size(MAX_REQUEST))
        .add_service(ExplainServiceServer::new(explain).max_decoding_message_size(MAX_REQUEST))
        .add_service(DebugLogServiceServer::new(debug_logs).max_decoding_message_size(MAX_REQUEST))
        .add_service(LobbyServiceServer::new(lobby).max_decoding_message_size(MAX_REQUEST))
        .add_service(AdmissionRuleServiceServer::new(admission_rules).max_decoding_message_size(MAX_REQUEST))
        .add_service(AdminTokenServiceServer::new(admin_tokens).max_decoding_message_size(MAX_REQUEST))
        .add_service(WebAppServiceServer::new(web_apps).max_decoding_message_size(MAX_REQUEST))
        .add_service(health.service())
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .http2_max_header_list_size(MAX_METADATA)
        .max_concurrent_streams(MAX_STREAMS)
        .layer(unhandled::UnhandledLayer { feed, clock })
        .add_routes(services))
}

fn tidy_now_and_then(gate: &gate::Gate) {
    let gate = gate.downgrade();
    tokio::spawn(async move {
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            tidy.tick().await;
            let Some(gate) = gate.upgrade() else { break };
            gate.tidy();
        }
    });
}

/// The token for the next page, if the store found one row more than the page has; that row is dropped.
fn next_page<T>(query: &Query, rows: &mut Vec<T>, position: fn(&Query, &T) -> Position) -> String {
    let size = query.page_size as usize;
    if rows.len() <= size {
        return String::new();
    }
    rows.truncate(size);
    rows.last().map(|last| query.token(&position(query, last))).unwrap_or_default()
}
