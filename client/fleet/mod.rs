//! `fortigate fleet`: thousands of boxes from one process, each with a certificate and a connection of its own.
//!
//! # Layout, in reading order
//!
//! - [`args`]: the command line. [`scenario`]: what a fleet does, as data; [`schedule`]: when.
//! - [`serials`]: which boxes there are, and which of them are this process's; [`limits`]: whether the machine lets so many be.
//! - `making`: makes the boxes. [`standin`]: one box; [`shared`]: what all of them share. [`viewer`]: one viewer of the debug feed. [`admin`]: what the register holds.
//! - [`run`]: the steps. [`metrics`]: what is measured meanwhile. [`invariants`]: what must hold at the end.
//! - [`report`]: what came of it; [`summary`] and [`html`] show it.

pub mod admin;
pub mod args;
pub mod html;
pub mod invariants;
pub mod limits;
mod making;
pub mod metrics;
mod plot;
pub mod report;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod serials;
pub mod shared;
pub mod standin;
pub mod summary;
pub mod viewer;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::server_url::ServerUrl;
use crate::tls::Trust;
use args::{Fleet, FleetCommand};
use report::{Checked, Report};
use run::{Mailbox, Runner};
use scenario::{Scenario, Step};
use serials::MAX_BOXES;
use shared::Shared;

/// How long the boxes may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where the server is, and how it is reached.
#[derive(Clone, Debug)]
pub struct Way {
    /// The server.
    pub server: ServerUrl,
    /// Its CA, if it is not that of the data directory.
    pub ca: Option<PathBuf>,
    /// How long name, TCP and TLS may take together.
    pub connect_timeout: Duration,
}

/// Runs a fleet, or shows reports. False if something that must hold did not.
pub async fn fleet(fleet: &Fleet, way: &Way, now: OffsetDateTime, out: &mut impl Write) -> anyhow::Result<bool> {
    let (report, html, json) = match &fleet.command {
        Some(FleetCommand::Report { files, html, json }) => (merged(files)?, html, json),
        None => (drive(fleet, way, now, out).await?, &fleet.html, &fleet.json),
    };
    if let Some(path) = json {
        write(path, &serde_json::to_string(&report).context("the report cannot be written as JSON")?)?;
    }
    if let Some(path) = html {
        write(path, &html::page(&report)?)?;
    }
    write!(out, "{}", summary::text(&report)?)?;
    Ok(report.is_good())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

fn merged(files: &[PathBuf]) -> anyhow::Result<Report> {
    let mut merged: Option<Report> = None;
    for path in files {
        let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        let report = Report::from_json(&text).with_context(|| path.display().to_string())?;
        merged = Some(match merged {
            Some(before) => before.merge(&report).with_context(|| path.display().to_string())?,
            None => report,
        });
    }
    merged.context("there is no report to show")
}

async fn drive(fleet: &Fleet, way: &Way, now: OffsetDateTime, out: &mut impl Write) -> anyhow::Result<Report> {
    let scenario = Scenario::named(&fleet.scenario)?;
    anyhow::ensure!((1..=MAX_BOXES).contains(&fleet.devices), "--devices must be from 1 to {MAX_BOXES}");
    anyhow::ensure!(fleet.rate.is_none_or(|rate| rate > 0.0 && rate.is_finite()), "--rate must be more than 0");
    let range = fleet.part.range(fleet.devices);
    let count = range.end - range.start;
    let extra: u32 = scenario.steps.iter().map(connections).sum();
    let sources = limits::prepare(count.saturating_add(extra), way.server.host())?;

    let memory_before = run::resident();
    let trust = Trust::new(&making::read(way.ca.as_ref().unwrap_or(&fleet.muster_data.join("ca.pem")))?)?;
    let factory = making::factory(fleet, now)?;
    let identities = making::identities(fleet, (&factory, &trust), range.clone(), now).await?;
    let admin = making::admin(fleet, way, &trust)?;
    let shared = Arc::new(Shared::new(fleet.patience));
    let mut boxes = Vec::new();
    for ((index, (serial, tls)), source) in range.zip(identities).zip(sources.into_iter().cycle()) {
        boxes.push(making::make(fleet, way, &shared, (index, serial), tls, source)?);
    }

    let share = f64::from(count) / f64::from(fleet.devices);
    let mut runner = Runner {
        shared: Arc::clone(&shared),
        boxes,
        admin,
        prefix: fleet.run.prefix(),
        rate: fleet.rate.unwrap_or_else(|| (f64::from(fleet.devices) / 10.0).max(10.0)) * share,
        share,
        duration: fleet.duration,
        restart_command: fleet.restart_command.clone(),
        seed: fleet.seed,
        memory_before,
        out,
        report: begin(fleet, way, &scenario, count, now),
        ids: invariants::Ids::default(),
        viewers: Vec::new(),
        pairs: Vec::new(),
        copies: Box::new(|index, serial| {
            let tls = making::identity(&factory, &trust, &serial, 1, now)?;
            making::make(fleet, way, &shared, (index, serial), tls, None)
        }),
        clones: Vec::new(),
    };
    let ran = runner.run(&scenario).await;
    let mut report = runner.report;
    let mut lives = Vec::new();
    for Mailbox { asks, task, .. } in runner.boxes {
        // A box that can be asked nothing more says goodbye.
        drop(asks);
        lives.push(task);
    }
    report.seconds = shared.metrics.began().elapsed().as_secs_f64();
    report.measured(&shared.metrics.snapshot());
    let goodbyes = async {
        for life in lives {
            let _ = life.await;
        }
    };
    // Whoever cannot say it in this time is gone without it.
    let _ = timeout(FAREWELL, goodbyes).await;
    if let Err(error) = ran {
        // What was measured until then is worth telling.
        report.broken_count += 1;
        report.broken.push(format!("the run stopped: {error:#}"));
    }
    Ok(report)
}

/// How many connections besides those of its boxes a step needs.
fn connections(step: &Step) -> u32 {
    match *step {
        Step::Watch { viewers, slow } => viewers.saturating_add(slow),
        Step::Clone { boxes } => boxes,
        _ => 0,
    }
}

fn begin(fleet: &Fleet, way: &Way, scenario: &Scenario, boxes: u32, now: OffsetDateTime) -> Report {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds fit for thousands of years")]
    let began = (now.unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0;
    Report {
        version: report::VERSION,
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        server: way.server.to_string(),
        run: fleet.run.to_string(),
        parts: vec![fleet.part.to_string()],
        boxes: boxes.into(),
        vdoms: fleet.vdoms,
        users: fleet.users,
        seed: fleet.seed,
        began,
        seconds: 0.0,
        rows: std::collections::BTreeMap::new(),
        timeline: Vec::new(),
        steps: Vec::new(),
        memory: None,
        storms: Vec::new(),
        checked: Checked::default(),
        broken: Vec::new(),
        broken_count: 0,
        notes: Vec::new(),
    }
}
