//! `kill -9` at any moment loses nothing that was answered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_proto::v1;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};
use tempfile::tempdir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::clients::{register, relay, relay_certificate};
use crate::patience::within;
use crate::process::{Running, server};

/// How often the server is killed.
const KILLS: u32 = 50;
/// How many devices call at the same time.
const DEVICES: u32 = 8;

/// The state of a device as it may be: as the last answer said, or as one of the calls without an answer since then has left it.
#[derive(Clone, Debug, Default)]
struct Expected {
    answered: Option<Answered>,
    in_doubt: Vec<BTreeSet<String>>,
    /// The operations whose answers said that something changed.
    changes: Vec<String>,
}

/// What an answer promised.
#[derive(Clone, Debug)]
struct Answered {
    vdoms: BTreeSet<String>,
    generation: i64,
    digest: Vec<u8>,
}

type Ledger = Arc<Mutex<HashMap<String, Expected>>>;

/// One device: registers if it is new, and then syncs one list after the other, until the server is gone.
async fn call_until_killed(
    mut client: DeviceServiceClient<Channel>,
    serial: String,
    is_new: bool,
    ledger: Ledger,
    answers: UnboundedSender<()>,
) {
    for step in 0_u32.. {
        // Lists that differ in more than one name, so that half of a change would be seen.
        let names: BTreeSet<_> = (0..3).map(|index| format!("v{}", (step * 2 + index) % 7)).collect();
        let mut held = names.clone();
        held.insert("root".to_owned());
        ledger.lock().unwrap().entry(serial.clone()).or_default().in_doubt.push(held.clone());
        let done = if is_new && step == 0 {
            let answer = client.register(register(&serial, names)).await.map(tonic::Response::into_inner);
            answer.map(|answer| (answer.operation_id, answer.outcome, answer.generation, answer.digest))
        } else {
            let vdoms = held.iter().map(|name| v1::Vdom { name: name.clone() }).collect();
            let full_list = Some(v1::VdomList { vdoms });
            let request = v1::SyncRequest { serial_number: serial.clone(), full_list, ..Default::default() };
            let answer = client.sync(request).await.map(tonic::Response::into_inner);
            answer.map(|answer| (answer.operation_id, answer.outcome, answer.generation, answer.digest))
        };
        let Ok((operation, outcome, generation, digest)) = done else { return };
        let mut ledger = ledger.lock().unwrap();
        let expected = ledger.get_mut(&serial).unwrap();
        if outcome != i32::from(v1::Outcome::Unchanged) {
            expected.changes.push(operation);
        }
        (expected.answered, expected.in_doubt) = (Some(Answered { vdoms: held, generation, digest }), Vec::new());
        drop(ledger);
        // Nobody counts any more once enough have come.
        let _ = answers.send(());
    }
}

#[tokio::test]
async fn kill_minus_nine_loses_nothing_that_was_answered() {
    let data = tempdir().unwrap();
    let ledger = Ledger::default();
    let mut certificate = None;
    let mut ids = BTreeMap::new();
    for round in 0..KILLS {
        let running = Running::start(server(data.path())).await;
        if certificate.is_none() {
            certificate = Some(relay_certificate(data.path()).await);
        }
        let client = relay(data.path(), running.address, certificate.as_ref().unwrap());
        let (answered, mut answers) = unbounded_channel();
        let mut devices = JoinSet::new();
        for device in 0..DEVICES {
            // New devices and known ones, side by side.
            let is_new = device % 2 == 1;
            let serial = format!("FG101F{:010}", if is_new { 1_000 + round * DEVICES + device } else { device });
            devices.spawn(call_until_killed(client.clone(), serial, is_new, Arc::clone(&ledger), answered.clone()));
        }
        // At another moment in every round: right after the n-th answer.
        for _ in 0..=round * 7 % 60 {
            within(answers.recv()).await.unwrap();
        }
        running.signal("KILL");
        running.ended().await;
        while let Some(ended) = devices.join_next().await {
            ended.unwrap();
        }
        if round % 10 == 9 {
            // What has an id keeps it.
            for (what, id) in Held::read(data.path()).await.ids {
                assert_eq!(*ids.entry(what.clone()).or_insert(id), id, "{what} has another id than before");
            }
        }
    }
    // The server that comes after opens the log that the last kill left.
    let running = Running::start(server(data.path())).await;
    running.signal("TERM");
    assert!(running.ended().await.status.success());
    let held = Held::read(data.path()).await;
    for (serial, expected) in &*ledger.lock().unwrap() {
        held.check(serial, expected);
    }
    assert!(ids.iter().all(|(what, id)| held.ids.get(what) == Some(id)), "an id changed, or what had it is gone");
}

