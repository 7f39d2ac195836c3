//! Runs a scenario: makes the boxes, asks them what each step wants when it is due, and compares at the end.

use std::collections::HashSet;
use std::fmt;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use muster_proto::SerialNumber;
use muster_proto::v1::{HaReport, HaRole};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use tokio::process::Command;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::admin::Admin;
use super::invariants::{Acknowledged, Broken, Ids, Pair, as_founded, check_ids, check_register, check_viewer};
use super::metrics::Kind;
use super::report::{Memory, Report, StepTime, StormReport};
use super::scenario::{Scenario, Step};
use super::schedule::Schedule;
use super::shared::Shared;
use super::standin::{Ask, Ticket};
use super::viewer::Viewer;
use crate::backoff::Backoff;

/// How often a viewer is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(20);
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
    pub asks: UnboundedSender<Ask>,
    /// Its life, which ends when it can be asked nothing more.
    pub task: JoinHandle<()>,
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

/// Two boxes that are an HA pair, by their places among the boxes.
#[derive(Clone, Copy, Debug)]
pub struct Couple {
    /// The place of the box that founded it; the other one is the next.
    first: usize,
    /// Whether the other one is the primary now.
    is_swapped: bool,
    /// The epoch; 0 before the pair is made.
    epoch: i64,
}

type Member = (SerialNumber, UnboundedSender<Ask>);

