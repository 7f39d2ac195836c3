//! The promise of the feed: under any stall, every event is delivered, filtered out, or inside exactly one gap.

use std::num::NonZeroU64;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What an event is about, as far as these tests look.
#[derive(Clone, Copy, Debug)]
struct Recorded {
    serial: Option<char>,
    error: bool,
    length: usize,
}

/// What a viewer asks for.
#[derive(Clone, Copy, Debug)]
enum Choice {
    All,
    Serial(char),
    Errors,
    AllBut(char),
    Device(char),
    Relay,
}

#[derive(Clone, Debug)]
enum Step {
    Record(Vec<Recorded>),
    Watch { choice: Choice, start: u8, at: Index, follow: bool, limit: u64 },
    Look { viewer: Index, responses: usize },
    Leave(Index),
}

fn recorded() -> impl Strategy<Value = Recorded> {
    let serial = prop_oneof![Just(None), Just(Some('A')), Just(Some('B')), Just(Some('C'))];
    (serial, any::<bool>(), 0_usize..400).prop_map(|(serial, error, length)| Recorded { serial, error, length })
}

fn choice() -> impl Strategy<Value = Choice> {
    use Choice::{All, AllBut, Device, Errors, Relay, Serial};
    prop_oneof![Just(All), Just(Serial('A')), Just(Errors), Just(AllBut('A')), Just(Device('B')), Just(Relay)]
}

fn step() -> impl Strategy<Value = Step> {
    let watch = (choice(), 0_u8..5, any::<Index>(), any::<bool>(), 0_u64..20);
    prop_oneof![
        4 => prop::collection::vec(recorded(), 0..8).prop_map(Step::Record),
        2 => watch.prop_map(|(choice, start, at, follow, limit)| Step::Watch { choice, start, at, follow, limit }),
        6 => (any::<Index>(), 0_usize..12).prop_map(|(viewer, responses)| Step::Look { viewer, responses }),
        1 => any::<Index>().prop_map(Step::Leave),
    ]
}

fn name(letter: char) -> SerialNumber {
    serial(&format!("FG{letter}"))
}

impl Choice {
    /// What the filters should do, said in another way than the filters do it.
    fn selects(self, event: Recorded) -> bool {
        match self {
            Self::All => true,
            Self::Serial(letter) | Self::Device(letter) => event.serial == Some(letter),
            Self::Errors => event.error,
            Self::AllBut(letter) => event.serial != Some(letter),
            Self::Relay => matches!(event.serial, Some('A' | 'B')),
        }
    }

    fn apply(self, request: FeedRequest) -> (FeedRequest, Scope) {
        let everything = Scope::All;
        match self {
            Self::All => (request, everything),
            Self::Serial(letter) => (FeedRequest { include: vec![of_serial(name(letter))], ..request }, everything),
            Self::Errors => {
                let errors = Filter { level_mask: Some(1), ..Filter::default() };
                (FeedRequest { include: vec![errors], ..request }, everything)
            }
            Self::AllBut(letter) => (FeedRequest { exclude: vec![of_serial(name(letter))], ..request }, everything),
            Self::Device(letter) => (request, Scope::Device(name(letter))),
            Self::Relay => (request, Scope::Prefixes(vec!["FGA".to_owned(), "FGB".to_owned()])),
        }
    }
}

/// A viewer, and what it may conclude from what it was sent.
struct Viewer {
    viewing: Viewing,
    choice: Choice,
    limit: u64,
    follow: bool,
    /// Every event up to here is accounted for.
    position: Option<u64>,
    events: u64,
    /// Every cursor it was sent.
    cursors: Vec<u64>,
    caught_up: bool,
    closed: bool,
}

