//! The console of a box at a real pseudo-terminal against the real binary: the channel that it keeps in the background.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;

use escargot::CargoBuild;
use muster_client::cli::Exit;
use muster_proto::v1;
use muster_proto::v1::debug_log_service_client::DebugLogServiceClient;
use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use muster_proto::v1::stream_debug_logs_response::Kind;
use pty_process::{Command, Pty, Size};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;
use tonic::Streaming;

use crate::boxes::{A, Site, UPDATE};
use crate::clients::{AdminConnection, admin};
use crate::patience::{eventually, within};

const PROMPT: &str = "FG101FTK19000001 #";

/// The stand-in: an example of this package, because a binary of another one would be built with other features. A run of single tests builds no
/// examples, and the one of before would be tested.
static FORTIGATE: LazyLock<PathBuf> = LazyLock::new(|| {
    let example = CargoBuild::new().package("muster-server").example("fortigate").current_release();
    example.run().unwrap().path().to_owned()
});

/// A console at a terminal.
struct Terminal {
    pty: Pty,
    child: Child,
    screen: vt100::Parser,
}

impl Terminal {
    /// A console of the box A.
    async fn new(site: &Site) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(Size::new(40, 120)).unwrap();
        let command = Command::new(&*FORTIGATE).arg("--device").arg(site.dir.path().join(A)).arg("console");
        let command = command.env("TERM", "xterm-256color").kill_on_drop(true);
        let child = command.spawn(pts).unwrap();
        let cells = |count| NonZero::new(count).unwrap();
        let mut terminal = Self { pty, child, screen: vt100::Parser::new(cells(40), cells(120), 1_000) };
        terminal.until(|text| text.trim_end().ends_with(PROMPT)).await;
        terminal
    }

    async fn types(&mut self, text: &str) {
        self.pty.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the screen is as it should be, and gives what stands on it from the first prompt on.
    async fn until(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let mut bytes = [0; 4096];
        loop {
            let text = self.screen.screen().contents();
            let text = text.find(PROMPT).and_then(|start| text.get(start..)).unwrap_or_default().to_owned();
            if is_it(&text) {
                return text;
            }
            let read = within(self.pty.read(&mut bytes)).await.unwrap_or(0);
            assert!(read > 0, "the console is gone:\n{text}");
            self.screen.process(&bytes[..read]);
        }
    }

    async fn shows(&mut self, part: &str) -> String {
        self.until(|text| text.contains(part) && text.trim_end().ends_with('#')).await
    }

    /// Has it leave.
    async fn exit(mut self) {
        self.types("exit\r").await;
        let mut bytes = [0; 4096];
        // On Linux a terminal whose other end is closed reads as an error.
        while self.pty.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        assert!(within(self.child.wait()).await.unwrap().success());
    }
}

/// What an admin does about the box A.
struct Admin {
    devices: DeviceAdminServiceClient<AdminConnection>,
    feed: Streaming<v1::StreamDebugLogsResponse>,
}

impl Admin {
    async fn new(site: &Site) -> Self {
        let connection = admin(&site.dir.path().join("muster-data"), site.running.address);
        let following = v1::StreamDebugLogsRequest { follow: true, ..Default::default() };
        let mut feed = DebugLogServiceClient::new(connection.clone());
        let feed = within(feed.stream_debug_logs(following)).await.unwrap().into_inner();
        Self { devices: DeviceAdminServiceClient::new(connection), feed }
    }

    async fn device(&mut self) -> v1::GetDeviceResponse {
        let request = v1::GetDeviceRequest { name: format!("devices/{A}") };
        self.devices.get_device(request).await.unwrap().into_inner()
    }

    async fn vdoms(&mut self) -> Vec<String> {
        self.device().await.vdoms.into_iter().map(|vdom| vdom.name).collect()
    }

    async fn presence(&mut self) -> Option<v1::DevicePresence> {
        self.device().await.device?.presence
    }

    /// Waits until the box is online on this channel.
    async fn online(&mut self, generation: u64) -> v1::DevicePresence {
        eventually(async || self.presence().await.filter(|it| it.online && it.connection_generation == generation))
            .await
    }

    async fn request_sync(&mut self, reason: &str) {
        let request =
            v1::RequestSyncRequest { name: format!("devices/{A}"), reason: reason.to_owned(), ..Default::default() };
        self.devices.request_sync(request).await.unwrap();
    }

    async fn set_debug(&mut self, level_mask: i32) {
        let request = v1::SetDeviceDebugRequest {
            name: format!("devices/{A}"),
            components: vec!["fnbamd".to_owned()],
            level_mask: Some(level_mask),
            ..Default::default()
        };
        self.devices.set_device_debug(request).await.unwrap();
    }

    /// The next event of this component.
    async fn event(&mut self, component: &str) -> v1::DebugEvent {
        loop {
            let message = within(self.feed.message()).await.unwrap().and_then(|message| message.kind);
            match message.unwrap() {
                Kind::Event(event) if event.component == component => return event,
                _ => {}
            }
        }
    }
}

/// A site with the box A, which has reported once.
async fn site() -> Site {
    let site = Site::new().await;
    site.init(A).await;
    assert_eq!(site.run(A, &UPDATE).await.0, Exit::Done);
    site
}

/// A console that keeps the channel and shows the messages of the service, and an admin who sees the box online.
async fn attended(site: &Site) -> (Admin, Terminal) {
    let mut admin = Admin::new(site).await;
    let mut terminal = Terminal::new(site).await;
    admin.online(1).await;
    terminal.types(&DEBUG.replace("diag", "sudo global diag")).await;
    terminal.until(|text| text.matches(PROMPT).count() == 3).await;
    (admin, terminal)
}

