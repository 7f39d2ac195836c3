//! Why something is as it is, how it was, and who changed it.

use muster_proto::Reason;
use muster_proto::v1::{self, AdminRole, AuditChange, DeleteMode, ExplainVerdict};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster};

use crate::web_apps::{add, calls, create, delete, service};

async fn explain(caller: &Caller, name: &str, username: &str) -> v1::ExplainResponse {
    let request = v1::ExplainRequest { name: name.to_owned(), username: username.to_owned() };
    let answer = caller.explaining().explain(request).await.unwrap().into_inner();
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == answer.reason);
    assert_eq!(reason.map_or("", |reason| reason.fix()), answer.fix, "a reason comes with its fix");
    assert!(!answer.message.is_empty());
    assert!(answer.steps.is_sorted_by_key(|step| step.time.unwrap().seconds), "{:?}", answer.steps);
    answer
}

fn setting<'a>(answer: &'a v1::ExplainResponse, name: &str) -> &'a str {
    answer.settings.iter().find(|setting| setting.name == name).map_or("", |setting| &setting.value)
}

async fn set(admin: &Caller, settings: v1::Settings) {
    let request = v1::UpdateSettingsRequest { settings: Some(settings), ..Default::default() };
    admin.settings().update_settings(request).await.unwrap();
}

fn device(serial: &str) -> String {
    format!("devices/{serial}")
}

fn client(vdom: &str) -> String {
    format!("authClients/{A}-{vdom}")
}

#[tokio::test]
async fn what_was_never_seen_is_explained_by_what_its_first_call_would_find() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let answer = explain(&admin, &device(A), "").await;
    assert_eq!((answer.verdict(), answer.reason.as_str(), answer.steps.len()), (ExplainVerdict::NeverSeen, "", 0));
    assert_eq!(setting(&answer, "auto_create_auth_clients"), "on");
    let answer = explain(&admin, &client("sales"), "alice").await;
    assert_eq!(answer.verdict(), ExplainVerdict::NeverSeen);
    let request = v1::ExplainRequest { name: "authClients/4711".to_owned(), ..Default::default() };
    let refusal = muster.refusal(admin.explaining().explain(request).await).await;
    assert_eq!(refusal.reason, Reason::AuthClientUnknown);
    let request = v1::ExplainRequest { name: "realms/1".to_owned(), ..Default::default() };
    assert_eq!(muster.refusal(admin.explaining().explain(request).await).await.reason, Reason::NameMalformed);
}

#[tokio::test]
async fn a_device_that_waits_or_was_turned_away_is_told_from_one_that_never_called() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    set(&admin, v1::Settings { auto_create_auth_clients: Some(false), ..Default::default() }).await;
    assert_eq!(explain(&admin, &device(A), "").await.verdict(), ExplainVerdict::NeverSeen);
    let refusal = muster.refusal(muster.device(A).devices().register(register(A, &["sales"])).await).await;
    assert_eq!(refusal.reason, Reason::PendingApproval);
    let answer = explain(&admin, &device(A), "").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Held, "PENDING_APPROVAL"));
    assert_eq!(setting(&answer, "auto_create_auth_clients"), "off");
    let step = answer.steps.iter().find(|step| step.reason == "PENDING_APPROVAL").unwrap();
    assert_eq!((&step.operation_id, step.method.as_str(), step.audited), (&refusal.operation, "Register", false));
}

#[tokio::test]
async fn a_ban_is_quoted_with_who_when_and_why_and_the_calls_that_it_refused() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    let ban = v1::DeleteDeviceRequest { mode: DeleteMode::Ban.into(), why: "stolen".to_owned(), ..delete_device(A) };
    let banned = admin.device_admin().delete_device(ban).await.unwrap().into_inner();
    let refusal = muster.refusal(muster.device(A).devices().sync(sync(A, &["root"])).await).await;

    let answer = explain(&admin, &device(A), "").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Refused, "DEVICE_BANNED"));
    let tombstone = setting(&answer, "tombstone");
    assert!(tombstone.starts_with("ban by admin:first at ") && tombstone.ends_with(": stolen"), "{tombstone}");
    let steps: Vec<_> = answer
        .steps
        .iter()
        .map(|step| (step.method.as_str(), step.operation_id.as_str(), step.caller.as_str(), step.audited))
        .collect();
    assert_eq!(steps[0].0, "Register");
    assert!(steps.contains(&("DeleteDevice", &banned.operation_id, "admin:first", true)), "{steps:?}");
    assert_eq!(steps.last().unwrap(), &("Sync", refusal.operation.as_str(), "device:FG101FTK19002788", false));
    let answer = explain(&admin, &client("sales"), "").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Refused, "DEVICE_BANNED"));
}

