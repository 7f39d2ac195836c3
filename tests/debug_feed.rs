//! The debug feed over gRPC: where streams start and end, what they show to whom, and what they say of what is lost.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{self, ClosingReason, DebugFilter, GapReason, StreamDebugLogsRequest};
use muster_proto::{Cursor, Reason};
use muster_tests::requests::*;
use muster_tests::{Follower, Muster, Refusal, eventually, within};
use tonic::Response;

fn following() -> StreamDebugLogsRequest {
    StreamDebugLogsRequest { follow: true, ..Default::default() }
}

fn earliest() -> StreamDebugLogsRequest {
    StreamDebugLogsRequest { earliest: true, ..Default::default() }
}

fn of_serial(serial: &str) -> Vec<DebugFilter> {
    vec![DebugFilter { serial_number: serial.to_owned(), ..Default::default() }]
}

#[tokio::test]
async fn a_stream_opens_at_once_catches_up_and_shows_what_happens() {
    let muster = Muster::start().await;
    let mut feed = muster.admin().watch(following()).await;
    assert_eq!((feed.opened.include.len(), feed.opened.warning.as_str()), (0, ""));
    assert!(matches!(feed.next().await.unwrap(), Some(Kind::CaughtUp(_))));

    let answer = muster.device(A).devices().register(register(A, &["sales"])).await.unwrap().into_inner();
    let mut seen = Vec::new();
    loop {
        let event = feed.event(|_| true).await;
        assert_eq!((event.serial_number.as_str(), event.caller.as_str()), (A, "device:FG101FTK19002788"));
        assert_eq!((event.operation_id.as_str(), event.component.as_str()), (answer.operation_id.as_str(), "ftc"));
        seen.push(format!("{} {} {}", event.step, event.vdom, event.message).replace("  ", " "));
        if event.terminal {
            assert_eq!((event.code.as_str(), event.reason.as_str()), ("OK", ""));
            break;
        }
    }
    let expected = ["device created", "vdom root created", "vdom sales created", "Register device created, 2 created"];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_change_is_shown_with_the_values_before_and_after() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let named = |hostname| v1::RegisterRequest { info: Some(info("", hostname, "")), ..register(A, &[]) };
    device.register(named("old")).await.unwrap();
    let mut feed = muster.admin().watch(following()).await;
    device.register(named("new")).await.unwrap();
    let event = feed.event(|event| event.step == "device").await;
    let change = v1::ValueChange { field: "hostname".to_owned(), before: "old".to_owned(), after: "new".to_owned() };
    assert_eq!(event.changes, [change]);
    device.delete(delete_whole(A)).await.unwrap();
    let event = feed.event(|event| event.vdom == "root").await;
    assert_eq!((event.changes[0].before.as_str(), event.changes[0].after.as_str()), ("active", "deleted"));
}

#[tokio::test]
async fn a_stream_starts_with_a_tail_a_time_a_cursor_or_the_earliest_event() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    for vdom in ["a", "b", "c", "d"] {
        device.register(register(A, &[vdom])).await.unwrap();
    }
    let admin = muster.admin();
    let shown = async |request: StreamDebugLogsRequest| {
        let (events, closing) = admin.watch(request).await.events().await;
        assert_eq!(closing.reason(), ClosingReason::Complete);
        events
    };
    // The request itself is not in the way: only the device is looked at.
    let all = shown(StreamDebugLogsRequest { include: of_serial(A), ..earliest() }).await;
    let cursors: Vec<_> = all.iter().map(|event| event.cursor.as_str()).collect();
    assert!(cursors.len() > 8 && cursors.is_sorted());
    let without_start = StreamDebugLogsRequest { include: of_serial(A), ..Default::default() };
    assert_eq!(shown(without_start.clone()).await, all);

    let tail = StreamDebugLogsRequest { tail: Some(3), ..without_start.clone() };
    assert_eq!(shown(tail).await, all[all.len() - 3..]);
    let behind = StreamDebugLogsRequest { cursor: all[4].cursor.clone(), ..without_start.clone() };
    assert_eq!(shown(behind).await, all[5..]);
    let since = StreamDebugLogsRequest { since: all[6].time, ..without_start.clone() };
    let first = all.iter().position(|event| event.time == all[6].time).unwrap();
    assert_eq!(shown(since).await, all[first..]);
    let nothing = StreamDebugLogsRequest { tail: Some(0), ..without_start };
    assert!(shown(nothing).await.is_empty());
}

