//! Web apps: how they come, what they may do, and how they go.

use data_encoding::BASE64;
use muster_proto::Reason;
use muster_proto::v1::web_app_service_client::WebAppServiceClient;
use muster_proto::v1::{self, AdminRole, LifecycleState, Outcome, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{Caller, Connection, Muster};

pub(crate) fn service(caller: &Caller) -> WebAppServiceClient<Connection> {
    WebAppServiceClient::new(caller.connection())
}

pub(crate) async fn create(caller: &Caller, name: &str) -> (v1::WebApp, String) {
    let request = v1::CreateWebAppRequest { display_name: name.to_owned(), ..Default::default() };
    let made = service(caller).create_web_app(request).await.unwrap().into_inner();
    assert_eq!(made.outcome(), Outcome::Created);
    (made.web_app.unwrap(), made.secret)
}

pub(crate) fn calls(muster: &Muster, app: &v1::WebApp, secret: &str) -> Caller {
    let credentials = BASE64.encode(format!("{}:{secret}", app.client_id).as_bytes());
    muster.nobody().with_authorization(&format!("Basic {credentials}"))
}

#[expect(clippy::unnecessary_wraps, reason = "the field of a request is optional")]
pub(crate) fn of(web_app: &str) -> Option<v1::AuthClientTarget> {
    Some(v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::WebApp(web_app.to_owned())) })
}

pub(crate) fn add(web_app: &str, name: &str) -> v1::AddUserRequest {
    v1::AddUserRequest { target: of(web_app), user: Some(user(name)), ..Default::default() }
}

pub(crate) fn rotate(app: &v1::WebApp, seconds: i64) -> v1::RotateWebAppSecretRequest {
    let grace = Some(prost_types::Duration { seconds, nanos: 0 });
    v1::RotateWebAppSecretRequest { name: app.name.clone(), grace, ..Default::default() }
}

pub(crate) fn delete(app: &v1::WebApp) -> v1::DeleteWebAppRequest {
    v1::DeleteWebAppRequest { name: app.name.clone(), ..Default::default() }
}

#[tokio::test]
async fn a_web_app_changes_its_own_users_and_its_secret_is_nowhere_to_be_read() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, secret) = create(&admin, "").await;
    assert_eq!((app.display_name.as_str(), app.realm.as_str()), ("MyAuthClient", "realms/1"));
    let mut shop = calls(&muster, &app, &secret).devices();
    let added = shop.add_user(add("", "alice")).await.unwrap().into_inner();
    assert_eq!(added.user.unwrap().outcome(), Outcome::Created);
    let update = v1::UpdateUserRequest {
        target: of(&app.name),
        username: "alice".to_owned(),
        email: Some("a@example.com".to_owned()),
        ..Default::default()
    };
    assert_eq!(shop.update_user(update).await.unwrap().into_inner().user.unwrap().outcome(), Outcome::Updated);
    let gone =
        v1::DeviceServiceDeleteUserRequest { target: of(""), username: "alice".to_owned(), ..Default::default() };
    assert_eq!(shop.delete_user(gone).await.unwrap().into_inner().user.unwrap().outcome(), Outcome::Removed);
    shop.add_user(add(&app.name, "bob")).await.unwrap();
    let get = v1::GetWebAppRequest { name: app.name.clone() };
    let shown = service(&admin).get_web_app(get).await.unwrap().into_inner().web_app.unwrap();
    assert_eq!((shown.users, shown.client_id.as_str()), (1, app.client_id.as_str()));
    let list = v1::ListWebAppsRequest::default();
    let listed = service(&admin).list_web_apps(list).await.unwrap().into_inner();
    assert_eq!((listed.web_apps, listed.total_size), (vec![shown], 1));

    let audit = muster.database().audit().await;
    let caller = format!("webapp:{}", app.client_id);
    assert!(audit.iter().any(|row| row.caller == caller && row.method == "AddUser"), "{audit:?}");
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = admin.watch(everything).await.events().await;
    assert!(events.iter().any(|event| event.message == "user bob created" && event.realm == "default"), "{events:?}");
    assert!(!format!("{events:?}{audit:?}").contains(&secret), "no secret enters the feed or the audit log");
    let muster = muster.restart().await;
    let mut again = calls(&muster, &app, &secret).devices();
    assert_eq!(again.add_user(add("", "bob")).await.unwrap().into_inner().user.unwrap().outcome(), Outcome::Unchanged);
}

