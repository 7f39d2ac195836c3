//! The set-based statements of SQLite: many rows a statement, few distinct statements.
//!
//! Measured: one `INSERT` of many `VALUES` rows costs about two thirds of the same rows through `json_each`, and one multi-statement
//! text spares a trip to the database thread for each statement. Row counts are rounded up and the rows filled up with NULLs, which the
//! statement skips, so that a handful of prepared statements serves every batch.

use std::fmt::Write as _;

/// The most rows of one statement: stays below the 32,766 parameters that SQLite allows.
pub(super) const MAX_ROWS: usize = 1_024;

const DEVICE: Upsert = Upsert {
    into: "device (id, serial, model, hostname, firmware, generation, digest, created_at, updated_at, deleted_at, \
           last_seen_at)",
    columns: 11,
    conflict: " ON CONFLICT (id) DO UPDATE SET model = excluded.model, hostname = excluded.hostname, \
               firmware = excluded.firmware, generation = excluded.generation, digest = excluded.digest, \
               updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, \
               last_seen_at = max(device.last_seen_at, excluded.last_seen_at)",
};
const AUTH_CLIENT: Upsert = Upsert {
    into: "auth_client (id, device_id, vdom, realm_id, created_at, updated_at, deleted_at)",
    columns: 7,
    conflict: " ON CONFLICT (id) DO UPDATE SET realm_id = excluded.realm_id, updated_at = excluded.updated_at, \
               deleted_at = excluded.deleted_at",
};
const AUDIT: Upsert =
    Upsert { into: "audit (at, operation_id, caller, method, serial, changes)", columns: 6, conflict: "" };

/// How to write rows of one table.
#[derive(Debug)]
pub(super) struct Upsert {
    into: &'static str,
    /// How many parameters a row has.
    pub(super) columns: usize,
    conflict: &'static str,
}

impl Upsert {
    fn write(&self, text: &mut String, rows: usize) {
        let mut left = rows;
        while left > 0 {
            let rows = left.min(MAX_ROWS);
            left -= rows;
            let _ = write!(text, "INSERT INTO {} SELECT * FROM (", self.into);
            values(text, rows, self.columns);
            let _ = write!(text, ") WHERE column1 IS NOT NULL{};", self.conflict);
        }
    }
}

/// How many rows of each table a batch writes, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) devices: usize,
    pub(super) auth_clients: usize,
    pub(super) audit: usize,
}

impl Shape {
    /// The shape of a batch with at least so many rows.
    pub(super) fn of(devices: usize, auth_clients: usize, audit: usize) -> Self {
        Self { devices: round(devices), auth_clients: round(auth_clients), audit: round(audit) }
    }

    /// The whole batch as one text. Parameters: the rows of each table in turn, then the next free id.
    pub(super) fn text(self) -> String {
        let mut text = String::from("BEGIN IMMEDIATE;");
        DEVICE.write(&mut text, self.devices);
        AUTH_CLIENT.write(&mut text, self.auth_clients);
        AUDIT.write(&mut text, self.audit);
        text.push_str("UPDATE register SET next_id = ? WHERE next_id < ?;COMMIT");
        text
    }

    /// How many parameters the text has.
    pub(super) fn parameters(self) -> usize {
        self.devices * DEVICE.columns + self.auth_clients * AUTH_CLIENT.columns + self.audit * AUDIT.columns + 2
    }

    /// How many parameters are missing where a table has `rows` rows and its rounded number is `rounded`.
    pub(super) fn padding(self, rows: (usize, usize, usize)) -> (usize, usize, usize) {
        (
            (self.devices - rows.0) * DEVICE.columns,
            (self.auth_clients - rows.1) * AUTH_CLIENT.columns,
            (self.audit - rows.2) * AUDIT.columns,
        )
    }
}

/// Rounds a number of rows up to 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, ...; beyond [`MAX_ROWS`] to whole statements.
pub(super) fn round(rows: usize) -> usize {
    if rows <= 4 {
        return rows;
    }
    if rows > MAX_ROWS {
        return rows.next_multiple_of(MAX_ROWS);
    }
    let power = rows.next_power_of_two();
    if rows <= power / 4 * 3 { power / 4 * 3 } else { power }
}

/// `?,?,?` for a list of `count` parameters.
pub(super) fn list(count: usize) -> String {
    let mut text = "?,".repeat(count);
    text.pop();
    text
}

/// `VALUES (?,?),(?,?)`.
pub(super) fn values(text: &mut String, rows: usize, columns: usize) {
    let row = list(columns);
    text.push_str("VALUES ");
    for index in 0..rows {
        let _ = write!(text, "{}({row})", if index == 0 { "" } else { "," });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_rounded_batch_has_room_for_its_rows_and_wastes_at_most_half(rows in 0usize..5_000) {
            let rounded = round(rows);
            prop_assert!(rounded >= rows);
            prop_assert!(rounded <= rows + rows.max(2) / 2 || rows > MAX_ROWS);
            prop_assert_eq!(round(rounded), rounded);
        }
    }
}
