//! Realms, the users in them, and auth clients moved between them, over real gRPC.

use muster_proto::Reason;
use muster_proto::v1::{self, LifecycleState, Outcome, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster};

fn create(name: &str) -> v1::CreateRealmRequest {
    let realm = v1::Realm { display_name: name.to_owned(), ..Default::default() };
    v1::CreateRealmRequest { realm: Some(realm), ..Default::default() }
}

fn delete(name: &str) -> v1::DeleteRealmRequest {
    v1::DeleteRealmRequest { name: name.to_owned(), ..Default::default() }
}

fn moving(clients: &[&str], realm: &str) -> v1::MoveAuthClientsRequest {
    let auth_clients = clients.iter().map(|name| format!("authClients/{name}")).collect();
    v1::MoveAuthClientsRequest { auth_clients, realm: realm.to_owned(), ..Default::default() }
}

async fn made(admin: &Caller, name: &str) -> v1::Realm {
    admin.realms().create_realm(create(name)).await.unwrap().into_inner().realm.unwrap()
}

async fn get(admin: &Caller, name: &str) -> v1::Realm {
    let request = v1::GetRealmRequest { name: name.to_owned() };
    admin.realms().get_realm(request).await.unwrap().into_inner().realm.unwrap()
}

async fn users(admin: &Caller, filter: &str) -> Vec<v1::User> {
    let request = v1::ListUsersRequest { filter: filter.to_owned(), ..Default::default() };
    admin.users().list_users(request).await.unwrap().into_inner().users
}

/// A server with two devices, each with the VDOM "root" and users of the same names on it: alice and bob. The first device is in the realm
/// "default", the second one in "east".
async fn two_realms_with_the_same_people() -> Muster {
    let muster = Muster::start().await;
    let (mut relay, admin) = (muster.relay("fmg-1", &[]).devices(), muster.admin());
    relay.register(register(A, &[])).await.unwrap();
    relay.register(register(B, &[])).await.unwrap();
    made(&admin, "east").await;
    admin.realms().move_auth_clients(moving(&["FG101FTK19002789-root"], "realms/east")).await.unwrap();
    for (serial, name) in [(A, "alice"), (B, "alice"), (A, "bob"), (B, "bob")] {
        let mut request = add_user(serial, "root", name);
        "+14080123456".clone_into(&mut request.user.as_mut().unwrap().mobile_number);
        relay.add_user(request).await.unwrap();
    }
    muster
}

#[tokio::test]
async fn the_default_realm_is_there_from_the_start_and_cannot_go() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let default = get(&admin, "realms/default").await;
    assert_eq!(
        (default.name.as_str(), default.is_default, default.state()),
        ("realms/1", true, LifecycleState::Active)
    );
    for name in ["realms/default", "realms/1"] {
        let refusal = muster.refusal(admin.realms().delete_realm(delete(name)).await).await;
        assert_eq!(refusal.reason, Reason::RealmDefault);
    }
    let renamed = v1::Realm { display_name: "other".to_owned(), ..Default::default() };
    let renamed = v1::UpdateRealmRequest { name: "realms/1".to_owned(), realm: Some(renamed), ..Default::default() };
    let refusal = muster.refusal(admin.realms().update_realm(renamed).await).await;
    assert_eq!(refusal.reason, Reason::RealmDefault);
}

