//! Changes of the settings, parsed.

use std::ops::RangeInclusive;

use crate::mask::Mask;
use crate::realms::quota;
use crate::{Check, Invalid, Reason, v1};

/// What changes about the settings; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// Whether a first contact registers a device.
    pub auto_create_auth_clients: Option<bool>,
    /// Whether each new auth client gets a realm of its own.
    pub multi_realm_mode: Option<bool>,
    /// Whether realms share what the register may have.
    pub share_quota: Option<bool>,
    /// Whether letter case does not count in usernames.
    pub fold_usernames: Option<bool>,
    /// How many users the register may have; `Some(None)` for no limit.
    pub user_quota: Option<Option<i64>>,
    /// Removals of VDOMs beyond this many are held.
    pub guard_vdoms: Option<i64>,
    /// Removals of VDOMs beyond this part of all, in percent, are held.
    pub guard_vdom_percent: Option<i64>,
    /// Removals of users beyond this many are held.
    pub guard_users: Option<i64>,
    /// How many days what was deleted can be restored.
    pub retention_days: Option<i64>,
}

/// The settings that can be changed.
const FIELDS: [&str; 9] = [
    "auto_create_auth_clients",
    "multi_realm_mode",
    "share_quota",
    "fold_usernames",
    "user_quota",
    "guard_vdoms",
    "guard_vdom_percent",
    "guard_users",
    "retention_days",
];

/// The value of a setting that is named; one that is named must have a value.
fn named<T>(mask: &Mask<'_>, check: &mut Check, field: &str, value: Option<T>) -> Option<T> {
    if !mask.has(field, value.is_some()) {
        return None;
    }
    if value.is_none() {
        check.refuse(format!("settings.{field}"), Reason::FieldInvalid, "must be set, because update_mask names it");
    }
    value
}

fn number(
    mask: &Mask<'_>,
    check: &mut Check,
    field: &str,
    value: Option<i64>,
    range: RangeInclusive<i64>,
) -> Option<i64> {
    let value = named(mask, check, field, value)?;
    if range.contains(&value) {
        return Some(value);
    }
    let description = match *range.end() {
        i64::MAX => "must not be negative".to_owned(),
        end => format!("must be {} to {end}", range.start()),
    };
    check.refuse(format!("settings.{field}"), Reason::FieldInvalid, description);
    None
}

impl TryFrom<&v1::UpdateSettingsRequest> for SettingsChange {
    type Error = Invalid;

    fn try_from(request: &v1::UpdateSettingsRequest) -> Result<Self, Invalid> {
        let new = request.settings.clone().unwrap_or_default();
        let mut check = Check::default();
        let mask = Mask::read(request.update_mask.as_ref(), &FIELDS, &mut check);
        let any = 0..=i64::MAX;
        let change = Self {
            auto_create_auth_clients: named(
                &mask,
                &mut check,
                "auto_create_auth_clients",
                new.auto_create_auth_clients,
            ),
            multi_realm_mode: named(&mask, &mut check, "multi_realm_mode", new.multi_realm_mode),
            share_quota: named(&mask, &mut check, "share_quota", new.share_quota),
            fold_usernames: named(&mask, &mut check, "fold_usernames", new.fold_usernames),
            user_quota: mask
                .has("user_quota", new.user_quota.is_some())
                .then(|| quota(&mut check, "settings.user_quota", new.user_quota)),
            guard_vdoms: number(&mask, &mut check, "guard_vdoms", new.guard_vdoms, any.clone()),
            guard_vdom_percent: number(&mask, &mut check, "guard_vdom_percent", new.guard_vdom_percent, 1..=100),
            guard_users: number(&mask, &mut check, "guard_users", new.guard_users, any),
            retention_days: number(&mask, &mut check, "retention_days", new.retention_days, 1..=3_650),
        };
        Mask::require(change != Self::default(), &mut check);
        if check.is_clean() { Ok(change) } else { Err(check.invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(settings: v1::Settings, paths: &[&str]) -> v1::UpdateSettingsRequest {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = (!paths.is_empty()).then_some(prost_types::FieldMask { paths });
        v1::UpdateSettingsRequest { settings: Some(settings), update_mask, ..Default::default() }
    }

    fn fields(request: &v1::UpdateSettingsRequest) -> Vec<String> {
        let invalid = SettingsChange::try_from(request).unwrap_err();
        invalid.violations().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn without_a_mask_those_settings_change_that_are_set() {
        let settings = v1::Settings { multi_realm_mode: Some(false), user_quota: Some(0), ..Default::default() };
        let change = SettingsChange::try_from(&request(settings, &[])).unwrap();
        let expected =
            SettingsChange { multi_realm_mode: Some(false), user_quota: Some(Some(0)), ..Default::default() };
        assert_eq!(change, expected);
        assert_eq!(fields(&request(v1::Settings::default(), &[])), ["update_mask"]);
    }

    #[test]
    fn a_quota_that_is_named_and_unset_is_no_limit_and_all_else_needs_a_value() {
        let change = SettingsChange::try_from(&request(v1::Settings::default(), &["user_quota"])).unwrap();
        assert_eq!(change, SettingsChange { user_quota: Some(None), ..Default::default() });
        assert_eq!(fields(&request(v1::Settings::default(), &["*"])).len(), FIELDS.len() - 1);
    }

    #[test]
    fn every_value_out_of_range_is_named_at_once() {
        let settings = v1::Settings {
            user_quota: Some(-1),
            guard_vdoms: Some(-1),
            guard_vdom_percent: Some(101),
            guard_users: Some(-1),
            retention_days: Some(0),
            ..Default::default()
        };
        let expected = ["user_quota", "guard_vdoms", "guard_vdom_percent", "guard_users", "retention_days"];
        assert_eq!(fields(&request(settings, &[])), expected.map(|field| format!("settings.{field}")));
        assert_eq!(fields(&request(v1::Settings::default(), &["users"])), ["update_mask"]);
    }
}
