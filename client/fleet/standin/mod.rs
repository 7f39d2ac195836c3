//! One box of a fleet: a task that keeps a connection, does what it is asked, and comes back when the connection is lost.
//!
//! `ask` has what it can be asked, `attempt` how a call is made and tried again, `users` what of that is about users, `line` its connection.

mod ask;
mod attempt;
mod line;
mod users;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::{Reason, VdomName, v1};
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub use ask::{Ask, Ticket};
use line::{happening, over};

use super::invariants::Acknowledged;
use super::metrics::Kind;
use super::shared::{Home, Shared, lock};
use crate::backoff::Backoff;
use crate::channel::{Channel, Happening};
use crate::connect::{Connection, Dialer, Over};
use crate::device::Device;
use crate::failure::CallError;

/// How long one try of a call may take.
const CALL: Duration = Duration::from_secs(30);

/// A box.
pub struct StandIn {
    /// Which box of the run it is.
    pub index: u32,
    /// What it knows of itself.
    pub device: Device,
    /// How it reaches the server.
    pub dialer: Dialer,
    /// From which address.
    pub source: Option<IpAddr>,
    /// Chance, for its waits.
    pub rng: StdRng,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// The numbers of its users, by VDOM.
    pub users: BTreeMap<VdomName, Vec<u32>>,
    /// How many users it has had.
    pub next_user: u32,
    /// The VDOM whose users a call is about.
    pub about: VdomName,
    /// What it says of its HA pair with the next report.
    pub ha: Option<v1::HaReport>,
    /// How it stands in its pair, as last answered.
    pub standing: Option<v1::ClusterStanding>,
    /// Its connection, while it has one.
    pub line: Option<(Connection, Over)>,
    /// Its channel, while it has one.
    pub channel: Option<Channel>,
    /// Whether it is to have a channel. Not with a server that knows none, and not any more if the server ended it for good.
    pub keeps_channel: bool,
    /// Tells one start of the box from another.
    pub boot_id: String,
    /// When to sync at the earliest, if nobody asks.
    pub pacing: Option<Instant>,
    /// How long the server asked to wait before the next connection.
    pub reconnect_after: Option<Duration>,
    /// Since when it has none, if it was lost.
    pub lost: Option<Instant>,
    /// Since when it is in sync on one connection.
    pub healthy: Option<Instant>,
    /// What the server acknowledged last.
    pub acknowledged: Option<Acknowledged>,
    /// The number in the name of the next VDOM.
    pub next_vdom: u32,
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn").field("serial", &self.device.serial).finish_non_exhaustive()
    }
}

