//! Sessions beside each other: the debug recipe, two consoles on one box, and one that is killed.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_client::cli::Exit;
use muster_client::cloud::Cloud;
use muster_client::connect::Dialer;
use muster_client::device::Device;
use muster_client::device_dir::DeviceDir;
use muster_client::shell::console::Console;
use muster_client::shell::screen::Screen;
use muster_client::shell::source::Source;
use muster_proto::v1::stream_debug_logs_response::Kind;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::console::{fortigate, script};
use crate::feed::{event, opened};
use crate::server::{End, Server};
use crate::update::completed;
use crate::{Bench, bench_and_server};

const UPDATED: &str = "List of VDOMs updated to FortiToken Cloud.\n";

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
async fn a_feed_that_could_not_be_had_is_opened_when_it_is_asked_for_again() {
    let (bench, server) = bench_and_server().await;
    let mut console = Piped::new(&bench, &server);
    console.types("diagnose debug application ftc -1").await;
    assert_eq!(console.shows().await, "Debug messages will be on for 30 minutes.");
    console.types("diagnose debug enable").await;
    assert_eq!(console.shows().await, "--- debug messages cannot be had ---");
    console.done().await;
    server.plays(vec![opened(0), event(1, "dmz", "created")], End::Open);
    console.types("diagnose debug enable").await;
    assert_eq!(console.shows().await, "[ftc] sync.vdom dmz: created");
    assert_eq!(console.closes().await, Some(0));
}

/// A clock that goes on by twenty minutes whenever it is looked at.
fn hasty_clock() -> OffsetDateTime {
    static LOOKS: AtomicI64 = AtomicI64::new(0);
    OffsetDateTime::UNIX_EPOCH + time::Duration::minutes(20 * LOOKS.fetch_add(1, Ordering::Relaxed))
}

/// What a console shows, to be read while it runs.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_debug_ends_by_itself_after_its_duration() {
    let (bench, server) = bench_and_server().await;
    server.plays(vec![opened(0)], End::Open);
    let dir = DeviceDir::new(&bench.device());
    let reach = |_: &Device| {
        let tls = dir.credentials(None)?.client_config()?;
        let dialer = Dialer { server: server.url().parse()?, tls, connect_timeout: Duration::from_secs(10) };
        Ok(Cloud { dialer, timeout: Duration::from_secs(10), forced_http: 0, dir: dir.clone() })
    };
    let paper = Paper::default();
    let screen = Screen::new(Box::new(paper.clone()));
    let lines: &[u8] = b"diagnose debug application ftc -1\ndiagnose debug enable\n";
    let console = Console::new(&dir, &reach, hasty_clock, screen, &mut StdRng::seed_from_u64(1));
    let exit = console.run(Source::stream(Box::new(lines), false), true).await.unwrap();
    let shown = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    assert_eq!(shown, "Debug messages will be on for 30 minutes.\n--- debug is off again: its duration is over ---\n");
    assert_eq!(exit, Exit::Done);
}
