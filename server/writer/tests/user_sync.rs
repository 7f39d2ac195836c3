//! Syncs of users over a real database file: what holds after any sequence of them and of commands.

use muster_proto::user::digest;
use muster_proto::user_sync::{Kinds, UserSync};
use sqlx::Row as _;

use super::*;
use crate::registry::Outcome;
use crate::spool::SpoolWriter;

impl Bench {
    fn target() -> ClientTarget {
        ClientTarget { serial: serial(0), vdom: VdomName::ROOT, epoch: None }
    }

    /// Syncs a list of users, and gives what became of each, too.
    async fn sync_users(
        &mut self,
        users: &[UserAttributes],
        options: Options,
        gone: &CancellationToken,
    ) -> Result<(UsersSynced, Vec<v1::UserOutcome>), Refusal> {
        let mut spool = SpoolWriter::default();
        for user in users {
            let digest = of(user).to_vec();
            let user = v1::UserAttributes {
                username: user.username.to_string(),
                email: user.email.to_string(),
                kind: user.kind as i32,
                active: Some(user.active),
                ..Default::default()
            };
            spool.push(&Spooled { user, digest }).unwrap();
        }
        self.operations += 1;
        let operation = Operation {
            id: OperationId::new(NOW, self.operations),
            at: NOW,
            method: "SyncUsers",
            caller: "device:X".into(),
            reach: Reach::Everything,
            address: None,
            web_app: None,
            proof: None,
        };
        let sync = UserSync {
            target: Self::target().into(),
            kinds: Kinds::ALL,
            digest: None,
            buckets: Vec::new(),
            confirm_token: None,
            list_unchanged: false,
        };
        let (reply, result) = oneshot::channel();
        let (progress, _) = watch::channel(0);
        let users = spool.into_reader().unwrap();
        let job = UserSyncJob { operation, sync, buckets: None, options, progress, gone: gone.clone(), reply };
        self.writer.sync_users(job, users).unwrap();
        if let Some(task) = self.task.take() {
            tokio::spawn(task.run());
        }
        let mut synced = result.await.unwrap()?;
        let outcomes = synced.outcomes.take(1_000_000).unwrap();
        Ok((synced, outcomes))
    }

