//! Who is online: the state of every device that has, or had, a channel. Pure: the time is passed in.
//!
//! A device is **online** while it has a channel and is heard of, **leaving** when its channel has ended without a goodbye, and **offline**
//! when it said goodbye, or has not come back within the grace period. What an old channel still says is told by its generation, and counts
//! for nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use muster_proto::{SerialNumber, Timestamp};
use tokio::time::Instant;

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// After how long a channel on which nothing is heard is ended.
    pub(super) silence: Duration,
    /// How long a device whose channel has ended may take to come back.
    pub(super) grace: Duration,
    /// How many devices that are offline are remembered.
    pub(super) remembered: usize,
}

/// Now, by both clocks: one that only moves on, and that of the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    pub(super) at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Online,
    Leaving,
    Offline,
}

/// A device and its latest channel, `L`.
#[derive(Debug)]
pub(super) struct Entry<L> {
    pub(super) generation: u64,
    /// `None` once it has ended.
    pub(super) channel: Option<L>,
    /// Whoever it was opened by, in the words of [`super::Origin`].
    pub(super) origin: super::Origin,
    /// Since when it is online, or offline.
    pub(super) since: Timestamp,
    /// When it was last heard of.
    pub(super) heard_at: Timestamp,
    /// How far its clock is ahead, in microseconds.
    pub(super) skew: Option<i64>,
    state: State,
    /// When the state changes if nothing happens before.
    deadline: Option<Instant>,
    /// Under which time it stands in `due`: never later than the deadline.
    armed: Option<Instant>,
}

impl<L> Entry<L> {
    /// Whether it is online; one that may still come back is.
    pub(super) fn is_online(&self) -> bool {
        self.state != State::Offline
    }
}

/// What opening a channel led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened<L> {
    pub(super) generation: u64,
    /// The channel that it supersedes.
    pub(super) superseded: Option<L>,
    /// Whether the device was offline before.
    pub(super) came_online: bool,
}

/// What happened because nothing else did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expired<L> {
    /// A channel on which nothing is heard: to be ended.
    Silent(L),
    /// A device that did not come back.
    Offline(SerialNumber, u64),
}

/// All of them.
#[derive(Debug)]
pub(super) struct Table<L> {
    patience: Patience,
    entries: BTreeMap<SerialNumber, Entry<L>>,
    due: BTreeSet<(Instant, SerialNumber)>,
    online: usize,
    /// Those that went offline, the earliest first; some may be online again.
    gone: VecDeque<(SerialNumber, u64)>,
    /// The largest generation among those that were forgotten: who returns begins above it.
    floor: u64,
}

impl<L: Clone> Table<L> {
    pub(super) fn new(patience: Patience) -> Self {
        let (entries, due, gone) = (BTreeMap::new(), BTreeSet::new(), VecDeque::new());
        Self { patience, entries, due, online: 0, gone, floor: 0 }
    }

    /// A device opens a channel, whose handle `channel` makes from its generation.
    pub(super) fn open(
        &mut self,
        serial: SerialNumber,
        origin: super::Origin,
        now: Moment,
        channel: impl FnOnce(u64) -> L,
    ) -> Opened<L> {
        let deadline = now.instant + self.patience.silence;
        let before = self.entries.get_mut(&serial);
        let generation = before.as_ref().map_or(self.floor, |entry| entry.generation) + 1;
        let channel = channel(generation);
        let (superseded, came_online, armed) = match before {
            None => {
                let entry = Entry {
                    generation,
                    channel: Some(channel),
                    origin,
                    since: now.at,
                    heard_at: now.at,
                    skew: None,
                    state: State::Online,
                    deadline: Some(deadline),
                    armed: None,
                };
                self.entries.insert(serial, entry);
                (None, true, None)
            }
            Some(entry) => {
                let came_online = !entry.is_online();
                if came_online {
                    entry.since = now.at;
                }
                entry.generation = generation;
                entry.origin = origin;
                entry.heard_at = now.at;
                entry.state = State::Online;
                entry.deadline = Some(deadline);
                (entry.channel.replace(channel), came_online, entry.armed)
            }
        };
        self.online += usize::from(came_online);
        if armed.is_none() {
            self.arm(serial, deadline);
        }
        Opened { generation, superseded, came_online }
    }

