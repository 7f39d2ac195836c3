//! What the binary makes of a data directory that is in use, full, read-only or broken.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use muster_proto::{Reason, v1};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::tempdir;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::clients::{AdminConnection, admin, register, relay, relay_certificate};
use crate::patience::within;
use crate::process::{Running, behind, run, server, serving};

/// Starts a server on the data directory, and stops it.
async fn start_once(data: &Path) {
    let running = Running::start(server(data)).await;
    running.signal("TERM");
    assert!(running.ended().await.status.success());
}

async fn open(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.unwrap()
}

fn am_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// What runs a command where it has a view of the file system of its own, after these words of shell; `$DATA` is its data directory.
/// Whoever is not root becomes root there by a user namespace. The view, and what is mounted in it, goes with the last process in it.
fn in_a_view_of_its_own(data: &Path, shell: &str) -> Vec<String> {
    let mut words = vec!["unshare"];
    words.extend(if am_root() { &["--mount"][..] } else { &["--user", "--map-root-user", "--mount"] });
    let shell = format!("DATA='{}' && {shell} && exec \"$@\"", data.display());
    words.into_iter().chain(["sh", "-c", &shell, "sh"]).map(str::to_owned).collect()
}

/// What runs a command without the right of root to read and write everything.
fn without_privileges() -> Vec<&'static str> {
    let dropped = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    if am_root() { dropped.to_vec() } else { Vec::new() }
}

async fn health(connection: AdminConnection) -> ServingStatus {
    HealthClient::new(connection).check(HealthCheckRequest::default()).await.unwrap().into_inner().status()
}

/// Waits until the health is as it should be.
async fn healthy(connection: &AdminConnection, status: ServingStatus) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while health(connection.clone()).await != status {
            again.tick().await;
        }
    })
    .await;
}

/// Takes all the space that is left.
fn fill(path: &Path) -> File {
    let mut filler = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        let bytes = vec![b'x'; size];
        loop {
            match filler.write_all(&bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    filler
}

#[tokio::test]
async fn a_full_disk_refuses_changes_loses_nothing_and_is_overcome() {
    let temp = tempdir().unwrap();
    let tmpfs = in_a_view_of_its_own(temp.path(), "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$DATA\"");
    let running = Running::start(behind(tmpfs, serving(temp.path()))).await;
    // The directory as the server sees it.
    let data = PathBuf::from(format!("/proc/{}/root{}", running.pid(), temp.path().display()));
    let certificate = relay_certificate(&data).await;
    let (mut relay, admin) = (relay(&data, running.address, &certificate), admin(&data, running.address));
    relay.register(register("FG101FTK19002788", ["sales"])).await.unwrap();
    healthy(&admin, ServingStatus::Serving).await;

    let filler = fill(&data.join("filler"));
    let mut answered = vec!["FG101FTK19002788".to_owned()];
    let refused = within(async {
        for number in 0.. {
            let serial = format!("FG200F{number:010}");
            match relay.register(register(&serial, (0..20).map(|index| format!("v{index}")))).await {
                Ok(_) => answered.push(serial),
                Err(status) => return status,
            }
        }
        unreachable!("no disk is endless")
    })
    .await;
    let details = refused.get_error_details();
    assert_eq!(
        (refused.code(), details.error_info().unwrap().reason.as_str()),
        (Reason::StoreFull.code(), "STORE_FULL")
    );
    assert!(details.retry_info().unwrap().retry_delay.is_some_and(|delay| !delay.is_zero()));
    assert_eq!(details.help().unwrap().links[0].description, Reason::StoreFull.fix());
    healthy(&admin, ServingStatus::NotServing).await;
    // What was answered is there, and can still be read.
    let serials = async || {
        let mut devices = DeviceAdminServiceClient::new(admin.clone());
        let list = devices.list_devices(v1::ListDevicesRequest { page_size: 1_000, ..Default::default() }).await;
        list.unwrap().into_inner().devices.into_iter().map(|device| device.serial_number).collect::<Vec<_>>()
    };
    assert_eq!(serials().await, answered);

    filler.set_len(0).unwrap();
    healthy(&admin, ServingStatus::Serving).await;
    relay.register(register("FGVM01TM00000001", ["sales"])).await.unwrap();
    answered.push("FGVM01TM00000001".to_owned());
    assert_eq!(serials().await, answered);
    running.signal("TERM");
    assert!(running.ended().await.status.success());
}

#[tokio::test]
async fn a_first_start_on_a_full_disk_says_so() {
    let temp = tempdir().unwrap();
    let full = "mount -t tmpfs -o size=64k tmpfs \"$DATA\" && ! cat /dev/zero >\"$DATA/filler\" 2>/dev/null";
    let ended = run(behind(in_a_view_of_its_own(temp.path(), full), serving(temp.path()))).await;
    assert_eq!(ended.status.code(), Some(1));
    let line = ended.only_line();
    assert!(line.contains(&temp.path().display().to_string()) && line.contains("No space left on device"), "{line}");
}

#[tokio::test]
async fn a_data_directory_on_a_read_only_file_system_is_told_so() {
    let temp = tempdir().unwrap();
    start_once(temp.path()).await;
    let read_only = "mount --bind \"$DATA\" \"$DATA\" && mount -o remount,bind,ro \"$DATA\"";
    let ended = run(behind(in_a_view_of_its_own(temp.path(), read_only), serving(temp.path()))).await;
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("error: the data directory {} is on a read-only file system", temp.path().display());
    assert_eq!(ended.only_line(), expected);
}

#[tokio::test]
async fn a_data_directory_that_may_not_be_written_is_told_so() {
    let temp = tempdir().unwrap();
    let data = temp.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    let ended = run(behind(without_privileges(), serving(&data))).await;
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("error: this user may not write to the data directory {}", data.display());
    assert_eq!(ended.only_line(), expected);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
}

#[tokio::test]
async fn a_database_that_may_not_be_written_is_told_so() {
    let temp = tempdir().unwrap();
    start_once(temp.path()).await;
    let database = temp.path().join("muster.db");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o400)).unwrap();
    let ended = run(behind(without_privileges(), serving(temp.path()))).await;
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("error: could not use {}: Permission denied (os error 13)", database.display());
    assert_eq!(ended.only_line(), expected);
}

