//! Licences.

use muster_proto::license::LicenseNumber;
use muster_proto::{SerialNumber, Text, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, optional_time, parse, time};
use crate::registry::{License, RealmId};

impl Entity for License {
    const TABLE: &'static str = "license";
    const COLUMNS: &'static [&'static str] =
        &["id", "number", "model", "realm_id", "serial", "bound_at", "created_at", "updated_at", "deleted_at"];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET model = excluded.model, realm_id = excluded.realm_id, \
        serial = excluded.serial, bound_at = excluded.bound_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(self.id)
            .bind(self.number.as_str())
            .bind(self.model.as_str())
            .bind(self.realm.0)
            .bind(self.bound.as_ref().map(|(serial, _)| serial.as_str()))
            .bind(self.bound.map(|(_, at)| at.micros()))
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted_at.map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let serial = match row.try_get::<Option<&str>, _>(4)? {
            None => None,
            Some(_) => Some(parse::<SerialNumber>(row, 4, "license", "serial")?),
        };
        Ok(Self {
            id: row.try_get(0)?,
            number: parse::<LicenseNumber>(row, 1, "license", "number")?,
            model: parse::<Text>(row, 2, "license", "model")?,
            realm: RealmId(row.try_get(3)?),
            bound: serial.zip(optional_time(row, 5)?),
            created_at: time(row, 6)?,
            updated_at: time(row, 7)?,
            deleted_at: optional_time(row, 8)?,
        })
    }
}
