//! What is measured while a fleet runs; every box writes into it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use muster_proto::SerialNumber;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The longest time that a histogram tells apart: an hour, in microseconds.
const LONGEST: u64 = 3_600_000_000;
/// How many digits of a time are kept.
const DIGITS: u8 = 3;
/// How many kinds of failures are told.
const FAILURES: usize = 10;

/// What a time was taken for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// TCP, TLS and HTTP/2, from the first packet on: the time of the handshake alone, without waits.
    Handshake,
    /// A box came up: from when it was due until it was registered.
    Register,
    /// A box opened its channel: from the call to the welcome.
    Channel,
    /// A box reported what it has, and nothing had changed.
    Sync,
    /// The same during a restart of the server, of a box that was in sync when it was due and did not lose its connection.
    Healthy,
    /// A box reported VDOMs that were added or removed.
    Change,
    /// A box reported because the server asked it to.
    Asked,
    /// A box synced the users of one auth client.
    Users,
    /// A box added one user to an auth client.
    AddUser,
    /// A box came back on purpose: from when it was due until it was in sync again.
    Reconnect,
    /// A box lost its connection: from the loss until it was in sync again.
    Return,
    /// A box took over as the primary of its pair.
    Failover,
    /// A second box came under the serial number of another, and was held, or not.
    Clone,
}

impl Kind {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Register => "register",
            Self::Channel => "channel",
            Self::Sync => "sync",
            Self::Healthy => "healthy sync",
            Self::Change => "change VDOMs",
            Self::Asked => "sync on request",
            Self::Users => "sync users",
            Self::AddUser => "add a user",
            Self::Reconnect => "reconnect",
            Self::Return => "back in sync",
            Self::Failover => "failover",
            Self::Clone => "clone",
        }
    }
}

/// What was measured of one kind.
#[derive(Clone, Debug)]
pub struct Row {
    /// How many were due.
    pub due: u64,
    /// How many ended well.
    pub done: u64,
    /// How many were given up.
    pub failed: u64,
    /// How often one was tried again, by why.
    pub retried: BTreeMap<String, u64>,
    /// The times, in microseconds.
    pub times: Histogram<u64>,
    /// When the first one was due and the last one ended, from the start of the run.
    pub span: (Duration, Duration),
    /// Which box waited longest.
    pub slowest: Option<(Duration, String)>,
}

/// One second of a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Second {
    /// How many operations ended well.
    pub done: u64,
    /// How many tries failed.
    pub failed: u64,
    /// The longest time among those that ended, in microseconds.
    pub longest_us: u64,
    /// How many boxes had a connection at the end of it.
    pub connected: u64,
}

/// An operation that was acknowledged, for the comparison with the debug feed.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// Whose it was.
    pub serial: SerialNumber,
    /// When its answer came.
    pub acknowledged: Instant,
}

/// What is measured.
#[derive(Debug)]
pub struct Metrics {
    began: Instant,
    state: Mutex<State>,
    connected: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Kind, Row>,
    seconds: Vec<Second>,
    notes: BTreeSet<String>,
    failures: BTreeSet<String>,
}

fn new_row() -> Option<Row> {
    // None only if the bounds were wrong.
    let times = Histogram::new_with_bounds(1, LONGEST, DIGITS).ok()?;
    Some(Row {
        due: 0,
        done: 0,
        failed: 0,
        retried: BTreeMap::new(),
        times,
        span: (Duration::MAX, Duration::ZERO),
        slowest: None,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST)
}

impl State {
    fn row(&mut self, kind: Kind, act: impl FnOnce(&mut Row)) {
        if let Some(mut row) = self.rows.remove(&kind).or_else(new_row) {
            act(&mut row);
            self.rows.insert(kind, row);
        }
    }

    fn second(&mut self, since: Duration, connected: u32) -> Option<&mut Second> {
        let index = usize::try_from(since.as_secs()).ok()?;
        if self.seconds.len() <= index {
            // A second in which nothing happened had the connections of the one before.
            let before = self.seconds.last().copied().unwrap_or_default();
            self.seconds.resize(index + 1, Second { connected: before.connected, ..Second::default() });
        }
        let second = self.seconds.get_mut(index)?;
        second.connected = connected.into();
        Some(second)
    }
}

impl Metrics {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        Self { began, state: Mutex::default(), connected: AtomicU32::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking task left in it is whole: each change is one number.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the run began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// An operation is due.
    pub fn due(&self, kind: Kind, at: Instant) {
        let since = at.saturating_duration_since(self.began);
        self.state().row(kind, |row| {
            row.due += 1;
            row.span.0 = row.span.0.min(since);
        });
    }

    /// An operation that was due then has ended well.
    pub fn done(&self, kind: Kind, due: Instant, serial: &SerialNumber) {
        let (now, connected) = (Instant::now(), self.connected());
        let (time, since) = (now.saturating_duration_since(due), now.saturating_duration_since(self.began));
        let mut state = self.state();
        state.row(kind, |row| {
            row.done += 1;
            row.span.1 = row.span.1.max(since);
            row.times.saturating_record(micros(time));
            if row.slowest.as_ref().is_none_or(|(slowest, _)| time > *slowest) {
                row.slowest = Some((time, serial.to_string()));
            }
        });
        if let Some(second) = state.second(since, connected) {
            second.done += 1;
            second.longest_us = second.longest_us.max(micros(time));
        }
    }

    /// A try failed, and is made again.
    pub fn retried(&self, kind: Kind, why: &str) {
        let (since, connected) = (self.began.elapsed(), self.connected());
        let mut state = self.state();
        state.row(kind, |row| *row.retried.entry(why.to_owned()).or_default() += 1);
        if let Some(second) = state.second(since, connected) {
            second.failed += 1;
        }
    }

    /// An operation is given up.
    pub fn failed(&self, kind: Kind, serial: &SerialNumber, why: &str) {
        let (since, connected) = (self.began.elapsed(), self.connected());
        let mut state = self.state();
        state.row(kind, |row| row.failed += 1);
        // One box stands for all of the same failure, and a few failures for all.
        let is_new = state.failures.insert(format!("{}: {why}", kind.name()));
        if is_new && state.failures.len() <= FAILURES {
            state.notes.insert(format!("{} of {serial} was given up: {why}", kind.name()));
        }
        if let Some(second) = state.second(since, connected) {
            second.failed += 1;
        }
    }

    /// Something that the reader of the report should know; said once.
    pub fn note(&self, text: impl Into<String>) {
        self.state().notes.insert(text.into());
    }

    /// A box has a connection now, or has lost it.
    pub fn connection(&self, is_up: bool) {
        let connected = if is_up {
            self.connected.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            self.connected.fetch_sub(1, Ordering::Relaxed).saturating_sub(1)
        };
        self.state().second(self.began.elapsed(), connected);
    }

    /// How many boxes have a connection.
    #[must_use]
    pub fn connected(&self) -> u32 {
        self.connected.load(Ordering::Relaxed)
    }

    /// What was measured so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let connected = self.connected();
        let mut state = self.state();
        state.second(self.began.elapsed(), connected);
        Snapshot {
            rows: state.rows.clone(),
            seconds: state.seconds.clone(),
            notes: state.notes.iter().cloned().collect(),
        }
    }
}

/// A copy of what was measured.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By kind.
    pub rows: BTreeMap<Kind, Row>,
    /// By second.
    pub seconds: Vec<Second>,
    /// What the reader should know.
    pub notes: Vec<String>,
}
