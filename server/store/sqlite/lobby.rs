//! The lobby, and the admission rules.

use muster_proto::device::DeviceInfo;
use muster_proto::{SerialNumber, Text, Timestamp, VdomName};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::entity::{Entity, SqliteQuery, number, optional_time, parse, time};
use crate::registry::{Admission, AdmissionRule, AdmissionTest, Decision, LobbyEntry, LobbyId, LobbyState, RealmId};

impl Entity for LobbyEntry {
    const TABLE: &'static str = "lobby";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "serial",
        "model",
        "hostname",
        "firmware",
        "vdoms",
        "address",
        "state",
        "realm_id",
        "decided_by",
        "why",
        "first_seen_at",
        "last_seen_at",
        "attempts",
        "decided_at",
        "deleted_at",
    ];
    /// Attempts are counted by `touch`.
    const CONFLICT: &'static str = " ON CONFLICT (id) DO UPDATE SET model = excluded.model, hostname = excluded.hostname, \
        firmware = excluded.firmware, vdoms = excluded.vdoms, address = excluded.address, state = excluded.state, \
        realm_id = excluded.realm_id, decided_by = excluded.decided_by, why = excluded.why, first_seen_at = excluded.first_seen_at, \
        last_seen_at = max(lobby.last_seen_at, excluded.last_seen_at), decided_at = excluded.decided_at, \
        deleted_at = excluded.deleted_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let [model, hostname, firmware] = self.info.texts();
        let vdoms: Vec<&str> = self.vdoms.iter().map(VdomName::as_str).collect();
        let here = matches!(self.state, LobbyState::Waiting | LobbyState::Rejected);
        query
            .bind(self.id.0)
            .bind(self.serial.as_str())
            .bind(model)
            .bind(hostname)
            .bind(firmware)
            .bind(vdoms.join(" "))
            .bind(self.address.map(|address| address.to_string()))
            .bind(self.state as i64)
            .bind(self.realm.map(|realm| realm.0))
            .bind(&*self.decided_by)
            .bind(self.why.as_str())
            .bind(self.first_seen_at.micros())
            .bind(self.last_seen_at.micros())
            .bind(self.attempts)
            .bind(self.decided_at.map(Timestamp::micros))
            .bind(self.decided_at.filter(|_| !here).map(Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let vdoms: &str = row.try_get(5)?;
        let bad = || StoreError::Inconsistent { table: "lobby", column: "vdoms", value: vdoms.to_owned() };
        let address: Option<&str> = row.try_get(6)?;
        Ok(Self {
            id: LobbyId(row.try_get(0)?),
            serial: parse::<SerialNumber>(row, 1, "lobby", "serial")?,
            info: DeviceInfo {
                model: parse::<Text>(row, 2, "lobby", "model")?,
                hostname: parse::<Text>(row, 3, "lobby", "hostname")?,
                firmware: parse::<Text>(row, 4, "lobby", "firmware")?,
            },
            vdoms: vdoms.split_whitespace().map(str::parse).collect::<Result<_, _>>().map_err(|_| bad())?,
            address: address.and_then(|address| address.parse().ok()),
            state: number(row, 7, "lobby", "state", LobbyState::from_number)?,
            realm: row.try_get::<Option<i64>, _>(8)?.map(RealmId),
            decided_by: row.try_get::<&str, _>(9)?.into(),
            why: parse::<Text>(row, 10, "lobby", "why")?,
            first_seen_at: time(row, 11)?,
            last_seen_at: time(row, 12)?,
            attempts: row.try_get(13)?,
            decided_at: optional_time(row, 14)?,
        })
    }
}

/// A rule as JSON.
#[derive(Deserialize, Serialize)]
struct RuleText {
    prefix: String,
    range: Option<String>,
    decision: String,
}

/// A test as JSON.
#[derive(Deserialize, Serialize)]
struct TestText {
    serial: String,
    address: Option<String>,
    expected: String,
}

fn decision(text: &str) -> Option<Decision> {
    Some(match text {
        "reject" => Decision::Reject,
        "lobby" => Decision::Lobby,
        "no rule" => Decision::Admit(None),
        realm => Decision::Admit(Some(RealmId(realm.strip_prefix("realms/")?.parse().ok()?))),
    })
}

impl Entity for Admission {
    const TABLE: &'static str = "admission";
    const COLUMNS: &'static [&'static str] = &["only", "rules", "tests", "updated_at"];
    const CONFLICT: &'static str = " ON CONFLICT (only) DO UPDATE SET rules = excluded.rules, tests = excluded.tests, \
        updated_at = excluded.updated_at";

    fn bind<'q>(&'q self, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        let rules: Vec<RuleText> = self
            .rules
            .iter()
            .map(|rule| RuleText {
                prefix: rule.serial_prefix.to_string(),
                range: rule.range.map(|range| range.to_string()),
                decision: rule.decision.to_string(),
            })
            .collect();
        let tests: Vec<TestText> = self
            .tests
            .iter()
            .map(|test| TestText {
                serial: test.serial.to_string(),
                address: test.address.map(|address| address.to_string()),
                expected: test.expected.to_string(),
            })
            .collect();
        query
            .bind(1_i64)
            // Serialising texts into memory cannot fail.
            .bind(serde_json::to_string(&rules).unwrap_or_default())
            .bind(serde_json::to_string(&tests).unwrap_or_default())
            .bind(self.updated_at.map_or(0, Timestamp::micros))
    }

    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        let (rules, tests): (&str, &str) = (row.try_get(1)?, row.try_get(2)?);
        read_admission(rules, tests)
            .map(|(rules, tests)| time(row, 3).map(|at| Self { rules, tests, updated_at: Some(at) }))
            .ok_or_else(|| StoreError::Inconsistent { table: "admission", column: "rules", value: rules.to_owned() })?
    }
}

fn read_admission(rules: &str, tests: &str) -> Option<(Vec<AdmissionRule>, Vec<AdmissionTest>)> {
    let rules: Vec<RuleText> = serde_json::from_str(rules).ok()?;
    let tests: Vec<TestText> = serde_json::from_str(tests).ok()?;
    let rule = |rule: RuleText| {
        let range = match rule.range {
            Some(range) => Some(range.parse().ok()?),
            None => None,
        };
        Some(AdmissionRule { serial_prefix: rule.prefix.into(), range, decision: decision(&rule.decision)? })
    };
    let test = |test: TestText| {
        let address = match test.address {
            Some(address) => Some(address.parse().ok()?),
            None => None,
        };
        Some(AdmissionTest { serial: test.serial.parse().ok()?, address, expected: decision(&test.expected)? })
    };
    Some((rules.into_iter().map(rule).collect::<Option<_>>()?, tests.into_iter().map(test).collect::<Option<_>>()?))
}
