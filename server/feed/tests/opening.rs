//! Where streams start, what they select, and what they warn of.

use muster_proto::Reason;

use super::*;

fn serials(texts: &[&str]) -> Feed {
    let feed = feed(ROOMY);
    feed.record_all(texts.iter().map(|text| event_of(serial(text), text)));
    feed
}

#[test]
fn a_tail_is_the_last_events_that_pass_the_filters() {
    let feed = serials(&["FGA", "FGB", "FGA", "FGB", "FGA", "FGB"]);
    let tail = |count| {
        let include = vec![of_serial(serial("FGA"))];
        shown(&feed, &FeedRequest { include, ..request(Start::Tail(count), false) })
    };
    assert_eq!(tail(2), ["opened 2", "event 3 FGA", "event 5 FGA", "caught_up 6", "closing 6 Complete"]);
    assert_eq!(tail(0), ["opened 6", "caught_up 6", "closing 6 Complete"]);
    assert_eq!(tail(9)[..2], ["opened 0", "event 1 FGA"]);
}

#[test]
fn a_long_tail_is_found_across_many_steps() {
    let feed = feed(ROOMY);
    feed.record_all((0..1_000).map(|number| event(&format!("{number}"))));
    let seen = shown(&feed, &request(Start::Tail(500), false));
    assert_eq!((seen[0].as_str(), seen.len()), ("opened 500", 503));
}

#[tokio::test(start_paused = true)]
async fn since_starts_with_the_first_event_at_or_after_it_though_the_clock_goes_back() {
    let feed = feed(ROOMY);
    feed.record_all([event_at(1_010, "a"), event_at(1_030, "b"), event_at(1_005, "c"), event_at(1_030, "d")]);
    let since = |seconds| shown(&feed, &request(Start::Since(second(seconds)), false));
    assert_eq!(since(1_020)[..4], ["opened 1", "event 2 b", "event 3 c", "event 4 d"]);
    assert_eq!(since(1_030)[..2], ["opened 1", "event 2 b"]);
    assert_eq!(since(1_031), ["opened 4", "caught_up 4", "closing 4 Complete"]);
    let warned = &since(START - 1)[0];
    assert!(warned.contains("this feed began at 1970-01-01T00:16:40Z"), "{warned}");
}

#[tokio::test(start_paused = true)]
async fn since_in_the_future_skips_what_comes_before_it() {
    let feed = feed(ROOMY);
    let mut viewing = watch(&feed, &request(Start::Since(second(1_020)), true));
    assert_eq!(all_now(&mut viewing), ["opened 0", "caught_up 0"]);
    feed.record_all([event_at(1_010, "early"), event_at(1_020, "first"), event_at(1_019, "second")]);
    assert_eq!(all_now(&mut viewing), ["event 2 first", "event 3 second"]);
}

#[test]
fn a_cursor_starts_behind_itself_and_an_expired_one_with_an_exact_gap() {
    let feed = feed(2_500);
    feed.record_all((0..10).map(|number| event(&format!("{number}"))));
    let dropped = feed.status().earliest.position;
    assert!((1..9).contains(&dropped), "{dropped}");
    let behind = |position| shown(&feed, &request(Start::Cursor(cursor(position)), false));
    assert_eq!(behind(9), ["opened 9", "event 10 9", "caught_up 10", "closing 10 Complete"]);
    assert_eq!(behind(10), ["opened 10", "caught_up 10", "closing 10 Complete"]);
    assert_eq!(behind(1)[..2], ["opened 1".to_owned(), format!("gap 1..{dropped} {} Expired", dropped - 1)]);
    assert_eq!(shown(&feed, &request(Start::Earliest, false))[0], format!("opened {dropped}"));
    let lost = &shown(&feed, &request(Start::Since(second(START)), false))[0];
    assert!(lost.contains("are no longer held"), "{lost}");
}

#[test]
fn a_cursor_ahead_of_the_feed_is_refused_and_names_the_field() {
    let feed = serials(&["FGA"]);
    let refused = feed.watch(&request(Start::Cursor(cursor(2)), false), &Scope::All, CancellationToken::new());
    let invalid = refused.unwrap_err();
    assert_eq!(invalid.reason(), Reason::CursorMalformed);
    assert_eq!(invalid.violations()[0].field, "cursor");
    assert_eq!(feed.status().viewers, 0);
}

