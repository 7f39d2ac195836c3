//! Release codes.

use muster_proto::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::admin_token::reach;
use super::entity::{Entity, SqliteQuery, optional_hash, optional_time, time};
use crate::registry::{DeviceId, RealmId, ReleaseCode, SecretHash};

impl Entity for ReleaseCode {
    const TABLE: &'static str = "release_code";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "hash",
        "realms",
        "created_by",
        "created_at",
        "expires_at",
        "failures",
        "used_by",
        "used_realm_id",
        "used_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, realms = excluded.realms, \
        created_by = excluded.created_by, created_at = excluded.created_at, expires_at = excluded.expires_at, \
        failures = excluded.failures, used_by = excluded.used_by, used_realm_id = excluded.used_realm_id, \
        used_at = excluded.used_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let used = self.used.as_ref();
        query
            .bind(self.device.0)
            .bind(self.hash.0.as_slice())
            // Serialising numbers into memory cannot fail.
            .bind(self.reach.realms().map(|realms| serde_json::to_string(&realms).unwrap_or_default()))
            .bind(&*self.created_by)
            .bind(self.created_at.micros())
            .bind(self.expires_at.micros())
            .bind(self.failures)
            .bind(used.map(|(by, ..)| &**by))
            .bind(used.map(|(_, realm, _)| realm.0))
            .bind(used.map(|(.., at)| Timestamp::micros(*at)))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let missing = || StoreError::Inconsistent { table: "release_code", column: "hash", value: "NULL".to_owned() };
        let by: Option<&str> = row.try_get(7)?;
        let realm: Option<i64> = row.try_get(8)?;
        let used = by.zip(realm).zip(optional_time(row, 9)?);
        Ok(Self {
            device: DeviceId(row.try_get(0)?),
            hash: SecretHash(optional_hash(row, 1, "release_code", "hash")?.ok_or_else(missing)?),
            reach: reach(row, 2, "release_code")?,
            created_by: row.try_get::<&str, _>(3)?.into(),
            created_at: time(row, 4)?,
            expires_at: time(row, 5)?,
            failures: row.try_get(6)?,
            used: used.map(|((by, realm), at)| (by.into(), RealmId(realm), at)),
        })
    }
}
