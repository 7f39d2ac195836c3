//! Requests and answers in few words.

use muster_proto::{Reason, SerialNumber, digest, v1};

/// A serial number.
pub const A: &str = "FG101FTK19002788";
/// Another one, of the same model.
pub const B: &str = "FG101FTK19002789";
/// One of another product.
pub const VM: &str = "FGVM01TM00000001";

/// The serial number of the device with this number in a fleet.
#[must_use]
pub fn fleet(number: usize) -> String {
    let serial = format!("FG200FT9{number:08}");
    assert!(serial.parse::<SerialNumber>().is_ok());
    serial
}

/// VDOMs of these names.
#[must_use]
pub fn vdoms(names: &[&str]) -> Vec<v1::Vdom> {
    names.iter().map(|name| v1::Vdom { name: (*name).to_owned() }).collect()
}

/// So many VDOMs, named v0 and on.
#[must_use]
pub fn many_vdoms(count: usize) -> Vec<v1::Vdom> {
    (0..count).map(|number| v1::Vdom { name: format!("v{number}") }).collect()
}

/// What a device says of itself.
#[must_use]
pub fn info(model: &str, hostname: &str, firmware: &str) -> v1::DeviceInfo {
    let [model, hostname, firmware] = [model, hostname, firmware].map(str::to_owned);
    v1::DeviceInfo { model, hostname, firmware }
}

/// The digest that a device with these VDOMs would send, "root" among them.
#[must_use]
pub fn digest_of(info: [&str; 3], vdoms: &[&str]) -> Vec<u8> {
    digest(info, vdoms.iter().map(|vdom| vdom.parse().unwrap())).to_vec()
}

/// A registration with these VDOMs.
#[must_use]
pub fn register(serial: &str, names: &[&str]) -> v1::RegisterRequest {
    v1::RegisterRequest { serial_number: serial.to_owned(), vdoms: vdoms(names), ..Default::default() }
}

/// A sync of this full list.
#[must_use]
pub fn sync(serial: &str, names: &[&str]) -> v1::SyncRequest {
    let full_list = Some(v1::VdomList { vdoms: vdoms(names) });
    v1::SyncRequest { serial_number: serial.to_owned(), full_list, ..Default::default() }
}

/// The deletion of one VDOM.
#[must_use]
pub fn delete_vdom(serial: &str, vdom: &str) -> v1::DeleteRequest {
    let target = Some(v1::delete_request::Target::Vdom(vdom.to_owned()));
    v1::DeleteRequest { serial_number: serial.to_owned(), target, ..Default::default() }
}

/// The deletion of a device.
#[must_use]
pub fn delete_whole(serial: &str) -> v1::DeleteRequest {
    let target = Some(v1::delete_request::Target::WholeDevice(v1::WholeDevice {}));
    v1::DeleteRequest { serial_number: serial.to_owned(), target, ..Default::default() }
}

/// One VDOM of a device, as the place of users.
#[must_use]
pub fn target(serial: &str, vdom: &str) -> Option<v1::AuthClientTarget> {
    let product = v1::FortiProductTarget { serial_number: serial.to_owned(), vdom: vdom.to_owned(), epoch: None };
    Some(v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::FortiProduct(product)) })
}

/// A local user with an address at example.com.
#[must_use]
pub fn user(name: &str) -> v1::UserAttributes {
    v1::UserAttributes { username: name.to_owned(), email: format!("{name}@example.com"), ..Default::default() }
}

/// The addition of such a user.
#[must_use]
pub fn add_user(serial: &str, vdom: &str, name: &str) -> v1::AddUserRequest {
    v1::AddUserRequest { target: target(serial, vdom), user: Some(user(name)), ..Default::default() }
}

/// An update of a user that changes nothing.
#[must_use]
pub fn update_user(serial: &str, vdom: &str, name: &str) -> v1::UpdateUserRequest {
    v1::UpdateUserRequest { target: target(serial, vdom), username: name.to_owned(), ..Default::default() }
}

/// The deletion of a user by its device.
#[must_use]
pub fn delete_user(serial: &str, vdom: &str, name: &str) -> v1::DeviceServiceDeleteUserRequest {
    v1::DeviceServiceDeleteUserRequest { target: target(serial, vdom), username: name.to_owned(), ..Default::default() }
}

/// The outcome of a user, as in "alice refused `USER_EMAIL_MISSING`". A reason must be a known one, and come with its fix.
#[must_use]
pub fn user_item(item: &v1::UserOutcome) -> String {
    let v1::UserOutcome { username, outcome, reason, fix, .. } = item.clone();
    self::item(&v1::VdomOutcome { vdom: username, outcome, reason, fix })
}

/// The deletion of a device by an admin.
#[must_use]
pub fn delete_device(serial: &str) -> v1::DeleteDeviceRequest {
    v1::DeleteDeviceRequest { name: format!("devices/{serial}"), ..Default::default() }
}

/// The deletion of an auth client by an admin; the name without "authClients/".
#[must_use]
pub fn delete_auth_client(name: &str) -> v1::DeleteAuthClientRequest {
    v1::DeleteAuthClientRequest { name: format!("authClients/{name}"), ..Default::default() }
}

/// The first message of a channel.
#[must_use]
pub fn channel_hello(serial: &str) -> v1::ChannelRequest {
    v1::ChannelRequest { kind: Some(v1::channel_request::Kind::Hello(crate::hello(serial))) }
}

/// An admin has a device sync now.
#[must_use]
pub fn request_sync(serial: &str) -> v1::RequestSyncRequest {
    v1::RequestSyncRequest { name: format!("devices/{serial}"), ..Default::default() }
}

/// An admin asks a device for debug lines.
#[must_use]
pub fn set_device_debug(serial: &str) -> v1::SetDeviceDebugRequest {
    v1::SetDeviceDebugRequest { name: format!("devices/{serial}"), ..Default::default() }
}

/// The outcomes of VDOMs, as in "root refused `ROOT_VDOM_REQUIRED`". Each reason must be a known one, and come with its fix.
#[must_use]
pub fn items(outcomes: &[v1::VdomOutcome]) -> Vec<String> {
    outcomes.iter().map(item).collect()
}

fn item(item: &v1::VdomOutcome) -> String {
    let outcome = item.outcome().as_str_name().trim_start_matches("OUTCOME_").to_ascii_lowercase();
    if item.reason.is_empty() {
        assert!(item.fix.is_empty(), "{item:?}");
        return format!("{} {outcome}", item.vdom);
    }
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == item.reason);
    assert_eq!(reason.map(|reason| reason.fix()), Some(item.fix.as_str()));
    format!("{} {outcome} {}", item.vdom, item.reason)
}

/// The names of VDOMs.
#[must_use]
pub fn names(vdoms: &[v1::Vdom]) -> Vec<&str> {
    vdoms.iter().map(|vdom| vdom.name.as_str()).collect()
}