#[tokio::test]
async fn a_database_that_is_none_is_told_so_and_left_as_it_is() {
    let temp = tempdir().unwrap();
    start_once(temp.path()).await;
    let database = temp.path().join("muster.db");
    // Without a write-ahead log, out of which SQLite would mend the file.
    let mut connection = open(&database).await;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let sound = fs::read(&database).unwrap();
    let zeroed_head = [&[0; 100][..], &sound[100..]].concat();
    for broken in [b"these are not the bytes of a database".repeat(1_000), zeroed_head, sound[..5_000].to_vec()] {
        fs::write(&database, &broken).unwrap();
        let ended = run(server(temp.path())).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        let line = ended.only_line();
        assert!(line.starts_with(&format!("error: could not open the database {}: ", database.display())), "{line}");
        assert!(line.contains("it is damaged, or not a database of Muster; restore it from a backup"), "{line}");
        assert!(fs::read(&database).unwrap() == broken, "a damaged database is evidence");
    }
    fs::write(&database, sound).unwrap();
    start_once(temp.path()).await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let temp = tempdir().unwrap();
    start_once(temp.path()).await;
    let database = temp.path().join("muster.db");
    let mut connection = open(&database).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let ended = run(server(temp.path())).await;
    assert_eq!(ended.status.code(), Some(1));
    let line = ended.only_line();
    assert!(line.contains("is from a newer version of Muster (migration 9999)"), "{line}");
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_directory_and_harms_nothing() {
    let temp = tempdir().unwrap();
    let running = Running::start(server(temp.path())).await;
    let ended = run(server(temp.path())).await;
    assert_eq!(ended.status.code(), Some(1));
    let (path, pid) = (temp.path().display(), running.pid());
    assert_eq!(ended.only_line(), format!("error: the data directory {path} is in use by process {pid}"));
    assert_eq!(health(admin(temp.path(), running.address)).await, ServingStatus::Serving);
}

#[tokio::test]
async fn a_broken_key_or_token_file_is_named() {
    let temp = tempdir().unwrap();
    start_once(temp.path()).await;
    for name in ["ca.pem", "ca.key", "server.key", "device-ca.pem"] {
        let path = temp.path().join(name);
        let sound = fs::read(&path).unwrap();
        fs::write(&path, "nonsense").unwrap();
        let ended = run(server(temp.path())).await;
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.only_line().contains(&path.display().to_string()), "{ended:?}");
        fs::write(&path, sound).unwrap();
    }
    start_once(temp.path()).await;
}
