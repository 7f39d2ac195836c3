//! Disks that are full, read-only or damaged. Needs root, as the other set-up of the tests does: it mounts small file systems.

#![expect(clippy::unwrap_used, reason = "what a test cannot do fails it")]

mod process;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use muster_proto::Reason;
use muster_proto::v1::RegisterRequest;
use muster_proto::v1::device_service_client::DeviceServiceClient;
use process::{Process, command, connect};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

/// A small file system of its own; unmounted when it is dropped.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        disk.run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs"]);
        disk
    }

    fn run(&self, command: &str, arguments: &[&str]) {
        let status = Command::new(command).args(arguments).arg(self.0.path()).status().unwrap();
        assert!(status.success(), "{command} needs root");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.run("umount", &["--lazy"]);
    }
}

/// What a server says that cannot start: one line, and the exit code 1.
fn refused(data_dir: &Path) -> String {
    let arguments = ["--data-dir", data_dir.to_str().unwrap(), "--listen", "127.0.0.1:0", "--log", "error"];
    let done = command(&arguments).output().unwrap();
    let text = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    text
}

async fn register(channel: &Channel, number: u32) -> Result<(), tonic::Status> {
    let request = RegisterRequest { serial_number: format!("FG101F{number:010}"), ..Default::default() };
    DeviceServiceClient::new(channel.clone()).register(request).await.map(drop)
}

async fn health(channel: &Channel) -> i32 {
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap().into_inner().status
}

#[tokio::test]
async fn a_full_disk_is_told_to_callers_and_to_health_and_mended_by_room() {
    let disk = Disk::mount();
    let data_dir = disk.0.path().join("data");
    let server = Process::start(&data_dir);
    let channel = connect(&data_dir, server.address).await;
    register(&channel, 0).await.unwrap();
    let junk = disk.0.path().join("junk");
    let mut file = File::create(&junk).unwrap();
    while file.write_all(&[7; 4_096]).is_ok() {}
    // What the log of the database has room for still goes through.
    let mut number = 0;
    let status = loop {
        number += 1;
        if let Err(status) = register(&channel, number).await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, Reason::StoreFull.as_str());
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(health(&channel).await, ServingStatus::NotServing as i32);
    std::fs::remove_file(&junk).unwrap();
    drop(file);
    // The server looks every few seconds whether it can write again.
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    tokio::time::timeout(Duration::from_secs(30), async {
        while health(&channel).await != ServingStatus::Serving as i32 {
            looks.tick().await;
        }
    })
    .await
    .unwrap();
    register(&channel, number).await.unwrap();
}

#[test]
fn a_read_only_data_directory_is_one_clear_line() {
    let disk = Disk::mount();
    disk.run("mount", &["-o", "remount,ro"]);
    let text = refused(&disk.0.path().join("data"));
    assert!(text.contains("read-only"), "{text}");
}

#[test]
fn a_damaged_database_is_one_clear_line_that_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::start(data.path()));
    for file in ["muster.db-wal", "muster.db-shm"] {
        let _ = std::fs::remove_file(data.path().join(file));
    }
    std::fs::write(data.path().join("muster.db"), "this is no database".repeat(1_000)).unwrap();
    let text = refused(data.path());
    assert!(text.contains("damaged") && text.contains("backup") && text.contains("muster.db"), "{text}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let data = tempfile::tempdir().unwrap();
    drop(Process::start(data.path()));
    let options = SqliteConnectOptions::new().filename(data.path().join("muster.db"));
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'of tomorrow', TRUE, x'00', 0)";
    sqlx::query(newer).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    let text = refused(data.path());
    assert!(text.contains("newer version of Muster (migration 9999)"), "{text}");
}
