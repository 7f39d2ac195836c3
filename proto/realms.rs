//! What admins ask of realms and of the auth clients in them, parsed.

use sha2::{Digest as _, Sha256};

use crate::admin::AuthClientName;
use crate::mask::Mask;
use crate::{Check, Invalid, RealmName, RealmRef, Reason, Text, v1};

/// How many auth clients one call may move.
pub const MAX_MOVED: usize = 500;

/// A realm to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRealm {
    /// Its name.
    pub name: RealmName,
    /// What people say of it.
    pub description: Text,
    /// How many users it may have; `None` for no quota of its own.
    pub user_quota: Option<i64>,
    /// The hash of the request, if it has an id: the same request is answered with the same realm.
    pub request: Option<[u8; 32]>,
}

/// What changes about a realm; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealmChange {
    /// Its name.
    pub name: Option<RealmName>,
    /// What people say of it.
    pub description: Option<Text>,
    /// How many users it may have; `Some(None)` for no quota of its own.
    pub user_quota: Option<Option<i64>>,
}

/// A number of users that is not negative.
pub(crate) fn quota(check: &mut Check, field: &str, quota: Option<i64>) -> Option<i64> {
    if quota.is_some_and(i64::is_negative) {
        check.refuse(field, Reason::FieldInvalid, "must not be negative; leave it unset for no quota");
    }
    quota
}

impl TryFrom<&v1::CreateRealmRequest> for NewRealm {
    type Error = Invalid;

    fn try_from(request: &v1::CreateRealmRequest) -> Result<Self, Invalid> {
        let v1::CreateRealmRequest { realm, request_id, .. } = request;
        let v1::Realm { display_name, description, user_quota, .. } = realm.clone().unwrap_or_default();
        let mut check = Check::default();
        let name = check.take("realm.display_name", Reason::FieldInvalid, display_name.parse::<RealmName>());
        let description = check.take("realm.description", Reason::TextMalformed, description.parse::<Text>());
        let user_quota = quota(&mut check, "realm.user_quota", user_quota);
        let id = check.take("request_id", Reason::TextMalformed, request_id.parse::<Text>());
        match (name, description, id) {
            (Some(name), Some(description), Some(id)) if check.is_clean() => {
                let request = (!id.is_empty()).then(|| {
                    let content = format!("{:?}", (id.as_str(), name.as_str(), description.as_str(), user_quota));
                    Sha256::digest(content).into()
                });
                Ok(Self { name, description, user_quota, request })
            }
            _ => Err(check.invalid()),
        }
    }
}

impl TryFrom<&v1::UpdateRealmRequest> for RealmChange {
    type Error = Invalid;

    fn try_from(request: &v1::UpdateRealmRequest) -> Result<Self, Invalid> {
        let v1::Realm { display_name, description, user_quota, .. } = request.realm.clone().unwrap_or_default();
        let mut check = Check::default();
        let fields = ["display_name", "description", "user_quota"];
        let mask = Mask::read(request.update_mask.as_ref(), &fields, &mut check);
        let mut change = Self::default();
        if mask.has("display_name", !display_name.is_empty()) {
            change.name = check.take("realm.display_name", Reason::FieldInvalid, display_name.parse::<RealmName>());
        }
        if mask.has("description", !description.is_empty()) {
            change.description = check.take("realm.description", Reason::TextMalformed, description.parse::<Text>());
        }
        if mask.has("user_quota", user_quota.is_some()) {
            change.user_quota = Some(quota(&mut check, "realm.user_quota", user_quota));
        }
        Mask::require(change != Self::default(), &mut check);
        if check.is_clean() { Ok(change) } else { Err(check.invalid()) }
    }
}

/// A move of auth clients, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The auth clients, each named once in one way.
    pub clients: Vec<AuthClientName>,
    /// Where to.
    pub realm: RealmRef,
}

impl TryFrom<&v1::MoveAuthClientsRequest> for Move {
    type Error = Invalid;

