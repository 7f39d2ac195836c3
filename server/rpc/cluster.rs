//! `ClusterService`: the clusters, for admins.

use std::sync::Arc;

use muster_proto::admin::{CLUSTERS, Position, Query};
use muster_proto::cluster::{ClusterCreation, cluster_name, member};
use muster_proto::v1::cluster_service_server::ClusterService;
use muster_proto::{Invalid, Reason, Text, v1};
use tonic::{Request, Response, Status};

use super::call::Call;
use super::gate::{Gate, Method, method};
use super::status::Failure;
use super::wire::{self, options};
use crate::registry::{Action, After, Answer, Cluster, ClusterId, Options};
use crate::store::Reading;
use crate::writer::Writer;

const LIST: Method = method("ClusterService/ListClusters");
const GET: Method = method("ClusterService/GetCluster");
const CREATE: Method = method("ClusterService/CreateCluster");
const UPDATE: Method = method("ClusterService/UpdateCluster");
const DELETE: Method = method("ClusterService/DeleteCluster");
const ADD: Method = method("ClusterService/AddClusterMember");
const REMOVE: Method = method("ClusterService/RemoveClusterMember");
const SET_PRIMARY: Method = method("ClusterService/SetClusterPrimary");

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    pub(super) gate: Gate,
    pub(super) store: Arc<dyn Reading>,
    pub(super) writer: Writer,
}

/// Where the page behind `cluster` starts.
fn position(query: &Query, cluster: &Cluster) -> Position {
    let key = query.order.key.map(|_| cluster.name.to_string()).unwrap_or_default();
    Position { id: cluster.id.0, key }
}

/// The cluster that a command was about, as it is after it.
fn after(answer: &Answer) -> Option<v1::Cluster> {
    match &answer.after {
        After::Cluster(cluster) => Some(wire::cluster(cluster)),
        _ => None,
    }
}

fn etag(etag: String) -> Option<String> {
    (!etag.is_empty()).then_some(etag)
}

impl Clusters {
    /// Hands a command in.
    async fn done(&self, call: &mut Call, action: Action, options: Options) -> Result<(String, Answer), Failure> {
        action.serial().into_iter().for_each(|serial| call.concerns(serial));
        let answer = call.submit(&self.writer, action, options).await?;
        Ok((call.operation().id.to_string(), answer))
    }
}

#[tonic::async_trait]
impl ClusterService for Clusters {
    async fn list_clusters(
        &self,
        request: Request<v1::ListClustersRequest>,
    ) -> Result<Response<v1::ListClustersResponse>, Status> {
        let work = async |_: &mut Call, message: v1::ListClustersRequest| {
            let v1::ListClustersRequest { page_size, page_token, filter, order_by, show_deleted } = &message;
            let query = Query::parse(CLUSTERS, *page_size, page_token, filter, order_by, *show_deleted)?;
            let (mut clusters, total_size) = self.store.list_clusters(&query).await?;
            let next_page_token = super::next_page(&query, &mut clusters, position);
            let clusters = clusters.iter().map(wire::cluster).collect();
            Ok(v1::ListClustersResponse { clusters, next_page_token, total_size })
        };
        self.gate.unary(&LIST, request, work).await
    }

