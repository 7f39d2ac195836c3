//! The requests of `WebAppService`, parsed.

use std::time::Duration;

use crate::device_users::UserTarget;
use crate::{Check, Invalid, RealmRef, Reason, Text, v1};

/// For how long an old secret may stay valid at most.
pub const MAX_GRACE: Duration = Duration::from_hours(30 * 24);

/// `WebAppService.CreateWebApp`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebApp {
    /// What people call it; empty for a name that is free.
    pub display_name: Text,
    /// The realm it is in; `None` for the realm "default".
    pub realm: Option<RealmRef>,
    /// What names the request; empty if nothing does.
    pub request_id: Text,
}

impl TryFrom<&v1::CreateWebAppRequest> for NewWebApp {
    type Error = Invalid;

    fn try_from(wire: &v1::CreateWebAppRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let display_name = check.take("display_name", Reason::TextMalformed, wire.display_name.trim().parse::<Text>());
        let realm = (!wire.realm.is_empty())
            .then(|| check.take("realm", Reason::NameMalformed, wire.realm.parse::<RealmRef>()))
            .flatten();
        let request_id = check.take("request_id", Reason::TextMalformed, wire.request_id.parse::<Text>());
        match (display_name, request_id) {
            (Some(display_name), Some(request_id)) if check.is_clean() => Ok(Self { display_name, realm, request_id }),
            _ => Err(check.invalid()),
        }
    }
}

/// Reads the id of a Web app: `webApps/ID`.
fn id_of(name: &str) -> Option<i64> {
    name.strip_prefix("webApps/").and_then(|id| id.parse().ok()).filter(|id| *id > 0)
}

const SHAPE: &str = "must be \"webApps/ID\", as in webApps/1007";

/// Reads the field `name` of a request about a Web app: `webApps/ID`.
pub fn web_app_name(name: &str) -> Result<i64, Invalid> {
    id_of(name).ok_or_else(|| Invalid::field("name", Reason::NameMalformed, SHAPE))
}

/// Reads the Web app that a target names: none for the caller's own.
pub(crate) fn web_app_target(check: &mut Check, name: &str) -> Option<UserTarget> {
    if name.is_empty() {
        return Some(UserTarget::WebApp(None));
    }
    let id = check.take("target.web_app", Reason::NameMalformed, id_of(name).ok_or(SHAPE))?;
    Some(UserTarget::WebApp(Some(id)))
}

/// Reads the new name of a Web app, and which one it is.
pub fn web_app_rename(wire: &v1::UpdateWebAppRequest) -> Result<(i64, Text), Invalid> {
    let mut check = Check::default();
    let id = check.take("name", Reason::NameMalformed, id_of(&wire.name).ok_or(SHAPE));
    let text = check.take("display_name", Reason::TextMalformed, wire.display_name.trim().parse::<Text>());
    if wire.display_name.trim().is_empty() {
        check.refuse("display_name", Reason::FieldInvalid, "must not be empty");
    }
    match (id, text) {
        (Some(id), Some(text)) if check.is_clean() => Ok((id, text)),
        _ => Err(check.invalid()),
    }
}

/// Reads which secret is to be replaced, and for how long the old one stays valid.
pub fn web_app_rotation(wire: &v1::RotateWebAppSecretRequest) -> Result<(i64, Duration), Invalid> {
    let mut check = Check::default();
    let id = check.take("name", Reason::NameMalformed, id_of(&wire.name).ok_or(SHAPE));
    let grace = wire.grace.map_or(Some(Duration::ZERO), |grace| {
        let within = Duration::try_from(grace).ok().filter(|grace| *grace <= MAX_GRACE);
        check.take("grace", Reason::FieldInvalid, within.ok_or("must be 0 to 30 days"))
    });
    match (id, grace) {
        (Some(id), Some(grace)) => Ok((id, grace)),
        _ => Err(check.invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_of_a_web_app_is_named_at_once() {
        let wire = v1::CreateWebAppRequest {
            display_name: "\u{1b}".to_owned(),
            realm: "x".to_owned(),
            request_id: "r".repeat(65),
            ..Default::default()
        };
        let invalid = NewWebApp::try_from(&wire).unwrap_err();
        let fields: Vec<_> = invalid.violations().iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["display_name", "realm", "request_id"]);
    }

    #[test]
    fn a_grace_is_0_to_30_days() {
        let wire = |seconds, nanos| v1::RotateWebAppSecretRequest {
            name: "webApps/7".to_owned(),
            grace: Some(prost_types::Duration { seconds, nanos }),
            ..Default::default()
        };
        assert_eq!(web_app_rotation(&wire(2_592_000, 0)).unwrap(), (7, MAX_GRACE));
        assert!(web_app_rotation(&wire(2_592_000, 1)).is_err());
        assert!(web_app_rotation(&wire(-1, 0)).is_err());
    }
}
