//! `SettingsService`: the settings of the register as a whole, for admins.

use std::sync::Arc;

use muster_proto::settings::SettingsChange;
use muster_proto::v1;
use muster_proto::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::wire::{etag, options};
use super::wire_admin;
use crate::registry::Action;
use crate::store::Reading;
use crate::writer::Writer;

const GET: Method = method("SettingsService/GetSettings");
const UPDATE: Method = method("SettingsService/UpdateSettings");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct SettingsAdmin {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

#[tonic::async_trait]
impl SettingsService for SettingsAdmin {
    async fn get_settings(
        &self,
        request: Request<v1::GetSettingsRequest>,
    ) -> Result<Response<v1::GetSettingsResponse>, Status> {
        let work = async |_: &mut Call, _| {
            let settings = self.store.settings().await?;
            Ok(v1::GetSettingsResponse { settings: Some(wire_admin::settings(&settings)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn update_settings(
        &self,
        request: Request<v1::UpdateSettingsRequest>,
    ) -> Result<Response<v1::UpdateSettingsResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UpdateSettingsRequest| {
            let change = SettingsChange::try_from(&message)?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::UpdateSettings { change, etag: etag(message.etag) };
            let answer = call.submit(&self.writer, action, options).await?;
            Ok(wire_admin::settings_updated(call.operation().id, &answer))
        };
        self.gate.unary(&UPDATE, request, work).await
    }
}
