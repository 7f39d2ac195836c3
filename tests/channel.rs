//! The live channel of a device: what goes up and down, who is online, and how it ends.

use std::time::Duration;

use muster_proto::Reason;
use muster_proto::v1::channel_request::Kind as Up;
use muster_proto::v1::channel_response::Kind as Down;
use muster_proto::v1::{self, ChannelHello, Outcome, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{Database, Muster, Proxy, Refusal, eventually, hello};

const FAST: Duration = Duration::from_millis(100);

/// A server whose heartbeats and grace periods are short.
async fn fast() -> Muster {
    Muster::start_with(|settings| (settings.channels.heartbeat, settings.channels.grace) = (FAST, FAST)).await
}

fn following() -> StreamDebugLogsRequest {
    StreamDebugLogsRequest { follow: true, ..Default::default() }
}

async fn presence(muster: &Muster, serial: &str) -> v1::DevicePresence {
    muster.admin().get_device(serial).await.device.unwrap().presence.unwrap()
}

async fn offline(muster: &Muster, serial: &str) -> v1::DevicePresence {
    eventually(async || Some(presence(muster, serial).await).filter(|presence| !presence.online)).await
}

fn timestamp(seconds_from_now: i64) -> prost_types::Timestamp {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    prost_types::Timestamp { seconds: now + seconds_from_now, nanos: 0 }
}

#[tokio::test]
async fn a_hello_registers_an_unknown_device_and_the_welcome_says_how_to_go_on() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let request = ChannelHello { info: Some(info("FortiGate-101F", "branch-7", "v7.4.8")), ..hello(A) };
    let mut line = device.channel(request.clone()).await;
    let welcome = line.welcome.clone();
    assert_eq!((welcome.outcome(), welcome.in_sync, welcome.connection_generation), (Outcome::Created, false, 1));
    assert_eq!(welcome.heartbeat_interval.unwrap().seconds, 20);
    assert!(welcome.next_sync_after.unwrap().seconds < 5);
    let held = muster.admin().get_device(A).await;
    assert_eq!(names(&held.vdoms), ["root"]);
    let device_row = held.device.unwrap();
    assert_eq!((device_row.info, device_row.generation), (request.info.clone(), welcome.generation));
    let audited = muster.database().audit().await;
    assert_eq!((audited.len(), audited[0].operation_id.as_str()), (1, welcome.operation_id.as_str()));
    let presence = device_row.presence.unwrap();
    assert!(presence.online && presence.address.starts_with("127.0.0.1:"), "{presence:?}");

    // What the register holds is what the device would report: nothing to do.
    device.devices().sync(sync(A, &["root", "sales"])).await.unwrap();
    line.heartbeat(None).await;
    let digest = digest_of(["FortiGate-101F", "branch-7", "v7.4.8"], &["root", "sales"]);
    let welcome = device.channel(ChannelHello { digest, ..request }).await.welcome;
    assert_eq!((welcome.outcome(), welcome.in_sync, welcome.connection_generation), (Outcome::Unchanged, true, 2));
    assert_eq!(welcome.next_sync_after.unwrap().seconds, 24 * 3_600);
    assert_eq!(muster.database().audit().await.len(), 2);
}

#[tokio::test]
async fn a_channel_begins_with_hello_and_has_only_one() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let heartbeat = Up::Heartbeat(v1::ChannelDeviceHeartbeat::default());
    let refusal = muster.refusal(device.try_channel(heartbeat).await.map(|_| tonic::Response::new(()))).await;
    assert_eq!(refusal.reason, Reason::ChannelHelloRequired);
    let malformed = ChannelHello { serial_number: "short".to_owned(), digest: vec![1], ..Default::default() };
    let refusal =
        muster.refusal(device.try_channel(Up::Hello(malformed)).await.map(|_| tonic::Response::new(()))).await;
    assert_eq!(
        (refusal.reason, refusal.fields.join(" ")),
        (Reason::SerialNumberMalformed, "serial_number digest".to_owned())
    );
    let other = device.try_channel(Up::Hello(hello(B))).await.map(|_| tonic::Response::new(()));
    assert_eq!(muster.refusal(other).await.reason, Reason::IdentityMismatch);

    let mut line = device.channel(hello(A)).await;
    line.say(Up::Hello(hello(A))).await;
    let (goodbye, end) = line.goodbye().await;
    assert_eq!(goodbye.reason, "CHANNEL_HELLO_REQUIRED");
    assert_eq!(muster.refusal(end).await.reason, Reason::ChannelHelloRequired);
    assert!(offline_or_leaving(&muster).await);
}

