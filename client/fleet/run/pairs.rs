//! HA pairs: the other box takes over.

use std::io::Write;

use anyhow::Context as _;
use indicatif::ProgressBar;
use muster_proto::SerialNumber;
use muster_proto::v1::{HaReport, HaRole};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Runner, progress};
use crate::fleet::metrics::Kind;
use crate::fleet::scenario::Step;
use crate::fleet::schedule::Schedule;
use crate::fleet::standin::{Ask, Ticket};

/// Two boxes that are an HA pair, by their places among the boxes.
#[derive(Clone, Copy, Debug)]
pub struct Couple {
    /// The place of the box that founded it; the other one is the next.
    pub(super) first: usize,
    /// Whether the other one is the primary now.
    is_swapped: bool,
    /// The epoch; 0 before the pair is made.
    epoch: i64,
}

type Member = (SerialNumber, UnboundedSender<Box<Ask>>);

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
            member.1.send(Box::new(Ask::Ha(ha, kind, ticket, stands))).ok().context("a box is gone")?;
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
impl<W: Write> Runner<'_, W> {
    /// Lets the other box of each pair take over; the first time the pairs are made.
    pub(super) async fn failover(&mut self, step: &Step, rate: f64) -> anyhow::Result<String> {
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
}