    /// Every count of the register that is not what the rows say.
    async fn miscounted(&self) -> Vec<String> {
        let mut connection = SqliteConnection::connect(&self.path().display().to_string()).await.unwrap();
        let text = "SELECT 'client ' || id FROM auth_client WHERE users <> (SELECT count(*) FROM user_ref \
                    WHERE auth_client_id = auth_client.id AND deleted_at IS NULL) \
                    UNION ALL SELECT 'user ' || username FROM user WHERE refs <> (SELECT count(*) FROM user_ref \
                    WHERE user_id = user.id AND deleted_at IS NULL) OR (refs > 0) <> (deleted_at IS NULL) \
                    UNION ALL SELECT 'realm ' || name FROM realm WHERE users <> (SELECT count(*) FROM user \
                    WHERE realm_id = realm.id AND deleted_at IS NULL) \
                    UNION ALL SELECT 'settings' FROM settings WHERE users <> (SELECT count(*) FROM user WHERE deleted_at IS NULL)";
        let mut wrong: Vec<String> = sqlx::query_scalar(text).fetch_all(&mut connection).await.unwrap();
        let clients: Vec<(i64, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT id, users_digest FROM auth_client").fetch_all(&mut connection).await.unwrap();
        for (id, held) in clients {
            let mut whole = [0; 32];
            let text = "SELECT username, email, active FROM user_ref WHERE auth_client_id = ? AND deleted_at IS NULL";
            for row in sqlx::query(text).bind(id).fetch_all(&mut connection).await.unwrap() {
                let one = digest(row.get(0), row.get(1), "", UserKind::Local, row.get(2));
                whole.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
            }
            if held.unwrap_or_else(|| vec![0; 32]) != whole {
                wrong.push(format!("digest of {id}"));
            }
        }
        wrong
    }

    /// The users of the auth client that is synced.
    async fn present(&self) -> Vec<(String, String)> {
        let mut connection = SqliteConnection::connect(&self.path().display().to_string()).await.unwrap();
        let text = "SELECT user_ref.username, email FROM user_ref JOIN auth_client ON auth_client.id = auth_client_id \
                    JOIN device ON device.id = owner_id \
                    WHERE serial = 'FG101FTK00000000' AND vdom = 'root' AND user_ref.deleted_at IS NULL ORDER BY 1";
        sqlx::query_as(text).fetch_all(&mut connection).await.unwrap()
    }
}

fn of(user: &UserAttributes) -> [u8; 32] {
    digest(user.username.as_str(), user.email.as_str(), "", user.kind, user.active)
}

#[derive(Clone, Debug)]
enum Step {
    Command(Box<Command>),
    Restore,
    Sync(Vec<UserAttributes>),
}

fn list() -> impl Strategy<Value = Vec<UserAttributes>> {
    let name = prop::sample::subsequence(vec!["alice", "bob", "carol", "dora"], 0..=4).prop_shuffle();
    (name, any::<[bool; 4]>(), any::<[bool; 4]>()).prop_map(|(names, upper, other)| {
        let user = |(index, name): (usize, &str)| {
            let name = if upper[index] { name.to_uppercase() } else { name.to_owned() };
            attributes(&name, if other[index] { "example.org" } else { "example.com" })
        };
        names.into_iter().enumerate().map(user).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => list().prop_map(Step::Sync), 4 => command().prop_map(|it| Step::Command(Box::new(it))), 1 => Just(Step::Restore)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn a_sync_leaves_exactly_its_list_and_every_count_is_what_the_rows_say(steps in prop::collection::vec(step(), 1..12)) {
        block_on(async {
            let mut bench = Bench::new().await;
            let gone = CancellationToken::new();
            for step in steps {
                match step {
                    Step::Command(command) => drop(bench.batch(&[*command]).await),
                    Step::Restore => {
                        let ClientTarget { serial, vdom, .. } = Bench::target();
                        let restore = Action::UndeleteAuthClient { serial, vdom, etag: None };
                        drop(bench.batch(&[restore.into()]).await);
                    }
                    Step::Sync(list) => {
                        let (synced, outcomes) = bench.sync_users(&list, Options::default(), &gone).await.unwrap();
                        let mut expected: Vec<_> =
                            list.iter().map(|user| (user.username.to_string(), user.email.to_string())).collect();
                        expected.sort();
                        prop_assert_eq!(bench.present().await, expected);
                        prop_assert_eq!(synced.users.0, i64::try_from(list.len()).unwrap());
                        prop_assert!(!outcomes.iter().any(|item| item.outcome() == Outcome::Unchanged));
                        let before = bench.content().await;
                        let (again, _) = bench.sync_users(&list, Options::default(), &gone).await.unwrap();
                        prop_assert_eq!(again.counts.unchanged, i64::try_from(list.len()).unwrap());
                        prop_assert_eq!(bench.content().await, before);
                    }
                }
                prop_assert_eq!(bench.miscounted().await, Vec::<String>::new());
            }
            Ok(())
        })?;
    }
}

fn many(count: usize) -> Vec<UserAttributes> {
    (0..count).map(|number| attributes(&format!("user{number}"), "example.com")).collect()
}

#[tokio::test]
async fn a_sync_that_the_database_refuses_half_way_leaves_nothing_and_harms_nobody() {
    let mut bench = Bench::new().await;
    bench
        .sql(
            "CREATE TRIGGER poison BEFORE INSERT ON user_ref WHEN NEW.username = 'user2500' \
              BEGIN SELECT RAISE(ABORT, 'poison'); END",
        )
        .await;
    let (gone, before) = (CancellationToken::new(), bench.content().await);
    let refusal = bench.sync_users(&many(3_000), Options::default(), &gone).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::StoreRefused);
    assert_eq!(bench.content().await, before);
    let (synced, _) = bench.sync_users(&many(2_000), Options::default(), &gone).await.unwrap();
    assert_eq!(synced.users.0, 2_000);
    assert_eq!(bench.miscounted().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sync_whose_caller_goes_away_before_its_commit_leaves_nothing() {
    let mut bench = Bench::new().await;
    let (gone, before) = (CancellationToken::new(), bench.content().await);
    gone.cancel();
    let refusal = bench.sync_users(&many(10), Options::default(), &gone).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::DeadlinePassed);
    assert_eq!(bench.content().await, before);
    let rehearsed = Options { validate_only: true, plan: None };
    bench.sync_users(&many(10), rehearsed, &CancellationToken::new()).await.unwrap();
    assert_eq!(bench.content().await, before);
}

#[tokio::test]
async fn commands_that_wait_for_a_sync_are_done_after_it() {
    let mut bench = Bench::new().await;
    let pending = bench.submit(register(1, "a")).unwrap();
    bench.sync_users(&many(5_000), Options::default(), &CancellationToken::new()).await.unwrap();
    pending.answer().await.unwrap();
    assert_eq!(bench.miscounted().await, Vec::<String>::new());
}
