//! From domain types to the messages of `muster.v1`.

use std::time::Duration;

use muster_proto::user_sync::Kinds;
use muster_proto::{SerialNumber, Timestamp, VdomName, v1};

use super::wire_deleting;
use crate::operation::OperationId;
use crate::registry::{
    After, Answer, AuthClient, Cluster, Device, Held, HeldOn, HeldState, Item, MemberRole, Notice, Options, UserItem,
};
use crate::store::AuthClientRow;
use crate::writer::{Count, Counts};

/// When a device should sync again if nothing happens before.
const NEXT_SYNC: Duration = Duration::from_hours(24);

/// The longest a device may wait for its next sync: FortiOS syncs its users once a day (domain sheet, section 3.1).
pub(super) fn next_sync() -> Option<prost_types::Duration> {
    NEXT_SYNC.try_into().ok()
}

/// How something is asked, from the fields that every changing request has. A plan id that no plan has is one that no longer holds.
pub(super) fn options(validate_only: bool, plan_id: &str) -> Options {
    Options { validate_only, plan: (!plan_id.is_empty()).then(|| plan_id.to_owned()) }
}

/// The etag that a change is bound to, if one is given.
pub(super) fn etag(etag: String) -> Option<String> {
    (!etag.is_empty()).then_some(etag)
}

pub(super) fn plan(answer: &Answer) -> String {
    answer.plan.clone().unwrap_or_default()
}

pub(super) fn reason(reason: Option<muster_proto::Reason>) -> String {
    reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default()
}

/// What to do about a reason, in a sentence; empty where there is none.
pub(super) fn fix(reason: Option<muster_proto::Reason>) -> String {
    reason.map(|reason| reason.fix().to_owned()).unwrap_or_default()
}

pub(super) fn item(item: &Item) -> v1::VdomOutcome {
    v1::VdomOutcome {
        vdom: item.vdom.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: fix(item.reason),
    }
}

/// How a device stands in its cluster.
fn standing(answer: &Answer) -> Option<v1::ClusterStanding> {
    let standing = answer.standing.as_ref()?;
    let mut wire = v1::ClusterStanding {
        role: v1::HaRole::Standalone.into(),
        outcome: standing.outcome.into(),
        reason: reason(standing.reason),
        fix: standing.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
        merged_users: answer.users.iter().map(merged_user).collect(),
        ..Default::default()
    };
    if let Some((id, name, role, epoch)) = &standing.cluster {
        wire.cluster = format!("clusters/{}", id.0);
        wire.display_name = name.to_string();
        wire.role = self::role(*role);
        wire.epoch = *epoch;
    }
    Some(wire)
}

fn role(role: MemberRole) -> i32 {
    match role {
        MemberRole::Primary => v1::HaRole::Primary.into(),
        MemberRole::Secondary => v1::HaRole::Secondary.into(),
    }
}

pub(super) fn merged_user(item: &UserItem) -> v1::MergedUser {
    v1::MergedUser {
        vdom: item.vdom.to_string(),
        username: item.username.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: item.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
    }
}

pub(super) fn cluster(cluster: &Cluster) -> v1::Cluster {
    let member = |serial: &SerialNumber| v1::ClusterMember {
        serial_number: serial.to_string(),
        role: role(cluster.role(*serial)),
    };
    v1::Cluster {
        name: format!("clusters/{}", cluster.id.0),
        id: cluster.id.0,
        display_name: cluster.name.to_string(),
        epoch: cluster.epoch,
        primary_serial_number: cluster.primary.to_string(),
        members: cluster.members.iter().map(member).collect(),
        listed_serial_numbers: cluster.listed.iter().map(ToString::to_string).collect(),
        state: state(!cluster.is_active()),
        etag: cluster.etag(),
        create_time: Some(cluster.created_at.into()),
        update_time: Some(cluster.updated_at.into()),
        delete_time: cluster.deleted_at.map(Into::into),
    }
}

pub(super) fn registered(operation: OperationId, answer: &Answer) -> v1::RegisterResponse {
    v1::RegisterResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        vdoms: answer.items.iter().map(item).collect(),
        generation: answer.generation,
        digest: answer.digest.to_vec(),
        next_sync_after: next_sync(),
        plan_id: plan(answer),
        cluster: standing(answer),
    }
}

pub(super) fn synced(operation: OperationId, answer: &Answer) -> v1::SyncResponse {
    v1::SyncResponse {
        operation_id: operation.to_string(),
        status: answer.status.into(),
        outcome: answer.outcome.into(),
        vdoms: answer.items.iter().map(item).collect(),
        generation: answer.generation,
        digest: answer.digest.to_vec(),
        next_sync_after: next_sync(),
        plan_id: plan(answer),
        cluster: standing(answer),
        held: answer.held.as_ref().map(held_notice),
    }
}

/// What a device is told of removals that are held.
pub(super) fn held_notice(notice: &Notice) -> v1::HeldNotice {
    v1::HeldNotice {
        name: format!("heldRemovals/{}", notice.id.0),
        confirm_token: notice.token.clone(),
        expire_time: Some(notice.expires_at.into()),
    }
}

