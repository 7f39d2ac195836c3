//! Reads of the embedded store: they see whole commits and never wait for the writer.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use muster_proto::RealmRef;
use muster_proto::admin::{AuthClientName, Comparison, Query};
use muster_proto::explain::AuditQuery;
use muster_proto::license::LicenseNumber;
use muster_proto::user_sync::{Kinds, bucket_of};
use muster_proto::{Pattern, SerialNumber, Timestamp, UserKind, user};
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite};

use super::super::{AuthClientRow, CloneCase, LicenseHeld, Reading, StoreError, Story, UserRow, WebAppRow};
use super::entity::{Entity, number, parse};
use super::{load, web_app};
use crate::registry::{
    AdminToken, AdminTokenId, Admission, AuthClient, AuthClientId, Cluster, ClusterId, Device, DeviceKey, Entry, Held,
    HeldId, License, LobbyEntry, OwnerId, Realm, Settings, User, UserId, WebApp, WebAppId, toggle,
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

type Text<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

fn bind_pattern<'q>(text: Text<'q>, pattern: &Pattern) -> Text<'q> {
    match pattern {
        Pattern::Exact(exact) => text.bind(exact.clone()),
        // A prefix is a range, so that an index serves it; no character sorts behind U+10FFFF.
        Pattern::Prefix(prefix) => text.bind(prefix.clone()).bind(format!("{prefix}\u{10ffff}")),
    }
}

/// What a list reads.
pub(super) struct List {
    pub(super) columns: String,
    pub(super) from: &'static str,
    pub(super) table: &'static str,
    /// The column behind each field that may be compared or ordered by; or a condition, with `$` in the place of the comparison.
    pub(super) fields: &'static [(&'static str, &'static str)],
    /// What holds of rows in some realms, whose ids stand in the place of `{}`. Nothing of a list without realms is in any.
    pub(super) in_realms: Option<&'static str>,
}

impl List {
    fn column(&self, field: &str) -> &'static str {
        self.fields.iter().find(|(name, _)| *name == field).map_or("id", |(_, column)| column)
    }

    /// The texts that count and that read a page. All text comes from the tables above; values are parameters.
    fn texts(&self, query: &Query, window: Option<&str>) -> (String, String) {
        let mut conditions: Vec<String> = query.filter.iter().map(|comparison| self.condition(comparison)).collect();
        if !query.show_deleted {
            conditions.push(format!("{}.deleted_at IS NULL", self.table));
        }
        if let Some(realms) = &query.realms {
            let ids: Vec<String> = realms.iter().map(i64::to_string).collect();
            conditions.push(self.in_realms.map_or_else(|| "0".to_owned(), |text| text.replace("{}", &ids.join(", "))));
        }
        conditions.extend(window.map(str::to_owned));
        let clause = |conditions: &[String]| {
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
        };
        let count = format!("SELECT count(*) FROM {}{}", self.from, clause(&conditions));
        let (direction, beyond) = if query.order.descending { ("DESC", "<") } else { ("ASC", ">") };
        let id = format!("{}.id", self.table);
        let key = query.order.key.map(|key| self.column(key));
        if query.after.is_some() {
            conditions.push(match key {
                Some(key) => format!("({key}, {id}) {beyond} (?, ?)"),
                None => format!("{id} {beyond} ?"),
            });
        }
        let order = match key {
            Some(key) => format!("{key} {direction}, {id} {direction}"),
            None => format!("{id} {direction}"),
        };
        let clause = clause(&conditions);
        (count, format!("SELECT {} FROM {}{clause} ORDER BY {order} LIMIT ?", self.columns, self.from))
    }

    fn condition(&self, comparison: &Comparison) -> String {
        let column = self.column(comparison.field);
        // The auth clients of a cluster are found by the serial number of any member, and an index serves it.
        if let Some((before, end)) = column.split_once('$') {
            return match comparison.pattern {
                Pattern::Exact(_) => format!("{before}= ?{end}"),
                Pattern::Prefix(_) => format!("{before}BETWEEN ? AND ?{end}"),
            };
        }
        let (column, end) = match column {
            OWNER_SERIAL => (BY_SERIAL, ")"),
            BY_MEMBER => (BY_MEMBER, ")"),
            column => (column, ""),
        };
        match comparison.pattern {
            Pattern::Exact(_) => format!("{column} = ?{end}"),
            Pattern::Prefix(_) => format!("{column} BETWEEN ? AND ?{end}"),
        }
    }
}

