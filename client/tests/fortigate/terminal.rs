//! The console at a real pseudo-terminal, whose screen is read as a person would.

use std::fmt::Write as _;
use std::num::NonZero;
use std::time::Duration;

use pty_process::{Command, Pty, Size};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;

use crate::feed::{event, opened};
use crate::server::{End, Server};
use crate::update::completed;
use crate::{Bench, bench_and_server};

/// How long anything may take before a test gives up: far longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const PROMPT: &str = "FG101FTK19002788 #";
const GLOBAL: &str = "FG101FTK19002788 (global) #";

fn rows(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

/// A console at a terminal.
struct Terminal {
    pty: Pty,
    child: Child,
    screen: vt100::Parser,
    /// Everything that was ever written, colours and all.
    raw: Vec<u8>,
}

impl Terminal {
    async fn new(bench: &Bench, server: &Server) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(Size::new(24, 100)).unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_fortigate"));
        let command =
            command.args(["--device", "box", "--server", &server.url(), "console"]).env("TERM", "xterm-256color");
        let child = command.current_dir(bench.path("")).kill_on_drop(true).spawn(pts).unwrap();
        let mut terminal = Self { pty, child, screen: vt100::Parser::new(rows(24), rows(100), 1000), raw: Vec::new() };
        terminal.ends_with(PROMPT).await;
        terminal
    }

    /// Types, and reads meanwhile: a terminal that nobody reads takes nothing more.
    async fn types(&mut self, text: &str) {
        let (mut reader, mut writer) = self.pty.split();
        let mut bytes = [0; 4096];
        let mut typing = std::pin::pin!(writer.write_all(text.as_bytes()));
        loop {
            tokio::select! {
                typed = &mut typing => return typed.unwrap(),
                read = reader.read(&mut bytes) => {
                    let read = read.unwrap();
                    self.screen.process(&bytes[..read]);
                    self.raw.extend_from_slice(&bytes[..read]);
                }
            }
        }
    }

    /// Waits until the screen is as it should be, and gives its text.
    async fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let mut bytes = [0; 4096];
        loop {
            let text = self.screen.screen().contents();
            if is_it(&text) {
                return text;
            }
            let read = timeout(PATIENCE, self.pty.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("this should have changed long ago:\n{text}")).unwrap_or(0);
            assert!(read > 0, "the console is gone:\n{text}");
            self.screen.process(&bytes[..read]);
            self.raw.extend_from_slice(&bytes[..read]);
        }
    }

    /// Waits until the last line is this, and gives the screen.
    async fn ends_with(&mut self, end: &str) -> String {
        self.until(|text| text.trim_end().ends_with(end)).await
    }

    /// Waits until the console has ended, and gives its exit status.
    async fn ends(mut self) -> Option<i32> {
        let mut bytes = [0; 4096];
        // On Linux a terminal whose other end is closed reads as an error.
        while self.pty.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().code()
    }
}

#[tokio::test]
async fn lines_are_typed_edited_and_called_back() {
    let (bench, server) = bench_and_server().await;
    let mut terminal = Terminal::new(&bench, &server).await;
    terminal.types("get sytem\x7f\x7f\x7f\x7fystem status | grep Serial\r").await;
    let screen = terminal.until(|text| text.matches(PROMPT).count() == 2).await;
    assert!(screen.contains("Serial-Number: FG101FTK19002788"), "{screen}");
    // Up, once, and Enter.
    terminal.types("\x1b[A").await;
    terminal.ends_with("grep Serial").await;
    terminal.types("\r").await;
    let screen = terminal.until(|text| text.matches(PROMPT).count() == 3).await;
    assert_eq!(screen.matches("Serial-Number: FG101FTK19002788").count(), 2, "{screen}");
    terminal.types("exit\r").await;
    assert_eq!(terminal.ends().await, Some(0));
}

#[tokio::test]
async fn tab_completes_and_a_question_mark_explains() {
    let (bench, server) = bench_and_server().await;
    let mut terminal = Terminal::new(&bench, &server).await;
    terminal.types("conf\tglo\t\r").await;
    terminal.ends_with(GLOBAL).await;
    terminal.types("exe\tforti\tup\t").await;
    terminal.ends_with("# execute fortitoken-cloud update").await;
    terminal.types("?").await;
    let screen = terminal
        .until(|text| text.contains("<Enter>") && text.trim_end().ends_with("# execute fortitoken-cloud update"))
        .await;
    assert!(screen.contains("dry-run    Ask what an update would do"), "{screen}");
    server.answers(Ok(completed(vec![])));
    terminal.types("\r").await;
    terminal
        .until(|text| text.contains("List of VDOMs updated to FortiToken Cloud.") && text.trim_end().ends_with(GLOBAL))
        .await;

    // In quotes a question mark is what it is.
    terminal.types("config system admin\redit admin\rset comments \"why?\"\rshow\r").await;
    terminal.until(|text| text.contains("        set comments \"why?\"\n    next")).await;
    // The names of what is there are completed too, and several are listed.
    terminal.types("set two\t\t").await;
    terminal.until(|text| text.contains("two-factor-notification")).await;
}