#[tokio::test]
async fn filters_select_by_vdom_level_operation_and_text_and_leave_out() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let first = device.register(register(A, &["sales", "dmz"])).await.unwrap().into_inner();
    device.sync(sync(A, &["sales"])).await.unwrap();
    let admin = muster.admin();
    let shown = async |include: DebugFilter, exclude: Vec<DebugFilter>| {
        let request = StreamDebugLogsRequest { include: vec![include], exclude, ..earliest() };
        let (events, _) = admin.watch(request).await.events().await;
        events.into_iter().map(|event| format!("{} {}", event.step, event.message)).collect::<Vec<_>>()
    };
    let none = DebugFilter::default;
    let vdom = |vdom: &str| DebugFilter { vdom: vdom.to_owned(), ..none() };
    assert_eq!(shown(vdom("dmz"), vec![]).await, ["vdom created", "vdom removed"]);
    let removed = DebugFilter { text: "REMOVED".to_owned(), ..none() };
    assert_eq!(shown(vdom("dmz"), vec![removed]).await, ["vdom created"]);
    let warnings = DebugFilter { level_mask: Some(2), serial_number: A.to_owned(), ..none() };
    assert_eq!(shown(warnings, vec![]).await, ["vdom refused"]);
    let operation = DebugFilter { operation_id: first.operation_id, level_mask: Some(4), ..none() };
    let expected = ["vdom created", "vdom created", "vdom created", "Register device created, 3 created"];
    assert_eq!(shown(operation, vec![]).await, expected);
    let other = DebugFilter { component: "fnbamd".to_owned(), ..none() };
    assert!(shown(other, vec![]).await.is_empty());
}

#[tokio::test]
async fn a_stream_ends_at_its_limit_or_its_time() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &["a", "b"])).await.unwrap();
    let admin = muster.admin();
    let limited = StreamDebugLogsRequest { limit: 2, include: of_serial(A), follow: true, ..earliest() };
    let (events, closing) = admin.watch(limited.clone()).await.events().await;
    assert_eq!((events.len(), closing.reason()), (2, ClosingReason::Limit));
    assert_eq!(closing.resume_cursor, events[1].cursor);
    let more = StreamDebugLogsRequest { earliest: false, cursor: closing.resume_cursor, ..limited };
    assert_eq!(admin.watch(more).await.events().await.0[0].vdom, "a");

    let until = StreamDebugLogsRequest { until: events[1].time, include: of_serial(A), follow: true, ..earliest() };
    let (early, closing) = admin.watch(until).await.events().await;
    assert_eq!(closing.reason(), ClosingReason::Until);
    assert!(early.iter().all(|event| event.time == events[1].time));
}

#[tokio::test]
async fn a_viewer_that_reconnects_with_its_cursor_misses_nothing_and_gets_nothing_twice() {
    let muster = Muster::start().await;
    let (admin, relay) = (muster.admin(), muster.relay("fmg-1", &[]));
    let only = vec![DebugFilter { vdom: "root".to_owned(), ..Default::default() }];
    let mut cursor = admin.watch(following()).await.opened.cursor;
    let mut seen = Vec::new();
    for round in 0..6 {
        let request = StreamDebugLogsRequest { cursor, include: only.clone(), ..following() };
        let mut feed = admin.watch(request).await;
        for number in 0..5 {
            relay.devices().register(register(&fleet(round * 10 + number), &[])).await.unwrap();
        }
        // Gone in the middle of it, while more happens.
        for _ in 0..3 {
            seen.push(feed.event(|_| true).await);
        }
        drop(feed);
        relay.devices().register(register(&fleet(round * 10 + 5), &[])).await.unwrap();
        cursor = seen[seen.len() - 1].cursor.clone();
    }
    let rest = StreamDebugLogsRequest { cursor, include: only, ..Default::default() };
    seen.extend(admin.watch(rest).await.events().await.0);
    let serials: Vec<_> = seen.iter().map(|event| event.serial_number.clone()).collect();
    let expected: Vec<_> = (0..6).flat_map(|round| (0..6).map(move |number| fleet(round * 10 + number))).collect();
    assert_eq!(serials, expected);
}

