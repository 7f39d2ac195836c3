//! Reads of the embedded store: they see whole commits and never wait for the writer.

use async_trait::async_trait;
use muster_proto::admin::{AuthClientName, Comparison, Query};
use muster_proto::{Pattern, SerialNumber, Timestamp};
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite};

use super::super::{AuthClientRow, Reading, StoreError};
use super::entity::{Entity, parse};
use super::load;
use crate::registry::{AdminToken, AdminTokenId, AuthClient, Cluster, ClusterId, Device, Held, HeldId};

/// The connections that read.
#[derive(Clone, Debug)]
pub struct SqliteReading {
    pool: SqlitePool,
}

impl SqliteReading {
    pub(super) fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// One page of a list, and how many rows it has in all, as of the same commit.
    async fn list(&self, list: &List, query: &Query) -> Result<(Vec<SqliteRow>, i64), StoreError> {
        let mut snapshot = self.pool.begin().await?;
        let (count, page) = list.texts(query);
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
struct List {
    columns: String,
    from: &'static str,
    table: &'static str,
    /// The column behind each field that may be compared or ordered by.
    fields: &'static [(&'static str, &'static str)],
    /// What holds of rows in some realms, whose ids stand in the place of `{}`. Nothing of a list without realms is in any.
    in_realms: Option<&'static str>,
}

impl List {
    fn column(&self, field: &str) -> &'static str {
        self.fields.iter().find(|(name, _)| *name == field).map_or("id", |(_, column)| column)
    }

    /// The texts that count and that read a page. All text comes from the tables above; values are parameters.
    fn texts(&self, query: &Query) -> (String, String) {
        let mut conditions: Vec<String> = query.filter.iter().map(|comparison| self.condition(comparison)).collect();
        if !query.show_deleted {
            conditions.push(format!("{}.deleted_at IS NULL", self.table));
        }
        if let Some(realms) = &query.realms {
            let ids: Vec<String> = realms.iter().map(i64::to_string).collect();
            conditions.push(self.in_realms.map_or_else(|| "0".to_owned(), |text| text.replace("{}", &ids.join(", "))));
        }
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
const AUTH_CLIENTS_FROM: &str = "auth_client LEFT JOIN device ON device.id = auth_client.owner_id \
    LEFT JOIN cluster ON cluster.id = auth_client.owner_id JOIN realm ON realm.id = auth_client.realm_id";
/// The serial number of the device, or of the primary of the cluster.
const OWNER_SERIAL: &str = "coalesce(device.serial, cluster.primary_serial, '')";
/// How an auth client is found by the serial number of its device, or of any member of its cluster.
const BY_SERIAL: &str = "auth_client.owner_id IN (SELECT coalesce(cluster_id, id) FROM device WHERE serial";

/// The columns of [`auth_client_row`], in its order.
fn auth_client_columns() -> String {
    format!("{}, {OWNER_SERIAL}, realm.name, cluster.id, cluster.name", AuthClient::columns())
}

/// An auth client with its device and its realm.
fn auth_client_row(row: &SqliteRow) -> Result<AuthClientRow, StoreError> {
    let behind = AuthClient::COLUMNS.len();
    let id: Option<i64> = row.try_get(behind + 2)?;
    let name: Option<String> = row.try_get(behind + 3)?;
    let has_serial = !row.try_get::<&str, _>(behind)?.is_empty();
    Ok(AuthClientRow {
        client: AuthClient::read(row)?,
        serial: has_serial.then(|| parse::<SerialNumber>(row, behind, "device", "serial")).transpose()?,
        realm: row.try_get(behind + 1)?,
        cluster: id.map(|id| (ClusterId(id), name.unwrap_or_default())),
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
}
