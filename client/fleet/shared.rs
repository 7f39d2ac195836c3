//! What the boxes of a fleet share: what is measured, and what a restart of the server looked like to them.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_proto::SerialNumber;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::metrics::{Metrics, Operation};

/// What the boxes of a fleet share.
#[derive(Debug)]
pub struct Shared {
    /// What is measured.
    pub metrics: Metrics,
    /// How long an operation may take with all its retries.
    pub patience: Duration,
    /// Whether viewers of the debug feed are there: then operations are written down.
    pub is_watched: AtomicBool,
    pub(super) operations: Mutex<Vec<Operation>>,
    storm: Mutex<Option<Storm>>,
    pub(super) contested: Mutex<HashSet<SerialNumber>>,
}

/// A restart of the server that is under way.
#[derive(Debug)]
pub struct Storm {
    /// Where it is told what became of each box.
    pub(super) homes: mpsc::UnboundedSender<Home>,
    /// When the first box lost its connection.
    pub first_loss: Option<Instant>,
    /// When the server answered again: somebody had a connection.
    pub first_return: Option<Instant>,
    /// How many syncs healthy boxes made meanwhile.
    pub healthy: u64,
    /// The longest of them, from when it was due.
    pub stall: Duration,
    /// How many errors were met that were not retried.
    pub unretried: u64,
}

/// What became of a box that had lost its connection.
#[derive(Clone, Copy, Debug)]
pub enum Home {
    /// It is in sync again.
    Back(u32),
    /// It has given up.
    Lost(u32),
}

/// What a mutex guards.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is held can be left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// For a fleet whose operations may take this long.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self {
            metrics: Metrics::new(Instant::now()),
            patience,
            is_watched: AtomicBool::new(false),
            operations: Mutex::default(),
            storm: Mutex::default(),
            contested: Mutex::default(),
        }
    }

    /// The operations that were acknowledged since viewers are there.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        lock(&self.operations).clone()
    }

    /// The serial numbers under which two boxes were let in.
    #[must_use]
    pub fn contested(&self) -> HashSet<SerialNumber> {
        lock(&self.contested).clone()
    }

    /// The server is about to restart: the boxes that come back are told one by one.
    pub fn storm_begins(&self) -> mpsc::UnboundedReceiver<Home> {
        let (homes, told) = mpsc::unbounded_channel();
        let (first_loss, first_return, healthy, stall, unretried) = (None, None, 0, Duration::ZERO, 0);
        *lock(&self.storm) = Some(Storm { homes, first_loss, first_return, healthy, stall, unretried });
        told
    }

    /// The restart is over.
    pub fn storm_ends(&self) -> Option<Storm> {
        lock(&self.storm).take()
    }

    pub(super) fn in_storm(&self, act: impl FnOnce(&mut Storm)) {
        if let Some(storm) = &mut *lock(&self.storm) {
            act(storm);
        }
    }
}