#[tokio::test]
async fn a_device_whose_sync_found_no_room_is_told_when_to_come_again() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    let mut line = device.channel(hello(A)).await;
    let locked = muster.database().lock().await;
    let refusal = muster.refusal(device.devices().sync(sync(A, &["root", "sales"])).await).await;
    assert_eq!(refusal.reason, Reason::StoreUnavailable);
    let Ok(Some(Down::Pacing(pacing))) = line.next().await else { panic!("nothing was said of pacing") };
    let wait = pacing.next_sync_after.unwrap();
    assert!((2..4).contains(&wait.seconds), "{wait:?}");
    // What is refused for good is not repeated, and so not paced.
    Database::unlock(locked).await;
    let refusal = muster.refusal(device.devices().sync(sync(A, &["a b"])).await).await;
    assert_eq!(refusal.reason, Reason::VdomNameMalformed);
    device.devices().sync(sync(A, &["root", "sales"])).await.unwrap();
    line.say(Up::Heartbeat(v1::ChannelDeviceHeartbeat::default())).await;
    assert!(matches!(line.next().await, Ok(Some(Down::Heartbeat(_)))));
}

/// Whether the channel of the device is gone, whatever the grace period says.
async fn offline_or_leaving(muster: &Muster) -> bool {
    let request = v1::RequestSyncRequest { name: format!("devices/{A}"), ..Default::default() };
    eventually(async || {
        let refusal = muster.admin().device_admin().request_sync(request.clone()).await.err()?;
        Some(Refusal::read(&refusal).reason == Reason::DeviceOffline)
    })
    .await
}

#[tokio::test]
async fn heartbeats_are_answered_and_the_clock_of_the_device_is_measured_and_shown() {
    let muster = Muster::start().await;
    let mut feed = muster.admin().watch(following()).await;
    let mut line = muster.device(A).channel(hello(A)).await;
    assert_eq!(line.heartbeat(None).await.clock_skew, None);
    let answer = line.heartbeat(Some(timestamp(3_600))).await;
    let skew = answer.clock_skew.unwrap().seconds;
    assert!((3_590..=3_600).contains(&skew), "{skew}");
    assert_eq!(presence(&muster, A).await.clock_skew, answer.clock_skew);
    let event = feed.event(|event| event.reason == "CLOCK_SKEWED").await;
    assert!(event.message.contains("s ahead") && event.serial_number == A, "{event:?}");
    let answer = line.heartbeat(Some(timestamp(-7_200))).await;
    assert!((-7_202..=-7_190).contains(&answer.clock_skew.unwrap().seconds));
    line.heartbeat(Some(timestamp(0))).await;
    feed.event(|event| event.message == "the clock of the device is right again").await;
}

#[tokio::test]
async fn lines_of_the_daemons_of_a_device_reach_the_feed() {
    let muster = Muster::start().await;
    let mut feed = muster.admin().watch(following()).await;
    let mut line = muster.device(A).channel(hello(A)).await;
    let at = timestamp(-1);
    let said = |component: &str, text: &str| v1::ChannelDebugLine {
        component: component.to_owned(),
        level: 2,
        device_time: Some(at),
        text: text.to_owned(),
        vdom: "root".to_owned(),
    };
    let lines =
        vec![said("fnbamd", "[1906] handle_req-Rcvd auth req\u{1b}[2J"), said("NO NAME", "x"), said("httpsd", "y")];
    line.say(Up::DebugLines(v1::ChannelDebugLines { lines, lost: 4 })).await;
    line.heartbeat(None).await;
    let lost = feed.event(|event| event.reason == "DEBUG_LINES_LOST").await;
    assert!(lost.message.starts_with("4 lines lost (4 by the device itself)"), "{lost:?}");
    let event = feed.event(|event| event.component == "fnbamd").await;
    assert_eq!(event.message, "[1906] handle_req-Rcvd auth req\\u{1b}[2J");
    assert_eq!((event.serial_number.as_str(), event.vdom.as_str(), event.level), (A, "root", 2));
    assert_eq!((event.device_time, event.caller.as_str()), (Some(at), "device:FG101FTK19002788"));
    assert_eq!(event.operation_id, line.welcome.channel_operation_id);
    feed.event(|event| event.component == "httpsd").await;
    let lost = feed.event(|event| event.reason == "DEBUG_LINES_LOST").await;
    assert!(lost.message.starts_with("1 lines lost (1 malformed: component must be"), "{lost:?}");

    let lines = vec![said("fnbamd", "flood"); 3_000];
    line.say(Up::DebugLines(v1::ChannelDebugLines { lines, lost: 0 })).await;
    line.heartbeat(None).await;
    let lost = feed.event(|event| event.reason == "DEBUG_LINES_LOST").await;
    assert!(lost.message.contains("above 100 a second"), "{lost:?}");
}

