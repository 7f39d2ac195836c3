//! `fortigate fleet` against the binary: real TLS, real restarts, and what it says of a server that forgets.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use muster_client::args::Arguments;
use muster_client::cli::{self, Exit};
use muster_client::fleet::metrics::Kind;
use muster_client::fleet::report::Report;
use muster_proto::v1;
use muster_proto::v1::auth_client_service_client::AuthClientServiceClient;
use muster_proto::v1::device_admin_service_client::DeviceAdminServiceClient;
use muster_proto::v1::settings_service_client::SettingsServiceClient;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::{TempDir, tempdir};
use time::OffsetDateTime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::clients::admin;
use crate::patience::within;
use crate::process::{Running, binary, server};

/// What a fleet prints; each line is told as it comes, and waits for what the test does with it.
struct Out {
    text: Arc<Mutex<String>>,
    lines: UnboundedSender<(String, std::sync::mpsc::Sender<()>)>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap().push_str(str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = self.text.lock().unwrap().lines().last().unwrap_or_default().to_owned();
        let (done, wait) = std::sync::mpsc::channel();
        // Both ends go when nobody listens.
        let _ = self.lines.send((line, done));
        let _ = wait.recv();
        Ok(())
    }
}

/// A fleet that has run.
#[derive(Debug)]
struct Ran {
    exit: Exit,
    text: String,
    report: Report,
    html: String,
}

/// Runs a fleet of a server; what it prints comes one line after the other, and the fleet goes on when the line is dropped.
fn start(dir: &TempDir, data: &Path, address: SocketAddr, flags: &str) -> (impl Future<Output = Ran> + use<>, Told) {
    let path = |name: &str| dir.path().join(name);
    let (json, html) = (path("report.json"), path("report.html"));
    let words = format!(
        "fortigate --server https://{address} fleet --muster-data {} --json {} --html {} {flags}",
        data.display(),
        json.display(),
        html.display()
    );
    let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
    let text = Arc::<Mutex<String>>::default();
    let (lines, told) = unbounded_channel();
    let mut out = Out { text: Arc::clone(&text), lines };
    let ran = async move {
        let (mut rng, mut err) = (StdRng::seed_from_u64(1), Vec::new());
        let exit = cli::run(arguments, OffsetDateTime::now_utc(), &mut rng, &mut out, &mut err).await;
        drop(out);
        let text = text.lock().unwrap().clone();
        assert_eq!(String::from_utf8(err).unwrap(), "", "{text}");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        Ran { exit, text, report: Report::from_json(&read(&json)).unwrap(), html: read(&html) }
    };
    (ran, told)
}

/// What a fleet prints, line by line.
type Told = UnboundedReceiver<(String, std::sync::mpsc::Sender<()>)>;

/// Waits until the fleet asks for a restart of the server.
async fn asked_to_restart(told: &mut Told) {
    while let Some((line, _go_on)) = within(told.recv()).await {
        if line.starts_with("Restart the server now") {
            break;
        }
    }
}

/// The server at the same address, once this one has ended.
async fn back(running: Running, data: &Path) -> Running {
    let mut again = binary(["--data-dir"]);
    again.arg(data).arg("--listen").arg(running.address.to_string());
    running.ended().await;
    Running::start(again).await
}

async fn fleet(data: &Path, address: SocketAddr, flags: &str) -> Ran {
    let dir = tempdir().unwrap();
    let (ran, told) = start(&dir, data, address, flags);
    drop(told);
    // What runs a fleet is large.
    Box::pin(within(ran)).await
}