#[tokio::test]
async fn an_old_secret_is_valid_for_the_grace_and_no_longer() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, first) = create(&admin, "shop").await;
    let wrong = calls(&muster, &app, "guess").devices().add_user(add("", "alice")).await;
    assert_eq!(muster.refusal(wrong).await.reason, Reason::SecretInvalid);
    let second = service(&admin).rotate_web_app_secret(rotate(&app, 3_600)).await.unwrap().into_inner();
    assert!(second.web_app.unwrap().previous_secret_expire_time.is_some());
    for secret in [&first, &second.secret] {
        calls(&muster, &app, secret).devices().add_user(add("", "alice")).await.unwrap();
    }
    let third = service(&admin).rotate_web_app_secret(rotate(&app, 0)).await.unwrap().into_inner().secret;
    calls(&muster, &app, &third).devices().add_user(add("", "alice")).await.unwrap();
    for secret in [&first, &second.secret] {
        let refused = calls(&muster, &app, secret).devices().add_user(add("", "alice")).await;
        assert_eq!(muster.refusal(refused).await.reason, Reason::SecretInvalid);
    }
    let long = service(&admin).rotate_web_app_secret(rotate(&app, 2_592_001)).await;
    assert_eq!(muster.refusal(long).await.fields, ["grace"]);
}

#[tokio::test]
async fn a_web_app_touches_nobody_else_and_nobody_else_speaks_for_it() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, secret) = create(&admin, "shop").await;
    let (other, _) = create(&admin, "other").await;
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    let shop = calls(&muster, &app, &secret);
    for request in [add(&other.name, "alice"), add_user(A, "sales", "alice")] {
        let refusal = muster.refusal(shop.devices().add_user(request).await).await;
        assert_eq!(refusal.reason, Reason::IdentityMismatch);
    }
    for target in ["", &app.name] {
        let refusal = muster.refusal(muster.device(A).devices().add_user(add(target, "alice")).await).await;
        assert_eq!(refusal.reason, Reason::IdentityMismatch);
    }
    let refusal = muster.refusal(shop.devices().sync(sync(A, &["root"])).await).await;
    assert_eq!(refusal.reason, Reason::RoleNotAllowed);
    let remote = v1::UserAttributes { kind: v1::UserKind::Remote.into(), ..user("alice") };
    let remote = v1::AddUserRequest { user: Some(remote), ..add("", "alice") };
    assert_eq!(muster.refusal(shop.devices().add_user(remote).await).await.fields, ["user.kind"]);
}

#[tokio::test]
async fn a_deletion_ends_access_at_once_and_undeleting_brings_the_users_back() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, secret) = create(&admin, "shop").await;
    let mut shop = calls(&muster, &app, &secret).devices();
    shop.add_user(add("", "alice")).await.unwrap();
    let dry = v1::DeleteWebAppRequest { validate_only: true, ..delete(&app) };
    let dry = service(&admin).delete_web_app(dry).await.unwrap().into_inner();
    shop.add_user(add("", "alice")).await.unwrap();
    let planned = v1::DeleteWebAppRequest { plan_id: dry.plan_id, ..delete(&app) };
    let gone = service(&admin).delete_web_app(planned).await.unwrap().into_inner().web_app.unwrap();
    assert_eq!((gone.state(), gone.users), (LifecycleState::Deleted, 0));
    assert_eq!(muster.refusal(shop.add_user(add("", "bob")).await).await.reason, Reason::SecretInvalid);
    let again = service(&admin).delete_web_app(delete(&app)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DELETED"));
    let back = v1::UndeleteWebAppRequest { name: app.name.clone(), ..Default::default() };
    let back = service(&admin).undelete_web_app(back).await.unwrap().into_inner();
    assert_eq!((back.outcome(), back.web_app.unwrap().users), (Outcome::Restored, 1));
    assert_eq!(shop.add_user(add("", "alice")).await.unwrap().into_inner().user.unwrap().outcome(), Outcome::Unchanged);
}

