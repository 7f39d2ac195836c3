//! The restart of the server under the whole fleet.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::process::Command;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Runner, progress};
use crate::fleet::report::StormReport;
use crate::fleet::scenario::Step;
use crate::fleet::schedule::Schedule;
use crate::fleet::shared::Home;
use crate::fleet::standin::{Ask, Ticket};

/// How often it is looked whether the server is back.
const LOOK: Duration = Duration::from_millis(20);
/// How many syncs are due meanwhile, at the most: as many as there are numbers, because nobody knows how long it takes.
const MEANWHILE: u32 = u32::MAX;

/// What became of the boxes.
struct Homecoming {
    back: HashSet<u32>,
    /// When the last of them was back.
    last: Instant,
}

impl<W: Write> Runner<'_, W> {
    /// Lets the server restart, and waits until every box that had a connection is back in sync; boxes report meanwhile.
    pub(super) async fn restart(&mut self) -> anyhow::Result<String> {
        let expected = self.shared.metrics.connected();
        let homes = self.shared.storm_begins();
        if self.restart_command.is_none() {
            writeln!(self.out, "Restart the server now; the fleet waits for that.")?;
            self.out.flush()?;
        }
        let (pending, mut ended) = mpsc::channel(1);
        let homecoming = tokio::select! {
            homecoming = self.homecoming(expected, homes) => homecoming?,
            never = self.meanwhile(pending) => match never? {},
            never = self.look() => match never {},
        };
        // What was due is waited for: it may have failed for good.
        ended.recv().await;
        let storm = self.shared.storm_ends().context("there are two restarts at once")?;
        let (lost, found) = storm
            .first_loss
            .zip(storm.first_return)
            .context("the server did not go, or did not come back: no box lost its connection and found another")?;
        let returned = u64::try_from(homecoming.back.len())?;
        if returned < u64::from(expected) {
            self.broken(format!("{} boxes did not come back after the restart", u64::from(expected) - returned));
        }
        if storm.unretried > 0 {
            self.broken(format!("{} errors during the restart were not retried", storm.unretried));
        }
        let storm = StormReport {
            lost: expected.into(),
            returned,
            outage: found.saturating_duration_since(lost).as_secs_f64(),
            recovery: homecoming.last.saturating_duration_since(found).as_secs_f64(),
            healthy: storm.healthy,
            stall: storm.stall.as_secs_f64(),
            unretried: storm.unretried,
        };
        let told = format!(
            "{returned} of {expected} boxes came back {:.2} s after the server did, which was away for {:.2} s, all of it",
            storm.recovery, storm.outage
        );
        self.report.storms.push(storm);
        Ok(told)
    }

    /// Restarts the server, if that is for the fleet to do, and waits for every box.
    async fn homecoming(&self, expected: u32, mut homes: UnboundedReceiver<Home>) -> anyhow::Result<Homecoming> {
        if let Some(command) = &self.restart_command {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let ended = shell.status().await.context("could not run the restart command")?;
            anyhow::ensure!(ended.success(), "the restart command failed: {ended}");
        }
        let progress = progress(&Step::Restart {}, expected);
        let (mut back, mut gone, mut last) = (HashSet::new(), HashSet::new(), Instant::now());
        // Nobody has to hurry before the first box is lost; then patience counts from one return to the next.
        while back.len() + gone.len() < usize::try_from(expected)? {
            let patience = if back.is_empty() && self.restart_command.is_none() {
                Duration::from_hours(1)
            } else {
                self.shared.patience + Duration::from_secs(5)
            };
            match timeout(patience, homes.recv()).await {
                Ok(Some(Home::Back(index))) => {
                    gone.remove(&index);
                    if back.insert(index) {
                        last = Instant::now();
                        progress.inc(1);
                    }
                }
                Ok(Some(Home::Lost(index))) if !back.contains(&index) => {
                    gone.insert(index);
                }
                Ok(Some(Home::Lost(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        progress.finish_and_clear();
        Ok(Homecoming { back, last })
    }

    /// Lets boxes report, at the rate of the run, for as long as it is polled.
    async fn meanwhile(&self, pending: mpsc::Sender<()>) -> anyhow::Result<Infallible> {
        let schedule = Schedule::new(self.rate, MEANWHILE);
        let mut rng = StdRng::seed_from_u64(self.seed);
        let began = Instant::now();
        for index in 0..schedule.count() {
            let due = began + schedule.due(index);
            sleep_until(due).await;
            let ticket = Ticket { due, progress: ProgressBar::hidden(), pending: pending.clone() };
            let mailbox = self.boxes.get(rng.random_range(0..self.boxes.len().max(1))).context("there are no boxes")?;
            mailbox.ask(Ask::SyncMeanwhile(ticket))?;
        }
        std::future::pending().await
    }

    /// Looks whether the server is back, once it is gone: boxes wait longer and longer, and few of them come at the very moment.
    async fn look(&self) -> Infallible {
        loop {
            sleep(LOOK).await;
            let (mut is_gone, mut is_back) = (false, false);
            self.shared.in_storm(|storm| {
                (is_gone, is_back) = (storm.first_loss.is_some(), storm.first_return.is_some());
            });
            if is_gone && !is_back && self.admin.connect().await.is_ok() {
                let now = Instant::now();
                self.shared.in_storm(|storm| {
                    storm.first_return.get_or_insert(now);
                });
            }
        }
    }
}