impl Couple {
    /// The secondary takes over, and the former primary follows.
    async fn fail_over(
        mut self,
        members: (Member, Member),
        due: Instant,
        progress: ProgressBar,
    ) -> anyhow::Result<Self> {
        let (first, second) = &members;
        let report = async |member: &Member, role: HaRole, epoch: Option<i64>, kind: Kind| {
            let members = vec![first.0.to_string(), second.0.to_string()];
            let ha = HaReport { group_name: String::new(), role: role.into(), epoch, member_serial_numbers: members };
            let due = if kind == Kind::Failover { due } else { Instant::now() };
            // Nobody waits for the ticket: the standing is what is waited for.
            let ticket = Ticket { due, progress: progress.clone(), pending: mpsc::channel(1).0 };
            let (stands, standing) = oneshot::channel();
            member.1.send(Ask::Ha(ha, kind, ticket, stands)).ok().context("a box is gone")?;
            standing.await.with_context(|| format!("{} was not told how it stands in its pair", member.0))
        };
        if self.epoch == 0 {
            self.epoch = report(first, HaRole::Primary, None, Kind::Change).await?.epoch;
            report(second, HaRole::Secondary, None, Kind::Change).await?;
        }
        let (primary, secondary) = if self.is_swapped { (second, first) } else { (first, second) };
        let standing = report(secondary, HaRole::Primary, Some(self.epoch + 1), Kind::Failover).await?;
        anyhow::ensure!(
            standing.role() == HaRole::Primary,
            "{} did not become primary: {}",
            secondary.0,
            standing.reason
        );
        report(primary, HaRole::Secondary, Some(standing.epoch), Kind::Change).await?;
        Ok(Self { is_swapped: !self.is_swapped, epoch: standing.epoch, ..self })
    }
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
                mailbox.asks.send(ask(ticket)).ok().context("a box is gone")?;
            }
        }
        drop(pending);
        ended.recv().await;
        progress.finish_and_clear();
        Ok(format!("{} operations", schedule.count()))
    }

    /// Lets the server restart, and waits until every box that had a connection is back in sync.
    async fn restart(&mut self) -> anyhow::Result<String> {
        let expected = self.shared.metrics.connected();
        let mut returns = self.shared.storm_begins();
        if let Some(command) = &self.restart_command {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let ended = shell.status().await.context("could not run the restart command")?;
            anyhow::ensure!(ended.success(), "the restart command failed: {ended}");
        } else {
            writeln!(self.out, "Restart the server now; the fleet waits for that.")?;
            self.out.flush()?;
        }
        let progress = progress(&Step::Restart {}, expected);
        let (mut returned, mut last) = (HashSet::new(), Instant::now());
        // Nobody has to hurry before the first box is lost; then patience counts from one return to the next.
        while returned.len() < usize::try_from(expected)? {
            let patience = if returned.is_empty() && self.restart_command.is_none() {
                Duration::from_hours(1)
            } else {
                self.shared.patience + Duration::from_secs(5)
            };
            match timeout(patience, returns.recv()).await {
                Ok(Some(index)) if returned.insert(index) => {
                    last = Instant::now();
                    progress.inc(1);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        progress.finish_and_clear();
        let ended = self.shared.storm_ends();
        let outage = ended
            .context("the server did not go, or did not come back: no box lost its connection and found another")?;
        let came_back = u64::try_from(returned.len())?;
        let storm = StormReport {
            lost: expected.into(),
            returned: came_back,
            outage: outage.found.saturating_duration_since(outage.lost).as_secs_f64(),
            recovery: last.saturating_duration_since(outage.found).as_secs_f64(),
        };
        if came_back < u64::from(expected) {
            self.broken(format!("{} boxes did not come back after the restart", u64::from(expected) - came_back));
        }
        let told = format!(
            "{came_back} of {expected} boxes came back {:.2} s after the server did, which was away for {:.2} s, all of it",
            storm.recovery, storm.outage
        );
        self.report.storms.push(storm);
        Ok(told)
    }

    /// Lets the other box of each pair take over; the first time the pairs are made.
    async fn failover(&mut self, step: &Step, rate: f64) -> anyhow::Result<String> {
        if self.pairs.is_empty() {
            self.pairs =
                (0..self.boxes.len() / 2).map(|pair| Couple { first: pair * 2, is_swapped: false, epoch: 0 }).collect();
        }
        let schedule = Schedule::new(rate, u32::try_from(self.pairs.len())?);
        let progress = progress(step, schedule.count() * 2);
        let (began, mut turns) = (Instant::now(), JoinSet::new());
        for (index, couple) in (0..).zip(std::mem::take(&mut self.pairs)) {
            let due = began + schedule.due(index);
            sleep_until(due).await;
            let member = |index: usize| self.boxes.get(index).map(|mailbox| (mailbox.serial, mailbox.asks.clone()));
            let members = member(couple.first).zip(member(couple.first + 1)).context("a pair lacks a box")?;
            turns.spawn(couple.fail_over(members, due, progress.clone()));
        }
        let count = turns.len();
        while let Some(turn) = turns.join_next().await {
            self.pairs.push(turn.context("a failover stopped")??);
        }
        progress.finish_and_clear();
        Ok(format!("{count} pairs"))
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
            copy.asks.send(Ask::Intrude(ticket)).ok().context("a clone is gone")?;
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

    /// What was acknowledged of every box.
    async fn recall(&self) -> Vec<Acknowledged> {
        let mut recalls = Vec::new();
        for mailbox in &self.boxes {
            let (recalled, recall) = oneshot::channel();
            if mailbox.asks.send(Ask::Recall(recalled)).is_ok() {
                recalls.push(recall);
            }
        }
        let mut acknowledged = Vec::new();
        for recall in recalls {
            // A box of which nothing was acknowledged has nothing to tell.
            acknowledged.extend(recall.await.ok());
        }
        acknowledged
    }

    async fn check(&mut self) -> anyhow::Result<String> {
        // Those that the waiting itself makes are not looked for: a viewer may be done before the last of them.
        let operations = self.shared.operations();
        self.settle_viewers().await?;
        let mut acknowledged = self.recall().await;
        let contested = self.shared.contested();
        for acknowledged in &mut acknowledged {
            acknowledged.in_doubt |= contested.contains(&acknowledged.serial);
        }
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut backoff = Backoff::default();
        let end = Instant::now() + self.shared.patience;
        let mut register = loop {
            match self.admin.register(&self.prefix).await {
                Ok(register) => break register,
                Err(error) if error.is_passing() && Instant::now() < end => {
                    sleep(backoff.next(error.retry_after(), &mut rng)).await;
                }
                Err(error) => return Err(error).context("could not list what the register holds"),
            }
        };
        let serial = |index: usize| self.boxes.get(index).map(|mailbox| mailbox.serial);
        let pair = |couple: &Couple| {
            let (founder, other) = serial(couple.first).zip(serial(couple.first + 1))?;
            Some(Pair { founder, other })
        };
        let pairs: Vec<_> = self.pairs.iter().filter_map(pair).collect();
        as_founded(&pairs, &mut acknowledged, &mut register, &mut self.ids);
        let mut broken = check_register(&acknowledged, &register);
        broken.extend(check_ids(&register, &mut self.ids));
        let checked = &mut self.report.checked;
        checked.devices += u64::try_from(acknowledged.len())?;
        checked.vdoms += acknowledged.iter().map(|acknowledged| acknowledged.vdoms.len() as u64).sum::<u64>();
        checked.users += acknowledged.iter().map(|acknowledged| acknowledged.users.len() as u64).sum::<u64>();
        (checked.events, checked.gaps, checked.missed) = (0, 0, 0);
        for (number, viewer) in self.viewers.iter().enumerate() {
            let seen = viewer.seen();
            broken.extend(check_viewer(number, &seen, &operations));
            checked.operations = u64::try_from(operations.len())?;
            checked.viewers = u64::try_from(self.viewers.len())?;
            checked.events += seen.events;
            checked.gaps += seen.gaps;
            checked.missed += seen.missed;
        }
        let told = format!(
            "{} devices and {} VDOMs compared, {} operations looked for by {} viewers, {} broken",
            acknowledged.len(),
            self.report.checked.vdoms,
            operations.len(),
            self.viewers.len(),
            broken.len()
        );
        for broken in &broken {
            self.broken(Broken::to_string(broken));
        }
        Ok(told)
    }

    /// Waits until every viewer has read up to now: until it sees the end of an operation that began after everything else.
    async fn settle_viewers(&mut self) -> anyhow::Result<()> {
        for viewer in &self.viewers {
            viewer.wake();
        }
        let end = Instant::now() + self.shared.patience;
        for number in 0..self.viewers.len() {
            loop {
                let Some(mark) = self.mark().await else { return Ok(()) };
                // The end of a mark may itself be in a gap: then there is another mark.
                let next = Instant::now() + Duration::from_secs(2);
                let has_seen = |viewer: &Viewer| viewer.has_seen(&mark);
                while !self.viewers.get(number).is_none_or(has_seen) && Instant::now() < next {
                    sleep(LOOK).await;
                }
                if self.viewers.get(number).is_none_or(has_seen) {
                    break;
                }
                if Instant::now() > end {
                    self.broken(format!("viewer {number} never saw the end of operation {mark}"));
                    break;
                }
            }
        }
        Ok(())
    }

    /// The id of an operation that a box made just now.
    async fn mark(&self) -> Option<String> {
        for mailbox in &self.boxes {
            let (marked, mark) = oneshot::channel();
            mailbox.asks.send(Ask::Mark(marked)).ok()?;
            if let Ok(operation) = mark.await {
                return Some(operation);
            }
        }
        None
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
