//! Register, Sync and Delete.

use muster_proto::v1;
use muster_proto::v1::auth_client_service_client::AuthClientServiceClient;
use tonic::Code;

use super::Found;
use super::subject::{Caller, Subject, answered, digest, expect, items, refused};

fn vdom(serial: &str, name: &str) -> v1::DeleteRequest {
    let target = Some(v1::delete_request::Target::Vdom(name.to_owned()));
    v1::DeleteRequest { serial_number: serial.to_owned(), target, ..Default::default() }
}

fn whole(serial: &str) -> v1::DeleteRequest {
    let target = Some(v1::delete_request::Target::WholeDevice(v1::WholeDevice {}));
    v1::DeleteRequest { serial_number: serial.to_owned(), target, ..Default::default() }
}

/// The register holds exactly these VDOMs of the box.
async fn holds(device: &mut Caller, names: &[&str]) -> Found {
    let request = v1::SyncRequest { digest: digest(names)?, full_list: None, ..device.sync_request(&[]) };
    let answer = answered("Sync by digest", device.client.sync(request).await)?;
    expect(&format!("the register holds {names:?}"), answer.status(), v1::SyncStatus::InSync)
}

pub(super) async fn register_is_idempotent(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let first = device.register(&["dmz"]).await?;
    expect("the first registration", first.outcome(), v1::Outcome::Created)?;
    let again = device.register(&["dmz"]).await?;
    expect("the second registration", again.outcome(), v1::Outcome::Unchanged)?;
    expect("its VDOMs", items(&again.vdoms), vec!["root unchanged".to_owned(), "dmz unchanged".to_owned()])?;
    expect("its generation and digest", (again.generation, again.digest), (first.generation, first.digest))
}

pub(super) async fn root_is_always_there(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    expect(
        "the VDOMs of a bare registration",
        items(&device.register(&[]).await?.vdoms),
        vec!["root created".to_owned()],
    )?;
    device.sync(&["dmz"]).await?;
    holds(&mut device, &["root", "dmz"]).await
}

pub(super) async fn register_never_removes(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a", "b"]).await?;
    device.register(&["c"]).await?;
    holds(&mut device, &["root", "a", "b", "c"]).await
}

pub(super) async fn sync_is_a_full_list(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a", "b", "c"]).await?;
    let answer = device.sync(&["root", "a", "b", "d"]).await?;
    let expected = ["root unchanged", "a unchanged", "b unchanged", "d created", "c removed"];
    expect("the items", items(&answer.vdoms), expected.map(str::to_owned).to_vec())?;
    expect("the status", answer.status(), v1::SyncStatus::Completed)?;
    let back = device.sync(&["root", "a", "b", "c", "d"]).await?;
    expect("a VDOM that returns", items(&back.vdoms).contains(&"c restored".to_owned()), true)?;
    holds(&mut device, &["root", "a", "b", "c", "d"]).await
}

pub(super) async fn first_contact_by_sync(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let answer = device.sync(&["root", "dmz"]).await?;
    expect("the device", answer.outcome(), v1::Outcome::Created)?;
    expect("the items", items(&answer.vdoms), vec!["root created".to_owned(), "dmz created".to_owned()])
}

pub(super) async fn empty_list_is_refused(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let result = device.client.sync(device.sync_request(&[])).await;
    refused("an empty list", result, Code::InvalidArgument, "VDOM_LIST_EMPTY")?;
    holds(&mut device, &["root", "a"]).await
}

pub(super) async fn missing_list_is_refused(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let request = v1::SyncRequest { full_list: None, ..device.sync_request(&[]) };
    refused("no list", device.client.sync(request).await, Code::InvalidArgument, "VDOM_LIST_MISSING").map(drop)
}

pub(super) async fn digest_is_as_documented(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    expect("after Register", device.register(&["b", "a"]).await?.digest, digest(&["root", "a", "b"])?)?;
    expect("after Sync", device.sync(&["root", "b", "C"]).await?.digest, digest(&["root", "b", "C"])?)
}

