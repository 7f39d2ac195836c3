//! Reads of the embedded store: they see whole commits and never wait for the writer.

use async_trait::async_trait;
use muster_proto::RealmRef;
use muster_proto::admin::{AuthClientName, Query};
use muster_proto::explain::AuditQuery;
use muster_proto::license::LicenseNumber;
use muster_proto::user_sync::Kinds;
use muster_proto::{SerialNumber, Timestamp};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite};

use super::super::{AuthClientRow, CloneCase, LicenseHeld, Reading, StoreError, Story, UserRow, WebAppRow};
use super::entity::{Entity, parse};
use super::lists::{
    AUTH_CLIENTS_FROM, BY_SERIAL, List, MEMBERS, PURGEABLE, admin_tokens, auth_client_columns, auth_client_row,
    auth_clients, bind_pattern, clone_cases, cluster_row, clusters, devices, held_removals, license_row, licenses,
    lobby, web_apps,
};
use super::{user_pages, web_app};
use crate::registry::{
    AdminToken, AdminTokenId, Admission, AuthClient, AuthClientId, Cluster, ClusterId, Device, DeviceKey, Entry, Held,
    HeldId, LobbyEntry, OwnerId, Realm, Settings, User, UserId, WebApp, WebAppId,
};

/// The connections that read.
#[derive(Clone, Debug)]
pub struct SqliteReading {
    pool: SqlitePool,
}

impl SqliteReading {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// One page of a list, and how many rows it has in all, as of the same commit.
    pub(super) async fn list(&self, list: &List, query: &Query) -> Result<(Vec<SqliteRow>, i64), StoreError> {
        self.list_within(list, query, None).await
    }

    /// The same, of rows for which a condition holds besides.
    pub(super) async fn list_within(
        &self,
        list: &List,
        query: &Query,
        window: Option<&str>,
    ) -> Result<(Vec<SqliteRow>, i64), StoreError> {
        let mut snapshot = self.pool.begin().await?;
        let (count, page) = list.texts(query, window);
        let filtered = |text: String| {
            let query_as = sqlx::query::<Sqlite>(AssertSqlSafe(text));
            query.filter.iter().fold(query_as, |text, comparison| bind_pattern(text, &comparison.pattern))
        };
        let total = filtered(count).fetch_one(&mut *snapshot).await?.try_get(0)?;
        let mut paged = filtered(page);
        if let Some(after) = &query.after {
            if query.order.key.is_some() {
                paged = paged.bind(after.key.clone());
            }
            paged = paged.bind(after.id);
        }
        let page = paged.bind(query.page_size + 1).fetch_all(&mut *snapshot).await?;
        Ok((page, total))
    }
}

#[async_trait]
impl Reading for SqliteReading {
    async fn device(&self, serial: SerialNumber) -> Result<Option<(Device, Vec<AuthClient>)>, StoreError> {
        let mut snapshot = self.pool.begin().await?;
        let text = format!("SELECT {} FROM device WHERE serial = ?", Device::columns());
        let found = sqlx::query(AssertSqlSafe(text)).bind(serial.as_str()).fetch_optional(&mut *snapshot).await?;
        let Some(row) = found else { return Ok(None) };
        let device = Device::read(&row)?;
        let text = format!("SELECT {} FROM auth_client WHERE owner_id = ? ORDER BY vdom", AuthClient::columns());
        let found = sqlx::query(AssertSqlSafe(text)).bind(device.owner().0).fetch_all(&mut *snapshot).await?;
        let clients = found.iter().map(AuthClient::read).collect::<Result<_, _>>()?;
        Ok(Some((device, clients)))
    }

    async fn auth_client(&self, name: AuthClientName) -> Result<Option<AuthClientRow>, StoreError> {
        let select = format!("SELECT {} FROM {AUTH_CLIENTS_FROM}", auth_client_columns());
        let query = match name {
            AuthClientName::Id(id) => sqlx::query(AssertSqlSafe(format!("{select} WHERE auth_client.id = ?"))).bind(id),
            AuthClientName::Vdom(serial, vdom) => {
                sqlx::query(AssertSqlSafe(format!("{select} WHERE {BY_SERIAL} = ?) AND auth_client.vdom = ?")))
                    .bind(serial.to_string())
                    .bind(vdom.to_string())
            }
        };
        query.fetch_optional(&self.pool).await?.as_ref().map(auth_client_row).transpose()
    }

    async fn list_auth_clients(&self, query: &Query) -> Result<(Vec<AuthClientRow>, i64), StoreError> {
        let (page, total) = self.list(&auth_clients(), query).await?;
        Ok((page.iter().map(auth_client_row).collect::<Result<_, _>>()?, total))
    }