impl StandIn {
    /// Lives until nobody can ask it anything any more.
    pub async fn live(mut self: Box<Self>, mut asks: mpsc::UnboundedReceiver<Box<Ask>>) {
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    // On the heap, and only while it lasts: what waits is small.
                    Some(ask) => Box::pin(self.serve(*ask)).await,
                    None => return self.leave("shutdown").await,
                },
                happening = happening(&mut self.channel) => Box::pin(self.heed(happening)).await,
                () = over(&mut self.line) => Box::pin(self.come_back()).await,
            }
        }
    }

    async fn serve(&mut self, ask: Ask) {
        match ask {
            Ask::Connect(ticket) => {
                self.operate(Kind::Register, ticket.due).await;
                self.sync_all_users().await;
            }
            Ask::SyncMeanwhile(ticket) => self.sync_meanwhile(ticket.due).await,
            Ask::Sync(ticket) => self.operate(Kind::Sync, ticket.due).await,
            Ask::AddVdoms(count, ticket) => {
                for _ in 0..count {
                    self.add_vdom();
                }
                self.operate(Kind::Change, ticket.due).await;
            }
            Ask::RemoveVdoms(count, ticket) => {
                for _ in 0..count {
                    self.remove_vdom();
                }
                self.operate(Kind::Change, ticket.due).await;
            }
            Ask::SyncUsers(_ticket) => self.sync_all_users().await,
            Ask::AddUsers(count, ticket) => {
                for number in 0..count {
                    let due = if number == 0 { ticket.due } else { Instant::now() };
                    if let Some(vdom) = self.grow() {
                        self.about = vdom;
                        self.operate(Kind::AddUser, due).await;
                    }
                }
            }
            Ask::Reconnect(ticket) => {
                self.leave("reboot").await;
                self.operate(Kind::Reconnect, ticket.due).await;
            }
            Ask::Ha(report, kind, ticket, standing) => {
                self.ha = Some(report);
                self.operate(kind, ticket.due).await;
                self.ha = None;
                // Whoever asked has gone if nobody hears it.
                if let Some(found) = self.standing.take() {
                    let _ = standing.send(found);
                }
            }
            Ask::Intrude(ticket) => self.intrude(ticket.due).await,
            Ask::Mark(marked) => {
                if self.persist(Kind::Sync).await.is_ok()
                    && let Some(acknowledged) = &self.acknowledged
                {
                    let _ = marked.send(acknowledged.operation.clone());
                }
            }
            Ask::Recall(recalled) => {
                if let Some(acknowledged) = self.acknowledged.clone() {
                    let _ = recalled.send(acknowledged);
                }
            }
        }
    }

    /// Syncs during a restart of the server. What a box makes that the restart has not reached, or not any more, tells how it fares
    /// beside the others.
    async fn sync_meanwhile(&mut self, due: Instant) {
        let healthy = self.healthy.filter(|since| *since <= due);
        match self.persist(Kind::Sync).await {
            Ok(()) => {
                let kind = if healthy.is_some() && self.healthy == healthy { Kind::Healthy } else { Kind::Sync };
                self.shared.metrics.due(kind, due);
                self.shared.metrics.done(kind, due, &self.device.serial);
                if kind == Kind::Healthy {
                    self.shared.in_storm(|storm| {
                        storm.healthy += 1;
                        storm.stall = storm.stall.max(due.elapsed());
                    });
                }
            }
            Err(error) => {
                self.shared.metrics.due(Kind::Sync, due);
                self.give_up(Kind::Sync, &error);
            }
        }
    }

    /// Nothing is tried again any more.
    fn give_up(&self, kind: Kind, error: &CallError) {
        self.shared.metrics.failed(kind, &self.device.serial, &error.to_string());
        self.shared.in_storm(|storm| {
            storm.unretried += 1;
            if self.lost.is_some() {
                let _ = storm.homes.send(Home::Lost(self.index));
            }
        });
    }

    /// A clone wants in. To be held is what it is there for.
    async fn intrude(&mut self, due: Instant) {
        let metrics = &self.shared.metrics;
        metrics.due(Kind::Clone, due);
        match self.persist(Kind::Clone).await {
            Ok(()) => {
                lock(&self.shared.contested).insert(self.device.serial);
                self.shared.metrics.note("the server let two boxes in under one serial number");
                self.shared.metrics.done(Kind::Clone, due, &self.device.serial);
            }
            Err(CallError::Refused(refusal)) if refusal.reason == Reason::CloneSuspected.as_str() => {
                self.shared.metrics.done(Kind::Clone, due, &self.device.serial);
            }
            Err(error) => self.shared.metrics.failed(Kind::Clone, &self.device.serial, &error.to_string()),
        }
    }

    async fn heed(&mut self, happening: Happening) {
        match happening {
            Happening::SyncNow(_) => self.operate(Kind::Asked, Instant::now()).await,
            // It was told; what it had been promised before holds no more.
            Happening::Removed(_) => self.acknowledged = None,
            Happening::Pacing(wait) => self.pacing = Instant::now().checked_add(wait),
            Happening::Heartbeat(_) | Happening::Debug(_) => {}
            Happening::Over(Some(goodbye), error) if goodbye.reconnect_after.is_none() => {
                self.shared.metrics.note(format!("a channel was ended for good: {error}"));
                (self.channel, self.keeps_channel) = (None, false);
                self.shared.in_storm(|storm| storm.unretried += 1);
            }
            Happening::Over(goodbye, _) => {
                self.reconnect_after =
                    goodbye.and_then(|goodbye| goodbye.reconnect_after).and_then(|wait| wait.try_into().ok());
                self.come_back().await;
            }
        }
    }

    /// A box may have fewer VDOMs than a scenario would like: then it stays as it is.
    fn add_vdom(&mut self) {
        self.next_vdom += 1;
        if let Ok(name) = format!("v{}", self.next_vdom).parse() {
            let _ = self.device.add_vdom(name);
        }
    }

    fn remove_vdom(&mut self) {
        if let Some(last) = self.device.vdoms().last().copied()
            && self.device.delete_vdom(last).is_ok()
        {
            self.users.remove(&last);
        }
    }

    /// Does one operation that is due, for as long as it takes.
    async fn operate(&mut self, kind: Kind, due: Instant) {
        let metrics = &self.shared.metrics;
        metrics.due(kind, due);
        match self.persist(kind).await {
            Ok(()) => self.shared.metrics.done(kind, due, &self.device.serial),
            Err(error) => self.give_up(kind, &error),
        }
        if let Some(channel) = &mut self.channel {
            channel.say("ftc", 8, "", &format!("{} ended after {:?}", kind.name(), due.elapsed()));
        }
    }

    async fn come_back(&mut self) {
        self.lose();
        // Thousands lost their connections in the same moment: they do not come back in the same moment.
        sleep(Backoff::default().next(self.reconnect_after.take(), &mut self.rng)).await;
        if let Err(error) = self.persist(Kind::Return).await {
            self.give_up(Kind::Return, &error);
        }
    }
}
