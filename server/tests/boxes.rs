//! Boxes of the stand-in against the real binary: side by side in one directory, as HA cables would connect them.

use clap::Parser as _;
use muster_client::args::Arguments;
use muster_client::cli::{self, Exit};
use muster_proto::v1;
use muster_proto::v1::cluster_service_client::ClusterServiceClient;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::clients::admin;
use crate::patience::within;
use crate::process::{Running, server};

pub(crate) const A: &str = "FG101FTK19000001";
const B: &str = "FG101FTK19000002";

/// A server, and a directory for boxes.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) running: Running,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A server with these flags.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = server(&dir.path().join("muster-data"));
        command.args(flags);
        let running = Running::start(command).await;
        Self { dir, running }
    }

    /// Runs a command of a box, and gives what it shows: output, then explanations.
    pub(crate) async fn run(&self, name: &str, command: &[&str]) -> (Exit, String) {
        let device = self.dir.path().join(name).display().to_string();
        let words = ["fortigate", "--device", &device].into_iter().chain(command.iter().copied());
        let arguments = Arguments::try_parse_from(words).unwrap();
        let (mut rng, mut out, mut err) = (StdRng::seed_from_u64(1), Vec::new(), Vec::new());
        let exit = Box::pin(within(cli::run(arguments, OffsetDateTime::now_utc(), &mut rng, &mut out, &mut err))).await;
        out.extend(err);
        (exit, String::from_utf8(out).unwrap())
    }

    /// Makes a box.
    pub(crate) async fn init(&self, serial: &str) {
        let data = self.dir.path().join("muster-data").display().to_string();
        let url = format!("https://{}", self.running.address);
        let (exit, out) = self
            .run(serial, &["init", "--serial", serial, "--vdom", "dmz", "--muster-data", &data, "--server", &url])
            .await;
        assert_eq!(exit, Exit::Done, "{out}");
    }

    /// Sets what `config system ha` says, by an excerpt; the box tells the server by itself.
    async fn ha(&self, serial: &str, settings: &str) -> (Exit, String) {
        let path = self.dir.path().join("ha.conf");
        std::fs::write(&path, format!("config system ha\n{settings}\nend\n")).unwrap();
        self.run(serial, &["exec", &format!("execute restore config {}", path.display())]).await
    }

    async fn clusters(&self) -> Vec<v1::Cluster> {
        let mut clusters = ClusterServiceClient::new(admin(&self.dir.path().join("muster-data"), self.running.address));
        let answer = within(clusters.list_clusters(v1::ListClustersRequest::default())).await.unwrap();
        answer.into_inner().clusters
    }
}

pub(crate) const UPDATE: [&str; 2] = ["exec", "execute fortitoken-cloud update"];
const UPDATED: &str = "List of VDOMs updated to FortiToken Cloud.\n";

#[tokio::test]
async fn boxes_with_ha_settings_found_a_cluster_join_it_take_it_over_and_leave_it() {
    let site = Site::new().await;
    site.init(A).await;
    site.init(B).await;
    // A box that stands alone says nothing of clusters.
    assert_eq!(site.run(A, &UPDATE).await, (Exit::Done, UPDATED.to_owned()));
    assert_eq!(site.clusters().await, []);

    let in_group = |priority: u8| format!("set group-name edge\nset mode a-p\nset priority {priority}");
    assert_eq!(site.ha(A, &in_group(200)).await, (Exit::Done, String::new()));
    let founded = site.clusters().await.remove(0);
    assert_eq!((founded.display_name.as_str(), founded.primary_serial_number.as_str()), ("edge", A));

    // B sees A, and A does not know of B yet: the reason and the fix are told, and nothing is lost.
    let (exit, out) = site.ha(B, &in_group(100)).await;
    assert_eq!(exit, Exit::Failed);
    assert!(out.starts_with("HA cluster: held, in none (CLUSTER_NOT_CONFIRMED): "), "{out}");
    assert_eq!(
        site.run(A, &UPDATE).await,
        (Exit::Done, format!("{UPDATED}HA cluster: updated, primary of \"edge\"\n"))
    );
    let joined = format!("{UPDATED}HA cluster: updated, member of \"edge\"\n");
    assert_eq!(site.run(B, &UPDATE).await, (Exit::Done, joined));
    let members =
        |cluster: &v1::Cluster| cluster.members.iter().map(|member| member.serial_number.clone()).collect::<Vec<_>>();
    let clusters = site.clusters().await;
    assert_eq!((clusters.len(), members(&clusters[0])), (1, vec![A.to_owned(), B.to_owned()]));
    assert_eq!(site.run(B, &UPDATE).await, (Exit::Done, UPDATED.to_owned()), "once joined there is nothing to tell");

    // The priority makes B the primary, and the former one knows.
    assert_eq!(site.ha(B, &in_group(250)).await, (Exit::Done, String::new()));
    let taken = site.clusters().await.remove(0);
    assert_eq!((taken.primary_serial_number.as_str(), taken.epoch), (B, founded.epoch + 1));
    assert_eq!(site.run(A, &UPDATE).await, (Exit::Done, UPDATED.to_owned()));

    // Out of the group again: said once, and then no more.
    assert_eq!(site.ha(A, "set mode standalone").await, (Exit::Done, String::new()));
    assert_eq!(members(&site.clusters().await[0]), [B]);
    assert_eq!(site.run(A, &UPDATE).await, (Exit::Done, UPDATED.to_owned()));
}