#[tokio::test]
async fn a_realm_lives_from_its_creation_to_its_return() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let only = v1::CreateRealmRequest { validate_only: true, ..create("east") };
    let said = admin.realms().create_realm(only).await.unwrap().into_inner();
    assert_eq!((said.outcome(), said.realm.unwrap().name.as_str()), (Outcome::Created, ""));
    let realm = made(&admin, "east").await;
    assert_eq!(get(&admin, &realm.name).await, realm);
    assert_eq!(get(&admin, "realms/east").await, realm);

    let change = v1::UpdateRealmRequest {
        name: "realms/east".to_owned(),
        realm: Some(v1::Realm {
            description: "Zürich".to_owned(),
            user_quota: Some(5),
            display_name: "west".to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["description".to_owned(), "user_quota".to_owned()] }),
        etag: realm.etag.clone(),
        ..Default::default()
    };
    let changed = admin.realms().update_realm(change.clone()).await.unwrap().into_inner().realm.unwrap();
    assert_eq!(
        (changed.display_name.as_str(), changed.description.as_str(), changed.user_quota),
        ("east", "Zürich", Some(5))
    );
    let refusal = muster.refusal(admin.realms().update_realm(change).await).await;
    assert_eq!(refusal.reason, Reason::EtagMismatch);
    let nothing = v1::UpdateRealmRequest { name: "realms/east".to_owned(), ..Default::default() };
    let refusal = muster.refusal(admin.realms().update_realm(nothing).await).await;
    assert_eq!(refusal.fields, ["update_mask"]);

    let gone = admin.realms().delete_realm(delete("realms/east")).await.unwrap().into_inner();
    assert_eq!((gone.outcome(), gone.realm.unwrap().state()), (Outcome::Removed, LifecycleState::Deleted));
    let again = admin.realms().delete_realm(delete("realms/east")).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DELETED"));
    let refusal = muster.refusal(admin.realms().create_realm(create("east")).await).await;
    assert_eq!(refusal.reason, Reason::RealmNameTaken);
    let undelete = v1::UndeleteRealmRequest { name: "realms/east".to_owned(), ..Default::default() };
    let back = admin.realms().undelete_realm(undelete).await.unwrap().into_inner();
    assert_eq!((back.outcome(), back.realm.unwrap().id), (Outcome::Restored, realm.id));
    let muster = muster.restart().await;
    let held = get(&muster.admin(), "realms/east").await;
    assert_eq!((held.user_quota, held.description.as_str(), held.state()), (Some(5), "Zürich", LifecycleState::Active));
    let methods: Vec<_> = muster.database().audit().await.into_iter().map(|row| row.method).collect();
    assert_eq!(methods, ["CreateRealm", "UpdateRealm", "DeleteRealm", "UndeleteRealm"]);
}

#[tokio::test]
async fn the_same_request_is_answered_with_the_same_realm_even_after_a_restart() {
    let muster = Muster::start().await;
    let request = v1::CreateRealmRequest { request_id: "4d1f".to_owned(), ..create("east") };
    let first = muster.admin().realms().create_realm(request.clone()).await.unwrap().into_inner();
    let muster = muster.restart().await;
    let again = muster.admin().realms().create_realm(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.outcome(), again.outcome()), (Outcome::Created, Outcome::Unchanged));
    assert_eq!(again.realm, first.realm);
    for other in [create("east"), v1::CreateRealmRequest { request_id: "4d20".to_owned(), ..request }] {
        let refusal = muster.refusal(muster.admin().realms().create_realm(other).await).await;
        assert_eq!(refusal.reason, Reason::RealmNameTaken);
    }
}

