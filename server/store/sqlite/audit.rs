//! Rows of the audit log.

use sqlx::sqlite::SqliteRow;

use super::super::{AuditRow, StoreError};
use super::entity::{Entity, SqliteQuery};
use crate::registry::Name;

impl Entity for AuditRow<'_> {
    const TABLE: &'static str = "audit";
    const COLUMNS: &'static [&'static str] =
        &["at", "operation_id", "caller", "method", "serial", "about", "name", "generation", "changes"];
    /// A row is written once.
    const CONFLICT: &'static str = "";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let (serial, name) = match self.name {
            Name::Device(serial) => (serial.as_str(), ""),
            Name::Resource(name) => ("", &**name),
        };
        query
            .bind(self.at.micros())
            .bind(self.operation.to_bytes().to_vec())
            .bind(self.caller)
            .bind(self.method)
            .bind(serial)
            .bind(self.about)
            .bind(name)
            .bind(self.generation)
            .bind(self.changes.as_str())
    }

    fn read(_: &SqliteRow) -> Result<Self, StoreError> {
        Err(StoreError::Inconsistent { table: "audit", column: "id", value: "rows are read elsewhere".to_owned() })
    }
}
