//! Input that no honest caller sends: each is refused with a reason, or does nothing out of the ordinary.

use std::time::Duration;

use muster_proto::v1::{self, StreamDebugLogsRequest, Vdom, VdomList};
use muster_proto::{Cursor, Reason};
use muster_tests::requests::*;
use muster_tests::{Descriptors, Muster, Refusal, within};
use prost::Message as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

const SQL: &str = "'; DROP TABLE device; --";
const CLEAR_SCREEN: &str = "\u{1b}[2J";

#[tokio::test]
async fn a_malformed_serial_number_is_refused_by_every_call_of_a_device() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let long = "F".repeat(300);
    for serial in [
        "",
        "FG101FTK1900278",
        "FG101FTK190027888",
        "FG101FTK1900278!",
        "FG101FTK1900278\u{e9}",
        CLEAR_SCREEN,
        SQL,
        &long,
    ] {
        for refusal in [
            muster.refusal(device.register(register(serial, &[])).await).await,
            muster.refusal(device.sync(sync(serial, &["root"])).await).await,
            muster.refusal(device.delete(delete_whole(serial)).await).await,
        ] {
            assert_eq!(refusal.reason, Reason::SerialNumberMalformed, "{serial:?}");
            assert_eq!(refusal.fields, ["serial_number"], "{serial:?}");
        }
    }
}

#[tokio::test]
async fn a_malformed_vdom_name_is_refused_and_nothing_is_done() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let long = "v".repeat(300);
    for (name, reason) in [
        ("", Reason::VdomNameMalformed),
        (long.as_str(), Reason::VdomNameMalformed),
        ("dmz\n", Reason::VdomNameMalformed),
        (CLEAR_SCREEN, Reason::VdomNameMalformed),
        ("dmz\0", Reason::VdomNameMalformed),
        ("d\u{202e}mz", Reason::VdomNameMalformed),
        (SQL, Reason::VdomNameMalformed),
        ("sales", Reason::VdomDuplicate),
    ] {
        let refusal = muster.refusal(device.register(register(A, &["sales", name])).await).await;
        assert_eq!((refusal.reason, refusal.fields), (reason, vec!["vdoms[1].name".to_owned()]), "{name:?}");
        let refusal = muster.refusal(device.sync(sync(A, &["root", "sales", name])).await).await;
        assert_eq!((refusal.reason, refusal.fields), (reason, vec!["full_list.vdoms[2].name".to_owned()]), "{name:?}");
        if reason == Reason::VdomNameMalformed {
            let refusal = muster.refusal(device.delete(delete_vdom(A, name)).await).await;
            assert_eq!((refusal.reason, refusal.fields), (reason, vec!["vdom".to_owned()]), "{name:?}");
        }
    }
    assert!(muster.database().audit().await.is_empty());
}

#[tokio::test]
async fn a_list_of_501_vdoms_is_refused() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let vdoms = many_vdoms(501);
    let request = v1::RegisterRequest { vdoms: vdoms.clone(), ..register(A, &[]) };
    let refusal = muster.refusal(device.register(request).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::VdomListTooLong, vec!["vdoms".to_owned()]));
    let request = v1::SyncRequest { full_list: Some(VdomList { vdoms }), ..sync(A, &[]) };
    let refusal = muster.refusal(device.sync(request).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::VdomListTooLong, vec!["full_list.vdoms".to_owned()]));
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    let muster = Muster::start().await;
    let request = v1::SyncRequest {
        info: Some(info(&"m".repeat(65), CLEAR_SCREEN, "a\u{2028}b")),
        base_generation: Some(-1),
        digest: vec![1; 31],
        ..sync("short", &["", "dmz", "dmz"])
    };
    let refusal = muster.refusal(muster.device(A).devices().sync(request).await).await;
    let expected = [
        "serial_number",
        "info.model",
        "info.hostname",
        "info.firmware",
        "full_list.vdoms[0].name",
        "full_list.vdoms[2].name",
        "digest",
        "base_generation",
    ];
    assert_eq!(refusal.fields, expected);
    assert_eq!(refusal.reason, Reason::SerialNumberMalformed);
}

