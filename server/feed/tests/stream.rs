//! Streams that follow, and how they end.

use std::num::NonZeroU64;

use muster_proto::v1::GapReason;

use super::*;
use crate::feed::Ending;

#[tokio::test(start_paused = true)]
async fn a_follower_gets_what_happens_and_is_called_when_it_does() {
    let feed = feed(ROOMY);
    let mut viewing = watch(&feed, &request(Start::Now, true));
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    let follower = tokio::spawn(async move { (brief(&next(&mut viewing).await), brief(&next(&mut viewing).await)) });
    tokio::task::yield_now().await;
    feed.record_all([event("one"), event("two")]);
    assert_eq!(follower.await.unwrap(), ("event 1 one".to_owned(), "event 2 two".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_viewer_gets_one_exact_gap_and_goes_on() {
    let feed = feed(8_000);
    let (mut slow, mut quick) = (watch(&feed, &request(Start::Now, true)), watch(&feed, &request(Start::Now, true)));
    assert_eq!(all_now(&mut slow), ["opened 0", "caught_up 0"]);
    let mut quick_events = 0;
    for number in 0..100 {
        feed.record(event(&format!("{number}")));
        quick_events += all_now(&mut quick).iter().filter(|text| text.starts_with("event")).count();
    }
    assert_eq!(quick_events, 100);
    let status = feed.status();
    let held = status.latest.position - status.earliest.position;
    assert!(held > 1 && status.held_bytes <= status.capacity_bytes, "{status:?}");
    let seen = all_now(&mut slow);
    assert_eq!(seen[0], format!("gap 0..{0} {0} SlowViewer", 100 - held));
    assert_eq!(seen.len() as u64, 1 + held);
    assert_eq!(feed.status().gaps, 1);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_while_nothing_else_does_and_carry_the_position() {
    let feed = feed(ROOMY);
    let request = FeedRequest {
        heartbeat: Duration::from_secs(5),
        include: vec![of_serial(serial("FGA"))],
        ..request(Start::Now, true)
    };
    let mut viewing = watch(&feed, &request);
    feed.record(event_of(serial("FGA"), "mine"));
    assert_eq!(
        all_now(&mut viewing),
        [
            "opened 0: no event that is held has include[0].serial_number \"FGA0000000000000\": check the spelling",
            "event 1 mine",
            "caught_up 1"
        ]
    );
    feed.record(event_of(serial("FGB"), "not mine"));
    let began = Instant::now();
    assert_eq!(brief(&next(&mut viewing).await), "heartbeat 2");
    assert_eq!(began.elapsed().as_secs(), 5);
    // An event in between puts the next heartbeat off.
    tokio::time::advance(Duration::from_secs(3)).await;
    feed.record(event_of(serial("FGA"), "mine"));
    assert_eq!(brief(&next(&mut viewing).await), "event 3 mine");
    let began = Instant::now();
    assert_eq!(brief(&next(&mut viewing).await), "heartbeat 3");
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn events_of_others_neither_wake_a_viewer_of_one_serial_nor_make_it_slow() {
    let feed = feed(4_000);
    let mut viewing = feed.watch(&request(Start::Now, true), &Scope::Device(serial("FGA")), CancellationToken::new());
    let viewing = viewing.as_mut().unwrap();
    assert_eq!(all_now(viewing), ["opened 0", "caught_up 0"]);
    for number in 0..1_000 {
        feed.record(event_of(serial("FGB"), &format!("{number}")));
    }
    feed.record(event_of(serial("FGA"), "mine"));
    assert!(feed.status().earliest.position > 900);
    assert_eq!(all_now(viewing), ["event 1001 mine"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_ends_the_stream_behind_its_last_event() {
    let feed = feed(ROOMY);
    feed.record_all([event("one"), event("two"), event("three")]);
    let mut viewing = watch(&feed, &FeedRequest { limit: NonZeroU64::new(2), ..request(Start::Earliest, true) });
    assert_eq!(all_now(&mut viewing), ["opened 0", "event 1 one", "event 2 two", "closing 2 Limit"]);
    assert_eq!(viewing.ended(), Some(Ending::Limit));
    assert_eq!(now(&mut viewing), None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_before_the_first_event_after_until() {
    let feed = feed(ROOMY);
    feed.record_all([event_at(START, "at"), event_at(START + 1, "after")]);
    let request = FeedRequest { until: Some(second(START)), ..request(Start::Earliest, false) };
    assert_eq!(shown(&feed, &request), ["opened 0", "event 1 at", "closing 1 Until"]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_ends_when_until_passes_though_nothing_happens() {
    let feed = feed(ROOMY);
    let mut viewing = watch(&feed, &FeedRequest { until: Some(second(START + 10)), ..request(Start::Now, true) });
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    let began = Instant::now();
    assert_eq!(brief(&next(&mut viewing).await), "closing 0 Until");
    assert_eq!((began.elapsed().as_secs(), viewing.ended()), (10, Some(Ending::Until)));
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_a_viewer_gets_what_was_recorded_and_a_cursor_to_come_back_with() {
    let feed = feed(ROOMY);
    let mut viewing = watch(&feed, &request(Start::Now, true));
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    let follower = tokio::spawn(async move {
        let all: Vec<_> = viewing.by_ref().collect().await;
        (all.iter().map(decode).collect::<Vec<_>>(), viewing.ended())
    });
    tokio::task::yield_now().await;
    feed.record(event("before"));
    feed.shut_down(Duration::from_secs(3));
    feed.record(event("after"));
    let (all, ended) = follower.await.unwrap();
    assert_eq!(all.iter().map(brief).collect::<Vec<_>>(), ["event 1 before", "closing 1 Shutdown"]);
    assert_eq!(ended, Some(Ending::Shutdown { retry_after: Duration::from_secs(3) }));
    let Some(Kind::Closing(closing)) = all.last() else { panic!("{all:?}") };
    assert_eq!(closing.retry_after.unwrap().seconds, 3);
    assert_eq!(shown(&feed, &request(Start::Earliest, true)), ["opened 0", "event 1 before", "closing 1 Shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_shown_once_the_authorisation_ended() {
    let feed = feed(ROOMY);
    let authorisation = CancellationToken::new();
    let mut viewing = feed.watch(&request(Start::Now, true), &Scope::All, authorisation.clone()).unwrap();
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    feed.record_all([event("one"), event("two")]);
    assert_eq!(now(&mut viewing).map(|kind| brief(&kind)).unwrap(), "event 1 one");
    authorisation.cancel();
    assert_eq!(all_now(&mut viewing), ["closing 1 AuthorisationEnded"]);
    assert_eq!(viewing.ended(), Some(Ending::AuthorisationEnded));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_authorisation_ends_a_stream_that_waits() {
    let feed = feed(ROOMY);
    let authorisation = CancellationToken::new();
    let mut viewing = feed.watch(&request(Start::Now, true), &Scope::All, authorisation.clone()).unwrap();
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    let began = Instant::now();
    let waiting = tokio::spawn(async move { (brief(&next(&mut viewing).await), began.elapsed()) });
    tokio::task::yield_now().await;
    authorisation.cancel();
    assert_eq!(waiting.await.unwrap(), ("closing 0 AuthorisationEnded".to_owned(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn events_that_come_fast_gather_for_a_moment_and_no_longer() {
    let feed = feed(ROOMY);
    let mut viewing = watch(&feed, &request(Start::Now, true));
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    let began = Instant::now();
    let follower = tokio::spawn(async move {
        let mut delays = vec![];
        for _ in 0..3 {
            next(&mut viewing).await;
            delays.push(began.elapsed().as_millis());
        }
        delays
    });
    // The first comes at once; the others within the pause, though the viewer ran dry in between.
    for _ in 0..3 {
        tokio::task::yield_now().await;
        feed.record(event("x"));
        tokio::task::yield_now().await;
    }
    let delays = follower.await.unwrap();
    assert!(delays[0] == 0 && (1..=2).contains(&delays[2]), "{delays:?}");
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_leaves_is_no_longer_counted() {
    let feed = feed(ROOMY);
    let mut viewing = watch(&feed, &request(Start::Now, true));
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    assert_eq!(feed.status().viewers, 1);
    drop(viewing);
    assert_eq!(feed.status().viewers, 0);
}

#[test]
fn a_gap_without_a_count_is_one_of_a_restart() {
    let feed = feed(ROOMY);
    feed.record(event("new"));
    let old = Cursor { epoch: EPOCH + 1, position: 99 };
    let mut viewing = watch(&feed, &request(Start::Cursor(old), false));
    let Some(Kind::Opened(opened)) = now(&mut viewing) else { panic!("a stream opens first") };
    assert_eq!(opened.cursor, old.to_string());
    let Some(Kind::Gap(gap)) = now(&mut viewing) else { panic!("an old cursor gets a gap first") };
    assert_eq!((gap.count, gap.reason()), (None, GapReason::Restart));
    assert_eq!((gap.from_cursor, gap.to_cursor), (old.to_string(), cursor(0).to_string()));
    assert_eq!(all_now(&mut viewing), ["event 1 new", "caught_up 1", "closing 1 Complete"]);
}

#[test]
fn the_status_counts_what_was_recorded_held_and_dropped() {
    let feed = feed(3_000);
    feed.record_all((0..50).map(|number| event(&format!("{number}"))));
    let viewing = watch(&feed, &request(Start::Now, true));
    let status = v1::GetFeedStatusResponse::from(feed.status());
    assert_eq!((status.recorded_events, status.viewers, status.gaps), (50, 1, 0));
    assert_eq!(status.held_events + status.dropped_events, 50);
    assert_eq!(status.earliest_cursor, cursor(status.dropped_events).to_string());
    assert_eq!(status.latest_cursor, cursor(50).to_string());
    assert!(status.held_events > 1 && status.held_bytes <= status.capacity_bytes, "{status:?}");
    drop(viewing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_uncounted_between_threads() {
    const EACH: u64 = 5_000;
    let feed = feed(50_000);
    let viewers = [Scope::All, Scope::All, Scope::Device(serial("FGA"))].map(|scope| {
        let mut viewing = feed.watch(&request(Start::Now, true), &scope, CancellationToken::new()).unwrap();
        tokio::spawn(async move {
            let (mut events, mut lost) = (0, 0);
            while let Some(response) = viewing.next().await {
                match decode(&response) {
                    Kind::Event(_) => events += 1,
                    Kind::Gap(gap) => lost += gap.count.unwrap(),
                    Kind::Closing(closing) => assert_eq!(closing.resume_cursor, cursor(2 * EACH).to_string()),
                    _ => {}
                }
            }
            (events, lost)
        })
    });
    let recorders = ["FGA", "FGB"].map(|name| {
        let feed = feed.clone();
        std::thread::spawn(move || (0..EACH).for_each(|_| feed.record(event_of(serial(name), "x"))))
    });
    tokio::task::spawn_blocking(move || recorders.map(|recorder| recorder.join().unwrap())).await.unwrap();
    feed.shut_down(Duration::ZERO);
    let [one, other, device] = viewers;
    for viewer in [one, other] {
        let (events, lost) = viewer.await.unwrap();
        assert_eq!(events + lost, 2 * EACH);
    }
    let (events, lost) = device.await.unwrap();
    assert!(events <= EACH && events + lost >= EACH, "{events} events, {lost} lost");
}
