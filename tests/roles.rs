//! Every rpc against every kind of caller, by the table that the gate goes by.
//!
//! A new rpc needs a row in `METHODS`, or the server does not compile; and if it is about a device or about something in a realm, a sample
//! here: a request about something in the realm "default", and the same about something that never was.

use data_encoding::BASE64;
use muster_proto::v1::web_app_service_client::WebAppServiceClient;
use muster_proto::v1::{self, AdminRole};
use muster_proto::{DESCRIPTORS, Reason};
use muster_server::rpc::{Access, Audience, Extent, METHODS};
use muster_tests::requests::*;
use muster_tests::{Caller, Muster, Refusal, eventually, hello};
use prost::Message as _;
use prost::bytes::Bytes;
use tonic::{Code, Response, Status};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Expired,
    Revoked,
    Device,
    OtherDevice,
    Relay,
    Global,
    GlobalReader,
    OfRealm,
    ReaderOfRealm,
    OfAnotherRealm,
    WebApp,
}

/// What a caller must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The call is let in, and finds what it asks for.
    Found,
    /// The call is let in, whatever becomes of it.
    LetIn,
    /// The call is let in, and finds nothing of another realm.
    Nothing,
    Refused(Reason),
}

fn expected(audience: Audience, who: Who) -> Expected {
    use Expected::{Found, LetIn, Nothing, Refused};
    use Who::{
        Device, Expired, Global, GlobalReader, Nobody, OfAnotherRealm, OfRealm, OtherDevice, ReaderOfRealm, Relay,
        Revoked, WebApp,
    };
    let not_allowed = Refused(Reason::RoleNotAllowed);
    match (audience, who) {
        (_, Nobody) => Refused(Reason::CredentialsMissing),
        (_, Expired | Revoked) => Refused(Reason::TokenInvalid),
        (Audience::Known, _) | (Audience::Devices | Audience::AuthClients, Device | Relay) => LetIn,
        (Audience::Devices | Audience::AuthClients, OtherDevice) | (Audience::AuthClients, WebApp) => {
            Refused(Reason::IdentityMismatch)
        }
        (Audience::Devices | Audience::AuthClients, _)
        | (Audience::Admins(..), Device | OtherDevice | Relay | WebApp)
        | (Audience::Admins(Access::Write, _), GlobalReader | ReaderOfRealm)
        | (Audience::Admins(_, Extent::Register), OfRealm | ReaderOfRealm | OfAnotherRealm) => not_allowed,
        (Audience::Admins(_, Extent::Register), _) => LetIn,
        (Audience::Admins(_, Extent::Realms), OfAnotherRealm) => Nothing,
        (Audience::Admins(_, Extent::Realms), Global | GlobalReader | OfRealm | ReaderOfRealm) => Found,
    }
}

/// A request, and the same about something that never was; a list has none.
struct Sample {
    of_default: Vec<u8>,
    of_nothing: Option<Vec<u8>>,
}

/// A request about one thing, by its name.
fn named<M: prost::Message>(name: &str, never: &str, request: impl Fn(String) -> M) -> Sample {
    let encoded = |name: &str| request(name.to_owned()).encode_to_vec();
    Sample { of_default: encoded(name), of_nothing: Some(encoded(never)) }
}

fn list() -> Sample {
    Sample { of_default: Vec::new(), of_nothing: None }
}

/// A request of a device.
fn of_device(message: &impl prost::Message) -> Sample {
    Sample { of_default: message.encode_to_vec(), of_nothing: None }
}

const DEVICE: [&str; 2] = ["devices/FG101FTK19002788", "devices/FG101FTK19999999"];
/// The user on the auth client: ids are given in order, after those of the first token, the device and its auth clients.
const ALICE: &str = "users/1004";
const NOBODY: &str = "users/1";
/// The Web app that calls, whose id comes after those of the user and its reference.
const APP: &str = "webApps/1006";
const NO_APP: &str = "webApps/1";
const CLIENT: [&str; 2] = ["authClients/FG101FTK19002788-sales", "authClients/FG101FTK19999999-sales"];

