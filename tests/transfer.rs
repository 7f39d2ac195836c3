//! Devices handed over from the admin of one realm to the admin of another.

use muster_proto::Reason;
use muster_proto::v1::{self, AdminRole, HaRole, Outcome};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster};

use crate::clusters::{ha, only_cluster, reported};

const WRONG: &str = "22222-22222-22222-22222";

fn release() -> v1::CreateReleaseCodeRequest {
    v1::CreateReleaseCodeRequest { name: format!("devices/{A}"), ..Default::default() }
}

fn claim(code: &str) -> v1::ClaimDeviceRequest {
    v1::ClaimDeviceRequest {
        name: format!("devices/{A}"),
        release_code: code.to_owned(),
        realm: "realms/east".to_owned(),
        ..Default::default()
    }
}

async fn users_of(admin: &Caller) -> Vec<String> {
    let listed = admin.users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner();
    listed.users.into_iter().map(|user| user.username).collect()
}

/// A server with a device and its user alice in the realm "default", and an admin each of that realm and of "east".
async fn two_admins() -> (Muster, Caller, Caller) {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    muster.device(A).devices().add_user(add_user(A, "sales", "alice")).await.unwrap();
    let realm = v1::Realm { display_name: "east".to_owned(), ..Default::default() };
    let east = v1::CreateRealmRequest { realm: Some(realm), ..Default::default() };
    muster.admin().realms().create_realm(east).await.unwrap();
    let from = muster.admin_as("from", AdminRole::Realm, &["realms/default"], false).await;
    let to = muster.admin_as("to", AdminRole::Realm, &["realms/east"], false).await;
    (muster, from, to)
}

#[tokio::test]
async fn a_device_goes_to_another_realm_by_a_code_that_its_own_realm_made() {
    let (muster, from, to) = two_admins().await;
    assert_eq!(
        muster.refusal(to.device_admin().create_release_code(release()).await).await.reason,
        Reason::DeviceUnknown
    );
    let rehearsed = v1::CreateReleaseCodeRequest { validate_only: true, ..release() };
    let rehearsed = from.device_admin().create_release_code(rehearsed).await.unwrap().into_inner();
    assert!(rehearsed.release_code.is_empty() && !rehearsed.plan_id.is_empty());
    let made = v1::CreateReleaseCodeRequest { plan_id: rehearsed.plan_id, ..release() };
    let made = from.device_admin().create_release_code(made).await.unwrap().into_inner();
    assert!(made.outcome() == Outcome::Created && made.expire_time.is_some());
    let code = made.release_code.as_str();

    let refusal = muster.refusal(to.device_admin().claim_device(claim(WRONG)).await).await;
    assert_eq!(refusal.reason, Reason::ReleaseCodeInvalid);
    let stranger = v1::ClaimDeviceRequest { name: format!("devices/{B}"), ..claim(code) };
    let refusal = muster.refusal(to.device_admin().claim_device(stranger).await).await;
    assert_eq!(refusal.reason, Reason::ReleaseCodeInvalid);
    let elsewhere = v1::ClaimDeviceRequest { realm: "realms/default".to_owned(), ..claim(code) };
    let refusal = muster.refusal(to.device_admin().claim_device(elsewhere).await).await;
    assert_eq!(refusal.reason, Reason::RealmUnknown);
    let nothing = muster.refusal(to.device_admin().claim_device(v1::ClaimDeviceRequest::default()).await).await;
    assert_eq!(nothing.fields, ["name", "release_code", "realm"]);

    let preview = v1::ClaimDeviceRequest { validate_only: true, ..claim(code) };
    let preview = to.device_admin().claim_device(preview).await.unwrap().into_inner();
    assert_eq!((preview.outcome(), preview.auth_clients.len()), (Outcome::Updated, 2));
    assert_eq!((users_of(&from).await, users_of(&to).await), (vec!["alice".to_owned()], vec![]));
    // The code is known to the database, through a restart, by its hash alone.
    let muster = muster.stop().await.start().await;
    let (from, to) = (muster.admin_as("from-2", AdminRole::Realm, &["realms/default"], false).await, {
        muster.admin_as("to-2", AdminRole::Realm, &["realms/east"], false).await
    });
    let planned = v1::ClaimDeviceRequest { plan_id: preview.plan_id, ..claim(&code.replace('-', "").to_lowercase()) };
    let done = to.device_admin().claim_device(planned).await.unwrap().into_inner();
    assert_eq!((done.outcome(), &done.auth_clients), (Outcome::Updated, &preview.auth_clients));
    assert_eq!((users_of(&from).await, users_of(&to).await), (vec![], vec!["alice".to_owned()]));

    let again = to.device_admin().claim_device(claim(code)).await.unwrap().into_inner();
    assert_eq!((again.outcome(), again.auth_clients.len()), (Outcome::Unchanged, 0));
    let used = v1::ClaimDeviceRequest { realm: "realms/default".to_owned(), ..claim(code) };
    let refusal = muster.refusal(from.device_admin().claim_device(used).await).await;
    assert_eq!(refusal.reason, Reason::ReleaseCodeInvalid);
    let audited = muster.database().audit().await;
    let rows = |method: &str| audited.iter().filter(|row| row.method == method).count();
    // A wrong code, the device, and its two auth clients.
    assert_eq!((rows("CreateReleaseCode"), rows("ClaimDevice")), (1, 4));
    let everything = v1::StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = muster.admin().watch(everything).await.events().await;
    assert!(events.iter().any(|event| event.message.contains("2 of 2 auth clients moved")), "{events:?}");
    assert!(!format!("{events:?}{:?}", audited.iter().map(|row| &row.changes).collect::<Vec<_>>()).contains(code));
}