/// An auth client belongs to a device, to a cluster, or to neither.
pub(super) const AUTH_CLIENTS_FROM: &str = "auth_client LEFT JOIN device ON device.id = auth_client.owner_id \
    LEFT JOIN cluster ON cluster.id = auth_client.owner_id \
    LEFT JOIN web_app ON web_app.id = auth_client.owner_id JOIN realm ON realm.id = auth_client.realm_id";
/// The serial number of the device, or of the primary of the cluster.
const OWNER_SERIAL: &str = "coalesce(device.serial, cluster.primary_serial, '')";
/// How an auth client is found by the serial number of its device, or of any member of its cluster.
const BY_SERIAL: &str = "auth_client.owner_id IN (SELECT coalesce(cluster_id, id) FROM device WHERE serial";

/// What the purge finds work on, by indexes that have deleted rows alone. What is banned is kept, and so is the device of a banned VDOM: neither
/// is found once everything else of it is gone.
const PURGEABLE: &str = "WITH due (at) AS (SELECT ?1 - retention_days * 86400000000 FROM settings) \
    SELECT serial, coalesce(cluster_id, id) FROM device, due \
        WHERE device.deleted_at <= due.at AND json_extract(device.tombstone, '$.mode') <> 2 \
        AND NOT EXISTS (SELECT 1 FROM auth_client WHERE owner_id = coalesce(device.cluster_id, device.id) \
            AND json_extract(auth_client.tombstone, '$.mode') = 2) \
    UNION SELECT device.serial, owner_id FROM due JOIN auth_client ON auth_client.removed_at <= due.at \
        LEFT JOIN device ON device.id = owner_id \
    UNION SELECT device.serial, owner_id FROM due JOIN auth_client ON auth_client.deleted_at <= due.at \
        AND json_extract(auth_client.tombstone, '$.mode') <> 2 LEFT JOIN device ON device.id = owner_id \
    UNION SELECT device.serial, owner_id FROM due JOIN user_ref ON user_ref.deleted_at <= due.at \
        JOIN auth_client ON auth_client.id = user_ref.auth_client_id LEFT JOIN device ON device.id = owner_id \
    LIMIT ?2";

/// The columns of [`auth_client_row`], in its order.
pub(super) fn auth_client_columns() -> String {
    format!("{}, {OWNER_SERIAL}, realm.name, cluster.id, cluster.name, web_app.name", AuthClient::columns())
}

/// An auth client with its device and its realm.
pub(super) fn auth_client_row(row: &SqliteRow) -> Result<AuthClientRow, StoreError> {
    let behind = AuthClient::COLUMNS.len();
    let id: Option<i64> = row.try_get(behind + 2)?;
    let name: Option<String> = row.try_get(behind + 3)?;
    let has_serial = !row.try_get::<&str, _>(behind)?.is_empty();
    Ok(AuthClientRow {
        client: AuthClient::read(row)?,
        serial: has_serial.then(|| parse::<SerialNumber>(row, behind, "device", "serial")).transpose()?,
        realm: row.try_get(behind + 1)?,
        cluster: id.map(|id| (ClusterId(id), name.unwrap_or_default())),
        web_app: row.try_get(behind + 4)?,
    })
}

fn auth_clients() -> List {
    List {
        columns: auth_client_columns(),
        from: AUTH_CLIENTS_FROM,
        table: "auth_client",
        fields: &[("serial_number", OWNER_SERIAL), ("vdom", "auth_client.vdom"), ("realm", "realm.name")],
        in_realms: Some("auth_client.realm_id IN ({})"),
    }
}

/// A device is in the realms of its auth clients, deleted ones too.
const DEVICE_IN_REALMS: &str = "EXISTS (SELECT 1 FROM auth_client WHERE auth_client.owner_id = coalesce(device.cluster_id, device.id) \
    AND auth_client.realm_id IN ({}))";

fn devices() -> List {
    List {
        columns: Device::columns(),
        from: "device",
        table: "device",
        fields: &[
            ("serial_number", "device.serial"),
            ("model", "device.model"),
            ("hostname", "device.hostname"),
            ("firmware", "device.firmware"),
        ],
        in_realms: Some(DEVICE_IN_REALMS),
    }
}

fn lobby() -> List {
    List {
        columns: LobbyEntry::columns(),
        from: "lobby",
        table: "lobby",
        fields: &[("serial_number", "lobby.serial"), ("hostname", "lobby.hostname")],
        in_realms: None,
    }
}

fn admin_tokens() -> List {
    List {
        columns: AdminToken::columns(),
        from: "admin_token",
        table: "admin_token",
        fields: &[("display_name", "admin_token.display_name")],
        in_realms: None,
    }
}

