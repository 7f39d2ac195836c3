//! Web apps.

use muster_proto::{Text, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, optional_hash, optional_time, parse, time};
use crate::registry::{ClientId, SecretHash, WebApp, WebAppId};

impl Entity for WebApp {
    const TABLE: &'static str = "web_app";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "client_id",
        "name",
        "secret",
        "previous_secret",
        "previous_valid_until",
        "request_id",
        "created_at",
        "updated_at",
        "deleted_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET name = excluded.name, secret = excluded.secret, \
        previous_secret = excluded.previous_secret, previous_valid_until = excluded.previous_valid_until, \
        updated_at = excluded.updated_at, deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(self.id.0)
            .bind(&*self.client_id.0)
            .bind(self.name.as_str())
            .bind(self.secret.0.as_slice())
            .bind(self.previous.as_ref().map(|(secret, _)| secret.0.as_slice()))
            .bind(self.previous.map(|(_, until)| until.micros()))
            .bind((!self.request_id.is_empty()).then_some(self.request_id.as_str()))
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted_at.map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        read_at(row, 0)
    }
}

/// Reads the columns that begin at `first`.
pub(super) fn read_at(row: &SqliteRow, first: usize) -> Result<WebApp, StoreError> {
    let missing = || StoreError::Inconsistent { table: "web_app", column: "secret", value: "NULL".to_owned() };
    let request_id: Option<&str> = row.try_get(first + 6)?;
    let previous = optional_hash(row, first + 4, "web_app", "previous_secret")?.map(SecretHash);
    Ok(WebApp {
        id: WebAppId(row.try_get(first)?),
        client_id: ClientId(row.try_get::<&str, _>(first + 1)?.into()),
        name: parse::<Text>(row, first + 2, "web_app", "name")?,
        secret: SecretHash(optional_hash(row, first + 3, "web_app", "secret")?.ok_or_else(missing)?),
        previous: previous.zip(optional_time(row, first + 5)?),
        request_id: request_id.unwrap_or_default().parse().unwrap_or_default(),
        created_at: time(row, first + 7)?,
        updated_at: time(row, first + 8)?,
        deleted_at: optional_time(row, first + 9)?,
    })
}
