//! `kill -9` at any moment loses nothing that was answered.

#![expect(clippy::unwrap_used, reason = "what a test cannot do fails it")]

mod process;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use muster_proto::v1;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use process::{Process, connect};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// How often the server is killed.
const KILLS: u32 = 50;
/// How many devices call at the same time.
const DEVICES: u32 = 8;

/// The VDOMs of a device as they may be: as the last answer said, or as a call without an answer may have left them.
#[derive(Clone, Debug, Default)]
struct Expected {
    answered: Option<Vec<String>>,
    in_doubt: Option<Vec<String>>,
}

type Ledger = Arc<Mutex<HashMap<String, Expected>>>;

/// One device: registers if it is new, and then syncs one list after the other, until the server is gone.
async fn call_until_killed(channel: Channel, serial: String, is_new: bool, ledger: Ledger, answers: Arc<Answers>) {
    let mut client = DeviceServiceClient::new(channel);
    for step in 0_u32.. {
        let mut names = vec!["root".to_owned()];
        names.extend((0..3).map(|index| format!("v{}", (step + index) % 5)));
        names.sort();
        ledger.lock().unwrap().entry(serial.clone()).or_default().in_doubt = Some(names.clone());
        let vdoms = names.iter().map(|name| v1::Vdom { name: name.clone() }).collect();
        let done = if is_new && step == 0 {
            let request = v1::RegisterRequest { serial_number: serial.clone(), vdoms, ..Default::default() };
            client.register(request).await.is_ok()
        } else {
            let full_list = Some(v1::VdomList { vdoms });
            let request = v1::SyncRequest { serial_number: serial.clone(), full_list, ..Default::default() };
            client.sync(request).await.is_ok()
        };
        if !done {
            return;
        }
        *ledger.lock().unwrap().get_mut(&serial).unwrap() = Expected { answered: Some(names), in_doubt: None };
        answers.count();
    }
}

/// How many answers came; the killer waits for so many.
#[derive(Default)]
struct Answers {
    count: AtomicU32,
    more: Notify,
}

impl Answers {
    fn count(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.more.notify_one();
    }

    async fn reach(&self, count: u32) {
        while self.count.load(Ordering::Relaxed) < count {
            self.more.notified().await;
        }
    }
}

#[tokio::test]
async fn kill_minus_nine_loses_nothing_that_was_answered() {
    let data = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    for round in 0..KILLS {
        let mut server = Process::start(data.path());
        let channel = connect(data.path(), server.address).await;
        let answers = Arc::new(Answers::default());
        let mut devices = JoinSet::new();
        for device in 0..DEVICES {
            // New devices and known ones, side by side.
            let is_new = device % 2 == 1;
            let serial = format!("FG101F{:010}", if is_new { 1_000 + round * DEVICES + device } else { device });
            let (ledger, answers) = (Arc::clone(&ledger), Arc::clone(&answers));
            devices.spawn(call_until_killed(channel.clone(), serial, is_new, ledger, answers));
        }
        // At another moment in every round: right after the n-th answer.
        answers.reach(1 + round * 7 % 60).await;
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        while let Some(ended) = devices.join_next().await {
            ended.unwrap();
        }
    }
    // The server that comes after opens the log that the last kill left.
    drop(Process::start(data.path()));
    let held = held(data.path()).await;
    for (serial, expected) in &*ledger.lock().unwrap() {
        let found = held.get(serial);
        let allowed = [&expected.answered, &expected.in_doubt];
        let is_allowed = match found {
            None => expected.answered.is_none(),
            // Whole as answered, or whole as in doubt; never half of either.
            Some(found) => allowed.into_iter().flatten().any(|names| names == found),
        };
        assert!(is_allowed, "{serial}: found {found:?}, expected {expected:?}");
    }
}

/// The active VDOMs of each device, sorted; and a look at everything that must hold in the file.
async fn held(data_dir: &Path) -> HashMap<String, Vec<String>> {
    let options = SqliteConnectOptions::new().filename(data_dir.join("muster.db"));
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut database).await.unwrap();
    assert_eq!(sound, "ok");
    let ids = "SELECT id FROM device UNION ALL SELECT id FROM auth_client";
    let ids: Vec<i64> = sqlx::query_scalar(ids).fetch_all(&mut database).await.unwrap();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "an id was given twice");
    let next: i64 = sqlx::query_scalar("SELECT next_id FROM register").fetch_one(&mut database).await.unwrap();
    assert!(ids.iter().all(|id| *id < next), "an id could be given again");
    let query = "SELECT device.serial, auth_client.vdom FROM device JOIN auth_client ON auth_client.device_id = device.id \
                 WHERE auth_client.deleted_at IS NULL AND device.deleted_at IS NULL ORDER BY auth_client.vdom";
    let mut held: HashMap<String, Vec<String>> = HashMap::new();
    for row in sqlx::query(query).fetch_all(&mut database).await.unwrap() {
        held.entry(row.get(0)).or_default().push(row.get(1));
    }
    held
}
