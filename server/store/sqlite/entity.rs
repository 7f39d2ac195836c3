//! How things of the register stand in rows: one table and one list of columns for each, written and read in the same order. A row that breaks
//! a rule is named, never a panic.

use std::fmt::Write as _;

use muster_proto::Timestamp;
use sqlx::Row as _;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use super::super::StoreError;

/// A statement with parameters bound to it.
pub(super) type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Something of the register that has a table of its own, keyed by the column `id` unless [`Entity::CONFLICT`] says otherwise.
pub(super) trait Entity: Sized {
    /// The table.
    const TABLE: &'static str;
    /// The columns, in the order in which they are written and read; the first is never NULL.
    const COLUMNS: &'static [&'static str];
    /// What becomes of a row that is there already: the text behind `INSERT`.
    const CONFLICT: &'static str;

    /// Binds the columns, in their order.
    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q>;

    /// Reads the columns, in their order.
    fn read(row: &SqliteRow) -> Result<Self, StoreError>;

    /// `table.column, table.column, ...`, for a `SELECT`.
    fn columns() -> String {
        let mut text = String::new();
        for column in Self::COLUMNS {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{}.{column}", Self::TABLE);
        }
        text
    }
}

/// Parses the text of a column.
pub(super) fn parse<T: std::str::FromStr>(
    row: &SqliteRow,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<T, StoreError> {
    let text: &str = row.try_get(index)?;
    text.parse().map_err(|_| StoreError::Inconsistent { table, column, value: text.to_owned() })
}

/// A moment, in Unix microseconds.
pub(super) fn time(row: &SqliteRow, index: usize) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_micros(row.try_get(index)?))
}

/// A moment, or none.
pub(super) fn optional_time(row: &SqliteRow, index: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(index)?.map(Timestamp::from_micros))
}

/// A hash of 32 bytes, or none.
pub(super) fn optional_hash(
    row: &SqliteRow,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<Option<[u8; 32]>, StoreError> {
    let Some(bytes) = row.try_get::<Option<&[u8]>, _>(index)? else { return Ok(None) };
    let hash = bytes.try_into().map_err(|_| StoreError::Inconsistent {
        table,
        column,
        value: format!("{} bytes", bytes.len()),
    })?;
    Ok(Some(hash))
}

/// A number that stands for one of a few things.
pub(super) fn number<T>(
    row: &SqliteRow,
    index: usize,
    table: &'static str,
    column: &'static str,
    of: impl Fn(i64) -> Option<T>,
) -> Result<T, StoreError> {
    let number: i64 = row.try_get(index)?;
    of(number).ok_or_else(|| StoreError::Inconsistent { table, column, value: number.to_string() })
}
