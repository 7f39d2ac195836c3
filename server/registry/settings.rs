//! The settings of the register as a whole.

use std::time::Duration;

use muster_proto::Timestamp;

/// The settings of the register, and what is counted over all of it (domain sheet, sections 1.2, 1.9 and 1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Whether a first contact registers a device, or makes it wait for an admin.
    pub auto_create_auth_clients: bool,
    /// Whether each new auth client gets a realm of its own.
    pub multi_realm_mode: bool,
    /// Whether realms without a quota of their own share what the register as a whole may have.
    pub share_quota: bool,
    /// Whether usernames that differ in letter case alone are the same user.
    pub fold_usernames: bool,
    /// How many users the register may have in all; `None` for no limit.
    pub user_quota: Option<i64>,
    /// How many users it has.
    pub users: i64,
    /// Removals of VDOMs in one sync beyond this many, and beyond `guard_vdom_percent`, are held.
    pub guard_vdoms: i64,
    /// See `guard_vdoms`: the part of all VDOMs, in percent.
    pub guard_vdom_percent: i64,
    /// Removals of users in one sync beyond this many are held.
    pub guard_users: i64,
    /// How many days what was deleted can be restored.
    pub retention_days: i64,
    /// When they last changed, counts aside.
    pub updated_at: Timestamp,
}

impl Settings {
    /// The settings of a new register.
    pub const NEW: Self = Self {
        auto_create_auth_clients: true,
        multi_realm_mode: false,
        share_quota: true,
        fold_usernames: true,
        user_quota: None,
        users: 0,
        guard_vdoms: 1,
        guard_vdom_percent: 50,
        guard_users: 20,
        retention_days: 30,
        updated_at: Timestamp::from_micros(0),
    };

    /// Until when what went at this time can be restored.
    #[must_use]
    pub fn retention_end(&self, at: Timestamp) -> Timestamp {
        let days = u64::try_from(self.retention_days).unwrap_or(0);
        at.plus(Duration::from_secs(days.saturating_mul(86_400)))
    }

    /// What changes with every change of the settings.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.updated_at.micros())
    }
}
