//! `fortigate conformance` against the binary, which passes every check, and against nothing.

use std::path::Path;

use clap::Parser as _;
use muster_client::args::Arguments;
use muster_client::cli::{self, Exit};
use muster_client::conformance::CHECKS;
use muster_proto::v1;
use muster_proto::v1::auth_client_service_client::AuthClientServiceClient;
use muster_proto::v1::cluster_service_client::ClusterServiceClient;
use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use muster_proto::v1::user_service_client::UserServiceClient;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::tempdir;
use time::OffsetDateTime;

use crate::clients::admin;
use crate::patience::within;
use crate::process::{Running, server};

async fn conformance(data: &Path, address: &str, flags: &str) -> (Exit, String) {
    let words = format!("fortigate --server https://{address} conformance --muster-data {} {flags}", data.display());
    let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
    let (mut rng, mut out, mut err) = (StdRng::seed_from_u64(1), Vec::new(), Vec::new());
    let exit = Box::pin(within(cli::run(arguments, OffsetDateTime::now_utc(), &mut rng, &mut out, &mut err))).await;
    assert_eq!(String::from_utf8(err).unwrap(), "");
    (exit, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn the_server_passes_every_check_and_again() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let address = running.address.to_string();
    let json = data.path().join("results.json");
    let (exit, out) = conformance(data.path(), &address, &format!("--json {}", json.display())).await;
    assert_eq!(exit, Exit::Done, "{out}");
    assert!(out.ends_with(&format!("\n{} passed, 0 failed, 0 skipped\n", CHECKS.len())), "{out}");
    let results: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert!(results.as_array().unwrap().iter().all(|verdict| verdict["result"] == "PASS"), "{results}");

    // Nothing is left behind.
    let channel = admin(data.path(), running.address);
    let mut devices = DeviceAdminServiceClient::new(channel.clone());
    let devices = devices.list_devices(v1::ListDevicesRequest::default()).await.unwrap().into_inner().devices;
    assert!(devices.is_empty(), "{devices:?}");
    let mut clusters = ClusterServiceClient::new(channel.clone());
    let clusters = clusters.list_clusters(v1::ListClustersRequest::default()).await.unwrap().into_inner().clusters;
    assert!(clusters.is_empty(), "{clusters:?}");
    let mut clients = AuthClientServiceClient::new(channel.clone());
    let clients = clients.list_auth_clients(v1::ListAuthClientsRequest::default()).await.unwrap().into_inner();
    assert!(clients.auth_clients.is_empty(), "{clients:?}");
    let mut users = UserServiceClient::new(channel);
    let users = users.list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner();
    assert!(users.users.is_empty(), "{users:?}");

    // A second run makes boxes of its own.
    let (exit, out) = conformance(data.path(), &address, "--only register --only feed-has").await;
    assert_eq!(exit, Exit::Done, "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with("PASS ")).count(), 4, "{out}");
    // Without a token, what needs an admin is skipped.
    std::fs::remove_file(data.path().join("admin-token")).unwrap();
    let (exit, out) = conformance(data.path(), &address, "--only ids-return").await;
    assert_eq!(
        (exit, out.as_str()),
        (Exit::Done, "SKIP ids-return-with-devices: there is no admin token\n\n0 passed, 0 failed, 1 skipped\n")
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_with_the_reason() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let address = running.address.to_string();
    running.signal("TERM");
    running.ended().await;
    let (exit, out) = conformance(data.path(), &address, "--only root-is").await;
    assert_eq!(exit, Exit::Failed);
    assert_eq!(
        out,
        format!(
            "FAIL root-is-always-there: connect: {address} refused the connection\n\n0 passed, 1 failed, 0 skipped\n"
        )
    );
    let (exit, out) = conformance(data.path(), &address, "--list").await;
    assert_eq!((exit, out.lines().count()), (Exit::Done, CHECKS.len()));
}
