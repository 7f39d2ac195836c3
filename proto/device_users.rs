//! The calls of `DeviceService` about users, parsed.

use crate::cluster::epoch;
use crate::user::UserFieldError;
use crate::web_app::web_app_target;
use crate::{Check, Email, Invalid, MobileNumber, Reason, SerialNumber, UserKind, Username, VdomName, v1};

/// The auth client that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTarget {
    /// The device.
    pub serial: SerialNumber,
    /// The VDOM.
    pub vdom: VdomName,
    /// The epoch that the device believes its cluster to be at.
    pub epoch: Option<i64>,
}

/// Whose users a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserTarget {
    /// That of a VDOM.
    FortiProduct(ClientTarget),
    /// That of a Web app, by its id; `None` for the one that calls.
    WebApp(Option<i64>),
}

impl From<ClientTarget> for UserTarget {
    fn from(target: ClientTarget) -> Self {
        Self::FortiProduct(target)
    }
}

/// What an auth client says of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAttributes {
    /// The name on this auth client.
    pub username: Username,
    /// Where it gets its activation code.
    pub email: Email,
    /// Where it gets its SMS, if anywhere.
    pub mobile: Option<MobileNumber>,
    /// Where it comes from.
    pub kind: UserKind,
    /// Whether it may authenticate here.
    pub active: bool,
}

/// `DeviceService.AddUser`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAddition {
    /// The auth client.
    pub target: UserTarget,
    /// The user.
    pub user: UserAttributes,
}

/// What becomes of a mobile number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NewMobile {
    /// It stays as it is.
    #[default]
    Kept,
    /// There is none any more.
    Gone,
    /// It is this one now.
    Is(MobileNumber),
}

/// `DeviceService.UpdateUser`, parsed. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserUpdate {
    /// The auth client.
    pub target: UserTarget,
    /// The user, by its name there.
    pub username: Username,
    /// The new e-mail address.
    pub email: Option<Email>,
    /// What becomes of the mobile number.
    pub mobile: NewMobile,
    /// Where it comes from.
    pub kind: Option<UserKind>,
    /// Whether it may authenticate there.
    pub active: Option<bool>,
}

/// `DeviceService.DeleteUser`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDeletion {
    /// The auth client.
    pub target: UserTarget,
    /// The user, by its name there.
    pub username: Username,
}

impl ClientTarget {
    /// Reads the target of a call, or notes what is wrong with it.
    pub fn parse(check: &mut Check, wire: Option<&v1::AuthClientTarget>) -> Option<Self> {
        let Some(v1::auth_client_target::Target::FortiProduct(product)) = wire.and_then(|wire| wire.target.as_ref())
        else {
            check.refuse("target", Reason::AuthClientMissing, "must name an auth client");
            return None;
        };
        let serial = product.serial_number.parse();
        let serial = check.take("target.forti_product.serial_number", Reason::SerialNumberMalformed, serial);
        let vdom = if product.vdom.is_empty() {
            Some(VdomName::ROOT)
        } else {
            check.take("target.forti_product.vdom", Reason::VdomNameMalformed, product.vdom.parse())
        };
        let epoch = epoch(check, "target.forti_product.epoch", product.epoch);
        Some(Self { serial: serial?, vdom: vdom?, epoch })
    }
}

impl UserTarget {
    /// The VDOM, if it is one.
    #[must_use]
    pub const fn forti_product(self) -> Option<ClientTarget> {
        match self {
            Self::FortiProduct(target) => Some(target),
            Self::WebApp(_) => None,
        }
    }

    /// The device, if it is one's.
    #[must_use]
    pub fn serial(self) -> Option<SerialNumber> {
        self.forti_product().map(|target| target.serial)
    }

    /// What stands for the VDOM: a Web app has none.
    #[must_use]
    pub const fn vdom(self) -> VdomName {
        match self {
            Self::FortiProduct(target) => target.vdom,
            Self::WebApp(_) => VdomName::WEB_APP,
        }
    }

