//! Why a connection was not accepted.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use muster_proto::{Reason, printable};
use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::names::Names;

/// A connection that was not accepted.
#[derive(Clone, Debug)]
pub struct HandshakeFailure {
    /// Who it came from.
    pub remote: SocketAddr,
    /// Why it was not accepted.
    pub cause: HandshakeCause,
    /// What the refused client certificate says of itself. Nobody has vouched for it: anyone may claim any name.
    pub claimed: Names,
    /// What TLS, or the system, said; safe for terminals.
    pub detail: String,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeCause {
    /// The client certificate is no longer, or not yet, valid.
    CertificateExpired,
    /// The client certificate is from a CA that is not trusted here.
    CertificateNotTrusted,
    /// The client certificate is broken, or not made for clients.
    CertificateUnusable,
    /// The peer does not trust the certificate of this server.
    ServerNotTrusted,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer and this server have no TLS version, cipher or protocol (ALPN "h2") in common.
    NothingInCommon,
    /// The peer took longer than it may.
    TimedOut,
    /// The peer went away.
    Left,
    /// The peer broke the rules of TLS, or the system failed.
    Other,
}

impl HandshakeCause {
    /// The reason code of a call that would have failed like this; `None` where no code fits.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::CertificateExpired => Some(Reason::CertificateExpired),
            Self::CertificateNotTrusted | Self::CertificateUnusable => Some(Reason::CertificateNotTrusted),
            _ => None,
        }
    }

    /// What to do about it, in a sentence.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::CertificateExpired => Reason::CertificateExpired.fix(),
            Self::CertificateNotTrusted => Reason::CertificateNotTrusted.fix(),
            Self::CertificateUnusable => "issue the client certificate anew, as a leaf for client authentication",
            Self::ServerNotTrusted => {
                "give the peer the CA of this server (ca.pem), and use a name that is in the server certificate"
            }
            Self::NotTls => "connect with TLS (https://)",
            Self::NothingInCommon => "use TLS 1.2 or newer, and HTTP/2",
            Self::TimedOut => "check the network between the peer and this server",
            Self::Left | Self::Other => "nothing to do, unless it happens again and again",
        }
    }

    pub(super) fn of(error: &TlsError) -> Self {
        match error {
            TlsError::InvalidCertificate(error) => Self::of_certificate(error),
            TlsError::AlertReceived(alert) => Self::of_alert(*alert),
            TlsError::InvalidMessage(_) => Self::NotTls,
            TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol => Self::NothingInCommon,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::CertificateExpired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::CertificateNotTrusted,
            _ => Self::CertificateUnusable,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            // Said by those who know a CA of the same name with another key.
            | AlertDescription::DecryptError
            | AlertDescription::UnsupportedCertificate => Self::ServerNotTrusted,
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => Self::NothingInCommon,
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::Left,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for HandshakeCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CertificateExpired => "the client certificate is expired or not yet valid",
            Self::CertificateNotTrusted => "the client certificate is from a CA that is not trusted here",
            Self::CertificateUnusable => "the client certificate is broken, or not made for clients",
            Self::ServerNotTrusted => "the peer does not trust the certificate of this server",
            Self::NotTls => "the peer does not speak TLS",
            Self::NothingInCommon => "no TLS version, cipher or protocol in common",
            Self::TimedOut => "the peer took too long",
            Self::Left => "the peer went away",
            Self::Other => "the handshake failed",
        })
    }
}

impl HandshakeFailure {
    pub(super) fn of(remote: SocketAddr, error: &io::Error, claimed: Names) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
        let cause = match (tls, error.kind()) {
            (Some(error), _) => HandshakeCause::of(error),
            (None, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                HandshakeCause::Left
            }
            (None, _) => HandshakeCause::Other,
        };
        Self { remote, cause, claimed, detail: printable(&error.to_string()) }
    }

    pub(super) fn timed_out(remote: SocketAddr) -> Self {
        Self {
            remote,
            cause: HandshakeCause::TimedOut,
            claimed: Names::default(),
            detail: "no handshake in time".to_owned(),
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.remote, self.cause, self.detail)?;
        match &self.claimed {
            Names { device: Some(serial), .. } => write!(f, ", claims to be device:{serial}"),
            Names { relay: Some(relay), .. } => write!(f, ", claims to be relay:{}", relay.name),
            Names { device: None, relay: None } => Ok(()),
        }
    }
}