    /// A device was heard of on its channel. False if the channel is no longer its latest, or was ended.
    pub(super) fn heard(&mut self, serial: SerialNumber, generation: u64, skew: Option<i64>, now: Moment) -> bool {
        let deadline = now.instant + self.patience.silence;
        match self.entries.get_mut(&serial) {
            Some(entry) if entry.generation == generation && entry.state == State::Online => {
                entry.heard_at = now.at;
                entry.skew = skew.or(entry.skew);
                // The timer stays where it is, and looks again when it calls.
                entry.deadline = Some(deadline);
                true
            }
            _ => false,
        }
    }

    /// A channel has ended. True if the device is offline because of that: it said goodbye, and has no newer channel.
    pub(super) fn close(&mut self, serial: SerialNumber, generation: u64, goodbye: bool, now: Moment) -> bool {
        let Some(entry) = self.entries.get_mut(&serial) else { return false };
        if entry.generation != generation {
            return false;
        }
        entry.channel = None;
        match entry.state {
            State::Online | State::Leaving if goodbye => {
                self.go_offline(serial, now);
                true
            }
            State::Online => {
                entry.state = State::Leaving;
                let deadline = now.instant + self.patience.grace;
                entry.deadline = Some(deadline);
                self.arm(serial, deadline);
                false
            }
            State::Offline | State::Leaving => false,
        }
    }

    /// What is due by now.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Expired<L>> {
        let mut expired = Vec::new();
        while let Some((instant, serial)) = self.due.first().copied().filter(|(instant, _)| *instant <= now.instant) {
            self.due.remove(&(instant, serial));
            let Some(entry) = self.entries.get_mut(&serial) else { continue };
            entry.armed = None;
            match (entry.deadline, entry.state) {
                (None, _) | (_, State::Offline) => {}
                (Some(deadline), _) if deadline > now.instant => self.arm(serial, deadline),
                (Some(_), State::Online) => {
                    expired.extend(entry.channel.clone().map(Expired::Silent));
                    entry.state = State::Leaving;
                    let deadline = now.instant + self.patience.grace;
                    entry.deadline = Some(deadline);
                    self.arm(serial, deadline);
                }
                (Some(_), State::Leaving) => {
                    let generation = entry.generation;
                    self.go_offline(serial, now);
                    expired.push(Expired::Offline(serial, generation));
                }
            }
        }
        expired
    }

    /// When something is due next; perhaps nothing will have to be done then.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(instant, _)| *instant)
    }

    pub(super) fn get(&self, serial: SerialNumber) -> Option<&Entry<L>> {
        self.entries.get(&serial)
    }

    /// All of them, by serial number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SerialNumber, &Entry<L>)> {
        self.entries.iter().map(|(serial, entry)| (*serial, entry))
    }

    /// How many devices are online.
    pub(super) fn online(&self) -> usize {
        self.online
    }

    fn go_offline(&mut self, serial: SerialNumber, now: Moment) {
        let Some(entry) = self.entries.get_mut(&serial) else { return };
        if let Some(armed) = entry.armed.take() {
            self.due.remove(&(armed, serial));
        }
        entry.state = State::Offline;
        entry.since = now.at;
        entry.deadline = None;
        self.online -= 1;
        self.gone.push_back((serial, entry.generation));
        while self.gone.len() > self.patience.remembered {
            let Some((serial, generation)) = self.gone.pop_front() else { break };
            let is_gone = |entry: &Entry<L>| entry.generation == generation && !entry.is_online();
            if self.entries.get(&serial).is_some_and(is_gone) {
                self.entries.remove(&serial);
                self.floor = self.floor.max(generation);
            }
        }
    }

    fn arm(&mut self, serial: SerialNumber, at: Instant) {
        let Some(entry) = self.entries.get_mut(&serial) else { return };
        if let Some(armed) = entry.armed.replace(at) {
            self.due.remove(&(armed, serial));
        }
        self.due.insert((at, serial));
    }
}
