//! From domain types to the messages about deleting and undeleting.

use muster_proto::deleting::DeletionTerms;
use muster_proto::{Invalid, v1};

use super::wire::{auth_client, item, plan, reason};
use crate::operation::OperationId;
use crate::registry::{After, Answer, DeleteMode, Tombstone, UserItem, Verdict};
use crate::store::AuthClientRow;

/// What an admin says of a deletion.
pub(super) fn verdict(mode: i32, why: &str) -> Result<Verdict, Invalid> {
    let DeletionTerms { mode, why } = DeletionTerms::parse(mode, why)?;
    let mode = mode.and_then(|mode| DeleteMode::from_number(i64::from(i32::from(mode))));
    Ok(Verdict { mode, why })
}

pub(super) fn tombstone(tombstone: &Tombstone) -> v1::Tombstone {
    let mode = match tombstone.mode {
        DeleteMode::Evict => v1::DeleteMode::Evict,
        DeleteMode::Ban => v1::DeleteMode::Ban,
        DeleteMode::Retire => v1::DeleteMode::Retire,
    };
    v1::Tombstone {
        mode: mode.into(),
        deleted_by: tombstone.by.to_string(),
        why: tombstone.why.to_string(),
        delete_time: Some(tombstone.at.into()),
    }
}

fn restored_user(item: &UserItem) -> v1::RestoredUser {
    v1::RestoredUser {
        vdom: item.vdom.to_string(),
        username: item.username.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: item.reason.map(|reason| reason.fix().to_owned()).unwrap_or_default(),
    }
}

pub(super) fn device_undeleted(operation: OperationId, answer: &Answer) -> v1::UndeleteDeviceResponse {
    v1::UndeleteDeviceResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        vdoms: answer.items.iter().map(item).collect(),
        users: answer.users.iter().map(restored_user).collect(),
        plan_id: plan(answer),
    }
}

pub(super) fn device_purged(operation: OperationId, answer: &Answer) -> v1::PurgeDeviceResponse {
    v1::PurgeDeviceResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        vdoms: answer.items.iter().map(item).collect(),
        users: answer.purged_users,
        plan_id: plan(answer),
    }
}

pub(super) fn auth_client_undeleted(
    operation: OperationId,
    answer: &Answer,
    mut row: AuthClientRow,
) -> v1::UndeleteAuthClientResponse {
    if let After::AuthClient(client) = &answer.after {
        row.client = client.clone();
    }
    v1::UndeleteAuthClientResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        auth_client: Some(auth_client(&row)),
        users: answer.users.iter().map(restored_user).collect(),
        plan_id: plan(answer),
    }
}
