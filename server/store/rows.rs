//! From database rows to what the rules work with. A row that breaks a rule is named, never a panic.

use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, Text, Timestamp, VdomName};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{AuthClientRow, StoreError};
use crate::registry::{AuthClient, AuthClientId, Device, DeviceId, RealmId};

/// The columns of [`device`], in its order.
pub(super) const DEVICE: &str = "device.id, device.serial, device.model, device.hostname, device.firmware, device.generation, \
                                 device.digest, device.created_at, device.updated_at, device.deleted_at, device.last_seen_at";
/// The columns of [`auth_client`], in its order.
pub(super) const AUTH_CLIENT: &str = "auth_client.id, auth_client.device_id, auth_client.vdom, auth_client.realm_id, \
                                      auth_client.created_at, auth_client.updated_at, auth_client.deleted_at";
/// The columns of [`auth_client_row`], in its order: behind those of [`AUTH_CLIENT`].
pub(super) const AUTH_CLIENT_ROW: &str = ", device.serial, realm.name";

fn parse<T: std::str::FromStr>(
    row: &SqliteRow,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    let text: &str = row.try_get(index)?;
    text.parse().map_err(|_| StoreError::Inconsistent { table, column, value: text.to_owned() })
}

/// A serial number as `device.serial` holds it.
pub(super) fn serial(text: &str) -> Result<SerialNumber, StoreError> {
    text.parse().map_err(|_| StoreError::Inconsistent { table: "device", column: "serial", value: text.to_owned() })
}

fn time(row: &SqliteRow, index: usize) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_micros(row.try_get(index)?))
}

fn optional_time(row: &SqliteRow, index: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(index)?.map(Timestamp::from_micros))
}

/// A device, from the columns of [`DEVICE`].
pub(super) fn device(row: &SqliteRow) -> Result<Device, StoreError> {
    let digest: &[u8] = row.try_get(6)?;
    let digest = digest.try_into().map_err(|_| StoreError::Inconsistent {
        table: "device",
        column: "digest",
        value: format!("{} bytes", digest.len()),
    })?;
    Ok(Device {
        id: DeviceId(row.try_get(0)?),
        serial: parse::<SerialNumber>(row, 1, "device", "serial")?,
        info: DeviceInfo {
            model: parse::<Text>(row, 2, "device", "model")?,
            hostname: parse::<Text>(row, 3, "device", "hostname")?,
            firmware: parse::<Text>(row, 4, "device", "firmware")?,
        },
        generation: row.try_get(5)?,
        digest,
        created_at: time(row, 7)?,
        updated_at: time(row, 8)?,
        deleted_at: optional_time(row, 9)?,
        last_seen_at: time(row, 10)?,
    })
}

/// An auth client, from the columns of [`AUTH_CLIENT`].
pub(super) fn auth_client(row: &SqliteRow) -> Result<AuthClient, StoreError> {
    Ok(AuthClient {
        id: AuthClientId(row.try_get(0)?),
        device: DeviceId(row.try_get(1)?),
        vdom: parse::<VdomName>(row, 2, "auth_client", "vdom")?,
        realm: RealmId(row.try_get(3)?),
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
        deleted_at: optional_time(row, 6)?,
    })
}

/// An auth client with its device and its realm, from the columns of [`AUTH_CLIENT`] and [`AUTH_CLIENT_ROW`].
pub(super) fn auth_client_row(row: &SqliteRow) -> Result<AuthClientRow, StoreError> {
    Ok(AuthClientRow {
        client: auth_client(row)?,
        serial: parse::<SerialNumber>(row, 7, "device", "serial")?,
        realm: row.try_get(8)?,
    })
}