#[tokio::test]
async fn a_user_that_is_missing_is_explained_by_the_quota_that_refused_it() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales"])).await.unwrap();
    device.add_user(add_user(A, "sales", "alice")).await.unwrap();
    set(&admin, v1::Settings { user_quota: Some(1), ..Default::default() }).await;
    let refusal = muster.refusal(muster.device(A).devices().add_user(add_user(A, "sales", "bob")).await).await;
    assert_eq!(refusal.reason, Reason::UserQuotaExceeded);

    let answer = explain(&admin, &client("sales"), "bob").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Refused, "USER_QUOTA_EXCEEDED"));
    assert_eq!(setting(&answer, "settings.user_quota"), "1 of 1");
    assert!(answer.steps.iter().any(|step| step.operation_id == refusal.operation && !step.audited), "{answer:?}");
    assert!(!answer.steps.iter().any(|step| step.what.contains("alice")), "{answer:?}");
    let answer = explain(&admin, &client("sales"), "alice").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Present, ""));
    assert!(answer.steps.iter().any(|step| step.what == "user alice on VDOM sales: state is active"), "{answer:?}");
    let users = admin.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner();
    let answer = explain(&admin, &users.users[0].name, "").await;
    assert_eq!(answer.verdict(), ExplainVerdict::Present);
}

#[tokio::test]
async fn a_removal_that_is_held_and_a_vdom_that_went_are_told_apart() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let mut device = muster.device(A).devices();
    device.register(register(A, &["a", "b", "c"])).await.unwrap();
    device.delete(delete_vdom(A, "c")).await.unwrap();
    let held = device.sync(sync(A, &["root"])).await.unwrap().into_inner();
    let answer = explain(&admin, &client("a"), "").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Held, "REMOVAL_HELD"));
    assert_eq!(setting(&answer, "guard_vdoms"), "1");
    assert!(answer.steps.iter().any(|step| step.operation_id == held.operation_id), "{answer:?}");
    let answer = explain(&admin, &client("c"), "").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Absent, "EVICTED"));
    assert!(!answer.steps.iter().any(|step| step.what.contains("VDOM a")), "{answer:?}");
}

#[tokio::test]
async fn an_admin_of_another_realm_is_told_nothing() {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    muster.database().execute("INSERT INTO realm (id, name) VALUES (2, 'elsewhere')").await;
    let other = muster.admin_as("other", AdminRole::Realm, &["realms/elsewhere"], false).await;
    let own = muster.admin_as("own", AdminRole::Realm, &["realms/default"], false).await;
    for name in [device(A), client("sales"), client("never")] {
        let request = v1::ExplainRequest { name: name.clone(), ..Default::default() };
        let refusal = muster.refusal(other.explaining().explain(request).await).await;
        assert!(matches!(refusal.reason, Reason::DeviceUnknown | Reason::AuthClientUnknown), "{name}: {refusal:?}");
    }
    assert_eq!(explain(&own, &client("sales"), "").await.verdict(), ExplainVerdict::Present);
    let request = v1::ListAuditEntriesRequest::default();
    let refusal = muster.refusal(own.audit().list_audit_entries(request).await).await;
    assert_eq!(refusal.reason, Reason::RoleNotAllowed);
}

