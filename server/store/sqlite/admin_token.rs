//! Admin tokens.

use muster_proto::{Text, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, optional_hash, optional_time, parse, time};
use crate::registry::{AdminToken, AdminTokenId, Reach, RealmId, SecretHash};

impl Entity for AdminToken {
    const TABLE: &'static str = "admin_token";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "hash",
        "display_name",
        "realms",
        "read_only",
        "request_id",
        "created_by",
        "created_at",
        "expires_at",
        "deleted_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(self.id.0)
            .bind(self.hash.0.as_slice())
            .bind(self.display_name.as_str())
            // Serialising numbers into memory cannot fail.
            .bind(self.reach.realms().map(|realms| serde_json::to_string(&realms).unwrap_or_default()))
            .bind(self.read_only)
            .bind((!self.request_id.is_empty()).then_some(self.request_id.as_str()))
            .bind(&*self.created_by)
            .bind(self.created_at.micros())
            .bind(self.expires_at.map(Timestamp::micros))
            .bind(self.revoked_at.map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let missing = || StoreError::Inconsistent { table: "admin_token", column: "hash", value: "NULL".to_owned() };
        let request_id: Option<&str> = row.try_get(5)?;
        Ok(Self {
            id: AdminTokenId(row.try_get(0)?),
            hash: SecretHash(optional_hash(row, 1, "admin_token", "hash")?.ok_or_else(missing)?),
            display_name: parse::<Text>(row, 2, "admin_token", "display_name")?,
            reach: reach(row, 3, "admin_token")?,
            read_only: row.try_get(4)?,
            request_id: request_id.unwrap_or_default().parse().unwrap_or_default(),
            created_by: row.try_get::<&str, _>(6)?.into(),
            created_at: time(row, 7)?,
            expires_at: optional_time(row, 8)?,
            revoked_at: optional_time(row, 9)?,
        })
    }
}

/// The realms that somebody reaches into.
pub(super) fn reach(row: &SqliteRow, index: usize, table: &'static str) -> Result<Reach, StoreError> {
    let Some(text) = row.try_get::<Option<&str>, _>(index)? else { return Ok(Reach::Everything) };
    let ids: Vec<i64> = serde_json::from_str(text).map_err(|_| StoreError::Inconsistent {
        table,
        column: "realms",
        value: text.to_owned(),
    })?;
    Ok(ids.into_iter().map(RealmId).collect())
}
