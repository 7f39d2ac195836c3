//! Auth clients.

use muster_proto::{Text, Timestamp, VdomName};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::device::{tombstone, tombstone_text};
use super::entity::{Entity, SqliteQuery, optional_hash, optional_time, parse, time};
use crate::registry::{AuthClient, AuthClientId, OwnerId, RealmId};

impl Entity for AuthClient {
    const TABLE: &'static str = "auth_client";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "owner_id",
        "vdom",
        "realm_id",
        "alias",
        "users",
        "users_digest",
        "created_at",
        "updated_at",
        "deleted_at",
        "tombstone",
        "removed_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id, vdom = excluded.vdom, \
        realm_id = excluded.realm_id, alias = excluded.alias, users = excluded.users, users_digest = excluded.users_digest, \
        updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, tombstone = excluded.tombstone, removed_at = excluded.removed_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(self.id.0)
            .bind(self.owner.0)
            .bind(self.vdom.as_str())
            .bind(self.realm.0)
            .bind(self.alias.as_str())
            .bind(self.users)
            // Most auth clients have no users: no digest is that of none.
            .bind((self.users > 0).then_some(self.users_digest.as_slice()))
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted.as_ref().map(|tombstone| tombstone.at.micros()))
            .bind(self.deleted.as_deref().map(tombstone_text))
            .bind(self.removed_at.map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: AuthClientId(row.try_get(0)?),
            owner: OwnerId(row.try_get(1)?),
            vdom: vdom(row, 2)?,
            realm: RealmId(row.try_get(3)?),
            alias: parse::<Text>(row, 4, "auth_client", "alias")?,
            users: row.try_get(5)?,
            users_digest: optional_hash(row, 6, "auth_client", "users_digest")?.unwrap_or_default(),
            created_at: time(row, 7)?,
            updated_at: time(row, 8)?,
            deleted: tombstone(row, 9, 10, "auth_client")?,
            removed_at: optional_time(row, 11)?,
        })
    }
}

fn vdom(row: &SqliteRow, index: usize) -> Result<VdomName, StoreError> {
    if row.try_get::<&str, _>(index)? == VdomName::WEB_APP.as_str() {
        return Ok(VdomName::WEB_APP);
    }
    parse::<VdomName>(row, index, "auth_client", "vdom")
}
