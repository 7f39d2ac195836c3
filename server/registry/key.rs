//! How a device proves that it is the one that it says.

use std::net::IpAddr;

use muster_proto::Timestamp;

/// What a device showed when it connected. It is worked out once for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The SHA-256 of the public key of its certificate (`SubjectPublicKeyInfo`, DER): a renewed certificate of the same key has the same.
    pub key: [u8; 32],
    /// Where it called from.
    pub address: IpAddr,
    /// The serial number of the certificate, in hexadecimal.
    pub certificate: Box<str>,
    /// The first moment in which the certificate is valid.
    pub valid_from: Timestamp,
    /// The first moment in which it is no longer valid.
    pub valid_until: Timestamp,
}
