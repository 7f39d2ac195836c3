//! Web apps watch what is about themselves, as long as they may.

use muster_proto::Reason;
use muster_proto::v1::stream_debug_logs_response::Kind;
use muster_proto::v1::{self, ClosingReason, DebugFilter, StreamDebugLogsRequest};
use muster_tests::requests::*;
use muster_tests::{Caller, Follower, Muster, Refusal, UserStream, within};

use crate::web_app_syncs::{begin, users};
use crate::web_apps::{add, calls, create, delete, rotate, service};

fn follow() -> StreamDebugLogsRequest {
    StreamDebugLogsRequest { follow: true, ..Default::default() }
}

async fn seen(caller: &Caller) -> Vec<v1::DebugEvent> {
    let everything = StreamDebugLogsRequest { earliest: true, ..Default::default() };
    caller.watch(everything).await.events().await.0
}

/// How a feed that was open ended: what it closed with, and the reason of its status.
async fn ended(mut feed: Follower) -> (ClosingReason, Reason) {
    let (kinds, end) = feed.rest().await;
    let Some(Kind::Closing(closing)) = kinds.last() else { panic!("a feed closes last: {kinds:?}") };
    (closing.reason(), Refusal::read(&end.unwrap_err()).reason)
}

const SHUT_OUT: (ClosingReason, Reason) = (ClosingReason::AuthorisationEnded, Reason::SecretInvalid);

#[tokio::test]
async fn a_web_app_sees_what_is_about_itself_and_nothing_else() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, secret) = create(&admin, "shop").await;
    let (other, others) = create(&admin, "other").await;
    let shop = calls(&muster, &app, &secret);
    let mut live = shop.watch(follow()).await;
    muster.device(A).devices().add_user(add_user(A, "", "dave")).await.unwrap();
    calls(&muster, &other, &others).devices().add_user(add("", "erin")).await.unwrap();
    shop.devices().add_user(add("", "alice")).await.unwrap();
    shop.sync_users(begin(""), &users(&["bob"])).await.unwrap();
    let stranger = muster.refusal(shop.devices().add_user(add(&other.name, "carol")).await).await;
    assert_eq!(stranger.reason, Reason::IdentityMismatch);
    let rename =
        v1::UpdateWebAppRequest { name: app.name.clone(), display_name: "store".to_owned(), ..Default::default() };
    service(&admin).update_web_app(rename).await.unwrap();

    let own = seen(&shop).await;
    assert!(own.iter().all(|event| event.web_app == app.name && event.serial_number.is_empty()), "{own:?}");
    for said in ["user alice created", "user alice removed", "user bob created", "Web app store updated"] {
        assert!(own.iter().any(|event| event.message == said), "{said}: {own:?}");
        live.event(|event| event.message == said).await;
    }
    assert!(own.iter().any(|event| event.reason == "IDENTITY_MISMATCH" && event.terminal), "{own:?}");
    let all = seen(&admin).await;
    let foreign: Vec<_> = all.iter().filter(|event| event.web_app != app.name).collect();
    assert!(foreign.iter().any(|event| event.message.contains("dave")), "{foreign:?}");
    assert!(foreign.iter().any(|event| event.message.contains("erin") && event.web_app == other.name), "{foreign:?}");
    assert!(!foreign.iter().any(|event| event.message.contains("alice") || event.message.contains("bob")));

    let filter = DebugFilter { serial_number: A.to_owned(), ..Default::default() };
    let asked = StreamDebugLogsRequest { include: vec![filter], ..Default::default() };
    let refusal = muster.refusal(shop.debug_logs().stream_debug_logs(asked).await).await;
    assert_eq!(refusal.reason, Reason::IdentityMismatch);
    // Others see nothing of it: neither the device, nor the other Web app.
    for caller in [muster.device(A), calls(&muster, &other, &others)] {
        let events = seen(&caller).await;
        assert!(!events.iter().any(|event| event.web_app == app.name), "{events:?}");
    }
}

#[tokio::test]
async fn the_open_streams_of_a_web_app_end_with_its_deletion() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, secret) = create(&admin, "shop").await;
    let (other, others) = create(&admin, "other").await;
    let shop = calls(&muster, &app, &secret);
    let feed = shop.watch(follow()).await;
    let mut stays = calls(&muster, &other, &others).watch(follow()).await;
    let syncing = UserStream::open(&shop, begin("")).await;
    syncing.list(&users(&["alice"])).await;
    service(&admin).delete_web_app(delete(&app)).await.unwrap();
    assert_eq!(ended(feed).await, SHUT_OUT);
    let status = within(syncing.stalled()).await;
    assert_eq!(Refusal::read(&status).reason, Reason::SecretInvalid);
    calls(&muster, &other, &others).devices().add_user(add("", "bob")).await.unwrap();
    stays.event(|event| event.message == "user bob created").await;
    let back = v1::UndeleteWebAppRequest { name: app.name.clone(), ..Default::default() };
    assert_eq!(service(&admin).undelete_web_app(back).await.unwrap().into_inner().web_app.unwrap().users, 0);
}

#[tokio::test]
async fn the_open_streams_of_an_old_secret_end_with_its_grace_and_those_of_the_new_one_go_on() {
    let muster = Muster::start().await;
    let admin = muster.admin();
    let (app, first) = create(&admin, "shop").await;
    let old = calls(&muster, &app, &first);
    let (feed, syncing) = (old.watch(follow()).await, UserStream::open(&old, begin("")).await);
    let second = service(&admin).rotate_web_app_secret(rotate(&app, 1)).await.unwrap().into_inner().secret;
    let new = calls(&muster, &app, &second);
    let mut goes_on = new.watch(follow()).await;
    assert_eq!(ended(feed).await, SHUT_OUT);
    let status = within(syncing.stalled()).await;
    assert_eq!(Refusal::read(&status).reason, Reason::SecretInvalid);
    new.sync_users(begin(""), &users(&["alice"])).await.unwrap();
    goes_on.event(|event| event.message == "user alice created").await;
    // Without a grace it is at once.
    service(&admin).rotate_web_app_secret(rotate(&app, 0)).await.unwrap();
    assert_eq!(ended(goes_on).await, SHUT_OUT);
}

#[tokio::test]
async fn a_ban_ends_the_sync_of_users_that_a_device_has_open() {
    let muster = Muster::start().await;
    let device = muster.device(A);
    device.devices().register(register(A, &[])).await.unwrap();
    let begin = v1::SyncUsersBegin { target: target(A, ""), ..Default::default() };
    let syncing = UserStream::open(&device, begin).await;
    syncing.list(&users(&["alice"])).await;
    let ban = v1::DeleteDeviceRequest { mode: v1::DeleteMode::Ban.into(), ..delete_device(A) };
    muster.admin().device_admin().delete_device(ban).await.unwrap();
    let status = within(syncing.stalled()).await;
    assert_eq!(Refusal::read(&status).reason, Reason::DeviceBanned);
}
