//! From domain types to the messages of `muster.v1`: realms, settings, users.

use muster_proto::user::{masked_email, masked_mobile};
use muster_proto::{MobileNumber, v1};

use super::wire::{auth_client, display_name, fix, plan, reason, state};
use crate::operation::OperationId;
use crate::registry::{After, Answer, ClientItem, NamedClient, Realm, RealmId, Settings, User, UserItem, UserRef};
use crate::store::{AuthClientRow, UserRow};

/// The auth client as the rules find it again.
pub(super) fn named(row: &AuthClientRow) -> NamedClient {
    let client = &row.client;
    NamedClient { id: client.id, owner: client.owner, vdom: client.vdom, label: display_name(row).into() }
}

pub(super) fn realm(realm: &Realm) -> v1::Realm {
    v1::Realm {
        name: format!("realms/{}", realm.id.0),
        id: realm.id.0,
        display_name: realm.name.to_string(),
        description: realm.description.to_string(),
        user_quota: realm.user_quota,
        users: realm.users,
        auth_clients: realm.clients,
        is_default: realm.id == RealmId::DEFAULT,
        state: state(!realm.is_active()),
        etag: realm.etag(),
        create_time: Some(realm.created_at.into()),
        update_time: Some(realm.updated_at.into()),
        delete_time: realm.deleted_at.map(Into::into),
    }
}

fn realm_after(answer: &Answer) -> Option<v1::Realm> {
    match &answer.after {
        After::Realm(after) => Some(realm(after)),
        _ => None,
    }
}

pub(super) fn realm_created(operation: OperationId, answer: &Answer, validate_only: bool) -> v1::CreateRealmResponse {
    let mut realm = realm_after(answer);
    if let Some(realm) = realm.as_mut().filter(|_| validate_only && answer.outcome == v1::Outcome::Created) {
        // The id is given to whatever is made next, which need not be this realm.
        (realm.name, realm.id) = (String::new(), 0);
    }
    v1::CreateRealmResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        fix: fix(answer.reason),
        realm,
        plan_id: plan(answer),
    }
}

pub(super) fn realm_updated(operation: OperationId, answer: &Answer) -> v1::UpdateRealmResponse {
    v1::UpdateRealmResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        fix: fix(answer.reason),
        realm: realm_after(answer),
        plan_id: plan(answer),
    }
}

pub(super) fn realm_deleted(operation: OperationId, answer: &Answer) -> v1::DeleteRealmResponse {
    v1::DeleteRealmResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        fix: fix(answer.reason),
        realm: realm_after(answer),
        plan_id: plan(answer),
    }
}

pub(super) fn realm_undeleted(operation: OperationId, answer: &Answer) -> v1::UndeleteRealmResponse {
    v1::UndeleteRealmResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        fix: fix(answer.reason),
        realm: realm_after(answer),
        plan_id: plan(answer),
    }
}

pub(super) fn moved(operation: OperationId, answer: &Answer) -> v1::MoveAuthClientsResponse {
    v1::MoveAuthClientsResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        auth_clients: answer.clients.iter().map(client_item).collect(),
        realm: realm_after(answer),
        plan_id: plan(answer),
    }
}

pub(super) fn claimed(operation: OperationId, answer: &Answer) -> v1::ClaimDeviceResponse {
    let v1::MoveAuthClientsResponse { operation_id, outcome, auth_clients, realm, plan_id } = moved(operation, answer);
    v1::ClaimDeviceResponse { operation_id, outcome, auth_clients, realm, plan_id }
}

fn client_item(item: &ClientItem) -> v1::AuthClientOutcome {
    v1::AuthClientOutcome {
        auth_client: format!("authClients/{}", item.client.id.0),
        display_name: item.client.label.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: fix(item.reason),
        users_total: item.users_total,
        users: item.users.iter().map(user_item).collect(),
    }
}

fn user_item(item: &UserItem) -> v1::AuthClientUserOutcome {
    v1::AuthClientUserOutcome {
        username: item.username.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: fix(item.reason),
        detail: item.detail.clone(),
    }
}

