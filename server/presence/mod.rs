//! The channels of devices: who is online, and what is to be said to whom.
//!
//! # Layout, in reading order
//!
//! - `table`: who is online; pure.
//! - [`Line`]: one channel, and what waits to be said on it. The stream of the channel holds a [`Seat`]; dropping it is the end of the channel.
//! - `say`: what admins and the server itself have to say; `view`: what admins see.
//! - `notes`: what is left in the debug feed.
//!
//! One lock guards it all, and is never held while something waits. A channel costs a row of the table and a line, and no task of its own:
//! one task, [`Presence::watch`], looks after the time for all of them.

mod line;
mod notes;
mod say;
mod table;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use muster_proto::channel::{DebugWish, Features};
use muster_proto::{Reason, SerialNumber, Text, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use line::{End, Line, Saying};
pub use view::signed;

use crate::clock::Clock;
use crate::feed::Feed;
use crate::identity::relay::Relay;
use crate::operation::OperationId;
use crate::registry::Refusal;
use crate::writer::Operation;
use table::{Expired, Moment, Patience, Table};

/// How channels are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelSettings {
    /// How often a device says that it is alive; a proxy may cut what is quiet for a minute.
    pub heartbeat: Duration,
    /// How long a device whose channel broke may take to come back before it is offline.
    pub grace: Duration,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(20), grace: Duration::from_secs(30) }
    }
}

/// How many devices that are offline are remembered.
const REMEMBERED: usize = 100_000;
/// How many devices that are out of step may sync in one second when a fleet returns.
const SYNCS_A_SECOND: u32 = 1_000;
/// A clock that is off by more than this, in microseconds, is worth a warning.
const SKEW: u64 = 5_000_000;

/// Where a channel comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address at the other end of its connection.
    pub address: SocketAddr,
    /// The relay that speaks for the device, if one does.
    pub relay: Option<Arc<Relay>>,
    /// Which start of the device it belongs to.
    pub boot_id: Text,
}

/// A channel that is being opened.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The device.
    pub serial: SerialNumber,
    /// Where it comes from.
    pub origin: Origin,
    /// What the device can do.
    pub features: Features,
    /// The clock of the device.
    pub device_time: Option<Timestamp>,
    /// The operation that the channel is.
    pub operation: &'a Operation,
}

/// Who is online. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Presence(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: ChannelSettings,
    clock: Arc<dyn Clock>,
    feed: Feed,
    inner: Mutex<Inner>,
    /// Something may be due earlier than before.
    earlier: Notify,
}

#[derive(Debug)]
struct Inner {
    table: Table<Weak<Line>>,
    /// Which debug lines devices are asked for; looked at when a channel opens, too.
    wishes: BTreeMap<SerialNumber, Wish>,
    /// When the next device that is out of step may sync.
    next_slot: Instant,
    /// Whether the server shuts down.
    closing: bool,
}

#[derive(Clone, Debug)]
struct Wish {
    operation: OperationId,
    asked: DebugWish,
    until: Timestamp,
}

/// The place of one open channel; dropping it ends the channel.
#[derive(Debug)]
pub struct Seat {
    presence: Presence,
    line: Arc<Line>,
    /// Whether the clock of the device was said to be off.
    skewed: bool,
    closed: bool,
}

impl Presence {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(settings: ChannelSettings, clock: Arc<dyn Clock>, feed: Feed) -> Self {
        let silence = settings.heartbeat.saturating_mul(5) / 2;
        let patience = Patience { silence, grace: settings.grace, remembered: REMEMBERED };
        let (table, wishes) = (Table::new(patience), BTreeMap::new());
        let inner = Mutex::new(Inner { table, wishes, next_slot: Instant::now(), closing: false });
        Self(Arc::new(Shared { settings, clock, feed, inner, earlier: Notify::new() }))
    }