#[tokio::test]
async fn a_paste_of_the_recipe_is_answered_line_by_line_and_shows_what_happens() {
    let (bench, server) = bench_and_server().await;
    server.plays(vec![opened(0)], End::Open);
    let mut terminal = Terminal::new(&bench, &server).await;
    terminal
        .types(
            "config global\rdiag fortitoken-cloud debug enable\rdiagnose debug console timestamp enable\rdiag debug appl fnbamd \u{2013}1\r\
             diag debug application httpsd 255\rdiag debug enable\r",
        )
        .await;
    let screen = terminal.until(|text| text.matches(GLOBAL).count() == 6 && text.trim_end().ends_with(GLOBAL)).await;
    insta::assert_snapshot!(screen, @r"
    FG101FTK19002788 # config global
    FG101FTK19002788 (global) # diag fortitoken-cloud debug enable
    FG101FTK19002788 (global) # diagnose debug console timestamp enable
    FG101FTK19002788 (global) # diag debug appl fnbamd –1
    Debug messages will be on for 30 minutes.
    FG101FTK19002788 (global) # diag debug application httpsd 255
    Debug messages will be on for 30 minutes.
    FG101FTK19002788 (global) # diag debug enable
    FG101FTK19002788 (global) #
    ");

    // What comes while a line is typed stands above it.
    terminal.types("exec forti").await;
    terminal.ends_with("exec forti").await;
    server.says(&event(1, "dmz", "created"));
    let shown = "2026-03-01 12:00:00 [ftc] sync.vdom dmz: created";
    let screen = terminal.until(|text| text.contains(shown) && text.trim_end().ends_with("# exec forti")).await;
    assert!(screen.find(shown) < screen.find("# exec forti"), "{screen}");
    server.answers(Ok(completed(vec![])));
    terminal.types(" update\r").await;
    terminal.until(|text| text.contains("List of VDOMs updated")).await;
}

#[tokio::test]
async fn a_long_paste_loses_nothing() {
    let (bench, server) = bench_and_server().await;
    let mut terminal = Terminal::new(&bench, &server).await;
    let mut lines = "config vdom\redit dmz\rconfig user local\r".to_owned();
    for user in 0..60 {
        write!(lines, "    edit \"user-{user}\"\r        set type password\r        set sms-phone \"+1408012{user:04}\"\r    next\r").unwrap();
    }
    lines.push_str("end\rend\r");
    terminal.types(&lines).await;
    terminal.until(|text| text.contains("(user-59) # ") && text.trim_end().ends_with(PROMPT)).await;
    assert!(!String::from_utf8_lossy(&terminal.raw).contains("parse error"));
    let conf = std::fs::read_to_string(bench.device().join("box.conf")).unwrap();
    assert_eq!(conf.matches("        set sms-phone ").count(), 60);
}

#[tokio::test]
async fn ctrl_c_drops_a_line_and_ends_a_wait_and_ctrl_d_leaves() {
    let (bench, server) = bench_and_server().await;
    let mut terminal = Terminal::new(&bench, &server).await;
    terminal.types("config nonsense").await;
    terminal.ends_with("config nonsense").await;
    terminal.types("\x03").await;
    terminal.until(|text| text.matches(PROMPT).count() == 2).await;
    // The server does not answer this one.
    terminal.types("sudo global execute fortitoken-cloud update\r").await;
    server.is_asked().await;
    terminal.types("\x03").await;
    let screen = terminal.until(|text| text.matches(PROMPT).count() == 3).await;
    assert!(screen.contains("^C"), "{screen}");
    terminal.types("set \"open\r").await;
    terminal.ends_with(">").await;
    terminal.types("\x03").await;
    terminal.until(|text| text.matches(PROMPT).count() == 4).await;
    terminal.types("\x04").await;
    assert_eq!(terminal.ends().await, Some(1), "the interrupted command failed");
}

#[tokio::test]
async fn a_window_that_changes_its_size_keeps_the_line() {
    let (bench, server) = bench_and_server().await;
    let mut terminal = Terminal::new(&bench, &server).await;
    let long = "diagnose fortitoken-cloud show user a-user-with-a-name somewhere";
    terminal.types(long).await;
    terminal.ends_with("somewhere").await;
    terminal.screen.screen_mut().set_size(rows(24), rows(40));
    terminal.pty.resize(Size::new(24, 40)).unwrap();
    // The line is drawn anew in the narrow window.
    terminal.types(" x").await;
    let whole = format!("{long} x").replace(' ', "");
    terminal.until(|text| text.lines().map(str::trim_end).collect::<String>().replace(' ', "").ends_with(&whole)).await;
}