    /// Reads the target of a call about users, or notes what is wrong with it.
    pub fn parse(check: &mut Check, wire: Option<&v1::AuthClientTarget>) -> Option<Self> {
        if let Some(v1::auth_client_target::Target::WebApp(name)) = wire.and_then(|wire| wire.target.as_ref()) {
            return web_app_target(check, name);
        }
        ClientTarget::parse(check, wire).map(Self::FortiProduct)
    }

    /// Notes that the users of a Web app are all of one kind.
    pub(crate) fn check_kind(self, check: &mut Check, field: &str, kind: UserKind) {
        if matches!(self, Self::WebApp(_)) && kind != UserKind::Local {
            check.refuse(field, Reason::FieldInvalid, "must be USER_KIND_LOCAL on a Web app");
        }
    }
}

/// The kind that a request names.
pub fn kind(wire: i32) -> Result<UserKind, &'static str> {
    match v1::UserKind::try_from(wire) {
        Ok(v1::UserKind::Unspecified | v1::UserKind::Local) => Ok(UserKind::Local),
        Ok(v1::UserKind::Remote) => Ok(UserKind::Remote),
        Ok(v1::UserKind::Administrator) => Ok(UserKind::Administrator),
        Err(_) => Err("must be one of the kinds of this version"),
    }
}

fn email_reason(error: UserFieldError) -> Reason {
    if error == UserFieldError::Empty { Reason::UserEmailMissing } else { Reason::UserEmailMalformed }
}

fn email(check: &mut Check, field: &str, text: &str) -> Option<Email> {
    text.parse::<Email>().map_err(|error| check.refuse(field, email_reason(error), error)).ok()
}

fn mobile(check: &mut Check, field: &str, text: &str) -> NewMobile {
    if text.is_empty() {
        return NewMobile::Gone;
    }
    check.take(field, Reason::UserMobileMalformed, text.parse()).map_or(NewMobile::Gone, NewMobile::Is)
}

impl UserAttributes {
    /// Reads a user, or names the first thing that is wrong with it: what a sync refuses of a list of many.
    pub fn parse(wire: &v1::UserAttributes) -> Result<Self, (Reason, &'static str)> {
        let username = wire.username.parse().map_err(|_| (Reason::UsernameMalformed, "username"))?;
        let email = wire.email.parse().map_err(|error| (email_reason(error), "email"))?;
        let mobile = if wire.mobile_number.is_empty() {
            None
        } else {
            Some(wire.mobile_number.parse().map_err(|_| (Reason::UserMobileMalformed, "mobile_number"))?)
        };
        let kind = kind(wire.kind).map_err(|_| (Reason::FieldInvalid, "kind"))?;
        Ok(Self { username, email, mobile, kind, active: wire.active.unwrap_or(true) })
    }
}

impl TryFrom<&v1::AddUserRequest> for UserAddition {
    type Error = Invalid;

    fn try_from(wire: &v1::AddUserRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let target = UserTarget::parse(&mut check, wire.target.as_ref());
        let nobody = v1::UserAttributes::default();
        let user = wire.user.as_ref().unwrap_or(&nobody);
        let username = check.take("user.username", Reason::UsernameMalformed, user.username.parse());
        let email = email(&mut check, "user.email", &user.email);
        let mobile = mobile(&mut check, "user.mobile_number", &user.mobile_number);
        let kind = check.take("user.kind", Reason::FieldInvalid, kind(user.kind));
        if let (Some(target), Some(kind)) = (target, kind) {
            target.check_kind(&mut check, "user.kind", kind);
        }
        match (target, username, email, kind) {
            (Some(target), Some(username), Some(email), Some(kind)) if check.is_clean() => {
                let mobile = if let NewMobile::Is(mobile) = mobile { Some(mobile) } else { None };
                let active = user.active.unwrap_or(true);
                Ok(Self { target, user: UserAttributes { username, email, mobile, kind, active } })
            }
            _ => Err(check.invalid()),
        }
    }
}

impl TryFrom<&v1::UpdateUserRequest> for UserUpdate {
    type Error = Invalid;

