//! The comparison of the register and the feed with what was acknowledged.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::Runner;
use super::pairs::Couple;
use crate::backoff::Backoff;
use crate::fleet::invariants::{Acknowledged, Broken, Pair, as_founded, check_ids, check_register, check_viewer};
use crate::fleet::standin::Ask;
use crate::fleet::viewer::Viewer;

/// How often a viewer is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// How many broken things are listed.
impl<W: Write> Runner<'_, W> {
    /// What was acknowledged of every box.
    async fn recall(&self) -> Vec<Acknowledged> {
        let mut recalls = Vec::new();
        for mailbox in &self.boxes {
            let (recalled, recall) = oneshot::channel();
            if mailbox.ask(Ask::Recall(recalled)).is_ok() {
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

    pub(super) async fn check(&mut self) -> anyhow::Result<String> {
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
        checked.users += acknowledged
            .iter()
            .flat_map(|acknowledged| acknowledged.users.values())
            .map(|users| users.len() as u64)
            .sum::<u64>();
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
            mailbox.ask(Ask::Mark(marked)).ok()?;
            if let Ok(operation) = mark.await {
                return Some(operation);
            }
        }
        None
    }
}
