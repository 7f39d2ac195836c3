//! Who a call comes from.

use std::fmt;
use std::sync::Arc;

use muster_proto::{SerialNumber, Text, Timestamp};

use super::relay::Relay;
use super::revocations::Identity;
use super::token::TokenHash;
use super::web_app::AppCaller;
use crate::registry::Reach;

/// Who a call comes from. Written as "device:SERIAL", "relay:NAME", "admin:NAME" or `webapp:CLIENT_ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A device, known by its certificate.
    Device(SerialNumber),
    /// A relay, known by its certificate.
    Relay(Arc<Relay>),
    /// An admin, known by a token.
    Admin(Arc<Admin>),
    /// A Web app, known by a client id and a secret.
    WebApp(AppCaller),
}

/// One who holds a valid admin token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// What its token is known by.
    pub hash: TokenHash,
    /// The name of the token.
    pub name: Text,
    /// Which realms it may see and touch.
    pub reach: Reach,
    /// Whether it may only read.
    pub read_only: bool,
    /// When it can no longer be used.
    pub expires_at: Option<Timestamp>,
}

impl Caller {
    /// Whether a call of this caller may be made in the name of the device. An admin acts in no name but its own.
    #[must_use]
    pub fn may_speak_for(&self, serial: &SerialNumber) -> bool {
        match self {
            Self::Device(own) => own == serial,
            Self::Relay(relay) => relay.covers(serial),
            Self::Admin(_) | Self::WebApp(_) => false,
        }
    }

    /// Whether it may see e-mail addresses and mobile numbers whole: an admin who may do more than read.
    #[must_use]
    pub fn may_see_contacts(&self) -> bool {
        matches!(self, Self::Admin(admin) if !admin.read_only)
    }
}

impl Caller {
    /// The identity that can be shut out while the call is open, if it is one of a kind that is announced.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        match self {
            Self::Device(serial) => Some(Identity::Device(*serial)),
            Self::Admin(admin) => Some(Identity::AdminToken(admin.hash)),
            Self::WebApp(app) => Some(Identity::WebApp(app.id)),
            Self::Relay(_) => None,
        }
    }

    /// When the caller can no longer call, if that is known beforehand and is not said by a certificate.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Admin(admin) => admin.expires_at,
            Self::WebApp(app) => app.expires_at,
            Self::Device(_) | Self::Relay(_) => None,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(serial) => write!(f, "device:{serial}"),
            Self::Relay(relay) => write!(f, "relay:{}", relay.name),
            Self::Admin(admin) => write!(f, "admin:{}", admin.name),
            Self::WebApp(app) => write!(f, "webapp:{}", app.client_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIAL: &str = "FG101FTK19002788";

    #[test]
    fn a_device_speaks_for_itself_a_relay_for_its_prefixes_and_an_admin_for_none() {
        let own: SerialNumber = SERIAL.parse().unwrap();
        let other: SerialNumber = "FGVM01TM00000001".parse().unwrap();
        let relay = Relay { name: "fmg-1".parse().unwrap(), prefixes: vec!["FG101F".parse().unwrap()] };
        let admin = Admin {
            hash: TokenHash([1; 32]),
            name: "first".parse().unwrap(),
            reach: Reach::Everything,
            read_only: false,
            expires_at: None,
        };
        for (caller, shown, may) in [
            (Caller::Device(own), "device:FG101FTK19002788", true),
            (Caller::Relay(Arc::new(relay)), "relay:fmg-1", true),
            (Caller::Admin(Arc::new(admin)), "admin:first", false),
        ] {
            assert_eq!(caller.to_string(), shown);
            assert_eq!(caller.may_speak_for(&own), may, "{caller}");
            assert!(!caller.may_speak_for(&other), "{caller}");
        }
    }
}
