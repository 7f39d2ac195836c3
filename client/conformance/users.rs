//! The users of an auth client, one by one.

use muster_proto::{UserKind, user, v1};
use tonic::Code;

use super::Found;
use super::subject::{Caller, Subject, answered, expect, refused};

pub(super) fn target(device: &Caller) -> v1::AuthClientTarget {
    let product =
        v1::FortiProductTarget { serial_number: device.serial.clone(), vdom: "sales".to_owned(), epoch: None };
    v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::FortiProduct(product)) }
}

pub(super) fn named(device: &Caller, name: &str, email: &str) -> v1::AddUserRequest {
    let attributes = v1::UserAttributes { username: name.to_owned(), email: email.to_owned(), ..Default::default() };
    v1::AddUserRequest { target: Some(target(device)), user: Some(attributes), ..Default::default() }
}

fn without(device: &Caller, name: &str) -> v1::DeviceServiceDeleteUserRequest {
    let username = name.to_owned();
    v1::DeviceServiceDeleteUserRequest { target: Some(target(device)), username, ..Default::default() }
}

async fn add(device: &mut Caller, name: &str) -> Result<v1::AddUserResponse, String> {
    let request = named(device, name, &format!("{name}@example.com"));
    answered("AddUser", device.client.add_user(request).await)
}

fn outcome(user: Option<v1::UserOutcome>) -> Option<v1::Outcome> {
    user.map(|user| user.outcome())
}

pub(super) async fn user_is_added_once(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let first = add(&mut device, "alice").await?;
    expect("the first time", (outcome(first.user), first.users), (Some(v1::Outcome::Created), 1))?;
    let again = add(&mut device, "alice").await?;
    expect("the second time", (outcome(again.user), again.users), (Some(v1::Outcome::Unchanged), 1))
}

pub(super) async fn user_needs_an_email(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    let request = named(&device, "alice", "");
    let result = device.client.add_user(request).await;
    let refusal = refused("no e-mail address", result, Code::InvalidArgument, "USER_EMAIL_MISSING")?;
    expect("the field", refusal.violations.first().map(|(field, _)| field.as_str()), Some("user.email"))
}

pub(super) async fn user_digest_is_as_documented(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    add(&mut device, "alice").await?;
    let mut expected = vec![0; 32];
    for name in ["alice", "bob"] {
        let one = user::digest(name, &format!("{name}@example.com"), "", UserKind::Local, true);
        expected.iter_mut().zip(one).for_each(|(byte, other)| *byte ^= other);
    }
    expect("the digest", add(&mut device, "bob").await?.users_digest, expected)
}

pub(super) async fn user_is_removed_once(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    add(&mut device, "alice").await?;
    let request = without(&device, "alice");
    let first = answered("DeleteUser", device.client.delete_user(request.clone()).await)?;
    expect("the first time", (outcome(first.user), first.users), (Some(v1::Outcome::Removed), 0))?;
    let again = answered("DeleteUser again", device.client.delete_user(request).await)?;
    expect("the second time", outcome(again.user), Some(v1::Outcome::Unchanged))?;
    expect("its return", outcome(add(&mut device, "alice").await?.user), Some(v1::Outcome::Restored))
}

pub(super) async fn unknown_users_are_told(subject: &Subject) -> Found {
    let mut device = subject.device().await?;
    device.register(&["sales"]).await?;
    let request =
        v1::UpdateUserRequest { target: Some(target(&device)), username: "nobody".to_owned(), ..Default::default() };
    refused("UpdateUser", device.client.update_user(request).await, Code::NotFound, "USER_UNKNOWN").map(drop)
}