pub(super) async fn digest_in_one_round_trip(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let registered = device.register(&["a"]).await?;
    let request = v1::SyncRequest { digest: registered.digest.clone(), ..device.sync_request(&["root", "a"]) };
    let answer = answered("Sync with list and digest", device.client.sync(request).await)?;
    expect("the status", answer.status(), v1::SyncStatus::InSync)?;
    expect("the items", items(&answer.vdoms), Vec::new())?;
    expect("the generation", answer.generation, registered.generation)?;
    holds(&mut device, &["root", "a"]).await
}

pub(super) async fn digest_that_differs_does_nothing(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let registered = device.register(&["a"]).await?;
    let request = v1::SyncRequest { digest: vec![7; 32], full_list: None, ..device.sync_request(&[]) };
    let answer = answered("Sync by digest", device.client.sync(request).await)?;
    expect("the status", answer.status(), v1::SyncStatus::ListNeeded)?;
    expect("generation and digest", (answer.generation, answer.digest), (registered.generation, registered.digest))
}

pub(super) async fn generation_grows_by_one(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let first = device.register(&["a"]).await?.generation;
    expect("after a change", device.sync(&["root", "a", "b", "c"]).await?.generation, first + 1)?;
    expect("after no change", device.sync(&["root", "a", "b", "c"]).await?.generation, first + 1)
}

pub(super) async fn stale_generation_is_fenced(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let first = device.register(&["a"]).await?.generation;
    device.sync(&["root", "a", "b"]).await?;
    let stale = v1::SyncRequest { base_generation: Some(first), ..device.sync_request(&["root", "a", "x"]) };
    refused("a stale generation", device.client.sync(stale).await, Code::Aborted, "STALE_GENERATION")?;
    holds(&mut device, &["root", "a", "b"]).await?;
    let current = v1::SyncRequest { base_generation: Some(first + 1), ..device.sync_request(&["root", "a", "b", "x"]) };
    answered("the current generation", device.client.sync(current).await).map(drop)
}

pub(super) async fn serial_number_is_folded(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let lower = v1::RegisterRequest { serial_number: device.serial.to_lowercase(), ..device.register_request(&["a"]) };
    let answer = answered("Register in lower case", device.client.register(lower).await)?;
    expect("the device", answer.outcome(), v1::Outcome::Unchanged)
}

pub(super) async fn identity_is_enforced(subject: &Subject) -> Found {
    let (mut one, other) = (subject.device().await?, subject.device().await?);
    let code = Code::PermissionDenied;
    let result = one.client.register(other.register_request(&[])).await;
    refused("Register", result, code, "IDENTITY_MISMATCH")?;
    let result = one.client.sync(other.sync_request(&["root"])).await;
    refused("Sync", result, code, "IDENTITY_MISMATCH")?;
    let result = one.client.delete(whole(&other.serial)).await;
    refused("Delete", result, code, "IDENTITY_MISMATCH").map(drop)
}

pub(super) async fn no_certificate_no_device(subject: &Subject) -> Found {
    let device = subject.device().await?;
    // A server may refuse already in the handshake.
    let Ok(mut nobody) = subject.nobody(&device.serial).await else { return Ok(()) };
    let request = nobody.register_request(&[]);
    match nobody.client.register(request).await {
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::Unavailable | Code::Unknown) => Ok(()),
        Err(status) => Err(format!("expected Unauthenticated, got {:?}", status.code())),
        Ok(_) => Err("expected Unauthenticated, and it was done".to_owned()),
    }
}

pub(super) async fn delete_a_vdom(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a", "b"]).await?;
    let request = vdom(&device.serial, "a");
    let first = answered("Delete", device.client.delete(request.clone()).await)?;
    expect("the VDOM", items(&first.vdoms), vec!["a removed".to_owned()])?;
    let again = answered("Delete again", device.client.delete(request).await)?;
    expect("the VDOM again", items(&again.vdoms), vec!["a unchanged".to_owned()])?;
    holds(&mut device, &["root", "b"]).await
}

pub(super) async fn root_cannot_be_deleted(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&[]).await?;
    let result = device.client.delete(vdom(&device.serial, "root")).await;
    refused("Delete of root", result, Code::FailedPrecondition, "ROOT_VDOM_REQUIRED")?;
    holds(&mut device, &["root"]).await
}

