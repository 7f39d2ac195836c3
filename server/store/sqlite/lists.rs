//! What lists read: tables, columns, and what may be compared and ordered by; and the texts that follow from a query.

use muster_proto::admin::{Comparison, Query};
use muster_proto::{Pattern, SerialNumber};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row as _, Sqlite};

use super::super::{AuthClientRow, LicenseHeld, StoreError};
use super::entity::{Entity, parse};
use super::load;
use crate::registry::{AdminToken, AuthClient, Cluster, ClusterId, Device, Held, License, LobbyEntry, WebApp};

pub(super) type Text<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

pub(super) fn bind_pattern<'q>(text: Text<'q>, pattern: &Pattern) -> Text<'q> {
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
    pub(super) fn texts(&self, query: &Query, window: Option<&str>) -> (String, String) {
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
pub(super) const OWNER_SERIAL: &str = "coalesce(device.serial, cluster.primary_serial, '')";
/// How an auth client is found by the serial number of its device, or of any member of its cluster.
pub(super) const BY_SERIAL: &str = "auth_client.owner_id IN (SELECT coalesce(cluster_id, id) FROM device WHERE serial";

/// What the purge finds work on, by indexes that have deleted rows alone. What is banned is kept, and so is the device of a banned VDOM: neither
/// is found once everything else of it is gone.
pub(super) const PURGEABLE: &str = "WITH due (at) AS (SELECT ?1 - retention_days * 86400000000 FROM settings) \
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

pub(super) fn auth_clients() -> List {
    List {
        columns: auth_client_columns(),
        from: AUTH_CLIENTS_FROM,
        table: "auth_client",
        fields: &[("serial_number", OWNER_SERIAL), ("vdom", "auth_client.vdom"), ("realm", "realm.name")],
        in_realms: Some("auth_client.realm_id IN ({})"),
    }
}

/// A device is in the realms of its auth clients, deleted ones too.
pub(super) const DEVICE_IN_REALMS: &str = "EXISTS (SELECT 1 FROM auth_client WHERE auth_client.owner_id = coalesce(device.cluster_id, device.id) \
    AND auth_client.realm_id IN ({}))";

pub(super) fn devices() -> List {
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

pub(super) fn lobby() -> List {
    List {
        columns: LobbyEntry::columns(),
        from: "lobby",
        table: "lobby",
        fields: &[("serial_number", "lobby.serial"), ("hostname", "lobby.hostname")],
        in_realms: None,
    }
}

pub(super) fn admin_tokens() -> List {
    List {
        columns: AdminToken::columns(),
        from: "admin_token",
        table: "admin_token",
        fields: &[("display_name", "admin_token.display_name")],
        in_realms: None,
    }
}

/// The serial numbers of the members, with blanks between them, in their order.
pub(super) const MEMBERS: &str = "(SELECT coalesce(group_concat(serial, ' '), '') FROM \
    (SELECT serial FROM device WHERE device.cluster_id = cluster.id ORDER BY serial))";
/// Whether a device with a serial number is a member.
pub(super) const BY_MEMBER: &str =
    "cluster.id IN (SELECT cluster_id FROM device WHERE cluster_id IS NOT NULL AND serial";

pub(super) fn clusters() -> List {
    List {
        columns: format!("{}, {MEMBERS}", Cluster::columns()),
        from: "cluster",
        table: "cluster",
        fields: &[("display_name", "cluster.name"), ("serial_number", BY_MEMBER)],
        in_realms: None,
    }
}

/// A Web app with its auth client, which it always has.
pub(super) const WEB_APPS_FROM: &str =
    "web_app JOIN auth_client ON auth_client.owner_id = web_app.id JOIN realm ON realm.id = auth_client.realm_id";

pub(super) fn web_apps() -> List {
    List {
        columns: format!("{}, {}", AuthClient::columns(), WebApp::columns()),
        from: WEB_APPS_FROM,
        table: "web_app",
        fields: &[("display_name", "web_app.name"), ("client_id", "web_app.client_id"), ("realm", "realm.name")],
        in_realms: Some("auth_client.realm_id IN ({})"),
    }
}

pub(super) fn held_removals() -> List {
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
pub(super) const CLONE_CASES_FROM: &str = "(SELECT DISTINCT device.id AS id, device.serial AS serial, \
    CASE WHEN device.disputed THEN NULL ELSE 1 END AS deleted_at \
    FROM device_key JOIN device ON device.serial = device_key.serial) AS clone_case";

pub(super) fn clone_cases() -> List {
    List {
        columns: "clone_case.id, clone_case.serial".to_owned(),
        from: CLONE_CASES_FROM,
        table: "clone_case",
        fields: &[("serial_number", "clone_case.serial")],
        in_realms: None,
    }
}

pub(super) fn licenses() -> List {
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

pub(super) fn license_row(row: &SqliteRow) -> Result<LicenseHeld, StoreError> {
    Ok(LicenseHeld { license: License::read(row)?, realm: row.try_get(License::COLUMNS.len())? })
}

pub(super) fn cluster_row(row: &SqliteRow) -> Result<Cluster, StoreError> {
    let mut cluster = Cluster::read(row)?;
    let members: &str = row.try_get(Cluster::COLUMNS.len())?;
    cluster.members = members.split_whitespace().map(load::serial).collect::<Result<_, _>>()?;
    Ok(cluster)
}
