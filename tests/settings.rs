//! The settings of the register, over real gRPC.

use muster_proto::Reason;
use muster_proto::v1::{self, Outcome, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster};

fn update(settings: v1::Settings) -> v1::UpdateSettingsRequest {
    v1::UpdateSettingsRequest { settings: Some(settings), ..Default::default() }
}

fn masked(settings: v1::Settings, paths: &[&str]) -> v1::UpdateSettingsRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    v1::UpdateSettingsRequest { update_mask: Some(prost_types::FieldMask { paths }), ..update(settings) }
}

async fn get(admin: &Caller) -> v1::Settings {
    admin.settings().get_settings(v1::GetSettingsRequest {}).await.unwrap().into_inner().settings.unwrap()
}

#[tokio::test]
async fn a_new_register_has_the_settings_that_the_documents_say() {
    let muster = Muster::start().await;
    let settings = get(&muster.admin()).await;
    let expected = v1::Settings {
        auto_create_auth_clients: Some(true),
        multi_realm_mode: Some(false),
        share_quota: Some(true),
        fold_usernames: Some(true),
        user_quota: None,
        guard_vdoms: Some(1),
        guard_vdom_percent: Some(50),
        guard_users: Some(20),
        retention_days: Some(30),
        users: 0,
        etag: settings.etag.clone(),
        update_time: None,
    };
    assert_eq!(settings, expected);
}

#[tokio::test]
async fn every_setting_changes_is_audited_and_survives_a_restart() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let new = v1::Settings {
        auto_create_auth_clients: Some(false),
        multi_realm_mode: Some(true),
        share_quota: Some(false),
        fold_usernames: Some(false),
        user_quota: Some(1_000),
        guard_vdoms: Some(2),
        guard_vdom_percent: Some(10),
        guard_users: Some(0),
        retention_days: Some(3_650),
        ..Default::default()
    };
    let only = v1::UpdateSettingsRequest { validate_only: true, ..masked(new.clone(), &["*"]) };
    let before = get(&admin).await;
    let said = admin.settings().update_settings(only).await.unwrap().into_inner();
    assert_eq!(get(&admin).await, before);
    let exact = v1::UpdateSettingsRequest { plan_id: said.plan_id, ..masked(new.clone(), &["*"]) };
    let done = admin.settings().update_settings(exact).await.unwrap().into_inner();
    assert_eq!((said.outcome, done.outcome()), (done.outcome, Outcome::Updated));
    let after = done.settings.unwrap();
    let expected = v1::Settings { users: 0, etag: after.etag.clone(), update_time: after.update_time, ..new.clone() };
    assert_eq!(after, expected);
    let again = admin.settings().update_settings(update(new)).await.unwrap().into_inner();
    assert_eq!(again.outcome(), Outcome::Unchanged);

    let audit = muster.database().audit().await;
    assert_eq!((audit.len(), audit[0].method.as_str()), (1, "UpdateSettings"));
    assert_eq!(audit[0].operation_id, done.operation_id);
    for field in [
        "auto_create_auth_clients",
        "multi_realm_mode",
        "share_quota",
        "fold_usernames",
        "user_quota",
        "guard_vdoms",
        "guard_vdom_percent",
        "guard_users",
        "retention_days",
    ] {
        assert!(audit[0].changes.contains(&format!("\"field\":\"{field}\"")), "{field}: {}", audit[0].changes);
    }
    let events = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = admin.watch(events).await.events().await;
    let event = events.iter().find(|event| event.operation_id == done.operation_id && event.terminal).unwrap();
    assert_eq!(event.message, "settings updated");

    let muster = muster.restart().await;
    assert_eq!(get(&muster.admin()).await, after);
}

#[tokio::test]
async fn a_setting_out_of_range_is_refused_with_every_other_one() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let wrong = v1::Settings {
        user_quota: Some(-1),
        guard_vdoms: Some(-1),
        guard_vdom_percent: Some(0),
        guard_users: Some(-1),
        retention_days: Some(3_651),
        ..Default::default()
    };
    let refusal = muster.refusal(admin.settings().update_settings(update(wrong)).await).await;
    let fields = ["user_quota", "guard_vdoms", "guard_vdom_percent", "guard_users", "retention_days"];
    assert_eq!(refusal.fields, fields.map(|field| format!("settings.{field}")));
    for request in [update(v1::Settings::default()), masked(v1::Settings::default(), &["users"])] {
        let refusal = muster.refusal(admin.settings().update_settings(request).await).await;
        assert_eq!((refusal.reason, refusal.fields), (Reason::FieldInvalid, vec!["update_mask".to_owned()]));
    }
    let request = masked(v1::Settings::default(), &["share_quota"]);
    let refusal = muster.refusal(admin.settings().update_settings(request).await).await;
    assert_eq!(refusal.fields, ["settings.share_quota"]);
}

#[tokio::test]
async fn an_etag_of_before_a_change_changes_nothing() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let old = get(&admin).await.etag;
    let days = |days, etag: &str| v1::UpdateSettingsRequest {
        etag: etag.to_owned(),
        ..update(v1::Settings { retention_days: Some(days), ..Default::default() })
    };
    let new = admin.settings().update_settings(days(7, &old)).await.unwrap().into_inner().settings.unwrap().etag;
    assert_ne!(old, new);
    let refusal = muster.refusal(admin.settings().update_settings(days(8, &old)).await).await;
    assert_eq!(refusal.reason, Reason::EtagMismatch);
    assert_eq!(get(&admin).await.retention_days, Some(7));
}

#[tokio::test]
async fn with_auto_create_off_an_unknown_device_is_refused_and_a_known_one_is_not() {
    let muster = Muster::start().await;
    let (mut known, mut unknown) = (muster.device(A).devices(), muster.device(B).devices());
    known.register(register(A, &[])).await.unwrap();
    let off = v1::Settings { auto_create_auth_clients: Some(false), ..Default::default() };
    muster.admin().settings().update_settings(update(off)).await.unwrap();
    known.register(register(A, &["sales"])).await.unwrap();
    let refusal = muster.refusal(unknown.register(register(B, &[])).await).await;
    assert_eq!(refusal.reason, Reason::PendingApproval);
    assert!(refusal.message.contains("auto_create_auth_clients"), "{}", refusal.message);
}

#[tokio::test]
async fn with_multi_realm_mode_on_each_new_auth_client_gets_a_realm_of_its_own() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.register(register(A, &[])).await.unwrap();
    let on = v1::Settings { multi_realm_mode: Some(true), ..Default::default() };
    admin.settings().update_settings(update(on)).await.unwrap();
    device.register(register(A, &["sales"])).await.unwrap();
    assert_eq!(admin.get_auth_client("FG101FTK19002788-root").await.realm, "default");
    assert_eq!(admin.get_auth_client("FG101FTK19002788-sales").await.realm, "FG101FTK19002788-sales");
    let get = v1::GetRealmRequest { name: "realms/FG101FTK19002788-sales".to_owned() };
    let realm = admin.realms().get_realm(get).await.unwrap().into_inner().realm.unwrap();
    assert_eq!((realm.auth_clients, realm.users, realm.user_quota), (1, 0, None));
}