pub(super) async fn delete_needs_a_target(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let request = v1::DeleteRequest { target: None, ..whole(&device.serial) };
    refused("Delete of nothing", device.client.delete(request).await, Code::InvalidArgument, "TARGET_MISSING")?;
    holds(&mut device, &["root", "a"]).await
}

pub(super) async fn delete_of_the_unknown(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&[]).await?;
    let result = device.client.delete(vdom(&device.serial, "nowhere")).await;
    refused("Delete of an unknown VDOM", result, Code::NotFound, "VDOM_UNKNOWN").map(drop)
}

pub(super) async fn deleted_devices_return(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let first = answered("Delete", device.client.delete(whole(&device.serial)).await)?;
    expect("the device", first.outcome(), v1::Outcome::Removed)?;
    let again = answered("Delete again", device.client.delete(whole(&device.serial)).await)?;
    expect("the device again", again.outcome(), v1::Outcome::Unchanged)?;
    let back = device.sync(&["root", "a"]).await?;
    expect("the return", back.outcome(), v1::Outcome::Restored)?;
    expect("its VDOMs", items(&back.vdoms), vec!["root restored".to_owned(), "a restored".to_owned()])
}

pub(super) async fn ids_return_with_devices(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let mut admin = AuthClientServiceClient::new(subject.admin().await?);
    let name = format!("authClients/{}-a", device.serial);
    let mut id = async || {
        let request = v1::GetAuthClientRequest { name: name.clone() };
        answered("GetAuthClient", admin.get_auth_client(request).await).map(|answer| answer.auth_client.map(|it| it.id))
    };
    let before = id().await?;
    answered("Delete", device.client.delete(whole(&device.serial)).await)?;
    device.register(&["a"]).await?;
    expect("the id", id().await?, before)
}

pub(super) async fn validate_only_does_nothing(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let request = v1::RegisterRequest { validate_only: true, ..device.register_request(&["a"]) };
    let rehearsed = answered("Register", device.client.register(request).await)?;
    expect("what would become of the device", rehearsed.outcome(), v1::Outcome::Created)?;
    let registered = device.register(&["a"]).await?;
    expect("what became of it", registered.outcome(), v1::Outcome::Created)?;
    let request = v1::SyncRequest { validate_only: true, ..device.sync_request(&["root", "a", "b"]) };
    let rehearsed = answered("Sync", device.client.sync(request).await)?;
    expect("a new VDOM", items(&rehearsed.vdoms).contains(&"b created".to_owned()), true)?;
    let request = v1::DeleteRequest { validate_only: true, ..whole(&device.serial) };
    let rehearsed = answered("Delete", device.client.delete(request).await)?;
    expect("the device", rehearsed.outcome(), v1::Outcome::Removed)?;
    holds(&mut device, &["root", "a"]).await
}

pub(super) async fn plans_are_kept(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a"]).await?;
    let request = v1::SyncRequest { validate_only: true, ..device.sync_request(&["root", "a", "b"]) };
    let plan_id = answered("Sync", device.client.sync(request).await)?.plan_id;
    if plan_id.is_empty() {
        return Err("expected a plan_id in the answer to validate_only, got none".to_owned());
    }
    let planned = v1::SyncRequest { plan_id, ..device.sync_request(&["root", "a", "b"]) };
    answered("the plan", device.client.sync(planned.clone()).await)?;
    holds(&mut device, &["root", "a", "b"]).await?;
    // There is nothing left to do of it, so that it is no longer that plan.
    refused("the plan again", device.client.sync(planned).await, Code::Aborted, "PLAN_STALE").map(drop)
}

pub(super) async fn removal_guard_holds(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["a", "b", "c"]).await?;
    let answer = device.sync(&["root"]).await?;
    let expected = ["root unchanged", "a held", "b held", "c held"].map(str::to_owned).to_vec();
    expect("a sync that would remove three of four", items(&answer.vdoms), expected)?;
    let token = answer.held.map(|held| held.confirm_token).ok_or("expected HeldNotice, got none")?;
    expect("the digest while they are held", answer.digest, digest(&["root", "a", "b", "c"])?)?;
    let confirmed = v1::SyncRequest { confirm_token: token, ..device.sync_request(&["root"]) };
    answered("the confirmation", device.client.sync(confirmed).await)?;
    holds(&mut device, &["root"]).await
}
