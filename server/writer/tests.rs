//! The writer, over a real database file.

mod glance;
mod realms;
mod user_sync;

use std::collections::HashMap;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use muster_proto::channel::{Features, Hello};
use muster_proto::debug_log::{FeedRequest, HEARTBEAT, Start};
use muster_proto::device::{Deletion, DeviceInfo, Registration, Sync, Target};
use muster_proto::device_users::{ClientTarget, NewMobile, UserAddition, UserDeletion, UserUpdate};
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::{SerialNumber, Text, UserAttributes, UserKind, VdomName, digest, v1};
use proptest::prelude::*;
use prost::Message as _;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::feed::{Feed, Scope};
use crate::identity::revocations::Revocations;
use crate::registry::{Action, Options};
use crate::store::open_sqlite;

const NOW: Timestamp = Timestamp::from_micros(5_000_000);

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A writer over a database of its own.
struct Bench {
    dir: TempDir,
    feed: Feed,
    writer: Writer,
    task: Option<WriterTask>,
    operations: u64,
    /// Whether every command queues up.
    queues: bool,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open_sqlite(&dir.path().join("muster.db")).await.unwrap();
        let feed = Feed::new(1 << 22, 1, Arc::new(FixedClock));
        let (healthy, _) = watch::channel(true);
        let (writer, task) =
            WriterTask::new(Box::new(store), feed.clone(), Arc::new(FixedClock), healthy, Revocations::new([]))
                .await
                .unwrap();
        Self { dir, feed, writer, task: Some(task), operations: 0, queues: false }
    }

    /// One that answers nothing at a glance.
    async fn queueing() -> Self {
        Self { queues: true, ..Self::new().await }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("muster.db")
    }

    async fn sql(&self, text: &'static str) {
        let mut connection = SqliteConnection::connect(&self.path().display().to_string()).await.unwrap();
        sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    fn submit(&mut self, command: Command) -> Result<Pending, Refusal> {
        self.operations += 1;
        let id = OperationId::new(NOW, self.operations);
        let operation = Operation {
            id,
            at: NOW,
            method: "Test",
            caller: "device:X".into(),
            reach: Reach::Everything,
            address: None,
            web_app: None,
            proof: None,
        };
        if self.queues { self.writer.enqueue(operation, command) } else { self.writer.submit(operation, command) }
    }

    /// Hands in some commands at once, and waits for all of the answers.
    async fn batch(&mut self, commands: &[Command]) -> Vec<Result<Answer, Refusal>> {
        let pending: Vec<_> = commands.iter().map(|command| self.submit(command.clone()).unwrap()).collect();
        // The task begins only now, so that it finds all of them.
        if let Some(task) = self.task.take() {
            tokio::spawn(task.run());
        }
        let mut answers = Vec::new();
        for pending in pending {
            answers.push(pending.answer().await);
        }
        answers
    }

    /// What the debug feed holds, oldest first.
    async fn events(&self) -> Vec<v1::DebugEvent> {
        let request = FeedRequest {
            start: Start::Earliest,
            follow: false,
            until: None,
            limit: None,
            include: vec![],
            exclude: vec![],
            heartbeat: HEARTBEAT,
        };
        let viewing = self.feed.watch(&request, &Scope::All, CancellationToken::new()).unwrap();
        let responses: Vec<_> = viewing.collect().await;
        let kinds = responses.iter().map(|it| v1::StreamDebugLogsResponse::decode(it.bytes().clone()).unwrap().kind);
        let events = kinds.filter_map(|kind| if let Some(Kind::Event(event)) = kind { Some(event) } else { None });
        events.collect()
    }

    /// How each operation ended, by the debug feed: (operation, reason).
    async fn endings(&self) -> Vec<(String, String)> {
        let ended = self.events().await.into_iter().filter(|event| event.terminal);
        ended.map(|event| (event.operation_id, event.reason)).collect()
    }

    /// Ends the writer, and tells when the one device last called.
    async fn last_seen(self, running: JoinHandle<()>) -> i64 {
        let Self { dir, writer, .. } = self;
        drop(writer);
        running.await.unwrap();
        let path = dir.path().join("muster.db");
        let mut connection = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
        sqlx::query_scalar("SELECT last_seen_at FROM device").fetch_one(&mut connection).await.unwrap()
    }

    /// What the database holds of everything that has an id of its own, row by row.
    async fn content(&self) -> Vec<String> {
        let mut connection = SqliteConnection::connect(&self.path().display().to_string()).await.unwrap();
        let text = "SELECT 'device' || json_array(id, serial, model, hostname, firmware, generation, hex(digest), \
                    created_at, updated_at, deleted_at) AS line FROM device \
                    UNION ALL SELECT 'client' || json_array(id, owner_id, vdom, realm_id, users, hex(users_digest), created_at, updated_at, \
                    deleted_at) FROM auth_client \
                    UNION ALL SELECT 'user' || json_array(id, realm_id, user_key, username, disabled, refs, updated_at, deleted_at) \
                    FROM user \
                    UNION ALL SELECT 'ref' || json_array(id, auth_client_id, user_key, user_id, username, email, mobile, kind, \
                    active, updated_at, deleted_at) FROM user_ref \
                    UNION ALL SELECT 'audit' || json_array(at, hex(operation_id), caller, method, serial, changes) FROM audit \
                    UNION ALL SELECT 'next ' || next_id FROM register ORDER BY line";
        sqlx::query_scalar(text).fetch_all(&mut connection).await.unwrap()
    }
}

