//! Certificates of every kind.

use std::ops::Range;
use std::path::Path;

use muster_server::clock::{Clock as _, SystemClock};
use muster_server::data_dir::DataFile;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};
use time::{Duration, OffsetDateTime};
use tonic::transport::Identity;

/// Valid since an hour ago and for a day, in seconds from now.
pub const DAY: Range<i64> = -3_600..86_400;

/// A CA that tests issue certificates from.
#[derive(Debug)]
pub struct Ca {
    certificate: String,
    key: KeyPair,
}

/// A certificate and its key, in PEM form.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Issued {
    /// What a client shows.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}

impl Ca {
    /// A CA that nobody trusts.
    #[must_use]
    pub fn unknown() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a CA that nobody trusts");
        Self { certificate: params.self_signed(&key).unwrap().pem(), key }
    }

    pub(crate) fn read(data_dir: &Path, certificate: DataFile, key: DataFile) -> Self {
        let text = |file: DataFile| std::fs::read_to_string(data_dir.join(file.name())).unwrap();
        Self { certificate: text(certificate), key: KeyPair::from_pem(&text(key)).unwrap() }
    }

    /// Its own certificate, in PEM form.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client certificate with this common name and these URIs, valid from and until so many seconds from now.
    #[must_use]
    pub fn issue(&self, common_name: &str, uris: &[&str], valid: Range<i64>) -> Issued {
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        self.sign(common_name, uris, ExtendedKeyUsagePurpose::ClientAuth, valid)
    }

    /// A server certificate for loopback addresses.
    #[must_use]
    pub fn issue_server(&self) -> Issued {
        let names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
        ];
        self.sign("a server", names, ExtendedKeyUsagePurpose::ServerAuth, DAY)
    }

    fn sign(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        valid: Range<i64>,
    ) -> Issued {
        let now = OffsetDateTime::from_unix_timestamp(SystemClock.now().micros() / 1_000_000).unwrap();
        let mut params = CertificateParams::default();
        params.not_before = now + Duration::seconds(valid.start);
        params.not_after = now + Duration::seconds(valid.end);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![usage];
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &self.key).unwrap();
        Issued { certificate: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}