/// The serial numbers of the members, with blanks between them, in their order.
const MEMBERS: &str = "(SELECT coalesce(group_concat(serial, ' '), '') FROM \
    (SELECT serial FROM device WHERE device.cluster_id = cluster.id ORDER BY serial))";
/// Whether a device with a serial number is a member.
const BY_MEMBER: &str = "cluster.id IN (SELECT cluster_id FROM device WHERE cluster_id IS NOT NULL AND serial";

fn clusters() -> List {
    List {
        columns: format!("{}, {MEMBERS}", Cluster::columns()),
        from: "cluster",
        table: "cluster",
        fields: &[("display_name", "cluster.name"), ("serial_number", BY_MEMBER)],
        in_realms: None,
    }
}

/// A Web app with its auth client, which it always has.
const WEB_APPS_FROM: &str =
    "web_app JOIN auth_client ON auth_client.owner_id = web_app.id JOIN realm ON realm.id = auth_client.realm_id";

fn web_apps() -> List {
    List {
        columns: format!("{}, {}", AuthClient::columns(), WebApp::columns()),
        from: WEB_APPS_FROM,
        table: "web_app",
        fields: &[("display_name", "web_app.name"), ("client_id", "web_app.client_id"), ("realm", "realm.name")],
        in_realms: Some("auth_client.realm_id IN ({})"),
    }
}

fn held_removals() -> List {
    List {
        columns: Held::columns(),
        from: "held",
        table: "held",
        fields: &[
            ("serial_number", "coalesce(held.serial, '')"),
            ("vdom", "held.vdom"),
            ("requested_by", "held.requested_by"),
            ("decided_by", "held.decided_by"),
        ],
        in_realms: None,
    }
}

/// Devices that several keys claim; one that an admin decided counts as deleted.
const CLONE_CASES_FROM: &str = "(SELECT DISTINCT device.id AS id, device.serial AS serial, \
    CASE WHEN device.disputed THEN NULL ELSE 1 END AS deleted_at \
    FROM device_key JOIN device ON device.serial = device_key.serial) AS clone_case";

fn clone_cases() -> List {
    List {
        columns: "clone_case.id, clone_case.serial".to_owned(),
        from: CLONE_CASES_FROM,
        table: "clone_case",
        fields: &[("serial_number", "clone_case.serial")],
        in_realms: None,
    }
}

fn licenses() -> List {
    List {
        columns: format!("{}, realm.name", License::columns()),
        from: "license JOIN realm ON realm.id = license.realm_id",
        table: "license",
        fields: &[
            ("number", "license.number"),
            ("model", "license.model"),
            ("realm", "realm.name"),
            ("serial_number", "coalesce(license.serial, '')"),
        ],
        in_realms: None,
    }
}

fn license_row(row: &SqliteRow) -> Result<LicenseHeld, StoreError> {
    Ok(LicenseHeld { license: License::read(row)?, realm: row.try_get(License::COLUMNS.len())? })
}

fn cluster_row(row: &SqliteRow) -> Result<Cluster, StoreError> {
    let mut cluster = Cluster::read(row)?;
    let members: &str = row.try_get(Cluster::COLUMNS.len())?;
    cluster.members = members.split_whitespace().map(load::serial).collect::<Result<_, _>>()?;
    Ok(cluster)
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
        // Those that stand are few, whatever their number in the past.
        let text = format!(
            "SELECT {} FROM held WHERE deleted_at IS NULL AND state = 1 AND expires_at <= ? ORDER BY id LIMIT ?",
            Held::columns()
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
        let (mut whole, mut parts) = ([0; 32], vec![[0; 32]; buckets]);
        let text = "SELECT username, email, coalesce(mobile, ''), kind, active FROM user_ref \
                    WHERE auth_client_id = ? AND deleted_at IS NULL AND (? & (1 << kind)) <> 0";
        // Row by row: there may be a hundred thousand.
        let mut rows = sqlx::query(text).bind(client.0).bind(i64::from(kinds.mask())).fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            let kind = number(&row, 3, "user_ref", "kind", UserKind::from_number)?;
            let username: &str = row.try_get(0)?;
            let digest = user::digest(username, row.try_get(1)?, row.try_get(2)?, kind, row.try_get(4)?);
            toggle(&mut whole, &digest);
            if let Some(part) =
                (buckets > 0).then(|| bucket_of(username, buckets)).and_then(|index| parts.get_mut(index))
            {
                toggle(part, &digest);
            }
        }
        Ok((whole, parts))
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
