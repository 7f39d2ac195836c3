//! What the certificates that the built-in CA issues look like.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use muster_proto::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::pki_types::DnsName;
use time::OffsetDateTime;

use super::names::Urn;
use super::relay::Relay;

/// The name of the operator CA.
pub(super) const OPERATOR_CA: &str = "Muster operator CA";
/// The name of the factory CA of stand-in devices.
pub(super) const DEVICE_CA: &str = "Muster stand-in device CA";
/// The name of the server's certificate, by which it is known again as one of ours.
pub(super) const SERVER: &str = "Muster server";

const DAY: Duration = Duration::from_hours(24);
/// The longest that all common clients accept of a server.
const LEAF_DAYS: u32 = 397;
const CA_DAYS: u32 = 3653;
/// Clocks of clients may be this far behind.
const BACKDATED: Duration = Duration::from_mins(5);
/// A server certificate with less time left than this is made anew.
pub(super) const RENEWED_BEFORE_END: Duration = DAY.saturating_mul(30);

pub(super) fn ca(name: &str, key: &KeyPair, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = valid_from(now, CA_DAYS)?;
    // Two servers have two names, so that a client with the CA of the other one is told "unknown issuer" and not "bad signature".
    let mut id = HEXLOWER.encode(&params.key_identifier(key));
    id.truncate(8);
    params.distinguished_name.push(DnType::CommonName, format!("{name} {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

pub(super) fn server(names: &[String], now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = leaf(SERVER, ExtendedKeyUsagePurpose::ServerAuth, now)?;
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    Ok(params)
}

pub(super) fn relay(relay: &Relay, now: Timestamp) -> Result<CertificateParams, Error> {
    // With a blank in it the common name is never a serial number, whatever the relay is called.
    let mut params = leaf(&format!("relay {}", relay.name), ExtendedKeyUsagePurpose::ClientAuth, now)?;
    let prefixes = relay.prefixes.iter().cloned().map(Urn::RelayPrefix);
    for urn in std::iter::once(Urn::Relay(relay.name.clone())).chain(prefixes) {
        params.subject_alt_names.push(SanType::URI(urn.to_string().try_into()?));
    }
    Ok(params)
}

/// What the server is called: by itself always, and these names and addresses; what could not stand in a certificate is left out.
pub(super) fn server_names(names: &[String]) -> Vec<String> {
    let mut all = BTreeSet::from(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    for name in names {
        if let Ok(address) = name.parse::<IpAddr>() {
            all.insert(address.to_string());
        } else if DnsName::try_from(name.as_str()).is_ok() {
            all.insert(name.to_ascii_lowercase());
        } else {
            tracing::warn!(name, "this host name cannot stand in a certificate");
        }
    }
    all.into_iter().collect()
}

fn leaf(name: &str, usage: ExtendedKeyUsagePurpose, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = valid_from(now, LEAF_DAYS)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn valid_from(now: Timestamp, days: u32) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::from_unix_timestamp(now.micros().div_euclid(1_000_000)).map_err(|_| Error::Time)?;
    params.not_before = now - BACKDATED;
    params.not_after = now + DAY * days;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Muster");
    Ok(params)
}
