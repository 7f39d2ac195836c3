//! Relays: who may speak for other devices.

use std::fmt;
use std::str::FromStr;

use muster_proto::SerialNumber;

/// One that may speak for devices other than itself: a `FortiManager`, or a proxy that ends TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// What the operator calls it.
    pub name: RelayName,
    /// It may speak for devices whose serial number begins with one of these; if there are none, for every device.
    pub prefixes: Vec<SerialPrefix>,
}

impl Relay {
    /// Whether it may speak for this device.
    #[must_use]
    pub fn covers(&self, serial: &SerialNumber) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| serial.as_str().starts_with(prefix.as_str()))
    }
}

/// The name of a relay: 1 to 32 characters of A-Z, a-z, 0-9, '-', '_' and '.'.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelayName(Box<str>);

/// Text that is not the name of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 characters of A-Z, a-z, 0-9, '-', '_' and '.'")]
pub struct RelayNameError;

impl RelayName {
    /// How many characters a name has at most.
    pub const MAX_LENGTH: usize = 32;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelayName {
    type Err = RelayNameError;

    fn from_str(text: &str) -> Result<Self, RelayNameError> {
        let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if legal && (1..=Self::MAX_LENGTH).contains(&text.len()) { Ok(Self(text.into())) } else { Err(RelayNameError) }
    }
}

impl fmt::Display for RelayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How serial numbers begin: 1 to 16 characters of A-Z and 0-9. Lower case is folded on the way in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SerialPrefix(Box<str>);

/// Text that no serial number begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 16 characters of A-Z and 0-9, as in FGT60F")]
pub struct SerialPrefixError;

impl SerialPrefix {
    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SerialPrefix {
    type Err = SerialPrefixError;

    fn from_str(text: &str) -> Result<Self, SerialPrefixError> {
        let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if legal && (1..=SerialNumber::LENGTH).contains(&text.len()) {
            Ok(Self(text.to_ascii_uppercase().into()))
        } else {
            Err(SerialPrefixError)
        }
    }
}

impl fmt::Display for SerialPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relay(prefixes: &[&str]) -> Relay {
        let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Relay { name: "fmg-1".parse().unwrap(), prefixes }
    }

    proptest! {
        #[test]
        fn a_relay_covers_what_begins_with_one_of_its_prefixes(
            serial in "[A-B]{16}",
            length in 1..=16_usize,
            other in "[A-B]{16}",
        ) {
            let parsed: SerialNumber = serial.parse().unwrap();
            prop_assert!(relay(&[&serial[..length]]).covers(&parsed));
            prop_assert!(relay(&["X", &serial[..length]]).covers(&parsed));
            prop_assert_eq!(relay(&[&other[..length]]).covers(&parsed), other[..length] == serial[..length]);
            prop_assert!(relay(&[]).covers(&parsed));
        }

        #[test]
        fn names_and_prefixes_are_kept_to_their_characters(text in "\\PC{0,40}") {
            let name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            prop_assert_eq!(text.parse::<RelayName>().is_ok(), name && !text.is_empty() && text.len() <= 32);
            let prefix = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            prop_assert_eq!(text.parse::<SerialPrefix>().is_ok(), prefix && !text.is_empty() && text.len() <= 16);
        }
    }
}