    fn try_from(wire: &v1::UpdateUserRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let target = UserTarget::parse(&mut check, wire.target.as_ref());
        let username = check.take("username", Reason::UsernameMalformed, wire.username.parse());
        let email = wire.email.as_ref().and_then(|text| email(&mut check, "email", text));
        let mobile = wire.mobile_number.as_ref();
        let mobile = mobile.map(|text| self::mobile(&mut check, "mobile_number", text)).unwrap_or_default();
        let kind = wire.kind.and_then(|wire| check.take("kind", Reason::FieldInvalid, kind(wire)));
        if let (Some(target), Some(kind)) = (target, kind) {
            target.check_kind(&mut check, "kind", kind);
        }
        match (target, username) {
            (Some(target), Some(username)) if check.is_clean() => {
                Ok(Self { target, username, email, mobile, kind, active: wire.active })
            }
            _ => Err(check.invalid()),
        }
    }
}

impl TryFrom<&v1::DeviceServiceDeleteUserRequest> for UserDeletion {
    type Error = Invalid;

    fn try_from(wire: &v1::DeviceServiceDeleteUserRequest) -> Result<Self, Invalid> {
        let mut check = Check::default();
        let target = UserTarget::parse(&mut check, wire.target.as_ref());
        let username = check.take("username", Reason::UsernameMalformed, wire.username.parse());
        match (target, username) {
            (Some(target), Some(username)) if check.is_clean() => Ok(Self { target, username }),
            _ => Err(check.invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> v1::AuthClientTarget {
        let product =
            v1::FortiProductTarget { serial_number: "FG101FTK19002788".to_owned(), vdom: String::new(), epoch: None };
        v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::FortiProduct(product)) }
    }

    #[test]
    fn every_bad_field_of_a_user_is_named_at_once() {
        let user = v1::UserAttributes { mobile_number: "0800".to_owned(), kind: 9, ..Default::default() };
        let wire = v1::AddUserRequest { user: Some(user), ..Default::default() };
        let invalid = UserAddition::try_from(&wire).unwrap_err();
        let found: Vec<_> = invalid.violations().iter().map(|it| (it.field.as_str(), it.reason)).collect();
        let expected = [
            ("target", Reason::AuthClientMissing),
            ("user.username", Reason::UsernameMalformed),
            ("user.email", Reason::UserEmailMissing),
            ("user.mobile_number", Reason::UserMobileMalformed),
            ("user.kind", Reason::FieldInvalid),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_an_update_leaves_out_stays_and_an_empty_number_goes() {
        let wire = v1::UpdateUserRequest {
            target: Some(target()),
            username: "alice".to_owned(),
            mobile_number: Some(String::new()),
            ..Default::default()
        };
        let update = UserUpdate::try_from(&wire).unwrap();
        let serial = "FG101FTK19002788".parse().unwrap();
        assert_eq!(update.target, ClientTarget { serial, vdom: VdomName::ROOT, epoch: None }.into());
        assert_eq!((update.email, update.mobile), (None, NewMobile::Gone));
        let emptied = v1::UpdateUserRequest { email: Some(String::new()), ..wire };
        assert_eq!(UserUpdate::try_from(&emptied).unwrap_err().reason(), Reason::UserEmailMissing);
    }

    #[test]
    fn the_users_of_a_web_app_are_local() {
        let of =
            |name: &str| v1::AuthClientTarget { target: Some(v1::auth_client_target::Target::WebApp(name.to_owned())) };
        let user = v1::UserAttributes {
            username: "alice".to_owned(),
            email: "alice@example.com".to_owned(),
            ..Default::default()
        };
        let wire = v1::AddUserRequest { target: Some(of("")), user: Some(user), ..Default::default() };
        assert_eq!(UserAddition::try_from(&wire).unwrap().target, UserTarget::WebApp(None));
        let mut remote = v1::AddUserRequest { target: Some(of("webApps/7")), ..wire };
        assert_eq!(UserAddition::try_from(&remote).unwrap().target, UserTarget::WebApp(Some(7)));
        remote.user.as_mut().unwrap().kind = v1::UserKind::Remote.into();
        assert_eq!(UserAddition::try_from(&remote).unwrap_err().violations()[0].field, "user.kind");
        let other = v1::AddUserRequest { target: Some(of("realms/7")), ..remote };
        assert_eq!(UserAddition::try_from(&other).unwrap_err().violations()[0].field, "target.web_app");
    }
}
