//! `grpc.health.v1.Health`: each service, and the server as a whole, as long as the store can be used.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The services that are reported; the empty name is the server as a whole.
const SERVICES: &[&str] = &[
    "",
    "muster.v1.DeviceService",
    "muster.v1.AuthClientService",
    "muster.v1.DeviceAdminService",
    "muster.v1.CloneService",
    "muster.v1.ClusterService",
    "muster.v1.HeldRemovalService",
    "muster.v1.AuditService",
    "muster.v1.ExplainService",
    "muster.v1.LicenseService",
    "muster.v1.DebugLogService",
    "muster.v1.RealmService",
    "muster.v1.SettingsService",
    "muster.v1.UserService",
    "muster.v1.AdminTokenService",
    "muster.v1.WebAppService",
    "muster.v1.LobbyService",
    "muster.v1.AdmissionRuleService",
];

/// What is reported.
#[derive(Clone, Debug)]
pub struct Health(HealthReporter);

impl Health {
    /// Everything is well.
    pub async fn new() -> Self {
        let health = Self(HealthReporter::new());
        health.report(true).await;
        health
    }

    /// The service that answers for it.
    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
    }

    /// Says whether the store can be used.
    pub async fn report(&self, healthy: bool) {
        let status = if healthy { ServingStatus::Serving } else { ServingStatus::NotServing };
        for &service in SERVICES {
            self.0.set_service_status(service, status).await;
        }
    }

    /// Says that the server goes, and ends every watch: one that stays open would hold the server.
    pub async fn end(&mut self) {
        self.report(false).await;
        for &service in SERVICES {
            self.0.clear_service_status(service).await;
        }
    }
}