pub(super) fn deleted(operation: OperationId, answer: &Answer) -> v1::DeleteResponse {
    v1::DeleteResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        vdoms: answer.items.iter().map(item).collect(),
        plan_id: plan(answer),
    }
}

pub(super) fn device_deleted(operation: OperationId, answer: &Answer) -> v1::DeleteDeviceResponse {
    v1::DeleteDeviceResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        vdoms: answer.items.iter().map(item).collect(),
        plan_id: plan(answer),
    }
}

pub(super) fn auth_client_deleted(
    operation: OperationId,
    answer: &Answer,
    mut row: AuthClientRow,
) -> v1::DeleteAuthClientResponse {
    if let After::AuthClient(client) = &answer.after {
        row.client = client.clone();
    }
    v1::DeleteAuthClientResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        auth_client: Some(auth_client(&row)),
        plan_id: plan(answer),
    }
}

/// What became of one user.
pub(super) fn user_item(item: &UserItem) -> v1::UserOutcome {
    v1::UserOutcome {
        username: item.username.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: item.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
        detail: item.detail.clone(),
    }
}

/// The one user of an answer, and what its auth client has now.
fn user(answer: &Answer) -> (Option<v1::UserOutcome>, i64, Vec<u8>) {
    let (users, digest) = match &answer.after {
        After::AuthClient(client) => (client.users, client.users_digest.to_vec()),
        _ => (0, Vec::new()),
    };
    (answer.users.first().map(user_item), users, digest)
}

pub(super) fn user_added(operation: OperationId, answer: &Answer) -> v1::AddUserResponse {
    let (user, users, users_digest) = user(answer);
    let vdoms = answer.items.iter().map(item).collect();
    v1::AddUserResponse { operation_id: operation.to_string(), user, vdoms, users, users_digest, plan_id: plan(answer) }
}

pub(super) fn user_updated(operation: OperationId, answer: &Answer) -> v1::UpdateUserResponse {
    let (user, users, users_digest) = user(answer);
    v1::UpdateUserResponse { operation_id: operation.to_string(), user, users, users_digest, plan_id: plan(answer) }
}

pub(super) fn user_deleted(operation: OperationId, answer: &Answer) -> v1::DeviceServiceDeleteUserResponse {
    let (user, users, users_digest) = user(answer);
    let operation_id = operation.to_string();
    v1::DeviceServiceDeleteUserResponse { operation_id, user, users, users_digest, plan_id: plan(answer) }
}

pub(super) fn held_removal(held: &Held) -> v1::HeldRemoval {
    use v1::{HeldRemovalKind as Kind, HeldRemovalState as State};
    let (kind, vdom) = match held.on {
        HeldOn::Vdoms(_) => (Kind::Vdoms, String::new()),
        HeldOn::Users(_, VdomName::WEB_APP, _) => (Kind::Users, String::new()),
        HeldOn::Users(_, vdom, _) => (Kind::Users, vdom.to_string()),
    };
    let state = match held.state {
        HeldState::Pending => State::Pending,
        HeldState::Rejected => State::Rejected,
        HeldState::Confirmed => State::Confirmed,
        HeldState::Approved => State::Approved,
        HeldState::Withdrawn => State::Withdrawn,
        HeldState::Expired => State::Expired,
    };
    let web_app = match held.on {
        HeldOn::Users(owner, VdomName::WEB_APP, _) => format!("webApps/{}", owner.0),
        HeldOn::Users(..) | HeldOn::Vdoms(_) => String::new(),
    };
    let kinds = match held.on {
        HeldOn::Users(.., kinds) if kinds != Kinds::ALL => kinds.each().map(|kind| kind as i32).collect(),
        _ => Vec::new(),
    };
    v1::HeldRemoval {
        name: format!("heldRemovals/{}", held.id.0),
        id: held.id.0,
        kind: kind.into(),
        serial_number: held.serial.map(|serial| serial.to_string()).unwrap_or_default(),
        vdom,
        web_app,
        kinds,
        removals: held.names.iter().map(ToString::to_string).collect(),
        state: state.into(),
        requested_by: held.by.to_string(),
        decided_by: held.decided_by.to_string(),
        create_time: Some(held.created_at.into()),
        update_time: Some(held.updated_at.into()),
        expire_time: Some(held.expires_at().into()),
    }
}

pub(super) fn held_approved(operation: OperationId, answer: &Answer) -> v1::ApproveHeldRemovalResponse {
    let user = |item: &UserItem| v1::HeldUserOutcome {
        username: item.username.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: item.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
    };
    v1::ApproveHeldRemovalResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        vdoms: answer.items.iter().map(item).collect(),
        users: answer.users.iter().map(user).collect(),
        plan_id: plan(answer),
    }
}

pub(super) fn held_rejected(operation: OperationId, answer: &Answer) -> v1::RejectHeldRemovalResponse {
    v1::RejectHeldRemovalResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        plan_id: plan(answer),
    }
}

