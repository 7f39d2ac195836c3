//! The console against a server: scripts, standard input, two sessions, and what a box sends by itself.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use muster_proto::Reason;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{HeldNotice, Outcome, SyncResponse, SyncStatus, VdomOutcome};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::feed::{event, opened};
use crate::server::{End, Server};
use crate::update::completed;
use crate::{Bench, bench_and_server};

const UPDATED: &str = "List of VDOMs updated to FortiToken Cloud.\n";

fn fortigate(bench: &Bench, server: &Server, arguments: &[&str]) -> Command {
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

/// A console that is fed line by line.
struct Piped {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Piped {
    fn new(bench: &Bench, server: &Server) -> Self {
        let mut child = fortigate(bench, server, &["console"]).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, lines }
    }

    async fn types(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line that is shown.
    async fn shows(&mut self) -> String {
        self.lines.next_line().await.unwrap().unwrap()
    }

    /// What the console shows when it has done everything before.
    async fn done(&mut self) {
        self.types("diagnose debug duration").await;
        while !self.shows().await.starts_with("Current duration") {}
    }

    async fn closes(mut self) -> Option<i32> {
        drop(self.stdin);
        self.child.wait().await.unwrap().code()
    }
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
async fn the_recipe_of_the_guide_shows_in_one_console_what_another_does() {
    let (bench, server) = bench_and_server().await;
    server.plays(vec![opened(0)], End::Open);
    let mut first = Piped::new(&bench, &server);
    for line in [
        "config global",
        "diag fortitoken-cloud debug enable",
        "diagnose debug console timestamp enable",
        "diag debug appl fnbamd \u{2013}1",
        "diag debug application httpsd 255",
        "diag debug enable",
    ] {
        first.types(line).await;
    }
    assert_eq!(first.shows().await, "Debug messages will be on for 30 minutes.");
    assert_eq!(first.shows().await, "Debug messages will be on for 30 minutes.");
    first.done().await;
    assert_eq!(server.views()[0].include[0].serial_number, crate::SERIAL);

    server.answers(Ok(completed(vec![])));
    let second = bench.update(&server.url(), "").await;
    assert_eq!(second.out, UPDATED);
    server.says(&event(1, "dmz", "created"));
    assert_eq!(first.shows().await, "2026-03-01 12:00:00 [ftc] sync.vdom dmz: created");

    // What is not switched on is not shown.
    first.types("diagnose debug console timestamp disable").await;
    first.done().await;
    let Kind::Event(mut hidden) = event(2, "dmz", "hidden") else { panic!("an event") };
    hidden.component = "sslvpn".to_owned();
    server.says(&Kind::Event(hidden));
    server.says(&event(3, "dmz", "removed"));
    assert_eq!(first.shows().await, "[ftc] sync.vdom dmz: removed");
    assert_eq!(first.closes().await, Some(0));
}

#[tokio::test]
async fn a_script_that_stays_shows_messages_until_the_debug_ends() {
    let (bench, server) = bench_and_server().await;
    server.plays(vec![opened(0), event(1, "dmz", "created")], End::Open);
    fs::write(bench.path("recipe"), "diagnose debug application ftc -1\ndiagnose debug enable\n").unwrap();
    let mut staying = fortigate(&bench, &server, &["run", "--stay", "recipe"]).spawn().unwrap();
    let mut lines = BufReader::new(staying.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "Debug messages will be on for 30 minutes.");
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "[ftc] sync.vdom dmz: created");
    staying.kill().await.unwrap();
}

#[tokio::test]
async fn a_debug_that_cannot_be_had_says_why() {
    let (bench, server) = bench_and_server().await;
    let (out, code, _) = script(&bench, &server, "diagnose debug enable\ndiagnose debug info\n").await;
    insta::assert_snapshot!(out, @r"
    FG101FTK19002788 # diagnose debug enable
    --- debug messages cannot be had ---
    InvalidArgument: 127.0.0.1:PORT: no script is left
    FG101FTK19002788 # diagnose debug info
    debug output:           enable
    console timestamp:      disable
    console no user log message:    disable
    CLI debug level:        3
    FG101FTK19002788 #
    ");
    assert_eq!(code, Some(0));
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
async fn two_consoles_on_one_box_keep_what_each_other_did() {
    let (bench, server) = bench_and_server().await;
    let (mut first, mut second) = (Piped::new(&bench, &server), Piped::new(&bench, &server));
    for (console, user) in [(&mut first, "alice"), (&mut second, "bob")] {
        for line in ["config vdom", "edit dmz", "config user local", &format!("edit {user}"), "set type password"] {
            console.types(line).await;
        }
        assert_eq!(console.shows().await, "current vf=dmz:1");
    }
    for console in [&mut first, &mut second] {
        console.types("end").await;
        console.done().await;
    }
    first.types("show user local").await;
    let mut shown = Vec::new();
    while shown.last().map(String::as_str) != Some("end") {
        shown.push(first.shows().await);
    }
    assert!(["alice", "bob"].iter().all(|user| shown.contains(&format!("    edit \"{user}\""))), "{shown:?}");
    assert_eq!((first.closes().await, second.closes().await), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_console_that_is_killed_leaves_the_old_configuration_or_the_new_one() {
    let (bench, server) = bench_and_server().await;
    let conf = bench.device().join("box.conf");
    for round in 0..8 {
        let mut lines = "config vdom\nedit dmz\nconfig user local\n".to_owned();
        for user in 0..200 {
            write!(lines, "edit user-{round}-{user}\nset sms-phone +1408012{user:04}\nnext\n").unwrap();
        }
        fs::write(bench.path("script"), lines).unwrap();
        let before = fs::read_to_string(&conf).unwrap();
        let mut console = fortigate(&bench, &server, &["run", "script"]).spawn().unwrap();
        // Not before it has begun to write.
        while fs::read_to_string(&conf).unwrap() == before {
            tokio::task::yield_now().await;
        }
        console.kill().await.unwrap();
        assert_eq!(console.wait().await.unwrap().signal(), Some(9));
        let after = fs::read_to_string(&conf).unwrap();
        assert!(after.len() > before.len() && after.ends_with("end\n"), "{after}");
        let shown =
            fortigate(&bench, &server, &["exec", "sudo", "dmz", "show", "user", "local"]).output().await.unwrap();
        assert!(shown.status.success(), "{shown:?}");
    }
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
