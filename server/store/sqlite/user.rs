//! Users and their references.

use muster_proto::{Email, MobileNumber, Timestamp, UserKey, UserKind, Username};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, number, optional_time, parse, time};
use crate::registry::{AuthClientId, RealmId, User, UserAttributes, UserId, UserRef, UserRefId};

impl Entity for User {
    const TABLE: &'static str = "user";
    const COLUMNS: &'static [&'static str] =
        &["id", "realm_id", "user_key", "username", "disabled", "refs", "created_at", "updated_at", "deleted_at"];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET realm_id = excluded.realm_id, user_key = excluded.user_key, \
        username = excluded.username, disabled = excluded.disabled, refs = excluded.refs, updated_at = excluded.updated_at, \
        deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(self.id.0)
            .bind(self.realm.0)
            .bind(self.key.as_str())
            .bind(self.username.as_str())
            .bind(self.disabled)
            .bind(self.references)
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted_at.map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId(row.try_get(0)?),
            realm: RealmId(row.try_get(1)?),
            key: UserKey::new(row.try_get(2)?),
            username: parse::<Username>(row, 3, "user", "username")?,
            disabled: row.try_get(4)?,
            references: row.try_get(5)?,
            created_at: time(row, 6)?,
            updated_at: time(row, 7)?,
            deleted_at: optional_time(row, 8)?,
        })
    }
}

impl Entity for UserRef {
    const TABLE: &'static str = "user_ref";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "auth_client_id",
        "user_key",
        "user_id",
        "username",
        "email",
        "mobile",
        "kind",
        "active",
        "created_at",
        "updated_at",
        "deleted_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET auth_client_id = excluded.auth_client_id, \
        user_key = excluded.user_key, user_id = excluded.user_id, username = excluded.username, email = excluded.email, \
        mobile = excluded.mobile, kind = excluded.kind, active = excluded.active, updated_at = excluded.updated_at, \
        deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let UserAttributes { username, email, mobile, kind, active } = &self.attributes;
        query
            .bind(self.id.0)
            .bind(self.client.0)
            .bind(self.key.as_str())
            .bind(self.user.0)
            .bind(username.as_str())
            .bind(email.as_str())
            .bind(mobile.as_ref().map(MobileNumber::as_str))
            .bind(*kind as i64)
            .bind(*active)
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted_at.map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let mobile = match row.try_get::<Option<&str>, _>(6)? {
            None => None,
            Some(_) => Some(parse::<MobileNumber>(row, 6, "user_ref", "mobile")?),
        };
        Ok(Self {
            id: UserRefId(row.try_get(0)?),
            client: AuthClientId(row.try_get(1)?),
            key: UserKey::new(row.try_get(2)?),
            user: UserId(row.try_get(3)?),
            attributes: UserAttributes {
                username: parse::<Username>(row, 4, "user_ref", "username")?,
                email: parse::<Email>(row, 5, "user_ref", "email")?,
                mobile,
                kind: number(row, 7, "user_ref", "kind", UserKind::from_number)?,
                active: row.try_get(8)?,
            },
            created_at: time(row, 9)?,
            updated_at: time(row, 10)?,
            deleted_at: optional_time(row, 11)?,
        })
    }
}
