//! The certificate of a box, as the factory would have put it in.

use std::fmt;

use muster_proto::SerialNumber;
use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long a certificate is good for, unless its CA ends before.
const VALIDITY: Duration = Duration::days(5 * 365);
/// A certificate is good from a little before it was made: the clocks of two machines differ.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// The CA that signs the certificates of boxes, in PEM.
pub struct FactoryCa {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

impl fmt::Debug for FactoryCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FactoryCa").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The certificate of a box and its private key, in PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
    /// When the certificate ends.
    pub not_after: OffsetDateTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The CA certificate cannot be read.
    #[error("the factory CA is not a certificate in PEM")]
    Certificate,
    /// The certificate is not that of a CA.
    #[error("the factory CA is not the certificate of a CA")]
    NotACa,
    /// The private key cannot be read.
    #[error("the key of the factory CA is not a private key in PEM (PKCS#8)")]
    Key(#[source] rcgen::Error),
    /// The private key is that of another certificate.
    #[error("the key of the factory CA does not belong to its certificate")]
    KeyMismatch,
    /// The CA is over.
    #[error("the factory CA expired on {}", .0.date())]
    Expired(OffsetDateTime),
    /// The certificate could not be made or signed.
    #[error("the certificate could not be signed")]
    Sign(#[from] rcgen::Error),
}

/// What stands before the seed of an Ed25519 key.
const ED25519_PKCS8: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A factory CA that is ready to sign.
pub struct Factory {
    issuer: Issuer<'static, KeyPair>,
    ends: OffsetDateTime,
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Factory {
    /// Reads and checks a CA.
    pub fn open(ca: &FactoryCa, now: OffsetDateTime) -> Result<Self, IssueError> {
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(ca.certificate.as_bytes()).map_err(|_| IssueError::Certificate)?;
        let (_, parsed) = X509Certificate::from_der(&pem.contents).map_err(|_| IssueError::Certificate)?;
        let ca_key = KeyPair::from_pem(&ca.key).map_err(IssueError::Key)?;
        if ca_key.subject_public_key_info() != parsed.public_key().raw {
            return Err(IssueError::KeyMismatch);
        }
        if !parsed.is_ca() {
            return Err(IssueError::NotACa);
        }
        let ends = parsed.validity().not_after.to_datetime();
        if ends <= now {
            return Err(IssueError::Expired(ends));
        }
        Ok(Self { issuer: Issuer::from_ca_cert_der(&pem.contents.as_slice().into(), ca_key)?, ends })
    }

    /// Makes a client certificate whose common name is the serial number, as in the factory certificate of a FortiGate. It never outlives
    /// its CA.
    pub fn certify(
        &self,
        serial: &SerialNumber,
        key: &KeyPair,
        now: OffsetDateTime,
    ) -> Result<Certificate, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, serial.as_str());
        params.not_before = now - CLOCK_SKEW;
        params.not_after = self.ends.min(now + VALIDITY);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.issuer)
    }

    /// The key (Ed25519) that a box of this factory has for life: a box that is made again is the same box, and not a clone of itself. Only
    /// the factory can make it, because it comes from the key of the CA. Each copy of a box has a key of its own.
    pub fn lasting_key(&self, serial: &SerialNumber, copy: u8) -> Result<KeyPair, rcgen::Error> {
        let secret = Sha256::new()
            .chain_update(b"muster box")
            .chain_update(self.issuer.key().serialize_der())
            .chain_update(serial.as_str())
            .chain_update([copy])
            .finalize();
        // PKCS#8 version 1 around a seed: RFC 8410, section 7.
        let der = [&ED25519_PKCS8[..], &secret[..]].concat();
        KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_ED25519)
    }
}

/// Makes a key (ECDSA P-256) and a certificate for one box; see [`Factory::certify`].
pub fn issue(ca: &FactoryCa, serial: &SerialNumber, now: OffsetDateTime) -> Result<Identity, IssueError> {
    let factory = Factory::open(ca, now)?;
    let key = KeyPair::generate()?;
    let certificate = factory.certify(serial, &key, now)?;
    let not_after = factory.ends.min(now + VALIDITY);
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem(), not_after })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, IsCa};

    const SERIAL: &str = "FG101FTK19002788";
    const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

    fn ca(not_after: OffsetDateTime) -> FactoryCa {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = not_after;
        FactoryCa { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    #[test]
    fn the_common_name_is_the_serial_number_and_the_use_is_client_authentication() {
        let identity = issue(&ca(NOW + Duration::days(9000)), &SERIAL.parse().unwrap(), NOW).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(identity.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert_eq!(certificate.subject().to_string(), format!("CN={SERIAL}"));
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        assert_eq!(certificate.validity().not_after.to_datetime(), NOW + VALIDITY);
        assert!(certificate.validity().not_before.to_datetime() < NOW);
    }

    #[test]
    fn a_box_has_one_key_for_life_and_each_copy_and_each_factory_another() {
        let (one, other) = (ca(NOW + VALIDITY), ca(NOW + VALIDITY));
        let factory = |ca| Factory::open(ca, NOW).unwrap();
        let key = |ca, serial: &str, copy| {
            factory(ca).lasting_key(&serial.parse().unwrap(), copy).unwrap().subject_public_key_info()
        };
        let first = key(&one, SERIAL, 0);
        assert_eq!(key(&one, SERIAL, 0), first);
        for another in [key(&one, SERIAL, 1), key(&one, "FG101FTK19002789", 0), key(&other, SERIAL, 0)] {
            assert_ne!(another, first);
        }
    }

    #[test]
    fn a_certificate_never_outlives_its_ca() {
        let end = NOW + Duration::days(30);
        assert_eq!(issue(&ca(end), &SERIAL.parse().unwrap(), NOW).unwrap().not_after, end);
        let over = issue(&ca(NOW - Duration::days(1)), &SERIAL.parse().unwrap(), NOW);
        assert!(matches!(over, Err(IssueError::Expired(_))), "{over:?}");
    }

    #[test]
    fn a_ca_that_cannot_sign_is_told_apart() {
        let (good, other) = (ca(NOW + VALIDITY), ca(NOW + VALIDITY));
        let serial = SERIAL.parse().unwrap();
        let try_with = |certificate: &str, key: &str| {
            let ca = FactoryCa { certificate: certificate.to_owned(), key: key.to_owned() };
            issue(&ca, &serial, NOW).unwrap_err()
        };
        assert!(matches!(try_with("nonsense", &good.key), IssueError::Certificate));
        assert!(matches!(try_with(&good.certificate, "nonsense"), IssueError::Key(_)));
        assert!(matches!(try_with(&good.certificate, &other.key), IssueError::KeyMismatch));
        let device = issue(&good, &serial, NOW).unwrap();
        assert!(matches!(try_with(&device.certificate, &device.key), IssueError::NotACa));
    }
}