    async fn list_licenses(&self, query: &Query) -> Result<(Vec<LicenseHeld>, i64), StoreError> {
        let (page, total) = self.list(&licenses(), query).await?;
        Ok((page.iter().map(license_row).collect::<Result<_, _>>()?, total))
    }

    async fn license(&self, number: &LicenseNumber) -> Result<Option<LicenseHeld>, StoreError> {
        let List { columns, from, .. } = licenses();
        let text = format!("SELECT {columns} FROM {from} WHERE license.number = ?");
        let found = sqlx::query(AssertSqlSafe(text)).bind(number.to_string()).fetch_optional(&self.pool).await?;
        found.as_ref().map(license_row).transpose()
    }

    async fn list_clone_cases(&self, query: &Query) -> Result<(Vec<CloneCase>, i64), StoreError> {
        let (page, total) = self.list(&clone_cases(), query).await?;
        let mut cases = Vec::with_capacity(page.len());
        for row in page {
            let serial = parse::<SerialNumber>(&row, 1, "device", "serial")?;
            cases.push(CloneCase { device: row.try_get(0)?, serial, keys: self.device_keys(serial).await? });
        }
        Ok((cases, total))
    }

    async fn device_keys(&self, serial: SerialNumber) -> Result<Vec<DeviceKey>, StoreError> {
        let columns = DeviceKey::columns();
        let text = format!("SELECT {columns} FROM device_key WHERE serial = ? ORDER BY first_seen_at, id");
        let found = sqlx::query(AssertSqlSafe(text)).bind(serial.to_string()).fetch_all(&self.pool).await?;
        found.iter().map(DeviceKey::read).collect()
    }

    async fn list_audit(&self, query: &AuditQuery) -> Result<(Vec<Entry>, i64), StoreError> {
        self.read_audit(query).await
    }

    async fn story(&self, story: &Story) -> Result<(Vec<Entry>, i64), StoreError> {
        self.read_story(story).await
    }

    async fn list_clusters(&self, query: &Query) -> Result<(Vec<Cluster>, i64), StoreError> {
        let (page, total) = self.list(&clusters(), query).await?;
        Ok((page.iter().map(cluster_row).collect::<Result<_, _>>()?, total))
    }

    async fn cluster(&self, id: ClusterId) -> Result<Option<Cluster>, StoreError> {
        let text = format!("SELECT {}, {MEMBERS} FROM cluster WHERE id = ?", Cluster::columns());
        let found = sqlx::query(AssertSqlSafe(text)).bind(id.0).fetch_optional(&self.pool).await?;
        found.as_ref().map(cluster_row).transpose()
    }

    async fn list_devices(&self, query: &Query) -> Result<(Vec<Device>, i64), StoreError> {
        let (page, total) = self.list(&devices(), query).await?;
        Ok((page.iter().map(Device::read).collect::<Result<_, _>>()?, total))
    }

    async fn lobby_entry(&self, serial: SerialNumber) -> Result<Option<LobbyEntry>, StoreError> {
        let text = format!("SELECT {} FROM lobby WHERE serial = ?", LobbyEntry::columns());
        let found = sqlx::query(AssertSqlSafe(text)).bind(serial.to_string()).fetch_optional(&self.pool).await?;
        found.as_ref().map(LobbyEntry::read).transpose()
    }

    async fn list_lobby(&self, query: &Query) -> Result<(Vec<LobbyEntry>, i64), StoreError> {
        let (page, total) = self.list(&lobby(), query).await?;
        Ok((page.iter().map(LobbyEntry::read).collect::<Result<_, _>>()?, total))
    }

    async fn admission(&self) -> Result<Admission, StoreError> {
        let text = format!("SELECT {} FROM admission", Admission::columns());
        let found = sqlx::query(AssertSqlSafe(text)).fetch_optional(&self.pool).await?;
        Ok(found.as_ref().map(Admission::read).transpose()?.unwrap_or_default())
    }

    async fn realm(&self, name: &RealmRef) -> Result<Option<Realm>, StoreError> {
        self.find_realm(name).await
    }

    async fn list_realms(&self, query: &Query) -> Result<(Vec<Realm>, i64), StoreError> {
        self.page_of_realms(query).await
    }

    async fn settings(&self) -> Result<Settings, StoreError> {
        self.find_settings().await
    }

