//! Databases of earlier versions come along, and the way they come is never changed behind them.

use std::fs;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::*;

/// Every migration that has landed, with its SHA-256. A new one gets a row; no row ever changes.
const LANDED: &[(&str, &str)] = &[
    ("0001_register", "53ea4119129cf18040bdd359bc13faa93effdc7606d9b90c2984be60ea7c20c0"),
    ("0002_rules", "dcb549a34c39311dcf67978439d3a49c2928384f636d26d84983b90505890923"),
    ("0030_clusters", "0f530a4a53beb3ccabdf9844cf1805857c0cdf39501423c834ed6930fc616c56"),
    ("0031_device_keys", "edd5571a473f02431925219da7f6c5e6e2dea712e49e507ddc1fe3af15c53ac7"),
    ("0032_licenses", "6507eb87fff851b93dcb2893d0e19a183f0d0b0678cf1930125fb81097943e54"),
    ("0033_release_codes", "1eb543f61e81ca7542ec93c8677276ddad230fee2aff95c224ba7c464877870b"),
    ("0040_realms", "fd268fd1989f0f67c44ccb719a24e052c43ea06d9c7e236dc13e5894e9a50f8d"),
    ("0060_deleting", "1ab7b6a860b74582ec8bce23dbc08a64f0faaa74a60bc90bd41f0fc40d7ffb81"),
    ("0070_admin_tokens", "9f538b892bf34a869989e03a7d1c632e4117a42ff7539c556e9376ebb84be65b"),
    ("0071_lobby", "93a791374d9d5a55fb92caeab10e05c7a913120b55ffc7cd8df7c83692f23a75"),
    ("0090_web_apps", "053e8edea9a90b78b5a93e9e2cb85bdfb3748bf8b421d49cd04b176a71fc40db"),
    ("0092_held_kinds", "07f48739722a4c2f4fa151242ff47fd135ba743111951e0b318b595bec74db3c"),
];

#[test]
fn a_landed_migration_is_never_edited() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("store/migrations/sqlite");
    let mut found: Vec<(String, String)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, HEXLOWER.encode(&Sha256::digest(fs::read(&path).unwrap())))
        })
        .collect();
    found.sort();
    let landed: Vec<_> = LANDED.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect();
    assert_eq!(found, landed);
}

/// A register of the first version: a device with two VDOMs of which one was removed, a device that was removed, and two tokens.
const FIRST_VERSION: &str = "\
INSERT INTO device VALUES (1000, 'FG101FTK00001000', 'm', 'h', 'f', 3, zeroblob(32), 1, 2, NULL, 3); \
INSERT INTO device VALUES (1003, 'FG101FTK00001003', '', '', '', 2, zeroblob(32), 1, 2, 9, 3); \
INSERT INTO auth_client VALUES (1001, 1000, 'root', 1, 1, 2, NULL), (1002, 1000, 'sales', 1, 1, 2, 8), \
    (1004, 1003, 'root', 1, 1, 2, 9); \
INSERT INTO audit (at, operation_id, caller, method, serial, changes) VALUES (1, zeroblob(16), 'c', 'Register', 'FG101FTK00001000', '[]'); \
INSERT INTO admin_token VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', 'first', 1, NULL), \
    (x'0202020202020202020202020202020202020202020202020202020202020202', 'gone', 1, 4); \
UPDATE register SET next_id = 1005";

#[tokio::test]
async fn a_register_of_the_first_version_comes_along_whole() {
    let (_dir, path) = database();
    let mut first = sqlx::migrate!("store/migrations/sqlite");
    first.migrations = first.migrations.iter().take(1).cloned().collect();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    first.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    sql(&path, FIRST_VERSION).await;

    let (mut writing, reading) = open_sqlite(&path).await.unwrap();
    let active = reading.device("FG101FTK00001000".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((active.0.id, active.0.generation, active.0.deleted), (DeviceId(1000), 3, None));
    let evicted = |at| {
        let at = Timestamp::from_micros(at);
        Some(Box::new(Tombstone { at, mode: DeleteMode::Evict, by: "".into(), why: Text::default() }))
    };
    let clients: Vec<_> = active.1.into_iter().map(|client| (client.id, client.realm, client.deleted)).collect();
    assert_eq!(
        clients,
        [(AuthClientId(1001), RealmId::DEFAULT, None), (AuthClientId(1002), RealmId::DEFAULT, evicted(8))]
    );
    let gone = reading.device("FG101FTK00001003".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((gone.0.id, gone.0.deleted), (DeviceId(1003), evicted(9)));
    // Tokens got ids of their own, behind those that were given away.
    let token = reading.admin([1; 32]).await.unwrap().unwrap();
    assert!(token.id.0 >= 1005 && token.reach == crate::registry::Reach::Everything && !token.read_only, "{token:?}");
    assert!(reading.admin([2; 32]).await.unwrap().is_none_or(|token| !token.is_usable(NOW)));
    assert_eq!(writing.next_id().await.unwrap(), 1007);
    let mut connection = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
    let about: i64 = sqlx::query_scalar("SELECT about FROM audit").fetch_one(&mut connection).await.unwrap();
    let in_realm: i64 = sqlx::query_scalar("SELECT clients FROM realm").fetch_one(&mut connection).await.unwrap();
    assert_eq!((about, in_realm), (1000, 1));
}