#[tokio::test]
async fn after_a_restart_the_first_answer_to_an_old_cursor_is_a_gap_that_says_so() {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    let (events, _) = muster.admin().watch(earliest()).await.events().await;
    let old = events[events.len() - 1].cursor.clone();

    let muster = muster.restart().await;
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    let request = StreamDebugLogsRequest { cursor: old.clone(), ..following() };
    let mut feed = muster.admin().watch(request).await;
    let first = feed.next().await.unwrap();
    let Some(Kind::Gap(gap)) = first else { panic!("not a gap: {first:?}") };
    assert_eq!((gap.reason(), gap.count, &gap.from_cursor), (GapReason::Restart, None, &old));
    assert_eq!(feed.event(|_| true).await.serial_number, A);
    let again = StreamDebugLogsRequest { cursor: gap.to_cursor, ..Default::default() };
    let (kinds, _) = muster.admin().watch(again).await.rest().await;
    assert!(!kinds.iter().any(|kind| matches!(kind, Kind::Gap(_))), "{kinds:?}");
}

#[tokio::test]
async fn a_device_sees_its_own_serial_number_and_an_admin_sees_all() {
    let muster = Muster::start().await;
    let (a, b) = (muster.device(A), muster.device(B));
    a.devices().register(register(A, &[])).await.unwrap();
    b.devices().register(register(B, &[])).await.unwrap();
    muster.refusal(muster.nobody().devices().register(register(A, &[])).await).await;
    let seen = async |feed: &mut Follower| {
        feed.events().await.0.into_iter().map(|event| event.serial_number).collect::<BTreeSet<_>>()
    };
    let mut own = a.watch(earliest()).await;
    assert_eq!(own.opened.include, of_serial(A));
    assert_eq!(seen(&mut own).await, [A.to_owned()].into());
    // A pattern is narrowed to what may be seen.
    let mut narrowed = a.watch(StreamDebugLogsRequest { include: of_serial("FG*"), ..earliest() }).await;
    assert_eq!(narrowed.opened.include, of_serial(A));
    assert_eq!(seen(&mut narrowed).await, [A.to_owned()].into());
    let all = seen(&mut muster.admin().watch(earliest()).await).await;
    assert_eq!(all, [String::new(), A.to_owned(), B.to_owned()].into());

    let other = StreamDebugLogsRequest { include: of_serial(B), ..earliest() };
    let refusal = muster.refusal(a.debug_logs().stream_debug_logs(other).await).await;
    assert_eq!(refusal.reason, Reason::IdentityMismatch);
    let call = a.debug_logs().get_feed_status(v1::GetFeedStatusRequest {}).await;
    assert_eq!(muster.refusal(call).await.reason, Reason::RoleNotAllowed);
}

#[tokio::test]
async fn each_call_leaves_exactly_one_terminal_event_with_what_its_caller_got() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    let mut expected = BTreeMap::new();
    let registered = device.register(register(A, &["sales"])).await.unwrap().into_inner();
    expected.insert(registered.operation_id, ("OK".to_owned(), String::new()));
    let synced = device.sync(sync(A, &["root"])).await.unwrap().into_inner();
    expected.insert(synced.operation_id, ("OK".to_owned(), String::new()));
    for (refusal, code) in [
        (Refusal::of(device.register(register("x", &[])).await), "INVALID_ARGUMENT"),
        (Refusal::of(device.register(register(B, &[])).await), "PERMISSION_DENIED"),
        (Refusal::of(device.delete(delete_vdom(A, "nope")).await), "NOT_FOUND"),
        (Refusal::of(device.delete(delete_vdom(A, "root")).await), "FAILED_PRECONDITION"),
        (
            Refusal::of(device.sync(v1::SyncRequest { base_generation: Some(77), ..sync(A, &["root"]) }).await),
            "ABORTED",
        ),
        (Refusal::of(muster.nobody().devices().sync(sync(A, &["root"])).await), "UNAUTHENTICATED"),
        (Refusal::of(muster.device(A).raw("muster.v1.DeviceService/Dance", vec![]).await), "UNIMPLEMENTED"),
    ] {
        expected.insert(refusal.operation, (code.to_owned(), refusal.reason.as_str().to_owned()));
    }
    let deleted = admin.device_admin().delete_device(delete_device(A)).await.unwrap().into_inner();
    expected.insert(deleted.operation_id, ("OK".to_owned(), String::new()));
    let found = eventually(async || {
        let (events, _) = admin.watch(earliest()).await.events().await;
        let terminal: Vec<_> = events.into_iter().filter(|event| expected.contains_key(&event.operation_id)).collect();
        let last = terminal.iter().filter(|event| event.terminal).count();
        (last >= expected.len()).then_some(terminal)
    })
    .await;
    let mut ended = BTreeMap::new();
    for event in found {
        assert!(!ended.contains_key(&event.operation_id), "an event behind the terminal one: {event:?}");
        if event.terminal {
            ended.insert(event.operation_id, (event.code, event.reason));
        }
    }
    assert_eq!(ended, expected);
}