/// A request in order for each rpc that is about a device or about something in a realm. Changes are only validated.
fn sample(path: &str) -> Option<Sample> {
    let validate_only = true;
    let [device, no_device] = DEVICE;
    let [client, no_client] = CLIENT;
    Some(match path {
        "DeviceService/Register" => of_device(&v1::RegisterRequest { validate_only, ..register(A, &["sales"]) }),
        "DeviceService/Sync" => of_device(&v1::SyncRequest { validate_only, ..sync(A, &["root", "sales"]) }),
        "DeviceService/AddUser" => of_device(&v1::AddUserRequest { validate_only, ..add_user(A, "sales", "alice") }),
        "DeviceService/UpdateUser" => {
            of_device(&v1::UpdateUserRequest { validate_only, ..update_user(A, "sales", "alice") })
        }
        "DeviceService/DeleteUser" => {
            of_device(&v1::DeviceServiceDeleteUserRequest { validate_only, ..delete_user(A, "sales", "alice") })
        }
        "DeviceService/Channel" => of_device(&channel_hello(A)),
        "DeviceService/Delete" => of_device(&v1::DeleteRequest { validate_only, ..delete_vdom(A, "sales") }),
        "AuthClientService/GetAuthClient" => named(client, no_client, |name| v1::GetAuthClientRequest { name }),
        "AuthClientService/DeleteAuthClient" => {
            named(client, no_client, |name| v1::DeleteAuthClientRequest { name, validate_only, ..Default::default() })
        }
        "DeviceService/SyncUsers" => {
            let begin = v1::SyncUsersBegin { target: target(A, "sales"), validate_only, ..Default::default() };
            of_device(&v1::SyncUsersRequest { kind: Some(v1::sync_users_request::Kind::Begin(begin)) })
        }
        "AuthClientService/UndeleteAuthClient" => {
            named(client, no_client, |name| v1::UndeleteAuthClientRequest { name, validate_only, ..Default::default() })
        }
        "DeviceAdminService/UndeleteDevice" => {
            named(device, no_device, |name| v1::UndeleteDeviceRequest { name, validate_only, ..Default::default() })
        }
        "DeviceAdminService/PurgeDevice" => {
            named(device, no_device, |name| v1::PurgeDeviceRequest { name, validate_only, ..Default::default() })
        }
        "AuthClientService/UpdateAuthClient" => named(client, no_client, |name| {
            let auth_client = Some(v1::AuthClient { alias: "branch".to_owned(), ..Default::default() });
            v1::UpdateAuthClientRequest { name, auth_client, validate_only, ..Default::default() }
        }),
        "AuthClientService/ListAuthClients"
        | "DeviceAdminService/ListDevices"
        | "RealmService/ListRealms"
        | "UserService/ListUsers"
        | "WebAppService/ListWebApps" => list(),
        "RealmService/GetRealm" => named("realms/default", "realms/nowhere", |name| v1::GetRealmRequest { name }),
        "RealmService/MoveAuthClients" => named("realms/default", "realms/nowhere", |realm| {
            let auth_clients = vec![client.to_owned()];
            v1::MoveAuthClientsRequest { auth_clients, realm, validate_only, ..Default::default() }
        }),
        "UserService/GetUser" => named(ALICE, NOBODY, |name| v1::GetUserRequest { name }),
        "UserService/DisableUser" => {
            named(ALICE, NOBODY, |name| v1::DisableUserRequest { name, validate_only, ..Default::default() })
        }
        "UserService/EnableUser" => {
            named(ALICE, NOBODY, |name| v1::EnableUserRequest { name, validate_only, ..Default::default() })
        }
        "UserService/DeleteUser" => {
            named(ALICE, NOBODY, |name| v1::DeleteUserRequest { name, validate_only, ..Default::default() })
        }
        "WebAppService/GetWebApp" => named(APP, NO_APP, |name| v1::GetWebAppRequest { name }),
        "WebAppService/CreateWebApp" => named("realms/default", "realms/nowhere", |realm| v1::CreateWebAppRequest {
            realm,
            validate_only,
            ..Default::default()
        }),
        "WebAppService/UpdateWebApp" => named(APP, NO_APP, |name| v1::UpdateWebAppRequest {
            name,
            display_name: "portal".to_owned(),
            validate_only,
            ..Default::default()
        }),
        "WebAppService/RotateWebAppSecret" => {
            named(APP, NO_APP, |name| v1::RotateWebAppSecretRequest { name, validate_only, ..Default::default() })
        }
        "WebAppService/DeleteWebApp" => {
            named(APP, NO_APP, |name| v1::DeleteWebAppRequest { name, validate_only, ..Default::default() })
        }
        "WebAppService/UndeleteWebApp" => {
            named(APP, NO_APP, |name| v1::UndeleteWebAppRequest { name, validate_only, ..Default::default() })
        }
        "ExplainService/Explain" => named(ALICE, NOBODY, |name| v1::ExplainRequest { name, ..Default::default() }),
        "ExplainService/GetHistory" => {
            named(client, no_client, |name| v1::GetHistoryRequest { name, ..Default::default() })
        }
        "DeviceAdminService/GetDevice" => named(device, no_device, |name| v1::GetDeviceRequest { name }),
        "DeviceAdminService/CreateReleaseCode" => {
            named(device, no_device, |name| v1::CreateReleaseCodeRequest { name, validate_only, ..Default::default() })
        }
        "DeviceAdminService/ClaimDevice" => named("realms/default", "realms/nowhere", |realm| {
            let (name, release_code) = (device.to_owned(), "7K2QX-MMW9R-A4HTB-ZP3VC".to_owned());
            v1::ClaimDeviceRequest { name, release_code, realm, validate_only, ..Default::default() }
        }),
        "DeviceAdminService/RequestSync" => {
            named(device, no_device, |name| v1::RequestSyncRequest { name, validate_only, ..Default::default() })
        }
        "DeviceAdminService/DeleteDevice" => {
            named(device, no_device, |name| v1::DeleteDeviceRequest { name, validate_only, ..Default::default() })
        }
        _ => return None,
    })
}

