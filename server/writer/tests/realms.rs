//! Realms, their users and moves between them, over a real database file.

use muster_proto::device_users::{ClientTarget, UserAddition, UserDeletion};
use muster_proto::realms::{NewRealm, RealmChange};
use muster_proto::settings::SettingsChange;
use muster_proto::{Text, UserAttributes, UserKind};

use super::*;
use crate::registry::{AuthClientId, NamedClient, OwnerId, RealmId};

/// What every register of this module begins with: three devices with "root", and the realms "east" and "west".
fn setup() -> Vec<Command> {
    let mut commands: Vec<Command> = (0..3).map(|number| register(number, "")).collect();
    commands.extend(["east", "west"].map(|name| Command::from(Action::CreateRealm(realm(name)))));
    commands
}

/// Ids are given in order, to devices and their auth clients first.
const REALMS: [RealmId; 3] = [RealmId::DEFAULT, RealmId(1_006), RealmId(1_007)];

fn realm(name: &str) -> NewRealm {
    NewRealm { name: name.parse().unwrap(), description: Text::default(), user_quota: None, request: None }
}

fn root_of(number: u8) -> NamedClient {
    let owner = 1_000 + 2 * i64::from(number);
    let label = format!("{}-root", serial(number)).into();
    NamedClient { id: AuthClientId(owner + 1), owner: OwnerId(owner), vdom: VdomName::ROOT, label }
}

fn add(number: u8, name: &str) -> Action {
    let target = ClientTarget { serial: serial(number), vdom: VdomName::ROOT, epoch: None };
    let user = UserAttributes {
        username: name.parse().unwrap(),
        email: "a@example.com".parse().unwrap(),
        mobile: None,
        kind: UserKind::Local,
        active: true,
    };
    Action::AddUser(UserAddition { target: target.into(), user })
}

fn step() -> impl Strategy<Value = Command> {
    let number = || 0_u8..3;
    let name = || prop::sample::select(vec!["alice", "bob"]);
    let place = || prop::sample::select(REALMS.to_vec());
    let action = prop_oneof![
        6 => (number(), name()).prop_map(|(number, name)| add(number, name)),
        6 => (prop::sample::subsequence(vec![0_u8, 1, 2], 1..=3).prop_shuffle(), place()).prop_map(|(numbers, realm)| {
            Action::MoveAuthClients { clients: numbers.into_iter().map(root_of).collect(), realm }
        }),
        2 => (number(), name()).prop_map(|(number, name)| {
            let target = ClientTarget { serial: serial(number), vdom: VdomName::ROOT, epoch: None };
            Action::DeleteUser(UserDeletion { target: target.into(), username: name.parse().unwrap() })
        }),
        2 => (place(), prop::option::of(0_i64..3)).prop_map(|(realm, quota)| {
            let change = RealmChange { user_quota: Some(quota), ..RealmChange::default() };
            Action::UpdateRealm { realm, change, etag: None }
        }),
        1 => (prop::option::of(1_i64..4), any::<bool>()).prop_map(|(quota, share)| {
            let change = SettingsChange { user_quota: Some(quota), share_quota: Some(share), ..SettingsChange::default() };
            Action::UpdateSettings { change, etag: None }
        }),
        1 => prop::sample::select(vec!["east", "west", "north"])
            .prop_map(|name| Action::UpdateRealm {
                realm: REALMS[1],
                change: RealmChange { name: Some(name.parse().unwrap()), ..RealmChange::default() },
                etag: None,
            }),
        1 => place().prop_map(|realm| Action::DeleteRealm { realm, etag: None }),
        1 => place().prop_map(|realm| Action::UndeleteRealm { realm }),
        1 => number().prop_map(|number| register(number, "").action),
        1 => number().prop_map(|number| {
            Action::Delete(Deletion { serial: serial(number), target: Target::WholeDevice, epoch: None })
        }),
    ];
    (action, prop::bool::weighted(0.1))
        .prop_map(|(action, validate_only)| Command { action, options: Options { validate_only, plan: None } })
}

/// What the database holds of realms and users, row by row, and which counts are not what they count.
async fn held(bench: &Bench) -> (Vec<String>, Vec<String>) {
    let mut connection = SqliteConnection::connect(&bench.path().display().to_string()).await.unwrap();
    let rows = "SELECT 'realm' || json_array(id, name, user_quota, users, clients, updated_at, deleted_at) AS line FROM realm \
                UNION ALL SELECT 'user' || json_array(id, realm_id, user_key, username, disabled, refs, updated_at, deleted_at) FROM user \
                UNION ALL SELECT 'ref' || json_array(id, auth_client_id, user_key, user_id, updated_at, deleted_at) FROM user_ref \
                UNION ALL SELECT 'settings' || json_array(user_quota, share_quota, users, updated_at) FROM settings ORDER BY line";
    let wrong = "SELECT 'realm ' || id FROM realm WHERE users <> \
                     (SELECT count(*) FROM user WHERE realm_id = realm.id AND user.deleted_at IS NULL) OR clients <> \
                     (SELECT count(*) FROM auth_client WHERE realm_id = realm.id AND auth_client.deleted_at IS NULL) \
                 UNION ALL SELECT 'user ' || id FROM user WHERE refs <> \
                     (SELECT count(*) FROM user_ref WHERE user_id = user.id AND user_ref.deleted_at IS NULL) \
                 UNION ALL SELECT 'client ' || id FROM auth_client WHERE users <> \
                     (SELECT count(*) FROM user_ref WHERE auth_client_id = auth_client.id AND user_ref.deleted_at IS NULL) \
                 UNION ALL SELECT 'settings' FROM settings WHERE users <> (SELECT count(*) FROM user WHERE deleted_at IS NULL)";
    let rows = sqlx::query_scalar(rows).fetch_all(&mut connection).await.unwrap();
    (rows, sqlx::query_scalar(wrong).fetch_all(&mut connection).await.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn a_batch_about_realms_gives_what_its_commands_give_one_by_one_and_every_count_is_exact(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..8), 1..5),
    ) {
        let (together, alone) = block_on(async {
            let (mut together, mut alone) = (Bench::new().await, Bench::new().await);
            together.batch(&setup()).await;
            alone.batch(&setup()).await;
            let (mut of_batches, mut of_commands) = (Vec::new(), Vec::new());
            for batch in &batches {
                of_batches.extend(together.batch(batch).await);
                for command in batch {
                    of_commands.extend(alone.batch(std::slice::from_ref(command)).await);
                }
            }
            let held = (held(&together).await, held(&alone).await);
            ((of_batches, together.content().await, held.0), (of_commands, alone.content().await, held.1))
        });
        prop_assert_eq!(&together.2.1, &Vec::<String>::new());
        prop_assert_eq!(together, alone);
    }
}

#[tokio::test]
async fn many_users_move_in_one_commit() {
    let mut bench = Bench::new().await;
    bench.batch(&setup()).await;
    let commands: Vec<Command> = (0..300).map(|user| add(0, &format!("u{user}")).into()).collect();
    bench.batch(&commands).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let command = Action::MoveAuthClients { clients: vec![root_of(0)], realm: REALMS[1] };
    let answers = bench.batch(&[command.into()]).await;
    assert_eq!(answers[0].as_ref().unwrap().clients[0].users_total, 300);
    let (rows, wrong) = held(&bench).await;
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(rows.iter().filter(|row| row.starts_with("user[") && row.contains(",1006,")).count(), 300);
}