fn serial(number: u8) -> SerialNumber {
    format!("FG101FTK{number:08}").parse().unwrap()
}

fn names(text: &str) -> Vec<VdomName> {
    text.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

fn register(number: u8, vdoms: &str) -> Command {
    let info = DeviceInfo::default();
    Action::Register(Registration { serial: serial(number), info, vdoms: names(vdoms), ha: None, license: None }).into()
}

fn command() -> impl Strategy<Value = Command> {
    let list = || prop::sample::subsequence(vec!["root", "a", "b", "#FOS_Administrator"], 0..=4);
    let list = || list().prop_map(|list| names(&list.join(" ")));
    let number = || 0_u8..3;
    let action = prop_oneof![
        6 => user_action(),
        3 => (number(), list(), any::<bool>()).prop_map(|(number, vdoms, named)| {
            let hostname = if named { "h" } else { "" }.parse().unwrap();
            let info = DeviceInfo { hostname, ..DeviceInfo::default() };
            Action::Register(Registration { serial: serial(number), info, vdoms, ha: None, license: None })
        }),
        4 => (number(), list(), prop::option::weighted(0.2, 0_i64..4)).prop_map(|(number, list, base_generation)| {
            let (info, full_list) = (DeviceInfo::default(), Some(list));
            Action::Sync(Sync { serial: serial(number), info, full_list, base_generation, digest: None, confirm_token: None, ha: None })
        }),
        2 => (number(), list(), any::<bool>()).prop_map(|(number, list, is_hello)| {
            let (serial, info, digest) = (serial(number), DeviceInfo::default(), Some(digest([""; 3], list)));
            if is_hello {
                let boot_id = Text::default();
                let features = Features::default();
                return Action::Hello(Hello { serial, info, boot_id, device_time: None, digest, features });
            }
            Action::Sync(Sync { serial, info, full_list: None, base_generation: None, digest, confirm_token: None, ha: None })
        }),
        2 => (number(), prop::sample::select(vec!["root", "a", "b", ""])).prop_map(|(number, name)| {
            let target = name.parse().map_or(Target::WholeDevice, Target::Vdom);
            Action::Delete(Deletion { serial: serial(number), target, epoch: None })
        }),
    ];
    (action, prop::bool::weighted(0.1))
        .prop_map(|(action, validate_only)| Command { action, options: Options { validate_only, plan: None } })
}

fn attributes(name: &str, domain: &str) -> UserAttributes {
    let (username, email) = (name.parse().unwrap(), format!("x@{domain}").parse().unwrap());
    UserAttributes { username, email, mobile: None, kind: UserKind::Local, active: true }
}

/// Something about one of a few users of one of a few auth clients.
fn user_action() -> impl Strategy<Value = Action> {
    let (vdom, name) = (prop::sample::select(vec!["root", "a"]), prop::sample::select(vec!["alice", "Alice", "bob"]));
    let domain = prop::sample::select(vec!["example.com", "example.org"]);
    (0_u8..3, 0_u8..4, vdom, name, domain).prop_map(|(number, what, vdom, name, domain)| {
        let target = ClientTarget { serial: serial(number), vdom: vdom.parse().unwrap(), epoch: None };
        let UserAttributes { username, email, .. } = attributes(name, domain);
        match what {
            0 | 1 => Action::AddUser(UserAddition { target: target.into(), user: attributes(name, domain) }),
            2 => {
                let (email, active) = (Some(email), Some(domain == "example.com"));
                Action::UpdateUser(UserUpdate {
                    target: target.into(),
                    username,
                    email,
                    mobile: NewMobile::Kept,
                    kind: None,
                    active,
                })
            }
            _ => Action::DeleteUser(UserDeletion { target: target.into(), username }),
        }
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_batch_gives_what_its_commands_give_one_by_one(
        batches in prop::collection::vec(prop::collection::vec(command(), 1..8), 1..5),
    ) {
        let (together, alone) = block_on(async {
            let (mut together, mut alone) = (Bench::queueing().await, Bench::queueing().await);
            let (mut of_batches, mut of_commands) = (Vec::new(), Vec::new());
            for batch in &batches {
                of_batches.extend(together.batch(batch).await);
                for command in batch {
                    of_commands.extend(alone.batch(std::slice::from_ref(command)).await);
                }
            }
            let endings = (together.endings().await, alone.endings().await);
            ((of_batches, together.content().await, endings.0), (of_commands, alone.content().await, endings.1))
        });
        prop_assert_eq!(together, alone);
    }
}

#[tokio::test]
async fn a_command_that_the_database_refuses_fails_alone() {
    let mut bench = Bench::new().await;
    bench
        .sql(
            "CREATE TRIGGER poison BEFORE INSERT ON device WHEN NEW.serial = 'FG101FTK00000005' \
              BEGIN SELECT RAISE(ABORT, 'poison'); END",
        )
        .await;
    let commands: Vec<_> = (0..9).map(|number| register(number, "a")).collect();
    let answers = bench.batch(&commands).await;
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(_) => assert_ne!(number, 5),
            Err(refusal) => assert_eq!((number, refusal.reason), (5, Reason::StoreRefused)),
        }
    }
    let devices = bench.content().await.iter().filter(|line| line.starts_with("device")).count();
    assert_eq!(devices, 8);
    let operations: Vec<_> = bench.endings().await.into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(operations.len(), 9);
    assert!(operations.is_sorted());
}

#[tokio::test]
async fn a_device_whose_row_is_damaged_fails_alone() {
    let mut bench = Bench::new().await;
    bench.batch(&[register(1, ""), register(2, "")]).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    // The writer remembers devices that it committed; it reads their VDOMs.
    let damage = "UPDATE auth_client SET vdom = char(27) \
                  WHERE owner_id = (SELECT id FROM device WHERE serial = 'FG101FTK00000001')";
    bench.sql(damage).await;
    let answers = bench.batch(&[register(0, ""), register(1, "a"), register(2, "a")]).await;
    let reasons: Vec<_> = answers.iter().map(|answer| answer.as_ref().err().map(|refusal| refusal.reason)).collect();
    assert_eq!(reasons, [None, Some(Reason::Internal), None]);
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let mut bench = Bench::new().await;
    bench.batch(&[register(1, "a")]).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let mut connection = SqliteConnection::connect(&bench.path().display().to_string()).await.unwrap();
    let version = "PRAGMA data_version";
    let before: i64 = sqlx::query_scalar(version).fetch_one(&mut connection).await.unwrap();
    let answers = bench.batch(&[register(1, "a"), register(1, "")]).await;
    assert!(answers.iter().all(Result::is_ok));
    let after: i64 = sqlx::query_scalar(version).fetch_one(&mut connection).await.unwrap();
    assert_eq!(after, before);
    bench.batch(&[register(1, "b")]).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let changed: i64 = sqlx::query_scalar(version).fetch_one(&mut connection).await.unwrap();
    assert_ne!(changed, before);
}

#[tokio::test]
async fn a_command_whose_caller_went_away_is_not_done_and_ends_in_the_feed() {
    let mut bench = Bench::new().await;
    drop(bench.submit(register(1, "")).unwrap());
    let answers = bench.batch(&[register(2, "")]).await;
    assert!(answers[0].is_ok());
    let content = bench.content().await;
    assert!(!content.iter().any(|line| line.contains("FG101FTK00000001")), "{content:?}");
    let reasons: HashMap<_, _> = bench.endings().await.into_iter().collect();
    let of = |number| &reasons[&OperationId::new(NOW, number).to_string()];
    assert_eq!((of(1).as_str(), of(2).as_str()), ("DEADLINE_PASSED", ""));
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let mut bench = Bench::new().await;
    let waiting: Vec<_> = (0..QUEUE).map(|_| bench.submit(register(1, "")).unwrap()).collect();
    assert_eq!(bench.submit(register(1, "")).unwrap_err().reason, Reason::QueueFull);
    assert_eq!(waiting.len(), QUEUE);
}

#[tokio::test]
async fn the_writer_notes_who_called_before_it_ends() {
    let mut bench = Bench::new().await;
    let task = bench.task.take().unwrap();
    let pending = bench.submit(register(1, "")).unwrap();
    let running = tokio::spawn(task.run());
    pending.answer().await.unwrap();
    bench.sql("UPDATE device SET last_seen_at = 1").await;
    assert_eq!(bench.last_seen(running).await, NOW.micros());
}
