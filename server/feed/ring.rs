//! The ring: the latest items up to a bound in bytes, and the viewers that wait for more.
//!
//! One lock guards both, so a viewer that finds nothing and waits cannot miss what comes in between. `model.rs` compiles this file a
//! second time, with the lock of a model checker, and proves it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Duration;

use muster_proto::Timestamp;

use super::sync::{Mutex, MutexGuard};

/// What a ring holds; a clone shares it.
pub(super) trait Held: Clone {
    /// What a viewer may be waiting for alone.
    type Key: Copy + Ord;

    /// How many bytes it takes.
    fn bytes(&self) -> usize;
    /// When it happened.
    fn time(&self) -> Timestamp;
    /// Who is waiting for it, besides those who wait for everything.
    fn key(&self) -> Option<Self::Key>;
}

/// Items in the order in which they were recorded. An item's position is how many items came up to and including it.
pub(super) struct Ring<T: Held> {
    capacity: usize,
    state: Mutex<State<T>>,
}

struct State<T: Held> {
    held: VecDeque<Slot<T>>,
    bytes: usize,
    /// How many items were dropped: the position before the earliest that is held.
    dropped: u64,
    /// The latest time among the dropped.
    dropped_time: Option<Timestamp>,
    /// Viewers that wait for any item.
    waiting: BTreeMap<u64, Waker>,
    /// Viewers that wait for items of one key.
    keyed: BTreeMap<(T::Key, u64), Waker>,
    /// For viewers that waited for a key: the position up to which nothing had it.
    passed: BTreeMap<u64, u64>,
    viewers: u32,
    next_seat: u64,
    closing: Option<Closing>,
}

struct Slot<T> {
    item: T,
    /// The latest time up to this item: it never falls, as a clock may, so it can be searched.
    latest_time: Timestamp,
}

/// A viewer's place at the ring.
#[derive(Debug)]
pub(super) struct Seat<K> {
    id: u64,
    key: Option<K>,
}

/// The end of all reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    /// The position of the last item that viewers get.
    pub(super) position: u64,
    /// When to come back.
    pub(super) retry_after: Duration,
}

/// What a ring holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The position before the earliest item that is held; so many were dropped.
    pub(super) dropped: u64,
    /// The latest time among the dropped.
    pub(super) dropped_time: Option<Timestamp>,
    /// The position of the latest item; so many were recorded.
    pub(super) latest: u64,
    /// How many bytes the held items take.
    pub(super) bytes: usize,
    /// How many seats are taken.
    pub(super) viewers: u32,
}

/// What reading gave besides items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// The position behind which reading went on: where the viewer was, or further if all in between was without its key.
    pub(super) after: u64,
    /// The position before the first item given; what is between is lost to the viewer.
    pub(super) first: u64,
    /// Set once the ring is closing.
    pub(super) closing: Option<Closing>,
}

