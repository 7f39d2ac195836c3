//! The keys that claim a disputed serial number.

use std::net::IpAddr;

use muster_proto::{SerialNumber, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, number, optional_hash, optional_time, parse, time};
use crate::registry::{DeviceKey, KeyState};

impl Entity for DeviceKey {
    const TABLE: &'static str = "device_key";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "serial",
        "key_hash",
        "state",
        "address",
        "certificate",
        "valid_from",
        "valid_until",
        "first_seen_at",
        "last_seen_at",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET state = excluded.state, address = excluded.address, \
        certificate = excluded.certificate, valid_from = excluded.valid_from, valid_until = excluded.valid_until, \
        last_seen_at = excluded.last_seen_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        query
            .bind(self.id)
            .bind(self.serial.as_str())
            .bind(self.key.as_slice())
            .bind(self.state as i64)
            .bind(self.address.map(|address| address.to_string()))
            .bind(&*self.certificate)
            .bind(self.validity.map(|(from, _)| from.micros()))
            .bind(self.validity.map(|(_, until)| until.micros()))
            .bind(self.first_seen_at.micros())
            .bind(self.last_seen_at.micros())
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let missing = || StoreError::Inconsistent { table: "device_key", column: "key_hash", value: "NULL".to_owned() };
        let validity: (Option<Timestamp>, Option<Timestamp>) = (optional_time(row, 6)?, optional_time(row, 7)?);
        let address = match row.try_get::<Option<&str>, _>(4)? {
            None => None,
            Some(_) => Some(parse::<IpAddr>(row, 4, "device_key", "address")?),
        };
        Ok(Self {
            id: row.try_get(0)?,
            serial: parse::<SerialNumber>(row, 1, "device_key", "serial")?,
            key: optional_hash(row, 2, "device_key", "key_hash")?.ok_or_else(missing)?,
            state: number(row, 3, "device_key", "state", KeyState::from_number)?,
            address,
            certificate: row.try_get::<&str, _>(5)?.into(),
            validity: validity.0.zip(validity.1),
            first_seen_at: time(row, 8)?,
            last_seen_at: time(row, 9)?,
        })
    }
}