    fn try_from(request: &v1::MoveAuthClientsRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let names = &request.auth_clients;
        if names.is_empty() || names.len() > MAX_MOVED {
            let description = format!("must name 1 to {MAX_MOVED} auth clients");
            check.refuse("auth_clients", Reason::FieldInvalid, description);
            return Err(check.invalid());
        }
        let mut clients = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let field = format!("auth_clients[{index}]");
            match AuthClientName::parse(name) {
                Ok(name) if clients.contains(&name) => check.refuse(field, Reason::FieldInvalid, "is named twice"),
                Ok(name) => clients.push(name),
                Err(invalid) => {
                    let description = invalid.violations().first().map(|it| it.description.clone()).unwrap_or_default();
                    check.refuse(field, invalid.reason(), description);
                }
            }
        }
        let realm = match RealmRef::parse("realm", &request.realm) {
            Ok(realm) => Some(realm),
            Err(invalid) => {
                check.absorb(invalid);
                None
            }
        };
        match realm {
            Some(realm) if check.is_clean() => Ok(Self { clients, realm }),
            _ => Err(check.invalid()),
        }
    }
}

/// What changes about an auth client; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthClientChange {
    /// The name that an admin gives it.
    pub alias: Option<Text>,
    /// The realm it is in.
    pub realm: Option<RealmRef>,
}

impl TryFrom<&v1::UpdateAuthClientRequest> for AuthClientChange {
    type Error = Invalid;

    fn try_from(request: &v1::UpdateAuthClientRequest) -> Result<Self, Invalid> {
        let v1::AuthClient { alias, realm, .. } = request.auth_client.clone().unwrap_or_default();
        let mut check = Check::default();
        let mask = Mask::read(request.update_mask.as_ref(), &["alias", "realm"], &mut check);
        let mut change = Self::default();
        if mask.has("alias", !alias.is_empty()) {
            change.alias = check.take("auth_client.alias", Reason::TextMalformed, alias.parse::<Text>());
        }
        if mask.has("realm", !realm.is_empty()) {
            // What GetAuthClient shows as the realm of an auth client can be given back.
            let named = if realm.starts_with("realms/") { realm } else { format!("realms/{realm}") };
            match RealmRef::parse("auth_client.realm", &named) {
                Ok(realm) => change.realm = Some(realm),
                Err(invalid) => check.absorb(invalid),
            }
        }
        Mask::require(change != Self::default(), &mut check);
        if check.is_clean() { Ok(change) } else { Err(check.invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_of_a_new_realm_is_named_at_once() {
        let realm = v1::Realm {
            display_name: "12".to_owned(),
            description: "x".repeat(65),
            user_quota: Some(-1),
            ..v1::Realm::default()
        };
        let request_id = "\u{1b}".to_owned();
        let request = v1::CreateRealmRequest { realm: Some(realm), request_id, ..Default::default() };
        let invalid = NewRealm::try_from(&request).unwrap_err();
        let fields: Vec<_> = invalid.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["realm.display_name", "realm.description", "realm.user_quota", "request_id"]);
    }

    #[test]
    fn a_request_is_known_by_its_id_and_its_content() {
        let request = |id: &str, quota| {
            let realm = Some(v1::Realm { display_name: "a".to_owned(), user_quota: quota, ..Default::default() });
            let request = v1::CreateRealmRequest { realm, request_id: id.to_owned(), ..Default::default() };
            NewRealm::try_from(&request).unwrap().request
        };
        assert_eq!(request("", None), None);
        assert_eq!(request("1", Some(3)), request("1", Some(3)));
        assert_ne!(request("1", Some(3)), request("2", Some(3)));
        assert_ne!(request("1", Some(3)), request("1", None));
    }

    #[test]
    fn a_move_names_each_auth_client_once() {
        let request = |names: &[&str]| v1::MoveAuthClientsRequest {
            auth_clients: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        let invalid = Move::try_from(&request(&["authClients/1", "authClients/x", "authClients/1"])).unwrap_err();
        let fields: Vec<_> = invalid.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["auth_clients[1]", "auth_clients[2]", "realm"]);
        assert_eq!(Move::try_from(&request(&[])).unwrap_err().violations()[0].field, "auth_clients");
    }

    #[test]
    fn the_realm_of_an_auth_client_can_be_given_back_as_it_is_shown() {
        let request = |realm: &str| v1::UpdateAuthClientRequest {
            auth_client: Some(v1::AuthClient { realm: realm.to_owned(), ..Default::default() }),
            ..Default::default()
        };
        let name = Some(RealmRef::Name("default".parse().unwrap()));
        for shown in ["default", "realms/default"] {
            assert_eq!(AuthClientChange::try_from(&request(shown)).unwrap().realm, name);
        }
        assert!(AuthClientChange::try_from(&request("")).is_err());
    }
}