fn assert_held(ran: &Ran) {
    assert_eq!((ran.exit, ran.report.broken_count), (Exit::Done, 0), "{}", ran.text);
    assert!(ran.text.ends_with("Everything held.\n"), "{}", ran.text);
    assert!(ran.html.contains("Everything held.") && ran.html.ends_with("</html>\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_fleet_is_measured_and_everything_holds() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let ran = fleet(data.path(), running.address, "--devices 200 --vdoms 4 --rate 200 --duration 1s").await;
    assert_held(&ran);
    let report = &ran.report;
    assert_eq!((report.boxes, report.checked.devices, report.checked.vdoms), (200, 200, 800));
    let row = |kind| (report.rows[&kind].due, report.rows[&kind].done, report.rows[&kind].failed);
    assert_eq!((row(Kind::Register), row(Kind::Sync)), ((200, 200, 0), (200, 200, 0)));
    assert_eq!((report.checked.operations, report.checked.viewers), (200, 2));
    assert_eq!(report.rows[&Kind::Register].histogram().unwrap().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_box_comes_back_after_kill_minus_nine() {
    let (data, dir) = (tempdir().unwrap(), tempdir().unwrap());
    let running = Running::start(server(data.path())).await;
    let address = running.address;
    let flags = "--devices 200 --rate 500 --scenario storm";
    let (ran, mut told) = start(&dir, data.path(), address, flags);
    let ran = tokio::spawn(ran);
    // The operator does it, when the fleet asks for it.
    asked_to_restart(&mut told).await;
    running.signal("KILL");
    let _again = back(running, data.path()).await;
    drop(told);
    let ran = within(ran).await.unwrap();
    assert_held(&ran);
    let storm = &ran.report.storms[0];
    assert_eq!((storm.lost, storm.returned), (200, 200));
    assert_eq!((ran.report.rows[&Kind::Return].done, ran.report.rows[&Kind::Return].failed), (200, 0));
    // Boxes went on to report: those that were back already while others were still coming.
    assert_eq!((storm.healthy, storm.unretried), (ran.report.rows[&Kind::Healthy].done, 0));
    assert!(storm.healthy > 0 && storm.stall > 0.0 && storm.outage > 0.0 && storm.recovery > 0.0, "{}", ran.text);
    let line = ran.text.lines().find(|line| line.starts_with("meanwhile: the longest stall of a healthy box was "));
    assert!(line.is_some_and(|line| line.ends_with("; 0 errors were not retried")), "{}", ran.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_storm_that_is_not_retried_is_an_exit_status() {
    let (data, dir) = (tempdir().unwrap(), tempdir().unwrap());
    let running = Running::start(server(data.path())).await;
    let address = running.address;
    let (ran, mut told) = start(&dir, data.path(), address, "--devices 20 --rate 100 --scenario storm");
    let ran = tokio::spawn(ran);
    asked_to_restart(&mut told).await;
    // A box that may not return is an error that no box retries.
    let name = "devices/FGVM01TM00000003".to_owned();
    let request = v1::DeleteDeviceRequest { name, mode: v1::DeleteMode::Ban.into(), ..Default::default() };
    DeviceAdminServiceClient::new(admin(data.path(), address)).delete_device(request).await.unwrap();
    running.signal("KILL");
    let _again = back(running, data.path()).await;
    drop(told);
    let ran = within(ran).await.unwrap();
    assert_eq!(ran.exit, Exit::Failed, "{}", ran.text);
    let storm = &ran.report.storms[0];
    assert_eq!((storm.lost, storm.returned), (20, 19), "{}", ran.text);
    assert!(storm.unretried > 0, "{}", ran.text);
    assert!(ran.text.contains(" errors during the restart were not retried\n"), "{}", ran.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_restarts_the_server_itself() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let (address, pid) = (running.address, running.pid());
    let path = data.path().to_owned();
    let restart = tokio::spawn(async move { back(running, &path).await });
    // One word, because the command line of the test has no quotes.
    let script = data.path().join("restart");
    std::fs::write(&script, format!("kill -TERM {pid}\n")).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let flags = format!("--devices 50 --rate 500 --scenario storm --restart-command {}", script.display());
    let ran = fleet(data.path(), address, &flags).await;
    assert_held(&ran);
    assert_eq!(ran.report.storms[0].returned, 50);
    within(restart).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn vdoms_and_users_that_come_and_go_leave_what_was_acknowledged() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let ran = fleet(data.path(), running.address, "--devices 60 --rate 200 --users 4 --scenario churn").await;
    assert_held(&ran);
    // Users are on three VDOMs of each box at first, and on four after four more; one of those goes with its VDOM.
    assert_eq!(ran.report.rows[&Kind::Users].done, 60 * (3 + 4));
    assert_eq!(ran.report.rows[&Kind::AddUser].done, 60 * 4);
    assert_eq!(ran.report.checked.users, 60 * (4 + 4 - 1));
    assert_eq!(ran.report.rows[&Kind::Change].done, 240);
    assert_eq!(ran.report.rows[&Kind::Reconnect].done, 60);
    assert_eq!(ran.report.checked.vdoms, 60 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_are_refused_are_an_exit_status_with_the_reason_and_are_not_looked_for() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let settings = Some(v1::Settings { user_quota: Some(7), ..Default::default() });
    let request = v1::UpdateSettingsRequest { settings, ..Default::default() };
    SettingsServiceClient::new(admin(data.path(), running.address)).update_settings(request).await.unwrap();
    let ran = fleet(data.path(), running.address, "--devices 5 --vdoms 1 --users 2 --rate 50 --duration 200ms").await;
    assert_eq!((ran.exit, ran.report.broken_count), (Exit::Failed, 0), "{}", ran.text);
    assert_eq!(ran.report.checked.users, 7);
    let row = &ran.report.rows[&Kind::Users];
    assert!(row.failed > 0 && row.retries() == 0, "{}", ran.text);
    let told = ran.text.lines().find(|line| line.starts_with("note: sync users of ") && line.contains("was given up"));
    assert!(told.is_some_and(|line| line.contains("(USER_QUOTA_EXCEEDED)")), "{}", ran.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_viewers_are_told_what_they_missed() {
    let data = tempdir().unwrap();
    let mut command = server(data.path());
    command.args(["--feed-memory", "64KiB"]);
    let running = Running::start(command).await;
    let ran =
        fleet(data.path(), running.address, "--devices 50 --rate 1000 --duration 3s --scenario slow-viewers").await;
    assert_held(&ran);
    assert_eq!(ran.report.checked.viewers, 8);
    assert!(ran.report.checked.gaps > 0 && ran.report.checked.missed > 0, "{}", ran.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_share_a_run_and_their_reports_merge() {
    let (data, dir) = (tempdir().unwrap(), tempdir().unwrap());
    let running = Running::start(server(data.path())).await;
    let part = |number| {
        let json = dir.path().join(format!("{number}.json"));
        let (data, address) = (data.path().to_owned(), running.address);
        async move {
            let flags = format!("--devices 61 --rate 300 --duration 500ms --run 9 --part {number}/3");
            let ran = fleet(&data, address, &flags).await;
            assert_held(&ran);
            std::fs::write(&json, serde_json::to_string(&ran.report).unwrap()).unwrap();
            json
        }
    };
    let (one, two, three) = tokio::join!(part(1), part(2), part(3));
    let merged = dir.path().join("merged.json");
    let words = ["fortigate", "fleet", "report", "--json", merged.to_str().unwrap()];
    let words = words.into_iter().chain([&one, &two, &three].map(|path| path.to_str().unwrap()));
    let arguments = Arguments::try_parse_from(words).unwrap();
    let (mut rng, mut out, mut err) = (StdRng::seed_from_u64(1), Vec::new(), Vec::new());
    let exit = cli::run(arguments, OffsetDateTime::now_utc(), &mut rng, &mut out, &mut err).await;
    assert_eq!(exit, Exit::Done, "{}", String::from_utf8(err).unwrap());
    let report = Report::from_json(&std::fs::read_to_string(merged).unwrap()).unwrap();
    assert_eq!((report.boxes, report.parts.len(), report.rows[&Kind::Register].done), (61, 3, 61));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_and_is_gone_is_an_exit_status() {
    let (data, dir) = (tempdir().unwrap(), tempdir().unwrap());
    let running = Running::start(server(data.path())).await;
    let scenario = dir.path().join("scenario.toml");
    let text = "name = \"x\"\nabout = \"\"\n[[step]]\ndo = \"connect\"\n[[step]]\ndo = \"check\"\n";
    std::fs::write(&scenario, text).unwrap();
    let flags = format!("--devices 5 --scenario {}", scenario.display());
    let (ran, mut told) = start(&dir, data.path(), running.address, &flags);
    let ran = tokio::spawn(ran);
    let (line, go_on) = within(told.recv()).await.unwrap();
    assert!(line.starts_with("connect: 5 operations in "), "{line}");
    // Somebody deletes behind the back of the fleet, which is what a server that forgets looks like.
    let name = "authClients/FGVM01TM00000003-v2".to_owned();
    let request = v1::DeleteAuthClientRequest { name, ..Default::default() };
    AuthClientServiceClient::new(admin(data.path(), running.address)).delete_auth_client(request).await.unwrap();
    drop((go_on, told));
    let ran = within(ran).await.unwrap();
    assert_eq!(ran.exit, Exit::Failed);
    assert!(
        ran.text.contains("BROKEN: acknowledged but absent: VDOM v2 of FGVM01TM00000003 (operation "),
        "{}",
        ran.text
    );
    assert!(ran.html.contains("verdict bad") && ran.html.contains("VDOM v2 of FGVM01TM00000003"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_fail_over_and_no_auth_client_changes_its_id() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let ran = fleet(data.path(), running.address, "--devices 20 --rate 200 --scenario failover").await;
    assert_held(&ran);
    assert_eq!(ran.report.rows[&Kind::Failover].done, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_are_held_and_the_boxes_themselves_go_on() {
    let data = tempdir().unwrap();
    let running = Running::start(server(data.path())).await;
    let flags = "--devices 30 --rate 200 --duration 500ms --users 2 --scenario clones";
    let ran = fleet(data.path(), running.address, flags).await;
    assert_held(&ran);
    let done = |kind| ran.report.rows[&kind].done;
    assert_eq!((done(Kind::Clone), done(Kind::Sync), done(Kind::Users)), (10, 100, 60));
    assert_eq!(ran.report.checked.users, 60);
    // The same run again has the same boxes with the same keys, and no clones of itself.
    assert_held(&fleet(data.path(), running.address, "--devices 30 --rate 200 --duration 500ms --users 2").await);
}
