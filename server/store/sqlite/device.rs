//! Devices, clusters, and the tombstones of what was deleted.

use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, Text, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, optional_hash, optional_time, parse, time};
use crate::registry::{Cluster, ClusterId, DeleteMode, Device, DeviceId, RealmId, Tombstone};

impl Entity for Device {
    const TABLE: &'static str = "device";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "serial",
        "model",
        "hostname",
        "firmware",
        "generation",
        "digest",
        "created_at",
        "updated_at",
        "deleted_at",
        "tombstone",
        "last_seen_at",
        "contacts",
        "cluster_id",
        "realm_id",
        "key_hash",
        "disputed",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET model = excluded.model, hostname = excluded.hostname, \
        firmware = excluded.firmware, generation = excluded.generation, digest = excluded.digest, updated_at = excluded.updated_at, \
        deleted_at = excluded.deleted_at, tombstone = excluded.tombstone, \
        last_seen_at = max(device.last_seen_at, excluded.last_seen_at), \
        contacts = CASE WHEN excluded.deleted_at IS NULL THEN 0 ELSE device.contacts END, \
        cluster_id = excluded.cluster_id, realm_id = excluded.realm_id, key_hash = excluded.key_hash, \
        disputed = excluded.disputed";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let [model, hostname, firmware] = self.info.texts();
        query
            .bind(self.id.0)
            .bind(self.serial.as_str())
            .bind(model)
            .bind(hostname)
            .bind(firmware)
            .bind(self.generation)
            .bind(self.digest.as_slice())
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted.as_ref().map(|tombstone| tombstone.at.micros()))
            .bind(self.deleted.as_deref().map(tombstone_text))
            .bind(self.last_seen_at.micros())
            .bind(self.contacts)
            .bind(self.cluster.map(|cluster| cluster.0))
            .bind(self.realm.map(|realm| realm.0))
            .bind(self.key_hash.as_ref().map(<[u8; 32]>::as_slice))
            .bind(self.disputed)
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let missing = || StoreError::Inconsistent { table: "device", column: "digest", value: "NULL".to_owned() };
        Ok(Self {
            id: DeviceId(row.try_get(0)?),
            serial: parse::<SerialNumber>(row, 1, "device", "serial")?,
            info: DeviceInfo {
                model: parse::<Text>(row, 2, "device", "model")?,
                hostname: parse::<Text>(row, 3, "device", "hostname")?,
                firmware: parse::<Text>(row, 4, "device", "firmware")?,
            },
            generation: row.try_get(5)?,
            digest: optional_hash(row, 6, "device", "digest")?.ok_or_else(missing)?,
            created_at: time(row, 7)?,
            updated_at: time(row, 8)?,
            deleted: tombstone(row, 9, 10, "device")?,
            last_seen_at: time(row, 11)?,
            contacts: row.try_get(12)?,
            cluster: row.try_get::<Option<i64>, _>(13)?.map(ClusterId),
            realm: row.try_get::<Option<i64>, _>(14)?.map(RealmId),
            key_hash: optional_hash(row, 15, "device", "key_hash")?,
            disputed: row.try_get(16)?,
        })
    }
}

/// A tombstone as JSON; its time stands in a column of its own, which lists filter by.
#[derive(Deserialize, Serialize)]
struct TombstoneText {
    mode: i64,
    by: Box<str>,
    why: String,
}

/// What the column `tombstone` holds.
pub(super) fn tombstone_text(tombstone: &Tombstone) -> String {
    let Tombstone { mode, by, why, .. } = tombstone;
    let text = TombstoneText { mode: *mode as i64, by: by.clone(), why: why.to_string() };
    // Serialising texts into memory cannot fail.
    serde_json::to_string(&text).unwrap_or_default()
}

/// A tombstone, from the columns `deleted_at` and `tombstone`.
pub(super) fn tombstone(
    row: &SqliteRow,
    at: usize,
    text: usize,
    table: &'static str,
) -> Result<Option<Box<Tombstone>>, StoreError> {
    let Some(at) = optional_time(row, at)? else { return Ok(None) };
    let text: Option<&str> = row.try_get(text)?;
    read_tombstone(at, text.unwrap_or_default()).map(|tombstone| Some(Box::new(tombstone))).ok_or_else(|| {
        StoreError::Inconsistent { table, column: "tombstone", value: text.unwrap_or("NULL").to_owned() }
    })
}

fn read_tombstone(at: Timestamp, text: &str) -> Option<Tombstone> {
    let TombstoneText { mode, by, why } = serde_json::from_str(text).ok()?;
    Some(Tombstone { at, mode: DeleteMode::from_number(mode)?, by, why: why.parse().ok()? })
}

impl Entity for Cluster {
    const TABLE: &'static str = "cluster";
    const COLUMNS: &'static [&'static str] =
        &["id", "name", "epoch", "primary_serial", "listed", "created_at", "updated_at", "deleted_at"];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET name = excluded.name, epoch = excluded.epoch, \
        primary_serial = excluded.primary_serial, listed = excluded.listed, updated_at = excluded.updated_at, \
        deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let listed: Vec<&str> = self.listed.iter().map(SerialNumber::as_str).collect();
        query
            .bind(self.id.0)
            .bind(self.name.as_str())
            .bind(self.epoch)
            .bind(self.primary.as_str())
            .bind(listed.join(" "))
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.deleted_at.map(Timestamp::micros))
    }

    /// Its members are rows of `device`.
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let text: &str = row.try_get(4)?;
        let listed = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        Ok(Self {
            id: ClusterId(row.try_get(0)?),
            name: parse::<Text>(row, 1, "cluster", "name")?,
            epoch: row.try_get(2)?,
            primary: parse::<SerialNumber>(row, 3, "cluster", "primary_serial")?,
            members: Vec::new(),
            listed: listed.map_err(|_| StoreError::Inconsistent {
                table: "cluster",
                column: "listed",
                value: text.to_owned(),
            })?,
            created_at: time(row, 5)?,
            updated_at: time(row, 6)?,
            deleted_at: optional_time(row, 7)?,
        })
    }
}
