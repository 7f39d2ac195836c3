//! The set-based statements of SQLite: many rows a statement, few distinct statements.
//!
//! Measured: one `INSERT` of many `VALUES` rows costs about two thirds of the same rows through `json_each`, and one multi-statement
//! text spares a trip to the database thread for each statement. Row counts are rounded up and the rows filled up with NULLs, which the
//! statement skips, so that a handful of prepared statements serves every batch.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::entity::{Entity, SqliteQuery};

/// The most rows of one statement: stays below the 32,766 parameters that SQLite allows.
pub(super) const MAX_ROWS: usize = 1_024;

/// What is done to the rows of one table.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Rows of this table are written: name, columns, what becomes of rows that are there, how many rows.
    Write(&'static str, &'static [&'static str], &'static str, usize),
    /// Rows of this table are removed, by id.
    Remove(&'static str, usize),
}

impl Step {
    fn write_text(self, text: &mut String) {
        match self {
            Self::Write(table, columns, conflict, left) => {
                for rows in statements(left) {
                    let _ = write!(text, "INSERT INTO {table} ({}) SELECT * FROM (", columns.join(", "));
                    values(text, rows, columns.len());
                    let _ = write!(text, ") WHERE column1 IS NOT NULL{conflict};");
                }
            }
            Self::Remove(table, left) => {
                for rows in statements(left) {
                    let _ = write!(text, "DELETE FROM {table} WHERE id IN ({});", list(rows));
                }
            }
        }
    }

    fn parameters(self) -> usize {
        match self {
            Self::Write(_, columns, _, rows) => columns.len() * rows,
            Self::Remove(_, rows) => rows,
        }
    }

    fn key(self) -> (&'static str, bool, usize) {
        match self {
            Self::Write(table, _, _, rows) => (table, false, rows),
            Self::Remove(table, rows) => (table, true, rows),
        }
    }
}

/// How many rows each statement takes.
fn statements(mut left: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let rows = left.min(MAX_ROWS);
        left -= rows;
        (rows > 0).then_some(rows)
    })
}

/// By what the text of a batch is found again: tables, whether rows are removed, and how many; whether a transaction is open already.
pub(super) type Shape = (Vec<(&'static str, bool, usize)>, bool);

/// Binds the rows of one step.
type Binder<'q> = Box<dyn FnOnce(SqliteQuery<'q>) -> SqliteQuery<'q> + Send + 'q>;

/// A batch to be written, table by table.
pub(super) struct Writes<'q> {
    steps: Vec<Step>,
    binders: Vec<Binder<'q>>,
    /// Whether it is one part of a transaction that is open already.
    within: bool,
}

impl<'q> Writes<'q> {
    /// Nothing yet. `within`: as one part of a transaction that is open already.
    pub(super) fn new(within: bool) -> Self {
        Self { steps: Vec::new(), binders: Vec::new(), within }
    }

    /// Writes these rows.
    pub(super) fn write<E: Entity + Sync + 'q>(&mut self, rows: impl Iterator<Item = &'q E>) {
        let rows: Vec<&E> = rows.collect();
        if rows.is_empty() {
            return;
        }
        let rounded = round(rows.len());
        self.steps.push(Step::Write(E::TABLE, E::COLUMNS, E::CONFLICT, rounded));
        let missing = (rounded - rows.len()) * E::COLUMNS.len();
        self.binders
            .push(Box::new(move |query| pad(rows.into_iter().fold(query, |query, row| row.bind(query)), missing)));
    }

    /// Removes the rows with these ids. Before what is written, because a new row may take the place of a removed one.
    pub(super) fn remove<E: Entity>(&mut self, ids: impl Iterator<Item = i64>) {
        let ids: Vec<i64> = ids.collect();
        if ids.is_empty() {
            return;
        }
        let rounded = round(ids.len());
        self.steps.insert(0, Step::Remove(E::TABLE, rounded));
        let missing = rounded - ids.len();
        self.binders.insert(0, Box::new(move |query| pad(ids.into_iter().fold(query, SqliteQuery::bind), missing)));
    }

    /// By what its text is found again.
    pub(super) fn shape(&self) -> Shape {
        (self.steps.iter().map(|step| step.key()).collect(), self.within)
    }

    /// The whole batch as one text. Parameters: the rows of each step in turn, then the next free id, twice.
    pub(super) fn text(&self) -> String {
        let mut text = String::from(if self.within { "" } else { "BEGIN IMMEDIATE;" });
        for step in &self.steps {
            step.write_text(&mut text);
        }
        text.push_str("UPDATE register SET next_id = ? WHERE next_id < ?");
        if !self.within {
            text.push_str(";COMMIT");
        }
        text
    }

    /// The text, with everything bound to it.
    pub(super) fn query(self, text: Arc<str>, next_id: i64) -> SqliteQuery<'q> {
        let mut arguments = SqliteArguments::default();
        // Room for all at once: growing by doubling costs more than filling.
        arguments.reserve(self.steps.iter().map(|step| step.parameters()).sum::<usize>() + 2, 0);
        let query = sqlx::query_with(AssertSqlSafe(text), arguments);
        let query = self.binders.into_iter().fold(query, |query, bind| bind(query));
        query.bind(next_id).bind(next_id)
    }
}

/// Fills up with NULLs.
pub(super) fn pad(mut query: SqliteQuery<'_>, parameters: usize) -> SqliteQuery<'_> {
    for _ in 0..parameters {
        query = query.bind(None::<i64>);
    }
    query
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