#[test]
fn a_filter_that_names_what_was_never_seen_is_warned_about() {
    let feed = serials(&["FGA", "FGB"]);
    let include = vec![
        of_serial(serial("FGA")),
        Filter {
            serial: Some(Pattern::new("FGX*")),
            vdom: Some(Pattern::new("ro\u{1b}ot")),
            operation: Some("nonsense".to_owned()),
            ..Filter::default()
        },
    ];
    let exclude = vec![Filter { component: Some("httpsd".to_owned()), ..Filter::default() }];
    let seen = shown(&feed, &FeedRequest { include, exclude, ..request(Start::Earliest, false) });
    let named = r#"include[1].serial_number "FGX*", include[1].vdom "ro\u{1b}ot", include[1].operation_id "nonsense", exclude[0].component "httpsd""#;
    assert_eq!(seen[0], format!("opened 0: no event that is held has {named}: check the spelling"));
    // What is outside of the scope is as if it had never been seen; the device itself is known.
    let device = Scope::Device(serial("FGA"));
    let include = vec![Filter { vdom: Some(Pattern::new("dmz")), ..of_serial(serial("FGA")) }];
    let mut event = event_of(serial("FGB"), "of another");
    event.vdom = Some("dmz".parse().unwrap());
    feed.record(event);
    let request = FeedRequest { include, ..request(Start::Now, false) };
    let mut viewing = feed.watch(&request, &device, CancellationToken::new()).unwrap();
    let named = "include[0].vdom \"dmz\"";
    assert_eq!(all_now(&mut viewing)[0], format!("opened 3: no event that is held has {named}: check the spelling"));
}

#[test]
fn the_effective_filters_are_those_of_the_request_inside_the_scope() {
    let feed = serials(&["FGA", "FGB", "FWF"]);
    feed.record(event("about nobody"));
    let opened = |scope: &Scope, include: &[&str]| {
        let include = include.iter().map(|text| Filter { serial: Some(Pattern::new(text)), ..Filter::default() });
        let request = FeedRequest { include: include.collect(), ..request(Start::Earliest, false) };
        let mut viewing = feed.watch(&request, scope, CancellationToken::new()).unwrap();
        let Some(Kind::Opened(opened)) = now(&mut viewing) else { panic!("a stream opens first") };
        let effective: Vec<_> = opened.include.into_iter().map(|filter| filter.serial_number).collect();
        let events = all_now(&mut viewing).iter().filter(|text| text.starts_with("event")).count();
        (effective.join(" "), events, scope.check(&request))
    };
    let text = str::to_owned;
    let device = Scope::Device(serial("FGA"));
    let relay = Scope::Prefixes(vec![text("FG"), text("FWFX")]);
    assert_eq!(opened(&Scope::All, &[]), (text(""), 4, Ok(())));
    assert_eq!(opened(&device, &[]), (text("FGA0000000000000"), 1, Ok(())));
    assert_eq!(opened(&device, &["FG*"]), (text("FGA0000000000000"), 1, Ok(())));
    assert_eq!(opened(&device, &["FGB0000000000000"]), (text(""), 0, Err(Reason::IdentityMismatch)));
    assert_eq!(opened(&relay, &[]), (text("FG* FWFX*"), 2, Ok(())));
    assert_eq!(opened(&relay, &["F*"]), (text("FG* FWFX*"), 2, Ok(())));
    assert_eq!(opened(&relay, &["FGA*"]), (text("FGA*"), 1, Ok(())));
    assert_eq!(opened(&relay, &["FWF0000000000000"]), (text(""), 0, Err(Reason::IdentityMismatch)));
    assert_eq!(opened(&Scope::Prefixes(vec![text("")]), &[]), (text("*"), 3, Ok(())));
    assert_eq!(opened(&Scope::Prefixes(vec![]), &[]), (text(""), 0, Ok(())));
}

#[test]
fn a_filter_selects_by_every_property() {
    let feed = feed(ROOMY);
    let operation = OperationId::new(second(START), 77);
    let special = DebugEvent {
        vdom: Some("dmz".parse().unwrap()),
        realm: Some("staff".into()),
        component: "fnbamd".into(),
        level: Level::Error,
        operation,
        ..event_of(serial("FGA"), "Straße REFUSED")
    };
    feed.record_all([event("plain"), special]);
    let filter = Filter::default;
    for filter in [
        of_serial(serial("FGA")),
        Filter { serial: Some(Pattern::new("*")), ..filter() },
        Filter { vdom: Some(Pattern::new("d*")), ..filter() },
        Filter { realm: Some(Pattern::new("staff")), ..filter() },
        Filter { component: Some("fnbamd".to_owned()), ..filter() },
        Filter { level_mask: Some(3), ..filter() },
        Filter { operation: Some(operation.to_string().to_uppercase()), ..filter() },
        Filter { text: Some("straße ref".to_owned()), ..filter() },
    ] {
        let included = FeedRequest { include: vec![filter.clone()], ..request(Start::Earliest, false) };
        assert_eq!(shown(&feed, &included)[1], "event 2 Straße REFUSED", "{filter:?}");
        let excluded = FeedRequest { exclude: vec![filter.clone()], ..request(Start::Earliest, false) };
        assert_eq!(shown(&feed, &excluded)[1..3], ["event 1 plain", "caught_up 2"], "{filter:?}");
    }
}
