//! The debug feed of a box.

use std::io::{self, Write};
use std::time::Duration;

use muster_client::cli::Exit;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{
    ClosingReason, DebugEvent, FeedCaughtUp, FeedClosing, FeedGap, FeedHeartbeat, FeedOpened, GapReason, ValueChange,
};
use muster_proto::{Cursor, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::server::{End, Server};
use crate::{Bench, Ran, SERIAL, bench_and_server, run_into};

fn at(position: u64) -> String {
    Cursor { epoch: 7, position }.to_string()
}

pub(crate) fn opened(position: u64) -> Kind {
    Kind::Opened(FeedOpened { cursor: at(position), ..Default::default() })
}

pub(crate) fn event(position: u64, vdom: &str, message: &str) -> Kind {
    Kind::Event(DebugEvent {
        cursor: at(position),
        time: Some(prost_types::Timestamp { seconds: 1_772_366_400, nanos: 0 }),
        component: "ftc".to_owned(),
        step: "sync.vdom".to_owned(),
        vdom: vdom.to_owned(),
        message: message.to_owned(),
        caller: format!("device:{SERIAL}"),
        ..Default::default()
    })
}

pub(crate) fn caught_up(position: u64) -> Kind {
    Kind::CaughtUp(FeedCaughtUp { cursor: at(position) })
}

pub(crate) fn closing(reason: ClosingReason, position: u64, retry_after: Option<Duration>) -> Kind {
    let retry_after = retry_after.map(|delay| delay.try_into().unwrap());
    Kind::Closing(FeedClosing { reason: reason.into(), resume_cursor: at(position), retry_after })
}

/// A terminal that makes the server crash once it shows a text.
struct Trigger<'a> {
    server: &'a Server,
    text: &'a str,
    shown: String,
}

impl Write for Trigger<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.shown.contains(self.text);
        self.shown.push_str(str::from_utf8(bytes).unwrap());
        if !before && self.shown.contains(self.text) {
            self.server.crash();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows the feed until it ends; the server crashes when this text is shown.
async fn debug_until(bench: &Bench, server: &Server, text: &str, flags: &str) -> Ran {
    let mut out = Trigger { server, text, shown: String::new() };
    let command = format!("--server {} debug {flags}", server.url());
    let (exit, err) = run_into(&mut out, &bench.device(), &command).await;
    Ran { exit, out: out.shown, err: err.replace(&server.port().to_string(), "PORT") }
}

async fn debug(bench: &Bench, server: &Server, flags: &str) -> Ran {
    let mut ran = bench.run(&format!("--server {} debug {flags}", server.url())).await;
    ran.err = ran.err.replace(&server.port().to_string(), "PORT");
    ran
}

fn refusal(reason: Reason) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason.as_str(), "muster", []);
    Status::with_error_details(reason.code(), "refused", details)
}