#[tokio::test]
async fn history_shows_an_auth_client_as_of_a_time_and_between_generations() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let mut device = muster.device(A).devices();
    device.register(register(A, &["sales"])).await.unwrap();
    device.add_user(add_user(A, "sales", "alice")).await.unwrap();
    device.add_user(add_user(A, "sales", "bob")).await.unwrap();
    let then = muster.database().audit().await.len();
    device.delete_user(delete_user(A, "sales", "bob")).await.unwrap();
    device.delete(delete_vdom(A, "sales")).await.unwrap();
    device.sync(sync(A, &["root", "sales"])).await.unwrap();

    let history = async |request: v1::GetHistoryRequest| {
        let request = v1::GetHistoryRequest { name: client("sales"), ..request };
        admin.explaining().get_history(request).await.unwrap().into_inner()
    };
    let whole = history(v1::GetHistoryRequest::default()).await;
    assert_eq!((whole.before, whole.incomplete), (None, false));
    let now = whole.after.unwrap();
    assert_eq!((now.state(), now.realm.as_str(), now.users), (v1::LifecycleState::Active, "default", 0));
    let methods: Vec<_> = whole.entries.iter().map(|entry| entry.method.as_str()).collect();
    assert_eq!(methods, ["Register", "AddUser", "AddUser", "DeleteUser", "Delete", "Sync"]);

    // The moment of the second user, and what differs since.
    let as_of_time = whole.entries[2].time;
    assert!(then >= 3);
    let since = history(v1::GetHistoryRequest { as_of_time, ..Default::default() }).await;
    let before = since.before.unwrap();
    assert_eq!((before.usernames, before.users), (vec!["alice".to_owned(), "bob".to_owned()], 2));
    let gone = |user: &str| AuditChange {
        vdom: "sales".to_owned(),
        user: user.to_owned(),
        field: "state".to_owned(),
        before: "active".to_owned(),
        after: "deleted".to_owned(),
    };
    assert_eq!(since.differences, [gone("alice"), gone("bob")]);
    assert_eq!(since.entries.len(), 3);

    // From the end of the first generation to the end of the second: the VDOM went.
    let generations =
        history(v1::GetHistoryRequest { from_generation: Some(1), to_generation: Some(2), ..Default::default() }).await;
    let (before, after) = (generations.before.unwrap(), generations.after.unwrap());
    assert_eq!((before.users, before.state()), (1, v1::LifecycleState::Active));
    assert_eq!((after.users, after.state(), after.generation), (0, v1::LifecycleState::Deleted, 2));
    assert_eq!(generations.entries.len(), 1);

    let request = v1::GetHistoryRequest { name: client("never"), ..Default::default() };
    let refusal = muster.refusal(admin.explaining().get_history(request).await).await;
    assert_eq!(refusal.reason, Reason::AuthClientUnknown);
}

#[tokio::test]
async fn history_follows_an_auth_client_into_a_cluster() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    for serial in [A, B] {
        let mut device = muster.device(serial).devices();
        device.register(register(serial, &["sales"])).await.unwrap();
        device.add_user(add_user(serial, "sales", if serial == A { "alice" } else { "bob" })).await.unwrap();
    }
    let request = v1::CreateClusterRequest {
        display_name: "edge".to_owned(),
        primary_serial_number: A.to_owned(),
        member_serial_numbers: vec![B.to_owned()],
        ..Default::default()
    };
    let name = admin.clusters().create_cluster(request).await.unwrap().into_inner().cluster.unwrap().name;
    // By the other member, which has to be the primary to do so.
    let primary = v1::SetClusterPrimaryRequest { name, serial_number: B.to_owned(), ..Default::default() };
    admin.clusters().set_cluster_primary(primary).await.unwrap();
    muster.device(B).devices().add_user(add_user(B, "sales", "carol")).await.unwrap();
    let request = v1::GetHistoryRequest { name: client("sales"), ..Default::default() };
    let history = admin.explaining().get_history(request).await.unwrap().into_inner();
    let now = history.after.unwrap();
    assert_eq!((now.usernames.join(" "), history.incomplete), ("alice bob carol".to_owned(), false));
    let methods: Vec<_> = history.entries.iter().map(|entry| entry.method.as_str()).collect();
    assert_eq!(methods, ["Register", "AddUser", "CreateCluster", "AddUser"]);
}

