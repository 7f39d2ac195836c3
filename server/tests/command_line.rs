//! The binary on the command line: wrong flags, the greeting, signals.

#![expect(clippy::unwrap_used, reason = "what a test cannot do fails it")]

mod process;

use std::os::unix::fs::PermissionsExt as _;

use muster_proto::v1::StreamDebugLogsRequest;
use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use process::{Process, command, connect};

#[test]
fn a_wrong_flag_is_one_line_and_exit_code_64_and_nothing_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let data_dir = parent.path().join("data");
    let data_dir = data_dir.to_str().unwrap();
    for wrong in [
        &["--listen", "nowhere"][..],
        &["--insecure-plaintext", "--listen", "0.0.0.0:7443"],
        &["--database", "postgres://localhost/muster"],
        &["--tls-cert", "only-half"],
        &["--no-such-flag"],
        &["--grace", "soon"],
    ] {
        let done = command(&[&["--data-dir", data_dir], wrong].concat()).output().unwrap();
        let text = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(64), "{wrong:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{wrong:?}: {text}");
        assert!(text.starts_with("error: "), "{text}");
    }
    assert_eq!(parent.path().read_dir().unwrap().count(), 0);
}

#[test]
fn the_first_start_says_what_to_try_and_the_second_uses_the_same() {
    let parent = tempfile::tempdir().unwrap();
    let data_dir = parent.path().join("data");
    let mut first = Process::start(&data_dir);
    let greeting = first.rest_of_the_greeting();
    for line in
        ["init --muster-data", "exec \"execute fortitoken-cloud update\"", "grpcurl -cacert", "authorization: Bearer"]
    {
        assert!(greeting.contains(line), "{greeting}");
    }
    let token = std::fs::read(data_dir.join("admin-token")).unwrap();
    assert_eq!(data_dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(data_dir.join("admin-token").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let ca = std::fs::read(data_dir.join("ca.pem")).unwrap();
    drop(first);
    drop(Process::start(&data_dir));
    assert_eq!(std::fs::read(data_dir.join("admin-token")).unwrap(), token);
    assert_eq!(std::fs::read(data_dir.join("ca.pem")).unwrap(), ca);
}

#[test]
fn a_second_process_on_the_same_data_directory_is_told_who_holds_it() {
    let data = tempfile::tempdir().unwrap();
    let holder = Process::start(data.path());
    let arguments = ["--data-dir", data.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let done = command(&arguments).output().unwrap();
    let text = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains(&holder.child.id().to_string()), "{text}");
}

#[test]
fn sigterm_ends_the_server_well() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::start(data.path());
    server.signal("-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Process::start(data.path());
    // A silent peer would hold the server for its whole grace period.
    let silent = std::net::TcpStream::connect(server.address).unwrap();
    let mut client = DebugLogServiceClient::new(connect(data.path(), server.address).await);
    let request = StreamDebugLogsRequest { follow: true, ..Default::default() };
    let mut stream = client.stream_debug_logs(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    server.signal("-TERM");
    // The feed says goodbye once the first signal is worked on; only then the second one counts as such.
    while let Ok(Some(_)) = stream.message().await {}
    server.signal("-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    drop(silent);
}
