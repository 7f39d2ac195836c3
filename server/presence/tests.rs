//! Who is online, under a clock that the tests turn.

use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll, Waker};

use muster_proto::v1;
use muster_proto::v1::channel_response::Kind;
use proptest::prelude::*;

use super::table::{Entry, Opened};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Patience = Patience { silence: Duration::from_secs(50), grace: Duration::from_secs(30), remembered: 3 };

fn serial(number: u8) -> SerialNumber {
    format!("FG101FTK000000{number:02}").parse().unwrap()
}

fn origin() -> Origin {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
    Origin { address, relay: None, boot_id: Text::default() }
}

/// A table, and a clock that moves when it is told to.
struct Bench {
    table: Table<u64>,
    now: Moment,
}

impl Bench {
    fn new() -> Self {
        Self { table: Table::new(PATIENCE), now: Moment { instant: Instant::now(), at: Timestamp::from_micros(0) } }
    }

    fn open(&mut self, number: u8) -> Opened<u64> {
        self.table.open(serial(number), origin(), self.now, |generation| generation)
    }

    fn close(&mut self, number: u8, generation: u64, goodbye: bool) -> bool {
        self.table.close(serial(number), generation, goodbye, self.now)
    }

    fn heard(&mut self, number: u8, generation: u64) -> bool {
        self.table.heard(serial(number), generation, None, self.now)
    }

    fn wait(&mut self, time: Duration) -> Vec<Expired<u64>> {
        self.now.instant += time;
        self.now.at = self.now.at.plus(time);
        self.table.expire(self.now)
    }

    fn is_online(&self, number: u8) -> bool {
        self.table.get(serial(number)).is_some_and(Entry::is_online)
    }
}

#[test]
fn a_device_whose_channel_broke_is_online_until_the_grace_period_is_over() {
    let mut bench = Bench::new();
    assert_eq!(bench.open(1), Opened { generation: 1, superseded: None, came_online: true });
    assert!(!bench.close(1, 1, false));
    assert!(bench.wait(29 * SECOND).is_empty() && bench.is_online(1));
    assert_eq!(bench.wait(SECOND), [Expired::Offline(serial(1), 1)]);
    assert!(!bench.is_online(1));
    assert_eq!(bench.table.get(serial(1)).unwrap().since, Timestamp::from_micros(30_000_000));
    assert_eq!(bench.open(1), Opened { generation: 2, superseded: None, came_online: true });
}

#[test]
fn a_device_that_comes_back_within_the_grace_period_was_online_all_the_time() {
    let mut bench = Bench::new();
    bench.open(1);
    bench.wait(10 * SECOND);
    bench.close(1, 1, false);
    bench.wait(20 * SECOND);
    assert_eq!(bench.open(1), Opened { generation: 2, superseded: None, came_online: false });
    assert_eq!(bench.table.get(serial(1)).unwrap().since, Timestamp::from_micros(0));
    assert!(bench.wait(49 * SECOND).is_empty());
}

#[test]
fn a_goodbye_counts_at_once_and_only_for_the_latest_channel() {
    let mut bench = Bench::new();
    bench.open(1);
    assert_eq!(bench.open(1).superseded, Some(1));
    assert!(!bench.close(1, 1, true));
    assert!(bench.is_online(1));
    assert!(bench.close(1, 2, true));
    assert!(!bench.is_online(1));
    assert!(!bench.close(1, 2, true), "it is offline already");
    assert!(bench.wait(1_000 * SECOND).is_empty());
}

#[test]
fn a_channel_on_which_nothing_is_heard_is_ended_and_then_its_device_is_offline() {
    let mut bench = Bench::new();
    bench.open(1);
    assert!(bench.wait(40 * SECOND).is_empty());
    assert!(bench.heard(1, 1));
    assert!(bench.wait(49 * SECOND).is_empty());
    assert_eq!(bench.wait(SECOND), [Expired::Silent(1)]);
    assert!(!bench.heard(1, 1), "it was ended, whatever still comes over it");
    bench.close(1, 1, false);
    assert!(bench.wait(29 * SECOND).is_empty());
    assert_eq!(bench.wait(SECOND), [Expired::Offline(serial(1), 1)]);
}

