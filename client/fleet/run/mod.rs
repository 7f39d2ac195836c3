//! Runs a scenario: makes the boxes, asks them what each step wants when it is due, and compares at the end.
//!
//! `storm` has the restart of the server, `pairs` the failovers, `check` the comparison.

mod check;
mod pairs;
mod storm;

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use muster_proto::SerialNumber;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

pub use pairs::Couple;

use super::admin::Admin;
use super::invariants::Ids;
use super::report::{Memory, Report, StepTime};
use super::scenario::{Scenario, Step};
use super::schedule::Schedule;
use super::shared::Shared;
use super::standin::{Ask, Ticket};
use super::viewer::Viewer;

/// How many broken things are listed.
const LISTED: usize = 100;

/// A box, from the outside.
#[derive(Debug)]
pub struct Mailbox {
    /// Its serial number.
    pub serial: SerialNumber,
    /// Its index in the run.
    pub index: u32,
    /// Where it is asked.
    pub asks: UnboundedSender<Box<Ask>>,
    /// Its life, which ends when it can be asked nothing more.
    pub task: JoinHandle<()>,
}

impl Mailbox {
    /// Asks the box.
    pub fn ask(&self, ask: Ask) -> anyhow::Result<()> {
        // On the heap, because a queue reserves room for dozens.
        self.asks.send(Box::new(ask)).ok().with_context(|| format!("{} is gone", self.serial))
    }
}

/// A run that is under way.
pub struct Runner<'a, W> {
    /// What the boxes share.
    pub shared: Arc<Shared>,
    /// The boxes of this share.
    pub boxes: Vec<Mailbox>,
    /// The admin.
    pub admin: Admin,
    /// How all serial numbers of the run begin.
    pub prefix: String,
    /// Operations a second, where a step does not say; for this share.
    pub rate: f64,
    /// This share in the whole, for the rates that steps say.
    pub share: f64,
    /// How long boxes report, where a step does not say.
    pub duration: Duration,
    /// Restarts the server.
    pub restart_command: Option<String>,
    /// The seed of chance.
    pub seed: u64,
    /// What the process had in memory before there were boxes.
    pub memory_before: u64,
    /// Where the steps are told.
    pub out: &'a mut W,
    /// The report that is written.
    pub report: Report,
    /// The ids seen so far.
    pub ids: Ids,
    /// The viewers that are there.
    pub viewers: Vec<Viewer>,
    /// The HA pairs.
    pub pairs: Vec<Couple>,
    /// Makes a clone of a box.
    pub copies: Box<dyn Fn(u32, SerialNumber) -> anyhow::Result<Mailbox> + Send + Sync + 'a>,
    /// The clones that are there.
    pub clones: Vec<Mailbox>,
}
/// How much memory the process has, in bytes.
#[must_use]
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        * 1024
}

impl<W> fmt::Debug for Runner<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("prefix", &self.prefix).field("boxes", &self.boxes.len()).finish_non_exhaustive()
    }
}