    async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        self.find_user(id).await
    }

    async fn list_users(&self, query: &Query) -> Result<(Vec<(User, String)>, i64), StoreError> {
        self.page_of_users(query).await
    }

    async fn admin(&self, token_hash: [u8; 32]) -> Result<Option<AdminToken>, StoreError> {
        let text = format!("SELECT {} FROM admin_token WHERE hash = ?", AdminToken::columns());
        let found = sqlx::query(AssertSqlSafe(text)).bind(token_hash.to_vec()).fetch_optional(&self.pool).await?;
        found.as_ref().map(AdminToken::read).transpose()
    }

    async fn admin_token(&self, id: AdminTokenId) -> Result<Option<AdminToken>, StoreError> {
        let text = format!("SELECT {} FROM admin_token WHERE id = ?", AdminToken::columns());
        let found = sqlx::query(AssertSqlSafe(text)).bind(id.0).fetch_optional(&self.pool).await?;
        found.as_ref().map(AdminToken::read).transpose()
    }

    async fn list_admin_tokens(&self, query: &Query) -> Result<(Vec<AdminToken>, i64), StoreError> {
        let (page, total) = self.list(&admin_tokens(), query).await?;
        Ok((page.iter().map(AdminToken::read).collect::<Result<_, _>>()?, total))
    }

    async fn web_app(&self, id: WebAppId) -> Result<Option<WebAppRow>, StoreError> {
        let text = format!("SELECT {} FROM web_app WHERE id = ?", WebApp::columns());
        let mut snapshot = self.pool.begin().await?;
        let found = sqlx::query(AssertSqlSafe(text)).bind(id.0).fetch_optional(&mut *snapshot).await?;
        let text = format!("SELECT {} FROM auth_client WHERE owner_id = ?", AuthClient::columns());
        let client = sqlx::query(AssertSqlSafe(text)).bind(id.0).fetch_optional(&mut *snapshot).await?;
        let Some((app, client)) = found.zip(client) else { return Ok(None) };
        Ok(Some(WebAppRow { app: WebApp::read(&app)?, client: AuthClient::read(&client)? }))
    }

    async fn web_app_of(&self, client_id: &str) -> Result<Option<WebApp>, StoreError> {
        let text = format!("SELECT {} FROM web_app WHERE client_id = ?", WebApp::columns());
        let query = sqlx::query(AssertSqlSafe(text)).bind(client_id.to_owned());
        query.fetch_optional(&self.pool).await?.as_ref().map(WebApp::read).transpose()
    }

    async fn list_web_apps(&self, query: &Query) -> Result<(Vec<WebAppRow>, i64), StoreError> {
        let (page, total) = self.list(&web_apps(), query).await?;
        let mut rows = Vec::with_capacity(page.len());
        for row in page {
            rows.push(WebAppRow {
                client: AuthClient::read(&row)?,
                app: web_app::read_at(&row, AuthClient::COLUMNS.len())?,
            });
        }
        Ok((rows, total))
    }

    async fn held(&self, id: HeldId) -> Result<Option<Held>, StoreError> {
        let text = format!("SELECT {} FROM held WHERE id = ?", Held::columns());
        let found = sqlx::query(AssertSqlSafe(text)).bind(id.0).fetch_optional(&self.pool).await?;
        found.as_ref().map(Held::read).transpose()
    }

    async fn list_held(&self, query: &Query) -> Result<(Vec<Held>, i64), StoreError> {
        let (page, total) = self.list(&held_removals(), query).await?;
        Ok((page.iter().map(Held::read).collect::<Result<_, _>>()?, total))
    }

    async fn overdue(&self, now: Timestamp, most: u32) -> Result<Vec<Held>, StoreError> {
        // Those that stand are few, whatever their number in the past; for those that do not there is an index.
        let columns = Held::columns();
        let text = format!(
            "SELECT {columns} FROM held WHERE deleted_at IS NULL AND state = 1 AND expires_at <= ?1 \
             UNION ALL SELECT {columns} FROM held WHERE \
             deleted_at <= (SELECT ?1 - retention_days * 86400000000 FROM settings) ORDER BY id LIMIT ?2"
        );
        let rows = sqlx::query(AssertSqlSafe(text)).bind(now.micros()).bind(most).fetch_all(&self.pool).await?;
        rows.iter().map(Held::read).collect()
    }

    async fn user_digests(
        &self,
        client: AuthClientId,
        kinds: Kinds,
        buckets: usize,
    ) -> Result<([u8; 32], Vec<[u8; 32]>), StoreError> {
        // One snapshot: a user that changes between two pages would give a digest that nobody ever had.
        let mut snapshot = self.pool.begin().await?;
        user_pages::digests(&mut snapshot, client, kinds, buckets).await
    }

    async fn purgeable(&self, now: Timestamp, most: u32) -> Result<Vec<(Option<SerialNumber>, OwnerId)>, StoreError> {
        let rows = sqlx::query(PURGEABLE).bind(now.micros()).bind(most).fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| {
                let serial: Option<&str> = row.try_get(0)?;
                Ok((serial.map(super::load::serial).transpose()?, OwnerId(row.try_get(1)?)))
            })
            .collect()
    }
}