    /// How often devices are to say that they are alive.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.0.settings.heartbeat
    }

    /// Refuses channels while the server shuts down.
    pub fn is_open(&self) -> Result<(), Refusal> {
        if self.lock().closing { Err(closing()) } else { Ok(()) }
    }

    /// Opens a channel. A former one of the same device is told that it is superseded.
    pub fn open(&self, opening: Opening<'_>) -> Result<Seat, Refusal> {
        let Opening { serial, origin, features, device_time, operation } = opening;
        let now = self.now();
        let address = origin.address;
        let mut line = None;
        let opened = {
            let mut inner = self.lock();
            if inner.closing {
                return Err(closing());
            }
            let opened = inner.table.open(serial, origin, now, |generation| {
                let new = Arc::new(Line::new(serial, generation, features));
                let handle = Arc::downgrade(&new);
                line = Some(new);
                handle
            });
            if let Some((line, wish)) = line.as_ref().zip(inner.wishes.get(&serial)) {
                say::debug(line, wish, now.at);
            }
            opened
        };
        self.0.earlier.notify_one();
        // The table always asks for the handle of a new channel.
        let Some(line) = line else { return Err(Refusal::new(Reason::Internal, "a channel without a line")) };
        if let Some(former) = opened.superseded.and_then(|former| former.upgrade()) {
            let message =
                format!("channel {} of {serial}, from {address}, took the place of this one", opened.generation);
            former.end(End { refusal: Refusal::new(Reason::ChannelSuperseded, message), reconnect_after: None });
        }
        self.0.feed.record(notes::opened(operation, serial, opened.generation, opened.came_online, now.at));
        let mut seat = Seat { presence: self.clone(), line, skewed: false, closed: false };
        seat.heard(device_time, operation);
        Ok(seat)
    }

    /// Until when a device that has just opened its channel is to wait before it syncs, if it has to.
    #[must_use]
    pub fn next_slot(&self) -> Duration {
        let now = Instant::now();
        let mut inner = self.lock();
        let slot = inner.next_slot.max(now);
        inner.next_slot = slot + Duration::from_secs(1) / SYNCS_A_SECOND;
        slot - now
    }

    /// Ends every channel, and spreads the return of the devices over a time that fits their number. No channel opens any more.
    pub fn shut_down(&self) {
        let lines: Vec<Arc<Line>> = {
            let mut inner = self.lock();
            inner.closing = true;
            inner.table.iter().filter_map(|(_, entry)| entry.channel.as_ref()?.upgrade()).collect()
        };
        let window = say::reconnect_window(lines.len());
        for line in lines {
            let reconnect_after = Some(say::reconnect_after(window));
            line.end(End { refusal: closing(), reconnect_after });
        }
    }

    /// Looks after the time: ends channels on which nothing is heard, and notes who did not come back. Never ends by itself.
    pub async fn watch(self) {
        loop {
            let next = self.lock().table.next_due();
            match next {
                None => self.0.earlier.notified().await,
                Some(at) => tokio::select! {
                    () = self.0.earlier.notified() => continue,
                    () = tokio::time::sleep_until(at) => {}
                },
            }
            self.expire();
        }
    }

    fn expire(&self) {
        let now = self.now();
        let expired = self.lock().table.expire(now);
        for expired in expired {
            match expired {
                Expired::Silent(line) => {
                    let Some(line) = line.upgrade() else { continue };
                    let message =
                        format!("nothing was heard of {} for two and a half heartbeat intervals", line.serial);
                    let refusal = Refusal::new(Reason::ChannelSilent, message);
                    line.end(End { refusal, reconnect_after: Some(Duration::ZERO) });
                }
                Expired::Offline(serial, generation) => {
                    let message = format!("offline: not back within {:?}", self.0.settings.grace);
                    self.0.feed.record(notes::offline(serial, generation, &message, now.at));
                }
            }
        }
    }

    fn now(&self) -> Moment {
        Moment { instant: Instant::now(), at: self.0.clock.now() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closing() -> Refusal {
    Refusal::new(Reason::ShuttingDown, "the server is shutting down")
}

impl Seat {
    /// The channel.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Notes that the device was heard of; tells how far its clock is ahead, in microseconds, if that is known. Part of the operation that the
    /// channel is.
    pub fn heard(&mut self, device_time: Option<Timestamp>, operation: &Operation) -> Option<i64> {
        let now = self.presence.now();
        let Line { serial, generation, .. } = *self.line;
        let skew = device_time.map(|time| time.micros().saturating_sub(now.at.micros()));
        self.presence.lock().table.heard(serial, generation, skew, now);
        if let Some(skew) = skew
            && (skew.unsigned_abs() > SKEW) != self.skewed
        {
            self.skewed = !self.skewed;
            self.presence.0.feed.record(notes::skew(operation, serial, skew, self.skewed, now.at));
        }
        skew
    }

    /// The device goes and means to: it is offline from now on, unless it has a newer channel.
    pub fn goodbye(mut self, why: &str) {
        self.close(Some(why));
    }

    fn close(&mut self, goodbye: Option<&str>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let now = self.presence.now();
        let Line { serial, generation, .. } = *self.line;
        let went = self.presence.lock().table.close(serial, generation, goodbye.is_some(), now);
        self.presence.0.earlier.notify_one();
        if went {
            let why = goodbye.filter(|why| !why.is_empty()).map(|why| format!(" ({why})")).unwrap_or_default();
            let message = format!("offline: it said goodbye{why}");
            self.presence.0.feed.record(notes::offline(serial, generation, &message, now.at));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.close(None);
    }
}