#[tokio::test]
async fn a_device_is_offline_at_once_when_it_says_goodbye_and_else_after_the_grace_period() {
    let muster = Muster::start_with(|settings| settings.channels.grace = FAST).await;
    let mut feed = muster.admin().watch(following()).await;
    let line = muster.device(A).channel(hello(A)).await;
    feed.event(|event| event.message == "online: channel 1 is open").await;
    line.say(Up::Goodbye(v1::ChannelDeviceGoodbye { reason: "reboot".to_owned() })).await;
    line.hang_up().await.unwrap();
    let event = feed.event(|event| event.message.starts_with("offline")).await;
    assert_eq!(event.message, "offline: it said goodbye (reboot); channel 1");
    assert!(!presence(&muster, A).await.online);

    let line = muster.device(A).channel(hello(A)).await;
    feed.event(|event| event.message == "online: channel 2 is open").await;
    let channel = line.welcome.channel_operation_id.clone();
    drop(line);
    let ended = feed.event(|event| event.operation_id == channel && event.terminal).await;
    assert_eq!(ended.step, "Channel");
    feed.event(|event| event.message.starts_with("offline: not back within")).await;
    let presence = presence(&muster, A).await;
    assert_eq!((presence.online, presence.connection_generation), (false, 2));
}

#[tokio::test]
async fn a_second_channel_supersedes_the_first_whose_end_changes_nothing() {
    let muster = Muster::start_with(|settings| settings.channels.grace = FAST).await;
    let mut first = muster.device(A).channel(hello(A)).await;
    let mut second = muster.device(A).channel(ChannelHello { boot_id: "boot-2".to_owned(), ..hello(A) }).await;
    assert_eq!(second.welcome.connection_generation, 2);
    let (goodbye, end) = first.goodbye().await;
    assert_eq!((goodbye.reason.as_str(), goodbye.reconnect_after), ("CHANNEL_SUPERSEDED", None));
    assert_eq!(muster.refusal(end).await.reason, Reason::ChannelSuperseded);
    drop(first);
    // Longer than the grace period.
    tokio::time::timeout(FAST * 4, second.next()).await.unwrap_err();
    second.heartbeat(None).await;
    let presence = presence(&muster, A).await;
    assert_eq!((presence.online, presence.boot_id.as_str()), (true, "boot-2"));
}

#[tokio::test]
async fn a_channel_on_which_nothing_is_heard_is_ended() {
    let muster = fast().await;
    let mut line = muster.device(A).channel(hello(A)).await;
    for _ in 0..5 {
        tokio::time::timeout(FAST, line.next()).await.unwrap_err();
        line.heartbeat(None).await;
    }
    let (goodbye, end) = line.goodbye().await;
    assert_eq!((goodbye.reason.as_str(), goodbye.reconnect_after.unwrap().seconds), ("CHANNEL_SILENT", 0));
    assert_eq!(muster.refusal(end).await.reason, Reason::ChannelSilent);
    offline(&muster, A).await;
}

#[tokio::test]
async fn heartbeats_carry_a_channel_through_a_proxy_that_cuts_what_is_quiet() {
    let muster = fast().await;
    let proxy = Proxy::start(muster.address(), FAST * 3).await;
    let mut line = muster.device_by(proxy.address, A).channel(hello(A)).await;
    for _ in 0..10 {
        tokio::time::timeout(FAST, line.next()).await.unwrap_err();
        line.heartbeat(None).await;
    }
    assert_eq!(proxy.cuts(), 0);
    // And without them it is cut, and the device is offline in the end.
    let mut quiet = muster.device_by(proxy.address, B).channel(hello(B)).await;
    while quiet.next().await.is_ok_and(|said| said.is_some()) {}
    offline(&muster, B).await;
    drop(line);
}

