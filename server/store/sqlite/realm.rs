//! Realms, and the settings.

use muster_proto::{RealmName, Text, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, optional_hash, optional_time, parse, time};
use crate::registry::{Realm, RealmId, Settings};

impl Entity for Realm {
    const TABLE: &'static str = "realm";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "description",
        "user_quota",
        "users",
        "clients",
        "request",
        "created_at",
        "updated_at",
        "deleted_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET name = excluded.name, description = excluded.description, \
        user_quota = excluded.user_quota, users = excluded.users, clients = excluded.clients, \
        updated_at = excluded.updated_at, deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(self.id.0)
            .bind(self.name.as_str())
            .bind(self.description.as_str())
            .bind(self.user_quota)
            .bind(self.users)
            .bind(self.clients)
            .bind(self.request.as_ref().map(<[u8; 32]>::as_slice))
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted_at.map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: RealmId(row.try_get(0)?),
            name: parse::<RealmName>(row, 1, "realm", "name")?,
            description: parse::<Text>(row, 2, "realm", "description")?,
            user_quota: row.try_get(3)?,
            users: row.try_get(4)?,
            clients: row.try_get(5)?,
            request: optional_hash(row, 6, "realm", "request")?,
            created_at: time(row, 7)?,
            updated_at: time(row, 8)?,
            deleted_at: optional_time(row, 9)?,
        })
    }
}

impl Entity for Settings {
    const TABLE: &'static str = "settings";
    const COLUMNS: &'static [&'static str] = &[
        "only",
        "auto_create_auth_clients",
        "multi_realm_mode",
        "share_quota",
        "fold_usernames",
        "user_quota",
        "users",
        "guard_vdoms",
        "guard_vdom_percent",
        "guard_users",
        "retention_days",
        "updated_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (only) DO UPDATE SET auto_create_auth_clients = excluded.auto_create_auth_clients, \
        multi_realm_mode = excluded.multi_realm_mode, share_quota = excluded.share_quota, fold_usernames = excluded.fold_usernames, \
        user_quota = excluded.user_quota, users = excluded.users, guard_vdoms = excluded.guard_vdoms, \
        guard_vdom_percent = excluded.guard_vdom_percent, guard_users = excluded.guard_users, \
        retention_days = excluded.retention_days, updated_at = excluded.updated_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(1_i64)
            .bind(self.auto_create_auth_clients)
            .bind(self.multi_realm_mode)
            .bind(self.share_quota)
            .bind(self.fold_usernames)
            .bind(self.user_quota)
            .bind(self.users)
            .bind(self.guard_vdoms)
            .bind(self.guard_vdom_percent)
            .bind(self.guard_users)
            .bind(self.retention_days)
            .bind(self.updated_at.micros())
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            auto_create_auth_clients: row.try_get(1)?,
            multi_realm_mode: row.try_get(2)?,
            share_quota: row.try_get(3)?,
            fold_usernames: row.try_get(4)?,
            user_quota: row.try_get(5)?,
            users: row.try_get(6)?,
            guard_vdoms: row.try_get(7)?,
            guard_vdom_percent: row.try_get(8)?,
            guard_users: row.try_get(9)?,
            retention_days: row.try_get(10)?,
            updated_at: time(row, 11)?,
        })
    }
}