/// What only somebody who sees the realm "default" can know.
const TELLTALES: [&str; 5] = [A, "sales", "default", "alice", "shop"];

/// Every kind of caller, before a device with two VDOMs in the realm "default"; nothing is in the realm "elsewhere".
async fn callers(muster: &Muster) -> Vec<(Who, Caller)> {
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    muster.device(A).devices().add_user(add_user(A, "sales", "alice")).await.unwrap();
    let alice = muster.admin().users().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner();
    assert_eq!(alice.users[0].name, ALICE);
    let mut apps = WebAppServiceClient::new(muster.admin().connection());
    let made = v1::CreateWebAppRequest { display_name: "shop".to_owned(), ..Default::default() };
    let made = apps.create_web_app(made).await.unwrap().into_inner();
    let (app, secret) = (made.web_app.unwrap(), made.secret);
    assert_eq!(app.name, APP);
    let web_app = BASE64.encode(format!("{}:{secret}", app.client_id).as_bytes());
    muster.database().execute("INSERT INTO realm (id, name) VALUES (2, 'elsewhere')").await;
    let expired = muster.token_of("expired", AdminRole::Global, &[], false).await;
    muster.database().execute("UPDATE admin_token SET expires_at = 1 WHERE display_name = 'expired'").await;
    let revoked = muster.token_of("revoked", AdminRole::Global, &[], false).await;
    muster.revoke("revoked").await;
    let realm = AdminRole::Realm;
    let default = &["realms/default"][..];
    vec![
        (Who::Nobody, muster.nobody()),
        (Who::Expired, muster.nobody().with_token(&expired)),
        (Who::Revoked, muster.nobody().with_token(&revoked)),
        (Who::Device, muster.device(A)),
        (Who::OtherDevice, muster.device(B)),
        (Who::Relay, muster.relay("fmg-1", &[])),
        (Who::Global, muster.admin()),
        (Who::GlobalReader, muster.admin_as("reader", AdminRole::Global, &[], true).await),
        (Who::OfRealm, muster.admin_as("of-realm", realm, default, false).await),
        (Who::ReaderOfRealm, muster.admin_as("reader-of-realm", realm, default, true).await),
        (Who::OfAnotherRealm, muster.admin_as("of-another", realm, &["realms/elsewhere"], false).await),
        (Who::WebApp, muster.nobody().with_authorization(&format!("Basic {web_app}"))),
    ]
}

fn reason_of(result: &Result<Response<Bytes>, Status>) -> Option<Reason> {
    result.as_ref().err().map(|status| Refusal::read(status).reason)
}

fn check(
    expected: Expected,
    sample: Option<&Sample>,
    result: &Result<Response<Bytes>, Status>,
    never: Option<Reason>,
) -> bool {
    let reason = reason_of(result);
    let identity = [Reason::CredentialsMissing, Reason::TokenInvalid, Reason::RoleNotAllowed, Reason::IdentityMismatch];
    match (expected, result) {
        // What is found may be in no state for the call.
        (Expected::Found, Err(status)) => status.code() == Code::FailedPrecondition,
        (Expected::Found, Ok(_)) => true,
        (Expected::LetIn, _) => reason.is_none_or(|reason| !identity.contains(&reason)),
        (Expected::Refused(refused), _) => reason == Some(refused),
        (Expected::Nothing, Ok(answer)) => {
            let answer = String::from_utf8_lossy(answer.get_ref());
            sample.is_some_and(|sample| sample.of_nothing.is_none())
                && !TELLTALES.iter().any(|text| answer.contains(text))
        }
        // The answer of something that never was, to the letter of its reason.
        (Expected::Nothing, Err(status)) => status.code() == Code::NotFound && reason == never,
    }
}