impl<T: Held> Ring<T> {
    /// An empty ring that holds up to so many bytes, and always the latest item.
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            held: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            dropped_time: None,
            waiting: BTreeMap::new(),
            keyed: BTreeMap::new(),
            passed: BTreeMap::new(),
            viewers: 0,
            next_seat: 0,
            closing: None,
        };
        Self { capacity, state: Mutex::new(state) }
    }

    /// How many bytes the ring may hold.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Adds items in their order, drops the earliest to make room, and wakes the viewers that waited for them.
    pub(super) fn record(&self, items: impl IntoIterator<Item = T>) {
        let mut dropped = Vec::new();
        let mut woken = Vec::new();
        {
            let mut state = self.lock();
            for item in items {
                state.push(item, &mut woken);
                while state.bytes > self.capacity && state.held.len() > 1 {
                    dropped.extend(state.drop_earliest());
                }
            }
        }
        // Outside of the lock: freeing takes time, and a waker may do anything.
        drop(dropped);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Takes a seat, for a viewer that waits for one key or for everything.
    pub(super) fn join(&self, key: Option<T::Key>) -> Seat<T::Key> {
        let mut state = self.lock();
        let id = state.next_seat;
        state.next_seat += 1;
        state.viewers += 1;
        Seat { id, key }
    }

    /// Gives a seat back.
    pub(super) fn leave(&self, seat: &Seat<T::Key>) {
        let mut state = self.lock();
        state.viewers -= 1;
        state.passed.remove(&seat.id);
        let waker = match seat.key {
            None => state.waiting.remove(&seat.id),
            Some(key) => state.keyed.remove(&(key, seat.id)),
        };
        drop(state);
        drop(waker);
    }

    /// Copies up to `limit` items behind the position `after`, or behind what the viewer was passed over.
    pub(super) fn read(&self, seat: &Seat<T::Key>, after: u64, limit: usize, into: &mut VecDeque<T>) -> Read {
        let mut state = self.lock();
        let after = state.passed_over(seat).map_or(after, |passed| passed.max(after));
        let first = after.max(state.dropped);
        let last = state.closing.map_or(state.latest(), |closing| closing.position.min(state.latest()));
        let count = size(last.saturating_sub(first)).min(limit);
        let slots = state.held.iter().skip(size(first - state.dropped)).take(count);
        into.extend(slots.map(|slot| slot.item.clone()));
        Read { after, first, closing: state.closing }
    }

    /// Copies the last `limit` held items up to the position `until`, and tells the position before the first of them.
    pub(super) fn read_back(&self, until: u64, limit: usize, into: &mut Vec<T>) -> u64 {
        let state = self.lock();
        let until = until.min(state.latest());
        let first = until.saturating_sub(limit as u64).max(state.dropped);
        let slots = state.held.iter().skip(size(first - state.dropped)).take(size(until.saturating_sub(first)));
        into.extend(slots.map(|slot| slot.item.clone()));
        first
    }

    /// Waits: the waker is called on the first item behind `after` that has the viewer's key, or on closing. False if there is
    /// something to read already.
    pub(super) fn wait(&self, seat: &Seat<T::Key>, after: u64, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = self.lock();
        if state.latest() > after || state.closing.is_some() {
            return false;
        }
        let replaced = match seat.key {
            None => state.waiting.insert(seat.id, waker),
            Some(key) => state.keyed.insert((key, seat.id), waker),
        };
        drop(state);
        drop(replaced);
        true
    }

    /// The position before the first item at or after this time.
    pub(super) fn position_at(&self, time: Timestamp) -> u64 {
        let state = self.lock();
        state.dropped + state.held.partition_point(|slot| slot.latest_time < time) as u64
    }

    /// What is held now.
    pub(super) fn extent(&self) -> Extent {
        let state = self.lock();
        Extent {
            dropped: state.dropped,
            dropped_time: state.dropped_time,
            latest: state.latest(),
            bytes: state.bytes,
            viewers: state.viewers,
        }
    }

    /// Ends all reading behind the latest item. The first call decides.
    pub(super) fn close(&self, retry_after: Duration) {
        let mut state = self.lock();
        let position = state.latest();
        state.closing.get_or_insert(Closing { position, retry_after });
        let waiting = mem::take(&mut state.waiting);
        let keyed = mem::take(&mut state.keyed);
        state.passed.extend(keyed.keys().map(|&(_, seat)| (seat, position)));
        drop(state);
        waiting.into_values().chain(keyed.into_values()).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here panics half-way, so what a panicking thread left is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Held> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("capacity", &self.capacity).field("extent", &self.extent()).finish_non_exhaustive()
    }
}

impl<T: Held> State<T> {
    fn latest(&self) -> u64 {
        self.dropped + self.held.len() as u64
    }

    fn push(&mut self, item: T, woken: &mut Vec<Waker>) {
        woken.extend(mem::take(&mut self.waiting).into_values());
        if !self.keyed.is_empty()
            && let Some(key) = item.key()
        {
            self.call(key, woken);
        }
        let before = self.held.back().map(|slot| slot.latest_time).or(self.dropped_time);
        let latest_time = before.map_or(item.time(), |before| before.max(item.time()));
        self.bytes += item.bytes();
        self.held.push_back(Slot { item, latest_time });
    }

    /// Takes the wakers of those who wait for this key, before the item that has it is added.
    fn call(&mut self, key: T::Key, woken: &mut Vec<Waker>) {
        let passed = self.latest();
        while let Some((&(found, seat), _)) = self.keyed.range((key, 0)..).next()
            && found == key
        {
            woken.extend(self.keyed.remove(&(key, seat)));
            self.passed.insert(seat, passed);
        }
    }

    fn drop_earliest(&mut self) -> Option<T> {
        let slot = self.held.pop_front()?;
        self.bytes -= slot.item.bytes();
        self.dropped += 1;
        self.dropped_time = Some(slot.latest_time);
        Some(slot.item)
    }

    /// The position up to which a viewer that waits, or waited, for a key was passed over.
    fn passed_over(&mut self, seat: &Seat<T::Key>) -> Option<u64> {
        let key = seat.key?;
        if self.keyed.contains_key(&(key, seat.id)) {
            // Nobody called it, so nothing up to now had its key.
            return Some(self.latest());
        }
        self.passed.remove(&seat.id)
    }
}

/// A distance between positions, as a number of items in memory.
fn size(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}