#[tokio::test]
async fn a_web_app_is_listed_among_the_auth_clients_and_moves_like_one() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, secret) = create(&admin, "shop").await;
    calls(&muster, &app, &secret).devices().add_user(add("", "alice")).await.unwrap();
    assert_eq!(admin.shown(v1::ListAuthClientsRequest::default()).await, ["shop"]);
    let client = admin.get_auth_client(app.auth_client.trim_start_matches("authClients/")).await;
    assert_eq!((client.web_app.as_str(), client.serial_number.as_str(), client.users), (app.name.as_str(), "", 1));
    let refusal =
        muster.refusal(admin.auth_clients().delete_auth_client(delete_auth_client(&client.id.to_string())).await).await;
    assert_eq!(refusal.reason, Reason::AuthClientIsWebApp);
    let request = v1::CreateRealmRequest {
        realm: Some(v1::Realm { display_name: "elsewhere".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let realm = admin.realms().create_realm(request).await.unwrap().into_inner().realm.unwrap();
    let request = v1::MoveAuthClientsRequest {
        auth_clients: vec![app.auth_client.clone()],
        realm: realm.name.clone(),
        ..Default::default()
    };
    admin.realms().move_auth_clients(request).await.unwrap();
    let get = || v1::GetWebAppRequest { name: app.name.clone() };
    let moved = service(&admin).get_web_app(get()).await.unwrap().into_inner().web_app.unwrap();
    assert_eq!((moved.realm, moved.users), (realm.name.clone(), 1));

    let of_default = muster.admin_as("of-default", AdminRole::Realm, &["realms/default"], false).await;
    let of_realm = muster.admin_as("of-realm", AdminRole::Realm, &[&realm.name], false).await;
    assert_eq!(muster.refusal(service(&of_default).get_web_app(get()).await).await.reason, Reason::WebAppUnknown);
    assert_eq!(
        muster.refusal(service(&of_default).delete_web_app(delete(&app)).await).await.reason,
        Reason::WebAppUnknown
    );
    let update = v1::UpdateWebAppRequest {
        name: app.name.clone(),
        display_name: "portal".to_owned(),
        etag: app.etag.clone(),
        ..Default::default()
    };
    let renamed = service(&of_realm).update_web_app(update.clone()).await.unwrap().into_inner().web_app.unwrap();
    assert_eq!(renamed.display_name, "portal");
    assert_eq!(muster.refusal(service(&of_realm).update_web_app(update).await).await.reason, Reason::EtagMismatch);
    let request = v1::CreateWebAppRequest::default();
    assert_eq!(muster.refusal(service(&of_realm).create_web_app(request).await).await.reason, Reason::RealmUnknown);
}

#[tokio::test]
async fn a_request_that_is_repeated_shows_no_secret_again() {
    let muster = Muster::start().await;
    let mut apps = service(&muster.admin());
    let request = v1::CreateWebAppRequest { request_id: "7f1d".to_owned(), ..Default::default() };
    let dry = v1::CreateWebAppRequest { validate_only: true, ..request.clone() };
    let dry = apps.create_web_app(dry).await.unwrap().into_inner();
    assert!(dry.secret.is_empty() && !dry.plan_id.is_empty());
    let request = v1::CreateWebAppRequest { plan_id: dry.plan_id, ..request };
    let first = apps.create_web_app(request.clone()).await.unwrap().into_inner();
    let request = v1::CreateWebAppRequest { plan_id: String::new(), ..request };
    let second = apps.create_web_app(request).await.unwrap().into_inner();
    assert_eq!(second.web_app, first.web_app);
    assert_eq!((second.reason.as_str(), second.secret.as_str()), ("SECRET_SHOWN_BEFORE", ""));
}
