//! The requests of `AdminTokenService`, parsed.

use std::collections::BTreeSet;

use crate::{Check, Invalid, RealmRef, Reason, Text, Timestamp, v1};

/// How many realms one token may reach into.
const MAX_REALMS: usize = 100;

/// `AdminTokenService.CreateAdminToken`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAdminToken {
    /// What people call it; not empty.
    pub display_name: Text,
    /// The realms it reaches into, at least one; `None` for everything.
    pub realms: Option<BTreeSet<RealmRef>>,
    /// Whether it may only read.
    pub read_only: bool,
    /// When it can no longer be used.
    pub expires_at: Option<Timestamp>,
    /// What names the request; empty if nothing does.
    pub request_id: Text,
}

impl NewAdminToken {
    /// Reads the request; `now` is when it came.
    pub fn parse(wire: &v1::CreateAdminTokenRequest, now: Timestamp) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let display_name = check.take("display_name", Reason::TextMalformed, wire.display_name.parse::<Text>());
        if wire.display_name.trim().is_empty() {
            check.refuse("display_name", Reason::FieldInvalid, "must not be empty");
        }
        let mut realms = BTreeSet::new();
        for (index, realm) in wire.realms.iter().take(MAX_REALMS + 1).enumerate() {
            realms.extend(check.take(&format!("realms[{index}]"), Reason::NameMalformed, realm.parse::<RealmRef>()));
        }
        if wire.realms.len() > MAX_REALMS {
            check.refuse("realms", Reason::FieldInvalid, format_args!("must have at most {MAX_REALMS} realms"));
        }
        let realms = match wire.role() {
            v1::AdminRole::Unspecified => {
                check.refuse("role", Reason::FieldInvalid, "must be ADMIN_ROLE_GLOBAL or ADMIN_ROLE_REALM");
                None
            }
            v1::AdminRole::Global if !wire.realms.is_empty() => {
                check.refuse("realms", Reason::FieldsConflict, "must be empty for ADMIN_ROLE_GLOBAL");
                None
            }
            v1::AdminRole::Global => None,
            v1::AdminRole::Realm => {
                if wire.realms.is_empty() {
                    check.refuse("realms", Reason::FieldInvalid, "must name a realm for ADMIN_ROLE_REALM");
                }
                Some(realms)
            }
        };
        let expires_at = wire.expire_time.as_ref().and_then(|time| {
            let time = check.take("expire_time", Reason::FieldInvalid, Timestamp::try_from(time))?;
            if time <= now {
                check.refuse("expire_time", Reason::FieldInvalid, "must be in the future");
            }
            Some(time)
        });
        let request_id = check.take("request_id", Reason::TextMalformed, wire.request_id.parse::<Text>());
        match (display_name, request_id) {
            (Some(display_name), Some(request_id)) if check.is_clean() => {
                Ok(Self { display_name, realms, read_only: wire.read_only, expires_at, request_id })
            }
            _ => Err(check.invalid()),
        }
    }
}

/// Reads the field `name` of a request about a token: `adminTokens/ID`.
pub fn admin_token_name(name: &str) -> Result<i64, Invalid> {
    name.strip_prefix("adminTokens/").and_then(|id| id.parse().ok()).ok_or_else(|| {
        Invalid::field("name", Reason::NameMalformed, "must be \"adminTokens/ID\", as in adminTokens/1007")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn fields(wire: &v1::CreateAdminTokenRequest) -> Vec<String> {
        let invalid = NewAdminToken::parse(wire, NOW).unwrap_err();
        invalid.violations().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn a_token_without_a_role_or_with_half_of_one_is_refused() {
        let wire = v1::CreateAdminTokenRequest { display_name: "portal".to_owned(), ..Default::default() };
        assert_eq!(fields(&wire), ["role"]);
        let global = v1::CreateAdminTokenRequest {
            role: v1::AdminRole::Global.into(),
            realms: vec!["realms/default".to_owned()],
            ..wire.clone()
        };
        assert_eq!(fields(&global), ["realms"]);
        let nowhere = v1::CreateAdminTokenRequest { role: v1::AdminRole::Realm.into(), ..wire };
        assert_eq!(fields(&nowhere), ["realms"]);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let wire = v1::CreateAdminTokenRequest {
            display_name: "\u{1b}".to_owned(),
            role: 7,
            realms: vec!["x".to_owned()],
            expire_time: Some(NOW.into()),
            request_id: "r".repeat(65),
            ..Default::default()
        };
        assert_eq!(fields(&wire), ["display_name", "realms[0]", "role", "expire_time", "request_id"]);
    }
}