#[tokio::test]
async fn an_admin_has_a_device_sync_now() {
    let muster = Muster::start().await;
    let mut admin = muster.admin().device_admin();
    let request = |validate_only| v1::RequestSyncRequest {
        name: format!("devices/{A}"),
        reason: "the list looks old".to_owned(),
        sync_plan_id: "p1".to_owned(),
        validate_only,
        ..Default::default()
    };
    assert_eq!(muster.refusal(admin.request_sync(request(false)).await).await.reason, Reason::DeviceUnknown);
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    assert_eq!(muster.refusal(admin.request_sync(request(false)).await).await.reason, Reason::DeviceOffline);

    let mut line = muster.device(A).channel(hello(A)).await;
    let plan = admin.request_sync(request(true)).await.unwrap().into_inner();
    assert!(!plan.plan_id.is_empty());
    let answer = admin.request_sync(request(false)).await.unwrap().into_inner();
    assert!(answer.presence.unwrap().online);
    let Some(Down::SyncNow(sync_now)) = line.next().await.unwrap() else { panic!("not told") };
    let said = (sync_now.operation_id.as_str(), sync_now.reason.as_str(), sync_now.plan_id.as_str());
    assert_eq!(said, (answer.operation_id.as_str(), "the list looks old", "p1"));
    let audited = muster.database().audit().await;
    assert_eq!(audited.last().unwrap().operation_id, answer.operation_id);

    let mut simple = muster.device(A).channel(ChannelHello { features: vec![], ..hello(A) }).await;
    let refusal = muster.refusal(admin.request_sync(request(false)).await).await;
    assert_eq!(refusal.reason, Reason::ChannelFeatureMissing);
    simple.heartbeat(None).await;
}

#[tokio::test]
async fn an_admin_asks_a_device_for_debug_lines_now_or_when_it_comes() {
    let muster = Muster::start().await;
    let mut admin = muster.admin().device_admin();
    let request = v1::SetDeviceDebugRequest {
        name: format!("devices/{A}"),
        components: vec!["fnbamd".to_owned(), "httpsd".to_owned()],
        duration: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        ..Default::default()
    };
    let bad = v1::SetDeviceDebugRequest { components: vec!["F".to_owned()], level_mask: Some(256), ..request.clone() };
    assert_eq!(muster.refusal(admin.set_device_debug(bad).await).await.fields, ["components[0]", "level_mask"]);
    assert_eq!(muster.refusal(admin.set_device_debug(request.clone()).await).await.reason, Reason::DeviceUnknown);
    muster.device(A).devices().register(register(A, &[])).await.unwrap();
    let answer = admin.set_device_debug(request.clone()).await.unwrap().into_inner();
    assert!(!answer.delivered);
    let mut line = muster.device(A).channel(hello(A)).await;
    let Some(Down::Debug(debug)) = line.next().await.unwrap() else { panic!("not told") };
    assert_eq!((debug.components.len(), debug.level_mask, debug.operation_id), (2, 255, answer.operation_id));
    assert!((595..=600).contains(&debug.duration.unwrap().seconds));
    assert!(presence(&muster, A).await.debug_expire_time.is_some());

    let off = v1::SetDeviceDebugRequest { level_mask: Some(0), ..request };
    assert!(admin.set_device_debug(off).await.unwrap().into_inner().delivered);
    let Some(Down::Debug(debug)) = line.next().await.unwrap() else { panic!("not told") };
    assert_eq!(debug.level_mask, 0);
    assert_eq!(presence(&muster, A).await.debug_expire_time, None);
}

#[tokio::test]
async fn a_device_that_is_deleted_is_told_so() {
    let muster = Muster::start().await;
    let mut line = muster.device(A).channel(hello(A)).await;
    let plan = v1::DeleteDeviceRequest { validate_only: true, ..delete_device(A) };
    muster.admin().device_admin().delete_device(plan).await.unwrap();
    line.heartbeat(None).await;
    let answer = muster.admin().device_admin().delete_device(delete_device(A)).await.unwrap().into_inner();
    let Some(Down::Removed(removed)) = line.next().await.unwrap() else { panic!("not told") };
    assert_eq!((removed.operation_id.as_str(), removed.mode()), (answer.operation_id.as_str(), v1::DeleteMode::Evict));
    // It may return, and so its channel goes on.
    line.heartbeat(None).await;
    assert_eq!(muster.device(A).channel(hello(A)).await.welcome.outcome(), Outcome::Restored);
}

