//! The tokens of admins: what each allows. The secret itself is known by its hash alone.

use muster_proto::admin_token::NewAdminToken;
use muster_proto::{RealmRef, Reason, Text, Timestamp};

use super::{
    AdminTokenId, After, Answer, Change, Context, Name, Outcome, Planned, Reach, Realm, Refusal, SecretHash, State,
    Stop, Subject,
};

/// What a token allows its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Its id.
    pub id: AdminTokenId,
    /// What its bearer shows is known by this.
    pub hash: SecretHash,
    /// What people call it; no two that are in use have the same.
    pub display_name: Text,
    /// How far it reaches.
    pub reach: Reach,
    /// Whether it may only read.
    pub read_only: bool,
    /// What names the request that made it; empty if nothing does.
    pub request_id: Text,
    /// Who made it; empty for the first one.
    pub created_by: Box<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it can no longer be used; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; `None` if it was not.
    pub revoked_at: Option<Timestamp>,
}

impl AdminToken {
    /// Whether it can be used.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether it may do everything, now.
    fn rules(&self, now: Timestamp) -> bool {
        self.is_usable(now) && self.reach == Reach::Everything && !self.read_only
    }
}

/// The realm that a request names, if it is there.
pub(super) fn realm_named<'a>(state: &'a State, named: &RealmRef) -> Result<Option<&'a Realm>, Stop> {
    let found = match named {
        RealmRef::Id(id) => state.realm(super::RealmId(*id))?,
        RealmRef::Name(name) => state.realm_named(name)?,
    };
    Ok(found.filter(|realm| realm.deleted_at.is_none()))
}

/// The realm that a request names, which must be there and within reach.
pub(super) fn realm_for<'a>(state: &'a State, named: &RealmRef, context: &Context<'_>) -> Result<&'a Realm, Stop> {
    realm_named(state, named)?
        .filter(|realm| context.may_touch(realm.id))
        .ok_or_else(|| Refusal::new(Reason::RealmUnknown, format!("there is no realm {named}")).into())
}

/// Makes a token.
pub(super) fn create(
    state: &mut State,
    new: &NewAdminToken,
    hash: SecretHash,
    context: &mut Context<'_>,
) -> Result<Planned, Stop> {
    let asked = |token: &&AdminToken| !new.request_id.is_empty() && token.request_id == new.request_id;
    if let Some(made) = state.admin_tokens()?.find(asked) {
        let after = After::AdminToken(Box::new(made.clone()));
        let reason = Some(Reason::SecretShownBefore);
        return Ok(Planned::unchanged(Answer { reason, after, ..Answer::new(Outcome::Unchanged) }));
    }
    let has_name = |it: &AdminToken| it.is_usable(context.now) && it.display_name == new.display_name;
    if state.admin_tokens()?.any(has_name) {
        let message = format!("there is an admin token {:?} already", new.display_name.as_str());
        return Err(Refusal::new(Reason::AdminTokenNameTaken, message).into());
    }
    let reach = match &new.realms {
        None => Reach::Everything,
        Some(realms) => {
            let ids: Result<Vec<_>, Stop> =
                realms.iter().map(|realm| realm_for(state, realm, context).map(|realm| realm.id)).collect();
            ids?.into_iter().collect()
        }
    };
    let token = AdminToken {
        id: AdminTokenId(context.id()),
        hash,
        display_name: new.display_name.clone(),
        reach,
        read_only: new.read_only,
        request_id: new.request_id.clone(),
        created_by: context.caller.into(),
        created_at: context.now,
        expires_at: new.expires_at,
        revoked_at: None,
    };
    let mut changes = vec![
        Change::state(Subject::Itself, "", "active"),
        Change::value("display_name", "", &token.display_name),
        Change::value("role", "", role(new)),
    ];
    if let Some(expires_at) = token.expires_at {
        changes.push(Change::value("expire_time", "", expires_at));
    }
    Ok(changed(state, token, Outcome::Created, changes))
}

/// A role in words, as in "read-only, of realms/7, realms/8".
fn role(new: &NewAdminToken) -> String {
    let access = if new.read_only { "read-only" } else { "read and write" };
    let extent = match &new.realms {
        None => "global".to_owned(),
        Some(realms) => format!("of {}", realms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    format!("{access}, {extent}")
}

/// Revokes a token.
pub(super) fn revoke(state: &mut State, id: AdminTokenId, context: &Context<'_>) -> Result<Planned, Stop> {
    let found = state.admin_tokens()?.find(|token| token.id == id).cloned();
    let Some(mut token) = found else {
        let message = format!("there never was adminTokens/{}", id.0);
        return Err(Refusal::new(Reason::AdminTokenUnknown, message).into());
    };
    if token.revoked_at.is_some() {
        let after = After::AdminToken(Box::new(token));
        let reason = Some(Reason::AlreadyDeleted);
        return Ok(Planned::unchanged(Answer { reason, after, ..Answer::new(Outcome::Unchanged) }));
    }
    let another = state.admin_tokens()?.any(|other| other.id != id && other.rules(context.now));
    if token.rules(context.now) && !another {
        let message = format!("{:?} is the last global admin token that may write", token.display_name.as_str());
        return Err(Refusal::new(Reason::LastAdmin, message).into());
    }
    token.revoked_at = Some(context.now);
    Ok(changed(state, token, Outcome::Removed, vec![Change::state(Subject::Itself, "active", "revoked")]))
}

fn changed(state: &mut State, token: AdminToken, outcome: Outcome, changes: Vec<Change>) -> Planned {
    let id = token.id;
    state.admin_tokens.put(id, token.clone());
    let answer = Answer { after: After::AdminToken(Box::new(token)), ..Answer::new(outcome) };
    Planned::about(answer, id.0, Name::Resource(format!("adminTokens/{}", id.0).into()), changes)
}