#[tokio::test]
async fn a_request_that_leaves_out_what_matters_changes_nothing() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales"])).await.unwrap();
    let empty = v1::SyncRequest { serial_number: A.to_owned(), ..Default::default() };
    let refusal = muster.refusal(device.sync(empty).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::VdomListMissing, vec!["full_list".to_owned()]));
    let refusal = muster.refusal(device.sync(sync(A, &[])).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::VdomListEmpty, vec!["full_list".to_owned()]));
    let forgotten = v1::DeleteRequest { serial_number: A.to_owned(), ..Default::default() };
    let refusal = muster.refusal(device.delete(forgotten).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::TargetMissing, vec!["target".to_owned()]));
    assert_eq!(names(&muster.admin().get_device(A).await.vdoms), ["root", "sales"]);
}

#[tokio::test]
async fn a_request_of_5_mib_is_refused_and_the_connection_goes_on() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let huge = v1::RegisterRequest { info: Some(info("", &"h".repeat(5 << 20), "")), ..register(A, &[]) };
    assert_eq!(muster.refusal(device.register(huge).await).await.reason, Reason::MessageTooLarge);
    device.register(register(A, &[])).await.unwrap();
}

#[tokio::test]
async fn fields_of_a_newer_protocol_are_ignored() {
    let muster = Muster::start().await;
    let mut message = register(A, &["sales"]).encode_to_vec();
    // A text, a number and a group of a later version.
    message.extend(b"\xf2\x3f\x05hello\xf8\x3f\x96\x01\xfb\x3f\xfc\x3f");
    let answer = muster.device(A).raw("muster.v1.DeviceService/Register", message).await.unwrap().into_inner();
    let answer = v1::RegisterResponse::decode(answer).unwrap();
    assert_eq!(items(&answer.vdoms), ["root created", "sales created"]);
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    for bytes in [
        // A length beyond the end, a wrong wire type, no UTF-8, an unfinished number, field number 0, a group without end.
        &b"\x0a\xff\xff\xff\xff\x0fx"[..],
        b"\x08\x01",
        b"\x0a\x02\xc3\x28",
        b"\x80",
        b"\x02\x00",
        b"\xfb\x3f",
    ] {
        let result = device.raw("muster.v1.DeviceService/Register", bytes.to_vec()).await;
        assert_eq!(muster.refusal(result).await.reason, Reason::MessageMalformed, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_told_so() {
    let muster = Muster::start().await;
    for method in ["muster.v1.DeviceService/Reboot", "muster.v2.DeviceService/Register", "nothing/at-all"] {
        let result = muster.device(A).raw(method, vec![]).await;
        let refusal = muster.refusal(result).await;
        assert_eq!(refusal.reason, Reason::MethodUnknown);
        assert!(refusal.message.contains(method), "{}", refusal.message);
    }
}

#[tokio::test]
async fn a_cursor_of_nowhere_is_refused() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let ahead = {
        let status = admin.debug_logs().get_feed_status(v1::GetFeedStatusRequest {}).await.unwrap().into_inner();
        let latest: Cursor = status.latest_cursor.parse().unwrap();
        Cursor { position: latest.position + 1_000_000, ..latest }.to_string()
    };
    for cursor in ["nonsense", "c", SQL, CLEAR_SCREEN, &"c0".repeat(5_000), &ahead] {
        let request = StreamDebugLogsRequest { cursor: cursor.to_owned(), ..Default::default() };
        let refusal = muster.refusal(admin.debug_logs().stream_debug_logs(request).await).await;
        assert_eq!((refusal.reason, refusal.fields), (Reason::CursorMalformed, vec!["cursor".to_owned()]), "{cursor}");
    }
}

#[tokio::test]
async fn a_feed_request_that_contradicts_itself_is_told_which_fields_conflict() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let refused = async |request: StreamDebugLogsRequest| {
        muster.refusal(admin.debug_logs().stream_debug_logs(request).await).await
    };
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });

    let starts = StreamDebugLogsRequest { tail: Some(0), since: time(1), earliest: true, ..Default::default() };
    let refusal = refused(starts).await;
    assert_eq!(
        (refusal.reason, refusal.fields),
        (Reason::FieldsConflict, vec!["since".to_owned(), "earliest".to_owned()])
    );
    assert!(refusal.message.contains("since conflicts with tail"), "{}", refusal.message);
    let backwards = StreamDebugLogsRequest { since: time(10), until: time(5), ..Default::default() };
    let refusal = refused(backwards).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::FieldsConflict, vec!["until".to_owned()]));
    let idle = StreamDebugLogsRequest { heartbeat_interval: second, ..Default::default() };
    let refusal = refused(idle).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::FieldsConflict, vec!["heartbeat_interval".to_owned()]));

    let filter = v1::DebugFilter { level_mask: Some(256), text: "t".repeat(300), ..Default::default() };
    let fields = StreamDebugLogsRequest {
        since: time(i64::MAX),
        follow: true,
        heartbeat_interval: Some(prost_types::Duration { seconds: 26, nanos: 0 }),
        include: vec![filter, v1::DebugFilter::default()],
        exclude: vec![v1::DebugFilter::default(); 65],
        ..Default::default()
    };
    let refusal = refused(fields).await;
    let expected = ["since", "heartbeat_interval", "include[0].text", "include[0].level_mask", "include[1]", "exclude"];
    assert_eq!((refusal.reason, refusal.fields), (Reason::FieldInvalid, expected.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn sql_is_text_like_any_other_and_kept_to_the_letter() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    let texts = [SQL, "\" OR \"\"=\"", "Robert'); DELETE FROM auth_client;--"];
    let request = v1::RegisterRequest { info: Some(info(texts[0], texts[1], texts[2])), ..register(A, &[]) };
    device.register(request).await.unwrap();
    let held = muster.admin().get_device(A).await.device.unwrap();
    assert_eq!(held.info, Some(info(texts[0], texts[1], texts[2])));
    let filter = format!("hostname = \"x\" AND model = \"{SQL}\"");
    let request = v1::ListDevicesRequest { filter, ..Default::default() };
    assert_eq!(muster.admin().device_admin().list_devices(request).await.unwrap().into_inner().total_size, 0);
    let request = v1::ListDevicesRequest { filter: format!("model = \"{SQL}\""), ..Default::default() };
    assert_eq!(muster.admin().device_admin().list_devices(request).await.unwrap().into_inner().total_size, 1);
}

/// The bytes of a request that is in order.
fn in_order(rpc: &str) -> Vec<u8> {
    match rpc {
        "muster.v1.DeviceService/Register" => register(A, &["sales"]).encode_to_vec(),
        "muster.v1.DeviceService/Sync" => sync(A, &["root", "sales"]).encode_to_vec(),
        "muster.v1.DeviceService/Delete" => delete_vdom(A, "dmz").encode_to_vec(),
        "muster.v1.DeviceService/AddUser" => add_user(A, "sales", "alice").encode_to_vec(),
        "muster.v1.DeviceService/UpdateUser" => update_user(A, "sales", "alice").encode_to_vec(),
        "muster.v1.DeviceService/SyncUsers" => {
            let begin = v1::SyncUsersBegin { target: target(A, "sales"), ..Default::default() };
            v1::SyncUsersRequest { kind: Some(v1::sync_users_request::Kind::Begin(begin)) }.encode_to_vec()
        }
        "muster.v1.DeviceService/DeleteUser" => delete_user(A, "sales", "alice").encode_to_vec(),
        "muster.v1.DeviceService/Channel" => channel_hello(A).encode_to_vec(),
        _ => Vec::new(),
    }
}

/// Whether a message shows a character that acts on a terminal.
fn acts(message: &impl std::fmt::Debug) -> bool {
    // Debug writes such a character as an escape, and a backslash that stands in the text as two.
    let shown = format!("{message:?}").replace(r"\\", "");
    [r"\u{1b}", r"\0", r"\r", r"\u{9b}", r"\u{202e}"].iter().any(|escape| shown.contains(escape))
}

#[tokio::test]
async fn hostile_text_in_any_field_is_refused_or_made_safe_and_the_tables_stay_whole() {
    let muster = Muster::start().await;
    let (admin, relay) = (muster.admin(), muster.relay("fmg-1", &[]));
    relay.devices().register(register(A, &["sales", "dmz"])).await.unwrap();
    let before = muster.database().soundness().await;
    assert_eq!(before.1, "ok");
    assert!(acts(&CLEAR_SCREEN) && !acts(&muster_proto::printable(CLEAR_SCREEN)), "the check sees what it looks for");

    let descriptors = Descriptors::default();
    let mut tried = 0;
    for rpc in descriptors.rpcs() {
        let caller = if rpc.name.starts_with("muster.v1.DeviceService/") { &relay } else { &admin };
        for field in descriptors.text_fields(&rpc) {
            for text in [
                "\u{1b}]0;owned\u{7}\u{1b}[2J",
                "\u{9b}31m\r\0\u{202e}",
                "' OR '1'='1'; DROP TABLE auth_client; --",
                "\"); DELETE FROM audit; --",
                "%s%n${jndi:ldap://x}../../etc/passwd",
                &"\u{1f4a3}".repeat(2_000),
            ] {
                let message = [in_order(&rpc.name), field.set(text)].concat();
                // Whether it is taken depends on the field; what is said of it is safe in any case.
                if let Err(status) = caller.raw(&rpc.name, message).await {
                    let refusal = Refusal::read(&status);
                    assert!(
                        !matches!(refusal.reason, Reason::Internal | Reason::StoreRefused),
                        "{rpc:?} {field:?}: {status:?}"
                    );
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");

    let devices = v1::ListDevicesRequest { show_deleted: true, ..Default::default() };
    let devices = admin.device_admin().list_devices(devices).await.unwrap().into_inner();
    let clients = v1::ListAuthClientsRequest { show_deleted: true, ..Default::default() };
    let clients = admin.auth_clients().list_auth_clients(clients).await.unwrap().into_inner();
    // Web apps have no serial number, and may have any printable name.
    let of_device = clients.auth_clients.iter().filter(|client| !client.serial_number.is_empty()).count();
    assert_eq!((devices.total_size, of_device), (1, 3));
    assert!(!acts(&devices) && !acts(&clients), "{devices:?} {clients:?}");
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = admin.watch(everything).await.events().await;
    assert!(events.len() > tried);
    for event in events {
        assert!(!acts(&event), "{event:?}");
    }
    let stream = StreamDebugLogsRequest {
        include: vec![v1::DebugFilter { vdom: CLEAR_SCREEN.to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let warning = admin.watch(stream).await.opened.warning;
    assert!(warning.contains(r"\u{1b}[2J") && !acts(&warning), "{warning:?}");
    assert_eq!(muster.database().soundness().await, before);
}

#[tokio::test]
async fn metadata_beyond_the_limit_is_refused_and_harms_nobody() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let flooding = admin.with_authorization(&format!("Bearer {}", "a".repeat(64 << 10)));
    let request = v1::ListAuthClientsRequest::default;
    within(flooding.auth_clients().list_auth_clients(request())).await.unwrap_err();
    within(admin.auth_clients().list_auth_clients(request())).await.unwrap();
}

#[tokio::test]
async fn peers_that_say_nothing_keep_nobody_out_and_do_not_hold_the_stop() {
    let muster = Muster::start_with(|settings| settings.grace = Duration::from_millis(300)).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(muster.address()).await.unwrap());
    }
    within(muster.device(A).devices().register(register(A, &[]))).await.unwrap();
    let began = Instant::now();
    muster.stop().await;
    // A handshake may take 10 seconds; the stop does not wait for one.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(silent);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_told_of_in_the_feed() {
    let muster = Muster::start().await;
    let follow = StreamDebugLogsRequest { follow: true, ..Default::default() };
    let mut feed = muster.admin().watch(follow).await;
    let mut peer = TcpStream::connect(muster.address()).await.unwrap();
    peer.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let event = feed.event(|event| event.step == "handshake").await;
    assert!(event.terminal && event.message.contains("the peer does not speak TLS"), "{event:?}");
    assert!(event.message.ends_with("connect with TLS (https://)"), "{event:?}");
}

#[tokio::test]
async fn a_vdom_that_is_named_twice_in_a_long_list_is_found() {
    let muster = Muster::start().await;
    let mut list = many_vdoms(499);
    list.push(Vdom { name: "v0".to_owned() });
    let request = v1::SyncRequest { full_list: Some(VdomList { vdoms: list }), ..sync(A, &[]) };
    let refusal = muster.refusal(muster.device(A).devices().sync(request).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::VdomDuplicate, vec!["full_list.vdoms[499].name".to_owned()]));
}
