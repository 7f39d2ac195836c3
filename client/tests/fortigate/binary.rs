//! The binary itself: what it prints, to the letter, and how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Output, Stdio};

use clap::Parser as _;
use muster_proto::v1::{ClosingReason, Outcome};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::feed::{closing, event, opened};
use crate::pki::Pki;
use crate::server::{End, Server};
use crate::update::completed;
use crate::{SERIAL, bench_and_server};

fn fortigate(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fortigate"));
    command.current_dir(dir.path()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(dir: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = fortigate(dir).args(arguments).output().await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

async fn succeeds(dir: &TempDir, arguments: &[&str]) -> String {
    let (code, out, err) = run(dir, arguments).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments:?}");
    out
}

#[tokio::test]
async fn a_box_is_made_grows_reports_and_watches() {
    let dir = TempDir::new().unwrap();
    let pki = Pki::new();
    pki.write(&dir.path().join("muster-data"));
    let server = Server::start(pki.server_config()).await;
    let url = server.url();
    let init =
        ["init", "--serial", SERIAL, "--hostname", "branch", "--vdom", "root", "--vdom", "dmz", "--server", &url];
    let out = succeeds(&dir, &init).await;
    let (certificate, rest): (Vec<_>, Vec<_>) = out.lines().partition(|line| line.starts_with("Certificate: until 20"));
    assert_eq!(certificate.len(), 1, "{out}");
    insta::assert_snapshot!(rest.join("\n").replace(&url, "URL"), @r#"
    Made FG101FTK19002788 in fortigate.
    Serial number: FG101FTK19002788
    Model: FortiGate-101F
    Hostname: branch
    Firmware: v7.4.8,build2795
    VDOMs: root, dmz
    Server: URL
    Try next: fortigate exec "execute fortitoken-cloud update"
    "#);
    let mode = |name: &str| dir.path().join("fortigate").join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("device.key"), 0o600);

    assert_eq!(succeeds(&dir, &["vdom", "add", "lab", "web"]).await, "");
    assert_eq!(succeeds(&dir, &["vdom", "delete", "dmz"]).await, "");
    assert_eq!(succeeds(&dir, &["vdom", "list"]).await, "root\nlab\nweb\n");

    server.answers(Ok(completed(vec![])));
    let updated = succeeds(&dir, &["exec", "execute  fortitoken\u{2013}cloud upd"]).await;
    assert_eq!(updated, "List of VDOMs updated to FortiToken Cloud.\n");
    let sync = server.syncs().pop().unwrap();
    let names: Vec<_> = sync.full_list.iter().flat_map(|list| &list.vdoms).map(|vdom| vdom.name.as_str()).collect();
    assert_eq!((names, sync.info.unwrap().hostname.as_str()), (vec!["root", "lab", "web"], "branch"));

    server.plays(vec![opened(0), event(1, "lab", "created"), closing(ClosingReason::Complete, 1, None)], End::Ok);
    let feed = succeeds(&dir, &["debug", "--components", "ftc=\u{2013}1", "--timestamps"]).await;
    assert_eq!(feed, "2026-03-01 12:00:00 [ftc] sync.vdom lab: created\n");
}

#[tokio::test]
async fn a_box_is_never_overwritten_and_a_bad_change_leaves_it_as_it_was() {
    let (bench, _server) = bench_and_server().await;
    let toml = || std::fs::read_to_string(bench.device().join("box.toml")).unwrap();
    let before = toml();
    for (arguments, error) in [
        ("init --muster-data muster-data", "box.toml exists already: choose another --device, or remove it"),
        ("vdom add lab dmz", "error: the VDOM dmz exists already"),
        ("vdom delete dmz nowhere", "error: there is no VDOM nowhere"),
        ("vdom delete root", "error: the VDOM \"root\" always exists and cannot be deleted"),
    ] {
        let arguments = format!("--device box {arguments}");
        let (code, out, err) = run(&bench.dir, &arguments.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments}");
        assert!(err.contains(error) && err.lines().count() == 1, "{err}");
        assert_eq!(toml(), before, "{arguments}");
    }
}

#[tokio::test]
async fn two_additions_at_once_are_both_kept() {
    let (bench, _server) = bench_and_server().await;
    let mut adding = tokio::task::JoinSet::new();
    for number in 0..8 {
        let name = format!("v{number}");
        let mut command = fortigate(&bench.dir);
        adding.spawn(async move { command.args(["--device", "box", "vdom", "add", &name]).status().await.unwrap() });
    }
    assert!(adding.join_all().await.iter().all(std::process::ExitStatus::success));
    assert_eq!(succeeds(&bench.dir, &["--device", "box", "vdom", "list"]).await.lines().count(), 10);
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_fix() {
    let dir = TempDir::new().unwrap();
    for (arguments, error) in [
        (
            &["vdom", "list"][..],
            "error: there is no box in fortigate: make one with \"fortigate --device fortigate init\"\n",
        ),
        (
            &["init"],
            "error: could not read muster-data/device-ca.pem: start muster-server once, and name its data directory",
        ),
        (
            &["init", "--model", "FortiToaster"],
            "error: no model \"FortiToaster\" is known: give a --serial too, or one of ",
        ),
    ] {
        let (code, out, err) = run(&dir, arguments).await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(err.starts_with(error) && err.lines().count() == 1, "{err}");
        assert!(!dir.path().join("fortigate").exists());
    }
}

#[tokio::test]
async fn a_bad_command_line_is_told_in_one_line() {
    let dir = TempDir::new().unwrap();
    for arguments in [
        &["--nonsense"][..],
        &[],
        &["exec"],
        &["vdom"],
        &["init", "--serial", "short"],
        &["init", "--factory-ca", "x"],
        &["vdom", "add", "a b"],
        &["vdom", "add", "\u{1b}[2J"],
        &["debug", "--components", "ftc=256"],
        &["--server", "http://127.0.0.1", "debug"],
        &["--timeout", "x", "show"],
    ] {
        let (code, out, err) = run(&dir, arguments).await;
        assert_eq!((code, out.as_str()), (Some(64), ""), "{arguments:?}: {err}");
        assert!(err.lines().count() == 1 && err.starts_with("error: "), "{arguments:?}: {err}");
        assert!(!err.contains('\u{1b}'), "{err:?}");
    }
    let (code, out, _) = run(&dir, &["--help"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("Exit status:"), "{out}");
}

#[tokio::test]
async fn a_command_that_fortios_would_not_take_is_answered_as_fortios_does() {
    let dir = TempDir::new().unwrap();
    let (code, out, err) = run(&dir, &["exec", "execute fortitoken-cloud xyz"]).await;
    assert_eq!((code, err.as_str()), (Some(64), ""));
    assert_eq!(out, "command parse error before 'xyz'\nCommand fail. Return code -61\n");
    let (code, out, _) = run(&dir, &["exec", "execute", "fortitoken-cloud"]).await;
    assert_eq!((code, out.as_str()), (Some(64), "incomplete command in the end\nCommand fail. Return code -160\n"));
}

#[tokio::test]
async fn a_refused_item_shows_in_the_exit_status() {
    let (bench, server) = bench_and_server().await;
    let refused = muster_proto::v1::VdomOutcome {
        vdom: "dmz".to_owned(),
        outcome: Outcome::Refused.into(),
        ..Default::default()
    };
    server.answers(Ok(completed(vec![refused])));
    let (code, out, _) =
        run(&bench.dir, &["--device", "box", "--server", &server.url(), "exec", "exe forti upd"]).await;
    assert_eq!((code, out.as_str()), (Some(1), "List of VDOMs updated to FortiToken Cloud.\ndmz: refused\n"));
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_the_feed_quietly() {
    let (bench, server) = bench_and_server().await;
    let many = (1..5_000).map(|position| event(position, "dmz", "updated"));
    server.plays(std::iter::once(opened(0)).chain(many).collect(), End::Open);
    let mut command = fortigate(&bench.dir);
    command.args(["--device", "box", "--server", &server.url(), "debug", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // The reader is dropped, and its pipe with it.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    assert_eq!(line, "[ftc] sync.vdom dmz: updated\n");
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &[][..]));
}

#[tokio::test]
async fn an_interrupt_ends_the_feed_quietly_and_nothing_shown_is_lost() {
    let (bench, server) = bench_and_server().await;
    server.plays(vec![opened(0), event(1, "dmz", "created")], End::Open);
    let mut command = fortigate(&bench.dir);
    command.args(["--device", "box", "--server", &server.url(), "debug", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).await.unwrap();
    assert_eq!(line, "[ftc] sync.vdom dmz: created\n");
    let interrupt = Command::new("kill").arg("-INT").arg(child.id().unwrap().to_string()).status().await.unwrap();
    assert!(interrupt.success());
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!((ended.status.signal(), ended.stderr.as_slice()), (Some(2), &[][..]));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
}

/// A test, or a program of another, may run commands side by side.
#[test]
fn a_command_can_be_moved_between_threads() {
    fn moves(_: &impl Send) {}
    let arguments = muster_client::args::Arguments::try_parse_from(["fortigate", "console"]).unwrap();
    let (mut rng, mut out, mut err) = (StdRng::seed_from_u64(1), Vec::new(), Vec::new());
    moves(&muster_client::cli::run(arguments, OffsetDateTime::UNIX_EPOCH, &mut rng, &mut out, &mut err));
}
