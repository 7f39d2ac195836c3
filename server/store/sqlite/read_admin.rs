//! Reads of realms, settings and users.

use muster_proto::RealmRef;
use muster_proto::admin::Query;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::{StoreError, UserRow};
use super::entity::Entity;
use super::lists::{AUTH_CLIENTS_FROM, List, auth_client_columns, auth_client_row};
use super::read::SqliteReading;
use crate::registry::{Realm, Settings, User, UserId, UserRef};

fn realms() -> List {
    List {
        columns: Realm::columns(),
        from: "realm",
        table: "realm",
        fields: &[
            ("display_name", "realm.name"),
            ("description", "realm.description"),
            // As text of one length, because the key of a page token is text.
            ("users", "printf('%019d', realm.users)"),
            ("auth_clients", "printf('%019d', realm.clients)"),
        ],
        in_realms: Some("realm.id IN ({})"),
    }
}

/// The users that an auth client refers to with such an e-mail address.
const BY_EMAIL: &str = "user.id IN (SELECT user_id FROM user_ref WHERE deleted_at IS NULL AND email $)";
/// The users that such an auth client refers to.
const BY_AUTH_CLIENT: &str = "user.id IN (SELECT user_id FROM user_ref WHERE deleted_at IS NULL AND auth_client_id $)";

fn users() -> List {
    List {
        columns: format!("{}, realm.name", User::columns()),
        from: "user JOIN realm ON realm.id = user.realm_id",
        table: "user",
        fields: &[
            ("username", "user.username"),
            ("realm", "realm.name"),
            ("email", BY_EMAIL),
            ("auth_client", BY_AUTH_CLIENT),
        ],
        in_realms: Some("user.realm_id IN ({})"),
    }
}

impl SqliteReading {
    pub(super) async fn find_realm(&self, name: &RealmRef) -> Result<Option<Realm>, StoreError> {
        let select = format!("SELECT {} FROM realm WHERE realm", Realm::columns());
        let query = match name {
            RealmRef::Id(id) => sqlx::query(AssertSqlSafe(format!("{select}.id = ?"))).bind(*id),
            RealmRef::Name(name) => sqlx::query(AssertSqlSafe(format!("{select}.name = ?"))).bind(name.to_string()),
        };
        query.fetch_optional(self.pool()).await?.as_ref().map(Realm::read).transpose()
    }

    pub(super) async fn page_of_realms(&self, query: &Query) -> Result<(Vec<Realm>, i64), StoreError> {
        let (page, total) = self.list(&realms(), query).await?;
        Ok((page.iter().map(Realm::read).collect::<Result<_, _>>()?, total))
    }

    pub(super) async fn find_settings(&self) -> Result<Settings, StoreError> {
        let text = format!("SELECT {} FROM settings", Settings::columns());
        Settings::read(&sqlx::query(AssertSqlSafe(text)).fetch_one(self.pool()).await?)
    }

    pub(super) async fn page_of_users(&self, query: &Query) -> Result<(Vec<(User, String)>, i64), StoreError> {
        let (page, total) = self.list(&users(), query).await?;
        let mut found = Vec::with_capacity(page.len());
        for row in &page {
            found.push((User::read(row)?, row.try_get(User::COLUMNS.len())?));
        }
        Ok((found, total))
    }

    pub(super) async fn find_user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        let mut snapshot = self.pool().begin().await?;
        let text = format!(
            "SELECT {}, realm.name FROM user JOIN realm ON realm.id = user.realm_id WHERE user.id = ?",
            User::columns()
        );
        let found = sqlx::query(AssertSqlSafe(text)).bind(id.0).fetch_optional(&mut *snapshot).await?;
        let Some(row) = found else { return Ok(None) };
        let (user, realm) = (User::read(&row)?, row.try_get(User::COLUMNS.len())?);
        let text =
            format!("SELECT {} FROM user_ref WHERE user_id = ? AND deleted_at IS NULL ORDER BY id", UserRef::columns());
        let rows = sqlx::query(AssertSqlSafe(text)).bind(id.0).fetch_all(&mut *snapshot).await?;
        let mut references = Vec::with_capacity(rows.len());
        let text = format!("SELECT {} FROM {AUTH_CLIENTS_FROM} WHERE auth_client.id = ?", auth_client_columns());
        for row in &rows {
            let found = UserRef::read(row)?;
            let client =
                sqlx::query(AssertSqlSafe(text.clone())).bind(found.client.0).fetch_one(&mut *snapshot).await?;
            references.push((found, auth_client_row(&client)?));
        }
        Ok(Some(UserRow { user, realm, references }))
    }
}
