//! Clusters: founded and joined by reports, failed over, dissolved; by devices and by admins.

use muster_proto::v1::{self, HaRole, LifecycleState, Outcome, StreamDebugLogsRequest};
use muster_proto::{Reason, v1 as wire};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster};

pub(crate) fn ha(role: HaRole, epoch: Option<i64>, members: &[&str]) -> v1::HaReport {
    let member_serial_numbers = members.iter().map(|member| (*member).to_owned()).collect();
    v1::HaReport { group_name: "edge".to_owned(), role: role.into(), epoch, member_serial_numbers }
}

pub(crate) fn reported(serial: &str, names: &[&str], ha: v1::HaReport) -> v1::SyncRequest {
    v1::SyncRequest { ha: Some(ha), ..sync(serial, names) }
}

/// A (primary, with `sales`) and B, as their reports make them.
async fn pair(muster: &Muster) -> (Caller, Caller) {
    let (a, b) = (muster.device(A), muster.device(B));
    a.devices().sync(sync(A, &["root", "sales"])).await.unwrap();
    a.devices().sync(reported(A, &["root", "sales"], ha(HaRole::Primary, None, &[A, B]))).await.unwrap();
    let joined = b.devices().sync(reported(B, &["root", "sales"], ha(HaRole::Secondary, None, &[A, B]))).await.unwrap();
    let standing = joined.into_inner().cluster.unwrap();
    assert_eq!((standing.outcome(), standing.role(), standing.epoch), (Outcome::Updated, HaRole::Secondary, 1));
    (a, b)
}

pub(crate) async fn only_cluster(muster: &Muster) -> wire::Cluster {
    let request = v1::ListClustersRequest { show_deleted: true, ..Default::default() };
    let mut page = muster.admin().clusters().list_clusters(request).await.unwrap().into_inner();
    assert_eq!(page.total_size, 1);
    page.clusters.remove(0)
}

fn members(cluster: &wire::Cluster) -> Vec<(&str, HaRole)> {
    cluster.members.iter().map(|member| (member.serial_number.as_str(), member.role())).collect()
}

#[tokio::test]
async fn reports_make_a_pair_and_a_failover_changes_neither_ids_nor_names() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let alone = muster.device(A);
    alone.devices().sync(sync(A, &["root", "sales"])).await.unwrap();
    let before = admin.get_auth_client(&format!("{A}-sales")).await;
    assert_eq!((before.display_name.as_str(), before.cluster.as_str()), ("FG101FTK19002788-sales", ""));

    let (a, b) = pair(&muster).await;
    let cluster = only_cluster(&muster).await;
    assert_eq!(members(&cluster), [(A, HaRole::Primary), (B, HaRole::Secondary)]);
    let shared = admin.get_auth_client(&format!("{B}-sales")).await;
    assert_eq!((shared.id, shared.display_name.as_str(), &shared.cluster), (before.id, "edge-sales", &cluster.name));
    assert_eq!(shared.serial_number, A);
    assert_eq!(admin.get_device(B).await.device.unwrap().cluster, cluster.name);

    let takes_over = reported(B, &["root", "sales"], ha(HaRole::Primary, Some(2), &[A, B]));
    let standing = b.devices().sync(takes_over).await.unwrap().into_inner().cluster.unwrap();
    assert_eq!((standing.role(), standing.epoch, standing.outcome()), (HaRole::Primary, 2, Outcome::Updated));
    let after = admin.get_auth_client(&format!("{A}-sales")).await;
    assert_eq!((after.id, &after.display_name, after.serial_number.as_str()), (before.id, &shared.display_name, B));

    // The old primary comes back and knows of nothing: it is told what it needs to know, and nothing is done.
    let stale = reported(A, &["root"], ha(HaRole::Primary, Some(1), &[A, B]));
    let refusal = muster.refusal(a.devices().sync(stale).await).await;
    assert_eq!(refusal.reason, Reason::StaleEpoch);
    assert_eq!(refusal.details["epoch"], "2");
    assert_eq!(refusal.details["primary"], B);
    let returned = reported(A, &["root"], ha(HaRole::Secondary, Some(2), &[A, B]));
    let answer = a.devices().sync(returned).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root unchanged", "sales held PRIMARY_DECIDES"]);
    // By the serial number of any member the same auth clients are found.
    let filter = format!("serial_number = \"{A}\"");
    let listed = admin.shown(v1::ListAuthClientsRequest { filter, ..Default::default() }).await;
    assert_eq!(listed, ["edge-root", "edge-sales"]);
}

#[tokio::test]
async fn no_device_can_pull_the_auth_clients_of_another_one_into_its_cluster() {
    let muster = Muster::start().await;
    muster.device(B).devices().sync(sync(B, &["root", "sales"])).await.unwrap();
    let claims = reported(A, &["root"], ha(HaRole::Primary, None, &[A, B]));
    muster.device(A).devices().sync(claims).await.unwrap();
    assert_eq!(members(&only_cluster(&muster).await), [(A, HaRole::Primary)]);
    assert_eq!(muster.admin().get_auth_client(&format!("{B}-sales")).await.cluster, "");
    let unasked = reported(VM, &["root"], ha(HaRole::Secondary, None, &[A]));
    let standing = muster.device(VM).devices().sync(unasked).await.unwrap().into_inner().cluster.unwrap();
    assert_eq!((standing.outcome(), standing.reason.as_str()), (Outcome::Held, "CLUSTER_NOT_CONFIRMED"));
    assert_eq!(standing.fix, Reason::ClusterNotConfirmed.fix());
}