#[tokio::test]
async fn the_audit_log_is_listed_by_device_vdom_user_operation_caller_method_and_time() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let mut device = muster.device(A).devices();
    let registered = device.register(register(A, &["sales"])).await.unwrap().into_inner();
    device.add_user(add_user(A, "sales", "alice")).await.unwrap();
    device.delete(delete_vdom(A, "sales")).await.unwrap();
    muster.device(B).devices().register(register(B, &[])).await.unwrap();
    admin.device_admin().delete_device(delete_device(B)).await.unwrap();

    let list = async |filter: &str, rest: v1::ListAuditEntriesRequest| {
        let request = v1::ListAuditEntriesRequest { filter: filter.to_owned(), ..rest };
        admin.audit().list_audit_entries(request).await.unwrap().into_inner()
    };
    let methods = async |filter: &str| {
        let page = list(filter, v1::ListAuditEntriesRequest::default()).await;
        assert_eq!(page.total_size, i64::try_from(page.audit_entries.len()).unwrap());
        page.audit_entries.into_iter().map(|entry| entry.method).collect::<Vec<_>>()
    };
    assert_eq!(methods(&format!(r#"serial_number = "{A}""#)).await, ["Delete", "AddUser", "Register"]);
    assert_eq!(methods(&format!(r#"serial_number = "{B}""#)).await, ["DeleteDevice", "Register"]);
    let of_vdom = format!(r#"serial_number = "{A}" AND vdom = "sales""#);
    assert_eq!(methods(&of_vdom).await, ["Delete", "AddUser", "Register"]);
    assert_eq!(methods(r#"user = "alice""#).await, ["AddUser"]);
    assert_eq!(methods(&format!(r#"operation_id = "{}""#, registered.operation_id)).await, ["Register"]);
    assert_eq!(methods(r#"caller = "admin:*""#).await, ["DeleteDevice"]);
    assert_eq!(methods(&format!(r#"method = "Register" AND name = "devices/{B}""#)).await, ["Register"]);

    let first = list("", v1::ListAuditEntriesRequest { page_size: 2, ..Default::default() }).await;
    assert_eq!((first.audit_entries.len(), first.total_size), (2, 5));
    let page_token = first.next_page_token;
    let second = list("", v1::ListAuditEntriesRequest { page_size: 2, page_token, ..Default::default() }).await;
    assert!(second.audit_entries[0].id < first.audit_entries[1].id);
    let oldest = v1::ListAuditEntriesRequest { order_by: "id".to_owned(), ..Default::default() };
    let oldest = list("", oldest).await.audit_entries;
    let entry = &oldest[0];
    assert_eq!((entry.operation_id.as_str(), entry.generation), (registered.operation_id.as_str(), 1));
    assert_eq!(entry.changes.last().unwrap().vdom, "sales");
    let (since_time, until_time) = (oldest[1].time, oldest[3].time);
    let window = list("", v1::ListAuditEntriesRequest { since_time, until_time, ..Default::default() }).await;
    assert_eq!(window.total_size, 2);
    let backwards =
        v1::ListAuditEntriesRequest { since_time: until_time, until_time: since_time, ..Default::default() };
    let refusal = muster.refusal(admin.audit().list_audit_entries(backwards).await).await;
    assert_eq!(refusal.fields, ["until_time"]);
}

#[tokio::test]
async fn a_web_app_and_its_users_are_explained_and_have_a_history() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, secret) = create(&admin, "shop").await;
    let mut shop = calls(&muster, &app, &secret).devices();
    shop.add_user(add("", "alice")).await.unwrap();
    set(&admin, v1::Settings { user_quota: Some(1), ..Default::default() }).await;
    let refusal = muster.refusal(shop.add_user(add("", "bob")).await).await;
    assert_eq!(refusal.reason, Reason::UserQuotaExceeded);

    let request = v1::ListAuthClientsRequest::default();
    let clients = admin.auth_clients().list_auth_clients(request).await.unwrap().into_inner().auth_clients;
    let [client] = &clients[..] else { panic!("{clients:?}") };
    let answer = explain(&admin, &client.name, "").await;
    assert_eq!((answer.verdict(), answer.message.as_str()), (ExplainVerdict::Present, "the Web app is in use"));
    let answer = explain(&admin, &client.name, "alice").await;
    assert_eq!(answer.verdict(), ExplainVerdict::Present);
    assert!(answer.steps.iter().any(|step| step.what == "user alice on the Web app: state is active"), "{answer:?}");
    let answer = explain(&admin, &client.name, "bob").await;
    assert_eq!((answer.verdict(), answer.reason.as_str()), (ExplainVerdict::Refused, "USER_QUOTA_EXCEEDED"));
    assert!(answer.steps.iter().any(|step| step.operation_id == refusal.operation && !step.audited), "{answer:?}");

    let request = v1::GetHistoryRequest { name: client.name.clone(), ..Default::default() };
    let past = admin.explaining().get_history(request).await.unwrap().into_inner().after.unwrap();
    assert_eq!((past.users, past.usernames), (1, vec!["alice".to_owned()]));
    service(&admin).delete_web_app(delete(&app)).await.unwrap();
    let answer = explain(&admin, &client.name, "alice").await;
    assert_ne!(answer.verdict(), ExplainVerdict::Present);
    assert!(setting(&explain(&admin, &client.name, "").await, "tombstone").starts_with("evict by admin:first at "));
}