#[tokio::test]
async fn every_rpc_answers_every_role_as_the_table_says() {
    let muster = Muster::start().await;
    let callers = callers(&muster).await;
    let mut wrong = Vec::new();
    for method in METHODS {
        let path = format!("muster.v1.{}", method.path);
        let sample = sample(method.path);
        let needs_sample =
            !matches!(method.audience, Audience::Known | Audience::Admins(_, Extent::Register)) && sample.is_none();
        assert!(!needs_sample, "{} has no sample in tests/roles.rs", method.path);
        // Only a device whose channel is open can be asked for a sync.
        let _channel = match method.path {
            "DeviceAdminService/RequestSync" => Some(muster.device(A).channel(hello(A)).await),
            _ => None,
        };
        let message = sample.as_ref().map(|sample| sample.of_default.clone()).unwrap_or_default();
        let mut never = None;
        if let Some(of_nothing) = sample.as_ref().and_then(|sample| sample.of_nothing.clone()) {
            never = reason_of(&muster.admin().raw(&path, of_nothing).await);
        }
        for (who, caller) in &callers {
            let expected = expected(method.audience, *who);
            let result = eventually(async || {
                let result = caller.raw(&path, message.clone()).await;
                // All strangers have one address, and so one limit.
                (reason_of(&result) != Some(Reason::RateLimited)).then_some(result)
            })
            .await;
            if !check(expected, sample.as_ref(), &result, never) {
                let got = reason_of(&result).map_or("an answer", Reason::as_str);
                wrong.push(format!("{} by {who:?}: {got} instead of {expected:?}", method.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rpc_of_the_protocol_has_a_row() {
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let services = files.iter().filter(|file| file.package() == "muster.v1").flat_map(|file| &file.service);
    let mut served: Vec<_> = services
        .flat_map(|service| service.method.iter().map(|method| format!("{}/{}", service.name(), method.name())))
        .collect();
    let mut rows: Vec<_> = METHODS.iter().map(|method| method.path.to_owned()).collect();
    served.sort();
    rows.sort();
    assert_eq!(served, rows);
}

#[tokio::test]
async fn an_admin_of_a_realm_deletes_no_device_that_is_in_another_realm_too() {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    muster.database().execute("INSERT INTO realm (id, name) VALUES (2, 'elsewhere')").await;
    muster.database().execute("UPDATE auth_client SET realm_id = 2 WHERE vdom = 'sales'").await;
    let admin = muster.admin_as("of-realm", AdminRole::Realm, &["realms/elsewhere"], false).await;
    let seen = admin.get_device(A).await;
    assert_eq!(names(&seen.vdoms), ["sales"]);
    assert_eq!(admin.shown(v1::ListAuthClientsRequest::default()).await, [format!("{A}-sales")]);
    let refusal = muster.refusal(admin.device_admin().delete_device(delete_device(A)).await).await;
    assert_eq!(refusal.reason, Reason::RoleNotAllowed);
    let refusal =
        muster.refusal(admin.auth_clients().delete_auth_client(delete_auth_client(&format!("{A}-root"))).await).await;
    assert_eq!(refusal.reason, Reason::AuthClientUnknown);
    admin.auth_clients().delete_auth_client(delete_auth_client(&format!("{A}-sales"))).await.unwrap();
}

#[tokio::test]
async fn an_admin_of_a_realm_watches_what_is_in_it_and_nothing_else() {
    let muster = Muster::start().await;
    muster.device(A).devices().register(register(A, &["sales"])).await.unwrap();
    muster.database().execute("INSERT INTO realm (id, name) VALUES (2, 'elsewhere')").await;
    muster.database().execute("UPDATE auth_client SET realm_id = 2 WHERE vdom = 'sales'").await;
    let admin = muster.admin_as("of-realm", AdminRole::Realm, &["realms/elsewhere"], false).await;
    muster.device(A).devices().sync(sync(A, &["root", "dmz"])).await.unwrap();
    let everything = v1::StreamDebugLogsRequest { earliest: true, ..Default::default() };
    let (events, _) = admin.watch(everything.clone()).await.events().await;
    let seen: Vec<_> =
        events.iter().map(|event| (event.vdom.as_str(), event.realm.as_str(), event.message.as_str())).collect();
    assert_eq!(seen, [("sales", "elsewhere", "removed")]);
    let (events, _) = muster.admin().watch(everything).await.events().await;
    assert!(events.iter().any(|event| event.vdom == "dmz" && event.realm == "default"), "{events:?}");
}