#[tokio::test]
async fn realms_are_listed_in_pages_by_any_column() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    for name in ["east", "west", "east-2"] {
        made(&admin, name).await;
    }
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    let list = async |filter: &str, order_by: &str| {
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListRealmsRequest {
                page_size: 1,
                page_token,
                filter: filter.to_owned(),
                order_by: order_by.to_owned(),
                show_deleted: false,
            };
            let page = admin.realms().list_realms(request).await.unwrap().into_inner();
            names.extend(page.realms.into_iter().map(|realm| realm.display_name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return names;
            }
        }
    };
    assert_eq!(list("", "").await, ["default", "east", "west", "east-2"]);
    assert_eq!(list("", "display_name desc").await, ["west", "east-2", "east", "default"]);
    assert_eq!(list("", "auth_clients desc").await, ["default", "east-2", "west", "east"]);
    assert_eq!(list(r#"display_name = "east*""#, "users").await, ["east", "east-2"]);
    let unknown = v1::GetRealmRequest { name: "realms/nowhere".to_owned() };
    assert_eq!(muster.refusal(admin.realms().get_realm(unknown).await).await.reason, Reason::RealmUnknown);
    let malformed = v1::GetRealmRequest { name: "realms/a/b".to_owned() };
    assert_eq!(muster.refusal(admin.realms().get_realm(malformed).await).await.reason, Reason::NameMalformed);
}

#[tokio::test]
async fn a_move_that_merges_users_says_so_before_and_does_exactly_that() {
    let muster = two_realms_with_the_same_people().await;
    let admin = muster.admin();
    let lost = users(&admin, r#"realm = "default" AND username = "alice""#).await[0].name.clone();
    let only = v1::MoveAuthClientsRequest { validate_only: true, ..moving(&["FG101FTK19002788-root"], "realms/east") };
    let said = admin.realms().move_auth_clients(only).await.unwrap().into_inner();
    assert_eq!(users(&admin, "").await.len(), 4);
    let item = &said.auth_clients[0];
    assert_eq!(
        (item.outcome(), item.users_total, item.display_name.as_str()),
        (Outcome::Updated, 2, "FG101FTK19002788-root")
    );
    let lines: Vec<_> =
        item.users.iter().map(|user| (user.username.as_str(), user.outcome(), user.reason.as_str())).collect();
    assert_eq!(lines, [("alice", Outcome::Removed, "USERS_MERGED"), ("bob", Outcome::Removed, "USERS_MERGED")]);
    let detail = &item.users[0].detail;
    assert!(detail.contains(&format!("is kept; {lost} of realm default is gone")), "{detail}");
    assert!(!item.users[0].fix.is_empty());

    let exact = v1::MoveAuthClientsRequest {
        plan_id: said.plan_id.clone(),
        ..moving(&["FG101FTK19002788-root"], "realms/east")
    };
    let done = admin.realms().move_auth_clients(exact.clone()).await.unwrap().into_inner();
    assert_eq!((done.outcome(), &done.auth_clients), (Outcome::Updated, &said.auth_clients));
    let realm = done.realm.unwrap();
    assert_eq!((realm.users, realm.auth_clients), (2, 2));
    assert_eq!(get(&admin, "realms/default").await.users, 0);
    let held = users(&admin, "").await;
    let held: Vec<_> =
        held.iter().map(|user| (user.username.as_str(), user.realm.as_str(), user.auth_clients)).collect();
    assert_eq!(held, [("alice", "east", 2), ("bob", "east", 2)]);
    let refusal = muster.refusal(admin.realms().move_auth_clients(exact).await).await;
    assert_eq!(refusal.reason, Reason::PlanStale);

    let audit = muster.database().audit().await;
    let row = audit.iter().find(|row| row.operation_id == done.operation_id).unwrap();
    assert!(
        row.changes.contains(&format!(r#""user":"alice","field":"user","before":"{lost}","after":"users/"#)),
        "{}",
        row.changes
    );
    let events = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = admin.watch(events).await.events().await;
    let of_move: Vec<_> = events.iter().filter(|event| event.operation_id == done.operation_id).collect();
    assert!(of_move.iter().all(|event| event.realm == "east"), "{of_move:?}");
    assert_eq!(of_move.iter().filter(|event| event.reason == "USERS_MERGED").count(), 2);
    assert_eq!(
        of_move.last().unwrap().message,
        "1 of 1 auth clients moved, 2 users merged or split, realm east updated"
    );
}

#[tokio::test]
async fn a_move_beyond_the_quota_is_refused_with_the_quota_and_moves_nobody() {
    let muster = two_realms_with_the_same_people().await;
    let admin = muster.admin();
    let west = v1::Realm { display_name: "west".to_owned(), user_quota: Some(1), ..Default::default() };
    let west = v1::CreateRealmRequest { realm: Some(west), ..Default::default() };
    let west = admin.realms().create_realm(west).await.unwrap().into_inner().realm.unwrap();
    let call = admin.realms().move_auth_clients(moving(&["FG101FTK19002788-root"], "realms/west")).await;
    let status = call.as_ref().unwrap_err().clone();
    let refusal = muster.refusal(call).await;
    assert_eq!(refusal.reason, Reason::RealmQuotaExceeded);
    let details = tonic_types::StatusExt::get_error_details(&status);
    let violation = &details.quota_failure().unwrap().violations[0];
    assert_eq!((violation.subject.as_str(), violation.description.as_str()), (west.name.as_str(), "limit 1, used 0"));
    assert_eq!(details.error_info().unwrap().metadata["quota_limit"], "1");
    assert_eq!(admin.get_auth_client("FG101FTK19002788-root").await.realm, "default");
    assert_eq!(get(&admin, "realms/west").await.users, 0);
}

#[tokio::test]
async fn a_move_of_what_is_not_there_moves_nothing() {
    let muster = two_realms_with_the_same_people().await;
    let admin = muster.admin();
    let call = admin.realms().move_auth_clients(moving(&["FG101FTK19002788-root", "77", "78"], "realms/east")).await;
    let refusal = muster.refusal(call).await;
    assert_eq!(refusal.reason, Reason::AuthClientUnknown);
    assert!(refusal.message.contains("authClients/77, authClients/78"), "{}", refusal.message);
    assert_eq!(admin.get_auth_client("FG101FTK19002788-root").await.realm, "default");
    let call = admin.realms().move_auth_clients(moving(&["x"], "east")).await;
    assert_eq!(muster.refusal(call).await.fields, ["auth_clients[0]", "realm"]);
    let refusal = muster.refusal(admin.realms().delete_realm(delete("realms/east")).await).await;
    assert_eq!(refusal.reason, Reason::RealmNotEmpty);
    assert!(refusal.message.contains("1 auth clients and 2 users"), "{}", refusal.message);
}

#[tokio::test]
async fn an_auth_client_gets_an_alias_and_another_realm() {
    let muster = two_realms_with_the_same_people().await;
    let admin = muster.admin();
    let update = |alias: &str, realm: &str| v1::UpdateAuthClientRequest {
        name: "authClients/FG101FTK19002788-root".to_owned(),
        auth_client: Some(v1::AuthClient { alias: alias.to_owned(), realm: realm.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let named = admin.auth_clients().update_auth_client(update("branch 7", "")).await.unwrap().into_inner();
    assert_eq!(named.outcome(), Outcome::Updated);
    let client = named.auth_client.unwrap();
    assert_eq!((client.alias.as_str(), client.realm.as_str(), client.users), ("branch 7", "default", 2));
    assert_eq!(client, admin.get_auth_client("FG101FTK19002788-root").await);
    let moved = admin.auth_clients().update_auth_client(update("", "east")).await.unwrap().into_inner();
    assert_eq!(moved.users.len(), 2);
    let client = moved.auth_client.unwrap();
    assert_eq!((client.alias.as_str(), client.realm.as_str()), ("branch 7", "east"));
    assert_eq!(client, admin.get_auth_client("FG101FTK19002788-root").await);
    let refusal = muster.refusal(admin.auth_clients().update_auth_client(update("\u{1b}", "a/b")).await).await;
    assert_eq!(refusal.fields, ["auth_client.alias", "auth_client.realm"]);
}

#[tokio::test]
async fn users_are_found_by_what_is_known_of_them() {
    let muster = two_realms_with_the_same_people().await;
    let admin = muster.admin();
    for (filter, count) in [
        ("", 4),
        (r#"username = "al*""#, 2),
        (r#"realm = "east""#, 2),
        (r#"realm = "east" AND username = "bob""#, 1),
        (r#"email = "bob@example.com""#, 2),
        (r#"email = "carol*""#, 0),
        (r#"auth_client = "authClients/FG101FTK19002789-root""#, 2),
        (r#"auth_client = "authClients/FG101FTK19002789-root" AND username = "alice""#, 1),
    ] {
        assert_eq!(users(&admin, filter).await.len(), count, "{filter}");
    }
    for (filter, reason) in [
        (r#"auth_client = "authClients/FG101FTK*""#, Reason::FilterMalformed),
        (r#"auth_client = "x""#, Reason::FilterMalformed),
        (r#"auth_client = "authClients/77""#, Reason::AuthClientUnknown),
        (r#"phone = "x""#, Reason::FilterMalformed),
    ] {
        let request = v1::ListUsersRequest { filter: filter.to_owned(), ..Default::default() };
        assert_eq!(muster.refusal(admin.users().list_users(request).await).await.reason, reason, "{filter}");
    }
    let request = v1::ListUsersRequest { page_size: 3, order_by: "username desc".to_owned(), ..Default::default() };
    let first = admin.users().list_users(request.clone()).await.unwrap().into_inner();
    let rest = v1::ListUsersRequest { page_token: first.next_page_token.clone(), ..request };
    let rest = admin.users().list_users(rest).await.unwrap().into_inner();
    let names: Vec<_> = first.users.iter().chain(&rest.users).map(|user| user.username.as_str()).collect();
    assert_eq!((names, first.total_size, rest.next_page_token.as_str()), (vec!["bob", "bob", "alice", "alice"], 4, ""));
}

#[tokio::test]
async fn a_user_is_disabled_enabled_and_deleted_and_the_answer_says_that_it_may_return() {
    let muster = two_realms_with_the_same_people().await;
    let admin = muster.admin();
    let name = users(&admin, r#"realm = "default" AND username = "alice""#).await[0].name.clone();
    let get = async || {
        let request = v1::GetUserRequest { name: name.clone() };
        admin.users().get_user(request).await.unwrap().into_inner()
    };
    let shown = get().await;
    assert_eq!(shown.references.len(), 1);
    let reference = &shown.references[0];
    assert_eq!((reference.email.as_str(), reference.mobile_number.as_str()), ("alice@example.com", "+14080123456"));
    assert_eq!(
        (reference.auth_client_display_name.as_str(), reference.kind.as_str()),
        ("FG101FTK19002788-root", "local")
    );

    let etag = shown.user.unwrap().etag;
    let disable = v1::DisableUserRequest { name: name.clone(), etag: etag.clone(), ..Default::default() };
    let disabled = admin.users().disable_user(disable.clone()).await.unwrap().into_inner();
    assert_eq!((disabled.outcome(), disabled.user.unwrap().disabled), (Outcome::Updated, true));
    assert_eq!(muster.refusal(admin.users().disable_user(disable).await).await.reason, Reason::EtagMismatch);
    let enable = v1::EnableUserRequest { name: name.clone(), validate_only: true, ..Default::default() };
    assert_eq!(admin.users().enable_user(enable.clone()).await.unwrap().into_inner().outcome(), Outcome::Updated);
    assert!(get().await.user.unwrap().disabled);
    let enable = v1::EnableUserRequest { validate_only: false, ..enable };
    admin.users().enable_user(enable.clone()).await.unwrap();
    assert_eq!(admin.users().enable_user(enable).await.unwrap().into_inner().outcome(), Outcome::Unchanged);

    let delete = v1::DeleteUserRequest { name: name.clone(), ..Default::default() };
    let only = v1::DeleteUserRequest { validate_only: true, ..delete.clone() };
    let said = admin.users().delete_user(only).await.unwrap().into_inner();
    let done = admin.users().delete_user(delete.clone()).await.unwrap().into_inner();
    assert_eq!((said.outcome, &said.auth_clients), (done.outcome, &done.auth_clients));
    assert_eq!((done.outcome(), done.reason.as_str()), (Outcome::Removed, "USER_MAY_RETURN"));
    assert!(done.fix.contains("brings it back"), "{}", done.fix);
    assert_eq!(done.auth_clients[0].display_name, "FG101FTK19002788-root");
    let gone = get().await;
    assert_eq!((gone.user.unwrap().state(), gone.references.len()), (LifecycleState::Deleted, 0));
    let again = admin.users().delete_user(delete).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.reason.as_str()), (Outcome::Unchanged, "ALREADY_DELETED"));
    assert_eq!(users(&admin, "").await.len(), 3);
    assert_eq!(admin.get_auth_client("FG101FTK19002788-root").await.users, 1);
    let settings = admin.settings().get_settings(v1::GetSettingsRequest {}).await.unwrap().into_inner();
    assert_eq!(settings.settings.unwrap().users, 3);
    let unknown = v1::GetUserRequest { name: "users/7".to_owned() };
    assert_eq!(muster.refusal(admin.users().get_user(unknown).await).await.reason, Reason::UserUnknown);
}

#[tokio::test]
async fn a_full_realm_refuses_a_user_with_its_quota_and_says_who_holds_the_rest() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.add_user(add_user(A, "root", "alice")).await.unwrap();
    let settings = v1::Settings { user_quota: Some(3), share_quota: Some(false), ..Default::default() };
    let update = v1::UpdateSettingsRequest { settings: Some(settings), ..Default::default() };
    admin.settings().update_settings(update).await.unwrap();
    let east = v1::Realm { display_name: "east".to_owned(), user_quota: Some(2), ..Default::default() };
    let east = v1::CreateRealmRequest { realm: Some(east), ..Default::default() };
    admin.realms().create_realm(east).await.unwrap();

    let call = device.add_user(add_user(A, "root", "bob")).await;
    let status = call.as_ref().unwrap_err().clone();
    let refusal = muster.refusal(call).await;
    assert_eq!(refusal.reason, Reason::QuotaAllocatedElsewhere);
    assert!(refusal.message.contains("2 unused ones are allocated to east (2 of 2)"), "{}", refusal.message);
    let details = tonic_types::StatusExt::get_error_details(&status);
    let violation = &details.quota_failure().unwrap().violations[0];
    assert_eq!(violation.subject, "settings");
    assert_eq!(violation.description, "limit 3, used 1; 2 unused ones are allocated to east (2 of 2)");

    let own = v1::Realm { user_quota: Some(1), ..Default::default() };
    let own = v1::UpdateRealmRequest { name: "realms/default".to_owned(), realm: Some(own), ..Default::default() };
    admin.realms().update_realm(own).await.unwrap();
    let refusal = muster.refusal(device.add_user(add_user(A, "root", "bob")).await).await;
    assert_eq!(refusal.reason, Reason::RealmQuotaExceeded);
    assert!(refusal.message.contains("realm default may have 1 users and has 1"), "{}", refusal.message);
    // A disabled user counts until it is deleted.
    let alice = users(&admin, "").await[0].name.clone();
    let disable = v1::DisableUserRequest { name: alice.clone(), ..Default::default() };
    admin.users().disable_user(disable).await.unwrap();
    let refusal = muster.refusal(device.add_user(add_user(A, "root", "bob")).await).await;
    assert_eq!(refusal.reason, Reason::RealmQuotaExceeded);
    admin.users().delete_user(v1::DeleteUserRequest { name: alice, ..Default::default() }).await.unwrap();
    device.add_user(add_user(A, "root", "bob")).await.unwrap();
}

#[tokio::test]
async fn in_multi_realm_mode_an_auth_client_of_before_gets_users_once_it_is_moved() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.register(register(A, &[])).await.unwrap();
    let on = v1::Settings { multi_realm_mode: Some(true), ..Default::default() };
    let on = v1::UpdateSettingsRequest { settings: Some(on), ..Default::default() };
    admin.settings().update_settings(on).await.unwrap();
    let refusal = muster.refusal(device.add_user(add_user(A, "root", "alice")).await).await;
    assert_eq!(refusal.reason, Reason::RealmRequired);
    made(&admin, "east").await;
    admin.realms().move_auth_clients(moving(&["FG101FTK19002788-root"], "realms/east")).await.unwrap();
    device.add_user(add_user(A, "root", "alice")).await.unwrap();
    assert_eq!(get(&admin, "realms/east").await.users, 1);
}

#[tokio::test]
async fn a_deleted_user_is_back_with_the_next_word_of_its_device() {
    let muster = Muster::start().await;
    let (mut device, admin) = (muster.device(A).devices(), muster.admin());
    device.add_user(add_user(A, "root", "alice")).await.unwrap();
    let before = users(&admin, "").await[0].clone();
    let delete = v1::DeleteUserRequest { name: before.name.clone(), ..Default::default() };
    admin.users().delete_user(delete).await.unwrap();
    assert!(users(&admin, "").await.is_empty());
    device.add_user(add_user(A, "root", "alice")).await.unwrap();
    assert_eq!(users(&admin, "").await[0].id, before.id);
}