#[tokio::test]
async fn a_stream_ends_with_the_server_and_says_where_to_go_on() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let mut feed = admin.watch(following()).await;
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    let last = feed.event(|event| event.terminal).await;
    muster.begin_to_stop();
    let (kinds, end) = feed.rest().await;
    let Some(Kind::Closing(closing)) = kinds.last() else { panic!("no closing: {kinds:?}") };
    assert_eq!((closing.reason(), &closing.resume_cursor), (ClosingReason::Shutdown, &last.cursor));
    assert!(closing.retry_after.is_some_and(|delay| delay.seconds > 0));
    let refusal = Refusal::of(end.map(Response::new));
    assert_eq!(refusal.reason, Reason::ShuttingDown);
    within(muster.stop()).await;
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_alive() {
    let muster = Muster::start().await;
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let mut feed = muster.admin().watch(StreamDebugLogsRequest { heartbeat_interval, ..following() }).await;
    let heartbeat = feed.find(|kind| if let Kind::Heartbeat(heartbeat) = kind { Some(heartbeat) } else { None }).await;
    assert_eq!(heartbeat.cursor, feed.opened.cursor);
}

#[tokio::test]
async fn the_status_counts_events_and_viewers() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let status = async || admin.debug_logs().get_feed_status(v1::GetFeedStatusRequest {}).await.unwrap().into_inner();
    let before = status().await;
    let feeds =
        [admin.watch(following()).await, muster.nobody().with_token(&muster.admin_token()).watch(following()).await];
    assert_eq!(status().await.viewers, 2);
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    let after = status().await;
    assert!(after.recorded_events > before.recorded_events + 2 && after.held_bytes > before.held_bytes);
    assert_eq!((after.dropped_events, after.capacity_bytes, after.gaps), (0, 8 << 20, 0));
    drop(feeds);
    eventually(async || (status().await.viewers == 0).then_some(())).await;
}

#[tokio::test]
async fn a_misspelt_filter_is_warned_about() {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    let known = muster.admin().watch(StreamDebugLogsRequest { include: of_serial(A), ..following() }).await;
    assert_eq!(known.opened.warning, "");
    let misspelt = muster.admin().watch(StreamDebugLogsRequest { include: of_serial(B), ..following() }).await;
    assert!(misspelt.opened.warning.contains(B) && misspelt.opened.warning.contains("check the spelling"));
}

#[tokio::test]
async fn a_viewer_that_does_not_keep_up_gets_gaps_with_exact_counts_and_nobody_else_notices() {
    let muster = Muster::start_with(|settings| settings.feed_memory = 64 << 10).await;
    let (admin, relay) = (muster.admin(), muster.relay("fmg-1", &[]));
    let mut slow = admin.watch(following()).await;
    let start: Cursor = slow.opened.cursor.parse().unwrap();
    let mut brisk = muster.nobody().with_token(&muster.admin_token()).watch(following()).await;
    for number in 0..400 {
        let request = v1::RegisterRequest { vdoms: many_vdoms(20), ..register(&fleet(number), &[]) };
        relay.devices().register(request).await.unwrap();
        let ended = |kind| match kind {
            Kind::Gap(gap) => panic!("a viewer that keeps up has a gap: {gap:?}"),
            Kind::Event(event) => event.terminal.then_some(event),
            _ => None,
        };
        assert_eq!(brisk.find(ended).await.serial_number, fleet(number));
    }
    let status = admin.debug_logs().get_feed_status(v1::GetFeedStatusRequest {}).await.unwrap().into_inner();
    assert!(status.recorded_events > 8_000 && status.held_bytes <= status.capacity_bytes);
    let latest: Cursor = status.latest_cursor.parse().unwrap();

    let (mut position, mut gaps) = (start.position, 0);
    while position < latest.position {
        match slow.next().await.unwrap().unwrap() {
            Kind::Event(event) => {
                let at: Cursor = event.cursor.parse().unwrap();
                assert_eq!(at.position, position + 1, "an event is missing or came twice");
                position = at.position;
            }
            Kind::Gap(gap) => {
                let (from, to): (Cursor, Cursor) = (gap.from_cursor.parse().unwrap(), gap.to_cursor.parse().unwrap());
                assert_eq!((gap.reason(), from.position), (GapReason::SlowViewer, position));
                assert_eq!(gap.count, Some(to.position - from.position));
                (position, gaps) = (to.position, gaps + 1);
            }
            _ => {}
        }
    }
    assert!(gaps > 0, "8,000 events do not fit into 64 KiB and the buffers of a connection");
}