pub(super) fn auth_client_updated(
    operation: OperationId,
    answer: &Answer,
    mut row: AuthClientRow,
) -> v1::UpdateAuthClientResponse {
    if let After::AuthClient(client) = &answer.after {
        row.client = client.clone();
    }
    v1::UpdateAuthClientResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        auth_client: Some(auth_client(&row)),
        users: answer.clients.iter().flat_map(|item| &item.users).map(user_item).collect(),
        plan_id: plan(answer),
    }
}

pub(super) fn settings(settings: &Settings) -> v1::Settings {
    let changed = settings.updated_at.micros() > 0;
    v1::Settings {
        auto_create_auth_clients: Some(settings.auto_create_auth_clients),
        multi_realm_mode: Some(settings.multi_realm_mode),
        share_quota: Some(settings.share_quota),
        fold_usernames: Some(settings.fold_usernames),
        user_quota: settings.user_quota,
        guard_vdoms: Some(settings.guard_vdoms),
        guard_vdom_percent: Some(settings.guard_vdom_percent),
        guard_users: Some(settings.guard_users),
        retention_days: Some(settings.retention_days),
        users: settings.users,
        etag: settings.etag(),
        update_time: changed.then(|| settings.updated_at.into()),
    }
}

pub(super) fn settings_updated(operation: OperationId, answer: &Answer) -> v1::UpdateSettingsResponse {
    let settings = match &answer.after {
        After::Settings(after) => Some(settings(after)),
        _ => None,
    };
    v1::UpdateSettingsResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        fix: fix(answer.reason),
        settings,
        plan_id: plan(answer),
    }
}

pub(super) fn user(user: &User, realm: &str) -> v1::User {
    v1::User {
        name: format!("users/{}", user.id.0),
        id: user.id.0,
        realm: realm.to_owned(),
        username: user.username.to_string(),
        disabled: user.disabled,
        auth_clients: user.references,
        state: state(user.deleted_at.is_some()),
        etag: user.etag(),
        create_time: Some(user.created_at.into()),
        update_time: Some(user.updated_at.into()),
        delete_time: user.deleted_at.map(Into::into),
    }
}

/// The user after a command; it is in the realm in which it was found.
pub(super) fn user_after(answer: &Answer, row: &UserRow) -> v1::User {
    match &answer.after {
        After::User(after) => user(after, &row.realm),
        _ => user(&row.user, &row.realm),
    }
}

pub(super) fn user_with_references(row: &UserRow, whole: bool) -> v1::GetUserResponse {
    v1::GetUserResponse {
        user: Some(user(&row.user, &row.realm)),
        references: row.references.iter().map(|(found, client)| reference(found, client, whole)).collect(),
    }
}

fn reference(found: &UserRef, client: &AuthClientRow, whole: bool) -> v1::UserReference {
    let attributes = &found.attributes;
    let email = attributes.email.as_str();
    let mobile = attributes.mobile.as_ref().map_or("", MobileNumber::as_str);
    v1::UserReference {
        auth_client: format!("authClients/{}", found.client.0),
        auth_client_display_name: display_name(client),
        username: attributes.username.to_string(),
        email: if whole { email.to_owned() } else { masked_email(email) },
        mobile_number: if whole { mobile.to_owned() } else { masked_mobile(mobile) },
        kind: attributes.kind.as_str().to_owned(),
        active: attributes.active,
        create_time: Some(found.created_at.into()),
        update_time: Some(found.updated_at.into()),
    }
}

pub(super) fn user_deleted(operation: OperationId, answer: &Answer, row: &UserRow) -> v1::DeleteUserResponse {
    let removal = |item: &ClientItem| v1::UserRemoval {
        auth_client: format!("authClients/{}", item.client.id.0),
        display_name: item.client.label.to_string(),
        outcome: item.outcome.into(),
        reason: reason(item.reason),
        fix: fix(item.reason),
    };
    v1::DeleteUserResponse {
        operation_id: operation.to_string(),
        outcome: answer.outcome.into(),
        reason: reason(answer.reason),
        fix: fix(answer.reason),
        user: Some(user_after(answer, row)),
        auth_clients: answer.clients.iter().map(removal).collect(),
        plan_id: plan(answer),
    }
}