    async fn get_cluster(
        &self,
        request: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::GetClusterResponse>, Status> {
        let work = async |_: &mut Call, message: v1::GetClusterRequest| {
            let id = cluster_name(&message.name)?;
            let found = self.store.cluster(ClusterId(id)).await?;
            let unknown = || Failure::new(Reason::ClusterUnknown, format!("there never was a cluster {id}"));
            Ok(v1::GetClusterResponse { cluster: Some(wire::cluster(&found.ok_or_else(unknown)?)) })
        };
        self.gate.unary(&GET, request, work).await
    }

    async fn create_cluster(
        &self,
        request: Request<v1::CreateClusterRequest>,
    ) -> Result<Response<v1::CreateClusterResponse>, Status> {
        let work = async |call: &mut Call, message: v1::CreateClusterRequest| {
            let ClusterCreation { name, primary, others } = ClusterCreation::try_from(&message)?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::CreateCluster { name, primary, others };
            let (operation_id, answer) = self.done(call, action, options).await?;
            Ok(v1::CreateClusterResponse {
                operation_id,
                outcome: answer.outcome.into(),
                cluster: after(&answer),
                vdoms: answer.items.iter().map(wire::item).collect(),
                users: answer.users.iter().map(wire::merged_user).collect(),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&CREATE, request, work).await
    }

    async fn update_cluster(
        &self,
        request: Request<v1::UpdateClusterRequest>,
    ) -> Result<Response<v1::UpdateClusterResponse>, Status> {
        let work = async |call: &mut Call, message: v1::UpdateClusterRequest| {
            let cluster = ClusterId(cluster_name(&message.name)?);
            let name = message.display_name.parse::<Text>();
            let name = name.map_err(|error| Invalid::field("display_name", Reason::TextMalformed, error))?;
            if name.is_empty() {
                return Err(Invalid::field("display_name", Reason::FieldInvalid, "must not be empty").into());
            }
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::RenameCluster { cluster, name, etag: etag(message.etag) };
            let (operation_id, answer) = self.done(call, action, options).await?;
            Ok(v1::UpdateClusterResponse {
                operation_id,
                outcome: answer.outcome.into(),
                cluster: after(&answer),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&UPDATE, request, work).await
    }

    async fn delete_cluster(
        &self,
        request: Request<v1::DeleteClusterRequest>,
    ) -> Result<Response<v1::DeleteClusterResponse>, Status> {
        let work = async |call: &mut Call, message: v1::DeleteClusterRequest| {
            let cluster = ClusterId(cluster_name(&message.name)?);
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::DeleteCluster { cluster, etag: etag(message.etag) };
            let (operation_id, answer) = self.done(call, action, options).await?;
            Ok(v1::DeleteClusterResponse {
                operation_id,
                outcome: answer.outcome.into(),
                cluster: after(&answer),
                vdoms: answer.items.iter().map(wire::item).collect(),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&DELETE, request, work).await
    }

    async fn add_cluster_member(
        &self,
        request: Request<v1::AddClusterMemberRequest>,
    ) -> Result<Response<v1::AddClusterMemberResponse>, Status> {
        let work = async |call: &mut Call, message: v1::AddClusterMemberRequest| {
            let (id, serial) = member(&message.name, &message.serial_number)?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::AddMember { cluster: ClusterId(id), serial };
            let (operation_id, answer) = self.done(call, action, options).await?;
            Ok(v1::AddClusterMemberResponse {
                operation_id,
                outcome: answer.outcome.into(),
                cluster: after(&answer),
                vdoms: answer.items.iter().map(wire::item).collect(),
                users: answer.users.iter().map(wire::merged_user).collect(),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&ADD, request, work).await
    }

    async fn remove_cluster_member(
        &self,
        request: Request<v1::RemoveClusterMemberRequest>,
    ) -> Result<Response<v1::RemoveClusterMemberResponse>, Status> {
        let work = async |call: &mut Call, message: v1::RemoveClusterMemberRequest| {
            let (id, serial) = member(&message.name, &message.serial_number)?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::RemoveMember { cluster: ClusterId(id), serial };
            let (operation_id, answer) = self.done(call, action, options).await?;
            Ok(v1::RemoveClusterMemberResponse {
                operation_id,
                outcome: answer.outcome.into(),
                cluster: after(&answer),
                vdoms: answer.items.iter().map(wire::item).collect(),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&REMOVE, request, work).await
    }

    async fn set_cluster_primary(
        &self,
        request: Request<v1::SetClusterPrimaryRequest>,
    ) -> Result<Response<v1::SetClusterPrimaryResponse>, Status> {
        let work = async |call: &mut Call, message: v1::SetClusterPrimaryRequest| {
            let (id, serial) = member(&message.name, &message.serial_number)?;
            let options = options(message.validate_only, &message.plan_id);
            let action = Action::SetPrimary { cluster: ClusterId(id), serial };
            let (operation_id, answer) = self.done(call, action, options).await?;
            Ok(v1::SetClusterPrimaryResponse {
                operation_id,
                outcome: answer.outcome.into(),
                cluster: after(&answer),
                plan_id: wire::plan(&answer),
            })
        };
        self.gate.unary(&SET_PRIMARY, request, work).await
    }
}
