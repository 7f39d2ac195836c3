//! Users on auth clients: how a person comes with its first reference and goes with its last, and what is counted on the way.

use muster_proto::user::digest;
use muster_proto::{UserKey, VdomName};

use super::auth_client::later;
use super::{Context, OwnerId, State, Stop, UserAttributes};

/// The digest of one user, as it goes into the digest of its auth client.
pub(super) fn digest_of(attributes: &UserAttributes) -> [u8; 32] {
    digest(
        attributes.username.as_str(),
        attributes.email.as_str(),
        attributes.mobile.as_ref().map_or("", |mobile| mobile.as_str()),
        attributes.kind,
        attributes.active,
    )
}

/// Puts a user into the digest of an auth client, or takes it out: both are the same.
pub(super) fn toggle(of_client: &mut [u8; 32], of_user: &[u8; 32]) {
    for (byte, other) in of_client.iter_mut().zip(of_user) {
        *byte ^= other;
    }
}

/// Takes a user off an auth client. The person goes with the last reference.
pub(super) fn detach(
    state: &mut State,
    owner: OwnerId,
    vdom: VdomName,
    key: &UserKey,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let Some((client, realm)) = state.client(owner, vdom)?.map(|client| (client.id, client.realm)) else {
        return Ok(());
    };
    let Some(of_user) = state
        .user_ref(client, key)?
        .filter(|found| found.deleted_at.is_none())
        .map(|found| digest_of(&found.attributes))
    else {
        return Ok(());
    };
    // Looked up before anything changes.
    state.user(realm, key)?;
    state.realm(realm)?;
    if let Some(found) = state.user_refs.change(&(client, key.clone())) {
        found.deleted_at = Some(context.now);
        found.updated_at = later(found.updated_at, context.now);
    }
    if let Some(client) = state.auth_clients.change(&(owner, vdom)) {
        client.users -= 1;
        toggle(&mut client.users_digest, &of_user);
        client.changed(context.now);
    }
    let mut gone = false;
    if let Some(user) = state.users.change(&(realm, key.clone())) {
        user.references -= 1;
        user.updated_at = later(user.updated_at, context.now);
        if user.references <= 0 {
            user.deleted_at = Some(context.now);
            gone = true;
        }
    }
    if gone {
        if let Some(realm) = state.realms.change(&realm) {
            realm.users -= 1;
        }
        if let Some(settings) = state.settings.change(&()) {
            settings.users -= 1;
        }
    }
    Ok(())
}

/// Takes every user off an auth client that is being removed.
pub(super) fn detach_all(state: &mut State, owner: OwnerId, vdom: VdomName, context: &Context<'_>) -> Result<(), Stop> {
    let Some(client) = state.client(owner, vdom)?.filter(|client| client.users > 0).map(|client| client.id) else {
        return Ok(());
    };
    let present = state.user_refs_of(client)?.filter(|found| found.deleted_at.is_none());
    let keys: Vec<UserKey> = present.map(|found| found.key.clone()).collect();
    for key in keys {
        detach(state, owner, vdom, &key, context)?;
    }
    Ok(())
}