pub(super) fn state(deleted: bool) -> i32 {
    if deleted { v1::LifecycleState::Deleted.into() } else { v1::LifecycleState::Active.into() }
}

/// The name that people know. That of a cluster has the name of the cluster in it: it stays when another member becomes the primary.
pub(super) fn display_name(row: &AuthClientRow) -> String {
    let vdom = row.client.vdom;
    match (&row.cluster, row.serial) {
        (Some((_, cluster)), _) => format!("{cluster}-{vdom}"),
        (None, Some(serial)) => format!("{serial}-{vdom}"),
        (None, None) => row.web_app.clone().unwrap_or_else(|| format!("merged-{vdom}")),
    }
}

pub(super) fn auth_client(row: &AuthClientRow) -> v1::AuthClient {
    let AuthClient { id, owner, vdom, created_at, updated_at, deleted, .. } = &row.client;
    v1::AuthClient {
        name: format!("authClients/{}", id.0),
        id: id.0,
        display_name: display_name(row),
        serial_number: row.serial.map(|serial| serial.to_string()).unwrap_or_default(),
        vdom: if row.web_app.is_some() { String::new() } else { vdom.to_string() },
        realm: row.realm.clone(),
        state: state(deleted.is_some()),
        etag: row.client.etag(),
        create_time: Some((*created_at).into()),
        update_time: Some((*updated_at).into()),
        delete_time: deleted.as_ref().map(|tombstone| tombstone.at.into()),
        tombstone: deleted.as_deref().map(wire_deleting::tombstone),
        alias: row.client.alias.to_string(),
        users: row.client.users,
        cluster: row.cluster.as_ref().map(|(id, _)| format!("clusters/{}", id.0)).unwrap_or_default(),
        web_app: row.web_app.as_ref().map(|_| format!("webApps/{}", owner.0)).unwrap_or_default(),
    }
}

/// When a device was last heard of: by a call, or on its channel.
fn last_seen(device: &Device, presence: Option<&v1::DevicePresence>) -> Timestamp {
    let heard = presence.and_then(|presence| presence.last_heartbeat_time.as_ref()?.try_into().ok());
    device.last_seen_at.max(heard.unwrap_or(device.last_seen_at))
}

/// A device, and its channel if it had one since the server started.
pub(super) fn device(device: &Device, presence: Option<v1::DevicePresence>) -> v1::Device {
    v1::Device {
        name: format!("devices/{}", device.serial),
        id: device.id.0,
        serial_number: device.serial.to_string(),
        product: device.serial.product().to_owned(),
        info: Some((&device.info).into()),
        state: state(!device.is_active()),
        generation: device.generation,
        digest: device.digest.to_vec(),
        create_time: Some(device.created_at.into()),
        update_time: Some(device.updated_at.into()),
        delete_time: device.deleted.as_ref().map(|tombstone| tombstone.at.into()),
        tombstone: device.deleted.as_deref().map(wire_deleting::tombstone),
        recontact_attempts: device.contacts,
        last_recontact_time: (device.contacts > 0).then(|| device.last_seen_at.into()),
        last_seen_time: Some(last_seen(device, presence.as_ref()).into()),
        presence,
        cluster: device.cluster.map(|id| format!("clusters/{}", id.0)).unwrap_or_default(),
    }
}

/// What became of the VDOMs of an answer.
pub(super) fn vdoms(answer: &Answer) -> Vec<v1::VdomOutcome> {
    answer.items.iter().map(item).collect()
}

/// The summary of a sync that did nothing.
pub(super) fn users_summary(operation: OperationId, (users, digest): (i64, [u8; 32])) -> v1::SyncUsersSummary {
    let none = Some(v1::SyncUsersCount::default());
    v1::SyncUsersSummary {
        operation_id: operation.to_string(),
        status: "complete".to_owned(),
        create: none,
        modify: none,
        delete: none,
        users,
        users_digest: digest.to_vec(),
        next_sync_after: next_sync(),
        ..Default::default()
    }
}

/// The summary of a sync that was worked through.
pub(super) fn users_counted(operation: OperationId, counts: &Counts, users: (i64, [u8; 32])) -> v1::SyncUsersSummary {
    let count = |Count { success, failure }| Some(v1::SyncUsersCount { success, failure });
    v1::SyncUsersSummary {
        create: count(counts.create),
        modify: count(counts.modify),
        delete: count(counts.delete),
        unchanged: counts.unchanged,
        held: counts.held,
        ..users_summary(operation, users)
    }
}

/// How a sync of users ended, in a line of the debug feed.
pub(super) fn users_synced_in_words(counts: &Counts, is_rehearsed: bool) -> String {
    let Counts { create, modify, delete, unchanged, held } = counts;
    let failure = create.failure + modify.failure + delete.failure;
    let done = if is_rehearsed { " (validated only, nothing was done)" } else { "" };
    format!(
        "users synced: {} created, {} updated, {} removed, {unchanged} unchanged, {held} held, {failure} refused{done}",
        create.success, modify.success, delete.success
    )
}
