//! The console against a server: scripts, standard input, two sessions, and what a box sends by itself.

use std::fs;
use std::process::Stdio;

use muster_proto::Reason;
use muster_proto::v1::{HeldNotice, Outcome, SyncResponse, SyncStatus, VdomOutcome};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::server::Server;
use crate::update::completed;
use crate::{Bench, bench_and_server};

pub(crate) fn fortigate(bench: &Bench, server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fortigate"));
    command.args(["--device", "box", "--server", &server.url()]).args(arguments);
    command
        .current_dir(bench.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs lines as a script, and gives what a terminal would show, the exit status, and standard error.
pub(crate) async fn script(bench: &Bench, server: &Server, lines: &str) -> (String, Option<i32>, String) {
    fs::write(bench.path("script"), lines).unwrap();
    let done = fortigate(bench, server, &["run", "--echo", "script"]).output().await.unwrap();
    let out = String::from_utf8(done.stdout).unwrap().replace(&server.port().to_string(), "PORT");
    (out, done.status.code(), String::from_utf8(done.stderr).unwrap())
}

fn item(vdom: &str, outcome: Outcome) -> VdomOutcome {
    VdomOutcome { vdom: vdom.to_owned(), outcome: outcome.into(), ..Default::default() }
}

fn names(server: &Server) -> Vec<Vec<String>> {
    let list =
        |sync: muster_proto::v1::SyncRequest| sync.full_list.unwrap().vdoms.into_iter().map(|vdom| vdom.name).collect();
    server.syncs().into_iter().map(list).collect()
}

#[tokio::test]
async fn vdoms_that_come_and_go_are_sent_at_once_and_quietly() {
    let (bench, server) = bench_and_server().await;
    server.answers(Ok(completed(vec![item("lab", Outcome::Created)])));
    server.answers(Ok(completed(vec![item("lab", Outcome::Removed)])));
    let (out, code, err) = script(&bench, &server, "config vdom\nedit lab\nnext\ndelete lab\nend\n").await;
    insta::assert_snapshot!(out, @r"
    FG101FTK19002788 # config vdom
    FG101FTK19002788 (vdom) # edit lab
    current vf=lab:2
    FG101FTK19002788 (lab) # next
    FG101FTK19002788 (vdom) # delete lab
    FG101FTK19002788 (vdom) # end
    FG101FTK19002788 #
    ");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(names(&server), [vec!["root", "dmz", "lab"], vec!["root", "dmz"]]);
}

#[tokio::test]
async fn a_dry_run_shows_what_a_confirmed_update_does() {
    let (bench, server) = bench_and_server().await;
    let plan = SyncResponse {
        plan_id: "plan-1".to_owned(),
        ..completed(vec![item("root", Outcome::Created), item("dmz", Outcome::Created)])
    };
    server.answers(Ok(plan));
    server.answers(Ok(completed(vec![item("root", Outcome::Created), item("dmz", Outcome::Created)])));
    server.answers(Ok(SyncResponse { status: SyncStatus::InSync.into(), ..Default::default() }));
    let lines = "config global\nexe forti upd dry\nexe forti upd confirm\nexe forti upd dry-run\n";
    let (out, code, _) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out, @r"
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # exe forti upd dry
    Dry run: nothing was done. An update would do this:
    root: created
    dmz: created
    FG101FTK19002788 (global) # exe forti upd confirm
    List of VDOMs updated to FortiToken Cloud.
    FG101FTK19002788 (global) # exe forti upd dry-run
    Dry run: nothing was done. An update would change nothing.
    FG101FTK19002788 (global) #
    ");
    assert_eq!(code, Some(0));
    let syncs = server.syncs();
    assert_eq!(
        syncs.iter().map(|sync| (sync.validate_only, sync.plan_id.as_str())).collect::<Vec<_>>(),
        [(true, ""), (false, "plan-1"), (true, "")]
    );
}

#[tokio::test]
async fn removals_that_are_held_are_confirmed() {
    let (bench, server) = bench_and_server().await;
    let held = VdomOutcome {
        reason: Reason::RemovalHeld.as_str().to_owned(),
        fix: Reason::RemovalHeld.fix().to_owned(),
        ..item("old", Outcome::Held)
    };
    let notice = HeldNotice { confirm_token: "token-1".to_owned(), ..Default::default() };
    let waits = SyncResponse { held: Some(notice), ..completed(vec![held]) };
    server.answers(Ok(waits.clone()));
    server.answers(Ok(waits));
    server.answers(Ok(completed(vec![item("old", Outcome::Removed)])));
    let (out, code, _) = script(&bench, &server, "config global\nexe forti upd\nexe forti upd confirm\n").await;
    insta::assert_snapshot!(out, @r"
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # exe forti upd
    List of VDOMs updated to FortiToken Cloud.
    old: held (REMOVAL_HELD): if it is to go, sync the same again with confirm_token, or let an admin approve the held removal; if not, list it again
    fix: what is held is removed by: execute fortitoken-cloud update confirm
    FG101FTK19002788 (global) # exe forti upd confirm
    List of VDOMs updated to FortiToken Cloud.
    old: removed
    FG101FTK19002788 (global) #
    ");
    assert_eq!(code, Some(1), "the first update left something undone");
    let tokens: Vec<_> = server.syncs().into_iter().map(|sync| sync.confirm_token).collect();
    assert_eq!(tokens, ["", "", "token-1"]);
}

#[tokio::test]
async fn the_service_and_the_way_to_it_are_shown() {
    let (bench, server) = bench_and_server().await;
    server.answers(Ok(completed(vec![item("root", Outcome::Unchanged), item("dmz", Outcome::Created)])));
    server.answers(Ok(SyncResponse { status: SyncStatus::InSync.into(), ..Default::default() }));
    let lines = "config global\nexecute fortitoken-cloud show\ndiagnose fortitoken-cloud show service\ndiagnose fortitoken-cloud show server\n\
                 diagnose fortitoken-cloud set-http 402\nexecute fortitoken-cloud update\ndiagnose fortitoken-cloud set-http 503\nexecute fortitoken-cloud show\n";
    let (out, code, _) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out, @r"
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # execute fortitoken-cloud show
    FortiToken Cloud service status: available
    Server: 127.0.0.1:PORT
    Serial-Number: FG101FTK19002788
    VDOMs: 2, not all as the service has them
    dmz: created
    FG101FTK19002788 (global) # diagnose fortitoken-cloud show service
    FortiToken Cloud service status: available
    Server: 127.0.0.1:PORT
    Serial-Number: FG101FTK19002788
    VDOMs: 2, all as the service has them
    FG101FTK19002788 (global) # diagnose fortitoken-cloud show server
    Server: 127.0.0.1:PORT
    Status: reachable (DNS, connect, TLS)
    FG101FTK19002788 (global) # diagnose fortitoken-cloud set-http 402
    FG101FTK19002788 (global) # execute fortitoken-cloud update
    FortiToken Cloud error (402)
    Command fail. Return code -1
    fix: this status is forced and the service was not asked: diagnose fortitoken-cloud set-http 0
    FG101FTK19002788 (global) # diagnose fortitoken-cloud set-http 503
    FG101FTK19002788 (global) # execute fortitoken-cloud show
    Cannot find ftc server!
    Command fail. Return code -1
    fix: this status is forced and the service was not asked: diagnose fortitoken-cloud set-http 0
    FG101FTK19002788 (global) #
    ");
    assert_eq!((code, server.syncs().len()), (Some(2), 2));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let (bench, server) = bench_and_server().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let lines = format!(
        "config global\ndiagnose fortitoken-cloud server 127.0.0.1 {closed}\ndiagnose fortitoken-cloud show server\nexecute fortitoken-cloud update\n"
    );
    fs::write(bench.path("script"), lines).unwrap();
    // Without --server, which would win over what the box says.
    let mut command = Command::new(env!("CARGO_BIN_EXE_fortigate"));
    let done = command.args(["--device", "box", "run", "script"]).current_dir(bench.path("")).output().await.unwrap();
    let out = String::from_utf8(done.stdout).unwrap().replace(&closed.to_string(), "PORT");
    insta::assert_snapshot!(out, @r"
    Server: 127.0.0.1:PORT
    Status: not reachable
    Cannot find ftc server!
    Command fail. Return code -1
    connect: 127.0.0.1:PORT: 127.0.0.1:PORT refused the connection
    fix: start muster-server, or check host and port (--server): nothing listens there
    Cannot find ftc server!
    Command fail. Return code -1
    connect: 127.0.0.1:PORT: 127.0.0.1:PORT refused the connection
    fix: start muster-server, or check host and port (--server): nothing listens there
    ");
    assert_eq!((done.status.code(), done.stderr.as_slice(), server.syncs().len()), (Some(2), &[][..], 0));
}

#[tokio::test]
async fn a_configuration_is_backed_up_changed_and_restored_byte_for_byte() {
    let (bench, server) = bench_and_server().await;
    let real = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fortigate/real.conf")).unwrap();
    fs::write(bench.path("real.conf"), &real).unwrap();
    server.answers(Ok(completed(vec![])));
    let lines = "config global\nexecute restore config real.conf\ny\nexecute backup config copy.conf\nget system status | grep Hostname\n";
    let (out, code, err) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out, @r"
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # execute restore config real.conf
    This operation will overwrite the current setting and could possibly reboot the system!
    Do you want to continue? (y/n)y
    branch-7 (global) # execute backup config copy.conf
    branch-7 (global) # get system status | grep Hostname
    Hostname: branch-7
    branch-7 (global) #
    ");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(bench.path("copy.conf")).unwrap(), real);
    assert_eq!(fs::read_to_string(bench.device().join("box.conf")).unwrap(), real);

    let lines = "config global\nexecute restore config nowhere.conf\ny\nexecute restore config script\ny\nexecute backup config no/where\n";
    let (out, code, _) = script(&bench, &server, lines).await;
    insta::assert_snapshot!(out, @r#"
    branch-7 # config global
    branch-7 (global) # execute restore config nowhere.conf
    This operation will overwrite the current setting and could possibly reboot the system!
    Do you want to continue? (y/n)y
    Command fail. Return code -1
    fix: could not read nowhere.conf: No such file or directory (os error 2)
    branch-7 (global) # execute restore config script
    This operation will overwrite the current setting and could possibly reboot the system!
    Do you want to continue? (y/n)y
    Command fail. Return code -1
    fix: line 7: the file ends before the last "end"
    branch-7 (global) # execute backup config no/where
    Command fail. Return code -1
    fix: could not write no/where: No such file or directory (os error 2)
    branch-7 (global) #
    "#);
    assert_eq!(code, Some(1));
    assert_eq!(fs::read_to_string(bench.device().join("box.conf")).unwrap(), real);
}

#[tokio::test]
async fn a_box_of_the_first_version_loads_and_its_first_change_keeps_it_in_the_new_form() {
    let (bench, server) = bench_and_server().await;
    let (toml, conf) = (bench.device().join("box.toml"), bench.device().join("box.conf"));
    let old = fs::read_to_string(&toml).unwrap()
        + "hostname = \"old-box\"\nvdoms = [\"root\", \"dmz\", \"a-long-vdom-name\"]\n";
    fs::write(&toml, &old).unwrap();
    fs::remove_file(&conf).unwrap();
    server.answers(Ok(completed(vec![])));
    let (out, code, _) = script(&bench, &server, "config global\nexecute fortitoken-cloud update\n").await;
    insta::assert_snapshot!(out, @r"
    old-box # config global
    old-box (global) # execute fortitoken-cloud update
    List of VDOMs updated to FortiToken Cloud.
    old-box (global) #
    ");
    assert_eq!(
        (code, names(&server).remove(0)),
        (Some(0), vec!["root".to_owned(), "dmz".to_owned(), "a-long-vdom-name".to_owned()])
    );
    assert!(!conf.exists(), "nothing was changed");
    assert_eq!(bench.run("vdom add lab").await.exit, muster_client::cli::Exit::Done);
    assert_eq!(bench.run("vdom list").await.out, "root\ndmz\na-long-vdom-name\nlab\n");
    assert!(fs::read_to_string(&conf).unwrap().contains("    set hostname \"old-box\"\n"));
    assert_eq!(fs::read_to_string(&toml).unwrap(), old);
}

#[tokio::test]
async fn without_a_terminal_there_is_no_prompt_and_no_colour() {
    let (bench, server) = bench_and_server().await;
    let mut console = fortigate(&bench, &server, &["console"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = console.stdin.take().unwrap();
    stdin.write_all(b"get system status | grep Serial\nxyz\nconfig global\nexit\nget system status\n").await.unwrap();
    drop(stdin);
    let done = console.wait_with_output().await.unwrap();
    assert_eq!(
        (done.status.code(), String::from_utf8(done.stdout).unwrap().as_str(), done.stderr.as_slice()),
        (
            Some(1),
            "Serial-Number: FG101FTK19002788\ncommand parse error before 'xyz'\nCommand fail. Return code -61\n",
            &[][..]
        )
    );
}

#[tokio::test]
async fn a_quote_that_is_never_closed_is_told_at_the_end() {
    let (bench, server) = bench_and_server().await;
    let (out, code, _) =
        script(&bench, &server, "config global\nconfig system admin\nedit admin\nset comments \"open\nend\n").await;
    insta::assert_snapshot!(out, @r#"
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # config system admin
    FG101FTK19002788 (admin) # edit admin
    FG101FTK19002788 (admin) # set comments "open
    > end
    > 
    token line: Unmatched double quote.
    "#);
    assert_eq!(code, Some(64));
}

#[tokio::test]
async fn one_command_can_be_run_from_outside() {
    let (bench, server) = bench_and_server().await;
    let run = async |arguments: &[&str]| {
        let done = fortigate(&bench, &server, &[&["exec"], arguments].concat()).output().await.unwrap();
        (String::from_utf8(done.stdout).unwrap(), done.status.code())
    };
    assert_eq!(
        run(&["get system status | grep Serial"]).await,
        ("Serial-Number: FG101FTK19002788\n".to_owned(), Some(0))
    );
    assert_eq!(run(&["sudo", "nowhere", "show"]).await.1, Some(64));
    assert_eq!(run(&["execute restore config nowhere"]).await, (String::new(), Some(1)));
}
