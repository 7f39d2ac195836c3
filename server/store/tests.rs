//! The embedded store, over real files.

mod migrations;

use std::path::{Path, PathBuf};

use muster_proto::Text;
use muster_proto::admin::{AUTH_CLIENTS, DEVICES, Position};
use muster_proto::device::DeviceInfo;
use proptest::prelude::*;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::registry::{AuthClientId, DeleteMode, OwnerId, RealmId, Tombstone};

const NOW: Timestamp = Timestamp::from_micros(5);

fn database() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("muster.db");
    (dir, path)
}

async fn sql(path: &Path, text: &'static str) {
    let mut connection = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
    sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn device(id: i64) -> Device {
    Device {
        id: DeviceId(id),
        serial: format!("FG101FTK{id:08}").parse().unwrap(),
        info: DeviceInfo::default(),
        generation: 1,
        digest: [7; 32],
        created_at: NOW,
        updated_at: NOW,
        deleted: None,
        last_seen_at: NOW,
        contacts: 0,
        cluster: None,
        realm: None,
        key_hash: None,
        disputed: false,
    }
}

fn client(id: i64, device: i64, vdom: &str, deleted: bool) -> AuthClient {
    AuthClient {
        id: AuthClientId(id),
        owner: OwnerId(device),
        vdom: vdom.parse().unwrap(),
        realm: RealmId::DEFAULT,
        alias: Text::default(),
        users: 0,
        users_digest: [0; 32],
        created_at: NOW,
        updated_at: NOW,
        deleted: deleted.then(|| {
            Box::new(Tombstone {
                at: NOW,
                mode: DeleteMode::Ban,
                by: "admin:first".into(),
                why: "sold".parse().unwrap(),
            })
        }),
        removed_at: deleted.then_some(NOW),
    }
}

/// A state in which these are new.
fn with(devices: impl IntoIterator<Item = Device>, clients: impl IntoIterator<Item = AuthClient>) -> State {
    let mut state = State::default();
    devices.into_iter().for_each(|device| state.devices.put(device.serial, device));
    clients.into_iter().for_each(|client| state.auth_clients.put((client.owner, client.vdom), client));
    state
}

#[tokio::test]
async fn an_empty_file_is_brought_up_to_date_once() {
    let (_dir, path) = database();
    for _ in 0..2 {
        let (mut writing, _) = open_sqlite(&path).await.unwrap();
        assert_eq!(writing.next_id().await.unwrap(), 1_000);
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let (_dir, path) = database();
    drop(open_sqlite(&path).await.unwrap());
    sql(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)",
    )
    .await;
    let refused = open_sqlite(&path).await.unwrap_err().to_string();
    assert!(refused.contains("it is from a newer version of Muster (migration 9999)"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let (_dir, path) = database();
    std::fs::write(&path, "not a database, but long enough to look like one".repeat(100)).unwrap();
    let refused = open_sqlite(&path).await.unwrap_err().to_string();
    assert!(refused.contains("it is damaged, or not a database of Muster"), "{refused}");
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_named() {
    let (_dir, path) = database();
    let (mut writing, reading) = open_sqlite(&path).await.unwrap();
    let one = device(1);
    writing.apply(&with([one.clone()], []), &[], 2_000).await.unwrap();
    sql(&path, "UPDATE device SET serial = 'bad'").await;
    let query = Query::parse(DEVICES, 0, "", "", "", false).unwrap();
    let error = reading.list_devices(&query).await.unwrap_err();
    assert!(matches!(&error, StoreError::Inconsistent { table: "device", column: "serial", value } if value == "bad"));
}

#[tokio::test]
async fn more_rows_than_one_statement_takes_are_written_and_loaded() {
    let (_dir, path) = database();
    let (mut writing, _) = open_sqlite(&path).await.unwrap();
    let devices: Vec<_> = (1..=1_500).map(device).collect();
    let clients: Vec<_> = (1..=1_500).map(|id| client(10_000 + id, id, "root", false)).collect();
    writing.apply(&with(devices.clone(), clients.clone()), &[], 20_000).await.unwrap();
    let mut state = State::default();
    let needs = Needs {
        devices: devices.iter().map(|device| device.serial).collect(),
        owners: devices.iter().map(Device::owner).collect(),
        ..Needs::default()
    };
    writing.load(&needs, &mut state).await.unwrap();
    assert_eq!(state.devices.iter().map(|(_, device)| device.clone()).collect::<Vec<_>>(), devices);
    assert_eq!(state.auth_clients.iter().map(|(_, client)| client.clone()).collect::<Vec<_>>(), clients);
    assert_eq!(writing.next_id().await.unwrap(), 20_000);
}

#[tokio::test]
async fn the_time_of_the_last_call_only_moves_forward() {
    let (_dir, path) = database();
    let (mut writing, reading) = open_sqlite(&path).await.unwrap();
    let one = device(1);
    writing.apply(&with([one.clone()], []), &[], 2_000).await.unwrap();
    for (touched, expected) in [(4, 5), (9, 9), (6, 9)] {
        writing.touch(&[(one.id, Seen { at: Timestamp::from_micros(touched), refused: 0 })]).await.unwrap();
        let (held, _) = reading.device(one.serial).await.unwrap().unwrap();
        assert_eq!(held.last_seen_at, Timestamp::from_micros(expected));
    }
}

#[tokio::test]
async fn a_prefix_is_taken_to_the_letter() {
    let (_dir, path) = database();
    let (mut writing, reading) = open_sqlite(&path).await.unwrap();
    let mut devices: Vec<_> = (1..=4).map(device).collect();
    for (device, hostname) in devices.iter_mut().zip(["a_b", "axb", "a%b", "a"]) {
        device.info.hostname = hostname.parse().unwrap();
    }
    writing.apply(&with(devices.clone(), []), &[], 2_000).await.unwrap();
    for (prefix, expected) in [("a_", vec![1]), ("a%", vec![3]), ("a", vec![1, 2, 3, 4]), ("A", vec![])] {
        let filter = format!("hostname = \"{prefix}*\"");
        let query = Query::parse(DEVICES, 0, "", &filter, "", false).unwrap();
        let (found, total) = reading.list_devices(&query).await.unwrap();
        assert_eq!(found.iter().map(|device| device.id.0).collect::<Vec<_>>(), expected, "{prefix}");
        assert_eq!(usize::try_from(total).unwrap(), expected.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn the_pages_of_a_list_are_the_whole_list_in_order(
        rows in prop::collection::btree_map((1_i64..5, "[ab]{1,2}"), any::<bool>(), 0..20),
        size in 1_i32..6,
        order in prop::sample::select(vec!["", "id desc", "vdom", "vdom desc", "serial_number", "serial_number desc"]),
        prefix in prop::option::of("[ab]"),
        show_deleted: bool,
    ) {
        let devices: Vec<_> = (1..5).map(device).collect();
        let clients: Vec<_> = rows.iter().zip(100_i64..)
            .map(|(((device, vdom), deleted), id)| client(id, *device, vdom, *deleted)).collect();
        let mut model: Vec<&AuthClient> = clients.iter()
            .filter(|client| show_deleted || client.is_active())
            .filter(|client| prefix.as_ref().is_none_or(|prefix| client.vdom.as_str().starts_with(prefix.as_str())))
            .collect();
        let key = |client: &AuthClient| match order.split(' ').next() {
            Some("vdom") => client.vdom.to_string(),
            Some("serial_number") => device(client.owner.0).serial.to_string(),
            _ => String::new(),
        };
        model.sort_by_key(|client| (key(client), client.id));
        if order.ends_with("desc") {
            model.reverse();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (listed, totals) = runtime.block_on(async {
            let (_dir, path) = database();
            let (mut writing, reading) = open_sqlite(&path).await.unwrap();
            writing.apply(&with(devices, clients.clone()), &[], 2_000).await.unwrap();
            let filter = prefix.as_ref().map_or(String::new(), |prefix| format!("vdom = \"{prefix}*\""));
            let (mut listed, mut totals, mut token) = (Vec::new(), Vec::new(), String::new());
            loop {
                let query = Query::parse(AUTH_CLIENTS, size, &token, &filter, order, show_deleted).unwrap();
                let (mut page, total) = reading.list_auth_clients(&query).await.unwrap();
                totals.push(usize::try_from(total).unwrap());
                let more = page.len() > usize::try_from(size).unwrap();
                page.truncate(usize::try_from(size).unwrap());
                listed.extend(page.into_iter().map(|row| row.client));
                let Some(last) = listed.last().filter(|_| more) else { break };
                let key = query.order.key.map(|_| key(last)).unwrap_or_default();
                token = query.token(&Position { id: last.id.0, key });
            }
            (listed, totals)
        });
        prop_assert_eq!(listed.iter().collect::<Vec<_>>(), model.clone());
        prop_assert!(totals.iter().all(|total| *total == model.len()));
    }
}
