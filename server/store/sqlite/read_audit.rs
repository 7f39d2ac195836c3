//! Reads of the audit log.

use std::fmt::Write as _;

use muster_proto::Timestamp;
use muster_proto::explain::AuditQuery;
use serde::Deserialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::{StoreError, Story};
use super::entity::time;
use super::lists::List;
use super::read::SqliteReading;
use crate::operation::OperationId;
use crate::registry::{Entry, EntryChange};

const COLUMNS: &str = "audit.id, audit.at, audit.operation_id, audit.caller, audit.method, audit.about, \
    CASE WHEN audit.name = '' THEN 'devices/' || audit.serial ELSE audit.name END, audit.generation, audit.changes";

/// The things that an entry with a serial number may be about: the device, its cluster, and the auth clients of both.
const OF_SERIAL: &str = "audit.about IN (WITH box (id, cluster) AS (SELECT id, cluster_id FROM device WHERE serial $) \
    SELECT id FROM box UNION SELECT cluster FROM box WHERE cluster IS NOT NULL \
    UNION SELECT auth_client.id FROM auth_client JOIN box ON auth_client.owner_id IN (box.id, box.cluster))";

/// The list of audit entries.
fn audit() -> List {
    List {
        columns: COLUMNS.to_owned(),
        from: "audit",
        table: "audit",
        fields: &[
            ("serial_number", OF_SERIAL),
            ("vdom", "EXISTS (SELECT 1 FROM json_each(audit.changes) WHERE value ->> 'vdom' $)"),
            ("user", "EXISTS (SELECT 1 FROM json_each(audit.changes) WHERE value ->> 'user' $)"),
            ("name", "CASE WHEN audit.name = '' THEN 'devices/' || audit.serial ELSE audit.name END"),
            ("operation_id", "lower(hex(audit.operation_id))"),
            ("caller", "audit.caller"),
            ("method", "audit.method"),
        ],
        in_realms: None,
    }
}

/// One changed value, as the audit log keeps it.
#[derive(Deserialize)]
struct Kept {
    vdom: Option<String>,
    user: Option<String>,
    field: String,
    before: String,
    after: String,
}

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let broken = |column, value: &str| StoreError::Inconsistent { table: "audit", column, value: value.to_owned() };
    let operation: &[u8] = row.try_get(2)?;
    let operation = operation.try_into().map_err(|_| broken("operation_id", &format!("{} bytes", operation.len())))?;
    let changes: &str = row.try_get(8)?;
    let kept: Vec<Kept> = serde_json::from_str(changes).map_err(|_| broken("changes", changes))?;
    let change = |Kept { vdom, user, field, before, after }| EntryChange { vdom, user, field, before, after };
    Ok(Entry {
        id: row.try_get(0)?,
        at: time(row, 1)?,
        operation: OperationId::from_bytes(operation),
        caller: row.try_get(3)?,
        method: row.try_get(4)?,
        about: row.try_get(5)?,
        name: row.try_get(6)?,
        generation: row.try_get(7)?,
        changes: kept.into_iter().map(change).collect(),
    })
}

/// What of a device as a whole matters to its auth clients.
const SHARED: &str =
    "'state', 'mode', 'cluster', 'name', 'member', 'primary', 'clone', 'vdoms', 'removals', 'replaces', 'replaced_by'";

impl SqliteReading {
    pub(super) async fn read_audit(&self, query: &AuditQuery) -> Result<(Vec<Entry>, i64), StoreError> {
        let bound = |sign: &str, time: Option<Timestamp>| Some(format!("audit.at {sign} {}", time?.micros()));
        let window: Vec<String> = [bound(">=", query.since), bound("<", query.until)].into_iter().flatten().collect();
        let window = (!window.is_empty()).then(|| window.join(" AND "));
        let (page, total) = self.list_within(&audit(), &query.query, window.as_deref()).await?;
        Ok((page.iter().map(entry).collect::<Result<_, _>>()?, total))
    }

    pub(super) async fn read_story(&self, story: &Story) -> Result<(Vec<Entry>, i64), StoreError> {
        let about: Vec<String> = story.about.iter().map(i64::to_string).collect();
        let mut clause = format!("about IN ({})", about.join(", "));
        if story.vdom.is_some() {
            // What is about the auth client itself, its VDOM, or the device as a whole where that matters.
            let of_user = if story.user.is_some() {
                " AND (value ->> 'user' IS NULL OR lower(value ->> 'user') = ?2)"
            } else {
                ""
            };
            let _ = write!(
                clause,
                " AND EXISTS (SELECT 1 FROM json_each(audit.changes) WHERE (value ->> 'vdom' = ?1 OR (value ->> 'vdom' IS NULL \
                    AND (audit.about = {} OR value ->> 'field' IN ({SHARED})))){of_user})",
                story.client.unwrap_or(-1)
            );
        }
        let _ = write!(clause, " AND audit.id > {} AND audit.at >= {}", story.after, story.since.micros());
        let direction = if story.latest { "DESC" } else { "ASC" };
        let text = format!(
            "SELECT {COLUMNS}, count(*) OVER () FROM audit WHERE {clause} ORDER BY audit.id {direction} LIMIT {}",
            story.most
        );
        let query = sqlx::query(AssertSqlSafe(text))
            .bind(story.vdom.map(|vdom| vdom.to_string()))
            .bind(story.user.as_ref().map(|user| user.to_lowercase()));
        let rows = query.fetch_all(self.pool()).await?;
        let total = rows.first().map_or(Ok(0), |row| row.try_get(9))?;
        let mut entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        if story.latest {
            entries.reverse();
        }
        Ok((entries, total))
    }
}