#[tokio::test]
async fn a_ban_ends_the_channel_and_keeps_the_device_out() {
    let muster = Muster::start().await;
    for (mode, reason) in [(v1::DeleteMode::Retire, Reason::DeviceRetired), (v1::DeleteMode::Ban, Reason::DeviceBanned)]
    {
        let serial = if mode == v1::DeleteMode::Ban { A } else { B };
        let mut line = muster.device(serial).channel(hello(serial)).await;
        let request = v1::DeleteDeviceRequest { mode: mode.into(), why: "stolen".to_owned(), ..delete_device(serial) };
        let answer = muster.admin().device_admin().delete_device(request).await.unwrap().into_inner();
        let Some(Down::Removed(removed)) = line.next().await.unwrap() else { panic!("not told") };
        let said = (removed.operation_id.as_str(), removed.mode(), removed.why.as_str());
        assert_eq!(said, (answer.operation_id.as_str(), mode, "stolen"));
        let (goodbye, end) = line.goodbye().await;
        assert_eq!((goodbye.reason.as_str(), goodbye.reconnect_after), (reason.as_str(), None));
        assert_eq!(muster.refusal(end).await.reason, reason);
        let again = muster.device(serial).try_channel(Up::Hello(hello(serial))).await;
        assert_eq!(muster.refusal(again.map(|_| tonic::Response::new(()))).await.reason, reason);
    }
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_when_to_come_back() {
    let muster = Muster::start().await;
    let mut line = muster.device(A).channel(hello(A)).await;
    muster.begin_to_stop();
    let (goodbye, end) = line.goodbye().await;
    assert_eq!(goodbye.reason, "SHUTTING_DOWN");
    let after = Duration::try_from(goodbye.reconnect_after.unwrap()).unwrap();
    assert!((Duration::from_millis(500)..=Duration::from_millis(1_500)).contains(&after), "{after:?}");
    let refusal = Refusal::of(end);
    assert_eq!((refusal.reason, refusal.retry_after), (Reason::ShuttingDown, Some(after)));
    muster.stop().await;
}

#[tokio::test]
async fn a_channel_ends_with_the_trust_in_its_certificate() {
    let muster = fast().await;
    let certificate = muster.device_ca().issue(A, &[], -3_600..2);
    let mut line = muster.with_certificate(&certificate).channel(hello(A)).await;
    let end = loop {
        let beat = Up::Heartbeat(v1::ChannelDeviceHeartbeat::default());
        line.say(beat).await;
        match line.next().await.unwrap() {
            Some(Down::Heartbeat(_)) => tokio::time::timeout(FAST, std::future::pending::<()>()).await.unwrap_err(),
            Some(Down::Goodbye(goodbye)) => break goodbye,
            other => panic!("{other:?}"),
        };
    };
    assert_eq!(end.reason, "CERTIFICATE_EXPIRED");
}

#[tokio::test]
async fn a_relay_opens_channels_for_its_devices_and_admins_list_who_is_online() {
    let muster = Muster::start().await;
    let relay = muster.relay("east", &["FG200FT9"]);
    let mut lines = Vec::new();
    for number in 0..5 {
        lines.push(relay.channel(hello(&fleet(number))).await);
    }
    let refused = relay.try_channel(Up::Hello(hello(A))).await.map(|_| tonic::Response::new(()));
    assert_eq!(muster.refusal(refused).await.reason, Reason::IdentityMismatch);
    let _alone = muster.device(A).channel(hello(A)).await;
    let goodbye = lines.pop().unwrap();
    goodbye.say(Up::Goodbye(v1::ChannelDeviceGoodbye::default())).await;
    goodbye.hang_up().await.unwrap();

    let admin = muster.admin();
    let list = async |filter: &str, page_token: String| {
        let request = v1::ListPresenceRequest { page_size: 2, page_token, filter: filter.to_owned() };
        admin.device_admin().list_presence(request).await.unwrap().into_inner()
    };
    let filter = r#"online = "true" AND relay = "east""#;
    let first = list(filter, String::new()).await;
    assert_eq!((first.devices.len(), first.total_size, first.online_size), (2, 4, 5));
    let second = list(filter, first.next_page_token).await;
    assert_eq!(second.devices[1].name, format!("devices/{}", fleet(3)));
    assert!(second.next_page_token.is_empty());
    assert_eq!(list(r#"online = "false""#, String::new()).await.devices[0].name, format!("devices/{}", fleet(4)));
}