#[tokio::test]
async fn going_standalone_keeps_ids_with_the_primary_and_lets_a_secondary_start_afresh() {
    let muster = Muster::start().await;
    let (a, b) = pair(&muster).await;
    let before = muster.admin().get_auth_client(&format!("{A}-sales")).await;
    let alone = |serial| reported(serial, &["root", "sales"], ha(HaRole::Standalone, None, &[]));
    let answer = b.devices().sync(alone(B)).await.unwrap().into_inner();
    assert_eq!(items(&answer.vdoms), ["root created", "sales created"]);
    a.devices().sync(alone(A)).await.unwrap();
    let after = muster.admin().get_auth_client(&format!("{A}-sales")).await;
    assert_eq!((after.id, after.display_name.as_str()), (before.id, "FG101FTK19002788-sales"));
    assert_ne!(muster.admin().get_auth_client(&format!("{B}-sales")).await.id, before.id);
    let cluster = only_cluster(&muster).await;
    assert_eq!(cluster.state(), LifecycleState::Deleted);
    let muster = muster.restart().await;
    assert_eq!(only_cluster(&muster).await, cluster);
}

#[tokio::test]
async fn an_admin_plans_makes_and_dissolves_a_cluster() {
    let muster = Muster::start().await;
    let mut admin = muster.admin().clusters();
    let request = v1::CreateClusterRequest {
        display_name: "edge".to_owned(),
        primary_serial_number: A.to_owned(),
        member_serial_numbers: vec![B.to_owned()],
        ..Default::default()
    };
    assert_eq!(muster.refusal(admin.create_cluster(request.clone()).await).await.reason, Reason::DeviceUnknown);
    for serial in [A, B] {
        muster.device(serial).devices().sync(sync(serial, &["root", "sales"])).await.unwrap();
    }
    let plan = v1::CreateClusterRequest { validate_only: true, ..request.clone() };
    let plan = admin.create_cluster(plan).await.unwrap().into_inner();
    assert_eq!(plan.outcome(), Outcome::Created);
    let list = v1::ListClustersRequest::default;
    assert_eq!(admin.list_clusters(list()).await.unwrap().into_inner().total_size, 0);
    let planned = v1::CreateClusterRequest { plan_id: plan.plan_id.clone(), ..request };
    let made = admin.create_cluster(planned).await.unwrap().into_inner();
    assert_eq!((made.outcome(), &made.vdoms), (plan.outcome(), &plan.vdoms));
    let cluster = made.cluster.unwrap();
    let audited = muster.database().audit().await;
    // The cluster, its two members, and the four auth clients that changed hands.
    assert_eq!(audited.iter().filter(|row| row.operation_id == made.operation_id).count(), 7);

    let set =
        v1::SetClusterPrimaryRequest { name: cluster.name.clone(), serial_number: B.to_owned(), ..Default::default() };
    let set = admin.set_cluster_primary(set).await.unwrap().into_inner().cluster.unwrap();
    assert_eq!((set.epoch, set.primary_serial_number.as_str()), (2, B));
    let rename = v1::UpdateClusterRequest {
        name: cluster.name.clone(),
        display_name: "core".to_owned(),
        etag: cluster.etag,
        ..Default::default()
    };
    assert_eq!(muster.refusal(admin.update_cluster(rename.clone()).await).await.reason, Reason::EtagMismatch);
    let rename = v1::UpdateClusterRequest { etag: set.etag, ..rename };
    admin.update_cluster(rename).await.unwrap();
    let filter = format!("serial_number = \"{A}\" AND display_name = \"co*\"");
    let found = v1::ListClustersRequest { filter, ..Default::default() };
    assert_eq!(admin.list_clusters(found).await.unwrap().into_inner().clusters[0].display_name, "core");

    let remove = v1::RemoveClusterMemberRequest {
        name: cluster.name.clone(),
        serial_number: A.to_owned(),
        ..Default::default()
    };
    assert_eq!(admin.remove_cluster_member(remove).await.unwrap().into_inner().outcome(), Outcome::Updated);
    let add =
        v1::AddClusterMemberRequest { name: cluster.name.clone(), serial_number: A.to_owned(), ..Default::default() };
    assert_eq!(admin.add_cluster_member(add).await.unwrap().into_inner().outcome(), Outcome::Updated);
    let delete = v1::DeleteClusterRequest { name: cluster.name.clone(), ..Default::default() };
    let deleted = admin.delete_cluster(delete.clone()).await.unwrap().into_inner();
    assert_eq!(items(&deleted.vdoms), ["root updated MOVED_TO_DEVICE", "sales updated MOVED_TO_DEVICE"]);
    assert_eq!(admin.delete_cluster(delete).await.unwrap().into_inner().outcome(), Outcome::Unchanged);
    let get = v1::GetClusterRequest { name: cluster.name };
    assert_eq!(admin.get_cluster(get).await.unwrap().into_inner().cluster.unwrap().state(), LifecycleState::Deleted);
    let unknown = v1::GetClusterRequest { name: "clusters/1".to_owned() };
    assert_eq!(muster.refusal(admin.get_cluster(unknown).await).await.reason, Reason::ClusterUnknown);
}

#[tokio::test]
async fn the_feed_tells_of_a_failover() {
    let muster = Muster::start().await;
    let (_a, b) = pair(&muster).await;
    let takes_over = reported(B, &["root", "sales"], ha(HaRole::Primary, Some(2), &[A, B]));
    let operation = b.devices().sync(takes_over).await.unwrap().into_inner().operation_id;
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = muster.admin().watch(everything).await.events().await;
    let told = events.iter().filter(|event| event.operation_id == operation).flat_map(|event| &event.changes);
    let told: Vec<_> = told.map(|it| (it.field.as_str(), it.before.as_str(), it.after.as_str())).collect();
    assert!(told.contains(&("epoch", "1", "2")) && told.contains(&("primary", A, B)), "{told:?}");
}