#[test]
fn devices_that_are_offline_are_forgotten_and_never_get_an_old_generation_again() {
    let mut bench = Bench::new();
    for _ in 0..5 {
        bench.open(1);
    }
    bench.close(1, 5, true);
    for number in 2..6 {
        bench.open(number);
        bench.close(number, bench.table.get(serial(number)).unwrap().generation, true);
    }
    assert_eq!(bench.table.iter().count(), 3);
    assert!(bench.table.get(serial(1)).is_none());
    assert!(bench.open(1).generation > 5);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(u8),
    /// Of a device, and how many channels back.
    Close(u8, u64, bool),
    Heard(u8, u64),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let device = || 0_u8..3;
    prop_oneof![
        device().prop_map(Step::Open),
        (device(), 0_u64..3, any::<bool>()).prop_map(|(device, back, goodbye)| Step::Close(device, back, goodbye)),
        (device(), 0_u64..2).prop_map(|(device, back)| Step::Heard(device, back)),
        (0_u8..60).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn what_old_channels_say_never_counts_and_nobody_is_forgotten_while_it_is_online(steps in prop::collection::vec(step(), 0..80)) {
        let mut bench = Bench::new();
        // What should be: the latest generation of each device, whether its channel is open, and when it was last heard of or left.
        let mut model: BTreeMap<u8, (u64, bool, Instant)> = BTreeMap::new();
        let mut online: BTreeMap<u8, bool> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Open(device) => {
                    let opened = bench.open(device);
                    let latest = model.get(&device).map_or(0, |(latest, ..)| *latest);
                    prop_assert!(opened.generation > latest);
                    prop_assert_eq!(opened.came_online, !online.insert(device, true).unwrap_or(false));
                    model.insert(device, (opened.generation, true, bench.now.instant));
                }
                Step::Close(device, back, goodbye) => {
                    let Some((latest, open, since)) = model.get_mut(&device) else { continue };
                    let was_online = bench.is_online(device);
                    let went = bench.close(device, latest.saturating_sub(back), goodbye);
                    if back > 0 && *latest > 0 {
                        prop_assert!(!went);
                        prop_assert_eq!(bench.is_online(device), was_online, "an old channel changed something");
                    } else if goodbye {
                        prop_assert_eq!(went, was_online);
                        (*open, _) = (false, online.insert(device, false));
                    } else if *open && was_online {
                        (*open, *since) = (false, bench.now.instant);
                    }
                }
                Step::Heard(device, back) => {
                    let Some((latest, open, since)) = model.get_mut(&device) else { continue };
                    let heard = bench.heard(device, latest.saturating_sub(back));
                    prop_assert!(!heard || (back == 0 && *open));
                    if heard {
                        *since = bench.now.instant;
                    }
                }
                Step::Wait(seconds) => {
                    for _ in 0..seconds {
                        for expired in bench.wait(SECOND) {
                            match expired {
                                Expired::Silent(generation) => {
                                    let silent = model.values_mut().find(|(latest, open, since)| {
                                        *latest == generation && *open && bench.now.instant - *since >= PATIENCE.silence
                                    });
                                    let (_, open, since) = silent.unwrap();
                                    (*open, *since) = (false, bench.now.instant);
                                }
                                Expired::Offline(gone, generation) => {
                                    let device = (0..3).find(|device| serial(*device) == gone).unwrap();
                                    let (latest, open, since) = model[&device];
                                    prop_assert_eq!((latest, open), (generation, false));
                                    prop_assert!(bench.now.instant - since >= PATIENCE.grace);
                                    online.insert(device, false);
                                }
                            }
                        }
                    }
                }
            }
            for (device, (_, open, since)) in &model {
                let patience = if *open { PATIENCE.silence + PATIENCE.grace } else { PATIENCE.grace };
                prop_assert!(bench.now.instant - *since < patience || !bench.is_online(*device), "it is long gone");
            }
            for device in 0..3 {
                prop_assert_eq!(bench.is_online(device), online.get(&device).copied().unwrap_or(false));
            }
            prop_assert_eq!(bench.table.online(), online.values().filter(|online| **online).count());
        }
    }
}

/// A clock that goes with the paused time of tokio.
#[derive(Debug)]
struct Wall(Instant);

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_000_000_000_000_000).plus(self.0.elapsed())
    }
}

fn presence() -> (Presence, Operation) {
    let clock = Arc::new(Wall(Instant::now()));
    let at = clock.now();
    let operation = Operation {
        id: OperationId::new(at, 1),
        at,
        method: "Channel",
        caller: Arc::from("device:FG101FTK00000001"),
        proof: None,
        reach: crate::registry::Reach::Everything,
        address: None,
        web_app: None,
    };
    let feed = Feed::new(1 << 20, 7, clock.clone());
    (Presence::new(ChannelSettings::default(), clock, feed), operation)
}

