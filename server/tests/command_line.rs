//! The command line: flags, what a start prints, signals, and the other commands.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::tempdir;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::clients::{admin, register, relay, relay_certificate};
use crate::patience::within;
use crate::process::{Running, binary, run, server};

#[tokio::test]
async fn bad_flags_are_one_line_and_exit_code_64_and_nothing_is_made() {
    let temp = tempdir().unwrap();
    let data = temp.path().join("data");
    for (flags, word) in [
        (&["--colour", "blue"][..], "--colour"),
        (&["--listen", "everywhere"], "--listen"),
        (&["--listen", "127.0.0.1:65536"], "--listen"),
        (&["--grace", "soon"], "--grace"),
        (&["--feed-memory", "plenty"], "--feed-memory"),
        (&["--feed-memory", "1KiB"], "--feed-memory"),
        (&["--log-format", "poem"], "--log-format"),
        (&["--log", "muster=loud"], "--log"),
        (&["--tls-cert", "server.pem"], "--tls-key"),
        (&["--insecure-plaintext", "--listen", "0.0.0.0:0"], "--insecure-plaintext"),
        (&["--database", "postgres://localhost/muster"], "--database"),
        (&["serve"], "serve"),
        (&["relay-cert"], "--name"),
        (&["relay-cert", "--name", "a b"], "--name"),
        (&["relay-cert", "--name", "x", "--prefix", "FG*"], "--prefix"),
    ] {
        let mut command = binary(["--data-dir"]);
        command.arg(&data).args(flags).current_dir(temp.path());
        let ended = run(command).await;
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(64), ""), "{flags:?}: {ended:?}");
        let line = ended.only_line();
        assert!(line.contains(word) && line.ends_with("(see muster-server --help)"), "{flags:?}: {line}");
    }
    let mut command = server(&data);
    command.env("MUSTER_GRACE", "soon");
    let ended = run(command).await;
    assert_eq!(ended.status.code(), Some(64));
    assert!(ended.only_line().contains("--grace"));
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn help_names_each_flag_with_its_variable() {
    let ended = run(binary(["--help"])).await;
    assert!(ended.status.success() && ended.stderr.is_empty());
    for (flag, variable) in
        [("--data-dir", "MUSTER_DATA_DIR"), ("--listen", "MUSTER_LISTEN"), ("--grace", "MUSTER_GRACE")]
    {
        assert!(ended.stdout.contains(flag) && ended.stdout.contains(variable), "{}", ended.stdout);
    }
    let version = run(binary(["--version"])).await;
    assert_eq!(version.stdout, format!("muster-server {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_start_prints_where_it_listens_and_what_to_try_and_sigterm_ends_it_well() {
    let temp = tempdir().unwrap();
    let data = temp.path().join("data");
    let running = Running::start(server(&data)).await;
    let (shown, url) = (data.display(), format!("https://{}", running.address));
    for line in [
        format!("muster-server {} listens on {url}, data in {shown}", env!("CARGO_PKG_VERSION")),
        format!("--device branch-7 init --muster-data {shown} --server {url}"),
        "--device branch-7 exec \"execute fortitoken-cloud update\"".to_owned(),
        "--device branch-7 debug --follow".to_owned(),
        format!(
            "grpcurl -cacert {shown}/ca.pem -H \"authorization: Bearer $(cat {shown}/admin-token)\" {} muster.v1.AuthClientService/ListAuthClients",
            running.address
        ),
    ] {
        assert!(running.announced.contains(&line), "{line} is not in\n{}", running.announced);
    }
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("admin-token"), mode("ca.key"), mode("device-ca.key")), (0o700, 0o600, 0o600, 0o600));
    running.signal("TERM");
    let ended = running.ended().await;
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
}