const DEBUG: &str = "diag fortitoken-cloud debug enable\rdiag debug enable\r";

#[tokio::test]
async fn an_open_console_keeps_the_channel_and_the_box_syncs_when_an_admin_asks() {
    let site = site().await;
    let mut admin = Admin::new(&site).await;
    let mut terminal = Terminal::new(&site).await;
    let presence = admin.online(1).await;
    assert!(presence.clock_skew.unwrap().seconds.abs() < 5 && !presence.boot_id.is_empty(), "{presence:?}");
    assert_eq!(site.run(A, &["vdom", "add", "lab"]).await.0, Exit::Done);
    assert_eq!(admin.vdoms().await, ["dmz", "root"]);
    admin.request_sync("drill").await;
    eventually(async || (admin.vdoms().await == ["dmz", "lab", "root"]).then_some(())).await;

    // Nothing disturbs the prompt until debug is on.
    let global = "sudo global ";
    terminal.types("get system status | grep Serial\r").await;
    let screen = terminal.shows("Serial-Number: FG101FTK19000001").await;
    assert_eq!(screen.lines().count(), 3, "{screen}");
    for line in DEBUG.split_inclusive('\r') {
        terminal.types(&format!("{global}{line}")).await;
    }
    terminal.until(|text| text.contains("debug enable") && text.matches(PROMPT).count() == 4).await;
    terminal.types("get sys").await;
    terminal.until(|text| text.ends_with("get sys")).await;
    admin.request_sync("again").await;
    let shown = "--- the service asks for a sync: again ---";
    let screen = terminal.until(|text| text.contains(shown) && text.trim_end().ends_with("# get sys")).await;
    assert!(screen.find(shown) < screen.rfind("# get sys"), "what is typed stays the last line: {screen}");
}

#[tokio::test]
async fn the_daemons_of_a_box_speak_while_an_admin_wants_to_hear_them() {
    let site = site().await;
    let (mut admin, mut terminal) = attended(&site).await;
    admin.set_debug(-1).await;
    terminal.shows("--- the service asks for debug messages for 30m ---").await;
    terminal.types("sudo global execute fortitoken-cloud update\r").await;
    let line = admin.event("fnbamd").await;
    assert_eq!((line.serial_number.as_str(), line.level), (A, 4));
    assert_eq!(line.message, "ftc_update-list of VDOMs sent, result 0");

    // Off again: what happens now is not told.
    admin.set_debug(0).await;
    terminal.shows("--- the service asks for debug messages no more ---").await;
    terminal.types("sudo global execute fortitoken-cloud sync\r").await;
    terminal.shows("User synchronization completed!").await;
    admin.set_debug(-1).await;
    terminal.until(|text| text.matches("asks for debug messages for ").count() == 2).await;
    terminal.types("sudo global diagnose fortitoken-cloud delete ghost root\r").await;
    let line = admin.event("fnbamd").await;
    assert_eq!((line.vdom.as_str(), line.message.as_str()), ("root", "ftc_user-delete ghost, result 0"));
}

#[tokio::test]
async fn a_box_that_is_removed_hears_it_and_does_not_return_unasked() {
    let site = site().await;
    let (mut admin, mut terminal) = attended(&site).await;
    let request = v1::DeleteDeviceRequest {
        name: format!("devices/{A}"),
        mode: v1::DeleteMode::Evict.into(),
        why: "sold".to_owned(),
        ..Default::default()
    };
    admin.devices.delete_device(request).await.unwrap();
    terminal
        .shows("--- the service removed this box: sold; \"execute fortitoken-cloud update\" registers it anew ---")
        .await;
    eventually(async || admin.presence().await.filter(|presence| !presence.online)).await;
    // A console that is opened now does not bring it back either.
    let other = Terminal::new(&site).await;
    other.exit().await;
    assert_eq!(admin.device().await.device.unwrap().state(), v1::LifecycleState::Deleted);

    terminal.types("sudo global execute fortitoken-cloud update\r").await;
    terminal.shows("List of VDOMs updated to FortiToken Cloud.").await;
    admin.online(2).await;
}

#[tokio::test]
async fn two_consoles_of_a_box_share_one_channel_and_the_other_takes_over() {
    let site = site().await;
    let mut admin = Admin::new(&site).await;
    let first = Terminal::new(&site).await;
    let before = admin.online(1).await;
    let mut second = Terminal::new(&site).await;
    // What the second one does goes through, and takes nothing from the first.
    second.types("sudo global execute fortitoken-cloud update\r").await;
    second.shows("List of VDOMs updated").await;
    assert_eq!(admin.presence().await.unwrap().connection_generation, 1);
    first.exit().await;
    let after = admin.online(2).await;
    assert_eq!(after.since_time, before.since_time, "it was online all the time");
}

#[tokio::test]
async fn a_channel_that_another_console_keeps_is_waited_for_aloud() {
    let site = site().await;
    let mut admin = Admin::new(&site).await;
    let console = Terminal::new(&site).await;
    admin.online(1).await;
    let mut waiting = tokio::process::Command::new(&*FORTIGATE);
    waiting.arg("--device").arg(site.dir.path().join(A)).arg("channel").stdout(Stdio::piped()).kill_on_drop(true);
    let mut waiting = waiting.spawn().unwrap();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    let said = within(lines.next_line()).await.unwrap().unwrap();
    assert_eq!(said, "--- another console of this box keeps the channel, this one takes over when it ends ---");
    console.exit().await;
    let said = within(lines.next_line()).await.unwrap().unwrap();
    assert_eq!(said, "--- channel 2 is open: the box is in sync ---");
}