impl<W: Write> Runner<'_, W> {
    /// Runs every step.
    pub async fn run(&mut self, scenario: &Scenario) -> anyhow::Result<()> {
        for step in &scenario.steps {
            let began = Instant::now();
            let told = self.step(step).await.with_context(|| format!("step \"{step}\""))?;
            let since = |at: Instant| at.saturating_duration_since(self.shared.metrics.began()).as_secs_f64();
            self.report.steps.push(StepTime {
                step: step.to_string(),
                began: since(began),
                ended: since(Instant::now()),
            });
            let time = Duration::from_millis(u64::try_from(began.elapsed().as_millis())?);
            writeln!(self.out, "{step}: {told} in {}", humantime::format_duration(time))?;
            self.out.flush()?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<String> {
        let all = u32::try_from(self.boxes.len())?;
        Ok(match *step {
            Step::Connect { rate } => {
                let told = self.each(step, rate, Ask::Connect).await?;
                if self.report.memory.is_none() {
                    let bytes = resident().saturating_sub(self.memory_before);
                    self.report.memory = Some(Memory { boxes: all.into(), bytes });
                }
                told
            }
            Step::Sync { rate, time } => {
                let schedule = Schedule::lasting(self.rate_of(rate), time.unwrap_or(self.duration));
                self.spread(step, schedule, Ask::Sync).await?
            }
            Step::AddVdoms { count, rate } => self.each(step, rate, |ticket| Ask::AddVdoms(count, ticket)).await?,
            Step::RemoveVdoms { count, rate } => {
                self.each(step, rate, |ticket| Ask::RemoveVdoms(count, ticket)).await?
            }
            Step::SyncUsers { rate } => self.each(step, rate, Ask::SyncUsers).await?,
            Step::AddUsers { count, rate } => self.each(step, rate, |ticket| Ask::AddUsers(count, ticket)).await?,
            Step::Reconnect { rate } => self.each(step, rate, Ask::Reconnect).await?,
            Step::Restart {} => self.restart().await?,
            Step::Watch { viewers, slow } => self.watch(viewers, slow).await?,
            Step::Check {} => self.check().await?,
            Step::Failover { rate } => self.failover(step, self.rate_of(rate)).await?,
            Step::Clone { boxes } => self.clone_boxes(step, boxes).await?,
        })
    }

    fn rate_of(&self, rate: Option<f64>) -> f64 {
        rate.map_or(self.rate, |rate| rate * self.share)
    }

    /// Asks every box once.
    async fn each(&self, step: &Step, rate: Option<f64>, ask: impl Fn(Ticket) -> Ask) -> anyhow::Result<String> {
        let schedule = Schedule::new(self.rate_of(rate), u32::try_from(self.boxes.len())?);
        self.spread(step, schedule, ask).await
    }

    /// Asks box after box, each when it is due, and waits for the last. The order is drawn anew for each round over all boxes.
    async fn spread(&self, step: &Step, schedule: Schedule, ask: impl Fn(Ticket) -> Ask) -> anyhow::Result<String> {
        let progress = progress(step, schedule.count());
        let mut order: Vec<_> = (0..self.boxes.len()).collect();
        let mut rng = StdRng::seed_from_u64(self.seed);
        let (pending, mut ended) = mpsc::channel(1);
        let began = Instant::now();
        for index in 0..schedule.count() {
            let place = usize::try_from(index)? % order.len().max(1);
            if place == 0 {
                order.shuffle(&mut rng);
            }
            let due = began + schedule.due(index);
            sleep_until(due).await;
            let ticket = Ticket { due, progress: progress.clone(), pending: pending.clone() };
            if let Some(mailbox) = order.get(place).and_then(|index| self.boxes.get(*index)) {
                mailbox.ask(ask(ticket))?;
            }
        }
        drop(pending);
        ended.recv().await;
        progress.finish_and_clear();
        Ok(format!("{} operations", schedule.count()))
    }
    /// Lets a second box come under the serial number of each of the first ones.
    async fn clone_boxes(&mut self, step: &Step, boxes: u32) -> anyhow::Result<String> {
        let progress = progress(step, boxes);
        let (pending, mut ended) = mpsc::channel(1);
        let cloned: Vec<_> = self.boxes.iter().take(usize::try_from(boxes)?).map(|it| (it.index, it.serial)).collect();
        let count = cloned.len();
        for (index, serial) in cloned {
            let copy = (self.copies)(index, serial)?;
            let ticket = Ticket { due: Instant::now(), progress: progress.clone(), pending: pending.clone() };
            copy.ask(Ask::Intrude(ticket))?;
            self.clones.push(copy);
        }
        drop(pending);
        ended.recv().await;
        progress.finish_and_clear();
        Ok(format!("{count} clones"))
    }

    async fn watch(&mut self, viewers: u32, slow: u32) -> anyhow::Result<String> {
        for number in 0..viewers + slow {
            let seed = self.seed.wrapping_add(number.into());
            let opening = Viewer::open(self.admin.clone(), &self.prefix, number >= viewers, seed);
            let viewer = timeout(self.shared.patience, opening).await.ok().flatten();
            self.viewers.push(viewer.context("the debug feed did not open")?);
        }
        self.shared.is_watched.store(true, Ordering::Release);
        Ok(format!("{} opened", viewers + slow))
    }

    fn broken(&mut self, text: String) {
        self.report.broken_count += 1;
        if self.report.broken.len() < LISTED {
            self.report.broken.push(text);
        }
    }
}

/// A bar on a terminal; nothing anywhere else.
fn progress(step: &Step, count: u32) -> ProgressBar {
    let progress = ProgressBar::new(count.into());
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {per_sec} {eta}") {
        progress.set_style(style);
    }
    progress.set_message(step.to_string());
    progress
}
