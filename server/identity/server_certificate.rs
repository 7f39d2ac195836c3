//! Whether the certificate of the server still does.

use std::net::IpAddr;

use muster_proto::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::issue;
use super::names::Validity;

/// What is to be done about a server certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It does, or is not ours to replace.
    Keep,
    /// It has to be made anew, and why.
    Replace(&'static str),
}

/// Looks at a server certificate; `None` if it is none at all. Of one that is not ours nothing else is asked, not even the key.
pub(super) fn inspect<E>(
    der: &[u8],
    ca: &CertificateDer<'_>,
    public_key: impl FnOnce() -> Result<Option<Vec<u8>>, E>,
    names: &[String],
    now: Timestamp,
) -> Result<Option<Finding>, E> {
    let Some(certificate) = parse(der) else { return Ok(None) };
    if !is_ours(&certificate) {
        return Ok(Some(Finding::Keep));
    }
    let validity = Validity::of(&certificate);
    let why = if !validity.contains(now) || validity.end < now.plus(issue::RENEWED_BEFORE_END) {
        "the former one ends soon, or is not valid now"
    } else if public_key()?.as_deref() != Some(certificate.public_key().raw) {
        "the former one has another key"
    } else if !is_issued_by(&certificate, ca) {
        "the former one is from another CA"
    } else if names.iter().any(|name| !has_name(&certificate, name)) {
        "the former one lacks a name of this server"
    } else {
        return Ok(Some(Finding::Keep));
    };
    Ok(Some(Finding::Replace(why)))
}

/// The public key of a certificate.
pub(super) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    Some(parse(der)?.public_key().raw.to_vec())
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn is_ours(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().iter_common_name().any(|name| name.as_str() == Ok(issue::SERVER))
}

fn is_issued_by(certificate: &X509Certificate<'_>, ca: &[u8]) -> bool {
    parse(ca).is_some_and(|ca| certificate.verify_signature(Some(ca.public_key())).is_ok())
}

fn has_name(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let address = name.parse::<IpAddr>().ok();
    names.value.general_names.iter().any(|general| match general {
        GeneralName::DNSName(dns) => address.is_none() && *dns == name,
        GeneralName::IPAddress(bytes) => address.is_some_and(|address| match address {
            IpAddr::V4(address) => address.octets() == **bytes,
            IpAddr::V6(address) => address.octets() == **bytes,
        }),
        _ => false,
    })
}