impl Viewer {
    /// Takes one response and checks it against what was recorded. False if there was none.
    fn look(&mut self, log: &[Recorded], dropped: u64) -> bool {
        let Some(kind) = now(&mut self.viewing) else { return false };
        assert!(!self.closed, "{kind:?} after the end");
        let at = |text: &str| text.parse::<Cursor>().unwrap().position;
        match kind {
            Kind::Opened(opened) => {
                assert_eq!(self.position, None);
                self.position = Some(at(&opened.cursor));
                self.cursors.push(at(&opened.cursor));
            }
            Kind::Event(event) => {
                let position = at(&event.cursor);
                self.filtered_out(log, position - 1);
                assert!(self.choice.selects(of(log, position)), "{event:?}");
                assert_eq!(event.message.len(), of(log, position).length);
                self.position = Some(position);
                self.events += 1;
                self.cursors.push(position);
            }
            Kind::Gap(gap) => {
                let (from, to) = (at(&gap.from_cursor), at(&gap.to_cursor));
                self.filtered_out(log, from);
                assert!(from < to && to <= dropped, "{gap:?} with {dropped} dropped");
                assert_eq!(gap.count, Some(to - from));
                self.position = Some(to);
                self.cursors.push(to);
            }
            Kind::CaughtUp(caught_up) => {
                assert!(!self.caught_up);
                self.caught_up = true;
                self.filtered_out(log, at(&caught_up.cursor));
            }
            Kind::Heartbeat(heartbeat) => self.filtered_out(log, at(&heartbeat.cursor)),
            Kind::Closing(closing) => {
                self.filtered_out(log, at(&closing.resume_cursor));
                self.closed = true;
                match closing.reason() {
                    v1::ClosingReason::Complete => assert!(self.caught_up && !self.follow),
                    v1::ClosingReason::Limit => assert_eq!(self.events, self.limit),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(self.limit == 0 || self.events <= self.limit);
        true
    }

    /// Everything up to this position was filtered out.
    fn filtered_out(&mut self, log: &[Recorded], to: u64) {
        let from = self.position.expect("a stream opens first");
        assert!(from <= to, "from {from} back to {to}");
        for position in from + 1..=to {
            assert!(!self.choice.selects(of(log, position)), "event {position} was not sent");
        }
        self.position = Some(to);
        self.cursors.push(to);
    }
}

fn of(log: &[Recorded], position: u64) -> Recorded {
    log[usize::try_from(position).unwrap() - 1]
}

fn to_event(recorded: Recorded, number: usize) -> DebugEvent {
    DebugEvent {
        serial: recorded.serial.map(name),
        level: if recorded.error { Level::Error } else { Level::Detail },
        ..event_at(START + i64::try_from(number).unwrap(), &"x".repeat(recorded.length))
    }
}

fn open(feed: &Feed, log: &[Recorded], choice: Choice, start: Start, follow: bool, limit: u64) -> Viewer {
    let (request, scope) = choice.apply(FeedRequest { limit: NonZeroU64::new(limit), ..request(start, follow) });
    let dropped = feed.status().earliest.position;
    let viewing = feed.watch(&request, &scope, CancellationToken::new()).unwrap();
    let mut viewer = Viewer {
        viewing,
        choice,
        limit,
        follow,
        position: None,
        events: 0,
        cursors: vec![],
        caught_up: false,
        closed: false,
    };
    viewer.look(log, dropped);
    let latest = log.len() as u64;
    let expected = match start {
        Start::Now => latest,
        Start::Earliest => dropped,
        Start::Cursor(cursor) => cursor.position,
        Start::Since(time) => (time.since(second(START)).as_secs()).max(dropped),
        Start::Tail(count) => {
            let tail = (dropped + 1..=latest).rev().filter(|position| choice.selects(of(log, *position)));
            match count {
                0 => latest,
                _ => tail.map(|position| position - 1).nth(count as usize - 1).unwrap_or(dropped),
            }
        }
    };
    assert_eq!(viewer.position, Some(expected), "{start:?}");
    viewer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_delivered_filtered_out_or_in_exactly_one_gap(
        capacity in prop_oneof![Just(0_usize), 1_000_usize..20_000],
        steps in prop::collection::vec(step(), 1..60),
        resume in any::<Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let feed = feed(capacity);
        let mut log: Vec<Recorded> = vec![];
        let mut viewers: Vec<Viewer> = vec![];
        for step in steps {
            match step {
                Step::Record(events) => {
                    let numbered = events.iter().zip(log.len()..);
                    feed.record_all(numbered.map(|(event, number)| to_event(*event, number)));
                    log.extend(events);
                }
                Step::Watch { choice, start, at, follow, limit } => {
                    let at = at.index(log.len() + 1);
                    let start = match start {
                        0 => Start::Now,
                        1 => Start::Earliest,
                        2 => Start::Tail(u32::try_from(at).unwrap()),
                        3 => Start::Since(second(START + i64::try_from(at).unwrap())),
                        _ => Start::Cursor(cursor(at as u64)),
                    };
                    viewers.push(open(&feed, &log, choice, start, follow, limit));
                }
                Step::Look { viewer, responses } if !viewers.is_empty() => {
                    let viewer = viewer.get_mut(&mut viewers);
                    let dropped = feed.status().earliest.position;
                    (0..responses).take_while(|_| viewer.look(&log, dropped)).for_each(drop);
                }
                Step::Leave(viewer) if !viewers.is_empty() => {
                    viewers.remove(viewer.index(viewers.len()));
                }
                Step::Look { .. } | Step::Leave(_) => {}
            }
            prop_assert_eq!(feed.status().viewers as usize, viewers.len());
        }
        let (dropped, latest) = (feed.status().earliest.position, log.len() as u64);
        prop_assert_eq!(feed.status().latest.position, latest);
        for viewer in &mut viewers {
            while viewer.look(&log, dropped) {}
            prop_assert!(viewer.closed || (viewer.follow && viewer.caught_up && viewer.position <= Some(latest)));
            if !viewer.closed {
                // What is behind its last cursor was filtered out without a word.
                viewer.filtered_out(&log, latest);
            }
            // Starting again from any cursor gives what going on from there gives.
            let behind = *resume.get(&viewer.cursors);
            let mut again = open(&feed, &log, viewer.choice, Start::Cursor(cursor(behind)), false, 0);
            while again.look(&log, dropped) {}
            let expected = (behind.max(dropped) + 1..=latest).filter(|at| viewer.choice.selects(of(&log, *at))).count();
            prop_assert_eq!((again.events, again.position), (expected as u64, Some(latest)));
        }
    }
}
