//! Held removals.

use muster_proto::user_sync::Kinds;
use muster_proto::{SerialNumber, VdomName};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, number, parse, time};
use crate::registry::{Held, HeldId, HeldOn, HeldState, OwnerId};

impl Entity for Held {
    const TABLE: &'static str = "held";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "owner_id",
        "vdom",
        "serial",
        "names",
        "state",
        "requested_by",
        "decided_by",
        "created_at",
        "updated_at",
        "expires_at",
        "deleted_at",
        "kinds",
    ];
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET state = excluded.state, decided_by = excluded.decided_by, \
        updated_at = excluded.updated_at, deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let (vdom, kinds) = match &self.on {
            HeldOn::Vdoms(_) => ("", Kinds::ALL),
            HeldOn::Users(_, vdom, kinds) => (vdom.as_str(), *kinds),
        };
        query
            .bind(self.id.0)
            .bind(self.on.owner().0)
            .bind(vdom)
            .bind(self.serial.as_ref().map(SerialNumber::as_str))
            // Serialising texts into memory cannot fail.
            .bind(serde_json::to_string(&*self.names).unwrap_or_default())
            .bind(self.state as i64)
            .bind(&*self.by)
            .bind(&*self.decided_by)
            .bind(self.created_at.micros())
            .bind(self.updated_at.micros())
            .bind(self.expires_at().micros())
            .bind((!self.state.stands()).then_some(self.updated_at.micros()))
            .bind(kinds.mask())
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let owner = OwnerId(row.try_get(1)?);
        let kinds = || number(row, 12, "held", "kinds", Kinds::from_mask);
        let on = match row.try_get::<&str, _>(2)? {
            "" => HeldOn::Vdoms(owner),
            vdom if vdom == VdomName::WEB_APP.as_str() => HeldOn::Users(owner, VdomName::WEB_APP, kinds()?),
            _ => HeldOn::Users(owner, parse::<VdomName>(row, 2, "held", "vdom")?, kinds()?),
        };
        let serial = match row.try_get::<Option<&str>, _>(3)? {
            None => None,
            Some(_) => Some(parse::<SerialNumber>(row, 3, "held", "serial")?),
        };
        let names: &str = row.try_get(4)?;
        let names: Vec<Box<str>> = serde_json::from_str(names).map_err(|_| StoreError::Inconsistent {
            table: "held",
            column: "names",
            value: names.to_owned(),
        })?;
        Ok(Self {
            id: HeldId(row.try_get(0)?),
            on,
            serial,
            names: names.into(),
            state: number(row, 5, "held", "state", HeldState::from_number)?,
            by: row.try_get::<&str, _>(6)?.into(),
            decided_by: row.try_get::<&str, _>(7)?.into(),
            created_at: time(row, 8)?,
            updated_at: time(row, 9)?,
        })
    }
}
