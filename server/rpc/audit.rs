//! `AuditService`: who changed what, for global admins.

use std::sync::Arc;

use muster_proto::admin::{Position, Query};
use muster_proto::explain::AuditQuery;
use muster_proto::v1;
use muster_proto::v1::audit_service_server::AuditService;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use crate::registry::{Entry, EntryChange};
use crate::store::Reading;

const LIST: Method = method("AuditService/ListAuditEntries");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Audit {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
}

fn position(_: &Query, entry: &Entry) -> Position {
    Position { id: entry.id, key: String::new() }
}

pub(super) fn entry(entry: &Entry) -> v1::AuditEntry {
    v1::AuditEntry {
        id: entry.id,
        time: Some(entry.at.into()),
        operation_id: entry.operation.to_string(),
        caller: entry.caller.clone(),
        method: entry.method.clone(),
        name: entry.name.clone(),
        generation: entry.generation,
        changes: entry.changes.iter().map(change).collect(),
    }
}

pub(super) fn change(change: &EntryChange) -> v1::AuditChange {
    let EntryChange { vdom, user, field, before, after } = change.clone();
    v1::AuditChange { vdom: vdom.unwrap_or_default(), user: user.unwrap_or_default(), field, before, after }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_entries(
        &self,
        request: Request<v1::ListAuditEntriesRequest>,
    ) -> Result<Response<v1::ListAuditEntriesResponse>, Status> {
        let work = async |_: &mut Call, message: v1::ListAuditEntriesRequest| {
            let query = AuditQuery::try_from(&message)?;
            let (mut entries, total_size) = self.store.list_audit(&query).await?;
            let next_page_token = super::next_page(&query.query, &mut entries, position);
            let audit_entries = entries.iter().map(entry).collect();
            Ok(v1::ListAuditEntriesResponse { audit_entries, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }
}