#[tokio::test]
async fn a_second_start_uses_what_the_first_one_made() {
    let temp = tempdir().unwrap();
    let files = || {
        let names = ["ca.pem", "ca.key", "server.pem", "server.key", "device-ca.pem", "device-ca.key", "admin-token"];
        names.map(|name| std::fs::read(temp.path().join(name)).unwrap())
    };
    let first = Running::start(server(temp.path())).await;
    let made = files();
    first.signal("TERM");
    first.ended().await;
    let second = Running::start(server(temp.path())).await;
    assert_eq!(files(), made);
    second.signal("TERM");
    assert!(second.ended().await.status.success());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let temp = tempdir().unwrap();
    let mut command = server(temp.path());
    command.args(["--insecure-plaintext", "--grace", "1h"]);
    let mut running = Running::start(command).await;
    // A peer that says nothing holds the server for the whole of its grace. Peers are accepted in turn, so this one is before that
    // of the call.
    let silent = TcpStream::connect(running.address).await.unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", running.address)).unwrap().connect_lazy();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();

    running.signal("INT");
    within(async { while TcpStream::connect(running.address).await.is_ok() {} }).await;
    assert!(running.lives(), "the grace is an hour");
    running.signal("TERM");
    let ended = running.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    drop(silent);
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_nothing_behind() {
    let temp = tempdir().unwrap();
    let data = temp.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = binary(["--data-dir"]);
    command.arg(&data).args(["--listen", &address]);
    let ended = run(command).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.only_line().contains(&format!("could not listen on {address}")));
    assert!(!data.exists());
}

#[tokio::test]
async fn the_log_has_a_line_of_json_for_each_operation_and_no_secret() {
    use muster_proto::v1::auth_client_service_client::AuthClientServiceClient;

    let temp = tempdir().unwrap();
    let mut command = server(temp.path());
    command.args(["--log-format", "json"]).env("MUSTER_LOG", "debug");
    let running = Running::start(command).await;
    let certificate = relay_certificate(temp.path()).await;
    let mut relay = relay(temp.path(), running.address, &certificate);
    let answer = relay.register(register("FG101FTK19002788", ["sales"])).await.unwrap().into_inner();
    relay.register(register("FG101FTK19002788", ["a\u{1b}b"])).await.unwrap_err();
    let mut clients = AuthClientServiceClient::new(admin(temp.path(), running.address));
    clients.list_auth_clients(muster_proto::v1::ListAuthClientsRequest::default()).await.unwrap();
    running.signal("TERM");
    let log = running.ended().await.stderr;

    let token = std::fs::read_to_string(temp.path().join("admin-token")).unwrap();
    assert!(!log.contains(token.trim_end()) && !log.contains("PRIVATE KEY"));
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let operations: Vec<_> = lines.iter().filter(|line| line["message"] == "operation").collect();
    let expected = [
        ("Register", "relay:fmg-1", "Ok", ""),
        ("Register", "relay:fmg-1", "InvalidArgument", "VDOM_NAME_MALFORMED"),
        ("ListAuthClients", "admin:first", "Ok", ""),
    ];
    assert_eq!(operations.len(), expected.len());
    for (line, (method, caller, code, reason)) in operations.iter().zip(expected) {
        assert_eq!((&line["method"], &line["caller"]), (&method.into(), &caller.into()));
        assert_eq!((&line["code"], &line["reason"]), (&code.into(), &reason.into()));
        assert!(line["micros"].is_u64());
    }
    assert_eq!(operations[0]["operation"], answer.operation_id.as_str());
}

#[tokio::test]
async fn a_new_token_is_made_only_while_no_server_runs() {
    let temp = tempdir().unwrap();
    let rotate = || {
        let mut command = binary(["rotate-admin-token", "--data-dir"]);
        command.arg(temp.path());
        command
    };
    let token = || std::fs::read_to_string(temp.path().join("admin-token")).unwrap();
    let running = Running::start(server(temp.path())).await;
    let (first, pid) = (token(), running.pid());
    let ended = run(rotate()).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.only_line().ends_with(&format!("is in use by process {pid}")), "{ended:?}");
    assert_eq!(token(), first);
    running.signal("TERM");
    running.ended().await;
    let ended = run(rotate()).await;
    assert!(ended.status.success() && ended.stdout.contains("the former one is revoked"), "{ended:?}");
    assert!(!ended.stdout.contains(token().trim_end()));
    assert_ne!(token(), first);
}

#[tokio::test]
async fn a_relay_certificate_needs_a_server_that_was_started_once() {
    let temp = tempdir().unwrap();
    let mut command = binary(["relay-cert", "--name", "fmg-1", "--data-dir"]);
    command.arg(temp.path()).current_dir(temp.path());
    let ended = run(command).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.only_line().contains("start the server once"), "{ended:?}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}
