//! What admins call: lists, single auth clients and devices, deletions.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::Reason;
use muster_proto::v1::{self, LifecycleState, Outcome};
use muster_tests::Muster;
use muster_tests::requests::*;

fn auth_clients(filter: &str, order_by: &str) -> v1::ListAuthClientsRequest {
    v1::ListAuthClientsRequest { filter: filter.to_owned(), order_by: order_by.to_owned(), ..Default::default() }
}

fn devices(filter: &str, order_by: &str) -> v1::ListDevicesRequest {
    v1::ListDevicesRequest { filter: filter.to_owned(), order_by: order_by.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn the_pages_of_a_walk_list_every_auth_client_once_though_others_come_and_go() {
    let muster = Muster::start().await;
    // Even numbers first, so that later ones land between them.
    let mut relay = muster.relay("fmg-1", &[]).devices();
    for number in (0..20).step_by(2) {
        relay.register(register(&fleet(number), &["sales", "dmz"])).await.unwrap();
    }
    let mut next = 1;
    for order in ["", "id desc", "serial_number", "serial_number desc", "vdom", "vdom desc"] {
        let mut request = v1::ListAuthClientsRequest { page_size: 7, ..auth_clients(r#"vdom = "*""#, order) };
        let everything = v1::ListAuthClientsRequest { page_size: 1_000, ..request.clone() };
        let admin = muster.admin();
        let before: BTreeSet<_> = admin.shown(everything.clone()).await.into_iter().collect();
        let mut walked = Vec::new();
        loop {
            let page = admin.auth_clients().list_auth_clients(request.clone()).await.unwrap().into_inner();
            assert!(page.auth_clients.len() <= 7);
            walked.extend(page.auth_clients.into_iter().map(|client| client.display_name));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            if walked.len() < 21 {
                relay.register(register(&fleet(next), &["sales", "voice"])).await.unwrap();
                next += 2;
            }
        }
        let distinct: BTreeSet<_> = walked.iter().cloned().collect();
        assert_eq!(distinct.len(), walked.len(), "{order}: something was listed twice");
        assert!(before.is_subset(&distinct), "{order}: something was passed over");
        let now = admin.shown(everything).await;
        let in_order: Vec<_> = now.into_iter().filter(|name| distinct.contains(name)).collect();
        assert_eq!(walked, in_order, "{order}");
    }
}

#[tokio::test]
async fn the_pages_of_a_walk_list_every_device_once_in_order() {
    let muster = Muster::start().await;
    let mut relay = muster.relay("fmg-1", &[]).devices();
    for number in 0..11 {
        relay.register(register(&fleet(number), &[])).await.unwrap();
    }
    let admin = muster.admin();
    for (order, first) in [("", 0), ("id desc", 10), ("serial_number asc", 0), ("serial_number desc", 10)] {
        let mut request = v1::ListDevicesRequest { page_size: 4, ..devices("", order) };
        let mut walked = Vec::new();
        for expected in [4, 4, 3] {
            let page = admin.device_admin().list_devices(request.clone()).await.unwrap().into_inner();
            assert_eq!((page.devices.len(), page.total_size), (expected, 11));
            walked.extend(page.devices.into_iter().map(|device| device.serial_number));
            request.page_token = page.next_page_token;
        }
        assert_eq!(request.page_token, "");
        assert_eq!(walked[0], fleet(first), "{order}");
        assert_eq!(walked.into_iter().collect::<BTreeSet<_>>().len(), 11, "{order}");
    }
}

#[tokio::test]
async fn a_page_has_50_items_unless_asked_and_never_more_than_1000() {
    let muster = Muster::start().await;
    let mut relay = muster.relay("fmg-1", &[]).devices();
    for number in 0..3 {
        let request = v1::RegisterRequest { vdoms: many_vdoms(499), ..register(&fleet(number), &[]) };
        relay.register(request).await.unwrap();
    }
    let admin = muster.admin();
    for (page_size, expected) in [(0, 50), (3, 3), (1_000, 1_000), (i32::MAX, 1_000)] {
        let request = v1::ListAuthClientsRequest { page_size, ..Default::default() };
        let page = admin.auth_clients().list_auth_clients(request).await.unwrap().into_inner();
        assert_eq!((page.auth_clients.len(), page.total_size), (expected, 1_500));
    }
}

#[tokio::test]
async fn a_filter_selects_and_is_counted() {
    let muster = Muster::start().await;
    let mut relay = muster.relay("fmg-1", &[]).devices();
    for (serial, vdoms) in [(A, &["sales", "dmz"][..]), (B, &["sales-2", "Sales"]), (VM, &["sales"])] {
        relay.register(register(serial, vdoms)).await.unwrap();
    }
    let admin = muster.admin();
    for (filter, expected) in [
        (r#"vdom = "sales""#, &["FG101FTK19002788-sales", "FGVM01TM00000001-sales"][..]),
        (r#"vdom = "sales*" AND serial_number = "FG101F*""#, &["FG101FTK19002788-sales", "FG101FTK19002789-sales-2"]),
        (r#"serial_number="fgvm01tm00000001""#, &["FGVM01TM00000001-root", "FGVM01TM00000001-sales"]),
        (r#"  realm = "default"  AND  vdom = "Sales" "#, &["FG101FTK19002789-Sales"]),
        (r#"realm = "other""#, &[]),
        (r#"vdom = "%""#, &[]),
        (r#"vdom = "_ales""#, &[]),
        (r#"vdom = "x' OR '1'='1""#, &[]),
    ] {
        let request = auth_clients(filter, "serial_number");
        let page = admin.auth_clients().list_auth_clients(request).await.unwrap().into_inner();
        let names: Vec<_> = page.auth_clients.iter().map(|client| client.display_name.as_str()).collect();
        assert_eq!(names, expected, "{filter}");
        assert_eq!(page.total_size, i64::try_from(expected.len()).unwrap(), "{filter}");
    }
}

#[tokio::test]
async fn devices_are_found_by_what_they_say_of_themselves() {
    let muster = Muster::start().await;
    let mut relay = muster.relay("fmg-1", &[]).devices();
    let infos = [(A, info("FortiGate-101F", "branch-7", "v7.4.8")), (VM, info("FortiGate-VM64", "lab", "v7.6.1"))];
    for (serial, info) in infos {
        relay.register(v1::RegisterRequest { info: Some(info), ..register(serial, &[]) }).await.unwrap();
    }
    for (filter, expected) in [
        (r#"hostname = "branch-7""#, A),
        (r#"firmware = "v7.6*""#, VM),
        (r#"model = "FortiGate*" AND hostname = "lab""#, VM),
    ] {
        let page = muster.admin().device_admin().list_devices(devices(filter, "")).await.unwrap().into_inner();
        let serials: Vec<_> = page.devices.iter().map(|device| device.serial_number.as_str()).collect();
        assert_eq!((serials, page.total_size), (vec![expected], 1), "{filter}");
    }
}

#[tokio::test]
async fn what_is_deleted_is_listed_only_when_asked_for() {
    let muster = Muster::start().await;
    let mut relay = muster.relay("fmg-1", &[]).devices();
    relay.register(register(A, &["sales"])).await.unwrap();
    relay.register(register(B, &[])).await.unwrap();
    relay.delete(delete_vdom(A, "sales")).await.unwrap();
    relay.delete(delete_whole(B)).await.unwrap();

    let admin = muster.admin();
    assert_eq!(admin.shown(auth_clients("", "")).await, ["FG101FTK19002788-root"]);
    let all = v1::ListAuthClientsRequest { show_deleted: true, ..auth_clients("", "serial_number") };
    let all = admin.auth_clients().list_auth_clients(all).await.unwrap().into_inner();
    let states: BTreeMap<_, _> =
        all.auth_clients.iter().map(|client| (client.display_name.as_str(), client.state())).collect();
    let expected = [
        ("FG101FTK19002788-root", LifecycleState::Active),
        ("FG101FTK19002788-sales", LifecycleState::Deleted),
        ("FG101FTK19002789-root", LifecycleState::Deleted),
    ];
    assert_eq!((states, all.total_size), (expected.into(), 3));
    assert!(
        all.auth_clients
            .iter()
            .all(|client| { client.delete_time.is_some() == (client.state() == LifecycleState::Deleted) })
    );
    let count = async |show_deleted| {
        let request = v1::ListDevicesRequest { show_deleted, ..Default::default() };
        admin.device_admin().list_devices(request).await.unwrap().into_inner().total_size
    };
    assert_eq!((count(false).await, count(true).await), (1, 2));
}

#[tokio::test]
async fn an_auth_client_has_an_id_and_a_name_that_people_know() {
    let muster = Muster::start().await;
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales-2", "#FOS_Administrator"])).await.unwrap();
    let admin = muster.admin();
    for vdom in ["root", "sales-2", "#FOS_Administrator"] {
        let named = admin.get_auth_client(&format!("{A}-{vdom}")).await;
        assert_eq!(named.name, format!("authClients/{}", named.id));
        assert_eq!((named.vdom.as_str(), named.serial_number.as_str(), named.realm.as_str()), (vdom, A, "default"));
        assert_eq!((named.create_time, named.delete_time), (named.update_time, None));
        assert_eq!(admin.get_auth_client(&named.id.to_string()).await, named);
    }
    assert_eq!(admin.get_auth_client("fg101ftk19002788-root").await.vdom, "root");
}

#[tokio::test]
async fn names_that_cannot_be_read_and_names_of_nothing_are_told_apart() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    for (name, reason) in [
        ("", Reason::NameMalformed),
        ("authClients/", Reason::NameMalformed),
        ("FG101FTK19002788-root", Reason::NameMalformed),
        ("authClients/FG101FTK19002788", Reason::NameMalformed),
        ("authClients/FG101FTK19002788-a b", Reason::NameMalformed),
        ("devices/FG101FTK19002788", Reason::NameMalformed),
        ("authClients/0", Reason::AuthClientUnknown),
        ("authClients/-7", Reason::AuthClientUnknown),
        ("authClients/9223372036854775807", Reason::AuthClientUnknown),
        ("authClients/FG101FTK19002788-root", Reason::AuthClientUnknown),
    ] {
        let fields: Vec<String> = (reason == Reason::NameMalformed).then(|| "name".to_owned()).into_iter().collect();
        let request = v1::GetAuthClientRequest { name: name.to_owned() };
        let got = muster.refusal(admin.auth_clients().get_auth_client(request).await).await;
        let request = v1::DeleteAuthClientRequest { name: name.to_owned(), ..Default::default() };
        let deleted = muster.refusal(admin.auth_clients().delete_auth_client(request).await).await;
        assert_eq!((got.reason, deleted.reason), (reason, reason), "{name}");
        assert_eq!((&got.fields, &deleted.fields), (&fields, &fields), "{name}");
    }
    for (name, reason) in [
        ("FG101FTK19002788", Reason::NameMalformed),
        ("devices/", Reason::NameMalformed),
        ("devices/FG101FTK19002788-root", Reason::NameMalformed),
        ("devices/FG101FTK19002788", Reason::DeviceUnknown),
    ] {
        let request = v1::GetDeviceRequest { name: name.to_owned() };
        let got = muster.refusal(admin.device_admin().get_device(request).await).await;
        let request = v1::DeleteDeviceRequest { name: name.to_owned(), ..Default::default() };
        let deleted = muster.refusal(admin.device_admin().delete_device(request).await).await;
        assert_eq!((got.reason, deleted.reason), (reason, reason), "{name}");
    }
}

#[tokio::test]
async fn deleting_an_auth_client_is_idempotent_and_its_device_brings_it_back() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.register(register(A, &["sales"])).await.unwrap();
    let before = admin.get_auth_client("FG101FTK19002788-root").await;

    let only = v1::DeleteAuthClientRequest { validate_only: true, ..delete_auth_client(&before.id.to_string()) };
    let said = admin.auth_clients().delete_auth_client(only).await.unwrap().into_inner();
    assert_eq!((said.outcome(), said.auth_client.unwrap().state()), (Outcome::Removed, LifecycleState::Deleted));
    assert_eq!(admin.get_auth_client("FG101FTK19002788-root").await, before);

    let mut clients = admin.auth_clients();
    let first = clients.delete_auth_client(delete_auth_client("FG101FTK19002788-root")).await.unwrap().into_inner();
    let gone = first.auth_client.clone().unwrap();
    assert_eq!((first.outcome(), first.reason.as_str(), gone.id), (Outcome::Removed, "", before.id));
    assert_eq!(gone, admin.get_auth_client("FG101FTK19002788-root").await);
    let second = clients.delete_auth_client(delete_auth_client("FG101FTK19002788-root")).await.unwrap().into_inner();
    assert_eq!((second.outcome(), second.reason.as_str()), (Outcome::Unchanged, "ALREADY_DELETED"));
    assert_eq!(second.auth_client, Some(gone));

    let back = device.sync(sync(A, &["root", "sales"])).await.unwrap().into_inner();
    assert_eq!(items(&back.vdoms), ["root restored RETURNED_AFTER_REMOVAL", "sales unchanged"]);
    assert_eq!(admin.get_auth_client("FG101FTK19002788-root").await.id, before.id);
    let audit = muster.database().audit().await;
    let callers: Vec<_> = audit.iter().map(|row| (row.caller.as_str(), row.method.as_str())).collect();
    let device = "device:FG101FTK19002788";
    assert_eq!(callers, [(device, "Register"), ("admin:first", "DeleteAuthClient"), (device, "Sync")]);
    assert_eq!(audit[1].operation_id, first.operation_id);
}

#[tokio::test]
async fn an_etag_of_before_a_change_deletes_nothing() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.register(register(A, &["sales"])).await.unwrap();
    let old = admin.get_auth_client("FG101FTK19002788-sales").await.etag;
    device.delete(delete_vdom(A, "sales")).await.unwrap();
    device.register(register(A, &["sales"])).await.unwrap();
    let new = admin.get_auth_client("FG101FTK19002788-sales").await.etag;
    assert_ne!(old, new);

    let with = |etag: &str| v1::DeleteAuthClientRequest {
        etag: etag.to_owned(),
        ..delete_auth_client("FG101FTK19002788-sales")
    };
    for etag in [old.as_str(), "nonsense"] {
        let refusal = muster.refusal(admin.auth_clients().delete_auth_client(with(etag)).await).await;
        assert_eq!(refusal.reason, Reason::EtagMismatch);
    }
    assert_eq!(admin.get_auth_client("FG101FTK19002788-sales").await.state(), LifecycleState::Active);
    let done = admin.auth_clients().delete_auth_client(with(&new)).await.unwrap().into_inner();
    assert_eq!(done.outcome(), Outcome::Removed);
}

#[tokio::test]
async fn deleting_a_device_takes_its_auth_clients_along() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.register(register(A, &["sales"])).await.unwrap();

    let stale = v1::DeleteDeviceRequest { generation: Some(7), ..delete_device(A) };
    let refusal = muster.refusal(admin.device_admin().delete_device(stale).await).await;
    assert_eq!(refusal.reason, Reason::StaleGeneration);
    let only = v1::DeleteDeviceRequest { validate_only: true, ..delete_device(A) };
    let said = admin.device_admin().delete_device(only).await.unwrap().into_inner();
    assert_eq!(names(&admin.get_device(A).await.vdoms), ["root", "sales"]);

    let exact = v1::DeleteDeviceRequest { generation: Some(1), ..delete_device(A) };
    let done = admin.device_admin().delete_device(exact).await.unwrap().into_inner();
    assert_eq!(
        (done.outcome(), items(&done.vdoms)),
        (Outcome::Removed, vec!["root removed".to_owned(), "sales removed".to_owned()])
    );
    assert_eq!((said.outcome, items(&said.vdoms)), (done.outcome, items(&done.vdoms)));
    let held = admin.get_device(A).await;
    assert_eq!((held.device.unwrap().state(), held.vdoms), (LifecycleState::Deleted, vec![]));
    assert!(admin.shown(auth_clients("", "")).await.is_empty());

    let again = admin.device_admin().delete_device(delete_device(A)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str(), again.vdoms), (Outcome::Unchanged, "ALREADY_DELETED", vec![]));
    let back = device.sync(sync(A, &["root"])).await.unwrap().into_inner();
    assert_eq!(back.outcome(), Outcome::Restored);
    assert_eq!(names(&admin.get_device(A).await.vdoms), ["root"]);
}

#[tokio::test]
async fn a_list_request_that_cannot_be_read_names_every_bad_field_at_once() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let request = v1::ListAuthClientsRequest {
        page_size: -1,
        page_token: "nonsense".to_owned(),
        ..auth_clients(r#"secret = "x""#, "colour")
    };
    let refusal = muster.refusal(admin.auth_clients().list_auth_clients(request).await).await;
    assert_eq!(refusal.fields, ["page_size", "filter", "order_by", "page_token"]);
    for (filter, order_by, reason, field) in [
        ("vdom", "", Reason::FilterMalformed, "filter"),
        (r#"vdom = "a" OR vdom = "b""#, "", Reason::FilterMalformed, "filter"),
        (r#"hostname = "a""#, "", Reason::FilterMalformed, "filter"),
        ("", "serial_number sideways", Reason::FieldInvalid, "order_by"),
        ("", "hostname", Reason::FieldInvalid, "order_by"),
    ] {
        let call = admin.auth_clients().list_auth_clients(auth_clients(filter, order_by)).await;
        let refusal = muster.refusal(call).await;
        assert_eq!((refusal.reason, refusal.fields), (reason, vec![field.to_owned()]), "{filter}{order_by}");
    }
    let refusal = muster.refusal(admin.device_admin().list_devices(devices("", "vdom")).await).await;
    assert_eq!((refusal.reason, refusal.fields), (Reason::FieldInvalid, vec!["order_by".to_owned()]));
}

#[tokio::test]
async fn a_page_token_goes_with_the_list_that_it_came_from() {
    let muster = Muster::start().await;
    let mut relay = muster.relay("fmg-1", &[]).devices();
    for number in 0..3 {
        relay.register(register(&fleet(number), &[])).await.unwrap();
    }
    let admin = muster.admin();
    let first = v1::ListAuthClientsRequest { page_size: 1, ..auth_clients("", "serial_number") };
    let page_token = admin.auth_clients().list_auth_clients(first.clone()).await.unwrap().into_inner().next_page_token;
    let same = v1::ListAuthClientsRequest { page_token: page_token.clone(), page_size: 2, ..first.clone() };
    assert_eq!(admin.shown(same).await.len(), 2);

    let mut truncated = page_token.clone();
    truncated.truncate(12);
    for request in [
        v1::ListAuthClientsRequest { page_token: page_token.clone(), ..auth_clients("", "vdom") },
        v1::ListAuthClientsRequest {
            page_token: page_token.clone(),
            ..auth_clients(r#"vdom = "root""#, "serial_number")
        },
        v1::ListAuthClientsRequest { page_token: page_token.clone(), show_deleted: true, ..first.clone() },
        v1::ListAuthClientsRequest { page_token: truncated, ..first.clone() },
        v1::ListAuthClientsRequest { page_token: "'; DROP TABLE device; --".to_owned(), ..first },
    ] {
        let refusal = muster.refusal(admin.auth_clients().list_auth_clients(request).await).await;
        assert_eq!((refusal.reason, refusal.fields), (Reason::PageTokenMalformed, vec!["page_token".to_owned()]));
    }
    let elsewhere = v1::ListDevicesRequest { page_token, ..devices("", "serial_number") };
    let refusal = muster.refusal(admin.device_admin().list_devices(elsewhere).await).await;
    assert_eq!(refusal.reason, Reason::PageTokenMalformed);
}