fn open(presence: &Presence, number: u8, operation: &Operation) -> Seat {
    let features = Features { sync_now: true, debug: true };
    let opening = Opening { serial: serial(number), origin: origin(), features, device_time: None, operation };
    presence.open(opening).unwrap()
}

fn said(seat: &Seat) -> Option<Saying> {
    match seat.line().poll_saying(&Context::from_waker(Waker::noop())) {
        Poll::Ready(saying) => Some(saying),
        Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_watch_ends_silent_channels_and_notes_who_did_not_come_back() {
    let (presence, operation) = presence();
    let watch = tokio::spawn(presence.clone().watch());
    let mut heard = open(&presence, 1, &operation);
    let silent = open(&presence, 2, &operation);
    for _ in 0..3 {
        tokio::time::sleep(20 * SECOND).await;
        heard.heard(None, &operation);
    }
    let Some(Saying::End(end)) = said(&silent) else { panic!("it goes on") };
    assert_eq!((end.refusal.reason, end.reconnect_after), (Reason::ChannelSilent, Some(Duration::ZERO)));
    assert!(said(&heard).is_none());
    drop(silent);
    tokio::time::sleep(31 * SECOND).await;
    assert!(presence.of(serial(1)).unwrap().online && !presence.of(serial(2)).unwrap().online);
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn of_each_kind_the_latest_message_waits_and_goodbye_comes_last() {
    let (presence, operation) = presence();
    let seat = open(&presence, 1, &operation);
    let sync = |reason: &str| v1::ChannelSyncNow { reason: reason.to_owned(), ..Default::default() };
    presence.sync_now(serial(1), sync("first")).unwrap();
    presence.shut_down();
    presence.sync_now(serial(1), sync("second")).unwrap();
    let Some(Saying::Say(Kind::SyncNow(sync_now))) = said(&seat) else { panic!("nothing to say") };
    assert_eq!(sync_now.reason, "second");
    let Some(Saying::End(end)) = said(&seat) else { panic!("it goes on") };
    assert_eq!(end.refusal.reason, Reason::ShuttingDown);
    assert!(said(&seat).is_none());
    assert_eq!(presence.is_open().unwrap_err().reason, Reason::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_debug_lines_is_told_to_every_channel_until_it_expires() {
    let (presence, operation) = presence();
    let wish = DebugWish { components: vec!["fnbamd".to_owned()], level_mask: 255, duration: 60 * SECOND };
    assert!(!presence.set_debug(serial(1), operation.id, wish));
    let first = open(&presence, 1, &operation);
    assert!(matches!(said(&first), Some(Saying::Say(Kind::Debug(debug))) if debug.level_mask == 255));
    tokio::time::sleep(40 * SECOND).await;
    let second = open(&presence, 1, &operation);
    let Some(Saying::Say(Kind::Debug(debug))) = said(&second) else { panic!("nothing to say") };
    assert_eq!(debug.duration.unwrap().seconds, 20);
    tokio::time::sleep(20 * SECOND).await;
    assert!(said(&open(&presence, 1, &operation)).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_returns_is_paced() {
    let (presence, _) = presence();
    let slots: Vec<_> = (0..2_000).map(|_| presence.next_slot()).collect();
    assert_eq!((slots[0], slots[1_000]), (Duration::ZERO, SECOND));
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(presence.next_slot(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn devices_whose_reports_found_no_room_come_again_one_after_the_other() {
    let (presence, operation) = presence();
    let seats: Vec<_> = (1..=3).map(|number| open(&presence, number, &operation)).collect();
    let mut waits = Vec::new();
    for (number, seat) in (1..).zip(&seats) {
        presence.pace(serial(number), 2 * SECOND);
        let Some(Saying::Say(Kind::Pacing(pacing))) = said(seat) else { panic!("nothing to say") };
        waits.push(Duration::try_from(pacing.next_sync_after.unwrap()).unwrap());
    }
    assert_eq!(waits, [0, 1, 2].map(|millis| 2 * SECOND + Duration::from_millis(millis)));
    // Nobody is there to be told.
    presence.pace(serial(9), SECOND);
    assert!(seats.iter().all(|seat| said(seat).is_none()));
}

#[test]
fn the_return_after_a_shutdown_is_spread_by_the_number_of_channels() {
    for (devices, seconds) in [(0, 1), (10, 1), (5_000, 5), (1_000_000, 30)] {
        assert_eq!(say::reconnect_window(devices), Duration::from_secs(seconds), "{devices}");
    }
    for _ in 0..100 {
        let delay = say::reconnect_after(SECOND);
        assert!((Duration::from_millis(500)..=Duration::from_millis(1_500)).contains(&delay));
    }
}