#[tokio::test]
async fn a_view_ends_when_it_has_caught_up_and_shows_what_came() {
    let (bench, server) = bench_and_server().await;
    let refused = DebugEvent {
        cursor: at(4),
        operation_id: "op-1".to_owned(),
        component: "ftc".to_owned(),
        step: "delete".to_owned(),
        message: "refused\u{1b}[31m".to_owned(),
        reason: "ROOT_VDOM_REQUIRED".to_owned(),
        changes: vec![ValueChange { field: "hostname".to_owned(), before: "a".to_owned(), after: "b".to_owned() }],
        caller: "admin:first".to_owned(),
        terminal: true,
        code: "FAILED_PRECONDITION".to_owned(),
        ..Default::default()
    };
    let gap = |reason: GapReason, count| {
        Kind::Gap(FeedGap { to_cursor: at(3), reason: reason.into(), count, ..Default::default() })
    };
    let messages = vec![
        Kind::Opened(FeedOpened { warning: "no device FG1 is known".to_owned(), cursor: at(0), ..Default::default() }),
        event(1, "dmz", "created"),
        gap(GapReason::SlowViewer, Some(12)),
        gap(GapReason::Expired, Some(1)),
        gap(GapReason::Restart, None),
        Kind::Event(refused),
        caught_up(4),
        closing(ClosingReason::Complete, 4, None),
    ];
    server.plays(messages, End::Ok);
    let ran = debug(&bench, &server, "--tail 3 --components ftc=\u{2013}1,httpsd=255").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    insta::assert_snapshot!(ran.out, @r#"
    --- warning: no device FG1 is known ---
    [ftc] sync.vdom dmz: created
    --- 12 events missed (slow viewer) ---
    --- 1 event missed (no longer held by the server) ---
    --- events missed (the server was restarted) ---
    [ftc] delete: refused\u{1b}[31m (ROOT_VDOM_REQUIRED); hostname "a" -> "b"; by admin:first => FAILED_PRECONDITION, operation op-1
    "#);

    let view = server.views().pop().unwrap();
    assert_eq!((view.tail, view.follow, view.cursor.as_str()), (Some(3), false, ""));
    let include: Vec<_> =
        view.include.iter().map(|f| (f.serial_number.as_str(), f.component.as_str(), f.level_mask)).collect();
    assert_eq!(include, [(SERIAL, "ftc", Some(-1)), (SERIAL, "httpsd", Some(255))]);
}

#[tokio::test]
async fn each_line_has_its_time_if_asked_for() {
    let (bench, server) = bench_and_server().await;
    server.plays(vec![opened(0), event(1, "dmz", "created"), closing(ClosingReason::Complete, 1, None)], End::Ok);
    let ran = debug(&bench, &server, "--timestamps").await;
    assert_eq!(ran.out, "2026-03-01 12:00:00 [ftc] sync.vdom dmz: created\n");
    let view = server.views().pop().unwrap();
    assert_eq!((view.include.len(), view.include[0].serial_number.as_str()), (1, SERIAL));
    assert_eq!(view.include[0].component, "");
}

#[tokio::test]
async fn a_view_that_follows_comes_back_where_it_was() {
    let (bench, server) = bench_and_server().await;
    let soon = Some(Duration::from_millis(20));
    let goodbye = closing(ClosingReason::Shutdown, 2, soon);
    let down = || End::Status(refusal(Reason::ShuttingDown));
    server.plays(vec![opened(0), event(1, "dmz", "created"), caught_up(1), goodbye], down());
    server.plays(vec![opened(2), event(3, "lab", "created")], End::Open);
    server.plays(vec![opened(3), Kind::Heartbeat(FeedHeartbeat { cursor: at(5), time: None })], down());
    server.plays(vec![opened(5), event(6, "web", "created")], End::Status(refusal(Reason::IdentityMismatch)));
    let ran = debug_until(&bench, &server, "lab: created\n", "--follow --tail 9").await;
    assert_eq!(ran.exit, Exit::NotAuthorised);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines[0], "[ftc] sync.vdom dmz: created", "{}", ran.out);
    assert_eq!(lines[1], "--- interrupted: the server is shutting down; reconnecting in 0.0 s ---");
    assert_eq!(lines[2..4], ["--- connected again ---", "[ftc] sync.vdom lab: created"]);
    let crashed = "--- interrupted: the connection broke: the other end closed it; reconnecting in ";
    assert!(lines[4].starts_with(crashed), "{}", lines[4]);
    assert_eq!(lines[5], "--- connected again ---");
    assert!(lines[6].starts_with("--- interrupted: refused (SHUTTING_DOWN); reconnecting in "), "{}", lines[6]);
    assert_eq!(lines[7..], ["--- connected again ---", "[ftc] sync.vdom web: created"]);
    assert!(ran.err.starts_with("error: authorisation: 127.0.0.1:PORT: refused (IDENTITY_MISMATCH)\n"), "{}", ran.err);

    let starts: Vec<_> = server.views().into_iter().map(|view| (view.tail, view.cursor)).collect();
    assert_eq!(starts, [(Some(9), String::new()), (None, at(2)), (None, at(3)), (None, at(5))]);
}

#[tokio::test]
async fn a_feed_that_breaks_off_before_it_caught_up_is_no_success() {
    let (bench, server) = bench_and_server().await;
    for (end, crash_at, shown) in [
        (End::Open, "created\n", "connection: 127.0.0.1:PORT: the connection broke: "),
        (End::Ok, "never", "connection: 127.0.0.1:PORT: the connection broke: the server ended the feed"),
        (End::Status(refusal(Reason::ShuttingDown)), "never", "Unavailable: 127.0.0.1:PORT: refused (SHUTTING_DOWN)"),
    ] {
        server.plays(vec![opened(0), event(1, "dmz", "created")], end);
        let ran = debug_until(&bench, &server, crash_at, "").await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unreachable, "[ftc] sync.vdom dmz: created\n"));
        assert!(ran.err.starts_with(&format!("error: {shown}")), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_box_that_may_no_longer_watch_is_told_why() {
    let (bench, server) = bench_and_server().await;
    let goodbye = closing(ClosingReason::AuthorisationEnded, 1, None);
    server.plays(vec![opened(0), goodbye], End::Status(refusal(Reason::CertificateExpired)));
    let ran = debug(&bench, &server, "--follow").await;
    assert_eq!((ran.exit, Reason::CertificateExpired.code()), (Exit::NotAuthorised, Code::Unauthenticated));
    assert!(ran.err.contains("refused (CERTIFICATE_EXPIRED)\nfix: renew the client certificate"), "{}", ran.err);
}

#[tokio::test]
async fn a_first_connection_that_fails_is_told_at_once_even_if_the_view_follows() {
    let bench = Bench::new(crate::pki::Pki::new()).await;
    let ran = bench.run("--server https://nowhere.invalid debug --follow").await;
    assert_eq!(ran.exit, Exit::Unreachable);
    assert!(ran.err.starts_with("error: DNS: "), "{}", ran.err);
}