#[tokio::test]
async fn ten_wrong_codes_make_the_right_one_void() {
    let (muster, from, to) = two_admins().await;
    let code = from.device_admin().create_release_code(release()).await.unwrap().into_inner().release_code;
    for guess in 0..10 {
        let wrong = v1::ClaimDeviceRequest { validate_only: guess % 2 == 0, ..claim(WRONG) };
        assert_eq!(
            muster.refusal(to.device_admin().claim_device(wrong).await).await.reason,
            Reason::ReleaseCodeInvalid
        );
    }
    let refusal = muster.refusal(to.device_admin().claim_device(claim(&code)).await).await;
    assert_eq!(refusal.reason, Reason::ReleaseCodeInvalid);
    assert_eq!(users_of(&to).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_member_is_handed_over_with_its_whole_cluster_and_every_user_of_it() {
    let (muster, from, to) = two_admins().await;
    let vdoms = ["root", "sales"];
    for (serial, role) in [(A, HaRole::Primary), (B, HaRole::Secondary)] {
        let request = reported(serial, &vdoms, ha(role, None, &[A, B]));
        muster.device(serial).devices().sync(request).await.unwrap();
    }
    let user = |users: &[v1::User]| users.iter().map(|it| (it.username.clone(), it.auth_clients)).collect::<Vec<_>>();
    let listed = v1::ListUsersRequest::default;
    let before = user(&from.users().list_users(listed()).await.unwrap().into_inner().users);
    // The code may be of any member: they have the same auth clients.
    let of_secondary = v1::CreateReleaseCodeRequest { name: format!("devices/{B}"), ..release() };
    let code = from.device_admin().create_release_code(of_secondary).await.unwrap().into_inner().release_code;
    let request = v1::ClaimDeviceRequest { name: format!("devices/{B}"), ..claim(&code) };
    let done = to.device_admin().claim_device(request).await.unwrap().into_inner();
    assert_eq!((done.outcome(), done.auth_clients.len()), (Outcome::Updated, 2));
    assert_eq!(user(&to.users().list_users(listed()).await.unwrap().into_inner().users), before);
    assert_eq!(users_of(&from).await, Vec::<String>::new());
    let clients: Vec<_> = [A, B].map(|serial| format!("{serial}-sales")).to_vec();
    for name in &clients {
        let client = muster.admin().get_auth_client(name).await;
        assert_eq!((client.users, client.cluster), (1, only_cluster(&muster).await.name));
        assert_eq!(client.realm, to.get_auth_client(name).await.realm);
    }
    // The cluster goes on as it was, in its new realm.
    let again = reported(A, &["root", "sales", "dmz"], ha(HaRole::Primary, Some(1), &[A, B]));
    muster.device(A).devices().sync(again).await.unwrap();
    assert_eq!(to.get_auth_client(&format!("{B}-dmz")).await.users, 0);
    assert_eq!(users_of(&to).await, ["alice"]);
}
