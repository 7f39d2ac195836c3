//! The ring under a model checker: every interleaving of recorders and viewers, up to a bound on preemptions.
//!
//! The checker needs its own lock inside the ring, so `ring.rs` is compiled here a second time, with that one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use muster_proto::Timestamp;

mod sync {
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

#[expect(
    clippy::duplicate_mod,
    dead_code,
    reason = "the ring with the lock of the checker; the models need less than the feed"
)]
#[path = "ring.rs"]
mod ring;

use ring::{Held, Ring, Seat};

/// An item of one byte: its key and a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    key: u8,
    mark: u8,
}

impl Held for Item {
    type Key = u8;

    fn bytes(&self) -> usize {
        1
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn key(&self) -> Option<u8> {
        Some(self.key)
    }
}

/// What a viewer has seen of the ring.
#[derive(Debug, Default)]
struct Seen {
    position: u64,
    items: Vec<Item>,
    lost: u64,
    passed: u64,
    /// How much of the lost was lost behind a position at which the viewer had waited.
    lost_waiting: u64,
    waited: bool,
}

impl Seen {
    /// Reads and waits as a viewer does, until `enough`, or until the ring is closing and read to its end.
    async fn read_until(&mut self, ring: &Ring<Item>, seat: &Seat<u8>, enough: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            loop {
                if enough(self) {
                    return Poll::Ready(());
                }
                let mut batch = VecDeque::new();
                let read = ring.read(seat, self.position, 1, &mut batch);
                self.passed += read.after - self.position;
                self.lost += read.first - read.after;
                self.lost_waiting += if self.waited { read.first - read.after } else { 0 };
                self.position = read.first + batch.len() as u64;
                if batch.is_empty() && read.closing.is_some() {
                    return Poll::Ready(());
                }
                let anything = read.first > read.after || !batch.is_empty();
                self.items.extend(batch);
                self.waited = !anything && ring.wait(seat, self.position, cx.waker());
                if self.waited {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    fn dealt_with(&self) -> u64 {
        self.items.len() as u64 + self.lost + self.passed
    }
}

/// Runs a model in every order of its steps that takes a thread off the processor so many times at most.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn view(ring: &Arc<Ring<Item>>, key: Option<u8>, enough: fn(&Seen) -> bool) -> thread::JoinHandle<Seen> {
    let ring = Arc::clone(ring);
    // The seat is taken before the recorders start: from here on, nothing may be missed.
    let seat = ring.join(key);
    thread::spawn(move || {
        let mut seen = Seen::default();
        loom::future::block_on(seen.read_until(&ring, &seat, enough));
        ring.leave(&seat);
        assert_eq!(seen.dealt_with(), seen.position);
        seen
    })
}

#[test]
fn a_viewer_that_waits_is_woken_and_can_account_for_every_item() {
    check(5, || {
        // Room for one item only: each of the others is lost unless it is read in time.
        let ring = Arc::new(Ring::new(1));
        let viewer = view(&ring, None, |seen| seen.position == 3);
        ring.record([Item { key: 0, mark: 0 }]);
        ring.record([Item { key: 0, mark: 1 }, Item { key: 0, mark: 2 }]);
        let seen = viewer.join().unwrap();
        assert_eq!(seen.passed, 0);
        assert!(seen.items.is_sorted_by_key(|item| item.mark));
        assert_eq!(seen.items.last().map(|item| item.mark), Some(2));
    });
}

#[test]
fn two_recorders_and_two_viewers_agree_on_one_order() {
    check(2, || {
        let ring = Arc::new(Ring::new(2));
        let viewers = [(); 2].map(|()| view(&ring, None, |seen| seen.position == 2));
        let recorder = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.record([Item { key: 0, mark: 1 }]))
        };
        ring.record([Item { key: 0, mark: 2 }]);
        recorder.join().unwrap();
        let [one, other] = viewers.map(|viewer| viewer.join().unwrap());
        assert_eq!((one.items.len(), one.lost), (2, 0));
        assert_eq!(one.items, other.items);
    });
}

#[test]
fn a_viewer_of_one_key_is_woken_by_it_and_passed_over_by_others() {
    check(5, || {
        let ring = Arc::new(Ring::new(8));
        let viewer = view(&ring, Some(1), |seen| seen.items.iter().any(|item| item.key == 1));
        let recorder = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.record([Item { key: 0, mark: 1 }]))
        };
        ring.record([Item { key: 0, mark: 2 }]);
        ring.record([Item { key: 1, mark: 3 }]);
        recorder.join().unwrap();
        let seen = viewer.join().unwrap();
        assert_eq!(seen.lost, 0);
    });
}

#[test]
fn a_viewer_of_one_key_loses_nothing_to_others_while_it_waits() {
    check(5, || {
        // What is dropped while it waits was none of its own, so it can only lose what came before it began to wait.
        let ring = Arc::new(Ring::new(1));
        let viewer = view(&ring, Some(1), |seen| seen.items.iter().any(|item| item.key == 1));
        ring.record([Item { key: 0, mark: 1 }]);
        ring.record([Item { key: 0, mark: 2 }]);
        ring.record([Item { key: 1, mark: 3 }]);
        let seen = viewer.join().unwrap();
        assert_eq!((seen.position, seen.lost_waiting), (3, 0));
    });
}

#[test]
fn closing_ends_every_viewer_behind_the_same_item() {
    check(2, || {
        let ring = Arc::new(Ring::new(8));
        let viewers = [None, Some(1)].map(|key| view(&ring, key, |_| false));
        let recorder = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.record([Item { key: 0, mark: 1 }]))
        };
        ring.close(Duration::ZERO);
        recorder.join().unwrap();
        let [one, other] = viewers.map(|viewer| viewer.join().unwrap());
        assert_eq!(one.position, other.position);
        assert_eq!(ring.extent().viewers, 0);
    });
}