/// What the database holds.
#[derive(Debug, Default)]
struct Held {
    devices: HashMap<String, HeldDevice>,
    /// The operations of the audit log, and the device of each.
    audit: HashMap<String, String>,
    ids: BTreeMap<String, i64>,
}

#[derive(Debug, Default)]
struct HeldDevice {
    vdoms: BTreeSet<String>,
    generation: i64,
    digest: Vec<u8>,
    audited: i64,
}

impl Held {
    /// Reads all of it, and looks at what must hold in any case.
    async fn read(data_dir: &Path) -> Self {
        let mut database: SqliteConnection =
            SqliteConnectOptions::new().filename(data_dir.join("muster.db")).connect().await.unwrap();
        let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut database).await.unwrap();
        assert_eq!(sound, "ok");
        let mut held = Self::default();
        for row in
            sqlx::query("SELECT id, serial, generation, digest FROM device").fetch_all(&mut database).await.unwrap()
        {
            let serial: String = row.get(1);
            held.ids.insert(serial.clone(), row.get(0));
            let device = HeldDevice { generation: row.get(2), digest: row.get(3), ..HeldDevice::default() };
            held.devices.insert(serial, device);
        }
        let query = "SELECT auth_client.id, device.serial, auth_client.vdom, auth_client.deleted_at IS NULL \
                     FROM auth_client JOIN device ON device.id = auth_client.owner_id";
        for row in sqlx::query(query).fetch_all(&mut database).await.unwrap() {
            let (serial, vdom): (String, String) = (row.get(1), row.get(2));
            held.ids.insert(format!("{serial}-{vdom}"), row.get(0));
            if row.get(3) {
                held.devices.get_mut(&serial).unwrap().vdoms.insert(vdom);
            }
        }
        // Rows that are about no device, such as that of the first admin token, are none of its calls.
        let query = "SELECT lower(hex(operation_id)), serial FROM audit WHERE serial <> ''";
        for row in sqlx::query(query).fetch_all(&mut database).await.unwrap() {
            let serial: String = row.get(1);
            held.devices.get_mut(&serial).unwrap().audited += 1;
            let before = held.audit.insert(row.get(0), serial);
            assert_eq!(before, None, "an operation was audited twice");
        }
        let next: i64 = sqlx::query_scalar("SELECT next_id FROM register").fetch_one(&mut database).await.unwrap();
        assert!(held.ids.values().all(|id| *id < next), "an id could be given again");
        assert_eq!(held.ids.values().collect::<HashSet<_>>().len(), held.ids.len(), "an id was given twice");
        for (serial, device) in &held.devices {
            // Each change is in one commit with its audit row and with the generation and the digest that go with it.
            assert_eq!(device.generation, device.audited, "{serial}: {device:?}");
            let vdoms = device.vdoms.iter().map(|name| name.parse().unwrap());
            assert_eq!(device.digest, muster_proto::digest([""; 3], vdoms), "{serial}: {device:?}");
        }
        held
    }

    /// What was answered is there, and what was not answered is there as a whole or not at all.
    fn check(&self, serial: &str, expected: &Expected) {
        let found = self.devices.get(serial);
        let as_answered = match (&expected.answered, found) {
            (None, None) => !expected.in_doubt.is_empty(),
            (Some(answered), Some(found)) => {
                (answered.generation, &answered.digest, &answered.vdoms)
                    == (found.generation, &found.digest, &found.vdoms)
            }
            _ => false,
        };
        let before = expected.answered.as_ref().map_or(0, |answered| answered.generation);
        let as_in_doubt = found.is_some_and(|found| {
            let made = usize::try_from(found.generation - before).unwrap();
            (1..=expected.in_doubt.len()).contains(&made) && expected.in_doubt.contains(&found.vdoms)
        });
        assert!(as_answered || as_in_doubt, "{serial}: found {found:?}, expected {expected:?}");
        for operation in &expected.changes {
            assert_eq!(
                self.audit.get(operation).map(String::as_str),
                Some(serial),
                "an answered change was not audited"
            );
        }
    }
}

#[tokio::test]
async fn a_first_start_that_was_killed_is_made_good_by_the_next() {
    // From before anything is made until after everything is.
    for step in 0..12 {
        let data = tempdir().unwrap();
        let mut first = server(data.path()).spawn().unwrap();
        let soon = Duration::from_millis(step * 10);
        // Either way it ends here: a start does not end by itself.
        assert!(tokio::time::timeout(soon, first.wait()).await.is_err());
        within(first.kill()).await.unwrap();
        let running = Running::start(server(data.path())).await;
        let certificate = relay_certificate(data.path()).await;
        let mut client = relay(data.path(), running.address, &certificate);
        client.register(register("FG101FTK19002788", ["sales"])).await.unwrap();
        running.signal("TERM");
        assert!(running.ended().await.status.success());
    }
}
