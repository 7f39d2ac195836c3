//! How a certificate says who it belongs to.
//!
//! | where | text | meaning |
//! |---|---|---|
//! | subject CN, or SAN URI | `SERIAL`, `urn:muster:device:SERIAL` | the device with this serial number |
//! | SAN URI | `urn:muster:relay:NAME` | the relay of this name |
//! | SAN URI | `urn:muster:relay-prefix:PREFIX` | the relay may speak only for serial numbers that begin so; may be repeated |
//!
//! What a certificate *claims* here counts only together with the CA that issued it: see [`trust`](super::trust).

use std::fmt;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use muster_proto::{SerialNumber, Timestamp};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::relay::{Relay, RelayName, SerialPrefix};
use crate::registry::Proof;

/// A SAN URI of Muster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Urn {
    /// The certificate of a device.
    Device(SerialNumber),
    /// The certificate of a relay.
    Relay(RelayName),
    /// Limits a relay to serial numbers that begin so.
    RelayPrefix(SerialPrefix),
}

/// A URI that begins as those of Muster do and goes on as none of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a URI of a device, a relay or a relay prefix")]
pub struct UrnError;

const HEAD: &str = "urn:muster:";

impl Urn {
    /// Reads a URI; `None` if it has nothing to do with Muster.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Result<Self, UrnError>> {
        // The scheme and the namespace of a URN may be written in any case. To pass over one would widen what a relay may do.
        let (head, rest) = uri.split_at_checked(HEAD.len())?;
        head.eq_ignore_ascii_case(HEAD).then(|| Self::parse_rest(rest).ok_or(UrnError))
    }

    fn parse_rest(rest: &str) -> Option<Self> {
        let (kind, value) = rest.split_once(':')?;
        match kind {
            "device" => exact_serial(value).map(Self::Device),
            "relay" => value.parse().ok().map(Self::Relay),
            "relay-prefix" => value.parse().ok().map(Self::RelayPrefix),
            _ => None,
        }
    }
}

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(serial) => write!(f, "{HEAD}device:{serial}"),
            Self::Relay(name) => write!(f, "{HEAD}relay:{name}"),
            Self::RelayPrefix(prefix) => write!(f, "{HEAD}relay-prefix:{prefix}"),
        }
    }
}

/// A serial number in capitals. A certificate is not typed by hand: a lower-case name of 16 characters is some other name.
fn exact_serial(text: &str) -> Option<SerialNumber> {
    text.parse().ok().filter(|serial: &SerialNumber| serial.as_str() == text)
}

/// What a certificate says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The device, if the certificate names exactly one.
    pub device: Option<SerialNumber>,
    /// The relay, if the certificate names exactly one and every word about it is understood.
    pub relay: Option<Relay>,
}

/// The time in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The first moment in which it is no longer valid.
    pub end: Timestamp,
}

impl Validity {
    /// Whether the certificate is valid at this time.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        (self.not_before..self.end).contains(&time)
    }

    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let moment = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        let validity = certificate.validity();
        Self {
            not_before: moment(validity.not_before.timestamp()),
            // The last second belongs to it.
            end: moment(validity.not_after.timestamp().saturating_add(1)),
        }
    }
}

/// Bytes that are not a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a certificate")]
pub struct NotACertificate;

/// Reads an X.509 certificate (DER).
pub fn read(der: &[u8]) -> Result<(Names, Validity), NotACertificate> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NotACertificate)?;
    Ok((Names::of(&certificate), Validity::of(&certificate)))
}

/// What a certificate (DER) proves of its bearer, who calls from this address.
pub fn proof(der: &[u8], address: IpAddr) -> Result<Proof, NotACertificate> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NotACertificate)?;
    let validity = Validity::of(&certificate);
    Ok(Proof {
        key: Sha256::digest(certificate.public_key().raw).into(),
        address,
        certificate: HEXLOWER.encode(certificate.raw_serial()).into(),
        valid_from: validity.not_before,
        valid_until: validity.end,
    })
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        // An extension that cannot be read, or stands there twice, leaves the certificate without any name.
        let Ok(alternative) = certificate.subject_alternative_name() else { return Self::default() };
        let urns: Vec<_> = alternative
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| if let GeneralName::URI(uri) = name { Urn::parse(uri) } else { None })
            .collect();
        let common_names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());

        let serials = common_names.filter_map(exact_serial).chain(urns.iter().filter_map(|urn| match urn {
            Ok(Urn::Device(serial)) => Some(*serial),
            _ => None,
        }));
        Self { device: the_only(serials), relay: relay(urns.iter()) }
    }
}

/// The value that all of these are.
fn the_only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// The relay that these URIs describe; none as soon as one of them is not understood, because it may be a limit.
fn relay<'a>(urns: impl Iterator<Item = &'a Result<Urn, UrnError>>) -> Option<Relay> {
    let (mut names, mut prefixes) = (Vec::new(), Vec::new());
    for urn in urns {
        match urn {
            Ok(Urn::Relay(name)) => names.push(name.clone()),
            Ok(Urn::RelayPrefix(prefix)) => prefixes.push(prefix.clone()),
            Ok(Urn::Device(_)) => {}
            Err(UrnError) => return None,
        }
    }
    the_only(names.into_iter()).map(|name| Relay { name, prefixes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relay_of(texts: &[&str]) -> Option<Relay> {
        let urns: Vec<_> = texts.iter().filter_map(|uri| Urn::parse(uri)).collect();
        relay(urns.iter())
    }

    proptest! {
        #[test]
        fn a_urn_survives_the_round_trip(serial in "[A-Z0-9]{16}", name in "[A-Za-z0-9._-]{1,32}", prefix in "[A-Z0-9]{1,16}") {
            for urn in [
                Urn::Device(serial.parse().unwrap()),
                Urn::Relay(name.parse().unwrap()),
                Urn::RelayPrefix(prefix.parse().unwrap()),
            ] {
                prop_assert_eq!(Urn::parse(&urn.to_string()), Some(Ok(urn)));
            }
        }

        #[test]
        fn any_uri_is_read_without_panic_and_only_ours_count(uri in "([uU]rn:(muster|MUSTER):)?\\PC{0,20}") {
            prop_assert_eq!(Urn::parse(&uri).is_some(), uri.to_ascii_lowercase().starts_with(HEAD));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }

    #[test]
    fn a_limit_that_is_not_understood_leaves_no_relay_rather_than_an_unlimited_one() {
        assert_eq!(relay_of(&["urn:muster:relay:a"]).unwrap().prefixes, []);
        assert_eq!(relay_of(&["urn:muster:relay:a", "URN:Muster:relay-prefix:FG"]).unwrap().prefixes.len(), 1);
        for limit in
            ["urn:muster:relay-prefix:", "urn:muster:relay-prefix:F*", "urn:muster:relay-Prefix:FG", "urn:muster:"]
        {
            assert_eq!(relay_of(&["urn:muster:relay:a", limit]), None, "{limit}");
        }
        assert!(relay_of(&["urn:muster:relay:a", "https://muster.example/"]).is_some());
    }

    #[test]
    fn two_names_are_no_name() {
        assert_eq!(relay_of(&["urn:muster:relay:a", "urn:muster:relay:b"]), None);
        assert_eq!(the_only(["x", "y"].into_iter()), None);
        assert_eq!(the_only(["x", "x"].into_iter()), Some("x"));
    }
}
